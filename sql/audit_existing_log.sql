-- Logs that were found, not made: by the names of their columns.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install();
CREATE SEQUENCE aq_ids;
CREATE TABLE aq_t (id int PRIMARY KEY DEFAULT nextval('aq_ids'), v text);
CREATE TABLE aq_two (a int, b text, v text, PRIMARY KEY (a, b));

-- the log of the first plan, its key completed so that it can be created
CREATE TABLE aq_log_c3 (
	id bigint GENERATED ALWAYS AS IDENTITY, table_name varchar(63) NOT NULL, record_id bigint NOT NULL,
	action char(1) NOT NULL, old_data jsonb, new_data jsonb, changed_fields jsonb, session_id bigint,
	user_id varchar(10) NOT NULL, changed_at timestamptz NOT NULL DEFAULT now(), app_context jsonb,
	PRIMARY KEY (id, changed_at)) PARTITION BY RANGE (changed_at);
CREATE TABLE aq_log_c3_a PARTITION OF aq_log_c3 FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
-- a partition with its columns in another order, and one dropped
CREATE TABLE aq_log_c3_b (app_context jsonb, gone int, changed_at timestamptz NOT NULL, user_id varchar(10) NOT NULL, session_id bigint,
	changed_fields jsonb, new_data jsonb, old_data jsonb, action char(1) NOT NULL, record_id bigint NOT NULL, table_name varchar(63) NOT NULL, id bigint NOT NULL);
ALTER TABLE aq_log_c3_b DROP gone;
ALTER TABLE aq_log_c3 ATTACH PARTITION aq_log_c3_b FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE INDEX ON aq_log_c3 USING gin (changed_fields);
RESET client_min_messages;
SELECT audit_enable('aq_t', log => 'aq_log_c3');
BEGIN;
SELECT audit_set_user('ana', 5, '{"m": 1}');
INSERT INTO aq_t (v) VALUES ('uno'), ('dos');
SELECT lastval();
UPDATE aq_t SET v = 'tres' WHERE id = 1;
DELETE FROM aq_t WHERE id = 2;
COMMIT;
SELECT id, table_name, record_id, action, old_data, new_data, changed_fields, session_id, user_id, app_context FROM aq_log_c3 ORDER BY id;
SELECT action, user_id, column_name, old_value, new_value FROM audit_history('aq_t', '1');
-- TRUNCATE cannot be logged there, and nothing is in its way
TRUNCATE aq_t;
-- a name that its varchar(10) cannot hold: the column is named
BEGIN;
SELECT audit_set_user('a-user-longer-than-that');
INSERT INTO aq_t (v) VALUES ('x');
\echo :SQLSTATE
ROLLBACK;
-- a text key goes into its bigint while it reads as one
CREATE TABLE aq_text (k text PRIMARY KEY);
SELECT audit_enable('aq_text', log => 'aq_log_c3');
INSERT INTO aq_text VALUES ('77');
INSERT INTO aq_text VALUES ('x77');
\echo :SQLSTATE
SELECT record_id FROM aq_log_c3 WHERE table_name = 'aq_text';

-- the log of the second plan, plain, and with a column of a type of its own
CREATE TABLE aq_log_p2 (
	al_id bigserial PRIMARY KEY, al_table_name name, al_record_key varchar(100), al_operation "char", al_old_data json, al_new_data json,
	al_changed_fields jsonb, al_sesid numeric(10,0), al_user_id text, al_changed_at timestamp, al_expid int DEFAULT 7);
SELECT audit_enable('aq_t', log => 'aq_log_p2');
SELECT audit_enable('aq_two', log => 'aq_log_p2');
SELECT lastval();
INSERT INTO aq_t (id, v) VALUES (100, 'cien');
UPDATE aq_t SET v = 'ciento' WHERE id = 100;
INSERT INTO aq_two VALUES (1, 'b', 'x');
UPDATE aq_two SET a = 2;
TRUNCATE aq_two;
SELECT lastval();
SELECT al_id, al_table_name, al_record_key, al_operation, al_old_data, al_new_data, al_changed_fields, al_sesid, al_user_id, al_expid,
	al_changed_at IS NOT NULL AS stamped FROM aq_log_p2 ORDER BY al_id;
SELECT action, column_name, old_value, new_value FROM audit_history('aq_t', '100');
SELECT action, column_name, old_value, new_value FROM audit_history('aq_two', '{"a": 1, "b": "b"}');

-- a view, a list-partitioned log, one partitioned twice, a deferrable key
\set SHOW_CONTEXT never
CREATE TABLE aq_base AS SELECT * FROM aq_log_p2 LIMIT 0;
CREATE VIEW aq_log_view AS SELECT al_table_name AS table_name, al_record_key AS record_key, al_operation AS action, al_old_data AS old_data,
	al_new_data AS new_data, al_changed_fields AS changed_fields, al_user_id AS user_id, al_changed_at AS changed_at FROM aq_base;
SELECT audit_enable('aq_t', log => 'aq_log_view');
INSERT INTO aq_t (id, v) VALUES (101, 'view');
SELECT al_table_name, al_record_key, al_operation, al_new_data FROM aq_base;
CREATE TABLE aq_log_list (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz)
	PARTITION BY LIST (table_name);
CREATE TABLE aq_log_list_t PARTITION OF aq_log_list FOR VALUES IN ('aq_t') PARTITION BY RANGE (changed_at);
CREATE TABLE aq_log_list_t_1 PARTITION OF aq_log_list_t FOR VALUES FROM ('2000-01-01') TO (MAXVALUE);
SELECT audit_enable('aq_t', log => 'aq_log_list');
INSERT INTO aq_t (id, v) VALUES (102, 'list');
CREATE TABLE aq_log_deep (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz)
	PARTITION BY RANGE (changed_at);
CREATE TABLE aq_log_deep_a PARTITION OF aq_log_deep FOR VALUES FROM ('2000-01-01') TO (MAXVALUE) PARTITION BY RANGE (changed_at);
CREATE TABLE aq_log_deep_b PARTITION OF aq_log_deep_a DEFAULT;
SELECT audit_enable('aq_t', log => 'aq_log_deep');
INSERT INTO aq_t (id, v) VALUES (103, 'deep');
CREATE TABLE aq_log_defer (n int DEFAULT 1 UNIQUE DEFERRABLE INITIALLY DEFERRED, table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb,
	changed_fields jsonb, changed_at timestamptz);
SELECT audit_enable('aq_t', log => 'aq_log_defer');
INSERT INTO aq_t (id, v) VALUES (104, 'deferred');
INSERT INTO aq_t (id, v) VALUES (105, 'deferred');
\echo :SQLSTATE
-- a column that the log computes, whatever its name
CREATE TABLE aq_log_gen (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz,
	user_id text GENERATED ALWAYS AS ('by ' || table_name) STORED);
SELECT audit_enable('aq_t', log => 'aq_log_gen');
INSERT INTO aq_t (id, v) VALUES (110, 'computed');
CREATE FUNCTION aq_pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER pass BEFORE INSERT ON aq_log_gen FOR EACH ROW EXECUTE FUNCTION aq_pass();
INSERT INTO aq_t (id, v) VALUES (111, 'through SPI');
SELECT record_id, user_id FROM aq_log_gen;
-- partitions of moments that are no timestamptz
CREATE TABLE aq_log_words (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at text)
	PARTITION BY RANGE (changed_at);
CREATE TABLE aq_log_words_a PARTITION OF aq_log_words FOR VALUES FROM (MINVALUE) TO ('A');
CREATE TABLE aq_log_words_b PARTITION OF aq_log_words FOR VALUES FROM ('A') TO (MAXVALUE);
SELECT audit_enable('aq_t', log => 'aq_log_words');
INSERT INTO aq_t (id, v) VALUES (108, 'a word');
SET datestyle = 'ISO';
INSERT INTO aq_t (id, v) VALUES (109, 'a number');
RESET datestyle;
SELECT tableoid::regclass, record_id FROM aq_log_words ORDER BY 2;
SELECT tableoid::regclass, record_id, new_data FROM aq_log_list;
SELECT tableoid::regclass, record_id, new_data FROM aq_log_deep;
SELECT record_id, new_data FROM aq_log_defer;

-- a partition with its columns in another order, and two that could take the action
CREATE TABLE aq_log_both (table_name text, record_id bigint, action text, operation text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz)
	PARTITION BY RANGE (changed_at);
CREATE TABLE aq_log_both_1 (operation text, changed_at timestamptz, table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb);
ALTER TABLE aq_log_both ATTACH PARTITION aq_log_both_1 DEFAULT;
SELECT audit_enable('aq_t', log => 'aq_log_both');
INSERT INTO aq_t (id, v) VALUES (107, 'both');
SELECT action, operation, record_id FROM aq_log_both;

-- a partition is no log: enabling refuses it, the trigger by hand keeps its limits
SELECT audit_enable('aq_t', log => 'aq_log_c3_a');
\echo :SQLSTATE
CREATE TABLE aq_hand (id int PRIMARY KEY);
DO $$ BEGIN EXECUTE format('CREATE TRIGGER t AFTER INSERT ON aq_hand FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger(''id'', ''log=%I.audit_log_default'')', current_schema()); END $$;
\set VERBOSITY sqlstate
INSERT INTO aq_hand VALUES (1);
\set VERBOSITY default

-- a log that allows three actions alone, and one whose other CHECKs are no matter
CREATE TABLE aq_log_iud (table_name text, record_id bigint, action text CHECK (action IN ('I', 'U', 'D')), old_data jsonb, new_data jsonb,
	changed_fields jsonb, changed_at timestamptz);
SELECT audit_enable('aq_t', log => 'aq_log_iud');
TRUNCATE aq_t;
ALTER TABLE aq_log_iud DROP CONSTRAINT aq_log_iud_action_check, ADD CHECK (action = 'T' OR record_id > 0), ADD CHECK (length(table_name) < 10),
	ALTER action TYPE "char";
SELECT audit_enable('aq_t', log => 'aq_log_iud');
TRUNCATE aq_t;
SELECT action, record_id FROM aq_log_iud;
-- an action of a type that has no T, and of one whose domain has none; a CHECK that calls a function is left to the row
CREATE TYPE aq_action AS ENUM ('I', 'U', 'D');
CREATE DOMAIN aq_iud AS text CHECK (VALUE IN ('I', 'U', 'D'));
CREATE FUNCTION aq_iud(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$;
TRUNCATE aq_log_iud;
ALTER TABLE aq_log_iud DROP CONSTRAINT aq_log_iud_check, ALTER action TYPE aq_action USING NULL;
SELECT audit_enable('aq_t', log => 'aq_log_iud');
INSERT INTO aq_t (id, v) VALUES (1, 'enum');
TRUNCATE aq_t;
SELECT action, record_id FROM aq_log_iud;
ALTER TABLE aq_log_iud ALTER action TYPE aq_iud USING action::text;
SELECT audit_enable('aq_t', log => 'aq_log_iud');
ALTER TYPE aq_action ADD VALUE 'T';
ALTER TABLE aq_log_iud ALTER action TYPE aq_action USING action::text::aq_action, ADD CONSTRAINT aq_called CHECK (aq_iud(action::text)) NOT VALID;
SELECT audit_enable('aq_t', log => 'aq_log_iud');
ALTER TABLE aq_log_iud DROP CONSTRAINT aq_called;
TRUNCATE aq_t;
SELECT action, record_id FROM aq_log_iud;

-- keys that have no room in its record_id
SELECT audit_enable('aq_two', log => 'aq_log_iud');
\echo :SQLSTATE
CREATE TABLE aq_uuid (k uuid PRIMARY KEY);
SELECT audit_enable('aq_uuid', log => 'aq_log_iud');
\echo :SQLSTATE

-- a foreign partition
CREATE FOREIGN DATA WRAPPER aq_fdw;
CREATE SERVER aq_server FOREIGN DATA WRAPPER aq_fdw;
CREATE TABLE aq_log_far (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz)
	PARTITION BY RANGE (changed_at);
CREATE FOREIGN TABLE aq_log_far_1 PARTITION OF aq_log_far FOR VALUES FROM ('2000-01-01') TO (MAXVALUE) SERVER aq_server;
SELECT audit_enable('aq_t', log => 'aq_log_far');
\set SHOW_CONTEXT never
INSERT INTO aq_t (id, v) VALUES (106, 'far');
\echo :SQLSTATE

DROP TABLE aq_t, aq_two, aq_text, aq_uuid, aq_hand;
DROP VIEW aq_log_view;
DROP TABLE aq_log_c3, aq_log_p2, aq_base, aq_log_list, aq_log_deep, aq_log_defer, aq_log_far, aq_log_both, aq_log_iud, aq_log_words, aq_log_gen, audit_log;
DROP FUNCTION aq_pass();
DROP SEQUENCE aq_ids;
DROP TYPE aq_action;
DROP DOMAIN aq_iud;
DROP FUNCTION aq_iud(text);
DROP SERVER aq_server;
DROP FOREIGN DATA WRAPPER aq_fdw;
