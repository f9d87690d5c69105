/*
 * audit_feed.h
 *	  Positions in the feed of a log (audit_position.c), and what lies between two
 *	  snapshots (audit_interval.c), for audit_changes.c.
 */
#ifndef AQUACIS_AUDIT_FEED_H
#define AQUACIS_AUDIT_FEED_H

#include "audit/audit.h"

/* which transactions had committed: those below xmax that are not in xip */
typedef struct AuditSnapshot
{
	uint64		xmin;			/* the lowest that had not; xmax if there is none below */
	uint64		xmax;
	int			n;
	uint64	   *xip;			/* ascending, in [xmin, xmax) */
} AuditSnapshot;

/* what the transactions of an interval are ordered by */
typedef enum AuditFeedOrder
{
	AUDIT_BY_COMMIT = 'c',		/* time of the commit, which the server has kept */
	AUDIT_BY_WRITTEN = 'w',		/* written_at of the transaction's last entry */
	AUDIT_BY_XACT = 'x'			/* xact_id */
} AuditFeedOrder;

/* an entry's place in the order; DT_NOBEGIN stands for a written_at that is NULL */
typedef struct AuditPlace
{
	TimestampTz at;				/* of the transaction; 0 in AUDIT_BY_XACT */
	uint64		xact;
	TimestampTz written;
	int64		seq;
} AuditPlace;

typedef struct AuditPosition
{
	Oid			log;
	AuditSnapshot from;
	bool		inside;			/* of the interval (from, to], behind the entry `last` */
	AuditSnapshot to;
	AuditFeedOrder order;
	AuditSnapshot begun;		/* when it was begun, if it starts at the beginning; else none */
	AuditPlace	last;
} AuditPosition;

/* in audit_position.c */
extern void AuditSnapshotNow(AuditSnapshot *out);
extern bool AuditSnapshotIsNone(const AuditSnapshot *snapshot);
extern bool AuditSnapshotSees(const AuditSnapshot *snapshot, uint64 xact);
extern void AuditSnapshotMake(AuditSnapshot *out, uint64 xmax, const AuditSnapshot *now, const uint64 *others,
							  int n);
extern char *AuditSnapshotText(const AuditSnapshot *snapshot);
extern char *AuditFeedIdentity(Oid fnoid);
extern void AuditPositionStart(AuditPosition *position, Oid log);
extern void AuditPositionRead(const char *text, Oid fnoid, Oid log, AuditPosition *position);
extern void AuditPositionRefuseDetached(const AuditPosition *position, Oid fnoid);
extern void AuditSnapshotNone(AuditSnapshot *out);
extern void AuditPositionRefuseAhead(const AuditPosition *position, const AuditSnapshot *now);
extern char *AuditPositionText(const char *identity, Oid log, const AuditSnapshot *snapshot);
extern char *AuditPositionPrefix(const char *identity, const AuditPosition *position);
extern int	AuditPlaceWrite(char *out, const AuditPlace *place);
extern int	AuditPlaceCompare(const AuditPlace *a, const AuditPlace *b);
extern void AuditFlushCommits(void);

/* a log that is read as a feed */
typedef struct AuditFeedLog
{
	Relation	rel;
	Oid			owner;
	AuditColumns columns;
	bool		has_written;	/* written_at is there, and a timestamptz */
	bool		has_start;		/* changed_at is a timestamptz */
} AuditFeedLog;

/* a transaction with entries in an interval */
typedef struct AuditFeedXact
{
	uint64		xact;
	TimestampTz at;				/* what it is ordered by */
	TimestampTz first;			/* lowest and highest written_at; DT_NOBEGIN: NULL */
	TimestampTz last;
	TimestampTz start;			/* lowest changed_at */
	int64		n;				/* entries */
} AuditFeedXact;

typedef struct AuditInterval
{
	AuditSnapshot from;
	AuditSnapshot to;
	AuditFeedOrder order;
	int			nxacts;
	AuditFeedXact *xacts;		/* by xact, ascending */
} AuditInterval;

/* in audit_interval.c */
extern void AuditIntervalChoose(const AuditFeedLog *log, const AuditSnapshot *from, const AuditSnapshot *now,
								int64 limit, AuditInterval *out);
extern void AuditIntervalAgain(const AuditFeedLog *log, const AuditPosition *position, AuditInterval *out);
extern void AuditIntervalAppend(StringInfo q, const AuditFeedLog *log, const AuditSnapshot *from,
								const AuditSnapshot *to);
extern const AuditFeedXact *AuditIntervalFind(const AuditInterval *interval, uint64 xact);
extern int	AuditFeedSettings(void);

#endif							/* AQUACIS_AUDIT_FEED_H */
