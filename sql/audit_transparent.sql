-- What the application must not notice, and what nobody can get around.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install();
CREATE ROLE aq_app;
CREATE ROLE aq_owner;
CREATE SCHEMA aq_s;
GRANT ALL ON SCHEMA aq_s TO aq_app, aq_owner;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO aq_owner', current_schema()); END $$;
CREATE VIEW logged AS SELECT table_name, record_id, action, changed_fields,
  CASE db_user WHEN session_user THEN 'postgres' ELSE db_user END AS db_user FROM audit_log ORDER BY xact_id, xact_seq;  -- whoever runs the tests
CREATE TABLE aq_s.t (id serial PRIMARY KEY, v text);
GRANT ALL ON aq_s.t, aq_s.t_id_seq TO aq_app;
SELECT audit_enable('aq_s.t');

-- a role without any right on the log; lastval(), RETURNING and row counts
SET ROLE aq_app;
INSERT INTO aq_s.t (v) VALUES ('a'), ('b') RETURNING id;
SELECT lastval();
UPDATE aq_s.t SET v = v || '!' RETURNING id, v;
DO $$
DECLARE n int;
BEGIN
	UPDATE aq_s.t SET v = 'x';
	GET DIAGNOSTICS n = ROW_COUNT;
	RAISE WARNING '% rows, lastval %', n, lastval();
END $$;
-- hostile search_path, a temporary table of the log's name, operators and functions of the user
CREATE TEMP TABLE audit_log (stolen text);
CREATE FUNCTION aq_s.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''2000-01-01''::timestamptz';
CREATE FUNCTION aq_s.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT ''"fooled"''::jsonb';
SET search_path = pg_temp, aq_s, pg_catalog;
UPDATE t SET v = 'hostile';
SELECT count(*) FROM pg_temp.audit_log;
SET search_path = '';
UPDATE aq_s.t SET v = 'no path';
RESET search_path;
DROP TABLE pg_temp.audit_log;
RESET ROLE;
TABLE logged;
DROP FUNCTION aq_s.now(), aq_s.to_jsonb(anyelement);

-- row security on the table and on the log, forced, for the owner too
TRUNCATE audit_log;
ALTER TABLE aq_s.t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON aq_s.t USING (id = 1);
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE audit_log OWNER TO aq_owner;
SET ROLE aq_app;
UPDATE aq_s.t SET v = 'rls';
RESET ROLE;
TABLE logged;
ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE aq_s.t DISABLE ROW LEVEL SECURITY;

-- the log's own BEFORE trigger runs as the log's owner, path and all; CHECK, default and generated column
TRUNCATE audit_log;
CREATE FUNCTION aq_s.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.user_id := current_user || ' / ' || current_setting('search_path');
	RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION aq_s.stamp();
SET ROLE aq_app;
SET search_path = pg_temp, aq_s;
UPDATE t SET v = 'before';
RESET search_path;
RESET ROLE;
SELECT action, user_id, db_user FROM audit_log;
DROP TRIGGER stamp ON audit_log;
TRUNCATE audit_log;
ALTER TABLE audit_log ADD size int GENERATED ALWAYS AS (octet_length(changed_fields::text)) STORED, ADD note text DEFAULT 'n' || 'ote',
	ADD number serial, ADD CONSTRAINT short CHECK (length(changed_fields::text) < 60);
SET ROLE aq_app;
UPDATE aq_s.t SET v = 'more' WHERE id = 1;
SELECT lastval();
\set VERBOSITY terse
DO $$ BEGIN UPDATE aq_s.t SET v = repeat('long', 20) WHERE id = 1; EXCEPTION WHEN check_violation THEN RAISE WARNING 'refused by the CHECK'; END $$;
\set VERBOSITY default
RESET ROLE;
SELECT action, size, note, number FROM audit_log;
-- a CHECK that calls a function of the log's owner, which nobody else may execute
CREATE FUNCTION aq_s.fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT current_user = ''aq_owner''';
REVOKE EXECUTE ON FUNCTION aq_s.fine(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION aq_s.fine(text) TO aq_owner;
ALTER TABLE audit_log DROP CONSTRAINT short;
TRUNCATE audit_log;
ALTER TABLE audit_log ADD CONSTRAINT mine CHECK (aq_s.fine(user_id));
SET ROLE aq_app;
UPDATE aq_s.t SET v = 'checked' WHERE id = 1;
RESET ROLE;
SELECT action, changed_fields, number > 1 AS numbered FROM audit_log;
ALTER TABLE audit_log DROP CONSTRAINT mine, DROP size, DROP note, DROP number;

-- session_replication_role: as for any trigger, unless replica => true
TRUNCATE audit_log;
SET session_replication_role = replica;
UPDATE aq_s.t SET v = 'r1' WHERE id = 1;
RESET session_replication_role;
SELECT audit_enable('aq_s.t', replica => true);
SET session_replication_role = replica;
UPDATE aq_s.t SET v = 'r2' WHERE id = 1;
RESET session_replication_role;
TABLE logged;

-- foreign key cascades, ON CONFLICT, COPY, a deferred constraint trigger, savepoints
TRUNCATE audit_log;
CREATE TABLE aq_s.child (id int PRIMARY KEY, t int REFERENCES aq_s.t ON DELETE CASCADE ON UPDATE CASCADE);
SELECT audit_enable('aq_s.child');
INSERT INTO aq_s.child VALUES (10, 1), (11, 1);
UPDATE aq_s.t SET id = 100 WHERE id = 1;
DELETE FROM aq_s.t WHERE id = 100;
INSERT INTO aq_s.t VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET v = 'upserted';
INSERT INTO aq_s.t VALUES (2, 'x') ON CONFLICT DO NOTHING;
COPY aq_s.t FROM stdin;
50	copied
51	copied
\.
TABLE logged;
TRUNCATE audit_log;
CREATE TABLE aq_s.d (id int PRIMARY KEY, v int);
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR UPDATE OR DELETE ON aq_s.d DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id');
BEGIN;
INSERT INTO aq_s.d VALUES (1, 1);
SAVEPOINT a;
UPDATE aq_s.d SET v = 2;
ROLLBACK TO a;
UPDATE aq_s.d SET v = 3;
SAVEPOINT b;
UPDATE aq_s.t SET v = 'kept' WHERE id = 50;
RELEASE b;
SAVEPOINT c;
UPDATE aq_s.t SET v = 'lost' WHERE id = 50;
ROLLBACK TO c;
UPDATE aq_s.t SET v = 'kept too' WHERE id = 51;
SELECT count(*) AS before_commit FROM logged;
COMMIT;
TABLE logged;
-- what a trigger writes when it is no longer deferred, the next command sees
BEGIN;
UPDATE aq_s.d SET v = 4;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT count(*) AS since FROM audit_log WHERE changed_fields #>> '{v,new}' = '4';
ROLLBACK;

-- an exception block undone and retried, and the log goes on
TRUNCATE audit_log;
DO $$
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			UPDATE aq_s.t SET v = 'try ' || i WHERE id = 50;
			PERFORM 1 / (i - 2);
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
END $$;
TABLE logged;

-- the log changed inside a savepoint that is undone: columns, a CHECK, an index; dropped and made again
TRUNCATE audit_log;
BEGIN;
UPDATE aq_s.t SET v = 'a' WHERE id = 50;
SAVEPOINT s;
ALTER TABLE audit_log ADD extra text NOT NULL DEFAULT 'e', ADD CHECK (action <> 'U') NOT VALID;
\set VERBOSITY sqlstate
UPDATE aq_s.t SET v = 'b' WHERE id = 50;
\set VERBOSITY default
ROLLBACK TO s;
UPDATE aq_s.t SET v = 'c' WHERE id = 50;
SAVEPOINT s2;
ALTER TABLE audit_log RENAME TO audit_log_aside;
SELECT audit_install(months => 0);
UPDATE aq_s.t SET v = 'd' WHERE id = 50;
SELECT changed_fields FROM audit_log;
ROLLBACK TO s2;
UPDATE aq_s.t SET v = 'e' WHERE id = 50;
SAVEPOINT s3;
CREATE INDEX ON audit_log (db_user);
UPDATE aq_s.t SET v = 'f' WHERE id = 50;
ROLLBACK TO s3;
UPDATE aq_s.t SET v = 'g' WHERE id = 50;
COMMIT;
TABLE logged;

-- two-level triggers: one that changes another audited table, and sees the log
TRUNCATE audit_log;
CREATE FUNCTION aq_s.second() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE aq_s.d SET v = v + 1;
	RETURN NULL;
END $$;
CREATE TRIGGER z AFTER UPDATE ON aq_s.t FOR EACH ROW EXECUTE FUNCTION aq_s.second();
UPDATE aq_s.t SET v = 'level' WHERE id IN (50, 51);
TABLE logged;
DROP TRIGGER z ON aq_s.t;

-- and a trigger of the log that changes an audited table
TRUNCATE audit_log;
GRANT USAGE ON SCHEMA aq_s TO aq_owner;
GRANT ALL ON aq_s.d TO aq_owner;
CREATE FUNCTION aq_s.from_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.table_name = 't' THEN
		UPDATE aq_s.d SET v = v + 1;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER back AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION aq_s.from_log();
-- (what runs as an owner whom the writer need not trust cannot leave anything for later, a deferred trigger either)
SET ROLE aq_app;
\set SHOW_CONTEXT never
UPDATE aq_s.t SET v = 'from log' WHERE id IN (50, 51);
\set SHOW_CONTEXT errors
\echo :SQLSTATE
RESET ROLE;
ALTER TABLE audit_log OWNER TO CURRENT_USER;
SET ROLE aq_app;
UPDATE aq_s.t SET v = 'from log' WHERE id IN (50, 51);
RESET ROLE;
ALTER TABLE audit_log OWNER TO aq_owner;
-- (18 runs deferred triggers as the role that queued them, older servers as the one that commits)
SELECT table_name, record_id, action, changed_fields FROM logged;
DROP TRIGGER back ON audit_log;

-- partitioned and inherited tables
TRUNCATE audit_log;
CREATE TABLE aq_s.p (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE aq_s.p_n (v int, junk int, region text NOT NULL, id int NOT NULL);
ALTER TABLE aq_s.p_n DROP junk;
ALTER TABLE aq_s.p ATTACH PARTITION aq_s.p_n FOR VALUES IN ('n');
SELECT audit_enable('aq_s.p', key => '{id}');
CREATE TABLE aq_s.p_s PARTITION OF aq_s.p FOR VALUES IN ('s');
INSERT INTO aq_s.p VALUES (1, 'n', 1), (2, 's', 1);
UPDATE aq_s.p SET v = 2;
UPDATE aq_s.p SET region = 's' WHERE id = 1;
DELETE FROM aq_s.p_s WHERE id = 2;
TRUNCATE aq_s.p;
CREATE TABLE aq_s.parent (id int PRIMARY KEY, v int);
CREATE TABLE aq_s.heir (extra int) INHERITS (aq_s.parent);
SELECT audit_enable('aq_s.parent');
SELECT audit_enable('aq_s.heir', key => '{id}');
INSERT INTO aq_s.parent VALUES (1, 1);
INSERT INTO aq_s.heir VALUES (2, 1, 1);
UPDATE aq_s.parent SET v = 2;
SELECT table_name, record_id, action, coalesce(old_data, new_data, changed_fields) AS data FROM audit_log ORDER BY xact_id, xact_seq;

-- columns added, dropped, renamed between two statements; the log dropped and made again
TRUNCATE audit_log;
ALTER TABLE aq_s.d ADD added int DEFAULT 5;
UPDATE aq_s.d SET added = 6;
ALTER TABLE aq_s.d RENAME added TO renamed;
UPDATE aq_s.d SET renamed = 7;
ALTER TABLE aq_s.d DROP renamed;
UPDATE aq_s.d SET v = 0;
ALTER TABLE aq_s.d RENAME TO d2;
UPDATE aq_s.d2 SET v = 1;
BEGIN;
UPDATE aq_s.d2 SET v = 2;
TABLE logged;
DROP VIEW logged;
-- (not while something is written to it)
SAVEPOINT s;
\set VERBOSITY terse
DROP TABLE audit_log;
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
ROLLBACK TO s;
ALTER TABLE audit_log RENAME TO audit_log_first;
SELECT audit_install(months => 0);
COMMIT;
UPDATE aq_s.d2 SET v = 3;
-- (put aside: a trigger of audit_enable goes on with it until there is another, one made by hand knows the name alone)
ALTER TABLE audit_log RENAME TO audit_log_old;
UPDATE aq_s.t SET v = 'aside' WHERE id = 50;
\set VERBOSITY terse
UPDATE aq_s.d2 SET v = 4;
\echo :SQLSTATE
\set VERBOSITY default
SELECT audit_install(months => 0);
UPDATE aq_s.t SET v = 'new' WHERE id = 50;
UPDATE aq_s.d2 SET v = 5;
SELECT action, changed_fields FROM audit_log_first WHERE changed_fields IS NOT NULL ORDER BY xact_id DESC, xact_seq DESC LIMIT 2;
SELECT action, changed_fields FROM audit_log_old;
SELECT action, changed_fields FROM audit_log;

DROP TABLE audit_log_old, audit_log_first, audit_log CASCADE;
DROP SCHEMA aq_s CASCADE;
DROP OWNED BY aq_app, aq_owner CASCADE;
DROP ROLE aq_app, aq_owner;
