/*
 * consolidate_family.c
 *	  Families, and the tables that belong to them.
 *
 * Sources are found by name in pg_class, without opening or locking any of them, so that
 * we need not wait for one that is locked.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "common/int.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "common/settings.h"
#include "common/spi.h"
#include "compat.h"
#include "consolidate/consolidate.h"

/* The columns that a family without a definition had when its target was first filled. */
static void
load_columns(Family *family)
{
	SpiArg		args[] = {SpiTextArg(family->schema), SpiTextArg(family->name)};

	if (SpiQuery(psprintf("SELECT columns FROM %s.consolidate_target"
						  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
						  "  AND family OPERATOR(pg_catalog.=) $2", family->extschema),
				 2, args) == 1)
		family->column_defs = SpiTextList(0, 1);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * The family in this schema, whose columns are not resolved yet.  Raises 3F000 without the
 * schema, 42704 without the family, 42501 without USAGE or when our own tables cannot be
 * trusted.  The result lives in the current memory context.
 */
Family *
ConsolidateLoadFamily(Oid extnamespace, const char *schema, const char *name)
{
	Family	   *family = palloc0(sizeof(Family));
	SpiArg		args[] = {SpiTextArg(name)};

	family->name = pstrdup(name);
	family->schema = pstrdup(schema);
	family->schema_oid = get_namespace_oid(schema, true);
	family->extschema_name = get_namespace_name(extnamespace);
	family->extschema = pstrdup(quote_identifier(family->extschema_name));
	if (!OidIsValid(family->schema_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"%s\" does not exist", schema),
				 errhint("The first argument is the schema of the tables, the second is their family.")));

	if (object_aclcheck(NamespaceRelationId, family->schema_oid, GetUserId(),
						ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, schema);
	ConsolidateCheckOwnTables(extnamespace, false);

	if (SpiQuery(psprintf("SELECT pattern, target, key_columns, columns"
						  " FROM %s.consolidate_family"
						  " WHERE family OPERATOR(pg_catalog.=) $1", family->extschema),
				 1, args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("family \"%s\" is not defined", name),
				 errhint("Families are listed in consolidate_family; consolidate_define adds one.")));
	family->pattern = SpiText(0, 1);
	family->target = SpiText(0, 2);
	family->key_columns = SpiTextList(0, 3);
	family->column_defs = SpiTextList(0, 4);
	SPI_freetuptable(SPI_tuptable);
	family->target_oid = get_relname_relid(family->target, family->schema_oid);
	if (family->column_defs == NIL && OidIsValid(family->target_oid))
		load_columns(family);
	return family;
}

/* Size of a table's main fork, by its files: nothing is opened or locked. */
static int64
file_size(const char *path)
{
	int64		size = 0;
	struct stat st;

	if (path == NULL)
		return 0;
	for (int segment = 0;; segment++)
	{
		char	   *file = segment ? psprintf("%s.%d", path, segment) : pstrdup(path);
		bool		there = stat(file, &st) == 0;

		pfree(file);
		if (!there)
			return size;
		size += st.st_size;
		/* only a full segment has a next one */
		if (st.st_size < (off_t) RELSEG_SIZE * BLCKSZ)
			return size;
	}
}

/* ASCII digits that a bigint holds. */
static bool
parse_process_id(const char *text, int64 *id)
{
	int64		value = 0;
	const char *p;

	for (p = text; *p; p++)
	{
		if (*p < '0' || *p > '9' ||
			pg_mul_s64_overflow(value, 10, &value) ||
			pg_add_s64_overflow(value, *p - '0', &value))
			return false;
	}
	*id = value;
	return p > text;
}

static int
compare_sources(const ListCell *a, const ListCell *b)
{
	const Source *left = lfirst(a);
	const Source *right = lfirst(b);

	if (left->has_id != right->has_id)
		return left->has_id ? -1 : 1;
	if (left->process_id != right->process_id)
		return left->process_id < right->process_id ? -1 : 1;
	/* of 7 and 007 the shorter name comes first: the other is refused */
	if (strlen(left->name) != strlen(right->name))
		return strlen(left->name) < strlen(right->name) ? -1 : 1;
	return strcmp(left->name, right->name);
}

static ConsolidateProblem *
relkind_problem(char relkind)
{
	switch (relkind)
	{
		case 'r':
			return NULL;
		case 'p':
			return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is a partitioned table");
		case 'v':
			return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is a view");
		case 'm':
			return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is a materialized view");
		case 'f':
			return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is a foreign table");
		default:
			return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is not a table");
	}
}

static int
compare_process(const void *key, const void *element)
{
	int64		id = *(const int64 *) key;
	const Source *source = lfirst((const ListCell *) element);

	return id < source->process_id ? -1 : id > source->process_id;
}

/*
 * What consolidate_source knows of processes whose tables are (again) there.
 * The sources are sorted by process id.
 */
static void
load_records(Family *family, List *sources)
{
	SpiArg		args[] = {SpiTextArg(family->schema), SpiTextArg(family->name)};
	int			ids = 0;
	uint64		n;

	while (ids < list_length(sources) && ((Source *) list_nth(sources, ids))->has_id)
		ids++;
	n = SpiQuery(psprintf("SELECT process_id, source_table, state, row_count,"
						  "  rejected_count, checksum FROM %s.consolidate_source"
						  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
						  "  AND family OPERATOR(pg_catalog.=) $2"
						  "  AND state OPERATOR(pg_catalog.<>) 'restored'",
						  family->extschema), 2, args);
	for (uint64 i = 0; i < n && ids > 0; i++)
	{
		int64		id = SpiInt64(i, 1);
		ListCell   *cell = bsearch(&id, list_head(sources), ids, sizeof(ListCell), compare_process);
		Source	   *source;
		char	   *table;

		if (cell == NULL)
			continue;
		/* of several tables of one process, all but the first have a problem already */
		while (cell > list_head(sources) &&
			   ((Source *) lfirst(cell - 1))->process_id == id)
			cell--;
		source = lfirst(cell);
		table = SpiText(i, 2);
		source->recorded = strcmp(SpiText(i, 3), "copied") == 0 ?
			RECORD_COPIED : RECORD_MOVED;
		source->recorded_rows = SpiInt64(i, 4);
		source->recorded_rejects = SpiInt64(i, 5);
		source->recorded_checksum = SpiText(i, 6);
		if (source->problem == NULL && strcmp(table, source->name) != 0)
			source->problem = ConsolidateProblemOf(PROBLEM_SAME_PROCESS,
												   "process %lld was consolidated from table \"%s\"",
												   (long long) id, table);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Every relation of the family, in the order of the process ids, with the
 * problems that its name and kind alone tell.  In the current memory context.
 */
List *
ConsolidateFindSources(Family *family)
{
	List	   *sources = NIL;
	ListCell   *lc;
	Source	   *previous = NULL;
	uint64		n;
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->pattern), SpiTextArg(family->target)
	};

	n = SpiQuery("SELECT c.oid, c.relname, c.relkind, "
				 "  pg_catalog.substring(c.relname::pg_catalog.text, $2), "
				 "  CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'r'"
				 "    THEN pg_catalog.pg_relation_filepath(c.oid) END, c.relowner "
				 "FROM pg_catalog.pg_class c "
				 "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
				 "WHERE n.nspname OPERATOR(pg_catalog.=) $1"
				 "  AND c.relname OPERATOR(pg_catalog.~) $2"
				 "  AND c.relname OPERATOR(pg_catalog.<>) $3"
				 "  AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}')",
				 3, args);
	for (uint64 i = 0; i < n; i++)
	{
		Source	   *source = palloc0(sizeof(Source));
		char	   *id;
		char	   *path;

		source->oid = SpiOid(i, 1);
		source->name = SpiText(i, 2);
		id = SpiText(i, 4);
		source->has_id = id && parse_process_id(id, &source->process_id);
		if (!source->has_id)
			source->problem = id == NULL || id[0] == '\0' ?
				ConsolidateProblemOf(PROBLEM_NO_PROCESS_ID, "its name has no process id") :
				ConsolidateProblemOf(PROBLEM_NO_PROCESS_ID,
									 strspn(id, "0123456789") == strlen(id) ?
									 "process id \"%s\" does not fit bigint" :
									 "process id \"%s\" is not a number without sign", id);
		else
			source->problem = relkind_problem(SpiText(i, 3)[0]);
		path = SpiText(i, 5);
		source->owner = SpiOid(i, 6);
		source->bytes = file_size(path);
		sources = lappend(sources, source);
	}
	SPI_freetuptable(SPI_tuptable);

	list_sort(sources, compare_sources);
	foreach(lc, sources)
	{
		Source	   *source = lfirst(lc);

		if (previous && source->has_id && source->process_id == previous->process_id &&
			source->problem == NULL)
			source->problem = ConsolidateProblemOf(PROBLEM_SAME_PROCESS,
												   "process %lld is table \"%s\" already",
												   (long long) source->process_id, previous->name);
		else
			previous = source->has_id ? source : NULL;
	}
	load_records(family, sources);
	return sources;
}

/*
 * Names of tables that look like the family's and are not: another case, a suffix, no
 * number.  The plan lists them so that nobody believes they were consolidated.
 */
List *
ConsolidateFindLookalikes(Family *family)
{
	List	   *names = NIL;
	uint64		n;
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->pattern), SpiTextArg(family->target)
	};

	n = SpiQuery("SELECT c.relname "
				 "FROM pg_catalog.pg_class c "
				 "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
				 "WHERE n.nspname OPERATOR(pg_catalog.=) $1"
				 "  AND c.relname OPERATOR(pg_catalog.!~) $2"
				 "  AND pg_catalog.starts_with(pg_catalog.lower(c.relname::pg_catalog.text), "
				 "    pg_catalog.lower($3) OPERATOR(pg_catalog.||) '_')"
				 "  AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}') "
				 "ORDER BY c.relname COLLATE pg_catalog.\"C\"", 3, args);
	for (uint64 i = 0; i < n; i++)
		names = lappend(names, SpiText(i, 1));
	SPI_freetuptable(SPI_tuptable);
	return names;
}

/*
 * The columns that most tables of a family without a definition have; of
 * equally many, those of the lowest process id.
 */
static List *
majority_columns(Family *family)
{
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->pattern), SpiTextArg(family->target)
	};
	List	   *defs = NIL;

	if (SpiQuery("WITH cols AS ("
				 "SELECT c.relname, pg_catalog.array_agg("
				 "   pg_catalog.quote_ident(a.attname) OPERATOR(pg_catalog.||) ' '"
				 "   OPERATOR(pg_catalog.||)"
				 "   pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) AS defs "
				 "FROM pg_catalog.pg_class c "
				 "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
				 "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid"
				 "  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped "
				 "WHERE n.nspname OPERATOR(pg_catalog.=) $1"
				 "  AND c.relname OPERATOR(pg_catalog.~) $2"
				 "  AND c.relname OPERATOR(pg_catalog.<>) $3"
				 "  AND c.relkind OPERATOR(pg_catalog.=) 'r' "
				 "GROUP BY c.relname) "
				 "SELECT defs FROM cols GROUP BY defs ORDER BY pg_catalog.count(*) DESC,"
				 "  pg_catalog.min(pg_catalog.length(relname::pg_catalog.text)),"
				 "  pg_catalog.min(relname::pg_catalog.text COLLATE pg_catalog.\"C\") LIMIT 1",
				 3, args) == 1)
		defs = SpiTextList(0, 1);
	SPI_freetuptable(SPI_tuptable);
	return defs;
}

static bool
resolve_columns(Family *family)
{
	if (OidIsValid(family->target_oid))
	{
		Relation	target = relation_open(family->target_oid, AccessShareLock);

		ConsolidateTargetColumns(family, target);
		relation_close(target, AccessShareLock);
	}
	else
	{
		List	   *defs = family->column_defs ? family->column_defs : majority_columns(family);

		if (defs == NIL)
			return false;
		ConsolidateParseColumns(family, defs);
		ConsolidateCheckColumns(family);
	}
	ConsolidateFinishColumns(family);
	return true;
}

/*
 * Fills family->columns: from the target, else from the family's definition, else from
 * the sources.  False when there is none of these.  Types are written and read by name, so
 * this is done under settings of its own.
 */
bool
ConsolidateResolveColumns(Family *family)
{
	int			level = SettingsForText();
	bool		found = resolve_columns(family);

	SettingsEnd(level);
	return found;
}
