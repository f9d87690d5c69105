/*
 * audit_table.c
 *	  What the trigger needs to know of an audited table, worked out once.
 *
 * One AuditTable for each trigger, found by the trigger's OID.  A partition has
 * a trigger of its own (a clone), so it has an entry of its own, with its own
 * column numbers, but is logged under the table where the trigger was made.
 *
 * Everything in an entry hangs on its context.  Invalidation (any change of the
 * table, of the table it is logged as or of the log, of a type of its columns; of
 * any schema or cast) only clears "valid".  The next use builds a new context.  The old one is
 * freed then, or at the end of the transaction when a caller further up the
 * stack still holds it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/partition.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "audit/audit.h"
#include "common/insertion.h"

static HTAB *tables = NULL;
static MemoryContext tables_cxt = NULL;
static List *garbage = NIL;		/* contexts to free when the transaction ends */
static bool any_invalid = false;

void
AuditTableInit(void)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(AuditTable)};

	tables_cxt = AllocSetContextCreate(TopMemoryContext, "aquacis audited tables",
									   ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = tables_cxt;
	tables = hash_create("aquacis audited tables", 64, &ctl,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
invalidate(AuditTable *table)
{
	table->valid = false;
	table->stale = true;
	any_invalid = true;
}

void
AuditTableInvalidate(Oid relid)
{
	HASH_SEQ_STATUS scan;
	AuditTable *table;

	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
	{
		if (relid == InvalidOid || table->relid == relid || table->rootid == relid ||
			table->logid == relid)
			invalidate(table);
	}
}

void
AuditTableInvalidateType(uint32 hash)
{
	HASH_SEQ_STATUS scan;
	AuditTable *table;

	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
		if (AuditKnowsType(&table->types, hash))
			invalidate(table);
}

/* Nothing is in use any more: drop what is stale, so that dropped tables leave. */
void
AuditTableEndXact(void)
{
	HASH_SEQ_STATUS scan;
	AuditTable *table;

	if (any_invalid)
	{
		hash_seq_init(&scan, tables);
		while ((table = hash_seq_search(&scan)) != NULL)
		{
			table->in_use = 0;
			if (!table->valid)
			{
				if (table->cxt)
					MemoryContextDelete(table->cxt);
				hash_search(tables, &table->tgoid, HASH_REMOVE, NULL);
			}
		}
		any_invalid = false;
	}
	while (garbage != NIL)
	{
		MemoryContextDelete(linitial(garbage));
		garbage = list_delete_first(garbage);
	}
}

/* ---- names and keys ------------------------------------------------------------ */

/* Of a table that inherits from one other, that one. */
static Oid
only_parent(Oid relid)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;
	Oid			parent = InvalidOid;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		parent = ((Form_pg_inherits) GETSTRUCT(tup))->inhparent;
		if (HeapTupleIsValid(systable_getnext(scan)))
			parent = InvalidOid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return parent;
}

/* An ordinary table whose rows an extension puts into others, as TimescaleDB does. */
bool
AuditIsHypertable(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	bool		result;

	if (rel == NULL)
		return false;
	result = rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_rules == NULL &&
		!InsertionIsPlain(rel);
	table_close(rel, AccessShareLock);
	return result;
}

/* The hypertable from which a chunk inherits; InvalidOid for everything else. */
Oid
AuditHypertableOf(Oid relid)
{
	Oid			parent = InvalidOid;

	if (InsertionIsHooked() && !get_rel_relispartition(relid))
		parent = only_parent(relid);
	return OidIsValid(parent) && AuditIsHypertable(parent) ? parent : InvalidOid;
}

static bool
read_trigger(Oid tgoid, FormData_pg_trigger *trigger)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;
	bool		found;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(tgoid));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
	tup = systable_getnext(scan);
	found = HeapTupleIsValid(tup);
	if (found)
		memcpy(trigger, GETSTRUCT(tup), sizeof(FormData_pg_trigger));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * A hypertable's triggers are made again on every chunk, under the same name and
 * with nothing in the catalogs that calls them copies.
 */
static Oid
copied_from(const FormData_pg_trigger *trigger)
{
	Oid			hypertable = AuditHypertableOf(trigger->tgrelid);
	FormData_pg_trigger its;

	if (OidIsValid(hypertable) &&
		read_trigger(get_trigger_oid(hypertable, NameStr(trigger->tgname), true), &its) &&
		its.tgfoid == trigger->tgfoid)
		return hypertable;
	return trigger->tgrelid;
}

/* The table on which a trigger was made, of which this one may be a clone or a copy. */
Oid
AuditTriggerRoot(Oid tgoid, Oid relid)
{
	FormData_pg_trigger trigger;
	bool		found = false;

	while (OidIsValid(tgoid) && read_trigger(tgoid, &trigger))
	{
		found = true;
		tgoid = trigger.tgparentid;
	}
	return found ? copied_from(&trigger) : relid;
}

/* The columns of the primary key, else of the replica identity index, else NIL. */
List *
AuditIndexKey(Relation rel)
{
	List	   *names = NIL;
	bool		primary = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		HeapTuple	tup = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tup))
			elog(ERROR, "cache lookup failed for index %u", lfirst_oid(lc));
		index = (Form_pg_index) GETSTRUCT(tup);
		if (index->indisprimary || (index->indisreplident && !primary))
		{
			names = NIL;
			primary = index->indisprimary;
			for (int i = 0; i < index->indnkeyatts; i++)
				names = lappend(names, get_attname(RelationGetRelid(rel),
												   index->indkey.values[i], false));
		}
		ReleaseSysCache(tup);
	}
	return names;
}

/* The first of the names that no column has any more, else NULL. */
static char *
missing_column(Relation rel, List *names)
{
	ListCell   *lc;

	foreach(lc, names)
		if (get_attnum(RelationGetRelid(rel), lfirst(lc)) <= 0)
			return lfirst(lc);
	return NULL;
}

/*
 * The key columns: those given, else those of the index.  A given one may have
 * been renamed since; no write shall fail for that while an index tells the key.
 */
List *
AuditKeyNames(Relation rel, List *given)
{
	List	   *names = given;
	char	   *missing = missing_column(rel, given);

	if (names == NIL || missing)
		names = AuditIndexKey(rel);
	if (missing)
		ereport(names == NIL ? ERROR : WARNING,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("key column \"%s\" of the audit does not exist", missing),
				 names == NIL ?
				 errdetail("Table \"%s\" has no such column, and no primary key instead.",
						   RelationGetRelationName(rel)) :
				 errdetail("Table \"%s\" has no such column; rows are logged by its primary key "
						   "or replica identity instead.", RelationGetRelationName(rel)),
				 errhint("Call audit_enable(%s, key => ...) with the columns of its key.",
						 AuditTableLiteral(RelationGetRelid(rel)))));
	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" cannot be audited without a key",
						RelationGetRelationName(rel)),
				 errdetail("It has no primary key and no replica identity index."),
				 errhint("Name the key columns: audit_enable(%s, key => '{column}').",
						 AuditTableLiteral(RelationGetRelid(rel)))));
	return names;
}

static bool
list_has(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

Oid
AuditResolveLog(const AuditArgs *args, Oid fnoid, bool missing_ok)
{
	Oid			nsp = args->log_schema ? get_namespace_oid(args->log_schema, true)
		: get_func_namespace(fnoid);
	Oid			relid = OidIsValid(nsp) ? get_relname_relid(args->log_name, nsp) : InvalidOid;

	if (!OidIsValid(relid) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the audit log \"%s\" does not exist", args->log_name),
				 errdetail("It is expected in schema \"%s\".",
						   args->log_schema ? args->log_schema : get_namespace_name(nsp)),
				 errhint("Create it with audit_install().")));
	return relid;
}

/* ---- building an entry ----------------------------------------------------------- */

/* Refuses when log is the table itself, or one that contains it. */
void
AuditRefuseOwnLog(Relation rel, Oid logid)
{
	bool		own = RelationGetRelid(rel) == logid;

	if (!own && rel->rd_rel->relispartition)
		own = list_member_oid(get_partition_ancestors(RelationGetRelid(rel)), logid);
	else if (!own)
		own = AuditHypertableOf(RelationGetRelid(rel)) == logid;
	if (own)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("an audit log cannot audit itself"),
				 errdetail("Table \"%s\" is the log, or a partition of it.",
						   RelationGetRelationName(rel)),
				 errhint("Drop the trigger: audit_disable(%s).",
						 AuditTableLiteral(RelationGetRelid(rel)))));
}

static void
describe_columns(AuditTable *table, Relation rel, const AuditArgs *args, List *key)
{
	TupleDesc	desc = RelationGetDescr(rel);

	table->natts = desc->natts;
	table->cols = palloc0(sizeof(AuditColumn) * Max(desc->natts, 1));
	table->keycols = palloc0(sizeof(AuditColumn) * list_length(key));
	table->ncols = table->nkeycols = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name = NameStr(att->attname);

		if (att->attisdropped)
			continue;
		AuditNoteType(&table->types, att->atttypid);
		if (list_has(key, name))
			AuditInitColumn(&table->keycols[table->nkeycols++], att, table->cxt);
		if (!list_has(args->exclude, name))
		{
			AuditColumn *col = &table->cols[table->ncols++];

			AuditInitColumn(col, att, table->cxt);
			col->redact = list_has(args->redact, name);
		}
	}
	qsort(table->cols, table->ncols, sizeof(AuditColumn), AuditCompareColumns);
	qsort(table->keycols, table->nkeycols, sizeof(AuditColumn), AuditCompareColumns);

	table->colp = palloc(sizeof(AuditColumn *) * Max(table->ncols, 1));
	for (int i = 0; i < table->ncols; i++)
		table->colp[i] = &table->cols[i];
	table->keycolp = palloc(sizeof(AuditColumn *) * table->nkeycols);
	for (int i = 0; i < table->nkeycols; i++)
		table->keycolp[i] = &table->keycols[i];
	AuditPrepareCompare(table, desc);
	table->last_key = 0;
	for (int i = 0; i < table->nkeycols; i++)
		table->last_key = Max(table->last_key, table->keycols[i].attnum);
	AuditPrepareKeys(&table->keys, table->colp, table->ncols);
	AuditPrepareKeys(&table->keykeys, table->keycolp, table->nkeycols);
}

/* Whether a column holds integers: those types, and numeric(n,0). */
static bool
is_integer(Form_pg_attribute att, int *precision)
{
	int32		typmod = att->atttypmod;
	Oid			basetype = getBaseTypeAndTypmod(att->atttypid, &typmod);

	*precision = 0;
	if (basetype == INT2OID || basetype == INT4OID || basetype == INT8OID)
		return true;
	if (basetype != NUMERICOID || typmod < (int32) VARHDRSZ ||
		((typmod - VARHDRSZ) & 0x7ff) != 0)
		return false;
	*precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	return true;
}

bool
AuditIntegerKey(Relation rel, const char *column)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), column);
	int			precision;

	return is_integer(TupleDescAttr(RelationGetDescr(rel), attnum - 1), &precision);
}

static void
describe_key(AuditTable *table, TupleDesc desc)
{
	int			precision = 0;

	table->integer_key = table->nkeycols == 1 &&
		is_integer(TupleDescAttr(desc, table->keycols[0].attnum - 1), &precision);
	table->numeric_wide = precision > 18;
}

/*
 * An excluded column that is gone needs nothing.  A redacted one may have been
 * renamed, and its values would show; so they would in a key.
 */
static void
check_redacted(Relation rel, List *names, List *key)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (get_attnum(RelationGetRelid(rel), lfirst(lc)) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("redacted column \"%s\" does not exist", (char *) lfirst(lc)),
					 errdetail("Table \"%s\" has no such column; under another name its "
							   "values would be logged.", RelationGetRelationName(rel)),
					 errhint("Call audit_enable(%s, redact => ...) with the columns it has.",
							 AuditTableLiteral(RelationGetRelid(rel)))));
		if (list_has(key, lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a key column cannot be redacted"),
					 errdetail("Column \"%s\" of table \"%s\" is part of the key, which is logged.",
							   (char *) lfirst(lc), RelationGetRelationName(rel)),
					 errhint("Call audit_enable(%s, key => ...) with another key.",
							 AuditTableLiteral(RelationGetRelid(rel)))));
	}
}

static void
build(AuditTable *table, TriggerData *trigdata, Oid fnoid)
{
	Trigger    *trigger = trigdata->tg_trigger;
	Relation	rel = trigdata->tg_relation;
	MemoryContext old;
	AuditArgs	args;
	Oid			relid = RelationGetRelid(rel);
	Oid			rootid;
	List	   *key = NIL;

	if (table->cxt && table->in_use > 0)
	{
		old = MemoryContextSwitchTo(tables_cxt);
		garbage = lappend(garbage, table->cxt);
		MemoryContextSwitchTo(old);
	}
	else if (table->cxt)
		MemoryContextDelete(table->cxt);
	table->cxt = NULL;
	table->types.n = 0;

	AuditParseArgs(trigger->tgnargs, trigger->tgargs, &args);
	rootid = AuditTriggerRoot(trigger->tgoid, relid);

	/* from here on an invalidation of any of the three reaches the entry */
	any_invalid = true;
	table->stale = false;
	table->relid = relid;
	table->rootid = rootid;
	table->logid = AuditResolveLog(&args, fnoid, false);
	AuditRefuseOwnLog(rel, table->logid);

	table->cxt = AllocSetContextCreate(tables_cxt, "aquacis audited table",
									   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(table->cxt);
	table->schema_name = CStringGetTextDatum(get_namespace_name(get_rel_namespace(rootid)));
	table->table_name = CStringGetTextDatum(get_rel_name(rootid));
	if (TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		key = AuditKeyNames(rel, args.key);
	check_redacted(rel, args.redact, key);
	describe_columns(table, rel, &args, key);
	describe_key(table, RelationGetDescr(rel));
	table->row_size = 1024;
	MemoryContextSwitchTo(old);
	table->valid = !table->stale;
}

AuditTable *
AuditTableGet(TriggerData *trigdata, Oid fnoid)
{
	AuditTable *table;
	bool		found;

	table = hash_search(tables, &trigdata->tg_trigger->tgoid, HASH_ENTER, &found);
	if (!found)
	{
		Oid			tgoid = table->tgoid;

		memset(table, 0, sizeof(*table));
		table->tgoid = tgoid;
		any_invalid = true;
	}
	while (unlikely(!table->valid))
	{
		CHECK_FOR_INTERRUPTS();
		build(table, trigdata, fnoid);
	}
	return table;
}
