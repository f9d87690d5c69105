/*
 * consolidate_problem.c
 *	  Why a source is skipped: a code to group by, and a sentence.
 *
 * The codes are part of the SQL interface (problem_code): they stay as they are, and one
 * code keeps its meaning.  docs/consolidate.md lists them.
 */
#include "postgres.h"

#include "common/sentence.h"
#include "consolidate/consolidate.h"

static const char *const codes[] = {
	[PROBLEM_COLUMNS] = "columns",
	[PROBLEM_DEPENDENT] = "dependent",
	[PROBLEM_DROPPED] = "dropped",
	[PROBLEM_EXTENSION] = "extension",
	[PROBLEM_FAILED] = "failed",
	[PROBLEM_FOREIGN_KEY] = "foreign_key",
	[PROBLEM_IN_TARGET] = "in_target",
	[PROBLEM_IN_USE] = "in_use",
	[PROBLEM_INVALID_INDEX] = "invalid_index",
	[PROBLEM_NO_PROCESS_ID] = "no_process_id",
	[PROBLEM_NO_RIGHT] = "no_right",
	[PROBLEM_NOT_A_TABLE] = "not_a_table",
	[PROBLEM_OTHER_NAME] = "other_name",
	[PROBLEM_OWNER] = "owner",
	[PROBLEM_REFUSED_ROWS] = "refused_rows",
	[PROBLEM_RIGHTS] = "rights",
	[PROBLEM_ROW_SECURITY] = "row_security",
	[PROBLEM_RULE] = "rule",
	[PROBLEM_SAME_PROCESS] = "same_process",
	[PROBLEM_SECURITY_LABEL] = "security_label",
	[PROBLEM_SUBSCRIPTION] = "subscription",
	[PROBLEM_TRIGGER] = "trigger",
	[PROBLEM_USER_CODE] = "user_code",
};

StaticAssertDecl(lengthof(codes) == PROBLEM_USER_CODE + 1, "every kind of problem has a code");

/* A problem of this kind, with its sentence, palloc'd.  The code is a constant. */
ConsolidateProblem *
ConsolidateProblemOf(ConsolidateProblemKind kind, const char *format,...)
{
	ConsolidateProblem *problem = palloc(sizeof(ConsolidateProblem));
	va_list		args;

	problem->code = codes[kind];
	va_start(args, format);
	problem->sentence = SentenceOf(format, args);
	va_end(args);
	return problem;
}
