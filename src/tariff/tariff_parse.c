/*
 * tariff_parse.c
 *	  JSON tokens to a Tariff, and all its faults.
 *
 * There is one validator: tariff_errors lists what it reports, and the pricing
 * functions refuse a tariff for the same reasons in the same words.  It reads the
 * tariff once.  A fault does not end that: the faulty value is skipped and the rest
 * is read, so that one call shows everything that has to be corrected.
 *
 * A JSON null is the same as a missing key.
 *
 * Pure C: no server headers, memory only from the reader.
 */
#include <stdio.h>
#include <string.h>

#include "tariff/tariff_reader.h"

enum
{
	TARIFF_KEY_MODE, TARIFF_KEY_BLOCKS, TARIFF_KEY_MINIMUM, TARIFF_KEY_ROUND,
	TARIFF_KEY_IVA, TARIFF_KEY_CONCEPTS, TARIFF_KEY_DISCOUNT, TARIFF_KEY_NAME,
	TARIFF_KEY_ROUND_WHAT,
	TARIFF_NKEYS
};
static const char *const tariff_keys[TARIFF_NKEYS] = {
	"mode", "blocks", "minimum_charge", "round_consumption",
	"iva_rate", "additional_concepts", "social_discount", "name", "round"
};

enum
{
	BLOCK_KEY_FROM, BLOCK_KEY_TO, BLOCK_KEY_PRICE, BLOCK_KEY_FIXED,
	BLOCK_KEY_NAME,
	BLOCK_NKEYS
};
static const char *const block_keys[BLOCK_NKEYS] = {
	"from_m3", "to_m3", "price_per_m3", "fixed_charge", "name"
};

enum
{
	CONCEPT_KEY_CODE, CONCEPT_KEY_NAME, CONCEPT_KEY_TYPE, CONCEPT_KEY_VALUE,
	CONCEPT_KEY_UNIT, CONCEPT_KEY_BASE, CONCEPT_KEY_IVA,
	CONCEPT_KEY_PRODUCT, CONCEPT_KEY_UNIT_CODE,
	CONCEPT_NKEYS
};
static const char *const concept_keys[CONCEPT_NKEYS] = {
	"code", "name", "type", "value", "unit", "base", "iva_rate",
	"clave_prod_serv", "clave_unidad"
};

enum
{
	DISCOUNT_KEY_PCT, DISCOUNT_KEY_APPLIES,
	DISCOUNT_NKEYS
};
static const char *const discount_keys[DISCOUNT_NKEYS] = {"pct", "applies_to"};

static const char *const mode_names[] = {"incremental", "volume", "base_excess"};

/* The mode as it is written in a tariff. */
const char *
TariffModeName(TariffMode mode)
{
	return mode_names[mode];
}

/* SAT's product code of a line, or NULL. */
const char *
TariffDefaultProduct(const char *code)
{
	if (strcmp(code, TARIFF_WATER_CODE) == 0)
		return "10171500";
	if (strcmp(code, "alcantarillado") == 0)
		return "72151802";
	if (strcmp(code, "saneamiento") == 0)
		return "72151801";
	return NULL;
}

/* SAT's unit code of a line, or NULL. */
const char *
TariffDefaultUnit(const char *code)
{
	if (strcmp(code, TARIFF_WATER_CODE) == 0)
		return "MTQ";
	if (strcmp(code, "alcantarillado") == 0 || strcmp(code, "saneamiento") == 0)
		return "E48";
	return NULL;
}

/* ---- blocks -------------------------------------------------------------- */

/* The block before the one that is read: it must begin where this one ended. */
typedef struct Previous
{
	bool		known;			/* to is valid */
	bool		from_known;		/* from is valid */
	TariffNumber from;
	TariffNumber to;
} Previous;

/* Reports a from_m3 that is not the to_m3 of the block before. */
static void
check_from(TariffParser *p, int index, const TariffBlock *block, const Previous *previous)
{
	char		expected[TARIFF_FOUND_SIZE];
	char		got[TARIFF_FOUND_SIZE];

	TariffPrinted(p, &block->from, got);
	if (index == 0)
	{
		if (!TariffIsZero(&block->from))
			TariffFault(p, "from_m3", "the first block starts at 0, %s found", got);
		return;
	}
	if (previous->known)
	{
		int			order = TariffCompareNumbers(p, &block->from, &previous->to);

		if (order == 0)
			return;
		TariffPrinted(p, &previous->to, expected);
		if (order > 0)
			TariffFault(p, "from_m3", "gap, %s expected, %s found "
						"(limits are (from, to]; do not add 1)", expected, got);
		else if (previous->from_known && TariffCompareNumbers(p, &block->from, &previous->from) < 0)
			TariffFault(p, "from_m3", "out of order, %s expected, %s found "
						"(blocks ascend)", expected, got);
		else
			TariffFault(p, "from_m3", "overlap, %s expected, %s found "
						"(limits are (from, to])", expected, got);
	}
	else if (previous->from_known && TariffCompareNumbers(p, &block->from, &previous->from) <= 0)
		TariffFault(p, "from_m3", "out of order, %s found (blocks ascend)", got);
}

/* Reads block index into *block, checks it, and makes it the previous one. */
static void
read_block(TariffParser *p, int index, TariffBlock *block, Previous *previous)
{
	TariffKeys	keys = {block_keys, BLOCK_NKEYS, 0};
	TariffToken value;
	bool		from_known = false;
	bool		to_known = false;
	int			key;

	snprintf(p->where, sizeof(p->where), "blocks[%d]", index);
	while ((key = TariffNextKey(p, &keys, &value)) >= 0)
	{
		switch (key)
		{
			case BLOCK_KEY_FROM:
				from_known = TariffReadNumber(p, block_keys[key], &value, &block->from);
				break;
			case BLOCK_KEY_TO:
				to_known = TariffReadNumber(p, block_keys[key], &value, &block->to);
				break;
			case BLOCK_KEY_PRICE:
				TariffReadNumber(p, block_keys[key], &value, &block->price);
				break;
			case BLOCK_KEY_FIXED:
				TariffReadNumber(p, block_keys[key], &value, &block->fixed);
				break;
			case BLOCK_KEY_NAME:
				block->name = TariffReadString(p, block_keys[key], &value);
				break;
		}
	}
	block->open = !TariffHas(&keys, BLOCK_KEY_TO);
	if (!TariffHas(&keys, BLOCK_KEY_FROM))
		TariffFault(p, "from_m3", "missing");
	if (!TariffHas(&keys, BLOCK_KEY_PRICE))
		TariffFault(p, "price_per_m3", "missing");
	if (from_known)
		check_from(p, index, block, previous);
	if (from_known && to_known && TariffCompareNumbers(p, &block->to, &block->from) <= 0)
	{
		char		from[TARIFF_FOUND_SIZE];
		char		to[TARIFF_FOUND_SIZE];

		TariffFault(p, "to_m3", "not above from_m3, %s found, more than %s expected",
					TariffPrinted(p, &block->to, to), TariffPrinted(p, &block->from, from));
	}
	previous->known = to_known;
	previous->from_known = from_known;
	previous->from = block->from;
	previous->to = block->to;
}

/* Reads the blocks; the token is the value of "blocks", or the whole tariff. */
static void
read_blocks(TariffParser *p, const TariffToken *value, Tariff *tariff)
{
	Previous	previous = {false};
	TariffToken token;
	char		buffer[TARIFF_FOUND_SIZE];
	int			capacity = 0;
	int			n = 0;
	int			read = 0;

	if (value->kind != TARIFF_TOKEN_BEGIN_ARRAY)
	{
		TariffFault(p, "blocks", "an array expected, %s found", TariffFound(p, value, buffer));
		TariffSkip(p, value);
		return;
	}
	for (TariffNext(p, &token);
		 token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END;
		 TariffNext(p, &token), read++)
	{
		if (n > 0 && read == n && tariff->block[n - 1].open)
		{
			snprintf(p->where, sizeof(p->where), "blocks[%d]", n - 1);
			TariffFault(p, "to_m3", "missing or null, but only the last block may be open");
		}
		if (token.kind != TARIFF_TOKEN_BEGIN_OBJECT)
		{
			snprintf(p->where, sizeof(p->where), "blocks[%d]", read);
			TariffFault(p, NULL, "an object expected, %s found", TariffFound(p, &token, buffer));
			TariffSkip(p, &token);
			memset(&previous, 0, sizeof(previous));
			continue;
		}
		tariff->block = TariffGrow(p, tariff->block, n, &capacity, sizeof(TariffBlock));
		read_block(p, read, &tariff->block[n++], &previous);
	}
	p->where[0] = '\0';
	if (read == 0)
		TariffFault(p, "blocks", "at least one block expected");
	tariff->nblocks = n;
	tariff->open = n > 0 && tariff->block[n - 1].open;
}

/* ---- concepts ------------------------------------------------------------ */

/* A concept as it is read, before all lines that it refers to are known. */
typedef struct RawConcept
{
	TariffConcept concept;
	bool		has_base;
	int			nbase;
	const char **base;
} RawConcept;

/* Checks value and unit, which depend on the type, and sets concept->percent. */
static void
check_concept_value(TariffParser *p, const TariffKeys *keys, TariffConcept *concept,
					const char *unit)
{
	char		buffer[TARIFF_FOUND_SIZE];

	if (!concept->percentage)
	{
		if (TariffHas(keys, CONCEPT_KEY_UNIT))
			TariffFault(p, "unit", "only a percentage has a unit");
		if (TariffHas(keys, CONCEPT_KEY_BASE))
			TariffFault(p, "base", "only a percentage has a base");
		return;
	}
	if (unit == NULL && !TariffHas(keys, CONCEPT_KEY_UNIT))
	{
		if (TariffIsAbove(p, &concept->value, 1))
			TariffFault(p, "value", "over 1 without a unit, %s found "
						"(0.25 is 25 %%; or add \"unit\": \"percent\")",
						TariffPrinted(p, &concept->value, buffer));
	}
	else if (unit && strcmp(unit, "percent") == 0)
		concept->percent = true;
	else if (unit && strcmp(unit, "fraction") != 0)
		TariffFault(p, "unit", "unknown, %s found, percent or fraction expected",
					TariffQuoted(p, unit, buffer));
}

/* Reads concept index into *raw, which is zeroed, and checks what needs no other line. */
static void
read_concept(TariffParser *p, int index, RawConcept *raw)
{
	TariffKeys	keys = {concept_keys, CONCEPT_NKEYS, 0};
	TariffConcept *concept = &raw->concept;
	TariffToken value;
	const char *type = NULL;
	const char *unit = NULL;
	char		buffer[TARIFF_FOUND_SIZE];
	bool		value_known = false;
	int			key;

	snprintf(p->where, sizeof(p->where), "additional_concepts[%d]", index);
	while ((key = TariffNextKey(p, &keys, &value)) >= 0)
	{
		const char *member = concept_keys[key];

		switch (key)
		{
			case CONCEPT_KEY_CODE:
				concept->code = TariffReadString(p, member, &value);
				break;
			case CONCEPT_KEY_NAME:
				concept->name = TariffReadString(p, member, &value);
				break;
			case CONCEPT_KEY_TYPE:
				type = TariffReadString(p, member, &value);
				break;
			case CONCEPT_KEY_VALUE:
				value_known = TariffReadNumber(p, member, &value, &concept->value);
				break;
			case CONCEPT_KEY_UNIT:
				unit = TariffReadString(p, member, &value);
				break;
			case CONCEPT_KEY_BASE:
				raw->has_base = true;
				raw->nbase = TariffReadCodes(p, member, &value, &raw->base);
				break;
			case CONCEPT_KEY_IVA:
				concept->has_iva_rate = TariffReadRate(p, member, &value, &concept->iva_rate);
				break;
			case CONCEPT_KEY_PRODUCT:
				concept->clave_prod_serv = TariffReadString(p, member, &value);
				break;
			case CONCEPT_KEY_UNIT_CODE:
				concept->clave_unidad = TariffReadString(p, member, &value);
				break;
		}
	}
	if (!TariffHas(&keys, CONCEPT_KEY_CODE))
		TariffFault(p, "code", "missing");
	if (!TariffHas(&keys, CONCEPT_KEY_VALUE))
		TariffFault(p, "value", "missing");
	if (!TariffHas(&keys, CONCEPT_KEY_TYPE))
		TariffFault(p, "type", "missing (percentage or fixed)");
	else if (type)
	{
		concept->percentage = (strcmp(type, "percentage") == 0);
		if (!concept->percentage && strcmp(type, "fixed") != 0)
			TariffFault(p, "type", "unknown, %s found, percentage or fixed expected",
						TariffQuoted(p, type, buffer));
		else if (value_known)
			check_concept_value(p, &keys, concept, unit);
	}
	if (concept->code)
	{
		if (concept->name == NULL)
			concept->name = concept->code;
		if (concept->clave_prod_serv == NULL)
			concept->clave_prod_serv = TariffDefaultProduct(concept->code);
		if (concept->clave_unidad == NULL)
			concept->clave_unidad = TariffDefaultUnit(concept->code);
	}
}

/* The line with this code: 0 is water, i + 1 one of the first n concepts, -1 none. */
static int
find_line(const RawConcept *raw, int n, const char *code)
{

	if (strcmp(code, TARIFF_WATER_CODE) == 0)
		return 0;
	for (int i = 0; i < n; i++)
		if (raw[i].concept.code && strcmp(raw[i].concept.code, code) == 0)
			return i + 1;
	return -1;
}

/* Finds the lines of the base of concept `index`, and checks that its code is unique. */
static void
resolve_concept(TariffParser *p, RawConcept *raw, int n, int index)
{
	TariffConcept *concept = &raw[index].concept;
	char		buffer[TARIFF_FOUND_SIZE];

	snprintf(p->where, sizeof(p->where), "additional_concepts[%d]", index);
	if (concept->code && find_line(raw, index, concept->code) >= 0)
		TariffFault(p, "code", "%s is already the code of an earlier line",
					TariffQuoted(p, concept->code, buffer));

	if (!concept->percentage)
		return;
	concept->nbase = raw[index].has_base ? raw[index].nbase : index + 1;
	concept->base = p->reader->alloc(p->reader, sizeof(int) * (size_t) (concept->nbase + 1));
	for (int i = 0; i < concept->nbase; i++)
	{
		const char *code;

		if (!raw[index].has_base)
		{
			concept->base[i] = i;
			continue;
		}
		code = raw[index].base[i];
		concept->base[i] = find_line(raw, index, code);
		if (concept->base[i] >= 0)
			continue;
		if (find_line(raw, n, code) == index + 1)
			TariffFault(p, "base", "%s is the concept itself", TariffQuoted(p, code, buffer));
		else if (find_line(raw, n, code) >= 0)
			TariffFault(p, "base", "%s comes later (a base comes before its concept)",
						TariffQuoted(p, code, buffer));
		else
			TariffFault(p, "base", "%s is not a line of the bill", TariffQuoted(p, code, buffer));
	}
}

/* Reads the array of concepts; the token is its first one. */
static void
read_concepts(TariffParser *p, const TariffToken *value, TariffConcepts *concepts)
{
	RawConcept *raw = NULL;
	TariffToken token;
	char		buffer[TARIFF_FOUND_SIZE];
	int			capacity = 0;
	int			read = 0;
	int			n = 0;

	if (value->kind != TARIFF_TOKEN_BEGIN_ARRAY)
	{
		TariffFault(p, "additional_concepts", "an array expected, %s found",
					TariffFound(p, value, buffer));
		TariffSkip(p, value);
		return;
	}
	for (TariffNext(p, &token);
		 token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END;
		 TariffNext(p, &token), read++)
	{
		if (token.kind == TARIFF_TOKEN_BEGIN_OBJECT && read < TARIFF_MAX_CONCEPTS)
		{
			raw = TariffGrow(p, raw, read, &capacity, sizeof(RawConcept));
			memset(&raw[read], 0, sizeof(RawConcept));
			read_concept(p, read, &raw[read]);
			n = read + 1;
			continue;
		}
		snprintf(p->where, sizeof(p->where), "additional_concepts[%d]", read);
		if (read < TARIFF_MAX_CONCEPTS)
		{
			TariffFault(p, NULL, "an object expected, %s found", TariffFound(p, &token, buffer));
			raw = TariffGrow(p, raw, read, &capacity, sizeof(RawConcept));
			memset(&raw[read], 0, sizeof(RawConcept));
			n = read + 1;
		}
		else if (read == TARIFF_MAX_CONCEPTS)
			TariffFault(p, NULL, "more than %d concepts", TARIFF_MAX_CONCEPTS);
		TariffSkip(p, &token);
	}
	for (int i = 0; i < n; i++)
		resolve_concept(p, raw, n, i);
	p->where[0] = '\0';

	concepts->n = n;
	concepts->concept = p->reader->alloc(p->reader, sizeof(TariffConcept) * (size_t) (n + 1));
	for (int i = 0; i < n; i++)
		concepts->concept[i] = raw[i].concept;
}

/* ---- the rest of the tariff ----------------------------------------------- */

/* Reads the social discount, which by default applies to the water line. */
static void
read_discount(TariffParser *p, const TariffToken *value, Tariff *tariff)
{
	TariffKeys	keys = {discount_keys, DISCOUNT_NKEYS, 0};
	TariffToken token;
	char		buffer[TARIFF_FOUND_SIZE];
	int			key;

	if (value->kind != TARIFF_TOKEN_BEGIN_OBJECT)
	{
		TariffFault(p, "social_discount", "an object with pct and applies_to expected, %s found",
					TariffFound(p, value, buffer));
		TariffSkip(p, value);
		return;
	}
	snprintf(p->where, sizeof(p->where), "social_discount");
	while ((key = TariffNextKey(p, &keys, &token)) >= 0)
	{
		if (key == DISCOUNT_KEY_APPLIES)
			tariff->napplies = TariffReadCodes(p, "applies_to", &token, &tariff->applies);
		else if (TariffReadNumber(p, "pct", &token, &tariff->discount))
		{
			tariff->has_discount = true;
			if (TariffIsAbove(p, &tariff->discount, 100))
				TariffFault(p, "pct", "over 100, %s found",
							TariffPrinted(p, &tariff->discount, buffer));
		}
	}
	if (!TariffHas(&keys, DISCOUNT_KEY_PCT))
		TariffFault(p, "pct", "missing");
	p->where[0] = '\0';
	if (!TariffHas(&keys, DISCOUNT_KEY_APPLIES))
	{
		tariff->applies = p->reader->alloc(p->reader, sizeof(char *));
		tariff->applies[0] = TARIFF_WATER_CODE;
		tariff->napplies = 1;
	}
}

/* If the tariff has concepts, its discount can only apply to those and to water. */
static void
check_discount_codes(TariffParser *p, const Tariff *tariff)
{
	char		buffer[TARIFF_FOUND_SIZE];
	int			j;

	snprintf(p->where, sizeof(p->where), "social_discount");
	for (int i = 0; i < tariff->napplies; i++)
	{
		if (strcmp(tariff->applies[i], TARIFF_WATER_CODE) == 0)
			continue;
		for (j = 0; j < tariff->concepts.n; j++)
		{
			const char *code = tariff->concepts.concept[j].code;

			if (code && strcmp(code, tariff->applies[i]) == 0)
				break;
		}
		if (j == tariff->concepts.n)
			TariffFault(p, "applies_to", "%s is not a line of the bill",
						TariffQuoted(p, tariff->applies[i], buffer));
	}
	p->where[0] = '\0';
}

static void
read_mode(TariffParser *p, const TariffToken *value, Tariff *tariff)
{
	char		buffer[TARIFF_FOUND_SIZE];

	for (int i = 0; i < 3 && value->kind == TARIFF_TOKEN_STRING; i++)
	{
		if (TariffTextIs(value, mode_names[i]))
		{
			tariff->mode = (TariffMode) i;
			return;
		}
	}
	TariffFault(p, "mode", "unknown, %s found, incremental, volume or base_excess expected",
				TariffFound(p, value, buffer));
	TariffSkip(p, value);
}

/*
 * Reads how the consumption is rounded: "up", "down" and "nearest" mean whole m3; a
 * number from 0 to 9 means so many decimals, to the nearest.
 */
static void
read_rounding(TariffParser *p, const TariffToken *value, Tariff *tariff)
{
	static const char *const names[] = {"nearest", "up", "down"};
	static const TariffRounding roundings[] = {
		TARIFF_ROUND_NEAREST, TARIFF_ROUND_UP, TARIFF_ROUND_DOWN
	};
	TariffToken token = *value;
	char		buffer[TARIFF_FOUND_SIZE];

	for (int i = 0; i < 3 && value->kind == TARIFF_TOKEN_STRING; i++)
	{
		if (TariffTextIs(value, names[i]))
		{
			tariff->rounding = roundings[i];
			tariff->rounding_decimals = 0;
			return;
		}
	}
	if (TariffNumberOf(&token) == TARIFF_NUMBER_FIXED && !token.negative)
	{
		TariffDecTrim(&token.dec);
		if (token.dec.scale == 0 && token.dec.v <= 9)
		{
			tariff->rounding = TARIFF_ROUND_NEAREST;
			tariff->rounding_decimals = (int) token.dec.v;
			return;
		}
	}
	TariffFault(p, "round_consumption", "unknown, %s found, "
				"\"up\", \"down\", \"nearest\" or a number of decimals from 0 to 9 expected",
				TariffFound(p, value, buffer));
	TariffSkip(p, value);
}

/* Reads what is rounded: "line", the default, or "block". */
static void
read_round(TariffParser *p, const TariffToken *value, Tariff *tariff)
{
	char		buffer[TARIFF_FOUND_SIZE];

	if (value->kind == TARIFF_TOKEN_STRING)
	{
		tariff->round_blocks = TariffTextIs(value, "block");
		if (tariff->round_blocks || TariffTextIs(value, "line"))
			return;
	}
	TariffFault(p, "round", "unknown, %s found, \"line\" or \"block\" expected "
				"(round_consumption rounds the m3)", TariffFound(p, value, buffer));
	TariffSkip(p, value);
}

/* Reads a tariff that is an object. */
static void
read_tariff_object(TariffParser *p, Tariff *tariff)
{
	TariffKeys	keys = {tariff_keys, TARIFF_NKEYS, 0};
	TariffToken value;
	int			key;

	while ((key = TariffNextKey(p, &keys, &value)) >= 0)
	{
		switch (key)
		{
			case TARIFF_KEY_MODE:
				read_mode(p, &value, tariff);
				break;
			case TARIFF_KEY_BLOCKS:
				read_blocks(p, &value, tariff);
				break;
			case TARIFF_KEY_MINIMUM:
				tariff->has_minimum =
					TariffReadNumber(p, tariff_keys[key], &value, &tariff->minimum) &&
					!TariffIsZero(&tariff->minimum);
				break;
			case TARIFF_KEY_ROUND:
				read_rounding(p, &value, tariff);
				break;
			case TARIFF_KEY_IVA:
				tariff->has_iva_rate = TariffReadRate(p, tariff_keys[key], &value,
													  &tariff->iva_rate);
				break;
			case TARIFF_KEY_CONCEPTS:
				tariff->has_concepts = true;
				read_concepts(p, &value, &tariff->concepts);
				break;
			case TARIFF_KEY_DISCOUNT:
				read_discount(p, &value, tariff);
				break;
			case TARIFF_KEY_ROUND_WHAT:
				read_round(p, &value, tariff);
				break;
			case TARIFF_KEY_NAME:
				tariff->name = TariffReadString(p, tariff_keys[key], &value);
				break;
		}
	}
	if (!TariffHas(&keys, TARIFF_KEY_BLOCKS))
		TariffFault(p, "blocks", "missing");
	if (tariff->has_concepts)
		check_discount_codes(p, tariff);
}

/* Reads a tariff: see tariff_types.h. */
bool
TariffParse(TariffReader *reader, Tariff *tariff)
{
	TariffParser parser = {reader, "", true, false};
	TariffToken token;
	char		buffer[TARIFF_FOUND_SIZE];

	memset(tariff, 0, sizeof(*tariff));
	TariffNext(&parser, &token);
	if (token.kind == TARIFF_TOKEN_BEGIN_ARRAY)
		read_blocks(&parser, &token, tariff);
	else if (token.kind == TARIFF_TOKEN_BEGIN_OBJECT)
		read_tariff_object(&parser, tariff);
	else
		TariffFault(&parser, "tariff", "an array of blocks or an object with blocks expected, "
					"%s found", TariffFound(&parser, &token, buffer));
	return parser.valid;
}

/* Reads an array of concepts, or null: see tariff_types.h. */
bool
TariffParseConcepts(TariffReader *reader, TariffConcepts *concepts)
{
	TariffParser parser = {reader, "", true, false};
	TariffToken token;

	memset(concepts, 0, sizeof(*concepts));
	TariffNext(&parser, &token);
	concepts->absent = (token.kind == TARIFF_TOKEN_NULL);
	if (!concepts->absent)
		read_concepts(&parser, &token, concepts);
	return parser.valid;
}
