/*
 * legacy_chars.c
 *	  Characters, one at a time: UTF-8, and bytes that are none.
 *
 * A byte that is not part of a valid UTF-8 sequence is a character of its own,
 * LEGACY_LONE + byte: databases in SQL_ASCII are full of them.  Nothing is decided here
 * about what they mean.
 */
#include "legacy/legacy_values.h"

/* 0x80 to 0x9F as Microsoft publishes it (cp1252); 0 where it has no character. */
static const uint16_t windows[] = {
	0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
	0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
	0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
	0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E, 0x0178
};

/* See legacy_values.h.  Sequences that are too long for their character, surrogates and
 * what lies beyond U+10FFFF are lone bytes, as in the server. */
uint32_t
LegacyCharRead(const unsigned char **at, const unsigned char *end)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = *at;
	uint32_t	c = *p;
	int			n;

	*at = p + 1;
	if (c < 0x80)
		return c;
	n = c >= 0xF8 ? 0 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 0;
	if (n == 0 || end - p < n)
		return LEGACY_LONE + c;
	c &= 0xFFu >> (n + 1);
	for (int i = 1; i < n; i++)
	{
		if ((p[i] & 0xC0) != 0x80)
			return LEGACY_LONE + *p;
		c = c << 6 | (p[i] & 0x3F);
	}
	if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return LEGACY_LONE + *p;
	*at = p + n;
	return c;
}

size_t
LegacyCharWrite(uint32_t c, char *out)
{
	if (c < 0x80 || c >= LEGACY_LONE)
	{
		out[0] = (char) (c & 0xFF);
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xC0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xE0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 0x3F));
		out[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 0x3F));
	out[2] = (char) (0x80 | (c >> 6 & 0x3F));
	out[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

/* Unicode's White_Space (PropList.txt), but for U+0085: see legacy_repair.c. */
bool
LegacyCharIsBlank(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == ' ' || c == 0xA0 || c == LEGACY_LONE + 0xA0 || c == 0x1680 ||
		(c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
		c == 0x205F || c == 0x3000;
}

/*
 * Zero width space, marks of direction, word joiner, byte order mark.  The joiners U+200C
 * and U+200D are not among them: they change what is seen.
 */
bool
LegacyCharIsInvisible(uint32_t c)
{
	return c == 0x200B || c == 0x200E || c == 0x200F || c == 0x2060 || c == 0xFEFF;
}

bool
LegacyCharIsDash(uint32_t c)
{
	return c == '-' || (c >= 0x2010 && c <= 0x2015) || c == 0x2212;
}

uint32_t
LegacyCharOfWindows(unsigned byte)
{
	return byte >= 0x80 && byte <= 0x9F ? windows[byte - 0x80] : 0;
}

/* Characters U+0080 to U+00FF count as their own byte, too. */
int
LegacyCharToWindows(uint32_t c)
{
	if (c <= 0xFF)
		return (int) c;
	for (int i = 0; i < 32; i++)
		if (windows[i] == c)
			return 0x80 + i;
	return -1;
}

size_t
LegacyCharsFold(const char *text, size_t len, char *word, size_t size)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + len;
	bool		blank = false;
	size_t		n = 0;

	while (at < end)
	{
		uint32_t	c = LegacyCharRead(&at, end);

		if (LegacyCharIsInvisible(c))
			continue;
		if (LegacyCharIsBlank(c))
		{
			blank = n > 0;
			continue;
		}
		if (n + blank >= size)
			return size;
		if (blank)
			word[n++] = ' ';
		blank = false;
		if (LegacyCharIsDash(c))
			c = '-';
		else if (c >= 'a' && c <= 'z')
			c -= 'a' - 'A';
		word[n++] = c > ' ' && c < 0x7F ? (char) c : '\x01';
	}
	return n;
}
