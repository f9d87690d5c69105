/*
 * audit.h
 *	  What the files of the audit part share.
 *
 * Floors: a file calls only files of lower floors.  The part has no circle.
 *
 *	  7	audit_by_value.c	audit_history, audit_versions, audit_row_at with a key of any type
 *
 *	  6	audit_rows_at.c		audit_rows_at, audit_row_at
 *		audit_versions.c	audit_versions
 *
 *	  5	audit_init.c		start-up; what reaches the caches from outside
 *		audit_changes.c		audit_changes, audit_position
 *		audit_history.c		audit_history
 *		audit_past.c		a table and its log, open for reading back
 *		audit_touched.c		the rows that changed since a moment
 *		audit_trigger.c		fn_audit_trigger: what is logged
 *		audit_undo*.c		audit_undo_plan, audit_undo; audit_undo.h has their own floors
 *
 *	  4	audit_adopt.c		audit_adopt
 *		audit_baseline.c	audit_baseline
 *		audit_chain.c		the versions of a row
 *		audit_detached.c	months that audit_maintain took off
 *		audit_enable.c		audit_enable, audit_disable, audit_continue
 *		audit_images.c		rows that TRUNCATE removes
 *		audit_read_entry.c	entries of the log as they are read back
 *		audit_install.c		audit_install
 *		audit_interval.c	what lies between two positions in the feed
 *		audit_key.c			a record's key, given as text, as a condition
 *		audit_maintain.c	audit_maintain
 *		audit_status.c		audit_status
 *		audit_split*.c		audit_split; audit_split.h has their own floors
 *		audit_entry.c		an entry of the log: a row and its key
 *		audit_log.c			a log and how it is written to (AuditLog)
 *		audit_table.c		what is known of an audited table (AuditTable)
 *		audit_unaudited.c	audit_unaudited
 *
 *	  3	audit_check.c		can this table be the log of that one?
 *		audit_events.c		which changes of a table are really seen
 *		audit_insert.c		a row straight into its partition
 *		audit_limits.c		what audit_enable refuses of columns, and tells of limits
 *		audit_months.c		monthly partitions
 *		audit_settings.c	how a table is audited: what is told, what was, what changes
 *		audit_step.c		small transactions that wait for locks for a short time
 *		audit_read.c		which entries of which log are those of a table
 *		audit_values.c		JSON of the log back into values of columns
 *
 *	  2	audit_catalog.c		trigger, key and log of a table, as the catalogs have them
 *		audit_carry.c		what a plain log has, for the one that takes its place
 *		audit_convert.c		values to JSON, whatever the session's settings
 *		audit_insert_spi.c	a row through the executor, for other logs
 *		audit_position.c	a position in the feed of a log
 *		audit_registry.c	the ids of audited tables
 *		audit_route.c		which partition of the log takes a row
 *		audit_session.c		user, session and context of a change
 *
 *	  1	audit.c				what the caches share
 *		audit_args.c		the trigger's arguments
 *		audit_clock.c		when a change was written
 *		audit_columns.c		which column of a log takes what
 *		audit_compare.c		which columns have other bytes than before
 *		audit_generated.c	generated columns and what they are computed from
 *		audit_jsonb.c		JSONB objects with prepared keys
 *		audit_params.c		values in a query
 *		audit_sequence.c	values of a log's sequence, unseen by lastval()
 */
#ifndef AQUACIS_AUDIT_H
#define AQUACIS_AUDIT_H

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "commands/trigger.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "nodes/params.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/relcache.h"

#include "common/jsonbwriter.h"
#include "common/spi.h"

/* ---- the trigger's arguments (audit_args.c) ------------------------------ */

typedef struct AuditArgs
{
	List	   *key;			/* of char *, NIL: primary key */
	List	   *exclude;
	List	   *redact;
	char	   *log_schema;		/* NULL: the trigger function's schema */
	char	   *log_name;		/* never NULL */
	int32		id;				/* of the table (audit_registry.c); 0: none */
	bool		images;			/* TRUNCATE logs each row */
	Oid			tgoid;			/* the trigger, none of its clones; InvalidOid: there is none */
	Oid			bound_log;		/* what audit_enable() was given; InvalidOid: not known */
} AuditArgs;

extern void AuditParseArgs(int nargs, char **args, AuditArgs *out);
extern bool AuditReadArgs(HeapTuple tuple, TupleDesc desc, AuditArgs *out);
extern char *AuditColumnList(List *names);
extern List *AuditParseColumnList(const char *list);
extern bool AuditIsListed(List *names, const char *name);
extern bool AuditParseInteger(const char *text, int64 *value);

/* ---- what the catalogs say of an audited table (audit_catalog.c) ------------ */

extern Oid	AuditTriggerFunction(Oid fnoid);
extern bool AuditFindTrigger(Oid relid, Oid fnoid, AuditArgs *args, Oid *root);
extern Oid	AuditTriggerRoot(Oid tgoid, Oid relid);
extern void AuditBindLog(Oid tgoid, Oid logid);
extern void AuditReadBinding(Oid tgoid, AuditArgs *args);
extern List *AuditIndexKey(Relation rel);
extern List *AuditKeyNames(Relation rel, List *given);
extern bool AuditIsInteger(Form_pg_attribute att, int *precision);
extern bool AuditIntegerKey(Relation rel, const char *column);
extern bool AuditTrustsLog(Oid logid, Oid relid, Oid fnoid);
extern void AuditRequireOwner(Oid logid);
extern void AuditRefuseStranger(List *tables);
extern void AuditRefuseForeignTypes(Relation log);
extern void AuditRefuseTriggers(Oid logid, List *tables);
extern void AuditRefuseLog(Oid logid, bool can_be_named);
extern Oid	AuditResolveLog(const AuditArgs *args, Oid fnoid, Oid relid, bool missing_ok);
extern bool AuditHasName(Oid logid, const AuditArgs *args, Oid fnoid);
extern void AuditRefuseOwnLog(Relation rel, Oid logid);

/* ---- what a table's triggers see (audit_events.c) ----------------------------- */

/* bits for sets of events */
#define AUDIT_SEES(tg_event) (1 << ((tg_event) & TRIGGER_EVENT_OPMASK))
#define AUDIT_SEES_INSERT AUDIT_SEES(TRIGGER_EVENT_INSERT)
#define AUDIT_SEES_UPDATE AUDIT_SEES(TRIGGER_EVENT_UPDATE)
#define AUDIT_SEES_DELETE AUDIT_SEES(TRIGGER_EVENT_DELETE)
#define AUDIT_SEES_TRUNCATE AUDIT_SEES(TRIGGER_EVENT_TRUNCATE)
#define AUDIT_SEES_ROWS (AUDIT_SEES_INSERT | AUDIT_SEES_UPDATE | AUDIT_SEES_DELETE)

/* one trigger of ours, as the catalogs have it */
typedef struct AuditTrigger
{
	Oid			oid;
	Oid			relid;
	Oid			rootid;			/* made there; other than relid: this is a clone */
	Oid			fnoid;
	char		name[NAMEDATALEN];
	char		enabled;		/* TRIGGER_FIRES_..., TRIGGER_DISABLED */
	bool		for_rows;
	bool		conditional;	/* WHEN */
	int			sees;			/* AUDIT_SEES_ */
	List	   *columns;		/* int: attribute numbers of UPDATE OF; NIL: all */
	bool		readable;		/* args are those of the trigger */
	AuditArgs	args;			/* bound_log and tgoid after AuditTriggerLog() only */
	bool		resolved;		/* logid is known */
	Oid			logid;
} AuditTrigger;

extern List *AuditTriggersOf(Oid relid, Oid fnoid);
extern Oid	AuditTriggerLog(AuditTrigger *trigger);
extern int	AuditSilentEvents(List *triggers, Oid tgoid, bool replica);
extern int	AuditEventsSeen(List *triggers, int *some);
extern char *AuditEventsText(List *triggers, Oid relid);

/* ---- generated columns (audit_generated.c) ----------------------------------- */

extern bool AuditIsVirtual(Form_pg_attribute att);
extern List *AuditGeneratedFrom(Relation rel, List *names);

/* ---- values and objects (audit_convert.c, audit_jsonb.c) -------------------- */

/* how a column's datum becomes JSON */
typedef enum AuditConvert
{
	AUDIT_AS_TEXT,				/* text, varchar, char(n): the bytes are the string */
	AUDIT_AS_BOOL,
	AUDIT_AS_INT2,
	AUDIT_AS_INT4,
	AUDIT_AS_INT8,
	AUDIT_AS_NUMERIC,
	AUDIT_AS_FLOAT4,
	AUDIT_AS_FLOAT8,
	AUDIT_AS_DATETIME,
	AUDIT_AS_JSON,
	AUDIT_AS_JSONB,
	AUDIT_AS_OUTPUT,			/* string of the output function's text */
	AUDIT_AS_TO_JSONB			/* whatever to_jsonb makes of it */
} AuditConvert;

/* the settings that a conversion follows, and is kept from */
typedef enum AuditPins
{
	AUDIT_PIN_VARIABLES = 1,	/* those with a variable behind them */
	AUDIT_PIN_SETTINGS = 2,		/* the same, as SET does it */
	AUDIT_PIN_MONETARY = 4,		/* lc_monetary */
	AUDIT_PIN_PATH = 8			/* search_path */
} AuditPins;

typedef struct AuditColumn
{
	AttrNumber	attnum;
	int16		typlen;
	bool		typbyval;
	bool		redact;
	bool		in_key;
	AuditConvert convert;
	int			pins;			/* AuditPins, of AS_OUTPUT and AS_TO_JSONB */
	Oid			typid;			/* declared type */
	Oid			basetypid;		/* domains resolved */
	FmgrInfo	func;			/* output function or to_jsonb */
	char	   *name;
	int			namelen;
} AuditColumn;

/* a JSON value that does not own what it points to */
typedef struct AuditValue
{
	enum
	{
		AUDIT_NULL, AUDIT_FALSE, AUDIT_TRUE, AUDIT_STRING, AUDIT_NUMERIC, AUDIT_CONTAINER
	}			kind;
	int			len;			/* of string, numeric or container */
	const char *data;			/* of a numeric, what follows its varlena header */
} AuditValue;

/* in audit_jsonb.c */
extern int	AuditCompareColumns(const void *a, const void *b);
extern bool AuditParseJson(const char *text, Datum *value);
extern Datum AuditJsonString(const char *text);
extern const AuditValue AuditRedacted;
extern bool AuditIsRedacted(const AuditValue *value);
extern void AuditValueOfJson(const JsonbValue *json, AuditValue *out);
extern void AuditValueToJson(const AuditValue *value, JsonbValue *json);
extern Jsonb *AuditJsonbOfValue(const AuditValue *value);
extern void AuditBeginValue(JsonbWriter *w, int size);
extern void AuditPrepareKeys(JsonbWriterKeys *keys, const AuditColumn *cols, int n);
extern void AuditWriteValue(JsonbWriter *w, const AuditValue *value);
extern void AuditPreparePair(JsonbWriterKeys *pair);
extern Datum AuditBuildDiff(const JsonbWriterKeys *pair, AuditColumn **cols, const AuditValue *olds,
							const AuditValue *news, int n);

/* in audit_convert.c */
extern void AuditInitColumn(AuditColumn *col, Form_pg_attribute att, Oid owner,
							MemoryContext cxt);
extern void AuditToValue(AuditColumn *col, Datum datum, bool isnull, AuditValue *out);
extern bool AuditSameValue(const AuditValue *a, const AuditValue *b);
extern Datum AuditValueToText(const AuditValue *value);

/* ---- shared by the caches (audit.c) -------------------------------------------- */

/* the types that a cache entry knows: what a change of one of them sends */
typedef struct AuditTypes
{
	int			n;
	uint32	   *hashes;			/* in the syscache; in the entry's context */
	List	   *rows;			/* OIDs of the relations of composite types */
} AuditTypes;

extern uint64 audit_lock_epoch;
extern bool audit_inserting;	/* a row is on its way; true after an error in it */

extern int32 AuditNextXactSeq(void);
extern void AuditEndXact(void);
extern void AuditNoteType(AuditTypes *types, Oid typid);
extern bool AuditKnowsType(const AuditTypes *types, uint32 hash);

/* ---- an audited table, seen through one trigger (audit_table.c) ------------ */

/* what is needed to step over an attribute of a tuple */
typedef struct AuditAttr
{
	int16		len;
	uint8		pad;			/* alignment less one */
	bool		byval;
	int			column;			/* index into AuditTable.cols, -1: not logged */
} AuditAttr;

/* a column whose bytes changed */
typedef struct AuditCandidate
{
	int			column;
	bool		oldnull;
	bool		newnull;
	Datum		oldval;
	Datum		newval;
} AuditCandidate;

typedef struct AuditTable
{
	Oid			tgoid;			/* hash key */
	bool		valid;			/* cleared by invalidation, set last when built */
	bool		stale;			/* invalidated while being built */
	int			in_use;			/* calls on the stack that hold it */
	MemoryContext cxt;			/* everything below; replaced as a whole */

	/* what invalidates it: these relations, its types, any cast or schema change */
	AuditTypes	types;
	Oid			relid;			/* fires the trigger */
	Oid			rootid;			/* is logged: the partitioned table, the hypertable, or relid */
	Oid			logid;
	bool		unnamed;		/* the log goes by another name now: any change may matter */

	Datum		schema_name;	/* text */
	Datum		table_name;		/* text */
	int32		id;				/* table_id of the entries; 0: none */
	int			natts;
	int			ncols;			/* columns that are logged */
	AuditColumn *cols;			/* in the order of a jsonb object's keys */
	AuditAttr  *atts;			/* of all natts attributes */
	JsonbWriterKeys keys;
	AttrNumber	last_key;		/* highest attribute number of the key */
	int			nkeycols;
	AuditColumn *keycols;		/* in jsonb key order, excluded ones too */
	JsonbWriterKeys keykeys;
	JsonbWriterKeys pair;		/* {"new": ..., "old": ...} */
	bool		integer_key;	/* one column of integers, numeric(n,0) included */
	bool		numeric_wide;	/* a numeric that may not fit a bigint */
	int			silent[2];		/* AUDIT_SEES_: a trigger of a table above logs these; [1]: in a
								 * session that applies replicated changes */
	int			row_size;		/* of the last full row, to size the next buffer */
} AuditTable;

/* in audit_compare.c */
extern void AuditPrepareCompare(AuditTable *table, TupleDesc desc);
extern int	AuditCompareTuples(const AuditTable *table, HeapTuple oldtup, HeapTuple newtup,
							   AuditCandidate *out);
extern bool AuditSameDatum(const AuditColumn *col, Datum a, Datum b);

/* in audit_table.c */
extern void AuditTableInit(void);
extern AuditTable *AuditTableGet(TriggerData *trigdata, Oid fnoid);
extern void AuditTableInvalidate(Oid relid);
extern void AuditTableInvalidateType(uint32 hash);
extern void AuditTableEndXact(void);

/* ---- a row of the log ------------------------------------------------------- */

typedef enum AuditField
{
	AUDIT_CHANGED_AT, AUDIT_XACT_ID, AUDIT_XACT_SEQ, AUDIT_TABLE_SCHEMA, AUDIT_TABLE_NAME,
	AUDIT_RECORD_ID, AUDIT_RECORD_KEY, AUDIT_KEY_TEXT, AUDIT_ACTION, AUDIT_OLD_DATA, AUDIT_NEW_DATA,
	AUDIT_CHANGED_FIELDS, AUDIT_USER_ID, AUDIT_DB_USER, AUDIT_SESSION_USER, AUDIT_SESSION_ID,
	AUDIT_APP_CONTEXT, AUDIT_WRITTEN_AT, AUDIT_TABLE_ID, AUDIT_NEW_KEY,
	AUDIT_NFIELDS
} AuditField;

/* which column of a log takes what */
typedef struct AuditColumns
{
	Oid			relid;			/* the log, or one of its partitions */
	AttrNumber	attnum[AUDIT_NFIELDS];	/* 0: there is no such column */
} AuditColumns;

typedef struct AuditRow
{
	Datum		values[AUDIT_NFIELDS];
	bool		nulls[AUDIT_NFIELDS];
} AuditRow;

/* ---- the log (audit_log.c, audit_insert.c, audit_route.c) ------------------- */

struct AuditLeaf;
struct AuditPlan;

typedef struct AuditLog
{
	Oid			relid;			/* hash key */
	bool		valid;			/* as in AuditTable */
	bool		stale;
	uint64		locked;			/* equals audit_lock_epoch: locks are held */
	MemoryContext cxt;
	char	   *name;			/* for messages */
	AuditColumns columns;
	bool		direct;			/* rows may go straight into a partition */
	struct AuditLeaf *leaf;		/* where they go now */
	struct AuditPlan *plan;		/* else: the way through SPI */
	int			in_use;			/* such plans being executed */
	Oid			owner;
	List	   *deps;			/* OIDs whose invalidation makes all this stale */
	AuditTypes	types;			/* the same for types */
} AuditLog;

/* a leaf that takes rows directly, for changed_at in [from, to) */
typedef struct AuditLeaf
{
	Oid			relid;
	TimestampTz from;
	TimestampTz to;
	EState	   *estate;
	ResultRelInfo *rri;
	TupleTableSlot *slot;
	int			natts;
	int			nindexes;
	Oid		   *indexes;
	uint64	   *locked;			/* of each index: equals audit_lock_epoch */
	struct AuditSlot *map;		/* one per attribute */
	bool		has_generated;
	bool		has_constraints;	/* that our own values might violate */
	ExprState **predicates;		/* of partial indexes, else NULL */
	List	   *ancestors;		/* partitioned tables between log and leaf */
} AuditLeaf;

/* in audit_columns.c */
extern const Oid AuditFieldTypes[AUDIT_NFIELDS];

extern AuditField AuditFieldOf(Form_pg_attribute att);
extern void AuditMapColumns(Relation rel, AuditColumns *columns);

/* in audit_sequence.c */
extern Oid	AuditSequenceOf(Node *node);
extern void AuditCheckSequence(Relation log, AttrNumber attnum, Oid seqid);
extern Oid	AuditColumnSequence(Relation rel, AttrNumber attnum);
extern int64 AuditNextval(Oid seqid);

/* in audit_route.c */
extern AttrNumber AuditPartitionColumn(Relation rel);
extern bool AuditRoute(Relation log, TimestampTz at, AuditLeaf *leaf);

/* in audit_insert.c */
extern bool AuditLeafOpen(AuditLog *log, TimestampTz at);
extern void AuditLeafLock(AuditLog *log);
extern bool AuditLeafInsert(AuditLog *log, AuditRow *row);

/* in audit_insert_spi.c */
extern void AuditSpiInsert(AuditLog *log, AuditRow *row);
extern void AuditSpiFree(struct AuditPlan *plan);

/* in audit_log.c */
extern void AuditLogInit(void);
extern AuditLog *AuditLogGet(Oid relid);
extern void AuditLogInvalidate(Oid relid);
extern void AuditLogInvalidateType(uint32 hash);
extern void AuditLogEndXact(void);
extern void AuditLogInsert(AuditLog *log, AuditRow *row);

/* in audit_limits.c */
extern void AuditRefuseKey(Relation rel, List *key, List *redact);
extern void AuditTellLimits(Relation rel, const AuditArgs *args);

/* in audit_check.c */
extern bool AuditCanLogTruncate(Oid relid, Oid logid);
extern void AuditCheckLog(Relation rel, List *key, Oid logid);
extern void AuditCheckHypertableOwner(Relation rel, Oid trgoid);

/* ---- user, session and context of a change (audit_session.c) --------------------- */

extern void AuditSessionInit(void);
extern void AuditFillSession(AuditRow *row, const AuditColumns *columns);

/* ---- when a change was written (audit_clock.c) ---------------------------------- */

extern TimestampTz AuditWrittenAt(const TriggerData *trigdata);
extern TimestampTz AuditWrittenNow(void);
extern void AuditClockEndXact(void);

/* ---- an entry of the log (audit_entry.c, audit_images.c) ------------------------------ */

/*
 * One firing of the trigger: the entry of its table, and the column whose value is
 * being converted, for the context of errors.  The entry is a copy: a conversion may
 * run code of users (a cast to json) that makes the entry be built again.
 */
typedef struct AuditFiring
{
	AuditTable	table;
	const AuditColumn *column;	/* NULL: none */
	bool		key_changed;	/* by this UPDATE */
	ErrorContextCallback context;
} AuditFiring;

/* Is this entry, of which the key and the table's id are there, to be written? */
typedef bool (*AuditWanted) (const AuditTable *table, const AuditLog *log, const AuditRow *row, void *arg);

static inline void
AuditConvertColumn(AuditFiring *firing, AuditColumn *col, Datum datum, bool isnull, AuditValue *value)
{
	firing->column = col;
	AuditToValue(col, datum, isnull, value);
	firing->column = NULL;
}

extern Datum AuditFullRow(AuditFiring *firing, TupleTableSlot *slot);
extern Datum AuditKeyObject(AuditFiring *firing, TupleTableSlot *slot);
extern void AuditFillKey(AuditFiring *firing, const AuditLog *log, TupleTableSlot *slot, AuditRow *row);
extern void AuditFillRest(AuditTable *table, const AuditLog *log, char action, TimestampTz written_at,
						  AuditRow *row);
extern void AuditOpenTable(TriggerData *trigdata, Oid fnoid, AuditTable **table, AuditLog **log);
extern void AuditBeginFiring(AuditFiring *firing, AuditTable *table);
extern void AuditEndFiring(AuditFiring *firing, AuditTable *table);
extern bool AuditWriteRow(TriggerData *trigdata, Oid fnoid, TupleTableSlot *slot, char action,
						  TimestampTz written_at, AuditWanted wanted, void *arg);
extern void AuditLogImages(TriggerData *trigdata, Oid fnoid);

/* ---- which table is which (audit_registry.c) --------------------------------------- */

/* a row of audit_table */
typedef struct AuditRegistered
{
	int32		id;
	Oid			relid;			/* InvalidOid: not known; may be gone */
	char	   *schema;			/* names when the table got its id */
	char	   *name;
	TimestampTz enabled_at;
	bool		disabled;
	TimestampTz disabled_at;	/* if it is */
	bool		names_before;	/* entries without an id under that name are its own */
	Oid			log;			/* that it was last audited into; InvalidOid: not known */
	int32		continues;		/* id of the table whose history it carries on; 0: none */
	List	   *keys;			/* lists of the columns that were its key, the latest last */
} AuditRegistered;

extern bool AuditRegistryById(Oid fnoid, int32 id, AuditRegistered *out);
extern List *AuditRegistryAll(Oid fnoid);
extern List *AuditRegistryByTable(Oid fnoid, Oid relid);
extern List *AuditRegistryByName(Oid fnoid, const char *schema, const char *name);
extern int32 AuditRegistryHeir(Oid fnoid, int32 id);
extern int32 AuditRegister(Oid fnoid, Oid relid, Oid logid, List *key, const AuditArgs *before);
extern void AuditUnregister(Oid fnoid, Oid relid);
extern uint64 AuditRegistryRun(Oid fnoid, const char *command, int nargs, const SpiArg *args);

/* ---- reading (audit_read.c, audit_key.c) ------------------------------------------- */

/* which entries of which log are those of a table */
typedef struct AuditScope
{
	Oid			fnoid;			/* a function of ours: where audit_table is */
	Oid			relid;			/* the table as named; InvalidOid: there is none of that name */
	Oid			rootid;			/* where the trigger was made; relid if it has none */
	char	   *schema;			/* of rootid; NULL: any (a table that is gone, named without) */
	char	   *name;
	AuditArgs	args;			/* of the trigger */
	bool		audited;		/* it has one */
	List	   *ids;			/* of int: the table's, and those that it continues */
	List	   *registered;		/* of AuditRegistered *, in the order of ids */
	bool		by_name;		/* entries without an id under schema.name are its own */
	bool		any_id;			/* all entries under that name are: nothing else is known */
	Oid			logid;
	AuditColumns columns;		/* of the log */
} AuditScope;

/* values of a query (audit_params.c) */
typedef struct AuditParams
{
	List	   *list;
} AuditParams;

extern const char *AuditParam(AuditParams *params, Oid type, const char *text);
extern const char *AuditParamTime(AuditParams *params, TimestampTz at);
extern ParamListInfo AuditParamList(const AuditParams *params);

extern void AuditScopeOfTable(Oid relid, Oid fnoid, AuditScope *scope);
extern void AuditScopeOfName(text *name, Oid fnoid, AuditScope *scope);
extern Relation AuditOpenLog(AuditScope *scope);
extern Relation AuditOpenLogById(Oid logid, AuditColumns *columns);
extern void AuditAppendScope(StringInfo q, const AuditScope *scope);
extern void AuditAppendKey(StringInfo q, const AuditScope *scope, const char *key, AuditParams *params);
extern bool AuditAppendNewKey(StringInfo q, const AuditScope *scope, const char *key);
extern const char *AuditKeyFolds(const AuditScope *scope);
extern const char *AuditReadColumn(const AuditColumns *columns, AuditField field);
extern const char *AuditReadColumnAs(const AuditColumns *columns, AuditField field, Oid typid);
extern const char *AuditReadOrder(const AuditColumns *columns, bool descending);

/* ---- how a table is audited (audit_settings.c) ------------------------------------ */

/* All that audit_enable can be told. */
typedef struct AuditSettings
{
	AuditArgs	args;
	Oid			logid;			/* InvalidOid: there is none */
	bool		replica;		/* ENABLE ALWAYS */
} AuditSettings;

extern bool AuditReadSettings(Oid relid, Oid fnoid, AuditSettings *settings);
extern List *AuditSettingsArguments(FunctionCallInfo fcinfo, Relation rel, const AuditSettings *before,
									AuditSettings *now);
extern void AuditTellChanges(Relation rel, const AuditSettings *before, const AuditSettings *now);
extern void AuditTellForgotten(Oid relid, const AuditSettings *settings);

/* ---- start-up (audit_init.c) ------------------------------------------------------ */

extern void AuditInit(void);

#endif							/* AQUACIS_AUDIT_H */
