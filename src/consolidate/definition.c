/*
 * definition.c
 *	  The DDL that makes a source again.
 */
#include "postgres.h"

#include "access/table.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "consolidate/consolidate.h"

char *
DefinitionOf(Relation source)
{
	TupleDesc	desc = RelationGetDescr(source);
	StringInfoData sql;
	const char *separator = "";
	int			i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(source)),
												RelationGetRelationName(source)));
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		appendStringInfo(&sql, "%s%s %s%s", separator, quote_identifier(NameStr(att->attname)),
						 format_type_extended(att->atttypid, att->atttypmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY),
						 att->attnotnull ? " NOT NULL" : "");
		separator = ", ";
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}
