/*
 * audit_status.c
 *	  What is audited, and how long the log's partitions will last.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "audit/audit_months.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_tables);

#define NCOLUMNS 9

/* an audited table, as its row trigger describes it */
typedef struct Audited
{
	Oid			relid;
	bool		enabled;
	bool		always;
	AuditArgs	args;
} Audited;

static List *
audited_tables(Oid fnoid)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	List	   *found = NIL;
	HeapTuple	tup;

	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tup);
		Audited    *one;

		if (trigger->tgfoid != fnoid || !TRIGGER_FOR_ROW(trigger->tgtype) ||
			AuditTriggerRoot(trigger->oid, trigger->tgrelid) != trigger->tgrelid)
			continue;
		one = palloc(sizeof(Audited));
		one->relid = trigger->tgrelid;
		one->enabled = trigger->tgenabled != TRIGGER_DISABLED;
		one->always = trigger->tgenabled == TRIGGER_FIRES_ALWAYS;
		AuditReadArgs(tup, RelationGetDescr(catalog), &one->args);
		found = lappend(found, one);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

static Datum
text_array(List *names)
{
	Datum	   *elems = palloc(sizeof(Datum) * list_length(names));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, names)
		elems[n++] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(elems, n, TEXTOID, -1, false, TYPALIGN_INT));
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

/* NULL to those who may not read it, and of one that is on another server. */
static bool
count_rows(Oid relid, int64 *count)
{
	bool		isnull;

	if (!OidIsValid(relid) || get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ||
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return false;
	if (SPI_execute(psprintf("SELECT pg_catalog.count(*) FROM %s",
							 AuditQualifiedName(relid)),
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count the rows of the DEFAULT partition");
	*count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return true;
}

static void
describe_log(Oid logid, Datum *values, bool *nulls)
{
	Relation	rel = table_open(logid, AccessShareLock);
	AuditRanges ranges;

	if (AuditReadRanges(rel, &ranges))
	{
		int			left = months_left(&ranges);
		int64		count;

		values[7] = Int32GetDatum(left);
		nulls[7] = left < 0;
		nulls[8] = !count_rows(ranges.default_part, &count);
		if (!nulls[8])
			values[8] = Int64GetDatum(count);
	}
	table_close(rel, AccessShareLock);
}

/* audit_tables(): the rows of the view audit_status */
Datum
audit_tables(PG_FUNCTION_ARGS)
{
	Tuplestorestate *store = AuditBeginSet(fcinfo);
	TupleDesc	desc = ((ReturnSetInfo *) fcinfo->resultinfo)->setDesc;
	Oid			fnoid = AuditTriggerFunction(fcinfo->flinfo->fn_oid);
	ListCell   *lc;

	SPI_connect();
	foreach(lc, audited_tables(fnoid))
	{
		Audited    *one = lfirst(lc);
		Relation	rel = try_table_open(one->relid, AccessShareLock);
		Datum		values[NCOLUMNS];
		bool		nulls[NCOLUMNS];
		List	   *key;
		Oid			logid;

		if (rel == NULL)
			continue;
		memset(nulls, true, sizeof(nulls));
		key = one->args.key != NIL ? one->args.key : AuditIndexKey(rel);
		values[0] = ObjectIdGetDatum(one->relid);
		values[1] = text_array(key);
		values[2] = text_array(one->args.exclude);
		values[3] = text_array(one->args.redact);
		values[4] = BoolGetDatum(one->enabled);
		values[5] = BoolGetDatum(one->always);
		nulls[0] = nulls[2] = nulls[3] = nulls[4] = nulls[5] = false;
		nulls[1] = key == NIL;
		logid = AuditResolveLog(&one->args, fnoid, true);
		if (OidIsValid(logid))
		{
			values[6] = ObjectIdGetDatum(logid);
			nulls[6] = false;
			describe_log(logid, values, nulls);
		}
		tuplestore_putvalues(store, desc, values, nulls);
		table_close(rel, AccessShareLock);
	}
	SPI_finish();
	return (Datum) 0;
}
