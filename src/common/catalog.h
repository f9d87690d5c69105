/*
 * catalog.h
 *	  Rows of the system catalogs, and what is asked of them most.
 */
#ifndef AQUACIS_COMMON_CATALOG_H
#define AQUACIS_COMMON_CATALOG_H

#include "access/genam.h"
#include "access/htup.h"
#include "utils/relcache.h"

/* the rows that a scan finds, one after the other */
typedef struct CatalogRows
{
	Relation	catalog;
	SysScanDesc scan;
} CatalogRows;

extern void CatalogBegin(CatalogRows *rows, Oid catalog, Oid index, AttrNumber column, Oid value);
extern void CatalogBeginPair(CatalogRows *rows, Oid catalog, Oid index, AttrNumber column,
							 Oid value, AttrNumber second_column, Oid second_value);
extern void CatalogBeginAll(CatalogRows *rows, Oid catalog);
extern HeapTuple CatalogNext(CatalogRows *rows);
extern Datum CatalogField(CatalogRows *rows, HeapTuple tuple, AttrNumber column, bool *isnull);
extern void CatalogEnd(CatalogRows *rows);

extern Oid	CatalogOid(int cacheid, Oid key, AttrNumber column);
extern Oid	CatalogOwner(Oid relid);
extern Oid	CatalogSchemaOwner(Oid schema);

#endif							/* AQUACIS_COMMON_CATALOG_H */
