/*
 * audit_trigger.c
 *	  fn_audit_trigger: decides whether a change is logged, and as what.
 *
 * An UPDATE first compares the bytes of the old and the new row.  Only columns whose
 * bytes differ are converted to JSON, and only those whose JSON differs are
 * logged; when none does, nothing is.
 *
 * All that is allocated here lives in the trigger's per-row context.
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
#include "compat.h"

PG_FUNCTION_INFO_V1(fn_audit_trigger);

static TriggerData *
check_protocol(FunctionCallInfo fcinfo)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	bool		truncate;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("fn_audit_trigger was not called by a trigger"),
				 errdetail("It is a trigger function."),
				 errhint("Attach it with audit_enable().")));
	truncate = TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event);
	if (!TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		(TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event) && !truncate))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("fn_audit_trigger must be fired AFTER, FOR EACH ROW"),
				 errdetail("Trigger \"%s\" on table \"%s\" fires it otherwise.",
						   trigdata->tg_trigger->tgname,
						   RelationGetRelationName(trigdata->tg_relation)),
				 errhint("Make it AFTER INSERT OR UPDATE OR DELETE ... FOR EACH ROW, or AFTER "
						 "TRUNCATE ... FOR EACH STATEMENT; audit_enable() does.")));
	return trigdata;
}

/*
 * One firing of the trigger: the entry of its table, and the column whose value is
 * being converted, for the context of errors.  The entry is a copy: a conversion may
 * run code of users (a cast to json) that makes the entry be built again.
 */
typedef struct Firing
{
	AuditTable	table;
	const AuditColumn *column;	/* NULL: none */
	bool		key_changed;	/* by this UPDATE */
} Firing;

static inline void
convert(Firing *firing, AuditColumn *col, Datum datum, bool isnull, AuditValue *value)
{
	firing->column = col;
	AuditToValue(col, datum, isnull, value);
	firing->column = NULL;
}

/* ---- data ------------------------------------------------------------------------- */

static Datum
full_row(Firing *firing, TupleTableSlot *slot)
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
			convert(firing, col, slot->tts_values[col->attnum - 1],
					slot->tts_isnull[col->attnum - 1], &value);
		AuditWriteValue(&w, &value);
	}
	JsonbWriterClose(&w);
	/* one huge row must not make every later one allocate as much */
	table->row_size = Min(w.length, 64 * 1024);
	return JsonbPGetDatum(JsonbWriterEnd(&w));
}

/* The same from datums, for tuples older than one of the table's columns. */
static int
compare_slots(AuditTable *table, TupleTableSlot *oldslot, TupleTableSlot *newslot,
			  AuditCandidate *out)
{
	int			found = 0;

	slot_getallattrs(oldslot);
	slot_getallattrs(newslot);
	for (int i = 0; i < table->ncols; i++)
	{
		int			a = table->cols[i].attnum - 1;
		AuditCandidate *c = &out[found];

		c->column = i;
		c->oldnull = oldslot->tts_isnull[a];
		c->newnull = newslot->tts_isnull[a];
		c->oldval = oldslot->tts_values[a];
		c->newval = newslot->tts_values[a];
		if (!c->oldnull || !c->newnull)
			found++;
	}
	return found;
}

static int
by_column(const void *a, const void *b)
{
	return ((const AuditCandidate *) a)->column - ((const AuditCandidate *) b)->column;
}

/* The columns that changed, as jsonb; false when none did. */
static bool
diff_row(Firing *firing, TriggerData *trigdata, Datum *result)
{
	AuditTable *table = &firing->table;
	AuditCandidate *candidates = palloc(sizeof(AuditCandidate) * Max(table->ncols, 1));
	AuditColumn **changed;
	AuditValue *olds;
	AuditValue *news;
	int			n = 0;
	int			found = AuditCompareTuples(table, trigdata->tg_trigtuple,
										   trigdata->tg_newtuple, candidates);

	if (found < 0)
		found = compare_slots(table, trigdata->tg_trigslot, trigdata->tg_newslot, candidates);
	if (found == 0)
		return false;
	/* the order of columns is that of the object's keys */
	if (found > 1)
		qsort(candidates, found, sizeof(AuditCandidate), by_column);

	changed = palloc(sizeof(AuditColumn *) * found);
	olds = palloc(sizeof(AuditValue) * found);
	news = palloc(sizeof(AuditValue) * found);
	for (int i = 0; i < found; i++)
	{
		AuditCandidate *c = &candidates[i];
		AuditColumn *col = &table->cols[c->column];

		if (c->oldnull == c->newnull && AuditSameDatum(col, c->oldval, c->newval))
			continue;
		convert(firing, col, c->oldval, c->oldnull, &olds[n]);
		convert(firing, col, c->newval, c->newnull, &news[n]);
		if (!AuditSameValue(&olds[n], &news[n]))
		{
			changed[n++] = col;
			firing->key_changed |= col->in_key;
		}
	}
	if (n == 0)
		return false;
	*result = AuditBuildDiff(&table->pair, changed, olds, news, n);
	return true;
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

static Datum
key_object(Firing *firing, TupleTableSlot *slot)
{
	AuditTable *table = &firing->table;
	JsonbWriter w;

	AuditBeginValue(&w, 256);
	JsonbWriterPrepared(&w, &table->keykeys);
	for (int i = 0; i < table->nkeycols; i++)
	{
		AuditColumn *col = &table->keycols[i];
		AuditValue	value;

		convert(firing, col, slot->tts_values[col->attnum - 1],
				slot->tts_isnull[col->attnum - 1], &value);
		AuditWriteValue(&w, &value);
	}
	JsonbWriterClose(&w);
	return JsonbPGetDatum(JsonbWriterEnd(&w));
}

/* One column as ->> shows it, several as the text of the object. */
static bool
key_text(Firing *firing, TupleTableSlot *slot, Datum *result)
{
	AuditTable *table = &firing->table;
	AuditColumn *col = &table->keycols[0];
	AuditValue	value;
	Datum		object;

	if (table->nkeycols > 1)
	{
		object = key_object(firing, slot);
		*result = CStringGetTextDatum(JsonbToCString(NULL, &DatumGetJsonbP(object)->root,
													 VARSIZE(DatumGetPointer(object))));
		return true;
	}
	convert(firing, col, slot->tts_values[col->attnum - 1],
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
static void
fill_key(Firing *firing, const AuditLog *log, TupleTableSlot *slot, AuditRow *row)
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
		row->values[AUDIT_RECORD_KEY] = key_object(firing, slot);
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

/* ---- the trigger -------------------------------------------------------------------- */

static Datum
action_datum(char action)
{
	struct varlena *v = palloc(VARHDRSZ_SHORT + 1);

	SET_VARSIZE_SHORT(v, VARHDRSZ_SHORT + 1);
	*VARDATA_SHORT(v) = action;
	return PointerGetDatum(v);
}

static void
fill_rest(AuditTable *table, const AuditLog *log, const TriggerData *trigdata, char action, AuditRow *row)
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
		row->values[AUDIT_WRITTEN_AT] = TimestampTzGetDatum(AuditWrittenAt(trigdata));
		row->nulls[AUDIT_WRITTEN_AT] = false;
	}
	if (table->id != 0)
	{
		row->values[AUDIT_TABLE_ID] = Int32GetDatum(table->id);
		row->nulls[AUDIT_TABLE_ID] = false;
	}
	AuditFillSession(row, &log->columns);
}

/* The row of the log; false when the change is none. */
static bool
describe_change(Firing *firing, AuditLog *log, TriggerData *trigdata, AuditRow *row)
{
	TupleTableSlot *slot = trigdata->tg_trigslot;
	char		action;

	memset(row->nulls, true, sizeof(row->nulls));
	if (TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
		action = 'T';
	else if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
	{
		action = 'U';
		if (!diff_row(firing, trigdata, &row->values[AUDIT_CHANGED_FIELDS]))
			return false;
		row->nulls[AUDIT_CHANGED_FIELDS] = false;
	}
	else
	{
		AuditField	field;

		action = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ? 'I' : 'D';
		field = action == 'I' ? AUDIT_NEW_DATA : AUDIT_OLD_DATA;
		slot_getallattrs(slot);
		row->values[field] = full_row(firing, slot);
		row->nulls[field] = false;
	}
	if (action != 'T')
		fill_key(firing, log, slot, row);
	if (firing->key_changed && log->columns.attnum[AUDIT_NEW_KEY])
	{
		slot_getsomeattrs(trigdata->tg_newslot, firing->table.last_key);
		row->values[AUDIT_NEW_KEY] = key_object(firing, trigdata->tg_newslot);
		row->nulls[AUDIT_NEW_KEY] = false;
	}
	fill_rest(&firing->table, log, trigdata, action, row);
	return true;
}

/* An error in a conversion: of which column? */
static void
name_converted(void *arg)
{
	Firing	   *firing = arg;

	if (firing->column != NULL)
		errcontext("audit of column \"%s\" of table \"%s\"", firing->column->name,
				   TextDatumGetCString(firing->table.table_name));
}

/*
 * fn_audit_trigger: logs the change that fired it.  AFTER, FOR EACH ROW, or TRUNCATE FOR
 * EACH STATEMENT; 39P01 otherwise.
 */
Datum
fn_audit_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = check_protocol(fcinfo);
	AuditTable *table;
	Firing		firing;
	AuditLog   *log;
	AuditRow	row;
	bool		changed;
	ErrorContextCallback context;

	/* taking the first lock of a transaction may reveal that the log changed */
	do
	{
		/* nothing else looks for a cancelled statement between one row and the next */
		CHECK_FOR_INTERRUPTS();
		table = AuditTableGet(trigdata, fcinfo->flinfo->fn_oid);
		log = AuditLogGet(table->logid);
	} while (unlikely(!table->valid || !log->valid));

	if (unlikely(table->silent[SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA] &
				 AUDIT_SEES(trigdata->tg_event)))
		return PointerGetDatum(NULL);	/* logged by the trigger of a table above */

	table->in_use++;
	firing.table = *table;
	firing.column = NULL;
	firing.key_changed = false;
	context.callback = name_converted;
	context.arg = &firing;
	context.previous = error_context_stack;
	error_context_stack = &context;
	changed = describe_change(&firing, log, trigdata, &row);
	error_context_stack = context.previous;
	if (changed)
		AuditLogInsert(log, &row);
	table->row_size = firing.table.row_size;
	table->in_use--;

	return PointerGetDatum(NULL);
}
