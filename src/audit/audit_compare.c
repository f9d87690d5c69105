/*
 * audit_compare.c
 *	  Which columns of a row have other bytes than before.
 *
 * Most of an UPDATE's columns keep their bytes.  Taking both tuples apart into
 * datums and comparing those costs more than everything else the audit does for
 * the row, so the tuples are compared as they lie on the page:
 *
 *	- columns that end before the next byte that differs are equal, and need only be
 *	  stepped over in one of them; where no byte differs any more, not even that;
 *	- behind a value that became longer or shorter the rest is compared at its new
 *	  place.  Padding before an aligned value is the same there if the rest has moved
 *	  by a multiple of the alignment; where it has not, the value is looked at by itself.
 *
 * Bytes that differ say nothing yet (1.0 and 1.00); equal bytes, TOAST pointers
 * among them, mean no change.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "utils/memutils.h"

#include "audit/audit.h"

static int
alignment(char attalign)
{
	switch (attalign)
	{
		case TYPALIGN_CHAR:
			return 1;
		case TYPALIGN_SHORT:
			return ALIGNOF_SHORT;
		case TYPALIGN_INT:
			return ALIGNOF_INT;
		default:
			return ALIGNOF_DOUBLE;
	}
}

/* Fills in table->atts, in the current context, which is the entry's. */
void
AuditPrepareCompare(AuditTable *table, TupleDesc desc)
{
	table->atts = palloc(sizeof(AuditAttr) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		table->atts[i].len = att->attlen;
		table->atts[i].pad = alignment(att->attalign) - 1;
		table->atts[i].byval = att->attbyval;
		table->atts[i].column = -1;
	}
	for (int i = 0; i < table->ncols; i++)
		table->atts[table->cols[i].attnum - 1].column = i;
}

/* How many of the first len bytes are equal. */
static uint32
equal_bytes(const char *a, const char *b, uint32 len)
{
	uint32		n = 0;

	while (n + sizeof(uint64) <= len)
	{
		uint64		x;
		uint64		y;

		memcpy(&x, a + n, sizeof(x));
		memcpy(&y, b + n, sizeof(y));
		if (x != y)
			break;
		n += sizeof(uint64);
	}
	while (n < len && a[n] == b[n])
		n++;
	return n;
}

/* Is a value that follows at off aligned?  A varlena with a short header is not. */
static inline bool
is_aligned(const AuditAttr *att, const char *data, uint32 off)
{
	return att->len != -1 || data[off] == 0;
}

static inline uint32
start_of(const AuditAttr *att, const char *data, uint32 off)
{
	return is_aligned(att, data, off) ? (off + att->pad) & ~(uint32) att->pad : off;
}

static inline uint32
end_of(const AuditAttr *att, const char *data, uint32 start)
{
	if (att->len > 0)
		return start + att->len;
	if (att->len == -1)
		return start + VARSIZE_ANY(data + start);
	return start + strlen(data + start) + 1;
}

/* Do both rows have NULL in the same columns? */
static bool
same_nulls(HeapTupleHeader o, HeapTupleHeader n, int natts)
{
	if (!(o->t_infomask & n->t_infomask & HEAP_HASNULL))
		return !((o->t_infomask | n->t_infomask) & HEAP_HASNULL);
	return memcmp(o->t_bits, n->t_bits, BITMAPLEN(natts)) == 0;
}

/* Is this a varlena with a header of one byte, as nearly all are?  No padding comes before it. */
static inline bool
is_short(const AuditAttr *att, const char *data)
{
	return att->len == -1 && VARATT_IS_SHORT(data) && !VARATT_IS_EXTERNAL(data);
}

/*
 * Steps over columns that consist of nothing but equal bytes, from column i on,
 * while both rows have NULL in the same places (nulls, or none).  Returns the first
 * column that needs a look.
 */
static int
skip_equal(const AuditTable *table, int i, const bits8 *nulls, const char *data, uint32 *offset,
		   uint32 same_to, uint32 shift)
{
	uint32		off = *offset;

	for (; i < table->natts; i++)
	{
		const AuditAttr *att = &table->atts[i];
		uint32		end;

		if (nulls != NULL && att_isnull(i, nulls))
			continue;
		if (likely(is_short(att, data + off)))
			end = off + VARSIZE_SHORT(data + off);
		else
		{
			/* padding before it may have another length in the other row */
			if ((shift & att->pad) != 0 && is_aligned(att, data, off))
				break;
			end = end_of(att, data, start_of(att, data, off));
		}
		if (end > same_to)
			break;
		off = end;
	}
	*offset = off;
	return i;
}

/*
 * Which columns have other bytes in the new tuple than in the old one.  Writes them to
 * out, which has room for all, in the order of their column numbers, and returns how many
 * they are.  Their datums point into the tuples.  Returns -1 when the tuples cannot be
 * compared this way: one was written before a column was added.
 */
int
AuditCompareTuples(const AuditTable *table, HeapTuple oldtup, HeapTuple newtup,
				   AuditCandidate *out)
{
	HeapTupleHeader o = oldtup->t_data;
	HeapTupleHeader n = newtup->t_data;
	const char *odata = (char *) o + o->t_hoff;
	const char *ndata = (char *) n + n->t_hoff;
	const bits8 *onulls = (o->t_infomask & HEAP_HASNULL) ? o->t_bits : NULL;
	const bits8 *nnulls = (n->t_infomask & HEAP_HASNULL) ? n->t_bits : NULL;
	bool		nulls_alike = same_nulls(o, n, table->natts);
	uint32		olen = oldtup->t_len - o->t_hoff;
	uint32		nlen = newtup->t_len - n->t_hoff;
	uint32		ooff = 0;
	uint32		noff = 0;
	int			found = 0;

	if (HeapTupleHeaderGetNatts(o) < table->natts || HeapTupleHeaderGetNatts(n) < table->natts)
		return -1;
	for (int i = 0; i < table->natts; i++)
	{
		const AuditAttr *att;
		bool		onull;
		bool		nnull;
		uint32		ostart = 0;
		uint32		nstart = 0;

		if (nulls_alike)
		{
			uint32		shift = noff - ooff;
			uint32		same = equal_bytes(odata + ooff, ndata + noff, Min(olen - ooff, nlen - noff));

			/* equal up to the end, and padded alike: so are the columns */
			if (ooff + same == olen && noff + same == nlen && shift % MAXIMUM_ALIGNOF == 0)
				break;
			i = skip_equal(table, i, onulls, odata, &ooff, ooff + same, shift);
			noff = ooff + shift;
			if (i == table->natts)
				break;
		}
		att = &table->atts[i];
		onull = onulls != NULL && att_isnull(i, onulls);
		nnull = nnulls != NULL && att_isnull(i, nnulls);
		if (!onull)
		{
			ostart = start_of(att, odata, ooff);
			ooff = end_of(att, odata, ostart);
		}
		if (!nnull)
		{
			nstart = start_of(att, ndata, noff);
			noff = end_of(att, ndata, nstart);
		}
		if (att->column < 0 || (onull && nnull) ||
			(!onull && !nnull && ooff - ostart == noff - nstart &&
			 memcmp(odata + ostart, ndata + nstart, ooff - ostart) == 0))
			continue;
		out[found].column = att->column;
		out[found].oldnull = onull;
		out[found].newnull = nnull;
		out[found].oldval = onull ? (Datum) 0 : fetch_att(odata + ostart, att->byval, att->len);
		out[found].newval = nnull ? (Datum) 0 : fetch_att(ndata + nstart, att->byval, att->len);
		found++;
	}
	return found;
}

/*
 * Are two datums of a column, neither of them null, the same bytes?  If so, no conversion
 * is needed.  False says nothing: 1.0 and 1.00 are different bytes.
 */
bool
AuditSameDatum(const AuditColumn *col, Datum a, Datum b)
{
	struct varlena *x;
	struct varlena *y;
	Size		len;

	if (col->typbyval)
		return a == b;
	if (col->typlen > 0)
		return memcmp(DatumGetPointer(a), DatumGetPointer(b), col->typlen) == 0;
	if (col->typlen == -2)
		return strcmp(DatumGetCString(a), DatumGetCString(b)) == 0;

	x = (struct varlena *) DatumGetPointer(a);
	y = (struct varlena *) DatumGetPointer(b);
	/* the same TOAST pointer, or the same bytes in the same form */
	len = VARSIZE_ANY(x);
	if (len == VARSIZE_ANY(y) && memcmp(x, y, len) == 0)
		return true;
	if (VARATT_IS_EXTENDED(x) || VARATT_IS_EXTENDED(y))
	{
		if (VARATT_IS_SHORT(x) && VARATT_IS_SHORT(y))
			return false;
		/* unlike lengths cannot be the same bytes, whatever their form */
		if (toast_raw_datum_size(a) != toast_raw_datum_size(b))
			return false;
		x = PG_DETOAST_DATUM_PACKED(a);
		y = PG_DETOAST_DATUM_PACKED(b);
		len = VARSIZE_ANY_EXHDR(x);
		return len == VARSIZE_ANY_EXHDR(y) && memcmp(VARDATA_ANY(x), VARDATA_ANY(y), len) == 0;
	}
	return false;
}
