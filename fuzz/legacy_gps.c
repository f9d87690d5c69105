/*
 * legacy_gps.c
 *	  Fuzz target: places.  The input is a latitude, ';', a longitude.
 *
 * Links: src/legacy/legacy_gps.c src/legacy/legacy_decimal.c
 * Longest input: 64
 *
 * Besides what the sanitizers see, it checks what the parser promises: a point
 * lies in the world, and where the SQL function that it replaces gives a point,
 * it is the same one, bit for bit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "legacy/legacy.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ^-?\d+\.?\d*$ */
static bool
is_plain(const char *text)
{
	text += *text == '-';
	if (*text < '0' || *text > '9')
		return false;
	text += strspn(text, "0123456789");
	text += *text == '.';
	text += strspn(text, "0123456789");
	return *text == '\0';
}

/* A copy that ends where its allocation ends, so that a sanitizer sees more. */
static char *
copy(const uint8_t *data, size_t size)
{
	char	   *result = malloc(size == 0 ? 1 : size);

	if (size > 0)
		memcpy(result, data, size);
	return result;
}

/* What the SQL function reads, if it reads it and it lies within the limit. */
static bool
read_plain(const uint8_t *data, size_t size, double limit, double *value)
{
	char	   *text = calloc(size + 1, 1);
	bool		result;

	memcpy(text, data, size);
	result = strlen(text) == size && is_plain(text);
	*value = result ? strtod(text, NULL) : 0;
	free(text);
	return result && fabs(*value) <= limit;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *semicolon = size == 0 ? NULL : memchr(data, ';', size);
	size_t		lat_len = semicolon ? (size_t) (semicolon - data) : size;
	size_t		lng_len = semicolon ? size - lat_len - 1 : 0;
	const uint8_t *lng_data = semicolon ? semicolon + 1 : data + size;
	char	   *lat = copy(data, lat_len);
	char	   *lng = copy(lng_data, lng_len);
	LegacyGpsPoint point;
	LegacyGpsStatus status = LegacyGpsParse(lat, lat_len, lng, lng_len, &point);
	bool		is_point = status == LEGACY_GPS_OK || status == LEGACY_GPS_ZERO;
	LegacyGpsPoint plain;

	if (is_point && !(fabs(point.lat) <= 90 && fabs(point.lng) <= 180))
		abort();
	if ((status == LEGACY_GPS_ZERO) != (is_point && point.lat == 0 && point.lng == 0))
		abort();
	if (read_plain(data, lat_len, 90, &plain.lat) &&
		read_plain(lng_data, lng_len, 180, &plain.lng) &&
		(!is_point || memcmp(&plain, &point, sizeof(point)) != 0))
		abort();
	free(lat);
	free(lng);
	return 0;
}
