-- audit_undo_plan and audit_undo: what is undone, what stands in the way, what is refused.
SET client_min_messages = warning;
SET TimeZone = 'America/Mexico_City';
SELECT audit_install(months => 0);
CREATE TABLE aq_parent (id int PRIMARY KEY, name text, amount numeric(10,2));
CREATE TABLE aq_child (a int, b text, parent int REFERENCES aq_parent, v int, PRIMARY KEY (a, b));
SELECT audit_enable('aq_parent'), audit_enable('aq_child');
-- who stands in the way, without what differs from run to run
CREATE FUNCTION aq_show(conflict_at timestamptz, conflict_xact xid8) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN conflict_xact IS NULL THEN NULL
		ELSE (SELECT string_agg(DISTINCT user_id || (conflict_at = written_at)::text, ',') FROM audit_log WHERE xact_id = conflict_xact AND written_at = conflict_at) END $$;

-- each kind of change, and several of one row
INSERT INTO aq_parent SELECT i, 'p' || i, i FROM generate_series(1, 5) i;
INSERT INTO aq_child SELECT i, 'x', i, i FROM generate_series(1, 5) i;
BEGIN;
SELECT audit_set_user('ana');
UPDATE aq_parent SET name = 'ana', amount = 1.00 WHERE id <= 2;
UPDATE aq_parent SET name = 'ana again' WHERE id = 1;
INSERT INTO aq_parent VALUES (9, 'nine', 9);
INSERT INTO aq_child VALUES (9, 'y', 9, 9);
DELETE FROM aq_child WHERE a = 3;
DELETE FROM aq_parent WHERE id = 3;
UPDATE aq_child SET a = 40, b = 'moved' WHERE a = 4;
INSERT INTO aq_parent VALUES (10, 'gone at once', 0);
DELETE FROM aq_parent WHERE id = 10;
COMMIT;
SELECT audited_table, record_key, undo, column_name, value_now, value_then, conflict FROM audit_undo_plan(user_id => 'ana');
BEGIN;
SELECT audited_table, record_key, undo, column_name, value_now, value_then, conflict, done FROM audit_undo(user_id => 'ana');
SELECT * FROM aq_parent ORDER BY id;
SELECT * FROM aq_child ORDER BY a, b;
-- its entries say what they are; nothing of it is left in the session
SELECT action, table_name, app_context FROM audit_log WHERE xact_id = pg_current_xact_id() ORDER BY xact_seq;
SELECT current_setting('app.context', true) AS context;
-- what is undone already
SELECT DISTINCT undo, done FROM audit_undo(user_id => 'ana');
-- and back again
SELECT audited_table, record_key, undo, column_name, value_now, value_then, done FROM audit_undo(xact => pg_current_xact_id());
SELECT * FROM aq_parent ORDER BY id;
SELECT * FROM aq_child ORDER BY a, b;
ROLLBACK;
-- the application's own context stays
BEGIN;
SELECT set_config('app.context', '{"ticket": 7}', true);
SELECT count(*) FROM audit_undo(user_id => 'ana');
SELECT DISTINCT app_context FROM audit_log WHERE xact_id = pg_current_xact_id();
ROLLBACK;

-- conflicts: another value, a column changed back by others in between, a row that is gone, one that is there again
SELECT audit_set_user('berta');
BEGIN;
SELECT audit_set_user('berta');
UPDATE aq_parent SET name = 'berta' WHERE id = 2;
DELETE FROM aq_child WHERE a = 40;
INSERT INTO aq_parent VALUES (3, 'another three', 3);
INSERT INTO aq_child VALUES (90, 'z', 9, 1);
COMMIT;
SELECT audited_table, record_key, undo, column_name, value_now, value_then, conflict, aq_show(conflict_at, conflict_xact) AS who FROM audit_undo_plan(user_id => 'ana') WHERE conflict IS NOT NULL;
\set VERBOSITY terse
SELECT count(*) FROM audit_undo(user_id => 'ana');
\echo :SQLSTATE
\set VERBOSITY default
-- the others; a foreign key stops one of them
BEGIN;
SELECT record_key, undo, column_name, conflict, conflict_user, done FROM audit_undo(user_id => 'ana', on_conflict => 'skip');
SELECT * FROM aq_parent ORDER BY id;
SELECT * FROM aq_child ORDER BY a, b;
ROLLBACK;
-- a row is undone whole or not at all: id 2 has another name, so its amount stays
BEGIN;
UPDATE aq_parent SET name = 'ana' WHERE id = 2;
SELECT audit_set_user('carla');
UPDATE aq_parent SET name = 'carla' WHERE id = 1;
SELECT audit_set_user('ana');
UPDATE aq_parent SET name = 'ana for ever' WHERE id = 1;
SELECT record_key, undo, column_name, value_now, value_then, conflict, conflict_user, done FROM audit_undo(user_id => 'ana', audited_table => 'aq_parent', on_conflict => 'skip') WHERE undo = 'update';
ROLLBACK;
-- a foreign key is an error
BEGIN;
DELETE FROM aq_parent WHERE id = 3;
UPDATE aq_parent SET name = 'ana' WHERE id = 2;
INSERT INTO aq_child VALUES (40, 'moved', 4, 4);
\set VERBOSITY terse
SELECT count(*) FROM audit_undo(user_id => 'ana');
\echo :SQLSTATE
ROLLBACK;
\set VERBOSITY default

-- by time: from since on, and before until
CREATE TABLE aq_time (id int PRIMARY KEY, v int);
SELECT audit_enable('aq_time');
INSERT INTO aq_time VALUES (1, 0);
UPDATE aq_time SET v = 1;
SELECT clock_timestamp() AS since \gset
UPDATE aq_time SET v = 2;
UPDATE aq_time SET v = 3;
SELECT clock_timestamp() AS until \gset
SELECT undo, column_name, value_now, value_then FROM audit_undo(since => :'since', until => :'until', audited_table => 'aq_time');
SELECT * FROM aq_time;
-- numbers that are equal, and a value that cannot be known
CREATE TABLE aq_odd (id int PRIMARY KEY, n numeric, secret text, stamp timestamptz, note text, twice int GENERATED ALWAYS AS (id * 2) STORED,
	serial int GENERATED ALWAYS AS IDENTITY, old text);
SELECT audit_enable('aq_odd', redact => '{secret}', exclude => '{stamp}');
INSERT INTO aq_odd (id, n, secret, stamp, note, old) SELECT i, i, 's', now(), 'n', 'o' FROM generate_series(1, 4) i;
BEGIN;
SELECT audit_set_user('odd');
UPDATE aq_odd SET n = 5, stamp = NULL WHERE id = 1;
UPDATE aq_odd SET secret = 't' WHERE id = 2;
DELETE FROM aq_odd WHERE id = 3;
UPDATE aq_odd SET old = 'x' WHERE id = 4;
COMMIT;
UPDATE aq_odd SET n = 5.00 WHERE id = 1;
ALTER TABLE aq_odd DROP COLUMN old;
SELECT record_key, undo, column_name, value_now, value_then, conflict FROM audit_undo_plan(user_id => 'odd');
SELECT record_key, undo, column_name, conflict, done FROM audit_undo(user_id => 'odd', on_conflict => 'skip') WHERE done;
SELECT id, n, secret, stamp IS NULL AS stamped FROM aq_odd ORDER BY id;
-- TRUNCATE: without images nothing can be done, with them it is an undo like any other
CREATE TABLE aq_empty (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_empty');
INSERT INTO aq_empty VALUES (1, 'one'), (2, 'two');
BEGIN;
SELECT audit_set_user('empty');
TRUNCATE aq_empty;
COMMIT;
SELECT record_key, undo, column_name, conflict FROM audit_undo_plan(user_id => 'empty');
SELECT audit_enable('aq_empty', images => true);
INSERT INTO aq_empty VALUES (1, 'one'), (2, NULL), (3, 'three');
BEGIN;
SELECT audit_set_user('images');
DELETE FROM aq_empty WHERE id = 3;
TRUNCATE aq_empty;
INSERT INTO aq_empty VALUES (2, 'another');
COMMIT;
SELECT record_key, undo, column_name, value_now, value_then, conflict FROM audit_undo_plan(user_id => 'images');
BEGIN;
SELECT record_key, undo, column_name, value_now, value_then, conflict, done FROM audit_undo(user_id => 'images');
SELECT * FROM aq_empty ORDER BY id;
-- the undo of that undo: empty but for the row that came behind TRUNCATE
SELECT record_key, undo, column_name, conflict, done FROM audit_undo(xact => pg_current_xact_id(), audited_table => 'aq_empty');
ROLLBACK;
-- TRUNCATE alone, undone while somebody has one of the rows again
BEGIN;
SELECT audit_set_user('images alone');
TRUNCATE aq_empty;
COMMIT;
INSERT INTO aq_empty VALUES (2, 'somebody');
SELECT record_key, undo, conflict, done FROM audit_undo(user_id => 'images alone', on_conflict => 'skip');
DELETE FROM aq_empty;
SELECT record_key, undo, column_name, value_then, conflict, done FROM audit_undo(user_id => 'images alone');
SELECT * FROM aq_empty ORDER BY id;
-- the table is gone, has come again, has another name
ALTER TABLE aq_time RENAME TO aq_times;
BEGIN;
SELECT record_key, undo, column_name, value_then, conflict FROM audit_undo_plan(audited_table => 'aq_times', since => :'until');
ROLLBACK;
DROP TABLE aq_times;
CREATE TABLE aq_time (id int PRIMARY KEY, v int);
SELECT audited_table, record_key, undo, column_name, value_now, value_then, conflict FROM audit_undo_plan(since => :'since', until => :'until');
-- a key swapped, and moved on by one
CREATE TABLE aq_swap (id int PRIMARY KEY DEFERRABLE, code text UNIQUE);
SELECT audit_enable('aq_swap');
INSERT INTO aq_swap SELECT i, 'c' || i FROM generate_series(1, 4) i;
BEGIN;
SELECT audit_set_user('swap');
UPDATE aq_swap SET id = id + 1;
UPDATE aq_swap SET code = 'tmp' WHERE id = 2;
UPDATE aq_swap SET code = 'c1' WHERE id = 3;
UPDATE aq_swap SET code = 'c2' WHERE id = 2;
SELECT * FROM aq_swap ORDER BY id;
SELECT record_key, undo, column_name, value_now, value_then, conflict, done FROM audit_undo(user_id => 'swap');
SELECT * FROM aq_swap ORDER BY id;
COMMIT;
-- rows of others that would go with it
CREATE TABLE aq_cascade (id int PRIMARY KEY, up int REFERENCES aq_cascade ON DELETE CASCADE);
SELECT audit_enable('aq_cascade');
BEGIN;
SELECT audit_set_user('top');
INSERT INTO aq_cascade VALUES (1, NULL), (2, 1);
COMMIT;
INSERT INTO aq_cascade VALUES (3, 2);
SELECT record_key, undo, column_name, conflict, done FROM audit_undo(user_id => 'top', on_conflict => 'skip');
\set VERBOSITY terse
SELECT count(*) FROM audit_undo(user_id => 'top');
\echo :SQLSTATE
DELETE FROM aq_cascade WHERE id = 3;
SELECT count(*) FROM audit_undo(user_id => 'top');
TABLE aq_cascade;
-- a trigger that keeps rows back
CREATE FUNCTION aq_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
UPDATE aq_swap SET code = 'kept' WHERE id = 1;
CREATE TRIGGER keep BEFORE UPDATE ON aq_swap FOR EACH ROW EXECUTE FUNCTION aq_keep();
SELECT xact_id AS kept FROM audit_log WHERE table_name = 'aq_swap' ORDER BY written_at DESC LIMIT 1 \gset
SELECT record_key, undo, column_name, conflict, done FROM audit_undo(xact => :'kept', on_conflict => 'skip');
SELECT count(*) FROM audit_undo(xact => :'kept');
\echo :SQLSTATE

-- what is refused
SELECT * FROM audit_undo_plan();
\echo :SQLSTATE
SELECT * FROM audit_undo(until => now());
\echo :SQLSTATE
SELECT * FROM audit_undo(user_id => 'ana', on_conflict => 'ask');
\echo :SQLSTATE
SELECT * FROM audit_undo(user_id => 'ana', on_conflict => NULL);
\echo :SQLSTATE
SELECT * FROM audit_undo_plan(user_id => 'ana', log => 'aq_swap');
\echo :SQLSTATE
SET client_min_messages = notice;
SELECT * FROM audit_undo(user_id => 'nobody');
SET client_min_messages = warning;
-- a log without transactions or users
CREATE TABLE aq_log (table_name text, record_key text, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz DEFAULT clock_timestamp(), id serial);
CREATE TABLE aq_text (k text PRIMARY KEY, v int);
SELECT audit_enable('aq_text', log => 'aq_log');
INSERT INTO aq_text VALUES ('a', 1), ('b', 2);
UPDATE aq_text SET k = 'c', v = 3 WHERE k = 'a';
SELECT * FROM audit_undo(xact => '5', audited_table => 'aq_text');
\echo :SQLSTATE
SELECT * FROM audit_undo(user_id => 'x', log => 'aq_log');
\echo :SQLSTATE
SELECT record_key, undo, column_name, value_now, value_then, conflict, done FROM audit_undo(audited_table => 'aq_text');
TABLE aq_text;

-- rights: those of the caller
CREATE ROLE aq_clerk;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO aq_clerk', current_schema()); END $$;
SET ROLE aq_clerk;
SELECT * FROM audit_undo(user_id => 'ana');
\echo :SQLSTATE
SELECT * FROM audit_undo_plan(user_id => 'ana');
\echo :SQLSTATE
RESET ROLE;
SELECT format('GRANT EXECUTE ON FUNCTION %s TO aq_clerk', p.oid::regprocedure) FROM pg_proc p WHERE proname = 'audit_undo' \gexec
GRANT SELECT ON audit_log TO aq_clerk;
SET ROLE aq_clerk;
SELECT count(*) FROM audit_undo_plan(user_id => 'ana');
\echo :SQLSTATE
RESET ROLE;
GRANT SELECT ON aq_parent, aq_child TO aq_clerk;
SET ROLE aq_clerk;
SELECT count(*) FROM audit_undo_plan(user_id => 'ana');
SELECT count(*) FROM audit_undo(user_id => 'ana', on_conflict => 'skip');
\echo :SQLSTATE
RESET ROLE;
GRANT UPDATE, INSERT, DELETE ON aq_parent, aq_child TO aq_clerk;
-- a row that the caller may not see is gone for him
ALTER TABLE aq_parent ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON aq_parent USING (id <> 2);
SET ROLE aq_clerk;
SELECT record_key, undo, column_name, conflict, done FROM audit_undo(user_id => 'ana', audited_table => 'aq_parent', on_conflict => 'skip') WHERE undo = 'update';
RESET ROLE;
SELECT * FROM aq_parent ORDER BY id;

DROP TABLE aq_child, aq_parent, aq_time, aq_odd, aq_empty, aq_swap, aq_cascade, aq_text, aq_log, audit_log;
DROP FUNCTION aq_show, aq_keep;
DROP OWNED BY aq_clerk;
DROP ROLE aq_clerk;
