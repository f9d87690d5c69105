/*
 * audit_log.c
 *	  A log, what is kept of it between rows, and the choice of the way into it.
 *
 * There is one AuditLog per table that is written to, found by OID.  Everything hangs on
 * the entry's context and is built again after an invalidation of the log, of the
 * partition in use, of one of its indexes (AuditLog.deps) or of a type of its columns.
 *
 * Locks: the log and the partition, RowExclusive, as an INSERT takes them, at
 * the first row of a transaction; audit_lock_epoch tells.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit.h"

static HTAB *logs = NULL;
static MemoryContext logs_cxt = NULL;
static bool any_invalid = false;
static List *old_plans = NIL;	/* to free when the transaction ends */
static List *old_contexts = NIL;

/* Makes the cache.  Once per session. */
void
AuditLogInit(void)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(AuditLog)};

	logs_cxt = AllocSetContextCreate(TopMemoryContext, "aquacis audit logs",
									 ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = logs_cxt;
	logs = hash_create("aquacis audit logs", 8, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
invalidate(AuditLog *log)
{
	log->valid = false;
	log->stale = true;
	any_invalid = true;
}

/* Marks the entries that depend on a relation; all of them for InvalidOid. */
void
AuditLogInvalidate(Oid relid)
{
	HASH_SEQ_STATUS scan;
	AuditLog   *log;

	hash_seq_init(&scan, logs);
	while ((log = hash_seq_search(&scan)) != NULL)
	{
		/* a partition may come while its parent's search for a leaf waits for a lock */
		if (relid == InvalidOid || log->relid == relid || list_member_oid(log->deps, relid) ||
			list_member_oid(log->types.rows, relid) ||
			(log->leaf && list_member_oid(log->leaf->ancestors, relid)))
			invalidate(log);
	}
}

/* Marks the entries that depend on a type; hash as in AuditKnowsType. */
void
AuditLogInvalidateType(uint32 hash)
{
	HASH_SEQ_STATUS scan;
	AuditLog   *log;

	hash_seq_init(&scan, logs);
	while ((log = hash_seq_search(&scan)) != NULL)
		if (AuditKnowsType(&log->types, hash))
			invalidate(log);
}

/*
 * Frees what an entry holds.  A plan that is being executed further up the stack (a
 * trigger of the log changed an audited table) stays until the transaction ends, and so
 * does the context, which holds its parameters.
 */
static void
clear(AuditLog *log)
{
	if (log->in_use > 0)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(logs_cxt);

		old_plans = lappend(old_plans, log->plan);
		old_contexts = lappend(old_contexts, log->cxt);
		MemoryContextSwitchTo(oldcontext);
	}
	else
	{
		if (log->plan)
			AuditSpiFree(log->plan);
		if (log->cxt)
			MemoryContextDelete(log->cxt);
	}
	log->plan = NULL;
	log->cxt = NULL;
	log->leaf = NULL;
	log->deps = NIL;
	log->types.n = 0;
	log->types.rows = NIL;
}

static void
free_old(void)
{
	ListCell   *lc;

	foreach(lc, old_plans)
	{
		if (lfirst(lc))
			AuditSpiFree(lfirst(lc));
	}
	foreach(lc, old_contexts)
		MemoryContextDelete(lfirst(lc));
	list_free(old_plans);
	list_free(old_contexts);
	old_plans = old_contexts = NIL;
}

/* At the end of a transaction nothing is in use: frees what was kept, and stale entries. */
void
AuditLogEndXact(void)
{
	HASH_SEQ_STATUS scan;
	AuditLog   *log;

	free_old();
	if (!any_invalid)
		return;
	hash_seq_init(&scan, logs);
	while ((log = hash_seq_search(&scan)) != NULL)
	{
		log->in_use = 0;		/* left over where an error went through */
		if (!log->valid)
		{
			clear(log);
			hash_search(logs, &log->relid, HASH_REMOVE, NULL);
		}
	}
	any_invalid = false;
}

/* ---- entries ----------------------------------------------------------------------- */

static void
build(AuditLog *log)
{
	Relation	rel;
	MemoryContext oldcontext;

	rel = table_open(log->relid, NoLock);
	log->cxt = AllocSetContextCreate(logs_cxt, "aquacis audit log", ALLOCSET_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(log->cxt);
	log->name = pstrdup(RelationGetRelationName(rel));
	log->owner = rel->rd_rel->relowner;
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
			AuditNoteType(&log->types, TupleDescAttr(RelationGetDescr(rel), i)->atttypid);
	AuditMapColumns(rel, &log->columns);
	MemoryContextSwitchTo(oldcontext);
	table_close(rel, NoLock);
}

/*
 * The entry of a log, with the locks held that a row needs.  It belongs to the cache.
 * Check its `valid`: false means that the log changed or was dropped while we waited for
 * a lock; the caller then looks the name up again.  Raises what keeps the table from
 * serving as a log (42703, 42804, 42501, 23502), 23514 when no partition takes a row.
 */
AuditLog *
AuditLogGet(Oid relid)
{
	AuditLog   *log;
	bool		found;
	TimestampTz at = GetCurrentTransactionStartTimestamp();

	log = hash_search(logs, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset(log, 0, sizeof(*log));
		log->relid = relid;
		any_invalid = true;
	}
	if (likely(log->valid && log->locked == audit_lock_epoch))
		return log;

	any_invalid = true;			/* in case something below fails */
	LockRelationOid(relid, RowExclusiveLock);
	if (!log->valid || log->leaf == NULL || at < log->leaf->from || at >= log->leaf->to)
	{
		clear(log);
		log->valid = log->stale = false;
		if (get_rel_relkind(relid) == '\0')
			return log;			/* dropped meanwhile */
		build(log);
		log->direct = AuditLeafOpen(log, at);
		log->valid = !log->stale;
	}
	AuditLeafLock(log);
	log->locked = audit_lock_epoch;
	return log;
}

/*
 * Sets the log up again if it was invalidated since AuditLogGet.  Building the row read
 * tables (a TOASTed value, a type's description), which processes invalidations: a
 * vacuum of the log may have ended.  The log's columns cannot have changed while we
 * hold our locks.
 */
static void
make_valid(AuditLog *log)
{
	while (!log->valid)
	{
		CHECK_FOR_INTERRUPTS();
		AuditLogGet(log->relid);
		if (!log->valid && get_rel_relkind(log->relid) == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("the audit log was dropped by the change that it should log"),
					 errdetail("A function that the conversion of a column to JSON calls has dropped it."),
					 errhint("Look at the casts to json of the audited table's types.")));
	}
}

/* Writes a row into a log that AuditLogGet returned, the one way or the other. */
void
AuditLogInsert(AuditLog *log, AuditRow *row)
{
	bool		done = false;

	while (!done)
	{
		if (unlikely(!log->valid))
			make_valid(log);
		if (unlikely(!log->direct))
		{
			AuditSpiInsert(log, row);
			return;
		}
		audit_inserting = true;
		done = AuditLeafInsert(log, row);
		audit_inserting = false;
	}
}
