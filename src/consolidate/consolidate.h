/*
 * consolidate.h
 *	  What the files of the consolidate part share.
 *
 * Words:
 *
 *	process		one run of the utility's batch programs; it has a number, the process id
 *	family		a set of tables with the same columns, one table per process, named after
 *				it (tmp_deuda_1779865)
 *	source		one table of a family
 *	target		the one table that takes the rows of all sources, with a proceso_id
 *	key			the columns that identify a row within one source; in the target the key
 *				is proceso_id and these
 *	reject		a row of a source that the target refuses: null or duplicate key, or a value
 *				that does not fit its column
 *	record		a row of consolidate_source: what was moved, and how to make its table again
 *	problem		why a source is skipped, in words that follow its name ("has a trigger (t)")
 *	batch		the sources that one transaction moves
 *	checksum	64 bits of the rows of one process; neither the order of rows nor of columns
 *				matters
 *
 * Contents, in the order in which a run uses them:
 *
 *	consolidate_define.c	consolidate_define(): families of the user's own
 *	consolidate_family.c	a family and its sources, found by name
 *	consolidate_columns.c	the columns of a family, and values converted to their types
 *	consolidate_check.c		can a source be dropped, and made again?
 *	consolidate_trust.c		who may be trusted with rows, and as whom the target is used
 *	consolidate_target.c	the target: making, checking, reading it
 *	consolidate_lock.c		two runs of one family exclude each other
 *	consolidate_scan.c		the rows of a source
 *	consolidate_checksum.c	their checksum
 *	consolidate_compare.c	are they the rows that the target holds?
 *	consolidate_copy.c		rows into the target
 *	consolidate_reject.c	rejects into consolidate_rejected
 *	consolidate_deparse.c	the DDL that makes a source again
 *	consolidate_problem.c	a code and a sentence for each problem
 *	consolidate_record.c	the records of a run
 *	consolidate_run.c		CALL consolidate(); consolidate_run.h is for these two alone
 *	consolidate_plan.c		consolidate_plan(), consolidate_verify()
 *	consolidate_restore.c	CALL consolidate_restore()
 *	consolidate_recreate.c	a source is made again
 *	consolidate_guard.c		consolidate_guard(): an event trigger against new sources
 */
#ifndef AQUACIS_CONSOLIDATE_H
#define AQUACIS_CONSOLIDATE_H

#include "access/tableam.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/typcache.h"

#define PROCESS_COLUMN	"proceso_id"
#define CREATED_COLUMN	"created_at"

#define FETCH_ROWS		1000	/* per fetch from a cursor */
#define SORT_MEMORY_KB	(6 * 1024)	/* of each sort while rows are read */

/* What of a value goes into the checksum. */
typedef enum HashBy
{
	HASH_BY_VALUE,				/* passed by value: the value */
	HASH_BY_BYTES,				/* text: its bytes */
	HASH_BY_FUNCTION,			/* the type's extended hash function */
	HASH_BY_TEXT				/* a type without one: its output */
} HashBy;

/* A column of a family, as the target has it or will have it. */
typedef struct FamilyColumn
{
	char	   *name;
	Oid			type;
	int32		typmod;
	Oid			collation;
	bool		notnull;		/* in the target, keys included */
	bool		key;
	AttrNumber	target_attno;	/* 0 while there is no target */
	TypeCacheEntry *cache;		/* of type; lives as long as the backend */
	uint64		name_hash;
	HashBy		hash_by;
	FmgrInfo	out;			/* for HASH_BY_TEXT */
} FamilyColumn;

typedef struct FamilyColumns
{
	int			ncolumns;
	FamilyColumn *column;		/* ncolumns of them */
	int			nkeys;
	int		   *key;			/* positions in column, in key order */
	bool		exact_key;		/* one integer: its 64 bits are the key itself */
} FamilyColumns;

/* A family in one schema. */
typedef struct Family
{
	char	   *name;
	char	   *schema;			/* of the sources and of the target */
	Oid			schema_oid;
	char	   *extschema_name; /* where our own tables are */
	char	   *extschema;		/* the same, quoted */
	char	   *pattern;
	char	   *target;
	List	   *key_columns;	/* of char * */
	List	   *column_defs;	/* of char *, "name type"; NIL: ask the sources */
	Oid			target_oid;		/* InvalidOid while there is no target */
	FamilyColumns columns;
} Family;

typedef enum SourceState
{
	SOURCE_TODO,
	SOURCE_BUSY,				/* locked by somebody, will be tried again */
	SOURCE_DONE,
	SOURCE_SKIPPED
} SourceState;

/* What consolidate_source says of a table that exists. */
typedef enum RecordedState
{
	RECORD_NONE,
	RECORD_COPIED,				/* copied, and kept */
	RECORD_MOVED				/* moved: this table is a new one */
} RecordedState;

/* Kinds of problems for which a source is skipped, see consolidate_problem.c. */
typedef enum ConsolidateProblemKind
{
	PROBLEM_COLUMNS,
	PROBLEM_DEPENDENT,			/* a view, a constraint, ... depends on it */
	PROBLEM_DROPPED,
	PROBLEM_EXTENSION,			/* it or a part of it belongs to one */
	PROBLEM_FAILED,				/* an error, by its message */
	PROBLEM_FOREIGN_KEY,
	PROBLEM_IN_TARGET,			/* other rows of its process */
	PROBLEM_IN_USE,
	PROBLEM_INVALID_INDEX,
	PROBLEM_NO_PROCESS_ID,
	PROBLEM_NO_RIGHT,			/* of the caller */
	PROBLEM_NOT_A_TABLE,		/* or not an ordinary one */
	PROBLEM_OTHER_NAME,			/* looks like one of the family */
	PROBLEM_OWNER,				/* rows would get readers or writers that they have not */
	PROBLEM_REFUSED_ROWS,
	PROBLEM_RIGHTS,				/* granted in a way that cannot be restored */
	PROBLEM_ROW_SECURITY,
	PROBLEM_RULE,
	PROBLEM_SAME_PROCESS,		/* as another table */
	PROBLEM_SECURITY_LABEL,
	PROBLEM_SUBSCRIPTION,
	PROBLEM_TRIGGER,
	PROBLEM_USER_CODE
} ConsolidateProblemKind;

typedef struct ConsolidateProblem
{
	const char *code;			/* to group by; a constant */
	char	   *sentence;		/* after the table's name */
} ConsolidateProblem;

/* A table whose name the family's pattern matches. */
typedef struct Source
{
	Oid			oid;
	Oid			owner;
	char	   *name;
	bool		has_id;
	int64		process_id;
	ConsolidateProblem *problem;	/* found by its name alone, or NULL */
	int64		bytes;			/* of the main fork */
	RecordedState recorded;
	int64		recorded_rows;
	int64		recorded_rejects;
	char	   *recorded_checksum;
	SourceState state;
	bool		alone;			/* its batch failed: try it by itself */
} Source;

/* How a source's value becomes the target's. */
typedef enum Coercion
{
	COERCE_NOTHING,				/* as it is */
	COERCE_NUMBER,				/* integers and numeric, value unchanged or refused */
	COERCE_LENGTH				/* text and varchar, refused when too long */
} Coercion;

/* Where a family's column comes from in one source. */
typedef struct SourceColumn
{
	AttrNumber	attno;			/* in the source */
	Coercion	coercion;
	Oid			type;
} SourceColumn;

typedef enum RejectKind
{
	REJECT_NULL,
	REJECT_MISFIT,
	REJECT_DUPLICATE
} RejectKind;

typedef struct Reject
{
	ItemPointerData tid;
	uint8		kind;			/* RejectKind */
	int16		column;			/* position in the family's columns */
} Reject;

/* What a source holds, as a scan of it found. */
typedef struct SourceContents
{
	int64		rows;			/* all of them */
	int64		nrejects;
	Reject	   *rejects;		/* in the order of a scan */
	int64		allocated;
	int64		count[3];		/* by RejectKind */
	uint64		checksum;		/* of the rows that are not rejected */
	bool		too_many;		/* rejects: gave up collecting */
} SourceContents;

/* Rows and checksum of one process in the target. */
typedef struct ProcessSum
{
	int64		process_id;		/* hash key */
	int64		rows;
	uint64		checksum;
} ProcessSum;

/* A run's way into the target; consolidate_copy.c knows what is in it. */
typedef struct CopyState CopyState;

/* Gets a row, in the order of the family's columns; its values live until it returns. */
typedef void (*RowCallback) (void *arg, Datum *values, bool *nulls);

/* consolidate_family.c */
extern Family *ConsolidateLoadFamily(Oid extnamespace, const char *schema, const char *name);
extern List *ConsolidateFindSources(Family *family);
extern List *ConsolidateFindLookalikes(Family *family);
extern bool ConsolidateResolveColumns(Family *family);

/* consolidate_columns.c */
extern void ConsolidateParseColumns(Family *family, List *defs);
extern void ConsolidateCheckColumns(Family *family);
extern List *ConsolidateDeparseColumns(const FamilyColumns *columns);
extern void ConsolidateTargetColumns(Family *family, Relation target);
extern void ConsolidateFinishColumns(Family *family);
extern ConsolidateProblem *ConsolidateMatchColumns(const FamilyColumns *columns, Relation source,
												   SourceColumn *from);
extern void ConsolidateAppendName(StringInfo list, const char *name);
extern char *ConsolidateColumnList(const FamilyColumns *columns);
extern bool ConsolidateConvertRow(const FamilyColumns *columns, const SourceColumn *from,
								  TupleTableSlot *slot, Datum *values, bool *nulls,
								  RejectKind *kind, int *column);

/* consolidate_problem.c */
extern ConsolidateProblem *ConsolidateProblemOf(ConsolidateProblemKind kind, const char *format,...)
			pg_attribute_printf(2, 3);

/* consolidate_check.c */
extern ConsolidateProblem *ConsolidateCheckRights(Oid relid);
extern ConsolidateProblem *ConsolidateCheckSource(Relation source, int *locks);

/* consolidate_trust.c */
extern void ConsolidateCheckTargetRights(Family *family, AclMode rights);
extern void ConsolidateCheckTargetName(Family *family, LOCKMODE lockmode);
extern void ConsolidateCheckTargetTriggers(Family *family, LOCKMODE lockmode);
extern Oid	ConsolidateTargetUser(Family *family, AclMode rights);
extern ConsolidateProblem *ConsolidateOwnersProblem(Family *family, Oid source,
													Oid target_owner);
extern Oid	ConsolidateNewTargetOwner(Family *family, List *sources);
extern void ConsolidateCheckOwnTables(Oid extnamespace, bool writing);
extern void ConsolidateCheckRecordWriters(Family *family);
extern void ConsolidateCheckRejectedTable(Oid relid);

/* consolidate_target.c */
extern void ConsolidateWarnOfPublications(Family *family);
extern bool ConsolidateMakeTarget(Family *family, List *sources);
extern void ConsolidateCheckTarget(Family *family);
extern void ConsolidateSaveColumns(Family *family);
extern bool ConsolidateTargetIsIndexed(Family *family);
extern void ConsolidateIndexTarget(Family *family);
extern HTAB *ConsolidateProcessesInTarget(Family *family, List *sources);
extern char *ConsolidateTargetQuery(Family *family, const int64 *only);
extern HTAB *ConsolidateTargetSums(Family *family, const int64 *only);
extern HTAB *ConsolidateTableSums(Family *family, const char *table, Oid owner, int64 process_id);

/* consolidate_lock.c */
extern int32 ConsolidateLockKey(Family *family);
extern void ConsolidateLock(LOCKTAG *tag, Family *family);
extern void ConsolidateUnlock(const LOCKTAG *tag);
extern void ConsolidateLockAll(Family *family);

/* consolidate_scan.c */
extern TableScanDesc ConsolidateBeginScan(Relation source, Snapshot snapshot);
extern void ConsolidateScanSource(const FamilyColumns *columns, Relation source,
								  const SourceColumn *from, Snapshot snapshot,
								  SourceContents *contents);
extern void ConsolidateForEachRow(const FamilyColumns *columns, Relation source,
								  const SourceColumn *from, Snapshot snapshot,
								  const SourceContents *contents, RowCallback callback, void *arg);
extern ConsolidateProblem *ConsolidateContentsProblem(const FamilyColumns *columns,
													  const Source *source,
													  const SourceContents *contents, bool keep);
extern char *ConsolidateRejectReason(const FamilyColumns *columns, const Reject *reject);

/* consolidate_checksum.c */
extern int	ConsolidateChecksumSettings(const FamilyColumns *columns);
extern void ConsolidatePrepareChecksum(FamilyColumn *column);
extern uint64 ConsolidateChecksumRow(const FamilyColumns *columns, const Datum *values,
									 const bool *nulls);
extern uint64 ConsolidateHashKey(const FamilyColumns *columns, const Datum *values);
extern char *ConsolidateChecksumText(uint64 checksum);

/* consolidate_compare.c */
extern ConsolidateProblem *ConsolidateCheckStored(Family *family, HTAB *present,
												  const Source *source, Relation rel,
												  const SourceColumn *from, Snapshot snapshot,
												  const SourceContents *contents, bool *stored);

/* consolidate_copy.c */
extern CopyState *ConsolidateCopyBegin(Family *family);
extern bool ConsolidateCopyReadSmall(CopyState *copy, int64 process_id, Relation source,
									 const SourceColumn *from, Snapshot snapshot,
									 SourceContents *contents);
extern void ConsolidateCopySource(CopyState *copy, int64 process_id, Relation source,
								  const SourceColumn *from, Snapshot snapshot,
								  const SourceContents *contents);
extern void ConsolidateCopyClose(CopyState *copy);
extern void ConsolidateCopyForget(CopyState *copy);

/* consolidate_reject.c */
extern void ConsolidateMakeRejectedTable(Family *family, bool needed);
extern void ConsolidateDeleteRejected(Family *family, Source *source);
extern void ConsolidateWriteRejected(Family *family, Source *source, Relation rel,
									 Snapshot snapshot, const SourceContents *contents);

/* consolidate_deparse.c */
extern void ConsolidateDeparseTable(Relation source, char **before, char **after);

/* consolidate_recreate.c */
extern void ConsolidateRecreateTable(const char *table, const char *definition);
extern void ConsolidateFinishTable(const char *definition, Oid owner);

/* consolidate_restore.c */
extern bool ConsolidateRestoring;

#endif							/* AQUACIS_CONSOLIDATE_H */
