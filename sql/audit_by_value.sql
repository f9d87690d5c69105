-- What an application has is a value: keys that are numbers, UUIDs, dates; sessions that are no
-- integers.  And what a literal means stays as it was.
\pset format unaligned
CALL forget_audited();
SET client_min_messages = warning;
SELECT audit_install();
CREATE TABLE bv_int (id int PRIMARY KEY, v text);
CREATE TABLE bv_uuid (id uuid PRIMARY KEY, v text);
CREATE TABLE bv_date (id date PRIMARY KEY, v text);
CREATE TABLE bv_two (a int, b numeric(6,2), v text, PRIMARY KEY (a, b));
SELECT audit_enable('bv_int'), audit_enable('bv_uuid'), audit_enable('bv_date'), audit_enable('bv_two');
RESET client_min_messages;

-- sessions
BEGIN;
SELECT audit_set_user('ana', '7c9e6679-7425-40de-944b-e07fc1f90ae7'::uuid);
INSERT INTO bv_int VALUES (1, 'uuid');
SELECT audit_set_user('7c9e6679-7425-40de-944b-e07fc1f90ae7'::uuid, '7c9e6679-7425-40de-944b-e07fc1f90ae8'::uuid, '{"a": 1}');
UPDATE bv_int SET v = 'user and session';
SELECT audit_set_user('7c9e6679-7425-40de-944b-e07fc1f90ae7'::uuid);
UPDATE bv_int SET v = 'user alone';
SELECT audit_set_user('eva', 'a "session" of ñ', '[1]');
UPDATE bv_int SET v = 'text, and a context that is no object';
SELECT audit_set_user('eva', 'abc'::text, '{"session_id": 9}');
UPDATE bv_int SET v = 'the application has put one there itself';
SELECT audit_set_user('eva', '42', '"x"');
UPDATE bv_int SET v = 'a text that is an integer';
SELECT audit_set_user('eva', 43, '{"m": 1}');
UPDATE bv_int SET v = 'integer';
SELECT audit_set_user('eva', NULL, '{"m": 1}');
UPDATE bv_int SET v = 'null';
SELECT audit_set_user('eva');
UPDATE bv_int SET v = 'none';
SELECT set_config('app.session_id', 'node-7', true);
UPDATE bv_int SET v = 'setting';
UPDATE bv_int SET v = 'setting, again';
SELECT set_config('app.context', '{"m": 2}', true);
UPDATE bv_int SET v = 'setting, another context';
SELECT set_config('app.context', '', true);
UPDATE bv_int SET v = 'setting, no context';
SELECT set_config('app.context', 'not JSON', true), set_config('app.session_id', repeat('x', 3000), true);
UPDATE bv_int SET v = 'setting, long';
COMMIT;
SELECT coalesce(new_data ->> 'v', changed_fields -> 'v' ->> 'new') AS v, user_id, session_id, left(app_context::text, 80) AS app_context, length(app_context::text)
FROM audit_log ORDER BY xact_seq;
-- a log that has a column for the session and none for the context, and the other way round
CREATE TABLE bv_log (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz, session_id bigint);
SELECT audit_enable('bv_int', log => 'bv_log');
BEGIN;
SELECT audit_set_user('eva', 'abc');
UPDATE bv_int SET v = '1';
SELECT audit_set_user('eva', 5);
UPDATE bv_int SET v = '2';
COMMIT;
SELECT session_id FROM bv_log ORDER BY record_id, changed_fields ->> 'v';
DROP TABLE bv_log CASCADE;
CREATE TABLE bv_log (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz, app_context jsonb);
SELECT audit_enable('bv_int', log => 'bv_log');
BEGIN;
SELECT audit_set_user('eva', 'abc');
UPDATE bv_int SET v = '3';
SELECT audit_set_user('eva', 5, '{"m": 3}');
UPDATE bv_int SET v = '4';
COMMIT;
SELECT app_context FROM bv_log ORDER BY changed_fields -> 'v' ->> 'new';
DROP TABLE bv_log CASCADE;

-- keys
SET client_min_messages = warning;
SELECT audit_enable('bv_int');
RESET client_min_messages;
INSERT INTO bv_int VALUES (2, 'two');
INSERT INTO bv_uuid VALUES ('7c9e6679-7425-40de-944b-e07fc1f90ae7', 'uuid');
INSERT INTO bv_date VALUES ('2026-01-02', 'date');
INSERT INTO bv_two VALUES (1, 2.50, 'two');
SELECT column_name, new_value FROM audit_history('bv_int', 2) UNION ALL
SELECT column_name, new_value FROM audit_history('bv_int', 2::bigint) UNION ALL
SELECT column_name, new_value FROM audit_history('bv_int', 2::numeric) UNION ALL
SELECT column_name, new_value FROM audit_history('bv_int', '2') UNION ALL
SELECT column_name, new_value FROM audit_history('bv_int', '2'::varchar) UNION ALL
SELECT column_name, new_value FROM audit_history('bv_int', '{"id": 2}'::jsonb);
SELECT column_name, new_value FROM audit_history('bv_uuid', '7c9e6679-7425-40de-944b-e07fc1f90ae7'::uuid);
SET datestyle = 'sql, dmy';
SELECT column_name, new_value FROM audit_history('bv_date', date '2026-01-02');
SELECT column_name, new_value FROM audit_history('bv_two', jsonb_build_object('a', 1, 'b', 2.5));
RESET datestyle;
SELECT version, action FROM audit_versions(NULL::bv_int, 2) UNION ALL SELECT version, action FROM audit_versions(NULL::bv_int, '2')
UNION ALL SELECT version, action FROM audit_versions(NULL::bv_int, (SELECT max(id) FROM bv_int));
SELECT audit_row_at(NULL::bv_int, 2, now()), audit_row_at(NULL::bv_int, '2', now());
SELECT audit_row_at(NULL::bv_uuid, id, now()) FROM bv_uuid;
-- each row has its own key
SELECT i, (SELECT count(*) FROM audit_history('bv_int', i)) FROM generate_series(1, 3) i;
-- what is no key, and null
SELECT * FROM audit_history('bv_int', 2.5);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM audit_history('bv_int', true);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM audit_history('bv_two', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM audit_history('bv_two', ROW(1, 2.5));
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM audit_history('bv_int', NULL::int);
SELECT audit_row_at(NULL::bv_int, NULL::int, now());
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM audit_versions(NULL::bv_int, NULL::uuid);
\echo :LAST_ERROR_SQLSTATE

-- the library and the interface
SELECT interface = (SELECT extversion FROM pg_extension WHERE extname = 'aquacis') AS same, library ~ '^\d+\.\d+\.\d+$' AS number FROM aquacis_version();
DROP TABLE bv_int, bv_uuid, bv_date, bv_two, audit_log;
