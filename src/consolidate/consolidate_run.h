/*
 * consolidate_run.h
 *	  What a run of consolidate is made of; for consolidate_run.c and consolidate_record.c alone.
 */
#ifndef AQUACIS_CONSOLIDATE_RUN_H
#define AQUACIS_CONSOLIDATE_RUN_H

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "consolidate/consolidate.h"

/* What a call was given. */
typedef struct RunOptions
{
	int			batch;
	bool		drop_source;
	bool		keep_rejects;
	int64		lock_wait_ms;
	bool		skip_locked;
} RunOptions;

/* What a run has done so far; a batch that fails gives it back. */
typedef struct Tally
{
	int64		done;
	int64		skipped;
	int64		rows;
	int64		rejected;
	int64		bytes;
} Tally;

typedef struct Run
{
	Oid			extnamespace;	/* of our own tables */
	Family	   *family;
	RunOptions	options;
	List	   *sources;
	CopyState  *copy;
	HTAB	   *present;		/* processes with rows in the target before us */
	TimestampTz started;
	int64		bytes_total;
	Tally		tally;
	char	   *last_error;
	TimestampTz noticed;
	MemoryContext context;		/* lives as long as the call */
} Run;

/* One row of consolidate_source to be. */
enum
{
	REC_ID, REC_TABLE, REC_STATE, REC_ROWS, REC_REJECTS, REC_CHECKSUM, REC_BEFORE, REC_AFTER,
	REC_FIELDS
};

/* One batch, in a context of its own. */
typedef struct Batch
{
	Run		   *run;
	MemoryContext context;
	int			ntaken;			/* sources that this transaction moves */
	Datum	   *records[REC_FIELDS];
	Oid		   *oids;
	StringInfoData drop;		/* DROP TABLE of them */
	int			locks;
	TimestampTz started;
} Batch;

extern void ConsolidateRecordRun(Run *run);
extern void ConsolidateRecordProgress(Run *run, const char *state);
extern void ConsolidateRecordProblem(Run *run, Source *source,
									 const ConsolidateProblem *problem);
extern void ConsolidateRecordSource(Batch *batch, Source *source, Relation rel, const char *state,
									const SourceContents *contents);
extern void ConsolidateWriteRecords(Batch *batch);

#endif							/* AQUACIS_CONSOLIDATE_RUN_H */
