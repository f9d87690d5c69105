/*
 * history_plan.c
 *	  history_plan(): a row for each history table, with what it is and what to do with it.
 *
 * Changes nothing and waits for nobody.  A table that cannot be locked at once is planned
 * from the catalogs alone, and reported as in use.  Each table's lock is given back before the
 * next one, so that 230 tables need room for two.
 *
 * The numbers are estimates and say so by their names: rows from the planner's statistics and
 * the size of the table, or counted if the sample was the whole table; bytes of the table
 * as it is, of its indexes and TOAST as they were at the last VACUUM or ANALYZE (to ask for
 * their size is to wait for a REINDEX).
 *
 * The tier is a recommendation, with its reason:
 *
 *	3 look			a problem, a convention that is mixed, or too few keys to be sure
 *	2 keep typed	more rows than `large`
 *	1 move			everything else; also a table that is empty
 *
 * Memory: what is about one table is freed before the next one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "common/args.h"
#include "common/catalog.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/textarray.h"
#include "compat.h"
#include "history/history.h"

/* below it, too few keys agree to act on */
#define MIN_SURE		0.5

/* columns of the result */
enum
{
	OUT_TABLE, OUT_BASE, OUT_BASE_FROM, OUT_PREFIX, OUT_KEY, OUT_KEY_FROM, OUT_CHANGED_AT, OUT_CHANGED_BY,
	OUT_OPERATION, OUT_COLUMNS, OUT_MISSING, OUT_EXTRA, OUT_DRIFTED, OUT_HOLDS, OUT_SURE, OUT_EVIDENCE,
	OUT_ROWS, OUT_BYTES, OUT_PER_YEAR, OUT_DEPENDANTS, OUT_SCANS, OUT_SCANS_SINCE, OUT_TIER, OUT_REASON,
	OUT_DEFINED, OUT_PROBLEM_CODE, OUT_PROBLEM, OUT_N
};

/* what the whole call knows */
typedef struct PlanCall
{
	Oid			fnoid;
	Oid			schema;			/* InvalidOid: all */
	List	   *names;			/* NIL: all that begin with "his", and those that are defined */
	int			limit;
	int64		large;
	List	   *definitions;
	HTAB	   *dependants;
	HistorySchema columns;
	bool		has_since;
	TimestampTz since;
} PlanCall;

/* what is known of the size of one table */
typedef struct TableSize
{
	int64		rows;			/* -1: not known */
	int64		bytes;
	int64		per_year;		/* -1: not known */
} TableSize;

/* ---- which tables ------------------------------------------------------------------------ */

static HistoryDefinition *
definition_of(const PlanCall *plan, Oid relid)
{
	ListCell   *lc;

	foreach(lc, plan->definitions)
	{
		HistoryDefinition *def = lfirst(lc);

		if (def->relid == relid)
			return def;
	}
	return NULL;
}

static bool
is_named(const PlanCall *plan, const char *name)
{
	ListCell   *lc;

	foreach(lc, plan->names)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

static bool
is_wanted(const PlanCall *plan, Form_pg_class form)
{
	const char *name = NameStr(form->relname);

	if ((form->relkind != RELKIND_RELATION && form->relkind != RELKIND_PARTITIONED_TABLE &&
		 form->relkind != RELKIND_FOREIGN_TABLE) ||
		form->oid < FirstNormalObjectId || form->relispartition ||
		(OidIsValid(plan->schema) ? form->relnamespace != plan->schema : isAnyTempNamespace(form->relnamespace)) ||
		OidIsValid(getExtensionOfObject(RelationRelationId, form->oid)))
		return false;
	if (plan->names != NIL)
		return is_named(plan, name);
	return strncmp(name, "his", 3) == 0 || definition_of(plan, form->oid) != NULL;
}

static int
by_name(const ListCell *a, const ListCell *b)
{
	Oid			x = lfirst_oid(a);
	Oid			y = lfirst_oid(b);
	const char *xname = get_rel_name(x);
	const char *yname = get_rel_name(y);
	int			order;

	if (xname == NULL || yname == NULL)
		return (xname != NULL) - (yname != NULL);
	order = strcmp(xname, yname);
	return order != 0 ? order : x < y ? -1 : x > y;
}

/* The tables, in the order of their names; 42P01 for one that was named and is not there. */
static List *
find_tables(const PlanCall *plan)
{
	CatalogRows rows;
	HeapTuple	tuple;
	List	   *found = NIL;
	List	   *names = NIL;
	ListCell   *lc;

	CatalogBeginAll(&rows, RelationRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (!is_wanted(plan, form))
			continue;
		found = lappend_oid(found, form->oid);
		if (plan->names != NIL)
			names = lappend(names, makeString(pstrdup(NameStr(form->relname))));
	}
	CatalogEnd(&rows);
	foreach(lc, plan->names)
	{
		if (!list_member(names, makeString(lfirst(lc))))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table \"%s\" does not exist", (char *) lfirst(lc)),
					 OidIsValid(plan->schema) ? errdetail("It was looked for in schema \"%s\".", get_namespace_name(plan->schema)) : 0));
	}
	list_sort(found, by_name);
	return found;
}

/* ---- size ----------------------------------------------------------------------------------- */

/* Blocks of a relation as the catalog has them. */
static int64
catalog_pages(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int64		pages;

	if (!HeapTupleIsValid(tuple))
		return 0;
	pages = ((Form_pg_class) GETSTRUCT(tuple))->relpages;
	ReleaseSysCache(tuple);
	return pages;
}

static int64
index_pages(Oid relid)
{
	CatalogRows rows;
	HeapTuple	tuple;
	int64		pages = 0;

	CatalogBegin(&rows, IndexRelationId, IndexIndrelidIndexId, Anum_pg_index_indrelid, relid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
		pages += catalog_pages(((Form_pg_index) GETSTRUCT(tuple))->indexrelid);
	CatalogEnd(&rows);
	return pages;
}

static void
measure(Oid relid, const HistoryEvidence *evidence, TableSize *size)
{
	const HistorySample *sample = &evidence->sample;
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	int64		blocks;

	size->rows = size->per_year = -1;
	size->bytes = 0;
	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_class) GETSTRUCT(tuple);
	blocks = evidence->read ? sample->blocks : form->relpages;
	if (evidence->read && sample->whole)
		size->rows = sample->rows_read;
	else if (form->reltuples >= 0 && form->relpages > 0)
		size->rows = (int64) ((double) form->reltuples / form->relpages * blocks);
	else if (evidence->read && sample->blocks_read > 0)
		size->rows = (int64) ((double) sample->rows_read / sample->blocks_read * blocks);
	else if (form->reltuples >= 0)
		size->rows = (int64) form->reltuples;
	size->bytes = blocks + index_pages(relid);
	if (OidIsValid(form->reltoastrelid))
		size->bytes += catalog_pages(form->reltoastrelid) + index_pages(form->reltoastrelid);
	size->bytes *= BLCKSZ;
	ReleaseSysCache(tuple);
	size->per_year = HistoryRowsPerYear(evidence, size->rows);
}

/* ---- JSON and lists ---------------------------------------------------------------------------- */

static Datum
jsonb_of(StringInfo json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data));
}

/* {"column": "column of the base"}, of the mapped ones */
static Datum
columns_json(const HistoryTable *table)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < table->his.n; i++)
	{
		const HistoryColumn *h = &table->his.column[i];

		if (h->base < 0)
			continue;
		if (json.len > 1)
			appendStringInfoString(&json, ", ");
		escape_json(&json, h->name);
		appendStringInfoString(&json, ": ");
		escape_json(&json, table->base.column[h->base].name);
	}
	appendStringInfoChar(&json, '}');
	return jsonb_of(&json);
}

static void
put_count(StringInfo json, const char *name, int64 value)
{
	appendStringInfo(json, "%s\"%s\": " INT64_FORMAT, json->len > 1 ? ", " : "", name, value);
}

/* The counts of the evidence; those about times that the zone has not where it is known. */
static Datum
evidence_json(const HistoryTable *table, const HistoryEvidence *e)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	put_count(&json, "rows_read", e->sample.rows_read);
	put_count(&json, "keys", e->keys);
	put_count(&json, "after", e->after);
	put_count(&json, "before", e->before);
	put_count(&json, "before_with_time_of_change", e->at_change);
	put_count(&json, "newer_than_base", e->newer);
	put_count(&json, "orphans", e->orphans);
	put_count(&json, "null_keys", e->sample.null_keys);
	put_count(&json, "null_times", e->sample.null_times);
	put_count(&json, "repeated", e->repeated);
	put_count(&json, "equal_times", e->equal_times);
	put_count(&json, "times_backwards", e->backwards);
	put_count(&json, "base_rows_read", e->base_rows);
	put_count(&json, "base_keys_repeated", e->base_repeated);
	if (table->time_zone)
		put_count(&json, "times_not_in_zone", e->skipped_times);
	appendStringInfo(&json, ", \"whole_table\": %s, \"whole_base\": %s", e->sample.whole ? "true" : "false",
					 e->base_whole ? "true" : "false");
	if (e->sample.timed)
		appendStringInfo(&json, ", \"first\": \"%s\", \"last\": \"%s\"",
						 DatumGetCString(DirectFunctionCall1(timestamp_out, TimestampGetDatum(e->sample.first))),
						 DatumGetCString(DirectFunctionCall1(timestamp_out, TimestampGetDatum(e->sample.last))));
	appendStringInfoChar(&json, '}');
	return jsonb_of(&json);
}

/* Names of the columns that have no counterpart. */
static Datum
unmapped(const HistoryColumns *columns)
{
	List	   *names = NIL;

	for (int i = 0; i < columns->n; i++)
		if (columns->column[i].base < 0)
			names = lappend(names, columns->column[i].name);
	return TextArrayOfList(names);
}

/* "column type, base: type" of each that is mapped to one of another type. */
static Datum
drifted(const HistoryTable *table)
{
	List	   *texts = NIL;

	for (int i = 0; i < table->his.n; i++)
	{
		const HistoryColumn *h = &table->his.column[i];
		const HistoryColumn *b = h->base < 0 ? NULL : &table->base.column[h->base];

		if (b && (h->type != b->type || h->typmod != b->typmod))
			texts = lappend(texts, psprintf("%s %s, %s %s", h->name, format_type_with_typemod(h->type, h->typmod),
											b->name, format_type_with_typemod(b->type, b->typmod)));
	}
	return TextArrayOfList(texts);
}

static Datum
key_names(const HistoryTable *table)
{
	List	   *names = NIL;

	for (int i = 0; i < table->nkeys; i++)
		names = lappend(names, table->his.column[table->key[i]].name);
	return TextArrayOfList(names);
}

static Datum
dependant_texts(const PlanCall *plan, Oid relid)
{
	List	   *texts = NIL;
	ListCell   *lc;

	foreach(lc, HistoryDependantsOf(plan->dependants, relid))
		texts = lappend(texts, strVal(lfirst(lc)));
	return TextArrayOfList(texts);
}

/* ---- the recommendation -------------------------------------------------------------------------- */

static int
tier_of(const PlanCall *plan, const HistoryTable *table, const HistoryEvidence *e, const TableSize *size, char **reason)
{
	int			dependants = list_length(HistoryDependantsOf(plan->dependants, table->relid));
	bool		confirmed = table->defined && table->defined->holds != HISTORY_UNKNOWN;

	*reason = table->problem;
	if (table->problem_code)
		return 3;
	if (size->rows == 0)
	{
		*reason = "it is empty";
		return 1;
	}
	if (size->rows >= plan->large)
	{
		*reason = psprintf("about " INT64_FORMAT " rows", size->rows);
		return 2;
	}
	if (table->holds == HISTORY_UNKNOWN)
	{
		*reason = "no key that was read says whether a copy is the row before or after the change";
		return 3;
	}
	if (table->holds == HISTORY_MIXED)
	{
		*reason = confirmed ? "defined as mixed: copies of rows before and after a change" :
			"some copies are rows before the change, others after it";
		return 3;
	}
	if (!confirmed && e->sure < MIN_SURE)
	{
		*reason = psprintf("only " INT64_FORMAT " key(s) say that a copy is the row %s the change",
						   table->holds == HISTORY_AFTER ? e->after : e->before, HistoryHoldsWord(table->holds));
		return 3;
	}
	*reason = psprintf("about " INT64_FORMAT " rows, %s", size->rows,
					   dependants ? psprintf("%d dependant(s)", dependants) : "nothing depends on it");
	return 1;
}

/* The convention: as defined, else as the rows say.  A definition that they contradict is a problem. */
static void
settle_holds(HistoryTable *table, const HistoryEvidence *e)
{
	int64		n = e->after + e->before + e->newer;
	int64		against = table->holds == HISTORY_AFTER ? n - e->after : table->holds == HISTORY_BEFORE ? n - e->before : 0;

	if (table->holds == HISTORY_UNKNOWN)
		table->holds = e->holds;
	else if (against > HISTORY_DIRT * n)
		HistoryProblem(table, "definition", "it is defined to hold rows %s the change, and " INT64_FORMAT " of " INT64_FORMAT " keys contradict",
					   HistoryHoldsWord(table->holds), against, n);
}

/* ---- a row of the result ------------------------------------------------------------------------ */

static void
put_text(Datum *values, bool *nulls, int i, const char *text)
{
	nulls[i] = text == NULL;
	if (text)
		values[i] = CStringGetTextDatum(text);
}

static void
put_int64(Datum *values, bool *nulls, int i, int64 value)
{
	nulls[i] = value < 0;
	values[i] = Int64GetDatum(value);
}

static const char *
column_name(const HistoryTable *table, int i)
{
	return i < 0 ? NULL : table->his.column[i].name;
}

/* What is found of the columns. */
static void
put_columns(const HistoryTable *table, Datum *values, bool *nulls)
{
	static const char *const base_from[] = {NULL, "definition", "name", "columns"};
	static const char *const key_from[] = {NULL, "definition", "primary key", "unique index", "guess"};

	nulls[OUT_BASE] = !OidIsValid(table->baseid);
	values[OUT_BASE] = ObjectIdGetDatum(table->baseid);
	put_text(values, nulls, OUT_BASE_FROM, base_from[table->base_from]);
	put_text(values, nulls, OUT_PREFIX, HistoryPrefix(&table->his, &table->prefix));
	nulls[OUT_KEY] = table->nkeys == 0;
	if (table->nkeys > 0)
		values[OUT_KEY] = key_names(table);
	put_text(values, nulls, OUT_KEY_FROM, key_from[table->key_from]);
	put_text(values, nulls, OUT_CHANGED_AT, column_name(table, table->time));
	put_text(values, nulls, OUT_CHANGED_BY, column_name(table, table->user));
	put_text(values, nulls, OUT_OPERATION, column_name(table, table->operation));
	nulls[OUT_COLUMNS] = nulls[OUT_MISSING] = nulls[OUT_EXTRA] = nulls[OUT_DRIFTED] = !OidIsValid(table->baseid);
	if (OidIsValid(table->baseid))
	{
		values[OUT_COLUMNS] = columns_json(table);
		values[OUT_MISSING] = unmapped(&table->base);
		values[OUT_EXTRA] = unmapped(&table->his);
		values[OUT_DRIFTED] = drifted(table);
	}
}

static void
put_row(ReturnSetInfo *result, const PlanCall *plan, const HistoryTable *table, const HistoryEvidence *e)
{
	Datum		values[OUT_N] = {0};
	bool		nulls[OUT_N] = {false};
	TableSize	size;
	char	   *reason;
	int64		scans = HistoryScans(table->relid);

	measure(table->relid, e, &size);
	values[OUT_TABLE] = ObjectIdGetDatum(table->relid);
	put_columns(table, values, nulls);
	put_text(values, nulls, OUT_HOLDS, HistoryHoldsWord(table->holds));
	nulls[OUT_SURE] = !e->read || e->holds == HISTORY_UNKNOWN;
	values[OUT_SURE] = Float4GetDatum((float4) e->sure);
	nulls[OUT_EVIDENCE] = !e->read;
	if (e->read)
		values[OUT_EVIDENCE] = evidence_json(table, e);
	put_int64(values, nulls, OUT_ROWS, size.rows);
	put_int64(values, nulls, OUT_BYTES, size.bytes);
	put_int64(values, nulls, OUT_PER_YEAR, size.per_year);
	values[OUT_DEPENDANTS] = dependant_texts(plan, table->relid);
	put_int64(values, nulls, OUT_SCANS, scans == 0 && !plan->has_since ? -1 : scans);
	nulls[OUT_SCANS_SINCE] = !plan->has_since;
	values[OUT_SCANS_SINCE] = TimestampTzGetDatum(plan->since);
	values[OUT_TIER] = Int32GetDatum(tier_of(plan, table, e, &size, &reason));
	put_text(values, nulls, OUT_REASON, reason);
	values[OUT_DEFINED] = BoolGetDatum(table->defined != NULL);
	put_text(values, nulls, OUT_PROBLEM_CODE, table->problem_code);
	put_text(values, nulls, OUT_PROBLEM, table->problem);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Is there nothing whose rows could be read? */
static bool
is_unreadable(const HistoryTable *table)
{
	return table->problem_code && (strcmp(table->problem_code, "not_a_table") == 0 ||
								   strcmp(table->problem_code, "dropped") == 0);
}

/* One table, in a context that is freed after it. */
static void
plan_table(ReturnSetInfo *result, PlanCall *plan, Oid relid)
{
	HistoryTable table;
	HistoryEvidence evidence = {false};

	if (HistoryFillLocked(&table, relid, definition_of(plan, relid), &plan->columns))
	{
		Oid			baseid = table.baseid;

		if (!is_unreadable(&table) && HistoryCheckReadable(&table))
			HistoryLook(&table, plan->limit, &evidence);
		HistoryUnlock(&table);
		/* hundreds of descriptors would stay in the relation cache */
		RelationCacheInvalidateEntry(relid);
		if (OidIsValid(baseid))
			RelationCacheInvalidateEntry(baseid);
	}
	settle_holds(&table, &evidence);
	put_row(result, plan, &table, &evidence);
}

/* history_plan(source_schema, tables, sample, large) */
PG_FUNCTION_INFO_V1(history_plan);

Datum
history_plan(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {NULL, NULL, "sample", "large"};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context;
	PlanCall	plan = {fcinfo->flinfo->fn_oid};
	List	   *tables;
	int			level;
	ListCell   *lc;

	ArgsRefuseNull(fcinfo, "history_plan", names, lengthof(names));
	if (!PG_ARGISNULL(0))
		plan.schema = get_namespace_oid(NameStr(*PG_GETARG_NAME(0)), false);
	plan.names = ArgsNames(fcinfo, 1, "tables");
	plan.limit = ArgsInt(fcinfo, 2, "sample", 1, 1000000, "It is the number of rows read of each table.");
	plan.large = PG_GETARG_INT64(3);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	plan.columns.context = CurrentMemoryContext;
	plan.definitions = HistoryDefinitions(plan.fnoid);
	tables = find_tables(&plan);
	plan.dependants = HistoryDependants(tables);
	(void) SpiQuery("SELECT pg_catalog.pg_stat_get_db_stat_reset_time(d.oid) FROM pg_catalog.pg_database d"
					" WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()", 0, NULL);
	plan.since = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &plan.has_since));
	plan.has_since = !plan.has_since;
	context = AllocSetContextCreate(CurrentMemoryContext, "aquacis history plan", ALLOCSET_DEFAULT_SIZES);
	/* times and types are written in one way, whatever the session's settings */
	level = SettingsForText();
	foreach(lc, tables)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		plan_table(result, &plan, lfirst_oid(lc));
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	SettingsEnd(level);
	SPI_finish();
	return (Datum) 0;
}
