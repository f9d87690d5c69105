/*
 * history_names.c
 *	  Which column of a history table is which, by its name.
 *
 * The application names the copy of a column after the column, by one of four rules.
 * They are tried in this order; a rule takes only columns that are left, on both sides.
 * Behind each: in how many of the 213 tables with a base of their name, as published, it
 * maps at least one column (t/history_structure.pl counts).
 *
 *	h		"h" and the name: cnttnum is hcnttnum						207
 *	his		"his" and the name: cmecmid is hiscmecmid					7
 *	same	the name itself: nothing is put before it					4
 *	short	another prefix in place of the base's: prsnombre is hpnombre	6
 *
 * For "short" neither prefix is known.  All pairs of prefixes are tried that the columns
 * left over can have; a pair counts the columns that it maps to a column of the same type.
 * The best pair wins if it maps three columns or more and what is equal behind the
 * prefixes is two characters or more; of pairs that map as many, the shortest.  A name that
 * was shortened in itself (vigente is vigent) is found by no rule: the plan lists it, and
 * history_define() maps it.
 *
 * The time, the user and the operation of a change are found by what the names end in;
 * the lists are below.  Of 230 tables 226 have a time, 223 a user, 20 an operation.  Where
 * a table has more than one candidate under the first word that fits, none is taken.
 *
 * Nothing here reads a catalog; memory is the caller's context.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "history/history.h"

#define MIN_SHORT_COLUMNS	3
#define MIN_STEM			2
#define MAX_PREFIX			8

/* ---- columns of the base ------------------------------------------------------------- */

static void
map(HistoryColumns *his, HistoryColumns *base, int i, int j, HistoryRule rule)
{
	his->column[i].base = j;
	his->column[i].rule = rule;
	base->column[j].base = i;
}

/* One of the rules that know their prefix. */
static void
map_by_prefix(HistoryColumns *his, HistoryColumns *base, const char *prefix, HistoryRule rule)
{
	int			len = strlen(prefix);

	for (int i = 0; i < his->n; i++)
	{
		if (his->column[i].base >= 0 || strncmp(his->column[i].name, prefix, len) != 0)
			continue;
		for (int j = 0; j < base->n; j++)
			if (base->column[j].base < 0 && strcmp(his->column[i].name + len, base->column[j].name) == 0)
			{
				map(his, base, i, j, rule);
				break;
			}
	}
}

/* How many characters at their ends are equal? */
static int
equal_end(const char *a, int alen, const char *b, int blen)
{
	int			n = 0;

	while (n < alen && n < blen && a[alen - 1 - n] == b[blen - 1 - n])
		n++;
	return n;
}

/* Is this pair of columns mapped by taking hlen and blen bytes off their beginnings? */
static bool
fits(const HistoryColumn *h, int hlen, const HistoryColumn *b, int blen)
{
	int			hn = strlen(h->name) - hlen;
	int			bn = strlen(b->name) - blen;

	return hn == bn && hn >= MIN_STEM && h->type == b->type && strcmp(h->name + hlen, b->name + blen) == 0;
}

/* pairs of prefixes, and how many columns each would map */
typedef struct Tally
{
	HistoryShort *pair;
	int			n;
	int			room;
} Tally;

static void
count_pair(Tally *tally, const char *his, int hlen, const char *base, int blen)
{
	for (int i = 0; i < tally->n; i++)
	{
		HistoryShort *pair = &tally->pair[i];

		if (strlen(pair->his) == hlen && strlen(pair->base) == blen &&
			strncmp(pair->his, his, hlen) == 0 && strncmp(pair->base, base, blen) == 0)
		{
			pair->n++;
			return;
		}
	}
	if (tally->n == tally->room)
	{
		tally->room = Max(16, tally->room * 2);
		tally->pair = tally->pair ? repalloc(tally->pair, tally->room * sizeof(HistoryShort)) :
			palloc(tally->room * sizeof(HistoryShort));
	}
	tally->pair[tally->n].his = pnstrdup(his, hlen);
	tally->pair[tally->n].base = pnstrdup(base, blen);
	tally->pair[tally->n++].n = 1;
}

/*
 * The best pair of prefixes for the columns that are left over, in *prefix; its n is 0
 * when no pair maps any.  Two columns of one type whose names end alike count for each pair
 * of prefixes that leaves two characters or more; a pair finds at most one column of the
 * base for each of the history table's, so that it counts columns.
 */
static void
find_short(const HistoryColumns *his, const HistoryColumns *base, HistoryShort *prefix)
{
	Tally		tally = {0};

	for (int i = 0; i < his->n; i++)
	{
		const HistoryColumn *h = &his->column[i];
		int			hn = strlen(h->name);

		for (int j = 0; h->base < 0 && j < base->n; j++)
		{
			const HistoryColumn *b = &base->column[j];
			int			bn = strlen(b->name);

			if (b->base >= 0 || b->type != h->type)
				continue;
			for (int end = equal_end(h->name, hn, b->name, bn); end >= MIN_STEM; end--)
			{
				if (hn - end > MAX_PREFIX || bn - end > MAX_PREFIX)
					break;
				if (hn > end)
					count_pair(&tally, h->name, hn - end, b->name, bn - end);
			}
		}
	}
	prefix->n = 0;
	for (int i = 0; i < tally.n; i++)
	{
		HistoryShort *pair = &tally.pair[i];

		if (pair->n > prefix->n ||
			(pair->n == prefix->n && strlen(pair->his) + strlen(pair->base) < strlen(prefix->his) + strlen(prefix->base)))
			*prefix = *pair;
	}
}

/*
 * Maps the columns of a history table to those of its base.  Columns whose base is set
 * already stay as they are.  *prefix gets the pair of prefixes of HISTORY_RULE_SHORT.
 */
void
HistoryMapNames(HistoryColumns *his, HistoryColumns *base, HistoryShort *prefix)
{
	map_by_prefix(his, base, "h", HISTORY_RULE_H);
	map_by_prefix(his, base, "his", HISTORY_RULE_HIS);
	map_by_prefix(his, base, "", HISTORY_RULE_SAME);
	find_short(his, base, prefix);
	if (prefix->n < MIN_SHORT_COLUMNS)
	{
		prefix->n = 0;
		return;
	}
	for (int i = 0; i < his->n; i++)
	{
		HistoryColumn *h = &his->column[i];
		int			hlen = strlen(prefix->his);
		int			blen = strlen(prefix->base);

		if (h->base >= 0 || strncmp(h->name, prefix->his, hlen) != 0)
			continue;
		for (int j = 0; j < base->n; j++)
			if (base->column[j].base < 0 && strncmp(base->column[j].name, prefix->base, blen) == 0 &&
				fits(h, hlen, &base->column[j], blen))
			{
				map(his, base, i, j, HISTORY_RULE_SHORT);
				break;
			}
	}
}

/*
 * How many columns of a table without a base of its name would be columns of that one,
 * by one pair of prefixes, types equal?
 */
int
HistoryAlike(const HistoryColumns *his, const HistoryColumns *base)
{
	HistoryShort prefix;

	find_short(his, base, &prefix);
	return prefix.n;
}

/*
 * The prefixes in words: h; his; "" where the names are the same; "hp (prs)"; several,
 * most frequent rule first, with commas.  NULL when nothing is mapped by its name.
 */
char *
HistoryPrefix(const HistoryColumns *his, const HistoryShort *prefix)
{
	static const char *const words[] = {NULL, "h", "his", "\"\"", NULL, NULL};
	int			count[HISTORY_RULE_DEFINED + 1] = {0};
	StringInfoData out;

	for (int i = 0; i < his->n; i++)
		count[his->column[i].rule]++;
	initStringInfo(&out);
	for (;;)
	{
		int			best = HISTORY_RULE_H;

		for (int rule = HISTORY_RULE_H; rule <= HISTORY_RULE_SHORT; rule++)
			if (count[rule] > count[best])
				best = rule;
		if (count[best] == 0)
			break;
		if (out.len > 0)
			appendStringInfoString(&out, ", ");
		if (best == HISTORY_RULE_SHORT)
			appendStringInfo(&out, "%s (%s)", prefix->his, prefix->base);
		else
			appendStringInfoString(&out, words[best]);
		count[best] = 0;
	}
	return out.len > 0 ? out.data : NULL;
}

/* ---- time, user, operation ------------------------------------------------------------ */

static bool
ends_in(const char *name, const char *end)
{
	int			n = strlen(name);
	int			len = strlen(end);

	return n >= len && strcmp(name + n - len, end) == 0;
}

static bool
is_one_of(Oid type, const Oid *types)
{
	for (; OidIsValid(*types); types++)
		if (*types == type)
			return true;
	return false;
}

/*
 * The one column of these types whose name ends in the first of the words that any ends
 * in; -1: none, or several.
 */
static int
find_by_end(const HistoryColumns *his, const char *const *ends, const Oid *types, bool only_extra)
{
	for (; *ends; ends++)
	{
		int			found = -1;
		int			n = 0;

		for (int i = 0; i < his->n; i++)
			if (is_one_of(his->column[i].type, types) && ends_in(his->column[i].name, *ends) &&
				!(only_extra && his->column[i].base >= 0))
			{
				found = i;
				n++;
			}
		if (n > 0)
			return n == 1 ? found : -1;
	}
	return -1;
}

/* The column with the time of a change; -1: none that is clear. */
int
HistoryFindTime(const HistoryColumns *his)
{
	static const char *const ends[] = {
		"hsthora", "hora", "horareg", "fechamodif", "fechamod", "fechacambio", "feccamb", "fecha", NULL
	};
	static const Oid types[] = {TIMESTAMPOID, TIMESTAMPTZOID, DATEOID, InvalidOid};

	return find_by_end(his, ends, types, false);
}

/* The column with the user who made a change; -1: none that is clear. */
int
HistoryFindUser(const HistoryColumns *his)
{
	static const char *const ends[] = {"hstusu", "usumodif", "usuario", "usuid", "usu", NULL};
	static const Oid types[] = {VARCHAROID, BPCHAROID, TEXTOID, NUMERICOID, INT4OID, INT8OID, InvalidOid};

	return find_by_end(his, ends, types, false);
}

/* The column that says what kind of change it was, which the base has not; -1: none. */
int
HistoryFindOperation(const HistoryColumns *his)
{
	static const char *const ends[] = {"hstmodif", "accion", "acciocod", NULL};
	static const Oid types[] = {VARCHAROID, BPCHAROID, TEXTOID, InvalidOid};

	return find_by_end(his, ends, types, true);
}
