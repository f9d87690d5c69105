/*
 * trust.c
 *	  Whose code could run when a table is read or written.
 *
 * Triggers, rules, checks, defaults, generated columns, index expressions,
 * policies, views and the types' own checks and casts run with the rights of
 * whoever touches the table.  A DBA who consolidates the tables of others must
 * not lend them those rights.  Code of a role that the caller may trust is
 * none of our business: that is the caller itself, or a superuser.  What
 * belongs to anybody else may compute with immutable functions of pg_catalog
 * and a few more, and nothing else; functions of pg_catalog as such are not
 * enough, some of them run the SQL they are given.
 *
 * All this is read from the catalogs as it is stored.  The relation cache's
 * index expressions and the type cache's domain checks have been through
 * constant folding, which calls the very functions that we are looking for.
 *
 * A target is locked so that its name stays its own and, if it is somebody
 * else's, its code stays as it was found, until the transaction ends; so each
 * transaction looks again.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_cast.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_range.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "consolidate/consolidate.h"

static bool type_runs_code(Oid type);

/* May the caller run what belongs to this role? */
bool
TrustRole(Oid role)
{
	return role == GetUserId() || superuser_arg(role);
}

Oid
TrustOwner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* ---- expressions ----------------------------------------------------------------- */

/* Not immutable, and still harmless; columns have them as defaults. */
static bool
is_harmless(const char *name)
{
	static const char *const names[] = {
		"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday",
		"nextval", "random", "gen_random_uuid", "date", "timestamp", "timestamptz", "timezone",
		"date_trunc", "date_part", "extract", "to_char", "to_date", "to_timestamp"
	};
	int			i;

	for (i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId ||
		(func_volatile(function) != PROVOLATILE_IMMUTABLE && !is_harmless(get_func_name(function)));
}

/* Could evaluating this run code of others?  What is not known here could. */
static bool
runs_code(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_Const:
		case T_Var:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CollateExpr:
		case T_ArrayCoerceExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_SQLValueFunction:
		case T_NullTest:
		case T_BooleanTest:
		case T_NextValueExpr:
		case T_CoerceToDomainValue:
			break;
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_RowCompareExpr:
			if (check_functions_in_node(node, is_foreign_function, NULL))
				return true;
			break;
		case T_CoerceViaIO:
			if (type_runs_code(exprType(node)) ||
				type_runs_code(exprType((Node *) ((CoerceViaIO *) node)->arg)))
				return true;
			break;
		case T_CoerceToDomain:
			if (type_runs_code(exprType(node)))
				return true;
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, runs_code, context);
}

/* An expression, or a list of them, as the catalogs keep it. */
static bool
stored_runs_code(const char *stored)
{
	return runs_code(stringToNode(stored), NULL);
}

/* The same for a column of a catalog's row; null is nothing. */
static bool
field_runs_code(int cache, HeapTuple tuple, AttrNumber attno)
{
	bool		isnull;
	Datum		field = SysCacheGetAttr(cache, tuple, attno, &isnull);

	return !isnull && stored_runs_code(TextDatumGetCString(field));
}

/* ---- types ------------------------------------------------------------------------- */

static bool
domain_checks_run_code(Oid type)
{
	Relation	pg_constraint = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_constraint_contypid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type));
	scan = systable_beginscan(pg_constraint, ConstraintTypidIndexId, true, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		check = heap_getattr(tuple, Anum_pg_constraint_conbin,
										 RelationGetDescr(pg_constraint), &isnull);

		found = !isnull && stored_runs_code(TextDatumGetCString(check));
	}
	systable_endscan(scan);
	table_close(pg_constraint, AccessShareLock);
	return found;
}

/*
 * A function that somebody wrote.  Making a type makes functions, too, but in
 * C of the server, which nobody but a superuser may write.
 */
static bool
is_written(Oid function)
{
	HeapTuple	tuple;
	bool		written;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	written = !HeapTupleIsValid(tuple) ||
		((Form_pg_proc) GETSTRUCT(tuple))->prolang != INTERNALlanguageId;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return written;
}

/* A cast from or to the type that is a function, and none of the server's. */
static bool
casts_run_code(Oid type)
{
	Relation	pg_cast = table_open(CastRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_cast, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_cast form = (Form_pg_cast) GETSTRUCT(tuple);

		found = (form->castsource == type || form->casttarget == type) &&
			is_written(form->castfunc);
	}
	systable_endscan(scan);
	table_close(pg_cast, AccessShareLock);
	return found;
}

static bool
range_runs_code(Oid range)
{
	HeapTuple	tuple = SearchSysCache1(RANGETYPE, ObjectIdGetDatum(range));
	Form_pg_range form;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		return true;
	form = (Form_pg_range) GETSTRUCT(tuple);
	found = form->rngsubdiff >= FirstNormalObjectId ||
		form->rngcanonical >= FirstNormalObjectId || type_runs_code(form->rngsubtype);
	ReleaseSysCache(tuple);
	return found;
}

static bool
columns_run_code(TupleDesc desc)
{
	int			i;

	for (i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			type_runs_code(TupleDescAttr(desc, i)->atttypid))
			return true;
	return false;
}

static bool
row_type_runs_code(Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);
	bool		found = columns_run_code(desc);

	FreeTupleDesc(desc);
	return found;
}

/*
 * Could a value of this type, read, written or cast, run code of others?
 * Only a superuser can make base types, so theirs is the server's.
 */
static bool
type_runs_code(Oid type)
{
	HeapTuple	tuple;
	Form_pg_type form;
	bool		found = false;

	if (type < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	check_stack_depth();
	if (OidIsValid(form->typelem))
		found = type_runs_code(form->typelem);
	if (!found && !TrustRole(form->typowner))
	{
		found = casts_run_code(type);
		if (!found && form->typtype == TYPTYPE_DOMAIN)
			found = field_runs_code(TYPEOID, tuple, Anum_pg_type_typdefaultbin) ||
				domain_checks_run_code(type) || type_runs_code(form->typbasetype);
		else if (!found && form->typtype == TYPTYPE_RANGE)
			found = range_runs_code(type);
		else if (!found && form->typtype == TYPTYPE_MULTIRANGE)
			found = type_runs_code(get_multirange_range(type));
		else if (!found && form->typtype == TYPTYPE_COMPOSITE)
			found = row_type_runs_code(type);
	}
	ReleaseSysCache(tuple);
	return found;
}

/* The first column whose type could, in words, or NULL. */
char *
TrustColumnTypes(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && type_runs_code(att->atttypid))
			return psprintf("column \"%s\" is of type %s, which has checks, defaults or casts of its owner",
							NameStr(att->attname), format_type_be(att->atttypid));
	}
	return NULL;
}

/* ---- tables ------------------------------------------------------------------------ */

static char *
index_code(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	char	   *found = NULL;

	foreach(lc, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (found == NULL && (field_runs_code(INDEXRELID, tuple, Anum_pg_index_indexprs) ||
							  field_runs_code(INDEXRELID, tuple, Anum_pg_index_indpred)))
			found = psprintf("index \"%s\" on it calls functions", get_rel_name(lfirst_oid(lc)));
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

static char *
partition_key_code(Relation rel)
{
	HeapTuple	tuple;
	char	   *found = NULL;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return NULL;
	tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(RelationGetRelid(rel)));
	if (!HeapTupleIsValid(tuple) ||
		field_runs_code(PARTRELID, tuple, Anum_pg_partitioned_table_partexprs))
		found = "its partition key calls functions";
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return found;
}

static char *
constraint_code(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	int			i;

	for (i = 0; constr && i < constr->num_check; i++)
		if (stored_runs_code(constr->check[i].ccbin))
			return psprintf("check \"%s\" of it calls functions", constr->check[i].ccname);
	for (i = 0; constr && i < constr->num_defval; i++)
		if (stored_runs_code(constr->defval[i].adbin))
			return psprintf("the default of its column \"%s\" calls functions",
							get_attname(RelationGetRelid(rel), constr->defval[i].adnum, false));
	return NULL;
}

/* What of this relation could run code of its owner, in words, or NULL. */
static char *
relation_code(Relation rel)
{
	char	   *found;
	int			i;

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return "it is not an ordinary table";
	if (rel->rd_rules != NULL)
		return "it has a rule";
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
		return "it has row security";
	for (i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
		if (!rel->trigdesc->triggers[i].tgisinternal)
			return psprintf("it has a trigger (%s)", rel->trigdesc->triggers[i].tgname);
	if ((found = constraint_code(rel)) != NULL || (found = index_code(rel)) != NULL ||
		(found = partition_key_code(rel)) != NULL)
		return found;
	return TrustColumnTypes(rel);
}

/*
 * Refuses a target, or a partition or child of it, that belongs to somebody
 * else and brings code.  Comes before anything is read from it or written.
 *
 * SHARE UPDATE EXCLUSIVE keeps its owner from adding what we looked for (and
 * children, and partitions) until we are through.  A standby has no use for
 * it, and does not grant it.
 */
void
TrustTarget(Family *family)
{
	LOCKMODE	lock = RecoveryInProgress() ? AccessShareLock : ShareUpdateExclusiveLock;
	List	   *tables;
	ListCell   *lc;

	/* we know it by its OID, but SQL by its name, which its schema's owner can give to another */
	LockRelationOid(family->target_oid, AccessShareLock);
	if (get_namespace_oid(family->schema, true) != family->schema_oid ||
		get_relname_relid(family->target, family->schema_oid) != family->target_oid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s.%s\" was dropped or renamed by somebody else",
						family->schema, family->target),
				 errhint("Call again.")));
	if (TrustRole(TrustOwner(family->target_oid)) && !has_subclass(family->target_oid))
		return;
	LockRelationOid(family->target_oid, lock);
	tables = find_all_inheritors(family->target_oid, lock, NULL);
	foreach(lc, tables)
	{
		Relation	rel = relation_open(lfirst_oid(lc), NoLock);
		char	   *code = TrustRole(rel->rd_rel->relowner) ? NULL : relation_code(rel);

		if (code)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("target \"%s.%s\" could run code of role \"%s\" with the rights of role \"%s\"",
							family->schema, family->target,
							GetUserNameFromId(rel->rd_rel->relowner, false),
							GetUserNameFromId(GetUserId(), false)),
					 errdetail("Table \"%s\": %s.", RelationGetRelationName(rel), code),
					 errhint("Connect as the owner of the table, or give the table to a role you trust.")));
		relation_close(rel, NoLock);
	}
	list_free(tables);
}

static void
check_writers(Datum acl_datum, const char *table)
{
	Acl		   *acl = DatumGetAclP(acl_datum);
	int			i;

	for (i = 0; i < ACL_NUM(acl); i++)
	{
		AclItem    *item = &ACL_DAT(acl)[i];
		Oid			role = item->ai_grantee;

		if ((ACLITEM_GET_PRIVS(*item) & (ACL_INSERT | ACL_UPDATE)) == 0)
			continue;
		/* members of a role trust it, except superusers, who are members of all */
		if (role != ACL_ID_PUBLIC &&
			(TrustRole(role) || (!superuser() && has_privs_of_role(GetUserId(), role))))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("definitions in table \"%s\" cannot be trusted by role \"%s\"", table,
						GetUserNameFromId(GetUserId(), false)),
				 errdetail("%s may write to it, and so make the caller run anything.",
						   role == ACL_ID_PUBLIC ? "Everybody" :
						   psprintf("Role \"%s\"", GetUserNameFromId(role, false))),
				 role == ACL_ID_PUBLIC ?
				 errhint("REVOKE INSERT, UPDATE on it, look at column definition, and call again.") :
				 errhint("Connect as that role, or REVOKE INSERT, UPDATE on it, look at column definition, and call again.")));
	}
}

/*
 * Restoring runs the DDL that is written in consolidate_source, as the caller.
 * So nobody may write there whom the caller need not trust.
 */
void
TrustRecords(Family *family)
{
	const char *table = "consolidate_source";
	Oid			relid = get_relname_relid(table, get_namespace_oid(family->extschema_name, false));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Relation	pg_attribute;
	ScanKeyData key;
	SysScanDesc scan;
	bool		isnull;
	Datum		acl;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	acl = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	if (!isnull)
		check_writers(acl, table);
	ReleaseSysCache(tuple);

	pg_attribute = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_attribute, AttributeRelidNumIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		acl = heap_getattr(tuple, Anum_pg_attribute_attacl, RelationGetDescr(pg_attribute), &isnull);
		if (!isnull)
			check_writers(acl, table);
	}
	systable_endscan(scan);
	table_close(pg_attribute, AccessShareLock);
}

/*
 * consolidate_rejected was not there before us unless somebody put it there;
 * whoever owns it reads what is written to it.
 */
void
TrustRejected(Oid relid)
{
	Oid			namespace = get_rel_namespace(relid);
	Oid			owner = TrustOwner(relid);

	if (get_rel_relkind(relid) == RELKIND_RELATION &&
		(TrustRole(owner) ||
		 owner == TrustOwner(get_relname_relid("consolidate_family", namespace))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("table \"consolidate_rejected\" cannot be trusted with rejected rows"),
			 errdetail("It must be an ordinary table of role \"%s\", of the extension's owner or of a superuser; its owner is \"%s\".",
					   GetUserNameFromId(GetUserId(), false), GetUserNameFromId(owner, false)),
			 errhint("Rename it, and the next call makes its own; or give it to the extension's owner.")));
}
