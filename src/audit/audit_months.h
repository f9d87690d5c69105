/*
 * audit_months.h
 *	  The partitions of a log, for audit_install, audit_maintain, audit_status.
 */
#ifndef AQUACIS_AUDIT_MONTHS_H
#define AQUACIS_AUDIT_MONTHS_H

#include "datatype/timestamp.h"
#include "utils/partcache.h"
#include "utils/relcache.h"

#include "common/spi.h"

typedef struct AuditRange
{
	Oid			relid;
	TimestampTz from;			/* PG_INT64_MIN, PG_INT64_MAX: unbounded */
	TimestampTz to;
} AuditRange;

typedef struct AuditRanges
{
	int			n;
	AuditRange *ranges;			/* ascending, disjoint */
	Oid			default_part;	/* InvalidOid: none */
} AuditRanges;

extern int	AuditMonthOf(TimestampTz at);
extern void AuditSplitMonth(int month, int *year, int *of_year);
extern TimestampTz AuditMonthStart(int month);
extern char *AuditTimeLiteral(TimestampTz at);
extern bool AuditReadRanges(Relation log, AuditRanges *out);
extern AuditRanges AuditRequireRanges(Oid logid);
extern void AuditAlterAsOwner(Oid relid, const char *command);
extern char *AuditMonthName(Oid logid, int month);
extern char *AuditCreateTable(Oid logid, const char *relname);
extern uint64 AuditCreateMonth(Oid logid, int month, int *created);

/* in audit_detached.c */
extern SpiArg AuditLastXact(Oid month);
extern void AuditNoteDetached(Oid fnoid, Oid logid, const AuditRange *month, SpiArg last_xact, bool dropped);
extern void AuditForgetAttached(Oid fnoid, Oid logid, const AuditRanges *ranges);

#endif							/* AQUACIS_AUDIT_MONTHS_H */
