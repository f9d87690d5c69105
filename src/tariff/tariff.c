/*
 * tariff.c
 *	  Start-up of the tariff part.
 */
#include "postgres.h"

#include "tariff/tariff.h"

void
TariffInit(void)
{
}
