/*
 * jsonbwriter.c
 *	  Writes JSONB straight into its binary form: see jsonbwriter.h.
 *
 * A container is a header, one JEntry a child (for an object all keys, then
 * all values) and the children themselves.  The entries are reserved when the
 * container is opened and filled in as the children are appended.
 */
#include "postgres.h"

#include "common/jsonbwriter.h"

static void
enlarge(TariffWriter *w, int size)
{
	Size		capacity = w->capacity;

	if (size > JENTRY_OFFLENMASK - w->length)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("bill is too large for a jsonb value"),
				 errdetail("It takes more than %d bytes.", JENTRY_OFFLENMASK)));
	while (capacity < (Size) w->length + size)
		capacity *= 2;
	w->data = repalloc_huge(w->data, capacity);
	w->capacity = (int) capacity;
}

static inline void
reserve(TariffWriter *w, int size)
{
	if (unlikely(size > w->capacity - w->length))
		enlarge(w, size);
}

static inline void
append(TariffWriter *w, const void *bytes, int size)
{
	reserve(w, size);
	memcpy(w->data + w->length, bytes, size);
	w->length += size;
}

/* Numbers and containers start at a multiple of 4. */
static inline int
pad(TariffWriter *w)
{
	int			start = w->length;

	reserve(w, ALIGNOF_INT);
	while (w->length % ALIGNOF_INT != 0)
		w->data[w->length++] = 0;
	return w->length - start;
}

/* Notes the next child of the container that is open, `size` bytes long. */
static inline void
add_entry(TariffWriter *w, JEntry type, int size)
{
	WriterLevel *level = &w->level[w->depth];
	JEntry		entry = type | size;

	if (w->depth == 0)
		return;
	Assert(level->next < level->nentries);
	level->length += size;
	if (level->next % JB_OFFSET_STRIDE == 0)
		entry = type | level->length | JENTRY_HAS_OFF;
	memcpy(w->data + level->entries + level->next * sizeof(JEntry), &entry, sizeof(entry));
	level->next++;
}

static void
open_container(TariffWriter *w, uint32 header, int nentries)
{
	WriterLevel *level;
	int			start = w->length;

	if (++w->depth >= WRITER_MAX_DEPTH)
		elog(ERROR, "jsonb writer: too deep");
	level = &w->level[w->depth];
	level->start = start;
	pad(w);
	append(w, &header, sizeof(header));
	level->entries = w->length;
	level->nentries = nentries;
	level->next = 0;
	level->length = 0;
	if (nentries > JENTRY_OFFLENMASK / (int) sizeof(JEntry))
		nentries = JENTRY_OFFLENMASK;	/* more than reserve() grants */
	else
		nentries *= sizeof(JEntry);
	reserve(w, nentries);
	w->length += nentries;
}

void
TariffWriterBegin(TariffWriter *w)
{
	w->capacity = 1024;
	w->data = palloc(w->capacity);
	w->length = VARHDRSZ;
	w->depth = 0;
}

Jsonb *
TariffWriterEnd(TariffWriter *w)
{
	Assert(w->depth == 0);
	SET_VARSIZE(w->data, w->length);
	return (Jsonb *) w->data;
}

/* Keys in JSONB's order; their values follow in the same order, then Close. */
void
TariffWriteObject(TariffWriter *w, const WriterKey *keys, int nkeys)
{
	int			i;

	open_container(w, nkeys | JB_FOBJECT, 2 * nkeys);
	for (i = 0; i < nkeys; i++)
	{
		Assert(i == 0 || keys[i - 1].length < keys[i].length ||
			   (keys[i - 1].length == keys[i].length &&
				memcmp(keys[i - 1].name, keys[i].name, keys[i].length) < 0));
		append(w, keys[i].name, keys[i].length);
		add_entry(w, JENTRY_ISSTRING, keys[i].length);
	}
}

void
TariffWriteArray(TariffWriter *w, int nelements)
{
	open_container(w, nelements | JB_FARRAY, nelements);
}

void
TariffWriteClose(TariffWriter *w)
{
	WriterLevel *level = &w->level[w->depth];

	Assert(level->next == level->nentries);
	w->depth--;
	add_entry(w, JENTRY_ISCONTAINER, w->length - level->start);
}

void
TariffWriteNumber(TariffWriter *w, Datum number)
{
	const struct varlena *value = (const struct varlena *) DatumGetPointer(number);
	int			padding = pad(w);

	append(w, value, VARSIZE(value));
	add_entry(w, JENTRY_ISNUMERIC, padding + VARSIZE(value));
}

/* A container written before: what stands behind the varlena header. */
void
TariffWriteContainer(TariffWriter *w, const char *bytes, int size)
{
	int			padding = pad(w);

	append(w, bytes, size);
	add_entry(w, JENTRY_ISCONTAINER, padding + size);
}

/* NULL becomes null */
void
TariffWriteText(TariffWriter *w, const char *text)
{
	int			length = text ? strlen(text) : 0;

	append(w, text ? text : "", length);
	add_entry(w, text ? JENTRY_ISSTRING : JENTRY_ISNULL, length);
}
