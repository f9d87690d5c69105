/*
 * audit_undo_apply.c
 *	  Undoing: the changes that give the rows back what they were.
 *
 * Each row needs one change, its net: an INSERT, an UPDATE or a DELETE.  They are made in the
 * reverse of the order in which the rows were changed, so that what refers to a row is gone
 * before it, and a value is free before it is taken.  Consecutive changes of one table and
 * kind are one statement, which gets its values from a tuplestore (ROWS_NAME).
 *
 * The reverse order is not always one that works: ON DELETE CASCADE deletes the parent
 * first, so the children would be inserted before it.  So a statement runs in a
 * subtransaction, and one that fails is tried again when the others are done, as long as some
 * succeed; then in halves, down to single rows.  If rows remain, they may need what was
 * between (two rows have swapped unique values by way of a third): then all is taken back, and
 * the changes of all rows are undone one command after the other (audit_undo_stepwise.c).
 * What fails even then, a foreign key of a row that is not part of the undo for
 * instance, is the error of the undo, or with 'skip' the conflict of that row.
 *
 * Statements run as the caller: rights, row security, triggers and constraints are
 * those of his own UPDATE.  Each has to change as many rows as it was given.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit_undo.h"
#include "common/spi.h"

/* ---- the order ------------------------------------------------------------------------------ */

static int64
place_of(const UndoRow *row)
{
	return row->kind == UNDO_DELETE ? row->first->number : row->last->number;
}

static int
latest_first(const void *a, const void *b)
{
	int64		x = place_of(*(UndoRow *const *) a);
	int64		y = place_of(*(UndoRow *const *) b);

	return x > y ? -1 : x < y;
}

/* Can the row be part of a statement that begins with this one? */
static bool
fits(Undo *undo, UndoRow *first, Bitmapset *columns, UndoRow *row, MemoryContext tmp)
{
	MemoryContext old;
	bool		same;

	if (row->table != first->table || row->kind != first->kind)
		return false;
	if (row->kind != UNDO_INSERT)
		return true;
	/* a column that the log does not have gets its default */
	old = MemoryContextSwitchTo(tmp);
	same = bms_equal(columns, AuditUndoColumns(undo, row));
	MemoryContextSwitchTo(old);
	MemoryContextReset(tmp);
	return same;
}

/* The first pass: all rows, as few statements as possible.  Returns the batches that failed. */
static List *
first_pass(Undo *undo, UndoRow **rows, int64 nrows)
{
	MemoryContext tmp = AllocSetContextCreate(CurrentMemoryContext, "fits", ALLOCSET_DEFAULT_SIZES);
	List	   *failed = NIL;
	int64		from = 0;

	while (from < nrows)
	{
		Bitmapset  *columns = rows[from]->kind == UNDO_INSERT ? AuditUndoColumns(undo, rows[from]) : NULL;
		int64		to = from + 1;
		UndoBatch  *batch;

		while (to < nrows && to - from < UNDO_MAX_BATCH && fits(undo, rows[from], columns, rows[to], tmp))
			to++;
		batch = AuditUndoBatch(undo, rows + from, to - from);
		if (!AuditUndoTry(batch))
			failed = lappend(failed, batch);
		from = to;
	}
	MemoryContextDelete(tmp);
	return failed;
}

/* Those that failed again, as long as some succeed, and in smaller parts.  What is left are single rows. */
static List *
next_passes(Undo *undo, List *failed)
{
	while (failed != NIL)
	{
		List	   *again = NIL;
		List	   *parts = NIL;
		ListCell   *lc;

		foreach(lc, failed)
			if (!AuditUndoTry(lfirst(lc)))
			again = lappend(again, lfirst(lc));
		if (list_length(again) < list_length(failed))
		{
			failed = again;
			continue;
		}
		foreach(lc, again)
		{
			UndoBatch  *batch = lfirst(lc);
			int			half = batch->n / 2;

			if (half > 0)
				parts = lappend(parts, AuditUndoBatch(undo, batch->rows, half));
			parts = lappend(parts, half > 0 ? AuditUndoBatch(undo, batch->rows + half, batch->n - half) : batch);
		}
		if (list_length(parts) == list_length(again))
			return again;
		failed = parts;
	}
	return NIL;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* the work of a subtransaction */
typedef struct Attempt
{
	Undo	   *undo;
	UndoRow   **rows;
	int64		n;
	List	   *failed;			/* of UndoBatch *, each a single row */
} Attempt;

/* The net of each row.  Raises the first error, to take all back, when some rows remain. */
static void
try_net(void *arg)
{
	Attempt    *attempt = arg;

	attempt->failed = next_passes(attempt->undo, first_pass(attempt->undo, attempt->rows, attempt->n));
	if (attempt->failed != NIL)
		ReThrowError(((UndoBatch *) linitial(attempt->failed))->error);
}

static void
try_stepwise(void *arg)
{
	AuditUndoStepwise(((Attempt *) arg)->undo);
}

static void
set_states(Attempt *attempt, UndoState state)
{
	for (int64 i = 0; i < attempt->n; i++)
		attempt->rows[i]->state = state;
}

/* The error of a statement, with the record that it is about. */
static void
raise_failure(const UndoBatch *batch)
{
	ErrorData  *error = batch->error;
	UndoRow    *row = batch->rows[0];
	char	   *where = psprintf("undo of record %s of table \"%s\"", AuditUndoKeyText(row),
								 RelationGetRelationName(row->table->rel));

	error->context = error->context ? psprintf("%s\n%s", error->context, where) : where;
	if (error->hint == NULL)
		error->hint = pstrdup("on_conflict => 'skip' undoes the others.");
	ReThrowError(error);
}

/* Undoes what can be undone; the others are conflicts. */
static void
skip_failures(Attempt *attempt)
{
	Undo	   *undo = attempt->undo;
	ListCell   *lc;

	foreach(lc, next_passes(undo, first_pass(undo, attempt->rows, attempt->n)))
	{
		UndoBatch  *batch = lfirst(lc);

		batch->rows[0]->state = UNDO_CONFLICT;
		batch->rows[0]->note.conflict = MemoryContextStrdup(undo->cxt, batch->error->message);
	}
}

/*
 * Undoes all rows whose state is UNDO_OPEN; they are UNDO_DONE then, or with undo->skip may be
 * UNDO_CONFLICT.  Within an SPI connection, after AuditUndoCompare.  Raises what the statements
 * raise, 55000 when a table keeps rows back.
 */
void
AuditUndoApply(Undo *undo)
{
	Attempt		attempt = {undo};
	ErrorData  *error;

	attempt.rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(UndoRow *) * (undo->nrows + 1));
	for (int64 i = 0; i < undo->nrows; i++)
		if (undo->rows[i]->state == UNDO_OPEN)
			attempt.rows[attempt.n++] = undo->rows[i];
	qsort(attempt.rows, attempt.n, sizeof(UndoRow *), latest_first);
	error = SpiTry(try_net, &attempt);
	if (error == NULL)
		return;
	if (AuditUndoEndsAll(error))
		ReThrowError(error);
	set_states(&attempt, UNDO_OPEN);
	error = SpiTry(try_stepwise, &attempt);
	if (error && AuditUndoEndsAll(error))
		ReThrowError(error);
	if (error == NULL)
		set_states(&attempt, UNDO_DONE);
	else if (undo->skip)
		skip_failures(&attempt);
	else
		raise_failure(linitial(attempt.failed));
}
