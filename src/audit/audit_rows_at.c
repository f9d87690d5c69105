/*
 * audit_rows_at.c
 *	  audit_rows_at: a whole table as it was at a moment.  audit_row_at: one row.
 *
 * The entries after the moment are read once, in order, and what they say of each row is
 * kept by its key (audit_touched.c).  Then the table is read once.  A row that was not
 * changed since goes into the result as it is.  One that was changed gets the values
 * that it had then.  One that was not there is left out.  Rows that are gone come last, from
 * their image in the log.
 *
 * Both queries run in the caller's snapshot, row by row, and what they give is not
 * kept: memory is for changed rows.  The result is a tuplestore, which spills.
 *
 * Of a partition, the rows of the whole table are looked through, because a row that is in it
 * now may have been in another one, or the other way round.  What a rebuilt row was in is
 * decided by the partition's bounds.
 *
 * One row is told by the entries under its key alone, followed to the keys that it got since.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit_asof.h"
#include "common/args.h"
#include "common/settings.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_rows_at);
PG_FUNCTION_INFO_V1(audit_row_at);

/* a table that is read as it was */
typedef struct Rebuild
{
	AuditPast	past;
	ReturnSetInfo *result;
	AuditTouchedKeys *touched;
	MemoryContext row;			/* reset after each row */
	AuditCell  *cells;
	bool	   *unknown;		/* of each column: some row does not have it */
	bool		plain;			/* rows of the query are rows of the result */
	/* of a partition */
	List	   *parts;			/* its own partitions, and itself; NIL: the whole table */
	EState	   *estate;
	ExprState  *bounds;
	TupleTableSlot *slot;
} Rebuild;

/* ---- the log ---------------------------------------------------------------------------- */

static void
read_entry(TupleTableSlot *slot, void *arg)
{
	Rebuild    *rebuild = arg;
	MemoryContext old = MemoryContextSwitchTo(rebuild->row);
	AuditEntry	e;

	slot_getallattrs(slot);
	AuditEntryRead(&rebuild->past.scope, rebuild->past.shape, slot->tts_values, slot->tts_isnull, &e);
	AuditTouchedEntry(rebuild->touched, &e, rebuild->past.scope.args.images);
	MemoryContextSwitchTo(old);
	MemoryContextReset(rebuild->row);
}

static void
read_log(Rebuild *rebuild, TimestampTz at)
{
	AuditPast  *past = &rebuild->past;
	ParamListInfo params = makeParamList(1);
	StringInfoData q;

	params->params[0].value = TimestampTzGetDatum(at);
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = TIMESTAMPTZOID;
	initStringInfo(&q);
	AuditEntrySelect(&q, &past->scope);
	AuditEntryAfter(&q, &past->scope.columns, 1);
	appendStringInfo(&q, " ORDER BY %s", AuditReadOrder(&past->scope.columns, false));
	UserCodeEachRow(past->log->rd_rel->relowner, q.data, params, read_entry, rebuild);
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* Is a rebuilt row within the bounds of the partition that was asked for? */
static bool
belongs(Rebuild *rebuild, HeapTuple row)
{
	ExprContext *context;

	if (rebuild->parts == NIL)
		return true;
	context = GetPerTupleExprContext(rebuild->estate);
	ExecForceStoreHeapTuple(row, rebuild->slot, false);
	context->ecxt_scantuple = rebuild->slot;
	return ExecCheck(rebuild->bounds, context);
}

typedef struct Forming
{
	Rebuild    *rebuild;
	bool		safely;
	HeapTuple	row;
	List	   *unknown;
} Forming;

static void
form_row(void *arg)
{
	Forming    *forming = arg;

	forming->unknown = NIL;
	forming->row = AuditFormRow(forming->rebuild->past.shape, forming->rebuild->cells, forming->safely,
								&forming->unknown);
}

/* Puts the row of the cells into the result.  In the row's context. */
static void
put_cells(Rebuild *rebuild)
{
	Forming		forming = {rebuild, false};
	Datum	   *values;
	bool	   *nulls;
	TupleDesc	desc = rebuild->past.shape->desc;
	ListCell   *lc;

	if (!AuditReadTry(form_row, &forming))
	{
		forming.safely = true;
		form_row(&forming);
	}
	if (!belongs(rebuild, forming.row))
		return;
	foreach(lc, forming.unknown)
		rebuild->unknown[lfirst_int(lc)] = true;
	values = palloc(sizeof(Datum) * Max(desc->natts, 1));
	nulls = palloc(sizeof(bool) * Max(desc->natts, 1));
	heap_deform_tuple(forming.row, desc, values, nulls);
	tuplestore_putvalues(rebuild->result->setResult, rebuild->result->setDesc, values, nulls);
}

/* The bytes of the key of a row of today. */
static void
live_key(Rebuild *rebuild, TupleTableSlot *slot, StringInfo text)
{
	AuditShape *shape = rebuild->past.shape;
	AuditValue *key = palloc(sizeof(AuditValue) * shape->nkey);

	for (int i = 0; i < shape->nkey; i++)
	{
		int			column = shape->key[i];

		/* a hidden key column stands behind the others */
		int			at = shape->reads[column].hidden ? shape->natts + i : column;
		bool		isnull;
		Datum		datum = slot_getattr(slot, at + 1, &isnull);

		AuditToValue(&shape->columns[column], datum, isnull, &key[i]);
	}
	AuditKeyText(text, shape, key);
}

/* The same for one integer, which most keys are. */
static bool
integer_key(Rebuild *rebuild, TupleTableSlot *slot, char *text, int *len)
{
	AuditShape *shape = rebuild->past.shape;
	int			column = shape->key[0];
	bool		isnull;
	Datum		datum;
	int64		number;

	if (shape->nkey != 1 || shape->reads[column].hidden)
		return false;
	datum = slot_getattr(slot, column + 1, &isnull);
	if (isnull)
		return false;
	switch (shape->columns[column].convert)
	{
		case AUDIT_AS_INT2:
			number = DatumGetInt16(datum);
			break;
		case AUDIT_AS_INT4:
			number = DatumGetInt32(datum);
			break;
		case AUDIT_AS_INT8:
			number = DatumGetInt64(datum);
			break;
		default:
			return false;
	}
	text[0] = 'v';
	*len = 1 + pg_lltoa(number, text + 1);
	return true;
}

static AuditTouched *
touched_row(Rebuild *rebuild, TupleTableSlot *slot)
{
	AuditShape *shape = rebuild->past.shape;
	char		number[32];
	int			len;
	StringInfoData text;
	bool		isnull = true;
	Datum		key = (Datum) 0;

	if (shape->nkey == 1 && !shape->reads[shape->key[0]].hidden)
		key = slot_getattr(slot, shape->key[0] + 1, &isnull);
	if (!isnull && AuditTouchedNot(rebuild->touched, key))
		return NULL;
	if (integer_key(rebuild, slot, number, &len))
		return AuditTouchedTake(rebuild->touched, number, len);
	initStringInfo(&text);
	live_key(rebuild, slot, &text);
	return AuditTouchedTake(rebuild->touched, text.data, text.len);
}

/* A row of today that was not changed since.  Older than one of the columns, it has no value there yet. */
static void
put_untouched(Rebuild *rebuild, TupleTableSlot *slot)
{
	ReturnSetInfo *result = rebuild->result;

	if (rebuild->parts)
	{
		bool		isnull;
		Oid			tableoid = DatumGetObjectId(slot_getattr(slot, slot->tts_tupleDescriptor->natts, &isnull));

		if (!list_member_oid(rebuild->parts, tableoid))
			return;
	}
	if (rebuild->plain && TTS_IS_BUFFERTUPLE(slot) &&
		HeapTupleHeaderGetNatts(((HeapTupleTableSlot *) slot)->tuple->t_data) == result->setDesc->natts)
	{
		tuplestore_puttupleslot(result->setResult, slot);
		return;
	}
	slot_getallattrs(slot);
	tuplestore_putvalues(result->setResult, result->setDesc, slot->tts_values, slot->tts_isnull);
}

/* The cells of a row of today. */
static void
cells_of_slot(const AuditShape *shape, TupleTableSlot *slot, AuditCell *cells)
{
	slot_getallattrs(slot);
	memset(cells, 0, sizeof(AuditCell) * shape->natts);
	for (int i = 0; i < shape->natts; i++)
	{
		cells[i].known = cells[i].has_datum = shape->reads[i].live;
		cells[i].datum = slot->tts_values[i];
		cells[i].isnull = slot->tts_isnull[i];
	}
}

static void
read_live(TupleTableSlot *slot, void *arg)
{
	Rebuild    *rebuild = arg;
	MemoryContext old = MemoryContextSwitchTo(rebuild->row);
	AuditTouched *row = touched_row(rebuild, slot);

	if (row == NULL)
		put_untouched(rebuild, slot);
	else if (!row->absent)
	{
		cells_of_slot(rebuild->past.shape, slot, rebuild->cells);
		AuditTouchedCells(row, rebuild->cells);
		put_cells(rebuild);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(rebuild->row);
}

/* Rows that are gone.  Within AuditShapeEnter. */
static void
put_gone(Rebuild *rebuild)
{
	for (AuditTouched *row = rebuild->touched->gone; row; row = row->next)
	{
		MemoryContext old = MemoryContextSwitchTo(rebuild->row);

		CHECK_FOR_INTERRUPTS();
		AuditCellsOfImage(rebuild->past.shape, row->image, rebuild->cells);
		AuditTouchedCells(row, rebuild->cells);
		put_cells(rebuild);
		MemoryContextSwitchTo(old);
		MemoryContextReset(rebuild->row);
	}
}

/* ---- the table ------------------------------------------------------------------------------- */

/* What else the query selects: key columns that are hidden, and where a row lies. */
static const char *
more_columns(const Rebuild *rebuild)
{
	const AuditShape *shape = rebuild->past.shape;
	StringInfoData more;
	bool		hidden = false;

	initStringInfo(&more);
	for (int i = 0; i < shape->nkey; i++)
		hidden |= shape->reads[shape->key[i]].hidden;
	for (int i = 0; i < shape->nkey && hidden; i++)
		appendStringInfo(&more, ", t.%s", quote_identifier(shape->columns[shape->key[i]].name));
	if (rebuild->parts)
		appendStringInfoString(&more, ", t.tableoid");
	return more.data;
}

/* Has the query the columns of the result and nothing else, in the table's own order? */
static bool
is_plain(const AuditShape *shape, const char *more)
{
	for (int i = 0; i < shape->natts; i++)
		if (!shape->reads[i].live || shape->reads[i].hidden)
			return false;
	return more[0] == '\0';
}

/* Gets ready to tell which rebuilt rows belong to the partition.  Within AuditShapeEnter. */
static void
prepare_partition(Rebuild *rebuild)
{
	Relation	rel = rebuild->past.rel;

	rebuild->parts = find_all_inheritors(RelationGetRelid(rel), AccessShareLock, NULL);
	rebuild->estate = CreateExecutorState();
	rebuild->bounds = ExecPrepareCheck(RelationGetPartitionQual(rel), rebuild->estate);
	rebuild->slot = MakeSingleTupleTableSlot(rebuild->past.shape->desc, &TTSOpsHeapTuple);
}

static void
read_table(Rebuild *rebuild)
{
	AuditPast  *past = &rebuild->past;
	AuditShapeScope scope;
	const char *more;
	StringInfoData q;
	int			level;

	if (past->rootid != RelationGetRelid(past->rel) && past->rel->rd_rel->relispartition)
	{
		AuditShapeEnter(past->shape, &scope);
		prepare_partition(rebuild);
		AuditShapeLeave(&scope);
	}
	more = more_columns(rebuild);
	rebuild->plain = is_plain(past->shape, more);
	initStringInfo(&q);
	AuditAppendRows(&q, past, more);
	/* rows are read and rebuilt as the owner, under the settings of the log */
	level = AuditShapeSettings();
	UserCodeEachRow(past->shape->owner, q.data, NULL, read_live, rebuild);
	SettingsEnd(level);
	AuditShapeEnter(past->shape, &scope);
	put_gone(rebuild);
	AuditShapeLeave(&scope);
	if (rebuild->slot)
		ExecDropSingleTupleTableSlot(rebuild->slot);
	if (rebuild->estate)
		FreeExecutorState(rebuild->estate);
}

/* What the rows do not tell. */
static void
report(Rebuild *rebuild)
{
	AuditTouchedKeys *touched = rebuild->touched;
	AuditShape *shape = rebuild->past.shape;
	const char *name = RelationGetRelationName(rebuild->past.rel);
	uint64		lost = touched->lost + AuditTouchedLeft(touched);
	List	   *unknown = NIL;

	if (touched->truncated)
		ereport(WARNING,
				(errmsg("table \"%s\" was truncated since", name),
				 errdetail("Rows that TRUNCATE removed are not in the log, and not in the result."),
				 errhint("audit_enable(..., images => true) logs them from now on.")));
	if (lost > 0)
		ereport(WARNING,
				(errmsg_plural("%llu row of table \"%s\" was there and cannot be told",
							   "%llu rows of table \"%s\" were there and cannot be told",
							   (unsigned long) lost, (unsigned long long) lost, name),
				 errdetail("What is gone without an entry cannot be rebuilt.")));
	if (touched->other_keys > 0)
		ereport(WARNING,
				(errmsg_plural("%llu change of table \"%s\" is logged under another key",
							   "%llu changes of table \"%s\" are logged under another key",
							   (unsigned long) touched->other_keys, (unsigned long long) touched->other_keys, name),
				 errdetail("Which rows were changed so is not known.")));
	for (int i = 0; i < shape->natts; i++)
		if (shape->reads[i].live && (shape->reads[i].hidden || rebuild->unknown[i]))
			unknown = lappend_int(unknown, i);
	AuditPastTellUnknown(&rebuild->past, unknown);
}

/*
 * audit_rows_at(base, at): the rows of the table at that moment, in no order.  Errors: 22004 no
 * moment; else those of AuditPastOpen.
 */
Datum
audit_rows_at(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {NULL, "at"};
	Rebuild		rebuild = {0};
	TimestampTz at;

	ArgsRefuseNull(fcinfo, "audit_rows_at", names, lengthof(names));
	SPI_connect();
	AuditPastOpen(fcinfo, &rebuild.past);
	InitMaterializedSRF(fcinfo, 0);
	rebuild.result = (ReturnSetInfo *) fcinfo->resultinfo;
	AuditPastWarn(&rebuild.past);
	at = AuditPastMoment(fcinfo, 1, &rebuild.past);
	rebuild.touched = AuditTouchedBegin(rebuild.past.shape);
	rebuild.row = AllocSetContextCreate(CurrentMemoryContext, "aquacis row", ALLOCSET_DEFAULT_SIZES);
	rebuild.cells = palloc0(sizeof(AuditCell) * Max(rebuild.past.shape->natts, 1));
	rebuild.unknown = palloc0(sizeof(bool) * Max(rebuild.past.shape->natts, 1));
	read_log(&rebuild, at);
	AuditTouchedFilter(rebuild.touched);
	read_table(&rebuild);
	report(&rebuild);
	AuditPastClose(&rebuild.past);
	SPI_finish();
	return (Datum) 0;
}

/* ---- one row ----------------------------------------------------------------------------------- */

/* The row that had the key at the moment, as it is followed to today. */
typedef struct Follow
{
	AuditPast  *past;
	TimestampTz at;
	AuditValue *asked;			/* the key */
	AuditValue *key;			/* that it has where the walk is */
	AuditEntry *arrival;		/* the U that gave it the key; NULL: it had it then */
	bool		absent;
	bool		ended;			/* the log says so: the row before was deleted, or got another key */
	bool		lost;
	Jsonb	   *image;			/* found: the whole row in the log */
	HeapTuple	live;
	AuditCell  *cells;
	bool	   *set;			/* of each cell: an entry said what it was */
} Follow;

static void
set_former(Follow *follow, const AuditEntry *e)
{
	for (int i = 0; i < e->nchanges; i++)
	{
		int			column = AuditShapeFind(follow->past->shape, e->changes[i].name, e->changes[i].len);

		if (column < 0 || follow->set[column])
			continue;
		follow->set[column] = true;
		AuditSetCell(&follow->cells[column], e->changes[i].has_old ? &e->changes[i].old : &AuditRedacted, 0);
	}
}

/* Did the row that the entry is about (NULL: the row of today) get its key only since? */
static bool
came_later(Follow *follow, const AuditEntry *first)
{
	return follow->arrival == NULL &&
		AuditPastArrival(follow->past, follow->key, NULL, follow->at, first) != NULL;
}

/*
 * The entries under one key, from where the row got it.  True: the row has another key since,
 * and is to be followed there.
 */
static bool
follow_key(Follow *follow)
{
	bool		first = follow->arrival == NULL;
	ListCell   *lc;

	foreach(lc, AuditPastEntries(follow->past, follow->key))
	{
		AuditEntry *e = lfirst(lc);

		if (e->at <= follow->at)
			follow->ended = e->action == 'D' || e->moved;
		if (e->at <= follow->at ||
			(follow->arrival && (AuditEntryCompare(e, follow->arrival) <= 0 ||
								 AuditEntrySameCommand(e, follow->arrival))))
			continue;
		if (e->action == 'I' || (first && came_later(follow, e)))
		{
			follow->absent = first;
			follow->lost = !first;
			return false;
		}
		first = false;
		follow->image = e->action == 'D' ? e->old : e->action == 'B' ? e->new : NULL;
		if (e->action == 'D')
			follow->lost = e->old == NULL;
		if (follow->image || follow->lost)
			return false;
		set_former(follow, e);
		if (e->moved)
		{
			follow->key = e->moved;
			follow->arrival = e;
			return true;
		}
	}
	follow->live = AuditPastLive(follow->past, follow->key);
	if (first && (follow->live == NULL || came_later(follow, NULL)))
		follow->absent = true;
	else
		follow->lost = follow->live == NULL;
	return false;
}

/* The row, or NULL: it was not there. */
static HeapTuple
row_of(Follow *follow, List **unknown)
{
	AuditShape *shape = follow->past->shape;
	AuditCell  *base = palloc0(sizeof(AuditCell) * Max(shape->natts, 1));
	AuditShapeScope scope;
	HeapTuple	row;

	if (follow->image)
		AuditCellsOfImage(shape, follow->image, base);
	else if (follow->live)
		AuditCellsOfRow(shape, follow->live, base);
	for (int i = 0; i < shape->natts; i++)
		if (follow->set[i])
			base[i] = follow->cells[i];
	for (int i = 0; follow->lost && i < shape->nkey; i++)
		AuditSetCell(&base[shape->key[i]], &follow->asked[i], 0);
	AuditShapeEnter(shape, &scope);
	row = AuditFormRow(shape, base, true, unknown);
	AuditShapeLeave(&scope);
	return row;
}

static void
find_row(Follow *follow)
{
	const char *name = RelationGetRelationName(follow->past->rel);

	follow->cells = palloc0(sizeof(AuditCell) * Max(follow->past->shape->natts, 1));
	follow->set = palloc0(sizeof(bool) * Max(follow->past->shape->natts, 1));
	while (follow_key(follow))
		CHECK_FOR_INTERRUPTS();
	if (((follow->absent && !follow->ended) || follow->lost) &&
		AuditPastTruncate(follow->past, follow->at, DT_NOEND) != NULL)
		ereport(WARNING,
				(errmsg("table \"%s\" was truncated since", name),
				 errdetail("If the row was there, TRUNCATE removed it, and the log does not have it."),
				 errhint("audit_enable(..., images => true) logs such rows from now on.")));
	else if (follow->lost)
		ereport(WARNING,
				(errmsg("the row of table \"%s\" is gone, and the log does not have its last values", name)));
}

/*
 * audit_row_at(base, record_key, at): the row that had the key at that moment; NULL: there was
 * none.  What it does not know of the row is told, except of excluded columns.  Errors: 22004 no key or moment; else as audit_versions.
 */
Datum
audit_row_at(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {NULL, "record_key", "at"};
	MemoryContext caller = CurrentMemoryContext;
	AuditPast	past;
	Follow		follow = {&past};
	List	   *unknown = NIL;
	ListCell   *lc;
	HeapTuple	row = NULL;
	Datum		result = (Datum) 0;

	ArgsRefuseNull(fcinfo, "audit_row_at", names, lengthof(names));
	SPI_connect();
	AuditPastOpen(fcinfo, &past);
	AuditPastWarn(&past);
	follow.at = AuditPastMoment(fcinfo, 2, &past);
	follow.key = follow.asked = AuditPastKey(&past, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	find_row(&follow);
	if (!follow.absent)
	{
		row = row_of(&follow, &unknown);
		foreach(lc, unknown)
			if (past.shape->reads[lfirst_int(lc)].hidden)
			unknown = foreach_delete_current(unknown, lc);
		AuditPastTellUnknown(&past, unknown);
		MemoryContextSwitchTo(caller);
		result = heap_copy_tuple_as_datum(row, past.shape->desc);
	}
	AuditPastClose(&past);
	SPI_finish();
	if (row == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
