/*
 * audit_columns.c
 *	  Which column of a log takes what.
 *
 * A log is a table that was found, not made.  Columns are recognised by name, with or
 * without the prefix al_; a column of an unknown name gets its default.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/audit.h"

/* the type of a field's value, before any conversion to the column's type */
const Oid	AuditFieldTypes[AUDIT_NFIELDS] = {
	[AUDIT_CHANGED_AT] = TIMESTAMPTZOID,
	[AUDIT_XACT_ID] = XID8OID,
	[AUDIT_XACT_SEQ] = INT4OID,
	[AUDIT_TABLE_SCHEMA] = TEXTOID,
	[AUDIT_TABLE_NAME] = TEXTOID,
	[AUDIT_RECORD_ID] = INT8OID,
	[AUDIT_RECORD_KEY] = JSONBOID,
	[AUDIT_KEY_TEXT] = TEXTOID,
	[AUDIT_ACTION] = BPCHAROID,
	[AUDIT_OLD_DATA] = JSONBOID,
	[AUDIT_NEW_DATA] = JSONBOID,
	[AUDIT_CHANGED_FIELDS] = JSONBOID,
	[AUDIT_USER_ID] = TEXTOID,
	[AUDIT_DB_USER] = TEXTOID,
	[AUDIT_SESSION_USER] = TEXTOID,
	[AUDIT_SESSION_ID] = INT8OID,
	[AUDIT_APP_CONTEXT] = JSONBOID,
	[AUDIT_WRITTEN_AT] = TIMESTAMPTZOID,
	[AUDIT_TABLE_ID] = INT4OID,
	[AUDIT_NEW_KEY] = JSONBOID,
};

static const struct
{
	const char *name;
	AuditField	field;
}			known_columns[] = {
	{"changed_at", AUDIT_CHANGED_AT},
	{"xact_id", AUDIT_XACT_ID},
	{"xact_seq", AUDIT_XACT_SEQ},
	{"table_schema", AUDIT_TABLE_SCHEMA},
	{"table_name", AUDIT_TABLE_NAME},
	{"record_id", AUDIT_RECORD_ID},
	{"record_key", AUDIT_RECORD_KEY},
	{"action", AUDIT_ACTION},
	{"operation", AUDIT_ACTION},
	{"old_data", AUDIT_OLD_DATA},
	{"new_data", AUDIT_NEW_DATA},
	{"changed_fields", AUDIT_CHANGED_FIELDS},
	{"user_id", AUDIT_USER_ID},
	{"db_user", AUDIT_DB_USER},
	{"session_user_name", AUDIT_SESSION_USER},
	{"session_id", AUDIT_SESSION_ID},
	{"sesid", AUDIT_SESSION_ID},
	{"app_context", AUDIT_APP_CONTEXT},
	{"written_at", AUDIT_WRITTEN_AT},
	{"table_id", AUDIT_TABLE_ID},
	{"new_key", AUDIT_NEW_KEY},
};

/* Which form of the key a column of this type can hold: object, integer or text. */
static AuditField
key_field(AuditField field, Oid typid)
{
	char		category;
	bool		preferred;

	switch (getBaseType(typid))
	{
		case JSONOID:
		case JSONBOID:
			return AUDIT_RECORD_KEY;
		default:
			break;
	}
	get_type_category_preferred(getBaseType(typid), &category, &preferred);
	return category == TYPCATEGORY_NUMERIC ? AUDIT_RECORD_ID : AUDIT_KEY_TEXT;
}

/* What a column of a log takes, by its name and type; AUDIT_NFIELDS: nothing, it gets its default. */
AuditField
AuditFieldOf(Form_pg_attribute att)
{
	const char *name = NameStr(att->attname);

	if (strncmp(name, "al_", 3) == 0)
		name += 3;
	for (int i = 0; i < lengthof(known_columns); i++)
	{
		if (strcmp(name, known_columns[i].name) == 0)
		{
			AuditField	field = known_columns[i].field;

			if (field == AUDIT_RECORD_ID || field == AUDIT_RECORD_KEY)
				return key_field(field, att->atttypid);
			return field;
		}
	}
	return AUDIT_NFIELDS;
}

/* 42703 unless there is a column for the field.  name: what to call it, quoted. */
static void
require_column(const AuditColumns *columns, AuditField field, const char *name)
{
	if (columns->attnum[field] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" cannot serve as an audit log", get_rel_name(columns->relid)),
				 errdetail("It has no column %s.", name),
				 errhint("Add the column, or make a log with audit_install().")));
}

/*
 * Which column of a log, or of one of its partitions, takes what.  Of two columns for the
 * same field the first counts.  42703 when the table lacks a column that a log must have.
 */
void
AuditMapColumns(Relation rel, AuditColumns *columns)
{
	TupleDesc	desc = RelationGetDescr(rel);

	memset(columns, 0, sizeof(*columns));
	columns->relid = RelationGetRelid(rel);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AuditField	field;

		if (att->attisdropped || att->attgenerated)
			continue;
		field = AuditFieldOf(att);
		if (field != AUDIT_NFIELDS && columns->attnum[field] == 0)
			columns->attnum[field] = att->attnum;
	}
	require_column(columns, AUDIT_CHANGED_AT, "\"changed_at\"");
	require_column(columns, AUDIT_TABLE_NAME, "\"table_name\"");
	require_column(columns, AUDIT_ACTION, "\"action\"");
	require_column(columns, AUDIT_OLD_DATA, "\"old_data\"");
	require_column(columns, AUDIT_NEW_DATA, "\"new_data\"");
	require_column(columns, AUDIT_CHANGED_FIELDS, "\"changed_fields\"");
	if (columns->attnum[AUDIT_RECORD_ID] == 0 && columns->attnum[AUDIT_KEY_TEXT] == 0)
		require_column(columns, AUDIT_RECORD_KEY, "\"record_id\" or \"record_key\"");
}
