/*
 * audit_undo_compare.c
 *	  Records as they are now beside what the log says they should be.
 *
 * Table by table, in the order of their OIDs, the rows of all keys are read by one query, in
 * the order of the key; for an undo with FOR UPDATE, so that two undos, or an undo and
 * an application that keeps to that order, do not wait for each other in a circle.  What has
 * to be free (the key of a deleted row, the old key of a changed one) is looked up, too.
 *
 * A column is compared as the trigger compares: as JSON under fixed settings, 1.0 and
 * 1.00 being equal.  It has the value behind the last selected change: it can be undone.
 * It has the value before the first: nothing to do.  Anything else is a conflict, and
 * then the row as a whole is left alone: half of a row is a state that never was.
 *
 * Whose code: an undo reads as the caller, who is about to write there anyway.  A plan names
 * no table, and a DBA may ask for one; there the query runs as the owner of the table,
 * when the caller does not trust him and no row security stands between them.
 * Conversions always run as the owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/xid8.h"

#include "audit/audit_undo.h"
#include "common/hypertable.h"
#include "common/names.h"
#include "common/rows.h"
#include "common/settings.h"
#include "common/usercode.h"
#include "compat.h"

#define FETCH_ROWS	1000

/* ---- keys as values of their types ------------------------------------------------------- */

/* what reads the keys of a table */
typedef struct KeyReading
{
	Undo	   *undo;
	UndoTable  *table;
	UndoRow    *row;			/* the one to read; NULL: all, an error ends it */
	Rows	   *rows;
	Datum	   *values;			/* one more than keys */
	bool	   *nulls;
} KeyReading;

/* One key into the rows to look for; number: which row, and whether its key now or then. */
static void
put_key(KeyReading *reading, UndoRow *row, Jsonb *key, int64 number)
{
	UndoTable  *table = reading->table;

	if (row->note.conflict)
		return;
	for (int i = 0; i < table->nkeys; i++)
	{
		UndoColumn *col = &table->cols[table->keys[i]];
		JsonbValue	json;
		AuditValue	value;

		if (JB_ROOT_COUNT(key) != table->nkeys ||
			!getKeyJsonValueFromContainer(&key->root, col->name, col->namelen, &json))
		{
			row->note.conflict = "the table has another key now";
			return;
		}
		AuditValueOfJson(&json, &value);
		reading->values[i + 1] = AuditUndoToDatum(table, col, &value, &reading->nulls[i + 1]);
	}
	reading->values[0] = Int64GetDatum(number);
	RowsPut(reading->rows, reading->values, reading->nulls);
}

static bool
must_be_free(const UndoRow *row)
{
	return row->existed && (!row->exists || compareJsonbContainers(&row->key->root, &row->key_then->root) != 0);
}

static bool
is_looked_up(const UndoRow *row, const UndoTable *table)
{
	return row->table == table && row->note.conflict == NULL && row->kind != UNDO_NONE;
}

/* The keys of one row, or of all, converted as the owner and under fixed settings. */
static void
put_keys(void *arg)
{
	KeyReading *reading = arg;
	Undo	   *undo = reading->undo;
	MemoryContext tmp = AllocSetContextCreate(CurrentMemoryContext, "keys", ALLOCSET_DEFAULT_SIZES);
	int			level = SettingsForText();
	UserCodeScope scope;

	UserCodeEnter(&scope, reading->table->owner);
	for (int64 i = 0; i < undo->nrows; i++)
	{
		UndoRow    *row = undo->rows[i];
		MemoryContext old;

		if ((reading->row && reading->row != row) || !is_looked_up(row, reading->table))
			continue;
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(tmp);
		if (row->exists)
			put_key(reading, row, row->key, 2 * i);
		if (must_be_free(row))
			put_key(reading, row, row->key_then, 2 * i + 1);
		MemoryContextSwitchTo(old);
		MemoryContextReset(tmp);
	}
	UserCodeLeave(&scope);
	SettingsEnd(level);
	MemoryContextDelete(tmp);
}

/* After an error: which rows are to blame? */
static void
blame_keys(KeyReading *reading)
{
	Undo	   *undo = reading->undo;

	for (int64 i = 0; i < undo->nrows; i++)
	{
		UndoRow    *row = undo->rows[i];
		ErrorData  *error;

		if (!is_looked_up(row, reading->table))
			continue;
		reading->row = row;
		error = SpiTry(put_keys, reading);
		if (error == NULL)
			continue;
		if (SpiMustStop(error->sqlerrcode))
			ReThrowError(error);
		row->note.conflict = MemoryContextStrdup(undo->cxt, psprintf("the key cannot be read: %s", error->message));
	}
}

/* The keys of a table's rows: those where it should be (even), and those to be free (odd). */
static Rows *
collect_keys(Undo *undo, UndoTable *table)
{
	TupleDesc	desc = CreateTemplateTupleDesc(table->nkeys + 1);
	KeyReading	reading = {undo, table};
	ErrorData  *error;

	TupleDescInitEntry(desc, 1, "n", INT8OID, -1, 0);
	for (int i = 0; i < table->nkeys; i++)
	{
		UndoColumn *col = &table->cols[table->keys[i]];

		TupleDescInitEntry(desc, i + 2, psprintf("k%d", i), col->typid, col->typmod, 0);
		TupleDescInitEntryCollation(desc, i + 2, col->collation);
	}
	reading.values = palloc0(sizeof(Datum) * (table->nkeys + 1));
	reading.nulls = palloc0(sizeof(bool) * (table->nkeys + 1));
	reading.rows = RowsBegin(desc);
	error = SpiTry(put_keys, &reading);
	if (error == NULL)
		return reading.rows;
	if (SpiMustStop(error->sqlerrcode))
		ReThrowError(error);
	/* those that were put before it are looked for twice, so begin again */
	tuplestore_end(reading.rows->store);
	reading.rows = RowsBegin(desc);
	blame_keys(&reading);
	return reading.rows;
}

/* ---- the query ------------------------------------------------------------------------------ */

/* "ONLY t": the trigger sees the rows of the table itself, or of all its partitions and chunks. */
char *
AuditUndoTarget(const UndoTable *table)
{
	bool		whole = table->rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE || HypertableIs(table->relid);

	return psprintf("%s%s", whole ? "" : "ONLY ", NamesQualified(table->relid));
}

/* "t.key = r.k0 AND ..." */
char *
AuditUndoMatch(const UndoTable *table)
{
	StringInfoData q;

	initStringInfo(&q);
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(&q, "%st.%s %s r.k%d", i ? " AND " : "",
						 quote_identifier(table->cols[table->keys[i]].name), table->equal[i], i);
	return q.data;
}

/* The columns that the net of some row speaks of, and so those that are read. */
static void
mark_needed(Undo *undo)
{
	MemoryContext tmp = AllocSetContextCreate(CurrentMemoryContext, "net", ALLOCSET_DEFAULT_SIZES);

	for (int64 i = 0; i < undo->nrows; i++)
	{
		UndoRow    *row = undo->rows[i];
		MemoryContext old = MemoryContextSwitchTo(tmp);
		UndoNet		net;

		AuditUndoNetOf(undo, row, &net);
		for (int j = 0; j < net.n; j++)
			row->table->cols[net.cols[j].column].needed = true;
		MemoryContextSwitchTo(old);
		MemoryContextReset(tmp);
		if (i % 1000 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(tmp);
}

static bool
is_read(const UndoColumn *col)
{
	return col->needed && col->attnum > 0 && !col->generated;
}

static char *
write_query(Undo *undo, UndoTable *table)
{
	StringInfoData q;

	initStringInfo(&q);
	appendStringInfoString(&q, "SELECT r.n");
	for (int i = 0; i < table->ncols; i++)
		if (is_read(&table->cols[i]))
			appendStringInfo(&q, ", t.%s", quote_identifier(table->cols[i].name));
	appendStringInfo(&q, " FROM " ROWS_NAME " r JOIN %s t ON %s", AuditUndoTarget(table), AuditUndoMatch(table));
	for (int i = 0; i < table->nkeys && table->ordered; i++)
		appendStringInfo(&q, "%s t.%s", i ? "," : " ORDER BY", quote_identifier(table->cols[table->keys[i]].name));
	if (undo->apply)
		appendStringInfoString(&q, " FOR UPDATE OF t");
	return q.data;
}

/* As whom a plan reads, see the top of the file.  42501 where the caller may not read. */
static Oid
reader(Undo *undo, UndoTable *table)
{
	if (undo->apply || UserCodeRoleIsTrusted(table->owner) ||
		check_enable_rls(table->relid, InvalidOid, true) == RLS_ENABLED)
		return GetUserId();
	if (pg_class_aclcheck(table->relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		for (int i = 0; i < table->ncols; i++)
			if ((is_read(&table->cols[i]) || list_member_int(table->keylist, i)) &&
				pg_attribute_aclcheck(table->relid, table->cols[i].attnum, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
				aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(table->rel->rd_rel->relkind),
							   RelationGetRelationName(table->rel));
	return table->owner;
}

/* ---- comparing --------------------------------------------------------------------------- */

/* a row of the table as the query returned it */
typedef struct Found
{
	AuditValue *values;			/* by index of the column; set where is_read() */
} Found;

static UndoNote *
add_note(Undo *undo, UndoRow *row, int column, const char *conflict, const AuditValue *now)
{
	UndoNote   *note = MemoryContextAllocZero(undo->cxt, sizeof(UndoNote));
	MemoryContext old = MemoryContextSwitchTo(undo->cxt);

	note->column = column;
	note->conflict = conflict;
	note->now = now ? AuditJsonbOfValue(now) : NULL;
	note->next = row->notes;
	row->notes = note;
	if (conflict)
		row->state = UNDO_CONFLICT;
	MemoryContextSwitchTo(old);
	return note;
}

static void
other_value(Undo *undo, UndoRow *row, int column, const AuditValue *now)
{
	add_note(undo, row, column, "the column has another value now", now)->after = row->last;
}

/* Conflicts of a column that do not depend on what the row is now; true: there is one. */
static bool
column_conflict(Undo *undo, UndoRow *row, const UndoNetColumn *col, const AuditValue *now)
{
	UndoColumn *column = &row->table->cols[col->column];
	UndoNote   *note;

	if (row->kind != UNDO_DELETE && col->redacted)
		add_note(undo, row, col->column, "the column is redacted: the log does not have its value", NULL);
	else if (row->kind != UNDO_DELETE && column->attnum == 0)
		add_note(undo, row, col->column, "the column is gone", NULL);
	else if (col->before)
	{
		note = add_note(undo, row, col->column, "the column was changed in between by others", now);
		note->after = col->after;
		note->before = col->before;
	}
	else
		return false;
	return true;
}

/* The row is there: its columns beside the net. */
static void
compare_update(Undo *undo, UndoRow *row, const UndoNet *net, const Found *found)
{
	bool		open = false;

	for (int i = 0; i < net->n; i++)
	{
		const UndoNetColumn *col = &net->cols[i];
		UndoColumn *column = &row->table->cols[col->column];
		AuditValue *now = &found->values[col->column];

		if (column->generated || (!AuditUndoIsChange(col) && col->before == NULL))
			continue;
		if (column_conflict(undo, row, col, column->attnum ? now : NULL))
			continue;
		if (!col->has_then || !col->has_now)
			continue;
		if (AuditSameValue(now, &col->then))
			add_note(undo, row, col->column, NULL, now)->already = true;
		else if (AuditSameValue(now, &col->now))
			open = true;
		else
			other_value(undo, row, col->column, now);
	}
	if (row->state == UNDO_OPEN && !open)
		row->state = UNDO_ALREADY;
}

/* A row that was inserted: is it still what it was then? */
static void
compare_delete(Undo *undo, UndoRow *row, const UndoNet *net, const Found *found)
{
	for (int i = 0; i < net->n; i++)
	{
		const UndoNetColumn *col = &net->cols[i];
		UndoColumn *column = &row->table->cols[col->column];
		AuditValue *now = &found->values[col->column];

		if (column->generated || column->attnum == 0 || col->redacted || column_conflict(undo, row, col, now))
			continue;
		if (col->has_now && !AuditSameValue(now, &col->now))
			other_value(undo, row, col->column, now);
	}
}

/* Somebody has the key that must be free.  If the row is what it was, it is there already. */
static void
compare_occupant(Undo *undo, UndoRow *row, const UndoNet *net, const Found *found)
{
	bool		same = true;

	for (UndoRow *other = AuditUndoRowAt(undo, row->table, row->key_then); other; other = AuditUndoNextRow(other))
		if (other != row && other->exists &&
			(!other->existed || compareJsonbContainers(&other->key->root, &other->key_then->root) != 0))
			return;				/* it goes away, too */
	for (int i = 0; i < net->n && same; i++)
	{
		const UndoNetColumn *col = &net->cols[i];
		UndoColumn *column = &row->table->cols[col->column];

		if (!column->generated && column->attnum && !col->redacted && col->has_then)
			same = AuditSameValue(&found->values[col->column], &col->then);
	}
	if (same)
		row->returned = true;
	else
		row->occupied = true;
}

static void
compare_found(Undo *undo, int64 number, const Found *found)
{
	UndoRow    *row = undo->rows[number / 2];
	UndoNet		net;

	AuditUndoNetOf(undo, row, &net);
	if (number % 2 == 1)
		compare_occupant(undo, row, &net, found);
	else if (++row->found > 1)
		return;
	else if (row->kind == UNDO_DELETE)
		compare_delete(undo, row, &net, found);
	else
		compare_update(undo, row, &net, found);
}

/* ---- reading the rows --------------------------------------------------------------------- */

static void
convert_row(UndoTable *table, HeapTuple tuple, TupleDesc desc, Found *found)
{
	int			n = 1;

	for (int i = 0; i < table->ncols; i++)
	{
		bool		isnull;
		Datum		datum;

		if (!is_read(&table->cols[i]))
			continue;
		n++;					/* heap_getattr is a macro in PostgreSQL 14 */
		datum = heap_getattr(tuple, n, desc, &isnull);
		AuditToValue(&table->cols[i].convert, datum, isnull, &found->values[i]);
	}
}

static void
compare_fetched(Undo *undo, UndoTable *table, MemoryContext tmp)
{
	Found		found;

	found.values = palloc0(sizeof(AuditValue) * table->ncols);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		MemoryContext old = MemoryContextSwitchTo(tmp);
		UserCodeScope scope;
		bool		isnull;
		int64		number = DatumGetInt64(heap_getattr(tuple, 1, SPI_tuptable->tupdesc, &isnull));

		UserCodeEnter(&scope, table->owner);
		convert_row(table, tuple, SPI_tuptable->tupdesc, &found);
		UserCodeLeave(&scope);
		compare_found(undo, number, &found);
		MemoryContextSwitchTo(old);
		MemoryContextReset(tmp);
	}
	pfree(found.values);
}

/* Reads, and for an undo locks, the rows of a table. */
static void
compare_table(Undo *undo, UndoTable *table)
{
	MemoryContext tmp = AllocSetContextCreate(CurrentMemoryContext, "compare", ALLOCSET_DEFAULT_SIZES);
	Oid			as = reader(undo, table);
	Rows	   *rows = collect_keys(undo, table);
	Portal		cursor;

	SPI_connect();
	cursor = RowsCursor(rows, as, write_query(undo, table));
	for (;;)
	{
		UserCodeFetch(as, cursor, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		compare_fetched(undo, table, tmp);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(cursor);
	SPI_finish();
	MemoryContextDelete(tmp);
}

/* ---- rows as a whole ------------------------------------------------------------------------ */

static void
row_conflict(UndoRow *row, const char *conflict, UndoStep *after)
{
	row->state = UNDO_CONFLICT;
	row->note.conflict = conflict;
	row->note.after = after;
}

/* Columns of a row to be inserted again that the log does not have. */
static void
check_insert(Undo *undo, UndoRow *row, const UndoNet *net)
{
	for (int i = 0; i < net->n; i++)
		if (!row->table->cols[net->cols[i].column].generated && net->cols[i].has_then)
			(void) column_conflict(undo, row, &net->cols[i], NULL);
	for (int i = 0; i < row->table->nsorted; i++)
	{
		UndoColumn *col = &row->table->cols[i];
		bool		logged = false;

		for (int j = 0; j < net->n && !logged; j++)
			logged = net->cols[j].column == i;
		if (col->excluded && !col->generated && !logged)
			add_note(undo, row, i, "the column is excluded: the log does not have its value", NULL);
	}
}

/* What is known of a row when all have been read. */
static void
judge(Undo *undo, UndoRow *row)
{
	UndoNet		net;

	if (row->note.conflict)
	{
		row->state = UNDO_CONFLICT;
		return;
	}
	AuditUndoNetOf(undo, row, &net);
	if (row->kind == UNDO_NONE)
		row->state = UNDO_ALREADY;
	else if (net.broken)
	{
		row_conflict(row, net.broken->action == 'I' ? "the row was deleted in between by others"
					 : "the row was inserted in between by others", net.broken_after);
		row->note.before = net.broken;
	}
	else if (row->found > 1)
		row_conflict(row, "the key is not unique: several rows have it", NULL);
	else if (row->kind == UNDO_INSERT && row->returned)
		row->state = UNDO_ALREADY;
	else if (row->kind == UNDO_INSERT && row->occupied)
		row_conflict(row, "the row exists again", row->last);
	else if (row->kind == UNDO_INSERT)
		check_insert(undo, row, &net);
	else if (row->kind == UNDO_DELETE && row->found == 0)
		row->state = UNDO_ALREADY;
	else if (row->kind == UNDO_UPDATE && row->found == 0 && row->returned)
		row->state = UNDO_ALREADY;
	else if (row->kind == UNDO_UPDATE && row->found == 0)
		row_conflict(row, "the row is gone", row->last);
	else if (row->kind == UNDO_UPDATE && row->state == UNDO_OPEN && (row->occupied || row->returned))
		row_conflict(row, "another row has the key that it had", row->last);
}

static int
by_oid(const ListCell *a, const ListCell *b)
{
	Oid			x = ((UndoTable *) lfirst(a))->relid;
	Oid			y = ((UndoTable *) lfirst(b))->relid;

	return x < y ? -1 : x > y;
}

/*
 * Finds out of each row whether it can be undone: state and notes.  Within an SPI connection.
 * An undo holds FOR UPDATE on all of them afterwards.  42501 without SELECT on a table,
 * for an undo without UPDATE; what reading it raises.
 */
void
AuditUndoCompare(Undo *undo)
{
	MemoryContext tmp = AllocSetContextCreate(undo->cxt, "net", ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;

	mark_needed(undo);
	for (int64 i = 0; i < undo->nrows; i++)
	{
		UndoRow    *row = undo->rows[i];

		if (row->table->missing && row->note.conflict == NULL)
			row->note.conflict = row->table->missing;
		row->kind = row->existed ? (row->exists ? UNDO_UPDATE : UNDO_INSERT)
			: (row->exists ? UNDO_DELETE : UNDO_NONE);
	}
	list_sort(undo->tables, by_oid);
	foreach(lc, undo->tables)
		if (((UndoTable *) lfirst(lc))->missing == NULL)
		compare_table(undo, lfirst(lc));
	for (int64 i = 0; i < undo->nrows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(tmp);

		judge(undo, undo->rows[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(tmp);
	}
	MemoryContextDelete(tmp);
}
