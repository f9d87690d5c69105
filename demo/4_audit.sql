-- Step 4: a day at the counter, audited.
\ir options.sql

SELECT audit_install() \g /dev/null
-- Each legacy table has two columns for who saved it last and when; the log knows
-- both.  persona also has the web password in clear: that it changed is logged,
-- its value is not.
SELECT audit_enable('contrato', exclude => '{cntthstusu,cntthsthora}') \g /dev/null
SELECT audit_enable('persona', exclude => '{prshstusu,prshsthora}', redact => '{prspassweb}') \g /dev/null
SELECT audit_enable('direccion', exclude => '{dirhstusu,dirhsthora}') \g /dev/null
SELECT audit_enable('ptoserv', exclude => '{ptoshstusu,ptoshsthora}') \g /dev/null

-- 08:12, counter: customers leave a mobile number and want messages.
BEGIN;
SELECT audit_set_user('lperez', session_id => 4711, context => '{"module": "caja"}') \g /dev/null
UPDATE contrato SET cnttnotifmovil = '442' || 1000000 + cnttnum, cnttsnnotifsms = 'S', cntthstusu = 'lperez', cntthsthora = now()
WHERE cnttnum % 400 = 42;
COMMIT;

-- 09:40, counter: one of them moves house, and the account changes its name.
BEGIN;
SELECT audit_set_user('mgarcia', session_id => 4712, context => '{"module": "contratos"}') \g /dev/null
INSERT INTO persona
SELECT r.* FROM persona p, jsonb_populate_record(p, '{"prsid": 2999042, "prsnombre": "Ñusta", "prspriapel": "Ibáñez", "prsnomcpto": "Ñusta Ibáñez", "prspassweb": "agua2026"}') r
WHERE p.prsid = 3000042;
UPDATE contrato SET cnttfprsid = 2999042, cnttcprsid = 2999042, cnttcliid = 1999042, cntthstusu = 'mgarcia', cntthsthora = now()
WHERE cnttnum = 100042;
UPDATE direccion SET dircomplem = 'DEPTO. 3', dirtexto = trim(dirtexto), dirhstusu = 'mgarcia' WHERE dirid = 7000042;
COMMIT;

-- 11:05, new accounts in a new estate: person, address, service point, contract.
BEGIN;
SELECT audit_set_user('jlopez', session_id => 4713, context => '{"module": "altas"}') \g /dev/null
INSERT INTO persona SELECT r.* FROM persona p, jsonb_populate_record(p, jsonb_build_object('prsid', prsid + 800000)) r
WHERE p.prsid % 1000 = 1 AND p.prsid < 3800000;
INSERT INTO direccion SELECT r.* FROM direccion d, jsonb_populate_record(d, jsonb_build_object('dirid', dirid + 800000)) r
WHERE d.dirid % 1000 = 1 AND d.dirid < 7800000;
INSERT INTO ptoserv SELECT r.* FROM ptoserv p, jsonb_populate_record(p, jsonb_build_object('ptosid', ptosid + 800000, 'ptosdirid', ptosdirid + 800000)) r
WHERE p.ptosid % 1000 = 1 AND p.ptosid < 5800000;
INSERT INTO contrato SELECT r.* FROM contrato c, jsonb_populate_record(c, jsonb_build_object('cnttnum', cnttnum + 800000, 'cnttptosid', cnttptosid + 800000)) r
WHERE c.cnttnum % 1000 = 1 AND c.cnttnum < 900000;
COMMIT;

-- 13:30, collection: cut orders for the debts that step 3 brought together.
BEGIN;
SELECT audit_set_user('cobranza', context => '{"module": "cortes"}') \g /dev/null
UPDATE ptoserv SET ptossncortdeud = 'S', ptosfeccorte = date '2026-11-23', ptoshstusu = 'cobranza'
WHERE ptosid IN (SELECT cnttptosid FROM contrato JOIN tmp_deuda ON faccnttnum = cnttnum WHERE importe > 4970) AND ptossncortdeud = 'N';
COMMIT;

-- 16:00, office: duplicates go, contracts that ended with them.
BEGIN;
SELECT audit_set_user('mgarcia', session_id => 4719, context => '{"module": "depuracion"}') \g /dev/null
DELETE FROM contrato WHERE cnttnum % 1000 = 500;
DELETE FROM direccion WHERE dirid % 1000 = 500;
COMMIT;

-- 17:45, the vendor application saves forms in which nobody changed anything.
SELECT count(*) AS logged FROM audit_log \gset
CREATE TEMP TABLE unchanged AS
WITH u AS (UPDATE contrato SET cnttestado = cnttestado, cntthstusu = 'lperez', cntthsthora = now() WHERE cnttnum % 100 = 7 RETURNING 1)
SELECT count(*) AS rows FROM u;
SELECT count(*) - :logged AS logged_unchanged FROM audit_log \gset

-- 22:00, batch: a municipality gets another tariff.
BEGIN;
SELECT audit_set_user('batch', context => '{"module": "tarifas", "acuerdo": "2026-11"}') \g /dev/null
UPDATE contrato SET cntttctcod = 2, cntthstusu = 'batch', cntthsthora = now() WHERE cnttexpid = 4 AND cntttctcod <> 2;
COMMIT;

\echo 'The day in audit_log:'
SELECT user_id AS "user", table_name, action, to_char(count(*), '999,999') AS rows,
       app_context ->> 'module' AS module, session_id
FROM audit_log GROUP BY xact_id, user_id, table_name, action, module, session_id ORDER BY xact_id, table_name, action;

\echo 'SELECT * FROM audit_history(''contrato'', ''100042''), newest first:'
SELECT user_id AS "user", action, column_name, old_value, new_value
FROM audit_history('contrato', '100042');

-- ---- what full-row copies of the same changes would have taken ------------------
--
-- The 230 his* tables keep a whole row per change.  The log alone gives those rows
-- back: the row as it is now, with the old values put back change by change.  They
-- are inserted for real, into tables without any index.

CREATE AGGREGATE demo.merge(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');

CREATE TABLE demo.row_copy AS
SELECT table_name, record_id, xact_id, xact_seq, action,
       jsonb_build_object(prefix || 'hstusu', user_id, prefix || 'hsthora', changed_at)
       || CASE action WHEN 'I' THEN new_data
                      ELSE coalesce(row_now, '{}') || demo.merge(put_back) OVER (
                           PARTITION BY table_name, record_id ORDER BY xact_id DESC, xact_seq DESC) END AS row_data
FROM audit_log l
JOIN (VALUES ('contrato', 'cntt'), ('persona', 'prs'), ('direccion', 'dir'), ('ptoserv', 'ptos')) t (table_name, prefix) USING (table_name)
LEFT JOIN LATERAL (
    SELECT to_jsonb(c) FROM contrato c WHERE table_name = 'contrato' AND cnttnum = record_id::numeric
    UNION ALL SELECT to_jsonb(p) FROM persona p WHERE table_name = 'persona' AND prsid = record_id::numeric
    UNION ALL SELECT to_jsonb(d) FROM direccion d WHERE table_name = 'direccion' AND dirid = record_id::numeric
    UNION ALL SELECT to_jsonb(s) FROM ptoserv s WHERE table_name = 'ptoserv' AND ptosid = record_id::numeric
) n (row_now) ON true,
LATERAL (SELECT CASE action WHEN 'D' THEN old_data
                            WHEN 'U' THEN (SELECT jsonb_object_agg(key, value -> 'old') FROM jsonb_each(changed_fields))
                            ELSE '{}' END) p (put_back);

CREATE SCHEMA his;
SELECT format('CREATE TABLE his.%1$I (LIKE %1$I)', table_name),
       format('INSERT INTO his.%1$I SELECT r.* FROM demo.row_copy, jsonb_populate_record(NULL::%1$I, row_data) r WHERE table_name = %1$L', table_name)
FROM unnest('{contrato,persona,direccion,ptoserv}'::text[]) AS table_name
\gexec

INSERT INTO demo.figure
SELECT 'audit rows', count(*) FROM audit_log
UNION ALL SELECT 'unchanged rows', rows FROM unchanged
UNION ALL SELECT 'unchanged rows logged', :logged_unchanged
UNION ALL SELECT 'audit bytes', sum(pg_table_size(relid)) FROM pg_partition_tree('audit_log') WHERE isleaf
UNION ALL SELECT 'audit index bytes', sum(pg_indexes_size(relid)) FROM pg_partition_tree('audit_log') WHERE isleaf
UNION ALL SELECT 'copy rows', count(*) FROM demo.row_copy
UNION ALL SELECT 'copy bytes', sum(pg_table_size(oid)) FROM pg_class WHERE relnamespace = 'his'::regnamespace AND relkind = 'r';

\echo 'The same changes as full-row copies, rebuilt from the log alone and inserted:'
SELECT relname AS table_name, to_char(count(*), '999,999') AS copies, pg_size_pretty(pg_table_size(t.oid)) AS size
FROM pg_class t JOIN demo.row_copy ON table_name = relname
WHERE relnamespace = 'his'::regnamespace GROUP BY t.oid, relname ORDER BY count(*) DESC;
DROP SCHEMA his CASCADE;
