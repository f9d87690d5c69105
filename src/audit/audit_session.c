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
	bool		isnull;
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

	if (text == NULL || text[0] == '\0')
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
	if (columns->attnum[AUDIT_SESSION_ID])
		row->nulls[AUDIT_SESSION_ID] = !read_setting(&session_id, &row->values[AUDIT_SESSION_ID]);
	if (columns->attnum[AUDIT_APP_CONTEXT])
		row->nulls[AUDIT_APP_CONTEXT] = !read_setting(&app_context,
													  &row->values[AUDIT_APP_CONTEXT]);
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
