/*
 * consolidate_target.c
 *	  The one table that takes the rows of all sources.
 *
 * A target that is not there is made, without indexes: they come after the
 * first load, when building them costs a fraction.  consolidate_target
 * remembers that they are missing, so a crash in between loses nothing: the next
 * run builds them.  A target that exists is used as it is.
 *
 * A target that we make belongs to the role that owned most of the tables that go into
 * it, and nobody else gets a right on it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/paths.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "common/catalog.h"
#include "common/rights.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"
#include "consolidate/consolidate.h"

#define INDEX_MEMORY_KB		40960
#define DEFAULT_MEMORY_KB	65536

static char *
target_name(Family *family)
{
	return quote_qualified_identifier(family->schema, family->target);
}

static char *
key_list(Family *family)
{
	StringInfoData list;
	ListCell   *lc;

	initStringInfo(&list);
	foreach(lc, family->key_columns)
		ConsolidateAppendName(&list, lfirst(lc));
	return list.data;
}

/* A column of a type that runs code of somebody else would do so at every INSERT. */
static void
check_types(Family *family)
{
	FamilyColumns *columns = &family->columns;

	for (int i = 0; i < columns->ncolumns; i++)
		if (UserCodeInType(columns->column[i].type, GetUserId()))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("target \"%s.%s\" cannot be made", family->schema, family->target),
					 errdetail("Column \"%s\" is of type %s, which can run code of a role that is not trusted.",
							   columns->column[i].name, format_type_be(columns->column[i].type)),
					 errhint("Connect as the owner of the type, or give the type to a role you trust.")));
}

static void
give_away(Family *family, Oid owner)
{
	if (owner != GetUserId())
		SpiRun(psprintf("ALTER TABLE %s OWNER TO %s", target_name(family),
						RightsRole(owner)));
}

/*
 * Warns when a target that is still to be made will be published at once: a
 * subscription stops at the first row of a table that its subscriber does not have.
 */
void
ConsolidateWarnOfPublications(Family *family)
{
	const char *of_schema = "false";
	uint64		n;

	if (OidIsValid(family->target_oid))
		return;
	/* since 15 a publication can have all tables of a schema */
	if (OidIsValid(get_relname_relid("pg_publication_namespace", PG_CATALOG_NAMESPACE)))
		of_schema = psprintf("EXISTS (SELECT FROM pg_catalog.pg_publication_namespace"
							 " WHERE pnpubid OPERATOR(pg_catalog.=) p.oid"
							 "  AND pnnspid OPERATOR(pg_catalog.=) %u)", family->schema_oid);
	n = SpiQuery(psprintf("SELECT pubname FROM pg_catalog.pg_publication p"
						  " WHERE pubinsert AND (puballtables OR %s) ORDER BY pubname", of_schema),
				 0, NULL);
	for (uint64 i = 0; i < n; i++)
		ereport(WARNING,
				(errmsg("publication \"%s\" sends the rows of the new table \"%s.%s\"",
						SpiText(i, 1), family->schema, family->target),
				 errdetail("A subscription stops at the first of them if its subscriber has no such table."),
				 errhint("Create the table on the subscribers first.")));
}

/* Makes the target for these sources if there is none.  Returns whether it did. */
bool
ConsolidateMakeTarget(Family *family, List *sources)
{
	FamilyColumns *columns = &family->columns;
	StringInfoData sql;
	SpiArg		args[] = {SpiTextArg(family->schema), SpiTextArg(family->name)};

	if (OidIsValid(family->target_oid))
		return false;

	check_types(family);
	ConsolidateWarnOfPublications(family);
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (%s pg_catalog.int8 NOT NULL",
					 target_name(family), PROCESS_COLUMN);
	for (int i = 0; i < columns->ncolumns; i++)
	{
		FamilyColumn *column = &columns->column[i];

		appendStringInfo(&sql, ", %s %s%s", quote_identifier(column->name),
						 format_type_extended(column->type, column->typmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY),
						 column->key ? " NOT NULL" : "");
	}
	appendStringInfo(&sql, ", %s pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now())",
					 CREATED_COLUMN);
	SpiRun(sql.data);
	family->target_oid = get_relname_relid(family->target, family->schema_oid);
	RightsOfOwnerAlone(family->target_oid);

	resetStringInfo(&sql);
	appendStringInfo(&sql, "COMMENT ON TABLE %s IS %s", target_name(family),
					 quote_literal_cstr(psprintf("Rows of all %s_* tables, one proceso_id per table.",
												 family->target)));
	SpiRun(sql.data);
	give_away(family, ConsolidateNewTargetOwner(family, sources));
	SpiQuery(psprintf("INSERT INTO %s.consolidate_target (source_schema, family, indexed)"
					  " VALUES ($1, $2, false)"
					  " ON CONFLICT (source_schema, family) DO UPDATE"
					  " SET indexed = false, columns = NULL",
					  family->extschema), 2, args);
	ConsolidateResolveColumns(family);
	return true;
}

/*
 * Remembers the columns of a family that has no definition: those that the
 * target gets later are the target's own.
 */
void
ConsolidateSaveColumns(Family *family)
{
	SpiArg		args[3];

	if (family->column_defs != NIL)
		return;
	family->column_defs = ConsolidateDeparseColumns(&family->columns);
	args[0] = SpiTextArg(family->schema);
	args[1] = SpiTextArg(family->name);
	args[2] = SpiTextListArg(family->column_defs);
	SpiQuery(psprintf("INSERT INTO %s.consolidate_target (source_schema, family, indexed, columns)"
					  " VALUES ($1, $2, true, $3)"
					  " ON CONFLICT (source_schema, family) DO UPDATE"
					  " SET columns = EXCLUDED.columns", family->extschema), lengthof(args), args);
}

/* A crash empties unlogged tables, and the sources would be gone. */
static void
check_logged(Family *family)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(family->target_oid, AccessShareLock, NULL))
		if (get_rel_persistence(lfirst_oid(lc)) != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target \"%s.%s\" would not survive a crash", family->schema,
						family->target),
				 errdetail("Table \"%s\" is unlogged.", get_rel_name(lfirst_oid(lc))),
				 errhint("ALTER TABLE ... SET LOGGED.")));
}

/*
 * The target has the process column, and can fill columns that the family does not have;
 * else 42703, 42804 or 23502.
 */
static void
check_target_columns(Family *family, TupleDesc desc)
{
	bool		has_process = false;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		filled = false;

		if (att->attisdropped)
			continue;
		if (strcmp(NameStr(att->attname), PROCESS_COLUMN) == 0)
		{
			if (att->atttypid != INT8OID)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("target \"%s.%s\" does not fit family \"%s\"",
								family->schema, family->target, family->name),
						 errdetail("Column \"%s\" is %s, it must be bigint.", PROCESS_COLUMN,
								   format_type_be(att->atttypid))));
			has_process = true;
			continue;
		}
		for (int j = 0; j < family->columns.ncolumns; j++)
			if (family->columns.column[j].target_attno == att->attnum)
				filled = true;
		if (!filled && att->attnotnull && !att->atthasdef && !att->attidentity)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("target \"%s.%s\" does not fit family \"%s\"",
							family->schema, family->target, family->name),
					 errdetail("Column \"%s\" is not in the family, may not be null and has no default.",
							   NameStr(att->attname))));
	}
	if (!has_process)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("target \"%s.%s\" does not fit family \"%s\"",
						family->schema, family->target, family->name),
				 errdetail("It has no column \"%s\".", PROCESS_COLUMN),
				 errhint("Rename the table: consolidate then makes its own.")));
}

/*
 * Can this role fill this target?  Raises an error that says why not.
 */
void
ConsolidateCheckTarget(Family *family)
{
	Relation	target = relation_open(family->target_oid, AccessShareLock);
	char		kind = target->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE &&
		kind != RELKIND_FOREIGN_TABLE && kind != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target \"%s.%s\" cannot take rows", family->schema, family->target),
				 errdetail_relkind_not_supported(kind)));
	ConsolidateCheckTargetRights(family, ACL_SELECT | ACL_INSERT);
	if (check_enable_rls(family->target_oid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row security hides rows of target \"%s.%s\" from role \"%s\"",
						family->schema, family->target, GetUserNameFromId(GetUserId(), false)),
				 errhint("Call consolidate as the owner of the target, or as a role with BYPASSRLS.")));
	check_logged(family);
	ConsolidateCheckTargetTriggers(family, AccessShareLock);
	check_target_columns(family, RelationGetDescr(target));
	relation_close(target, AccessShareLock);
}

/* False while a target that we made has no key yet. */
bool
ConsolidateTargetIsIndexed(Family *family)
{
	SpiArg		args[] = {SpiTextArg(family->schema), SpiTextArg(family->name)};
	bool		owed;

	owed = SpiQuery(psprintf("SELECT FROM %s.consolidate_target"
							 " WHERE source_schema OPERATOR(pg_catalog.=) $1"
							 "  AND family OPERATOR(pg_catalog.=) $2 AND NOT indexed",
							 family->extschema), 2, args) > 0;
	SPI_freetuptable(SPI_tuptable);
	return !owed;
}

/* This name, quoted, if no relation has it; NULL: let the server choose one. */
static const char *
free_name(Family *family, const char *name)
{
	if (strlen(name) >= NAMEDATALEN || OidIsValid(get_relname_relid(name, family->schema_oid)))
		return NULL;
	return quote_identifier(name);
}

/*
 * Keeps a run below 64 MB: lowers maintenance_work_mem if it has its default.  A value set
 * by the user is respected.  Returns whether it was lowered; the caller ends the settings.
 */
static bool
limit_sort_memory(void)
{
	if (maintenance_work_mem != DEFAULT_MEMORY_KB)
		return false;
	SettingsSet("maintenance_work_mem", CppAsString2(INDEX_MEMORY_KB));
	return true;
}

/*
 * PostgreSQL starts no worker for a build that has less than 32 MB for each.  So where we
 * limit the memory, we ask for the one worker that the default would have got, by a
 * storage parameter that the same transaction resets.
 */
static bool
ask_for_worker(Family *family)
{
	Relation	target = table_open(family->target_oid, AccessShareLock);
	bool		ask = target->rd_rel->relkind == RELKIND_RELATION &&
	RelationGetParallelWorkers(target, -1) == -1 &&
	RelationGetNumberOfBlocks(target) >= (BlockNumber) min_parallel_table_scan_size;

	table_close(target, AccessShareLock);
	if (ask)
		SpiRun(psprintf("ALTER TABLE %s SET (parallel_workers = 1)", target_name(family)));
	return ask;
}

/* Has somebody made the primary key, or an index that begins with the key, meanwhile? */
static void
find_indexes(Family *family, bool *primary, bool *on_key)
{
	Relation	target = relation_open(family->target_oid, AccessShareLock);
	ListCell   *lc;

	*primary = *on_key = false;
	foreach(lc, RelationGetIndexList(target))
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index form;
		bool		begins;

		if (!HeapTupleIsValid(tuple))
			continue;
		form = (Form_pg_index) GETSTRUCT(tuple);
		*primary = *primary || form->indisprimary;
		begins = form->indisvalid && form->indnkeyatts >= family->columns.nkeys &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
		for (int i = 0; begins && i < family->columns.nkeys; i++)
			begins = form->indkey.values[i] ==
				family->columns.column[family->columns.key[i]].target_attno;
		*on_key = *on_key || begins;
		ReleaseSysCache(tuple);
	}
	relation_close(target, AccessShareLock);
}

static bool
may_be_null(Family *family, const char *column)
{
	HeapTuple	tuple = SearchSysCacheAttName(family->target_oid, column);
	bool		result = !HeapTupleIsValid(tuple) ||
	!((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

/*
 * The key is added to columns that are NOT NULL, as we have made them.  If somebody has
 * changed that, the server evaluates the table's CHECKs to find out whether the columns
 * can be null, and so may run the owner's code: then the key is added as the owner.
 */
static void
enter_for_index(Family *family, UserCodeScope *scope)
{
	bool		nullable = may_be_null(family, PROCESS_COLUMN);
	ListCell   *lc;

	ConsolidateCheckTargetName(family, AccessShareLock);
	if (!object_ownercheck(RelationRelationId, family->target_oid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, family->target);
	foreach(lc, family->key_columns)
		nullable = nullable || may_be_null(family, lfirst(lc));
	UserCodeEnter(scope, nullable ? CatalogOwner(family->target_oid) : GetUserId());
}

/*
 * Gives a target that we made its primary key, and an index on the family's key, unless
 * somebody has.  23505 when rows of others are duplicates.
 */
void
ConsolidateIndexTarget(Family *family)
{
	int			level = SettingsBegin();
	SpiArg		args[] = {SpiTextArg(family->schema), SpiTextArg(family->name)};
	const char *name = free_name(family, psprintf("pk_%s", family->target));
	char	   *keys = key_list(family);
	UserCodeScope scope;
	bool		asked;
	bool		primary;
	bool		on_key;

	enter_for_index(family, &scope);
	find_indexes(family, &primary, &on_key);
	asked = limit_sort_memory() && !(primary && on_key) && ask_for_worker(family);
	if (!primary)
		SpiRun(psprintf("ALTER TABLE %s ADD %s%s PRIMARY KEY (%s, %s)", target_name(family),
						name ? "CONSTRAINT " : "", name ? name : "", PROCESS_COLUMN, keys));
	name = free_name(family, psprintf("idx_%s_%s", family->target,
									  (char *) linitial(family->key_columns)));
	if (!on_key)
		SpiRun(psprintf("CREATE INDEX %s ON %s (%s)", name ? name : "", target_name(family),
						keys));
	if (asked)
		SpiRun(psprintf("ALTER TABLE %s RESET (parallel_workers)", target_name(family)));
	UserCodeLeave(&scope);
	SettingsEnd(level);
	SpiQuery(psprintf("UPDATE %s.consolidate_target SET indexed = true"
					  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
					  "  AND family OPERATOR(pg_catalog.=) $2", family->extschema),
			 2, args);
}

static HTAB *
sums_create(void)
{
	HASHCTL		ctl = {.keysize = sizeof(int64), .entrysize = sizeof(ProcessSum),
	.hcxt = CurrentMemoryContext};

	return hash_create("aquacis processes", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * The processes of these sources that have rows in the target already: left
 * there by a script that copied and failed to drop, or by an application that
 * inserts them itself.  Rows and checksum are not filled in.
 */
HTAB *
ConsolidateProcessesInTarget(Family *family, List *sources)
{
	HTAB	   *present = sums_create();
	Datum	   *ids = palloc(sizeof(Datum) * list_length(sources));
	int			nids = 0;
	SpiArg		arg;
	ListCell   *lc;
	uint64		n;

	foreach(lc, sources)
	{
		Source	   *source = lfirst(lc);

		if (source->has_id && source->problem == NULL)
			ids[nids++] = Int64GetDatum(source->process_id);
	}
	arg = SpiInt64ArrayArg(ids, nids);
	n = UserCodeQuery(ConsolidateTargetUser(family, ACL_SELECT),
					  psprintf("SELECT u.id FROM pg_catalog.unnest($1) u(id)"
							   " WHERE EXISTS (SELECT FROM %s t WHERE t.%s OPERATOR(pg_catalog.=) u.id)",
							   target_name(family), PROCESS_COLUMN),
					  1, &arg.type, &arg.value, NULL, false);
	for (uint64 i = 0; i < n; i++)
	{
		int64		id = SpiInt64(i, 1);

		hash_search(present, &id, HASH_ENTER, NULL);
	}
	SPI_freetuptable(SPI_tuptable);
	return present;
}

/*
 * Rows and checksums by process, of a query for process and columns.  Reads
 * through a cursor: what it reads may be partitioned, or large.
 */
static HTAB *
read_sums(Family *family, const char *sql, Oid user)
{
	FamilyColumns *columns = &family->columns;
	MemoryContext oldcontext = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(oldcontext, "aquacis sums", ALLOCSET_DEFAULT_SIZES);
	HTAB	   *sums = sums_create();
	Portal		cursor = UserCodeCursor(user, sql);
	Datum	   *values;
	bool	   *nulls;

	values = palloc(sizeof(Datum) * (columns->ncolumns + 1));
	nulls = palloc(sizeof(bool) * (columns->ncolumns + 1));
	for (;;)
	{
		UserCodeFetch(user, cursor, FETCH_ROWS);
		if (SPI_processed == 0)
		{
			SPI_freetuptable(SPI_tuptable);
			break;
		}
		MemoryContextSwitchTo(work);
		for (uint64 row = 0; row < SPI_processed; row++)
		{
			ProcessSum *sum;
			int64		process_id;
			bool		found;

			CHECK_FOR_INTERRUPTS();
			/* what was detoasted for the row before */
			MemoryContextReset(work);
			heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
			if (nulls[0])
				continue;
			process_id = DatumGetInt64(values[0]);
			sum = hash_search(sums, &process_id, HASH_ENTER, &found);
			if (!found)
				sum->rows = 0, sum->checksum = 0;
			sum->rows++;
			sum->checksum += ConsolidateChecksumRow(columns, values + 1, nulls + 1);
		}
		MemoryContextSwitchTo(oldcontext);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(cursor);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(work);
	return sums;
}

/* A query for process and columns of the target's rows, of one process or of all. */
char *
ConsolidateTargetQuery(Family *family, const int64 *only)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, %s FROM %s", PROCESS_COLUMN,
					 ConsolidateColumnList(&family->columns), target_name(family));
	if (only)
		appendStringInfo(&sql, " WHERE %s OPERATOR(pg_catalog.=) " INT64_FORMAT "::pg_catalog.int8",
						 PROCESS_COLUMN, *only);
	return sql.data;
}

/* Rows and checksum of every process in the target, or of one. */
HTAB *
ConsolidateTargetSums(Family *family, const int64 *only)
{
	return read_sums(family, ConsolidateTargetQuery(family, only),
					 ConsolidateTargetUser(family, ACL_SELECT));
}

/*
 * ConsolidateTargetSums of a table that holds the rows of one process and nothing else, its
 * values read as the target would hold them.  (A function of its own, because
 * what it reads is nobody's target.)
 */
HTAB *
ConsolidateTableSums(Family *family, const char *table, Oid owner, int64 process_id)
{
	FamilyColumns *columns = &family->columns;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT " INT64_FORMAT "::pg_catalog.int8", process_id);
	for (int i = 0; i < columns->ncolumns; i++)
		appendStringInfo(&sql, ", %s::%s", quote_identifier(columns->column[i].name),
						 format_type_extended(columns->column[i].type, columns->column[i].typmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY));
	appendStringInfo(&sql, " FROM ONLY %s", table);
	return read_sums(family, sql.data, owner);
}
