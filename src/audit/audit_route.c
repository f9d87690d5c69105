/*
 * audit_route.c
 *	  Which partition of the log takes the rows of this transaction.
 *
 * changed_at is the transaction's start, so one partition takes all of them.  It
 * is found by walking down while each level is partitioned by RANGE of that one
 * column; the limits met on the way are intersected, so that later transactions
 * know without looking whether the same partition is theirs.  Any other
 * partitioning is left to the executor (audit_insert_spi.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_type.h"
#include "nodes/pg_list.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/audit.h"

/*
 * The column that a log, or a level of it, is partitioned by, if it is by RANGE of
 * changed_at alone, with a time zone or without; else InvalidAttrNumber.  Read from the catalog: the relation
 * cache computes what is constant in the expressions of a partition key when it is
 * asked for the key, and would do so as the current user.
 */
AttrNumber
AuditPartitionColumn(Relation rel)
{
	HeapTuple	tuple;
	Form_pg_partitioned_table form;
	AttrNumber	attnum = InvalidAttrNumber;
	Form_pg_attribute att;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return InvalidAttrNumber;
	tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(RelationGetRelid(rel)));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for partition key of relation %u", RelationGetRelid(rel));
	form = (Form_pg_partitioned_table) GETSTRUCT(tuple);
	if (form->partstrat == PARTITION_STRATEGY_RANGE && form->partnatts == 1)
		attnum = form->partattrs.values[0];
	ReleaseSysCache(tuple);
	if (attnum <= 0)			/* an expression is 0 */
		return InvalidAttrNumber;
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	return (att->atttypid == TIMESTAMPTZOID || att->atttypid == TIMESTAMPOID) && AuditFieldOf(att) == AUDIT_CHANGED_AT ?
		attnum : InvalidAttrNumber;
}

static void
narrow(AuditLeaf *leaf, PartitionBoundInfo bounds, int offset)
{
	if (offset >= 0 && bounds->kind[offset][0] == PARTITION_RANGE_DATUM_VALUE)
		leaf->from = Max(leaf->from, DatumGetTimestampTz(bounds->datums[offset][0]));
	if (offset + 1 < bounds->ndatums &&
		bounds->kind[offset + 1][0] == PARTITION_RANGE_DATUM_VALUE)
		leaf->to = Min(leaf->to, DatumGetTimestampTz(bounds->datums[offset + 1][0]));
}

static void
no_partition(Relation rel, TimestampTz at)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("no partition of the audit log \"%s\" takes this change",
					RelationGetRelationName(rel)),
			 errdetail("None covers %s, and there is no DEFAULT partition.",
					   timestamptz_to_str(at)),
			 errhint("Create one with CALL audit_maintain().")));
}

/*
 * Finds the leaf for rows of this moment: sets leaf->relid, from, to and ancestors (in the
 * current context).  False when only the executor can tell.  The log is locked by the
 * caller; what is below it is locked here.  23514 when no partition takes such rows.
 */
bool
AuditRoute(Relation log, TimestampTz at, AuditLeaf *leaf)
{
	Oid			relid = RelationGetRelid(log);

	leaf->from = PG_INT64_MIN;
	leaf->to = PG_INT64_MAX;
	leaf->ancestors = NIL;
	for (;;)
	{
		Relation	rel = table_open(relid, NoLock);
		PartitionKey key;
		PartitionDesc desc;
		Datum		value = TimestampTzGetDatum(at);
		bool		is_equal;
		int			offset;
		int			index;

		if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		{
			leaf->relid = relid;
			table_close(rel, NoLock);
			return true;
		}
		leaf->ancestors = lappend_oid(leaf->ancestors, relid);
		if (AuditPartitionColumn(rel) == InvalidAttrNumber)
		{
			table_close(rel, NoLock);
			return false;
		}
		key = RelationGetPartitionKey(rel);
		/* which moment that is without a zone depends on the writer */
		if (key->parttypid[0] != TIMESTAMPTZOID)
		{
			table_close(rel, NoLock);
			return false;
		}
		desc = RelationGetPartitionDesc(rel, !IsolationUsesXactSnapshot());
		if (desc->nparts == 0)
			no_partition(rel, at);
		offset = partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
											   desc->boundinfo, 1, &value, &is_equal);
		index = desc->boundinfo->indexes[offset + 1];
		if (index < 0)
			index = desc->boundinfo->default_index;
		if (index < 0)
			no_partition(rel, at);
		narrow(leaf, desc->boundinfo, offset);
		relid = desc->oids[index];
		table_close(rel, NoLock);
		LockRelationOid(relid, RowExclusiveLock);
	}
}
