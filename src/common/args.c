/*
 * args.c
 *	  Checks of a function's arguments, and of where it is called.
 *
 * One fault has one SQLSTATE and one wording in all parts; CONTRIBUTING.md has the list.
 */
#include "postgres.h"

#include "nodes/parsenodes.h"

#include "common/args.h"

/* 22004 for a null among the first n arguments; names[i] is NULL for one that may be null. */
void
ArgsRefuseNull(FunctionCallInfo fcinfo, const char *function, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (names[i] && PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" of %s must not be null", names[i], function)));
}

/* 25001 for a procedure that commits, called where it cannot. */
void
ArgsRequireNonatomic(FunctionCallInfo fcinfo, const char *procedure)
{
	if (fcinfo->context && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("%s commits on its way and cannot run inside a transaction block", procedure),
			 errhint("CALL it by itself, outside BEGIN ... COMMIT and outside functions.")));
}
