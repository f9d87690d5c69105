-- Who did it: the settings of the application, the roles.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install();
RESET client_min_messages;
CREATE SCHEMA aq_s;
CREATE TABLE aq_s.aq_w (id int PRIMARY KEY, v int);
SELECT audit_enable('aq_s.aq_w');
CREATE VIEW logged AS SELECT record_id AS id, user_id, session_id, app_context FROM audit_log ORDER BY xact_id, xact_seq;

-- nothing said
INSERT INTO aq_s.aq_w VALUES (1, 1);
-- for one transaction; afterwards the session has it empty, which counts as unset
BEGIN;
SELECT audit_set_user('lperez', session_id => 42, context => '{"module": "caja"}');
INSERT INTO aq_s.aq_w VALUES (2, 1);
COMMIT;
SELECT current_setting('app.current_user', true) = '' AS left_empty;
INSERT INTO aq_s.aq_w VALUES (3, 1);
-- changed within a transaction, and undone with a savepoint
BEGIN;
SELECT audit_set_user('ana');
INSERT INTO aq_s.aq_w VALUES (4, 1);
SAVEPOINT s;
SELECT audit_set_user('eva', 7);
INSERT INTO aq_s.aq_w VALUES (5, 1);
ROLLBACK TO s;
INSERT INTO aq_s.aq_w VALUES (6, 1);
SELECT audit_set_user(NULL);
INSERT INTO aq_s.aq_w VALUES (7, 1);
COMMIT;
-- what is no JSON is logged as a string; what is no number, not at all
BEGIN;
SET LOCAL app.context = 'ventanilla "3"';
SET LOCAL app.session_id = 'abc';
INSERT INTO aq_s.aq_w VALUES (8, 1);
SET LOCAL app.context = '{"a": 1';
SET LOCAL app.session_id = '99999999999999999999';
INSERT INTO aq_s.aq_w VALUES (9, 1);
SET LOCAL app.context = '"\u0000"';
SET LOCAL app.session_id = ' 12 ';
INSERT INTO aq_s.aq_w VALUES (10, 1);
SET LOCAL app.context = '1e1000000';
INSERT INTO aq_s.aq_w VALUES (11, 1);
SET LOCAL app.context = '[1.50, null]';
INSERT INTO aq_s.aq_w VALUES (12, 1);
COMMIT;
-- any length
BEGIN;
SELECT audit_set_user(repeat('ñ', 1000));
INSERT INTO aq_s.aq_w VALUES (13, 1);
SELECT audit_set_user((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i));
INSERT INTO aq_s.aq_w VALUES (14, 1);
COMMIT;
SELECT id, CASE WHEN length(user_id) > 20 THEN length(user_id)::text ELSE user_id END AS user_id, session_id, app_context FROM logged;

-- the active role and the one that logged in
CREATE ROLE aq_clerk;
GRANT USAGE ON SCHEMA aq_s TO aq_clerk;
GRANT ALL ON aq_s.aq_w TO aq_clerk;
TRUNCATE audit_log;
SET ROLE aq_clerk;
UPDATE aq_s.aq_w SET v = 2 WHERE id = 1;
RESET ROLE;
ALTER ROLE aq_clerk RENAME TO aq_cashier;
SET ROLE aq_cashier;
UPDATE aq_s.aq_w SET v = 3 WHERE id = 1;
RESET ROLE;
SELECT db_user, session_user_name = session_user AS session FROM audit_log ORDER BY xact_id, xact_seq;

-- settings that come, move among all others and go between two rows, in any case of letters
\c
SET client_min_messages = warning;
SELECT set_config('search_path', nspname, false) <> '' AS path FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'aquacis';
CREATE TABLE aq_settings (id int PRIMARY KEY);
SELECT audit_enable('aq_settings');
TRUNCATE audit_log;
INSERT INTO aq_settings VALUES (1);
SET app.a = 'x';
SET app.zz = 'x';
INSERT INTO aq_settings VALUES (2);
SET "APP.Context" = '"upper"';
INSERT INTO aq_settings VALUES (3);
SET app.b = 'x';
SET app."current_user" = 'ana';
INSERT INTO aq_settings VALUES (4);
SET aaa.a = 'x';
SET app.session_id = 7;
SET app.context = '"lower"';
INSERT INTO aq_settings VALUES (5);
BEGIN;
SET LOCAL app."current_user" = 'eva';
SET LOCAL app.session_id = 8;
INSERT INTO aq_settings VALUES (6);
COMMIT;
SET app.c = 'x';
RESET app."current_user";
INSERT INTO aq_settings VALUES (7);
SELECT record_id, user_id, session_id, app_context FROM audit_log ORDER BY xact_id, xact_seq;
DROP TABLE aq_settings;

DROP VIEW logged;
DROP TABLE aq_s.aq_w, audit_log;
DROP SCHEMA aq_s;
DROP ROLE aq_cashier;
