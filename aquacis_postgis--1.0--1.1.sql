/* aquacis_postgis--1.0--1.1.sql: what 1.1 changes in 1.0.  CREATE EXTENSION runs it after aquacis_postgis--1.0.sql. */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis_postgis CASCADE" or "ALTER EXTENSION aquacis_postgis UPDATE" to load this file. \quit

-- The type "geography" of 1.0 is looked for in the schema of this extension before
-- that of PostGIS.  Somebody who may create types there could have put one of his own
-- in its place, and his casts would be used.  The function raises 55000 unless the type
-- is PostGIS' own.  The casts choose this function and no other of its name.
SELECT @extschema@.legacy_gps_to_geom('0'::varchar, '0'::varchar);
