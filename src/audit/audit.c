/*
 * audit.c
 *	  Start-up of the audit part.
 */
#include "postgres.h"

#include "audit/audit.h"

void
AuditInit(void)
{
}
