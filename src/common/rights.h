/*
 * rights.h
 *	  Rights on tables that we make, and rights as text.
 */
#ifndef AQUACIS_COMMON_RIGHTS_H
#define AQUACIS_COMMON_RIGHTS_H

#include "utils/acl.h"

extern char *RightsText(AclMode rights, const char *suffix);
extern const char *RightsRole(Oid role);
extern void RightsOfOwnerAlone(Oid relid);

#endif							/* AQUACIS_COMMON_RIGHTS_H */
