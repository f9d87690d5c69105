-- Step 7: the table for the boss.  Every number comes from demo.figure, where the
-- steps put what they counted.
\ir options.sql
\pset tuples_only on
\pset format unaligned
\pset fieldsep ''

CREATE FUNCTION demo.figure(wanted text) RETURNS numeric LANGUAGE sql STABLE
    RETURN (SELECT value FROM demo.figure WHERE name = wanted);
CREATE FUNCTION demo.shown(value numeric) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN value IS NULL THEN '-' ELSE trim(to_char(value, '999,999,999,990')) END;
CREATE FUNCTION demo.shown_seconds(value numeric) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN to_char(value / 1000, 'FM9990.0') || ' s';
CREATE FUNCTION demo.shown_bytes(value numeric) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN pg_size_pretty(value);

CREATE VIEW demo.report AS
SELECT * FROM (VALUES
    (10, 'DATABASE', 'before', 'after'),
    (11, 'tables', demo.shown(demo.figure('tables before')), demo.shown(demo.figure('tables after'))),
    (12, 'pg_class rows', demo.shown(demo.figure('pg_class before')), demo.shown(demo.figure('pg_class after'))),
    (13, 'pg_attribute rows', demo.shown(demo.figure('pg_attribute before')), demo.shown(demo.figure('pg_attribute after'))),
    (14, 'pg_dump --schema-only', demo.shown_seconds(demo.figure('dump ms before')), demo.shown_seconds(demo.figure('dump ms after'))),
    (20, 'PER-PROCESS ROWS', format('in %s tables', demo.shown(demo.figure('source tables'))), format('in %s tables', demo.shown(demo.figure('target tables')))),
    (21, 'rows', demo.shown(demo.figure('source rows')), demo.shown(demo.figure('rows moved'))),
    (22, 'kept apart (key missing or repeated)', '', demo.shown(demo.figure('rows rejected'))),
    (23, 'lost', '', demo.shown(demo.figure('source rows') - demo.figure('rows moved') - demo.figure('rows rejected'))),
    (30, 'A DAY''S CHANGES', 'full-row copies', 'audit_log'),
    (31, 'rows', demo.shown(demo.figure('copy rows')), demo.shown(demo.figure('audit rows'))),
    (32, 'bytes', demo.shown_bytes(demo.figure('copy bytes')), demo.shown_bytes(demo.figure('audit bytes'))),
    (33, 'bytes per change', demo.shown(demo.figure('copy bytes') / nullif(demo.figure('copy rows'), 0)),
                           demo.shown(demo.figure('audit bytes') / nullif(demo.figure('audit rows'), 0))),
    (34, 'indexes', 'none', demo.shown_bytes(demo.figure('audit index bytes'))),
    (35, 'saved without a change', demo.shown(demo.figure('unchanged rows')), demo.shown(demo.figure('unchanged rows logged'))),
    (40, 'ACCOUNTS', 'legacy', 'converted'),
    (41, 'accounts', demo.shown(demo.figure('accounts')), demo.shown(demo.figure('accounts converted'))),
    (42, 'with a place on the map', '', demo.shown(demo.figure('accounts with place'))),
    (43, 'place refused, reason on record', '', demo.shown(demo.figure('places refused'))),
    (44, 'tax id refused, reason on record', '', demo.shown(demo.figure('rfc refused'))),
    (50, 'BILLS', 'number', 'total MXN'),
    (51, 'bills of one period', demo.shown(demo.figure('bills')), to_char(demo.figure('bills total'), 'FM999,999,999,990.00'))
) AS r (line, what, left_value, right_value);

SELECT CASE WHEN line % 10 = 0 THEN E'\n' ELSE '  ' END || rpad(what, CASE WHEN line % 10 = 0 THEN 44 ELSE 42 END, ' ')
       || lpad(left_value, 18) || lpad(right_value, 20)
FROM demo.report WHERE right_value IS NOT NULL ORDER BY line;
