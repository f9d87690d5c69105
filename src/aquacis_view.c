/*
 * aquacis_view.c
 *	  A view of the extension gets more columns: a function that its scripts call.
 *
 * A view that is dropped and created again loses the rights that were granted on it, and
 * cannot be dropped while views of users read it.  CREATE OR REPLACE VIEW keeps both, if the
 * new columns come last; but in a script it would also adopt a view of somebody else.  So the
 * script creates the new view under a name of its own, with a plain CREATE VIEW, and calls
 * aquacis_replace_view(): both views must belong to the extension whose script is running.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "common/names.h"
#include "common/spi.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(aquacis_replace_view);

/* 0A000 unless a script runs that has created this view, now or in an earlier version. */
static void
require_own_view(Oid relid)
{
	if (!creating_extension || !OidIsValid(CurrentExtensionObject))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function can be called only by a script that CREATE EXTENSION or "
						"ALTER EXTENSION runs")));
	if (get_rel_relkind(relid) != RELKIND_VIEW ||
		getExtensionOfObject(RelationRelationId, relid) != CurrentExtensionObject)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"%s\" is no view of the extension", get_rel_name(relid))));
}

/*
 * aquacis_replace_view(view, new): the view becomes what new is, and keeps its rights, its
 * comment and the views that read it.  The first columns of new are those of the view.
 * The script drops new afterwards.  0A000 outside of a script, or for other views.
 */
Datum
aquacis_replace_view(PG_FUNCTION_ARGS)
{
	SpiArg		new = SpiDatumArg(REGCLASSOID, PG_GETARG_DATUM(1));

	require_own_view(PG_GETARG_OID(0));
	require_own_view(PG_GETARG_OID(1));
	SPI_connect();
	SpiQuery("SELECT pg_catalog.pg_get_viewdef($1::pg_catalog.oid)", 1, &new);
	SpiRun(psprintf("CREATE OR REPLACE VIEW %s AS %s", NamesQualified(PG_GETARG_OID(0)), SpiText(0, 1)));
	SPI_finish();
	PG_RETURN_VOID();
}
