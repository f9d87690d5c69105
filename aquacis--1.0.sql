/* aquacis--1.0.sql: the whole SQL interface, in the order of src/ */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis" to load this file. \quit

------------------------------------------------------------------------------
-- audit: a JSONB diff trigger and its partitioned log
------------------------------------------------------------------------------


------------------------------------------------------------------------------
-- consolidate: per-process tables into one
------------------------------------------------------------------------------


------------------------------------------------------------------------------
-- tariff: block tariffs in JSONB, exact bills
------------------------------------------------------------------------------


------------------------------------------------------------------------------
-- legacy: converters for what legacy columns hold
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.legacy_bool(val pg_catalog.bpchar) RETURNS pg_catalog.bool
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_bool(pg_catalog.bpchar) IS 'S, Y, X are true; anything else, NULL too, is false';

CREATE FUNCTION @extschema@.legacy_bool_strict(val pg_catalog.text) RETURNS pg_catalog.bool
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_bool_strict(pg_catalog.text) IS 'S, Y, X, 1, T, V are true; N, 0, F false; blank NULL; in any case; anything else is an error';

CREATE FUNCTION @extschema@.legacy_money(val pg_catalog.float8) RETURNS pg_catalog.numeric
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_money(pg_catalog.float8) IS 'the amount as numeric(12,2), the same cents that ROUND(val::numeric, 2) gives; an error where it does not fit';

CREATE FUNCTION @extschema@.legacy_text(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_text(pg_catalog.text) IS 'the text without surrounding blanks; NULL when nothing is left';

CREATE FUNCTION @extschema@.legacy_gps_to_point(lat pg_catalog.text, lng pg_catalog.text) RETURNS pg_catalog.point
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_gps_to_point(pg_catalog.text, pg_catalog.text) IS 'the place as (lng, lat); NULL when the texts are not a latitude and a longitude';

CREATE FUNCTION @extschema@.legacy_gps_error(lat pg_catalog.text, lng pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_gps_error(pg_catalog.text, pg_catalog.text) IS 'why the two texts are no usable place: missing, malformed, out of range, zero, swapped; NULL when they are one';

CREATE FUNCTION @extschema@.legacy_rfc(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_rfc(pg_catalog.text) IS 'the RFC in upper case without blanks and hyphens; NULL when empty; an error when it is none';

CREATE FUNCTION @extschema@.legacy_rfc_error(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_rfc_error(pg_catalog.text) IS 'why the text is no RFC: wrong length, wrong structure, impossible date, wrong check digit; NULL when it is one or empty';

CREATE FUNCTION @extschema@.legacy_curp(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_curp(pg_catalog.text) IS 'the CURP in upper case without blanks and hyphens; NULL when empty; an error when it is none';

CREATE FUNCTION @extschema@.legacy_curp_error(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_curp_error(pg_catalog.text) IS 'why the text is no CURP: wrong length, wrong structure, impossible date, unknown sex, unknown state, wrong check digit; NULL when it is one or empty';
