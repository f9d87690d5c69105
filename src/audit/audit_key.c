/*
 * audit_key.c
 *	  A record's key, given as text, as a condition on the log.
 *
 * An entry has the key of its record in record_id (one integer), in record_key (an object)
 * or, in a log of one's own, as text.  Which one it is, and under which names of columns,
 * is what the table's key was when the entry was written.  So the condition has an
 * alternative for each form that the key may have had: as it is now, as the registry
 * has it from earlier calls of audit_enable(), and for one column as integer and as text.
 * Each is found by an index of the log.
 *
 * The caller gives the text of a key of one column, or a JSON object with a value for each
 * column.  Each value goes through the input function of its column's type, and is then
 * what the trigger writes: a number may be given as a string, a timestamp with a blank,
 * a char(5) without its blanks.  An object within the object, or an array, is taken as it
 * is: so does the log have columns of such types.  Text that looks like an object, but
 * does not name the column of the key, is the text of the key (int[], hstore, jsonb).
 *
 * The input function runs as the owner of the audited table: that table may belong to
 * any role.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/usercode.h"

/* the condition as it is put together */
typedef struct KeyCondition
{
	StringInfo	q;
	const AuditScope *scope;
	List	   *done;			/* alternatives that are in it, as text */
	AuditParams *params;		/* NULL: values are literals */
} KeyCondition;

static void
add_alternative(KeyCondition *condition, const char *alternative)
{
	ListCell   *lc;

	foreach(lc, condition->done)
	{
		if (strcmp(lfirst(lc), alternative) == 0)
			return;
	}
	appendStringInfo(condition->q, "%s(%s)", condition->done ? " OR " : "", alternative);
	condition->done = lappend(condition->done, pstrdup(alternative));
}

static char *
jsonb_text(Datum json)
{
	Jsonb	   *jb = DatumGetJsonbP(json);

	return JsonbToCString(NULL, &jb->root, VARSIZE(jb));
}

/* A column is this object.  One of jsonb is found by the expression of the log's index. */
static const char *
equals_object(const AuditColumns *columns, AuditField field, const char *json, AuditParams *params)
{
	const char *column = AuditReadColumnAs(columns, field, JSONBOID);
	const char *value = AuditParam(params, JSONBOID, json);

	if (get_atttype(columns->relid, columns->attnum[field]) != JSONBOID)
		return psprintf("%s OPERATOR(pg_catalog.=) %s", column, value);
	return psprintf("pg_catalog.jsonb_hash_extended(%s, 0) OPERATOR(pg_catalog.=) "
					"pg_catalog.jsonb_hash_extended(%s, 0) AND "
					"%s OPERATOR(pg_catalog.=) %s", column, value, column, value);
}

static void
match_object(KeyCondition *condition, const char *json)
{
	const AuditColumns *columns = &condition->scope->columns;

	if (columns->attnum[AUDIT_RECORD_KEY] != 0)
		add_alternative(condition, equals_object(columns, AUDIT_RECORD_KEY, json, condition->params));
}

static void
match_integer(KeyCondition *condition, const char *key)
{
	const AuditColumns *columns = &condition->scope->columns;
	int64		id;

	if (columns->attnum[AUDIT_RECORD_ID] != 0 && AuditParseInteger(key, &id))
		add_alternative(condition, psprintf("%s OPERATOR(pg_catalog.=) %s", AuditReadColumn(columns, AUDIT_RECORD_ID),
											AuditParam(condition->params, INT8OID, psprintf(INT64_FORMAT, id))));
}

/* A literal takes the type of the column, which a parameter has to have. */
static void
match_text(KeyCondition *condition, const char *key)
{
	const AuditColumns *columns = &condition->scope->columns;
	Oid			type;
	bool		is_text;

	if (columns->attnum[AUDIT_KEY_TEXT] == 0)
		return;
	type = get_atttype(columns->relid, columns->attnum[AUDIT_KEY_TEXT]);
	is_text = type == TEXTOID || type == VARCHAROID;
	add_alternative(condition, psprintf("%s OPERATOR(pg_catalog.=) %s", AuditReadColumn(columns, AUDIT_KEY_TEXT),
										is_text && condition->params ? AuditParam(condition->params, TEXTOID, key) :
										quote_literal_cstr(key)));
}

/* ---- values -------------------------------------------------------------------------- */

/* the value of one column of the key */
typedef struct KeyPart
{
	const char *column;			/* the column's present name */
	const char *text;			/* for the input function; NULL: there is none */
	const char *json;			/* as it was given in JSON; NULL: it was not */
} KeyPart;

/* An error of a type's input function: of which column? */
static void
name_column(void *arg)
{
	const KeyPart *part = arg;

	errcontext("key column \"%s\"", part->column);
	errhint("Give the key as the text of its column, or as a JSON object with all columns of the key: '{\"column\": value}'.");
}

/*
 * The value that the column has where its text is `key`.  For a domain, the base type
 * reads the text, so that no CHECK is computed.  A type that could run code of others all
 * the same is not asked: the text is taken as a JSON string.
 */
static void
read_value(Relation rel, Form_pg_attribute att, const KeyPart *part, AuditColumn *col, AuditValue *value)
{
	int32		typmod = att->atttypmod;
	Oid			basetype = getBaseTypeAndTypmod(att->atttypid, &typmod);
	Oid			input;
	Oid			param;
	UserCodeScope scope;

	AuditInitColumn(col, att, rel->rd_rel->relowner, CurrentMemoryContext);
	UserCodeEnter(&scope, rel->rd_rel->relowner);
	if (UserCodeInType(basetype, GetUserId()))
	{
		value->kind = AUDIT_STRING;
		value->data = part->text;
		value->len = strlen(part->text);
	}
	else
	{
		ErrorContextCallback context = {error_context_stack, name_column, unconstify(KeyPart *, part)};

		error_context_stack = &context;
		getTypeInputInfo(basetype, &input, &param);
		AuditToValue(col, OidInputFunctionCall(input, pstrdup(part->text), param, typmod), false, value);
		error_context_stack = context.previous;
	}
	UserCodeLeave(&scope);
}

static Form_pg_attribute
attribute_of(Relation rel, const char *column)
{
	return TupleDescAttr(RelationGetDescr(rel), get_attnum(RelationGetRelid(rel), column) - 1);
}

static char *
normal_json(const char *json)
{
	return jsonb_text(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* {"name": value}, the value as the column's type writes it. */
static char *
typed_pair(Relation rel, const KeyPart *part, const char *name)
{
	AuditColumn col;
	JsonbWriterKeys keys;
	JsonbWriter w;
	AuditValue	value;

	read_value(rel, attribute_of(rel, part->column), part, &col, &value);
	col.name = pstrdup(name);
	col.namelen = strlen(name);
	AuditPrepareKeys(&keys, &col, 1);
	AuditBeginValue(&w, 256);
	JsonbWriterPrepared(&w, &keys);
	AuditWriteValue(&w, &value);
	JsonbWriterClose(&w);
	return jsonb_text(JsonbPGetDatum(JsonbWriterEnd(&w)));
}

/* {"name": json} */
static char *
json_pair(const char *name, const char *json)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	escape_json(&text, name);
	appendStringInfo(&text, ": %s}", json);
	return text.data;
}

static char *
json_string(const char *text)
{
	StringInfoData json;

	initStringInfo(&json);
	escape_json(&json, text);
	return json.data;
}

/*
 * The object that the trigger writes for these values, under these names of the columns.
 * typed: as the columns' types write them; else as they were given, text as a string.
 */
static char *
key_object(Relation rel, List *parts, List *names, bool typed)
{
	StringInfoData json;
	ListCell   *lc;
	ListCell   *name;

	initStringInfo(&json);
	forboth(lc, parts, name, names)
	{
		const KeyPart *part = lfirst(lc);
		char	   *pair;

		if (typed && part->text != NULL)
			pair = typed_pair(rel, part, lfirst(name));
		else
			pair = json_pair(lfirst(name), part->json ? part->json : json_string(part->text));
		/* the pair without its braces */
		pair[strlen(pair) - 1] = '\0';
		appendStringInfo(&json, "%c%s", json.len == 0 ? '{' : ',', pair + 1);
	}
	appendStringInfoChar(&json, '}');
	return normal_json(json.data);
}

/* ---- what was given ------------------------------------------------------------------ */

/* The text as a JSON object; NULL if it is none. */
static Jsonb *
parse_object(const char *key)
{
	Datum		json;
	Jsonb	   *jb;

	if (key[strspn(key, " \t\r\n")] != '{' || !AuditParseJson(key, &json))
		return NULL;
	jb = DatumGetJsonbP(json);
	return JB_ROOT_IS_OBJECT(jb) ? jb : NULL;
}

/*
 * The text of a JSON scalar as ->> shows it, but 1.0 as 1, which integers can read; NULL for
 * null, for an object or an array.
 */
static char *
scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   DirectFunctionCall1(numeric_trim_scale,
																		   NumericGetDatum(value->val.numeric))));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

/* The value that the object has under a name, for a column; false if it has none. */
static bool
part_of(Relation rel, Jsonb *object, const char *name, const char *column, KeyPart *part)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&object->root, name, strlen(name), NULL);
	Oid			type = getBaseType(attribute_of(rel, column)->atttypid);

	if (value == NULL)
		return false;
	part->column = column;
	part->text = scalar_text(value);
	part->json = jsonb_text(JsonbPGetDatum(JsonbValueToJsonb(value)));
	if (type == JSONBOID || type == JSONOID)
		part->text = part->json;
	return true;
}

/* The values that an object has under these names, for the columns in that order; NIL if it has others. */
static List *
parts_of(Relation rel, Jsonb *object, List *names, List *columns)
{
	List	   *parts = NIL;
	ListCell   *name;
	ListCell   *column;

	if (JB_ROOT_COUNT(object) != list_length(names))
		return NIL;
	forboth(name, names, column, columns)
	{
		KeyPart    *part = palloc(sizeof(KeyPart));

		if (!part_of(rel, object, lfirst(name), lfirst(column), part))
			return NIL;
		parts = lappend(parts, part);
	}
	return parts;
}

/*
 * Were these names, which the registry has, those of the same columns?  Each has the name
 * that it has now, or one that no column of the table has any more.
 */
static bool
are_former_names(Relation rel, List *former, List *names)
{
	ListCell   *lc;
	ListCell   *name;

	if (list_length(former) != list_length(names))
		return false;
	forboth(lc, former, name, names)
	{
		if (strcmp(lfirst(lc), lfirst(name)) != 0 && get_attnum(RelationGetRelid(rel), lfirst(lc)) > 0)
			return false;
	}
	return true;
}

/* All names that the columns of the key have and had: lists of char *, the present ones first. */
static List *
all_names(const AuditScope *scope, Relation rel, List *names)
{
	List	   *all = list_make1(names);
	ListCell   *lc;
	ListCell   *keys;

	foreach(lc, scope->registered)
	{
		foreach(keys, ((AuditRegistered *) lfirst(lc))->keys)
		{
			List	   *former = AuditParseColumnList(lfirst(keys));

			if (are_former_names(rel, former, names))
				all = lappend(all, former);
		}
	}
	return all;
}

/*
 * The key that was given, a list of KeyPart in the order of names; NIL if the text is none:
 * several columns, and the text is no object that has them all.
 */
static List *
read_key(Relation rel, List *names, List *all, const char *key)
{
	Jsonb	   *object = parse_object(key);
	KeyPart    *part;
	ListCell   *lc;

	foreach(lc, object ? all : NIL)
	{
		List	   *parts = parts_of(rel, object, lfirst(lc), names);

		if (parts != NIL)
			return parts;
	}
	if (list_length(names) > 1)
		return NIL;
	part = palloc0(sizeof(KeyPart));
	part->column = linitial(names);
	part->text = key;
	return list_make1(part);
}

/* ---- the condition ------------------------------------------------------------------- */

/*
 * For a table that is gone, or has no key any more: by what the text looks like, and by the
 * names that its columns had.
 */
static void
match_guess(KeyCondition *condition, const char *key)
{
	Datum		json;
	ListCell   *lc;
	ListCell   *keys;

	if (parse_object(key) != NULL)
		match_object(condition, normal_json(key));
	match_integer(condition, key);
	match_text(condition, key);
	foreach(lc, condition->scope->registered)
	{
		foreach(keys, ((AuditRegistered *) lfirst(lc))->keys)
		{
			List	   *names = AuditParseColumnList(lfirst(keys));

			if (list_length(names) != 1)
				continue;
			match_object(condition, normal_json(json_pair(linitial(names), json_string(key))));
			if (AuditParseJson(key, &json))
				match_object(condition, normal_json(json_pair(linitial(names), key)));
		}
	}
	if (condition->done != NIL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid key of table \"%s\": %s", condition->scope->name, quote_literal_cstr(key)),
			 errdetail("The table is gone or has no key, and the text is neither an integer nor a JSON object."),
			 errhint("Name the column as well: '{\"column\": value}'.")));
}

/* An object of one integer: the key may have been that column alone, and is in record_id then. */
static void
match_only_value(KeyCondition *condition, const char *key)
{
	Jsonb	   *object = parse_object(key);
	JsonbIterator *it;
	JsonbValue	value;
	char	   *text;

	if (JB_ROOT_COUNT(object) != 1)
		return;
	it = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&it, &value, true);
	(void) JsonbIteratorNext(&it, &value, true);
	(void) JsonbIteratorNext(&it, &value, true);
	text = scalar_text(&value);
	if (text != NULL)
		match_integer(condition, text);
}

/*
 * A NOTICE when the table's key had another number of columns once: which of its present
 * records such an entry belongs to, nobody knows.
 */
static void
tell_other_keys(const AuditScope *scope, Relation rel, List *names)
{
	ListCell   *lc;
	ListCell   *keys;

	foreach(lc, scope->registered)
	{
		foreach(keys, ((AuditRegistered *) lfirst(lc))->keys)
		{
			List	   *former = AuditParseColumnList(lfirst(keys));

			if (list_length(former) == list_length(names))
				continue;
			ereport(NOTICE,
					(errmsg("the key of table \"%s\" was (%s) once", RelationGetRelationName(rel), (char *) lfirst(keys)),
					 errdetail("Entries of that time are not shown."),
					 errhint("Give that key to see them: '{\"column\": value, ...}'.")));
			return;
		}
	}
}

/* An object for a key of several columns that has other names than those: as it is. */
static void
match_other_object(KeyCondition *condition, Relation rel, List *names, const char *key)
{
	if (parse_object(key) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key of table \"%s\" has several columns",
						RelationGetRelationName(rel)),
				 errdetail("\"%s\" is no JSON object.", key),
				 errhint("Give it as in record_key: '{\"column\": value, ...}'.")));
	match_object(condition, normal_json(key));
	match_text(condition, normal_json(key));
	match_only_value(condition, key);
	ereport(NOTICE,
			(errmsg("the key of table \"%s\" has the columns %s", RelationGetRelationName(rel), AuditColumnList(names)),
			 errdetail("\"%s\" has others; it is looked for as it is.", key)));
}

/* The alternatives for a key of one column, whose text is known. */
static void
match_column(KeyCondition *condition, Relation rel, const KeyPart *part)
{
	AuditColumn col;
	AuditValue	value;

	match_integer(condition, part->text);
	if (condition->scope->columns.attnum[AUDIT_KEY_TEXT] == 0)
		return;
	match_text(condition, part->text);
	read_value(rel, attribute_of(rel, part->column), part, &col, &value);
	if (value.kind != AUDIT_NULL)
		match_text(condition, TextDatumGetCString(AuditValueToText(&value)));
}

static void
match_key(KeyCondition *condition, Relation rel, List *names, const char *key)
{
	const AuditColumns *columns = &condition->scope->columns;
	List	   *all = all_names(condition->scope, rel, names);
	List	   *parts = read_key(rel, names, all, key);
	ListCell   *lc;

	if (parts == NIL)
	{
		match_other_object(condition, rel, names, key);
		return;
	}
	foreach(lc, columns->attnum[AUDIT_RECORD_KEY] != 0 ? all : NIL)
	{
		match_object(condition, key_object(rel, parts, lfirst(lc), true));
		/* of a time when the columns had other types */
		match_object(condition, key_object(rel, parts, lfirst(lc), false));
	}
	if (list_length(names) > 1)
		match_text(condition, key_object(rel, parts, names, true));
	else if (((KeyPart *) linitial(parts))->text != NULL)
		match_column(condition, rel, linitial(parts));
	if (condition->done == NIL)
		match_guess(condition, key);
	tell_other_keys(condition->scope, rel, names);
}

/*
 * The names of the table's key columns; NIL if it has no key.  rel: the table, NULL if it is
 * gone.
 */
static List *
key_names(const AuditScope *scope, Relation rel)
{
	if (rel == NULL || (scope->args.key == NIL && AuditIndexKey(rel) == NIL))
		return NIL;
	return AuditKeyNames(rel, scope->args.key);
}

static Relation
open_table(const AuditScope *scope)
{
	return OidIsValid(scope->relid) ? try_table_open(scope->relid, AccessShareLock) : NULL;
}

/*
 * Appends a condition for the entries of one record of the table.  The log has the alias
 * l.  key: text of a key of one column, or a JSON object.  params get its values; NULL: they
 * are literals.  22023, 22P02 for what cannot be a key of the table; errors of the type's
 * input function, with a hint.
 */
void
AuditAppendKey(StringInfo q, const AuditScope *scope, const char *key, AuditParams *params)
{
	KeyCondition condition = {q, scope, NIL, params};
	Relation	rel = open_table(scope);
	List	   *names = key_names(scope, rel);

	appendStringInfoChar(q, '(');
	if (names == NIL)
		match_guess(&condition, key);
	else
		match_key(&condition, rel, names, key);
	if (rel != NULL)
		table_close(rel, NoLock);
	appendStringInfoChar(q, ')');
}

/*
 * Appends a condition for the entries that gave a record of the table this key, by an UPDATE
 * of it; false, and nothing, where the log or the table cannot tell.  key as above.
 */
bool
AuditAppendNewKey(StringInfo q, const AuditScope *scope, const char *key)
{
	Relation	rel = scope->columns.attnum[AUDIT_NEW_KEY] != 0 ? open_table(scope) : NULL;
	List	   *names = key_names(scope, rel);
	List	   *parts = names ? read_key(rel, names, all_names(scope, rel, names), key) : NIL;

	if (parts != NIL)
		appendStringInfo(q, "(%s)", equals_object(&scope->columns, AUDIT_NEW_KEY, key_object(rel, parts, names, true), NULL));
	if (rel != NULL)
		table_close(rel, NoLock);
	return parts != NIL;
}

/*
 * A key column whose type or collation takes values for equal that are written in other ways,
 * as citext does: the log is searched for the one that was given.  NULL if there is none.
 */
const char *
AuditKeyFolds(const AuditScope *scope)
{
	Relation	rel = open_table(scope);
	const char *found = NULL;
	ListCell   *lc;

	foreach(lc, key_names(scope, rel))
	{
		Form_pg_attribute att = attribute_of(rel, lfirst(lc));
		Oid			type = getBaseType(att->atttypid);
		char		category;
		bool		preferred;

		get_type_category_preferred(type, &category, &preferred);
		if (category == TYPCATEGORY_STRING &&
			(type >= FirstNormalObjectId ||
			 (OidIsValid(att->attcollation) && !get_collation_isdeterministic(att->attcollation))))
			found = lfirst(lc);
	}
	if (rel != NULL)
		table_close(rel, NoLock);
	return found;
}
