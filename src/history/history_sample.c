/*
 * history_sample.c
 *	  Rows of a table: a bounded number of them, read by no plan.
 *
 * A history table grows at its end: the newest copies are in its last blocks, whatever
 * there is of indexes.  So a sample is the end of the table, read backwards in steps until
 * it has as many rows as it may, or as many blocks; of a table that is no larger, every row.
 * The first blocks are read for the oldest time, too.  Nothing else is touched, so a plan of
 * 230 large tables reads some megabytes of each.
 *
 * Rows are read by the table access method in the caller's snapshot, between two TIDs.  No
 * statement is planned, so no expression of an index, no statistics object, view, policy
 * or cast of anybody can run.  Values are compared by the B-tree function of their type,
 * which only superusers make; columns of types that could run more are left alone
 * (UserCodeInType).  A scan between TIDs is not counted as a sequential scan: a plan does
 * not make a table look as if it were read.
 *
 * The rows of a sample are copies in the current context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/date.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/sortsupport.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "common/usercode.h"
#include "compat.h"
#include "history/history.h"

/* blocks of one step backwards, and at the beginning of the table */
#define STEP_BLOCKS		32
#define FIRST_BLOCKS	4

/* ---- keys and times ------------------------------------------------------------------- */

/*
 * How rows of an open table are compared by columns[index[0..n-1]].  False when a type has
 * no order, or could run code of somebody.
 */
bool
HistoryKeyOf(HistoryKey *key, Relation rel, const HistoryColumns *columns, const int *index, int n)
{
	key->n = n;
	key->desc = RelationGetDescr(rel);
	for (int i = 0; i < n; i++)
	{
		const HistoryColumn *column = &columns->column[index[i]];
		TypeCacheEntry *type;

		if (UserCodeInType(column->type, InvalidOid))
			return false;
		type = lookup_type_cache(column->type, TYPECACHE_CMP_PROC_FINFO);
		if (!OidIsValid(type->cmp_proc))
			return false;
		key->attnum[i] = column->attnum;
		key->collation[i] = column->collation;
		key->compare[i] = &type->cmp_proc_finfo;
	}
	return n > 0;
}

static bool
has_null_key(const HistoryKey *key, HeapTuple tuple)
{
	for (int i = 0; i < key->n; i++)
		if (heap_attisnull(tuple, key->attnum[i], key->desc))
			return true;
	return false;
}

/* Below 0, 0 or above 0, for two rows that have all columns of the key, of the same types. */
int
HistoryCompareKeys(const HistoryKey *a, HeapTuple atuple, const HistoryKey *b, HeapTuple btuple)
{
	for (int i = 0; i < a->n; i++)
	{
		bool		isnull;
		Datum		x = heap_getattr(atuple, a->attnum[i], a->desc, &isnull);
		Datum		y = heap_getattr(btuple, b->attnum[i], b->desc, &isnull);
		int			order = DatumGetInt32(FunctionCall2Coll(a->compare[i], a->collation[i], x, y));

		if (order != 0)
			return order;
	}
	return 0;
}

/* The time in a column of a row, a date as its midnight; false when it is null. */
bool
HistoryRowTime(TupleDesc desc, AttrNumber attnum, HeapTuple tuple, Timestamp *time)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);
	int			overflow;

	if (isnull)
		return false;
	switch (TupleDescAttr(desc, attnum - 1)->atttypid)
	{
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			*time = DatumGetTimestamp(value);
			return true;
		case DATEOID:
			*time = date2timestamp_opt_overflow(DatumGetDateADT(value), &overflow);
			return true;
	}
	return false;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* what a step needs */
typedef struct Reader
{
	Relation	rel;
	TupleTableSlot *slot;
	const HistoryKey *key;		/* NULL: rows are counted, and their times looked at */
	AttrNumber	time;			/* InvalidAttrNumber: there is none */
	HistorySample *sample;
	int			room;
	BlockNumber kept_from;		/* rows before it are for their times alone */
} Reader;

static void
take_row(Reader *reader, HeapTuple tuple, BlockNumber block)
{
	HistorySample *sample = reader->sample;
	HistoryRow	row = {tuple};

	if (reader->time != InvalidAttrNumber)
		row.has_time = HistoryRowTime(RelationGetDescr(reader->rel), reader->time, tuple, &row.time);
	if (row.has_time && !TIMESTAMP_NOT_FINITE(row.time))
	{
		if (!sample->timed || row.time < sample->first)
			sample->first = row.time;
		if (!sample->timed || row.time > sample->last)
			sample->last = row.time;
		sample->timed = true;
	}
	if (block < reader->kept_from)
		return;
	/* in the order of the table, whichever end is read first */
	row.place = ((int64) block << 16) | ItemPointerGetOffsetNumberNoCheck(&tuple->t_self);
	sample->rows_read++;
	if (reader->time != InvalidAttrNumber && !row.has_time)
		sample->null_times++;
	if (reader->key == NULL)
		return;
	if (has_null_key(reader->key, tuple))
	{
		sample->null_keys++;
		return;
	}
	if (sample->n == reader->room)
	{
		reader->room = Max(64, reader->room * 2);
		sample->row = sample->row ? repalloc(sample->row, reader->room * sizeof(HistoryRow)) :
			palloc(reader->room * sizeof(HistoryRow));
	}
	row.tuple = heap_copytuple(tuple);
	sample->row[sample->n++] = row;
}

/* The rows of the blocks from .. to - 1. */
static void
read_blocks(Reader *reader, BlockNumber from, BlockNumber to)
{
	ItemPointerData min;
	ItemPointerData max;
	TableScanDesc scan;

	ItemPointerSet(&min, from, FirstOffsetNumber);
	ItemPointerSet(&max, to - 1, MaxOffsetNumber);
	scan = table_beginscan_tidrange(reader->rel, GetActiveSnapshot(), &min, &max);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, reader->slot))
	{
		bool		should_free;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(reader->slot, false, &should_free);

		tuple->t_self = reader->slot->tts_tid;
		take_row(reader, tuple, ItemPointerGetBlockNumberNoCheck(&reader->slot->tts_tid));
		if (should_free)
			heap_freetuple(tuple);
		CHECK_FOR_INTERRUPTS();
	}
	table_endscan(scan);
	reader->sample->blocks_read += to - from;
}

/*
 * Reads the end of an open table into *sample: about limit rows, and no more than limit
 * blocks.  key NULL: rows are only counted.  time may be InvalidAttrNumber.  Rows and
 * copies are in the current context.  0A000 for a table access method without TIDs in order.
 */
void
HistoryReadSample(Relation rel, const HistoryKey *key, AttrNumber time, int limit, HistorySample *sample)
{
	Reader		reader = {rel, NULL, key, time, sample, 0, 0};
	BlockNumber end = RelationGetNumberOfBlocks(rel);

	memset(sample, 0, sizeof(*sample));
	sample->blocks = end;
	if (rel->rd_tableam->scan_set_tidrange == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the rows of table \"%s\" cannot be read between two places", RelationGetRelationName(rel)),
				 errdetail("Its table access method does not offer that.")));
	reader.slot = table_slot_create(rel, NULL);
	while (end > 0 && sample->rows_read < limit && sample->blocks - end < limit)
	{
		BlockNumber step = Min(STEP_BLOCKS, limit - (sample->blocks - end));
		BlockNumber from = end > step ? end - step : 0;

		read_blocks(&reader, from, end);
		end = from;
	}
	sample->whole = end == 0;
	if (end > 0)
	{
		reader.kept_from = end;
		read_blocks(&reader, 0, Min(end, FIRST_BLOCKS));
	}
	ExecDropSingleTupleTableSlot(reader.slot);
}

static int
compare_rows(const void *a, const void *b, void *arg)
{
	const HistoryRow *x = a;
	const HistoryRow *y = b;
	int			order = HistoryCompareKeys(arg, x->tuple, arg, y->tuple);

	if (order != 0)
		return order;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* Rows by key, those of one key in the order of the table. */
void
HistorySortSample(HistorySample *sample, const HistoryKey *key)
{
	qsort_arg(sample->row, sample->n, sizeof(HistoryRow), compare_rows, unconstify(HistoryKey *, key));
}
