/*
 * audit_images.c
 *	  audit_enable(..., images => true): the rows that TRUNCATE removes.
 *
 * A trigger BEFORE TRUNCATE reads the table, and of a partitioned table all its partitions,
 * and writes a D for each row; the T of the trigger AFTER TRUNCATE follows.  TRUNCATE has
 * locked the table exclusively by then, so what is read is what goes.
 *
 * The rows are read by a scan, not by a query: whoever may TRUNCATE need not be allowed to
 * SELECT, and row security hides nothing from TRUNCATE.  No code of the table runs but casts
 * to json, as at every change.
 *
 * Statement triggers are not cloned: TRUNCATE of a partition by itself writes neither D nor T.
 * Rows of a foreign partition are not read; a WARNING says so.
 *
 * All entries of a TRUNCATE have the same written_at.  The memory of a row is freed before
 * the next.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "audit/audit.h"
#include "compat.h"

typedef struct Images
{
	TriggerData trigdata;		/* as if each row were deleted */
	Oid			fnoid;
	TimestampTz at;
	MemoryContext cxt;			/* of a row */
	TupleTableSlot *slot;		/* of the table on which the trigger is */
} Images;

/* Writes the rows of one table, which may be a partition with its columns in another order. */
static void
log_table(Images *images, Relation rel)
{
	TupleTableSlot *its = table_slot_create(rel, NULL);
	TupleConversionMap *map = convert_tuples_by_name(RelationGetDescr(rel),
													 RelationGetDescr(images->trigdata.tg_relation));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, its))
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(images->cxt);
		TupleTableSlot *slot = map ? execute_attr_map_slot(map->attrMap, its, images->slot) : its;

		AuditWriteRow(&images->trigdata, images->fnoid, slot, 'D', images->at, NULL, NULL);
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(images->cxt);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	if (map)
		free_conversion_map(map);
	ExecDropSingleTupleTableSlot(its);
}

/*
 * Writes a D for each row of a table that is about to be truncated.  trigdata: of the
 * trigger BEFORE TRUNCATE.  Raises what the trigger raises for a row.
 */
void
AuditLogImages(TriggerData *trigdata, Oid fnoid)
{
	Relation	root = trigdata->tg_relation;
	Images		images = {*trigdata, fnoid, AuditWrittenNow()};
	List	   *tables = root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
	find_all_inheritors(RelationGetRelid(root), AccessShareLock, NULL) :
	list_make1_oid(RelationGetRelid(root));
	ListCell   *lc;

	images.trigdata.tg_event = TRIGGER_EVENT_DELETE | TRIGGER_EVENT_ROW;
	images.cxt = AllocSetContextCreate(CurrentMemoryContext, "aquacis image", ALLOCSET_DEFAULT_SIZES);
	images.slot = MakeSingleTupleTableSlot(RelationGetDescr(root), &TTSOpsVirtual);
	foreach(lc, tables)
	{
		Relation	rel = table_open(lfirst_oid(lc), AccessShareLock);

		if (rel->rd_rel->relkind == RELKIND_RELATION)
			log_table(&images, rel);
		else if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
			ereport(WARNING,
					(errmsg("rows of \"%s\" are truncated without being logged", RelationGetRelationName(rel)),
					 errdetail("It is a foreign table.")));
		table_close(rel, NoLock);
	}
	ExecDropSingleTupleTableSlot(images.slot);
	MemoryContextDelete(images.cxt);
}
