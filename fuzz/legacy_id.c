/*
 * legacy_id.c
 *	  Fuzz target: RFC and CURP.
 *
 * Links: src/legacy/legacy_id.c src/legacy/legacy_rfc.c src/legacy/legacy_curp.c
 * Longest input: 64
 *
 * The parsers write what they accept in a normal form.  That form is accepted,
 * too, and its own normal form is the same text.
 */
#include <stdlib.h>
#include <string.h>

#include "legacy/legacy.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef LegacyKeyStatus (*Parser) (const char *text, size_t len, LegacyKey *key);

static void
try(Parser parse, const char *text, size_t len)
{
	LegacyKey	key;
	LegacyKey	again;
	char		out[2 * LEGACY_KEY_MAX];
	char		out_again[2 * LEGACY_KEY_MAX];
	size_t		out_len;
	LegacyKeyStatus status = parse(text, len, &key);

	if (status == LEGACY_KEY_CHECK || status == LEGACY_KEY_UNUSUAL_CHECK)
	{
		/* with the check digit that the parser expects, the key is valid */
		key.at[key.len - 1] = key.check;
		status = LEGACY_KEY_OK;
	}
	if (status != LEGACY_KEY_OK)
		return;
	out_len = LegacyKeyWrite(&key, out);
	if (parse(out, out_len, &again) != LEGACY_KEY_OK || again.len != key.len)
		abort();
	if (LegacyKeyWrite(&again, out_again) != out_len || memcmp(out, out_again, out_len) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size == 0 ? 1 : size);

	if (size > 0)
		memcpy(text, data, size);
	try(LegacyRfcParse, text, size);
	try(LegacyCurpParse, text, size);
	free(text);
	return 0;
}
