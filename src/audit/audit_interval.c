/*
 * audit_interval.c
 *	  What lies between two snapshots in the feed of a log, and in which order.
 *
 * An interval (from, to] has the entries of all transactions that `to` sees and `from`
 * does not see.  It is handed out transaction by transaction.  The order has to be such
 * that what a transaction could see comes before it.
 *
 * Order.  If B could see what A did, A had committed when B took the snapshot of a
 * command.  written_at is read when that command's AFTER triggers fire: after it has
 * got its snapshot, and all row locks that it waited for.  So
 *
 *	  every written_at of A  <  A's commit  <  written_at of what B did with it.
 *
 * Two transactions cannot both have seen each other.  So the order is that of the
 * transactions' last written_at (AUDIT_BY_WRITTEN); entries of one transaction stay
 * together, by (written_at, xact_seq).
 *	- The same row: B has waited for A, or read its version.  That is the case above.
 *	- A unique key that is free again after A's DELETE: B's insertion has waited for A.
 *	- A foreign key: B's command looks for the row that A inserted when B's own triggers
 *	  fire, or at B's end, if the constraint is deferred.  That can be after B's last
 *	  entry was written, and A's entry can be younger than that: then the child comes
 *	  before its parent.  Only the time of the commit tells.  Where the server keeps it
 *	  (track_commit_timestamp), transactions are ordered by it (AUDIT_BY_COMMIT): it is
 *	  taken before anybody can see A, and B's is taken after B has seen A.
 * Equal times (a microsecond) are ordered by xact_id.
 *
 * A clock that is set back breaks that.  It shows: transactions get their numbers
 * ascending, after their start (changed_at) and before their first entry.  If one with a
 * higher number has written earlier than one with a lower number began, the clock was
 * set back between the two; then the interval is in the order of xact_id
 * (AUDIT_BY_XACT), and a warning says so.  That order is right unless transactions
 * overlapped.  Logs without written_at have it always.  What lies in other intervals is
 * not touched by a clock: snapshots tell before and after.
 *
 * Size.  An interval is sorted as a whole, so one that is too large is cut: the
 * transactions that come first in the order are an interval, too.  Its upper snapshot is
 * made: it sees them, and not those that come later and have a number below theirs.
 * Times up to that of the entry number `limit` are taken, as they lie in the table; a
 * transaction that has also written later is not in.  Where every one has, four times as
 * many are tried.
 *
 * The log is searched by xact_id: a BRIN index on it (audit_install makes one) finds
 * the few blocks.  Numbers of transactions that were open for very long in `from` are
 * looked up one by one, so that they do not make the range a long one.
 *
 * An entry that came by restoring a dump is not a change of this database, and its
 * xact_id is of another server.  It is recognised where its xact_id is later than the
 * transaction that wrote the row (xmin), which can be with no entry of our own.  Such
 * entries belong to the beginning: they are in the interval that starts there, which then is
 * not cut, and in no other.
 *
 * All of it is in the memory of the caller's context.  Nothing is written.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "audit/audit_feed.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/usercode.h"
#include "compat.h"

/* numbers below xmax by more than this are looked up one by one, if they are few */
#define FAR_BACK 10000
#define MAX_FAR 8

/* ---- which entries -------------------------------------------------------------------------- */

static const char *
xact_column(const AuditFeedLog *log)
{
	return AuditReadColumnAs(&log->columns, AUDIT_XACT_ID, XID8OID);
}

/* Appends the condition that an index on xact_id serves: what `from` may not have seen. */
static void
append_range(StringInfo q, const char *xact, const AuditSnapshot *from, const AuditSnapshot *to)
{
	uint64		low = from->xmin;
	int			far = 0;

	while (far < from->n && from->xip[far] + FAR_BACK < from->xmax)
		far++;
	if (far > MAX_FAR)
		far = 0;
	if (far > 0)
		low = far < from->n ? from->xip[far] : from->xmax;
	appendStringInfo(q, "(%s OPERATOR(pg_catalog.>=) '" UINT64_FORMAT "'::pg_catalog.xid8", xact, low);
	for (int i = 0; i < far; i++)
		appendStringInfo(q, " OR %s OPERATOR(pg_catalog.=) '" UINT64_FORMAT "'::pg_catalog.xid8", xact,
						 from->xip[i]);
	appendStringInfo(q, ") AND %s OPERATOR(pg_catalog.<) '" UINT64_FORMAT "'::pg_catalog.xid8", xact, to->xmax);
}

/*
 * Did the row come from another server?  Numbers that are half the 32 bits away from the
 * present cannot be compared with xmin; they count as our own.  A row of a foreign
 * table has no xmin.
 */
static char *
write_restored(const AuditFeedLog *log, const char *xact)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	uint64		near = next > 0x7FF00000 ? next - 0x7FF00000 : FirstNormalTransactionId;
	char		relkind = log->rel->rd_rel->relkind;

	if ((relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE) ||
		get_atttype(log->columns.relid, log->columns.attnum[AUDIT_XACT_ID]) != XID8OID)
		return pstrdup("false");
	return psprintf("(%s OPERATOR(pg_catalog.>=) '" UINT64_FORMAT "'::pg_catalog.xid8 AND "
					"pg_catalog.age(pg_catalog.xid(%s)) OPERATOR(pg_catalog.<) pg_catalog.age(l.xmin) AND "
					"l.xmin OPERATOR(pg_catalog.<>) '0'::pg_catalog.xid)", xact, near, xact);
}

/* Appends the condition for entries of (from, to].  The log has the alias l. */
void
AuditIntervalAppend(StringInfo q, const AuditFeedLog *log, const AuditSnapshot *from, const AuditSnapshot *to)
{
	const char *xact = xact_column(log);
	const char *restored = write_restored(log, xact);
	const char *to_text = AuditSnapshotText(to);

	if (AuditSnapshotIsNone(from))
	{
		appendStringInfo(q, "(pg_catalog.pg_visible_in_snapshot(%s, '%s'::pg_catalog.pg_snapshot) OR %s)",
						 xact, to_text, restored);
		return;
	}
	append_range(q, xact, from, to);
	appendStringInfo(q, " AND NOT pg_catalog.pg_visible_in_snapshot(%s, '%s'::pg_catalog.pg_snapshot)"
					 " AND pg_catalog.pg_visible_in_snapshot(%s, '%s'::pg_catalog.pg_snapshot) AND NOT %s",
					 xact, AuditSnapshotText(from), xact, to_text, restored);
}

/*
 * Settings while a query on the log is planned, to be ended with SettingsEnd().  The
 * planner knows little of xact_id, and takes a scan of the whole log for cheap.
 */
int
AuditFeedSettings(void)
{
	int			level = SettingsBegin();

	SettingsSet("enable_seqscan", "off");
	SettingsSet("jit", "off");
	return level;
}

/* Runs a query on the log.  What it returns is in SPI_tuptable. */
static uint64
run_query(const AuditFeedLog *log, const char *query)
{
	int			level = AuditFeedSettings();
	uint64		n = UserCodeQuery(log->owner, query, 0, NULL, NULL, NULL, true);

	SettingsEnd(level);
	return n;
}

/* ---- transactions ------------------------------------------------------------------------------ */

static int
compare_by_xact(const void *a, const void *b)
{
	uint64		x = ((const AuditFeedXact *) a)->xact;
	uint64		y = ((const AuditFeedXact *) b)->xact;

	return x < y ? -1 : x > y;
}

static TimestampTz
time_of(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		datum = SPI_getbinval(tuple, desc, column, &isnull);

	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(datum);
}

/* A copy of what the query for transactions has returned, sorted. */
static void
take_xacts(uint64 n, MemoryContext cxt, AuditInterval *out)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;

	out->nxacts = n;
	out->xacts = MemoryContextAllocHuge(cxt, sizeof(AuditFeedXact) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		AuditFeedXact *x = &out->xacts[i];
		bool		isnull;

		x->xact = U64FromFullTransactionId(DatumGetFullTransactionId(SPI_getbinval(tuple, desc, 1, &isnull)));
		x->first = time_of(tuple, desc, 2);
		x->last = time_of(tuple, desc, 3);
		x->start = time_of(tuple, desc, 4);
		x->n = DatumGetInt64(SPI_getbinval(tuple, desc, 5, &isnull));
		x->at = 0;
	}
	qsort(out->xacts, n, sizeof(AuditFeedXact), compare_by_xact);
}

/*
 * The transactions of (out->from, to], of those entries that are written up to `until`
 * (DT_NOEND: all) and, in any order, no more than `limit` (0: all).  Returns the number of
 * entries.
 */
static int64
read_xacts(const AuditFeedLog *log, const AuditSnapshot *to, TimestampTz until, int64 limit, AuditInterval *out)
{
	MemoryContext cxt = CurrentMemoryContext;
	const char *written = log->has_written ? AuditReadColumn(&log->columns, AUDIT_WRITTEN_AT) :
	"NULL::pg_catalog.timestamptz";
	const char *start = log->has_start ? AuditReadColumn(&log->columns, AUDIT_CHANGED_AT) :
	"NULL::pg_catalog.timestamptz";
	StringInfoData q;
	int64		n = 0;

	initStringInfo(&q);
	appendStringInfo(&q, "SELECT x, pg_catalog.min(w), pg_catalog.max(w), pg_catalog.min(s), pg_catalog.count(*) "
					 "FROM (SELECT %s AS x, %s AS w, %s AS s FROM %s l WHERE ",
					 xact_column(log), written, start, NamesQualified(log->columns.relid));
	AuditIntervalAppend(&q, log, &out->from, to);
	if (!TIMESTAMP_IS_NOEND(until))
		appendStringInfo(&q, " AND (%s OPERATOR(pg_catalog.<=) '%s'::pg_catalog.timestamptz OR %s IS NULL)",
						 written, timestamptz_to_str(until), written);
	if (limit > 0)
		appendStringInfo(&q, " LIMIT " INT64_FORMAT, limit);
	appendStringInfoString(&q, ") l GROUP BY x");

	SPI_connect();
	take_xacts(run_query(log, q.data), cxt, out);
	SPI_finish();
	for (int i = 0; i < out->nxacts; i++)
		n += out->xacts[i].n;
	return n;
}

/*
 * The transactions of (from, to] numbered up to `last` that have written later than
 * `until`.  Allocated in the current context.
 */
static int
read_later(const AuditFeedLog *log, const AuditSnapshot *from, const AuditSnapshot *to, uint64 last,
		   TimestampTz until, uint64 **xacts)
{
	MemoryContext cxt = CurrentMemoryContext;
	StringInfoData q;
	int			n;

	initStringInfo(&q);
	appendStringInfo(&q, "SELECT DISTINCT %s FROM %s l WHERE ", xact_column(log), NamesQualified(log->columns.relid));
	AuditIntervalAppend(&q, log, from, to);
	appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.>) '%s'::pg_catalog.timestamptz AND "
					 "%s OPERATOR(pg_catalog.<=) '" UINT64_FORMAT "'::pg_catalog.xid8",
					 AuditReadColumn(&log->columns, AUDIT_WRITTEN_AT), timestamptz_to_str(until), xact_column(log), last);
	SPI_connect();
	n = (int) run_query(log, q.data);
	*xacts = MemoryContextAllocHuge(cxt, sizeof(uint64) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		(*xacts)[i] = U64FromFullTransactionId(DatumGetFullTransactionId(
																		 SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
	}
	SPI_finish();
	return n;
}

/* ---- order ------------------------------------------------------------------------------------ */

/* Fills in the times of the commits.  False: the server does not have all of them. */
static bool
take_commit_times(AuditInterval *in)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());

	/* on a standby the setting does not tell whether they are kept */
	if (!track_commit_timestamp || RecoveryInProgress())
		return false;
	for (int i = 0; i < in->nxacts; i++)
	{
		uint64		xact = in->xacts[i].xact;

		if (xact >= next || next - xact > PG_INT32_MAX || !TransactionIdIsNormal((TransactionId) xact) ||
			!TransactionIdGetCommitTsData((TransactionId) xact, &in->xacts[i].at, NULL))
			return false;
	}
	return true;
}

/*
 * Has one with a higher number written before one with a lower number began?  Numbers that this
 * server has not come to are of another one.
 */
static bool
clock_was_set_back(const AuditInterval *in, const AuditSnapshot *now)
{
	TimestampTz began = DT_NOBEGIN;

	for (int i = 0; i < in->nxacts && in->xacts[i].xact < now->xmax; i++)
	{
		const AuditFeedXact *x = &in->xacts[i];

		if (!TIMESTAMP_IS_NOBEGIN(x->first) && x->first < began)
			return true;
		began = Max(began, x->start);
	}
	return false;
}

static void
order_by_written(AuditInterval *in)
{
	for (int i = 0; i < in->nxacts; i++)
		in->xacts[i].at = in->xacts[i].last;
}

static void
order_by_xact(AuditInterval *in)
{
	for (int i = 0; i < in->nxacts; i++)
		in->xacts[i].at = 0;
}

/* Decides by what the transactions of an interval are ordered.  01000 when the clock was set back. */
static void
choose_order(const AuditFeedLog *log, const AuditSnapshot *now, AuditInterval *in)
{
	if (!log->has_written)
	{
		in->order = AUDIT_BY_XACT;
		order_by_xact(in);
		return;
	}
	if (take_commit_times(in))
	{
		in->order = AUDIT_BY_COMMIT;
		return;
	}
	if (!clock_was_set_back(in, now))
	{
		in->order = AUDIT_BY_WRITTEN;
		order_by_written(in);
		return;
	}
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("the server's clock was set back while the next changes were made"),
			 errdetail("They are in the order of xact_id. Of transactions that ran at the same time, one may stand before another whose changes it has seen."),
			 errhint("The less time passes between two calls, the fewer transactions this concerns.")));
	in->order = AUDIT_BY_XACT;
	order_by_xact(in);
}

/* ---- intervals --------------------------------------------------------------------------------- */

/* Leaves out the transactions of a sorted list, and those of a later time.  Returns the last number left, 0: none. */
static uint64
leave_out(AuditInterval *in, const uint64 *others, int n, TimestampTz until)
{
	int			kept = 0;

	for (int i = 0; i < in->nxacts; i++)
	{
		AuditFeedXact *x = &in->xacts[i];
		bool		found = false;

		for (int low = 0, high = n; low < high && !found;)
		{
			int			middle = low + (high - low) / 2;

			found = others[middle] == x->xact;
			if (others[middle] < x->xact)
				low = middle + 1;
			else
				high = middle;
		}
		if (!found && x->at <= until)
			in->xacts[kept++] = *x;
	}
	in->nxacts = kept;
	return kept > 0 ? in->xacts[kept - 1].xact : 0;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* The interval of all transactions numbered up to `last`. */
static void
cut_by_number(const AuditFeedLog *log, const AuditSnapshot *now, uint64 last, AuditInterval *in)
{
	AuditSnapshotMake(&in->to, last + 1, now, NULL, 0);
	read_xacts(log, &in->to, DT_NOEND, 0, in);
	in->order = AUDIT_BY_XACT;
	order_by_xact(in);
}

/*
 * Cuts an interval that is too large: in->xacts are some of its transactions.  False when
 * all that have written up to the highest time among them have also written later.
 */
static bool
cut_interval(const AuditFeedLog *log, const AuditSnapshot *now, AuditInterval *in)
{
	TimestampTz until = DT_NOBEGIN;
	uint64		last = in->nxacts > 0 ? in->xacts[in->nxacts - 1].xact : 0;
	uint64		highest;
	uint64	   *later;
	uint64	   *others;
	int			n;
	int			nothers = 0;

	for (int i = 0; i < in->nxacts; i++)
		until = Max(until, in->xacts[i].last);
	if (TIMESTAMP_IS_NOBEGIN(until))
	{
		cut_by_number(log, now, last, in);
		return true;
	}
	read_xacts(log, now, until, 0, in);
	choose_order(log, now, in);
	if (in->order == AUDIT_BY_XACT)
	{
		cut_by_number(log, now, last, in);
		return true;
	}

	highest = in->xacts[in->nxacts - 1].xact;
	n = read_later(log, &in->from, now, highest, until, &later);
	qsort(later, n, sizeof(uint64), compare_numbers);
	others = palloc(sizeof(uint64) * (n + in->nxacts));
	memcpy(others, later, sizeof(uint64) * n);
	nothers = n;
	for (int i = 0; i < in->nxacts; i++)
		if (in->xacts[i].at > until)
			others[nothers++] = in->xacts[i].xact;
	highest = leave_out(in, later, n, until);
	if (highest == 0)
		return false;
	AuditSnapshotMake(&in->to, highest + 1, now, others, nothers);
	return true;
}

/* Has the log restored entries, which belong into the interval that starts there?  Reads it once. */
static bool
has_restored(const AuditFeedLog *log, const AuditSnapshot *from)
{
	bool		found;

	if (!AuditSnapshotIsNone(from))
		return false;
	SPI_connect();
	found = run_query(log, psprintf("SELECT FROM %s l WHERE %s LIMIT 1", NamesQualified(log->columns.relid),
									write_restored(log, xact_column(log)))) > 0;
	SPI_finish();
	return found;
}

/*
 * The next interval behind a snapshot: what has been committed since, or the first of it
 * when that is much more than `limit` entries.  out->nxacts is 0 where there is nothing new.
 */
void
AuditIntervalChoose(const AuditFeedLog *log, const AuditSnapshot *from, const AuditSnapshot *now, int64 limit,
					AuditInterval *out)
{
	out->from = *from;
	for (;; limit *= 4)
	{
		int64		n = read_xacts(log, now, DT_NOEND, limit, out);

		if (n == limit && !has_restored(log, from))
		{
			if (cut_interval(log, now, out))
				return;
			continue;
		}
		if (n == limit)
			read_xacts(log, now, DT_NOEND, 0, out);
		out->to = *now;
		choose_order(log, now, out);
		return;
	}
}

/* The interval of a position inside it.  55000: it was ordered by times that are gone. */
void
AuditIntervalAgain(const AuditFeedLog *log, const AuditPosition *position, AuditInterval *out)
{

	out->from = position->from;
	out->to = position->to;
	out->order = position->order;
	read_xacts(log, &out->to, DT_NOEND, 0, out);
	if (out->order == AUDIT_BY_WRITTEN)
		order_by_written(out);
	else if (out->order == AUDIT_BY_XACT)
		order_by_xact(out);
	else if (!take_commit_times(out))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the position cannot be continued: it is ordered by times of commits, which this server does not have any more"),
				 errhint("Go on at the server that has them, or from the last position at the end of a portion of which all entries were read.")));
}

/* The transaction of that number, or NULL. */
const AuditFeedXact *
AuditIntervalFind(const AuditInterval *interval, uint64 xact)
{
	AuditFeedXact key = {.xact = xact};

	return bsearch(&key, interval->xacts, interval->nxacts, sizeof(AuditFeedXact), compare_by_xact);
}
