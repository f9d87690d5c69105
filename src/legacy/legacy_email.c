/*
 * legacy_email.c
 *	  The shape of an address of e-mail: something that a mail server may accept.
 *
 * local@domain, after RFC 5321 and RFC 5322 without what nobody types: quoted local parts,
 * comments, addresses of hosts in brackets.  The local part is letters, digits, dots that
 * are neither first nor last nor doubled, and !#$%&'*+/=?^_`{|}~-, at most 64 of them; the
 * domain is two labels or more, of letters, digits and hyphens within, at most 63 each,
 * the last of them no number.  Letters beyond ASCII are refused: few servers take them,
 * and in such a column they are typing errors or mojibake.  Blanks at the ends do not
 * count.  The domain is written in lower case; the local part stays as it is, since only
 * its own server knows whether case matters.  Whether the address exists is not asked.
 */
#include <string.h>

#include "legacy/legacy_values.h"

#define MAX_LOCAL 64
#define MAX_LABEL 63

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_local(const char *p, size_t len)
{
	char		before = '.';

	if (len > MAX_LOCAL)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (p[i] == '.' ? before == '.' :
			!is_letter(p[i]) && !is_digit(p[i]) && strchr("!#$%&'*+/=?^_`{|}~-", p[i]) == NULL)
			return false;
		before = p[i];
	}
	return before != '.';
}

static bool
is_label(const char *p, size_t len)
{
	if (len == 0 || len > MAX_LABEL || p[0] == '-' || p[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_letter(p[i]) && !is_digit(p[i]) && p[i] != '-')
			return false;
	return true;
}

static bool
is_domain(const char *p, size_t len)
{
	const char *end = p + len;
	int			labels = 0;

	for (;;)
	{
		const char *dot = memchr(p, '.', (size_t) (end - p));
		const char *stop = dot != NULL ? dot : end;

		if (!is_label(p, (size_t) (stop - p)))
			return false;
		labels++;
		if (dot == NULL)
			return labels > 1 && stop - p > 1 && is_letter(*p);
		p = dot + 1;
	}
}

/* Cuts what has no ink off both ends. */
static void
cut_ends(const unsigned char **start, const unsigned char **end)
{
	const unsigned char *at = *start;
	const unsigned char *last = *start;
	bool		begun = false;

	while (at < *end)
	{
		const unsigned char *from = at;
		uint32_t	c = LegacyCharRead(&at, *end);

		if (LegacyCharIsBlank(c) || LegacyCharIsInvisible(c))
			continue;
		if (!begun)
			*start = from;
		begun = true;
		last = at;
	}
	*end = begun ? last : *start;
}

/* See legacy_values.h. */
LegacyEmailStatus
LegacyEmailParse(const char *text, size_t len, char *out)
{
	const unsigned char *start = (const unsigned char *) text;
	const unsigned char *end = start + len;
	const char *p;
	const char *at;

	cut_ends(&start, &end);
	p = (const char *) start;
	len = (size_t) (end - start);
	if (len == 0)
		return LEGACY_EMAIL_EMPTY;
	at = memchr(p, '@', len);
	if (at == NULL)
		return LEGACY_EMAIL_NO_AT;
	if (memchr(at + 1, '@', len - (size_t) (at + 1 - p)) != NULL ||
		memchr(p, ';', len) != NULL || memchr(p, ',', len) != NULL)
		return LEGACY_EMAIL_SEVERAL;
	for (size_t i = 0; i < len; i++)
		if (start[i] <= ' ' || start[i] >= 0x7F)
			return LEGACY_EMAIL_CHARACTER;
	if (len > LEGACY_EMAIL_MAX)
		return LEGACY_EMAIL_LONG;
	if (!is_local(p, (size_t) (at - p)))
		return LEGACY_EMAIL_LOCAL;
	if (!is_domain(at + 1, len - (size_t) (at + 1 - p)))
		return LEGACY_EMAIL_DOMAIN;

	memcpy(out, p, len);
	out[len] = '\0';
	for (char *c = out + (at - p); *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char) (*c - 'A' + 'a');
	return LEGACY_EMAIL_OK;
}
