-- :size rows of 105 columns are changed: with our audit, the PL/pgSQL function that
-- it replaces, and two well-known triggers, each re-created from its documentation:
-- supa_audit's (both whole rows as jsonb, a UUID computed from the key) and
-- the hstore audit trigger's (old row and changed fields as hstore, the query).
SET client_min_messages = warning;
SET search_path = bench, public;
CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;

\ir audit_contrato.sql
ALTER TABLE contrato ADD cntextra numeric(10,0);
CALL fill('contrato', :size);

\ir audit_replaced.sql

CREATE TABLE versions (
	id bigserial PRIMARY KEY, record_id uuid, old_record_id uuid, op text NOT NULL, ts timestamptz NOT NULL DEFAULT now(),
	table_oid oid NOT NULL, table_schema name NOT NULL, table_name name NOT NULL, record jsonb, old_record jsonb);
CREATE INDEX ON versions (record_id) WHERE record_id IS NOT NULL;
CREATE INDEX ON versions (old_record_id) WHERE old_record_id IS NOT NULL;
CREATE INDEX ON versions USING brin (ts);
CREATE INDEX ON versions (table_oid);
CREATE FUNCTION key_columns(relid oid) RETURNS text[] LANGUAGE sql STABLE AS $$
	SELECT array_agg(attname::text) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
	WHERE indrelid = relid AND indisprimary$$;
CREATE FUNCTION record_uuid(relid oid, key text[], record jsonb) RETURNS uuid LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN record IS NOT NULL THEN md5((jsonb_build_array(relid) || jsonb_agg(record -> k))::text)::uuid END FROM unnest(key) k$$;
CREATE FUNCTION versions_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	key text[] := bench.key_columns(TG_RELID);
	record jsonb := to_jsonb(NEW);
	old_record jsonb := to_jsonb(OLD);
BEGIN
	INSERT INTO bench.versions (record_id, old_record_id, op, table_oid, table_schema, table_name, record, old_record)
	VALUES (bench.record_uuid(TG_RELID, key, record), bench.record_uuid(TG_RELID, key, old_record), TG_OP, TG_RELID, TG_TABLE_SCHEMA,
		TG_TABLE_NAME, record, old_record);
	RETURN coalesce(NEW, OLD);
END$$;

CREATE TABLE actions (
	event_id bigserial PRIMARY KEY, schema_name text NOT NULL, table_name text NOT NULL, relid oid NOT NULL, session_user_name text,
	tx_time timestamptz NOT NULL, statement_time timestamptz NOT NULL, clock_time timestamptz NOT NULL, transaction_id bigint,
	application_name text, client_addr inet, client_port int, client_query text, action text NOT NULL, row_data hstore,
	changed_fields hstore, statement_only boolean NOT NULL);
CREATE INDEX ON actions (relid);
CREATE INDEX ON actions (statement_time);
CREATE INDEX ON actions (action);
CREATE FUNCTION actions_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	row_data hstore;
	changes hstore;
BEGIN
	IF TG_OP = 'INSERT' THEN
		row_data := hstore(NEW.*);
	ELSE
		row_data := hstore(OLD.*);
		IF TG_OP = 'UPDATE' THEN
			changes := hstore(NEW.*) - row_data;
			IF changes = ''::hstore THEN
				RETURN NULL;
			END IF;
		END IF;
	END IF;
	INSERT INTO bench.actions VALUES (nextval('bench.actions_event_id_seq'), TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_RELID, session_user,
		current_timestamp, statement_timestamp(), clock_timestamp(), txid_current(), current_setting('application_name'),
		inet_client_addr(), inet_client_port(), current_query(), left(TG_OP, 1), row_data, changes, false);
	RETURN NULL;
END$$;

CREATE SCHEMA log_ours;
SELECT public.audit_install(schema => 'log_ours', months => 1);
CREATE SCHEMA log_gin;
SELECT public.audit_install(schema => 'log_gin', gin => true, months => 1);

CREATE TABLE variants (n int, variant text, log text);
INSERT INTO variants VALUES (1, 'none', NULL), (2, 'ours', 'log_ours.audit_log'), (3, 'plpgsql', 'plpgsql_log'), (4, 'gin', 'log_gin.audit_log'),
	(5, 'supa', 'versions'), (6, 'hstore', 'actions');
SELECT format('CREATE TABLE t_%s (LIKE contrato INCLUDING ALL); INSERT INTO t_%1$s TABLE contrato', variant) FROM variants \gexec
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON t_plpgsql FOR EACH ROW EXECUTE FUNCTION plpgsql_audit('cnttnum');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON t_supa FOR EACH ROW EXECUTE FUNCTION versions_audit();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON t_hstore FOR EACH ROW EXECUTE FUNCTION actions_audit();
SELECT public.audit_enable('t_ours', log => 'log_ours.audit_log');
SELECT public.audit_enable('t_gin', log => 'log_gin.audit_log');

-- the rows that an UPDATE leaves in our log, and a table like a partition of it
CREATE TABLE finished (LIKE log_ours.audit_log);
CREATE TABLE bare (LIKE log_ours.audit_log_default INCLUDING ALL);

SELECT command FROM (
	SELECT r, n, s, format(command, variant, r, log) AS command FROM generate_series(0, :rounds) r, variants,
	(VALUES (1, 'VACUUM t_%s'), (2, 'TRUNCATE %3$s'),
		(3, 'CALL measure(''audit, UPDATE of 3 in 105 columns'', %1$L, %2$s, ''UPDATE t_%1$s SET cnttestado = (cnttestado + 1) %% 1000, cntthstusu = ''''usr%2$s'''', cntthsthora = clock_timestamp()'')'),
		(4, 'TRUNCATE finished, bare'), (5, 'INSERT INTO finished TABLE %3$s'),
		(6, 'CALL measure(''audit, UPDATE of 3 in 105 columns'', ''bare'', %2$s, ''INSERT INTO bare TABLE finished'')'),
		(7, 'TRUNCATE %3$s'), (8, 'CALL measure(''audit, DELETE of 105 columns'', %1$L, %2$s, ''DELETE FROM t_%1$s'')'),
		(9, 'VACUUM t_%s'), (10, 'TRUNCATE %3$s'),
		(11, 'CALL measure(''audit, INSERT of 105 columns'', %1$L, %2$s, ''INSERT INTO t_%1$s TABLE contrato'')')) v (s, command)
	WHERE (s NOT IN (2, 7, 10) OR log IS NOT NULL) AND (s NOT IN (4, 5, 6) OR variant = 'ours')
	ORDER BY r, n, s) q \gexec
