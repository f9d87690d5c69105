/*
 * consolidate_plan.c
 *	  consolidate_plan() and consolidate_verify(), which change nothing.
 *
 * The plan checks every source as a run would, under a lock that is released before
 * the next one, and reads all its rows, so that it says what a run would find.
 * It writes nothing and does not wait: a source that cannot be locked even for reading
 * is reported as in use, and so is one that could not be locked exclusively at this
 * moment.
 */
#include "postgres.h"

#include "access/relation.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "common/catalog.h"
#include "common/settings.h"
#include "common/spi.h"
#include "compat.h"
#include "consolidate/consolidate.h"

typedef struct PlanLine
{
	int64		rows;
	int64		bytes;
	bool		counted;
	ConsolidateProblem *problem;
} PlanLine;

/* How many other transactions hold a lock that conflicts with an exclusive one? */
static int
count_holders(Oid relid)
{
	LOCKTAG		tag;
	int			n = 0;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	(void) GetLockConflicts(&tag, AccessExclusiveLock, &n);
	return n;
}

/* What a run would find of a source that is open and weakly locked. */
static void
plan_open_source(Family *family, Source *source, Relation rel, Oid target_owner, HTAB *present,
				 PlanLine *line)
{
	SourceColumn *from = palloc(sizeof(SourceColumn) * family->columns.ncolumns);
	SourceContents contents;
	Snapshot	snapshot;
	bool		stored;
	int			level;
	int			locks;
	int			holders;

	line->bytes = DatumGetInt64(DirectFunctionCall1(pg_total_relation_size,
													ObjectIdGetDatum(source->oid)));
	line->problem = ConsolidateOwnersProblem(family, source->oid, target_owner);
	if (line->problem == NULL)
		line->problem = ConsolidateCheckSource(rel, &locks);
	if (line->problem == NULL)
		line->problem = ConsolidateMatchColumns(&family->columns, rel, from);
	if (line->problem != NULL)
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	level = ConsolidateChecksumSettings(&family->columns);
	ConsolidateScanSource(&family->columns, rel, from, snapshot, &contents);
	line->rows = contents.rows;
	line->counted = true;
	line->problem = ConsolidateCheckStored(family, present, source, rel, from, snapshot, &contents,
										   &stored);
	UnregisterSnapshot(snapshot);
	if (line->problem == NULL)
		line->problem = ConsolidateContentsProblem(&family->columns, source, &contents, false);
	SettingsEnd(level);
	holders = count_holders(source->oid);
	if (line->problem == NULL && holders > 0)
		line->problem = ConsolidateProblemOf(PROBLEM_IN_USE,
											 "is in use by %d other transaction(s)", holders);
}

/* Opens a source if that is possible without waiting, and plans it. */
static void
plan_source(Family *family, Source *source, Oid target_owner, HTAB *present, PlanLine *line)
{
	Relation	rel;

	line->bytes = source->bytes;
	line->problem = source->problem;
	if (line->problem != NULL)
		return;
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->oid)))
	{
		line->problem = ConsolidateProblemOf(PROBLEM_DROPPED,
											 "has been dropped by somebody else");
		return;
	}
	line->problem = ConsolidateCheckRights(source->oid);
	if (line->problem != NULL)
		return;
	if (!ConditionalLockRelationOid(source->oid, AccessShareLock))
	{
		line->problem = ConsolidateProblemOf(PROBLEM_IN_USE,
											 "is in use by %d other transaction(s)",
											 count_holders(source->oid));
		return;
	}
	rel = try_relation_open(source->oid, NoLock);
	if (rel == NULL)
		line->problem = ConsolidateProblemOf(PROBLEM_DROPPED,
											 "has been dropped by somebody else");
	else
	{
		plan_open_source(family, source, rel, target_owner, present, line);
		relation_close(rel, NoLock);
		/* thousands of descriptors would stay in the relation cache */
		RelationCacheInvalidateEntry(source->oid);
	}
	UnlockRelationOid(source->oid, AccessShareLock);
}

/* The function of interface 1.0 has no problem_code, the last field. */
static void
put_plan_line(ReturnSetInfo *result, const char *name, const Source *source, const PlanLine *line)
{
	Datum		values[6] = {0};
	bool		nulls[6] = {false};

	values[0] = CStringGetTextDatum(name);
	nulls[1] = source == NULL || !source->has_id;
	nulls[2] = !line->counted;
	nulls[3] = source == NULL;
	nulls[4] = nulls[5] = line->problem == NULL;
	if (!nulls[1])
		values[1] = Int64GetDatum(source->process_id);
	values[2] = Int64GetDatum(line->rows);
	values[3] = Int64GetDatum(line->bytes);
	if (!nulls[4])
	{
		values[4] = CStringGetTextDatum(line->problem->sentence);
		values[5] = CStringGetTextDatum(line->problem->code);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * consolidate_plan(source_schema, family): a row per source, with what a run would do
 * about it, and one per table that only looks like a source.
 */
PG_FUNCTION_INFO_V1(consolidate_plan);

Datum
consolidate_plan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext per_source;
	Family	   *family;
	List	   *sources;
	HTAB	   *present = NULL;
	Oid			target_owner;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	family = ConsolidateLoadFamily(get_func_namespace(fcinfo->flinfo->fn_oid),
								   text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   text_to_cstring(PG_GETARG_TEXT_PP(1)));
	sources = ConsolidateFindSources(family);
	if (ConsolidateResolveColumns(family))
	{
		if (OidIsValid(family->target_oid))
		{
			ConsolidateCheckTarget(family);
			present = ConsolidateProcessesInTarget(family, sources);
		}
		else
			ConsolidateWarnOfPublications(family);
	}
	target_owner = OidIsValid(family->target_oid) ? CatalogOwner(family->target_oid) :
		ConsolidateNewTargetOwner(family, sources);
	per_source = AllocSetContextCreate(CurrentMemoryContext, "aquacis plan",
									   ALLOCSET_DEFAULT_SIZES);
	foreach(lc, sources)
	{
		Source	   *source = lfirst(lc);
		PlanLine	line = {0};
		MemoryContext oldcontext = MemoryContextSwitchTo(per_source);

		CHECK_FOR_INTERRUPTS();
		plan_source(family, source, target_owner, present, &line);
		put_plan_line(result, source->name, source, &line);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(per_source);
	}
	foreach(lc, ConsolidateFindLookalikes(family))
	{
		PlanLine	line = {0};

		line.problem = ConsolidateProblemOf(PROBLEM_OTHER_NAME, "its name does not match %s",
											family->pattern);
		put_plan_line(result, lfirst(lc), NULL, &line);
	}
	SPI_finish();
	return (Datum) 0;
}

/*
 * consolidate_verify(source_schema, family): a row per consolidated process, with rows and
 * checksum as recorded and as they are now.
 */
PG_FUNCTION_INFO_V1(consolidate_verify);

Datum
consolidate_verify(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Family	   *family;
	HTAB	   *sums = NULL;
	SpiArg		args[2];
	uint64		n;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	family = ConsolidateLoadFamily(get_func_namespace(fcinfo->flinfo->fn_oid),
								   text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (OidIsValid(family->target_oid) && ConsolidateResolveColumns(family))
	{
		int			level = ConsolidateChecksumSettings(&family->columns);

		sums = ConsolidateTargetSums(family, NULL);
		SettingsEnd(level);
	}
	args[0] = SpiTextArg(family->schema);
	args[1] = SpiTextArg(family->name);
	n = SpiQuery(psprintf("SELECT process_id, row_count, checksum"
						  " FROM %s.consolidate_source"
						  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
						  "  AND family OPERATOR(pg_catalog.=) $2"
						  "  AND state OPERATOR(pg_catalog.<>) 'restored'"
						  " ORDER BY process_id", family->extschema), 2, args);
	for (uint64 i = 0; i < n; i++)
	{
		int64		id = SpiInt64(i, 1);
		int64		rows = SpiInt64(i, 2);
		char	   *recorded = SpiText(i, 3);
		ProcessSum *sum = sums ? hash_search(sums, &id, HASH_FIND, NULL) : NULL;
		char	   *now = ConsolidateChecksumText(sum ? sum->checksum : 0);
		Datum		values[6];
		bool		nulls[6] = {false};

		values[0] = Int64GetDatum(id);
		values[1] = Int64GetDatum(rows);
		values[2] = CStringGetTextDatum(recorded);
		values[3] = Int64GetDatum(sum ? sum->rows : 0);
		values[4] = CStringGetTextDatum(now);
		values[5] = BoolGetDatum(rows == (sum ? sum->rows : 0) && strcmp(recorded, now) == 0);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}
