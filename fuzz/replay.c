/*
 * replay.c
 *	  Runs a fuzz target over a corpus file: one input per line, in hex; lines
 *	  that begin with # are comments.
 *
 * It needs no fuzzer, so the tests can do this with any C compiler.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int) (at - digits) : -1;
}

/*
 * Decodes the line into data, which has room for half its length.  Returns the
 * size, or -1 if the line is not hex.
 */
static long
decode(const char *line, uint8_t *data)
{
	size_t		length = strcspn(line, "\n");

	if (length % 2 != 0)
		return -1;
	for (size_t i = 0; i < length / 2; i++)
	{
		int			high = digit(line[2 * i]);
		int			low = digit(line[2 * i + 1]);

		if (high < 0 || low < 0)
			return -1;
		data[i] = (uint8_t) (high * 16 + low);
	}
	return (long) length / 2;
}

int
main(int argc, char **argv)
{
	FILE	   *file = argc == 2 ? fopen(argv[1], "r") : NULL;
	char	   *line = NULL;
	size_t		room = 0;
	long		number = 0;
	long		inputs = 0;

	if (file == NULL)
	{
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	while (getline(&line, &room, file) >= 0)
	{
		uint8_t    *data;
		long		size;

		number++;
		if (line[0] == '#')
			continue;
		/* exactly as long as the input, so that a sanitizer sees a read behind it */
		data = malloc(strlen(line) / 2 + 1);
		size = decode(line, data);
		if (size < 0)
		{
			fprintf(stderr, "%s:%ld: not hex\n", argv[1], number);
			return 2;
		}
		data = realloc(data, size > 0 ? (size_t) size : 1);
		LLVMFuzzerTestOneInput(data, (size_t) size);
		free(data);
		inputs++;
	}
	free(line);
	fclose(file);
	printf("%ld inputs\n", inputs);
	return inputs == 0;
}
