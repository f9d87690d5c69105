-- Step 6: bills.
--
-- The tariff is a published one: Junta de Agua Potable y Alcantarillado de Yucatán
-- (Mérida), domestic, zones 1 to 3, in force since 1 February 2026,
-- https://japay.yucatan.gob.mx/tarifas/tarifas_agua.php.  Up to 20 m³ a fixed price
-- by block; beyond, the block that is reached prices every m³ ("volume").
\ir options.sql

CREATE TABLE nuevo.tarifa (zona int PRIMARY KEY, tarifa jsonb NOT NULL CHECK (tariff_is_valid(tarifa)));
CREATE TABLE demo.published (zona int, from_m3 int, to_m3 int, fixed numeric, price numeric);
INSERT INTO demo.published VALUES
    (1, 0, 3, 67.00, 0), (1, 3, 10, 82.00, 0), (1, 10, 15, 99.00, 0), (1, 15, 20, 107.00, 0),
    (2, 0, 3, 83.00, 0), (2, 3, 10, 88.00, 0), (2, 10, 15, 102.00, 0), (2, 15, 20, 107.00, 0),
    (3, 0, 3, 90.00, 0), (3, 3, 10, 97.00, 0), (3, 10, 15, 104.00, 0), (3, 15, 20, 107.00, 0);
INSERT INTO demo.published
SELECT zona, from_m3, to_m3, 0, price FROM generate_series(1, 3) zona, (VALUES
    (20, 40, 6.67), (40, 60, 7.12), (60, 80, 8.15), (80, 100, 8.68), (100, 150, 10.76), (150, 200, 11.27),
    (200, 300, 14.09), (300, 400, 15.95), (400, 600, 16.99), (600, NULL, 17.50)) b (from_m3, to_m3, price);

INSERT INTO nuevo.tarifa
SELECT zona, jsonb_build_object('name', 'Doméstica zona ' || zona, 'mode', 'volume', 'blocks',
                 jsonb_agg(jsonb_build_object('from_m3', from_m3, 'to_m3', to_m3, 'fixed_charge', fixed, 'price_per_m3', price)
                           ORDER BY from_m3))
FROM demo.published GROUP BY zona;

-- This period's reading; where there is none, what the last bill was for.
CREATE TABLE nuevo.consumo AS
SELECT cuenta, zona, coalesce(consumoreg, linfaccant::numeric(10), 0) AS m3, consumoreg IS NULL AS estimado
FROM nuevo.toma
LEFT JOIN vgiss_lectuacom ON idcontrato = cuenta
LEFT JOIN linfactura ON linfacid = 7900000 + cuenta;
ANALYZE nuevo.consumo, nuevo.tarifa;

-- The billing run.  A bill is a JSON document: worth the way from a worker.
SET parallel_tuple_cost = 0.001;
CREATE TABLE nuevo.recibo AS
SELECT cuenta, zona, m3, estimado, (recibo ->> 'total')::numeric(12,2) AS total, recibo
FROM nuevo.consumo JOIN nuevo.tarifa USING (zona), tariff_bill(tarifa, m3) AS recibo;

\echo 'tariff_bill(tarifa, m3), the published domestic tariff of Mérida (JAPAY, 2026):'
SELECT zona AS zone, to_char(count(*), '999,999') AS bills, to_char(count(*) FILTER (WHERE estimado), '999,999') AS estimated,
       to_char(sum(m3), '999,999,999') AS "m³", to_char(avg(total), '999,990.00') AS "average MXN", to_char(sum(total), '999,999,999,990.00') AS "total MXN"
FROM nuevo.recibo GROUP BY zona ORDER BY zona;

\echo 'The same priced by a plain join on the published table:'
WITH plain AS (
    SELECT cuenta, round(fixed + m3 * price, 2) AS total
    FROM nuevo.consumo c JOIN demo.published p ON p.zona = c.zona
     AND (m3 > from_m3 OR from_m3 = 0) AND (m3 <= to_m3 OR to_m3 IS NULL)
)
SELECT count(*) FILTER (WHERE plain.total IS DISTINCT FROM recibo.total) AS "bills that differ", to_char(sum(plain.total), '999,999,999,990.00') AS "total MXN"
FROM plain FULL JOIN nuevo.recibo USING (cuenta);

-- A tariff with more on the bill: what would the same consumption bring in?
INSERT INTO nuevo.tarifa VALUES (99, '{
    "name": "Doméstica, propuesta",
    "blocks": [{"from_m3": 0, "to_m3": 10, "price_per_m3": 5.50, "fixed_charge": 45.00},
               {"from_m3": 10, "to_m3": 20, "price_per_m3": 8.75},
               {"from_m3": 20, "to_m3": 40, "price_per_m3": 15.30},
               {"from_m3": 40, "to_m3": null, "price_per_m3": 25.00}],
    "additional_concepts": [{"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"},
                            {"code": "saneamiento", "name": "Saneamiento", "type": "fixed", "value": 15.00}],
    "iva_rate": 0.16}');

\echo 'A proposed tariff with sewerage and treatment, its invoice lines for one account (tariff_lines):'
SELECT concept_name, quantity, unit_price, subtotal, iva_amount, l.total
FROM nuevo.consumo, nuevo.tarifa t, tariff_lines(tarifa, m3) l
WHERE cuenta = 100042 AND t.zona = 99 ORDER BY sort_order;

\echo 'and what it would bring in:'
SELECT to_char(count(*), '999,999') AS bills, to_char(sum(tariff_charge(tarifa, m3)), '999,999,999,990.00') AS "water MXN",
       to_char(sum((tariff_bill(tarifa, m3) ->> 'total')::numeric), '999,999,999,990.00') AS "total MXN"
FROM nuevo.consumo, nuevo.tarifa t WHERE t.zona = 99;

INSERT INTO demo.figure
SELECT 'bills', count(*) FROM nuevo.recibo
UNION ALL SELECT 'bills total', sum(total) FROM nuevo.recibo
UNION ALL SELECT 'bills estimated', count(*) FROM nuevo.recibo WHERE estimado;
