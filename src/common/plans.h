/*
 * plans.h
 *	  Plans of queries that are asked again and again, kept for the session.
 */
#ifndef AQUACIS_COMMON_PLANS_H
#define AQUACIS_COMMON_PLANS_H

#include "executor/spi.h"

/* a plan in use, from PlansTake to PlansGive */
typedef struct PlansUse
{
	SPIPlanPtr	plan;
	struct KeptPlan *kept;		/* NULL: it is for this call only */
} PlansUse;

extern void PlansInit(void);
extern PlansUse PlansTake(const char *sql, int nargs, Oid *types, Oid user);
extern void PlansGive(PlansUse use);

#endif							/* AQUACIS_COMMON_PLANS_H */
