/*
 * tariff_decimal.c
 *	  Exact unsigned decimals: text in and out, and the slow halves of the
 *	  operations whose common case is inlined from tariff_decimal.h.
 *
 * Pure C: no server headers, no memory allocation, no global state.
 */
#include "tariff/tariff_decimal.h"

const uint64_t TariffPow10[20] = {
	UINT64_C(1), UINT64_C(10), UINT64_C(100), UINT64_C(1000), UINT64_C(10000),
	UINT64_C(100000), UINT64_C(1000000), UINT64_C(10000000),
	UINT64_C(100000000), UINT64_C(1000000000), UINT64_C(10000000000),
	UINT64_C(100000000000), UINT64_C(1000000000000),
	UINT64_C(10000000000000), UINT64_C(100000000000000),
	UINT64_C(1000000000000000), UINT64_C(10000000000000000),
	UINT64_C(100000000000000000), UINT64_C(1000000000000000000),
	UINT64_C(10000000000000000000)
};

/* 10^38 is the largest power of ten below 2^128 */
#define MAX_POW10 38

static unsigned __int128
pow10_u128(int n)
{
	if (n < 20)
		return TariffPow10[n];
	return (unsigned __int128) TariffPow10[19] * TariffPow10[n - 19];
}

bool
TariffMulWide(TariffU128 a, TariffU128 b, TariffU128 *result)
{
	if (a != 0 && b > TARIFF_U128_MAX / a)
		return false;
	*result = a * b;
	return true;
}

bool
TariffDecRaiseWide(TariffDec *a, int scale)
{
	int			digits = scale - a->scale;

	a->scale = scale;
	if (a->v == 0)
		return true;
	return digits <= MAX_POW10 && TariffMulWide(a->v, pow10_u128(digits), &a->v);
}

bool
TariffDecRoundWide(TariffDec a, int decimals, TariffDec *result)
{
	int			digits = a.scale - decimals;
	unsigned __int128 unit;
	unsigned __int128 rest;

	*result = a;
	if (digits <= 0)
		return TariffDecRaise(result, decimals);
	result->scale = decimals;
	if (digits > MAX_POW10)
	{
		result->v = 0;			/* 2^128 is less than half of 10^39 */
		return true;
	}
	unit = pow10_u128(digits);
	rest = a.v % unit;
	result->v = a.v / unit + (rest >= unit - rest ? 1 : 0);
	return true;
}

/*
 * a / b to exactly `decimals` decimals; b is not zero.  The quotient is taken
 * of integers, so that the one rounding sees the whole remainder.
 */
bool
TariffDecDivide(TariffDec a, TariffDec b, int decimals, TariffRounding rounding,
				TariffDec *result)
{
	TariffDec	numerator = a;
	TariffDec	denominator = b;
	int			shift = b.scale + decimals - a.scale;
	unsigned __int128 quotient;
	unsigned __int128 rest;

	numerator.scale = denominator.scale = 0;
	if (shift >= 0 ? !TariffDecRaise(&numerator, shift) :
		!TariffDecRaise(&denominator, -shift))
		return false;
	quotient = numerator.v / denominator.v;
	rest = numerator.v % denominator.v;
	if (rest != 0 &&
		(rounding == TARIFF_ROUND_UP ||
		 (rounding == TARIFF_ROUND_NEAREST && rest >= denominator.v - rest)))
		quotient++;
	result->v = quotient;
	result->scale = decimals;
	return true;
}

/* Drops trailing zeros behind the decimal point. */
void
TariffDecTrim(TariffDec *a)
{
	if (a->v == 0)
		a->scale = 0;
	while (a->scale > 0)
	{
		if ((a->v >> 64) == 0)
		{
			if ((uint64_t) a->v % 10 != 0)
				break;
			a->v = (uint64_t) a->v / 10;
		}
		else
		{
			if (a->v % 10 != 0)
				break;
			a->v /= 10;
		}
		a->scale--;
	}
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Reads an optional sign, digits with at most one point, and an optional
 * exponent: what JSON calls a number, and ".5", "5." and "+5" besides, which
 * people write into strings.  No blanks, no NaN, no Infinity, no hexadecimal.
 *
 * Of a number that is BIG, result->scale says how many decimals it has without
 * trailing zeros (or, negative, how many zeros it ends in).
 */
TariffNumberStatus
TariffDecFromText(const char *text, size_t length, TariffDec *result, bool *negative)
{
	const char *p = text;
	const char *end = text + length;
	unsigned __int128 v = 0;
	long		point = 0;		/* digits kept in v that stand behind the point */
	long		pending = 0;	/* zeros read but not yet multiplied into v */
	long		exponent = 0;
	long		significant = 0;
	long		whole;
	long		decimals;
	bool		any = false;
	bool		behind = false;
	bool		fits = true;

	*negative = false;
	if (p < end && (*p == '-' || *p == '+'))
		*negative = (*p++ == '-');
	for (; p < end && (is_digit(*p) || (*p == '.' && !behind)); p++)
	{
		if (*p == '.')
		{
			behind = true;
			continue;
		}
		any = true;
		point += behind;
		if (*p == '0')
		{
			pending += (significant > 0);
			continue;
		}
		significant += pending + 1;
		if (significant > MAX_POW10)
			fits = false;		/* 38 digits always fit, 39 may not */
		else
			v = v * pow10_u128((int) pending + 1) + (unsigned) (*p - '0');
		pending = 0;
	}
	if (!any)
		return TARIFF_NUMBER_INVALID;
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		bool		minus = false;

		p++;
		if (p < end && (*p == '-' || *p == '+'))
			minus = (*p++ == '-');
		if (p >= end || !is_digit(*p))
			return TARIFF_NUMBER_INVALID;
		for (; p < end && is_digit(*p); p++)
			if (exponent < 1000000000)
				exponent = exponent * 10 + (*p - '0');
		if (minus)
			exponent = -exponent;
	}
	if (p != end)
		return TARIFF_NUMBER_INVALID;

	if (significant == 0)
	{
		result->v = 0;
		result->scale = 0;
		*negative = false;
		return TARIFF_NUMBER_FIXED;
	}

	/* the value is (v without its trailing zeros) / 10^decimals */
	decimals = point - pending - exponent;
	whole = significant - decimals;
	if (decimals > TARIFF_MAX_DIGITS || whole > TARIFF_MAX_DIGITS)
		return TARIFF_NUMBER_OUT_OF_RANGE;
	result->scale = (int32_t) decimals;
	if (!fits)
		return TARIFF_NUMBER_BIG;
	result->v = v;
	if (decimals < 0)
	{
		TariffDec	raised = {v, 0};

		if (!TariffDecRaise(&raised, (int) -decimals))
			return TARIFF_NUMBER_BIG;
		result->v = raised.v;
		result->scale = 0;
		return TARIFF_NUMBER_FIXED;
	}
	return decimals <= MAX_POW10 ? TARIFF_NUMBER_FIXED : TARIFF_NUMBER_BIG;
}

/*
 * Writes the value with its trailing zeros dropped, but at least min_decimals
 * decimals; returns the length.  The buffer has TARIFF_DEC_TEXT_SIZE bytes.
 */
size_t
TariffDecToText(TariffDec a, int min_decimals, char *buffer)
{
	char		digits[48];		/* of v, last digit first */
	int			ndigits = 0;
	int			i;
	char	   *out = buffer;

	TariffDecTrim(&a);
	do
	{
		digits[ndigits++] = (char) ('0' + (int) (a.v % 10));
		a.v /= 10;
	} while (a.v != 0);

	if (ndigits <= a.scale)
		*out++ = '0';
	for (i = ndigits - 1; i >= a.scale; i--)
		*out++ = digits[i];
	if (a.scale > 0 || min_decimals > 0)
		*out++ = '.';
	for (i = a.scale - 1; i >= 0; i--)
		*out++ = i < ndigits ? digits[i] : '0';
	for (i = a.scale; i < min_decimals; i++)
		*out++ = '0';
	*out = '\0';
	return (size_t) (out - buffer);
}
