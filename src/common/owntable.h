/*
 * owntable.h
 *	  The extension's own tables: their rows, and how they are written.
 */
#ifndef AQUACIS_COMMON_OWNTABLE_H
#define AQUACIS_COMMON_OWNTABLE_H

#include "access/genam.h"
#include "access/htup.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "common/spi.h"

/* the rows of one table, one after the other */
typedef struct OwnTableRows
{
	Relation	rel;
	SysScanDesc scan;
	Snapshot	snapshot;
} OwnTableRows;

extern Oid	OwnTableFind(Oid fnoid, const char *table);
extern bool OwnTableBegin(OwnTableRows *rows, Oid fnoid, const char *table, AttrNumber column,
						  RegProcedure equal, Datum value);
extern HeapTuple OwnTableNext(OwnTableRows *rows);
extern void OwnTableEnd(OwnTableRows *rows);
extern uint64 OwnTableRun(Oid fnoid, const char *table, const char *command, int nargs, const SpiArg *args);

#endif							/* AQUACIS_COMMON_OWNTABLE_H */
