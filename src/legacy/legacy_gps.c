/*
 * legacy_gps.c
 *	  A place from two texts that people and devices have written in many ways.
 *
 * A coordinate is, with blanks allowed around each element but the sign:
 *
 *		[hemisphere] [sign] degrees [mark] [minutes [mark] [seconds [mark]]] [hemisphere]
 *
 * Only the last number can have decimals, after '.' or ','.  The marks are the
 * degree sign and primes, in the forms that keyboards and encodings produce.  Three
 * numbers need no marks (20 35 17); two do, because "20 35" could also mean 20.35.
 *
 * Nothing is guessed.  A text that can be read in two ways is malformed: a sign and a
 * hemisphere together, a second decimal mark, a letter O next to a digit (oeste or
 * zero?).  If both texts are well formed but are not a latitude and a longitude, the
 * point is refused as out of range, or as swapped if the two are a place when they
 * are exchanged.
 */
#include <math.h>
#include <string.h>

#include "legacy/legacy.h"

typedef enum Token
{
	TOKEN_END,
	TOKEN_BLANK,
	TOKEN_DIGIT,				/* or a decimal mark; not consumed */
	TOKEN_PLUS,
	TOKEN_MINUS,
	TOKEN_DEGREE,
	TOKEN_PRIME,
	TOKEN_DOUBLE_PRIME,
	TOKEN_NORTH,
	TOKEN_SOUTH,
	TOKEN_EAST,
	TOKEN_WEST,
	TOKEN_OESTE,				/* the letter O, which looks like a zero */
	TOKEN_OTHER
} Token;

typedef struct Reader
{
	const unsigned char *at;
	const unsigned char *end;
	Token		token;			/* ends at "at"; TOKEN_DIGIT begins there */
} Reader;

typedef enum Axis
{
	AXIS_UNSAID,
	AXIS_LAT,
	AXIS_LNG
} Axis;

typedef struct Coordinate
{
	double		value;
	Axis		axis;			/* latitude or longitude, if a hemisphere says so */
} Coordinate;

/* Tokens that are not ASCII, longer ones first: the first that matches is taken. */
static const struct
{
	const char *bytes;
	uint8_t		len;
	uint8_t		token;
}			spellings[] = {
	{"\xC3\x82\xC2\xB0", 4, TOKEN_DEGREE},	/* UTF-8 read as Latin-1 once */
	{"\xC3\x82\xC2\xBA", 4, TOKEN_DEGREE},
	{"\xC3\x82\xC2\xB4", 4, TOKEN_PRIME},
	{"\xE2\x80\xB2", 3, TOKEN_PRIME},	/* U+2032 */
	{"\xE2\x80\x99", 3, TOKEN_PRIME},	/* U+2019, right quote */
	{"\xE2\x80\xB3", 3, TOKEN_DOUBLE_PRIME},	/* U+2033 */
	{"\xE2\x80\x9D", 3, TOKEN_DOUBLE_PRIME},	/* U+201D, right quotes */
	{"\xE2\x88\x92", 3, TOKEN_MINUS},	/* U+2212 */
	{"\xC2\xB0", 2, TOKEN_DEGREE},	/* U+00B0 */
	{"\xC2\xBA", 2, TOKEN_DEGREE},	/* U+00BA, what Spanish keyboards have */
	{"\xCB\x9A", 2, TOKEN_DEGREE},	/* U+02DA, ring above */
	{"\xC2\xB4", 2, TOKEN_PRIME},	/* U+00B4, acute accent */
	{"\xC2\xA0", 2, TOKEN_BLANK},	/* U+00A0 */
	{"\xB0", 1, TOKEN_DEGREE},	/* Latin-1 */
	{"\xBA", 1, TOKEN_DEGREE},
	{"\xB4", 1, TOKEN_PRIME},
	{"\xA0", 1, TOKEN_BLANK},
};

/* Reads a token that is not ASCII. */
static Token
beyond_ascii(Reader *reader)
{
	size_t		left = (size_t) (reader->end - reader->at);

	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
	{
		if (left >= spellings[i].len &&
			memcmp(reader->at, spellings[i].bytes, spellings[i].len) == 0)
		{
			reader->at += spellings[i].len;
			return (Token) spellings[i].token;
		}
	}
	return TOKEN_OTHER;
}

/* The token of an ASCII character that is neither a digit nor a decimal mark. */
static Token
ascii(unsigned char c)
{
	switch (c)
	{
		case ' ':
		case '\t':
		case '\n':
		case '\r':
			return TOKEN_BLANK;
		case '+':
			return TOKEN_PLUS;
		case '-':
			return TOKEN_MINUS;
		case '\'':
			return TOKEN_PRIME;
		case '"':
			return TOKEN_DOUBLE_PRIME;
		case 'N':
		case 'n':
			return TOKEN_NORTH;
		case 'S':
		case 's':
			return TOKEN_SOUTH;
		case 'E':
		case 'e':
			return TOKEN_EAST;
		case 'W':
		case 'w':
			return TOKEN_WEST;
		case 'O':
		case 'o':
			return TOKEN_OESTE;
		default:
			return TOKEN_OTHER;
	}
}

static inline bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* Reads the next token; two primes in a row are a double prime. */
static void
next(Reader *reader)
{
	unsigned char c;

	if (reader->at >= reader->end)
	{
		reader->token = TOKEN_END;
		return;
	}
	c = *reader->at;
	if (is_digit(c) || c == '.' || c == ',')
	{
		reader->token = TOKEN_DIGIT;
		return;
	}
	if (c < 0x80)
	{
		reader->token = ascii(c);
		reader->at++;
	}
	else
		reader->token = beyond_ascii(reader);

	if (reader->token == TOKEN_PRIME)
	{
		Reader		ahead = *reader;

		if (ahead.at < ahead.end &&
			(*ahead.at < 0x80 ? ascii(*ahead.at++) : beyond_ascii(&ahead)) == TOKEN_PRIME)
		{
			reader->at = ahead.at;
			reader->token = TOKEN_DOUBLE_PRIME;
		}
	}
}

/* True if there were any. */
static bool
skip_blanks(Reader *reader)
{
	bool		any = false;

	while (reader->token == TOKEN_BLANK)
	{
		any = true;
		next(reader);
	}
	return any;
}

/*
 * Reads one number: at least one digit, at most one decimal mark.  False if it is
 * not that.  The reader's token is then the one after the number.
 */
static bool
read_number(Reader *reader, double *value, bool *is_integer)
{
	const unsigned char *start = reader->at;
	size_t		digits = 0;
	size_t		marks = 0;

	for (; reader->at < reader->end; reader->at++)
	{
		if (is_digit(*reader->at))
			digits++;
		else if (*reader->at == '.' || *reader->at == ',')
			marks++;
		else
			break;
	}
	if (digits == 0 || marks > 1)
		return false;
	*value = LegacyDecimalToDouble((const char *) start, (size_t) (reader->at - start));
	*is_integer = marks == 0;
	next(reader);
	return true;
}

/*
 * Reads degrees, perhaps with minutes and seconds, in degrees.  False if they are
 * malformed.  *apart: the character before the reader's token is not a digit.
 */
static bool
read_angle(Reader *reader, double *value, bool *apart)
{
	static const Token mark_of[] = {TOKEN_DEGREE, TOKEN_PRIME, TOKEN_DOUBLE_PRIME};
	double		part[3];
	bool		marked = false;
	int			n = 0;

	for (;;)
	{
		bool		is_integer;

		if (!read_number(reader, &part[n], &is_integer))
			return false;
		if (n > 0 && part[n] >= 60)
			return false;
		*apart = skip_blanks(reader);
		if (reader->token == mark_of[n])
		{
			marked = *apart = true;
			next(reader);
			skip_blanks(reader);
		}
		n++;
		if (reader->token != TOKEN_DIGIT)
			break;
		if (n == 3 || !is_integer)
			return false;
	}
	if (n == 2 && !marked)
		return false;

	/* the integers are exact, so the division is the only rounding */
	if (n == 1)
		*value = part[0];
	else if (n == 2)
		*value = (part[0] * 60 + part[1]) / 60;
	else
		*value = (part[0] * 3600 + part[1] * 60 + part[2]) / 3600;
	return true;
}

/* Reads a hemisphere; false if the token is none.  Nothing changes then. */
static bool
read_hemisphere(Reader *reader, Coordinate *coordinate, bool *negative)
{
	switch (reader->token)
	{
		case TOKEN_NORTH:
		case TOKEN_SOUTH:
			coordinate->axis = AXIS_LAT;
			break;
		case TOKEN_EAST:
		case TOKEN_WEST:
		case TOKEN_OESTE:
			coordinate->axis = AXIS_LNG;
			break;
		default:
			return false;
	}
	*negative = reader->token != TOKEN_NORTH && reader->token != TOKEN_EAST;
	next(reader);
	return true;
}

/* Reads one coordinate: LEGACY_GPS_OK, LEGACY_GPS_MISSING or LEGACY_GPS_MALFORMED. */
static LegacyGpsStatus
read_coordinate(const char *text, size_t len, Coordinate *coordinate)
{
	const unsigned char *start = (const unsigned char *) text;
	Reader		reader = {start, start + len, TOKEN_END};
	bool		negative = false;
	bool		said = false;	/* there was a sign or a hemisphere */
	bool		apart;

	coordinate->axis = AXIS_UNSAID;
	next(&reader);
	skip_blanks(&reader);
	if (reader.token == TOKEN_END)
		return LEGACY_GPS_MISSING;

	if (reader.token == TOKEN_PLUS || reader.token == TOKEN_MINUS)
	{
		negative = reader.token == TOKEN_MINUS;
		said = true;
		next(&reader);
	}
	else
	{
		bool		is_oeste = reader.token == TOKEN_OESTE;

		said = read_hemisphere(&reader, coordinate, &negative);
		if (said && !skip_blanks(&reader) && is_oeste)
			return LEGACY_GPS_MALFORMED;
	}

	if (reader.token != TOKEN_DIGIT || !read_angle(&reader, &coordinate->value, &apart))
		return LEGACY_GPS_MALFORMED;

	if (reader.token != TOKEN_END)
	{
		if (said || (reader.token == TOKEN_OESTE && !apart) ||
			!read_hemisphere(&reader, coordinate, &negative))
			return LEGACY_GPS_MALFORMED;
		skip_blanks(&reader);
		if (reader.token != TOKEN_END)
			return LEGACY_GPS_MALFORMED;
	}
	if (negative)
		coordinate->value = -coordinate->value;
	return LEGACY_GPS_OK;
}

/* Are two coordinates that are well formed a place? */
static LegacyGpsStatus
check_place(const Coordinate *lat, const Coordinate *lng)
{
	bool		lat_fits = fabs(lat->value) <= 90 && lat->axis != AXIS_LNG;
	bool		lng_fits = fabs(lng->value) <= 180 && lng->axis != AXIS_LAT;

	if (lat->axis != AXIS_UNSAID && lat->axis == lng->axis)
		return LEGACY_GPS_MALFORMED;
	if (lat_fits && lng_fits)
		return lat->value == 0 && lng->value == 0 ? LEGACY_GPS_ZERO : LEGACY_GPS_OK;
	if (fabs(lng->value) <= 90 && lng->axis != AXIS_LNG &&
		fabs(lat->value) <= 180 && lat->axis != AXIS_LAT)
		return LEGACY_GPS_SWAPPED;
	return LEGACY_GPS_OUT_OF_RANGE;
}

/* See legacy.h. */
LegacyGpsStatus
LegacyGpsParse(const char *lat, size_t lat_len, const char *lng, size_t lng_len,
			   LegacyGpsPoint *point)
{
	Coordinate	y;
	Coordinate	x;
	LegacyGpsStatus lat_status = read_coordinate(lat, lat_len, &y);
	LegacyGpsStatus lng_status = read_coordinate(lng, lng_len, &x);
	LegacyGpsStatus status;

	if (lat_status == LEGACY_GPS_MISSING || lng_status == LEGACY_GPS_MISSING)
		return LEGACY_GPS_MISSING;
	if (lat_status != LEGACY_GPS_OK || lng_status != LEGACY_GPS_OK)
		return LEGACY_GPS_MALFORMED;

	status = check_place(&y, &x);
	if (status == LEGACY_GPS_OK || status == LEGACY_GPS_ZERO)
	{
		point->lat = y.value;
		point->lng = x.value;
	}
	return status;
}
