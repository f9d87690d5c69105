/*
 * legacy_fields.c
 *	  The SQL functions of phones, addresses of e-mail, postal codes and dates.
 *
 * Each converter has a twin that says why it refuses a value, in the words of the tables
 * below.  They read one value, keep nothing, and run no code but the server's own.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "common/args.h"
#include "compat.h"
#include "legacy/legacy_values.h"

PG_FUNCTION_INFO_V1(legacy_phone);
PG_FUNCTION_INFO_V1(legacy_phone_error);
PG_FUNCTION_INFO_V1(legacy_phone_extension);
PG_FUNCTION_INFO_V1(legacy_email);
PG_FUNCTION_INFO_V1(legacy_email_error);
PG_FUNCTION_INFO_V1(legacy_postal_code);
PG_FUNCTION_INFO_V1(legacy_postal_code_error);
PG_FUNCTION_INFO_V1(legacy_postal_code_numeric);
PG_FUNCTION_INFO_V1(legacy_postal_code_error_numeric);
PG_FUNCTION_INFO_V1(legacy_date);
PG_FUNCTION_INFO_V1(legacy_date_error);
PG_FUNCTION_INFO_V1(legacy_date_typed);
PG_FUNCTION_INFO_V1(legacy_date_error_typed);
PG_FUNCTION_INFO_V1(legacy_date_timestamp);
PG_FUNCTION_INFO_V1(legacy_date_error_timestamp);

static const char *const phone_reasons[] = {
	[LEGACY_PHONE_OK] = NULL,
	[LEGACY_PHONE_EMPTY] = NULL,
	[LEGACY_PHONE_MALFORMED] = "malformed",
	[LEGACY_PHONE_FILLER] = "filler",
	[LEGACY_PHONE_FOREIGN] = "another country",
	[LEGACY_PHONE_NO_AREA] = "no area code",
	[LEGACY_PHONE_SHORT] = "too short",
	[LEGACY_PHONE_LONG] = "too long",
	[LEGACY_PHONE_AREA] = "wrong area code",
	[LEGACY_PHONE_EXTENSION] = "wrong extension",
};

static const char *const email_reasons[] = {
	[LEGACY_EMAIL_OK] = NULL,
	[LEGACY_EMAIL_EMPTY] = NULL,
	[LEGACY_EMAIL_NO_AT] = "no @",
	[LEGACY_EMAIL_SEVERAL] = "several addresses",
	[LEGACY_EMAIL_CHARACTER] = "wrong character",
	[LEGACY_EMAIL_LOCAL] = "wrong local part",
	[LEGACY_EMAIL_DOMAIN] = "wrong domain",
	[LEGACY_EMAIL_LONG] = "too long",
};

static const char *const postal_reasons[] = {
	[LEGACY_POSTAL_OK] = NULL,
	[LEGACY_POSTAL_EMPTY] = NULL,
	[LEGACY_POSTAL_MALFORMED] = "malformed",
	[LEGACY_POSTAL_LENGTH] = "wrong length",
	[LEGACY_POSTAL_FILLER] = "filler",
};

static const char *const date_reasons[] = {
	[LEGACY_DATE_OK] = NULL,
	[LEGACY_DATE_EMPTY] = NULL,
	[LEGACY_DATE_ZERO] = "zero",
	[LEGACY_DATE_MALFORMED] = "malformed",
	[LEGACY_DATE_CENTURY] = "two-digit year",
	[LEGACY_DATE_IMPOSSIBLE] = "impossible date",
};

#define SENTINEL "sentinel"

/* 22P02: the value and the reason, and whom to ask first. */
static void
refuse(const char *what, const char *reason, char *value, const char *function)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid %s: %s", what, reason),
			 errdetail("The value is \"%s\".", value),
			 errhint("Find such rows first with %s().", function)));
}

/* A reason as the result of a function; NULL is none. */
static Datum
reason_datum(FunctionCallInfo fcinfo, const char *reason)
{
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}

static char *
numeric_text(Numeric value)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)));
}

/* The phone in the arguments: (val), or (lada, val), where lada may be null. */
static LegacyPhoneStatus
parse_phone(FunctionCallInfo fcinfo, LegacyPhone *phone)
{
	int			last = PG_NARGS() - 1;
	size_t		area_len = 0;
	const char *area = "";
	size_t		len;
	const char *bytes;

	memset(phone, 0, sizeof(*phone));
	if (PG_ARGISNULL(last))
		return LEGACY_PHONE_EMPTY;
	bytes = LegacyTextBytes(PG_GETARG_TEXT_PP(last), &len);
	if (last > 0 && !PG_ARGISNULL(0))
		area = LegacyTextBytes(PG_GETARG_TEXT_PP(0), &area_len);
	return LegacyPhoneParseParts(area, area_len, bytes, len, phone);
}

/* legacy_phone([lada,] val): ten digits; 22P02 for what is refused. */
Datum
legacy_phone(PG_FUNCTION_ARGS)
{
	LegacyPhone phone;
	LegacyPhoneStatus status = parse_phone(fcinfo, &phone);

	if (status == LEGACY_PHONE_EMPTY)
		PG_RETURN_NULL();
	if (status != LEGACY_PHONE_OK)
		refuse("phone number", phone_reasons[status],
			   text_to_cstring(PG_GETARG_TEXT_PP(PG_NARGS() - 1)), "legacy_phone_error");
	PG_RETURN_TEXT_P(cstring_to_text(phone.digits));
}

Datum
legacy_phone_error(PG_FUNCTION_ARGS)
{
	LegacyPhone phone;

	return reason_datum(fcinfo, phone_reasons[parse_phone(fcinfo, &phone)]);
}

/* legacy_phone_extension(val): its digits, NULL if there is none or the phone is refused. */
Datum
legacy_phone_extension(PG_FUNCTION_ARGS)
{
	LegacyPhone phone;

	if (parse_phone(fcinfo, &phone) != LEGACY_PHONE_OK || phone.extension[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(phone.extension));
}

static LegacyEmailStatus
parse_email(text *value, char *out)
{
	size_t		len;
	const char *bytes = LegacyTextBytes(value, &len);

	return LegacyEmailParse(bytes, len, out);
}

/* legacy_email(val): the domain in lower case; 22P02 for what is refused. */
Datum
legacy_email(PG_FUNCTION_ARGS)
{
	char		out[LEGACY_EMAIL_MAX + 1];
	LegacyEmailStatus status = parse_email(PG_GETARG_TEXT_PP(0), out);

	if (status == LEGACY_EMAIL_EMPTY)
		PG_RETURN_NULL();
	if (status != LEGACY_EMAIL_OK)
		refuse("e-mail address", email_reasons[status], text_to_cstring(PG_GETARG_TEXT_PP(0)),
			   "legacy_email_error");
	PG_RETURN_TEXT_P(cstring_to_text(out));
}

Datum
legacy_email_error(PG_FUNCTION_ARGS)
{
	char		out[LEGACY_EMAIL_MAX + 1];

	return reason_datum(fcinfo, email_reasons[parse_email(PG_GETARG_TEXT_PP(0), out)]);
}

static LegacyPostalStatus
parse_postal(text *value, char *out)
{
	size_t		len;
	const char *bytes = LegacyTextBytes(value, &len);

	return LegacyPostalParse(bytes, len, out);
}

/* A code in a numeric column: a whole number; 76000.00 is one, too. */
static LegacyPostalStatus
parse_postal_numeric(Numeric value, char *out)
{
	char	   *digits = numeric_text(value);
	char	   *point = strchr(digits, '.');

	if (point != NULL && strspn(point + 1, "0") == strlen(point + 1))
		*point = '\0';
	return LegacyPostalParse(digits, strlen(digits), out);
}

/* legacy_postal_code(text): five digits; 22P02 for what is refused. */
Datum
legacy_postal_code(PG_FUNCTION_ARGS)
{
	char		out[LEGACY_POSTAL_DIGITS + 1];
	LegacyPostalStatus status = parse_postal(PG_GETARG_TEXT_PP(0), out);

	if (status == LEGACY_POSTAL_EMPTY)
		PG_RETURN_NULL();
	if (status != LEGACY_POSTAL_OK)
		refuse("postal code", postal_reasons[status], text_to_cstring(PG_GETARG_TEXT_PP(0)),
			   "legacy_postal_code_error");
	PG_RETURN_TEXT_P(cstring_to_text(out));
}

Datum
legacy_postal_code_error(PG_FUNCTION_ARGS)
{
	char		out[LEGACY_POSTAL_DIGITS + 1];

	return reason_datum(fcinfo, postal_reasons[parse_postal(PG_GETARG_TEXT_PP(0), out)]);
}

/* legacy_postal_code(numeric): the same for a number. */
Datum
legacy_postal_code_numeric(PG_FUNCTION_ARGS)
{
	char		out[LEGACY_POSTAL_DIGITS + 1];
	LegacyPostalStatus status = parse_postal_numeric(PG_GETARG_NUMERIC(0), out);

	if (status != LEGACY_POSTAL_OK)
		refuse("postal code", postal_reasons[status], numeric_text(PG_GETARG_NUMERIC(0)),
			   "legacy_postal_code_error");
	PG_RETURN_TEXT_P(cstring_to_text(out));
}

Datum
legacy_postal_code_error_numeric(PG_FUNCTION_ARGS)
{
	char		out[LEGACY_POSTAL_DIGITS + 1];

	return reason_datum(fcinfo, postal_reasons[parse_postal_numeric(PG_GETARG_NUMERIC(0), out)]);
}

/* Is the date in the list?  Nulls in it are no dates. */
static bool
is_sentinel(DateADT date, ArrayType *list)
{
	int			n = ArrayGetNItems(ARR_NDIM(list), ARR_DIMS(list));
	const bits8 *present = ARR_NULLBITMAP(list);
	const		DateADT *at = (const DateADT *) ARR_DATA_PTR(list);

	for (int i = 0; i < n; i++)
	{
		if (present != NULL && (present[i / 8] & (1 << i % 8)) == 0)
			continue;
		if (*at++ == date)
			return true;
	}
	return false;
}

/* The text in the arguments of legacy_date(text, text, date[]); *date only for OK. */
static LegacyDateStatus
parse_date(FunctionCallInfo fcinfo, DateADT * date)
{
	static const char *const orders[] = {"dmy", "mdy", "ymd"};
	int			order = ArgsWord(fcinfo, 1, "field_order", orders, 3, NULL);
	size_t		len;
	const char *bytes = LegacyTextBytes(PG_GETARG_TEXT_PP(0), &len);
	LegacyDate	parts;
	LegacyDateStatus status = LegacyDateParse(bytes, len, (LegacyDateOrder) order, &parts);

	if (status == LEGACY_DATE_OK)
		*date = date2j(parts.year, parts.month, parts.day) - POSTGRES_EPOCH_JDATE;
	return status;
}

/*
 * legacy_date(text, field_order, sentinels): NULL for a blank text, zeros and a sentinel;
 * 22P02 for what is refused, 22023 for an order that is none.
 */
Datum
legacy_date(PG_FUNCTION_ARGS)
{
	DateADT		date;
	LegacyDateStatus status = parse_date(fcinfo, &date);

	if (status == LEGACY_DATE_EMPTY || status == LEGACY_DATE_ZERO)
		PG_RETURN_NULL();
	if (status != LEGACY_DATE_OK)
		refuse("date", date_reasons[status], text_to_cstring(PG_GETARG_TEXT_PP(0)), "legacy_date_error");
	if (is_sentinel(date, PG_GETARG_ARRAYTYPE_P(2)))
		PG_RETURN_NULL();
	PG_RETURN_DATEADT(date);
}

Datum
legacy_date_error(PG_FUNCTION_ARGS)
{
	DateADT		date;
	LegacyDateStatus status = parse_date(fcinfo, &date);
	const char *reason = date_reasons[status];

	if (status == LEGACY_DATE_OK && is_sentinel(date, PG_GETARG_ARRAYTYPE_P(2)))
		reason = SENTINEL;
	return reason_datum(fcinfo, reason);
}

/* legacy_date(date, sentinels) */
Datum
legacy_date_typed(PG_FUNCTION_ARGS)
{
	if (is_sentinel(PG_GETARG_DATEADT(0), PG_GETARG_ARRAYTYPE_P(1)))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
legacy_date_error_typed(PG_FUNCTION_ARGS)
{
	bool		found = is_sentinel(PG_GETARG_DATEADT(0), PG_GETARG_ARRAYTYPE_P(1));

	return reason_datum(fcinfo, found ? SENTINEL : NULL);
}

/* legacy_date(timestamp, sentinels): the day decides, whatever the time of day is. */
Datum
legacy_date_timestamp(PG_FUNCTION_ARGS)
{
	Datum		day = DirectFunctionCall1(timestamp_date, PG_GETARG_DATUM(0));

	if (is_sentinel(DatumGetDateADT(day), PG_GETARG_ARRAYTYPE_P(1)))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
legacy_date_error_timestamp(PG_FUNCTION_ARGS)
{
	Datum		day = DirectFunctionCall1(timestamp_date, PG_GETARG_DATUM(0));
	bool		found = is_sentinel(DatumGetDateADT(day), PG_GETARG_ARRAYTYPE_P(1));

	return reason_datum(fcinfo, found ? SENTINEL : NULL);
}
