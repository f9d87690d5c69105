/*
 * usercode_plans.c
 *	  Plans of queries that are asked again and again, kept for the session.
 *
 * To parse and plan a query costs more than to look up a record by an index.  So the plans
 * of the last queries are kept, and found by all that can make two of them differ: the text,
 * the types of the parameters, the role that asks (names are looked up with its rights on
 * schemas), and the role that the query is run as.  What is another value each time belongs
 * into a parameter.
 *
 * A plan that is kept gives what a new one would:
 *	- PostgreSQL marks it when a table, a type, a function or a schema that it needs was
 *	  changed or dropped, when the search path is another one, and when row security must
 *	  look at another role.  UserCodeTakePlan has it parsed again then, by the role that asks, before
 *	  anybody becomes another role.  It is planned again when it is run.
 *	- What PostgreSQL does not mark it for, a change of roles and of who is a member of
 *	  which, makes us forget all of them.
 *	- Rights on tables are checked at each run.
 *
 * PostgreSQL plans five times with the values of the parameters, and then decides by the
 * estimated costs whether a plan for all values will do.  It prices the planning low.  A query
 * that is kept here is one for which planning is most of the work, so the plan for all values
 * may cost up to GENERIC_FACTOR times as much; beyond that something is amiss (a value that
 * most rows have), and PostgreSQL's decision stands.
 *
 * A plan that is being run is not freed, and not forgotten before its last run ends: code that
 * a query runs can ask the same question again.  `uses` counts the runs; the caller gives the
 * plan back after an error, too (PG_FINALLY).
 *
 * At most MAX_KEPT plans are kept; the one that was not asked for the longest time goes.
 * Each has a memory context of its own below CacheMemoryContext, beside those of SPI.  All
 * of it ends with the session.  Other sessions notice nothing; a plan that is kept holds no lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "common/usercode.h"

#define MAX_KEPT	32

/* how much more than one that knows the parameters a plan for all parameters may cost */
#define GENERIC_FACTOR	4

typedef struct KeptPlan
{
	MemoryContext context;		/* of sql and types; NULL: a free place */
	uint32		hash;			/* of sql */
	char	   *sql;
	int			nargs;
	Oid		   *types;
	Oid			asker;
	Oid			user;			/* that it is run as */
	SPIPlanPtr	plan;
	int			uses;			/* runs that are on their way */
	bool		forgotten;		/* not to be used again */
	uint64		last;			/* when it was taken last: the number of that call */
} KeptPlan;

static KeptPlan kept[MAX_KEPT];
static uint64 takes = 0;

/* A role was changed, or who is a member of it. */
static void
forget_all(Datum arg, int cacheid, uint32 hashvalue)
{
	for (int i = 0; i < MAX_KEPT; i++)
		kept[i].forgotten = true;
}

/* Once, when the library is loaded. */
void
UserCodeInitPlans(void)
{
	CacheRegisterSyscacheCallback(AUTHOID, forget_all, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_all, (Datum) 0);
}

static bool
is_for(const KeptPlan *k, uint32 hash, const char *sql, int nargs, const Oid *types, Oid user)
{
	return k->context != NULL && !k->forgotten && k->hash == hash && k->user == user &&
		k->asker == GetUserId() && k->nargs == nargs && strcmp(k->sql, sql) == 0 &&
		memcmp(k->types, types, sizeof(Oid) * nargs) == 0;
}

static void
free_place(KeptPlan *k)
{
	SPIPlanPtr	plan = k->plan;
	MemoryContext context = k->context;

	memset(k, 0, sizeof(*k));
	SPI_freeplan(plan);
	MemoryContextDelete(context);
}

/* A free place, made if need be; NULL: all plans are being run. */
static KeptPlan *
find_place(void)
{
	KeptPlan   *oldest = NULL;

	for (int i = 0; i < MAX_KEPT; i++)
	{
		KeptPlan   *k = &kept[i];

		if (k->context != NULL && k->forgotten && k->uses == 0)
			free_place(k);
		if (k->context == NULL)
			return k;
		if (k->uses == 0 && (oldest == NULL || k->last < oldest->last))
			oldest = k;
	}
	if (oldest != NULL)
		free_place(oldest);
	return oldest;
}

static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL)
		elog(ERROR, "\"%s\" failed: %s", sql, SPI_result_code_string(SPI_result));
	return plan;
}

/* Keeps a plan; false: there is no room. */
static bool
keep(KeptPlan *k, SPIPlanPtr plan, uint32 hash, const char *sql, int nargs, const Oid *types, Oid user)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "aquacis kept plan",
												  ALLOCSET_SMALL_SIZES);
	char	   *text = MemoryContextStrdup(context, sql);
	Oid		   *copy = MemoryContextAlloc(context, sizeof(Oid) * Max(nargs, 1));

	memcpy(copy, types, sizeof(Oid) * nargs);
	if (SPI_keepplan(plan) != 0)
		return false;
	/* no error can come between */
	MemoryContextSetParent(context, CacheMemoryContext);
	k->context = context;
	k->hash = hash;
	k->sql = text;
	k->nargs = nargs;
	k->types = copy;
	k->asker = GetUserId();
	k->user = user;
	k->plan = plan;
	k->forgotten = false;
	return true;
}

/* Settles whether PostgreSQL plans for the parameters of each call. */
static void
choose_generic(CachedPlanSource *source)
{
	source->cursor_options &= ~CURSOR_OPT_GENERIC_PLAN;
	if (source->num_custom_plans > 0 && source->generic_cost >= 0 &&
		source->generic_cost < GENERIC_FACTOR * source->total_custom_cost / source->num_custom_plans)
		source->cursor_options |= CURSOR_OPT_GENERIC_PLAN;
}

/*
 * The plan of one query, parsed by the current role, to be run as `user`; within an SPI
 * connection, and under the search path that it is to be run under.  The caller holds locks
 * on the tables that the query names.  Raises what parsing raises.  Each is given back by
 * UserCodeGivePlan, after an error, too.
 */
UserCodePlan
UserCodeTakePlan(const char *sql, int nargs, Oid *types, Oid user)
{
	MemoryContext caller = CurrentMemoryContext;
	uint32		hash = hash_bytes((const unsigned char *) sql, strlen(sql));
	UserCodePlan use = {NULL, NULL};
	KeptPlan   *k = NULL;

	AcceptInvalidationMessages();
	for (int i = 0; i < MAX_KEPT && k == NULL; i++)
		if (is_for(&kept[i], hash, sql, nargs, types, user))
			k = &kept[i];
	if (k != NULL)
	{
		CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(k->plan));

		/* parses the text again if it must be, as it would be when the plan is run */
		(void) CachedPlanGetTargetList(source, NULL);
		choose_generic(source);
		/* that may have told us of a change of roles */
		if (k->forgotten)
			k = NULL;
	}
	if (k == NULL)
	{
		use.plan = prepare(sql, nargs, types);
		k = find_place();
		if (k != NULL && !keep(k, use.plan, hash, sql, nargs, types, user))
			k = NULL;
	}
	MemoryContextSwitchTo(caller);
	if (k != NULL)
	{
		use.plan = k->plan;
		use.kept = k;
		k->uses++;
		k->last = ++takes;
	}
	return use;
}

/* The end of a run.  A plan that is not kept goes with the SPI connection. */
void
UserCodeGivePlan(UserCodePlan use)
{
	if (use.kept != NULL)
		use.kept->uses--;
}
