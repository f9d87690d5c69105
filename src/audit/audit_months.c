/*
 * audit_months.c
 *	  Monthly partitions of a log: which exist, and making those that do not.
 *
 * A month that overlaps partitions of other limits (made by hand, in another
 * time zone, by pg_partman) gets partitions for what is not covered, so that
 * this never fails on what it finds.
 *
 * A new partition is made as a table of its own and attached: that locks the log
 * in SHARE UPDATE EXCLUSIVE mode, which lets writers go on, and only its DEFAULT
 * partition exclusively.  Rows of the month that are in the DEFAULT partition move
 * into the new table in the same transaction.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_months.h"
#include "common/spi.h"

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

TimestampTz
AuditMonthStart(int month)
{
	int			year;
	int			of_year;

	AuditSplitMonth(month, &year, &of_year);
	return (TimestampTz) (date2j(year, of_year, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
}

/* a literal that means the same in every session */
static char *
literal(TimestampTz at)
{
	char		text[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t		fsec;

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
	PartitionKey key;
	PartitionDesc desc;
	PartitionBoundInfo bounds;

	memset(out, 0, sizeof(*out));
	if (log->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	key = RelationGetPartitionKey(log);
	if (!AuditPartitionedByTime(log, key))
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

/* ---- making one -------------------------------------------------------------------------- */

/* audit_log_2026_11, or the first of _2026_11_1, _2 ... that is free */
static char *
partition_name(Oid logid, int month)
{
	Oid			nsp = get_rel_namespace(logid);
	int			year;
	int			of_year;
	char	   *suffix;
	char	   *name;

	AuditSplitMonth(month, &year, &of_year);
	suffix = psprintf("%04d_%02d", year, of_year);
	name = makeObjectName(get_rel_name(logid), NULL, suffix);

	for (int i = 1; OidIsValid(get_relname_relid(name, nsp)); i++)
		name = makeObjectName(get_rel_name(logid), NULL, psprintf("%s_%d", suffix, i));
	return name;
}

static const char *
time_column(Oid logid)
{
	Relation	rel = table_open(logid, NoLock);
	AttrNumber	attnum = RelationGetPartitionKey(rel)->partattrs[0];
	const char *name = quote_identifier(get_attname(logid, attnum, false));

	table_close(rel, NoLock);
	return name;
}

/* By name: the DEFAULT partition may have its columns in another order. */
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

/* Rows of [from, to) leave the DEFAULT partition for another table. */
static uint64
move_rows(Oid logid, const char *source, const char *target, const char *from, const char *to)
{
	const char *column = time_column(logid);
	const char *columns = stored_columns(logid);

	SpiRun(psprintf("WITH moved AS (DELETE FROM %s WHERE %s OPERATOR(pg_catalog.>=) %s "
					"AND %s OPERATOR(pg_catalog.<) %s RETURNING %s) "
					"INSERT INTO %s (%s) SELECT %s FROM moved",
					source, column, from, column, to, columns, target, columns, columns));
	return SPI_processed;
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
 * What goes into a table before it is a partition is not published, so a
 * subscriber would get the deletion from the DEFAULT partition alone.  The rows
 * of a published log wait in a temporary table until the partition is one.
 */
#define WAITING_ROWS	"pg_temp.aquacis_moved_rows"

static uint64
set_rows_aside(Oid logid, const char *source, const char *from, const char *to)
{
	SpiRun(psprintf("CREATE TEMPORARY TABLE %s AS SELECT %s FROM %s WITH NO DATA",
					WAITING_ROWS, stored_columns(logid), source));
	return move_rows(logid, source, WAITING_ROWS, from, to);
}

static void
put_rows_back(Oid logid, const char *partition)
{
	const char *columns = stored_columns(logid);

	SpiRun(psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s",
					partition, columns, columns, WAITING_ROWS));
	SpiRun("DROP TABLE " WAITING_ROWS);
}

static uint64
create_partition(Oid logid, Oid default_part, int month, TimestampTz from, TimestampTz to)
{
	char	   *log = AuditQualifiedName(logid);
	char	   *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(logid)),
												  partition_name(logid, month));
	uint64		moved = 0;
	bool		published = false;
	Relation	rel = table_open(logid, NoLock);
	Oid			owner = rel->rd_rel->relowner;
	const char *tablespace = get_tablespace_name(rel->rd_rel->reltablespace);

	table_close(rel, NoLock);
	SpiRun(psprintf("CREATE TABLE %s (LIKE %s INCLUDING CONSTRAINTS INCLUDING GENERATED "
					"INCLUDING STORAGE INCLUDING COMPRESSION)%s", name, log,
					tablespace ? psprintf(" TABLESPACE %s", quote_identifier(tablespace)) : ""));
	/* a scheduler's role shall not own parts of somebody else's log */
	SpiRun(psprintf("ALTER TABLE %s OWNER TO %s", name,
					quote_identifier(GetUserNameFromId(owner, false))));
	if (OidIsValid(default_part))
	{
		char	   *spare = AuditQualifiedName(default_part);

		/* LOCK TABLE refuses a foreign table */
		if (get_rel_relkind(default_part) == RELKIND_FOREIGN_TABLE)
			LockRelationOid(default_part, AccessExclusiveLock);
		else
			SpiRun(psprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", spare));
		published = is_published(log, spare);
		if (published)
			moved = set_rows_aside(logid, spare, literal(from), literal(to));
		else
			moved = move_rows(logid, spare, name, literal(from), literal(to));
	}
	SpiRun(psprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)",
					log, name, literal(from), literal(to)));
	if (published)
		put_rows_back(logid, name);
	return moved;
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
