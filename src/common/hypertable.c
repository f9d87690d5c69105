/*
 * hypertable.c
 *	  Do the rows of a table lie in other tables?
 *
 * An ordinary table can be the front of something else: TimescaleDB keeps the rows of a
 * hypertable in other tables, its chunks; Citus keeps those of a distributed table on
 * other servers.  The catalogs of PostgreSQL need not say so: a hypertable that has no
 * chunk yet looks like any table.  A row that is stored in such a table without the
 * executor is where no query finds it, and a scan of the table finds nothing.
 *
 * The plan says so, since such an extension has to change it (planner_hook).  So if there
 * is a hook at all, an INSERT is planned, and not executed.  If it comes out as PostgreSQL
 * itself plans it, a row of values into the table, the table stores its rows.  Other
 * extensions use that hook too: with pg_stat_statements preloaded, every table that is
 * asked about is planned once.
 *
 * Every column gets a parameter of its own type, and the planning is done as the table's
 * owner, in a security-restricted operation: no default, conversion or policy comes in,
 * and so no code of users that the planner would compute beforehand.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "common/catalog.h"
#include "common/hypertable.h"
#include "common/names.h"

/* An INSERT of one row with a parameter for each column, prepared.  Within an SPI connection. */
static SPIPlanPtr
prepare(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Oid		   *types = palloc(sizeof(Oid) * Max(desc->natts, 1));
	const char *name = NamesQualified(RelationGetRelid(rel));
	StringInfoData columns;
	StringInfoData params;
	SPIPlanPtr	plan;
	int			n = 0;

	initStringInfo(&columns);
	initStringInfo(&params);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated)
			continue;
		types[n++] = att->atttypid;
		appendStringInfo(&columns, "%s%s", n > 1 ? ", " : "", quote_identifier(NameStr(att->attname)));
		appendStringInfo(&params, "%s$%d", n > 1 ? ", " : "", n);
	}
	plan = SPI_prepare(n == 0 ? psprintf("INSERT INTO %s DEFAULT VALUES", name) :
					   psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)", name,
								columns.data, params.data), n, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare an insertion into \"%s\": %s",
			 RelationGetRelationName(rel), SPI_result_code_string(SPI_result));
	return plan;
}

/* Does this plan insert a row of values into that table, as PostgreSQL plans it? */
static bool
is_plain(CachedPlan *cached, Oid relid)
{
	PlannedStmt *stmt;
	Plan	   *plan;
	List	   *targets;

	if (list_length(cached->stmt_list) != 1)
		return false;
	stmt = linitial_node(PlannedStmt, cached->stmt_list);
	plan = stmt->planTree;
	if (plan == NULL || !IsA(plan, ModifyTable) || outerPlan(plan) == NULL ||
		!IsA(outerPlan(plan), Result))
		return false;
	targets = castNode(ModifyTable, plan)->resultRelations;
	return list_length(targets) == 1 &&
		rt_fetch(linitial_int(targets), stmt->rtable)->relid == relid;
}

/* True if a planner hook is installed, so that an extension could redirect rows. */
static bool
is_possible(void)
{
	return planner_hook != NULL;
}

/*
 * Would an INSERT into this open relation store its row elsewhere?  If there is a hook,
 * also true for views and for tables with rules.
 */
bool
HypertableTakesRows(Relation rel)
{
	ResourceOwner owner = CurrentResourceOwner;
	ResourceOwner mine;
	Oid			saved_user;
	int			saved_context;
	CachedPlan *cached;
	SPIPlanPtr	plan;
	bool		plain;

	if (!is_possible())
		return false;

	/* its locks are given back: a plan of thousands of tables must not hold them all */
	CurrentResourceOwner = mine = ResourceOwnerCreate(owner, "aquacis insertion");
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner, saved_context | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	SPI_connect();
	plan = prepare(rel);
	cached = SPI_plan_get_cached_plan(plan);
	plain = is_plain(cached, RelationGetRelid(rel));
	ReleaseCachedPlan(cached, NULL);
	SPI_freeplan(plan);
	SPI_finish();
	SetUserIdAndSecContext(saved_user, saved_context);

	CurrentResourceOwner = owner;
	ResourceOwnerRelease(mine, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(mine, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(mine, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(mine);
	return !plain;
}

/*
 * The relation whose invalidation says that an ordinary table may have become
 * another, where the table's own does not: an empty one that becomes a hypertable
 * without an index changes in TimescaleDB's catalogs alone.  InvalidOid: none.
 */
Oid
HypertableInvalidation(void)
{
	Oid			nspoid = is_possible() ? get_namespace_oid("_timescaledb_cache", true) : InvalidOid;

	return OidIsValid(nspoid) ? get_relname_relid("cache_inval_hypertable", nspoid) : InvalidOid;
}

/* The parent of a table that inherits from exactly one; else InvalidOid. */
static Oid
only_parent(Oid relid)
{
	CatalogRows rows;
	HeapTuple	tuple;
	Oid			parent = InvalidOid;

	CatalogBegin(&rows, InheritsRelationId, InheritsRelidSeqnoIndexId, Anum_pg_inherits_inhrelid, relid);
	if (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
		if (HeapTupleIsValid(CatalogNext(&rows)))
			parent = InvalidOid;
	}
	CatalogEnd(&rows);
	return parent;
}

/* An ordinary table whose rows an extension puts into others, as TimescaleDB does. */
bool
HypertableIs(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	bool		result;

	if (rel == NULL)
		return false;
	result = rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_rules == NULL &&
		HypertableTakesRows(rel);
	table_close(rel, AccessShareLock);
	return result;
}

/* The hypertable from which a chunk inherits; InvalidOid for everything else. */
Oid
HypertableOf(Oid relid)
{
	Oid			parent = InvalidOid;

	if (is_possible() && !get_rel_relispartition(relid))
		parent = only_parent(relid);
	return OidIsValid(parent) && HypertableIs(parent) ? parent : InvalidOid;
}
