SET client_min_messages = warning; CREATE EXTENSION aquacis_postgis CASCADE;
SELECT setseed(0.10038);
SELECT pg_describe_object(classid, objid, objsubid) ~ 'legacy_gps_to_geom' AS ours, obj_description(objid, 'pg_proc') IS NOT NULL AS commented
FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'aquacis_postgis') AND deptype = 'e';

SELECT lat, lng, ST_AsEWKT(legacy_gps_to_geom(lat, lng)) FROM (VALUES ('20.588', '-100.38'), ('20,588', ' -100.38 '), ('20° 35'' 17" N', '100° 22'' 48" O'),
  ('0', '0'), ('90', '180'), ('-90', '-180'), ('95', '200'), ('-100.38', '20.588'), ('20.588.1', '1'), ('', ''), (NULL, '1')) t(lat, lng);
SELECT pg_typeof(legacy_gps_to_geom('1', '2')), ST_SRID(legacy_gps_to_geom('1', '2')::geometry);

-- the SQL function that it replaces
CREATE FUNCTION pg_temp.old_geom(lat varchar, lng varchar) RETURNS geography AS $$
  SELECT CASE
    WHEN lat IS NOT NULL AND lng IS NOT NULL
      AND lat ~ '^-?\d+\.?\d*$' AND lng ~ '^-?\d+\.?\d*$'
    THEN ST_SetSRID(ST_MakePoint(lng::double precision, lat::double precision), 4326)::geography
    ELSE NULL
  END;
$$ LANGUAGE sql IMMUTABLE;
CREATE TEMP TABLE place AS
SELECT CASE WHEN random() < 0.5 THEN '-' ELSE '' END || trunc((random() * 90)::numeric, (random() * 17)::int) AS lat,
       CASE WHEN random() < 0.5 THEN '-' ELSE '' END || trunc((random() * 180)::numeric, (random() * 17)::int) AS lng
FROM generate_series(1, 1000000);
-- the limits, and what lies next to them, where PostGIS snaps
INSERT INTO place
SELECT a || lat, b || lng FROM unnest('{"",-}'::text[]) a, unnest('{"",-}'::text[]) b,
  unnest('{0,00.0,90,90.,89,89.0000000001,88.9999999999,89.9999999999,89.99999999999,89.999999999999,90.000}'::text[]) lat,
  unnest('{0,0.000,180,180.,179,179.0000000001,178.9999999999,179.9999999999,179.99999999999,179.999999999999,180.000}'::text[]) lng;
INSERT INTO place VALUES ('0.' || repeat('0', 310) || '1', '-0.' || repeat('0', 300) || '7'), ('20.', '-100.');
SELECT count(*) >= 1000000 AS a_million, count(*) FILTER (WHERE NOT ROW(legacy_gps_to_geom(lat, lng))::record *= ROW(pg_temp.old_geom(lat, lng))::record) AS different
FROM place;

-- stored, and found by an index
CREATE TABLE legacy_places AS SELECT legacy_gps_to_geom(lat, lng) AS geom FROM place LIMIT 2000;
CREATE INDEX ON legacy_places USING gist (geom);
SET enable_seqscan = off;
SELECT count(*) = (SELECT count(*) FROM legacy_places p WHERE ST_Distance(p.geom, legacy_gps_to_geom('20', '-100')) <= 3000000) AS same
FROM legacy_places WHERE ST_DWithin(geom, legacy_gps_to_geom('20', '-100'), 3000000);
RESET enable_seqscan;

-- nothing that lies on search_path comes between
CREATE SCHEMA legacy_evil;
CREATE FUNCTION legacy_evil.st_geogfromwkb(bytea) RETURNS geography LANGUAGE sql AS 'SELECT NULL::geography';
SELECT extnamespace::regnamespace AS own FROM pg_extension WHERE extname = 'aquacis_postgis' \gset
SELECT extnamespace::regnamespace AS postgis FROM pg_extension WHERE extname = 'postgis' \gset
BEGIN;
SET LOCAL search_path = legacy_evil;
SELECT :own.legacy_gps_to_geom('20.588', '-100.38')::text;
ROLLBACK;
-- a function of ours with another return type, or without its PostGIS, says so
CREATE FUNCTION legacy_evil.fake(varchar, varchar) RETURNS bytea LANGUAGE c IMMUTABLE STRICT AS '$libdir/aquacis', 'legacy_gps_to_geom';
SELECT legacy_evil.fake('1', '2');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_evil.fake('x', '2') IS NULL AS "not reached";
BEGIN;
ALTER FUNCTION :postgis.st_geogfromwkb(bytea) RENAME TO st_geogfromwkb_hidden;
SELECT count(*) FROM (SELECT :own.legacy_gps_to_geom('1', '2')) t WHERE false;
\set VERBOSITY sqlstate
SELECT :own.legacy_gps_to_geom('1', '2') IS NULL;
\set VERBOSITY default
ROLLBACK;

-- in parallel workers
CREATE TABLE legacy_parallel AS SELECT * FROM place LIMIT 50000;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT count(*) FROM legacy_parallel WHERE legacy_gps_to_geom(lat, lng) IS NULL;
SELECT count(*) AS refused FROM legacy_parallel WHERE legacy_gps_to_geom(lat, lng) IS NULL;
DROP TABLE legacy_parallel, legacy_places, place;
DROP SCHEMA legacy_evil CASCADE;
DROP FUNCTION pg_temp.old_geom; DROP EXTENSION aquacis_postgis, postgis;
