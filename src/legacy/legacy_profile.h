/*
 * legacy_profile.h
 *	  What the two files of legacy_profile() share: a column and its candidates.
 */
#ifndef AQUACIS_LEGACY_PROFILE_H
#define AQUACIS_LEGACY_PROFILE_H

#include "access/tupdesc.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"

/* how many converters may be tried on one column, and how many refused values are told apart */
#define PROFILE_CANDIDATES 8
#define PROFILE_DIFFERENT 200
#define PROFILE_EXAMPLES 5

/* a converter: see the table in legacy_candidates.c */
typedef struct ProfileKind
{
	const char *label;			/* what it is for: the row's kind */
	const char *converter;		/* its function */
	const char *const *words;	/* in names of such columns; NULL: any name */
	const char *const *not_words;	/* ... but not with these */
	uint32		types;			/* PROFILE_..., any of them */
	int			min_width;		/* of a text; digits of a numeric without decimals */
	int			max_width;
	bool		by_data;		/* tried on columns of any name, too */
	PGFunction	error;			/* its twin that gives the reason; NULL: refuses nothing */
	int			nargs;			/* of that */
} ProfileKind;

#define PROFILE_TEXT (1 << 0)
#define PROFILE_FLOAT (1 << 1)
#define PROFILE_NUMERIC (1 << 2)
#define PROFILE_DATE (1 << 3)
#define PROFILE_TIMESTAMP (1 << 4)

/* one converter on one column, and what it refused */
typedef struct ProfileCandidate
{
	const ProfileKind *kind;
	bool		named;			/* the name of the column speaks for it */
	bool		dropped;		/* it refused so much that it is not asked any more */
	int64		refused;
	HTAB	   *examples;		/* of ProfileExample; NULL until there is one */
} ProfileCandidate;

#define PROFILE_EXAMPLE_SIZE 160

typedef struct ProfileExample
{
	char		text[PROFILE_EXAMPLE_SIZE]; /* reason, '\n', value */
	int64		rows;
} ProfileExample;

typedef struct ProfileColumn
{
	const char *name;
	char	   *type;
	Oid			typid;
	uint32		type_bit;
	int			width;			/* as in a kind; INT_MAX for any */
	bool		has_flag_default;	/* S or N */
	int			partner;		/* the longitude of this latitude, or -1 */
	int			partner_of;		/* the latitude of this longitude, or -1 */
	int			place;			/* in the query, or -1 if it is not read */
	int64		nulls;
	int64		blanks;
	int			ncandidates;
	ProfileCandidate candidates[PROFILE_CANDIDATES];
} ProfileColumn;

/* legacy_candidates.c */

extern ProfileColumn *LegacyCandidatesOfTable(Relation rel, int *ncolumns);
extern char *LegacyCandidatesSql(const ProfileKind *kind, const ProfileColumn *columns, const ProfileColumn *column);

#endif							/* AQUACIS_LEGACY_PROFILE_H */
