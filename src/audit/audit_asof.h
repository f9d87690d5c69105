/*
 * audit_asof.h
 *	  Rows as they were: what audit_versions, audit_row_at and audit_rows_at share.
 */
#ifndef AQUACIS_AUDIT_ASOF_H
#define AQUACIS_AUDIT_ASOF_H

#include "access/htup.h"
#include "executor/tuptable.h"

#include "audit/audit.h"
#include "common/usercode.h"

/* ---- values of a table's columns (audit_values.c) ----------------------------------- */

typedef struct AuditReader AuditReader;

typedef struct AuditShapeColumn
{
	bool		live;			/* not dropped */
	bool		hidden;			/* excluded, or computed when read: no version has it */
	bool		refused;		/* to read it could run code of a role that is not trusted */
	AuditReader *reader;		/* NULL: dropped or refused */
} AuditShapeColumn;

/* the columns of a table, by their number from 0 */
typedef struct AuditShape
{
	Oid			relid;
	Oid			owner;			/* of the table on which the trigger was made */
	int			natts;
	TupleDesc	desc;
	AuditColumn *columns;		/* to JSON */
	AuditShapeColumn *reads;	/* and back */
	int			nsorted;
	int		   *sorted;			/* the numbers of those not dropped, by name as jsonb sorts */
	int			nkey;			/* 0: the key is not known */
	int		   *key;			/* numbers */
} AuditShape;

typedef struct AuditShapeScope
{
	int			level;
	UserCodeScope code;
} AuditShapeScope;

extern AuditShape *AuditShapeMake(Relation rel, const AuditScope *scope);
extern int	AuditShapeFind(const AuditShape *shape, const char *name, int len);
extern int	AuditShapeSettings(void);
extern void AuditShapeEnter(const AuditShape *shape, AuditShapeScope *scope);
extern void AuditShapeLeave(AuditShapeScope *scope);
extern bool AuditReadValue(AuditShape *shape, int column, const AuditValue *value, Datum *datum, bool *isnull);
extern bool AuditReadValueSafely(AuditShape *shape, int column, const AuditValue *value, Datum *datum,
								 bool *isnull);
extern bool AuditReadTry(SpiWork work, void *arg);
extern void AuditNormalKey(AuditShape *shape, AuditValue *key);

/* ---- entries of the log (audit_entry.c) ---------------------------------------------- */

/* a column in a U */
typedef struct AuditChange
{
	const char *name;
	int			len;
	bool		has_old;
	bool		has_new;
	AuditValue	old;
	AuditValue	new;
} AuditChange;

typedef struct AuditEntry
{
	TimestampTz at;				/* written_at, else changed_at */
	bool		clocked;		/* it is written_at */
	bool		serial;			/* seq is a serial id of the log */
	bool		has_xact;
	char		action;
	TimestampTz changed_at;
	uint64		xact;
	int64		seq;
	Jsonb	   *old;
	Jsonb	   *new;
	Jsonb	   *fields;
	char	   *user_id;		/* NULL: not known */
	AuditValue *key;			/* one for each key column; NULL: another key, or none */
	AuditValue *moved;			/* the key since this U; NULL: the same */
	AuditChange *changes;
	int			nchanges;
} AuditEntry;

extern void AuditEntrySelect(StringInfo q, const AuditScope *scope);
extern const char *AuditEntryTime(const AuditColumns *columns);
extern void AuditEntryAfter(StringInfo q, const AuditColumns *columns, int param);
extern void AuditEntryRead(const AuditScope *scope, const AuditShape *shape, const Datum *values,
						   const bool *nulls, AuditEntry *entry);
extern int	AuditEntryCompare(const AuditEntry *a, const AuditEntry *b);
extern bool AuditEntrySameCommand(const AuditEntry *a, const AuditEntry *b);
extern AuditValue *AuditKeyOfObject(const AuditScope *scope, const AuditShape *shape, Jsonb *object);
extern void AuditKeyText(StringInfo out, const AuditShape *shape, const AuditValue *key);
extern bool AuditSameKey(const AuditShape *shape, const AuditValue *a, const AuditValue *b);
extern List *AuditKeyForms(const AuditScope *scope, const AuditShape *shape, const AuditValue *key);
extern char *AuditKeySearched(const AuditShape *shape, const AuditValue *key);
extern char *AuditKeyJson(const AuditShape *shape, const AuditValue *key);

/* ---- one life of a record (audit_chain.c) --------------------------------------------- */

/* what is known of a column's value */
typedef struct AuditCell
{
	bool		known;
	bool		has_json;
	bool		has_datum;
	bool		unreadable;		/* the JSON is no value of the column's type */
	bool		isnull;
	int			since;			/* the first version, from the newest, that has it */
	Datum		datum;
	AuditValue	json;
} AuditCell;

/* a row from its beginning, or as far back as the log goes, to its end */
typedef struct AuditLife
{
	List	   *entries;		/* of AuditEntry *, in order; the last may be a D */
	HeapTuple	live;			/* the row of today, NULL: it is gone; as shape->desc has it */
	bool		lost;			/* it is gone, and no entry has its last image */
	bool		unexplained;	/* its key was another row's before, and no entry says how it got
								 * it */
	bool		has_end;
	TimestampTz end;
} AuditLife;

typedef struct AuditVersion
{
	const AuditEntry *entry;	/* which made it; NULL: it was there before the log */
	bool		has_to;
	TimestampTz to;
	bool		certain;
	HeapTuple	row;
	List	   *unknown;		/* of int: columns whose value is not known */
} AuditVersion;

extern void AuditCellsOfImage(const AuditShape *shape, Jsonb *image, AuditCell *cells);
extern void AuditCellsOfRow(const AuditShape *shape, HeapTuple row, AuditCell *cells);
extern void AuditSetCell(AuditCell *cell, const AuditValue *value, int since);
extern HeapTuple AuditFormRow(AuditShape *shape, AuditCell *cells, bool safely, List **unknown);
extern List *AuditVersionsOfLife(AuditShape *shape, const AuditLife *life, bool safely);

/* ---- a table and its log, open for reading (audit_past.c) ------------------------------- */

typedef struct AuditPast
{
	AuditScope	scope;
	AuditShape *shape;			/* of the table as named */
	Relation	rel;
	Relation	log;
	Oid			rootid;			/* where its rows are looked for: the whole of a partitioned table */
	List	   *fetched;		/* of FetchedKey, by AuditPastEntries */
} AuditPast;

extern void AuditPastOpen(FunctionCallInfo fcinfo, AuditPast *past);
extern void AuditPastClose(AuditPast *past);
extern void AuditPastWarn(AuditPast *past);
extern TimestampTz AuditPastMoment(FunctionCallInfo fcinfo, int n, AuditPast *past);
extern void AuditPastTellUnknown(const AuditPast *past, List *unknown);
extern void AuditAppendRows(StringInfo q, const AuditPast *past, const char *more);
extern List *AuditPastEntries(AuditPast *past, const AuditValue *key);
extern AuditEntry *AuditPastArrival(AuditPast *past, const AuditValue *key, const AuditEntry *from,
									TimestampTz after, const AuditEntry *to);
extern AuditEntry *AuditPastTruncate(AuditPast *past, TimestampTz from, TimestampTz to);
extern HeapTuple AuditPastLive(AuditPast *past, const AuditValue *key);
extern AuditValue *AuditPastKey(AuditPast *past, const char *text);

/* ---- what changed since a moment, by row (audit_touched.c) ------------------------------- */

/* a column of a row, as it was */
typedef struct AuditFormer
{
	int			column;
	AuditValue	value;
} AuditFormer;

/* a row that was changed since */
typedef struct AuditTouched
{
	struct AuditTouched *next;	/* in the queue of its key, or of those that are gone */
	bool		absent;			/* it was not there then */
	bool		clocked;		/* the command that changed it last */
	TimestampTz at;
	uint64		xact;
	Jsonb	   *image;			/* of a row that is gone */
	AuditFormer *formers;		/* what it had then, where that was changed */
	int			nformers;
	int			capacity;
} AuditTouched;

/* what the filter looks at */
typedef enum AuditFilterBy
{
	AUDIT_FILTER_TEXT,			/* the bytes of the key */
	AUDIT_FILTER_INTEGER,		/* the key is one integer */
	AUDIT_FILTER_NUMERIC		/* the key is one numeric */
} AuditFilterBy;

typedef struct AuditTouchedKeys
{
	MemoryContext context;
	const AuditShape *shape;
	struct touched_hash *keys;
	AuditFilterBy filter_by;
	bool		unfiltered;		/* a key whose hash is not known */
	uint64	   *filter;			/* a bit for the hash of each key; NULL: not made */
	uint32		filter_mask;
	AuditTouched *gone;			/* rows that were there then and are deleted */
	uint64		lost;			/* rows that were there then, and are not known whole */
	uint64		other_keys;		/* entries under a key that is not the table's */
	bool		truncated;		/* without images, perhaps */
	bool		after_delete;	/* the entry before is a D */
	uint64		delete_xact;
} AuditTouchedKeys;

extern AuditTouchedKeys *AuditTouchedBegin(const AuditShape *shape);
extern void AuditTouchedEntry(AuditTouchedKeys *keys, const AuditEntry *entry, bool images);
extern void AuditTouchedFilter(AuditTouchedKeys *keys);
extern bool AuditTouchedNot(const AuditTouchedKeys *keys, Datum key);
extern AuditTouched *AuditTouchedTake(AuditTouchedKeys *keys, const char *text, int len);
extern uint64 AuditTouchedLeft(AuditTouchedKeys *keys);
extern void AuditTouchedCells(const AuditTouched *row, AuditCell *cells);

#endif							/* AQUACIS_AUDIT_ASOF_H */
