/*
 * history_columns.c
 *	  Columns of tables, and the base of a history table, read from the catalogs.
 *
 * The base is looked for by name first: that of the history table without "his", in
 * the same schema.  Of the 230 published tables 213 have one.  For the other 17 the
 * columns are compared with those of every table of the schema, see HistoryAlike(): the
 * best one is the base if it has five columns or more that fit, two fifths of the history
 * table's, and a quarter more than the next best.  That finds 8 (hisdirec: direccion,
 * hisgesrecl: gestreclam, hismovccontra: movccontrato, hispreccal: preccalib, hispreotrc:
 * precotrcon, hissencob: senascobro, hiscontado: contador, hisbonific: bonificada).  The
 * other 9 have none, which is said.
 *
 * Only catalogs are read, of which every role may read these: no table is opened and no lock
 * waited for.  The columns of a schema are read once, when they are first needed, and
 * live as long as the caller's context.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/catalog.h"
#include "history/history.h"

#define MIN_ALIKE		5		/* columns */
#define MIN_ALIKE_SHARE	0.4
#define MIN_ALIKE_LEAD	1.25

typedef struct SchemaTable
{
	Oid			relid;
	HistoryColumns columns;
} SchemaTable;

/* The columns of a relation, in their order; none of one that is gone. */
void
HistoryReadColumns(Oid relid, HistoryColumns *out)
{
	CatalogRows rows;
	HeapTuple	tuple;
	int			room = 16;

	out->n = 0;
	out->column = palloc(room * sizeof(HistoryColumn));
	CatalogBegin(&rows, AttributeRelationId, AttributeRelidNumIndexId, Anum_pg_attribute_attrelid, relid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);
		HistoryColumn *column;

		if (att->attnum <= 0 || att->attisdropped)
			continue;
		if (out->n == room)
		{
			room *= 2;
			out->column = repalloc(out->column, room * sizeof(HistoryColumn));
		}
		column = &out->column[out->n++];
		column->name = pstrdup(NameStr(att->attname));
		column->attnum = att->attnum;
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->collation = att->attcollation;
		column->notnull = att->attnotnull;
		column->base = -1;
		column->rule = HISTORY_RULE_NONE;
	}
	CatalogEnd(&rows);
}

/* The index of a column by its name; -1: there is none. */
int
HistoryColumnIndex(const HistoryColumns *columns, const char *name)
{
	for (int i = 0; i < columns->n; i++)
		if (strcmp(columns->column[i].name, name) == 0)
			return i;
	return -1;
}

/*
 * The ordinary and partitioned tables of a schema with enough columns to be a base, and
 * with no history table's name.
 */
static void
read_schema(HistorySchema *out, Oid schema)
{
	MemoryContext old = MemoryContextSwitchTo(out->context);
	CatalogRows rows;
	HeapTuple	tuple;

	out->schema = schema;
	out->tables = NIL;
	CatalogBeginAll(&rows, RelationRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);
		SchemaTable *table;

		if (form->relnamespace != schema || form->relnatts < MIN_ALIKE || form->relispartition ||
			(form->relkind != RELKIND_RELATION && form->relkind != RELKIND_PARTITIONED_TABLE) ||
			strncmp(NameStr(form->relname), "his", 3) == 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		table = palloc(sizeof(SchemaTable));
		table->relid = form->oid;
		HistoryReadColumns(form->oid, &table->columns);
		out->tables = lappend(out->tables, table);
	}
	CatalogEnd(&rows);
	MemoryContextSwitchTo(old);
}

/* The table of a schema whose columns these are copies of; InvalidOid: none, or it is not clear. */
static Oid
find_by_columns(const HistorySchema *schema, Oid relid, const HistoryColumns *his)
{
	MemoryContext trial = AllocSetContextCreate(CurrentMemoryContext, "aquacis history base",
												ALLOCSET_DEFAULT_SIZES);
	Oid			best = InvalidOid;
	int			most = 0;
	int			second = 0;
	ListCell   *lc;

	foreach(lc, schema->tables)
	{
		SchemaTable *table = lfirst(lc);
		MemoryContext old;
		int			n;

		if (table->relid == relid)
			continue;
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(trial);
		n = HistoryAlike(his, &table->columns);
		MemoryContextSwitchTo(old);
		MemoryContextReset(trial);
		if (n > most)
		{
			second = most;
			most = n;
			best = table->relid;
		}
		else if (n > second)
			second = n;
	}
	MemoryContextDelete(trial);
	if (most < MIN_ALIKE || most < MIN_ALIKE_SHARE * his->n || most < MIN_ALIKE_LEAD * second)
		return InvalidOid;
	return best;
}

/*
 * The base of a history table, by its name, else by its columns; *from says which.
 * *cached is what has been read of a schema so far, and is kept by the caller for the next
 * table.
 */
Oid
HistoryFindBase(Oid relid, const HistoryColumns *his, HistorySchema *cached, HistoryBaseFrom *from)
{
	const char *name = get_rel_name(relid);
	Oid			schema = get_rel_namespace(relid);
	Oid			base = InvalidOid;
	char		kind;

	*from = HISTORY_BASE_NONE;
	if (name == NULL)
		return InvalidOid;
	if (strncmp(name, "his", 3) == 0 && name[3] != '\0')
		base = get_relname_relid(name + 3, schema);
	kind = OidIsValid(base) ? get_rel_relkind(base) : '\0';
	if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE)
	{
		*from = HISTORY_BASE_NAME;
		return base;
	}
	if (cached->schema != schema)
		read_schema(cached, schema);
	base = find_by_columns(cached, relid, his);
	if (OidIsValid(base))
		*from = HISTORY_BASE_COLUMNS;
	return base;
}
