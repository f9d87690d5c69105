-- history_plan: what is found of a history table, what is not, and why.
SELECT extnamespace::regnamespace AS schema FROM pg_extension WHERE extname = 'aquacis' \gset
CREATE SCHEMA hi_p;
SET search_path = hi_p, :schema, public;
SET datestyle = 'SQL, DMY';
CREATE FUNCTION planned(VARIADIC tables text[]) RETURNS TABLE (history_table regclass, base regclass, prefix text, key text, holds text, tier int, problem_code text, reason text)
LANGUAGE sql AS $$ SELECT history_table, base, prefix, key::text || ' ' || key_from, holds, tier, problem_code, reason FROM history_plan('hi_p', tables) $$;

-- ---- names: h, his, the same, another prefix; missing, extra, drifted ----
CREATE TABLE cliente (cliid numeric(10,0) NOT NULL, clinombre varchar(40), clitelef varchar(16), cliemail varchar(40), clialta date, clihstusu varchar(10), clihsthora timestamp);
CREATE TABLE hiscliente (hcliid numeric(10,0), hisclinombre varchar(30), clitelef varchar(16), hcliidioma char(2), hclihstusu varchar(10), hclihsthora timestamp);
CREATE TABLE persona (prsid numeric(10,0) PRIMARY KEY, prsnombre varchar(40), prspriapel varchar(120), prsnif varchar(15), prsvigente char(1), prshsthora timestamp);
CREATE TABLE hispersona (hprsid numeric(10,0), hpnombre varchar(40), hppriapel varchar(120), hpnif varchar(15), hpvigent char(1), hphsthora timestamp, hpaccion char(1));
SELECT history_table, base, base_from, prefix, key, key_from, changed_at, changed_by, operation, columns, missing, extra, drifted FROM history_plan('hi_p') \gx

-- no rows: nothing is known of the convention
SELECT history_table, holds, sure, row_estimate, rows_per_year, tier, reason, problem FROM history_plan('hi_p');

-- ---- before, after, mixed; dirt is counted ----
CREATE TABLE oficina (ofiid numeric(5,0) PRIMARY KEY, ofinombre varchar(20), ofihsthora timestamp);
CREATE TABLE hisoficina (hofiid numeric(5,0), hofinombre varchar(20), hofihsthora timestamp);
INSERT INTO oficina SELECT k, 'estado 3 de ' || k, timestamp '2022-03-01 10:00' + k * interval '1 hour' FROM generate_series(1, 20) k;
INSERT INTO hisoficina SELECT k, format('estado %s de %s', s, k), timestamp '2020-03-01 10:00' + k * interval '1 hour' + (s - 1) * interval '1 year'
	FROM generate_series(1, 20) k, generate_series(1, 2) s ORDER BY 3;
SELECT holds, round(sure::numeric, 2) AS sure, row_estimate, rows_per_year, tier, reason, evidence FROM history_plan('hi_p', '{hisoficina}') \gx
-- the application would have copied the new state
TRUNCATE hisoficina;
INSERT INTO hisoficina SELECT k, format('estado %s de %s', s, k), timestamp '2020-03-01 10:00' + k * interval '1 hour' + (s - 1) * interval '1 year'
	FROM generate_series(1, 20) k, generate_series(1, 3) s ORDER BY 3;
SELECT * FROM planned('hisoficina');
-- the state before with the time of the change
UPDATE hisoficina SET hofinombre = 'estado 2 de ' || hofiid WHERE hofinombre LIKE 'estado 3%';
SELECT holds, evidence ->> 'before' AS before, evidence ->> 'before_with_time_of_change' AS with_time_of_change FROM history_plan('hi_p', '{hisoficina}');
-- half of the keys this way, half the other
UPDATE hisoficina SET hofinombre = 'estado 3 de ' || hofiid WHERE hofihsthora >= '2022-01-01' AND hofiid % 2 = 0;
SELECT * FROM planned('hisoficina');
-- one key is not enough to be sure
DELETE FROM hisoficina WHERE hofiid <> 2;
SELECT holds, round(sure::numeric, 2) AS sure, tier, reason FROM history_plan('hi_p', '{hisoficina}');
-- dirt
INSERT INTO hisoficina VALUES (NULL, 'sin clave', '2022-01-01'), (2, 'sin hora', NULL), (99, 'huérfana', '2022-01-01'), (3, 'dos', '2022-01-02'), (3, 'dos', '2022-01-02'),
	(3, 'otra', '2022-01-02'), (3, 'antes', '2021-01-02'), (4, 'futuro', '2099-01-01'), (5, 'infinito', 'infinity'), (6, 'nunca', '-infinity');
SELECT evidence FROM history_plan('hi_p', '{hisoficina}');
-- times that a zone has skipped are counted when the zone is known
INSERT INTO hisoficina VALUES (7, 'de noche', '2022-04-03 02:30');
SET client_min_messages = error;
SELECT history_define('hisoficina', holds => 'mixed', time_zone => 'America/Mexico_City');
RESET client_min_messages;
SELECT defined, evidence ->> 'times_not_in_zone' AS times_not_in_zone, tier, reason FROM history_plan('hi_p', '{hisoficina}');
SELECT history_forget('hisoficina');

-- ---- no time in the base; equal values say after, others before; NULL is a value ----
CREATE TABLE nota (notid integer PRIMARY KEY, nottexto text, notpeso float8);
CREATE TABLE hisnota (hnotid integer, hnottexto text, hnotpeso float8, hnothora timestamp);
INSERT INTO nota SELECT k, CASE WHEN k % 3 > 0 THEN repeat('ñ' || k, 3000) END, CASE k % 4 WHEN 0 THEN 'NaN'::float8 WHEN 1 THEN '-Infinity' WHEN 2 THEN NULL ELSE k END FROM generate_series(1, 30) k;
INSERT INTO hisnota SELECT n.*, '2020-01-01' FROM nota n;
SELECT * FROM planned('hisnota');
UPDATE hisnota SET hnottexto = coalesce(hnottexto || 'x', '');
SELECT * FROM planned('hisnota');

-- ---- the key: primary, unique, guessed, longer than guessed, none ----
CREATE TABLE zona (zonexp integer NOT NULL, zonid char(3) NOT NULL, zonnombre text, zonhsthora timestamp);
CREATE TABLE hiszona (hzonexp integer, hzonid char(3), hzonnombre text, hzonhsthora timestamp);
INSERT INTO zona SELECT k / 5, k % 5, 'z', '2020-01-01' FROM generate_series(1, 40) k;
SELECT * FROM planned('hiszona');
CREATE UNIQUE INDEX ON zona (zonid, zonexp) WHERE zonnombre IS NOT NULL;
CREATE UNIQUE INDEX ON zona (lower(zonid), zonexp);
SELECT key, key_from FROM history_plan('hi_p', '{hiszona}');
CREATE UNIQUE INDEX ON zona (zonid, zonexp);
SELECT key, key_from FROM history_plan('hi_p', '{hiszona}');
ALTER TABLE zona ADD PRIMARY KEY (zonexp, zonid);
SELECT key, key_from FROM history_plan('hi_p', '{hiszona}');
-- the index is used whatever the order of its columns; what is looked up is found
INSERT INTO hiszona SELECT * FROM zona;
SELECT holds, evidence ->> 'after' AS after, evidence ->> 'orphans' AS orphans, evidence ->> 'whole_base' AS whole_base FROM history_plan('hi_p', '{hiszona}');
CREATE TABLE rep (repid integer NOT NULL, reptexto text, rephsthora timestamp);
CREATE TABLE hisrep (hrepid integer, hreptexto text, hrephsthora timestamp);
INSERT INTO rep VALUES (1, 'a', now()), (1, 'b', now());
SELECT * FROM planned('hisrep');
-- a key without an order, and one of another type
CREATE TABLE caja (cajid json NOT NULL, cajtexto text, cajhsthora timestamp);
CREATE TABLE hiscaja (hcajid json, hcajtexto text, hcajhsthora timestamp);
CREATE TABLE tipo (tipid integer PRIMARY KEY, tiptexto text, tiphsthora timestamp);
CREATE TABLE histipo (htipid text, htiptexto text, htiphsthora timestamp);
SELECT * FROM planned('hiscaja', 'histipo');

-- ---- problems ----
CREATE TABLE hissola (hsoid integer, hsohora timestamp);
CREATE TABLE sinhora (shid integer PRIMARY KEY, shtexto text);
CREATE TABLE hissinhora (hshid integer, hshtexto text);
CREATE TABLE dos (dosid integer PRIMARY KEY, doshora timestamp, dosotrahora timestamp);
CREATE TABLE hisdos (hdosid integer, hdoshora timestamp, hdosotrahora timestamp);
CREATE TABLE nada (nadaid integer PRIMARY KEY);
CREATE TABLE hisnada (hx integer, hxhora timestamp);
CREATE TABLE parte (parid integer, parhora timestamp) PARTITION BY RANGE (parid);
CREATE TABLE hisparte (hparid integer, hparhora timestamp) PARTITION BY RANGE (hparid);
CREATE TABLE hisparte_1 PARTITION OF hisparte FOR VALUES FROM (1) TO (2);
CREATE TABLE mixta (parid integer, parhora timestamp) PARTITION BY RANGE (parid);
CREATE TABLE hismixta (hparid integer, hparhora timestamp);
CREATE VIEW hisvista AS SELECT 1 AS hid;
CREATE TABLE historia (texto text);
SELECT history_table, base, tier, problem_code, problem FROM history_plan('hi_p') WHERE problem_code IS NOT NULL;

-- ---- rights: the caller's ----
CREATE ROLE hi_reader;
GRANT USAGE ON SCHEMA hi_p, :schema TO hi_reader;
GRANT EXECUTE ON FUNCTION history_plan(name, text[], integer, bigint) TO hi_reader;
GRANT SELECT ON persona, hisoficina, nota, hisnota TO hi_reader;
ALTER TABLE nota ENABLE ROW LEVEL SECURITY;
SET ROLE hi_reader;
SELECT history_table, holds, evidence IS NULL AS unread, tier, problem_code, problem FROM history_plan('hi_p', '{hispersona,hisoficina,hisnota}');
RESET ROLE;
ALTER TABLE nota DISABLE ROW LEVEL SECURITY;

-- ---- who depends on it ----
CREATE VIEW informe AS SELECT * FROM hisoficina;
CREATE MATERIALIZED VIEW resumen AS SELECT count(*) FROM hisoficina;
ALTER TABLE hisnota ADD UNIQUE (hnotid), ADD CONSTRAINT de_nota FOREIGN KEY (hnotid) REFERENCES nota;
CREATE TABLE citas (a integer CONSTRAINT de_copia REFERENCES hisnota (hnotid));
CREATE FUNCTION copia() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO HisOficina VALUES (OLD.ofiid); RETURN NEW; END$$;
CREATE FUNCTION otra() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM 1 FROM mihisoficina, hisoficina2; END$$;
CREATE FUNCTION leida() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM hisoficina; END;
CREATE TRIGGER t_mira BEFORE INSERT ON hisoficina FOR EACH ROW EXECUTE FUNCTION copia();
CREATE POLICY p_mira ON hisoficina USING (true);
CREATE TABLE hisoficina_hija () INHERITS (hisoficina);
SELECT history_table, unnest(dependants) AS dependant FROM history_plan('hi_p', '{hisoficina,hisnota,hiszona}');
DROP TABLE hisoficina_hija;

-- ---- large, and a bounded sample ----
CREATE TABLE grande (graid integer PRIMARY KEY, gratexto text, grahsthora timestamp);
CREATE TABLE hisgrande (hgraid integer, hgratexto text, hgrahsthora timestamp);
INSERT INTO grande SELECT k, repeat('x', 100), timestamp '2024-01-01' + k * interval '1 second' FROM generate_series(1, 5000) k;
INSERT INTO hisgrande SELECT k, repeat('y', 100), timestamp '2014-01-01' + s * interval '365 days' FROM generate_series(0, 9) s, generate_series(1, 5000) k;
ANALYZE hisgrande;
SELECT holds, (evidence ->> 'rows_read')::int BETWEEN 100 AND 4000 AS bounded, evidence ->> 'whole_table' AS whole_table, evidence ->> 'first' AS first, evidence ->> 'last' AS last,
	row_estimate, byte_estimate BETWEEN 5000000 AND 12000000 AS bytes, rows_per_year, tier, reason FROM history_plan('hi_p', '{hisgrande}', sample => 100, large => 50000) \gx
SELECT tier, reason FROM history_plan('hi_p', '{hisgrande}', large => 50001);
-- the base has no index: what is read of it is looked up, and the rest is no orphan
ALTER TABLE grande DROP CONSTRAINT grande_pkey;
SELECT holds, evidence ->> 'orphans' AS orphans, evidence ->> 'whole_base' AS whole_base, (evidence ->> 'base_rows_read')::int BETWEEN 100 AND 4000 AS bounded
FROM history_plan('hi_p', '{hisgrande}', sample => 100);

-- ---- another schema, several, arguments ----
CREATE SCHEMA hi_q;
CREATE TABLE hi_q.tarifa (tarid integer PRIMARY KEY, tarprecio numeric, tarhora timestamp);
CREATE TABLE hi_q.histarifa (htarid integer, htarprecio numeric, htarhora timestamp);
CREATE TEMP TABLE histemporal (hid integer);
SELECT history_table, base FROM history_plan('hi_q');
SELECT count(*) FROM history_plan() WHERE history_table::text ~ 'histarifa|hiszona';
SELECT count(*) FROM history_plan() WHERE history_table::text ~ 'temporal|history_definition';
\set VERBOSITY sqlstate
SELECT * FROM history_plan('hi_nowhere');
SELECT * FROM history_plan('hi_p', '{hiszona,hisnowhere}');
SELECT * FROM history_plan('hi_p', ARRAY[NULL]::text[]);
SELECT * FROM history_plan('hi_p', sample => 0);
SELECT * FROM history_plan('hi_p', sample => 1000001);
SELECT * FROM history_plan('hi_p', sample => NULL);
SELECT * FROM history_plan('hi_p', large => NULL);
\set VERBOSITY default
SET client_min_messages = warning;
DROP SCHEMA hi_p, hi_q CASCADE;
DROP OWNED BY hi_reader;
DROP ROLE hi_reader;
