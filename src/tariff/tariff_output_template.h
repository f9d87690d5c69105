/*
 * tariff_output_template.h
 *	  The numbers of tariff_price_template.h as the numerics of a result, for both
 *	  instances.
 *
 * Besides what that template needs, the including file defines
 *	tp_datum(cx, a, min_decimals)	a numeric without trailing zeros, but with
 *									at least so many decimals
 *	tp_failed(cx)					true if a result so far did not fit
 *	tp_due(entry)					the block sums of the entry
 *	tp_full_block(entry, k)			block k when it is full, if the entry keeps it
 *
 * Quantities and limits show the decimals that they have, money at least 2.
 */

/* Block k as a row; incomplete if something does not fit. */

static void
TP			(output_block) (TP_CX * cx, const Tariff *tariff, const TP (Water) * water, int k,
							TariffBlockOut *row)
{
	const TariffBlock *block = &tariff->block[k];
	TP			(BlockRow) priced;

	memset(row, 0, sizeof(*row));
	TP			(price_block) (cx, tariff, water, k, &priced);

	if (tp_failed(cx))
		return;
	row->number = k + 1;
	row->open = block->open;
	row->name = block->name;
	row->from = tp_datum(cx, priced.from, 0);
	if (!block->open)
		row->to = tp_datum(cx, priced.to, 0);
	row->quantity = tp_datum(cx, priced.quantity, 0);
	row->price = tp_datum(cx, priced.price, 2);
	row->fixed = tp_datum(cx, priced.fixed, 2);
	row->amount = tp_datum(cx, priced.amount, 2);
}

/* The blocks of the bill, with one more for what the minimum adds. */
static void
TP			(output_blocks) (TP_CX * cx, TariffEntry *entry, const TariffRequest *request,
							 const TP (Water) * water, TariffBillOut *out)
{
	const Tariff *tariff = &entry->tariff;
	int			first = TP (first_block) (tariff, water);
	int			n = water->reached - first + 1;

	out->block = MemoryContextAllocHuge(CurrentMemoryContext,
										sizeof(TariffBlockOut *) * (n + 1));
	for (int k = 0; k < n; k++)
	{
		out->block[k] = NULL;
		if (k < n - 1 && !water->has_factor)
			out->block[k] = tp_full_block(entry, first + k);
		if (out->block[k] == NULL)
		{
			CHECK_FOR_INTERRUPTS();
			out->block[k] = palloc(sizeof(TariffBlockOut));
			TP			(output_block) (cx, tariff, water, first + k, out->block[k]);

			if (tp_failed(cx))
				return;
		}
	}
	out->nblocks = n;
	out->consumption = tp_datum(cx, tp_load(cx, &request->consumption), 0);
	out->billed = tp_datum(cx, water->billed, 0);
	if (water->lifted)
	{
		TariffBlockOut *row = palloc0(sizeof(TariffBlockOut));

		row->amount = tp_datum(cx, water->lift, 2);
		out->block[out->nblocks++] = row;
	}
}

/* The n lines of the bill. */
static void
TP			(output_lines) (TP_CX * cx, const TP (Line) * line, int n, TariffBillOut *out)
{

	out->line = palloc(sizeof(TariffLineOut) * n);
	for (int i = 0; i < n; i++)
	{
		TariffLineOut *row = &out->line[i];

		/* only a percentage has a base */
		row->base = (Datum) 0;
		if (i > 0 && out->concepts->concept[i - 1].percentage)
			row->base = tp_datum(cx, line[i].base, 2);
		row->quantity = tp_datum(cx, line[i].quantity, 0);
		row->unit_price = tp_datum(cx, line[i].unit_price, 6);
		row->subtotal = tp_datum(cx, line[i].subtotal, 2);
		row->discount = tp_datum(cx, line[i].discount, 2);
		row->iva_rate = tp_datum(cx, line[i].iva_rate, 0);
		row->iva = tp_datum(cx, line[i].iva, 2);
		row->total = tp_datum(cx, line[i].total, 2);
	}
}

/* The sums over the n lines. */
static void
TP			(output_sums) (TP_CX * cx, const TP (Line) * line, int n, TariffBillOut *out)
{
	TP_NUM		subtotal = line->subtotal;
	TP_NUM		discount = line->discount;
	TP_NUM		iva = line->iva;
	TP_NUM		total = line->total;

	for (int i = 1; i < n; i++)
	{
		subtotal = tp_add(cx, subtotal, line[i].subtotal);
		discount = tp_add(cx, discount, line[i].discount);
		iva = tp_add(cx, iva, line[i].iva);
		total = tp_add(cx, total, line[i].total);
	}
	if (tp_failed(cx))
		return;
	out->subtotal = tp_datum(cx, subtotal, 2);
	out->discount = tp_datum(cx, discount, 2);
	out->iva = tp_datum(cx, iva, 2);
	out->total = tp_datum(cx, total, 2);
}

/* The whole bill: see TariffFixedBill in tariff.h. */
static TariffOutcome
TP			(compute) (TP_CX * cx, TariffEntry *entry, const TariffRequest *request,
					   const TariffConcepts *concepts, TariffBillOut *out)
{
	const Tariff *tariff = &entry->tariff;
	TariffPriceStatus status;
	TP			(Water) water;

	status = TP (price_water) (cx, tariff, tp_due(entry), request, &water);

	if (tp_failed(cx))
		return TARIFF_TOO_BIG;
	if (status == TARIFF_PRICE_BEYOND)
		return TARIFF_BEYOND;
	TP			(output_blocks) (cx, entry, request, &water, out);

	if (concepts && !tp_failed(cx))
	{
		TP			(Line) few[8];
		TP			(Line) * line = few;

		if (concepts->n + 1 > (int) lengthof(few))
			line = palloc(sizeof(*line) * (concepts->n + 1));
		TP			(price_lines) (cx, tariff, request, concepts, &water, line);

		if (tp_failed(cx))
			return TARIFF_TOO_BIG;
		out->concepts = concepts;
		out->no_water = tp_compare(cx, water.billed, tp_int(cx, 0)) == 0;
		TP			(output_lines) (cx, line, concepts->n + 1, out);

		if (out->want_sums)
			TP			(output_sums) (cx, line, concepts->n + 1, out);
	}
	return tp_failed(cx) ? TARIFF_TOO_BIG : TARIFF_DONE;
}

#undef TP
#undef TP_NUM
#undef TP_CX
#undef tp_load
#undef tp_int
#undef tp_add
#undef tp_sub
#undef tp_mul
#undef tp_compare
#undef tp_hundredth
#undef tp_round2
#undef tp_divide
#undef tp_check
#undef tp_failed
#undef tp_datum
#undef tp_due
#undef tp_full_block
