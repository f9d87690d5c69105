/*
 * compat.h
 *	  Differences between PostgreSQL 14 and 18, in one place.
 *
 * No other file looks at PG_VERSION_NUM.  Each entry gives older servers the
 * name and meaning that the newest one has.
 */
#ifndef AQUACIS_COMPAT_H
#define AQUACIS_COMPAT_H

#include "utils/guc.h"

#if PG_VERSION_NUM < 140000
#error "aquacis needs PostgreSQL 14 or newer"
#endif

/* 15: a prefix can be reserved, not only warned about */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 16: summarizing indexes can be updated alone */
#if PG_VERSION_NUM < 160000
#define ExecInsertIndexTuplesCompat(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL)
#else
#define ExecInsertIndexTuplesCompat(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, false)
#endif

/* 16: RelFileNode became RelFileLocator */
#if PG_VERSION_NUM < 160000
#define RD_LOCATOR rd_node
#define SEQ_LOCATOR node
#else
#define RD_LOCATOR rd_locator
#define SEQ_LOCATOR locator
#endif

/* 17: an index may keep things between insertions (BRIN) and give them back */
#if PG_VERSION_NUM < 170000
#define index_insert_cleanup(index, info) ((void) 0)
#endif

#endif							/* AQUACIS_COMPAT_H */
