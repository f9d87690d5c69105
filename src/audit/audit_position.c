/*
 * audit_position.c
 *	  A position in the feed of a log: which committed changes a consumer has seen.
 *
 * A position is a snapshot, as pg_current_snapshot() has it: the transactions that had
 * committed.  An entry is new for a consumer if its transaction (xact_id) is visible now
 * and was not visible in the position.  So nobody has to wait for anybody: writers do
 * nothing, a slow transaction is new when it commits, and one that is open and has
 * nothing to do with the log holds up nothing.  No clock is asked.
 *
 * While the entries between two snapshots are handed out in portions, the position
 * has both, and the last entry that was handed out:
 *
 *	  aquacis-1/<identity>/<log>/<snapshot>
 *	  aquacis-1/<identity>/<log>/<from>/<to>/<order>/<begun>/<at>/<xact>/<written>/<seq>
 *
 * The identity is drawn when the extension is created (table audit_feed) and is not
 * dumped: a database that was restored from a dump numbers its transactions anew, and
 * refuses positions of the former one.  pg_upgrade, a base backup and a standby keep
 * it, and the numbers, too.
 *
 * A month that was detached before its entries were read must not be missing without a
 * word.  audit_maintain records it in audit_detached, with the last transaction in it: a
 * position that need not have seen all up to that one is refused until the month is
 * attached again.  A consumer that starts at the beginning gets what the log then has; so
 * positions in his first interval also have the snapshot of its begin, and months that
 * were gone by then are no matter to them.
 *
 * The snapshot is taken from the server's own and differs from pg_current_snapshot()
 * in two points.  The caller's transaction is not finished (PostgreSQL leaves it out of
 * its list, and pg_visible_in_snapshot() calls it visible once a later one has
 * ended).  On a standby PostgreSQL keeps the list elsewhere, and pg_current_snapshot()
 * shows none at all.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "audit/audit_feed.h"
#include "common/catalog.h"
#include "common/names.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "compat.h"

#define VERSION_OF_POSITIONS "aquacis-1"

/* ---- snapshots ---------------------------------------------------------------------------- */

static int
compare_xacts(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* A transaction's number with its epoch.  It is not later than `next`. */
static uint64
widen(TransactionId xid, FullTransactionId next)
{
	uint64		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return (epoch << 32) | xid;
}

/* Sorts the list of those that are not finished, drops doubles and what is not below xmax. */
static void
set_running(AuditSnapshot *s)
{
	int			kept = 0;

	if (s->n > 1)
		qsort(s->xip, s->n, sizeof(uint64), compare_xacts);
	for (int i = 0; i < s->n; i++)
		if (s->xip[i] < s->xmax && (kept == 0 || s->xip[kept - 1] != s->xip[i]))
			s->xip[kept++] = s->xip[i];
	s->n = kept;
	s->xmin = kept > 0 ? s->xip[0] : s->xmax;
}

/*
 * The transactions that the current statement sees.  In recovery, PostgreSQL keeps those
 * that are running in subxip, all top-level ones among them.  Allocated in the current context.
 */
void
AuditSnapshotNow(AuditSnapshot *out)
{
	Snapshot	snapshot = GetActiveSnapshot();
	FullTransactionId next = ReadNextFullTransactionId();
	FullTransactionId own = GetTopFullTransactionIdIfAny();
	TransactionId *xip = snapshot->takenDuringRecovery ? snapshot->subxip : snapshot->xip;
	int			n = snapshot->takenDuringRecovery ? snapshot->subxcnt : snapshot->xcnt;

	out->xmax = widen(snapshot->xmax, next);
	out->xip = palloc(sizeof(uint64) * (n + 1));
	for (int i = 0; i < n; i++)
		out->xip[i] = widen(xip[i], next);
	out->n = n;
	if (FullTransactionIdIsValid(own))
		out->xip[out->n++] = U64FromFullTransactionId(own);
	set_running(out);
}

/* The snapshot before the first transaction. */
void
AuditSnapshotNone(AuditSnapshot *out)
{
	out->xmin = out->xmax = FirstNormalTransactionId;
	out->n = 0;
	out->xip = NULL;
}

/* Is it the one before the first transaction? */
bool
AuditSnapshotIsNone(const AuditSnapshot *snapshot)
{
	return snapshot->xmax <= FirstNormalTransactionId;
}

bool
AuditSnapshotSees(const AuditSnapshot *snapshot, uint64 xact)
{
	if (xact < snapshot->xmin)
		return true;
	if (xact >= snapshot->xmax)
		return false;
	return bsearch(&xact, snapshot->xip, snapshot->n, sizeof(uint64), compare_xacts) == NULL;
}

/*
 * The snapshot that sees what `now` sees, below xmax, but not the n others.  Allocated in
 * the current context.
 */
void
AuditSnapshotMake(AuditSnapshot *out, uint64 xmax, const AuditSnapshot *now, const uint64 *others, int n)
{
	out->xmax = xmax;
	out->n = now->n + n;
	out->xip = palloc(sizeof(uint64) * (out->n + 1));
	if (now->n > 0)
		memcpy(out->xip, now->xip, sizeof(uint64) * now->n);
	if (n > 0)
		memcpy(out->xip + now->n, others, sizeof(uint64) * n);
	set_running(out);
}

/* As pg_snapshot writes it. */
char *
AuditSnapshotText(const AuditSnapshot *snapshot)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, UINT64_FORMAT ":" UINT64_FORMAT ":", snapshot->xmin, snapshot->xmax);
	for (int i = 0; i < snapshot->n; i++)
		appendStringInfo(&s, "%s" UINT64_FORMAT, i > 0 ? "," : "", snapshot->xip[i]);
	return s.data;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* 22023 for what is no position. */
static void
refuse(const char *text, const char *why)
{
	int			len = pg_mbcliplen(text, strlen(text), 100);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid position: \"%.*s\"", len, text),
			 errdetail_internal("%s", why),
			 errhint("Pass what audit_changes() or audit_position() has returned. NULL starts at the beginning of the log.")));
}

/* A number without sign, at *s; moves *s behind it.  False: there is none, or it is too large. */
static bool
read_number(const char **s, uint64 *value)
{
	const char *p = *s;

	*value = 0;
	for (; isdigit((unsigned char) *p); p++)
	{
		uint64		digit = *p - '0';

		if (*value > (PG_UINT64_MAX - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	if (p == *s)
		return false;
	*s = p;
	return true;
}

static bool
read_signed(const char **s, int64 *value)
{
	bool		minus = **s == '-';
	uint64		number;

	if (minus)
		(*s)++;
	if (!read_number(s, &number) || number > (uint64) PG_INT64_MAX + (minus ? 1 : 0))
		return false;
	*value = minus ? (int64) (0 - number) : (int64) number;
	return true;
}

static bool
read_sign(const char **s, char sign)
{
	if (**s != sign)
		return false;
	(*s)++;
	return true;
}

/* xmin:xmax:xip,...  False when it is not, or contradicts itself. */
static bool
read_snapshot(const char **s, AuditSnapshot *out)
{
	int			room = 1;

	for (const char *p = *s; *p && *p != '/'; p++)
		room += *p == ',';
	out->n = 0;
	out->xip = palloc(sizeof(uint64) * room);
	if (!read_number(s, &out->xmin) || !read_sign(s, ':') || !read_number(s, &out->xmax) ||
		!read_sign(s, ':') || out->xmin > out->xmax || out->xmin == 0)
		return false;
	while (isdigit((unsigned char) **s))
	{
		uint64	   *x = &out->xip[out->n];

		if (!read_number(s, x) || *x < out->xmin || *x >= out->xmax ||
			(out->n > 0 && *x <= x[-1]))
			return false;
		out->n++;
		if (**s == ',' && !isdigit((unsigned char) (*s)[1]))
			return false;
		if (**s == ',')
			(*s)++;
	}
	return out->xmin == (out->n > 0 ? out->xip[0] : out->xmax);
}

/* What follows the first snapshot of a position inside an interval. */
static bool
read_inside(const char **s, AuditPosition *p)
{
	if (!read_snapshot(s, &p->to) || !read_sign(s, '/') || **s == '\0' || strchr("cwx", **s) == NULL)
		return false;
	p->order = **s;
	(*s)++;
	p->inside = true;
	return read_sign(s, '/') && read_snapshot(s, &p->begun) &&
		read_sign(s, '/') && read_signed(s, &p->last.at) &&
		read_sign(s, '/') && read_number(s, &p->last.xact) &&
		read_sign(s, '/') && read_signed(s, &p->last.written) &&
		read_sign(s, '/') && read_signed(s, &p->last.seq);
}

/* The identity of this database's log entries.  55000 when somebody has emptied the table. */
char *
AuditFeedIdentity(Oid fnoid)
{
	const char *schema = quote_identifier(get_namespace_name(get_func_namespace(fnoid)));
	MemoryContext caller = CurrentMemoryContext;
	char	   *identity = NULL;

	SPI_connect();
	if (SpiQuery(psprintf("SELECT identity FROM %s.audit_feed", schema), 0, NULL) == 1)
		identity = MemoryContextStrdup(caller, SpiText(0, 1));
	SPI_finish();
	if (identity == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table audit_feed of extension aquacis must have one row")));
	return identity;
}

/* The position before the first entry. */
void
AuditPositionStart(AuditPosition *position, Oid log)
{
	memset(position, 0, sizeof(*position));
	position->log = log;
	AuditSnapshotNone(&position->from);
	AuditSnapshotNone(&position->begun);
}

/*
 * Reads a position of this log.  22023: it is none, or of another log; 55000: it is of another
 * database, or of this one before it was restored.  Allocated in the current context.
 */
void
AuditPositionRead(const char *text, Oid fnoid, Oid log, AuditPosition *position)
{
	const char *s = text;
	const char *identity = AuditFeedIdentity(fnoid);
	const char *slash = strchr(text, '/');
	uint64		number;

	memset(position, 0, sizeof(*position));
	if (strncmp(text, "aquacis-", 8) != 0 || slash == NULL)
		refuse(text, "It does not begin as one.");
	if (slash - text != strlen(VERSION_OF_POSITIONS) || strncmp(text, VERSION_OF_POSITIONS, slash - text) != 0)
		refuse(text, "It was made by another version of aquacis.");
	s = slash + 1;
	slash = strchr(s, '/');
	if (slash == NULL)
		refuse(text, "It ends too early.");
	if (slash - s != strlen(identity) || strncmp(s, identity, slash - s) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the position is of another database"),
				 errdetail("It was made in another database, or in this one before it was restored from a dump: there, transactions have other numbers."),
				 errhint("Start anew: with NULL for all entries of the log, or with audit_position() for those that come.")));
	s = slash + 1;
	if (!read_number(&s, &number) || !read_sign(&s, '/') || !read_snapshot(&s, &position->from) ||
		(*s == '/' && (s++, !read_inside(&s, position))) || *s != '\0')
		refuse(text, "It is damaged.");
	if (number != log)
		refuse(text, psprintf("It is a position in another log, and not in \"%s\".", get_rel_name(log)));
	position->log = log;
}

/* Does a snapshot see nothing that `now` does not see? */
static bool
is_reached(const AuditSnapshot *snapshot, const AuditSnapshot *now)
{
	if (snapshot->xmax > now->xmax)
		return false;
	for (int i = 0; i < now->n; i++)
		if (AuditSnapshotSees(snapshot, now->xip[i]))
			return false;
	return true;
}

/* 55000 when the position has seen what the present snapshot does not see. */
void
AuditPositionRefuseAhead(const AuditPosition *position, const AuditSnapshot *now)
{
	if (AuditSnapshotIsNone(&position->from) && !position->inside)
		return;
	if (is_reached(&position->from, now) && (!position->inside || is_reached(&position->to, now)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the position is ahead of what this transaction sees"),
			 errdetail("It knows of transactions that are not finished, or have not begun, in the present snapshot."),
			 errhint("Try again in a new transaction, or, on a standby, when that has caught up. After a recovery to an earlier time, start anew with NULL or audit_position().")));
}

/* Is the month, by its qualified name, a partition of the log? */
static bool
is_attached(Oid log, const char *month)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(log, NoLock, NULL))
		if (get_rel_name(lfirst_oid(lc)) != NULL && strcmp(NamesQualified(lfirst_oid(lc)), month) == 0)
		return true;
	return false;
}

static uint64
number_of(uint64 row, int column)
{
	return strtoull(SpiText(row, column), NULL, 10);
}

/*
 * 55000 when a month was detached of which the position may not have seen all.  A record
 * that was restored from a dump is of another server: its last transaction is then later
 * than the one that wrote it.  The caller holds a lock on the log, so that no month leaves it
 * meanwhile; the records are those of now, whatever snapshot the transaction has.
 */
void
AuditPositionRefuseDetached(const AuditPosition *position, Oid fnoid)
{
	Oid			detached = get_relname_relid("audit_detached", get_func_namespace(fnoid));
	FullTransactionId next = ReadNextFullTransactionId();
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(position->log)};
	bool		first = AuditSnapshotIsNone(&position->from);
	uint64		n;

	if (!OidIsValid(detached) || (first && !position->inside))
		return;
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	n = UserCodeQuery(CatalogOwner(detached),
					  psprintf("SELECT month, last_xact, xmin, dropped FROM %s WHERE log OPERATOR(pg_catalog.=) $1 "
							   "AND last_xact IS NOT NULL ORDER BY last_xact", NamesQualified(detached)),
					  1, types, values, NULL, true);
	PopActiveSnapshot();
	for (uint64 i = 0; i < n; i++)
	{
		const char *month = SpiText(i, 1);
		uint64		last = number_of(i, 2);
		uint64		by = widen((TransactionId) number_of(i, 3), next);

		if (last > by || (first ? AuditSnapshotSees(&position->begun, by) : last < position->from.xmin) ||
			is_attached(position->log, month))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s was detached from the log before all of it was read", month),
				 errdetail("The position has not seen all transactions up to " UINT64_FORMAT ", the last in it.", last),
				 SpiBool(i, 4) ? errhint("It was dropped. Start anew with NULL or audit_position().") :
				 errhint("Attach it again until the position is behind it, or start anew with NULL or audit_position().")));
	}
	SPI_finish();
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The position at a snapshot. */
char *
AuditPositionText(const char *identity, Oid log, const AuditSnapshot *snapshot)
{
	return psprintf(VERSION_OF_POSITIONS "/%s/%u/%s", identity, log, AuditSnapshotText(snapshot));
}

/* What the positions in an interval have in common; AuditPlaceWrite writes the rest. */
char *
AuditPositionPrefix(const char *identity, const AuditPosition *position)
{
	return psprintf(VERSION_OF_POSITIONS "/%s/%u/%s/%s/%c/%s/", identity, position->log,
					AuditSnapshotText(&position->from), AuditSnapshotText(&position->to),
					position->order, AuditSnapshotText(&position->begun));
}

/* Writes at most 84 bytes, and returns how many; no zero at the end. */
int
AuditPlaceWrite(char *out, const AuditPlace *place)
{
	char	   *p = out;

	p += pg_lltoa(place->at, p);
	*p++ = '/';
	p += pg_ulltoa_n(place->xact, p);
	*p++ = '/';
	p += pg_lltoa(place->written, p);
	*p++ = '/';
	p += pg_lltoa(place->seq, p);
	return p - out;
}

int
AuditPlaceCompare(const AuditPlace *a, const AuditPlace *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if (a->xact != b->xact)
		return a->xact < b->xact ? -1 : 1;
	if (a->written != b->written)
		return a->written < b->written ? -1 : 1;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return 0;
}

/*
 * What a position knows has to outlive a crash of this server, since the consumer may
 * keep it elsewhere: commits of synchronous_commit = off are visible before they are
 * on disk, and after a crash their numbers are given out again.
 */
void
AuditFlushCommits(void)
{
	XLogRecPtr	end;
	uint32		offset;

	if (RecoveryInProgress())
		return;
	end = GetXLogInsertRecPtr();
	/* at the beginning of a page it points behind the page's header, where nothing is yet */
	offset = end % XLOG_BLCKSZ;
	if (offset == SizeOfXLogShortPHD || offset == SizeOfXLogLongPHD)
		end -= offset;
	XLogFlush(end);
}
