/* aquacis_postgis--1.0.sql: what returns PostGIS types */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis_postgis CASCADE" to load this file. \quit

-- "geography" is found where the required extension postgis lives, because
-- CREATE EXTENSION puts that schema on the path; the function itself checks,
-- when it is first called, that it is PostGIS' own type.
CREATE FUNCTION @extschema@.legacy_gps_to_geom(lat pg_catalog.varchar, lng pg_catalog.varchar) RETURNS geography
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_gps_to_geom(pg_catalog.varchar, pg_catalog.varchar) IS
'the place as geography (SRID 4326); NULL when the texts are not a latitude and a longitude
lat, lng: degrees as typed, see legacy_gps_error for what is refused and why.
Errors: 55000 PostGIS is not where the function''s type is.';
