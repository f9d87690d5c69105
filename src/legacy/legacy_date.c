/*
 * legacy_date.c
 *	  A date that is text.
 *
 * The server's own input of dates is not right for a legacy column: what 03/04/2020 is
 * depends on a setting (so it is not immutable), and "today", "infinity", "Jan" and dates
 * before Christ are all dates to it.  to_date() lets more through, and needs the form.
 * These are the forms here; blanks around them do not count:
 *
 *		2020-01-31	2020/1/31	2020.01.31	20200131	20200131235959
 *		31/01/2020	31-1-2020	31.01.2020	31 01 2020		in the order that the caller names
 *		31-ENE-2020	31/jan/2020	31 de enero de 2020
 *
 * each (but those of digits alone) with a time of day behind it, after a blank or T, as
 * SAT's stamps have it: 2020-01-31T23:59:59.123-06:00.  The time has to be one; it and the
 * zone are left out, the date is as it is written.  A year has four digits: two are
 * refused, since nobody but the reader knows the century.  A date that is not in the
 * calendar is refused, and never read in another order.
 */
#include <string.h>

#include "legacy/legacy_values.h"

#define MAX_TEXT 48

static const struct
{
	const char *name;
	int			month;
}			months[] =

{
	{"ENERO", 1}, {"FEBRERO", 2}, {"MARZO", 3}, {"ABRIL", 4}, {"MAYO", 5}, {"JUNIO", 6},
	{"JULIO", 7}, {"AGOSTO", 8}, {"SEPTIEMBRE", 9}, {"SETIEMBRE", 9}, {"OCTUBRE", 10},
	{"NOVIEMBRE", 11}, {"DICIEMBRE", 12},
	{"ENE", 1}, {"FEB", 2}, {"MAR", 3}, {"ABR", 4}, {"MAY", 5}, {"JUN", 6}, {"JUL", 7},
	{"AGO", 8}, {"SEP", 9}, {"SEPT", 9}, {"OCT", 10}, {"NOV", 11}, {"DIC", 12},
	{"JAN", 1}, {"APR", 4}, {"AUG", 8}, {"DEC", 12}
};

/* What is left to read of a text in upper case, which ends with a zero byte. */
typedef struct Reader
{
	const char *at;
} Reader;

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads a number of at most so many digits; returns how many there were, 0 for none. */
static int
read_number(Reader *r, int most, int *value)
{
	int			n = 0;

	*value = 0;
	while (n < most && is_digit(r->at[n]))
		*value = *value * 10 + r->at[n++] - '0';
	r->at += n;
	return is_digit(*r->at) ? 0 : n;
}

static bool
skip(Reader *r, const char *word)
{
	size_t		len = strlen(word);

	if (strncmp(r->at, word, len) != 0)
		return false;
	r->at += len;
	return true;
}

/* The month whose name stands here, or 0. */
static int
read_month(Reader *r)
{
	size_t		len = strspn(r->at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

	for (size_t i = 0; i < sizeof(months) / sizeof(months[0]); i++)
	{
		if (strlen(months[i].name) == len && memcmp(months[i].name, r->at, len) == 0)
		{
			r->at += len;
			return months[i].month;
		}
	}
	return 0;
}

/* Exactly two digits that are at most `most`. */
static bool
read_pair(Reader *r, int most)
{
	int			value;

	return read_number(r, 2, &value) == 2 && value <= most;
}

/* Is what is left nothing, or a time of day, perhaps with its zone? */
static bool
is_time_or_end(Reader *r)
{
	int			hour;

	if (*r->at == '\0')
		return true;
	if (*r->at != 'T' && *r->at != ' ')
		return false;
	r->at++;
	if (read_number(r, 2, &hour) == 0 || hour > 24 || !skip(r, ":") || !read_pair(r, 59))
		return false;
	if (skip(r, ":"))
	{
		if (!read_pair(r, 60))
			return false;
		if (*r->at == '.' || *r->at == ',')
		{
			size_t		digits = strspn(r->at + 1, "0123456789");

			if (digits == 0)
				return false;
			r->at += 1 + digits;
		}
	}
	skip(r, " ");
	if (skip(r, "Z") || skip(r, "AM") || skip(r, "PM") || skip(r, "A.M.") || skip(r, "P.M.") ||
		skip(r, "A. M.") || skip(r, "P. M."))
		return *r->at == '\0';
	if (*r->at == '+' || *r->at == '-')
	{
		r->at++;
		if (!read_pair(r, 15))
			return false;
		skip(r, ":");
		return *r->at == '\0' || (read_pair(r, 59) && *r->at == '\0');
	}
	return *r->at == '\0';
}

/* Is it a day of the calendar, as the server reckons it back to year 1? */
static LegacyDateStatus
checked(const LegacyDate *date)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool		is_leap = date->year % 4 == 0 && (date->year % 100 != 0 || date->year % 400 == 0);

	if (date->year < 1 || date->month < 1 || date->month > 12 || date->day < 1 ||
		date->day > days[date->month - 1] + (date->month == 2 && is_leap))
		return LEGACY_DATE_IMPOSSIBLE;
	return LEGACY_DATE_OK;
}

/* Eight digits, or fourteen with a time of day. */
static LegacyDateStatus
read_digits(const char *p, size_t n, LegacyDate *date)
{
	int			value[14];

	for (size_t i = 0; i < n; i++)
		value[i] = p[i] - '0';
	date->year = value[0] * 1000 + value[1] * 100 + value[2] * 10 + value[3];
	date->month = value[4] * 10 + value[5];
	date->day = value[6] * 10 + value[7];
	if (n == 14 && (value[8] * 10 + value[9] > 24 || value[10] > 5 || value[12] * 10 + value[13] > 60))
		return LEGACY_DATE_MALFORMED;
	return checked(date);
}

/* Three parts with a mark between them; the month may be a word. */
static LegacyDateStatus
read_parts(Reader *r, LegacyDateOrder order, LegacyDate *date)
{
	int			first;
	int			third;
	int			second;
	int			first_digits = read_number(r, 4, &first);
	int			second_digits;
	int			third_digits;
	bool		de = skip(r, " DE ");
	char		mark = de ? ' ' : *r->at;
	bool		is_word;

	if (first_digits == 0 || first_digits == 3 || mark == '\0' || strchr("-/. ", mark) == NULL)
		return LEGACY_DATE_MALFORMED;
	if (!de)
		r->at++;
	second_digits = read_number(r, 2, &second);
	is_word = second_digits == 0;
	if (is_word)
		second = read_month(r);
	if ((is_word && second == 0) || (de && !is_word))
		return LEGACY_DATE_MALFORMED;
	if (!(de && (skip(r, " DE ") || skip(r, " DEL "))))
	{
		if (*r->at != mark)
			return LEGACY_DATE_MALFORMED;
		r->at++;
	}
	third_digits = read_number(r, 4, &third);
	if (third_digits == 0 || third_digits == 3 || !is_time_or_end(r))
		return LEGACY_DATE_MALFORMED;

	date->month = second;
	if (first_digits == 4 && third_digits <= 2)
	{
		date->year = first;
		date->day = third;
		return checked(date);
	}
	if (first_digits > 2 || (order == LEGACY_DATE_YMD && !is_word && third_digits == 4))
		return LEGACY_DATE_MALFORMED;
	if (third_digits < 4)
		return LEGACY_DATE_CENTURY;
	date->year = third;
	date->day = first;
	if (order == LEGACY_DATE_MDY && !is_word)
	{
		date->month = first;
		date->day = second;
	}
	return checked(date);
}

/* See legacy_values.h. */
LegacyDateStatus
LegacyDateParse(const char *text, size_t len, LegacyDateOrder order, LegacyDate *date)
{
	char		word[MAX_TEXT + 1];
	Reader		reader = {word};
	size_t		n = LegacyCharsFold(text, len, word, MAX_TEXT);
	size_t		digits;

	word[n] = '\0';
	if (n == MAX_TEXT)
		return LEGACY_DATE_MALFORMED;
	/* the empty form of xBase is "  /  /    " */
	if (strspn(word, "-/. ") == n)
		return LEGACY_DATE_EMPTY;
	if (strspn(word, "0-/.:T ") == n && memchr(word, '0', n) != NULL)
		return LEGACY_DATE_ZERO;
	digits = strspn(word, "0123456789");
	if (digits == n)
		return n == 8 || n == 14 ? read_digits(word, n, date) : LEGACY_DATE_MALFORMED;
	return read_parts(&reader, order, date);
}
