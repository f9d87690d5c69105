/*
 * consolidate_reject.c
 *	  Rows that the target refuses, kept in consolidate_rejected.
 *
 * The table is an ordinary one in the extension's schema.  It is made when it is first
 * needed, belongs to the role that needed it, and survives DROP EXTENSION.  A row
 * is one JSON object: integers, numbers and booleans as themselves, everything
 * else as the string that its type writes and reads back exactly.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "common/rights.h"
#include "common/settings.h"
#include "common/spi.h"
#include "compat.h"
#include "consolidate/consolidate.h"

#define ROWS_PER_STATEMENT 1000

/*
 * Makes the table if it does not exist.  A role without CREATE on the schema goes on
 * without it, unless the table is needed: 42501.  An existing table that is needed must be
 * one that rejected rows may be trusted to, see ConsolidateCheckRejectedTable.
 */
void
ConsolidateMakeRejectedTable(Family *family, bool needed)
{
	static const char *const statements[] = {
		"CREATE TABLE %s.consolidate_rejected ("
		" family pg_catalog.text NOT NULL,"
		" process_id pg_catalog.int8 NOT NULL,"
		" source_schema pg_catalog.text NOT NULL,"
		" source_table pg_catalog.text NOT NULL,"
		" row_data pg_catalog.jsonb NOT NULL,"
		" reason pg_catalog.text NOT NULL,"
		" rejected_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now())",
		"CREATE INDEX consolidate_rejected_process ON %s.consolidate_rejected"
		" (source_schema, family, process_id)",
		"COMMENT ON TABLE %s.consolidate_rejected IS"
		" 'rows of consolidated process tables that the target refused'",
	};
	Oid			nspoid = get_namespace_oid(family->extschema_name, false);
	Oid			there = get_relname_relid("consolidate_rejected", nspoid);

	if (!OidIsValid(there))
	{
		if (!needed && object_aclcheck(NamespaceRelationId, nspoid, GetUserId(),
									   ACL_CREATE) != ACLCHECK_OK)
			return;
		/* of two first calls at once, only one may make it */
		ConsolidateLockAll(family);
		there = get_relname_relid("consolidate_rejected", nspoid);
	}
	if (OidIsValid(there))
	{
		if (needed)
			ConsolidateCheckRejectedTable(there);
		return;
	}
	for (int i = 0; i < lengthof(statements); i++)
		SpiRun(psprintf(statements[i], family->extschema));
	RightsOfOwnerAlone(get_relname_relid("consolidate_rejected", nspoid));
}

/* A value as JSON that its type can read back exactly. */
static void
append_value(StringInfo json, Form_pg_attribute att, Datum value)
{
	Oid			function;
	bool		varlena;
	char	   *text;

	getTypeOutputInfo(att->atttypid, &function, &varlena);
	text = OidOutputFunctionCall(function, value);

	switch (att->atttypid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			appendStringInfoString(json, text);
			break;
		case BOOLOID:
			appendStringInfoString(json, DatumGetBool(value) ? "true" : "false");
			break;
		case NUMERICOID:
			if (!numeric_is_nan(DatumGetNumeric(value)) && !numeric_is_inf(DatumGetNumeric(value)))
			{
				appendStringInfoString(json, text);
				break;
			}
			/* FALLTHROUGH */
		default:
			escape_json(json, text);
	}
}

static char *
row_as_json(TupleDesc desc, TupleTableSlot *slot)
{
	StringInfoData json;

	initStringInfo(&json);
	slot_getallattrs(slot);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (json.len > 1)
			appendStringInfoChar(&json, ',');
		escape_json(&json, NameStr(att->attname));
		appendStringInfoChar(&json, ':');
		if (slot->tts_isnull[i])
			appendStringInfoString(&json, "null");
		else
			append_value(&json, att, slot->tts_values[i]);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

static void
insert_rows(Family *family, Source *source, Datum *rows, Datum *reasons, int n)
{
	SpiArg		args[] = {
		SpiTextArg(family->name), SpiInt64Arg(source->process_id),
		SpiTextArg(family->schema), SpiTextArg(source->name),
		SpiTextArrayArg(rows, n),
		SpiTextArrayArg(reasons, n)
	};
	uint64		written;

	written = SpiQuery(psprintf("INSERT INTO %s.consolidate_rejected"
								" (family, process_id, source_schema, source_table, row_data, reason)"
								" SELECT $1, $2, $3, $4, u.data::pg_catalog.jsonb, u.reason"
								" FROM ROWS FROM (pg_catalog.unnest($5), pg_catalog.unnest($6))"
								" u(data, reason)",
								family->extschema), lengthof(args), args);
	if (written != n)
		elog(ERROR, "kept " UINT64_FORMAT " of %d rejected rows of \"%s\"", written, n,
			 source->name);
}

/* Deletes the rejected rows of a source, so that they can be written again. */
void
ConsolidateDeleteRejected(Family *family, Source *source)
{
	SpiArg		args[] = {
		SpiTextArg(family->name), SpiInt64Arg(source->process_id),
		SpiTextArg(family->schema), SpiTextArg(source->name)
	};

	SpiQuery(psprintf("DELETE FROM %s.consolidate_rejected"
					  " WHERE family OPERATOR(pg_catalog.=) $1"
					  "  AND process_id OPERATOR(pg_catalog.=) $2"
					  "  AND source_schema OPERATOR(pg_catalog.=) $3"
					  "  AND source_table OPERATOR(pg_catalog.=) $4", family->extschema),
			 lengthof(args), args);
}

/* Writes the rejected rows of a source into consolidate_rejected. */
void
ConsolidateWriteRejected(Family *family, Source *source, Relation rel, Snapshot snapshot,
						 const SourceContents *contents)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "aquacis rejected rows",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(work);
	Datum	   *rows = palloc(sizeof(Datum) * ROWS_PER_STATEMENT);
	Datum	   *reasons = palloc(sizeof(Datum) * ROWS_PER_STATEMENT);
	MemoryContext chunk = AllocSetContextCreate(work, "aquacis rejected chunk",
												ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	int			level = SettingsForText();
	int			n = 0;

	MemoryContextSwitchTo(chunk);
	for (int64 i = 0; i < contents->nrejects; i++)
	{
		const Reject *reject = &contents->rejects[i];

		CHECK_FOR_INTERRUPTS();
		if (!table_tuple_fetch_row_version(rel, (ItemPointer) &reject->tid, snapshot, slot))
			elog(ERROR, "a row of \"%s\" is gone while it was locked", source->name);
		rows[n] = CStringGetTextDatum(row_as_json(RelationGetDescr(rel), slot));
		reasons[n] = CStringGetTextDatum(ConsolidateRejectReason(&family->columns, reject));
		ExecClearTuple(slot);
		if (++n == ROWS_PER_STATEMENT || i == contents->nrejects - 1)
		{
			insert_rows(family, source, rows, reasons, n);
			MemoryContextReset(chunk);
			n = 0;
		}
	}
	SettingsEnd(level);
	MemoryContextSwitchTo(oldcontext);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(work);
}
