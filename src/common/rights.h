/*
 * rights.h
 *	  Rights on tables that we make.
 */
#ifndef AQUACIS_COMMON_RIGHTS_H
#define AQUACIS_COMMON_RIGHTS_H

extern void RightsOfOwnerAlone(Oid relid);

#endif							/* AQUACIS_COMMON_RIGHTS_H */
