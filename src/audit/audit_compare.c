/*
 * audit_compare.c
 *	  Which columns of a row have other bytes than before.
 *
 * Most of an UPDATE's columns keep their bytes.  Taking both tuples apart into
 * datums and comparing those costs more than everything else the audit does for
 * the row, so the tuples are compared as they lie on the page:
 *
 *	- while both are at the same offset, columns that end before the next byte that
 *	  differs are equal, and need only be stepped over in one of them;
 *	- where offsets have parted (a value became longer), each is stepped over in
 *	  both and compared.
 *
 * Bytes that differ say nothing yet (1.0 and 1.00); equal bytes, TOAST pointers
 * among them, mean no change.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "utils/memutils.h"

#include "audit/audit.h"

/* Called with palloc'd memory of the entry as current context. */
void
AuditPrepareCompare(AuditTable *table, TupleDesc desc)
{
	table->atts = palloc(sizeof(AuditAttr) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		table->atts[i].len = att->attlen;
		table->atts[i].align = att->attalign;
		table->atts[i].byval = att->attbyval;
		table->atts[i].column = -1;
	}
	for (int i = 0; i < table->ncols; i++)
		table->atts[table->cols[i].attnum - 1].column = i;
}

/* The offset of the first byte from "from" on that differs, or len. */
static uint32
first_difference(const char *a, const char *b, uint32 from, uint32 len)
{
	while (from + sizeof(uint64) <= len)
	{
		uint64		x,
					y;

		memcpy(&x, a + from, sizeof(x));
		memcpy(&y, b + from, sizeof(y));
		if (x != y)
			break;
		from += sizeof(uint64);
	}
	while (from < len && a[from] == b[from])
		from++;
	return from;
}

/*
 * Candidates for a change, in the order of their column numbers.  -1 when the
 * tuples cannot be compared this way: columns were added after one was written.
 */
int
AuditCompareTuples(const AuditTable *table, HeapTuple oldtup, HeapTuple newtup,
				   AuditCandidate *out)
{
	HeapTupleHeader o = oldtup->t_data;
	HeapTupleHeader n = newtup->t_data;
	const char *odata = (char *) o + o->t_hoff;
	const char *ndata = (char *) n + n->t_hoff;
	bool		onulls = (o->t_infomask & HEAP_HASNULL) != 0;
	bool		nnulls = (n->t_infomask & HEAP_HASNULL) != 0;
	uint32		common = Min(oldtup->t_len - o->t_hoff, newtup->t_len - n->t_hoff);
	uint32		ooff = 0;
	uint32		noff = 0;
	uint32		differs;
	int			found = 0;

	if (HeapTupleHeaderGetNatts(o) < table->natts || HeapTupleHeaderGetNatts(n) < table->natts)
		return -1;
	differs = first_difference(odata, ndata, 0, common);
	for (int i = 0; i < table->natts; i++)
	{
		const AuditAttr *att = &table->atts[i];
		bool		onull = onulls && att_isnull(i, o->t_bits);
		bool		nnull = nnulls && att_isnull(i, n->t_bits);
		bool		together = ooff == noff;
		uint32		ostart = 0;
		uint32		nstart = 0;

		if (onull && nnull)
			continue;
		if (!onull)
		{
			ostart = att_align_pointer(ooff, att->align, att->len, odata + ooff);
			ooff = att_addlength_pointer(ostart, att->len, odata + ostart);
			/* the same place, and nothing but equal bytes up to its end */
			if (together && !nnull && ooff <= differs)
			{
				noff = ooff;
				continue;
			}
		}
		if (!nnull)
		{
			nstart = att_align_pointer(noff, att->align, att->len, ndata + noff);
			noff = att_addlength_pointer(nstart, att->len, ndata + nstart);
		}
		if (ooff == noff && ooff > differs)
			differs = first_difference(odata, ndata, ooff, common);
		else if (ooff != noff)
			differs = 0;
		if (att->column < 0 ||
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
