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

CREATE PROCEDURE @extschema@.audit_maintain(months_ahead pg_catalog.int4 DEFAULT 3,
	keep pg_catalog.interval DEFAULT NULL, expired pg_catalog.text DEFAULT 'detach',
	lock_wait pg_catalog.text DEFAULT '2s', log pg_catalog.regclass DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'audit_maintain';
COMMENT ON PROCEDURE @extschema@.audit_maintain(pg_catalog.int4, pg_catalog.interval, pg_catalog.text,
	pg_catalog.text, pg_catalog.regclass) IS
'partitions ahead, default partition emptied, closed months indexed, old months detached or dropped';
REVOKE EXECUTE ON PROCEDURE @extschema@.audit_maintain(pg_catalog.int4, pg_catalog.interval,
	pg_catalog.text, pg_catalog.text, pg_catalog.regclass) FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_tables(OUT audited_table pg_catalog.regclass, OUT key pg_catalog.text[],
	OUT excluded pg_catalog.text[], OUT redacted pg_catalog.text[], OUT enabled pg_catalog.bool,
	OUT replica pg_catalog.bool, OUT log pg_catalog.regclass, OUT months_left pg_catalog.int4,
	OUT default_rows pg_catalog.int8) RETURNS SETOF pg_catalog.record
LANGUAGE c STABLE STRICT PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'audit_tables';
COMMENT ON FUNCTION @extschema@.audit_tables() IS 'the rows of the view audit_status';

CREATE VIEW @extschema@.audit_status AS
SELECT audited_table, key, excluded, redacted, enabled, replica, log, months_left, default_rows
FROM @extschema@.audit_tables();
GRANT SELECT ON @extschema@.audit_status TO PUBLIC;
COMMENT ON VIEW @extschema@.audit_status IS
'audited tables, and for how many more months their log has partitions';

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


------------------------------------------------------------------------------
-- legacy: converters for what legacy columns hold
------------------------------------------------------------------------------

