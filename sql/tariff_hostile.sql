-- Tariffs nobody would write and calls nobody would make: an answer or an error.
\set VERBOSITY terse

-- 1e308 and 1e-300
SELECT tariff_charge('[{"from_m3": 0, "price_per_m3": 1e308}]', 1e-300), tariff_charge('[{"from_m3": 0, "price_per_m3": 1e-300}]', 1e300);
SELECT length(tariff_charge('[{"from_m3": 0, "price_per_m3": 1e308, "fixed_charge": 1e-300}]', 1e308)::text) AS digits;
SELECT length(b->>'total') AS digits, b->'lines'->1->'subtotal' AS tiny FROM tariff_bill(
  '{"blocks": [{"from_m3": 0, "to_m3": 1e308, "price_per_m3": 1e-300}], "minimum_charge": 1e300}', 1e307,
  '[{"code": "x", "type": "percentage", "value": 1e-300}]', units_served => 2147483647, period_factor => 1e-9) b;

-- nested deep, where it is ignored and where it is not
SELECT tariff_charge(format('{"_x": %s%s, "blocks": [{"from_m3": 0, "price_per_m3": 1}]}', repeat('[', 1000), repeat(']', 1000))::jsonb, 2);
SELECT unnest(tariff_errors((repeat('[', 1000) || repeat(']', 1000))::jsonb));
SELECT unnest(tariff_errors(format('{"blocks": %s%s}', repeat('{"blocks":', 1000), '1' || repeat('}', 1000))::jsonb));
-- a key given twice: jsonb keeps the last
SELECT tariff_charge('[{"from_m3": 0, "price_per_m3": 1, "price_per_m3": 7}]', 1);

-- 10 MB, ignored, and where a number or a code should be
SELECT tariff_charge(jsonb_build_object('_note', repeat('x', 10000000), 'blocks', '[{"from_m3": 0, "price_per_m3": 1}]'::jsonb), 2);
SELECT unnest(tariff_errors(jsonb_build_array(jsonb_build_object('from_m3', 0, 'price_per_m3', repeat('9', 10000000),
  repeat('ñ', 5000000), 1))));
SELECT unnest(tariff_errors(jsonb_build_array(jsonb_build_object('from_m3', repeat('é', 50), 'price_per_m3', 1))));
SELECT unnest(tariff_errors(jsonb_build_object('blocks', '[{"from_m3": 0, "price_per_m3": 1}]'::jsonb, 'additional_concepts',
  jsonb_build_array(jsonb_build_object('code', repeat('x', 1000000), 'type', repeat('ö', 100), 'value', 1, 'base', 'y')))));
-- more concepts than a bill has room for
SELECT count(*), max(f) FROM unnest(tariff_errors(jsonb_build_object('blocks', '[{"from_m3": 0, "price_per_m3": 1}]'::jsonb,
  'additional_concepts', (SELECT jsonb_agg(jsonb_build_object('code', 'c' || i, 'type', 'fixed', 'value', i)) FROM generate_series(1, 1002) i)))) f;
SELECT count(*), max(f) FROM unnest(tariff_errors(jsonb_build_object('blocks', '[{"from_m3": 0, "price_per_m3": 1}]'::jsonb,
  'social_discount', jsonb_build_object('pct', 1, 'applies_to', (SELECT jsonb_agg('c' || i) FROM generate_series(1, 1002) i))))) f;
SELECT count(*), sum(total) FROM tariff_lines('[{"from_m3": 0, "price_per_m3": 1}]', 1,
  (SELECT jsonb_agg(jsonb_build_object('code', 'c' || i, 'type', 'percentage', 'value', 0)) FROM generate_series(1, 1000) i));

-- 100,000 blocks
CREATE TABLE hostile AS
SELECT jsonb_agg(jsonb_build_object('from_m3', i, 'to_m3', i + 1, 'price_per_m3', 0.01 * (i % 100), 'fixed_charge', 0.001) ORDER BY i) AS tariff
FROM generate_series(0, 99999) i;
SELECT tariff_is_valid(tariff), cardinality(tariff_errors(tariff)), tariff_charge(tariff, 0), tariff_charge(tariff, 50000.5),
       tariff_charge(tariff, 100000) FROM hostile;
SELECT count(*), sum(amount) FROM hostile, tariff_blocks(tariff, 100000);
SELECT cardinality(tariff_errors(jsonb_agg('{}'::jsonb))) FROM generate_series(1, 100000);
SET aquacis.tariff_force_numeric = on;
SELECT tariff_charge(tariff, 50000.5), tariff_charge(tariff, 100000) FROM hostile;
-- cancelled in the middle of it
SET statement_timeout = '30ms';
SELECT count(*) FROM hostile, tariff_blocks(tariff, 100000);
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
RESET aquacis.tariff_force_numeric;
SET statement_timeout = '10ms';
SELECT count(*) FROM generate_series(1, 1000) i, hostile WHERE tariff_is_valid(tariff || jsonb_build_array(i));
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
DROP TABLE hostile;

-- the cache of parsed tariffs: more tariffs than it holds, in any order, of every
-- way to store them
CREATE TABLE many (id int PRIMARY KEY, storage text, tariff jsonb);
ALTER TABLE many ALTER tariff SET STORAGE EXTERNAL;
INSERT INTO many SELECT i, 'short', format('[{"from_m3": 0, "price_per_m3": %s}]', i)::jsonb FROM generate_series(0, 1499) i;
INSERT INTO many SELECT i, 'external', jsonb_build_object('_note', repeat('x', 3000), 'blocks', format('[{"from_m3": 0, "price_per_m3": %s}]', i)::jsonb) FROM generate_series(1500, 2499) i;
ALTER TABLE many ALTER tariff SET STORAGE EXTENDED;
INSERT INTO many SELECT i, 'compressed', jsonb_build_object('_note', repeat('x', 8000), 'blocks', format('[{"from_m3": 0, "price_per_m3": %s}]', i)::jsonb) FROM generate_series(2500, 2999) i;
SELECT storage, min(pg_column_size(tariff)) < 127 AS short FROM many GROUP BY storage ORDER BY storage;
SELECT count(*) AS calls, count(*) FILTER (WHERE charge <> id * 2) AS wrong
FROM (SELECT id, tariff_charge(tariff, 2) AS charge FROM many, generate_series(1, 3) ORDER BY md5(id::text)) s;
SELECT count(*) AS calls, count(*) FILTER (WHERE charge <> id * 2) AS wrong
FROM (SELECT id, tariff_charge(tariff, 2) AS charge FROM (SELECT * FROM generate_series(1, 20000) i JOIN many ON id = i * 7 % 3000 OFFSET 0) s) s;
-- one call site, a tariff that changes between calls, within one statement
DO $$
DECLARE
  got numeric;
  kept jsonb;
BEGIN
  FOR i IN 1..100 LOOP
    UPDATE many SET tariff = jsonb_build_object('_note', repeat('x', 3000) || i, 'blocks', format('[{"from_m3": 0, "price_per_m3": %s}]', i)::jsonb) WHERE id = i % 3;
    SELECT tariff_charge(tariff, 3) INTO got FROM many WHERE id = i % 3;
    IF got <> i * 3 THEN RAISE 'charge % for price %', got, i; END IF;
    SELECT tariff INTO kept FROM many WHERE id = i % 3;
    IF tariff_charge(kept, 1) <> i OR (SELECT sum(total) FROM tariff_lines(kept, 1)) <> i THEN RAISE 'price %', i; END IF;
    BEGIN
      PERFORM tariff_charge('[]', 1);
      RAISE 'not refused';
    EXCEPTION WHEN invalid_parameter_value THEN NULL;
    END;
  END LOOP;
END $$;
PREPARE charge(jsonb) AS SELECT tariff_charge($1, 2);
EXECUTE charge('[{"from_m3": 0, "price_per_m3": 1}]');
EXECUTE charge('[{"from_m3": 0, "price_per_m3": 2}]');
SET plan_cache_mode = force_generic_plan;
EXECUTE charge('[{"from_m3": 0, "price_per_m3": 3}]');
EXECUTE charge('[{"from_m3": 0, "price_per_m3": 4}]');
RESET plan_cache_mode;
DEALLOCATE charge;
-- concepts by the row, too
SELECT count(*) FILTER (WHERE total <> 1 + i) AS wrong FROM generate_series(1, 2000) i,
  LATERAL (SELECT sum(total) AS total FROM tariff_lines('[{"from_m3": 0, "price_per_m3": 1}]', 1,
    CASE WHEN i > 0 THEN jsonb_build_array(jsonb_build_object('code', 'c', 'type', 'fixed', 'value', i)) END)) l;

-- in parallel
ALTER TABLE many SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT sum(tariff_charge(tariff, 2)) FROM many WHERE id > 2;
SELECT sum(tariff_charge(tariff, 2)) AS parallel FROM many WHERE id > 2;
SET max_parallel_workers_per_gather = 0;
SELECT sum(tariff_charge(tariff, 2)) AS serial FROM many WHERE id > 2;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- first what is cheap, then the check, then what raises an error, in whatever order they are written
EXPLAIN (COSTS OFF) SELECT id FROM many WHERE tariff_charge(tariff, 2) > 3 AND tariff_is_valid(tariff) AND storage = 'short';
EXPLAIN (COSTS OFF) SELECT id FROM many WHERE tariff_charge(tariff, 2) > 3 AND cardinality(tariff_errors(tariff)) = 0 AND storage = 'short';
SELECT proname, procost, prorows FROM pg_proc WHERE proname LIKE 'tariff\_%'
  AND pronamespace = (SELECT extnamespace FROM pg_extension WHERE extname = 'aquacis') ORDER BY 1;

-- immutable: in an index and a generated column
CREATE TABLE charged (tariff jsonb, m3 numeric, charge numeric GENERATED ALWAYS AS (tariff_charge(tariff, m3)) STORED);
INSERT INTO charged SELECT tariff, id FROM many WHERE id BETWEEN 10 AND 12;
CREATE INDEX ON charged (tariff_charge(tariff, m3));
SELECT charge, tariff_charge(tariff, m3) = charge AS same FROM charged ORDER BY charge;
DROP TABLE charged, many;

-- ready for the table that takes the lines
CREATE TABLE invoice_lines (
  invoice_id int NOT NULL, concept_code varchar(20) NOT NULL, concept_name varchar(200) NOT NULL,
  quantity decimal(12, 3) DEFAULT 1, unit_price decimal(12, 4) DEFAULT 0, subtotal decimal(12, 2) NOT NULL DEFAULT 0,
  iva_rate decimal(5, 4) DEFAULT 0, iva_amount decimal(12, 2) DEFAULT 0, total decimal(12, 2) NOT NULL DEFAULT 0,
  tariff_detail jsonb, clave_prod_serv varchar(10), clave_unidad varchar(5), sort_order int DEFAULT 0);
INSERT INTO invoice_lines (invoice_id, concept_code, concept_name, quantity, unit_price, subtotal, iva_rate, iva_amount, total,
                           tariff_detail, clave_prod_serv, clave_unidad, sort_order)
SELECT account, concept_code, concept_name, quantity, unit_price, subtotal, iva_rate, iva_amount, total,
       tariff_detail, clave_prod_serv, clave_unidad, sort_order
FROM generate_series(1, 1000) account, tariff_lines('[{"from_m3": 0, "price_per_m3": 7.77}]', account / 10.0,
  '[{"code": "saneamiento", "type": "percentage", "value": 0.1}]', 0.16);
SELECT count(*), sum(total) FROM invoice_lines;
DROP TABLE invoice_lines;
