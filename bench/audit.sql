-- bench/audit.sql: what auditing costs, against the PL/pgSQL function it
-- replaces, in one run, in alternation.  psql -v rows=20000 -v rounds=5
--
-- The table is the real contrato with one more column: 105 columns, about 630
-- bytes a row.  Every variant has a table of its own with the same rows, so that
-- all of them age alike.
\set QUIET on
\set ON_ERROR_STOP on
\if :{?rows} \else \set rows 20000 \endif
\if :{?rounds} \else \set rounds 5 \endif
SET client_min_messages = warning;
SET jit = off;

DROP SCHEMA IF EXISTS bench, bench_default, bench_gin CASCADE;
CREATE SCHEMA bench;
SET search_path = bench, public;
\ir audit_contrato.sql
ALTER TABLE contrato ADD cntextra numeric(10,0);

SELECT format('INSERT INTO contrato (%s) SELECT %s FROM generate_series(1, %s) i',
	string_agg(quote_ident(attname), ', ' ORDER BY attnum),
	string_agg(CASE
		WHEN attname = 'cnttnum' THEN '100000 + i'
		WHEN atttypid = 'numeric'::regtype AND atttypmod = ((5 << 16) | 0) + 4 THEN format('(i * %s) %% 100', attnum)
		WHEN atttypid = 'numeric'::regtype THEN format('(i::bigint * %s * 7919) %% 10000000', attnum)
		WHEN atttypid = 'bpchar'::regtype AND atttypmod = 5 THEN format('chr(65 + (i + %s) %% 26)', attnum)
		WHEN atttypid = 'bpchar'::regtype THEN format('substr(md5((i * %s)::text), 1, %s)', attnum, atttypmod - 4)
		WHEN atttypid = 'varchar'::regtype THEN format('substr(md5((i * %s)::text), 1, %s)', attnum, least(atttypmod - 4, 12))
		WHEN atttypid = 'date'::regtype THEN format('date ''2000-01-01'' + (i * %s) %% 9000', attnum)
		WHEN atttypid = 'timestamp'::regtype THEN format('timestamp ''2000-01-01'' + (i * %s) * interval ''1 minute''', attnum)
		ELSE format('i * %s / 100.0', attnum) END, ', ' ORDER BY attnum),
	:rows)
FROM pg_attribute WHERE attrelid = 'contrato'::regclass AND attnum > 0 \gexec
VACUUM ANALYZE contrato;
SELECT count(*) AS rows, (SELECT count(*) FROM pg_attribute WHERE attrelid = 'contrato'::regclass AND attnum > 0) AS columns,
	round(avg(pg_column_size(c))) AS bytes_a_row FROM contrato c;

\ir audit_replaced.sql

CREATE SCHEMA bench_default;
SELECT public.audit_install(schema => 'bench_default', months => 1);
CREATE SCHEMA bench_gin;
SELECT public.audit_install(schema => 'bench_gin', gin => true, months => 1);

CREATE TABLE variants (n int, variant text, log regclass);
INSERT INTO variants VALUES (1, 'none', NULL), (2, 'plpgsql', 'plpgsql_log'), (3, 'default', 'bench_default.audit_log'),
	(4, 'gin', 'bench_gin.audit_log');
SELECT format('CREATE TABLE t_%s (LIKE contrato INCLUDING ALL); INSERT INTO t_%1$s TABLE contrato', variant) FROM variants \gexec
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON t_plpgsql FOR EACH ROW EXECUTE FUNCTION plpgsql_audit('cnttnum');
SELECT public.audit_enable('t_default', log => 'bench_default.audit_log');
SELECT public.audit_enable('t_gin', log => 'bench_gin.audit_log');

CREATE TABLE timings (what text, variant text, us float8);
-- nanoseconds this process spent on a processor: a busy machine disturbs that
-- less than the clock on the wall
CREATE FUNCTION cpu_ns() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 $$;
CREATE PROCEDURE measure(what text, variant text, command text) LANGUAGE plpgsql AS $$
DECLARE t float8; n bigint;
BEGIN
	t := cpu_ns();
	EXECUTE command;
	GET DIAGNOSTICS n = ROW_COUNT;
	INSERT INTO timings VALUES (what, variant, (cpu_ns() - t) / 1000 / n);
END $$;

-- the same finished rows, inserted bare: the floor
CREATE TABLE floor_rows (LIKE bench_default.audit_log);
CREATE TABLE floor_log (LIKE bench_default.audit_log_default INCLUDING ALL);

SELECT command FROM (
	SELECT r, s, n, format(command, variant, r, log) AS command FROM generate_series(1, :rounds) r, variants,
	(VALUES (1, 'VACUUM t_%s'), (2, 'TRUNCATE %3$s'),
		(3, 'CALL measure(''UPDATE'', %1$L, ''UPDATE t_%1$s SET cnttestado = (cnttestado + 1) %% 1000, cntthstusu = ''''usr%2$s'''', cntthsthora = clock_timestamp()'')'),
		(4, 'TRUNCATE floor_rows, floor_log'), (5, 'INSERT INTO floor_rows TABLE %3$s'),
		(6, 'CALL measure(''UPDATE'', ''floor'', ''INSERT INTO floor_log TABLE floor_rows'')'),
		(7, 'TRUNCATE %3$s'), (8, 'CALL measure(''DELETE'', %1$L, ''DELETE FROM t_%1$s'')'),
		(9, 'VACUUM t_%s'), (10, 'TRUNCATE %3$s'),
		(11, 'CALL measure(''INSERT'', %1$L, ''INSERT INTO t_%1$s TABLE contrato'')')) v (s, command)
	WHERE (s NOT IN (4, 5, 6) OR variant = 'default') AND (s NOT IN (2, 7, 10) OR log IS NOT NULL)
	ORDER BY r, n, s) q \gexec

CREATE VIEW medians AS SELECT what, variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY us) AS us FROM timings GROUP BY 1, 2;
\pset null '-'
SELECT m.what, m.variant, round(m.us::numeric, 2) AS us_a_row, round((m.us - n.us)::numeric, 2) AS overhead,
	round(((s.us - n.us) / nullif(m.us - n.us, 0))::numeric, 1) AS times_less_than_plpgsql,
	round((m.us / nullif(n.us, 0))::numeric, 2) AS times_unaudited
FROM medians m JOIN medians n ON n.what = m.what AND n.variant = 'none'
JOIN medians s ON s.what = m.what AND s.variant = 'plpgsql'
WHERE m.variant <> 'floor'
ORDER BY m.what DESC, array_position(ARRAY['none', 'plpgsql', 'gin', 'default'], m.variant);
SELECT round(f.us::numeric, 2) AS bare_insert_us, round((d.us - n.us)::numeric, 2) AS overhead_us,
	round(((d.us - n.us) / nullif(f.us, 0))::numeric, 2) AS times_bare_insert
FROM medians f, medians d, medians n
WHERE f.variant = 'floor' AND d.variant = 'default' AND d.what = 'UPDATE' AND n.variant = 'none' AND n.what = 'UPDATE';
