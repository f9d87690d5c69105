/*
 * audit_undo_batch.c
 *	  Many rows of one table by one statement.
 *
 * The statement gets its values from a tuplestore (ROWS_NAME): the keys, and the columns to
 * be set.  Rows whose UPDATEs set different columns go together; each has a flag
 * for a column that not all of them set.
 *
 * Values are converted from JSON before, as the owner of the table and under fixed settings; the
 * statement itself runs as the caller and under his settings, as his triggers expect them.
 * It has to change as many rows as it was given.
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

/* The columns that are to be set in a row, by index; in the current context.  NULL for a DELETE. */
Bitmapset *
AuditUndoColumns(Undo *undo, UndoRow *row)
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
find_columns(UndoBatch *batch, MemoryContext tmp)
{
	Bitmapset  *common = NULL;

	batch->columns = batch->partly = NULL;
	for (int i = 0; i < batch->n && batch->kind != UNDO_DELETE; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(tmp);
		Bitmapset  *set = AuditUndoColumns(batch->undo, batch->rows[i]);

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
describe(const UndoBatch *batch)
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
put_row(UndoBatch *batch, UndoRow *row, Datum *values, bool *nulls)
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
		AuditValueOfJson(&json, &value);
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
convert(UndoBatch *batch, MemoryContext tmp)
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
write_insert(const UndoBatch *batch)
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
write_update(const UndoBatch *batch)
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
write_statement(const UndoBatch *batch)
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
refuse_fewer(const UndoBatch *batch, uint64 done)
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
	UndoBatch  *batch = arg;
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
bool
AuditUndoEndsAll(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return SpiMustStop(error->sqlerrcode) || category == ERRCODE_TRANSACTION_ROLLBACK ||
		category == ERRCODE_INTERNAL_ERROR || error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * Runs a batch in a subtransaction.  False: it failed, with batch->error.  An error that is
 * not about these rows is raised.
 */
bool
AuditUndoTry(UndoBatch *batch)
{
	batch->error = SpiTry(run_batch, batch);
	if (batch->error && AuditUndoEndsAll(batch->error))
		ReThrowError(batch->error);
	for (int i = 0; i < batch->n && batch->error == NULL; i++)
		batch->rows[i]->state = UNDO_DONE;
	return batch->error == NULL;
}

/* Rows of one table and kind, as one statement.  In the current context. */
UndoBatch *
AuditUndoBatch(Undo *undo, UndoRow **rows, int n)
{
	UndoBatch  *batch = palloc0(sizeof(UndoBatch));

	batch->undo = undo;
	batch->table = rows[0]->table;
	batch->kind = rows[0]->kind;
	batch->rows = rows;
	batch->n = n;
	return batch;
}
