/*
 * audit_adopt.h
 *	  What a plain log has, for the partitioned one that takes its place.
 */
#ifndef AQUACIS_AUDIT_ADOPT_H
#define AQUACIS_AUDIT_ADOPT_H

#include "access/attnum.h"
#include "nodes/pg_list.h"

/* an index, and the statement that makes it for the partitioned log alone, around its name */
typedef struct AuditCarriedIndex
{
	char	   *name;			/* of the plain log's index */
	char	   *first;			/* NULL: it cannot be made */
	char	   *second;
} AuditCarriedIndex;

/* statements, lists of char *, in the order in which they are to run */
typedef struct AuditCarried
{
	List	   *leave;			/* publications, as the caller: take the plain log out */
	List	   *before;			/* as the owner: what can be there only once */
	List	   *indexes;		/* of AuditCarriedIndex * */
	List	   *after;			/* as the owner: give it to the table that has the name now */
	List	   *join;			/* publications again */
} AuditCarried;

/* how the check is called that says how far a plain log goes: this, year and month */
#define AUDIT_ADOPT_CHECK	"audit_adopt_"

extern List *AuditCarryObstacles(Oid logid, Oid trgoid);
extern void AuditCarryCollect(Oid logid, AttrNumber changed_at, AuditCarried *carried);

#endif							/* AQUACIS_AUDIT_ADOPT_H */
