/*
 * audit_jsonb.c
 *	  Column values to JSON, and jsonb objects written without sorting.
 *
 * A jsonb object is
 *
 *		varlena header, container header (JB_FOBJECT | n),
 *		n JEntries of the keys, n JEntries of the values,
 *		key bytes, value bytes
 *
 * with the keys sorted by length, then bytewise.  A JEntry holds the length of
 * its item, every JB_OFFSET_STRIDE'th of the 2n the end offset instead.
 * Numerics and nested containers start at a multiple of 4, the padding before
 * them counted to their length.
 *
 * The keys of a table's rows are always the same, so AuditPrepareKeys lays out
 * everything up to the value bytes once; a row is a copy of that prefix, and
 * the values appended with their JEntries filled in.
 *
 * What AuditToValue returns points into the datum, or into memory of the
 * current context, which is the trigger's per-row one.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "audit/audit.h"

static const char redacted[] = "[redacted]";

/* ---- how a type is converted ------------------------------------------------ */

/*
 * The same decision as to_jsonb's.  What has a cast to json, an element type or
 * fields goes through to_jsonb itself.
 */
static AuditConvert
conversion_of(Oid typid, Oid basetypid)
{
	Oid			castfunc;

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
		case FLOAT8OID:
			return AUDIT_AS_FLOAT;
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
	if (OidIsValid(get_element_type(basetypid)) || type_is_rowtype(basetypid) ||
		get_typtype(basetypid) == TYPTYPE_PSEUDO)
		return AUDIT_AS_TO_JSONB;
	if (basetypid >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, basetypid, COERCION_EXPLICIT, &castfunc) == COERCION_PATH_FUNC)
		return AUDIT_AS_TO_JSONB;
	return AUDIT_AS_OUTPUT;
}

/* cxt outlives the column; catalog lookups happen here and never again */
void
AuditInitColumn(AuditColumn *col, Form_pg_attribute att, MemoryContext cxt)
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
	col->convert = conversion_of(col->typid, col->basetypid);

	if (col->convert == AUDIT_AS_OUTPUT || col->convert == AUDIT_AS_FLOAT)
		getTypeOutputInfo(col->basetypid, &func, &varlena);
	else if (col->convert == AUDIT_AS_TO_JSONB)
		func = F_TO_JSONB;
	if (!OidIsValid(func))
		return;

	fmgr_info_cxt(func, &col->func, cxt);
	if (col->convert == AUDIT_AS_TO_JSONB)
	{
		/* to_jsonb asks its call expression which type it was given */
		MemoryContext old = MemoryContextSwitchTo(cxt);
		Node	   *arg = (Node *) makeNullConst(col->typid, -1, InvalidOid);

		fmgr_info_set_expr((Node *) makeFuncExpr(func, JSONBOID, list_make1(arg), InvalidOid,
												 InvalidOid, COERCE_EXPLICIT_CALL),
						   &col->func);
		MemoryContextSwitchTo(old);
	}
}

/* the order of keys in a jsonb object */
int
AuditCompareColumns(const void *a, const void *b)
{
	const AuditColumn *x = a;
	const AuditColumn *y = b;

	if (x->namelen != y->namelen)
		return x->namelen < y->namelen ? -1 : 1;
	return memcmp(x->name, y->name, x->namelen);
}

/* ---- text that may be JSON ---------------------------------------------------- */

/*
 * jsonb_in allocates and computes, nothing else, so that its complaints about
 * the text may be caught without a subtransaction; false then.  A database whose
 * encoding has no conversion calls an escape sequence a missing feature.  Anything
 * but a complaint about data (a cancelled query, no memory) goes on up.
 */
bool
AuditParseJson(const char *text, Datum *value)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool is_json = true;

	PG_TRY();
	{
		*value = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	}
	PG_CATCH();
	{
		int			category;

		MemoryContextSwitchTo(cxt);
		category = ERRCODE_TO_CATEGORY(geterrcode());
		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED &&
			category != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		FlushErrorState();
		is_json = false;
	}
	PG_END_TRY();
	return is_json;
}

/* text as a jsonb that is one string */
Datum
AuditJsonString(const char *text)
{
	StringInfoData json;

	initStringInfo(&json);
	escape_json(&json, text);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* ---- values ------------------------------------------------------------------ */

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

static void
set_float(AuditValue *out, char *str)
{
	if (strpbrk(str, "NI") != NULL)
		set_string(out, str, strlen(str));
	else
		set_numeric(out, DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(str),
															 ObjectIdGetDatum(InvalidOid),
															 Int32GetDatum(-1))));
}

/* the column being converted, for the error's context */
static const AuditColumn *converting = NULL;

/* Its name, once; NULL when the error came from elsewhere. */
const char *
AuditConverting(void)
{
	const AuditColumn *col = converting;

	converting = NULL;
	return col ? col->name : NULL;
}

void
AuditToValue(AuditColumn *col, Datum datum, bool isnull, AuditValue *out)
{
	char	   *str;

	out->len = 0;
	out->data = NULL;
	if (isnull)
	{
		out->kind = AUDIT_NULL;
		return;
	}
	converting = col;
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
		case AUDIT_AS_FLOAT:
			set_float(out, OutputFunctionCall(&col->func, datum));
			break;
		case AUDIT_AS_DATETIME:
			str = JsonEncodeDateTime(NULL, datum, col->basetypid, NULL);
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
			str = OutputFunctionCall(&col->func, datum);
			set_string(out, str, strlen(str));
			break;
		case AUDIT_AS_TO_JSONB:
			set_jsonb(out, DatumGetJsonbP(FunctionCall1(&col->func, datum)));
			break;
	}
	converting = NULL;
}

/* as the ->> operator shows it; not for null */
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

/* equal as jsonb: 1.0 and 1.00 are */
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

/*
 * True when two datums are the same bytes, which needs no conversion and no
 * detoasting.  False says nothing: 1.0 and 1.00 are different bytes.
 */
bool
AuditSameDatum(const AuditColumn *col, Datum a, Datum b)
{
	struct varlena *x,
			   *y;
	Size		len;

	if (col->typbyval)
		return a == b;
	if (col->typlen > 0)
		return memcmp(DatumGetPointer(a), DatumGetPointer(b), col->typlen) == 0;
	if (col->typlen == -2)
		return strcmp(DatumGetCString(a), DatumGetCString(b)) == 0;

	x = (struct varlena *) DatumGetPointer(a);
	y = (struct varlena *) DatumGetPointer(b);
	/* the same TOAST pointer, or the same bytes in the same form */
	len = VARSIZE_ANY(x);
	if (len == VARSIZE_ANY(y) && memcmp(x, y, len) == 0)
		return true;
	if (VARATT_IS_EXTENDED(x) || VARATT_IS_EXTENDED(y))
	{
		if (VARATT_IS_SHORT(x) && VARATT_IS_SHORT(y))
			return false;
		/* unlike lengths cannot be the same bytes, whatever their form */
		if (toast_raw_datum_size(a) != toast_raw_datum_size(b))
			return false;
		x = PG_DETOAST_DATUM_PACKED(a);
		y = PG_DETOAST_DATUM_PACKED(b);
		len = VARSIZE_ANY_EXHDR(x);
		return len == VARSIZE_ANY_EXHDR(y) && memcmp(VARDATA_ANY(x), VARDATA_ANY(y), len) == 0;
	}
	return false;
}

/* ---- objects ------------------------------------------------------------------- */

void
AuditBufferInit(AuditBuffer *buf, int size)
{
	buf->size = Max(size, 256);
	buf->data = palloc(buf->size);
	buf->len = VARHDRSZ;
}

static inline char *
reserve(AuditBuffer *buf, int len)
{
	char	   *at;

	if (unlikely(buf->len + (int64) len > buf->size))
	{
		int64		want = Max((int64) buf->size * 2, buf->len + (int64) len + 64);

		if (want > MaxAllocSize)
			want = Max(MaxAllocSize, buf->len + (int64) len);
		if (want > INT_MAX)
			want = INT_MAX;
		buf->data = repalloc(buf->data, want);
		buf->size = want;
	}
	at = buf->data + buf->len;
	buf->len += len;
	return at;
}

static inline void
pad_to_int(AuditBuffer *buf)
{
	int			pad = INTALIGN(buf->len) - buf->len;

	if (pad > 0)
		memset(reserve(buf, pad), 0, pad);
}

/* appends the bytes of a value; returns its JEntry, the length in it */
static inline uint32
append_value(AuditBuffer *buf, const AuditValue *value)
{
	int			start = buf->len;

	switch (value->kind)
	{
		case AUDIT_NULL:
			return JENTRY_ISNULL;
		case AUDIT_FALSE:
			return JENTRY_ISBOOL_FALSE;
		case AUDIT_TRUE:
			return JENTRY_ISBOOL_TRUE;
		case AUDIT_STRING:
			memcpy(reserve(buf, value->len), value->data, value->len);
			return JENTRY_ISSTRING | value->len;
		case AUDIT_NUMERIC:
			{
				char	   *at;

				pad_to_int(buf);
				at = reserve(buf, VARHDRSZ + value->len);
				SET_VARSIZE(at, VARHDRSZ + value->len);
				memcpy(at + VARHDRSZ, value->data, value->len);
				return JENTRY_ISNUMERIC | (buf->len - start);
			}
		case AUDIT_CONTAINER:
			pad_to_int(buf);
			memcpy(reserve(buf, value->len), value->data, value->len);
			return JENTRY_ISCONTAINER | (buf->len - start);
	}
	pg_unreachable();
}

static void
check_total(uint32 total)
{
	if (total > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the audited row is too large for jsonb"),
				 errdetail("Its values exceed the maximum of %d bytes.", JENTRY_OFFLENMASK),
				 errhint("Exclude the largest columns from the audit.")));
}

/* stores JEntry number i of an object whose JEntries start at entries */
static inline void
put_entry(char *entries, int i, uint32 entry, uint32 *total)
{
	*total += JBE_OFFLENFLD(entry);
	if (unlikely(*total > JENTRY_OFFLENMASK))
		check_total(*total);
	if (i % JB_OFFSET_STRIDE == 0)
		entry = (entry & JENTRY_TYPEMASK) | *total | JENTRY_HAS_OFF;
	memcpy(entries + i * sizeof(JEntry), &entry, sizeof(JEntry));
}

void
AuditPrepareKeys(AuditKeys *keys, AuditColumn **cols, int n)
{
	uint32		header = JB_FOBJECT | n;
	char	   *p;

	keys->n = n;
	keys->prefix_len = sizeof(uint32) + 2 * n * sizeof(JEntry);
	for (int i = 0; i < n; i++)
		keys->prefix_len += cols[i]->namelen;
	keys->prefix = palloc0(keys->prefix_len);
	keys->keys_total = 0;

	memcpy(keys->prefix, &header, sizeof(header));
	p = keys->prefix + sizeof(uint32) + 2 * n * sizeof(JEntry);
	for (int i = 0; i < n; i++)
	{
		put_entry(keys->prefix + sizeof(uint32), i, JENTRY_ISSTRING | cols[i]->namelen,
				  &keys->keys_total);
		memcpy(p, cols[i]->name, cols[i]->namelen);
		p += cols[i]->namelen;
	}
}

/* buf is empty; values follow in order through AuditAddValue */
void
AuditBeginObject(AuditBuffer *buf, const AuditKeys *keys)
{
	memcpy(reserve(buf, keys->prefix_len), keys->prefix, keys->prefix_len);
}

void
AuditAddValue(AuditBuffer *buf, const AuditKeys *keys, int i, uint32 *total,
			  const AuditValue *value)
{
	uint32		entry = append_value(buf, value);

	put_entry(buf->data + VARHDRSZ + sizeof(uint32), keys->n + i, entry, total);
}

Datum
AuditFinishObject(AuditBuffer *buf)
{
	SET_VARSIZE(buf->data, buf->len);
	return PointerGetDatum(buf->data);
}

/* {"new": ..., "old": ...}: both keys have three bytes, "new" sorts first */
static uint32
append_pair(AuditBuffer *buf, const AuditValue *oldval, const AuditValue *newval)
{
	int			outer = buf->len;
	int			entries;
	uint32		header = JB_FOBJECT | 2;
	uint32		total = 0;
	uint32		entry;

	pad_to_int(buf);
	memcpy(reserve(buf, sizeof(header)), &header, sizeof(header));
	entries = buf->len;
	reserve(buf, 4 * sizeof(JEntry));
	memcpy(reserve(buf, 6), "newold", 6);
	put_entry(buf->data + entries, 0, JENTRY_ISSTRING | 3, &total);
	put_entry(buf->data + entries, 1, JENTRY_ISSTRING | 3, &total);
	entry = append_value(buf, newval);
	put_entry(buf->data + entries, 2, entry, &total);
	entry = append_value(buf, oldval);
	put_entry(buf->data + entries, 3, entry, &total);
	return JENTRY_ISCONTAINER | (buf->len - outer);
}

/* {"column": {"new": ..., "old": ...}, ...}; cols are in key order */
Datum
AuditBuildDiff(AuditBuffer *buf, AuditColumn **cols, const AuditValue *olds,
			   const AuditValue *news, int n)
{
	uint32		header = JB_FOBJECT | n;
	uint32		total = 0;
	int			entries;

	memcpy(reserve(buf, sizeof(header)), &header, sizeof(header));
	entries = buf->len;
	reserve(buf, 2 * n * sizeof(JEntry));
	for (int i = 0; i < n; i++)
	{
		memcpy(reserve(buf, cols[i]->namelen), cols[i]->name, cols[i]->namelen);
		put_entry(buf->data + entries, i, JENTRY_ISSTRING | cols[i]->namelen, &total);
	}
	for (int i = 0; i < n; i++)
	{
		static const AuditValue hidden = {AUDIT_STRING, sizeof(redacted) - 1, redacted};
		bool		hide = cols[i]->redact;
		uint32		entry = append_pair(buf, hide ? &hidden : &olds[i], hide ? &hidden : &news[i]);

		put_entry(buf->data + entries, n + i, entry, &total);
	}
	return AuditFinishObject(buf);
}
