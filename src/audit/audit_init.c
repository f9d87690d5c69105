/*
 * audit_init.c
 *	  Start-up of the audit part, and what reaches its caches from outside.
 *
 * Two caches live as long as the session, in TopMemoryContext: AuditTable, one
 * for each trigger that has fired, and AuditLog, one for each log written to.
 * An invalidation message only marks an entry; it is built again at its next
 * use, because the message may arrive while the entry is being used.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "audit/audit.h"

static void
relation_changed(Datum arg, Oid relid)
{
	AuditTableInvalidate(relid);
	AuditLogInvalidate(relid);
}

/* Hash value 0 stands for all types. */
static void
type_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	if (hashvalue == 0)
	{
		AuditTableInvalidate(InvalidOid);
		AuditLogInvalidate(InvalidOid);
		return;
	}
	AuditTableInvalidateType(hashvalue);
	AuditLogInvalidateType(hashvalue);
}

/* A schema was renamed, or a cast changed.  That is rare, so all entries become stale. */
static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	AuditTableInvalidate(InvalidOid);
	AuditLogInvalidate(InvalidOid);
}

/*
 * An error by itself makes nothing stale: catalog changes that are rolled back send
 * invalidations like any others.  But after an error in the middle of an insertion the
 * state of its slot and expressions is unknown, so the logs are set up again.
 */
static void
forget_after_error(void)
{
	if (audit_inserting)
	{
		audit_inserting = false;
		AuditLogInvalidate(InvalidOid);
	}
}

static void
transaction_ended(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			AuditEndXact();
			AuditClockEndXact();
			if (event == XACT_EVENT_ABORT)
				forget_after_error();
			AuditTableEndXact();
			AuditLogEndXact();
			break;
		default:
			break;
	}
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		audit_lock_epoch++;
		forget_after_error();
	}
}

/* Sets up the caches, and asks to be told of what makes them stale.  Once per session. */
void
AuditInit(void)
{
	AuditTableInit();
	AuditLogInit();
	AuditSessionInit();
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(CASTSOURCETARGET, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, type_changed, (Datum) 0);
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}
