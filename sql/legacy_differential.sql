-- The SQL functions that legacy_bool, legacy_money and legacy_gps_* replace,
-- beside them, on a million values each.
SELECT setseed(0.20588);

CREATE FUNCTION pg_temp.old_bool(val char) RETURNS boolean AS $$
  SELECT CASE WHEN val IN ('S', 'Y', 'X') THEN true ELSE false END;
$$ LANGUAGE sql IMMUTABLE;
CREATE FUNCTION pg_temp.old_money(val double precision) RETURNS decimal(12,2) AS $$
  SELECT ROUND(val::numeric, 2)::decimal(12,2);
$$ LANGUAGE sql IMMUTABLE;
-- the geography of the original is in aquacis_postgis_gps; this is its point
CREATE FUNCTION pg_temp.old_point(lat varchar, lng varchar) RETURNS point AS $$
  SELECT CASE WHEN lat IS NOT NULL AND lng IS NOT NULL
      AND lat ~ '^-?\d+\.?\d*$' AND lng ~ '^-?\d+\.?\d*$'
    THEN point(lng::double precision, lat::double precision) END;
$$ LANGUAGE sql IMMUTABLE;

-- every character there is
SELECT count(*) AS characters, count(*) FILTER (WHERE old) AS true, count(*) FILTER (WHERE legacy_bool(c) IS DISTINCT FROM old) AS different
FROM (SELECT c, pg_temp.old_bool(c) AS old
      FROM (SELECT chr(i)::bpchar AS c FROM generate_series(1, 1114111) i WHERE i NOT BETWEEN 55296 AND 57343
            UNION ALL VALUES (NULL::bpchar), (''), ('S '), ('S  '), ('SI'), (' S'), ('YX'), ('   ')) t) u;

CREATE TEMP TABLE amount (kind text, x float8);
INSERT INTO amount
  -- cents and halves of cents, as typed
  SELECT 'mills', (i / 1000.0)::float8 FROM generate_series(1, 200000) i
  -- halves of a cent of any size, and the doubles around them
  UNION ALL SELECT 'halves', h * (1 + j * 1.1e-16) FROM (SELECT ((floor(10 ^ (random() * 12)) * 10 + 5) / 1000) AS h FROM generate_series(1, 30000)) t, generate_series(-6, 6) j
  -- as far from a half as the fifteenth digit
  UNION ALL SELECT 'digits', h * (1 + j * 1e-15) FROM (SELECT ((floor(10 ^ (random() * 12)) * 10 + 5) / 1000) AS h FROM generate_series(1, 15000)) t, generate_series(-8, 8) j
  -- sums that are not what they seem
  UNION ALL SELECT 'sums', sum(0.1::float8) OVER (ORDER BY i) FROM generate_series(1, 50000) i
  UNION ALL SELECT 'sums', sum(0.005::float8) OVER (ORDER BY i) FROM generate_series(1, 50000) i
  -- every magnitude
  UNION ALL SELECT 'magnitudes', (random() + 0.1) * 10 ^ (-300 + 311 * random()) FROM generate_series(1, 100000)
  UNION ALL SELECT 'magnitudes', random() * 10 ^ (floor(random() * 14) - 3) FROM generate_series(1, 100000)
  -- the limit
  UNION ALL SELECT 'limit', 9999999999.995 + i * 1.9073486328125e-06 FROM generate_series(-2000, 2000) i
  UNION ALL SELECT 'limit', v::float8 FROM unnest('{9999999999.99,9999999999.994,9999999999.9949,9999999999.994999,9999999999.9950}'::text[]) v
  UNION ALL SELECT 'small', v::float8 FROM unnest('{0,4.9e-324,9.9e-324,2.2250738585072014e-308,2.225073858507201e-308,1e-310,0.005,0.00499999999999999,0.0049999999999999996,0.0050000000000000001}'::text[]) v;
INSERT INTO amount SELECT kind, -x FROM amount WHERE kind IN ('mills', 'halves', 'limit', 'small');
-- what the old function refuses is refused here too; see below
SELECT kind, count(*) >= 10 AS enough,
  count(*) FILTER (WHERE legacy_money(x)::text IS DISTINCT FROM pg_temp.old_money(x)::text) AS different
FROM amount WHERE abs(round(x::numeric, 2)) < 1e10 GROUP BY 1 ORDER BY 1;
SELECT count(*) >= 1000000 AS a_million FROM amount WHERE abs(round(x::numeric, 2)) < 1e10;
CREATE FUNCTION pg_temp.refused(x float8) RETURNS text LANGUAGE plpgsql AS
$$BEGIN PERFORM legacy_money(x); RETURN 'accepted'; EXCEPTION WHEN numeric_value_out_of_range THEN RETURN 'refused'; END$$;
INSERT INTO amount SELECT 'huge', s * 10 ^ (10 + 298 * random()) FROM generate_series(1, 2000), unnest('{1,-1}'::float8[]) s;
INSERT INTO amount SELECT 'huge', v::float8 FROM unnest('{1e10,-1e10,1.7976931348623157e308,-1.7976931348623157e308,NaN,Infinity,-Infinity}'::text[]) v;
SELECT pg_temp.refused(x), count(*) > 5000 AS thousands FROM amount
WHERE x::text IN ('NaN', 'Infinity', '-Infinity') OR NOT abs(round(x::numeric, 2)) < 1e10 GROUP BY 1;
DROP TABLE amount;

-- a number as text, of any length
CREATE FUNCTION pg_temp.number(most int) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN random() < 0.4 THEN '-' ELSE '' END
    || CASE WHEN random() < 0.1 THEN '00' ELSE '' END
    || floor(random() * most)::text
    || CASE WHEN random() < 0.9 THEN '.' ELSE '' END
$$;
CREATE TEMP TABLE typed AS
SELECT lat || CASE WHEN lat LIKE '%.' THEN left(a, (random() * 25)::int) ELSE '' END AS lat,
       lng || CASE WHEN lng LIKE '%.' THEN left(b, (random() * 25)::int) ELSE '' END AS lng
FROM (SELECT pg_temp.number(91) AS lat, pg_temp.number(181) AS lng,
        trunc(random() * 1e15)::text || trunc(random() * 1e15)::text AS a, trunc(random() * 1e15)::text || trunc(random() * 1e15)::text AS b
      FROM generate_series(1, 1030000)) t;
INSERT INTO typed VALUES ('90', '180'), ('-90', '-180'), ('-0', '-0'), ('0', '0'), ('-0.', '0.000'), ('89.99999999999999', '179.99999999999997'),
  ('90.000000000000000000000001', '180.00000000000000000000000000001'), (repeat('0', 3000) || '20.' || repeat('1', 3000), '-' || repeat('0', 50) || '1.5' || repeat('0', 5000)),
  ('0.' || repeat('0', 300) || '1234567890123456789012345', '0.' || repeat('0', 320) || '3'),
  -- half way between two doubles, and a little more
  ('1.00000000000000011102230246251565404236316680908203125', '1.00000000000000011102230246251565404236316680908203124'),
  ('1.00000000000000011102230246251565404236316680908203125' || repeat('0', 900) || '1', '1.00000000000000033306690738754696212708950042724609375');
-- what letters, marks and chance give
INSERT INTO typed
SELECT (SELECT string_agg(substr('0123456789..-,+ °''"NSWO', 1 + (random() * 23)::int, 1), '') FROM generate_series(1, 1 + (i % 7))),
       (SELECT string_agg(substr('0123456789..-,+ °''"NSEO', 1 + (random() * 23)::int, 1), '') FROM generate_series(1, 1 + (i % 5)))
FROM generate_series(1, 200000) i;
SELECT count(*) >= 1000000 AS a_million, count(*) FILTER (WHERE NOT ROW(legacy_gps_to_point(lat, lng))::record *= ROW(old)::record) AS different
FROM (SELECT lat, lng, pg_temp.old_point(lat, lng) AS old FROM typed OFFSET 0) t
WHERE abs(old[1]) <= 90 AND abs(old[0]) <= 180;
-- outside the world nothing; everywhere the report and the converter agree
SELECT count(*) > 1000 AS thousands, count(legacy_gps_to_point(lat, lng)) AS converted
FROM (SELECT lat, lng, pg_temp.old_point(lat, lng) AS old FROM typed OFFSET 0) t
WHERE NOT (abs(old[1]) <= 90 AND abs(old[0]) <= 180);
SELECT count(*) AS disagree FROM typed
WHERE (legacy_gps_to_point(lat, lng) IS NULL) <> (coalesce(legacy_gps_error(lat, lng), 'none') NOT IN ('none', 'zero'));
SELECT legacy_gps_error(lat, lng) AS reason, count(*) > 0 AS some FROM typed GROUP BY 1 ORDER BY 1;

-- and the trimming
SELECT count(*) AS texts, count(*) FILTER (WHERE legacy_text(t) IS DISTINCT FROM NULLIF(trim(t), '')) AS different
FROM (SELECT repeat(' ', i % 4) || left(md5(i::text), i % 6) || repeat(' ', i % 3) || CASE WHEN i % 11 = 0 THEN E'\t' ELSE '' END AS t FROM generate_series(1, 200000) i) t;

-- parallel workers give the same
CREATE TABLE legacy_parallel AS SELECT lat, lng, random() * 1000 AS x FROM typed LIMIT 100000;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT sum(legacy_money(x)) FROM legacy_parallel WHERE legacy_gps_error(lat, lng) IS NULL;
CREATE TEMP TABLE answers AS SELECT sum(legacy_money(x)) AS s, count(*) AS n FROM legacy_parallel WHERE legacy_gps_error(lat, lng) IS NULL;
SET max_parallel_workers_per_gather = 0;
SELECT count(*) AS same FROM answers JOIN (SELECT sum(legacy_money(x)) AS s, count(*) AS n FROM legacy_parallel WHERE legacy_gps_error(lat, lng) IS NULL) t USING (s, n);
DROP TABLE legacy_parallel, answers, typed;
