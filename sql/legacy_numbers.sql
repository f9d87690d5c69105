-- legacy_money(numeric), legacy_decimal, and the reasons

-- which function a call means: numeric is exact; integers, real and literals in quotes go to double precision
CREATE TEMP TABLE amount (n numeric(24,6), d double precision, r real, i integer, b bigint);
INSERT INTO amount VALUES (1234567890.004999, 0.285, 0.285, 12, 12);
SELECT legacy_money(n) AS "numeric", legacy_money(d) AS "double", legacy_money(r) AS "real", legacy_money(i) AS "integer", legacy_money(b) AS "bigint", legacy_money('12.5') AS quoted, legacy_money(0.285) AS literal FROM amount;
-- real comes as the double with the same binary value: 0.285 is 0.284999996423721 there
SELECT r::double precision, legacy_money(r), legacy_money(r::text::double precision) AS "by its digits" FROM amount;

SELECT v, legacy_money(v) FROM unnest('{0,-0.005,0.005,0.00499999999999999999999999,1.005,-2.675,9999999999.99,9999999999.994999999999999999999,-9999999999.994}'::numeric[]) v;
SELECT scale(legacy_money(1::numeric)), legacy_money(1e-300) AS tiny, legacy_money_error(1e400) AS huge, legacy_money(NULL::numeric);
SELECT legacy_money(9999999999.995);
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_money('-1e400'::numeric);
SELECT legacy_money('NaN'::numeric);
SELECT legacy_money('-Infinity'::numeric);
\echo :LAST_ERROR_SQLSTATE
SELECT v, legacy_money_error(v) FROM unnest('{NaN,Infinity,-Infinity,9999999999.995,9999999999.994,-10000000000,0,NULL}'::numeric[]) v;
SELECT v, legacy_money_error(v) FROM unnest('{NaN,Infinity,-Infinity,9999999999.995,9999999999.994,-10000000000,0,1e300,NULL}'::float8[]) v;

-- unit prices and quantities
SELECT v, s, legacy_decimal(v, s) FROM (VALUES (5.6789::float8, 4), (5.6789, 2), (5.6789, 0), (1.005, 2), (-1.005, 2), (2.5, 0), (-0.4, 0), ('-0', 3), (1e14, 15), (123456789.123456789, 6), (999999999999999, 2), (4.9e-324, 15), (NULL, 2)) t (v, s);
SELECT legacy_decimal(1, -1);
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_decimal(1, 16);
SELECT legacy_decimal(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_decimal(1e15, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_decimal('NaN', 2);
SELECT v, legacy_decimal_error(v) FROM unnest('{NaN,Infinity,-Infinity,1e15,-1e15,999999999999999,0,NULL}'::float8[]) v;

-- a million values beside ROUND: as typed, halves and the doubles around them, every magnitude
\set times `echo ${AQUACIS_TEST_SCALE:-1}`
SELECT setseed(0.4);
CREATE TEMP TABLE number AS
SELECT i % 16 AS s, ((i * 7919::bigint) % 1000003) / 1000.0::float8 AS x FROM generate_series(1, (300000 * :times)::int) i
UNION ALL SELECT s, (floor(random() * 10 ^ least(random() * 14, 14 - s)) * 10 + 5) / 10 ^ (s + 1) * (1 + j * 1.1e-16) FROM generate_series(0, 12) s, generate_series(-6, 6) j, generate_series(1, (2500 * :times)::int)
UNION ALL SELECT (i % 16)::int, (random() - 0.5) * 10 ^ (random() * 35 - 20) FROM generate_series(1, (350000 * :times)::int) i;
SELECT count(*) >= 1000000 AS a_million, count(*) FILTER (WHERE legacy_decimal(x, s)::text IS DISTINCT FROM round(x::numeric, s)::text) AS different,
  count(*) FILTER (WHERE s = 2 AND legacy_decimal(x, s) IS DISTINCT FROM legacy_money(x)) AS unlike_money
FROM number WHERE abs(x) < 1e10;
SELECT count(*) > 1000 AS thousands, count(*) FILTER (WHERE legacy_decimal(x, s)::text IS DISTINCT FROM round(x::numeric, s)::text) AS different FROM number WHERE abs(x) >= 1e10 AND legacy_decimal_error(x) IS NULL;
SELECT count(*) AS numerics, count(*) FILTER (WHERE legacy_money(n)::text IS DISTINCT FROM round(n, 2)::text) AS different
FROM (SELECT x::numeric * (1 + s / 1e9) AS n FROM number WHERE abs(x) < 9e9 LIMIT 300000) t;
DROP TABLE amount, number;
