-- Step 3: 2,643 per-process tables become three.
--
-- What to expect is counted first, by plain SQL over every source table: how
-- many rows, and how many different keys.  A table's rows beyond its different
-- keys cannot enter a table whose key is (proceso_id, key); they are kept apart.
\ir options.sql

CREATE TABLE demo.family (family text PRIMARY KEY, key_column text);
INSERT INTO demo.family VALUES ('tmp_deuda', 'faccnttnum'), ('aux_varscreditored', 'cnttnum'), ('tmpbb', 'bbcnttnum');
CREATE TABLE demo.source_rows (family text, process_id bigint, row_count bigint, key_count bigint);

SELECT 'INSERT INTO demo.source_rows '
       || string_agg(format('SELECT %L, %s, count(*), count(DISTINCT %I) FROM %I', family,
                            substring(table_name FROM '\d+$'), key_column, table_name), ' UNION ALL ')
FROM (SELECT DISTINCT family, key_column, table_name FROM demo.legacy_column JOIN demo.family USING (family)) t
GROUP BY hashtext(table_name) & 63
\gexec

CREATE VIEW demo.catalog AS
SELECT (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN ('cf_quere_pro'::regnamespace, 'aux_migracion'::regnamespace)) AS tables,
       (SELECT count(*) FROM pg_class) AS pg_class,
       (SELECT count(*) FROM pg_attribute) AS pg_attribute;

INSERT INTO demo.figure
SELECT v.* FROM demo.catalog c, LATERAL (VALUES
    ('tables before', c.tables), ('pg_class before', c.pg_class), ('pg_attribute before', c.pg_attribute)) v;
INSERT INTO demo.figure
SELECT 'source tables', count(*) FROM demo.source_rows
UNION ALL SELECT 'source rows', sum(row_count) FROM demo.source_rows
UNION ALL SELECT 'source keys', sum(key_count) FROM demo.source_rows;

\echo 'consolidate_plan (changes nothing):'
SELECT family AS family, to_char(count(*), '999,999') AS tables,
       to_char(sum(p.row_count), '999,999,999') AS rows, pg_size_pretty(sum(p.byte_size)) AS size,
       count(p.problem) AS "with a problem"
FROM demo.family, LATERAL consolidate_plan('cf_quere_pro', family) p
GROUP BY family ORDER BY count(*) DESC;

\echo 'CALL consolidate(''cf_quere_pro'', family, on_reject => ''keep''), 50 tables per commit:'
CALL consolidate('cf_quere_pro', 'tmp_deuda', on_reject => 'keep');
CALL consolidate('cf_quere_pro', 'aux_varscreditored', on_reject => 'keep');
CALL consolidate('cf_quere_pro', 'tmpbb', on_reject => 'keep');
SELECT family, state, to_char(tables_done, '999,999') AS tables, to_char(rows_done, '999,999,999') AS rows,
       rows_rejected AS rejected, to_char(extract(epoch FROM finished_at - started_at), '990.0') AS seconds,
       to_char(rows_per_second, '999,999') AS "rows/s"
FROM consolidate_progress ORDER BY tables_total DESC;

\echo 'consolidate_verify (every process: rows and checksum recorded against rows and checksum now):'
SELECT family AS family, to_char(count(*), '999,999') AS processes,
       to_char(count(*) FILTER (WHERE v.ok), '999,999') AS ok,
       to_char(count(*) FILTER (WHERE v.ok IS NOT TRUE), '999,999') AS "not ok"
FROM demo.family, LATERAL consolidate_verify('cf_quere_pro', family) v
GROUP BY family ORDER BY count(*) DESC;

\echo 'Kept in consolidate_rejected:'
SELECT family AS family, reason, to_char(count(*), '999,999') AS rows
FROM consolidate_rejected GROUP BY family, reason ORDER BY family, reason;

VACUUM ANALYZE pg_class, pg_attribute, pg_depend, pg_type, pg_statistic;
INSERT INTO demo.figure
SELECT v.* FROM demo.catalog c, LATERAL (VALUES
    ('tables after', c.tables), ('pg_class after', c.pg_class), ('pg_attribute after', c.pg_attribute)) v;
INSERT INTO demo.figure
SELECT 'target tables', count(*) FROM pg_class WHERE relnamespace = 'cf_quere_pro'::regnamespace AND relname IN (SELECT family FROM demo.family)
UNION ALL SELECT 'rows moved', (SELECT count(*) FROM tmp_deuda) + (SELECT count(*) FROM aux_varscreditored) + (SELECT count(*) FROM tmpbb)
UNION ALL SELECT 'rows rejected', count(*) FROM consolidate_rejected;
