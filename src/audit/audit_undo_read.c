/*
 * audit_undo_read.c
 *	  The entries that an undo is asked for, by record.
 *
 * One query finds them in the order in which the changes happened; a cursor brings them,
 * so that sorting is the server's.  It has the memory of maintenance_work_mem, or of
 * work_mem if that is more, and goes to disk beyond.  What is kept of each entry is
 * its data and its place (UndoStep): about 150 bytes and the JSON.
 *
 * Records are found by key, in a hash table of what the keys are at this point of the
 * reading.  An entry has the key that the record had before it; where the change changed the
 * key, the record moves to the new one.  Two records can have one key at a time: one
 * statement (SET id = id + 1 under a deferrable key) moves the first to where the
 * second still is.  So a record that came to its key by this very command is passed over; the
 * entry then speaks of the one that was there before.  Which entries are of one command, written_at
 * says; a log without it cannot tell.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "audit/audit_undo.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/usercode.h"

#define FETCH_ROWS	1000

/* the result of the query */
enum
{
	COLUMN_AT, COLUMN_WRITTEN, COLUMN_XACT, COLUMN_SEQ, COLUMN_ID, COLUMN_SCHEMA, COLUMN_NAME, COLUMN_RECORD_ID,
	COLUMN_RECORD_KEY, COLUMN_KEY_TEXT, COLUMN_ACTION, COLUMN_DATA, NCOLUMNS
};

/* an entry as the query returns it */
typedef struct Entry
{
	Datum		values[NCOLUMNS];
	bool		nulls[NCOLUMNS];
	char		action;
	UndoTable  *table;
} Entry;

/* ---- the query --------------------------------------------------------------------------- */

/* The moment of a change: written_at, of older entries changed_at. */
const char *
AuditUndoMoment(const AuditColumns *columns)
{
	const char *changed_at = AuditReadColumnAs(columns, AUDIT_CHANGED_AT, TIMESTAMPTZOID);

	if (columns->attnum[AUDIT_WRITTEN_AT] == 0)
		return changed_at;
	return psprintf("COALESCE(%s, %s)", AuditReadColumnAs(columns, AUDIT_WRITTEN_AT, TIMESTAMPTZOID), changed_at);
}

/* The number of an entry in its transaction, or in the log. */
const char *
AuditUndoNumber(const AuditColumns *columns)
{
	if (columns->attnum[AUDIT_XACT_SEQ])
		return AuditReadColumnAs(columns, AUDIT_XACT_SEQ, INT8OID);
	if (get_attnum(columns->relid, "id") > 0)
		return "l.id::pg_catalog.int8";
	if (get_attnum(columns->relid, "al_id") > 0)
		return "l.al_id::pg_catalog.int8";
	return "NULL::pg_catalog.int8";
}

static char *
moment_literal(TimestampTz at)
{
	Datum		text = DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at));

	return psprintf("%s::pg_catalog.timestamptz", quote_literal_cstr(DatumGetCString(text)));
}

static void
append_filter(StringInfo q, const Undo *undo)
{
	const AuditColumns *columns = &undo->columns;
	const UndoFilter *filter = &undo->filter;
	const char *moment = AuditUndoMoment(columns);

	appendStringInfo(q, "%s OPERATOR(pg_catalog.<>) 'B'", AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID));
	if (filter->has_xact)
		appendStringInfo(q, " AND %s OPERATOR(pg_catalog.=) '" UINT64_FORMAT "'::pg_catalog.xid8",
						 AuditReadColumnAs(columns, AUDIT_XACT_ID, XID8OID), filter->xact);
	if (filter->user)
		appendStringInfo(q, " AND %s OPERATOR(pg_catalog.=) %s",
						 AuditReadColumnAs(columns, AUDIT_USER_ID, TEXTOID), quote_literal_cstr(filter->user));
	if (filter->has_since)
		appendStringInfo(q, " AND %s OPERATOR(pg_catalog.>=) %s", moment, moment_literal(filter->since));
	if (filter->has_until)
		appendStringInfo(q, " AND %s OPERATOR(pg_catalog.<) %s", moment, moment_literal(filter->until));
	if (OidIsValid(filter->relid))
	{
		AuditScope	scope;

		AuditScopeOfTable(filter->relid, undo->fnoid, &scope);
		scope.logid = columns->relid;
		scope.columns = *columns;
		appendStringInfoString(q, " AND ");
		AuditAppendScope(q, &scope);
	}
}

static char *
write_query(const Undo *undo)
{
	const AuditColumns *columns = &undo->columns;
	StringInfoData q;

	initStringInfo(&q);
	appendStringInfo(&q, "SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
					 "CASE WHEN %s OPERATOR(pg_catalog.=) 'U' THEN %s WHEN %s OPERATOR(pg_catalog.=) 'I' THEN %s "
					 "WHEN %s OPERATOR(pg_catalog.=) 'D' THEN %s END FROM %s l WHERE ", AuditUndoMoment(columns),
					 columns->attnum[AUDIT_WRITTEN_AT]
					 ? psprintf("%s IS NOT NULL", AuditReadColumn(columns, AUDIT_WRITTEN_AT)) : "false",
					 AuditReadColumnAs(columns, AUDIT_XACT_ID, XID8OID), AuditUndoNumber(columns),
					 AuditReadColumnAs(columns, AUDIT_TABLE_ID, INT4OID),
					 AuditReadColumnAs(columns, AUDIT_TABLE_SCHEMA, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_TABLE_NAME, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_RECORD_ID, INT8OID),
					 AuditReadColumnAs(columns, AUDIT_RECORD_KEY, JSONBOID),
					 AuditReadColumnAs(columns, AUDIT_KEY_TEXT, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_CHANGED_FIELDS, JSONBOID),
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_NEW_DATA, JSONBOID),
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_OLD_DATA, JSONBOID), NamesQualified(columns->relid));
	append_filter(&q, undo);
	appendStringInfo(&q, " ORDER BY %s", AuditReadOrder(columns, false));
	return q.data;
}

/* ---- keys -------------------------------------------------------------------------------- */

typedef struct KeySlot
{
	UndoTable  *table;
	uint64		hash;
} KeySlot;

typedef struct KeyEntry
{
	KeySlot		slot;
	UndoRow    *rows;			/* in the order in which they got this key */
} KeyEntry;

static bool
same_key(Jsonb *a, Jsonb *b)
{
	return compareJsonbContainers(&a->root, &b->root) == 0;
}

static KeyEntry *
find_entry(Undo *undo, UndoTable *table, Jsonb *key, HASHACTION action)
{
	KeySlot		slot = {table};
	bool		found;
	KeyEntry   *entry;

	slot.hash = DatumGetUInt64(DirectFunctionCall2(jsonb_hash_extended, JsonbPGetDatum(key), Int64GetDatum(0)));
	entry = hash_search(undo->keys, &slot, action, &found);
	if (!found && entry)
		entry->rows = NULL;
	return entry;
}

/* The first row that has this key behind all steps so far; NULL: none.  AuditUndoNextRow: the others. */
UndoRow *
AuditUndoRowAt(Undo *undo, UndoTable *table, Jsonb *key)
{
	KeyEntry   *entry = find_entry(undo, table, key, HASH_FIND);
	UndoRow    *row = entry ? entry->rows : NULL;

	while (row && !same_key(row->key, key))
		row = row->same;
	return row;
}

/* The next row with the same key; NULL: none. */
UndoRow *
AuditUndoNextRow(UndoRow *row)
{
	UndoRow    *next = row->same;

	while (next && !same_key(next->key, row->key))
		next = next->same;
	return next;
}

static void
place_row(Undo *undo, UndoRow *row)
{
	UndoRow   **last = &find_entry(undo, row->table, row->key, HASH_ENTER)->rows;

	while (*last)
		last = &(*last)->same;
	*last = row;
	row->same = NULL;
}

/* A jsonb that stays as long as the undo. */
static Jsonb *
keep(Undo *undo, Jsonb *json)
{
	Jsonb	   *copy = MemoryContextAlloc(undo->cxt, VARSIZE(json));

	memcpy(copy, json, VARSIZE(json));
	return copy;
}

static void
move_row(Undo *undo, UndoRow *row, Jsonb *key, int64 command)
{
	UndoRow   **place = &find_entry(undo, row->table, row->key, HASH_ENTER)->rows;

	while (*place != row)
		place = &(*place)->same;
	*place = row->same;
	row->key = keep(undo, key);
	row->moved = command;
	place_row(undo, row);
}

/* {"name": value} */
static Jsonb *
key_object(const char *name, JsonbValue *value)
{
	JsonbParseState *state = NULL;
	JsonbValue	json;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json.type = jbvString;
	json.val.string.val = unconstify(char *, name);
	json.val.string.len = strlen(name);
	pushJsonbValue(&state, WJB_KEY, &json);
	pushJsonbValue(&state, WJB_VALUE, value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The key of an entry as an object; NULL when it has none (TRUNCATE).  *plain: the log has its value alone. */
static Jsonb *
key_of_entry(const Entry *entry, bool *plain)
{
	UndoTable  *table = entry->table;
	const char *name = table->nkeys == 1 ? table->cols[table->keys[0]].name : "id";
	JsonbValue	value;
	Datum		json;
	char	   *string;

	*plain = false;
	if (!entry->nulls[COLUMN_RECORD_KEY])
	{
		Jsonb	   *key = DatumGetJsonbP(entry->values[COLUMN_RECORD_KEY]);

		return JB_ROOT_IS_OBJECT(key) ? key : NULL;
	}
	if (!entry->nulls[COLUMN_KEY_TEXT])
	{
		string = TextDatumGetCString(entry->values[COLUMN_KEY_TEXT]);
		if (table->nkeys > 1 && AuditParseJson(string, &json) && JB_ROOT_IS_OBJECT(DatumGetJsonbP(json)))
			return DatumGetJsonbP(json);
		*plain = true;
		value.type = jbvString;
		value.val.string.val = string;
		value.val.string.len = strlen(string);
		return key_object(name, &value);
	}
	if (entry->nulls[COLUMN_RECORD_ID])
		return NULL;
	*plain = true;
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(DatumGetInt64(entry->values[COLUMN_RECORD_ID]));
	return key_object(name, &value);
}

/* The value that an UPDATE gave to a column of the key, or that it had before; false: none. */
static bool
key_value(Jsonb *changed, const JsonbValue *name, const char *which, JsonbValue *value)
{
	JsonbValue	pair;

	return getKeyJsonValueFromContainer(&changed->root, name->val.string.val, name->val.string.len, &pair) &&
		pair.type == jbvBinary && JsonContainerIsObject(pair.val.binary.data) &&
		getKeyJsonValueFromContainer(pair.val.binary.data, which, 3, value);
}

/*
 * A key with the values that its columns have on the other side of an UPDATE: "new" behind it,
 * "old" before.  The same key, if the UPDATE has not changed it; else in the current context.
 * Where the key was logged as text, its values stay strings.
 */
static Jsonb *
key_beside(Jsonb *key, Jsonb *changed, const char *which)
{
	JsonbIterator *it = JsonbIteratorInit(&key->root);
	JsonbParseState *state = NULL;
	JsonbValue	json;
	JsonbValue	other;
	JsonbValue *result = NULL;
	JsonbIteratorToken token;
	bool		replaces = false;
	bool		changes = false;

	while ((token = JsonbIteratorNext(&it, &json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			replaces = key_value(changed, &json, which, &other);
		if (token == WJB_VALUE && replaces)
		{
			changes = true;
			if (json.type == jbvString && (other.type == jbvNumeric || other.type == jbvBool))
			{
				AuditValue	value;

				AuditValueOfJson(&other, &value);
				other.type = jbvString;
				other.val.string.val = TextDatumGetCString(AuditValueToText(&value));
				other.val.string.len = strlen(other.val.string.val);
			}
			json = other;
		}
		result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &json : NULL);
	}
	return changes ? JsonbValueToJsonb(result) : key;
}

/* The key before an UPDATE, from the key behind it.  In the current context, or the same. */
Jsonb *
AuditUndoKeyBefore(Jsonb *key, Jsonb *changed)
{
	return key_beside(key, changed, "old");
}

/* ---- rows --------------------------------------------------------------------------------- */

/* An array of pointers with room for one more than n. */
static void *
room(Undo *undo, void *array, int64 n, int64 *max)
{
	if (n < *max)
		return array;
	*max = *max * 2 + 64;
	if (array == NULL)
		return MemoryContextAllocHuge(undo->cxt, sizeof(void *) * *max);
	return repalloc_huge(array, sizeof(void *) * *max);
}

static UndoRow *
add_row(Undo *undo, UndoTable *table, Jsonb *key, bool plain, bool existed)
{
	UndoRow    *row = MemoryContextAllocZero(undo->cxt, sizeof(UndoRow));

	undo->rows = room(undo, undo->rows, undo->nrows, &undo->maxrows);
	undo->rows[undo->nrows++] = row;
	row->table = table;
	row->key = row->key_then = key ? keep(undo, key) : NULL;
	row->plain = plain;
	row->existed = existed;
	row->exists = existed;
	row->moved = -1;
	if (key)
		place_row(undo, row);
	return row;
}

/* The record that an entry speaks of, see the top of the file. */
static UndoRow *
row_of_entry(Undo *undo, const Entry *entry, int64 command)
{
	bool		plain;
	Jsonb	   *key = key_of_entry(entry, &plain);
	UndoRow    *other = NULL;

	if (key == NULL)
		return add_row(undo, entry->table, NULL, false, entry->action != 'I');
	for (UndoRow *row = AuditUndoRowAt(undo, entry->table, key); row; row = AuditUndoNextRow(row))
	{
		if (row->moved == command)
			continue;
		if (row->exists == (entry->action != 'I'))
			return row;
		if (other == NULL)
			other = row;
	}
	/* what does not follow the step before is noticed in audit_undo_net.c */
	return other ? other : add_row(undo, entry->table, key, plain, entry->action != 'I');
}

static UndoStep *
add_step(Undo *undo, UndoRow *row, Entry *entry, int64 command)
{
	UndoStep   *step = MemoryContextAllocZero(undo->cxt, sizeof(UndoStep));

	undo->steps = room(undo, undo->steps, undo->nsteps, &undo->maxsteps);
	step->number = undo->nsteps;
	undo->steps[undo->nsteps++] = step;
	step->row = row;
	step->command = command;
	step->action = entry->action;
	step->at = entry->nulls[COLUMN_AT] ? 0 : DatumGetTimestampTz(entry->values[COLUMN_AT]);
	step->xact = entry->nulls[COLUMN_XACT] ? 0
		: U64FromFullTransactionId(DatumGetFullTransactionId(entry->values[COLUMN_XACT]));
	step->seq = entry->nulls[COLUMN_SEQ] ? -1 : DatumGetInt64(entry->values[COLUMN_SEQ]);
	if (!entry->nulls[COLUMN_DATA])
	{
		Jsonb	   *data = DatumGetJsonbP(entry->values[COLUMN_DATA]);

		step->data = JB_ROOT_IS_OBJECT(data) ? keep(undo, data) : NULL;
	}
	if (row->last)
		row->last->next = step;
	else
		row->first = step;
	row->last = step;
	return step;
}

/*
 * TRUNCATE that logged each row before it needs no undo of its own.  If there was no row, that
 * cannot be told from one that logged none.
 */
static bool
has_images(const Undo *undo, const UndoTable *table, const UndoStep *step)
{
	if (!table->args.images)
		return false;
	for (int64 i = undo->nsteps - 2; i >= 0 && undo->steps[i]->xact == step->xact; i--)
		if (undo->steps[i]->row->table == table)
			return undo->steps[i]->action == 'D';
	return false;
}

static void
add_entry(Undo *undo, Entry *entry, int64 command)
{
	UndoRow    *row = row_of_entry(undo, entry, command);
	UndoStep   *step = add_step(undo, row, entry, command);

	row->exists = entry->action != 'D' && entry->action != 'T';
	if (entry->action == 'T')
	{
		row->existed = false;
		if (!has_images(undo, entry->table, step))
			row->note.conflict = "TRUNCATE is not undone: the log has no rows of it";
	}
	else if (row->key == NULL)
		row->note.conflict = "the log has no key of the row";
	else if (step->data == NULL)
		row->note.conflict = "the log has no data of the change";
	else if (entry->action == 'U')
	{
		Jsonb	   *key = key_beside(row->key, step->data, "new");

		if (key != row->key)
			move_row(undo, row, key, command);
	}
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Is this entry of the same command as the one before? */
static bool
same_command(const Undo *undo, const Entry *entry)
{
	const UndoStep *last = undo->nsteps > 0 ? undo->steps[undo->nsteps - 1] : NULL;

	return last && DatumGetBool(entry->values[COLUMN_WRITTEN]) && !entry->nulls[COLUMN_XACT] &&
		last->at == DatumGetTimestampTz(entry->values[COLUMN_AT]) &&
		last->xact == U64FromFullTransactionId(DatumGetFullTransactionId(entry->values[COLUMN_XACT]));
}

static void
read_entry(Undo *undo, HeapTuple tuple, TupleDesc desc, int64 *command)
{
	Entry		entry;
	char	   *action;

	heap_deform_tuple(tuple, desc, entry.values, entry.nulls);
	if (entry.nulls[COLUMN_ACTION] || entry.nulls[COLUMN_NAME])
		return;
	action = TextDatumGetCString(entry.values[COLUMN_ACTION]);
	entry.action = action[0];
	if (strchr("IUDT", entry.action) == NULL)
		return;
	entry.table = AuditUndoTableOf(undo, entry.nulls[COLUMN_ID] ? 0 : DatumGetInt32(entry.values[COLUMN_ID]),
								   entry.nulls[COLUMN_SCHEMA] ? NULL : TextDatumGetCString(entry.values[COLUMN_SCHEMA]),
								   TextDatumGetCString(entry.values[COLUMN_NAME]));
	if (!same_command(undo, &entry))
		(*command)++;
	add_entry(undo, &entry, *command);
}

/* Lets the query sort as much in memory as an index build may.  SettingsEnd() ends it. */
static int
more_memory(void)
{
	int			level = SettingsBegin();

	if (work_mem < maintenance_work_mem)
		SettingsSet("work_mem", psprintf("%dkB", maintenance_work_mem));
	return level;
}

/*
 * Reads the entries that match undo->filter into undo->rows and undo->steps.  Within an SPI
 * connection; undo->log is open and its columns are known.
 */
void
AuditUndoRead(Undo *undo)
{
	HASHCTL		ctl = {.keysize = sizeof(KeySlot), .entrysize = sizeof(KeyEntry), .hcxt = undo->cxt};
	Oid			owner = undo->log->rd_rel->relowner;
	int			level = more_memory();
	Portal		cursor = UserCodeCursor(owner, write_query(undo));
	MemoryContext entries = AllocSetContextCreate(undo->cxt, "entries of an undo", ALLOCSET_DEFAULT_SIZES);
	int64		command = 0;
	MemoryContext old;

	undo->keys = hash_create("records of an undo", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (;;)
	{
		UserCodeFetch(owner, cursor, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(entries);
		for (uint64 i = 0; i < SPI_processed; i++)
			read_entry(undo, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &command);
		MemoryContextSwitchTo(old);
		MemoryContextReset(entries);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(cursor);
	SettingsEnd(level);
}
