/*
 * audit_target.c
 *	  A finished row, straight into the partition that takes it.
 *
 * The way logical replication's apply worker stores a row: constraints and
 * generated columns, table_tuple_insert, ExecInsertIndexTuples; no planner, no
 * executor node.  What that needs (an EState, a ResultRelInfo with its
 * IndexInfos, a slot, compiled expressions) is set up once and kept with the
 * AuditLog, over rows and transactions.  It holds no reference to a relation:
 * those are taken and given back around each row, so that nothing is left over
 * at the end of a statement or subtransaction, and DDL on the log is possible
 * between two statements of a transaction.  A relcache entry whose address
 * changed, or was invalidated, makes all of it be set up again.
 *
 * Only logs without code of users take this way: a trigger or a rule on the
 * log, a CHECK, default, generated column or index that calls a function which
 * is not PostgreSQL's own, deferrable constraints, foreign partitions and views
 * go through SPI (audit_spi.c), as the log's owner.  So nothing here can come
 * back to the trigger while the slot is in use.
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

#include "audit/audit.h"
#include "compat.h"

/* where the value of one attribute comes from */
typedef struct AuditSlot
{
	AuditField	field;			/* AUDIT_NFIELDS: none */
	ExprState  *expr;			/* the field converted, or the default; may be NULL */
	Oid			sequence;		/* of an identity or serial column */
} AuditSlot;

/* ---- code of users? ----------------------------------------------------------------- */

static bool
foreign_function(Oid funcid, void *context)
{
	return funcid >= FirstNormalObjectId;
}

static bool
user_code_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, foreign_function, NULL))
		return true;
	return expression_tree_walker(node, user_code_walker, context);
}

/* CHECK constraints, generated columns */
static bool
table_has_user_code(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;

	if (constr == NULL)
		return false;
	for (int i = 0; i < constr->num_check; i++)
		if (user_code_walker(stringToNode(constr->check[i].ccbin), NULL))
			return true;
	for (int i = 0; i < constr->num_defval; i++)
		if (user_code_walker(stringToNode(constr->defval[i].adbin), NULL))
			return true;
	return false;
}

static bool
index_has_user_code(Relation index)
{
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		if (index->rd_opcintype[i] >= FirstNormalObjectId ||
			index->rd_support[i * index->rd_indam->amsupport] >= FirstNormalObjectId)
			return true;
	return user_code_walker((Node *) RelationGetIndexExpressions(index), NULL) ||
		user_code_walker((Node *) RelationGetIndexPredicate(index), NULL);
}

/* ---- columns ------------------------------------------------------------------------- */

/* An expression that turns a field's value (a CaseTestExpr) into the column's. */
static ExprState *
conversion(AuditLog *log, AuditField field, Form_pg_attribute att)
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
	return ExecInitExpr((Expr *) expression_planner((Expr *) expr), NULL);
}

/* A sequence's value in a default expression, replaced by a CaseTestExpr. */
static Node *
sequence_mutator(Node *node, Oid *seqid)
{
	CaseTestExpr *value;
	Oid			typid = INT8OID;

	if (node == NULL)
		return NULL;
	if (IsA(node, NextValueExpr))
	{
		*seqid = ((NextValueExpr *) node)->seqid;
		typid = ((NextValueExpr *) node)->typeId;
	}
	else if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_NEXTVAL &&
			 IsA(linitial(((FuncExpr *) node)->args), Const))
		*seqid = DatumGetObjectId(((Const *) linitial(((FuncExpr *) node)->args))->constvalue);
	else
		return expression_tree_mutator(node, sequence_mutator, seqid);

	value = makeNode(CaseTestExpr);
	value->typeId = INT8OID;
	value->typeMod = -1;
	if (typid == INT8OID)
		return (Node *) value;
	return coerce_to_target_type(NULL, (Node *) value, INT8OID, typid, -1, COERCION_ASSIGNMENT,
								 COERCE_IMPLICIT_CAST, -1);
}

/* The sequence behind an identity or serial column, else InvalidOid. */
Oid
AuditColumnSequence(Relation rel, AttrNumber attnum)
{
	Node	   *expr = build_column_default(rel, attnum);
	Oid			seqid = InvalidOid;

	if (expr != NULL)
		sequence_mutator(expr, &seqid);
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
		expr = sequence_mutator(expr, &slot->sequence);
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

static void
map_attributes(AuditLog *log, AuditTarget *target, Relation root, Relation leaf)
{
	TupleDesc	desc = RelationGetDescr(leaf);
	bool		taken[AUDIT_NFIELDS] = {false};

	target->natts = desc->natts;
	target->map = palloc0(sizeof(AuditSlot) * desc->natts);
	target->has_generated = desc->constr && desc->constr->has_generated_stored;
	target->has_constraints = desc->constr && desc->constr->num_check > 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AuditSlot  *slot = &target->map[i];
		AuditField	field = AUDIT_NFIELDS;

		slot->field = AUDIT_NFIELDS;
		if (att->attisdropped || att->attgenerated)
			continue;
		field = AuditFieldOf(att);
		if (field != AUDIT_NFIELDS && !taken[field])
		{
			taken[field] = true;
			slot->field = field;
			slot->expr = conversion(log, field, att);
		}
		else
			use_default(log, slot, root, att);
	}

	/* NOT NULL needs no check where there is always a value */
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attnotnull && !never_null(target->map[i].field))
			target->has_constraints = true;
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
	target->predicates = palloc0(sizeof(ExprState *) * Max(n, 1));
	rri->ri_IndexRelationDescs = palloc0(sizeof(Relation) * Max(n, 1));
	rri->ri_IndexRelationInfo = palloc0(sizeof(IndexInfo *) * Max(n, 1));
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		target->indexes[i] = lfirst_oid(lc);
		log->deps = lappend_oid(log->deps, lfirst_oid(lc));
		if (index_has_user_code(index) || !index->rd_index->indimmediate)
			plain = false;
		rri->ri_IndexRelationInfo[i] = BuildIndexInfo(index);
		if (rri->ri_IndexRelationInfo[i]->ii_Predicate != NIL)
			target->predicates[i] = ExecPrepareQual(rri->ri_IndexRelationInfo[i]->ii_Predicate,
													target->estate);
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
	bool		direct;

	log->target = target = palloc0(sizeof(AuditTarget));
	target->from = PG_INT64_MIN;
	target->to = PG_INT64_MAX;
	root = table_open(log->relid, NoLock);
	direct = (root->rd_rel->relkind == RELKIND_RELATION ||
			  root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
		root->rd_rules == NULL && !has_insert_triggers(root) &&
		!table_has_user_code(root) && AuditRoute(root, at, target);
	log->deps = list_concat(log->deps, target->ancestors);
	if (direct)
	{
		leaf = table_open(target->relid, NoLock);
		log->deps = lappend_oid(log->deps, target->relid);
		direct = leaf->rd_rel->relkind == RELKIND_RELATION && !has_insert_triggers(leaf) &&
			!table_has_user_code(leaf);
		if (direct)
		{
			target->estate = CreateExecutorState();
			MemoryContextSwitchTo(target->estate->es_query_cxt);
			target->rri = makeNode(ResultRelInfo);
			InitResultRelInfo(target->rri, leaf, 0, NULL, 0);
			map_attributes(log, target, root, leaf);
			target->slot = MakeTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(leaf)),
											  table_slot_callbacks(leaf));
			direct = open_indexes(log, target, leaf);
		}
		table_close(leaf, NoLock);
	}
	table_close(root, NoLock);
	MemoryContextSwitchTo(old);
	return direct;
}

/* The locks of an INSERT, on what was found in an earlier transaction. */
void
AuditTargetLock(AuditLog *log)
{
	AuditTarget *target = log->target;
	ListCell   *lc;

	if (!log->direct)
		return;
	foreach(lc, target->ancestors)
		LockRelationOid(lfirst_oid(lc), RowExclusiveLock);
	LockRelationOid(target->relid, RowExclusiveLock);
	for (int i = 0; i < target->nindexes; i++)
		LockRelationOid(target->indexes[i], RowExclusiveLock);
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
 * left closed, which ExecInsertIndexTuples takes as absent.
 */
static void
insert_index_entries(AuditTarget *target)
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
		rri->ri_IndexRelationDescs[i] = index_open(target->indexes[i], NoLock);
		wanted++;
	}
	if (wanted > 0)
		ExecInsertIndexTuples(rri, target->slot, target->estate, false, false, NULL, NIL, false);
	for (int i = 0; i < target->nindexes; i++)
	{
		if (rri->ri_IndexRelationDescs[i] == NULL)
			continue;
		index_insert_cleanup(rri->ri_IndexRelationDescs[i], rri->ri_IndexRelationInfo[i]);
		index_close(rri->ri_IndexRelationDescs[i], NoLock);
		rri->ri_IndexRelationDescs[i] = NULL;
	}
}

void
AuditTargetInsert(AuditLog *log, AuditRow *row)
{
	AuditTarget *target = log->target;
	EState	   *estate = target->estate;
	ResultRelInfo *rri = target->rri;
	Relation	leaf = table_open(target->relid, NoLock);
	ErrorContextCallback context;

	if (unlikely(leaf != rri->ri_RelationDesc))
		elog(ERROR, "the relation cache entry of audit log \"%s\" moved unnoticed", log->name);
	context.callback = name_column;
	context.arg = log;
	context.previous = error_context_stack;
	error_context_stack = &context;
	fill_slot(target, row, GetPerTupleExprContext(estate));
	error_context_stack = context.previous;

	if (target->has_generated)
		ExecComputeStoredGenerated(rri, estate, target->slot, CMD_INSERT);
	if (target->has_constraints)
		ExecConstraints(rri, target->slot, estate);
	table_tuple_insert(leaf, target->slot, GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(target);

	ExecClearTuple(target->slot);
	ResetPerTupleExprContext(estate);
	table_close(leaf, NoLock);
}
