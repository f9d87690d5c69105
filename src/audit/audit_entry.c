/*
 * audit_entry.c
 *	  An entry of the log: what a row and its key look like there.
 *
 * The trigger describes changes with it; a whole row that nobody changes just now
 * (audit_baseline, images at TRUNCATE) is written here, in the same way.
 *
 * All that is allocated here lives in the current context, which is a per-row one.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "audit/audit.h"
#include "common/usercode.h"
#include "compat.h"

/* ---- data ------------------------------------------------------------------------- */

/* All columns of a row that are logged, as jsonb.  slot has all its attributes. */
Datum
AuditFullRow(AuditFiring *firing, TupleTableSlot *slot)
{
	AuditTable *table = &firing->table;
	JsonbWriter w;

	AuditBeginValue(&w, table->row_size + table->row_size / 4);
	JsonbWriterPrepared(&w, &table->keys);
	for (int i = 0; i < table->ncols; i++)
	{
		AuditColumn *col = &table->cols[i];
		AuditValue	value;

		if (col->redact)
			value = AuditRedacted;
		else
			AuditConvertColumn(firing, col, slot->tts_values[col->attnum - 1],
							   slot->tts_isnull[col->attnum - 1], &value);
		AuditWriteValue(&w, &value);
	}
	JsonbWriterClose(&w);
	/* one huge row must not make every later one allocate as much */
	table->row_size = Min(w.length, 64 * 1024);
	return JsonbPGetDatum(JsonbWriterEnd(&w));
}

/* ---- key -------------------------------------------------------------------------- */

/* The bigint that a numeric key is, or false: NaN, or too many digits. */
static bool
numeric_key(AuditTable *table, Datum datum, int64 *id)
{
	if (table->numeric_wide)
	{
		Numeric		num = DatumGetNumeric(datum);

		if (numeric_is_nan(num) || numeric_is_inf(num) ||
			DatumGetBool(DirectFunctionCall2(numeric_gt, datum,
											 NumericGetDatum(int64_to_numeric(PG_INT64_MAX)))) ||
			DatumGetBool(DirectFunctionCall2(numeric_lt, datum,
											 NumericGetDatum(int64_to_numeric(PG_INT64_MIN)))))
			return false;
	}
	else if (numeric_is_nan(DatumGetNumeric(datum)))
		return false;
	*id = DatumGetInt64(DirectFunctionCall1(numeric_int8, datum));
	return true;
}

static bool
integer_key(AuditTable *table, TupleTableSlot *slot, int64 *id)
{
	AuditColumn *col = &table->keycols[0];
	Datum		datum = slot->tts_values[col->attnum - 1];

	if (slot->tts_isnull[col->attnum - 1])
		return false;
	switch (col->convert)
	{
		case AUDIT_AS_INT2:
			*id = DatumGetInt16(datum);
			return true;
		case AUDIT_AS_INT4:
			*id = DatumGetInt32(datum);
			return true;
		case AUDIT_AS_INT8:
			*id = DatumGetInt64(datum);
			return true;
		default:
			return numeric_key(table, datum, id);
	}
}

/* The key's columns, as jsonb.  slot has attributes up to table.last_key. */
Datum
AuditKeyObject(AuditFiring *firing, TupleTableSlot *slot)
{
	AuditTable *table = &firing->table;
	JsonbWriter w;

	AuditBeginValue(&w, 256);
	JsonbWriterPrepared(&w, &table->keykeys);
	for (int i = 0; i < table->nkeycols; i++)
	{
		AuditColumn *col = &table->keycols[i];
		AuditValue	value;

		AuditConvertColumn(firing, col, slot->tts_values[col->attnum - 1],
						   slot->tts_isnull[col->attnum - 1], &value);
		AuditWriteValue(&w, &value);
	}
	JsonbWriterClose(&w);
	return JsonbPGetDatum(JsonbWriterEnd(&w));
}

/* One column as ->> shows it, several as the text of the object. */
static bool
key_text(AuditFiring *firing, TupleTableSlot *slot, Datum *result)
{
	AuditTable *table = &firing->table;
	AuditColumn *col = &table->keycols[0];
	AuditValue	value;
	Datum		object;

	if (table->nkeycols > 1)
	{
		object = AuditKeyObject(firing, slot);
		*result = CStringGetTextDatum(JsonbToCString(NULL, &DatumGetJsonbP(object)->root,
													 VARSIZE(DatumGetPointer(object))));
		return true;
	}
	AuditConvertColumn(firing, col, slot->tts_values[col->attnum - 1],
					   slot->tts_isnull[col->attnum - 1], &value);
	if (value.kind == AUDIT_NULL)
		return false;
	*result = AuditValueToText(&value);
	return true;
}

static void
refuse_key(AuditTable *table, const char *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("key %s of table \"%s\" does not fit into the record_id of its audit log",
					quote_literal_cstr(key), TextDatumGetCString(table->table_name)),
			 errdetail("It is no integer that a bigint holds, and the log has no column record_key."),
			 errhint("Add a column record_key of type jsonb or text to table \"%s\".",
					 get_rel_name(table->logid))));
}

/*
 * record_id where the key is an integer and the log has that column, else
 * record_key; that one as text takes any key.  A log that has record_id alone gets
 * any key that reads as an integer.
 */
void
AuditFillKey(AuditFiring *firing, const AuditLog *log, TupleTableSlot *slot, AuditRow *row)
{
	AuditTable *table = &firing->table;
	int64		id;

	slot_getsomeattrs(slot, table->last_key);
	if (log->columns.attnum[AUDIT_KEY_TEXT])
		row->nulls[AUDIT_KEY_TEXT] = !key_text(firing, slot, &row->values[AUDIT_KEY_TEXT]);
	if (log->columns.attnum[AUDIT_RECORD_ID] && table->integer_key && integer_key(table, slot, &id))
	{
		row->values[AUDIT_RECORD_ID] = Int64GetDatum(id);
		row->nulls[AUDIT_RECORD_ID] = false;
	}
	else if (log->columns.attnum[AUDIT_RECORD_KEY])
	{
		row->values[AUDIT_RECORD_KEY] = AuditKeyObject(firing, slot);
		row->nulls[AUDIT_RECORD_KEY] = false;
	}
	else if (log->columns.attnum[AUDIT_RECORD_ID])
	{
		Datum		key;

		if (log->columns.attnum[AUDIT_KEY_TEXT])
			return;				/* there it is already */
		if (key_text(firing, slot, &key))
		{
			if (!AuditParseInteger(TextDatumGetCString(key), &id))
				refuse_key(table, TextDatumGetCString(key));
			row->values[AUDIT_RECORD_ID] = Int64GetDatum(id);
			row->nulls[AUDIT_RECORD_ID] = false;
		}
	}
}

static Datum
action_datum(char action)
{
	struct varlena *v = palloc(VARHDRSZ_SHORT + 1);

	SET_VARSIZE_SHORT(v, VARHDRSZ_SHORT + 1);
	*VARDATA_SHORT(v) = action;
	return PointerGetDatum(v);
}

/* What every entry has; written_at: see audit_clock.c. */
void
AuditFillRest(AuditTable *table, const AuditLog *log, char action, TimestampTz written_at, AuditRow *row)
{
	row->values[AUDIT_ACTION] = action_datum(action);
	row->nulls[AUDIT_ACTION] = false;
	row->values[AUDIT_TABLE_SCHEMA] = table->schema_name;
	row->nulls[AUDIT_TABLE_SCHEMA] = false;
	row->values[AUDIT_TABLE_NAME] = table->table_name;
	row->nulls[AUDIT_TABLE_NAME] = false;
	row->values[AUDIT_CHANGED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	row->nulls[AUDIT_CHANGED_AT] = false;
	if (log->columns.attnum[AUDIT_XACT_ID])
	{
		row->values[AUDIT_XACT_ID] = FullTransactionIdGetDatum(GetTopFullTransactionId());
		row->nulls[AUDIT_XACT_ID] = false;
	}
	if (log->columns.attnum[AUDIT_XACT_SEQ])
	{
		row->values[AUDIT_XACT_SEQ] = Int32GetDatum(AuditNextXactSeq());
		row->nulls[AUDIT_XACT_SEQ] = false;
	}
	if (log->columns.attnum[AUDIT_WRITTEN_AT])
	{
		row->values[AUDIT_WRITTEN_AT] = TimestampTzGetDatum(written_at);
		row->nulls[AUDIT_WRITTEN_AT] = false;
	}
	if (table->id != 0)
	{
		row->values[AUDIT_TABLE_ID] = Int32GetDatum(table->id);
		row->nulls[AUDIT_TABLE_ID] = false;
	}
	AuditFillSession(row, &log->columns);
}

/* An error in a conversion: of which column? */
static void
name_converted(void *arg)
{
	AuditFiring *firing = arg;

	if (firing->column != NULL)
		errcontext("audit of column \"%s\" of table \"%s\"", firing->column->name,
				   TextDatumGetCString(firing->table.table_name));
}

/*
 * What is known of a trigger's table and of its log, with the locks that a row needs.
 * Raises what keeps the table from being audited, see AuditTableGet and AuditLogGet.
 */
void
AuditOpenTable(TriggerData *trigdata, Oid fnoid, AuditTable **table, AuditLog **log)
{
	/* taking the first lock of a transaction may reveal that the log changed */
	do
	{
		/* nothing else looks for a cancelled statement between one row and the next */
		CHECK_FOR_INTERRUPTS();
		*table = AuditTableGet(trigdata, fnoid);
		*log = AuditLogGet((*table)->logid);
	} while (unlikely(!(*table)->valid || !(*log)->valid));
}

/*
 * The table's entry in the cache is in use from here to AuditEndFiring, and errors in
 * conversions name the column.  After an error, the caches' end of transaction does the rest.
 */
void
AuditBeginFiring(AuditFiring *firing, AuditTable *table)
{
	table->in_use++;
	firing->table = *table;
	firing->column = NULL;
	firing->key_changed = false;
	firing->context.callback = name_converted;
	firing->context.arg = firing;
	firing->context.previous = error_context_stack;
	error_context_stack = &firing->context;
}

void
AuditEndFiring(AuditFiring *firing, AuditTable *table)
{
	table->row_size = firing->table.row_size;
	table->in_use--;
}

/*
 * Writes an entry with the whole row, which is in a slot of the trigger's table: 'B' for a
 * row that is there, 'D' for one that goes.  trigdata: of a trigger FOR EACH ROW, fired or
 * not.  wanted, if given, sees the key in the entry and says whether it is to be written.
 * Returns whether it was.  Raises what the trigger raises.
 *
 * Values are converted as the owner of the table: casts to json of its owner's types are
 * code of its owner, and the caller need not be somebody who writes to the table.
 */
bool
AuditWriteRow(TriggerData *trigdata, Oid fnoid, TupleTableSlot *slot, char action,
			  TimestampTz written_at, AuditWanted wanted, void *arg)
{
	AuditTable *table;
	AuditLog   *log;
	AuditFiring firing;
	AuditRow	row;
	bool		written;
	Oid			owner = trigdata->tg_relation->rd_rel->relowner;
	UserCodeScope scope;
	AuditField	field = action == 'D' ? AUDIT_OLD_DATA : AUDIT_NEW_DATA;

	AuditOpenTable(trigdata, fnoid, &table, &log);
	AuditBeginFiring(&firing, table);
	memset(row.nulls, true, sizeof(row.nulls));
	slot_getallattrs(slot);
	UserCodeEnter(&scope, owner);
	AuditFillKey(&firing, log, slot, &row);
	UserCodeLeave(&scope);
	if (log->columns.attnum[AUDIT_TABLE_ID] && table->id != 0)
	{
		row.values[AUDIT_TABLE_ID] = Int32GetDatum(table->id);
		row.nulls[AUDIT_TABLE_ID] = false;
	}
	written = wanted == NULL || wanted(&firing.table, log, &row, arg);
	if (written)
	{
		UserCodeEnter(&scope, owner);
		row.values[field] = AuditFullRow(&firing, slot);
		UserCodeLeave(&scope);
		row.nulls[field] = false;
		AuditFillRest(&firing.table, log, action, written_at, &row);
	}
	error_context_stack = firing.context.previous;
	if (written)
		AuditLogInsert(log, &row);
	AuditEndFiring(&firing, table);
	return written;
}
