/*
 * audit_undo.c
 *	  audit_undo_plan, audit_undo: give rows back what changes took from them.
 *
 * 1. The entries of the log that match all that was given are read, in the order in
 *	  which the changes happened, and sorted by record (audit_undo_read.c).
 * 2. What they amount to for a record is its net (audit_undo_net.c).
 * 3. The rows are read as they are now, for an undo locked in the order of tables and
 *	  keys, and compared with what the log says they should be (audit_undo_compare.c).
 *	  For a conflict the log is asked who made it (audit_undo_who.c).
 * 4. Rows without a conflict get what they were before (audit_undo_apply.c).
 *
 * A row is undone whole or not at all.  A plan does 1 to 3 without locks and waits for nobody.
 *
 * Memory: the entries and records, about 400 bytes and the JSON of each entry, until
 * the end.  Nothing is kept outside of the transaction: a crash, a cancelled statement
 * or a killed session leaves everything as it was.
 *
 * Rights: the log is read as audit_history reads it; tables are read and written as the
 * caller.  The undo is logged like any change, and can be undone like one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "audit/audit_undo.h"
#include "common/args.h"
#include "common/settings.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_undo_plan);
PG_FUNCTION_INFO_V1(audit_undo);

/* arguments of both */
enum
{
	ARG_XACT, ARG_USER, ARG_SINCE, ARG_UNTIL, ARG_TABLE, ARG_LOG, ARG_ON_CONFLICT
};

/* ---- what to undo --------------------------------------------------------------------------- */

static void
read_filter(FunctionCallInfo fcinfo, UndoFilter *filter)
{
	memset(filter, 0, sizeof(*filter));
	filter->has_xact = !PG_ARGISNULL(ARG_XACT);
	if (filter->has_xact)
		filter->xact = U64FromFullTransactionId(PG_GETARG_FULLTRANSACTIONID(ARG_XACT));
	if (!PG_ARGISNULL(ARG_USER))
		filter->user = text_to_cstring(PG_GETARG_TEXT_PP(ARG_USER));
	filter->has_since = !PG_ARGISNULL(ARG_SINCE);
	if (filter->has_since)
		filter->since = PG_GETARG_TIMESTAMPTZ(ARG_SINCE);
	filter->has_until = !PG_ARGISNULL(ARG_UNTIL);
	if (filter->has_until)
		filter->until = PG_GETARG_TIMESTAMPTZ(ARG_UNTIL);
	if (!PG_ARGISNULL(ARG_TABLE))
		filter->relid = PG_GETARG_OID(ARG_TABLE);
	if (!PG_ARGISNULL(ARG_LOG))
		filter->log = PG_GETARG_OID(ARG_LOG);
	if (!filter->has_xact && filter->user == NULL && !filter->has_since && !OidIsValid(filter->relid))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an undo needs xact, user_id, since or audited_table"),
				 errdetail("Without one of them it would undo all that the log has."),
				 errhint("Give as many as you can: what matches all of them is undone.")));
}

/* Opens the log that was named, that of the table, or the default one.  As AuditOpenLog. */
static void
open_log(Undo *undo)
{
	UndoFilter *filter = &undo->filter;
	AuditArgs	args;
	Oid			logid = filter->log;

	if (!OidIsValid(logid) && OidIsValid(filter->relid))
	{
		AuditScope	scope;

		AuditScopeOfTable(filter->relid, undo->fnoid, &scope);
		logid = scope.logid;
	}
	else if (!OidIsValid(logid))
	{
		AuditParseArgs(0, NULL, &args);
		logid = AuditResolveLog(&args, AuditTriggerFunction(undo->fnoid), InvalidOid, false);
	}
	undo->log = AuditOpenLogById(logid, &undo->columns);
	if (filter->has_xact && undo->columns.attnum[AUDIT_XACT_ID] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("log \"%s\" does not know which transaction made a change",
						RelationGetRelationName(undo->log)),
				 errdetail("It has no column \"xact_id\"."),
				 errhint("Use user_id, since and until, or audited_table.")));
	if (filter->user && undo->columns.attnum[AUDIT_USER_ID] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("log \"%s\" does not know who made a change", RelationGetRelationName(undo->log)),
				 errdetail("It has no column \"user_id\"."),
				 errhint("Use xact, since and until, or audited_table.")));
}

/* ---- what comes out ---------------------------------------------------------------------------- */

enum
{
	OUT_TABLE, OUT_KEY, OUT_UNDO, OUT_COLUMN, OUT_NOW, OUT_THEN, OUT_CONFLICT, OUT_AT, OUT_USER, OUT_XACT, OUT_DONE,
	NOUT
};

static void
set_json(Datum *values, bool *nulls, int i, Jsonb *json)
{
	nulls[i] = json == NULL;
	if (json)
		values[i] = JsonbPGetDatum(json);
}

static void
set_text(Datum *values, bool *nulls, int i, const char *text)
{
	nulls[i] = text == NULL;
	if (text)
		values[i] = CStringGetTextDatum(text);
}

/* A line of the result; note may be NULL. */
static void
put_line(ReturnSetInfo *result, const UndoRow *row, Datum *values, bool *nulls, const UndoNote *note)
{
	const UndoNote *who = note && note->conflict ? note : &row->note;

	set_text(values, nulls, OUT_CONFLICT, who->conflict);
	nulls[OUT_AT] = !who->who.known || who->who.at == 0;
	values[OUT_AT] = TimestampTzGetDatum(who->who.at);
	set_text(values, nulls, OUT_USER, who->who.known ? who->who.user : NULL);
	nulls[OUT_XACT] = !who->who.known || who->who.xact == 0;
	values[OUT_XACT] = FullTransactionIdGetDatum(FullTransactionIdFromU64(who->who.xact));
	values[OUT_DONE] = BoolGetDatum(row->state == UNDO_DONE && !(note && note->already));
	nulls[OUT_DONE] = false;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static const UndoNote *
note_of(const UndoRow *row, int column)
{
	for (const UndoNote *note = row->notes; note; note = note->next)
		if (note->column == column)
			return note;
	return NULL;
}

/* A line for a column of the net.  False: nothing is to be said of it. */
static bool
put_column(ReturnSetInfo *result, const UndoRow *row, const UndoNetColumn *col, Datum *values, bool *nulls)
{
	const UndoColumn *column = &row->table->cols[col->column];
	const UndoNote *note = note_of(row, col->column);
	bool		whole = row->state == UNDO_ALREADY && row->kind != UNDO_UPDATE;
	Jsonb	   *now = NULL;
	Jsonb	   *then = col->has_then ? AuditJsonbOfValue(&col->then) : NULL;

	if (column->generated || (row->kind == UNDO_UPDATE && !AuditUndoIsChange(col) && note == NULL))
		return false;
	if (note)
		now = note->now;
	else if (row->state == UNDO_ALREADY)
		now = then;
	else if (col->has_now && row->note.conflict == NULL)
		now = AuditJsonbOfValue(&col->now);
	set_text(values, nulls, OUT_UNDO, whole || (note && note->already) || row->state == UNDO_ALREADY ? "none" :
			 row->kind == UNDO_INSERT ? "insert" : row->kind == UNDO_DELETE ? "delete" : "update");
	set_text(values, nulls, OUT_COLUMN, column->name);
	set_json(values, nulls, OUT_NOW, now);
	set_json(values, nulls, OUT_THEN, then);
	put_line(result, row, values, nulls, note);
	return true;
}

static void
put_row(Undo *undo, UndoRow *row, ReturnSetInfo *result)
{
	static const char *const kinds[] = {"none", "insert", "update", "delete"};
	Datum		values[NOUT];
	bool		nulls[NOUT];
	bool		any = false;
	UndoNet		net;

	memset(nulls, true, sizeof(nulls));
	AuditUndoNetOf(undo, row, &net);
	nulls[OUT_TABLE] = !OidIsValid(row->table->relid);
	values[OUT_TABLE] = ObjectIdGetDatum(row->table->relid);
	set_text(values, nulls, OUT_KEY, AuditUndoKeyText(row));
	for (int i = 0; i < net.n && row->kind != UNDO_NONE; i++)
		any |= put_column(result, row, &net.cols[i], values, nulls);
	/* columns that the log does not have */
	for (UndoNote *note = row->notes; note; note = note->next)
	{
		bool		known = false;

		for (int i = 0; i < net.n && !known; i++)
			known = net.cols[i].column == note->column;
		if (known)
			continue;
		set_text(values, nulls, OUT_UNDO, kinds[row->kind]);
		set_text(values, nulls, OUT_COLUMN, row->table->cols[note->column].name);
		nulls[OUT_NOW] = nulls[OUT_THEN] = true;
		put_line(result, row, values, nulls, note);
		any = true;
	}
	if (any)
		return;
	set_text(values, nulls, OUT_UNDO, row->state == UNDO_ALREADY ? "none" : kinds[row->kind]);
	nulls[OUT_COLUMN] = nulls[OUT_NOW] = nulls[OUT_THEN] = true;
	put_line(result, row, values, nulls, NULL);
}

static void
put_result(Undo *undo, ReturnSetInfo *result)
{
	MemoryContext tmp = AllocSetContextCreate(undo->cxt, "lines", ALLOCSET_DEFAULT_SIZES);

	for (int64 i = 0; i < undo->nrows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(tmp);

		CHECK_FOR_INTERRUPTS();
		put_row(undo, undo->rows[i], result);
		MemoryContextSwitchTo(old);
		MemoryContextReset(tmp);
	}
	if (undo->nrows == 0)
		ereport(NOTICE,
				(errmsg("log \"%s\" has no change that matches", RelationGetRelationName(undo->log))));
}

/* ---- conflicts -------------------------------------------------------------------------------- */

/* 55000: the first conflict, and how many more there are. */
static void
refuse_conflicts(UndoRow *row, int64 n)
{
	const UndoNote *note = &row->note;
	const char *column = NULL;
	StringInfoData who;

	for (UndoNote *other = row->notes; other && note->conflict == NULL; other = other->next)
		if (other->conflict)
		{
			note = other;
			column = row->table->cols[other->column].name;
		}
	initStringInfo(&who);
	if (note->who.known)
		appendStringInfo(&who, " It was user \"%s\" at %s, in transaction " UINT64_FORMAT ".",
						 note->who.user ? note->who.user : "", timestamptz_to_str(note->who.at), note->who.xact);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_plural("nothing is undone: " INT64_FORMAT " record cannot be undone",
						   "nothing is undone: " INT64_FORMAT " records cannot be undone", (unsigned long) n, n),
			 errdetail("The first is record %s of table \"%s\"%s%s%s: %s.%s", AuditUndoKeyText(row) ? AuditUndoKeyText(row) : "(no key)",
					   row->table->name, column ? ", column \"" : "", column ? column : "", column ? "\"" : "",
					   note->conflict, who.data),
			 errhint("audit_undo_plan() lists them; on_conflict => 'skip' undoes the others.")));
}

/* Who made the conflicts; all, or the first before an undo is refused. */
static void
look_at_conflicts(Undo *undo)
{
	UndoRow    *first = NULL;
	int64		n = 0;

	for (int64 i = 0; i < undo->nrows; i++)
	{
		UndoRow    *row = undo->rows[i];

		if (row->state != UNDO_CONFLICT)
			continue;
		if (n++ == 0)
			first = row;
		if (!undo->apply || undo->skip)
			AuditUndoFindWho(undo, row);
	}
	if (first && undo->apply && !undo->skip)
	{
		AuditUndoFindWho(undo, first);
		refuse_conflicts(first, n);
	}
}

/* ---- the context of the entries ------------------------------------------------------------------ */

/* {"undo_of": {...}}: what was given. */
static char *
describe_filter(const UndoFilter *filter)
{
	StringInfoData json;
	const char *comma = "";

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"undo_of\": {");
	if (filter->has_xact)
	{
		appendStringInfo(&json, "\"xact\": \"" UINT64_FORMAT "\"", filter->xact);
		comma = ", ";
	}
	if (filter->user)
	{
		appendStringInfo(&json, "%s\"user_id\": ", comma);
		escape_json(&json, filter->user);
		comma = ", ";
	}
	if (filter->has_since)
	{
		appendStringInfo(&json, "%s\"since\": \"%s\"", comma, timestamptz_to_str(filter->since));
		comma = ", ";
	}
	if (filter->has_until)
	{
		appendStringInfo(&json, "%s\"until\": \"%s\"", comma, timestamptz_to_str(filter->until));
		comma = ", ";
	}
	if (OidIsValid(filter->relid))
	{
		appendStringInfo(&json, "%s\"audited_table\": ", comma);
		escape_json(&json, get_rel_name(filter->relid));
	}
	appendStringInfoString(&json, "}}");
	return json.data;
}

/* The undo itself; its entries say that they are of one, unless the application says something. */
static void
apply(Undo *undo)
{
	const char *context = GetConfigOption("app.context", true, false);
	int			level = 0;

	if (context == NULL || context[0] == '\0')
	{
		level = SettingsBegin();
		SettingsSet("app.context", describe_filter(&undo->filter));
	}
	AuditUndoApply(undo);
	/* what triggers have set for longer stays, as behind a function with SET */
	if (level != 0)
		AtEOXact_GUC(true, level);
}

/* ---- the functions --------------------------------------------------------------------------- */

static void
run(FunctionCallInfo fcinfo, bool applies, bool skip)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Undo		undo = {.fnoid = fcinfo->flinfo->fn_oid, .apply = applies, .skip = skip};
	MemoryContext old;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	undo.cxt = AllocSetContextCreate(CurrentMemoryContext, "undo", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(undo.cxt);
	read_filter(fcinfo, &undo.filter);
	open_log(&undo);
	SPI_connect();
	AuditUndoRead(&undo);
	AuditUndoCompare(&undo);
	look_at_conflicts(&undo);
	if (applies)
		apply(&undo);
	put_result(&undo, result);
	SPI_finish();
	foreach(lc, undo.tables)
	{
		UndoTable  *table = lfirst(lc);

		if (table->rel)
			table_close(table->rel, NoLock);
	}
	table_close(undo.log, NoLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(undo.cxt);
}

/* audit_undo_plan(xact, user_id, since, until, audited_table, log) */
Datum
audit_undo_plan(PG_FUNCTION_ARGS)
{
	run(fcinfo, false, false);
	return (Datum) 0;
}

/* audit_undo(the same, on_conflict) */
Datum
audit_undo(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {NULL, NULL, NULL, NULL, NULL, NULL, "on_conflict"};
	static const char *const words[] = {"stop", "skip"};

	ArgsRefuseNull(fcinfo, "audit_undo", names, lengthof(names));
	run(fcinfo, true, ArgsWord(fcinfo, ARG_ON_CONFLICT, "on_conflict", words, lengthof(words),
							   "'stop' undoes nothing where one record cannot be undone, 'skip' the others.") == 1);
	return (Datum) 0;
}
