/*
 * history_evidence.c
 *	  What the rows of a history table and its base say: the key, the time, and whether a
 *	  copy is the row before the change or after it.
 *
 * The newest copies are read (history_sample.c), and of each key among them the newest one is
 * compared with the row that the base has now, column by column, as far as columns are
 * mapped to one of the same type:
 *
 *	equal, the time too					the copy is the new state: "after"
 *	an earlier time						it is the state before, with its own time: "before"
 *	the same time, other values			it is the state before, with the time of the change:
 *										"before", counted as at_change
 *	a later time						neither: "newer"
 *	no time in the base					equal: "after"; not equal: "before"
 *
 * The newest copy of a key is that with the latest time; of several with that time (it
 * counts seconds), the last in the table.  A key that the base has not is an orphan, and says
 * nothing.
 *
 * The convention is "after" or "before" if four fifths of the keys say so, else "mixed":
 * both happen, so the copies are no chain.  Without a key that says anything it is
 * "unknown".  How sure that is, is the lower limit of Wilson's interval, at 95 %, of the share
 * of keys that agree: one key of one gives 0.21, ten of ten 0.72, a hundred of a hundred 0.96.
 *
 * The base is asked through an index over the key.  Where there is none, its end is read
 * like that of the history table; if that is not the whole of it, a key that is not found is
 * not looked up, and no orphan.  There a guessed key is tried too: it is made longer,
 * column by column of those that the base begins with, while rows of the base share it.
 *
 * Both tables are locked by the caller, and are read as they are in his snapshot.
 * Everything lives in the current context.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "common/hypertable.h"
#include "common/usercode.h"
#include "compat.h"
#include "history/history.h"

#define MOST_KEYS		(1 - HISTORY_DIRT)

/* columns that can be compared: of the history table, and of the base */
typedef struct Compared
{
	AttrNumber	his;
	AttrNumber	base;
	FmgrInfo   *equal;
	Oid			collation;
} Compared;

/* what is at work */
typedef struct Look
{
	HistoryTable *table;
	HistoryEvidence *evidence;
	Relation	his;
	Relation	base;
	HistoryKey	hiskey;
	HistoryKey	basekey;
	AttrNumber	time;			/* of the history table */
	AttrNumber	base_time;		/* of the base, of the same type; InvalidAttrNumber: none */
	Compared   *compared;
	int			ncompared;
	HistorySample rows;			/* of the base, sorted, without an index */
	Relation	index;			/* NULL: none */
	IndexScanDesc scan;
	TupleTableSlot *slot;
	ScanKeyData scankey[HISTORY_MAX_KEY];
	int			scankey_of[HISTORY_MAX_KEY];	/* index of the key's column */
} Look;

/* ---- the base's row of a key ------------------------------------------------------------ */

/*
 * Sets up a scan by the first columns of the index, which are those of the key.  False, and
 * then the base is read: the index is locked, or its operators take another type than the
 * history table's column has.
 */
static bool
begin_index(Look *look)
{
	Oid			indexid = look->table->key_index;

	/* REINDEX locks the index alone; nobody is waited for */
	if (!ConditionalLockRelationOid(indexid, AccessShareLock))
		return false;
	look->index = index_open(indexid, NoLock);
	for (int i = 0; i < look->basekey.n; i++)
	{
		AttrNumber	attnum = look->index->rd_index->indkey.values[i];
		Oid			type;
		Oid			operator;
		int			k = 0;

		while (k < look->basekey.n && look->basekey.attnum[k] != attnum)
			k++;
		if (k == look->basekey.n)
			break;
		type = TupleDescAttr(RelationGetDescr(look->his), look->hiskey.attnum[k] - 1)->atttypid;
		operator = get_opfamily_member(look->index->rd_opfamily[i], look->index->rd_opcintype[i],
									   look->index->rd_opcintype[i], BTEqualStrategyNumber);
		if (!OidIsValid(operator) || (type != look->index->rd_opcintype[i] &&
									  get_typtype(look->index->rd_opcintype[i]) == TYPTYPE_BASE &&
									  !(type == VARCHAROID && look->index->rd_opcintype[i] == TEXTOID)))
			break;
		ScanKeyEntryInitialize(&look->scankey[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   look->index->rd_indcollation[i], get_opcode(operator), (Datum) 0);
		look->scankey_of[i] = k;
		if (i + 1 == look->basekey.n)
		{
			look->scan = index_beginscan(look->base, look->index, GetActiveSnapshot(), look->basekey.n, 0);
			look->slot = table_slot_create(look->base, NULL);
			return true;
		}
	}
	index_close(look->index, AccessShareLock);
	look->index = NULL;
	return false;
}

static void
end_index(Look *look)
{
	if (look->index == NULL)
		return;
	ExecDropSingleTupleTableSlot(look->slot);
	index_endscan(look->scan);
	index_close(look->index, AccessShareLock);
	look->index = NULL;
}

/* The row of the base with the key of a copy, a copy of it; NULL when it is not found. */
static HeapTuple
base_row_by_index(Look *look, HeapTuple copy)
{
	HeapTuple	found = NULL;

	for (int i = 0; i < look->basekey.n; i++)
	{
		bool		isnull;

		look->scankey[i].sk_argument = heap_getattr(copy, look->hiskey.attnum[look->scankey_of[i]],
													look->hiskey.desc, &isnull);
	}
	index_rescan(look->scan, look->scankey, look->basekey.n, NULL, 0);
	if (index_getnext_slot(look->scan, ForwardScanDirection, look->slot))
	{
		found = ExecCopySlotHeapTuple(look->slot);
		look->evidence->base_rows++;
		if (index_getnext_slot(look->scan, ForwardScanDirection, look->slot))
			look->evidence->base_repeated++;
	}
	ExecClearTuple(look->slot);
	return found;
}

/* The same in the rows that were read; both are in the order of the key, so each search goes on. */
static HeapTuple
base_row_by_search(Look *look, HeapTuple copy)
{
	int			low = 0;
	int			high = look->rows.n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (HistoryCompareKeys(&look->basekey, look->rows.row[middle].tuple, &look->hiskey, copy) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < look->rows.n &&
		HistoryCompareKeys(&look->basekey, look->rows.row[low].tuple, &look->hiskey, copy) == 0)
		return look->rows.row[low].tuple;
	return NULL;
}

/* ---- the key ------------------------------------------------------------------------------ */

/* The columns of the key as those of the base, and how both are compared; false: they cannot be. */
static bool
resolve_key(Look *look)
{
	HistoryTable *table = look->table;
	int			base[HISTORY_MAX_KEY];

	for (int i = 0; i < table->nkeys; i++)
	{
		const HistoryColumn *column = &table->his.column[table->key[i]];

		base[i] = column->base;
		if (base[i] < 0 || table->base.column[base[i]].type != column->type)
			return false;
	}
	return HistoryKeyOf(&look->hiskey, look->his, &table->his, table->key, table->nkeys) &&
		HistoryKeyOf(&look->basekey, look->base, &table->base, base, table->nkeys);
}

/* Rows of the base that share the key of another, in the sorted sample. */
static int64
count_repeated(const Look *look)
{
	int64		n = 0;

	for (int i = 1; i < look->rows.n; i++)
		n += HistoryCompareKeys(&look->basekey, look->rows.row[i - 1].tuple, &look->basekey,
								look->rows.row[i].tuple) == 0;
	return n;
}

/*
 * Reads the base, and tries the key on it.  A guessed one gets the next column of the base
 * while rows share it.  False when none is left to try.
 */
static bool
read_base(Look *look, int limit)
{
	HistoryTable *table = look->table;

	for (;;)
	{
		int			next = table->nkeys;

		if (!resolve_key(look))
			return false;
		HistoryReadSample(look->base, &look->basekey, InvalidAttrNumber, limit, &look->rows);
		HistorySortSample(&look->rows, &look->basekey);
		look->evidence->base_rows = look->rows.rows_read;
		look->evidence->base_whole = look->rows.whole;
		look->evidence->base_repeated = count_repeated(look);
		if (table->key_from != HISTORY_KEY_GUESSED || look->evidence->base_repeated == 0)
			return true;
		if (next >= HISTORY_GUESSED_KEY || next >= table->base.n || table->base.column[next].base < 0 ||
			!table->base.column[next].notnull)
			return false;
		table->key[table->nkeys++] = table->base.column[next].base;
	}
}

/* ---- before or after ---------------------------------------------------------------------- */

/* Which columns can be compared, apart from key and time. */
static void
choose_columns(Look *look)
{
	HistoryTable *table = look->table;

	look->compared = palloc(sizeof(Compared) * Max(table->his.n, 1));
	for (int i = 0; i < table->his.n; i++)
	{
		const HistoryColumn *h = &table->his.column[i];
		const HistoryColumn *b = h->base >= 0 ? &table->base.column[h->base] : NULL;
		Compared   *compared = &look->compared[look->ncompared];
		TypeCacheEntry *type;
		bool		in_key = false;

		for (int k = 0; k < table->nkeys; k++)
			in_key = in_key || table->key[k] == i;
		if (b == NULL || in_key || i == table->time || b->type != h->type || UserCodeInType(h->type, InvalidOid))
			continue;
		type = lookup_type_cache(h->type, TYPECACHE_EQ_OPR_FINFO);
		if (!OidIsValid(type->eq_opr))
			continue;
		compared->his = h->attnum;
		compared->base = b->attnum;
		compared->equal = &type->eq_opr_finfo;
		compared->collation = h->collation;
		look->ncompared++;
	}
	look->base_time = InvalidAttrNumber;
	if (table->time >= 0)
	{
		const HistoryColumn *h = &table->his.column[table->time];

		if (h->base >= 0 && table->base.column[h->base].type == h->type)
			look->base_time = table->base.column[h->base].attnum;
	}
}

static bool
values_equal(const Look *look, HeapTuple copy, HeapTuple row)
{
	for (int i = 0; i < look->ncompared; i++)
	{
		const Compared *c = &look->compared[i];
		bool		xnull;
		bool		ynull;
		Datum		x = heap_getattr(copy, c->his, RelationGetDescr(look->his), &xnull);
		Datum		y = heap_getattr(row, c->base, RelationGetDescr(look->base), &ynull);

		if (xnull != ynull ||
			(!xnull && !DatumGetBool(FunctionCall2Coll(c->equal, c->collation, x, y))))
			return false;
	}
	return true;
}

/* Counts what the newest copy of a key says. */
static void
judge_key(Look *look, const HistoryRow *newest)
{
	HistoryEvidence *evidence = look->evidence;
	HeapTuple	row = look->scan ? base_row_by_index(look, newest->tuple) : base_row_by_search(look, newest->tuple);
	Timestamp	time;

	if (row == NULL)
		evidence->orphans += evidence->base_whole;
	else if (look->base_time == InvalidAttrNumber)
	{
		if (look->ncompared > 0 && values_equal(look, newest->tuple, row))
			evidence->after++;
		else if (look->ncompared > 0)
			evidence->before++;
	}
	else if (newest->has_time && HistoryRowTime(RelationGetDescr(look->base), look->base_time, row, &time))
	{
		if (newest->time > time)
			evidence->newer++;
		else if (newest->time < time)
			evidence->before++;
		else if (values_equal(look, newest->tuple, row))
			evidence->after++;
		else
		{
			evidence->before++;
			evidence->at_change++;
		}
	}
}

/* Are two rows of one table the same, bit by bit?  Values that are stored elsewhere are fetched. */
static bool
same_row(TupleDesc desc, HeapTuple a, HeapTuple b)
{
	if (a->t_len == b->t_len && a->t_data->t_hoff == b->t_data->t_hoff &&
		HeapTupleHeaderGetNatts(a->t_data) == HeapTupleHeaderGetNatts(b->t_data) &&
		memcmp((char *) a->t_data + SizeofHeapTupleHeader, (char *) b->t_data + SizeofHeapTupleHeader,
			   a->t_len - SizeofHeapTupleHeader) == 0)
		return true;
	if (!HeapTupleHasExternal(a) || !HeapTupleHasExternal(b))
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		xnull;
		bool		ynull;
		Datum		x = heap_getattr(a, i + 1, desc, &xnull);
		Datum		y = heap_getattr(b, i + 1, desc, &ynull);

		if (!att->attisdropped &&
			(xnull != ynull || (!xnull && !datum_image_eq(x, y, att->attbyval, att->attlen))))
			return false;
	}
	return true;
}

/* Goes through the sorted copies, key by key. */
static void
judge_copies(Look *look)
{
	HistoryEvidence *evidence = look->evidence;
	HistorySample *sample = &evidence->sample;
	HistoryRow *newest = NULL;

	for (int i = 0; i < sample->n; i++)
	{
		HistoryRow *row = &sample->row[i];

		CHECK_FOR_INTERRUPTS();
		if (i == 0 || HistoryCompareKeys(&look->hiskey, row[-1].tuple, &look->hiskey, row->tuple) != 0)
		{
			if (newest)
				judge_key(look, newest);
			newest = row;
			evidence->keys++;
			continue;
		}
		evidence->pairs++;
		if (same_row(look->hiskey.desc, row[-1].tuple, row->tuple))
			evidence->repeated++;
		else if (row->has_time && newest->has_time && row->time == newest->time)
			evidence->equal_times++;
		else if (row->has_time && newest->has_time && row->time < newest->time)
			evidence->backwards++;
		if (!newest->has_time || (row->has_time && row->time >= newest->time))
			newest = row;
	}
	if (newest)
		judge_key(look, newest);
}

/* Lower limit of Wilson's interval for k of n, at 95 %. */
static double
surely(int64 k, int64 n)
{
	double		z = 1.96;
	double		share = (double) k / n;
	double		middle = share + z * z / (2.0 * n);
	double		half = z * sqrt(share * (1 - share) / n + z * z / (4.0 * n * n));

	return Max(0, (middle - half) / (1 + z * z / n));
}

static void
conclude(HistoryEvidence *evidence)
{
	int64		n = evidence->after + evidence->before + evidence->newer;
	int64		most = Max(evidence->after, evidence->before);

	evidence->holds = HISTORY_UNKNOWN;
	if (n == 0)
		return;
	if (most < MOST_KEYS * n)
		evidence->holds = HISTORY_MIXED;
	else
		evidence->holds = most == evidence->after ? HISTORY_AFTER : HISTORY_BEFORE;
	evidence->sure = surely(evidence->holds == HISTORY_MIXED ? n - most : most, n);
}

/* ---- times --------------------------------------------------------------------------------- */

/* Times that the zone does not have, such as those that an hour put forward has skipped. */
static void
count_skipped(Look *look)
{
	HistorySample *sample = &look->evidence->sample;
	const char *zone = look->table->time_zone;
	text	   *name;

	if (zone == NULL || look->time == InvalidAttrNumber ||
		TupleDescAttr(RelationGetDescr(look->his), look->time - 1)->atttypid != TIMESTAMPOID)
		return;
	name = cstring_to_text(zone);
	for (int i = 0; i < sample->n; i++)
	{
		Datum		instant;
		Timestamp	back;

		if (!sample->row[i].has_time || TIMESTAMP_NOT_FINITE(sample->row[i].time))
			continue;
		instant = DirectFunctionCall2(timestamp_zone, PointerGetDatum(name), TimestampGetDatum(sample->row[i].time));
		back = DatumGetTimestamp(DirectFunctionCall2(timestamptz_zone, PointerGetDatum(name), instant));
		look->evidence->skipped_times += back != sample->row[i].time;
	}
}

/*
 * Copies that come in a year, from the range of their times; -1: it is not known, or less
 * than a day.
 */
int64
HistoryRowsPerYear(const HistoryEvidence *evidence, int64 rows)
{
	const HistorySample *sample = &evidence->sample;
	double		years;

	if (!evidence->read || !sample->timed || rows <= 0)
		return -1;
	years = ((double) sample->last - (double) sample->first) / USECS_PER_DAY / DAYS_PER_YEAR;
	return years * DAYS_PER_YEAR < 1 ? -1 : (int64) rint(rows / years);
}

/* ---- the look -------------------------------------------------------------------------------- */

/* An extension may keep the rows elsewhere: then this is no table of rows. */
static bool
has_its_rows(HistoryTable *table, Relation rel)
{
	if (RELATION_IS_OTHER_TEMP(rel))
	{
		HistoryProblem(table, "not_a_table", "%s is a temporary table of another session", RelationGetRelationName(rel));
		return false;
	}
	if (RecoveryInProgress() && !RelationIsPermanent(rel))
	{
		HistoryProblem(table, "not_a_table", "the rows of %s are not on a standby", RelationGetRelationName(rel));
		return false;
	}
	if (rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_tableam->scan_set_tidrange != NULL &&
		(rel->rd_rules != NULL || !HypertableTakesRows(rel)))
		return true;
	HistoryProblem(table, "not_a_table", "the rows of %s lie elsewhere", RelationGetRelationName(rel));
	return false;
}

/* Copies and base compared.  The key is known or guessed. */
static void
look_at_both(Look *look, int limit)
{
	HistoryTable *table = look->table;
	HistoryEvidence *evidence = look->evidence;
	bool		comparable = resolve_key(look);
	bool		usable = comparable;

	if (usable && OidIsValid(table->key_index))
		evidence->base_whole = begin_index(look);
	if (usable && look->index == NULL)
		usable = read_base(look, limit);
	if (!comparable)
		HistoryProblem(table, "columns", "its key is of another type than the base's, or of one without an order");
	else if (!usable)
	{
		table->nkeys = 0;
		table->key_from = HISTORY_KEY_NONE;
		HistoryProblem(table, "no_key", "rows of the base share the first columns: no key was found");
	}
	HistoryReadSample(look->his, usable ? &look->hiskey : NULL, look->time, limit, &evidence->sample);
	evidence->read = true;
	if (!usable)
		return;
	HistorySortSample(&evidence->sample, &look->hiskey);
	choose_columns(look);
	judge_copies(look);
	conclude(evidence);
	count_skipped(look);
	end_index(look);
}

/*
 * Reads rows of a table and its base, both locked, and says in *evidence what they tell; at
 * most about limit rows of each, the newest.  The caller has checked that the current
 * user may read them.  A guessed key can become longer, or a problem.  The rows of the sample
 * stay in the current context.
 */
void
HistoryLook(HistoryTable *table, int limit, HistoryEvidence *evidence)
{
	Look		look = {table, evidence};

	memset(evidence, 0, sizeof(*evidence));
	look.his = try_relation_open(table->relid, NoLock);
	if (look.his == NULL)
	{
		HistoryProblem(table, "dropped", "it has been dropped by somebody else");
		return;
	}
	look.time = table->time >= 0 ? table->his.column[table->time].attnum : InvalidAttrNumber;
	look.base = OidIsValid(table->baseid) ? try_relation_open(table->baseid, NoLock) : NULL;
	if (has_its_rows(table, look.his))
	{
		if (look.base != NULL && table->nkeys > 0 && has_its_rows(table, look.base))
			look_at_both(&look, limit);
		else
		{
			HistoryReadSample(look.his, NULL, look.time, limit, &evidence->sample);
			evidence->read = true;
		}
	}
	if (look.base)
		relation_close(look.base, NoLock);
	relation_close(look.his, NoLock);
}
