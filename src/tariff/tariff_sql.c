/*
 * tariff_sql.c
 *	  The SQL functions of the tariff part.
 *
 * Each call finds its parsed tariff in a cache that belongs to the call site
 * (fn_extra), reads its arguments into a TariffRequest, and prices in fixed point.
 * If something does not fit that, it prices again in numeric.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "common/textarray.h"
#include "compat.h"
#include "tariff/tariff.h"
#include "tariff/tariff_price.h"

PG_FUNCTION_INFO_V1(tariff_charge);
PG_FUNCTION_INFO_V1(tariff_blocks);
PG_FUNCTION_INFO_V1(tariff_bill);
PG_FUNCTION_INFO_V1(tariff_lines);
PG_FUNCTION_INFO_V1(tariff_errors);
PG_FUNCTION_INFO_V1(tariff_is_valid);

/* arguments of tariff_bill and tariff_lines */
enum
{
	ARG_TARIFF, ARG_CONSUMPTION, ARG_CONCEPTS, ARG_IVA_RATE, ARG_DISCOUNT,
	ARG_UNITS, ARG_PERIOD
};

/* so many characters of a refused number are shown */
#define SHOWN_DIGITS 40

/* What is kept for a call site, in fn_mcxt. */
typedef struct TariffCall
{
	TariffCache *tariffs;
	TariffCache *concepts;		/* NULL until concepts are passed as an argument */
	TupleDesc	desc;			/* of a set-returning function */
	TariffLineTexts water[2];	/* of the water line: with m3, and without */
} TariffCall;

static void
fill_water_texts(MemoryContext mcxt, TariffLineTexts *water)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(mcxt);
	TariffBillOut bill = {.no_water = false};

	TariffFillTexts(&bill, 0, &water[0]);
	bill.no_water = true;
	TariffFillTexts(&bill, 0, &water[1]);
	MemoryContextSwitchTo(oldcontext);
}

static inline TariffCall *
get_call(FunctionCallInfo fcinfo)
{
	TariffCall *call = fcinfo->flinfo->fn_extra;

	if (unlikely(call == NULL))
	{
		call = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(TariffCall));
		call->tariffs = TariffCacheCreate(fcinfo->flinfo, ARG_TARIFF, false);
		fill_water_texts(fcinfo->flinfo->fn_mcxt, call->water);
		fcinfo->flinfo->fn_extra = call;
	}
	return call;
}

/* ---- arguments ----------------------------------------------------------- */

/* Raises 22003 for a number that is OUT_OF_RANGE, else 22023. */
static void
refuse_argument(const char *name, TariffNumberStatus status, Datum value, const char *hint)
{
	char	   *text;

	if (status == TARIFF_NUMBER_OUT_OF_RANGE)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s is out of range", name),
				 errdetail("%s has more than %d digits before or after the decimal point.",
						   name, TARIFF_MAX_DIGITS),
				 errhint("%s", hint)));
	text = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s", name),
			 strlen(text) > SHOWN_DIGITS ?
			 errdetail("%s begins with %.*s.", name, SHOWN_DIGITS, text) :
			 errdetail("%s is %s.", name, text),
			 errhint("%s", hint)));
}

/*
 * Reads an argument that must be a finite numeric and not negative.  The result is
 * valid as long as the argument; number->big is in the current memory context.
 */
static inline void
read_argument(Datum datum, const char *name, const char *hint, TariffNumber *number)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(datum);
	TariffNumberStatus status;
	bool		negative = false;

	if (unlikely(VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value)))
		value = pg_detoast_datum(value);
	status = TariffReadNumeric(value, &number->dec, &negative);
	number->big = NULL;
	if (likely(status == TARIFF_NUMBER_FIXED && !negative))
		return;
	value = pg_detoast_datum(value);
	if (negative || status == TARIFF_NUMBER_INVALID || status == TARIFF_NUMBER_OUT_OF_RANGE)
		refuse_argument(name, status, PointerGetDatum(value), hint);
	number->big = DatumGetPointer(DirectFunctionCall1(numeric_trim_scale,
													  PointerGetDatum(value)));
}

static inline void
read_consumption(Datum datum, TariffRequest *request)
{
	read_argument(datum, "consumption", "Consumption is a number of m3, 0 or more.",
				  &request->consumption);
}

static bool
exceeds(const TariffNumber *number, int limit)
{
	TariffDec	dec = {limit, 0};

	if (number->big)
		return DatumGetInt32(DirectFunctionCall2(numeric_cmp, PointerGetDatum(number->big),
												 NumericGetDatum(int64_to_numeric(limit)))) > 0;
	return TariffDecCompare(number->dec, dec) > 0;
}

/*
 * Reads the arguments of tariff_bill and tariff_lines, all but the tariff and the
 * concepts.  False if the result is NULL.  Raises 22023 or 22003.
 */
static bool
read_request(FunctionCallInfo fcinfo, TariffRequest *request)
{
	static const char *const iva_hint = "A rate is a fraction: 0.16 is 16 %.";
	static const char *const discount_hint = "The discount is a percentage from 0 to 100.";
	static const char *const period_hint =
	"The period factor is a number above 0; 2 bills two months with a monthly tariff.";

	if (PG_ARGISNULL(ARG_TARIFF) || PG_ARGISNULL(ARG_CONSUMPTION) ||
		PG_ARGISNULL(ARG_UNITS) || PG_ARGISNULL(ARG_PERIOD))
		return false;

	read_consumption(PG_GETARG_DATUM(ARG_CONSUMPTION), request);
	request->has_iva = !PG_ARGISNULL(ARG_IVA_RATE);
	if (request->has_iva)
	{
		read_argument(PG_GETARG_DATUM(ARG_IVA_RATE), "iva_rate", iva_hint, &request->iva_rate);
		if (exceeds(&request->iva_rate, 1))
			refuse_argument("iva_rate", TARIFF_NUMBER_FIXED,
							NumericGetDatum(PG_GETARG_NUMERIC(ARG_IVA_RATE)), iva_hint);
	}
	request->has_discount = !PG_ARGISNULL(ARG_DISCOUNT);
	if (request->has_discount)
	{
		read_argument(PG_GETARG_DATUM(ARG_DISCOUNT), "social_discount_pct", discount_hint,
					  &request->discount);
		if (exceeds(&request->discount, 100))
			refuse_argument("social_discount_pct", TARIFF_NUMBER_FIXED,
							NumericGetDatum(PG_GETARG_NUMERIC(ARG_DISCOUNT)), discount_hint);
	}
	request->units = PG_GETARG_INT32(ARG_UNITS);
	if (request->units < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid units_served"),
				 errdetail("units_served is %d.", request->units),
				 errhint("A connection serves at least one dwelling.")));
	read_argument(PG_GETARG_DATUM(ARG_PERIOD), "period_factor", period_hint, &request->period);
	if (request->period.big == NULL && request->period.dec.v == 0)
		refuse_argument("period_factor", TARIFF_NUMBER_FIXED,
						NumericGetDatum(PG_GETARG_NUMERIC(ARG_PERIOD)), period_hint);
	if (request->period.big == NULL)
		TariffDecTrim(&request->period.dec);
	request->has_period = request->period.big != NULL || request->period.dec.v != 1 ||
		request->period.dec.scale != 0;
	return true;
}

/* The entry whose concepts are billed: those of the argument, or else of the tariff. */
static const TariffEntry *
get_concepts(FunctionCallInfo fcinfo, TariffCall *call, const TariffEntry *entry)
{
	const TariffEntry *given;

	if (PG_ARGISNULL(ARG_CONCEPTS))
		return entry;
	if (call->concepts == NULL)
		call->concepts = TariffCacheCreate(fcinfo->flinfo, ARG_CONCEPTS, true);
	given = TariffCacheGet(call->concepts, PG_GETARG_DATUM(ARG_CONCEPTS));
	return given->concepts.absent ? entry : given;
}

/* ---- pricing ------------------------------------------------------------- */

static char *
number_text(const TariffNumber *number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(TariffNumberToNumeric(number))));
}

/* Raises 22003: the consumption is above the last block. */
static void
refuse_beyond(const TariffEntry *entry, const TariffRequest *request)
{
	const Tariff *tariff = &entry->tariff;
	int			last = tariff->nblocks - 1;
	StringInfoData how;

	initStringInfo(&how);
	if (tariff->rounding != TARIFF_ROUND_NONE)
		appendStringInfoString(&how, " before rounding");
	if (request->units != 1)
		appendStringInfo(&how, ", units_served: %d", request->units);
	if (request->has_period)
		appendStringInfo(&how, ", period_factor: %s", number_text(&request->period));
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("consumption is beyond the last block of the tariff%s",
					TariffQuotedName(tariff)),
			 errdetail("blocks[%d].to_m3: %s, consumption: %s%s.", last,
					   number_text(&tariff->block[last].to),
					   number_text(&request->consumption), how.data),
			 errhint("Give the last block an open end (\"to_m3\": null).")));
}

/* Prices the bill, or without concepts its blocks: see TariffFixedBill in tariff.h. */
static void
price_bill(TariffEntry *entry, const TariffRequest *request, const TariffConcepts *concepts,
		   TariffBillOut *bill)
{
	TariffOutcome outcome = TARIFF_TOO_BIG;

	if (!tariff_force_numeric)
		outcome = TariffFixedBill(entry, request, concepts, bill);
	if (outcome == TARIFF_TOO_BIG)
		outcome = TariffNumericBill(entry, request, concepts, bill);
	if (outcome == TARIFF_BEYOND)
		refuse_beyond(entry, request);
}

Datum
tariff_charge(PG_FUNCTION_ARGS)
{
	TariffEntry *entry = TariffCacheGet(get_call(fcinfo)->tariffs, PG_GETARG_DATUM(0));
	TariffRequest request;
	TariffOutcome outcome;
	Datum		charge;

	read_consumption(PG_GETARG_DATUM(1), &request);
	request.units = 1;
	request.has_period = false;

	if (likely(entry->has_fixed && !tariff_force_numeric))
	{
		TariffFixedCx cx = {false};
		TariffPriceStatus status;
		fixed_Water water;

		status = fixed_price_water(&cx, &entry->tariff, entry->fixed_due, &request, &water);
		if (likely(!cx.failed))
		{
			if (status == TARIFF_PRICE_BEYOND)
				refuse_beyond(entry, &request);
			return TariffWriteNumeric(water.charge, 2);
		}
	}
	outcome = TariffNumericCharge(entry, &request, &charge);
	if (outcome == TARIFF_BEYOND)
		refuse_beyond(entry, &request);
	return charge;
}

Datum
tariff_bill(PG_FUNCTION_ARGS)
{
	TariffCall *call;
	TariffEntry *entry;
	TariffRequest request;
	TariffBillOut bill;

	if (!read_request(fcinfo, &request))
		PG_RETURN_NULL();
	call = get_call(fcinfo);
	entry = TariffCacheGet(call->tariffs, PG_GETARG_DATUM(ARG_TARIFF));
	bill.want_sums = true;
	price_bill(entry, &request, &get_concepts(fcinfo, call, entry)->concepts, &bill);
	PG_RETURN_JSONB_P(TariffBillJsonb(entry, &request, &bill));
}

/* ---- sets ---------------------------------------------------------------- */

/*
 * Makes an empty tuplestore for the result, which the executor reads and frees, and
 * call->desc.  Unlike InitMaterializedSRF it sets no setDesc: the functions are
 * declared with their columns, and so the executor need not check every row.
 */
static Tuplestorestate *
begin_set(FunctionCallInfo fcinfo, TariffCall *call)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext oldcontext;
	Tuplestorestate *store;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		!(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (call->desc == NULL)
	{
		TupleDesc	desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		oldcontext = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		call->desc = CreateTupleDescCopy(desc);
		MemoryContextSwitchTo(oldcontext);
	}
	oldcontext = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	store = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0,
								  false, work_mem);
	MemoryContextSwitchTo(oldcontext);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = store;
	return store;
}

Datum
tariff_blocks(PG_FUNCTION_ARGS)
{
	TariffCall *call = get_call(fcinfo);
	Tuplestorestate *store = begin_set(fcinfo, call);
	TariffEntry *entry;
	TariffRequest request;
	TariffBillOut bill;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	read_consumption(PG_GETARG_DATUM(1), &request);
	request.units = 1;
	request.has_period = false;
	entry = TariffCacheGet(call->tariffs, PG_GETARG_DATUM(0));
	price_bill(entry, &request, NULL, &bill);

	for (int i = 0; i < bill.nblocks; i++)
	{
		const TariffBlockOut *block = bill.block[i];
		bool		is_minimum = (block->number == 0);
		Datum		values[] = {
			Int32GetDatum(block->number), block->from, block->to, block->quantity,
			block->price, block->fixed, block->amount
		};
		bool		nulls[] = {
			is_minimum, is_minimum, is_minimum || block->open, is_minimum,
			is_minimum, is_minimum, false
		};

		tuplestore_putvalues(store, call->desc, values, nulls);
	}
	return (Datum) 0;
}

Datum
tariff_lines(PG_FUNCTION_ARGS)
{
	TariffCall *call = get_call(fcinfo);
	Tuplestorestate *store = begin_set(fcinfo, call);
	const TariffEntry *concepts;
	const TariffLineTexts *texts;
	TariffEntry *entry;
	TariffRequest request;
	TariffBillOut bill;

	if (!read_request(fcinfo, &request))
		return (Datum) 0;
	entry = TariffCacheGet(call->tariffs, PG_GETARG_DATUM(ARG_TARIFF));
	concepts = get_concepts(fcinfo, call, entry);
	bill.want_sums = false;
	price_bill(entry, &request, &concepts->concepts, &bill);
	texts = concepts->texts;

	for (int i = 0; i <= bill.concepts->n; i++)
	{
		const TariffLineOut *line = &bill.line[i];
		const TariffLineTexts *text = i == 0 ? &call->water[bill.no_water] : &texts[i - 1];
		Datum		values[] = {
			text->code, text->name, line->quantity, line->unit_price, line->subtotal,
			line->discount, line->iva_rate, line->iva, line->total,
			JsonbPGetDatum(TariffLineDetail(entry, &request, &bill, i)),
			text->product, text->unit, Int32GetDatum(i + 1)
		};
		bool		nulls[lengthof(values)] = {false};

		nulls[10] = text->product == (Datum) 0;
		nulls[11] = text->unit == (Datum) 0;
		tuplestore_putvalues(store, call->desc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- validation ---------------------------------------------------------- */

/* The first faults of a tariff, C strings. */
static List *
find_faults(Jsonb *jsonb, int max_faults)
{
	TariffEntry entry = {.mcxt = CurrentMemoryContext};
	List	   *faults = NIL;

	TariffParseJsonb(jsonb, false, &entry, max_faults, &faults);
	return faults;
}

Datum
tariff_errors(PG_FUNCTION_ARGS)
{
	List	   *faults = find_faults(PG_GETARG_JSONB_P(0), INT_MAX);
	int			n = list_length(faults);
	Datum	   *texts;

	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(TEXTOID));
	texts = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * n);
	for (int i = 0; i < n; i++)
		texts[i] = CStringGetTextDatum(list_nth(faults, i));
	PG_RETURN_DATUM(TextArrayOfDatums(texts, n));
}

Datum
tariff_is_valid(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(find_faults(PG_GETARG_JSONB_P(0), 1) == NIL);
}
