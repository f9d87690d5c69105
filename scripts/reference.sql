-- docs/reference.md, from the catalog of a database that has aquacis (and
-- aquacis_postgis, where PostGIS is) installed.  psql -X -q -A -t -f this.
--
-- The comments in the extension scripts are the text; this only lays them out.
-- A test compares the result with docs/reference.md, so neither can drift.

SET search_path = pg_catalog;
CREATE TEMP TABLE member AS
SELECT classid, objid, e.extname::text, n.oid AS schema
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE deptype = 'e' AND extname IN ('aquacis', 'aquacis_postgis');

CREATE TEMP TABLE entry AS
SELECT CASE WHEN extname = 'aquacis_postgis' THEN 'aquacis_postgis'
            WHEN name ~ '^(fn_)?audit' THEN 'audit'
            WHEN name ~ '^history' THEN 'history'
            WHEN name ~ '^tariff' THEN 'tariff'
            WHEN name ~ '^legacy' THEN 'legacy'
            ELSE 'consolidate' END AS part, *
FROM (
  SELECT extname, 1 AS kind, p.proname::text AS name,
         format(E'### `%s(%s)`%s\n\n%s\n\n*%s*', proname,
                replace(pg_get_function_arguments(p.oid), quote_ident(n.nspname) || '.', ''),
                CASE WHEN prokind = 'p' THEN '' ELSE ' returns `' || replace(pg_get_function_result(p.oid), quote_ident(n.nspname) || '.', '') || '`' END,
                coalesce(obj_description(p.oid, 'pg_proc'), '(no comment)'),
                concat_ws(', ',
                  CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
                  CASE WHEN prokind <> 'p' THEN CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END END,
                  CASE WHEN proisstrict THEN 'NULL in, NULL out' END,
                  CASE WHEN prokind <> 'p' THEN CASE proparallel WHEN 's' THEN 'parallel safe' WHEN 'r' THEN 'parallel restricted' ELSE 'parallel unsafe' END END,
                  CASE WHEN EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
                       THEN 'anybody may call it' ELSE 'EXECUTE is not granted to PUBLIC' END)) AS text
  FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid JOIN pg_namespace n ON n.oid = pronamespace
  UNION ALL
  SELECT extname, 2, relname::text,
         format(E'### %s `%s`\n\n%s\n\n| column | type | |\n|---|---|---|\n%s', CASE relkind WHEN 'v' THEN 'view' WHEN 'r' THEN 'table' ELSE relkind::text END,
                relname, coalesce(obj_description(c.oid, 'pg_class'), '(no comment)'),
                (SELECT string_agg(format('| `%s` | %s | %s |', attname, replace(format_type(atttypid, atttypmod), '|', '\|'),
                                          replace(coalesce(col_description(c.oid, attnum), ''), '|', '\|')), E'\n' ORDER BY attnum)
                 FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped))
  FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
  WHERE relkind IN ('v', 'r')
) objects;

SELECT E'# Reference\n\nEvery object of the SQL interface, from its `COMMENT` in the catalog (`\\df+` and `\\d+` show the same in psql).\n'
       'This file is generated: `scripts/reference` writes it, a test fails when it is out of date.';
SELECT E'\n## ' || part || E'\n\n' || string_agg(text, E'\n\n' ORDER BY kind, name, text)
FROM entry GROUP BY part ORDER BY array_position(ARRAY['audit', 'consolidate', 'history', 'tariff', 'legacy', 'aquacis_postgis'], part);
-- the library is loaded by the first C function that is looked up
LOAD 'aquacis';
SELECT E'\n## Settings\n\n| setting | default | who sets it | |\n|---|---|---|---|\n'
       || string_agg(format('| `%s` | `%s`%s | %s | %s %s |', name, boot_val, ' ' || unit,
                            CASE context WHEN 'user' THEN 'anybody' WHEN 'superuser' THEN 'superuser' ELSE context END,
                            short_desc, extra_desc), E'\n' ORDER BY name)
FROM pg_settings WHERE name LIKE 'aquacis.%';
