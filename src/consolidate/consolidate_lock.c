/*
 * consolidate_lock.c
 *	  Locks of the procedures that commit on their way.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "consolidate/consolidate.h"

/* A family in a schema, as the object of a lock. */
int32
ConsolidateLockKey(Family *family)
{
	return (int32) (hash_bytes((const unsigned char *) family->name, strlen(family->name)) ^
					hash_bytes_uint32(family->schema_oid));
}

/*
 * An object lock on consolidate_run's OID, with a key of our own.  No SQL command takes
 * such a lock, unlike an advisory one.
 */
static void
set_lock_tag(LOCKTAG *tag, Family *family, uint32 key, uint16 kind)
{
	Oid			runs = get_relname_relid("consolidate_run",
										 get_namespace_oid(family->extschema_name, false));

	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, runs, key, kind);
}

/*
 * Keeps other runs away from the family until ConsolidateUnlock, over commits; 55006 when
 * one is at work.  Any role could take an advisory lock whose key it knows.
 */
void
ConsolidateLock(LOCKTAG *tag, Family *family)
{
	set_lock_tag(tag, family, (uint32) ConsolidateLockKey(family), 0);
	if (LockAcquire(tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("family \"%s\" in schema \"%s\" is being consolidated by another session",
						family->name, family->schema),
				 errhint("consolidate_progress shows how far it is.")));
}

/* A transaction that failed has given the lock back already. */
void
ConsolidateUnlock(const LOCKTAG *tag)
{
	if (LockHeldByMe(tag, ExclusiveLock, false))
		LockRelease(tag, ExclusiveLock, true);
}

/*
 * Waits for the lock that all families share, and holds it until the end of the
 * transaction.  Then sees what its last holder has made.
 */
void
ConsolidateLockAll(Family *family)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, family, 0, 1);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
}
