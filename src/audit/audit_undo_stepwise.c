/*
 * audit_undo_stepwise.c
 *	  Undoing command by command, where the net of the rows cannot be made at once.
 *
 * Each state between two commands was one that the tables had, so the way back exists, and is
 * the way there backwards: the UPDATEs of one command are one statement, other changes one
 * each.
 *
 * One thing goes the other way round.  A foreign key's CASCADE and SET NULL change the
 * referring rows after the row they refer to, so backwards they come first, and are refused.
 * What is refused waits, and with it what is still to be undone of the same rows; it is tried
 * again when the rest of the transaction is undone.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "audit/audit_undo.h"

/* One change of a row as a row of its own: the key that it has now, and what it was before it. */
static UndoRow *
step_as_row(UndoRow *row, const UndoStep *step)
{
	UndoRow    *part = palloc0(sizeof(UndoRow));
	UndoStep   *only = palloc(sizeof(UndoStep));

	if (row->key_now == NULL)
		row->key_now = row->key;
	*only = *step;
	only->next = NULL;
	part->table = row->table;
	part->plain = row->plain;
	part->first = part->last = only;
	part->existed = step->action != 'I';
	part->exists = step->action != 'D';
	part->kind = step->action == 'I' ? UNDO_DELETE : step->action == 'D' ? UNDO_INSERT : UNDO_UPDATE;
	part->key = row->key_now;
	part->key_then = step->action == 'U' ? AuditUndoKeyBefore(row->key_now, step->data) : row->key_now;
	row->key_now = part->key_then;
	return part;
}

/* Can two changes be undone by one statement?  UPDATEs of one command were made by one. */
static bool
is_one_statement(const UndoStep *a, const UndoStep *b)
{
	return a->action == 'U' && b->action == 'U' && a->command == b->command && a->row->table == b->row->table;
}

/* The row in `steps` that a part is of: parts keep its step, which keeps the row. */
static UndoRow *
row_of(const UndoRow *part)
{
	return part->first->row;
}

static bool
has_to_wait(const UndoBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
		if (row_of(batch->rows[i])->waits)
			return true;
	return false;
}

static void
set_waits(const UndoBatch *batch, bool waits)
{
	for (int i = 0; i < batch->n; i++)
		row_of(batch->rows[i])->waits = waits;
}

/* Tries a batch, or lets it wait.  Returns the list of those that wait. */
static List *
try_or_wait(UndoBatch *batch, List *waiting)
{
	if (!has_to_wait(batch) && AuditUndoTry(batch))
		return waiting;
	set_waits(batch, true);
	return lappend(waiting, batch);
}

/* Tries those that wait, in their order, as long as some succeed. */
static List *
try_again(List *waiting)
{
	for (;;)
	{
		List	   *again = NIL;
		ListCell   *lc;

		foreach(lc, waiting)
			set_waits(lfirst(lc), false);
		foreach(lc, waiting)
			again = try_or_wait(lfirst(lc), again);
		if (again == NIL || list_length(again) == list_length(waiting))
			return again;
		waiting = again;
	}
}

/* A batch of these parts, which are copied. */
static UndoBatch *
batch_of(Undo *undo, UndoRow **parts, int n)
{
	UndoRow   **copy = palloc(sizeof(UndoRow *) * n);

	memcpy(copy, parts, sizeof(UndoRow *) * n);
	return AuditUndoBatch(undo, copy, n);
}

/* The error of the first that failed itself. */
static void
raise_first(List *waiting)
{
	ListCell   *lc;

	foreach(lc, waiting)
		if (((UndoBatch *) lfirst(lc))->error)
		ReThrowError(((UndoBatch *) lfirst(lc))->error);
}

/*
 * Undoes all rows whose state is UNDO_OPEN, change by change.  Within a subtransaction: raises
 * the error of the first statement that does not work, and all has to be taken back then.
 */
void
AuditUndoStepwise(Undo *undo)
{
	UndoStep   *before = NULL;
	List	   *waiting = NIL;
	UndoRow   **parts = palloc(sizeof(UndoRow *) * UNDO_MAX_BATCH);
	int			n = 0;

	for (int64 i = undo->nsteps - 1; i >= 0; i--)
	{
		UndoStep   *step = undo->steps[i];

		if (step->row->state != UNDO_OPEN)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (n == UNDO_MAX_BATCH || (n > 0 && !is_one_statement(before, step)))
		{
			waiting = try_or_wait(batch_of(undo, parts, n), waiting);
			n = 0;
		}
		if (waiting && before->xact != step->xact)
			waiting = try_again(waiting);
		parts[n++] = step_as_row(step->row, step);
		before = step;
	}
	if (n > 0)
		waiting = try_or_wait(batch_of(undo, parts, n), waiting);
	raise_first(try_again(waiting));
}
