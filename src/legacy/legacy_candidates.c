/*
 * legacy_candidates.c
 *	  Which converters may fit a column, by its name, its type and its default.
 *
 * The vendor's columns are named by a prefix for the table and a short word in Spanish
 * (prstelef, cnttnotifmovil, dircodpost), so that a word counts wherever it stands in the
 * name; words that merely contain it are listed beside it.  The table of kinds is
 * searched from the top; what stands further down is less special.  The words were
 * counted over the 18,133 columns in demo/columns.csv.
 *
 * Only columns of the server's own types are looked at: nobody else's input, output or
 * cast runs.  Everything is palloc'd for one call; nothing is written.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "compat.h"
#include "legacy/legacy_profile.h"
#include "legacy/legacy_values.h"

extern PGDLLEXPORT Datum legacy_gps_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_rfc_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_curp_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_phone_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_email_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_postal_code_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_postal_code_error_numeric(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_date_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_date_error_typed(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_date_error_timestamp(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_bool_strict_error(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_bool_strict_error_numeric(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum legacy_text_error(PG_FUNCTION_ARGS);

#define WORDS(...) (const char *const []) {__VA_ARGS__, NULL}

static const ProfileKind kinds[] = {
	{"RFC", "legacy_rfc", WORDS("rfc", "nif"), WORDS("bonif", "unif", "manif", "crfc", "erfc", "rfcod"),
	PROFILE_TEXT, 9, 150, true, legacy_rfc_error, 1},
	{"CURP", "legacy_curp", WORDS("curp"), NULL, PROFILE_TEXT, 18, 150, true, legacy_curp_error, 1},
	{"e-mail", "legacy_email", WORDS("mail", "correo"), WORDS("mailtit", "mailsol", "plantilla"),
	PROFILE_TEXT, 15, INT_MAX, true, legacy_email_error, 1},
	{"phone", "legacy_phone", WORDS("telef", "telresp", "telf", "movil", "fax", "celular"),
	WORDS("interaccion", "fecmovil", "faxid", "faxnum"), PROFILE_TEXT, 7, 80, false, legacy_phone_error, 1},
	{"postal code", "legacy_postal_code", WORDS("codpost", "codigopost", "postal"), NULL,
	PROFILE_TEXT, 4, 20, false, legacy_postal_code_error, 1},
	{"postal code", "legacy_postal_code", WORDS("codpost", "codigopost", "postal"), NULL,
	PROFILE_NUMERIC, 0, INT_MAX, false, legacy_postal_code_error_numeric, 1},
	{"date", "legacy_date", WORDS("fech", "fecaso", "fecalta", "fecbaja"), WORDS("efecto", "stusu"),
	PROFILE_TEXT, 8, 50, true, legacy_date_error, 3},
	{"date", "legacy_date", NULL, NULL, PROFILE_DATE, 0, INT_MAX, false, legacy_date_error_typed, 2},
	{"date", "legacy_date", NULL, NULL, PROFILE_TIMESTAMP, 0, INT_MAX, false, legacy_date_error_timestamp, 2},
	{"flag", "legacy_bool_strict", WORDS("sn"), NULL, PROFILE_TEXT, 1, 1, true, legacy_bool_strict_error, 1},
	{"flag", "legacy_bool_strict", WORDS("bandera"), NULL, PROFILE_NUMERIC, 1, 5, true,
	legacy_bool_strict_error_numeric, 1},
	{"amount", "legacy_money", WORDS("imp", "total", "saldo", "monto"), WORDS("impuls", "_time"), PROFILE_FLOAT, 0, INT_MAX,
	false, NULL, 1},
	{"name", "legacy_text_clean", WORDS("nombre", "apel", "direc", "calle", "colonia", "razon", "titular", "domic", "poblac", "txtdir"), NULL,
	PROFILE_TEXT, 10, INT_MAX, false, legacy_text_error, 1},
	{"text", "legacy_text", NULL, NULL, PROFILE_TEXT, 2, INT_MAX, true, legacy_text_error, 1},
};

/* Two columns are one place; found before all others. */
static const ProfileKind gps_kind = {"place", "legacy_gps_to_point", NULL, NULL, PROFILE_TEXT, 0, INT_MAX, false, legacy_gps_error, 2};

static bool
has_word(const char *name, const char *const *words)
{
	for (; words != NULL && *words != NULL; words++)
		if (strstr(name, *words) != NULL)
			return true;
	return false;
}

static uint32
type_bit(Oid typid)
{
	switch (typid)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return PROFILE_TEXT;
		case FLOAT8OID:
			return PROFILE_FLOAT;
		case NUMERICOID:
			return PROFILE_NUMERIC;
		case DATEOID:
			return PROFILE_DATE;
		case TIMESTAMPOID:
			return PROFILE_TIMESTAMP;
		default:
			return 0;
	}
}

/* Is the column's default the letter S or N?  The stored text is read, nothing is computed. */
static bool
has_flag_default(TupleDesc desc, int attnum)
{
	TupleConstr *constr = desc->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		if (constr->defval[i].adnum == attnum)
		{
			Node	   *node = strip_implicit_coercions(stringToNode(constr->defval[i].adbin));
			Const	   *c = (Const *) node;

			return IsA(node, Const) && !c->constisnull && type_bit(c->consttype) == PROFILE_TEXT &&
				VARSIZE_ANY_EXHDR(DatumGetPointer(c->constvalue)) == 1 &&
				strchr("SNsn", *VARDATA_ANY(DatumGetPointer(c->constvalue))) != NULL;
		}
	}
	return false;
}

/* How wide a text is, or how many digits a number without decimals has; INT_MAX for any. */
static int
width_of(Form_pg_attribute att)
{
	int			typmod = att->atttypmod - VARHDRSZ;

	if (att->atttypmod < VARHDRSZ)
		return INT_MAX;
	if (att->atttypid != NUMERICOID)
		return typmod;
	return (typmod & 0x7FF) == 0 ? typmod >> 16 & 0xFFFF : INT_MAX;
}

/* The column that is the longitude of this latitude, or -1. */
static int
find_longitude(const ProfileColumn *columns, int ncolumns, const char *latitude)
{
	static const char *const pairs[][2] = {{"latitud", "longitud"}, {"lat", "long"}, {"lat", "lng"}, {"lat", "lon"}};

	for (size_t i = 0; i < lengthof(pairs); i++)
	{
		const char *found = strstr(latitude, pairs[i][0]);
		char	   *longitude;

		if (found == NULL)
			continue;
		longitude = psprintf("%.*s%s%s", (int) (found - latitude), latitude, pairs[i][1],
							 found + strlen(pairs[i][0]));
		for (int j = 0; j < ncolumns; j++)
			if (columns[j].type_bit == PROFILE_TEXT && strcmp(columns[j].name, longitude) == 0)
				return j;
	}
	return -1;
}

static void
add(ProfileColumn *column, const ProfileKind *kind, bool named)
{
	ProfileCandidate *candidate;

	if (column->ncandidates == PROFILE_CANDIDATES)
		return;
	candidate = &column->candidates[column->ncandidates++];
	memset(candidate, 0, sizeof(*candidate));
	candidate->kind = kind;
	candidate->named = named;
}

/* Those that the name speaks for first, in the order of the table; then those of any name. */
static void
add_candidates(ProfileColumn *column)
{
	for (int named = 1; named >= 0; named--)
	{
		for (size_t i = 0; i < lengthof(kinds); i++)
		{
			const ProfileKind *kind = &kinds[i];
			bool		is_named = kind->words == NULL ? !kind->by_data :
			has_word(column->name, kind->words) && !has_word(column->name, kind->not_words);

			if ((kind->types & column->type_bit) == 0 || column->width < kind->min_width ||
				(column->width > kind->max_width && kind->max_width != INT_MAX))
				continue;
			is_named |= column->has_flag_default && kind->error == legacy_bool_strict_error;
			if (named ? is_named : !is_named && kind->by_data)
				add(column, kind, is_named);
		}
	}
}

/*
 * The columns of a table that is open, with their candidates; palloc'd, *ncolumns of them.
 * The caller has asked for the rights.
 */
ProfileColumn *
LegacyCandidatesOfTable(Relation rel, int *ncolumns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	ProfileColumn *columns = palloc0(sizeof(ProfileColumn) * Max(desc->natts, 1));
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		ProfileColumn *column = &columns[n];

		if (att->attisdropped)
			continue;
		column->name = pstrdup(NameStr(att->attname));
		column->type = format_type_with_typemod(att->atttypid, att->atttypmod);
		column->typid = att->atttypid;
		column->type_bit = type_bit(att->atttypid);
		column->width = width_of(att);
		column->has_flag_default = column->type_bit == PROFILE_TEXT && has_flag_default(desc, i + 1);
		column->partner = column->partner_of = column->place = -1;
		n++;
	}
	for (int i = 0; i < n; i++)
	{
		int			longitude = columns[i].type_bit == PROFILE_TEXT ? find_longitude(columns, n, columns[i].name) : -1;

		if (longitude < 0 || columns[longitude].partner_of >= 0)
			continue;
		columns[i].partner = longitude;
		columns[longitude].partner_of = i;
	}
	for (int i = 0; i < n; i++)
	{
		if (columns[i].partner >= 0)
			add(&columns[i], &gps_kind, true);
		else if (columns[i].partner_of < 0)
			add_candidates(&columns[i]);
	}
	*ncolumns = n;
	return columns;
}

/* The converter as SQL, palloc'd. */
char *
LegacyCandidatesSql(const ProfileKind *kind, const ProfileColumn *columns, const ProfileColumn *column)
{
	char	   *name = pstrdup(quote_identifier(column->name));

	if (column->partner >= 0)
		return psprintf("legacy_gps_to_point(%s, %s)", name, quote_identifier(columns[column->partner].name));
	return psprintf("%s(%s)", kind->converter, name);
}
