/*
 * audit_chain.c
 *	  The versions of a row, from the entries of one life of it.
 *
 * A life begins when the row is inserted, or before the log, and ends when it is deleted, or
 * not yet.  Its states are computed backward.  The newest image is the row of today, or what
 * the D holds; the old values of each U, put back, give the state before it.  Where
 * there is no such image (TRUNCATE, a row that went while nobody logged), the newest state
 * is what the entries say: the image of the I, with the new values of each U.
 *
 * Every entry is also checked.  The new values that a U names, and the image of an I or B,
 * must be those of the state after it.  Where one is not, something happened that the log
 * does not have, or it is not in order: all versions that hold the value that is contradicted
 * get certain = false.  The version right after the entry shows what the entry says.
 *
 * A column is held as JSON, as a datum, or both.  A datum is made of the JSON when a
 * version needs it, and serves all earlier versions until a U names the column.  So a
 * version costs one tuple and the columns that changed.
 *
 * What is not known is NULL and named in `unknown`: columns excluded from the audit, a
 * redacted value, a column that an image does not have, a value that the column's present type
 * does not take.  A column that the table has no more is passed over.
 *
 * Pure: no query, no catalog.  Reading a value runs the type's input function.  Everything is
 * in the current context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/jsonb.h"

#include "audit/audit_asof.h"

/* a chain as it is walked, from the newest version to the oldest */
typedef struct Chain
{
	AuditShape *shape;
	bool		safely;			/* an error of an input function is a value that is not known */
	AuditCell  *cells;			/* the state that the walk has come to */
	List	   *versions;		/* of AuditVersion *, newest first */
	int			n;				/* how many */
	bool	   *doubted;		/* of each version: it is not certain */
	bool		has_to;			/* the next version ended then */
	TimestampTz to;
	bool		complete;		/* no column of the table was dropped */
	bool		renamed;		/* an entry names a column that has another name now */
} Chain;

/* ---- cells ---------------------------------------------------------------------------- */

/* The cell gets a value of the log, first shown by the version of that number. */
void
AuditSetCell(AuditCell *cell, const AuditValue *value, int since)
{
	memset(cell, 0, sizeof(*cell));
	cell->since = since;
	if (AuditIsRedacted(value))
		return;
	cell->known = true;
	cell->has_json = true;
	cell->json = *value;
}

static bool
image_value(const AuditShape *shape, Jsonb *image, int column, AuditValue *value)
{
	const AuditColumn *col = &shape->columns[column];
	JsonbValue	json;

	if (getKeyJsonValueFromContainer(&image->root, col->name, col->namelen, &json) == NULL)
		return false;
	AuditValueOfJson(&json, value);
	return true;
}

/* The cells of a row whose image is in the log.  A column that it does not have is not known. */
void
AuditCellsOfImage(const AuditShape *shape, Jsonb *image, AuditCell *cells)
{
	memset(cells, 0, sizeof(AuditCell) * shape->natts);
	for (int i = 0; i < shape->nsorted; i++)
	{
		int			column = shape->sorted[i];
		AuditValue	value;

		if (image_value(shape, image, column, &value))
			AuditSetCell(&cells[column], &value, 0);
	}
}

/* The cells of a row of the table.  They point into it. */
void
AuditCellsOfRow(const AuditShape *shape, HeapTuple row, AuditCell *cells)
{
	memset(cells, 0, sizeof(AuditCell) * shape->natts);
	for (int i = 0; i < shape->natts; i++)
	{
		if (!shape->reads[i].live)
			continue;
		cells[i].known = cells[i].has_datum = true;
		cells[i].datum = heap_getattr(row, i + 1, shape->desc, &cells[i].isnull);
	}
}

/* Has the cell this value?  True also where either is not known. */
static bool
cell_agrees(const AuditShape *shape, int column, AuditCell *cell, const AuditValue *value)
{
	if (!cell->known || AuditIsRedacted(value))
		return true;
	if (!cell->has_json)
	{
		AuditToValue(&shape->columns[column], cell->datum, cell->isnull, &cell->json);
		cell->has_json = true;
	}
	return AuditSameValue(&cell->json, value);
}

/* Gives the cell its datum.  False: it cannot be known. */
static bool
cell_datum(AuditShape *shape, int column, AuditCell *cell, bool safely)
{
	bool		known;

	if (!cell->known || cell->unreadable)
		return false;
	if (cell->has_datum)
		return true;
	known = safely ? AuditReadValueSafely(shape, column, &cell->json, &cell->datum, &cell->isnull) :
		AuditReadValue(shape, column, &cell->json, &cell->datum, &cell->isnull);
	cell->has_datum = known;
	cell->unreadable = !known;
	return known;
}

/*
 * A row of the cells, as the shape's desc has it.  *unknown, if given, gets the numbers of
 * the columns that are NULL because they are not known.  safely: an error of an input
 * function is one of these; otherwise it is raised.
 */
HeapTuple
AuditFormRow(AuditShape *shape, AuditCell *cells, bool safely, List **unknown)
{
	Datum	   *values = palloc0(sizeof(Datum) * Max(shape->natts, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(shape->natts, 1));
	HeapTuple	row;

	for (int i = 0; i < shape->natts; i++)
	{
		nulls[i] = true;
		if (!shape->reads[i].live)
			continue;
		if (!shape->reads[i].hidden && cell_datum(shape, i, &cells[i], safely))
		{
			values[i] = cells[i].datum;
			nulls[i] = cells[i].isnull;
		}
		else if (unknown)
			*unknown = lappend_int(*unknown, i);
	}
	row = heap_form_tuple(shape->desc, values, nulls);
	pfree(values);
	pfree(nulls);
	return row;
}

/* ---- the walk back -------------------------------------------------------------------- */

/* The versions from number `since` to the one to come are not certain. */
static void
doubt(Chain *chain, int since)
{
	for (int i = since; i <= chain->n; i++)
		chain->doubted[i] = true;
}

/* What an entry says of a column in the state after it. */
static void
check_value(Chain *chain, int column, const AuditValue *value)
{
	AuditCell  *cell = &chain->cells[column];

	if (cell->known && cell_agrees(chain->shape, column, cell, value))
		return;
	if (cell->known)
		doubt(chain, cell->since);
	AuditSetCell(cell, value, chain->n);
}

/* The whole row as an I or a B has it. */
static void
check_image(Chain *chain, Jsonb *image)
{
	AuditShape *shape = chain->shape;

	for (int i = 0; image && i < shape->nsorted; i++)
	{
		int			column = shape->sorted[i];
		AuditValue	value;

		if (shape->reads[column].hidden)
			continue;
		if (!image_value(shape, image, column, &value))
			memset(&chain->cells[column], 0, sizeof(AuditCell));
		else if (AuditIsRedacted(&value))
			AuditSetCell(&chain->cells[column], &value, chain->n);
		else
			check_value(chain, column, &value);
	}
}

/* The state is that of a version, which the entry made; NULL: it was there before. */
static void
add_version(Chain *chain, const AuditEntry *entry)
{
	AuditVersion *version = palloc0(sizeof(AuditVersion));

	if (chain->renamed)
		chain->doubted[chain->n] = true;
	version->entry = entry;
	version->has_to = chain->has_to;
	version->to = chain->to;
	version->row = AuditFormRow(chain->shape, chain->cells, chain->safely, &version->unknown);
	chain->versions = lappend(chain->versions, version);
	chain->n++;
	if (entry)
	{
		chain->has_to = true;
		chain->to = entry->at;
	}
}

/* The row has that key. */
static void
set_key(const AuditShape *shape, AuditCell *cells, const AuditValue *key, int since)
{
	for (int i = 0; key && i < shape->nkey; i++)
		AuditSetCell(&cells[shape->key[i]], &key[i], since);
}

/*
 * The state before a U.  A column that the table does not have was dropped, or has another
 * name now: then what that one held before is not known, and no version before is certain.
 */
static void
put_back(Chain *chain, const AuditEntry *entry)
{
	for (int i = 0; i < entry->nchanges; i++)
	{
		const AuditChange *change = &entry->changes[i];
		int			column = AuditShapeFind(chain->shape, change->name, change->len);

		if (column < 0)
			chain->renamed |= chain->complete;
		else if (change->has_old)
			AuditSetCell(&chain->cells[column], &change->old, chain->n);
		else
			memset(&chain->cells[column], 0, sizeof(AuditCell));
	}
	if (entry->moved)
		set_key(chain->shape, chain->cells, entry->key, chain->n);
}

static void
walk_update(Chain *chain, const AuditEntry *entry)
{
	for (int i = 0; i < entry->nchanges; i++)
	{
		const AuditChange *change = &entry->changes[i];
		int			column = AuditShapeFind(chain->shape, change->name, change->len);

		if (column >= 0 && change->has_new && !chain->shape->reads[column].hidden)
			check_value(chain, column, &change->new);
	}
	add_version(chain, entry);
	put_back(chain, entry);
}

/* ---- where the walk begins -------------------------------------------------------------- */

/* The newest state as the entries alone give it, from the oldest on. */
static void
cells_of_entries(const AuditShape *shape, List *entries, AuditCell *cells)
{
	ListCell   *lc;

	memset(cells, 0, sizeof(AuditCell) * Max(shape->natts, 1));
	foreach(lc, entries)
	{
		const AuditEntry *e = lfirst(lc);

		if ((e->action == 'I' || e->action == 'B') && e->new)
			AuditCellsOfImage(shape, e->new, cells);
		for (int i = 0; i < e->nchanges; i++)
		{
			int			column = AuditShapeFind(shape, e->changes[i].name, e->changes[i].len);

			if (column >= 0 && e->changes[i].has_new)
				AuditSetCell(&cells[column], &e->changes[i].new, 0);
		}
		set_key(shape, cells, e->moved ? e->moved : e->key, 0);
	}
}

/* Is a column not known that only the row itself could have told? */
static bool
misses_image(const AuditShape *shape, const AuditCell *cells)
{
	for (int i = 0; i < shape->natts; i++)
		if (shape->reads[i].live && !shape->reads[i].hidden && !cells[i].known)
			return true;
	return false;
}

/* The state in which the life ended, or is. */
static void
begin_walk(Chain *chain, const AuditLife *life)
{
	AuditEntry *last = life->entries ? llast(life->entries) : NULL;

	if (last && last->action == 'D' && last->old)
		AuditCellsOfImage(chain->shape, last->old, chain->cells);
	else if (life->live)
		AuditCellsOfRow(chain->shape, life->live, chain->cells);
	else
	{
		cells_of_entries(chain->shape, life->entries, chain->cells);
		if (misses_image(chain->shape, chain->cells))
			memset(chain->doubted, true, sizeof(bool) * (list_length(life->entries) + 2));
	}
	if (life->lost)
		chain->doubted[0] = true;
	chain->has_to = life->has_end;
	chain->to = life->end;
}

/*
 * The versions of a life, a list of AuditVersion *, oldest first.  safely: as in
 * AuditFormRow(); the same call without it, in a subtransaction, is cheaper and comes first.
 * Raises what input functions raise, unless safely.
 */
List *
AuditVersionsOfLife(AuditShape *shape, const AuditLife *life, bool safely)
{
	int			n = list_length(life->entries);
	Chain		chain = {shape, safely};
	List	   *result = NIL;
	bool		born = false;

	chain.cells = palloc0(sizeof(AuditCell) * Max(shape->natts, 1));
	chain.doubted = palloc0(sizeof(bool) * (n + 2));
	chain.complete = shape->nsorted == shape->natts;
	begin_walk(&chain, life);
	for (int i = n - 1; i >= 0 && !born; i--)
	{
		const AuditEntry *entry = list_nth(life->entries, i);

		CHECK_FOR_INTERRUPTS();
		switch (entry->action)
		{
			case 'U':
				walk_update(&chain, entry);
				break;
			case 'B':
				check_image(&chain, entry->new);
				break;
			case 'I':
				check_image(&chain, entry->new);
				add_version(&chain, entry);
				born = true;
				break;
			default:
				break;
		}
	}
	if (!born)
	{
		if (life->unexplained)
			chain.doubted[chain.n] = true;
		add_version(&chain, NULL);
	}
	for (int i = chain.n - 1; i >= 0; i--)
	{
		AuditVersion *version = list_nth(chain.versions, i);

		version->certain = !chain.doubted[i];
		result = lappend(result, version);
	}
	return result;
}
