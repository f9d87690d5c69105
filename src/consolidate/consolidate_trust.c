/*
 * consolidate_trust.c
 *	  Who may be trusted with what a run moves, and as whom it runs.
 *
 * Whatever touches the target (reading it, planning to, computing its defaults,
 * storing rows) can run code that its owner has put there: it is done as that owner
 * unless the caller trusts him (common/usercode.h).  The sources are never named in
 * SQL: they are scanned, so that nothing of theirs is planned.
 *
 * Moving rows gives nobody a right on them that he did not have.  Otherwise anybody who
 * can make a table in the schema could make the target first, and then read and delete
 * everybody's rows; or make a source, and add rows of his own to those of others.
 * So the target's owner must be allowed to read and delete the source's rows, and the
 * source's owner to insert into the target.  The caller, superusers and the schema's
 * owner, who could drop both tables, need no such right.
 *
 * Our own tables control what is done.  They must belong to a trusted role and have no
 * triggers of other roles, which default privileges may allow to create some.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "common/catalog.h"
#include "common/usercode.h"
#include "compat.h"
#include "consolidate/consolidate.h"

/* How many tables a role has. */
typedef struct OwnerCount
{
	Oid			owner;			/* hash key */
	int			tables;
} OwnerCount;

/* ---- the target --------------------------------------------------------------------- */

static void
refuse_row_security(Family *family, Oid role)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("row security hides rows of target \"%s.%s\" from role \"%s\"",
					family->schema, family->target, GetUserNameFromId(role, false)),
			 errhint("Call as the owner of the target, or as a role with BYPASSRLS.")));
}

/*
 * Rights of the caller on the target: what runs as its owner, and rows that are put into
 * it without the executor, would not be asked.  Each right by itself: of several together,
 * one would be enough for pg_class_aclcheck().  42501 for one that is missing.
 */
void
ConsolidateCheckTargetRights(Family *family, AclMode rights)
{
	static const AclMode each[] = {ACL_SELECT, ACL_INSERT, ACL_DELETE};

	for (int i = 0; i < lengthof(each); i++)
		if ((rights & each[i]) != 0 &&
			pg_class_aclcheck(family->target_oid, GetUserId(), each[i]) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, family->target);
}

/* Raises 42501 for policies of the target that would be passed over. */
static void
refuse_policies(Family *family, Oid owner)
{
	if (check_enable_rls(family->target_oid, InvalidOid, true) == RLS_ENABLED)
		refuse_row_security(family, GetUserId());
	if (check_enable_rls(family->target_oid, owner, true) == RLS_ENABLED)
		refuse_row_security(family, owner);
}

/*
 * Triggers that somebody with the right TRIGGER has put on a target would run as the
 * caller, or as its owner, as whom the others run: 42501.  For writing, the lock that is
 * taken keeps new ones away until the end of the transaction.
 */
void
ConsolidateCheckTargetTriggers(Family *family, LOCKMODE lockmode)
{
	List	   *tables = has_subclass(family->target_oid) ?
	find_all_inheritors(family->target_oid, lockmode, NULL) :
	list_make1_oid(family->target_oid);
	Oid			user = CatalogOwner(family->target_oid);
	ListCell   *lc;

	if (UserCodeRoleIsTrusted(user))
		user = GetUserId();
	foreach(lc, tables)
	{
		char	   *trigger;

		LockRelationOid(lfirst_oid(lc), lockmode);
		trigger = UserCodeInTriggers(lfirst_oid(lc), user, true);
		if (trigger)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("target \"%s.%s\" would run code of a role that is not trusted",
							family->schema, family->target),
					 errdetail("The %s.", trigger),
					 errhint("Drop the trigger and REVOKE TRIGGER on the table, or give its function to a role you trust.")));
	}
	list_free(tables);
}

/*
 * We know the target by its OID, but SQL knows it by its name, which its schema's owner
 * can give to another table: then 55000.  The lock keeps the name until the transaction
 * ends.
 */
void
ConsolidateCheckTargetName(Family *family, LOCKMODE lockmode)
{
	LockRelationOid(family->target_oid, lockmode);
	if (get_namespace_oid(family->schema, true) != family->schema_oid ||
		get_relname_relid(family->target, family->schema_oid) != family->target_oid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s.%s\" was dropped or renamed by somebody else",
						family->schema, family->target),
				 errhint("Call again.")));
}

/*
 * The role as which the target is used with these rights: its owner, who becomes the
 * current user for that if he is not trusted (UserCodeEnter and the like).  42501 where
 * that is not safe; 55000 when another table has the target's name.
 *
 * The lock keeps its owner and, for writing, its triggers as they are until the
 * transaction ends.  Every transaction repeats the check.
 */
Oid
ConsolidateTargetUser(Family *family, AclMode rights)
{
	List	   *tables;
	Oid			stranger;
	Oid			owner;
	bool		writing = (rights & (ACL_INSERT | ACL_DELETE)) != 0;

	ConsolidateCheckTargetName(family, writing ? RowExclusiveLock : AccessShareLock);
	owner = CatalogOwner(family->target_oid);
	tables = has_subclass(family->target_oid) ?
		find_all_inheritors(family->target_oid, NoLock, NULL) : list_make1_oid(family->target_oid);
	stranger = UserCodeStranger(tables);
	if (OidIsValid(stranger))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("target \"%s.%s\" could run code of role \"%s\"", family->schema, family->target,
						GetUserNameFromId(CatalogOwner(stranger), false)),
				 errdetail("Its partition or child \"%s\" belongs to that role.", get_rel_name(stranger)),
				 errhint("ALTER TABLE ... OWNER TO the owner of the target.")));
	ConsolidateCheckTargetRights(family, rights);
	refuse_policies(family, owner);
	if (writing)
		ConsolidateCheckTargetTriggers(family, RowExclusiveLock);
	list_free(tables);
	return owner;
}

/* ---- sources and target ------------------------------------------------------------ */

/* An owner counts as having all rights: he can grant himself those that he lacks. */
static bool
may_insert(Family *family, Oid role, Oid target_owner)
{
	return has_privs_of_role(role, target_owner) ||
		(OidIsValid(family->target_oid) &&
		 pg_class_aclcheck(family->target_oid, role, ACL_INSERT) == ACLCHECK_OK);
}

static bool
may_read_and_delete(Oid role, Oid relid, Oid owner)
{
	return has_privs_of_role(role, owner) ||
		(pg_class_aclcheck(relid, role, ACL_SELECT) == ACLCHECK_OK &&
		 pg_class_aclcheck(relid, role, ACL_DELETE) == ACLCHECK_OK);
}

/*
 * Would moving the rows of this source into a target of this owner give somebody a
 * right on them that he has not?  Returns the problem, in words, or NULL.
 */
ConsolidateProblem *
ConsolidateOwnersProblem(Family *family, Oid source, Oid target_owner)
{
	Oid			schema = CatalogSchemaOwner(family->schema_oid);
	Oid			owner = CatalogOwner(source);

	if (!UserCodeRoleIsTrusted(target_owner) && target_owner != schema &&
		!may_read_and_delete(target_owner, source, owner))
		return ConsolidateProblemOf(PROBLEM_OWNER,
									"its rows would go to role \"%s\", which owns the target"
									" and may not read and delete them now",
									GetUserNameFromId(target_owner, false));
	if (!UserCodeRoleIsTrusted(owner) && owner != schema &&
		!may_insert(family, owner, target_owner))
		return ConsolidateProblemOf(PROBLEM_OWNER,
									"belongs to role \"%s\", which may not insert into the target",
									GetUserNameFromId(owner, false));
	return NULL;
}

/*
 * The owner of a new target: the role that owns most of the tables that go into it.  It
 * is the caller if that role is himself or a superuser, or if he cannot give it away.
 */
Oid
ConsolidateNewTargetOwner(Family *family, List *sources)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(OwnerCount),
	.hcxt = CurrentMemoryContext};
	HTAB	   *owners = hash_create("aquacis owners", 16, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	OwnerCount *most = NULL;
	ListCell   *lc;
	Oid			owner;

	foreach(lc, sources)
	{
		Source	   *source = lfirst(lc);
		OwnerCount *one;
		bool		found;

		if (source->problem)
			continue;
		one = hash_search(owners, &source->owner, HASH_ENTER, &found);
		one->tables = found ? one->tables + 1 : 1;
		if (most == NULL || one->tables > most->tables)
			most = one;
	}
	owner = most ? most->owner : GetUserId();
	hash_destroy(owners);
	if (UserCodeRoleIsTrusted(owner) ||
		(!superuser() && object_aclcheck(NamespaceRelationId, family->schema_oid, owner,
										 ACL_CREATE) != ACLCHECK_OK))
		return GetUserId();
	return owner;
}

/* ---- our own tables ------------------------------------------------------------------- */

/*
 * Checks a table that tells us what to do, or takes what we write: 42501 when its owner
 * is not trusted or somebody else has a trigger on it, whose code would run as the
 * caller.
 */
static void
check_own_table(Oid relid, LOCKMODE lockmode)
{
	Relation	rel = try_relation_open(relid, lockmode);
	Oid			owner;
	char	   *trigger;

	if (rel == NULL)
		return;
	owner = rel->rd_rel->relowner;
	trigger = lockmode == AccessShareLock ? NULL : UserCodeInTriggers(relid, GetUserId(), true);
	if (!UserCodeRoleIsTrusted(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" cannot be trusted by role \"%s\"", RelationGetRelationName(rel),
						GetUserNameFromId(GetUserId(), false)),
				 errdetail("It belongs to role \"%s\".", GetUserNameFromId(owner, false)),
				 errhint("Connect as that role, or give the table to a superuser.")));
	if (trigger)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" cannot be trusted by role \"%s\"", RelationGetRelationName(rel),
						GetUserNameFromId(GetUserId(), false)),
				 errdetail("The %s.", trigger),
				 errhint("Drop the trigger, and REVOKE TRIGGER on the table.")));
	relation_close(rel, NoLock);
}

/*
 * Checks our own tables; to be called in each transaction before they are read or, with
 * writing, written.  Then its locks keep new triggers away until the transaction ends.
 */
void
ConsolidateCheckOwnTables(Oid extnamespace, bool writing)
{
	static const char *const tables[] = {
		"consolidate_family", "consolidate_source", "consolidate_problem", "consolidate_run",
		"consolidate_target", "consolidate_guard_schema"
	};

	for (int i = 0; i < lengthof(tables); i++)
		check_own_table(get_relname_relid(tables[i], extnamespace),
						writing ? RowExclusiveLock : AccessShareLock);
}

static void
refuse_writer(const char *table, Oid role, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("definitions in table \"%s\" cannot be trusted by role \"%s\"", table,
					GetUserNameFromId(GetUserId(), false)),
			 errdetail("%s may write to it, and so make the caller run anything.",
					   role == ACL_ID_PUBLIC ? "Everybody" :
					   psprintf("Role \"%s\"", GetUserNameFromId(role, false))),
			 errhint("%s", hint)));
}

/* members of a role trust it, except superusers, who are members of all */
static bool
trusts_writer(Oid role)
{
	return UserCodeRoleIsTrusted(role) || (!superuser() && has_privs_of_role(GetUserId(), role));
}

static void
check_writers(Datum acl_datum, const char *table)
{
	Acl		   *acl = DatumGetAclP(acl_datum);

	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		AclItem    *item = &ACL_DAT(acl)[i];
		Oid			role = item->ai_grantee;

		if ((ACLITEM_GET_PRIVS(*item) & (ACL_INSERT | ACL_UPDATE)) != 0 &&
			(role == ACL_ID_PUBLIC || !trusts_writer(role)))
			refuse_writer(table, role, role == ACL_ID_PUBLIC ?
						  "REVOKE INSERT, UPDATE on it, look at column definition, and call again." :
						  "Connect as that role, or REVOKE INSERT, UPDATE on it,"
						  " look at column definition, and call again.");
	}
}

/* Members of pg_write_all_data write to every table, whatever its rights say. */
static void
check_write_all_data(const char *table)
{
	CatalogRows rows;
	HeapTuple	tuple;

	CatalogBeginAll(&rows, AuthIdRelationId);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		Oid			role = ((Form_pg_authid) GETSTRUCT(tuple))->oid;

		if (role != ROLE_PG_WRITE_ALL_DATA && !trusts_writer(role) &&
			is_member_of_role_nosuper(role, ROLE_PG_WRITE_ALL_DATA))
			refuse_writer(table, role, "It is a member of pg_write_all_data: REVOKE that,"
						  " look at column definition, and call again.");
	}
	CatalogEnd(&rows);
}

/*
 * Restoring runs the DDL that is written in consolidate_source, as the caller.  So 42501
 * when a role that the caller need not trust may write to it.
 */
void
ConsolidateCheckRecordWriters(Family *family)
{
	const char *table = "consolidate_source";
	Oid			relid = get_relname_relid(table, get_namespace_oid(family->extschema_name, false));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	CatalogRows rows;
	bool		isnull;
	Datum		acl;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	acl = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	if (!isnull)
		check_writers(acl, table);
	ReleaseSysCache(tuple);
	check_write_all_data(table);

	CatalogBegin(&rows, AttributeRelationId, AttributeRelidNumIndexId,
				 Anum_pg_attribute_attrelid, relid);
	while (HeapTupleIsValid(tuple = CatalogNext(&rows)))
	{
		acl = CatalogField(&rows, tuple, Anum_pg_attribute_attacl, &isnull);
		if (!isnull)
			check_writers(acl, table);
	}
	CatalogEnd(&rows);
}

/*
 * Raises 42501 unless consolidate_rejected is an ordinary table of a trusted role.  It is
 * made when it is first needed, so somebody else may have made it before, and its owner
 * reads what is written to it.
 */
void
ConsolidateCheckRejectedTable(Oid relid)
{
	Oid			owner = CatalogOwner(relid);

	if (get_rel_relkind(relid) != RELKIND_RELATION || !UserCodeRoleIsTrusted(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"consolidate_rejected\" cannot be trusted with rejected rows"),
				 errdetail("It must be an ordinary table of role \"%s\" or of a superuser; its owner is \"%s\".",
						   GetUserNameFromId(GetUserId(), false), GetUserNameFromId(owner, false)),
				 errhint("Rename it, and the next call makes its own; or give it to a superuser.")));
	check_own_table(relid, RowExclusiveLock);
}
