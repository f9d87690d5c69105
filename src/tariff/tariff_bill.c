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
write_int(TariffWriter *w, int number)
{
	TariffDec	dec = {(TariffU128) number, 0};

	TariffWriteNumber(w, TariffWriteShared(dec, 0));
}

static void
write_block(TariffWriter *w, const TariffBlockOut *block)
{
	static const WriterKey keys[] = {
		WRITER_KEY("name"), WRITER_KEY("block"), WRITER_KEY("to_m3"), WRITER_KEY("amount"),
		WRITER_KEY("from_m3"), WRITER_KEY("quantity"), WRITER_KEY("fixed_charge"),
		WRITER_KEY("price_per_m3")
	};
	static const WriterKey minimum_keys[] = {WRITER_KEY("name"), WRITER_KEY("amount")};

	if (block->json)
	{
		TariffWriteContainer(w, block->json, block->json_size);
		return;
	}
	if (block->number == 0)
	{
		TariffWriteObject(w, minimum_keys, lengthof(minimum_keys));
		TariffWriteText(w, "minimum_charge");
		TariffWriteNumber(w, block->amount);
		TariffWriteClose(w);
		return;
	}
	if (block->name)
	{
		TariffWriteObject(w, keys, lengthof(keys));
		TariffWriteText(w, block->name);
	}
	else
		TariffWriteObject(w, keys + 1, lengthof(keys) - 1);
	write_int(w, block->number);
	if (block->open)
		TariffWriteText(w, NULL);
	else
		TariffWriteNumber(w, block->to);
	TariffWriteNumber(w, block->amount);
	TariffWriteNumber(w, block->from);
	TariffWriteNumber(w, block->quantity);
	TariffWriteNumber(w, block->fixed);
	TariffWriteNumber(w, block->price);
	TariffWriteClose(w);
}

/* Keeps the block as JSON, in the current memory context, for all later bills. */
void
TariffBlockKeepJson(TariffBlockOut *block)
{
	TariffWriter writer;
	char	   *json;

	TariffWriterBegin(&writer);
	write_block(&writer, block);
	block->json_size = writer.length - VARHDRSZ;
	json = palloc(block->json_size);
	memcpy(json, writer.data + VARHDRSZ, block->json_size);
	block->json = json;
	pfree(writer.data);
}

/* tariff_detail of the water line. */
static void
write_water_detail(TariffWriter *w, const TariffEntry *entry, const TariffRequest *request,
				   const TariffBillOut *bill)
{
	const Tariff *tariff = &entry->tariff;
	bool		rounded = tariff->rounding != TARIFF_ROUND_NONE;
	WriterKey	keys[7];
	int			n = 0;

	keys[n++] = (WriterKey) WRITER_KEY("mode");
	if (tariff->name)
		keys[n++] = (WriterKey) WRITER_KEY("name");
	if (rounded)
		keys[n++] = (WriterKey) WRITER_KEY("billed");
	keys[n++] = (WriterKey) WRITER_KEY("blocks");
	keys[n++] = (WriterKey) WRITER_KEY("consumption");
	if (request->units != 1)
		keys[n++] = (WriterKey) WRITER_KEY("units_served");
	if (request->has_period)
		keys[n++] = (WriterKey) WRITER_KEY("period_factor");

	TariffWriteObject(w, keys, n);
	TariffWriteText(w, TariffModeName(tariff->mode));
	if (tariff->name)
		TariffWriteText(w, tariff->name);
	if (rounded)
		TariffWriteNumber(w, bill->billed);
	TariffWriteArray(w, bill->nblocks);
	for (int i = 0; i < bill->nblocks; i++)
		write_block(w, bill->block[i]);
	TariffWriteClose(w);
	TariffWriteNumber(w, bill->consumption);
	if (request->units != 1)
		write_int(w, request->units);
	if (request->has_period)
		TariffWriteNumber(w, NumericGetDatum(TariffNumberToNumeric(&request->period)));
	TariffWriteClose(w);
}

/* tariff_detail of a concept's line. */
static void
write_concept_detail(TariffWriter *w, const TariffBillOut *bill, int index)
{
	static const WriterKey fixed_keys[] = {WRITER_KEY("type"), WRITER_KEY("value")};
	static const WriterKey percentage_keys[] = {
		WRITER_KEY("base"), WRITER_KEY("type"), WRITER_KEY("unit"), WRITER_KEY("value"),
		WRITER_KEY("base_amount")
	};
	const TariffConcept *concept = &bill->concepts->concept[index];
	Datum		value = NumericGetDatum(TariffNumberToNumeric(&concept->value));

	if (!concept->percentage)
	{
		TariffWriteObject(w, fixed_keys, lengthof(fixed_keys));
		TariffWriteText(w, "fixed");
		TariffWriteNumber(w, value);
		TariffWriteClose(w);
		return;
	}
	TariffWriteObject(w, percentage_keys, lengthof(percentage_keys));
	TariffWriteArray(w, concept->nbase);
	for (int i = 0; i < concept->nbase; i++)
		TariffWriteText(w, line_code(bill, concept->base[i]));
	TariffWriteClose(w);
	TariffWriteText(w, "percentage");
	TariffWriteText(w, concept->percent ? "percent" : "fraction");
	TariffWriteNumber(w, value);
	TariffWriteNumber(w, bill->line[index + 1].base);
	TariffWriteClose(w);
}

static void
write_detail(TariffWriter *w, const TariffEntry *entry, const TariffRequest *request,
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
	TariffWriter writer;

	TariffWriterBegin(&writer);
	write_detail(&writer, entry, request, bill, line);
	return TariffWriterEnd(&writer);
}

/* ---- bills ---------------------------------------------------------------- */

/* Line i of a bill: the columns of tariff_lines. */
static void
write_line(TariffWriter *w, const TariffEntry *entry, const TariffRequest *request,
		   const TariffBillOut *bill, int i)
{
	static const WriterKey keys[] = {
		WRITER_KEY("total"), WRITER_KEY("discount"), WRITER_KEY("iva_rate"),
		WRITER_KEY("quantity"), WRITER_KEY("subtotal"), WRITER_KEY("iva_amount"),
		WRITER_KEY("sort_order"), WRITER_KEY("unit_price"), WRITER_KEY("clave_unidad"),
		WRITER_KEY("concept_code"), WRITER_KEY("concept_name"), WRITER_KEY("tariff_detail"),
		WRITER_KEY("clave_prod_serv")
	};
	const TariffLineOut *line = &bill->line[i];

	TariffWriteObject(w, keys, lengthof(keys));
	TariffWriteNumber(w, line->total);
	TariffWriteNumber(w, line->discount);
	TariffWriteNumber(w, line->iva_rate);
	TariffWriteNumber(w, line->quantity);
	TariffWriteNumber(w, line->subtotal);
	TariffWriteNumber(w, line->iva);
	write_int(w, i + 1);
	TariffWriteNumber(w, line->unit_price);
	TariffWriteText(w, line_unit(bill, i));
	TariffWriteText(w, line_code(bill, i));
	TariffWriteText(w, line_name(bill, i));
	write_detail(w, entry, request, bill, i);
	TariffWriteText(w, line_product(bill, i));
	TariffWriteClose(w);
}

/* The whole bill, palloc'd: lines as tariff_lines returns them, and the sums. */
Jsonb *
TariffBillJsonb(const TariffEntry *entry, const TariffRequest *request,
				const TariffBillOut *bill)
{
	static const WriterKey keys[] = {
		WRITER_KEY("iva"), WRITER_KEY("lines"), WRITER_KEY("total"), WRITER_KEY("discount"),
		WRITER_KEY("subtotal")
	};
	int			n = bill->concepts->n + 1;
	TariffWriter writer;

	TariffWriterBegin(&writer);
	TariffWriteObject(&writer, keys, lengthof(keys));
	TariffWriteNumber(&writer, bill->iva);
	TariffWriteArray(&writer, n);
	for (int i = 0; i < n; i++)
		write_line(&writer, entry, request, bill, i);
	TariffWriteClose(&writer);
	TariffWriteNumber(&writer, bill->total);
	TariffWriteNumber(&writer, bill->discount);
	TariffWriteNumber(&writer, bill->subtotal);
	TariffWriteClose(&writer);
	return TariffWriterEnd(&writer);
}
