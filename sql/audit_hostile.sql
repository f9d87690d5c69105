-- What others put in the way of the audit: objects that are not there, planted logs,
-- rights by default, broken triggers, logs that move.
SET client_min_messages = warning;
CALL forget_audited();
CREATE ROLE aq_mallory;
CREATE ROLE aq_app;
CREATE SCHEMA aq_h;
GRANT USAGE ON SCHEMA aq_h TO PUBLIC;
SELECT format('GRANT USAGE, CREATE ON SCHEMA %I TO aq_mallory', current_schema()) AS give, format('REVOKE ALL ON SCHEMA %I FROM aq_mallory', current_schema()) AS take,
  current_schema() AS home, quote_ident(session_user) AS me \gset

-- what is not there, in every argument that names a relation
\set VERBOSITY terse
CREATE TABLE aq_h.t (id int PRIMARY KEY, v int);
SELECT audit_install(months => 0);
CREATE FUNCTION pg_temp.says(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END$$;
SELECT command, pg_temp.says(replace(command, 'OID', oid)) FROM
	(VALUES ('SELECT audit_enable(OID::regclass)'), ('SELECT audit_enable(''aq_h.t'', log => OID::regclass)'), ('SELECT audit_disable(OID::regclass)'),
		('SELECT * FROM audit_history(OID::regclass::text, ''1'')')) c (command),
	(VALUES ('0::oid'), ('4294967295::oid'), ('2::oid')) o (oid)
ORDER BY command, oid;
CALL audit_maintain(log => 0::oid::regclass);
CALL audit_maintain(log => 4294967295::oid::regclass);
\echo :SQLSTATE
SELECT audit_install('nowhere');
\echo :SQLSTATE
SELECT audit_enable('aq_h.t'::regclass, log => 'pg_class');
SELECT audit_enable('pg_class');
\set VERBOSITY sqlstate
SELECT audit_enable('aq_h.t', log => 'aq_h.t_pkey');
CALL audit_maintain(log => 'aq_h.t_pkey');
SELECT * FROM audit_history('aq_h.t_pkey', '1');
\set VERBOSITY terse

-- rights by default are for what an application makes, not for the log
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO aq_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA aq_h GRANT ALL ON TABLES TO PUBLIC;
DROP TABLE audit_log;
SELECT audit_install(months => 1);
SELECT audit_enable('aq_h.t');
INSERT INTO aq_h.t VALUES (1, 1);
CALL audit_maintain(months_ahead => 3);
SELECT count(*) > 4 AS several, bool_and(NOT EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee <> relowner)) AS closed FROM pg_class WHERE relname ~ '^audit_log' AND relkind IN ('r', 'p');
SELECT audit_install('aq_h', months => 0);
SELECT relname, ARRAY(SELECT grantee::regrole FROM aclexplode(relacl) WHERE grantee <> relowner) AS others FROM pg_class
WHERE relnamespace = 'aq_h'::regnamespace AND relkind IN ('r', 'p') AND relname !~ '\d' ORDER BY 1;
-- (a log that is there keeps the rights that somebody gave, and a new month has its owner's alone)
GRANT SELECT ON audit_log TO aq_app;
CALL audit_maintain(months_ahead => 4);
SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee <> relowner)) AS opened FROM pg_class WHERE relname ~ '^audit_log_2' AND relnamespace = :'home'::regnamespace;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM aq_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA aq_h REVOKE ALL ON TABLES FROM PUBLIC;
DROP TABLE aq_h.audit_log;
SELECT audit_disable('aq_h.t');
DROP TABLE audit_log;

-- a planted log: of the name that is looked for, by a role that may create
:give;
SET ROLE aq_mallory;
CREATE TABLE audit_log (changed_at timestamptz, table_name text, record_id bigint, action char(1), old_data jsonb, new_data jsonb, changed_fields jsonb);
RESET ROLE;
SELECT audit_enable('aq_h.t');
\echo :SQLSTATE
SELECT audit_install();
\echo :SQLSTATE
CALL audit_maintain();
\echo :SQLSTATE
-- ... named by the DBA it is his choice; he is told what it means
SET client_min_messages = notice;
SELECT audit_enable('aq_h.t', log => 'audit_log');
INSERT INTO aq_h.t VALUES (2, 2);
SELECT count(*) FROM audit_log;
SELECT audit_disable('aq_h.t');
SET client_min_messages = warning;
DROP TABLE audit_log;
-- ... in the place of one that was put aside
SELECT audit_install(months => 0);
SELECT audit_enable('aq_h.t');
ALTER TABLE audit_log RENAME TO audit_log_2024;
SET ROLE aq_mallory;
CREATE TABLE audit_log (changed_at timestamptz, table_name text, record_id bigint, action char(1), old_data jsonb, new_data jsonb, changed_fields jsonb);
RESET ROLE;
INSERT INTO aq_h.t VALUES (3, 3);
SELECT (SELECT count(*) FROM audit_log) AS planted, (SELECT count(*) FROM audit_log_2024) AS bound;
SELECT log FROM audit_status;
-- ... for a trigger made by hand, which knows the name alone: a log that came after it was not meant
DROP TABLE audit_log;
CREATE TABLE aq_h.hand (id int PRIMARY KEY, v int);
CREATE TRIGGER hand AFTER INSERT OR UPDATE OR DELETE ON aq_h.hand FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
INSERT INTO aq_h.hand VALUES (1, 1);
\echo :SQLSTATE
SET ROLE aq_mallory;
CREATE TABLE audit_log (changed_at timestamptz, table_name text, record_id bigint, action char(1), old_data jsonb, new_data jsonb, changed_fields jsonb);
RESET ROLE;
INSERT INTO aq_h.hand VALUES (1, 1);
\echo :SQLSTATE
SELECT audited_table, log FROM audit_status ORDER BY 1;
DROP TABLE audit_log;
DROP TABLE aq_h.hand;

-- a log that is renamed, moved, or whose schema is: nothing stops, nothing is lost
CREATE SCHEMA aq_l;
CREATE TABLE aq_l.log (changed_at timestamptz, table_name text, record_id bigint, action char(1), old_data jsonb, new_data jsonb, changed_fields jsonb);
SELECT audit_enable('aq_h.t', log => 'aq_l.log');
INSERT INTO aq_h.t VALUES (10, 1);
ALTER SCHEMA aq_l RENAME TO aq_l2;
INSERT INTO aq_h.t VALUES (11, 1);
ALTER TABLE aq_l2.log RENAME TO log2;
INSERT INTO aq_h.t VALUES (12, 1);
ALTER TABLE aq_l2.log2 SET SCHEMA aq_h;
INSERT INTO aq_h.t VALUES (13, 1);
SELECT record_id FROM aq_h.log2 ORDER BY 1;
SELECT log FROM audit_status;
SELECT count(*) FROM audit_history('aq_h.t', '13');
-- ... and dropped it is only after the audit
DROP TABLE aq_h.log2;
\echo :SQLSTATE
\set VERBOSITY default
DROP TABLE aq_h.log2;
\set VERBOSITY terse
SELECT audit_disable('aq_h.t');
DROP TABLE aq_h.log2;

DROP TABLE audit_log_2024;

-- one broken trigger does not hide the others
SELECT audit_install(months => 0);
SELECT audit_enable('aq_h.t');
CREATE TABLE aq_h.bad (id int PRIMARY KEY);
CREATE TRIGGER bad AFTER INSERT ON aq_h.bad FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'junk');
CREATE TABLE aq_h.worse (id int PRIMARY KEY);
CREATE TRIGGER worse AFTER INSERT ON aq_h.worse FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'log=aq_h.bad_pkey');
CREATE TABLE aq_h.lost (id int PRIMARY KEY);
CREATE TRIGGER lost AFTER INSERT ON aq_h.lost FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'log=aq_h.nowhere');
CREATE TABLE aq_h.wrong (id int PRIMARY KEY);
CREATE TRIGGER wrong AFTER INSERT ON aq_h.wrong FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'log=aq_h.t');
SELECT audited_table, log FROM audit_status ORDER BY 1;
INSERT INTO aq_h.bad VALUES (1);
\set VERBOSITY sqlstate
INSERT INTO aq_h.worse VALUES (1);
\set VERBOSITY terse
INSERT INTO aq_h.lost VALUES (1);
INSERT INTO aq_h.wrong VALUES (1);
SELECT audit_disable('aq_h.bad');
SELECT audit_enable('aq_h.worse');
INSERT INTO aq_h.bad VALUES (1);
INSERT INTO aq_h.worse VALUES (1);
SELECT table_name, record_id FROM audit_log ORDER BY 1;

-- a trigger of somebody who has the right TRIGGER on the log, or on a month of it
CREATE TABLE aq_h.ran (who text);
GRANT INSERT ON aq_h.ran TO PUBLIC;
DO $$ BEGIN EXECUTE format('GRANT TRIGGER ON ALL TABLES IN SCHEMA %I TO aq_mallory', current_schema()); END $$;
SET ROLE aq_mallory;
CREATE FUNCTION aq_spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO aq_h.ran VALUES (current_user); RETURN NEW; END';
CREATE FUNCTION aq_spy(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO aq_h.ran VALUES (current_user); RETURN true; END';
CREATE TRIGGER spy AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION aq_spy();
RESET ROLE;
\set VERBOSITY default
INSERT INTO aq_h.t VALUES (100, 1);
\echo :SQLSTATE
SELECT audit_enable('aq_h.t');
\set VERBOSITY terse
DROP TRIGGER spy ON audit_log;
SET ROLE aq_mallory;
CREATE TRIGGER spy AFTER INSERT ON audit_log FOR EACH ROW WHEN (aq_spy(NEW.xact_seq)) EXECUTE FUNCTION suppress_redundant_updates_trigger();
RESET ROLE;
INSERT INTO aq_h.t VALUES (100, 1);
DROP TRIGGER spy ON audit_log;
SET ROLE aq_mallory;
CREATE TRIGGER spy BEFORE DELETE ON audit_log_default FOR EACH ROW EXECUTE FUNCTION aq_spy();
RESET ROLE;
INSERT INTO aq_h.t VALUES (100, 1);
CALL audit_maintain(months_ahead => 12);
\echo :SQLSTATE
TABLE aq_h.ran;
DROP TRIGGER spy ON audit_log_default;
CALL audit_maintain(months_ahead => 1);
DROP FUNCTION aq_spy(), aq_spy(int);
DO $$ BEGIN EXECUTE format('REVOKE TRIGGER ON ALL TABLES IN SCHEMA %I FROM aq_mallory', current_schema()); END $$;

-- types of a stranger in a log
SET ROLE aq_mallory;
CREATE TYPE aq_who AS ENUM ('system');
RESET ROLE;
CREATE TABLE aq_h.log3 (changed_at timestamptz, table_name text, record_id bigint, action char(1), old_data jsonb, new_data jsonb, changed_fields jsonb, user_id aq_who);
SELECT audit_enable('aq_h.t', log => 'aq_h.log3');
\echo :SQLSTATE
DROP TABLE aq_h.log3;
DROP TYPE aq_who;

SELECT audit_disable('aq_h.t');
DROP SCHEMA aq_h, aq_l2 CASCADE;
DROP TABLE audit_log;
:take;
DROP ROLE aq_mallory, aq_app;
