/*
 * history_define.c
 *	  history_define(), history_forget(): what somebody who knows says of a history table.
 *
 * A definition is a row of history_definition.  It says only what the plan could not find or
 * found wrong: everything that is null is found anew each time.  A second call replaces the
 * first whole.  Columns are named, not numbered, so that a dump carries them over, like the
 * tables (regclass).
 *
 * Rows of both tables are read before it is believed (history_evidence.c).  More than a fifth
 * of them, or of the keys, must not contradict: less is dirt, which every history of fifteen
 * years has.  What contradicts:
 *
 *	changed_at		copies of one key, in the order of the table, whose times run backwards
 *	key				different copies of one key with one time; rows of the base that share it
 *	holds			keys whose newest copy and row of the base say otherwise.  "mixed" says that
 *					there is no rule, and cannot be wrong
 *
 * The tables are read with the caller's rights, who owns the history table and may read
 * the base.  history_definition is the extension's, and written as its owner: only values
 * come from the caller.  The locks on both tables are kept until the end of the transaction,
 * so that they are as they were looked at.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "common/args.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/owntable.h"
#include "common/spi.h"
#include "common/textarray.h"
#include "compat.h"
#include "history/history.h"

#define TABLE "history_definition"

/* columns of history_definition, as the extension script has them */
enum
{
	COLUMN_TABLE = 1, COLUMN_BASE, COLUMN_COLUMNS, COLUMN_KEY, COLUMN_CHANGED_AT, COLUMN_CHANGED_BY,
	COLUMN_OPERATION, COLUMN_HOLDS, COLUMN_TIME_ZONE, NCOLUMNS = COLUMN_TIME_ZONE
};

/* arguments of history_define */
enum
{
	ARG_TABLE, ARG_BASE, ARG_COLUMNS, ARG_KEY, ARG_CHANGED_AT, ARG_CHANGED_BY, ARG_OPERATION, ARG_HOLDS,
	ARG_TIME_ZONE, ARG_SAMPLE
};

static const char *const holds_words[] = {
	[HISTORY_UNKNOWN] = "unknown",[HISTORY_BEFORE] = "before",[HISTORY_AFTER] = "after",[HISTORY_MIXED] = "mixed"
};

/* The word of the SQL interface; a constant. */
const char *
HistoryHoldsWord(HistoryHolds holds)
{
	return holds_words[holds];
}

/* ---- definitions read ------------------------------------------------------------------ */

/*
 * The mapping of columns as two lists; a null is a NULL in the second.  False when the
 * JSON is not an object of strings and nulls.
 */
static bool
parse_columns(Jsonb *json, HistoryDefinition *def)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue	v;
	JsonbIteratorToken token = JsonbIteratorNext(&it, &v, false);

	if (token != WJB_BEGIN_OBJECT)
		return false;
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY)
	{
		def->his = lappend(def->his, pnstrdup(v.val.string.val, v.val.string.len));
		(void) JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvString && v.type != jbvNull)
			return false;
		def->base = lappend(def->base, v.type == jbvNull ? NULL : pnstrdup(v.val.string.val, v.val.string.len));
	}
	return true;
}

static char *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

/* A row of history_definition, in the current context. */
static HistoryDefinition *
read_row(HeapTuple tuple, TupleDesc desc)
{
	HistoryDefinition *def = palloc0(sizeof(HistoryDefinition));
	Datum		values[NCOLUMNS + 1];
	bool		nulls[NCOLUMNS + 1];
	char	   *holds;

	for (int i = 1; i <= NCOLUMNS; i++)
		values[i] = heap_getattr(tuple, i, desc, &nulls[i]);
	def->relid = DatumGetObjectId(values[COLUMN_TABLE]);
	def->baseid = nulls[COLUMN_BASE] ? InvalidOid : DatumGetObjectId(values[COLUMN_BASE]);
	if (!nulls[COLUMN_COLUMNS])
	{
		Jsonb	   *json = DatumGetJsonbPCopy(values[COLUMN_COLUMNS]);

		def->columns = JsonbToCString(NULL, &json->root, VARSIZE(json));
		(void) parse_columns(json, def);
	}
	def->key = nulls[COLUMN_KEY] ? NIL : TextArrayToList(DatumGetArrayTypeP(values[COLUMN_KEY]));
	def->changed_at = text_or_null(values[COLUMN_CHANGED_AT], nulls[COLUMN_CHANGED_AT]);
	def->changed_by = text_or_null(values[COLUMN_CHANGED_BY], nulls[COLUMN_CHANGED_BY]);
	def->operation = text_or_null(values[COLUMN_OPERATION], nulls[COLUMN_OPERATION]);
	def->time_zone = text_or_null(values[COLUMN_TIME_ZONE], nulls[COLUMN_TIME_ZONE]);
	holds = text_or_null(values[COLUMN_HOLDS], nulls[COLUMN_HOLDS]);
	for (int i = HISTORY_BEFORE; holds && i <= HISTORY_MIXED; i++)
		if (strcmp(holds, holds_words[i]) == 0)
			def->holds = i;
	return def;
}

/*
 * The definitions, latest committed and our own, as a List of HistoryDefinition: of one
 * table, or of all (InvalidOid).  Needs no right on the table.
 */
static List *
read_definitions(Oid fnoid, Oid relid)
{
	OwnTableRows rows;
	List	   *found = NIL;
	HeapTuple	tuple;

	if (!OwnTableBegin(&rows, fnoid, TABLE, OidIsValid(relid) ? COLUMN_TABLE : InvalidAttrNumber,
					   F_OIDEQ, ObjectIdGetDatum(relid)))
		return NIL;
	while (HeapTupleIsValid(tuple = OwnTableNext(&rows)))
		found = lappend(found, read_row(tuple, RelationGetDescr(rows.rel)));
	OwnTableEnd(&rows);
	return found;
}

/* The definition of a table; NULL: there is none. */
HistoryDefinition *
HistoryReadDefinition(Oid fnoid, Oid relid)
{
	List	   *found = read_definitions(fnoid, relid);

	return found == NIL ? NULL : linitial(found);
}

/* All definitions, as a List of HistoryDefinition; fnoid is a function of ours. */
List *
HistoryDefinitions(Oid fnoid)
{
	return read_definitions(fnoid, InvalidOid);
}

/* ---- arguments ---------------------------------------------------------------------------- */

static char *
name_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(i)));
}

/* 42501 unless the caller owns the history table, 42809 unless it is an ordinary table. */
static void
check_table(Oid relid, const char *what, bool own)
{
	char		kind = get_rel_relkind(relid);

	if (kind == '\0')
		(void) CatalogOwner(relid); /* raises */
	if (own && !object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(kind), get_rel_name(relid));
	if (kind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not an ordinary table", get_rel_name(relid)),
				 errhint("Name the %s.", what)));
}

/* 22004, 22023, 42501, 42809 for what can be said of the arguments by themselves. */
static HistoryDefinition *
read_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"history_table"};
	HistoryDefinition *def = palloc0(sizeof(HistoryDefinition));

	ArgsRefuseNull(fcinfo, "history_define", names, lengthof(names));
	def->relid = PG_GETARG_OID(ARG_TABLE);
	check_table(def->relid, "table with the copies", true);
	if (!PG_ARGISNULL(ARG_BASE))
	{
		def->baseid = PG_GETARG_OID(ARG_BASE);
		check_table(def->baseid, "table whose rows are copied", false);
		if (def->baseid == def->relid)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a table cannot be its own base")));
	}
	if (!PG_ARGISNULL(ARG_COLUMNS) && !parse_columns(PG_GETARG_JSONB_P(ARG_COLUMNS), def))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns must be an object of strings and nulls"),
				 errhint("Write {\"column\": \"column of the base\", \"column that the base has not\": null}.")));
	def->key = ArgsNames(fcinfo, ARG_KEY, "key");
	if (!PG_ARGISNULL(ARG_KEY) && (def->key == NIL || list_length(def->key) > HISTORY_MAX_KEY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key must have between 1 and %d columns", HISTORY_MAX_KEY)));
	def->changed_at = name_argument(fcinfo, ARG_CHANGED_AT);
	def->changed_by = name_argument(fcinfo, ARG_CHANGED_BY);
	def->operation = name_argument(fcinfo, ARG_OPERATION);
	if (!PG_ARGISNULL(ARG_HOLDS))
		def->holds = HISTORY_BEFORE + ArgsWord(fcinfo, ARG_HOLDS, "holds", holds_words + HISTORY_BEFORE, 3,
											   "before: a copy is the row before the change; after: as it is after it; mixed: both happen.");
	if (!PG_ARGISNULL(ARG_TIME_ZONE))
	{
		def->time_zone = text_to_cstring(PG_GETARG_TEXT_PP(ARG_TIME_ZONE));
		if (pg_tzset(def->time_zone) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time zone \"%s\" not recognized", def->time_zone)));
	}
	return def;
}

/* ---- columns that are named ----------------------------------------------------------------- */

/* 42703 unless the table has the column; its index. */
static int
require_column(const HistoryColumns *columns, Oid relid, const char *name)
{
	int			i = HistoryColumnIndex(columns, name);

	if (i < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", name, get_rel_name(relid))));
	return i;
}

/* Every name of a definition: 42703, 42701, 42804, 22023. */
static void
check_names(const HistoryTable *table)
{
	const HistoryDefinition *def = table->defined;
	List	   *bases = NIL;

	for (int i = 0; i < list_length(def->his); i++)
	{
		char	   *base = list_nth(def->base, i);

		(void) require_column(&table->his, table->relid, list_nth(def->his, i));
		if (base == NULL)
			continue;
		if (!OidIsValid(table->baseid))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("columns are mapped, and no base is known"),
					 errhint("Name the base.")));
		(void) require_column(&table->base, table->baseid, base);
		if (list_member(bases, makeString(base)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" of the base appears twice", base)));
		bases = lappend(bases, makeString(base));
	}
	for (int i = 0; i < list_length(def->key); i++)
	{
		char	   *name = list_nth(def->key, i);
		int			column = require_column(&table->his, table->relid, name);

		for (int j = 0; j < i; j++)
			if (strcmp(list_nth(def->key, j), name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("key column \"%s\" appears twice", name)));
		if (OidIsValid(table->baseid) && table->his.column[column].base < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key column \"%s\" is no column of the base", name),
					 errhint("Map it in columns.")));
	}
	if (def->changed_by)
		(void) require_column(&table->his, table->relid, def->changed_by);
	if (def->operation)
		(void) require_column(&table->his, table->relid, def->operation);
	if (def->changed_at)
	{
		Oid			type = table->his.column[require_column(&table->his, table->relid, def->changed_at)].type;

		if (type != TIMESTAMPOID && type != TIMESTAMPTZOID && type != DATEOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" is of type %s and not of a time", def->changed_at, format_type_be(type)),
					 errhint("changed_at must be a timestamp, a timestamptz or a date.")));
	}
}

/* ---- evidence --------------------------------------------------------------------------------- */

/* 22023, 23505: what the rows contradict, see above. */
static void
check_evidence(const HistoryTable *table, const HistoryEvidence *e)
{
	const HistoryDefinition *def = table->defined;
	int64		decided = e->after + e->before + e->newer;
	int64		against = def->holds == HISTORY_AFTER ? e->before + e->newer :
	def->holds == HISTORY_BEFORE ? e->after + e->newer : 0;

	if (e->base_repeated > HISTORY_DIRT * e->base_rows)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("rows of the base share the key"),
				 errdetail("Of " INT64_FORMAT " rows that were read, " INT64_FORMAT " have the key of another.",
						   e->base_rows, e->base_repeated),
				 errhint("Name all columns of the key.")));
	if (e->equal_times > HISTORY_DIRT * e->pairs)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("different copies share key and time"),
				 errdetail("Of " INT64_FORMAT " copies that follow another of their key, " INT64_FORMAT " have its time.",
						   e->pairs, e->equal_times),
				 errhint("Name all columns of the key, or another column as changed_at.")));
	if (e->backwards > HISTORY_DIRT * e->pairs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time runs backwards in column \"%s\"", table->his.column[table->time].name),
				 errdetail("Of " INT64_FORMAT " copies that follow another of their key, " INT64_FORMAT " have an earlier time.",
						   e->pairs, e->backwards),
				 errhint("Name another column as changed_at, or another key.")));
	if (against > HISTORY_DIRT * decided)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the rows contradict that a copy holds the row %s the change", holds_words[def->holds]),
				 errdetail("Of " INT64_FORMAT " keys, the newest copy and the row of the base contradict it for " INT64_FORMAT ".",
						   decided, against),
				 errhint("Leave holds out, or say \"mixed\" if there is no rule.")));
}

/* Fills in the table under a lock, and reads what its rows say. */
static void
check_definition(HistoryDefinition *def, int limit)
{
	HistorySchema schema = {CurrentMemoryContext};
	HistoryTable table;
	HistoryEvidence evidence;
	bool		locked = HistoryFillLocked(&table, def->relid, def, &schema);

	check_names(&table);
	if (!locked)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on relation \"%s\" or its base", get_rel_name(def->relid)),
				 errhint("Nobody is waited for: try again.")));
	table.problem_code = NULL;
	if (!HistoryCheckReadable(&table))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s", table.problem),
				 errdetail("A definition is compared with the rows of both tables.")));
	HistoryFill(&table, def->relid, def, &schema);
	HistoryLook(&table, limit, &evidence);
	check_evidence(&table, &evidence);
	if (table.problem_code != NULL)
		ereport(NOTICE,
				(errmsg("table \"%s\" still has a problem: %s", get_rel_name(def->relid), table.problem),
				 errdetail("Its problem_code is \"%s\".", table.problem_code)));
}

/* ---- the SQL functions ------------------------------------------------------------------------- */

/* history_define(history_table, base, columns, key, changed_at, changed_by, operation, holds, time_zone, sample) */
PG_FUNCTION_INFO_V1(history_define);

Datum
history_define(PG_FUNCTION_ARGS)
{
	Oid			fnoid = fcinfo->flinfo->fn_oid;
	HistoryDefinition *def = read_arguments(fcinfo);
	static const char *const names[] = {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "sample"};
	SpiArg		args[10];

	ArgsRefuseNull(fcinfo, "history_define", names, lengthof(names));
	check_definition(def, ArgsInt(fcinfo, ARG_SAMPLE, "sample", 1, 1000000, "It is the number of rows read of each table."));
	SPI_connect();
	args[0] = SpiDatumArg(OIDOID, ObjectIdGetDatum(def->relid));
	args[1] = OidIsValid(def->baseid) ? SpiDatumArg(OIDOID, ObjectIdGetDatum(def->baseid)) : SpiNullArg(OIDOID);
	args[2] = PG_ARGISNULL(ARG_COLUMNS) ? SpiNullArg(JSONBOID) : SpiDatumArg(JSONBOID, PG_GETARG_DATUM(ARG_COLUMNS));
	args[3] = def->key == NIL ? SpiNullArg(TEXTARRAYOID) : SpiTextListArg(def->key);
	args[4] = SpiTextArg(def->changed_at);
	args[5] = SpiTextArg(def->changed_by);
	args[6] = SpiTextArg(def->operation);
	args[7] = SpiTextArg(def->holds == HISTORY_UNKNOWN ? NULL : holds_words[def->holds]);
	args[8] = SpiTextArg(def->time_zone);
	args[9] = SpiTextArg(GetUserNameFromId(GetUserId(), false));
	(void) OwnTableRun(fnoid, TABLE,
					   "INSERT INTO %s (history_table, base, columns, key, changed_at, changed_by, operation, holds, time_zone, defined_by)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (history_table) DO UPDATE SET"
					   " base = EXCLUDED.base, columns = EXCLUDED.columns, key = EXCLUDED.key, changed_at = EXCLUDED.changed_at,"
					   " changed_by = EXCLUDED.changed_by, operation = EXCLUDED.operation, holds = EXCLUDED.holds,"
					   " time_zone = EXCLUDED.time_zone, defined_at = EXCLUDED.defined_at, defined_by = EXCLUDED.defined_by",
					   lengthof(args), args);
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * history_forget(history_table): removes its definition; true if there was one.  Of a table
 * that is gone, given by its number, anybody who may call it can: it defines nothing.
 */
PG_FUNCTION_INFO_V1(history_forget);

Datum
history_forget(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	SpiArg		args[] = {SpiDatumArg(OIDOID, ObjectIdGetDatum(relid))};
	uint64		n;

	if (get_rel_relkind(relid) != '\0')
		check_table(relid, "table with the copies", true);
	SPI_connect();
	n = OwnTableRun(fcinfo->flinfo->fn_oid, TABLE,
					"DELETE FROM %s WHERE history_table OPERATOR(pg_catalog.=) $1", lengthof(args), args);
	SPI_finish();
	PG_RETURN_BOOL(n > 0);
}
