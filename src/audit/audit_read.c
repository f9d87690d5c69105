/*
 * audit_read.c
 *	  Which entries of which log are those of a table, and how they are read.
 *
 * A table is known by its id (audit_registry.c), and by the ids of former tables whose
 * history it carries on.  Entries of 1.0 and of triggers that were made by hand have
 * no id; they are known by the name that they were written under.
 *
 * Queries are written for the log that the table's trigger names, with the columns that
 * this log has, so that the planner sees constants and an index.  They need the caller's
 * rights on the log, and run as the log's owner unless the caller trusts that role:
 * planning computes what is constant in the log's index expressions and statistics.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
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

/* ---- whose entries ------------------------------------------------------------------ */

/* Adds a row of the registry, and those whose history it carries on. */
static void
add_registered(AuditScope *scope, Oid fnoid, AuditRegistered *row)
{
	while (!list_member_int(scope->ids, row->id))
	{
		AuditRegistered *former;

		scope->ids = lappend_int(scope->ids, row->id);
		scope->registered = lappend(scope->registered, row);
		if (row->continues == 0)
			return;
		former = palloc(sizeof(AuditRegistered));
		if (!AuditRegistryById(fnoid, row->continues, former))
			return;
		row = former;
	}
}

static void
add_table(AuditScope *scope, Oid fnoid, Oid relid)
{
	ListCell   *lc;

	foreach(lc, AuditRegistryByTable(fnoid, relid))
		add_registered(scope, fnoid, lfirst(lc));
}

/*
 * The log of a table that is not audited now: the one that it was in, if that is still there, else
 * the default one.
 */
static Oid
former_log(AuditScope *scope, Oid fnoid)
{
	ListCell   *lc;

	foreach(lc, scope->registered)
	{
		Oid			log = ((AuditRegistered *) lfirst(lc))->log;

		if (OidIsValid(log) && get_rel_relkind(log) != '\0')
			return log;
	}
	return AuditResolveLog(&scope->args, fnoid, scope->relid, false);
}

/*
 * The entries of a table that exists.  42P01 when it was dropped meanwhile or has no log,
 * 42501 when the log is not to be trusted.  Everything in the current context.
 */
void
AuditScopeOfTable(Oid relid, Oid fnoid, AuditScope *scope)
{
	Oid			trgoid = AuditTriggerFunction(fnoid);

	memset(scope, 0, sizeof(*scope));
	scope->fnoid = fnoid;
	scope->relid = scope->rootid = relid;
	scope->audited = AuditFindTrigger(relid, trgoid, &scope->args, &scope->rootid);
	if (!scope->audited)
		AuditParseArgs(0, NULL, &scope->args);
	scope->name = get_rel_name(scope->rootid);
	if (scope->name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	scope->schema = get_namespace_name(get_rel_namespace(scope->rootid));
	add_table(scope, fnoid, scope->rootid);
	/* a partition may have been audited by itself before it was one */
	if (relid != scope->rootid)
		add_table(scope, fnoid, relid);

	/* what has no id is known by name, and what was never registered by nothing else */
	scope->by_name = scope->ids == NIL || (scope->audited && scope->args.id == 0);
	scope->any_id = scope->ids == NIL && !scope->audited;
	scope->logid = scope->audited ? AuditResolveLog(&scope->args, fnoid, relid, false) : former_log(scope, fnoid);
}

/*
 * The entries of a table by its name, quoted and qualified as needed, which may be gone.
 * 42602 for what is no name; else as AuditScopeOfTable.
 */
void
AuditScopeOfName(text *name, Oid fnoid, AuditScope *scope)
{
	RangeVar   *range = makeRangeVarFromNameList(textToQualifiedNameList(name));
	Oid			relid = RangeVarGetRelid(range, NoLock, true);
	ListCell   *lc;

	if (OidIsValid(relid))
	{
		AuditScopeOfTable(relid, fnoid, scope);
		return;
	}
	memset(scope, 0, sizeof(*scope));
	scope->fnoid = fnoid;
	AuditParseArgs(0, NULL, &scope->args);
	scope->schema = range->schemaname;
	scope->name = range->relname;
	scope->by_name = scope->any_id = true;
	/* it may have been renamed since it got its id */
	foreach(lc, AuditRegistryByName(fnoid, scope->schema, scope->name))
	{
		AuditRegistered *row = lfirst(lc);

		if (!OidIsValid(row->relid) || get_rel_relkind(row->relid) == '\0')
			add_registered(scope, fnoid, row);
	}
	scope->logid = former_log(scope, fnoid);
}

/*
 * The ids of tables that are still there and are not this one, as the inside of an array
 * literal: what they were called once is not the history of a table of that name.
 */
static char *
ids_of_others(const AuditScope *scope)
{
	StringInfoData ids;
	ListCell   *lc;

	initStringInfo(&ids);
	foreach(lc, AuditRegistryAll(scope->fnoid))
	{
		AuditRegistered *row = lfirst(lc);

		if (row->relid != scope->relid && OidIsValid(row->relid) && get_rel_relkind(row->relid) != '\0')
			appendStringInfo(&ids, "%s%d", ids.len ? "," : "", row->id);
	}
	return ids.data;
}

static void
append_name(StringInfo q, const AuditColumns *columns, const char *schema, const char *name)
{
	appendStringInfo(q, "%s OPERATOR(pg_catalog.=) %s", AuditReadColumn(columns, AUDIT_TABLE_NAME),
					 quote_literal_cstr(name));
	if (schema && columns->attnum[AUDIT_TABLE_SCHEMA])
		appendStringInfo(q, " AND %s OPERATOR(pg_catalog.=) %s", AuditReadColumn(columns, AUDIT_TABLE_SCHEMA),
						 quote_literal_cstr(schema));
}

/*
 * Appends a condition for the entries of the table.  The log has the alias l.  Names and ids
 * are literals.
 */
void
AuditAppendScope(StringInfo q, const AuditScope *scope)
{
	const AuditColumns *columns = &scope->columns;
	bool		has_id = columns->attnum[AUDIT_TABLE_ID] != 0;
	const char *or = "";
	ListCell   *lc;

	appendStringInfoChar(q, '(');
	if (has_id && scope->ids != NIL)
	{
		appendStringInfo(q, "%s OPERATOR(pg_catalog.=) ANY ('{", AuditReadColumn(columns, AUDIT_TABLE_ID));
		foreach(lc, scope->ids)
			appendStringInfo(q, "%s%d", foreach_current_index(lc) ? "," : "", lfirst_int(lc));
		appendStringInfoString(q, "}'::pg_catalog.int4[])");
		or = " OR ";
	}
	if (scope->by_name || !has_id)
	{
		appendStringInfo(q, "%s(", or);
		append_name(q, columns, scope->schema, scope->name);
		if (has_id && scope->any_id)
			appendStringInfo(q, " AND (%s OPERATOR(pg_catalog.=) ANY ('{%s}'::pg_catalog.int4[])) IS NOT TRUE",
							 AuditReadColumn(columns, AUDIT_TABLE_ID), ids_of_others(scope));
		else if (has_id)
			appendStringInfo(q, " AND %s IS NULL", AuditReadColumn(columns, AUDIT_TABLE_ID));
		appendStringInfoChar(q, ')');
		or = " OR ";
	}
	foreach(lc, scope->registered)
	{
		AuditRegistered *row = lfirst(lc);

		if (!row->names_before)
			continue;
		appendStringInfo(q, "%s(", or);
		append_name(q, columns, row->schema, row->name);
		if (has_id)
			appendStringInfo(q, " AND %s IS NULL", AuditReadColumn(columns, AUDIT_TABLE_ID));
		appendStringInfoChar(q, ')');
		or = " OR ";
	}
	appendStringInfoChar(q, ')');
}

/* ---- columns -------------------------------------------------------------------------- */

/* A column of the log, which has the alias l. */
const char *
AuditReadColumn(const AuditColumns *columns, AuditField field)
{
	return psprintf("l.%s", quote_identifier(get_attname(columns->relid, columns->attnum[field], false)));
}

/*
 * A column as a value of the type that the result has, through text where there is no
 * cast, or where a cast could be a function of a role that is not trusted.  NULL of that
 * type where the log has no such column.
 */
const char *
AuditReadColumnAs(const AuditColumns *columns, AuditField field, Oid typid)
{
	const char *type = format_type_be_qualified(typid);
	Oid			coltype;

	if (columns->attnum[field] == 0)
		return psprintf("NULL::%s", type);
	coltype = get_atttype(columns->relid, columns->attnum[field]);
	if (coltype == typid)
		return AuditReadColumn(columns, field);
	if (!UserCodeTypeIsTrusted(getBaseType(coltype), GetUserId()))
		return psprintf("pg_catalog.format('%%s', %s)::%s", AuditReadColumn(columns, field), type);
	if (typid == XID8OID)
		return psprintf("%s::pg_catalog.text::%s", AuditReadColumn(columns, field), type);
	return psprintf("%s::%s", AuditReadColumn(columns, field), type);
}

/*
 * The order of changes, for ORDER BY: by written_at, then by transaction and number in it.
 * Entries without a written_at are older than those with one, and are ordered by changed_at.
 * A log without numbers in transactions may have a serial id.
 */
const char *
AuditReadOrder(const AuditColumns *columns, bool descending)
{
	const char *way = descending ? " DESC" : "";
	StringInfoData q;

	initStringInfo(&q);
	if (columns->attnum[AUDIT_WRITTEN_AT])
		appendStringInfo(&q, "%s%s NULLS %s, ", AuditReadColumn(columns, AUDIT_WRITTEN_AT), way,
						 descending ? "LAST" : "FIRST");
	if (columns->attnum[AUDIT_XACT_SEQ] == 0 && get_attnum(columns->relid, "id") > 0)
		appendStringInfo(&q, "l.id%s", way);
	else if (columns->attnum[AUDIT_XACT_SEQ] == 0 && get_attnum(columns->relid, "al_id") > 0)
		appendStringInfo(&q, "l.al_id%s", way);
	else
	{
		appendStringInfo(&q, "%s%s", AuditReadColumn(columns, AUDIT_CHANGED_AT), way);
		if (columns->attnum[AUDIT_XACT_ID])
			appendStringInfo(&q, ", %s%s", AuditReadColumnAs(columns, AUDIT_XACT_ID, XID8OID), way);
		if (columns->attnum[AUDIT_XACT_SEQ])
			appendStringInfo(&q, ", %s%s", AuditReadColumn(columns, AUDIT_XACT_SEQ), way);
	}
	return q.data;
}

/* ---- rights ---------------------------------------------------------------------------- */

/* 42501 unless the caller may read the columns of an entry, as the executor would ask. */
static void
check_rights(const AuditColumns *columns)
{
	if (pg_class_aclcheck(columns->relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return;
	for (int i = 0; i < AUDIT_NFIELDS; i++)
		if (columns->attnum[i] != 0 && i != AUDIT_DB_USER && i != AUDIT_SESSION_USER &&
			i != AUDIT_SESSION_ID && i != AUDIT_APP_CONTEXT && i != AUDIT_WRITTEN_AT && i != AUDIT_TABLE_ID &&
			pg_attribute_aclcheck(columns->relid, columns->attnum[i], GetUserId(), ACL_SELECT) != ACLCHECK_OK)
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

/*
 * Opens a log for reading, with ACCESS SHARE, and fills in its columns.  42501 when the caller
 * may not read it, or reading it would run code of others; 42703 for what is no log.
 */
Relation
AuditOpenLogById(Oid logid, AuditColumns *columns)
{
	Relation	rel = table_open(logid, AccessShareLock);

	AuditMapColumns(rel, columns);
	check_log(rel, columns);
	return rel;
}

/* The same for the log of a table, whose columns go into the scope. */
Relation
AuditOpenLog(AuditScope *scope)
{
	return AuditOpenLogById(scope->logid, &scope->columns);
}
