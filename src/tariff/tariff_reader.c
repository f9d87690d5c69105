/*
 * tariff_reader.c
 *	  The lower half of the parser: faults with their path, tokens, the keys of
 *	  an object, and single values.
 *
 * Nothing here recurses: values that do not belong into a tariff are skipped by
 * counting brackets, however deep they are nested.
 *
 * Pure C: no server headers, memory only from the reader.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tariff/tariff_reader.h"

/* ---- faults -------------------------------------------------------------- */

/* Reports "<where>.<member>: <text>"; member may be NULL.  The tariff is then invalid. */
void
TariffFault(TariffParser *p, const char *member, const char *format,...)
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

/* The token as a message quotes it. */
const char *
TariffFound(TariffParser *p, const TariffToken *token, char *buffer)
{
	p->reader->describe(p->reader, token, buffer, TARIFF_FOUND_SIZE);
	return buffer;
}

/* A text of the tariff, quoted and cut to the size of the buffer. */
const char *
TariffQuoted(TariffParser *p, const char *text, char *buffer)
{
	TariffToken token = {.kind = TARIFF_TOKEN_STRING, .text = text, .length = strlen(text)};

	return TariffFound(p, &token, buffer);
}

/* A number as a message shows it. */
const char *
TariffPrinted(TariffParser *p, const TariffNumber *number, char *buffer)
{
	p->reader->print(number, buffer, TARIFF_FOUND_SIZE);
	return buffer;
}

/* ---- tokens -------------------------------------------------------------- */

/* The next token; END for ever when the reader wants no more faults. */
void
TariffNext(TariffParser *p, TariffToken *token)
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

/* Reads to the end of the value that begins with this token. */
void
TariffSkip(TariffParser *p, const TariffToken *value)
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
		TariffNext(p, &token);
	}
}

/* Is the text of the token this one? */
bool
TariffTextIs(const TariffToken *token, const char *text)
{
	return token->length == strlen(text) && memcmp(token->text, text, token->length) == 0;
}

/* Levenshtein distance; b has less than 32 bytes. */
static int
distance(const char *a, size_t alen, const char *b, size_t blen)
{
	int			row[32];

	for (size_t j = 0; j <= blen; j++)
		row[j] = (int) j;
	for (size_t i = 1; i <= alen; i++)
	{
		int			diagonal = row[0];

		row[0] = (int) i;
		for (size_t j = 1; j <= blen; j++)
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

/* Is the key the beginning of the name ("to"), or at least four characters of it? */
static bool
is_part(const TariffToken *key, const char *name, size_t length)
{
	size_t		at;

	for (at = 0; at + key->length <= length; at++)
		if (memcmp(key->text, name + at, key->length) == 0)
			return at == 0 ? key->length >= 2 : key->length >= 4;
	return false;
}

/* Reports an unknown key, with the known one that it was probably meant to be. */
static void
unknown_key(TariffParser *p, const TariffKeys *keys, const TariffToken *key)
{
	char		name[TARIFF_FOUND_SIZE];
	char		known[256];		/* room for all keys of any object */
	const char *nearest = NULL;
	int			nearest_distance = 0;
	size_t		used = 0;

	if (key->length == 0)
		strcpy(name, "\"\"");
	else
		p->reader->describe(p->reader, key, name, sizeof(name));
	for (int i = 0; i < keys->n && key->length < 32; i++)
	{
		size_t		length = strlen(keys->name[i]);
		int			d = distance(key->text, key->length, keys->name[i], length);

		/* "price" for price_per_m3 is far away letter by letter */
		if (is_part(key, keys->name[i], length))
			d = 1;
		if (d <= (int) length / 2 && (nearest == NULL || d < nearest_distance))
		{
			nearest = keys->name[i];
			nearest_distance = d;
		}
	}
	if (nearest)
	{
		TariffFault(p, name, "unknown key (did you mean %s?)", nearest);
		return;
	}
	known[0] = '\0';
	for (int i = 0; i < keys->n && used < sizeof(known); i++)
		used += (size_t) snprintf(known + used, sizeof(known) - used, "%s%s",
								  i > 0 ? ", " : "", keys->name[i]);
	TariffFault(p, name, "unknown key (known: %s; keys that start with _ are ignored)", known);
}

/*
 * The next known key of the object that is being read, and the first token of its
 * value; -1 at the end of the object.  Keys whose value is null, ignored keys and
 * faulty ones are not returned.
 */
int
TariffNextKey(TariffParser *p, TariffKeys *keys, TariffToken *value)
{
	for (;;)
	{
		TariffToken key;
		bool		wanted = false;
		int			i = 0;

		TariffNext(p, &key);
		if (key.kind != TARIFF_TOKEN_KEY)
			return -1;
		while (i < keys->n && !TariffTextIs(&key, keys->name[i]))
			i++;
		if (i < keys->n)
		{
			wanted = (keys->seen & (1u << i)) == 0;
			if (!wanted)
				TariffFault(p, keys->name[i], "given twice");
		}
		else if (key.length == 0 || key.text[0] != '_')
			unknown_key(p, keys, &key);

		TariffNext(p, value);
		if (wanted && value->kind != TARIFF_TOKEN_NULL)
		{
			keys->seen |= 1u << i;
			return i;
		}
		TariffSkip(p, value);
	}
}

/* ---- values -------------------------------------------------------------- */

/*
 * The array, with room for element n; *capacity is 0 for a new one.  It may move, and
 * the old memory is not freed: the reader has no function for that.
 */
void *
TariffGrow(TariffParser *p, void *array, int n, int *capacity, size_t size)
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

/* Negative, zero or positive, if a is less than, equal to or greater than b. */
int
TariffCompareNumbers(TariffParser *p, const TariffNumber *a, const TariffNumber *b)
{
	if (a->big || b->big)
		return p->reader->compare(a, b);
	return TariffDecCompare(a->dec, b->dec);
}

bool
TariffIsAbove(TariffParser *p, const TariffNumber *a, unsigned limit)
{
	TariffNumber b = {{limit, 0}, NULL};

	return TariffCompareNumbers(p, a, &b) > 0;
}

bool
TariffIsZero(const TariffNumber *a)
{
	return a->big == NULL && a->dec.v == 0;
}

/* Reads the token as a number, which may also be the text of a string. */
TariffNumberStatus
TariffNumberOf(TariffToken *token)
{
	if (token->kind == TARIFF_TOKEN_STRING)
		token->status = TariffDecFromText(token->text, token->length, &token->dec,
										  &token->negative);
	else if (token->kind != TARIFF_TOKEN_NUMBER)
		token->status = TARIFF_NUMBER_INVALID;
	return token->status;
}

/* A number that is not negative. */
bool
TariffReadNumber(TariffParser *p, const char *member, const TariffToken *value,
				 TariffNumber *number)
{
	TariffToken token = *value;
	char		buffer[TARIFF_FOUND_SIZE];

	if (TariffNumberOf(&token) == TARIFF_NUMBER_INVALID)
		TariffFault(p, member, "not a number, %s found", TariffFound(p, value, buffer));
	else if (token.negative)
		TariffFault(p, member, "negative, %s found", TariffFound(p, value, buffer));
	else if (token.status == TARIFF_NUMBER_OUT_OF_RANGE)
		TariffFault(p, member, "more than %d digits before or after the decimal point",
					TARIFF_MAX_DIGITS);
	else
	{
		number->dec = token.dec;
		number->big = NULL;
		if (token.status == TARIFF_NUMBER_BIG)
			number->big = p->reader->keep_big(p->reader, &token);
		else
			TariffDecTrim(&number->dec);
		return true;
	}
	TariffSkip(p, value);
	return false;
}

/* A text that is not empty, terminated; or NULL. */
const char *
TariffReadString(TariffParser *p, const char *member, const TariffToken *value)
{
	char		buffer[TARIFF_FOUND_SIZE];
	char	   *copy;

	if (value->kind != TARIFF_TOKEN_STRING || value->length == 0)
	{
		TariffFault(p, member, "a non-empty text expected, %s found",
					TariffFound(p, value, buffer));
		TariffSkip(p, value);
		return NULL;
	}
	copy = p->reader->alloc(p->reader, value->length + 1);
	memcpy(copy, value->text, value->length);
	return copy;
}

/*
 * A code, or an array of codes.  Returns how many there are; *codes is NULL if there
 * are none.
 */
int
TariffReadCodes(TariffParser *p, const char *member, const TariffToken *value, const char ***codes)
{
	TariffToken token = *value;
	const char **list = NULL;
	char		buffer[TARIFF_FOUND_SIZE];
	bool		array = (value->kind == TARIFF_TOKEN_BEGIN_ARRAY);
	bool		any = false;
	int			n = 0;
	int			capacity = 0;

	if (array)
		TariffNext(p, &token);
	while (token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END)
	{
		const char *code = TariffReadString(p, member, &token);
		int			i = 0;

		any = true;
		while (code && i < n && strcmp(list[i], code) != 0)
			i++;
		if (code && i < n)
			TariffFault(p, member, "%s appears twice", TariffQuoted(p, code, buffer));
		else if (code && n == TARIFF_MAX_CONCEPTS)
		{
			TariffFault(p, member, "more than %d codes", TARIFF_MAX_CONCEPTS);
			code = NULL;
			/* the comparison above is quadratic, so the rest is not read */
			while (token.kind != TARIFF_TOKEN_END_ARRAY && token.kind != TARIFF_TOKEN_END)
			{
				TariffNext(p, &token);
				if (is_begin(&token))
				{
					TariffSkip(p, &token);
					token.kind = TARIFF_TOKEN_NULL;
				}
			}
			break;
		}
		else if (code)
		{
			list = TariffGrow(p, list, n, &capacity, sizeof(*list));
			list[n++] = code;
		}
		if (!array)
			break;
		TariffNext(p, &token);
	}
	if (!any)
		TariffFault(p, member, "no code found, at least one expected");
	*codes = list;
	return n;
}

/* A rate is a fraction.  16 for 16 % is a fault: we do not guess. */
bool
TariffReadRate(TariffParser *p, const char *member, const TariffToken *value, TariffNumber *rate)
{
	char		buffer[TARIFF_FOUND_SIZE];

	if (!TariffReadNumber(p, member, value, rate))
		return false;
	if (!TariffIsAbove(p, rate, 1))
		return true;
	TariffFault(p, member, "over 1, %s found (a fraction expected: 0.16 is 16 %%)",
				TariffPrinted(p, rate, buffer));
	return false;
}
