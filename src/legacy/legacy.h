/*
 * legacy.h
 *	  What the files of the legacy part share, and its start-up.
 */
#ifndef AQUACIS_LEGACY_H
#define AQUACIS_LEGACY_H

extern void LegacyInit(void);

#endif							/* AQUACIS_LEGACY_H */
