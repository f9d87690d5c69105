/*
 * rows.h
 *	  Rows between two statements.
 */
#ifndef AQUACIS_COMMON_ROWS_H
#define AQUACIS_COMMON_ROWS_H

#include "access/tupdesc.h"
#include "utils/portal.h"
#include "utils/tuplestore.h"

/* the name under which the next statement finds them */
#define ROWS_NAME	"aquacis_rows"

typedef struct Rows
{
	TupleDesc	desc;
	Tuplestorestate *store;
	int64		count;
} Rows;

extern Rows *RowsBegin(TupleDesc desc);
extern void RowsPut(Rows *rows, Datum *values, bool *nulls);
extern Rows *RowsOfQuery(Oid owner, const char *query);
extern Portal RowsCursor(Rows *rows, Oid owner, const char *query);
extern uint64 RowsInto(Rows *rows, Oid owner, const char *command);

#endif							/* AQUACIS_COMMON_ROWS_H */
