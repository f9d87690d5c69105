-- audit_versions: every version of a record, and what is not known of it.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
-- versions without their times: how they follow each other
CREATE FUNCTION av_chain(tbl text, key text) RETURNS TABLE (n bigint, action text, before_log boolean, follows boolean, still boolean,
	certain boolean, version text, unknown text[]) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT row_number() OVER (), action, valid_from IS NULL,
		valid_from = lag(valid_to) OVER (), valid_to IS NULL, certain, version::text, unknown FROM audit_versions(NULL::%s, $1)', tbl) USING key;
END $$;

CREATE TABLE av_c (id int PRIMARY KEY, gone int, nombre varchar(20), importe numeric(10,2), clave text, hsthora timestamp, tags int[]);
INSERT INTO av_c VALUES (7, 1, 'was there', 1, 's', NULL, '{}'), (8, 1, 'never changed', 1, 's', now(), NULL);
SELECT audit_enable('av_c', exclude => '{hsthora}', redact => '{clave}');
INSERT INTO av_c VALUES (1, 1, 'Ana', 1.5, 'secret', now(), '{1,NULL,3}');
UPDATE av_c SET nombre = 'Ana M' WHERE id = 1;
UPDATE av_c SET importe = 2, tags = '{{1,2},{3,4}}' WHERE id = 1;
UPDATE av_c SET clave = 'other' WHERE id = 1;
UPDATE av_c SET hsthora = NULL WHERE id = 1;
DELETE FROM av_c WHERE id = 1;
UPDATE av_c SET nombre = NULL, gone = 2 WHERE id = 7;
SELECT * FROM av_chain('av_c', '1');
SELECT * FROM av_chain('av_c', '007');
SELECT * FROM av_chain('av_c', '8');
SELECT * FROM av_chain('av_c', '9');
\set VERBOSITY terse
SELECT * FROM av_chain('av_c', 'x');
\echo :SQLSTATE
\set VERBOSITY default
-- who
BEGIN;
SELECT audit_set_user('lperez');
INSERT INTO av_c (id) VALUES (2);
SELECT user_id, xact_id = pg_current_xact_id() AS this, valid_from >= now() AS now, pg_typeof(version), (version).id FROM audit_versions(NULL::av_c, '2');
ROLLBACK;

-- a key that changes, comes back, and is another row's in between
INSERT INTO av_c (id, nombre) VALUES (10, 'a');
UPDATE av_c SET id = 11 WHERE id = 10;
INSERT INTO av_c (id, nombre) VALUES (10, 'b');
UPDATE av_c SET nombre = 'b2' WHERE id = 10;
DELETE FROM av_c WHERE id = 10;
UPDATE av_c SET id = 10, nombre = 'a2' WHERE id = 11;
SELECT * FROM av_chain('av_c', '10');
SELECT * FROM av_chain('av_c', '11');
-- two rows that swap their keys
CREATE TABLE av_swap (id int PRIMARY KEY DEFERRABLE, v text);
SELECT audit_enable('av_swap');
INSERT INTO av_swap VALUES (1, 'a'), (2, 'b');
UPDATE av_swap SET id = 3 - id;
UPDATE av_swap SET v = v || '!';
UPDATE av_swap SET id = 3 - id, v = v || '?';
SELECT * FROM av_chain('av_swap', '1');
SELECT * FROM av_chain('av_swap', '2');
DROP TABLE av_swap;

-- columns that come, go, and change their type
INSERT INTO av_c (id, nombre, importe) VALUES (20, 'a name', 12.34);
ALTER TABLE av_c DROP COLUMN gone;
ALTER TABLE av_c ADD COLUMN nuevo int DEFAULT 5;
UPDATE av_c SET nuevo = 6, nombre = 'a', importe = 5 WHERE id = 20;
SELECT * FROM av_chain('av_c', '20');
ALTER TABLE av_c ALTER COLUMN importe TYPE numeric(10,1), ALTER COLUMN nombre TYPE varchar(3) USING left(nombre, 3);
-- 12.34 and 'a name' are no values of these types
SELECT * FROM av_chain('av_c', '20');
ALTER TABLE av_c ALTER COLUMN nombre TYPE int USING length(nombre);
-- what changed without an entry is told
SELECT * FROM av_chain('av_c', '20');
DROP TABLE av_c;

-- keys of several columns, given as in record_key
CREATE TABLE av_two (b text, a int, v int, PRIMARY KEY (a, b));
SELECT audit_enable('av_two');
INSERT INTO av_two VALUES ('x', 1, 1);
UPDATE av_two SET b = 'y', v = 2;
UPDATE av_two SET v = 3;
SELECT * FROM av_chain('av_two', '{"b": "x", "a": 1}');
SELECT * FROM av_chain('av_two', '{"a": "1", "b": "y"}');
ALTER TABLE av_two RENAME COLUMN b TO bb;
SELECT audit_enable('av_two');
UPDATE av_two SET v = 4;
SELECT * FROM av_chain('av_two', '{"a": 1, "bb": "y"}');
DROP TABLE av_two;

-- TRUNCATE without images, and with them
CREATE TABLE av_t (id int PRIMARY KEY, v int);
INSERT INTO av_t VALUES (1, 1);
SELECT audit_enable('av_t');
INSERT INTO av_t VALUES (2, 2);
UPDATE av_t SET v = 3;
TRUNCATE av_t;
INSERT INTO av_t VALUES (1, 10), (2, 20);
SELECT * FROM av_chain('av_t', '1');
SELECT * FROM av_chain('av_t', '2');
SELECT audit_enable('av_t', images => true);
TRUNCATE av_t;
SELECT * FROM av_chain('av_t', '1');
-- what nobody logged
ALTER TABLE av_t DISABLE TRIGGER USER;
INSERT INTO av_t VALUES (3, 3), (4, 4);
ALTER TABLE av_t ENABLE TRIGGER USER;
UPDATE av_t SET v = 5;
ALTER TABLE av_t DISABLE TRIGGER USER;
UPDATE av_t SET v = 6 WHERE id = 3;
DELETE FROM av_t WHERE id = 4;
ALTER TABLE av_t ENABLE TRIGGER USER;
UPDATE av_t SET v = 7;
SELECT * FROM av_chain('av_t', '3');
SELECT * FROM av_chain('av_t', '4');
ALTER TABLE av_t DISABLE TRIGGER USER;
UPDATE av_t SET v = 8;
SELECT * FROM av_chain('av_t', '3');
-- a baseline says what the row was, and is no change
INSERT INTO audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id, written_at, table_id)
	SELECT now(), pg_current_xact_id(), 1, table_schema, table_name, 3, 'B', '{"id": 3, "v": 8}', 'system', clock_timestamp(), table_id
	FROM audit_log WHERE table_name = 'av_t' LIMIT 1;
SELECT * FROM av_chain('av_t', '3');
SELECT audit_disable('av_t');
\set VERBOSITY terse
RESET client_min_messages;
SELECT count(*) FROM audit_versions(NULL::av_t, '3');
SET client_min_messages = warning;
DROP TABLE av_t;

-- values come back as they were, whatever the settings of reader and writer
CREATE TYPE av_pair AS (a int, b text, c date[]);
CREATE TYPE av_mood AS ENUM ('bien', 'mal');
CREATE DOMAIN av_code AS varchar(4) CHECK (VALUE <> 'no');
CREATE TABLE av_v (id av_code PRIMARY KEY, f float8, tz timestamptz, iv interval, by bytea, mo money, js json, jb jsonb, ia int[], ca av_code[],
	pr av_pair, pa av_pair[], mood av_mood, r tstzrange, bp char(4), bi bit(3), b bool, n numeric, g int GENERATED ALWAYS AS (length(id::text)) STORED, o oid, x xml);
SELECT audit_enable('av_v');
SET extra_float_digits = 0; SET IntervalStyle = iso_8601; SET bytea_output = escape; SET DateStyle = 'SQL, DMY'; SET TimeZone = 'America/Mexico_City';
INSERT INTO av_v (id, f, tz, iv, by, mo, js, jb, ia, ca, pr, pa, mood, r, bp, bi, b, n, o, x) VALUES ('a', 0.1::float8 + 0.2, '2026-03-04 05:06:07.89+00', '1 day 02:03', '\x00ff',
	1234.5, '{"a": [1, 2.50]}', '"text"', '{}', '{no?,NULL}', (1, 'x"y', '{2026-01-02,NULL}'), ARRAY[(2, NULL, NULL)::av_pair, NULL], 'mal',
	'[2026-01-01,2026-02-01)', 'ab', '101', true, 'NaN', 12, '<a>1</a>');
CREATE TABLE av_copy AS TABLE av_v;
UPDATE av_v SET (f, tz, iv, by, mo, js, jb, ia, ca, pr, pa, mood, r, bp, bi, b, n, o, x) =
	ROW(-1.5, NULL, NULL, NULL, NULL, NULL, '{}', '{{1},{2}}', NULL, NULL, '{}', 'bien', 'empty', '', '000', false, 1.00, 0, NULL);
DELETE FROM av_v;
RESET extra_float_digits; RESET IntervalStyle; RESET bytea_output; SET DateStyle = 'ISO'; SET TimeZone = 'UTC';
SELECT row_number() OVER (), certain, unknown, version::text = (SELECT av_copy::text FROM av_copy) AS same FROM audit_versions(NULL::av_v, 'a');
SELECT (version).jb, (version).ia, (version).pa, (version).mood, (version).r, (version).bp, (version).g, (version).mo FROM audit_versions(NULL::av_v, 'a');
-- the CHECK of a domain is of today
ALTER DOMAIN av_code ADD CHECK (VALUE <> 'a') NOT VALID;
SELECT count(*), bool_and(certain) FROM audit_versions(NULL::av_v, 'a') WHERE (version).id::text = 'a';
DROP TABLE av_v, av_copy;
-- a type whose JSON does not say what it was
CREATE FUNCTION av_json(av_mood) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT json_build_object('mood', $1::text) $$;
CREATE CAST (av_mood AS json) WITH FUNCTION av_json(av_mood);
CREATE TABLE av_v (id int PRIMARY KEY, m av_mood, js json);
SELECT audit_enable('av_v');
INSERT INTO av_v VALUES (1, 'mal', '"\u0000"'), (2, NULL, '"{\"a\": 1}"');
DELETE FROM av_v;
SELECT * FROM av_chain('av_v', '1');
SELECT * FROM av_chain('av_v', '2');
DROP TABLE av_v;
DROP CAST (av_mood AS json);
DROP FUNCTION av_json(av_mood);
DROP TYPE av_pair, av_mood;
DROP DOMAIN av_code;

-- a log of 1.0's shape, and one of one's own with whole rows in an UPDATE
CREATE TABLE av_log (id serial, table_name text, record_id text, operation text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamp);
CREATE TABLE av_o (k text PRIMARY KEY, v int);
SELECT audit_enable('av_o', log => 'av_log');
INSERT INTO av_o VALUES ('{a}', 1), ('12', 2);
UPDATE av_o SET v = v + 10;
UPDATE av_o SET k = 'b' WHERE k = '{a}';
UPDATE av_o SET v = v + 10;
SELECT * FROM av_chain('av_o', 'b');
SELECT * FROM av_chain('av_o', '{a}');
UPDATE av_log SET operation = 'UPDATE', changed_fields = NULL, old_data = '{"k": "12", "v": 2}', new_data = '{"k": "12", "v": 12}' WHERE record_id = '12' AND changed_fields #>> '{v,new}' = '12';
SELECT * FROM av_chain('av_o', '12');
-- a contradiction is told
UPDATE av_log SET changed_fields = '{"v": {"old": 12, "new": 99}}' WHERE record_id = '12' AND changed_fields #>> '{v,new}' = '22';
SELECT * FROM av_chain('av_o', '12');
DROP TABLE av_o, av_log;

-- a column that was renamed: what it held under the other name is not taken for its value
CREATE TABLE av_r (id int PRIMARY KEY, v int);
INSERT INTO av_r VALUES (1, 1);
SELECT audit_enable('av_r');
UPDATE av_r SET v = 2;
ALTER TABLE av_r RENAME v TO w;
ALTER TABLE av_r RENAME id TO iid;
UPDATE av_r SET w = 3;
SELECT * FROM av_chain('av_r', '1');
DROP TABLE av_r;

-- partitions
CREATE TABLE av_p (y int, id int, v text, PRIMARY KEY (id, y)) PARTITION BY RANGE (y);
CREATE TABLE av_p1 (id int NOT NULL, v text, y int NOT NULL);
ALTER TABLE av_p ATTACH PARTITION av_p1 FOR VALUES FROM (0) TO (10);
CREATE TABLE av_p2 PARTITION OF av_p FOR VALUES FROM (10) TO (20);
SELECT audit_enable('av_p', key => '{id}');
INSERT INTO av_p VALUES (1, 1, 'a');
UPDATE av_p SET v = 'b';
UPDATE av_p SET y = 11;
SELECT * FROM av_chain('av_p', '1');
SELECT * FROM av_chain('av_p1', '1');
DROP TABLE av_p;

-- errors
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE FUNCTION av_error(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE TABLE av_e (a int, b int, v int, PRIMARY KEY (a, b));
CREATE TABLE av_n (v int);
CREATE VIEW av_view AS SELECT 1 AS a;
CREATE TYPE av_type AS (a int);
SELECT audit_enable('av_e');
SELECT query, av_error(query) FROM (VALUES ('SELECT * FROM audit_versions(NULL::av_e, NULL)'),
	('SELECT * FROM audit_versions(1, ''1'')'), ('SELECT * FROM audit_versions(NULL::av_view, ''1'')'),
	('SELECT * FROM audit_versions(NULL::av_type, ''1'')'), ('SELECT audit_versions(ROW(1), ''1'')'),
	('SELECT * FROM audit_versions(NULL::av_n, ''1'')'), ('SELECT * FROM audit_versions(NULL::av_e, ''1'')'),
	('SELECT * FROM audit_versions(NULL::av_e, ''{"a": 1}'')')) q (query);
-- rights on both, and no row security
CREATE ROLE av_reader;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO av_reader', current_schema()); END $$;
GRANT SELECT (a, b) ON av_e TO av_reader;
SET ROLE av_reader;
SELECT av_error('SELECT * FROM audit_versions(NULL::av_e, ''{"a": 1, "b": 1}'')');
RESET ROLE;
GRANT SELECT (v) ON av_e TO av_reader;
SET ROLE av_reader;
SELECT av_error('SELECT * FROM audit_versions(NULL::av_e, ''{"a": 1, "b": 1}'')');
RESET ROLE;
GRANT SELECT ON audit_log TO av_reader;
SET ROLE av_reader;
SELECT count(*) FROM audit_versions(NULL::av_e, '{"a": 1, "b": 1}');
RESET ROLE;
ALTER TABLE av_e ENABLE ROW LEVEL SECURITY;
SET ROLE av_reader;
SELECT av_error('SELECT * FROM audit_versions(NULL::av_e, ''{"a": 1, "b": 1}'')');
RESET ROLE;
-- code of a table's owner does not run as the reader
CREATE ROLE av_owner;
DO $$ BEGIN EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO av_owner', current_schema()); END $$;
SET ROLE av_owner;
CREATE FUNCTION av_spy(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'as %', current_user; RETURN true; END $$;
CREATE DOMAIN av_trap AS text CHECK (av_spy(VALUE));
CREATE TABLE av_own (id int PRIMARY KEY, v av_trap, l av_trap[]);
RESET ROLE;
SELECT audit_enable('av_own');
SET client_min_messages = error;
INSERT INTO av_own VALUES (1, 'a', '{b}');
UPDATE av_own SET v = 'c', l = NULL;
SET client_min_messages = warning;
SELECT * FROM av_chain('av_own', '1');
DROP TABLE av_own, av_e, av_n;
DROP VIEW av_view;
DROP TYPE av_type;
DROP DOMAIN av_trap;
DROP FUNCTION av_spy, av_chain, av_error;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON SCHEMA %I FROM av_owner, av_reader', current_schema()); END $$;
REVOKE ALL ON audit_log FROM av_reader;
DROP ROLE av_owner, av_reader;
DROP TABLE audit_log;
