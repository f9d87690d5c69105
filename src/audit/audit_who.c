/*
 * audit_who.c
 *	  Who is writing: app.current_user, app.session_id, app.context, the roles.
 *
 * The three settings belong to the application; they are read for every row,
 * because any statement may change them, and an empty one counts as unset (that
 * is what a transaction-local setting leaves behind in its session).  What a
 * setting converts to is kept until its text changes.  Role names are kept until
 * a role changes.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "audit/audit.h"

#define MAX_USER_BYTES 2048

/* a setting's last text, NULL before the first, and what it became */
typedef struct Setting
{
	const char *name;
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

static MemoryContext who_cxt = NULL;
static RoleName active_role;
static RoleName session_role;

/* ---- conversions: false is "as if unset" ---------------------------------------- */

/*
 * A user's name goes into a B-tree, whose entries end at 2,704 bytes, and no name
 * may make a write fail: a longer one is cut and told apart by its MD5.
 */
static bool
convert_user(const char *name, Datum *value)
{
	int			len = strlen(name);
	Datum		md5;

	if (len <= MAX_USER_BYTES)
	{
		*value = PointerGetDatum(cstring_to_text_with_len(name, len));
		return true;
	}
	md5 = DirectFunctionCall1(md5_text, PointerGetDatum(cstring_to_text_with_len(name, len)));
	*value = CStringGetTextDatum(psprintf("%.*s... %s", pg_mbcliplen(name, len, MAX_USER_BYTES - 40),
										  name, TextDatumGetCString(md5)));
	return true;
}

static bool
convert_int8(const char *text, Datum *value)
{
	char	   *end;
	int64		number;

	errno = 0;
	number = strtoll(text, &end, 10);
	while (*end == ' ')
		end++;
	if (errno != 0 || end == text || *end != '\0')
		return false;
	*value = Int64GetDatum(number);
	return true;
}

/* text as a JSON string */
static Datum
quoted(const char *text)
{
	StringInfoData json;
	Datum		value;

	initStringInfo(&json);
	escape_json(&json, text);
	value = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	pfree(json.data);
	return value;
}

/*
 * jsonb_in allocates and computes, nothing else, so that its complaints about
 * the text may be caught without a subtransaction.  Anything but a complaint
 * about data (a cancelled query, no memory) goes on up.
 */
static bool
convert_json(const char *text, Datum *value)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool is_json = true;

	PG_TRY();
	{
		*value = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	}
	PG_CATCH();
	{
		int			category;

		MemoryContextSwitchTo(cxt);
		category = ERRCODE_TO_CATEGORY(geterrcode());
		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		FlushErrorState();
		is_json = false;
	}
	PG_END_TRY();

	if (!is_json)
		*value = quoted(text);
	return true;
}

static Setting user_id = {.name = "app.current_user", .convert = convert_user, .byref = true};
static Setting session_id = {.name = "app.session_id", .convert = convert_int8};
static Setting app_context = {.name = "app.context", .convert = convert_json, .byref = true};

/* ---- reading ---------------------------------------------------------------------- */

static bool
read_setting(Setting *s, Datum *value)
{
	const char *text = GetConfigOption(s->name, true, false);
	MemoryContext old;

	if (text == NULL || text[0] == '\0')
		return false;
	if (s->text == NULL || strcmp(s->text, text) != 0)
	{
		Datum		fresh = (Datum) 0;
		char	   *copy;
		bool		isnull;

		old = MemoryContextSwitchTo(who_cxt);
		copy = pstrdup(text);
		isnull = !s->convert(copy, &fresh);
		MemoryContextSwitchTo(old);

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
		MemoryContext old = MemoryContextSwitchTo(who_cxt);
		Datum		fresh;

		/* a role dropped while its session goes on has no name any more */
		fresh = name ? CStringGetTextDatum(name) : CStringGetTextDatum(psprintf("%u", roleid));
		MemoryContextSwitchTo(old);
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

void
AuditFillWho(AuditRow *row, const AuditLog *log)
{
	static Datum system_user = (Datum) 0;

	if (unlikely(system_user == (Datum) 0))
	{
		MemoryContext old = MemoryContextSwitchTo(who_cxt);

		system_user = CStringGetTextDatum("system");
		MemoryContextSwitchTo(old);
	}
	row->nulls[AUDIT_USER_ID] = false;
	if (!read_setting(&user_id, &row->values[AUDIT_USER_ID]))
		row->values[AUDIT_USER_ID] = system_user;
	if (log->attnum[AUDIT_SESSION_ID])
		row->nulls[AUDIT_SESSION_ID] = !read_setting(&session_id, &row->values[AUDIT_SESSION_ID]);
	if (log->attnum[AUDIT_APP_CONTEXT])
		row->nulls[AUDIT_APP_CONTEXT] = !read_setting(&app_context,
													  &row->values[AUDIT_APP_CONTEXT]);
	if (log->attnum[AUDIT_DB_USER])
	{
		row->values[AUDIT_DB_USER] = role_name(&active_role, GetUserId());
		row->nulls[AUDIT_DB_USER] = false;
	}
	if (log->attnum[AUDIT_SESSION_USER])
	{
		row->values[AUDIT_SESSION_USER] = role_name(&session_role, GetSessionUserId());
		row->nulls[AUDIT_SESSION_USER] = false;
	}
}

void
AuditWhoInit(void)
{
	who_cxt = AllocSetContextCreate(TopMemoryContext, "aquacis audit user",
									ALLOCSET_SMALL_SIZES);
	CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
}
