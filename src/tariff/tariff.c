/*
 * tariff.c
 *	  Start-up and settings of the tariff part.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "tariff/tariff.h"

bool		tariff_force_numeric = false;

void
TariffInit(void)
{
	DefineCustomBoolVariable("aquacis.tariff_force_numeric",
							 "Prices every bill with numeric instead of fixed-point arithmetic.",
							 "Both give the same digits; this lets a test compare them.",
							 &tariff_force_numeric, false, PGC_USERSET,
							 GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}
