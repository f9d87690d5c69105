-- Every refusal, with its SQLSTATE.
SET client_min_messages = warning;
CALL forget_audited();
CREATE TABLE aq_e (id int PRIMARY KEY, v int, "V" int);
-- before there is a log
\set VERBOSITY terse
SELECT audit_enable('aq_e');
\echo :SQLSTATE
\set VERBOSITY default
SELECT audit_install(months => -1);
\echo :SQLSTATE
SELECT audit_install(schema => 'aq_no_such_schema');
\echo :SQLSTATE
-- a log that somebody without rights on the schema planted there
CREATE ROLE aq_planter;
CREATE SCHEMA aq_planted;
CREATE TABLE aq_planted.audit_log (changed_at timestamptz, table_name text, record_id bigint, action text);
ALTER TABLE aq_planted.audit_log OWNER TO aq_planter;
SELECT audit_install(schema => 'aq_planted');
\echo :SQLSTATE
DROP SCHEMA aq_planted CASCADE;
DROP ROLE aq_planter;
SELECT audit_install(months => 1);

-- audit_enable
SELECT audit_enable(NULL);
\echo :SQLSTATE
SELECT audit_enable('aq_e', key => '{nope}');
\echo :SQLSTATE
SELECT audit_enable('aq_e', exclude => '{nope}');
\echo :SQLSTATE
SELECT audit_enable('aq_e', redact => '{v,NULL}');
\echo :SQLSTATE
SELECT audit_enable('aq_e', exclude => '{v}', redact => '{v}');
\echo :SQLSTATE
SELECT audit_enable('aq_e', exclude => '{id}');
\echo :SQLSTATE
SELECT audit_enable('aq_e', redact => '{id}');
\echo :SQLSTATE
CREATE VIEW aq_view AS SELECT 1 AS id;
SELECT audit_enable('aq_view');
\echo :SQLSTATE
CREATE SCHEMA aq_elsewhere;
CREATE SEQUENCE aq_elsewhere.s;
SELECT audit_enable('aq_elsewhere.s');
\echo :SQLSTATE
-- a HINT that can be typed as it stands
CREATE TABLE aq_elsewhere."No 'key'" (v int);
SELECT audit_enable('aq_elsewhere."No ''key''"');
\echo :SQLSTATE
DROP SCHEMA aq_elsewhere CASCADE;
SELECT audit_enable('pg_catalog.pg_class');
\echo :SQLSTATE
SELECT audit_enable('audit_log', key => '{record_id}');
\echo :SQLSTATE
SELECT audit_enable('audit_log_default', key => '{record_id}');
\echo :SQLSTATE
SELECT audit_enable('aq_e', log => 'aq_e');
\echo :SQLSTATE

-- a log that cannot be filled: the column is named
CREATE TABLE aq_log (table_name text);
SELECT audit_enable('aq_e', log => 'aq_log');
\echo :SQLSTATE
CREATE TABLE aq_log2 (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb,
	changed_at timestamptz, tenant int NOT NULL);
SELECT audit_enable('aq_e', log => 'aq_log2');
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
-- each that it needs
DO $$
DECLARE
	needed text;
	detail text;
BEGIN
	FOREACH needed IN ARRAY '{changed_at,table_name,action,old_data,new_data,changed_fields,record_id}'::text[] LOOP
		EXECUTE format('ALTER TABLE aq_log2 RENAME %I TO other', needed);
		BEGIN
			PERFORM audit_disable('aq_e'), audit_enable('aq_e', log => 'aq_log2');
			RAISE WARNING '% is not missed', needed;
		EXCEPTION WHEN undefined_column THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
			RAISE WARNING '%', detail;
		END;
		EXECUTE format('ALTER TABLE aq_log2 RENAME other TO %I', needed);
	END LOOP;
END $$;
ALTER TABLE aq_log2 DROP tenant, ALTER action TYPE int USING 0;
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
ALTER TABLE aq_log2 ALTER action TYPE text, ALTER changed_at TYPE point USING NULL;
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
-- the second row of a statement is refused, the first is gone with it
ALTER TABLE aq_log2 ALTER changed_at TYPE timestamptz USING NULL, ADD CONSTRAINT small CHECK (record_id < 2);
\set VERBOSITY terse
INSERT INTO aq_e VALUES (1, 1), (2, 2);
\echo :SQLSTATE
ALTER TABLE aq_log2 DROP CONSTRAINT small, ADD CONSTRAINT one UNIQUE (table_name);
INSERT INTO aq_e VALUES (1, 1), (2, 2);
\echo :SQLSTATE
\set VERBOSITY default
SELECT count(*) FROM aq_log2;
SELECT audit_disable('aq_e');

-- the trigger's protocol and arguments
CREATE TRIGGER t BEFORE INSERT ON aq_e FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
CREATE TRIGGER t AFTER INSERT ON aq_e FOR EACH STATEMENT EXECUTE FUNCTION fn_audit_trigger();
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
SELECT fn_audit_trigger();
\echo :SQLSTATE
CREATE TRIGGER t AFTER INSERT ON aq_e FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'something');
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
CREATE TRIGGER t AFTER INSERT ON aq_e FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id,,v');
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
CREATE TRIGGER t AFTER INSERT ON aq_e FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('"id');
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
CREATE TRIGGER t AFTER INSERT ON aq_e FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('"id"x');
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
CREATE TRIGGER t AFTER INSERT ON aq_e FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('', 'log=a.b.c');
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
CREATE TRIGGER t AFTER INSERT ON aq_e FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('log=aq_nowhere.audit_log');
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
DROP TRIGGER t ON aq_e;
CREATE TABLE aq_keyless (v int);
-- an index that is neither the primary key's nor the replica identity is no key
CREATE UNIQUE INDEX ON aq_keyless (v);
SELECT audit_enable('aq_keyless');
\echo :SQLSTATE
CREATE TRIGGER t AFTER INSERT ON aq_keyless FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('V ID');
INSERT INTO aq_keyless VALUES (1);
\echo :SQLSTATE
CREATE TRIGGER t AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('record_id');
SELECT audit_enable('aq_e');
\set VERBOSITY terse
INSERT INTO aq_e VALUES (1, 1);
\echo :SQLSTATE
\set VERBOSITY default
DROP TRIGGER t ON audit_log;

-- no partition for now, and no DEFAULT
DROP TABLE audit_log_default;
DO $$
DECLARE r record;
BEGIN
	FOR r IN SELECT inhrelid::regclass AS part FROM pg_inherits WHERE inhparent = 'audit_log'::regclass LOOP
		EXECUTE format('DROP TABLE %s', r.part);
	END LOOP;
END $$;
RESET client_min_messages;
DO $$ BEGIN INSERT INTO aq_e VALUES (1, 1); EXCEPTION WHEN check_violation THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END $$;
-- nor one of this month
CREATE TABLE aq_past PARTITION OF audit_log FOR VALUES FROM ('2000-01-01') TO ('2000-02-01');
DO $$ BEGIN INSERT INTO aq_e VALUES (1, 1); EXCEPTION WHEN check_violation THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END $$;
SELECT count(*) FROM aq_past;

-- audit_maintain
CALL audit_maintain(months_ahead => -1);
\echo :SQLSTATE
CALL audit_maintain(keep => '-1 year');
\echo :SQLSTATE
CALL audit_maintain(expired => 'burn');
\echo :SQLSTATE
CALL audit_maintain(log => 'aq_log2');
\echo :SQLSTATE
BEGIN;
CALL audit_maintain();
\echo :SQLSTATE
ROLLBACK;
CALL audit_maintain(months_ahead => 0, lock_wait => NULL);
DO $$ BEGIN CALL audit_maintain(); EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', SQLSTATE; END $$;

-- who may: nobody by default, but the audit itself needs no right
CREATE ROLE aq_nobody;
SELECT p.proname, has_function_privilege('aq_nobody', p.oid, 'EXECUTE') AS may
FROM pg_proc p WHERE p.oid IN (SELECT objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND classid = 'pg_proc'::regclass
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'aquacis'))
	AND (p.proname LIKE 'audit\_%' OR p.proname = 'fn_audit_trigger') ORDER BY 1;

DROP VIEW aq_view;
DROP TABLE aq_e, aq_keyless, aq_log, aq_log2, audit_log;
DROP ROLE aq_nobody;
