-- Every fault of a tariff, with its path, in one go; and every way a call is refused.
CREATE FUNCTION refused(statement text) RETURNS TABLE (state text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  message := 'not refused';
  RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                          hint = PG_EXCEPTION_HINT;
  RETURN NEXT;
END $$;

-- valid: nothing to say
SELECT tariff_errors('[{"from_m3": 0, "price_per_m3": 1}]'), tariff_is_valid('[{"from_m3": 0, "price_per_m3": 1}]');
SELECT tariff_is_valid(t), tariff_errors(t) FROM (VALUES
  ('[{"from_m3": 0, "to_m3": 10, "price_per_m3": 5}]'::jsonb),
  ('[{"from_m3": 0, "to_m3": 10, "price_per_m3": 5}, {"from_m3": 10, "to_m3": null, "price_per_m3": 3}]'),
  ('{"blocks": [{"from_m3": "0", "price_per_m3": "1.5"}], "_version": 3, "name": "Doméstica"}')) v (t);

-- what is no tariff at all
SELECT t, unnest(tariff_errors(t)) AS fault FROM (VALUES
  ('null'::jsonb), ('1'), ('"x"'), ('true'), ('[]'), ('{}'), ('{"blocks": {}}'), ('{"blocks": []}'), ('{"blocks": null}'),
  ('[1, "a", null, [[]], {}]')) v (t);

-- limits
SELECT what, unnest(tariff_errors(t)) AS fault FROM (VALUES
  ('gap', '[{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}, {"from_m3": 11, "to_m3": 20, "price_per_m3": 1}, {"from_m3": 21, "price_per_m3": 1}]'::jsonb),
  ('hair gap', '[{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}, {"from_m3": 10.000000001, "price_per_m3": 1}]'),
  ('overlap', '[{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}, {"from_m3": 9, "price_per_m3": 1}]'),
  ('order', '[{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}, {"from_m3": 10, "to_m3": 20, "price_per_m3": 1}, {"from_m3": 5, "price_per_m3": 1}]'),
  ('first', '[{"from_m3": 1, "price_per_m3": 1}]'),
  ('empty', '[{"from_m3": 0, "to_m3": 0, "price_per_m3": 1}]'),
  ('backwards', '[{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}, {"from_m3": 10, "to_m3": 5, "price_per_m3": 1}]'),
  ('two open', '[{"from_m3": 0, "to_m3": null, "price_per_m3": 1}, {"from_m3": 10, "price_per_m3": 1}]'),
  ('open in between', '[{"from_m3": 0, "to_m3": 5, "price_per_m3": 1}, {"from_m3": 5, "price_per_m3": 1}, {"from_m3": 5, "to_m3": 10, "price_per_m3": 1}]'),
  ('beyond 128 bits', '[{"from_m3": 0, "to_m3": 1e40, "price_per_m3": 1}, {"from_m3": 1e40, "to_m3": 2e40, "price_per_m3": 1}, {"from_m3": 2.1e40, "price_per_m3": 1}]')) v (what, t);

-- values
SELECT unnest(tariff_errors('[{"from_m3": 0, "to_m3": -5, "price_per_m3": "NaN", "fixed_charge": -0.01},
  {"from_m3": "", "to_m3": " 20", "price_per_m3": "0x10", "fixed_charge": "1_000"},
  {"from_m3": true, "to_m3": [1, [2]], "price_per_m3": {"a": {"b": 1}}, "fixed_charge": "Infinity"},
  {"from_m3": "1e", "to_m3": "1e999999999", "price_per_m3": "1e-999999999", "fixed_charge": "12,50", "name": ""}]'));
-- 1e400 has 401 digits
SELECT unnest(tariff_errors('[{"from_m3": 0, "to_m3": 1e400, "price_per_m3": 1e-401, "fixed_charge": 1e399},
                              {"from_m3": 1e400, "price_per_m3": 1e-400}]'));

-- zeros do not count, however many a string has
SELECT tariff_errors(jsonb_build_array(jsonb_build_object('from_m3', repeat('0', 20000) || '.' || repeat('0', 20000),
  'to_m3', repeat('0', 20000) || repeat('1', 45) || '.' || repeat('0', 20000), 'price_per_m3', '0.' || repeat('0', 20000) || repeat('1', 45) || 'e20000')));

-- keys
SELECT unnest(tariff_errors('{"blocks": [{"from_m3": 0, "price_m3": 5, "from": 1, "Fixed_charge": 2, "_x": 1, "": 3, "precio": 4}],
  "minimum": 3, "iva": 0.16, "concepts": [], "rounds": null, "Mode": "volume"}'));
-- the beginning of a key or a good part of it is taken for it; of anything else the known ones are named
SELECT unnest(tariff_errors('{"discount": 5, "precio": 4, "blocks": [{"from_m3": 0, "to": 9, "charge": 1, "m3": 9, "price_per_m3": 1}],
  "additional_concepts": [{"code": "a", "type": "fixed", "value": 1, "rate": 0.16, "nombre": "A"}], "social_discount": {"pct": 1, "percent": 5}}'));
SELECT unnest(tariff_errors('{"mode": "blocks", "minimum_charge": -1, "round_consumption": "ceil", "iva_rate": 16, "name": 5,
  "blocks": [{"from_m3": 0, "price_per_m3": 1}]}'));
SELECT r, unnest(tariff_errors(jsonb_build_object('round_consumption', r, 'blocks', '[{"from_m3": 0, "price_per_m3": 1}]'::jsonb))) AS fault
FROM unnest(ARRAY['10', '-1', '0.5', 'true', '{}', '"10"', '"2.5"', '"two"']::jsonb[]) r;
-- what is rounded
SELECT r, tariff_is_valid(t), tariff_errors(t)
FROM unnest(ARRAY['"block"', '"line"', 'null', '"blocks"', '"Block"', '""', '2', 'true', '[]', '{"block": 1}']::jsonb[]) r,
     jsonb_build_object('round', r, 'blocks', '[{"from_m3": 0, "price_per_m3": 1}]'::jsonb) t;
SELECT * FROM refused($$SELECT tariff_charge('{"round": "total", "blocks": [{"from_m3": 0, "price_per_m3": 1}]}', 1)$$);

-- an open block before what is none: said once
SELECT unnest(tariff_errors('[{"from_m3": 0, "price_per_m3": 1}, 5, 6]')) AS fault;

-- concepts and the discount
SELECT unnest(tariff_errors('{"blocks": [{"from_m3": 0, "price_per_m3": 1}], "additional_concepts": [
  {"code": "agua", "type": "fixed", "value": 1},
  {"code": "a", "type": "percentage", "value": 25},
  {"code": "a", "type": "percentage", "value": 0.25, "base": "b"},
  {"code": "b", "type": "percentage", "value": 0.25, "base": ["b", "nada", "agua", "agua", 7]},
  {"code": "c", "type": "percentage", "value": 30, "unit": "%"},
  {"code": "d", "type": "fixed", "value": 3, "unit": "percent", "base": "agua"},
  {"code": "e", "type": "porcentaje", "value": "x", "iva_rate": 1.16},
  {"code": "f", "type": "percentage", "value": -0.1, "base": []},
  {"name": "g", "amount": 5},
  "h", [{"code": "i"}, 9],
  {"code": "j", "type": 7, "value": 1}], "social_discount": {"pct": 101, "applies_to": ["agua", "nada"], "percent": 5}}'));
SELECT d, unnest(tariff_errors(jsonb_build_object('social_discount', d, 'blocks', '[{"from_m3": 0, "price_per_m3": 1}]'::jsonb))) AS fault
FROM unnest(ARRAY['30', '{}', '{"pct": "a"}', '{"pct": -1}', '{"pct": 5, "applies_to": []}', '{"pct": 5, "applies_to": 7}']::jsonb[]) d;
SELECT unnest(tariff_errors('{"blocks": [{"from_m3": 0, "price_per_m3": 1}], "additional_concepts": {"code": "x"}}'));

-- refused calls: the same words in the DETAIL
SELECT * FROM refused($$SELECT tariff_charge('[{"from_m3": 0, "price": 1}]', 1)$$);
SELECT * FROM refused($$SELECT tariff_blocks('null', 1)$$);
SELECT * FROM refused($$SELECT tariff_bill('[]', 1)$$);
SELECT * FROM refused($$SELECT tariff_lines('{"blocks": [{"from_m3": 0, "price_per_m3": -1}], "iva_rate": 16}', 1)$$);
SELECT * FROM refused($$SELECT tariff_charge('{"name": "Doméstica", "blocks": []}', 1)$$);
SELECT message FROM refused(format('SELECT tariff_charge(%L, 1)', jsonb_build_object('name', repeat('ñ', 100), 'blocks', '[]'::jsonb)));
SELECT * FROM refused(format('SELECT tariff_charge(%L, 1)', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 20))));
SELECT * FROM refused($$SELECT tariff_bill('[{"from_m3": 0, "price_per_m3": 1}]', 1, '[{"code": "x", "value": 3}]')$$);
SELECT * FROM refused($$SELECT tariff_bill('[{"from_m3": 0, "price_per_m3": 1}]', 1, '{}')$$);
SELECT r.* FROM unnest(ARRAY['-0.001', '''NaN''', '''Infinity''', '''-Infinity''', '1e400', '-1e300']) m3,
  refused(format($$SELECT tariff_charge('[{"from_m3": 0, "price_per_m3": 1}]', %s::numeric)$$, m3)) r;
SELECT r.* FROM unnest(ARRAY['iva_rate => 16', 'iva_rate => -0.1', 'iva_rate => ''NaN''', 'social_discount_pct => 100.01',
    'social_discount_pct => -1', 'units_served => 0', 'units_served => -3', 'period_factor => 0', 'period_factor => -1',
    'period_factor => ''Infinity''']) argument,
  refused(format($$SELECT tariff_bill('[{"from_m3": 0, "price_per_m3": 1}]', 1, %s)$$, argument)) r;
-- consumption beyond a finite last block, in both arithmetics
SELECT r.* FROM unnest(ARRAY['', ', units_served => 2', ', period_factor => 1.5']) argument,
  refused(format($$SELECT tariff_bill('[{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}]', 20.001%s)$$, argument)) r;
SELECT * FROM refused($$SELECT tariff_charge('{"round_consumption": "up", "blocks": [{"from_m3": 0, "to_m3": 10.5, "price_per_m3": 1}]}', 10.4)$$);
SELECT * FROM refused($$SELECT tariff_charge('{"name": "Doméstica", "blocks": [{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}]}', 10.4)$$);
SET aquacis.tariff_force_numeric = on;
SELECT r.* FROM unnest(ARRAY['charge', 'blocks', 'bill', 'lines']) f,
  refused(format($$SELECT tariff_%s('[{"from_m3": 0, "to_m3": 10, "price_per_m3": 1}]', 20.001)$$, f)) r;
RESET aquacis.tariff_force_numeric;
DROP FUNCTION refused;

-- in a CHECK constraint, beside validity periods that must not overlap
SET client_min_messages = warning;
CREATE EXTENSION btree_gist;
RESET client_min_messages;
CREATE TABLE tariff_schedules (
  tenant_id int NOT NULL, category varchar(30) NOT NULL, effective_from date NOT NULL, effective_until date,
  active boolean DEFAULT true,
  blocks jsonb NOT NULL CONSTRAINT tariff_is_sound CHECK (tariff_is_valid(blocks)),
  CONSTRAINT excl_tariff_validity EXCLUDE USING gist (
    tenant_id WITH =, category WITH =, daterange(effective_from, effective_until, '[)') WITH &&) WHERE (active));
\set VERBOSITY terse
INSERT INTO tariff_schedules VALUES (1, 'domestica', '2025-01-01', '2026-01-01', true, '[{"from_m3": 0, "price_per_m3": 5.5}]');
INSERT INTO tariff_schedules VALUES (1, 'domestica', '2026-01-01', NULL, true, '[{"from_m3": 0, "price_m3": 5.5}]');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO tariff_schedules VALUES (1, 'domestica', '2025-12-31', NULL, true, '[{"from_m3": 0, "price_per_m3": 6}]');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO tariff_schedules VALUES (1, 'domestica', '2026-01-01', NULL, true, '[{"from_m3": 0, "price_per_m3": 6}]');
UPDATE tariff_schedules SET blocks = jsonb_set(blocks, '{0,to_m3}', '"x"') WHERE effective_until IS NULL;
\echo :LAST_ERROR_SQLSTATE
SELECT tariff_charge(blocks, 10) FROM tariff_schedules ORDER BY effective_from;
DROP TABLE tariff_schedules;
DROP EXTENSION btree_gist;
