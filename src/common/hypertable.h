/*
 * hypertable.h
 *	  Do the rows of a table lie in other tables?
 */
#ifndef AQUACIS_COMMON_HYPERTABLE_H
#define AQUACIS_COMMON_HYPERTABLE_H

#include "utils/relcache.h"

extern bool HypertableTakesRows(Relation rel);
extern Oid	HypertableInvalidation(void);
extern bool HypertableIs(Oid relid);
extern Oid	HypertableOf(Oid relid);

#endif							/* AQUACIS_COMMON_HYPERTABLE_H */
