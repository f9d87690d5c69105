/*
 * aquacis_rights.c
 *	  Rights on the extension's own objects: two functions that its scripts call.
 *
 * ALTER DEFAULT PRIVILEGES of the role that runs CREATE EXTENSION applies to what the
 * extension's scripts create: an application that was given every new table got the
 * extension's records, too.  aquacis_revoke_default_rights() takes such rights back.  It
 * runs right after the objects were created, or years later in an update.  Then some of
 * the rights were granted by hand, and those have to stay.  Three ACLs tell:
 *
 *   - the object's own ACL, which has both kinds;
 *   - what ALTER DEFAULT PRIVILEGES of the object's owner gives now;
 *   - pg_init_privs: the ACL after the GRANT or REVOKE of the script.  It has a row only
 *     where there was such a command.  Our scripts grant to PUBLIC alone, so that any
 *     other role in it was put there by default privileges.
 *
 * A right is taken back when one of the last two gives it.  A right that was granted by
 * hand and is given by default, too, cannot be told from one given by default alone: it
 * goes.  One that came by default privileges which have been changed since, on an object
 * without a row in pg_init_privs, cannot be told from one granted by hand: it stays.
 *
 * An update says in a WARNING what it takes back.
 *
 * GRANT and REVOKE inside of an extension's script write the object's whole ACL into
 * pg_init_privs, and what stands there pg_dump does not write.  So they are executed as if
 * outside of the script, unless the object's ACL and pg_init_privs are alike: otherwise a
 * dump would lose what was granted by hand.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_init_privs.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "common/catalog.h"
#include "common/rights.h"
#include "common/spi.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(aquacis_revoke_default_rights);
PG_FUNCTION_INFO_V1(aquacis_copy_rights);

/* An object of the extension that has an ACL. */
typedef struct Object
{
	ObjectType	type;			/* OBJECT_TABLE for views, too */
	const char *name;			/* as GRANT names it: kind, qualified name, argument types */
	Oid			owner;
	Oid			schema;
	Acl		   *acl;			/* NULL: as PostgreSQL gives it */
	Acl		   *initial;		/* the row in pg_init_privs, or NULL */
	bool		is_new;			/* created by this transaction */
} Object;

/* ---- what an object is and has ---------------------------------------------------- */

static Acl *
acl_copy(Datum datum, bool isnull)
{
	return isnull ? NULL : DatumGetAclPCopy(datum);
}

static Acl *
initial_acl(Oid catalog, Oid oid)
{
	CatalogRows rows;
	HeapTuple	tuple;
	Acl		   *acl = NULL;

	CatalogBeginPair(&rows, InitPrivsRelationId, InitPrivsObjIndexId,
					 Anum_pg_init_privs_objoid, oid, Anum_pg_init_privs_classoid, catalog);
	while ((tuple = CatalogNext(&rows)) != NULL)
	{
		bool		isnull;
		Datum		datum = CatalogField(&rows, tuple, Anum_pg_init_privs_initprivs, &isnull);

		if (((Form_pg_init_privs) GETSTRUCT(tuple))->objsubid == 0)
			acl = acl_copy(datum, isnull);
	}
	CatalogEnd(&rows);
	return acl;
}

/* Returns false for what has no rights of its own, an index or a row type. */
static bool
read_relation(Oid oid, Object *object)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	Form_pg_class form;
	Datum		datum;
	bool		isnull;
	bool		has_rights;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", oid);
	form = (Form_pg_class) GETSTRUCT(tuple);
	has_rights = strchr("rpvmfS", form->relkind) != NULL;
	if (has_rights)
	{
		object->type = form->relkind == RELKIND_SEQUENCE ? OBJECT_SEQUENCE : OBJECT_TABLE;
		object->name = psprintf("%s %s", form->relkind == RELKIND_SEQUENCE ? "SEQUENCE" : "TABLE",
								quote_qualified_identifier(get_namespace_name(form->relnamespace),
														   NameStr(form->relname)));
		object->owner = form->relowner;
		object->schema = form->relnamespace;
		datum = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
		object->acl = acl_copy(datum, isnull);
		object->initial = initial_acl(RelationRelationId, oid);
	}
	ReleaseSysCache(tuple);
	return has_rights;
}

static void
read_function(Oid oid, Object *object)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
	Form_pg_proc form;
	Datum		datum;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", oid);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	object->type = OBJECT_FUNCTION;
	object->name = psprintf("ROUTINE %s", format_procedure_qualified(oid));
	object->owner = form->proowner;
	object->schema = form->pronamespace;
	datum = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proacl, &isnull);
	object->acl = acl_copy(datum, isnull);
	object->initial = initial_acl(ProcedureRelationId, oid);
	ReleaseSysCache(tuple);
}

/*
 * The objects that belong to the extension whose script is running and have rights that
 * the script did not leave to everybody: an Object each, palloc'd.
 */
static List *
closed_objects(void)
{
	List	   *objects = NIL;
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBeginPair(&rows, DependRelationId, DependReferenceIndexId,
					 Anum_pg_depend_refclassid, ExtensionRelationId,
					 Anum_pg_depend_refobjid, CurrentExtensionObject);
	while ((tuple = CatalogNext(&rows)) != NULL)
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);
		Object	   *object = palloc0(sizeof(Object));

		if (depend->deptype != DEPENDENCY_EXTENSION)
			continue;
		object->is_new = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
		if (depend->classid == RelationRelationId)
		{
			if (read_relation(depend->objid, object))
				objects = lappend(objects, object);
		}
		else if (depend->classid == ProcedureRelationId)
		{
			/* a function that no script has closed is for everybody */
			read_function(depend->objid, object);
			if (object->initial != NULL)
				objects = lappend(objects, object);
		}
	}
	CatalogEnd(&rows);
	return objects;
}

/* ---- what was given by default ------------------------------------------------------ */

/* The rights that an ACL gives to a role by its name. */
static AclMode
rights_of(const Acl *acl, Oid role)
{
	AclMode		rights = ACL_NO_RIGHTS;

	if (acl == NULL)
		return rights;
	for (int i = 0; i < ACL_NUM(acl); i++)
		if (ACL_DAT(acl)[i].ai_grantee == role)
			rights |= ACLITEM_GET_PRIVS(ACL_DAT(acl)[i]);
	return rights;
}

/* Those of a role's rights on an object that default privileges gave, see above. */
static AclMode
given_by_default(const Object *object, const Acl *defaults, Oid role)
{
	AclMode		given = rights_of(defaults, role);

	if (role != ACL_ID_PUBLIC)
		return given | rights_of(object->initial, role);
	/* what PostgreSQL gives without being asked, and what our scripts grant */
	given &= ~rights_of(acldefault(object->type, object->owner), role);
	if (object->initial != NULL && object->type == OBJECT_TABLE)
		given &= ~ACL_SELECT;
	return given;
}

/* A GRANT or REVOKE that leaves pg_init_privs alone, see above. */
static void
run_unrecorded(const char *command)
{
	/* after an error nobody looks at it: the end of the script resets it */
	creating_extension = false;
	SpiRun(command);
	creating_extension = true;
}

/*
 * Takes back what default privileges gave on one object that has an ACL.  Says so where
 * somebody may have worked with these rights.
 */
static void
revoke_default_rights(const Object *object)
{
	const Acl  *defaults = get_user_default_acl(object->type, object->owner, object->schema);
	bool		recorded = object->initial != NULL && aclequal(object->initial, object->acl);

	for (int i = 0; i < ACL_NUM(object->acl); i++)
	{
		AclItem    *item = &ACL_DAT(object->acl)[i];
		AclMode		given;
		char	   *command;

		if (item->ai_grantor != object->owner || item->ai_grantee == object->owner)
			continue;
		given = ACLITEM_GET_PRIVS(*item) & given_by_default(object, defaults, item->ai_grantee);
		if (given == ACL_NO_RIGHTS)
			continue;
		command = psprintf("REVOKE %s ON %s FROM %s CASCADE", RightsText(given, ""), object->name,
						   RightsRole(item->ai_grantee));
		if (recorded)
			SpiRun(command);
		else
			run_unrecorded(command);
		/* a WARNING, because scripts of extensions show nothing less */
		if (!object->is_new)
			ereport(WARNING,
					(errmsg("the update takes back rights that default privileges gave: %s", command),
					 errhint("What was meant to be so has to be granted again.")));
	}
}

/* ---- what the scripts call ---------------------------------------------------------- */

static void
require_script(void)
{
	if (!creating_extension || !OidIsValid(CurrentExtensionObject))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function can be called only by a script that CREATE EXTENSION or "
						"ALTER EXTENSION runs")));
}

/*
 * aquacis_revoke_default_rights(): takes back what default privileges gave to others on
 * the tables, views, sequences and closed functions of the extension whose script is
 * running.  Raises 0A000 outside of a script.
 */
Datum
aquacis_revoke_default_rights(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	require_script();
	SPI_connect();
	foreach(lc, closed_objects())
	{
		const Object *object = lfirst(lc);

		if (object->acl != NULL)
			revoke_default_rights(object);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * aquacis_copy_rights(old, new): grants on the function new what others than the owner
 * may do with the function old, grant options included, and takes from everybody what
 * was taken from them there.  For a function that a script drops and creates again, after aquacis_revoke_default_rights().  Raises 0A000 outside
 * of a script.
 */
Datum
aquacis_copy_rights(PG_FUNCTION_ARGS)
{
	Object		old = {0};
	Object		new = {0};

	require_script();
	SPI_connect();
	read_function(PG_GETARG_OID(0), &old);
	read_function(PG_GETARG_OID(1), &new);
	if (old.acl == NULL && new.acl == NULL)
	{
		SPI_finish();
		PG_RETURN_VOID();
	}
	if (old.acl == NULL)
		old.acl = acldefault(old.type, old.owner);
	if ((rights_of(old.acl, ACL_ID_PUBLIC) & ACL_EXECUTE) == 0)
		run_unrecorded(psprintf("REVOKE EXECUTE ON %s FROM PUBLIC", new.name));
	for (int i = 0; i < ACL_NUM(old.acl); i++)
	{
		AclItem    *item = &ACL_DAT(old.acl)[i];

		if (item->ai_grantee != old.owner)
			run_unrecorded(psprintf("GRANT EXECUTE ON %s TO %s%s", new.name,
									RightsRole(item->ai_grantee),
									ACLITEM_GET_GOPTIONS(*item) ? " WITH GRANT OPTION" : ""));
	}
	SPI_finish();
	PG_RETURN_VOID();
}
