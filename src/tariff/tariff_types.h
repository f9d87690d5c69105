/*
 * tariff_types.h
 *	  A tariff as it is read from JSON, the reader that gives the parser its
 *	  tokens, and the arguments of a bill.
 *
 * The parser knows JSON only as a stream of tokens.  In the server they come from
 * a JsonbIterator (tariff_jsonb.c), in the fuzzer from text.  The reader allocates
 * all that the parser keeps, so it decides how long that lives: in the server as
 * long as the cached tariff.
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
	const char *text;			/* KEY and STRING; valid until the next token */
	size_t		length;			/* the text is not terminated */
	TariffNumberStatus status;	/* NUMBER, from here on */
	TariffDec	dec;			/* when FIXED */
	bool		negative;
	bool		boolean;		/* BOOL */
	const void *source;			/* for the reader alone */
} TariffToken;

typedef struct TariffNumber
{
	TariffDec	dec;			/* valid when big is NULL */
	const void *big;			/* what keep_big made of a number that does not fit dec */
} TariffNumber;

typedef struct TariffReader TariffReader;
struct TariffReader
{
	/* after the last token, END every time */
	void		(*next) (TariffReader *reader, TariffToken *token);
	/* zeroed memory that lives as long as the tariff; never NULL */
	void	   *(*alloc) (TariffReader *reader, size_t size);
	/* keeps a BIG number (or a string that is one, with its dec) */
	const void *(*keep_big) (TariffReader *reader, const TariffToken *token);
	/* writes the token as a message quotes it, at most size bytes with the NUL */
	void		(*describe) (TariffReader *reader, const TariffToken *token,
							 char *buffer, size_t size);
	/* reports one fault; false: no more are wanted */
	bool		(*fault) (TariffReader *reader, const char *text);
	/* compares two numbers, at least one of them BIG: <0, 0 or >0 */
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
	int			nbase;			/* of a percentage: the lines that it is a part of */
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
	bool		open;			/* the last block has no upper limit */
	bool		has_minimum;	/* there is one, and it is not zero */
	TariffNumber minimum;
	TariffRounding rounding;	/* of the consumption */
	int			rounding_decimals;
	bool		round_blocks;	/* each block's amount has 2 decimals: "round": "block" */
	bool		has_iva_rate;
	TariffNumber iva_rate;
	bool		has_concepts;
	TariffConcepts concepts;
	bool		has_discount;
	TariffNumber discount;		/* in percent */
	int			napplies;
	const char **applies;		/* codes of the lines that it applies to */
} Tariff;

typedef enum TariffPriceStatus
{
	TARIFF_PRICE_OK,
	TARIFF_PRICE_BEYOND			/* consumption above a finite last block */
} TariffPriceStatus;

/* The arguments of a bill, besides the tariff and the concepts. */
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

/*
 * tariff_parse.c.  Both report faults through reader->fault and return true if there
 * are none.  Otherwise the result is incomplete and must not be priced.
 */
extern bool TariffParse(TariffReader *reader, Tariff *tariff);
extern bool TariffParseConcepts(TariffReader *reader, TariffConcepts *concepts);

extern const char *TariffModeName(TariffMode mode);

/* codes of the SAT catalogue, or NULL for all but the three lines of the utility */
extern const char *TariffDefaultProduct(const char *code);
extern const char *TariffDefaultUnit(const char *code);

#endif							/* AQUACIS_TARIFF_TYPES_H */
