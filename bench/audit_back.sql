-- What reads back from the log that audit_reading.sql has made: the versions of a record, a
-- table as it was, undo; and the feed, from a log of its own.  Beside each, what does the
-- least that could be done.
SET client_min_messages = warning;
SET search_path = reading, bench, public;

-- ---- 50 versions of a record --------------------------------------------------------------
SELECT (SELECT id FROM public.audit_table WHERE relid = 'many'::regclass) AS id \gset
SELECT format('CALL measure(''audit_versions, 50 of a record among %s'', %L, %s, %L, 100)', to_char(:entries, 'FM99,999,999'), variant, r,
	format('CALL repeat(100, %L)', query))
FROM generate_series(0, :rounds) r, (VALUES
	(1, 'ours', format('SELECT * FROM public.audit_versions(NULL::many, (100001 + $1 * 97 %% (%s / 50))::text)', :entries)),
	(2, 'plain', format('SELECT * FROM audit_log WHERE record_id = 100001 + $1 * 97 %% (%s / 50) AND table_id = %s ORDER BY written_at', :entries, :id))) v (o, variant, query)
ORDER BY r, o \gexec

-- ---- a table as it was before 5 % of it were changed -----------------------------------------
SELECT clock_timestamp() AS moment \gset
UPDATE many SET c5 = c5 + 1, c10 = c10 + 1, c15 = c15 + 1 WHERE c1 % 20 = 0;
VACUUM ANALYZE many;
SELECT format('CALL measure(''audit_rows_at, 5 %% of %s rows changed since'', %L, %s, %L)', to_char(:rows, 'FM99,999,999'), variant, r,
	format('COPY (SELECT * FROM %s) TO ''/dev/null''', source))
FROM generate_series(0, :rounds) r, (VALUES (1, 'ours', format('public.audit_rows_at(NULL::reading.many, %L)', :'moment')), (2, 'table', 'reading.many')) v (o, variant, source)
ORDER BY r, o \gexec

-- ---- undo --------------------------------------------------------------------------------------
CREATE TABLE latest AS SELECT '0'::xid8 AS xact;
SELECT replace(command, ':r', r::text) FROM generate_series(0, :rounds) r, (VALUES
	(1, 'VACUUM undone'),
	(2, format('CALL measure(''audit_undo, UPDATE of %s rows'', ''hand'', :r, ''UPDATE undone SET c5 = c5 + 1, c10 = c10 + 1, c15 = c15 + 1 WHERE c1 <= 100000 + %s'')',
		to_char(:undo, 'FM99,999,999'), :undo)),
	(3, 'UPDATE latest SET xact = (SELECT xact_id FROM audit_log WHERE changed_at > now() - interval ''1 hour'' ORDER BY written_at DESC LIMIT 1)'),
	(4, 'VACUUM undone'),
	(5, format('CALL measure(''audit_undo, UPDATE of %s rows'', ''ours'', :r, ''SELECT * FROM public.audit_undo(xact => (SELECT xact FROM latest), log => ''''reading.audit_log'''')'', %s)',
		to_char(:undo, 'FM99,999,999'), :undo))) v (s, command)
ORDER BY r, s \gexec
DO $$BEGIN
	IF EXISTS (SELECT * FROM undone EXCEPT SELECT * FROM undone_before) THEN
		RAISE 'audit_undo left other rows than there were';
	END IF;
END$$;

-- ---- the feed: :feed entries in transactions of 1,000 ---------------------------------------------
CREATE SCHEMA feed;
SELECT public.audit_install(schema => 'feed', months => 1);
SELECT format('INSERT INTO feed.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, changed_fields, user_id, db_user,
	session_user_name, written_at, table_id)
SELECT now(), pg_current_xact_id(), i, ''reading'', ''many'', i, ''U'', jsonb_build_object(''c6'', jsonb_build_object(''old'', i, ''new'', i + 1)), ''u'', ''bench'', ''bench'', clock_timestamp(), %s
FROM generate_series(1, 1000) i', :id) FROM generate_series(1, :feed / 1000) \gexec
VACUUM ANALYZE feed.audit_log;
SELECT brin_summarize_new_values(indexrelid) FROM pg_index JOIN pg_class ON oid = indexrelid JOIN pg_am am ON am.oid = relam
JOIN pg_inherits ON inhrelid = indrelid WHERE inhparent = 'feed.audit_log'::regclass AND amname = 'brin';

-- Reads the feed to its end in portions, as a consumer does.
CREATE PROCEDURE drain(log regclass, portion int, expected bigint) LANGUAGE plpgsql AS $$
DECLARE
	last_position text;
	new_position text;
	n bigint;
	total bigint := 0;
BEGIN
	LOOP
		SELECT count(*), (array_agg(c.position))[count(*)] INTO n, new_position FROM public.audit_changes(last_position, portion, log) c;
		EXIT WHEN n = 0;
		last_position := new_position;
		total := total + n;
	END LOOP;
	IF total <> expected THEN
		RAISE 'the feed gave % of % entries', total, expected;
	END IF;
END$$;
SELECT format('CALL measure(''audit_changes, %s entries in portions of 10,000'', %L, %s, %L, %s)', to_char(:feed, 'FM99,999,999'), variant, r, command, :feed)
FROM generate_series(0, :rounds) r, (VALUES
	(1, 'ours', format('CALL drain(''feed.audit_log'', 10000, %s)', :feed)),
	(2, 'plain', 'COPY (SELECT * FROM feed.audit_log) TO ''/dev/null''')) v (o, variant, command)
ORDER BY r, o \gexec
