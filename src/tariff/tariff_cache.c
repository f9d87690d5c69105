/*
 * tariff_cache.c
 *	  Parsed tariffs, kept between the calls of one call site.
 *
 * A cache belongs to one FmgrInfo (fn_extra) and one argument.  A tariff is
 * found by the bytes of its datum as it is passed: inline and compressed values
 * by their whole content, values stored out of line by their TOAST pointer, so
 * that a tariff of 250 blocks is neither fetched nor decompressed for every row.
 * Nothing invalidates an entry, because equal bytes are equal tariffs.  The
 * exception is the TOAST pointer: its value could be deleted later and its number
 * be given to another value.  So it is valid for one statement only.
 *
 * Each entry has a memory context of its own.  It becomes a child of the cache's
 * context when the entry is complete, so an error while parsing leaves nothing
 * behind.  A full cache is emptied and filled again.  That costs one parse per
 * tariff, and a billing run has hundreds of tariffs, not thousands.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "nodes/primnodes.h"
#include "utils/memutils.h"

#include "tariff/tariff.h"

#define CACHE_BUCKETS 256
#define CACHE_MAX_ENTRIES 1024
#define CACHE_MAX_BYTES (32 * 1024 * 1024)
#define ENTRIES_PER_CHECK 16	/* memory is added up once for so many entries */
#define SHOWN_FAULTS 10

struct TariffCache
{
	MemoryContext mcxt;			/* holds the entries; reset when full */
	bool		concepts;		/* of concept arrays, not of tariffs */
	bool		is_constant;	/* the argument is a Const: same address, same value */
	const void *last_address;
	TariffEntry *last;			/* the entry of the call before, or NULL */
	int			nentries;
	TariffEntry *bucket[CACHE_BUCKETS];
};

/* A new cache for an argument (from 0) of the function, in its fn_mcxt. */
TariffCache *
TariffCacheCreate(FmgrInfo *flinfo, int argument, bool concepts)
{
	TariffCache *cache = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(TariffCache));
	Node	   *expr = flinfo->fn_expr;

	cache->mcxt = AllocSetContextCreate(flinfo->fn_mcxt, "aquacis tariffs",
										ALLOCSET_SMALL_SIZES);
	cache->concepts = concepts;
	if (expr && IsA(expr, FuncExpr) && list_length(((FuncExpr *) expr)->args) > argument)
		cache->is_constant = IsA(list_nth(((FuncExpr *) expr)->args, argument), Const);
	return cache;
}

static void
forget_all(TariffCache *cache)
{
	cache->last = NULL;
	cache->nentries = 0;
	memset(cache->bucket, 0, sizeof(cache->bucket));
	MemoryContextReset(cache->mcxt);
}

/*
 * Does the cache have no room for an entry whose datum has this size?  Entries grow
 * after they were made, so their memory is added up again from time to time, and
 * for every large new entry.
 */
static bool
is_full(const TariffCache *cache, Size size)
{
	if (cache->nentries >= CACHE_MAX_ENTRIES)
		return true;
	if (cache->nentries % ENTRIES_PER_CHECK != 0 && size < CACHE_MAX_BYTES / CACHE_MAX_ENTRIES)
		return false;
	return MemoryContextMemAllocated(cache->mcxt, true) >= CACHE_MAX_BYTES;
}

static inline uint64
mix(uint64 hash, const char *bytes)
{
	uint64		word;

	memcpy(&word, bytes, sizeof(word));
	hash = (hash ^ word) * UINT64CONST(0xFF51AFD7ED558CCD);
	return hash ^ (hash >> 32);
}

/*
 * Fast, and good enough to choose a bucket; memcmp decides about equality.  Four
 * independent accumulators, so that the multiplications overlap.
 */
static uint64
hash_value(const char *bytes, Size size)
{
	uint64		hash = size * UINT64CONST(0x9E3779B97F4A7C15);
	uint64		hash2 = 2;
	uint64		hash3 = 3;
	uint64		hash4 = 4;
	uint64		rest = 0;

	for (; size >= 4 * sizeof(uint64); bytes += 4 * sizeof(uint64), size -= 4 * sizeof(uint64))
	{
		hash = mix(hash, bytes);
		hash2 = mix(hash2, bytes + sizeof(uint64));
		hash3 = mix(hash3, bytes + 2 * sizeof(uint64));
		hash4 = mix(hash4, bytes + 3 * sizeof(uint64));
	}
	hash = mix(hash, (const char *) &hash2);
	hash = mix(hash, (const char *) &hash3);
	hash = mix(hash, (const char *) &hash4);
	for (; size >= sizeof(uint64); bytes += sizeof(uint64), size -= sizeof(uint64))
		hash = mix(hash, bytes);
	memcpy(&rest, bytes, size);
	hash = (hash ^ rest) * UINT64CONST(0xC4CEB9FE1A85EC53);
	return hash ^ (hash >> 29);
}

static inline bool
is_same(const TariffEntry *entry, const char *bytes, Size size)
{
	return entry->size == size && memcmp(entry->key, bytes, size) == 0 &&
		(!entry->is_pointer || entry->statement == GetCurrentStatementStartTimestamp());
}

/* Raises 22023 with the faults as DETAIL, one per line. */
static void
refuse(const TariffCache *cache, const TariffEntry *entry, List *faults)
{
	StringInfoData detail;
	ListCell   *cell;
	int			shown = 0;

	initStringInfo(&detail);
	foreach(cell, faults)
	{
		if (shown++ == SHOWN_FAULTS)
		{
			appendStringInfoString(&detail, "\n...");
			break;
		}
		appendStringInfo(&detail, "%s%s", detail.len ? "\n" : "", (char *) lfirst(cell));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 cache->concepts ? errmsg("invalid additional concepts") :
			 errmsg("invalid tariff%s", TariffQuotedName(&entry->tariff)),
			 errdetail("%s", detail.data),
			 cache->concepts ? errhint("Put the concepts into the tariff and call tariff_errors "
									   "to see every fault.") :
			 errhint("Call tariff_errors to see every fault.")));
}

/* Makes the texts of the concepts' lines, once for all bills. */
static void
fill_texts(TariffEntry *entry)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(entry->mcxt);
	TariffBillOut bill = {.concepts = &entry->concepts};

	entry->texts = palloc(sizeof(TariffLineTexts) * (entry->concepts.n + 1));
	for (int i = 0; i < entry->concepts.n; i++)
		TariffFillTexts(&bill, i + 1, &entry->texts[i]);
	MemoryContextSwitchTo(oldcontext);
}

/* Parses the value and adds it to the cache; raises 22023 if it is invalid. */
static TariffEntry *
parse(TariffCache *cache, Datum value, const char *bytes, Size size, uint64 hash)
{
	MemoryContext mcxt = AllocSetContextCreate(CurrentMemoryContext, "aquacis tariff",
											   ALLOCSET_SMALL_SIZES);
	TariffEntry *entry = MemoryContextAllocZero(mcxt, sizeof(TariffEntry));
	char	   *key = MemoryContextAllocHuge(mcxt, size);
	List	   *faults = NIL;
	TariffEntry **bucket;

	entry->mcxt = mcxt;
	if (!TariffParseJsonb(DatumGetJsonbP(value), cache->concepts, entry,
						  SHOWN_FAULTS + 1, &faults))
		refuse(cache, entry, faults);
	if (!cache->concepts)
		TariffFixedPrepare(entry);
	fill_texts(entry);

	memcpy(key, bytes, size);
	entry->key = key;
	entry->size = size;
	entry->hash = hash;
	entry->is_pointer = VARATT_IS_EXTERNAL_ONDISK(bytes);
	entry->statement = GetCurrentStatementStartTimestamp();

	if (is_full(cache, size))
		forget_all(cache);
	MemoryContextSetParent(mcxt, cache->mcxt);
	bucket = &cache->bucket[hash % CACHE_BUCKETS];
	entry->next = *bucket;
	*bucket = entry;
	cache->nentries++;
	return entry;
}

/*
 * The parsed tariff (or concepts).  It stays in the cache at least until the next
 * call with this cache.  Raises 22023 if the value is invalid; the DETAIL says why.
 */
TariffEntry *
TariffCacheGet(TariffCache *cache, Datum value)
{
	const char *bytes = DatumGetPointer(value);
	TariffEntry *entry = cache->last;
	Size		size;
	uint64		hash;

	if (cache->is_constant && entry && cache->last_address == bytes)
		return entry;
	cache->last_address = bytes;

	/* an in-memory TOAST pointer (indirect or expanded) has no bytes to compare */
	if (unlikely(VARATT_IS_EXTERNAL(bytes) && !VARATT_IS_EXTERNAL_ONDISK(bytes)))
	{
		bytes = (const char *) detoast_attr((struct varlena *) bytes);
		value = PointerGetDatum(bytes);
	}
	size = VARSIZE_ANY(bytes);
	if (entry && is_same(entry, bytes, size))
		return entry;

	hash = hash_value(bytes, size);
	for (entry = cache->bucket[hash % CACHE_BUCKETS]; entry; entry = entry->next)
		if (entry->hash == hash && is_same(entry, bytes, size))
			break;
	if (entry == NULL)
		entry = parse(cache, value, bytes, size, hash);
	cache->last = entry;
	return entry;
}
