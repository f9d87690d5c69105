/*
 * tariff.c
 *	  Start-up and settings of the tariff part.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "tariff/tariff.h"

bool		tariff_force_numeric = false;
bool		tariff_force_text = false;

/* Defines the settings; called once, when the library is loaded. */
void
TariffInit(void)
{
	DefineCustomBoolVariable("aquacis.tariff_force_numeric",
							 "Prices every bill with numeric instead of fixed-point arithmetic.",
							 "Both give the same digits; the setting lets a test compare them.",
							 &tariff_force_numeric, false, PGC_USERSET,
							 GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomBoolVariable("aquacis.tariff_force_text",
							 "Converts numeric values by way of their text.",
							 "This happens by itself on a server whose numeric layout is "
							 "unknown; the setting lets a test do the same.",
							 &tariff_force_text, false, PGC_USERSET,
							 GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}
