/*
 * audit_undo_net.c
 *	  What the selected changes of one record amount to.
 *
 * Of each column: the value before the first of them, and the value behind the last, which
 * it should have now.  Between two of them the log has to go on where it stopped: where it
 * does not, somebody who was not selected has changed the column in between, and undoing
 * would take his change away as well.  That is noted (after, before), and is a conflict.
 *
 * Values point into the entries.  Nothing is looked up in the table.
 */
#include "postgres.h"

#include "audit/audit_undo.h"

/* Finds or adds the net of a column. */
static UndoNetColumn *
net_column(UndoNet *net, int column, bool *added)
{
	UndoNetColumn *col;

	for (int i = 0; i < net->n; i++)
	{
		/* columns come in the same order in each entry: mostly found at once */
		int			j = (net->last + 1 + i) % net->n;

		if (net->cols[j].column == column)
		{
			net->last = j;
			*added = false;
			return &net->cols[j];
		}
	}
	if (net->n == net->max)
	{
		net->max = net->max * 2 + 8;
		net->cols = net->cols ? repalloc(net->cols, sizeof(UndoNetColumn) * net->max)
			: palloc(sizeof(UndoNetColumn) * net->max);
	}
	net->last = net->n;
	col = &net->cols[net->n++];
	memset(col, 0, sizeof(*col));
	col->column = column;
	*added = true;
	return col;
}

/* A step's value of a column: what it was before, and what it is behind it; NULL: there was no row. */
static void
add_value(UndoNet *net, UndoStep *step, UndoStep *previous, int column, bool redacted,
		  const AuditValue *old_value, const AuditValue *new_value)
{
	bool		added;
	UndoNetColumn *col = net_column(net, column, &added);

	col->redacted |= redacted;
	if (added)
	{
		col->has_then = old_value != NULL;
		if (old_value)
			col->then = *old_value;
	}
	else if (col->before == NULL && !col->redacted && old_value && col->has_now &&
			 !AuditSameValue(&col->now, old_value))
	{
		col->after = previous;
		col->before = step;
	}
	col->has_now = new_value != NULL;
	if (new_value)
		col->now = *new_value;
}

/* The columns of an object, or of {"column": {"old": ..., "new": ...}}. */
static void
add_step(Undo *undo, UndoRow *row, UndoNet *net, UndoStep *step, UndoStep *previous)
{
	JsonbIterator *it = JsonbIteratorInit(&step->data->root);
	JsonbValue	json;
	JsonbIteratorToken token;
	int			column = -1;

	while ((token = JsonbIteratorNext(&it, &json, true)) != WJB_DONE)
	{
		AuditValue	value;
		AuditValue	other;
		JsonbValue	found;

		if (token == WJB_KEY)
			column = AuditUndoColumnOf(undo, row->table, json.val.string.val, json.val.string.len);
		if (token != WJB_VALUE)
			continue;
		if (step->action == 'U')
		{
			if (json.type != jbvBinary || !JsonContainerIsObject(json.val.binary.data) ||
				!getKeyJsonValueFromContainer(json.val.binary.data, "old", 3, &found))
				continue;
			AuditValueOfJson(&found, &value);
			if (!getKeyJsonValueFromContainer(json.val.binary.data, "new", 3, &found))
				continue;
			AuditValueOfJson(&found, &other);
			add_value(net, step, previous, column, AuditIsRedacted(&value) && AuditIsRedacted(&other),
					  &value, &other);
			continue;
		}
		AuditValueOfJson(&json, &value);
		if (step->action == 'I')
			add_value(net, step, previous, column, AuditIsRedacted(&value), NULL, &value);
		else
			add_value(net, step, previous, column, AuditIsRedacted(&value), &value, NULL);
	}
}

/*
 * The net of a row, in the current context; it goes when that is reset.  An entry of which the
 * data could not be read counts for nothing: its row is a conflict anyway.
 */
void
AuditUndoNetOf(Undo *undo, UndoRow *row, UndoNet *net)
{
	UndoStep   *previous = NULL;

	memset(net, 0, sizeof(*net));
	for (UndoStep *step = row->first; step; previous = step, step = step->next)
	{
		if (step->data == NULL)
			continue;
		if (net->broken == NULL && previous && (previous->action == 'D') != (step->action == 'I'))
		{
			net->broken = step;
			net->broken_after = previous;
		}
		add_step(undo, row, net, step, previous);
	}
}

/* Does the column differ, before the first change and behind the last?  Redacted ones may. */
bool
AuditUndoIsChange(const UndoNetColumn *col)
{
	return col->redacted || !col->has_then || !col->has_now || !AuditSameValue(&col->then, &col->now);
}
