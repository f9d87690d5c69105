/*
 * legacy_number.c
 *	  Fuzz target: money and decimals against the C library's arithmetic.
 *
 * Links: src/legacy/legacy_money.c src/legacy/legacy_decimal.c
 * Longest input: 1200
 *
 * The first eight bytes are a double for the money; what follows is turned
 * into decimal digits with a mark.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "legacy/legacy.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * The cents as the server computes them: print 15 digits, then round the decimals
 * of that text.  False when they do not fit.
 */
static bool
money_by_hand(double value, int64_t *cents)
{
	char		digits[400];
	char	   *point;
	int64_t		result;

	if (!(fabs(value) < 1e11))
		return false;

	/* %e rounds to 15 significant digits, %f then adds none of its own */
	snprintf(digits, sizeof(digits), "%.14e", fabs(value));
	{
		int			exponent = atoi(strchr(digits, 'e') + 1);
		char		plain[400];
		int			at = 0;

		/* d.dddd...e+X as an integer part and decimals */
		if (exponent < 0)
		{
			at += snprintf(plain, sizeof(plain), "0.");
			for (int i = -1; i > exponent; i--)
				plain[at++] = '0';
			plain[at++] = digits[0];
			memcpy(plain + at, digits + 2, 14);
			at += 14;
		}
		else
		{
			plain[at++] = digits[0];
			for (int i = 0; i < 14; i++)
			{
				if (i == exponent)
					plain[at++] = '.';
				plain[at++] = digits[2 + i];
			}
		}
		memcpy(plain + at, "000", 4);
		memcpy(digits, plain, (size_t) at + 4);
	}

	point = strchr(digits, '.');
	result = atoll(digits) * 100 + (point[1] - '0') * 10 + (point[2] - '0');
	result += point[3] >= '5';
	if (result > LEGACY_MONEY_MAX)
		return false;
	*cents = signbit(value) ? -result : result;
	return true;
}

static void
try_money(double value)
{
	int64_t		ours = 0;
	int64_t		theirs = 0;

	if (LegacyMoneyToCents(value, &ours) != money_by_hand(value, &theirs) || ours != theirs)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	double		value;
	double		ours;
	char	   *text;
	size_t		len;
	bool		marked = false;

	if (size < sizeof(value))
		return 0;
	memcpy(&value, data, sizeof(value));
	try_money(value);
	/* the doubles around the nearest half cent, where rounding is hard */
	if (fabs(value) < 1e10)
	{
		double		half = (floor(value * 100) + 0.5) / 100;

		try_money(half);
		try_money(nextafter(half, INFINITY));
		try_money(nextafter(half, -INFINITY));
		for (int i = -8; i <= 8; i++)
			try_money(half + i * fabs(half) * 1e-15);
	}

	data += sizeof(value);
	size -= sizeof(value);
	if (size == 0)
		return 0;
	text = calloc(size + 2, 1);
	len = 0;
	for (size_t i = 0; i < size; i++)
	{
		if (!marked && (data[i] & 0xF0) == 0xF0)
		{
			marked = true;
			text[len++] = '.';
		}
		else
			text[len++] = (char) ('0' + data[i] % 10);
	}
	if (len == 1 && marked)
		text[len++] = '0';
	{
		double		theirs = strtod(text, NULL);

		ours = LegacyDecimalToDouble(text, len);
		if (memcmp(&ours, &theirs, sizeof(ours)) != 0)
			abort();
	}
	free(text);
	return 0;
}
