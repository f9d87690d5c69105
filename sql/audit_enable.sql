-- audit_enable, called again: what is not named stays, what changes is said.
\pset format unaligned
CALL forget_audited();
SET client_min_messages = warning;
SELECT audit_install();
CREATE TABLE ae_contrato (num int PRIMARY KEY, otra int NOT NULL UNIQUE, clave text, hora timestamptz, v int);
CREATE TABLE ae_log (LIKE audit_log);
CREATE VIEW ae_now AS SELECT audited_table, key, excluded, redacted, replica, events, log::text AS log FROM audit_status;
RESET client_min_messages;

SELECT audit_enable('ae_contrato', key => '{otra}', exclude => '{hora}', redact => '{clave}', log => 'ae_log', replica => true, images => true);
-- nothing named: nothing changes, nothing is said
SELECT audit_enable('ae_contrato');
TABLE ae_now;
INSERT INTO ae_contrato VALUES (1, 10, 'secret', '2026-01-01', 1);
UPDATE ae_contrato SET hora = now();
SELECT action, record_id, new_data FROM ae_log;
TRUNCATE ae_contrato;
SELECT action, record_id, old_data FROM ae_log WHERE action <> 'I' ORDER BY action;
-- one thing named: the others stay
SELECT audit_enable('ae_contrato', exclude => '{hora,v}');
TABLE ae_now;
SELECT audit_enable('ae_contrato', redact => '{clave,v}', exclude => '{hora}');
SELECT audit_enable('ae_contrato', redact => '{v}');
SELECT audit_enable('ae_contrato', replica => false);
SELECT audit_enable('ae_contrato', images => false);
SELECT audit_enable('ae_contrato', key => '{num}');
SELECT audit_enable('ae_contrato', key => '{}');
SELECT audit_enable('ae_contrato', log => 'audit_log');
SELECT audit_enable('ae_contrato', exclude => '{}', redact => '{}');
TABLE ae_now;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'ae_contrato'::regclass ORDER BY 1;

-- what is kept is checked like what is named
SELECT audit_enable('ae_contrato', redact => '{clave}', key => '{otra}', exclude => '{hora}');
SELECT audit_enable('ae_contrato', exclude => '{clave}');
\echo :LAST_ERROR_SQLSTATE
SELECT audit_enable('ae_contrato', exclude => '{otra}');
\echo :LAST_ERROR_SQLSTATE
SELECT audit_enable('ae_contrato', redact => '{clave,NULL}');
\echo :LAST_ERROR_SQLSTATE
-- a redacted column that has another name now is not forgotten
ALTER TABLE ae_contrato RENAME clave TO palabra;
SELECT audit_enable('ae_contrato', images => true);
\echo :LAST_ERROR_SQLSTATE
SELECT audit_enable('ae_contrato', redact => '{palabra}');
-- an excluded one is, and a key falls back to the primary key, as in the trigger
ALTER TABLE ae_contrato RENAME hora TO momento;
ALTER TABLE ae_contrato RENAME otra TO otro;
SELECT audit_enable('ae_contrato');
TABLE ae_now;

-- readers go on: no ACCESS EXCLUSIVE but where a trigger has to go
CREATE VIEW ae_locks AS SELECT DISTINCT mode FROM pg_locks WHERE relation = 'ae_contrato'::regclass AND pid = pg_backend_pid() AND mode ~ 'Exclusive';
BEGIN;
SELECT audit_enable('ae_contrato', redact => '{palabra,v}', images => true, replica => true);
TABLE ae_locks;
COMMIT;
BEGIN;
SELECT audit_enable('ae_contrato', images => false);
TABLE ae_locks ORDER BY 1;
COMMIT;
-- a trigger of that name that is not ours is not replaced
CREATE FUNCTION ae_theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT audit_disable('ae_contrato');
CREATE TRIGGER "!audit_ae_contrato" AFTER INSERT ON ae_contrato FOR EACH ROW EXECUTE FUNCTION ae_theirs();
\set VERBOSITY terse
SELECT audit_enable('ae_contrato');
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER "!audit_ae_contrato" ON ae_contrato;
-- one under another name, a disabled one, and one with a condition: they go, their arguments stay
CREATE TRIGGER by_hand AFTER UPDATE ON ae_contrato FOR EACH ROW WHEN (NEW.v > 1) EXECUTE FUNCTION fn_audit_trigger('redact=palabra');
ALTER TABLE ae_contrato DISABLE TRIGGER by_hand;
SELECT audit_enable('ae_contrato');
SELECT tgname, tgenabled, tgqual IS NULL AS always FROM pg_trigger WHERE tgrelid = 'ae_contrato'::regclass ORDER BY 1;
SELECT redacted, events FROM ae_now;
-- arguments that cannot be read could redact: they are not passed over
DROP TRIGGER "!audit_ae_contrato" ON ae_contrato;
CREATE TRIGGER "!audit_ae_contrato" AFTER INSERT OR UPDATE OR DELETE ON ae_contrato FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('redact=palabra,"');
SELECT audit_enable('ae_contrato');
\echo :LAST_ERROR_SQLSTATE
SELECT audit_disable('ae_contrato');

-- the log that is written to stays the log: renamed, and beside a new default one
SELECT audit_enable('ae_contrato', redact => '{palabra}');
ALTER TABLE audit_log RENAME TO ae_old_log;
SELECT audit_enable('ae_contrato', exclude => '{momento}');
SELECT excluded, redacted, log FROM ae_now;
-- a log that is gone is no reason to lose a redaction
DROP TABLE ae_log;
CREATE TABLE ae_log (LIKE ae_old_log);
SELECT audit_enable('ae_contrato', log => 'ae_log');
DROP TABLE ae_log;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE ae_log CASCADE;
SELECT audit_disable('ae_contrato');

-- partitions: the redaction of the partitioned table, called again; clones are replaced with it
SET client_min_messages = warning;
SELECT audit_install();
RESET client_min_messages;
CREATE TABLE ae_p (id int, y int, clave text, PRIMARY KEY (id, y)) PARTITION BY LIST (y);
CREATE TABLE ae_p1 PARTITION OF ae_p FOR VALUES IN (1);
SELECT audit_enable('ae_p', redact => '{clave}');
SELECT audit_enable('ae_p', replica => true);
INSERT INTO ae_p VALUES (1, 1, 'secret');
SELECT table_name, new_data FROM audit_log;
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgfoid = 'fn_audit_trigger'::regproc AND tgrelid IN ('ae_p'::regclass, 'ae_p1'::regclass) ORDER BY 1, 2;
SELECT audit_enable('ae_p1', redact => '{clave}');
SELECT count(*) FROM pg_trigger WHERE tgfoid = 'fn_audit_trigger'::regproc AND tgrelid = 'ae_p1'::regclass;

DROP VIEW ae_now, ae_locks;
DROP TABLE ae_contrato, ae_p, ae_old_log, audit_log;
DROP FUNCTION ae_theirs;
