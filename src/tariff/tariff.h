/*
 * tariff.h
 *	  What the files of the tariff part share, and its start-up.
 */
#ifndef AQUACIS_TARIFF_H
#define AQUACIS_TARIFF_H

extern void TariffInit(void);

#endif							/* AQUACIS_TARIFF_H */
