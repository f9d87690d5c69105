/*
 * audit_args.c
 *	  The arguments of fn_audit_trigger.
 *
 *	  [key columns] ['exclude=a,b'] ['redact=c'] ['log=schema.table']
 *
 * Columns are separated by commas and taken as they stand, case included; a
 * name that holds a comma, a quote or blanks is written in double quotes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_trigger.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "audit/audit.h"

static void
bad_list(const char *list, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid column list in an argument of fn_audit_trigger"),
			 errdetail("\"%s\": %s.", list, why),
			 errhint("Separate column names by commas; put unusual names in double quotes.")));
}

static List *
parse_columns(const char *list)
{
	const char *p = list;
	List	   *names = NIL;

	for (;;)
	{
		StringInfoData name;

		initStringInfo(&name);
		while (*p == ' ')
			p++;
		if (*p == '"')
		{
			for (p++; *p != '"' || p[1] == '"'; p++)
			{
				if (*p == '\0')
					bad_list(list, "a double quote is not closed");
				if (*p == '"')
					p++;
				appendStringInfoChar(&name, *p);
			}
			for (p++; *p == ' '; p++)
				;
			if (*p != ',' && *p != '\0')
				bad_list(list, "text follows a quoted name");
		}
		else
		{
			while (*p != ',' && *p != '\0')
				appendStringInfoChar(&name, *p++);
			while (name.len > 0 && name.data[name.len - 1] == ' ')
				name.data[--name.len] = '\0';
		}
		if (name.len == 0)
			bad_list(list, "a column name is empty");
		names = lappend(names, name.data);
		if (*p == '\0')
			return names;
		p++;
	}
}

/* the inverse, for audit_enable */
char *
AuditColumnList(List *names)
{
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	foreach(lc, names)
	{
		const char *name = lfirst(lc);

		if (out.len > 0)
			appendStringInfoChar(&out, ',');
		if (name[0] == '\0' || strpbrk(name, ",\" =") != NULL)
		{
			appendStringInfoChar(&out, '"');
			for (; *name; name++)
			{
				if (*name == '"')
					appendStringInfoChar(&out, '"');
				appendStringInfoChar(&out, *name);
			}
			appendStringInfoChar(&out, '"');
		}
		else
			appendStringInfoString(&out, name);
	}
	return out.data;
}

static void
parse_log(const char *value, AuditArgs *out)
{
	List	   *names;

	if (!SplitIdentifierString(pstrdup(value), '.', &names) ||
		list_length(names) < 1 || list_length(names) > 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of the log in an argument of fn_audit_trigger"),
				 errdetail("\"log=%s\" is not a table name.", value),
				 errhint("Write log=schema.table.")));
	out->log_name = llast(names);
	out->log_schema = list_length(names) == 2 ? linitial(names) : NULL;
}

void
AuditParseArgs(int nargs, char **args, AuditArgs *out)
{
	memset(out, 0, sizeof(*out));
	out->log_name = "audit_log";

	for (int i = 0; i < nargs; i++)
	{
		const char *arg = args[i];

		if (strncmp(arg, "exclude=", 8) == 0)
			out->exclude = arg[8] ? parse_columns(arg + 8) : NIL;
		else if (strncmp(arg, "redact=", 7) == 0)
			out->redact = arg[7] ? parse_columns(arg + 7) : NIL;
		else if (strncmp(arg, "log=", 4) == 0)
			parse_log(arg + 4, out);
		else if (i == 0)
			out->key = arg[strspn(arg, " ")] ? parse_columns(arg) : NIL;
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown argument of fn_audit_trigger"),
					 errdetail("Argument %d is \"%s\".", i + 1, arg),
					 errhint("Key columns come first; then exclude=..., redact=... and log=... .")));
	}
}

/* The same from a row of pg_trigger: nul-terminated strings, one after the other. */
void
AuditReadArgs(HeapTuple tup, TupleDesc desc, AuditArgs *out)
{
	int			nargs = ((Form_pg_trigger) GETSTRUCT(tup))->tgnargs;
	char	  **args = palloc(sizeof(char *) * (nargs + 1));
	bool		isnull;
	Datum		datum = heap_getattr(tup, Anum_pg_trigger_tgargs, desc, &isnull);
	char	   *p = VARDATA_ANY(DatumGetByteaPP(datum));

	for (int i = 0; i < nargs; i++)
	{
		args[i] = pstrdup(p);
		p += strlen(p) + 1;
	}
	AuditParseArgs(nargs, args, out);
}
