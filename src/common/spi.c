/*
 * spi.c
 *	  Commands, caught errors, and transactions that follow each other.
 *
 * SPI leaves a memory context of its own behind as the current one, which lives
 * as long as the connection; everything here gives the caller's back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "common/spi.h"
#include "common/textarray.h"

#define SPI_MAX_ARGS	12

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
 * Runs one statement with parameters and returns SPI_processed; an error when it
 * does not succeed.  What it returns is in SPI_tuptable, for the functions below,
 * until the next statement.
 */
uint64
SpiQuery(const char *sql, int nargs, const SpiArg *args)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[SPI_MAX_ARGS];
	Datum		values[SPI_MAX_ARGS];
	char		nulls[SPI_MAX_ARGS] = {0};
	int			result;

	if (nargs > SPI_MAX_ARGS)
		elog(ERROR, "%d parameters are too many", nargs);
	for (int i = 0; i < nargs; i++)
	{
		types[i] = args[i].type;
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	result = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);
	MemoryContextSwitchTo(caller);
	if (result < 0)
		elog(ERROR, "\"%s\" failed: %s", sql, SPI_result_code_string(result));
	return SPI_processed;
}

/* A parameter of type text; NULL for null. */
SpiArg
SpiTextArg(const char *text)
{
	SpiArg		arg = {TEXTOID, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL};

	return arg;
}

/* A bigint parameter. */
SpiArg
SpiInt64Arg(int64 value)
{
	SpiArg		arg = {INT8OID, Int64GetDatum(value), false};

	return arg;
}

/* A parameter of type text[], of a List of char *. */
SpiArg
SpiTextListArg(List *texts)
{
	SpiArg		arg = {TEXTARRAYOID, TextArrayOfList(texts), false};

	return arg;
}

/* A parameter of type text[], of n text datums. */
SpiArg
SpiTextArrayArg(Datum *texts, int n)
{
	SpiArg		arg = {TEXTARRAYOID, TextArrayOfDatums(texts, n), false};

	return arg;
}

/* A parameter of type bigint[], of n bigint datums. */
SpiArg
SpiInt64ArrayArg(Datum *values, int n)
{
	ArrayType  *array = construct_array(values, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
										TYPALIGN_DOUBLE);
	SpiArg		arg = {INT8ARRAYOID, PointerGetDatum(array), false};

	return arg;
}

/* A parameter of any type, not null. */
SpiArg
SpiDatumArg(Oid type, Datum value)
{
	SpiArg		arg = {type, value, false};

	return arg;
}

/* A null of that type. */
SpiArg
SpiNullArg(Oid type)
{
	SpiArg		arg = {type, (Datum) 0, true};

	return arg;
}

/*
 * The fields of a result: rows from 0, columns from 1, as SPI counts them.
 */

/* The field, which must be of that type. */
static Datum
typed_field(uint64 row, int column, Oid type, bool *isnull)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;

	if (row >= SPI_tuptable->numvals || SPI_gettypeid(tupdesc, column) != type)
		elog(ERROR, "column %d of row " UINT64_FORMAT " is not of type %u", column, row, type);
	return SPI_getbinval(SPI_tuptable->vals[row], tupdesc, column, isnull);
}

/* A field of any type as its text, in the current memory context; NULL for null. */
char *
SpiText(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

/* A bigint; 0 for null. */
int64
SpiInt64(uint64 row, int column)
{
	bool		isnull;
	Datum		value = typed_field(row, column, INT8OID, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* An oid; InvalidOid for null. */
Oid
SpiOid(uint64 row, int column)
{
	bool		isnull;
	Datum		value = typed_field(row, column, OIDOID, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

/* A boolean; false for null. */
bool
SpiBool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = typed_field(row, column, BOOLOID, &isnull);

	return !isnull && DatumGetBool(value);
}

/* A text[] as a List of char *, in the current memory context; NIL for null. */
List *
SpiTextList(uint64 row, int column)
{
	bool		isnull;
	Datum		value = typed_field(row, column, TEXTARRAYOID, &isnull);

	return isnull ? NIL : TextArrayToList(DatumGetArrayTypeP(value));
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

/*
 * Fires all deferred triggers now, while it is still known whose work they belong to:
 * at the commit they would take everything with them, and could run in a role's rights
 * that are not theirs.
 */
void
SpiFireDeferred(void)
{
	SpiRun("SET CONSTRAINTS ALL IMMEDIATE");
}

/*
 * Is an error about the whole call (cancelled, shut down, out of memory or disk),
 * and not about the one table at hand?
 */
bool
SpiMustStop(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_INSUFFICIENT_RESOURCES;
}
