-- Whose code runs when a superuser consolidates the tables of somebody else.
SET client_min_messages = warning;
CREATE ROLE aquacis_jefe SUPERUSER;
CREATE ROLE aquacis_ajeno;
CREATE SCHEMA ajeno AUTHORIZATION aquacis_ajeno;
SET ROLE aquacis_ajeno;
CREATE FUNCTION ajeno.testigo(x anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE
  AS 'BEGIN RAISE NOTICE ''ran as %'', current_user; RETURN x; END';
CREATE FUNCTION ajeno.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''ran as %'', current_user; RETURN NEW; END';
CREATE TABLE ajeno.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO ajeno.tmp_deuda_1 VALUES (1, 1, 1, 1);
CREATE TABLE ajeno.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);

-- what a target may not bring along
SET ROLE aquacis_jefe;
CREATE FUNCTION pg_temp.con(ddl text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
BEGIN
  SET LOCAL ROLE aquacis_ajeno;
  EXECUTE ddl;
  SET LOCAL ROLE aquacis_jefe;
  PERFORM * FROM consolidate_plan('ajeno', 'tmp_deuda');
  RAISE 'accepted' USING ERRCODE = 'P0001', DETAIL = 'Accepted.';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN SQLSTATE || ' ' || detail;
END$$;
\pset format unaligned
SELECT ddl, pg_temp.con(replace(ddl, '@', 'ajeno.tmp_deuda')) FROM (VALUES
  ('CREATE TRIGGER t BEFORE INSERT ON @ FOR EACH ROW EXECUTE FUNCTION ajeno.tr()'),
  ('CREATE RULE r AS ON INSERT TO @ DO ALSO SELECT ajeno.testigo(1)'),
  ('ALTER TABLE @ ADD CONSTRAINT c CHECK (ajeno.testigo(importe) > 0)'),
  ('ALTER TABLE @ ADD CONSTRAINT c CHECK (query_to_xml(''SELECT ajeno.testigo(1)'', false, false, '''') IS NOT NULL)'),
  ('ALTER TABLE @ ADD CONSTRAINT c CHECK (importe BETWEEN 0 AND 1000 AND numfacturas IN (1, 2))'),
  ('ALTER TABLE @ ADD d integer DEFAULT ajeno.testigo(1)'),
  ('ALTER TABLE @ ADD d bigserial'),
  ('ALTER TABLE @ ADD d date DEFAULT current_date, ADD e text DEFAULT CASE WHEN now() < ''2000-01-01'' THEN ''x'' ELSE 7::text END'),
  ('ALTER TABLE @ ADD g numeric GENERATED ALWAYS AS (ajeno.testigo(importe)) STORED'),
  ('ALTER TABLE @ ADD g numeric GENERATED ALWAYS AS (importe * 2) STORED'),
  ('CREATE INDEX i ON @ (ajeno.testigo(importe))'),
  ('CREATE INDEX i ON @ (importe) WHERE ajeno.testigo(numfacturas) = 1'),
  ('CREATE INDEX i ON @ ((importe * 2)) WHERE numfacturas = 1'),
  ('CREATE TABLE ajeno.hija (CHECK (ajeno.testigo(1) = 1)) INHERITS (@)'),
  ('CREATE TABLE ajeno.hija () INHERITS (@)'),
  ('CREATE DOMAIN ajeno.d AS integer CHECK (ajeno.testigo(VALUE) > 0); ALTER TABLE @ ADD d ajeno.d'),
  ('CREATE DOMAIN ajeno.d AS integer DEFAULT ajeno.testigo(1); ALTER TABLE @ ADD d ajeno.d[]'),
  ('CREATE DOMAIN ajeno.d AS integer NOT NULL DEFAULT 1 CHECK (VALUE > 0); ALTER TABLE @ ADD d ajeno.d, ADD e ajeno.d DEFAULT 2'),
  ('CREATE TYPE ajeno.e AS ENUM (''a''); ALTER TABLE @ ADD e ajeno.e DEFAULT ''a'''),
  ('CREATE TYPE ajeno.e AS ENUM (''a''); CREATE FUNCTION ajeno.e(text) RETURNS ajeno.e LANGUAGE sql AS ''SELECT ''''a''''::ajeno.e'';
    CREATE CAST (text AS ajeno.e) WITH FUNCTION ajeno.e(text); ALTER TABLE @ ADD e ajeno.e'),
  ('CREATE TYPE ajeno.e AS ENUM (''a''); CREATE DOMAIN ajeno.d AS integer CHECK (VALUE > 0); ALTER TABLE @ ADD e ajeno.e, ADD d ajeno.d;
    CREATE TYPE ajeno.f AS ENUM (''a''); CREATE FUNCTION ajeno.f(text) RETURNS ajeno.f LANGUAGE sql AS ''SELECT ''''a''''::ajeno.f'';
    CREATE CAST (text AS ajeno.f) WITH FUNCTION ajeno.f(text); CREATE DOMAIN ajeno.g AS integer CHECK (ajeno.testigo(VALUE) > 0)'),
  ('CREATE TYPE ajeno.e AS ENUM (''a''); ALTER TABLE @ ADD CONSTRAINT c CHECK (to_json(''a''::ajeno.e) IS NOT NULL)'),
  ('CREATE DOMAIN ajeno.d AS integer CHECK (ajeno.testigo(VALUE) > 0); CREATE TYPE ajeno.c AS (d ajeno.d); ALTER TABLE @ ADD c ajeno.c'),
  ('CREATE FUNCTION ajeno.resta(integer, integer) RETURNS float8 LANGUAGE sql IMMUTABLE AS ''SELECT 0::float8'';
    CREATE TYPE ajeno.r AS RANGE (SUBTYPE = integer, SUBTYPE_DIFF = ajeno.resta, MULTIRANGE_TYPE_NAME = ajeno.m); ALTER TABLE @ ADD m ajeno.m'),
  ('CREATE TYPE ajeno.r AS RANGE (SUBTYPE = integer); ALTER TABLE @ ADD r ajeno.r'),
  ('DROP TABLE @; CREATE VIEW @ AS SELECT 1::bigint AS proceso_id, 1::numeric(18,2) AS importe, 1 AS numfacturas, 1 AS facsocemi, 1 AS faccnttnum'),
  ('DROP TABLE @; CREATE TABLE @ (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)
    PARTITION BY RANGE ((ajeno.testigo(importe)))'),
  ('DROP TABLE @; CREATE TABLE @ (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)
    PARTITION BY LIST (proceso_id); CREATE TABLE ajeno.p PARTITION OF @ DEFAULT;
    CREATE TRIGGER t BEFORE INSERT ON ajeno.p FOR EACH ROW EXECUTE FUNCTION ajeno.tr()'),
  ('DROP TABLE @; CREATE TABLE @ (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)
    PARTITION BY LIST (proceso_id); CREATE TABLE ajeno.p PARTITION OF @ DEFAULT')) c(ddl);
\pset format aligned
RESET client_min_messages;

-- every way to a target looks; its owner, who may run his own code, gets through
ALTER TABLE ajeno.tmp_deuda ADD CONSTRAINT c CHECK (ajeno.testigo(importe) > 0);
SELECT * FROM consolidate_plan('ajeno', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
CALL consolidate('ajeno', 'tmp_deuda');
SELECT * FROM consolidate_verify('ajeno', 'tmp_deuda');
\set VERBOSITY default
ALTER TABLE ajeno.tmp_deuda OWNER TO aquacis_jefe;
CALL consolidate('ajeno', 'tmp_deuda');
ALTER TABLE ajeno.tmp_deuda OWNER TO aquacis_ajeno;
\set VERBOSITY sqlstate
SELECT * FROM consolidate_verify('ajeno', 'tmp_deuda');
CALL consolidate_restore('ajeno', 'tmp_deuda', 1);
\set VERBOSITY default
ALTER TABLE ajeno.tmp_deuda DROP CONSTRAINT c;
CALL consolidate_restore('ajeno', 'tmp_deuda', 1);

-- checks of a source are its owner's again, and run as the owner when it is restored
SET ROLE aquacis_ajeno;
ALTER TABLE ajeno.tmp_deuda_1 ADD CONSTRAINT suyo CHECK (ajeno.testigo(importe) > 0) NOT VALID, ADD CONSTRAINT llave PRIMARY KEY (faccnttnum),
  ADD CONSTRAINT limpio CHECK (importe > 0);
ALTER TABLE ajeno.tmp_deuda_1 VALIDATE CONSTRAINT suyo;
COMMENT ON CONSTRAINT suyo ON ajeno.tmp_deuda_1 IS 'suyo';
COMMENT ON CONSTRAINT llave ON ajeno.tmp_deuda_1 IS 'llave';
SET ROLE aquacis_jefe;
CALL consolidate('ajeno', 'tmp_deuda');
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
CALL consolidate('ajeno', 'ajena', on_reject => 'keep');

-- a type that got code afterwards
SET ROLE aquacis_ajeno;
CREATE FUNCTION ajeno.e(text) RETURNS ajeno.e LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''ran as %'', current_user; RETURN ''a''; END';
CREATE CAST (text AS ajeno.e) WITH FUNCTION ajeno.e(text);
SET ROLE aquacis_jefe;
CALL consolidate_restore('ajeno', 'ajena', 1);
\echo :LAST_ERROR_SQLSTATE
DROP CAST (text AS ajeno.e);
ALTER TABLE consolidate_rejected OWNER TO aquacis_ajeno;
\set VERBOSITY sqlstate
CALL consolidate_restore('ajeno', 'ajena', 1);
\set VERBOSITY default
ALTER TABLE consolidate_rejected OWNER TO aquacis_jefe;
CALL consolidate_restore('ajeno', 'ajena', 1);
SELECT * FROM ajeno.suelta_1 ORDER BY k;

RESET ROLE;
SET client_min_messages = warning;
DROP FUNCTION pg_temp.con(text);
DROP SCHEMA ajeno CASCADE;
DROP TABLE consolidate_rejected;
DELETE FROM consolidate_family WHERE family = 'ajena';
DELETE FROM consolidate_source;
DELETE FROM consolidate_run;
DELETE FROM consolidate_problem;
DELETE FROM consolidate_target;
DROP ROLE aquacis_jefe, aquacis_ajeno;
