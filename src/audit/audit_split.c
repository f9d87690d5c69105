/*
 * audit_split.c
 *	  CALL audit_split: the past of an adopted log becomes months.
 *
 * audit_adopt leaves a partition without a lower limit that holds all entries from before.
 * It can be 50 GB, and nothing of it can be retired alone.  Here its entries are copied, in
 * small transactions, into tables for their months, which nobody sees; when all are there,
 * and have their indexes, one transaction puts these tables in the place of the past and
 * drops it.
 *
 * Why not month by month, taking each out of the past with DELETE?
 *	- A transaction with an old snapshot (REPEATABLE READ, a report that began
 *	  before) would see the rows in the past and not in the month, or in both.  Partition limits are not
 *	  versioned, rows are.  Whatever the order of the steps, someone reads wrong.  An exchange of
 *	  whole tables that every snapshot sees is right for all.
 *	- Deleting writes each page of the past once more into WAL, and gives no space back
 *	  until VACUUM.  Here the past is only read, and its file goes as a whole.
 * The price is disk space for a second copy until the end.
 *
 * What lives how long: audit_split_state has the number of blocks of the past that are
 * copied, the tables, the number of entries and a sum of their places.  It is written with each
 * batch.  A crash, kill, cancel, full disk leaves whole batches; the next call goes on.  If the
 * past was changed in between (audit_split_copy.c says how that is noticed), or vacuumed FULL,
 * or the log has other columns now, the tables are dropped and it begins again.
 *
 * Who waits: who writes into the past, for the time of a batch (a quarter of a second) and, at
 * the end, while the past is read once more.  Who reads or writes elsewhere in the log
 * waits for the exchange alone: lock_wait at most before it, ten times, and its own moment.  The trigger of an audited
 * table writes into the months of its own time, so a past that is over takes
 * nothing any more; one that is not over is left alone.
 *
 * A standby does not tell us of its snapshots.  A REPEATABLE READ transaction there that is older than
 * the copies, and reads the log first after the exchange, misses entries.
 *
 * Two callers take turns, batch by batch: the lock on the past and audit_split_state.
 *
 * Only the log's owner may call.  Tables belong to him; what runs code of his (checks,
 * index expressions, statistics) runs as him (common/usercode.h).  Copying runs none.
 *
 * Entries that came from another server with a dump are known by an xact_id later than the transaction that
 * wrote the row.  Copying writes the row anew: if this server has reached that number by then, the entry counts as its own.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
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
#include "common/hypertable.h"
#include "common/names.h"
#include "common/spi.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_split);

#define ROUNDS		2
#define NOTICE_MS	5000
#define WAIT_TRIES	300
#define WAIT_US		100000L

/* ---- what there is to split ------------------------------------------------------------- */

/* 42809 for a past whose rows cannot be read block by block. */
static void
refuse_past(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);

	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relam != HEAP_TABLE_AM_OID || HypertableTakesRows(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be split", RelationGetRelationName(rel)),
				 errdetail("It is not a plain table of PostgreSQL's own kind.")));
	table_close(rel, NoLock);
}

/*
 * Finds the partition without a lower limit, as s->past.  False, with s->outcome, when there
 * is none with months of its own in it, or when it is not over.
 */
static bool
find_past(AuditSplit *s)
{
	AuditRanges ranges = AuditRequireRanges(s->logid);
	TimestampTz now = GetCurrentTimestamp();

	s->outcome = AUDIT_SPLIT_NOTHING;
	if (ranges.n == 0 || ranges.ranges[0].from != PG_INT64_MIN ||
		ranges.ranges[0].to <= AuditMonthStart(AuditMonthOf(now) - AUDIT_SPLIT_MONTHS))
		return false;
	s->past = ranges.ranges[0];
	if (s->past.to > now)
	{
		s->outcome = AUDIT_SPLIT_OPEN;
		return false;
	}
	refuse_past(s->past.relid);
	return true;
}

/* Is what is kept of this past, as it is, and can all parts be used? */
static bool
still_fits(AuditSplit *s, Relation past)
{
	ListCell   *lc;

	if (s->state.past != s->past.relid || s->state.past_file != past->rd_rel->relfilenode || s->state.range_to != s->past.to)
		return false;
	foreach(lc, s->state.parts)
		if (!AuditSplitFits(lfirst(lc), s->logid))
		return false;
	return true;
}

/* Drops what is kept of a past that is no partition any more. */
static void
forget_past(AuditSplit *s)
{
	AuditSplitState state;

	if (AuditSplitLoad(s->fnoid, s->logid, &state))
		AuditSplitDiscard(s->fnoid, s->logid, &state);
}

/*
 * What each step begins with: the past is locked against changes, and s->state is what is kept.
 * Returns the past, open, or NULL with s->outcome.
 */
static Relation
begin_step(AuditSplit *s)
{
	MemoryContext old;
	Relation	past;
	bool		kept;

	/* the log before its partitions, as everybody does */
	LockRelationOid(s->logid, AccessShareLock);
	if (!find_past(s))
	{
		if (s->outcome == AUDIT_SPLIT_NOTHING)
			forget_past(s);
		return NULL;
	}
	past = try_table_open(s->past.relid, ShareRowExclusiveLock);
	if (past == NULL || !past->rd_rel->relispartition || !find_past(s) || s->past.relid != RelationGetRelid(past))
	{
		if (past != NULL)
			table_close(past, NoLock);
		return NULL;
	}
	old = MemoryContextSwitchTo(s->cxt);
	kept = AuditSplitLoad(s->fnoid, s->logid, &s->state);
	MemoryContextSwitchTo(old);
	if (kept && !still_fits(s, past))
	{
		ereport(NOTICE,
				(errmsg("audit_split: the log \"%s\" was altered, and copying begins again", s->name)));
		AuditSplitDiscard(s->fnoid, s->logid, &s->state);
		kept = false;
	}
	if (!kept)
	{
		memset(&s->state, 0, sizeof(s->state));
		s->state.past = s->past.relid;
		s->state.past_file = past->rd_rel->relfilenode;
		s->state.range_to = s->past.to;
	}
	return past;
}

/* ---- steps ----------------------------------------------------------------------------- */

static void
copy_step(void *arg)
{
	AuditSplit *s = arg;
	Relation	past = begin_step(s);
	int64		before;

	if (past == NULL)
		return;
	before = s->state.next_block;
	AuditSplitCopy(s, past);
	table_close(past, NoLock);
	if (s->state.next_block == before)
		return;
	s->state.last_xact = GetTopFullTransactionId();
	AuditSplitSave(s->fnoid, s->logid, &s->state);
}

static void
index_step(void *arg)
{
	AuditSplit *s = arg;

	AuditSplitIndex(s, ((AuditSplitPart *) list_nth(s->state.parts, s->part))->relid);
}

static void
swap_step(void *arg)
{
	AuditSplit *s = arg;
	Relation	past = begin_step(s);
	bool		more;

	if (past == NULL)
		return;
	more = s->state.next_block < RelationGetNumberOfBlocks(past);
	table_close(past, NoLock);
	s->outcome = AUDIT_SPLIT_COPY;
	if (more || s->state.past_file == InvalidOid)
		return;
	AuditSplitSwap(s);
	if (s->outcome == AUDIT_SPLIT_CHANGED)
	{
		ereport(NOTICE,
				(errmsg("audit_split: the past of \"%s\" was changed, and copying begins again", s->name)));
		AuditSplitDiscard(s->fnoid, s->logid, &s->state);
	}
}

/* ---- the procedure ------------------------------------------------------------------------ */

/* The moment at which the call ends; DT_NOEND: when all is done.  22023 for none in the future. */
static TimestampTz
read_deadline(FunctionCallInfo fcinfo)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (PG_ARGISNULL(1))
		return DT_NOEND;
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), PG_GETARG_DATUM(1)));
	if (end <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_time must be a positive interval"),
				 errdetail("max_time is %s.", DatumGetCString(DirectFunctionCall1(interval_out, PG_GETARG_DATUM(1)))),
				 errhint("Write max_time => '2 hours'.")));
	return end;
}

/* Copies until all is copied or the time is over.  False when the call is to end. */
static bool
copy_all(AuditSplit *s, TimestampTz deadline)
{
	TimestampTz told = GetCurrentTimestamp();

	do
	{
		TimestampTz now;

		if (!AuditDoStep(&s->steps, copy_step, s, psprintf("copying from the past of \"%s\"", s->name)))
			return false;
		now = GetCurrentTimestamp();
		if (s->outcome == AUDIT_SPLIT_COPY && TimestampDifferenceExceeds(told, now, NOTICE_MS))
		{
			ereport(NOTICE,
					(errmsg("audit_split: " INT64_FORMAT " of " INT64_FORMAT " blocks are copied",
							s->state.next_block, s->state.blocks)));
			told = now;
		}
	} while (s->outcome == AUDIT_SPLIT_COPY && GetCurrentTimestamp() < deadline);
	return s->outcome == AUDIT_SPLIT_COPIED && GetCurrentTimestamp() < deadline;
}

/* Indexes for the parts that have none.  False when the call is to end. */
static bool
index_all(AuditSplit *s, TimestampTz deadline)
{
	for (s->part = 0; s->part < list_length(s->state.parts); s->part++)
	{
		AuditSplitPart *part = list_nth(s->state.parts, s->part);

		if (GetCurrentTimestamp() >= deadline ||
			!AuditDoStep(&s->steps, index_step, s, psprintf("indexes of table %u", part->relid)))
			return false;
	}
	return true;
}

/*
 * The exchange; while a transaction is older than the copies it is tried again, for half a
 * minute.  False when the call is to end.
 */
static bool
exchange(AuditSplit *s, TimestampTz deadline)
{
	for (int i = 0; i < WAIT_TRIES; i++)
	{
		if (!AuditDoStep(&s->steps, swap_step, s, psprintf("the exchange of the past of \"%s\"", s->name)))
			return false;
		if (s->outcome != AUDIT_SPLIT_WAIT || GetCurrentTimestamp() >= deadline)
			break;
		pg_usleep(WAIT_US);
		CHECK_FOR_INTERRUPTS();
	}
	return s->outcome == AUDIT_SPLIT_COPY || s->outcome == AUDIT_SPLIT_CHANGED;
}

/* Says how far it is. */
static void
tell(AuditSplit *s)
{
	const char *again = "Call audit_split() again.";

	switch (s->outcome)
	{
		case AUDIT_SPLIT_NOTHING:
			ereport(NOTICE, (errmsg("log \"%s\" has no past to split", s->name)));
			break;
		case AUDIT_SPLIT_OPEN:
			ereport(NOTICE,
					(errmsg("the past of log \"%s\" still takes entries", s->name),
					 errdetail("It ends at %s.", AuditTimeLiteral(s->past.to)),
					 errhint("Call audit_split() after that.")));
			break;
		case AUDIT_SPLIT_COPY:
		case AUDIT_SPLIT_COPIED:
			ereport(NOTICE,
					(errmsg("audit_split: " INT64_FORMAT " of " INT64_FORMAT " blocks of the past of \"%s\" are copied",
							s->state.next_block, s->state.blocks, s->name),
					 errhint("%s", again)));
			break;
		case AUDIT_SPLIT_CHANGED:
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("the past of log \"%s\" was changed while it was copied", s->name),
					 errdetail("The copies are dropped."),
					 errhint("Call audit_split() again when nobody changes old entries.")));
			break;
		case AUDIT_SPLIT_WAIT:
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("the past of log \"%s\" is copied, and a transaction is older than the copies", s->name),
					 errdetail("It would miss entries if the months took the place of the past now."),
					 errhint("%s", again)));
			break;
		case AUDIT_SPLIT_BUSY:
			ereport(WARNING,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("the past of log \"%s\" is copied, and the log is in use", s->name),
					 errdetail("An exclusive lock was not granted within lock_wait = '%s'.", s->steps.lock_wait),
					 errhint("Call audit_split() again when the long transactions have ended.")));
			break;
		case AUDIT_SPLIT_LARGE:
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the past of log \"%s\" is copied, and its DEFAULT partition is large", s->name),
					 errdetail("It would be read once for each of %d months while the log is locked.",
							   list_length(s->state.parts)),
					 errhint("CALL audit_maintain() moves its entries, VACUUM gives their space back. Then call audit_split() again.")));
			break;
		case AUDIT_SPLIT_DONE:
			ereport(NOTICE,
					(errmsg("audit_split: " INT64_FORMAT " entries of \"%s\" are in %d partitions now, and its past is gone",
							s->state.entries, s->name, list_length(s->state.parts))));
			break;
	}
}

/*
 * CALL audit_split(log, max_time, lock_wait)
 */
Datum
audit_split(PG_FUNCTION_ARGS)
{
	static const char *const arguments[] = {"log"};
	AuditSplit *s;
	TimestampTz deadline;

	ArgsRequireNonatomic(fcinfo, "audit_split");
	ArgsRefuseNull(fcinfo, "audit_split", arguments, lengthof(arguments));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	s = palloc0(sizeof(AuditSplit));
	s->cxt = CurrentMemoryContext;
	s->fnoid = fcinfo->flinfo->fn_oid;
	s->logid = PG_GETARG_OID(0);
	s->steps.procedure = "audit_split";
	s->steps.lock_wait = PG_ARGISNULL(2) ? "2s" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	deadline = read_deadline(fcinfo);
	AuditRequireOwner(s->logid);
	AuditRefuseStranger(find_all_inheritors(s->logid, NoLock, NULL));
	s->name = get_rel_name(s->logid);
	find_past(s);
	/* the first transaction took its snapshot before us */
	SpiNextTransaction();

	for (int i = 0; i < ROUNDS; i++)
		if (!copy_all(s, deadline) || !index_all(s, deadline) || !exchange(s, deadline))
			break;
	tell(s);
	SPI_finish();
	PG_RETURN_VOID();
}
