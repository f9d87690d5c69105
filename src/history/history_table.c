/*
 * history_table.c
 *	  All that is known of one history table without reading a row of it.
 *
 * HistoryFill() puts together what the catalogs say and what history_define() was told.
 * A definition wins over what is found, and only where it says something.  It names columns,
 * so that it survives a dump; one that names what is not there any more is a problem
 * ("definition") and not an error: the plan goes on with the other tables.
 *
 * The key is that of the base, as columns of the history table:
 *
 *	1. as defined
 *	2. the base's primary key
 *	3. a unique index of it: no condition, no expression, columns that are not null; the
 *	   one with the fewest columns
 *	4. guessed: the first column of the base, if it is mapped and not null.  The published
 *	   structure has no keys; the first column of nearly every table is its number.  What
 *	   the rows say can refuse the guess, or make it longer (history_evidence.c)
 *
 * Nothing is opened or waited for here.  HistoryFillLocked() takes the weakest lock on both
 * tables, if that is possible at once, for those who go on to read rows.  Memory is the
 * caller's context.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "common/catalog.h"
#include "common/names.h"
#include "common/sentence.h"
#include "compat.h"
#include "history/history.h"

/* ---- problems ------------------------------------------------------------------------- */

/* Notes a problem, unless there is one already: the first is what has to be mended first. */
void
HistoryProblem(HistoryTable *table, const char *code, const char *format,...)
{
	va_list		args;

	if (table->problem_code != NULL)
		return;
	table->problem_code = code;
	va_start(args, format);
	table->problem = SentenceOf(format, args);
	va_end(args);
}

/* ---- the key -------------------------------------------------------------------------- */

/*
 * Are the columns of this index a key?  Then they are in key[], as indexes of the history
 * table's columns, and their number is returned, else 0.
 */
static int
key_of_index(const HistoryTable *table, Form_pg_index index, int *key)
{
	if (index->indnkeyatts > HISTORY_MAX_KEY)
		return 0;
	for (int i = 0; i < index->indnkeyatts; i++)
	{
		AttrNumber	attnum = index->indkey.values[i];
		int			j;

		for (j = 0; j < table->base.n && table->base.column[j].attnum != attnum; j++)
			;
		if (j == table->base.n || table->base.column[j].base < 0 || !table->base.column[j].notnull)
			return 0;
		key[i] = table->base.column[j].base;
	}
	return index->indnkeyatts;
}

/* The base's primary key or unique index, see above. */
static void
find_key_by_index(HistoryTable *table)
{
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBegin(&rows, IndexRelationId, IndexIndrelidIndexId, Anum_pg_index_indrelid, table->baseid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);
		int			key[HISTORY_MAX_KEY];
		int			n;

		if (!index->indisunique || !index->indisvalid || !index->indisready || !index->indimmediate ||
			!heap_attisnull(tuple, Anum_pg_index_indpred, NULL) ||
			!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL))
			continue;
		n = key_of_index(table, index, key);
		if (n == 0 || table->key_from == HISTORY_KEY_PRIMARY ||
			(!index->indisprimary && table->key_from == HISTORY_KEY_UNIQUE && n >= table->nkeys))
			continue;
		memcpy(table->key, key, sizeof(int) * n);
		table->nkeys = n;
		table->key_from = index->indisprimary ? HISTORY_KEY_PRIMARY : HISTORY_KEY_UNIQUE;
	}
	CatalogEnd(&rows);
}

static void
find_key(HistoryTable *table)
{
	const HistoryColumn *first = table->base.n > 0 ? &table->base.column[0] : NULL;

	find_key_by_index(table);
	if (table->nkeys == 0 && first && first->base >= 0 && first->notnull)
	{
		table->key[0] = first->base;
		table->nkeys = 1;
		table->key_from = HISTORY_KEY_GUESSED;
	}
}

/* Is this base's column one of the key's? */
static bool
is_key(const HistoryTable *table, AttrNumber attnum)
{
	for (int i = 0; i < table->nkeys; i++)
	{
		int			base = table->his.column[table->key[i]].base;

		if (base >= 0 && table->base.column[base].attnum == attnum)
			return true;
	}
	return false;
}

/*
 * An index of the base that begins with the columns of the key, in any order, through
 * which a key can be looked up: a B-tree without a condition.  InvalidOid: none.
 */
static Oid
find_key_index(const HistoryTable *table)
{
	CatalogRows rows;
	HeapTuple	tuple;
	Oid			found = InvalidOid;

	CatalogBegin(&rows, IndexRelationId, IndexIndrelidIndexId, Anum_pg_index_indrelid, table->baseid);
	while (!OidIsValid(found) && HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);

		/* an index that some snapshots must not use (broken HOT chains) is left alone */
		bool		fits = index->indisvalid && !index->indcheckxmin && index->indnkeyatts >= table->nkeys && table->nkeys > 0 &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
		heap_attisnull(tuple, Anum_pg_index_indexprs, NULL);

		for (int i = 0; fits && i < table->nkeys; i++)
			fits = is_key(table, index->indkey.values[i]);
		if (fits && CatalogOid(RELOID, index->indexrelid, Anum_pg_class_relam) == BTREE_AM_OID)
			found = index->indexrelid;
	}
	CatalogEnd(&rows);
	return found;
}

/* ---- the definition --------------------------------------------------------------------- */

/* The index of a column that a definition names; -1, and a problem, when it is gone. */
static int
defined_column(HistoryTable *table, const HistoryColumns *columns, Oid relid, const char *name)
{
	int			i = HistoryColumnIndex(columns, name);

	if (i < 0)
		HistoryProblem(table, "definition", "its definition names column \"%s\", which %s does not have",
					   name, OidIsValid(relid) && get_rel_name(relid) ? NamesQualified(relid) : "the base");
	return i;
}

/* The columns that a definition maps, or says have no counterpart: before the rules of names. */
static void
map_defined(HistoryTable *table)
{
	HistoryDefinition *def = table->defined;

	for (int i = 0; i < list_length(def->his); i++)
	{
		char	   *name = list_nth(def->base, i);
		int			his = defined_column(table, &table->his, table->relid, list_nth(def->his, i));
		int			base = name ? defined_column(table, &table->base, table->baseid, name) : -1;

		if (his < 0 || (name && base < 0))
			continue;
		table->his.column[his].base = base;
		table->his.column[his].rule = HISTORY_RULE_DEFINED;
		if (base >= 0)
			table->base.column[base].base = his;
	}
}

/* What a definition says of key, time, user, operation and convention. */
static void
apply_defined(HistoryTable *table)
{
	HistoryDefinition *def = table->defined;
	ListCell   *lc;

	if (def->key != NIL)
	{
		table->nkeys = 0;
		table->key_from = HISTORY_KEY_DEFINED;
		foreach(lc, def->key)
		{
			int			i = defined_column(table, &table->his, table->relid, lfirst(lc));

			if (i >= 0 && table->nkeys < HISTORY_MAX_KEY)
				table->key[table->nkeys++] = i;
		}
	}
	if (def->changed_at)
		table->time = defined_column(table, &table->his, table->relid, def->changed_at);
	if (def->changed_by)
		table->user = defined_column(table, &table->his, table->relid, def->changed_by);
	if (def->operation)
		table->operation = defined_column(table, &table->his, table->relid, def->operation);
	table->holds = def->holds;
	table->time_zone = def->time_zone;
}

/* ---- the whole -------------------------------------------------------------------------- */

static bool
is_plain_table(HistoryTable *table, Oid relid, const char *what)
{
	char		kind = get_rel_relkind(relid);

	if (kind == RELKIND_RELATION)
		return true;
	HistoryProblem(table, "not_a_table", "%s is not an ordinary table", what);
	return false;
}

static void
find_base(HistoryTable *table, HistorySchema *schema)
{
	if (table->defined && OidIsValid(table->defined->baseid))
	{
		table->baseid = table->defined->baseid;
		table->base_from = HISTORY_BASE_DEFINED;
		if (get_rel_name(table->baseid) == NULL)
		{
			HistoryProblem(table, "definition", "its definition names a base that is gone");
			table->baseid = InvalidOid;
		}
	}
	else
		table->baseid = HistoryFindBase(table->relid, &table->his, schema, &table->base_from);
	if (OidIsValid(table->baseid))
		HistoryReadColumns(table->baseid, &table->base);
}

/* What is missing, in the order in which it has to be mended. */
static void
find_problems(HistoryTable *table)
{
	int			mapped = 0;

	if (!is_plain_table(table, table->relid, "it"))
		return;
	if (!OidIsValid(table->baseid))
	{
		HistoryProblem(table, "no_base", "no table is called like it without \"his\", and no other has its columns");
		return;
	}
	if (!is_plain_table(table, table->baseid, "the base"))
		return;
	for (int i = 0; i < table->his.n; i++)
		mapped += table->his.column[i].base >= 0;
	if (mapped == 0)
		HistoryProblem(table, "columns", "none of its columns is one of the base");
	if (table->nkeys == 0)
		HistoryProblem(table, "no_key", "no key of the base is found in it");
	if (table->time < 0)
		HistoryProblem(table, "no_time", "no column is clearly the time of the change");
}

/*
 * Fills *table from the catalogs and its definition, which may be NULL.  *schema is what was
 * read of a schema's columns for other tables.  Raises nothing about the
 * table: what is wrong with it is its problem.  Everything is in the current context.
 */
void
HistoryFill(HistoryTable *table, Oid relid, HistoryDefinition *definition, HistorySchema *schema)
{
	memset(table, 0, sizeof(*table));
	table->relid = relid;
	table->defined = definition;
	table->time = table->user = table->operation = -1;
	if (get_rel_name(relid) == NULL)
	{
		HistoryProblem(table, "dropped", "it has been dropped by somebody else");
		return;
	}
	HistoryReadColumns(relid, &table->his);
	find_base(table, schema);
	if (definition)
		map_defined(table);
	if (OidIsValid(table->baseid))
	{
		HistoryMapNames(&table->his, &table->base, &table->prefix);
		find_key(table);
	}
	table->time = HistoryFindTime(&table->his);
	table->user = HistoryFindUser(&table->his);
	table->operation = HistoryFindOperation(&table->his);
	if (definition)
		apply_defined(table);
	if (OidIsValid(table->baseid))
		table->key_index = find_key_index(table);
	find_problems(table);
}

/* ---- reading rows of it ------------------------------------------------------------------ */

/* ACCESS SHARE on the history table and its base, if nobody has to be waited for. */
static bool
lock_both(HistoryTable *table)
{
	if (!ConditionalLockRelationOid(table->relid, AccessShareLock))
	{
		HistoryProblem(table, "in_use", "it is locked by another transaction");
		return false;
	}
	if (OidIsValid(table->baseid) && !ConditionalLockRelationOid(table->baseid, AccessShareLock))
	{
		UnlockRelationOid(table->relid, AccessShareLock);
		HistoryProblem(table, "in_use", "its base is locked by another transaction");
		return false;
	}
	return true;
}

/*
 * HistoryFill() with ACCESS SHARE on the table and its base, which nobody has been waited
 * for.  False, with the problem in_use, when a lock cannot be had: what is filled in is what the
 * catalogs said, and no lock is held.  HistoryUnlock() gives both back.
 */
bool
HistoryFillLocked(HistoryTable *table, Oid relid, HistoryDefinition *definition, HistorySchema *schema)
{
	HistoryTable first;

	HistoryFill(table, relid, definition, schema);
	if (!lock_both(table))
	{
		/* the lock is what stands in the way first */
		if (strcmp(table->problem_code, "in_use") != 0)
		{
			table->problem_code = NULL;
			HistoryProblem(table, "in_use", "it or its base is locked by another transaction");
		}
		return false;
	}
	/* a table may have been altered before it was locked */
	first = *table;
	HistoryFill(table, relid, definition, schema);
	if (table->baseid == first.baseid)
		return true;
	HistoryUnlock(&first);
	HistoryProblem(table, "in_use", "it is being changed by another transaction");
	return false;
}

/* Gives back the locks that HistoryFillLocked() has taken. */
void
HistoryUnlock(HistoryTable *table)
{
	UnlockRelationOid(table->relid, AccessShareLock);
	if (OidIsValid(table->baseid))
		UnlockRelationOid(table->baseid, AccessShareLock);
}

static bool
may_read(HistoryTable *table, Oid relid)
{
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
	{
		HistoryProblem(table, "no_right", "role %s may not read %s", GetUserNameFromId(GetUserId(), false),
					   NamesQualified(relid));
		return false;
	}
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
	{
		HistoryProblem(table, "row_security", "row security hides rows of %s from role %s", NamesQualified(relid),
					   GetUserNameFromId(GetUserId(), false));
		return false;
	}
	return true;
}

/* May the current user read all rows of both tables?  If not, it is the table's problem. */
bool
HistoryCheckReadable(HistoryTable *table)
{
	return may_read(table, table->relid) && (!OidIsValid(table->baseid) || may_read(table, table->baseid));
}
