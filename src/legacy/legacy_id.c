/*
 * legacy_id.c
 *	  What RFC and CURP have in common: reading and writing the characters.
 *
 * People type these keys in lower case, with blanks and hyphens between the parts,
 * and Ñ in different encodings.  All that is accepted, and nothing else.
 */
#include <string.h>

#include "legacy/legacy.h"

/*
 * The next character of the text as a byte of LegacyKey, or 0 for a blank or hyphen.
 * Moves *at to the character after it.
 */
static uint8_t
read_character(const unsigned char **at, const unsigned char *end, bool *is_latin1)
{
	const unsigned char *p = *at;
	size_t		left = (size_t) (end - p);

	*at = p + 1;
	if (*p < 0x80)
	{
		if (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r' || *p == '-')
			return 0;
		if (*p >= 'a' && *p <= 'z')
			return (uint8_t) (*p - 'a' + 'A');
		return *p > ' ' && *p < 0x7F ? *p : LEGACY_KEY_OTHER;
	}

	/* one UTF-8 sequence, or one byte of another encoding */
	if (*p >= 0xC2 && *p <= 0xF4 && left > 1 && (p[1] & 0xC0) == 0x80)
	{
		const unsigned char *next = p + 1;

		while (next < end && (*next & 0xC0) == 0x80)
			next++;
		*at = next;
		if (next == p + 2 && p[0] == 0xC3 && (p[1] == 0x91 || p[1] == 0xB1))
			return LEGACY_KEY_ENYE;
		if (next == p + 2 && p[0] == 0xC2 && p[1] == 0xA0)
			return 0;
		return LEGACY_KEY_OTHER;
	}
	if (*p == 0xD1 || *p == 0xF1)
	{
		*is_latin1 = true;
		return LEGACY_KEY_ENYE;
	}
	return *p == 0xA0 ? 0 : LEGACY_KEY_OTHER;
}

/* See legacy.h for this and the functions below. */
void
LegacyKeyRead(const char *text, size_t len, LegacyKey *key)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + len;

	memset(key, 0, sizeof(*key));
	while (at < end && key->len <= LEGACY_KEY_MAX)
	{
		uint8_t		c = read_character(&at, end, &key->is_latin1);

		if (c != 0)
			key->at[key->len++] = c;
	}
}

size_t
LegacyKeyWrite(const LegacyKey *key, char *out)
{
	char	   *start = out;

	for (size_t i = 0; i < key->len; i++)
	{
		if (key->at[i] == LEGACY_KEY_ENYE && !key->is_latin1)
		{
			*out++ = '\xC3';
			*out++ = '\x91';
		}
		else
			*out++ = (char) key->at[i];
	}
	return (size_t) (out - start);
}

bool
LegacyKeyIsForeign(const LegacyKey *key)
{
	for (size_t i = 0; i < key->len; i++)
		if (!LegacyKeyHasLetters(key, i, i + 1) && !LegacyKeyHasDigits(key, i, i + 1) &&
			key->at[i] != '&' && key->at[i] != LEGACY_KEY_ENYE)
			return true;
	return false;
}

bool
LegacyKeyHasLetters(const LegacyKey *key, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (key->at[i] < 'A' || key->at[i] > 'Z')
			return false;
	return true;
}

bool
LegacyKeyHasDigits(const LegacyKey *key, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (key->at[i] < '0' || key->at[i] > '9')
			return false;
	return true;
}

bool
LegacyKeyHasDate(const LegacyKey *key, size_t from, bool is_leap_00)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const uint8_t *p = key->at + from;
	int			year = (p[0] - '0') * 10 + p[1] - '0';
	int			month = (p[2] - '0') * 10 + p[3] - '0';
	int			day = (p[4] - '0') * 10 + p[5] - '0';

	if (month < 1 || month > 12 || day < 1 || day > days[month - 1])
		return false;
	return month != 2 || day != 29 || (year % 4 == 0 && (year != 0 || is_leap_00));
}
