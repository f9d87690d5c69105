-- A table's history through its life: names, keys, schemas, drop and create.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE SCHEMA aq_other;
CREATE FUNCTION history(text, text) RETURNS TABLE (change text) LANGUAGE sql AS
	$$ SELECT format('%s %s: %s -> %s', action, column_name, coalesce(old_value::text, '-'), coalesce(new_value::text, '-')) FROM audit_history($1, $2) $$;

-- rename of the table, of its schema, SET SCHEMA
CREATE TABLE aq_t (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_t');
INSERT INTO aq_t VALUES (1, 'a');
ALTER TABLE aq_t RENAME TO aq_new;
UPDATE aq_new SET v = 'b';
ALTER TABLE aq_new SET SCHEMA aq_other;
UPDATE aq_other.aq_new SET v = 'c';
ALTER SCHEMA aq_other RENAME TO aq_moved;
UPDATE aq_moved.aq_new SET v = 'd';
SELECT * FROM history('aq_moved.aq_new', '1');
SELECT table_schema ~ '^aq_' AS moved, table_name, table_id FROM audit_log ORDER BY written_at;
-- calling audit_enable again, or after audit_disable, keeps the id
SELECT audit_enable('aq_moved.aq_new');
SELECT audit_disable('aq_moved.aq_new');
SELECT table_name, disabled_at IS NOT NULL AS disabled FROM audit_table WHERE id = 1;
SELECT * FROM history('aq_moved.aq_new', '1');
SELECT audit_enable('aq_moved.aq_new');
UPDATE aq_moved.aq_new SET v = 'e';
SELECT table_id FROM audit_log ORDER BY written_at DESC LIMIT 1;

-- a new table under the old name has a history of its own
CREATE TABLE aq_t (id int PRIMARY KEY, other text);
SET client_min_messages = notice;
SELECT audit_enable('aq_t');
INSERT INTO aq_t VALUES (1, 'other');
SELECT * FROM history('aq_t', '1');
-- DROP and CREATE, as migration tools do it
DROP TABLE aq_t;
SELECT * FROM history('aq_t', '1');
CREATE TABLE aq_t (id int PRIMARY KEY, other text);
SELECT * FROM history('aq_t', '1');
SELECT audit_enable('aq_t');
INSERT INTO aq_t VALUES (1, 'again');
SELECT * FROM history('aq_t', '1');
SELECT audit_continue('aq_t', 2);
SELECT * FROM history('aq_t', '1');
-- what cannot be carried on
\set VERBOSITY terse
SELECT audit_continue('aq_t', 1);
\echo :SQLSTATE
SELECT audit_continue('aq_t', 3);
\echo :SQLSTATE
SELECT audit_continue('aq_t', 4711);
\echo :SQLSTATE
CREATE TABLE aq_never (id int PRIMARY KEY);
SELECT audit_continue('aq_never', 1);
\echo :SQLSTATE
SET client_min_messages = warning;
CREATE ROLE aq_someone;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO aq_someone', current_schema()); END $$;
GRANT EXECUTE ON FUNCTION audit_continue(regclass, integer) TO aq_someone;
SET ROLE aq_someone;
SELECT audit_continue(oid, 1) FROM pg_class WHERE relname = 'aq_t';
\echo :SQLSTATE
RESET ROLE;
REVOKE ALL ON FUNCTION audit_continue(regclass, integer) FROM aq_someone;
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM aq_someone', current_schema()); END $$;
DROP ROLE aq_someone;
\set VERBOSITY default

-- an UPDATE of the key: how 2 came to be, and not what 1 is since
CREATE TABLE aq_k (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_k');
INSERT INTO aq_k VALUES (1, 'uno');
UPDATE aq_k SET v = 'eins' WHERE id = 1;
UPDATE aq_k SET id = 2 WHERE id = 1;
INSERT INTO aq_k VALUES (1, 'another');
UPDATE aq_k SET v = 'zwei' WHERE id = 2;
UPDATE aq_k SET id = 3, v = 'drei' WHERE id = 2;
SELECT * FROM history('aq_k', '3');
SELECT * FROM history('aq_k', '1');
SELECT record_id, new_key FROM audit_log WHERE new_key IS NOT NULL ORDER BY written_at;
-- keys that are swapped, and one that goes round
CREATE TABLE aq_swap (a text, b int, v int, PRIMARY KEY (a, b) DEFERRABLE);
SELECT audit_enable('aq_swap');
INSERT INTO aq_swap VALUES ('x', 1, 10), ('y', 1, 20);
UPDATE aq_swap SET a = CASE a WHEN 'x' THEN 'y' ELSE 'x' END;
UPDATE aq_swap SET v = v + 1 WHERE a = 'x';
SELECT * FROM history('aq_swap', '{"a": "x", "b": 1}');
UPDATE aq_swap SET a = CASE a WHEN 'x' THEN 'y' ELSE 'x' END;
SELECT * FROM history('aq_swap', '{"a": "x", "b": 1}');

-- a key of another type, with another name, with one more column
CREATE TABLE aq_c (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_c');
INSERT INTO aq_c VALUES (1, 'int');
ALTER TABLE aq_c ALTER id TYPE text;
UPDATE aq_c SET v = 'text';
SELECT * FROM history('aq_c', '1');
ALTER TABLE aq_c RENAME id TO code;
UPDATE aq_c SET v = 'renamed';
SELECT * FROM history('aq_c', '1');
ALTER TABLE aq_c ALTER code TYPE bigint USING code::bigint;
UPDATE aq_c SET v = 'int again';
SELECT * FROM history('aq_c', '1');
ALTER TABLE aq_c ADD y int NOT NULL DEFAULT 2025, DROP CONSTRAINT aq_c_pkey, ADD PRIMARY KEY (code, y);
SELECT audit_enable('aq_c');
UPDATE aq_c SET v = 'two columns';
SET client_min_messages = notice;
SELECT * FROM history('aq_c', '{"code": 1, "y": 2025}');
SELECT * FROM history('aq_c', '{"code": 1}');
SET client_min_messages = warning;
SELECT keys FROM audit_table WHERE table_name = 'aq_c';

-- the same name in two schemas, neither in search_path
CREATE SCHEMA aq_a;
CREATE SCHEMA aq_b;
CREATE TABLE aq_a.dup (id int PRIMARY KEY, v text);
CREATE TABLE aq_b.dup (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_a.dup'), audit_enable('aq_b.dup');
INSERT INTO aq_a.dup VALUES (1, 'in a');
INSERT INTO aq_b.dup VALUES (1, 'in b');
SELECT * FROM history('aq_a.dup', '1');
SELECT * FROM history('aq_b.dup', '1');

-- a log of its own, audited no more, and gone
CREATE TABLE aq_mylog (LIKE audit_log);
CREATE TABLE aq_own (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_own', log => 'aq_mylog');
INSERT INTO aq_own VALUES (1, 'mine');
SELECT audit_disable('aq_own');
SELECT * FROM history('aq_own', '1');
DROP TABLE aq_own;
SELECT * FROM history('aq_own', '1');

-- a trigger made by hand has no id; one that claims another table's is not believed
CREATE TABLE aq_hand (id int PRIMARY KEY, v text);
CREATE TRIGGER "!audit_aq_hand" AFTER INSERT OR UPDATE OR DELETE ON aq_hand FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id');
INSERT INTO aq_hand VALUES (1, 'by hand');
SELECT * FROM history('aq_hand', '1');
CREATE TABLE aq_forged (id int PRIMARY KEY, v text);
CREATE TRIGGER "!audit_aq_forged" AFTER INSERT OR UPDATE OR DELETE ON aq_forged FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'id=4');
INSERT INTO aq_forged VALUES (3, 'forged');
SELECT table_name, table_id FROM audit_log ORDER BY written_at DESC LIMIT 2;
SELECT count(*) FROM history('aq_k', '3') WHERE change ~ 'forged';
-- audit_enable gives it one, and what was logged without stays its own
SELECT audit_enable('aq_hand');
UPDATE aq_hand SET v = 'enabled';
SELECT * FROM history('aq_hand', '1');
-- not so for a table that had no trigger then; until it is said
CREATE TABLE aq_late (id int PRIMARY KEY, v text);
CREATE TRIGGER "!audit_aq_late" AFTER INSERT OR UPDATE OR DELETE ON aq_late FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id');
INSERT INTO aq_late VALUES (1, 'before');
DROP TRIGGER "!audit_aq_late" ON aq_late;
SELECT audit_enable('aq_late');
UPDATE aq_late SET v = 'after';
SELECT * FROM history('aq_late', '1');
SELECT audit_continue('aq_late', 0);
SELECT * FROM history('aq_late', '1');
CREATE TRIGGER t AFTER INSERT ON aq_never FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'id=0');
INSERT INTO aq_never VALUES (1);
\echo :SQLSTATE

DROP FUNCTION history(text, text);
DROP SCHEMA aq_moved, aq_a, aq_b CASCADE;
DROP TABLE aq_t, aq_never, aq_k, aq_swap, aq_c, aq_mylog, aq_hand, aq_forged, aq_late, audit_log;
