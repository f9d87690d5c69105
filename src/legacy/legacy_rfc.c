/*
 * legacy_rfc.c
 *	  The taxpayer's key of Mexico (Registro Federal de Contribuyentes).
 *
 * Structure, as SAT publishes it for electronic invoices (type t_RFC of
 * http://www.sat.gob.mx/sitio_internet/cfd/tipoDatos/tdCFDI/tdCFDI.xsd):
 *
 *		[A-Z&Ñ]{3,4} [0-9]{2} (0[1-9]|1[012]) (0[1-9]|[12][0-9]|3[01]) [A-Z0-9]{2} [0-9A]
 *
 * These are three letters for a company and four for a person, the date of birth or
 * foundation, two characters that distinguish equal keys, and a check digit.  The
 * check digit is described in SAT's answer to request 0610100135506 ("Algoritmo para
 * generar el RFC con homoclave", annex 3): each character has a value (0 to 9, A to N
 * 10 to 23, & 24, O to Z 25 to 36, blank 37, Ñ 38).  A blank is put before a company's
 * key.  The first value counts 13 times, the next 12 times, and so on down to 2.
 * 11 minus the sum modulo 11 is the digit, where 10 is written A and 11 is written 0.
 *
 * The year has no century.  A date is accepted if it exists in 19yy or in 20yy.
 *
 * SAT itself has issued keys whose check digit does not follow this rule.  Nearly all
 * of those that are known (105 of 108, from the tests and reports of free libraries
 * that looked them up at SAT) follow another one.  Read the two characters before the
 * digit as a number N in base 34, with the digits 1 to 9, A to N, P to Z (no O and no
 * 0).  The check digit is the one that belongs to the same key with N - 12.  No
 * publication says so.  One mistyped key in eleven fits by chance, too, so such a key
 * gets a status of its own and is not taken as right.
 *
 * Not checked: the words that SAT does not let initials form.  It has a list of its
 * own for that, which is not RENAPO's.
 */
#include <string.h>

#include "legacy/legacy.h"

#define LENGTH 13

/* For customers without a key: the general public, and foreigners. */
static const char *const generic[] = {"XAXX010101000", "XEXX010101000"};

static int
value_of(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'N')
		return c - 'A' + 10;
	if (c >= 'O' && c <= 'Z')
		return c - 'O' + 25;
	if (c == '&')
		return 24;
	return c == LEGACY_KEY_ENYE ? 38 : 37;
}

static uint8_t
check_of(const LegacyKey *key)
{
	int			sum = 0;
	int			digit;
	int			weight = LENGTH;

	if (key->len < LENGTH)
		sum += value_of(' ') * weight--;
	for (size_t i = 0; i + 1 < key->len; i++)
		sum += value_of(key->at[i]) * weight--;
	digit = (11 - sum % 11) % 11;
	return (uint8_t) (digit == 10 ? 'A' : '0' + digit);
}

/*
 * Does the check digit belong to the key with the two characters before it counted
 * down by 12?
 */
static bool
is_unusual_check(const LegacyKey *key)
{
	static const char numerals[] = "123456789ABCDEFGHIJKLMNPQRSTUVWXYZ";
	const int	base = (int) sizeof(numerals) - 1;
	LegacyKey	shifted = *key;
	uint8_t    *pair = shifted.at + key->len - 3;
	const char *high = memchr(numerals, pair[0], (size_t) base);
	const char *low = memchr(numerals, pair[1], (size_t) base);
	int			number;

	if (high == NULL || low == NULL)
		return false;
	number = (int) (high - numerals) * base + (int) (low - numerals) - 12;
	if (number < 0)
		return false;
	pair[0] = (uint8_t) numerals[number / base];
	pair[1] = (uint8_t) numerals[number % base];
	return key->at[key->len - 1] == check_of(&shifted);
}

/* Are all characters of the kind that the pattern wants? */
static bool
has_structure(const LegacyKey *key, size_t initials)
{
	for (size_t i = 0; i < initials; i++)
		if (!LegacyKeyHasLetters(key, i, i + 1) &&
			key->at[i] != '&' && key->at[i] != LEGACY_KEY_ENYE)
			return false;
	for (size_t i = initials + 6; i < initials + 8; i++)
		if (!LegacyKeyHasLetters(key, i, i + 1) && !LegacyKeyHasDigits(key, i, i + 1))
			return false;
	return LegacyKeyHasDigits(key, initials, initials + 6) &&
		(key->at[initials + 8] == 'A' || LegacyKeyHasDigits(key, initials + 8, initials + 9));
}

/* Reads and checks an RFC: see legacy.h. */
LegacyKeyStatus
LegacyRfcParse(const char *text, size_t len, LegacyKey *key)
{
	size_t		initials;

	LegacyKeyRead(text, len, key);
	if (key->len == 0)
		return LEGACY_KEY_EMPTY;
	if (LegacyKeyIsForeign(key))
		return LEGACY_KEY_FOREIGN;
	if (key->len != LENGTH && key->len != LENGTH - 1)
		return LEGACY_KEY_LENGTH;

	initials = key->len - 9;
	if (!has_structure(key, initials))
		return LEGACY_KEY_STRUCTURE;
	if (!LegacyKeyHasDate(key, initials, true))
		return LEGACY_KEY_DATE;

	for (size_t i = 0; i < sizeof(generic) / sizeof(generic[0]); i++)
		if (key->len == LENGTH && memcmp(key->at, generic[i], LENGTH) == 0)
			return LEGACY_KEY_OK;

	key->check = check_of(key);
	if (key->at[key->len - 1] == key->check)
		return LEGACY_KEY_OK;
	return is_unusual_check(key) ? LEGACY_KEY_UNUSUAL_CHECK : LEGACY_KEY_CHECK;
}
