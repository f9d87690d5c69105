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

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/names.h"

static HTAB *tables = NULL;
static MemoryContext tables_cxt = NULL;
static List *garbage = NIL;		/* contexts to free when the transaction ends */
static bool any_invalid = false;

/* Makes the cache.  Once per session. */
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

/* Marks the entries that depend on a relation; all of them for InvalidOid. */
void
AuditTableInvalidate(Oid relid)
{
	HASH_SEQ_STATUS scan;
	AuditTable *table;

	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
	{
		if (relid == InvalidOid || table->relid == relid || table->rootid == relid ||
			table->logid == relid || table->unnamed || list_member_oid(table->types.rows, relid))
			invalidate(table);
	}
}

/* Marks the entries that depend on a type; hash as in AuditKnowsType. */
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

/* At the end of a transaction nothing is in use: frees stale entries, those of dropped tables too. */
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

/* ---- building an entry ----------------------------------------------------------- */

/* The columns that are logged, and those of the key, in the order of a jsonb object's keys. */
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
		if (AuditIsListed(key, name))
			AuditInitColumn(&table->keycols[table->nkeycols++], att, rel->rd_rel->relowner,
							table->cxt);
		/* the value of a virtual column is not in the row: the log would say null */
		if (!AuditIsListed(args->exclude, name) && !AuditIsVirtual(att))
		{
			AuditColumn *col = &table->cols[table->ncols++];

			AuditInitColumn(col, att, rel->rd_rel->relowner, table->cxt);
			col->redact = AuditIsListed(args->redact, name);
			col->in_key = AuditIsListed(key, name);
		}
	}
	qsort(table->cols, table->ncols, sizeof(AuditColumn), AuditCompareColumns);
	qsort(table->keycols, table->nkeycols, sizeof(AuditColumn), AuditCompareColumns);

	AuditPrepareCompare(table, desc);
	table->last_key = 0;
	for (int i = 0; i < table->nkeycols; i++)
		table->last_key = Max(table->last_key, table->keycols[i].attnum);
	AuditPrepareKeys(&table->keys, table->cols, table->ncols);
	AuditPreparePair(&table->pair);
	AuditPrepareKeys(&table->keykeys, table->keycols, table->nkeycols);
}

static void
describe_key(AuditTable *table, TupleDesc desc)
{
	int			precision = 0;

	table->integer_key = table->nkeycols == 1 &&
		AuditIsInteger(TupleDescAttr(desc, table->keycols[0].attnum - 1), &precision);
	table->numeric_wide = precision > 18;
}

/*
 * 42703 for a redacted column that is gone: it may have been renamed, and its values would
 * be logged.  22023 for one that is part of the key, which is logged.  (An excluded column
 * that is gone does no harm.)
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
							 NamesLiteral(RelationGetRelid(rel)))));
		if (AuditIsListed(key, lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a key column cannot be redacted"),
					 errdetail("Column \"%s\" of table \"%s\" is part of the key, which is logged.",
							   (char *) lfirst(lc), RelationGetRelationName(rel)),
					 errhint("Call audit_enable(%s, key => ...) with another key.",
							 NamesLiteral(RelationGetRelid(rel)))));
	}
}

/* What the trigger leaves to those of tables above: only a partition has any. */
static void
describe_silence(AuditTable *table, Relation rel, Trigger *trigger)
{
	List	   *triggers;

	table->silent[false] = table->silent[true] = 0;
	if (!rel->rd_rel->relispartition)
		return;
	triggers = AuditTriggersOf(RelationGetRelid(rel), trigger->tgfoid);
	for (int replica = false; replica <= true; replica++)
		table->silent[replica] = AuditSilentEvents(triggers, trigger->tgoid, replica);
}

/*
 * The id that a trigger's argument says, if the registry says so, too; else 0, and the
 * entries are known by the table's name.
 */
static int32
confirmed_id(Oid fnoid, int32 id, Oid rootid)
{
	AuditRegistered row;

	return id != 0 && AuditRegistryById(fnoid, id, &row) && row.relid == rootid ? id : 0;
}

/*
 * Builds an entry, or builds it again.  It is valid afterwards unless an invalidation came
 * in meanwhile.  The old context is freed at once, or at the end of the transaction if the
 * entry is in use.
 */
static void
build(AuditTable *table, TriggerData *trigdata, Oid fnoid)
{
	Trigger    *trigger = trigdata->tg_trigger;
	Relation	rel = trigdata->tg_relation;
	MemoryContext oldcontext;
	AuditArgs	args;
	Oid			relid = RelationGetRelid(rel);
	Oid			rootid;
	List	   *key = NIL;
	List	   *generated;

	if (table->cxt && table->in_use > 0)
	{
		oldcontext = MemoryContextSwitchTo(tables_cxt);
		garbage = lappend(garbage, table->cxt);
		MemoryContextSwitchTo(oldcontext);
	}
	else if (table->cxt)
		MemoryContextDelete(table->cxt);
	table->cxt = NULL;
	table->types.n = 0;
	table->types.rows = NIL;

	AuditParseArgs(trigger->tgnargs, trigger->tgargs, &args);
	rootid = AuditTriggerRoot(trigger->tgoid, relid);
	AuditReadBinding(trigger->tgoid, &args);
	generated = AuditGeneratedFrom(rel, args.redact);

	/* from here on an invalidation of any of the three reaches the entry */
	any_invalid = true;
	table->stale = false;
	table->relid = relid;
	table->rootid = rootid;
	table->logid = AuditResolveLog(&args, fnoid, rootid, false);
	table->unnamed = !AuditHasName(table->logid, &args, fnoid);
	AuditRefuseOwnLog(rel, table->logid);

	table->cxt = AllocSetContextCreate(tables_cxt, "aquacis audited table",
									   ALLOCSET_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(table->cxt);
	table->schema_name = CStringGetTextDatum(get_namespace_name(get_rel_namespace(rootid)));
	table->table_name = CStringGetTextDatum(get_rel_name(rootid));
	if (TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		key = AuditKeyNames(rel, args.key);
	check_redacted(rel, args.redact, key);
	args.redact = list_concat(args.redact, generated);
	describe_columns(table, rel, &args, key);
	describe_key(table, RelationGetDescr(rel));
	table->id = confirmed_id(fnoid, args.id, rootid);
	describe_silence(table, rel, trigger);
	table->row_size = 1024;
	MemoryContextSwitchTo(oldcontext);
	table->valid = !table->stale;
}

/*
 * The entry of the trigger that is being fired.  It belongs to the cache; a caller
 * who uses it while invalidations can be processed adds 1 to in_use.  Raises what keeps the
 * table from being audited: 22023 (arguments), 42703, 55000 (key), 42P01, 42501 (log).
 */
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
