-- See bench/tariff.  Run by it; needs a superuser (for the backend's CPU time).
\pset footer off
\pset null ''
SET client_min_messages = warning;
CREATE EXTENSION aquacis;

-- ---- what is billed
CREATE TABLE tariffs AS
SELECT 'four' AS kind, i AS id, jsonb_build_array(
  jsonb_build_object('from_m3', 0, 'to_m3', 10, 'price_per_m3', 5.50 + i * 0.01, 'fixed_charge', 45.00),
  jsonb_build_object('from_m3', 10, 'to_m3', 20, 'price_per_m3', 8.75, 'fixed_charge', 0),
  jsonb_build_object('from_m3', 20, 'to_m3', 40, 'price_per_m3', 15.30, 'fixed_charge', 0),
  jsonb_build_object('from_m3', 40, 'to_m3', null, 'price_per_m3', 25.00, 'fixed_charge', 0)) AS blocks
FROM generate_series(0, 49) i;
INSERT INTO tariffs
SELECT '250', 0, jsonb_agg(jsonb_build_object('from_m3', i * 0.25, 'to_m3', CASE WHEN i < 249 THEN i * 0.25 + 0.25 END,
                                              'price_per_m3', 5.5 + i * 0.01, 'fixed_charge', 0) ORDER BY i)
FROM generate_series(0, 249) i;
CREATE TABLE concepts AS SELECT '[
  {"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"},
  {"code": "saneamiento", "name": "Saneamiento", "type": "fixed", "value": 15.00}]'::jsonb AS concepts;
SELECT setseed(0.5) \g /dev/null
CREATE TABLE accounts AS
SELECT i AS id, 0 AS one, i % 50 AS fifty, round((random() * 60)::numeric, 3)::numeric(10, 3) AS m3
FROM generate_series(1, :accounts) i;
ALTER TABLE accounts SET (parallel_workers = 1);
VACUUM ANALYZE accounts, tariffs, concepts;

-- ---- what a team would write
CREATE FUNCTION plpgsql_charge(blocks jsonb, m3 numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  block jsonb;
  lower numeric;
  upper numeric;
  charge numeric := 0;
BEGIN
  FOR block IN SELECT * FROM jsonb_array_elements(blocks) LOOP
    lower := (block->>'from_m3')::numeric;
    upper := (block->>'to_m3')::numeric;
    EXIT WHEN lower > 0 AND m3 <= lower;
    charge := charge + coalesce((block->>'fixed_charge')::numeric, 0)
              + (least(m3, coalesce(upper, m3)) - lower) * (block->>'price_per_m3')::numeric;
  END LOOP;
  RETURN round(charge, 2);
END $$;
CREATE FUNCTION sql_charge(blocks jsonb, m3 numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT round(sum(coalesce((b->>'fixed_charge')::numeric, 0)
                   + (least(m3, coalesce((b->>'to_m3')::numeric, m3)) - (b->>'from_m3')::numeric) * (b->>'price_per_m3')::numeric), 2)
  FROM jsonb_array_elements(blocks) b
  WHERE (b->>'from_m3')::numeric = 0 OR m3 > (b->>'from_m3')::numeric
$$;

-- ---- measuring
CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql VOLATILE AS $$
  SELECT (split_part(s, ' ', 12)::float8 + split_part(s, ' ', 13)::float8) / 100
  FROM regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', '') s
$$;
CREATE TABLE measured (what text, round int, seconds float8, calls float8);
-- runs each statement in turn, :rounds times
CREATE PROCEDURE measure(rounds int, clock boolean, VARIADIC statements text[]) LANGUAGE plpgsql AS $$
DECLARE
  started float8;
BEGIN
  FOR round IN 0 .. rounds LOOP       -- the first is the warm-up
    FOR i IN 1 .. array_length(statements, 1) BY 3 LOOP
      started := CASE WHEN clock THEN extract(epoch FROM clock_timestamp()) ELSE cpu() END;
      EXECUTE statements[i + 1];
      INSERT INTO measured SELECT statements[i], round,
        CASE WHEN clock THEN extract(epoch FROM clock_timestamp()) ELSE cpu() END - started, statements[i + 2]::float8
      WHERE round > 0;
    END LOOP;
  END LOOP;
END $$;
CREATE VIEW cost AS
SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds, max(calls) AS calls FROM measured GROUP BY what;
CREATE FUNCTION cost(what text) RETURNS float8 LANGUAGE sql STABLE AS 'SELECT seconds / calls FROM cost c WHERE c.what = $1';

SET max_parallel_workers_per_gather = 0;
SELECT :accounts / 8 AS some, (SELECT quote_literal(blocks) FROM tariffs WHERE kind = 'four' AND id = 0) AS four,
       (SELECT quote_literal(blocks) FROM tariffs WHERE kind = '250') AS many \gset
CALL measure(5, false,
  'scan', 'SELECT sum(m3) FROM accounts', :'accounts',
  'one tariff', format('SELECT sum(tariff_charge(%s, m3)) FROM accounts', :'four'), :'accounts',
  'one tariff, joined', 'SELECT sum(tariff_charge(blocks, m3)) FROM accounts a JOIN tariffs t ON t.id = a.one AND kind = ''four''', :'accounts',
  '50 tariffs', 'SELECT sum(tariff_charge(blocks, m3)) FROM accounts a JOIN tariffs t ON t.id = a.fifty AND kind = ''four''', :'accounts',
  '250 blocks', format('SELECT sum(tariff_charge(%s, m3)) FROM accounts', :'many'), :'accounts',
  '250 blocks, joined', 'SELECT sum(tariff_charge(blocks, m3)) FROM accounts a JOIN tariffs t ON t.id = a.one AND kind = ''250''', :'accounts');
CALL measure(3, false,
  'plpgsql', format('SELECT sum(plpgsql_charge(%s, m3)) FROM accounts WHERE id <= %s', :'four', :'some'), :'some',
  'sql', format('SELECT sum(sql_charge(%s, m3)) FROM accounts WHERE id <= %s', :'four', :'some'), :'some',
  'plpgsql, 50 tariffs', format('SELECT sum(plpgsql_charge(blocks, m3)) FROM accounts a JOIN tariffs t ON t.id = a.fifty AND kind = ''four'' WHERE a.id <= %s', :'some'), :'some');

\echo
\echo 'one core: sum(tariff_charge(tariff, m3)) over all accounts, the scan and the sum included'
SELECT what, round((cost(what) * 1e6)::numeric, 3) AS "µs a bill", to_char(1 / cost(what), '99,999,999') AS "bills/s",
       round((cost(beside) / cost(what))::numeric, 1) AS "times", beside AS "faster than"
FROM (VALUES (1, 'plpgsql', NULL), (2, 'sql', NULL), (3, 'one tariff', 'plpgsql'), (4, 'one tariff', 'sql'),
             (5, 'one tariff, joined', 'plpgsql'), (6, 'plpgsql, 50 tariffs', NULL), (7, '50 tariffs', 'plpgsql, 50 tariffs'),
             (8, '250 blocks', NULL), (9, '250 blocks, joined', NULL), (10, 'scan', NULL)) v (n, what, beside) ORDER BY n;
SELECT round((cost('250 blocks') / cost('one tariff'))::numeric, 2) AS "250 blocks : 4 blocks",
       round((cost('250 blocks, joined') / cost('one tariff, joined'))::numeric, 2) AS "joined, stored out of line";

-- ---- lines into a table: the same rows, computed or only copied
CREATE TABLE finished AS
SELECT a.id, l.* FROM accounts a JOIN tariffs t ON t.id = a.one AND kind = 'four', concepts c,
  tariff_lines(t.blocks, a.m3, c.concepts, iva_rate => 0.16) l;
VACUUM ANALYZE finished;
CREATE TABLE bare (LIKE finished);
CREATE TABLE invoice_lines (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), invoice_id int NOT NULL, concept_code varchar(20) NOT NULL,
  concept_name varchar(200) NOT NULL, quantity decimal(12, 3) DEFAULT 1, unit_price decimal(12, 4) DEFAULT 0,
  subtotal decimal(12, 2) NOT NULL DEFAULT 0, iva_rate decimal(5, 4) DEFAULT 0, iva_amount decimal(12, 2) DEFAULT 0,
  total decimal(12, 2) NOT NULL DEFAULT 0, tariff_detail jsonb, clave_prod_serv varchar(10), clave_unidad varchar(5),
  sort_order int DEFAULT 0, created_at timestamptz DEFAULT now());
\set columns 'invoice_id, concept_code, concept_name, quantity, unit_price, subtotal, iva_rate, iva_amount, total, tariff_detail, clave_prod_serv, clave_unidad, sort_order'
\set values 'concept_code, concept_name, quantity, unit_price, subtotal, iva_rate, iva_amount, total, tariff_detail, clave_prod_serv, clave_unidad, sort_order'
\set lines 'FROM accounts a JOIN tariffs t ON t.id = a.one AND kind = ''four'', concepts c, tariff_lines(t.blocks, a.m3, c.concepts, iva_rate => 0.16) l'
SELECT 'INSERT INTO invoice_lines (' || :'columns' || ') ' AS into_lines \gset
CALL measure(3, false,
  'copied', 'INSERT INTO bare SELECT * FROM finished', :'accounts',
  'no lines', 'TRUNCATE bare', '1',
  'computed', format('INSERT INTO bare SELECT a.id, l.* %s', :'lines'), :'accounts',
  'no lines', 'TRUNCATE bare', '1');
CALL measure(2, false,
  'copied, invoice_lines', format('%s SELECT id, %s FROM finished', :'into_lines', :'values'), :'accounts',
  'no lines', 'TRUNCATE invoice_lines', '1',
  'computed, invoice_lines', format('%s SELECT a.id, %s %s', :'into_lines', replace(:'values', 'iva_rate', 'l.iva_rate'), :'lines'), :'accounts',
  'no lines', 'TRUNCATE invoice_lines', '1');
\echo 'tariff_lines: 3 lines an account written into a table'
SELECT into_what AS "table", round((cost(copied) * 1e6)::numeric, 2) AS "finished rows, µs an account",
       round((cost(computed) * 1e6)::numeric, 2) AS "computed", round((cost(computed) / cost(copied))::numeric, 2) AS ratio
FROM (VALUES ('no index', 'copied', 'computed'),
             ('invoice_lines, uuid key', 'copied, invoice_lines', 'computed, invoice_lines')) v (into_what, copied, computed);

-- ---- both cores
SET max_parallel_workers_per_gather = 1;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT format('SELECT %s FROM accounts', string_agg(format('sum(tariff_charge(%s, m3 + %s))', :'four', i), ' + ')) AS ten
FROM generate_series(0, 9) i \gset
CALL measure(5, true, 'two processes, clock', :'ten', :'accounts');
CALL measure(3, false, 'two processes, leader', :'ten', :'accounts');
SET max_parallel_workers_per_gather = 0;
CALL measure(5, true, 'one process, clock', :'ten', :'accounts');
CALL measure(3, false, 'one process, leader', :'ten', :'accounts');
\echo 'parallel query, ten charges an account; on a busy machine the second core is somebody else''s'
SELECT measured_by AS "measured by", round((cost('one process, ' || measured_by) * 1e6)::numeric, 3) AS "one process, µs",
       round((cost('two processes, ' || measured_by) * 1e6)::numeric, 3) AS "two processes",
       round((cost('one process, ' || measured_by) / cost('two processes, ' || measured_by))::numeric, 2) AS ratio
FROM unnest(ARRAY['clock', 'leader']) measured_by;
