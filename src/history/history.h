/*
 * history.h
 *	  What the files of the history part share.
 *
 * Words:
 *
 *	history table	a table into which the application copies rows of another one when they
 *				change: hiscontrato holds old rows of contrato
 *	base		the table whose rows it holds
 *	version		a row of a history table
 *	holds		what a copy is: the row as it was before the change, or as it is after it.  It
 *				is the convention of the application, table by table; nobody wrote it down
 *	mapped		a column of the history table that is a column of the base under another name
 *	definition	what somebody who knows has said of a history table: history_define()
 *	evidence	what rows of both tables say: history_evidence.c
 *
 * Contents:
 *
 *	history_names.c		which column is which, by its name: no catalog, no server
 *	history_columns.c	the columns of tables, and the base of a table, from the catalog
 *	history_define.c	history_define(), history_forget(), and definitions read
 *	history_table.c		all that is known of one history table without reading a row of it
 *	history_sample.c	rows of a table, a bounded number, by no plan
 *	history_evidence.c	what they say: the key, the time, before or after
 *	history_depend.c	who depends on a table, and who has read it
 *	history_plan.c		history_plan()
 */
#ifndef AQUACIS_HISTORY_H
#define AQUACIS_HISTORY_H

#include "access/htup.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "storage/block.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"

/* the most columns a guessed key has */
#define HISTORY_GUESSED_KEY	4
#define HISTORY_MAX_KEY		32

/* this share of rows or keys may be dirt: copies made twice, lost, or by hand */
#define HISTORY_DIRT		0.2

/* ---- history_names.c --------------------------------------------------------------- */

/* how the name of a history table's column comes from that of the base's */
typedef enum HistoryRule
{
	HISTORY_RULE_NONE,			/* it has none there */
	HISTORY_RULE_H,				/* "h" and the name */
	HISTORY_RULE_HIS,			/* "his" and the name */
	HISTORY_RULE_SAME,			/* the name */
	HISTORY_RULE_SHORT,			/* another prefix in place of the base's */
	HISTORY_RULE_DEFINED		/* history_define() says so */
} HistoryRule;

typedef struct HistoryColumn
{
	char	   *name;
	AttrNumber	attnum;
	Oid			type;
	int32		typmod;
	Oid			collation;
	bool		notnull;
	int			base;			/* index among the base's columns; -1: none.  Of a base's column:
								 * the other way */
	HistoryRule rule;
} HistoryColumn;

typedef struct HistoryColumns
{
	HistoryColumn *column;
	int			n;
} HistoryColumns;

/* the prefix of HISTORY_RULE_SHORT: "hp" in place of "prs" */
typedef struct HistoryShort
{
	char	   *his;
	char	   *base;
	int			n;				/* columns that it maps; 0: there is none */
} HistoryShort;

extern void HistoryMapNames(HistoryColumns *his, HistoryColumns *base, HistoryShort *prefix);
extern int	HistoryAlike(const HistoryColumns *his, const HistoryColumns *base);
extern int	HistoryFindTime(const HistoryColumns *his);
extern int	HistoryFindUser(const HistoryColumns *his);
extern int	HistoryFindOperation(const HistoryColumns *his);
extern char *HistoryPrefix(const HistoryColumns *his, const HistoryShort *prefix);

/* ---- history_columns.c --------------------------------------------------------------- */

typedef enum HistoryBaseFrom
{
	HISTORY_BASE_NONE, HISTORY_BASE_DEFINED, HISTORY_BASE_NAME, HISTORY_BASE_COLUMNS
} HistoryBaseFrom;

/*
 * The columns of the tables of one schema, read when the first base is looked for by columns.
 * The caller sets the context and zeroes the rest.
 */
typedef struct HistorySchema
{
	MemoryContext context;
	Oid			schema;
	List	   *tables;			/* of SchemaTable */
} HistorySchema;

extern void HistoryReadColumns(Oid relid, HistoryColumns *out);
extern int	HistoryColumnIndex(const HistoryColumns *columns, const char *name);
extern Oid	HistoryFindBase(Oid relid, const HistoryColumns *his, HistorySchema *schema,
							HistoryBaseFrom *from);

/* ---- history_define.c ---------------------------------------------------------------- */

typedef enum HistoryHolds
{
	HISTORY_UNKNOWN, HISTORY_BEFORE, HISTORY_AFTER, HISTORY_MIXED
} HistoryHolds;

/* a row of history_definition; NULL, NIL, InvalidOid: as it is found */
typedef struct HistoryDefinition
{
	Oid			relid;
	Oid			baseid;
	char	   *columns;		/* JSON: {"column": "column of the base" or null, ...} */
	List	   *his;			/* the same: its columns, of char * */
	List	   *base;			/* and those of the base; NULL elements: none */
	List	   *key;			/* of char * */
	char	   *changed_at;
	char	   *changed_by;
	char	   *operation;
	HistoryHolds holds;			/* HISTORY_UNKNOWN: as it is found */
	char	   *time_zone;
} HistoryDefinition;

extern HistoryDefinition *HistoryReadDefinition(Oid fnoid, Oid relid);
extern List *HistoryDefinitions(Oid fnoid);
extern const char *HistoryHoldsWord(HistoryHolds holds);

/* ---- history_table.c ----------------------------------------------------------------- */

typedef enum HistoryKeyFrom
{
	HISTORY_KEY_NONE, HISTORY_KEY_DEFINED, HISTORY_KEY_PRIMARY, HISTORY_KEY_UNIQUE,
	HISTORY_KEY_GUESSED
} HistoryKeyFrom;

/*
 * All that is known of a history table from the catalogs and its definition.  Columns are
 * indexes into his.column, -1 where there is none; what has to be kept longer than the
 * table's lock has their attnum.
 */
typedef struct HistoryTable
{
	Oid			relid;
	Oid			baseid;			/* InvalidOid: none */
	HistoryBaseFrom base_from;
	HistoryColumns his;
	HistoryColumns base;
	HistoryShort prefix;
	int			nkeys;
	int			key[HISTORY_MAX_KEY];
	HistoryKeyFrom key_from;
	Oid			key_index;		/* of the base, over the key; InvalidOid: none */
	int			time;
	int			user;
	int			operation;
	HistoryHolds holds;			/* as defined; else HISTORY_UNKNOWN until evidence is in */
	char	   *time_zone;		/* NULL: not said */
	HistoryDefinition *defined; /* NULL: nothing was */
	const char *problem_code;	/* NULL: none */
	char	   *problem;
} HistoryTable;

extern void HistoryFill(HistoryTable *table, Oid relid, HistoryDefinition *definition,
						HistorySchema *schema);
extern bool HistoryFillLocked(HistoryTable *table, Oid relid, HistoryDefinition *definition,
							  HistorySchema *schema);
extern void HistoryProblem(HistoryTable *table, const char *code, const char *format,...)
			pg_attribute_printf(3, 4);
extern void HistoryUnlock(HistoryTable *table);
extern bool HistoryCheckReadable(HistoryTable *table);

/* ---- history_sample.c ---------------------------------------------------------------- */

/* a row of a sample that has a key */
typedef struct HistoryRow
{
	HeapTuple	tuple;
	int64		place;			/* its place among the rows that were read */
	bool		has_time;
	Timestamp	time;
} HistoryRow;

typedef struct HistorySample
{
	HistoryRow *row;
	int			n;
	int64		rows_read;		/* all, also those without a key */
	int64		null_keys;
	int64		null_times;
	BlockNumber blocks;			/* of the table */
	BlockNumber blocks_read;
	bool		whole;			/* every row was read */
	bool		timed;			/* any row has a time; then: */
	Timestamp	first;
	Timestamp	last;
} HistorySample;

/* how keys are compared */
typedef struct HistoryKey
{
	int			n;
	AttrNumber	attnum[HISTORY_MAX_KEY];
	TupleDesc	desc;
	struct FmgrInfo *compare[HISTORY_MAX_KEY];
	Oid			collation[HISTORY_MAX_KEY];
} HistoryKey;

extern bool HistoryKeyOf(HistoryKey *key, Relation rel, const HistoryColumns *columns,
						 const int *index, int n);
extern int	HistoryCompareKeys(const HistoryKey *a, HeapTuple atuple, const HistoryKey *b,
							   HeapTuple btuple);
extern bool HistoryRowTime(TupleDesc desc, AttrNumber attnum, HeapTuple tuple, Timestamp *time);
extern void HistoryReadSample(Relation rel, const HistoryKey *key, AttrNumber time, int limit,
							  HistorySample *sample);
extern void HistorySortSample(HistorySample *sample, const HistoryKey *key);

/* ---- history_evidence.c -------------------------------------------------------------- */

/* what rows of both tables say */
typedef struct HistoryEvidence
{
	bool		read;			/* false: nothing was read, and nothing else here counts */
	HistorySample sample;		/* of the history table */
	bool		base_whole;		/* every key can be looked up */
	int64		base_rows;		/* of the base, as far as read */
	int64		base_repeated;	/* of these, with the key of another */
	int64		repeated;		/* copies equal to the one before in every column */
	int64		equal_times;	/* other copies with the time of the one before, of the same key */
	int64		backwards;		/* copies whose time is before that of an earlier one */
	int64		skipped_times;	/* times that the time zone does not have */
	int64		pairs;			/* copies that have one before them of the same key */
	int64		keys;			/* different keys */
	int64		orphans;		/* of them, not in the base */
	int64		after;			/* keys whose newest copy is the base's row */
	int64		before;			/* ... is an older row */
	int64		at_change;		/* of before: with the time of the base's row */
	int64		newer;			/* ... has a later time than the base's row */
	HistoryHolds holds;
	double		sure;			/* lower limit of the share of keys that agree, at 95 % */
} HistoryEvidence;

extern void HistoryLook(HistoryTable *table, int limit, HistoryEvidence *evidence);
extern int64 HistoryRowsPerYear(const HistoryEvidence *evidence, int64 rows);

/* ---- history_depend.c ---------------------------------------------------------------- */

extern HTAB *HistoryDependants(List *relids);
extern List *HistoryDependantsOf(HTAB *dependants, Oid relid);
extern int64 HistoryScans(Oid relid);

#endif							/* AQUACIS_HISTORY_H */
