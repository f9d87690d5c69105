-- Pricing of :bills bills: ours, the loop in PL/pgSQL that anybody writes first, and
-- one SQL expression.  Both alternatives give the water charge alone, rounded once.
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS tariffs CASCADE;
CREATE SCHEMA tariffs;
SET search_path = tariffs, bench, public;
CREATE FUNCTION loop_charge(blocks jsonb, m3 numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	b jsonb;
	lower numeric;
	upper numeric;
	total numeric := 0;
BEGIN
	FOR b IN SELECT * FROM jsonb_array_elements(blocks) LOOP
		lower := (b->>'from_m3')::numeric;
		upper := (b->>'to_m3')::numeric;
		EXIT WHEN lower > 0 AND m3 <= lower;
		total := total + coalesce((b->>'fixed_charge')::numeric, 0) + (least(m3, coalesce(upper, m3)) - lower) * (b->>'price_per_m3')::numeric;
	END LOOP;
	RETURN round(total, 2);
END$$;
CREATE FUNCTION sql_charge(blocks jsonb, m3 numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT round(sum(coalesce((b->>'fixed_charge')::numeric, 0) + (least(m3, coalesce((b->>'to_m3')::numeric, m3)) - (b->>'from_m3')::numeric) * (b->>'price_per_m3')::numeric), 2)
	FROM jsonb_array_elements(blocks) b WHERE m3 > (b->>'from_m3')::numeric OR (b->>'from_m3')::numeric = 0$$;

-- tariffs of n blocks: the stored one, and longer ones (the longest published
-- Mexican table has 201)
CREATE TABLE tariff AS
SELECT n, jsonb_agg(jsonb_build_object('from_m3', i * 10, 'to_m3', CASE WHEN i < n - 1 THEN (i + 1) * 10 END, 'price_per_m3', 5.5 + i * 1.25,
	'fixed_charge', CASE WHEN i = 0 THEN 45.00 ELSE 0 END) ORDER BY i) AS blocks
FROM unnest('{1,4,14,201}'::int[]) n, generate_series(0, n - 1) i GROUP BY n;
CREATE TABLE bill AS SELECT g, (g * 7919 % 60000)::numeric / 1000 AS m3 FROM generate_series(1, :bills) g;
SELECT :bills / 10 AS tenth, :bills * 2 / 5 AS some, :bills / 5 AS fifth \gset
VACUUM ANALYZE tariff, bill;
SELECT count(*) AS disagreeing FROM tariff, bill WHERE n < 201 AND g <= :tenth
	AND (tariff_charge(blocks, m3) <> loop_charge(blocks, m3) OR tariff_charge(blocks, m3) <> sql_charge(blocks, m3));

SELECT command FROM (
	SELECT r, n AS a, v, format('CALL bench.measure(%L, %L, %s, %L, %s)', format('tariff_charge, %s blocks', n), variant, r,
		format('SELECT count(%s) FROM tariffs.bill, tariffs.tariff WHERE n = %s AND g <= %s', call, n, CASE n WHEN 201 THEN :tenth ELSE :bills END), CASE n WHEN 201 THEN :tenth ELSE :bills END) AS command
	FROM generate_series(0, :rounds) r, tariff,
		(VALUES (1, 'none', 'm3'), (2, 'ours', 'public.tariff_charge(blocks, m3)'), (3, 'plpgsql', 'tariffs.loop_charge(blocks, m3)'),
			(4, 'sql', 'tariffs.sql_charge(blocks, m3)')) c (v, variant, call)
	ORDER BY r, a, v) q \gexec

-- A different tariff from row to row: what is kept of a parsed one is used or
-- made again.
CREATE TABLE mixed AS SELECT k, g, m3, jsonb_set(blocks, '{0,fixed_charge}', to_jsonb(45 + g % k)) AS blocks
FROM unnest('{1,3,50}'::int[]) k, bill, tariff WHERE n = 4 AND g <= :some;
VACUUM ANALYZE mixed;
SELECT command FROM (
	SELECT r, k AS a, v, format('CALL bench.measure(%L, %L, %s, %L, %s)', format('tariff_charge of 4 blocks, %s tariffs in turn', k), variant, r,
		format('SELECT count(%s) FROM tariffs.mixed WHERE k = %s', call, k), :some) AS command
	FROM generate_series(0, :rounds) r, unnest('{1,3,50}'::int[]) k,
		(VALUES (1, 'none', 'm3'), (2, 'ours', 'public.tariff_charge(blocks, m3)'), (3, 'plpgsql', 'tariffs.loop_charge(blocks, m3)')) c (v, variant, call)
	ORDER BY r, a, v) q \gexec

-- Whole bills: water, sewerage as a share of it, a fixed charge, IVA a line.
CREATE FUNCTION loop_bill(blocks jsonb, m3 numeric) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	water numeric := tariffs.loop_charge(blocks, m3);
	sewerage numeric := round(water * 0.25, 2);
	total numeric := 0;
	lines jsonb := '[]';
	l record;
BEGIN
	FOR l IN SELECT * FROM (VALUES ('agua', water), ('alcantarillado', sewerage), ('saneamiento', 15.00)) v (code, amount) LOOP
		lines := lines || jsonb_build_object('concept_code', l.code, 'subtotal', l.amount, 'iva_amount', round(l.amount * 0.16, 2),
			'total', l.amount + round(l.amount * 0.16, 2));
		total := total + l.amount + round(l.amount * 0.16, 2);
	END LOOP;
	RETURN jsonb_build_object('lines', lines, 'total', total);
END$$;
SELECT command FROM (
	SELECT r, v, format('CALL bench.measure(%L, %L, %s, %L, %s)', 'tariff_bill, 3 lines with IVA', variant, r,
		format('SELECT count(%s) FROM tariffs.bill, tariffs.tariff WHERE n = 4 AND g <= %s', call, :fifth), :fifth) AS command
	FROM generate_series(0, :rounds) r,
		(VALUES (1, 'none', 'm3'), (2, 'ours', 'public.tariff_bill(blocks, m3, ''[{"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"}, {"code": "saneamiento", "name": "Saneamiento", "type": "fixed", "value": 15.00}]'', 0.16)'),
			(3, 'plpgsql', 'tariffs.loop_bill(blocks, m3)')) c (v, variant, call)
	ORDER BY r, v) q \gexec

-- The tariff as a constant of the query instead of a column of a table: it is
-- recognised by its address.
SELECT command FROM (
	SELECT r, n AS a, v, format('CALL bench.measure(%L, %L, %s, %L, %s)', format('tariff_charge, a constant of %s blocks', n), variant, r,
		format('SELECT count(%s) FROM tariffs.bill WHERE g <= %s', format(call, blocks), :tenth), :tenth) AS command
	FROM generate_series(0, :rounds) r, tariff,
		(VALUES (1, 'none', 'm3'), (2, 'ours', 'public.tariff_charge(%L, m3)'), (3, 'plpgsql', 'tariffs.loop_charge(%L, m3)')) c (v, variant, call)
	WHERE n IN (4, 201)
	ORDER BY r, a, v) q \gexec

-- Lines into a table: the same rows, computed or only copied.
CREATE TABLE finished AS
SELECT g, l.* FROM bill, tariff, public.tariff_lines(blocks, m3, '[{"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"}, {"code": "saneamiento", "name": "Saneamiento", "type": "fixed", "value": 15.00}]', 0.16) l
WHERE n = 4 AND bill.g <= :some;
CREATE TABLE bare (LIKE finished);
CREATE TABLE invoice_lines (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(), invoice_id int NOT NULL, concept_code varchar(20) NOT NULL,
	concept_name varchar(200) NOT NULL, quantity decimal(12, 3) DEFAULT 1, unit_price decimal(12, 4) DEFAULT 0,
	subtotal decimal(12, 2) NOT NULL DEFAULT 0, iva_rate decimal(5, 4) DEFAULT 0, iva_amount decimal(12, 2) DEFAULT 0,
	total decimal(12, 2) NOT NULL DEFAULT 0, tariff_detail jsonb, clave_prod_serv varchar(10), clave_unidad varchar(5),
	sort_order int DEFAULT 0, created_at timestamptz DEFAULT now());
VACUUM ANALYZE finished;
SELECT command FROM (
	SELECT r, i, v, s, format(step, format('CALL bench.measure(%L, %L, %s, %L, %s)', what, variant, r, format(command, source), :some)) AS command
	FROM generate_series(0, :rounds) r,
		(VALUES (1, 'tariff_lines, 3 lines into a table', 'INSERT INTO tariffs.bare SELECT * FROM (%s) l'),
			(2, 'tariff_lines, 3 lines into invoice_lines', 'INSERT INTO tariffs.invoice_lines (invoice_id, concept_code, concept_name, quantity, unit_price, subtotal, iva_rate, iva_amount, total, tariff_detail, clave_prod_serv, clave_unidad, sort_order)
				SELECT g, concept_code, concept_name, quantity, unit_price, subtotal, iva_rate, iva_amount, total, tariff_detail, clave_prod_serv, clave_unidad, sort_order FROM (%s) l')) w (i, what, command),
		(VALUES (1, 'ours', format('SELECT g, l.* FROM tariffs.bill, tariffs.tariff, public.tariff_lines(blocks, m3, %L, 0.16) l WHERE n = 4 AND g <= %s',
				'[{"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"}, {"code": "saneamiento", "name": "Saneamiento", "type": "fixed", "value": 15.00}]', :some)),
			(2, 'copied', 'SELECT * FROM tariffs.finished')) c (v, variant, source),
		(VALUES (1, '%s'), (2, 'TRUNCATE bare, invoice_lines')) t (s, step)
	ORDER BY r, i, v, s) q \gexec

-- Ten charges per account, with and without a parallel worker.  The processor time
-- is that of the leader.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
ALTER TABLE bill SET (parallel_workers = 1);
SELECT command FROM (
	SELECT r, v, s, format(step, workers, r, variant, (SELECT format('SELECT %s FROM tariffs.bill',
			string_agg(format('sum(public.tariff_charge(%L, m3 + %s))', blocks, i), ' + ')) FROM tariff, generate_series(0, 9) i WHERE n = 4), :bills) AS command
	FROM generate_series(0, :rounds) r, (VALUES (1, 'one', 0), (2, 'ours', 1)) c (v, variant, workers),
		(VALUES (1, 'SET max_parallel_workers_per_gather = %s'),
			(2, 'CALL bench.measure(''tariff_charge, ten per account in a parallel query'', %3$L, %2$s, %4$L, %5$s)')) t (s, step)
	ORDER BY r, v, s) q \gexec
