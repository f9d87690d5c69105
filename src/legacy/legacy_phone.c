/*
 * legacy_phone.c
 *	  A telephone number of Mexico as its ten digits.
 *
 * Since 3 August 2019 (Plan Técnico Fundamental de Numeración, DOF 11/05/2018) every
 * number is dialled with its ten national digits, area code included.  What stood before
 * them until then is still in the columns:
 *
 *		01				long distance				044, 045	to a mobile, here and elsewhere
 *		+52, 0052, 52	the country					+52 1, 521	the country and a mobile
 *
 * A prefix is taken off only if exactly ten digits remain.  Eleven digits with a 1 in
 * front are refused: they are as likely a number of the United States (+1 442 is in
 * California).  Blanks, hyphens, dots and parentheses do not count; a slash or a comma
 * does: behind it stands the end of another number.  An area code begins with 2 to 9;
 * which of them are in use is not looked at.
 */
#include <string.h>

#include "legacy/legacy_values.h"

#define MAX_TEXT 64
#define MAX_DIGITS 15

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_mark(char c)
{
	return c == ' ' || c == '-' || c == '.' || c == '(' || c == ')';
}

/* How many characters of a word for "extension" stand here, or 0? */
static size_t
extension_word(const char *p, const char *end)
{
	static const char *const words[] = {"EXTENSION", "EXTENSI\x01N", "EXT", "X", "#"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		size_t		len = strlen(words[i]);

		if ((size_t) (end - p) >= len && memcmp(p, words[i], len) == 0)
			return len;
	}
	return 0;
}

/* Digits to the end, with marks before them and a parenthesis behind. */
static bool
read_extension(const char *p, const char *end, char *extension)
{
	size_t		n = 0;

	while (p < end && (is_mark(*p) || *p == ':'))
		p++;
	while (p < end && is_digit(*p) && n < LEGACY_PHONE_EXTENSION_MAX)
		extension[n++] = *p++;
	extension[n] = '\0';
	return n > 0 && (p == end || (*p == ')' && p + 1 == end));
}

/* Takes a prefix off if ten digits remain; *digits and *n are moved. */
static void
take_off(const char **digits, size_t *n, const char *prefix)
{
	size_t		len = strlen(prefix);

	if (*n == len + LEGACY_PHONE_DIGITS && memcmp(*digits, prefix, len) == 0)
	{
		*digits += len;
		*n -= len;
	}
}

/* The ten digits among those that were typed; is_international if there was a + before. */
static LegacyPhoneStatus
national(const char *digits, size_t n, bool is_international, LegacyPhone *phone)
{
	if (strspn(digits, (char[])
/**INDENT** Error@85: Unbalanced parens */
			   {
		digits[0], '\0'
/**INDENT** Warning@87: Extra ) */
/**INDENT** Warning@87: Extra ) */
	}) == n)
		return LEGACY_PHONE_FILLER;
	if (!is_international && n > LEGACY_PHONE_DIGITS + 2 && memcmp(digits, "00", 2) == 0)
	{
		is_international = true;
		digits += 2;
		n -= 2;
	}
	if (is_international && memcmp(digits, "52", 2) != 0)
		return LEGACY_PHONE_FOREIGN;
	if (is_international || (n > LEGACY_PHONE_DIGITS + 1 && memcmp(digits, "52", 2) == 0))
	{
		digits += 2;
		n -= 2;
		take_off(&digits, &n, "1");
	}
	take_off(&digits, &n, "01");
	take_off(&digits, &n, "044");
	take_off(&digits, &n, "045");

	if (n == 7 || n == 8)
		return LEGACY_PHONE_NO_AREA;
	if (n < LEGACY_PHONE_DIGITS)
		return LEGACY_PHONE_SHORT;
	if (n > LEGACY_PHONE_DIGITS)
		return LEGACY_PHONE_LONG;
	if (digits[0] < '2')
		return LEGACY_PHONE_AREA;
	memcpy(phone->digits, digits, LEGACY_PHONE_DIGITS);
	phone->digits[LEGACY_PHONE_DIGITS] = '\0';
	return LEGACY_PHONE_OK;
}

/* See legacy_values.h; *phone is set for LEGACY_PHONE_OK. */
LegacyPhoneStatus
LegacyPhoneParse(const char *text, size_t len, LegacyPhone *phone)
{
	char		word[MAX_TEXT];
	char		digits[MAX_DIGITS + 2];
	const char *p = word;
	const char *end = word + LegacyCharsFold(text, len, word, MAX_TEXT);
	bool		plus = false;
	size_t		n = 0;

	memset(phone, 0, sizeof(*phone));
	if (end == word + MAX_TEXT)
		return LEGACY_PHONE_MALFORMED;
	for (; p < end; p++)
	{
		if (is_digit(*p))
		{
			if (n <= MAX_DIGITS)
				digits[n++] = *p;
		}
		else if (*p == '+' && n == 0 && !plus)
			plus = true;
		else if (!is_mark(*p))
			break;
	}
	digits[n] = '\0';
	if (p < end)
	{
		size_t		marker = n > 0 ? extension_word(p, end) : 0;

		if (marker == 0)
			return LEGACY_PHONE_MALFORMED;
		if (!read_extension(p + marker, end, phone->extension))
			return LEGACY_PHONE_EXTENSION;
	}
	if (n == 0)
		return plus ? LEGACY_PHONE_MALFORMED : LEGACY_PHONE_EMPTY;
	if (n > MAX_DIGITS)
		return LEGACY_PHONE_LONG;
	return national(digits, n, plus, phone);
}

/*
 * See legacy_values.h.  A number that is whole by itself stays what it is, whatever the
 * other column says.
 */
LegacyPhoneStatus
LegacyPhoneParseParts(const char *area, size_t area_len, const char *text, size_t len, LegacyPhone *phone)
{
	LegacyPhoneStatus status = LegacyPhoneParse(text, len, phone);
	char		both[2 * MAX_TEXT];
	size_t		n;

	if (status != LEGACY_PHONE_NO_AREA && status != LEGACY_PHONE_SHORT)
		return status;
	n = LegacyCharsFold(area, area_len, both, MAX_TEXT - 1);
	if (n == 0)
		return status;
	if (n == MAX_TEXT - 1)
		return LEGACY_PHONE_MALFORMED;
	both[n++] = ' ';
	n += LegacyCharsFold(text, len, both + n, MAX_TEXT);
	return LegacyPhoneParse(both, n, phone);
}
