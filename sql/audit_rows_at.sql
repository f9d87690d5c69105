-- audit_rows_at and audit_row_at: a table, and a row, as of a moment.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE TABLE ar_moment (name text PRIMARY KEY, at timestamptz);
CREATE FUNCTION ar_note(text) RETURNS void LANGUAGE sql AS $$ INSERT INTO ar_moment VALUES ($1, clock_timestamp()) $$;
CREATE FUNCTION ar_at(text) RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT at FROM ar_moment WHERE name = $1 $$;

SELECT ar_note('before');
CREATE TABLE ar_c (gone int, id int PRIMARY KEY, nombre text, importe numeric(10,2), clave text, hsthora timestamp);
ALTER TABLE ar_c DROP COLUMN gone;
SELECT audit_enable('ar_c', exclude => '{hsthora}', redact => '{clave}');
SELECT ar_note('empty');
INSERT INTO ar_c SELECT i, 'n' || i, i, 's', now() FROM generate_series(1, 8) i;
SELECT ar_note('full');
UPDATE ar_c SET nombre = 'new' WHERE id = 2;
UPDATE ar_c SET nombre = 'newer', importe = 0 WHERE id = 2;
UPDATE ar_c SET clave = 'x' WHERE id = 3;
DELETE FROM ar_c WHERE id = 4;
INSERT INTO ar_c (id, nombre) VALUES (4, 'again'), (9, 'nine');
UPDATE ar_c SET id = 50 WHERE id = 5;
UPDATE ar_c SET nombre = 'fifty' WHERE id = 50;
UPDATE ar_c SET nombre = NULL WHERE id = 6;
SELECT ar_note('middle');
DELETE FROM ar_c WHERE id IN (6, 50, 9);
SELECT ar_note('end');
\set VERBOSITY default
RESET client_min_messages;
SELECT * FROM audit_rows_at(NULL::ar_c, ar_at('empty')) ORDER BY id;
SELECT * FROM audit_rows_at(NULL::ar_c, ar_at('full')) ORDER BY id;
SELECT * FROM audit_rows_at(NULL::ar_c, ar_at('middle')) ORDER BY id;
SELECT id, nombre FROM audit_rows_at(NULL::ar_c, ar_at('end')) EXCEPT SELECT id, nombre FROM ar_c;
SELECT (audit_row_at(NULL::ar_c, '2', ar_at('full'))).*;
SELECT audit_row_at(NULL::ar_c, '3', ar_at('full'));
SELECT k, audit_row_at(NULL::ar_c, k, ar_at('full')) IS NULL AS none, (audit_row_at(NULL::ar_c, k, ar_at('middle'))).nombre
	FROM unnest('{1,2,4,5,50,6,9,99}'::text[]) k;
-- before the audit, and to come
SELECT count(*), count(clave) FROM audit_rows_at(NULL::ar_c, 'infinity');
\set VERBOSITY terse
SELECT replace(audit_row_at(NULL::ar_c, '1', now() + interval '1 day')::text, '"', '') AS now;
SET client_min_messages = warning;
SELECT count(*) FROM audit_rows_at(NULL::ar_c, ar_at('before'));
SELECT audit_row_at(NULL::ar_c, '1', '-infinity') IS NULL AS none;
\set VERBOSITY default
-- in a SELECT's list; the snapshot is the statement's
SELECT (audit_rows_at(NULL::ar_c, ar_at('end'))).id ORDER BY id LIMIT 2;
BEGIN ISOLATION LEVEL REPEATABLE READ;
UPDATE ar_c SET nombre = 'in the transaction';
SELECT count(*) FILTER (WHERE nombre = 'in the transaction') FROM audit_rows_at(NULL::ar_c, clock_timestamp());
SELECT count(*) FILTER (WHERE nombre = 'in the transaction') FROM audit_rows_at(NULL::ar_c, ar_at('end'));
ROLLBACK;

-- keys that are swapped, and go round
CREATE TABLE ar_s (id int PRIMARY KEY DEFERRABLE, v text);
SELECT audit_enable('ar_s');
INSERT INTO ar_s SELECT i, 'v' || i FROM generate_series(1, 6) i;
SELECT ar_note('swap');
UPDATE ar_s SET id = 3 - id WHERE id < 3;
UPDATE ar_s SET id = CASE id WHEN 3 THEN 4 WHEN 4 THEN 5 ELSE 3 END WHERE id BETWEEN 3 AND 5;
UPDATE ar_s SET v = v || '!' WHERE id < 5;
DELETE FROM ar_s WHERE id = 2;
UPDATE ar_s SET id = 2 WHERE id = 6;
SELECT * FROM audit_rows_at(NULL::ar_s, ar_at('swap')) ORDER BY id;
SELECT k, (audit_row_at(NULL::ar_s, k, ar_at('swap'))).v FROM generate_series(1, 6) i, CAST(i AS text) k;
DROP TABLE ar_s;

-- values that the present type does not have
ALTER TABLE ar_c ALTER nombre TYPE int USING id;
RESET client_min_messages;
SELECT id, nombre, importe FROM audit_rows_at(NULL::ar_c, ar_at('full')) ORDER BY id;
SET client_min_messages = warning;

-- TRUNCATE without images, and with them; rows that went while nobody looked
CREATE TABLE ar_t (id int PRIMARY KEY, v int);
INSERT INTO ar_t VALUES (1, 1), (2, 2);
SELECT audit_enable('ar_t');
SELECT ar_note('t');
UPDATE ar_t SET v = 20 WHERE id = 2;
TRUNCATE ar_t;
INSERT INTO ar_t VALUES (2, 200), (3, 300);
SELECT * FROM audit_rows_at(NULL::ar_t, ar_at('t'));
SELECT audit_row_at(NULL::ar_t, '1', ar_at('t'));
SELECT audit_row_at(NULL::ar_t, '2', ar_at('t'));
SELECT audit_enable('ar_t', images => true);
SELECT ar_note('images');
UPDATE ar_t SET v = 0 WHERE id = 3;
TRUNCATE ar_t;
SELECT * FROM audit_rows_at(NULL::ar_t, ar_at('images')) ORDER BY id;
INSERT INTO ar_t VALUES (4, 4), (5, 5);
SELECT ar_note('unseen');
UPDATE ar_t SET v = 6;
ALTER TABLE ar_t DISABLE TRIGGER USER;
DELETE FROM ar_t WHERE id = 4;
ALTER TABLE ar_t ENABLE TRIGGER USER;
SELECT * FROM audit_rows_at(NULL::ar_t, ar_at('unseen'));
SELECT audit_row_at(NULL::ar_t, '4', ar_at('unseen'));
SELECT audit_disable('ar_t');
SELECT count(*) FROM audit_rows_at(NULL::ar_t, now());
DROP TABLE ar_t;

-- partitions: the whole, and one of them
CREATE TABLE ar_p (id int, y int, v text, PRIMARY KEY (id, y)) PARTITION BY RANGE (y);
CREATE TABLE ar_p1 PARTITION OF ar_p FOR VALUES FROM (0) TO (10);
CREATE TABLE ar_p2 (v text, y int NOT NULL, id int NOT NULL);
ALTER TABLE ar_p ATTACH PARTITION ar_p2 FOR VALUES FROM (10) TO (20);
SELECT audit_enable('ar_p', key => '{id}');
INSERT INTO ar_p VALUES (1, 1, 'a'), (2, 2, 'b'), (11, 11, 'c'), (12, 12, 'd');
SELECT ar_note('p');
UPDATE ar_p SET y = 13 WHERE id = 1;
UPDATE ar_p SET v = 'dd', y = 3 WHERE id = 12;
DELETE FROM ar_p WHERE id = 11;
SELECT * FROM audit_rows_at(NULL::ar_p, ar_at('p')) ORDER BY id;
SELECT * FROM audit_rows_at(NULL::ar_p1, ar_at('p')) ORDER BY id;
SELECT * FROM audit_rows_at(NULL::ar_p2, ar_at('p')) ORDER BY id;
SELECT * FROM audit_rows_at(NULL::ar_p2, now()) ORDER BY id;
SELECT audit_row_at(NULL::ar_p2, '12', ar_at('p'));
DROP TABLE ar_p;
-- a parent's own rows, and an excluded key column
CREATE TABLE ar_i (id int PRIMARY KEY, v int);
CREATE TABLE ar_child () INHERITS (ar_i);
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE OR DELETE ON ar_i FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'exclude=id');
INSERT INTO ar_i VALUES (1, 1), (2, 2);
INSERT INTO ar_child VALUES (1, 7);
SELECT ar_note('i');
UPDATE ONLY ar_i SET v = 3 WHERE id = 2;
SELECT * FROM audit_rows_at(NULL::ar_i, ar_at('i')) ORDER BY v;
DROP TABLE ar_i CASCADE;

-- a log without written_at
CREATE TABLE ar_log (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz, xact_id xid8, xact_seq int);
CREATE TABLE ar_o (id int PRIMARY KEY, v int, w int DEFAULT 1);
SELECT audit_enable('ar_o', log => 'ar_log');
INSERT INTO ar_o VALUES (1, 1), (2, 2);
SELECT ar_note('o');
BEGIN;
UPDATE ar_o SET v = 3;
UPDATE ar_o SET v = 4, w = 2 WHERE id = 2;
UPDATE ar_o SET id = 3 WHERE id = 2;
UPDATE ar_o SET v = 5 WHERE id = 3;
COMMIT;
SELECT * FROM audit_rows_at(NULL::ar_o, ar_at('o')) ORDER BY id;
SELECT audit_row_at(NULL::ar_o, '2', ar_at('o')), audit_row_at(NULL::ar_o, '3', ar_at('o')) IS NULL AS none;
DROP TABLE ar_o, ar_log;

-- errors
CREATE FUNCTION ar_error(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT query, ar_error(query) FROM (VALUES ('SELECT * FROM audit_rows_at(NULL::ar_c, NULL)'), ('SELECT audit_row_at(NULL::ar_c, NULL, now())'),
	('SELECT audit_row_at(NULL::ar_c, ''1'', NULL)'), ('SELECT audit_rows_at(1, now())'), ('SELECT audit_row_at(1, ''1'', now())'),
	('SELECT audit_rows_at(NULL::ar_moment, now())')) q (query);
CREATE ROLE ar_reader;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO ar_reader', current_schema()); END $$;
SET ROLE ar_reader;
SELECT ar_error('SELECT * FROM audit_rows_at(NULL::ar_c, now())');
RESET ROLE;
GRANT SELECT ON ar_c TO ar_reader;
SET ROLE ar_reader;
SELECT ar_error('SELECT * FROM audit_rows_at(NULL::ar_c, now())'), ar_error('SELECT audit_row_at(NULL::ar_c, ''1'', now())');
RESET ROLE;
GRANT SELECT ON audit_log TO ar_reader;
SET ROLE ar_reader;
SELECT count(*) FROM audit_rows_at(NULL::ar_c, now());
RESET ROLE;
ALTER TABLE ar_c ENABLE ROW LEVEL SECURITY;
SET ROLE ar_reader;
SELECT ar_error('SELECT * FROM audit_rows_at(NULL::ar_c, now())');
RESET ROLE;
REVOKE ALL ON audit_log FROM ar_reader;
DROP TABLE ar_c, ar_moment;
DROP FUNCTION ar_error, ar_note, ar_at;
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM ar_reader', current_schema()); END $$;
DROP ROLE ar_reader;
DROP TABLE audit_log;
