/*
 * audit_changes.c
 *	  audit_changes: the committed changes of a log, each once, to a consumer that keeps
 *	  his position; and audit_position.
 *
 * audit_position.c says what a position is, audit_interval.c what comes next and in which
 * order.  Here the entries of an interval are read, sorted, and handed out in portions.
 * A portion ends with a transaction, unless one alone has more than max_rows entries.
 *
 * An interval has some 200,000 entries at most, or one transaction.  It is sorted once (in
 * maintenance_work_mem) and kept in the session until it is handed out, in a tuplestore of work_mem, else on
 * disk.  That is for speed alone.  It is used if the position that comes is in the
 * kept interval, from the same role, and not older than a minute.  Else the interval is read
 * again, which the position fully describes: another session, a rolled back consumer, a
 * restarted server go on at the same entry.  What was read in a transaction that is
 * rolled back is thrown away, since that transaction may have changed the log itself.
 * Where row security applies nothing is kept.
 *
 * Nothing is written, so a crash leaves nothing, and a standby can be asked.  A
 * live application notices nothing but the reading: ACCESS SHARE on the log.
 *
 * The log is read with the caller's rights (audit_read.c), as its owner if it belongs to
 * somebody whom the caller need not trust.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"
#include "utils/xid8.h"

#include "audit/audit_feed.h"
#include "common/args.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_changes);
PG_FUNCTION_INFO_V1(audit_position);

#define INTERVAL_ENTRIES 200000
#define FETCH_ROWS 500
#define KEEP_SECONDS 60

/* columns of the result; in a kept interval, the first is AuditPlace.at */
enum
{
	OUT_POSITION, OUT_XACT_ID, OUT_XACT_SEQ, OUT_WRITTEN_AT, OUT_CHANGED_AT, OUT_TABLE_ID, OUT_TABLE_SCHEMA,
	OUT_TABLE_NAME, OUT_RECORD_ID, OUT_RECORD_KEY, OUT_ACTION, OUT_OLD_DATA, OUT_NEW_DATA, OUT_CHANGED_FIELDS,
	OUT_USER_ID, OUT_DB_USER, OUT_SESSION_ID, OUT_APP_CONTEXT,
	OUT_COLUMNS
};

static const struct
{
	AuditField	field;
	Oid			type;
}			out_columns[OUT_COLUMNS] = {
	[OUT_XACT_ID] = {AUDIT_XACT_ID, XID8OID},
	[OUT_XACT_SEQ] = {AUDIT_XACT_SEQ, INT4OID},
	[OUT_WRITTEN_AT] = {AUDIT_WRITTEN_AT, TIMESTAMPTZOID},
	[OUT_CHANGED_AT] = {AUDIT_CHANGED_AT, TIMESTAMPTZOID},
	[OUT_TABLE_ID] = {AUDIT_TABLE_ID, INT4OID},
	[OUT_TABLE_SCHEMA] = {AUDIT_TABLE_SCHEMA, TEXTOID},
	[OUT_TABLE_NAME] = {AUDIT_TABLE_NAME, TEXTOID},
	[OUT_RECORD_ID] = {AUDIT_RECORD_ID, INT8OID},
	[OUT_RECORD_KEY] = {AUDIT_RECORD_KEY, JSONBOID},
	[OUT_ACTION] = {AUDIT_ACTION, TEXTOID},
	[OUT_OLD_DATA] = {AUDIT_OLD_DATA, JSONBOID},
	[OUT_NEW_DATA] = {AUDIT_NEW_DATA, JSONBOID},
	[OUT_CHANGED_FIELDS] = {AUDIT_CHANGED_FIELDS, JSONBOID},
	[OUT_USER_ID] = {AUDIT_USER_ID, TEXTOID},
	[OUT_DB_USER] = {AUDIT_DB_USER, TEXTOID},
	[OUT_SESSION_ID] = {AUDIT_SESSION_ID, INT8OID},
	[OUT_APP_CONTEXT] = {AUDIT_APP_CONTEXT, JSONBOID},
};

/* the interval that the session keeps */
typedef struct Kept
{
	bool		valid;			/* completely read */
	bool		fresh;			/* in a transaction that has not ended */
	bool		reusable;		/* for the next portion */
	MemoryContext cxt;			/* all below; NULL: nothing is kept */
	Tuplestorestate *store;
	TupleTableSlot *slot;
	Oid			user;
	TimestampTz made_at;
	AuditPosition position;		/* last: behind what has been handed out */
	char	   *prefix;			/* of positions inside */
	char	   *end;			/* the position behind the interval */
	int64		total;			/* entries in the store */
	int64		next;			/* how many of them have been handed out */
	AuditPlace	before;			/* the place before the first of them */
	int64	   *ends;			/* number of entries up to the end of each transaction */
	int			nends;
	int			ends_room;
} Kept;

static Kept kept;

/* ---- what is kept ------------------------------------------------------------------------------ */

static void
forget(void)
{
	Tuplestorestate *store = kept.store;
	MemoryContext cxt = kept.cxt;

	kept.valid = false;
	kept.store = NULL;
	kept.cxt = NULL;
	if (store)
		tuplestore_end(store);	/* its files, too */
	if (cxt)
		MemoryContextDelete(cxt);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_ABORT && event != XACT_EVENT_COMMIT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_ABORT && kept.fresh)
		kept.valid = false;
	kept.fresh = false;
	/* what an error has left half read */
	if (!kept.valid)
		forget();
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && kept.fresh)
		kept.valid = false;
}

static bool
same_snapshot(const AuditSnapshot *a, const AuditSnapshot *b)
{
	return a->xmax == b->xmax && a->n == b->n &&
		(a->n == 0 || memcmp(a->xip, b->xip, sizeof(uint64) * a->n) == 0);
}

/* Is this a position in the kept interval, of the same role? */
static bool
is_kept(const AuditPosition *position)
{
	return kept.valid && position->inside && kept.user == GetUserId() &&
		kept.position.log == position->log && kept.position.order == position->order &&
		same_snapshot(&kept.position.from, &position->from) && same_snapshot(&kept.position.to, &position->to) &&
		!TimestampDifferenceExceeds(kept.made_at, GetCurrentTimestamp(), KEEP_SECONDS * 1000) &&
		AuditPlaceCompare(&kept.before, &position->last) <= 0;
}

static void
copy_snapshot(AuditSnapshot *to, const AuditSnapshot *from)
{
	*to = *from;
	to->xip = palloc(sizeof(uint64) * Max(from->n, 1));
	if (from->n > 0)
		memcpy(to->xip, from->xip, sizeof(uint64) * from->n);
}

/* Begins to keep the entries of an interval behind a place. */
static void
begin_kept(const AuditInterval *in, Oid log, const AuditPlace *before, const AuditSnapshot *begun,
		   TupleDesc result)
{
	static bool registered = false;
	MemoryContext old;
	TupleDesc	desc;

	forget();
	if (!registered)
	{
		RegisterXactCallback(transaction_ended, NULL);
		RegisterSubXactCallback(subtransaction_ended, NULL);
		registered = true;
	}
	memset(&kept, 0, sizeof(kept));
	kept.cxt = AllocSetContextCreate(TopMemoryContext, "aquacis audit_changes", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(kept.cxt);
	desc = CreateTupleDescCopy(result);
	TupleDescInitEntry(desc, 1, "at", TIMESTAMPTZOID, -1, 0);
	kept.slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	kept.store = tuplestore_begin_heap(false, true, work_mem);
	tuplestore_set_eflags(kept.store, EXEC_FLAG_REWIND);
	kept.user = GetUserId();
	kept.made_at = GetCurrentTimestamp();
	kept.position.log = log;
	kept.position.inside = true;
	copy_snapshot(&kept.position.from, &in->from);
	copy_snapshot(&kept.position.to, &in->to);
	kept.position.order = in->order;
	copy_snapshot(&kept.position.begun, begun);
	kept.position.last = kept.before = *before;
	kept.ends_room = 64;
	kept.ends = palloc(sizeof(int64) * kept.ends_room);
	MemoryContextSwitchTo(old);
}

static void
note_end(void)
{
	if (kept.nends == kept.ends_room)
	{
		kept.ends_room *= 2;
		kept.ends = repalloc_huge(kept.ends, sizeof(int64) * kept.ends_room);
	}
	kept.ends[kept.nends++] = kept.total;
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* Values of a slot as a place. */
static void
place_of(const Datum *values, const bool *nulls, AuditPlace *place)
{
	place->at = DatumGetTimestampTz(values[OUT_POSITION]);
	place->xact = U64FromFullTransactionId(DatumGetFullTransactionId(values[OUT_XACT_ID]));
	place->written = nulls[OUT_WRITTEN_AT] ? DT_NOBEGIN : DatumGetTimestampTz(values[OUT_WRITTEN_AT]);
	place->seq = nulls[OUT_XACT_SEQ] ? 0 : DatumGetInt32(values[OUT_XACT_SEQ]);
}

static char *
write_query(const AuditFeedLog *log, const AuditInterval *in)
{
	StringInfoData q;

	initStringInfo(&q);
	appendStringInfoString(&q, "SELECT NULL::pg_catalog.timestamptz");
	for (int i = OUT_XACT_ID; i < OUT_COLUMNS; i++)
		appendStringInfo(&q, ", %s", AuditReadColumnAs(&log->columns, out_columns[i].field, out_columns[i].type));
	appendStringInfo(&q, " FROM %s l WHERE ", NamesQualified(log->columns.relid));
	AuditIntervalAppend(&q, log, &in->from, &in->to);
	return q.data;
}

static Tuplesortstate *
begin_sort(TupleDesc desc)
{
	static const int columns[4] = {OUT_POSITION, OUT_XACT_ID, OUT_WRITTEN_AT, OUT_XACT_SEQ};
	AttrNumber	attnums[4];
	Oid			operators[4];
	Oid			collations[4] = {InvalidOid};
	bool		nulls_first[4] = {true, true, true, true};

	for (int i = 0; i < 4; i++)
	{
		attnums[i] = columns[i] + 1;
		operators[i] = lookup_type_cache(TupleDescAttr(desc, columns[i])->atttypid, TYPECACHE_LT_OPR)->lt_opr;
	}
	return tuplesort_begin_heap(desc, 4, attnums, operators, collations, nulls_first,
								Max(work_mem, maintenance_work_mem), NULL, 0);
}

/* Puts the rows that a cursor has fetched into the sort, those behind a place. */
static void
sort_fetched(const AuditInterval *in, const AuditPlace *after, Tuplesortstate *sort, TupleTableSlot *slot,
			 MemoryContext row_cxt)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(row_cxt);
		const AuditFeedXact *xact;
		AuditPlace	place;

		ExecClearTuple(slot);
		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, slot->tts_values, slot->tts_isnull);
		xact = AuditIntervalFind(in, U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[OUT_XACT_ID])));
		if (xact)
		{
			slot->tts_values[OUT_POSITION] = TimestampTzGetDatum(xact->at);
			slot->tts_isnull[OUT_POSITION] = false;
			place_of(slot->tts_values, slot->tts_isnull, &place);
		}
		if (xact && AuditPlaceCompare(&place, after) > 0)
		{
			/* what lies outside of the row may be gone when it is handed out */
			for (int c = 0; c < OUT_COLUMNS; c++)
				if (!slot->tts_isnull[c] && TupleDescAttr(desc, c)->attlen == -1 &&
					VARATT_IS_EXTERNAL(DatumGetPointer(slot->tts_values[c])))
					slot->tts_values[c] = PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(slot->tts_values[c])));
			ExecStoreVirtualTuple(slot);
			tuplesort_puttupleslot(sort, slot);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_cxt);
	}
}

/* Moves the sorted rows into what is kept, and notes where transactions end. */
static void
keep_sorted(Tuplesortstate *sort, TupleDesc desc)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	uint64		xact = 0;

	while (tuplesort_gettupleslot(sort, true, false, slot, NULL))
	{
		bool		isnull;
		uint64		its = U64FromFullTransactionId(DatumGetFullTransactionId(slot_getattr(slot, OUT_XACT_ID + 1, &isnull)));

		if (kept.total > 0 && its != xact)
			note_end();
		xact = its;
		tuplestore_puttupleslot(kept.store, slot);
		kept.total++;
	}
	if (kept.total > 0)
		note_end();
	ExecDropSingleTupleTableSlot(slot);
}

/* Reads the entries of an interval behind a place, and keeps them. */
static void
read_interval(const AuditFeedLog *log, const AuditInterval *in, const AuditPlace *after, const AuditSnapshot *begun,
			  TupleDesc result)
{
	const char *query = write_query(log, in);
	MemoryContext row_cxt = AllocSetContextCreate(CurrentMemoryContext, "aquacis audit_changes row", ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot;
	Tuplesortstate *sort;
	Portal		cursor;
	int			level;

	begin_kept(in, log->columns.relid, after, begun, result);
	slot = MakeSingleTupleTableSlot(kept.slot->tts_tupleDescriptor, &TTSOpsVirtual);
	sort = begin_sort(kept.slot->tts_tupleDescriptor);

	SPI_connect();
	level = AuditFeedSettings();
	cursor = UserCodeCursor(log->owner, query);
	SettingsEnd(level);
	for (;;)
	{
		UserCodeFetch(log->owner, cursor, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		sort_fetched(in, after, sort, slot, row_cxt);
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(cursor);
	SPI_finish();

	tuplesort_performsort(sort);
	keep_sorted(sort, kept.slot->tts_tupleDescriptor);
	tuplesort_end(sort);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(row_cxt);
	kept.fresh = true;
	kept.valid = true;
}

/* ---- handing out ----------------------------------------------------------------------------------- */

/* How many of the entries that are left make the next portion: whole transactions, if one fits. */
static int64
portion(int max_rows)
{
	int64		most = kept.next + max_rows;
	int			low = 0;
	int			high = kept.nends;

	if (kept.total <= most)
		return kept.total - kept.next;
	/* the first end behind `most` */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (kept.ends[middle] <= most)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0 && kept.ends[low - 1] > kept.next)
		return kept.ends[low - 1] - kept.next;
	return max_rows;
}

/* Moves to the first kept entry behind a position, which need not be the last that was handed out. */
static void
go_to(const AuditPosition *position)
{
	if (AuditPlaceCompare(&kept.position.last, &position->last) == 0)
		return;
	tuplestore_rescan(kept.store);
	kept.next = 0;
	kept.position.last = kept.before;
	while (kept.next < kept.total)
	{
		AuditPlace	place;

		tuplestore_gettupleslot(kept.store, true, false, kept.slot);
		slot_getallattrs(kept.slot);
		place_of(kept.slot->tts_values, kept.slot->tts_isnull, &place);
		if (AuditPlaceCompare(&place, &position->last) > 0)
		{
			/* one too far */
			tuplestore_rescan(kept.store);
			tuplestore_skiptuples(kept.store, kept.next, true);
			break;
		}
		kept.next++;
		kept.position.last = place;
	}
	ExecClearTuple(kept.slot);
}

/* A position as text datum, in a buffer that the next one overwrites. */
static Datum
write_position(StringInfo buffer, int prefix, const AuditPlace *place)
{
	int			len = prefix + AuditPlaceWrite(buffer->data + prefix, place);

	SET_VARSIZE(buffer->data, len);
	return PointerGetDatum(buffer->data);
}

/* Puts a portion of what is kept into the result. */
static void
hand_out(int max_rows, ReturnSetInfo *result)
{
	int64		n = portion(max_rows);
	StringInfoData buffer;
	int			prefix;

	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, "    ", VARHDRSZ);
	appendStringInfoString(&buffer, kept.prefix);
	prefix = buffer.len;
	enlargeStringInfo(&buffer, 100);
	for (int64 i = 0; i < n; i++)
	{
		Datum		values[OUT_COLUMNS];

		tuplestore_gettupleslot(kept.store, true, false, kept.slot);
		slot_getallattrs(kept.slot);
		memcpy(values, kept.slot->tts_values, sizeof(values));
		place_of(values, kept.slot->tts_isnull, &kept.position.last);
		kept.next++;
		values[OUT_POSITION] = kept.next == kept.total ? CStringGetTextDatum(kept.end) :
			write_position(&buffer, prefix, &kept.position.last);
		tuplestore_putvalues(result->setResult, result->setDesc, values, kept.slot->tts_isnull);
	}
	ExecClearTuple(kept.slot);
	if (kept.next == kept.total || !kept.reusable)
		forget();
}

/* ---- the log ------------------------------------------------------------------------------------------ */

/* 42703 unless the log has the column. */
static void
require_column(const AuditFeedLog *log, AuditField field, const char *name)
{
	if (log->columns.attnum[field] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("audit log \"%s\" has no column \"%s\"", RelationGetRelationName(log->rel), name),
				 errdetail("Which changes are committed, and in which order, is known by \"xact_id\" and \"xact_seq\".")));
}

/* Opens a log, InvalidOid: audit_log of the extension's schema.  Errors as AuditOpenLogById, and 42703. */
static void
open_log(Oid logid, Oid fnoid, AuditFeedLog *log)
{
	AuditArgs	args;

	memset(log, 0, sizeof(*log));
	if (!OidIsValid(logid))
	{
		AuditParseArgs(0, NULL, &args);
		logid = AuditResolveLog(&args, AuditTriggerFunction(fnoid), InvalidOid, false);
	}
	log->rel = AuditOpenLogById(logid, &log->columns);
	log->owner = log->rel->rd_rel->relowner;
	/* the columns that are read, and xmin, which no right on columns gives */
	if (pg_class_aclcheck(logid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(log->rel->rd_rel->relkind), get_rel_name(logid));
	require_column(log, AUDIT_XACT_ID, "xact_id");
	require_column(log, AUDIT_XACT_SEQ, "xact_seq");
	log->has_written = log->columns.attnum[AUDIT_WRITTEN_AT] != 0 &&
		get_atttype(logid, log->columns.attnum[AUDIT_WRITTEN_AT]) == TIMESTAMPTZOID;
	log->has_start = get_atttype(logid, log->columns.attnum[AUDIT_CHANGED_AT]) == TIMESTAMPTZOID;
}

/* ---- the functions -------------------------------------------------------------------------------------- */

/* Reads what follows a position.  False: there is nothing. */
static bool
read_on(const AuditFeedLog *log, Oid fnoid, AuditPosition *position, int max_rows, TupleDesc result)
{
	const AuditPlace start = {PG_INT64_MIN, 0, PG_INT64_MIN, PG_INT64_MIN};
	bool		rls = check_enable_rls(log->columns.relid, InvalidOid, true) == RLS_ENABLED;
	AuditSnapshot now;
	AuditSnapshot none;
	AuditInterval in;
	MemoryContext old;

	AuditSnapshotNow(&now);
	AuditPositionRefuseAhead(position, &now);
	if (position->inside)
	{
		AuditIntervalAgain(log, position, &in);
		read_interval(log, &in, &position->last, &position->begun, result);
		/* the rest was deleted */
		if (kept.total == 0)
		{
			position->from = position->to;
			position->inside = false;
		}
	}
	if (!position->inside)
	{
		if (same_snapshot(&position->from, &now))
			return false;
		AuditFlushCommits();
		AuditIntervalChoose(log, &position->from, &now, rls ? Max(max_rows, 1000) : INTERVAL_ENTRIES, &in);
		if (in.nxacts == 0)
			return false;
		AuditSnapshotNone(&none);
		read_interval(log, &in, &start, AuditSnapshotIsNone(&position->from) ? &now : &none, result);
	}
	if (kept.total == 0)
		return false;
	kept.reusable = !rls;
	old = MemoryContextSwitchTo(kept.cxt);
	kept.prefix = AuditPositionPrefix(AuditFeedIdentity(fnoid), &kept.position);
	kept.end = AuditPositionText(AuditFeedIdentity(fnoid), log->columns.relid, &kept.position.to);
	MemoryContextSwitchTo(old);
	return true;
}

/* audit_changes(after, max_rows, log) */
Datum
audit_changes(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {NULL, "max_rows"};
	Oid			fnoid = fcinfo->flinfo->fn_oid;
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AuditPosition position;
	AuditFeedLog log;
	int			max_rows;

	InitMaterializedSRF(fcinfo, 0);
	ArgsRefuseNull(fcinfo, "audit_changes", names, 2);
	max_rows = ArgsInt(fcinfo, 1, "max_rows", 1, 10000000, NULL);
	open_log(PG_ARGISNULL(2) ? InvalidOid : PG_GETARG_OID(2), fnoid, &log);
	if (PG_ARGISNULL(0))
		AuditPositionStart(&position, log.columns.relid);
	else
		AuditPositionRead(text_to_cstring(PG_GETARG_TEXT_PP(0)), fnoid, log.columns.relid, &position);
	AuditPositionRefuseDetached(&position, fnoid);

	if (is_kept(&position))
		go_to(&position);
	else
		forget();
	if (kept.valid && kept.next == kept.total)
		forget();
	if (kept.valid || read_on(&log, fnoid, &position, max_rows, result->setDesc))
		hand_out(max_rows, result);
	table_close(log.rel, NoLock);
	return (Datum) 0;
}

/* audit_position(log) */
Datum
audit_position(PG_FUNCTION_ARGS)
{
	Oid			fnoid = fcinfo->flinfo->fn_oid;
	AuditFeedLog log;
	AuditSnapshot now;

	open_log(PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0), fnoid, &log);
	table_close(log.rel, NoLock);
	AuditSnapshotNow(&now);
	AuditFlushCommits();
	PG_RETURN_TEXT_P(cstring_to_text(AuditPositionText(AuditFeedIdentity(fnoid), log.columns.relid, &now)));
}
