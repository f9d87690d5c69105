-- Random sources against the slow and obvious way: of the rows whose values the
-- target's types hold unchanged and whose keys are not null, the first of each
-- key; everything else is rejected.
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
CREATE SCHEMA oraculo;
SELECT consolidate_define('oraculo', '^azar_(\d+)$', 'azar', '{k,t}',
  '{k numeric(5\,1),t varchar(3),a integer,b bigint,n numeric(6\,2),f float8,d date,x text}') IS NULL AS defined;
SELECT consolidate_define('oraculo_int', '^entero_(\d+)$', 'entero', '{k}', '{k integer,v numeric}') IS NULL AS defined;
CREATE TABLE oraculo.esperado (p bigint, k numeric(5,1), t varchar(3), a integer, b bigint, n numeric(6,2), f float8, d date, x text);
CREATE TABLE oraculo.rechazado (p bigint, rows bigint);
CREATE TABLE oraculo.todo (p bigint, row_data jsonb);
SELECT setseed(0.4242) IS NULL AS seeded;

DO $$
DECLARE
  ktype text; ttype text; atype text; btype text; ntype text; cols text[]; fits text;
BEGIN
  FOR i IN 1 .. 120 LOOP
    ktype := (ARRAY['numeric(5,1)', 'numeric', 'integer', 'smallint', 'bigint', 'numeric(12,3)'])[1 + floor(random() * 6)];
    ttype := (ARRAY['varchar(3)', 'text', 'varchar', 'varchar(9)'])[1 + floor(random() * 4)];
    atype := (ARRAY['integer', 'bigint', 'smallint', 'numeric', 'numeric(10,0)'])[1 + floor(random() * 5)];
    btype := (ARRAY['bigint', 'numeric', 'integer', 'numeric(30,5)'])[1 + floor(random() * 4)];
    ntype := (ARRAY['numeric(6,2)', 'numeric', 'numeric(8,4)', 'integer', 'bigint'])[1 + floor(random() * 5)];
    -- any order of columns, sometimes with one that was dropped
    SELECT array_agg(c ORDER BY random()) INTO cols
    FROM unnest(ARRAY['k ' || ktype, 't ' || ttype, 'a ' || atype, 'b ' || btype, 'n ' || ntype, 'f float8', 'd date', 'x text']) c;
    EXECUTE format('CREATE TABLE oraculo.azar_%s (%s sobra text, %s)', i, CASE WHEN i % 3 = 0 THEN 'antes int,' ELSE '' END, array_to_string(cols, ', '));
    EXECUTE format('ALTER TABLE oraculo.azar_%s DROP sobra, DROP IF EXISTS antes', i);
    EXECUTE format($f$
      INSERT INTO oraculo.azar_%s (k, t, a, b, n, f, d, x)
      SELECT CASE WHEN r1 < 0.03 THEN NULL WHEN r1 < 0.05 AND %L ~ 'numeric' THEN 'NaN'::numeric
                  WHEN r1 < 0.07 AND %L <> 'numeric(5,1)' THEN 30000 WHEN r1 < 0.10 THEN (r2 * 50)::int / 4.0 ELSE (r2 * %s)::int END::%s,
             CASE WHEN r3 < 0.03 THEN NULL WHEN r3 < 0.06 AND %L <> 'varchar(3)' THEN 'ñoño' WHEN r3 < 0.1 THEN '' ELSE chr(97 + (r3 * 3)::int) || 'é' END::%s,
             CASE WHEN r4 < 0.1 THEN NULL WHEN r4 < 0.13 AND %L <> 'smallint' THEN 2147483647 WHEN r4 < 0.16 AND %L ~ 'big|numeric' THEN 2147483648
                  WHEN r4 < 0.18 AND %L = 'numeric' THEN 1.5 ELSE (r4 * 30000)::int END::%s,
             CASE WHEN r5 < 0.1 THEN NULL WHEN r5 < 0.13 AND %L <> 'integer' THEN 9223372036854775807 WHEN r5 < 0.15 AND %L ~ 'numeric' THEN 9223372036854775808
                  ELSE (r5 * 1000)::int END::%s,
             CASE WHEN r6 < 0.1 THEN NULL WHEN r6 < 0.13 AND %L ~ 'numeric' THEN 'NaN'::numeric WHEN r6 < 0.15 AND %L = 'numeric' THEN 'Infinity'::numeric
                  WHEN r6 < 0.18 AND %L !~ '^numeric.6' THEN 9999.99 WHEN r6 < 0.20 AND %L !~ '^numeric.[68]' THEN 10000 ELSE round((r6 * 100)::numeric, 3) END::%s,
             (ARRAY['NaN', 'Infinity', '-0', NULL, (r1 * 7)::text])[1 + (r2 * 4)::int]::float8, '2024-01-01'::date + (r3 * 10)::int,
             CASE WHEN r4 < 0.01 THEN repeat('muy largo ', 2000) ELSE md5(r5::text) END
      FROM (SELECT random() r1, random() r2, random() r3, random() r4, random() r5, random() r6 FROM generate_series(1, %s) OFFSET 0) r $f$,
      i, ktype, ktype, 1 + (random() * 400)::int, ktype, ttype, ttype, atype, atype, atype, atype, btype, btype, btype,
      ntype, ntype, ntype, ntype, ntype, CASE WHEN i % 40 = 0 THEN 20000 WHEN i % 10 = 0 THEN 0 ELSE (random() * 300)::int END);
    EXECUTE format('INSERT INTO oraculo.todo SELECT %s, to_jsonb(s) FROM (SELECT k, t, a, b, n, f::text, d, x FROM oraculo.azar_%1$s) s', i);
    fits := $w$ k IS NOT NULL AND t IS NOT NULL
      AND (k::numeric = 'NaN' OR abs(k::numeric) < 10000 AND round(k::numeric, 1) = k::numeric) AND length(t) <= 3
      AND (a IS NULL OR a::numeric <> 'NaN' AND a::numeric BETWEEN -2147483648 AND 2147483647 AND a::numeric = trunc(a::numeric))
      AND (b IS NULL OR b::numeric <> 'NaN' AND b::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 AND b::numeric = trunc(b::numeric))
      AND (n IS NULL OR n::numeric = 'NaN' OR abs(n::numeric) < 10000 AND round(n::numeric, 2) = n::numeric) $w$;
    EXECUTE format('INSERT INTO oraculo.esperado SELECT %s, k, t, a, b, n, f, d, x FROM
      (SELECT *, row_number() OVER (PARTITION BY k::numeric, t ORDER BY ctid) AS nth FROM oraculo.azar_%1$s WHERE %s) s WHERE nth = 1', i, fits);
    EXECUTE format('INSERT INTO oraculo.rechazado SELECT %s, count(*) - (SELECT count(*) FROM oraculo.esperado WHERE p = %1$s) FROM oraculo.azar_%1$s', i);
  END LOOP;
END $$;
SELECT count(*) > 8000 AS many, count(DISTINCT p) > 90 AS processes FROM oraculo.esperado;
SELECT sum(rows) > 5000 AS many_rejected FROM oraculo.rechazado;

-- the plan knows how many (autovacuum may be at work on a table, hence lock_wait)
SELECT count(*) FROM consolidate_plan('oraculo', 'oraculo') c JOIN oraculo.rechazado r ON r.p = c.process_id
WHERE coalesce(substring(c.problem FROM '^(\d+) of')::bigint, 0) <> r.rows;
CALL consolidate('oraculo', 'oraculo', on_reject => 'keep', batch => 7, lock_wait => '5 min');
SELECT state, tables_done, tables_skipped, rows_done = (SELECT count(*) FROM oraculo.esperado) AS rows_right,
       rows_rejected = (SELECT sum(rows) FROM oraculo.rechazado) AS rejects_right FROM consolidate_progress;
SELECT count(*) FROM ((SELECT * FROM oraculo.esperado EXCEPT ALL SELECT proceso_id, k, t, a, b, n, f, d, x FROM oraculo.azar)
  UNION ALL (SELECT proceso_id, k, t, a, b, n, f, d, x FROM oraculo.azar EXCEPT ALL SELECT * FROM oraculo.esperado)) d;
SELECT count(*) FROM (SELECT process_id, count(*) FROM consolidate_rejected GROUP BY 1) a (p, n) FULL JOIN oraculo.rechazado r USING (p)
WHERE coalesce(a.n, 0) <> r.rows;
SELECT count(*), count(*) FILTER (WHERE ok) FROM consolidate_verify('oraculo', 'oraculo');
-- and back: every row, the rejected ones too
CALL consolidate_restore('oraculo', 'oraculo');
CREATE TABLE oraculo.vuelta (p bigint, row_data jsonb);
DO $$ BEGIN
  FOR i IN 1 .. 120 LOOP
    EXECUTE format('INSERT INTO oraculo.vuelta SELECT %s, to_jsonb(s) FROM (SELECT k, t, a, b, n, f::text, d, x FROM oraculo.azar_%1$s) s', i);
  END LOOP;
END $$;
SELECT count(*) FROM ((SELECT * FROM oraculo.todo EXCEPT ALL SELECT * FROM oraculo.vuelta) UNION ALL (SELECT * FROM oraculo.vuelta EXCEPT ALL SELECT * FROM oraculo.todo)) d;

-- integer keys: in order, shuffled, with few duplicates, with nothing else; more than are kept in memory
CREATE TABLE oraculo.entero_1 AS SELECT g AS k, g::numeric AS v FROM generate_series(1, 300000) g;
CREATE TABLE oraculo.entero_2 AS SELECT ((g::bigint * 7919) % 1100009)::integer AS k, g::numeric AS v FROM generate_series(1, 1100000) g;
INSERT INTO oraculo.entero_2 SELECT 17, -g FROM generate_series(1, 5) g;
CREATE TABLE oraculo.entero_3 AS SELECT g % 100000 AS k, g::numeric AS v FROM generate_series(1, 150000) g;
CREATE TABLE oraculo.entero_4 AS SELECT 5 AS k, g::numeric AS v FROM generate_series(1, 3000) g;
CREATE TABLE oraculo.entero_5 AS SELECT -2147483648 AS k, 1::numeric AS v UNION ALL SELECT 2147483647, 2 UNION ALL SELECT 0, 3;
ALTER TABLE oraculo.entero_5 ALTER k TYPE integer;
SELECT table_name, row_count, CASE WHEN problem !~ 'in use' THEN problem END AS problem FROM consolidate_plan('oraculo', 'oraculo_int');
CALL consolidate('oraculo', 'oraculo_int', on_reject => 'keep', lock_wait => '5 min');
SELECT proceso_id, count(*), count(DISTINCT k), sum(v) FROM oraculo.entero GROUP BY 1 ORDER BY 1;
SELECT process_id, count(*), sum((row_data ->> 'v')::numeric) FROM consolidate_rejected GROUP BY 1 ORDER BY 1;
SELECT process_id, ok FROM consolidate_verify('oraculo', 'oraculo_int');

DROP SCHEMA oraculo CASCADE;
CALL forget_consolidation();
