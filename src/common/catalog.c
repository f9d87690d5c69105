/*
 * catalog.c
 *	  Rows of the system catalogs, and what is asked of them most.
 *
 * A scan sees what is committed when it begins, like any catalog scan.  It holds a
 * weak lock on the catalog and a reference to its relation; CatalogEnd() gives both
 * back, and so does the end of the transaction after an error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "common/catalog.h"

static void
begin(CatalogRows *rows, Oid catalog, Oid index, int nkeys, ScanKey keys)
{
	rows->catalog = table_open(catalog, AccessShareLock);
	rows->scan = systable_beginscan(rows->catalog, index, nkeys > 0, NULL, nkeys, keys);
}

/*
 * The rows in which an OID column, the first of the index, has this value.  In the
 * order of the index.
 */
void
CatalogBegin(CatalogRows *rows, Oid catalog, Oid index, AttrNumber column, Oid value)
{
	ScanKeyData key;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	begin(rows, catalog, index, 1, &key);
}

/* The same for the first two columns of the index. */
void
CatalogBeginPair(CatalogRows *rows, Oid catalog, Oid index, AttrNumber column, Oid value,
				 AttrNumber second_column, Oid second_value)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	ScanKeyInit(&keys[1], second_column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(second_value));
	begin(rows, catalog, index, 2, keys);
}

/* All rows, in no order. */
void
CatalogBeginAll(CatalogRows *rows, Oid catalog)
{
	begin(rows, catalog, InvalidOid, 0, NULL);
}

/* The next row, valid until the one after it, or NULL. */
HeapTuple
CatalogNext(CatalogRows *rows)
{
	return systable_getnext(rows->scan);
}

/* A column of a row that can be null or of variable length. */
Datum
CatalogField(CatalogRows *rows, HeapTuple tuple, AttrNumber column, bool *isnull)
{
	return heap_getattr(tuple, column, RelationGetDescr(rows->catalog), isnull);
}

void
CatalogEnd(CatalogRows *rows)
{
	systable_endscan(rows->scan);
	table_close(rows->catalog, AccessShareLock);
}

/* An OID column of the row that a syscache finds by one OID; InvalidOid when there is none. */
Oid
CatalogOid(int cacheid, Oid key, AttrNumber column)
{
	HeapTuple	tuple = SearchSysCache1(cacheid, ObjectIdGetDatum(key));
	Oid			value;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	value = DatumGetObjectId(SysCacheGetAttr(cacheid, tuple, column, &isnull));
	ReleaseSysCache(tuple);
	return isnull ? InvalidOid : value;
}

/* The owner of a relation; 42P01 when there is no such relation. */
Oid
CatalogOwner(Oid relid)
{
	Oid			owner = CatalogOid(RELOID, relid, Anum_pg_class_relowner);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return owner;
}

/* The owner of a schema; of "public", who owns the database.  InvalidOid when it is gone. */
Oid
CatalogSchemaOwner(Oid schema)
{
	Oid			owner = CatalogOid(NAMESPACEOID, schema, Anum_pg_namespace_nspowner);

	if (owner == ROLE_PG_DATABASE_OWNER)
		owner = CatalogOid(DATABASEOID, MyDatabaseId, Anum_pg_database_datdba);
	return owner;
}
