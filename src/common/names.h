/*
 * names.h
 *	  Names of relations, for SQL that is put together and for messages.
 */
#ifndef AQUACIS_COMMON_NAMES_H
#define AQUACIS_COMMON_NAMES_H

extern char *NamesQualified(Oid relid);
extern char *NamesLiteral(Oid relid);

#endif							/* AQUACIS_COMMON_NAMES_H */
