/*
 * inspect.c
 *	  May this table be consolidated?  What hangs on it, who owns it.
 *
 * Everything that DROP TABLE ... RESTRICT would refuse, and everything that
 * consolidate_restore could not bring back, is found here by looking, so that
 * no error (and no subtransaction) is needed for what is ordinary.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "consolidate/consolidate.h"

/* Before anything is locked: may this role read the table, and drop it? */
char *
InspectRights(Oid relid)
{
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		return psprintf("role \"%s\" is not its owner", GetUserNameFromId(GetUserId(), false));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return psprintf("role \"%s\" may not read it", GetUserNameFromId(GetUserId(), false));
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

/* In words; of a view, the view and not its rule. */
static char *
describe_dependant(Form_pg_depend dep)
{
	ObjectAddress address = {dep->classid, dep->objid, dep->objsubid};

	if (dep->classid == RewriteRelationId)
	{
		Relation	rewrite = table_open(RewriteRelationId, AccessShareLock);
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&key, Anum_pg_rewrite_oid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(dep->objid));
		scan = systable_beginscan(rewrite, RewriteOidIndexId, true, NULL, 1, &key);
		if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			address.classId = RelationRelationId;
			address.objectId = ((Form_pg_rewrite) GETSTRUCT(tuple))->ev_class;
			address.objectSubId = 0;
		}
		systable_endscan(scan);
		table_close(rewrite, AccessShareLock);
	}
	return psprintf("%s depends on it", getObjectDescription(&address, false));
}

/* Rights that somebody else passed on would come back as the owner's. */
static bool
has_foreign_grants(Relation source)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(source)));
	bool		isnull;
	Datum		datum;
	bool		found = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	datum = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	if (!isnull)
	{
		Acl		   *acl = DatumGetAclP(datum);
		int			i;

		for (i = 0; i < ACL_NUM(acl); i++)
			if (ACL_DAT(acl)[i].ai_grantor != source->rd_rel->relowner)
				found = true;
	}
	ReleaseSysCache(tuple);
	return found;
}

/*
 * The first object that depends on this one and would stop DROP ... RESTRICT,
 * in words, or NULL.  What belongs to the table and goes with it is counted in
 * *parts.
 */
static char *
find_dependant(Oid classid, Oid objid, int *parts)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *found = NULL;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(classid));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(objid));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
	while (found == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend dep = (Form_pg_depend) GETSTRUCT(tuple);
		bool		part = dep->deptype == DEPENDENCY_INTERNAL || dep->deptype == DEPENDENCY_AUTO;

		/* a column default: depends on the column, is no object to look at */
		if (dep->classid == AttrDefaultRelationId ||
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
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

/*
 * The table is open and locked (or, for the plan, locked weakly).  Returns
 * what is wrong with it, or NULL; *locks is about how many locks its drop
 * takes.
 */
char *
InspectSource(Relation source, int *locks)
{
	Form_pg_class form = source->rd_rel;
	List	   *indexes;
	ListCell   *lc;
	char	   *dependant;
	Oid			array_type;
	int			parts = 0;

	if (form->relkind != RELKIND_RELATION)
		return "is not an ordinary table";
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		return "is a temporary table";
	if (form->relispartition)
		return "is a partition";
	if (form->relhassubclass && has_subclass(RelationGetRelid(source)))
		return "has inheritance children";
	if (has_superclass(RelationGetRelid(source)))
		return "is an inheritance child";
	if (OidIsValid(form->reloftype))
		return "is a typed table";
	if (form->relhasrules)
		return "has a rule";
	if (form->relrowsecurity || form->relforcerowsecurity)
		return "has row security";
	if (form->relhastriggers && source->trigdesc != NULL)
	{
		Trigger    *trigger = &source->trigdesc->triggers[0];

		if (!trigger->tgisinternal)
			return psprintf("has a trigger (%s)", trigger->tgname);
		return OidIsValid(trigger->tgconstrrelid) ?
			psprintf("is part of a foreign key with \"%s\"", get_rel_name(trigger->tgconstrrelid)) :
			psprintf("has a trigger (%s)", trigger->tgname);
	}
	if (has_foreign_grants(source))
		return "has rights granted by somebody other than its owner";
	if (OidIsValid(getExtensionOfObject(RelationRelationId, RelationGetRelid(source))))
		return "belongs to an extension";

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
		dependant = find_dependant(RelationRelationId, lfirst_oid(lc), &parts);
		if (dependant)
			return dependant;
	}
	list_free(indexes);

	/* restoring rejected rows reads values of them, as whoever restores */
	dependant = TrustColumnTypes(source);
	if (dependant)
		return dependant;

	/* itself, its row type and array type, its toast table and that one's index */
	*locks = 3 + parts + (OidIsValid(form->reltoastrelid) ? 2 : 0);
	return NULL;
}
