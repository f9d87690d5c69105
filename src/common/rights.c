/*
 * rights.c
 *	  Rights on tables that we make, and rights as text.
 *
 * ALTER DEFAULT PRIVILEGES opens every new table of a schema to the application:
 * the log's next month, the rows that a target refused.  What we make is its owner's
 * alone; whoever else shall have it is granted it by name.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "common/names.h"
#include "common/rights.h"
#include "common/spi.h"
#include "compat.h"

/*
 * Rights in the words of GRANT and REVOKE, separated by commas, each followed by suffix
 * (a list of columns, or "").  The result is palloc'd.
 */
char *
RightsText(AclMode rights, const char *suffix)
{
	static const struct
	{
		AclMode		bit;
		const char *name;
	}			names[] = {
		{ACL_INSERT, "INSERT"}, {ACL_SELECT, "SELECT"}, {ACL_UPDATE, "UPDATE"},
		{ACL_DELETE, "DELETE"}, {ACL_TRUNCATE, "TRUNCATE"}, {ACL_REFERENCES, "REFERENCES"},
		{ACL_TRIGGER, "TRIGGER"}, {ACL_EXECUTE, "EXECUTE"}, {ACL_USAGE, "USAGE"},
		{ACL_MAINTAIN, "MAINTAIN"},
	};
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(names); i++)
		if (rights & names[i].bit)
			appendStringInfo(&text, "%s%s%s", text.len > 0 ? ", " : "", names[i].name, suffix);
	return text.data;
}

/* A role as GRANT and REVOKE name it, quoted.  An error when there is no such role. */
const char *
RightsRole(Oid role)
{
	return role == ACL_ID_PUBLIC ? "PUBLIC" : quote_identifier(GetUserNameFromId(role, false));
}

/*
 * Takes every right on a table from everybody but its owner, and gives the owner all
 * of them: default privileges may have taken some of his.  For the transaction that
 * has made the table, as its owner or a superuser, within an SPI connection.
 */
void
RightsOfOwnerAlone(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	const char *table;
	bool		isnull;
	Datum		datum;
	Acl		   *acl;
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	datum = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	acl = isnull ? NULL : DatumGetAclPCopy(datum);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (acl == NULL)
		return;
	table = NamesQualified(relid);
	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		Oid			grantee = ACL_DAT(acl)[i].ai_grantee;

		if (grantee != owner)
			SpiRun(psprintf("REVOKE ALL ON TABLE %s FROM %s CASCADE", table, RightsRole(grantee)));
	}
	SpiRun(psprintf("GRANT ALL ON TABLE %s TO %s", table, RightsRole(owner)));
}
