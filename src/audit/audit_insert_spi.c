/*
 * audit_insert_spi.c
 *	  A finished row through the executor, where it cannot go straight into a
 *	  partition (audit_insert.c says when).
 *
 * There is one saved plan per log: INSERT INTO log (columns) VALUES ($1, ...).  It runs as the
 * log's owner with search_path = pg_catalog, pg_temp, and so do the log's triggers,
 * CHECK functions and the like: the user whose change is logged may have no right
 * on any of it, and must not be able to have an own function called in place of theirs.
 * As in the queries of foreign keys, SET ROLE is refused, and RLS of the log does not
 * apply.
 *
 * In turn, the log's owner must not get at the user who makes the change.  Unless the
 * user trusts that owner (a superuser, or the same role), all of it is a
 * security-restricted operation: the owner's triggers make no temporary object, which
 * the user's next statement would find before its own.  Such an operation knows no
 * deferred constraints, so those of the log are made immediate for the rest of the
 * transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"

/* what the plan's parameters are, in the log's context */
typedef struct AuditPlan
{
	SPIPlanPtr	plan;
	int			n;
	AuditField *fields;			/* AUDIT_NFIELDS: a value of the sequence */
	Oid		   *sequences;
	Datum	   *values;
	char	   *nulls;
	char	   *immediate;		/* SET CONSTRAINTS of the log's deferrable ones, or NULL */
	uint64		immediate_at;	/* equals audit_lock_epoch: that has been done */
} AuditPlan;

static void
add_column(AuditPlan *plan, Form_pg_attribute att, AuditField field, Oid seqid, Oid *types,
		   StringInfo columns, StringInfo params)
{
	Oid			typid = seqid ? INT8OID : AuditFieldTypes[field];
	int			n = plan->n++;

	plan->fields[n] = field;
	plan->sequences[n] = seqid;
	types[n] = typid;
	appendStringInfo(columns, "%s%s", n ? ", " : "", quote_identifier(NameStr(att->attname)));
	appendStringInfo(params, "%s$%d", n ? ", " : "", n + 1);
	if (!can_coerce_type(1, &typid, &att->atttypid, COERCION_ASSIGNMENT))
		appendStringInfo(params, "::%s", format_type_with_typemod(att->atttypid, att->atttypmod));
}

/* Appends the deferrable constraints that fire triggers on a relation. */
static void
add_deferrable(Oid relid, StringInfo names)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);

	if (rel == NULL)
		return;
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];
		char	   *name = trigger->tgdeferrable ? get_constraint_name(trigger->tgconstraint) : NULL;

		if (name != NULL)
			appendStringInfo(names, "%s%s", names->len ? ", " : "",
							 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
														name));
	}
	relation_close(rel, NoLock);
}

static char *
immediate_constraints(AuditLog *log)
{
	StringInfoData names;

	initStringInfo(&names);
	add_deferrable(log->relid, &names);
	if (OidIsValid(log->leaf->relid) && log->leaf->relid != log->relid)
		add_deferrable(log->leaf->relid, &names);
	return names.len ? psprintf("SET CONSTRAINTS %s IMMEDIATE", names.data) : NULL;
}

/*
 * The plan of a log, saved; what it needs is in the log's context.  Within an SPI
 * connection, as the log's owner.
 */
static AuditPlan *
make_plan(AuditLog *log)
{
	Relation	rel = table_open(log->relid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	MemoryContext oldcontext = MemoryContextSwitchTo(log->cxt);
	AuditPlan  *plan = palloc0(sizeof(AuditPlan));
	Oid		   *types = palloc(sizeof(Oid) * desc->natts);
	bool		sequences = false;
	StringInfoData columns;
	StringInfoData params;

	plan->fields = palloc(sizeof(AuditField) * desc->natts);
	plan->sequences = palloc(sizeof(Oid) * desc->natts);
	plan->values = palloc(sizeof(Datum) * desc->natts);
	plan->nulls = palloc(desc->natts + 1);
	initStringInfo(&columns);
	initStringInfo(&params);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AuditField	field;
		Oid			seqid;

		if (att->attisdropped || att->attgenerated)
			continue;
		field = AuditFieldOf(att);
		if (field != AUDIT_NFIELDS && log->columns.attnum[field] != att->attnum)
			field = AUDIT_NFIELDS;
		seqid = field == AUDIT_NFIELDS ? AuditColumnSequence(rel, att->attnum) : InvalidOid;
		if (field == AUDIT_NFIELDS && !OidIsValid(seqid))
			continue;
		add_column(plan, att, field, seqid, types, &columns, &params);
		sequences |= OidIsValid(seqid);
	}
	plan->immediate = immediate_constraints(log);
	MemoryContextSwitchTo(oldcontext);

	plan->plan = SPI_prepare(psprintf("INSERT INTO %s (%s)%s VALUES (%s)", NamesQualified(log->relid),
									  columns.data,
									  sequences ? " OVERRIDING SYSTEM VALUE" : "", params.data),
							 plan->n, types);
	if (plan->plan == NULL)
		elog(ERROR, "could not prepare the insertion into the audit log: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan->plan);
	table_close(rel, NoLock);
	return plan;
}

/* Frees the saved plan; the rest goes with the context of the log. */
void
AuditSpiFree(struct AuditPlan *plan)
{
	if (plan->plan)
		SPI_freeplan(plan->plan);
}

/*
 * Inserts a row into a log that is set up (AuditLogGet), as the log's owner.  Raises what
 * the log's own constraints, triggers and rights raise.
 */
void
AuditSpiInsert(AuditLog *log, AuditRow *row)
{
	AuditPlan  *plan;
	Oid			saved_user;
	int			saved_context;
	int			level;
	int			result;
	bool		restricted = !UserCodeRoleIsTrusted(log->owner);

	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(log->owner, saved_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS |
						   (restricted ? SECURITY_RESTRICTED_OPERATION : 0));
	level = SettingsBegin();
	SettingsSet("search_path", "pg_catalog, pg_temp");
	SPI_connect();

	log->in_use++;
	if (log->plan == NULL)
		log->plan = make_plan(log);
	plan = log->plan;
	if (restricted && plan->immediate && plan->immediate_at != audit_lock_epoch)
	{
		SpiRun(plan->immediate);
		plan->immediate_at = audit_lock_epoch;
	}
	for (int i = 0; i < plan->n; i++)
	{
		if (plan->sequences[i])
		{
			plan->values[i] = Int64GetDatum(AuditNextval(plan->sequences[i]));
			plan->nulls[i] = ' ';
			continue;
		}
		plan->values[i] = row->values[plan->fields[i]];
		plan->nulls[i] = row->nulls[plan->fields[i]] ? 'n' : ' ';
	}
	result = SPI_execute_plan(plan->plan, plan->values, plan->nulls, false, 0);
	if (result < 0)
		elog(ERROR, "could not insert into the audit log: %s", SPI_result_code_string(result));
	log->in_use--;

	SPI_finish();
	SettingsEnd(level);
	SetUserIdAndSecContext(saved_user, saved_context);
}
