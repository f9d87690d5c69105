/*
 * audit_undo_value.c
 *	  Values of the log back into values of a column.
 *
 * The log has JSON; a string is what the type's output function wrote under fixed
 * settings, so the type's input function reads it, under settings that read the same
 * (SettingsForText, which the caller has begun).  Arrays and composite values are JSON
 * arrays and objects; the server's jsonb_to_record reads them, as a row of that one
 * column.
 *
 * Input functions and the CHECKs of domains are code of the type's owner.  The caller
 * has made sure that they do not run as somebody who does not trust the table's owner
 * (UserCodeEnter).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit_undo.h"
#include "compat.h"

/* A value within a jsonb, which it goes on pointing into. */
void
AuditUndoFromJson(const JsonbValue *json, AuditValue *out)
{
	out->len = 0;
	out->data = NULL;
	switch (json->type)
	{
		case jbvNull:
			out->kind = AUDIT_NULL;
			break;
		case jbvBool:
			out->kind = json->val.boolean ? AUDIT_TRUE : AUDIT_FALSE;
			break;
		case jbvString:
			out->kind = AUDIT_STRING;
			out->data = json->val.string.val;
			out->len = json->val.string.len;
			break;
		case jbvNumeric:
			out->kind = AUDIT_NUMERIC;
			out->data = VARDATA((struct varlena *) json->val.numeric);
			out->len = VARSIZE((struct varlena *) json->val.numeric) - VARHDRSZ;
			break;
		case jbvBinary:
			out->kind = AUDIT_CONTAINER;
			out->data = (const char *) json->val.binary.data;
			out->len = json->val.binary.len;
			break;
		default:
			elog(ERROR, "unexpected jsonb value of type %d", (int) json->type);
	}
}

static void
to_json_value(const AuditValue *value, JsonbValue *json)
{
	struct varlena *number;

	switch (value->kind)
	{
		case AUDIT_NULL:
			json->type = jbvNull;
			break;
		case AUDIT_FALSE:
		case AUDIT_TRUE:
			json->type = jbvBool;
			json->val.boolean = value->kind == AUDIT_TRUE;
			break;
		case AUDIT_STRING:
			json->type = jbvString;
			json->val.string.val = unconstify(char *, value->data);
			json->val.string.len = value->len;
			break;
		case AUDIT_NUMERIC:
			number = palloc(VARHDRSZ + value->len);
			SET_VARSIZE(number, VARHDRSZ + value->len);
			memcpy(VARDATA(number), value->data, value->len);
			json->type = jbvNumeric;
			json->val.numeric = (Numeric) number;
			break;
		case AUDIT_CONTAINER:
			json->type = jbvBinary;
			json->val.binary.data = (JsonbContainer *) unconstify(char *, value->data);
			json->val.binary.len = value->len;
			break;
	}
}

/* A value as a jsonb of its own, in the current context; NULL for null. */
Jsonb *
AuditUndoToJson(const AuditValue *value)
{
	JsonbValue	json;

	if (value->kind == AUDIT_NULL)
		return NULL;
	to_json_value(value, &json);
	return JsonbValueToJsonb(&json);
}

/* Is this what the trigger writes in place of a value? */
bool
AuditUndoIsRedacted(const AuditValue *value)
{
	return value->kind == AUDIT_STRING && value->len == AuditRedacted.len &&
		memcmp(value->data, AuditRedacted.data, value->len) == 0;
}

/* The key of a row as audit_history takes it: the value alone, or an object.  NULL: none. */
char *
AuditUndoKeyText(const UndoRow *row)
{
	Jsonb	   *key = row->key;
	JsonbIterator *it;
	JsonbValue	json;
	AuditValue	value;

	if (key == NULL)
		return NULL;
	if (!row->plain)
		return JsonbToCString(NULL, &key->root, VARSIZE(key));
	it = JsonbIteratorInit(&key->root);
	(void) JsonbIteratorNext(&it, &json, true); /* { */
	(void) JsonbIteratorNext(&it, &json, true); /* the name */
	(void) JsonbIteratorNext(&it, &json, true); /* the value */
	AuditUndoFromJson(&json, &value);
	return value.kind == AUDIT_NULL ? NULL : TextDatumGetCString(AuditValueToText(&value));
}

/* ---- into a column ---------------------------------------------------------------------- */

static void
prepare_column(UndoColumn *col, MemoryContext cxt)
{
	Oid			base;
	Oid			function;

	if (col->can_read)
		return;
	col->basetypmod = col->typmod;
	base = getBaseTypeAndTypmod(col->typid, &col->basetypmod);
	getTypeInputInfo(base, &function, &col->ioparam);
	fmgr_info_cxt(function, &col->input, cxt);
	col->can_read = true;
}

static char *
scalar_text(const AuditValue *value)
{
	return TextDatumGetCString(AuditValueToText(value));
}

/* The column of a row that jsonb_to_record makes of {"name": value}. */
static Datum
populate(UndoTable *table, UndoColumn *col, const AuditValue *value, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 1);
	ReturnSetInfo result = {.type = T_ReturnSetInfo};
	JsonbParseState *state = NULL;
	JsonbValue	json;
	HeapTupleData tuple;

	if (col->record == NULL)
	{
		MemoryContext cxt = GetMemoryChunkContext(table);
		MemoryContext old = MemoryContextSwitchTo(cxt);

		col->record = CreateTemplateTupleDesc(1);
		TupleDescInitEntry(col->record, 1, col->name, col->typid, col->typmod, 0);
		fmgr_info_cxt(F_JSONB_TO_RECORD, &col->to_record, cxt);
		MemoryContextSwitchTo(old);
	}
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json.type = jbvString;
	json.val.string.val = col->name;
	json.val.string.len = col->namelen;
	pushJsonbValue(&state, WJB_KEY, &json);
	to_json_value(value, &json);
	pushJsonbValue(&state, WJB_VALUE, &json);
	result.expectedDesc = col->record;
	InitFunctionCallInfoData(*fcinfo, &col->to_record, 1, InvalidOid, NULL, (Node *) &result);
	fcinfo->args[0].value = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	fcinfo->args[0].isnull = false;
	tuple.t_data = DatumGetHeapTupleHeader(FunctionCallInvoke(fcinfo));
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	return heap_getattr(&tuple, 1, col->record, isnull);
}

/*
 * A value of the log as the column's own type, in the current context.  The caller has begun
 * SettingsForText, and runs as a role that trusts the table's owner.  Raises what the
 * type's input function and a domain's CHECK raise.
 */
Datum
AuditUndoToDatum(UndoTable *table, UndoColumn *col, const AuditValue *value, bool *isnull)
{
	Oid			base = col->convert.basetypid;
	Datum		result = (Datum) 0;
	Jsonb	   *json;

	*isnull = value->kind == AUDIT_NULL;
	if (*isnull)
	{
	}
	else if (base == JSONBOID)
		result = JsonbPGetDatum(AuditUndoToJson(value));
	else if (base == JSONOID)
	{
		json = AuditUndoToJson(value);
		result = CStringGetTextDatum(JsonbToCString(NULL, &json->root, VARSIZE(json)));
	}
	else if (value->kind == AUDIT_CONTAINER)
		return populate(table, col, value, isnull);
	else
	{
		prepare_column(col, GetMemoryChunkContext(table));
		result = InputFunctionCall(&col->input, scalar_text(value), col->ioparam, col->basetypmod);
	}
	if (base != col->typid)
		domain_check(result, *isnull, col->typid, NULL, NULL);
	return result;
}
