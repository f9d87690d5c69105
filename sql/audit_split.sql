-- audit_split: the past of an adopted log becomes months.  t/audit_split.pl does it beside writers, specs/audit_split_readers beside readers.
\set SHOW_CONTEXT never
SET timezone = 'America/Mexico_City';
CREATE ROLE as_owner;
CREATE ROLE as_reader;
DO $$ BEGIN EXECUTE (SELECT format('GRANT CREATE, USAGE ON SCHEMA %1$s TO as_owner; GRANT USAGE ON SCHEMA %1$s TO as_reader;
	GRANT EXECUTE ON ALL ROUTINES IN SCHEMA %1$s TO as_owner, as_reader', extnamespace::regnamespace) FROM pg_extension WHERE extname = 'aquacis'); END $$;
CREATE TABLE as_t (id int PRIMARY KEY, v text);
-- all that a log can have
CREATE FUNCTION as_twice(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || $1 $$;
ALTER FUNCTION as_twice OWNER TO as_owner;
CREATE TABLE as_log (
	id bigserial, "Table_name" int, gone int, table_name varchar(63) COLLATE "C" NOT NULL, record_id bigint,
	action char(1) CHECK (action IN ('I', 'U', 'D', 'T')), old_data jsonb, new_data jsonb, changed_fields jsonb, user_id text,
	changed_at timestamptz(3) NOT NULL DEFAULT now(), n int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5), who text DEFAULT current_user,
	len int GENERATED ALWAYS AS (length(user_id)) STORED, PRIMARY KEY (id, changed_at)) PARTITION BY RANGE (changed_at);
ALTER TABLE as_log DROP gone;
CREATE INDEX as_record ON as_log (table_name, record_id);
CREATE INDEX "as Twice" ON as_log (as_twice(user_id) text_pattern_ops DESC NULLS LAST) INCLUDE (record_id) WHERE user_id <> 'system';
ALTER TABLE as_log ADD CONSTRAINT as_both UNIQUE (n, changed_at);
CREATE TABLE as_past (who text, changed_at timestamptz(3) NOT NULL, gone text, id bigint NOT NULL, "Table_name" int, record_id bigint, table_name varchar(63) COLLATE "C" NOT NULL,
	n int NOT NULL, action char(1) CONSTRAINT as_log_action_check CHECK (action IN ('I', 'U', 'D', 'T')), old_data jsonb, new_data jsonb, changed_fields jsonb, user_id text,
	len int GENERATED ALWAYS AS (length(user_id)) STORED);
ALTER TABLE as_past DROP gone;
INSERT INTO as_past (who, id, record_id, table_name, n, action, new_data, user_id, changed_at)
	SELECT 'me', i, i % 7, 'as_t', i, 'I', CASE WHEN i % 5 > 0 THEN jsonb_build_object('v', CASE WHEN i % 100 = 0 THEN (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 200) j) ELSE 'ñ' || i END) END,
	CASE WHEN i % 3 > 0 THEN 'user ' || i % 11 END,
	timestamptz '2019-11-30 23:59:59.999+00' + i * interval '3 hours' FROM generate_series(0, 999) i;
-- at the limits, and out of every month
INSERT INTO as_past (id, table_name, n, changed_at) VALUES (2001, 'x', 2001, '-infinity'), (2002, 'x', 2002, '4714-11-24 00:00:00+00 BC'),
	(2003, 'x', 2003, '1970-04-30 23:59:59.999+00'), (2004, 'x', 2004, '1970-05-01 00:00+00'), (2005, 'x', 2005, '2020-04-30 23:59:59.999+00'), (2006, 'x', 2006, '2020-02-29 12:00+00');
DELETE FROM as_past WHERE id % 50 = 3;
ALTER TABLE as_log ATTACH PARTITION as_past FOR VALUES FROM (MINVALUE) TO ('2020-05-01 00:00+00');
ALTER TABLE as_log OWNER TO as_owner;
ALTER TABLE as_past OWNER TO as_owner;
GRANT SELECT ON as_log TO as_reader;
ALTER TABLE as_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY as_mine ON as_log FOR SELECT TO as_reader USING (user_id = 'user 1');
CREATE FUNCTION as_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append only'; END $$;
ALTER FUNCTION as_guard OWNER TO as_owner;
CREATE TRIGGER as_guard BEFORE UPDATE OR DELETE ON as_log FOR EACH ROW EXECUTE FUNCTION as_guard();
CREATE TABLE as_before AS SELECT to_jsonb(l) AS entry FROM as_log l;

-- refused
CALL audit_split(NULL);
\echo :SQLSTATE
CALL audit_split('as_t');
\echo :SQLSTATE
CALL audit_split('as_log', max_time => '-1 hour');
\echo :SQLSTATE
CALL audit_split('as_log', max_time => '0');
\echo :SQLSTATE
BEGIN;
CALL audit_split('as_log');
\echo :SQLSTATE
ROLLBACK;
SET ROLE as_reader;
CALL audit_split('as_log');
\echo :SQLSTATE
RESET ROLE;
-- something refers to the past: nothing is lost, and the next call goes on
CREATE VIEW as_view AS SELECT id FROM as_past;
\set VERBOSITY sqlstate
CALL audit_split('as_log');
\set VERBOSITY default
SELECT count(*) FROM as_log;
DROP VIEW as_view;

-- an interrupted copy: what it knows, and who may see it
SET ROLE as_reader;
SELECT log::text, past::text, next_block = blocks AS copied, entries, cardinality(parts) FROM audit_split_state;
DELETE FROM audit_split_state;
\echo :SQLSTATE
RESET ROLE;
-- the log gets a column, the past is changed: it begins again
ALTER TABLE as_log ADD extra text DEFAULT 'new';
SET client_min_messages = warning;
CALL audit_split('as_log', max_time => '1 microsecond');
RESET client_min_messages;
SELECT next_block = blocks AS copied, entries, (SELECT count(*) FROM pg_attribute WHERE attrelid = parts[1] AND attname = 'extra') AS extra FROM audit_split_state;
ALTER TABLE as_log DISABLE TRIGGER ALL;
UPDATE as_past SET record_id = record_id WHERE id = 7;
ALTER TABLE as_log ENABLE TRIGGER ALL;
CALL audit_split('as_log', max_time => '1 minute', lock_wait => NULL);
SELECT count(*) FROM audit_split_state;
SELECT to_regclass('as_past') IS NULL AS gone;
-- the same entries, each in its month
SELECT count(*) FROM (SELECT entry || '{"extra": "new"}' FROM as_before EXCEPT ALL SELECT to_jsonb(l) FROM as_log l) d;
SELECT count(*) FROM (SELECT to_jsonb(l) FROM as_log l EXCEPT ALL SELECT entry || '{"extra": "new"}' FROM as_before) d;
SELECT tableoid::regclass::text AS part, count(*), min(changed_at AT TIME ZONE 'UTC'), max(changed_at AT TIME ZONE 'UTC') FROM as_log GROUP BY 1 ORDER BY 3;
SELECT inhrelid::regclass::text AS part, pg_get_expr(relpartbound, c.oid) AS bound, relowner::regrole, has_table_privilege('as_reader', c.oid, 'SELECT') AS read
	FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'as_log'::regclass ORDER BY 2;
SELECT c.relname, parent.relname AS of, indisunique, indisvalid, replace(pg_get_indexdef(indexrelid), current_schema() || '.', '') FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
	LEFT JOIN pg_inherits ON inhrelid = indexrelid LEFT JOIN pg_class parent ON parent.oid = inhparent WHERE indrelid = 'as_log_2020_02'::regclass ORDER BY 1;
SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'as_log'::regclass ORDER BY 1;
SELECT conname, contype FROM pg_constraint WHERE conrelid = 'as_log_2020_02'::regclass AND contype <> 'n' ORDER BY 1;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'as_log_2020_02'::regclass AND NOT tgisinternal;
SELECT reltuples FROM pg_class WHERE oid = 'as_log_2020_02'::regclass;
SET enable_seqscan = off;
SELECT count(*) FROM as_log WHERE table_name = 'as_t' AND record_id = 3;
RESET enable_seqscan;
SET ROLE as_reader;
SELECT count(*) FROM as_log;
RESET ROLE;
-- retired as other months are, oldest first
CALL audit_maintain(months_ahead => 0, keep => '5 years', log => 'as_log');
SELECT month LIKE '%as_log_before' AS oldest, range_from, dropped FROM audit_detached WHERE log = 'as_log'::regclass ORDER BY range_to LIMIT 1;
SELECT count(*) FROM as_log_before;
-- no past, and one that is not over
CALL audit_split('as_log');
CREATE TABLE as_open (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz) PARTITION BY RANGE (changed_at);
CREATE TABLE as_open_past PARTITION OF as_open FOR VALUES FROM (MINVALUE) TO ('9999-01-01 00:00+00');
CALL audit_split('as_open');
-- an empty past goes away
ALTER TABLE as_open DETACH PARTITION as_open_past;
ALTER TABLE as_open ATTACH PARTITION as_open_past FOR VALUES FROM (MINVALUE) TO ('2020-05-17 00:00+00');
CALL audit_split('as_open');
SELECT count(*) FROM pg_inherits WHERE inhparent = 'as_open'::regclass;
-- a past that is itself partitioned
CREATE TABLE as_open_past PARTITION OF as_open FOR VALUES FROM (MINVALUE) TO ('2020-05-17 00:00+00') PARTITION BY RANGE (changed_at);
CALL audit_split('as_open');
\echo :SQLSTATE
DROP TABLE as_open_past;

-- times without a zone, al_, no key, a limit in the middle of a month, a name that needs quotes and is taken
CREATE TABLE "As 2" (al_table_name name, al_record_key text, al_operation text, al_old_data json, al_new_data json, al_changed_fields jsonb, al_changed_at timestamp) PARTITION BY RANGE (al_changed_at);
CREATE TABLE "As 2_2020_05" (x int);
CREATE TABLE "As 2_past" PARTITION OF "As 2" FOR VALUES FROM (MINVALUE) TO ('2020-05-17 00:00');
CREATE TABLE "As 2_rest" PARTITION OF "As 2" FOR VALUES FROM ('2020-05-17 00:00') TO (MAXVALUE);
INSERT INTO "As 2" SELECT 'x', i::text, 'I', NULL, '{"a":  1, "a": 2}', NULL, timestamp '2020-03-01 00:00' + i * interval '1 day' FROM generate_series(0, 99) i;
CREATE TABLE as_before_2 AS SELECT "As 2"::text AS entry FROM "As 2";
CALL audit_split('"As 2"');
SELECT tableoid::regclass, count(*), min(al_changed_at), max(al_changed_at) FROM "As 2" GROUP BY 1 ORDER BY 3;
SELECT count(*) FROM (SELECT entry FROM as_before_2 EXCEPT ALL SELECT "As 2"::text FROM "As 2") d;

-- what the log's owner left of the parts is not believed
CREATE TABLE as_small (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz) PARTITION BY RANGE (changed_at);
CREATE TABLE as_small_past PARTITION OF as_small FOR VALUES FROM (MINVALUE) TO ('2020-05-01 00:00+00');
INSERT INTO as_small SELECT 'x', i, 'I', NULL, NULL, NULL, '2020-04-01 12:00+00' FROM generate_series(1, 5) i;
CALL audit_split('as_small', max_time => '1 microsecond');
DELETE FROM as_small_2020_04 WHERE record_id = 2;
-- no GIN index for what will be dropped
CALL audit_maintain(months_ahead => 0, log => 'as_small');
CALL audit_split('as_small');
SELECT array_agg(record_id ORDER BY 1) FROM as_small;
SELECT tableoid::regclass FROM as_small LIMIT 1;
-- the past is taken off while it is being split: what was copied goes
CREATE TABLE as_small_past PARTITION OF as_small FOR VALUES FROM (MINVALUE) TO ('2020-04-01 00:00+00');
INSERT INTO as_small SELECT 'x', i, 'I', NULL, NULL, NULL, '2020-03-01 12:00+00' FROM generate_series(6, 9) i;
CALL audit_split('as_small', max_time => '1 microsecond');
ALTER TABLE as_small DETACH PARTITION as_small_past;
CALL audit_split('as_small');
SELECT to_regclass('as_small_2020_03') IS NULL AS gone, (SELECT count(*) FROM audit_split_state) AS kept, (SELECT count(*) FROM as_small_past) AS past;

-- a DEFAULT partition that would be read for too long
ALTER TABLE as_small ADD user_id text;
ALTER TABLE as_small ALTER user_id SET STORAGE PLAIN;
CREATE TABLE as_small_spare PARTITION OF as_small DEFAULT;
INSERT INTO as_small (changed_at, user_id) SELECT '2020-06-01 12:00+00', repeat('x', 7000) FROM generate_series(1, 1100);
CREATE TABLE as_small_before PARTITION OF as_small FOR VALUES FROM (MINVALUE) TO ('2020-04-01 00:00+00');
INSERT INTO as_small (changed_at, record_id) SELECT timestamptz '2020-03-15 00:00+00' - i * interval '1 month', i FROM generate_series(0, 9) i;
CALL audit_split('as_small');
SET client_min_messages = warning;
CALL audit_maintain(months_ahead => 0, log => 'as_small');
TRUNCATE as_small_spare;
RESET client_min_messages;
CALL audit_split('as_small');
SELECT count(*) FROM as_small;

-- the feed and what is read back are the same: positions, numbers and times are copied
CREATE TABLE as_f (id int PRIMARY KEY, v int);
CREATE TABLE as_feed (changed_at timestamptz NOT NULL, xact_id xid8, xact_seq int, table_schema name, table_name name, record_id bigint, action char(1), old_data jsonb,
	new_data jsonb, changed_fields jsonb, user_id text, written_at timestamptz, table_id int) PARTITION BY RANGE (changed_at);
CREATE TABLE as_feed_past PARTITION OF as_feed FOR VALUES FROM (MINVALUE) TO ('2020-05-01 00:00+00');
CREATE TABLE as_feed_spare PARTITION OF as_feed DEFAULT;
SELECT audit_enable('as_f', log => 'as_feed');
INSERT INTO as_f SELECT i, 0 FROM generate_series(1, 5) i;
UPDATE as_f SET v = id;
UPDATE as_f SET id = 10 WHERE id = 1;
DELETE FROM as_f WHERE id = 3;
UPDATE as_feed SET changed_at = '2020-03-30 12:00+00'::timestamptz + record_id * interval '12 hours';
UPDATE as_f SET v = v + 1;
CREATE TABLE as_fed AS SELECT row_number() OVER () AS n, * FROM audit_changes(log => 'as_feed');
SELECT position AS place FROM as_fed WHERE n = 8 \gset
CREATE TABLE as_lives AS SELECT * FROM audit_versions(NULL::as_f, '10');
CALL audit_split('as_feed');
SELECT tableoid::regclass::text, count(*) FROM as_feed GROUP BY 1 ORDER BY 1;
SELECT count(*), count(*) FILTER (WHERE f IS DISTINCT FROM g) AS other FROM (SELECT row_number() OVER () AS n, xact_id, xact_seq, written_at, changed_at, table_id, record_id, action, old_data, new_data, changed_fields
	FROM audit_changes(log => 'as_feed')) f FULL JOIN (SELECT n, xact_id, xact_seq, written_at, changed_at, table_id, record_id, action, old_data, new_data, changed_fields FROM as_fed) g USING (n);
SELECT array_agg(n ORDER BY n) FROM audit_changes(:'place', log => 'as_feed') c JOIN as_fed f USING (xact_id, xact_seq);
SELECT count(*) FROM (SELECT l::text FROM as_lives l EXCEPT ALL SELECT l::text FROM audit_versions(NULL::as_f, '10') l) d;
SELECT count(*) FROM audit_versions(NULL::as_f, '10');

SET client_min_messages = warning;
DROP TABLE as_f, as_feed, as_fed, as_lives;
DROP TABLE as_log, as_t, as_before, as_open, "As 2", "As 2_2020_05", as_before_2, as_small, as_small_past;
DO $$ DECLARE t text; BEGIN FOR t IN SELECT month FROM audit_detached WHERE month LIKE '%as_log%' LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END $$;
DELETE FROM audit_detached WHERE month LIKE '%as_log%';
DROP FUNCTION as_twice, as_guard;
DROP OWNED BY as_owner, as_reader;
DROP ROLE as_owner, as_reader;
