/*
 * audit_session.c
 *	  The author of a change: app.current_user, app.session_id, app.context, the roles.
 *
 * The three settings belong to the application; they are read for every row,
 * because any statement may change them, and an empty one counts as unset (that
 * is what a transaction-local setting leaves behind in its session).  What a
 * setting converts to is kept until its text changes.  Role names are kept until
 * a role changes.
 *
 * The column session_id is an integer.  A session that is called by something else, such as
 * a UUID, is put into the context as "session_id", so that it is not lost.
 *
 * A client may send any bytes with its start-up packet, and the name of a role may
 * come from a database of another encoding; a log that holds such bytes could be
 * dumped but not restored.  What is not valid is written in hexadecimal.
 *
 * Conversions take place in the current context, the trigger's per-row one;
 * only their results are copied to session_cxt.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "audit/audit.h"
#include "compat.h"

#define MAX_USER_BYTES 2048
#define MAX_CONTEXT_BYTES 8192

/* a setting's last text, NULL before the first, and what it became */
typedef struct Setting
{
	const char *name;
	int			place;			/* among all settings, where it was last */
	char	   *text;
	Datum		value;
	bool		isnull;			/* it could not be converted */
	bool		set;			/* when it was read last, it was there and not empty */
	bool		(*convert) (const char *text, Datum *value);
	bool		byref;
} Setting;

typedef struct RoleName
{
	Oid			roleid;			/* InvalidOid: nothing cached */
	Datum		name;
} RoleName;

static MemoryContext session_cxt = NULL;
static RoleName active_role;
static RoleName session_role;

/* ---- conversions: false is "as if unset" ---------------------------------------- */

/* The text; if it is not valid in the encoding, with \xNN for every byte beyond ASCII. */
static const char *
valid_text(const char *text)
{
	StringInfoData out;

	if (likely(pg_verifymbstr(text, strlen(text), true)))
		return text;
	initStringInfo(&out);
	for (; *text; text++)
	{
		if (IS_HIGHBIT_SET(*text))
			appendStringInfo(&out, "\\x%02x", (unsigned char) *text);
		else
			appendStringInfoChar(&out, *text);
	}
	return out.data;
}

/* The beginning of a string that is longer than max bytes, and the MD5 of all of it. */
static char *
shorten(const char *string, int max)
{
	int			len = strlen(string);
	Datum		md5 = DirectFunctionCall1(md5_text, PointerGetDatum(cstring_to_text_with_len(string, len)));

	return psprintf("%.*s... %s", pg_mbcliplen(string, len, max - 40), string,
					TextDatumGetCString(md5));
}

/*
 * A user's name goes into a B-tree, whose entries are limited to 2,704 bytes.  No name may
 * make a write fail, so a longer one is cut, and its MD5 tells it from others.
 */
static bool
convert_user(const char *name, Datum *value)
{
	*value = CStringGetTextDatum(strlen(name) <= MAX_USER_BYTES ? name : shorten(name, MAX_USER_BYTES));
	return true;
}

static bool
convert_int8(const char *text, Datum *value)
{
	int64		number;

	if (!AuditParseInteger(text, &number))
		return false;
	*value = Int64GetDatum(number);
	return true;
}

/* Every row of the log has the context, so a long one would fill the disk: it is cut. */
static bool
convert_json(const char *text, Datum *value)
{
	if (strlen(text) > MAX_CONTEXT_BYTES)
		*value = AuditJsonString(shorten(text, MAX_CONTEXT_BYTES));
	else if (!AuditParseJson(text, value))
		*value = AuditJsonString(text);
	return true;
}

static Setting user_id = {.name = "app.current_user", .convert = convert_user, .byref = true};
static Setting session_id = {.name = "app.session_id", .convert = convert_int8};
static Setting app_context = {.name = "app.context", .convert = convert_json, .byref = true};

/* ---- reading ---------------------------------------------------------------------- */

/* The value of a setting, kept until its text changes.  False when it is unset or cannot be converted. */
static bool
read_setting(Setting *s, Datum *value)
{
	const char *text = FindConfigOption(s->name, &s->place);
	MemoryContext oldcontext;

	s->set = text != NULL && text[0] != '\0';
	if (!s->set)
		return false;
	if (s->text == NULL || strcmp(s->text, text) != 0)
	{
		Datum		fresh = (Datum) 0;
		bool		isnull = !s->convert(valid_text(text), &fresh);
		char	   *copy;

		oldcontext = MemoryContextSwitchTo(session_cxt);
		copy = pstrdup(text);
		if (s->byref && !isnull)
			fresh = datumCopy(fresh, false, -1);
		MemoryContextSwitchTo(oldcontext);

		if (s->text)
			pfree(s->text);
		if (s->byref && !s->isnull && s->value != (Datum) 0)
			pfree(DatumGetPointer(s->value));
		s->text = copy;
		s->value = fresh;
		s->isnull = isnull;
	}
	*value = s->value;
	return !s->isnull;
}

/* What the context becomes with a session that is no integer, kept until one of the two changes. */
typedef struct NamedSession
{
	char	   *session;		/* NULL: nothing cached */
	char	   *context;		/* NULL: there was none */
	Datum		value;
} NamedSession;

static NamedSession named_session;

/* {"session_id": the session, ...}: the context's own members, or the context as "context". */
static Datum
join_session(const char *session, bool has_context, Datum context)
{
	StringInfoData text;
	Datum		object;

	initStringInfo(&text);
	appendStringInfoString(&text, "{\"session_id\": ");
	session = valid_text(session);
	escape_json(&text, strlen(session) <= MAX_USER_BYTES ? session : shorten(session, MAX_USER_BYTES));
	if (has_context && !JB_ROOT_IS_OBJECT(DatumGetJsonbP(context)))
	{
		Jsonb	   *jb = DatumGetJsonbP(context);

		appendStringInfo(&text, ", \"context\": %s", JsonbToCString(NULL, &jb->root, VARSIZE(jb)));
	}
	appendStringInfoChar(&text, '}');
	if (!AuditParseJson(text.data, &object))
		return AuditJsonString(text.data);
	/* a member of that name that the application put there itself stays */
	if (has_context && JB_ROOT_IS_OBJECT(DatumGetJsonbP(context)))
		object = DirectFunctionCall2(jsonb_concat, object, context);
	return object;
}

/* The context with the session, of settings that have just been read. */
static Datum
context_with_session(bool has_context, Datum context)
{
	NamedSession *n = &named_session;
	const char *text = has_context ? app_context.text : NULL;
	MemoryContext oldcontext;
	Datum		fresh;

	if (n->session != NULL && strcmp(n->session, session_id.text) == 0 &&
		(n->context == NULL ? text == NULL : text != NULL && strcmp(n->context, text) == 0))
		return n->value;
	fresh = join_session(session_id.text, has_context, context);
	if (n->session != NULL)
	{
		pfree(n->session);
		n->session = NULL;
		if (n->context != NULL)
			pfree(n->context);
		n->context = NULL;
		pfree(DatumGetPointer(n->value));
	}
	oldcontext = MemoryContextSwitchTo(session_cxt);
	n->value = datumCopy(fresh, false, -1);
	n->context = text ? pstrdup(text) : NULL;
	n->session = pstrdup(session_id.text);
	MemoryContextSwitchTo(oldcontext);
	return n->value;
}

static Datum
role_name(RoleName *cache, Oid roleid)
{
	if (cache->roleid != roleid)
	{
		char	   *name = GetUserNameFromId(roleid, true);
		MemoryContext oldcontext;
		Datum		fresh;

		/* a role dropped while its session goes on has no name any more */
		if (name == NULL)
			name = psprintf("%u", roleid);
		fresh = CStringGetTextDatum(valid_text(name));
		oldcontext = MemoryContextSwitchTo(session_cxt);
		fresh = datumCopy(fresh, false, -1);
		MemoryContextSwitchTo(oldcontext);
		if (cache->name != (Datum) 0)
			pfree(DatumGetPointer(cache->name));
		cache->name = fresh;
		cache->roleid = roleid;
	}
	return cache->name;
}

static void
roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	active_role.roleid = InvalidOid;
	session_role.roleid = InvalidOid;
}

/* The session and the context; a session that is no integer is in the context. */
static void
fill_session(AuditRow *row, const AuditColumns *columns)
{
	bool		numbered = read_setting(&session_id, &row->values[AUDIT_SESSION_ID]);
	bool		has_context;

	row->nulls[AUDIT_SESSION_ID] = !numbered;
	if (!columns->attnum[AUDIT_APP_CONTEXT])
		return;
	has_context = read_setting(&app_context, &row->values[AUDIT_APP_CONTEXT]);
	row->nulls[AUDIT_APP_CONTEXT] = !has_context;
	if (session_id.set && !numbered)
	{
		row->values[AUDIT_APP_CONTEXT] = context_with_session(has_context, row->values[AUDIT_APP_CONTEXT]);
		row->nulls[AUDIT_APP_CONTEXT] = false;
	}
}

/* Fills in the fields of the user and the session, those for which the log has columns. */
void
AuditFillSession(AuditRow *row, const AuditColumns *columns)
{
	static Datum system_user = (Datum) 0;

	if (unlikely(system_user == (Datum) 0))
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(session_cxt);

		system_user = CStringGetTextDatum("system");
		MemoryContextSwitchTo(oldcontext);
	}
	row->nulls[AUDIT_USER_ID] = false;
	if (!read_setting(&user_id, &row->values[AUDIT_USER_ID]))
		row->values[AUDIT_USER_ID] = system_user;
	if (columns->attnum[AUDIT_SESSION_ID] || columns->attnum[AUDIT_APP_CONTEXT])
		fill_session(row, columns);
	if (columns->attnum[AUDIT_DB_USER])
	{
		row->values[AUDIT_DB_USER] = role_name(&active_role, GetUserId());
		row->nulls[AUDIT_DB_USER] = false;
	}
	if (columns->attnum[AUDIT_SESSION_USER])
	{
		row->values[AUDIT_SESSION_USER] = role_name(&session_role, GetSessionUserId());
		row->nulls[AUDIT_SESSION_USER] = false;
	}
}

/* Makes the memory for what is kept, and asks to be told when roles change.  Once per session. */
void
AuditSessionInit(void)
{
	session_cxt = AllocSetContextCreate(TopMemoryContext, "aquacis audit user",
										ALLOCSET_SMALL_SIZES);
	CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
}
