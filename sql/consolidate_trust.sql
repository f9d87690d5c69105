-- Whose code runs when a superuser consolidates the tables of somebody else.
SET client_min_messages = warning;
CREATE ROLE aquacis_jefe SUPERUSER;
CREATE ROLE aquacis_ajeno;
CREATE ROLE aquacis_tercero;
CREATE SCHEMA ajeno AUTHORIZATION aquacis_ajeno;
SET ROLE aquacis_ajeno;
-- (as the owner of the sequence it says so once, as how often it is called is the server's matter; as anybody else, each time)
CREATE SEQUENCE ajeno.veces;
CREATE FUNCTION ajeno.dice() RETURNS void LANGUAGE plpgsql
  AS 'BEGIN IF nextval(''ajeno.veces'') = 1 OR current_user::regrole <> (SELECT relowner FROM pg_class WHERE oid = ''ajeno.veces''::regclass) THEN RAISE NOTICE ''ran as %'', current_user; END IF; END';
CREATE FUNCTION ajeno.testigo(x anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM ajeno.dice(); RETURN x; END';
CREATE FUNCTION ajeno.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM ajeno.dice(); RETURN NEW; END';
CREATE TABLE ajeno.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO ajeno.tmp_deuda_1 VALUES (1, 1, 1, 1);
CREATE TABLE ajeno.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);

-- whatever a target brings along runs as its owner
SET ROLE aquacis_jefe;
CREATE FUNCTION pg_temp.con(ddl text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
BEGIN
  PERFORM setval('ajeno.veces', 1, false);
  SET LOCAL ROLE aquacis_ajeno;
  EXECUTE ddl;
  SET LOCAL ROLE aquacis_jefe;
  PERFORM * FROM consolidate_plan('ajeno', 'tmp_deuda');
  PERFORM * FROM consolidate_verify('ajeno', 'tmp_deuda');
  RAISE 'read' USING ERRCODE = 'P0001', DETAIL = 'Read.';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN SQLSTATE || ' ' || CASE WHEN detail <> '' THEN detail ELSE SQLERRM END;
END$$;
SET client_min_messages = notice;
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.con(replace(ddl, '@', 'ajeno.tmp_deuda')) AS said, ddl FROM (VALUES
  ('ALTER TABLE @ ADD CONSTRAINT c CHECK (ajeno.testigo(importe) > 0)'),
  -- what is constant is computed when the table is planned, not when a row comes
  ('CREATE STATISTICS ajeno.st ON (importe + ajeno.testigo(1)), faccnttnum FROM @'),
  ('CREATE INDEX i ON @ ((importe + ajeno.testigo(2)))'),
  ('CREATE INDEX i ON @ (importe) WHERE facsocemi < ajeno.testigo(3)'),
  ('ALTER TABLE @ ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON @ USING (ajeno.testigo(4) = 4)'),
  ('ALTER TABLE @ ENABLE ROW LEVEL SECURITY; ALTER TABLE @ FORCE ROW LEVEL SECURITY'),
  ('DROP TABLE @; CREATE VIEW @ AS SELECT ajeno.testigo(5)::bigint AS proceso_id, 1::numeric(18,2) AS importe, 1 AS numfacturas, 1 AS facsocemi, 1 AS faccnttnum'),
  ('DROP TABLE @; CREATE TABLE @ (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)
    PARTITION BY RANGE ((importe + ajeno.testigo(6))); CREATE TABLE ajeno.p PARTITION OF @ DEFAULT'),
  ('CREATE TABLE ajeno.hija (CHECK (faccnttnum > ajeno.testigo(7))) INHERITS (@)')) c(ddl);
\pset tuples_only off
\pset format aligned

-- rows come in: checks, defaults, generated columns, triggers, domains, of a partition too
SET ROLE aquacis_ajeno;
CREATE DOMAIN ajeno.dom AS integer DEFAULT ajeno.testigo(10) CHECK (ajeno.testigo(VALUE) > 0);
DROP TABLE ajeno.tmp_deuda;
CREATE TABLE ajeno.tmp_deuda (proceso_id bigint, importe numeric(18,2) CHECK (ajeno.testigo(importe) > 0), numfacturas integer, facsocemi integer, faccnttnum integer,
  d integer DEFAULT ajeno.testigo(11), m ajeno.dom, g integer GENERATED ALWAYS AS (ajeno.testigo(12)) STORED) PARTITION BY LIST (proceso_id);
CREATE TABLE ajeno.p PARTITION OF ajeno.tmp_deuda DEFAULT;
CREATE TRIGGER t BEFORE INSERT OR DELETE ON ajeno.p FOR EACH ROW EXECUTE FUNCTION ajeno.tr();
CREATE INDEX ON ajeno.tmp_deuda (ajeno.testigo(faccnttnum));
SET ROLE aquacis_jefe;
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
SELECT * FROM ajeno.tmp_deuda;
SET ROLE aquacis_ajeno;
CREATE OR REPLACE FUNCTION ajeno.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM ajeno.dice(); RETURN coalesce(NEW, OLD); END';
SET ROLE aquacis_jefe;
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate_restore('ajeno', 'tmp_deuda', 1);
TABLE ajeno.tmp_deuda_1;

-- what he leaves behind: no settings, nothing temporary, nothing prepared
SET ROLE aquacis_ajeno;
CREATE TABLE ajeno.que (what text);
CREATE OR REPLACE FUNCTION ajeno.tr() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('search_path', 'ajeno', false), set_config('datestyle', 'SQL, DMY', false);
  EXECUTE (SELECT what FROM ajeno.que);
  RETURN coalesce(NEW, OLD);
END $$;
SET ROLE aquacis_jefe;
SELECT current_setting('search_path') AS path \gset
SET datestyle = 'ISO, YMD';
INSERT INTO ajeno.que VALUES ('SELECT 1');
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
SELECT current_setting('search_path') = :'path' AS same_path, current_setting('datestyle') AS datestyle;
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate_restore('ajeno', 'tmp_deuda', 1);
UPDATE ajeno.que SET what = 'CREATE TEMP VIEW pagos AS SELECT 1';
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
UPDATE ajeno.que SET what = 'PREPARE pagos AS SELECT 1';
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
UPDATE ajeno.que SET what = 'RESET ROLE';
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
SELECT count(*) FROM pg_class WHERE relname = 'pagos' UNION ALL SELECT count(*) FROM pg_prepared_statements WHERE name = 'pagos';
RESET datestyle;

-- a partition of yet another role
ALTER TABLE ajeno.p OWNER TO aquacis_tercero;
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE ajeno.p OWNER TO aquacis_ajeno;

-- somebody's trigger on a target of ours
ALTER TABLE ajeno.tmp_deuda OWNER TO aquacis_jefe;
ALTER TABLE ajeno.p OWNER TO aquacis_jefe;
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
SET ROLE aquacis_ajeno;
CREATE OR REPLACE FUNCTION ajeno.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
SET ROLE aquacis_jefe;
ALTER FUNCTION ajeno.tr() OWNER TO aquacis_jefe;
\echo -- what the owner of a table has written into it is his own matter, whoever he is
ALTER SEQUENCE ajeno.veces OWNER TO aquacis_jefe;
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
ALTER SEQUENCE ajeno.veces OWNER TO aquacis_ajeno;
DROP TABLE ajeno.tmp_deuda;
DELETE FROM consolidate_source;
SET ROLE aquacis_ajeno;
DROP DOMAIN ajeno.dom;
CREATE TABLE ajeno.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO ajeno.tmp_deuda_1 VALUES (1, 1, 1, 1);

-- checks of a source are its owner's again, and run as the owner when it is restored
SET ROLE aquacis_ajeno;
ALTER TABLE ajeno.tmp_deuda_1 ADD CONSTRAINT suyo CHECK (ajeno.testigo(importe) > 0) NOT VALID, ADD CONSTRAINT llave PRIMARY KEY (faccnttnum),
  ADD CONSTRAINT limpio CHECK (importe > 0);
ALTER TABLE ajeno.tmp_deuda_1 VALIDATE CONSTRAINT suyo;
COMMENT ON CONSTRAINT suyo ON ajeno.tmp_deuda_1 IS 'suyo';
COMMENT ON CONSTRAINT llave ON ajeno.tmp_deuda_1 IS 'llave';
SET ROLE aquacis_jefe;
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate('ajeno', 'tmp_deuda');
ALTER SEQUENCE ajeno.veces RESTART;
CALL consolidate_restore('ajeno', 'tmp_deuda', 1);
SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint
WHERE conrelid = 'ajeno.tmp_deuda_1'::regclass AND contype <> 'n' ORDER BY 1;

-- types with code: such sources stay where they are
SET ROLE aquacis_ajeno;
CREATE DOMAIN ajeno.d AS text CHECK (ajeno.testigo(VALUE) <> '');
CREATE TYPE ajeno.e AS ENUM ('a', 'b');
CREATE TABLE ajeno.suelta_1 (k integer, e ajeno.e);
CREATE TABLE ajeno.suelta_2 (k integer, e ajeno.e, d ajeno.d);
INSERT INTO ajeno.suelta_1 VALUES (1, 'a'), (NULL, 'b');
SET ROLE aquacis_jefe;
SELECT consolidate_define('ajena', pattern => '^suelta_(\d+)$', target => 'suelta', key => '{k}');
SELECT table_name, problem FROM consolidate_plan('ajeno', 'ajena');

-- a consolidate_rejected that is not ours
ALTER TABLE consolidate_rejected OWNER TO aquacis_ajeno;
CALL consolidate('ajeno', 'ajena', on_reject => 'keep');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE consolidate_rejected OWNER TO aquacis_jefe;
-- ... with somebody's trigger
GRANT TRIGGER ON consolidate_rejected TO aquacis_ajeno;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO aquacis_ajeno', current_schema()); END $$;
SET ROLE aquacis_ajeno;
CREATE FUNCTION ajeno.otra() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''ran as %'', current_user; RETURN NEW; END';
CREATE TRIGGER suyo BEFORE INSERT ON consolidate_rejected FOR EACH ROW EXECUTE FUNCTION ajeno.otra();
SET ROLE aquacis_jefe;
CALL consolidate('ajeno', 'ajena', on_reject => 'keep');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER suyo ON consolidate_rejected;
CALL consolidate('ajeno', 'ajena', on_reject => 'keep');

-- tables of ours with triggers or owners of others
RESET ROLE;
GRANT TRIGGER ON consolidate_run TO aquacis_ajeno;
SET ROLE aquacis_ajeno;
CREATE TRIGGER suyo BEFORE INSERT ON consolidate_run FOR EACH ROW EXECUTE FUNCTION ajeno.otra();
SET ROLE aquacis_jefe;
CALL consolidate('ajeno', 'ajena');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('otra', pattern => '^otra_(\d+)$', target => 'otra', key => '{k}');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM consolidate_plan('ajeno', 'ajena');
DROP TRIGGER suyo ON consolidate_run;
REVOKE TRIGGER ON consolidate_run FROM aquacis_ajeno;
ALTER TABLE consolidate_family OWNER TO aquacis_ajeno;
SELECT count(*) FROM consolidate_plan('ajeno', 'ajena');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM consolidate_verify('ajeno', 'ajena');
\echo :LAST_ERROR_SQLSTATE
CALL consolidate_restore('ajeno', 'ajena');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE consolidate_family OWNER TO aquacis_jefe;
-- who may write every table may write definitions, too
GRANT pg_write_all_data TO aquacis_tercero;
CALL consolidate_restore('ajeno', 'ajena', 1);
\echo :LAST_ERROR_SQLSTATE
REVOKE pg_write_all_data FROM aquacis_tercero;

-- a type that got a cast afterwards: values are read back as they were written, by the type alone
SET ROLE aquacis_ajeno;
CREATE FUNCTION ajeno.e(text) RETURNS ajeno.e LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''ran as %'', current_user; RETURN ''a''; END';
CREATE CAST (text AS ajeno.e) WITH FUNCTION ajeno.e(text);
SET ROLE aquacis_jefe;
ALTER TABLE consolidate_rejected OWNER TO aquacis_ajeno;
\set VERBOSITY sqlstate
CALL consolidate_restore('ajeno', 'ajena', 1);
\set VERBOSITY default
ALTER TABLE consolidate_rejected OWNER TO aquacis_jefe;
CALL consolidate_restore('ajeno', 'ajena', 1);
SELECT * FROM ajeno.suelta_1 ORDER BY k;
DROP CAST (text AS ajeno.e);

RESET ROLE;
SET client_min_messages = warning;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON SCHEMA %I FROM aquacis_ajeno', current_schema()); END $$;
DROP FUNCTION pg_temp.con(text);
DROP SCHEMA ajeno CASCADE;
CALL forget_consolidation();
\set ECHO none
SELECT format('ALTER TABLE consolidate_family OWNER TO %I', (SELECT relowner::regrole::text FROM pg_class WHERE oid = 'consolidate_run'::regclass)) \gexec
\set ECHO all
DROP ROLE aquacis_jefe, aquacis_ajeno, aquacis_tercero;
