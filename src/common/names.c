/*
 * names.c
 *	  Names of relations, for SQL that is put together and for messages.
 *
 * What is returned lives in the current memory context.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "common/names.h"

/* schema.name, quoted where that is needed; 42P01 when there is no such relation. */
char *
NamesQualified(Oid relid)
{
	const char *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

/*
 * The relation as a string constant that the reader of a message can type: 'name', with
 * the schema where the search path does not find the name.
 */
char *
NamesLiteral(Oid relid)
{
	return quote_literal_cstr(DatumGetCString(DirectFunctionCall1(regclassout,
																  ObjectIdGetDatum(relid))));
}
