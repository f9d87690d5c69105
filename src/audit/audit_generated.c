/*
 * audit_generated.c
 *	  Generated columns: which are computed from which, and which are not stored.
 *
 * A stored generated column repeats what its expression reads: of a redacted column it
 * shows the value.  So it is redacted, too.  What an expression reads is found in the
 * expression as it is stored with the table (the relation cache has it as text); it is
 * read, never computed.  It cannot use another generated column nor the whole row
 * (PostgreSQL refuses both), so one step finds all.  What a function looks up by itself
 * in other rows is out of sight.
 *
 * A virtual generated column (PostgreSQL 18) is in no tuple: a trigger sees null.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "nodes/bitmapset.h"
#include "nodes/nodes.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit/audit.h"
#include "compat.h"

/* Is the column's value not in the row, but computed when it is read? */
bool
AuditIsVirtual(Form_pg_attribute att)
{
	return att->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
}

/* The attribute numbers, as pull_varattnos() shifts them, of these columns of the table. */
static Bitmapset *
numbers_of(Relation rel, List *names)
{
	Bitmapset  *numbers = NULL;
	ListCell   *lc;

	foreach(lc, names)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), lfirst(lc));

		if (attnum > 0)
			numbers = bms_add_member(numbers, attnum - FirstLowInvalidHeapAttributeNumber);
	}
	return numbers;
}

/*
 * The stored generated columns whose expression reads one of the named columns, without
 * those that are among the names themselves.  Names that no column has are passed over.
 * rel is open.  A list of char *, in the order of the table, in the current context.
 */
List *
AuditGeneratedFrom(Relation rel, List *names)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *from = numbers_of(rel, names);
	List	   *found = NIL;

	if (from == NULL || desc->constr == NULL)
		return NIL;
	for (int i = 0; i < desc->constr->num_defval; i++)
	{
		AttrDefault *expression = &desc->constr->defval[i];
		Form_pg_attribute att = TupleDescAttr(desc, expression->adnum - 1);
		Bitmapset  *reads = NULL;

		if (att->attgenerated != ATTRIBUTE_GENERATED_STORED || att->attisdropped ||
			bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, from))
			continue;
		pull_varattnos(stringToNode(expression->adbin), 1, &reads);
		if (bms_overlap(reads, from))
			found = lappend(found, pstrdup(NameStr(att->attname)));
	}
	return found;
}
