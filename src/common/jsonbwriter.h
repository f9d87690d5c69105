/*
 * jsonbwriter.h
 *	  Writes JSONB straight into its binary form.
 *
 * pushJsonbValue builds a tree, sorts the keys of every object and serialises the
 * tree; for a bill or a row of the audit log that would be most of the work.  Here
 * the caller names the keys of an object first, in JSONB's order (shorter ones
 * first, then by bytes), and the values follow in the same order.
 *
 * A container is
 *
 *		its header,
 *		one JEntry per child (in an object: of all keys, then of all values),
 *		the bytes of the children (in an object: all keys, then all values)
 *
 * A JEntry holds the length of its child; every JB_OFFSET_STRIDE'th holds the end of
 * the child instead, counted from the first child.  Numbers and containers start at a
 * multiple of 4, and the padding before them belongs to their length.  jsonb.h of the
 * server documents all this.
 *
 * Everything is appended to one buffer, so nested containers cost nothing.  The
 * JEntries are reserved when a container is opened, and filled in as its children are
 * appended.  Where the keys are the same for many objects, they are laid out once
 * (JsonbWriterPrepare) and copied.
 *
 * What is called per value is inline: the audit calls it for every column of a row.
 */
#ifndef AQUACIS_COMMON_JSONBWRITER_H
#define AQUACIS_COMMON_JSONBWRITER_H

#include "utils/jsonb.h"

#define JSONB_WRITER_MAX_DEPTH 8

typedef struct JsonbWriterKey
{
	const char *name;
	int			length;
} JsonbWriterKey;

#define JSONB_KEY(name) {name, sizeof(name) - 1}

/* the beginning of an object, up to its values, which is the same for many objects */
typedef struct JsonbWriterKeys
{
	int			n;
	int			size;
	char	   *bytes;			/* header, JEntries, keys; the values' JEntries are zero */
	int			keys_length;	/* of all keys together */
} JsonbWriterKeys;

/* a container that is being written; offsets into the buffer */
typedef struct JsonbWriterLevel
{
	int			start;			/* before the padding: what the parent counts */
	int			entries;		/* of the first JEntry */
	int			nentries;
	int			next;			/* the entry to come */
	int			length;			/* of the children so far */
} JsonbWriterLevel;

typedef struct JsonbWriter
{
	char	   *data;			/* begins with room for the varlena header */
	int			length;
	int			capacity;
	const char *hint;			/* for the error when it gets too large, or NULL */
	int			depth;
	JsonbWriterLevel level[JSONB_WRITER_MAX_DEPTH];
} JsonbWriter;

extern void JsonbWriterBegin(JsonbWriter *writer, int capacity, const char *hint);
extern Jsonb *JsonbWriterEnd(JsonbWriter *writer);
extern void JsonbWriterObject(JsonbWriter *writer, const JsonbWriterKey *keys, int nkeys);
extern void JsonbWriterOpen(JsonbWriter *writer, int nkeys);
extern void JsonbWriterArray(JsonbWriter *writer, int nelements);
extern void JsonbWriterNumber(JsonbWriter *writer, Datum number);
extern void JsonbWriterText(JsonbWriter *writer, const char *text);
extern void JsonbWriterPrepare(JsonbWriterKeys *keys, const JsonbWriterKey *names, int n);

/* for the functions below */
extern void JsonbWriterEnlarge(JsonbWriter *writer, int size);
extern void JsonbWriterTooDeep(void);

/* Makes room for so many more bytes; 54000 when the value gets too large for JSONB. */
static inline void
JsonbWriterReserve(JsonbWriter *w, int size)
{
	if (unlikely(size > w->capacity - w->length))
		JsonbWriterEnlarge(w, size);
}

static inline void
JsonbWriterAppend(JsonbWriter *w, const void *bytes, int size)
{
	JsonbWriterReserve(w, size);
	memcpy(w->data + w->length, bytes, size);
	w->length += size;
}

/* Appends bytes at the next multiple of 4, with size more to follow within the reserve. */
static inline void
JsonbWriterAlign(JsonbWriter *w, int size)
{
	JsonbWriterReserve(w, ALIGNOF_INT + size);
	memset(w->data + w->length, 0, ALIGNOF_INT);
	w->length = INTALIGN(w->length);
}

/* Notes the next child of the container that is open, `size` bytes long. */
static inline void
JsonbWriterEntry(JsonbWriter *w, JEntry type, int size)
{
	JsonbWriterLevel *level = &w->level[w->depth];
	JEntry		entry = type | size;

	Assert(w->depth > 0 && level->next < level->nentries);
	level->length += size;
	if (level->next % JB_OFFSET_STRIDE == 0)
		entry = type | level->length | JENTRY_HAS_OFF;
	memcpy(w->data + level->entries + level->next * sizeof(JEntry), &entry, sizeof(entry));
	level->next++;
}

/* A container begins; what starts it follows.  Returns its level, not filled in. */
static inline JsonbWriterLevel *
JsonbWriterDescend(JsonbWriter *w, int size)
{
	JsonbWriterLevel *level;

	if (unlikely(++w->depth >= JSONB_WRITER_MAX_DEPTH))
		JsonbWriterTooDeep();
	level = &w->level[w->depth];
	level->start = w->length;
	JsonbWriterAlign(w, size);
	return level;
}

/* An object with prepared keys; their values follow in the same order, then Close. */
static inline void
JsonbWriterPrepared(JsonbWriter *w, const JsonbWriterKeys *keys)
{
	JsonbWriterLevel *level = JsonbWriterDescend(w, keys->size);

	level->entries = w->length + sizeof(uint32);
	level->nentries = 2 * keys->n;
	level->next = keys->n;
	level->length = keys->keys_length;
	memcpy(w->data + w->length, keys->bytes, keys->size);
	w->length += keys->size;
}

/* The container that is open has all its children. */
static inline void
JsonbWriterClose(JsonbWriter *w)
{
	JsonbWriterLevel *level = &w->level[w->depth];

	Assert(level->next == level->nentries);
	if (--w->depth > 0)
		JsonbWriterEntry(w, JENTRY_ISCONTAINER, w->length - level->start);
}

/* null, or a boolean: JENTRY_ISNULL, JENTRY_ISBOOL_TRUE, JENTRY_ISBOOL_FALSE */
static inline void
JsonbWriterLiteral(JsonbWriter *w, JEntry type)
{
	JsonbWriterEntry(w, type, 0);
}

static inline void
JsonbWriterString(JsonbWriter *w, const char *string, int size)
{
	JsonbWriterAppend(w, string, size);
	JsonbWriterEntry(w, JENTRY_ISSTRING, size);
}

/* A numeric: what stands behind its varlena header. */
static inline void
JsonbWriterNumeric(JsonbWriter *w, const char *bytes, int size)
{
	int			start = w->length;

	JsonbWriterAlign(w, VARHDRSZ + size);
	SET_VARSIZE(w->data + w->length, VARHDRSZ + size);
	memcpy(w->data + w->length + VARHDRSZ, bytes, size);
	w->length += VARHDRSZ + size;
	JsonbWriterEntry(w, JENTRY_ISNUMERIC, w->length - start);
}

/* A container written before: what stands behind the varlena header. */
static inline void
JsonbWriterContainer(JsonbWriter *w, const char *bytes, int size)
{
	int			start = w->length;

	JsonbWriterAlign(w, size);
	memcpy(w->data + w->length, bytes, size);
	w->length += size;
	JsonbWriterEntry(w, JENTRY_ISCONTAINER, w->length - start);
}

#endif							/* AQUACIS_COMMON_JSONBWRITER_H */
