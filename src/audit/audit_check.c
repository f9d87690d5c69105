/*
 * audit_check.c
 *	  Can this table serve as the log of that one?
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "audit/audit.h"
#include "common/hypertable.h"
#include "common/usercode.h"
#include "compat.h"

/* ---- a row of TRUNCATE ----------------------------------------------------------------- */

/* Does a CHECK use only columns whose values in a row of TRUNCATE are known beforehand? */
static bool
only_known_columns(Node *expr, const AuditColumns *columns)
{
	static const AuditField known[] = {
		AUDIT_ACTION, AUDIT_RECORD_ID, AUDIT_RECORD_KEY, AUDIT_KEY_TEXT, AUDIT_OLD_DATA,
		AUDIT_NEW_DATA, AUDIT_CHANGED_FIELDS
	};
	Bitmapset  *used = NULL;

	pull_varattnos(expr, 1, &used);
	for (int i = 0; i < lengthof(known); i++)
		if (columns->attnum[known[i]])
			used = bms_del_member(used, columns->attnum[known[i]] - FirstLowInvalidHeapAttributeNumber);
	return bms_is_empty(used);
}

/*
 * 'T' as a column of this type has it.  False when the type has no such value;
 * *known becomes false for a type that is neither text nor an enum.
 */
static bool
truncate_action(Oid typid, Datum *value, bool *known)
{
	Oid			basetype = getBaseType(typid);
	HeapTuple	tuple;

	*known = true;
	if (basetype == TEXTOID || basetype == VARCHAROID || basetype == BPCHAROID)
		*value = CStringGetTextDatum("T");
	else if (basetype == CHAROID)
		*value = CharGetDatum('T');
	else if (type_is_enum(basetype))
	{
		tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(basetype), CStringGetDatum("T"));
		if (!HeapTupleIsValid(tuple))
			return false;
		*value = ObjectIdGetDatum(((Form_pg_enum) GETSTRUCT(tuple))->oid);
		ReleaseSysCache(tuple);
	}
	else
		*known = false;
	return true;
}

/*
 * Does the row in the per-tuple context pass a CHECK?  One that could run code of users is
 * not computed here, but when a row is written, as the log's owner; so it passes.
 */
static bool
passes(Node *check, EState *estate)
{
	return UserCodeInExpression(check) ||
		ExecCheck(ExecPrepareExpr((Expr *) check, estate), GetPerTupleExprContext(estate));
}

/* The name of a constraint of the log that refuses a row with action 'T' and nulls. */
static const char *
refusing_check(const AuditColumns *columns, Relation rel, Datum action, EState *estate)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), columns->attnum[AUDIT_ACTION] - 1);
	ExprContext *econtext = GetPerTupleExprContext(estate);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	const char *name = NULL;

	ExecStoreAllNullTuple(slot);
	slot->tts_values[att->attnum - 1] = action;
	slot->tts_isnull[att->attnum - 1] = false;
	econtext->ecxt_scantuple = slot;
	for (int i = 0; name == NULL && constr && i < constr->num_check; i++)
	{
		Node	   *check = stringToNode(constr->check[i].ccbin);

		if (only_known_columns(check, columns) && !passes(check, estate))
			name = constr->check[i].ccname;
	}
	/* as they come from the type cache, its checks have been planned */
	if (name == NULL && get_typtype(att->atttypid) == TYPTYPE_DOMAIN &&
		!UserCodeInType(att->atttypid, InvalidOid))
	{
		/* given back when the context goes, so it has to live in it */
		DomainConstraintRef *ref = MemoryContextAllocZero(estate->es_query_cxt,
														  sizeof(DomainConstraintRef));
		ListCell   *lc;

		InitDomainConstraintRef(att->atttypid, ref, estate->es_query_cxt, false);
		econtext->domainValue_datum = action;
		econtext->domainValue_isNull = false;
		foreach(lc, ref->constraints)
		{
			DomainConstraintState *state = lfirst(lc);

			if (state->constrainttype == DOM_CONSTRAINT_CHECK &&
				!passes((Node *) state->check_expr, estate))
				name = state->name;
		}
	}
	if (name != NULL)
		name = pstrdup(name);
	ExecDropSingleTupleTableSlot(slot);
	return name;
}

/*
 * Why a log refuses a row for TRUNCATE, which has no key and no data: a NOT NULL, a CHECK,
 * or a type of the action that has no 'T'.  A sentence for DETAIL, NULL when it does not.
 */
static const char *
refuses_truncate(Oid relid)
{
	static const AuditField empty[] = {
		AUDIT_RECORD_ID, AUDIT_RECORD_KEY, AUDIT_KEY_TEXT, AUDIT_OLD_DATA, AUDIT_NEW_DATA,
		AUDIT_CHANGED_FIELDS
	};
	Relation	rel = table_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	EState	   *estate = CreateExecutorState();
	const char *refuses = NULL;
	const char *check;
	AuditColumns columns;
	Datum		action = (Datum) 0;
	bool		known;

	AuditMapColumns(rel, &columns);
	for (int i = 0; i < lengthof(empty); i++)
	{
		AttrNumber	attnum = columns.attnum[empty[i]];

		if (attnum > 0 && TupleDescAttr(desc, attnum - 1)->attnotnull)
			refuses = psprintf("Column \"%s\" of log \"%s\" is NOT NULL, and a row for TRUNCATE has no key and no data.",
							   get_attname(relid, attnum, false), RelationGetRelationName(rel));
	}
	if (refuses == NULL &&
		!truncate_action(TupleDescAttr(desc, columns.attnum[AUDIT_ACTION] - 1)->atttypid, &action, &known))
		refuses = psprintf("The type of column \"%s\" of log \"%s\" has no value 'T', which stands for TRUNCATE.",
						   get_attname(relid, columns.attnum[AUDIT_ACTION], false), RelationGetRelationName(rel));
	if (refuses == NULL && known && (check = refusing_check(&columns, rel, action, estate)) != NULL)
		refuses = psprintf("Check constraint \"%s\" of log \"%s\" refuses a row with action 'T', no key and no data.",
						   check, RelationGetRelationName(rel));
	FreeExecutorState(estate);
	table_close(rel, AccessShareLock);
	return refuses;
}

/* Can TRUNCATE of this table be logged?  If not, a NOTICE says why. */
bool
AuditCanLogTruncate(Oid relid, Oid logid)
{
	const char *refuses;

	if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE && !FOREIGN_TABLES_HAVE_TRUNCATE_TRIGGERS)
	{
		ereport(NOTICE,
				(errmsg("TRUNCATE of \"%s\" will not be logged", get_rel_name(relid)),
				 errdetail("This version of PostgreSQL has no TRUNCATE triggers on foreign tables.")));
		return false;
	}
	refuses = refuses_truncate(logid);
	if (refuses == NULL)
		return true;
	ereport(NOTICE,
			(errmsg("TRUNCATE of \"%s\" will not be logged", get_rel_name(relid)),
			 errdetail("%s", refuses),
			 errhint("Drop or widen it and call audit_enable() again.")));
	return false;
}

/* ---- the log of a table ---------------------------------------------------------------- */

/* A NOTICE when the log has times without a zone: they follow the TimeZone of the writer. */
static void
tell_local_times(Relation log, AttrNumber changed_at)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(log), changed_at - 1);

	if (getBaseType(att->atttypid) == TIMESTAMPTZOID)
		return;
	ereport(NOTICE,
			(errmsg("the times in log \"%s\" follow the TimeZone of whoever makes a change",
					RelationGetRelationName(log)),
			 errdetail("Its column \"%s\" is of type %s.", NameStr(att->attname),
					   format_type_be(att->atttypid)),
			 errhint("Make it timestamp with time zone.")));
}

/*
 * Refuses a log that could not take the rows of this table, whose key is given: 42703,
 * 42804, 42809, or 42501 when it brings code of others along.  A log that has record_id
 * as its only key column takes keys that read as integers.
 */
void
AuditCheckLog(Relation rel, List *key, Oid logid)
{
	Relation	log = table_open(logid, AccessShareLock);
	AuditColumns columns;
	char		category;
	bool		preferred;

	AuditMapColumns(log, &columns);
	if (log->rd_rel->relispartition || OidIsValid(HypertableOf(logid)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot serve as an audit log", RelationGetRelationName(log)),
				 errdetail("It is a partition, which takes rows of its own limits only."),
				 errhint("Name the partitioned table.")));
	AuditRefuseForeignTypes(log);
	AuditRefuseTriggers(logid, find_all_inheritors(logid, NoLock, NULL));
	tell_local_times(log, columns.attnum[AUDIT_CHANGED_AT]);
	table_close(log, AccessShareLock);
	if (columns.attnum[AUDIT_RECORD_KEY] || columns.attnum[AUDIT_KEY_TEXT])
		return;
	if (list_length(key) == 1)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), linitial(key));

		get_type_category_preferred(getBaseType(get_atttype(RelationGetRelid(rel), attnum)),
									&category, &preferred);
		if (category == TYPCATEGORY_NUMERIC || category == TYPCATEGORY_STRING)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("log \"%s\" has no room for the key of table \"%s\"", get_rel_name(logid),
					RelationGetRelationName(rel)),
			 errdetail("Its record_id takes one integer; the key is (%s).", AuditColumnList(key)),
			 errhint("Add a column record_key of type jsonb or text to the log, or give another key.")));
}

/*
 * 42501 when the owner of a hypertable may not execute the trigger function.  A new chunk
 * gets the triggers of its hypertable, as the owner, when the first row for it comes: the
 * INSERT would fail some day.
 */
void
AuditCheckHypertableOwner(Relation rel, Oid trgoid)
{
	Oid			owner = rel->rd_rel->relowner;

	if (object_aclcheck(ProcedureRelationId, trgoid, owner, ACL_EXECUTE) == ACLCHECK_OK ||
		!HypertableIs(RelationGetRelid(rel)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the owner of \"%s\" may not execute fn_audit_trigger",
					RelationGetRelationName(rel)),
			 errdetail("Its rows are kept in other tables, and each new one gets the trigger in the name of \"%s\".",
					   GetUserNameFromId(owner, false)),
			 errhint("GRANT EXECUTE ON FUNCTION fn_audit_trigger TO \"%s\".",
					 GetUserNameFromId(owner, false))));
}
