/*
 * audit_past.c
 *	  A table and its log, open for reading back: who may, and the questions asked of both.
 *
 * The caller needs the right to read the table (its root, where a partition is named) and the
 * log.  Both are read in the caller's snapshot, and as their owners unless the caller
 * trusts those: planning runs code of theirs.  So row security, which would be the
 * owner's rows then, and would hide parts of a history otherwise, is an error.
 *
 * A record is found in the log by the index on its key, and where it came from when its key
 * was changed by the index on the new key.  A log without new_key (of 1.0, or one's own)
 * is searched whole for that, but only where a life of the record begins neither with
 * an INSERT nor with a known change.  The same goes for a TRUNCATE: it is looked for where
 * a row is gone and no DELETE says so.
 *
 * All within an SPI connection; what is returned is in the current context.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "audit/audit_asof.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/usercode.h"
#include "compat.h"

/* the entries of one key, read once */
typedef struct FetchedKey
{
	StringInfoData text;
	List	   *entries;
} FetchedKey;

/* ---- opening ------------------------------------------------------------------------- */

/* The table whose row type the first argument has.  42809 when it has none. */
static Oid
table_of_argument(FunctionCallInfo fcinfo)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	Oid			relid = OidIsValid(type) ? get_typ_typrelid(type) : InvalidOid;
	char		kind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not the row type of a table", OidIsValid(type) ? format_type_be(type) : "unknown"),
				 errhint("Write the table as NULL::schema.table.")));
	return relid;
}

/* 42501 unless the caller may read all columns, and all rows. */
static void
check_table(Oid relid)
{
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT, ACLMASK_ALL) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row security hides rows of table \"%s\" from role \"%s\"", get_rel_name(relid),
						GetUserNameFromId(GetUserId(), true)),
				 errdetail("The log has the changes of all rows, so the rows as they were cannot be told."),
				 errhint("Ask as a role that row security does not apply to.")));
}

/*
 * Opens the table whose row type the function's first argument has, and its log, with ACCESS
 * SHARE.  Errors: 42809 no table; 42501 the caller may not read the one or the other; 42P01
 * no log; 55000 a table without a key.
 */
void
AuditPastOpen(FunctionCallInfo fcinfo, AuditPast *past)
{
	Oid			relid = table_of_argument(fcinfo);

	memset(past, 0, sizeof(*past));
	past->rel = table_open(relid, AccessShareLock);
	AuditScopeOfTable(relid, fcinfo->flinfo->fn_oid, &past->scope);
	past->rootid = past->scope.rootid;
	LockRelationOid(past->rootid, AccessShareLock);
	check_table(past->rootid);
	past->log = AuditOpenLog(&past->scope);
	past->shape = AuditShapeMake(past->rel, &past->scope);
	if (past->shape->nkey == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no key by which its rows are known in the log",
						RelationGetRelationName(past->rel)),
				 errhint("Call audit_enable(%s, key => ...) with the columns of its key.", NamesLiteral(relid))));
}

/* Closes both; the locks stay until the end of the transaction. */
void
AuditPastClose(AuditPast *past)
{
	table_close(past->log, NoLock);
	table_close(past->rel, NoLock);
}

/* WARNING, if nobody logs what happens to the table. */
void
AuditPastWarn(AuditPast *past)
{
	if (!past->scope.audited)
		ereport(WARNING,
				(errmsg("table \"%s\" is not audited", RelationGetRelationName(past->rel)),
				 errdetail("What changed while it was not is not in the log.")));
}

/* ---- the moment ---------------------------------------------------------------------------- */

/* Since when the table is audited, if the registry knows; DT_NOEND otherwise. */
static TimestampTz
audited_since(const AuditPast *past)
{
	TimestampTz since = DT_NOEND;
	ListCell   *lc;

	if (past->scope.by_name)
		return DT_NOEND;
	foreach(lc, past->scope.registered)
	{
		const AuditRegistered *row = lfirst(lc);

		if (!row->names_before && row->enabled_at < since)
			since = row->enabled_at;
	}
	return since;
}

/*
 * Argument n of the function, a moment.  22004 when it is null.  A NOTICE where the answer
 * cannot be that of the moment: it is still to come, or the table was not audited yet.
 */
TimestampTz
AuditPastMoment(FunctionCallInfo fcinfo, int n, AuditPast *past)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(n);
	TimestampTz since = audited_since(past);

	if (at > GetCurrentTimestamp())
		ereport(NOTICE,
				(errmsg("that moment is still to come"),
				 errdetail("Rows are shown as they are now.")));
	else if (since != DT_NOEND && at < since)
		ereport(NOTICE,
				(errmsg("table \"%s\" is audited since %s", RelationGetRelationName(past->rel),
						timestamptz_to_str(since)),
				 errdetail("Rows are shown as they were then; what changed before is not in the log.")));
	return at;
}

/* NOTICE: columns (a list of int) that are NULL because the log does not have their values. */
void
AuditPastTellUnknown(const AuditPast *past, List *unknown)
{
	StringInfoData names;
	ListCell   *lc;

	if (unknown == NIL)
		return;
	initStringInfo(&names);
	foreach(lc, unknown)
		appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "", past->shape->columns[lfirst_int(lc)].name);
	ereport(NOTICE,
			(errmsg("the log does not know these columns of table \"%s\": %s",
					RelationGetRelationName(past->rel), names.data),
			 errdetail("They are NULL.")));
}

/* ---- questions to the log -------------------------------------------------------------- */

typedef struct Collected
{
	AuditPast  *past;
	List	   *entries;
} Collected;

static void
collect(TupleTableSlot *slot, void *arg)
{
	Collected  *c = arg;
	AuditEntry *e = palloc(sizeof(AuditEntry));

	slot_getallattrs(slot);
	AuditEntryRead(&c->past->scope, c->past->shape, slot->tts_values, slot->tts_isnull, e);
	c->entries = lappend(c->entries, e);
}

/* often: the same query will be asked with other parameters, and reads by an index. */
static List *
query_entries(AuditPast *past, const char *query, const AuditParams *params, bool often)
{
	Collected	c = {past, NIL};

	(often ? UserCodeEachRowOften : UserCodeEachRow) (past->log->rd_rel->relowner, query, AuditParamList(params),
													  collect, &c);
	return c.entries;
}

/* All entries under a key, a list of AuditEntry * in order.  Asked once for each key. */
List *
AuditPastEntries(AuditPast *past, const AuditValue *key)
{
	FetchedKey *fetched = palloc(sizeof(FetchedKey));
	AuditParams params = {NIL};
	StringInfoData q;
	ListCell   *lc;

	initStringInfo(&fetched->text);
	AuditKeyText(&fetched->text, past->shape, key);
	foreach(lc, past->fetched)
	{
		FetchedKey *before = lfirst(lc);

		if (before->text.len == fetched->text.len &&
			memcmp(before->text.data, fetched->text.data, fetched->text.len) == 0)
			return before->entries;
	}
	initStringInfo(&q);
	AuditEntrySelect(&q, &past->scope);
	appendStringInfoString(&q, " AND ");
	AuditAppendKey(&q, &past->scope, AuditKeySearched(past->shape, key), &params);
	appendStringInfo(&q, " ORDER BY %s", AuditReadOrder(&past->scope.columns, false));
	fetched->entries = query_entries(past, q.data, &params, true);
	past->fetched = lappend(past->fetched, fetched);
	return fetched->entries;
}

/* The forms that the key has in new_key, each once: a list of char *. */
static List *
new_key_forms(const AuditPast *past, const AuditValue *key)
{
	List	   *forms = NIL;
	ListCell   *lc;

	foreach(lc, AuditKeyForms(&past->scope, past->shape, key))
	{
		Jsonb	   *jb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(lfirst(lc))));
		char	   *form = JsonbToCString(NULL, &jb->root, VARSIZE(jb));

		if (!AuditIsListed(forms, form))
			forms = lappend(forms, form);
	}
	return forms;
}

/* " AND the U gave the record this key", by the index on new_key where the log has that. */
static void
append_arrival(StringInfo q, const AuditPast *past, const AuditValue *key, AuditParams *params)
{
	const AuditShape *shape = past->shape;
	const AuditColumns *columns = &past->scope.columns;
	const char *object = AuditReadColumnAs(columns, AUDIT_CHANGED_FIELDS, JSONBOID);
	ListCell   *lc;

	appendStringInfoString(q, " AND (false");
	if (columns->attnum[AUDIT_NEW_KEY])
	{
		const char *moved = AuditReadColumnAs(columns, AUDIT_NEW_KEY, JSONBOID);

		foreach(lc, new_key_forms(past, key))
		{
			const char *value = AuditParam(params, JSONBOID, lfirst(lc));

			appendStringInfo(q, " OR (pg_catalog.jsonb_hash_extended(%s, 0) OPERATOR(pg_catalog.=) "
							 "pg_catalog.jsonb_hash_extended(%s, 0) AND "
							 "%s OPERATOR(pg_catalog.=) %s)", moved, value, moved, value);
		}
		appendStringInfoChar(q, ')');
		return;
	}
	for (int i = 0; i < shape->nkey; i++)
		appendStringInfo(q, " OR %s OPERATOR(pg_catalog.?) %s::pg_catalog.text", object,
						 quote_literal_cstr(shape->columns[shape->key[i]].name));
	appendStringInfoChar(q, ')');
}

static void
append_times(StringInfo q, const char *time, TimestampTz from, TimestampTz to, AuditParams *params)
{
	appendStringInfo(q, " AND %s OPERATOR(pg_catalog.>=) %s AND %s OPERATOR(pg_catalog.<=) %s",
					 time, AuditParamTime(params, from), time, AuditParamTime(params, to));
}

/*
 * Can an entry that gives a record a key come after one that takes it from another?  Within
 * one command in either order; in a log that does not know commands, one transaction.
 */
static bool
follows(const AuditEntry *arrival, const AuditEntry *departure)
{
	return AuditEntrySameCommand(arrival, departure) || AuditEntryCompare(arrival, departure) > 0 ||
		(!arrival->clocked && arrival->has_xact && arrival->xact == departure->xact);
}

/*
 * The last UPDATE that gave a record this key, behind one entry of the log and a moment, and
 * before another entry; NULL for an entry is no limit.  NULL: there is none.  What the command
 * of the later entry gave this key is another record, which changed places with it.
 */
AuditEntry *
AuditPastArrival(AuditPast *past, const AuditValue *key, const AuditEntry *from, TimestampTz after,
				 const AuditEntry *to)
{
	const char *time = AuditEntryTime(&past->scope.columns);
	AuditEntry *found = NULL;
	AuditParams params = {NIL};
	StringInfoData q;
	ListCell   *lc;

	initStringInfo(&q);
	AuditEntrySelect(&q, &past->scope);
	append_arrival(&q, past, key, &params);
	append_times(&q, time, from ? from->at : after, to ? to->at : DT_NOEND, &params);
	appendStringInfo(&q, " ORDER BY %s", AuditReadOrder(&past->scope.columns, false));
	foreach(lc, query_entries(past, q.data, &params, past->scope.columns.attnum[AUDIT_NEW_KEY] != 0))
	{
		AuditEntry *e = lfirst(lc);

		if (e->action == 'U' && e->moved && AuditSameKey(past->shape, e->moved, key) &&
			e->at > after && (from == NULL || follows(e, from)) &&
			(to == NULL || (AuditEntryCompare(e, to) < 0 && !AuditEntrySameCommand(e, to))))
			found = e;
	}
	return found;
}

/* The first TRUNCATE of the table from one moment to another; NULL: there is none. */
AuditEntry *
AuditPastTruncate(AuditPast *past, TimestampTz from, TimestampTz to)
{
	const char *time = AuditEntryTime(&past->scope.columns);
	AuditParams params = {NIL};
	StringInfoData q;
	List	   *found;

	initStringInfo(&q);
	AuditEntrySelect(&q, &past->scope);
	appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.=) 'T'::pg_catalog.text",
					 AuditReadColumnAs(&past->scope.columns, AUDIT_ACTION, TEXTOID));
	append_times(&q, time, from, to, &params);
	appendStringInfo(&q, " ORDER BY %s LIMIT 1", AuditReadOrder(&past->scope.columns, false));
	found = query_entries(past, q.data, &params, false);
	return found ? linitial(found) : NULL;
}

/* ---- questions to the table -------------------------------------------------------------- */

/*
 * Appends "SELECT columns FROM table t", with as many columns as the shape's desc has: NULL
 * for those that are dropped or hidden.  more: what else to select.  Of a table with
 * children by inheritance, its own rows alone: only those are audited with it.
 */
void
AuditAppendRows(StringInfo q, const AuditPast *past, const char *more)
{
	const AuditShape *shape = past->shape;

	appendStringInfoString(q, "SELECT ");
	for (int i = 0; i < shape->natts; i++)
	{
		const AuditColumn *col = &shape->columns[i];

		if (i > 0)
			appendStringInfoString(q, ", ");
		if (!shape->reads[i].live)
			appendStringInfoString(q, "NULL::pg_catalog.int4");
		else if (shape->reads[i].hidden)
			appendStringInfo(q, "NULL::%s", format_type_be_qualified(col->typid));
		else
			appendStringInfo(q, "t.%s", quote_identifier(col->name));
	}
	appendStringInfo(q, "%s FROM %s%s t", more,
					 get_rel_relkind(past->rootid) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					 NamesQualified(past->rootid));
}

/* The operator = of a type, as SQL; NULL: it has none. */
static char *
equality_of(Oid typid)
{
	Oid			opno = lookup_type_cache(typid, TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple;
	Form_pg_operator form;
	char	   *result;

	if (!OidIsValid(opno))
		return NULL;
	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(opno));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", opno);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	result = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return result;
}

/* Appends "column = $n" and fills the parameter; false: no row of today can have that key. */
static bool
append_key_column(StringInfo q, AuditPast *past, int k, const AuditValue *value, ParamExternData * param)
{
	const AuditColumn *col = &past->shape->columns[past->shape->key[k]];
	const char *name = quote_identifier(col->name);
	const char *type = format_type_be_qualified(col->basetypid);
	char	   *equal = equality_of(col->basetypid);

	param->pflags = PARAM_FLAG_CONST;
	param->ptype = col->basetypid;
	if (!AuditReadValueSafely(past->shape, past->shape->key[k], value, &param->value, &param->isnull))
		return false;
	if (param->isnull)
		appendStringInfo(q, "t.%s IS NULL AND ($%d IS NULL)", name, k + 1);
	else if (equal)
		appendStringInfo(q, "t.%s%s%s %s $%d", name, col->basetypid == col->typid ? "" : "::",
						 col->basetypid == col->typid ? "" : type, equal, k + 1);
	else
		appendStringInfo(q, "t.%s::pg_catalog.text OPERATOR(pg_catalog.=) $%d::pg_catalog.text", name, k + 1);
	return true;
}

typedef struct LiveRow
{
	const AuditShape *shape;
	HeapTuple	row;
} LiveRow;

static void
keep_row(TupleTableSlot *slot, void *arg)
{
	LiveRow    *live = arg;

	slot_getallattrs(slot);
	live->row = heap_form_tuple(live->shape->desc, slot->tts_values, slot->tts_isnull);
}

/* The row that has this key now, as the shape's desc has it; NULL: there is none. */
HeapTuple
AuditPastLive(AuditPast *past, const AuditValue *key)
{
	ParamListInfo params = makeParamList(past->shape->nkey);
	LiveRow		live = {past->shape, NULL};
	AuditShapeScope scope;
	StringInfoData q;
	bool		possible = true;

	initStringInfo(&q);
	AuditAppendRows(&q, past, "");
	appendStringInfoString(&q, " WHERE ");
	AuditShapeEnter(past->shape, &scope);
	for (int k = 0; k < past->shape->nkey && possible; k++)
	{
		if (k > 0)
			appendStringInfoString(&q, " AND ");
		possible = append_key_column(&q, past, k, &key[k], &params->params[k]);
	}
	AuditShapeLeave(&scope);
	if (possible)
		UserCodeEachRowOften(past->shape->owner, q.data, params, keep_row, &live);
	return live.row;
}

/*
 * A key given as text, as in audit_history: of one column as its type reads it, or an object
 * with the names of the columns.  22P02 when it is neither.
 */
AuditValue *
AuditPastKey(AuditPast *past, const char *text)
{
	AuditValue *key = NULL;
	AuditShapeScope scope;
	Datum		json;

	if (text[strspn(text, " \t\r\n")] == '{' && AuditParseJson(text, &json))
		key = AuditKeyOfObject(&past->scope, past->shape, DatumGetJsonbP(json));
	if (key == NULL && past->shape->nkey > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key of table \"%s\" has several columns", RelationGetRelationName(past->rel)),
				 errdetail("\"%s\" is no JSON object with their names.", text),
				 errhint("Give it as in record_key: '{\"column\": value, ...}'.")));
	if (key == NULL)
	{
		key = palloc0(sizeof(AuditValue));
		key->kind = AUDIT_STRING;
		key->data = text;
		key->len = strlen(text);
	}
	AuditShapeEnter(past->shape, &scope);
	AuditNormalKey(past->shape, key);
	AuditShapeLeave(&scope);
	return key;
}
