/*
 * tariff_price.h
 *	  The fixed-point instance of tariff_price_template.h, all of it inline,
 *	  because every bill takes this path first.
 *
 * A result that does not fit 128 bits sets cx->failed.  The whole bill is then
 * computed again with numeric (tariff_numeric.c).
 *
 * Pure C: no server headers.
 */
#ifndef AQUACIS_TARIFF_PRICE_H
#define AQUACIS_TARIFF_PRICE_H

#include <string.h>

#include "tariff/tariff_types.h"

typedef struct TariffFixedCx
{
	bool		failed;
} TariffFixedCx;

static inline TariffDec
fixed_load(TariffFixedCx *cx, const TariffNumber *number)
{
	cx->failed |= (number->big != NULL);
	return number->dec;
}

static inline TariffDec
fixed_int(int value)
{
	TariffDec	result = {(TariffU128) value, 0};

	return result;
}

static inline TariffDec
fixed_add(TariffFixedCx *cx, TariffDec a, TariffDec b)
{
	TariffDec	result = {0, 0};

	cx->failed |= !TariffDecAdd(a, b, &result);
	return result;
}

static inline TariffDec
fixed_sub(TariffFixedCx *cx, TariffDec a, TariffDec b)
{
	TariffDec	result = {0, 0};

	cx->failed |= !TariffDecSub(a, b, &result);
	return result;
}

static inline TariffDec
fixed_mul(TariffFixedCx *cx, TariffDec a, TariffDec b)
{
	TariffDec	result = {0, 0};

	cx->failed |= !TariffDecMul(a, b, &result);
	return result;
}

static inline TariffDec
fixed_hundredth(TariffDec a)
{
	a.scale += 2;
	return a;
}

static inline TariffDec
fixed_round2(TariffFixedCx *cx, TariffDec a)
{
	TariffDec	result = {0, 0};

	cx->failed |= !TariffDecRound(a, 2, &result);
	return result;
}

static inline TariffDec
fixed_divide(TariffFixedCx *cx, TariffDec a, TariffDec b, int decimals,
			 TariffRounding rounding)
{
	TariffDec	result = {0, 0};

	/* after a failure b can be anything, even zero */
	if (cx->failed || !TariffDecDivide(a, b, decimals, rounding, &result))
		cx->failed = true;
	return result;
}

#define TP(name) fixed_##name
#define TP_NUM TariffDec
#define TP_CX TariffFixedCx
#define tp_load(cx, number) fixed_load(cx, number)
#define tp_int(cx, value) fixed_int(value)
#define tp_add(cx, a, b) fixed_add(cx, a, b)
#define tp_sub(cx, a, b) fixed_sub(cx, a, b)
#define tp_mul(cx, a, b) fixed_mul(cx, a, b)
#define tp_compare(cx, a, b) TariffDecCompare(a, b)
#define tp_hundredth(cx, a) fixed_hundredth(a)
#define tp_round2(cx, a) fixed_round2(cx, a)
#define tp_divide(cx, a, b, decimals, rounding) fixed_divide(cx, a, b, decimals, rounding)
#define tp_check(cx) ((void) (cx))

#include "tariff/tariff_price_template.h"

#endif							/* AQUACIS_TARIFF_PRICE_H */
