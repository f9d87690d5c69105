/*
 * consolidate_run.c
 *	  CALL consolidate(): the sources of a family into its target.
 *
 * A run goes over the sources in the order of their process ids, in batches.
 * One batch is one transaction: every source in it is locked, checked, scanned,
 * copied and recorded; then all are dropped by one DROP TABLE, the run's row in
 * consolidate_run is brought up to date, and it commits.  A crash at any moment undoes
 * a whole batch or nothing, so all rows of a source are either in its table or in the
 * target; a later call finds what is left to do.
 *
 * Locks.  A source is locked ACCESS EXCLUSIVE, and only if that is possible at once: we
 * never queue for it, so nobody queues behind us for a table that somebody else uses.
 * The target is waited for, before any source is locked.  A busy source is tried again
 * after all others, once and until lock_wait has passed; autovacuum is asked to release
 * it.  A batch ends at "batch" sources, when its drop would hold more than LOCKS_MAX
 * locks, when it has BATCH_BYTES of memory, or after BATCH_MS, so that other sessions do
 * not wait long for one of its tables.
 *
 * Errors.  Ordinary problems (rights, dependants, other columns, refused rows, locks)
 * are found by checks, without an error.  Unexpected errors are caught by one
 * subtransaction around a batch: it is rolled back, and its sources are tried again one
 * by one, so that the one at fault is known, recorded and skipped.  There is never more
 * than one subtransaction in a transaction.  Cancelling ends the run at once, with all
 * batches before it committed.
 *
 * Two runs of one family in one schema are kept apart by a session-level
 * lock, which survives our commits; it is released at the end, in
 * case of an error by PG_CATCH, and by the server if the session goes away.
 *
 * Every transaction is READ COMMITTED, whatever the session's default: rows
 * that were committed before a source's lock was got must be seen.
 */
#include "postgres.h"

#include <signal.h>

#include "access/relation.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "common/args.h"
#include "common/catalog.h"
#include "common/settings.h"
#include "common/spi.h"
#include "compat.h"
#include "consolidate/consolidate.h"
#include "consolidate/consolidate_run.h"

#define LOCKS_MAX		600		/* well below what 64 locks per transaction provide for */
#define BATCH_MS		1000
#define BATCH_BYTES		(16 * 1024 * 1024)
#define NOTICE_MS		1000
#define POLL_MS			50

/* Tells the caller how far the run is, at most once per second. */
static void
notice_progress(Run *run)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(run->noticed, now, NOTICE_MS))
		return;
	run->noticed = now;
	ereport(NOTICE,
			(errmsg("consolidate: %lld of %d tables, %lld rows, %lld s", (long long) run->tally.done,
					list_length(run->sources), (long long) run->tally.rows,
					(long long) ((now - run->started) / USECS_PER_SEC))));
}

/*
 * Autovacuum stops working on a table when somebody queues for a lock on it.  We do not
 * queue, so we signal it ourselves, as ProcSleep() would.
 */
static void
ask_autovacuum_to_give_way(Oid relid)
{
	LOCKTAG		tag;
	VirtualTransactionId *holder;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	for (holder = GetLockConflicts(&tag, AccessExclusiveLock, NULL);
		 VirtualTransactionIdIsValid(*holder); holder++)
	{
		PGPROC	   *proc = VirtualTransactionProc(*holder);
		int			pid = 0;

		/* it may be gone already, and its place empty or somebody else's */
		LWLockAcquire(ProcArrayLock, LW_SHARED);
		if (proc && (proc->statusFlags & PROC_IS_AUTOVACUUM) &&
			!(proc->statusFlags & PROC_VACUUM_FOR_WRAPAROUND))
			pid = proc->pid;
		LWLockRelease(ProcArrayLock);
		if (pid > 0)
			kill(pid, SIGINT);
	}
}

/* ---- one source ----------------------------------------------------------------- */

static void
store_source(Batch *batch, Source *source, Relation rel, const SourceColumn *from,
			 const SourceContents *contents, Snapshot snapshot, bool stored)
{
	Run		   *run = batch->run;
	bool		drop = run->options.drop_source;

	if (!stored && contents->rows > contents->nrejects)
		ConsolidateCopySource(run->copy, source->process_id, rel, from, snapshot, contents);
	if (contents->nrejects > 0)
	{
		/* rejects are in no checksum: those of a source that was copied may have changed */
		if (source->recorded == RECORD_COPIED)
			ConsolidateDeleteRejected(run->family, source);
		ConsolidateWriteRejected(run->family, source, rel, snapshot, contents);
	}
	ConsolidateRecordSource(batch, source, rel, drop ? "moved" : "copied", contents);
	if (drop)
		appendStringInfo(&batch->drop, "%s%s", batch->drop.len ? ", " : "DROP TABLE ",
						 quote_qualified_identifier(run->family->schema, source->name));
	source->state = SOURCE_DONE;
	run->tally.done++;
	run->tally.rows += contents->rows - contents->nrejects;
	run->tally.rejected += contents->nrejects;
	run->tally.bytes += source->bytes;
}

/*
 * Locks and opens a source.  NULL when that does not succeed: then no lock is held, and
 * the source is recorded as skipped or noted as busy.
 */
static Relation
lock_source(Run *run, Source *source)
{
	const ConsolidateProblem *problem = source->problem;
	Relation	rel;

	if (problem == NULL)
		problem = SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->oid)) ?
			ConsolidateCheckRights(source->oid) :
			ConsolidateProblemOf(PROBLEM_DROPPED, "has been dropped by somebody else");
	if (problem)
	{
		ConsolidateRecordProblem(run, source, problem);
		return NULL;
	}
	if (!ConditionalLockRelationOid(source->oid, AccessExclusiveLock))
	{
		ask_autovacuum_to_give_way(source->oid);
		source->state = SOURCE_BUSY;
		return NULL;
	}
	rel = try_relation_open(source->oid, NoLock);
	if (rel != NULL && strcmp(RelationGetRelationName(rel), source->name) == 0 &&
		RelationGetNamespace(rel) == run->family->schema_oid)
		return rel;
	if (rel)
		relation_close(rel, NoLock);
	UnlockRelationOid(source->oid, AccessExclusiveLock);
	ConsolidateRecordProblem(run, source,
							 ConsolidateProblemOf(PROBLEM_DROPPED,
												  "has been dropped or renamed by somebody else"));
	return NULL;
}

/*
 * Decides, with the source locked, whether it can be moved: what depends on the table,
 * its columns, its rows.  Returns the problem or NULL.  Fills from and contents; *stored:
 * its rows are in the target already; *locks: see ConsolidateCheckSource.
 */
static ConsolidateProblem *
check_source(Run *run, Source *source, Relation rel, Snapshot snapshot, SourceColumn *from,
			 SourceContents *contents, bool *stored, int *locks)
{
	Family	   *family = run->family;
	FamilyColumns *columns = &family->columns;
	ConsolidateProblem *problem = NULL;
	int			level;

	if (rel->rd_refcnt > 1 || AfterTriggerPendingOnRel(source->oid))
		return ConsolidateProblemOf(PROBLEM_IN_USE, "is in use by this session");
	if (OidIsValid(family->target_oid))
		problem = ConsolidateOwnersProblem(family, source->oid, CatalogOwner(family->target_oid));
	if (problem == NULL)
		problem = ConsolidateCheckSource(rel, locks);
	if (problem == NULL)
		problem = ConsolidateMatchColumns(columns, rel, from);
	if (problem)
		return problem;

	level = ConsolidateChecksumSettings(columns);
	if (RelationGetNumberOfBlocks(rel) == 0)
		memset(contents, 0, sizeof(SourceContents));
	else if (!ConsolidateCopyReadSmall(run->copy, source->process_id, rel, from, snapshot,
									   contents))
		ConsolidateScanSource(columns, rel, from, snapshot, contents);
	problem = ConsolidateCheckStored(family, run->present, source, rel, from, snapshot, contents,
									 stored);
	if (problem == NULL)
		problem = ConsolidateContentsProblem(columns, source, contents,
											 run->options.keep_rejects);
	SettingsEnd(level);
	return problem;
}

/*
 * Moves one source as part of the batch, skips it, or finds it busy.  The locks of a
 * source that is skipped are released at once.
 */
static void
add_source(Batch *batch, Source *source)
{
	Run		   *run = batch->run;
	SourceColumn *from = palloc(sizeof(SourceColumn) * run->family->columns.ncolumns);
	SourceContents contents = {0};
	Relation	rel = lock_source(run, source);
	Snapshot	snapshot;
	ConsolidateProblem *problem;
	bool		stored = false;
	int			locks = 0;

	if (rel == NULL)
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	problem = check_source(run, source, rel, snapshot, from, &contents, &stored, &locks);
	if (problem == NULL)
	{
		store_source(batch, source, rel, from, &contents, snapshot, stored);
		batch->locks += locks;
	}
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	if (problem)
	{
		/* thousands of descriptors would stay in the relation cache */
		RelationCacheInvalidateEntry(source->oid);
		UnlockRelationOid(source->oid, AccessExclusiveLock);
		ConsolidateRecordProblem(run, source, problem);
	}
}

/* ---- batches -------------------------------------------------------------------- */

static bool
batch_is_full(Batch *batch)
{
	return batch->ntaken >= batch->run->options.batch || batch->locks >= LOCKS_MAX ||
		MemoryContextMemAllocated(batch->context, true) >= BATCH_BYTES ||
		TimestampDifferenceExceeds(batch->started, GetCurrentTimestamp(), BATCH_MS);
}

/*
 * Adds sources from *next on, until the batch is full.  *next is then the
 * first source that it did not look at.
 */
static void
fill_batch(Batch *batch, SourceState wanted, int *next)
{
	Run		   *run = batch->run;

	while (*next < list_length(run->sources))
	{
		Source	   *source = list_nth(run->sources, *next);

		CHECK_FOR_INTERRUPTS();
		if (source->state == wanted)
		{
			if (source->alone && batch->ntaken > 0)
				break;
			add_source(batch, source);
			if (source->alone)
			{
				(*next)++;
				break;
			}
		}
		(*next)++;
		if (batch_is_full(batch))
			break;
	}
}

/*
 * Drops the batch's sources, by name, so that event triggers see it.  The tables are
 * locked and keep their names; their schema cannot be locked, and may have been renamed:
 * 55000.
 */
static void
drop_sources(Batch *batch)
{
	SpiRun(batch->drop.data);
	for (int i = 0; i < batch->ntaken; i++)
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(batch->oids[i])))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("schema \"%s\" was renamed while its tables were consolidated",
							batch->run->family->schema)));
}

static void
finish_batch(Batch *batch, const Tally *before)
{
	Tally	   *now = &batch->run->tally;

	ConsolidateCopyClose(batch->run->copy);
	if (batch->ntaken > 0)
		ConsolidateWriteRecords(batch);
	if (batch->drop.len > 0)
		drop_sources(batch);
	SpiFireDeferred();
	/* no progress since the last commit, only waiting: leave the run's row as it is */
	if (now->done != before->done || now->skipped != before->skipped)
		ConsolidateRecordProgress(batch->run, NULL);
}

static Batch *
make_batch(Run *run)
{
	Batch	   *batch = palloc0(sizeof(Batch));

	batch->run = run;
	batch->context = CurrentMemoryContext;
	batch->started = GetCurrentTimestamp();
	initStringInfo(&batch->drop);
	for (int i = 0; i < REC_FIELDS; i++)
		batch->records[i] = palloc(sizeof(Datum) * run->options.batch);
	batch->oids = palloc(sizeof(Oid) * run->options.batch);
	return batch;
}

/*
 * After a batch failed: its sources, from first to *next, will be tried one by one.  If
 * there was only one, it is the one at fault, and is recorded.
 */
static void
blame_batch(Run *run, SourceState wanted, int first, int *next, ErrorData *error)
{
	Source	   *only = list_nth(run->sources, first);

	if (only->alone)
	{
		ConsolidateRecordProblem(run, only,
								 ConsolidateProblemOf(PROBLEM_FAILED, "failed: %s (SQLSTATE %s)",
													  error->message,
													  unpack_sql_state(error->sqlerrcode)));
		ConsolidateRecordProgress(run, NULL);
		*next = first + 1;
		return;
	}
	for (int i = first; i <= *next && i < list_length(run->sources); i++)
	{
		Source	   *source = list_nth(run->sources, i);

		if (source->alone)
			break;
		source->state = wanted;
		source->alone = true;
	}
	*next = first;
}

/* The arguments of a batch's work. */
typedef struct BatchWork
{
	Run		   *run;
	SourceState wanted;
	int		   *next;
} BatchWork;

static void
work_batch(void *arg)
{
	BatchWork  *work = arg;
	Tally		before = work->run->tally;
	Batch	   *batch = make_batch(work->run);

	ConsolidateCheckOwnTables(work->run->extnamespace, true);
	PushActiveSnapshot(GetLatestSnapshot());
	fill_batch(batch, work->wanted, work->next);
	finish_batch(batch, &before);
	PopActiveSnapshot();
}

/* One batch in one transaction; see the top of the file for its errors. */
static void
run_batch(Run *run, SourceState wanted, int *next)
{
	BatchWork	work = {run, wanted, next};
	Tally		before = run->tally;
	MemoryContext context;
	ErrorData  *error;
	int			first = *next;

	while (first < list_length(run->sources) &&
		   ((Source *) list_nth(run->sources, first))->state != wanted)
		first++;
	*next = first;
	if (first == list_length(run->sources))
		return;

	/* the only lock that we wait for, so before any source's; a timeout here ends the run */
	if (OidIsValid(run->family->target_oid))
		LockRelationOid(run->family->target_oid, RowExclusiveLock);
	context = AllocSetContextCreate(run->context, "aquacis batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	error = SpiTry(work_batch, &work);
	if (error)
	{
		if (SpiMustStop(error->sqlerrcode))
			ReThrowError(error);
		ConsolidateCopyForget(run->copy);
		run->tally = before;
		blame_batch(run, wanted, first, next, error);
	}
	MemoryContextSwitchTo(run->context);
	SpiNextTransaction();
	notice_progress(run);
	MemoryContextSwitchTo(run->context);
	MemoryContextDelete(context);
}

static int
count_sources(Run *run, SourceState state)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, run->sources)
		if (((Source *) lfirst(lc))->state == state)
		n++;
	return n;
}

static void
run_over(Run *run, SourceState wanted)
{
	int			next = 0;

	while (next < list_length(run->sources))
		run_batch(run, wanted, &next);
}

static void
nap(int64 ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Tries the busy sources again: once, however long the others took, and then until
 * lock_wait has passed since the run began.  What is still busy is skipped, or is an
 * error (55P03) without skip_locked.
 */
static void
run_over_busy(Run *run, TimestampTz since)
{
	ListCell   *lc;
	Family	   *family = run->family;

	run_over(run, SOURCE_BUSY);
	while (count_sources(run, SOURCE_BUSY) > 0 &&
		   !TimestampDifferenceExceeds(since, GetCurrentTimestamp(),
									   Min(run->options.lock_wait_ms, INT_MAX)))
	{
		nap(Min(POLL_MS, Max(run->options.lock_wait_ms, 1)));
		run_over(run, SOURCE_BUSY);
	}
	foreach(lc, run->sources)
	{
		Source	   *source = lfirst(lc);

		if (source->state != SOURCE_BUSY)
			continue;
		ConsolidateRecordProblem(run, source,
								 ConsolidateProblemOf(PROBLEM_IN_USE,
													  "is in use by another session"));
		if (!run->options.skip_locked)
		{
			ConsolidateRecordProgress(run, "failed");
			SpiNextTransaction();
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("table \"%s.%s\" is in use by another session",
							family->schema, source->name),
					 errhint("Call again later, or with skip_locked => true.")));
		}
	}
}

/* ---- the whole ------------------------------------------------------------------ */

/* The first transaction: sources, the run's record, the target, consolidate_rejected. */
static void
start_run(Run *run)
{
	Family	   *family = run->family;
	bool		rejects = run->options.keep_rejects;
	ListCell   *lc;

	run->sources = ConsolidateFindSources(family);
	foreach(lc, run->sources)
	{
		Source	   *source = lfirst(lc);

		run->bytes_total += source->bytes;
		if (source->recorded == RECORD_COPIED && source->recorded_rejects > 0)
			rejects = true;
	}

	ConsolidateCheckOwnTables(run->extnamespace, true);
	ConsolidateRecordRun(run);
	if (ConsolidateResolveColumns(family))
	{
		if (!ConsolidateMakeTarget(family, run->sources))
			ConsolidateCheckTarget(family);
		ConsolidateSaveColumns(family);
		run->present = ConsolidateProcessesInTarget(family, run->sources);
	}
	run->copy = ConsolidateCopyBegin(family);
	ConsolidateMakeRejectedTable(family, rejects);
	SpiNextTransaction();
	MemoryContextSwitchTo(run->context);
}

static void
work_index(void *family)
{
	ConsolidateIndexTarget(family);
}

/*
 * Gives a new target its key and index.  Rows that others inserted while it had
 * none can violate it: the run has then failed, and its record says so, but what it
 * moved stays moved.
 */
static void
index_target(Run *run)
{
	ErrorData  *error = SpiTry(work_index, run->family);

	if (error == NULL)
		return;
	if (!SpiMustStop(error->sqlerrcode))
	{
		run->last_error = psprintf("building the key of \"%s\" failed: %s",
								   run->family->target, error->message);
		ConsolidateRecordProgress(run, "failed");
		SpiNextTransaction();
	}
	ReThrowError(error);
}

static void
finish_run(Run *run)
{
	Family	   *family = run->family;
	Tally	   *tally = &run->tally;

	if (OidIsValid(family->target_oid) && !ConsolidateTargetIsIndexed(family))
		index_target(run);
	ConsolidateRecordProgress(run, "finished");
	SpiNextTransaction();
	ereport(NOTICE,
			(errmsg("consolidate: \"%s\" in \"%s\": %lld tables with %lld rows into \"%s\", "
					"%lld rows rejected, %lld tables skipped", family->name, family->schema,
					(long long) tally->done, (long long) tally->rows, family->target,
					(long long) tally->rejected, (long long) tally->skipped)));
}

static void
consolidate_family(Run *run)
{
	TimestampTz since;

	since = GetCurrentTimestamp();
	start_run(run);
	run_over(run, SOURCE_TODO);
	run_over_busy(run, since);
	finish_run(run);
}

/* The arguments; 22004 for a null one, 22023 for one out of range. */
static void
read_options(FunctionCallInfo fcinfo, RunOptions *options)
{
	static const char *const names[] = {"source_schema", "family", "batch", "drop_source",
	"on_reject", "lock_wait", "skip_locked"};
	static const char *const on_reject[] = {"stop", "keep"};
	Interval   *wait;

	ArgsRefuseNull(fcinfo, "consolidate", names, lengthof(names));
	options->batch = ArgsInt(fcinfo, 2, "batch", 1, 1000, "50 to 100 tables per commit cost least.");
	options->drop_source = PG_GETARG_BOOL(3);
	options->keep_rejects =
		ArgsWord(fcinfo, 4, "on_reject", on_reject, lengthof(on_reject),
				 "\"keep\" moves refused rows into consolidate_rejected; \"stop\" skips their table.") == 1;
	wait = PG_GETARG_INTERVAL_P(5);
	options->lock_wait_ms = wait->time / 1000 +
		((int64) wait->month * DAYS_PER_MONTH + wait->day) * (SECS_PER_DAY * INT64CONST(1000));
	if (options->lock_wait_ms < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lock_wait must not be negative"),
				 errdetail("lock_wait is %s.", DatumGetCString(DirectFunctionCall1(interval_out,
																				   IntervalPGetDatum(wait))))));
	options->skip_locked = PG_GETARG_BOOL(6);
}

/* CALL consolidate(source_schema, family, batch, drop_source, on_reject, lock_wait, skip_locked) */
PG_FUNCTION_INFO_V1(consolidate);

Datum
consolidate(PG_FUNCTION_ARGS)
{
	RunOptions	options;
	Run		   *run;
	LOCKTAG		tag;
	char	   *schema;
	char	   *name;
	Oid			extnamespace = get_func_namespace(fcinfo->flinfo->fn_oid);

	PreventCommandDuringRecovery("consolidate");
	ArgsRequireNonatomic(fcinfo, "consolidate");
	read_options(fcinfo, &options);
	schema = text_to_cstring(PG_GETARG_TEXT_PP(0));
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	run = palloc0(sizeof(Run));
	run->context = AllocSetContextCreate(CurrentMemoryContext, "aquacis consolidate",
										 ALLOCSET_DEFAULT_SIZES);
	run->options = options;
	run->extnamespace = extnamespace;
	/* the first transaction took its snapshot, and its isolation, before us */
	SpiNextTransaction();
	MemoryContextSwitchTo(run->context);
	run->started = run->noticed = GetCurrentTimestamp();
	run->family = ConsolidateLoadFamily(extnamespace, schema, name);
	ConsolidateLock(&tag, run->family);
	PG_TRY();
	{
		consolidate_family(run);
	}
	PG_FINALLY();
	{
		ConsolidateUnlock(&tag);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
