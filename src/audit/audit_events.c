/*
 * audit_events.c
 *	  Which changes of a table the audit really sees.
 *
 * A table can have several triggers of ours: two of audit_enable(), clones of the triggers
 * of the partitioned tables above it, others made by hand.  Each sees some of INSERT,
 * UPDATE, DELETE and TRUNCATE; it can be disabled, fire for some columns only (UPDATE OF)
 * or under a condition (WHEN).  All that is a row of pg_trigger.  It is read without a
 * lock on the table, so that anybody can ask at any time.
 *
 * A partition that was audited itself when it was attached has a trigger of its own
 * and the clone of its parent's.  One change is logged once: the trigger of the topmost
 * table logs it, under that table's name, as it does for all other partitions.  A trigger
 * further down is silent for what that one sees without a limit, into the same log.  It
 * speaks again when the partition is detached.  TRUNCATE is no such case: its triggers
 * are not cloned.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/indexing.h"
#include "catalog/partition.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/catalog.h"
#include "common/names.h"

/* the events in the order in which they are shown; a bit of each in masks */
static const struct
{
	int			bit;
	char		letter;
}			events[] = {
	{AUDIT_SEES_INSERT, 'I'},
	{AUDIT_SEES_UPDATE, 'U'},
	{AUDIT_SEES_DELETE, 'D'},
	{AUDIT_SEES_TRUNCATE, 'T'}
};

/* ---- reading ------------------------------------------------------------------------ */

/* What a trigger of ours sees.  Fired in another way than these, it raises an error. */
static int
events_of(int16 type)
{
	int			sees = 0;

	if (!TRIGGER_FOR_AFTER(type))
		return 0;
	if (!TRIGGER_FOR_ROW(type))
		return TRIGGER_FOR_TRUNCATE(type) ? AUDIT_SEES_TRUNCATE : 0;
	if (TRIGGER_FOR_INSERT(type))
		sees |= AUDIT_SEES_INSERT;
	if (TRIGGER_FOR_UPDATE(type))
		sees |= AUDIT_SEES_UPDATE;
	if (TRIGGER_FOR_DELETE(type))
		sees |= AUDIT_SEES_DELETE;
	return sees;
}

static AuditTrigger *
read_trigger(CatalogRows *rows, HeapTuple tuple)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
	AuditTrigger *trigger = palloc0(sizeof(AuditTrigger));

	trigger->oid = form->oid;
	trigger->relid = form->tgrelid;
	trigger->rootid = AuditTriggerRoot(form->oid, form->tgrelid);
	trigger->fnoid = form->tgfoid;
	trigger->enabled = form->tgenabled;
	trigger->sees = events_of(form->tgtype);
	trigger->for_rows = TRIGGER_FOR_ROW(form->tgtype);
	trigger->conditional = !heap_attisnull(tuple, Anum_pg_trigger_tgqual, RelationGetDescr(rows->catalog));
	for (int i = 0; i < form->tgattr.dim1; i++)
		trigger->columns = lappend_int(trigger->columns, form->tgattr.values[i]);
	strlcpy(trigger->name, NameStr(form->tgname), NAMEDATALEN);
	trigger->readable = AuditReadArgs(tuple, RelationGetDescr(rows->catalog), &trigger->args);
	return trigger;
}

static int
by_table_and_name(const ListCell *a, const ListCell *b)
{
	const AuditTrigger *x = lfirst(a);
	const AuditTrigger *y = lfirst(b);

	if (x->relid != y->relid)
		return x->relid < y->relid ? -1 : 1;
	return strcmp(x->name, y->name);
}

/*
 * The triggers that call fnoid, of one table or (InvalidOid) of all: a list of AuditTrigger,
 * by table and name, in the current context.
 */
List *
AuditTriggersOf(Oid relid, Oid fnoid)
{
	CatalogRows rows;
	HeapTuple	tuple;
	List	   *found = NIL;

	if (OidIsValid(relid))
		CatalogBegin(&rows, TriggerRelationId, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relid);
	else
		CatalogBeginAll(&rows, TriggerRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		if (((Form_pg_trigger) GETSTRUCT(tuple))->tgfoid == fnoid)
			found = lappend(found, read_trigger(&rows, tuple));
	}
	CatalogEnd(&rows);
	list_sort(found, by_table_and_name);
	return found;
}

/* The log that a trigger writes to; InvalidOid if that cannot be said.  Raises nothing. */
Oid
AuditTriggerLog(AuditTrigger *trigger)
{
	if (!trigger->resolved && trigger->readable)
	{
		AuditReadBinding(trigger->oid, &trigger->args);
		trigger->logid = AuditResolveLog(&trigger->args, trigger->fnoid, trigger->rootid, true);
	}
	trigger->resolved = true;
	return trigger->logid;
}

/* ---- what is seen ------------------------------------------------------------------- */

static bool
same_log(AuditTrigger *a, AuditTrigger *b)
{
	return OidIsValid(AuditTriggerLog(a)) && AuditTriggerLog(a) == AuditTriggerLog(b);
}

/* Does the trigger see all of these changes, not those of some columns or conditions only? */
static bool
sees_all(const AuditTrigger *trigger, int bit)
{
	return (trigger->sees & bit) != 0 && !trigger->conditional &&
		(bit != AUDIT_SEES_UPDATE || trigger->columns == NIL);
}

/* Does a trigger fire in a session of this session_replication_role? */
static bool
fires(const AuditTrigger *trigger, bool replica)
{
	return trigger->enabled == TRIGGER_FIRES_ALWAYS ||
		trigger->enabled == (replica ? TRIGGER_FIRES_ON_REPLICA : TRIGGER_FIRES_ON_ORIGIN);
}

/*
 * The trigger of a table above that logs this event in place of this one; NULL: none does.
 * replica: in a session that applies replicated changes.
 */
static AuditTrigger *
spoken_for(List *triggers, AuditTrigger *trigger, int bit, bool replica)
{
	AuditTrigger *found = NULL;
	ListCell   *lc;

	if (bit == AUDIT_SEES_TRUNCATE)
		return NULL;
	foreach(lc, triggers)
	{
		AuditTrigger *other = lfirst(lc);

		if (other->relid != trigger->relid || !other->for_rows || !sees_all(other, bit) ||
			!fires(other, replica))
			continue;
		if (!list_member_oid(get_partition_ancestors(trigger->rootid), other->rootid) ||
			!same_log(other, trigger))
			continue;
		/* the topmost, if there are several */
		if (found == NULL || list_member_oid(get_partition_ancestors(found->rootid), other->rootid))
			found = other;
	}
	return found;
}

/*
 * The events, bits of AUDIT_SEES_, for which this trigger is silent because one of a table
 * above logs them.  triggers: all of the table, as AuditTriggersOf() gives them.  replica:
 * in a session that applies replicated changes.
 */
int
AuditSilentEvents(List *triggers, Oid tgoid, bool replica)
{
	int			silent = 0;
	ListCell   *lc;

	foreach(lc, triggers)
	{
		AuditTrigger *trigger = lfirst(lc);

		if (trigger->oid != tgoid)
			continue;
		for (int i = 0; i < lengthof(events); i++)
			if (spoken_for(triggers, trigger, events[i].bit, replica) != NULL)
				silent |= events[i].bit;
	}
	return silent;
}

/*
 * The events of a table that are logged whoever makes the change, as bits of AUDIT_SEES_.
 * *some, if given: those of which some are.  Clones count.  triggers: those of the table.
 */
int
AuditEventsSeen(List *triggers, int *some)
{
	int			all = 0;
	int			any = 0;
	ListCell   *lc;

	foreach(lc, triggers)
	{
		const AuditTrigger *trigger = lfirst(lc);

		if (trigger->enabled == TRIGGER_DISABLED)
			continue;
		any |= trigger->sees;
		if (!fires(trigger, false))
			continue;
		for (int i = 0; i < lengthof(events); i++)
			if (sees_all(trigger, events[i].bit))
				all |= events[i].bit;
	}
	if (some)
		*some = any;
	return all;
}

/* ---- in words -------------------------------------------------------------------------- */

static const char *
columns_text(const AuditTrigger *trigger)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, trigger->columns)
	{
		const char *name = get_attname(trigger->relid, lfirst_int(lc), true);

		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", name ? quote_identifier(name) : "?");
	}
	return psprintf(" OF (%s)", text.data);
}

/* The same in sessions of the kind for which the trigger is meant. */
static AuditTrigger *
speaker_of(List *triggers, AuditTrigger *trigger, int bit)
{
	return spoken_for(triggers, trigger, bit, trigger->enabled == TRIGGER_FIRES_ON_REPLICA);
}

/* What one trigger sees of an event: "U OF (a, b) WHEN" */
static char *
event_text(List *triggers, AuditTrigger *trigger, int bit, char letter)
{
	AuditTrigger *speaker = speaker_of(triggers, trigger, bit);

	return psprintf("%c%s%s%s%s%s", letter,
					bit == AUDIT_SEES_UPDATE && trigger->columns != NIL ? columns_text(trigger) : "",
					trigger->conditional ? " WHEN" : "",
					trigger->enabled == TRIGGER_FIRES_ON_REPLICA ? " REPLICA" : "",
					speaker ? " AS " : "", speaker ? NamesQualified(speaker->rootid) : "");
}

/* Does the trigger log each change of this kind, in an ordinary session? */
static bool
logs_all(List *triggers, AuditTrigger *trigger, int bit)
{
	return sees_all(trigger, bit) && fires(trigger, false) &&
		spoken_for(triggers, trigger, bit, false) == NULL;
}

/* Do two triggers log each change of this kind, into the same log? */
static bool
logged_twice(List *triggers, int bit)
{
	ListCell   *a;
	ListCell   *b;

	foreach(a, triggers)
	{
		foreach(b, triggers)
		{
			if (lfirst(a) == lfirst(b))
				break;
			if (logs_all(triggers, lfirst(a), bit) && logs_all(triggers, lfirst(b), bit) &&
				same_log(lfirst(a), lfirst(b)))
				return true;
		}
	}
	return false;
}

static int
by_text(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* Appends one event as the triggers that were made on this table see it. */
static void
append_event(StringInfo text, List *triggers, Oid relid, int bit, char letter)
{
	List	   *items = NIL;
	const char *before = "";
	bool		plain = false;
	ListCell   *lc;

	foreach(lc, triggers)
	{
		AuditTrigger *trigger = lfirst(lc);

		if (trigger->rootid != relid || trigger->enabled == TRIGGER_DISABLED || (trigger->sees & bit) == 0)
			continue;
		plain |= logs_all(triggers, trigger, bit);
		items = lappend(items, event_text(triggers, trigger, bit, letter));
	}
	if (plain)
		items = list_make1(psprintf("%c%s", letter, logged_twice(triggers, bit) ? " TWICE" : ""));
	list_sort(items, by_text);
	foreach(lc, items)
	{
		if (strcmp(before, lfirst(lc)) != 0)
			appendStringInfo(text, "%s%s", text->len > 0 ? "," : "", (char *) lfirst(lc));
		before = lfirst(lc);
	}
}

/*
 * The events that the triggers made on a table see: "I,U,D,T" where nothing is missing.
 * Behind the letter: OF (columns) or WHEN, if only some changes are seen; REPLICA, if only
 * replicated ones; AS table, if a table above logs them; TWICE, if two triggers do.
 * Disabled triggers are left out.  triggers: all of the table.  In the current context.
 */
char *
AuditEventsText(List *triggers, Oid relid)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(events); i++)
		append_event(&text, triggers, relid, events[i].bit, events[i].letter);
	return text.data;
}
