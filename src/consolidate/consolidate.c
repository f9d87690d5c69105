/*
 * consolidate.c
 *	  Start-up of the consolidate part.
 */
#include "postgres.h"

#include "consolidate/consolidate.h"

void
ConsolidateInit(void)
{
}
