/*
 * consolidate.h
 *	  What the files of the consolidate part share, and its start-up.
 */
#ifndef AQUACIS_CONSOLIDATE_H
#define AQUACIS_CONSOLIDATE_H

extern void ConsolidateInit(void);

#endif							/* AQUACIS_CONSOLIDATE_H */
