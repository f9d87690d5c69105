-- Months that audit_maintain takes off: what is recorded, read again, and never dropped.
SET timezone = 'America/Mexico_City';
SET client_min_messages = warning;
SELECT audit_install(months => 0);
RESET client_min_messages;
CREATE TABLE dt_t (id int PRIMARY KEY, v text);
SELECT audit_enable('dt_t');
INSERT INTO dt_t VALUES (1, 'now');
-- entries of long ago go into the DEFAULT partition, and then into months
CREATE FUNCTION dt_old(at timestamptz, id bigint) RETURNS void LANGUAGE sql AS $$
	INSERT INTO audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, table_id, record_id, action, new_data, user_id)
	VALUES (at, id::text::xid8, 1, 'elsewhere', 'dt_t', (SELECT a.id FROM audit_table a WHERE relid = 'dt_t'::regclass), 1, 'I', '{"v": "old"}', 'system') $$;
SELECT dt_old('2019-03-05 00:00+00', 31), dt_old('2019-03-31 23:59:59+00', 33), dt_old('2019-03-07 00:00+00', 32), dt_old('2019-05-01 00:00+00', 50);
CREATE VIEW dt_months AS SELECT c.oid::regclass AS month, pg_get_expr(relpartbound, c.oid) AS limits FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid
	WHERE inhparent = 'audit_log'::regclass AND relname ~ '_(2019|2942)';
SET client_min_messages = warning;
CALL audit_maintain(months_ahead => 0);
RESET client_min_messages;
SELECT month FROM dt_months ORDER BY 1;
SELECT * FROM audit_detached;

-- detached, with what a reader has to know
CALL audit_maintain(months_ahead => 0, keep => '1 year');
SET timezone = 'UTC';
SELECT log, split_part(month, '.', 1) = current_schema() AS home, split_part(month, '.', 2) AS month, range_from, range_to, last_xact, detached_at <= now() AS detached, dropped FROM audit_detached ORDER BY range_from;
SELECT month FROM dt_months;
SELECT count(*) FROM audit_log WHERE changed_at < '2020-01-01';
-- attached again by hand: read by everything, and no record of it after the next call
ALTER TABLE audit_log ATTACH PARTITION audit_log_2019_03 FOR VALUES FROM ('2019-03-01 00:00+00') TO ('2019-04-01 00:00+00');
SELECT count(*) FROM audit_history('dt_t', '1') WHERE xact_id::text IN ('31', '32', '33');
SELECT count(*) FROM audit_log WHERE changed_at < '2020-01-01';
SELECT split_part(month, '.', 2) AS month FROM audit_detached ORDER BY 1;
SET client_min_messages = warning;
CALL audit_maintain(months_ahead => 0);
RESET client_min_messages;
SELECT split_part(month, '.', 2) AS month FROM audit_detached ORDER BY 1;
-- a late entry of a detached month gets a month of its own
SELECT dt_old('2019-05-02 00:00+00', 51);
SET client_min_messages = warning;
CALL audit_maintain(months_ahead => 0);
RESET client_min_messages;
SELECT month FROM dt_months ORDER BY 1;
SELECT split_part(month, '.', 2) AS month FROM audit_detached ORDER BY 1;

-- expired => 'drop' counts from the last month before this one that has entries: a clock that
-- is wrong for one run is not the end of the log
CALL audit_maintain(months_ahead => 0, keep => '1 month', expired => 'drop');
SELECT split_part(month, '.', 2) AS month, last_xact, dropped FROM audit_detached ORDER BY detached_at, range_from;
CALL audit_maintain(months_ahead => 0, keep => '1 month', expired => 'drop');
SELECT month FROM dt_months ORDER BY 1;
SELECT to_regclass('audit_log_2019_03'), to_regclass('audit_log_2019_05') IS NOT NULL AS detached_table;
-- by anybody, and by nobody but audit_maintain
CREATE ROLE dt_reader;
DO $$ BEGIN EXECUTE (SELECT format('GRANT USAGE ON SCHEMA %s TO dt_reader', extnamespace::regnamespace) FROM pg_extension WHERE extname = 'aquacis'); END $$;
SET ROLE dt_reader;
SELECT count(*) FROM audit_detached;
DELETE FROM audit_detached;
\echo :SQLSTATE
RESET ROLE;

-- the last month that a timestamp can hold, and the first
SELECT dt_old('294276-12-15 00:00+00', 90), dt_old('4714-11-24 00:00+00 BC', 91), dt_old('infinity', 92), dt_old('-infinity', 93);
CALL audit_maintain(months_ahead => 0);
SELECT * FROM dt_months WHERE limits ~ '294276';
CALL audit_maintain(months_ahead => 0);
SELECT record_id, xact_id FROM audit_log_default ORDER BY changed_at;

-- times without a zone
CREATE TABLE dt_log (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamp) PARTITION BY RANGE (changed_at);
CREATE TABLE dt_log_default PARTITION OF dt_log DEFAULT;
INSERT INTO dt_log VALUES ('x', 1, 'I', NULL, '{}', NULL, '2019-02-28 23:59:59'), ('x', 1, 'I', NULL, '{}', NULL, '2019-03-01');
SET timezone = 'America/Mexico_City';
CALL audit_maintain(months_ahead => 0, log => 'dt_log');
SELECT tableoid::regclass, changed_at FROM dt_log ORDER BY 2;
SET timezone = 'UTC';
SET client_min_messages = warning;
SELECT audit_enable('dt_t', log => 'dt_log');
INSERT INTO dt_t VALUES (2, 'local');
SELECT tableoid::regclass::text ~ '^dt_log_\d{4}_\d\d$' AS month FROM dt_log WHERE record_id = 2;
DROP TABLE dt_t;
DROP VIEW dt_months;
DROP FUNCTION dt_old;
DROP TABLE audit_log, dt_log;
DROP TABLE audit_log_2019_05;
DO $$ BEGIN EXECUTE (SELECT format('REVOKE USAGE ON SCHEMA %s FROM dt_reader; DELETE FROM %1$s.audit_detached', extnamespace::regnamespace) FROM pg_extension WHERE extname = 'aquacis'); END $$;
DROP ROLE dt_reader;
