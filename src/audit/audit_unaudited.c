/*
 * audit_unaudited.c
 *	  audit_unaudited: tables that nobody audits, or whose audit does not see every change.
 *
 * One pass over pg_trigger says what the triggers of each table see, one over audit_table
 * which tables were audited once, one over pg_class which tables there are.  Nothing else is
 * read: no table, no log.  So it waits for no lock on a table, and every role may ask; what it
 * shows of tables, every role can read in pg_class.
 *
 * A partitioned table stands for its partitions.  One of them is listed only if it is seen
 * less than the partitioned table: its clone of the trigger is disabled, for instance.
 * Everything lives in the context of the call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "common/catalog.h"
#include "common/hypertable.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_unaudited);

/* what the triggers of one table see */
typedef struct Seen
{
	Oid			relid;			/* hash key */
	List	   *triggers;		/* of AuditTrigger */
	int			all;			/* AUDIT_SEES_ */
	int			some;
} Seen;

/* all that is known before tables are looked at */
typedef struct Known
{
	Oid			fnoid;
	HTAB	   *seen;
	List	   *registered;		/* of AuditRegistered */
	List	   *logs;			/* OIDs */
	List	   *roots;			/* OIDs: partitioned tables with a partition that has a trigger */
} Known;

/* a row of the result */
typedef struct Unaudited
{
	Oid			relid;
	char	   *schema;
	char	   *name;
	const char *reason;
	TimestampTz last;			/* 0: not known */
	float4		rows;			/* below 0: not known */
	bool		has_key;
} Unaudited;

/* ---- what is known ------------------------------------------------------------------- */

/* The topmost table above a partition; InvalidOid for one that is being detached. */
static Oid
top_of(Oid relid)
{
	List	   *ancestors = get_partition_ancestors(relid);

	return ancestors == NIL ? InvalidOid : llast_oid(ancestors);
}

static void
note_trigger(Known *known, AuditTrigger *trigger)
{
	bool		found;
	Seen	   *seen = hash_search(known->seen, &trigger->relid, HASH_ENTER, &found);

	if (!found)
		seen->triggers = NIL;
	seen->triggers = lappend(seen->triggers, trigger);
	if (trigger->rootid != trigger->relid)
		return;
	if (OidIsValid(AuditTriggerLog(trigger)))
		known->logs = list_append_unique_oid(known->logs, AuditTriggerLog(trigger));
	if (get_rel_relispartition(trigger->relid))
		known->roots = list_append_unique_oid(known->roots, top_of(trigger->relid));
}

static void
learn(Known *known, Oid fnoid)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Seen), .hcxt = CurrentMemoryContext};
	Oid			log = get_relname_relid("audit_log", get_func_namespace(fnoid));
	HASH_SEQ_STATUS scan;
	Seen	   *seen;
	ListCell   *lc;

	known->fnoid = fnoid;
	known->logs = OidIsValid(log) ? list_make1_oid(log) : NIL;
	known->roots = NIL;
	known->seen = hash_create("audited tables", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	foreach(lc, AuditTriggersOf(InvalidOid, AuditTriggerFunction(fnoid)))
		note_trigger(known, lfirst(lc));
	hash_seq_init(&scan, known->seen);
	while ((seen = hash_seq_search(&scan)) != NULL)
		seen->all = AuditEventsSeen(seen->triggers, &seen->some);
	known->registered = AuditRegistryAll(fnoid);
	foreach(lc, known->registered)
	{
		AuditRegistered *row = lfirst(lc);

		if (OidIsValid(row->log))
			known->logs = list_append_unique_oid(known->logs, row->log);
	}
}

/* The events of which all are seen of a table, or of which some are. */
static int
seen_of(const Known *known, Oid relid, bool some)
{
	Seen	   *seen = hash_search(known->seen, &relid, HASH_FIND, NULL);

	return seen == NULL ? 0 : some ? seen->some : seen->all;
}

/* ---- which tables ---------------------------------------------------------------------- */

static bool
has_column(Oid relid, const char *name)
{
	return get_attnum(relid, name) > 0 || get_attnum(relid, psprintf("al_%s", name)) > 0;
}

/* Is it a log, a part of one, or a month that was taken off one? */
static bool
is_log(const Known *known, Oid relid, bool ispartition)
{
	return list_member_oid(known->logs, relid) ||
		(ispartition && list_member_oid(known->logs, top_of(relid))) ||
		(has_column(relid, "old_data") && has_column(relid, "new_data") && has_column(relid, "changed_fields"));
}

/* Is this a table whose changes somebody could expect to be audited, and that are not? */
static bool
is_wanted(const Known *known, Form_pg_class form)
{
	int			all = seen_of(known, form->oid, false) & AUDIT_SEES_ROWS;

	if ((form->relkind != RELKIND_RELATION && form->relkind != RELKIND_PARTITIONED_TABLE) ||
		form->relpersistence == RELPERSISTENCE_TEMP || form->oid < FirstNormalObjectId ||
		all == AUDIT_SEES_ROWS)
		return false;
	/* a partition, unless its table is seen better */
	if (form->relispartition &&
		(form->relkind != RELKIND_RELATION ||
		 (seen_of(known, top_of(form->oid), false) & AUDIT_SEES_ROWS & ~all) == 0))
		return false;
	return !is_log(known, form->oid, form->relispartition) &&
		!OidIsValid(getExtensionOfObject(RelationRelationId, form->oid)) &&
		!OidIsValid(HypertableOf(form->oid));
}

/* ---- why ------------------------------------------------------------------------------- */

/* Does the table inherit from one that is audited? */
static bool
has_audited_parent(const Known *known, Oid relid)
{
	CatalogRows rows;
	HeapTuple	tuple;
	bool		found = false;

	CatalogBegin(&rows, InheritsRelationId, InheritsRelidSeqnoIndexId, Anum_pg_inherits_inhrelid, relid);
	while (!found && HeapTupleIsValid(tuple = CatalogNext(&rows)))
		found = seen_of(known, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent, true) != 0;
	CatalogEnd(&rows);
	return found;
}

/* The registered table that this one is, or whose name it has taken: the latest. */
static AuditRegistered *
find_registered(const Known *known, const Unaudited *one)
{
	AuditRegistered *by_name = NULL;
	AuditRegistered *by_oid = NULL;
	ListCell   *lc;

	foreach(lc, known->registered)
	{
		AuditRegistered *row = lfirst(lc);

		if (row->relid == one->relid)
			by_oid = row;
		else if (strcmp(row->name, one->name) == 0 && strcmp(row->schema, one->schema) == 0 &&
				 (!OidIsValid(row->relid) || get_rel_relkind(row->relid) == '\0'))
			by_name = row;
	}
	return by_oid ? by_oid : by_name;
}

/* Fills in the reason, and since when. */
static void
find_reason(const Known *known, Unaudited *one)
{
	AuditRegistered *row = find_registered(known, one);

	one->last = row && row->disabled ? row->disabled_at : 0;
	if (seen_of(known, one->relid, true) != 0 || list_member_oid(known->roots, one->relid))
		one->reason = "partial";
	else if (hash_search(known->seen, &one->relid, HASH_FIND, NULL) != NULL)
		one->reason = "disabled";
	else if (row != NULL)
		one->reason = row->relid == one->relid ? "was_audited" : "recreated";
	else if (has_audited_parent(known, one->relid))
		one->reason = "inherits";
	else
		one->reason = "never";
}

/* Has the table a primary key or a replica identity index, so that audit_enable needs none? */
static bool
has_key(Oid relid)
{
	CatalogRows rows;
	HeapTuple	tuple;
	bool		found = false;

	CatalogBegin(&rows, IndexRelationId, IndexIndrelidIndexId, Anum_pg_index_indrelid, relid);
	while (!found && HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);

		found = index->indisvalid && (index->indisprimary || index->indisreplident);
	}
	CatalogEnd(&rows);
	return found;
}

/* The planner's number of rows, of partitions together; below 0 if it has none. */
static float4
estimated_rows(Form_pg_class form)
{
	float4		rows = form->reltuples;
	ListCell   *lc;

	if (rows >= 0 || form->relkind != RELKIND_PARTITIONED_TABLE)
		return rows;
	foreach(lc, find_all_inheritors(form->oid, NoLock, NULL))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(lc)));
		float4		part = -1;

		if (HeapTupleIsValid(tuple))
		{
			part = ((Form_pg_class) GETSTRUCT(tuple))->reltuples;
			ReleaseSysCache(tuple);
		}
		if (part >= 0)
			rows = Max(rows, 0) + part;
	}
	return rows;
}

/* ---- the result -------------------------------------------------------------------------- */

/* Those that were once audited come first. */
static int
rank_of(const Unaudited *one)
{
	return strcmp(one->reason, "never") == 0 ? 2 : strcmp(one->reason, "inherits") == 0;
}

static int
by_rank(const ListCell *a, const ListCell *b)
{
	const Unaudited *x = lfirst(a);
	const Unaudited *y = lfirst(b);
	int			schemas = strcmp(x->schema, y->schema);

	if (rank_of(x) != rank_of(y))
		return rank_of(x) - rank_of(y);
	return schemas != 0 ? schemas : strcmp(x->name, y->name);
}

/* The tables of a schema (InvalidOid: of all), a list of Unaudited in the order of the result. */
static List *
find_unaudited(const Known *known, Oid schema)
{
	CatalogRows rows;
	HeapTuple	tuple;
	List	   *found = NIL;
	ListCell   *lc;

	CatalogBeginAll(&rows, RelationRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);
		char	   *name = get_namespace_name(form->relnamespace);
		Unaudited  *one;

		CHECK_FOR_INTERRUPTS();
		if (name == NULL || (OidIsValid(schema) && form->relnamespace != schema) || !is_wanted(known, form))
			continue;
		one = palloc0(sizeof(Unaudited));
		one->relid = form->oid;
		one->schema = name;
		one->name = pstrdup(NameStr(form->relname));
		one->rows = estimated_rows(form);
		found = lappend(found, one);
	}
	CatalogEnd(&rows);
	foreach(lc, found)
	{
		Unaudited  *one = lfirst(lc);

		one->has_key = has_key(one->relid);
		find_reason(known, one);
	}
	list_sort(found, by_rank);
	return found;
}

/*
 * audit_unaudited(schema): see the top of the file.  3F000 when there is no such schema.
 */
Datum
audit_unaudited(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			schema = PG_ARGISNULL(0) ? InvalidOid : get_namespace_oid(NameStr(*PG_GETARG_NAME(0)), false);
	Known		known;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	learn(&known, fcinfo->flinfo->fn_oid);
	foreach(lc, find_unaudited(&known, schema))
	{
		Unaudited  *one = lfirst(lc);
		Datum		values[5];
		bool		nulls[5] = {false};

		values[0] = ObjectIdGetDatum(one->relid);
		values[1] = CStringGetTextDatum(one->reason);
		values[2] = TimestampTzGetDatum(one->last);
		nulls[2] = one->last == 0;
		values[3] = Int64GetDatum((int64) one->rows);
		nulls[3] = one->rows < 0;
		values[4] = BoolGetDatum(one->has_key);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
