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

/* 16: the varlena macros moved out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#endif							/* AQUACIS_COMPAT_H */
