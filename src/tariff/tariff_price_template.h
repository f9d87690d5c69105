/*
 * tariff_price_template.h
 *	  The arithmetic of a bill, written once for two kinds of number.
 *
 * tariff_price.h includes this with fixed-point decimals, tariff_numeric.c with
 * the server's numeric.  Both are exact, so both give the same digits; the second
 * is for numbers that do not fit the first.
 *
 * One formula prices all three modes.  With F = period factor x dwellings, the
 * limits on a bill are those of the tariff times F.  The block k that is reached is
 * the last one whose lower limit is below the consumption C (or the first one), and
 *
 *		charge = F * due[k] + (C - F * above[k]) * price[k]
 *
 *					due[k]									above[k]
 *		incremental	what the blocks before k cost when
 *					full, and all fixed charges up to k		from[k]
 *		base_excess	the fixed charge of k					from[k]
 *		volume		the fixed charge of k					0
 *
 * Scaling the limits instead of dividing the consumption keeps bills for
 * several dwellings exact: 10 m3 among 3 dwellings is never 3.333.
 *
 * Only two things are rounded: a line, to 2 decimals, and the consumption, if the
 * tariff asks for it.
 *
 * A tariff with "round": "block" is a bill of blocks, each of 2 decimals: the charge
 * is the sum of the rounded amounts, and the minimum is rounded before the two are
 * compared.  due[k] is then the sum of the rounded amounts of the full blocks before
 * k, without anything of k itself.  A factor F scales what is rounded, and so takes
 * that sum from the blocks one by one.  Modes with one block on a bill give the same
 * charge with either rounding.
 *
 * The including file defines
 *
 *	TP(name)					adds the prefix of the instance to a name
 *	TP_NUM						the type of a number, passed by value
 *	TP_CX						the type of the context of all operations
 *	tp_load(cx, &TariffNumber)	a number of the parsed tariff
 *	tp_int(cx, int)
 *	tp_add, tp_sub, tp_mul(cx, a, b)		tp_sub: a is not less than b
 *	tp_compare(cx, a, b)
 *	tp_hundredth(cx, a)			a / 100
 *	tp_round2(cx, a)			2 decimals, half away from zero
 *	tp_divide(cx, a, b, decimals, TariffRounding)
 *	tp_check(cx)				checks for interrupts
 *
 * An operation whose result does not fit notes that in *cx.  All later results are
 * undefined, so the caller must look at *cx before it uses any.
 */

typedef struct TP (Water)
{
	int			reached;		/* index of the block reached */
	TP_NUM		factor;			/* F */
	bool		has_factor;		/* F is not 1 */
	TP_NUM		billed;			/* m3, after rounding, of all dwellings */
	TP_NUM		lift;			/* difference to the minimum charge, if lifted */
	bool		lifted;
	TP_NUM		charge;			/* 2 decimals */
} TP		(Water);

typedef struct TP (BlockRow)
{
	TP_NUM		from;
	TP_NUM		to;				/* meaningless when the block is open */
	TP_NUM		quantity;
	TP_NUM		price;
	TP_NUM		fixed;
	TP_NUM		amount;
} TP		(BlockRow);

typedef struct TP (Line)
{
	TP_NUM		base;			/* of a percentage: the amount that it is a part of */
	TP_NUM		quantity;
	TP_NUM		unit_price;
	TP_NUM		subtotal;
	TP_NUM		discount;
	TP_NUM		iva_rate;
	TP_NUM		iva;
	TP_NUM		total;
} TP		(Line);

static inline TP_NUM
TP			(scaled) (TP_CX * cx, const TP (Water) * water, TP_NUM a)
{
	return water->has_factor ? tp_mul(cx, a, water->factor) : a;
}

/* due[k] for "round": "block", from due[k - 1]: see above. */
static inline void
TP			(prepare_rounded) (TP_CX * cx, const Tariff *tariff, int k, TP_NUM * due)
{
	const TariffBlock *before;
	TP_NUM		width;
	TP_NUM		amount;

	due[k] = tp_int(cx, 0);
	if (k == 0 || tariff->mode != TARIFF_INCREMENTAL)
		return;
	before = &tariff->block[k - 1];
	width = tp_sub(cx, tp_load(cx, &before->to), tp_load(cx, &before->from));
	amount = tp_add(cx, tp_load(cx, &before->fixed),
					tp_mul(cx, width, tp_load(cx, &before->price)));
	due[k] = tp_add(cx, due[k - 1], tp_round2(cx, amount));
}

/* Fills due[], one number per block. */
static inline void
TP			(prepare) (TP_CX * cx, const Tariff *tariff, TP_NUM * due)
{
	TP_NUM		full = tp_int(cx, 0);

	for (int k = 0; k < tariff->nblocks; k++)
	{
		const TariffBlock *block = &tariff->block[k];
		TP_NUM		fixed = tp_load(cx, &block->fixed);

		tp_check(cx);
		if (tariff->round_blocks)
		{
			TP			(prepare_rounded) (cx, tariff, k, due);
			continue;
		}
		if (tariff->mode != TARIFF_INCREMENTAL)
		{
			due[k] = fixed;
			continue;
		}
		full = tp_add(cx, full, fixed);
		due[k] = full;
		if (!block->open)
		{
			TP_NUM		width = tp_sub(cx, tp_load(cx, &block->to),
									   tp_load(cx, &block->from));

			full = tp_add(cx, full, tp_mul(cx, width, tp_load(cx, &block->price)));
		}
	}
}

/* The last block whose lower limit is below the consumption, or the first. */
static inline int
TP			(find_block) (TP_CX * cx, const Tariff *tariff, const TP (Water) * water)
{
	int			low = 0;
	int			high = tariff->nblocks;

	while (high - low > 1)
	{
		int			middle = low + (high - low) / 2;
		TP_NUM		from = TP (scaled) (cx, water, tp_load(cx, &tariff->block[middle].from));

		if (tp_compare(cx, from, water->billed) < 0)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The first block on a bill: all up to the one reached are shown, or that one alone. */
static inline int
TP			(first_block) (const Tariff *tariff, const TP (Water) * water)
{
	return tariff->mode == TARIFF_INCREMENTAL ? 0 : water->reached;
}

/* Block k of the charge, rounded only if the tariff rounds blocks. */
static inline void
TP			(price_block) (TP_CX * cx, const Tariff *tariff, const TP (Water) * water, int k,
						   TP (BlockRow) * row)
{
	const TariffBlock *block = &tariff->block[k];

	row->from = TP (scaled) (cx, water, tp_load(cx, &block->from));

	row->price = tp_load(cx, &block->price);
	row->fixed = TP (scaled) (cx, water, tp_load(cx, &block->fixed));
	row->to = block->open ? row->from : TP (scaled) (cx, water, tp_load(cx, &block->to));

	if (k < water->reached)
		row->quantity = tp_sub(cx, row->to, row->from);
	else if (tariff->mode == TARIFF_VOLUME || k == 0)
		row->quantity = water->billed;
	else
		row->quantity = tp_sub(cx, water->billed, row->from);
	row->amount = tp_add(cx, row->fixed, tp_mul(cx, row->quantity, row->price));
	if (tariff->round_blocks)
		row->amount = tp_round2(cx, row->amount);
}

/* The charge before the minimum, of a tariff that rounds blocks. */
static inline TP_NUM
TP			(sum_rounded) (TP_CX * cx, const Tariff *tariff, const TP_NUM * due,
						   const TP (Water) * water)
{
	TP_NUM		sum = due[water->reached];
	int			k = water->reached;
	TP			(BlockRow) row;

	if (water->has_factor)
	{
		sum = tp_int(cx, 0);
		k = TP (first_block) (tariff, water);
	}
	for (; k <= water->reached; k++)
	{
		tp_check(cx);
		TP			(price_block) (cx, tariff, water, k, &row);
		sum = tp_add(cx, sum, row.amount);
	}
	return sum;
}

/* The charge before the minimum, unrounded. */
static inline TP_NUM
TP			(sum_exact) (TP_CX * cx, const Tariff *tariff, const TP_NUM * due,
						 const TP (Water) * water)
{
	const TariffBlock *block = &tariff->block[water->reached];
	TP_NUM		excess = water->billed;

	if (tariff->mode != TARIFF_VOLUME && water->reached > 0)
		excess = tp_sub(cx, excess, TP (scaled) (cx, water, tp_load(cx, &block->from)));
	return tp_add(cx, TP (scaled) (cx, water, due[water->reached]),
				  tp_mul(cx, excess, tp_load(cx, &block->price)));
}

/*
 * The water charge: fills *water.  BEYOND if the consumption is above a finite last
 * block; like all results, that is only valid if nothing failed.
 */
static inline TariffPriceStatus
TP			(price_water) (TP_CX * cx, const Tariff *tariff, const TP_NUM * due,
						   const TariffRequest *request, TP (Water) * water)
{
	const TariffBlock *block;
	TP_NUM		consumption = tp_load(cx, &request->consumption);
	TP_NUM		amount;

	water->has_factor = request->has_period || request->units != 1;
	water->factor = tp_int(cx, request->units);
	if (request->has_period)
		water->factor = tp_mul(cx, water->factor, tp_load(cx, &request->period));
	water->billed = consumption;
	if (tariff->rounding != TARIFF_ROUND_NONE)
	{
		TP_NUM		units = tp_int(cx, request->units);

		water->billed = tp_mul(cx, units,
							   tp_divide(cx, consumption, units,
										 tariff->rounding_decimals, tariff->rounding));
	}

	water->reached = TP (find_block) (cx, tariff, water);

	block = &tariff->block[water->reached];
	if (!block->open && water->reached == tariff->nblocks - 1 &&
		tp_compare(cx, water->billed,
				   TP (scaled) (cx, water, tp_load(cx, &block->to))) > 0)
		return TARIFF_PRICE_BEYOND;

	amount = tariff->round_blocks ? TP (sum_rounded) (cx, tariff, due, water) :
		TP (sum_exact) (cx, tariff, due, water);

	water->lifted = false;
	if (tariff->has_minimum)
	{
		TP_NUM		minimum = tp_load(cx, &tariff->minimum);

		if (request->has_period)
			minimum = tp_mul(cx, minimum, tp_load(cx, &request->period));
		if (tariff->round_blocks)
			minimum = tp_round2(cx, minimum);
		if (tp_compare(cx, amount, minimum) < 0)
		{
			water->lifted = true;
			water->lift = tp_sub(cx, minimum, amount);
			amount = minimum;
		}
	}
	water->charge = tp_round2(cx, amount);
	return TARIFF_PRICE_OK;
}

/* Does the tariff's own discount apply to the line with this code? */
static inline bool
TP			(is_discounted) (const Tariff *tariff, const char *code)
{

	for (int i = 0; i < tariff->napplies; i++)
		if (strcmp(tariff->applies[i], code) == 0)
			return true;
	return false;
}

/*
 * Discount, IVA and total of a line whose subtotal is known.  `rate` is the line's
 * own IVA rate, or NULL for that of the bill; `pct` is the discount, or NULL.
 */
static inline void
TP			(finish_line) (TP_CX * cx, const Tariff *tariff, const TariffRequest *request,
						   const TariffNumber *rate, const TP_NUM * pct, TP (Line) * line)
{
	TP_NUM		net = line->subtotal;

	line->discount = tp_int(cx, 0);
	if (pct)
	{
		line->discount = tp_round2(cx, tp_hundredth(cx, tp_mul(cx, line->subtotal, *pct)));
		net = tp_sub(cx, line->subtotal, line->discount);
	}
	if (rate)
		line->iva_rate = tp_load(cx, rate);
	else if (request->has_iva)
		line->iva_rate = tp_load(cx, &request->iva_rate);
	else if (tariff->has_iva_rate)
		line->iva_rate = tp_load(cx, &tariff->iva_rate);
	else
		line->iva_rate = tp_int(cx, 0);
	line->iva = tp_round2(cx, tp_mul(cx, net, line->iva_rate));
	line->total = tp_add(cx, net, line->iva);
}

/*
 * All lines: the water line, then the concepts in their order.  line[] must have
 * room for 1 + concepts->n.
 */
static inline void
TP			(price_lines) (TP_CX * cx, const Tariff *tariff, const TariffRequest *request,
						   const TariffConcepts *concepts, const TP (Water) * water, TP (Line) * line)
{
	TP_NUM		one = tp_int(cx, 1);
	TP_NUM		zero = tp_int(cx, 0);
	TP_NUM		pct = zero;
	bool		own_discount = false;

	if (request->has_discount)
		pct = tp_load(cx, &request->discount);
	else if (tariff->has_discount)
	{
		pct = tp_load(cx, &tariff->discount);
		own_discount = true;
	}

	/* a CFDI has no lines of quantity 0: without m3, the charge is one unit */
	line->subtotal = water->charge;
	line->quantity = water->billed;
	line->base = zero;
	if (tp_compare(cx, line->quantity, zero) == 0)
		line->quantity = one;
	line->unit_price = tp_divide(cx, line->subtotal, line->quantity, 6, TARIFF_ROUND_NEAREST);
	TP			(finish_line) (cx, tariff, request, NULL,
							   request->has_discount ||
							   (own_discount && TP (is_discounted) (tariff, TARIFF_WATER_CODE)) ?
							   &pct : NULL, line);

	for (int i = 0; i < concepts->n; i++)
	{
		const TariffConcept *concept = &concepts->concept[i];
		TP_NUM		value = tp_load(cx, &concept->value);
		TP			(Line) * own = &line[i + 1];

		tp_check(cx);
		own->base = zero;
		if (concept->percentage)
		{
			for (int j = 0; j < concept->nbase; j++)
				own->base = tp_add(cx, own->base, line[concept->base[j]].subtotal);
			value = tp_mul(cx, own->base, value);
			if (concept->percent)
				value = tp_hundredth(cx, value);
		}
		own->subtotal = tp_round2(cx, value);
		own->quantity = one;
		own->unit_price = own->subtotal;
		TP			(finish_line) (cx, tariff, request, concept->has_iva_rate ? &concept->iva_rate : NULL,
								   own_discount && TP (is_discounted) (tariff, concept->code) ?
								   &pct : NULL, own);
	}
}
