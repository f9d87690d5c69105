/*
 * legacy_fields.c
 *	  Fuzz target: phones, addresses of e-mail, postal codes, dates.
 *
 * Links: src/legacy/legacy_chars.c src/legacy/legacy_phone.c src/legacy/legacy_email.c src/legacy/legacy_postal.c src/legacy/legacy_date.c
 * Longest input: 100
 *
 * What is accepted has the form that is promised, and is accepted again with the same
 * result.  A date is read alike in every order that accepts it without one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "legacy/legacy_values.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_phone(const char *text, size_t len)
{
	LegacyPhone phone;
	LegacyPhone again;
	char		both[64];

	if (LegacyPhoneParse(text, len, &phone) == LEGACY_PHONE_OK)
	{
		if (strspn(phone.digits, "0123456789") != LEGACY_PHONE_DIGITS || phone.digits[0] < '2' ||
			strspn(phone.extension, "0123456789") != strlen(phone.extension))
			abort();
		snprintf(both, sizeof(both), "+52 1 %s%s%s", phone.digits, phone.extension[0] ? " ext " : "", phone.extension);
		if (LegacyPhoneParse(both, strlen(both), &again) != LEGACY_PHONE_OK ||
			strcmp(phone.digits, again.digits) != 0 || strcmp(phone.extension, again.extension) != 0)
			abort();
	}
	/* an area code beside a number that is whole changes nothing */
	for (size_t cut = 0; cut <= len && cut < 8; cut++)
	{
		LegacyPhoneStatus alone = LegacyPhoneParse(text + cut, len - cut, &again);

		if (LegacyPhoneParseParts(text, cut, text + cut, len - cut, &phone) != alone &&
			alone != LEGACY_PHONE_NO_AREA && alone != LEGACY_PHONE_SHORT)
			abort();
	}
}

static void
try_email(const char *text, size_t len)
{
	char		out[LEGACY_EMAIL_MAX + 1];
	char		again[LEGACY_EMAIL_MAX + 1];

	if (LegacyEmailParse(text, len, out) == LEGACY_EMAIL_OK &&
		(LegacyEmailParse(out, strlen(out), again) != LEGACY_EMAIL_OK || strcmp(out, again) != 0))
		abort();
}

static void
try_postal(const char *text, size_t len)
{
	char		out[LEGACY_POSTAL_DIGITS + 1];
	char		again[LEGACY_POSTAL_DIGITS + 1];

	if (LegacyPostalParse(text, len, out) != LEGACY_POSTAL_OK)
		return;
	if (strspn(out, "0123456789") != LEGACY_POSTAL_DIGITS || strlen(out) != LEGACY_POSTAL_DIGITS)
		abort();
	if (LegacyPostalParse(out, strlen(out), again) != LEGACY_POSTAL_OK || strcmp(out, again) != 0)
		abort();
}

static void
try_date(const char *text, size_t len)
{
	for (int order = LEGACY_DATE_DMY; order <= LEGACY_DATE_YMD; order++)
	{
		LegacyDate	date;
		LegacyDate	again;
		char		iso[40];

		if (LegacyDateParse(text, len, (LegacyDateOrder) order, &date) != LEGACY_DATE_OK)
			continue;
		snprintf(iso, sizeof(iso), "%04d-%02d-%02d", date.year, date.month, date.day);
		if (LegacyDateParse(iso, strlen(iso), LEGACY_DATE_YMD, &again) != LEGACY_DATE_OK ||
			memcmp(&date, &again, sizeof(date)) != 0)
			abort();
		if (order == LEGACY_DATE_YMD &&
			(LegacyDateParse(text, len, LEGACY_DATE_DMY, &again) != LEGACY_DATE_OK ||
			 memcmp(&date, &again, sizeof(date)) != 0))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size == 0 ? 1 : size);

	if (size > 0)
		memcpy(text, data, size);
	try_phone(text, size);
	try_email(text, size);
	try_postal(text, size);
	try_date(text, size);
	free(text);
	return 0;
}
