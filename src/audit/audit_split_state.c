/*
 * audit_split_state.c
 *	  The table audit_split_state: how far the past of a log is copied, and into which tables.
 *
 * It is written in the transaction that copies, so it says what is in the tables, whatever
 * stops the procedure.  It is the extension's, written as its owner, and everybody may read
 * it.  It is dumped: in a restored database the past has another file, so the copies are
 * thrown away there, and do not stay as tables that nobody knows.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "audit/audit.h"
#include "audit/audit_split.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/owntable.h"
#include "common/spi.h"
#include "compat.h"

#define TABLE "audit_split_state"

static SpiArg
log_arg(Oid logid)
{
	return SpiDatumArg(OIDOID, ObjectIdGetDatum(logid));
}

/*
 * Reads what is kept of a log, into the current memory context; false when there is
 * nothing, or the extension of this database is older.  Within an SPI connection.
 */
bool
AuditSplitLoad(Oid fnoid, Oid logid, AuditSplitState *state)
{
	SpiArg		log = log_arg(logid);
	MemoryContext cxt = CurrentMemoryContext;
	uint64		n;
	bool		isnull;

	memset(state, 0, sizeof(*state));
	if (!OidIsValid(OwnTableFind(fnoid, TABLE)))
		return false;
	if (OwnTableRun(fnoid, TABLE, "SELECT past::pg_catalog.oid, past_file, range_to, next_block, blocks, entries, checksum, "
					"last_xact FROM %s WHERE log OPERATOR(pg_catalog.=) $1", 1, &log) == 0)
		return false;
	state->past = SpiOid(0, 1);
	state->past_file = SpiOid(0, 2);
	state->range_to = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	state->next_block = SpiInt64(0, 4);
	state->blocks = SpiInt64(0, 5);
	state->entries = SpiInt64(0, 6);
	state->checksum = (uint64) SpiInt64(0, 7);
	state->last_xact = DatumGetFullTransactionId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 8, &isnull));
	n = OwnTableRun(fnoid, TABLE, "SELECT p.part::pg_catalog.oid, p.month FROM %s s, ROWS FROM (pg_catalog.unnest(s.parts), "
					"pg_catalog.unnest(s.months)) p(part, month) WHERE s.log OPERATOR(pg_catalog.=) $1", 1, &log);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(cxt);
		AuditSplitPart *part = palloc(sizeof(AuditSplitPart));

		part->relid = SpiOid(i, 1);
		part->month = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
		state->parts = lappend(state->parts, part);
		MemoryContextSwitchTo(old);
	}
	return true;
}

/* Writes what is kept of a log, within an SPI connection. */
void
AuditSplitSave(Oid fnoid, Oid logid, const AuditSplitState *state)
{
	int			n = list_length(state->parts);
	Datum	   *parts = palloc(sizeof(Datum) * (n + 1));
	Datum	   *months = palloc(sizeof(Datum) * (n + 1));
	SpiArg		args[11] = {
		log_arg(logid),
		SpiDatumArg(OIDOID, ObjectIdGetDatum(state->past)),
		SpiDatumArg(OIDOID, ObjectIdGetDatum(state->past_file)),
		SpiDatumArg(TIMESTAMPTZOID, TimestampTzGetDatum(state->range_to)),
		SpiInt64Arg(state->next_block), SpiInt64Arg(state->blocks), SpiInt64Arg(state->entries),
		SpiInt64Arg((int64) state->checksum),
		SpiDatumArg(XID8OID, FullTransactionIdGetDatum(state->last_xact)),
	};

	for (int i = 0; i < n; i++)
	{
		const AuditSplitPart *part = list_nth(state->parts, i);

		parts[i] = ObjectIdGetDatum(part->relid);
		months[i] = Int32GetDatum(part->month);
	}
	args[9] = SpiDatumArg(REGCLASSARRAYOID, PointerGetDatum(construct_array(parts, n, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT)));
	args[10] = SpiDatumArg(INT4ARRAYOID, PointerGetDatum(construct_array(months, n, INT4OID, sizeof(int32), true, TYPALIGN_INT)));
	OwnTableRun(fnoid, TABLE, "INSERT INTO %s (log, past, past_file, range_to, next_block, blocks, entries, checksum, last_xact, "
				"parts, months) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (log) DO UPDATE SET "
				"past = $2, past_file = $3, range_to = $4, next_block = $5, blocks = $6, entries = $7, checksum = $8, "
				"last_xact = $9, parts = $10, months = $11", 11, args);
}

/* Deletes what is kept of a log, within an SPI connection. */
void
AuditSplitForget(Oid fnoid, Oid logid)
{
	SpiArg		log = log_arg(logid);

	OwnTableRun(fnoid, TABLE, "DELETE FROM %s WHERE log OPERATOR(pg_catalog.=) $1", 1, &log);
}

/* Is this table one that we made, and no partition of anything? */
static bool
is_ours(Oid relid, Oid owner)
{
	return get_rel_relkind(relid) == RELKIND_RELATION && !get_rel_relispartition(relid) &&
		CatalogOwner(relid) == owner &&
		OidIsValid(get_relation_constraint_oid(relid, AUDIT_SPLIT_CHECK, true));
}

/*
 * Can the part still become a partition of the log?  It is there, and has the log's
 * columns as they are now.  Locks it ACCESS SHARE until the end of the transaction.
 */
bool
AuditSplitFits(const AuditSplitPart *part, Oid logid)
{
	Relation	log = table_open(logid, AccessShareLock);
	Relation	rel = try_table_open(part->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(log);
	bool		fits = rel != NULL && is_ours(part->relid, log->rd_rel->relowner);
	int			columns = 0;

	for (int i = 0; fits && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Form_pg_attribute other;

		if (att->attisdropped)
			continue;
		fits = columns < RelationGetDescr(rel)->natts;
		if (!fits)
			break;
		other = TupleDescAttr(RelationGetDescr(rel), columns++);
		fits = strcmp(NameStr(att->attname), NameStr(other->attname)) == 0 && att->atttypid == other->atttypid &&
			att->atttypmod == other->atttypmod && att->attcollation == other->attcollation &&
			att->attnotnull == other->attnotnull && att->attgenerated == other->attgenerated;
	}
	fits = fits && columns == RelationGetDescr(rel)->natts;
	if (rel != NULL)
		table_close(rel, NoLock);
	table_close(log, NoLock);
	return fits;
}

/* Drops the parts, and forgets them: the next step begins again.  Within an SPI connection. */
void
AuditSplitDiscard(Oid fnoid, Oid logid, const AuditSplitState *state)
{
	ListCell   *lc;

	foreach(lc, state->parts)
	{
		const AuditSplitPart *part = lfirst(lc);

		if (is_ours(part->relid, CatalogOwner(logid)))
			AuditAlterAsOwner(part->relid, psprintf("DROP TABLE %s", NamesQualified(part->relid)));
	}
	AuditSplitForget(fnoid, logid);
}

/* The first month that has a table of its own. */
int
AuditSplitFirst(const AuditSplit *s)
{
	return AuditMonthOf(s->past.to - 1) + 1 - AUDIT_SPLIT_MONTHS;
}

/* The limits of the part of a month. */
void
AuditSplitPartRange(const AuditSplit *s, int month, AuditRange *range)
{
	range->relid = InvalidOid;
	range->from = month == AUDIT_SPLIT_BEFORE ? PG_INT64_MIN : AuditMonthStart(month);
	range->to = AuditMonthStart(month == AUDIT_SPLIT_BEFORE ? AuditSplitFirst(s) : month + 1);
	range->to = Min(range->to, s->past.to);
}
