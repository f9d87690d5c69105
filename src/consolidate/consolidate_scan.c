/*
 * consolidate_scan.c
 *	  What a source holds: its rows, their checksum, and the rows that the
 *	  target's key or types refuse.
 *
 * One scan.  Every row's key goes, as 64 bits, into a list that is sorted
 * afterwards unless it grew in order; equal neighbours mean duplicates.  An
 * integer key is its own 64 bits.  Any other is hashed, so equal hashes may or may not
 * be equal keys.  Where there are any, a second scan compares the keys of these suspects
 * and finds out which rows they are: of equal keys the first, in the order of the scan,
 * stays, and the others are rejected.
 *
 * Memory: KEYS_IN_MEMORY keys of 8 bytes, then a sort that spills to disk; of
 * rejected rows and of duplicate keys at most REJECTS_MAX are remembered, a
 * source with more of them is refused whole.
 *
 * Synchronised scans are off: the rejects are in the order in which every
 * later scan meets the rows.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"

#include "compat.h"
#include "consolidate/consolidate.h"

#define KEYS_IN_MEMORY	(256 * 1024)
#define REJECTS_MAX		(1000 * 1000)

typedef struct Keys
{
	int64	   *keys;
	int			nkeys;
	int			allocated;
	bool		ascending;
	Tuplesortstate *sort;		/* once they are too many */
} Keys;

/* A key that occurs more than once, or seems to. */
typedef struct Suspect
{
	int64		hash;
	List	   *seen;			/* Datum arrays of the different keys so far */
	bool		seen_exact;
} Suspect;

/* ---- keys ---------------------------------------------------------------------- */

static void
keys_add(Keys *keys, int64 key)
{
	if (keys->sort == NULL && keys->nkeys == KEYS_IN_MEMORY)
	{
		keys->sort = tuplesort_begin_datum(INT8OID, Int8LessOperator, InvalidOid, false,
										   SORT_MEMORY_KB, NULL, 0);
		for (int i = 0; i < keys->nkeys; i++)
			tuplesort_putdatum(keys->sort, Int64GetDatum(keys->keys[i]), false);
	}
	if (keys->sort)
	{
		tuplesort_putdatum(keys->sort, Int64GetDatum(key), false);
		return;
	}
	if (keys->nkeys == keys->allocated)
	{
		keys->allocated = Max(keys->allocated * 2, 1024);
		keys->keys = keys->keys == NULL ? palloc(sizeof(int64) * keys->allocated) :
			repalloc(keys->keys, sizeof(int64) * keys->allocated);
	}
	if (keys->nkeys > 0 && key <= keys->keys[keys->nkeys - 1])
		keys->ascending = false;
	keys->keys[keys->nkeys++] = key;
}

#define ST_SORT sort_keys
#define ST_ELEMENT_TYPE int64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static void
suspect_add(HTAB **suspects, int64 key)
{
	Suspect    *suspect;
	bool		found;

	if (*suspects == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(int64), .entrysize = sizeof(Suspect),
		.hcxt = CurrentMemoryContext};

		*suspects = hash_create("aquacis duplicate keys", 256, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	suspect = hash_search(*suspects, &key, HASH_ENTER, &found);
	suspect->seen = NIL;
	suspect->seen_exact = false;
}

/* The keys that occur more than once; NULL when there are none. */
static HTAB *
keys_duplicates(Keys *keys, bool *too_many)
{
	HTAB	   *suspects = NULL;
	int64		previous = 0;
	bool		first = true;

	if (keys->sort)
	{
		Datum		value;
		bool		isnull;

		tuplesort_performsort(keys->sort);
		while (tuplesort_getdatum(keys->sort, true, false, &value, &isnull, NULL))
		{
			CHECK_FOR_INTERRUPTS();
			if (!first && DatumGetInt64(value) == previous)
			{
				suspect_add(&suspects, previous);
				if (hash_get_num_entries(suspects) > REJECTS_MAX)
				{
					*too_many = true;
					break;
				}
			}
			first = false;
			previous = DatumGetInt64(value);
		}
		tuplesort_end(keys->sort);
		return suspects;
	}

	if (keys->ascending)
		return NULL;
	sort_keys(keys->keys, keys->nkeys);
	for (int i = 1; i < keys->nkeys; i++)
		if (keys->keys[i] == keys->keys[i - 1])
			suspect_add(&suspects, keys->keys[i]);
	return suspects;
}

/* ---- rejects ------------------------------------------------------------------- */

static void
add_reject(SourceContents *contents, ItemPointer tid, RejectKind kind, int column)
{
	Reject	   *reject;

	contents->count[kind]++;
	if (contents->nrejects == REJECTS_MAX)
	{
		contents->too_many = true;
		return;
	}
	if (contents->nrejects == contents->allocated)
	{
		contents->allocated = Max(contents->allocated * 2, 64);
		contents->rejects = contents->rejects == NULL ?
			palloc(sizeof(Reject) * contents->allocated) :
			repalloc(contents->rejects, sizeof(Reject) * contents->allocated);
	}
	reject = &contents->rejects[contents->nrejects++];
	reject->tid = *tid;
	reject->kind = kind;
	reject->column = column;
}

static bool
same_key(const FamilyColumns *columns, const Datum *a, const Datum *b)
{
	for (int i = 0; i < columns->nkeys; i++)
	{
		const FamilyColumn *column = &columns->column[columns->key[i]];

		if (!DatumGetBool(FunctionCall2Coll(&column->cache->eq_opr_finfo,
											column->collation, a[i], b[i])))
			return false;
	}
	return true;
}

/* Has this key been seen before?  Remembers it if not. */
static bool
suspect_seen(const FamilyColumns *columns, Suspect *suspect, const Datum *values,
			 MemoryContext context)
{
	Datum		key[INDEX_MAX_KEYS];
	Datum	   *copy;
	ListCell   *lc;
	MemoryContext oldcontext;

	if (columns->exact_key)
	{
		bool		seen = suspect->seen_exact;

		suspect->seen_exact = true;
		return seen;
	}
	for (int i = 0; i < columns->nkeys; i++)
		key[i] = values[columns->key[i]];
	foreach(lc, suspect->seen)
		if (same_key(columns, lfirst(lc), key))
		return true;

	oldcontext = MemoryContextSwitchTo(context);
	copy = palloc(sizeof(Datum) * columns->nkeys);
	for (int i = 0; i < columns->nkeys; i++)
	{
		TypeCacheEntry *cache = columns->column[columns->key[i]].cache;

		copy[i] = datumCopy(key[i], cache->typbyval, cache->typlen);
	}
	suspect->seen = lappend(suspect->seen, copy);
	MemoryContextSwitchTo(oldcontext);
	return false;
}

/* ---- the scan ------------------------------------------------------------------ */

/* A scan of a locked source whose order is the same each time, see above. */
TableScanDesc
ConsolidateBeginScan(Relation source, Snapshot snapshot)
{
	return table_beginscan_strat(source, snapshot, 0, NULL, true, false);
}

/*
 * Reads the source once.  With suspects, those of their rows that repeat a
 * key are rejected; without, the keys are collected into keys.
 */
static void
scan_source(const FamilyColumns *columns, Relation source, const SourceColumn *from,
			Snapshot snapshot, SourceContents *contents, Keys *keys, HTAB *suspects)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext per_row = AllocSetContextCreate(oldcontext, "aquacis row", ALLOCSET_SMALL_SIZES);
	TableScanDesc scan = ConsolidateBeginScan(source, snapshot);
	TupleTableSlot *slot = table_slot_create(source, NULL);
	Datum	   *values = palloc0(sizeof(Datum) * columns->ncolumns);
	bool	   *nulls = palloc0(sizeof(bool) * columns->ncolumns);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		RejectKind	kind;
		int			column;
		bool		fits;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(per_row);
		MemoryContextSwitchTo(per_row);
		contents->rows++;
		fits = ConsolidateConvertRow(columns, from, slot, values, nulls, &kind, &column);
		if (fits)
		{
			int64		key = (int64) ConsolidateHashKey(columns, values);
			Suspect    *suspect = suspects ? hash_search(suspects, &key, HASH_FIND, NULL) : NULL;

			if (suspect && suspect_seen(columns, suspect, values, oldcontext))
			{
				fits = false;
				kind = REJECT_DUPLICATE;
				column = columns->key[0];
			}
			if (keys)
			{
				MemoryContextSwitchTo(oldcontext);
				keys_add(keys, key);
				MemoryContextSwitchTo(per_row);
			}
		}
		if (fits)
			contents->checksum += ConsolidateChecksumRow(columns, values, nulls);
		else
		{
			MemoryContextSwitchTo(oldcontext);
			add_reject(contents, &slot->tts_tid, kind, column);
		}
	}
	MemoryContextSwitchTo(oldcontext);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	MemoryContextDelete(per_row);
}

/* Fills contents, which lives in the current memory context. */
void
ConsolidateScanSource(const FamilyColumns *columns, Relation source, const SourceColumn *from,
					  Snapshot snapshot, SourceContents *contents)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(oldcontext, "aquacis keys", ALLOCSET_DEFAULT_SIZES);
	Keys		keys = {.ascending = true};
	HTAB	   *suspects;
	bool		too_many = false;

	memset(contents, 0, sizeof(SourceContents));
	if (RelationGetNumberOfBlocks(source) == 0)
		return;

	MemoryContextSwitchTo(work);
	scan_source(columns, source, from, snapshot, contents, &keys, NULL);
	suspects = keys_duplicates(&keys, &too_many);
	if (too_many)
		contents->too_many = true;
	else if (suspects)
	{
		memset(contents, 0, sizeof(SourceContents));
		scan_source(columns, source, from, snapshot, contents, NULL, suspects);
	}
	MemoryContextSwitchTo(oldcontext);
	if (contents->nrejects > 0)
	{
		Reject	   *rejects = palloc(sizeof(Reject) * contents->nrejects);

		memcpy(rejects, contents->rejects, sizeof(Reject) * contents->nrejects);
		contents->rejects = rejects;
	}
	MemoryContextDelete(work);
}

/*
 * Calls back with each row of a scanned source, in the family's columns, but the
 * rejected ones.
 */
void
ConsolidateForEachRow(const FamilyColumns *columns, Relation source, const SourceColumn *from,
					  Snapshot snapshot, const SourceContents *contents, RowCallback callback,
					  void *arg)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext per_row = AllocSetContextCreate(oldcontext, "aquacis row", ALLOCSET_SMALL_SIZES);
	TableScanDesc scan = ConsolidateBeginScan(source, snapshot);
	TupleTableSlot *slot = table_slot_create(source, NULL);
	Datum	   *values = palloc0(sizeof(Datum) * columns->ncolumns);
	bool	   *nulls = palloc0(sizeof(bool) * columns->ncolumns);
	int64		next_reject = 0;
	int64		taken = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		RejectKind	kind;
		int			column;

		CHECK_FOR_INTERRUPTS();
		if (next_reject < contents->nrejects &&
			ItemPointerEquals(&contents->rejects[next_reject].tid, &slot->tts_tid))
		{
			next_reject++;
			continue;
		}
		MemoryContextReset(per_row);
		MemoryContextSwitchTo(per_row);
		if (!ConsolidateConvertRow(columns, from, slot, values, nulls, &kind, &column))
			elog(ERROR, "a row of \"%s\" changed while it was locked",
				 RelationGetRelationName(source));
		MemoryContextSwitchTo(oldcontext);
		callback(arg, values, nulls);
		taken++;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	MemoryContextDelete(per_row);
	if (taken != contents->rows - contents->nrejects)
		elog(ERROR, "read %lld rows of \"%s\", expected %lld", (long long) taken,
			 RelationGetRelationName(source), (long long) (contents->rows - contents->nrejects));
}

/* ---- in words ------------------------------------------------------------------ */

static char *
key_names(const FamilyColumns *columns)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < columns->nkeys; i++)
		appendStringInfo(&names, "%s%s", i ? ", " : "", columns->column[columns->key[i]].name);
	return names.data;
}

/* Why a row was rejected, for consolidate_rejected; in the current memory context. */
char *
ConsolidateRejectReason(const FamilyColumns *columns, const Reject *reject)
{
	const char *column = columns->column[reject->column].name;

	switch ((RejectKind) reject->kind)
	{
		case REJECT_NULL:
			return columns->column[reject->column].key ?
				psprintf("key column %s is null", column) :
				psprintf("column %s is null", column);
		case REJECT_MISFIT:
			return psprintf("value of column %s does not fit the target", column);
		case REJECT_DUPLICATE:
			return psprintf("duplicate key (%s)", key_names(columns));
	}
	return NULL;				/* keep the compiler quiet */
}

/* A target of the user's own may refuse nulls in more than the key. */
static const char *
null_columns(const FamilyColumns *columns)
{
	for (int i = 0; i < columns->ncolumns; i++)
		if (columns->column[i].notnull && !columns->column[i].key)
			return "null in the key or a NOT NULL column";
	return "null key";
}

/* Copied before, kept, and still the rows that were copied? */
static bool
is_recorded(const Source *source, const SourceContents *contents)
{
	return source->recorded == RECORD_COPIED &&
		source->recorded_rejects == contents->nrejects &&
		source->recorded_rows == contents->rows - contents->nrejects &&
		strcmp(source->recorded_checksum, ConsolidateChecksumText(contents->checksum)) == 0;
}

/*
 * Why the target would not take all rows of the source, or, with keep_rejects, the
 * target and consolidate_rejected; NULL when they would.
 */
ConsolidateProblem *
ConsolidateContentsProblem(const FamilyColumns *columns, const Source *source,
						   const SourceContents *contents, bool keep_rejects)
{
	StringInfoData text;
	bool		recorded = is_recorded(source, contents);

	if (!recorded && source->recorded != RECORD_NONE && source->recorded_rejects > 0)
		return ConsolidateProblemOf(PROBLEM_REFUSED_ROWS,
									"process %lld was consolidated before, with other rows rejected",
									(long long) source->process_id);
	if (contents->too_many)
		return ConsolidateProblemOf(PROBLEM_REFUSED_ROWS,
									"more than %d rows that the target would refuse",
									REJECTS_MAX);
	if (contents->nrejects == 0 || keep_rejects || recorded)
		return NULL;
	initStringInfo(&text);
	if (contents->count[REJECT_NULL] > 0)
		appendStringInfo(&text, "%lld with a %s", (long long) contents->count[REJECT_NULL],
						 null_columns(columns));
	if (contents->count[REJECT_DUPLICATE] > 0)
		appendStringInfo(&text, "%s%lld with a duplicate key (%s)", text.len ? ", " : "",
						 (long long) contents->count[REJECT_DUPLICATE], key_names(columns));
	if (contents->count[REJECT_MISFIT] > 0)
		appendStringInfo(&text, "%s%lld with a value that does not fit the target's type",
						 text.len ? ", " : "",
						 (long long) contents->count[REJECT_MISFIT]);
	return ConsolidateProblemOf(PROBLEM_REFUSED_ROWS,
								"%lld of %lld rows refused: %s",
								(long long) contents->nrejects,
								(long long) contents->rows, text.data);
}
