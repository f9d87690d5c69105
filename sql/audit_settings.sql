-- What is logged does not follow the settings of whoever makes the change.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE ROLE aq_writer;
CREATE ROLE aq_typist;
CREATE SCHEMA aq_y AUTHORIZATION aq_typist;
GRANT USAGE ON SCHEMA aq_y TO PUBLIC;
CREATE TABLE aq_y.lejos ();
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO aq_writer', current_schema()); END $$;
CREATE VIEW logged AS SELECT record_id, action, coalesce(old_data, new_data, changed_fields) AS data FROM audit_log ORDER BY xact_id, xact_seq;

-- floats: two values that are written alike under some settings are two values
CREATE TABLE aq_pagos (id int PRIMARY KEY, monto float8, p point, b box, arr float8[], f4 float4);
GRANT SELECT, INSERT, UPDATE ON aq_pagos TO aq_writer;
SELECT audit_enable('aq_pagos');
INSERT INTO aq_pagos VALUES (1, 1000, '(24.1,140)', '(1,1),(0,0)', '{1000}', 1000);
SET ROLE aq_writer;
SET extra_float_digits = -15;
UPDATE aq_pagos SET monto = 1400;
UPDATE aq_pagos SET monto = 1449;
UPDATE aq_pagos SET p = '(24.9,140)';
UPDATE aq_pagos SET b = '(1.4,1.4),(0,0)';
UPDATE aq_pagos SET arr = '{1400}';
UPDATE aq_pagos SET f4 = 1400;
INSERT INTO aq_pagos (id, monto, f4) VALUES (3, 123456.78, 0.1), (4, 'NaN', '-Infinity'), (5, -0.0, 1e-40), (6, 5e-324, 16777216);
SHOW extra_float_digits;
RESET extra_float_digits;
RESET ROLE;
TABLE logged;

-- moments, intervals, bytes, money, ranges, and rows and lists of them
TRUNCATE audit_log;
CREATE TYPE aq_todo AS (f float8, t timestamptz, i interval, b bytea, m money);
CREATE TABLE aq_rr (id int PRIMARY KEY, r tstzrange, t timestamptz, ts timestamp, d date, i interval, b bytea, m money, c aq_todo, l timestamptz[], g regclass);
GRANT SELECT, INSERT, UPDATE, DELETE ON aq_rr TO aq_writer;
SELECT audit_enable('aq_rr');
INSERT INTO aq_rr VALUES (1, '[2024-11-03 05:30Z, 2024-12-01 00:00Z)', '2024-02-29 12:00Z', '2024-02-29 12:00', '2024-02-29', '1 year 2 days 03:04:05.678', '\xff00', 12.5,
	ROW(0.1, '2024-02-29 12:00Z', '-1 day', '\x41', -3), '{2024-02-29 12:00Z}', 'pg_class'::regclass);
SET ROLE aq_writer;
SET TimeZone = 'AAA5AAA,M3.2.0,M11.1.0';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET bytea_output = 'escape';
SET extra_float_digits = -15;
SELECT set_config('search_path', current_setting('search_path') || ', aq_y', false) \g /dev/null
UPDATE aq_rr SET r = tstzrange('2024-11-03 06:30Z', '2024-12-01 00:00Z');
UPDATE aq_rr SET id = 2, t = t + '1 us', i = '-1 month', b = 'a', m = 0.01, c = ROW(0.3, 'infinity', NULL, '', NULL), l = l || 'infinity'::timestamptz, g = 'lejos'::regclass;
DELETE FROM aq_rr;
SHOW TimeZone;
SHOW DateStyle;
RESET ALL;
SET client_min_messages = warning;
RESET ROLE;
TABLE logged;

-- keys: a timestamp as a key is found again whatever the settings are
TRUNCATE audit_log;
CREATE TABLE aq_lectura (t timestamptz, f float8, v int, PRIMARY KEY (t, f));
SELECT audit_enable('aq_lectura');
SET TimeZone = 'America/Mexico_City';
SET DateStyle = 'German';
SET extra_float_digits = -15;
INSERT INTO aq_lectura VALUES ('2024-02-29 12:00Z', 1400, 1), ('2024-02-29 12:00Z', 1449, 1);
SET TimeZone = 'Asia/Tokyo';
UPDATE aq_lectura SET v = 2 WHERE f = 1449;
SELECT action, column_name, old_value, new_value FROM audit_history('aq_lectura', '{"t": "2024-02-29T12:00:00+00:00", "f": 1449}') WHERE action = 'U';
RESET ALL;
SET client_min_messages = warning;
SELECT record_key, action FROM audit_log ORDER BY xact_id, xact_seq;

-- a type of a stranger in an audited table: its cast to json would run as the writer
TRUNCATE audit_log;
SET ROLE aq_typist;
CREATE TYPE aq_y.en AS ENUM ('a', 'b');
CREATE FUNCTION aq_y.js(aq_y.en) RETURNS json LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'the cast ran'; RETURN '{"cast": true}'; END$$;
RESET ROLE;
CREATE TABLE aq_en (id int PRIMARY KEY, e aq_y.en, l aq_y.en[]);
SELECT audit_enable('aq_en');
INSERT INTO aq_en VALUES (1, 'a', '{a}');
-- ... made after the session knows the table
SET ROLE aq_typist;
CREATE CAST (aq_y.en AS json) WITH FUNCTION aq_y.js(aq_y.en);
RESET ROLE;
INSERT INTO aq_en VALUES (2, 'b', '{a,b}');
\echo -- (to_jsonb itself)
SELECT to_jsonb(x) FROM aq_en x WHERE id = 2;
-- ... and of the table's owner, who could as well put a trigger there
ALTER TYPE aq_y.en OWNER TO CURRENT_USER;
INSERT INTO aq_en VALUES (3, 'b', NULL);
TABLE logged;

-- our trigger is the first: another one that changes the row again is logged after what it saw
TRUNCATE audit_log;
CREATE TABLE aq_o (id int PRIMARY KEY, total int, ver int);
CREATE FUNCTION aq_recompute() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() = 1 THEN
		UPDATE aq_o SET total = total + 10 WHERE id = NEW.id;
	END IF;
	RETURN NULL;
END$$;
CREATE TRIGGER "Recompute" AFTER INSERT OR UPDATE ON aq_o FOR EACH ROW EXECUTE FUNCTION aq_recompute();
CREATE TRIGGER a_recompute AFTER INSERT OR UPDATE ON aq_o FOR EACH ROW WHEN (false) EXECUTE FUNCTION aq_recompute();
SELECT audit_enable('aq_o');
INSERT INTO aq_o VALUES (1, 0, 1);
UPDATE aq_o SET ver = 2;
TABLE logged;
SELECT action, column_name, old_value, new_value FROM audit_history('aq_o', '1');
-- one that sorts before is told, and so is one made by hand
CREATE TRIGGER " first" AFTER UPDATE ON aq_o FOR EACH ROW EXECUTE FUNCTION aq_recompute();
SELECT audit_enable('aq_o');
-- triggers of 1.0.1 get the new name
CREATE TABLE aq_old (id int PRIMARY KEY, v int);
CREATE TRIGGER trg_audit_aq_old AFTER INSERT OR UPDATE OR DELETE ON aq_old FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
CREATE TRIGGER trg_audit_aq_old_truncate AFTER TRUNCATE ON aq_old FOR EACH STATEMENT EXECUTE FUNCTION fn_audit_trigger();
SELECT audit_enable('aq_old');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'aq_old'::regclass ORDER BY 1;

-- the context of the application has a limit, as the user's name has
TRUNCATE audit_log;
BEGIN;
SELECT length(set_config('app.context', (SELECT jsonb_build_object('a', string_agg(md5(g::text), ''))::text FROM generate_series(1, 1000) g), true)) > 32000 AS long;
INSERT INTO aq_old VALUES (1, 1);
SELECT length(set_config('app.context', jsonb_build_object('a', repeat('x', 8000))::text, true)) > 8000 AS almost;
INSERT INTO aq_old VALUES (2, 1);
COMMIT;
SELECT jsonb_typeof(app_context), octet_length(app_context::text) < 9000 AS short, left(app_context::text, 20), right(app_context::text, 40) FROM audit_log WHERE table_name = 'aq_old' ORDER BY xact_seq;

DROP VIEW logged;
DROP TABLE aq_pagos, aq_rr, aq_lectura, aq_en, aq_o, aq_old, audit_log;
DROP TYPE aq_todo;
DROP FUNCTION aq_recompute();
DROP SCHEMA aq_y CASCADE;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON SCHEMA %I FROM aq_writer', current_schema()); END $$;
DROP ROLE aq_writer, aq_typist;
