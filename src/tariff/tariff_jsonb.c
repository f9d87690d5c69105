/*
 * tariff_jsonb.c
 *	  JSONB to the parser's tokens.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "tariff/tariff.h"

/* so many bytes of a tariff's name are shown in a message */
#define SHOWN_NAME 64

typedef struct JsonbReader
{
	TariffReader reader;		/* first, because the parser passes its address */
	JsonbIterator *iterator;
	JsonbValue	value;			/* what the current token was made of */
	MemoryContext mcxt;			/* of everything the parser keeps */
	bool		scalar;			/* the root is neither array nor object */
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

/* The next token.  The iterator wraps a scalar in an array, which is left out. */
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

	/* the parser allocates before every long loop, so it can be interrupted here */
	CHECK_FOR_INTERRUPTS();
	return MemoryContextAllocExtended(r->mcxt, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/*
 * A string that is a BIG number, as numeric.  numeric_in gets the significant
 * digits only, because a string can have more zeros than it accepts.
 */
static Datum
numeric_from_text(const TariffToken *token)
{
	char		digits[2 * TARIFF_MAX_DIGITS + sizeof("e-400")];
	const char *end = token->text + token->length;
	const char *p;
	int			zeros = 0;		/* read since the last digit that was written */
	int			n = 0;

	for (p = token->text; p < end && *p != 'e' && *p != 'E'; p++)
	{
		if (*p == '0')
			zeros += n > 0;
		else if (*p > '0' && *p <= '9')
		{
			memset(digits + n, '0', zeros);
			n += zeros;
			zeros = 0;
			digits[n++] = *p;
		}
	}
	snprintf(digits + n, sizeof(digits) - n, "e%d", -token->dec.scale);
	return DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* The number as numeric in r->mcxt, without trailing zeros like all of a tariff. */
static const void *
jsonb_keep_big(TariffReader *reader, const TariffToken *token)
{
	JsonbReader *r = (JsonbReader *) reader;
	MemoryContext oldcontext = MemoryContextSwitchTo(r->mcxt);
	Datum		number;

	if (token->kind == TARIFF_TOKEN_NUMBER)
	{
		const JsonbValue *value = token->source;

		number = DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(value->val.numeric));
	}
	else
		number = numeric_from_text(token);
	MemoryContextSwitchTo(oldcontext);
	return DatumGetPointer(number);
}

/* Copies what fits; a longer text is cut between characters and ends in "...". */
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

/* How a message quotes the token. */
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

/* For messages: ' "name"' if the tariff has a name, else "". */
const char *
TariffQuotedName(const Tariff *tariff)
{
	char		name[SHOWN_NAME];

	if (tariff->name == NULL)
		return "";
	clip(name, sizeof(name), tariff->name, strlen(tariff->name));
	return psprintf(" \"%s\"", name);
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
 * Parses a tariff (or an array of concepts) into the entry; entry->mcxt keeps
 * everything.  At most max_faults faults go to *faults, C strings in the current
 * memory context.  True if there are none.
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
