-- What is logged, and under which key.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install();
SELECT audit_install();
RESET client_min_messages;
CREATE VIEW logged AS
SELECT table_name, record_id, record_key, action, old_data, new_data, changed_fields
FROM audit_log ORDER BY xact_id, xact_seq;

-- insert, update, delete, truncate
CREATE TABLE aq_t (id int PRIMARY KEY, name text, amount numeric, doc jsonb);
SELECT audit_enable('aq_t');
INSERT INTO aq_t VALUES (1, 'uno', 1.0, '{"a": [1, 2]}'), (2, NULL, NULL, NULL);
UPDATE aq_t SET name = 'one', doc = '{"a": [1, 3]}' WHERE id = 1;
UPDATE aq_t SET amount = 7;
DELETE FROM aq_t WHERE id = 2;
TRUNCATE aq_t;
TABLE logged;

-- no difference as jsonb, no row: the same values, 1.0 for 1.00, null for NULL
TRUNCATE audit_log;
INSERT INTO aq_t VALUES (1, 'uno', 1.0, 'null');
TRUNCATE audit_log;
UPDATE aq_t SET name = name, amount = 1.00, doc = NULL;
UPDATE aq_t SET doc = 'null';
SELECT count(*) FROM logged;
UPDATE aq_t SET amount = 1.0, name = 'dos';
TABLE logged;

-- the key: changed by the update itself
TRUNCATE audit_log;
UPDATE aq_t SET id = 10;
TABLE logged;

-- text, uuid, composite, numeric(n,0), too wide for a bigint, replica identity, given
CREATE TABLE aq_k_text (k text PRIMARY KEY, v int);
CREATE TABLE aq_k_uuid (k uuid PRIMARY KEY, v int);
CREATE TABLE aq_k_two (b int, "A b" text, v int, PRIMARY KEY ("A b", b));
CREATE TABLE aq_k_num (k numeric(10,0) PRIMARY KEY, v int);
CREATE TABLE aq_k_wide (k numeric(30,0) PRIMARY KEY, v int);
CREATE TABLE aq_k_frac (k numeric PRIMARY KEY, v int);
CREATE DOMAIN aq_number AS bigint;
CREATE TABLE aq_k_domain (k aq_number PRIMARY KEY, v int);
CREATE TABLE aq_k_replica (k int NOT NULL UNIQUE, v int);
ALTER TABLE aq_k_replica REPLICA IDENTITY USING INDEX aq_k_replica_k_key;
CREATE TABLE aq_k_given (k smallint, v int);
CREATE TABLE aq_k_none (k int, v int);
TRUNCATE audit_log;
SELECT audit_enable(t::regclass) FROM unnest('{aq_k_text,aq_k_uuid,aq_k_two,aq_k_num,aq_k_wide,aq_k_frac,aq_k_domain,aq_k_replica}'::text[]) t;
SELECT audit_enable('aq_k_given', key => '{k}');
INSERT INTO aq_k_text VALUES ('é "q"', 1);
INSERT INTO aq_k_uuid VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1);
INSERT INTO aq_k_two VALUES (2, 'x', 1);
INSERT INTO aq_k_num VALUES (9999999999, 1), (-5, 1);
INSERT INTO aq_k_wide VALUES (9223372036854775807, 1), (9223372036854775808, 1), ('NaN', 1);
INSERT INTO aq_k_frac VALUES (1, 1), (1.5, 1);
INSERT INTO aq_k_domain VALUES (7, 1);
INSERT INTO aq_k_replica VALUES (8, 1);
INSERT INTO aq_k_given VALUES (9, 1), (NULL, 1);
SELECT table_name, record_id, record_key FROM logged;
SELECT audit_enable('aq_k_none');
\echo :SQLSTATE
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE OR DELETE ON aq_k_none FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
INSERT INTO aq_k_none VALUES (1, 1);
\echo :SQLSTATE

-- by hand, as the function it replaces was attached
CREATE TABLE aq_hand (cnttnum numeric(10,0), v int);
CREATE TRIGGER trg_audit_aq_hand AFTER INSERT OR UPDATE OR DELETE ON aq_hand FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('cnttnum');
TRUNCATE audit_log;
INSERT INTO aq_hand VALUES (12345, 1);
UPDATE aq_hand SET v = 2;
TABLE logged;

-- history: by integer, text, composite key; the key's own change
SELECT action, user_id, column_name, old_value, new_value FROM audit_history('aq_hand', '12345');
UPDATE aq_k_text SET v = 2, k = 'otra';
UPDATE aq_k_two SET v = 2;
UPDATE aq_k_wide SET v = 2 WHERE k > 9223372036854775807 AND k <> 'NaN';
SELECT action, column_name, old_value, new_value FROM audit_history('aq_k_text', 'é "q"');
SELECT action, column_name, old_value, new_value FROM audit_history('aq_k_two', '{"A b": "x", "b": 2}');
SELECT action, column_name, old_value, new_value FROM audit_history('aq_k_two', 'x');
\echo :SQLSTATE
SELECT action, column_name, old_value, new_value FROM audit_history('aq_k_num', 'nonsense');
\echo :SQLSTATE
-- a table that is gone still has its history
DROP TABLE aq_hand;
SELECT action, column_name, old_value, new_value FROM audit_history('aq_hand', '12345');
SELECT count(*) FROM audit_history(quote_ident(current_schema()) || '.aq_hand', '12345');
SELECT count(*) FROM audit_history('other.aq_hand', '12345');

-- exclude and redact
CREATE TABLE aq_client (cliid int PRIMARY KEY, cliname text, cliwebpass text, clihsthora timestamp, "odd, ""name""" int);
SELECT audit_enable('aq_client', exclude => '{clihsthora,"odd, \"name\""}', redact => '{cliwebpass}');
SELECT pg_get_triggerdef(oid) ~ 'fn_audit_trigger\(''exclude=clihsthora,"odd, ""name"""'', ''redact=cliwebpass'', ''id=\d+''\)' AS arguments
FROM pg_trigger WHERE tgrelid = 'aq_client'::regclass ORDER BY tgname LIMIT 1;
TRUNCATE audit_log;
INSERT INTO aq_client VALUES (1, 'Ana', 'secret1', '2020-01-01', 1), (2, 'Eva', NULL, NULL, NULL);
UPDATE aq_client SET clihsthora = '2021-01-01', "odd, ""name""" = 2;
UPDATE aq_client SET cliwebpass = 'secret2';
UPDATE aq_client SET cliwebpass = 'secret2', cliname = upper(cliname);
DELETE FROM aq_client;
SELECT action, old_data, new_data, changed_fields FROM logged;
SELECT count(*) AS leaks FROM audit_log l WHERE l::text LIKE '%secret%';
SELECT count(*) AS redacted FROM audit_log WHERE changed_fields @> '{"cliwebpass": {"old": "[redacted]", "new": "[redacted]"}}';
-- an excluded column that is dropped is no matter, a redacted one that is renamed is
ALTER TABLE aq_client DROP clihsthora;
INSERT INTO aq_client VALUES (3, 'Luz', 'secret3');
ALTER TABLE aq_client RENAME cliwebpass TO clipass;
INSERT INTO aq_client VALUES (4, 'Sol', 'secret4');
\echo :SQLSTATE
SELECT audit_enable('aq_client', redact => '{clipass}');
INSERT INTO aq_client VALUES (4, 'Sol', 'secret4');
SELECT count(*) AS leaks FROM audit_log l WHERE l::text LIKE '%secret%';

-- nor can a key be redacted by hand
CREATE TABLE aq_curp (curp text PRIMARY KEY, v int);
CREATE TRIGGER by_hand AFTER INSERT ON aq_curp FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('', 'redact=curp');
INSERT INTO aq_curp VALUES ('secret5', 1);
\echo :SQLSTATE

-- a key column that is renamed: the primary key takes its place; without one it is an error
CREATE TABLE aq_ren (k int PRIMARY KEY, v int);
SELECT audit_enable('aq_ren', key => '{k}');
ALTER TABLE aq_ren RENAME k TO k2;
INSERT INTO aq_ren VALUES (77, 1);
SELECT record_id, new_data FROM logged WHERE table_name = 'aq_ren';
ALTER TABLE aq_ren DROP CONSTRAINT aq_ren_pkey;
INSERT INTO aq_ren VALUES (78, 1);
\echo :SQLSTATE

-- json that jsonb cannot hold is logged as its text
CREATE TABLE aq_json (id int PRIMARY KEY, j json);
SELECT audit_enable('aq_json');
INSERT INTO aq_json VALUES (1, '{"a": "\u0000"}'), (2, '1e1000000'), (3, '{"a": 1}');
UPDATE aq_json SET j = '{"a": "\u0000!"}' WHERE id < 3;
SELECT record_id, action, coalesce(new_data, changed_fields) AS data FROM logged WHERE table_name = 'aq_json';
-- where that is not possible, the error names the column
CREATE TABLE aq_jsons (id int PRIMARY KEY, j json[]);
SELECT audit_enable('aq_jsons');
INSERT INTO aq_jsons VALUES (1, ARRAY['1e1000000'::json]);
\echo :SQLSTATE

-- a partition and its table: whichever comes first, a change is logged once
CREATE TABLE aq_part (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE aq_part1 PARTITION OF aq_part FOR VALUES FROM (0) TO (10);
SELECT audit_enable('aq_part1');
SELECT audit_enable('aq_part');
SELECT audit_enable('aq_part1');
INSERT INTO aq_part VALUES (1, 1);
SELECT table_name, action FROM logged WHERE table_name LIKE 'aq\_part%';

-- a foreign table
CREATE FOREIGN DATA WRAPPER aq_fdw;
CREATE SERVER aq_server FOREIGN DATA WRAPPER aq_fdw;
CREATE FOREIGN TABLE aq_far (id int) SERVER aq_server;
SET client_min_messages = warning;
SELECT audit_enable('aq_far', key => '{id}');
RESET client_min_messages;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'aq_far'::regclass AND tgtype & 32 = 0;
DROP TABLE aq_curp, aq_ren, aq_json, aq_jsons, aq_part;
DROP FOREIGN TABLE aq_far;
DROP SERVER aq_server;
DROP FOREIGN DATA WRAPPER aq_fdw;

-- status: of tables with other triggers nothing
CREATE TABLE aq_other (id int);
CREATE TRIGGER other BEFORE UPDATE ON aq_other FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT audited_table, key, excluded, redacted, enabled, replica, months_left, default_rows
FROM audit_status WHERE audited_table::text LIKE 'aq\_%' ORDER BY audited_table::text;
ALTER TABLE aq_t DISABLE TRIGGER ALL;
SELECT audit_enable('aq_k_text', replica => true);
SELECT audited_table, enabled, replica FROM audit_status WHERE audited_table IN ('aq_t'::regclass, 'aq_k_text'::regclass);
-- who may not read the log is not told how much is in it
CREATE ROLE aq_reader;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO aq_reader', current_schema()); END $$;
SET ROLE aq_reader;
SELECT months_left, default_rows FROM audit_status WHERE audited_table = 'aq_t'::regclass;
RESET ROLE;
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM aq_reader', current_schema()); END $$;
DROP ROLE aq_reader;

-- off
SELECT audit_disable('aq_t');
SELECT audit_disable('aq_t');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'aq_t'::regclass;

-- every row has its own place in its transaction
SELECT count(*) = count(DISTINCT (xact_id, xact_seq)) AS ordered FROM audit_log;

-- an entry of a published log can be corrected, though the log has no key
SET client_min_messages = error;
CREATE PUBLICATION aq_published FOR TABLE audit_log WITH (publish_via_partition_root = true);
WITH changed AS (UPDATE audit_log SET app_context = '{"corrected": true}' RETURNING 1) SELECT count(*) > 0 AS corrected FROM changed;
DROP PUBLICATION aq_published;
SET client_min_messages = warning;
DROP VIEW logged;
DROP TABLE aq_t, aq_k_text, aq_k_uuid, aq_k_two, aq_k_num, aq_k_wide, aq_k_frac, aq_k_domain, aq_k_replica, aq_k_given, aq_k_none, aq_client, aq_other;
DROP DOMAIN aq_number;
DROP TABLE audit_log;
