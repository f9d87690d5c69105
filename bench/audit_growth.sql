-- How the audit's cost grows: with the table's columns, the changed columns,
-- the rows of a statement, the partitions of the log.  Ours and the PL/pgSQL
-- function, each with the unaudited statement beside it.
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS growth CASCADE;
CREATE SCHEMA growth;
SET search_path = growth, bench, public;

\ir audit_replaced.sql
CREATE SCHEMA growth_1;
SELECT public.audit_install(schema => 'growth_1', months => 1);

-- tables of n columns, three for each n
CREATE TABLE variants (variant text, n int, attach text, log text);
INSERT INTO variants VALUES ('none', 1, NULL, NULL),
	('ours', 2, 'SELECT public.audit_enable(%L, log => ''growth_1.audit_log'')', 'growth_1.audit_log'),
	('plpgsql', 3, 'CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION growth.plpgsql_audit(''c1'')', 'plpgsql_log');
SELECT format('CREATE TABLE c%s_%s (c1 numeric(10,0) PRIMARY KEY, %s)', columns, variant,
	(SELECT string_agg(format('c%s %s', i, (ARRAY['numeric(10,0)', 'varchar(20)', 'date', 'numeric(18,2)', 'char(1)'])[i % 5 + 1]), ', ')
	 FROM generate_series(2, columns) i))
FROM variants, unnest('{5,20,50,105,350}'::int[]) columns \gexec
SELECT format('CALL bench.fill(''c%s_%s'', 2000)', columns, variant) FROM variants, unnest('{5,20,50,105,350}'::int[]) columns \gexec
SELECT format(attach, format('c%s_%s', columns, variant)) FROM variants, unnest('{5,20,50,105,350}'::int[]) columns WHERE attach IS NOT NULL \gexec

-- an UPDATE that changes the first k columns after the key, whatever they hold
CREATE FUNCTION change(tab text, k int) RETURNS text LANGUAGE sql AS $$
	SELECT format('UPDATE growth.%s SET %s', tab, string_agg(format(CASE atttypid
		WHEN 'numeric'::regtype THEN '%1$I = %1$I + 1'
		WHEN 'date'::regtype THEN '%1$I = %1$I + 1'
		WHEN 'bpchar'::regtype THEN '%1$I = chr(65 + (ascii(%1$I) + 1) %% 26)'
		ELSE '%1$I = left(''z'' || %1$I, 20)' END, attname), ', '))
	FROM (SELECT attname, atttypid FROM pg_attribute WHERE attrelid = ('growth.' || tab)::regclass AND attnum > 1 ORDER BY attnum LIMIT k) a$$;

CREATE PROCEDURE run(what text, variant text, round int, command text, log text, per float8 DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
	IF log IS NOT NULL THEN
		EXECUTE 'TRUNCATE ' || log;
	END IF;
	CALL bench.measure(what, variant, round, command, per);
END$$;

SELECT command FROM (
	SELECT r, columns AS a, n, format('CALL growth.run(%L, %L, %s, growth.change(%L, 3), %L)',
		format('UPDATE of 3 in %s columns', columns), variant, r, format('c%s_%s', columns, variant), log) AS command
	FROM generate_series(0, :rounds) r, variants, unnest('{5,20,50,105,350}'::int[]) columns
	ORDER BY r, a, n) q \gexec
SELECT command FROM (
	SELECT r, k AS a, n, format('CALL growth.run(%L, %L, %s, growth.change(%L, %s), %L)',
		format('UPDATE of %s in 105 columns', k), variant, r, format('c105_%s', variant), k, log) AS command
	FROM generate_series(0, :rounds) r, variants, unnest('{1,3,10,50,100}'::int[]) k
	WHERE k <> 3
	ORDER BY r, a, n) q \gexec
-- one row, a hundred, all rows per statement
SELECT command FROM (
	SELECT r, size AS a, n, format('CALL growth.run(%L, %L, %s, %L, %L, 2000)',
		format('UPDATE of 1 in 20 columns, %s rows per statement', to_char(size, 'FM9,999')), variant, r,
		format('DO $do$BEGIN FOR i IN 0..%s LOOP UPDATE growth.c20_%s SET c10 = c10 + 1 WHERE c1 >= 100001 + i * %s AND c1 < 100001 + (i + 1) * %3$s; END LOOP; END$do$',
			2000 / size - 1, variant, size), log) AS command
	FROM generate_series(0, :rounds) r, variants, unnest('{1,100,2000}'::int[]) size
	ORDER BY r, a, n) q \gexec

-- partitions: months of the log, for the replaced log the same ranges
CREATE SCHEMA growth_60;
CREATE SCHEMA growth_600;
SELECT public.audit_install(schema => 'growth_60', months => 58);
SELECT public.audit_install(schema => 'growth_600', months => 598);
SELECT format('CREATE TABLE p%s_%s (LIKE c20_none INCLUDING ALL); INSERT INTO p%1$s_%2$s TABLE c20_none', p, variant)
FROM variants, unnest('{1,60,600}'::int[]) p \gexec
SELECT format('SELECT public.audit_enable(''p%s_ours'', log => ''growth_%1$s.audit_log'')', p) FROM unnest('{1,60,600}'::int[]) p \gexec
SELECT format('CREATE TABLE plpgsql_log_p%s (LIKE plpgsql_log INCLUDING ALL) PARTITION BY RANGE (changed_at)', p) FROM unnest('{60,600}'::int[]) p \gexec
SELECT format('CREATE TABLE plpgsql_p%s_%s PARTITION OF plpgsql_log_p%1$s FOR VALUES FROM (%3$L) TO (%4$L)', p, m,
	date_trunc('month', now()) + m * interval '1 month', date_trunc('month', now()) + (m + 1) * interval '1 month')
FROM unnest('{60,600}'::int[]) p, generate_series(0, p - 1) m \gexec
SELECT replace(replace(pg_get_functiondef('growth.plpgsql_audit'::regproc), 'plpgsql_audit()', format('plpgsql_audit_p%s()', p)), 'INSERT INTO plpgsql_log', format('INSERT INTO growth.plpgsql_log_p%s', p))
FROM unnest('{60,600}'::int[]) p \gexec
CREATE TRIGGER audit AFTER UPDATE ON p1_plpgsql FOR EACH ROW EXECUTE FUNCTION growth.plpgsql_audit('c1');
CREATE TRIGGER audit AFTER UPDATE ON p60_plpgsql FOR EACH ROW EXECUTE FUNCTION growth.plpgsql_audit_p60('c1');
CREATE TRIGGER audit AFTER UPDATE ON p600_plpgsql FOR EACH ROW EXECUTE FUNCTION growth.plpgsql_audit_p600('c1');
SELECT command FROM (
	SELECT r, p AS a, n, format('CALL growth.run(%L, %L, %s, growth.change(%L, 3), NULL)',
		format('UPDATE of 3 in 20 columns, %s partitions', p), variant, r, format('p%s_%s', p, variant)) AS command
	FROM generate_series(0, :rounds) r, variants, unnest('{1,60,600}'::int[]) p
	ORDER BY r, a, n) q \gexec
