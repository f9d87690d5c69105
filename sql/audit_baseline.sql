-- audit_baseline: a first image of rows that were there before the audit; images => true: of rows that TRUNCATE removes.
SET client_min_messages = warning;
SELECT audit_install();
RESET client_min_messages;
CREATE TABLE bl_t (gone int, id int PRIMARY KEY, v text, secret text, noise int, doubled int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE bl_t DROP gone;
INSERT INTO bl_t (id, v, secret, noise) SELECT i, 'v' || i, 's', i FROM generate_series(1, 25) i;
CALL audit_baseline('bl_t');
\echo :SQLSTATE
SELECT audit_enable('bl_t', exclude => '{noise}', redact => '{secret}');
UPDATE bl_t SET v = 'changed' WHERE id = 3;
INSERT INTO bl_t (id, v) VALUES (26, 'born');
DELETE FROM bl_t WHERE id = 7;
CALL audit_baseline('bl_t', batch => 10);
-- again: nothing to do; and rows that came past the audit
CALL audit_baseline('bl_t', batch => 10);
ALTER TABLE bl_t DISABLE TRIGGER USER;
INSERT INTO bl_t (id, v) VALUES (7, 'came back'), (30, 'unseen');
ALTER TABLE bl_t ENABLE TRIGGER USER;
CALL audit_baseline('bl_t');
SELECT action, count(*), count(DISTINCT record_id), count(DISTINCT table_id), count(DISTINCT written_at), count(DISTINCT xact_id) FROM audit_log
	WHERE table_name = 'bl_t' GROUP BY 1 ORDER BY 1;
SELECT action, record_id, old_data, new_data, changed_fields FROM audit_log WHERE table_name = 'bl_t' AND record_id IN (3, 4, 7, 26, 30) ORDER BY record_id, written_at;
SELECT action, column_name, old_value, new_value FROM audit_history('bl_t', '3');

-- keys of every kind, rows of partitions with their columns in another order
CREATE TABLE bl_part (a int, b text COLLATE "C", d numeric, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
CREATE TABLE bl_part_1 (d numeric, b text COLLATE "C" NOT NULL, a int NOT NULL);
ALTER TABLE bl_part ATTACH PARTITION bl_part_1 FOR VALUES IN (1);
CREATE TABLE bl_part_2 PARTITION OF bl_part DEFAULT;
INSERT INTO bl_part SELECT i % 3, 'b' || i, i FROM generate_series(1, 20) i;
SELECT audit_enable('bl_part', images => true);
CALL audit_baseline('bl_part_1');
\echo :SQLSTATE
CALL audit_baseline('bl_part', batch => 3);
CALL audit_baseline('bl_part', batch => 3);
SELECT record_key, new_data FROM audit_log WHERE table_name = 'bl_part' AND action = 'B' AND record_key->>'b' IN ('b3', 'b4') ORDER BY 1;
CREATE TABLE bl_day (n numeric(5,0), d date, v int, PRIMARY KEY (n, d));
INSERT INTO bl_day SELECT i % 4, date '2026-01-01' + i, i FROM generate_series(1, 30) i;
SELECT audit_enable('bl_day');
CALL audit_baseline('bl_day', batch => 4);
-- different operators "greater than" in one key
CREATE TYPE bl_mood AS ENUM ('low', 'high');
CREATE TABLE bl_mixed (m bl_mood, u uuid, t text, z timestamptz, PRIMARY KEY (m, u, t, z));
INSERT INTO bl_mixed SELECT CASE i % 2 WHEN 0 THEN 'low' ELSE 'high' END::bl_mood, md5((i % 3)::text)::uuid, 't' || i % 5, timestamptz '2026-01-01 00:00+00' + i * interval '1 hour'
	FROM generate_series(1, 60) i;
SELECT audit_enable('bl_mixed');
CALL audit_baseline('bl_mixed', batch => 7);
CALL audit_baseline('bl_mixed', batch => 7);
SELECT count(*), count(DISTINCT record_key) FROM audit_log WHERE table_name = 'bl_mixed';
-- a key that may be null, and is not unique
CREATE TABLE bl_loose (k int, v int);
INSERT INTO bl_loose VALUES (1, 1), (1, 2), (NULL, 3), (2, 4);
SELECT audit_enable('bl_loose', key => '{k}');
CALL audit_baseline('bl_loose');
-- a key without an order; in a schema whose name is known
CREATE SCHEMA bl_known;
CREATE TABLE bl_known.bl_point (p point, v int);
INSERT INTO bl_known.bl_point VALUES (point(1, 2), 1);
SELECT audit_enable('bl_known.bl_point', key => '{p}');
CALL audit_baseline('bl_known.bl_point');
\echo :SQLSTATE
-- children are tables of their own
CREATE TABLE bl_parent (id int PRIMARY KEY);
CREATE TABLE bl_child () INHERITS (bl_parent);
INSERT INTO bl_parent VALUES (1);
INSERT INTO bl_child VALUES (2);
SELECT audit_enable('bl_parent');
CALL audit_baseline('bl_parent');

-- a log of one's own, without ids
CREATE TABLE bl_log (id bigserial, table_name text, record_id text, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz);
CREATE TABLE bl_own (k text PRIMARY KEY, v int);
INSERT INTO bl_own VALUES ('a', 1), ('b', 2), ('c', 3);
SELECT audit_enable('bl_own', log => 'bl_log');
UPDATE bl_own SET v = 4 WHERE k = 'a';
CALL audit_baseline('bl_own', batch => 2);
CALL audit_baseline('bl_own');
SELECT id, record_id, action, new_data FROM bl_log ORDER BY id;
-- one that takes no B
\set VERBOSITY terse
DELETE FROM bl_log;
ALTER TABLE bl_log ADD CONSTRAINT no_b CHECK (action IN ('I', 'U', 'D'));
CALL audit_baseline('bl_own');
\echo :SQLSTATE
\set VERBOSITY default

-- refused
BEGIN;
CALL audit_baseline('bl_t');
\echo :SQLSTATE
ROLLBACK;
CALL audit_baseline(NULL);
\echo :SQLSTATE
CALL audit_baseline('bl_t', batch => 0);
\echo :SQLSTATE
CREATE ROLE bl_other;
CREATE ROLE bl_owner;
DO $$ BEGIN EXECUTE (SELECT format('GRANT CREATE, USAGE ON SCHEMA %1$s TO bl_owner; GRANT USAGE ON SCHEMA %1$s TO bl_owner, bl_other;
	GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA %1$s TO bl_other, bl_owner', extnamespace::regnamespace) FROM pg_extension WHERE extname = 'aquacis'); END $$;
SET ROLE bl_other;
CALL audit_baseline('bl_t');
\echo :SQLSTATE
RESET ROLE;
-- the owner needs no right on the log; row security that would hide rows from him is no silent gap
ALTER TABLE bl_t OWNER TO bl_owner;
ALTER TABLE bl_t DISABLE TRIGGER USER;
INSERT INTO bl_t (id, v) VALUES (40, 'of the owner');
ALTER TABLE bl_t ENABLE TRIGGER USER;
SET ROLE bl_owner;
CALL audit_baseline('bl_t');
ALTER TABLE bl_t ENABLE ROW LEVEL SECURITY;
ALTER TABLE bl_t FORCE ROW LEVEL SECURITY;
\set SHOW_CONTEXT never
CALL audit_baseline('bl_t');
\set SHOW_CONTEXT errors
\echo :SQLSTATE
RESET ROLE;

-- ---- images ----
SELECT audit_enable('bl_part', images => true);
TRUNCATE bl_part;
SELECT action, count(*), count(DISTINCT record_key), count(DISTINCT written_at) FROM audit_log WHERE table_name = 'bl_part' AND action IN ('D', 'T') GROUP BY 1 ORDER BY 1;
SELECT record_key, old_data FROM audit_log WHERE table_name = 'bl_part' AND action = 'D' AND record_key->>'b' IN ('b3', 'b4') ORDER BY 1;
SELECT bool_and(d.written_at < t.written_at) FROM audit_log d, audit_log t WHERE d.table_name = 'bl_part' AND d.action = 'D' AND t.table_name = 'bl_part' AND t.action = 'T';
-- CASCADE, RESTART IDENTITY, by a role that may truncate and not read; rolled back
CREATE TABLE bl_head (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
CREATE TABLE bl_line (id int PRIMARY KEY, head int REFERENCES bl_head);
SELECT audit_enable('bl_head', images => true);
SELECT audit_enable('bl_line', images => true);
INSERT INTO bl_head (v) VALUES ('x'), ('y');
INSERT INTO bl_line VALUES (1, 1);
GRANT TRUNCATE ON bl_head, bl_line TO bl_other;
SET ROLE bl_other;
BEGIN;
TRUNCATE bl_head CASCADE;
ROLLBACK;
TRUNCATE bl_head CASCADE;
RESET ROLE;
SELECT action, table_name, record_id, old_data FROM audit_log WHERE table_name IN ('bl_head', 'bl_line') AND action IN ('D', 'T') ORDER BY table_name, written_at, record_id;
INSERT INTO bl_head (v) VALUES ('again');
TRUNCATE bl_head, bl_line RESTART IDENTITY;
INSERT INTO bl_head (v) VALUES ('from one');
SELECT action, record_id FROM audit_log WHERE table_name = 'bl_head' ORDER BY written_at, record_id;
-- a partition by itself: neither D nor T
INSERT INTO bl_part VALUES (1, 'x', 1);
TRUNCATE bl_part_1;
SELECT count(*) FROM audit_log WHERE table_name = 'bl_part' AND action = 'T';
-- enabled again without
SELECT audit_enable('bl_head', images => false);
INSERT INTO bl_head (v) VALUES ('z');
TRUNCATE bl_head CASCADE;
SELECT action, count(*) FROM audit_log WHERE table_name = 'bl_head' GROUP BY 1 ORDER BY 1;
-- by hand, without the argument
CREATE TRIGGER bl_wrong BEFORE TRUNCATE ON bl_head EXECUTE FUNCTION fn_audit_trigger('id');
TRUNCATE bl_head CASCADE;
\echo :SQLSTATE

SET client_min_messages = warning;
DROP TABLE bl_t, bl_part, bl_day, bl_mixed, bl_loose, bl_known.bl_point, bl_child, bl_parent, bl_own, bl_head, bl_line;
DROP TABLE bl_log, audit_log;
DROP TYPE bl_mood;
DROP SCHEMA bl_known;
DROP OWNED BY bl_owner, bl_other;
DROP ROLE bl_owner, bl_other;
