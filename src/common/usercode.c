/*
 * usercode.c
 *	  Whose code could run when a relation is read, written or planned.
 *
 * A DBA calls us on tables of others, and everybody writes to tables whose changes
 * go into the log of another.  Code comes with a relation on many ways: triggers,
 * rules, policies, views, CHECKs, defaults, generated columns, index expressions and
 * predicates, partition keys, extended statistics, domains, the functions of range
 * types, casts.  It must never run with the rights of somebody who has not chosen to
 * run it.
 *
 * Planning is executing: the planner computes whatever is constant in the
 * expressions of a relation's indexes and statistics, and the type cache does so
 * with the CHECKs of a domain.  The parser calls the input functions of types for
 * literals, and with them the CHECKs of domains.  So:
 *
 * 1. What belongs to a role that the current user need not trust is planned and
 *	  executed as that role (usercode_run.c), in a security-restricted operation: no
 *	  SET ROLE, no temporary objects.  What it changes of the session's settings is
 *	  undone (UserCodeLeave).  This needs no list of dangerous things, and nothing
 *	  that changes between a look and the use matters.
 *
 * 2. Where code would run as the current user all the same (the audit writes straight
 *	  into the log), the functions UserCodeIn... say whether there is any.  They read
 *	  expressions as the catalogs store them; the relation cache's copies have been
 *	  through constant folding.  Everything that they do not know counts as code.
 *	  A domain of somebody who is not trusted counts as code even without a CHECK,
 *	  because ALTER DOMAIN takes no lock on the tables that use it.
 *
 * Trusted are superusers, and where the decision is made for one user only, that
 * user.  Only superusers make base types, operator classes, access methods and
 * functions in C, so those are the server's.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_range.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "common/catalog.h"
#include "common/usercode.h"

/* ---- roles ------------------------------------------------------------------------ */

/* May the current user run what belongs to this role?  His own, and a superuser's. */
bool
UserCodeRoleIsTrusted(Oid role)
{
	return role == GetUserId() || superuser_arg(role);
}

/* Does an object of this owner (InvalidOid: there is none) belong to a superuser or to a trusted role? */
static bool
belongs_to(Oid owner, Oid trusted)
{
	return OidIsValid(owner) && (owner == trusted || superuser_arg(owner));
}

/* ---- types ------------------------------------------------------------------------ */

/*
 * Does this type belong to a superuser or to a trusted role?  Only its owner can make
 * casts from it to a type of the server.
 */
bool
UserCodeTypeIsTrusted(Oid type, Oid trusted)
{
	return type < FirstNormalObjectId ||
		belongs_to(CatalogOid(TYPEOID, type, Anum_pg_type_typowner), trusted);
}

static bool
range_has_code(Oid range, Oid trusted)
{
	HeapTuple	tuple = SearchSysCache1(RANGETYPE, ObjectIdGetDatum(range));
	Form_pg_range form;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		return true;
	form = (Form_pg_range) GETSTRUCT(tuple);
	found = UserCodeInType(form->rngsubtype, trusted);
	ReleaseSysCache(tuple);
	return found;
}

/* A range type's own functions; they come with the type, and so from its owner. */
static bool
range_has_functions(Oid range)
{
	HeapTuple	tuple = SearchSysCache1(RANGETYPE, ObjectIdGetDatum(range));
	Form_pg_range form;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		return true;
	form = (Form_pg_range) GETSTRUCT(tuple);
	found = form->rngsubdiff >= FirstNormalObjectId || form->rngcanonical >= FirstNormalObjectId;
	ReleaseSysCache(tuple);
	return found;
}

static bool
row_type_has_code(Oid type, Oid trusted)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);
	bool		found = false;

	for (int i = 0; i < desc->natts && !found; i++)
		found = !TupleDescAttr(desc, i)->attisdropped &&
			UserCodeInType(TupleDescAttr(desc, i)->atttypid, trusted);
	FreeTupleDesc(desc);
	return found;
}

/*
 * Could a value of this type, when it is read, written or computed with, run code of
 * a role that is neither a superuser nor trusted (InvalidOid: nobody else is)?  Looks
 * below types of trusted roles, too.  Casts are another matter: they are resolved
 * where an expression is parsed, and then stand in it as functions.
 */
bool
UserCodeInType(Oid type, Oid trusted)
{
	HeapTuple	tuple;
	FormData_pg_type form;
	bool		own;

	if (type < FirstNormalObjectId)
		return type == RECORDOID;
	check_stack_depth();
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		return true;			/* dropped meanwhile */
	memcpy(&form, GETSTRUCT(tuple), sizeof(form));
	ReleaseSysCache(tuple);

	own = belongs_to(form.typowner, trusted);
	switch (form.typtype)
	{
		case TYPTYPE_BASE:
			return OidIsValid(form.typelem) && UserCodeInType(form.typelem, trusted);
		case TYPTYPE_DOMAIN:
			return !own || UserCodeInType(form.typbasetype, trusted);
		case TYPTYPE_RANGE:
			return (!own && range_has_functions(type)) || range_has_code(type, trusted);
		case TYPTYPE_MULTIRANGE:
			return UserCodeInType(get_multirange_range(type), trusted);
		case TYPTYPE_COMPOSITE:
			return row_type_has_code(type, trusted);
		default:
			return false;
	}
}

/* The first column whose type could, in words, or NULL. */
char *
UserCodeInColumns(Relation rel, Oid trusted)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && UserCodeInType(att->atttypid, trusted))
			return psprintf("column \"%s\" is of type %s, which can run code of a role that is not trusted",
							NameStr(att->attname), format_type_be(att->atttypid));
	}
	return NULL;
}

/* ---- expressions ------------------------------------------------------------------- */

static bool
is_one_of(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/*
 * Functions of pg_catalog that are not immutable, and still run nothing but
 * themselves.  Columns have them as defaults.
 */
static bool
is_harmless(const char *name)
{
	static const char *const names[] = {
		"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday",
		"nextval", "random", "gen_random_uuid", "uuidv4", "uuidv7",
		"date", "time", "timestamp", "timestamptz", "timezone",
		"date_trunc", "date_part", "extract", "to_char", "to_date", "to_timestamp",
		"concat", "concat_ws", "format", "array_to_string",
		"current_setting", "current_query", "current_database", "current_schema", "version",
		"inet_client_addr", "inet_client_port", "inet_server_addr", "inet_server_port",
		"pg_backend_pid", "pg_trigger_depth", "pg_is_in_recovery", "pg_postmaster_start_time",
		"pg_current_xact_id", "pg_current_xact_id_if_assigned", "pg_current_snapshot",
		"txid_current", "txid_current_if_assigned", "txid_current_snapshot",
		"pg_current_wal_lsn", "pg_current_wal_insert_lsn", "pg_current_wal_flush_lsn"
	};

	return is_one_of(name, names, lengthof(names));
}

/* The same of functions that look for casts of what they are given: types of the server have none of users. */
static bool
is_harmless_with_plain_types(const char *name)
{
	static const char *const names[] = {
		"textanycat", "anytextcat", "to_json", "to_jsonb", "json_build_object", "jsonb_build_object",
		"json_build_array", "jsonb_build_array"
	};

	return is_one_of(name, names, lengthof(names));
}

static bool
has_plain_types(Node *args)
{
	ListCell   *lc;

	foreach(lc, (List *) args)
	{
		Oid			type = exprType(lfirst(lc));

		if (type >= FirstNormalObjectId || type == RECORDOID || type == RECORDARRAYOID)
			return false;
	}
	return true;
}

/* The arguments of a node that calls a function, or NULL for one that is not looked at. */
static Node *
arguments_of(Node *node)
{
	if (IsA(node, FuncExpr))
		return (Node *) ((FuncExpr *) node)->args;
	if (IsA(node, OpExpr))
		return (Node *) ((OpExpr *) node)->args;
	return NULL;
}

/* What the walker is asked: the role whose functions and types are trusted, beside superusers' types. */
typedef struct Walk
{
	Oid			trusted;		/* InvalidOid: no function but the server's */
	Node	   *node;			/* whose functions are looked at */
} Walk;

/* Immutable is not enough for what lies outside of pg_catalog; of pg_catalog, some run the SQL they are given. */
static bool
is_foreign_function(Oid function, void *context)
{
	Walk	   *walk = context;
	const char *name;
	Node	   *args;

	if (function >= FirstNormalObjectId)
		return !OidIsValid(walk->trusted) || !belongs_to(CatalogOid(PROCOID, function, Anum_pg_proc_proowner), walk->trusted);
	if (func_volatile(function) == PROVOLATILE_IMMUTABLE)
		return false;
	name = get_func_name(function);
	if (name == NULL)
		return true;
	args = arguments_of(walk->node);
	return !is_harmless(name) &&
		!(args != NULL && is_harmless_with_plain_types(name) && has_plain_types(args));
}

static bool
node_has_code(Node *node, void *context)
{
	Walk	   *walk = context;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_CaseWhen:
			return expression_tree_walker(node, node_has_code, context);
		case T_Const:
		case T_Var:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CollateExpr:
		case T_ArrayCoerceExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_SQLValueFunction:
		case T_NullTest:
		case T_BooleanTest:
		case T_NextValueExpr:
		case T_CoerceToDomainValue:
		case T_CoerceViaIO:
		case T_CoerceToDomain:
			break;
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_RowCompareExpr:
			walk->node = node;
			if (check_functions_in_node(node, is_foreign_function, walk))
				return true;
			break;
		default:
			return true;
	}
	/* of a row without a type of its own, the fields are looked at */
	if (UserCodeInType(exprType(node), walk->trusted) &&
		!(IsA(node, RowExpr) && exprType(node) == RECORDOID))
		return true;
	return expression_tree_walker(node, node_has_code, context);
}

/*
 * Could evaluating, planning or writing down this expression run code of anybody but
 * the server and superusers' types?  It has to be as the catalogs store it.
 */
bool
UserCodeInExpression(Node *expr)
{
	Walk		walk = {InvalidOid};

	return node_has_code(expr, &walk);
}

static bool
stored_has_code(const char *stored)
{
	return UserCodeInExpression(stringToNode(stored));
}

/* The same for a column of a catalog's row; null is nothing. */
static bool
field_has_code(int cache, HeapTuple tuple, AttrNumber attno)
{
	bool		isnull;
	Datum		field = SysCacheGetAttr(cache, tuple, attno, &isnull);

	return !isnull && stored_has_code(TextDatumGetCString(field));
}

/* ---- relations ----------------------------------------------------------------------- */

/* Has this domain, or one that it is over, a CHECK or a NOT NULL? */
static bool
is_checked_domain(Oid type)
{
	while (get_typtype(type) == TYPTYPE_DOMAIN)
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
		CatalogRows rows;
		Oid			basetype;
		bool		found;

		if (!HeapTupleIsValid(tuple))
			return true;
		found = ((Form_pg_type) GETSTRUCT(tuple))->typnotnull;
		basetype = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
		ReleaseSysCache(tuple);

		CatalogBegin(&rows, ConstraintRelationId, ConstraintTypidIndexId, Anum_pg_constraint_contypid, type);
		found = HeapTupleIsValid(CatalogNext(&rows)) || found;
		CatalogEnd(&rows);
		if (found)
			return true;
		type = basetype;
	}
	return false;
}

/*
 * Does storing a row in this table compute anything that is not the server's: a
 * CHECK, a default, a generated column, a domain's CHECK?  Triggers, rules and
 * indexes are not looked at.
 */
bool
UserCodeInTable(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TupleConstr *constr = desc->constr;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped &&
			(is_checked_domain(att->atttypid) || UserCodeInType(att->atttypid, InvalidOid)))
			return true;
	}
	for (int i = 0; constr && i < constr->num_check; i++)
		if (stored_has_code(constr->check[i].ccbin))
			return true;
	for (int i = 0; constr && i < constr->num_defval; i++)
		if (stored_has_code(constr->defval[i].adbin))
			return true;
	return false;
}

/* Does an entry in this index compute anything that is not the server's? */
bool
UserCodeInIndex(Relation index)
{
	HeapTuple	tuple;
	bool		found = false;

	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		if (index->rd_opcintype[i] >= FirstNormalObjectId ||
			index->rd_support[i * index->rd_indam->amsupport] >= FirstNormalObjectId)
			return true;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(RelationGetRelid(index)));
	if (!HeapTupleIsValid(tuple))
		return true;
	found = field_has_code(INDEXRELID, tuple, Anum_pg_index_indexprs) ||
		field_has_code(INDEXRELID, tuple, Anum_pg_index_indpred);
	ReleaseSysCache(tuple);
	return found;
}

/* Our own trigger's arguments say which log, and it writes there as the log's owner. */
static bool
is_of_aquacis(Oid function)
{
	return getExtensionOfObject(ProcedureRelationId, function) == get_extension_oid("aquacis", true);
}

/* May somebody else make triggers on a table? */
static bool
others_make_triggers(Oid relid, Oid trusted)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		isnull;
	Datum		datum;
	bool		found = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	datum = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	if (!isnull)
	{
		Acl		   *acl = DatumGetAclP(datum);

		for (int i = 0; i < ACL_NUM(acl) && !found; i++)
			found = (ACLITEM_GET_PRIVS(ACL_DAT(acl)[i]) & ACL_TRIGGER) != 0 &&
				!belongs_to(ACL_DAT(acl)[i].ai_grantee, trusted);
	}
	ReleaseSysCache(tuple);
	return found;
}

/* What is wrong with one trigger, see UserCodeInTriggers. */
static char *
problem_of_trigger(HeapTuple tuple, TupleDesc desc, Oid trusted, bool strict)
{
	Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
	const char *name = NameStr(trigger->tgname);
	const char *table = get_rel_name(trigger->tgrelid);
	Oid			owner = CatalogOid(PROCOID, trigger->tgfoid, Anum_pg_proc_proowner);
	Walk		walk = {trusted};
	bool		isnull;
	Datum		condition;

	if (!belongs_to(owner, trusted))
		return psprintf("trigger \"%s\" of table \"%s\" calls a function of role \"%s\"", name, table,
						GetUserNameFromId(owner, true));
	condition = heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &isnull);
	if (!isnull && node_has_code(stringToNode(TextDatumGetCString(condition)), &walk))
		return psprintf("condition of trigger \"%s\" of table \"%s\" can run code of a role that is not trusted",
						name, table);
	if (strict && trigger->tgnargs > 0 && !is_of_aquacis(trigger->tgfoid) &&
		others_make_triggers(trigger->tgrelid, trusted))
		return psprintf("trigger \"%s\" of table \"%s\" has arguments, which somebody else with the right TRIGGER may have given",
						name, table);
	return NULL;
}

/*
 * A trigger of a table that would run code of a role which is neither a superuser nor
 * trusted, as whom it would run; in words, or NULL.  Whoever has the right TRIGGER
 * on a table can make one.  He can also give arguments to a function that is trusted,
 * some of which run what they are given; where strict, those are refused on tables
 * on which somebody else has that right.
 */
char *
UserCodeInTriggers(Oid relid, Oid trusted, bool strict)
{
	CatalogRows rows;
	HeapTuple	tuple;
	char	   *problem = NULL;

	CatalogBegin(&rows, TriggerRelationId, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relid);
	while (problem == NULL && HeapTupleIsValid(tuple = CatalogNext(&rows)))
		if (!((Form_pg_trigger) GETSTRUCT(tuple))->tgisinternal)
			problem = problem_of_trigger(tuple, RelationGetDescr(rows.catalog), trusted, strict);
	CatalogEnd(&rows);
	return problem;
}

/*
 * Of a table and its partitions and children, as find_all_inheritors lists them, the
 * first that belongs to another role than the first one does, and to no superuser;
 * InvalidOid when there is none.  Its code would run with the rights that the
 * table's owner lends to his own.
 */
Oid
UserCodeStranger(List *tables)
{
	Oid			owner = CatalogOwner(linitial_oid(tables));
	ListCell   *lc;

	foreach(lc, tables)
	{
		Oid			its = CatalogOid(RELOID, lfirst_oid(lc), Anum_pg_class_relowner);

		if (!OidIsValid(its))
			continue;			/* dropped meanwhile */
		if (!belongs_to(its, owner))
			return lfirst_oid(lc);
	}
	return InvalidOid;
}
