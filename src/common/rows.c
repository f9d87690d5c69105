/*
 * rows.c
 *	  Rows between two statements.
 *
 * One statement that reads a table of one role and writes one of another runs the
 * code of both with one set of rights.  So the rows are taken by one statement (or a
 * scan), kept in a tuplestore, which goes to disk beyond work_mem, and given to the
 * next, which knows them as ROWS_NAME: the way in which triggers know their
 * transition tables.  No temporary table is made, which a security-restricted
 * operation would forbid.
 *
 * RowsOfQuery is called within an SPI connection.  Rows live in the memory context
 * that is current at RowsBegin or RowsOfQuery, until RowsInto or the end of the
 * transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"

#include "common/rows.h"
#include "common/usercode.h"

#define FETCH_ROWS	1000

/* An empty collection of rows of this shape. */
Rows *
RowsBegin(TupleDesc desc)
{
	Rows	   *rows = palloc0(sizeof(Rows));

	rows->desc = CreateTupleDescCopy(desc);
	rows->store = tuplestore_begin_heap(false, false, work_mem);
	return rows;
}

void
RowsPut(Rows *rows, Datum *values, bool *nulls)
{
	tuplestore_putvalues(rows->store, rows->desc, values, nulls);
	rows->count++;
}

/* What a query, or a command with RETURNING, returns; planned and run as this role. */
Rows *
RowsOfQuery(Oid owner, const char *query)
{
	Portal		cursor = UserCodeCursor(owner, query);
	Rows	   *rows = RowsBegin(cursor->tupDesc);

	for (;;)
	{
		UserCodeFetch(owner, cursor, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		for (uint64 i = 0; i < SPI_processed; i++)
			tuplestore_puttuple(rows->store, SPI_tuptable->vals[i]);
		rows->count += SPI_processed;
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(cursor);
	return rows;
}

/* Makes the rows known as ROWS_NAME within the current SPI connection. */
static void
register_rows(Rows *rows)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = ROWS_NAME;
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = rows->desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = rows->count;
	relation->reldata = rows->store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register rows");
}

/*
 * A cursor for a query that reads the rows as ROWS_NAME, as this role; for UserCodeFetch.  In
 * an SPI connection of its own, which has no other rows.  The rows stay.
 */
Portal
RowsCursor(Rows *rows, Oid owner, const char *query)
{
	register_rows(rows);
	return UserCodeCursor(owner, query);
}

/*
 * Runs a command that reads the rows as ROWS_NAME, as this role, and returns how many
 * it processed.  The rows are gone then.
 */
uint64
RowsInto(Rows *rows, Oid owner, const char *command)
{
	uint64		processed;

	/* a connection of its own: what it registers, and where, is gone with it */
	SPI_connect();
	register_rows(rows);
	processed = UserCodeQuery(owner, command, 0, NULL, NULL, NULL, false);
	SPI_finish();
	tuplestore_end(rows->store);
	rows->store = NULL;
	return processed;
}
