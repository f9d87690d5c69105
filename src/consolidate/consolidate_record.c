/*
 * consolidate_record.c
 *	  What a run writes down: the run itself, the tables it moved, the tables it
 *	  left alone.  Each is written in the transaction that it speaks of.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "consolidate/consolidate.h"
#include "consolidate/consolidate_run.h"

/*
 * Begins the record of a run.  One that still says "running" is of a session
 * that is gone: we hold the lock.
 */
void
RecordRun(Run *run)
{
	Family	   *family = run->family;
	const char *args[5];

	args[0] = family->schema;
	args[1] = family->name;
	args[2] = psprintf("%d", ConsolidateLockKey(family));
	args[3] = psprintf("{%d,%lld}", list_length(run->sources), (long long) run->bytes_total);
	args[4] = timestamptz_to_str(run->started);
	ConsolidateQuery(psprintf("UPDATE %s.consolidate_run SET state = 'interrupted'"
							  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
							  "  AND family OPERATOR(pg_catalog.=) $2"
							  "  AND state OPERATOR(pg_catalog.=) 'running'",
							  family->extschema), 2, args);
	ConsolidateQuery(psprintf("DELETE FROM %s.consolidate_problem"
							  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
							  "  AND family OPERATOR(pg_catalog.=) $2", family->extschema), 2, args);
	ConsolidateQuery(psprintf("INSERT INTO %s.consolidate_run (source_schema, family, started_at,"
							  "  updated_at, state, lock_key, tables_total, bytes_total)"
							  " SELECT $1, $2, $5::pg_catalog.timestamptz, pg_catalog.clock_timestamp(),"
							  "  'running', $3::pg_catalog.int4, n.n[1], n.n[2]"
							  " FROM (SELECT $4::pg_catalog.int8[]) n(n)", family->extschema), 5, args);
}

void
RecordProblem(Run *run, Source *source, const char *problem)
{
	Family	   *family = run->family;
	const char *args[] = {
		family->schema, family->name, source->name,
		source->has_id ? psprintf("%lld", (long long) source->process_id) : NULL, problem
	};

	ConsolidateQuery(psprintf("INSERT INTO %s.consolidate_problem"
							  " (source_schema, family, source_table, process_id, problem)"
							  " VALUES ($1, $2, $3, $4::pg_catalog.int8, $5)"
							  " ON CONFLICT (source_schema, family, source_table) DO UPDATE"
							  " SET process_id = EXCLUDED.process_id, problem = EXCLUDED.problem,"
							  "  seen_at = EXCLUDED.seen_at", family->extschema), 5, args);
	source->state = SOURCE_SKIPPED;
	run->tally.skipped++;
	run->last_error = MemoryContextStrdup(run->context,
										  psprintf("table \"%s\" %s", source->name, problem));
	ereport(NOTICE,
			(errmsg("consolidate: \"%s.%s\" left alone: %s", family->schema, source->name, problem)));
}

void
RecordAdd(Batch *batch, Source *source, Relation rel, const char *state,
		   const Contents *contents)
{
	int			n = batch->ntaken++;
	char	   *before;
	char	   *after;

	batch->records[REC_ID][n] = Int64GetDatum(source->process_id);
	batch->records[REC_TABLE][n] = CStringGetTextDatum(source->name);
	batch->records[REC_STATE][n] = CStringGetTextDatum(state);
	batch->records[REC_ROWS][n] = Int64GetDatum(contents->rows - contents->nrejects);
	batch->records[REC_REJECTS][n] = Int64GetDatum(contents->nrejects);
	batch->records[REC_CHECKSUM][n] = CStringGetTextDatum(ChecksumText(contents->checksum));
	DefinitionOf(rel, &before, &after);
	batch->records[REC_BEFORE][n] = CStringGetTextDatum(before);
	batch->records[REC_AFTER][n] = CStringGetTextDatum(after);
}

static Datum
int8_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

static Datum
text_array(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Writes the batch's records in one statement. */
void
RecordWrite(Batch *batch)
{
	Family	   *family = batch->run->family;
	Oid			types[] = {
		TEXTOID, TEXTOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
		TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID
	};
	Datum		values[lengthof(types)];
	int			i,
				result;

	values[0] = CStringGetTextDatum(family->schema);
	values[1] = CStringGetTextDatum(family->name);
	for (i = 0; i < REC_FIELDS; i++)
		values[i + 2] = types[i + 2] == INT8ARRAYOID ?
			int8_array(batch->records[i], batch->ntaken) :
			text_array(batch->records[i], batch->ntaken);
	result = SPI_execute_with_args(
								   psprintf("INSERT INTO %s.consolidate_source"
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
								   lengthof(types), types, values, NULL, false, 0);
	if (result < 0 || SPI_processed != batch->ntaken)
		elog(ERROR, "recorded %llu of %d sources: %s", (unsigned long long) SPI_processed,
			 batch->ntaken, SPI_result_code_string(result));
}

/* Brings the run's row up to date; state is NULL while it goes on. */
void
RecordProgress(Run *run, const char *state)
{
	Family	   *family = run->family;
	Tally	   *tally = &run->tally;
	const char *args[] = {
		family->schema, family->name, timestamptz_to_str(run->started),
		psprintf("{%lld,%lld,%lld,%lld,%lld}", (long long) tally->done, (long long) tally->skipped,
				 (long long) tally->rows, (long long) tally->rejected, (long long) tally->bytes),
		run->last_error, state
	};

	ConsolidateQuery(psprintf("UPDATE %s.consolidate_run r SET"
							  "  tables_done = n.n[1], tables_skipped = n.n[2], rows_done = n.n[3],"
							  "  rows_rejected = n.n[4], bytes_done = n.n[5],"
							  "  last_error = $5, updated_at = pg_catalog.clock_timestamp(),"
							  "  state = COALESCE($6, state),"
							  "  finished_at = CASE WHEN $6 IS NOT NULL THEN pg_catalog.clock_timestamp() END"
							  " FROM (SELECT $4::pg_catalog.int8[]) n(n)"
							  " WHERE source_schema OPERATOR(pg_catalog.=) $1"
							  "  AND family OPERATOR(pg_catalog.=) $2"
							  "  AND started_at OPERATOR(pg_catalog.=) $3::pg_catalog.timestamptz",
							  family->extschema), 6, args);
}
