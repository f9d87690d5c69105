/*
 * audit_adopt.c
 *	  CALL audit_adopt: a plain log becomes a monthly partitioned one, without copying it.
 *
 * 1. ALTER TABLE: the columns written_at and table_id where they are missing, and
 *	  CHECK (changed_at < cut) NOT VALID.  The cut is the start of the next month, or of
 *	  the one after it when less than eight days are left.  An exclusive lock, for a moment.
 * 2. VALIDATE CONSTRAINT reads the whole log once, while writers go on.
 * 3. One short transaction with an exclusive lock: the table is renamed to <name>_past; a
 *	  partitioned table with its name gets all that it had (audit_carry.c); the past becomes
 *	  its partition (MINVALUE .. cut), which the check proves without reading it; a DEFAULT
 *	  partition follows, and the triggers that write to the log are bound to the new one.
 * 4. Months ahead, as audit_maintain makes them.
 *
 * Writers wait for steps 1 and 3, for lock_wait and the moment of the step at most; after
 * that long the step gives way, and is tried again.  Who waits for the plain table's lock
 * when it is renamed finds the new one by its name.
 *
 * A crash or kill leaves the plain log, maybe with columns and check, or the partitioned one,
 * maybe without months.  Calling again goes on.  The check is dropped after any
 * error; what a killed server process leaves refuses entries from the cut on, so it must
 * not be forgotten.  That is why the cut is never less than eight days away.
 *
 * All is done as the log's owner (common/usercode.h), but for publications, which belong
 * to the caller.  Only the log's owner may call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_adopt.h"
#include "audit/audit_months.h"
#include "audit/audit_step.h"
#include "common/args.h"
#include "common/catalog.h"
#include "common/hypertable.h"
#include "common/names.h"
#include "common/rights.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_adopt);

#define MONTHS_AHEAD	3
#define STEP_TRIES		10
#define CUT_DISTANCE	(8 * USECS_PER_DAY)

typedef struct Adopt
{
	Oid			fnoid;
	Oid			trgoid;			/* fn_audit_trigger */
	Oid			logid;			/* the plain one; the partitioned one from step 3 on */
	Oid			owner;
	char	   *name;			/* of the log */
	AttrNumber	attnum;			/* of changed_at */
	char	   *column;			/* its name, quoted */
	AuditSteps	steps;
	char		check[NAMEDATALEN]; /* its name; "": none */
	int			cut;			/* month */
	int			month;			/* that is to be made */
	int			created;
	char	   *past;			/* name of the plain table from step 3 on */
	List	   *bound;			/* OIDs of triggers that are bound to the log */
	List	   *unbound;		/* that know it by its name alone */
	List	   *ids;			/* of int: of their tables */
	MemoryContext cxt;
} Adopt;

/* ---- can it be adopted? ------------------------------------------------------------------- */

/* 42703, 42804, 22023 unless the log has a time that it can be partitioned by. */
static void
find_column(Adopt *a, Relation log, FunctionCallInfo fcinfo)
{
	AuditColumns columns;
	Form_pg_attribute att;

	AuditMapColumns(log, &columns);
	a->attnum = columns.attnum[AUDIT_CHANGED_AT];
	att = TupleDescAttr(RelationGetDescr(log), a->attnum - 1);
	if (!PG_ARGISNULL(1) && strcmp(NameStr(*PG_GETARG_NAME(1)), NameStr(att->attname)) != 0)
		ereport(ERROR,
				(errcode(get_attnum(a->logid, NameStr(*PG_GETARG_NAME(1))) == InvalidAttrNumber ?
						 ERRCODE_UNDEFINED_COLUMN : ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" does not have the times of log \"%s\"",
						NameStr(*PG_GETARG_NAME(1)), a->name),
				 errdetail("They are in column \"%s\".", NameStr(att->attname)),
				 errhint("Leave changed_at out.")));
	if (att->atttypid != TIMESTAMPTZOID && att->atttypid != TIMESTAMPOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("log \"%s\" cannot be partitioned by months", a->name),
				 errdetail("Its column \"%s\" is of type %s.", NameStr(att->attname),
						   format_type_be(att->atttypid)),
				 errhint("Make it timestamp with time zone.")));
	a->column = pstrdup(quote_identifier(NameStr(att->attname)));
}

/* 55000 when something is in the way; it is listed. */
static void
refuse_obstacles(Adopt *a)
{
	List	   *found = AuditCarryObstacles(a->logid, a->trgoid);
	StringInfoData list;
	ListCell   *lc;

	if (found == NIL)
		return;
	initStringInfo(&list);
	foreach(lc, found)
		appendStringInfo(&list, "%s%s", list.len > 0 ? "; " : "", (char *) lfirst(lc));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("log \"%s\" cannot be adopted as it is", a->name),
			 errdetail("In the way: %s.", list.data),
			 errhint("Drop them (or validate, or set publish_via_partition_root), call audit_adopt(), and make them again.")));
}

/*
 * Reads what is to be adopted.  True when it is a plain table, false when it is partitioned
 * by changed_at already.  42809 for anything else.
 */
static bool
look(Adopt *a, FunctionCallInfo fcinfo)
{
	Relation	log = table_open(a->logid, AccessShareLock);
	AuditRanges ranges;
	bool		plain = log->rd_rel->relkind == RELKIND_RELATION;

	a->name = pstrdup(RelationGetRelationName(log));
	a->owner = log->rd_rel->relowner;
	if (plain && (log->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT ||
				  OidIsValid(log->rd_rel->reloftype) || log->rd_rel->relispartition ||
				  HypertableIs(a->logid) || OidIsValid(HypertableOf(a->logid))))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be adopted", a->name),
				 errdetail("It is temporary, unlogged, of a type, or a part of another table.")));
	if (!plain && !AuditReadRanges(log, &ranges))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be adopted", a->name),
				 errdetail("It is not a plain table, nor partitioned by range of changed_at.")));
	if (plain)
		find_column(a, log, fcinfo);
	table_close(log, AccessShareLock);
	return plain;
}

/*
 * 42501 unless the log's owner may make tables in its schema: said before the log is read,
 * not after.
 */
static void
require_create(Adopt *a)
{
	Oid			nspoid = get_rel_namespace(a->logid);
	const char *owner = GetUserNameFromId(a->owner, false);
	const char *schema = get_namespace_name(nspoid);

	if (object_aclcheck(NamespaceRelationId, nspoid, a->owner, ACL_USAGE) == ACLCHECK_OK &&
		object_aclcheck(NamespaceRelationId, nspoid, a->owner, ACL_CREATE) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("role \"%s\" owns \"%s\" and may not make tables in its schema", owner, a->name),
			 errdetail("The partitioned log and its months are made with the rights of its owner."),
			 errhint("GRANT CREATE, USAGE ON SCHEMA %s TO %s.", quote_identifier(schema), quote_identifier(owner))));
}

/* The triggers that write to the log, as a->bound and a->unbound, and the ids of their tables. */
static void
find_triggers(Adopt *a)
{
	CatalogRows rows;
	HeapTuple	tuple;

	a->bound = a->unbound = a->ids = NIL;
	CatalogBeginAll(&rows, TriggerRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
		AuditArgs	args;

		if (trigger->tgfoid != a->trgoid || OidIsValid(trigger->tgparentid) ||
			!heap_attisnull(tuple, Anum_pg_trigger_tgqual, RelationGetDescr(rows.catalog)) ||
			!AuditReadArgs(tuple, RelationGetDescr(rows.catalog), &args))
			continue;
		AuditReadBinding(trigger->oid, &args);
		if (args.tgoid != trigger->oid)
			continue;			/* a copy, on a chunk of a hypertable */
		if (args.bound_log == a->logid)
			a->bound = lappend_oid(a->bound, trigger->oid);
		else if (!OidIsValid(args.bound_log) &&
				 AuditResolveLog(&args, a->fnoid, trigger->tgrelid, true) == a->logid)
			a->unbound = lappend_oid(a->unbound, trigger->oid);
		else
			continue;
		if (args.id != 0)
			a->ids = list_append_unique_int(a->ids, args.id);
	}
	CatalogEnd(&rows);
}

/*
 * The entries until now say only the name of their table; those from now on, its id.  Both
 * are of one table.
 */
static void
join_names(Adopt *a)
{
	ListCell   *lc;

	find_triggers(a);
	foreach(lc, a->ids)
	{
		SpiArg		id = SpiDatumArg(INT4OID, Int32GetDatum(lfirst_int(lc)));

		AuditRegistryRun(a->fnoid, "UPDATE %s SET names_before = true WHERE id OPERATOR(pg_catalog.=) $1", 1, &id);
	}
}

/* ---- steps 1 and 2: the check ---------------------------------------------------------------- */

/* The check that an earlier call has left, as a->check and a->cut.  *valid: it is proved. */
static bool
find_check(Adopt *a, bool *valid)
{
	CatalogRows rows;
	HeapTuple	tuple;
	int			year;
	int			month;

	a->check[0] = '\0';
	CatalogBegin(&rows, ConstraintRelationId, ConstraintRelidTypidNameIndexId,
				 Anum_pg_constraint_conrelid, a->logid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);

		if (form->contype != CONSTRAINT_CHECK ||
			sscanf(NameStr(form->conname), AUDIT_ADOPT_CHECK "%d_%d", &year, &month) != 2)
			continue;
		strlcpy(a->check, NameStr(form->conname), NAMEDATALEN);
		a->cut = year * 12 + month - 1;
		*valid = form->convalidated;
	}
	CatalogEnd(&rows);
	return a->check[0] != '\0';
}

/* The month from which on there are partitions. */
static int
choose_cut(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int			month = AuditMonthOf(now) + 1;

	return AuditMonthStart(month) - now < CUT_DISTANCE ? month + 1 : month;
}

/* Appends ADD COLUMN for a field that the log has no column for. */
static void
add_column(Adopt *a, StringInfo command, const AuditColumns *columns, AuditField field,
		   const char *name, const char *type)
{
	const char *prefix = strncmp(a->column, "al_", 3) == 0 ? "al_" : "";

	if (columns->attnum[field] == 0)
		appendStringInfo(command, "ADD COLUMN %s%s %s, ", prefix, name, type);
}

static void
add_check(void *arg)
{
	Adopt	   *a = arg;
	AuditColumns columns;
	StringInfoData command;
	Relation	log;
	bool		valid;
	int			year;
	int			month;

	LockRelationOid(a->logid, AccessExclusiveLock);
	log = table_open(a->logid, NoLock);
	AuditMapColumns(log, &columns);
	table_close(log, NoLock);
	initStringInfo(&command);
	if (find_check(a, &valid))
	{
		if (AuditMonthStart(a->cut) - GetCurrentTimestamp() >= USECS_PER_DAY)
			return;
		appendStringInfo(&command, "DROP CONSTRAINT %s, ", quote_identifier(a->check));
	}
	add_column(a, &command, &columns, AUDIT_WRITTEN_AT, "written_at", "pg_catalog.timestamptz");
	add_column(a, &command, &columns, AUDIT_TABLE_ID, "table_id", "pg_catalog.int4");
	a->cut = choose_cut();
	AuditSplitMonth(a->cut, &year, &month);
	snprintf(a->check, NAMEDATALEN, AUDIT_ADOPT_CHECK "%04d_%02d", year, month);
	appendStringInfo(&command, "ADD CONSTRAINT %s CHECK (%s IS NOT NULL AND %s OPERATOR(pg_catalog.<) %s) NOT VALID",
					 a->check, a->column, a->column, AuditTimeLiteral(AuditMonthStart(a->cut)));
	AuditAlterAsOwner(a->logid, psprintf("ALTER TABLE %s %s", NamesQualified(a->logid), command.data));
	if (columns.attnum[AUDIT_TABLE_ID] == 0)
		join_names(a);
}

static void
validate_check(void *arg)
{
	Adopt	   *a = arg;

	AuditAlterAsOwner(a->logid, psprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s",
										 NamesQualified(a->logid), quote_identifier(a->check)));
}

static void
drop_check(void *arg)
{
	Adopt	   *a = arg;

	if (get_rel_relkind(a->logid) == RELKIND_RELATION)
		AuditAlterAsOwner(a->logid, psprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
											 NamesQualified(a->logid), quote_identifier(a->check)));
}

/* ---- step 3: the new table -------------------------------------------------------------------- */

static void
bind_triggers(Adopt *a, Oid newid)
{
	ListCell   *lc;

	foreach(lc, a->bound)
		changeDependencyFor(TriggerRelationId, lfirst_oid(lc), RelationRelationId, a->logid, newid);
	foreach(lc, a->unbound)
		AuditBindLog(lfirst_oid(lc), newid);
	CommandCounterIncrement();
}

static void
run_all(List *statements)
{
	ListCell   *lc;

	foreach(lc, statements)
		SpiRun(lfirst(lc));
}

/* A name in the log's schema, qualified. */
static const char *
qualified(Oid nspoid, const char *name)
{
	return quote_qualified_identifier(get_namespace_name(nspoid), name);
}

/* Partitioned indexes of which those of the past become a part; a NOTICE names the others. */
static void
make_indexes(Adopt *a, List *indexes, Oid nspoid)
{
	StringInfoData left;
	ListCell   *lc;

	initStringInfo(&left);
	foreach(lc, indexes)
	{
		AuditCarriedIndex *index = lfirst(lc);
		char	   *name;

		if (index->first == NULL)
		{
			appendStringInfo(&left, "%s\"%s\"", left.len > 0 ? ", " : "", index->name);
			continue;
		}
		name = ChooseRelationName(index->name, NULL, "all", nspoid, true);
		SpiRun(psprintf("%s%s%s", index->first, quote_identifier(name), index->second));
		SpiRun(psprintf("ALTER INDEX %s ATTACH PARTITION %s", qualified(nspoid, name),
						qualified(nspoid, index->name)));
	}
	if (left.len > 0)
		ereport(NOTICE,
				(errmsg("unique indexes of \"%s\" stay with its past: %s", a->name, left.data),
				 errdetail("Months have no such index: over months, a key can be unique only together with %s.", a->column),
				 errhint("Make an index that is not unique if somebody searches by it.")));
}

/* The DEFAULT partition.  Rows leave it by DELETE, which a publication has to identify. */
static void
make_default(Adopt *a, Oid nspoid)
{
	char	   *spare = ChooseRelationName(a->name, NULL, "default", nspoid, false);

	SpiRun(psprintf("CREATE TABLE %s PARTITION OF %s DEFAULT", qualified(nspoid, spare),
					qualified(nspoid, a->name)));
	RightsOfOwnerAlone(get_relname_relid(spare, nspoid));
	SpiRun(psprintf("ALTER TABLE %s OWNER TO %s", qualified(nspoid, spare),
					quote_identifier(GetUserNameFromId(a->owner, false))));
	SpiRun(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", qualified(nspoid, spare)));
}

/* As the owner: the past, the partitioned table over it, and all that it carries on. */
static void
make_table(Adopt *a, const AuditCarried *carried, Oid nspoid, const char *tablespace)
{
	const char *log = qualified(nspoid, a->name);
	const char *past = qualified(nspoid, a->past);

	run_all(carried->before);
	SpiRun(psprintf("ALTER TABLE %s RENAME TO %s", log, quote_identifier(a->past)));
	SpiRun(psprintf("CREATE TABLE %s (LIKE %s INCLUDING COMMENTS INCLUDING COMPRESSION INCLUDING CONSTRAINTS "
					"INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE) PARTITION BY RANGE (%s)%s",
					log, past, a->column,
					tablespace ? psprintf(" TABLESPACE %s", quote_identifier(tablespace)) : ""));
	RightsOfOwnerAlone(get_relname_relid(a->name, nspoid));
	SpiRun(psprintf("ALTER TABLE %s OWNER TO %s", log, quote_identifier(GetUserNameFromId(a->owner, false))));
	SpiRun(psprintf("ALTER TABLE %s DROP CONSTRAINT %s", log, quote_identifier(a->check)));
	SpiRun(psprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (MINVALUE) TO (%s)", log, past,
					AuditTimeLiteral(AuditMonthStart(a->cut))));
	SpiRun(psprintf("ALTER TABLE %s DROP CONSTRAINT %s", past, quote_identifier(a->check)));
	make_indexes(a, carried->indexes, nspoid);
	make_default(a, nspoid);
	run_all(carried->after);
}

static void
swap(void *arg)
{
	Adopt	   *a = arg;
	AuditCarried carried;
	UserCodeScope scope;
	Oid			nspoid;
	const char *tablespace;
	char		check[NAMEDATALEN];
	bool		valid = false;
	int			level;
	Relation	log;
	MemoryContext oldcontext;

	LockRelationOid(a->logid, AccessExclusiveLock);
	strlcpy(check, a->check, NAMEDATALEN);
	if (get_rel_relkind(a->logid) != RELKIND_RELATION || !find_check(a, &valid) || !valid ||
		strcmp(check, a->check) != 0 || AuditMonthStart(a->cut) <= GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("log \"%s\" was changed by another session", a->name),
				 errhint("Call audit_adopt() again.")));
	refuse_obstacles(a);
	log = table_open(a->logid, NoLock);
	nspoid = RelationGetNamespace(log);
	tablespace = get_tablespace_name(log->rd_rel->reltablespace);
	a->owner = log->rd_rel->relowner;
	table_close(log, NoLock);
	oldcontext = MemoryContextSwitchTo(a->cxt);
	a->name = get_rel_name(a->logid);
	a->past = ChooseRelationName(a->name, NULL, "past", nspoid, false);
	MemoryContextSwitchTo(oldcontext);

	find_triggers(a);
	level = SettingsForText();
	AuditCarryCollect(a->logid, a->attnum, &carried);
	run_all(carried.leave);
	UserCodeEnter(&scope, a->owner);
	make_table(a, &carried, nspoid, tablespace);
	UserCodeLeave(&scope);
	run_all(carried.join);
	SettingsEnd(level);
	bind_triggers(a, get_relname_relid(a->name, nspoid));
	a->logid = get_relname_relid(a->name, nspoid);
}

/* ---- the procedure ------------------------------------------------------------------------------ */

/* What to do about an error between steps 1 and 3: take the check away, raise it again. */
static void
give_up(Adopt *a, ErrorData *error)
{
	ErrorData  *second;

	SpiNextTransaction();
	second = AuditRunStep(&a->steps, drop_check, a);
	if (second != NULL)
		ereport(WARNING,
				(errcode(second->sqlerrcode),
				 errmsg("check constraint \"%s\" of log \"%s\" could not be dropped: %s", a->check,
						a->name, second->message),
				 errdetail("From %s on it refuses entries.", AuditTimeLiteral(AuditMonthStart(a->cut))),
				 errhint("Call audit_adopt() again before that, or drop the constraint.")));
	SpiNextTransaction();
	if (error->sqlerrcode == ERRCODE_CHECK_VIOLATION)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("log \"%s\" has entries without a time, or of the future", a->name),
				 errdetail("Their %s is null, or not before %s.", a->column,
						   AuditTimeLiteral(AuditMonthStart(a->cut))),
				 errhint("Correct or delete them, and call audit_adopt() again.")));
	ReThrowError(error);
}

/*
 * Runs a step until its locks are granted, up to STEP_TRIES times, and commits.  55P03
 * after that; other errors are raised when the check is gone.
 */
static void
must_step(Adopt *a, SpiWork work)
{
	for (int i = 0; i < STEP_TRIES; i++)
	{
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		error = AuditRunStep(&a->steps, work, a);
		if (error != NULL && !AuditForgivesStep(error))
			give_up(a, error);
		SpiNextTransaction();
		if (error == NULL)
			return;
		/* let those who waited behind us do their work */
		pg_usleep(100000L);
	}
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("log \"%s\" is in use", a->name),
			 errdetail("An exclusive lock was not granted within lock_wait = '%s', %d times.%s",
					   a->steps.lock_wait, STEP_TRIES, a->check[0] == '\0' ? "" :
					   psprintf(" Its check constraint \"%s\" refuses entries from %s on.", a->check,
								AuditTimeLiteral(AuditMonthStart(a->cut)))),
			 errhint("Call audit_adopt() again when the long transactions have ended.")));
}

static void
create_month(void *arg)
{
	Adopt	   *a = arg;

	AuditCreateMonth(a->logid, a->month, &a->created);
}

static void
make_months(Adopt *a)
{
	int			now = AuditMonthOf(GetCurrentTimestamp());

	for (int i = 0; i <= MONTHS_AHEAD; i++)
	{
		a->month = now + i;
		AuditDoStep(&a->steps, create_month, a, psprintf("a month of \"%s\"", a->name));
	}
}

/*
 * CALL audit_adopt(log, changed_at, lock_wait)
 */
Datum
audit_adopt(PG_FUNCTION_ARGS)
{
	static const char *const arguments[] = {"log"};
	Adopt	   *a;
	bool		plain;

	ArgsRequireNonatomic(fcinfo, "audit_adopt");
	ArgsRefuseNull(fcinfo, "audit_adopt", arguments, lengthof(arguments));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	a = palloc0(sizeof(Adopt));
	a->cxt = CurrentMemoryContext;
	a->fnoid = fcinfo->flinfo->fn_oid;
	a->trgoid = AuditTriggerFunction(a->fnoid);
	a->logid = PG_GETARG_OID(0);
	a->steps.procedure = "audit_adopt";
	a->steps.lock_wait = PG_ARGISNULL(2) ? "2s" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	AuditRequireOwner(a->logid);
	AuditRefuseStranger(find_all_inheritors(a->logid, NoLock, NULL));
	plain = look(a, fcinfo);
	if (plain)
	{
		require_create(a);
		refuse_obstacles(a);
	}
	/* the first transaction took its snapshot before us */
	SpiNextTransaction();

	if (plain)
	{
		must_step(a, add_check);
		must_step(a, validate_check);
		must_step(a, swap);
	}
	make_months(a);
	if (plain)
		ereport(NOTICE,
				(errmsg("log \"%s\" is partitioned by months now", a->name),
				 errdetail("What it had before is its partition \"%s\".", a->past)));
	else
		ereport(NOTICE,
				(errmsg("log \"%s\" is partitioned by months already", a->name)));
	SPI_finish();
	PG_RETURN_VOID();
}
