/*
 * audit_step.h
 *	  Work in small transactions that wait for their locks for a short time only.
 */
#ifndef AQUACIS_AUDIT_STEP_H
#define AQUACIS_AUDIT_STEP_H

#include "common/spi.h"

typedef struct AuditSteps
{
	const char *procedure;		/* for messages */
	const char *lock_wait;		/* as SET lock_timeout takes it */
	int			skipped;		/* steps that AuditDoStep gave up */
} AuditSteps;

extern ErrorData *AuditRunStep(AuditSteps *steps, SpiWork work, void *arg);
extern bool AuditForgivesStep(ErrorData *error);
extern bool AuditDoStep(AuditSteps *steps, SpiWork work, void *arg, const char *what);

#endif							/* AQUACIS_AUDIT_STEP_H */
