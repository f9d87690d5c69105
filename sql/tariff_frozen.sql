-- Tariffs with the keys of version 1.0 alone: checksums of whole bills, which were written
-- before a tariff could have other keys.  They must never change.  The tariffs are made
-- by arithmetic, not by random(), so that every version of PostgreSQL makes the same ones.
CREATE FUNCTION pick(seed int, what int, n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
  SELECT (('x' || substr(md5(seed || ' ' || what), 1, 7))::bit(28)::int % n)
$$;
CREATE TABLE frozen_tariff AS
SELECT id, (ARRAY['incremental', 'volume', 'base_excess'])[1 + pick(id, 1, 3)] AS mode, blocks, last_limit,
       jsonb_strip_nulls(jsonb_build_object(
         'mode', (ARRAY['incremental', 'volume', 'base_excess'])[1 + pick(id, 1, 3)],
         'minimum_charge', CASE WHEN pick(id, 2, 3) = 0 THEN pick(id, 3, 300000) * 0.001 END,
         'round_consumption', CASE WHEN pick(id, 4, 3) = 0 AND last_limit IS NULL THEN '["up", "down", "nearest", 0, 1, 3]'::jsonb->pick(id, 5, 6) END,
         'iva_rate', CASE WHEN pick(id, 6, 2) = 0 THEN pick(id, 7, 10000) * 0.0001 END,
         'name', CASE WHEN pick(id, 8, 4) = 0 THEN 'Doméstica' END,
         'additional_concepts', CASE WHEN pick(id, 9, 4) > 0 THEN concepts END,
         'social_discount', CASE WHEN pick(id, 10, 3) = 0 THEN jsonb_build_object('pct', pick(id, 11, 10001) * 0.01, 'applies_to', '["agua", "c1"]'::jsonb) END))
       || jsonb_build_object('blocks', blocks) AS tariff
FROM generate_series(1, 300) id,
LATERAL (
  SELECT jsonb_agg(jsonb_build_object('from_m3', from_m3, 'to_m3', to_m3, 'fixed_charge', fixed,
                                      'price_per_m3', price) ORDER BY ord) AS blocks,
         CASE WHEN bool_and(to_m3 IS NOT NULL) THEN max(to_m3) END AS last_limit
  FROM (
    SELECT ord, coalesce(sum(width) OVER w - width, 0) AS from_m3,
           CASE WHEN ord < n OR pick(id, 12, 8) = 0 THEN sum(width) OVER w END AS to_m3,
           round(pick(id, 1000 + ord, 1000000) * 0.0001, pick(id, 13, 5)) * CASE pick(id, 14, 20) WHEN 0 THEN 1e30 ELSE 1 END AS price,
           CASE WHEN pick(id, 2000 + ord, 3) = 0 THEN pick(id, 3000 + ord, 100000) * 0.001 ELSE 0 END AS fixed
    FROM (SELECT 1 + pick(id, 15, 12) AS n) n, generate_series(1, n) ord,
         LATERAL (SELECT 1 + round(pick(id, 4000 + ord, 30000) * 0.001, pick(id, 16, 4)) AS width) x
    WINDOW w AS (ORDER BY ord)) s) b,
LATERAL (
  SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
           'code', 'c' || i, 'type', CASE WHEN fixed THEN 'fixed' ELSE 'percentage' END,
           'value', CASE WHEN fixed THEN pick(id, 5000 + i, 50000) * 0.001
                         WHEN percent THEN pick(id, 5000 + i, 20000) * 0.01 ELSE pick(id, 5000 + i, 10000) * 0.0001 END,
           'unit', CASE WHEN NOT fixed AND percent THEN 'percent' END,
           'base', CASE WHEN fixed OR pick(id, 6000 + i, 3) = 0 THEN NULL
                        WHEN i = 1 THEN '"agua"'::jsonb ELSE jsonb_build_array('c' || (i - 1), 'agua') END,
           'iva_rate', CASE WHEN pick(id, 7000 + i, 3) = 0 THEN pick(id, 8000 + i, 100) * 0.01 END)) ORDER BY i) AS concepts
  FROM (SELECT i, pick(id, 9000 + i, 5) < 2 AS fixed, pick(id, 9500 + i, 3) = 0 AS percent
        FROM generate_series(1, 1 + pick(id, 17, 3)) i) c) c;
CREATE TABLE frozen_case AS
SELECT id, i, tariff, mode, m3, units, period, last_limit,
       CASE WHEN pick(id, 20000 + i, 3) = 0 THEN 0.16 END AS iva, CASE WHEN pick(id, 21000 + i, 4) = 0 THEN 33.33 END AS discount
FROM frozen_tariff, generate_series(1, 30) i,
LATERAL (SELECT CASE WHEN pick(id, 22000 + i, 4) = 0 THEN 2 + pick(id, 23000 + i, 9) ELSE 1 END AS units,
                CASE WHEN pick(id, 24000 + i, 4) = 0 THEN 0.001 + pick(id, 25000 + i, 3000) * 0.001 ELSE 1 END AS period) f,
LATERAL (SELECT CASE pick(id, 26000 + i, 10) WHEN 0 THEN 0 WHEN 1 THEN coalesce((blocks->0->>'to_m3')::numeric, 10) * units * period
                ELSE pick(id, 27000 + i, 250000) * 0.001 END AS m3) m
WHERE last_limit IS NULL OR m3 <= last_limit * units * period;
SELECT count(*) FILTER (WHERE NOT tariff_is_valid(tariff)) AS invalid, md5(string_agg(tariff::text, '' ORDER BY id)) AS tariffs FROM frozen_tariff;
CREATE VIEW frozen_bill AS
SELECT mode, count(*), md5(string_agg(tariff_bill(tariff, m3, NULL, iva, discount, units, period)::text, '' ORDER BY id, i)) AS bills,
       md5(string_agg((tariff_charge(tariff, m3))::text, '' ORDER BY id, i) FILTER (WHERE last_limit IS NULL)) AS charges
FROM frozen_case GROUP BY mode;
SELECT * FROM frozen_bill ORDER BY mode;
SET aquacis.tariff_force_numeric = on;
SELECT * FROM frozen_bill ORDER BY mode;
RESET aquacis.tariff_force_numeric;
DROP VIEW frozen_bill;
DROP TABLE frozen_case, frozen_tariff;
DROP FUNCTION pick;
