/*
 * tariff_convert.c
 *	  numeric to fixed-point decimals and back.
 *
 * The digits of a numeric are read and written in place, which is several
 * times faster than the way over text.  Its layout is no public interface, but
 * it cannot change without breaking pg_upgrade: a header of one or two 16-bit
 * words (sign, display scale, weight), then base-10000 digits.  It is still
 * not taken on trust: the first conversion of each backend runs a set of
 * numbers through both ways, and if a single byte differs from what numeric_in
 * makes, the backend goes over text from then on.  Slower, never wrong.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "tariff/tariff.h"

/* the layout that numeric.c writes (numeric.c keeps these to itself) */
#define LAYOUT_KIND_MASK		0xC000
#define LAYOUT_NEGATIVE			0x4000
#define LAYOUT_SHORT			0x8000
#define LAYOUT_SPECIAL			0xC000
#define LAYOUT_DSCALE_MASK		0x3FFF
#define SHORT_NEGATIVE			0x2000
#define SHORT_DSCALE_MASK		0x1F80
#define SHORT_DSCALE_SHIFT		7
#define SHORT_DSCALE_MAX		63
#define SHORT_WEIGHT_SIGN		0x0040
#define SHORT_WEIGHT_MASK		0x003F
#define SHORT_WEIGHT_MAX		63
#define SHORT_WEIGHT_MIN		(-64)
#define BASE					10000
#define BASE_DIGITS				4

/* nine base-10000 digits always fit 128 bits */
#define MAX_READ_DIGITS			9
/* 2^128 has 39 decimal digits; aligned to BASE that is at most eleven */
#define MAX_WRITE_DIGITS		12

/* 0 and 1 are kept ready with up to this many decimals */
#define SHARED_DECIMALS 6

static enum
{
	LAYOUT_UNCHECKED, LAYOUT_TRUSTED, LAYOUT_UNKNOWN
}			layout = LAYOUT_UNCHECKED;

static void check_layout(void);

/* How many of a base-10000 digit's four decimal digits are trailing zeros. */
static int
trailing_zeros(int digit)
{
	int			n = 0;

	while (n < BASE_DIGITS && digit % 10 == 0)
	{
		digit /= 10;
		n++;
	}
	return n;
}

static TariffNumberStatus
read_layout(const struct varlena *value, TariffDec *result, bool *negative)
{
	const char *data = VARDATA_ANY(value);
	int			length = VARSIZE_ANY_EXHDR(value);
	uint16		header;
	int			weight;
	int			ndigits;
	int			scale;
	int			dscale;
	int			i;
	int16		digit;
	uint64		low = 0;

	memcpy(&header, data, sizeof(header));
	data += sizeof(header);
	length -= sizeof(header);
	if ((header & LAYOUT_KIND_MASK) == LAYOUT_SPECIAL)
		return TARIFF_NUMBER_INVALID;
	if ((header & LAYOUT_KIND_MASK) == LAYOUT_SHORT)
	{
		*negative = (header & SHORT_NEGATIVE) != 0;
		dscale = (header & SHORT_DSCALE_MASK) >> SHORT_DSCALE_SHIFT;
		weight = (header & SHORT_WEIGHT_MASK) -
			((header & SHORT_WEIGHT_SIGN) ? SHORT_WEIGHT_MAX + 1 : 0);
	}
	else
	{
		int16		word;

		*negative = (header & LAYOUT_KIND_MASK) == LAYOUT_NEGATIVE;
		dscale = header & LAYOUT_DSCALE_MASK;
		memcpy(&word, data, sizeof(word));
		weight = word;
		data += sizeof(word);
		length -= sizeof(word);
	}

	ndigits = length / (int) sizeof(digit);
	result->v = 0;
	result->scale = 0;
	if (ndigits == 0)
		return TARIFF_NUMBER_FIXED;

	scale = BASE_DIGITS * (ndigits - 1 - weight);
	if (scale > TARIFF_MAX_DIGITS || BASE_DIGITS * weight >= TARIFF_MAX_DIGITS - BASE_DIGITS)
	{
		/* close to the limit on digits, or past it: count exactly */
		int			whole = BASE_DIGITS * weight;
		int			decimals;

		memcpy(&digit, data, sizeof(digit));
		whole += digit >= 1000 ? 4 : digit >= 100 ? 3 : digit >= 10 ? 2 : 1;
		memcpy(&digit, data + (ndigits - 1) * sizeof(digit), sizeof(digit));
		decimals = scale - trailing_zeros(digit);
		if (whole > TARIFF_MAX_DIGITS || decimals > TARIFF_MAX_DIGITS)
			return TARIFF_NUMBER_OUT_OF_RANGE;
		return TARIFF_NUMBER_BIG;
	}
	if (ndigits > MAX_READ_DIGITS)
		return TARIFF_NUMBER_BIG;

	for (i = 0; i < ndigits && i < 4; i++)
	{
		memcpy(&digit, data + i * sizeof(digit), sizeof(digit));
		low = low * BASE + digit;
	}
	result->v = low;
	for (; i < ndigits; i++)
	{
		memcpy(&digit, data + i * sizeof(digit), sizeof(digit));
		result->v = result->v * BASE + digit;
	}
	if (scale < 0)
	{
		if (!TariffDecRaise(result, -scale))
			return TARIFF_NUMBER_BIG;
		result->scale = 0;
		return TARIFF_NUMBER_FIXED;
	}
	/* the last digit's zeros beyond the display scale */
	if (scale > dscale && scale - dscale < BASE_DIGITS)
	{
		if (ndigits <= 4)
			result->v = low / TariffPow10[scale - dscale];
		else
			result->v /= TariffPow10[scale - dscale];
		scale = dscale;
	}
	result->scale = scale;
	return scale <= 38 ? TARIFF_NUMBER_FIXED : TARIFF_NUMBER_BIG;
}

static TariffNumberStatus
read_text(const struct varlena *value, TariffDec *result, bool *negative)
{
	struct varlena *copy = pg_detoast_datum((struct varlena *) value);
	const char *text = DatumGetCString(DirectFunctionCall1(numeric_out, PointerGetDatum(copy)));

	return TariffDecFromText(text, strlen(text), result, negative);
}

/* The value has any kind of header, but is neither compressed nor external. */
TariffNumberStatus
TariffReadNumeric(const struct varlena *value, TariffDec *result, bool *negative)
{
	if (unlikely(layout == LAYOUT_UNCHECKED))
		check_layout();
	if (likely(layout == LAYOUT_TRUSTED && !tariff_force_text))
		return read_layout(value, result, negative);
	return read_text(value, result, negative);
}

/* The numeric with these decimals, or NULL when the short header has no room. */
static struct varlena *
write_layout(TariffDec value, int min_decimals)
{
	int16		digits[MAX_WRITE_DIGITS];
	int			first = MAX_WRITE_DIGITS;
	int			last = MAX_WRITE_DIGITS;
	int			dscale;
	int			weight;
	int			aligned;
	uint16		header;
	Size		size;
	struct varlena *result;

	if (value.scale > min_decimals)
		TariffDecTrim(&value);
	dscale = Max(value.scale, min_decimals);
	aligned = (value.scale + BASE_DIGITS - 1) / BASE_DIGITS * BASE_DIGITS;
	if (dscale > SHORT_DSCALE_MAX || !TariffDecRaise(&value, aligned))
		return NULL;

	while (unlikely((value.v >> 64) != 0))
	{
		digits[--first] = (int16) (value.v % BASE);
		value.v /= BASE;
	}
	if (likely(value.v != 0 || first < last))
	{
		uint64		rest = (uint64) value.v;

		while (rest != 0)
		{
			digits[--first] = (int16) (rest % BASE);
			rest /= BASE;
		}
	}
	weight = last - first - 1 - aligned / BASE_DIGITS;
	while (last > first && digits[last - 1] == 0)
		last--;
	if (last == first)
		weight = 0;
	if (weight > SHORT_WEIGHT_MAX || weight < SHORT_WEIGHT_MIN)
		return NULL;

	header = (uint16) (LAYOUT_SHORT | (dscale << SHORT_DSCALE_SHIFT) |
					   (weight < 0 ? SHORT_WEIGHT_SIGN : 0) | (weight & SHORT_WEIGHT_MASK));
	size = VARHDRSZ + sizeof(header) + (last - first) * sizeof(int16);
	result = palloc(size);
	SET_VARSIZE(result, size);
	memcpy(VARDATA(result), &header, sizeof(header));
	memcpy(VARDATA(result) + sizeof(header), &digits[first], (last - first) * sizeof(int16));
	return result;
}

static struct varlena *
write_text(TariffDec value, int min_decimals)
{
	char		text[TARIFF_DEC_TEXT_SIZE];

	TariffDecToText(value, min_decimals, text);
	return (struct varlena *)
		DatumGetPointer(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* The value without trailing zeros, but at least min_decimals decimals. */
Datum
TariffWriteNumeric(TariffDec value, int min_decimals)
{
	struct varlena *result = NULL;

	if (unlikely(layout == LAYOUT_UNCHECKED))
		check_layout();
	if (likely(layout == LAYOUT_TRUSTED && !tariff_force_text))
		result = write_layout(value, min_decimals);
	if (unlikely(result == NULL))
		result = write_text(value, min_decimals);
	return PointerGetDatum(result);
}

/*
 * The same for results that are only copied: zero and one, which most of the
 * lines of a bill are full of, come ready-made.  Nobody may free or change what
 * this returns.
 */
Datum
TariffWriteShared(TariffDec value, int min_decimals)
{
	static Datum ready[2][SHARED_DECIMALS + 1];
	Datum	   *shared;

	if (value.v > 1 || (value.v == 1 && value.scale != 0) || min_decimals > SHARED_DECIMALS)
		return TariffWriteNumeric(value, min_decimals);
	shared = &ready[(int) value.v][min_decimals];
	if (*shared == (Datum) 0)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		*shared = TariffWriteNumeric(value, min_decimals);
		MemoryContextSwitchTo(old);
	}
	return *shared;
}

Numeric
TariffNumberToNumeric(const TariffNumber *number)
{
	if (number->big)
		return (Numeric) number->big;
	return DatumGetNumeric(TariffWriteNumeric(number->dec, 0));
}

/* Both ways, with numbers that reach every branch above. */
static bool
layout_is_known(void)
{
	static const char *const samples[] = {
		"0", "0.00", "1", "-1", "9999", "10000", "10001", "99999999",
		"0.1", "0.01", "0.001", "0.0001", "0.00001", "-0.0000000001",
		"12.345", "5.50", "45.00", "0.16", "345.00", "1234567.891234",
		"10000000000000000", "123456789012345678901234567890123456",
		"0.123456789012345678901234567890123456", "1000000.0000001",
		"99999999999999999999.99", "17014118346046923173168730371588.7271",
		"0.00000000000000000000000000000000000001"
	};
	int			i;

	for (i = 0; i < lengthof(samples); i++)
	{
		const char *point = strchr(samples[i], '.');
		int			decimals = point ? (int) strlen(point + 1) : 0;
		Datum		original = DirectFunctionCall3(numeric_in, CStringGetDatum(samples[i]),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1));
		const struct varlena *image = (const struct varlena *) DatumGetPointer(original);
		const struct varlena *written;
		TariffDec	expected;
		TariffDec	got;
		bool		expected_negative;
		bool		got_negative = false;

		if (TariffDecFromText(samples[i], strlen(samples[i]), &expected,
							  &expected_negative) != TARIFF_NUMBER_FIXED ||
			read_layout(image, &got, &got_negative) != TARIFF_NUMBER_FIXED ||
			got_negative != expected_negative || TariffDecCompare(got, expected) != 0)
			return false;
		if (expected_negative)
			continue;
		written = write_layout(expected, decimals);
		if (written == NULL || VARSIZE(written) != VARSIZE(image) ||
			memcmp(written, image, VARSIZE(image)) != 0)
			return false;
	}
	return true;
}

static void
check_layout(void)
{
	if (layout_is_known())
	{
		layout = LAYOUT_TRUSTED;
		return;
	}
	layout = LAYOUT_UNKNOWN;
	ereport(WARNING,
			(errmsg("numeric values have a layout that aquacis does not know"),
			 errdetail("Tariffs are priced exactly, but more slowly."),
			 errhint("Look for a newer version of aquacis.")));
}
