/*
 * tariff_decimal.h
 *	  Exact unsigned decimals in fixed point: v / 10^scale.
 *
 * Nothing in a tariff or a bill is negative, so there is no sign.  An operation
 * whose result does not fit 128 bits returns false.  The result is then undefined,
 * and the caller starts again with numeric.  Only TariffDecRound and
 * TariffDecDivide round, in the way that the caller asks for.
 *
 * Pure C: no server headers, so that the fuzzer can link it.
 */
#ifndef AQUACIS_TARIFF_DECIMAL_H
#define AQUACIS_TARIFF_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* palloc aligns to 8; the type's natural alignment would be 16 */
typedef unsigned __int128 TariffU128 __attribute__((aligned(8)));

typedef struct TariffDec
{
	TariffU128	v;
	int32_t		scale;			/* 0 .. a few hundred; large only for small v */
} TariffDec;

typedef enum TariffRounding
{
	TARIFF_ROUND_NONE,
	TARIFF_ROUND_NEAREST,		/* half away from zero */
	TARIFF_ROUND_UP,
	TARIFF_ROUND_DOWN
} TariffRounding;

typedef enum TariffNumberStatus
{
	TARIFF_NUMBER_FIXED,		/* fits a TariffDec */
	TARIFF_NUMBER_BIG,			/* a number, but it needs numeric */
	TARIFF_NUMBER_OUT_OF_RANGE, /* too many digits for a tariff */
	TARIFF_NUMBER_INVALID		/* not a number at all */
} TariffNumberStatus;

/*
 * A number of a tariff has at most this many digits on each side of the decimal
 * point: enough for 1e308 and 1e-300, and few enough that multiplying two of them
 * takes microseconds.
 */
#define TARIFF_MAX_DIGITS 400

/* of the longest result of TariffDecToText: digits, point, leading zeros, NUL */
#define TARIFF_DEC_TEXT_SIZE (TARIFF_MAX_DIGITS + 48)

#define TARIFF_U128_MAX (~(unsigned __int128) 0)

extern const uint64_t TariffPow10[20];

extern TariffNumberStatus TariffDecFromText(const char *text, size_t length,
											TariffDec *result, bool *negative);
extern size_t TariffDecToText(TariffDec a, int min_decimals, char *buffer);
extern void TariffDecTrim(TariffDec *a);
extern bool TariffDecDivide(TariffDec a, TariffDec b, int decimals,
							TariffRounding rounding, TariffDec *result);
extern bool TariffMulWide(TariffU128 a, TariffU128 b, TariffU128 *result);
extern bool TariffDecRaiseWide(TariffDec *a, int scale);
extern bool TariffDecRoundWide(TariffDec a, int decimals, TariffDec *result);

static inline bool
TariffMul(TariffU128 a, TariffU128 b, TariffU128 *result)
{
	if (((a | b) >> 64) == 0)
	{
		*result = (unsigned __int128) (uint64_t) a * (uint64_t) b;
		return true;
	}
	return TariffMulWide(a, b, result);
}

/* The same value with more decimals: scale is not less than a->scale. */
static inline bool
TariffDecRaise(TariffDec *a, int scale)
{
	int			digits = scale - a->scale;

	if (digits == 0)
		return true;
	if (digits < 20 && (a->v >> 64) == 0)
	{
		a->v = (unsigned __int128) (uint64_t) a->v * TariffPow10[digits];
		a->scale = scale;
		return true;
	}
	return TariffDecRaiseWide(a, scale);
}

/* Gives both the larger scale of the two. */
static inline bool
TariffDecAlign(TariffDec *a, TariffDec *b)
{
	if (a->scale < b->scale)
		return TariffDecRaise(a, b->scale);
	if (b->scale < a->scale)
		return TariffDecRaise(b, a->scale);
	return true;
}

static inline bool
TariffDecAdd(TariffDec a, TariffDec b, TariffDec *result)
{
	if (!TariffDecAlign(&a, &b))
		return false;
	result->v = a.v + b.v;
	result->scale = a.scale;
	return result->v >= a.v;
}

/* a - b; false, too, if a is less than b */
static inline bool
TariffDecSub(TariffDec a, TariffDec b, TariffDec *result)
{
	if (!TariffDecAlign(&a, &b) || a.v < b.v)
		return false;
	result->v = a.v - b.v;
	result->scale = a.scale;
	return true;
}

static inline bool
TariffDecMul(TariffDec a, TariffDec b, TariffDec *result)
{
	result->scale = a.scale + b.scale;
	return TariffMul(a.v, b.v, &result->v);
}

/*
 * Negative, zero or positive, if a is less than, equal to or greater than b.  This
 * never fails: a value that does not fit at the scale of the other is larger.
 */
static inline int
TariffDecCompare(TariffDec a, TariffDec b)
{
	if (a.scale < b.scale && !TariffDecRaise(&a, b.scale))
		return 1;
	if (b.scale < a.scale && !TariffDecRaise(&b, a.scale))
		return -1;
	return (a.v > b.v) - (a.v < b.v);
}

/* Half away from zero, to exactly this many decimals. */
static inline bool
TariffDecRound(TariffDec a, int decimals, TariffDec *result)
{
	int			digits = a.scale - decimals;

	if (digits > 0 && digits < 19 && (a.v >> 63) == 0)
	{
		uint64_t	unit = TariffPow10[digits];

		result->v = ((uint64_t) a.v + unit / 2) / unit;
		result->scale = decimals;
		return true;
	}
	return TariffDecRoundWide(a, decimals, result);
}

#endif							/* AQUACIS_TARIFF_DECIMAL_H */
