/*
 * legacy.h
 *	  What the files of the legacy part share.
 *
 * The converters proper are pure C: they know nothing of the server, allocate
 * nothing, keep nothing, and say with a status what they refuse.  They take
 * bytes and a length, so that they can be called on a varlena in place and be
 * fuzzed outside the server.  Text is UTF-8; a lone byte above 0x7F that is
 * not part of a UTF-8 sequence is read as Latin-1, which is what databases in
 * SQL_ASCII have left over.
 */
#ifndef AQUACIS_LEGACY_H
#define AQUACIS_LEGACY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* legacy_money.c */

/* The largest value of numeric(12,2), in cents. */
#define LEGACY_MONEY_MAX INT64_C(999999999999)

/* False when the value is not finite or does not fit into numeric(12,2). */
extern bool LegacyMoneyToCents(double value, int64_t *cents);

/* legacy_gps.c */

typedef enum LegacyGpsStatus
{
	LEGACY_GPS_OK,
	LEGACY_GPS_ZERO,			/* both are 0: converted, but hardly a place */
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

/* The text is decimal digits with at most one '.' or ',' among them. */
extern double LegacyDecimalToDouble(const char *text, size_t len);

/* legacy_id.c, legacy_rfc.c, legacy_curp.c */

typedef enum LegacyKeyStatus
{
	LEGACY_KEY_OK,
	LEGACY_KEY_EMPTY,
	LEGACY_KEY_LENGTH,
	LEGACY_KEY_STRUCTURE,
	LEGACY_KEY_DATE,
	LEGACY_KEY_SEX,
	LEGACY_KEY_STATE,
	LEGACY_KEY_CHECK
} LegacyKeyStatus;

#define LEGACY_KEY_MAX 18

/* What LegacyKey has for N with tilde (its Latin-1 byte) and for strangers. */
#define LEGACY_KEY_ENYE 0xD1
#define LEGACY_KEY_OTHER 0xFF

/*
 * A key without blanks and hyphens, in upper case, a byte a character.  The
 * length is one more than the maximum when the text has too many.
 */
typedef struct LegacyKey
{
	uint8_t		at[LEGACY_KEY_MAX + 1];
	size_t		len;
	bool		is_latin1;		/* the text had a lone Latin-1 byte */
	uint8_t		check;			/* what stands last in a right key; if LEGACY_KEY_CHECK */
} LegacyKey;

extern void LegacyKeyRead(const char *text, size_t len, LegacyKey *key);

/* Writes the key as it was encoded, returns the bytes: at most 2 a character. */
extern size_t LegacyKeyWrite(const LegacyKey *key, char *out);

extern bool LegacyKeyHasLetters(const LegacyKey *key, size_t from, size_t to);
extern bool LegacyKeyHasDigits(const LegacyKey *key, size_t from, size_t to);

/* Is the YYMMDD there a day?  Year 00 has a February 29 only if is_leap_00. */
extern bool LegacyKeyHasDate(const LegacyKey *key, size_t from, bool is_leap_00);

extern LegacyKeyStatus LegacyRfcParse(const char *text, size_t len, LegacyKey *key);
extern LegacyKeyStatus LegacyCurpParse(const char *text, size_t len, LegacyKey *key);

/* legacy.c, for those who have a server */

struct varlena;

extern LegacyGpsStatus LegacyGpsParseText(struct varlena *lat, struct varlena *lng,
										  LegacyGpsPoint *point);

#endif							/* AQUACIS_LEGACY_H */
