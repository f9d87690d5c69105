/*
 * spi.h
 *	  What functions that run SQL of their own have in common: commands, parameters
 *	  and results, errors that are caught, transactions.  All are called within an
 *	  SPI connection.
 */
#ifndef AQUACIS_COMMON_SPI_H
#define AQUACIS_COMMON_SPI_H

#include "nodes/pg_list.h"

typedef void (*SpiWork) (void *arg);

/* a parameter of a query */
typedef struct SpiArg
{
	Oid			type;
	Datum		value;
	bool		isnull;
} SpiArg;

extern uint64 SpiRun(const char *command);
extern uint64 SpiQuery(const char *sql, int nargs, const SpiArg *args);

extern SpiArg SpiTextArg(const char *text);
extern SpiArg SpiInt64Arg(int64 value);
extern SpiArg SpiTextListArg(List *texts);
extern SpiArg SpiTextArrayArg(Datum *texts, int n);
extern SpiArg SpiInt64ArrayArg(Datum *values, int n);
extern SpiArg SpiDatumArg(Oid type, Datum value);
extern SpiArg SpiNullArg(Oid type);

extern char *SpiText(uint64 row, int column);
extern int64 SpiInt64(uint64 row, int column);
extern Oid	SpiOid(uint64 row, int column);
extern bool SpiBool(uint64 row, int column);
extern List *SpiTextList(uint64 row, int column);

extern ErrorData *SpiTry(SpiWork work, void *arg);
extern bool SpiMustStop(int sqlerrcode);
extern void SpiFireDeferred(void);
extern void SpiNextTransaction(void);

#endif							/* AQUACIS_COMMON_SPI_H */
