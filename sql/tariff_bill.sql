-- What a bill says: the worked numbers of the documentation and every rule of
-- pricing, one at a time.
\set dom '\'[{"from_m3": 0, "to_m3": 10, "price_per_m3": 5.50, "fixed_charge": 45.00}, {"from_m3": 10, "to_m3": 20, "price_per_m3": 8.75, "fixed_charge": 0}, {"from_m3": 20, "to_m3": 40, "price_per_m3": 15.30, "fixed_charge": 0}, {"from_m3": 40, "to_m3": null, "price_per_m3": 25.00, "fixed_charge": 0}]\'::jsonb'
\set con '\'[{"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"}, {"code": "saneamiento", "name": "Saneamiento", "type": "fixed", "value": 15.00}]\'::jsonb'

-- the worked bill of docs/tariff.md
SELECT tariff_charge(:dom, 25);
SELECT * FROM tariff_blocks(:dom, 25);
SELECT concept_code, subtotal, discount, iva_amount, total
FROM tariff_lines(:dom, 25, :con, iva_rate => 0.16, social_discount_pct => 30);
SELECT bill->'subtotal' AS subtotal, bill->'discount' AS discount, bill->'iva' AS iva, bill->'total' AS total
FROM (VALUES (tariff_bill(:dom, 25, :con)),
             (tariff_bill(:dom, 25, :con, iva_rate => 0.16)),
             (tariff_bill(:dom, 25, :con, social_discount_pct => 30)),
             (tariff_bill(:dom, 25, :con, iva_rate => 0.16, social_discount_pct => 30))) v (bill);
SELECT * FROM tariff_lines(:dom, 25, :con, iva_rate => 0.16);
SELECT jsonb_pretty(tariff_bill(:dom, 12.5, :con, 0.16, 10)->'lines'->0);

-- limits are (from, to]: 10 m3 belongs to the block that ends at 10
SELECT m3, tariff_charge(:dom, m3), (SELECT max(block) FROM tariff_blocks(:dom, m3)) AS reached
FROM unnest(ARRAY[0, 0.001, 9.999, 10, 10.001, 20, 20.001, 40, 40.001, 1e9]) m3;

-- modes; 0 m3 costs the first fixed charge, later ones are due above their limit
\set steps '{"blocks": [{"from_m3": 0, "to_m3": 10, "price_per_m3": 1, "fixed_charge": 20}, {"from_m3": 10, "to_m3": 30, "price_per_m3": 2, "fixed_charge": 35}, {"from_m3": 30, "price_per_m3": 3, "fixed_charge": 80}]}'
SELECT m3, tariff_charge(t, m3) AS incremental,
       tariff_charge(t || '{"mode": "volume"}', m3) AS volume,
       tariff_charge(t || '{"mode": "base_excess"}', m3) AS base_excess
FROM (SELECT :'steps'::jsonb AS t) t, unnest(ARRAY[0, 10, 10.5, 30, 31]) m3;
SELECT * FROM tariff_blocks(:'steps'::jsonb || '{"mode": "volume"}', 31);
SELECT * FROM tariff_blocks(:'steps'::jsonb || '{"mode": "base_excess"}', 31);

-- rounding: a line once, half away from zero
SELECT m3, tariff_charge('[{"from_m3": 0, "price_per_m3": 0.5}]', m3)
FROM unnest(ARRAY[0.009, 0.01, 0.0299, 0.03, 1.005, 1.015]) m3;
SELECT tariff_charge('[{"from_m3": 0, "to_m3": 1, "price_per_m3": 0.333}, {"from_m3": 1, "price_per_m3": 0.333}]', 3.5) AS not_block_by_block;

-- consumption: rounded after it is divided among the dwellings
SELECT how, m3, units, quantity, subtotal
FROM unnest(ARRAY['null', '"up"', '"down"', '"nearest"', '0', '1', '"1"']::jsonb[]) WITH ORDINALITY h (how, o),
     (VALUES (10.4, 1), (10.5, 1), (10, 3), (10, 4)) v (m3, units),
     tariff_lines(:'steps'::jsonb || jsonb_build_object('round_consumption', how), m3, units_served => units)
ORDER BY o, m3, units;

-- dwellings: each has its own limits and fixed charges, the minimum is the account's
SELECT units, tariff_charge(:'steps'::jsonb, 24 / units::numeric) * units AS one_by_one, subtotal, tariff_detail
FROM unnest(ARRAY[1, 2, 3, 24]) units, tariff_lines(:'steps'::jsonb, 24, units_served => units);
SELECT units, b->'lines'->0->'subtotal' AS water
FROM unnest(ARRAY[1, 2]) units, tariff_bill(:'steps'::jsonb || '{"minimum_charge": 55}', 0, units_served => units) b;

-- period factor: limits, fixed charges and the minimum; fixed concepts stay
SELECT factor, b->'lines'->0->'subtotal' AS water, b->'lines'->1->'subtotal' AS fixed_concept
FROM unnest(ARRAY[0.5, 1, 2, 1.016667]) factor,
     tariff_bill(:'steps'::jsonb || '{"minimum_charge": 55}', 8, '[{"code": "x", "type": "fixed", "value": 15}]',
                 period_factor => factor) b;

-- the minimum: what it adds is a row of its own, so that the rows sum to the charge
SELECT tariff_charge(:'steps'::jsonb || '{"minimum_charge": 33.335}', 3);
SELECT * FROM tariff_blocks(:'steps'::jsonb || '{"minimum_charge": 33.335}', 3);
SELECT tariff_detail FROM tariff_lines(:'steps'::jsonb || '{"minimum_charge": 33.335, "name": "Mixta"}', 3);

-- concepts: bases, units, order, rates of their own, SAT codes
SELECT concept_code, concept_name, subtotal, iva_rate, iva_amount, total, tariff_detail, clave_prod_serv, clave_unidad
FROM tariff_lines('{"iva_rate": 0.08, "blocks": [{"from_m3": 0, "price_per_m3": 10}], "additional_concepts": [
  {"code": "alcantarillado", "type": "percentage", "value": 25, "unit": "percent", "iva_rate": 0.16},
  {"code": "saneamiento", "name": "Saneamiento", "type": "fixed", "value": "15.005", "iva_rate": 0},
  {"code": "cruz_roja", "type": "percentage", "value": 0.1, "base": ["saneamiento", "agua"],
   "clave_prod_serv": "84101600", "clave_unidad": "ACT"},
  {"code": "recargo", "type": "percentage", "value": 1.2, "unit": "fraction", "base": "cruz_roja"},
  {"code": "todo", "type": "percentage", "value": 1}]}', 10.001);
-- an argument takes the place of the tariff's own; so do rate and discount
\set own '{"iva_rate": 0.08, "social_discount": {"pct": 50, "applies_to": ["agua", "saneamiento"]}, "blocks": [{"from_m3": 0, "price_per_m3": 10}], "additional_concepts": [{"code": "saneamiento", "type": "fixed", "value": 20}]}'
SELECT b->'subtotal' AS subtotal, b->'discount' AS discount, b->'iva' AS iva, b->'total' AS total
FROM (VALUES (tariff_bill(:'own', 10)), (tariff_bill(:'own', 10, '[]')), (tariff_bill(:'own', 10, 'null')),
             (tariff_bill(:'own', 10, '[{"code": "x", "type": "fixed", "value": 7}]')),
             (tariff_bill(:'own', 10, iva_rate => 0)), (tariff_bill(:'own', 10, social_discount_pct => 0)),
             (tariff_bill(:'own', 10, social_discount_pct => 100))) v (b);
SELECT concept_code, discount FROM tariff_lines('{"social_discount": {"pct": 50}, "blocks": [{"from_m3": 0, "price_per_m3": 10}],
  "additional_concepts": [{"code": "saneamiento", "type": "fixed", "value": 20}]}', 1);

-- no m3, no quantity 0: CFDI has no such line
SELECT quantity, unit_price, subtotal, clave_unidad FROM tariff_lines(:dom, 0);

-- numbers as strings; null as a key that is not there; NULL in, NULL out
SELECT tariff_charge('{"mode": null, "name": null, "iva_rate": null, "round_consumption": null, "social_discount": null,
  "additional_concepts": null, "minimum_charge": null, "_comment": {"a": [1]},
  "blocks": [{"from_m3": "0", "to_m3": "1e1", "price_per_m3": "+5.50", "fixed_charge": null, "name": "x"},
             {"from_m3": "10.0", "price_per_m3": ".5"}]}', 12);
SELECT tariff_charge(NULL, 1), tariff_charge(:dom, NULL), tariff_bill(NULL, 1), tariff_bill(:dom, NULL),
       tariff_bill(:dom, 1, units_served => NULL), tariff_bill(:dom, 1, period_factor => NULL),
       tariff_errors(NULL), tariff_is_valid(NULL);
SELECT count(*) FROM tariff_lines(NULL, 1);
SELECT count(*) FROM tariff_lines(:dom, NULL);
SELECT count(*) FROM tariff_blocks(NULL, 1);
SELECT (tariff_lines(:dom, 1)).total, (tariff_blocks(:dom, 11)).amount;

-- a tariff and a bill that 128 bits have no room for
SELECT tariff_charge('[{"from_m3": 0, "to_m3": 1e30, "price_per_m3": 1e20}, {"from_m3": 1e30, "price_per_m3": 1e-20}]', 1e40);
SELECT amount FROM tariff_blocks('[{"from_m3": 0, "price_per_m3": 0.00000000000000000000000000000001}]', 3.000000001);

-- such a number as text, as JSON number and as argument: trailing zeros are dropped
SELECT tariff_charge(jsonb_build_array(jsonb_build_object('from_m3', 0, 'price_per_m3', price)), 10) AS charge,
       tariff_charge(jsonb_build_array(jsonb_build_object('from_m3', 0, 'price_per_m3', price::numeric)), 10) AS same
FROM unnest(ARRAY['1234567890123456789012345678901234567890120000000000e-40', '+000123456789012345678901234567890123456789.0120',
  '.00000000000000000000000000000000000000000100e42', '1234567890123456789012345678901234567890E2']) price;
SELECT tariff_detail->'value' AS value FROM tariff_lines('{"blocks": [{"from_m3": 0, "price_per_m3": 1}], "additional_concepts": [
  {"code": "a", "type": "fixed", "value": "0.00000000000000000000000000000000000000012300"},
  {"code": "b", "type": "fixed", "value": 0.00000000000000000000000000000000000000012300}]}', 1) WHERE sort_order > 1;
SELECT tariff_detail->'period_factor' AS factor FROM tariff_lines('[{"from_m3": 0, "price_per_m3": 1}]', 1,
  period_factor => 1.00000000000000000000000000000000000000012300);

-- tariff_detail is JSONB to the last byte: what is written is what jsonb_in makes of its text
SELECT count(*) AS details, count(*) FILTER (WHERE NOT record_image_eq(ROW(tariff_detail), ROW(tariff_detail::text::jsonb))) AS different
FROM unnest(ARRAY[0, 3, 25.5, 1000]) m3, unnest(ARRAY[1, 3]) units, unnest(ARRAY[1, 1.5]) period,
     (VALUES (:dom), (:'steps'::jsonb || '{"minimum_charge": 55, "name": "Mixta", "round_consumption": 1}'),
             ((SELECT jsonb_agg(jsonb_build_object('from_m3', i * 3, 'to_m3', i * 3 + 3, 'price_per_m3', i, 'name', repeat('n', i + 1)) ORDER BY i)
               FROM generate_series(0, 400) i))) t (tariff),
     tariff_lines(tariff, m3, :con, units_served => units, period_factor => period);
SELECT count(*) AS bills, count(*) FILTER (WHERE NOT record_image_eq(ROW(b), ROW(b::text::jsonb))) AS different
FROM generate_series(1, 80) n, tariff_bill(:dom, n, (SELECT jsonb_agg(jsonb_build_object('code', repeat('ñ', i), 'type',
  CASE WHEN i % 2 = 0 THEN 'fixed' ELSE 'percentage' END, 'value', 0.5)) FROM generate_series(1, n) i)) b;
