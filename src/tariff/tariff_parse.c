/*
 * tariff_parse.c
 *	  JSON tokens to a Tariff, and every fault on the way.
 *
 * One pass, one validator: tariff_errors lists what it reports, the pricing
 * functions refuse a tariff for the same reasons in the same words.  A fault
 * never ends the pass; the value it concerns is skipped and the rest is read
 * on, so that one call shows everything there is to correct.
 *
 * A JSON null is the same as a key that is not there.  Nothing here recurses:
 * what has no business in a tariff is skipped by counting brackets, however
 * deep it is nested.
 *
 * Pure C: no server headers, memory only from the reader.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tariff/tariff_model.h"

#define MAX_CONCEPTS 1000
#define FOUND_SIZE 80

typedef struct Parser
{
	TariffReader *reader;
	char		where[64];		/* path of the object being read, "" at the top */
	bool		valid;
	bool		stopped;		/* the reader wants no more faults */
} Parser;

/* The known keys of one kind of object, and which of them have been read. */
typedef struct Keys
{
	const char *const *name;
	int			n;
	unsigned	seen;
} Keys;

enum
{
	TARIFF_KEY_MODE, TARIFF_KEY_BLOCKS, TARIFF_KEY_MINIMUM, TARIFF_KEY_ROUND,
	TARIFF_KEY_IVA, TARIFF_KEY_CONCEPTS, TARIFF_KEY_DISCOUNT, TARIFF_KEY_NAME,
	TARIFF_NKEYS
};
static const char *const tariff_keys[TARIFF_NKEYS] = {
	"mode", "blocks", "minimum_charge", "round_consumption",
	"iva_rate", "additional_concepts", "social_discount", "name"
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

const char *
TariffModeName(TariffMode mode)
{
	return mode_names[mode];
}

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

const char *
TariffDefaultUnit(const char *code)
{
	if (strcmp(code, TARIFF_WATER_CODE) == 0)
		return "MTQ";
	if (strcmp(code, "alcantarillado") == 0 || strcmp(code, "saneamiento") == 0)
		return "E48";
	return NULL;
}

/* ---- faults -------------------------------------------------------------- */

static void fault(Parser *p, const char *member, const char *format,...)
			__attribute__((format(printf, 3, 4)));

/* Reports "<where>.<member>: <text>". */
static void
fault(Parser *p, const char *member, const char *format,...)
{
	char		text[512];
	size_t		used;
	va_list		args;

	p->valid = false;
	if (p->stopped)
		return;
	snprintf(text, sizeof(text), "%s%s%s: ", p->where,
			 p->where[0] && member ? "." : "", member ? member : "");
	used = strlen(text);
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	if (!p->reader->fault(p->reader, text))
		p->stopped = true;
}

static const char *
found(Parser *p, const TariffToken *token, char *buffer)
{
	p->reader->describe(p->reader, token, buffer, FOUND_SIZE);
	return buffer;
}

/* A text of the tariff, quoted and cut to size. */
static const char *
quoted(Parser *p, const char *text, char *buffer)
{
	TariffToken token = {.kind = TARIFF_TOKEN_STRING, .text = text, .length = strlen(text)};

	return found(p, &token, buffer);
}

static const char *
printed(Parser *p, const TariffNumber *number, char *buffer)
{
	p->reader->print(number, buffer, FOUND_SIZE);
	return buffer;
}

/* ---- tokens -------------------------------------------------------------- */

static void
next(Parser *p, TariffToken *token)
{
	if (p->stopped)
		token->kind = TARIFF_TOKEN_END;
	else
		p->reader->next(p->reader, token);
}

static bool
is_begin(const TariffToken *token)
{
	return token->kind == TARIFF_TOKEN_BEGIN_ARRAY ||
		token->kind == TARIFF_TOKEN_BEGIN_OBJECT;
}

static bool
is_end(const TariffToken *token)
{
	return token->kind == TARIFF_TOKEN_END_ARRAY ||
		token->kind == TARIFF_TOKEN_END_OBJECT;
}

/* Reads on to the end of the value that begins with this token. */
static void
skip(Parser *p, const TariffToken *value)
{
	TariffToken token = *value;
	long		depth = 0;

	for (;;)
	{
		if (is_begin(&token))
			depth++;
		else if (is_end(&token))
			depth--;
		if (depth == 0 || token.kind == TARIFF_TOKEN_END)
			return;
		next(p, &token);
	}
}

static bool
text_is(const TariffToken *token, const char *text)
{
	return token->length == strlen(text) && memcmp(token->text, text, token->length) == 0;
}

/* Levenshtein distance, for keys of a sensible length. */
static int
distance(const char *a, size_t alen, const char *b, size_t blen)
{
	int			row[32];
	size_t		i;
	size_t		j;

	for (j = 0; j <= blen; j++)
		row[j] = (int) j;
	for (i = 1; i <= alen; i++)
	{
		int			diagonal = row[0];

		row[0] = (int) i;
		for (j = 1; j <= blen; j++)
		{
			int			best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[blen];
}

/* A key that nothing reads is most likely a known one, mistyped. */
static void
unknown_key(Parser *p, const Keys *keys, const TariffToken *key)
{
	char		name[FOUND_SIZE];
	const char *nearest = NULL;
	int			nearest_distance = 0;
	int			i;

	p->reader->describe(p->reader, key, name, sizeof(name));
	for (i = 0; i < keys->n && key->length < 32; i++)
	{
		size_t		length = strlen(keys->name[i]);
		int			d = distance(key->text, key->length, keys->name[i], length);

		/* "price" for price_per_m3 is far away letter by letter */
		if (key->length >= 3 && key->length < length &&
			memcmp(key->text, keys->name[i], key->length) == 0)
			d = 1;
		if (d <= (int) length / 2 && (nearest == NULL || d < nearest_distance))
		{
			nearest = keys->name[i];
			nearest_distance = d;
		}
	}
	if (nearest)
		fault(p, name, "unknown key (did you mean %s?)", nearest);
	else
		fault(p, name, "unknown key (a key that starts with _ is ignored)");
}

/*
 * The next known key of the object being read, with the first token of its
 * value; -1 at the end of the object.  Nulls, ignored keys and faulty ones
 * never get to the caller.
 */
static int
next_key(Parser *p, Keys *keys, TariffToken *value)
{
	for (;;)
	{
		TariffToken key;
		bool		wanted = false;
		int			i = 0;

		next(p, &key);
		if (key.kind != TARIFF_TOKEN_KEY)
			return -1;
		while (i < keys->n && !text_is(&key, keys->name[i]))
			i++;
		if (i < keys->n)
		{
			wanted = (keys->seen & (1u << i)) == 0;
			if (!wanted)
				fault(p, keys->name[i], "given twice");
		}
		else if (key.length == 0 || key.text[0] != '_')
			unknown_key(p, keys, &key);

		next(p, value);
		if (wanted && value->kind != TARIFF_TOKEN_NULL)
		{
			keys->seen |= 1u << i;
			return i;
		}
		skip(p, value);
	}
}

static bool
has(const Keys *keys, int key)
{
	return (keys->seen & (1u << key)) != 0;
}

/* ---- values -------------------------------------------------------------- */

/* One growing array a list; the reader's memory is never given back. */
static void *
grow(Parser *p, void *array, int n, int *capacity, size_t size)
{
	void	   *larger;

	if (n < *capacity)
		return array;
	*capacity = *capacity ? *capacity * 2 : 8;
	larger = p->reader->alloc(p->reader, (size_t) *capacity * size);
	if (n > 0)
		memcpy(larger, array, (size_t) n * size);
	return larger;
}

static int
compare(Parser *p, const TariffNumber *a, const TariffNumber *b)
{
	if (a->big || b->big)
		return p->reader->compare(a, b);
	return TariffDecCompare(a->dec, b->dec);
}

static bool
is_above(Parser *p, const TariffNumber *a, unsigned limit)
{
	TariffNumber b = {{limit, 0}, NULL};

	return compare(p, a, &b) > 0;
}

static bool
is_zero(const TariffNumber *a)
{
	return a->big == NULL && a->dec.v == 0;
}

/* A number, or a string that holds one; nothing in a tariff is negative. */
static bool
read_number(Parser *p, const char *member, const TariffToken *value, TariffNumber *number)
{
	TariffToken token = *value;
	char		buffer[FOUND_SIZE];

	if (token.kind == TARIFF_TOKEN_STRING)
		token.status = TariffDecFromText(token.text, token.length, &token.dec, &token.negative);
	else if (token.kind != TARIFF_TOKEN_NUMBER)
		token.status = TARIFF_NUMBER_INVALID;

	if (token.status == TARIFF_NUMBER_INVALID)
		fault(p, member, "not a number, %s found", found(p, value, buffer));
	else if (token.negative)
		fault(p, member, "negative, %s found", found(p, value, buffer));
	else if (token.status == TARIFF_NUMBER_OUT_OF_RANGE)
		fault(p, member, "more than %d digits before or behind the decimal point",
			  TARIFF_MAX_DIGITS);
	else
	{
		number->dec = token.dec;
		number->big = NULL;
		if (token.status == TARIFF_NUMBER_BIG)
			number->big = p->reader->keep_big(p->reader, value);
		else
			TariffDecTrim(&number->dec);
		return true;
	}
	skip(p, value);
	return false;
}

static const char *
read_string(Parser *p, const char *member, const TariffToken *value)
{
	char		buffer[FOUND_SIZE];
	char	   *copy;

	if (value->kind != TARIFF_TOKEN_STRING || value->length == 0)
	{
		fault(p, member, "a text that is not empty expected, %s found",
			  found(p, value, buffer));
		skip(p, value);
		return NULL;
	}
	copy = p->reader->alloc(p->reader, value->length + 1);
	memcpy(copy, value->text, value->length);
	return copy;
}

/* A code, or an array of codes. */
static int
read_codes(Parser *p, const char *member, const TariffToken *value, const char ***codes)
{
	TariffToken token = *value;
	const char **list = NULL;
	char		buffer[FOUND_SIZE];
	bool		array = (value->kind == TARIFF_TOKEN_BEGIN_ARRAY);
	bool		any = false;
	int			n = 0;
	int			capacity = 0;

	if (array)
		next(p, &token);
	while (token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END)
	{
		const char *code = read_string(p, member, &token);
		int			i = 0;

		any = true;
		while (code && i < n && strcmp(list[i], code) != 0)
			i++;
		if (code && i < n)
			fault(p, member, "%s is named twice", quoted(p, code, buffer));
		else if (code && n == MAX_CONCEPTS)
		{
			fault(p, member, "more than %d codes", MAX_CONCEPTS);
			code = NULL;
			/* the comparison above is quadratic: read no further */
			while (token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END)
			{
				next(p, &token);
				if (is_begin(&token))
				{
					skip(p, &token);
					token.kind = TARIFF_TOKEN_NULL;
				}
			}
			break;
		}
		else if (code)
		{
			list = grow(p, list, n, &capacity, sizeof(*list));
			list[n++] = code;
		}
		if (!array)
			break;
		next(p, &token);
	}
	if (!any)
		fault(p, member, "names no line");
	*codes = list;
	return n;
}

/* A rate is a fraction; 16 for 16 % is a fault, not a guess. */
static bool
read_rate(Parser *p, const char *member, const TariffToken *value, TariffNumber *rate)
{
	char		buffer[FOUND_SIZE];

	if (!read_number(p, member, value, rate))
		return false;
	if (!is_above(p, rate, 1))
		return true;
	fault(p, member, "over 1, %s found (a fraction expected: 0.16 is 16 %%)",
		  printed(p, rate, buffer));
	return false;
}

/* ---- blocks -------------------------------------------------------------- */

/* What a block must agree with: where the one before it ended. */
typedef struct Previous
{
	bool		known;			/* its to_m3 is a number */
	bool		from_known;
	TariffNumber from;
	TariffNumber to;
} Previous;

static void
check_from(Parser *p, int index, const TariffBlock *block, const Previous *previous)
{
	char		expected[FOUND_SIZE];
	char		got[FOUND_SIZE];

	printed(p, &block->from, got);
	if (index == 0)
	{
		if (!is_zero(&block->from))
			fault(p, "from_m3", "the first block starts at 0, %s found", got);
		return;
	}
	if (previous->known)
	{
		int			order = compare(p, &block->from, &previous->to);

		if (order == 0)
			return;
		printed(p, &previous->to, expected);
		if (order > 0)
			fault(p, "from_m3", "gap, %s expected, %s found "
				  "(limits are (from, to]; do not add 1)", expected, got);
		else if (previous->from_known && compare(p, &block->from, &previous->from) < 0)
			fault(p, "from_m3", "out of order, %s expected, %s found "
				  "(blocks ascend)", expected, got);
		else
			fault(p, "from_m3", "overlap, %s expected, %s found "
				  "(limits are (from, to])", expected, got);
	}
	else if (previous->from_known && compare(p, &block->from, &previous->from) <= 0)
		fault(p, "from_m3", "out of order, %s found (blocks ascend)", got);
}

static void
read_block(Parser *p, int index, TariffBlock *block, Previous *previous)
{
	Keys		keys = {block_keys, BLOCK_NKEYS, 0};
	TariffToken value;
	bool		from_known = false;
	bool		to_known = false;
	int			key;

	snprintf(p->where, sizeof(p->where), "blocks[%d]", index);
	while ((key = next_key(p, &keys, &value)) >= 0)
	{
		switch (key)
		{
			case BLOCK_KEY_FROM:
				from_known = read_number(p, block_keys[key], &value, &block->from);
				break;
			case BLOCK_KEY_TO:
				to_known = read_number(p, block_keys[key], &value, &block->to);
				break;
			case BLOCK_KEY_PRICE:
				read_number(p, block_keys[key], &value, &block->price);
				break;
			case BLOCK_KEY_FIXED:
				read_number(p, block_keys[key], &value, &block->fixed);
				break;
			case BLOCK_KEY_NAME:
				block->name = read_string(p, block_keys[key], &value);
				break;
		}
	}
	block->open = !has(&keys, BLOCK_KEY_TO);
	if (!has(&keys, BLOCK_KEY_FROM))
		fault(p, "from_m3", "missing");
	if (!has(&keys, BLOCK_KEY_PRICE))
		fault(p, "price_per_m3", "missing");
	if (from_known)
		check_from(p, index, block, previous);
	if (from_known && to_known && compare(p, &block->to, &block->from) <= 0)
	{
		char		from[FOUND_SIZE];
		char		to[FOUND_SIZE];

		fault(p, "to_m3", "not above from_m3, %s found, more than %s expected",
			  printed(p, &block->to, to), printed(p, &block->from, from));
	}
	previous->known = to_known;
	previous->from_known = from_known;
	previous->from = block->from;
	previous->to = block->to;
}

/* The token is the value of "blocks", or the whole tariff. */
static void
read_blocks(Parser *p, const TariffToken *value, Tariff *tariff)
{
	Previous	previous = {false};
	TariffToken token;
	char		buffer[FOUND_SIZE];
	int			capacity = 0;
	int			n = 0;
	int			read = 0;

	if (value->kind != TARIFF_TOKEN_BEGIN_ARRAY)
	{
		fault(p, "blocks", "an array expected, %s found", found(p, value, buffer));
		skip(p, value);
		return;
	}
	for (next(p, &token);
		 token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END;
		 next(p, &token), read++)
	{
		if (n > 0 && read == n && tariff->block[n - 1].open)
		{
			snprintf(p->where, sizeof(p->where), "blocks[%d]", n - 1);
			fault(p, "to_m3", "missing or null, but only the last block may be open");
		}
		if (token.kind != TARIFF_TOKEN_BEGIN_OBJECT)
		{
			snprintf(p->where, sizeof(p->where), "blocks[%d]", read);
			fault(p, NULL, "an object expected, %s found", found(p, &token, buffer));
			skip(p, &token);
			memset(&previous, 0, sizeof(previous));
			continue;
		}
		tariff->block = grow(p, tariff->block, n, &capacity, sizeof(TariffBlock));
		read_block(p, read, &tariff->block[n++], &previous);
	}
	p->where[0] = '\0';
	if (read == 0)
		fault(p, "blocks", "at least one block expected");
	tariff->nblocks = n;
	tariff->open = n > 0 && tariff->block[n - 1].open;
}

/* ---- concepts ------------------------------------------------------------ */

/* What a concept says before the lines it refers to are all known. */
typedef struct RawConcept
{
	TariffConcept concept;
	bool		has_base;
	int			nbase;
	const char **base;
} RawConcept;

static void
check_concept_value(Parser *p, const Keys *keys, TariffConcept *concept, const char *unit)
{
	char		buffer[FOUND_SIZE];

	if (!concept->percentage)
	{
		if (has(keys, CONCEPT_KEY_UNIT))
			fault(p, "unit", "only a percentage has a unit");
		if (has(keys, CONCEPT_KEY_BASE))
			fault(p, "base", "only a percentage has a base");
		return;
	}
	if (unit == NULL && !has(keys, CONCEPT_KEY_UNIT))
	{
		if (is_above(p, &concept->value, 1))
			fault(p, "value", "over 1 without a unit, %s found "
				  "(0.25 is 25 %%; or add \"unit\": \"percent\")",
				  printed(p, &concept->value, buffer));
	}
	else if (unit && strcmp(unit, "percent") == 0)
		concept->percent = true;
	else if (unit && strcmp(unit, "fraction") != 0)
		fault(p, "unit", "unknown, %s found, percent or fraction expected",
			  quoted(p, unit, buffer));
}

static void
read_concept(Parser *p, int index, RawConcept *raw)
{
	Keys		keys = {concept_keys, CONCEPT_NKEYS, 0};
	TariffConcept *concept = &raw->concept;
	TariffToken value;
	const char *type = NULL;
	const char *unit = NULL;
	char		buffer[FOUND_SIZE];
	bool		value_known = false;
	int			key;

	snprintf(p->where, sizeof(p->where), "additional_concepts[%d]", index);
	while ((key = next_key(p, &keys, &value)) >= 0)
	{
		const char *member = concept_keys[key];

		switch (key)
		{
			case CONCEPT_KEY_CODE:
				concept->code = read_string(p, member, &value);
				break;
			case CONCEPT_KEY_NAME:
				concept->name = read_string(p, member, &value);
				break;
			case CONCEPT_KEY_TYPE:
				type = read_string(p, member, &value);
				break;
			case CONCEPT_KEY_VALUE:
				value_known = read_number(p, member, &value, &concept->value);
				break;
			case CONCEPT_KEY_UNIT:
				unit = read_string(p, member, &value);
				break;
			case CONCEPT_KEY_BASE:
				raw->has_base = true;
				raw->nbase = read_codes(p, member, &value, &raw->base);
				break;
			case CONCEPT_KEY_IVA:
				concept->has_iva_rate = read_rate(p, member, &value, &concept->iva_rate);
				break;
			case CONCEPT_KEY_PRODUCT:
				concept->clave_prod_serv = read_string(p, member, &value);
				break;
			case CONCEPT_KEY_UNIT_CODE:
				concept->clave_unidad = read_string(p, member, &value);
				break;
		}
	}
	if (!has(&keys, CONCEPT_KEY_CODE))
		fault(p, "code", "missing");
	if (!has(&keys, CONCEPT_KEY_VALUE))
		fault(p, "value", "missing");
	if (!has(&keys, CONCEPT_KEY_TYPE))
		fault(p, "type", "missing (percentage or fixed)");
	else if (type)
	{
		concept->percentage = (strcmp(type, "percentage") == 0);
		if (!concept->percentage && strcmp(type, "fixed") != 0)
			fault(p, "type", "unknown, %s found, percentage or fixed expected",
				  quoted(p, type, buffer));
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

/* The line with this code among the water line and the first n concepts. */
static int
find_line(const RawConcept *raw, int n, const char *code)
{
	int			i;

	if (strcmp(code, TARIFF_WATER_CODE) == 0)
		return 0;
	for (i = 0; i < n; i++)
		if (raw[i].concept.code && strcmp(raw[i].concept.code, code) == 0)
			return i + 1;
	return -1;
}

/* Resolves the bases of concept `index` and checks that its code is its own. */
static void
resolve_concept(Parser *p, RawConcept *raw, int n, int index)
{
	TariffConcept *concept = &raw[index].concept;
	char		buffer[FOUND_SIZE];
	int			i;

	snprintf(p->where, sizeof(p->where), "additional_concepts[%d]", index);
	if (concept->code && find_line(raw, index, concept->code) >= 0)
		fault(p, "code", "%s is taken by a line before it",
			  quoted(p, concept->code, buffer));

	if (!concept->percentage)
		return;
	concept->nbase = raw[index].has_base ? raw[index].nbase : index + 1;
	concept->base = p->reader->alloc(p->reader, sizeof(int) * (size_t) (concept->nbase + 1));
	for (i = 0; i < concept->nbase; i++)
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
			fault(p, "base", "%s is the concept itself", quoted(p, code, buffer));
		else if (find_line(raw, n, code) >= 0)
			fault(p, "base", "%s stands later (a base stands before its concept)",
				  quoted(p, code, buffer));
		else
			fault(p, "base", "%s is no line of the bill", quoted(p, code, buffer));
	}
}

static void
read_concepts(Parser *p, const TariffToken *value, TariffConcepts *concepts)
{
	RawConcept *raw = NULL;
	TariffToken token;
	char		buffer[FOUND_SIZE];
	int			capacity = 0;
	int			read = 0;
	int			n = 0;
	int			i;

	if (value->kind != TARIFF_TOKEN_BEGIN_ARRAY)
	{
		fault(p, "additional_concepts", "an array expected, %s found",
			  found(p, value, buffer));
		skip(p, value);
		return;
	}
	for (next(p, &token);
		 token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END;
		 next(p, &token), read++)
	{
		if (token.kind == TARIFF_TOKEN_BEGIN_OBJECT && read < MAX_CONCEPTS)
		{
			raw = grow(p, raw, read, &capacity, sizeof(RawConcept));
			memset(&raw[read], 0, sizeof(RawConcept));
			read_concept(p, read, &raw[read]);
			n = read + 1;
			continue;
		}
		snprintf(p->where, sizeof(p->where), "additional_concepts[%d]", read);
		if (read < MAX_CONCEPTS)
		{
			fault(p, NULL, "an object expected, %s found", found(p, &token, buffer));
			raw = grow(p, raw, read, &capacity, sizeof(RawConcept));
			memset(&raw[read], 0, sizeof(RawConcept));
			n = read + 1;
		}
		else if (read == MAX_CONCEPTS)
			fault(p, NULL, "more than %d concepts", MAX_CONCEPTS);
		skip(p, &token);
	}
	for (i = 0; i < n; i++)
		resolve_concept(p, raw, n, i);
	p->where[0] = '\0';

	concepts->n = n;
	concepts->concept = p->reader->alloc(p->reader, sizeof(TariffConcept) * (size_t) (n + 1));
	for (i = 0; i < n; i++)
		concepts->concept[i] = raw[i].concept;
}

/* ---- the rest of the tariff ----------------------------------------------- */

static void
read_discount(Parser *p, const TariffToken *value, Tariff *tariff)
{
	Keys		keys = {discount_keys, DISCOUNT_NKEYS, 0};
	TariffToken token;
	char		buffer[FOUND_SIZE];
	int			key;

	if (value->kind != TARIFF_TOKEN_BEGIN_OBJECT)
	{
		fault(p, "social_discount", "an object with pct and applies_to expected, %s found",
			  found(p, value, buffer));
		skip(p, value);
		return;
	}
	snprintf(p->where, sizeof(p->where), "social_discount");
	while ((key = next_key(p, &keys, &token)) >= 0)
	{
		if (key == DISCOUNT_KEY_APPLIES)
			tariff->napplies = read_codes(p, "applies_to", &token, &tariff->applies);
		else if (read_number(p, "pct", &token, &tariff->discount))
		{
			tariff->has_discount = true;
			if (is_above(p, &tariff->discount, 100))
				fault(p, "pct", "over 100, %s found",
					  printed(p, &tariff->discount, buffer));
		}
	}
	if (!has(&keys, DISCOUNT_KEY_PCT))
		fault(p, "pct", "missing");
	p->where[0] = '\0';
	if (!has(&keys, DISCOUNT_KEY_APPLIES))
	{
		tariff->applies = p->reader->alloc(p->reader, sizeof(char *));
		tariff->applies[0] = TARIFF_WATER_CODE;
		tariff->napplies = 1;
	}
}

/* A tariff that brings its concepts must bring those its discount names. */
static void
check_discount_codes(Parser *p, const Tariff *tariff)
{
	char		buffer[FOUND_SIZE];
	int			i;
	int			j;

	snprintf(p->where, sizeof(p->where), "social_discount");
	for (i = 0; i < tariff->napplies; i++)
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
			fault(p, "applies_to", "%s is no line of the bill",
				  quoted(p, tariff->applies[i], buffer));
	}
	p->where[0] = '\0';
}

static void
read_mode(Parser *p, const TariffToken *value, Tariff *tariff)
{
	char		buffer[FOUND_SIZE];
	int			i;

	for (i = 0; i < 3 && value->kind == TARIFF_TOKEN_STRING; i++)
	{
		if (text_is(value, mode_names[i]))
		{
			tariff->mode = (TariffMode) i;
			return;
		}
	}
	fault(p, "mode", "unknown, %s found, incremental, volume or base_excess expected",
		  found(p, value, buffer));
	skip(p, value);
}

/* "up", "down" and "nearest" are to whole m3; 0 to 9 are decimals, nearest */
static void
read_rounding(Parser *p, const TariffToken *value, Tariff *tariff)
{
	static const char *const names[] = {"nearest", "up", "down"};
	static const TariffRounding roundings[] = {
		TARIFF_ROUND_NEAREST, TARIFF_ROUND_UP, TARIFF_ROUND_DOWN
	};
	char		buffer[FOUND_SIZE];
	int			i;

	for (i = 0; i < 3 && value->kind == TARIFF_TOKEN_STRING; i++)
	{
		if (text_is(value, names[i]))
		{
			tariff->rounding = roundings[i];
			tariff->rounding_decimals = 0;
			return;
		}
	}
	if (value->kind == TARIFF_TOKEN_NUMBER && value->status == TARIFF_NUMBER_FIXED &&
		!value->negative)
	{
		TariffDec	decimals = value->dec;

		TariffDecTrim(&decimals);
		if (decimals.scale == 0 && decimals.v <= 9)
		{
			tariff->rounding = TARIFF_ROUND_NEAREST;
			tariff->rounding_decimals = (int) decimals.v;
			return;
		}
	}
	fault(p, "round_consumption", "unknown, %s found, "
		  "\"up\", \"down\", \"nearest\" or a number of decimals from 0 to 9 expected",
		  found(p, value, buffer));
	skip(p, value);
}

static void
read_tariff_object(Parser *p, Tariff *tariff)
{
	Keys		keys = {tariff_keys, TARIFF_NKEYS, 0};
	TariffToken value;
	int			key;

	while ((key = next_key(p, &keys, &value)) >= 0)
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
					read_number(p, tariff_keys[key], &value, &tariff->minimum) &&
					!is_zero(&tariff->minimum);
				break;
			case TARIFF_KEY_ROUND:
				read_rounding(p, &value, tariff);
				break;
			case TARIFF_KEY_IVA:
				tariff->has_iva_rate = read_rate(p, tariff_keys[key], &value,
												 &tariff->iva_rate);
				break;
			case TARIFF_KEY_CONCEPTS:
				tariff->has_concepts = true;
				read_concepts(p, &value, &tariff->concepts);
				break;
			case TARIFF_KEY_DISCOUNT:
				read_discount(p, &value, tariff);
				break;
			case TARIFF_KEY_NAME:
				tariff->name = read_string(p, tariff_keys[key], &value);
				break;
		}
	}
	if (!has(&keys, TARIFF_KEY_BLOCKS))
		fault(p, "blocks", "missing");
	if (tariff->has_concepts)
		check_discount_codes(p, tariff);
}

bool
TariffParse(TariffReader *reader, Tariff *tariff)
{
	Parser		parser = {reader, "", true, false};
	TariffToken token;
	char		buffer[FOUND_SIZE];

	memset(tariff, 0, sizeof(*tariff));
	next(&parser, &token);
	if (token.kind == TARIFF_TOKEN_BEGIN_ARRAY)
		read_blocks(&parser, &token, tariff);
	else if (token.kind == TARIFF_TOKEN_BEGIN_OBJECT)
		read_tariff_object(&parser, tariff);
	else
		fault(&parser, "tariff", "an array of blocks or an object with blocks expected, "
			  "%s found", found(&parser, &token, buffer));
	return parser.valid;
}

bool
TariffParseConcepts(TariffReader *reader, TariffConcepts *concepts)
{
	Parser		parser = {reader, "", true, false};
	TariffToken token;

	memset(concepts, 0, sizeof(*concepts));
	next(&parser, &token);
	concepts->absent = (token.kind == TARIFF_TOKEN_NULL);
	if (!concepts->absent)
		read_concepts(&parser, &token, concepts);
	return parser.valid;
}
