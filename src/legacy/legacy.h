/*
 * legacy.h
 *	  What the files of the legacy part share.
 *
 * The converters are pure C: they use no server headers, allocate no memory, keep
 * nothing between calls, and return a status for what they refuse.  They take bytes
 * and a length, so that they can read a varlena in place and be fuzzed outside the
 * server.  Text is UTF-8.  A byte above 0x7F that is not part of a UTF-8 sequence is
 * read as Latin-1, because databases in SQL_ASCII contain such bytes.
 */
#ifndef AQUACIS_LEGACY_H
#define AQUACIS_LEGACY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* legacy_money.c */

/* The largest value of numeric(12,2), in cents. */
#define LEGACY_MONEY_MAX INT64_C(999999999999)

/* False if the value is not finite or does not fit into numeric(12,2). */
extern bool LegacyMoneyToCents(double value, int64_t *cents);

/* legacy_gps.c */

typedef enum LegacyGpsStatus
{
	LEGACY_GPS_OK,
	LEGACY_GPS_ZERO,			/* both are 0: converted, but probably not a place */
	LEGACY_GPS_MISSING,
	LEGACY_GPS_MALFORMED,
	LEGACY_GPS_OUT_OF_RANGE,
	LEGACY_GPS_SWAPPED
} LegacyGpsStatus;

typedef struct LegacyGpsPoint
{
	double		lat;
	double		lng;
} LegacyGpsPoint;

/* The point is set for LEGACY_GPS_OK and LEGACY_GPS_ZERO. */
extern LegacyGpsStatus LegacyGpsParse(const char *lat, size_t lat_len,
									  const char *lng, size_t lng_len,
									  LegacyGpsPoint *point);

/* legacy_decimal.c */

/* The text must be decimal digits with at most one '.' or ',' among them. */
extern double LegacyDecimalToDouble(const char *text, size_t len);

/* legacy_id.c, legacy_rfc.c, legacy_curp.c */

typedef enum LegacyKeyStatus
{
	LEGACY_KEY_OK,
	LEGACY_KEY_EMPTY,
	LEGACY_KEY_FOREIGN,			/* a character that occurs in no key */
	LEGACY_KEY_LENGTH,
	LEGACY_KEY_STRUCTURE,
	LEGACY_KEY_DATE,
	LEGACY_KEY_SEX,
	LEGACY_KEY_STATE,
	LEGACY_KEY_INITIALS,		/* a CURP with initials that RENAPO replaces */
	LEGACY_KEY_UNUSUAL_CHECK,	/* an RFC whose check digit SAT may have issued so */
	LEGACY_KEY_CHECK
} LegacyKeyStatus;

#define LEGACY_KEY_MAX 18

/* In a LegacyKey: N with tilde (its Latin-1 byte), and any other character. */
#define LEGACY_KEY_ENYE 0xD1
#define LEGACY_KEY_OTHER 0xFF

/*
 * A key without blanks and hyphens, in upper case, one byte per character.  If the
 * text is too long, the length is one more than the maximum.
 */
typedef struct LegacyKey
{
	uint8_t		at[LEGACY_KEY_MAX + 1];
	size_t		len;
	bool		is_latin1;		/* the text had a lone Latin-1 byte */
	uint8_t		check;			/* the right check digit, if LEGACY_KEY_CHECK or _UNUSUAL_CHECK */
} LegacyKey;

/* Fills *key from any text. */
extern void LegacyKeyRead(const char *text, size_t len, LegacyKey *key);

/* Writes the key in the encoding of its text; returns the bytes, at most 2 per character. */
extern size_t LegacyKeyWrite(const LegacyKey *key, char *out);

/* Is there a character that is not A to Z, 0 to 9, & or N with tilde? */
extern bool LegacyKeyIsForeign(const LegacyKey *key);

/* Are the characters from, ..., to - 1 all of A to Z, or all of 0 to 9? */
extern bool LegacyKeyHasLetters(const LegacyKey *key, size_t from, size_t to);
extern bool LegacyKeyHasDigits(const LegacyKey *key, size_t from, size_t to);

/* Is the YYMMDD there a day?  Year 00 has a February 29 only if is_leap_00. */
extern bool LegacyKeyHasDate(const LegacyKey *key, size_t from, bool is_leap_00);

/* Read and check a key; *key is filled, whatever the status is. */
extern LegacyKeyStatus LegacyRfcParse(const char *text, size_t len, LegacyKey *key);
extern LegacyKeyStatus LegacyCurpParse(const char *text, size_t len, LegacyKey *key);

/* legacy.c, for files that use the server's headers */

struct varlena;

/* LegacyGpsParse for texts in the encoding of the database. */
extern LegacyGpsStatus LegacyGpsParseText(struct varlena *lat, struct varlena *lng,
										  LegacyGpsPoint *point);

#endif							/* AQUACIS_LEGACY_H */
