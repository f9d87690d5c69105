/*
 * audit_jsonb.c
 *	  jsonb objects written without sorting, and text that may be JSON.
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
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "audit/audit.h"

static const char redacted[] = "[redacted]";

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
