/*
 * audit_limits.c
 *	  What audit_enable refuses of a table's columns, and what it tells of the limits
 *	  of an audit.
 *
 * All of it is read from the catalogs when audit_enable runs, under its lock on the table.
 * Nothing here is asked at a change: a trigger that an older version made goes on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "lib/stringinfo.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "audit/audit.h"
#include "common/catalog.h"
#include "common/hypertable.h"
#include "common/names.h"
#include "compat.h"

/* "a", "b" for messages */
static char *
quoted_list(List *names)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, names)
		appendStringInfo(&text, "%s\"%s\"", text.len > 0 ? ", " : "", (char *) lfirst(lc));
	return text.data;
}

/*
 * 22023 for a key column that no entry of the log could show: a virtual generated column
 * is in no row, and one that is computed from a redacted column shows its value.  key: the
 * names of columns that exist.
 */
void
AuditRefuseKey(Relation rel, List *key, List *redact)
{
	List	   *generated = AuditGeneratedFrom(rel, redact);
	ListCell   *lc;

	foreach(lc, key)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), lfirst(lc));

		if (AuditIsVirtual(TupleDescAttr(RelationGetDescr(rel), attnum - 1)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a virtual generated column cannot be a key column"),
					 errdetail("Column \"%s\" of table \"%s\" is computed when it is read; triggers see null.",
							   (char *) lfirst(lc), RelationGetRelationName(rel)),
					 errhint("Name columns that are stored: audit_enable(%s, key => ...).",
							 NamesLiteral(RelationGetRelid(rel)))));
		if (AuditIsListed(generated, lfirst(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a key column cannot be redacted"),
					 errdetail("Column \"%s\" of table \"%s\" is computed from a redacted column.",
							   (char *) lfirst(lc), RelationGetRelationName(rel)),
					 errhint("Call audit_enable(%s, key => ...) with another key.",
							 NamesLiteral(RelationGetRelid(rel)))));
	}
}

/* Does a unique index make sure that no two rows have the same values in these columns? */
static bool
is_unique(Relation rel, List *key)
{
	CatalogRows rows;
	HeapTuple	tuple;
	bool		found = false;

	CatalogBegin(&rows, IndexRelationId, IndexIndrelidIndexId, Anum_pg_index_indrelid,
				 RelationGetRelid(rel));
	while (!found && HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);

		if (!index->indisunique || !index->indisvalid ||
			!heap_attisnull(tuple, Anum_pg_index_indpred, RelationGetDescr(rows.catalog)))
			continue;
		found = true;
		for (int i = 0; i < index->indnkeyatts; i++)
		{
			AttrNumber	attnum = index->indkey.values[i];

			found &= attnum > 0 &&
				AuditIsListed(key, get_attname(RelationGetRelid(rel), attnum, false));
		}
	}
	CatalogEnd(&rows);
	return found;
}

static void
tell_generated(Relation rel, const AuditArgs *args)
{
	List	   *redacted = AuditGeneratedFrom(rel, args->redact);
	List	   *logged = NIL;
	ListCell   *lc;

	foreach(lc, redacted)
	{
		if (!AuditIsListed(args->exclude, lfirst(lc)))
			ereport(NOTICE,
					(errmsg("generated column \"%s\" of table \"%s\" is redacted, too",
							(char *) lfirst(lc), RelationGetRelationName(rel)),
					 errdetail("It is computed from a redacted column.")));
	}
	foreach(lc, AuditGeneratedFrom(rel, args->exclude))
	{
		if (!AuditIsListed(args->redact, lfirst(lc)) && !AuditIsListed(redacted, lfirst(lc)))
			logged = lappend(logged, lfirst(lc));
	}
	if (logged != NIL)
		ereport(NOTICE,
				(errmsg("columns of table \"%s\" that are computed from excluded ones are logged: %s",
						RelationGetRelationName(rel), quoted_list(logged)),
				 errhint("Exclude them, too, if a change of them does not matter.")));
}

/*
 * NOTICEs for what the owner of a table may not expect of its audit: generated columns,
 * a key that is not unique, changes that fire no trigger of this table.  args: those of
 * the call, with the names of columns that exist.
 */
void
AuditTellLimits(Relation rel, const AuditArgs *args)
{
	Oid			relid = RelationGetRelid(rel);
	const char *name = RelationGetRelationName(rel);

	tell_generated(rel, args);
	if (args->key != NIL && !is_unique(rel, args->key))
		ereport(NOTICE,
				(errmsg("the key of table \"%s\" is not unique: %s", name, quoted_list(args->key)),
				 errdetail("No unique index makes sure of it. Rows with the same key have one history together.")));
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		ereport(NOTICE,
				(errmsg("table \"%s\" is unlogged: after a crash it is empty, and its audit log does not say so", name),
				 errhint("ALTER TABLE ... SET LOGGED, if its rows matter.")));
	if (rel->rd_rel->relkind == RELKIND_RELATION && has_subclass(relid) &&
		list_length(find_inheritance_children(relid, NoLock)) > 0 && !HypertableIs(relid))
		ereport(NOTICE,
				(errmsg("tables that inherit from \"%s\" are not audited with it", name),
				 errdetail("An UPDATE or DELETE of \"%s\" changes their rows, too, and fires their own triggers only.", name),
				 errhint("Call audit_enable for each of them.")));
}
