/*
 * tariff_fixed.c
 *	  Bills in fixed-point decimals, ready for SQL.
 *
 * tariff_charge, the hottest call of all, prices inline (tariff_sql.c); what
 * returns blocks and lines comes here.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "tariff/tariff.h"
#include "tariff/tariff_price.h"

#define tp_failed(cx) ((cx)->failed)
#define tp_datum(cx, a, min_decimals) TariffWriteNumeric(a, min_decimals)
#define tp_due(entry) ((entry)->fixed_due)

#include "tariff/tariff_output_template.h"

void
TariffFixedPrepare(TariffEntry *entry)
{
	TariffFixedCx cx = {false};

	entry->fixed_due = MemoryContextAllocExtended(entry->mcxt,
												  sizeof(TariffDec) * entry->tariff.nblocks,
												  MCXT_ALLOC_HUGE);
	fixed_prepare(&cx, &entry->tariff, entry->fixed_due);
	entry->has_fixed = !cx.failed;
}

TariffOutcome
TariffFixedBlocks(TariffEntry *entry, const TariffRequest *request, TariffBillOut *out)
{
	TariffFixedCx cx = {!entry->has_fixed};

	return cx.failed ? TARIFF_TOO_BIG : fixed_compute(&cx, entry, request, NULL, out);
}

TariffOutcome
TariffFixedBill(TariffEntry *entry, const TariffRequest *request,
				const TariffConcepts *concepts, TariffBillOut *out)
{
	TariffFixedCx cx = {!entry->has_fixed};

	return cx.failed ? TARIFF_TOO_BIG : fixed_compute(&cx, entry, request, concepts, out);
}
