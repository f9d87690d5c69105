/*
 * audit_split_copy.c
 *	  The entries of the past into the tables of their months.
 *
 * The blocks of the past are read in their order, once.  Each entry goes into the table of
 * its month, as it is stored: values, generated ones too, are copied and nothing is
 * computed, so that no code of anybody runs, and large values stay compressed.  A
 * table is made when the first entry of its month comes.
 *
 * What is written is not told to logical decoding (as ALTER TABLE does when it rewrites a
 * table): the entries are no new changes, not for a publication of all tables either.
 *
 * A place in the past (block, line, and the transaction that wrote the row) names a
 * version of a row.  The sum of their hashes, modulo 2^64, and their number say later
 * whether any has come or gone.  VACUUM does not change them.
 *
 * A batch ends at the first block after BATCH_MS, so that who wants to change the past does
 * not wait for long.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "commands/defrem.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_split.h"
#include "common/hypertable.h"
#include "common/names.h"
#include "common/spi.h"
#include "compat.h"

#define BATCH_MS	250

/* a part that is open for a batch */
typedef struct OpenPart
{
	int			month;
	Relation	rel;
	TupleTableSlot *slot;
	TupleConversionMap *map;	/* NULL: the columns lie alike */
	BulkInsertState bulk;
} OpenPart;

typedef struct Copy
{
	AuditSplit *s;
	Relation	past;
	AttrNumber	attnum;			/* of changed_at */
	TimestampTz first;			/* what is older has no month of its own */
	List	   *open;			/* of OpenPart * */
	OpenPart   *latest;
	MemoryContext cxt;			/* of the batch */
} Copy;

/* The hash of a row's place. */
static uint64
hash_place(TupleTableSlot *slot)
{
	bool		isnull;
	uint32		place[3];

	place[0] = ItemPointerGetBlockNumber(&slot->tts_tid);
	place[1] = ItemPointerGetOffsetNumber(&slot->tts_tid);
	place[2] = DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));
	return hash_bytes_extended((const unsigned char *) place, sizeof(place), 0);
}

/* ---- the tables of the months ----------------------------------------------------------- */

/* Makes the table of a month.  Its check proves later that it may be that partition. */
static Oid
make_part(AuditSplit *s, int month)
{
	AuditRange	range;
	Oid			nspoid = get_rel_namespace(s->logid);
	const char *relname = month == AUDIT_SPLIT_BEFORE ?
	ChooseRelationName(get_rel_name(s->logid), NULL, "before", nspoid, false) : AuditMonthName(s->logid, month);
	const char *table = AuditCreateTable(s->logid, relname);
	Oid			relid = get_relname_relid(relname, nspoid);
	Relation	log = table_open(s->logid, NoLock);
	const char *column = quote_identifier(get_attname(s->logid, AuditPartitionColumn(log), false));
	StringInfoData check;

	table_close(log, NoLock);
	AuditSplitPartRange(s, month, &range);
	initStringInfo(&check);
	appendStringInfo(&check, "ALTER TABLE %s ADD CONSTRAINT " AUDIT_SPLIT_CHECK " CHECK (%s IS NOT NULL AND ", table, column);
	if (range.from != PG_INT64_MIN)
		appendStringInfo(&check, "%s OPERATOR(pg_catalog.>=) %s AND ", column, AuditTimeLiteral(range.from));
	appendStringInfo(&check, "%s OPERATOR(pg_catalog.<) %s)", column, AuditTimeLiteral(range.to));
	AuditAlterAsOwner(relid, check.data);
	return relid;
}

static OpenPart *
open_part(Copy *copy, Oid relid, int month)
{
	OpenPart   *part = palloc0(sizeof(OpenPart));

	part->month = month;
	part->rel = table_open(relid, RowExclusiveLock);
	if (HypertableTakesRows(part->rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("another extension takes the rows of \"%s\"", RelationGetRelationName(part->rel))));
	part->slot = table_slot_create(part->rel, NULL);
	part->map = convert_tuples_by_name(RelationGetDescr(copy->past), RelationGetDescr(part->rel));
	part->bulk = GetBulkInsertState();
	copy->open = lappend(copy->open, part);
	return part;
}

static void
close_parts(Copy *copy)
{
	ListCell   *lc;

	foreach(lc, copy->open)
	{
		OpenPart   *part = lfirst(lc);

		FreeBulkInsertState(part->bulk);
		ExecDropSingleTupleTableSlot(part->slot);
		table_close(part->rel, NoLock);
	}
}

/* The part for a month, open; it is made when there is none. */
static OpenPart *
find_part(Copy *copy, int month)
{
	AuditSplitState *state = &copy->s->state;
	MemoryContext old;
	AuditSplitPart *made;
	ListCell   *lc;

	if (copy->latest != NULL && copy->latest->month == month)
		return copy->latest;
	foreach(lc, copy->open)
		if (((OpenPart *) lfirst(lc))->month == month)
		return lfirst(lc);
	foreach(lc, state->parts)
	{
		AuditSplitPart *part = lfirst(lc);

		if (part->month == month)
			return open_part(copy, part->relid, month);
	}
	old = MemoryContextSwitchTo(copy->s->cxt);
	made = palloc(sizeof(AuditSplitPart));
	made->month = month;
	made->relid = make_part(copy->s, month);
	state->parts = lappend(state->parts, made);
	MemoryContextSwitchTo(old);
	return open_part(copy, made->relid, month);
}

/* ---- a batch --------------------------------------------------------------------------- */

/* The month of an entry. */
static int
month_of(Copy *copy, TupleTableSlot *slot)
{
	bool		isnull;
	TimestampTz at = DatumGetTimestampTz(slot_getattr(slot, copy->attnum, &isnull));

	if (isnull || at >= copy->s->past.to)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("\"%s\" has an entry that does not belong there", RelationGetRelationName(copy->past)),
				 errdetail("Its %s is null, or not before %s.",
						   NameStr(TupleDescAttr(RelationGetDescr(copy->past), copy->attnum - 1)->attname),
						   AuditTimeLiteral(copy->s->past.to))));
	return at < copy->first ? AUDIT_SPLIT_BEFORE : AuditMonthOf(at);
}

static void
copy_entry(OpenPart *part, TupleTableSlot *slot)
{
	if (part->map != NULL)
		execute_attr_map_slot(part->map->attrMap, slot, part->slot);
	else
	{
		slot_getallattrs(slot);
		ExecClearTuple(part->slot);
		memcpy(part->slot->tts_values, slot->tts_values, sizeof(Datum) * slot->tts_nvalid);
		memcpy(part->slot->tts_isnull, slot->tts_isnull, sizeof(bool) * slot->tts_nvalid);
		ExecStoreVirtualTuple(part->slot);
	}
	table_tuple_insert(part->rel, part->slot, GetCurrentCommandId(true),
					   TABLE_INSERT_NO_LOGICAL | TABLE_INSERT_SKIP_FSM, part->bulk);
}

/* Copies from state->next_block on, and moves it. */
static void
copy_blocks(Copy *copy, BlockNumber blocks)
{
	AuditSplitState *state = &copy->s->state;
	TimestampTz begun = GetCurrentTimestamp();
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(copy->past, NULL);
	BlockNumber block = state->next_block;
	MemoryContext row_cxt = AllocSetContextCreate(copy->cxt, "audit_split row", ALLOCSET_DEFAULT_SIZES);
	ItemPointerData first;
	ItemPointerData last;
	TableScanDesc scan;

	ItemPointerSet(&first, block, FirstOffsetNumber);
	ItemPointerSet(&last, blocks - 1, MaxOffsetNumber);
	scan = table_beginscan_tidrange(copy->past, snapshot, &first, &last);
	state->next_block = blocks;
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		MemoryContext old;

		if (ItemPointerGetBlockNumber(&slot->tts_tid) != block)
		{
			CHECK_FOR_INTERRUPTS();
			block = ItemPointerGetBlockNumber(&slot->tts_tid);
			if (TimestampDifferenceExceeds(begun, GetCurrentTimestamp(), BATCH_MS))
			{
				state->next_block = block;
				break;
			}
		}
		state->checksum += hash_place(slot);
		state->entries++;
		copy->latest = find_part(copy, month_of(copy, slot));
		old = MemoryContextSwitchTo(row_cxt);
		copy_entry(copy->latest, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_cxt);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
}

/*
 * Copies the next entries of the past, which is locked against changes, into s->state;
 * the caller saves that.  s->outcome says whether there are more.  Within an SPI connection.
 */
void
AuditSplitCopy(AuditSplit *s, Relation past)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(past);
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "audit_split batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Relation	log = table_open(s->logid, NoLock);
	Copy		copy = {.s = s, .past = past, .cxt = cxt};

	copy.attnum = get_attnum(RelationGetRelid(past), get_attname(s->logid, AuditPartitionColumn(log), false));
	table_close(log, NoLock);
	copy.first = AuditMonthStart(AuditSplitFirst(s));
	if (s->state.next_block < blocks)
		copy_blocks(&copy, blocks);
	close_parts(&copy);
	s->state.blocks = blocks;
	s->outcome = s->state.next_block < blocks ? AUDIT_SPLIT_COPY : AUDIT_SPLIT_COPIED;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/*
 * Reads the past, which is locked against changes: has it the rows that were copied, in
 * their places, and no other?
 */
bool
AuditSplitUnchanged(const AuditSplitState *state, Relation past)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(past, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(past, NULL);
	int64		entries = 0;
	uint64		checksum = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		checksum += hash_place(slot);
		entries++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	return entries == state->entries && checksum == state->checksum;
}
