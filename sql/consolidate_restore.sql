-- A restored table equals the original: definition and rows.
SET client_min_messages = warning;
CREATE SCHEMA vuelta;
CREATE ROLE aquacis_dueno;
CREATE ROLE aquacis_app;
GRANT ALL ON SCHEMA vuelta TO aquacis_dueno;
CREATE TABLE vuelta.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
CREATE TABLE vuelta.tmp_deuda_2 (numfacturas smallint NOT NULL DEFAULT 3, importe numeric(18,2) CONSTRAINT positivo CHECK (importe > 0),
  facsocemi bigint, faccnttnum numeric(10,0), CONSTRAINT "Mi PK" PRIMARY KEY (faccnttnum),
  UNIQUE (facsocemi, numfacturas) WITH (fillfactor = 80)) WITH (fillfactor = 70, autovacuum_enabled = false);
CREATE INDEX ON vuelta.tmp_deuda_2 ((importe * 2)) WHERE importe > 5;
CREATE INDEX "idx raro" ON vuelta.tmp_deuda_2 USING hash (facsocemi);
COMMENT ON TABLE vuelta.tmp_deuda_2 IS 'it''s a "table"; GRANT nothing';
COMMENT ON COLUMN vuelta.tmp_deuda_2.importe IS 'importe (año)';
COMMENT ON INDEX vuelta."idx raro" IS 'hash';
COMMENT ON CONSTRAINT positivo ON vuelta.tmp_deuda_2 IS 'siempre';
ALTER TABLE vuelta.tmp_deuda_2 OWNER TO aquacis_dueno;
GRANT SELECT ON vuelta.tmp_deuda_2 TO aquacis_app WITH GRANT OPTION;
GRANT INSERT, UPDATE (importe) ON vuelta.tmp_deuda_2 TO aquacis_app;
GRANT SELECT ON vuelta.tmp_deuda_2 TO PUBLIC;
REVOKE DELETE ON vuelta.tmp_deuda_2 FROM aquacis_dueno;
ALTER TABLE vuelta.tmp_deuda_2 REPLICA IDENTITY USING INDEX "Mi PK", CLUSTER ON "Mi PK",
  ALTER importe SET STATISTICS 500, ALTER importe SET STORAGE EXTERNAL, ALTER facsocemi SET (n_distinct = -0.5);
CREATE UNLOGGED TABLE vuelta.tmp_deuda_3 (LIKE vuelta.tmp_deuda_1);
ALTER TABLE vuelta.tmp_deuda_3 REPLICA IDENTITY FULL;
CREATE TABLE vuelta.tmp_deuda_4 (sobra int, LIKE vuelta.tmp_deuda_1);
ALTER TABLE vuelta.tmp_deuda_4 DROP sobra;
INSERT INTO vuelta.tmp_deuda_1 VALUES (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 2), (4, 4, 4, NULL), (NULL, NULL, NULL, 9), ('NaN', 1, 1, 10);
INSERT INTO vuelta.tmp_deuda_2 SELECT g % 7, g / 3.0, g, g * 10 FROM generate_series(1, 50) g;
INSERT INTO vuelta.tmp_deuda_3 VALUES (0.50, 1, 1, 1);
INSERT INTO vuelta.tmp_deuda_4 VALUES (9, 9, 9, 9);
ALTER TABLE vuelta.tmp_deuda_4 ADD CONSTRAINT incumplido CHECK (numfacturas < 5) NOT VALID;
-- a family with types that are harder to write down
SELECT consolidate_define('vuelta_tipos', '^Tipos "(\d+)"$', 'tipos', '{cl ave,otra}');
CREATE TYPE vuelta.estado AS ENUM ('alta', 'baja');
CREATE TABLE vuelta."Tipos ""5""" ("cl ave" text COLLATE "C", otra date, j json, jb jsonb, f float8, b boolean, e vuelta.estado,
  bin bytea, iv interval, ts timestamptz, arr text[], v varchar(5) DEFAULT 'x''y', pt point, u uuid, r int4range);
INSERT INTO vuelta."Tipos ""5""" VALUES
  ('ñandú', '2024-02-29', '{"a" : 1,  "a":2}', '{"z": [1.50]}', 'NaN', true, 'baja', '\xdead00', '1 mon -3 days 00:00:01.5', '2024-01-01 12:00+02', '{a,NULL,"b,c"}', 'corto', '(1,2.5)', '00000000-0000-0000-0000-000000000001', '[1,5)'),
  ('ñandú', '2024-02-29', '[]  ', 'null', '-0', false, 'alta', '', '-1 year', 'infinity', '[2:3]={x,y}', NULL, '(0,0)', NULL, 'empty'),
  ('ñandú', NULL, NULL, NULL, 1e-300, true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (repeat('largo', 30000), 'infinity', NULL, NULL, 0.1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
RESET client_min_messages;

-- everything that makes a table what it is, without OIDs
CREATE FUNCTION vuelta.foto(pattern text) RETURNS TABLE (line text) LANGUAGE sql SET search_path = pg_catalog AS $$
  WITH t AS (SELECT * FROM pg_class WHERE relnamespace = 'vuelta'::regnamespace AND relname ~ pattern AND relkind = 'r')
  SELECT format('%s: %s %s %s %s %s %s %s', relname, relpersistence, relreplident, reloptions, relowner::regrole,
         (SELECT amname FROM pg_am WHERE oid = relam), (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(coalesce(relacl, acldefault('r', relowner))) x), obj_description(oid)) FROM t
  UNION ALL SELECT format('%s.%s: %s %s %s %s %s %s %s %s %s %s', relname, row_number() OVER (PARTITION BY t.oid ORDER BY attnum), attname,
         format_type(atttypid, atttypmod), attcollation::regcollation, attnotnull, attstorage, nullif(attstattarget, -1),
         (SELECT array_agg(x) FROM unnest(attoptions) x WHERE x !~ '^pg_'), attacl,
         pg_get_expr(adbin, adrelid), col_description(t.oid, attnum))
     FROM t JOIN pg_attribute ON attrelid = t.oid AND attnum > 0 AND NOT attisdropped LEFT JOIN pg_attrdef ON adrelid = t.oid AND adnum = attnum
  UNION ALL SELECT format('%s: %s %s %s %s', relname, pg_get_indexdef(indexrelid), indisclustered, indisreplident, obj_description(indexrelid)) FROM t JOIN pg_index ON indrelid = t.oid
  UNION ALL SELECT format('%s: %s %s %s', relname, conname, pg_get_constraintdef(c.oid), obj_description(c.oid)) FROM t JOIN pg_constraint c ON conrelid = t.oid
$$;
CREATE TABLE vuelta.definicion AS SELECT * FROM vuelta.foto('(tmp_deuda|Tipos).*\d');
SELECT count(*) > 40 AS enough FROM vuelta.definicion;
CREATE TABLE vuelta.filas AS
SELECT 1 AS p, to_jsonb(t) FROM vuelta.tmp_deuda_1 t UNION ALL SELECT 2, to_jsonb(t) FROM vuelta.tmp_deuda_2 t
UNION ALL SELECT 3, to_jsonb(t) FROM vuelta.tmp_deuda_3 t UNION ALL SELECT 4, to_jsonb(t) FROM vuelta.tmp_deuda_4 t
UNION ALL SELECT 5, jsonb_build_object('todo', md5(t::text)) FROM vuelta."Tipos ""5""" t;

-- (whoever may not insert into the target gets his tables into it when he may)
CALL consolidate('vuelta', 'tmp_deuda', on_reject => 'keep');
GRANT INSERT ON vuelta.tmp_deuda TO aquacis_dueno;
CALL consolidate('vuelta', 'tmp_deuda', on_reject => 'keep');
CALL consolidate('vuelta', 'vuelta_tipos', on_reject => 'keep');
SELECT replace(definition, quote_ident(current_user), 'postgres') AS definition, definition_after FROM consolidate_source WHERE process_id = 1;
SELECT process_id, row_data, reason FROM consolidate_rejected ORDER BY 1, 3, 2::text;
SELECT process_id, ok FROM consolidate_verify('vuelta', 'tmp_deuda') UNION ALL SELECT process_id, ok FROM consolidate_verify('vuelta', 'vuelta_tipos');

-- one, under settings that would change it
SET default_table_access_method = heap;
SET datestyle = 'SQL, DMY';
ALTER DEFAULT PRIVILEGES IN SCHEMA vuelta GRANT ALL ON TABLES TO aquacis_app;
ALTER DEFAULT PRIVILEGES REVOKE DELETE ON TABLES FROM CURRENT_USER;
CALL consolidate_restore('vuelta', 'tmp_deuda', 1);
SELECT * FROM vuelta.tmp_deuda_1 ORDER BY 4, 1;
SELECT process_id, state FROM consolidate_source ORDER BY process_id;
-- all
CALL consolidate_restore('vuelta', 'tmp_deuda');
CALL consolidate_restore('vuelta', 'vuelta_tipos');
ALTER DEFAULT PRIVILEGES IN SCHEMA vuelta REVOKE ALL ON TABLES FROM aquacis_app;
ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO CURRENT_USER;
RESET datestyle;
SELECT * FROM (SELECT 'lost', line FROM (SELECT line FROM vuelta.definicion EXCEPT ALL SELECT line FROM vuelta.foto('(tmp_deuda|Tipos).*\d')) a
UNION ALL SELECT 'new', line FROM (SELECT line FROM vuelta.foto('(tmp_deuda|Tipos).*\d') EXCEPT ALL SELECT line FROM vuelta.definicion) b) d
ORDER BY 2, 1;
WITH ahora AS (
SELECT 1 AS p, to_jsonb(t) FROM vuelta.tmp_deuda_1 t UNION ALL SELECT 2, to_jsonb(t) FROM vuelta.tmp_deuda_2 t
UNION ALL SELECT 3, to_jsonb(t) FROM vuelta.tmp_deuda_3 t UNION ALL SELECT 4, to_jsonb(t) FROM vuelta.tmp_deuda_4 t
UNION ALL SELECT 5, jsonb_build_object('todo', md5(t::text)) FROM vuelta."Tipos ""5""" t)
(SELECT * FROM vuelta.filas EXCEPT ALL SELECT * FROM ahora) UNION ALL (SELECT * FROM ahora EXCEPT ALL SELECT * FROM vuelta.filas);
SELECT count(*) AS target_rows FROM vuelta.tmp_deuda;
SELECT count(*) AS rejected_rows FROM consolidate_rejected;
SELECT table_name FROM re_accumulation;

-- round and round
CALL consolidate('vuelta', 'tmp_deuda', on_reject => 'keep');
-- rows that changed meanwhile, a table in the way, rejected rows that are gone, a process that is not there
UPDATE vuelta.tmp_deuda SET importe = 77 WHERE proceso_id = 3;
CREATE TABLE vuelta.tmp_deuda_4 (x int);
DELETE FROM consolidate_rejected WHERE reason ~ 'null';
CALL consolidate_restore('vuelta', 'tmp_deuda');
CALL consolidate_restore('vuelta', 'tmp_deuda', 3);
\echo :LAST_ERROR_SQLSTATE
CALL consolidate_restore('vuelta', 'tmp_deuda', 4);
\echo :LAST_ERROR_SQLSTATE
CALL consolidate_restore('vuelta', 'tmp_deuda', 1);
\echo :LAST_ERROR_SQLSTATE
CALL consolidate_restore('vuelta', 'tmp_deuda', 999);
\echo :LAST_ERROR_SQLSTATE
BEGIN;
CALL consolidate_restore('vuelta', 'tmp_deuda', 3);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CALL consolidate_restore('vuelta', 'tmp_deuda', batch => 0);
\echo :LAST_ERROR_SQLSTATE
CALL consolidate_restore('vuelta', NULL);
\echo :LAST_ERROR_SQLSTATE
DROP TABLE vuelta.tmp_deuda_4;
ALTER TABLE vuelta.tmp_deuda RENAME TO otro_nombre;
CALL consolidate_restore('vuelta', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE vuelta.otro_nombre RENAME TO tmp_deuda;
CALL consolidate_restore('vuelta', 'tmp_deuda', force => true);
SELECT * FROM vuelta.tmp_deuda_3;
SELECT count(*) FROM vuelta.tmp_deuda_1;

-- values that were TOASTed before their column became PLAIN
SELECT consolidate_define('largo', '^largo_(\d+)$', 'largo', '{id}');
CREATE TABLE vuelta.largo_1 (id int, texto text);
INSERT INTO vuelta.largo_1 SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 1000) i;
ALTER TABLE vuelta.largo_1 ALTER texto SET STORAGE PLAIN;
CALL consolidate('vuelta', 'largo');
CALL consolidate_restore('vuelta', 'largo', 1);
SELECT id, length(texto), attstorage FROM vuelta.largo_1, pg_attribute
WHERE attrelid = 'vuelta.largo_1'::regclass AND attname = 'texto';

SET client_min_messages = warning;
DROP SCHEMA vuelta CASCADE;
DROP ROLE aquacis_dueno, aquacis_app;
CALL forget_consolidation();
