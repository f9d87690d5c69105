/*
 * audit_jsonb.c
 *	  Values and keys of the audit as jsonb, and text that may be JSON.
 *
 * How jsonb is laid out is known to common/jsonbwriter.c.  The keys of a table's rows
 * are always the same, so they are prepared once; a row is a copy of them with the
 * values behind.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "audit/audit.h"

/* what is logged in place of a value of a redacted column */
const AuditValue AuditRedacted = {AUDIT_STRING, sizeof("[redacted]") - 1, "[redacted]"};

/* Is this what is logged in place of a value of a redacted column? */
bool
AuditIsRedacted(const AuditValue *value)
{
	return value->kind == AUDIT_STRING && value->len == AuditRedacted.len &&
		memcmp(value->data, AuditRedacted.data, value->len) == 0;
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

/* ---- values and jsonb ---------------------------------------------------------- */

/* A value within a jsonb, which it goes on pointing into. */
void
AuditValueOfJson(const JsonbValue *json, AuditValue *out)
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

/* The value as a part of a jsonb, pointing into it but for numbers. */
void
AuditValueToJson(const AuditValue *value, JsonbValue *json)
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

/* The value as a jsonb of its own, in the current context; NULL for null. */
Jsonb *
AuditJsonbOfValue(const AuditValue *value)
{
	JsonbValue	json;

	if (value->kind == AUDIT_NULL)
		return NULL;
	AuditValueToJson(value, &json);
	return JsonbValueToJsonb(&json);
}

/* ---- text that may be JSON ---------------------------------------------------- */

/*
 * Text as jsonb, in the current context; false when it is no JSON, or none that jsonb can
 * hold.  Other errors (a cancelled query, no memory) are raised.
 *
 * jsonb_in allocates and computes, nothing else, so its complaints about the text may
 * be caught without a subtransaction.  The soft errors of PostgreSQL 16 are no substitute:
 * nesting that is too deep and objects that are too large are raised all the same.  A
 * database whose encoding has no conversion calls an escape sequence a missing feature.
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

/* Text as a jsonb that is one string, in the current context. */
Datum
AuditJsonString(const char *text)
{
	StringInfoData json;

	initStringInfo(&json);
	escape_json(&json, text);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* ---- objects ------------------------------------------------------------------- */

static const char hint[] = "Exclude the largest columns from the audit.";

/* Begins a value in a buffer of so many bytes, which grows, in the current context. */
void
AuditBeginValue(JsonbWriter *w, int size)
{
	JsonbWriterBegin(w, size, hint);
}

/* The keys of an object whose values are these columns, laid out in the current context. */
void
AuditPrepareKeys(JsonbWriterKeys *keys, const AuditColumn *cols, int n)
{
	JsonbWriterKey *names = palloc(sizeof(JsonbWriterKey) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		names[i].name = cols[i].name;
		names[i].length = cols[i].namelen;
	}
	JsonbWriterPrepare(keys, names, n);
	pfree(names);
}

/* The next value of the container that is open. */
void
AuditWriteValue(JsonbWriter *w, const AuditValue *value)
{
	switch (value->kind)
	{
		case AUDIT_NULL:
			JsonbWriterLiteral(w, JENTRY_ISNULL);
			break;
		case AUDIT_FALSE:
			JsonbWriterLiteral(w, JENTRY_ISBOOL_FALSE);
			break;
		case AUDIT_TRUE:
			JsonbWriterLiteral(w, JENTRY_ISBOOL_TRUE);
			break;
		case AUDIT_STRING:
			JsonbWriterString(w, value->data, value->len);
			break;
		case AUDIT_NUMERIC:
			JsonbWriterNumeric(w, value->data, value->len);
			break;
		case AUDIT_CONTAINER:
			JsonbWriterContainer(w, value->data, value->len);
			break;
	}
}

/* The keys of what is logged of a changed column. */
void
AuditPreparePair(JsonbWriterKeys *pair)
{
	static const JsonbWriterKey names[] = {JSONB_KEY("new"), JSONB_KEY("old")};

	JsonbWriterPrepare(pair, names, lengthof(names));
}

/*
 * {"column": {"new": ..., "old": ...}, ...} of n columns, which are in the order of an
 * object's keys.  pair: see above.  The result is in the current context.
 */
Datum
AuditBuildDiff(const JsonbWriterKeys *pair, AuditColumn **cols, const AuditValue *olds,
			   const AuditValue *news, int n)
{
	JsonbWriter w;

	AuditBeginValue(&w, 512);
	JsonbWriterOpen(&w, n);
	for (int i = 0; i < n; i++)
		JsonbWriterString(&w, cols[i]->name, cols[i]->namelen);
	for (int i = 0; i < n; i++)
	{
		bool		hide = cols[i]->redact;

		JsonbWriterPrepared(&w, pair);
		AuditWriteValue(&w, hide ? &AuditRedacted : &news[i]);
		AuditWriteValue(&w, hide ? &AuditRedacted : &olds[i]);
		JsonbWriterClose(&w);
	}
	JsonbWriterClose(&w);
	return JsonbPGetDatum(JsonbWriterEnd(&w));
}
