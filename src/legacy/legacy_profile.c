/*
 * legacy_profile.c
 *	  legacy_profile(table): which converter fits each column, and what it would refuse.
 *
 * legacy_candidates.c says by name, type and default what may fit.  Then the rows are read
 * once, all or a sample (TABLESAMPLE SYSTEM: blocks by chance, the same ones in each call
 * as long as the table does not change), and each value goes through each candidate's
 * _error function.  A candidate that the name does not speak for is dropped when it refuses
 * more than half of its first values.  At the end one is chosen for each column.
 *
 * Refused values are counted in a hash table per candidate, of at most PROFILE_DIFFERENT
 * entries: what comes later and is new is counted as refused, but is no example.  A value
 * is cut to what fits an entry.  So memory does not grow with the table.
 *
 * It reads only, under the caller's rights: SELECT on the table is asked for, and a table
 * whose rows a policy hides from the caller or from its owner is refused.  Only plain tables
 * and materialized views are taken: a view would run its owner's code.  The query is
 * planned and run as the table's owner (UserCodeEachRow): planning computes constants in
 * index expressions, a virtual generated column is an expression.  The converters are
 * called as C functions.  Nothing is kept; a live application notices a reader.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "optimizer/plancat.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "common/args.h"
#include "common/jsonbwriter.h"
#include "common/names.h"
#include "common/usercode.h"
#include "compat.h"
#include "legacy/legacy_profile.h"
#include "legacy/legacy_values.h"

PG_FUNCTION_INFO_V1(legacy_profile);

/* so many values decide whether a candidate is dropped, or data alone may speak for it */
#define DROP_AFTER 100
#define ENOUGH 20

/* the dates that legacy_date() takes for none if nothing is said */
#define SENTINELS "{0001-01-01,1753-01-01,1899-12-30,1899-12-31,1900-01-01,2999-12-31,9999-12-31,-infinity,infinity}"

typedef struct Profile
{
	ProfileColumn *columns;
	int			ncolumns;
	int64		rows;
	Datum		order;			/* further arguments of legacy_date_error() */
	Datum		sentinels;
	MemoryContext context;		/* of the whole call */
	MemoryContext row_context;
} Profile;

/* 42809, 42501: is this a table that may be profiled?  It is open. */
static void
require_plain_table(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	char		relkind = rel->rd_rel->relkind;
	AclResult	right;

	if (relkind != RELKIND_RELATION && relkind != RELKIND_MATVIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be profiled", RelationGetRelationName(rel)),
				 errdetail_relkind_not_supported(relkind),
				 errhint("Profile the tables below it, one by one.")));
	right = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);
	if (right != ACLCHECK_OK)
		aclcheck_error(right, get_relkind_objtype(relkind), RelationGetRelationName(rel));
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED ||
		check_enable_rls(relid, rel->rd_rel->relowner, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security hides rows of \"%s\"", RelationGetRelationName(rel)),
				 errhint("A role that the policies do not apply to can profile it.")));
}

/* A value as an example shows it, whatever the settings are. */
static char *
value_text(const ProfileColumn *column, Datum value)
{
	char		date[MAXDATELEN + 1];

	switch (column->type_bit)
	{
		case PROFILE_TEXT:
			return TextDatumGetCString(value);
		case PROFILE_NUMERIC:
			return DatumGetCString(DirectFunctionCall1(numeric_out, value));
		default:
			return pstrdup(JsonEncodeDateTime(date, value, column->typid, NULL));
	}
}

/* Counts a value as an example of what is refused. */
static void
remember(Profile *profile, ProfileCandidate *candidate, const char *reason, const char *value)
{
	char		key[PROFILE_EXAMPLE_SIZE];
	ProfileExample *example;
	bool		found;
	int			room;

	if (candidate->examples == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = PROFILE_EXAMPLE_SIZE;
		control.entrysize = sizeof(ProfileExample);
		control.hcxt = profile->context;
		candidate->examples = hash_create("legacy_profile", 32, &control,
										  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	room = PROFILE_EXAMPLE_SIZE - 1 - snprintf(key, sizeof(key), "%s\n", reason);
	room = pg_mbcliplen(value, (int) Min(strlen(value), PROFILE_EXAMPLE_SIZE), room);
	strncat(key, value, (size_t) room);
	example = hash_search(candidate->examples, key,
						  hash_get_num_entries(candidate->examples) < PROFILE_DIFFERENT ? HASH_ENTER : HASH_FIND,
						  &found);
	if (example == NULL)
		return;
	if (!found)
		example->rows = 0;
	example->rows++;
}

/* Asks a candidate for its reason to refuse a value; more has the partner's value. */
static void
ask(Profile *profile, ProfileColumn *column, ProfileCandidate *candidate, Datum value, const NullableDatum * more)
{
	LOCAL_FCINFO(fcinfo, 3);
	Datum		reason;
	char	   *shown;

	InitFunctionCallInfoData(*fcinfo, NULL, candidate->kind->nargs, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = value;
	fcinfo->args[0].isnull = false;
	for (int i = 1; i < candidate->kind->nargs; i++)
	{
		fcinfo->args[i].value = i == candidate->kind->nargs - 1 ? profile->sentinels : profile->order;
		fcinfo->args[i].isnull = false;
	}
	if (more != NULL)
		fcinfo->args[1] = *more;
	reason = candidate->kind->error(fcinfo);
	if (fcinfo->isnull)
		return;
	candidate->refused++;
	shown = value_text(column, value);
	if (more != NULL)
		shown = psprintf("%s; %s", shown, more->isnull ? "NULL" : TextDatumGetCString(more->value));
	remember(profile, candidate, TextDatumGetCString(reason), shown);
}

/* Has a text nothing that can be seen? */
static bool
is_blank(Datum value)
{
	text	   *packed = DatumGetTextPP(value);
	const unsigned char *at = (const unsigned char *) VARDATA_ANY(packed);
	const unsigned char *end = at + VARSIZE_ANY_EXHDR(packed);

	while (at < end)
	{
		uint32_t	c = LegacyCharRead(&at, end);

		if (!LegacyCharIsBlank(c) && !LegacyCharIsInvisible(c))
			return false;
	}
	return true;
}

/* One row of the table. */
static void
take_row(TupleTableSlot *slot, void *arg)
{
	Profile    *profile = arg;
	MemoryContext old = MemoryContextSwitchTo(profile->row_context);

	slot_getallattrs(slot);
	profile->rows++;
	for (int i = 0; i < profile->ncolumns; i++)
	{
		ProfileColumn *column = &profile->columns[i];
		NullableDatum more;
		Datum		value;
		int64		asked;

		if (column->place < 0)
			continue;
		if (slot->tts_isnull[column->place])
		{
			column->nulls++;
			continue;
		}
		value = slot->tts_values[column->place];
		if (column->type_bit == PROFILE_TEXT)
		{
			value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
			if (is_blank(value))
			{
				column->blanks++;
				continue;
			}
		}
		if (column->partner >= 0)
		{
			more.value = slot->tts_values[profile->columns[column->partner].place];
			more.isnull = slot->tts_isnull[profile->columns[column->partner].place];
		}
		asked = profile->rows - column->nulls - column->blanks;
		for (int j = 0; j < column->ncandidates; j++)
		{
			ProfileCandidate *candidate = &column->candidates[j];

			if (candidate->dropped || candidate->kind->error == NULL)
				continue;
			ask(profile, column, candidate, value, column->partner >= 0 ? &more : NULL);
			if (!candidate->named && candidate->kind->words != NULL && asked >= DROP_AFTER &&
				candidate->refused * 2 > asked)
				candidate->dropped = true;
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(profile->row_context);
}

/*
 * The query for the columns that have candidates; gives each its place.  A sample of
 * about so many rows, all if it is negative.  NULL if there is nothing to read.
 */
static char *
query_for(Relation rel, Profile *profile, int64 sample)
{
	StringInfoData sql;
	BlockNumber pages;
	double		tuples;
	double		all_visible;
	int			n = 0;

	estimate_rel_size(rel, NULL, &pages, &tuples, &all_visible);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < profile->ncolumns; i++)
	{
		ProfileColumn *column = &profile->columns[i];

		if (column->ncandidates == 0 && column->partner_of < 0)
			continue;
		appendStringInfo(&sql, "%s%s", n > 0 ? ", " : "", quote_identifier(column->name));
		column->place = n++;
	}
	if (n == 0 || pages == 0)
		return NULL;
	appendStringInfo(&sql, " FROM ONLY %s", NamesQualified(RelationGetRelid(rel)));
	if (sample > 0 && tuples > 2.0 * sample)
		appendStringInfo(&sql, " TABLESAMPLE SYSTEM (%.6f) REPEATABLE (0)", 100.0 * sample / tuples);
	return sql.data;
}

/* The candidate that is chosen, or NULL; what speaks for it, and how sure that is. */
static ProfileCandidate *
choose(ProfileColumn *column, int64 rows, const char **evidence, const char **sure)
{
	int64		values = rows - column->nulls - column->blanks;
	ProfileCandidate *named = NULL;

	for (int i = 0; i < column->ncandidates; i++)
	{
		ProfileCandidate *candidate = &column->candidates[i];
		bool		is_typed = candidate->kind->words == NULL && candidate->named && column->partner < 0;
		bool		fits;

		if (candidate->named)
		{
			if (named == NULL)
				named = candidate;
			if (!is_typed && candidate->refused * 2 > values)
				continue;
			fits = candidate->refused * 5 <= values;
			*evidence = is_typed ? "type" : fits && values > 0 && candidate->kind->error != NULL ? "name, type, data" : "name, type";
			*sure = is_typed || (fits && values >= ENOUGH && candidate->kind->error != NULL) ? "high" : fits ? "medium" : "low";
			return candidate;
		}
		if (candidate->kind->words != NULL && !candidate->dropped && values >= ENOUGH &&
			candidate->refused * 20 <= values)
		{
			*evidence = "type, data";
			*sure = candidate->kind->max_width < 9 ? "low" : "medium";
			return candidate;
		}
		if (candidate->kind->words == NULL && named == NULL)
		{
			*evidence = "type";
			*sure = "low";
			return candidate;
		}
	}
	*evidence = "name, type";
	*sure = "low";
	return named;
}

static int
compare_examples(const void *a, const void *b)
{
	const ProfileExample *x = *(const ProfileExample *const *) a;
	const ProfileExample *y = *(const ProfileExample *const *) b;

	if (x->rows != y->rows)
		return x->rows > y->rows ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* The most frequent examples as a JSONB array of objects, or a null datum. */
static Datum
examples_jsonb(const ProfileCandidate *candidate, bool *isnull)
{
	static const JsonbWriterKey keys[] = {JSONB_KEY("rows"), JSONB_KEY("value"), JSONB_KEY("reason")};
	HASH_SEQ_STATUS scan;
	ProfileExample *example;
	ProfileExample **sorted;
	JsonbWriter writer;
	int			n = 0;

	*isnull = candidate == NULL || candidate->examples == NULL;
	if (*isnull)
		return (Datum) 0;
	sorted = palloc(sizeof(*sorted) * hash_get_num_entries(candidate->examples));
	hash_seq_init(&scan, candidate->examples);
	while ((example = hash_seq_search(&scan)) != NULL)
		sorted[n++] = example;
	qsort(sorted, (size_t) n, sizeof(*sorted), compare_examples);
	n = Min(n, PROFILE_EXAMPLES);

	JsonbWriterBegin(&writer, 1024, NULL);
	JsonbWriterArray(&writer, n);
	for (int i = 0; i < n; i++)
	{
		char	   *value = strchr(sorted[i]->text, '\n');

		JsonbWriterObject(&writer, keys, lengthof(keys));
		JsonbWriterNumber(&writer, DirectFunctionCall1(int8_numeric, Int64GetDatum(sorted[i]->rows)));
		JsonbWriterText(&writer, value + 1);
		JsonbWriterText(&writer, pnstrdup(sorted[i]->text, (Size) (value - sorted[i]->text)));
		JsonbWriterClose(&writer);
	}
	JsonbWriterClose(&writer);
	return JsonbPGetDatum(JsonbWriterEnd(&writer));
}

/* A row of the result.  A longitude has that of its latitude. */
static void
put_column(ReturnSetInfo *result, Profile *profile, ProfileColumn *column)
{
	ProfileColumn *judged = column->partner_of >= 0 ? &profile->columns[column->partner_of] : column;
	const char *evidence = NULL;
	const char *sure = NULL;
	ProfileCandidate *chosen = choose(judged, profile->rows, &evidence, &sure);
	Datum		values[11];
	bool		nulls[11] = {false};

	values[0] = DirectFunctionCall1(namein, CStringGetDatum(column->name));
	values[1] = CStringGetTextDatum(column->type);
	values[6] = Int64GetDatum(column->place >= 0 ? profile->rows : 0);
	values[7] = Int64GetDatum(column->nulls);
	values[8] = Int64GetDatum(column->blanks);
	values[9] = Int64GetDatum(chosen ? chosen->refused : 0);
	values[10] = examples_jsonb(chosen, &nulls[10]);
	if (chosen == NULL)
		memset(nulls + 2, true, 4);
	else
	{
		values[2] = CStringGetTextDatum(chosen->kind->label);
		values[3] = CStringGetTextDatum(LegacyCandidatesSql(chosen->kind, profile->columns, judged));
		values[4] = CStringGetTextDatum(evidence);
		values[5] = CStringGetTextDatum(sure);
	}
	nulls[9] = chosen == NULL;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * legacy_profile(tab, sample_rows): a row per column.  Raises 22004 without a table, 22023
 * for a sample below 1, 42809 for what is no table, 42501 without the right to read all.
 */
Datum
legacy_profile(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"tab"};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		sample = PG_ARGISNULL(1) ? -1 : PG_GETARG_INT64(1);
	Profile		profile = {0};
	Relation	rel;
	char	   *sql;

	ArgsRefuseNull(fcinfo, "legacy_profile", names, 1);
	if (!PG_ARGISNULL(1) && sample < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample_rows must be at least 1"),
				 errhint("NULL reads all rows.")));
	rel = table_open(PG_GETARG_OID(0), AccessShareLock);
	require_plain_table(rel);
	InitMaterializedSRF(fcinfo, 0);

	profile.context = CurrentMemoryContext;
	profile.row_context = AllocSetContextCreate(CurrentMemoryContext, "legacy_profile row", ALLOCSET_DEFAULT_SIZES);
	profile.order = CStringGetTextDatum("dmy");
	profile.sentinels = OidInputFunctionCall(F_ARRAY_IN, pstrdup(SENTINELS), DATEOID, -1);
	profile.columns = LegacyCandidatesOfTable(rel, &profile.ncolumns);
	sql = query_for(rel, &profile, sample);
	if (sql != NULL)
	{
		SPI_connect();
		MemoryContextSwitchTo(profile.context);
		UserCodeEachRow(rel->rd_rel->relowner, sql, NULL, take_row, &profile);
		SPI_finish();
		MemoryContextSwitchTo(profile.context);
	}
	for (int i = 0; i < profile.ncolumns; i++)
		put_column(result, &profile, &profile.columns[i]);
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}
