/*
 * tariff_numeric.c
 *	  Bills in the server's numeric: for tariffs, consumptions and amounts that
 *	  do not fit 128 bits.  Slower, but without that limit.
 *
 * Sums, differences and products of numerics are exact.  A quotient is taken
 * of integers and rounded by its remainder, so nothing is rounded twice.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "tariff/tariff.h"

/* The template wants a context.  numeric raises its own errors, so it is empty. */
typedef struct TariffNumericCx
{
	int			unused;
} TariffNumericCx;

static Numeric
call2(PGFunction function, Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(function, NumericGetDatum(a),
											   NumericGetDatum(b)));
}

static int
compare_numeric(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a),
											 NumericGetDatum(b)));
}

static Numeric
round_numeric(Numeric a, int decimals)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_round, NumericGetDatum(a),
											   Int32GetDatum(decimals)));
}

/* 10^exponent, exactly */
static Numeric
power_of_ten(int exponent)
{
	TariffDec	power = {1, 0};

	if (exponent < 0)
		power.scale = -exponent;
	else
		power.v = TariffPow10[exponent];
	return DatumGetNumeric(TariffWriteNumeric(power, 0));
}

/* a / b, rounded once, to so many decimals. */
static Numeric
divide_numeric(Numeric a, Numeric b, int decimals, TariffRounding rounding)
{
	Numeric		numerator = call2(numeric_mul, a, power_of_ten(decimals));
	Numeric		quotient = call2(numeric_div_trunc, numerator, b);
	Numeric		rest = call2(numeric_sub, numerator, call2(numeric_mul, quotient, b));
	bool		up;

	if (rounding == TARIFF_ROUND_NEAREST)
		up = compare_numeric(call2(numeric_add, rest, rest), b) >= 0;
	else
		up = rounding == TARIFF_ROUND_UP && compare_numeric(rest, int64_to_numeric(0)) > 0;
	if (up)
		quotient = call2(numeric_add, quotient, int64_to_numeric(1));
	return call2(numeric_mul, quotient, power_of_ten(-decimals));
}

/* Without trailing zeros, but with at least min_decimals decimals. */
static Datum
trimmed(Numeric a, int min_decimals)
{
	Datum		result = DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(a));

	if (DatumGetInt32(DirectFunctionCall1(numeric_scale, result)) < min_decimals)
		result = NumericGetDatum(round_numeric(DatumGetNumeric(result), min_decimals));
	return result;
}

#define TP(name) big_##name
#define TP_NUM Numeric
#define TP_CX TariffNumericCx
#define tp_load(cx, number) TariffNumberToNumeric(number)
#define tp_int(cx, value) int64_to_numeric(value)
#define tp_add(cx, a, b) call2(numeric_add, a, b)
#define tp_sub(cx, a, b) call2(numeric_sub, a, b)
#define tp_mul(cx, a, b) call2(numeric_mul, a, b)
#define tp_compare(cx, a, b) compare_numeric(a, b)
#define tp_hundredth(cx, a) call2(numeric_mul, a, power_of_ten(-2))
#define tp_round2(cx, a) round_numeric(a, 2)
#define tp_divide(cx, a, b, decimals, rounding) divide_numeric(a, b, decimals, rounding)
#define tp_check(cx) CHECK_FOR_INTERRUPTS()
#define tp_failed(cx) ((void) (cx), false)
#define tp_datum(cx, a, min_decimals) trimmed(a, min_decimals)
#define tp_due(entry) ((entry)->numeric_due)
#define tp_full_block(entry, k) NULL

#include "tariff/tariff_price_template.h"
#include "tariff/tariff_output_template.h"

/* Computes the block sums when the entry is first priced with numeric. */
static void
prepare(TariffEntry *entry)
{
	TariffNumericCx cx = {0};
	int			n = entry->tariff.nblocks;
	Numeric    *due;
	Numeric    *kept;

	if (entry->numeric_due)
		return;
	due = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Numeric) * n);
	big_prepare(&cx, &entry->tariff, due);
	kept = MemoryContextAllocHuge(entry->mcxt, sizeof(Numeric) * n);
	for (int i = 0; i < n; i++)
	{
		Size		size = VARSIZE_ANY(due[i]);

		kept[i] = MemoryContextAlloc(entry->mcxt, size);
		memcpy(kept[i], due[i], size);
	}
	pfree(due);
	entry->numeric_due = kept;
}

/* The water charge alone; *charge is set for TARIFF_DONE. */
TariffOutcome
TariffNumericCharge(TariffEntry *entry, const TariffRequest *request, Datum *charge)
{
	TariffNumericCx cx = {0};
	big_Water	water;

	prepare(entry);
	if (big_price_water(&cx, &entry->tariff, entry->numeric_due, request,
						&water) == TARIFF_PRICE_BEYOND)
		return TARIFF_BEYOND;
	*charge = trimmed(water.charge, 2);
	return TARIFF_DONE;
}

/* See tariff.h. */
TariffOutcome
TariffNumericBill(TariffEntry *entry, const TariffRequest *request,
				  const TariffConcepts *concepts, TariffBillOut *out)
{
	TariffNumericCx cx = {0};

	prepare(entry);
	return big_compute(&cx, entry, request, concepts, out);
}
