/*
 * audit_maintain.c
 *	  CALL audit_maintain: partitions ahead, the DEFAULT partition emptied, GIN
 *	  indexes of closed months, old months detached or dropped.
 *
 * Each month is a step, and each step a transaction of its own: whatever stops the
 * procedure leaves finished steps behind and nothing half done; calling it again
 * goes on.  A step waits for its locks no longer than lock_wait, so that the
 * queue of writers behind it stays short; after three tries it is left for the
 * next call, with a warning.
 *
 * A step runs as the log's owner where it could run code that the log brings along, and
 * only its owner may call.
 *
 * What a step locks: a new month, SHARE UPDATE EXCLUSIVE on the log and its DEFAULT
 * partition exclusively; an index, SHARE on a month that is over; detaching, ACCESS
 * EXCLUSIVE on the log, for a moment.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_months.h"
#include "audit/audit_split.h"
#include "audit/audit_step.h"
#include "common/args.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_maintain);

typedef struct Maintain
{
	Oid			logid;
	AuditSteps	steps;
	Oid			fnoid;
	AuditRange	range;			/* what the step is about: a month, */
	int			month;			/* or one that is to be made */
	bool		drop;			/* expired months, else detach */
	int			created;
	int			indexed;
	int			expired;
	uint64		moved;
} Maintain;

/*
 * Does a log or a month have its GIN index?  True also when the table is gone: it needs
 * none.  Leaves nothing locked.
 */
static bool
has_gin(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	AuditColumns columns;
	bool		found = false;
	ListCell   *lc;

	if (rel == NULL)
		return true;
	AuditMapColumns(rel, &columns);
	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_rel->relam == GIN_AM_OID &&
			index->rd_index->indkey.values[0] == columns.attnum[AUDIT_CHANGED_FIELDS])
			found = true;
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/* ---- steps --------------------------------------------------------------------------- */

static void
create_month(void *arg)
{
	Maintain   *m = arg;
	int			created = 0;

	m->moved += AuditCreateMonth(m->logid, m->month, &created);
	m->created += created;
}

/*
 * Summarizes what the BRIN indexes of a month that is over have not summarized yet: VACUUM
 * leaves the last, partial range, and every search would read it.
 */
static void
summarize(Oid relid)
{
	SpiRun(psprintf("SELECT pg_catalog.brin_summarize_new_values(i.indexrelid::pg_catalog.regclass) "
					"FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid "
					"WHERE i.indrelid OPERATOR(pg_catalog.=) %u AND i.indisvalid AND c.relam OPERATOR(pg_catalog.=) %u",
					relid, BRIN_AM_OID));
}

/* What a month that is over gets: the GIN index, and its BRIN indexes brought to an end. */
static void
create_index(void *arg)
{
	Maintain   *m = arg;
	Oid			relid = m->range.relid;

	/* conflicts with itself, so that of two callers the second finds the index */
	Relation	rel = try_table_open(relid, ShareUpdateExclusiveLock);
	AuditColumns columns;
	char	   *name;

	if (rel == NULL)
		return;
	AuditMapColumns(rel, &columns);
	table_close(rel, NoLock);
	if (has_gin(relid))
		return;
	name = ChooseRelationName(get_rel_name(relid), "changed", "idx", get_rel_namespace(relid),
							  false);
	SpiRun(psprintf("CREATE INDEX %s ON %s USING gin (%s)", quote_identifier(name),
					NamesQualified(relid),
					quote_identifier(get_attname(relid, columns.attnum[AUDIT_CHANGED_FIELDS], false))));
	summarize(relid);
	m->indexed++;
}

static bool
is_partition_of(Oid relid, Oid logid)
{
	return get_rel_relispartition(relid) && get_partition_parent(relid, true) == logid;
}

static void
expire_month(void *arg)
{
	Maintain   *m = arg;
	Oid			relid = m->range.relid;
	SpiArg		last_xact;

	if (!is_partition_of(relid, m->logid))
		return;
	/* reads the month: before the lock.  In the month nobody writes any more */
	last_xact = AuditLastXact(relid);
	/* detaching takes this lock anyway; another caller may have detached it meanwhile */
	LockRelationOid(m->logid, AccessExclusiveLock);
	if (!is_partition_of(relid, m->logid))
		return;
	AuditNoteDetached(m->fnoid, m->logid, &m->range, last_xact, m->drop);
	AuditAlterAsOwner(m->logid, psprintf("ALTER TABLE %s DETACH PARTITION %s",
										 NamesQualified(m->logid), NamesQualified(relid)));
	/* of a month on another server, only its foreign table here */
	if (m->drop)
		AuditAlterAsOwner(relid, psprintf("DROP %s %s",
										  get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ? "FOREIGN TABLE" : "TABLE",
										  NamesQualified(relid)));
	m->expired++;
}

/* A moment less an interval. */
static TimestampTz
minus(TimestampTz at, Datum interval)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(at),
												   interval));
}

/* ---- what there is to do ----------------------------------------------------------------- */

/*
 * The months that rows of the DEFAULT partition belong to, as a list of int, but for the
 * first ones that a timestamp can hold, which do not begin there.  Leaves that
 * partition locked.  The log is locked before its partitions everywhere, so the caller
 * ends the transaction before it locks the log.
 */
static List *
months_in_default(Oid logid)
{
	AuditRanges ranges = AuditRequireRanges(logid);
	Relation	rel;
	AuditColumns columns;
	const char *column;
	const char *zone;
	List	   *months = NIL;
	MemoryContext cxt = CurrentMemoryContext;
	uint64		n;

	if (!OidIsValid(ranges.default_part))
		return NIL;
	rel = try_table_open(ranges.default_part, AccessShareLock);
	if (rel == NULL)			/* dropped while we waited */
		return NIL;
	AuditMapColumns(rel, &columns);
	column = quote_identifier(get_attname(ranges.default_part, columns.attnum[AUDIT_CHANGED_AT],
										  false));
	zone = get_atttype(ranges.default_part, columns.attnum[AUDIT_CHANGED_AT]) == TIMESTAMPTZOID ? ", 'UTC'" : "";
	table_close(rel, NoLock);
	n = UserCodeQuery(CatalogOwner(ranges.default_part),
					  psprintf("SELECT DISTINCT pg_catalog.date_trunc('month', %s%s) FROM %s "
							   "WHERE pg_catalog.isfinite(%s) AND %s OPERATOR(pg_catalog.>=) '4713-01-01 00:00:00+00 BC' ORDER BY 1",
							   column, zone, NamesQualified(ranges.default_part), column, column),
					  0, NULL, NULL, NULL, false);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		month = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext oldcontext = MemoryContextSwitchTo(cxt);

		months = lappend_int(months, AuditMonthOf(DatumGetTimestampTz(month)));
		MemoryContextSwitchTo(oldcontext);
	}
	return months;
}

static void
index_closed_months(Maintain *m, TimestampTz now)
{
	AuditRanges ranges = AuditRequireRanges(m->logid);
	AuditSplitState split;

	/* a past that is being split will be dropped */
	AuditSplitLoad(m->fnoid, m->logid, &split);
	for (int i = 0; i < ranges.n; i++)
	{
		Oid			relid = ranges.ranges[i].relid;
		char	   *name = get_rel_name(relid);

		if (ranges.ranges[i].to <= now && name != NULL && relid != split.past &&
			get_rel_relkind(relid) == RELKIND_RELATION && !has_gin(relid))
		{
			m->range = ranges.ranges[i];
			AuditDoStep(&m->steps, create_index, m, psprintf("the index of \"%s\"", name));
		}
	}
}

/* Has a month entries?  One that cannot be read at once counts as empty; so does one on another server. */
static bool
has_entries(Oid relid)
{
	bool		found = false;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return false;
	if (get_rel_relkind(relid) == RELKIND_RELATION)
		found = UserCodeQuery(CatalogOwner(relid), psprintf("SELECT FROM %s LIMIT 1", NamesQualified(relid)),
							  0, NULL, NULL, NULL, false) > 0;
	UnlockRelationOid(relid, AccessShareLock);
	return found;
}

/*
 * The moment from which "keep" counts back when what expires is dropped: the end of the last
 * month before this one that has entries.  A clock that is wrong for one run would be the
 * end of the log otherwise.  now, when no month before this one has entries.
 */
static TimestampTz
last_written(const AuditRanges *ranges, TimestampTz now)
{
	TimestampTz month = AuditMonthStart(AuditMonthOf(now));

	for (int i = ranges->n - 1; i >= 0; i--)
		if (ranges->ranges[i].to <= month && has_entries(ranges->ranges[i].relid))
			return ranges->ranges[i].to;
	return now;
}

/*
 * Takes off the months that are older than keep.  A NOTICE names how many would be dropped
 * by the clock alone, and are not.
 */
static void
expire_months(Maintain *m, Datum keep, TimestampTz now)
{
	AuditRanges ranges = AuditRequireRanges(m->logid);
	TimestampTz since = m->drop ? last_written(&ranges, now) : now;
	TimestampTz before = minus(since, keep);
	TimestampTz by_clock = minus(now, keep);
	int			kept = 0;

	for (int i = 0; i < ranges.n; i++)
		if (ranges.ranges[i].to <= by_clock && ranges.ranges[i].to > before)
			kept++;
	if (kept > 0)
		ereport(NOTICE,
				(errmsg("months of \"%s\" that are older than keep, and are not dropped: %d",
						get_rel_name(m->logid), kept),
				 errdetail("Before this month, nothing was written since %s: the clock may be wrong.",
						   AuditTimeLiteral(since)),
				 errhint("If it is right, use expired => 'detach', and drop the tables.")));

	for (int i = 0; i < ranges.n; i++)
	{
		char	   *name = get_rel_name(ranges.ranges[i].relid);

		if (ranges.ranges[i].to <= before && name != NULL)
		{
			m->range = ranges.ranges[i];
			AuditDoStep(&m->steps, expire_month, m, psprintf("retiring \"%s\"", name));
		}
	}
}

static char *
month_name(int month)
{
	int			year;
	int			of_year;

	AuditSplitMonth(month, &year, &of_year);
	return psprintf("%04d-%02d", year, of_year);
}

/* ---- the procedure ---------------------------------------------------------------------- */

/* Reads the arguments of audit_maintain; 22023 for one that is out of range. */
static void
check_arguments(FunctionCallInfo fcinfo, Maintain *m, int *months, TimestampTz now)
{
	static const char *const expired[] = {"detach", "drop"};

	*months = PG_ARGISNULL(0) ? 3 : ArgsInt(fcinfo, 0, "months_ahead", 0, 1200,
											"3 are enough when audit_maintain runs every day.");
	if (!PG_ARGISNULL(1) && minus(now, PG_GETARG_DATUM(1)) >= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keep must be a positive interval"),
				 errdetail("keep is %s.", DatumGetCString(DirectFunctionCall1(interval_out,
																			  PG_GETARG_DATUM(1)))),
				 errhint("Write keep => '5 years'.")));
	m->drop = !PG_ARGISNULL(2) &&
		ArgsWord(fcinfo, 2, "expired", expired, lengthof(expired),
				 "A detached month stays as a table of its own.") == 1;
	m->steps.lock_wait = PG_ARGISNULL(3) ? "2s" : text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (!PG_ARGISNULL(4))
		m->logid = PG_GETARG_OID(4);
	else
	{
		AuditArgs	args;

		AuditParseArgs(0, NULL, &args);
		m->logid = AuditResolveLog(&args, fcinfo->flinfo->fn_oid, InvalidOid, false);
	}
}

/*
 * CALL audit_maintain(months_ahead, keep, expired, lock_wait, log)
 */
Datum
audit_maintain(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	Maintain   *m;
	AuditRanges ranges;
	int			months;
	int			first = AuditMonthOf(now);
	List	   *waiting;
	ListCell   *lc;

	ArgsRequireNonatomic(fcinfo, "audit_maintain");
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	m = palloc0(sizeof(Maintain));
	m->steps.procedure = "audit_maintain";
	m->fnoid = fcinfo->flinfo->fn_oid;
	check_arguments(fcinfo, m, &months, now);
	AuditRequireOwner(m->logid);
	AuditRefuseStranger(find_all_inheritors(m->logid, NoLock, NULL));
	AuditRequireRanges(m->logid);
	/* the first transaction took its snapshot before us */
	SpiNextTransaction();

	for (int i = 0; i <= months; i++)
	{
		m->month = first + i;
		AuditDoStep(&m->steps, create_month, m, psprintf("the partition of %s", month_name(m->month)));
	}
	waiting = months_in_default(m->logid);
	SpiNextTransaction();
	foreach(lc, waiting)
	{
		m->month = lfirst_int(lc);
		AuditDoStep(&m->steps, create_month, m,
					psprintf("moving rows of %s out of the DEFAULT partition", month_name(m->month)));
	}
	if (!has_gin(m->logid))
		index_closed_months(m, now);
	ranges = AuditRequireRanges(m->logid);
	AuditForgetAttached(m->fnoid, m->logid, &ranges);
	SpiNextTransaction();
	if (!PG_ARGISNULL(1))
		expire_months(m, PG_GETARG_DATUM(1), now);

	if (m->created + m->indexed + m->expired > 0 || m->moved > 0)
		ereport(NOTICE,
				(errmsg("audit_maintain: %d partitions created, " UINT64_FORMAT " rows moved, "
						"%d months indexed, %d %s", m->created, m->moved, m->indexed, m->expired,
						m->drop ? "dropped" : "detached")));
	SPI_finish();
	PG_RETURN_VOID();
}
