/*
 * aquacis.c
 *	  Module magic and start-up.
 *
 * A part with settings or caches of its own sets them up in its Init function;
 * nothing here knows what they are.  The library is loaded on first
 * use of one of its functions: shared_preload_libraries is not needed.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "audit/audit.h"
#include "common/usercode.h"
#include "compat.h"
#include "tariff/tariff.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	UserCodeInitPlans();
	AuditInit();
	TariffInit();

	MarkGUCPrefixReserved("aquacis");
}
