/*
 * legacy_postal.c
 *	  A postal code of Mexico: five digits.
 *
 * Four digits are a code that has lost its zero in a number or a spreadsheet (those of
 * Mexico City begin with 0).  "C.P." before it does not count.  Zeros alone and 99999 are
 * what people type to get past a form.  Which codes are in use is not looked at: Correos
 * de México's catalogue changes.
 */
#include <string.h>

#include "legacy/legacy_values.h"

#define MAX_TEXT 32

/* See legacy_values.h. */
LegacyPostalStatus
LegacyPostalParse(const char *text, size_t len, char *out)
{
	static const char *const labels[] = {"C.P.", "C.P", "CP.", "CP"};
	char		word[MAX_TEXT + 1];
	const char *p = word;
	size_t		n = LegacyCharsFold(text, len, word, MAX_TEXT);
	size_t		zeros;

	word[n] = '\0';
	if (strspn(p, "-") == n)
		return LEGACY_POSTAL_EMPTY;
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
	{
		size_t		label = strlen(labels[i]);

		if (strncmp(p, labels[i], label) == 0)
		{
			p += label;
			p += strspn(p, ": ");
			break;
		}
	}
	n -= (size_t) (p - word);
	if (n == 0 || strspn(p, "0123456789") != n)
		return LEGACY_POSTAL_MALFORMED;
	zeros = strspn(p, "0");
	if (zeros == n || strcmp(p, "99999") == 0)
		return LEGACY_POSTAL_FILLER;
	if (n != LEGACY_POSTAL_DIGITS && (n != LEGACY_POSTAL_DIGITS - 1 || zeros > 0))
		return LEGACY_POSTAL_LENGTH;
	out[0] = '0';
	memcpy(out + LEGACY_POSTAL_DIGITS - n, p, n + 1);
	return LEGACY_POSTAL_OK;
}
