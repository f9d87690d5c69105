-- Step 2: rows.  Everything follows from the row's number n, so that two runs
-- give the same database.
--
-- Eight tables have one row per account and belong together (contrato, persona,
-- direccion, geolocalizacion, ptoserv, vgiss_lectuacom, factura, linfactura);
-- what matters in them has a recipe below.  Every other column of the 1,470
-- tables gets a plausible value of its type, with the NULLs, blanks and
-- 'S'/'N'/NULL that such columns have.  Every fourth per-process table still has
-- rows, as after an interrupted run; some have NULL or repeated keys.
--
-- :accounts    how many accounts; the per-process tables follow in proportion
\ir options.sql

-- ---- where values come from ---------------------------------------------------

CREATE FUNCTION demo.hash(n bigint, salt int) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (hashint8extended(n, salt) & 2147483647)::int;

CREATE FUNCTION demo.pick(h bigint, VARIADIC list text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN list[1 + h % cardinality(list)];

CREATE FUNCTION demo.given_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN demo.pick(demo.hash(n, 21), 'María Guadalupe', 'José Luis', 'Ana Sofía', 'Juan Carlos', 'Rosa',
                     'Miguel Ángel', 'Verónica', 'Francisco', 'Leticia', 'Óscar', 'Beatriz', 'Íñigo');

CREATE FUNCTION demo.surname(n bigint, salt int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN demo.pick(demo.hash(n, salt), 'Hernández', 'García', 'Martínez', 'López', 'González', 'Pérez',
                     'Rodríguez', 'Sánchez', 'Ramírez', 'Cruz', 'Flores', 'Gómez', 'Núñez', 'Vázquez');

CREATE FUNCTION demo.user_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN demo.pick(n, 'lperez', 'mgarcia', 'jlopez', 'CONVERSION', 'batch');

-- A tax id with its check digit: letters, a birthday in the fifties to nineties,
-- homoclave.  The digit weighs position i of 12 by 14 - i; the letters' and the
-- homoclave's share modulo 11 is the array of five numbers.
CREATE FUNCTION demo.rfc(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN demo.pick(n, 'HEMG', 'GAVL', 'MALS', 'LOJC', 'PETM')
           || (5 + n % 5)::text || (n / 5 % 10)::text || '0' || (1 + n / 7 % 9)::text || '1' || (n / 11 % 10)::text
           || demo.pick(n, 'AB', 'QX', '1H', 'K2', '3D')
           || substr('0A987654321',
                     1 + (('{1,10,1,3,7}'::int[])[1 + n % 5]
                          + 9 * (5 + n % 5) + 8 * (n / 5 % 10) + 6 * (1 + n / 7 % 9) + 4 * (n / 11 % 10))::int % 11, 1);

-- Somewhere in Querétaro, and how the legacy text columns have it: mostly right,
-- some with a decimal comma, in blanks or in degrees and minutes, some of no use.
CREATE FUNCTION demo.latitude(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '20.' || (520000 + demo.hash(n, 41) % 200000)::text;
CREATE FUNCTION demo.longitude(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '-100.' || (300000 + demo.hash(n, 42) % 200000)::text;

CREATE FUNCTION demo.latitude_text(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE n % 50
           WHEN 1 THEN ''
           WHEN 2 THEN '0'
           WHEN 3 THEN 'PENDIENTE'
           WHEN 4 THEN replace(demo.latitude(n), '.', '')
           WHEN 5 THEN demo.longitude(n)
           WHEN 6 THEN replace(demo.latitude(n), '.', ',')
           WHEN 7 THEN ' ' || demo.latitude(n) || ' '
           WHEN 8 THEN '20°3' || (n % 7)::text || '''' || (10 + n % 47)::text || '.5"N'
           ELSE demo.latitude(n)
           END;
CREATE FUNCTION demo.longitude_text(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE n % 50
           WHEN 1 THEN '  '
           WHEN 2 THEN '0'
           WHEN 3 THEN 'PENDIENTE'
           WHEN 4 THEN replace(demo.longitude(n), '.', '')
           WHEN 5 THEN demo.latitude(n)
           WHEN 6 THEN replace(demo.longitude(n), '.', ',')
           WHEN 7 THEN demo.longitude(n) || ' '
           WHEN 8 THEN '100°2' || (n % 9)::text || '''' || (10 + n % 43)::text || '.2"W'
           ELSE demo.longitude(n)
           END;

CREATE TABLE demo.recipe (table_name text, column_name text, expression text, PRIMARY KEY (table_name, column_name));
COPY demo.recipe FROM stdin (DELIMITER ';');
contrato;cnttnum;100000 + n
contrato;cnttexpid;1 + n % 13
contrato;cnttptosid;5000000 + n
contrato;cnttcliid;2000000 + n
contrato;cntttctcod;1 + demo.hash(n, 11) % 3
contrato;cnttfprsid;3000001 + (n - 1) % :persons
contrato;cnttcprsid;3000001 + (n - 1) % :persons
contrato;cnttfnumdir;1
contrato;cnttcnumdir;1
contrato;cnttestado;CASE WHEN n % 50 = 0 THEN 3 WHEN n % 17 = 0 THEN 2 ELSE 1 END
contrato;cnttusocod;1
contrato;cnttidicodigo;'es'
contrato;cnttsnformal;CASE WHEN n % 29 = 0 THEN 'N' ELSE 'S' END
contrato;cnttsnnotifmail;demo.pick(demo.hash(n, 12), 'S', ' ', 'N', 'N', 'N')
contrato;cnttsnnotifsms;demo.pick(demo.hash(n, 13), 'S', 'N', 'N', 'N')
contrato;cnttnotifmovil;demo.pick(n, '', NULL, ' ' || 4421000000 + demo.hash(n, 14) % 8000000 || ' ', (4421000000 + demo.hash(n, 14) % 8000000)::text)
contrato;cnttrefant;demo.pick(n, NULL, '', 'A' || n)
contrato;cntthstusu;demo.user_name(n)
contrato;cntthsthora;timestamp '2019-01-01 08:00' + n % 1500 * interval '1 day'
contrato;cnttsaldobloq;CASE WHEN n % 40 = 0 THEN (demo.hash(n, 15) % 200000) / 100.0 ELSE 0 END
persona;prsid;3000000 + n
persona;prsnombre;demo.given_name(n)
persona;prspriapel;demo.surname(n, 22)
persona;prssegapel;CASE WHEN n % 9 > 0 THEN demo.surname(n, 23) END
persona;prsnomcpto;demo.given_name(n) || ' ' || demo.surname(n, 22) || ' '
persona;prsnif;CASE n % 25 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'heml7503' || 10 + n % 18 || 'ab1' WHEN 3 THEN 'GAML-800101-QX' || n % 10 WHEN 4 THEN 'SIN RFC' WHEN 5 THEN 'XAXX010101000' WHEN 6 THEN 'ACE900319JT9' ELSE demo.rfc(n) END
persona;prstelef;demo.pick(n, NULL, ' ', (4421000000 + demo.hash(n, 24) % 8000000)::text, (4421000000 + demo.hash(n, 24) % 8000000)::text)
persona;prspassweb;CASE WHEN n % 6 = 0 THEN 'agua' || n % 10000 END
persona;prsjuridic;CASE WHEN n % 15 = 0 THEN 'S' ELSE 'N' END
persona;prsjubilad;CASE WHEN n % 12 = 0 THEN 'S' ELSE 'N' END
direccion;dirid;7000000 + n
direccion;dirtexto;demo.pick(demo.hash(n, 31), 'HIDALGO', 'AV. CORREGIDORA', 'ZARAGOZA', '15 DE MAYO', 'AV. UNIVERSIDAD', 'PASTEUR SUR', 'EZEQUIEL MONTES') || ' ' || 1 + demo.hash(n, 32) % 900 || demo.pick(n, '', '', '   ')
direccion;dircomplem;demo.pick(n, 'COL. CENTRO', '', '  ', NULL, NULL)
direccion;dircodpost;CASE WHEN n % 31 > 0 THEN (76000 + demo.hash(n, 33) % 260)::text END
direccion;dirgeolocid;CASE WHEN n % 16 > 0 THEN 9000000 + n END
geolocalizacion;geolocid;9000000 + n
geolocalizacion;geoloclat;demo.latitude_text(n)
geolocalizacion;geoloclong;demo.longitude_text(n)
ptoserv;ptosid;5000000 + n
ptoserv;ptosdirid;7000000 + n
ptoserv;ptosexpid;1 + n % 13
ptoserv;ptosestado;CASE WHEN n % 50 = 0 THEN 2 ELSE 1 END
ptoserv;ptossncortdeud;CASE WHEN n % 23 = 0 THEN 'S' ELSE 'N' END
ptoserv;ptosobserv;CASE WHEN n % 30 = 0 THEN 'TOMA EN BANQUETA' END
ptoserv;ptoscompunt;NULL
vgiss_lectuacom;idcontrato;100000 + n
vgiss_lectuacom;idexplotacion;1 + n % 13
vgiss_lectuacom;fechalectura;date '2026-10-20' + (n % 10)::int
vgiss_lectuacom;consumoreg;CASE WHEN n % 37 = 0 THEN NULL WHEN n % 11 = 0 THEN 0 WHEN n % 997 = 0 THEN 200 + demo.hash(n, 51) % 600 ELSE (demo.hash(n, 51) % 23 + demo.hash(n, 52) % 23) / (1 + n % 2) END
factura;facid;8000000 + n
factura;faccnttnum;100000 + n
factura;facfecfact;date '2026-09-30'
factura;facimporte;49.50 + 5.5 * (demo.hash(n, 53) % 40)
linfactura;linfacid;8000000 + n
linfactura;linfaccant;demo.hash(n, 53) % 40
linfactura;linfprefij;45 * 1.1::float8
linfactura;linfprepro;5.5::float8 + (n % 10) * 0.1::float8 + (n % 7) * 0.0789::float8
linfactura;linfacimpo;49.50 + 5.5 * (demo.hash(n, 53) % 40)
\.

-- Any other column: by its type, small enough for its width.  In the big tables
-- every other column that may be NULL always is, as if nobody used it.
CREATE FUNCTION demo.plausible(data_type text, column_name text, is_nullable boolean, wide boolean) RETURNS text
    LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT CASE WHEN is_nullable AND wide AND h % 2 = 0 THEN 'NULL'
                WHEN is_nullable THEN format('CASE WHEN (n + %s) %% 4 > 0 THEN %s END', h % 7, value)
                ELSE value END
    FROM (SELECT hashtext(column_name) & 1023 AS h,
                 substring(data_type FROM '\((\d+)')::int AS size,
                 substring(data_type FROM ',([1-9]\d*)') AS scale) a,
    LATERAL (SELECT CASE
        WHEN data_type = 'character(1)' THEN format('demo.pick(n + %s, ''S'', ''N'', ''N'', ''N'')', h)
        WHEN column_name LIKE '%hstusu' THEN 'demo.user_name(n)'
        WHEN data_type ~ '^(character|text)' THEN format('left(''%s '' || n %% 9973, %s)', upper(column_name), coalesce(size, 40))
        WHEN data_type ~ '^numeric\(' THEN format('n * %s %% %s', 1 + h % 7, 10 ^ least(size, 6)) || coalesce(' / 1e' || scale, '')
        WHEN data_type = 'date' THEN format('date ''2012-01-01'' + (n * %s %% 5000)::int', 1 + h % 7)
        WHEN data_type LIKE 'timestamp%' THEN format('timestamp ''2012-01-01 08:00'' + n * %s %% 5000 * interval ''1 day''', 1 + h % 7)
        WHEN data_type LIKE 'time %' THEN 'time ''07:00'' + n % 600 * interval ''1 minute'''
        WHEN data_type = 'double precision' THEN format('n * %s %% 100000 * 0.01::float8', 1 + h % 7)
        WHEN data_type = 'bytea' THEN 'decode(md5(n::text), ''hex'')'
        WHEN data_type = 'name' THEN '''contrato'''
        ELSE format('n * %s %% 1000', 1 + h % 7) END AS value) b;
END;

-- ---- the statements -------------------------------------------------------------
--
-- Made here, run by fill.sql in two sessions, each taking every other one.

CREATE TABLE demo.fill (position int GENERATED ALWAYS AS IDENTITY, statement text);

-- The 1,470 ordinary tables, the big ones first and alone, the rest by fifty.  A
-- table that is truncated in the same transaction is filled without WAL where
-- wal_level allows it.
WITH ordinary AS (
    SELECT schema_name, table_name, table_name IN (SELECT table_name FROM demo.recipe) AS big,
           string_agg(quote_ident(c.column_name), ', ' ORDER BY position) AS columns,
           string_agg(coalesce(expression, demo.plausible(data_type, c.column_name, is_nullable = 'YES',
                                                          table_name IN (SELECT table_name FROM demo.recipe))),
                      ', ' ORDER BY position) AS expressions
    FROM demo.legacy_column c LEFT JOIN demo.recipe USING (table_name, column_name)
    WHERE family = 'ordinary' AND coalesce(column_default, '') NOT LIKE 'nextval%'
    GROUP BY schema_name, table_name
)
INSERT INTO demo.fill (statement)
SELECT string_agg(format('TRUNCATE %1$I.%2$I; INSERT INTO %1$I.%2$I (%3$s) SELECT %4$s FROM generate_series(1::bigint, %5$s) n',
                         schema_name, table_name, columns,
                         replace(expressions, ':persons', (:accounts * 95 / 100)::text),
                         CASE WHEN table_name = 'persona' THEN :accounts * 95 / 100 WHEN big THEN :accounts
                              ELSE 3 + (hashtext(table_name) & 31) END), ';')
FROM (SELECT *, CASE WHEN big THEN 0 ELSE row_number() OVER (PARTITION BY big ORDER BY table_name) / 50 + 1 END AS batch FROM ordinary) t
GROUP BY batch, CASE WHEN big THEN table_name END
ORDER BY batch, sum(length(columns)) DESC;

-- No keys were published; these are what the demo joins on and audits by.
UPDATE demo.fill
SET statement = statement || format('; ALTER TABLE %1$s ADD PRIMARY KEY (%2$s); ANALYZE %1$s', table_name, key_column)
FROM (VALUES ('contrato', 'cnttnum'), ('persona', 'prsid'), ('direccion', 'dirid'), ('geolocalizacion', 'geolocid'),
             ('ptoserv', 'ptosid'), ('factura', 'facid'), ('linfactura', 'linfacid'), ('vgiss_lectuacom', 'idcontrato')) k (table_name, key_column)
WHERE statement LIKE format('TRUNCATE cf_quere_pro.%s;%%', table_name);

-- The 2,643 per-process tables: about :accounts / 400 rows in every fourth one.
-- key is the account of a row; in a dirty table some rows repeat the key before
-- them and some have none.
WITH process AS (
    SELECT DISTINCT family, table_name, substring(table_name FROM '\d+$')::bigint AS id
    FROM demo.legacy_column WHERE family <> 'ordinary'
), sized AS (
    SELECT *, greatest(10, :accounts * (50 + demo.hash(id, 62) % 100) / 40000) AS row_count,
           CASE WHEN demo.hash(id, 63) % 20 = 0
                THEN format('CASE WHEN n %% 250 = 5 THEN NULL ELSE 100001 + (%s + n - (n %% 150 = 2)::int) %% %s END', id % 9973, :accounts)
                ELSE format('100001 + (%s + n) %% %s', id % 9973, :accounts) END AS key
    FROM process WHERE demo.hash(id, 61) % 4 = 0
)
INSERT INTO demo.fill (statement)
SELECT string_agg(format('INSERT INTO %I SELECT %s FROM generate_series(1::bigint, %s) n', table_name,
           CASE family
           WHEN 'tmp_deuda' THEN format('demo.hash(n + %s, 64) %% 500000 / 100.0, 1 + n %% 6, 1, %s', id, key)
           WHEN 'aux_varscreditored' THEN format('%s, demo.hash(n, 65) %% 90000 / 100.0, demo.hash(n, 66) %% 90000 / 100.0', key)
           WHEN 'tmpbb' THEN format('n, %s, %s, 1, date ''2024-01-01'', date ''2024-12-31'', n %% 40, 1 + n %% 13, 10, 1, 11, 2, NULL, date ''2024-01-01''', id % 1000, key)
           END, row_count), ';')
FROM (SELECT *, row_number() OVER (ORDER BY table_name) / 50 AS batch FROM sized) t
GROUP BY batch ORDER BY batch;
