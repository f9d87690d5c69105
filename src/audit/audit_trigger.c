/*
 * audit_trigger.c
 *	  fn_audit_trigger: decides whether a change is logged, and as what.
 *
 * An UPDATE first compares the bytes of the old and the new row.  Only columns whose
 * bytes differ are converted to JSON, and only those whose JSON differs are
 * logged; when none does, nothing is.
 *
 * All that is allocated here lives in the trigger's per-row context.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(fn_audit_trigger);

/* Is it the trigger that logs the rows which TRUNCATE removes? */
static bool
wants_images(const Trigger *trigger)
{
	for (int i = 0; i < trigger->tgnargs; i++)
		if (strcmp(trigger->tgargs[i], "images") == 0)
			return true;
	return false;
}

static TriggerData *
check_protocol(FunctionCallInfo fcinfo)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	bool		truncate;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("fn_audit_trigger was not called by a trigger"),
				 errdetail("It is a trigger function."),
				 errhint("Attach it with audit_enable().")));
	truncate = TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event);
	if (truncate && TRIGGER_FIRED_BEFORE(trigdata->tg_event) && wants_images(trigdata->tg_trigger))
		return trigdata;
	if (!TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		(TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event) && !truncate))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("fn_audit_trigger must be fired AFTER, FOR EACH ROW"),
				 errdetail("Trigger \"%s\" on table \"%s\" fires it otherwise.",
						   trigdata->tg_trigger->tgname,
						   RelationGetRelationName(trigdata->tg_relation)),
				 errhint("Make it AFTER INSERT OR UPDATE OR DELETE ... FOR EACH ROW, or AFTER "
						 "TRUNCATE ... FOR EACH STATEMENT; audit_enable() does.")));
	return trigdata;
}

/* ---- data ------------------------------------------------------------------------- */

/* The changed columns from datums, for tuples older than one of the table's columns. */
static int
compare_slots(AuditTable *table, TupleTableSlot *oldslot, TupleTableSlot *newslot,
			  AuditCandidate *out)
{
	int			found = 0;

	slot_getallattrs(oldslot);
	slot_getallattrs(newslot);
	for (int i = 0; i < table->ncols; i++)
	{
		int			a = table->cols[i].attnum - 1;
		AuditCandidate *c = &out[found];

		c->column = i;
		c->oldnull = oldslot->tts_isnull[a];
		c->newnull = newslot->tts_isnull[a];
		c->oldval = oldslot->tts_values[a];
		c->newval = newslot->tts_values[a];
		if (!c->oldnull || !c->newnull)
			found++;
	}
	return found;
}

static int
by_column(const void *a, const void *b)
{
	return ((const AuditCandidate *) a)->column - ((const AuditCandidate *) b)->column;
}

/* The columns that changed, as jsonb; false when none did. */
static bool
diff_row(AuditFiring *firing, TriggerData *trigdata, Datum *result)
{
	AuditTable *table = &firing->table;
	AuditCandidate *candidates = palloc(sizeof(AuditCandidate) * Max(table->ncols, 1));
	AuditColumn **changed;
	AuditValue *olds;
	AuditValue *news;
	int			n = 0;
	int			found = AuditCompareTuples(table, trigdata->tg_trigtuple,
										   trigdata->tg_newtuple, candidates);

	if (found < 0)
		found = compare_slots(table, trigdata->tg_trigslot, trigdata->tg_newslot, candidates);
	if (found == 0)
		return false;
	/* the order of columns is that of the object's keys */
	if (found > 1)
		qsort(candidates, found, sizeof(AuditCandidate), by_column);

	changed = palloc(sizeof(AuditColumn *) * found);
	olds = palloc(sizeof(AuditValue) * found);
	news = palloc(sizeof(AuditValue) * found);
	for (int i = 0; i < found; i++)
	{
		AuditCandidate *c = &candidates[i];
		AuditColumn *col = &table->cols[c->column];

		if (c->oldnull == c->newnull && AuditSameDatum(col, c->oldval, c->newval))
			continue;
		AuditConvertColumn(firing, col, c->oldval, c->oldnull, &olds[n]);
		AuditConvertColumn(firing, col, c->newval, c->newnull, &news[n]);
		if (!AuditSameValue(&olds[n], &news[n]))
		{
			changed[n++] = col;
			firing->key_changed |= col->in_key;
		}
	}
	if (n == 0)
		return false;
	*result = AuditBuildDiff(&table->pair, changed, olds, news, n);
	return true;
}

/* ---- the trigger -------------------------------------------------------------------- */

/* The row of the log; false when the change is none. */
static bool
describe_change(AuditFiring *firing, AuditLog *log, TriggerData *trigdata, AuditRow *row)
{
	TupleTableSlot *slot = trigdata->tg_trigslot;
	char		action;

	memset(row->nulls, true, sizeof(row->nulls));
	if (TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
		action = 'T';
	else if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
	{
		action = 'U';
		if (!diff_row(firing, trigdata, &row->values[AUDIT_CHANGED_FIELDS]))
			return false;
		row->nulls[AUDIT_CHANGED_FIELDS] = false;
	}
	else
	{
		AuditField	field;

		action = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ? 'I' : 'D';
		field = action == 'I' ? AUDIT_NEW_DATA : AUDIT_OLD_DATA;
		slot_getallattrs(slot);
		row->values[field] = AuditFullRow(firing, slot);
		row->nulls[field] = false;
	}
	if (action != 'T')
		AuditFillKey(firing, log, slot, row);
	if (firing->key_changed && log->columns.attnum[AUDIT_NEW_KEY])
	{
		slot_getsomeattrs(trigdata->tg_newslot, firing->table.last_key);
		row->values[AUDIT_NEW_KEY] = AuditKeyObject(firing, trigdata->tg_newslot);
		row->nulls[AUDIT_NEW_KEY] = false;
	}
	AuditFillRest(&firing->table, log, action,
				  log->columns.attnum[AUDIT_WRITTEN_AT] ? AuditWrittenAt(trigdata) : 0, row);
	return true;
}

/*
 * fn_audit_trigger: logs the change that fired it.  AFTER, FOR EACH ROW, or TRUNCATE FOR
 * EACH STATEMENT; with the argument images, BEFORE TRUNCATE.  39P01 otherwise.
 */
Datum
fn_audit_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = check_protocol(fcinfo);
	AuditTable *table;
	AuditFiring firing;
	AuditLog   *log;
	AuditRow	row;
	bool		changed;

	if (unlikely(TRIGGER_FIRED_BEFORE(trigdata->tg_event)))
	{
		AuditLogImages(trigdata, fcinfo->flinfo->fn_oid);
		return PointerGetDatum(NULL);
	}
	AuditOpenTable(trigdata, fcinfo->flinfo->fn_oid, &table, &log);
	if (unlikely(table->silent[SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA] &
				 AUDIT_SEES(trigdata->tg_event)))
		return PointerGetDatum(NULL);	/* logged by the trigger of a table above */
	AuditBeginFiring(&firing, table);
	changed = describe_change(&firing, log, trigdata, &row);
	error_context_stack = firing.context.previous;
	if (changed)
		AuditLogInsert(log, &row);
	AuditEndFiring(&firing, table);

	return PointerGetDatum(NULL);
}
