-- "round": "block": a bill of blocks, each of 2 decimals, as a system keeps it that stores
-- one row a block.  The figures were worked out by hand.
CREATE TABLE rounded AS SELECT what, t AS exact, t || '{"round": "block"}' AS tariff FROM (VALUES
  ('three blocks', '{"blocks": [{"from_m3": 0, "to_m3": 10, "price_per_m3": 5.7774, "fixed_charge": 47.1645},
    {"from_m3": 10, "to_m3": 20, "price_per_m3": 9.1720}, {"from_m3": 20, "to_m3": null, "price_per_m3": 16.0409}]}'::jsonb),
  ('halves', '{"blocks": [{"from_m3": 0, "to_m3": 1, "price_per_m3": 0.005}, {"from_m3": 1, "to_m3": 2, "price_per_m3": 0.005},
    {"from_m3": 2, "price_per_m3": 0.004}]}'),
  ('minimum', '{"minimum_charge": 0.025, "blocks": [{"from_m3": 0, "to_m3": 1, "price_per_m3": 0.005},
    {"from_m3": 1, "price_per_m3": 0.005}]}')) v (what, t);

-- at 13 m3 104.9385 + 27.516 is 132.4545, so 132.45; but 104.94 + 27.52 = 132.46;
-- at 25 m3 104.9385 + 91.72 + 80.2045 is 276.86, and so is 104.94 + 91.72 + 80.20;
-- at 3 m3 64.4967: one block, no difference
SELECT m3, tariff_charge(exact, m3) AS line, tariff_charge(tariff, m3) AS block,
       (SELECT array_agg(amount ORDER BY block) FROM tariff_blocks(tariff, m3)) AS amounts
FROM rounded, unnest('{0, 3, 10, 13, 25, 33, 57}'::numeric[]) m3 WHERE what = 'three blocks' ORDER BY m3;
-- every half is rounded away from zero: 0.01 + 0.01 + 0.00
SELECT m3, tariff_charge(exact, m3) AS line, tariff_charge(tariff, m3) AS block,
       (SELECT array_agg(amount ORDER BY block) FROM tariff_blocks(tariff, m3)) AS amounts
FROM rounded, unnest('{0, 1, 2, 3}'::numeric[]) m3 WHERE what = 'halves' ORDER BY m3;
-- the minimum is rounded first, 0.03: at 1 m3 0.01 + 0.02; at 2 m3 0.02 + 0.01; 9 m3 are above it
SELECT m3, tariff_charge(exact, m3) AS line, tariff_charge(tariff, m3) AS block,
       (SELECT array_agg(coalesce(block::text, 'minimum') || ': ' || amount ORDER BY block) FROM tariff_blocks(tariff, m3)) AS amounts
FROM rounded, unnest('{0, 1, 2, 3, 9}'::numeric[]) m3 WHERE what = 'minimum' ORDER BY m3;

-- dwellings and period scale first, then the amount is rounded: 3 x 0.005 = 0.015 a block
SELECT units, period, l.subtotal, jsonb_path_query_array(tariff_detail, '$.blocks[*].amount') AS amounts, tariff_detail->'round' AS round
FROM rounded, (VALUES (3, 1), (1, 3), (3, 0.5)) v (units, period), tariff_lines(tariff, 5, units_served => units, period_factor => period) l
WHERE what = 'halves' ORDER BY units, period;
-- "line" is what a tariff without the key does, and the detail does not mention it
SELECT count(*), count(*) FILTER (WHERE tariff_bill(exact || '{"round": "line"}', m3) IS DISTINCT FROM tariff_bill(exact, m3)) AS other
FROM rounded, generate_series(0, 60, 0.5) m3;

-- with one block on a bill there is nothing to add up: the same charge
SELECT mode, count(*), count(*) FILTER (WHERE tariff_charge(tariff || mode, m3) <> tariff_charge(exact || mode, m3)) AS other
FROM rounded, (VALUES ('{"mode": "volume"}'::jsonb), ('{"mode": "base_excess"}')) m (mode), generate_series(0, 60, 0.25) m3
GROUP BY mode ORDER BY mode;

-- a mixed check over many m3, in fixed point and in numeric: the sum of the rounded
-- blocks of the unrounded tariff, and how often that is another charge
CREATE VIEW round_check AS
SELECT count(*), count(*) FILTER (WHERE tariff_charge(tariff, m3)::text IS DISTINCT FROM
         (SELECT sum(round(amount, 2)) FROM tariff_blocks(exact, m3))::text) AS wrong,
       count(*) FILTER (WHERE tariff_charge(tariff, m3) <> tariff_charge(exact, m3)) AS other_than_line
FROM rounded, generate_series(0, 90, 0.125) m3 WHERE what = 'three blocks';
SELECT * FROM round_check;
SET aquacis.tariff_force_numeric = on;
SELECT * FROM round_check;
RESET aquacis.tariff_force_numeric;

-- numbers beyond 128 bits: three times 0.005
SELECT tariff_charge(t, 25e30) AS block, tariff_charge(t - 'round', 25e30) AS line
FROM (VALUES ('{"round": "block", "blocks": [{"from_m3": 0, "to_m3": 1e31, "price_per_m3": 5e-34},
  {"from_m3": 1e31, "to_m3": 2e31, "price_per_m3": 5e-34}, {"from_m3": 2e31, "price_per_m3": 1e-33}]}'::jsonb)) v (t);

DROP VIEW round_check;
DROP TABLE rounded;
