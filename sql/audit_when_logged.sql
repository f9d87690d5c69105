-- When the rows of a statement are in the log: who looks sees those that were changed before.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install();
CREATE VIEW logged AS SELECT xact_seq, table_name, record_id, action FROM audit_log ORDER BY xact_id, xact_seq;
CREATE TABLE aq_a (id int PRIMARY KEY, v int);
CREATE TABLE aq_b (id int PRIMARY KEY, v int);
SELECT audit_enable('aq_a');
SELECT audit_enable('aq_b');

-- what a trigger sees of the log: how many rows, and whether by its index, too
CREATE FUNCTION aq_look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING '% % %: % rows in the log, last of %', TG_WHEN, TG_LEVEL, TG_OP, (SELECT count(*) FROM audit_log),
		(SELECT record_id FROM audit_log ORDER BY xact_id DESC, xact_seq DESC LIMIT 1);
	RETURN NULL;
END $$;

-- a statement trigger of the same table: all of its rows; the next statement of the transaction, too
CREATE TRIGGER look AFTER INSERT OR UPDATE OR DELETE ON aq_a FOR EACH STATEMENT EXECUTE FUNCTION aq_look();
BEGIN;
INSERT INTO aq_a SELECT i, 0 FROM generate_series(1, 5) i;
SELECT count(*) FROM audit_log;
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM audit_log WHERE record_id = 5 AND table_name = 'aq_a';
SELECT count(*) FROM audit_log WHERE changed_at = now();
COMMIT;
-- the last row has no change
UPDATE aq_a SET v = id % 2 WHERE id < 5;
DELETE FROM aq_a WHERE id IN (2, 4);
TABLE logged;
TRUNCATE audit_log;

-- a row trigger of the same table sees its row logged and no later one, whichever is called first
CREATE TRIGGER zz_look AFTER INSERT ON aq_a FOR EACH ROW EXECUTE FUNCTION aq_look();
INSERT INTO aq_a SELECT i, 0 FROM generate_series(11, 13) i;
DROP TRIGGER zz_look ON aq_a;
CREATE TRIGGER aa_look AFTER INSERT ON aq_a FOR EACH ROW EXECUTE FUNCTION aq_look();
INSERT INTO aq_a SELECT i, 0 FROM generate_series(21, 23) i;
DROP TRIGGER aa_look ON aq_a;
-- one that runs for the third row alone
CREATE TRIGGER zz_look AFTER INSERT ON aq_a FOR EACH ROW WHEN (NEW.id % 3 = 0) EXECUTE FUNCTION aq_look();
INSERT INTO aq_a SELECT i, 0 FROM generate_series(61, 64) i;
DROP TRIGGER zz_look ON aq_a;
DROP TRIGGER look ON aq_a;
INSERT INTO aq_a SELECT i, 0 FROM generate_series(31, 33) i;
SELECT count(*) FROM audit_log;
TRUNCATE audit_log;

-- a row trigger of another table, in the same statement
CREATE TABLE aq_other (id int PRIMARY KEY);
CREATE TRIGGER look AFTER INSERT ON aq_other FOR EACH ROW EXECUTE FUNCTION aq_look();
WITH a AS (INSERT INTO aq_a SELECT i, 0 FROM generate_series(41, 43) i RETURNING id),
	b AS (INSERT INTO aq_b SELECT id, 0 FROM a RETURNING id)
INSERT INTO aq_other SELECT id FROM b;
WITH o AS (INSERT INTO aq_other VALUES (99))
INSERT INTO aq_a SELECT i, 0 FROM generate_series(45, 48) i;
TABLE logged;
TRUNCATE audit_log;

-- deferred to the end of the transaction, beside another deferred trigger
CREATE TABLE aq_late (id int PRIMARY KEY, v int);
DO $$ BEGIN EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON aq_late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %s()', 'fn_audit_trigger'::regproc); END $$;
CREATE CONSTRAINT TRIGGER look AFTER INSERT ON aq_b DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION aq_look();
BEGIN;
INSERT INTO aq_late SELECT i, 0 FROM generate_series(1, 4) i;
INSERT INTO aq_b VALUES (51, 0);
UPDATE aq_late SET v = 1 WHERE id > 2;
SELECT count(*) FROM audit_log;
COMMIT;
BEGIN;
INSERT INTO aq_late SELECT i, 0 FROM generate_series(5, 8) i;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT count(*) FROM audit_log;
COMMIT;
DROP TRIGGER look ON aq_b;
TABLE logged;
TRUNCATE audit_log;

-- errors: the rows of the statement are gone, and nothing else
CREATE TABLE aq_narrow (changed_at timestamptz, xact_seq int, table_name text, record_id int2, action text, old_data jsonb, new_data jsonb, changed_fields jsonb);
SELECT audit_enable('aq_b', log => 'aq_narrow');
DO $$
BEGIN
	INSERT INTO aq_b VALUES (1, 0), (2, 0), (3, 0);
	BEGIN
		INSERT INTO aq_b VALUES (4, 0), (5, 0), (6, 0), (70000, 0), (7, 0);
	EXCEPTION WHEN numeric_value_out_of_range THEN
		RAISE WARNING '%: % rows in the log', SQLERRM, (SELECT count(*) FROM aq_narrow);
	END;
	INSERT INTO aq_b VALUES (8, 0), (9, 0);
END $$;
INSERT INTO aq_b VALUES (10, 0), (11, 0), (70000, 0);
-- and of an error before there is a row
CREATE TABLE aq_word (id text PRIMARY KEY);
SELECT audit_enable('aq_word', log => 'aq_narrow');
DO $$
BEGIN
	INSERT INTO aq_word VALUES ('21'), ('22'), ('23'), ('none');
EXCEPTION WHEN invalid_text_representation THEN
	INSERT INTO aq_word VALUES ('31'), ('32'), ('33');
END $$;
-- here the rows themselves are refused, when they are written
CREATE UNIQUE INDEX ON aq_narrow (record_id) WHERE action = 'D';
DO $$
BEGIN
	DELETE FROM aq_b WHERE id IN (1, 2, 3);
	INSERT INTO aq_b VALUES (1, 0), (2, 0), (3, 0);
	BEGIN
		DELETE FROM aq_b WHERE id IN (1, 2, 3);
	EXCEPTION WHEN unique_violation THEN
		RAISE WARNING '%', SQLERRM;
	END;
	UPDATE aq_b SET v = 5 WHERE id IN (1, 2, 3);
END $$;
SELECT xact_seq, record_id, action FROM aq_narrow;
SELECT count(*) FROM aq_b WHERE id IN (1, 2, 3);

-- savepoints
TRUNCATE audit_log;
BEGIN;
UPDATE aq_a SET v = 1 WHERE id BETWEEN 11 AND 13;
SAVEPOINT s;
UPDATE aq_a SET v = 2 WHERE id BETWEEN 11 AND 13;
ROLLBACK TO s;
UPDATE aq_a SET v = 3 WHERE id BETWEEN 21 AND 23;
COMMIT;
TABLE logged;
TRUNCATE audit_log;

-- a log with a trigger of its own, a CHECK, a generated column
CREATE TABLE aq_watched (LIKE aq_narrow, doubled int GENERATED ALWAYS AS (record_id * 2) STORED, CHECK (record_id <> 5));
SELECT audit_enable('aq_b', log => 'aq_watched');
INSERT INTO aq_b VALUES (15, 0), (16, 0), (17, 0);
DO $$
BEGIN
	INSERT INTO aq_b VALUES (18, 0), (19, 0), (5, 0);
EXCEPTION WHEN check_violation THEN
	RAISE WARNING '%', SQLERRM;
END $$;
SELECT record_id, doubled FROM aq_watched;
CREATE FUNCTION aq_number() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s', TG_RELID::regclass) INTO n;
	NEW.record_id := NEW.record_id + n;
	RETURN NEW;
END $$;
CREATE TRIGGER number BEFORE INSERT ON aq_watched FOR EACH ROW EXECUTE FUNCTION aq_number();
INSERT INTO aq_b VALUES (101, 0), (102, 0), (103, 0);
SELECT record_id, doubled FROM aq_watched;

-- a conversion that is a function of users sees what was logged before
CREATE TYPE aq_seen AS ENUM ('x', 'look');
CREATE FUNCTION aq_seen_json(aq_seen) RETURNS json LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
	IF $1 = 'look' THEN
		SELECT count(*) INTO n FROM audit_log;
		RETURN to_json(n);
	END IF;
	RETURN '0';
END $$;
CREATE CAST (aq_seen AS json) WITH FUNCTION aq_seen_json(aq_seen);
CREATE TABLE aq_typed (id int PRIMARY KEY, v aq_seen);
SELECT audit_enable('aq_typed');
TRUNCATE audit_log;
INSERT INTO aq_typed VALUES (1, 'x'), (2, 'x'), (3, 'look'), (4, 'look');
SELECT record_id, new_data FROM audit_log ORDER BY xact_seq;
TRUNCATE audit_log;

-- many rows, large rows, partial indexes that want some of them
INSERT INTO aq_a SELECT i, 0 FROM generate_series(1001, 1200) i;
CREATE TABLE aq_large (id int PRIMARY KEY, v text);
SELECT audit_enable('aq_large');
INSERT INTO aq_large SELECT i, repeat(md5(i::text), i % 3 * 3000) FROM generate_series(1, 9) i;
BEGIN;
SELECT audit_set_user('aq', context => '{"a": 1}');
UPDATE aq_a SET v = 1 WHERE id BETWEEN 1001 AND 1003;
COMMIT;
SELECT table_name, count(*), count(DISTINCT (xact_id, xact_seq)), sum(length(new_data->>'v')) FROM audit_log GROUP BY 1 ORDER BY 1;
SET enable_seqscan = off;
SELECT count(*) FROM audit_log WHERE user_id = 'aq';
SELECT count(*) FROM audit_log WHERE record_id BETWEEN 1001 AND 1200;
RESET enable_seqscan;
SELECT min(xact_seq), max(xact_seq), bool_and(xact_seq = record_id - 1000) FROM audit_log WHERE table_name = 'aq_a' AND action = 'I';

-- COPY; partitions and children
TRUNCATE audit_log;
COPY aq_a FROM stdin;
2001	1
2002	1
2003	1
\.
CREATE TABLE aq_p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE aq_p1 PARTITION OF aq_p FOR VALUES FROM (1) TO (10);
CREATE TABLE aq_p2 PARTITION OF aq_p FOR VALUES FROM (10) TO (20);
SELECT audit_enable('aq_p');
INSERT INTO aq_p VALUES (1, 0), (11, 0), (2, 0), (12, 0), (3, 0);
UPDATE aq_p SET id = id + 14 WHERE id < 3;
TABLE logged;

DROP VIEW logged;
DROP TABLE audit_log, aq_narrow, aq_watched, aq_a, aq_b, aq_other, aq_late, aq_typed, aq_large, aq_p, aq_word;
DROP CAST (aq_seen AS json);
DROP FUNCTION aq_seen_json(aq_seen), aq_look(), aq_number();
DROP TYPE aq_seen;
