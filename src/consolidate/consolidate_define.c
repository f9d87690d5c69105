/*
 * consolidate_define.c
 *	  consolidate_define(): families of the user's own.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "regex/regex.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "common/args.h"
#include "common/settings.h"
#include "common/spi.h"
#include "common/textarray.h"
#include "compat.h"
#include "consolidate/consolidate.h"

/* Is there a | outside of parentheses?  Then ^ belongs to one side only, $ to the other. */
static bool
has_outer_alternative(const char *pattern)
{
	int			depth = 0;
	bool		bracket = false;
	const char *p;

	for (p = pattern; *p; p++)
	{
		if (*p == '\\' && p[1])
			p++;
		else if (bracket)
			bracket = *p != ']';
		else if (*p == '[')
		{
			bracket = true;
			/* a ] that comes first is one of the characters */
			if (p[1] == '^')
				p++;
			if (p[1] == ']')
				p++;
		}
		else if (*p == '(')
			depth++;
		else if (*p == ')')
			depth--;
		else if (*p == '|' && depth == 0)
			return true;
	}
	return false;
}

/* The whole name must match, and one group of it be the process id. */
static void
check_pattern(text *pattern)
{
	char	   *string = text_to_cstring(pattern);
	int			len = strlen(string);
	regex_t    *regex = RE_compile_and_cache(pattern, REG_ADVANCED, C_COLLATION_OID);

	if (len < 2 || string[0] != '^' || string[len - 1] != '$' || string[len - 2] == '\\' ||
		has_outer_alternative(string))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pattern of a family must match whole names"),
				 errdetail("The pattern is \"%s\".", string),
				 errhint("Begin it with ^ and end it with $, as in ^mi_tmp_(\\d+)$; put alternatives into (?:...).")));
	if (regex->re_nsub != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pattern of a family must have exactly one group, the process id"),
				 errdetail("The pattern \"%s\" has %d.", string, (int) regex->re_nsub),
				 errhint("Put parentheses around the digits, as in ^mi_tmp_(\\d+)$; (?:...) groups without counting.")));
}

/* The key's columns: named, each once, none of those that only the target has. */
static void
check_key(List *key)
{
	for (int i = 0; i < list_length(key); i++)
	{
		char	   *column = list_nth(key, i);

		if (column[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key columns of a family must have names")));
		if (strcmp(column, PROCESS_COLUMN) == 0 || strcmp(column, CREATED_COLUMN) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key column \"%s\" is a column of the target alone", column),
					 errhint("Name the columns that identify a row within one source.")));
		for (int j = 0; j < i; j++)
			if (strcmp(column, list_nth(key, j)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("key column \"%s\" appears twice", column)));
	}
	if (key == NIL || list_length(key) >= INDEX_MAX_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key of a family must have between 1 and %d columns", INDEX_MAX_KEYS - 1),
				 errdetail("It has %d.", list_length(key))));
}

/* The key's columns are columns of the family.  (Without a list, the sources have them.) */
static void
check_key_defined(List *key, const FamilyColumns *columns)
{
	ListCell   *lc;

	foreach(lc, key)
	{
		char	   *column = lfirst(lc);
		bool		found = false;

		for (int i = 0; i < columns->ncolumns && !found; i++)
			found = strcmp(columns->column[i].name, column) == 0;
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key column \"%s\" is not among the columns of the family", column),
					 errhint("Add it to the columns, or leave them out: then they are those of the sources.")));
	}
}

static void
check_redefinition(const char *extschema, const char *family)
{
	SpiArg		args[] = {SpiTextArg(family)};
	bool		builtin;

	if (SpiQuery(psprintf("SELECT builtin FROM %s.consolidate_family"
						  " WHERE family OPERATOR(pg_catalog.=) $1", extschema),
				 1, args) == 0)
		return;
	builtin = SpiBool(0, 1);
	if (builtin ||
		SpiQuery(psprintf("SELECT FROM %s.consolidate_source"
						  " WHERE family OPERATOR(pg_catalog.=) $1"
						  "  AND state OPERATOR(pg_catalog.<>) 'restored' LIMIT 1", extschema),
				 1, args) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("family \"%s\" already exists", family),
				 builtin ? errdetail("It is one of the extension's own families.") :
				 errdetail("Tables of it have been consolidated."),
				 errhint("Choose another name.")));
}

/* Would SQL read this as a name with its schema?  A quoted name may contain a dot. */
static bool
has_schema(const char *name)
{
	List	   *parts;

	return SplitIdentifierString(pstrdup(name), '.', &parts) && list_length(parts) > 1;
}

/* Processes of two families in one target could not be told apart. */
static void
check_target(const char *extschema, const char *family, const char *target)
{
	SpiArg		args[] = {SpiTextArg(family), SpiTextArg(target)};

	if (SpiQuery(psprintf("SELECT family FROM %s.consolidate_family"
						  " WHERE family OPERATOR(pg_catalog.<>) $1"
						  "  AND target OPERATOR(pg_catalog.=) $2 LIMIT 1", extschema),
				 2, args) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("target \"%s\" is already used by family \"%s\"", target, SpiText(0, 1)),
				 errdetail("Two families can have the same process ids, so one target could not tell their rows apart."),
				 errhint("Choose another target.")));
}

/*
 * consolidate_define(family, pattern, target, key, columns): defines a family, or changes
 * one of which nothing is consolidated.
 */
PG_FUNCTION_INFO_V1(consolidate_define);

Datum
consolidate_define(PG_FUNCTION_ARGS)
{
	const char *extschema =
	quote_identifier(get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid)));
	char	   *family;
	char	   *target;
	List	   *key;
	List	   *columns = NIL;
	SpiArg		args[5];
	static const char *const names[] = {"family", "pattern", "target", "key"};

	ArgsRefuseNull(fcinfo, "consolidate_define", names, lengthof(names));
	family = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_pattern(PG_GETARG_TEXT_PP(1));
	key = ArgsNames(fcinfo, 3, "key");
	check_key(key);
	target = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (target[0] == '\0' || strlen(target) >= NAMEDATALEN || has_schema(target))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("target of a family must be a table name without schema"),
				 errdetail("The target is \"%s\".", target),
				 errhint("Name a table, of at most %d bytes; it is made in the schema of the sources.",
						 NAMEDATALEN - 1)));
	if (!PG_ARGISNULL(4))
	{
		Family		probe = {.name = family};
		int			level = SettingsForText();

		/* says now what is wrong with a name or a type */
		columns = TextArrayToList(PG_GETARG_ARRAYTYPE_P(4));
		ConsolidateParseColumns(&probe, columns);
		ConsolidateCheckColumns(&probe);
		SettingsEnd(level);
		check_key_defined(key, &probe.columns);
	}

	SPI_connect();
	ConsolidateCheckOwnTables(get_func_namespace(fcinfo->flinfo->fn_oid), true);
	check_redefinition(extschema, family);
	check_target(extschema, family, target);
	args[0] = SpiTextArg(family);
	args[1] = SpiDatumArg(TEXTOID, PG_GETARG_DATUM(1));
	args[2] = SpiTextArg(target);
	args[3] = SpiTextListArg(key);
	args[4] = PG_ARGISNULL(4) ? SpiNullArg(TEXTARRAYOID) : SpiTextListArg(columns);
	SpiQuery(psprintf("UPDATE %s.consolidate_target SET columns = NULL"
					  " WHERE family OPERATOR(pg_catalog.=) $1", extschema), 1, args);
	SpiQuery(psprintf("INSERT INTO %s.consolidate_family"
					  " (family, pattern, target, key_columns, columns)"
					  " VALUES ($1, $2, $3, $4, $5)"
					  " ON CONFLICT (family) DO UPDATE SET"
					  "  pattern = EXCLUDED.pattern, target = EXCLUDED.target,"
					  "  key_columns = EXCLUDED.key_columns,"
					  "  columns = EXCLUDED.columns", extschema), lengthof(args), args);
	SPI_finish();
	PG_RETURN_VOID();
}
