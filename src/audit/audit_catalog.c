/*
 * audit_catalog.c
 *	  What the catalogs say of an audited table: its trigger, its key, its log.
 *
 * Which log.  audit_enable() writes a log's name into the trigger's arguments, where
 * a dump keeps it, and a dependency on the log itself into pg_depend: the log cannot
 * be dropped while something is written to it, and it is found again after it was
 * renamed or moved.  The name comes first, so that a log can be put aside and replaced
 * by another of the same owner, or of a trusted role.  A table that any other role
 * has put under the name is passed over.
 *
 * A trigger that was made by hand, by an older version or by restoring a dump has the
 * name alone.  If that is the name of the default log, a table that is younger than the
 * trigger, and that its owner could have put there, is refused.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/partition.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "audit/audit.h"
#include "common/catalog.h"
#include "common/hypertable.h"
#include "common/names.h"
#include "common/usercode.h"
#include "compat.h"

/* ---- triggers ------------------------------------------------------------------- */

/* The OID of fn_audit_trigger in the schema of another function of ours. */
Oid
AuditTriggerFunction(Oid fnoid)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						   CStringGetDatum("fn_audit_trigger"),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(get_func_namespace(fnoid)));
}

/*
 * A row of pg_trigger; false when there is none.  *conditional, if given, says whether
 * the trigger has a WHEN.
 */
static bool
read_trigger(Oid tgoid, FormData_pg_trigger *trigger, bool *conditional)
{
	CatalogRows rows;
	HeapTuple	tuple;
	bool		found;

	CatalogBegin(&rows, TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, tgoid);
	tuple = CatalogNext(&rows);
	found = HeapTupleIsValid(tuple);
	if (found)
		memcpy(trigger, GETSTRUCT(tuple), sizeof(FormData_pg_trigger));
	if (found && conditional)
		*conditional = !heap_attisnull(tuple, Anum_pg_trigger_tgqual, RelationGetDescr(rows.catalog));
	CatalogEnd(&rows);
	return found;
}

/*
 * The trigger of which this one is a clone (on a partition) or a copy (on a chunk: a
 * hypertable's triggers are made again there, under the same name and with nothing
 * in the catalogs that calls them copies); itself, if it is neither.  Fills *trigger.
 * False when there is no such trigger.
 */
static bool
read_original(Oid tgoid, FormData_pg_trigger *trigger, bool *conditional)
{
	FormData_pg_trigger its;
	Oid			hypertable;
	bool		found = false;

	while (OidIsValid(tgoid) && read_trigger(tgoid, trigger, conditional))
	{
		found = true;
		tgoid = trigger->tgparentid;
	}
	if (!found)
		return false;
	hypertable = HypertableOf(trigger->tgrelid);
	if (OidIsValid(hypertable) &&
		read_trigger(get_trigger_oid(hypertable, NameStr(trigger->tgname), true), &its, conditional) &&
		its.tgfoid == trigger->tgfoid)
		*trigger = its;
	return true;
}

/* The table on which a trigger was made, of which this one may be a clone or a copy. */
Oid
AuditTriggerRoot(Oid tgoid, Oid relid)
{
	FormData_pg_trigger trigger;

	return read_original(tgoid, &trigger, NULL) ? trigger.tgrelid : relid;
}

/*
 * Makes the trigger depend on the log: see the top of the file.  The trigger must be new,
 * or the dependency is there twice.
 */
void
AuditBindLog(Oid tgoid, Oid logid)
{
	ObjectAddress trigger = {TriggerRelationId, tgoid, 0};
	ObjectAddress log = {RelationRelationId, logid, 0};

	recordDependencyOn(&trigger, &log, DEPENDENCY_NORMAL);
}

/*
 * What else decides which log a trigger writes to: the trigger of which it is a clone,
 * and the log that one was bound to.  audit_enable() makes no condition; what a condition
 * refers to would look like a log.
 */
void
AuditReadBinding(Oid tgoid, AuditArgs *args)
{
	FormData_pg_trigger trigger;
	CatalogRows rows;
	HeapTuple	tuple;
	bool		conditional = false;

	args->tgoid = args->bound_log = InvalidOid;
	if (!read_original(tgoid, &trigger, &conditional))
		return;
	args->tgoid = trigger.oid;
	if (conditional)
		return;
	CatalogBeginPair(&rows, DependRelationId, DependDependerIndexId, Anum_pg_depend_classid, TriggerRelationId,
					 Anum_pg_depend_objid, trigger.oid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_depend dep = (Form_pg_depend) GETSTRUCT(tuple);

		if (dep->deptype == DEPENDENCY_NORMAL && dep->refclassid == RelationRelationId &&
			dep->refobjsubid == 0 && dep->refobjid != trigger.tgrelid)
			args->bound_log = dep->refobjid;
	}
	CatalogEnd(&rows);
}

/*
 * Is a trigger to be preferred to the one found before (of the table oldroot)?  One that is
 * enabled, then the one of the topmost table: it logs what both see.
 */
static bool
is_better(bool enabled, Oid root, bool oldenabled, Oid oldroot)
{
	if (enabled != oldenabled)
		return enabled;
	return root != oldroot && list_member_oid(get_partition_ancestors(oldroot), root);
}

/*
 * The arguments of the table's audit trigger, and the table on which that was made:
 * another one for a partition.  Of several the one that logs.  False when it has none;
 * 22023 when they cannot be read.
 */
bool
AuditFindTrigger(Oid relid, Oid fnoid, AuditArgs *args, Oid *root)
{
	CatalogRows rows;
	HeapTuple	tuple;
	Oid			tgoid = InvalidOid;
	bool		enabled = false;

	CatalogBegin(&rows, TriggerRelationId, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
		Oid			its_root;

		if (trigger->tgfoid != fnoid || !TRIGGER_FOR_ROW(trigger->tgtype))
			continue;
		its_root = AuditTriggerRoot(trigger->oid, relid);
		if (OidIsValid(tgoid) &&
			!is_better(trigger->tgenabled != TRIGGER_DISABLED, its_root, enabled, *root))
			continue;
		if (!AuditReadArgs(tuple, RelationGetDescr(rows.catalog), args))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the arguments of trigger \"%s\" on table \"%s\" cannot be read",
							NameStr(trigger->tgname), get_rel_name(relid)),
					 errhint("Drop the trigger, and call audit_enable(%s).", NamesLiteral(relid))));
		tgoid = trigger->oid;
		enabled = trigger->tgenabled != TRIGGER_DISABLED;
		*root = its_root;
	}
	CatalogEnd(&rows);
	if (OidIsValid(tgoid))
		AuditReadBinding(tgoid, args);
	return OidIsValid(tgoid);
}

/* ---- keys ------------------------------------------------------------------------ */

/* The columns of the primary key, else of the replica identity index, else NIL. */
List *
AuditIndexKey(Relation rel)
{
	List	   *names = NIL;
	bool		primary = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for index %u", lfirst_oid(lc));
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisprimary || (index->indisreplident && !primary))
		{
			names = NIL;
			primary = index->indisprimary;
			for (int i = 0; i < index->indnkeyatts; i++)
				names = lappend(names, get_attname(RelationGetRelid(rel),
												   index->indkey.values[i], false));
		}
		ReleaseSysCache(tuple);
	}
	return names;
}

/* The first of the names that no column has any more, else NULL. */
static char *
missing_column(Relation rel, List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (get_attnum(RelationGetRelid(rel), lfirst(lc)) <= 0)
			return lfirst(lc);
	}
	return NULL;
}

/*
 * The names of the key columns: those given, else those of the index.  If a given column
 * no longer exists, falls back to the index, with a WARNING (42703), rather than fail the
 * write.  42703 or 55000 when there is no index either.
 */
List *
AuditKeyNames(Relation rel, List *given)
{
	List	   *names = given;
	char	   *missing = missing_column(rel, given);

	if (names == NIL || missing)
		names = AuditIndexKey(rel);
	if (missing)
		ereport(names == NIL ? ERROR : WARNING,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("key column \"%s\" of the audit does not exist", missing),
				 names == NIL ?
				 errdetail("Table \"%s\" has no such column, and no primary key instead.",
						   RelationGetRelationName(rel)) :
				 errdetail("Table \"%s\" has no such column; rows are logged by its primary key "
						   "or replica identity instead.", RelationGetRelationName(rel)),
				 errhint("Call audit_enable(%s, key => ...) with the columns of its key.",
						 NamesLiteral(RelationGetRelid(rel)))));
	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" cannot be audited without a key",
						RelationGetRelationName(rel)),
				 errdetail("It has no primary key and no replica identity index."),
				 errhint("Name the key columns: audit_enable(%s, key => '{column}').",
						 NamesLiteral(RelationGetRelid(rel)))));
	return names;
}

/* Does a column hold integers?  *precision is the n of a numeric(n,0), else 0. */
bool
AuditIsInteger(Form_pg_attribute att, int *precision)
{
	int32		typmod = att->atttypmod;
	Oid			basetype = getBaseTypeAndTypmod(att->atttypid, &typmod);

	*precision = 0;
	if (basetype == INT2OID || basetype == INT4OID || basetype == INT8OID)
		return true;
	if (basetype != NUMERICOID || typmod < (int32) VARHDRSZ ||
		((typmod - VARHDRSZ) & 0x7ff) != 0)
		return false;
	*precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	return true;
}

/* Does this column of the table, which must exist, hold integers? */
bool
AuditIntegerKey(Relation rel, const char *column)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), column);
	int			precision;

	return AuditIsInteger(TupleDescAttr(RelationGetDescr(rel), attnum - 1), &precision);
}

/* ---- logs ------------------------------------------------------------------------ */

/*
 * Does this log belong to a role that can see the changes of the audited table anyway:
 * a superuser, the owner of the extension, of the log's schema or of that table (relid,
 * may be InvalidOid)?  fnoid: a function of ours, which says who owns the extension.
 */
bool
AuditTrustsLog(Oid logid, Oid relid, Oid fnoid)
{
	Oid			owner = CatalogOid(RELOID, logid, Anum_pg_class_relowner);

	return superuser_arg(owner) ||
		owner == CatalogOid(PROCOID, fnoid, Anum_pg_proc_proowner) ||
		owner == CatalogSchemaOwner(get_rel_namespace(logid)) ||
		(OidIsValid(relid) && owner == CatalogOid(RELOID, relid, Anum_pg_class_relowner));
}

/*
 * Raises 42501: the log was found by its name alone and is not trusted.  can_be_named: the
 * caller has an argument that takes the log.
 */
void
AuditRefuseLog(Oid logid, bool can_be_named)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("table \"%s\" is not trusted as an audit log", get_rel_name(logid)),
			 errdetail("It belongs to role \"%s\", which owns neither the schema nor the extension.",
					   GetUserNameFromId(CatalogOid(RELOID, logid, Anum_pg_class_relowner), true)),
			 can_be_named ?
			 errhint("Rename it, or make yourself its owner. If it is the right one, name it: audit_enable(..., log => %s).",
					 NamesLiteral(logid)) :
			 errhint("Rename it, or make yourself its owner.")));
}

/*
 * Could the owner of this log have put it there, uninvited, to read and rewrite the
 * history?  That needs CREATE on the schema, which the owner of a log that was handed
 * over need not have.
 */
static bool
could_be_planted(Oid logid, Oid relid, Oid fnoid)
{
	return !AuditTrustsLog(logid, relid, fnoid) &&
		object_aclcheck(NamespaceRelationId, get_rel_namespace(logid),
						CatalogOid(RELOID, logid, Anum_pg_class_relowner),
						ACL_CREATE) == ACLCHECK_OK;
}

/* 42501 unless the caller owns the log; 42P01 when there is none. */
void
AuditRequireOwner(Oid logid)
{
	char	   *name = get_rel_name(logid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", logid)));
	if (!object_ownercheck(RelationRelationId, logid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(logid)), name);
}

/* Could converting to this type run code of another role than this owner and superusers? */
static bool
type_brings_code(Oid type, Oid owner)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);

	/* the owner of a type can make casts to it */
	return UserCodeInType(type, owner) || !UserCodeTypeIsTrusted(base, owner) ||
		(OidIsValid(element) && !UserCodeTypeIsTrusted(getBaseType(element), owner));
}

/*
 * 42501 for a column of the log whose type belongs to neither the log's owner nor a
 * superuser: its casts and checks would run with the owner's rights.
 */
void
AuditRefuseForeignTypes(Relation log)
{
	TupleDesc	desc = RelationGetDescr(log);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && type_brings_code(att->atttypid, log->rd_rel->relowner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("column \"%s\" of audit log \"%s\" is of type %s, which can run code of a role that is not to be trusted with the rights of the log's owner",
							NameStr(att->attname), RelationGetRelationName(log),
							format_type_be(att->atttypid)),
					 errhint("ALTER TYPE ... OWNER TO the owner of the log, or change the column's type.")));
	}
}

/*
 * 42501 for a trigger of these tables, the log and parts of it, whose function belongs to
 * neither the log's owner nor a superuser: it would run with the owner's rights, and
 * the right TRIGGER, which default privileges can give, is enough to make it.
 */
void
AuditRefuseTriggers(Oid logid, List *tables)
{
	Oid			owner = CatalogOwner(logid);
	ListCell   *lc;

	foreach(lc, tables)
	{
		char	   *trigger = UserCodeInTriggers(lfirst_oid(lc), owner, false);

		if (trigger != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("audit log \"%s\" would run code of a role that is not to be trusted with the rights of the log's owner",
							get_rel_name(logid)),
					 errdetail("The %s.", trigger),
					 errhint("Drop the trigger, and REVOKE TRIGGER on the table; or give its function to the owner of the log.")));
	}
}

/*
 * A partition of the log (tables: as find_all_inheritors lists them) that belongs to
 * neither the log's owner nor a superuser brings code that would run with rights which
 * are not its owner's; and so does a column's type.
 */
void
AuditRefuseStranger(List *tables)
{
	Oid			stranger = UserCodeStranger(tables);
	char	   *name = OidIsValid(stranger) ? get_rel_name(stranger) : NULL;
	Relation	log;

	if (name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("partition \"%s\" of audit log \"%s\" belongs to role \"%s\", which is not to be trusted with the rights of the log's owner",
						name, get_rel_name(linitial_oid(tables)),
						GetUserNameFromId(CatalogOid(RELOID, stranger, Anum_pg_class_relowner), true)),
				 errhint("ALTER TABLE ... OWNER TO the owner of the log, or detach the partition.")));
	log = try_relation_open(linitial_oid(tables), AccessShareLock);
	if (log == NULL)
		return;
	AuditRefuseForeignTypes(log);
	relation_close(log, AccessShareLock);
}

/*
 * The log that a trigger of the table relid writes to, see the top of the file.
 * InvalidOid where missing_ok and there is none; else an error: 42P01 there is none,
 * 42501 it is not trusted.
 */
Oid
AuditResolveLog(const AuditArgs *args, Oid fnoid, Oid relid, bool missing_ok)
{
	Oid			nspoid = args->log_schema ? get_namespace_oid(args->log_schema, true)
	: get_func_namespace(fnoid);
	Oid			named = OidIsValid(nspoid) ? get_relname_relid(args->log_name, nspoid) : InvalidOid;
	Oid			bound = args->bound_log;

	if (OidIsValid(bound) && get_rel_relkind(bound) == '\0')
		bound = InvalidOid;
	if (OidIsValid(bound) && (!OidIsValid(named) ||
							  (named != bound && !AuditTrustsLog(named, relid, fnoid) &&
							   CatalogOid(RELOID, named, Anum_pg_class_relowner) !=
							   CatalogOid(RELOID, bound, Anum_pg_class_relowner))))
		return bound;
	if (OidIsValid(named) && !OidIsValid(bound) && args->log_schema == NULL &&
		named > args->tgoid && could_be_planted(named, relid, fnoid))
	{
		if (missing_ok)
			return InvalidOid;
		AuditRefuseLog(named, true);
	}
	if (!OidIsValid(named) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the audit log \"%s\" does not exist", args->log_name),
				 errdetail("It is expected in schema \"%s\".",
						   args->log_schema ? args->log_schema : get_namespace_name(nspoid)),
				 errhint("Create it with audit_install().")));
	return named;
}

/* Does this log still have the name that the arguments say? */
bool
AuditHasName(Oid logid, const AuditArgs *args, Oid fnoid)
{
	const char *name = get_rel_name(logid);
	Oid			nspoid = args->log_schema ? get_namespace_oid(args->log_schema, true)
	: get_func_namespace(fnoid);

	return name != NULL && strcmp(name, args->log_name) == 0 && get_rel_namespace(logid) == nspoid;
}

/* 55000 when the log is the table itself, or one of which the table is a part. */
void
AuditRefuseOwnLog(Relation rel, Oid logid)
{
	bool		own = RelationGetRelid(rel) == logid;

	if (!own && rel->rd_rel->relispartition)
		own = list_member_oid(get_partition_ancestors(RelationGetRelid(rel)), logid);
	else if (!own)
		own = HypertableOf(RelationGetRelid(rel)) == logid;
	if (own)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("an audit log cannot audit itself"),
				 errdetail("Table \"%s\" is the log, or a partition of it.",
						   RelationGetRelationName(rel)),
				 errhint("Drop the trigger: audit_disable(%s).",
						 NamesLiteral(RelationGetRelid(rel)))));
}
