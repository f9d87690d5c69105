/*
 * tariff_bill.c
 *	  Fuzz target: JSON text -> parser -> bill, without a server.
 *
 * Links: src/tariff/tariff_parse.c src/tariff/tariff_reader.c src/tariff/tariff_decimal.c
 * Longest input: 4096
 *
 * An input is "CONSUMPTION UNITS PERIOD\n" and then a tariff as JSON text.  It
 * need not be well-formed: the reader below hands the parser whatever tokens
 * it finds, which is more than a JsonbIterator would ever do.
 *
 * Besides what the sanitizers see, it checks
 *	- a tariff is invalid exactly when a fault was reported, and every fault is
 *	  a terminated text with a path
 *	- the blocks (and what the minimum adds) sum to the charge
 *	- the charge agrees with a plain loop in long double
 *	- subtotal - discount + IVA = total for every line, nothing is negative
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tariff/tariff_price.h"

#define MAX_BLOCKS_LOOPED 2000

#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* ---- memory: everything of one input in one list ---------------------------- */

typedef struct Chunk
{
	struct Chunk *next;
	long double data[];			/* for its alignment */
} Chunk;

typedef struct TextReader
{
	TariffReader reader;
	const char *p;
	const char *end;
	char	   *brackets;		/* what is open: '[' or '{' */
	size_t		depth;
	bool		want_key;
	Chunk	   *chunks;
	size_t		allocated;
	char	   *scratch;		/* the text of the current token */
	long		faults;
} TextReader;

static void *
text_alloc(TariffReader *reader, size_t size)
{
	TextReader *r = (TextReader *) reader;
	Chunk	   *chunk = calloc(1, sizeof(Chunk) + size);

	CHECK(chunk != NULL);
	chunk->next = r->chunks;
	r->chunks = chunk;
	return chunk->data;
}

static void
free_all(TextReader *r)
{
	while (r->chunks)
	{
		Chunk	   *next = r->chunks->next;

		free(r->chunks);
		r->chunks = next;
	}
	free(r->brackets);
	free(r->scratch);
}

/* ---- JSON text to tokens ----------------------------------------------------- */

static void
skip_blanks(TextReader *r)
{
	while (r->p < r->end && strchr(" \t\r\n,:", *r->p) && *r->p)
		r->p++;
}

static void
read_text(TextReader *r, TariffToken *token)
{
	size_t		n = 0;

	r->scratch = realloc(r->scratch, (size_t) (r->end - r->p) + 1);
	while (r->p < r->end && *r->p != '"')
	{
		if (*r->p == '\\' && r->p + 1 < r->end)
			r->p++;
		r->scratch[n++] = *r->p++;
	}
	if (r->p < r->end)
		r->p++;
	token->text = r->scratch;
	token->length = n;
}

static void
text_next(TariffReader *reader, TariffToken *token)
{
	TextReader *r = (TextReader *) reader;
	bool		in_object;
	const char *start;

	memset(token, 0, sizeof(*token));
	skip_blanks(r);
	if (r->p >= r->end)
	{
		token->kind = TARIFF_TOKEN_END;
		return;
	}
	in_object = r->depth > 0 && r->brackets[r->depth - 1] == '{';
	switch (*r->p)
	{
		case '[':
		case '{':
			token->kind = *r->p == '[' ? TARIFF_TOKEN_BEGIN_ARRAY : TARIFF_TOKEN_BEGIN_OBJECT;
			r->brackets = realloc(r->brackets, r->depth + 1);
			r->brackets[r->depth++] = *r->p++;
			r->want_key = token->kind == TARIFF_TOKEN_BEGIN_OBJECT;
			return;
		case ']':
		case '}':
			token->kind = *r->p++ == ']' ? TARIFF_TOKEN_END_ARRAY : TARIFF_TOKEN_END_OBJECT;
			if (r->depth > 0)
				r->depth--;
			r->want_key = r->depth > 0 && r->brackets[r->depth - 1] == '{';
			return;
		case '"':
			r->p++;
			read_text(r, token);
			token->kind = in_object && r->want_key ? TARIFF_TOKEN_KEY : TARIFF_TOKEN_STRING;
			r->want_key = in_object && token->kind == TARIFF_TOKEN_STRING;
			return;
		default:
			break;
	}
	start = r->p;
	while (r->p < r->end && !strchr(" \t\r\n,:[]{}\"", *r->p))
		r->p++;
	if (r->p == start)
		r->p++;
	r->want_key = in_object;
	token->text = start;
	token->length = (size_t) (r->p - start);
	if (*start == 't' || *start == 'f')
	{
		token->kind = TARIFF_TOKEN_BOOL;
		token->boolean = *start == 't';
	}
	else if (*start == 'n')
		token->kind = TARIFF_TOKEN_NULL;
	else
	{
		token->kind = TARIFF_TOKEN_NUMBER;
		token->status = TariffDecFromText(start, token->length, &token->dec, &token->negative);
	}
}

static const void *
text_keep_big(TariffReader *reader, const TariffToken *token)
{
	char	   *copy = text_alloc(reader, token->length + 1);

	memcpy(copy, token->text, token->length);
	return copy;
}

static void
text_describe(TariffReader *reader, const TariffToken *token, char *buffer, size_t size)
{
	(void) reader;
	if (token->kind >= TARIFF_TOKEN_KEY && token->kind <= TARIFF_TOKEN_NUMBER)
		snprintf(buffer, size, "%.*s", (int) (token->length > 1000 ? 1000 : token->length),
				 token->text);
	else
		snprintf(buffer, size, "kind %d", (int) token->kind);
}

static bool
text_fault(TariffReader *reader, const char *text)
{
	TextReader *r = (TextReader *) reader;

	CHECK(strstr(text, ": ") != NULL);
	return ++r->faults < 1000;
}

static long double
to_double(const TariffNumber *number)
{
	long double value;

	if (number->big)
		return strtold(number->big, NULL);
	value = (long double) number->dec.v;
	return value / powl(10.0L, number->dec.scale);
}

static int
text_compare(const TariffNumber *a, const TariffNumber *b)
{
	long double x = to_double(a);
	long double y = to_double(b);

	return (x > y) - (x < y);
}

static void
text_print(const TariffNumber *number, char *buffer, size_t size)
{
	char		text[TARIFF_DEC_TEXT_SIZE];

	if (number->big)
		snprintf(buffer, size, "%s", (const char *) number->big);
	else
	{
		TariffDec	again;
		bool		negative;

		CHECK(TariffDecToText(number->dec, 2, text) < sizeof(text));
		CHECK(TariffDecFromText(text, strlen(text), &again, &negative) ==
			  TARIFF_NUMBER_FIXED);
		CHECK(TariffDecCompare(again, number->dec) == 0);
		snprintf(buffer, size, "%s", text);
	}
}

/* ---- the bill and what must hold of it ---------------------------------------- */

static long double
dec_to_double(TariffDec dec)
{
	TariffNumber number = {dec, NULL};

	return to_double(&number);
}

/* The charge as anybody would write it down. */
static long double
plain_charge(const Tariff *tariff, const TariffRequest *request, const fixed_Water *water)
{
	long double period = request->has_period ? to_double(&request->period) : 1;
	long double factor = period * request->units;
	long double consumption = dec_to_double(water->billed);
	long double charge = 0;

	for (int i = 0; i < tariff->nblocks; i++)
	{
		const TariffBlock *block = &tariff->block[i];
		long double from = to_double(&block->from) * factor;
		long double to = block->open ? HUGE_VALL : to_double(&block->to) * factor;
		long double price = to_double(&block->price);
		long double fixed = to_double(&block->fixed) * factor;
		long double reached = fminl(consumption, to);

		if (i > 0 && consumption <= from)
			break;
		if (tariff->mode == TARIFF_INCREMENTAL)
			charge += fixed + (reached - from) * price;
		else if (tariff->mode == TARIFF_VOLUME)
			charge = fixed + consumption * price;
		else
			charge = fixed + (consumption - from) * price;
	}
	if (tariff->has_minimum)
		charge = fmaxl(charge, to_double(&tariff->minimum) * period);
	return charge;
}

static void
check_blocks(TariffFixedCx *cx, const Tariff *tariff, const fixed_Water *water)
{
	TariffDec	sum = {0, 0};

	for (int k = fixed_first_block(tariff, water); k <= water->reached; k++)
	{
		fixed_BlockRow row;

		fixed_price_block(cx, tariff, water, k, &row);
		sum = fixed_add(cx, sum, row.amount);
	}
	if (water->lifted)
		sum = fixed_add(cx, sum, water->lift);
	if (!tariff->round_blocks)
		sum = fixed_round2(cx, sum);
	CHECK(cx->failed || TariffDecCompare(sum, water->charge) == 0);
}

static void
check_lines(TariffFixedCx *cx, const Tariff *tariff, const TariffRequest *request,
			const fixed_Water *water)
{
	int			n = tariff->concepts.n + 1;
	fixed_Line *line = calloc((size_t) n, sizeof(*line));

	fixed_price_lines(cx, tariff, request, &tariff->concepts, water, line);
	for (int i = 0; i < n && !cx->failed; i++)
	{
		TariffDec	net = fixed_sub(cx, line[i].subtotal, line[i].discount);
		TariffDec	total = fixed_add(cx, net, line[i].iva);

		CHECK(cx->failed || TariffDecCompare(total, line[i].total) == 0);
		CHECK(line[i].subtotal.scale == 2 && line[i].iva.scale == 2);
	}
	free(line);
}

static void
check_bill(TextReader *r, const Tariff *tariff, const TariffRequest *request)
{
	TariffFixedCx cx = {false};
	TariffDec  *due = text_alloc(&r->reader, sizeof(TariffDec) * (size_t) tariff->nblocks);
	TariffPriceStatus status;
	fixed_Water water;
	long double expected;
	long double got;

	fixed_prepare(&cx, tariff, due);
	if (cx.failed)
		return;
	status = fixed_price_water(&cx, tariff, due, request, &water);
	if (cx.failed || status == TARIFF_PRICE_BEYOND)
		return;
	if (tariff->nblocks <= MAX_BLOCKS_LOOPED)
	{
		expected = plain_charge(tariff, request, &water);
		got = dec_to_double(water.charge);
		/* of "round": "block", each block may be half a cent off */
		CHECK(fabsl(expected - got) <= 0.0050001L * (tariff->round_blocks ? tariff->nblocks : 1) +
			  fabsl(expected) * 1e-12L);
	}
	check_blocks(&cx, tariff, &water);
	if (!cx.failed)
		check_lines(&cx, tariff, request, &water);
}

static bool
number_from(const char *text, size_t length, TariffNumber *number)
{
	bool		negative;

	number->big = NULL;
	return TariffDecFromText(text, length, &number->dec, &negative) == TARIFF_NUMBER_FIXED &&
		!negative;
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	const char *line_end = memchr(text, '\n', size);
	TextReader	r = {
		.reader = {
			text_next, text_alloc, text_keep_big, text_describe, text_fault,
			text_compare, text_print
		}
	};
	TariffRequest request = {.units = 1};
	Tariff		tariff;
	TariffConcepts concepts;
	char		consumption[64] = "0";
	char		period[64] = "1";
	char		first[160];
	size_t		length;
	bool		valid;

	if (line_end == NULL)
		return 0;
	length = (size_t) (line_end - text);
	if (length >= sizeof(first))
		return 0;
	memcpy(first, text, length);
	first[length] = '\0';
	sscanf(first, "%63s %d %63s", consumption, &request.units, period);
	if (request.units < 1 || !number_from(consumption, strlen(consumption), &request.consumption) ||
		!number_from(period, strlen(period), &request.period) || request.period.dec.v == 0)
		return 0;
	request.has_period = request.period.dec.v != 1 || request.period.dec.scale != 0;

	r.p = line_end + 1;
	r.end = text + size;
	valid = TariffParse(&r.reader, &tariff);
	CHECK(valid == (r.faults == 0));
	if (valid)
		check_bill(&r, &tariff, &request);

	/* the same text as an array of concepts */
	r.p = line_end + 1;
	r.depth = 0;
	r.faults = 0;
	valid = TariffParseConcepts(&r.reader, &concepts);
	CHECK(valid == (r.faults == 0));
	free_all(&r);
	return 0;
}
