/*
 * legacy_money.c
 *	  A float8 amount as exact cents, with the value that
 *	  ROUND(x::numeric, 2)::numeric(12,2) gives.
 *
 * That expression rounds twice.  The cast to numeric prints 15 significant digits
 * (DBL_DIG), so 0.285, which in binary is a little less, becomes 0.285 again.  ROUND
 * then rounds halves away from zero, so the result is 0.29.  Rounding x * 100 would
 * give 0.28.  The old invoices were computed in the first way.
 *
 * Almost every amount is so far from half a cent that neither rounding can change on
 * which side of it the value is: rounding to 15 digits changes a value by at most
 * 5e-15 of itself, and the multiplication by 100 by another 1.2e-16.  If the value is
 * within 1e-14 of a half (call it T), we must know whether the value rounded to 15
 * digits is at least T.  T has three decimals and at most 13 digits, so it has an
 * exact 15-digit form.  It is not a power of ten, so the 15-digit numbers next to it
 * are one unit away on both sides.  Let that unit be 10^-s (s >= 5).  Then:
 *
 *		round15(x) >= T   <=>   x > T - 10^-s / 2
 *
 * Multiplied by 2 * 10^s, both sides are integers times a power of two: x is a 53-bit
 * integer times a power of two, and all values stay below 2^113.  The sides are never
 * equal: the right one is then -1 modulo 5, but a double of that size would have to
 * be divisible by 5^s.
 */
#include <float.h>
#include <math.h>

#include "legacy/legacy.h"

typedef unsigned __int128 uint128_t;

/* So close to half a cent, as a part of the value, we compare exactly. */
#define DOUBT 1e-14

/*
 * Is the value, rounded to 15 significant digits, at least half_mills / 1000 (an odd
 * multiple of 0.005)?  The caller knows that the two are within DOUBT.
 */
static bool
reaches_half(double value, int64_t half_mills)
{
	uint64_t	grid = (uint64_t) half_mills;	/* T in units of 10^-s */
	uint64_t	power = 1000;	/* 10^s */
	uint64_t	mantissa;
	int			exponent;

	while (grid < UINT64_C(100000000000000))
	{
		grid *= 10;
		power *= 10;
	}

	/* value = mantissa * 2^exponent, and exponent < 0 for all in range */
	mantissa = (uint64_t) ldexp(frexp(value, &exponent), DBL_MANT_DIG);
	exponent -= DBL_MANT_DIG;
	return (uint128_t) mantissa * power * 2 > (uint128_t) (2 * grid - 1) << -exponent;
}

/* See legacy.h. */
bool
LegacyMoneyToCents(double value, int64_t *cents)
{
	double		magnitude = fabs(value);
	double		scaled = magnitude * 100;
	double		fraction;
	int64_t		whole;

	/* also false for NaN; one cent more than fits keeps the integers small */
	if (!(scaled < (double) LEGACY_MONEY_MAX + 2))
		return false;

	whole = (int64_t) scaled;
	fraction = scaled - (double) whole;
	if (fabs(fraction - 0.5) > scaled * DOUBT)
		whole += fraction > 0.5;
	else
		whole += reaches_half(magnitude, whole * 10 + 5);

	if (whole > LEGACY_MONEY_MAX)
		return false;
	*cents = signbit(value) ? -whole : whole;
	return true;
}
