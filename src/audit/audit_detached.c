/*
 * audit_detached.c
 *	  The table audit_detached: months that audit_maintain took off a log.
 *
 * A month that was detached is a table of its own, or an archive somewhere, or gone.  Who
 * reads the log has to know that there was more: its name, its limits, and the last
 * transaction in it.  When the month is attached again, under the name that it had, the
 * next audit_maintain deletes the record.
 *
 * The table is the extension's and is written as its owner, whoever calls.  Nothing but
 * values comes from the caller.  Everybody may read it: it has names and times.
 *
 * Of a database whose extension is older than the library nothing is recorded.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/xid8.h"

#include "audit/audit.h"
#include "audit/audit_months.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/owntable.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

/* Runs a command on audit_detached, for %s, as its owner, where there is such a table. */
static void
run_as_owner(Oid fnoid, const char *command, int nargs, const SpiArg *args)
{
	if (OidIsValid(get_relname_relid("audit_detached", get_func_namespace(fnoid))))
		OwnTableRun(fnoid, "audit_detached", command, nargs, args);
}

/*
 * The last transaction in a month, as a parameter of type xid8: null when the month has no
 * entries, or the log no transactions.  Reads the month, as its owner; within an SPI
 * connection.
 */
SpiArg
AuditLastXact(Oid month)
{
	Relation	rel = table_open(month, AccessShareLock);
	SpiArg		none = SpiNullArg(XID8OID);
	AuditColumns columns;
	const char *column;
	Datum		value;
	bool		isnull;

	AuditMapColumns(rel, &columns);
	table_close(rel, NoLock);
	if (columns.attnum[AUDIT_XACT_ID] == 0)
		return none;
	column = AuditReadColumnAs(&columns, AUDIT_XACT_ID, XID8OID);
	if (UserCodeQuery(CatalogOwner(month),
					  psprintf("SELECT %s FROM %s l WHERE %s IS NOT NULL ORDER BY 1 DESC LIMIT 1", column,
							   NamesQualified(month), column), 0, NULL, NULL, NULL, false) == 0)
		return none;
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return SpiDatumArg(XID8OID, FullTransactionIdGetDatum(DatumGetFullTransactionId(value)));
}

static SpiArg
limit(TimestampTz at)
{
	return TIMESTAMP_NOT_FINITE(at) ? SpiNullArg(TIMESTAMPTZOID) : SpiDatumArg(TIMESTAMPTZOID, TimestampTzGetDatum(at));
}

/*
 * Records that a month, which still exists, is taken off the log.  last_xact: of
 * AuditLastXact.  dropped: it goes at once.  Within an SPI connection.
 */
void
AuditNoteDetached(Oid fnoid, Oid logid, const AuditRange *month, SpiArg last_xact, bool dropped)
{
	SpiArg		args[6] = {
		SpiDatumArg(OIDOID, ObjectIdGetDatum(logid)), SpiTextArg(NamesQualified(month->relid)),
		limit(month->from), limit(month->to), last_xact, SpiDatumArg(BOOLOID, BoolGetDatum(dropped))
	};

	run_as_owner(fnoid, "INSERT INTO %s (log, month, range_from, range_to, last_xact, dropped) "
				 "VALUES ($1, $2, $3, $4, $5, $6)", 6, args);
}

/* Deletes the records of months that are partitions of the log again.  Within an SPI connection. */
void
AuditForgetAttached(Oid fnoid, Oid logid, const AuditRanges *ranges)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(ranges->n, 1));
	int			n = 0;
	SpiArg		args[2];

	for (int i = 0; i < ranges->n; i++)
		if (get_rel_name(ranges->ranges[i].relid) != NULL)
			names[n++] = CStringGetTextDatum(NamesQualified(ranges->ranges[i].relid));
	args[0] = SpiDatumArg(OIDOID, ObjectIdGetDatum(logid));
	args[1] = SpiTextArrayArg(names, n);
	run_as_owner(fnoid, "DELETE FROM %s WHERE log OPERATOR(pg_catalog.=) $1 AND NOT dropped "
				 "AND month OPERATOR(pg_catalog.=) ANY ($2)", 2, args);
}
