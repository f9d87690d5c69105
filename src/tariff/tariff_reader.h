/*
 * tariff_reader.h
 *	  Faults, tokens and values, for tariff_parse.c (tariff_reader.c).
 *
 * Pure C: no server headers.
 */
#ifndef AQUACIS_TARIFF_READER_H
#define AQUACIS_TARIFF_READER_H

#include "tariff/tariff_types.h"

/* a bill has at most so many lines besides the water line */
#define TARIFF_MAX_CONCEPTS 1000

/* size of a buffer for a value that a fault quotes */
#define TARIFF_FOUND_SIZE 80

typedef struct TariffParser
{
	TariffReader *reader;
	char		where[64];		/* path of the object being read, "" at the top */
	bool		valid;
	bool		stopped;		/* the reader wants no more faults */
} TariffParser;

/* The known keys of one kind of object, and which of them have been read. */
typedef struct TariffKeys
{
	const char *const *name;
	int			n;
	unsigned	seen;
} TariffKeys;

static inline bool
TariffHas(const TariffKeys *keys, int key)
{
	return (keys->seen & (1u << key)) != 0;
}

/*
 * Faults: "<where>.<member>: <text>".  The others write a value into the buffer, of
 * TARIFF_FOUND_SIZE bytes, and return it.
 */
extern void TariffFault(TariffParser *p, const char *member, const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern const char *TariffFound(TariffParser *p, const TariffToken *token, char *buffer);
extern const char *TariffQuoted(TariffParser *p, const char *text, char *buffer);
extern const char *TariffPrinted(TariffParser *p, const TariffNumber *number, char *buffer);

/* tokens */
extern void TariffNext(TariffParser *p, TariffToken *token);
extern void TariffSkip(TariffParser *p, const TariffToken *value);
extern bool TariffTextIs(const TariffToken *token, const char *text);
extern int	TariffNextKey(TariffParser *p, TariffKeys *keys, TariffToken *value);

/*
 * Values.  The readers get the first token of the value.  If it is faulty they
 * report that, skip it, and return false, NULL or what they could read.
 */
extern void *TariffGrow(TariffParser *p, void *array, int n, int *capacity, size_t size);
extern int	TariffCompareNumbers(TariffParser *p, const TariffNumber *a, const TariffNumber *b);
extern bool TariffIsAbove(TariffParser *p, const TariffNumber *a, unsigned limit);
extern bool TariffIsZero(const TariffNumber *a);
extern TariffNumberStatus TariffNumberOf(TariffToken *token);
extern bool TariffReadNumber(TariffParser *p, const char *member, const TariffToken *value,
							 TariffNumber *number);
extern const char *TariffReadString(TariffParser *p, const char *member,
									const TariffToken *value);
extern int	TariffReadCodes(TariffParser *p, const char *member, const TariffToken *value,
							const char ***codes);
extern bool TariffReadRate(TariffParser *p, const char *member, const TariffToken *value,
						   TariffNumber *rate);

#endif							/* AQUACIS_TARIFF_READER_H */
