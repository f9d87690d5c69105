/*
 * tariff_bill.c
 *	  Bills as JSONB: tariff_detail of a line, and whole bills.
 *
 * The keys of every object are listed in JSONB's order, and the values are written
 * in the same order.  For an optional member that is missing, both are left out.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "tariff/tariff.h"
#include "common/jsonbwriter.h"

/* ---- texts of a line: 0 is the water line, n is concept n - 1 ------------- */

static const char *
line_code(const TariffBillOut *bill, int line)
{
	return line == 0 ? TARIFF_WATER_CODE : bill->concepts->concept[line - 1].code;
}

static const char *
line_name(const TariffBillOut *bill, int line)
{
	return line == 0 ? "Agua" : bill->concepts->concept[line - 1].name;
}

/* SAT's product code, or NULL */
static const char *
line_product(const TariffBillOut *bill, int line)
{
	return line == 0 ? TariffDefaultProduct(TARIFF_WATER_CODE) :
		bill->concepts->concept[line - 1].clave_prod_serv;
}

/*
 * SAT's unit code, or NULL.  Without m3 the water line is one unit of service,
 * because a CFDI has no line of 0 m3.
 */
static const char *
line_unit(const TariffBillOut *bill, int line)
{
	if (line > 0)
		return bill->concepts->concept[line - 1].clave_unidad;
	return bill->no_water ? "E48" : TariffDefaultUnit(TARIFF_WATER_CODE);
}

static Datum
text_or_null(const char *text)
{
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

/* All four as text, in the current memory context. */
void
TariffFillTexts(const TariffBillOut *bill, int line, TariffLineTexts *texts)
{
	texts->code = CStringGetTextDatum(line_code(bill, line));
	texts->name = CStringGetTextDatum(line_name(bill, line));
	texts->product = text_or_null(line_product(bill, line));
	texts->unit = text_or_null(line_unit(bill, line));
}

/* ---- details -------------------------------------------------------------- */

static void
write_int(JsonbWriter *w, int number)
{
	TariffDec	dec = {(TariffU128) number, 0};

	JsonbWriterNumber(w, TariffWriteShared(dec, 0));
}

static void
write_block(JsonbWriter *w, const TariffBlockOut *block)
{
	static const JsonbWriterKey keys[] = {
		JSONB_KEY("name"), JSONB_KEY("block"), JSONB_KEY("to_m3"), JSONB_KEY("amount"),
		JSONB_KEY("from_m3"), JSONB_KEY("quantity"), JSONB_KEY("fixed_charge"),
		JSONB_KEY("price_per_m3")
	};
	static const JsonbWriterKey minimum_keys[] = {JSONB_KEY("name"), JSONB_KEY("amount")};

	if (block->json)
	{
		JsonbWriterContainer(w, block->json, block->json_size);
		return;
	}
	if (block->number == 0)
	{
		JsonbWriterObject(w, minimum_keys, lengthof(minimum_keys));
		JsonbWriterText(w, "minimum_charge");
		JsonbWriterNumber(w, block->amount);
		JsonbWriterClose(w);
		return;
	}
	if (block->name)
	{
		JsonbWriterObject(w, keys, lengthof(keys));
		JsonbWriterText(w, block->name);
	}
	else
		JsonbWriterObject(w, keys + 1, lengthof(keys) - 1);
	write_int(w, block->number);
	if (block->open)
		JsonbWriterText(w, NULL);
	else
		JsonbWriterNumber(w, block->to);
	JsonbWriterNumber(w, block->amount);
	JsonbWriterNumber(w, block->from);
	JsonbWriterNumber(w, block->quantity);
	JsonbWriterNumber(w, block->fixed);
	JsonbWriterNumber(w, block->price);
	JsonbWriterClose(w);
}

/* Keeps the block as JSON, in the current memory context, for all later bills. */
void
TariffBlockKeepJson(TariffBlockOut *block)
{
	JsonbWriter writer;
	char	   *json;

	JsonbWriterBegin(&writer, 1024, NULL);
	write_block(&writer, block);
	block->json_size = writer.length - VARHDRSZ;
	json = palloc(block->json_size);
	memcpy(json, writer.data + VARHDRSZ, block->json_size);
	block->json = json;
	pfree(writer.data);
}

/* tariff_detail of the water line. */
static void
write_water_detail(JsonbWriter *w, const TariffEntry *entry, const TariffRequest *request,
				   const TariffBillOut *bill)
{
	const Tariff *tariff = &entry->tariff;
	bool		rounded = tariff->rounding != TARIFF_ROUND_NONE;
	JsonbWriterKey keys[8];
	int			n = 0;

	keys[n++] = (JsonbWriterKey) JSONB_KEY("mode");
	if (tariff->name)
		keys[n++] = (JsonbWriterKey) JSONB_KEY("name");
	if (tariff->round_blocks)
		keys[n++] = (JsonbWriterKey) JSONB_KEY("round");
	if (rounded)
		keys[n++] = (JsonbWriterKey) JSONB_KEY("billed");
	keys[n++] = (JsonbWriterKey) JSONB_KEY("blocks");
	keys[n++] = (JsonbWriterKey) JSONB_KEY("consumption");
	if (request->units != 1)
		keys[n++] = (JsonbWriterKey) JSONB_KEY("units_served");
	if (request->has_period)
		keys[n++] = (JsonbWriterKey) JSONB_KEY("period_factor");

	JsonbWriterObject(w, keys, n);
	JsonbWriterText(w, TariffModeName(tariff->mode));
	if (tariff->name)
		JsonbWriterText(w, tariff->name);
	if (tariff->round_blocks)
		JsonbWriterText(w, "block");
	if (rounded)
		JsonbWriterNumber(w, bill->billed);
	JsonbWriterArray(w, bill->nblocks);
	for (int i = 0; i < bill->nblocks; i++)
		write_block(w, bill->block[i]);
	JsonbWriterClose(w);
	JsonbWriterNumber(w, bill->consumption);
	if (request->units != 1)
		write_int(w, request->units);
	if (request->has_period)
		JsonbWriterNumber(w, NumericGetDatum(TariffNumberToNumeric(&request->period)));
	JsonbWriterClose(w);
}

/* tariff_detail of a concept's line. */
static void
write_concept_detail(JsonbWriter *w, const TariffBillOut *bill, int index)
{
	static const JsonbWriterKey fixed_keys[] = {JSONB_KEY("type"), JSONB_KEY("value")};
	static const JsonbWriterKey percentage_keys[] = {
		JSONB_KEY("base"), JSONB_KEY("type"), JSONB_KEY("unit"), JSONB_KEY("value"),
		JSONB_KEY("base_amount")
	};
	const TariffConcept *concept = &bill->concepts->concept[index];
	Datum		value = NumericGetDatum(TariffNumberToNumeric(&concept->value));

	if (!concept->percentage)
	{
		JsonbWriterObject(w, fixed_keys, lengthof(fixed_keys));
		JsonbWriterText(w, "fixed");
		JsonbWriterNumber(w, value);
		JsonbWriterClose(w);
		return;
	}
	JsonbWriterObject(w, percentage_keys, lengthof(percentage_keys));
	JsonbWriterArray(w, concept->nbase);
	for (int i = 0; i < concept->nbase; i++)
		JsonbWriterText(w, line_code(bill, concept->base[i]));
	JsonbWriterClose(w);
	JsonbWriterText(w, "percentage");
	JsonbWriterText(w, concept->percent ? "percent" : "fraction");
	JsonbWriterNumber(w, value);
	JsonbWriterNumber(w, bill->line[index + 1].base);
	JsonbWriterClose(w);
}

static void
write_detail(JsonbWriter *w, const TariffEntry *entry, const TariffRequest *request,
			 const TariffBillOut *bill, int line)
{
	if (line == 0)
		write_water_detail(w, entry, request, bill);
	else
		write_concept_detail(w, bill, line - 1);
}

/* tariff_detail of a line; palloc'd */
Jsonb *
TariffLineDetail(const TariffEntry *entry, const TariffRequest *request,
				 const TariffBillOut *bill, int line)
{
	JsonbWriter writer;

	JsonbWriterBegin(&writer, 1024, NULL);
	write_detail(&writer, entry, request, bill, line);
	return JsonbWriterEnd(&writer);
}

/* ---- bills ---------------------------------------------------------------- */

/* Line i of a bill: the columns of tariff_lines. */
static void
write_line(JsonbWriter *w, const TariffEntry *entry, const TariffRequest *request,
		   const TariffBillOut *bill, int i)
{
	static const JsonbWriterKey keys[] = {
		JSONB_KEY("total"), JSONB_KEY("discount"), JSONB_KEY("iva_rate"),
		JSONB_KEY("quantity"), JSONB_KEY("subtotal"), JSONB_KEY("iva_amount"),
		JSONB_KEY("sort_order"), JSONB_KEY("unit_price"), JSONB_KEY("clave_unidad"),
		JSONB_KEY("concept_code"), JSONB_KEY("concept_name"), JSONB_KEY("tariff_detail"),
		JSONB_KEY("clave_prod_serv")
	};
	const TariffLineOut *line = &bill->line[i];

	JsonbWriterObject(w, keys, lengthof(keys));
	JsonbWriterNumber(w, line->total);
	JsonbWriterNumber(w, line->discount);
	JsonbWriterNumber(w, line->iva_rate);
	JsonbWriterNumber(w, line->quantity);
	JsonbWriterNumber(w, line->subtotal);
	JsonbWriterNumber(w, line->iva);
	write_int(w, i + 1);
	JsonbWriterNumber(w, line->unit_price);
	JsonbWriterText(w, line_unit(bill, i));
	JsonbWriterText(w, line_code(bill, i));
	JsonbWriterText(w, line_name(bill, i));
	write_detail(w, entry, request, bill, i);
	JsonbWriterText(w, line_product(bill, i));
	JsonbWriterClose(w);
}

/* The whole bill, palloc'd: lines as tariff_lines returns them, and the sums. */
Jsonb *
TariffBillJsonb(const TariffEntry *entry, const TariffRequest *request,
				const TariffBillOut *bill)
{
	static const JsonbWriterKey keys[] = {
		JSONB_KEY("iva"), JSONB_KEY("lines"), JSONB_KEY("total"), JSONB_KEY("discount"),
		JSONB_KEY("subtotal")
	};
	int			n = bill->concepts->n + 1;
	JsonbWriter writer;

	JsonbWriterBegin(&writer, 1024, NULL);
	JsonbWriterObject(&writer, keys, lengthof(keys));
	JsonbWriterNumber(&writer, bill->iva);
	JsonbWriterArray(&writer, n);
	for (int i = 0; i < n; i++)
		write_line(&writer, entry, request, bill, i);
	JsonbWriterClose(&writer);
	JsonbWriterNumber(&writer, bill->total);
	JsonbWriterNumber(&writer, bill->discount);
	JsonbWriterNumber(&writer, bill->subtotal);
	JsonbWriterClose(&writer);
	return JsonbWriterEnd(&writer);
}
