/*
 * tariff_convert.c
 *	  numeric to fixed-point decimals and back.
 *
 * The digits of a numeric are read and written in place, which is several
 * times faster than converting to and from text.  The server has no function
 * that reads them.  For writing it has int64_div_fast_to_numeric(), but with
 * that a charge takes a tenth more time and a bill of three lines a third more,
 * because each value is built in a NumericVar first; and larger values would still
 * have to be written here.
 *
 * The layout is not a public interface, but it cannot change without breaking
 * pg_upgrade: a header of one or two 16-bit words (sign, display scale, weight),
 * then base-10000 digits.  It is checked all the same: the first conversion of
 * each backend converts a set of numbers in both ways.  If one byte differs from
 * what numeric_in makes, the backend converts by way of text from then on.  That
 * is slower, but never wrong.
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

/* What the header of a numeric says, and where its digits are. */
typedef struct NumericParts
{
	bool		negative;
	int			dscale;			/* decimals to show */
	int			weight;			/* of the first digit, as a power of BASE */
	int			ndigits;
	const char *digits;			/* int16 each, perhaps unaligned */
} NumericParts;

/* False for NaN and the infinities. */
static inline bool
read_header(const struct varlena *value, NumericParts *parts)
{
	const char *data = VARDATA_ANY(value);
	int			length = VARSIZE_ANY_EXHDR(value);
	uint16		header;

	memcpy(&header, data, sizeof(header));
	data += sizeof(header);
	length -= sizeof(header);
	if ((header & LAYOUT_KIND_MASK) == LAYOUT_SPECIAL)
		return false;
	if ((header & LAYOUT_KIND_MASK) == LAYOUT_SHORT)
	{
		parts->negative = (header & SHORT_NEGATIVE) != 0;
		parts->dscale = (header & SHORT_DSCALE_MASK) >> SHORT_DSCALE_SHIFT;
		parts->weight = (header & SHORT_WEIGHT_MASK) -
			((header & SHORT_WEIGHT_SIGN) ? SHORT_WEIGHT_MAX + 1 : 0);
	}
	else
	{
		int16		weight;

		parts->negative = (header & LAYOUT_KIND_MASK) == LAYOUT_NEGATIVE;
		parts->dscale = header & LAYOUT_DSCALE_MASK;
		memcpy(&weight, data, sizeof(weight));
		parts->weight = weight;
		data += sizeof(weight);
		length -= sizeof(weight);
	}
	parts->ndigits = length / (int) sizeof(int16);
	parts->digits = data;
	return true;
}

static inline int16
digit_at(const NumericParts *parts, int i)
{
	int16		digit;

	memcpy(&digit, parts->digits + i * sizeof(digit), sizeof(digit));
	return digit;
}

/*
 * Whether a number that is close to the limit on digits, or past it, keeps to
 * it: BIG or OUT_OF_RANGE.  Here the decimal digits are counted exactly.
 */
static TariffNumberStatus
check_length(const NumericParts *parts, int scale)
{
	int16		first = digit_at(parts, 0);
	int			whole = BASE_DIGITS * parts->weight;
	int			decimals = scale - trailing_zeros(digit_at(parts, parts->ndigits - 1));

	whole += first >= 1000 ? 4 : first >= 100 ? 3 : first >= 10 ? 2 : 1;
	if (whole > TARIFF_MAX_DIGITS || decimals > TARIFF_MAX_DIGITS)
		return TARIFF_NUMBER_OUT_OF_RANGE;
	return TARIFF_NUMBER_BIG;
}

/* The number in place: see TariffReadNumeric. */
static TariffNumberStatus
read_layout(const struct varlena *value, TariffDec *result, bool *negative)
{
	NumericParts parts;
	int			scale;
	int			surplus;
	uint64		low = 0;

	if (!read_header(value, &parts))
		return TARIFF_NUMBER_INVALID;
	*negative = parts.negative;
	result->v = 0;
	result->scale = 0;
	if (parts.ndigits == 0)
		return TARIFF_NUMBER_FIXED;

	scale = BASE_DIGITS * (parts.ndigits - 1 - parts.weight);
	if (scale > TARIFF_MAX_DIGITS ||
		BASE_DIGITS * parts.weight >= TARIFF_MAX_DIGITS - BASE_DIGITS)
		return check_length(&parts, scale);
	if (parts.ndigits > MAX_READ_DIGITS)
		return TARIFF_NUMBER_BIG;

	/* four digits fit 64 bits, which multiply faster than 128 */
	for (int i = 0; i < Min(parts.ndigits, 4); i++)
		low = low * BASE + digit_at(&parts, i);
	result->v = low;
	for (int i = 4; i < parts.ndigits; i++)
		result->v = result->v * BASE + digit_at(&parts, i);

	if (scale < 0)
	{
		if (!TariffDecRaise(result, -scale))
			return TARIFF_NUMBER_BIG;
		result->scale = 0;
		return TARIFF_NUMBER_FIXED;
	}
	/* drop the zeros of the last digit that are beyond the display scale */
	surplus = scale - parts.dscale;
	if (surplus > 0 && surplus < BASE_DIGITS)
	{
		if (parts.ndigits <= 4)
			result->v = low / TariffPow10[surplus];
		else
			result->v /= TariffPow10[surplus];
		scale = parts.dscale;
	}
	result->scale = scale;
	return scale <= 38 ? TARIFF_NUMBER_FIXED : TARIFF_NUMBER_BIG;
}

/* The same by way of text: slower, but for any layout. */
static TariffNumberStatus
read_text(const struct varlena *value, TariffDec *result, bool *negative)
{
	struct varlena *copy = pg_detoast_datum((struct varlena *) value);
	const char *text = DatumGetCString(DirectFunctionCall1(numeric_out, PointerGetDatum(copy)));

	return TariffDecFromText(text, strlen(text), result, negative);
}

/*
 * Reads a numeric, which may have a short header, but is neither compressed nor
 * external.
 *
 * FIXED: *result and *negative are set.  BIG: the value is a number of a tariff,
 * but needs numeric; of *result and *negative only the latter is set.
 * OUT_OF_RANGE: it has more than TARIFF_MAX_DIGITS digits on one side of the
 * decimal point.  INVALID: NaN or an infinity.  Raises nothing.
 */
TariffNumberStatus
TariffReadNumeric(const struct varlena *value, TariffDec *result, bool *negative)
{
	if (unlikely(layout == LAYOUT_UNCHECKED))
		check_layout();
	if (likely(layout == LAYOUT_TRUSTED && !tariff_force_text))
		return read_layout(value, result, negative);
	return read_text(value, result, negative);
}

/*
 * The same as TariffWriteNumeric, written in place; NULL if the value needs the
 * long header or does not fit when it is aligned to BASE.
 */
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

/*
 * The value as a numeric without trailing zeros, but with at least min_decimals
 * decimals; palloc'd.
 */
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
 * The same for results that are only copied.  Zero and one, which are most of
 * the values of a bill, are made once per backend and shared: the caller must not
 * free or change the result.
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
		MemoryContext oldcontext = MemoryContextSwitchTo(TopMemoryContext);

		*shared = TariffWriteNumeric(value, min_decimals);
		MemoryContextSwitchTo(oldcontext);
	}
	return *shared;
}

/* The number as numeric: palloc'd, or the one that the parser has kept. */
Numeric
TariffNumberToNumeric(const TariffNumber *number)
{
	if (number->big)
		return (Numeric) number->big;
	return DatumGetNumeric(TariffWriteNumeric(number->dec, 0));
}

/*
 * Do reading and writing in place agree with numeric_in?  The samples reach every
 * branch above.
 */
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

	for (int i = 0; i < lengthof(samples); i++)
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

/* Decides, once per backend, how numerics are converted; warns of a layout that is unknown. */
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
