-- The feed of a log: portions, positions, what is refused.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE TABLE ac_t (id int PRIMARY KEY, v int);
SELECT audit_enable('ac_t');
CREATE TABLE ac_pos (name text PRIMARY KEY, pos text);
-- from now on: nothing, until something is committed
INSERT INTO ac_pos SELECT 'start', audit_position();
SELECT count(*) FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'));
BEGIN;
INSERT INTO ac_t SELECT i, 0 FROM generate_series(1, 3) i;
-- what is not committed is not there, for the transaction that makes it, too
SELECT count(*) FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'));
INSERT INTO ac_pos SELECT 'within', audit_position();
COMMIT;
SELECT count(*) FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'within'));
UPDATE ac_t SET v = 1 WHERE id < 3;
BEGIN;
SELECT audit_set_user('ana', 7, '{"a": 1}');
DELETE FROM ac_t WHERE id = 3;
SAVEPOINT s;
UPDATE ac_t SET v = 2;
ROLLBACK TO s;
SAVEPOINT s;
UPDATE ac_t SET v = 3 WHERE id = 1;
COMMIT;
BEGIN;
DELETE FROM ac_t;
ROLLBACK;
TRUNCATE ac_t;
SELECT table_name, record_id, action, old_data, new_data, changed_fields, user_id, session_id, app_context,
	written_at >= changed_at AS written, table_id IS NOT NULL AS has_id, xact_seq
FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'));
-- portions end with a transaction, unless one alone is larger
CREATE FUNCTION ac_portions(start text, portion int) RETURNS TABLE (n int, transactions int, entries text) LANGUAGE plpgsql AS $$
DECLARE
	p text := start;
	q text;
BEGIN
	LOOP
		SELECT count(*), count(DISTINCT xact_id), string_agg(action || coalesce(record_id::text, ''), ' '), (array_agg(position))[count(*)]
		INTO n, transactions, entries, q FROM audit_changes(p, portion);
		EXIT WHEN n = 0;
		p := q;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT p, x.* FROM generate_series(1, 9) p, ac_portions((SELECT pos FROM ac_pos WHERE name = 'start'), p) x;
-- each row's position is the one behind it
SELECT count(*) AS rows, bool_and(rest = n - nr) AS right
FROM (SELECT row_number() OVER () AS nr, count(*) OVER () AS n, (SELECT count(*) FROM audit_changes(c.position)) AS rest
	FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start')) c) x;
-- two consumers in one session, at different places
CREATE FUNCTION ac_two() RETURNS TABLE (a text, b text) LANGUAGE plpgsql AS $$
DECLARE
	p text;
	q text;
	next text;
BEGIN
	SELECT pos INTO p FROM ac_pos WHERE name = 'start';
	q := p;
	FOR i IN 1..4 LOOP
		SELECT string_agg(action || coalesce(record_id::text, ''), ' '), (array_agg(position))[count(*)] INTO a, next FROM audit_changes(p, 2);
		p := coalesce(next, p);
		SELECT string_agg(action || coalesce(record_id::text, ''), ' '), (array_agg(position))[count(*)] INTO b, next FROM audit_changes(q, 3);
		q := coalesce(next, q);
		RETURN NEXT;
	END LOOP;
END $$;
SELECT * FROM ac_two();
-- a consumer that rolls back gets the same again, also when the log was changed in between and that was undone
BEGIN;
INSERT INTO ac_pos SELECT 'p', position FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'), 2) OFFSET 1;
DELETE FROM audit_log;
SELECT count(*) FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'p'));
ROLLBACK;
SELECT n, entries FROM ac_portions((SELECT pos FROM ac_pos WHERE name = 'start'), 2);
-- REPEATABLE READ: what the transaction sees
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'));
SELECT audit_position() = audit_position() AS same;
COMMIT;
-- 22023: no position
\set VERBOSITY default
SELECT * FROM audit_changes('');
SELECT * FROM audit_changes('aquacis-2/0/0/0');
SELECT * FROM audit_changes('aquacis-1');
SELECT * FROM audit_changes('aquacis-1/x');
CREATE FUNCTION ac_try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d text;
	h text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN format('%s: %s / %s / %s', SQLSTATE, regexp_replace(SQLERRM, '"aquacis-1.*"', '"..."'), d, h);
END $$;
-- everything that can be wrong with one, by changing one that is right
CREATE VIEW ac_inside AS SELECT (SELECT position FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'), 1)) AS p;
SELECT ac_try(format('SELECT * FROM audit_changes(%L)', p)) FROM ac_inside;
SELECT DISTINCT ac_try(format('SELECT * FROM audit_changes(%L)', x)) FROM ac_inside,
	LATERAL (VALUES (p || 'x'), (p || '/1'), (p || ' '), (left(p, -1) || '-'), (rtrim(p, '0123456789')), (regexp_replace(p, '/w/', '/q/')),
		(regexp_replace(p, '/w/', '/')), (regexp_replace(p, '/w/.*', '/')), (regexp_replace(p, '(\d+):(\d+):', '\2:\1:,')),
		(regexp_replace(p, '(\d+):(\d+):', '0:0:')), (regexp_replace(p, '(\d+):(\d+):', '5:9:7')), (regexp_replace(p, '(\d+):(\d+):', '5:9:5,')),
		(regexp_replace(p, '(\d+):(\d+):', '5:9:5,5')), (regexp_replace(p, '(\d+):(\d+):', '5:9:5,9')), (regexp_replace(p, '(\d+):(\d+):', '5:9')),
		(regexp_replace(p, '(\d+):(\d+):', '99999999999999999999:99999999999999999999:'))) v (x);
-- 55000: of another database; of another log; ahead of what is there
SELECT ac_try(format('SELECT * FROM audit_changes(%L)', regexp_replace(p, '/\w+/', '/0123456789abcdef/'))) FROM ac_inside;
CREATE TABLE ac_log (LIKE audit_log);
SELECT ac_try(format('SELECT * FROM audit_changes(%L, log => ''ac_log'')', p)) FROM ac_inside;
SELECT ac_try(format('SELECT * FROM audit_changes(%L)', regexp_replace(pos, '\d+:\d+:.*', '99999999999:99999999999:'))) FROM ac_pos WHERE name = 'start';
-- arguments
SELECT * FROM audit_changes(max_rows => 0);
SELECT * FROM audit_changes(max_rows => NULL);
-- logs of other shapes: a log that knows no transactions; one without written_at, which is ordered by xact_id
CREATE TABLE ac_small (changed_at timestamptz, table_name text, action text, record_id bigint, old_data jsonb, new_data jsonb, changed_fields jsonb);
SELECT * FROM audit_changes(log => 'ac_small');
ALTER TABLE ac_small ADD xact_id xid8;
SELECT audit_position('ac_small');
ALTER TABLE ac_small ADD xact_seq int;
SELECT * FROM audit_changes(log => 'ac_t');
SELECT audit_enable('ac_t', log => 'ac_small');
INSERT INTO ac_t SELECT i, 0 FROM generate_series(1, 3) i;
UPDATE ac_t SET v = 1 WHERE id < 3;
SELECT xact_seq, written_at, table_id, table_name, record_id, action, user_id FROM audit_changes(log => 'ac_small');
SELECT position ~ '/x/' AS by_number FROM audit_changes(log => 'ac_small') LIMIT 1;
SELECT audit_disable('ac_t');
DROP TABLE ac_small;
-- a clock that was set back: in the order of the numbers, with a warning
CREATE FUNCTION ac_entry(n int, started timestamptz, written timestamptz) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ac_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, user_id, written_at)
	VALUES (started, pg_current_xact_id(), 1, 'elsewhere', 'x', n, 'I', 'u', written) $$;
SELECT ac_entry(1, '2026-01-01 10:00', '2026-01-01 10:05');
SELECT ac_entry(2, '2026-01-01 10:01', '2026-01-01 10:01');
-- the longer one comes later
SELECT record_id FROM audit_changes(log => 'ac_log');
SELECT ac_entry(3, '2026-01-01 09:30', '2026-01-01 09:31');
SELECT record_id, position ~ '/x/' AS by_number FROM audit_changes(log => 'ac_log');
-- entries that were restored come at the beginning, never later, not even when their numbers have come
TRUNCATE ac_log;
INSERT INTO ac_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, user_id, written_at)
SELECT '2025-01-01', (pg_current_xact_id()::text::bigint + 4)::text::xid8, i, 'elsewhere', 'x', i, 'I', 'u', '2025-01-01' FROM generate_series(1, 3) i;
SELECT ac_entry(4, now(), now());
INSERT INTO ac_pos SELECT 'restored', audit_position('ac_log');
SELECT record_id FROM audit_changes(log => 'ac_log');
SELECT ac_entry(5, now(), now());
SELECT ac_entry(6, now(), now());
SELECT record_id FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'restored'), log => 'ac_log');
-- rights
CREATE ROLE ac_reader;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO ac_reader', current_schema()); END $$;
GRANT SELECT ON ac_pos, ac_inside TO ac_reader;
SET ROLE ac_reader;
SELECT * FROM audit_changes();
SELECT audit_position();
RESET ROLE;
GRANT SELECT ON audit_log TO ac_reader;
SET ROLE ac_reader;
SELECT count(*) FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'));
RESET ROLE;
-- row security of the log
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY ac_some ON audit_log TO ac_reader USING (action = 'U');
SET ROLE ac_reader;
SELECT action, record_id FROM audit_changes((SELECT pos FROM ac_pos WHERE name = 'start'));
SELECT * FROM ac_portions((SELECT pos FROM ac_pos WHERE name = 'start'), 1);
RESET ROLE;
DROP POLICY ac_some ON audit_log;
ALTER TABLE audit_log DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON audit_log FROM ac_reader;
-- a month that was detached before it was read
INSERT INTO audit_detached (log, month, last_xact, dropped)
SELECT 'audit_log'::regclass, 'elsewhere.ac_month', pg_current_xact_id(), false;
SELECT ac_try(format('SELECT * FROM audit_changes(%L)', pos)) ~ '55000: table elsewhere.ac_month was detached from the log before all of it was read' AS refused FROM ac_pos WHERE name = 'start';
-- who starts now, or at the beginning, is not concerned
SELECT count(*) FROM audit_changes(audit_position());
SELECT count(*) > 5 AS all_of_it, (SELECT count(*) > 5 FROM audit_changes((SELECT position FROM audit_changes(NULL, 1)))) AS goes_on FROM audit_changes();
-- nor when it is attached again
UPDATE audit_detached SET month = (SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class WHERE oid = 'audit_log_default'::regclass);
SELECT ac_try(format('SELECT * FROM audit_changes(%L)', pos)) FROM ac_pos WHERE name = 'start';
UPDATE audit_detached SET dropped = true, month = 'elsewhere.ac_month';
SELECT substring(ac_try(format('SELECT * FROM audit_changes(%L)', pos)) FROM '[^/]*$') FROM ac_pos WHERE name = 'start';
-- a record that a dump has brought is of another server
UPDATE audit_detached SET last_xact = '999999999999';
SELECT ac_try(format('SELECT * FROM audit_changes(%L)', pos)) FROM ac_pos WHERE name = 'start';
DELETE FROM audit_detached;
DROP FUNCTION ac_portions, ac_two, ac_try, ac_entry;
DROP VIEW ac_inside;
DROP TABLE ac_t, ac_pos, ac_log, audit_log;
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM ac_reader', current_schema()); END $$;
DROP ROLE ac_reader;
