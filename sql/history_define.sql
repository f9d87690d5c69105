-- history_define: what it takes, what the rows refuse, who may; history_forget.
SELECT extnamespace::regnamespace AS schema FROM pg_extension WHERE extname = 'aquacis' \gset
CREATE SCHEMA hi_d;
SET search_path = hi_d, :schema, public;
CREATE TABLE persona (prsid integer PRIMARY KEY, prsnombre varchar(40), prsvigente char(1), prsalta timestamp, prshsthora timestamp);
CREATE TABLE vieja (vid integer, vtexto varchar(40), vvig char(1), vcuando timestamp, vreves timestamp, vlinea integer);
INSERT INTO persona SELECT k, 'nombre 3 de ' || k, 'S', '2001-01-01', timestamp '2022-01-01' + k * interval '1 day' FROM generate_series(1, 30) k;
-- three copies of each key; vreves runs backwards, vlinea is new in each row
INSERT INTO vieja SELECT k, format('nombre %s de %s', s, k), 'S', timestamp '2019-01-01' + k * interval '1 day' + (s - 1) * interval '1 year',
	timestamp '2040-01-01' - k * interval '1 day' - s * interval '1 year', row_number() OVER (ORDER BY s, k) FROM generate_series(1, 3) s, generate_series(1, 30) k ORDER BY s, k;
CREATE VIEW defined AS SELECT history_table, base, base_from, key, key_from, changed_at, changed_by, operation, columns, holds, tier, problem_code FROM history_plan('hi_d', '{vieja}');

-- nothing of it is found by a name
SELECT * FROM defined;
-- all of it is said, and taken
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre", "vvig": "prsvigente", "vcuando": "prshsthora", "vreves": null, "vlinea": null}',
	key => '{vid}', changed_at => 'vcuando', holds => 'before', time_zone => 'America/Mexico_City');
SELECT * FROM defined \gx
SELECT history_table, base, columns, key, changed_at, changed_by, operation, holds, time_zone, defined_at > now() - interval '1 day' AS now, defined_by = current_user AS me FROM history_definition;
-- a defined table is planned whatever it is called
SELECT history_table, defined FROM history_plan('hi_d');
-- a second call replaces the first whole; what is left out is found again: by no name here
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_by => 'vvig', operation => 'vtexto');
SELECT * FROM defined \gx
SELECT count(*) FROM history_definition;
-- without the time in the base, the values decide
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_at => 'vcuando', holds => 'after');
\echo :SQLSTATE
SELECT holds, tier FROM defined;

-- ---- refused by the rows: nothing changes ----
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre", "vcuando": "prshsthora"}', key => '{vid}', changed_at => 'vcuando', holds => 'after');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_at => 'vcuando', holds => 'before');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_at => 'vreves');
\echo :SQLSTATE
ALTER TABLE vieja ADD vfija timestamp DEFAULT '2020-01-01';
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_at => 'vfija');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vvig": "prsvigente", "vtexto": "prsnombre"}', key => '{vvig}', changed_at => 'vcuando');
\echo :SQLSTATE
SELECT holds, changed_at, key FROM history_definition;
-- "mixed" cannot be wrong; a contradiction below a fifth is dirt
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_at => 'vcuando', holds => 'mixed');
UPDATE persona SET prsnombre = 'otro' WHERE prsid <= 6;
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_at => 'vcuando', holds => 'after');
\echo :SQLSTATE
UPDATE persona SET prsnombre = 'otro' WHERE prsid <= 7;
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsnombre"}', key => '{vid}', changed_at => 'vcuando', holds => 'after');
\echo :SQLSTATE
-- a definition that the rows contradict later is a problem of the plan
SELECT holds, tier, problem_code, problem FROM history_plan('hi_d', '{vieja}');
-- and so is one whose column or base is gone
ALTER TABLE vieja RENAME vcuando TO vhora;
SELECT holds, tier, problem_code, problem FROM history_plan('hi_d', '{vieja}');
ALTER TABLE vieja RENAME vhora TO vcuando;
ALTER TABLE persona RENAME TO cliente;
SELECT base, problem_code FROM defined;
DROP TABLE cliente;
SELECT base, problem_code, problem FROM history_plan('hi_d', '{vieja}');
CREATE TABLE persona (prsid integer PRIMARY KEY, prsnombre varchar(40), prshsthora timestamp);

-- ---- arguments ----
SELECT history_define(NULL);
\echo :SQLSTATE
SELECT history_define('vieja', base => 'vieja');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'defined');
\echo :SQLSTATE
SELECT history_define('defined');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '["vid"]');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": 1}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": {"prsid": "x"}}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '"vid"');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"nada": "prsid"}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "nada"}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vtexto": "prsid"}');
\echo :SQLSTATE
SELECT history_define('vieja', columns => '{"vid": "prsid"}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid"}', key => '{}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid"}', key => '{nada}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid"}', key => '{vid,vid}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid"}', key => '{vtexto}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid"}', key => '{vid,NULL}');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', changed_at => 'nada');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', changed_at => 'vtexto');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', changed_by => 'nada');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', operation => 'nada');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', holds => 'unknown');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', holds => '');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', time_zone => 'Mars/Olympus');
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', sample => 0);
\echo :SQLSTATE
SELECT history_define('vieja', base => 'persona', sample => NULL);
\echo :SQLSTATE

-- ---- rights ----
CREATE ROLE hi_owner;
CREATE ROLE hi_other;
GRANT USAGE, CREATE ON SCHEMA hi_d TO hi_owner, hi_other;
GRANT USAGE ON SCHEMA :schema TO hi_owner, hi_other;
GRANT EXECUTE ON FUNCTION history_plan(name, text[], integer, bigint), history_forget(regclass),
	history_define(regclass, regclass, jsonb, text[], name, name, name, text, text, integer) TO hi_owner, hi_other;
ALTER TABLE vieja OWNER TO hi_owner;
INSERT INTO persona SELECT DISTINCT vid, 'x', '2023-01-01'::timestamp FROM vieja;
SET ROLE hi_other;
SELECT history_define('vieja', base => 'persona');
\echo :SQLSTATE
SELECT history_forget('vieja');
\echo :SQLSTATE
SET ROLE hi_owner;
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid"}', key => '{vid}', changed_at => 'vcuando');
\echo :SQLSTATE
RESET ROLE;
GRANT SELECT ON persona TO hi_owner;
SET ROLE hi_owner;
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vcuando": "prshsthora"}', key => '{vid}', changed_at => 'vcuando', holds => 'before');
\echo :SQLSTATE
SELECT defined_by, holds FROM history_definition;
INSERT INTO history_definition (history_table, defined_by) VALUES ('persona', 'me');
\echo :SQLSTATE
DELETE FROM history_definition;
\echo :SQLSTATE
RESET ROLE;
ALTER TABLE persona ENABLE ROW LEVEL SECURITY;
SET ROLE hi_owner;
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vcuando": "prshsthora"}', key => '{vid}', changed_at => 'vcuando', holds => 'before');
\echo :SQLSTATE
SELECT history_forget('vieja');
\echo :SQLSTATE
SELECT history_forget('vieja');
\echo :SQLSTATE
SELECT history_forget(NULL);
RESET ROLE;
-- a table that is gone leaves its number
ALTER TABLE persona DISABLE ROW LEVEL SECURITY;
SELECT history_define('vieja', base => 'persona', columns => '{"vid": "prsid", "vcuando": "prshsthora"}', key => '{vid}', changed_at => 'vcuando', holds => 'before');
\echo :SQLSTATE
DROP TABLE vieja CASCADE;
SELECT history_table::text ~ '^\d+$' AS a_number FROM history_definition;
SELECT count(*) FROM history_plan('hi_d');
SELECT history_forget(history_table) FROM history_definition;
SELECT count(*) FROM history_definition;
SET client_min_messages = warning;
DROP SCHEMA hi_d CASCADE;
DROP OWNED BY hi_owner, hi_other;
DROP ROLE hi_owner, hi_other;
