-- The SQL functions that the converters replace, and :values rows for each kind of
-- value.
SET client_min_messages = warning;
CREATE EXTENSION aquacis_postgis CASCADE;

CREATE FUNCTION old_bool(val char) RETURNS boolean AS $$
  SELECT CASE WHEN val IN ('S', 'Y', 'X') THEN true ELSE false END;
$$ LANGUAGE sql IMMUTABLE;
CREATE FUNCTION old_geom(lat varchar, lng varchar) RETURNS geography AS $$
  SELECT CASE
    WHEN lat IS NOT NULL AND lng IS NOT NULL
      AND lat ~ '^-?\d+\.?\d*$' AND lng ~ '^-?\d+\.?\d*$'
    THEN ST_SetSRID(ST_MakePoint(lng::double precision, lat::double precision), 4326)::geography
    ELSE NULL
  END;
$$ LANGUAGE sql IMMUTABLE;
CREATE FUNCTION old_point(lat varchar, lng varchar) RETURNS point AS $$
  SELECT CASE
    WHEN lat IS NOT NULL AND lng IS NOT NULL
      AND lat ~ '^-?\d+\.?\d*$' AND lng ~ '^-?\d+\.?\d*$'
    THEN point(lng::double precision, lat::double precision)
    ELSE NULL
  END;
$$ LANGUAGE sql IMMUTABLE;
CREATE FUNCTION old_money(val double precision) RETURNS decimal(12,2) AS $$
  SELECT ROUND(val::numeric, 2)::decimal(12,2);
$$ LANGUAGE sql IMMUTABLE;

SELECT setseed(0.5);
CREATE UNLOGGED TABLE flags AS SELECT (ARRAY['S', 'N', 'N', ' '])[1 + (random() * 3)::int]::char(1) AS f FROM generate_series(1, :values);
CREATE UNLOGGED TABLE amounts AS
  SELECT c / 100::float8 AS x, (c + 0.5) / 100::float8 AS half FROM (SELECT floor(random() * 1000000) AS c FROM generate_series(1, :values)) t;
CREATE UNLOGGED TABLE texts AS SELECT 'Calle ' || i % 1000 || repeat(' ', i % 3) AS t FROM generate_series(1, :values) i;
CREATE UNLOGGED TABLE places AS
  SELECT (20 + random())::numeric(12, 6)::varchar(30) AS lat, (-100 - random())::numeric(12, 6)::varchar(30) AS lng FROM generate_series(1, :values);
CREATE UNLOGGED TABLE long_places AS
  SELECT (20 + random())::numeric(20, 16)::varchar(30) AS lat, (-100 - random())::numeric(20, 16)::varchar(30) AS lng FROM generate_series(1, :values);
CREATE UNLOGGED TABLE longer_places AS
  SELECT (20 + random()::numeric + random()::numeric / 1e12)::numeric(24, 20)::varchar(30) AS lat, (-100 - random()::numeric - random()::numeric / 1e12)::numeric(24, 20)::varchar(30) AS lng FROM generate_series(1, :values);
VACUUM ANALYZE;
