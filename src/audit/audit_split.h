/*
 * audit_split.h
 *	  The past of an adopted log on its way into months.
 *
 * Floors: audit_split.c (the procedure) calls audit_split_swap.c (indexes and the exchange)
 * and audit_split_copy.c (the entries); all call audit_split_state.c (what is kept).
 */
#ifndef AQUACIS_AUDIT_SPLIT_H
#define AQUACIS_AUDIT_SPLIT_H

#include "access/transam.h"
#include "nodes/pg_list.h"

#include "audit/audit_months.h"
#include "audit/audit_step.h"

/* the name of the check of a part: its limits */
#define AUDIT_SPLIT_CHECK	"audit_split_range"

/* the month of the part that takes what is older than AUDIT_SPLIT_MONTHS */
#define AUDIT_SPLIT_BEFORE	PG_INT32_MIN
#define AUDIT_SPLIT_MONTHS	600

/* a table that will be a partition: a month, or what is older */
typedef struct AuditSplitPart
{
	int			month;
	Oid			relid;
} AuditSplitPart;

/* a row of audit_split_state */
typedef struct AuditSplitState
{
	Oid			past;
	Oid			past_file;		/* another one after VACUUM FULL, a restored dump, ... */
	TimestampTz range_to;		/* its upper limit */
	int64		next_block;		/* of the past: those before are copied */
	int64		blocks;			/* that it had then */
	int64		entries;		/* copied, */
	uint64		checksum;		/* of their places in the past */
	FullTransactionId last_xact;	/* that copied some */
	List	   *parts;			/* of AuditSplitPart *, as they were made */
} AuditSplitState;

/* one call of the procedure */
typedef struct AuditSplit
{
	Oid			fnoid;
	Oid			logid;
	char	   *name;			/* of the log */
	AuditSteps	steps;
	AuditRange	past;
	AuditSplitState state;		/* what a step leaves is in cxt */
	MemoryContext cxt;
	enum
	{
		AUDIT_SPLIT_NOTHING,	/* there is no past */
		AUDIT_SPLIT_OPEN,		/* the past still takes entries */
		AUDIT_SPLIT_COPY,		/* there are entries to copy */
		AUDIT_SPLIT_COPIED,		/* all are; indexes and the exchange are left */
		AUDIT_SPLIT_CHANGED,	/* somebody changed the past: all is thrown away */
		AUDIT_SPLIT_WAIT,		/* a transaction is older than the copies */
		AUDIT_SPLIT_BUSY,		/* the log is in use */
		AUDIT_SPLIT_LARGE,		/* the DEFAULT partition is too large to be read under the lock */
		AUDIT_SPLIT_DONE
	}			outcome;
	int			part;			/* that gets its indexes now */
} AuditSplit;

/* in audit_split_state.c */
extern bool AuditSplitLoad(Oid fnoid, Oid logid, AuditSplitState *state);
extern void AuditSplitSave(Oid fnoid, Oid logid, const AuditSplitState *state);
extern void AuditSplitForget(Oid fnoid, Oid logid);
extern bool AuditSplitFits(const AuditSplitPart *part, Oid logid);
extern void AuditSplitDiscard(Oid fnoid, Oid logid, const AuditSplitState *state);
extern int	AuditSplitFirst(const AuditSplit *s);
extern void AuditSplitPartRange(const AuditSplit *s, int month, AuditRange *range);

/* in audit_split_copy.c */
extern void AuditSplitCopy(AuditSplit *s, Relation past);
extern bool AuditSplitUnchanged(const AuditSplitState *state, Relation past);

/* in audit_split_swap.c */
extern bool AuditSplitIsIndexed(const AuditSplit *s, Oid part);
extern void AuditSplitIndex(AuditSplit *s, Oid part);
extern void AuditSplitSwap(AuditSplit *s);

#endif							/* AQUACIS_AUDIT_SPLIT_H */
