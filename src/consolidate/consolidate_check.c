/*
 * consolidate_check.c
 *	  May this table be consolidated?  What hangs on it, who owns it.
 *
 * Everything that DROP TABLE ... RESTRICT would refuse, and everything that
 * consolidate_restore could not bring back, is found here by looking, so that
 * no error (and no subtransaction) is needed for what is ordinary.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_seclabel.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "common/catalog.h"
#include "common/hypertable.h"
#include "common/usercode.h"
#include "compat.h"
#include "consolidate/consolidate.h"

/* Before anything is locked: may this role read the table, and drop it? */
ConsolidateProblem *
ConsolidateCheckRights(Oid relid)
{
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		return ConsolidateProblemOf(PROBLEM_NO_RIGHT,
									"role \"%s\" is not its owner",
									GetUserNameFromId(GetUserId(), false));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return ConsolidateProblemOf(PROBLEM_NO_RIGHT,
									"role \"%s\" may not read it",
									GetUserNameFromId(GetUserId(), false));
	return NULL;
}

/* A check, key or NOT NULL of the table itself (a CHECK depends on its columns). */
static bool
is_own_constraint(Oid constraint, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	Form_pg_constraint form;
	bool		own;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_constraint) GETSTRUCT(tuple);
	own = form->conrelid == relid && form->contype != CONSTRAINT_FOREIGN;
	ReleaseSysCache(tuple);
	return own;
}

/*
 * A default of the table itself that refers to a column of it, as generated
 * ones do.  A default that refers to the table itself (as a regclass) could not be
 * made before the table.
 */
static bool
is_own_default(Form_pg_depend dep)
{
	CatalogRows rows;
	HeapTuple	tuple;
	bool		own;

	if (dep->deptype != DEPENDENCY_NORMAL)
		return true;
	if (dep->refobjsubid == 0)
		return false;
	CatalogBegin(&rows, AttrDefaultRelationId, AttrDefaultOidIndexId, Anum_pg_attrdef_oid,
				 dep->objid);
	tuple = CatalogNext(&rows);
	own = HeapTupleIsValid(tuple) &&
		((Form_pg_attrdef) GETSTRUCT(tuple))->adrelid == dep->refobjid;
	CatalogEnd(&rows);
	return own;
}

/* The problem that an object depends on the table; of a view, the view and not its rule. */
static ConsolidateProblem *
describe_dependant(Form_pg_depend dep)
{
	ObjectAddress address = {dep->classid, dep->objid, dep->objsubid};

	if (dep->classid == RewriteRelationId)
	{
		CatalogRows rows;
		HeapTuple	tuple;

		CatalogBegin(&rows, RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid, dep->objid);
		if (HeapTupleIsValid(tuple = CatalogNext(&rows)))
		{
			address.classId = RelationRelationId;
			address.objectId = ((Form_pg_rewrite) GETSTRUCT(tuple))->ev_class;
			address.objectSubId = 0;
		}
		CatalogEnd(&rows);
	}
	return ConsolidateProblemOf(PROBLEM_DEPENDENT,
								"%s depends on it", getObjectDescription(&address, false));
}

static bool
is_granted_by_others(Datum acl_datum, Oid owner)
{
	Acl		   *acl = DatumGetAclP(acl_datum);

	for (int i = 0; i < ACL_NUM(acl); i++)
		if (ACL_DAT(acl)[i].ai_grantor != owner)
			return true;
	return false;
}

/*
 * Has somebody else than the owner granted rights on the table or a column?  They would
 * be restored as granted by the owner.
 */
static bool
has_foreign_grants(Relation source)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(source)));
	CatalogRows rows;
	bool		isnull;
	Datum		acl;
	bool		found = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	acl = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	found = !isnull && is_granted_by_others(acl, source->rd_rel->relowner);
	ReleaseSysCache(tuple);

	CatalogBegin(&rows, AttributeRelationId, AttributeRelidNumIndexId,
				 Anum_pg_attribute_attrelid, RelationGetRelid(source));
	while (!found && HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		acl = CatalogField(&rows, tuple, Anum_pg_attribute_attacl, &isnull);
		found = !isnull && is_granted_by_others(acl, source->rd_rel->relowner);
	}
	CatalogEnd(&rows);
	return found;
}

/* Is there a row with this OID in a column of a catalog?  The index begins with it. */
static bool
is_in_catalog(Oid catalog, Oid index, AttrNumber column, Oid relid)
{
	CatalogRows rows;
	bool		found;

	CatalogBegin(&rows, catalog, index, column, relid);
	found = HeapTupleIsValid(CatalogNext(&rows));
	CatalogEnd(&rows);
	return found;
}

/* Properties stored elsewhere in the catalogs, which ConsolidateDeparseTable does not write. */
static ConsolidateProblem *
find_unwritten(Relation source)
{
	Oid			relid = RelationGetRelid(source);
	HeapTuple	tuple;
	bool		isnull;

	if (has_foreign_grants(source))
		return ConsolidateProblemOf(PROBLEM_RIGHTS,
									"has rights granted by somebody other than its owner");
	if (is_in_catalog(SecLabelRelationId, SecLabelObjectIndexId, Anum_pg_seclabel_objoid, relid))
		return ConsolidateProblemOf(PROBLEM_SECURITY_LABEL, "has a security label");
	if (is_in_catalog(SubscriptionRelRelationId, SubscriptionRelSrrelidSrsubidIndexId,
					  Anum_pg_subscription_rel_srrelid, relid))
		return ConsolidateProblemOf(PROBLEM_SUBSCRIPTION, "is filled by a subscription");
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(source->rd_rel->reltype));
	if (HeapTupleIsValid(tuple))
	{
		(void) SysCacheGetAttr(TYPEOID, tuple, Anum_pg_type_typacl, &isnull);
		ReleaseSysCache(tuple);
		if (!isnull)
			return ConsolidateProblemOf(PROBLEM_RIGHTS,
										"has rights granted or revoked on its row type");
	}
	return NULL;
}

/* A deferrable key of its own has an internal trigger, and is no problem. */
static ConsolidateProblem *
find_trigger(Relation source)
{
	for (int i = 0; source->trigdesc && i < source->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &source->trigdesc->triggers[i];

		if (!trigger->tgisinternal)
			return ConsolidateProblemOf(PROBLEM_TRIGGER,
										"has a trigger (%s)", trigger->tgname);
		if (OidIsValid(trigger->tgconstrrelid))
			return ConsolidateProblemOf(PROBLEM_FOREIGN_KEY,
										"is part of a foreign key with \"%s\"",
										get_rel_name(trigger->tgconstrrelid));
	}
	return NULL;
}

/* The problem of an index that could not be made again as it is, or NULL. */
static ConsolidateProblem *
check_index(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool		valid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	valid = ((Form_pg_index) GETSTRUCT(tuple))->indisvalid;
	ReleaseSysCache(tuple);
	if (!valid)
		return ConsolidateProblemOf(PROBLEM_INVALID_INDEX,
									"has an invalid index (%s)", get_rel_name(index));
	if (getAutoExtensionsOfObject(RelationRelationId, index) != NIL)
		return ConsolidateProblemOf(PROBLEM_EXTENSION,
									"has an index (%s) that depends on an extension",
									get_rel_name(index));
	return NULL;
}

/*
 * The first object that depends on this one and would stop DROP ... RESTRICT,
 * in words, or NULL.  What belongs to the table and goes with it is counted in
 * *parts.
 */
static ConsolidateProblem *
find_dependant(Oid classid, Oid objid, int *parts)
{
	CatalogRows rows;
	HeapTuple	tuple;
	ConsolidateProblem *found = NULL;

	CatalogBeginPair(&rows, DependRelationId, DependReferenceIndexId,
					 Anum_pg_depend_refclassid, classid,
					 Anum_pg_depend_refobjid, objid);
	while (found == NULL && HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Form_pg_depend dep = (Form_pg_depend) GETSTRUCT(tuple);
		bool		part = dep->deptype == DEPENDENCY_INTERNAL || dep->deptype == DEPENDENCY_AUTO;

		if ((dep->classid == AttrDefaultRelationId && is_own_default(dep)) ||
			(dep->classid == RelationRelationId && dep->objid == objid))
		{
			(*parts)++;
			continue;
		}
		/* sequences of serial columns would be re-made with another state */
		if (dep->classid == RelationRelationId && get_rel_relkind(dep->objid) == RELKIND_SEQUENCE)
			part = false;
		if (dep->classid == ConstraintRelationId && classid == RelationRelationId)
			part = is_own_constraint(dep->objid, objid);
		if (dep->classid == StatisticExtRelationId || dep->classid == PolicyRelationId ||
			dep->classid == TriggerRelationId || dep->classid == PublicationRelRelationId)
			part = false;
		if (part)
			(*parts)++;
		else
			found = describe_dependant(dep);
	}
	CatalogEnd(&rows);
	return found;
}

/*
 * The table is open and locked (or, for the plan, locked weakly).  Returns
 * the problem, or NULL; then *locks is about how many locks its drop takes.
 */
ConsolidateProblem *
ConsolidateCheckSource(Relation source, int *locks)
{
	Form_pg_class form = source->rd_rel;
	List	   *indexes;
	ListCell   *lc;
	ConsolidateProblem *dependant;
	char	   *user_code;
	Oid			array_type;
	int			parts = 0;

	if (form->relkind != RELKIND_RELATION)
		return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is not an ordinary table");
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is a temporary table");
	if (form->relispartition)
		return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is a partition");
	if (form->relhassubclass && has_subclass(RelationGetRelid(source)))
		return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "has inheritance children");
	if (has_superclass(RelationGetRelid(source)))
		return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is an inheritance child");
	if (OidIsValid(form->reloftype))
		return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE, "is a typed table");
	/* relhasrules stays after the last rule has gone */
	if (source->rd_rules != NULL)
		return ConsolidateProblemOf(PROBLEM_RULE, "has a rule");
	if (form->relrowsecurity || form->relforcerowsecurity)
		return ConsolidateProblemOf(PROBLEM_ROW_SECURITY, "has row security");
	if ((dependant = find_trigger(source)) != NULL || (dependant = find_unwritten(source)) != NULL)
		return dependant;
	if (OidIsValid(getExtensionOfObject(RelationRelationId, RelationGetRelid(source))))
		return ConsolidateProblemOf(PROBLEM_EXTENSION, "belongs to an extension");

	dependant = find_dependant(RelationRelationId, RelationGetRelid(source), &parts);
	if (dependant == NULL)
		dependant = find_dependant(TypeRelationId, form->reltype, &parts);
	array_type = get_array_type(form->reltype);
	if (dependant == NULL && OidIsValid(array_type))
		dependant = find_dependant(TypeRelationId, array_type, &parts);
	if (dependant)
		return dependant;

	indexes = RelationGetIndexList(source);
	foreach(lc, indexes)
	{
		dependant = check_index(lfirst_oid(lc));
		if (dependant == NULL)
			dependant = find_dependant(RelationRelationId, lfirst_oid(lc), &parts);
		if (dependant)
			return dependant;
	}
	list_free(indexes);

	/* the target gets columns of these types, and whoever inserts into it runs their code */
	user_code = UserCodeInColumns(source, GetUserId());
	if (user_code)
		return ConsolidateProblemOf(PROBLEM_USER_CODE, "%s", user_code);

	/* reading it would find nothing, and dropping it would drop what is there */
	if (HypertableTakesRows(source))
		return ConsolidateProblemOf(PROBLEM_NOT_A_TABLE,
									"is a table whose rows an extension keeps elsewhere (a hypertable?)");

	/* itself, its row type and array type, its toast table and that one's index */
	*locks = 3 + parts + (OidIsValid(form->reltoastrelid) ? 2 : 0);
	return NULL;
}
