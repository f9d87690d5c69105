/*
 * tariff_jsonb.c
 *	  JSONB to the parser's tokens, and bills to JSONB.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "tariff/tariff.h"

/* ---- reading ------------------------------------------------------------- */

typedef struct JsonbReader
{
	TariffReader reader;		/* first: the parser hands back its address */
	JsonbIterator *iterator;
	JsonbValue	value;			/* what the current token was made of */
	MemoryContext mcxt;			/* where what is kept goes */
	bool		scalar;			/* the root is no array or object */
	int			max_faults;
	List	   *faults;			/* of C strings */
} JsonbReader;

static void
read_scalar(const JsonbValue *value, TariffToken *token)
{
	switch (value->type)
	{
		case jbvString:
			token->kind = TARIFF_TOKEN_STRING;
			token->text = value->val.string.val;
			token->length = value->val.string.len;
			break;
		case jbvNumeric:
			token->kind = TARIFF_TOKEN_NUMBER;
			token->negative = false;
			token->status = TariffReadNumeric((const struct varlena *) value->val.numeric,
											  &token->dec, &token->negative);
			break;
		case jbvBool:
			token->kind = TARIFF_TOKEN_BOOL;
			token->boolean = value->val.boolean;
			break;
		case jbvNull:
			token->kind = TARIFF_TOKEN_NULL;
			break;
		default:
			elog(ERROR, "unexpected jsonb value type: %d", (int) value->type);
	}
}

static void
jsonb_next(TariffReader *reader, TariffToken *token)
{
	JsonbReader *r = (JsonbReader *) reader;
	JsonbIteratorToken next;

	CHECK_FOR_INTERRUPTS();
	token->source = &r->value;
	do
	{
		next = JsonbIteratorNext(&r->iterator, &r->value, false);
	} while (r->scalar && (next == WJB_BEGIN_ARRAY || next == WJB_END_ARRAY));

	switch (next)
	{
		case WJB_BEGIN_ARRAY:
			token->kind = TARIFF_TOKEN_BEGIN_ARRAY;
			break;
		case WJB_END_ARRAY:
			token->kind = TARIFF_TOKEN_END_ARRAY;
			break;
		case WJB_BEGIN_OBJECT:
			token->kind = TARIFF_TOKEN_BEGIN_OBJECT;
			break;
		case WJB_END_OBJECT:
			token->kind = TARIFF_TOKEN_END_OBJECT;
			break;
		case WJB_KEY:
			token->kind = TARIFF_TOKEN_KEY;
			token->text = r->value.val.string.val;
			token->length = r->value.val.string.len;
			break;
		case WJB_VALUE:
		case WJB_ELEM:
			read_scalar(&r->value, token);
			break;
		case WJB_DONE:
			token->kind = TARIFF_TOKEN_END;
			break;
	}
}

static void *
jsonb_alloc(TariffReader *reader, size_t size)
{
	JsonbReader *r = (JsonbReader *) reader;

	return MemoryContextAllocExtended(r->mcxt, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* A number of the JSONB is copied; a string that is one goes through numeric_in. */
static const void *
jsonb_keep_big(TariffReader *reader, const TariffToken *token)
{
	JsonbReader *r = (JsonbReader *) reader;
	MemoryContext old = MemoryContextSwitchTo(r->mcxt);
	Datum		number;

	if (token->kind == TARIFF_TOKEN_NUMBER)
	{
		const JsonbValue *value = token->source;

		number = DirectFunctionCall1(numeric_uplus, NumericGetDatum(value->val.numeric));
	}
	else
		number = DirectFunctionCall3(numeric_in,
									 CStringGetDatum(pnstrdup(token->text, token->length)),
									 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	MemoryContextSwitchTo(old);
	return DatumGetPointer(number);
}

/* Copies what fits, cut between characters, with "..." when it was cut. */
static void
clip(char *buffer, size_t size, const char *text, size_t length)
{
	size_t		room = size - 1;

	if (length > room)
	{
		room = pg_mbcliplen(text, (int) length, (int) (size - 4));
		memcpy(buffer, text, room);
		strcpy(buffer + room, "...");
		return;
	}
	memcpy(buffer, text, length);
	buffer[length] = '\0';
}

static void
jsonb_describe(TariffReader *reader, const TariffToken *token, char *buffer, size_t size)
{
	const JsonbValue *value = token->source;
	char	   *text;

	switch (token->kind)
	{
		case TARIFF_TOKEN_KEY:
			clip(buffer, size, token->text, token->length);
			break;
		case TARIFF_TOKEN_STRING:
			buffer[0] = '"';
			clip(buffer + 1, size - 2, token->text, token->length);
			strcat(buffer, "\"");
			break;
		case TARIFF_TOKEN_NUMBER:
			text = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
			clip(buffer, size, text, strlen(text));
			break;
		case TARIFF_TOKEN_BOOL:
			strlcpy(buffer, token->boolean ? "true" : "false", size);
			break;
		case TARIFF_TOKEN_NULL:
			strlcpy(buffer, "null", size);
			break;
		case TARIFF_TOKEN_BEGIN_ARRAY:
			strlcpy(buffer, "an array", size);
			break;
		case TARIFF_TOKEN_BEGIN_OBJECT:
			strlcpy(buffer, "an object", size);
			break;
		default:
			strlcpy(buffer, "nothing", size);
			break;
	}
}

static bool
jsonb_fault(TariffReader *reader, const char *text)
{
	JsonbReader *r = (JsonbReader *) reader;

	r->faults = lappend(r->faults, pstrdup(text));
	return list_length(r->faults) < r->max_faults;
}

static int
jsonb_compare(const TariffNumber *a, const TariffNumber *b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp,
											 NumericGetDatum(TariffNumberToNumeric(a)),
											 NumericGetDatum(TariffNumberToNumeric(b))));
}

static void
jsonb_print(const TariffNumber *number, char *buffer, size_t size)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   NumericGetDatum(TariffNumberToNumeric(number))));

	clip(buffer, size, text, strlen(text));
}

/*
 * Parses into the entry, whose mcxt keeps everything.  At most max_faults
 * faults are appended to *faults; true when there are none.
 */
bool
TariffParseJsonb(Jsonb *jsonb, bool concepts, TariffEntry *entry, int max_faults,
				 List **faults)
{
	JsonbReader r = {
		.reader = {
			jsonb_next, jsonb_alloc, jsonb_keep_big, jsonb_describe, jsonb_fault,
			jsonb_compare, jsonb_print
		},
		.mcxt = entry->mcxt,
		.max_faults = max_faults
	};
	bool		valid;

	r.iterator = JsonbIteratorInit(&jsonb->root);
	r.scalar = JB_ROOT_IS_SCALAR(jsonb);
	if (concepts)
		valid = TariffParseConcepts(&r.reader, &entry->concepts);
	else
	{
		valid = TariffParse(&r.reader, &entry->tariff);
		entry->concepts = entry->tariff.concepts;
	}
	*faults = r.faults;
	return valid;
}

/* ---- writing ------------------------------------------------------------- */

static void
add_key(JsonbParseState **state, const char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
}

static void
add_number(JsonbParseState **state, const char *name, Datum number)
{
	JsonbValue	value;

	add_key(state, name);
	value.type = jbvNumeric;
	value.val.numeric = DatumGetNumeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
add_int(JsonbParseState **state, const char *name, int number)
{
	add_number(state, name, NumericGetDatum(int64_to_numeric(number)));
}

static void
set_text(JsonbValue *value, const char *text)
{
	value->type = text ? jbvString : jbvNull;
	if (text)
	{
		value->val.string.val = unconstify(char *, text);
		value->val.string.len = strlen(text);
	}
}

/* NULL becomes null */
static void
add_text(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	value;

	add_key(state, name);
	set_text(&value, text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
add_block(JsonbParseState **state, const TariffBlockOut *block)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (block->number == 0)
		add_text(state, "name", "minimum_charge");
	else
	{
		add_int(state, "block", block->number);
		if (block->name)
			add_text(state, "name", block->name);
		add_number(state, "from_m3", block->from);
		if (block->open)
			add_text(state, "to_m3", NULL);
		else
			add_number(state, "to_m3", block->to);
		add_number(state, "quantity", block->quantity);
		add_number(state, "price_per_m3", block->price);
		add_number(state, "fixed_charge", block->fixed);
	}
	add_number(state, "amount", block->amount);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static JsonbValue *
push_water_detail(JsonbParseState **state, const TariffEntry *entry,
				  const TariffRequest *request, const TariffBillOut *bill)
{
	const Tariff *tariff = &entry->tariff;
	int			i;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (tariff->name)
		add_text(state, "name", tariff->name);
	add_text(state, "mode", TariffModeName(tariff->mode));
	add_number(state, "consumption", bill->consumption);
	if (tariff->rounding != TARIFF_ROUND_NONE)
		add_number(state, "billed", bill->billed);
	if (request->units != 1)
		add_int(state, "units_served", request->units);
	if (request->has_period)
		add_number(state, "period_factor",
				   NumericGetDatum(TariffNumberToNumeric(&request->period)));
	add_key(state, "blocks");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < bill->nblocks; i++)
		add_block(state, &bill->block[i]);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* ---- what a line is called: 0 is the water line, n is concept n - 1 ------- */

const char *
TariffLineCode(const TariffBillOut *bill, int line)
{
	return line == 0 ? TARIFF_WATER_CODE : bill->concepts->concept[line - 1].code;
}

const char *
TariffLineName(const TariffBillOut *bill, int line)
{
	return line == 0 ? "Agua" : bill->concepts->concept[line - 1].name;
}

/* SAT's product code, or NULL */
const char *
TariffLineProduct(const TariffBillOut *bill, int line)
{
	return line == 0 ? TariffDefaultProduct(TARIFF_WATER_CODE) :
		bill->concepts->concept[line - 1].clave_prod_serv;
}

/*
 * SAT's unit code, or NULL.  Without m3 the water line is one unit of service:
 * a CFDI has no line of 0 m3.
 */
const char *
TariffLineUnit(const TariffBillOut *bill, int line)
{
	if (line > 0)
		return bill->concepts->concept[line - 1].clave_unidad;
	return bill->no_water ? "E48" : TariffDefaultUnit(TARIFF_WATER_CODE);
}

static JsonbValue *
push_concept_detail(JsonbParseState **state, const TariffBillOut *bill, int index)
{
	const TariffConcept *concept = &bill->concepts->concept[index];
	int			i;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	add_text(state, "type", concept->percentage ? "percentage" : "fixed");
	add_number(state, "value", NumericGetDatum(TariffNumberToNumeric(&concept->value)));
	if (concept->percentage)
	{
		add_text(state, "unit", concept->percent ? "percent" : "fraction");
		add_key(state, "base");
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		for (i = 0; i < concept->nbase; i++)
		{
			JsonbValue	value;

			set_text(&value, TariffLineCode(bill, concept->base[i]));
			pushJsonbValue(state, WJB_ELEM, &value);
		}
		pushJsonbValue(state, WJB_END_ARRAY, NULL);
		add_number(state, "base_amount", bill->line[index + 1].base);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* tariff_detail of the water line */
Jsonb *
TariffWaterDetail(const TariffEntry *entry, const TariffRequest *request,
				  const TariffBillOut *bill)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_water_detail(&state, entry, request, bill));
}

/* tariff_detail of a concept's line */
Jsonb *
TariffConceptDetail(const TariffBillOut *bill, int index)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_concept_detail(&state, bill, index));
}

/* The whole bill: lines as tariff_lines returns them, and the sums. */
Jsonb *
TariffBillJsonb(const TariffEntry *entry, const TariffRequest *request,
				const TariffBillOut *bill)
{
	JsonbParseState *state = NULL;
	int			i;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	add_key(&state, "lines");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i <= bill->concepts->n; i++)
	{
		const TariffLineOut *line = &bill->line[i];

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		add_text(&state, "concept_code", TariffLineCode(bill, i));
		add_text(&state, "concept_name", TariffLineName(bill, i));
		add_number(&state, "quantity", line->quantity);
		add_number(&state, "unit_price", line->unit_price);
		add_number(&state, "subtotal", line->subtotal);
		add_number(&state, "discount", line->discount);
		add_number(&state, "iva_rate", line->iva_rate);
		add_number(&state, "iva_amount", line->iva);
		add_number(&state, "total", line->total);
		add_key(&state, "tariff_detail");
		if (i == 0)
			push_water_detail(&state, entry, request, bill);
		else
			push_concept_detail(&state, bill, i - 1);
		add_text(&state, "clave_prod_serv", TariffLineProduct(bill, i));
		add_text(&state, "clave_unidad", TariffLineUnit(bill, i));
		add_int(&state, "sort_order", i + 1);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	add_number(&state, "subtotal", bill->subtotal);
	add_number(&state, "discount", bill->discount);
	add_number(&state, "iva", bill->iva);
	add_number(&state, "total", bill->total);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
