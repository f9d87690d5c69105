/*
 * aquacis_version.c
 *	  aquacis_version: which library is loaded, and which SQL interface is here.
 *
 * The two are updated one after the other: the library with the files, the interface with
 * ALTER EXTENSION aquacis UPDATE in each database.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "common/catalog.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(aquacis_version);

/*
 * aquacis_version() -> (library, interface).  AQUACIS_VERSION is META.json's.  interface is
 * NULL for a function that is not the extension's.
 */
Datum
aquacis_version(PG_FUNCTION_ARGS)
{
	Oid			extension = getExtensionOfObject(ProcedureRelationId, fcinfo->flinfo->fn_oid);
	Datum		values[2] = {CStringGetTextDatum(AQUACIS_VERSION), (Datum) 0};
	bool		nulls[2] = {false, true};
	TupleDesc	desc;
	CatalogRows rows;
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	CatalogBegin(&rows, ExtensionRelationId, ExtensionOidIndexId, Anum_pg_extension_oid, extension);
	tuple = CatalogNext(&rows);
	if (HeapTupleIsValid(tuple))
	{
		Datum		version = CatalogField(&rows, tuple, Anum_pg_extension_extversion, &nulls[1]);

		if (!nulls[1])
			values[1] = CStringGetTextDatum(TextDatumGetCString(version));
	}
	CatalogEnd(&rows);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
