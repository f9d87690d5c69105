-- Sources that are not as they should be.  Each has its outcome and its reason,
-- in the plan and in the run; nothing is lost and the others go on.
SET client_min_messages = warning;
CREATE SCHEMA sucio;
CREATE FUNCTION sucio.make(name text, rows int DEFAULT 3) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE sucio.%I (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)', name);
  EXECUTE format('INSERT INTO sucio.%I SELECT g, g, g, g FROM generate_series(1, %s) g', name, rows);
END $$;
SELECT sucio.make('tmp_deuda_' || i) FROM generate_series(10, 40) i;
-- rows
INSERT INTO sucio.tmp_deuda_10 VALUES (9, 9, 9, NULL), (8, 8, 8, NULL);
INSERT INTO sucio.tmp_deuda_11 VALUES (9, 9, 9, 2), (8, 8, 8, 2), (7, 7, 7, 3);
ALTER TABLE sucio.tmp_deuda_12 ALTER facsocemi TYPE bigint, ALTER importe TYPE numeric;
INSERT INTO sucio.tmp_deuda_12 VALUES (1, 1, 3000000000, 20), (1.005, 1, 1, 21), (1e17, 1, 1, 22), ('NaN', 1, 1, 23), (1.50, 1, -2147483648, 24), (1, 1, 2147483647, 25);
ALTER TABLE sucio.tmp_deuda_13 ALTER faccnttnum TYPE numeric(12,2), ALTER numfacturas TYPE smallint;
INSERT INTO sucio.tmp_deuda_13 VALUES (1, 1, 1, 20.00), (1, 1, 1, 20.50), (1, 1, 1, 'NaN'), (1, 1, 1, 5000000000), (1, 1, 1, 2147483647), (1, 1, 1, -2147483648), (1, 1, 1, 2147483648), (1, 1, 1, -2147483649);
-- columns
ALTER TABLE sucio.tmp_deuda_14 ADD extra text;
ALTER TABLE sucio.tmp_deuda_15 DROP numfacturas;
ALTER TABLE sucio.tmp_deuda_16 ALTER importe TYPE text;
ALTER TABLE sucio.tmp_deuda_17 RENAME faccnttnum TO contrato;
ALTER TABLE sucio.tmp_deuda_18 ADD doble numeric GENERATED ALWAYS AS (importe * 2) STORED;
ALTER TABLE sucio.tmp_deuda_19 DROP importe, ADD importe numeric(18,2);
ALTER TABLE sucio.tmp_deuda_20 ALTER facsocemi TYPE double precision;
-- dependants
CREATE VIEW sucio.vista AS SELECT * FROM sucio.tmp_deuda_21;
ALTER TABLE sucio.tmp_deuda_22 ADD PRIMARY KEY (faccnttnum);
CREATE TABLE sucio.hija (x integer REFERENCES sucio.tmp_deuda_22);
ALTER TABLE sucio.tmp_deuda_23 ADD FOREIGN KEY (faccnttnum) REFERENCES sucio.tmp_deuda_22;
CREATE FUNCTION sucio.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON sucio.tmp_deuda_24 FOR EACH ROW EXECUTE FUNCTION sucio.f();
CREATE TABLE sucio.heredera () INHERITS (sucio.tmp_deuda_25);
ALTER TABLE sucio.tmp_deuda_26 INHERIT sucio.tmp_deuda_25;
CREATE TABLE sucio.otra (x sucio.tmp_deuda_27);
CREATE TABLE sucio.otra_mas (x sucio.tmp_deuda_28[]);
CREATE RULE r AS ON INSERT TO sucio.tmp_deuda_29 DO ALSO NOTHING;
CREATE STATISTICS sucio.est ON importe, numfacturas FROM sucio.tmp_deuda_30;
CREATE SEQUENCE sucio.s OWNED BY sucio.tmp_deuda_31.facsocemi;
ALTER TABLE sucio.tmp_deuda_32 ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON sucio.tmp_deuda_33 USING (true);
SET client_min_messages = error;	-- whatever wal_level is
CREATE PUBLICATION aquacis_sucio FOR TABLE sucio.tmp_deuda_34;
SET client_min_messages = warning;
CREATE FUNCTION sucio.g() RETURNS SETOF sucio.tmp_deuda_35 LANGUAGE plpgsql AS 'BEGIN END';
CREATE ROLE aquacis_paso;
GRANT SELECT ON sucio.tmp_deuda_36 TO aquacis_paso WITH GRANT OPTION;
GRANT USAGE ON SCHEMA sucio TO aquacis_paso;
SET ROLE aquacis_paso;
GRANT SELECT ON sucio.tmp_deuda_36 TO PUBLIC;
RESET ROLE;
-- kinds
CREATE TABLE sucio.padre (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer) PARTITION BY LIST (numfacturas);
CREATE TABLE sucio.tmp_deuda_50 PARTITION OF sucio.padre FOR VALUES IN (1);
CREATE TABLE sucio.tmp_deuda_51 (LIKE sucio.padre) PARTITION BY LIST (numfacturas);
CREATE VIEW sucio.tmp_deuda_52 AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW sucio.tmp_deuda_53 AS SELECT 1 AS x;
CREATE UNLOGGED TABLE sucio.tmp_deuda_54 (LIKE sucio.padre);
INSERT INTO sucio.tmp_deuda_54 VALUES (1, 1, 1, 1);
CREATE TYPE sucio.tipo AS (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
CREATE TABLE sucio.tmp_deuda_55 OF sucio.tipo;
-- what a definition does not say, or could not say again
SET client_min_messages = error;
CREATE SUBSCRIPTION aquacis_sucia CONNECTION 'dbname=nosuch' PUBLICATION p WITH (connect = false, slot_name = NONE);
SET client_min_messages = warning;
SELECT sucio.make('tmp_deuda_' || i) FROM generate_series(61, 70) i;
SET allow_system_table_mods = on;
INSERT INTO pg_seclabel VALUES ('sucio.tmp_deuda_61'::regclass, 'pg_class'::regclass, 1, 'aquacis', 'secreto');
INSERT INTO pg_subscription_rel SELECT oid, 'sucio.tmp_deuda_62'::regclass, 'r', '0/1' FROM pg_subscription WHERE subname = 'aquacis_sucia';
RESET allow_system_table_mods;
INSERT INTO sucio.tmp_deuda_63 VALUES (1, 1, 1, 4);
CREATE UNIQUE INDEX CONCURRENTLY invalido ON sucio.tmp_deuda_63 (importe);
GRANT SELECT (importe) ON sucio.tmp_deuda_64 TO aquacis_paso WITH GRANT OPTION;
SET ROLE aquacis_paso;
GRANT SELECT (importe) ON sucio.tmp_deuda_64 TO PUBLIC;
RESET ROLE;
REVOKE USAGE ON TYPE sucio.tmp_deuda_65 FROM PUBLIC;
CREATE TABLE sucio.nombra (x regclass DEFAULT 'sucio.tmp_deuda_66'::regclass);
ALTER TABLE sucio.tmp_deuda_67 ALTER facsocemi SET DEFAULT 'sucio.tmp_deuda_67'::regclass::integer;
CREATE INDEX dependiente ON sucio.tmp_deuda_68 (importe);
ALTER INDEX sucio.dependiente DEPENDS ON EXTENSION aquacis;
-- these two only look as if: a rule that is gone, a trigger of the key's own
CREATE RULE r AS ON INSERT TO sucio.tmp_deuda_69 DO ALSO NOTHING;
DROP RULE r ON sucio.tmp_deuda_69;
ALTER TABLE sucio.tmp_deuda_70 ADD UNIQUE (faccnttnum) DEFERRABLE;
-- names
SELECT sucio.make(n) FROM unnest('{tmp_deuda_007,tmp_deuda_7,tmp_deuda_0008,tmp_deuda_99999999999999999999,tmp_deuda_9223372036854775807,Tmp_Deuda_5,TMP_DEUDA_6,tmp_deuda_,tmp_deuda_12_bak,tmp_deuda_x1,tmp_deuda_1a,xtmp_deuda_1,tmp_deudas_1,tmp_deuda_-5,tmp_deuda_٣}'::text[]) n;
SELECT sucio.make(E'tmp_deuda_60\n');
RESET client_min_messages;

SELECT table_name, process_id, row_count, problem FROM consolidate_plan('sucio', 'tmp_deuda')
WHERE problem IS NOT NULL OR process_id < 20 OR process_id > 49;
-- their codes
CREATE TEMP TABLE planned AS SELECT * FROM consolidate_plan('sucio', 'tmp_deuda');
SELECT problem_code, count(*), min(problem COLLATE "C") AS for_example FROM planned GROUP BY problem_code ORDER BY problem_code COLLATE "C";

-- stop: those tables stay whole
CALL consolidate('sucio', 'tmp_deuda');
SELECT count(*), count(problem_code), count(*) FILTER (WHERE problem_code <> c.code) AS other_code
FROM consolidate_problem, LATERAL (SELECT problem_code FROM planned WHERE table_name = source_table) c (code);
SELECT state, tables_total, tables_done, tables_skipped, tables_left, rows_done, rows_rejected FROM consolidate_progress;
SELECT jsonb_object_keys(problems) = 'tmp_deuda_10' AS found, problems ->> 'tmp_deuda_10' AS why FROM consolidate_progress ORDER BY 1 DESC LIMIT 1;
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'sucio'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
  AND relname ~ 'deuda' ORDER BY relname COLLATE "C";
SELECT to_regclass('consolidate_rejected') IS NOT NULL AS exists, (SELECT count(*) FROM consolidate_rejected) AS rows;

-- keep: the rows that fit go, the others are kept
CALL consolidate('sucio', 'tmp_deuda', on_reject => 'keep');
SELECT process_id, row_data, reason FROM consolidate_rejected ORDER BY 1, 3, 2::text;
SELECT proceso_id, importe, numfacturas, facsocemi, faccnttnum FROM sucio.tmp_deuda WHERE proceso_id BETWEEN 10 AND 13 ORDER BY 1, 5, 2;
SELECT process_id, rows_recorded, ok FROM consolidate_verify('sucio', 'tmp_deuda') ORDER BY 1;

-- a table that comes back under a process that is done
SET client_min_messages = warning;
SELECT sucio.make('tmp_deuda_7', 5);
SELECT sucio.make('tmp_deuda_37', 3);
SELECT sucio.make('tmp_deuda_10', 0);
RESET client_min_messages;
SELECT table_name, row_count, problem FROM consolidate_plan('sucio', 'tmp_deuda') WHERE process_id IN (7, 10, 37);
CALL consolidate('sucio', 'tmp_deuda');

SET client_min_messages = warning;
SET allow_system_table_mods = on;
DELETE FROM pg_seclabel WHERE provider = 'aquacis';
RESET allow_system_table_mods;
DROP SCHEMA sucio CASCADE;
DROP ROLE aquacis_paso;
DROP PUBLICATION aquacis_sucio;
DROP SUBSCRIPTION aquacis_sucia;
CALL forget_consolidation();
