/*
 * usercode_run.c
 *	  To run what belongs to a role as that role: the second half of usercode.c, which
 *	  says why.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/memutils.h"

#include "common/settings.h"
#include "common/usercode.h"

static void
begin_settings(UserCodeScope *scope)
{
	GetUserIdAndSecContext(&scope->user, &scope->context);
	scope->level = SettingsBegin();
	SettingsSet("search_path", "pg_catalog, pg_temp");
}

static void
become(UserCodeScope *scope, Oid owner)
{
	SetUserIdAndSecContext(owner, scope->context | SECURITY_RESTRICTED_OPERATION);
}

/*
 * From here to UserCodeLeave everything runs as the owner of a relation, unless the
 * current user trusts that owner anyway: then nothing changes.  What was looked up
 * or asked of rights before is the caller's to do.  After an error, the end of the
 * (sub)transaction takes the place of UserCodeLeave.
 */
void
UserCodeEnter(UserCodeScope *scope, Oid owner)
{
	scope->level = 0;
	if (UserCodeRoleIsTrusted(owner))
		return;
	begin_settings(scope);
	become(scope, owner);
}

/* What the owner's code has changed of the settings is undone, whichever way it did so. */
void
UserCodeLeave(UserCodeScope *scope)
{
	if (scope->level == 0)
		return;
	SettingsEnd(scope->level);
	SetUserIdAndSecContext(scope->user, scope->context);
	scope->level = 0;
}

/*
 * A plan that is parsed with the rights of the current user, who may use schemas that
 * the owner may not, and then run as the owner: parsing finds names and computes
 * nothing, as long as there are no literals of types that are not the server's.
 */
static SPIPlanPtr
prepare_as(UserCodeScope *scope, Oid owner, const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr	plan;

	scope->level = 0;
	if (!UserCodeRoleIsTrusted(owner))
		begin_settings(scope);
	plan = SPI_prepare(sql, nargs, types);
	if (plan == NULL)
		elog(ERROR, "\"%s\" failed: %s", sql, SPI_result_code_string(SPI_result));
	if (scope->level != 0)
		become(scope, owner);
	return plan;
}

/*
 * One command, planned and executed as the owner; within an SPI connection.  Returns
 * SPI_processed; what it returns is in SPI_tuptable.  The caller's memory context stays
 * the current one.
 */
uint64
UserCodeQuery(Oid owner, const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
			  bool read_only)
{
	MemoryContext caller = CurrentMemoryContext;
	UserCodeScope scope;
	SPIPlanPtr	plan = prepare_as(&scope, owner, sql, nargs, types);
	int			result = SPI_execute_plan(plan, values, nulls, read_only, 0);

	UserCodeLeave(&scope);
	MemoryContextSwitchTo(caller);
	if (result < 0)
		elog(ERROR, "\"%s\" failed: %s", sql, SPI_result_code_string(result));
	SPI_freeplan(plan);
	return SPI_processed;
}

/* Where the executor sends the rows of UserCodeEachRow. */
typedef struct RowReceiver
{
	DestReceiver base;
	UserCodeRow row;
	void	   *arg;
	MemoryContext context;		/* the current one in row() */
} RowReceiver;

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);

	receiver->row(slot, receiver->arg);
	MemoryContextSwitchTo(old);
	return true;
}

static void
receive_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receive_nothing(DestReceiver *self)
{
}

/* Runs a plan, the rows to `receiver`; the context that is current then is not the caller's. */
static void
send_rows(SPIPlanPtr plan, const char *sql, ParamListInfo params, RowReceiver *receiver)
{
	SPIExecuteOptions options = {0};
	int			result;

	options.params = params;
	options.read_only = true;
	options.dest = &receiver->base;
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		elog(ERROR, "\"%s\" failed: %s", sql, SPI_result_code_string(result));
}

static Oid *
types_of(ParamListInfo params, int nargs)
{
	Oid		   *types = palloc(sizeof(Oid) * Max(nargs, 1));

	for (int i = 0; i < nargs; i++)
		types[i] = params->params[i].ptype;
	return types;
}

/*
 * One query, planned and executed as the owner, with the caller's snapshot; within an SPI
 * connection.  row(slot, arg) is called for each row while the query runs: nothing is
 * kept.  It may be in the middle of a page, so it must not commit.  The types of the
 * parameters are in params, which may be NULL.  The caller's memory context is the
 * current one, in row() too.
 */
void
UserCodeEachRow(Oid owner, const char *sql, ParamListInfo params, UserCodeRow row, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	RowReceiver receiver = {{receive_row, receive_startup, receive_nothing, receive_nothing, DestTuplestore}, row, arg, caller};
	int			nargs = params ? params->numParams : 0;
	UserCodeScope scope;
	SPIPlanPtr	plan = prepare_as(&scope, owner, sql, nargs, types_of(params, nargs));

	send_rows(plan, sql, params, &receiver);
	UserCodeLeave(&scope);
	MemoryContextSwitchTo(caller);
	SPI_freeplan(plan);
}

/*
 * The same for a query that is asked often with other parameters: its plan is kept (usercode_plans.c).
 * The caller holds locks on the tables that it names.
 */
void
UserCodeEachRowOften(Oid owner, const char *sql, ParamListInfo params, UserCodeRow row, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	RowReceiver receiver = {{receive_row, receive_startup, receive_nothing, receive_nothing, DestTuplestore}, row, arg, caller};
	int			nargs = params ? params->numParams : 0;
	bool		trusted = UserCodeRoleIsTrusted(owner);
	UserCodeScope scope;
	UserCodePlan use;

	scope.level = 0;
	if (!trusted)
		begin_settings(&scope);
	use = UserCodeTakePlan(sql, nargs, types_of(params, nargs), trusted ? GetUserId() : owner);
	PG_TRY();
	{
		if (!trusted)
			become(&scope, owner);
		send_rows(use.plan, sql, params, &receiver);
	}
	PG_FINALLY();
	{
		UserCodeGivePlan(use);
	}
	PG_END_TRY();
	UserCodeLeave(&scope);
	MemoryContextSwitchTo(caller);
}

/* The same for results that are read in portions. */
Portal
UserCodeCursor(Oid owner, const char *sql)
{
	MemoryContext caller = CurrentMemoryContext;
	UserCodeScope scope;
	SPIPlanPtr	plan = prepare_as(&scope, owner, sql, 0, NULL);

	/* not "read only": that would need a snapshot, which a new transaction has not */
	Portal		cursor = SPI_cursor_open(NULL, plan, NULL, NULL, false);

	UserCodeLeave(&scope);
	MemoryContextSwitchTo(caller);
	SPI_freeplan(plan);
	return cursor;
}

/* The next rows of a cursor, into SPI_tuptable and SPI_processed. */
void
UserCodeFetch(Oid owner, Portal cursor, long rows)
{
	MemoryContext caller = CurrentMemoryContext;
	UserCodeScope scope;

	UserCodeEnter(&scope, owner);
	SPI_cursor_fetch(cursor, true, rows);
	UserCodeLeave(&scope);
	MemoryContextSwitchTo(caller);
}
