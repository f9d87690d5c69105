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
#include "common/textarray.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_tables);

#define NCOLUMNS 11				/* 9 until 1.1 */

/*
 * The triggers of the next table in a list of triggers that is sorted by table: those from
 * *at on, which is moved behind them.  NIL at the end.
 */
static List *
next_table(List *triggers, int *at)
{
	List	   *found = NIL;

	for (; *at < list_length(triggers); (*at)++)
	{
		AuditTrigger *trigger = list_nth(triggers, *at);

		if (found != NIL && trigger->relid != ((AuditTrigger *) linitial(found))->relid)
			break;
		found = lappend(found, trigger);
	}
	return found;
}

/*
 * The trigger that describes a table: the first one that was made there, a row trigger
 * before others, one that is enabled before one that is not.  NULL if all are clones.
 */
static AuditTrigger *
describing(List *triggers)
{
	AuditTrigger *best = NULL;
	int			best_rank = -1;
	ListCell   *lc;

	foreach(lc, triggers)
	{
		AuditTrigger *trigger = lfirst(lc);
		int			rank = (trigger->for_rows ? 2 : 0) + (trigger->enabled != TRIGGER_DISABLED);

		if (trigger->rootid != trigger->relid || rank <= best_rank)
			continue;
		best = trigger;
		best_rank = rank;
	}
	return best;
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
describe_arguments(const AuditArgs *args, Relation rel, Datum *values, bool *nulls)
{
	List	   *key = args->key;

	if (key == NIL && rel != NULL)
		key = AuditIndexKey(rel);
	values[1] = TextArrayOfList(key);
	values[2] = TextArrayOfList(args->exclude);
	values[3] = TextArrayOfList(args->redact);
	nulls[1] = key == NIL;
	nulls[2] = nulls[3] = false;
}

/* One row: a table, its triggers, and the one of them that describes it. */
static void
describe_table(List *triggers, AuditTrigger *one, Oid fnoid, ReturnSetInfo *result)
{
	AuditRegistered row;
	Relation	rel = try_open(one->relid);
	Datum		values[NCOLUMNS];
	bool		nulls[NCOLUMNS];
	Oid			logid = AuditTriggerLog(one);

	if (rel == NULL && get_rel_relkind(one->relid) == '\0')
		return;					/* dropped meanwhile */
	memset(nulls, true, sizeof(nulls));
	values[0] = ObjectIdGetDatum(one->relid);
	values[4] = BoolGetDatum(one->for_rows && one->enabled != TRIGGER_DISABLED);
	values[5] = BoolGetDatum(one->enabled == TRIGGER_FIRES_ALWAYS);
	values[9] = CStringGetTextDatum(AuditEventsText(triggers, one->relid));
	nulls[0] = nulls[4] = nulls[5] = nulls[9] = false;
	if (AuditRegistryById(fnoid, one->args.id, &row) && row.relid == one->relid)
	{
		values[10] = Int32GetDatum(row.id);
		nulls[10] = false;
	}
	if (one->readable)
		describe_arguments(&one->args, rel, values, nulls);
	if (OidIsValid(logid))
	{
		values[6] = ObjectIdGetDatum(logid);
		nulls[6] = false;
		describe_log(logid, values, nulls);
	}
	/* the function of 1.0 has the first nine columns */
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	if (rel != NULL)
		relation_close(rel, AccessShareLock);
}

/* audit_tables(): the rows of the view audit_status */
Datum
audit_tables(PG_FUNCTION_ARGS)
{
	List	   *triggers = AuditTriggersOf(InvalidOid, AuditTriggerFunction(fcinfo->flinfo->fn_oid));
	int			at = 0;
	List	   *of_table;

	InitMaterializedSRF(fcinfo, 0);
	while ((of_table = next_table(triggers, &at)) != NIL)
	{
		AuditTrigger *one = describing(of_table);

		if (one != NULL)
			describe_table(of_table, one, fcinfo->flinfo->fn_oid, (ReturnSetInfo *) fcinfo->resultinfo);
	}
	return (Datum) 0;
}
