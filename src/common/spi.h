/*
 * spi.h
 *	  What functions that run SQL of their own have in common: commands, errors
 *	  that are caught, transactions.  All are called within an SPI connection.
 */
#ifndef AQUACIS_COMMON_SPI_H
#define AQUACIS_COMMON_SPI_H

typedef void (*SpiWork) (void *arg);

extern uint64 SpiRun(const char *command);
extern ErrorData *SpiTry(SpiWork work, void *arg);
extern void SpiNextTransaction(void);

#endif							/* AQUACIS_COMMON_SPI_H */
