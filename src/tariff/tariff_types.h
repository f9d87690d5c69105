/*
 * tariff_types.h
 *	  A tariff as it is read from JSON, the reader that feeds the parser, and
 *	  what a bill is asked for with.
 *
 * The parser knows JSON only as a stream of tokens.  The server feeds it from
 * a JsonbIterator (tariff_jsonb.c), the fuzzer from text.  Everything the
 * parser keeps is allocated by the reader and lives as long as the reader says
 * (in the server: as long as the cached tariff).
 *
 * Pure C: no server headers.
 */
#ifndef AQUACIS_TARIFF_TYPES_H
#define AQUACIS_TARIFF_TYPES_H

#include "tariff/tariff_decimal.h"

typedef enum TariffTokenKind
{
	TARIFF_TOKEN_END,
	TARIFF_TOKEN_BEGIN_ARRAY,
	TARIFF_TOKEN_END_ARRAY,
	TARIFF_TOKEN_BEGIN_OBJECT,
	TARIFF_TOKEN_END_OBJECT,
	TARIFF_TOKEN_KEY,
	TARIFF_TOKEN_STRING,
	TARIFF_TOKEN_NUMBER,
	TARIFF_TOKEN_BOOL,
	TARIFF_TOKEN_NULL
} TariffTokenKind;

typedef struct TariffToken
{
	TariffTokenKind kind;
	const char *text;			/* KEY and STRING; good until the next token */
	size_t		length;			/* the text is not terminated */
	TariffNumberStatus status;	/* NUMBER, from here on */
	TariffDec	dec;			/* when FIXED */
	bool		negative;
	bool		boolean;		/* BOOL */
	const void *source;			/* the reader's own */
} TariffToken;

typedef struct TariffNumber
{
	TariffDec	dec;			/* valid when big is NULL */
	const void *big;			/* the reader's form of a number too long for dec */
} TariffNumber;

typedef struct TariffReader TariffReader;
struct TariffReader
{
	/* END comes again and again once everything is read */
	void		(*next) (TariffReader *reader, TariffToken *token);
	/* zeroed memory that outlives the parse; never NULL */
	void	   *(*alloc) (TariffReader *reader, size_t size);
	/* keeps a BIG number (or a string that is one, with its dec) for numeric */
	const void *(*keep_big) (TariffReader *reader, const TariffToken *token);
	/* writes the token as it reads in JSON, at most size bytes with the NUL */
	void		(*describe) (TariffReader *reader, const TariffToken *token,
							 char *buffer, size_t size);
	/* one fault; false: enough, stop reading */
	bool		(*fault) (TariffReader *reader, const char *text);
	/* order of two numbers, at least one of them BIG */
	int			(*compare) (const TariffNumber *a, const TariffNumber *b);
	/* writes a number, with the same limits as describe */
	void		(*print) (const TariffNumber *number, char *buffer, size_t size);
};

typedef enum TariffMode
{
	TARIFF_INCREMENTAL,
	TARIFF_VOLUME,
	TARIFF_BASE_EXCESS
} TariffMode;

typedef struct TariffBlock
{
	TariffNumber from;
	TariffNumber to;			/* not for an open block */
	TariffNumber price;
	TariffNumber fixed;
	bool		open;
	const char *name;			/* or NULL */
} TariffBlock;

typedef struct TariffConcept
{
	const char *code;
	const char *name;
	const char *clave_prod_serv;	/* or NULL */
	const char *clave_unidad;	/* or NULL */
	bool		percentage;
	bool		percent;		/* value is in percent, not a fraction */
	bool		has_iva_rate;
	TariffNumber value;
	TariffNumber iva_rate;
	int			nbase;			/* of a percentage: the lines it is taken of */
	int		   *base;			/* 0 is the water line, n is concept n - 1 */
} TariffConcept;

typedef struct TariffConcepts
{
	bool		absent;			/* the JSON was null: as if not given */
	int			n;
	TariffConcept *concept;
} TariffConcepts;

typedef struct Tariff
{
	TariffMode	mode;
	const char *name;			/* or NULL */
	int			nblocks;
	TariffBlock *block;
	bool		open;			/* the last block is */
	bool		has_minimum;	/* and it is not zero */
	TariffNumber minimum;
	TariffRounding rounding;	/* of the consumption */
	int			rounding_decimals;
	bool		has_iva_rate;
	TariffNumber iva_rate;
	bool		has_concepts;
	TariffConcepts concepts;
	bool		has_discount;
	TariffNumber discount;		/* in percent */
	int			napplies;
	const char **applies;		/* codes of the lines it reduces */
} Tariff;

typedef enum TariffPriceStatus
{
	TARIFF_PRICE_OK,
	TARIFF_PRICE_BEYOND			/* consumption above a finite last block */
} TariffPriceStatus;

/* What a bill is asked for with. */
typedef struct TariffRequest
{
	TariffNumber consumption;
	int			units;			/* dwellings served, at least 1 */
	bool		has_period;		/* period is not 1 */
	TariffNumber period;
	bool		has_iva;
	TariffNumber iva_rate;
	bool		has_discount;
	TariffNumber discount;		/* in percent, of the water line alone */
} TariffRequest;

/* the code of the water line, which no concept may take */
#define TARIFF_WATER_CODE "agua"

/* Both report what is wrong through reader->fault; true when nothing was. */
extern bool TariffParse(TariffReader *reader, Tariff *tariff);
extern bool TariffParseConcepts(TariffReader *reader, TariffConcepts *concepts);

extern const char *TariffModeName(TariffMode mode);

/* SAT catalogue; NULL when the code is not one of the utility's own three */
extern const char *TariffDefaultProduct(const char *code);
extern const char *TariffDefaultUnit(const char *code);

#endif							/* AQUACIS_TARIFF_TYPES_H */
