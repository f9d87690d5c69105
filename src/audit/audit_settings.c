/*
 * audit_settings.c
 *	  How a table is audited: what audit_enable is told, what the table's trigger has, and
 *	  what differs.
 *
 * An argument that is not given is as it was: a call that is about something else must
 * not take a redaction away.  What changes is a NOTICE.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/indexing.h"
#include "catalog/pg_trigger.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/args.h"
#include "common/catalog.h"
#include "common/names.h"
#include "compat.h"

/* ---- arguments ------------------------------------------------------------------------ */

/* Are the columns there?  kept: the trigger that is there names them, not the caller. */
static void
check_columns(Relation rel, List *names, const char *what, bool kept)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (get_attnum(RelationGetRelid(rel), lfirst(lc)) > 0)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						(char *) lfirst(lc), RelationGetRelationName(rel)),
				 kept ? errdetail("It is in \"%s\" of the table's audit so far: %s.", what, AuditColumnList(names)) :
				 errdetail("It is named in \"%s\".", what),
				 kept ? errhint("Name all columns of \"%s\" as they are called now, or '{}' for none.", what) :
				 errhint("Column names are taken as they stand, case included.")));
	}
}

/* Those of the columns that are there. */
static List *
columns_there(Relation rel, List *names)
{
	List	   *there = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		if (get_attnum(RelationGetRelid(rel), lfirst(lc)) > 0)
			there = lappend(there, lfirst(lc));
	}
	return there;
}

static void
refuse_overlap(List *a, List *b, const char *message)
{
	ListCell   *x;
	ListCell   *y;

	foreach(x, a)
	{
		foreach(y, b)
		{
			if (strcmp(lfirst(x), lfirst(y)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("%s", message),
						 errdetail("Column \"%s\" is in both lists.", (char *) lfirst(x)),
						 errhint("Take it out of one of them.")));
		}
	}
}

/* ---- called again ------------------------------------------------------------------------- */

/*
 * Has the table a row trigger of its own, with arguments that can be read?  Then *settings
 * is what that says; of several the one that is enabled.
 */
bool
AuditReadSettings(Oid relid, Oid fnoid, AuditSettings *settings)
{
	CatalogRows rows;
	HeapTuple	tuple;
	bool		found = false;
	bool		enabled = false;
	char		kind;

	CatalogBegin(&rows, TriggerRelationId, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relid);
	while (!enabled && HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (trigger->tgfoid != fnoid || !TRIGGER_FOR_ROW(trigger->tgtype) ||
			AuditTriggerRoot(trigger->oid, relid) != relid ||
			!AuditReadArgs(tuple, RelationGetDescr(rows.catalog), &settings->args))
			continue;
		AuditReadBinding(trigger->oid, &settings->args);
		settings->replica = trigger->tgenabled == TRIGGER_FIRES_ALWAYS;
		enabled = trigger->tgenabled != TRIGGER_DISABLED;
		found = true;
	}
	CatalogEnd(&rows);
	if (!found)
		return false;
	settings->logid = AuditResolveLog(&settings->args, fnoid, relid, true);
	kind = get_rel_relkind(settings->logid);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_FOREIGN_TABLE &&
		kind != RELKIND_VIEW)
		settings->logid = InvalidOid;
	return true;
}

/* The blank before a sentence that follows another. */
static void
begin_sentence(StringInfo text)
{
	if (text->len > 0)
		appendStringInfoChar(text, ' ');
}

/* Appends a sentence with the names that are in a and not in b, if there are any. */
static void
tell_names(StringInfo text, const char *what, List *a, List *b)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, a)
	{
		if (!AuditIsListed(b, lfirst(lc)))
			names = lappend(names, lfirst(lc));
	}
	if (names != NIL)
	{
		begin_sentence(text);
		appendStringInfo(text, "%s: %s.", what, AuditColumnList(names));
	}
}

/* Appends a sentence when what is logged has become more or less. */
static void
tell_switch(StringInfo text, const char *what, bool before, bool now)
{
	if (before == now)
		return;
	begin_sentence(text);
	appendStringInfo(text, "%s are %s.", what, now ? "logged from now on" : "no longer logged");
}

/* Appends a sentence when the log is another one. */
static void
tell_log(StringInfo text, Oid before, Oid now)
{
	const char *was = OidIsValid(before) ? get_rel_name(before) : NULL;
	const char *is = get_rel_name(now);

	if (before == now)
		return;
	begin_sentence(text);
	if (was == NULL)
		appendStringInfo(text, "The log is \"%s\"; what it was is gone.", is);
	else if (strcmp(was, is) != 0)
		appendStringInfo(text, "The log was \"%s\", and is \"%s\".", was, is);
	else
		appendStringInfo(text, "The log was %s, and is %s.", NamesQualified(before), NamesQualified(now));
}

static const char *
key_words(List *key)
{
	return key == NIL ? "the primary key" : AuditColumnList(key);
}

/* A NOTICE of what a call of audit_enable changes in the audit of a table. */
void
AuditTellChanges(Relation rel, const AuditSettings *before, const AuditSettings *now)
{
	StringInfoData text;
	const char *key = key_words(before->args.key);

	initStringInfo(&text);
	tell_names(&text, "No longer redacted", before->args.redact, now->args.redact);
	tell_names(&text, "Redacted from now on", now->args.redact, before->args.redact);
	tell_names(&text, "No longer excluded", before->args.exclude, now->args.exclude);
	tell_names(&text, "Excluded from now on", now->args.exclude, before->args.exclude);
	if (strcmp(key, key_words(now->args.key)) != 0)
	{
		begin_sentence(&text);
		appendStringInfo(&text, "The key was %s, and is %s.", key, key_words(now->args.key));
	}
	tell_log(&text, before->logid, now->logid);
	tell_switch(&text, "Changes that replication applies", before->replica, now->replica);
	tell_switch(&text, "Rows that TRUNCATE removes", before->args.images, now->args.images);
	if (text.len > 0)
		ereport(NOTICE,
				(errmsg("the audit of \"%s\" changes", RelationGetRelationName(rel)),
				 errdetail("%s", text.data)));
}

/*
 * The log that was named, else the one that is written to so far, else the default one.
 * It is locked, so that it is neither dropped nor changed until the transaction ends.
 * Fills in its name, unless it is the default one that nobody named.
 */
static void
choose_log(FunctionCallInfo fcinfo, Oid relid, const AuditSettings *before, AuditSettings *now)
{
	Oid			fnoid = fcinfo->flinfo->fn_oid;
	AuditArgs  *args = &now->args;
	bool		named = !PG_ARGISNULL(4);
	Relation	log;

	args->log_name = "audit_log";
	if (named)
		now->logid = PG_GETARG_OID(4);
	else if (before && OidIsValid(before->logid))
	{
		now->logid = before->logid;
		named = before->args.log_schema != NULL || !AuditHasName(now->logid, args, fnoid);
	}
	else
		/* args have no trigger yet, so that any planted log is refused */
		now->logid = AuditResolveLog(args, fnoid, relid, false);
	log = try_relation_open(now->logid, AccessShareLock);
	if (log == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", now->logid)));
	if (named)
	{
		args->log_schema = get_namespace_name(RelationGetNamespace(log));
		args->log_name = pstrdup(RelationGetRelationName(log));
	}
	relation_close(log, NoLock);
}

/*
 * What the call asks for, and, where an argument is null and before is given, what the
 * table's trigger has.  Excluded columns that are gone are forgotten; a redacted one may
 * only have another name, under which it would be logged.  Returns the names of the key's
 * columns.  22004 null elements; 22023 a column in two lists; 42703 a column that is not
 * there; 42P01, 42501 the log.
 */
List *
AuditSettingsArguments(FunctionCallInfo fcinfo, Relation rel, const AuditSettings *before, AuditSettings *now)
{
	AuditArgs  *args = &now->args;
	const AuditArgs *kept = before ? &before->args : NULL;
	bool		has_images = PG_NARGS() > 6 && !PG_ARGISNULL(6);
	List	   *key;

	args->key = PG_ARGISNULL(1) && kept ? columns_there(rel, kept->key) : ArgsNames(fcinfo, 1, "key");
	if (kept && list_length(args->key) < list_length(kept->key) && PG_ARGISNULL(1))
		args->key = NIL;		/* as the trigger has done since */
	args->exclude = PG_ARGISNULL(2) && kept ? columns_there(rel, kept->exclude) : ArgsNames(fcinfo, 2, "exclude");
	args->redact = PG_ARGISNULL(3) && kept ? kept->redact : ArgsNames(fcinfo, 3, "redact");
	args->images = has_images ? PG_GETARG_BOOL(6) : kept && kept->images;
	now->replica = PG_ARGISNULL(5) ? before && before->replica : PG_GETARG_BOOL(5);
	check_columns(rel, args->key, "key", false);
	check_columns(rel, args->exclude, "exclude", false);
	check_columns(rel, args->redact, "redact", PG_ARGISNULL(3));
	refuse_overlap(args->exclude, args->redact, "a column cannot be both excluded and redacted");
	key = AuditKeyNames(rel, args->key);
	refuse_overlap(key, args->exclude, "a key column cannot be excluded from the audit");
	refuse_overlap(key, args->redact, "a key column cannot be redacted");
	choose_log(fcinfo, RelationGetRelid(rel), before, now);
	return key;
}

/* Says how a table was audited, where a later audit_enable would not guess it. */
void
AuditTellForgotten(Oid relid, const AuditSettings *settings)
{
	StringInfoData text;

	initStringInfo(&text);
	tell_names(&text, "Redacted were", settings->args.redact, NIL);
	tell_names(&text, "Excluded were", settings->args.exclude, NIL);
	if (text.len > 0)
		ereport(NOTICE,
				(errmsg("what \"%s\" redacts and excludes is forgotten", get_rel_name(relid)),
				 errdetail("%s", text.data),
				 errhint("Name these columns when you call audit_enable for it again.")));
}
