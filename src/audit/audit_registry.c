/*
 * audit_registry.c
 *	  The ids of audited tables, kept in the table audit_table.
 *
 * A table is known by a small number, its id.  audit_enable() gives it one, which is an
 * argument of its trigger (id=17) and is written into every entry (table_id).  So its
 * entries are its own whatever it and its schema are called, and a new table under
 * an old name has another id.  Numbers are never used twice, also not after DROP EXTENSION
 * and CREATE EXTENSION: the sequence starts at random.
 *
 * audit_table says to which table an id belongs, as regclass, so that a dump carries
 * it over by name.  The trigger's argument alone is not believed: whoever can make a
 * trigger on a table of his own could put his entries into the history of another.
 *
 * What survives what:
 *	- rename, SET SCHEMA, rename of the schema, any ALTER TABLE: all
 *	- audit_disable, then audit_enable: the id, found by the table's OID
 *	- pg_dump and restore, pg_upgrade: all; of a dropped table, a number in place of a name
 *	- DROP and CREATE: a new id; audit_continue() joins the old one
 *	- DROP EXTENSION ... CASCADE: the ids are forgotten, and audit_continue() joins them
 *
 * The table is the extension's.  Roles who audit their own tables need no rights on
 * it: these functions write it as its owner.  Nothing but values comes from the caller.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "common/names.h"
#include "common/owntable.h"
#include "common/spi.h"
#include "common/textarray.h"
#include "compat.h"

/* columns of audit_table, as the extension script has them */
enum
{
	COLUMN_ID = 1, COLUMN_RELID, COLUMN_SCHEMA, COLUMN_NAME, COLUMN_ENABLED_AT, COLUMN_DISABLED_AT,
	COLUMN_CONTINUES, COLUMN_NAMES_BEFORE, COLUMN_KEYS,
	COLUMN_LOG, NCOLUMNS = COLUMN_LOG
};

#define TABLE "audit_table"

static char *
text_of(Datum value)
{
	return TextDatumGetCString(value);
}

/* A row of audit_table, in the current context. */
static void
read_row(HeapTuple tuple, TupleDesc desc, AuditRegistered *out)
{
	Datum		values[NCOLUMNS + 1];
	bool		nulls[NCOLUMNS + 1];

	for (int i = 1; i <= NCOLUMNS; i++)
		values[i] = heap_getattr(tuple, i, desc, &nulls[i]);
	out->id = DatumGetInt32(values[COLUMN_ID]);
	out->relid = nulls[COLUMN_RELID] ? InvalidOid : DatumGetObjectId(values[COLUMN_RELID]);
	out->schema = text_of(values[COLUMN_SCHEMA]);
	out->name = text_of(values[COLUMN_NAME]);
	out->disabled = !nulls[COLUMN_DISABLED_AT];
	out->disabled_at = out->disabled ? DatumGetTimestampTz(values[COLUMN_DISABLED_AT]) : 0;
	out->enabled_at = DatumGetTimestampTz(values[COLUMN_ENABLED_AT]);
	out->names_before = DatumGetBool(values[COLUMN_NAMES_BEFORE]);
	out->continues = nulls[COLUMN_CONTINUES] ? 0 : DatumGetInt32(values[COLUMN_CONTINUES]);
	out->log = nulls[COLUMN_LOG] ? InvalidOid : DatumGetObjectId(values[COLUMN_LOG]);
	out->keys = nulls[COLUMN_KEYS] ? NIL : TextArrayToList(DatumGetArrayTypeP(values[COLUMN_KEYS]));
}

/* Is this row one that is looked for? */
typedef bool (*Wanted) (const AuditRegistered *row, const void *arg);

static int
by_id(const ListCell *a, const ListCell *b)
{
	return ((AuditRegistered *) lfirst(a))->id - ((AuditRegistered *) lfirst(b))->id;
}

/*
 * The rows with that value in a column (InvalidAttrNumber: all) that are wanted (NULL: all), the
 * latest id last, as a list of AuditRegistered in the current context.  The latest committed
 * rows, and our own.
 */
static List *
find_rows(Oid fnoid, AttrNumber column, RegProcedure equal, Datum value, Wanted wanted, const void *arg)
{
	OwnTableRows rows;
	List	   *found = NIL;
	HeapTuple	tuple;

	if (!OwnTableBegin(&rows, fnoid, TABLE, column, equal, value))
		return NIL;
	while (HeapTupleIsValid(tuple = OwnTableNext(&rows)))
	{
		AuditRegistered *row = palloc(sizeof(AuditRegistered));

		read_row(tuple, RelationGetDescr(rows.rel), row);
		if (wanted == NULL || wanted(row, arg))
			found = lappend(found, row);
	}
	OwnTableEnd(&rows);
	list_sort(found, by_id);
	return found;
}

/* By an index: the trigger asks so once per session and table, who reads a history each time. */
static List *
find_by_value(Oid fnoid, AttrNumber column, RegProcedure equal, Datum value)
{
	return find_rows(fnoid, column, equal, value, NULL, NULL);
}

/* By a scan of the table, which has as many rows as there are audited tables. */
static List *
find_wanted(Oid fnoid, Wanted wanted, const void *arg)
{
	return find_rows(fnoid, InvalidAttrNumber, InvalidOid, (Datum) 0, wanted, arg);
}

/* The table of an id; false when there is none.  What *out points to is in the current context. */
bool
AuditRegistryById(Oid fnoid, int32 id, AuditRegistered *out)
{
	List	   *rows = find_by_value(fnoid, COLUMN_ID, F_INT4EQ, Int32GetDatum(id));

	if (rows == NIL)
		return false;
	*out = *(AuditRegistered *) linitial(rows);
	return true;
}

/* The rows of a table, the latest last: one, or none.  A list of AuditRegistered. */
List *
AuditRegistryByTable(Oid fnoid, Oid relid)
{
	return find_by_value(fnoid, COLUMN_RELID, F_OIDEQ, ObjectIdGetDatum(relid));
}

/* The rows of all tables, in the order of their ids.  A list of AuditRegistered. */
List *
AuditRegistryAll(Oid fnoid)
{
	return find_wanted(fnoid, NULL, NULL);
}

typedef struct TableName
{
	const char *schema;			/* NULL: any */
	const char *name;
} TableName;

static bool
has_name(const AuditRegistered *row, const void *arg)
{
	const TableName *wanted = arg;

	return strcmp(row->name, wanted->name) == 0 &&
		(wanted->schema == NULL || strcmp(row->schema, wanted->schema) == 0);
}

/* The rows of all tables that had this name when they got their id; schema NULL: any. */
List *
AuditRegistryByName(Oid fnoid, const char *schema, const char *name)
{
	TableName	wanted = {schema, name};

	return find_wanted(fnoid, has_name, &wanted);
}

static bool
has_former(const AuditRegistered *row, const void *arg)
{
	return row->continues == *(const int32 *) arg;
}

/* The latest id that carries on the history of another; 0: none. */
int32
AuditRegistryHeir(Oid fnoid, int32 id)
{
	List	   *rows = find_wanted(fnoid, has_former, &id);

	return rows == NIL ? 0 : ((AuditRegistered *) llast(rows))->id;
}

/* ---- writing ------------------------------------------------------------------------- */

/* Runs a command on audit_table, for %s, as its owner: OwnTableRun(). */
uint64
AuditRegistryRun(Oid fnoid, const char *command, int nargs, const SpiArg *args)
{
	return OwnTableRun(fnoid, TABLE, command, nargs, args);
}

/* Is the table that has this id, and is not the given one, still there? */
static bool
belongs_to_other(const AuditRegistered *row, Oid relid)
{
	return row->relid != relid && OidIsValid(row->relid) && get_rel_relkind(row->relid) != '\0';
}

/* A NOTICE when a table that was dropped had the name of this one, and has a history. */
static void
tell_former(Oid fnoid, Oid relid)
{
	char	   *name = get_rel_name(relid);
	AuditRegistered *former = NULL;
	ListCell   *lc;

	foreach(lc, AuditRegistryByName(fnoid, get_namespace_name(get_rel_namespace(relid)), name))
	{
		if (!belongs_to_other(lfirst(lc), relid))
			former = lfirst(lc);
	}
	if (former != NULL)
		ereport(NOTICE,
				(errmsg("a table of the name \"%s\" was audited before, as table %d", name, former->id),
				 errdetail("It is gone, and its history is not shown as that of the new one."),
				 errhint("If the new table carries it on: SELECT audit_continue(%s, %d).",
						 NamesLiteral(relid), former->id)));
}

static int32
insert_row(Oid fnoid, Oid relid, Oid logid, const char *key, bool names_before)
{
	Oid			sequence = get_relname_relid("audit_table_id_seq", get_func_namespace(fnoid));
	int32		id = (int32) AuditNextval(sequence);
	SpiArg		args[7] = {
		SpiDatumArg(INT4OID, Int32GetDatum(id)),
		SpiDatumArg(OIDOID, ObjectIdGetDatum(relid)),
		SpiTextArg(get_namespace_name(get_rel_namespace(relid))),
		SpiTextArg(get_rel_name(relid)),
		SpiTextArg(key),
		SpiDatumArg(BOOLOID, BoolGetDatum(names_before)),
		SpiDatumArg(OIDOID, ObjectIdGetDatum(logid))
	};

	tell_former(fnoid, relid);
	AuditRegistryRun(fnoid, "INSERT INTO %s (id, relid, table_schema, table_name, keys, names_before, log) "
					 "VALUES ($1, $2, $3, $4, ARRAY[$5], $6, $7)", 7, args);
	return id;
}

/*
 * The id of a table that is being audited, within an SPI connection: the one that it has
 * or had, else a new one.  before: the arguments of the trigger that it has now, NULL if it
 * has none.  A trigger without an id says that entries under the table's name are its own.
 * 0 where the extension of this database is older than its library.
 */
int32
AuditRegister(Oid fnoid, Oid relid, Oid logid, List *key, const AuditArgs *before)
{
	List	   *rows = AuditRegistryByTable(fnoid, relid);
	char	   *columns = AuditColumnList(key);
	AuditRegistered *row;

	if (!OidIsValid(OwnTableFind(fnoid, TABLE)))
		return 0;
	if (rows == NIL)
		return insert_row(fnoid, relid, logid, columns, before != NULL && before->id == 0);
	row = llast(rows);
	if (row->disabled || row->log != logid || strcmp(llast(row->keys), columns) != 0)
	{
		SpiArg		args[3] = {
			SpiDatumArg(INT4OID, Int32GetDatum(row->id)), SpiTextArg(columns),
			SpiDatumArg(OIDOID, ObjectIdGetDatum(logid))
		};

		AuditRegistryRun(fnoid, "UPDATE %s SET disabled_at = NULL, log = $3, keys = CASE WHEN "
						 "keys[pg_catalog.cardinality(keys)] OPERATOR(pg_catalog.=) $2 THEN keys "
						 "ELSE keys OPERATOR(pg_catalog.||) $2 END WHERE id OPERATOR(pg_catalog.=) $1", 3, args);
	}
	return row->id;
}

/* Notes that a table is not audited any more, within an SPI connection.  Its id stays its own. */
void
AuditUnregister(Oid fnoid, Oid relid)
{
	SpiArg		args[1] = {SpiDatumArg(OIDOID, ObjectIdGetDatum(relid))};

	if (OidIsValid(OwnTableFind(fnoid, TABLE)))
		AuditRegistryRun(fnoid, "UPDATE %s SET disabled_at = pg_catalog.now() WHERE relid "
						 "OPERATOR(pg_catalog.=) $1 AND disabled_at IS NULL", 1, args);
}
