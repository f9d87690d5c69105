/*
 * legacy_decimal.c
 *	  Decimal digits as the nearest double, with the same bits as strtod().
 *
 * Why not strtod()?  It needs a terminated copy and is general.  With it
 * "SELECT legacy_gps_to_point(lat, lng)" takes twice as long per row for 6 decimals
 * (0.26 instead of 0.12 microseconds, scan included), 1.7 times for 16 decimals, and
 * an INSERT of the converted rows 1.5 times.  There are three ways, and each is
 * exact for the numbers that take it:
 *
 *	1. Digits up to 2^53 and a scale up to 19: both operands of the division are
 *	   exact doubles, and IEEE 754 rounds the result correctly.
 *	2. Up to 19 digits: the quotient is computed with at least 64 bits, and the
 *	   remainder tells whether more bits would follow.  Rounding needs no more.
 *	3. More digits: strtod().  A number half way between two doubles has at most 767
 *	   significant digits.  Of the digits after the first MAX_DIGITS it only matters
 *	   whether one is not zero, so a single "1" replaces them.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "legacy/legacy.h"

typedef unsigned __int128 uint128_t;

#define MAX_DIGITS 800

/* So many digits always fit 64 bits, and so does the power of ten. */
#define MAX_FAST_DIGITS 19

/* digits / 10^scale, rounded correctly; scale <= MAX_FAST_DIGITS */
static double
divide_exactly(uint64_t digits, int scale)
{
	static const uint64_t power[] = {
		UINT64_C(1), UINT64_C(10), UINT64_C(100), UINT64_C(1000),
		UINT64_C(10000), UINT64_C(100000), UINT64_C(1000000),
		UINT64_C(10000000), UINT64_C(100000000), UINT64_C(1000000000),
		UINT64_C(10000000000), UINT64_C(100000000000),
		UINT64_C(1000000000000), UINT64_C(10000000000000),
		UINT64_C(100000000000000), UINT64_C(1000000000000000),
		UINT64_C(10000000000000000), UINT64_C(100000000000000000),
		UINT64_C(1000000000000000000), UINT64_C(10000000000000000000)
	};
	uint128_t	numerator;
	uint128_t	quotient;
	uint128_t	below;			/* the bits that rounding removes, without the top one */
	uint64_t	mantissa;
	int			shift;
	int			surplus;
	bool		half;

	if (digits <= UINT64_C(1) << DBL_MANT_DIG)
		return (double) digits / (double) power[scale];

	/* with the top bit of the numerator set, the quotient has at least 64 bits */
	shift = 64 + __builtin_clzll(digits);
	numerator = (uint128_t) digits << shift;
	quotient = numerator / power[scale];

	surplus = (quotient >> 64) != 0
		? 128 - __builtin_clzll((uint64_t) (quotient >> 64))
		: 64 - __builtin_clzll((uint64_t) quotient);
	surplus -= DBL_MANT_DIG;

	/* round half to even */
	mantissa = (uint64_t) (quotient >> surplus);
	half = (quotient >> (surplus - 1)) & 1;
	below = quotient & (((uint128_t) 1 << (surplus - 1)) - 1);
	if (half && (below != 0 || quotient * power[scale] != numerator || (mantissa & 1)))
		mantissa++;
	return ldexp((double) mantissa, surplus - shift);
}

/* Any number of digits, by way of strtod(); leading zeros may be left out. */
static double
long_decimal(const char *text, const char *end)
{
	char		buffer[MAX_DIGITS + 1 + sizeof("e-18446744073709551615")];
	size_t		n = 0;
	size_t		before = 0;		/* digits before the mark */
	size_t		zeros = 0;		/* zeros after the mark before any other digit */
	bool		after_mark = false;
	bool		tail = false;

	for (; text < end; text++)
	{
		if (*text == '.' || *text == ',')
			after_mark = true;
		else if (n == 0 && *text == '0')
			zeros += after_mark;
		else
		{
			if (n < MAX_DIGITS)
				buffer[n++] = *text;
			else
				tail |= *text != '0';
			before += !after_mark;
		}
	}
	if (n == 0)
		return 0;
	n += tail && (buffer[n] = '1');
	/* 0.ddd x 10^(before - zeros), written as an integer with an exponent */
	snprintf(buffer + n, sizeof(buffer) - n, "e%lld",
			 (long long) before - (long long) zeros - (long long) n);
	return strtod(buffer, NULL);
}

/* See legacy.h. */
double
LegacyDecimalToDouble(const char *text, size_t len)
{
	const char *p = text;
	const char *end = text + len;
	const char *mark = NULL;
	uint64_t	digits = 0;
	int			n = 0;

	/* skip leading zeros */
	while (p < end && *p == '0')
		p++;
	for (; p < end; p++)
	{
		if (*p == '.' || *p == ',')
			mark = p;
		else if (++n > MAX_FAST_DIGITS)
			return long_decimal(text, end);
		else
			digits = digits * 10 + (uint64_t) (*p - '0');
	}
	return divide_exactly(digits, mark ? (int) (end - mark - 1) : 0);
}
