/*
 * audit_undo_cascade.c
 *	  What undoing an INSERT would take along.
 *
 * A foreign key with ON DELETE CASCADE, SET NULL or SET DEFAULT changes the rows that refer to
 * a deleted one, and says nothing.  Undoing an INSERT deletes; the rows that refer to it now
 * and are not part of the undo belong to others.  They are looked for first, and make
 * the DELETE fail as they would under NO ACTION.  Those that were part of the undo are
 * gone by then, since it goes backwards.
 *
 * They are looked for as the caller.  A row that comes between the look and the DELETE
 * needs a lock on the row it refers to, which the undo holds.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit_undo.h"
#include "common/names.h"
#include "common/spi.h"
#include "common/usercode.h"

/* a foreign key that refers to the table */
typedef struct Cascade
{
	Oid			child;
	char	   *name;
	char	   *query;			/* finds a row */
} Cascade;

/* Foreign keys to $1 that change what refers to a deleted row: table, name, condition. */
static const char foreign_keys[] =
"SELECT c.conrelid, c.conname::pg_catalog.text, pg_catalog.string_agg(pg_catalog.format("
"'t.%I OPERATOR(%I.%s) c.%I', p.attname, n.nspname, o.oprname, a.attname), ' AND ') "
"FROM pg_catalog.pg_constraint c, "
"LATERAL ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conpfeqop)) "
"k (child, parent, op), pg_catalog.pg_attribute a, pg_catalog.pg_attribute p, pg_catalog.pg_operator o, "
"pg_catalog.pg_namespace n WHERE c.contype OPERATOR(pg_catalog.=) 'f' "
"AND c.confrelid OPERATOR(pg_catalog.=) $1 AND c.conparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid "
"AND c.confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog.\"char\"[]) "
"AND a.attrelid OPERATOR(pg_catalog.=) c.conrelid AND a.attnum OPERATOR(pg_catalog.=) k.child "
"AND p.attrelid OPERATOR(pg_catalog.=) c.confrelid AND p.attnum OPERATOR(pg_catalog.=) k.parent "
"AND o.oid OPERATOR(pg_catalog.=) k.op AND n.oid OPERATOR(pg_catalog.=) o.oprnamespace "
"GROUP BY c.oid, c.conrelid, c.conname";

/* Rows of the child that refer to one of the rows; of the same table, other rows than those. */
static char *
write_query(UndoTable *table, Oid child, const char *condition)
{
	StringInfoData q;

	initStringInfo(&q);
	appendStringInfo(&q, "SELECT 1 FROM " ROWS_NAME " r JOIN %s t ON %s JOIN %s c ON %s", AuditUndoTarget(table),
					 AuditUndoMatch(table), NamesQualified(child), condition);
	if (child == table->relid)
	{
		appendStringInfoString(&q, " WHERE NOT EXISTS (SELECT FROM " ROWS_NAME " own WHERE ");
		for (int i = 0; i < table->nkeys; i++)
			appendStringInfo(&q, "%sc.%s %s own.k%d", i ? " AND " : "",
							 quote_identifier(table->cols[table->keys[i]].name), table->equal[i], i);
		appendStringInfoChar(&q, ')');
	}
	appendStringInfoString(&q, " LIMIT 1");
	return q.data;
}

static void
find_cascades(UndoTable *table)
{
	SpiArg		args[1] = {SpiDatumArg(OIDOID, ObjectIdGetDatum(table->relid))};
	uint64		n;

	SPI_connect();
	n = SpiQuery(foreign_keys, 1, args);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(table));
		Cascade    *cascade = palloc(sizeof(Cascade));

		cascade->child = SpiOid(i, 1);
		cascade->name = SpiText(i, 2);
		cascade->query = write_query(table, cascade->child, SpiText(i, 3));
		table->cascades = lappend(table->cascades, cascade);
		MemoryContextSwitchTo(old);
	}
	table->cascades_known = true;
	SPI_finish();
}

/*
 * 23503 when deleting these rows of the table would change rows that are not part of the undo.
 * rows begin with the columns of the key.  42501 when the caller may not read a table that
 * refers to this one.
 */
void
AuditUndoRefuseCascade(UndoTable *table, Rows *rows)
{
	ListCell   *lc;

	if (!table->cascades_known)
		find_cascades(table);
	foreach(lc, table->cascades)
	{
		Cascade    *cascade = lfirst(lc);
		Portal		cursor;
		bool		found;

		SPI_connect();
		cursor = RowsCursor(rows, GetUserId(), cascade->query);
		UserCodeFetch(GetUserId(), cursor, 1);
		found = SPI_processed > 0;
		SPI_cursor_close(cursor);
		SPI_finish();
		if (found)
			ereport(ERROR,
					(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					 errmsg("table \"%s\" has rows that refer to table \"%s\" and are not part of the undo",
							get_rel_name(cascade->child), RelationGetRelationName(table->rel)),
					 errdetail("Foreign key \"%s\" would delete or change them.", cascade->name)));
	}
}
