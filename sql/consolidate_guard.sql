-- The guard against per-process tables that come back.
SET client_min_messages = warning;
CREATE SCHEMA guardia;
CREATE SCHEMA otro;
CREATE ROLE aquacis_vendor;
GRANT ALL ON SCHEMA guardia, otro TO aquacis_vendor;
CREATE TABLE guardia.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
CREATE TABLE guardia.tmp_deuda_2 (LIKE guardia.tmp_deuda_1);
RESET client_min_messages;
CALL consolidate('guardia', 'tmp_deuda');
-- no guard, nothing happens
CREATE TABLE guardia.tmp_deuda_3 (faccnttnum integer);
SELECT consolidate_guard('guardia', 'warn');
SELECT evtname, evtevent, evtenabled FROM pg_event_trigger WHERE evtname ~ 'aquacis';
SET ROLE aquacis_vendor;
CREATE TABLE guardia.tmp_deuda_4 (faccnttnum integer);
CREATE TABLE guardia.cliente_4 (faccnttnum integer);
CREATE TABLE otro.tmp_deuda_4 (faccnttnum integer);
CREATE TEMP TABLE tmp_deuda_4 (faccnttnum integer);
RESET ROLE;
SELECT consolidate_guard('guardia', 'block');
SET ROLE aquacis_vendor;
CREATE TABLE guardia.tmp_deuda_5 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE IF NOT EXISTS guardia.tmp_deuda_5 (x int);
CREATE TABLE IF NOT EXISTS guardia.tmp_deuda_4 (x int);
CREATE TABLE guardia.tmp_deuda_5 AS SELECT 1 AS x;
SELECT 1 AS x INTO guardia.tmp_deuda_5;
CREATE TABLE guardia.tmp_deuda_5 (LIKE guardia.cliente_4);
CREATE UNLOGGED TABLE guardia.tmp_deuda_5 () INHERITS (guardia.cliente_4);
CREATE VIEW guardia.tmp_deuda_5 AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW guardia.tmpbb_5 AS SELECT 1 AS x;
DO $$ BEGIN EXECUTE 'CREATE TABLE guardia.aux_varscreditored_5 (cnttnum integer)'; END $$;
ALTER TABLE guardia.cliente_4 RENAME TO tmp_deuda_5;
ALTER VIEW guardia.cliente_4 RENAME TO tmp_deuda_5;
ALTER INDEX guardia.cliente_4 RENAME TO tmp_deuda_5;
ALTER TABLE otro.tmp_deuda_4 RENAME TO tmp_deuda_5;
ALTER TABLE otro.tmp_deuda_5 SET SCHEMA guardia;
CREATE SEQUENCE otro.tmp_deuda_6;
ALTER SEQUENCE otro.tmp_deuda_6 SET SCHEMA guardia;
-- a view's, a materialized view's, a foreign table's name
RESET ROLE;
CREATE FOREIGN DATA WRAPPER aquacis_guardia;
CREATE SERVER aquacis_guardia FOREIGN DATA WRAPPER aquacis_guardia;
CREATE FOREIGN TABLE guardia.lejos (x int) SERVER aquacis_guardia;
CREATE MATERIALIZED VIEW guardia.hecha AS SELECT 1 AS x;
CREATE VIEW guardia.vista AS SELECT 1 AS x;
\set VERBOSITY terse
ALTER FOREIGN TABLE guardia.lejos RENAME TO tmp_deuda_5;
ALTER MATERIALIZED VIEW guardia.hecha RENAME TO tmp_deuda_5;
ALTER VIEW guardia.vista RENAME TO tmp_deuda_5;
CREATE FOREIGN TABLE guardia.tmp_deuda_5 (x int) SERVER aquacis_guardia;
CREATE TABLE guardia.tmp_deuda_5 (x int) PARTITION BY LIST (x);
\set VERBOSITY default
DROP FOREIGN DATA WRAPPER aquacis_guardia CASCADE;
SET ROLE aquacis_vendor;
-- what is there may be altered, renamed away, filled and dropped
ALTER TABLE guardia.tmp_deuda_4 ADD y integer;
ALTER TABLE guardia.tmp_deuda_4 RENAME y TO z;
ALTER TABLE guardia.tmp_deuda_4 ADD CONSTRAINT c CHECK (z > 0);
ALTER TABLE guardia.tmp_deuda_4 RENAME CONSTRAINT c TO d;
CREATE INDEX tmp_deuda_8 ON guardia.tmp_deuda_4 (z);
INSERT INTO guardia.tmp_deuda_4 VALUES (1, 2);
ALTER TABLE guardia.tmp_deuda_4 RENAME TO deuda_4;
DROP TABLE guardia.deuda_4;
DROP SEQUENCE guardia.tmp_deuda_6;
RESET ROLE;
-- consolidate and consolidate_restore pass
CALL consolidate('guardia', 'tmp_deuda');
CALL consolidate_restore('guardia', 'tmp_deuda', 1);
SELECT table_name FROM re_accumulation;
CREATE TABLE guardia.tmp_deuda_7 (x int);
-- a family of one's own is guarded too
SELECT consolidate_define('guardia_propia', '^propia_(\d+)$', 'propia', '{x}');
CREATE TABLE guardia.propia_1 (x int);
-- a name that matches without a process id, and tables that are made with their schema
SELECT consolidate_define('guardia_corta', '^corta_(\d+)?$', 'corta', '{x}');
CREATE TABLE guardia.corta_ (x int);
CREATE SCHEMA guardia_nueva;
SELECT consolidate_guard('guardia_nueva', 'block');
DROP SCHEMA guardia_nueva;
CREATE SCHEMA guardia_nueva CREATE TABLE tmp_deuda_5 (x int);
SELECT consolidate_guard('guardia', 'block'), 'guardia_nueva' AS other;
CREATE SCHEMA guardia_nueva;
SELECT consolidate_guard('guardia_nueva', 'off');
DROP SCHEMA guardia_nueva;
-- two schemas; the trigger goes with the last one
SELECT consolidate_guard('otro', 'warn');
SELECT consolidate_guard('guardia', 'off');
CREATE TABLE guardia.tmp_deuda_7 (x int);
CREATE TABLE otro.tmp_deuda_7 (x int);
SELECT consolidate_guard('otro', 'off'), consolidate_guard('otro', 'off');
SELECT count(*) FROM pg_event_trigger WHERE evtname ~ 'aquacis';
-- errors
SELECT consolidate_guard('guardia', 'please');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_guard('no_such', 'warn');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_guard_trigger();
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_guard('guardia', NULL) IS NULL;
SET client_min_messages = warning;
\set ECHO none
SELECT format('GRANT USAGE ON SCHEMA %s TO aquacis_vendor', pronamespace::regnamespace),
       format('GRANT ALL ON %s.consolidate_guard_schema TO aquacis_vendor', pronamespace::regnamespace)
FROM pg_proc WHERE proname = 'consolidate_guard' \gexec
\set ECHO all
SET ROLE aquacis_vendor;
SELECT consolidate_guard('guardia', 'warn');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT EXECUTE ON FUNCTION consolidate_guard TO aquacis_vendor;
SET ROLE aquacis_vendor;
SELECT consolidate_guard('guardia', 'warn');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
REVOKE ALL ON FUNCTION consolidate_guard FROM aquacis_vendor;
REVOKE ALL ON consolidate_guard_schema FROM aquacis_vendor;
\set ECHO none
SELECT format('REVOKE ALL ON SCHEMA %s FROM aquacis_vendor', pronamespace::regnamespace) FROM pg_proc WHERE proname = 'consolidate_guard' \gexec
\set ECHO all
DROP SCHEMA guardia, otro CASCADE;
DROP OWNED BY aquacis_vendor;
DROP ROLE aquacis_vendor;
CALL forget_consolidation();
