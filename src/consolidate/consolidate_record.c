/*
 * consolidate_record.c
 *	  The records of a run: the run itself, the tables it moved, the tables it
 *	  skipped.  Each is written in the transaction that it is about.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "common/spi.h"
#include "consolidate/consolidate.h"
#include "consolidate/consolidate_run.h"

/*
 * Begins the record of a run.  Since we hold the family's lock, an older record that
 * still says "running" belongs to a session that has ended.
 */
void
ConsolidateRecordRun(Run *run)
{
	Family	   *family = run->family;
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->name),
		SpiDatumArg(TIMESTAMPTZOID, TimestampTzGetDatum(run->started)),
		SpiDatumArg(INT4OID, Int32GetDatum(ConsolidateLockKey(family))),
		SpiInt64Arg(list_length(run->sources)),
		SpiInt64Arg(run->bytes_total)
	};

	SpiQuery(psprintf("UPDATE %s.consolidate_run SET state = 'interrupted'"
					  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
					  "  AND family OPERATOR(pg_catalog.=) $2"
					  "  AND state OPERATOR(pg_catalog.=) 'running'",
					  family->extschema), 2, args);
	SpiQuery(psprintf("DELETE FROM %s.consolidate_problem"
					  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
					  "  AND family OPERATOR(pg_catalog.=) $2", family->extschema), 2, args);
	SpiQuery(psprintf("INSERT INTO %s.consolidate_run (source_schema, family, started_at,"
					  "  updated_at, state, lock_key, tables_total, bytes_total)"
					  " VALUES ($1, $2, $3, pg_catalog.clock_timestamp(), 'running', $4, $5, $6)",
					  family->extschema), lengthof(args), args);
}

/* consolidate_problem of interface 1.0 has no problem_code. */
static bool
has_problem_code(Run *run)
{
	Oid			relid = get_relname_relid("consolidate_problem", run->extnamespace);

	return get_attnum(relid, "problem_code") != InvalidAttrNumber;
}

/* Records why a source is skipped, and tells the caller in a NOTICE. */
void
ConsolidateRecordProblem(Run *run, Source *source, const ConsolidateProblem *problem)
{
	Family	   *family = run->family;
	bool		coded = has_problem_code(run);
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->name), SpiTextArg(source->name),
		source->has_id ? SpiInt64Arg(source->process_id) : SpiNullArg(INT8OID),
		SpiTextArg(problem->sentence), SpiTextArg(problem->code)
	};

	SpiQuery(psprintf("INSERT INTO %s.consolidate_problem"
					  " (source_schema, family, source_table, process_id, problem%s)"
					  " VALUES ($1, $2, $3, $4, $5%s)"
					  " ON CONFLICT (source_schema, family, source_table) DO UPDATE"
					  " SET process_id = EXCLUDED.process_id, problem = EXCLUDED.problem,"
					  "  %s seen_at = EXCLUDED.seen_at", family->extschema,
					  coded ? ", problem_code" : "", coded ? ", $6" : "",
					  coded ? "problem_code = EXCLUDED.problem_code," : ""),
			 coded ? lengthof(args) : lengthof(args) - 1, args);
	source->state = SOURCE_SKIPPED;
	run->tally.skipped++;
	run->last_error = MemoryContextStrdup(run->context,
										  psprintf("table \"%s\" %s", source->name,
												   problem->sentence));
	ereport(NOTICE,
			(errmsg("consolidate: \"%s.%s\" skipped: %s", family->schema, source->name,
					problem->sentence)));
}

/*
 * Adds a source to the batch, with the state that its record gets; ConsolidateWriteRecords
 * writes it.  What is kept lives in the current memory context.
 */
void
ConsolidateRecordSource(Batch *batch, Source *source, Relation rel, const char *state,
						const SourceContents *contents)
{
	int			n = batch->ntaken++;
	char	   *before;
	char	   *after;

	batch->oids[n] = source->oid;
	batch->records[REC_ID][n] = Int64GetDatum(source->process_id);
	batch->records[REC_TABLE][n] = CStringGetTextDatum(source->name);
	batch->records[REC_STATE][n] = CStringGetTextDatum(state);
	batch->records[REC_ROWS][n] = Int64GetDatum(contents->rows - contents->nrejects);
	batch->records[REC_REJECTS][n] = Int64GetDatum(contents->nrejects);
	batch->records[REC_CHECKSUM][n] =
		CStringGetTextDatum(ConsolidateChecksumText(contents->checksum));
	ConsolidateDeparseTable(rel, &before, &after);
	batch->records[REC_BEFORE][n] = CStringGetTextDatum(before);
	batch->records[REC_AFTER][n] = CStringGetTextDatum(after);
}

/* Writes the batch's records in one statement. */
void
ConsolidateWriteRecords(Batch *batch)
{
	Family	   *family = batch->run->family;
	SpiArg		args[2 + REC_FIELDS];
	uint64		written;

	args[0] = SpiTextArg(family->schema);
	args[1] = SpiTextArg(family->name);
	for (int i = 0; i < REC_FIELDS; i++)
		args[i + 2] = i == REC_ID || i == REC_ROWS || i == REC_REJECTS ?
			SpiInt64ArrayArg(batch->records[i], batch->ntaken) :
			SpiTextArrayArg(batch->records[i], batch->ntaken);
	written = SpiQuery(psprintf("INSERT INTO %s.consolidate_source"
								" (source_schema, family, process_id, source_table, state,"
								"  row_count, rejected_count, checksum,"
								"  definition, definition_after)"
								" SELECT $1, $2, u.* FROM ROWS FROM ("
								"  pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),"
								"  pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8),"
								"  pg_catalog.unnest($9), pg_catalog.unnest($10)) u"
								" ON CONFLICT (source_schema, family, process_id) DO UPDATE"
								" SET source_table = EXCLUDED.source_table, state = EXCLUDED.state,"
								"  row_count = EXCLUDED.row_count,"
								"  rejected_count = EXCLUDED.rejected_count,"
								"  checksum = EXCLUDED.checksum, definition = EXCLUDED.definition,"
								"  definition_after = EXCLUDED.definition_after,"
								"  changed_at = EXCLUDED.changed_at", family->extschema),
					   lengthof(args), args);
	if (written != batch->ntaken)
		elog(ERROR, "recorded " UINT64_FORMAT " of %d sources", written, batch->ntaken);
}

/* Brings the run's row up to date; state is NULL while it goes on. */
void
ConsolidateRecordProgress(Run *run, const char *state)
{
	Family	   *family = run->family;
	Tally	   *tally = &run->tally;
	SpiArg		args[] = {
		SpiTextArg(family->schema), SpiTextArg(family->name),
		SpiDatumArg(TIMESTAMPTZOID, TimestampTzGetDatum(run->started)),
		SpiInt64Arg(tally->done),
		SpiInt64Arg(tally->skipped),
		SpiInt64Arg(tally->rows),
		SpiInt64Arg(tally->rejected),
		SpiInt64Arg(tally->bytes),
		SpiTextArg(run->last_error), SpiTextArg(state)
	};

	SpiQuery(psprintf("UPDATE %s.consolidate_run SET"
					  "  tables_done = $4, tables_skipped = $5, rows_done = $6, rows_rejected = $7,"
					  "  bytes_done = $8, last_error = $9,"
					  "  updated_at = pg_catalog.clock_timestamp(), state = COALESCE($10, state),"
					  "  finished_at = CASE WHEN $10 IS NOT NULL THEN pg_catalog.clock_timestamp() END"
					  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
					  "  AND family OPERATOR(pg_catalog.=) $2"
					  "  AND started_at OPERATOR(pg_catalog.=) $3", family->extschema),
			 lengthof(args), args);
}
