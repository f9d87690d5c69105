/*
 * consolidate.h
 *	  What the files of the consolidate part share.
 *
 * Vocabulary: a family is a set of tables named after processes
 * (tmp_deuda_1779865), a source is one of them, the target is the one table
 * that takes their rows with a proceso_id, the shape is the family's columns
 * as the target holds them.
 */
#ifndef AQUACIS_CONSOLIDATE_H
#define AQUACIS_CONSOLIDATE_H

#include "access/tableam.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "storage/lock.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/acl.h"
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

/* One column of a family. */
typedef struct ShapeColumn
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
} ShapeColumn;

typedef struct Shape
{
	int			ncolumns;
	ShapeColumn *columns;
	int			nkeys;
	int		   *keys;			/* positions in columns, in key order */
	bool		exact_key;		/* one integer: its 64 bits are the key itself */
} Shape;

typedef struct Family
{
	char	   *name;
	char	   *schema;			/* of the sources and of the target */
	Oid			schema_oid;
	char	   *extschema_name;	/* where our own tables are */
	char	   *extschema;		/* the same, quoted */
	char	   *pattern;
	char	   *target;
	List	   *key_columns;	/* of char * */
	List	   *column_defs;	/* of char *, "name type"; NIL: ask the sources */
	Oid			target_oid;		/* InvalidOid while there is no target */
	Shape		shape;
} Family;

typedef enum SourceState
{
	SOURCE_TODO,
	SOURCE_BUSY,				/* locked by somebody, will be tried again */
	SOURCE_DONE,
	SOURCE_SKIPPED
} SourceState;

typedef enum SourceRecord
{
	RECORD_NONE,
	RECORD_COPIED,				/* copied, and kept */
	RECORD_MOVED				/* moved: this table is a new one */
} SourceRecord;

/* A table whose name the family's pattern matches. */
typedef struct Source
{
	Oid			oid;
	Oid			owner;
	char	   *name;
	bool		has_id;
	int64		process_id;
	char	   *problem;		/* found by its name alone, or NULL */
	int64		bytes;
	SourceRecord recorded;		/* what consolidate_source says of it */
	int64		recorded_rows;
	int64		recorded_rejects;
	char	   *recorded_checksum;
	SourceState state;
	bool		alone;			/* its batch failed: try it by itself */
} Source;

/* How a source's value becomes the target's. */
typedef enum Fit
{
	FIT_SAME,
	FIT_NUMBER,					/* integers and numeric, value unchanged or refused */
	FIT_LENGTH					/* text and varchar, refused when too long */
} Fit;

typedef struct SourceColumn
{
	AttrNumber	attno;			/* in the source */
	Fit			fit;
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
	int16		column;			/* position in the shape */
} Reject;

/* What a source holds, as examine_source found it. */
typedef struct Contents
{
	int64		rows;			/* all of them */
	int64		nrejects;
	Reject	   *rejects;		/* in the order of a scan */
	int64		allocated;
	int64		count[3];		/* by RejectKind */
	uint64		checksum;		/* of the rows that are not rejected */
	bool		too_many;		/* rejects: gave up collecting */
} Contents;

/* Rows and checksum of one process in the target. */
typedef struct ProcessSum
{
	int64		process_id;		/* hash key */
	int64		rows;
	uint64		checksum;
} ProcessSum;

typedef struct CopyState CopyState;

/* consolidate_family.c */
extern Family *FamilyLoad(Oid extnamespace, const char *schema, const char *name);
extern List *FamilySources(Family *family);
extern List *FamilyLookalikes(Family *family);
extern bool FamilyResolveShape(Family *family);

/* consolidate_columns.c */
extern void ShapeFromDefinitions(Family *family, List *defs);
extern void ShapeCheckNames(Family *family);
extern List *ShapeDefinitions(const Shape *shape);
extern void ShapeFromTarget(Family *family, Relation target);
extern void ShapeFinish(Family *family);
extern char *ShapeMatch(const Shape *shape, Relation source, SourceColumn *columns);
extern bool ShapeFit(const ShapeColumn *column, const SourceColumn *from, Datum in, Datum *out);

/* consolidate_checksum.c */
extern void ChecksumPrepare(ShapeColumn *column);
extern uint64 ChecksumRow(const Shape *shape, const Datum *values, const bool *nulls);
extern uint64 ChecksumKey(const Shape *shape, const Datum *values);
extern char *ChecksumText(uint64 checksum);

/* consolidate_scan.c */
extern bool ShapeRow(const Shape *shape, const SourceColumn *columns, TupleTableSlot *slot,
					 Datum *values, bool *nulls, RejectKind *kind, int *column);
extern TableScanDesc ExamineBeginScan(Relation source, Snapshot snapshot);
extern void ExamineSource(const Shape *shape, Relation source, const SourceColumn *columns,
						  Snapshot snapshot, Contents *contents);
typedef void (*TakeRow) (void *arg, Datum *values, bool *nulls);
extern void ExamineRows(const Shape *shape, Relation source, const SourceColumn *columns,
						Snapshot snapshot, const Contents *contents, TakeRow take, void *arg);
extern char *ContentsProblem(const Shape *shape, const Source *source, const Contents *contents,
							 bool keep);
extern char *RejectReason(const Shape *shape, const Reject *reject);

/* consolidate_check.c */
extern char *InspectRights(Oid relid);
extern char *InspectSource(Relation source, int *locks);

/* consolidate_trust.c */
extern void TargetCheckName(Family *family, LOCKMODE lockmode);
extern void TargetRefuseTriggers(Family *family, LOCKMODE lockmode);
extern Oid	TargetUser(Family *family, AclMode rights);
extern char *OwnersProblem(Family *family, Oid source, Oid target_owner);
extern Oid	TargetOwnerOf(Family *family, List *sources);
extern void CheckOwnTables(Oid extnamespace, bool writing);
extern void TrustRecords(Family *family);
extern void TrustRejected(Oid relid);

/* consolidate_target.c */
extern void TargetTellPublications(Family *family);
extern bool TargetMake(Family *family, List *sources);
extern void TargetCheck(Family *family);
extern void TargetRememberColumns(Family *family);
extern bool TargetIsIndexed(Family *family);
extern void TargetIndex(Family *family);
extern HTAB *TargetPresent(Family *family, List *sources);
extern char *TargetQuery(Family *family, const int64 *only);
extern HTAB *TargetSums(Family *family, const int64 *only);
extern char *TargetHolds(Family *family, HTAB *present, const Source *source, Relation rel,
						 const SourceColumn *columns, Snapshot snapshot,
						 const Contents *contents, bool *stored);
extern HTAB *TargetSumsOfSource(Family *family, const char *table, Oid owner, int64 process_id);

/* consolidate_copy.c */
extern CopyState *CopyBegin(Family *family);
extern bool CopyReadSmall(CopyState *copy, int64 process_id, Relation source,
						  const SourceColumn *columns, Snapshot snapshot, Contents *contents);
extern void CopySource(CopyState *copy, int64 process_id, Relation source,
					   const SourceColumn *columns, Snapshot snapshot, const Contents *contents);
extern void CopyClose(CopyState *copy);
extern void CopyForget(CopyState *copy);

/* consolidate_reject.c */
extern void RejectedMakeTable(Family *family, bool needed);
extern void RejectedForget(Family *family, Source *source);
extern void RejectedWrite(Family *family, Source *source, Relation rel, Snapshot snapshot,
						  const Contents *contents);

/* consolidate_compare.c */
extern bool SameRows(Family *family, const Source *source, Relation rel,
					 const SourceColumn *columns, Snapshot snapshot, const Contents *contents);

/* consolidate_lock.c */
extern int	ConsolidateChecksumSettings(const Shape *shape);
extern int32 ConsolidateLockKey(Family *family);
extern void ConsolidateLock(LOCKTAG *tag, Family *family);
extern void ConsolidateUnlock(const LOCKTAG *tag);
extern void ConsolidateLockAll(Family *family);

/* consolidate_restore.c */
extern bool ConsolidateRestoring;

/* consolidate_deparse.c */
extern void DefinitionOf(Relation source, char **before, char **after);

#endif							/* AQUACIS_CONSOLIDATE_H */
