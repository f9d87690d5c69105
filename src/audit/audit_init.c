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

/* hash value 0: all of them */
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

/* a schema was renamed, a cast changed: rare, so all goes */
static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	AuditTableInvalidate(InvalidOid);
	AuditLogInvalidate(InvalidOid);
}

/*
 * Catalog changes that are rolled back send their invalidations like any others,
 * so an error by itself makes nothing stale.  One that came out of the middle of
 * an insertion leaves its slot and expressions in a state not worth reasoning about.
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
