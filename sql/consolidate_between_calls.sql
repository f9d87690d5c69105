-- What changes between a call and the next, or before the way back.
SET client_min_messages = warning;
CREATE SCHEMA otravez;
RESET client_min_messages;
-- copied, kept, and changed in the rows that were refused: no checksum knows them
CREATE TABLE otravez.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO otravez.tmp_deuda_1 VALUES (1, 1, 1, 1), (2, 2, 2, NULL);
CALL consolidate('otravez', 'tmp_deuda', on_reject => 'keep', drop_source => false);
-- the plan knows, too, that the refused rows are kept
SELECT table_name, problem FROM consolidate_plan('otravez', 'tmp_deuda');
UPDATE otravez.tmp_deuda_1 SET importe = 1.01 WHERE faccnttnum = 1;
SELECT table_name, problem FROM consolidate_plan('otravez', 'tmp_deuda');
CALL consolidate('otravez', 'tmp_deuda');
UPDATE otravez.tmp_deuda_1 SET importe = 1 WHERE faccnttnum = 1;
UPDATE otravez.tmp_deuda_1 SET importe = 999 WHERE faccnttnum IS NULL;
CALL consolidate('otravez', 'tmp_deuda');
SELECT row_data ->> 'importe' AS importe FROM consolidate_rejected;
CALL consolidate_restore('otravez', 'tmp_deuda');
SELECT * FROM otravez.tmp_deuda_1 ORDER BY 1;
-- one refused row more: what was kept before is not all of it
CALL consolidate('otravez', 'tmp_deuda', on_reject => 'keep', drop_source => false);
INSERT INTO otravez.tmp_deuda_1 VALUES (3, 3, 3, NULL);
SELECT table_name, problem FROM consolidate_plan('otravez', 'tmp_deuda');
CALL consolidate('otravez', 'tmp_deuda', on_reject => 'keep');
SELECT * FROM otravez.tmp_deuda_1 ORDER BY 1;
DROP TABLE otravez.tmp_deuda_1;

-- a target that gets columns of its own later
SELECT consolidate_define('otravez', pattern => '^vez_(\d+)$', target => 'vez', key => '{k}');
CREATE TABLE otravez.vez_1 (k integer, v numeric);
CREATE TABLE otravez.vez_2 (k integer, v numeric);
INSERT INTO otravez.vez_1 VALUES (1, 1.5);
INSERT INTO otravez.vez_2 VALUES (1, 1.5);
CALL consolidate('otravez', 'otravez');
ALTER TABLE otravez.vez ADD revisado boolean NOT NULL DEFAULT false, ALTER v TYPE numeric(10,2);
SELECT process_id, ok FROM consolidate_verify('otravez', 'otravez');
CALL consolidate_restore('otravez', 'otravez', 1);
SELECT * FROM otravez.vez_1;
CALL consolidate('otravez', 'otravez');
SELECT proceso_id, k, v, revisado FROM otravez.vez ORDER BY proceso_id;
-- values that no column of the table can take are not bent to fit
CREATE TABLE otravez.tmp_deuda_5 (importe integer, numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO otravez.tmp_deuda_5 VALUES (5, 5, 5, 5);
CALL consolidate('otravez', 'tmp_deuda');
UPDATE otravez.tmp_deuda SET importe = 5.25 WHERE proceso_id = 5;
\set VERBOSITY terse
CALL consolidate_restore('otravez', 'tmp_deuda', 5, force => true);
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
SELECT proceso_id, importe FROM otravez.tmp_deuda WHERE proceso_id = 5;
UPDATE otravez.tmp_deuda SET importe = 6 WHERE proceso_id = 5;
CALL consolidate_restore('otravez', 'tmp_deuda', 5, force => true);
SELECT * FROM otravez.tmp_deuda_5;
-- a family that is defined again, its tables being back, takes its columns anew
CALL consolidate_restore('otravez', 'otravez');
SELECT consolidate_define('otravez', pattern => '^vez_(\d+)$', target => 'vez_nueva', key => '{k,v}');
ALTER TABLE otravez.vez_1 ADD x integer;
ALTER TABLE otravez.vez_2 ADD x integer;
CALL consolidate('otravez', 'otravez');
SELECT columns, indexed FROM consolidate_target WHERE family = 'otravez';
-- checksums that OIDs are no part of: types that were made anew, as a dump does it
CREATE FUNCTION otravez.haz() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  CREATE TYPE otravez.e AS ENUM ('a', 'b');
  CREATE TYPE otravez.c AS (x integer, e otravez.e);
  CREATE TYPE otravez.r AS RANGE (SUBTYPE = otravez.e, MULTIRANGE_TYPE_NAME = otravez.m);
  CREATE TABLE otravez.oid_1 (k integer, e otravez.e, a otravez.e[], c otravez.c, r otravez.r, m otravez.m, t regtype, n name);
  FOR i IN 2..7 LOOP
    EXECUTE format('CREATE TABLE otravez.oid_%s (LIKE otravez.oid_1)', i);
  END LOOP;
  INSERT INTO otravez.oid_1 (k, e) VALUES (1, 'b');
  INSERT INTO otravez.oid_2 (k, a) VALUES (1, '{a,b}');
  INSERT INTO otravez.oid_3 (k, c) VALUES (1, '(7,b)');
  INSERT INTO otravez.oid_4 (k, r) VALUES (1, '[a,b)');
  INSERT INTO otravez.oid_5 (k, m) VALUES (1, '{[a,b)}');
  INSERT INTO otravez.oid_6 (k, t) VALUES (1, 'otravez.e');
  INSERT INTO otravez.oid_7 (k, n) VALUES (1, 'nombre');
END $$;
SELECT consolidate_define('otravez_oid', pattern => '^oid_(\d+)$', target => 'oid', key => '{k}');
SELECT otravez.haz();
CALL consolidate('otravez', 'otravez_oid');
CREATE TABLE otravez.antes AS SELECT process_id, checksum FROM consolidate_source WHERE family = 'otravez_oid';
DELETE FROM consolidate_source WHERE family = 'otravez_oid';
SET client_min_messages = warning;
DROP TABLE otravez.oid;
DROP TYPE otravez.e CASCADE;
DROP TYPE otravez.c;
RESET client_min_messages;
SELECT otravez.haz();
CALL consolidate('otravez', 'otravez_oid', batch => 2);
-- as many transactions as that makes
SELECT count(DISTINCT created_at) FROM otravez.oid;
SELECT process_id, s.checksum = a.checksum AS same FROM consolidate_source s JOIN otravez.antes a USING (process_id) WHERE family = 'otravez_oid' ORDER BY 1;
SELECT count(DISTINCT checksum) FROM otravez.antes;
-- two schemas and two families with the same numbers and names: each has its own rows and records
CREATE SCHEMA norte;
CREATE SCHEMA sur;
CREATE TABLE norte.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
CREATE TABLE norte.tmp_deuda_2 (LIKE norte.tmp_deuda_1);
CREATE TABLE sur.tmp_deuda_1 (LIKE norte.tmp_deuda_1);
CREATE TABLE norte.aux_varscreditored_1 (cnttnum integer, impvariable numeric(18,2), impvaranterior numeric(18,2));
INSERT INTO norte.tmp_deuda_1 VALUES (11, 1, 1, 1), (12, 1, 1, NULL);
INSERT INTO norte.tmp_deuda_2 VALUES (21, 1, 1, 1), (22, 1, 1, NULL);
INSERT INTO sur.tmp_deuda_1 VALUES (31, 1, 1, 1), (32, 1, 1, NULL);
INSERT INTO norte.aux_varscreditored_1 VALUES (1, 41, 0), (NULL, 42, 0);
-- what only has such a name
CREATE SEQUENCE norte.tmp_deuda_3;
CREATE INDEX tmp_deuda_4 ON sur.tmp_deuda_1 (importe);
CALL consolidate('norte', 'tmp_deuda', on_reject => 'keep', drop_source => false);
CALL consolidate('norte', 'aux_varscreditored', on_reject => 'keep');
CALL consolidate('sur', 'tmp_deuda', on_reject => 'keep');
CALL consolidate('norte', 'tmp_deuda', on_reject => 'keep');
CREATE VIEW norte.rechazadas AS SELECT source_schema, source_table, coalesce(row_data ->> 'importe', row_data ->> 'impvariable') AS importe
  FROM consolidate_rejected WHERE source_schema IN ('norte', 'sur') ORDER BY 3;
CREATE VIEW norte.registradas AS SELECT source_schema, source_table, state
  FROM consolidate_source WHERE source_schema IN ('norte', 'sur') ORDER BY 1, 2;
TABLE norte.rechazadas;
CALL consolidate_restore('norte', 'tmp_deuda', 1);
SELECT * FROM norte.tmp_deuda_1 ORDER BY 1;
TABLE norte.rechazadas;
TABLE norte.registradas;
SELECT process_id, ok FROM consolidate_verify('norte', 'tmp_deuda');
CALL consolidate_restore('norte', 'tmp_deuda', 1);
\echo :LAST_ERROR_SQLSTATE
-- a key that one family owes is not the other's
UPDATE consolidate_target SET indexed = false WHERE source_schema = 'norte';
ALTER TABLE norte.aux_varscreditored DROP CONSTRAINT pk_aux_varscreditored;
CALL consolidate('norte', 'tmp_deuda', on_reject => 'keep');
SELECT family, indexed FROM consolidate_target WHERE source_schema = 'norte' ORDER BY 1;
SELECT source_schema, family, state, tables_done, rows_done FROM consolidate_run WHERE source_schema IN ('norte', 'sur') ORDER BY started_at;

-- more keys than are kept in memory: those that come twice are found all the same
CREATE TABLE otravez.tmp_deuda_9 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO otravez.tmp_deuda_9 SELECT 1, 1, 1, g FROM generate_series(1, 263000) g;
INSERT INTO otravez.tmp_deuda_9 VALUES (2, 2, 2, 5), (3, 3, 3, 263000), (4, 4, 4, NULL), (5, 5, 5, 0);
SET client_min_messages = warning;	-- how long it takes
CALL consolidate('otravez', 'tmp_deuda', on_reject => 'keep');
SELECT row_data ->> 'importe' AS importe, reason FROM consolidate_rejected WHERE process_id = 9 ORDER BY 1;
SELECT count(*), count(DISTINCT faccnttnum), sum(importe) FROM otravez.tmp_deuda WHERE proceso_id = 9;

DROP SCHEMA otravez, norte, sur CASCADE;
CALL forget_consolidation();
