-- What is kept from row to row, and what happens to it when something changes in between.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(gin => true, months => 0);
CREATE VIEW logged AS SELECT table_name, record_id, action, coalesce(new_data, changed_fields) AS data FROM audit_log ORDER BY xact_id, xact_seq;

-- an invalidation of the log between looking it up and writing to it: here by a cast to json, in life by a vacuum
CREATE TYPE aq_mood AS ENUM ('bien', 'mal');
CREATE TABLE aq_c (id int PRIMARY KEY, v aq_mood, n int);
DO $$ BEGIN FOR i IN 1..20 LOOP EXECUTE format('CREATE TABLE aq_other%s (i int)', i); END LOOP; END $$;
CREATE FUNCTION aq_mood_json(aq_mood) RETURNS json LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
	FOR r IN SELECT inhrelid::regclass AS part FROM pg_inherits WHERE inhparent = 'audit_log'::regclass LOOP
		EXECUTE format('GRANT SELECT ON %s TO PUBLIC', r.part);
	END LOOP;
	-- takes the memory in which the log's description was
	FOR i IN 1..20 LOOP
		EXECUTE format('SELECT 1 FROM aq_other%s', i);
	END LOOP;
	RETURN to_json($1::text);
END $$;
CREATE CAST (aq_mood AS json) WITH FUNCTION aq_mood_json(aq_mood);
SELECT audit_enable('aq_c');
-- a session that has not opened them yet
\c
SET client_min_messages = warning;
SELECT set_config('search_path', nspname, false) <> '' AS path FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'aquacis';
INSERT INTO aq_c VALUES (1, 'bien'), (2, 'mal');
UPDATE aq_c SET v = 'mal' WHERE id = 1;
TABLE logged;
TRUNCATE audit_log;

-- the conversion writes to the same table, and changes everybody's caches before and after
CREATE OR REPLACE FUNCTION aq_mood_json(aq_mood) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	IF $1 = 'mal' THEN
		FOR i IN 1..2 LOOP
			CREATE SCHEMA aq_x;
			DROP SCHEMA aq_x;
			PERFORM set_config('aq.n', (current_setting('aq.n')::int + 1)::text, true);
			INSERT INTO aq_c VALUES (current_setting('aq.n')::int, 'bien');
			CREATE SCHEMA aq_x;
			DROP SCHEMA aq_x;
		END LOOP;
	END IF;
	RETURN to_json($1::text);
END $$;
SET aq.n = 100;
INSERT INTO aq_c VALUES (3, 'mal', 1), (4, 'mal', 2), (5, 'bien', 3);
SELECT record_id, data->'n' AS n FROM logged;
DROP CAST (aq_mood AS json);
DROP FUNCTION aq_mood_json(aq_mood);

-- types of other tables come and go without a trace: the warning is there once for each time that the table is looked up
CREATE TEMP TABLE aq_first (i int);
CREATE TABLE aq_renamed (k int PRIMARY KEY, v int);
SELECT audit_enable('aq_renamed', key => '{k}');
INSERT INTO aq_renamed VALUES (1, 1);
ALTER TABLE aq_renamed RENAME k TO k2;
UPDATE aq_renamed SET v = 2;
CREATE TEMP TABLE aq_temp (i int);
UPDATE aq_renamed SET v = 3;
DROP TABLE aq_temp;
UPDATE aq_renamed SET v = 4;

-- a domain of the log that is altered
CREATE DOMAIN aq_user AS text;
CREATE TABLE aq_log (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz, user_id aq_user);
SELECT audit_enable('aq_renamed', log => 'aq_log');
UPDATE aq_renamed SET v = 5;
ALTER DOMAIN aq_user ADD CONSTRAINT aq_short CHECK (length(VALUE) < 3) NOT VALID;
\set VERBOSITY sqlstate
UPDATE aq_renamed SET v = 6;
\set VERBOSITY default
ALTER DOMAIN aq_user DROP CONSTRAINT aq_short;
UPDATE aq_renamed SET v = 7;
SELECT changed_fields, user_id FROM aq_log;

-- a trigger of the log that changes an audited table, with changes of the schema in between
CREATE TABLE aq_second (id int PRIMARY KEY, v int);
INSERT INTO aq_second VALUES (1, 0);
SELECT audit_enable('aq_second', log => 'aq_log');
CREATE FUNCTION aq_back() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	IF NEW.table_name = 'aq_renamed' THEN
		FOR i IN 1..3 LOOP
			CREATE SCHEMA aq_x;
			DROP SCHEMA aq_x;
			UPDATE aq_second SET v = v + 1;
		END LOOP;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER back AFTER INSERT ON aq_log FOR EACH ROW EXECUTE FUNCTION aq_back();
INSERT INTO aq_renamed SELECT i, 0 FROM generate_series(10, 14) i;
UPDATE aq_renamed SET v = 8;
SELECT table_name, action, count(*) FROM aq_log GROUP BY 1, 2 ORDER BY 1, 2;

-- what the application says about itself leaves nothing behind
DO $$
BEGIN
	FOR i IN 1..300 LOOP
		PERFORM set_config('app.context', format('{"request": %s, "module": "caja", "path": [1, 2, 3]}', i), true);
		PERFORM set_config('app.current_user', repeat('x', 3000) || i, true);
		UPDATE aq_second SET v = v + 1;
	END LOOP;
END $$;
SELECT sum(used_bytes) < 20000 AS small FROM pg_backend_memory_contexts WHERE name = 'aquacis audit user';

-- a statement is cancelled between two of its rows
CREATE TABLE aq_many (id int PRIMARY KEY, v aq_mood, n int);
INSERT INTO aq_many SELECT i, 'bien', 0 FROM generate_series(1, 3) i;
CREATE FUNCTION aq_cancel(aq_mood) RETURNS json LANGUAGE sql AS $$ SELECT to_json(CASE WHEN $1 = 'mal' THEN pg_cancel_backend(pg_backend_pid()) ELSE false END) $$;
CREATE CAST (aq_mood AS json) WITH FUNCTION aq_cancel(aq_mood);
SELECT audit_enable('aq_many');
UPDATE aq_many SET n = n + 1, v = CASE id WHEN 1 THEN 'mal'::aq_mood ELSE v END;
SELECT sum(n) AS changed FROM aq_many;

DROP VIEW logged;
DROP CAST (aq_mood AS json);
DROP TABLE aq_c, aq_renamed, aq_second, aq_many, aq_log, audit_log;
DO $$ BEGIN FOR i IN 1..20 LOOP EXECUTE format('DROP TABLE aq_other%s', i); END LOOP; END $$;
DROP FUNCTION aq_cancel(aq_mood), aq_back();
DROP TYPE aq_mood;
DROP DOMAIN aq_user;
