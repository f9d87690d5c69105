/*
 * audit_versions.c
 *	  audit_versions: every version of the rows that had a key.
 *
 * A key may have belonged to several rows, one after the other, and a row may have had
 * several keys.  So the entries under the key are cut into lives: an INSERT begins one, a
 * DELETE or an UPDATE that takes the key away ends one.  Each life is then followed to where
 * the row went when its key was changed, and back to where it came from, under the other
 * keys; audit_chain.c makes versions of it.
 *
 * Two rows that swap their keys do so in one command, which writes all its entries at one
 * moment.  What a command writes under a key that another row gets in the same command is
 * about the row that had it before.
 *
 * Where the log has no end for a life (no DELETE, and no such row now), a TRUNCATE is looked
 * for; where there is none either, the row went while nobody logged, and its last version is
 * not certain.
 *
 * The chain is made in a subtransaction.  If the input function of a type does not take a
 * value, it is made again with a subtransaction for each value.  All memory goes with the
 * SPI connection, but for the result.  Reads only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "audit/audit_asof.h"
#include "common/args.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(audit_versions);

/* how often a record's key may have changed; more looks like a circle */
#define MAX_MOVES	10000

/* a life as it is put together */
typedef struct Thread
{
	AuditLife	life;
	AuditValue *key;			/* that the row has at the end of it, so far */
	bool		open;			/* no entry ends it */
	TimestampTz before;			/* it ended before that, if it did */
} Thread;

/* ---- putting a life together ---------------------------------------------------------- */

static bool
begins_row(const AuditEntry *e)
{
	return e->action == 'I';
}

static bool
ends_stay(const AuditEntry *e)
{
	return e->action == 'D' || e->moved != NULL;
}

/* Takes the entries under the new key, once the row was given it by `arrival`. */
static bool
follow(AuditPast *past, Thread *thread, const AuditEntry *arrival)
{
	ListCell   *lc;

	thread->key = arrival->moved;
	foreach(lc, AuditPastEntries(past, thread->key))
	{
		AuditEntry *e = lfirst(lc);

		if (AuditEntryCompare(e, arrival) <= 0 || AuditEntrySameCommand(e, arrival))
			continue;
		if (begins_row(e))
		{
			/* another row got the key: this one went, and nobody logged it */
			thread->before = e->at;
			return false;
		}
		thread->life.entries = lappend(thread->life.entries, e);
		if (ends_stay(e))
		{
			thread->open = e->action != 'D';
			return e->moved != NULL;
		}
	}
	return false;
}

/* Follows an open life forward through all its keys. */
static void
follow_moves(AuditPast *past, Thread *thread)
{
	AuditEntry *last = thread->life.entries ? llast(thread->life.entries) : NULL;
	int			moves = 0;

	while (last && last->moved && follow(past, thread, last))
	{
		if (++moves > MAX_MOVES)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the key of one row was changed more than %d times", MAX_MOVES)));
		last = llast(thread->life.entries);
	}
}

/*
 * The entries of the row under the key that it had before `arrival`, from the one that
 * ended the stay of another row (excluded) or began this one (included).
 */
static List *
stay_before(AuditPast *past, const AuditEntry *arrival, AuditEntry **stop)
{
	List	   *stay = NIL;
	ListCell   *lc;

	*stop = NULL;
	foreach(lc, AuditPastEntries(past, arrival->key))
	{
		AuditEntry *e = lfirst(lc);

		if (AuditEntryCompare(e, arrival) >= 0 || AuditEntrySameCommand(e, arrival))
			break;
		if (begins_row(e))
			stay = NIL;
		stay = lappend(stay, e);
		if (ends_stay(e))
		{
			stay = NIL;
			*stop = e;
		}
	}
	return lappend(stay, (void *) arrival);
}

/* Where did the row come from that had its first entry under this key without an INSERT? */
static void
trace_back(AuditPast *past, Thread *thread, const AuditValue *key, AuditEntry *stop)
{
	for (int moves = 0; moves < MAX_MOVES; moves++)
	{
		AuditEntry *first = thread->life.entries ? linitial(thread->life.entries) : NULL;
		AuditEntry *arrival;

		if (first && begins_row(first))
			return;
		arrival = AuditPastArrival(past, key, stop, DT_NOBEGIN, first);
		if (arrival == NULL || arrival->key == NULL)
		{
			thread->life.unexplained = stop != NULL;
			return;
		}
		thread->life.entries = list_concat(stay_before(past, arrival, &stop), thread->life.entries);
		key = arrival->key;
	}
}

/* The end of a life: the row of today, a TRUNCATE, or not known. */
static void
find_end(AuditPast *past, Thread *thread)
{
	AuditEntry *last = thread->life.entries ? llast(thread->life.entries) : NULL;
	AuditEntry *truncate;

	if (!thread->open)
	{
		thread->life.has_end = true;
		thread->life.end = last->at;
		return;
	}
	if (thread->before == DT_NOEND)
		thread->life.live = AuditPastLive(past, thread->key);
	if (thread->life.live)
		return;
	truncate = AuditPastTruncate(past, last ? last->at : DT_NOBEGIN, thread->before);
	thread->life.has_end = truncate != NULL;
	if (truncate)
		thread->life.end = truncate->at;
	else
		thread->life.lost = true;
}

/* ---- cutting ------------------------------------------------------------------------------ */

static Thread *
new_thread(AuditValue *key)
{
	Thread	   *thread = palloc0(sizeof(Thread));

	thread->key = key;
	thread->open = true;
	thread->before = DT_NOEND;
	return thread;
}

/* Is the life in the list, which begins with the same entry? */
static bool
is_there(List *threads, const Thread *thread)
{
	ListCell   *lc;

	foreach(lc, threads)
	{
		const Thread *other = lfirst(lc);

		if (other->life.entries && thread->life.entries &&
			AuditEntryCompare(linitial(other->life.entries), linitial(thread->life.entries)) == 0)
			return true;
	}
	return false;
}

/* The lives of the rows that had the key, a list of Thread *, in the order in which they had it. */
static List *
find_lives(AuditPast *past, AuditValue *key)
{
	List	   *threads = NIL;
	List	   *result = NIL;
	Thread	   *thread = NULL;
	AuditEntry *stop = NULL;
	ListCell   *lc;

	foreach(lc, AuditPastEntries(past, key))
	{
		AuditEntry *e = lfirst(lc);

		if (thread && begins_row(e))
		{
			thread->before = e->at;
			thread = NULL;
		}
		if (thread == NULL)
		{
			thread = new_thread(key);
			threads = lappend(threads, thread);
			thread->life.entries = list_make1(e);
			if (!begins_row(e))
				trace_back(past, thread, key, stop);
		}
		else
			thread->life.entries = lappend(thread->life.entries, e);
		if (ends_stay(e))
		{
			stop = e;
			thread->open = e->action != 'D';
			thread = NULL;
		}
	}
	/* a row that got the key last, and had no entry since */
	if (thread == NULL && AuditPastLive(past, key) != NULL)
	{
		thread = new_thread(key);
		trace_back(past, thread, key, stop);
		threads = lappend(threads, thread);
	}
	foreach(lc, threads)
	{
		Thread	   *next = lfirst(lc);

		follow_moves(past, next);
		/* a row that had the key twice is found twice */
		if (is_there(result, next))
			continue;
		find_end(past, next);
		result = lappend(result, next);
	}
	return result;
}

/* ---- the result --------------------------------------------------------------------------- */

/* The names of columns as text[]. */
static Datum
names_of(const AuditShape *shape, List *columns)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(list_length(columns), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, columns)
		names[n++] = CStringGetTextDatum(shape->columns[lfirst_int(lc)].name);
	if (n == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
put_version(const AuditShape *shape, const AuditVersion *version, ReturnSetInfo *result)
{
	const AuditEntry *e = version->entry;
	char		action[2] = {e ? e->action : '\0', '\0'};
	Datum		values[8];
	bool		nulls[8] = {0};

	nulls[0] = nulls[2] = e == NULL;
	nulls[1] = !version->has_to;
	nulls[3] = e == NULL || !e->has_xact;
	nulls[4] = e == NULL || e->user_id == NULL;
	values[0] = e ? TimestampTzGetDatum(e->at) : (Datum) 0;
	values[1] = TimestampTzGetDatum(version->to);
	values[2] = CStringGetTextDatum(action);
	values[3] = e ? UInt64GetDatum(e->xact) : (Datum) 0;
	values[4] = nulls[4] ? (Datum) 0 : CStringGetTextDatum(e->user_id);
	values[5] = BoolGetDatum(version->certain);
	values[6] = heap_copy_tuple_as_datum(version->row, shape->desc);
	values[7] = names_of(shape, version->unknown);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

typedef struct Making
{
	AuditShape *shape;
	const AuditLife *life;
	List	   *versions;
} Making;

static void
make_versions(void *arg)
{
	Making	   *making = arg;

	making->versions = AuditVersionsOfLife(making->shape, making->life, false);
}

static void
put_life(AuditShape *shape, const AuditLife *life, ReturnSetInfo *result)
{
	Making		making = {shape, life, NIL};
	ListCell   *lc;

	if (!AuditReadTry(make_versions, &making))
		making.versions = AuditVersionsOfLife(shape, life, true);
	foreach(lc, making.versions)
		put_version(shape, lfirst(lc), result);
}

/*
 * audit_versions(base, record_key): a row for each version.  Errors: 22004 no key; 22023 a key
 * of several columns that is no object; else those of AuditPastOpen.
 */
Datum
audit_versions(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {NULL, "record_key"};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AuditPast	past;
	AuditShapeScope scope;
	List	   *threads;
	ListCell   *lc;

	ArgsRefuseNull(fcinfo, "audit_versions", names, lengthof(names));
	SPI_connect();
	AuditPastOpen(fcinfo, &past);
	InitMaterializedSRF(fcinfo, 0);
	AuditPastWarn(&past);
	threads = find_lives(&past, AuditPastKey(&past, text_to_cstring(PG_GETARG_TEXT_PP(1))));
	AuditShapeEnter(past.shape, &scope);
	foreach(lc, threads)
		put_life(past.shape, &((Thread *) lfirst(lc))->life, result);
	AuditShapeLeave(&scope);
	AuditPastClose(&past);
	SPI_finish();
	return (Datum) 0;
}
