-- audit_adopt: a plain log becomes a partitioned one.  t/audit_adopt.pl does it beside writers.
\set SHOW_CONTEXT never
SET timezone = 'America/Mexico_City';
CREATE ROLE ad_reader;
CREATE ROLE ad_owner;
DO $$ BEGIN EXECUTE (SELECT format('GRANT CREATE, USAGE ON SCHEMA %1$s TO ad_owner; GRANT USAGE ON SCHEMA %1$s TO ad_owner, ad_reader;
	GRANT EXECUTE ON ALL ROUTINES IN SCHEMA %1$s TO ad_owner, ad_reader', extnamespace::regnamespace) FROM pg_extension WHERE extname = 'aquacis'); END $$;
CREATE TABLE ad_t (id int PRIMARY KEY, v text);
CREATE TABLE ad_log (
	id bigserial PRIMARY KEY, "Table_name" int, gone int, table_name varchar(63) COLLATE "C" NOT NULL, record_id bigint,
	action char(1) CHECK (action IN ('I', 'U', 'D', 'T')), old_data jsonb, new_data jsonb, changed_fields jsonb, user_id text,
	changed_at timestamptz(3) NOT NULL DEFAULT now(), n int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5), who text DEFAULT current_user,
	len int GENERATED ALWAYS AS (length(user_id)) STORED);
ALTER TABLE ad_log DROP gone;
ALTER TABLE ad_log ALTER old_data SET STORAGE EXTERNAL, ALTER table_name SET STATISTICS 300;
COMMENT ON TABLE ad_log IS 'the log';
COMMENT ON COLUMN ad_log.user_id IS 'who did it';
CREATE INDEX ad_record ON ad_log (table_name, record_id);
CREATE INDEX "ad Lower" ON ad_log (lower(user_id)) WHERE user_id <> 'system';
CREATE UNIQUE INDEX ad_unique ON ad_log (n, changed_at);
ALTER TABLE ad_log ADD CONSTRAINT ad_both UNIQUE (id, changed_at);
CREATE FUNCTION ad_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append only'; END $$;
CREATE TRIGGER ad_guard BEFORE UPDATE ON ad_log FOR EACH ROW EXECUTE FUNCTION ad_guard();
CREATE TRIGGER ad_truncate BEFORE TRUNCATE ON ad_log EXECUTE FUNCTION ad_guard();
ALTER TABLE ad_log ENABLE ALWAYS TRIGGER ad_truncate;
ALTER FUNCTION ad_guard OWNER TO ad_owner;
ALTER TABLE ad_log OWNER TO ad_owner;
GRANT SELECT ON ad_log TO ad_reader;
GRANT INSERT (table_name, user_id) ON ad_log TO ad_reader WITH GRANT OPTION;
ALTER TABLE ad_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY ad_mine ON ad_log AS PERMISSIVE FOR SELECT TO ad_reader USING (user_id = current_user);
CREATE POLICY ad_all ON ad_log USING (true) WITH CHECK (true);
SELECT audit_enable('ad_t', log => 'ad_log');
INSERT INTO ad_t SELECT i, 'x' FROM generate_series(1, 3) i;

-- what is in the way
CREATE VIEW ad_view AS SELECT * FROM ad_log;
CREATE FUNCTION ad_function(ad_log) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE ad_child () INHERITS (ad_log);
CREATE RULE ad_rule AS ON UPDATE TO ad_log DO ALSO NOTHING;
ALTER TABLE ad_log ADD CONSTRAINT ad_check CHECK (id > 0) NOT VALID;
-- the DETAIL names them, with their schema
\set VERBOSITY terse
CALL audit_adopt('ad_log');
\set VERBOSITY default
\echo :SQLSTATE
DROP RULE ad_rule ON ad_log;
DROP TABLE ad_child;
DROP FUNCTION ad_function;
DROP VIEW ad_view;
ALTER TABLE ad_log VALIDATE CONSTRAINT ad_check;
-- each of them, in a schema whose name is known
CREATE SCHEMA ad_way;
CREATE TABLE ad_way.ad_log (LIKE ad_log);
CREATE VIEW ad_way.ad_view AS SELECT * FROM ad_way.ad_log;
CREATE FUNCTION ad_way.ad_function(ad_way.ad_log) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE ad_way.ad_child () INHERITS (ad_way.ad_log);
CREATE RULE ad_rule AS ON UPDATE TO ad_way.ad_log DO ALSO NOTHING;
ALTER TABLE ad_way.ad_log ADD CONSTRAINT ad_check CHECK (id > 0) NOT VALID;
CALL audit_adopt('ad_way.ad_log');
\echo :SQLSTATE
SET client_min_messages = warning;
DROP SCHEMA ad_way CASCADE;
RESET client_min_messages;
-- entries of the future, or without a time
INSERT INTO ad_log (table_name, changed_at) VALUES ('x', '9999-01-01');
\set VERBOSITY terse
CALL audit_adopt('ad_log');
\echo :SQLSTATE
\set VERBOSITY default
SELECT conname FROM pg_constraint WHERE conrelid = 'ad_log'::regclass AND conname LIKE 'audit_adopt%';
DELETE FROM ad_log WHERE changed_at > '9000-01-01';
-- refused
BEGIN;
CALL audit_adopt('ad_log');
\echo :SQLSTATE
ROLLBACK;
CALL audit_adopt(NULL);
\echo :SQLSTATE
CALL audit_adopt('ad_log', changed_at => 'user_id');
\echo :SQLSTATE
CALL audit_adopt('ad_log', changed_at => 'nothing');
\echo :SQLSTATE
CALL audit_adopt('ad_t');
\echo :SQLSTATE
SET ROLE ad_reader;
CALL audit_adopt('ad_log');
\echo :SQLSTATE
RESET ROLE;
-- an owner who may make no tables there: said before the log is read
CREATE SCHEMA ad_closed;
GRANT USAGE ON SCHEMA ad_closed TO ad_owner;
CREATE TABLE ad_closed.ad_log (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz);
ALTER TABLE ad_closed.ad_log OWNER TO ad_owner;
CALL audit_adopt('ad_closed.ad_log');
\echo :SQLSTATE
SELECT count(*) FROM pg_attribute WHERE attrelid = 'ad_closed.ad_log'::regclass AND attname IN ('written_at', 'table_id');
DROP TABLE ad_closed.ad_log;
DROP SCHEMA ad_closed;
CREATE VIEW ad_v AS SELECT 1;
CALL audit_adopt('ad_v');
\echo :SQLSTATE
DROP VIEW ad_v;

-- by a superuser, of another's log
CALL audit_adopt('ad_log', changed_at => 'changed_at');
CALL audit_adopt('ad_log');
SELECT attname, format_type(atttypid, atttypmod), attnotnull, attstorage, attidentity, attgenerated, collname, coalesce(attstattarget, 0) > 0 AS statistics,
	pg_get_expr(adbin, adrelid) AS value, col_description(attrelid, attnum) AS comment, attacl IS NOT NULL AS rights
	FROM pg_attribute a LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum LEFT JOIN pg_collation c ON c.oid = attcollation
	WHERE attrelid = 'ad_log'::regclass AND attnum > 0 ORDER BY attnum;
SELECT relname, relkind, relowner::regrole, relrowsecurity, has_table_privilege('ad_reader', oid, 'SELECT') AS read, has_table_privilege('ad_reader', oid, 'INSERT') AS write, obj_description(oid) FROM pg_class WHERE relname IN ('ad_log', 'ad_log_past', 'ad_log_default') ORDER BY 1;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'ad_log'::regclass AND contype <> 'n' ORDER BY 1;
SELECT indexrelid::regclass, indisunique, indisvalid, replace(pg_get_indexdef(indexrelid), current_schema() || '.', '') FROM pg_index WHERE indrelid = 'ad_log'::regclass ORDER BY 1;
SELECT i.indexrelid::regclass, inhparent::regclass FROM pg_index i LEFT JOIN pg_inherits ON inhrelid = indexrelid WHERE indrelid = 'ad_log_past'::regclass ORDER BY 1;
SELECT tgname, tgrelid::regclass, tgenabled FROM pg_trigger WHERE tgrelid IN ('ad_log'::regclass, 'ad_log_past'::regclass) ORDER BY 1, 2;
SELECT polname, polrelid::regclass, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy
	WHERE polrelid = 'ad_log'::regclass ORDER BY 1;
SELECT count(*) >= 2 AS months, count(*) FILTER (WHERE relname = 'ad_log_past') AS past, count(*) FILTER (WHERE relname = 'ad_log_default') AS spare FROM pg_inherits
	JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'ad_log'::regclass;
-- numbers go on, the triggers follow, with the order of changes from now on
UPDATE ad_t SET v = 'y' WHERE id = 1;
SELECT id, n, record_id, action, who = current_user AS mine, len, written_at IS NOT NULL AS written, table_id IS NOT NULL AS known FROM ad_log ORDER BY id;
SELECT action, column_name, new_value FROM audit_history('ad_t', '1');
SELECT log FROM audit_status WHERE audited_table = 'ad_t'::regclass;
DROP TABLE ad_log;
\echo :SQLSTATE
UPDATE ad_log SET user_id = 'x';
\echo :SQLSTATE
TRUNCATE ad_log;
\echo :SQLSTATE
-- a month takes the rows of its time, with the column order of its own
INSERT INTO ad_log (table_name, changed_at) SELECT 'later', to_date(regexp_replace(relname, '.*_(\d{4}_\d\d)$', '\1'), 'YYYY_MM') + 10 FROM pg_class WHERE relname ~ '^ad_log_\d{4}_\d\d$';
SELECT count(*) > 0, count(*) = count(*) FILTER (WHERE tableoid::regclass::text ~ '_\d{4}_\d\d$') FROM ad_log WHERE table_name = 'later';
CALL audit_maintain(months_ahead => 4, log => 'ad_log');

-- another shape: times without a zone, al_, no key; the trigger made by hand, which knows its log by name
CREATE TABLE "Ad 2" (al_table_name name, al_record_key text, al_operation text, al_old_data json, al_new_data json, al_changed_fields jsonb, al_changed_at timestamp);
CREATE TABLE ad_hand (id int PRIMARY KEY);
DO $$ BEGIN EXECUTE format('CREATE TRIGGER "!audit_ad_hand" AFTER INSERT OR UPDATE OR DELETE ON ad_hand FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger(''id'', ''log=%I."Ad 2"'')', current_schema()); END $$;
INSERT INTO ad_hand VALUES (1);
INSERT INTO "Ad 2" (al_table_name) VALUES ('no time');
\set VERBOSITY terse
CALL audit_adopt('"Ad 2"');
\echo :SQLSTATE
\set VERBOSITY default
DELETE FROM "Ad 2" WHERE al_changed_at IS NULL;
SET client_min_messages = warning;
CALL audit_adopt('"Ad 2"');
RESET client_min_messages;
INSERT INTO ad_hand VALUES (2);
SELECT tableoid::regclass, al_record_key, al_written_at IS NOT NULL AS written, al_table_id FROM "Ad 2" ORDER BY al_record_key;
-- the new log is the trigger's own now: it cannot be dropped
DROP TABLE "Ad 2";
\echo :SQLSTATE

-- published: under the name of the log, or not at all
CREATE TABLE ad_sent (table_name text, record_id bigint PRIMARY KEY, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz);
SET client_min_messages = error;
CREATE PUBLICATION ad_parts FOR TABLE ad_sent;
CREATE PUBLICATION ad_root FOR TABLE ad_sent WITH (publish_via_partition_root = true);
RESET client_min_messages;
CALL audit_adopt('ad_sent');
\echo :SQLSTATE
DROP PUBLICATION ad_parts;
SET client_min_messages = error;
CALL audit_adopt('ad_sent');
RESET client_min_messages;
SELECT pubname, prrelid::regclass FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid;
SELECT pubname, tablename FROM pg_publication_tables WHERE pubname = 'ad_root';

-- logs that cannot be
CREATE UNLOGGED TABLE ad_unlogged (LIKE ad_log_past);
CALL audit_adopt('ad_unlogged');
\echo :SQLSTATE
CREATE TABLE ad_words (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at text);
CALL audit_adopt('ad_words');
\echo :SQLSTATE
CREATE TABLE ad_listed (LIKE ad_words) PARTITION BY LIST (table_name);
CALL audit_adopt('ad_listed');
\echo :SQLSTATE

SET client_min_messages = warning;
DROP TABLE ad_t, ad_hand;
DROP PUBLICATION ad_root;
DROP TABLE ad_log, ad_sent, "Ad 2", ad_unlogged, ad_words, ad_listed;
DROP FUNCTION ad_guard;
DROP OWNED BY ad_owner, ad_reader;
DROP ROLE ad_owner, ad_reader;
