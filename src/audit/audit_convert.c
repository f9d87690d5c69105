/*
 * audit_convert.c
 *	  Column values to JSON, whatever the writer's settings are.
 *
 * What is logged, and whether, depends on the stored value alone.  to_jsonb and the
 * types' output functions follow the session: extra_float_digits (two different floats
 * can be written alike), DateStyle and TimeZone (two different ranges), IntervalStyle,
 * bytea_output, lc_monetary, and search_path (the name of a regclass).  Any role may
 * set those, so the log takes the values that to_jsonb gives under
 *
 *		extra_float_digits 1, DateStyle ISO, IntervalStyle postgres,
 *		bytea_output hex, TimeZone UTC, lc_monetary C,
 *		and for names of objects search_path = pg_catalog
 *
 * Which of them a type follows is worked out once for a column (AuditPins).  Floats
 * and timestamps are written without looking at settings at all.  For most others the
 * server's variables are changed for the time of the call and put back, which costs a
 * few instructions; for what can run more than an output function in C, or keeps
 * something computed from a setting, they are set as SET does it.
 *
 * to_jsonb calls a function where a type has a cast to json.  That of a type whose
 * owner is neither a superuser nor the owner of the audited table would run as
 * whoever writes: a value of such a type is logged as its text.  The owner decides,
 * not whether there is such a cast: one could come between the look and the use.
 *
 * What AuditToValue returns points into the datum, or into memory of the
 * current context, which is the trigger's per-row one.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_cast.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "audit/audit.h"
#include "common/settings.h"
#include "common/usercode.h"
#include "compat.h"

/* ---- how a type is converted ------------------------------------------------ */

/* A cast to json that is a function, as to_jsonb looks for it. */
static Oid
json_cast(Oid basetypid)
{
	Oid			castfunc;

	if (basetypid >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, basetypid, COERCION_EXPLICIT, &castfunc) == COERCION_PATH_FUNC)
		return castfunc;
	return InvalidOid;
}

/* Is this a function in C?  Such a function runs nothing that could notice or change settings. */
static bool
is_in_c(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_proc) GETSTRUCT(tuple))->prolang == INTERNALlanguageId ||
		((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Calls visit with each type that values of this type are made of, until one call returns
 * true, which is the result.
 */
static bool
any_part(Oid basetypid, bool (*visit) (Oid typid, void *arg), void *arg)
{
	Oid			element = get_element_type(basetypid);
	TupleDesc	desc;
	bool		found = false;

	check_stack_depth();
	if (OidIsValid(element))
		return visit(element, arg);
	switch (get_typtype(basetypid))
	{
		case TYPTYPE_RANGE:
			return visit(get_range_subtype(basetypid), arg);
		case TYPTYPE_MULTIRANGE:
			return visit(get_multirange_range(basetypid), arg);
		case TYPTYPE_COMPOSITE:
			desc = lookup_rowtype_tupdesc_copy(basetypid, -1);
			for (int i = 0; i < desc->natts && !found; i++)
				found = !TupleDescAttr(desc, i)->attisdropped &&
					visit(TupleDescAttr(desc, i)->atttypid, arg);
			FreeTupleDesc(desc);
			return found;
		default:
			return false;
	}
}

/* Would to_jsonb look for a cast of a role that the table's owner need not trust? */
static bool
has_foreign_cast(Oid typid, void *owner)
{
	Oid			basetypid = getBaseType(typid);

	if (basetypid < FirstNormalObjectId)
		return any_part(basetypid, has_foreign_cast, owner);
	if (OidIsValid(get_element_type(basetypid)) || type_is_rowtype(basetypid))
		return any_part(basetypid, has_foreign_cast, owner);
	return !UserCodeTypeIsTrusted(basetypid, *(Oid *) owner);
}

/*
 * The same decision as to_jsonb's.  What has a cast to json, an element type or
 * fields goes through to_jsonb itself.
 */
static AuditConvert
conversion_of(Oid typid, Oid basetypid, Oid owner)
{
	switch (basetypid)
	{
		case BOOLOID:
			return AUDIT_AS_BOOL;
		case INT2OID:
			return AUDIT_AS_INT2;
		case INT4OID:
			return AUDIT_AS_INT4;
		case INT8OID:
			return AUDIT_AS_INT8;
		case NUMERICOID:
			return AUDIT_AS_NUMERIC;
		case FLOAT4OID:
			return AUDIT_AS_FLOAT4;
		case FLOAT8OID:
			return AUDIT_AS_FLOAT8;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return AUDIT_AS_DATETIME;
		case JSONOID:
			return AUDIT_AS_JSON;
		case JSONBOID:
			return AUDIT_AS_JSONB;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return AUDIT_AS_TEXT;
		default:
			break;
	}
	if (has_foreign_cast(basetypid, &owner))
		return AUDIT_AS_OUTPUT;
	if (OidIsValid(get_element_type(basetypid)) || type_is_rowtype(basetypid) ||
		get_typtype(basetypid) == TYPTYPE_PSEUDO || OidIsValid(json_cast(basetypid)))
		return AUDIT_AS_TO_JSONB;
	return AUDIT_AS_OUTPUT;
}

/*
 * Adds to *pins which settings the text of a type, or its JSON, depends on.  Returns false
 * always: any_part() goes on then.
 */
static bool
add_pins(Oid typid, void *pins)
{
	Oid			basetypid = getBaseType(typid);
	Oid			cast;

	switch (basetypid)
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case UUIDOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
		case BITOID:
		case VARBITOID:
		case OIDOID:
		case XIDOID:
		case XID8OID:
		case CIDOID:
		case TIDOID:
		case TIMEOID:
		case PG_LSNOID:
		case JSONOID:
		case JSONBOID:
		case TSVECTOROID:
		case TSQUERYOID:
			return false;
		case CASHOID:
			*(int *) pins |= AUDIT_PIN_SETTINGS | AUDIT_PIN_MONETARY;
			return false;
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGROLEOID:
		case REGCOLLATIONOID:
			*(int *) pins |= AUDIT_PIN_SETTINGS | AUDIT_PIN_PATH;
			return false;
		default:
			break;
	}
	if (type_is_enum(basetypid))
		return false;
	*(int *) pins |= AUDIT_PIN_VARIABLES;
	cast = json_cast(basetypid);
	if (OidIsValid(cast) && !is_in_c(cast))
		*(int *) pins |= AUDIT_PIN_SETTINGS;
	return any_part(basetypid, add_pins, pins);
}

/*
 * Fills in how a column is converted.  owner: of the table whose column it is.  cxt: where
 * the name and the function's state go; it has to live as long as the column.  Catalogs
 * are looked up here, and not in AuditToValue().
 */
void
AuditInitColumn(AuditColumn *col, Form_pg_attribute att, Oid owner, MemoryContext cxt)
{
	Oid			func = InvalidOid;
	bool		varlena;

	col->attnum = att->attnum;
	col->typlen = att->attlen;
	col->typbyval = att->attbyval;
	col->typid = att->atttypid;
	col->basetypid = getBaseType(att->atttypid);
	col->name = MemoryContextStrdup(cxt, NameStr(att->attname));
	col->namelen = strlen(col->name);
	col->convert = conversion_of(col->typid, col->basetypid, owner);
	col->pins = 0;

	if (col->convert == AUDIT_AS_OUTPUT)
		getTypeOutputInfo(col->basetypid, &func, &varlena);
	else if (col->convert == AUDIT_AS_TO_JSONB)
		func = F_TO_JSONB;
	if (!OidIsValid(func))
		return;

	(void) add_pins(col->basetypid, &col->pins);
	fmgr_info_cxt(func, &col->func, cxt);
	if (col->convert == AUDIT_AS_TO_JSONB)
	{
		/* to_jsonb asks its call expression which type it was given */
		MemoryContext oldcontext = MemoryContextSwitchTo(cxt);
		Node	   *arg = (Node *) makeNullConst(col->typid, -1, InvalidOid);

		fmgr_info_set_expr((Node *) makeFuncExpr(func, JSONBOID, list_make1(arg), InvalidOid,
												 InvalidOid, COERCE_EXPLICIT_CALL),
						   &col->func);
		MemoryContextSwitchTo(oldcontext);
	}
}

/* ---- fixed settings ------------------------------------------------------------- */

/* The server's variables behind the settings that output functions in C read. */
typedef struct Variables
{
	int			float_digits;
	int			date_style;
	int			interval_style;
	int			bytea;
	pg_tz	   *timezone;
} Variables;

static void
get_variables(Variables *v)
{
	v->float_digits = extra_float_digits;
	v->date_style = DateStyle;
	v->interval_style = IntervalStyle;
	v->bytea = bytea_output;
	v->timezone = session_timezone;
}

static void
set_variables(const Variables *v)
{
	extra_float_digits = v->float_digits;
	DateStyle = v->date_style;
	IntervalStyle = v->interval_style;
	bytea_output = v->bytea;
	session_timezone = v->timezone;
}

static Datum
call_with_variables(FmgrInfo *function, Datum value)
{
	static Variables fixed = {1, USE_ISO_DATES, INTSTYLE_POSTGRES, BYTEA_OUTPUT_HEX, NULL};
	Variables	session;
	volatile Datum result;		/* set in PG_TRY, read behind it */

	/* the one zone that needs no file; its offset is what is written */
	if (unlikely(fixed.timezone == NULL))
		fixed.timezone = pg_tzset("GMT");
	get_variables(&session);
	PG_TRY();
	{
		set_variables(&fixed);
		result = FunctionCall1(function, value);
	}
	PG_FINALLY();
	{
		set_variables(&session);
	}
	PG_END_TRY();
	return result;
}

/* The same as SET does it.  After an error the transaction's end puts them back. */
static Datum
call_with_settings(FmgrInfo *function, Datum value, int pins)
{
	int			level = SettingsBegin();
	Datum		result;

	SettingsSet("extra_float_digits", "1");
	SettingsSet("datestyle", "ISO");
	SettingsSet("intervalstyle", "postgres");
	SettingsSet("bytea_output", "hex");
	SettingsSet("timezone", "UTC");
	if (pins & AUDIT_PIN_MONETARY)
		SettingsSet("lc_monetary", "C");
	if (pins & AUDIT_PIN_PATH)
		SettingsSet("search_path", "pg_catalog");
	result = FunctionCall1(function, value);
	SettingsEnd(level);
	return result;
}

/* The result of the column's function: an output function's, or to_jsonb's. */
static Datum
call_pinned(AuditColumn *col, Datum value)
{
	if (col->pins == 0)
		return FunctionCall1(&col->func, value);
	if (col->pins & AUDIT_PIN_SETTINGS)
		return call_with_settings(&col->func, value, col->pins);
	return call_with_variables(&col->func, value);
}

/* ---- values ---------------------------------------------------------------------- */

static void
set_string(AuditValue *out, const char *data, int len)
{
	if (len > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("string too long to represent as jsonb string"),
				 errdetail("A column value of %d bytes exceeds the maximum of %d.",
						   len, JENTRY_OFFLENMASK),
				 errhint("Exclude the column from the audit.")));
	out->kind = AUDIT_STRING;
	out->data = data;
	out->len = len;
}

static void
set_numeric(AuditValue *out, Numeric num)
{
	out->kind = AUDIT_NUMERIC;
	out->data = VARDATA((struct varlena *) num);
	out->len = VARSIZE((struct varlena *) num) - VARHDRSZ;
}

/* with its header again, for functions that take one */
static Datum
value_numeric(const AuditValue *value)
{
	struct varlena *num = palloc(VARHDRSZ + value->len);

	SET_VARSIZE(num, VARHDRSZ + value->len);
	memcpy(VARDATA(num), value->data, value->len);
	return PointerGetDatum(num);
}

/* a whole jsonb: a scalar at its root counts as the scalar */
static void
set_jsonb(AuditValue *out, Jsonb *jb)
{
	JsonbValue	scalar;

	if (!JB_ROOT_IS_SCALAR(jb))
	{
		out->kind = AUDIT_CONTAINER;
		out->data = (const char *) &jb->root;
		out->len = VARSIZE(jb) - VARHDRSZ;
		return;
	}
	if (!JsonbExtractScalar(&jb->root, &scalar))
		elog(ERROR, "jsonb scalar expected");
	switch (scalar.type)
	{
		case jbvNull:
			out->kind = AUDIT_NULL;
			break;
		case jbvBool:
			out->kind = scalar.val.boolean ? AUDIT_TRUE : AUDIT_FALSE;
			break;
		case jbvString:
			set_string(out, scalar.val.string.val, scalar.val.string.len);
			break;
		case jbvNumeric:
			set_numeric(out, scalar.val.numeric);
			break;
		default:
			elog(ERROR, "unexpected jsonb scalar type %d", (int) scalar.type);
	}
}

/* numeric's own NaN and infinities are no JSON numbers */
static void
set_finite_numeric(AuditValue *out, Numeric num)
{
	if (numeric_is_nan(num) || numeric_is_inf(num))
	{
		char	   *str = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(num)));

		set_string(out, str, strlen(str));
	}
	else
		set_numeric(out, num);
}

/*
 * A numeric as it lies in a tuple.  With a short header it need not be copied to
 * be aligned: NaN and the infinities have no digits, so what is longer than the
 * two bytes of a sign is a number.
 */
static void
set_stored_numeric(AuditValue *out, Datum datum)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(datum);

	if (VARATT_IS_SHORT(v) && VARSIZE_SHORT(v) > VARHDRSZ_SHORT + sizeof(uint16))
	{
		out->kind = AUDIT_NUMERIC;
		out->data = VARDATA_SHORT(v);
		out->len = VARSIZE_SHORT(v) - VARHDRSZ_SHORT;
	}
	else
		set_finite_numeric(out, DatumGetNumeric(datum));
}

/* The shortest text that reads back as the same float is a number for JSON, too. */
static void
set_number(AuditValue *out, char *str)
{
	set_numeric(out, DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(str),
														 ObjectIdGetDatum(InvalidOid),
														 Int32GetDatum(-1))));
}

static void
set_float(AuditValue *out, float8 number, bool single)
{
	char		str[Max(DOUBLE_SHORTEST_DECIMAL_LEN, FLOAT_SHORTEST_DECIMAL_LEN)];

	if (isnan(number))
		set_string(out, "NaN", 3);
	else if (isinf(number))
		set_string(out, number > 0 ? "Infinity" : "-Infinity", number > 0 ? 8 : 9);
	else
	{
		if (single)
			float_to_shortest_decimal_buf((float4) number, str);
		else
			double_to_shortest_decimal_buf(number, str);
		set_number(out, str);
	}
}

/*
 * A column's datum as a JSON value.  What *out points to is part of the datum, or is in
 * the current context.  May run output functions and casts, which can raise anything;
 * 54000 for a string that is too long for jsonb.
 */
void
AuditToValue(AuditColumn *col, Datum datum, bool isnull, AuditValue *out)
{
	static const int utc = 0;
	char	   *str;

	out->len = 0;
	out->data = NULL;
	if (isnull)
	{
		out->kind = AUDIT_NULL;
		return;
	}
	switch (col->convert)
	{
		case AUDIT_AS_TEXT:
			{
				struct varlena *v = PG_DETOAST_DATUM_PACKED(datum);

				set_string(out, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
				break;
			}
		case AUDIT_AS_BOOL:
			out->kind = DatumGetBool(datum) ? AUDIT_TRUE : AUDIT_FALSE;
			break;
		case AUDIT_AS_INT2:
			set_numeric(out, int64_to_numeric(DatumGetInt16(datum)));
			break;
		case AUDIT_AS_INT4:
			set_numeric(out, int64_to_numeric(DatumGetInt32(datum)));
			break;
		case AUDIT_AS_INT8:
			set_numeric(out, int64_to_numeric(DatumGetInt64(datum)));
			break;
		case AUDIT_AS_NUMERIC:
			set_stored_numeric(out, datum);
			break;
		case AUDIT_AS_FLOAT4:
			set_float(out, DatumGetFloat4(datum), true);
			break;
		case AUDIT_AS_FLOAT8:
			set_float(out, DatumGetFloat8(datum), false);
			break;
		case AUDIT_AS_DATETIME:
			str = JsonEncodeDateTime(NULL, datum, col->basetypid,
									 col->basetypid == TIMESTAMPTZOID ? &utc : NULL);
			set_string(out, str, strlen(str));
			break;
		case AUDIT_AS_JSON:
			{
				Datum		json;

				/* json takes what jsonb does not: \u0000, 1e1000000 */
				str = TextDatumGetCString(datum);
				if (AuditParseJson(str, &json))
					set_jsonb(out, DatumGetJsonbP(json));
				else
					set_string(out, str, strlen(str));
				break;
			}
		case AUDIT_AS_JSONB:
			set_jsonb(out, DatumGetJsonbP(datum));
			break;
		case AUDIT_AS_OUTPUT:
			str = DatumGetCString(call_pinned(col, datum));
			set_string(out, str, strlen(str));
			break;
		case AUDIT_AS_TO_JSONB:
			set_jsonb(out, DatumGetJsonbP(call_pinned(col, datum)));
			break;
	}
}

/* A value as text, as the operator ->> shows it, in the current context; not for null. */
Datum
AuditValueToText(const AuditValue *value)
{
	char	   *str;

	switch (value->kind)
	{
		case AUDIT_STRING:
			return PointerGetDatum(cstring_to_text_with_len(value->data, value->len));
		case AUDIT_NUMERIC:
			str = DatumGetCString(DirectFunctionCall1(numeric_out, value_numeric(value)));
			return CStringGetTextDatum(str);
		case AUDIT_CONTAINER:
			str = JsonbToCString(NULL, (JsonbContainer *) value->data, value->len);
			return CStringGetTextDatum(str);
		default:
			return CStringGetTextDatum(value->kind == AUDIT_TRUE ? "true" : "false");
	}
}

/* Are two values equal as jsonb?  1.0 and 1.00 are. */
bool
AuditSameValue(const AuditValue *a, const AuditValue *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind)
	{
		case AUDIT_STRING:
			return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
		case AUDIT_NUMERIC:
			if (a->len == b->len && memcmp(a->data, b->data, a->len) == 0)
				return true;
			return DatumGetBool(DirectFunctionCall2(numeric_eq, value_numeric(a),
													value_numeric(b)));
		case AUDIT_CONTAINER:
			return compareJsonbContainers((JsonbContainer *) a->data,
										  (JsonbContainer *) b->data) == 0;
		default:
			return true;
	}
}
