/*
 * session.c
 *	  Transactions, locks and errors of the procedures that commit on their way.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "utils/guc.h"

#include "consolidate/consolidate.h"

#define LOCK_CLASS		0x61717563	/* "aquc": the advisory lock's first key */

static void
begin_transaction(void)
{
	SetConfigOption("transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
}

/* Commits, and begins the next transaction. */
void
ConsolidateCommit(void)
{
	SPI_commit();
	SPI_start_transaction();
	begin_transaction();
}

/* The advisory lock of a family in a schema, its second key. */
int32
ConsolidateLockKey(Family *family)
{
	return (int32) (hash_bytes((const unsigned char *) family->name, strlen(family->name)) ^
					hash_bytes_uint32(family->schema_oid));
}

/* Keeps others away from the family until LockRelease of the tag. */
void
ConsolidateLock(LOCKTAG *tag, Family *family)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, LOCK_CLASS, (uint32) ConsolidateLockKey(family), 2);
	if (LockAcquire(tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("family \"%s\" in schema \"%s\" is being consolidated by another session",
						family->name, family->schema),
				 errhint("consolidate_progress shows how far it is.")));
}

void
ConsolidateRequireNonatomic(FunctionCallInfo fcinfo, const char *procedure)
{
	if (!fcinfo->context || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s commits on its way and cannot run inside a transaction block",
						procedure),
				 errhint("CALL it by itself, outside BEGIN ... COMMIT and outside functions.")));
}

/* Errors that are about the whole call, not about one table. */
bool
ConsolidateMustStop(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_INSUFFICIENT_RESOURCES;
}
