-- What others put in the way of consolidate: planted targets and sources, forged rows,
-- rights by default.
SET client_min_messages = warning;
CREATE ROLE aquacis_app;
CREATE ROLE aquacis_mala;
CREATE ROLE aquacis_jefe;
CREATE SCHEMA plantada;
GRANT USAGE, CREATE ON SCHEMA plantada TO aquacis_app, aquacis_mala;
SELECT consolidate_define('pl', pattern => '^pl_(\d+)$', target => 'pl', key => '{k}');
\set VERBOSITY terse

-- a planted target: whoever made it would read and delete the rows of all
SET ROLE aquacis_app;
CREATE TABLE plantada.pl_1 (k int, v int);
INSERT INTO plantada.pl_1 VALUES (1, 1), (2, 2);
SET ROLE aquacis_mala;
CREATE TABLE plantada.pl_2 (k int, v int);
INSERT INTO plantada.pl_2 VALUES (7, 7);
CREATE TABLE plantada.pl (proceso_id bigint NOT NULL, k int NOT NULL, v int);
RESET ROLE;
SELECT table_name, problem FROM consolidate_plan('plantada', 'pl');
CALL consolidate('plantada', 'pl');
SELECT source_table, problem FROM consolidate_problem WHERE source_schema = 'plantada' ORDER BY 1;
SELECT count(*) FROM plantada.pl_1;
SELECT proceso_id FROM plantada.pl;
-- (her own rows were hers before)
SELECT to_regclass('plantada.pl_2');
-- ... one that is there for it is no surprise: it belongs to the owner of the schema, a superuser, or who calls
ALTER SCHEMA plantada OWNER TO aquacis_mala;
SELECT table_name, problem FROM consolidate_plan('plantada', 'pl');
ALTER SCHEMA plantada OWNER TO CURRENT_USER;
GRANT USAGE, CREATE ON SCHEMA plantada TO aquacis_app, aquacis_mala;
DROP TABLE plantada.pl;
DELETE FROM consolidate_source;

-- planted sources: rows of hers in the table of all
CREATE TABLE plantada.pl (proceso_id bigint NOT NULL, k int NOT NULL, v int);
GRANT INSERT ON plantada.pl TO aquacis_app;
SET ROLE aquacis_mala;
CREATE TABLE plantada.pl_99 (k int, v int);
INSERT INTO plantada.pl_99 VALUES (12345, -1000000);
RESET ROLE;
SELECT table_name, problem FROM consolidate_plan('plantada', 'pl');
CALL consolidate('plantada', 'pl');
SELECT proceso_id, k, v FROM plantada.pl ORDER BY 1, 2;
SELECT source_table, problem FROM consolidate_problem WHERE source_schema = 'plantada' ORDER BY 1;
DROP TABLE plantada.pl, plantada.pl_99;
DELETE FROM consolidate_source;

-- a new target belongs to who owned the tables, and default privileges do not open it
ALTER DEFAULT PRIVILEGES IN SCHEMA plantada GRANT ALL ON TABLES TO aquacis_mala;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO aquacis_mala;
SET ROLE aquacis_app;
CREATE TABLE plantada.pl_3 (k int, v int);
CREATE TABLE plantada.pl_4 (k int, v int);
INSERT INTO plantada.pl_3 VALUES (1, 1), (NULL, 2);
INSERT INTO plantada.pl_4 VALUES (1, 1);
RESET ROLE;
CALL consolidate('plantada', 'pl', on_reject => 'keep');
SELECT relname, CASE WHEN relowner = session_user::regrole THEN 'the DBA' ELSE relowner::regrole::text END AS owner, ARRAY(SELECT grantee::regrole FROM aclexplode(relacl) WHERE grantee <> relowner) AS others FROM pg_class
WHERE relname IN ('pl', 'consolidate_rejected') AND relkind = 'r' ORDER BY 1;
CALL consolidate_restore('plantada', 'pl', 3);
SELECT relname, CASE WHEN relowner = session_user::regrole THEN 'the DBA' ELSE relowner::regrole::text END AS owner, ARRAY(SELECT grantee::regrole FROM aclexplode(relacl) WHERE grantee <> relowner) AS others FROM pg_class WHERE relname = 'pl_3';
ALTER DEFAULT PRIVILEGES IN SCHEMA plantada REVOKE ALL ON TABLES FROM aquacis_mala;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM aquacis_mala;
DROP TABLE plantada.pl, plantada.pl_3;
DELETE FROM consolidate_source;
DROP TABLE consolidate_rejected;

-- a forged checksum: other rows that give the same sum
CREATE TABLE plantada.tmp_deuda (proceso_id bigint NOT NULL, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer NOT NULL);
CREATE TABLE plantada.tmp_deuda_8 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO plantada.tmp_deuda_8 VALUES (1200.50,2,1,1), (80,1,1,2), (3000,9,1,3), (15.5,1,1,4);
INSERT INTO plantada.tmp_deuda VALUES (8,NULL,2253746,1,1000), (8,NULL,2136417,1,1001), (8,NULL,3393368,1,1002), (8,NULL,494831,1,1003);
SELECT table_name, problem FROM consolidate_plan('plantada', 'tmp_deuda');
CALL consolidate('plantada', 'tmp_deuda');
SELECT source_table, problem FROM consolidate_problem WHERE source_schema = 'plantada' ORDER BY 1;
SELECT count(*), sum(importe) FROM plantada.tmp_deuda_8;
-- (the real rows are found again, in any order)
DELETE FROM plantada.tmp_deuda;
INSERT INTO plantada.tmp_deuda SELECT 8, * FROM plantada.tmp_deuda_8 ORDER BY faccnttnum DESC;
CALL consolidate('plantada', 'tmp_deuda');
SELECT to_regclass('plantada.tmp_deuda_8') IS NULL AS dropped;
SELECT process_id, rows_now, ok FROM consolidate_verify('plantada', 'tmp_deuda');
CREATE TABLE plantada.tmp_deuda_9 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO plantada.tmp_deuda_9 VALUES (NULL,2253746,1,1000), (NULL,2136417,1,1001), (NULL,3393368,1,1002), (NULL,494831,1,1003);
CALL consolidate('plantada', 'tmp_deuda');
SELECT count(*), count(DISTINCT checksum) AS checksums FROM consolidate_source WHERE source_schema = 'plantada';
DROP TABLE plantada.tmp_deuda;
DELETE FROM consolidate_source;

-- columns of the target that no source fills: their domains are asked
CREATE DOMAIN plantada.nn AS int NOT NULL;
CREATE DOMAIN plantada.ck AS int CHECK (VALUE IS NOT NULL);
CREATE DOMAIN plantada.df AS int DEFAULT 5 CHECK (VALUE = 5);
CREATE TABLE plantada.pl (proceso_id bigint NOT NULL, k int NOT NULL, v int, x plantada.df);
CREATE TABLE plantada.pl_5 (k int, v int);
INSERT INTO plantada.pl_5 VALUES (1, 1), (2, 2);
CALL consolidate('plantada', 'pl');
SELECT * FROM plantada.pl ORDER BY k;
CREATE TABLE plantada.pl_6 (k int, v int);
INSERT INTO plantada.pl_6 VALUES (1, 1);
DROP TABLE plantada.pl;
CREATE TABLE plantada.pl (proceso_id bigint NOT NULL, k int NOT NULL, v int, y plantada.ck);
CALL consolidate('plantada', 'pl');
SELECT problem FROM consolidate_problem WHERE source_table = 'pl_6';
ALTER TABLE plantada.pl DROP y, ADD z plantada.nn;
CALL consolidate('plantada', 'pl');
SELECT problem FROM consolidate_problem WHERE source_table = 'pl_6';
SELECT (SELECT count(*) FROM plantada.pl) AS moved, (SELECT count(*) FROM plantada.pl_6) AS left;
DROP TABLE plantada.pl;
DELETE FROM consolidate_source;

-- a view that does not show what its trigger took
CREATE VIEW plantada.pl AS SELECT 1::bigint AS proceso_id, 1 AS k, 1 AS v;
CREATE FUNCTION plantada.nada() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t INSTEAD OF INSERT ON plantada.pl FOR EACH ROW EXECUTE FUNCTION plantada.nada();
CALL consolidate('plantada', 'pl');
SELECT problem FROM consolidate_problem WHERE source_table = 'pl_6';
SELECT count(*) FROM plantada.pl_6;
DROP VIEW plantada.pl;

-- triggers that somebody with the right TRIGGER has made: of his function, with his condition, with his arguments
CREATE TABLE plantada.pl (proceso_id bigint NOT NULL, k int NOT NULL, v int);
GRANT TRIGGER ON plantada.pl TO aquacis_mala;
CREATE FUNCTION plantada.argumentos() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN EXECUTE TG_ARGV[0]; RETURN NEW; END';
SET ROLE aquacis_mala;
CREATE FUNCTION plantada.testigo(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE WARNING ''ran''; RETURN true; END';
CREATE FUNCTION plantada.suya() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE WARNING ''ran''; RETURN NEW; END';
CREATE TRIGGER suyo BEFORE INSERT ON plantada.pl FOR EACH ROW EXECUTE FUNCTION plantada.suya();
RESET ROLE;
\set VERBOSITY default
CALL consolidate('plantada', 'pl');
DROP TRIGGER suyo ON plantada.pl;
SET ROLE aquacis_mala;
CREATE TRIGGER suyo BEFORE INSERT ON plantada.pl FOR EACH ROW WHEN (plantada.testigo(NEW.k)) EXECUTE FUNCTION suppress_redundant_updates_trigger();
RESET ROLE;
CALL consolidate('plantada', 'pl');
DROP TRIGGER suyo ON plantada.pl;
SET ROLE aquacis_mala;
CREATE TRIGGER suyo BEFORE INSERT ON plantada.pl FOR EACH ROW EXECUTE FUNCTION plantada.argumentos('SELECT plantada.testigo(1)');
RESET ROLE;
SELECT * FROM consolidate_plan('plantada', 'pl');
REVOKE TRIGGER ON plantada.pl FROM aquacis_mala;
SELECT table_name, problem FROM consolidate_plan('plantada', 'pl');
-- ... or on the target of a third
ALTER TABLE plantada.pl OWNER TO aquacis_app;
ALTER TABLE plantada.pl_6 OWNER TO aquacis_app;
SET ROLE aquacis_app;
GRANT TRIGGER ON plantada.pl TO aquacis_mala;
DROP TRIGGER suyo ON plantada.pl;
SET ROLE aquacis_mala;
CREATE TRIGGER suyo BEFORE INSERT ON plantada.pl FOR EACH ROW EXECUTE FUNCTION plantada.suya();
RESET ROLE;
CALL consolidate('plantada', 'pl');
\set VERBOSITY terse
SELECT count(*) FROM plantada.pl_6;
DROP TABLE plantada.pl;

-- publications that send whatever comes
SET client_min_messages = error;	-- whatever wal_level is
CREATE PUBLICATION aq_todo FOR ALL TABLES;
SET client_min_messages = warning;
SELECT table_name, problem FROM consolidate_plan('plantada', 'pl');
\set VERBOSITY default
CALL consolidate('plantada', 'pl');
\set VERBOSITY terse
SELECT table_name, problem FROM consolidate_plan('plantada', 'pl');
DROP PUBLICATION aq_todo;

DROP SCHEMA plantada CASCADE;
CALL forget_consolidation();
DROP ROLE aquacis_app, aquacis_mala, aquacis_jefe;
