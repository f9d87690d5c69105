/*
 * audit_values.c
 *	  JSON of the log back into values of a table's columns.
 *
 * The trigger writes a value as JSON (audit_convert.c); this is the way back, to the type
 * that the column has now.  A scalar goes through the type's input function as its text, a
 * list and a row are put together from their elements and fields, json and jsonb are
 * themselves.  Every value is then converted to JSON again: when that is not what the log
 * has, the value is not known.  So a type whose JSON cannot be read back (hstore), a number
 * that the present precision would round and a text that a char(n) would cut come out as
 * not known, and never as something else.
 *
 * Domains are read as their base type: what the row held then need not pass the CHECK of
 * today.  A type that could run code of a role which is neither trusted nor the table's
 * owner is not read at all.  The caller wraps the work in AuditShapeEnter() and
 * AuditShapeLeave(): it runs as the table's owner, unless he is trusted anyway, and under
 * the settings under which the log is written.
 *
 * A text that the type does not take is an error of the type's input function.  The
 * functions here let it pass up; AuditReadTry() catches it in a subtransaction.
 *
 * A shape lives in the context in which it was made, and so do the readers below it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "audit/audit_asof.h"
#include "common/catalog.h"
#include "common/settings.h"
#include "compat.h"

struct AuditReader
{
	enum
	{
		READ_INPUT, READ_JSON, READ_JSONB, READ_ARRAY, READ_ROW
	}			kind;
	Oid			typid;			/* domains resolved */
	int32		typmod;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	FmgrInfo	input;			/* of READ_INPUT */
	Oid			ioparam;
	AuditReader *element;		/* of READ_ARRAY */
	TupleDesc	desc;			/* of READ_ROW */
	AuditReader **fields;
};

/* ---- the shape of a table ---------------------------------------------------------- */

static AuditReader *
make_reader(Oid typid, int32 typmod)
{
	AuditReader *reader = palloc0(sizeof(AuditReader));
	Oid			function;

	check_stack_depth();
	reader->typmod = typmod;
	reader->typid = getBaseTypeAndTypmod(typid, &reader->typmod);
	get_typlenbyvalalign(reader->typid, &reader->typlen, &reader->typbyval, &reader->typalign);
	if (reader->typid == JSONOID)
		reader->kind = READ_JSON;
	else if (reader->typid == JSONBOID)
		reader->kind = READ_JSONB;
	else if (OidIsValid(get_element_type(reader->typid)) && reader->typlen == -1)
	{
		reader->kind = READ_ARRAY;
		reader->element = make_reader(get_element_type(reader->typid), reader->typmod);
	}
	else if (get_typtype(reader->typid) == TYPTYPE_COMPOSITE)
	{
		reader->kind = READ_ROW;
		reader->desc = lookup_rowtype_tupdesc_copy(reader->typid, -1);
		reader->fields = palloc0(sizeof(AuditReader *) * Max(reader->desc->natts, 1));
		for (int i = 0; i < reader->desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(reader->desc, i);

			if (!att->attisdropped)
				reader->fields[i] = make_reader(att->atttypid, att->atttypmod);
		}
	}
	else
	{
		reader->kind = READ_INPUT;
		getTypeInputInfo(reader->typid, &function, &reader->ioparam);
		fmgr_info(function, &reader->input);
	}
	return reader;
}

static int
by_name(const void *a, const void *b, void *arg)
{
	AuditColumn *columns = arg;

	return AuditCompareColumns(&columns[*(const int *) a], &columns[*(const int *) b]);
}

/* The columns of the key that the table still has, in the order in which they were given. */
static void
set_key(AuditShape *shape, Relation rel, const AuditScope *scope)
{
	List	   *names = scope->args.key;
	ListCell   *lc;

	if (names == NIL && OidIsValid(scope->rootid))
		names = AuditIndexKey(rel);
	shape->key = palloc(sizeof(int) * Max(list_length(names), 1));
	foreach(lc, names)
	{
		int			i = AuditShapeFind(shape, lfirst(lc), strlen(lfirst(lc)));

		if (i >= 0)
			shape->key[shape->nkey++] = i;
	}
	if (shape->nkey < list_length(names))
		shape->nkey = 0;
}

/*
 * The columns of a table, ready to be read, in the current context.  Runs no code of
 * others.  The owner is that of the table on which the trigger was made.
 */
AuditShape *
AuditShapeMake(Relation rel, const AuditScope *scope)
{
	AuditShape *shape = palloc0(sizeof(AuditShape));
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			trusted;

	shape->relid = RelationGetRelid(rel);
	shape->owner = CatalogOwner(scope->rootid);
	trusted = UserCodeRoleIsTrusted(shape->owner) ? GetUserId() : shape->owner;
	shape->natts = desc->natts;
	shape->desc = CreateTupleDescCopyConstr(desc);
	shape->columns = palloc0(sizeof(AuditColumn) * Max(desc->natts, 1));
	shape->reads = palloc0(sizeof(AuditShapeColumn) * Max(desc->natts, 1));
	shape->sorted = palloc(sizeof(int) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AuditShapeColumn *read = &shape->reads[i];

		if (att->attisdropped)
			continue;
		AuditInitColumn(&shape->columns[i], att, shape->owner, CurrentMemoryContext);
		read->live = true;
		read->hidden = AuditIsListed(scope->args.exclude, NameStr(att->attname)) ||
			att->attgenerated == 'v';
		read->refused = UserCodeInType(getBaseType(att->atttypid), trusted);
		if (!read->refused)
			read->reader = make_reader(att->atttypid, att->atttypmod);
		shape->sorted[shape->nsorted++] = i;
	}
	qsort_arg(shape->sorted, shape->nsorted, sizeof(int), by_name, shape->columns);
	set_key(shape, rel, scope);
	return shape;
}

/* The column of that name, from 0; -1: there is none. */
int
AuditShapeFind(const AuditShape *shape, const char *name, int len)
{
	int			low = 0;
	int			high = shape->nsorted - 1;

	while (low <= high)
	{
		int			mid = (low + high) / 2;
		const AuditColumn *col = &shape->columns[shape->sorted[mid]];
		int			c = len - col->namelen;

		if (c == 0)
			c = memcmp(name, col->name, len);
		if (c == 0)
			return shape->sorted[mid];
		if (c < 0)
			high = mid - 1;
		else
			low = mid + 1;
	}
	return -1;
}

/* The settings alone, for SettingsEnd(). */
int
AuditShapeSettings(void)
{
	int			level = SettingsForText();

	SettingsSet("timezone", "UTC");
	return level;
}

/*
 * From here to AuditShapeLeave values are read and written as the log has them, by code
 * that runs as the table's owner.  After an error the end of the (sub)transaction takes
 * the place of AuditShapeLeave.
 */
void
AuditShapeEnter(const AuditShape *shape, AuditShapeScope *scope)
{
	scope->level = AuditShapeSettings();
	UserCodeEnter(&scope->code, shape->owner);
}

void
AuditShapeLeave(AuditShapeScope *scope)
{
	UserCodeLeave(&scope->code);
	SettingsEnd(scope->level);
}

/* ---- JSON values ------------------------------------------------------------------- */

/* The value as text that an input function takes; not for null. */
static char *
value_text(const AuditValue *value)
{
	return value->kind == AUDIT_STRING ? pnstrdup(value->data, value->len) :
		TextDatumGetCString(AuditValueToText(value));
}

/* Is this container an array that is none of a scalar? */
static bool
is_array(const AuditValue *value)
{
	return value->kind == AUDIT_CONTAINER && JsonContainerIsArray((JsonbContainer *) value->data) &&
		!JsonContainerIsScalar((JsonbContainer *) value->data);
}

static bool
is_object(const AuditValue *value)
{
	return value->kind == AUDIT_CONTAINER && JsonContainerIsObject((JsonbContainer *) value->data);
}

/* ---- reading ----------------------------------------------------------------------- */

static bool read_value(AuditReader *reader, const AuditValue *value, Datum *datum, bool *isnull);

/*
 * json: its text is not in the log, only what it says.  A string may also be the text of a
 * json that jsonb cannot hold; where it could be either, it is not known.
 */
static bool
read_json(const AuditValue *value, Datum *datum)
{
	if (value->kind == AUDIT_STRING)
	{
		StringInfoData json;
		char	   *text = value_text(value);
		Datum		parsed;

		/* no jsonb, but by its beginning it could be a json all the same */
		if (strchr("{[\"-0123456789", text[strspn(text, " \t\r\n")]) != NULL && !AuditParseJson(text, &parsed))
			return false;
		initStringInfo(&json);
		escape_json(&json, text);
		*datum = CStringGetTextDatum(json.data);
		return true;
	}
	*datum = CStringGetTextDatum(value_text(value));
	return true;
}

/* What is collected of a list while it is read, all dimensions in one row. */
typedef struct Elements
{
	AuditReader *reader;
	Datum	   *values;
	bool	   *nulls;
	int			n;
	int			capacity;
	int			ndims;			/* -1: not known yet */
	int			dims[MAXDIM];
} Elements;

static void
add_element(Elements *e, Datum value, bool isnull)
{
	if (e->n == e->capacity)
	{
		e->capacity *= 2;
		e->values = repalloc(e->values, sizeof(Datum) * e->capacity);
		e->nulls = repalloc(e->nulls, sizeof(bool) * e->capacity);
	}
	e->values[e->n] = value;
	e->nulls[e->n++] = isnull;
}

/* The elements of a list at a depth.  False: not all sublists are alike. */
static bool
read_elements(Elements *e, const AuditValue *list, int depth)
{
	JsonbContainer *container = (JsonbContainer *) list->data;
	int			n = JsonContainerSize(container);

	check_stack_depth();
	if (depth >= MAXDIM || (e->ndims >= 0 && depth >= e->ndims))
		return false;
	if (e->dims[depth] < 0)
		e->dims[depth] = n;
	if (e->dims[depth] != n)
		return false;
	for (int i = 0; i < n; i++)
	{
		AuditValue	value;
		Datum		datum = (Datum) 0;
		bool		isnull;
		bool		sublist;

		AuditValueOfJson(getIthJsonbValueFromContainer(container, i), &value);
		sublist = is_array(&value) && e->reader->kind != READ_JSON && e->reader->kind != READ_JSONB;
		if (e->ndims < 0 && !sublist)
			e->ndims = depth + 1;
		if (sublist)
		{
			if (!read_elements(e, &value, depth + 1))
				return false;
		}
		else if (depth + 1 != e->ndims || !read_value(e->reader, &value, &datum, &isnull))
			return false;
		else
			add_element(e, datum, isnull);
	}
	return true;
}

static bool
read_array(AuditReader *reader, const AuditValue *value, Datum *datum)
{
	Elements	e = {reader->element};
	int			lower[MAXDIM];

	e.capacity = 16;
	e.values = palloc(sizeof(Datum) * e.capacity);
	e.nulls = palloc(sizeof(bool) * e.capacity);
	e.ndims = -1;
	for (int i = 0; i < MAXDIM; i++)
	{
		e.dims[i] = -1;
		lower[i] = 1;
	}
	if (!is_array(value) || !read_elements(&e, value, 0))
		return false;
	if (e.n == 0)
		*datum = PointerGetDatum(construct_empty_array(e.reader->typid));
	else
		*datum = PointerGetDatum(construct_md_array(e.values, e.nulls, e.ndims, e.dims, lower, e.reader->typid,
													e.reader->typlen, e.reader->typbyval, e.reader->typalign));
	return true;
}

static bool
read_row(AuditReader *reader, const AuditValue *value, Datum *datum)
{
	TupleDesc	desc = reader->desc;
	Datum	   *values = palloc0(sizeof(Datum) * Max(desc->natts, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(desc->natts, 1));

	if (!is_object(value))
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);
		JsonbValue	json;
		AuditValue	field;

		nulls[i] = true;
		if (reader->fields[i] == NULL)
			continue;
		if (getKeyJsonValueFromContainer((JsonbContainer *) value->data, name, strlen(name), &json) == NULL)
			return false;
		AuditValueOfJson(&json, &field);
		if (!read_value(reader->fields[i], &field, &values[i], &nulls[i]))
			return false;
	}
	*datum = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	return true;
}

/* One value of a type.  False: not known.  Raises what the input function raises. */
static bool
read_value(AuditReader *reader, const AuditValue *value, Datum *datum, bool *isnull)
{
	check_stack_depth();
	*isnull = value->kind == AUDIT_NULL;
	if (*isnull)
	{
		*datum = (Datum) 0;
		return true;
	}
	switch (reader->kind)
	{
		case READ_JSON:
			return read_json(value, datum);
		case READ_JSONB:
			*datum = JsonbPGetDatum(AuditJsonbOfValue(value));
			return true;
		case READ_ARRAY:
			return read_array(reader, value, datum);
		case READ_ROW:
			return read_row(reader, value, datum);
		case READ_INPUT:
			*datum = InputFunctionCall(&reader->input, value_text(value), reader->ioparam, reader->typmod);
			return true;
	}
	return false;
}

/*
 * The datum of a column (from 0) that was logged as this value, in the current context.
 * False: it cannot be known, because its type is refused, because the value was redacted, or
 * because the type does not give it back as it was.  Raises what the type's input function
 * raises.
 */
bool
AuditReadValue(AuditShape *shape, int column, const AuditValue *value, Datum *datum, bool *isnull)
{
	AuditShapeColumn *read = &shape->reads[column];
	AuditValue	again;

	if (read->reader == NULL || AuditIsRedacted(value))
		return false;
	if (!read_value(read->reader, value, datum, isnull))
		return false;
	if (*isnull)
		return true;
	AuditToValue(&shape->columns[column], *datum, false, &again);
	return AuditSameValue(value, &again);
}

/* ---- errors of input functions ----------------------------------------------------- */

/*
 * work(arg) in a subtransaction.  False: it raised an error about a value.  What is about
 * the whole call (cancelled, out of memory, an internal error) is raised again.
 */
bool
AuditReadTry(SpiWork work, void *arg)
{
	ErrorData  *error = SpiTry(work, arg);

	if (error == NULL)
		return true;
	if (SpiMustStop(error->sqlerrcode) || ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

typedef struct OneValue
{
	AuditShape *shape;
	int			column;
	const AuditValue *value;
	Datum	   *datum;
	bool	   *isnull;
	bool		known;
} OneValue;

static void
read_one(void *arg)
{
	OneValue   *one = arg;

	one->known = AuditReadValue(one->shape, one->column, one->value, one->datum, one->isnull);
}

/* The same as AuditReadValue, but a value that the type does not take is one that is not known. */
bool
AuditReadValueSafely(AuditShape *shape, int column, const AuditValue *value, Datum *datum, bool *isnull)
{
	OneValue	one = {shape, column, value, datum, isnull, false};

	return AuditReadTry(read_one, &one) && one.known;
}

typedef struct KeyValues
{
	AuditShape *shape;
	AuditValue *key;
} KeyValues;

static void
normal_key(void *arg)
{
	KeyValues  *values = arg;

	for (int i = 0; i < values->shape->nkey; i++)
	{
		int			column = values->shape->key[i];
		Datum		datum;
		bool		isnull;

		if (values->shape->reads[column].reader &&
			read_value(values->shape->reads[column].reader, &values->key[i], &datum, &isnull))
			AuditToValue(&values->shape->columns[column], datum, isnull, &values->key[i]);
	}
}

/*
 * Gives a key that somebody typed the form in which the log has it: '007' of an integer is 7.
 * What the column's type does not take stays as it is, and will be found nowhere.  Within
 * AuditShapeEnter.
 */
void
AuditNormalKey(AuditShape *shape, AuditValue *key)
{
	KeyValues	values = {shape, key};

	(void) AuditReadTry(normal_key, &values);
}
