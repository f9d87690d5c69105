/* aquacis--1.0.sql: the whole SQL interface, in the order of src/ */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis" to load this file. \quit

------------------------------------------------------------------------------
-- audit: a JSONB diff trigger and its partitioned log
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.fn_audit_trigger() RETURNS pg_catalog.trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fn_audit_trigger';
COMMENT ON FUNCTION @extschema@.fn_audit_trigger() IS
'audit trigger: arguments [key columns] [exclude=a,b] [redact=c] [log=schema.table]';
REVOKE EXECUTE ON FUNCTION @extschema@.fn_audit_trigger() FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_install(schema pg_catalog.name DEFAULT NULL,
	gin pg_catalog.bool DEFAULT false, months pg_catalog.int4 DEFAULT 3) RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'audit_install';
COMMENT ON FUNCTION @extschema@.audit_install(pg_catalog.name, pg_catalog.bool, pg_catalog.int4) IS
'create audit_log and its partitions where they are missing';
REVOKE EXECUTE ON FUNCTION @extschema@.audit_install(pg_catalog.name, pg_catalog.bool, pg_catalog.int4)
FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_enable(audited_table pg_catalog.regclass,
	key pg_catalog.text[] DEFAULT NULL, exclude pg_catalog.text[] DEFAULT NULL,
	redact pg_catalog.text[] DEFAULT NULL, log pg_catalog.regclass DEFAULT NULL,
	replica pg_catalog.bool DEFAULT false) RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'audit_enable';
COMMENT ON FUNCTION @extschema@.audit_enable(pg_catalog.regclass, pg_catalog.text[], pg_catalog.text[],
	pg_catalog.text[], pg_catalog.regclass, pg_catalog.bool) IS
'attach the audit triggers to a table, replacing those of an earlier call';
REVOKE EXECUTE ON FUNCTION @extschema@.audit_enable(pg_catalog.regclass, pg_catalog.text[],
	pg_catalog.text[], pg_catalog.text[], pg_catalog.regclass, pg_catalog.bool) FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_disable(audited_table pg_catalog.regclass) RETURNS pg_catalog.void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'audit_disable';
COMMENT ON FUNCTION @extschema@.audit_disable(pg_catalog.regclass) IS
'remove the audit triggers of a table; what was logged stays';
REVOKE EXECUTE ON FUNCTION @extschema@.audit_disable(pg_catalog.regclass) FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_set_user(user_id pg_catalog.text,
	session_id pg_catalog.int8 DEFAULT NULL, context pg_catalog.jsonb DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT pg_catalog.set_config('app.current_user', coalesce(user_id, ''), true),
		pg_catalog.set_config('app.session_id', coalesce(session_id::pg_catalog.text, ''), true),
		pg_catalog.set_config('app.context', coalesce(context::pg_catalog.text, ''), true);
END;
COMMENT ON FUNCTION @extschema@.audit_set_user(pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb) IS
'tell the audit who acts, until the end of the transaction';

CREATE FUNCTION @extschema@.audit_history(audited_table pg_catalog.text, record_key pg_catalog.text,
	OUT changed_at pg_catalog.timestamptz, OUT xact_id pg_catalog.xid8, OUT action pg_catalog.text,
	OUT user_id pg_catalog.text, OUT column_name pg_catalog.text, OUT old_value pg_catalog.jsonb,
	OUT new_value pg_catalog.jsonb) RETURNS SETOF pg_catalog.record
LANGUAGE c STABLE STRICT PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'audit_history';
COMMENT ON FUNCTION @extschema@.audit_history(pg_catalog.text, pg_catalog.text) IS
'the changes of one record, newest first, a row for each column';


------------------------------------------------------------------------------
-- consolidate: per-process tables into one
------------------------------------------------------------------------------


------------------------------------------------------------------------------
-- tariff: block tariffs in JSONB, exact bills
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.tariff_charge(tariff pg_catalog.jsonb, consumption pg_catalog.numeric)
RETURNS pg_catalog.numeric
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.tariff_charge(pg_catalog.jsonb, pg_catalog.numeric) IS
  'The water charge of a consumption in m3, minimum included, with 2 decimals';

CREATE FUNCTION @extschema@.tariff_blocks(tariff pg_catalog.jsonb, consumption pg_catalog.numeric)
RETURNS TABLE (
  block pg_catalog.int4, from_m3 pg_catalog.numeric, to_m3 pg_catalog.numeric,
  quantity pg_catalog.numeric, price_per_m3 pg_catalog.numeric,
  fixed_charge pg_catalog.numeric, amount pg_catalog.numeric)
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 4;

COMMENT ON FUNCTION @extschema@.tariff_blocks(pg_catalog.jsonb, pg_catalog.numeric) IS
  'The blocks that a water charge is made of; their unrounded amounts sum to it';

CREATE FUNCTION @extschema@.tariff_bill(
  tariff pg_catalog.jsonb, consumption pg_catalog.numeric,
  additional_concepts pg_catalog.jsonb DEFAULT NULL, iva_rate pg_catalog.numeric DEFAULT NULL,
  social_discount_pct pg_catalog.numeric DEFAULT NULL, units_served pg_catalog.int4 DEFAULT 1,
  period_factor pg_catalog.numeric DEFAULT 1)
RETURNS pg_catalog.jsonb
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.tariff_bill(
  pg_catalog.jsonb, pg_catalog.numeric, pg_catalog.jsonb, pg_catalog.numeric,
  pg_catalog.numeric, pg_catalog.int4, pg_catalog.numeric) IS
  'A whole bill as JSON: lines, subtotal, discount, iva, total';

CREATE FUNCTION @extschema@.tariff_lines(
  tariff pg_catalog.jsonb, consumption pg_catalog.numeric,
  additional_concepts pg_catalog.jsonb DEFAULT NULL, iva_rate pg_catalog.numeric DEFAULT NULL,
  social_discount_pct pg_catalog.numeric DEFAULT NULL, units_served pg_catalog.int4 DEFAULT 1,
  period_factor pg_catalog.numeric DEFAULT 1)
RETURNS TABLE (
  concept_code pg_catalog.text, concept_name pg_catalog.text, quantity pg_catalog.numeric,
  unit_price pg_catalog.numeric, subtotal pg_catalog.numeric, discount pg_catalog.numeric,
  iva_rate pg_catalog.numeric, iva_amount pg_catalog.numeric, total pg_catalog.numeric,
  tariff_detail pg_catalog.jsonb, clave_prod_serv pg_catalog.text,
  clave_unidad pg_catalog.text, sort_order pg_catalog.int4)
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 3;

COMMENT ON FUNCTION @extschema@.tariff_lines(
  pg_catalog.jsonb, pg_catalog.numeric, pg_catalog.jsonb, pg_catalog.numeric,
  pg_catalog.numeric, pg_catalog.int4, pg_catalog.numeric) IS
  'The lines of a bill, ready to be inserted into invoice_lines';

CREATE FUNCTION @extschema@.tariff_errors(tariff pg_catalog.jsonb)
RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.tariff_errors(pg_catalog.jsonb) IS
  'Every fault of a tariff with its JSON path; empty when it is valid';

CREATE FUNCTION @extschema@.tariff_is_valid(tariff pg_catalog.jsonb)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.tariff_is_valid(pg_catalog.jsonb) IS
  'Whether a tariff has no faults, for CHECK constraints';


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
