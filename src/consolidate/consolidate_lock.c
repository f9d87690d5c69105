/*
 * consolidate_lock.c
 *	  Transactions, locks and errors of the procedures that commit on their way.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "common/spi.h"
#include "compat.h"
#include "consolidate/consolidate.h"

/*
 * Fires the deferred triggers of the target now, while one table can still be
 * blamed.  At the commit they would take the whole call with them.
 */
void
ConsolidateFireDeferred(void)
{
	SpiRun("SET CONSTRAINTS ALL IMMEDIATE");
}

static int
set_modes(const char *const settings[][2], int n, int level)
{
	int			i;

	for (i = 0; i < n; i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * Settings under which what the server writes as text (a definition, a default
 * in it, a value) is what it reads back, whatever the session's were at either
 * time; names mean what they meant, and are written qualified where they are
 * not the server's.  TextModesEnd(<the result>) ends it.
 */
int
TextModes(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"standard_conforming_strings", "on"}, {"datestyle", "ISO"}, {"intervalstyle", "postgres"},
		{"extra_float_digits", "3"}, {"bytea_output", "hex"}, {"xmloption", "content"},
		{"array_nulls", "on"}, {"lc_monetary", "C"},
	};

	return set_modes(settings, lengthof(settings), NewGUCNestLevel());
}

/* Whatever was changed meanwhile, by code of others too, is as it was before. */
void
TextModesEnd(int level)
{
	AtEOXact_GUC(false, level);
}

/*
 * The same for checksums of types that are hashed by their text, which must
 * not depend on the time zone either.  Where there are none it costs nothing.
 */
int
TextModesOfChecksums(const Shape *shape)
{
	static const char *const settings[][2] = {{"timezone", "UTC"}};
	int			i;

	for (i = 0; i < shape->ncolumns; i++)
		if (shape->columns[i].hash_by == HASH_BY_TEXT)
			return set_modes(settings, lengthof(settings), TextModes());
	return NewGUCNestLevel();
}

/* A family in a schema, as the object of a lock. */
int32
ConsolidateLockKey(Family *family)
{
	return (int32) (hash_bytes((const unsigned char *) family->name, strlen(family->name)) ^
					hash_bytes_uint32(family->schema_oid));
}

/* A lock in the name of one of our tables: no command can take it but we. */
static void
set_lock_tag(LOCKTAG *tag, Family *family, uint32 key, uint16 kind)
{
	Oid			runs = get_relname_relid("consolidate_run",
										 get_namespace_oid(family->extschema_name, false));

	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, runs, key, kind);
}

/*
 * Keeps others away from the family until ConsolidateUnlock, over commits.  An
 * advisory lock could be held by anybody who knows its key.
 */
void
ConsolidateLock(LOCKTAG *tag, Family *family)
{
	set_lock_tag(tag, family, (uint32) ConsolidateLockKey(family), 0);
	if (LockAcquire(tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("family \"%s\" in schema \"%s\" is being consolidated by another session",
						family->name, family->schema),
				 errhint("consolidate_progress shows how far it is.")));
}

/* A transaction that failed has given the lock back already. */
void
ConsolidateUnlock(const LOCKTAG *tag)
{
	if (LockHeldByMe(tag, ExclusiveLock, false))
		LockRelease(tag, ExclusiveLock, true);
}

/* Until the end of the transaction, one at a time, whatever the family. */
void
ConsolidateLockAll(Family *family)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, family, 0, 1);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
}

void
ConsolidateRequireNonatomic(FunctionCallInfo fcinfo, const char *procedure)
{
	if (!fcinfo->context || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s commits on its way and cannot run inside a transaction block",
						procedure),
				 errhint("CALL it by itself, outside BEGIN ... COMMIT and outside functions.")));
}

/* names: of the first n arguments; NULL for one that may be null. */
void
ConsolidateRefuseNull(FunctionCallInfo fcinfo, const char *function, const char *const *names,
					  int n)
{
	int			i;

	for (i = 0; i < n; i++)
		if (names[i] && PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" of %s must not be null", names[i], function)));
}

/* Errors that are about the whole call, not about one table. */
bool
ConsolidateMustStop(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_INSUFFICIENT_RESOURCES;
}
