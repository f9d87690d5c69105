/*
 * legacy_flag.c
 *	  Flags: a letter in a char(1), or 0 and 1 in a numeric, as boolean.
 *
 * The functions read one value and keep nothing.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "legacy/legacy_values.h"

PG_FUNCTION_INFO_V1(legacy_bool);
PG_FUNCTION_INFO_V1(legacy_bool_strict);
PG_FUNCTION_INFO_V1(legacy_bool_strict_error);
PG_FUNCTION_INFO_V1(legacy_bool_strict_numeric);
PG_FUNCTION_INFO_V1(legacy_bool_strict_error_numeric);

/*
 * Not strict: NULL is false.  In C this is faster than the inlined expression
 * val IN ('S', 'Y', 'X'), which calls bpchareq() up to three times.
 */
Datum
legacy_bool(PG_FUNCTION_ARGS)
{
	BpChar	   *value;
	const char *p;
	size_t		len;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	value = PG_GETARG_BPCHAR_PP(0);
	p = VARDATA_ANY(value);
	len = VARSIZE_ANY_EXHDR(value);
	if (len == 0 || (*p != 'S' && *p != 'Y' && *p != 'X'))
		PG_RETURN_BOOL(false);
	while (len > 1 && p[len - 1] == ' ')
		len--;
	PG_RETURN_BOOL(len == 1);
}

/*
 * S, Y, X, 1, T, V are true, N, 0, F are false, blank is NULL, in upper or lower
 * case and with blanks around.
 */
LegacyFlag
LegacyFlagParse(const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end && *text == ' ')
		text++;
	while (text < end && end[-1] == ' ')
		end--;
	if (text == end)
		return LEGACY_FLAG_BLANK;
	if (end - text == 1)
	{
		switch (pg_ascii_toupper((unsigned char) *text))
		{
			case 'S':
			case 'Y':
			case 'X':
			case '1':
			case 'T':
			case 'V':
				return LEGACY_FLAG_TRUE;
			case 'N':
			case '0':
			case 'F':
				return LEGACY_FLAG_FALSE;
		}
	}
	return LEGACY_FLAG_OTHER;
}

/* 1 is true, 0 is false, with zeros behind the point or without. */
LegacyFlag
LegacyFlagOfNumeric(Numeric value)
{
	static const int64 values[] = {0, 1};

	for (int i = 0; i < 2; i++)
		if (DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(value),
											 NumericGetDatum(int64_to_numeric(values[i])))))
			return i == 0 ? LEGACY_FLAG_FALSE : LEGACY_FLAG_TRUE;
	return LEGACY_FLAG_OTHER;
}

/* legacy_bool_strict(text).  Anything that is no flag raises 22P02. */
Datum
legacy_bool_strict(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	LegacyFlag	flag = LegacyFlagParse(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));

	if (flag == LEGACY_FLAG_OTHER)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid legacy flag"),
				 errdetail("The value is \"%s\".", text_to_cstring(value)),
				 errhint("True is one of S, Y, X, 1, T, V; false one of N, 0, F; "
						 "blank is NULL. legacy_bool() takes anything else for false.")));
	if (flag == LEGACY_FLAG_BLANK)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(flag == LEGACY_FLAG_TRUE);
}

/* legacy_bool_strict_error(text): "no flag", or NULL. */
Datum
legacy_bool_strict_error(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	if (LegacyFlagParse(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)) != LEGACY_FLAG_OTHER)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text("no flag"));
}

/* legacy_bool_strict(numeric).  Anything but 0 and 1 raises 22P02. */
Datum
legacy_bool_strict_numeric(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_DATUM(0);
	LegacyFlag	flag = LegacyFlagOfNumeric(DatumGetNumeric(value));

	if (flag == LEGACY_FLAG_OTHER)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid legacy flag"),
				 errdetail("The value is \"%s\".", DatumGetCString(DirectFunctionCall1(numeric_out, value))),
				 errhint("True is 1, false is 0.")));
	PG_RETURN_BOOL(flag == LEGACY_FLAG_TRUE);
}

/* legacy_bool_strict_error(numeric): "no flag", or NULL. */
Datum
legacy_bool_strict_error_numeric(PG_FUNCTION_ARGS)
{
	if (LegacyFlagOfNumeric(PG_GETARG_NUMERIC(0)) != LEGACY_FLAG_OTHER)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text("no flag"));
}
