/*
 * audit_enable.c
 *	  audit_enable and audit_disable: the triggers of a table; audit_continue: whose
 *	  history it carries on.
 *
 * They write CREATE TRIGGER and DROP TRIGGER statements and run them as the
 * caller, so that only the owner of a table can audit it, or stop doing so.
 *
 * audit_enable, called again, changes what it is told and keeps the rest as the table's
 * trigger has it: a call that is about something else must not take a redaction away.
 * What changes is a NOTICE.  A trigger that has its name already is replaced in place,
 * under SHARE ROW EXCLUSIVE, so that readers go on; only one that has to go is dropped,
 * which PostgreSQL does under ACCESS EXCLUSIVE.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/args.h"
#include "common/catalog.h"
#include "common/hypertable.h"
#include "common/names.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_enable);
PG_FUNCTION_INFO_V1(audit_disable);
PG_FUNCTION_INFO_V1(audit_continue);

/* ---- arguments ------------------------------------------------------------------------ */

static void
no_table(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation with OID %u does not exist", relid)));
}

/*
 * The table to audit, open and locked; 42501, 42809 or 42P01 when it cannot be.  Ownership
 * is checked before the lock is taken, so that a role without rights cannot block the
 * table.  CREATE TRIGGER and DROP TRIGGER check again.
 */
static Relation
open_audited(Oid relid, LOCKMODE lockmode)
{
	Relation	rel;
	char	   *name = get_rel_name(relid);
	char		kind = get_rel_relkind(relid);

	if (name == NULL || kind == '\0')
		no_table(relid);
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(kind), name);
	rel = try_relation_open(relid, lockmode);
	if (rel == NULL)
		no_table(relid);
	kind = rel->rd_rel->relkind;
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE &&
		kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be audited", RelationGetRelationName(rel)),
				 errdetail("It is not a table."),
				 kind == RELKIND_VIEW || kind == RELKIND_MATVIEW ?
				 errhint("Audit the tables that it reads.") : 0));
	if (IsSystemRelation(rel))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"%s\" cannot be audited", RelationGetRelationName(rel)),
				 errdetail("It is a system catalog."),
				 errhint("Use event triggers for changes of the schema.")));
	return rel;
}

/* ---- triggers --------------------------------------------------------------------------- */

/*
 * The names of a table's triggers that call our function, but for clones and copies.
 * ordinary: without those that CREATE OR REPLACE TRIGGER refuses.
 */
static List *
trigger_names(Oid relid, Oid fnoid, bool ordinary)
{
	CatalogRows rows;
	HeapTuple	tuple;
	List	   *names = NIL;

	CatalogBegin(&rows, TriggerRelationId, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (trigger->tgfoid == fnoid && AuditTriggerRoot(trigger->oid, relid) == relid &&
			!(ordinary && OidIsValid(trigger->tgconstraint)))
			names = lappend(names, pstrdup(NameStr(trigger->tgname)));
	}
	CatalogEnd(&rows);
	return names;
}

/* Drops the triggers of trigger_names(), but for those in keep.  Returns how many. */
static int
drop_triggers(Oid relid, Oid fnoid, List *keep)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, trigger_names(relid, fnoid, false))
	{
		if (AuditIsListed(keep, lfirst(lc)))
			continue;
		SpiRun(psprintf("DROP TRIGGER %s ON %s", quote_identifier(lfirst(lc)), NamesQualified(relid)));
		n++;
	}
	return n;
}

/*
 * Row triggers fire in the order of their names.  A trigger that changes the same row
 * again has to come after ours, or the log has the second change before the first.  So
 * our name begins with a character that sorts before digits and letters.
 */
#define TRIGGER_PREFIX	"!audit_"

static char *
trigger_name(const char *table, const char *suffix)
{
	int			room = NAMEDATALEN - 1 - strlen(TRIGGER_PREFIX) - strlen(suffix);

	return psprintf(TRIGGER_PREFIX "%.*s%s", pg_mbcliplen(table, strlen(table), room), table, suffix);
}

/* A WARNING for each row trigger of the table whose name sorts before ours all the same. */
static void
warn_of_earlier_trigger(Oid relid, const char *ours)
{
	Relation	rel = table_open(relid, NoLock);

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
			strcmp(trigger->tgname, ours) < 0)
			ereport(WARNING,
					(errmsg("trigger \"%s\" fires before the audit of table \"%s\"",
							trigger->tgname, RelationGetRelationName(rel)),
					 errdetail("Changes that it makes to the same rows are logged before the change that fired it."),
					 errhint("Rename it so that it sorts after \"%s\".", ours)));
	}
	table_close(rel, NoLock);
}

static void
add_option(StringInfo args, const char *option)
{
	if (args->len > 0)
		appendStringInfoString(args, ", ");
	appendStringInfoString(args, quote_literal_cstr(option));
}

static void
add_argument(StringInfo args, const char *option, List *names)
{
	if (names != NIL)
		add_option(args, psprintf("%s%s", option, AuditColumnList(names)));
}

/* replaced: the names of triggers that are ours, to be replaced where they are. */
static char *
create_trigger(Oid relid, Oid logid, List *replaced, const char *suffix, const char *events, const char *function,
			   const char *args, bool replica)
{
	const char *table = NamesQualified(relid);
	char	   *name = trigger_name(get_rel_name(relid), suffix);

	SpiRun(psprintf("CREATE %sTRIGGER %s %s EXECUTE FUNCTION %s(%s)",
					AuditIsListed(replaced, name) ? "OR REPLACE " : "",
					quote_identifier(name), psprintf(events, table), function, args));
	AuditBindLog(get_trigger_oid(relid, name, false), logid);
	if (replica)
		SpiRun(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, quote_identifier(name)));
	return name;
}

/*
 * A partition that has a clone of its parent's trigger needs none of its own:
 * every change would be logged twice.
 */
static bool
audited_through_parent(Oid relid, Oid fnoid, Oid logid)
{
	AuditArgs	args;
	Oid			root;

	if (!AuditFindTrigger(relid, fnoid, &args, &root) || root == relid ||
		AuditResolveLog(&args, fnoid, root, true) != logid)
		return false;
	ereport(NOTICE,
			(errmsg("\"%s\" is audited as a partition of \"%s\"", get_rel_name(relid),
					get_rel_name(root)),
			 errdetail("Its changes are logged under that name; a trigger of its own would log them twice.")));
	return true;
}

/* Drops the triggers of partitions (or chunks) that were audited before their parent is. */
static void
drop_triggers_of_partitions(Oid relid, Oid fnoid, Oid logid)
{
	ListCell   *lc;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE &&
		!(has_subclass(relid) && HypertableIs(relid)))
		return;
	foreach(lc, find_all_inheritors(relid, ShareRowExclusiveLock, NULL))
	{
		Oid			part = lfirst_oid(lc);
		AuditArgs	args;
		Oid			root;

		if (part == relid || !AuditFindTrigger(part, fnoid, &args, &root) || root != part ||
			AuditResolveLog(&args, fnoid, part, true) != logid)
			continue;
		drop_triggers(part, fnoid, NIL);
		ereport(NOTICE,
				(errmsg("the triggers of partition \"%s\" are replaced by those of \"%s\"",
						get_rel_name(part), get_rel_name(relid)),
				 errdetail("Its changes are logged under the name of the partitioned table from now on.")));
	}
}

/*
 * A NOTICE when the log belongs to a role that can see nothing of the table otherwise: the
 * owner of a log can read, change and delete what is in it.
 */
static void
tell_log_owner(Relation rel, Oid logid, Oid fnoid)
{
	Oid			owner = CatalogOwner(logid);

	if (owner == GetUserId() || AuditTrustsLog(logid, RelationGetRelid(rel), fnoid))
		return;
	ereport(NOTICE,
			(errmsg("changes of \"%s\" are logged where role \"%s\" can read, change and delete them",
					RelationGetRelationName(rel), GetUserNameFromId(owner, false)),
			 errdetail("It owns log \"%s\".", get_rel_name(logid))));
}

/* The arguments of the trigger, as SQL: literals separated by commas. */
static char *
trigger_arguments(const AuditArgs *args, Oid logid)
{
	StringInfoData text;

	initStringInfo(&text);
	add_argument(&text, "", args->key);
	add_argument(&text, "exclude=", args->exclude);
	add_argument(&text, "redact=", args->redact);
	if (args->log_schema)
		add_option(&text, psprintf("log=%s", NamesQualified(logid)));
	if (args->id != 0)
		add_option(&text, psprintf("id=%d", args->id));
	if (args->images)
		add_option(&text, "images");
	return text.data;
}

/*
 * Makes the triggers of a table, within an SPI connection, and drops what it had besides.
 * args->id is 0 with a library that is newer than the extension in this database.
 * TimescaleDB copies a trigger to the chunks when it is made, and knows of no replacing.
 */
static void
create_triggers(Oid relid, Oid logid, Oid trgoid, const AuditArgs *args, bool replica)
{
	char	   *function = quote_qualified_identifier(get_namespace_name(get_func_namespace(trgoid)),
													  "fn_audit_trigger");
	char	   *text = trigger_arguments(args, logid);
	List	   *replaced = NIL;
	List	   *made = NIL;

	if (HypertableIs(relid))
		drop_triggers(relid, trgoid, NIL);
	else
		replaced = trigger_names(relid, trgoid, true);
	made = lappend(made, create_trigger(relid, logid, replaced, "", "AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW",
										function, text, replica));
	if (AuditCanLogTruncate(relid, logid))
		made = lappend(made, create_trigger(relid, logid, replaced, "_truncate", "AFTER TRUNCATE ON %s FOR EACH STATEMENT",
											function, text, replica));
	if (args->images && get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE)
		made = lappend(made, create_trigger(relid, logid, replaced, "_images", "BEFORE TRUNCATE ON %s FOR EACH STATEMENT",
											function, text, replica));
	drop_triggers(relid, trgoid, made);
	warn_of_earlier_trigger(relid, trigger_name(get_rel_name(relid), ""));
}

/*
 * audit_enable(table, key, exclude, redact, log, replica, images)
 *
 * An argument that is null is as it was, where the table is audited already.
 */
Datum
audit_enable(PG_FUNCTION_ARGS)
{
	Oid			relid;
	Relation	rel;
	AuditSettings before = {{0}};
	AuditSettings now = {{0}};
	AuditArgs  *args = &now.args;
	bool		audited;
	List	   *key;
	Oid			trgoid = AuditTriggerFunction(fcinfo->flinfo->fn_oid);
	static const char *const arguments[] = {"audited_table"};

	ArgsRefuseNull(fcinfo, "audit_enable", arguments, lengthof(arguments));
	relid = PG_GETARG_OID(0);
	rel = open_audited(relid, ShareRowExclusiveLock);
	audited = AuditReadSettings(relid, trgoid, &before);
	key = AuditSettingsArguments(fcinfo, rel, audited ? &before : NULL, &now);
	AuditRefuseKey(rel, key, args->redact);
	AuditRefuseOwnLog(rel, now.logid);

	AuditCheckLog(rel, key, now.logid);
	tell_log_owner(rel, now.logid, fcinfo->flinfo->fn_oid);
	AuditTellLimits(rel, args);
	AuditCheckHypertableOwner(rel, trgoid);
	if (audited)
		AuditTellChanges(rel, &before, &now);

	/* DDL refuses a table that its session has open; the lock stays */
	table_close(rel, NoLock);
	SPI_connect();
	if (audited_through_parent(relid, trgoid, now.logid))
		drop_triggers(relid, trgoid, NIL);
	else
	{
		drop_triggers_of_partitions(relid, trgoid, now.logid);
		args->id = AuditRegister(trgoid, relid, now.logid, key, audited ? &before.args : NULL);
		create_triggers(relid, now.logid, trgoid, args, now.replica);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

/* audit_disable(table): drops the triggers; 42501 unless the caller owns the table. */
Datum
audit_disable(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			trgoid = AuditTriggerFunction(fcinfo->flinfo->fn_oid);
	AuditSettings settings;

	table_close(open_audited(relid, AccessExclusiveLock), NoLock);
	if (trigger_names(relid, trgoid, false) == NIL)
		ereport(NOTICE,
				(errmsg("table \"%s\" is not audited", get_rel_name(relid))));
	else if (AuditReadSettings(relid, trgoid, &settings))
		AuditTellForgotten(relid, &settings);
	SPI_connect();
	drop_triggers(relid, trgoid, NIL);
	AuditUnregister(trgoid, relid);
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * The row of the table that has a history to be carried on; 42704 when there is none,
 * 55000 when that table is still there, or its history is carried on already.
 */
static void
check_former(Oid fnoid, Oid relid, int32 id, int32 former)
{
	AuditRegistered row;

	if (!AuditRegistryById(fnoid, former, &row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no table was ever audited under the id %d", former),
				 errhint("SELECT id, table_schema, table_name FROM audit_table lists them.")));
	if (row.relid != relid && OidIsValid(row.relid) && get_rel_relkind(row.relid) != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" cannot carry on the history of table %d", get_rel_name(relid), former),
				 errdetail("That is \"%s\", which is still there.", get_rel_name(row.relid)),
				 errhint("Drop that table first.")));
	/* along the chain, so that it has no circle */
	while (row.id != id && row.continues != 0 && AuditRegistryById(fnoid, row.continues, &row))
		;
	if (row.id == id)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a table cannot carry on its own history"),
				 errdetail("Table %d is \"%s\", or carries it on.", former, get_rel_name(relid)),
				 errhint("SELECT id, table_schema, table_name, continues FROM audit_table.")));
}

/*
 * audit_continue(table, former_id): the entries of a former table, which is gone, belong to
 * the history of this one.  former_id 0: entries without an id under its first name.
 */
Datum
audit_continue(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	int32		former = PG_GETARG_INT32(1);
	Oid			fnoid = AuditTriggerFunction(fcinfo->flinfo->fn_oid);
	List	   *rows;
	SpiArg		args[2];

	table_close(open_audited(relid, AccessShareLock), NoLock);
	rows = AuditRegistryByTable(fnoid, relid);
	if (rows == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has never been audited", get_rel_name(relid)),
				 errhint("Call audit_enable(%s) first.", NamesLiteral(relid))));
	args[0] = SpiDatumArg(INT4OID, Int32GetDatum(((AuditRegistered *) llast(rows))->id));
	args[1] = SpiDatumArg(INT4OID, Int32GetDatum(former));
	if (former != 0)
		check_former(fnoid, relid, ((AuditRegistered *) llast(rows))->id, former);
	SPI_connect();
	if (former != 0)
		AuditRegistryRun(fnoid, "UPDATE %s SET continues = $2 WHERE id OPERATOR(pg_catalog.=) $1", 2, args);
	else
		AuditRegistryRun(fnoid, "UPDATE %s SET names_before = true WHERE id OPERATOR(pg_catalog.=) $1", 1, args);
	SPI_finish();
	PG_RETURN_VOID();
}
