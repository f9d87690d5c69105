/*
 * legacy_numbers.c
 *	  The SQL functions for amounts in numeric columns, and for prices and quantities
 *	  in float8 columns, which need another number of decimals than money.
 *
 * legacy_decimal(val, scale) gives what ROUND(val::numeric, scale) gives.  That rounds
 * twice, like legacy_money: to 15 significant digits, then to the scale, halves away
 * from zero.  Almost every value is so far from a half that neither rounding changes
 * on which side of it the value is.  Rounding to 15 digits changes a value by at most
 * 5e-15 of itself, and the multiplication by 10^scale (exact, for scale <= 22) by
 * another 1.2e-16.  If the value is within DOUBT of a half, the expression itself
 * is computed.
 *
 * Nothing is kept between calls, and no code of others runs.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/numeric.h"

#include "common/args.h"
#include "compat.h"
#include "legacy/legacy.h"

PG_FUNCTION_INFO_V1(legacy_money_numeric);
PG_FUNCTION_INFO_V1(legacy_money_error);
PG_FUNCTION_INFO_V1(legacy_money_error_numeric);
PG_FUNCTION_INFO_V1(legacy_decimal);
PG_FUNCTION_INFO_V1(legacy_decimal_error);

/* So close to a half, as a part of the value, ROUND has to decide. */
#define DOUBT 1e-14

/* A double has 15 digits that are known. */
#define MAX_SCALE 15

/* From here on a double's digits before the mark are not all known. */
#define DECIMAL_LIMIT 1e15

/* The reason as text, or NULL. */
static Datum
reason_or_null(FunctionCallInfo fcinfo, const char *reason)
{
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}

/* Is the value rounded to cents within numeric(12,2)?  Not for NaN and infinities. */
static bool
fits_money(Numeric cents)
{
	Datum		magnitude;
	Numeric		limit;

	if (numeric_is_nan(cents) || numeric_is_inf(cents))
		return false;
	magnitude = DirectFunctionCall1(numeric_abs, NumericGetDatum(cents));
	limit = int64_div_fast_to_numeric(LEGACY_MONEY_MAX, 2);
	return DatumGetBool(DirectFunctionCall2(numeric_le, magnitude, NumericGetDatum(limit)));
}

static Numeric
to_cents(Numeric value)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_round, NumericGetDatum(value),
											   Int32GetDatum(2)));
}

/* The amount with two decimals, halves away from zero; 22003 if it does not fit numeric(12,2). */
Datum
legacy_money_numeric(PG_FUNCTION_ARGS)
{
	Numeric		value = PG_GETARG_NUMERIC(0);
	Numeric		cents = to_cents(value);

	if (!fits_money(cents))
	{
		char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)));

		/* a numeric may have more digits than anybody reads */
		if (strlen(digits) > 40)
			digits = numeric_out_sci(value, 15);
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("amount out of range"),
				 errdetail("The value %s does not fit into numeric(12,2).", digits),
				 errhint("Look for such rows first: WHERE NOT abs(amount) < 9999999999.995.")));
	}
	PG_RETURN_NUMERIC(cents);
}

/* Why a float8 is no amount: not a number, infinite, out of range, or NULL. */
Datum
legacy_money_error(PG_FUNCTION_ARGS)
{
	float8		value = PG_GETARG_FLOAT8(0);
	int64_t		cents;

	if (isnan(value))
		return reason_or_null(fcinfo, "not a number");
	if (isinf(value))
		return reason_or_null(fcinfo, "infinite");
	return reason_or_null(fcinfo, LegacyMoneyToCents(value, &cents) ? NULL : "out of range");
}

/* The same for a numeric. */
Datum
legacy_money_error_numeric(PG_FUNCTION_ARGS)
{
	Numeric		value = PG_GETARG_NUMERIC(0);

	if (numeric_is_nan(value))
		return reason_or_null(fcinfo, "not a number");
	if (numeric_is_inf(value))
		return reason_or_null(fcinfo, "infinite");
	return reason_or_null(fcinfo, fits_money(to_cents(value)) ? NULL : "out of range");
}

/*
 * Why legacy_decimal refuses the value, or NULL.  The limit is for the result, but no
 * value below it is rounded up to it: the 15 digits before the mark leave no decimals.
 */
static const char *
decimal_reason(float8 value)
{
	if (isnan(value))
		return "not a number";
	if (isinf(value))
		return "infinite";
	return fabs(value) < DECIMAL_LIMIT - 0.5 ? NULL : "out of range";
}

/*
 * The value with so many decimals.  22023 if the scale is not 0 to 15, 22003 for NaN,
 * an infinity, and 10^15 or more.
 */
Datum
legacy_decimal(PG_FUNCTION_ARGS)
{
	static const double power[] = {
		1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15
	};
	static const char *const names[] = {NULL, "scale"};
	float8		value;
	int			scale;
	double		scaled;
	double		fraction;
	int64		whole;

	ArgsRefuseNull(fcinfo, "legacy_decimal", names, lengthof(names));
	scale = ArgsInt(fcinfo, 1, "scale", 0, MAX_SCALE, NULL);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	value = PG_GETARG_FLOAT8(0);
	if (decimal_reason(value) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("number out of range"),
				 errdetail("The value %s is no number below 10^15.", float8out_internal(value)),
				 errhint("Find such rows first with legacy_decimal_error().")));

	scaled = fabs(value) * power[scale];
	/* the first condition keeps the integer small; the other fails there anyway */
	if (scaled < 1e14)
	{
		whole = (int64) scaled;
		fraction = scaled - (double) whole;
		if (fabs(fraction - 0.5) > scaled * DOUBT)
		{
			whole += fraction > 0.5;
			PG_RETURN_NUMERIC(int64_div_fast_to_numeric(value < 0 ? -whole : whole, scale));
		}
	}
	return DirectFunctionCall2(numeric_round,
							   DirectFunctionCall1(float8_numeric, Float8GetDatum(value)),
							   Int32GetDatum(scale));
}

/* Why a float8 is no such number: not a number, infinite, out of range, or NULL. */
Datum
legacy_decimal_error(PG_FUNCTION_ARGS)
{
	return reason_or_null(fcinfo, decimal_reason(PG_GETARG_FLOAT8(0)));
}
