/*
 * audit_params.c
 *	  Values in a query: parameters, so that the text is the same for every record and its
 *	  plan can be kept (common/usercode_plans.c), or literals, so that the planner sees constants.
 *
 * Equal values are one parameter.  Everything is in the current context.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "audit/audit.h"

typedef struct QueryValue
{
	Oid			type;
	char	   *text;			/* NULL: given as a datum */
	Datum		value;
} QueryValue;

static const char *
add(AuditParams *params, Oid type, const char *text, Datum value)
{
	QueryValue *param = palloc(sizeof(QueryValue));

	param->type = type;
	param->text = text ? pstrdup(text) : NULL;
	param->value = value;
	params->list = lappend(params->list, param);
	return psprintf("$%d", list_length(params->list));
}

/*
 * A value of a type of the server, given as its text, as SQL.  params NULL: a literal.  Raises
 * what the type's input function raises.
 */
const char *
AuditParam(AuditParams *params, Oid type, const char *text)
{
	Oid			input;
	Oid			ioparam;
	ListCell   *lc;

	if (params == NULL)
		return psprintf("%s::%s", quote_literal_cstr(text), format_type_be_qualified(type));
	foreach(lc, params->list)
	{
		const QueryValue *param = lfirst(lc);

		if (param->type == type && param->text && strcmp(param->text, text) == 0)
			return psprintf("$%d", foreach_current_index(lc) + 1);
	}
	getTypeInputInfo(type, &input, &ioparam);
	return add(params, type, text, OidInputFunctionCall(input, pstrdup(text), ioparam, -1));
}

/* A moment as a parameter. */
const char *
AuditParamTime(AuditParams *params, TimestampTz at)
{
	return add(params, TIMESTAMPTZOID, NULL, TimestampTzGetDatum(at));
}

/* What the query is to be run with. */
ParamListInfo
AuditParamList(const AuditParams *params)
{
	ParamListInfo list = makeParamList(list_length(params->list));
	ListCell   *lc;

	foreach(lc, params->list)
	{
		const QueryValue *param = lfirst(lc);
		ParamExternData *out = &list->params[foreach_current_index(lc)];

		out->value = param->value;
		out->isnull = false;
		out->pflags = PARAM_FLAG_CONST;
		out->ptype = param->type;
	}
	return list;
}
