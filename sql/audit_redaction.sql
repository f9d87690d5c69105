-- Redaction and generated columns: a value that is redacted is not in the log under another name.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
SET client_min_messages = notice;

-- what is computed from a redacted column is redacted, also where the table has it twice
CREATE TABLE aq_r (id int PRIMARY KEY, clave text, nota text,
	clave_up text GENERATED ALWAYS AS (upper(clave)) STORED,
	both_of text GENERATED ALWAYS AS (coalesce(nota, '') || coalesce(clave, '')) STORED,
	nota_up text GENERATED ALWAYS AS (upper(nota)) STORED);
SELECT audit_enable('aq_r', redact => '{clave}');
INSERT INTO aq_r VALUES (1, 'secreto', 'n');
UPDATE aq_r SET clave = 'oculto';
UPDATE aq_r SET nota = 'm';
DELETE FROM aq_r;
SELECT action, new_data, old_data, changed_fields FROM audit_log WHERE table_name = 'aq_r' ORDER BY xact_id, xact_seq;
-- nothing of it anywhere in the log
SELECT count(*) FILTER (WHERE l::text ILIKE '%secreto%' OR l::text ILIKE '%oculto%') AS shown, count(*) FROM audit_log l WHERE table_name = 'aq_r';
-- named themselves, they are not told of again; excluded ones stay out
SELECT audit_enable('aq_r', redact => '{clave,clave_up}', exclude => '{both_of}');
INSERT INTO aq_r VALUES (2, 'secreto', 'n');
SELECT new_data FROM audit_log WHERE table_name = 'aq_r' AND record_id = 2;
-- so by a trigger that was made by hand
SELECT audit_disable('aq_r');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'aq_r'::regclass;
CREATE TRIGGER by_hand AFTER INSERT ON aq_r FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('id', 'redact=clave');
INSERT INTO aq_r VALUES (3, 'secreto', 'n');
SELECT new_data FROM audit_log WHERE table_name = 'aq_r' AND record_id = 3;
DROP TRIGGER by_hand ON aq_r;
-- an expression cannot reach a redacted column over another generated one, or over the whole row
ALTER TABLE aq_r ADD COLUMN twice text GENERATED ALWAYS AS (lower(clave_up)) STORED;
\echo :SQLSTATE
CREATE FUNCTION aq_whole(aq_r) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1.clave';
ALTER TABLE aq_r ADD COLUMN whole text GENERATED ALWAYS AS (aq_whole(aq_r)) STORED;
\echo :SQLSTATE
DROP FUNCTION aq_whole;
-- a column that comes later
SELECT audit_enable('aq_r', redact => '{clave}', exclude => '{both_of,clave_up}');
ALTER TABLE aq_r ADD COLUMN later int GENERATED ALWAYS AS (length(clave)) STORED;
INSERT INTO aq_r VALUES (4, 'secreto', 'n');
SELECT new_data FROM audit_log WHERE table_name = 'aq_r' AND record_id = 4;
-- in partitions, whose columns have other numbers
CREATE TABLE aq_rp (id int, clave text, up text GENERATED ALWAYS AS (upper(clave)) STORED) PARTITION BY RANGE (id);
CREATE TABLE aq_rp1 (gone int, up text, clave text, id int NOT NULL);
ALTER TABLE aq_rp1 DROP COLUMN gone, DROP COLUMN up;
ALTER TABLE aq_rp1 ADD COLUMN up text GENERATED ALWAYS AS (upper(clave)) STORED;
ALTER TABLE aq_rp ATTACH PARTITION aq_rp1 FOR VALUES FROM (0) TO (10);
CREATE UNIQUE INDEX ON aq_rp (id);
SELECT audit_enable('aq_rp', key => '{id}', redact => '{clave}');
INSERT INTO aq_rp VALUES (1, 'secreto');
SELECT new_data FROM audit_log WHERE table_name = 'aq_rp';

-- a key that would show it
CREATE TABLE aq_rk (clave text, up text GENERATED ALWAYS AS (upper(clave)) STORED PRIMARY KEY);
SELECT audit_enable('aq_rk', redact => '{clave}');
\echo :SQLSTATE
SELECT audit_enable('aq_rk', redact => '{clave}', key => '{up}');
\echo :SQLSTATE
-- a trigger that is there already goes on
CREATE TRIGGER by_hand AFTER INSERT ON aq_rk FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('', 'redact=clave');
INSERT INTO aq_rk VALUES ('a');
SELECT record_key, new_data FROM audit_log WHERE table_name = 'aq_rk';

-- excluded is not secret: what is computed from it is logged, and audit_enable says so
CREATE TABLE aq_x (id int PRIMARY KEY, visto timestamp, dia date GENERATED ALWAYS AS (visto::date) STORED);
SELECT audit_enable('aq_x', exclude => '{visto}');
INSERT INTO aq_x VALUES (1, '2026-01-02 03:04:05');
UPDATE aq_x SET visto = '2026-01-02 05:00:00';
UPDATE aq_x SET visto = '2026-01-03 05:00:00';
SELECT action, new_data, changed_fields FROM audit_log WHERE table_name = 'aq_x' ORDER BY xact_id, xact_seq;
SELECT audit_enable('aq_x', exclude => '{visto,dia}');
SELECT audit_enable('aq_x', exclude => '{visto}', redact => '{dia}');

-- virtual columns, where the server has them: not in the entry, and no key
SELECT current_setting('server_version_num')::int >= 180000 AS has_virtual \gset
\if :has_virtual
CREATE TABLE aq_v (id int PRIMARY KEY, base numeric, iva numeric GENERATED ALWAYS AS (base * 0.16) VIRTUAL);
\else
CREATE TABLE aq_v (id int PRIMARY KEY, base numeric);
\endif
SELECT audit_enable('aq_v');
INSERT INTO aq_v VALUES (1, 100);
UPDATE aq_v SET base = 200;
DELETE FROM aq_v;
SELECT action, new_data, old_data, changed_fields FROM audit_log WHERE table_name = 'aq_v' ORDER BY xact_id, xact_seq;
SELECT CASE WHEN :'has_virtual' THEN 'SELECT audit_enable(''aq_v'', key => ''{iva}'')' ELSE 'SELECT audit_enable(''aq_rk'', redact => ''{clave}'')' END AS no_key \gset
\set VERBOSITY sqlstate
:no_key;
\set VERBOSITY default

DROP TABLE aq_r, aq_rp, aq_rk, aq_x, aq_v, audit_log;
