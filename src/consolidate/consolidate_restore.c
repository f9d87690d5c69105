/*
 * consolidate_restore.c
 *	  CALL consolidate_restore(): the tables of processes are made again.
 *
 * For each process, in this order: the recorded DDL, the rows from the target,
 * the rows from consolidate_rejected, the second half of the DDL (indexes and
 * constraints after the rows are in; rights and comments), and the rows leave
 * target and consolidate_rejected.  All in one transaction, "batch" processes per
 * commit.  An error of one process is undone by a subtransaction and reported, and the
 * others go on.  When one process alone is asked for, its error ends the call.
 *
 * Whose code.  Rows leave the target as its owner does it, and enter the table as its own
 * does: see common/rows.h, and for the definition consolidate_recreate.c.
 *
 * Rows that changed in the target since they were consolidated are not restored unless
 * force is given; then they are restored as they are now.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "common/args.h"
#include "common/catalog.h"
#include "common/rights.h"
#include "common/rows.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"
#include "consolidate/consolidate.h"

bool		ConsolidateRestoring = false;

/* One row of consolidate_source. */
typedef struct SourceRecord
{
	int64		process_id;
	char	   *table;
	char	   *state;
	int64		rows;
	int64		rejects;
	char	   *checksum;
	char	   *before;
	char	   *after;
} SourceRecord;

/* ---- rows ------------------------------------------------------------------------- */

/* A column of the table, and how a text becomes its value. */
typedef struct InputColumn
{
	const char *name;
	int32		typmod;
	FmgrInfo	input;
	Oid			ioparam;
} InputColumn;

static InputColumn *
describe_columns(TupleDesc desc)
{
	InputColumn *columns = palloc0(sizeof(InputColumn) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid			function;

		columns[i].name = NameStr(att->attname);
		columns[i].typmod = att->atttypmod;
		getTypeInputInfo(att->atttypid, &function, &columns[i].ioparam);
		fmgr_info(function, &columns[i].input);
	}
	return columns;
}

/* Converts the rows just fetched, whose fields are texts, to rows of the table. */
static void
convert_rows(InputColumn *columns, Rows *rows, MemoryContext per_row)
{
	Datum	   *values = palloc(sizeof(Datum) * rows->desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * rows->desc->natts);

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(per_row);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < rows->desc->natts; i++)
		{
			char	   *text = SpiText(row, i + 1);

			nulls[i] = text == NULL;

			values[i] = InputFunctionCall(&columns[i].input, text, columns[i].ioparam,
										  columns[i].typmod);
		}
		RowsPut(rows, values, nulls);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(per_row);
	}
}

/* A query for the fields of the rejected rows, in the order of the table's columns. */
static char *
rejected_query(TupleDesc desc, const char *from)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < desc->natts; i++)
		appendStringInfo(&sql, "%srow_data OPERATOR(pg_catalog.->>) %s", i ? ", " : "SELECT ",
						 quote_literal_cstr(NameStr(TupleDescAttr(desc, i)->attname)));
	appendStringInfo(&sql, " FROM %s", from);
	return sql.data;
}

/*
 * The rejected rows come from JSON.  They are read with the caller's rights, but each
 * value goes through its type's input function as the table's owner.
 */
static Rows *
read_rejected(TupleDesc desc, const char *from, Oid owner)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext per_row = AllocSetContextCreate(oldcontext, "aquacis rejected row",
												  ALLOCSET_DEFAULT_SIZES);
	InputColumn *columns = describe_columns(desc);
	Rows	   *rows = RowsBegin(desc);
	Portal		cursor = SPI_cursor_open_with_args(NULL, rejected_query(desc, from), 0, NULL, NULL,
												   NULL, false, CURSOR_OPT_NO_SCROLL);
	UserCodeScope scope;

	for (;;)
	{
		SPI_cursor_fetch(cursor, true, FETCH_ROWS);
		MemoryContextSwitchTo(oldcontext);
		if (SPI_processed == 0)
			break;
		UserCodeEnter(&scope, owner);
		convert_rows(columns, rows, per_row);
		UserCodeLeave(&scope);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(cursor);
	MemoryContextDelete(per_row);
	return rows;
}

/* The table's columns, without those that were dropped: it has just been made. */
static char *
all_columns(TupleDesc desc)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < desc->natts; i++)
		ConsolidateAppendName(&list, NameStr(TupleDescAttr(desc, i)->attname));
	return list.data;
}

static void
insert_rows(Rows *rows, const char *table, const char *columns, Oid owner)
{
	RowsInto(rows, owner, psprintf("INSERT INTO %s (%s) SELECT %s FROM " ROWS_NAME, table, columns,
								   columns));
}

/* Moves the rejected rows of a process into its table; returns how many there were. */
static int64
restore_rejected(Family *family, SourceRecord *record, Oid relid, const char *table, Oid owner)
{
	const char *from = psprintf("%s.consolidate_rejected WHERE family OPERATOR(pg_catalog.=) %s"
								" AND process_id OPERATOR(pg_catalog.=) " INT64_FORMAT "::pg_catalog.int8"
								" AND source_schema OPERATOR(pg_catalog.=) %s"
								" AND source_table OPERATOR(pg_catalog.=) %s", family->extschema,
								quote_literal_cstr(family->name), record->process_id,
								quote_literal_cstr(family->schema), quote_literal_cstr(record->table));
	Oid			rejected = get_relname_relid("consolidate_rejected",
											 get_namespace_oid(family->extschema_name, false));
	int			level = SettingsForText();
	Relation	rel = relation_open(relid, AccessShareLock);
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(rel));
	Rows	   *rows;
	int64		restored;

	relation_close(rel, NoLock);
	if (OidIsValid(rejected))
		ConsolidateCheckRejectedTable(rejected);
	rows = read_rejected(desc, from, owner);
	restored = rows->count;
	insert_rows(rows, table, all_columns(desc), owner);
	if (SpiRun(psprintf("DELETE FROM %s", from)) != restored)
		elog(ERROR, "rejected rows of \"%s\" changed on the way", record->table);
	SettingsEnd(level);
	return restored;
}

/*
 * Takes the rows of the process out of the target and puts them into its table.
 * What one statement deletes is what the next inserts, whoever else writes to the
 * target.
 */
static void
restore_rows(Family *family, SourceRecord *record, const char *table, Oid owner)
{
	char	   *columns = ConsolidateColumnList(&family->columns);
	Oid			user = ConsolidateTargetUser(family, ACL_SELECT | ACL_DELETE);
	Rows	   *rows;

	/* nothing can be deferred in a security-restricted operation */
	if (!UserCodeRoleIsTrusted(user))
		SpiFireDeferred();
	rows = RowsOfQuery(user, psprintf("DELETE FROM %s WHERE %s OPERATOR(pg_catalog.=) " INT64_FORMAT
									  "::pg_catalog.int8 RETURNING %s",
									  quote_qualified_identifier(family->schema, family->target),
									  PROCESS_COLUMN, record->process_id, columns));
	insert_rows(rows, table, columns, owner);
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
check_rows(Family *family, SourceRecord *record, bool force)
{
	ProcessSum	sum = only_sum(ConsolidateTargetSums(family, &record->process_id),
							   record->process_id);

	if (!force && (sum.rows != record->rows ||
				   strcmp(record->checksum, ConsolidateChecksumText(sum.checksum)) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("rows of process %lld have changed since they were consolidated",
						(long long) record->process_id),
				 errdetail("Recorded: %lld rows, checksum %s. Now: %lld rows, checksum %s.",
						   (long long) record->rows, record->checksum, (long long) sum.rows,
						   ConsolidateChecksumText(sum.checksum)),
				 errhint("force => true restores them as they are now.")));
	return sum;
}

/* Raises 40001 unless the restored rows are those that were in the target. */
static void
check_restored(Family *family, SourceRecord *record, const char *table, Oid owner,
			   const ProcessSum *expected)
{
	ProcessSum	sum = only_sum(ConsolidateTableSums(family, table, owner, record->process_id),
							   record->process_id);

	if (sum.rows != expected->rows || sum.checksum != expected->checksum)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rows of process %lld are not the same in the restored table",
						(long long) record->process_id),
				 errdetail("In the target: %lld rows, checksum %s. In the table: %lld rows, checksum %s.",
						   (long long) expected->rows, ConsolidateChecksumText(expected->checksum),
						   (long long) sum.rows, ConsolidateChecksumText(sum.checksum)),
				 errhint("If somebody wrote to the target meanwhile, call again. Otherwise a value in the target has been changed to one that does not fit a column of the table.")));
}

/*
 * Restores one process in the current transaction.  Raises 42P07 when its table exists;
 * 22000 when rows or rejects are not those that were recorded, unless forced; 40001 when
 * rows changed on the way.
 */
static void
restore_process(Family *family, SourceRecord *record, bool force)
{
	const char *table = quote_qualified_identifier(family->schema, record->table);
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->name),
		SpiInt64Arg(record->process_id)
	};
	ProcessSum	rows;
	int64		rejects;
	int			level;
	Oid			relid;
	Oid			owner;

	if (OidIsValid(get_relname_relid(record->table, family->schema_oid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("table \"%s.%s\" already exists", family->schema, record->table),
				 strcmp(record->state, "copied") == 0 ?
				 errdetail("It was copied and kept (drop_source => false).") : 0,
				 errhint("Rename or drop it first.")));
	level = ConsolidateChecksumSettings(&family->columns);
	rows = check_rows(family, record, force);
	SettingsEnd(level);
	ConsolidateRecreateTable(record->table, record->before);
	relid = get_relname_relid(record->table, family->schema_oid);
	if (!OidIsValid(relid))
		elog(ERROR, "the recorded definition of \"%s\" made no such table", record->table);
	/* whatever default privileges say of new tables */
	RightsOfOwnerAlone(relid);
	owner = CatalogOwner(relid);
	restore_rows(family, record, table, owner);
	level = ConsolidateChecksumSettings(&family->columns);
	check_restored(family, record, table, owner, &rows);
	SettingsEnd(level);
	rejects = record->rejects > 0 ? restore_rejected(family, record, relid, table, owner) : 0;
	if (rejects != record->rejects && !force)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("consolidate_rejected has %lld of %lld rejected rows of process %lld",
						(long long) rejects, (long long) record->rejects,
						(long long) record->process_id),
				 errhint("force => true restores without the missing ones.")));
	ConsolidateFinishTable(record->after, owner);
	SpiFireDeferred();
	SpiQuery(psprintf("UPDATE %s.consolidate_source SET state = 'restored',"
					  "  changed_at = pg_catalog.clock_timestamp()"
					  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
					  "  AND family OPERATOR(pg_catalog.=) $2"
					  "  AND process_id OPERATOR(pg_catalog.=) $3",
					  family->extschema), lengthof(args), args);
}

/* The arguments of restore_process. */
typedef struct RestoreArgs
{
	Family	   *family;
	SourceRecord *record;
	bool		force;
} RestoreArgs;

static void
run_restore(void *arg)
{
	RestoreArgs *restore = arg;

	restore_process(restore->family, restore->record, restore->force);
}

/* The same, with its error caught and reported.  Returns whether it was restored. */
static bool
try_restore_process(Family *family, SourceRecord *record, bool force)
{
	RestoreArgs restore = {family, record, force};
	ErrorData  *error = SpiTry(run_restore, &restore);

	if (error == NULL)
		return true;
	if (SpiMustStop(error->sqlerrcode))
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("consolidate_restore: \"%s.%s\" not restored: %s", family->schema,
					record->table, error->message)));
	return false;
}

/* The records of what is consolidated: of one process, or of all that are moved. */
static List *
load_records(Family *family, const int64 *process_id)
{
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->name),
		process_id ? SpiInt64Arg(*process_id) : SpiNullArg(INT8OID)
	};
	List	   *records = NIL;
	uint64		n;

	n = SpiQuery(psprintf("SELECT process_id, source_table, state, row_count,"
						  "  rejected_count, checksum, definition, definition_after"
						  " FROM %s.consolidate_source"
						  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
						  "  AND family OPERATOR(pg_catalog.=) $2"
						  "  AND state OPERATOR(pg_catalog.<>) 'restored'"
						  "  AND ($3 IS NOT NULL AND process_id OPERATOR(pg_catalog.=) $3"
						  "       OR $3 IS NULL AND state OPERATOR(pg_catalog.=) 'moved')"
						  " ORDER BY process_id", family->extschema), 3, args);
	for (uint64 i = 0; i < n; i++)
	{
		SourceRecord *record = palloc(sizeof(SourceRecord));

		record->process_id = SpiInt64(i, 1);
		record->table = SpiText(i, 2);
		record->state = SpiText(i, 3);
		record->rows = SpiInt64(i, 4);
		record->rejects = SpiInt64(i, 5);
		record->checksum = SpiText(i, 6);
		record->before = SpiText(i, 7);
		record->after = SpiText(i, 8);
		records = lappend(records, record);
	}
	SPI_freetuptable(SPI_tuptable);
	return records;
}

/* Restores one process, or all that were moved, "batch" of them per transaction. */
static void
restore_family(Oid extnamespace, Family *family, const int64 *process_id, int batch, bool force,
			   MemoryContext context)
{
	List	   *records = load_records(family, process_id);
	MemoryContext work = AllocSetContextCreate(context, "aquacis restore", ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;
	int64		restored = 0;
	int			in_batch = 0;
	int			level;

	if (process_id && records == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("process %lld of family \"%s\" in schema \"%s\" is not consolidated",
						(long long) *process_id, family->name, family->schema),
				 errhint("consolidate_source lists the processes that are.")));
	if (records && (!OidIsValid(family->target_oid) || !ConsolidateResolveColumns(family)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("target \"%s.%s\" does not exist", family->schema, family->target),
				 errhint("The rows are in it: if it was renamed or moved, rename or move it back.")));
	foreach(lc, records)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(work);
		if (in_batch == 0)
			ConsolidateCheckOwnTables(extnamespace, true);
		/* a session's default tablespace must not move what had none */
		level = SettingsBegin();
		SettingsSet("default_tablespace", "");
		if (process_id)
		{
			restore_process(family, lfirst(lc), force);
			restored++;
		}
		else if (try_restore_process(family, lfirst(lc), force))
			restored++;
		SettingsEnd(level);
		if (++in_batch == batch || lnext(records, lc) == NULL)
		{
			SpiNextTransaction();
			in_batch = 0;
		}
		MemoryContextSwitchTo(context);
		MemoryContextReset(work);
	}
	ereport(NOTICE,
			(errmsg("consolidate_restore: %lld of %d tables of \"%s\" in \"%s\" restored",
					(long long) restored, list_length(records), family->name, family->schema)));
}

/* CALL consolidate_restore(source_schema, family, process_id, batch, force) */
PG_FUNCTION_INFO_V1(consolidate_restore);

Datum
consolidate_restore(PG_FUNCTION_ARGS)
{
	Family	   *family;
	MemoryContext context;
	LOCKTAG		tag;
	int64		process_id;
	int			batch;
	bool		force;
	Oid			extnamespace = get_func_namespace(fcinfo->flinfo->fn_oid);
	static const char *const names[] = {"source_schema", "family", NULL, "batch", "force"};

	PreventCommandDuringRecovery("consolidate_restore");
	ArgsRequireNonatomic(fcinfo, "consolidate_restore");
	ArgsRefuseNull(fcinfo, "consolidate_restore", names, lengthof(names));
	batch = ArgsInt(fcinfo, 3, "batch", 1, 60, NULL);
	force = PG_GETARG_BOOL(4);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	context = AllocSetContextCreate(CurrentMemoryContext, "aquacis consolidate_restore",
									ALLOCSET_DEFAULT_SIZES);
	SpiNextTransaction();
	MemoryContextSwitchTo(context);
	process_id = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	family = ConsolidateLoadFamily(extnamespace, text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   text_to_cstring(PG_GETARG_TEXT_PP(1)));
	ConsolidateCheckRecordWriters(family);
	ConsolidateLock(&tag, family);
	PG_TRY();
	{
		ConsolidateRestoring = true;
		restore_family(extnamespace, family, PG_ARGISNULL(2) ? NULL : &process_id, batch, force,
					   context);
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
