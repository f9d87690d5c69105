/*
 * tariff_fixed.c
 *	  Bills in fixed-point decimals, ready for SQL.
 *
 * tariff_charge, which is called most, prices inline (tariff_sql.c).  The functions
 * that return blocks and lines price here.
 *
 * A block below the one reached is full.  Unless dwellings or the period scale it,
 * it looks the same on every bill.  Such blocks are made once per tariff, with
 * their JSON, so that a bill computes only the block it reaches.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "tariff/tariff.h"
#include "tariff/tariff_price.h"

#define tp_failed(cx) ((cx)->failed)
#define tp_datum(cx, a, min_decimals) TariffWriteShared(a, min_decimals)
#define tp_due(entry) ((entry)->fixed_due)
#define tp_full_block(entry, k) full_block(entry, k)

/* a tariff with more blocks keeps none of them */
#define MAX_KEPT_BLOCKS 256

static TariffBlockOut *full_block(TariffEntry *entry, int k);

#include "tariff/tariff_output_template.h"

/*
 * Computes what all bills of the entry need.  entry->has_fixed becomes false if the
 * tariff does not fit fixed point.
 */
void
TariffFixedPrepare(TariffEntry *entry)
{
	TariffFixedCx cx = {false};

	entry->fixed_due = MemoryContextAllocExtended(entry->mcxt,
												  sizeof(TariffDec) * entry->tariff.nblocks,
												  MCXT_ALLOC_HUGE);
	fixed_prepare(&cx, &entry->tariff, entry->fixed_due);
	entry->has_fixed = !cx.failed;
	if (entry->has_fixed && entry->tariff.mode == TARIFF_INCREMENTAL &&
		entry->tariff.nblocks <= MAX_KEPT_BLOCKS)
		entry->full = MemoryContextAllocZero(entry->mcxt, sizeof(TariffBlockOut *) *
											 entry->tariff.nblocks);
}

/* Block k when it is full, as on every bill; NULL if the entry keeps none. */
static TariffBlockOut *
full_block(TariffEntry *entry, int k)
{
	TariffFixedCx cx = {false};
	fixed_Water water;
	TariffBlockOut *block;
	MemoryContext oldcontext;

	if (entry->full == NULL || entry->full[k])
		return entry->full ? entry->full[k] : NULL;

	memset(&water, 0, sizeof(water));
	water.reached = k + 1;
	oldcontext = MemoryContextSwitchTo(entry->mcxt);
	block = palloc(sizeof(TariffBlockOut));
	fixed_output_block(&cx, &entry->tariff, &water, k, block);
	if (cx.failed)
		block = NULL;
	else
		TariffBlockKeepJson(block);
	MemoryContextSwitchTo(oldcontext);
	entry->full[k] = block;
	return block;
}

/* See tariff.h. */
TariffOutcome
TariffFixedBill(TariffEntry *entry, const TariffRequest *request,
				const TariffConcepts *concepts, TariffBillOut *out)
{
	TariffFixedCx cx = {!entry->has_fixed};

	return cx.failed ? TARIFF_TOO_BIG : fixed_compute(&cx, entry, request, concepts, out);
}
