/*
 * audit_months.c
 *	  Monthly partitions of a log: which exist, and making those that do not.
 *
 * A month may overlap partitions of other limits, made by hand, in another time zone or
 * by pg_partman.  Then partitions are made for what is not covered, so that this does not
 * fail whatever partitions there are.
 *
 * A new partition is made as a table of its own and attached: that locks the log
 * in SHARE UPDATE EXCLUSIVE mode, which lets writers go on, and only its DEFAULT
 * partition exclusively.  Rows of the month that are in the DEFAULT partition move
 * into the new table in the same transaction.  Moving and attaching runs triggers of the
 * DEFAULT partition and checks of the log, so it is done as the log's owner.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_months.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/rights.h"
#include "common/rows.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

/* ---- calendar ---------------------------------------------------------------------- */

/* Months since January of year 0, in UTC. */
int
AuditMonthOf(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm((Timestamp) at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return tm.tm_year * 12 + tm.tm_mon - 1;
}

/* Year and month (1 to 12) again; rounds down, for the years before Christ. */
void
AuditSplitMonth(int month, int *year, int *of_year)
{
	*year = month >= 0 ? month / 12 : -((11 - month) / 12);
	*of_year = month - *year * 12 + 1;
}

/*
 * The first moment of a month, in UTC.  Of the first month that a timestamp can hold, what
 * it can hold of it; after the last one there is "infinity".
 */
TimestampTz
AuditMonthStart(int month)
{
	int			year;
	int			of_year;
	int			day;

	AuditSplitMonth(month, &year, &of_year);
	day = date2j(year, of_year, 1);
	if (day >= TIMESTAMP_END_JULIAN)
		return DT_NOEND;
	return Max((TimestampTz) (day - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY, MIN_TIMESTAMP);
}

/*
 * A literal that means the same in every session, for a column of type timestamptz or
 * timestamp (which takes no notice of the zone).
 */
char *
AuditTimeLiteral(TimestampTz at)
{
	char		text[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_NOT_FINITE(at))
		return pstrdup(at < 0 ? "'-infinity'" : "'infinity'");
	if (timestamp2tm((Timestamp) at, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	tm.tm_isdst = 0;			/* or no zone is written */
	EncodeDateTime(&tm, fsec, true, 0, "UTC", USE_ISO_DATES, text);
	return quote_literal_cstr(text);
}

/* ---- what is covered ------------------------------------------------------------------ */

/*
 * The ranges of a log's partitions in ascending order.  False when it is not
 * partitioned by range of changed_at.
 */
bool
AuditReadRanges(Relation log, AuditRanges *out)
{
	PartitionDesc desc;
	PartitionBoundInfo bounds;

	memset(out, 0, sizeof(*out));
	if (AuditPartitionColumn(log) == InvalidAttrNumber)
		return false;
	desc = RelationGetPartitionDesc(log, true);
	if (desc->nparts == 0)
		return true;
	bounds = desc->boundinfo;
	if (bounds->default_index >= 0)
		out->default_part = desc->oids[bounds->default_index];
	out->ranges = palloc(sizeof(AuditRange) * (bounds->ndatums + 1));
	for (int i = 0; i <= bounds->ndatums; i++)
	{
		AuditRange *range = &out->ranges[out->n];

		if (bounds->indexes[i] < 0)
			continue;
		range->relid = desc->oids[bounds->indexes[i]];
		range->from = PG_INT64_MIN;
		range->to = PG_INT64_MAX;
		if (i > 0 && bounds->kind[i - 1][0] == PARTITION_RANGE_DATUM_VALUE)
			range->from = DatumGetTimestampTz(bounds->datums[i - 1][0]);
		if (i < bounds->ndatums && bounds->kind[i][0] == PARTITION_RANGE_DATUM_VALUE)
			range->to = DatumGetTimestampTz(bounds->datums[i][0]);
		out->n++;
	}
	return true;
}

/*
 * The same of a log given by its OID, in the current memory context; 42809 when it is not
 * partitioned by changed_at.
 */
AuditRanges
AuditRequireRanges(Oid logid)
{
	Relation	rel = table_open(logid, AccessShareLock);
	AuditRanges ranges;

	if (!AuditReadRanges(rel, &ranges))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" has no months to maintain", RelationGetRelationName(rel)),
				 errdetail("It is not partitioned by range of changed_at."),
				 errhint("audit_install() makes a log that is.")));
	table_close(rel, AccessShareLock);
	return ranges;
}

/* ---- making one -------------------------------------------------------------------------- */

/* audit_log_2026_11, or the first of _2026_11_1, _2 ... that is free */
char *
AuditMonthName(Oid logid, int month)
{
	Oid			nspoid = get_rel_namespace(logid);
	int			year;
	int			of_year;
	char	   *suffix;
	char	   *name;

	AuditSplitMonth(month, &year, &of_year);
	suffix = psprintf("%04d_%02d", year, of_year);
	name = makeObjectName(get_rel_name(logid), NULL, suffix);

	for (int i = 1; OidIsValid(get_relname_relid(name, nspoid)); i++)
		name = makeObjectName(get_rel_name(logid), NULL, psprintf("%s_%d", suffix, i));
	return name;
}

static const char *
time_column(Oid logid)
{
	Relation	rel = table_open(logid, NoLock);
	const char *name = quote_identifier(get_attname(logid, AuditPartitionColumn(rel), false));

	table_close(rel, NoLock);
	return name;
}

/*
 * The columns that are stored, as a list for SQL.  Rows are moved by name, because the
 * DEFAULT partition may have its columns in another order.
 */
static char *
stored_columns(Oid logid)
{
	Relation	rel = table_open(logid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !att->attgenerated)
			appendStringInfo(&list, "%s%s", list.len ? ", " : "",
							 quote_identifier(NameStr(att->attname)));
	}
	table_close(rel, NoLock);
	return list.data;
}

/* A command that takes the rows of [from, to) out of the DEFAULT partition. */
static const char *
take_rows(Oid logid, Oid default_part, const char *from, const char *to)
{
	const char *column = time_column(logid);
	Oid			owner = CatalogOwner(logid);
	bool		own = pg_class_aclcheck(default_part, owner, ACL_DELETE) == ACLCHECK_OK &&
	pg_class_aclcheck(default_part, owner, ACL_SELECT) == ACLCHECK_OK;

	/* without rights on the partition, through the log: no other partition has such rows */
	return psprintf("DELETE FROM %s WHERE %s OPERATOR(pg_catalog.>=) %s "
					"AND %s OPERATOR(pg_catalog.<) %s RETURNING %s",
					NamesQualified(own ? default_part : logid), column, from, column, to,
					stored_columns(logid));
}

/*
 * Whether some publication sends what is deleted from the DEFAULT partition, in
 * its own name or in that of the log.
 */
static bool
is_published(const char *log, const char *spare)
{
	SpiRun(psprintf("SELECT FROM pg_catalog.pg_publication_tables WHERE "
					"pg_catalog.format('%%I.%%I', schemaname, tablename) OPERATOR(pg_catalog.=) "
					"ANY (ARRAY[%s, %s]) LIMIT 1",
					quote_literal_cstr(log), quote_literal_cstr(spare)));
	return SPI_processed > 0;
}

/*
 * A new table of this name, with the columns and checks of the log, for a partition; it is
 * the log's owner's alone.  Returns its qualified name.  Within an SPI connection.
 */
char *
AuditCreateTable(Oid logid, const char *relname)
{
	Oid			nspoid = get_rel_namespace(logid);
	char	   *name = quote_qualified_identifier(get_namespace_name(nspoid), relname);
	Relation	rel = table_open(logid, NoLock);
	const char *tablespace = get_tablespace_name(rel->rd_rel->reltablespace);

	SpiRun(psprintf("CREATE TABLE %s (LIKE %s INCLUDING CONSTRAINTS INCLUDING GENERATED "
					"INCLUDING STORAGE INCLUDING COMPRESSION)%s", name, NamesQualified(logid),
					tablespace ? psprintf(" TABLESPACE %s", quote_identifier(tablespace)) : ""));
	RightsOfOwnerAlone(get_relname_relid(relname, nspoid));
	/* the caller may be a scheduler's role: the partition belongs to the owner of the log */
	SpiRun(psprintf("ALTER TABLE %s OWNER TO %s", name,
					quote_identifier(GetUserNameFromId(rel->rd_rel->relowner, false))));
	/* else nobody could change an entry of a log that is published */
	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		SpiRun(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", name));
	table_close(rel, NoLock);
	return name;
}

/*
 * Locks the DEFAULT partition and what is below it.  42501 when there is a trigger of a
 * role that is not to be trusted: rows will be deleted as the log's owner.
 */
static void
lock_default(Oid logid, Oid default_part)
{
	/* no LOCK TABLE, which refuses a foreign table */
	LockRelationOid(default_part, AccessExclusiveLock);
	AuditRefuseTriggers(logid, lcons_oid(logid, find_all_inheritors(default_part, AccessExclusiveLock, NULL)));
}

/*
 * Runs a command that alters the relation, as its owner, within an SPI connection.  Such a
 * command can compute what is constant in checks, and searches tables of any role for
 * rows that refer to the relation.  42501 when the owner may not use the schema.
 */
void
AuditAlterAsOwner(Oid relid, const char *command)
{
	Oid			owner = CatalogOwner(relid);
	Oid			nspoid = get_rel_namespace(relid);
	UserCodeScope scope;

	if (object_aclcheck(NamespaceRelationId, nspoid, owner, ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" owns \"%s\" and may not use its schema",
						GetUserNameFromId(owner, false), get_rel_name(relid)),
				 errdetail("Its months are made and retired with the rights of its owner."),
				 errhint("GRANT USAGE ON SCHEMA %s TO %s.", quote_identifier(get_namespace_name(nspoid)),
						 quote_identifier(GetUserNameFromId(owner, false)))));
	UserCodeEnter(&scope, owner);
	SpiRun(command);
	UserCodeLeave(&scope);
}

/*
 * Moves the rows of [from, to) from the DEFAULT partition into the new table, and makes
 * that a partition, as the log's owner.
 *
 * What goes into a table before it is a partition is not published, so a
 * subscriber would get the deletion from the DEFAULT partition alone.  The rows
 * of a published log wait until the partition is one.
 */
static uint64
attach_partition(Oid logid, Oid default_part, const char *name, const char *from, const char *to,
				 bool published)
{
	Oid			owner = CatalogOwner(logid);
	const char *columns = stored_columns(logid);
	const char *take = OidIsValid(default_part) ? take_rows(logid, default_part, from, to) : NULL;
	Rows	   *rows = NULL;
	uint64		moved = 0;

	if (take && published)
		rows = RowsOfQuery(owner, take);
	else if (take)
		moved = UserCodeQuery(owner, psprintf("WITH moved AS (%s) INSERT INTO %s (%s) SELECT %s FROM moved",
											  take, name, columns, columns), 0, NULL, NULL, NULL, false);
	AuditAlterAsOwner(logid, psprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)",
									  NamesQualified(logid), name, from, to));
	if (rows)
		moved = RowsInto(rows, owner, psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM "
											   ROWS_NAME, name, columns, columns));
	return moved;
}

static uint64
create_partition(Oid logid, Oid default_part, int month, TimestampTz from, TimestampTz to)
{
	const char *name;
	bool		published = false;

	AuditRequireOwner(logid);
	name = AuditCreateTable(logid, AuditMonthName(logid, month));
	if (OidIsValid(default_part))
	{
		lock_default(logid, default_part);
		published = is_published(NamesQualified(logid), NamesQualified(default_part));
	}
	return attach_partition(logid, default_part, name, AuditTimeLiteral(from), AuditTimeLiteral(to), published);
}

/*
 * Makes what is missing of a month, within an SPI connection.  Returns the number
 * of rows that came from the DEFAULT partition; *created counts partitions.
 *
 * What is missing is looked for twice: without a lock, which is all there is to it
 * on most days, then under the lock that attaching needs, so that of two callers
 * the second finds what the first has made.
 */
uint64
AuditCreateMonth(Oid logid, int month, int *created)
{
	TimestampTz from = AuditMonthStart(month);
	TimestampTz end = AuditMonthStart(month + 1);
	uint64		moved = 0;
	bool		locked = false;

	while (from < end)
	{
		Relation	rel = table_open(logid, AccessShareLock);
		AuditRanges found;
		TimestampTz to = end;
		TimestampTz next = end;

		if (!AuditReadRanges(rel, &found))
		{
			table_close(rel, AccessShareLock);
			return moved;
		}
		table_close(rel, NoLock);
		for (int i = 0; i < found.n; i++)
		{
			AuditRange *range = &found.ranges[i];

			if (range->from <= from && range->to > from)
			{
				to = from;
				next = range->to;
				break;
			}
			if (range->from > from && range->from < to)
				next = to = range->from;
		}
		if (to > from && !locked)
		{
			LockRelationOid(logid, ShareUpdateExclusiveLock);
			locked = true;
			continue;
		}
		if (to > from)
		{
			moved += create_partition(logid, found.default_part, month, from, to);
			(*created)++;
		}
		from = next;
	}
	return moved;
}
