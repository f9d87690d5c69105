/*
 * audit_args.c
 *	  The arguments of fn_audit_trigger.
 *
 *	  [key columns] ['exclude=a,b'] ['redact=c'] ['log=schema.table'] ['id=17'] ['images']
 *
 * Columns are separated by commas and taken as they stand, case included; a
 * name that holds a comma, a quote or blanks is written in double quotes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_trigger.h"
#include "lib/stringinfo.h"
#include "utils/varlena.h"

#include "audit/audit.h"

/* what is wrong with an argument; message is NULL when nothing is */
typedef struct Fault
{
	const char *message;
	const char *detail;
	const char *hint;
} Fault;

static List *
bad_list(const char *list, const char *why, Fault *fault)
{
	fault->message = "invalid column list in an argument of fn_audit_trigger";
	fault->detail = psprintf("\"%s\": %s.", list, why);
	fault->hint = "Separate column names by commas; put unusual names in double quotes.";
	return NIL;
}

/*
 * The names in a list of columns.  NIL, and *fault filled in, when the list cannot be
 * read.  In the current context.
 */
static List *
parse_columns(const char *list, Fault *fault)
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
					return bad_list(list, "a double quote is not closed", fault);
				if (*p == '"')
					p++;
				appendStringInfoChar(&name, *p);
			}
			for (p++; *p == ' '; p++)
				;
			if (*p != ',' && *p != '\0')
				return bad_list(list, "text follows a quoted name", fault);
		}
		else
		{
			while (*p != ',' && *p != '\0')
				appendStringInfoChar(&name, *p++);
			while (name.len > 0 && name.data[name.len - 1] == ' ')
				name.data[--name.len] = '\0';
		}
		if (name.len == 0)
			return bad_list(list, "a column name is empty", fault);
		names = lappend(names, name.data);
		if (*p == '\0')
			return names;
		p++;
	}
}

/* The column names as one argument: the inverse of parse_columns().  In the current context. */
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

/* Is the name in a list of names? */
bool
AuditIsListed(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

/* The names in a list that AuditColumnList() has made.  In the current context. */
List *
AuditParseColumnList(const char *list)
{
	Fault		fault;

	return parse_columns(list, &fault);
}

static void
parse_log(const char *value, AuditArgs *out, Fault *fault)
{
	List	   *names;

	if (!SplitIdentifierString(pstrdup(value), '.', &names) ||
		list_length(names) < 1 || list_length(names) > 2)
	{
		fault->message = "invalid name of the log in an argument of fn_audit_trigger";
		fault->detail = psprintf("\"log=%s\" is not a table name.", value);
		fault->hint = "Write log=schema.table.";
		return;
	}
	out->log_name = llast(names);
	out->log_schema = list_length(names) == 2 ? linitial(names) : NULL;
}

/* A bigint, blanks around it allowed; false when text is none. */
bool
AuditParseInteger(const char *text, int64 *value)
{
	char	   *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	while (*end == ' ')
		end++;
	return errno == 0 && end != text && *end == '\0';
}

static void
parse_id(const char *value, AuditArgs *out, Fault *fault)
{
	int64		id;

	if (AuditParseInteger(value, &id) && id > 0 && id <= PG_INT32_MAX)
	{
		out->id = (int32) id;
		return;
	}
	fault->message = "invalid id of the table in an argument of fn_audit_trigger";
	fault->detail = psprintf("\"id=%s\" is not an integer from 1 to %d.", value, PG_INT32_MAX);
	fault->hint = "Leave it out, or call audit_enable().";
}

/* All arguments of a trigger.  Stops at the first that cannot be read, which fills *fault. */
static void
parse_args(int nargs, char **args, AuditArgs *out, Fault *fault)
{
	memset(out, 0, sizeof(*out));
	memset(fault, 0, sizeof(*fault));
	out->log_name = "audit_log";

	for (int i = 0; i < nargs && fault->message == NULL; i++)
	{
		const char *arg = args[i];

		if (strncmp(arg, "exclude=", 8) == 0)
			out->exclude = arg[8] ? parse_columns(arg + 8, fault) : NIL;
		else if (strncmp(arg, "redact=", 7) == 0)
			out->redact = arg[7] ? parse_columns(arg + 7, fault) : NIL;
		else if (strncmp(arg, "log=", 4) == 0)
			parse_log(arg + 4, out, fault);
		else if (strncmp(arg, "id=", 3) == 0)
			parse_id(arg + 3, out, fault);
		else if (strcmp(arg, "images") == 0)
			out->images = true;
		else if (i == 0)
			out->key = arg[strspn(arg, " ")] ? parse_columns(arg, fault) : NIL;
		else
		{
			fault->message = "unknown argument of fn_audit_trigger";
			fault->detail = psprintf("Argument %d is \"%s\".", i + 1, arg);
			fault->hint = "Key columns come first; then exclude=..., redact=..., log=..., id=... and images.";
		}
	}
}

/*
 * The arguments of a trigger that is being fired; 22023 when they cannot be read.  What
 * *out points to is in the current context, or belongs to the caller's args.
 */
void
AuditParseArgs(int nargs, char **args, AuditArgs *out)
{
	Fault		fault;

	parse_args(nargs, args, out, &fault);
	if (fault.message)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s", fault.message),
				 errdetail("%s", fault.detail),
				 errhint("%s", fault.hint)));
}

/*
 * The same from a row of pg_trigger, where they are nul-terminated strings, one after the
 * other.  Returns false when they cannot be read, and raises nothing.
 */
bool
AuditReadArgs(HeapTuple tuple, TupleDesc desc, AuditArgs *out)
{
	int			nargs = ((Form_pg_trigger) GETSTRUCT(tuple))->tgnargs;
	char	  **args = palloc(sizeof(char *) * (nargs + 1));
	bool		isnull;
	Datum		datum = heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull);
	char	   *p = VARDATA_ANY(DatumGetByteaPP(datum));
	Fault		fault;

	for (int i = 0; i < nargs; i++)
	{
		args[i] = pstrdup(p);
		p += strlen(p) + 1;
	}
	parse_args(nargs, args, out, &fault);
	return fault.message == NULL;
}
