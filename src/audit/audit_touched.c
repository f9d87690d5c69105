/*
 * audit_touched.c
 *	  The rows that were changed since a moment, found by the key that they have now.
 *
 * The entries of a table after the moment come in order.  For each row that one of them is
 * about, the first old value of each column is kept: that is what the column had at the
 * moment.  A row whose first entry is an I was not there.  A D has the whole row, and the
 * row is put aside.  What is not in here has not been changed.
 *
 * Rows are found by their key, and an UPDATE of the key carries a row from one key to
 * another.  Two rows can have one key for the length of a command (a deferrable key, a
 * swap), so there is a queue for each key.  An entry is about the first row of the queue that
 * the same command has not changed yet, because a command changes a row once; if there
 * is none, it is about a row that was not changed before.
 *
 * Most rows of a table have not been changed, and for them the way to the queue is most of the
 * work.  So when all entries are read, a filter is made: a bit for the hash of each key.  A key
 * of one integer or numeric is hashed as it lies in the row, without becoming text first; equal
 * numbers have equal hashes.  A row whose bit is not set is not in here; where it is set, the
 * key has to be looked up.
 *
 * Memory: one AuditTouched for each changed row, with copies of the values that it needs.
 * All of it is in one context, which is a child of the one that was current at the beginning.
 * Pure: no catalog, no query, no code of types.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "port/pg_bitutils.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "audit/audit_asof.h"

typedef struct KeyBytes
{
	const char *data;
	int			len;
} KeyBytes;

/* the rows that have one key at the point that was come to */
typedef struct TouchedQueue
{
	KeyBytes	key;
	uint32		hash;
	char		status;
	uint32		bit;			/* for the filter; not used of AUDIT_FILTER_TEXT */
	bool		has_bit;		/* false: no row of the table can have this key */
	AuditTouched *first;
} TouchedQueue;

static inline uint32
hash_key(KeyBytes key)
{
	return hash_bytes((const unsigned char *) key.data, key.len);
}

static inline bool
same_key(KeyBytes a, KeyBytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

#define SH_PREFIX		touched
#define SH_ELEMENT_TYPE TouchedQueue
#define SH_KEY_TYPE		KeyBytes
#define SH_KEY			key
#define SH_HASH_KEY(tb, key) hash_key(key)
#define SH_EQUAL(tb, a, b) same_key(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* ---- the filter --------------------------------------------------------------------------- */

static AuditFilterBy
filter_of(const AuditShape *shape)
{
	if (shape->nkey != 1 || shape->reads[shape->key[0]].hidden)
		return AUDIT_FILTER_TEXT;
	switch (shape->columns[shape->key[0]].convert)
	{
		case AUDIT_AS_INT2:
		case AUDIT_AS_INT4:
		case AUDIT_AS_INT8:
			return AUDIT_FILTER_INTEGER;
		case AUDIT_AS_NUMERIC:
			return AUDIT_FILTER_NUMERIC;
		default:
			return AUDIT_FILTER_TEXT;
	}
}

static inline uint32
hash_integer(int64 number)
{
	return hash_combine(murmurhash32((uint32) (number >> 32)), murmurhash32((uint32) number));
}

/* The hash of n bytes behind the header of a numeric. */
static uint32
hash_of_numeric(const char *data, int len)
{
	union
	{
		struct varlena header;
		char		bytes[64];
	}			local;
	struct varlena *num = len <= (int) sizeof(local) - VARHDRSZ ? &local.header : palloc(VARHDRSZ + len);
	uint32		hash;

	SET_VARSIZE(num, VARHDRSZ + len);
	memcpy(VARDATA(num), data, len);
	hash = DatumGetUInt32(DirectFunctionCall1(hash_numeric, PointerGetDatum(num)));
	if (num != &local.header)
		pfree(num);
	return hash;
}

/* Which bit stands for a key of the log. */
static void
set_bit(AuditTouchedKeys *keys, TouchedQueue *queue, const AuditValue *key)
{
	int64		number;

	queue->has_bit = true;
	if (keys->filter_by == AUDIT_FILTER_INTEGER)
	{
		/* bytes that are not those of an integer are those of no row */
		queue->has_bit = AuditParseInteger(pnstrdup(queue->key.data + 1, queue->key.len - 1), &number);
		queue->bit = queue->has_bit ? hash_integer(number) : 0;
	}
	else if (keys->filter_by == AUDIT_FILTER_NUMERIC && key->kind == AUDIT_NUMERIC)
		queue->bit = hash_of_numeric(key->data, key->len);
	else if (keys->filter_by == AUDIT_FILTER_NUMERIC)
		keys->unfiltered = true;
	else
		queue->bit = queue->hash;
}

/* Makes the filter, once all entries are in. */
void
AuditTouchedFilter(AuditTouchedKeys *keys)
{
	uint64		bits = pg_nextpower2_64(Min(Max(keys->keys->members, 64), UINT64CONST(1) << 27) * 16);
	touched_iterator it;
	TouchedQueue *queue;

	if (keys->unfiltered)
		return;
	keys->filter = MemoryContextAllocZero(keys->context, bits / 8);
	keys->filter_mask = (uint32) (bits - 1);
	touched_start_iterate(keys->keys, &it);
	while ((queue = touched_iterate(keys->keys, &it)) != NULL)
	{
		uint32		bit = queue->bit & keys->filter_mask;

		if (queue->has_bit)
			keys->filter[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}
}

static inline bool
filtered_out(const AuditTouchedKeys *keys, uint32 hash)
{
	uint32		bit = hash & keys->filter_mask;

	return keys->filter != NULL && (keys->filter[bit / 64] & (UINT64CONST(1) << (bit % 64))) == 0;
}

/*
 * Is a row whose key is this integer or numeric, not null, certainly none of those that were
 * changed?  False also where the key is of another kind.
 */
bool
AuditTouchedNot(const AuditTouchedKeys *keys, Datum key)
{
	struct varlena *num;

	if (keys->filter == NULL || keys->filter_by == AUDIT_FILTER_TEXT)
		return false;
	if (keys->filter_by == AUDIT_FILTER_NUMERIC)
	{
		num = (struct varlena *) DatumGetPointer(key);
		return (VARATT_IS_SHORT(num) || VARATT_IS_4B_U(num)) &&
			filtered_out(keys, hash_of_numeric(VARDATA_ANY(num), VARSIZE_ANY_EXHDR(num)));
	}
	switch (keys->shape->columns[keys->shape->key[0]].convert)
	{
		case AUDIT_AS_INT2:
			return filtered_out(keys, hash_integer(DatumGetInt16(key)));
		case AUDIT_AS_INT4:
			return filtered_out(keys, hash_integer(DatumGetInt32(key)));
		default:
			return filtered_out(keys, hash_integer(DatumGetInt64(key)));
	}
}

/* Nothing yet, for a table of that shape. */
AuditTouchedKeys *
AuditTouchedBegin(const AuditShape *shape)
{
	AuditTouchedKeys *keys = palloc0(sizeof(AuditTouchedKeys));

	keys->context = AllocSetContextCreate(CurrentMemoryContext, "aquacis touched keys", ALLOCSET_DEFAULT_SIZES);
	keys->shape = shape;
	keys->keys = touched_create(keys->context, 1024, NULL);
	keys->filter_by = filter_of(shape);
	return keys;
}

/* ---- queues ---------------------------------------------------------------------------- */

/* The queue of a key, made if need be.  It moves when another one is made. */
static TouchedQueue *
queue_of(AuditTouchedKeys *keys, const AuditValue *key)
{
	StringInfoData text;
	KeyBytes	bytes;
	TouchedQueue *queue;
	bool		found;

	initStringInfo(&text);
	AuditKeyText(&text, keys->shape, key);
	bytes.data = text.data;
	bytes.len = text.len;
	queue = touched_insert(keys->keys, bytes, &found);
	if (!found)
	{
		char	   *copy = MemoryContextAlloc(keys->context, Max(text.len, 1));

		memcpy(copy, text.data, text.len);
		queue->key.data = copy;
		queue->first = NULL;
		set_bit(keys, queue, key);
	}
	return queue;
}

static void
append(TouchedQueue *queue, AuditTouched *row)
{
	AuditTouched **end = &queue->first;

	while (*end)
		end = &(*end)->next;
	row->next = NULL;
	*end = row;
}

static AuditTouched *
new_row(AuditTouchedKeys *keys, bool absent)
{
	AuditTouched *row = MemoryContextAllocZero(keys->context, sizeof(AuditTouched));

	row->absent = absent;
	return row;
}

static bool
changed_by(const AuditTouched *row, const AuditEntry *e)
{
	return row->clocked && e->clocked && row->at == e->at && row->xact == e->xact;
}

static void
set_changed(AuditTouched *row, const AuditEntry *e)
{
	row->clocked = e->clocked;
	row->at = e->at;
	row->xact = e->xact;
}

/* Takes the row that an entry is about out of its queue. */
static AuditTouched *
take(AuditTouchedKeys *keys, TouchedQueue *queue, const AuditEntry *e)
{
	for (AuditTouched **place = &queue->first; *place; place = &(*place)->next)
	{
		AuditTouched *row = *place;

		if (changed_by(row, e))
			continue;
		*place = row->next;
		return row;
	}
	return new_row(keys, false);
}

/* ---- values ---------------------------------------------------------------------------- */

/* The row had this value in the column, unless an earlier entry said so already. */
static void
add_former(AuditTouchedKeys *keys, AuditTouched *row, int column, const AuditValue *value)
{
	AuditFormer *former;

	for (int i = 0; i < row->nformers; i++)
		if (row->formers[i].column == column)
			return;
	if (row->nformers == row->capacity)
	{
		int			capacity = row->capacity ? row->capacity * 2 : 4;
		AuditFormer *formers = MemoryContextAlloc(keys->context, sizeof(AuditFormer) * capacity);

		if (row->formers)
		{
			memcpy(formers, row->formers, sizeof(AuditFormer) * row->nformers);
			pfree(row->formers);
		}
		row->formers = formers;
		row->capacity = capacity;
	}
	former = &row->formers[row->nformers++];
	former->column = column;
	former->value = *value;
	if (value->len > 0)
	{
		char	   *copy = MemoryContextAlloc(keys->context, value->len);

		memcpy(copy, value->data, value->len);
		former->value.data = copy;
	}
}

static void
add_formers(AuditTouchedKeys *keys, AuditTouched *row, const AuditEntry *e)
{
	for (int i = 0; i < e->nchanges && !row->absent; i++)
	{
		int			column = AuditShapeFind(keys->shape, e->changes[i].name, e->changes[i].len);

		/* a column that the trigger did not log then is not known: as if it had been redacted */
		if (column >= 0)
			add_former(keys, row, column, e->changes[i].has_old ? &e->changes[i].old : &AuditRedacted);
	}
}

/* ---- entries --------------------------------------------------------------------------- */

static void
touch_delete(AuditTouchedKeys *keys, AuditTouched *row, const AuditEntry *e)
{
	if (row->absent)
		return;
	if (e->old == NULL)
	{
		keys->lost++;
		return;
	}
	row->image = MemoryContextAlloc(keys->context, VARSIZE(e->old));
	memcpy(row->image, e->old, VARSIZE(e->old));
	row->next = keys->gone;
	keys->gone = row;
}

/* All rows are gone.  Those that were there then, and that no D before told of, are lost. */
static void
touch_truncate(AuditTouchedKeys *keys, const AuditEntry *e, bool images)
{
	uint64		left = AuditTouchedLeft(keys);

	keys->lost += left;
	if (left > 0 || !images || !keys->after_delete || keys->delete_xact != e->xact)
		keys->truncated = true;
	touched_reset(keys->keys);
}

static void
touch_update(AuditTouchedKeys *keys, AuditTouched *row, const AuditEntry *e)
{
	add_formers(keys, row, e);
	set_changed(row, e);
	append(queue_of(keys, e->moved ? e->moved : e->key), row);
}

/*
 * The next entry of the table, in their order.  What it holds is copied as far as it is
 * needed.  images: the table's trigger logs each row that TRUNCATE removes.
 */
void
AuditTouchedEntry(AuditTouchedKeys *keys, const AuditEntry *e, bool images)
{
	AuditTouched *row;

	if (e->action == 'T')
		touch_truncate(keys, e, images);
	else if (e->key == NULL)
		keys->other_keys++;
	else if (e->action == 'I')
	{
		row = new_row(keys, true);
		set_changed(row, e);
		append(queue_of(keys, e->key), row);
	}
	else if (e->action == 'U')
		touch_update(keys, take(keys, queue_of(keys, e->key), e), e);
	else if (e->action == 'D')
		touch_delete(keys, take(keys, queue_of(keys, e->key), e), e);
	keys->after_delete = e->action == 'D';
	keys->delete_xact = e->xact;
}

/* ---- the rows of today ------------------------------------------------------------------ */

/*
 * The row that has this key now, and is none of those to come; NULL: it was not changed since.
 * To be asked for each row of the table once.
 */
AuditTouched *
AuditTouchedTake(AuditTouchedKeys *keys, const char *text, int len)
{
	KeyBytes	bytes = {text, len};
	uint32		hash = hash_key(bytes);
	TouchedQueue *queue;
	AuditTouched *row;

	if (keys->filter_by == AUDIT_FILTER_TEXT && filtered_out(keys, hash))
		return NULL;
	queue = touched_lookup_hash(keys->keys, bytes, hash);
	row = queue ? queue->first : NULL;
	if (row)
		queue->first = row->next;
	return row;
}

/* How many rows that were there then are left: changed since, not deleted, and not taken. */
uint64
AuditTouchedLeft(AuditTouchedKeys *keys)
{
	touched_iterator it;
	TouchedQueue *queue;
	uint64		n = 0;

	touched_start_iterate(keys->keys, &it);
	while ((queue = touched_iterate(keys->keys, &it)) != NULL)
		for (AuditTouched *row = queue->first; row; row = row->next)
			n += !row->absent;
	return n;
}

/* Puts what the row had then into its cells. */
void
AuditTouchedCells(const AuditTouched *row, AuditCell *cells)
{
	for (int i = 0; i < row->nformers; i++)
		AuditSetCell(&cells[row->formers[i].column], &row->formers[i].value, 0);
}
