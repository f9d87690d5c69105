/*
 * legacy_decimal.c
 *	  Decimal digits as the nearest double, with the same bits as strtod().
 *
 * Why not strtod()?  It needs a terminated copy and is general.  With it
 * "SELECT legacy_gps_to_point(lat, lng)" takes twice as long per row for 6 decimals
 * (0.26 instead of 0.12 microseconds, scan included), 1.7 times for 16 decimals, and
 * an INSERT of the converted rows 1.5 times.  There are four ways, and each is
 * exact for the numbers that take it:
 *
 *	1. Digits up to 2^53 and a scale up to 19: both operands of the division are
 *	   exact doubles, and IEEE 754 rounds the result correctly.
 *	2. Up to 19 digits: the quotient is computed with 63 bits or more, and the
 *	   remainder tells whether more bits would follow.  Rounding needs no more.
 *	3. More digits: the first 19 say that the number lies between two quotients.  If
 *	   both are rounded to the same double, that is it.  About one number in 200 is
 *	   not decided so.  Zeros at the end of the decimals are no digits.
 *	4. The rest: strtod().  A number half way between two doubles has at most 767
 *	   significant digits.  Of the digits after the first MAX_DIGITS it only matters
 *	   whether one is not zero, so a single "1" replaces them.
 */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "legacy/legacy.h"

typedef unsigned __int128 uint128_t;

#define MAX_DIGITS 800

/* So many digits always fit 64 bits, and so does the power of ten. */
#define MAX_FAST_DIGITS 19

static const uint64_t power_of_ten[] = {
	UINT64_C(1), UINT64_C(10), UINT64_C(100), UINT64_C(1000),
	UINT64_C(10000), UINT64_C(100000), UINT64_C(1000000),
	UINT64_C(10000000), UINT64_C(100000000), UINT64_C(1000000000),
	UINT64_C(10000000000), UINT64_C(100000000000),
	UINT64_C(1000000000000), UINT64_C(10000000000000),
	UINT64_C(100000000000000), UINT64_C(1000000000000000),
	UINT64_C(10000000000000000), UINT64_C(100000000000000000),
	UINT64_C(1000000000000000000), UINT64_C(10000000000000000000)
};

/* 2^exponent; the exponent is that of a normal double */
static inline double
power_of_two(int exponent)
{
	uint64_t	bits = (uint64_t) (exponent + DBL_MAX_EXP - 1) << (DBL_MANT_DIG - 1);
	double		result;

	memcpy(&result, &bits, sizeof(result));
	return result;
}

/*
 * A number x as the nearest double: digits / 10^scale if there is no more, else
 * digits / 10^scale < x < (digits + 1) / 10^scale.  False if that does not say which
 * double it is.  Needs digits > 0, scale <= MAX_FAST_DIGITS.
 *
 * Both operands are shifted up to their top bit and the numerator by 63 bits more, so
 * that the quotient has 63 or 64 bits and one machine instruction gives it.
 */
static bool
divide(uint64_t digits, int scale, bool more, double *result)
{
	uint64_t	power = power_of_ten[scale];
	int			digits_shift = __builtin_clzll(digits);
	int			power_shift = __builtin_clzll(power);
	uint128_t	numerator = (uint128_t) (digits << digits_shift) << 63;
	uint64_t	quotient = (uint64_t) (numerator / (power << power_shift));
	int			surplus = 64 - __builtin_clzll(quotient) - DBL_MANT_DIG;
	uint64_t	mantissa = quotient >> surplus;
	uint64_t	half = UINT64_C(1) << (surplus - 1);
	uint64_t	below = quotient & (2 * half - 1);	/* the bits that rounding removes */
	bool		up;

	if (more)
	{
		/*
		 * One unit of the digits is at most this in the quotient; one more because the quotient is
		 * cut off.  x is above quotient and below the sum of the two.
		 */
		uint64_t	unit = (quotient >> (63 - digits_shift)) + 2;

		up = below >= half;
		if (below + unit > (up ? 3 * half : half))
			return false;
	}
	else if (below == half && numerator == (uint128_t) quotient * (power << power_shift))
		up = mantissa & 1;		/* half to even */
	else
		up = below >= half;
	*result = (double) (mantissa + up) * power_of_two(surplus + power_shift - digits_shift - 63);
	return true;
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

/* More than MAX_FAST_DIGITS digits from the first that is not 0, or the mark before it. */
static double
many_digits(const char *p, const char *end)
{
	const char *start = p;
	const char *mark = NULL;
	uint64_t	digits = 0;
	double		result;
	int			n = 0;

	for (; p < end && n < MAX_FAST_DIGITS; p++)
	{
		if (*p == '.' || *p == ',')
			mark = p;
		else
		{
			digits = digits * 10 + (uint64_t) (*p - '0');
			n++;
		}
	}
	if (mark == NULL && p < end && (*p == '.' || *p == ','))
		mark = p++;

	/* what follows are decimals, in which zeros at the end do not count */
	if (mark != NULL && digits > 0)
	{
		while (end > p && end[-1] == '0')
			end--;
		if (p - mark - 1 <= MAX_FAST_DIGITS &&
			divide(digits, (int) (p - mark - 1), end > p, &result))
			return result;
	}
	return long_decimal(start, end);
}

/* See legacy.h. */
double
LegacyDecimalToDouble(const char *text, size_t len)
{
	const char *p = text;
	const char *end = text + len;
	const char *start;
	const char *mark = NULL;
	uint64_t	digits = 0;
	int			n = 0;
	int			scale;
	double		result;

	/* skip leading zeros */
	while (p < end && *p == '0')
		p++;
	start = p;
	for (; p < end; p++)
	{
		if (*p == '.' || *p == ',')
			mark = p;
		else if (++n > MAX_FAST_DIGITS)
			return many_digits(start, end);
		else
			digits = digits * 10 + (uint64_t) (*p - '0');
	}
	scale = mark ? (int) (end - mark - 1) : 0;
	if (digits <= UINT64_C(1) << DBL_MANT_DIG)
		return (double) digits / (double) power_of_ten[scale];
	divide(digits, scale, false, &result);
	return result;
}
