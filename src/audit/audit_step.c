/*
 * audit_step.c
 *	  Work in small transactions that wait for their locks for a short time only.
 *
 * A procedure that looks after a log or a table in use does its work in steps.  Each is
 * a transaction of its own, so whatever stops the procedure leaves finished steps and
 * nothing half done.  While a step waits for a lock, everybody who comes after it waits
 * behind it; so it gives up after lock_wait, lets the others pass, and tries again.  After
 * three tries it is left to the next call, with a warning.
 *
 * A step runs in a subtransaction, and its error is caught there: only a lock that was
 * not granted is forgiven.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "audit/audit_step.h"
#include "common/settings.h"

#define STEP_TRIES 3

typedef struct Step
{
	AuditSteps *steps;
	SpiWork		work;
	void	   *arg;
} Step;

static void
run_step(void *arg)
{
	Step	   *step = arg;
	int			level = SettingsBegin();

	SettingsSet("lock_timeout", step->steps->lock_wait);
	step->work(step->arg);
	SettingsEnd(level);
}

/* Was it only that a lock was not granted?  Frees the error then. */
bool
AuditForgivesStep(ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
		error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
		return false;
	FreeErrorData(error);
	return true;
}

/*
 * Runs work(arg) with lock_timeout = lock_wait, within an SPI connection, and does not
 * commit.  Returns NULL, or the error in the current memory context, with nothing done.
 */
ErrorData *
AuditRunStep(AuditSteps *steps, SpiWork work, void *arg)
{
	Step		step = {steps, work, arg};

	return SpiTry(run_step, &step);
}

/*
 * Runs a step, three times if need be, and commits.  False, with a WARNING that says what
 * was skipped, when its lock was not granted; other errors are raised again.  The memory of steps and arg must live longer
 * than a transaction.
 */
bool
AuditDoStep(AuditSteps *steps, SpiWork work, void *arg, const char *what)
{
	bool		done = false;

	for (int i = 0; i < STEP_TRIES && !done; i++)
	{
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		error = AuditRunStep(steps, work, arg);
		if (error != NULL && !AuditForgivesStep(error))
			ReThrowError(error);
		done = error == NULL;
		SpiNextTransaction();
	}
	if (done)
		return true;
	steps->skipped++;
	ereport(WARNING,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("%s skipped a step: %s", steps->procedure, what),
			 errdetail("A lock was not granted within lock_wait = '%s', %d times.",
					   steps->lock_wait, STEP_TRIES),
			 errhint("Call %s() again when the long transactions have ended.", steps->procedure)));
	return false;
}
