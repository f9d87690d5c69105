-- audit_status: which changes are really seen.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE TABLE aq_t (id int PRIMARY KEY, a int, "B b" int);
CREATE VIEW status AS SELECT audited_table, enabled, replica, replace(events, current_schema() || '.', '(schema).') AS events, table_id FROM audit_status;
SELECT audit_enable('aq_t');
TABLE status;

-- one trigger disabled, gone, for replicated changes only
ALTER TABLE aq_t DISABLE TRIGGER "!audit_aq_t_truncate";
TABLE status;
DROP TRIGGER "!audit_aq_t_truncate" ON aq_t;
TABLE status;
ALTER TABLE aq_t ENABLE REPLICA TRIGGER "!audit_aq_t";
TABLE status;
ALTER TABLE aq_t DISABLE TRIGGER "!audit_aq_t";
TABLE status;
SELECT audit_enable('aq_t', replica => true);
TABLE status;

-- made by hand: some columns, a condition, both, and what they see together
SELECT audit_disable('aq_t');
CREATE TRIGGER columns AFTER UPDATE OF "B b", a ON aq_t FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
TABLE status;
INSERT INTO aq_t VALUES (1, 1, 1);
UPDATE aq_t SET id = 2;
UPDATE aq_t SET a = 2;
SELECT action, changed_fields FROM audit_log;
CREATE TRIGGER new_ones AFTER INSERT ON aq_t FOR EACH ROW WHEN (NEW.a > 0) EXECUTE FUNCTION fn_audit_trigger();
CREATE TRIGGER few AFTER UPDATE OF a ON aq_t FOR EACH ROW WHEN (NEW.a > 0) EXECUTE FUNCTION fn_audit_trigger();
TABLE status;
CREATE TRIGGER whole AFTER UPDATE OR DELETE ON aq_t FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
TABLE status;
-- two for the same: each change is logged twice; into two logs it is not
CREATE TRIGGER again AFTER INSERT OR DELETE ON aq_t FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
TABLE status;
CREATE TABLE aq_log (LIKE audit_log);
DROP TRIGGER again ON aq_t;
CREATE TRIGGER again AFTER DELETE ON aq_t FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'log=aq_log');
TABLE status;
-- a trigger that can only fail sees nothing
DROP TABLE aq_t CASCADE;
CREATE TABLE aq_t (id int PRIMARY KEY, a int);
CREATE TRIGGER before BEFORE INSERT ON aq_t FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
CREATE TRIGGER statement AFTER UPDATE ON aq_t FOR EACH STATEMENT EXECUTE FUNCTION fn_audit_trigger();
CREATE TRIGGER truncated AFTER TRUNCATE ON aq_t FOR EACH STATEMENT EXECUTE FUNCTION fn_audit_trigger();
TABLE status;
-- arguments that nobody can read do no harm
CREATE TRIGGER unread AFTER INSERT ON aq_t FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('"');
DROP TRIGGER before ON aq_t;
TABLE status;
SELECT audited_table, key, log FROM audit_status;
DROP TABLE aq_t;

-- partitions: their changes are the partitioned table's
TRUNCATE audit_log;
CREATE TABLE aq_p (id int, y int, v text, PRIMARY KEY (id, y)) PARTITION BY RANGE (y);
CREATE TABLE aq_p25 PARTITION OF aq_p FOR VALUES FROM (2025) TO (2026);
CREATE TABLE a_p27 (id int, y int, v text, PRIMARY KEY (id, y));
SELECT audit_enable('aq_p');
TABLE status;
-- one that is audited itself when it is attached: logged once, under the partitioned table
SELECT audit_enable('a_p27');
INSERT INTO a_p27 VALUES (1, 2027, 'alone');
ALTER TABLE aq_p ATTACH PARTITION a_p27 FOR VALUES FROM (2027) TO (2028);
SELECT * FROM status ORDER BY audited_table::text COLLATE "C";
CREATE VIEW logged AS SELECT table_name, action, record_key FROM audit_log ORDER BY xact_id, xact_seq, table_name;
INSERT INTO aq_p VALUES (2, 2027, 'through the parent');
UPDATE a_p27 SET v = 'straight' WHERE id = 2;
UPDATE aq_p SET y = 2025 WHERE id = 2;
DELETE FROM aq_p WHERE id = 1;
TABLE logged;
-- the clone is disabled, limited or of another log: its own trigger speaks again
TRUNCATE audit_log;
ALTER TABLE a_p27 DISABLE TRIGGER "!audit_aq_p";
INSERT INTO aq_p VALUES (3, 2027, 'clone disabled');
SELECT * FROM status ORDER BY audited_table::text COLLATE "C";
ALTER TABLE a_p27 ENABLE TRIGGER "!audit_aq_p";
INSERT INTO aq_p VALUES (4, 2027, 'clone enabled');
-- where replication is applied, only the own trigger fires
ALTER TABLE a_p27 ENABLE ALWAYS TRIGGER "!audit_a_p27";
SET session_replication_role = replica;
INSERT INTO aq_p VALUES (5, 2027, 'applied');
RESET session_replication_role;
INSERT INTO aq_p VALUES (6, 2027, 'not applied');
SELECT * FROM status ORDER BY audited_table::text COLLATE "C";
TABLE logged;
TRUNCATE audit_log;
SELECT audit_enable('aq_p', log => 'aq_log');
SELECT audit_enable('a_p27');
SELECT * FROM status ORDER BY audited_table::text COLLATE "C";
INSERT INTO aq_p VALUES (6, 2027, 'two logs');
TABLE logged;
SELECT table_name, action, record_key FROM aq_log;
TRUNCATE audit_log, aq_log;
SELECT audit_disable('aq_p'), audit_disable('a_p27');
SELECT audit_enable('a_p27');
CREATE TRIGGER by_hand AFTER UPDATE OF v ON aq_p FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
CREATE TRIGGER by_hand_2 AFTER INSERT ON aq_p FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
SELECT * FROM status ORDER BY audited_table::text COLLATE "C";
INSERT INTO aq_p VALUES (7, 2027, 'as the parent');
DELETE FROM aq_p WHERE id = 7;
TABLE logged;
DROP TRIGGER by_hand ON aq_p;
DROP TRIGGER by_hand_2 ON aq_p;
-- three levels: the topmost speaks
TRUNCATE audit_log;
CREATE TABLE aq_top (id int, y int, v text, PRIMARY KEY (id, y)) PARTITION BY RANGE (y);
SELECT audit_enable('aq_top'), audit_enable('aq_p');
SELECT audit_enable('a_p27');
ALTER TABLE aq_top ATTACH PARTITION aq_p FOR VALUES FROM (2000) TO (2100);
SELECT * FROM status ORDER BY audited_table::text COLLATE "C";
INSERT INTO aq_p VALUES (8, 2027, 'top');
TABLE logged;
-- detached, each speaks for itself again
ALTER TABLE aq_top DETACH PARTITION aq_p;
INSERT INTO aq_p VALUES (9, 2027, 'middle');
ALTER TABLE aq_p DETACH PARTITION a_p27;
SELECT * FROM status ORDER BY audited_table::text COLLATE "C";
TABLE logged;

-- a view on the view, from before an update, and rights on it: t/extension_update.pl
DROP VIEW status, logged;
DROP TABLE aq_p, aq_top, a_p27, aq_log, audit_log;
