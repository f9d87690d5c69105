-- Who may consolidate what: the owner of the sources, or a superuser.
SET client_min_messages = warning;
CREATE SCHEMA derechos;
CREATE ROLE aquacis_dba;
CREATE ROLE aquacis_otro;
GRANT USAGE, CREATE ON SCHEMA derechos TO aquacis_dba, aquacis_otro;
CREATE TABLE derechos.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
CREATE TABLE derechos.tmp_deuda_2 (LIKE derechos.tmp_deuda_1);
CREATE TABLE derechos.tmp_deuda_3 (LIKE derechos.tmp_deuda_1);
CREATE TABLE derechos.tmp_deuda_4 (LIKE derechos.tmp_deuda_1);
CREATE TABLE derechos.tmp_deuda_5 (LIKE derechos.tmp_deuda_1);
INSERT INTO derechos.tmp_deuda_1 VALUES (1, 1, 1, 1);
INSERT INTO derechos.tmp_deuda_2 VALUES (2, 2, 2, 2);
INSERT INTO derechos.tmp_deuda_3 VALUES (3, 3, 3, 3);
INSERT INTO derechos.tmp_deuda_4 VALUES (4, 4, 4, 4);
INSERT INTO derechos.tmp_deuda_5 VALUES (5, 5, 5, 5), (5, 5, 5, NULL);
ALTER TABLE derechos.tmp_deuda_1 OWNER TO aquacis_dba;
ALTER TABLE derechos.tmp_deuda_2 OWNER TO aquacis_otro;
GRANT ALL ON derechos.tmp_deuda_2 TO aquacis_dba;
ALTER TABLE derechos.tmp_deuda_3 OWNER TO aquacis_dba;
REVOKE ALL ON derechos.tmp_deuda_3 FROM aquacis_dba;
GRANT SELECT (importe, faccnttnum) ON derechos.tmp_deuda_3 TO aquacis_dba;
ALTER TABLE derechos.tmp_deuda_4 OWNER TO aquacis_dba;
ALTER TABLE derechos.tmp_deuda_4 ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE derechos.tmp_deuda_5 OWNER TO aquacis_dba;
RESET client_min_messages;

-- nothing is open to everybody
SELECT p.proname, has_function_privilege('aquacis_dba', p.oid, 'EXECUTE')
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
WHERE p.proname ~ '^consolidate' ORDER BY 1;
SELECT c.relname, has_table_privilege('aquacis_dba', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') AS any
FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
WHERE c.relname ~ '^consolidate|re_acc' ORDER BY 1;
SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
WHERE p.proname ~ '^consolidate' AND p.prosecdef;
\set ECHO none
SELECT format('GRANT USAGE ON SCHEMA %s TO aquacis_dba', pronamespace::regnamespace) FROM pg_proc WHERE proname = 'consolidate_guard' \gexec
\set ECHO all
SET ROLE aquacis_dba;
CALL consolidate('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM consolidate_plan('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- what a DBA without superuser needs
GRANT EXECUTE ON FUNCTION consolidate_plan, consolidate_verify TO aquacis_dba;
GRANT EXECUTE ON PROCEDURE consolidate, consolidate_restore TO aquacis_dba;
GRANT SELECT ON consolidate_family, consolidate_progress TO aquacis_dba;
GRANT SELECT, INSERT, UPDATE, DELETE ON consolidate_source, consolidate_run, consolidate_problem, consolidate_target TO aquacis_dba;
SET ROLE aquacis_dba;
SELECT * FROM consolidate_plan('derechos', 'tmp_deuda');
CALL consolidate('derechos', 'tmp_deuda');
SELECT state, tables_done, tables_skipped FROM consolidate_progress;
SELECT process_id, ok FROM consolidate_verify('derechos', 'tmp_deuda');
-- no right to make consolidate_rejected: asked for, that is an error
\set VERBOSITY sqlstate
CALL consolidate('derechos', 'tmp_deuda', on_reject => 'keep');
\set VERBOSITY default
SELECT count(*) FROM derechos.tmp_deuda_5;
CALL consolidate_restore('derechos', 'tmp_deuda', 1);
SELECT relowner::regrole FROM pg_class WHERE oid = 'derechos.tmp_deuda_1'::regclass;
-- a target of somebody else
RESET ROLE;
ALTER TABLE derechos.tmp_deuda OWNER TO aquacis_otro;
SET ROLE aquacis_dba;
CALL consolidate('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT SELECT, INSERT ON derechos.tmp_deuda TO aquacis_dba;
SET ROLE aquacis_dba;
-- its owner would get what he may not read or delete now
CALL consolidate('derechos', 'tmp_deuda');
SELECT table_name, problem FROM consolidate_plan('derechos', 'tmp_deuda') WHERE process_id = 1;
RESET ROLE;
GRANT SELECT ON derechos.tmp_deuda_1, derechos.tmp_deuda_2, derechos.tmp_deuda_3, derechos.tmp_deuda_4, derechos.tmp_deuda_5 TO aquacis_otro;
SELECT table_name, problem FROM consolidate_plan('derechos', 'tmp_deuda') WHERE process_id = 1;
GRANT DELETE ON derechos.tmp_deuda_1, derechos.tmp_deuda_2, derechos.tmp_deuda_3, derechos.tmp_deuda_4, derechos.tmp_deuda_5 TO aquacis_otro;
SET ROLE aquacis_dba;
CALL consolidate('derechos', 'tmp_deuda');
-- ... with rows that the role must not see or write
RESET ROLE;
ALTER TABLE derechos.tmp_deuda ENABLE ROW LEVEL SECURITY;
SET ROLE aquacis_dba;
CALL consolidate('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM consolidate_verify('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
CALL consolidate_restore('derechos', 'tmp_deuda');
RESET ROLE;
ALTER TABLE derechos.tmp_deuda DISABLE ROW LEVEL SECURITY;
-- a superuser's target that the role may read and not write
ALTER TABLE derechos.tmp_deuda OWNER TO CURRENT_USER;
REVOKE INSERT ON derechos.tmp_deuda FROM aquacis_dba;
SET ROLE aquacis_dba;
CALL consolidate('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT INSERT ON derechos.tmp_deuda TO aquacis_dba;
ALTER TABLE derechos.tmp_deuda OWNER TO aquacis_otro;
-- no schema, or none to write in
REVOKE ALL ON SCHEMA derechos FROM aquacis_dba;
SET ROLE aquacis_dba;
SELECT table_name, problem FROM consolidate_plan('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
CALL consolidate('derechos', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
-- a superuser takes what is left, but no table whose rows policies hide from others
CALL consolidate('derechos', 'tmp_deuda', on_reject => 'keep');
SELECT proceso_id, count(*) FROM derechos.tmp_deuda GROUP BY 1 ORDER BY 1;

-- who may write definitions could make a superuser run them
CREATE ROLE aquacis_jefe SUPERUSER;
SET ROLE aquacis_dba;
UPDATE consolidate_source SET definition = 'CREATE ROLE aquacis_intrusa SUPERUSER; ' || definition WHERE process_id = 5;
SET ROLE aquacis_jefe;
CALL consolidate_restore('derechos', 'tmp_deuda', 5);
\echo :LAST_ERROR_SQLSTATE
GRANT UPDATE (definition) ON consolidate_source TO PUBLIC;
REVOKE INSERT, UPDATE ON consolidate_source FROM aquacis_dba;
CALL consolidate_restore('derechos', 'tmp_deuda', 5);
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
REVOKE UPDATE (definition) ON consolidate_source FROM PUBLIC;
UPDATE consolidate_source SET definition = substr(definition, strpos(definition, 'CREATE TABLE')) WHERE process_id = 5;
CALL consolidate_restore('derechos', 'tmp_deuda', 5);
SELECT count(*) FROM pg_roles WHERE rolname = 'aquacis_intrusa';

-- a hostile search_path changes nothing
CREATE SCHEMA trampa;
CREATE FUNCTION trampa.eq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR trampa.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trampa.eq);
CREATE FUNCTION trampa.ne(name, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
CREATE OPERATOR trampa.~ (LEFTARG = name, RIGHTARG = text, FUNCTION = trampa.ne);
CREATE FUNCTION trampa.now() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
CREATE FUNCTION trampa.count(text) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
CREATE DOMAIN trampa.date AS text CHECK (false);
CREATE TABLE trampa.pg_class (x int);
CREATE TABLE derechos.tmpbb_1 (bbfbleid numeric(10,0), bbsbid numeric(10,0), bbcnttnum numeric(10,0), bbaplicacion numeric(5,0), bbfecini pg_catalog.date, bbfecfin pg_catalog.date, bbvardel numeric(5,0), bbexpdid numeric(5,0), bbcptodel numeric(5,0), bbtariddel numeric(5,0), bbctponew numeric(5,0), bbtaridnew numeric(5,0), bbfecfinbonif pg_catalog.date, bbfecinitar pg_catalog.date);
INSERT INTO derechos.tmpbb_1 (bbcnttnum, bbfecini) VALUES (1, '2024-01-01'), (2, NULL), (NULL, '2024-05-05');
SELECT current_setting('search_path') AS path \gset
SELECT 'trampa, ' || :'path' || ', pg_catalog' AS hostile \gset
SELECT set_config('search_path', :'hostile', false) <> '' AS set;
CALL consolidate('derechos', 'tmpbb', on_reject => 'keep');
CALL consolidate_restore('derechos', 'tmpbb', 1);
CALL consolidate('derechos', 'tmpbb', on_reject => 'keep');
SELECT process_id, ok FROM consolidate_verify('derechos', 'tmpbb');
SELECT table_name, problem FROM consolidate_plan('derechos', 'tmpbb');
SELECT state, rows_done, rows_rejected FROM consolidate_progress WHERE family OPERATOR(pg_catalog.=) 'tmpbb';
SELECT table_name FROM re_accumulation;
SELECT set_config('search_path', :'path', false) <> '' AS set;
\d derechos.tmpbb

SET client_min_messages = warning;
REVOKE ALL ON FUNCTION consolidate_plan, consolidate_verify FROM aquacis_dba;
REVOKE ALL ON PROCEDURE consolidate, consolidate_restore FROM aquacis_dba;
REVOKE ALL ON consolidate_family, consolidate_progress, consolidate_source, consolidate_run, consolidate_problem, consolidate_target FROM aquacis_dba;
\set ECHO none
SELECT format('REVOKE ALL ON SCHEMA %s FROM aquacis_dba', pronamespace::regnamespace) FROM pg_proc WHERE proname = 'consolidate_guard' \gexec
\set ECHO all
DROP SCHEMA derechos, trampa CASCADE;
DROP ROLE aquacis_dba, aquacis_otro, aquacis_jefe;
CALL forget_consolidation();
