/*
 * audit_undo.h
 *	  What the files of audit_undo share.
 *
 * An undo takes the entries that were asked for (UndoStep) in the order in which the changes
 * happened, and sorts them by record (UndoRow) and table (UndoTable).  What a record
 * was before the first of them, and what it should be now, after the last, is its net
 * (UndoNet), which is worked out again whenever it is needed.
 *
 * Everything lives in one memory context, Undo.cxt, until the function returns.
 */
#ifndef AQUACIS_AUDIT_UNDO_H
#define AQUACIS_AUDIT_UNDO_H

#include "nodes/bitmapset.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/tuplestore.h"

#include "audit/audit.h"
#include "common/rows.h"

/* a column of a table, or one that entries name and the table has no more */
typedef struct UndoColumn
{
	char	   *name;
	int			namelen;
	AttrNumber	attnum;			/* 0: gone */
	bool		generated;
	bool		redacted;
	bool		excluded;
	bool		needed;			/* some entry speaks of it */
	Oid			typid;
	int32		typmod;
	Oid			collation;
	AuditColumn convert;		/* to JSON, as the trigger does it */
	bool		can_read;		/* the three below are set */
	FmgrInfo	input;			/* of the base type */
	Oid			ioparam;
	int32		basetypmod;
	TupleDesc	record;			/* of this column alone, for arrays and composite types; NULL: not
								 * yet */
	FmgrInfo	to_record;
} UndoColumn;

typedef struct UndoTable
{
	int32		id;				/* as the entries have it; 0: none */
	char	   *schema;
	char	   *name;
	const char *missing;		/* why nothing of it can be undone, else NULL */
	Oid			relid;
	Relation	rel;			/* open until the end; NULL: gone */
	Oid			owner;
	AuditArgs	args;
	AuditScope	scope;			/* to look for conflicting entries */
	int			ncols;
	int			maxcols;
	int			nsorted;		/* the first ones, of the table, in the order of jsonb keys */
	UndoColumn *cols;
	int			nkeys;
	int		   *keys;			/* into cols */
	List	   *keylist;		/* the same */
	char	  **equal;			/* operators, qualified */
	bool		ordered;		/* the keys' types can be sorted */
	bool		cascades_known;
	List	   *cascades;		/* queries that find rows which a DELETE would take along */
} UndoTable;

/* a table as entries name it */
typedef struct UndoTableName
{
	int32		id;
	char	   *schema;			/* NULL: the log has none */
	char	   *name;
	UndoTable  *table;
} UndoTableName;

typedef struct UndoStep
{
	struct UndoRow *row;
	struct UndoStep *next;		/* of the same row */
	Jsonb	   *data;			/* old_data, new_data or changed_fields; NULL: unreadable */
	int64		number;			/* among all steps */
	int64		command;		/* equal for the entries of one command */
	TimestampTz at;
	uint64		xact;
	int64		seq;
	char		action;
} UndoStep;

/* who made a change that stands in the way; xact 0: nobody is known */
typedef struct UndoWho
{
	bool		known;
	TimestampTz at;
	char	   *user;
	uint64		xact;
} UndoWho;

/* what is to be said of a column of a row that is not as it was expected */
typedef struct UndoNote
{
	struct UndoNote *next;
	int			column;
	bool		already;		/* has the old value: nothing to do */
	const char *conflict;		/* NULL: none */
	Jsonb	   *now;			/* NULL: SQL's null */
	UndoStep   *after;			/* the change that stands in the way is behind this one */
	UndoStep   *before;			/* and before this one, if given */
	UndoWho		who;
} UndoNote;

typedef enum UndoKind
{
	UNDO_NONE, UNDO_INSERT, UNDO_UPDATE, UNDO_DELETE
} UndoKind;

typedef enum UndoState
{
	UNDO_OPEN,					/* can be undone */
	UNDO_ALREADY,				/* is as it was */
	UNDO_CONFLICT,
	UNDO_DONE
} UndoState;

/* a record that selected entries speak of */
typedef struct UndoRow
{
	UndoTable  *table;
	Jsonb	   *key;			/* now: behind the last step */
	Jsonb	   *key_then;		/* before the first */
	bool		plain;			/* the log has the key's one value alone, no object */
	struct UndoRow *same;		/* the next with this key in the hash table */
	int64		moved;			/* command that gave it its key, -1: none */
	UndoStep   *first;
	UndoStep   *last;
	bool		existed;		/* before the first step */
	bool		exists;			/* behind the last step */
	UndoKind	kind;
	UndoState	state;
	Jsonb	   *key_now;		/* for undoing change by change; NULL: not begun */
	bool		waits;			/* some of its changes could not be undone yet */
	int			found;			/* rows with this key now */
	bool		occupied;		/* another row has key_then now */
	bool		returned;		/* the row itself has it again, as it was */
	UndoNote   *notes;			/* of columns */
	UndoNote	note;			/* of the row as a whole, if conflict is set */
} UndoRow;

/* net effect on a column */
typedef struct UndoNetColumn
{
	int			column;
	bool		has_then;		/* false: the row did not exist */
	bool		has_now;
	AuditValue	then;
	AuditValue	now;
	bool		redacted;
	UndoStep   *after;			/* somebody else changed it between these two steps */
	UndoStep   *before;
} UndoNetColumn;

typedef struct UndoNet
{
	int			n;
	int			max;
	int			last;			/* found or added last */
	UndoNetColumn *cols;
	UndoStep   *broken;			/* the first step that does not follow the one before */
	UndoStep   *broken_after;
} UndoNet;

/* the arguments of both functions */
typedef struct UndoFilter
{
	bool		has_xact;
	uint64		xact;
	char	   *user;			/* NULL: any */
	bool		has_since;
	TimestampTz since;
	bool		has_until;
	TimestampTz until;
	Oid			relid;			/* InvalidOid: any */
	Oid			log;			/* InvalidOid: the default, or the table's */
} UndoFilter;

typedef struct Undo
{
	MemoryContext cxt;
	Oid			fnoid;
	bool		apply;			/* false: a plan */
	bool		skip;			/* leave conflicts alone */
	UndoFilter	filter;
	Relation	log;
	AuditColumns columns;		/* of the log */
	List	   *tables;			/* of UndoTable * */
	List	   *names;			/* of UndoTableName * */
	HTAB	   *keys;
	UndoRow   **rows;			/* in the order of their first entries */
	int64		nrows;
	int64		maxrows;
	UndoStep  **steps;			/* in true order */
	int64		nsteps;
	int64		maxsteps;
} Undo;

/* in audit_undo_value.c */
extern Datum AuditUndoToDatum(UndoTable *table, UndoColumn *col, const AuditValue *value, bool *isnull);
extern char *AuditUndoKeyText(const UndoRow *row);

/* in audit_undo_table.c */
extern UndoTable *AuditUndoTableOf(Undo *undo, int32 id, const char *schema, const char *name);
extern int	AuditUndoColumnOf(Undo *undo, UndoTable *table, const char *name, int len);

/* in audit_undo_net.c */
extern void AuditUndoNetOf(Undo *undo, UndoRow *row, UndoNet *net);
extern bool AuditUndoIsChange(const UndoNetColumn *col);

/* in audit_undo_read.c */
extern void AuditUndoRead(Undo *undo);
extern UndoRow *AuditUndoRowAt(Undo *undo, UndoTable *table, Jsonb *key);
extern UndoRow *AuditUndoNextRow(UndoRow *row);
extern Jsonb *AuditUndoKeyBefore(Jsonb *key, Jsonb *changed);
extern const char *AuditUndoMoment(const AuditColumns *columns);
extern const char *AuditUndoNumber(const AuditColumns *columns);

/* in audit_undo_compare.c */
extern void AuditUndoCompare(Undo *undo);
extern char *AuditUndoTarget(const UndoTable *table);
extern char *AuditUndoMatch(const UndoTable *table);

/* in audit_undo_who.c */
extern void AuditUndoFindWho(Undo *undo, UndoRow *row);

/* in audit_undo_cascade.c */
extern void AuditUndoRefuseCascade(UndoTable *table, Rows *rows);

/* most rows of one statement */
#define UNDO_MAX_BATCH	50000

/* rows of one table that need the same kind of change, for one statement */
typedef struct UndoBatch
{
	Undo	   *undo;
	UndoTable  *table;
	UndoKind	kind;
	UndoRow   **rows;
	int			n;
	Bitmapset  *columns;		/* that are set, by index */
	Bitmapset  *partly;			/* those not set in each row */
	Rows	   *store;
	ErrorData  *error;			/* of the last attempt */
} UndoBatch;

/* in audit_undo_batch.c */
extern UndoBatch *AuditUndoBatch(Undo *undo, UndoRow **rows, int n);
extern bool AuditUndoTry(UndoBatch *batch);
extern bool AuditUndoEndsAll(const ErrorData *error);
extern Bitmapset *AuditUndoColumns(Undo *undo, UndoRow *row);

/* in audit_undo_stepwise.c */
extern void AuditUndoStepwise(Undo *undo);

/* in audit_undo_apply.c */
extern void AuditUndoApply(Undo *undo);

#endif							/* AQUACIS_AUDIT_UNDO_H */
