/*
 * audit_undo_who.c
 *	  Who made the change that stands in the way of an undo.
 *
 * The log is asked for the latest entry of the record, and of the column if it is about one,
 * behind the last change that was selected; where others came in between two selected
 * changes, for the latest between those.  An undo has locked the rows before, so nothing comes
 * later.  Nobody is known when the log has no such entry: the change was made while the
 * table was not audited, or by TRUNCATE.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "audit/audit_undo.h"
#include "common/names.h"
#include "common/usercode.h"

/* Entries of the record, latest first; the first two, or behind `before` all, are of interest. */
static char *
write_query(Undo *undo, UndoRow *row, const UndoNote *note, int column)
{
	const AuditColumns *columns = &undo->columns;
	UndoRow		then = *row;
	StringInfoData q;

	/* who holds the key that has to be free? */
	if (!row->exists || row->occupied || row->returned)
		then.key = row->key_then;
	initStringInfo(&q);
	appendStringInfo(&q, "SELECT %s, %s, %s, %s FROM %s l WHERE ", AuditUndoMoment(columns),
					 AuditReadColumnAs(columns, AUDIT_USER_ID, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_XACT_ID, XID8OID), AuditUndoNumber(columns),
					 NamesQualified(columns->relid));
	AuditAppendScope(&q, &row->table->scope);
	appendStringInfoString(&q, " AND ");
	AuditAppendKey(&q, &row->table->scope, AuditUndoKeyText(&then), NULL);
	if (column >= 0)
		appendStringInfo(&q, " AND (%s OPERATOR(pg_catalog.<>) 'U' OR pg_catalog.jsonb_exists(%s, %s))",
						 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
						 AuditReadColumnAs(columns, AUDIT_CHANGED_FIELDS, JSONBOID),
						 quote_literal_cstr(row->table->cols[column].name));
	appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.<>) 'B' ORDER BY %s",
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID), AuditReadOrder(columns, true));
	if (note->before == NULL)
		appendStringInfoString(&q, " LIMIT 1");
	return q.data;
}

static bool
is_step(uint64 row, const UndoStep *step)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	HeapTuple	tuple = SPI_tuptable->vals[row];
	bool		isnull[3];
	Datum		at = SPI_getbinval(tuple, desc, 1, &isnull[0]);
	Datum		xact = SPI_getbinval(tuple, desc, 3, &isnull[1]);
	Datum		seq = SPI_getbinval(tuple, desc, 4, &isnull[2]);

	return (isnull[0] ? 0 : DatumGetTimestampTz(at)) == step->at &&
		(isnull[1] ? 0 : U64FromFullTransactionId(DatumGetFullTransactionId(xact))) == step->xact &&
		(isnull[2] ? -1 : DatumGetInt64(seq)) == step->seq;
}

static void
find_who(Undo *undo, UndoRow *row, UndoNote *note, int column)
{
	uint64		n;
	uint64		i = 0;

	if (note->conflict == NULL || note->after == NULL || row->key == NULL || row->table->rel == NULL)
		return;
	n = UserCodeQuery(undo->log->rd_rel->relowner, write_query(undo, row, note, column), 0, NULL, NULL, NULL, false);
	if (note->before)
	{
		while (i < n && !is_step(i, note->before))
			i++;
		i++;
	}
	if (i < n && !is_step(i, note->after))
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		MemoryContext old = MemoryContextSwitchTo(undo->cxt);
		char	   *user = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2);
		bool		isnull;
		Datum		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull);

		note->who.known = true;
		note->who.at = isnull ? 0 : DatumGetTimestampTz(value);
		note->who.user = user ? MemoryContextStrdup(undo->cxt, user) : NULL;
		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull);
		note->who.xact = isnull ? 0 : U64FromFullTransactionId(DatumGetFullTransactionId(value));
		MemoryContextSwitchTo(old);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Fills in who of the row's conflicts.  Within an SPI connection; reads the log. */
void
AuditUndoFindWho(Undo *undo, UndoRow *row)
{
	find_who(undo, row, &row->note, -1);
	for (UndoNote *note = row->notes; note; note = note->next)
		find_who(undo, row, note, note->column);
}
