/*
 * audit_baseline.c
 *	  CALL audit_baseline: a first image of the rows that were there before the audit.
 *
 * A row whose latest whole image in the log is neither I nor B gets an entry B: new_data is
 * the row as it is now.  So every record has a beginning, and calling again goes on where
 * an earlier call ended, however it did.
 *
 * Rows are taken in the order of the key, a batch in each transaction:
 *	1. SELECT ... FOR SHARE of the next rows.  A change that waits for these locks fires its
 *	   trigger later; one that came first is over, and is in the rows.
 *	2. The clock is read: written_at of the batch.  So no later change has an earlier time.
 *	3. For each row, a look into the log by the index on its key, and the entry.
 * Writers of these rows wait for the time of a batch at most.  We wait for theirs for
 * lock_wait, three times; after that the batch is done without the rows that are in use,
 * with a warning: calling again finds them.
 *
 * The table is read as its owner (common/usercode.h), who calls, or of whom the caller is a
 * member, or a superuser; the log is read and written as its owner.  Row security is off: it
 * could hide rows, so it is an error if it would.  Rows with a null in their key, which
 * keys other than the primary one may have, are left out.
 *
 * A crash leaves finished batches.  Memory: the rows of a batch.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "audit/audit.h"
#include "audit/audit_step.h"
#include "common/args.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_baseline);

#define MAX_KEY		32

typedef struct Baseline
{
	Oid			fnoid;
	Oid			relid;
	Oid			tgoid;			/* of the trigger FOR EACH ROW */
	Oid			owner;
	AuditSteps	steps;
	int			batch;
	MemoryContext cxt;			/* the procedure's */
	MemoryContext row_cxt;

	int			nkeys;
	AttrNumber	keys[MAX_KEY];
	Oid			types[MAX_KEY];
	Datum		last[MAX_KEY];	/* the key up to which rows are done, in last_cxt */
	bool		begun;			/* there is one */
	MemoryContext last_cxt;

	bool		skip_locked;
	bool		more;			/* the last batch was full */
	bool		skipped;		/* rows that were in use */
	Oid			logid;			/* of which probe is the query */
	SPIPlanPtr	probe;			/* the latest whole image of a record; NULL: none yet */
	AuditField	key_field;		/* $1 of it */
	TimestampTz at;				/* written_at of the batch */

	int64		written;
	int64		seen;
	TimestampTz told;			/* when the last NOTICE was */
} Baseline;

/* ---- the query for a batch --------------------------------------------------------------- */

/* The operator "greater than" of a column's type, as OPERATOR(schema.name); 42883 if there is none. */
static char *
greater(Oid typid, const char *column)
{
	Oid			op = lookup_type_cache(typid, TYPECACHE_GT_OPR)->gt_opr;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" of the key has no order", column),
				 errdetail("Type %s has no default btree operator class.", format_type_be(typid)),
				 errhint("Call audit_enable() with another key.")));
	name = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace)),
					NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname));
	ReleaseSysCache(tuple);
	return name;
}

/* Column i of the key, qualified. */
static const char *
key_column(const Baseline *b, int i)
{
	return psprintf("t.%s", quote_identifier(get_attname(b->relid, b->keys[i], false)));
}

/*
 * Appends the condition that the key is beyond b->last.  As a row comparison, which goes
 * by the index, where the columns have the same operator; else column by column.
 */
static void
append_beyond(const Baseline *b, StringInfo q)
{
	StringInfoData columns;
	StringInfoData params;
	char	   *first = greater(b->types[0], key_column(b, 0));
	bool		same = true;

	initStringInfo(&columns);
	initStringInfo(&params);
	for (int i = 0; i < b->nkeys; i++)
	{
		appendStringInfo(&columns, "%s%s", i ? ", " : "", key_column(b, i));
		appendStringInfo(&params, "%s$%d", i ? ", " : "", i + 1);
		same &= strcmp(first, greater(b->types[i], key_column(b, i))) == 0;
	}
	if (same)
	{
		appendStringInfo(q, "(%s) %s (%s)", columns.data, first, params.data);
		return;
	}
	for (int i = 0; i < b->nkeys; i++)
	{
		appendStringInfo(q, "%s(", i ? " OR " : "(");
		for (int j = 0; j < i; j++)
			appendStringInfo(q, "NOT %s %s $%d AND NOT $%d %s %s AND ", key_column(b, j),
							 greater(b->types[j], ""), j + 1, j + 1, greater(b->types[j], ""), key_column(b, j));
		appendStringInfo(q, "%s %s $%d)", key_column(b, i), greater(b->types[i], ""), i + 1);
	}
	appendStringInfoChar(q, ')');
}

/* The query for the next rows: all columns that are there, in the order of the table. */
static char *
batch_query(const Baseline *b, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData q;
	const char *separator = "SELECT ";

	initStringInfo(&q);
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		appendStringInfo(&q, "%st.%s", separator, quote_identifier(NameStr(TupleDescAttr(desc, i)->attname)));
		separator = ", ";
	}
	appendStringInfo(&q, " FROM %s%s t WHERE ", rel->rd_rel->relkind == RELKIND_RELATION ? "ONLY " : "",
					 NamesQualified(b->relid));
	if (b->begun)
		append_beyond(b, &q);
	else
		for (int i = 0; i < b->nkeys; i++)
			appendStringInfo(&q, "%s%s IS NOT NULL", i ? " AND " : "", key_column(b, i));
	appendStringInfoString(&q, " ORDER BY ");
	for (int i = 0; i < b->nkeys; i++)
		appendStringInfo(&q, "%s%s", i ? ", " : "", key_column(b, i));
	appendStringInfo(&q, " LIMIT %d FOR SHARE OF t%s", b->batch, b->skip_locked ? " SKIP LOCKED" : "");
	return q.data;
}

/* ---- is there an image? --------------------------------------------------------------------- */

/*
 * The query for the latest whole image of a record, I, B or D: $1 is its key, $2 the id of
 * the table, $3 and $4 its names, for logs and triggers without ids.
 */
static char *
probe_query(Baseline *b, const AuditLog *log, const AuditRow *row)
{
	const AuditColumns *columns = &log->columns;
	StringInfoData q;

	b->key_field = !row->nulls[AUDIT_RECORD_ID] ? AUDIT_RECORD_ID :
		!row->nulls[AUDIT_RECORD_KEY] ? AUDIT_RECORD_KEY : AUDIT_KEY_TEXT;
	initStringInfo(&q);
	appendStringInfo(&q, "SELECT %s FROM %s l WHERE ", AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID),
					 NamesQualified(log->relid));
	if (b->key_field == AUDIT_RECORD_KEY)
		appendStringInfo(&q, "pg_catalog.jsonb_hash_extended(%s, 0) OPERATOR(pg_catalog.=) pg_catalog.jsonb_hash_extended($1, 0) "
						 "AND %s OPERATOR(pg_catalog.=) $1",
						 AuditReadColumnAs(columns, AUDIT_RECORD_KEY, JSONBOID),
						 AuditReadColumnAs(columns, AUDIT_RECORD_KEY, JSONBOID));
	else
		appendStringInfo(&q, "%s OPERATOR(pg_catalog.=) $1",
						 b->key_field == AUDIT_RECORD_ID ? AuditReadColumn(columns, AUDIT_RECORD_ID) :
						 AuditReadColumnAs(columns, AUDIT_KEY_TEXT, TEXTOID));
	if (!row->nulls[AUDIT_TABLE_ID])
		appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.=) $2", AuditReadColumn(columns, AUDIT_TABLE_ID));
	else
	{
		appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.=) $3", AuditReadColumnAs(columns, AUDIT_TABLE_NAME, TEXTOID));
		if (columns->attnum[AUDIT_TABLE_SCHEMA])
			appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.=) $4", AuditReadColumnAs(columns, AUDIT_TABLE_SCHEMA, TEXTOID));
	}
	appendStringInfo(&q, " AND %s OPERATOR(pg_catalog.=) ANY (ARRAY['I', 'B', 'D']) ORDER BY %s LIMIT 1",
					 AuditReadColumnAs(columns, AUDIT_ACTION, TEXTOID), AuditReadOrder(columns, true));
	return q.data;
}

/* The plan of that query, for all rows of a log.  As the log's owner. */
static void
prepare_probe(Baseline *b, const AuditLog *log, const AuditRow *row)
{
	char	   *query = probe_query(b, log, row);
	Oid			types[4] = {AuditFieldTypes[b->key_field], INT4OID, TEXTOID, TEXTOID};

	if (b->probe)
		SPI_freeplan(b->probe);
	b->probe = NULL;
	b->probe = SPI_prepare_cursor(query, 4, types, CURSOR_OPT_GENERIC_PLAN);
	if (b->probe == NULL)
		elog(ERROR, "\"%s\" failed: %s", query, SPI_result_code_string(SPI_result));
	SPI_keepplan(b->probe);
	b->logid = log->relid;
}

/* AuditWanted: has the record no image, or was it deleted since? */
static bool
has_no_image(const AuditTable *table, const AuditLog *log, const AuditRow *row, void *arg)
{
	Baseline   *b = arg;
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[4] = {0, row->values[AUDIT_TABLE_ID], table->table_name, table->schema_name};
	char		nulls[4] = {' ', row->nulls[AUDIT_TABLE_ID] ? 'n' : ' ', ' ', ' '};
	Oid			user;
	int			context;
	int			result;
	bool		found;

	/* the table's owner need not be allowed to read the log, and learns nothing of it */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(log->owner, context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS |
						   SECURITY_RESTRICTED_OPERATION);
	if (b->probe == NULL || b->logid != log->relid || row->nulls[b->key_field])
		prepare_probe(b, log, row);
	values[0] = row->values[b->key_field];
	nulls[0] = row->nulls[b->key_field] ? 'n' : ' ';
	result = SPI_execute_plan(b->probe, values, nulls, false, 1);
	SetUserIdAndSecContext(user, context);
	MemoryContextSwitchTo(caller);
	if (result < 0)
		elog(ERROR, "could not look into the audit log: %s", SPI_result_code_string(result));
	found = SPI_processed > 0 && SpiText(0, 1)[0] != 'D';
	SPI_freetuptable(SPI_tuptable);
	return !found;
}

/* ---- a batch ---------------------------------------------------------------------------------- */

/* Keeps the key of the batch's last row. */
static void
note_last(Baseline *b, TupleTableSlot *slot)
{
	MemoryContext oldcontext;

	MemoryContextReset(b->last_cxt);
	oldcontext = MemoryContextSwitchTo(b->last_cxt);
	for (int i = 0; i < b->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(slot->tts_tupleDescriptor, b->keys[i] - 1);

		b->last[i] = datumCopy(slot->tts_values[b->keys[i] - 1], att->attbyval, att->attlen);
	}
	MemoryContextSwitchTo(oldcontext);
	b->begun = true;
}

/* A row of the query as a row of the table, whose dropped columns it lacks. */
static void
fill_slot(TupleTableSlot *slot, HeapTuple tuple, TupleDesc from)
{
	int			n = 0;

	ExecClearTuple(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		slot->tts_isnull[i] = true;
		slot->tts_values[i] = (Datum) 0;
		if (TupleDescAttr(slot->tts_tupleDescriptor, i)->attisdropped)
			continue;
		n++;					/* heap_getattr is a macro in PostgreSQL 14 */
		slot->tts_values[i] = heap_getattr(tuple, n, from, &slot->tts_isnull[i]);
	}
	ExecStoreVirtualTuple(slot);
}

static void
tell_progress(Baseline *b)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now - b->told < USECS_PER_SEC)
		return;
	b->told = now;
	ereport(NOTICE,
			(errmsg("audit_baseline of \"%s\": " INT64_FORMAT " rows looked at, " INT64_FORMAT " written",
					get_rel_name(b->relid), b->seen, b->written)));
}

/*
 * The trigger of an open table, by its OID; 55000 when it is gone.  A copy: the relation
 * cache may build its own anew at any time.
 */
static Trigger *
find_trigger(Baseline *b, Relation rel)
{
	TriggerDesc *triggers = CopyTriggerDesc(rel->trigdesc);

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgoid == b->tgoid)
			return &triggers->triggers[i];
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is not audited any more", RelationGetRelationName(rel)),
			 errhint("Call audit_enable(%s) first.", NamesLiteral(b->relid))));
	return NULL;				/* not reached */
}

static void
do_batch(void *arg)
{
	Baseline   *b = arg;
	Relation	rel = table_open(b->relid, RowShareLock);
	TriggerData trigdata = {.type = T_TriggerData};
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	SPITupleTable *rows;
	uint64		n;
	int64		written = 0;
	TimestampTz at;

	trigdata.tg_event = TRIGGER_EVENT_INSERT | TRIGGER_EVENT_ROW;
	trigdata.tg_relation = rel;
	trigdata.tg_trigger = find_trigger(b, rel);
	SettingsSet("row_security", "off");
	SettingsSet("search_path", "pg_catalog, pg_temp");
	/* a log that is empty yet would be read as a whole, and go on to be */
	SettingsSet("enable_seqscan", "off");
	n = UserCodeQuery(b->owner, batch_query(b, rel), b->begun ? b->nkeys : 0, b->types, b->last, NULL, false);
	rows = SPI_tuptable;
	at = AuditWrittenNow();
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(b->row_cxt);

		fill_slot(slot, rows->vals[i], rows->tupdesc);
		if (AuditWriteRow(&trigdata, b->fnoid, slot, 'B', at, has_no_image, b))
			written++;
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(b->row_cxt);
		if (i == n - 1)
			note_last(b, slot);
	}
	SPI_freetuptable(rows);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	b->more = n == (uint64) b->batch;
	b->seen += n;
	b->written += written;
}

/* ---- the procedure -------------------------------------------------------------------------------- */

/* 42501, 42P01, 42809, 55000 unless the caller may do it, and the table is audited. */
static void
look(Baseline *b)
{
	Relation	rel;
	AuditArgs	args;
	Oid			root;
	List	   *key;
	ListCell   *lc;
	char	   *name = get_rel_name(b->relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", b->relid)));
	if (!object_ownercheck(RelationRelationId, b->relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(b->relid)), name);
	rel = table_open(b->relid, AccessShareLock);
	if (!AuditFindTrigger(b->relid, AuditTriggerFunction(b->fnoid), &args, &root))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not audited", name),
				 errhint("Call audit_enable(%s) first.", NamesLiteral(b->relid))));
	if (root != b->relid)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is audited as a part of \"%s\"", name, get_rel_name(root)),
				 errhint("CALL audit_baseline(%s).", NamesLiteral(root))));
	if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("rows of foreign table \"%s\" cannot be locked", name)));
	b->tgoid = args.tgoid;
	b->owner = rel->rd_rel->relowner;
	key = AuditKeyNames(rel, args.key);
	b->nkeys = list_length(key);
	if (b->nkeys > MAX_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the key of \"%s\" has more than %d columns", name, MAX_KEY)));
	foreach(lc, key)
	{
		int			i = foreach_current_index(lc);

		b->keys[i] = get_attnum(b->relid, lfirst(lc));
		b->types[i] = get_atttype(b->relid, b->keys[i]);
	}
	table_close(rel, AccessShareLock);
}

/* One batch; without the rows in use when they stay so.  False when the table itself is in use. */
static bool
step(Baseline *b)
{
	for (int i = 0; i < 3; i++)
	{
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		b->skip_locked = i == 2;
		error = AuditRunStep(&b->steps, do_batch, b);
		if (error != NULL && !AuditForgivesStep(error))
			ReThrowError(error);
		SpiNextTransaction();
		if (error == NULL)
		{
			b->skipped |= b->skip_locked;
			return true;
		}
	}
	b->skipped = true;
	return false;
}

/*
 * CALL audit_baseline(audited_table, batch, lock_wait)
 */
Datum
audit_baseline(PG_FUNCTION_ARGS)
{
	static const char *const arguments[] = {"audited_table"};
	Baseline   *b;

	ArgsRequireNonatomic(fcinfo, "audit_baseline");
	ArgsRefuseNull(fcinfo, "audit_baseline", arguments, lengthof(arguments));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	b = palloc0(sizeof(Baseline));
	b->cxt = CurrentMemoryContext;
	b->row_cxt = AllocSetContextCreate(b->cxt, "aquacis baseline row", ALLOCSET_DEFAULT_SIZES);
	b->last_cxt = AllocSetContextCreate(b->cxt, "aquacis baseline key", ALLOCSET_SMALL_SIZES);
	b->fnoid = fcinfo->flinfo->fn_oid;
	b->relid = PG_GETARG_OID(0);
	b->batch = PG_ARGISNULL(1) ? 10000 : ArgsInt(fcinfo, 1, "batch", 1, 1000000,
												 "Writers of a batch's rows wait for it; 10000 take less than a second.");
	b->steps.procedure = "audit_baseline";
	b->steps.lock_wait = PG_ARGISNULL(2) ? "2s" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	look(b);
	b->told = GetCurrentTimestamp();
	SpiNextTransaction();
	while (step(b) && b->more)
		tell_progress(b);
	if (b->skipped)
		ereport(WARNING,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("audit_baseline skipped rows of \"%s\" that were in use", get_rel_name(b->relid)),
				 errdetail("Their locks were not granted within lock_wait = '%s'.", b->steps.lock_wait),
				 errhint("Call audit_baseline() again when the long transactions have ended.")));
	ereport(NOTICE,
			(errmsg("audit_baseline of \"%s\": " INT64_FORMAT " rows looked at, " INT64_FORMAT " written",
					get_rel_name(b->relid), b->seen, b->written)));
	if (b->probe)
		SPI_freeplan(b->probe);
	SPI_finish();
	PG_RETURN_VOID();
}
