/*
 * audit_sequence.c
 *	  The next value of a log's own sequence, unseen by the session.
 *
 * nextval() makes its sequence the one that lastval() speaks of, and nothing can
 * set that back: an application that asks for lastval() after its INSERT would get
 * the number of an audit row.  So numbers for identity and serial columns of a log
 * are drawn here, from the same sequence relation, under the same buffer lock and
 * with the same WAL record as nextval(), but without the session's state.
 *
 * It would be less code to call nextval_internal() and to document what lastval() says
 * afterwards.  But applications of the kind that is audited here were written without an
 * audit and ask for lastval(); switching the audit on must not change what they get.
 * So AuditNextval() stays, as the only function that knows the page and the WAL record
 * of a sequence.  For a new major version, compare draw() with nextval_internal() in
 * commands/sequence.c of the server.
 *
 * As nextval() does, a WAL record reserves SEQ_LOG_AHEAD values; a crash skips what
 * was left of them.  The sequence's CACHE is not used: values come one at a time.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_sequence.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "audit/audit.h"
#include "compat.h"

#define SEQ_LOG_AHEAD 32

/* value + increment, wrapped or refused at the ends of the sequence's range */
static int64
advance(int64 value, FormData_pg_sequence *def, bool *exhausted)
{
	int64		next;

	*exhausted = false;
	if (!pg_add_s64_overflow(value, def->seqincrement, &next) &&
		next >= def->seqmin && next <= def->seqmax)
		return next;
	if (!def->seqcycle)
		*exhausted = true;
	return def->seqincrement > 0 ? def->seqmin : def->seqmax;
}

static void
write_wal(Relation seqrel, Buffer buf, HeapTuple tuple)
{
	xl_seq_rec	record;
	XLogRecPtr	end;

	record.SEQ_LOCATOR = seqrel->RD_LOCATOR;
	XLogBeginInsert();
	XLogRegisterBuffer(0, buf, REGBUF_WILL_INIT);
	XLogRegisterData((char *) &record, sizeof(record));
	XLogRegisterData((char *) tuple->t_data, tuple->t_len);
	end = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
	PageSetLSN(BufferGetPage(buf), end);
}

/*
 * The next value, stored in the page and, where that is needed, in the WAL.  The buffer is
 * locked exclusively.  2200H when there is none.
 */
static int64
draw(Relation seqrel, Buffer buf, FormData_pg_sequence *def)
{
	HeapTupleData tuple;
	ItemId		item;
	Page		page = BufferGetPage(buf);
	Form_pg_sequence_data data;
	int64		result;
	int64		ahead;
	int64		covered;
	bool		exhausted = false;
	bool		log;

	item = PageGetItemId(page, FirstOffsetNumber);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
	tuple.t_len = ItemIdGetLength(item);
	data = (Form_pg_sequence_data) GETSTRUCT(&tuple);

	result = data->last_value;
	if (data->is_called)
		result = advance(result, def, &exhausted);
	if (exhausted)
		ereport(ERROR,
				(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
				 errmsg("sequence \"%s\" of the audit log has no more values",
						RelationGetRelationName(seqrel)),
				 errdetail("Its last value was " INT64_FORMAT ".", data->last_value),
				 errhint("Raise its limit with ALTER SEQUENCE.")));

	/* also after a checkpoint: replay that begins there has to find the values */
	log = data->log_cnt < 1 || !data->is_called || PageGetLSN(page) <= GetRedoRecPtr();
	covered = data->log_cnt - 1;
	ahead = result;
	if (log)
	{
		for (covered = 0; covered < SEQ_LOG_AHEAD; covered++)
		{
			int64		next = advance(ahead, def, &exhausted);

			if (exhausted)
				break;
			ahead = next;
		}
		if (RelationNeedsWAL(seqrel))
			GetTopTransactionId();
	}

	START_CRIT_SECTION();
	MarkBufferDirty(buf);
	if (log && RelationNeedsWAL(seqrel))
	{
		data->last_value = ahead;
		data->is_called = true;
		data->log_cnt = 0;
		write_wal(seqrel, buf, &tuple);
	}
	data->last_value = result;
	data->is_called = true;
	data->log_cnt = covered;
	END_CRIT_SECTION();
	return result;
}

/* The next value of a sequence; lastval() does not notice.  2200H when there are no more. */
int64
AuditNextval(Oid seqid)
{
	/* the lock that nextval() takes, for the same reason: no rewrite meanwhile */
	Relation	seqrel = table_open(seqid, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(seqid));
	FormData_pg_sequence def;
	Buffer		buf;
	int64		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", seqid);
	def = *(Form_pg_sequence) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);

	buf = ReadBuffer(seqrel, 0);
	LockBuffer(buf, BUFFER_LOCK_EXCLUSIVE);
	result = draw(seqrel, buf, &def);
	UnlockReleaseBuffer(buf);
	table_close(seqrel, NoLock);
	return result;
}

/* The sequence from which an expression draws a number, if it does nothing else; else InvalidOid. */
Oid
AuditSequenceOf(Node *node)
{
	if (IsA(node, NextValueExpr))
		return ((NextValueExpr *) node)->seqid;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_NEXTVAL &&
		IsA(linitial(((FuncExpr *) node)->args), Const))
		return DatumGetObjectId(((Const *) linitial(((FuncExpr *) node)->args))->constvalue);
	return InvalidOid;
}

/*
 * 42501 unless the owner of the log may draw numbers from the sequence of a column's
 * default, since every change of an audited table draws one.  The sequence of an identity column is
 * the column's own.
 */
void
AuditCheckSequence(Relation log, AttrNumber attnum, Oid seqid)
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
		seqid = AuditSequenceOf(strip_implicit_coercions((Node *) expression_planner((Expr *) expr)));
	AuditCheckSequence(rel, attnum, seqid);
	return seqid;
}
