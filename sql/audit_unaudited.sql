-- audit_unaudited: tables that nobody audits, and what of others is not seen.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 1);
CREATE SCHEMA aq_u;
DO $$ BEGIN EXECUTE format('SET search_path = aq_u, %s', (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'aquacis')); END $$;
CREATE VIEW unaudited AS SELECT audited_table, reason, last_audited IS NOT NULL AS known, row_estimate, has_key FROM audit_unaudited('aq_u');
-- the reasons
CREATE TABLE whole (id int PRIMARY KEY);
CREATE TABLE never (id int PRIMARY KEY);
CREATE TABLE no_key (id int);
CREATE TABLE identity (id int NOT NULL UNIQUE);
ALTER TABLE identity REPLICA IDENTITY USING INDEX identity_id_key;
CREATE TABLE was (id int PRIMARY KEY);
CREATE TABLE dropped (id int PRIMARY KEY);
CREATE TABLE again (id int PRIMARY KEY);
CREATE TABLE off (id int PRIMARY KEY);
CREATE TABLE some_of (id int PRIMARY KEY, v int);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child () INHERITS (parent);
SELECT audit_enable(t::regclass) FROM unnest('{whole,was,dropped,again,off,parent}'::text[]) t;
SELECT audit_disable('was');
DROP TRIGGER "!audit_dropped" ON dropped;
DROP TRIGGER "!audit_dropped_truncate" ON dropped;
DROP TABLE again;
CREATE TABLE again (id int PRIMARY KEY);
ALTER TABLE off DISABLE TRIGGER USER;
CREATE TRIGGER by_hand AFTER INSERT OR UPDATE OF v OR DELETE ON some_of FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
INSERT INTO never VALUES (1), (2);
ANALYZE never;
TABLE unaudited;
-- the last time is that of audit_disable
BEGIN;
SELECT audit_enable('was'), audit_disable('was');
SELECT reason, last_audited = now() AS now FROM audit_unaudited('aq_u') WHERE audited_table = 'was'::regclass;
COMMIT;
-- seen by several triggers together, and TRUNCATE does not matter
CREATE TRIGGER rest AFTER UPDATE ON some_of FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger();
SELECT count(*) FROM unaudited WHERE audited_table = 'some_of'::regclass;
-- for replicated changes only
ALTER TABLE some_of ENABLE REPLICA TRIGGER rest;
SELECT * FROM unaudited WHERE audited_table = 'some_of'::regclass;
DROP TABLE whole, never, no_key, identity, was, dropped, again, off, some_of, parent, child;

-- partitions: the table stands for them, unless less is seen of one
CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
CREATE TABLE p21 PARTITION OF p2 FOR VALUES FROM (10) TO (15);
INSERT INTO p VALUES (1), (11), (12);
ANALYZE p1, p21;
TABLE unaudited;
SELECT audit_enable('p1');
TABLE unaudited;
SELECT audit_enable('p');
TABLE unaudited;
ALTER TABLE p21 DISABLE TRIGGER "!audit_p";
TABLE unaudited;
ALTER TABLE p2 DETACH PARTITION p21;
ALTER TABLE p DETACH PARTITION p1;
TABLE unaudited;
-- not among them: logs, months on and off, temporary tables, views, foreign tables, and all of other schemas
CREATE TABLE mylog (LIKE audit_log);
CREATE TABLE old_month (al_old_data jsonb, al_new_data jsonb, al_changed_fields jsonb);
SELECT audit_enable('p', log => 'mylog');
CREATE TEMP TABLE t (id int);
SELECT count(*) FROM audit_unaudited() WHERE audited_table::text ~ 'audit_|consolidate_|mylog|old_month' OR audited_table = 't'::regclass
	OR audited_table IN (SELECT oid FROM pg_class WHERE relkind NOT IN ('r', 'p') OR relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace));
SELECT array_agg(audited_table::text ORDER BY audited_table::text COLLATE "C") FROM audit_unaudited() u JOIN pg_class c ON c.oid = audited_table WHERE relnamespace = 'aq_u'::regnamespace;
SELECT count(*) FROM audit_unaudited('aq_nowhere');
\echo :SQLSTATE

-- everybody may ask
CREATE ROLE aq_nobody;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %s TO aq_nobody', (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'aquacis')); END $$;
SET ROLE aq_nobody;
SELECT count(*) FROM audit_unaudited('aq_u');
RESET ROLE;
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %s FROM aq_nobody', (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'aquacis')); END $$;
DROP ROLE aq_nobody;
DROP TABLE t, audit_log;
DROP SCHEMA aq_u CASCADE;
