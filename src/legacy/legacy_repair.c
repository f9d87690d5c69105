/*
 * legacy_repair.c
 *	  Text that went through the wrong encoding, mended where that is certain.
 *
 * Mojibake is UTF-8 that somebody took for Windows-1252 or Latin-1 and converted to
 * UTF-8 once more: "Ã±" for "ñ".  To mend it is to write each character as its byte in
 * Windows-1252 and to read the bytes as UTF-8.  Any text may be tried; what must not
 * happen is that a sound one is changed.  So a value is mended only if
 *
 *	- each of its characters has a byte there, and the bytes are UTF-8 from the first to
 *	  the last.  A program takes a whole value for Windows-1252, not half of one, and a
 *	  sound letter beyond ASCII is hardly ever followed by the right number of signs;
 *	- each character that comes out is one of Latin-1 or Windows-1252, or a typographic sign;
 *	- at least one pair is such as no sound text has.  That leaves out pairs whose second
 *	  half can stand behind the first in sound text: a closing quote, a dash, an ellipsis,
 *	  an accent in place of an apostrophe, a no-break space, behind Ã or Â at the end of
 *	  a word ("IRMÃ” is Portuguese).  They are mended in the company of a certain one.
 *
 * What was converted twice or more often is mended as often.  The result is mended no
 * further by a second call.  What looks like mojibake and does not pass stays as it is, and
 * LegacyTextFaultOf says so.
 *
 * Two more repairs need no proof.  The control characters U+0080 to U+009F are in no sound
 * text: they are bytes of Windows-1252 that were taken for Latin-1 (U+0092 is an
 * apostrophe; U+0085, "next line" on mainframes, is an ellipsis here, as in browsers).  And
 * a letter with its accent as a character of its own behind it, as Apple's file names have
 * it, becomes the one character that it is.
 */
#include <string.h>

#include "legacy/legacy_values.h"

/* A character and its bytes, read back from the bytes of a text in Windows-1252. */
typedef struct Decoded
{
	uint32_t	c;				/* 0: no mojibake */
	bool		certain;
} Decoded;

/*
 * Behind Ã (lead 0xC3) and Â (0xC2): the second halves, by their bytes, that no sound text
 * has there.  What Spanish needs is all among them: ¡ ª ° º ¿ Á É Í Ñ Ó Ú Ü á é í ñ ó ú ü.
 */
static bool
is_certain(unsigned lead, unsigned second)
{
	static const unsigned char after_a_tilde[] = {
		0x81, 0x82, 0x83, 0x84, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x8D, 0x8F, 0x90, 0x91, 0x93,
		0x98, 0x99, 0x9A, 0x9C, 0x9D, 0x9F, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA7, 0xA8, 0xA9, 0xAC,
		0xAD, 0xAE, 0xB1, 0xB2, 0xB3, 0xB5, 0xB6, 0xB8, 0xB9, 0xBA, 0xBC, 0xBD, 0xBE, 0xBF, 0
	};
	static const unsigned char after_a_hat[] = {
		0xA1, 0xA3, 0xA7, 0xA9, 0xAA, 0xAE, 0xB0, 0xB1, 0xB2, 0xB3, 0xB5, 0xB7, 0xBA, 0xBC, 0xBD,
		0xBE, 0xBF, 0
	};

	return strchr((const char *) (lead == 0xC3 ? after_a_tilde : after_a_hat), (int) second) != NULL;
}

/* Signs of three bytes that Windows-1252 has, and primes: what people type. */
static bool
is_typographic(uint32_t c)
{
	return (c >= 0x2010 && c <= 0x2026) || (c >= 0x2030 && c <= 0x203A) || c == 0x20AC || c == 0x2122 ||
		c == 0x2212;
}

/* The byte of the next character in Windows-1252, or -1. */
static int
next_byte(const unsigned char **at, const unsigned char *end)
{
	return *at < end ? LegacyCharToWindows(LegacyCharRead(at, end)) : -1;
}

/*
 * What stands at *at as mojibake, and moves *at behind it; or leaves *at alone and returns
 * 0 as the character.
 */
static Decoded
read_mojibake(const unsigned char **at, const unsigned char *end)
{
	const unsigned char *p = *at;
	int			lead = next_byte(&p, end);
	int			second = next_byte(&p, end);
	Decoded		result = {0, false};

	if (second < 0x80 || second > 0xBF)
		return result;
	if (lead == 0xC2 || lead == 0xC3)
	{
		result.c = (uint32_t) ((lead & 0x1F) << 6 | (second & 0x3F));
		result.certain = is_certain((unsigned) lead, (unsigned) second);
		/* a control character that was a byte of Windows-1252 before */
		if (LegacyCharOfWindows(result.c) != 0)
			result.c = LegacyCharOfWindows(result.c);
	}
	else if (lead == 0xC5 || lead == 0xC6 || lead == 0xCB)
	{
		/* letters of Windows-1252 that Latin-1 has not: mojibake of mojibake has them */
		result.c = (uint32_t) ((lead & 0x1F) << 6 | (second & 0x3F));
		if (LegacyCharToWindows(result.c) < 0)
			result.c = 0;
	}
	else if (lead == 0xE2)
	{
		int			third = next_byte(&p, end);

		if (third >= 0x80 && third <= 0xBF)
			result.c = (uint32_t) ((lead & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F));
		if (!is_typographic(result.c))
			result.c = 0;
		result.certain = result.c != 0;
	}
	if (result.c != 0)
		*at = p;
	return result;
}

/* Is the value mojibake from end to end?  *certain: has it a pair that no sound text has? */
static bool
is_mojibake(const char *text, size_t len, bool *certain)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + len;
	bool		found = false;

	*certain = false;
	while (at < end)
	{
		Decoded		decoded;

		if (*at < 0x80)
		{
			at++;
			continue;
		}
		decoded = read_mojibake(&at, end);
		if (decoded.c == 0)
			return false;
		found = true;
		*certain |= decoded.certain;
	}
	return found;
}

/* Mends a whole value, in place: it gets shorter.  Returns false if it stays as it is. */
static bool
mend(char *text, size_t *len)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + *len;
	bool		certain;
	size_t		n = 0;

	if (!is_mojibake(text, *len, &certain) || !certain)
		return false;
	while (at < end)
	{
		if (*at < 0x80)
			text[n++] = (char) *at++;
		else
			n += LegacyCharWrite(read_mojibake(&at, end).c, text + n);
	}
	*len = n;
	return true;
}

/* The letter with the accent that follows it, or 0. */
static uint32_t
compose(uint32_t letter, uint32_t accent)
{
	static const char acute[] = "AEIOUYaeiouy";
	static const uint8_t acute_to[] = {0xC1, 0xC9, 0xCD, 0xD3, 0xDA, 0xDD, 0xE1, 0xE9, 0xED, 0xF3, 0xFA, 0xFD};
	static const char diaeresis[] = "AEIOUaeiou";
	static const uint8_t diaeresis_to[] = {0xC4, 0xCB, 0xCF, 0xD6, 0xDC, 0xE4, 0xEB, 0xEF, 0xF6, 0xFC};
	static const char tilde[] = "ANOano";
	static const uint8_t tilde_to[] = {0xC3, 0xD1, 0xD5, 0xE3, 0xF1, 0xF5};
	static const char grave[] = "AEIOUaeiou";
	static const uint8_t grave_to[] = {0xC0, 0xC8, 0xCC, 0xD2, 0xD9, 0xE0, 0xE8, 0xEC, 0xF2, 0xF9};
	const char *letters = accent == 0x301 ? acute : accent == 0x308 ? diaeresis :
	accent == 0x303 ? tilde : accent == 0x300 ? grave : "";
	const uint8_t *to = accent == 0x301 ? acute_to : accent == 0x308 ? diaeresis_to :
	accent == 0x303 ? tilde_to : grave_to;
	const char *found = letter > 0 && letter < 0x80 ? strchr(letters, (int) letter) : NULL;

	return found != NULL ? to[found - letters] : 0;
}

size_t
LegacyTextRepair(const char *text, size_t len, bool keep_lone, char *out)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + len;
	uint32_t	before = 0;
	size_t		before_at = 0;	/* where it was written */
	size_t		n = 0;

	while (at < end)
	{
		uint32_t	c = LegacyCharRead(&at, end);
		uint32_t	byte = c & ~LEGACY_LONE;
		uint32_t	whole;

		if (byte >= 0x80 && byte <= 0x9F && LegacyCharOfWindows(byte) != 0)
			c = LegacyCharOfWindows(byte);
		else if (c >= LEGACY_LONE && !keep_lone)
			c = byte;
		whole = compose(before, c);
		if (whole != 0)
		{
			c = whole;
			n = before_at;
		}
		before = c;
		before_at = n;
		n += LegacyCharWrite(c, out + n);
	}
	while (mend(out, &n))
		;
	return n;
}

size_t
LegacyTextSqueeze(char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + len;
	bool		blank = false;
	size_t		n = 0;

	while (at < end)
	{
		const unsigned char *from = at;
		uint32_t	c = LegacyCharRead(&at, end);

		if (LegacyCharIsInvisible(c))
			continue;
		if (LegacyCharIsBlank(c))
		{
			blank = n > 0;
			continue;
		}
		if (blank)
			text[n++] = ' ';
		blank = false;
		memmove(text + n, from, (size_t) (at - from));
		n += (size_t) (at - from);
	}
	return n;
}

LegacyTextFault
LegacyTextFaultOf(const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *) text;
	const unsigned char *end = at + len;
	bool		certain;
	bool		mojibake = is_mojibake(text, len, &certain);
	bool		control = false;

	while (at < end)
	{
		const unsigned char *from = at;
		uint32_t	c;

		if (*at >= 0x80)
			mojibake |= read_mojibake(&at, end).certain;
		at = from;
		c = LegacyCharRead(&at, end);
		if (c == 0xFFFD)
			return LEGACY_TEXT_LOST;
		control |= (c < ' ' && !LegacyCharIsBlank(c)) || (c >= 0x7F && c <= 0x9F);
	}
	return mojibake ? LEGACY_TEXT_MOJIBAKE : control ? LEGACY_TEXT_CONTROL : LEGACY_TEXT_SOUND;
}
