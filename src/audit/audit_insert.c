/*
 * audit_insert.c
 *	  A finished row, straight into the partition that takes it.
 *
 * The way logical replication's apply worker stores a row: constraints and
 * generated columns, table_tuple_insert, ExecInsertIndexTuples; no planner, no
 * executor node.  What that needs (an EState, a ResultRelInfo with its
 * IndexInfos, a slot, compiled expressions) is set up once and kept with the
 * AuditLog, over rows and transactions.  It holds no reference to a relation:
 * those are taken and given back around each row, so that nothing is left over
 * at the end of a statement or subtransaction, and DDL on the log is possible
 * between two statements of a transaction.  A relcache entry that was invalidated
 * makes all of it be set up again; so a row opens all that it needs, looks
 * whether what was kept is still valid, and only then writes.
 *
 * What is computed here runs with the rights of whoever made the change.  So only
 * logs without code of users take this way (common/usercode.c): a trigger or a rule
 * on the log, a CHECK, default, generated column, domain, cast or index that can run
 * more than the server's own functions, deferrable constraints, foreign partitions
 * and views go through SPI (audit_insert_spi.c), as the log's owner.  So
 * nothing here can come back to the trigger while the slot is in use.  A log that
 * is itself a partition goes there too: only the executor checks its limits.  So does
 * one whose rows another extension keeps elsewhere (common/hypertable.c).
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "audit/audit.h"
#include "common/hypertable.h"
#include "common/usercode.h"
#include "compat.h"

/* where the value of one attribute comes from */
typedef struct AuditSlot
{
	AuditField	field;			/* AUDIT_NFIELDS: none */
	ExprState  *expr;			/* the field converted, or the default; may be NULL */
	Oid			sequence;		/* of an identity or serial column */
} AuditSlot;

/* ---- columns ------------------------------------------------------------------------- */

/*
 * An expression that turns a field's value (a CaseTestExpr) into the column's; NULL
 * when there is nothing to do.  *plain becomes false when it could run code of users;
 * it is not planned then.
 */
static ExprState *
conversion(AuditLog *log, AuditField field, Form_pg_attribute att, bool *plain)
{
	CaseTestExpr *source;
	Node	   *expr;
	Oid			typid = AuditFieldTypes[field];

	if (att->atttypid == typid && att->atttypmod == -1)
		return NULL;
	/* our action is one character */
	if (field == AUDIT_ACTION && att->atttypid == typid && att->atttypmod == VARHDRSZ + 1)
		return NULL;
	source = makeNode(CaseTestExpr);
	source->typeId = typid;
	source->typeMod = -1;
	source->collation = get_typcollation(typid);
	expr = coerce_to_target_type(NULL, (Node *) source, typid, att->atttypid, att->atttypmod,
								 COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
	if (expr == NULL)
		expr = coerce_to_target_type(NULL, (Node *) source, typid, att->atttypid,
									 att->atttypmod, COERCION_EXPLICIT,
									 COERCE_IMPLICIT_CAST, -1);
	if (expr == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("table \"%s\" cannot serve as an audit log", get_rel_name(log->relid)),
				 errdetail("Column \"%s\" of type %s cannot take a value of type %s.",
						   NameStr(att->attname), format_type_be(att->atttypid),
						   format_type_be(typid)),
				 errhint("Change the column's type, or make a log with audit_install().")));
	if (UserCodeInExpression(expr))
	{
		*plain = false;
		return NULL;
	}
	return ExecInitExpr((Expr *) expression_planner((Expr *) expr), NULL);
}

/* The sequence that an expression draws from and does nothing else, or InvalidOid. */
static Oid
sequence_of(Node *node)
{
	if (IsA(node, NextValueExpr))
		return ((NextValueExpr *) node)->seqid;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_NEXTVAL &&
		IsA(linitial(((FuncExpr *) node)->args), Const))
		return DatumGetObjectId(((Const *) linitial(((FuncExpr *) node)->args))->constvalue);
	return InvalidOid;
}

/* A sequence's value in a default expression, replaced by a CaseTestExpr. */
static Node *
sequence_mutator(Node *node, Oid *seqid)
{
	CaseTestExpr *value;
	Oid			typid = INT8OID;
	Oid			found;

	if (node == NULL)
		return NULL;
	found = sequence_of(node);
	if (!OidIsValid(found))
		return expression_tree_mutator(node, sequence_mutator, seqid);
	*seqid = found;
	if (IsA(node, NextValueExpr))
		typid = ((NextValueExpr *) node)->typeId;

	value = makeNode(CaseTestExpr);
	value->typeId = INT8OID;
	value->typeMod = -1;
	if (typid == INT8OID)
		return (Node *) value;
	return coerce_to_target_type(NULL, (Node *) value, INT8OID, typid, -1, COERCION_ASSIGNMENT,
								 COERCE_IMPLICIT_CAST, -1);
}

/*
 * Drawing a number writes to the sequence, in everybody's name: the owner of the
 * log has to be allowed to.  An identity column's sequence is the column's own.
 */
static void
check_sequence(Relation log, AttrNumber attnum, Oid seqid)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(log), attnum - 1);

	if (!OidIsValid(seqid) || att->attidentity ||
		pg_class_aclcheck(seqid, log->rd_rel->relowner, ACL_USAGE | ACL_UPDATE) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("table \"%s\" cannot serve as an audit log", RelationGetRelationName(log)),
			 errdetail("The default of column \"%s\" draws from sequence \"%s\", which the log's "
					   "owner may not use.", NameStr(att->attname), get_rel_name(seqid)),
			 errhint("Grant USAGE on the sequence to \"%s\".",
					 GetUserNameFromId(log->rd_rel->relowner, true))));
}

/*
 * The sequence behind an identity or serial column.  InvalidOid also where the
 * default does more than draw a number: then the executor has to compute it.
 */
Oid
AuditColumnSequence(Relation rel, AttrNumber attnum)
{
	Node	   *expr = build_column_default(rel, attnum);
	Oid			seqid = InvalidOid;

	if (expr != NULL)
		seqid = sequence_of(strip_implicit_coercions((Node *) expression_planner((Expr *) expr)));
	check_sequence(rel, attnum, seqid);
	return seqid;
}

static void
no_value(AuditLog *log, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("table \"%s\" cannot serve as an audit log", get_rel_name(log->relid)),
			 errdetail("Column \"%s\" is NOT NULL, has no default, and the audit has nothing "
					   "to put there.", column),
			 errhint("Give the column a default.")));
}

/* The default an INSERT through the log would use: the log's, not the leaf's. */
static void
use_default(AuditLog *log, AuditSlot *slot, Relation root, Form_pg_attribute leafatt)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(root), NameStr(leafatt->attname));
	Node	   *expr = build_column_default(root, attnum);

	if (expr != NULL)
	{
		/* planned first: the sequence's name may be an expression, too */
		expr = sequence_mutator((Node *) expression_planner((Expr *) expr), &slot->sequence);
		check_sequence(root, attnum, slot->sequence);
		slot->expr = ExecInitExpr((Expr *) expression_planner((Expr *) expr), NULL);
	}
	else if (leafatt->attnotnull)
		no_value(log, NameStr(leafatt->attname));
}

/* Fields that every row has. */
static bool
never_null(AuditField field)
{
	switch (field)
	{
		case AUDIT_CHANGED_AT:
		case AUDIT_XACT_ID:
		case AUDIT_XACT_SEQ:
		case AUDIT_TABLE_SCHEMA:
		case AUDIT_TABLE_NAME:
		case AUDIT_ACTION:
		case AUDIT_USER_ID:
		case AUDIT_DB_USER:
		case AUDIT_SESSION_USER:
			return true;
		default:
			return false;
	}
}

/* What the log's column of this name takes: a leaf has its own order of columns. */
static AuditField
field_of(AuditLog *log, Relation root, Form_pg_attribute leafatt)
{
	AuditField	field = AuditFieldOf(leafatt);

	if (field != AUDIT_NFIELDS &&
		log->attnum[field] != get_attnum(RelationGetRelid(root), NameStr(leafatt->attname)))
		field = AUDIT_NFIELDS;
	return field;
}

/* False when a conversion calls a function of users. */
static bool
map_attributes(AuditLog *log, AuditTarget *target, Relation root, Relation leaf)
{
	TupleDesc	desc = RelationGetDescr(leaf);
	bool		plain = true;

	target->natts = desc->natts;
	target->map = palloc0(sizeof(AuditSlot) * desc->natts);
	target->has_generated = desc->constr && desc->constr->has_generated_stored;
	target->has_constraints = desc->constr && desc->constr->num_check > 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AuditSlot  *slot = &target->map[i];

		slot->field = AUDIT_NFIELDS;
		if (att->attisdropped || att->attgenerated)
			continue;
		slot->field = field_of(log, root, att);
		if (slot->field != AUDIT_NFIELDS)
			slot->expr = conversion(log, slot->field, att, &plain);
		else
			use_default(log, slot, root, att);
	}

	/* NOT NULL needs no check where there is always a value */
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attnotnull && !never_null(target->map[i].field))
			target->has_constraints = true;
	return plain;
}

/* ---- setting up ------------------------------------------------------------------------ */

/* The indexes, as ExecOpenIndices makes them known, but closed again. */
static bool
open_indexes(AuditLog *log, AuditTarget *target, Relation leaf)
{
	ResultRelInfo *rri = target->rri;
	List	   *oids = RelationGetIndexList(leaf);
	int			n = list_length(oids);
	bool		plain = true;
	ListCell   *lc;
	int			i = 0;

	target->indexes = palloc(sizeof(Oid) * Max(n, 1));
	target->locked = palloc0(sizeof(uint64) * Max(n, 1));
	target->predicates = palloc0(sizeof(ExprState *) * Max(n, 1));
	rri->ri_IndexRelationDescs = palloc0(sizeof(Relation) * Max(n, 1));
	rri->ri_IndexRelationInfo = palloc0(sizeof(IndexInfo *) * Max(n, 1));
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		target->indexes[i] = lfirst_oid(lc);
		log->deps = lappend_oid(log->deps, lfirst_oid(lc));
		/* before its expressions are made ready, which computes what is constant in them */
		if (UserCodeInIndex(index) || !index->rd_index->indimmediate)
		{
			index_close(index, NoLock);
			plain = false;
			break;
		}
		rri->ri_IndexRelationInfo[i] = BuildIndexInfo(index);
		/* evaluated here, and not a second time in ExecInsertIndexTuples */
		if (rri->ri_IndexRelationInfo[i]->ii_Predicate != NIL)
			target->predicates[i] = ExecPrepareQual(rri->ri_IndexRelationInfo[i]->ii_Predicate,
													target->estate);
		rri->ri_IndexRelationInfo[i]->ii_Predicate = NIL;
		i++;
		index_close(index, NoLock);
	}
	target->nindexes = rri->ri_NumIndices = n;
	return plain;
}

static bool
has_insert_triggers(Relation rel)
{
	return rel->trigdesc != NULL &&
		(rel->trigdesc->trig_insert_before_row || rel->trigdesc->trig_insert_after_row ||
		 rel->trigdesc->trig_insert_instead_row || rel->trigdesc->trig_insert_before_statement ||
		 rel->trigdesc->trig_insert_after_statement);
}

/*
 * The way through SPI runs what it meets as the log's owner: a partition of yet another
 * role would get the owner's rights for its own code.
 */
static void
refuse_stranger(AuditLog *log)
{
	MemoryContext old = MemoryContextSwitchTo(log->cxt);
	List	   *tables = find_all_inheritors(log->relid, NoLock, NULL);

	/* whichever gets another owner is looked at again */
	log->deps = list_concat(log->deps, tables);
	MemoryContextSwitchTo(old);
	AuditRefuseStranger(tables);
	AuditRefuseTriggers(log->relid, tables);
}

/*
 * Finds and prepares the leaf for rows of this moment.  False when rows have to
 * take the way through SPI.
 */
bool
AuditTargetOpen(AuditLog *log, TimestampTz at)
{
	AuditTarget *target;
	Relation	root;
	Relation	leaf;
	MemoryContext old = MemoryContextSwitchTo(log->cxt);
	bool		routed;
	bool		direct;

	log->target = target = palloc0(sizeof(AuditTarget));
	target->from = PG_INT64_MIN;
	target->to = PG_INT64_MAX;
	root = table_open(log->relid, NoLock);
	routed = (root->rd_rel->relkind == RELKIND_RELATION ||
			  root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
		root->rd_rules == NULL && AuditRoute(root, at, target);
	direct = routed && !root->rd_rel->relispartition && !has_insert_triggers(root) &&
		!UserCodeInTable(root) && InsertionIsPlain(root);
	log->deps = lappend_oid(log->deps, InsertionSignal());
	if (direct)
	{
		leaf = table_open(target->relid, NoLock);
		log->deps = lappend_oid(log->deps, target->relid);
		direct = leaf->rd_rel->relkind == RELKIND_RELATION && !has_insert_triggers(leaf) &&
			!UserCodeInTable(leaf);
		if (direct)
		{
			target->estate = CreateExecutorState();
			MemoryContextSwitchTo(target->estate->es_query_cxt);
			target->rri = makeNode(ResultRelInfo);
			InitResultRelInfo(target->rri, leaf, 0, NULL, 0);
			target->slot = MakeTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(leaf)),
											  table_slot_callbacks(leaf));
			direct = map_attributes(log, target, root, leaf) && open_indexes(log, target, leaf);
		}
		table_close(leaf, NoLock);
	}
	table_close(root, NoLock);
	MemoryContextSwitchTo(old);
	if (!direct)
		refuse_stranger(log);
	return direct;
}

/*
 * The locks of an INSERT, on what was found in an earlier transaction; those on
 * indexes follow when a row wants them.  The way through SPI needs them, too: the
 * executor refuses a row for which a partition appears while it waits for the DEFAULT
 * one.  Behind our lock none appears.
 */
void
AuditTargetLock(AuditLog *log)
{
	AuditTarget *target = log->target;
	ListCell   *lc;

	if (!OidIsValid(target->relid))
		return;
	foreach(lc, target->ancestors)
		if (lfirst_oid(lc) != log->relid)
			LockRelationOid(lfirst_oid(lc), RowExclusiveLock);
	if (target->relid != log->relid)
		LockRelationOid(target->relid, RowExclusiveLock);
}

/* ---- one row ---------------------------------------------------------------------------- */

/* the column whose value is being converted, for the error's context */
static Form_pg_attribute converting = NULL;

static void
name_column(void *arg)
{
	if (converting != NULL)
		errcontext("column \"%s\" of audit log \"%s\"", NameStr(converting->attname),
				   ((AuditLog *) arg)->relname);
	converting = NULL;
}

static void
fill_slot(AuditTarget *target, AuditRow *row, ExprContext *econtext)
{
	TupleTableSlot *slot = target->slot;

	ExecClearTuple(slot);
	for (int i = 0; i < target->natts; i++)
	{
		AuditSlot  *from = &target->map[i];
		Datum		value = (Datum) 0;
		bool		isnull = true;

		if (from->field != AUDIT_NFIELDS)
		{
			value = row->values[from->field];
			isnull = row->nulls[from->field];
		}
		else if (OidIsValid(from->sequence))
		{
			value = Int64GetDatum(AuditNextval(from->sequence));
			isnull = false;
		}
		if (from->expr != NULL)
		{
			econtext->caseValue_datum = value;
			econtext->caseValue_isNull = isnull;
			converting = TupleDescAttr(slot->tts_tupleDescriptor, i);
			value = ExecEvalExprSwitchContext(from->expr, econtext, &isnull);
			converting = NULL;
		}
		slot->tts_values[i] = value;
		slot->tts_isnull[i] = isnull;
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * The indexes are opened for this row; a partial one that does not want the row is
 * left closed, which ExecInsertIndexTuples takes as absent.  Returns how many are open.
 */
static int
open_wanted_indexes(AuditTarget *target)
{
	ResultRelInfo *rri = target->rri;
	ExprContext *econtext = GetPerTupleExprContext(target->estate);
	int			wanted = 0;

	econtext->ecxt_scantuple = target->slot;
	for (int i = 0; i < target->nindexes; i++)
	{
		rri->ri_IndexRelationDescs[i] = NULL;
		if (target->predicates[i] != NULL && !ExecQual(target->predicates[i], econtext))
			continue;
		if (target->locked[i] != audit_lock_epoch)
		{
			LockRelationOid(target->indexes[i], RowExclusiveLock);
			target->locked[i] = audit_lock_epoch;
		}
		rri->ri_IndexRelationDescs[i] = index_open(target->indexes[i], NoLock);
		wanted++;
	}
	return wanted;
}

static void
close_indexes(AuditTarget *target)
{
	ResultRelInfo *rri = target->rri;

	for (int i = 0; i < target->nindexes; i++)
	{
		if (rri->ri_IndexRelationDescs[i] == NULL)
			continue;
		index_insert_cleanup(rri->ri_IndexRelationDescs[i], rri->ri_IndexRelationInfo[i]);
		index_close(rri->ri_IndexRelationDescs[i], NoLock);
		rri->ri_IndexRelationDescs[i] = NULL;
	}
}

/* The row into the slot, with all that the log itself has to say about it. */
static void
prepare_row(AuditLog *log, AuditRow *row)
{
	AuditTarget *target = log->target;
	EState	   *estate = target->estate;
	ErrorContextCallback context;

	context.callback = name_column;
	context.arg = log;
	context.previous = error_context_stack;
	error_context_stack = &context;
	fill_slot(target, row, GetPerTupleExprContext(estate));
	error_context_stack = context.previous;

	if (target->has_generated)
		ExecComputeStoredGenerated(target->rri, estate, target->slot, CMD_INSERT);
	if (target->has_constraints)
		ExecConstraints(target->rri, target->slot, estate);
}

/*
 * False, with nothing written, when an invalidation came in on the way.  The check
 * stands behind the last thing that can let one in before the tuple is stored;
 * what comes in later finds the relations open, and then they stay where they are.
 */
bool
AuditTargetInsert(AuditLog *log, AuditRow *row)
{
	AuditTarget *target = log->target;
	Relation	leaf = table_open(target->relid, NoLock);
	int			wanted = 0;
	bool		valid = log->valid;

	if (likely(valid))
	{
		if (unlikely(leaf != target->rri->ri_RelationDesc))
			elog(ERROR, "the relation cache entry of audit log \"%s\" moved unnoticed", log->name);
		prepare_row(log, row);
		wanted = open_wanted_indexes(target);
		valid = log->valid;
		if (likely(valid))
		{
			table_tuple_insert(leaf, target->slot, GetCurrentCommandId(true), 0, NULL);
			if (wanted > 0)
				ExecInsertIndexTuples(target->rri, target->slot, target->estate, false, false,
									  NULL, NIL, false);
		}
		close_indexes(target);
		ExecClearTuple(target->slot);
		ResetPerTupleExprContext(target->estate);
	}
	table_close(leaf, NoLock);
	return valid;
}

/* ---- what a log would say to a row ------------------------------------------------------- */

/* Whether an expression looks only at what is known of a row of TRUNCATE. */
static bool
only_known_columns(Node *expr, const AuditLog *log)
{
	static const AuditField known[] = {
		AUDIT_ACTION, AUDIT_RECORD_ID, AUDIT_RECORD_KEY, AUDIT_KEY_TEXT, AUDIT_OLD_DATA,
		AUDIT_NEW_DATA, AUDIT_CHANGED_FIELDS
	};
	Bitmapset  *used = NULL;

	pull_varattnos(expr, 1, &used);
	for (int i = 0; i < lengthof(known); i++)
		if (log->attnum[known[i]])
			used = bms_del_member(used, log->attnum[known[i]] - FirstLowInvalidHeapAttributeNumber);
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
	HeapTuple	tup;

	*known = true;
	if (basetype == TEXTOID || basetype == VARCHAROID || basetype == BPCHAROID)
		*value = CStringGetTextDatum("T");
	else if (basetype == CHAROID)
		*value = CharGetDatum('T');
	else if (type_is_enum(basetype))
	{
		tup = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(basetype), CStringGetDatum("T"));
		if (!HeapTupleIsValid(tup))
			return false;
		*value = ObjectIdGetDatum(((Form_pg_enum) GETSTRUCT(tup))->oid);
		ReleaseSysCache(tup);
	}
	else
		*known = false;
	return true;
}

/* Checks that could run code of users are left to the row itself, and to the log's owner. */
static bool
passes(Node *check, EState *estate)
{
	return UserCodeInExpression(check) ||
		ExecCheck(ExecPrepareExpr((Expr *) check, estate), GetPerTupleExprContext(estate));
}

/* The name of a constraint of the log that refuses a row with action 'T' and nulls. */
static const char *
refusing_check(const AuditLog *log, Relation rel, Datum action, EState *estate)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), log->attnum[AUDIT_ACTION] - 1);
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

		if (only_known_columns(check, log) && !passes(check, estate))
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
 * What of a log refuses a row of TRUNCATE, which has no key and no data: a NOT NULL,
 * a CHECK, or a type of the action that has no 'T'.  NULL when nothing does.
 */
const char *
AuditLogRefusesTruncate(Oid relid)
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
	AuditLog	log;
	Datum		action = (Datum) 0;
	bool		known;

	AuditDescribeLog(&log, rel);
	for (int i = 0; i < lengthof(empty); i++)
	{
		AttrNumber	attnum = log.attnum[empty[i]];

		if (attnum > 0 && TupleDescAttr(desc, attnum - 1)->attnotnull)
			refuses = psprintf("the NOT NULL of column \"%s\"", get_attname(relid, attnum, false));
	}
	if (refuses == NULL &&
		!truncate_action(TupleDescAttr(desc, log.attnum[AUDIT_ACTION] - 1)->atttypid, &action, &known))
		refuses = "the type of the action";
	if (refuses == NULL && known && (check = refusing_check(&log, rel, action, estate)) != NULL)
		refuses = psprintf("the CHECK \"%s\"", check);
	FreeExecutorState(estate);
	table_close(rel, AccessShareLock);
	return refuses;
}
