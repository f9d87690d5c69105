-- What reading the log costs: :entries entries of the month that is over, in a log of this
-- version and, the same ones, in a log of 1.0.  They are generated, not written by triggers:
-- transactions of 10 entries, 50 of each record, 100 users; nobody has their transaction ids.
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS reading CASCADE;
CREATE SCHEMA reading;
SET search_path = reading, bench, public;
SELECT public.audit_install(schema => 'reading', months => 1);

-- 20 columns, :rows rows; and the same for undo
SELECT format('CREATE TABLE many (c1 numeric(10,0) PRIMARY KEY, %s)', string_agg(format('c%s %s', i,
	(ARRAY['numeric(10,0)', 'varchar(20)', 'date', 'numeric(18,2)', 'char(1)'])[i % 5 + 1]), ', ' ORDER BY i))
FROM generate_series(2, 20) i \gexec
CALL bench.fill('many', :rows);
CREATE TABLE undone (LIKE many INCLUDING ALL);
INSERT INTO undone SELECT * FROM many WHERE c1 <= 100000 + 5 * :undo;
CREATE TABLE undone_before AS SELECT * FROM undone;
SELECT public.audit_enable('many', log => 'reading.audit_log');
SELECT public.audit_enable('undone', log => 'reading.audit_log');

-- ---- the entries ------------------------------------------------------------------------
SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS month_end,
	(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC' AS month_start,
	(SELECT id FROM public.audit_table WHERE relid = 'many'::regclass) AS id \gset
CREATE TABLE audit_log_before PARTITION OF audit_log FOR VALUES FROM (:'month_start') TO (:'month_end');
CREATE VIEW generated AS
SELECT at AS changed_at, (10000000000 + i / 10)::text::xid8 AS xact_id, i % 10 + 1 AS xact_seq, 'reading' AS table_schema,
	'many' AS table_name, 100001 + (i::bigint * 7919) % (:entries / 50) AS record_id, 'U' AS action,
	jsonb_build_object('c5', jsonb_build_object('old', i / (:entries / 50), 'new', i / (:entries / 50) + 1),
		'c7', jsonb_build_object('old', at::date, 'new', at::date + 1)) AS changed_fields,
	'u' || i / 10 % 100 AS user_id, 'bench' AS db_user, at + i % 10 * interval '1 microsecond' AS written_at
FROM generate_series(0, :entries - 1) i,
	LATERAL (SELECT :'month_start'::timestamptz + (i / 10) * ((:'month_end'::timestamptz - :'month_start'::timestamptz) / (:entries / 10 + 1)) AS at) moment;
INSERT INTO audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, changed_fields, user_id, db_user,
	session_user_name, written_at, table_id)
SELECT changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, changed_fields, user_id, db_user, db_user, written_at, :id
FROM generated;
SELECT brin_summarize_new_values(indexrelid) FROM pg_index JOIN pg_class ON oid = indexrelid JOIN pg_am am ON am.oid = relam
WHERE indrelid = 'audit_log_before'::regclass AND amname = 'brin';

CREATE TABLE old_log (LIKE audit_log) PARTITION BY RANGE (changed_at);
ALTER TABLE old_log DROP written_at, DROP table_id, DROP new_key, ADD PRIMARY KEY (changed_at, xact_id, xact_seq);
CREATE INDEX ON old_log (record_id, table_name, changed_at) WHERE record_id IS NOT NULL;
CREATE INDEX ON old_log (jsonb_hash_extended(record_key, 0), table_name, changed_at) WHERE record_key IS NOT NULL;
CREATE INDEX ON old_log (user_id, changed_at) WHERE user_id <> 'system';
SELECT format('CREATE TABLE %I PARTITION OF old_log %s', replace(relname, 'audit_log', 'old_log'), pg_get_expr(relpartbound, oid))
FROM pg_class JOIN pg_inherits ON inhrelid = oid WHERE inhparent = 'audit_log'::regclass \gexec
INSERT INTO old_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, changed_fields, user_id, db_user, session_user_name)
SELECT changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, changed_fields, user_id, db_user, db_user FROM generated;
VACUUM ANALYZE audit_log_before;
VACUUM ANALYZE old_log_before;
INSERT INTO timing SELECT 'indexes of the log', variant, round, pg_indexes_size(log) / :entries::float8, NULL
FROM generate_series(1, :rounds) round, (VALUES ('ours', 'audit_log_before'::regclass), ('old', 'old_log_before')) v (variant, log);

-- Runs a query n times, with another $1 each time, reading all that it returns.
CREATE PROCEDURE repeat(n int, query text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		EXECUTE query USING i;
	END LOOP;
END$$;

-- ---- the indexes ------------------------------------------------------------------------
CREATE TABLE questions (s int, what text, n int, ours text, old text);
INSERT INTO questions VALUES
	(1, 'log, the history of a record', 20, 'record_id = 100001 + $1 * 97 % (:entries / 50) AND table_id = :id ORDER BY written_at, xact_id, xact_seq',
		'record_id = 100001 + $1 * 97 % (:entries / 50) AND table_schema = ''reading'' AND table_name = ''many'' ORDER BY changed_at, xact_id, xact_seq'),
	(2, 'log, an hour of the month', 5, 'changed_at >= :start + $1 * interval ''3 days'' AND changed_at < :start + $1 * interval ''3 days'' + interval ''1 hour''', NULL),
	(3, 'log, a transaction, by its time and id', 20, 'changed_at = (SELECT changed_at FROM known WHERE n = $1) AND xact_id = (SELECT xact_id FROM known WHERE n = $1)', NULL),
	(4, 'log, a transaction, by its id alone', 1, 'xact_id = (SELECT xact_id FROM known WHERE n = $1)', NULL),
	(5, 'log, a day of a user', 5, 'user_id = ''u'' || $1 * 13 AND changed_at >= :start + $1 * interval ''3 days'' AND changed_at < :start + $1 * interval ''3 days'' + interval ''1 day''', NULL);
UPDATE questions SET ours = replace(replace(replace(ours, ':entries', :'entries'), ':id', :'id'), ':start', quote_literal(:'month_start') || '::timestamptz'),
	old = replace(replace(coalesce(old, ours), ':entries', :'entries'), ':start', quote_literal(:'month_start') || '::timestamptz');
CREATE TABLE known AS SELECT n, changed_at, xact_id FROM generate_series(1, 20) n,
	LATERAL (SELECT changed_at, xact_id FROM old_log WHERE changed_at >= :'month_start'::timestamptz + n * interval '1 day' ORDER BY changed_at LIMIT 1) l;
SELECT format('CALL measure(%L, %L, %s, %L, %s)', what, variant, r, format('CALL repeat(%s, %L)', n,
		format('SELECT changed_at, user_id, changed_fields FROM %s WHERE %s', log, CASE variant WHEN 'ours' THEN ours ELSE old END)), n)
FROM generate_series(0, :rounds) r, questions, (VALUES (1, 'ours', 'audit_log'), (2, 'old', 'old_log')) v (o, variant, log)
ORDER BY r, s, o \gexec
