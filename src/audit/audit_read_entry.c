/*
 * audit_read_entry.c
 *	  Entries of the log as they are read back: their order, their key, what they changed.
 *
 * A query made of AuditEntrySelect() and a condition gives rows that AuditEntryRead() takes
 * apart.  What an entry points to is a copy in the current context, so entries of several
 * queries can be kept together.
 *
 * The key of a record is held as one JSON value for each of the table's key columns, in
 * the order of the key, whatever form the entry has it in: a number, an object with the
 * names that the columns have now or had when the key was other (audit_registry.c), or text.
 * AuditKeyText() makes of it the bytes by which keys are equal, AuditKeyJson() the text
 * that AuditAppendKey() takes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "audit/audit_asof.h"
#include "common/names.h"

/* the columns of the query, from 0 */
enum
{
	COL_WRITTEN, COL_CHANGED, COL_XACT, COL_SEQ, COL_ACTION, COL_OLD, COL_NEW, COL_FIELDS, COL_USER,
	COL_ID, COL_KEY, COL_KEYTEXT, COL_MOVED
};

/* ---- the query --------------------------------------------------------------------- */

/* Where a log has no numbers in transactions, its serial id is the order. */
static const char *
sequence_column(const AuditColumns *columns, bool *serial)
{
	*serial = false;
	if (columns->attnum[AUDIT_XACT_SEQ])
		return psprintf("%s::pg_catalog.int8", AuditReadColumn(columns, AUDIT_XACT_SEQ));
	*serial = true;
	if (get_attnum(columns->relid, "id") > 0)
		return "l.id::pg_catalog.int8";
	if (get_attnum(columns->relid, "al_id") > 0)
		return "l.al_id::pg_catalog.int8";
	*serial = false;
	return "NULL::pg_catalog.int8";
}

/*
 * Appends "SELECT ... FROM log l WHERE (the entries are this table's)".  A condition, an
 * order and a limit may follow.
 */
void
AuditEntrySelect(StringInfo q, const AuditScope *scope)
{
	const AuditColumns *columns = &scope->columns;
	bool		serial;
	const char *seq = sequence_column(columns, &serial);

	appendStringInfo(q, "SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s FROM %s l WHERE ",
					 AuditReadColumnAs(columns, AUDIT_WRITTEN_AT, TIMESTAMPTZOID),
					 AuditReadColumnAs(columns, AUDIT_CHANGED_AT, TIMESTAMPTZOID),
					 AuditReadColumnAs(columns, AUDIT_XACT_ID, XID8OID), seq,
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_OLD_DATA, JSONBOID),
					 AuditReadColumnAs(columns, AUDIT_NEW_DATA, JSONBOID),
					 AuditReadColumnAs(columns, AUDIT_CHANGED_FIELDS, JSONBOID),
					 AuditReadColumnAs(columns, AUDIT_USER_ID, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_RECORD_ID, INT8OID),
					 AuditReadColumnAs(columns, AUDIT_RECORD_KEY, JSONBOID),
					 AuditReadColumnAs(columns, AUDIT_KEY_TEXT, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_NEW_KEY, JSONBOID),
					 NamesQualified(columns->relid));
	AuditAppendScope(q, scope);
}

/* When an entry was written, as an expression: written_at, or changed_at where it is not known. */
const char *
AuditEntryTime(const AuditColumns *columns)
{
	if (columns->attnum[AUDIT_WRITTEN_AT] == 0)
		return AuditReadColumnAs(columns, AUDIT_CHANGED_AT, TIMESTAMPTZOID);
	return psprintf("COALESCE(%s, %s)", AuditReadColumn(columns, AUDIT_WRITTEN_AT),
					AuditReadColumnAs(columns, AUDIT_CHANGED_AT, TIMESTAMPTZOID));
}

/* Appends " AND written after $param", in a way that an index on time can be used for. */
void
AuditEntryAfter(StringInfo q, const AuditColumns *columns, int param)
{
	const char *changed = AuditReadColumnAs(columns, AUDIT_CHANGED_AT, TIMESTAMPTZOID);
	const char *written;

	if (columns->attnum[AUDIT_WRITTEN_AT] == 0)
	{
		appendStringInfo(q, " AND %s OPERATOR(pg_catalog.>) $%d", changed, param);
		return;
	}
	written = AuditReadColumn(columns, AUDIT_WRITTEN_AT);
	appendStringInfo(q, " AND (%s OPERATOR(pg_catalog.>) $%d OR (%s IS NULL AND %s OPERATOR(pg_catalog.>) $%d))",
					 written, param, written, changed, param);
}

/* ---- keys -------------------------------------------------------------------------- */

/* The names of the table's key columns; of what it had before, where the object has those. */
static bool
key_by_names(const AuditScope *scope, const AuditShape *shape, JsonbContainer *object, AuditValue *key)
{
	JsonbValue	json;
	ListCell   *lc;
	int			i;

	for (i = 0; i < shape->nkey; i++)
	{
		const AuditColumn *col = &shape->columns[shape->key[i]];

		if (getKeyJsonValueFromContainer(object, col->name, col->namelen, &json) == NULL)
			break;
		AuditValueOfJson(&json, &key[i]);
	}
	if (i == shape->nkey)
		return true;
	foreach(lc, scope->registered)
	{
		AuditRegistered *row = lfirst(lc);
		ListCell   *lk;

		foreach(lk, row->keys)
		{
			List	   *names = AuditParseColumnList(lfirst(lk));

			if (list_length(names) != shape->nkey)
				continue;
			for (i = 0; i < shape->nkey; i++)
			{
				const char *name = list_nth(names, i);

				if (getKeyJsonValueFromContainer(object, name, strlen(name), &json) == NULL)
					break;
				AuditValueOfJson(&json, &key[i]);
			}
			if (i == shape->nkey)
				return true;
		}
	}
	return false;
}

/*
 * The key that is this object, or NULL: it is that of another key.  The one value of an
 * object with one member is the key of a table that has one key column, whatever its name.
 * The values point into the object.
 */
AuditValue *
AuditKeyOfObject(const AuditScope *scope, const AuditShape *shape, Jsonb *object)
{
	AuditValue *key = palloc(sizeof(AuditValue) * Max(shape->nkey, 1));
	JsonbIterator *it;
	JsonbValue	json;

	if (shape->nkey == 0 || !JB_ROOT_IS_OBJECT(object))
		return NULL;
	if (key_by_names(scope, shape, &object->root, key))
		return key;
	if (shape->nkey > 1 || JB_ROOT_COUNT(object) != 1)
		return NULL;
	it = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&it, &json, true);
	(void) JsonbIteratorNext(&it, &json, true);
	(void) JsonbIteratorNext(&it, &json, true);
	AuditValueOfJson(&json, &key[0]);
	return key;
}

static AuditValue *
key_of_text(const AuditScope *scope, const AuditShape *shape, char *text)
{
	AuditValue *key;
	Datum		json;

	if (shape->nkey > 1)
		return AuditParseJson(text, &json) ? AuditKeyOfObject(scope, shape, DatumGetJsonbP(json)) : NULL;
	key = palloc0(sizeof(AuditValue));
	key->kind = AUDIT_STRING;
	key->data = text;
	key->len = strlen(text);
	return shape->nkey == 1 ? key : NULL;
}

static AuditValue *
key_of_integer(const AuditShape *shape, int64 id)
{
	AuditValue *key = palloc0(sizeof(AuditValue));
	struct varlena *num = (struct varlena *) int64_to_numeric(id);

	key->kind = AUDIT_NUMERIC;
	key->data = VARDATA(num);
	key->len = VARSIZE(num) - VARHDRSZ;
	return shape->nkey == 1 ? key : NULL;
}

/* Appends the bytes of one value: equal ones have equal bytes, 1.0 and "1" included. */
static void
append_key_value(StringInfo out, const AuditValue *value)
{
	struct varlena *num;

	switch (value->kind)
	{
		case AUDIT_NULL:
			appendStringInfoChar(out, 'n');
			break;
		case AUDIT_STRING:
			appendStringInfoChar(out, 'v');
			appendBinaryStringInfo(out, value->data, value->len);
			break;
		case AUDIT_NUMERIC:
			num = palloc(VARHDRSZ + value->len);
			SET_VARSIZE(num, VARHDRSZ + value->len);
			memcpy(VARDATA(num), value->data, value->len);
			appendStringInfo(out, "v%s", numeric_normalize((Numeric) num));
			pfree(num);
			break;
		default:
			appendStringInfo(out, "v%s", TextDatumGetCString(AuditValueToText(value)));
			break;
	}
}

/* Appends the bytes by which keys of the table are equal. */
void
AuditKeyText(StringInfo out, const AuditShape *shape, const AuditValue *key)
{
	if (shape->nkey == 1)
	{
		append_key_value(out, &key[0]);
		return;
	}
	for (int i = 0; i < shape->nkey; i++)
	{
		int			at = out->len;
		int			len;

		/* its length stands before each */
		appendBinaryStringInfo(out, (char *) &at, sizeof(at));
		append_key_value(out, &key[i]);
		len = out->len - at;
		memcpy(out->data + at, &len, sizeof(len));
	}
}

/* Have two keys of the table the same bytes? */
bool
AuditSameKey(const AuditShape *shape, const AuditValue *a, const AuditValue *b)
{
	StringInfoData x;
	StringInfoData y;

	initStringInfo(&x);
	initStringInfo(&y);
	AuditKeyText(&x, shape, a);
	AuditKeyText(&y, shape, b);
	return x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
}

/* The key as {"column": value, ...}, in the current context. */
char *
AuditKeyJson(const AuditShape *shape, const AuditValue *key)
{
	JsonbWriterKeys keys;
	JsonbWriter w;
	Jsonb	   *jb;
	AuditColumn *columns = palloc(sizeof(AuditColumn) * shape->nkey);
	int			n = 0;

	/* in the order of an object's keys */
	for (int i = 0; i < shape->nsorted; i++)
		for (int k = 0; k < shape->nkey; k++)
			if (shape->key[k] == shape->sorted[i])
				columns[n++] = shape->columns[shape->sorted[i]];
	AuditPrepareKeys(&keys, columns, n);
	AuditBeginValue(&w, 256);
	JsonbWriterPrepared(&w, &keys);
	for (int i = 0; i < n; i++)
		for (int k = 0; k < shape->nkey; k++)
			if (shape->key[k] == columns[i].attnum - 1)
				AuditWriteValue(&w, &key[k]);
	JsonbWriterClose(&w);
	jb = JsonbWriterEnd(&w);
	return JsonbToCString(NULL, &jb->root, VARSIZE(jb));
}

static void
append_json(StringInfo out, const AuditValue *value)
{
	if (value->kind == AUDIT_NULL)
		appendStringInfoString(out, "null");
	else if (value->kind == AUDIT_STRING)
		escape_json(out, pnstrdup(value->data, value->len));
	else
		appendStringInfoString(out, TextDatumGetCString(AuditValueToText(value)));
}

/*
 * The key as an object with the names that its columns have, and with those that they had
 * before: a list of char *, JSON that jsonb_in takes.
 */
List *
AuditKeyForms(const AuditScope *scope, const AuditShape *shape, const AuditValue *key)
{
	List	   *forms = list_make1(AuditKeyJson(shape, key));
	ListCell   *lc;

	foreach(lc, scope->registered)
	{
		AuditRegistered *row = lfirst(lc);
		ListCell   *lk;

		foreach(lk, row->keys)
		{
			List	   *names = AuditParseColumnList(lfirst(lk));
			StringInfoData json;

			if (list_length(names) != shape->nkey)
				continue;
			initStringInfo(&json);
			for (int i = 0; i < shape->nkey; i++)
			{
				appendStringInfoString(&json, i ? ", " : "{");
				escape_json(&json, list_nth(names, i));
				appendStringInfoString(&json, ": ");
				append_json(&json, &key[i]);
			}
			appendStringInfoChar(&json, '}');
			forms = lappend(forms, json.data);
		}
	}
	return forms;
}

/* The key as AuditAppendKey() takes it, in the current context. */
char *
AuditKeySearched(const AuditShape *shape, const AuditValue *key)
{
	StringInfoData text;

	if (shape->nkey > 1 || key[0].kind == AUDIT_NULL)
		return AuditKeyJson(shape, key);
	initStringInfo(&text);
	append_key_value(&text, &key[0]);
	/* behind the letter; what looks like an object would be taken for one */
	return text.data[1 + strspn(text.data + 1, " \t\r\n")] == '{' ? AuditKeyJson(shape, key) : text.data + 1;
}

/* ---- what an entry changed --------------------------------------------------------- */

static bool
member(Jsonb *object, const char *name, int len, AuditValue *value)
{
	JsonbValue	json;

	if (object == NULL || getKeyJsonValueFromContainer(&object->root, name, len, &json) == NULL)
		return false;
	AuditValueOfJson(&json, value);
	return true;
}

/* The old and the new value of a pair as the trigger logs it. */
static void
read_pair(const JsonbValue *json, AuditChange *change)
{
	JsonbContainer *pair = json->val.binary.data;
	JsonbValue	value;

	if (json->type != jbvBinary || !JsonContainerIsObject(pair))
		return;
	change->has_old = getKeyJsonValueFromContainer(pair, "old", 3, &value) != NULL;
	if (change->has_old)
		AuditValueOfJson(&value, &change->old);
	change->has_new = getKeyJsonValueFromContainer(pair, "new", 3, &value) != NULL;
	if (change->has_new)
		AuditValueOfJson(&value, &change->new);
}

/* The changed columns of a U.  An entry of other origin may have both images instead. */
static void
read_changes(AuditEntry *e)
{
	Jsonb	   *object = e->fields ? e->fields : e->old ? e->old : e->new;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	json;
	AuditChange *change = NULL;

	if (object == NULL)
		return;
	e->changes = palloc0(sizeof(AuditChange) * Max(JB_ROOT_COUNT(object), 1));
	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &json, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			change = &e->changes[e->nchanges++];
			change->name = json.val.string.val;
			change->len = json.val.string.len;
		}
		else if (token == WJB_VALUE && e->fields)
			read_pair(&json, change);
		else if (token == WJB_VALUE)
		{
			change->has_old = member(e->old, change->name, change->len, &change->old);
			change->has_new = member(e->new, change->name, change->len, &change->new);
		}
	}
}

/* The key that the record has since this U; NULL: the same. */
static AuditValue *
moved_key(const AuditScope *scope, const AuditShape *shape, const AuditEntry *e, Jsonb *moved)
{
	AuditValue *key = NULL;

	if (moved != NULL && JB_ROOT_IS_OBJECT(moved))
		return AuditKeyOfObject(scope, shape, moved);
	for (int i = 0; i < e->nchanges; i++)
	{
		const AuditChange *change = &e->changes[i];
		int			column = AuditShapeFind(shape, change->name, change->len);

		for (int k = 0; k < shape->nkey; k++)
		{
			if (shape->key[k] != column || !change->has_new || AuditIsRedacted(&change->new))
				continue;
			if (key == NULL)
			{
				key = palloc(sizeof(AuditValue) * shape->nkey);
				memcpy(key, e->key, sizeof(AuditValue) * shape->nkey);
			}
			key[k] = change->new;
		}
	}
	return key && AuditSameKey(shape, e->key, key) ? NULL : key;
}

/* ---- an entry ---------------------------------------------------------------------- */

/* A copy of an object; NULL for null, and for what is none. */
static Jsonb *
object_of(Datum value, bool isnull)
{
	Jsonb	   *jb;

	if (isnull)
		return NULL;
	jb = DatumGetJsonbPCopy(value);
	return JB_ROOT_IS_OBJECT(jb) ? jb : NULL;
}

/* 'I', 'U', 'D', 'T' or 'B', also of a log that has whole words. */
static char
action_of(Datum value, bool isnull)
{
	char	   *word = isnull ? NULL : TextDatumGetCString(value);

	return word ? pg_toupper((unsigned char) word[0]) : '\0';
}

/* A row of the query of AuditEntrySelect, copied into the current context. */
void
AuditEntryRead(const AuditScope *scope, const AuditShape *shape, const Datum *values, const bool *nulls,
			   AuditEntry *e)
{
	Jsonb	   *object;

	memset(e, 0, sizeof(*e));
	e->clocked = !nulls[COL_WRITTEN];
	e->changed_at = nulls[COL_CHANGED] ? 0 : DatumGetTimestampTz(values[COL_CHANGED]);
	e->at = e->clocked ? DatumGetTimestampTz(values[COL_WRITTEN]) : e->changed_at;
	e->has_xact = !nulls[COL_XACT];
	e->xact = e->has_xact ? DatumGetUInt64(values[COL_XACT]) : 0;
	e->seq = nulls[COL_SEQ] ? 0 : DatumGetInt64(values[COL_SEQ]);
	(void) sequence_column(&scope->columns, &e->serial);
	e->action = action_of(values[COL_ACTION], nulls[COL_ACTION]);
	e->old = object_of(values[COL_OLD], nulls[COL_OLD]);
	e->new = object_of(values[COL_NEW], nulls[COL_NEW]);
	e->fields = object_of(values[COL_FIELDS], nulls[COL_FIELDS]);
	if (!nulls[COL_USER])
		e->user_id = TextDatumGetCString(values[COL_USER]);
	if (e->action == 'U')
		read_changes(e);

	object = object_of(values[COL_KEY], nulls[COL_KEY]);
	if (object)
		e->key = AuditKeyOfObject(scope, shape, object);
	else if (!nulls[COL_ID])
		e->key = key_of_integer(shape, DatumGetInt64(values[COL_ID]));
	else if (!nulls[COL_KEYTEXT])
		e->key = key_of_text(scope, shape, TextDatumGetCString(values[COL_KEYTEXT]));
	if (e->key && e->action == 'U')
		e->moved = moved_key(scope, shape, e, object_of(values[COL_MOVED], nulls[COL_MOVED]));
}

/* Which of two entries was written first: less than, equal to, greater than 0. */
int
AuditEntryCompare(const AuditEntry *a, const AuditEntry *b)
{
	if (a->clocked != b->clocked)
		return a->clocked ? 1 : -1;
	if (a->clocked && a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if (!a->serial && a->changed_at != b->changed_at)
		return a->changed_at < b->changed_at ? -1 : 1;
	if (!a->serial && a->xact != b->xact)
		return a->xact < b->xact ? -1 : 1;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return 0;
}

/* Were both written by one command?  A command changes a row once. */
bool
AuditEntrySameCommand(const AuditEntry *a, const AuditEntry *b)
{
	return a->clocked && b->clocked && a->at == b->at && a->xact == b->xact;
}
