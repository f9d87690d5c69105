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
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

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
 * then it is not planned, because planning would run it.  42804 when there is no way.
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

/* Replaces the value of a sequence in a default expression by a CaseTestExpr; *seqid is the sequence. */
static Node *
sequence_mutator(Node *node, Oid *seqid)
{
	CaseTestExpr *value;
	Oid			typid = INT8OID;
	Oid			found;

	if (node == NULL)
		return NULL;
	found = AuditSequenceOf(node);
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

/* The default that an INSERT into the log would use: that of the log, not of the leaf. */
static void
use_default(AuditLog *log, AuditSlot *slot, Relation root, Form_pg_attribute partatt)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(root), NameStr(partatt->attname));
	Node	   *expr = build_column_default(root, attnum);

	if (expr != NULL)
	{
		/* planned first: the sequence's name may be an expression, too */
		expr = sequence_mutator((Node *) expression_planner((Expr *) expr), &slot->sequence);
		AuditCheckSequence(root, attnum, slot->sequence);
		slot->expr = ExecInitExpr((Expr *) expression_planner((Expr *) expr), NULL);
	}
	else if (partatt->attnotnull)
		no_value(log, NameStr(partatt->attname));
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
		case AUDIT_WRITTEN_AT:
			return true;
		default:
			return false;
	}
}

/* What a column of the leaf takes, found by its name: a leaf has its own order of columns. */
static AuditField
field_of(AuditLog *log, Relation root, Form_pg_attribute partatt)
{
	AuditField	field = AuditFieldOf(partatt);

	if (field != AUDIT_NFIELDS &&
		log->columns.attnum[field] != get_attnum(RelationGetRelid(root), NameStr(partatt->attname)))
		field = AUDIT_NFIELDS;
	return field;
}

/* Where each column of the leaf gets its value.  False when a conversion could run code of users. */
static bool
map_attributes(AuditLog *log, AuditLeaf *leaf, Relation root, Relation part)
{
	TupleDesc	desc = RelationGetDescr(part);
	bool		plain = true;

	leaf->natts = desc->natts;
	leaf->map = palloc0(sizeof(AuditSlot) * desc->natts);
	leaf->has_generated = desc->constr && desc->constr->has_generated_stored;
	leaf->has_constraints = desc->constr && desc->constr->num_check > 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AuditSlot  *slot = &leaf->map[i];

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
		if (TupleDescAttr(desc, i)->attnotnull && !never_null(leaf->map[i].field))
			leaf->has_constraints = true;
	return plain;
}

/* ---- setting up ------------------------------------------------------------------------ */

/*
 * Prepares the indexes as ExecOpenIndices does, but closes them again.  False when one has
 * to be written to by the executor.
 */
static bool
open_indexes(AuditLog *log, AuditLeaf *leaf, Relation part)
{
	ResultRelInfo *rri = leaf->rri;
	List	   *oids = RelationGetIndexList(part);
	int			n = list_length(oids);
	bool		plain = true;
	ListCell   *lc;
	int			i = 0;

	leaf->indexes = palloc(sizeof(Oid) * Max(n, 1));
	leaf->locked = palloc0(sizeof(uint64) * Max(n, 1));
	leaf->predicates = palloc0(sizeof(ExprState *) * Max(n, 1));
	rri->ri_IndexRelationDescs = palloc0(sizeof(Relation) * Max(n, 1));
	rri->ri_IndexRelationInfo = palloc0(sizeof(IndexInfo *) * Max(n, 1));
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		leaf->indexes[i] = lfirst_oid(lc);
		log->deps = lappend_oid(log->deps, lfirst_oid(lc));
		/* before its expressions are made ready, which computes what is constant in them */
		if (UserCodeInIndex(index) || !index->rd_index->indimmediate)
		{
			index_close(index, NoLock);
			plain = false;
			break;
		}
		rri->ri_IndexRelationInfo[i] = BuildIndexInfo(index);
		/* what brininsert keeps is given back with its context, from PostgreSQL 17 on */
		if (INDEX_STATE_IS_CLEANED_UP && index->rd_rel->relam == BRIN_AM_OID)
			rri->ri_IndexRelationInfo[i]->ii_Context =
				AllocSetContextCreate(leaf->estate->es_query_cxt, "aquacis BRIN index", ALLOCSET_SMALL_SIZES);
		/* evaluated here, and not a second time in ExecInsertIndexTuples */
		if (rri->ri_IndexRelationInfo[i]->ii_Predicate != NIL)
			leaf->predicates[i] = ExecPrepareQual(rri->ri_IndexRelationInfo[i]->ii_Predicate,
												  leaf->estate);
		rri->ri_IndexRelationInfo[i]->ii_Predicate = NIL;
		i++;
		index_close(index, NoLock);
	}
	leaf->nindexes = rri->ri_NumIndices = n;
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
 * 42501 when a part of the log belongs to a role that is not to be trusted with the rights
 * of the log's owner: on the way through SPI its code would run with these rights.
 */
static void
refuse_stranger(AuditLog *log)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(log->cxt);
	List	   *tables = find_all_inheritors(log->relid, NoLock, NULL);

	/* when one of them gets another owner, all this is checked again */
	log->deps = list_concat(log->deps, tables);
	MemoryContextSwitchTo(oldcontext);
	AuditRefuseStranger(tables);
	AuditRefuseTriggers(log->relid, tables);
}

/*
 * Finds and prepares the leaf for rows of this moment, as log->leaf.  The log is locked.
 * False when rows have to take the way through SPI; log->leaf then says only for how long
 * this holds.  23514 when no partition takes such rows; 42501, 42804, 23502 when the table
 * cannot serve as a log.
 */
bool
AuditLeafOpen(AuditLog *log, TimestampTz at)
{
	AuditLeaf  *leaf;
	Relation	root;
	Relation	part;
	MemoryContext oldcontext = MemoryContextSwitchTo(log->cxt);
	bool		routed;
	bool		direct;

	log->leaf = leaf = palloc0(sizeof(AuditLeaf));
	leaf->from = PG_INT64_MIN;
	leaf->to = PG_INT64_MAX;
	root = table_open(log->relid, NoLock);
	routed = (root->rd_rel->relkind == RELKIND_RELATION ||
			  root->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
		root->rd_rules == NULL && AuditRoute(root, at, leaf);
	direct = routed && !root->rd_rel->relispartition && !has_insert_triggers(root) &&
		!UserCodeInTable(root) && !HypertableTakesRows(root);
	log->deps = lappend_oid(log->deps, HypertableInvalidation());
	if (direct)
	{
		part = table_open(leaf->relid, NoLock);
		log->deps = lappend_oid(log->deps, leaf->relid);
		direct = part->rd_rel->relkind == RELKIND_RELATION && !has_insert_triggers(part) &&
			!UserCodeInTable(part);
		if (direct)
		{
			leaf->estate = CreateExecutorState();
			MemoryContextSwitchTo(leaf->estate->es_query_cxt);
			leaf->rri = makeNode(ResultRelInfo);
			InitResultRelInfo(leaf->rri, part, 0, NULL, 0);
			leaf->slot = MakeTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(part)),
											table_slot_callbacks(part));
			direct = map_attributes(log, leaf, root, part) && open_indexes(log, leaf, part);
		}
		table_close(part, NoLock);
	}
	table_close(root, NoLock);
	MemoryContextSwitchTo(oldcontext);
	if (!direct)
		refuse_stranger(log);
	return direct;
}

/*
 * Takes the locks of an INSERT on what was found in an earlier transaction; those on
 * indexes follow when a row goes into them.  The way through SPI takes these locks too:
 * without them a partition could be attached while the executor waits for the DEFAULT
 * one, and the row would be refused.
 */
void
AuditLeafLock(AuditLog *log)
{
	AuditLeaf  *leaf = log->leaf;
	ListCell   *lc;

	if (!OidIsValid(leaf->relid))
		return;
	foreach(lc, leaf->ancestors)
	{
		if (lfirst_oid(lc) != log->relid)
			LockRelationOid(lfirst_oid(lc), RowExclusiveLock);
	}
	if (leaf->relid != log->relid)
		LockRelationOid(leaf->relid, RowExclusiveLock);
}

/* ---- one row ---------------------------------------------------------------------------- */

/* a value that is being converted, for the context of errors */
typedef struct Conversion
{
	const AuditLog *log;
	Form_pg_attribute column;	/* of the leaf; NULL: none */
} Conversion;

static void
name_column(void *arg)
{
	Conversion *conversion = arg;

	if (conversion->column != NULL)
		errcontext("column \"%s\" of audit log \"%s\"", NameStr(conversion->column->attname),
				   conversion->log->name);
}

/* The row as the leaf's columns have it.  Conversions are named in the context of errors. */
static void
fill_slot(AuditLeaf *leaf, AuditRow *row, ExprContext *econtext, Conversion *conversion)
{
	TupleTableSlot *slot = leaf->slot;

	ExecClearTuple(slot);
	for (int i = 0; i < leaf->natts; i++)
	{
		AuditSlot  *from = &leaf->map[i];
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
			conversion->column = TupleDescAttr(slot->tts_tupleDescriptor, i);
			value = ExecEvalExprSwitchContext(from->expr, econtext, &isnull);
			conversion->column = NULL;
		}
		slot->tts_values[i] = value;
		slot->tts_isnull[i] = isnull;
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * Opens the indexes for this row.  A partial index whose predicate the row does not meet
 * stays closed, which ExecInsertIndexTuples takes as absent.  Returns how many are open.
 */
static int
open_wanted_indexes(AuditLeaf *leaf)
{
	ResultRelInfo *rri = leaf->rri;
	ExprContext *econtext = GetPerTupleExprContext(leaf->estate);
	int			wanted = 0;

	econtext->ecxt_scantuple = leaf->slot;
	for (int i = 0; i < leaf->nindexes; i++)
	{
		rri->ri_IndexRelationDescs[i] = NULL;
		if (leaf->predicates[i] != NULL && !ExecQual(leaf->predicates[i], econtext))
			continue;
		if (leaf->locked[i] != audit_lock_epoch)
		{
			LockRelationOid(leaf->indexes[i], RowExclusiveLock);
			leaf->locked[i] = audit_lock_epoch;
		}
		rri->ri_IndexRelationDescs[i] = index_open(leaf->indexes[i], NoLock);
		wanted++;
	}
	return wanted;
}

static void
close_indexes(AuditLeaf *leaf)
{
	ResultRelInfo *rri = leaf->rri;

	for (int i = 0; i < leaf->nindexes; i++)
	{
		if (rri->ri_IndexRelationDescs[i] == NULL)
			continue;
		index_insert_cleanup(rri->ri_IndexRelationDescs[i], rri->ri_IndexRelationInfo[i]);
		if (rri->ri_IndexRelationInfo[i]->ii_Context != leaf->estate->es_query_cxt)
			MemoryContextReset(rri->ri_IndexRelationInfo[i]->ii_Context);
		index_close(rri->ri_IndexRelationDescs[i], NoLock);
		rri->ri_IndexRelationDescs[i] = NULL;
	}
}

/* Fills the slot from the row, computes generated columns, checks constraints. */
static void
prepare_row(AuditLog *log, AuditRow *row)
{
	AuditLeaf  *leaf = log->leaf;
	EState	   *estate = leaf->estate;
	Conversion	conversion = {log, NULL};
	ErrorContextCallback context;

	context.callback = name_column;
	context.arg = &conversion;
	context.previous = error_context_stack;
	error_context_stack = &context;
	fill_slot(leaf, row, GetPerTupleExprContext(estate), &conversion);
	error_context_stack = context.previous;

	if (leaf->has_generated)
		ExecComputeStoredGenerated(leaf->rri, estate, leaf->slot, CMD_INSERT);
	if (leaf->has_constraints)
		ExecConstraints(leaf->rri, leaf->slot, estate);
}

/*
 * Stores a row.  False, with nothing written, when an invalidation of the log came in
 * meanwhile; the caller sets the log up again and repeats.  That is checked after the last
 * step before the tuple is stored that can process invalidations.  Later ones are
 * harmless: open relations keep their relcache entries in place.
 */
bool
AuditLeafInsert(AuditLog *log, AuditRow *row)
{
	AuditLeaf  *leaf = log->leaf;
	Relation	part = table_open(leaf->relid, NoLock);
	int			wanted = 0;
	bool		valid = log->valid;

	if (likely(valid))
	{
		if (unlikely(part != leaf->rri->ri_RelationDesc))
			elog(ERROR, "the relation cache entry of audit log \"%s\" moved unnoticed", log->name);
		prepare_row(log, row);
		wanted = open_wanted_indexes(leaf);
		valid = log->valid;
		if (likely(valid))
		{
			table_tuple_insert(part, leaf->slot, GetCurrentCommandId(true), 0, NULL);
			if (wanted > 0)
				ExecInsertIndexTuples(leaf->rri, leaf->slot, leaf->estate, false, false,
									  NULL, NIL, false);
		}
		close_indexes(leaf);
		ExecClearTuple(leaf->slot);
		ResetPerTupleExprContext(leaf->estate);
	}
	table_close(part, NoLock);
	return valid;
}
