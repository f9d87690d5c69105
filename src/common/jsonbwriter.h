/*
 * jsonbwriter.h
 *	  Writes JSONB straight into its binary form.
 *
 * pushJsonbValue builds a tree, sorts the keys of every object and serialises
 * the tree; for the details of a bill that is most of the work.  Here the
 * caller names the keys of an object first, in JSONB's order (shorter ones
 * first, then by bytes), and the values follow in the same order.
 *
 * Everything is appended to one buffer, so nested containers cost nothing.
 * Layout and alignment are those that jsonb.h documents.
 */
#ifndef AQUACIS_COMMON_JSONBWRITER_H
#define AQUACIS_COMMON_JSONBWRITER_H

#include "utils/jsonb.h"

#define WRITER_MAX_DEPTH 8

typedef struct WriterKey
{
	const char *name;
	int			length;
} WriterKey;

#define WRITER_KEY(name) {name, sizeof(name) - 1}

/* A container that is being written; offsets into the buffer. */
typedef struct WriterLevel
{
	int			start;			/* before the padding: what the parent counts */
	int			entries;		/* of the first JEntry */
	int			nentries;
	int			next;			/* entry to come */
	int			length;			/* of the children so far */
} WriterLevel;

typedef struct TariffWriter
{
	char	   *data;
	int			length;
	int			capacity;
	int			depth;
	WriterLevel level[WRITER_MAX_DEPTH];
} TariffWriter;

extern void TariffWriterBegin(TariffWriter *writer);
extern Jsonb *TariffWriterEnd(TariffWriter *writer);
extern void TariffWriteObject(TariffWriter *writer, const WriterKey *keys, int nkeys);
extern void TariffWriteArray(TariffWriter *writer, int nelements);
extern void TariffWriteClose(TariffWriter *writer);
extern void TariffWriteContainer(TariffWriter *writer, const char *bytes, int size);
extern void TariffWriteNumber(TariffWriter *writer, Datum number);
extern void TariffWriteText(TariffWriter *writer, const char *text);

#endif							/* AQUACIS_COMMON_JSONBWRITER_H */
