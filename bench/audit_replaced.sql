-- The function and the log that are replaced.  Its primary key had to be
-- completed by the partition key to be accepted at all.
CREATE TABLE plpgsql_log (
	id bigint GENERATED ALWAYS AS IDENTITY, table_name varchar(63) NOT NULL, record_id bigint NOT NULL,
	action char(1) NOT NULL, old_data jsonb, new_data jsonb, changed_fields jsonb, session_id bigint,
	user_id varchar(10) NOT NULL, changed_at timestamptz NOT NULL DEFAULT now(), app_context jsonb,
	PRIMARY KEY (id, changed_at)) PARTITION BY RANGE (changed_at);
CREATE TABLE plpgsql_log_1 PARTITION OF plpgsql_log FOR VALUES FROM ('2000-01-01') TO ('2100-01-01');
CREATE INDEX ON plpgsql_log (table_name, record_id, changed_at);
CREATE INDEX ON plpgsql_log (user_id, changed_at);
CREATE INDEX ON plpgsql_log USING gin (changed_fields);
\ir audit_oracle.sql
