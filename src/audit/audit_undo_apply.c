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
 * succeed; then in halves, down to single rows.  Rows that remain may need what was
 * between (two rows have swapped unique values by way of a third): their changes are undone one
 * by one, all or none.  What fails even then, a foreign key of a row that is not part of the undo
 * for instance, is the error of the undo, or with 'skip' the conflict of that row.
 *
 * Statements run as the caller: rights, row security, triggers and constraints are
 * those of his own UPDATE.  Each has to change as many rows as it was given.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit_undo.h"
#include "common/names.h"
#include "common/rows.h"
#include "common/settings.h"
#include "common/usercode.h"

#define MAX_BATCH	10000

/* rows of one table that need the same kind of change */
typedef struct Batch
{
	Undo	   *undo;
	UndoTable  *table;
	UndoKind	kind;
	UndoRow   **rows;
	int			n;
	Bitmapset  *columns;		/* that are set, by index */
	Bitmapset  *partly;			/* those not set in each row */
	Rows	   *store;
	ErrorData  *error;			/* of the last attempt */
} Batch;

/* ---- which columns ------------------------------------------------------------------------ */

static bool
is_already(const UndoRow *row, int column)
{
	for (UndoNote *note = row->notes; note; note = note->next)
		if (note->column == column && note->already)
			return true;
	return false;
}

/* Is this column to be set in this row? */
static bool
is_set(const UndoRow *row, const UndoNetColumn *col)
{
	const UndoColumn *column = &row->table->cols[col->column];

	if (column->generated || column->attnum == 0 || !col->has_then || col->redacted)
		return false;
	return row->kind == UNDO_INSERT || (AuditUndoIsChange(col) && !is_already(row, col->column));
}

static Bitmapset *
columns_of(Undo *undo, UndoRow *row)
{
	Bitmapset  *set = NULL;
	UndoNet		net;

	if (row->kind == UNDO_DELETE)
		return NULL;
	AuditUndoNetOf(undo, row, &net);
	for (int i = 0; i < net.n; i++)
		if (is_set(row, &net.cols[i]))
			set = bms_add_member(set, net.cols[i].column);
	return set;
}

/* Which columns a batch sets.  In tmp, which is reset. */
static void
find_columns(Batch *batch, MemoryContext tmp)
{
	Bitmapset  *common = NULL;

	batch->columns = batch->partly = NULL;
	for (int i = 0; i < batch->n && batch->kind != UNDO_DELETE; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(tmp);
		Bitmapset  *set = columns_of(batch->undo, batch->rows[i]);

		MemoryContextSwitchTo(old);
		batch->columns = bms_add_members(batch->columns, set);
		if (i == 0)
			common = bms_copy(set);
		else
			common = bms_int_members(common, set);
		MemoryContextReset(tmp);
	}
	batch->partly = bms_difference(batch->columns, common);
}

/* ---- values ------------------------------------------------------------------------------- */

static TupleDesc
describe(const Batch *batch)
{
	UndoTable  *table = batch->table;
	TupleDesc	desc = CreateTemplateTupleDesc(table->nkeys + bms_num_members(batch->columns) +
											   bms_num_members(batch->partly));
	int			n = 0;
	int			i = -1;

	for (int k = 0; k < table->nkeys; k++)
	{
		UndoColumn *col = &table->cols[table->keys[k]];

		TupleDescInitEntry(desc, ++n, psprintf("k%d", k), col->typid, col->typmod, 0);
		TupleDescInitEntryCollation(desc, n, col->collation);
	}
	while ((i = bms_next_member(batch->columns, i)) >= 0)
	{
		TupleDescInitEntry(desc, ++n, psprintf("v%d", i), table->cols[i].typid, table->cols[i].typmod, 0);
		TupleDescInitEntryCollation(desc, n, table->cols[i].collation);
		if (bms_is_member(i, batch->partly))
			TupleDescInitEntry(desc, ++n, psprintf("b%d", i), BOOLOID, -1, 0);
	}
	return desc;
}

static void
put_row(Batch *batch, UndoRow *row, Datum *values, bool *nulls)
{
	UndoTable  *table = batch->table;
	Jsonb	   *key = row->exists ? row->key : row->key_then;
	UndoNet		net;
	AuditValue	value;
	int			n = 0;
	int			i = -1;

	for (int k = 0; k < table->nkeys; k++, n++)
	{
		UndoColumn *col = &table->cols[table->keys[k]];
		JsonbValue	json;

		if (!getKeyJsonValueFromContainer(&key->root, col->name, col->namelen, &json))
			elog(ERROR, "key of table \"%s\" without column \"%s\"", table->name, col->name);
		AuditUndoFromJson(&json, &value);
		values[n] = AuditUndoToDatum(table, col, &value, &nulls[n]);
	}
	if (batch->columns)
		AuditUndoNetOf(batch->undo, row, &net);
	while ((i = bms_next_member(batch->columns, i)) >= 0)
	{
		UndoNetColumn *col = NULL;

		for (int j = 0; j < net.n && col == NULL; j++)
			if (net.cols[j].column == i && is_set(row, &net.cols[j]))
				col = &net.cols[j];
		nulls[n] = true;
		values[n] = (Datum) 0;
		if (col)
			values[n] = AuditUndoToDatum(table, &table->cols[i], &col->then, &nulls[n]);
		n++;
		if (bms_is_member(i, batch->partly))
		{
			values[n] = BoolGetDatum(col != NULL);
			nulls[n++] = false;
		}
	}
}

/* The rows of the batch as values of the columns' types, converted as the owner. */
static void
convert(Batch *batch, MemoryContext tmp)
{
	TupleDesc	desc = describe(batch);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	int			level = SettingsForText();
	UserCodeScope scope;

	batch->store = RowsBegin(desc);
	UserCodeEnter(&scope, batch->table->owner);
	for (int i = 0; i < batch->n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(tmp);

		CHECK_FOR_INTERRUPTS();
		put_row(batch, batch->rows[i], values, nulls);
		RowsPut(batch->store, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(tmp);
	}
	UserCodeLeave(&scope);
	SettingsEnd(level);
}

/* ---- statements --------------------------------------------------------------------------- */

static char *
write_insert(const Batch *batch)
{
	StringInfoData names;
	StringInfoData values;
	int			i = -1;

	initStringInfo(&names);
	initStringInfo(&values);
	while ((i = bms_next_member(batch->columns, i)) >= 0)
	{
		appendStringInfo(&names, "%s%s", names.len ? ", " : "", quote_identifier(batch->table->cols[i].name));
		appendStringInfo(&values, "%sr.v%d", values.len ? ", " : "", i);
	}
	return psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM " ROWS_NAME " r",
					NamesQualified(batch->table->relid), names.data, values.data);
}

static char *
write_update(const Batch *batch)
{
	StringInfoData q;
	const char *comma = "";
	int			i = -1;

	initStringInfo(&q);
	appendStringInfo(&q, "UPDATE %s t SET ", AuditUndoTarget(batch->table));
	while ((i = bms_next_member(batch->columns, i)) >= 0)
	{
		const char *name = quote_identifier(batch->table->cols[i].name);

		if (bms_is_member(i, batch->partly))
			appendStringInfo(&q, "%s%s = CASE WHEN r.b%d THEN r.v%d ELSE t.%s END", comma, name, i, i, name);
		else
			appendStringInfo(&q, "%s%s = r.v%d", comma, name, i);
		comma = ", ";
	}
	appendStringInfo(&q, " FROM " ROWS_NAME " r WHERE %s", AuditUndoMatch(batch->table));
	return q.data;
}

static char *
write_statement(const Batch *batch)
{
	if (batch->kind == UNDO_INSERT)
		return write_insert(batch);
	if (batch->kind == UNDO_UPDATE)
		return write_update(batch);
	return psprintf("DELETE FROM %s t USING " ROWS_NAME " r WHERE %s", AuditUndoTarget(batch->table),
					AuditUndoMatch(batch->table));
}

/* 55000: rows were kept back. */
static void
refuse_fewer(const Batch *batch, uint64 done)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" took " UINT64_FORMAT " of %d changes of the undo",
					RelationGetRelationName(batch->table->rel), done, batch->n),
			 errdetail("A trigger, a rule or row security keeps the others back.")));
}

/* One statement for the batch.  Raises whatever the statement raises. */
static void
run_batch(void *arg)
{
	Batch	   *batch = arg;
	MemoryContext tmp = AllocSetContextCreate(CurrentMemoryContext, "undo", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(AllocSetContextCreate(tmp, "statement", ALLOCSET_DEFAULT_SIZES));
	MemoryContext row = AllocSetContextCreate(tmp, "row", ALLOCSET_DEFAULT_SIZES);
	uint64		done;

	find_columns(batch, row);
	if (batch->kind != UNDO_UPDATE || batch->columns != NULL)
	{
		convert(batch, row);
		if (batch->kind == UNDO_DELETE)
			AuditUndoRefuseCascade(batch->table, batch->store);
		done = RowsInto(batch->store, GetUserId(), write_statement(batch));
		if (done != batch->n)
			refuse_fewer(batch, done);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(tmp);
}

/* Is an error about all of the undo, and not about these rows? */
static bool
ends_all(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return SpiMustStop(error->sqlerrcode) || category == ERRCODE_TRANSACTION_ROLLBACK ||
		category == ERRCODE_INTERNAL_ERROR || error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/* Runs a batch in a subtransaction.  False: it failed, with batch->error. */
static bool
try_batch(Batch *batch)
{
	batch->error = SpiTry(run_batch, batch);
	if (batch->error && ends_all(batch->error))
		ReThrowError(batch->error);
	for (int i = 0; i < batch->n && batch->error == NULL; i++)
		batch->rows[i]->state = UNDO_DONE;
	return batch->error == NULL;
}

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

static Batch *
new_batch(Undo *undo, UndoRow **rows, int n)
{
	Batch	   *batch = palloc0(sizeof(Batch));

	batch->undo = undo;
	batch->table = rows[0]->table;
	batch->kind = rows[0]->kind;
	batch->rows = rows;
	batch->n = n;
	return batch;
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
	same = bms_equal(columns, columns_of(undo, row));
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
		Bitmapset  *columns = rows[from]->kind == UNDO_INSERT ? columns_of(undo, rows[from]) : NULL;
		int64		to = from + 1;
		Batch	   *batch;

		while (to < nrows && to - from < MAX_BATCH && fits(undo, rows[from], columns, rows[to], tmp))
			to++;
		batch = new_batch(undo, rows + from, to - from);
		if (!try_batch(batch))
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
			if (!try_batch(lfirst(lc)))
			again = lappend(again, lfirst(lc));
		if (list_length(again) < list_length(failed))
		{
			failed = again;
			continue;
		}
		foreach(lc, again)
		{
			Batch	   *batch = lfirst(lc);
			int			half = batch->n / 2;

			if (half > 0)
				parts = lappend(parts, new_batch(undo, batch->rows, half));
			parts = lappend(parts, half > 0 ? new_batch(undo, batch->rows + half, batch->n - half) : batch);
		}
		if (list_length(parts) == list_length(again))
			return again;
		failed = parts;
	}
	return NIL;
}

/* ---- change by change ------------------------------------------------------------------------ */

/* what is undone change by change */
typedef struct Stepwise
{
	Undo	   *undo;
	List	   *failed;			/* of Batch *, each a single row */
} Stepwise;

/* One change of a row as a row of its own: the key that it has now, and what it was before it. */
static void
undo_step(Undo *undo, UndoRow *row, UndoStep *step)
{
	UndoRow    *part = palloc0(sizeof(UndoRow));
	UndoStep   *only = palloc(sizeof(UndoStep));
	UndoRow   **rows;

	*only = *step;
	only->next = NULL;
	part->table = row->table;
	part->first = part->last = only;
	part->existed = step->action != 'I';
	part->exists = step->action != 'D';
	part->kind = step->action == 'I' ? UNDO_DELETE : step->action == 'D' ? UNDO_INSERT : UNDO_UPDATE;
	part->key = row->key_now;
	part->key_then = step->action == 'U' ? AuditUndoKeyBefore(row->key_now, step->data) : row->key_now;
	row->key_now = part->key_then;
	rows = palloc(sizeof(UndoRow *));
	rows[0] = part;
	run_batch(new_batch(undo, rows, 1));
}

static void
undo_stepwise(void *arg)
{
	Stepwise   *work = arg;
	ListCell   *lc;

	foreach(lc, work->failed)
	{
		UndoRow    *row = ((Batch *) lfirst(lc))->rows[0];

		row->stepwise = true;
		row->key_now = row->key;
	}
	for (int64 i = work->undo->nsteps - 1; i >= 0; i--)
	{
		UndoStep   *step = work->undo->steps[i];

		if (step->row->stepwise)
			undo_step(work->undo, step->row, step);
	}
}

/* The rows that are left, all of them or none.  True: they are undone. */
static bool
last_pass(Undo *undo, List *failed)
{
	Stepwise	work = {undo, failed};
	ErrorData  *error = SpiTry(undo_stepwise, &work);
	ListCell   *lc;

	if (error && ends_all(error))
		ReThrowError(error);
	foreach(lc, failed)
	{
		UndoRow    *row = ((Batch *) lfirst(lc))->rows[0];

		row->stepwise = false;
		if (error == NULL)
			row->state = UNDO_DONE;
	}
	return error == NULL;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* The error of a statement, with the record that it is about. */
static void
raise_failure(const Batch *batch)
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

/*
 * Undoes all rows whose state is UNDO_OPEN; they are UNDO_DONE then, or with undo->skip may be
 * UNDO_CONFLICT.  Within an SPI connection, after AuditUndoCompare.  Raises what the statements
 * raise, 55000 when a table keeps rows back.
 */
void
AuditUndoApply(Undo *undo)
{
	UndoRow   **rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(UndoRow *) * (undo->nrows + 1));
	int64		n = 0;
	List	   *failed;
	ListCell   *lc;

	for (int64 i = 0; i < undo->nrows; i++)
		if (undo->rows[i]->state == UNDO_OPEN)
			rows[n++] = undo->rows[i];
	qsort(rows, n, sizeof(UndoRow *), latest_first);
	failed = next_passes(undo, first_pass(undo, rows, n));
	if (failed == NIL || last_pass(undo, failed))
		return;
	if (!undo->skip)
		raise_failure(linitial(failed));
	foreach(lc, failed)
	{
		Batch	   *batch = lfirst(lc);

		batch->rows[0]->state = UNDO_CONFLICT;
		batch->rows[0]->note.conflict = MemoryContextStrdup(undo->cxt, batch->error->message);
	}
}
