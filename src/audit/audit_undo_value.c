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
	AuditValueOfJson(&json, &value);
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
	AuditValueToJson(value, &json);
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
		result = JsonbPGetDatum(AuditJsonbOfValue(value));
	else if (base == JSONOID)
	{
		json = AuditJsonbOfValue(value);
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
