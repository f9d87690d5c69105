/*
 * consolidate_columns.c
 *	  The columns of a family, and how a source's values become theirs.
 *
 * The columns are found once per run, from the target when there is one and from the
 * family's own definition (or that of most sources) when there is not.  Every
 * source is then matched by column name.  A value is copied as it is or, among
 * the exact numbers and among text and varchar, converted when nothing of it
 * gets lost; coerce returns false for a value that does not fit, and raises
 * no error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "parser/parse_type.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "consolidate/consolidate.h"

static bool
is_exact_number(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID;
}

static bool
is_plain_text(Oid type)
{
	return type == TEXTOID || type == VARCHAROID;
}

/* How values of one type become values of another; false where we do not convert. */
static bool
choose_coercion(Oid from, int32 from_typmod, Oid to, int32 to_typmod, Coercion *coercion)
{
	if (from == to && (from_typmod == to_typmod || to_typmod < 0))
		*coercion = COERCE_NOTHING;
	else if (is_exact_number(from) && is_exact_number(to))
		*coercion = COERCE_NUMBER;
	else if (is_plain_text(from) && is_plain_text(to))
		*coercion = to_typmod < 0 ? COERCE_NOTHING : COERCE_LENGTH;
	else
		return false;
	return true;
}

static char *
type_name(Oid type, int32 typmod)
{
	return format_type_with_typemod(type, typmod);
}

/* Splits "name type" at the end of the (perhaps quoted) name. */
static void
parse_definition(const char *def, FamilyColumn *column)
{
	StringInfoData name;
	const char *p = def;

	initStringInfo(&name);
	if (*p == '"')
	{
		for (p++; *p && !(*p == '"' && p[1] != '"'); p++)
		{
			if (*p == '"')
				p++;
			appendStringInfoChar(&name, *p);
		}
		if (*p == '"')
			p++;
	}
	else
	{
		for (; *p && *p != ' '; p++)
			appendStringInfoChar(&name, *p);
		/* as anywhere in SQL */
		if (name.len > 0)
		{
			char	   *folded = downcase_identifier(name.data, name.len, false, false);

			resetStringInfo(&name);
			appendStringInfoString(&name, folded);
		}
	}
	if (name.len == 0 || *p != ' ')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column definition is not a name and a type"),
				 errdetail("The definition is \"%s\".", def),
				 errhint("Write the name, a blank and the type, as in \"importe numeric(18,2)\".")));
	column->name = name.data;
	parseTypeString(p + 1, &column->type, &column->typmod, 0);
	column->collation = get_typcollation(column->type);
}

static FamilyColumn *
find_column(const FamilyColumns *columns, const char *name)
{
	for (int i = 0; i < columns->ncolumns; i++)
		if (strcmp(columns->column[i].name, name) == 0)
			return &columns->column[i];
	return NULL;
}

/*
 * Fills family->columns from definitions, "name type" each, under SettingsForText.
 * Raises 22023 for what is no definition, and the server's errors for its type.
 */
void
ConsolidateParseColumns(Family *family, List *defs)
{
	FamilyColumns *columns = &family->columns;
	ListCell   *lc;

	columns->ncolumns = 0;
	columns->column = palloc0(sizeof(FamilyColumn) * list_length(defs));
	foreach(lc, defs)
		parse_definition(lfirst(lc), &columns->column[columns->ncolumns++]);
}

/* Raises 42701 when a name occurs twice, or is one that every target has. */
void
ConsolidateCheckColumns(Family *family)
{
	FamilyColumns *columns = &family->columns;

	for (int i = 0; i < columns->ncolumns; i++)
	{
		const char *name = columns->column[i].name;

		if (find_column(columns, name) != &columns->column[i])
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("family \"%s\" has column \"%s\" twice", family->name, name)));
		if (strcmp(name, PROCESS_COLUMN) == 0 || strcmp(name, CREATED_COLUMN) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" of family \"%s\" has the name of a column that every target has",
							name, family->name),
					 errhint("Rename the column in the sources.")));
	}
}

/* The columns as text, for ConsolidateParseColumns under the same SettingsForText. */
List *
ConsolidateDeparseColumns(const FamilyColumns *columns)
{
	List	   *defs = NIL;

	for (int i = 0; i < columns->ncolumns; i++)
		defs = lappend(defs, psprintf("%s %s", quote_identifier(columns->column[i].name),
									  format_type_extended(columns->column[i].type,
														   columns->column[i].typmod,
														   FORMAT_TYPE_TYPEMOD_GIVEN |
														   FORMAT_TYPE_FORCE_QUALIFY)));
	return defs;
}

/*
 * Fills family->columns from a target.  A family that defines its columns must find
 * each of them there: 42703 without one, 42804 for another type.  For a family that does
 * not, the target's columns are its columns.
 */
void
ConsolidateTargetColumns(Family *family, Relation target)
{
	FamilyColumns *columns = &family->columns;
	TupleDesc	desc = RelationGetDescr(target);
	bool		defined = family->column_defs != NIL;

	if (defined)
		ConsolidateParseColumns(family, family->column_defs);
	else
	{
		columns->ncolumns = 0;
		columns->column = palloc0(sizeof(FamilyColumn) * desc->natts);
	}

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		FamilyColumn *column;

		if (att->attisdropped || att->attgenerated ||
			strcmp(NameStr(att->attname), PROCESS_COLUMN) == 0 ||
			strcmp(NameStr(att->attname), CREATED_COLUMN) == 0)
			continue;
		column = find_column(columns, NameStr(att->attname));
		if (column == NULL && defined)
			continue;			/* ConsolidateCheckTarget looks at those */
		if (column == NULL)
		{
			column = &columns->column[columns->ncolumns++];
			column->name = pstrdup(NameStr(att->attname));
		}
		else
		{
			Coercion	coercion;

			if (!choose_coercion(column->type, column->typmod, att->atttypid, att->atttypmod,
								 &coercion))
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("target \"%s.%s\" does not fit family \"%s\"",
								family->schema, family->target, family->name),
						 errdetail("Column \"%s\" is %s, the family's is %s.", column->name,
								   type_name(att->atttypid, att->atttypmod),
								   type_name(column->type, column->typmod)),
						 errhint("Rename the table, or change the type of its column.")));
		}
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->collation = att->attcollation;
		column->notnull = att->attnotnull;
		column->target_attno = att->attnum;
	}

	for (int i = 0; i < columns->ncolumns; i++)
		if (columns->column[i].target_attno == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("target \"%s.%s\" does not fit family \"%s\"",
							family->schema, family->target, family->name),
					 errdetail("It has no column \"%s\".", columns->column[i].name),
					 errhint("Add the column, or rename the table.")));
}

/*
 * Completes family->columns, wherever they came from: the key, and how values are hashed.
 * Raises 42703 for a key column that the family does not have, 42883 for one that cannot be a
 * key.
 */
void
ConsolidateFinishColumns(Family *family)
{
	FamilyColumns *columns = &family->columns;
	ListCell   *lc;

	columns->nkeys = 0;
	columns->key = palloc(sizeof(int) * list_length(family->key_columns));
	foreach(lc, family->key_columns)
	{
		FamilyColumn *column = find_column(columns, lfirst(lc));

		if (column == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("family \"%s\" has no column \"%s\" for its key",
							family->name, (char *) lfirst(lc)),
					 errhint("Define the family again with a key that its tables have.")));
		column->key = true;
		column->notnull = true;
		columns->key[columns->nkeys++] = column - columns->column;
	}
	for (int i = 0; i < columns->ncolumns; i++)
		ConsolidatePrepareChecksum(&columns->column[i]);
	for (int i = 0; i < columns->nkeys; i++)
	{
		FamilyColumn *column = &columns->column[columns->key[i]];

		if (!OidIsValid(column->cache->hash_extended_proc) || !OidIsValid(column->cache->eq_opr))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("key column \"%s\" of family \"%s\" cannot be a key",
							column->name, family->name),
					 errdetail("Type %s has no equality or no hash function.",
							   type_name(column->type, column->typmod))));
	}
	{
		Oid			type = columns->column[columns->key[0]].type;

		columns->exact_key = columns->nkeys == 1 &&
			(type == INT2OID || type == INT4OID || type == INT8OID);
	}
}

/*
 * Fills from (one entry per column of the family) for this source.  Returns NULL, or what
 * is wrong with it: all faults, since a renamed column causes two.
 */
ConsolidateProblem *
ConsolidateMatchColumns(const FamilyColumns *columns, Relation source, SourceColumn *from)
{
	TupleDesc	desc = RelationGetDescr(source);
	StringInfoData faults;

	if (columns->ncolumns == 0)
		return ConsolidateProblemOf(PROBLEM_COLUMNS, "has no columns");
	initStringInfo(&faults);
	memset(from, 0, sizeof(SourceColumn) * columns->ncolumns);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		FamilyColumn *column;
		SourceColumn *match;

		if (att->attisdropped)
			continue;
		column = find_column(columns, NameStr(att->attname));
		if (column == NULL)
		{
			appendStringInfo(&faults, "%scolumn \"%s\" is not in the family",
							 faults.len ? ", " : "", NameStr(att->attname));
			continue;
		}
		match = &from[column - columns->column];
		match->attno = att->attnum;
		match->type = att->atttypid;
		if (att->attgenerated || att->attidentity)
			appendStringInfo(&faults, "%scolumn \"%s\" is generated",
							 faults.len ? ", " : "", NameStr(att->attname));
		else if (!choose_coercion(att->atttypid, att->atttypmod,
								  column->type, column->typmod, &match->coercion))
			appendStringInfo(&faults, "%scolumn \"%s\" is %s, the target's is %s",
							 faults.len ? ", " : "", NameStr(att->attname),
							 type_name(att->atttypid, att->atttypmod),
							 type_name(column->type, column->typmod));
	}
	for (int i = 0; i < columns->ncolumns; i++)
		if (from[i].attno == 0)
			appendStringInfo(&faults, "%scolumn \"%s\" is missing",
							 faults.len ? ", " : "", columns->column[i].name);
	return faults.len ? ConsolidateProblemOf(PROBLEM_COLUMNS, "%s", faults.data) : NULL;
}

/* Adds a name, quoted where that is needed, to a list that commas separate. */
void
ConsolidateAppendName(StringInfo list, const char *name)
{
	if (list->len > 0)
		appendStringInfoString(list, ", ");
	appendStringInfoString(list, quote_identifier(name));
}

/* The names of the columns for SQL, in the current memory context. */
char *
ConsolidateColumnList(const FamilyColumns *columns)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < columns->ncolumns; i++)
		ConsolidateAppendName(&list, columns->column[i].name);
	return list.data;
}

/* ---- values ------------------------------------------------------------------ */

static bool
integer_range(Oid type, int64 *low, int64 *high)
{
	switch (type)
	{
		case INT2OID:
			*low = PG_INT16_MIN, *high = PG_INT16_MAX;
			return true;
		case INT4OID:
			*low = PG_INT32_MIN, *high = PG_INT32_MAX;
			return true;
		case INT8OID:
			*low = PG_INT64_MIN, *high = PG_INT64_MAX;
			return true;
		default:
			return false;
	}
}

static int
compare_numeric(Datum a, Datum b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, a, b));
}

/* Would numeric(p,s) hold this value unchanged? */
static bool
numeric_fits(Datum value, int32 typmod)
{
	int			precision;
	int			scale;
	Datum		rounded;
	Datum		limit;
	char		text[32];

	if (typmod < VARHDRSZ || numeric_is_nan(DatumGetNumeric(value)))
		return true;
	if (numeric_is_inf(DatumGetNumeric(value)))
		return false;
	precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	rounded = DirectFunctionCall2(numeric_round, value, Int32GetDatum(scale));
	if (compare_numeric(rounded, value) != 0)
		return false;
	snprintf(text, sizeof(text), "1e%d", precision - scale);
	limit = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
								ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return compare_numeric(DirectFunctionCall1(numeric_abs, value), limit) < 0;
}

/* *out is an exact number as the column holds it; false when it would change or not fit. */
static bool
coerce_number(const FamilyColumn *column, Oid from, Datum in, Datum *out)
{
	int64		low;
	int64		high;
	int64		value;

	if (from != NUMERICOID)
	{
		value = from == INT2OID ? DatumGetInt16(in) :
			from == INT4OID ? DatumGetInt32(in) : DatumGetInt64(in);
		if (integer_range(column->type, &low, &high))
		{
			if (value < low || value > high)
				return false;
		}
		else
		{
			*out = NumericGetDatum(int64_to_numeric(value));
			/* ten digits hold every integer, the case that matters */
			if (from == INT4OID && column->typmod >= VARHDRSZ &&
				((column->typmod - VARHDRSZ) & 0x7ff) == 0 &&
				(((column->typmod - VARHDRSZ) >> 16) & 0xffff) >= 10)
				return true;
			return numeric_fits(*out, column->typmod);
		}
	}
	else if (!integer_range(column->type, &low, &high))
	{
		*out = in;
		if (!numeric_fits(in, column->typmod))
			return false;
		/* sets the display scale */
		if (column->typmod >= VARHDRSZ)
			*out = DirectFunctionCall2(numeric, in, Int32GetDatum(column->typmod));
		return true;
	}
	else
	{
		Numeric		number = DatumGetNumeric(in);

		if (numeric_is_nan(number) || numeric_is_inf(number) ||
			compare_numeric(in, NumericGetDatum(int64_to_numeric(low))) < 0 ||
			compare_numeric(in, NumericGetDatum(int64_to_numeric(high))) > 0 ||
			compare_numeric(in, DirectFunctionCall2(numeric_trunc, in, Int32GetDatum(0))) != 0)
			return false;
		value = DatumGetInt64(DirectFunctionCall1(numeric_int8, in));
	}

	*out = column->type == INT2OID ? Int16GetDatum((int16) value) :
		column->type == INT4OID ? Int32GetDatum((int32) value) : Int64GetDatum(value);
	return true;
}

/*
 * *out is the value, not null, as the target holds it; false: the target cannot hold it.
 * It may point into in, and else lives in the current memory context.
 */
static bool
coerce(const FamilyColumn *column, const SourceColumn *from, Datum in, Datum *out)
{
	switch (from->coercion)
	{
		case COERCE_NOTHING:
			*out = in;
			return true;
		case COERCE_NUMBER:
			return coerce_number(column, from->type, in, out);
		case COERCE_LENGTH:
			{
				text	   *value = DatumGetTextPP(in);

				*out = PointerGetDatum(value);
				return pg_mbstrlen_with_len(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)) <=
					column->typmod - VARHDRSZ;
			}
	}
	return false;				/* keep the compiler quiet */
}

/*
 * Converts a row to the family's columns.  Returns false, with kind and column,
 * when the target would refuse it.
 */
bool
ConsolidateConvertRow(const FamilyColumns *columns, const SourceColumn *from, TupleTableSlot *slot,
					  Datum *values, bool *nulls, RejectKind *kind, int *column)
{
	bool		fits = true;

	slot_getallattrs(slot);
	for (int i = 0; i < columns->ncolumns; i++)
	{
		AttrNumber	attno = from[i].attno;

		nulls[i] = slot->tts_isnull[attno - 1];
		if (nulls[i])
		{
			if (columns->column[i].notnull && fits)
			{
				*kind = REJECT_NULL;
				*column = i;
				fits = false;
			}
		}
		else if (from[i].coercion == COERCE_NOTHING)
			values[i] = slot->tts_values[attno - 1];
		else if (fits && !coerce(&columns->column[i], &from[i],
								 slot->tts_values[attno - 1], &values[i]))
		{
			*kind = REJECT_MISFIT;
			*column = i;
			fits = false;
		}
	}
	return fits;
}
