-- Random tariffs and consumptions against a slow, obvious reference in SQL over
-- numeric, for every function, in fixed point and in numeric.
-- AQUACIS_TEST_SCALE=10 in the environment makes it ten times as many.  The run
-- with the extension in a schema of its own is about names, not digits: a tenth.
\set scale `echo ${AQUACIS_TEST_SCALE:-1}`
SELECT CASE to_regnamespace('own') IS NULL WHEN true THEN :scale ELSE :scale * 0.1 END AS scale \gset
SET client_min_messages = warning;
SELECT setseed(0.17) IS NOT NULL AS seeded;

-- ---- tariffs: 2,000 of 1 to 250 blocks, limits and prices of 0 to 9 decimals
CREATE TABLE diff_block AS
SELECT tariff_id, ord, from_m3, to_m3, price, fixed, n_blocks
FROM (
  SELECT t.*, ord,
         coalesce(sum(width) OVER w - width, 0) AS from_m3,
         CASE WHEN ord < n_blocks OR finite THEN sum(width) OVER w END AS to_m3,
         round((random() * 10 ^ (random() * 3 - 1))::numeric, price_decimals) * factor AS price,
         CASE WHEN random() < 0.3 THEN round((random() * 100)::numeric, 2) ELSE 0 END AS fixed
  FROM (
    SELECT id AS tariff_id, random() < 0.15 AS finite,
           CASE WHEN random() < 0.8 THEN 1 + floor(random() * 8)
                WHEN random() < 0.8 THEN 9 + floor(random() * 32)
                ELSE 41 + floor(random() * 210) END::int AS n_blocks,
           (ARRAY[0, 0, 0, 1, 2, 3, 9])[1 + floor(random() * 7)] AS limit_decimals,
           (ARRAY[2, 2, 2, 0, 4, 6, 9])[1 + floor(random() * 7)] AS price_decimals,
           CASE WHEN random() < 0.95 THEN 1 WHEN random() < 0.5 THEN 1e30 ELSE 1e-30 END::numeric AS factor
    FROM generate_series(1, (2000 * :scale)::int) id) t,
  LATERAL (
    SELECT ord, round((random() * 30)::numeric, limit_decimals) + 10 ^ (-limit_decimals)::numeric AS width
    FROM generate_series(1, n_blocks) ord) b
  WINDOW w AS (PARTITION BY tariff_id ORDER BY ord)) s;
CREATE UNIQUE INDEX ON diff_block (tariff_id, ord);

CREATE TABLE diff_tariff AS
SELECT tariff_id, mode, minimum, rounding, what_round, iva, discount, bare,
       CASE WHEN bare THEN blocks
            ELSE jsonb_strip_nulls(jsonb_build_object(
              'mode', mode, 'minimum_charge', minimum, 'round_consumption', rounding, 'round', what_round, 'iva_rate', iva,
              'additional_concepts', concepts, '_note', 'ignored',
              'social_discount', CASE WHEN discount IS NOT NULL THEN jsonb_build_object('pct', discount) END))
            || jsonb_build_object('blocks', blocks) END AS tariff,
       concepts, last_limit
FROM (
  SELECT tariff_id, random() < 0.25 AS bare,
         jsonb_agg(jsonb_build_object(
           'from_m3', from_m3, 'to_m3', to_m3,
           'price_per_m3', CASE WHEN random() < 0.1 THEN to_jsonb(price::text) ELSE to_jsonb(price) END,
           'fixed_charge', fixed) ORDER BY ord) AS blocks,
         CASE WHEN bool_and(to_m3 IS NOT NULL) THEN max(to_m3) END AS last_limit
  FROM diff_block GROUP BY tariff_id) b,
LATERAL (
  SELECT (ARRAY['incremental', 'incremental', 'volume', 'base_excess'])[1 + floor(random() * 4)] AS mode,
         CASE WHEN random() < 0.3 THEN round((random() * 300)::numeric, 3) END AS minimum,
         CASE WHEN random() < 0.4 AND last_limit IS NULL THEN ('["up", "down", "nearest", 0, 1, 3]'::jsonb)->floor(random() * 6)::int END AS rounding,
         CASE WHEN random() < 0.4 THEN 'block' WHEN random() < 0.1 THEN 'line' END AS what_round,
         CASE WHEN random() < 0.5 THEN round(random()::numeric, 4) END AS iva,
         CASE WHEN random() < 0.3 THEN round((random() * 100)::numeric, 2) END AS discount
  WHERE b.tariff_id > 0) m,
LATERAL (
  SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
           'code', 'c' || i, 'type', CASE WHEN percentage THEN 'percentage' ELSE 'fixed' END,
           'value', CASE WHEN NOT percentage THEN round((random() * 50)::numeric, 3)
                         WHEN percent THEN round((random() * 200)::numeric, 2)
                         ELSE round(random()::numeric, 4) END,
           'unit', CASE WHEN percentage AND percent THEN 'percent' END,
           'base', CASE WHEN NOT percentage OR random() < 0.3 THEN NULL
                        WHEN i = 1 OR random() < 0.5 THEN to_jsonb('agua'::text)
                        ELSE jsonb_build_array('c' || (i - 1), 'agua') END,
           'iva_rate', CASE WHEN random() < 0.3 THEN round(random()::numeric, 2) END)) ORDER BY i) AS concepts
  FROM (SELECT i, random() < 0.6 AS percentage, random() < 0.3 AS percent
        FROM generate_series(1, floor(random() * 4)::int) i WHERE b.tariff_id > 0) c) c;
UPDATE diff_tariff SET mode = 'incremental', minimum = NULL, rounding = NULL, what_round = NULL, iva = NULL, discount = NULL,
                       concepts = NULL WHERE bare;
ALTER TABLE diff_tariff ADD PRIMARY KEY (tariff_id);
SELECT count(*) FILTER (WHERE NOT tariff_is_valid(tariff)) AS invalid, count(*) >= 200 AS enough,
       min(n_blocks) AS fewest, max(n_blocks) > 200 AS many, count(*) FILTER (WHERE what_round = 'block') >= 30 AS rounded
FROM diff_tariff JOIN diff_block USING (tariff_id) WHERE ord = 1;

-- ---- consumptions: 110 a tariff; 0, limits hit exactly, one above, huge
CREATE TABLE diff_case AS
SELECT row_number() OVER () AS case_id, tariff_id, units, period, m3, arg_iva, arg_discount
FROM (
  SELECT t.tariff_id, units, period, arg_iva, arg_discount, last_limit,
         CASE WHEN kind < 0.05 THEN 0
              WHEN kind < 0.35 THEN coalesce(b.to_m3, b.from_m3) * f
              WHEN kind < 0.45 THEN coalesce(b.to_m3, b.from_m3) * f + 10 ^ (-floor(random() * 10))::numeric
              WHEN kind < 0.50 THEN greatest(b.from_m3 * f - 0.001, 0)
              WHEN kind < 0.55 THEN round((random() * 1e12)::numeric, 9)
              ELSE round((random() * 1.3)::numeric * coalesce(b.to_m3, b.from_m3 + 20) * f,
                         (ARRAY[0, 3, 3, 6, 9])[1 + floor(random() * 5)]) END AS m3
  FROM diff_tariff t CROSS JOIN generate_series(1, 110) i CROSS JOIN LATERAL (
    SELECT random() AS kind, random() AS pick, CASE WHEN random() < 0.75 THEN 1 ELSE 2 + floor(random() * 19) END::int AS units,
           CASE WHEN random() < 0.75 THEN 1 WHEN random() < 0.5 THEN 2
                ELSE round((random() * 3)::numeric, 6) + 0.000001 END::numeric AS period,
           CASE WHEN random() < 0.3 THEN round(random()::numeric, 4) END AS arg_iva,
           CASE WHEN random() < 0.3 THEN round((random() * 100)::numeric, 2) END AS arg_discount
    WHERE i > 0) r
  CROSS JOIN LATERAL (SELECT units * period AS f) f
  JOIN diff_block b ON b.tariff_id = t.tariff_id AND b.ord = 1 + floor(pick * b.n_blocks)::int) s
WHERE last_limit IS NULL OR m3 <= last_limit * units * period;
CREATE INDEX ON diff_case (tariff_id);
ANALYZE diff_case, diff_block, diff_tariff;

-- ---- the reference
CREATE FUNCTION ref_blocks(id int, mode text, m3 numeric, factor numeric, what_round text)
RETURNS TABLE (ord int, from_m3 numeric, to_m3 numeric, quantity numeric, price numeric, fixed numeric, amount numeric)
LANGUAGE sql STABLE AS $$
  SELECT ord, from_m3, to_m3, quantity, price, fixed,
         CASE what_round WHEN 'block' THEN round(fixed + quantity * price, 2) ELSE fixed + quantity * price END
  FROM (
    SELECT ord, b.from_m3 * factor AS from_m3, b.to_m3 * factor AS to_m3, b.price, b.fixed * factor AS fixed,
           CASE mode WHEN 'volume' THEN m3
                     WHEN 'base_excess' THEN m3 - b.from_m3 * factor
                     ELSE least(m3, coalesce(b.to_m3 * factor, m3)) - b.from_m3 * factor END AS quantity,
           lead(b.ord) OVER (ORDER BY b.ord) IS NULL AS is_reached
    FROM diff_block b
    WHERE b.tariff_id = id AND (b.ord = 1 OR m3 > b.from_m3 * factor)) s
  WHERE mode = 'incremental' OR is_reached
$$;

-- a / b with so many decimals, in whole numbers
CREATE FUNCTION ref_divide(a numeric, b numeric, decimals int, how text) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE how WHEN 'up' THEN -div(-a * 10::numeric ^ decimals, b)
                    + CASE WHEN mod(a * 10::numeric ^ decimals, b) > 0 THEN 1 ELSE 0 END
                  WHEN 'down' THEN div(a * 10::numeric ^ decimals, b)
                  ELSE div(2 * a * 10::numeric ^ decimals + b, 2 * b) END
         * 10::numeric ^ -decimals
$$;

-- quantity, unit price, subtotal, discount, rate, IVA and total of each line
CREATE FUNCTION ref_lines(t diff_tariff, m3 numeric, arg_iva numeric, arg_discount numeric, units int, period numeric)
RETURNS numeric[] LANGUAGE plpgsql STABLE AS $$
DECLARE
  billed numeric := m3;
  how text := t.rounding #>> '{}';
  water numeric;
  line jsonb;
  base text;
  base_amount numeric;
  subtotals jsonb;
  discount numeric;
  rate numeric;
  result numeric[] := '{}';
  subtotal numeric;
  net numeric;
BEGIN
  IF how IN ('up', 'down', 'nearest') THEN
    billed := ref_divide(m3, units, 0, how) * units;
  ELSIF how IS NOT NULL THEN
    billed := ref_divide(m3, units, how::int, 'nearest') * units;
  END IF;
  SELECT round(greatest(sum(amount), t.minimum * period), 2) INTO water
  FROM ref_blocks(t.tariff_id, t.mode, billed, units * period, t.what_round);

  subtotals := jsonb_build_object('agua', water);
  FOR line IN SELECT '{"code": "agua"}' UNION ALL SELECT * FROM jsonb_array_elements(t.concepts) LOOP
    IF line->>'code' = 'agua' THEN
      subtotal := water;
      discount := round(water * coalesce(arg_discount, t.discount, 0) * 0.01, 2);
    ELSE
      IF line->>'type' = 'fixed' THEN
        subtotal := round((line->>'value')::numeric, 2);
      ELSE
        base_amount := 0;
        IF line->'base' IS NULL THEN
          SELECT sum(value::numeric) INTO base_amount FROM jsonb_each_text(subtotals);
        ELSIF jsonb_typeof(line->'base') = 'string' THEN
          base_amount := (subtotals->>(line->>'base'))::numeric;
        ELSE
          FOR base IN SELECT * FROM jsonb_array_elements_text(line->'base') LOOP
            base_amount := base_amount + (subtotals->>base)::numeric;
          END LOOP;
        END IF;
        subtotal := round(base_amount * (line->>'value')::numeric
                          * CASE WHEN line->>'unit' = 'percent' THEN 0.01 ELSE 1 END, 2);
      END IF;
      subtotals := subtotals || jsonb_build_object(line->>'code', subtotal);
      discount := 0.00;
    END IF;
    rate := coalesce((line->>'iva_rate')::numeric, arg_iva, t.iva, 0);
    net := subtotal - discount;
    result := result || ARRAY[[
      CASE WHEN line->>'code' = 'agua' AND billed > 0 THEN trim_scale(billed) ELSE 1 END,
      CASE WHEN line->>'code' = 'agua' AND billed > 0 THEN round(ref_divide(subtotal, billed, 6, 'nearest'), 6)
           ELSE round(subtotal, 6) END,
      subtotal, discount, trim_scale(rate), round(net * rate, 2), net + round(net * rate, 2)]];
  END LOOP;
  RETURN result;
END $$;

CREATE TABLE diff_expected AS
SELECT case_id, ref_lines(t, m3, arg_iva, arg_discount, units, period) AS lines,
       (SELECT round(greatest(sum(amount), t.minimum), 2)
        FROM ref_blocks(t.tariff_id, t.mode, m3, 1, t.what_round)) AS charge
FROM diff_case JOIN diff_tariff t USING (tariff_id);
CREATE UNIQUE INDEX ON diff_expected (case_id);

-- ---- every function, in both arithmetics
-- what takes longest looks at every fourth case, in numeric at every 24th
CREATE FUNCTION step() RETURNS int LANGUAGE sql STABLE AS $$
  SELECT CASE current_setting('aquacis.tariff_force_numeric') WHEN 'on' THEN 24 ELSE 4 END
$$;
CREATE VIEW diff_lines AS
SELECT c.case_id, array_agg(ARRAY[l.quantity, l.unit_price, l.subtotal, l.discount, l.iva_rate,
                                  l.iva_amount, l.total] ORDER BY l.sort_order) AS lines
FROM diff_case c JOIN diff_tariff t USING (tariff_id),
LATERAL tariff_lines(t.tariff, c.m3, iva_rate => c.arg_iva, social_discount_pct => c.arg_discount,
                     units_served => c.units, period_factor => c.period) l
GROUP BY c.case_id;

-- as text: the same digits, not only the same value
SELECT count(*) >= 200000 * :scale AS enough, count(*) FILTER (WHERE l.lines::text IS DISTINCT FROM e.lines::text) AS different
FROM diff_expected e LEFT JOIN diff_lines l USING (case_id);

CREATE TABLE diff_plain AS
SELECT case_id, tariff, m3, t.mode, t.minimum, t.what_round, t.tariff_id, e.charge
FROM diff_case c JOIN diff_tariff t USING (tariff_id) JOIN diff_expected e USING (case_id)
WHERE t.rounding IS NULL AND (t.last_limit IS NULL OR m3 <= t.last_limit);
SELECT count(*) FILTER (WHERE tariff_charge(tariff, m3)::text IS DISTINCT FROM charge::text) AS different FROM diff_plain;

CREATE VIEW diff_rows AS
SELECT count(*) FILTER (WHERE NOT is_equal) AS different FROM (
  SELECT b.n IS NOT DISTINCT FROM r.n AND b.rows IS NOT DISTINCT FROM r.rows AND b.total = p.charge AS is_equal
  FROM diff_plain p,
  LATERAL (SELECT count(block) AS n, round(sum(amount), 2) AS total,
                  array_agg(ARRAY[block, from_m3, to_m3, quantity, price_per_m3, fixed_charge, amount] ORDER BY block)
                    FILTER (WHERE block IS NOT NULL) AS rows
           FROM tariff_blocks(p.tariff, p.m3)) b,
  LATERAL (SELECT count(*) AS n,
                  array_agg(ARRAY[ord, from_m3, to_m3, quantity, price, fixed, amount] ORDER BY ord) AS rows
           FROM ref_blocks(p.tariff_id, p.mode, p.m3, 1, p.what_round)) r
  WHERE p.case_id % step() = 0) s;
SELECT * FROM diff_rows;

-- tariff_bill is tariff_lines and their sums; the blocks in tariff_detail sum to the
-- water line, without rounding if blocks are rounded
CREATE VIEW diff_bill AS
SELECT count(*) FILTER (WHERE b.bill->'lines' IS DISTINCT FROM l.lines) AS other_lines,
       count(*) FILTER (WHERE ARRAY[b.bill->>'subtotal', b.bill->>'discount', b.bill->>'iva', b.bill->>'total']
                              IS DISTINCT FROM ARRAY[l.subtotal, l.discount, l.iva, l.total]::text[]) AS other_sums,
       count(*) FILTER (WHERE l.water IS DISTINCT FROM CASE t.what_round WHEN 'block' THEN l.exact ELSE l.blocks END) AS other_blocks
FROM diff_case c JOIN diff_tariff t USING (tariff_id),
LATERAL (SELECT tariff_bill(t.tariff, c.m3, NULL, c.arg_iva, c.arg_discount, c.units, c.period) AS bill) b,
LATERAL (SELECT jsonb_agg(to_jsonb(l) ORDER BY sort_order) AS lines, sum(subtotal) AS subtotal,
                sum(discount) AS discount, sum(iva_amount) AS iva, sum(total) AS total,
                max(subtotal) FILTER (WHERE sort_order = 1) AS water,
                max((SELECT round(sum((x->>'amount')::numeric), 2)
                     FROM jsonb_array_elements(tariff_detail->'blocks') x)) FILTER (WHERE sort_order = 1) AS blocks,
                max((SELECT sum((x->>'amount')::numeric)
                     FROM jsonb_array_elements(tariff_detail->'blocks') x)) FILTER (WHERE sort_order = 1) AS exact
         FROM tariff_lines(t.tariff, c.m3, NULL, c.arg_iva, c.arg_discount, c.units, c.period) l) l
WHERE c.case_id % step() = 0;
SELECT * FROM diff_bill;

SET aquacis.tariff_force_numeric = on;
SELECT count(*) >= 200000 * :scale AS enough, count(*) FILTER (WHERE l.lines::text IS DISTINCT FROM e.lines::text) AS different
FROM diff_expected e LEFT JOIN diff_lines l USING (case_id);
SELECT count(*) FILTER (WHERE tariff_charge(tariff, m3)::text IS DISTINCT FROM charge::text) AS different FROM diff_plain;
SELECT * FROM diff_rows;
SELECT * FROM diff_bill;
RESET aquacis.tariff_force_numeric;

-- and with numerics read and written over text, as where their layout is unknown
SET aquacis.tariff_force_text = on;
SELECT count(*) FILTER (WHERE tariff_charge(tariff, m3)::text IS DISTINCT FROM charge::text) AS different FROM diff_plain;
SELECT count(*) > 400 AS enough, count(*) FILTER (WHERE l.lines::text IS DISTINCT FROM e.lines::text) AS different
FROM diff_expected e JOIN diff_lines l USING (case_id) WHERE case_id % 40 = 0;
RESET aquacis.tariff_force_text;

-- concepts as an argument are the same concepts
SELECT count(*) > 400 AS enough, count(*) FILTER (WHERE a.bill IS DISTINCT FROM b.bill) AS different
FROM (SELECT * FROM diff_case ORDER BY case_id LIMIT 5000) c JOIN diff_tariff t USING (tariff_id),
LATERAL (SELECT tariff_bill(t.tariff, c.m3) AS bill) a,
LATERAL (SELECT tariff_bill(CASE WHEN t.bare THEN t.tariff ELSE t.tariff - 'additional_concepts' END, c.m3,
                            t.concepts) AS bill) b
WHERE t.last_limit IS NULL OR c.m3 <= t.last_limit;

DROP VIEW diff_lines, diff_rows, diff_bill;
DROP TABLE diff_plain, diff_expected;
DROP FUNCTION ref_lines, ref_divide, ref_blocks, step;
DROP TABLE diff_case, diff_tariff, diff_block;
