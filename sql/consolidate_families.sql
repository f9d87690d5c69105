-- The whole life of the three built-in families, with their real columns.
SET client_min_messages = warning;
CREATE SCHEMA vida;
CREATE TABLE vida.antes (p bigint, importe numeric, numfacturas int, facsocemi int, faccnttnum int);
DO $$
BEGIN
  FOR i IN 1 .. 120 LOOP
    EXECUTE format('CREATE TABLE vida.tmp_deuda_%s (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer) WITH (autovacuum_enabled = false)', 1779864 + i);
    IF i % 4 = 1 THEN
      EXECUTE format('INSERT INTO vida.tmp_deuda_%s SELECT g * 1.25, g %% 5, 1, g * 3 FROM generate_series(1, 10 + %s) g', 1779864 + i, i);
    END IF;
    -- a copy to compare with
    EXECUTE format('INSERT INTO vida.antes SELECT %s, importe, numfacturas, facsocemi, faccnttnum FROM vida.tmp_deuda_%1$s', 1779864 + i);
  END LOOP;
  FOR i IN 1 .. 5 LOOP
    EXECUTE format('CREATE TABLE vida.aux_varscreditored_%s (cnttnum integer, impvariable numeric(18,2), impvaranterior numeric(18,2))', 3018530 + i);
  END LOOP;
  FOR i IN 1 .. 3 LOOP
    EXECUTE format('CREATE TABLE vida.tmpbb_%s (bbfbleid numeric(10,0), bbsbid numeric(10,0), bbcnttnum numeric(10,0), bbaplicacion numeric(5,0), bbfecini date, bbfecfin date, bbvardel numeric(5,0), bbexpdid numeric(5,0), bbcptodel numeric(5,0), bbtariddel numeric(5,0), bbctponew numeric(5,0), bbtaridnew numeric(5,0), bbfecfinbonif date, bbfecinitar date)', 4562590 + i);
  END LOOP;
END $$;
INSERT INTO vida.aux_varscreditored_3018531 SELECT g, g / 4.0, NULL FROM generate_series(1, 100) g;
INSERT INTO vida.tmpbb_4562591
SELECT g, g + 1, 400000 - g, 1, '2024-01-01'::date + g, NULL, 1, 2, 3, 4, 5, 6, 'infinity', '-infinity' FROM generate_series(1, 50) g;
RESET client_min_messages;

-- the plan changes nothing: not one row of the catalogs it could touch
CREATE FUNCTION vida.catalog_state() RETURNS text LANGUAGE sql AS $$
  SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (
    SELECT 'c' || c.oid || c.xmin || c.ctid FROM pg_class c WHERE c.relnamespace = 'vida'::regnamespace
    UNION ALL SELECT 'a' || a.attrelid || a.attnum || a.xmin FROM pg_attribute a WHERE a.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'vida'::regnamespace)
    UNION ALL SELECT 'd' || d.objid || d.refobjid || d.xmin FROM pg_depend d WHERE d.refobjid IN (SELECT oid FROM pg_class WHERE relnamespace = 'vida'::regnamespace)
    UNION ALL SELECT 's' || s.* FROM consolidate_source s
    UNION ALL SELECT 'r' || r.* FROM consolidate_run r
    UNION ALL SELECT 'p' || p.* FROM consolidate_problem p) t (x) $$;
SELECT vida.catalog_state() AS state \gset
SELECT count(*) AS tables, sum(row_count) AS rows, count(problem) AS problems, min(process_id), max(process_id)
FROM consolidate_plan('vida', 'tmp_deuda');
SELECT table_name, process_id, row_count, byte_size > 0 AS has_bytes, problem FROM consolidate_plan('vida', 'tmpbb');
SELECT vida.catalog_state() = :'state' AS nothing_changed;

SET client_min_messages = warning;
CALL consolidate('vida', 'tmp_deuda');
RESET client_min_messages;
CALL consolidate('vida', 'aux_varscreditored');
CALL consolidate('vida', 'tmpbb', batch => 2);
\d vida.tmp_deuda
\d vida.aux_varscreditored
\d vida.tmpbb
SELECT obj_description('vida.tmp_deuda'::regclass);
SELECT count(*) AS sources_left FROM pg_class WHERE relnamespace = 'vida'::regnamespace AND relname ~ '_\d+$';

-- the rows are there, all of them, once
(SELECT proceso_id, importe, numfacturas, facsocemi, faccnttnum FROM vida.tmp_deuda EXCEPT ALL SELECT * FROM vida.antes)
UNION ALL
(SELECT * FROM vida.antes EXCEPT ALL SELECT proceso_id, importe, numfacturas, facsocemi, faccnttnum FROM vida.tmp_deuda);
SELECT count(*), sum(importe), count(created_at) FROM vida.tmp_deuda;
SELECT proceso_id, bbfbleid, bbcnttnum, bbfecini, bbfecfin, bbvardel, bbfecfinbonif, bbfecinitar FROM vida.tmpbb WHERE bbcnttnum = 399999;

SELECT source_schema, family, state, tables_total, tables_done, tables_skipped, tables_left, rows_done, rows_rejected,
       rows_left_estimated, tables_per_second > 0 AS has_rate, eta IS NULL AS no_eta, finished_at >= started_at AS ended, last_error, problems
FROM consolidate_progress WHERE source_schema = 'vida' ORDER BY family;
SELECT count(*), count(*) FILTER (WHERE ok), sum(rows_now) FROM consolidate_verify('vida', 'tmp_deuda');
SELECT * FROM consolidate_verify('vida', 'aux_varscreditored');
SELECT process_id, rows_recorded, ok FROM consolidate_verify('vida', 'tmpbb');

-- the checksum sees a changed value, a missing row, a row too many, and not the order of rows
BEGIN;
UPDATE vida.tmp_deuda SET importe = importe + 0.01 WHERE proceso_id = 1779865 AND faccnttnum = 3;
DELETE FROM vida.tmp_deuda WHERE proceso_id = 1779869 AND faccnttnum = 3;
INSERT INTO vida.tmp_deuda (proceso_id, faccnttnum) VALUES (1779873, 1), (1779866, 1);
UPDATE vida.tmp_deuda SET importe = importe WHERE proceso_id = 1779877;
UPDATE vida.tmp_deuda SET importe = CASE faccnttnum WHEN 3 THEN 2.50 ELSE 1.25 END WHERE proceso_id = 1779881 AND faccnttnum IN (3, 6);
SELECT process_id, rows_recorded, rows_now, ok FROM consolidate_verify('vida', 'tmp_deuda') WHERE NOT ok OR process_id = 1779877;
ROLLBACK;

-- again: nothing to do; a new table is taken, and seen before by re_accumulation
CALL consolidate('vida', 'tmp_deuda');
SELECT source_schema, family, table_name, process_id FROM re_accumulation;
CREATE TABLE vida.tmp_deuda_2000000 (LIKE vida.tmp_deuda EXCLUDING ALL);
ALTER TABLE vida.tmp_deuda_2000000 DROP proceso_id, DROP created_at, ALTER faccnttnum DROP NOT NULL;
INSERT INTO vida.tmp_deuda_2000000 VALUES (5, 5, 5, 5);
SELECT source_schema, family, table_name, process_id FROM re_accumulation;
SELECT * FROM consolidate_plan('vida', 'tmp_deuda');
CALL consolidate('vida', 'tmp_deuda');
SELECT source_schema, family, table_name, process_id FROM re_accumulation;
SELECT process_id, rows_now, ok FROM consolidate_verify('vida', 'tmp_deuda') WHERE process_id = 2000000;

-- copied and kept, then dropped by a second call without copying again
CREATE TABLE vida.tmp_deuda_2000001 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO vida.tmp_deuda_2000001 VALUES (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, NULL);
CALL consolidate('vida', 'tmp_deuda', drop_source => false, on_reject => 'keep');
CALL consolidate('vida', 'tmp_deuda', drop_source => false, on_reject => 'keep');
SELECT count(*) FROM vida.tmp_deuda_2000001;
SELECT source_schema, family, table_name, process_id FROM re_accumulation;
-- ... unless it has changed since
INSERT INTO vida.tmp_deuda_2000001 VALUES (4, 4, 4, 4);
CALL consolidate('vida', 'tmp_deuda', on_reject => 'keep');
DELETE FROM vida.tmp_deuda_2000001 WHERE importe = 4;
CALL consolidate('vida', 'tmp_deuda');
SELECT to_regclass('vida.tmp_deuda_2000001') IS NULL AS dropped;
SELECT proceso_id, importe FROM vida.tmp_deuda WHERE proceso_id = 2000001;
SELECT process_id, source_table, row_data, reason FROM consolidate_rejected;
SELECT process_id, state, row_count, rejected_count FROM consolidate_source WHERE process_id = 2000001;

SET client_min_messages = warning;
DROP SCHEMA vida CASCADE;
CALL forget_consolidation();
