/*
 * jsonbwriter.c
 *	  Writes JSONB straight into its binary form: see jsonbwriter.h.
 *
 * The buffer is memory of the context that is current at JsonbWriterBegin(); the
 * finished value is the buffer.
 */
#include "postgres.h"

#include "common/jsonbwriter.h"

/* Makes the buffer so large that size more bytes fit; 54000 beyond JSONB's limit. */
void
JsonbWriterEnlarge(JsonbWriter *w, int size)
{
	Size		capacity = w->capacity;

	if (size > JENTRY_OFFLENMASK - w->length)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too large for jsonb"),
				 errdetail("It takes more than %d bytes.", JENTRY_OFFLENMASK),
				 w->hint ? errhint("%s", w->hint) : 0));
	while (capacity < (Size) w->length + size)
		capacity *= 2;
	/* never larger than a value may be, so that what does not fit comes here */
	capacity = Min(capacity, JENTRY_OFFLENMASK);
	w->data = repalloc(w->data, capacity);
	w->capacity = (int) capacity;
}

void
JsonbWriterTooDeep(void)
{
	elog(ERROR, "jsonb writer: too deep");
}

/* Begins a value in a new buffer of so many bytes, which grows.  hint: see JsonbWriter. */
void
JsonbWriterBegin(JsonbWriter *w, int capacity, const char *hint)
{
	w->capacity = Max(capacity, 256);
	w->data = palloc(w->capacity);
	w->length = VARHDRSZ;
	w->hint = hint;
	w->depth = 0;
}

/* The finished value.  All containers are closed. */
Jsonb *
JsonbWriterEnd(JsonbWriter *w)
{
	Assert(w->depth == 0);
	SET_VARSIZE(w->data, w->length);
	return (Jsonb *) w->data;
}

static void
open_container(JsonbWriter *w, uint32 header, int nentries)
{
	JsonbWriterLevel *level;
	int			size = JENTRY_OFFLENMASK;	/* more than is granted */

	if (nentries < (JENTRY_OFFLENMASK - 64) / (int) sizeof(JEntry))
		size = sizeof(header) + nentries * sizeof(JEntry);
	level = JsonbWriterDescend(w, size);
	memcpy(w->data + w->length, &header, sizeof(header));
	level->entries = w->length + sizeof(header);
	level->nentries = nentries;
	level->next = 0;
	level->length = 0;
	w->length += size;
}

/*
 * An object: its keys, in JSONB's order.  Their values follow in the same order, then
 * JsonbWriterClose().
 */
void
JsonbWriterObject(JsonbWriter *w, const JsonbWriterKey *keys, int nkeys)
{
	open_container(w, nkeys | JB_FOBJECT, 2 * nkeys);
	for (int i = 0; i < nkeys; i++)
	{
		Assert(i == 0 || keys[i - 1].length < keys[i].length ||
			   (keys[i - 1].length == keys[i].length &&
				memcmp(keys[i - 1].name, keys[i].name, keys[i].length) < 0));
		JsonbWriterString(w, keys[i].name, keys[i].length);
	}
}

/*
 * An object whose keys follow one by one (JsonbWriterString), in JSONB's order, then its
 * values, then JsonbWriterClose().
 */
void
JsonbWriterOpen(JsonbWriter *w, int nkeys)
{
	open_container(w, nkeys | JB_FOBJECT, 2 * nkeys);
}

/* An array: its elements follow, then JsonbWriterClose(). */
void
JsonbWriterArray(JsonbWriter *w, int nelements)
{
	open_container(w, nelements | JB_FARRAY, nelements);
}

/* A numeric that is no NaN and not infinite, not toasted. */
void
JsonbWriterNumber(JsonbWriter *w, Datum number)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(number);

	JsonbWriterNumeric(w, VARDATA(value), VARSIZE(value) - VARHDRSZ);
}

/* A string; null for NULL. */
void
JsonbWriterText(JsonbWriter *w, const char *text)
{
	if (text)
		JsonbWriterString(w, text, strlen(text));
	else
		JsonbWriterLiteral(w, JENTRY_ISNULL);
}

/*
 * Lays out the keys of an object, in JSONB's order, for JsonbWriterPrepared().  What
 * *keys points to is memory of the current context.
 */
void
JsonbWriterPrepare(JsonbWriterKeys *keys, const JsonbWriterKey *names, int n)
{
	JsonbWriter w;

	JsonbWriterBegin(&w, 1024, NULL);
	JsonbWriterObject(&w, names, n);
	memset(w.data + w.level[1].entries + n * sizeof(JEntry), 0, n * sizeof(JEntry));
	keys->n = n;
	keys->keys_length = w.level[1].length;
	keys->size = w.length - VARHDRSZ;
	keys->bytes = palloc(keys->size);
	memcpy(keys->bytes, w.data + VARHDRSZ, keys->size);
	pfree(w.data);
}
