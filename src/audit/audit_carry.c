/*
 * audit_carry.c
 *	  What a plain log has, as statements that give it to the partitioned log which takes
 *	  its name: for audit_adopt.
 *
 * CREATE TABLE ... (LIKE ...) copies columns, types, NOT NULL, defaults, generated columns,
 * checks, storage, compression and the comments on columns.  The rest is written here, from
 * the catalogs, while the plain log still has its name and is locked: indexes, triggers,
 * row security and policies, grants on the table and on columns, the table's comment,
 * statistics targets, sequences of serial and identity columns, publications.
 *
 * What refers to the plain log by its OID (views, functions, foreign keys, ...) would go
 * on with the past alone, and silently.  So it is in the way: AuditCarryObstacles names it.
 *
 * All are queries on the catalogs.  They run with search_path = pg_catalog, so that
 * definitions come out with every name qualified; nobody's code runs.  What they return is
 * in the current memory context.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "audit/audit.h"
#include "audit/audit_adopt.h"
#include "common/names.h"
#include "common/settings.h"
#include "common/spi.h"

#define EQ	" OPERATOR(pg_catalog.=) "
#define NE	" OPERATOR(pg_catalog.<>) "
#define ADD	" OPERATOR(pg_catalog.||) "
#define OID_OF(name)	"'pg_catalog." name "'::pg_catalog.regclass::pg_catalog.oid"

/* The first column of a query's rows, a text, without nulls.  $1 is the log's OID, $2 its name. */
static List *
texts_of(const char *query, Oid logid, Oid extra)
{
	SpiArg		args[3] = {
		SpiDatumArg(OIDOID, ObjectIdGetDatum(logid)), SpiTextArg(NamesQualified(logid)),
		SpiDatumArg(OIDOID, ObjectIdGetDatum(extra))
	};
	uint64		n = SpiQuery(query, OidIsValid(extra) ? 3 : 2, args);
	List	   *texts = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		char	   *text = SpiText(i, 1);

		if (text != NULL)
			texts = lappend(texts, text);
	}
	return texts;
}

/* ---- obstacles ------------------------------------------------------------------------- */

static const char *const obstacles =
"SELECT DISTINCT pg_catalog.pg_describe_object(o.classid, o.objid, 0) FROM ("
/* keys of others into the log, and its own; checks that a partitioned table cannot have */
"SELECT " OID_OF("pg_constraint") " AS classid, oid AS objid FROM pg_catalog.pg_constraint "
"WHERE (conrelid" EQ "$1 OR confrelid" EQ "$1) AND (contype" EQ "'f' OR (contype" EQ "ANY (ARRAY['c', 'n']::pg_catalog.\"char\"[]) "
"AND (connoinherit OR NOT convalidated) AND NOT pg_catalog.starts_with(conname::pg_catalog.text, '" AUDIT_ADOPT_CHECK "'))) "
/* rules, parents, children */
"UNION ALL SELECT " OID_OF("pg_rewrite") ", oid FROM pg_catalog.pg_rewrite WHERE ev_class" EQ "$1 "
"UNION ALL SELECT " OID_OF("pg_class") ", inhrelid FROM pg_catalog.pg_inherits WHERE inhparent" EQ "$1 "
"UNION ALL SELECT " OID_OF("pg_class") ", inhparent FROM pg_catalog.pg_inherits WHERE inhrelid" EQ "$1 "
/* views, functions, policies of other tables: what knows the table, or its row type, by OID */
"UNION ALL SELECT d.classid, d.objid FROM pg_catalog.pg_depend d "
"LEFT JOIN pg_catalog.pg_policy p ON d.classid" EQ OID_OF("pg_policy") " AND p.oid" EQ "d.objid "
"LEFT JOIN pg_catalog.pg_trigger t ON d.classid" EQ OID_OF("pg_trigger") " AND t.oid" EQ "d.objid "
"WHERE d.refclassid" EQ OID_OF("pg_class") " AND d.refobjid" EQ "$1 AND d.deptype" EQ "'n' "
"AND d.classid" EQ "ANY (ARRAY[" OID_OF("pg_rewrite") ", " OID_OF("pg_proc") ", " OID_OF("pg_policy") ", " OID_OF("pg_trigger") "]) "
"AND (p.oid IS NULL OR p.polrelid" NE "$1) AND (t.oid IS NULL OR (t.tgrelid" NE "$1 AND t.tgfoid" NE "$3)) "
"UNION ALL SELECT d.classid, d.objid FROM pg_catalog.pg_depend d, pg_catalog.pg_type y "
"WHERE d.refclassid" EQ OID_OF("pg_type") " AND d.refobjid" EQ "y.oid AND d.deptype" EQ "'n' "
"AND (y.typrelid" EQ "$1 OR y.typelem" EQ "(SELECT reltype FROM pg_catalog.pg_class WHERE oid" EQ "$1)) "
/* the extension that it belongs to */
"UNION ALL SELECT refclassid, refobjid FROM pg_catalog.pg_depend WHERE classid" EQ OID_OF("pg_class") " AND objid" EQ "$1 AND deptype" EQ "'e' "
/* triggers that partitioned tables cannot have, and our own: the log is audited itself */
"UNION ALL SELECT " OID_OF("pg_trigger") ", oid FROM pg_catalog.pg_trigger WHERE tgrelid" EQ "$1 AND NOT tgisinternal "
"AND (tgfoid" EQ "$3 OR ((tgnewtable IS NOT NULL OR tgoldtable IS NOT NULL) AND (tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 1)" EQ "1)) "
/* publications that would send the months under names of their own, or a part of the log */
"UNION ALL SELECT " OID_OF("pg_publication") ", p.oid FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_tables t "
"ON t.pubname" EQ "p.pubname AND pg_catalog.format('%I.%I', t.schemaname, t.tablename)" EQ "$2 AND NOT p.pubviaroot "
"UNION ALL SELECT " OID_OF("pg_publication_rel") ", r.oid FROM pg_catalog.pg_publication_rel r WHERE r.prrelid" EQ "$1 "
"AND (pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>) 'prqual' IS NOT NULL OR pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>) 'prattrs' IS NOT NULL)"
") o ORDER BY 1";

/*
 * What cannot be carried over, or would be left behind with the past: descriptions, as
 * DROP ... CASCADE words them.  NIL when nothing is in the way.  trgoid: our trigger
 * function.  Within an SPI connection.
 */
List *
AuditCarryObstacles(Oid logid, Oid trgoid)
{
	int			level = SettingsForText();
	List	   *found = texts_of(obstacles, logid, trgoid);

	SettingsEnd(level);
	return found;
}

/* ---- what is carried ----------------------------------------------------------------------- */

static const char *const drop_triggers =
"SELECT pg_catalog.format('DROP TRIGGER %I ON %s', tgname, $2) FROM pg_catalog.pg_trigger WHERE tgrelid" EQ "$1 AND NOT tgisinternal ORDER BY tgname";

static const char *const create_triggers =
"SELECT pg_catalog.pg_get_triggerdef(oid) FROM pg_catalog.pg_trigger WHERE tgrelid" EQ "$1 AND NOT tgisinternal ORDER BY tgname";

static const char *const enable_triggers =
"SELECT pg_catalog.format('ALTER TABLE %s %s TRIGGER %I', $2, CASE WHEN tgenabled OPERATOR(pg_catalog.=) 'D' THEN 'DISABLE' WHEN tgenabled OPERATOR(pg_catalog.=) 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, tgname) "
"FROM pg_catalog.pg_trigger WHERE tgrelid" EQ "$1 AND NOT tgisinternal AND tgenabled" NE "'O' ORDER BY tgname";

static const char *const row_security =
"SELECT pg_catalog.unnest(ARRAY[CASE WHEN relrowsecurity THEN pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', $2) END, "
"CASE WHEN relforcerowsecurity THEN pg_catalog.format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', $2) END]) "
"FROM pg_catalog.pg_class WHERE oid" EQ "$1";

static const char *const policies =
"SELECT pg_catalog.format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', polname, $2, CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, "
"CASE WHEN polcmd OPERATOR(pg_catalog.=) 'r' THEN 'SELECT' WHEN polcmd OPERATOR(pg_catalog.=) 'a' THEN 'INSERT' WHEN polcmd OPERATOR(pg_catalog.=) 'w' THEN 'UPDATE' WHEN polcmd OPERATOR(pg_catalog.=) 'd' THEN 'DELETE' ELSE 'ALL' END, "
"(SELECT pg_catalog.string_agg(CASE WHEN r OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r)) END, ', ') FROM pg_catalog.unnest(polroles) r), "
"' USING (' " ADD "pg_catalog.pg_get_expr(polqual, polrelid)" ADD "')', ' WITH CHECK ('" ADD "pg_catalog.pg_get_expr(polwithcheck, polrelid)" ADD "')') "
"FROM pg_catalog.pg_policy WHERE polrelid" EQ "$1 ORDER BY polname";

/* the owner, too, has what the ACL says and no more */
static const char *const grants =
"SELECT pg_catalog.format('REVOKE ALL ON TABLE %s FROM %I', $2, pg_catalog.pg_get_userbyid(relowner)) FROM pg_catalog.pg_class "
"WHERE oid" EQ "$1 AND relacl IS NOT NULL UNION ALL "
"SELECT pg_catalog.format('GRANT %s ON TABLE %s TO %s%s', a.privilege_type, $2, CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE "
"pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END) "
"FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a WHERE c.oid" EQ "$1 UNION ALL "
"SELECT pg_catalog.format('GRANT %s (%I) ON TABLE %s TO %s%s', a.privilege_type, t.attname, $2, CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE "
"pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END) "
"FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a WHERE t.attrelid" EQ "$1 AND NOT t.attisdropped";

static const char *const comment =
"SELECT pg_catalog.format('COMMENT ON TABLE %s IS %L', $2, pg_catalog.obj_description($1, 'pg_class')) "
"WHERE pg_catalog.obj_description($1, 'pg_class') IS NOT NULL";

static const char *const statistics =
"SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', $2, attname, attstattarget) FROM pg_catalog.pg_attribute "
"WHERE attrelid" EQ "$1 AND attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped AND attstattarget OPERATOR(pg_catalog.>=) 0 ORDER BY attnum";

/* sequences of serial columns: they are owned by the new column */
static const char *const serials =
"SELECT pg_catalog.format('ALTER SEQUENCE %s OWNED BY %s.%I', d.objid::pg_catalog.regclass, $2, a.attname) FROM pg_catalog.pg_depend d "
"JOIN pg_catalog.pg_class s ON s.oid" EQ "d.objid AND s.relkind" EQ "'S' "
"JOIN pg_catalog.pg_attribute a ON a.attrelid" EQ "d.refobjid AND a.attnum" EQ "d.refobjsubid "
"WHERE d.classid" EQ OID_OF("pg_class") " AND d.refclassid" EQ OID_OF("pg_class") " AND d.refobjid" EQ "$1 AND d.deptype" EQ "'a' "
"ORDER BY a.attnum";

static const char *const drop_identities =
"SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY', $2, attname) FROM pg_catalog.pg_attribute "
"WHERE attrelid" EQ "$1 AND attidentity" NE "'' AND NOT attisdropped ORDER BY attnum";

/* identity columns: a new sequence of the same name and kind, and how to read where the old one is */
static const char *const identities =
"SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %s START WITH %s INCREMENT BY %s "
"MINVALUE %s MAXVALUE %s CACHE %s %s)', $2, a.attname, CASE WHEN a.attidentity OPERATOR(pg_catalog.=) 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, "
"n.name, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END), n.name "
"FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_sequence s ON s.seqrelid" EQ "d.objid "
"JOIN pg_catalog.pg_attribute a ON a.attrelid" EQ "d.refobjid AND a.attnum" EQ "d.refobjsubid "
"JOIN pg_catalog.pg_class c ON c.oid" EQ "d.objid, "
"LATERAL (SELECT pg_catalog.format('%s.%I', c.relnamespace::pg_catalog.regnamespace, c.relname)) n(name) "
"WHERE d.classid" EQ OID_OF("pg_class") " AND d.refclassid" EQ OID_OF("pg_class") " AND d.refobjid" EQ "$1 AND d.deptype" EQ "'i' "
"ORDER BY a.attnum";

static const char *const leave_publications =
"SELECT pg_catalog.format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, $2) FROM pg_catalog.pg_publication_rel r "
"JOIN pg_catalog.pg_publication p ON p.oid" EQ "r.prpubid WHERE r.prrelid" EQ "$1 ORDER BY p.pubname";

static const char *const join_publications =
"SELECT pg_catalog.format('ALTER PUBLICATION %I ADD TABLE %s', p.pubname, $2) FROM pg_catalog.pg_publication_rel r "
"JOIN pg_catalog.pg_publication p ON p.oid" EQ "r.prpubid WHERE r.prrelid" EQ "$1 ORDER BY p.pubname";

/*
 * name; what makes the same index on ONLY the partitioned table, in two pieces around its
 * name; null where it cannot be: a unique one that says nothing of changed_at
 */
static const char *const indexes =
"SELECT c.relname::pg_catalog.text, CASE WHEN o.contype IS NULL THEN pg_catalog.format('CREATE %sINDEX ', u.word) "
"ELSE pg_catalog.format('ALTER TABLE ONLY %s ADD CONSTRAINT ', $2) END, CASE WHEN o.contype IS NULL THEN "
"pg_catalog.format(' ON ONLY %s', $2)" ADD "pg_catalog.substr(d.text, pg_catalog.length(pg_catalog.format('CREATE %sINDEX %I ON %s', u.word, c.relname, $2))"
" OPERATOR(pg_catalog.+) 1) ELSE ' '" ADD "pg_catalog.pg_get_constraintdef(o.oid) END, "
"(NOT i.indisunique OR (i.indimmediate AND i.indexprs IS NULL AND (SELECT pg_catalog.bool_or(k" EQ "$3::pg_catalog.int4) "
"FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY q(k, n) WHERE n OPERATOR(pg_catalog.<=) i.indnkeyatts))) AND NOT i.indisexclusion "
"FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid" EQ "i.indexrelid "
"LEFT JOIN pg_catalog.pg_constraint o ON o.conindid" EQ "i.indexrelid AND o.conrelid" EQ "i.indrelid AND o.contype" EQ "ANY (ARRAY['p', 'u', 'x']::pg_catalog.\"char\"[]), "
"LATERAL (SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END) u(word), LATERAL (SELECT pg_catalog.pg_get_indexdef(i.indexrelid)) d(text) "
"WHERE i.indrelid" EQ "$1 AND i.indisvalid AND i.indisready ORDER BY i.indexrelid";

static List *
collect_indexes(Oid logid, AttrNumber changed_at)
{
	SpiArg		args[3] = {
		SpiDatumArg(OIDOID, ObjectIdGetDatum(logid)), SpiTextArg(NamesQualified(logid)),
		SpiDatumArg(INT4OID, Int32GetDatum(changed_at))
	};
	uint64		n = SpiQuery(indexes, 3, args);
	List	   *found = NIL;

	for (uint64 i = 0; i < n; i++)
	{
		AuditCarriedIndex *index = palloc0(sizeof(AuditCarriedIndex));

		index->name = SpiText(i, 1);
		if (SpiBool(i, 4))
		{
			index->first = SpiText(i, 2);
			index->second = SpiText(i, 3);
		}
		found = lappend(found, index);
	}
	return found;
}

/* The identity columns: their new sequences go on where the old ones are. */
static List *
collect_identities(Oid logid)
{
	SpiArg		args[2] = {
		SpiDatumArg(OIDOID, ObjectIdGetDatum(logid)), SpiTextArg(NamesQualified(logid))
	};
	uint64		n = SpiQuery(identities, 2, args);
	List	   *statements = NIL;
	List	   *sequences = NIL;
	ListCell   *lc;

	for (uint64 i = 0; i < n; i++)
	{
		statements = lappend(statements, SpiText(i, 1));
		sequences = lappend(sequences, SpiText(i, 2));
	}
	foreach(lc, sequences)
	{
		SpiRun(psprintf("SELECT pg_catalog.format('SELECT pg_catalog.setval(%%L, %%s, %%L)', %s, last_value, is_called) FROM %s",
						quote_literal_cstr(lfirst(lc)), (char *) lfirst(lc)));
		statements = lappend(statements, SpiText(0, 1));
	}
	return statements;
}

/*
 * All that the log has, which is locked and still has its name.  changed_at: its column.
 * Within an SPI connection; the statements are in the current memory context.
 */
void
AuditCarryCollect(Oid logid, AttrNumber changed_at, AuditCarried *carried)
{
	int			level = SettingsForText();
	static const char *const *const before[] = {&drop_triggers, &drop_identities};
	static const char *const *const after[] = {
		&serials, &create_triggers, &enable_triggers, &policies, &row_security, &comment, &statistics, &grants
	};

	memset(carried, 0, sizeof(*carried));
	carried->indexes = collect_indexes(logid, changed_at);
	carried->after = collect_identities(logid);
	for (int i = 0; i < lengthof(before); i++)
		carried->before = list_concat(carried->before, texts_of(*before[i], logid, InvalidOid));
	for (int i = 0; i < lengthof(after); i++)
		carried->after = list_concat(carried->after, texts_of(*after[i], logid, InvalidOid));
	carried->leave = texts_of(leave_publications, logid, InvalidOid);
	carried->join = texts_of(join_publications, logid, InvalidOid);
	SettingsEnd(level);
}
