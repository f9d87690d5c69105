/*
 * hypertable.h
 *	  What an INSERT into a table would do with its row.
 */
#ifndef AQUACIS_COMMON_HYPERTABLE_H
#define AQUACIS_COMMON_HYPERTABLE_H

#include "utils/relcache.h"

extern bool InsertionIsHooked(void);
extern bool InsertionIsPlain(Relation rel);
extern Oid	InsertionSignal(void);
extern bool HypertableIs(Oid relid);
extern Oid	HypertableOf(Oid relid);

#endif							/* AQUACIS_COMMON_HYPERTABLE_H */
