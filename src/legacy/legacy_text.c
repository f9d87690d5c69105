/*
 * legacy_text.c
 *	  Texts of the database as UTF-8 for the converters and back, and the two SQL
 *	  functions that clean a text.
 *
 * In a database in UTF8 or SQL_ASCII a text is read in place unless it has something to
 * mend (legacy_repair.c).  From another encoding it is converted, if it is not ASCII.  An
 * encoding of PostgreSQL's that has no way to Unicode (MULE_INTERNAL) is read as it is and
 * never mended.  No error of a conversion reaches the user: a sync trigger asks for the
 * reason and goes on.  Nothing is kept between calls; nobody's code runs but the server's
 * conversions.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "compat.h"
#include "legacy/legacy_values.h"

PG_FUNCTION_INFO_V1(legacy_text_clean);
PG_FUNCTION_INFO_V1(legacy_text_error);

/*
 * Converts a text from the database's encoding to UTF-8; *len becomes the length of
 * the result, which is palloc'd.  Some encodings have bytes without a character
 * (0x81 in WIN1252).  The server's conversion raises an error for them, but the
 * _error functions must return a reason.  So such a byte becomes 0xFF, which occurs
 * in no UTF-8 and is refused by every converter.
 */
static const char *
to_utf8(const char *bytes, size_t *len)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	size_t		size = *len * MAX_CONVERSION_GROWTH + 1;
	size_t		done = 0;
	size_t		n = 0;
	char	   *result;

	if (!OidIsValid(conversion))
		return bytes;
	result = MemoryContextAllocHuge(CurrentMemoryContext, size);
	for (;;)
	{
		done += pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
											  (unsigned char *) bytes + done, (int) (*len - done),
											  (unsigned char *) result + n, (int) Min(size - n, INT_MAX),
											  true);
		n += strlen(result + n);
		if (done >= *len)
			break;
		result[n++] = '\xFF';
		done += Min((size_t) pg_encoding_mblen(encoding, bytes + done), *len - done);
	}
	*len = n;
	return result;
}

static bool
is_ascii(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (IS_HIGHBIT_SET(bytes[i]))
			return false;
	return true;
}

/* Can a text of this database be read as characters of Unicode, or lone bytes? */
static bool
is_readable(void)
{
	int			encoding = GetDatabaseEncoding();

	return encoding == PG_UTF8 || encoding == PG_SQL_ASCII ||
		OidIsValid(FindDefaultConversionProc(encoding, PG_UTF8));
}

/*
 * Can UTF-8 have something to mend?  Only if one of these begins in it: a control character
 * beyond ASCII, Â, Ã, â, a combining accent.
 */
static bool
is_mendable(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *) bytes;

	for (size_t i = 0; i + 1 < len; i++)
	{
		if ((p[i] == 0xC2 && p[i + 1] <= 0x9F) || p[i] == 0xCC ||
			(p[i] == 0xC3 && (p[i + 1] == 0x82 || p[i + 1] == 0x83 || p[i + 1] == 0xA2)))
			return true;
	}
	return false;
}

/* A repaired copy of bytes in UTF-8, palloc'd; *len becomes its length. */
static char *
repaired(const char *bytes, size_t *len, bool keep_lone)
{
	char	   *copy = MemoryContextAllocHuge(CurrentMemoryContext, LEGACY_REPAIR_SIZE(*len));

	*len = LegacyTextRepair(bytes, *len, keep_lone, copy);
	return copy;
}

/*
 * The bytes of a text as the converters need them: UTF-8, or lone bytes of an unknown
 * encoding (SQL_ASCII); what is certainly mojibake is mended.  ASCII is read in place, the
 * rest palloc'd.  *len becomes the length.
 */
const char *
LegacyTextBytes(struct varlena *text, size_t *len)
{
	const char *bytes = VARDATA_ANY(text);
	int			encoding = GetDatabaseEncoding();

	*len = VARSIZE_ANY_EXHDR(text);
	if (is_ascii(bytes, *len) || !is_readable() || (encoding == PG_UTF8 && !is_mendable(bytes, *len)))
		return bytes;
	if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII)
		bytes = to_utf8(bytes, len);
	return repaired(bytes, len, true);
}

/*
 * A text of the database out of UTF-8, palloc'd.  For what the converters have written:
 * the database's encoding must have the characters, otherwise 22P05.
 */
struct varlena *
LegacyTextOfUtf8(const char *bytes, size_t len)
{
	int			encoding = GetDatabaseEncoding();
	char	   *copy;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || is_ascii(bytes, len))
		return cstring_to_text_with_len(bytes, (int) len);
	copy = pnstrdup(bytes, len);
	return cstring_to_text(pg_any_to_server(copy, (int) len, PG_UTF8));
}

/*
 * The text repaired, as UTF-8, palloc'd.  NULL if this database cannot hold the result, or
 * the text has a byte without a character: the text has to stay as it is then.
 */
static char *
clean_utf8(struct varlena *value, size_t *len)
{
	const char *bytes = VARDATA_ANY(value);
	int			encoding = GetDatabaseEncoding();
	Oid			back;
	char	   *clean;
	char	   *tried;

	*len = VARSIZE_ANY_EXHDR(value);
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || is_ascii(bytes, *len))
		return repaired(bytes, len, false);
	back = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(back) || !is_readable())
		return NULL;
	bytes = to_utf8(bytes, len);
	if (memchr(bytes, 0xFF, *len) != NULL)
		return NULL;
	clean = repaired(bytes, len, false);
	tried = MemoryContextAllocHuge(CurrentMemoryContext, *len * MAX_CONVERSION_GROWTH + 1);
	if (pg_do_encoding_conversion_buf(back, PG_UTF8, encoding, (unsigned char *) clean, (int) *len,
									  (unsigned char *) tried,
									  (int) Min(*len * MAX_CONVERSION_GROWTH + 1, INT_MAX), true) != (int) *len)
		return NULL;
	return clean;
}

/* Has the text neither two blanks in a row, nor one at an end, nor anything but ASCII? */
static bool
is_plain(const char *bytes, size_t len)
{
	bool		blank = true;

	for (size_t i = 0; i < len; i++)
	{
		if ((unsigned char) bytes[i] <= ' ')
		{
			if (bytes[i] != ' ' || blank)
				return false;
			blank = true;
		}
		else if (IS_HIGHBIT_SET(bytes[i]))
			return false;
		else
			blank = false;
	}
	return !blank;
}

/* legacy_text_clean(text): NULL if nothing is left.  Raises nothing. */
Datum
legacy_text_clean(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	size_t		len;
	size_t		squeezed;
	char	   *clean;

	if (is_plain(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)))
		PG_RETURN_TEXT_P(value);
	clean = clean_utf8(value, &len);
	if (clean == NULL)
	{
		value = DatumGetTextPP(DirectFunctionCall1(btrim1, PointerGetDatum(value)));
		if (VARSIZE_ANY_EXHDR(value) == 0)
			PG_RETURN_NULL();
		PG_RETURN_TEXT_P(value);
	}
	squeezed = LegacyTextSqueeze(clean, len);
	if (squeezed < len && (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII))
	{
		/* what had no width may have stood between the halves of a pair */
		clean = repaired(clean, &squeezed, false);
		squeezed = LegacyTextSqueeze(clean, squeezed);
	}
	len = squeezed;
	if (len == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(LegacyTextOfUtf8(clean, len));
}

/* legacy_text_error(text): what legacy_text_clean leaves in it that is not sound, or NULL. */
Datum
legacy_text_error(PG_FUNCTION_ARGS)
{
	static const char *const reasons[] = {
		[LEGACY_TEXT_SOUND] = NULL,
		[LEGACY_TEXT_LOST] = "lost character",
		[LEGACY_TEXT_CONTROL] = "control character",
		[LEGACY_TEXT_MOJIBAKE] = "mojibake",
	};
	text	   *value = PG_GETARG_TEXT_PP(0);
	size_t		len;
	char	   *clean;
	const char *reason;

	if (is_plain(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)) &&
		memchr(VARDATA_ANY(value), 0x7F, VARSIZE_ANY_EXHDR(value)) == NULL)
		PG_RETURN_NULL();
	clean = clean_utf8(value, &len);
	reason = clean == NULL ? "no such character" : reasons[LegacyTextFaultOf(clean, len)];
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}
