/*
 * restore.c
 *	  CALL consolidate_restore(): a process's table is back.
 *
 * For each process, in this order: the recorded DDL, the rows from the target,
 * the rows from consolidate_rejected, the second half of the DDL (indexes and
 * constraints after the rows are in; rights and comments), and the rows leave
 * target and consolidate_rejected.  Checks of a table that is not the caller's
 * or a superuser's are added as its owner: adding them runs them.  All in one
 * transaction, "batch" processes a commit; what goes wrong with one process is
 * undone by a subtransaction and reported, and the others go on.  Asked for one
 * process, its error is ours.
 *
 * Rows that changed in the target since they were consolidated are not put
 * back unless force is given; then they go back as they are now.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "common/spi.h"
#include "compat.h"
#include "consolidate/consolidate.h"

bool		ConsolidateRestoring = false;

/* One row of consolidate_source. */
typedef struct Record
{
	int64		process_id;
	char	   *table;
	char	   *state;
	int64		rows;
	int64		rejects;
	char	   *checksum;
	char	   *before;
	char	   *after;
} Record;

/* Runs DDL under the search path that it was recorded under. */
static void
run_statements(const char *sql)
{
	int			level;

	if (sql[0] == '\0')
		return;
	level = TextModes();
	SpiRun(sql);
	AtEOXact_GUC(true, level);
}

/* ALTER TABLE ... ADD ... CHECK, or a comment on a constraint. */
static bool
is_about_check(Node *statement)
{
	ListCell   *lc;

	if (IsA(statement, CommentStmt))
		return ((CommentStmt *) statement)->objtype == OBJECT_TABCONSTRAINT;
	if (!IsA(statement, AlterTableStmt))
		return false;
	foreach(lc, ((AlterTableStmt *) statement)->cmds)
	{
		AlterTableCmd *command = lfirst(lc);

		if (command->subtype == AT_AddConstraint && IsA(command->def, Constraint) &&
			((Constraint *) command->def)->contype == CONSTR_CHECK)
			return true;
	}
	return false;
}

/*
 * The second half of the DDL, of a table whose owner the caller need not
 * trust.  Adding a check evaluates it, and what comes after it may, too: so
 * checks come last, and as the owner.  (CREATE INDEX does that by itself.)
 */
static void
run_as_owner(const char *sql, Oid owner)
{
	int			level = TextModes();
	List	   *parsed = raw_parser(sql, RAW_PARSE_DEFAULT);
	int			last;

	AtEOXact_GUC(true, level);
	for (last = 0; last < 2; last++)
	{
		ListCell   *lc;

		foreach(lc, parsed)
		{
			RawStmt    *raw = lfirst(lc);
			char	   *text = raw->stmt_len == 0 ? pstrdup(sql + raw->stmt_location) :
				pnstrdup(sql + raw->stmt_location, raw->stmt_len);
			Oid			user;
			int			context;

			if (is_about_check(raw->stmt) != (last == 1))
				continue;
			GetUserIdAndSecContext(&user, &context);
			if (last == 1)
				SetUserIdAndSecContext(owner, context | SECURITY_RESTRICTED_OPERATION);
			run_statements(text);
			SetUserIdAndSecContext(user, context);
		}
	}
}

/* The owner's rights and no other: default privileges may have added some ... */
static void
revoke_everything(const char *table, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		isnull;
	Datum		datum = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	Acl		   *acl = isnull ? NULL : DatumGetAclPCopy(datum);
	Oid			owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	int			i;

	ReleaseSysCache(tuple);
	for (i = 0; acl && i < ACL_NUM(acl); i++)
	{
		Oid			grantee = ACL_DAT(acl)[i].ai_grantee;

		if (grantee != owner)
			run_statements(psprintf("REVOKE ALL ON TABLE %s FROM %s CASCADE", table,
									grantee == ACL_ID_PUBLIC ? "PUBLIC" :
									quote_identifier(GetUserNameFromId(grantee, false))));
	}
	/* ... or taken some of the owner's */
	if (acl)
		run_statements(psprintf("GRANT ALL ON TABLE %s TO %s", table,
								quote_identifier(GetUserNameFromId(owner, false))));
}

static char *
column_list(Shape *shape)
{
	StringInfoData list;
	int			i;

	initStringInfo(&list);
	for (i = 0; i < shape->ncolumns; i++)
		appendStringInfo(&list, "%s%s", i ? ", " : "", quote_identifier(shape->columns[i].name));
	return list.data;
}

/* A type may have got code since the table was consolidated. */
static void
check_types(Record *record, Oid relid)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	char	   *code = TrustColumnTypes(rel);

	if (code)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("rejected rows of \"%s\" cannot be read safely", record->table),
				 errdetail("Its %s.", code),
				 errhint("Connect as the owner of the type, or give the type to a role you trust.")));
	relation_close(rel, AccessShareLock);
}

/* The rejected rows come from JSON, each value through its type's input function. */
static int64
restore_rejected(Family *family, Record *record, Oid relid, const char *table)
{
	StringInfoData columns,
				values;
	const char *args[] = {
		family->name, psprintf("%lld", (long long) record->process_id), family->schema,
		record->table
	};
	const char *from = psprintf("%s.consolidate_rejected WHERE family OPERATOR(pg_catalog.=) $1"
								" AND process_id OPERATOR(pg_catalog.=) $2::pg_catalog.int8"
								" AND source_schema OPERATOR(pg_catalog.=) $3"
								" AND source_table OPERATOR(pg_catalog.=) $4", family->extschema);
	Oid			rejected = get_relname_relid("consolidate_rejected",
											 get_namespace_oid(family->extschema_name, false));
	int			level = TextModes();
	AttrNumber	attno;
	char	   *name;
	int64		restored;

	if (OidIsValid(rejected))
		TrustRejected(rejected);
	check_types(record, relid);

	initStringInfo(&columns);
	initStringInfo(&values);
	for (attno = 1; (name = get_attname(relid, attno, true)) != NULL; attno++)
	{
		Oid			type,
					collation;
		int32		typmod;

		get_atttypetypmodcoll(relid, attno, &type, &typmod, &collation);
		appendStringInfo(&columns, "%s%s", columns.len ? ", " : "", quote_identifier(name));
		appendStringInfo(&values, "%s(row_data OPERATOR(pg_catalog.->>) %s)::%s",
						 values.len ? ", " : "", quote_literal_cstr(name),
						 format_type_extended(type, typmod, FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY));
	}
	restored = ConsolidateQuery(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s", table,
										 columns.data, values.data, from), 4, args);
	if (ConsolidateQuery(psprintf("DELETE FROM %s", from), 4, args) != restored)
		elog(ERROR, "rejected rows of \"%s\" changed on the way", record->table);
	AtEOXact_GUC(true, level);
	return restored;
}

/*
 * Takes the rows of the process out of the target and puts them into its
 * table.  One statement: what it deletes is what it inserts, whoever else
 * writes to the target.
 */
static void
restore_rows(Family *family, Record *record, const char *table)
{
	char	   *columns = column_list(&family->shape);

	ConsolidateQuery(psprintf("WITH moved AS (DELETE FROM %s WHERE %s OPERATOR(pg_catalog.=) "
							  INT64_FORMAT "::pg_catalog.int8 RETURNING %s)"
							  " INSERT INTO %s (%s) SELECT %s FROM moved",
							  quote_qualified_identifier(family->schema, family->target),
							  PROCESS_COLUMN, record->process_id, columns, table, columns, columns),
					 0, NULL);
}

/* The one process of these sums; rows and checksum 0 when it has no rows. */
static ProcessSum
only_sum(HTAB *sums, int64 process_id)
{
	ProcessSum *found = hash_search(sums, &process_id, HASH_FIND, NULL);
	ProcessSum	sum = {0};

	if (found)
		sum = *found;
	hash_destroy(sums);
	return sum;
}

/* Rows of the process in the target; an error when they are not the recorded ones. */
static ProcessSum
check_rows(Family *family, Record *record, bool force)
{
	ProcessSum	sum = only_sum(TargetSums(family, &record->process_id), record->process_id);

	if (!force && (sum.rows != record->rows ||
				   strcmp(record->checksum, ChecksumText(sum.checksum)) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("rows of process %lld have changed since they were consolidated",
						(long long) record->process_id),
				 errdetail("Recorded: %lld rows, checksum %s. Now: %lld rows, checksum %s.",
						   (long long) record->rows, record->checksum, (long long) sum.rows,
						   ChecksumText(sum.checksum)),
				 errhint("force => true puts them back as they are now.")));
	return sum;
}

/* Are the rows that came back those that were looked at? */
static void
check_restored(Family *family, Record *record, const char *table, const ProcessSum *expected)
{
	ProcessSum	sum = only_sum(TargetSumsOfSource(family, table, record->process_id),
							   record->process_id);

	if (sum.rows != expected->rows || sum.checksum != expected->checksum)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rows of process %lld are not the same in the restored table",
						(long long) record->process_id),
				 errdetail("In the target: %lld rows, checksum %s. In the table: %lld rows, checksum %s.",
						   (long long) expected->rows, ChecksumText(expected->checksum),
						   (long long) sum.rows, ChecksumText(sum.checksum)),
				 errhint("If somebody wrote to the target meanwhile, call again. Otherwise a value in the target has been changed to one that does not fit a column of the table.")));
}

static void
restore_process(Family *family, Record *record, bool force)
{
	const char *table = quote_qualified_identifier(family->schema, record->table);
	const char *args[] = {
		family->schema, family->name, psprintf("%lld", (long long) record->process_id)
	};
	ProcessSum	rows;
	int64		rejects;
	int			level;
	Oid			relid,
				owner;

	if (OidIsValid(get_relname_relid(record->table, family->schema_oid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("table \"%s.%s\" exists", family->schema, record->table),
				 strcmp(record->state, "copied") == 0 ?
				 errdetail("It was copied and kept (drop_source => false).") : 0,
				 errhint("Rename or drop it first.")));
	level = TextModesOfChecksums(&family->shape);
	rows = check_rows(family, record, force);
	AtEOXact_GUC(true, level);
	run_statements(record->before);
	relid = get_relname_relid(record->table, family->schema_oid);
	if (!OidIsValid(relid))
		elog(ERROR, "the recorded definition of \"%s\" made no such table", record->table);
	revoke_everything(table, relid);
	restore_rows(family, record, table);
	level = TextModesOfChecksums(&family->shape);
	check_restored(family, record, table, &rows);
	AtEOXact_GUC(true, level);
	rejects = record->rejects > 0 ? restore_rejected(family, record, relid, table) : 0;
	if (rejects != record->rejects && !force)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("consolidate_rejected has %lld of %lld rejected rows of process %lld",
						(long long) rejects, (long long) record->rejects,
						(long long) record->process_id),
				 errhint("force => true goes on without the missing ones.")));
	owner = TrustOwner(relid);
	if (TrustRole(owner))
		run_statements(record->after);
	else
		run_as_owner(record->after, owner);
	ConsolidateFireDeferred();
	ConsolidateQuery(psprintf("UPDATE %s.consolidate_source SET state = 'restored',"
							  "  changed_at = pg_catalog.clock_timestamp()"
							  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
							  "  AND family OPERATOR(pg_catalog.=) $2"
							  "  AND process_id OPERATOR(pg_catalog.=) $3::pg_catalog.int8",
							  family->extschema), 3, args);
}

/* The arguments of restore_process. */
typedef struct Restore
{
	Family	   *family;
	Record	   *record;
	bool		force;
} Restore;

static void
run_restore(void *arg)
{
	Restore    *restore = arg;

	restore_process(restore->family, restore->record, restore->force);
}

/* The same, with its error caught.  Returns whether it went well. */
static bool
try_restore_process(Family *family, Record *record, bool force)
{
	Restore		restore = {family, record, force};
	ErrorData  *error = SpiTry(run_restore, &restore);

	if (error == NULL)
		return true;
	if (ConsolidateMustStop(error->sqlerrcode))
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("consolidate_restore: \"%s.%s\" left where it is: %s", family->schema,
					record->table, error->message)));
	return false;
}

static List *
load_records(Family *family, const char *process_id)
{
	MemoryContext caller = CurrentMemoryContext;
	const char *args[] = {family->schema, family->name, process_id};
	List	   *records = NIL;
	uint64		n,
				i;

	n = ConsolidateQuery(psprintf("SELECT process_id, source_table, state, row_count,"
								  "  rejected_count, checksum, definition, definition_after"
								  " FROM %s.consolidate_source"
								  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
								  "  AND family OPERATOR(pg_catalog.=) $2"
								  "  AND state OPERATOR(pg_catalog.<>) 'restored'"
								  "  AND ($3 IS NOT NULL AND process_id OPERATOR(pg_catalog.=) $3::pg_catalog.int8"
								  "       OR $3 IS NULL AND state OPERATOR(pg_catalog.=) 'moved')"
								  " ORDER BY process_id", family->extschema), 3, args);
	MemoryContextSwitchTo(caller);
	for (i = 0; i < n; i++)
	{
		Record	   *record = palloc(sizeof(Record));

		record->process_id = strtoll(ConsolidateField(i, 1), NULL, 10);
		record->table = ConsolidateField(i, 2);
		record->state = ConsolidateField(i, 3);
		record->rows = strtoll(ConsolidateField(i, 4), NULL, 10);
		record->rejects = strtoll(ConsolidateField(i, 5), NULL, 10);
		record->checksum = ConsolidateField(i, 6);
		record->before = ConsolidateField(i, 7);
		record->after = ConsolidateField(i, 8);
		records = lappend(records, record);
	}
	SPI_freetuptable(SPI_tuptable);
	return records;
}

static void
restore_family(Family *family, const char *process_id, int batch, bool force,
			   MemoryContext context)
{
	List	   *records = load_records(family, process_id);
	MemoryContext work = AllocSetContextCreate(context, "aquacis restore", ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;
	int64		restored = 0;
	int			in_batch = 0;

	if (process_id && records == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("process %s of family \"%s\" in schema \"%s\" is not consolidated",
						process_id, family->name, family->schema),
				 errhint("consolidate_source lists what is.")));
	if (records && (!OidIsValid(family->target_oid) || !FamilyResolveShape(family)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("target \"%s.%s\" does not exist", family->schema, family->target),
				 errhint("The rows are in it: if it was renamed or moved, rename or move it back.")));
	foreach(lc, records)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(work);
		/* a session's default tablespace must not move what had none */
		(void) set_config_option("default_tablespace", "", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
		if (process_id)
		{
			restore_process(family, lfirst(lc), force);
			restored++;
		}
		else if (try_restore_process(family, lfirst(lc), force))
			restored++;
		if (++in_batch == batch || lnext(records, lc) == NULL)
		{
			SpiNextTransaction();
			in_batch = 0;
		}
		MemoryContextSwitchTo(context);
		MemoryContextReset(work);
	}
	ereport(NOTICE,
			(errmsg("consolidate_restore: %lld of %d tables of \"%s\" in \"%s\" are back",
					(long long) restored, list_length(records), family->name, family->schema)));
}

PG_FUNCTION_INFO_V1(consolidate_restore);

Datum
consolidate_restore(PG_FUNCTION_ARGS)
{
	Family	   *family;
	MemoryContext context;
	LOCKTAG		tag;
	char	   *process_id;
	int			batch;
	bool		force;
	static const char *const names[] = {"source_schema", "family", NULL, "batch", "force"};

	PreventCommandDuringRecovery("consolidate_restore");
	ConsolidateRequireNonatomic(fcinfo, "consolidate_restore");
	ConsolidateRefuseNull(fcinfo, "consolidate_restore", names, lengthof(names));
	batch = PG_GETARG_INT32(3);
	if (batch < 1 || batch > 60)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be between 1 and 60"),
				 errdetail("It is %d.", batch)));
	force = PG_GETARG_BOOL(4);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	context = AllocSetContextCreate(CurrentMemoryContext, "aquacis consolidate_restore",
									ALLOCSET_DEFAULT_SIZES);
	SpiNextTransaction();
	MemoryContextSwitchTo(context);
	process_id = PG_ARGISNULL(2) ? NULL : psprintf("%lld", (long long) PG_GETARG_INT64(2));
	family = FamilyLoad(get_func_namespace(fcinfo->flinfo->fn_oid),
						text_to_cstring(PG_GETARG_TEXT_PP(0)),
						text_to_cstring(PG_GETARG_TEXT_PP(1)));
	TrustRecords(family);
	ConsolidateLock(&tag, family);
	PG_TRY();
	{
		ConsolidateRestoring = true;
		restore_family(family, process_id, batch, force, context);
	}
	PG_FINALLY();
	{
		ConsolidateRestoring = false;
		ConsolidateUnlock(&tag);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
