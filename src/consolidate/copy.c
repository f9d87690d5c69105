/*
 * copy.c
 *	  Rows into the target, in bulk.
 *
 * The rows of the sources of one transaction go through one buffer of slots
 * into table_multi_insert, the way COPY writes; a buffer may hold rows of
 * several sources, so CopyFlush comes before those are dropped (rows whose
 * large values were stored out of line are still pointing into them).
 *
 * That is for a plain table.  Where a trigger, a check, a generated column, a
 * volatile default or partitions make inserting more than storing, or where
 * the target is no table, the executor does it: INSERT ... SELECT, without the
 * rejected rows.  Either way the number of rows written is checked.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "consolidate/consolidate.h"

#define BUFFER_ROWS		1000
#define BUFFER_BYTES	65536

struct CopyState
{
	Family	   *family;
	Relation	target;
	bool		plain;			/* rows may be stored without the executor */
	AttrNumber	process_attno;
	Datum	   *constant;		/* defaults of the columns outside the shape */
	bool	   *constant_null;

	EState	   *estate;
	ResultRelInfo *result;
	BulkInsertState bulk;
	TupleTableSlot *slots[BUFFER_ROWS];
	int			nslots;			/* made */
	int			nused;
	Size		bytes;
	MemoryContext per_row;
};

/*
 * Evaluates the defaults of the columns that no source has.  False when one
 * would have to be evaluated for each row.
 */
static bool
evaluate_defaults(CopyState *copy)
{
	TupleDesc	desc = RelationGetDescr(copy->target);
	Shape	   *shape = &copy->family->shape;
	int			i,
				j;

	copy->constant = palloc0(sizeof(Datum) * desc->natts);
	copy->constant_null = palloc(sizeof(bool) * desc->natts);
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		filled = att->attisdropped;
		Expr	   *expr;

		copy->constant_null[i] = true;
		if (!filled && strcmp(NameStr(att->attname), PROCESS_COLUMN) == 0)
		{
			copy->process_attno = att->attnum;
			filled = true;
		}
		for (j = 0; j < shape->ncolumns && !filled; j++)
			filled = shape->columns[j].target_attno == att->attnum;
		if (filled)
			continue;
		expr = (Expr *) build_column_default(copy->target, att->attnum);
		if (expr == NULL)
			continue;
		if (att->attidentity || contain_volatile_functions((Node *) expr))
			return false;
		expr = expression_planner(expr);
		copy->constant[i] = ExecEvalExpr(ExecPrepareExpr(expr, copy->estate),
										 GetPerTupleExprContext(copy->estate),
										 &copy->constant_null[i]);
	}
	return true;
}

static bool
target_is_plain(CopyState *copy)
{
	Relation	target = copy->target;
	TupleConstr *constr = RelationGetDescr(target)->constr;

	if (target->rd_rel->relkind != RELKIND_RELATION || target->rd_rel->relispartition ||
		target->rd_rel->relhasrules || target->trigdesc != NULL)
		return false;
	if (constr && (constr->num_check > 0 || constr->has_generated_stored))
		return false;
	return evaluate_defaults(copy);
}

/* Opens the target for one transaction. */
CopyState *
CopyBegin(Family *family)
{
	CopyState  *copy = palloc0(sizeof(CopyState));

	copy->family = family;
	copy->target = table_open(family->target_oid, RowExclusiveLock);
	copy->estate = CreateExecutorState();
	copy->plain = target_is_plain(copy);
	if (copy->plain)
	{
		copy->result = makeNode(ResultRelInfo);
		InitResultRelInfo(copy->result, copy->target, 0, NULL, 0);
		ExecOpenIndices(copy->result, false);
		copy->bulk = GetBulkInsertState();
		copy->per_row = AllocSetContextCreate(CurrentMemoryContext, "aquacis copied row",
											  ALLOCSET_SMALL_SIZES);
	}
	return copy;
}

/* Writes what the buffer holds. */
void
CopyFlush(CopyState *copy)
{
	MemoryContext old;
	int			i;

	if (copy->nused == 0)
		return;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(copy->estate));
	table_multi_insert(copy->target, copy->slots, copy->nused, GetCurrentCommandId(true), 0,
					   copy->bulk);
	MemoryContextSwitchTo(old);
	for (i = 0; i < copy->nused; i++)
	{
		if (copy->result->ri_NumIndices > 0)
		{
			List	   *recheck = ExecInsertIndexTuples(copy->result, copy->slots[i], copy->estate,
														false, false, NULL, NIL, false);

			if (recheck != NIL)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("target \"%s.%s\" has a deferrable key",
								copy->family->schema, copy->family->target),
						 errhint("Make the constraint NOT DEFERRABLE.")));
		}
		ExecClearTuple(copy->slots[i]);
	}
	ResetPerTupleExprContext(copy->estate);
	copy->nused = 0;
	copy->bytes = 0;
}

void
CopyEnd(CopyState *copy)
{
	int			i;

	CopyFlush(copy);
	for (i = 0; i < copy->nslots; i++)
		ExecDropSingleTupleTableSlot(copy->slots[i]);
	if (copy->plain)
	{
		FreeBulkInsertState(copy->bulk);
		table_finish_bulk_insert(copy->target, 0);
		ExecCloseIndices(copy->result);
		MemoryContextDelete(copy->per_row);
	}
	FreeExecutorState(copy->estate);
	table_close(copy->target, NoLock);
	pfree(copy);
}

static void
buffer_row(CopyState *copy, int64 process_id, const Datum *values, const bool *nulls)
{
	Shape	   *shape = &copy->family->shape;
	int			natts = RelationGetDescr(copy->target)->natts;
	TupleTableSlot *slot;
	int			i;

	if (copy->nused == copy->nslots)
		copy->slots[copy->nslots++] = table_slot_create(copy->target, NULL);
	slot = copy->slots[copy->nused++];
	ExecClearTuple(slot);
	memcpy(slot->tts_values, copy->constant, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, copy->constant_null, sizeof(bool) * natts);
	slot->tts_values[copy->process_attno - 1] = Int64GetDatum(process_id);
	slot->tts_isnull[copy->process_attno - 1] = false;
	for (i = 0; i < shape->ncolumns; i++)
	{
		AttrNumber	attno = shape->columns[i].target_attno;

		slot->tts_values[attno - 1] = values[i];
		slot->tts_isnull[attno - 1] = nulls[i];
		if (!nulls[i] && shape->columns[i].cache->typlen == -1)
			copy->bytes += VARSIZE_ANY(DatumGetPointer(values[i]));
	}
	copy->bytes += 64;
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
}

static void
copy_plain(CopyState *copy, int64 process_id, Relation source, const SourceColumn *columns,
		   Snapshot snapshot, const Contents *contents)
{
	Shape	   *shape = &copy->family->shape;
	MemoryContext keep = CurrentMemoryContext;
	TableScanDesc scan = ExamineBeginScan(source, snapshot);
	TupleTableSlot *slot = table_slot_create(source, NULL);
	Datum	   *values = palloc0(sizeof(Datum) * shape->ncolumns);
	bool	   *nulls = palloc0(sizeof(bool) * shape->ncolumns);
	int64		next_reject = 0,
				written = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		RejectKind	kind;
		int			column;

		CHECK_FOR_INTERRUPTS();
		if (next_reject < contents->nrejects &&
			ItemPointerEquals(&contents->rejects[next_reject].tid, &slot->tts_tid))
		{
			next_reject++;
			continue;
		}
		MemoryContextReset(copy->per_row);
		MemoryContextSwitchTo(copy->per_row);
		if (!ShapeRow(shape, columns, slot, values, nulls, &kind, &column))
			elog(ERROR, "a row of \"%s\" changed while it was locked",
				 RelationGetRelationName(source));
		MemoryContextSwitchTo(keep);
		buffer_row(copy, process_id, values, nulls);
		written++;
		if (copy->nused == BUFFER_ROWS || copy->bytes >= BUFFER_BYTES)
			CopyFlush(copy);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	if (written != contents->rows - contents->nrejects)
		elog(ERROR, "copied %lld rows of \"%s\", expected %lld", (long long) written,
			 RelationGetRelationName(source), (long long) (contents->rows - contents->nrejects));
}

static void
copy_executor(CopyState *copy, int64 process_id, Relation source, const SourceColumn *columns,
			  const Contents *contents)
{
	Family	   *family = copy->family;
	Shape	   *shape = &family->shape;
	TupleDesc	desc = RelationGetDescr(source);
	StringInfoData sql;
	Oid			types[] = {INT8OID, TIDOID};
	Datum		args[2];
	Datum	   *tids = palloc(sizeof(Datum) * Max(contents->nrejects, 1));
	int64		written;
	int			i,
				result;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (%s",
					 quote_qualified_identifier(family->schema, family->target), PROCESS_COLUMN);
	for (i = 0; i < shape->ncolumns; i++)
		appendStringInfo(&sql, ", %s", quote_identifier(shape->columns[i].name));
	appendStringInfoString(&sql, ") SELECT $1");
	for (i = 0; i < shape->ncolumns; i++)
		appendStringInfo(&sql, ", s.%s",
						 quote_identifier(NameStr(TupleDescAttr(desc, columns[i].attno - 1)->attname)));
	appendStringInfo(&sql, " FROM ONLY %s s",
					 quote_qualified_identifier(family->schema, RelationGetRelationName(source)));
	if (contents->nrejects > 0)
		appendStringInfoString(&sql, " WHERE NOT s.ctid OPERATOR(pg_catalog.=) ANY ($2)");

	for (i = 0; i < contents->nrejects; i++)
		tids[i] = PointerGetDatum(&contents->rejects[i].tid);
	args[0] = Int64GetDatum(process_id);
	args[1] = PointerGetDatum(construct_array(tids, contents->nrejects, TIDOID,
											  sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	types[1] = get_array_type(TIDOID);
	result = SPI_execute_with_args(sql.data, contents->nrejects > 0 ? 2 : 1, types, args, NULL,
								   false, 0);
	if (result < 0)
		elog(ERROR, "\"%s\" failed: %s", sql.data, SPI_result_code_string(result));
	written = SPI_processed;
	if (written != contents->rows - contents->nrejects)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("target \"%s.%s\" took %lld of %lld rows of \"%s\"", family->schema,
						family->target, (long long) written,
						(long long) (contents->rows - contents->nrejects),
						RelationGetRelationName(source)),
				 errdetail("A trigger, a rule or a policy of the target left rows out.")));
}

/* Copies the rows of a source that are not rejected. */
void
CopySource(CopyState *copy, int64 process_id, Relation source, const SourceColumn *columns,
		   Snapshot snapshot, const Contents *contents)
{
	if (contents->rows == contents->nrejects)
		return;
	if (copy->plain)
		copy_plain(copy, process_id, source, columns, snapshot, contents);
	else
		copy_executor(copy, process_id, source, columns, contents);
}
