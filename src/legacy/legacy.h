/*
 * legacy.h
 *	  What the files of the legacy part share, and its start-up.
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

extern void LegacyInit(void);

/* money.c */

/* The largest value of numeric(12,2), in cents. */
#define LEGACY_MONEY_MAX INT64_C(999999999999)

/* False when the value is not finite or does not fit into numeric(12,2). */
extern bool LegacyMoneyToCents(double value, int64_t *cents);

/* gps.c */

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

/* decimal.c */

/* The text is decimal digits with at most one '.' or ',' among them. */
extern double LegacyDecimalToDouble(const char *text, size_t len);

/* legacy.c, for those who have a server */

struct varlena;

extern LegacyGpsStatus LegacyGpsParseText(struct varlena *lat, struct varlena *lng,
										  LegacyGpsPoint *point);

#endif							/* AQUACIS_LEGACY_H */
