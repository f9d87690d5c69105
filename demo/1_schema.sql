-- Step 1: the legacy database cf_quere_pro, table by table as it really is.
--
-- columns.csv is the published structure: 1,470 ordinary tables, the 477
-- aux_varscreditored_* and the 22 tmpbb_*.  The 2,144 tmp_deuda_* are all alike
-- and only known by their number, so their process ids are made up.  No keys or
-- indexes were published; step 2 adds the few that the demo needs.
\ir options.sql

CREATE SCHEMA cf_quere_pro;
CREATE SCHEMA aux_migracion;
CREATE SCHEMA aquacis;
CREATE EXTENSION aquacis SCHEMA aquacis;
CREATE EXTENSION postgis SCHEMA public;
CREATE EXTENSION aquacis_postgis SCHEMA aquacis;

-- The demo's own notebook: every number in the last table is read from here.
CREATE SCHEMA demo;
CREATE TABLE demo.figure (name text PRIMARY KEY, value numeric NOT NULL);

CREATE TABLE demo.legacy_column (
    schema_name text, table_name text, position int, column_name text,
    data_type text, is_nullable text, column_default text
);
\copy demo.legacy_column from 'columns.csv' with (format csv, header)
-- an extension's view, listed among the tables
DELETE FROM demo.legacy_column WHERE table_name = 'pg_stat_statements';

INSERT INTO demo.legacy_column
SELECT 'cf_quere_pro', 'tmp_deuda_' || process_id, position, column_name, data_type, 'YES'
FROM (SELECT 1779865 + sum(1 + (hashint8extended(n, 1) & 2047)) OVER (ORDER BY n) - 1 AS process_id
      FROM generate_series(1, 2144) n) process,
     (VALUES (1, 'importe', 'numeric(18,2)'), (2, 'numfacturas', 'integer'),
             (3, 'facsocemi', 'integer'), (4, 'faccnttnum', 'integer')
     ) c (position, column_name, data_type);

ALTER TABLE demo.legacy_column ADD family text;
UPDATE demo.legacy_column
SET family = coalesce(substring(table_name FROM '^(tmp_deuda|aux_varscreditored|tmpbb)_\d+$'), 'ordinary');
CREATE INDEX ON demo.legacy_column (schema_name, table_name);

-- What the defaults call: six sequences, and trunc(date), which the legacy
-- server has and PostgreSQL does not.
CREATE FUNCTION cf_quere_pro.trunc(date) RETURNS date LANGUAGE sql IMMUTABLE AS 'SELECT $1';
SELECT format('CREATE SEQUENCE cf_quere_pro.%I', substring(column_default FROM 'nextval\(''([^'']+)'''))
FROM demo.legacy_column WHERE column_default LIKE 'nextval%'
\gexec

-- The tables, fifty in one transaction.
SELECT string_agg(format('CREATE TABLE %I.%I (%s)', schema_name, table_name, columns), ';')
FROM (SELECT schema_name, table_name, row_number() OVER (ORDER BY schema_name, table_name) / 50 AS batch,
             string_agg(format('%I %s', column_name, data_type)
                        || coalesce(' DEFAULT ' || column_default, '')
                        || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END,
                        ', ' ORDER BY position) AS columns
      FROM demo.legacy_column GROUP BY schema_name, table_name) t
GROUP BY batch ORDER BY batch
\gexec

SELECT CASE family WHEN 'ordinary' THEN 'ordinary tables' ELSE family || '_<process id>' END AS "Created",
       to_char(count(DISTINCT (schema_name, table_name)), '999,999') AS tables,
       to_char(count(*), '999,999') AS columns
FROM demo.legacy_column GROUP BY family ORDER BY count(DISTINCT (schema_name, table_name)) DESC;
