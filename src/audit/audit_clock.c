/*
 * audit_clock.c
 *	  When a change was written: written_at of an entry.
 *
 * The order of the changes of one record is (written_at, xact_id, xact_seq).  changed_at is
 * no order: a transaction that began first may change a record last.
 *
 * The clock is read once per command of a transaction, when the first audited row of
 * that command fires.  AFTER triggers fire when the command has made all its changes,
 * so:
 *	- Another transaction's change of the same record is earlier, if this command
 *	  waited for it, or later, since it waits for our row lock.  Its time is so, too.
 *	- A trigger on row 1 that updates row 2 runs a command of its own before our
 *	  trigger fires for row 2.  Row 2 was changed by the outer command first; its entry is
 *	  written last, and gets the time of the outer command, which is earlier.
 * A later command gets a later time, by one microsecond at least, whatever the clock
 * does within the transaction.  A clock that is set back between two transactions is
 * noticed by readers: old values do not continue the state before.
 *
 * Which command made a change is in the header of its tuple (cmin, cmax).  Times are
 * kept for the last 1,024 commands of the transaction, in a ring that is part of the
 * session.  A command that comes back after more than that gets a new time.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "audit/audit.h"

#define KEPT 1024

typedef struct CommandTime
{
	CommandId	command;
	TimestampTz at;
} CommandTime;

static CommandTime kept[KEPT];
static uint64 nkept = 0;		/* of this transaction; the last ones are in the ring */
static TimestampTz last_time = PG_INT64_MIN;	/* the latest that was given out in it */

static inline CommandTime *
slot(uint64 n)
{
	return &kept[n % KEPT];
}

/* A time later than all before it in this transaction. */
static TimestampTz
next_time(void)
{
	last_time = Max(GetCurrentTimestamp(), last_time + 1);
	return last_time;
}

/* The first of the kept commands that is not less than this one; commands ascend. */
static uint64
find(CommandId command)
{
	uint64		low = nkept > KEPT ? nkept - KEPT : 0;
	uint64		high = nkept;

	while (low < high)
	{
		uint64		middle = low + (high - low) / 2;

		if (slot(middle)->command < command)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static TimestampTz
time_of(CommandId command)
{
	uint64		n;

	if (likely(nkept > 0 && slot(nkept - 1)->command == command))
		return slot(nkept - 1)->at;
	n = find(command);
	if (n < nkept && slot(n)->command == command)
		return slot(n)->at;
	/* the ring keeps its order: a command below one that is kept is not kept itself */
	if (n == nkept)
	{
		slot(nkept)->command = command;
		slot(nkept++)->at = next_time();
		return last_time;
	}
	return next_time();
}

/*
 * The written_at of an entry.  The trigger is fired by a change of this transaction.  A
 * table that is no heap (a foreign table) has no command in its rows, nor has TRUNCATE:
 * the clock, then.
 */
TimestampTz
AuditWrittenAt(const TriggerData *trigdata)
{
	HeapTuple	tuple = trigdata->tg_newtuple ? trigdata->tg_newtuple : trigdata->tg_trigtuple;

	if (tuple == NULL || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		trigdata->tg_relation->rd_rel->relkind != RELKIND_RELATION ||
		trigdata->tg_relation->rd_tableam != GetHeapamTableAmRoutine())
		return next_time();
	if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		return time_of(HeapTupleHeaderGetCmax(tuple->t_data));
	/* COPY FREEZE: the header does not say any more who wrote it */
	if (HeapTupleHeaderXminFrozen(tuple->t_data))
		return next_time();
	return time_of(HeapTupleHeaderGetCmin(tuple->t_data));
}

/* The clock for entries of rows that no command has changed.  Later than all before it. */
TimestampTz
AuditWrittenNow(void)
{
	return next_time();
}

/* The end of a transaction: its commands are numbered anew in the next one. */
void
AuditClockEndXact(void)
{
	nkept = 0;
	last_time = PG_INT64_MIN;
}
