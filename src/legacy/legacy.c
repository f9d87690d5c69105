/*
 * legacy.c
 *	  The SQL functions of the legacy part.
 *
 * They read a varlena in place, call the pure converters, and raise an error for
 * what those refuse.  Nothing is kept between calls.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/formatting.h"
#include "utils/geo_decls.h"
#include "utils/numeric.h"

#include "common/args.h"
#include "compat.h"
#include "legacy/legacy.h"
#include "legacy/legacy_values.h"

PG_FUNCTION_INFO_V1(legacy_money);
PG_FUNCTION_INFO_V1(legacy_text);
PG_FUNCTION_INFO_V1(legacy_gps_to_point);
PG_FUNCTION_INFO_V1(legacy_gps_error);
PG_FUNCTION_INFO_V1(legacy_rfc);
PG_FUNCTION_INFO_V1(legacy_rfc_check_digit);
PG_FUNCTION_INFO_V1(legacy_rfc_error);
PG_FUNCTION_INFO_V1(legacy_curp);
PG_FUNCTION_INFO_V1(legacy_curp_error);

/* The amount as numeric with two decimals; 22003 if it does not fit numeric(12,2). */
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

/* NULLIF(trim(value), ''), without a copy if there is nothing to trim */
Datum
legacy_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	const char *start = VARDATA_ANY(value);
	const char *end = start + VARSIZE_ANY_EXHDR(value);
	const char *p = start;
	const char *q = end;

	/* in no server encoding is the byte of a blank part of another character */
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

/* LegacyGpsParse for texts in the encoding of the database. */
LegacyGpsStatus
LegacyGpsParseText(text *lat, text *lng, LegacyGpsPoint *point)
{
	size_t		lat_len;
	size_t		lng_len;
	const char *lat_bytes = LegacyTextBytes(lat, &lat_len);
	const char *lng_bytes = LegacyTextBytes(lng, &lng_len);

	return LegacyGpsParse(lat_bytes, lat_len, lng_bytes, lng_len, point);
}

/* NULL for what is not a place. */
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

/* Not strict: NULL is "missing", like an empty text. */
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

/* The reasons of legacy_rfc_error() and legacy_curp_error(). */
static const char *const key_reasons[] = {
	[LEGACY_KEY_OK] = NULL,
	[LEGACY_KEY_EMPTY] = NULL,
	[LEGACY_KEY_FOREIGN] = "foreign character",
	[LEGACY_KEY_LENGTH] = "wrong length",
	[LEGACY_KEY_STRUCTURE] = "wrong structure",
	[LEGACY_KEY_DATE] = "impossible date",
	[LEGACY_KEY_SEX] = "unknown sex",
	[LEGACY_KEY_STATE] = "unknown state",
	[LEGACY_KEY_INITIALS] = "initials never issued",
	[LEGACY_KEY_UNUSUAL_CHECK] = "unusual check digit",
	[LEGACY_KEY_CHECK] = "wrong check digit",
};

typedef LegacyKeyStatus (*KeyParser) (const char *text, size_t len, LegacyKey *key);

/* The reason why the key is refused, or NULL. */
static Datum
key_error(FunctionCallInfo fcinfo, KeyParser parse)
{
	size_t		len;
	const char *bytes = LegacyTextBytes(PG_GETARG_TEXT_PP(0), &len);
	LegacyKey	key;
	const char *reason = key_reasons[parse(bytes, len, &key)];

	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}

/*
 * The key in its normal form, NULL for an empty text; 22P02 if it is refused.  With
 * any_check a check digit that is not the right one is no reason to refuse it.
 */
static Datum
key_normalised(FunctionCallInfo fcinfo, KeyParser parse, const char *name, bool any_check)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	size_t		len;
	const char *bytes = LegacyTextBytes(value, &len);
	LegacyKey	key;
	LegacyKeyStatus status = parse(bytes, len, &key);
	char		out[2 * LEGACY_KEY_MAX];
	size_t		out_len;

	if (status == LEGACY_KEY_EMPTY)
		PG_RETURN_NULL();
	if (status != LEGACY_KEY_OK &&
		!(any_check && (status == LEGACY_KEY_CHECK || status == LEGACY_KEY_UNUSUAL_CHECK)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid %s: %s", asc_toupper(name, strlen(name)), key_reasons[status]),
				 status == LEGACY_KEY_CHECK || status == LEGACY_KEY_UNUSUAL_CHECK
				 ? errdetail("The value is \"%s\"; the right check digit is %c.",
							 text_to_cstring(value), key.check)
				 : errdetail("The value is \"%s\".", text_to_cstring(value)),
				 status == LEGACY_KEY_UNUSUAL_CHECK
				 ? errhint("SAT has issued such keys. If this one is known to be right, "
						   "legacy_rfc(val, check_digit => false) takes it.")
				 : errhint("Find such rows first with legacy_%s_error().", name)));

	out_len = LegacyKeyWrite(&key, out);
	PG_RETURN_TEXT_P(LegacyTextOfUtf8(out, out_len));
}

Datum
legacy_rfc(PG_FUNCTION_ARGS)
{
	return key_normalised(fcinfo, LegacyRfcParse, "rfc", false);
}

/* Not strict: a null check_digit must not make a key null; 22004. */
Datum
legacy_rfc_check_digit(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {NULL, "check_digit"};

	ArgsRefuseNull(fcinfo, "legacy_rfc", names, lengthof(names));
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return key_normalised(fcinfo, LegacyRfcParse, "rfc", !PG_GETARG_BOOL(1));
}

Datum
legacy_rfc_error(PG_FUNCTION_ARGS)
{
	return key_error(fcinfo, LegacyRfcParse);
}

Datum
legacy_curp(PG_FUNCTION_ARGS)
{
	return key_normalised(fcinfo, LegacyCurpParse, "curp", false);
}

Datum
legacy_curp_error(PG_FUNCTION_ARGS)
{
	return key_error(fcinfo, LegacyCurpParse);
}
