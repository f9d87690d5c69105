/*
 * audit_status.c
 *	  What is audited, and how long the log's partitions will last.
 *
 * Every role may ask, at any time.  So this waits for no lock, and something wrong with
 * one table does not make it fail: what cannot be read, arguments of a trigger, or a table
 * or log that is locked, is null.  No code of other roles is planned or computed: rows are
 * counted by scanning them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "audit/audit.h"
#include "audit/audit_months.h"
#include "common/catalog.h"
#include "common/textarray.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_tables);

#define NCOLUMNS 9

/* an audited table, as its row trigger describes it */
typedef struct Audited
{
	Oid			relid;
	bool		enabled;
	bool		always;
	bool		readable;		/* args are those of the trigger */
	AuditArgs	args;
} Audited;

/* The tables with a row trigger that calls our function, as a list of Audited. */
static List *
audited_tables(Oid fnoid)
{
	CatalogRows rows;
	List	   *found = NIL;
	HeapTuple	tuple;

	CatalogBeginAll(&rows, TriggerRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
		Audited    *one;

		if (trigger->tgfoid != fnoid || !TRIGGER_FOR_ROW(trigger->tgtype) ||
			AuditTriggerRoot(trigger->oid, trigger->tgrelid) != trigger->tgrelid)
			continue;
		one = palloc(sizeof(Audited));
		one->relid = trigger->tgrelid;
		one->enabled = trigger->tgenabled != TRIGGER_DISABLED;
		one->always = trigger->tgenabled == TRIGGER_FIRES_ALWAYS;
		one->readable = AuditReadArgs(tuple, RelationGetDescr(rows.catalog), &one->args);
		AuditReadBinding(trigger->oid, &one->args);
		found = lappend(found, one);
	}
	CatalogEnd(&rows);
	return found;
}

/*
 * Months after the present one that partitions cover without a gap; -1 when the
 * log needs none, or covers all the future.
 */
static int
months_left(const AuditRanges *ranges)
{
	TimestampTz end = GetCurrentTransactionStartTimestamp();
	int			now = AuditMonthOf(end);
	int			left;

	for (int i = 0; i < ranges->n; i++)
		if (ranges->ranges[i].from <= end && ranges->ranges[i].to > end)
			end = ranges->ranges[i].to;
	if (end == PG_INT64_MAX)
		return -1;
	left = AuditMonthOf(end) - now - 1;
	return Max(left, 0);
}

/* Opens a relation with ACCESS SHARE; NULL when it is dropped, or locked by another session. */
static Relation
try_open(Oid relid)
{
	Relation	rel;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
		UnlockRelationOid(relid, AccessShareLock);
	return rel;
}

static bool
may_read(Oid relid)
{
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED;
}

/* Adds the rows of one table; false when it cannot be read now. */
static bool
count_table(Oid relid, int64 *count)
{
	Relation	rel = try_open(relid);
	TableScanDesc scan;
	TupleTableSlot *slot;

	if (rel == NULL)
		return false;
	if (rel->rd_rel->relkind == RELKIND_RELATION)
	{
		scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
		slot = table_slot_create(rel, NULL);
		while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			CHECK_FOR_INTERRUPTS();
			(*count)++;
		}
		ExecDropSingleTupleTableSlot(slot);
		table_endscan(scan);
	}
	relation_close(rel, AccessShareLock);
	return true;
}

/*
 * The rows of a log's DEFAULT partition.  False for those who may not read them, for
 * one that is on another server, and for one that is locked.
 */
static bool
count_rows(Oid logid, Oid relid, int64 *count)
{
	ListCell   *lc;

	if (!OidIsValid(relid) || !(may_read(logid) || may_read(relid)))
		return false;
	*count = 0;
	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_FOREIGN_TABLE ||
			!count_table(lfirst_oid(lc), count))
			return false;
	}
	return true;
}

static void
describe_log(Oid logid, Datum *values, bool *nulls)
{
	Relation	rel = try_open(logid);
	AuditRanges ranges;

	if (rel == NULL)
		return;
	if (AuditReadRanges(rel, &ranges))
	{
		int			left = months_left(&ranges);
		int64		count;

		values[7] = Int32GetDatum(left);
		nulls[7] = left < 0;
		nulls[8] = !count_rows(logid, ranges.default_part, &count);
		if (!nulls[8])
			values[8] = Int64GetDatum(count);
	}
	relation_close(rel, AccessShareLock);
}

static void
describe_arguments(const Audited *one, Relation rel, Datum *values, bool *nulls)
{
	List	   *key = one->args.key;

	if (key == NIL && rel != NULL)
		key = AuditIndexKey(rel);
	values[1] = TextArrayOfList(key);
	values[2] = TextArrayOfList(one->args.exclude);
	values[3] = TextArrayOfList(one->args.redact);
	nulls[1] = key == NIL;
	nulls[2] = nulls[3] = false;
}

/* audit_tables(): the rows of the view audit_status */
Datum
audit_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			fnoid = AuditTriggerFunction(fcinfo->flinfo->fn_oid);
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, audited_tables(fnoid))
	{
		Audited    *one = lfirst(lc);
		Relation	rel = try_open(one->relid);
		Datum		values[NCOLUMNS];
		bool		nulls[NCOLUMNS];
		Oid			logid = InvalidOid;

		if (rel == NULL && get_rel_relkind(one->relid) == '\0')
			continue;			/* dropped meanwhile */
		memset(nulls, true, sizeof(nulls));
		values[0] = ObjectIdGetDatum(one->relid);
		values[4] = BoolGetDatum(one->enabled);
		values[5] = BoolGetDatum(one->always);
		nulls[0] = nulls[4] = nulls[5] = false;
		if (one->readable)
		{
			describe_arguments(one, rel, values, nulls);
			logid = AuditResolveLog(&one->args, fnoid, one->relid, true);
		}
		if (OidIsValid(logid))
		{
			values[6] = ObjectIdGetDatum(logid);
			nulls[6] = false;
			describe_log(logid, values, nulls);
		}
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		if (rel != NULL)
			relation_close(rel, AccessShareLock);
	}
	return (Datum) 0;
}
