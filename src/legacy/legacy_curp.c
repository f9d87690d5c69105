/*
 * legacy_curp.c
 *	  The population key of Mexico (Clave Única de Registro de Población).
 *
 * The structure is RENAPO's (Instructivo Normativo para la Asignación de la
 * Clave Única de Registro de Población, Diario Oficial de la Federación
 * 18/10/2021), written down as a pattern by SAT (type t_CURP of tdCFDI.xsd,
 * see legacy_rfc.c):
 *
 *	   1- 4	initials; the second is a vowel, or X where there is none
 *	   5-10	date of birth
 *	     11	sex: H, M, or X (issued since 2023)
 *	  12-13	state of birth, NE for "born abroad"
 *	  14-16	consonants of the names
 *	     17	distinguishes people with equal keys, and the centuries: a digit for those
 *			born until 1999, a letter for those born later
 *	     18	check digit
 *
 * If the initials form one of 81 words, RENAPO writes X in place of the second letter
 * (annex 2 of the same document), so a key with such initials was made by somebody
 * else.
 *
 * There is no Ñ in a CURP: RENAPO puts X in its place.  For the check digit
 * (https://curp.readthedocs.io/es/latest/instructivo/verificacion.html) 0 to 9
 * count 0 to 9, A to N 10 to 23, O to Z 25 to 36 (24 was meant for Ñ); the
 * first value 18 times, the next 17 times, and so on; the digit completes the
 * sum to a multiple of 10.
 */
#include <string.h>

#include "legacy/legacy.h"

#define LENGTH 18

/* positions, from 0 */
#define DATE 4
#define SEX 10
#define STATE 11
#define CONSONANTS 13
#define CENTURY 16
#define CHECK 17

static const char states[][3] = {
	"AS", "BC", "BS", "CC", "CH", "CL", "CM", "CS", "DF", "DG", "GR", "GT",
	"HG", "JC", "MC", "MN", "MS", "NE", "NL", "NT", "OC", "PL", "QR", "QT",
	"SL", "SP", "SR", "TC", "TL", "TS", "VZ", "YN", "ZS"
};

static const char replaced[][5] = {
	"BACA", "BAKA", "BUEI", "BUEY", "CACA", "CACO", "CAGA", "CAGO", "CAKA",
	"CAKO", "COGE", "COGI", "COJA", "COJE", "COJI", "COJO", "COLA", "CULO",
	"FALO", "FETO", "GETA", "GUEI", "GUEY", "JETA", "JOTO", "KACA", "KACO",
	"KAGA", "KAGO", "KAKA", "KAKO", "KOGE", "KOGI", "KOJA", "KOJE", "KOJI",
	"KOJO", "KOLA", "KULO", "LILO", "LOCA", "LOCO", "LOKA", "LOKO", "MAME",
	"MAMO", "MEAR", "MEAS", "MEON", "MIAR", "MION", "MOCO", "MOKO", "MULA",
	"MULO", "NACA", "NACO", "PEDA", "PEDO", "PENE", "PIPI", "PITO", "POPO",
	"PUTA", "PUTO", "QULO", "RATA", "ROBA", "ROBE", "ROBO", "RUIN", "SENO",
	"TETA", "VACA", "VAGA", "VAGO", "VAKA", "VUEI", "VUEY", "WUEI", "WUEY"
};

static int
value_of(uint8_t c)
{
	if (c <= '9')
		return c - '0';
	return c - 'A' + (c <= 'N' ? 10 : 11);
}

static bool
is_vowel(uint8_t c)
{
	return c == 'A' || c == 'E' || c == 'I' || c == 'O' || c == 'U';
}

/* Are all characters of the kind that the pattern wants? */
static bool
has_structure(const LegacyKey *key)
{
	for (size_t i = CONSONANTS; i < CENTURY; i++)
		if (is_vowel(key->at[i]))
			return false;
	return LegacyKeyHasLetters(key, 0, DATE) &&
		(is_vowel(key->at[1]) || key->at[1] == 'X') &&
		LegacyKeyHasDigits(key, DATE, SEX) &&
		LegacyKeyHasLetters(key, SEX, CENTURY) &&
		(LegacyKeyHasDigits(key, CENTURY, CENTURY + 1) ||
		 LegacyKeyHasLetters(key, CENTURY, CENTURY + 1)) &&
		LegacyKeyHasDigits(key, CHECK, LENGTH);
}

static bool
has_state(const LegacyKey *key)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (memcmp(key->at + STATE, states[i], 2) == 0)
			return true;
	return false;
}

static bool
has_replaced_initials(const LegacyKey *key)
{
	for (size_t i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++)
		if (memcmp(key->at, replaced[i], DATE) == 0)
			return true;
	return false;
}

static uint8_t
check_of(const LegacyKey *key)
{
	int			sum = 0;

	for (int i = 0; i < CHECK; i++)
		sum += value_of(key->at[i]) * (LENGTH - i);
	return (uint8_t) ('0' + (10 - sum % 10) % 10);
}

/* Reads and checks a CURP: see legacy.h. */
LegacyKeyStatus
LegacyCurpParse(const char *text, size_t len, LegacyKey *key)
{
	LegacyKeyRead(text, len, key);
	if (key->len == 0)
		return LEGACY_KEY_EMPTY;
	if (LegacyKeyIsForeign(key))
		return LEGACY_KEY_FOREIGN;
	if (key->len != LENGTH)
		return LEGACY_KEY_LENGTH;
	if (!has_structure(key))
		return LEGACY_KEY_STRUCTURE;
	if (!LegacyKeyHasDate(key, DATE, LegacyKeyHasLetters(key, CENTURY, CENTURY + 1)))
		return LEGACY_KEY_DATE;
	if (key->at[SEX] != 'H' && key->at[SEX] != 'M' && key->at[SEX] != 'X')
		return LEGACY_KEY_SEX;
	if (!has_state(key))
		return LEGACY_KEY_STATE;
	if (has_replaced_initials(key))
		return LEGACY_KEY_INITIALS;

	key->check = check_of(key);
	return key->at[CHECK] == key->check ? LEGACY_KEY_OK : LEGACY_KEY_CHECK;
}
