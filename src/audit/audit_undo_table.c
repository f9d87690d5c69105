/*
 * audit_undo_table.c
 *	  The tables that the entries of an undo speak of, and their columns.
 *
 * An entry names its table by id, or, if it has none, by schema and name.  Which table
 * that is today, the registry says; a table that carries on the history of one that is
 * gone takes its place.  A table that has the name of one that had an id is not it.
 *
 * What keeps a whole table from being undone is no error here: UndoTable.missing says it,
 * and each of its rows is a conflict.
 *
 * Tables are opened once and stay open, in the caller's lock mode, so that columns do
 * not change between reading and writing.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "audit/audit_undo.h"
#include "common/catalog.h"

/* ---- which table ------------------------------------------------------------------------- */

/* The table that has an id, or carries on its history; InvalidOid: gone. */
static Oid
table_of_id(Undo *undo, int32 id)
{
	for (int i = 0; i < 100 && id != 0; i++)
	{
		AuditRegistered row;

		if (!AuditRegistryById(undo->fnoid, id, &row))
			return InvalidOid;
		if (OidIsValid(row.relid) && get_rel_relkind(row.relid) != '\0')
			return row.relid;
		id = AuditRegistryHeir(undo->fnoid, id);
	}
	return InvalidOid;
}

static Oid
table_of_name(const char *schema, const char *name)
{
	Oid			nspoid;

	if (schema == NULL)
		return RelnameGetRelid(name);
	nspoid = get_namespace_oid(schema, true);
	return OidIsValid(nspoid) ? get_relname_relid(name, nspoid) : InvalidOid;
}

/* ---- columns ------------------------------------------------------------------------------- */

static UndoColumn *
add_column(Undo *undo, UndoTable *table, const char *name, int len)
{
	UndoColumn *col;

	if (table->ncols == table->maxcols)
	{
		table->maxcols = table->maxcols * 2 + 16;
		table->cols = table->cols ? repalloc(table->cols, sizeof(UndoColumn) * table->maxcols)
			: MemoryContextAlloc(undo->cxt, sizeof(UndoColumn) * table->maxcols);
	}
	col = &table->cols[table->ncols++];
	memset(col, 0, sizeof(*col));
	col->name = MemoryContextAllocZero(undo->cxt, len + 1);
	memcpy(col->name, name, len);
	col->namelen = len;
	return col;
}

static int
compare_names(const char *a, int alen, const char *b, int blen)
{
	return alen != blen ? alen - blen : memcmp(a, b, alen);
}

static int
by_name(const void *a, const void *b)
{
	const UndoColumn *x = a;
	const UndoColumn *y = b;

	return compare_names(x->name, x->namelen, y->name, y->namelen);
}

/* The index of a column of the table by its name; one that is gone is added with attnum 0. */
int
AuditUndoColumnOf(Undo *undo, UndoTable *table, const char *name, int len)
{
	int			low = 0;
	int			high = table->nsorted;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = compare_names(table->cols[middle].name, table->cols[middle].namelen, name, len);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (int i = table->nsorted; i < table->ncols; i++)
		if (compare_names(table->cols[i].name, table->cols[i].namelen, name, len) == 0)
			return i;
	add_column(undo, table, name, len);
	return table->ncols - 1;
}

static void
read_columns(Undo *undo, UndoTable *table)
{
	TupleDesc	desc = RelationGetDescr(table->rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		UndoColumn *col;

		if (att->attisdropped)
			continue;
		col = add_column(undo, table, NameStr(att->attname), strlen(NameStr(att->attname)));
		col->attnum = att->attnum;
		col->generated = att->attgenerated != '\0';
		col->redacted = AuditIsListed(table->args.redact, col->name);
		col->excluded = AuditIsListed(table->args.exclude, col->name);
		col->typid = att->atttypid;
		col->typmod = att->atttypmod;
		col->collation = att->attcollation;
		AuditInitColumn(&col->convert, att, table->owner, undo->cxt);
	}
	table->nsorted = table->ncols;
	qsort(table->cols, table->ncols, sizeof(UndoColumn), by_name);
}

/* ---- the key ----------------------------------------------------------------------------- */

/* The operator, qualified; NULL when the type has none. */
static char *
equality(Oid typid, bool *ordered)
{
	TypeCacheEntry *type = lookup_type_cache(typid, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR);
	Oid			schema;

	if (!OidIsValid(type->eq_opr))
		return NULL;
	if (!OidIsValid(type->lt_opr))
		*ordered = false;
	schema = CatalogOid(OPEROID, type->eq_opr, Anum_pg_operator_oprnamespace);
	return psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(schema)), get_opname(type->eq_opr));
}

static void
read_key(Undo *undo, UndoTable *table)
{
	List	   *names = table->args.key;
	ListCell   *lc;

	if (names == NIL)
		names = AuditIndexKey(table->rel);
	if (names == NIL)
	{
		table->missing = "the table has no key any more";
		return;
	}
	table->ordered = true;
	table->keys = palloc(sizeof(int) * list_length(names));
	table->equal = palloc(sizeof(char *) * list_length(names));
	foreach(lc, names)
	{
		const char *name = lfirst(lc);
		int			i = AuditUndoColumnOf(undo, table, name, strlen(name));

		if (table->cols[i].attnum == 0)
		{
			table->missing = psprintf("key column \"%s\" is gone", name);
			return;
		}
		table->keys[table->nkeys] = i;
		table->keylist = lappend_int(table->keylist, i);
		table->equal[table->nkeys] = equality(table->cols[i].typid, &table->ordered);
		if (table->equal[table->nkeys] == NULL)
		{
			table->missing = psprintf("key column \"%s\" is of a type that cannot be compared", name);
			return;
		}
		table->nkeys++;
	}
}

/* ---- tables ------------------------------------------------------------------------------ */

/* Opens the table, unless it is gone or is no table any more. */
static void
open_table(Undo *undo, UndoTable *table)
{
	Oid			root;

	table->missing = "the table is gone";
	if (!OidIsValid(table->relid))
		return;
	table->rel = try_table_open(table->relid, undo->apply ? RowExclusiveLock : AccessShareLock);
	if (table->rel == NULL)
		return;
	if (table->rel->rd_rel->relkind != RELKIND_RELATION &&
		table->rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
	{
		table->missing = "it is no table any more";
		return;
	}
	table->missing = NULL;
	table->owner = table->rel->rd_rel->relowner;
	if (!AuditFindTrigger(table->relid, AuditTriggerFunction(undo->fnoid), &table->args, &root))
		AuditParseArgs(0, NULL, &table->args);
	read_columns(undo, table);
	read_key(undo, table);
}

static UndoTable *
add_table(Undo *undo, int32 id, const char *schema, const char *name)
{
	UndoTable  *table = palloc0(sizeof(UndoTable));
	ListCell   *lc;

	table->id = id;
	table->schema = schema ? pstrdup(schema) : NULL;
	table->name = pstrdup(name);
	table->relid = id != 0 ? table_of_id(undo, id) : table_of_name(schema, name);
	/* the same table under another name or id is the same table */
	foreach(lc, undo->tables)
	{
		UndoTable  *other = lfirst(lc);

		if (OidIsValid(table->relid) && other->relid == table->relid)
			return other;
	}
	open_table(undo, table);
	/* entries of the table, to say who stands in the way of an undo */
	if (table->rel != NULL)
		AuditScopeOfTable(table->relid, undo->fnoid, &table->scope);
	table->scope.logid = undo->columns.relid;
	table->scope.columns = undo->columns;
	undo->tables = lappend(undo->tables, table);
	return table;
}

/*
 * The table of an entry.  id is what the entry says; 0: nothing.  The result belongs to the
 * undo, and is never NULL.  22023 when a trigger's arguments cannot be read.
 */
UndoTable *
AuditUndoTableOf(Undo *undo, int32 id, const char *schema, const char *name)
{
	MemoryContext old = MemoryContextSwitchTo(undo->cxt);
	UndoTableName *known = NULL;
	ListCell   *lc;

	foreach(lc, undo->names)
	{
		UndoTableName *entry = lfirst(lc);

		if (entry->id == id && strcmp(entry->name, name) == 0 &&
			(schema == NULL ? entry->schema == NULL : entry->schema && strcmp(entry->schema, schema) == 0))
		{
			known = entry;
			break;
		}
	}
	if (known == NULL)
	{
		known = palloc(sizeof(UndoTableName));
		known->id = id;
		known->schema = schema ? pstrdup(schema) : NULL;
		known->name = pstrdup(name);
		known->table = add_table(undo, id, schema, name);
		undo->names = lappend(undo->names, known);
	}
	MemoryContextSwitchTo(old);
	return known->table;
}
