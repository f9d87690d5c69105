/*
 * audit_history.c
 *	  audit_history: the changes of one record, newest first.
 *
 * The query is written for the log that the table's trigger names, with the
 * columns that this log has, so that the planner sees constants and an index.
 * It needs the caller's rights on the log, and runs as the log's owner unless the caller
 * trusts that role: planning computes what is constant in the log's index expressions and
 * statistics.  The key's text goes through the input function of its type as the owner
 * of the audited table, for the same reason: that table may belong to any role.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/varlena.h"

#include "audit/audit.h"
#include "common/names.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_history);

/* what a key given as text is compared with */
typedef struct KeyMatch
{
	AuditField	field;
	Oid			typid;
	Datum		value;
} KeyMatch;

static KeyMatch
json_match(const char *json)
{
	KeyMatch	match = {AUDIT_RECORD_KEY, JSONBOID};

	match.value = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	return match;
}

/* False: the text is no bigint, so not what the trigger puts into record_id. */
static bool
integer_match(const char *key, KeyMatch *match)
{
	int64		id;

	if (!AuditParseInteger(key, &id))
		return false;
	match->field = AUDIT_RECORD_ID;
	match->typid = INT8OID;
	match->value = Int64GetDatum(id);
	return true;
}

static KeyMatch
text_match(const char *key)
{
	KeyMatch	match = {AUDIT_KEY_TEXT, TEXTOID};

	match.value = CStringGetTextDatum(key);
	return match;
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

/* {"column": value}, with the value as the column's type writes it. */
static KeyMatch
column_match(Relation rel, const char *column, const char *key)
{
	KeyMatch	match = {AUDIT_RECORD_KEY, JSONBOID};
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
										  get_attnum(RelationGetRelid(rel), column) - 1);
	AuditColumn col;
	JsonbWriterKeys keys;
	JsonbWriter w;
	AuditValue	value;

	read_value(rel, att, key, &col, &value);
	AuditPrepareKeys(&keys, &col, 1);
	AuditBeginValue(&w, 256);
	JsonbWriterPrepared(&w, &keys);
	AuditWriteValue(&w, &value);
	JsonbWriterClose(&w);
	match.value = JsonbPGetDatum(JsonbWriterEnd(&w));
	return match;
}

/* The text of a key of several columns as the trigger writes it. */
static const char *
normal_json(const char *json)
{
	Jsonb	   *jb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));

	return JsonbToCString(NULL, &jb->root, VARSIZE(jb));
}

/* For a table that is gone, or has no key any more: by what the text looks like. */
static KeyMatch
guess_key(const char *name, const AuditColumns *columns, const char *key, bool object)
{
	KeyMatch	match;

	if (object && columns->attnum[AUDIT_RECORD_KEY])
		return json_match(key);
	if (columns->attnum[AUDIT_RECORD_ID] && integer_match(key, &match))
		return match;
	if (columns->attnum[AUDIT_KEY_TEXT])
		return text_match(key);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid key of table \"%s\": %s", name, quote_literal_cstr(key)),
			 errdetail("The table is gone or has no key, and the text is neither an integer nor a JSON object."),
			 errhint("Name the column as well: '{\"column\": value}'.")));
	pg_unreachable();
}

static KeyMatch
match_key(Relation rel, List *names, const AuditColumns *columns, const char *key, bool object)
{
	bool		integer = list_length(names) == 1 && AuditIntegerKey(rel, linitial(names));
	KeyMatch	match;

	if (object && columns->attnum[AUDIT_RECORD_KEY])
		return json_match(key);
	if (integer && columns->attnum[AUDIT_RECORD_ID] && integer_match(key, &match))
		return match;
	if (columns->attnum[AUDIT_KEY_TEXT])
		return text_match(object && list_length(names) > 1 ? normal_json(key) : key);
	if (list_length(names) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key of table \"%s\" has several columns",
						RelationGetRelationName(rel)),
				 errdetail("\"%s\" is no JSON object.", key),
				 errhint("Give it as in record_key: '{\"column\": value, ...}'.")));
	if (columns->attnum[AUDIT_RECORD_KEY])
		return column_match(rel, linitial(names), key);
	if (!integer_match(key, &match))
		return guess_key(RelationGetRelationName(rel), columns, key, object);
	return match;
}

static KeyMatch
find_key(Oid relid, const char *name, const AuditArgs *args, const AuditColumns *columns, const char *key)
{
	bool		object = key[strspn(key, " \t\r\n")] == '{';
	KeyMatch	match;
	Relation	rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;

	if (rel == NULL)
		return guess_key(name, columns, key, object);
	if (args->key == NIL && AuditIndexKey(rel) == NIL)
		match = guess_key(name, columns, key, object);
	else
		match = match_key(rel, AuditKeyNames(rel, args->key), columns, key, object);
	table_close(rel, NoLock);
	return match;
}

/* ---- the query -------------------------------------------------------------------------- */

static const char *
column(const AuditColumns *columns, AuditField field)
{
	return psprintf("l.%s", quote_identifier(get_attname(columns->relid, columns->attnum[field], false)));
}

/*
 * A column as the type that the result has, through text where there is no cast, or
 * where a cast could be a function of a role that is not trusted.
 */
static const char *
column_as(const AuditColumns *columns, AuditField field, Oid typid)
{
	const char *type = format_type_be_qualified(typid);
	Oid			coltype;

	if (columns->attnum[field] == 0)
		return psprintf("NULL::%s", type);
	coltype = get_atttype(columns->relid, columns->attnum[field]);
	if (coltype == typid)
		return column(columns, field);
	if (!UserCodeTypeIsTrusted(getBaseType(coltype), GetUserId()))
		return psprintf("pg_catalog.format('%%s', %s)::%s", column(columns, field), type);
	if (typid == XID8OID)
		return psprintf("%s::pg_catalog.text::%s", column(columns, field), type);
	return psprintf("%s::%s", column(columns, field), type);
}

/* jsonb_each of a field.  A row of other origin may have no object there, but a JSON null. */
static const char *
each_of(const AuditColumns *columns, AuditField field)
{
	const char *value = column_as(columns, field, JSONBOID);

	return psprintf("pg_catalog.jsonb_each(CASE WHEN pg_catalog.jsonb_typeof(%s) "
					"OPERATOR(pg_catalog.=) 'object' THEN %s END)", value, value);
}

/*
 * The query.  $1 is the name of the table, $2 its schema or NULL, $3 the key, in the form
 * of key_field.
 */
static char *
write_query(const AuditColumns *columns, AuditField key_field)
{
	Oid			key_type = get_atttype(columns->relid, columns->attnum[key_field]);
	StringInfoData q;

	initStringInfo(&q);
	appendStringInfo(&q, "SELECT %s, %s, %s, %s, ", column_as(columns, AUDIT_CHANGED_AT, TIMESTAMPTZOID),
					 column_as(columns, AUDIT_XACT_ID, XID8OID), column_as(columns, AUDIT_ACTION, TEXTOID),
					 column_as(columns, AUDIT_USER_ID, TEXTOID));
	appendStringInfo(&q, "c.key, c.old_value, c.new_value FROM %s l LEFT JOIN LATERAL ("
					 "SELECT key, value OPERATOR(pg_catalog.->) 'old'::pg_catalog.text AS old_value, "
					 "value OPERATOR(pg_catalog.->) 'new'::pg_catalog.text AS new_value FROM %s "
					 "UNION ALL SELECT key, value, NULL FROM %s "
					 "UNION ALL SELECT key, NULL, value FROM %s) c ON true WHERE ", NamesQualified(columns->relid),
					 each_of(columns, AUDIT_CHANGED_FIELDS), each_of(columns, AUDIT_OLD_DATA),
					 each_of(columns, AUDIT_NEW_DATA));
	appendStringInfo(&q, "%s OPERATOR(pg_catalog.=) $1 AND ", column(columns, AUDIT_TABLE_NAME));
	if (columns->attnum[AUDIT_TABLE_SCHEMA])
		appendStringInfo(&q, "($2 IS NULL OR %s OPERATOR(pg_catalog.=) $2) AND ",
						 column(columns, AUDIT_TABLE_SCHEMA));
	/* the expression of audit_install's index */
	if (key_field == AUDIT_RECORD_KEY && key_type == JSONBOID)
		appendStringInfo(&q, "pg_catalog.jsonb_hash_extended(%s, 0) OPERATOR(pg_catalog.=) "
						 "pg_catalog.jsonb_hash_extended($3, 0) AND ", column(columns, key_field));
	appendStringInfo(&q, "%s OPERATOR(pg_catalog.=) $3 ORDER BY %s DESC",
					 key_field == AUDIT_RECORD_KEY ? column_as(columns, key_field, JSONBOID) :
					 column(columns, key_field), column(columns, AUDIT_CHANGED_AT));
	if (columns->attnum[AUDIT_XACT_ID])
		appendStringInfo(&q, ", %s DESC", column_as(columns, AUDIT_XACT_ID, XID8OID));
	if (columns->attnum[AUDIT_XACT_SEQ])
		appendStringInfo(&q, ", %s DESC", column(columns, AUDIT_XACT_SEQ));
	else if (get_attnum(columns->relid, "id") > 0)
		appendStringInfoString(&q, ", l.id DESC");
	else if (get_attnum(columns->relid, "al_id") > 0)
		appendStringInfoString(&q, ", l.al_id DESC");
	appendStringInfoString(&q, ", c.key");
	return q.data;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* 42501 unless the caller may read the columns of the query, as the executor would ask. */
static void
check_rights(const AuditColumns *columns)
{
	static const AuditField read[] = {
		AUDIT_CHANGED_AT, AUDIT_XACT_ID, AUDIT_XACT_SEQ, AUDIT_TABLE_SCHEMA, AUDIT_TABLE_NAME,
		AUDIT_RECORD_ID, AUDIT_RECORD_KEY, AUDIT_KEY_TEXT, AUDIT_ACTION, AUDIT_OLD_DATA,
		AUDIT_NEW_DATA, AUDIT_CHANGED_FIELDS, AUDIT_USER_ID
	};

	if (pg_class_aclcheck(columns->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return;
	for (int i = 0; i < lengthof(read); i++)
		if (columns->attnum[read[i]] != 0 &&
			pg_attribute_aclcheck(columns->relid, columns->attnum[read[i]], GetUserId(), ACL_SELECT) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(columns->relid)),
						   get_rel_name(columns->relid));
}

/*
 * A log of a role that the caller need not trust is read as its owner.  42501 where that
 * would go too far: policies that hide rows from the caller would not be asked, and the
 * owner of a partition would get the rights of another role.
 */
static void
check_log(Relation rel, const AuditColumns *columns)
{
	List	   *tables = find_all_inheritors(columns->relid, NoLock, NULL);
	Oid			owner = rel->rd_rel->relowner;

	AuditRefuseStranger(tables);
	if (UserCodeRoleIsTrusted(owner))
		return;
	check_rights(columns);
	if (check_enable_rls(columns->relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row security of audit log \"%s\" could run code of role \"%s\"",
						RelationGetRelationName(rel), GetUserNameFromId(owner, true)),
				 errhint("Connect as the owner of the log, or give the log to a role you trust.")));
}

/* Puts the rows of the query into the result of the function, and returns how many. */
static uint64
read_log(Relation rel, const AuditColumns *columns, const KeyMatch *match, Datum *values, const char *nulls,
		 ReturnSetInfo *result)
{
	Oid			argtypes[3] = {TEXTOID, TEXTOID, match->typid};
	char	   *query = write_query(columns, match->field);
	uint64		n;

	SPI_connect();
	n = UserCodeQuery(rel->rd_rel->relowner, query, 3, argtypes, values, nulls, true);
	for (uint64 i = 0; i < n; i++)
	{
		Datum		row[7];
		bool		isnull[7];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, row, isnull);
		tuplestore_putvalues(result->setResult, result->setDesc, row, isnull);
	}
	SPI_finish();
	return n;
}

/* audit_history(table, key) */
Datum
audit_history(PG_FUNCTION_ARGS)
{
	List	   *names = textToQualifiedNameList(PG_GETARG_TEXT_PP(0));
	RangeVar   *name = makeRangeVarFromNameList(names);
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			relid = RangeVarGetRelid(name, NoLock, true);
	Oid			fnoid = AuditTriggerFunction(fcinfo->flinfo->fn_oid);
	Datum		values[3];
	char		nulls[4] = "   ";
	AuditArgs	args;
	AuditColumns columns;
	KeyMatch	match;
	Relation	rel;
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (!OidIsValid(relid) || !AuditFindTrigger(relid, fnoid, &args, &relid))
		AuditParseArgs(0, NULL, &args);
	rel = table_open(AuditResolveLog(&args, fnoid, relid, false), AccessShareLock);
	AuditMapColumns(rel, &columns);
	check_log(rel, &columns);
	match = find_key(relid, name->relname, &args, &columns, key);

	values[2] = match.value;
	if (OidIsValid(relid))
	{
		char	   *found = get_rel_name(relid);

		if (found == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table \"%s\" was dropped meanwhile", NameListToString(names))));
		values[0] = CStringGetTextDatum(found);
		values[1] = CStringGetTextDatum(get_namespace_name(get_rel_namespace(relid)));
	}
	else
	{
		values[0] = CStringGetTextDatum(name->relname);
		values[1] = name->schemaname ? CStringGetTextDatum(name->schemaname) : (Datum) 0;
		nulls[1] = name->schemaname ? ' ' : 'n';
	}

	/* nothing found, and no such table: probably a misspelt name */
	if (read_log(rel, &columns, &match, values, nulls, result) == 0 && !OidIsValid(relid))
		ereport(NOTICE,
				(errmsg("there is no table \"%s\", and the log has no such row of one",
						NameListToString(names))));
	table_close(rel, NoLock);
	return (Datum) 0;
}
