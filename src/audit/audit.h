/*
 * audit.h
 *	  What the files of the audit part share, and its start-up.
 */
#ifndef AQUACIS_AUDIT_H
#define AQUACIS_AUDIT_H

extern void AuditInit(void);

#endif							/* AQUACIS_AUDIT_H */
