/*
 * legacy_text.c
 *	  Fuzz target: the repair of texts.
 *
 * Links: src/legacy/legacy_chars.c src/legacy/legacy_repair.c
 * Longest input: 200
 *
 * Whatever the bytes are: the result fits, a second call changes nothing, and ASCII without
 * doubled blanks is never touched.  What was repaired without lone bytes is UTF-8 from end
 * to end.
 */
#include <stdlib.h>
#include <string.h>

#include "legacy/legacy_values.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try(const char *text, size_t len, bool keep_lone)
{
	char	   *once = malloc(LEGACY_REPAIR_SIZE(len));
	size_t		once_len = LegacyTextRepair(text, len, keep_lone, once);
	char	   *twice = malloc(LEGACY_REPAIR_SIZE(once_len));
	size_t		twice_len = LegacyTextRepair(once, once_len, keep_lone, twice);
	const unsigned char *at = (const unsigned char *) once;
	const unsigned char *end = at + once_len;
	bool		ascii = true;

	if (once_len >= LEGACY_REPAIR_SIZE(len))
		abort();
	if (once_len != twice_len || memcmp(once, twice, once_len) != 0)
		abort();
	while (!keep_lone && at < end)
		if (LegacyCharRead(&at, end) >= LEGACY_LONE)
			abort();
	for (size_t i = 0; i < len; i++)
		ascii &= (unsigned char) text[i] < 0x80;
	if (ascii && (once_len != len || memcmp(once, text, len) != 0))
		abort();

	(void) LegacyTextFaultOf(once, once_len);
	once_len = LegacyTextSqueeze(once, once_len);
	if (once_len > 0 && (once[0] == ' ' || once[once_len - 1] == ' '))
		abort();
	memcpy(twice, once, once_len);
	/* between lone bytes, what is taken out could join its neighbours to a character */
	if (!keep_lone && (LegacyTextSqueeze(twice, once_len) != once_len || memcmp(once, twice, once_len) != 0))
		abort();
	free(once);
	free(twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size == 0 ? 1 : size);

	if (size > 0)
		memcpy(text, data, size);
	try(text, size, false);
	try(text, size, true);
	free(text);
	return 0;
}
