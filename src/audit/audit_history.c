/*
 * audit_history.c
 *	  audit_history: the changes of one record, newest first.
 *
 * What belongs to the record is said by audit_read.c and audit_key.c.  A record that got its
 * key by an UPDATE was another key before: its entries up to that UPDATE belong to the
 * history, too.  They are looked for backward, from key to key.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/names.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_history);

/* jsonb_each of a field.  A row of other origin may have no object there, but a JSON null. */
static const char *
each_of(const AuditColumns *columns, AuditField field)
{
	const char *value = AuditReadColumnAs(columns, field, JSONBOID);

	return psprintf("pg_catalog.jsonb_each(CASE WHEN pg_catalog.jsonb_typeof(%s) "
					"OPERATOR(pg_catalog.=) 'object' THEN %s END)", value, value);
}

/* a key that the record had before, until an entry gave it the next one */
typedef struct FormerKey
{
	char	   *key;
	char	   *entry;			/* its (written_at, xact_id, xact_seq), as SQL */
} FormerKey;

/* What an entry of ours is compared by; entries of before 1.1 have no written_at. */
static const char *
position_of(const AuditColumns *columns)
{
	return psprintf("(coalesce(%s, '-infinity'), %s, %s)", AuditReadColumn(columns, AUDIT_WRITTEN_AT),
					AuditReadColumn(columns, AUDIT_XACT_ID), AuditReadColumn(columns, AUDIT_XACT_SEQ));
}

/* no record changes its key that often; a limit for keys that go round */
#define MAX_FORMER_KEYS 100

/*
 * Appends to `former` the keys that records had until an entry gave them this key; only
 * entries before `until`, if that is given.  Within an SPI connection.
 */
static List *
add_former_keys(List *former, const AuditScope *scope, Oid owner, const char *key, const char *until)
{
	const AuditColumns *columns = &scope->columns;
	StringInfoData q;
	uint64		n;

	initStringInfo(&q);
	appendStringInfo(&q, "SELECT coalesce(%s::pg_catalog.text, %s::pg_catalog.text), "
					 "pg_catalog.format('(%%L::pg_catalog.timestamptz, %%L::pg_catalog.xid8, %%L::pg_catalog.int4)', "
					 "%s, %s, %s) FROM %s l WHERE ",
					 AuditReadColumnAs(columns, AUDIT_RECORD_ID, INT8OID),
					 AuditReadColumnAs(columns, AUDIT_RECORD_KEY, JSONBOID),
					 AuditReadColumn(columns, AUDIT_WRITTEN_AT), AuditReadColumn(columns, AUDIT_XACT_ID),
					 AuditReadColumn(columns, AUDIT_XACT_SEQ), NamesQualified(columns->relid));
	if (!AuditAppendNewKey(&q, scope, key))
		return former;
	if (until)
		appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.<) %s", position_of(columns), until);
	appendStringInfoString(&q, " AND ");
	AuditAppendScope(&q, scope);
	n = UserCodeQuery(owner, q.data, 0, NULL, NULL, NULL, true);
	for (uint64 i = 0; i < n; i++)
	{
		FormerKey  *one = palloc(sizeof(FormerKey));

		one->key = SpiText(i, 1);
		one->entry = SpiText(i, 2);
		former = lappend(former, one);
	}
	return former;
}

/*
 * All keys that the record had before, as a list of FormerKey.  NIL unless the log has the
 * columns of ours, with our types.  Within an SPI connection.
 */
static List *
former_keys(const AuditScope *scope, Oid owner, const char *key)
{
	static const AuditField needed[] = {AUDIT_NEW_KEY, AUDIT_WRITTEN_AT, AUDIT_XACT_ID, AUDIT_XACT_SEQ};
	List	   *former;

	for (int i = 0; i < lengthof(needed); i++)
	{
		AttrNumber	attnum = scope->columns.attnum[needed[i]];

		if (attnum == 0 || get_atttype(scope->columns.relid, attnum) != AuditFieldTypes[needed[i]])
			return NIL;
	}
	former = add_former_keys(NIL, scope, owner, key, NULL);
	for (int i = 0; i < list_length(former) && list_length(former) < MAX_FORMER_KEYS; i++)
	{
		FormerKey  *one = list_nth(former, i);

		former = add_former_keys(former, scope, owner, one->key, one->entry);
	}
	return former;
}

/* The query: a row per column of each change.  key: a condition for the present key. */
static char *
write_query(const AuditScope *scope, const char *key, List *former)
{
	const AuditColumns *columns = &scope->columns;
	StringInfoData q;
	ListCell   *lc;

	initStringInfo(&q);
	appendStringInfo(&q, "SELECT %s, %s, %s, %s, ", AuditReadColumnAs(columns, AUDIT_CHANGED_AT, TIMESTAMPTZOID),
					 AuditReadColumnAs(columns, AUDIT_XACT_ID, XID8OID),
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
					 AuditReadColumnAs(columns, AUDIT_USER_ID, TEXTOID));
	appendStringInfo(&q, "c.key, c.old_value, c.new_value FROM %s l LEFT JOIN LATERAL ("
					 "SELECT key, value OPERATOR(pg_catalog.->) 'old'::pg_catalog.text AS old_value, "
					 "value OPERATOR(pg_catalog.->) 'new'::pg_catalog.text AS new_value FROM %s "
					 "UNION ALL SELECT key, value, NULL FROM %s "
					 "UNION ALL SELECT key, NULL, value FROM %s) c ON true WHERE ", NamesQualified(columns->relid),
					 each_of(columns, AUDIT_CHANGED_FIELDS), each_of(columns, AUDIT_OLD_DATA),
					 each_of(columns, AUDIT_NEW_DATA));
	appendStringInfo(&q, "(%s", key);
	foreach(lc, former)
	{
		FormerKey  *one = lfirst(lc);

		appendStringInfoString(&q, " OR (");
		AuditAppendKey(&q, scope, one->key, NULL);
		appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.<=) %s)", position_of(columns), one->entry);
	}
	appendStringInfoString(&q, ") AND ");
	AuditAppendScope(&q, scope);
	appendStringInfo(&q, " ORDER BY %s, c.key", AuditReadOrder(columns, true));
	return q.data;
}

/* ---- reading ------------------------------------------------------------------------------ */

/*
 * Puts the changes of the record into the result of the function, and returns how many rows
 * that are.  condition: for the key.
 */
static uint64
read_log(Oid owner, const AuditScope *scope, const char *key, const char *condition, ReturnSetInfo *result)
{
	uint64		n;

	SPI_connect();
	n = UserCodeQuery(owner, write_query(scope, condition, former_keys(scope, owner, key)), 0, NULL, NULL, NULL, true);
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

/* ---- what the reader should know ---------------------------------------------------------- */

/*
 * The tables, other than ours, under which the log has entries of such a key and of the name of
 * ours, as text; of all schemas where ours is any.  NULL: one or none.  By the index of keys.
 */
static char *
others_of_that_name(Oid owner, const AuditScope *scope, const char *condition)
{
	MemoryContext caller = CurrentMemoryContext;
	const AuditColumns *columns = &scope->columns;
	StringInfoData q;
	char	   *others;

	if (columns->attnum[AUDIT_TABLE_SCHEMA] == 0)
		return NULL;
	initStringInfo(&q);
	appendStringInfo(&q, "SELECT CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>) %d THEN "
					 "pg_catalog.string_agg(n, ', ' ORDER BY n COLLATE \"C\") END FROM ("
					 "SELECT DISTINCT pg_catalog.format('%%I.%%I', %s::pg_catalog.text, %s::pg_catalog.text) AS n FROM %s l WHERE ",
					 OidIsValid(scope->relid) ? 0 : 1, AuditReadColumn(columns, AUDIT_TABLE_SCHEMA),
					 AuditReadColumn(columns, AUDIT_TABLE_NAME), NamesQualified(columns->relid));
	appendStringInfo(&q, "%s AND %s OPERATOR(pg_catalog.=) %s) o", condition, AuditReadColumn(columns, AUDIT_TABLE_NAME),
					 quote_literal_cstr(scope->name));
	SPI_connect();
	UserCodeQuery(owner, q.data, 0, NULL, NULL, NULL, true);
	MemoryContextSwitchTo(caller);
	others = SpiText(0, 1);
	SPI_finish();
	return others;
}

/* A NOTICE for a table whose changes are not all logged.  Once per statement and table. */
static void
tell_unseen(FunctionCallInfo fcinfo, const AuditScope *scope)
{
	Oid			trgoid = AuditTriggerFunction(fcinfo->flinfo->fn_oid);
	Oid		   *told = fcinfo->flinfo->fn_extra;
	List	   *triggers;
	int			all;
	int			some;

	if (told == NULL)
		told = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Oid));
	if (!OidIsValid(scope->relid) || *told == scope->relid)
		return;
	*told = scope->relid;
	triggers = AuditTriggersOf(scope->relid, trgoid);
	all = AuditEventsSeen(triggers, &some);
	if ((all & AUDIT_SEES_ROWS) == AUDIT_SEES_ROWS)
		return;
	if (triggers == NIL)
		ereport(NOTICE,
				(errmsg("table \"%s\" is not audited", get_rel_name(scope->relid)),
				 scope->ids != NIL ? errdetail("It was: what it went through since then is not in the log.") : 0,
				 scope->ids == NIL ?
				 errhint("If it was a partition, its changes are in the history of the partitioned table.") : 0));
	else if (some == 0)
		ereport(NOTICE,
				(errmsg("the audit of table \"%s\" is disabled", get_rel_name(scope->relid))));
	else
		ereport(NOTICE,
				(errmsg("the audit of table \"%s\" does not see every change", get_rel_name(scope->relid)),
				 errhint("SELECT events FROM audit_status says what it sees.")));
}

/* NOTICEs for a result that may mislead.  n: its rows. */
static void
tell_result(Oid owner, const AuditScope *scope, const char *condition, uint64 n)
{
	bool		exists = OidIsValid(scope->relid);
	char	   *others = (exists ? n == 0 : n > 0 && scope->schema == NULL) ?
	others_of_that_name(owner, scope, condition) : NULL;
	const char *column = n == 0 ? AuditKeyFolds(scope) : NULL;

	/* nothing found, and no such table: probably a misspelt name */
	if (n == 0 && !exists)
		ereport(NOTICE,
				(errmsg("there is no table \"%s%s%s\", and the log has no such row of one",
						scope->schema ? scope->schema : "", scope->schema ? "." : "", scope->name)));
	if (others != NULL && exists)
		ereport(NOTICE,
				(errmsg("the log has a record of this key, but of other tables of that name: %s", others),
				 errdetail("In another schema, or the name was that of a table which is gone."),
				 errhint("SELECT id, table_schema, table_name FROM audit_table lists tables by id; audit_continue() joins two histories.")));
	else if (others != NULL)
		ereport(NOTICE,
				(errmsg("these are changes of several tables: %s", others),
				 errhint("Name the schema as well.")));
	if (column != NULL)
		ereport(NOTICE,
				(errmsg("the log is searched for the key as it is written"),
				 errdetail("Column \"%s\" takes other spellings for equal; the log has the one that was in the table.", column)));
}

/* audit_history(table, key) */
Datum
audit_history(PG_FUNCTION_ARGS)
{
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	AuditScope	scope;
	StringInfoData condition;
	Relation	log;
	uint64		n;

	InitMaterializedSRF(fcinfo, 0);
	AuditScopeOfName(PG_GETARG_TEXT_PP(0), fcinfo->flinfo->fn_oid, &scope);
	log = AuditOpenLog(&scope);
	initStringInfo(&condition);
	AuditAppendKey(&condition, &scope, key, NULL);
	n = read_log(log->rd_rel->relowner, &scope, key, condition.data, (ReturnSetInfo *) fcinfo->resultinfo);
	tell_unseen(fcinfo, &scope);
	tell_result(log->rd_rel->relowner, &scope, condition.data, n);
	table_close(log, NoLock);
	return (Datum) 0;
}
