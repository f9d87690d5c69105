/*
 * tariff_decimal.c
 *	  Exact unsigned decimals: reading and writing text, and the rare cases of
 *	  the operations whose usual case is inline in tariff_decimal.h.
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

/* TariffMul for operands of more than 64 bits. */
bool
TariffMulWide(TariffU128 a, TariffU128 b, TariffU128 *result)
{
	if (a != 0 && b > TARIFF_U128_MAX / a)
		return false;
	*result = a * b;
	return true;
}

/* TariffDecRaise for more than 64 bits, or by more than 19 digits. */
bool
TariffDecRaiseWide(TariffDec *a, int scale)
{
	int			digits = scale - a->scale;

	a->scale = scale;
	if (a->v == 0)
		return true;
	return digits <= MAX_POW10 && TariffMulWide(a->v, pow10_u128(digits), &a->v);
}

/* TariffDecRound for more than 63 bits or 18 digits, and for fewer decimals than asked. */
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
 * a / b to exactly `decimals` decimals; b is not zero.  Integers are divided, so
 * the whole remainder decides about the one rounding.  False if a or b does not
 * fit when it is scaled.
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

/* Drops trailing zeros after the decimal point. */
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

/* The digits of a number as they are read, leading and trailing zeros left out. */
typedef struct Digits
{
	unsigned __int128 v;		/* their value, if fits */
	long		significant;	/* how many there are */
	long		pending;		/* zeros read after them, not yet known to be trailing */
	long		decimals;		/* digits after the point, pending zeros included */
	bool		any;			/* a digit was read, perhaps a zero */
	bool		fits;			/* 38 digits always fit v, 39 may not */
} Digits;

/* Digits with at most one point.  Returns where they end. */
static const char *
read_digits(const char *p, const char *end, Digits *digits)
{
	bool		after_point = false;

	for (; p < end && (is_digit(*p) || (*p == '.' && !after_point)); p++)
	{
		if (*p == '.')
		{
			after_point = true;
			continue;
		}
		digits->any = true;
		digits->decimals += after_point;
		if (*p == '0')
		{
			digits->pending += (digits->significant > 0);
			continue;
		}
		digits->significant += digits->pending + 1;
		if (digits->significant > MAX_POW10)
			digits->fits = false;
		else
			digits->v = digits->v * pow10_u128((int) digits->pending + 1) + (unsigned) (*p - '0');
		digits->pending = 0;
	}
	return p;
}

/*
 * What stands after "e".  Returns where it ends, or NULL if there is no digit.  Larger
 * exponents than 10^9 are cut off there: they are out of range all the same.
 */
static const char *
read_exponent(const char *p, const char *end, long *exponent)
{
	bool		minus = false;

	if (p < end && (*p == '-' || *p == '+'))
		minus = (*p++ == '-');
	if (p >= end || !is_digit(*p))
		return NULL;
	for (; p < end && is_digit(*p); p++)
		if (*exponent < 1000000000)
			*exponent = *exponent * 10 + (*p - '0');
	if (minus)
		*exponent = -*exponent;
	return p;
}

/*
 * The value v / 10^decimals; decimals may be negative.  BIG if that does not fit
 * a TariffDec.
 */
static TariffNumberStatus
scale_digits(unsigned __int128 v, long decimals, TariffDec *result)
{
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
 * Reads an optional sign, digits with at most one point, and an optional
 * exponent: the numbers of JSON, and also ".5", "5." and "+5", which people write
 * into strings.  No blanks, no NaN, no Infinity, no hexadecimal: INVALID.
 *
 * FIXED: *result and *negative are set.  BIG: *negative is set, and result->scale is
 * the number of decimals without trailing zeros (or, if negative, how many zeros the
 * number ends in).  OUT_OF_RANGE: more than TARIFF_MAX_DIGITS digits on one side.
 */
TariffNumberStatus
TariffDecFromText(const char *text, size_t length, TariffDec *result, bool *negative)
{
	const char *p = text;
	const char *end = text + length;
	Digits		digits = {.fits = true};
	long		exponent = 0;
	long		whole;
	long		decimals;

	*negative = false;
	if (p < end && (*p == '-' || *p == '+'))
		*negative = (*p++ == '-');
	p = read_digits(p, end, &digits);
	if (!digits.any)
		return TARIFF_NUMBER_INVALID;
	if (p < end && (*p == 'e' || *p == 'E'))
		p = read_exponent(p + 1, end, &exponent);
	if (p != end)
		return TARIFF_NUMBER_INVALID;

	if (digits.significant == 0)
	{
		result->v = 0;
		result->scale = 0;
		*negative = false;
		return TARIFF_NUMBER_FIXED;
	}

	/* the value is v / 10^decimals */
	decimals = digits.decimals - digits.pending - exponent;
	whole = digits.significant - decimals;
	if (decimals > TARIFF_MAX_DIGITS || whole > TARIFF_MAX_DIGITS)
		return TARIFF_NUMBER_OUT_OF_RANGE;
	result->scale = (int32_t) decimals;
	if (!digits.fits)
		return TARIFF_NUMBER_BIG;
	return scale_digits(digits.v, decimals, result);
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
	char	   *out = buffer;

	TariffDecTrim(&a);
	do
	{
		digits[ndigits++] = (char) ('0' + (int) (a.v % 10));
		a.v /= 10;
	} while (a.v != 0);

	if (ndigits <= a.scale)
		*out++ = '0';
	for (int i = ndigits - 1; i >= a.scale; i--)
		*out++ = digits[i];
	if (a.scale > 0 || min_decimals > 0)
		*out++ = '.';
	for (int i = a.scale - 1; i >= 0; i--)
		*out++ = i < ndigits ? digits[i] : '0';
	for (int i = a.scale; i < min_decimals; i++)
		*out++ = '0';
	*out = '\0';
	return (size_t) (out - buffer);
}
