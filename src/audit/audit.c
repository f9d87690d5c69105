/*
 * audit.c
 *	  What the caches of the audit part share: which locks are held, and of what
 *	  types an entry is made.
 *
 * Locks on the log are taken once per transaction.  audit_lock_epoch says which
 * of them are still held: it moves on at the end of every transaction and at
 * every subtransaction that is rolled back (which releases the locks that it
 * took).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "audit/audit.h"

uint64		audit_lock_epoch = 1;
bool		audit_inserting = false;
static uint32 xact_seq = 0;		/* rows logged in this transaction */

/*
 * The number of the next row within the transaction, from 1.  Counted unsigned: after
 * 2^31 rows it wraps to negative numbers in place of overflowing.
 */
int32
AuditNextXactSeq(void)
{
	return (int32) ++xact_seq;
}

/* The end of a transaction: its locks are gone, and its rows are counted. */
void
AuditEndXact(void)
{
	audit_lock_epoch++;
	xact_seq = 0;
}

/*
 * Notes the types of a composite type's columns, and its relation, whose invalidation
 * says that the columns have changed.
 */
static void
note_row_type(AuditTypes *types, Oid relid)
{
	Relation	rel;

	if (list_member_oid(types->rows, relid))
		return;
	types->rows = lappend_oid(types->rows, relid);
	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
		return;
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
			AuditNoteType(types, TupleDescAttr(RelationGetDescr(rel), i)->atttypid);
	relation_close(rel, AccessShareLock);
}

/*
 * Adds a type to those that an entry depends on, and the types that it is made of: a
 * domain's base type, the elements of an array, the columns of a composite type, the
 * subtype of a range.  Every temporary table creates and drops types, in every session,
 * so only the types that an entry has noted make it stale.  To be called before anything
 * about the type is looked up, with the entry's context as the current one.
 */
void
AuditNoteType(AuditTypes *types, Oid typid)
{
	uint32		hash = GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(typid));
	HeapTuple	tuple;
	FormData_pg_type form;

	check_stack_depth();
	if (AuditKnowsType(types, hash))
		return;
	types->hashes = types->n == 0 ? palloc(sizeof(uint32)) :
		repalloc(types->hashes, (types->n + 1) * sizeof(uint32));
	types->hashes[types->n++] = hash;

	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);
	memcpy(&form, GETSTRUCT(tuple), sizeof(form));
	ReleaseSysCache(tuple);
	if (OidIsValid(form.typbasetype))
		AuditNoteType(types, form.typbasetype);
	else if (OidIsValid(form.typelem))
		AuditNoteType(types, form.typelem);
	else if (OidIsValid(form.typrelid))
		note_row_type(types, form.typrelid);
	else if (form.typtype == TYPTYPE_RANGE)
		AuditNoteType(types, get_range_subtype(typid));
	else if (form.typtype == TYPTYPE_MULTIRANGE)
		AuditNoteType(types, get_multirange_range(typid));
}

/* Has this type been noted?  hash: of its OID in the syscache TYPEOID, as invalidations have it. */
bool
AuditKnowsType(const AuditTypes *types, uint32 hash)
{
	for (int i = 0; i < types->n; i++)
		if (types->hashes[i] == hash)
			return true;
	return false;
}
