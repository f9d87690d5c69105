/*
 * audit_by_value.c
 *	  audit_history, audit_versions and audit_row_at with a key that is a value, as an
 *	  application has it: a number, a UUID, a date.
 *
 * The value becomes the text that the functions take, by the output function of its type,
 * as a cast to text does; the functions read that with the type of the key's column.  It
 * runs as the caller, on a value of his own.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "audit/audit.h"
#include "compat.h"

PGDLLEXPORT Datum audit_history(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_versions(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_row_at(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(audit_history_by_value);
PG_FUNCTION_INFO_V1(audit_versions_by_value);
PG_FUNCTION_INFO_V1(audit_row_at_by_value);

/* Argument 1 as text, in its place.  What comes after is called once per call of ours. */
static void
key_to_text(FunctionCallInfo fcinfo)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	Oid			output;
	bool		is_varlena;

	if (PG_ARGISNULL(1))
		return;
	if (!OidIsValid(type))
		elog(ERROR, "could not determine the type of record_key");
	getTypeOutputInfo(type, &output, &is_varlena);
	fcinfo->args[1].value = CStringGetTextDatum(OidOutputFunctionCall(output, PG_GETARG_DATUM(1)));
}

Datum
audit_history_by_value(PG_FUNCTION_ARGS)
{
	key_to_text(fcinfo);
	return audit_history(fcinfo);
}

Datum
audit_versions_by_value(PG_FUNCTION_ARGS)
{
	key_to_text(fcinfo);
	return audit_versions(fcinfo);
}

Datum
audit_row_at_by_value(PG_FUNCTION_ARGS)
{
	key_to_text(fcinfo);
	return audit_row_at(fcinfo);
}
