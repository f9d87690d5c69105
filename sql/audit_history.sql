-- Finding a record again: in logs of other types, by keys of any kind.
SET client_min_messages = warning;
CALL forget_audited();
SET TimeZone = 'America/Mexico_City';
SELECT audit_install(months => 0);
-- times without a zone, a number as text, the key as json
CREATE TABLE aq_log (table_name text, record_key json, xact_id text, action text, old_data json, new_data text, changed_fields jsonb, changed_at timestamp);
CREATE TABLE aq_t (id text PRIMARY KEY, v int);
SELECT audit_enable('aq_t', log => 'aq_log');
BEGIN;
INSERT INTO aq_t VALUES ('{a}', 1);
SELECT changed_at = now() AS now, xact_id = pg_current_xact_id() AS this, action, column_name, new_value FROM audit_history('aq_t', '{"id": "{a}"}');
ROLLBACK;
INSERT INTO aq_t VALUES ('a', 1);
SELECT action, column_name, new_value FROM audit_history('aq_t', 'a');
-- what somebody else wrote there
INSERT INTO aq_log VALUES ('aq_t', '{"id": "a"}', NULL, 'U', 'null', NULL, '[1]', now());
SELECT action, column_name, new_value FROM audit_history('aq_t', 'a');
-- a key as text
SELECT audit_disable('aq_t');
DROP TABLE aq_log;
CREATE TABLE aq_log (table_name text, record_id bigint, record_key text, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at date);
CREATE TABLE aq_two (a int, b text, PRIMARY KEY (a, b));
SELECT audit_enable('aq_two', log => 'aq_log'), audit_enable('aq_t', log => 'aq_log');
INSERT INTO aq_two VALUES (1, 'x');
UPDATE aq_t SET id = '{b}';
UPDATE aq_t SET v = 2;
SELECT action, changed_at = current_date AS today, column_name, new_value FROM audit_history('aq_two', '{"b":"x", "a":1}');
SELECT action, column_name, new_value FROM audit_history('aq_t', '{b}');

-- a number that no bigint holds
CREATE TABLE aq_wide (k numeric(30,0) PRIMARY KEY);
SELECT audit_enable('aq_wide');
INSERT INTO aq_wide VALUES (9223372036854775808), (7), ('NaN');
SELECT k, column_name, new_value FROM (VALUES ('9223372036854775808'), ('7'), ('NaN'), ('8')) v (k), audit_history('aq_wide', k);
-- newest first, also within a moment and a transaction
CREATE TABLE aq_same (k int PRIMARY KEY, v int);
SELECT audit_enable('aq_same');
INSERT INTO aq_same VALUES (1, 1);
UPDATE aq_same SET v = 2;
BEGIN;
UPDATE aq_same SET v = 3;
UPDATE aq_same SET v = 4;
COMMIT;
UPDATE aq_same SET v = 5;
UPDATE audit_log SET changed_at = '2020-01-01' WHERE table_name = 'aq_same' AND xact_seq > 1;
UPDATE audit_log SET changed_at = '2020-01-01' WHERE table_name = 'aq_same' AND xact_seq = 1;
SELECT action, new_value FROM audit_history('aq_same', '1') WHERE column_name = 'v';
DROP TABLE aq_same;
-- not audited any more, and without a key of its own
CREATE TABLE aq_none (k int, v int);
SELECT audit_enable('aq_none', key => '{k}');
INSERT INTO aq_none VALUES (1, 1);
SELECT audit_disable('aq_none');
SELECT column_name, new_value FROM audit_history('aq_none', '1');
-- gone, with a key that is no integer
CREATE TABLE aq_gone (k text PRIMARY KEY);
SELECT audit_enable('aq_gone');
INSERT INTO aq_gone VALUES ('uno');
DROP TABLE aq_gone;
SELECT column_name, new_value FROM audit_history('aq_gone', '{"k": "uno"}');
SELECT column_name, new_value FROM audit_history('aq_gone', 'uno');
-- never there, or another key of one that is gone; there, but not audited any more
SET client_min_messages = notice;
SELECT column_name FROM audit_history('aq_gnoe', '1');
SELECT column_name FROM audit_history('otro."Gone"', '{"k": "dos"}');
SELECT column_name FROM audit_history('aq_gone', '{"k": "dos"}');
SELECT column_name FROM audit_history('aq_none', '2');
SET client_min_messages = warning;
-- a partition is logged as its table
CREATE TABLE aq_p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE aq_p1 PARTITION OF aq_p FOR VALUES FROM (0) TO (10);
SELECT audit_enable('aq_p');
INSERT INTO aq_p VALUES (1, 1);
SELECT column_name, new_value FROM audit_history('aq_p1', '1');

DROP TABLE aq_t, aq_two, aq_log, aq_wide, aq_none, aq_p, audit_log;
