/*
 * consolidate_compare.c
 *	  Are the rows of a source the rows that the target holds for its process?
 *
 * Every row of either side is turned into bytes; both lists are sorted and compared:
 * every row of one must be in the other, equally often.  A value is the same when
 * its bytes are; of values that are equal but not the same (1.0 and 1.00, -0 and 0) the
 * answer is no, and the source stays where it is.
 *
 * The sorts spill to disk beyond SORT_MEMORY_KB each.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "common/usercode.h"
#include "compat.h"
#include "consolidate/consolidate.h"

/* Rows as bytes, in order. */
typedef struct Images
{
	const FamilyColumns *columns;
	Tuplesortstate *sort;
	StringInfoData row;
} Images;

static void
begin_images(Images *images, const FamilyColumns *columns)
{
	images->columns = columns;
	images->sort = tuplesort_begin_datum(BYTEAOID, ByteaLessOperator, InvalidOid, false,
										 SORT_MEMORY_KB, NULL, 0);
	initStringInfo(&images->row);
}

static void
append_value(StringInfo row, const TypeCacheEntry *type, Datum value)
{
	int			len = type->typlen;
	const char *bytes = DatumGetPointer(value);

	if (type->typbyval)
	{
		appendBinaryStringInfo(row, (char *) &value, sizeof(Datum));
		return;
	}
	if (len == -1)
	{
		struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);

		len = VARSIZE_ANY_EXHDR(packed);
		bytes = VARDATA_ANY(packed);
	}
	else if (len == -2)
		len = strlen(bytes);
	/* the length first, so that no two rows read alike */
	appendBinaryStringInfo(row, (char *) &len, sizeof(len));
	appendBinaryStringInfo(row, bytes, len);
}

static void
put_image(void *arg, Datum *values, bool *nulls)
{
	Images	   *images = arg;
	StringInfo	row = &images->row;

	resetStringInfo(row);
	appendStringInfoSpaces(row, VARHDRSZ);
	for (int i = 0; i < images->columns->ncolumns; i++)
	{
		appendStringInfoChar(row, nulls[i] ? 0 : 1);
		if (!nulls[i])
			append_value(row, images->columns->column[i].cache, values[i]);
	}
	SET_VARSIZE(row->data, row->len);
	tuplesort_putdatum(images->sort, PointerGetDatum(row->data), false);
}

/* Those of one process in the target. */
static void
put_target(Family *family, int64 process_id, Images *images)
{
	int			n = family->columns.ncolumns + 1;
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(oldcontext, "aquacis compared row",
											   ALLOCSET_DEFAULT_SIZES);
	Datum	   *values = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);
	Oid			user = ConsolidateTargetUser(family, ACL_SELECT);
	Portal		cursor = UserCodeCursor(user, ConsolidateTargetQuery(family, &process_id));

	for (;;)
	{
		UserCodeFetch(user, cursor, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		MemoryContextSwitchTo(work);
		for (uint64 row = 0; row < SPI_processed; row++)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(work);
			heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
			put_image(images, values + 1, nulls + 1);
		}
		MemoryContextSwitchTo(oldcontext);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(cursor);
	MemoryContextDelete(work);
}

/* The next row, or NULL; allocated in the current memory context. */
static struct varlena *
next_image(Images *images)
{
	Datum		image;
	bool		isnull;

	if (!tuplesort_getdatum(images->sort, true, true, &image, &isnull, NULL))
		return NULL;
	return (struct varlena *) DatumGetPointer(image);
}

static bool
same_images(Images *a, Images *b)
{
	bool		same = true;

	tuplesort_performsort(a->sort);
	tuplesort_performsort(b->sort);
	while (same)
	{
		struct varlena *x = next_image(a);
		struct varlena *y = next_image(b);

		CHECK_FOR_INTERRUPTS();
		if (x == NULL && y == NULL)
			break;
		same = x != NULL && y != NULL && VARSIZE(x) == VARSIZE(y) &&
			memcmp(x, y, VARSIZE(x)) == 0;
		if (x)
			pfree(x);
		if (y)
			pfree(y);
	}
	return same;
}

/* The rows that are not rejected, against those of the process in the target. */
static bool
same_rows(Family *family, const Source *source, Relation rel, const SourceColumn *from,
		  Snapshot snapshot, const SourceContents *contents)
{
	Images		ours;
	Images		theirs;
	bool		same;

	begin_images(&ours, &family->columns);
	begin_images(&theirs, &family->columns);
	ConsolidateForEachRow(&family->columns, rel, from, snapshot, contents, put_image, &ours);
	put_target(family, source->process_id, &theirs);
	same = same_images(&ours, &theirs);
	tuplesort_end(ours.sort);
	tuplesort_end(theirs.sort);
	return same;
}

/*
 * What the target held of a source's process before it was taken; present comes
 * from ConsolidateProcessesInTarget (NULL: there is no target).  *stored: these very rows.
 * Returns the problem, in words, when it is other rows, else NULL.
 *
 * A source that is stored is dropped without being copied, so the rows themselves are
 * compared: somebody could make rows for a given checksum.  The checksum comes first
 * because it costs less.
 */
ConsolidateProblem *
ConsolidateCheckStored(Family *family, HTAB *present, const Source *source, Relation rel,
					   const SourceColumn *from, Snapshot snapshot,
					   const SourceContents *contents, bool *stored)
{
	HTAB	   *sums;
	ProcessSum *found;
	bool		alike;
	int64		rows;

	*stored = false;
	if (present == NULL || !hash_search(present, &source->process_id, HASH_FIND, NULL))
		return NULL;
	sums = ConsolidateTargetSums(family, &source->process_id);
	found = hash_search(sums, &source->process_id, HASH_FIND, NULL);
	rows = found ? found->rows : 0;
	alike = found && rows == contents->rows - contents->nrejects &&
		found->checksum == contents->checksum;
	hash_destroy(sums);
	if (rows == 0)
		return NULL;
	*stored = alike && same_rows(family, source, rel, from, snapshot, contents);
	return *stored ? NULL :
		ConsolidateProblemOf(PROBLEM_IN_TARGET,
							 "the target already holds %lld rows of process %lld that are not these",
							 (long long) rows, (long long) source->process_id);
}
