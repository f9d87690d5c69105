/*
 * sentence.c
 *	  printf into memory, for functions that take a format themselves: psprintf() of a va_list.
 */
#include "postgres.h"

#include "common/sentence.h"

/* The text, palloc'd.  args are used up. */
char *
SentenceOf(const char *format, va_list args)
{
	size_t		size = 128;

	for (;;)
	{
		char	   *text = palloc(size);
		va_list		again;
		size_t		needed;

		va_copy(again, args);
		needed = pvsnprintf(text, size, format, again);
		va_end(again);
		if (needed < size)
			return text;
		pfree(text);
		size = needed;
	}
}
