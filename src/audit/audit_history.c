/*
 * audit_history.c
 *	  audit_history: the changes of one record, newest first.
 *
 * What belongs to the record is said by audit_read.c and audit_key.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
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

/* The query: a row per column of each change. */
static char *
write_query(const AuditScope *scope, const char *key)
{
	const AuditColumns *columns = &scope->columns;
	StringInfoData q;

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
	AuditAppendKey(&q, scope, key);
	appendStringInfoString(&q, " AND ");
	AuditAppendScope(&q, scope);
	appendStringInfo(&q, " ORDER BY %s, c.key", AuditReadOrder(columns, true));
	return q.data;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Puts the rows of the query into the result of the function, and returns how many. */
static uint64
read_log(Oid owner, const char *query, ReturnSetInfo *result)
{
	uint64		n;

	SPI_connect();
	n = UserCodeQuery(owner, query, 0, NULL, NULL, NULL, true);
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
	AuditScope	scope;
	Relation	log;
	uint64		n;

	InitMaterializedSRF(fcinfo, 0);
	AuditScopeOfName(PG_GETARG_TEXT_PP(0), fcinfo->flinfo->fn_oid, &scope);
	log = AuditOpenLog(&scope);
	n = read_log(log->rd_rel->relowner, write_query(&scope, text_to_cstring(PG_GETARG_TEXT_PP(1))),
				 (ReturnSetInfo *) fcinfo->resultinfo);

	/* nothing found, and no such table: probably a misspelt name */
	if (n == 0 && !OidIsValid(scope.relid))
		ereport(NOTICE,
				(errmsg("there is no table \"%s%s%s\", and the log has no such row of one",
						scope.schema ? scope.schema : "", scope.schema ? "." : "", scope.name)));
	table_close(log, NoLock);
	return (Datum) 0;
}
