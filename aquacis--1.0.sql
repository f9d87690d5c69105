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

CREATE FUNCTION legacy_bool(val bpchar) RETURNS boolean
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_bool(bpchar) IS 'S, Y, X are true; anything else, NULL too, is false';

CREATE FUNCTION legacy_bool_strict(val text) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_bool_strict(text) IS 'S, Y, X, 1, T, V are true; N, 0, F false; blank NULL; in any case; anything else is an error';

CREATE FUNCTION legacy_money(val double precision) RETURNS numeric
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_money(double precision) IS 'the amount as numeric(12,2), the same cents that ROUND(val::numeric, 2) gives; an error where it does not fit';

CREATE FUNCTION legacy_text(val text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_text(text) IS 'the text without surrounding blanks; NULL when nothing is left';

CREATE FUNCTION legacy_gps_to_point(lat text, lng text) RETURNS point
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_gps_to_point(text, text) IS 'the place as (lng, lat); NULL when the texts are not a latitude and a longitude';

CREATE FUNCTION legacy_gps_error(lat text, lng text) RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_gps_error(text, text) IS 'why the two texts are no usable place: missing, malformed, out of range, zero, swapped; NULL when they are one';

CREATE FUNCTION legacy_rfc(val text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_rfc(text) IS 'the RFC in upper case without blanks and hyphens; NULL when empty; an error when it is none';

CREATE FUNCTION legacy_rfc_error(val text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_rfc_error(text) IS 'why the text is no RFC: wrong length, wrong structure, impossible date, wrong check digit; NULL when it is one or empty';

CREATE FUNCTION legacy_curp(val text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_curp(text) IS 'the CURP in upper case without blanks and hyphens; NULL when empty; an error when it is none';

CREATE FUNCTION legacy_curp_error(val text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION legacy_curp_error(text) IS 'why the text is no CURP: wrong length, wrong structure, impossible date, unknown sex, unknown state, wrong check digit; NULL when it is one or empty';
