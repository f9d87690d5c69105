-- The order of changes within a transaction: triggers that change the same rows again, statements that change many.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE VIEW changes AS SELECT record_id, action, coalesce(changed_fields->'v', new_data->'v', old_data->'v') AS v FROM audit_log ORDER BY written_at, xact_id, xact_seq;

-- the trigger of another name changes the row again: ours fires first
CREATE TABLE aq_acc (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_acc');
INSERT INTO aq_acc VALUES (4, NULL);
CREATE FUNCTION aq_plus() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() = 1 THEN UPDATE aq_acc SET v = coalesce(v, '') || '+' WHERE id = NEW.id; END IF; RETURN NULL; END $$;
CREATE TRIGGER after_plus AFTER UPDATE ON aq_acc FOR EACH ROW EXECUTE FUNCTION aq_plus();
UPDATE aq_acc SET v = 'A';
SELECT * FROM changes;
TRUNCATE audit_log;

-- a trigger on one row that changes another row of the same statement
CREATE FUNCTION aq_next() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() = 1 THEN UPDATE aq_acc SET v = v || '>' WHERE id > NEW.id; END IF; RETURN NULL; END $$;
DROP TRIGGER after_plus ON aq_acc;
INSERT INTO aq_acc VALUES (1, 'a'), (2, 'b'), (3, 'c');
TRUNCATE audit_log;
CREATE TRIGGER after_next AFTER UPDATE ON aq_acc FOR EACH ROW EXECUTE FUNCTION aq_next();
UPDATE aq_acc SET v = upper(v) || id WHERE id < 4;
-- of row 3: c -> C3 by the statement, then twice > by the triggers on 1 and 2
SELECT * FROM changes WHERE record_id = 3;
SELECT * FROM changes WHERE record_id = 2;
SELECT * FROM aq_acc ORDER BY id;
-- as it was written, it is the other way round
SELECT array_agg(changed_fields->'v'->>'new' ORDER BY xact_seq) FROM audit_log WHERE record_id = 3;
DROP TRIGGER after_next ON aq_acc;
TRUNCATE audit_log;

-- an AFTER INSERT trigger that deletes its row
CREATE FUNCTION aq_consume() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM aq_acc WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER consume AFTER INSERT ON aq_acc FOR EACH ROW EXECUTE FUNCTION aq_consume();
INSERT INTO aq_acc VALUES (9, 'gone'), (10, 'gone');
SELECT * FROM changes;
DROP TRIGGER consume ON aq_acc;
TRUNCATE audit_log;

-- commands of a transaction have times that ascend; those of a command are one
BEGIN;
UPDATE aq_acc SET v = 'x';
SAVEPOINT s;
UPDATE aq_acc SET v = 'lost' WHERE id = 1;
ROLLBACK TO s;
UPDATE aq_acc SET v = 'y' WHERE id = 1;
DELETE FROM aq_acc WHERE id = 1;
INSERT INTO aq_acc VALUES (1, 'z');
COMMIT;
SELECT action, count(*), count(DISTINCT written_at) AS moments, min(written_at) > lag(max(written_at)) OVER (ORDER BY min(xact_seq)) AS later
FROM audit_log GROUP BY action, xact_seq > 4 ORDER BY min(xact_seq);
-- more commands than are kept
TRUNCATE audit_log;
DO $$ BEGIN FOR i IN 1..3000 LOOP UPDATE aq_acc SET v = i WHERE id = 2; END LOOP; END $$;
SELECT count(*), count(DISTINCT written_at) AS moments, bool_and(v = n::text) AS in_order
FROM (SELECT written_at, changed_fields->'v'->>'new' AS v, row_number() OVER (ORDER BY written_at, xact_id, xact_seq) AS n FROM audit_log) s;
-- COPY FREEZE does not keep who wrote a row; TRUNCATE has no row
TRUNCATE audit_log;
BEGIN;
TRUNCATE aq_acc;
COPY aq_acc FROM stdin WITH (FREEZE);
1	frozen
\.
COMMIT;
SELECT action, written_at >= changed_at AS written FROM audit_log ORDER BY written_at;
DROP TABLE aq_acc, audit_log CASCADE;
DROP FUNCTION aq_plus, aq_next, aq_consume;
