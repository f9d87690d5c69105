/*
 * owntable.c
 *	  The extension's own tables: their rows, and how they are written.
 *
 * A table is named by a function of the extension, which is in the same schema.  It is missing
 * where the extension of the database is older than its library.  Rows are read without a plan
 * and without a right on the table: the latest committed ones, and our own.  Whoever calls,
 * they are written as the table's owner, and only values come from the caller.
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "common/catalog.h"
#include "common/names.h"
#include "common/owntable.h"
#include "compat.h"

/* The table in the schema of a function of ours; InvalidOid: there is none. */
Oid
OwnTableFind(Oid fnoid, const char *table)
{
	return get_relname_relid(table, get_func_namespace(fnoid));
}

/* An index whose first column is that one; InvalidOid: there is none. */
static Oid
index_on(Relation rel, AttrNumber column)
{
	Oid			found = InvalidOid;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indkey.values[0] == column && index->rd_index->indisvalid)
			found = lfirst_oid(lc);
		index_close(index, AccessShareLock);
	}
	return found;
}

/*
 * Begins with the rows that have the value in a column, by an index where there is one;
 * column InvalidAttrNumber: all rows.  False where there is no such table, and nothing is to
 * be ended.
 */
bool
OwnTableBegin(OwnTableRows *rows, Oid fnoid, const char *table, AttrNumber column, RegProcedure equal, Datum value)
{
	Oid			relid = OwnTableFind(fnoid, table);
	bool		all = column == InvalidAttrNumber;
	ScanKeyData key;
	Oid			index;

	rows->rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	if (rows->rel == NULL)
		return false;
	index = all ? InvalidOid : index_on(rows->rel, column);
	if (!all)
		ScanKeyInit(&key, column, BTEqualStrategyNumber, equal, value);
	rows->snapshot = RegisterSnapshot(GetLatestSnapshot());
	rows->scan = systable_beginscan(rows->rel, index, OidIsValid(index), rows->snapshot, all ? 0 : 1, all ? NULL : &key);
	return true;
}

/* The next row, valid until the next call; NULL at the end. */
HeapTuple
OwnTableNext(OwnTableRows *rows)
{
	return systable_getnext(rows->scan);
}

void
OwnTableEnd(OwnTableRows *rows)
{
	systable_endscan(rows->scan);
	UnregisterSnapshot(rows->snapshot);
	table_close(rows->rel, AccessShareLock);
}

/*
 * Runs a command on a table, for %s, as its owner; within an SPI connection.  Returns its row
 * count; 55000 where there is no such table.
 */
uint64
OwnTableRun(Oid fnoid, const char *table, const char *command, int nargs, const SpiArg *args)
{
	Oid			relid = OwnTableFind(fnoid, table);
	Oid			user;
	int			context;
	uint64		n;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the extension aquacis is older than its library"),
				 errdetail("Its schema has no table \"%s\".", table),
				 errhint("ALTER EXTENSION aquacis UPDATE.")));
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(CatalogOwner(relid), context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	n = SpiQuery(psprintf(command, NamesQualified(relid)), nargs, args);
	SetUserIdAndSecContext(user, context);
	return n;
}
