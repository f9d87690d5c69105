/*
 * consolidate_recreate.c
 *	  Makes a source again, from the DDL that consolidate_source has of it.
 *
 * Whose code.  The definitions are trusted (ConsolidateCheckRecordWriters says when), what they
 * bring back is not: the table's owner has written its defaults, checks and index
 * expressions.  Literals in them go through the input functions of their types when
 * they are parsed, adding a check evaluates it.  So a table of an owner who is not
 * trusted is made bare and given to him, and statements with expressions run as him.
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"

#include "common/settings.h"
#include "common/spi.h"
#include "common/usercode.h"
#include "consolidate/consolidate.h"

/* Runs DDL under the search path that it was recorded under. */
static void
run_statements(const char *sql)
{
	int			level;

	if (sql[0] == '\0')
		return;
	level = SettingsForText();
	SpiRun(sql);
	SettingsEnd(level);
}

static void
run_statement(Node *statement, const char *sql)
{
	PlannedStmt *wrapper = makeNode(PlannedStmt);
	int			level = SettingsForText();

	wrapper->commandType = CMD_UTILITY;
	wrapper->utilityStmt = statement;
	wrapper->stmt_len = strlen(sql);
	PushActiveSnapshot(GetTransactionSnapshot());
	ProcessUtility(wrapper, sql, false, PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
	PopActiveSnapshot();
	CommandCounterIncrement();
	SettingsEnd(level);
}

/* The role to which a statement gives the table, or InvalidOid. */
static Oid
new_owner(Node *statement)
{
	ListCell   *lc;

	if (IsA(statement, AlterTableStmt))
		foreach(lc, ((AlterTableStmt *) statement)->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, lc);

		if (command->subtype == AT_ChangeOwner)
			return get_rolespec_oid(command->newowner, false);
	}
	return InvalidOid;
}

/* Takes the defaults out of CREATE TABLE, and returns ALTER TABLE ... SET DEFAULT of them. */
static List *
detach_defaults(CreateStmt *create)
{
	List	   *defaults = NIL;
	ListCell   *lc;

	foreach(lc, create->tableElts)
	{
		ColumnDef  *column = lfirst_node(ColumnDef, lc);
		List	   *kept = NIL;
		ListCell   *l;

		foreach(l, column->constraints)
		{
			Constraint *constraint = lfirst_node(Constraint, l);
			AlterTableStmt *alter;
			AlterTableCmd *command;

			if (constraint->contype != CONSTR_DEFAULT)
			{
				kept = lappend(kept, constraint);
				continue;
			}
			command = makeNode(AlterTableCmd);
			command->subtype = AT_ColumnDefault;
			command->name = pstrdup(column->colname);
			command->def = constraint->raw_expr;
			alter = makeNode(AlterTableStmt);
			alter->relation = copyObject(create->relation);
			alter->cmds = list_make1(command);
			alter->objtype = OBJECT_TABLE;
			defaults = lappend(defaults, alter);
		}
		column->constraints = kept;
	}
	return defaults;
}

static bool
is_constraint(AlterTableCmd *command, ConstrType type)
{
	return command->subtype == AT_AddConstraint && IsA(command->def, Constraint) &&
		((Constraint *) command->def)->contype == type;
}

/* The order and the role in which a definition's statements run; see ConsolidateFinishTable. */
typedef enum RestoreStep
{
	STEP_KEY,					/* a key or an index on columns */
	STEP_OWNER,					/* has expressions, which the table's owner has written */
	STEP_REST					/* rights, comments, storage, ... */
} RestoreStep;

static RestoreStep
step_of_index(IndexStmt *index)
{
	ListCell   *lc;

	if (index->whereClause != NULL)
		return STEP_OWNER;
	foreach(lc, index->indexParams)
		if (lfirst_node(IndexElem, lc)->expr != NULL)
		return STEP_OWNER;
	return STEP_KEY;
}

static RestoreStep
step_of(Node *statement)
{
	RestoreStep step = STEP_REST;
	ListCell   *lc;

	if (IsA(statement, IndexStmt))
		return step_of_index((IndexStmt *) statement);
	if (!IsA(statement, AlterTableStmt))
		return STEP_REST;
	foreach(lc, ((AlterTableStmt *) statement)->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, lc);

		if (is_constraint(command, CONSTR_PRIMARY) || is_constraint(command, CONSTR_UNIQUE) ||
			is_constraint(command, CONSTR_NOTNULL))
			step = STEP_KEY;
		else if (command->subtype == AT_AddConstraint || command->subtype == AT_ColumnDefault)
			return STEP_OWNER;
	}
	return step;
}

/* The statements of a definition, as parse trees. */
static List *
parse_definition(const char *sql)
{
	int			level = SettingsForText();
	List	   *parsed = raw_parser(sql, RAW_PARSE_DEFAULT);
	List	   *statements = NIL;
	ListCell   *lc;

	SettingsEnd(level);
	foreach(lc, parsed)
		statements = lappend(statements, lfirst_node(RawStmt, lc)->stmt);
	return statements;
}

static void
run_step(List *statements, RestoreStep step, const char *sql)
{
	ListCell   *lc;

	foreach(lc, statements)
		if (step_of(lfirst(lc)) == step)
		run_statement(lfirst(lc), sql);
}

/* The first half of a definition: the table and its columns, before the rows. */
void
ConsolidateRecreateTable(const char *table, const char *definition)
{
	List	   *statements = parse_definition(definition);
	List	   *defaults;
	Oid			owner = InvalidOid;
	ListCell   *lc;
	UserCodeScope scope;

	foreach(lc, statements)
		if (!OidIsValid(owner))
		owner = new_owner(lfirst(lc));
	if (!OidIsValid(owner) || UserCodeRoleIsTrusted(owner))
	{
		run_statements(definition);
		return;
	}
	if (!IsA(linitial(statements), CreateStmt))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the recorded definition of \"%s\" does not begin with CREATE TABLE", table),
				 errhint("Look at column definition of consolidate_source.")));
	defaults = detach_defaults(linitial(statements));
	foreach(lc, statements)
		run_statement(lfirst(lc), definition);
	UserCodeEnter(&scope, owner);
	run_step(defaults, STEP_OWNER, definition);
	UserCodeLeave(&scope);
}

/*
 * The second half, when the rows are in.  Keys come first: adding one asks the table's
 * checks whether its columns can be null.  What has expressions is parsed, and
 * computed, as the table's owner.  The rest computes nothing, and may refer to what
 * was made before.
 */
void
ConsolidateFinishTable(const char *definition, Oid owner)
{
	List	   *statements;
	UserCodeScope scope;

	if (UserCodeRoleIsTrusted(owner))
	{
		run_statements(definition);
		return;
	}
	statements = parse_definition(definition);
	run_step(statements, STEP_KEY, definition);
	UserCodeEnter(&scope, owner);
	run_step(statements, STEP_OWNER, definition);
	UserCodeLeave(&scope);
	run_step(statements, STEP_REST, definition);
}
