/*
 * spi.c
 *	  Commands, caught errors, and transactions that follow each other.
 *
 * SPI leaves a memory context of its own behind as the current one, which lives
 * as long as the connection; everything here gives the caller's back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "common/spi.h"

/* Runs commands and returns SPI_processed; an error when they do not succeed. */
uint64
SpiRun(const char *command)
{
	MemoryContext caller = CurrentMemoryContext;
	int			result = SPI_execute(command, false, 0);

	MemoryContextSwitchTo(caller);
	if (result < 0)
		elog(ERROR, "\"%s\" failed: %s", command, SPI_result_code_string(result));
	return SPI_processed;
}

/*
 * work(arg) in a subtransaction.  Returns NULL when it went well.  When it raised
 * an error, all that it did in the database is undone, and the error is
 * returned, in the current memory context, for the caller to report or to throw
 * again; either way the transaction is as it was.
 */
ErrorData *
SpiTry(SpiWork work, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * Commits, and begins the next transaction.  READ COMMITTED, whatever the
 * session's default: what others committed while a lock was waited for must be
 * seen.
 */
void
SpiNextTransaction(void)
{
	SPI_commit();
	SPI_start_transaction();
	SetConfigOption("transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
}
