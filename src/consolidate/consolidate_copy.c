/*
 * consolidate_copy.c
 *	  Rows into the target, in bulk.
 *
 * The rows of the sources of one transaction go through one buffer of slots
 * into table_multi_insert, as COPY does.  A buffer may hold rows of several sources, and
 * large values in them may still be stored in the TOAST table of their source.  So
 * ConsolidateCopyClose, which empties the buffer, comes before the sources are dropped.
 *
 * A source is read twice: ConsolidateScanSource says what is in it, ConsolidateCopySource
 * writes.  One that is small and has no rejects is read once: ConsolidateCopyReadSmall
 * forms the target's rows while it scans, and sorts them by key, so that building the
 * primary key finds them in order.  It gives up at the first reject, without having
 * written anything.
 *
 * That is for a plain table.  Where a trigger, a check, a domain, a generated column,
 * a volatile default, partitions or an extension (a hypertable of TimescaleDB) make
 * inserting more than storing, or where the target is no table, the executor does it:
 * INSERT ... SELECT from the rows as they were read (common/rows.h), without the
 * rejected ones.  The source is not named in that statement, because planning it could
 * run code of its owner.  Either way the number of rows written is checked; where the
 * target is no table, that of the rows which it shows.
 *
 * Whatever computes something of the target (defaults, index expressions, the
 * executor) does it as its owner, see consolidate_trust.c.
 *
 * CopyState lives as long as the run, with its slots; what belongs to a transaction is
 * made by open_target and ends with ConsolidateCopyClose.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "common/hypertable.h"
#include "common/rows.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"
#include "consolidate/consolidate.h"

#define BUFFER_ROWS		1000
#define BUFFER_BYTES	65536
#define SMALL_BLOCKS	256

/* A row that is ready for the target. */
typedef struct Pending
{
	int64		key;
	HeapTuple	tuple;
} Pending;

struct CopyState
{
	Family	   *family;
	MemoryContext context;		/* as long as the run */
	TupleDesc	desc;			/* of the target, our copy */
	TupleTableSlot *slots[BUFFER_ROWS];
	int			nslots;			/* made */

	/* for one transaction */
	bool		open;
	Relation	target;
	Oid			owner;
	bool		plain;			/* rows may be stored without the executor */
	bool		heap;			/* and as heap tuples */
	AttrNumber	process_attno;
	Datum	   *values;			/* a row, with the defaults of other columns */
	bool	   *nulls;
	EState	   *estate;
	ResultRelInfo *result;
	BulkInsertState bulk;
	MemoryContext per_row;
	int			nused;			/* slots */
	Size		bytes;

	/* for one source */
	Pending    *pending;
	int			npending;
};

/*
 * Evaluates the defaults of the columns that no source has.  False when one
 * would have to be evaluated for each row.
 */
static bool
evaluate_defaults(CopyState *copy)
{
	TupleDesc	desc = RelationGetDescr(copy->target);
	FamilyColumns *columns = &copy->family->columns;

	copy->values = palloc0(sizeof(Datum) * desc->natts);
	copy->nulls = palloc(sizeof(bool) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		filled = att->attisdropped;
		Expr	   *expr;

		copy->nulls[i] = true;
		if (!filled && strcmp(NameStr(att->attname), PROCESS_COLUMN) == 0)
		{
			copy->process_attno = att->attnum;
			filled = true;
		}
		for (int j = 0; j < columns->ncolumns && !filled; j++)
			filled = columns->column[j].target_attno == att->attnum;
		if (filled)
			continue;
		/* also virtual ones, whose expression build_column_default would give */
		if (att->attgenerated)
			return false;
		/* a domain may refuse a null, and a default that others than it checks */
		if (get_typtype(att->atttypid) == TYPTYPE_DOMAIN)
			return false;
		expr = (Expr *) build_column_default(copy->target, att->attnum);
		if (expr == NULL)
			continue;
		if (att->attidentity || contain_volatile_functions((Node *) expr))
			return false;
		expr = expression_planner(expr);
		copy->values[i] = ExecEvalExpr(ExecPrepareExpr(expr, copy->estate),
									   GetPerTupleExprContext(copy->estate),
									   &copy->nulls[i]);
		/* let the executor raise the error */
		if (copy->nulls[i] && att->attnotnull)
			return false;
	}
	return true;
}

/* Do two descriptors agree in everything that matters to a stored row? */
static bool
same_columns(TupleDesc a, TupleDesc b)
{
	if (a->natts != b->natts)
		return false;
	for (int i = 0; i < a->natts; i++)
	{
		Form_pg_attribute x = TupleDescAttr(a, i);
		Form_pg_attribute y = TupleDescAttr(b, i);

		if (x->attisdropped != y->attisdropped || x->atttypid != y->atttypid ||
			x->atttypmod != y->atttypmod || x->attnotnull != y->attnotnull ||
			strcmp(NameStr(x->attname), NameStr(y->attname)) != 0)
			return false;
	}
	return true;
}

static bool
target_is_plain(CopyState *copy)
{
	Relation	target = copy->target;
	TupleConstr *constr = RelationGetDescr(target)->constr;

	if (target->rd_rel->relkind != RELKIND_RELATION || target->rd_rel->relispartition ||
		target->rd_rules != NULL || target->trigdesc != NULL)
		return false;
	if (constr && (constr->num_check > 0 || constr->has_generated_stored))
		return false;
	return !HypertableTakesRows(target) && evaluate_defaults(copy);
}

/* Begins the copies of a run.  The result lives in the current memory context. */
CopyState *
ConsolidateCopyBegin(Family *family)
{
	CopyState  *copy = palloc0(sizeof(CopyState));

	copy->family = family;
	copy->context = CurrentMemoryContext;
	return copy;
}

/*
 * Opens the target for the current transaction, if it is not open yet; what is
 * allocated goes with the current memory context.
 */
static void
open_target(CopyState *copy)
{
	UserCodeScope scope;

	if (copy->open)
		return;
	copy->owner = ConsolidateTargetUser(copy->family, ACL_SELECT | ACL_INSERT);
	UserCodeEnter(&scope, copy->owner);
	copy->target = table_open(copy->family->target_oid, RowExclusiveLock);
	if (copy->desc == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(copy->context);

		copy->desc = CreateTupleDescCopyConstr(RelationGetDescr(copy->target));
		MemoryContextSwitchTo(oldcontext);
	}
	else if (!same_columns(copy->desc, RelationGetDescr(copy->target)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s.%s\" was altered while it was filled",
						copy->family->schema, copy->family->target),
				 errhint("Call consolidate again.")));
	copy->estate = CreateExecutorState();
	copy->plain = target_is_plain(copy);
	copy->heap = copy->plain && copy->target->rd_tableam == GetHeapamTableAmRoutine();
	if (copy->plain)
	{
		copy->result = makeNode(ResultRelInfo);
		InitResultRelInfo(copy->result, copy->target, 0, NULL, 0);
		ExecOpenIndices(copy->result, false);
		copy->bulk = GetBulkInsertState();
		copy->per_row = AllocSetContextCreate(CurrentMemoryContext, "aquacis copied row",
											  ALLOCSET_SMALL_SIZES);
	}
	UserCodeLeave(&scope);
	/* nothing can be deferred in a security-restricted operation */
	if (!copy->plain && !UserCodeRoleIsTrusted(copy->owner))
		SpiFireDeferred();
	copy->nused = 0;
	copy->bytes = 0;
	copy->npending = 0;
	copy->open = true;
}

/* Writes what the buffer holds. */
static void
flush(CopyState *copy)
{
	MemoryContext oldcontext;
	UserCodeScope scope;

	if (copy->nused == 0)
		return;
	UserCodeEnter(&scope, copy->owner);
	oldcontext = MemoryContextSwitchTo(GetPerTupleMemoryContext(copy->estate));
	table_multi_insert(copy->target, copy->slots, copy->nused, GetCurrentCommandId(true), 0,
					   copy->bulk);
	MemoryContextSwitchTo(oldcontext);
	for (int i = 0; i < copy->nused; i++)
	{
		if (copy->result->ri_NumIndices > 0)
		{
			List	   *recheck PG_USED_FOR_ASSERTS_ONLY =
			ExecInsertIndexTuples(copy->result, copy->slots[i], copy->estate, false, false,
								  NULL, NIL, false);

			/* a deferrable key has a trigger, and its table is not plain */
			Assert(recheck == NIL);
		}
		ExecClearTuple(copy->slots[i]);
	}
	ResetPerTupleExprContext(copy->estate);
	UserCodeLeave(&scope);
	copy->nused = 0;
	copy->bytes = 0;
}

/* Writes what is left, and closes the target until the next transaction. */
void
ConsolidateCopyClose(CopyState *copy)
{
	if (!copy->open)
		return;
	flush(copy);
	if (copy->plain)
	{
		FreeBulkInsertState(copy->bulk);
		table_finish_bulk_insert(copy->target, 0);
		ExecCloseIndices(copy->result);
		MemoryContextDelete(copy->per_row);
	}
	FreeExecutorState(copy->estate);
	table_close(copy->target, NoLock);
	copy->open = false;
}

/* After an error, whose rollback has released the transaction's resources. */
void
ConsolidateCopyForget(CopyState *copy)
{
	for (int i = 0; i < copy->nslots; i++)
		ExecClearTuple(copy->slots[i]);
	copy->open = false;
}

/* ---- rows ------------------------------------------------------------------------ */

static TupleTableSlot *
next_slot(CopyState *copy)
{
	if (copy->nused == copy->nslots)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(copy->context);

		copy->slots[copy->nslots++] =
			MakeSingleTupleTableSlot(copy->desc, copy->heap ? &TTSOpsHeapTuple :
									 table_slot_callbacks(copy->target));
		MemoryContextSwitchTo(oldcontext);
	}
	return copy->slots[copy->nused++];
}

/* Puts the values of a row, in the family's order, where the target has them. */
static void
arrange_row(CopyState *copy, int64 process_id, const Datum *values, const bool *nulls)
{
	FamilyColumns *columns = &copy->family->columns;

	copy->values[copy->process_attno - 1] = Int64GetDatum(process_id);
	copy->nulls[copy->process_attno - 1] = false;
	for (int i = 0; i < columns->ncolumns; i++)
	{
		AttrNumber	attno = columns->column[i].target_attno;

		copy->values[attno - 1] = values[i];
		copy->nulls[attno - 1] = nulls[i];
	}
}

static void
buffer_tuple(CopyState *copy, HeapTuple tuple)
{
	tuple->t_tableOid = copy->family->target_oid;
	ExecStoreHeapTuple(tuple, next_slot(copy), true);
	copy->bytes += tuple->t_len;
	if (copy->nused == BUFFER_ROWS || copy->bytes >= BUFFER_BYTES)
		flush(copy);
}

static void
buffer_row(CopyState *copy, int64 process_id, const Datum *values, const bool *nulls)
{
	int			natts = copy->desc->natts;
	TupleTableSlot *slot;

	arrange_row(copy, process_id, values, nulls);
	if (copy->heap)
	{
		buffer_tuple(copy, heap_form_tuple(copy->desc, copy->values, copy->nulls));
		return;
	}
	slot = next_slot(copy);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, copy->values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, copy->nulls, sizeof(bool) * natts);
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
	copy->bytes += heap_compute_data_size(copy->desc, copy->values, copy->nulls);
	if (copy->nused == BUFFER_ROWS || copy->bytes >= BUFFER_BYTES)
		flush(copy);
}

/* ---- small sources ------------------------------------------------------------- */

#define ST_SORT sort_pending
#define ST_ELEMENT_TYPE Pending
#define ST_COMPARE(a, b) ((a)->key < (b)->key ? -1 : (a)->key > (b)->key)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * Reads a source into copy->pending, sorted by key, and adds to its checksum.  False as
 * soon as a row cannot be converted, or two have the same key.
 */
static bool
read_pending(CopyState *copy, int64 process_id, Relation source, const SourceColumn *from,
			 Snapshot snapshot, SourceContents *contents)
{
	FamilyColumns *columns = &copy->family->columns;
	MemoryContext oldcontext = CurrentMemoryContext;
	TableScanDesc scan = ConsolidateBeginScan(source, snapshot);
	TupleTableSlot *slot = table_slot_create(source, NULL);
	Datum	   *values = palloc0(sizeof(Datum) * columns->ncolumns);
	bool	   *nulls = palloc0(sizeof(bool) * columns->ncolumns);
	bool		clean = true;
	bool		ascending = true;
	int			allocated = 0;

	while (clean && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		RejectKind	kind;
		int			column;
		Pending    *row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(copy->per_row);
		MemoryContextSwitchTo(copy->per_row);
		clean = ConsolidateConvertRow(columns, from, slot, values, nulls, &kind, &column);
		if (!clean)
			break;
		contents->checksum += ConsolidateChecksumRow(columns, values, nulls);
		MemoryContextSwitchTo(oldcontext);
		if (copy->npending == allocated)
		{
			allocated = Max(allocated * 2, 256);
			copy->pending = allocated == 256 ? palloc(sizeof(Pending) * allocated) :
				repalloc(copy->pending, sizeof(Pending) * allocated);
		}
		row = &copy->pending[copy->npending++];
		row->key = (int64) ConsolidateHashKey(columns, values);
		if (copy->npending > 1 && row->key <= row[-1].key)
			ascending = false;
		arrange_row(copy, process_id, values, nulls);
		row->tuple = heap_form_tuple(copy->desc, copy->values, copy->nulls);
	}
	MemoryContextSwitchTo(oldcontext);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);

	if (clean && !ascending)
	{
		sort_pending(copy->pending, copy->npending);
		for (int i = 1; i < copy->npending && clean; i++)
			clean = copy->pending[i].key != copy->pending[i - 1].key;
	}
	return clean;
}

/*
 * Scans a small source and keeps its rows for ConsolidateCopySource.  False, and nothing
 * done, when it is not small, or the target would refuse one of its rows.
 */
bool
ConsolidateCopyReadSmall(CopyState *copy, int64 process_id, Relation source,
						 const SourceColumn *from, Snapshot snapshot, SourceContents *contents)
{
	open_target(copy);
	copy->npending = 0;
	if (!copy->heap || RelationGetNumberOfBlocks(source) > SMALL_BLOCKS)
		return false;
	memset(contents, 0, sizeof(SourceContents));
	if (read_pending(copy, process_id, source, from, snapshot, contents))
	{
		contents->rows = copy->npending;
		return true;
	}
	for (int i = 0; i < copy->npending; i++)
		heap_freetuple(copy->pending[i].tuple);
	copy->npending = 0;
	return false;
}

/* ---- any source ---------------------------------------------------------------- */

/* What buffer_callback and rows_callback need. */
typedef struct RowTarget
{
	CopyState  *copy;
	int64		process_id;
	Rows	   *rows;
} RowTarget;

static void
buffer_callback(void *arg, Datum *values, bool *nulls)
{
	RowTarget  *into = arg;

	buffer_row(into->copy, into->process_id, values, nulls);
}

static void
rows_callback(void *arg, Datum *values, bool *nulls)
{
	RowsPut(((RowTarget *) arg)->rows, values, nulls);
}

static void
copy_plain(CopyState *copy, int64 process_id, Relation source, const SourceColumn *from,
		   Snapshot snapshot, const SourceContents *contents)
{
	RowTarget	into = {copy, process_id};

	ConsolidateForEachRow(&copy->family->columns, source, from, snapshot, contents,
						  buffer_callback, &into);
}

static TupleDesc
row_descriptor(const FamilyColumns *columns)
{
	TupleDesc	desc = CreateTemplateTupleDesc(columns->ncolumns);

	for (int i = 0; i < columns->ncolumns; i++)
	{
		const FamilyColumn *column = &columns->column[i];

		TupleDescInitEntry(desc, i + 1, column->name, column->type, column->typmod, 0);
		TupleDescInitEntryCollation(desc, i + 1, column->collation);
	}
	return desc;
}

static char *
insert_command(Family *family, int64 process_id)
{
	char	   *columns = ConsolidateColumnList(&family->columns);

	return psprintf("INSERT INTO %s (%s, %s) OVERRIDING SYSTEM VALUE"
					" SELECT " INT64_FORMAT "::pg_catalog.int8, %s FROM " ROWS_NAME,
					quote_qualified_identifier(family->schema, family->target), PROCESS_COLUMN,
					columns, process_id, columns);
}

/*
 * The rows that the target shows.  A view or a foreign server may count rows as written
 * that it did not store.
 */
static int64
rows_shown(Family *family, int64 process_id)
{
	HTAB	   *sums = ConsolidateTargetSums(family, &process_id);
	ProcessSum *sum = hash_search(sums, &process_id, HASH_FIND, NULL);

	return sum ? sum->rows : 0;
}

static void
copy_executor(CopyState *copy, int64 process_id, Relation source, const SourceColumn *from,
			  Snapshot snapshot, const SourceContents *contents)
{
	Family	   *family = copy->family;
	RowTarget	into = {copy, process_id, RowsBegin(row_descriptor(&family->columns))};
	int64		written;

	ConsolidateForEachRow(&family->columns, source, from, snapshot, contents, rows_callback, &into);
	written = RowsInto(into.rows, copy->owner, insert_command(family, process_id));
	if (copy->target->rd_rel->relkind == RELKIND_VIEW ||
		copy->target->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		written = Min(written, rows_shown(family, process_id));
	if (written != contents->rows - contents->nrejects)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("target \"%s.%s\" took %lld of %lld rows of \"%s\"", family->schema,
						family->target, (long long) written,
						(long long) (contents->rows - contents->nrejects),
						RelationGetRelationName(source)),
				 errdetail("A trigger, a rule or a policy of the target left rows out."),
				 errhint("Disable it, or rename the table: consolidate then makes its own.")));
}

/*
 * Copies the rows of a source that are not rejected, at the latest with
 * ConsolidateCopyClose.  Raises 27000 when the target does not take all of them.
 */
void
ConsolidateCopySource(CopyState *copy, int64 process_id, Relation source, const SourceColumn *from,
					  Snapshot snapshot, const SourceContents *contents)
{
	open_target(copy);
	if (copy->npending > 0)
	{
		for (int i = 0; i < copy->npending; i++)
			buffer_tuple(copy, copy->pending[i].tuple);
		copy->npending = 0;
	}
	else if (copy->plain)
		copy_plain(copy, process_id, source, from, snapshot, contents);
	else
		copy_executor(copy, process_id, source, from, snapshot, contents);
}
