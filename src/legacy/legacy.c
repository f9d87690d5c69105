/*
 * legacy.c
 *	  Start-up of the legacy part.
 */
#include "postgres.h"

#include "legacy/legacy.h"

void
LegacyInit(void)
{
}
