/*
 * legacy.c
 *	  The SQL functions of the legacy part, and its start-up.
 *
 * Thin shells: they read a varlena where it lies and raise what the pure
 * converters refuse.  Nothing is kept between calls.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/geo_decls.h"
#include "utils/numeric.h"

#include "compat.h"
#include "legacy/legacy.h"

PG_FUNCTION_INFO_V1(legacy_bool_strict);
PG_FUNCTION_INFO_V1(legacy_money);
PG_FUNCTION_INFO_V1(legacy_text);
PG_FUNCTION_INFO_V1(legacy_gps_to_point);
PG_FUNCTION_INFO_V1(legacy_gps_error);

void
LegacyInit(void)
{
}

/*
 * The bytes of a text as the converters want them: UTF-8, or unknown bytes.
 * Only a text beyond ASCII in a database of another encoding is copied.
 */
static const char *
bytes_of(text *value, size_t *len)
{
	const char *bytes = VARDATA_ANY(value);
	int			encoding = GetDatabaseEncoding();

	*len = VARSIZE_ANY_EXHDR(value);
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return bytes;
	for (size_t i = 0; i < *len; i++)
	{
		if (IS_HIGHBIT_SET(bytes[i]))
		{
			bytes = pg_server_to_any(bytes, (int) *len, PG_UTF8);
			*len = strlen(bytes);
			break;
		}
	}
	return bytes;
}

/* S, Y, X, 1, T, V / N, 0, F / blank, in any case, between blanks */
Datum
legacy_bool_strict(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	const char *p = VARDATA_ANY(value);
	const char *end = p + VARSIZE_ANY_EXHDR(value);

	while (p < end && *p == ' ')
		p++;
	while (p < end && end[-1] == ' ')
		end--;
	if (p == end)
		PG_RETURN_NULL();
	if (end - p == 1)
	{
		switch (pg_ascii_toupper((unsigned char) *p))
		{
			case 'S':
			case 'Y':
			case 'X':
			case '1':
			case 'T':
			case 'V':
				PG_RETURN_BOOL(true);
			case 'N':
			case '0':
			case 'F':
				PG_RETURN_BOOL(false);
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid legacy flag"),
			 errdetail("The value is \"%s\".", text_to_cstring(value)),
			 errhint("True is one of S, Y, X, 1, T, V; false one of N, 0, F; "
					 "blank is NULL. legacy_bool() takes anything else for false.")));
	PG_RETURN_NULL();
}

Datum
legacy_money(PG_FUNCTION_ARGS)
{
	float8		value = PG_GETARG_FLOAT8(0);
	int64_t		cents;

	if (!LegacyMoneyToCents(value, &cents))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("amount out of range"),
				 errdetail("The value %s does not fit into numeric(12,2).",
						   float8out_internal(value)),
				 errhint("Look for such rows first: WHERE NOT abs(amount) < 9999999999.995.")));
	PG_RETURN_NUMERIC(int64_div_fast_to_numeric(cents, 2));
}

/* NULLIF(trim(value), ''), without a copy when there is nothing to trim */
Datum
legacy_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	const char *start = VARDATA_ANY(value);
	const char *end = start + VARSIZE_ANY_EXHDR(value);
	const char *p = start;
	const char *q = end;

	/* no encoding of a database has a character that contains this byte */
	while (p < q && *p == ' ')
		p++;
	while (p < q && q[-1] == ' ')
		q--;
	if (p == q)
		PG_RETURN_NULL();
	if (p == start && q == end)
		PG_RETURN_TEXT_P(value);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(p, (int) (q - p)));
}

LegacyGpsStatus
LegacyGpsParseText(text *lat, text *lng, LegacyGpsPoint *point)
{
	size_t		lat_len;
	size_t		lng_len;
	const char *lat_bytes = bytes_of(lat, &lat_len);
	const char *lng_bytes = bytes_of(lng, &lng_len);

	return LegacyGpsParse(lat_bytes, lat_len, lng_bytes, lng_len, point);
}

Datum
legacy_gps_to_point(PG_FUNCTION_ARGS)
{
	LegacyGpsPoint place;
	LegacyGpsStatus status;
	Point	   *point;

	status = LegacyGpsParseText(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1), &place);
	if (status != LEGACY_GPS_OK && status != LEGACY_GPS_ZERO)
		PG_RETURN_NULL();

	point = palloc(sizeof(Point));
	point->x = place.lng;
	point->y = place.lat;
	PG_RETURN_POINT_P(point);
}

/* Not strict: a NULL is "missing", as an empty text is. */
Datum
legacy_gps_error(PG_FUNCTION_ARGS)
{
	static const char *const reasons[] = {
		[LEGACY_GPS_OK] = NULL,
		[LEGACY_GPS_ZERO] = "zero",
		[LEGACY_GPS_MISSING] = "missing",
		[LEGACY_GPS_MALFORMED] = "malformed",
		[LEGACY_GPS_OUT_OF_RANGE] = "out of range",
		[LEGACY_GPS_SWAPPED] = "swapped",
	};
	LegacyGpsPoint place;
	LegacyGpsStatus status = LEGACY_GPS_MISSING;

	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
		status = LegacyGpsParseText(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1), &place);
	if (status == LEGACY_GPS_OK)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reasons[status]));
}
