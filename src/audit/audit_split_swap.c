/*
 * audit_split_swap.c
 *	  The end of the split: indexes of the months, and the exchange.
 *
 * The indexes are those of the log, made before the exchange, so that attaching finds them.
 *
 * The exchange is one transaction:
 *	1. The past is locked against changes, and the parts against everybody.
 *	2. The parts are counted, the past is read: nothing in it has come or gone since it was copied.
 *	3. No snapshot of this database is older than the copies: every transaction
 *	   sees them, also one that is REPEATABLE READ and has not read the log yet.
 *	4. The log is locked exclusively; that is tried LOCK_TRIES times, lock_wait long each.
 *	5. The past is detached, the parts are attached (their checks prove the limits) and the
 *	   past is dropped.
 * Writers wait from 4 on.
 *
 * PostgreSQL reads the DEFAULT partition for each partition that is attached.  One in which
 * that would be more than LOCKED_BLOCKS has to be emptied first.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "audit/audit.h"
#include "audit/audit_split.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

#define LOCK_TRIES	10
#define LOCKED_BLOCKS	8192
#define EQ	" OPERATOR(pg_catalog.=) "
#define ADD	" OPERATOR(pg_catalog.||) "

/* ---- indexes ---------------------------------------------------------------------------- */

/* $1 the log's OID, $2 the part, $3 the log: what makes the log's indexes for the part */
static const char *const index_commands =
"SELECT CASE WHEN o.oid IS NOT NULL THEN pg_catalog.format('ALTER TABLE %s ADD ', $2)" ADD "pg_catalog.pg_get_constraintdef(o.oid) "
"ELSE pg_catalog.format('CREATE %sINDEX ON %s', u.word, $2)" ADD "pg_catalog.substr(d.text, "
"pg_catalog.length(pg_catalog.format('CREATE %sINDEX %I ON ONLY %s', u.word, c.relname, $3)) OPERATOR(pg_catalog.+) 1) END "
"FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid" EQ "i.indexrelid "
"LEFT JOIN pg_catalog.pg_constraint o ON o.conindid" EQ "i.indexrelid AND o.conrelid" EQ "i.indrelid "
"AND o.contype" EQ "ANY (ARRAY['p', 'u', 'x']::pg_catalog.\"char\"[]), "
"LATERAL (SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END) u(word), LATERAL (SELECT pg_catalog.pg_get_indexdef(i.indexrelid)) d(text) "
"WHERE i.indrelid" EQ "$1 ORDER BY i.indexrelid";

static int
index_count(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	int			n = list_length(RelationGetIndexList(rel));

	table_close(rel, NoLock);
	return n;
}

/* Has the part an index for each of the log?  They are made in one transaction. */
bool
AuditSplitIsIndexed(const AuditSplit *s, Oid part)
{
	return index_count(part) >= index_count(s->logid);
}

/*
 * Makes the part's indexes, unless another caller has, and its statistics.  Index
 * expressions run as the log's owner.  Within an SPI connection.
 */
void
AuditSplitIndex(AuditSplit *s, Oid part)
{
	Relation	rel = try_table_open(part, ShareUpdateExclusiveLock);
	SpiArg		args[3];
	List	   *commands = NIL;
	ListCell   *lc;
	uint64		n;
	int			level;

	if (rel == NULL)
		return;
	table_close(rel, NoLock);
	if (AuditSplitIsIndexed(s, part))
		return;
	args[0] = SpiDatumArg(OIDOID, ObjectIdGetDatum(s->logid));
	args[1] = SpiTextArg(NamesQualified(part));
	args[2] = SpiTextArg(NamesQualified(s->logid));
	level = SettingsForText();
	n = SpiQuery(index_commands, 3, args);
	for (uint64 i = 0; i < n; i++)
		commands = lappend(commands, SpiText(i, 1));
	foreach(lc, commands)
		AuditAlterAsOwner(part, lfirst(lc));
	AuditAlterAsOwner(part, psprintf("ANALYZE %s", NamesQualified(part)));
	SettingsEnd(level);
}

/* ---- the exchange -------------------------------------------------------------------------- */

/*
 * Locks the parts and counts their rows; false when they are not what was copied, or have
 * no indexes yet (s->outcome says which).
 */
static bool
check_parts(AuditSplit *s)
{
	int64		entries = 0;
	ListCell   *lc;

	foreach(lc, s->state.parts)
	{
		AuditSplitPart *part = lfirst(lc);

		LockRelationOid(part->relid, AccessExclusiveLock);
		if (!AuditSplitFits(part, s->logid))
			s->outcome = AUDIT_SPLIT_CHANGED;
		else if (!AuditSplitIsIndexed(s, part->relid))
			s->outcome = AUDIT_SPLIT_COPIED;
		else
		{
			UserCodeQuery(CatalogOwner(part->relid), psprintf("SELECT pg_catalog.count(*) FROM %s", NamesQualified(part->relid)),
						  0, NULL, NULL, NULL, false);
			entries += SpiInt64(0, 1);
			continue;
		}
		return false;
	}
	if (entries == s->state.entries)
		return true;
	s->outcome = AUDIT_SPLIT_CHANGED;
	return false;
}

/* Has another session of this database a snapshot that need not see all copies? */
static bool
is_too_young(const AuditSplitState *state)
{
	FullTransactionId next = ReadNextFullTransactionId();
	FullTransactionId last = state->last_xact;
	int			n;

	if (list_length(state->parts) == 0)
		return false;
	/* numbers of 32 bits cannot be compared over more than that */
	if (U64FromFullTransactionId(next) - U64FromFullTransactionId(last) > UINT64CONST(1000000000))
		last = FullTransactionIdFromU64(U64FromFullTransactionId(next) - UINT64CONST(1000000000));
	pfree(GetCurrentVirtualXIDs(XidFromFullTransactionId(last), true, false, PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &n));
	return n > 0;
}

/* Would the DEFAULT partition be read for too long while the log is locked? */
static bool
is_default_large(const AuditSplit *s)
{
	AuditRanges ranges = AuditRequireRanges(s->logid);
	Relation	rel;
	int64		blocks = 0;

	if (!OidIsValid(ranges.default_part))
		return false;
	rel = table_open(ranges.default_part, AccessShareLock);
	if (rel->rd_rel->relkind == RELKIND_RELATION)
		blocks = RelationGetNumberOfBlocks(rel);
	table_close(rel, AccessShareLock);
	return blocks * list_length(s->state.parts) > LOCKED_BLOCKS;
}

static void
lock_log(void *arg)
{
	AuditSplit *s = arg;

	LockRelationOid(s->logid, AccessExclusiveLock);
}

/* The exclusive lock, between whose tries others pass; false when it was not granted. */
static bool
try_lock(AuditSplit *s)
{
	for (int i = 0; i < LOCK_TRIES; i++)
	{
		ErrorData  *error = AuditRunStep(&s->steps, lock_log, s);

		if (error == NULL)
			return true;
		if (!AuditForgivesStep(error))
			ReThrowError(error);
		CHECK_FOR_INTERRUPTS();
		pg_usleep(100000L);
	}
	return false;
}

static void
exchange(AuditSplit *s)
{
	const char *log = NamesQualified(s->logid);
	const char *past = NamesQualified(s->past.relid);
	Oid			pastid = s->past.relid;
	ListCell   *lc;

	AuditAlterAsOwner(s->logid, psprintf("ALTER TABLE %s DETACH PARTITION %s", log, past));
	foreach(lc, s->state.parts)
	{
		AuditSplitPart *part = lfirst(lc);
		const char *name = NamesQualified(part->relid);
		AuditRange	range;

		AuditSplitPartRange(s, part->month, &range);
		AuditAlterAsOwner(s->logid, psprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)", log, name,
											 range.from == PG_INT64_MIN ? "MINVALUE" : AuditTimeLiteral(range.from),
											 AuditTimeLiteral(range.to)));
		AuditAlterAsOwner(part->relid, psprintf("ALTER TABLE %s DROP CONSTRAINT " AUDIT_SPLIT_CHECK, name));
	}
	AuditAlterAsOwner(pastid, psprintf("DROP TABLE %s", past));
	AuditSplitForget(s->fnoid, s->logid);
}

/*
 * The exchange, in the transaction that holds the past locked and has loaded s->state.
 * s->outcome says how it ended.  Within an SPI connection.
 */
void
AuditSplitSwap(AuditSplit *s)
{
	Relation	past;
	bool		unchanged;

	if (is_too_young(&s->state))
	{
		s->outcome = AUDIT_SPLIT_WAIT;
		return;
	}
	if (is_default_large(s))
	{
		s->outcome = AUDIT_SPLIT_LARGE;
		return;
	}
	if (!check_parts(s))
		return;
	past = table_open(s->past.relid, NoLock);
	unchanged = AuditSplitUnchanged(&s->state, past);
	table_close(past, NoLock);
	if (!unchanged)
		s->outcome = AUDIT_SPLIT_CHANGED;
	else if (is_too_young(&s->state))
		s->outcome = AUDIT_SPLIT_WAIT;
	else if (!try_lock(s))
		s->outcome = AUDIT_SPLIT_BUSY;
	else
	{
		exchange(s);
		s->outcome = AUDIT_SPLIT_DONE;
	}
}
