/*
 * args.c
 *	  Checks of a function's arguments, and of where it is called.
 *
 * One fault has one SQLSTATE and one wording in all parts; CONTRIBUTING.md has the list.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "common/args.h"
#include "common/textarray.h"

/* 22004 for a null among the first n arguments; names[i] is NULL for one that may be null. */
void
ArgsRefuseNull(FunctionCallInfo fcinfo, const char *function, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (names[i] && PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" of %s must not be null", names[i], function)));
}

/* 25001 for a procedure that commits, called where it cannot. */
void
ArgsRequireNonatomic(FunctionCallInfo fcinfo, const char *procedure)
{
	if (fcinfo->context && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("%s commits on its way and cannot run inside a transaction block", procedure),
			 errhint("CALL it by itself, outside BEGIN ... COMMIT and outside functions; where a driver begins transactions by itself, switch autocommit on.")));
}

/*
 * Argument n, a number from min to max, or 22023.  It must not be null.  hint says what a
 * good number is, or is NULL.
 */
int
ArgsInt(FunctionCallInfo fcinfo, int n, const char *name, int min, int max, const char *hint)
{
	int			value = PG_GETARG_INT32(n);

	if (value < min || value > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %d and %d", name, min, max),
				 errdetail("%s is %d.", name, value),
				 hint ? errhint("%s", hint) : 0));
	return value;
}

/* "a", "b" or "c" */
static char *
list_words(const char *const *words, int n)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s\"%s\"", i == 0 ? "" : i == n - 1 ? " or " : ", ", words[i]);
	return list.data;
}

/*
 * Which of the n words argument i, a text, is; 22023 when it is none of them.  It must
 * not be null.  hint says what the words mean, or is NULL.
 */
int
ArgsWord(FunctionCallInfo fcinfo, int i, const char *name, const char *const *words, int n,
		 const char *hint)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(i));

	for (int word = 0; word < n; word++)
		if (strcmp(value, words[word]) == 0)
			return word;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be %s", name, list_words(words, n)),
			 errdetail("%s is \"%s\".", name, value),
			 hint ? errhint("%s", hint) : 0));
	return -1;					/* not reached */
}

/*
 * Argument n, a text[] of column names, as a List of char *; NIL for a null one.  22004
 * for a null element.
 */
List *
ArgsNames(FunctionCallInfo fcinfo, int n, const char *name)
{
	List	   *names = PG_ARGISNULL(n) ? NIL : TextArrayToList(PG_GETARG_ARRAYTYPE_P(n));
	ListCell   *lc;

	foreach(lc, names)
	{
		if (lfirst(lc) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("column names must not be null"),
					 errdetail("Element %d of \"%s\" is null.", foreach_current_index(lc) + 1, name),
					 errhint("Leave the element out.")));
	}
	return names;
}
