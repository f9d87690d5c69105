/*
 * textarray.c
 *	  Lists of names, as SQL has them (text[]) and as C does (List of char *).
 *
 * What is returned lives in the current memory context.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "common/textarray.h"

/* The elements of a text[]; NULL for a null one. */
List *
TextArrayToList(ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *texts = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		texts = lappend(texts, nulls[i] ? NULL : TextDatumGetCString(elements[i]));
	return texts;
}

/* A text[] of the texts, none of which is NULL. */
Datum
TextArrayOfList(List *texts)
{
	Datum	   *elements = palloc(sizeof(Datum) * list_length(texts));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, texts)
		elements[n++] = CStringGetTextDatum(lfirst(lc));
	return TextArrayOfDatums(elements, n);
}

/* A text[] of n text datums. */
Datum
TextArrayOfDatums(Datum *texts, int n)
{
	return PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}
