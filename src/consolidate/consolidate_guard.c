/*
 * consolidate_guard.c
 *	  An event trigger against new tables of a consolidated family.
 *
 * consolidate_guard() notes the mode of a schema in consolidate_guard_schema
 * and makes the event trigger when the first schema is guarded; with the last
 * one the trigger goes away.  Making it needs a superuser: PostgreSQL lets
 * nobody else make event triggers (18 included), and this extension will not
 * work around that.
 *
 * The trigger fires at ddl_command_end, when the name, the schema and the kind
 * of what was made are final.  ALTER is looked at only where it renames a
 * relation or moves it into another schema; changing a table that is still
 * waiting to be consolidated stays possible.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/args.h"
#include "common/spi.h"
#include "compat.h"
#include "consolidate/consolidate.h"

#define TRIGGER_NAME "aquacis_consolidate_guard"

/* columns of consolidate_family and consolidate_guard_schema, as aquacis--1.0.sql makes them */
#define Anum_family_family				1
#define Anum_family_pattern				2
#define Anum_family_target				3
#define Anum_guard_schema_source_schema	1
#define Anum_guard_schema_mode			2

/* ---- switching ------------------------------------------------------------------- */

static bool
event_trigger_exists(void)
{
	SpiArg		args[] = {SpiTextArg(TRIGGER_NAME)};

	return SpiQuery("SELECT FROM pg_catalog.pg_event_trigger"
					" WHERE evtname OPERATOR(pg_catalog.=) $1", 1, args) > 0;
}

static void
switch_event_trigger(const char *extschema, bool on)
{
	if (event_trigger_exists() == on)
		return;
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a superuser can switch the guard on for the first schema or off for the last"),
				 errdetail("The guard is an event trigger, which PostgreSQL lets only superusers make and drop.")));
	if (!on)
	{
		SpiRun("DROP EVENT TRIGGER " TRIGGER_NAME);
		return;
	}
	SpiRun(psprintf("CREATE EVENT TRIGGER " TRIGGER_NAME " ON ddl_command_end"
					" WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO',"
					"  'CREATE FOREIGN TABLE', 'CREATE VIEW', 'CREATE MATERIALIZED VIEW',"
					"  'IMPORT FOREIGN SCHEMA', 'CREATE SCHEMA',"
					"  'ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER VIEW',"
					"  'ALTER MATERIALIZED VIEW', 'ALTER INDEX', 'ALTER SEQUENCE')"
					" EXECUTE FUNCTION %s.consolidate_guard_trigger()", extschema));
	SpiRun("COMMENT ON EVENT TRIGGER " TRIGGER_NAME " IS"
		   " 'aquacis: warns of or blocks new per-process tables, see consolidate_guard()'");
}

/* consolidate_guard(source_schema, mode): switches the guard of a schema. */
PG_FUNCTION_INFO_V1(consolidate_guard);

Datum
consolidate_guard(PG_FUNCTION_ARGS)
{
	const char *extschema =
	quote_identifier(get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid)));
	SpiArg		args[2];
	const char *schema = text_to_cstring(PG_GETARG_TEXT_PP(0));
	static const char *const modes[] = {"off", "warn", "block"};
	const char *mode;
	bool		any;

	mode = modes[ArgsWord(fcinfo, 1, "mode", modes, lengthof(modes), NULL)];
	(void) get_namespace_oid(schema, false);

	args[0] = SpiTextArg(schema);
	args[1] = SpiTextArg(mode);
	SPI_connect();
	ConsolidateCheckOwnTables(get_func_namespace(fcinfo->flinfo->fn_oid), true);
	if (strcmp(mode, "off") == 0)
		SpiQuery(psprintf("DELETE FROM %s.consolidate_guard_schema"
						  " WHERE source_schema OPERATOR(pg_catalog.=) $1", extschema),
				 1, args);
	else
		SpiQuery(psprintf("INSERT INTO %s.consolidate_guard_schema (source_schema, mode)"
						  " VALUES ($1, $2) ON CONFLICT (source_schema) DO UPDATE"
						  " SET mode = EXCLUDED.mode",
						  extschema), 2, args);
	any = SpiQuery(psprintf("SELECT FROM %s.consolidate_guard_schema LIMIT 1", extschema),
				   0, NULL) > 0;
	switch_event_trigger(extschema, any);
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---- firing ---------------------------------------------------------------------- */

static bool
is_relation_kind(ObjectType type)
{
	return type == OBJECT_TABLE || type == OBJECT_FOREIGN_TABLE || type == OBJECT_VIEW ||
		type == OBJECT_MATVIEW || type == OBJECT_INDEX || type == OBJECT_SEQUENCE;
}

/* Can this command have given a relation a new name or schema? */
static bool
names_a_relation(Node *parsetree)
{
	if (IsA(parsetree, RenameStmt))
		return is_relation_kind(((RenameStmt *) parsetree)->renameType);
	if (IsA(parsetree, AlterObjectSchemaStmt))
		return is_relation_kind(((AlterObjectSchemaStmt *) parsetree)->objectType);
	return !IsA(parsetree, AlterTableStmt) && !IsA(parsetree, AlterSeqStmt) &&
		!IsA(parsetree, AlterObjectDependsStmt);
}

/* The target's columns as a list, without created_at; NULL when there is no target. */
static char *
columns_of_target(const char *schema, const char *target)
{
	Oid			relid = get_relname_relid(target, get_namespace_oid(schema, true));
	StringInfoData list;
	char	   *name;

	if (!OidIsValid(relid))
		return NULL;
	initStringInfo(&list);
	for (AttrNumber attno = 1; (name = get_attname(relid, attno, true)) != NULL; attno++)
		if (strcmp(name, CREATED_COLUMN) != 0 && strncmp(name, "........pg.dropped", 18) != 0)
			ConsolidateAppendName(&list, name);
	return list.data;
}

typedef struct Violation
{
	char	   *family;
	char	   *target;
	char	   *process;
} Violation;

static void
complain(const char *schema, const char *name, const Violation *violation, bool block)
{
	const char *target = quote_qualified_identifier(schema, violation->target);
	const char *columns = columns_of_target(schema, violation->target);

	ereport(block ? ERROR : WARNING,
			(errcode(block ? ERRCODE_INSUFFICIENT_PRIVILEGE : ERRCODE_WARNING),
			 errmsg("table \"%s.%s\" %s: its family \"%s\" is kept in one table", schema, name,
					block ? "must not be created" : "should not be created", violation->family),
			 errdetail("The rows of all processes are in table %s, told apart by %s.",
					   target, PROCESS_COLUMN),
			 errhint("Instead of the table, INSERT INTO %s (%s) VALUES (%s, ...); read with WHERE %s = %s; "
					 "and DELETE with the same condition instead of DROP TABLE.",
					 target, columns ? columns : PROCESS_COLUMN ", ...", violation->process,
					 PROCESS_COLUMN, violation->process)));
}

/* "warn", "block", or NULL where nothing is guarded. */
static char *
guard_mode(Oid extnamespace, const char *schema)
{
	Relation	rel = table_open(get_relname_relid("consolidate_guard_schema", extnamespace),
								 AccessShareLock);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;
	char	   *mode = NULL;
	bool		isnull;

	while (mode == NULL && (tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
		if (strcmp(TextDatumGetCString(heap_getattr(tuple, Anum_guard_schema_source_schema,
													RelationGetDescr(rel), &isnull)),
				   schema) == 0)
			mode = TextDatumGetCString(heap_getattr(tuple, Anum_guard_schema_mode,
													RelationGetDescr(rel), &isnull));
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return mode;
}

/* The process id in a name that matches; "..." when the group has matched nothing. */
static char *
process_of(Datum name, Datum pattern)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		process;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, C_COLLATION_OID, NULL, NULL);
	fcinfo->args[0].value = name;
	fcinfo->args[1].value = pattern;
	fcinfo->args[0].isnull = fcinfo->args[1].isnull = false;
	process = textregexsubstr(fcinfo);
	return fcinfo->isnull ? "..." : TextDatumGetCString(process);
}

/* The family that this name belongs to, if any. */
static bool
find_family(Oid extnamespace, const char *name, Violation *violation)
{
	Relation	rel = table_open(get_relname_relid("consolidate_family", extnamespace),
								 AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	Datum		text_name = CStringGetTextDatum(name);
	HeapTuple	tuple;
	bool		found = false;
	bool		isnull;

	while (!found && (tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Datum		pattern = heap_getattr(tuple, Anum_family_pattern, desc, &isnull);

		if (!DatumGetBool(DirectFunctionCall2Coll(textregexeq, C_COLLATION_OID, text_name,
												  pattern)))
			continue;
		violation->family = TextDatumGetCString(heap_getattr(tuple, Anum_family_family, desc,
															 &isnull));
		violation->target = TextDatumGetCString(heap_getattr(tuple, Anum_family_target, desc,
															 &isnull));
		violation->process = process_of(text_name, pattern);
		found = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
check_relation(Oid extnamespace, Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char		kind = get_rel_relkind(relid);
	char	   *mode;
	Violation	violation;

	if (name == NULL || schema == NULL ||
		(kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_VIEW &&
		 kind != RELKIND_MATVIEW && kind != RELKIND_FOREIGN_TABLE))
		return;
	mode = guard_mode(extnamespace, schema);
	if (mode != NULL && find_family(extnamespace, name, &violation))
		complain(schema, name, &violation, strcmp(mode, "block") == 0);
}

PG_FUNCTION_INFO_V1(consolidate_guard_trigger);

/*
 * Fires for every role.  Our tables are read directly: a role that makes a
 * table need not have rights on them, nor on the extension's schema.
 */
Datum
consolidate_guard_trigger(PG_FUNCTION_ARGS)
{
	Oid			extnamespace;
	uint64		n;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("consolidate_guard_trigger must be called as an event trigger")));
	if (ConsolidateRestoring ||
		!names_a_relation(((EventTriggerData *) fcinfo->context)->parsetree))
		PG_RETURN_NULL();

	extnamespace = get_func_namespace(fcinfo->flinfo->fn_oid);
	SPI_connect();
	n = SpiQuery("SELECT objid FROM pg_catalog.pg_event_trigger_ddl_commands()"
				 " WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass",
				 0, NULL);
	PushActiveSnapshot(GetLatestSnapshot());
	for (uint64 i = 0; i < n; i++)
		check_relation(extnamespace, SpiOid(i, 1));
	PopActiveSnapshot();
	SPI_finish();
	PG_RETURN_NULL();
}
