/*
 * replay.c
 *	  Runs a fuzz target over a corpus file: one input a line, in hex.  Needs
 *	  no fuzzer, so that the tests can do it with any C compiler.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_LINE 20000

int
main(int argc, char **argv)
{
	static char line[MAX_LINE];
	static uint8_t data[MAX_LINE / 2];
	FILE	   *file = argc == 2 ? fopen(argv[1], "r") : NULL;
	long		inputs = 0;

	if (file == NULL)
	{
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	while (fgets(line, sizeof(line), file))
	{
		size_t		size = strcspn(line, "\n") / 2;

		for (size_t i = 0; i < size; i++)
		{
			char		byte[3] = {line[2 * i], line[2 * i + 1], '\0'};

			data[i] = (uint8_t) strtoul(byte, NULL, 16);
		}
		LLVMFuzzerTestOneInput(data, size);
		inputs++;
	}
	fclose(file);
	printf("%ld inputs\n", inputs);
	return inputs == 0;
}
