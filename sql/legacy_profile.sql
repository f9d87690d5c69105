-- legacy_profile: which converter fits a column, and what it would refuse
CREATE TABLE persona (
  prsid numeric(10,0) PRIMARY KEY,
  prsnombre varchar(40), prsnif varchar(15), prstelef varchar(16), prsfax varchar(16), "Correo-mail" varchar(110), dircodpost varchar(10), sacacodpostal numeric(5,0),
  prsjuridic char(1) DEFAULT 'N', prssnsms char(1), prstipo char(1), prsestado numeric(5,0), prsimporte float8, prsprecio float8,
  prsfecalta varchar(20), prsfecbaja date, prshstfec timestamp, prsobs text, referencia varchar(30), contacto varchar(60),
  geoloclat varchar(30), geoloclong varchar(30), prsfoto bytea, prsnum int, saldo numeric(18,2));
-- by name and type alone
SELECT column_name, data_type, kind, converter, evidence, sure, rows_read FROM legacy_profile('persona');

INSERT INTO persona SELECT i, CASE WHEN i % 50 = 0 THEN 'JosÃ© Ñañez' ELSE 'María ' || i END, CASE i % 4 WHEN 0 THEN 'GODE561231GR8' WHEN 1 THEN 'EKU9003173C9' WHEN 2 THEN '' END,
  CASE WHEN i % 10 = 0 THEN '1234567' ELSE (4421234560 + i)::text END, CASE WHEN i % 3 = 0 THEN '1234567' WHEN i % 3 = 1 THEN '7654321' ELSE '4421234567' END,
  CASE i % 5 WHEN 0 THEN 'no tiene' ELSE 'a' || i || '@b.mx' END, CASE i % 20 WHEN 0 THEN '760' ELSE '76000' END, CASE WHEN i % 2 = 0 THEN 6000 ELSE 76000 END,
  CASE i % 3 WHEN 0 THEN 'S' WHEN 1 THEN 'N' ELSE ' ' END, CASE i % 3 WHEN 0 THEN 'S' WHEN 1 THEN 'N' ELSE 'Q' END, chr(65 + i % 20), i % 2, i, i,
  CASE i % 10 WHEN 0 THEN '31/02/2020' WHEN 1 THEN '0000-00-00' ELSE '31/01/2020' END, CASE WHEN i % 4 = 0 THEN date '9999-12-31' END, CASE WHEN i % 4 = 0 THEN timestamp '1900-01-01' ELSE '2020-01-01' END,
  'nota ' || i, CASE WHEN i % 4 = 0 THEN 'GODE561231GR8' ELSE 'EKU9003173C9' END, CASE i % 30 WHEN 0 THEN '?' ELSE 'a@b.mx' END,
  CASE i % 4 WHEN 0 THEN '0' WHEN 1 THEN ' ' ELSE '20.588' END, CASE i % 4 WHEN 0 THEN '0' WHEN 2 THEN NULL ELSE '-100.38' END, '\x00', i, i
FROM generate_series(1, 300) i;
SELECT column_name, converter, evidence, sure, rows_read AS rows, nulls, blanks, refused FROM legacy_profile('persona');
SELECT column_name, e->>'reason' AS reason, e->>'value' AS value, e->>'rows' AS rows FROM legacy_profile('persona') p, jsonb_array_elements(examples) WITH ORDINALITY x(e, n) WHERE column_name <> 'prstipo' ORDER BY column_name COLLATE "C", n;

-- The counts are those of the functions themselves.
CREATE FUNCTION pg_temp.recount(tab regclass, col text, converter text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s WHERE %s IS NOT NULL', tab, CASE WHEN converter LIKE 'legacy_text%' THEN regexp_replace(converter, '^legacy_text(_clean)?', 'legacy_text_error')
    WHEN converter LIKE 'legacy_gps%' THEN 'CASE WHEN legacy_text(geoloclat) IS NOT NULL THEN ' || replace(converter, 'to_point', 'error') || ' END' ELSE regexp_replace(converter, '\(', '_error(') END) INTO n;
  RETURN n;
END $$;
SELECT count(*) AS columns, count(*) FILTER (WHERE refused <> pg_temp.recount('persona', column_name, converter)) AS differ FROM legacy_profile('persona', NULL) WHERE converter IS NOT NULL AND kind <> 'amount';

-- a sample, or everything
CREATE TABLE larga AS SELECT (4421234560 + i)::text::varchar(16) AS telefono, repeat('x', 200) AS relleno FROM generate_series(1, 20000) i;
ANALYZE larga;
SELECT column_name, rows_read BETWEEN 300 AND 3000 AS sample FROM legacy_profile('larga', 1000);
SELECT a.rows_read = b.rows_read AS "the same sample" FROM legacy_profile('larga', 1000) a, legacy_profile('larga', 1000) b WHERE a.column_name = 'telefono' AND b.column_name = 'telefono';
SELECT column_name, rows_read, refused FROM legacy_profile('larga', NULL);
SELECT column_name, rows_read FROM legacy_profile('larga');
-- many different refused values: the count is right, the examples are few
UPDATE larga SET telefono = 'x' || right(telefono, 8);
SELECT refused, jsonb_array_length(examples) AS examples FROM legacy_profile('larga', NULL) WHERE column_name = 'telefono';
-- long values are cut where a character ends
CREATE TABLE ancha AS SELECT repeat('ñ', 5000) AS correo_mail FROM generate_series(1, 3);
SELECT refused, length(examples->0->>'value') BETWEEN 50 AND 80 AS cut, trim(examples->0->>'value', 'ñ') AS rest FROM legacy_profile('ancha');

-- tables that are none, or not one's own to read
CREATE VIEW vista AS SELECT * FROM persona;
CREATE TABLE partida (telefono varchar(16)) PARTITION BY LIST (telefono);
CREATE MATERIALIZED VIEW guardada AS SELECT prstelef FROM persona;
CREATE TABLE vacia ();
SELECT count(*) FROM legacy_profile('vacia');
SELECT rows_read, refused FROM legacy_profile('guardada');
SELECT * FROM legacy_profile('vista');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM legacy_profile('partida');
SELECT * FROM legacy_profile(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM legacy_profile('persona', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT 'not_there'::regclass;

-- A domain is not read; a dropped column is none.
CREATE DOMAIN legacy_telefono AS varchar(16) CHECK (VALUE <> 'x');
CREATE TABLE dominio (telefono legacy_telefono, movil varchar(16), fax varchar(16));
ALTER TABLE dominio DROP COLUMN movil;
INSERT INTO dominio VALUES ('1', '1');
SELECT column_name, data_type = 'legacy_telefono' OR data_type ~ '\.legacy_telefono$' AS of_domain, converter, rows_read, refused FROM legacy_profile('dominio');

-- The caller's rights: SELECT, and rows that no policy hides.
CREATE ROLE legacy_reader;
CREATE ROLE legacy_owner;
SELECT current_schema() AS here \gset
GRANT USAGE ON SCHEMA :"here" TO legacy_reader, legacy_owner;
CREATE TABLE ajena (telefono varchar(16), secreto text);
INSERT INTO ajena VALUES ('1234567', 'x');
ALTER TABLE ajena OWNER TO legacy_owner;
SET ROLE legacy_reader;
SELECT count(*) FROM legacy_profile('ajena');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT SELECT ON ajena TO legacy_reader;
SET ROLE legacy_reader;
SELECT column_name, refused FROM legacy_profile('ajena');
RESET ROLE;
ALTER TABLE ajena ENABLE ROW LEVEL SECURITY;
SET ROLE legacy_owner;
SELECT column_name, refused FROM legacy_profile('ajena');
SET ROLE legacy_reader;
SELECT count(*) FROM legacy_profile('ajena');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
ALTER TABLE ajena FORCE ROW LEVEL SECURITY;
SELECT count(*) FROM legacy_profile('ajena');
ALTER TABLE ajena DISABLE ROW LEVEL SECURITY;
-- An index whose expression is the owner's code: planning computes it, as him.
CREATE FUNCTION legacy_who(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
  IF current_setting('legacy_test.who', true) = 'ask' THEN RAISE 'code runs, as legacy_owner: %', current_user = 'legacy_owner'; END IF;
  RETURN $1; END$$;
ALTER FUNCTION legacy_who(text) OWNER TO legacy_owner;
CREATE INDEX ON ajena ((telefono = legacy_who('a')));
SET legacy_test.who = 'ask';
\set SHOW_CONTEXT never
SELECT count(*) AS columns FROM legacy_profile('ajena');
RESET legacy_test.who;
\set SHOW_CONTEXT errors
SELECT count(*) AS columns FROM legacy_profile('ajena');
-- Only SELECT is needed, in a transaction that writes nothing
BEGIN READ ONLY;
SELECT count(*) FROM legacy_profile('persona');
COMMIT;
DROP VIEW vista;
DROP MATERIALIZED VIEW guardada;
DROP TABLE persona, larga, ancha, partida, vacia, dominio, ajena;
DROP DOMAIN legacy_telefono;
DROP FUNCTION legacy_who(text);
REVOKE ALL ON SCHEMA :"here" FROM legacy_reader, legacy_owner;
DROP ROLE legacy_reader, legacy_owner;
