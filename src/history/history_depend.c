/*
 * history_depend.c
 *	  Who depends on a history table, and who has read it.
 *
 * Views, foreign keys, triggers, children and functions in SQL that are parsed are in the
 * catalogs; one query finds them for all tables at once.  Other functions only have a text:
 * each text is read once, cut into words, and a word that is the name of a table counts.
 * That can be wrong both ways (a word in a comment; a name that is put together), so it
 * is "names it", not "uses it".  Nothing is run and no definition is parsed.
 *
 * The number of scans is the cumulative statistics system's.  It begins at a reset, or when
 * the server has lost it in a crash, and the table says neither; so 0 counts only where the
 * time of a reset is known, else it is unknown.
 *
 * Everything is in the context of the caller, who has an SPI connection.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/indexing.h"
#include "catalog/pg_index.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "common/catalog.h"
#include "common/settings.h"
#include "common/spi.h"
#include "compat.h"
#include "history/history.h"

typedef struct Dependants
{
	Oid			relid;			/* hash key */
	List	   *texts;			/* of char * */
} Dependants;

typedef struct Named
{
	char		name[NAMEDATALEN];	/* hash key */
	List	   *relids;
	Oid			function;		/* the last that names it: each counts once */
} Named;

static void
add(HTAB *dependants, Oid relid, char *text)
{
	Dependants *one = hash_search(dependants, &relid, HASH_FIND, NULL);

	if (one && !list_member(one->texts, makeString(text)))
		one->texts = lappend(one->texts, makeString(text));
}

/* What the catalogs know; $1 is the list of tables. */
static void
find_in_catalogs(HTAB *dependants, Datum *relids, int n)
{
	static const char *const query =
	"SELECT f.relid, f.what FROM ("
	"SELECT d.refobjid, pg_catalog.concat('view ', r.ev_class::pg_catalog.regclass::pg_catalog.text)"
	" FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid"
	" WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid"
	"  AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid"
	"  AND d.refobjid OPERATOR(pg_catalog.=) ANY ($1) AND r.ev_class OPERATOR(pg_catalog.<>) d.refobjid"
	" UNION SELECT d.refobjid, pg_catalog.concat('function ', d.objid::pg_catalog.regprocedure::pg_catalog.text)"
	" FROM pg_catalog.pg_depend d"
	" WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid"
	"  AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid"
	"  AND d.refobjid OPERATOR(pg_catalog.=) ANY ($1)"
	" UNION SELECT c.conrelid, pg_catalog.concat('foreign key ', c.conname, ' to ', c.confrelid::pg_catalog.regclass::pg_catalog.text)"
	" FROM pg_catalog.pg_constraint c WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND c.conrelid OPERATOR(pg_catalog.=) ANY ($1)"
	" UNION SELECT c.confrelid, pg_catalog.concat('foreign key ', c.conname, ' of ', c.conrelid::pg_catalog.regclass::pg_catalog.text)"
	" FROM pg_catalog.pg_constraint c WHERE c.contype OPERATOR(pg_catalog.=) 'f' AND c.confrelid OPERATOR(pg_catalog.=) ANY ($1)"
	" UNION SELECT t.tgrelid, pg_catalog.concat('trigger ', t.tgname)"
	" FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid OPERATOR(pg_catalog.=) ANY ($1)"
	" UNION SELECT i.inhparent, pg_catalog.concat('child ', i.inhrelid::pg_catalog.regclass::pg_catalog.text)"
	" FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) ANY ($1)"
	" UNION SELECT p.polrelid, pg_catalog.concat('policy ', p.polname)"
	" FROM pg_catalog.pg_policy p WHERE p.polrelid OPERATOR(pg_catalog.=) ANY ($1)"
	") f (relid, what) ORDER BY f.relid, f.what COLLATE pg_catalog.\"C\"";
	SpiArg		arg = SpiDatumArg(OIDARRAYOID, PointerGetDatum(construct_array(relids, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT)));
	uint64		found = SpiQuery(query, 1, &arg);

	for (uint64 i = 0; i < found; i++)
		add(dependants, SpiOid(i, 1), SpiText(i, 2));
}

/* ---- functions that name a table ------------------------------------------------------- */

static bool
is_word_char(unsigned char c)
{
	return isalnum(c) || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

/* Each word of a function's text that is a table's name. */
static void
find_in_text(HTAB *dependants, HTAB *named, Oid function, const char *text)
{
	char		name[NAMEDATALEN];

	while (*text)
	{
		int			len = 0;
		Named	   *entry;
		ListCell   *lc;

		while (*text && !is_word_char(*text))
			text++;
		for (; is_word_char(*text); text++, len++)
			if (len < NAMEDATALEN - 1)
				name[len] = pg_ascii_tolower(*text);
		if (len == 0 || len >= NAMEDATALEN)
			continue;
		memset(name + len, 0, NAMEDATALEN - len);
		entry = hash_search(named, name, HASH_FIND, NULL);
		if (entry == NULL || entry->function == function)
			continue;
		entry->function = function;
		foreach(lc, entry->relids)
			add(dependants, lfirst_oid(lc), psprintf("function %s names it", format_procedure(function)));
	}
}

static void
find_in_functions(HTAB *dependants, HTAB *named)
{
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBeginAll(&rows, ProcedureRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
		bool		isnull;
		Datum		prosrc;
		char	   *source;

		if (form->oid < FirstNormalObjectId || form->prolang == INTERNALlanguageId || form->prolang == ClanguageId)
			continue;
		CHECK_FOR_INTERRUPTS();
		prosrc = CatalogField(&rows, tuple, Anum_pg_proc_prosrc, &isnull);
		if (isnull)
			continue;
		source = TextDatumGetCString(prosrc);
		find_in_text(dependants, named, form->oid, source);
		pfree(source);
	}
	CatalogEnd(&rows);
}

/* ---- for the plan ------------------------------------------------------------------------- */

/* What depends on these tables, for HistoryDependantsOf().  Within an SPI connection. */
HTAB *
HistoryDependants(List *relids)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Dependants), .hcxt = CurrentMemoryContext};
	HASHCTL		by_name = {.keysize = NAMEDATALEN, .entrysize = sizeof(Named), .hcxt = CurrentMemoryContext};
	HTAB	   *dependants = hash_create("dependants", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	HTAB	   *named = hash_create("named tables", 256, &by_name, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	Datum	   *values = palloc(sizeof(Datum) * Max(list_length(relids), 1));
	int			level = SettingsForText();
	int			n = 0;
	ListCell   *lc;

	foreach(lc, relids)
	{
		Oid			relid = lfirst_oid(lc);
		char	   *name = get_rel_name(relid);
		NameData	padded;
		bool		found;
		Dependants *one;
		Named	   *entry;

		if (name == NULL)
			continue;
		values[n++] = ObjectIdGetDatum(relid);
		one = hash_search(dependants, &relid, HASH_ENTER, &found);
		one->texts = NIL;
		namestrcpy(&padded, name);
		entry = hash_search(named, NameStr(padded), HASH_ENTER, &found);
		if (!found)
		{
			entry->relids = NIL;
			entry->function = InvalidOid;
		}
		entry->relids = lappend_oid(entry->relids, relid);
	}
	find_in_catalogs(dependants, values, n);
	find_in_functions(dependants, named);
	SettingsEnd(level);
	return dependants;
}

/* A List of String; NIL: nothing. */
List *
HistoryDependantsOf(HTAB *dependants, Oid relid)
{
	Dependants *one = hash_search(dependants, &relid, HASH_FIND, NULL);

	return one ? one->texts : NIL;
}

/* Scans of a table and its indexes, as far as they were counted; -1: nothing was counted. */
int64
HistoryScans(Oid relid)
{
	int64		n;
	CatalogRows rows;
	HeapTuple	tuple;

	if (!pgstat_track_counts || pgstat_fetch_stat_tabentry(relid) == NULL)
		return -1;
	n = DatumGetInt64(DirectFunctionCall1(pg_stat_get_numscans, ObjectIdGetDatum(relid)));
	CatalogBegin(&rows, IndexRelationId, IndexIndrelidIndexId, Anum_pg_index_indrelid, relid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
		n += DatumGetInt64(DirectFunctionCall1(pg_stat_get_numscans,
											   ObjectIdGetDatum(((Form_pg_index) GETSTRUCT(tuple))->indexrelid)));
	CatalogEnd(&rows);
	return n;
}
