/*
 * tariff.h
 *	  What the server-side files of the tariff part share, and its start-up.
 *
 *	tariff_decimal	exact decimals					pure C
 *	tariff_types	the structs of a parsed tariff	pure C
 *	tariff_reader	tokens and values, faults		pure C
 *	tariff_parse	tokens to a Tariff				pure C
 *	tariff_price	a bill in fixed point			pure C, from the template
 *	tariff_fixed	the same as SQL values
 *	tariff_numeric	a bill in numeric, from the template
 *	tariff_convert	numeric to decimals and back
 *	tariff_jsonb	JSONB to tokens
 *	tariff_bill		bills to JSONB
 *	tariff_cache	parsed tariffs between calls
 *	tariff_sql		the SQL functions
 *	tariff			start-up and settings
 */
#ifndef AQUACIS_TARIFF_H
#define AQUACIS_TARIFF_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "tariff/tariff_types.h"

/* The texts of a line. */
typedef struct TariffLineTexts
{
	Datum		code;
	Datum		name;
	Datum		product;		/* 0: null */
	Datum		unit;			/* 0: null */
} TariffLineTexts;

struct TariffBlockOut;

/*
 * A parsed tariff (or a parsed array of concepts) as the cache keeps it.
 * Everything lives in mcxt.
 */
typedef struct TariffEntry
{
	struct TariffEntry *next;	/* in its hash bucket */
	uint64		hash;
	const char *key;			/* the datum as it was passed, with its header */
	Size		size;
	TimestampTz statement;		/* a TOAST pointer is valid for this statement */
	bool		is_pointer;		/* key is a TOAST pointer */
	MemoryContext mcxt;

	Tariff		tariff;			/* of a tariff */
	TariffConcepts concepts;	/* of a concepts array, or those of the tariff */
	bool		has_fixed;		/* fixed_due is valid */
	TariffDec  *fixed_due;		/* see tariff_price_template.h */
	Numeric    *numeric_due;	/* NULL until it is needed */
	TariffLineTexts *texts;		/* of the concepts */
	struct TariffBlockOut **full;	/* full blocks: see tariff_fixed.c */
} TariffEntry;

typedef struct TariffCache TariffCache;

/* settings: see tariff.c */
extern bool tariff_force_numeric;
extern bool tariff_force_text;

/* Results for SQL.  Every Datum is a numeric that nobody may free or change. */
typedef struct TariffBlockOut
{
	int			number;			/* from 1; 0: the difference to the minimum charge */
	bool		open;
	const char *name;
	Datum		from;
	Datum		to;
	Datum		quantity;
	Datum		price;
	Datum		fixed;
	Datum		amount;
	const char *json;			/* the block in tariff_detail, if kept */
	int			json_size;
} TariffBlockOut;

typedef struct TariffLineOut
{
	Datum		base;
	Datum		quantity;
	Datum		unit_price;
	Datum		subtotal;
	Datum		discount;
	Datum		iva_rate;
	Datum		iva;
	Datum		total;
} TariffLineOut;

typedef struct TariffBillOut
{
	bool		want_sums;		/* set by the caller: the last four below */
	Datum		consumption;	/* as asked for */
	Datum		billed;			/* after rounding */
	bool		no_water;		/* nothing was consumed */
	int			nblocks;
	TariffBlockOut **block;
	const TariffConcepts *concepts;
	TariffLineOut *line;		/* 1 + concepts->n */
	Datum		subtotal;
	Datum		discount;
	Datum		iva;
	Datum		total;
} TariffBillOut;

typedef enum TariffOutcome
{
	TARIFF_DONE,
	TARIFF_BEYOND,				/* consumption above a finite last block */
	TARIFF_TOO_BIG				/* does not fit fixed point: use numeric */
} TariffOutcome;

/*
 * tariff_fixed.c and tariff_numeric.c
 *
 * Bill fills *out in the current memory context.  Without concepts it stops after
 * the blocks: concepts, line and the sums are then not set.  The numeric functions
 * never return TARIFF_TOO_BIG; they may raise what numeric raises (22003).
 */
extern TariffOutcome TariffFixedBill(TariffEntry *entry, const TariffRequest *request,
									 const TariffConcepts *concepts, TariffBillOut *out);
extern TariffOutcome TariffNumericCharge(TariffEntry *entry, const TariffRequest *request,
										 Datum *charge);
extern TariffOutcome TariffNumericBill(TariffEntry *entry, const TariffRequest *request,
									   const TariffConcepts *concepts, TariffBillOut *out);
extern void TariffFixedPrepare(TariffEntry *entry);

/* tariff_convert.c */
extern TariffNumberStatus TariffReadNumeric(const struct varlena *value, TariffDec *result,
											bool *negative);
extern Datum TariffWriteNumeric(TariffDec value, int min_decimals);
extern Datum TariffWriteShared(TariffDec value, int min_decimals);
extern Numeric TariffNumberToNumeric(const TariffNumber *number);

/* tariff_jsonb.c */
extern bool TariffParseJsonb(Jsonb *jsonb, bool concepts, TariffEntry *entry,
							 int max_faults, List **faults);
extern const char *TariffQuotedName(const Tariff *tariff);

/* tariff_bill.c; line 0 is the water line, line n is concept n - 1 */
extern void TariffFillTexts(const TariffBillOut *bill, int line, TariffLineTexts *texts);
extern Jsonb *TariffLineDetail(const TariffEntry *entry, const TariffRequest *request,
							   const TariffBillOut *bill, int line);
extern void TariffBlockKeepJson(TariffBlockOut *block);
extern Jsonb *TariffBillJsonb(const TariffEntry *entry, const TariffRequest *request,
							  const TariffBillOut *bill);

/* tariff_cache.c */
extern TariffCache *TariffCacheCreate(FmgrInfo *flinfo, int argument, bool concepts);
extern TariffEntry *TariffCacheGet(TariffCache *cache, Datum value);

extern void TariffInit(void);

#endif							/* AQUACIS_TARIFF_H */
