/*
 * textarray.h
 *	  Lists of names, as SQL has them (text[]) and as C does (List of char *).
 */
#ifndef AQUACIS_COMMON_TEXTARRAY_H
#define AQUACIS_COMMON_TEXTARRAY_H

#include "nodes/pg_list.h"
#include "utils/array.h"

extern List *TextArrayToList(ArrayType *array);
extern Datum TextArrayOfList(List *texts);
extern Datum TextArrayOfDatums(Datum *texts, int n);

#endif							/* AQUACIS_COMMON_TEXTARRAY_H */
