/*
 * front.c
 *	  A module for t/server_other_software.pl: makes a table the front of another.
 *
 * An INSERT into a table x goes into x_chunk of the same schema, where there is
 * such a table: what TimescaleDB does with a hypertable, as far as anybody but
 * TimescaleDB can tell, in an extension that a test can build in a second.
 */
#include "postgres.h"

#include "fmgr.h"
#include "optimizer/planner.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static planner_hook_type next_hook = NULL;

static void
redirect(Query *query)
{
	RangeTblEntry *target = rt_fetch(query->resultRelation, query->rtable);
	Oid			chunk = get_relname_relid(psprintf("%s_chunk", get_rel_name(target->relid)),
										  get_rel_namespace(target->relid));

	if (!OidIsValid(chunk))
		return;
	LockRelationOid(chunk, RowExclusiveLock);
	/* 16: rights are looked up beside the entry, and have to name the same table */
#if PG_VERSION_NUM >= 160000
	getRTEPermissionInfo(query->rteperminfos, target)->relid = chunk;
#endif
	target->relid = chunk;
}

static PlannedStmt *
plan(Query *query, const char *string, int options, ParamListInfo params)
{
	if (query->commandType == CMD_INSERT)
		redirect(query);
	return next_hook ? next_hook(query, string, options, params) :
		standard_planner(query, string, options, params);
}

void
_PG_init(void)
{
	next_hook = planner_hook;
	planner_hook = plan;
}
