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
 * The key's text goes through the input function of its type as the owner of the
 * audited table: that table may belong to any role.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/usercode.h"

/* the condition as it is put together */
typedef struct KeyCondition
{
	StringInfo	q;
	const AuditScope *scope;
	List	   *done;			/* alternatives that are in it, as text */
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
equals_object(const AuditColumns *columns, AuditField field, const char *json)
{
	const char *column = AuditReadColumnAs(columns, field, JSONBOID);
	const char *literal = quote_literal_cstr(json);

	if (get_atttype(columns->relid, columns->attnum[field]) != JSONBOID)
		return psprintf("%s OPERATOR(pg_catalog.=) %s::pg_catalog.jsonb", column, literal);
	return psprintf("pg_catalog.jsonb_hash_extended(%s, 0) OPERATOR(pg_catalog.=) "
					"pg_catalog.jsonb_hash_extended(%s::pg_catalog.jsonb, 0) AND "
					"%s OPERATOR(pg_catalog.=) %s::pg_catalog.jsonb", column, literal, column, literal);
}

static void
match_object(KeyCondition *condition, const char *json)
{
	const AuditColumns *columns = &condition->scope->columns;

	if (columns->attnum[AUDIT_RECORD_KEY] != 0)
		add_alternative(condition, equals_object(columns, AUDIT_RECORD_KEY, json));
}

static void
match_integer(KeyCondition *condition, const char *key)
{
	const AuditColumns *columns = &condition->scope->columns;
	int64		id;

	if (columns->attnum[AUDIT_RECORD_ID] != 0 && AuditParseInteger(key, &id))
		add_alternative(condition, psprintf("%s OPERATOR(pg_catalog.=) '" INT64_FORMAT "'::pg_catalog.int8",
											AuditReadColumn(columns, AUDIT_RECORD_ID), id));
}

static void
match_text(KeyCondition *condition, const char *key)
{
	const AuditColumns *columns = &condition->scope->columns;

	if (columns->attnum[AUDIT_KEY_TEXT] != 0)
		add_alternative(condition, psprintf("%s OPERATOR(pg_catalog.=) %s",
											AuditReadColumn(columns, AUDIT_KEY_TEXT), quote_literal_cstr(key)));
}

/*
 * The value that the column has where its text is `key`.  For a domain, the base type
 * reads the text, so that no CHECK is computed.  A type that could run code of others all
 * the same is not asked: the text is taken as a JSON string.
 */
static void
read_value(Relation rel, Form_pg_attribute att, const char *key, AuditColumn *col, AuditValue *value)
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
		value->data = key;
		value->len = strlen(key);
	}
	else
	{
		getTypeInputInfo(basetype, &input, &param);
		AuditToValue(col, OidInputFunctionCall(input, pstrdup(key), param, typmod), false, value);
	}
	UserCodeLeave(&scope);
}

/* {"name": value}, with the value as the column's type writes it. */
static char *
column_object(Relation rel, const char *column, const char *name, const char *key)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
										  get_attnum(RelationGetRelid(rel), column) - 1);
	AuditColumn col;
	JsonbWriterKeys keys;
	JsonbWriter w;
	AuditValue	value;

	read_value(rel, att, key, &col, &value);
	col.name = pstrdup(name);
	col.namelen = strlen(name);
	AuditPrepareKeys(&keys, &col, 1);
	AuditBeginValue(&w, 256);
	JsonbWriterPrepared(&w, &keys);
	AuditWriteValue(&w, &value);
	JsonbWriterClose(&w);
	return jsonb_text(JsonbPGetDatum(JsonbWriterEnd(&w)));
}

static char *
normal_json(const char *json)
{
	return jsonb_text(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* {"name": "text"} */
static char *
string_object(const char *name, const char *text)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	escape_json(&json, name);
	appendStringInfoString(&json, ": ");
	escape_json(&json, text);
	appendStringInfoChar(&json, '}');
	return normal_json(json.data);
}

/*
 * Keys of earlier: a table whose key is one column now, and was another one, or of another
 * type, has entries of that form.
 */
static void
match_former_column(KeyCondition *condition, Relation rel, const char *now, const char *key)
{
	ListCell   *lc;

	match_integer(condition, key);
	match_object(condition, string_object(now, key));
	foreach(lc, condition->scope->registered)
	{
		AuditRegistered *row = lfirst(lc);
		ListCell   *keys;

		foreach(keys, row->keys)
		{
			List	   *names = AuditParseColumnList(lfirst(keys));

			if (list_length(names) != 1)
				continue;
			match_object(condition, column_object(rel, now, linitial(names), key));
			match_object(condition, string_object(linitial(names), key));
		}
	}
}

/* For a table that is gone, or has no key any more: by what the text looks like. */
static void
match_guess(KeyCondition *condition, const char *key, bool object)
{
	if (object)
		match_object(condition, normal_json(key));
	else
		match_integer(condition, key);
	match_text(condition, key);
	if (condition->done != NIL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid key of table \"%s\": %s", condition->scope->name, quote_literal_cstr(key)),
			 errdetail("The table is gone or has no key, and the text is neither an integer nor a JSON object."),
			 errhint("Name the column as well: '{\"column\": value}'.")));
}

static void
match_key(KeyCondition *condition, Relation rel, List *names, const char *key, bool object)
{
	const AuditColumns *columns = &condition->scope->columns;

	if (object && columns->attnum[AUDIT_RECORD_KEY])
	{
		match_object(condition, normal_json(key));
		return;
	}
	if (columns->attnum[AUDIT_KEY_TEXT])
	{
		match_text(condition, object && list_length(names) > 1 ? normal_json(key) : key);
		if (list_length(names) == 1 && AuditIntegerKey(rel, linitial(names)))
			match_integer(condition, key);
		return;
	}
	if (list_length(names) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key of table \"%s\" has several columns",
						RelationGetRelationName(rel)),
				 errdetail("\"%s\" is no JSON object.", key),
				 errhint("Give it as in record_key: '{\"column\": value, ...}'.")));
	if (columns->attnum[AUDIT_RECORD_KEY])
	{
		match_object(condition, column_object(rel, linitial(names), linitial(names), key));
		match_former_column(condition, rel, linitial(names), key);
		return;
	}
	match_integer(condition, key);
	if (condition->done == NIL)
		match_guess(condition, key, object);
}

/*
 * Appends a condition for the entries of one record of the table.  The log has the alias
 * l.  key: text of a key of one column, or a JSON object.  22023, 22P02 for what cannot be a
 * key of the table; errors of the type's input function.
 */
void
AuditAppendKey(StringInfo q, const AuditScope *scope, const char *key)
{
	bool		object = key[strspn(key, " \t\r\n")] == '{';
	KeyCondition condition = {q, scope, NIL};
	Relation	rel = OidIsValid(scope->relid) ? try_table_open(scope->relid, AccessShareLock) : NULL;

	appendStringInfoChar(q, '(');
	if (rel == NULL || (scope->args.key == NIL && AuditIndexKey(rel) == NIL))
		match_guess(&condition, key, object);
	else
		match_key(&condition, rel, AuditKeyNames(rel, scope->args.key), key, object);
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
	bool		object = key[strspn(key, " \t\r\n")] == '{';
	Relation	rel;
	List	   *names;

	if (scope->columns.attnum[AUDIT_NEW_KEY] == 0 || !OidIsValid(scope->relid))
		return false;
	rel = try_table_open(scope->relid, AccessShareLock);
	if (rel == NULL)
		return false;
	names = scope->args.key != NIL || AuditIndexKey(rel) != NIL ? AuditKeyNames(rel, scope->args.key) : NIL;
	if (list_length(names) == 1 && !object)
		key = column_object(rel, linitial(names), linitial(names), key);
	table_close(rel, NoLock);
	if (!object && list_length(names) != 1)
		return false;
	appendStringInfo(q, "(%s)", equals_object(&scope->columns, AUDIT_NEW_KEY, object ? normal_json(key) : key));
	return true;
}
