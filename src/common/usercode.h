/*
 * usercode.h
 *	  Whose code could run when a relation is read, written or planned, and how to
 *	  run it as its owner.
 */
#ifndef AQUACIS_COMMON_USERCODE_H
#define AQUACIS_COMMON_USERCODE_H

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "nodes/params.h"
#include "nodes/pg_list.h"
#include "utils/portal.h"
#include "utils/relcache.h"

/* what UserCodeEnter has changed, for UserCodeLeave */
typedef struct UserCodeScope
{
	int			level;			/* of settings; 0: nothing was changed */
	Oid			user;
	int			context;
} UserCodeScope;

/* takes a row of a query; it runs as the owner, too */
typedef void (*UserCodeRow) (TupleTableSlot *slot, void *arg);

/* a plan in use, from UserCodeTakePlan to UserCodeGivePlan */
typedef struct UserCodePlan
{
	SPIPlanPtr	plan;
	struct KeptPlan *kept;		/* NULL: it is for this call only */
} UserCodePlan;

extern bool UserCodeRoleIsTrusted(Oid role);

extern bool UserCodeInExpression(Node *expr);
extern bool UserCodeTypeIsTrusted(Oid type, Oid trusted);
extern bool UserCodeInType(Oid type, Oid trusted);
extern bool UserCodeInTable(Relation rel);
extern bool UserCodeInIndex(Relation index);
extern char *UserCodeInColumns(Relation rel, Oid trusted);
extern char *UserCodeInTriggers(Oid relid, Oid trusted, bool strict);
extern Oid	UserCodeStranger(List *tables);

extern void UserCodeInitPlans(void);
extern UserCodePlan UserCodeTakePlan(const char *sql, int nargs, Oid *types, Oid user);
extern void UserCodeGivePlan(UserCodePlan use);
extern void UserCodeEnter(UserCodeScope *scope, Oid owner);
extern void UserCodeLeave(UserCodeScope *scope);
extern uint64 UserCodeQuery(Oid owner, const char *sql, int nargs, Oid *types, Datum *values,
							const char *nulls, bool read_only);
extern void UserCodeEachRow(Oid owner, const char *sql, ParamListInfo params, UserCodeRow row, void *arg);
extern void UserCodeEachRowOften(Oid owner, const char *sql, ParamListInfo params, UserCodeRow row, void *arg);
extern Portal UserCodeCursor(Oid owner, const char *sql);
extern void UserCodeFetch(Oid owner, Portal cursor, long rows);

#endif							/* AQUACIS_COMMON_USERCODE_H */
