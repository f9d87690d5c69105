/*
 * audit_install.c
 *	  audit_install: the log, its partitions and indexes.
 *
 * Months are months of UTC, so that sessions with different time zones agree on
 * where one ends.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "common/args.h"
#include "audit/audit.h"
#include "audit/audit_months.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/rights.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_install);

/*
 * Was the server built with lz4?  The server that runs is asked, since it need not be the
 * one whose headers we were compiled with.
 */
static bool
have_lz4(void)
{
	return SpiRun("SELECT FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) "
				  "'default_toast_compression' AND 'lz4' OPERATOR(pg_catalog.=) ANY (enumvals)") > 0;
}

/*
 * Creates the log and its DEFAULT partition.  Within an SPI connection.
 *
 * Every change maintains the indexes of the current month, so there are few, and their
 * entries are small.  A record is found by its key and the table's id, whose collation is
 * none.  A time or a transaction is found by one BRIN index: entries are only appended.
 * There is no primary key: entries are different by construction, and nobody refers to
 * them.  Rows that nobody searches by user are left out of that index (user 'system'
 * stands for unattended jobs).  A record_key can be too large for an index, so its hash
 * is indexed.
 *
 * Without a key, a published table takes no DELETE.  Rows leave the DEFAULT partition
 * that way (audit_months.c), so its identity is the whole row.
 */
static void
create_log(Oid nspoid, Oid our_nspoid, bool gin)
{
	const char *schema = quote_identifier(get_namespace_name(nspoid));

	/* the operator class came with interface 1.1 */
	const char *by_xact = OidIsValid(get_relname_relid("audit_table", our_nspoid)) ?
	psprintf(", xact_id %s.xid8_minmax_ops", quote_identifier(get_namespace_name(our_nspoid))) : "";
	const char *log = psprintf("%s.audit_log", schema);
	const char *packed = have_lz4() ? " COMPRESSION lz4" : "";
	char	   *spare;

	SpiRun(psprintf("CREATE TABLE %s ("
					"changed_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(), "
					"xact_id pg_catalog.xid8 NOT NULL, "
					"xact_seq pg_catalog.int4 NOT NULL, "
					"table_schema pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL, "
					"table_name pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL, "
					"record_id pg_catalog.int8, "
					"record_key pg_catalog.jsonb, "
					"action pg_catalog.bpchar(1) NOT NULL, "
					"old_data pg_catalog.jsonb%s, "
					"new_data pg_catalog.jsonb%s, "
					"changed_fields pg_catalog.jsonb%s, "
					"user_id pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL, "
					"db_user pg_catalog.text, "
					"session_user_name pg_catalog.text, "
					"session_id pg_catalog.int8, "
					"app_context pg_catalog.jsonb%s, "
					"written_at pg_catalog.timestamptz, "
					"table_id pg_catalog.int4, "
					"new_key pg_catalog.jsonb) PARTITION BY RANGE (changed_at)",
					log, packed, packed, packed, packed));
	RightsOfOwnerAlone(get_relname_relid("audit_log", nspoid));
	SpiRun(psprintf("CREATE INDEX ON %s USING brin (changed_at, written_at%s) WITH (autosummarize = on)", log,
					by_xact));
	SpiRun(psprintf("CREATE INDEX ON %s (record_id, table_id) WHERE record_id IS NOT NULL", log));
	SpiRun(psprintf("CREATE INDEX ON %s (pg_catalog.jsonb_hash_extended(record_key, 0), table_id) "
					"WHERE record_key IS NOT NULL", log));
	SpiRun(psprintf("CREATE INDEX ON %s (pg_catalog.jsonb_hash_extended(new_key, 0), table_id) "
					"WHERE new_key IS NOT NULL", log));
	SpiRun(psprintf("CREATE INDEX ON %s (user_id, changed_at) "
					"WHERE user_id OPERATOR(pg_catalog.<>) 'system'", log));
	if (gin)
		SpiRun(psprintf("CREATE INDEX ON %s USING gin (changed_fields)", log));
	/* an older log may have left its partitions under this name */
	spare = ChooseRelationName("audit_log", NULL, "default", nspoid, false);
	SpiRun(psprintf("CREATE TABLE %s.%s PARTITION OF %s DEFAULT", schema, quote_identifier(spare), log));
	RightsOfOwnerAlone(get_relname_relid(spare, nspoid));
	/* its rows move into months; what is published via the root has the root's identity */
	SpiRun(psprintf("ALTER TABLE %s.%s REPLICA IDENTITY FULL", schema, quote_identifier(spare)));
	SpiRun(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", log));
}

/*
 * A NOTICE for a log that lacks columns of this version: it is written and read as it is,
 * and readers know less.
 */
static void
tell_older_log(Oid logid)
{
	static const struct
	{
		AuditField	field;
		const char *definition;
	}			columns[] = {
		{AUDIT_WRITTEN_AT, "written_at timestamptz"},
		{AUDIT_TABLE_ID, "table_id integer"},
		{AUDIT_NEW_KEY, "new_key jsonb"},
	};
	Relation	log = table_open(logid, AccessShareLock);
	AuditColumns has;
	StringInfoData missing;

	initStringInfo(&missing);
	AuditMapColumns(log, &has);
	for (int i = 0; i < lengthof(columns); i++)
		if (has.attnum[columns[i].field] == 0)
			appendStringInfo(&missing, "%sADD COLUMN %s", missing.len ? ", " : "", columns[i].definition);
	table_close(log, NoLock);
	if (missing.len > 0)
		ereport(NOTICE,
				(errmsg("log \"%s\" was made by an older version", get_rel_name(logid)),
				 errdetail("It goes on as it is. Without these columns, the order of overlapping transactions and the identity of tables are not logged."),
				 errhint("ALTER TABLE %s %s; it takes a moment and an exclusive lock. docs/audit.md says what else there is to do.",
						 NamesQualified(logid), missing.data)));
}

/*
 * audit_install(schema, gin, months)
 */
Datum
audit_install(PG_FUNCTION_ARGS)
{
	Oid			nspoid = PG_ARGISNULL(0) ? get_func_namespace(fcinfo->flinfo->fn_oid)
	: get_namespace_oid(NameStr(*PG_GETARG_NAME(0)), false);
	bool		gin = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	int			months = 3;
	Oid			logid;
	int			now;
	int			created = 0;

	if (!PG_ARGISNULL(2))
		months = ArgsInt(fcinfo, 2, "months", 0, 1200,
						 "3 months ahead are enough when audit_maintain runs every day.");
	SPI_connect();
	if (!OidIsValid(get_relname_relid("audit_log", nspoid)))
		create_log(nspoid, get_func_namespace(fcinfo->flinfo->fn_oid), gin);
	logid = get_relname_relid("audit_log", nspoid);
	if (CatalogOwner(logid) != GetUserId() &&
		!AuditTrustsLog(logid, InvalidOid, fcinfo->flinfo->fn_oid))
		AuditRefuseLog(logid, false);
	AuditRefuseStranger(find_all_inheritors(logid, NoLock, NULL));
	tell_older_log(logid);
	now = AuditMonthOf(GetCurrentTransactionStartTimestamp());
	for (int i = 0; i <= months; i++)
		AuditCreateMonth(logid, now + i, &created);
	SPI_finish();
	PG_RETURN_VOID();
}
