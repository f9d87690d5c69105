-- legacy_phone, legacy_email, legacy_postal_code, legacy_date, flags in numbers
-- psql of different versions gives characters without width different widths
\pset format unaligned

SELECT v, legacy_phone(v), legacy_phone_extension(v) FROM unnest(ARRAY['4421234567', '442 123 4567', '(442) 123-45-67', '442.123.4567', ' 442–123–4567 ', '01 442 123 4567', '044 55 1234 5678', '0455512345678',
  '+52 442 123 4567', '+52 1 442 123 4567', '+52 (01) 442 123 4567', '+52 044 442 123 4567', '52 442 123 4567', '5214421234567', '0052 442 123 4567', '+524421234567',
  '4421234567 ext. 12', '4421234567 EXT:123456', '442 123 4567 x 5', '4421234567 #7', '4421234567 (ext 7)', '4421234567 Extensión 8', E'\u200B442\u00A01234567', '', ' ', '-', '( )']) v
WHERE legacy_phone_error(v) IS NULL;
SELECT v, legacy_phone_error(v) FROM unnest(ARRAY['0', '0000000000', '999', '5555555555', '+5255', '52', '1234567', '12345678', '123456', '123456789', '14421234567', '24421234567', '442123456789012', '4421234567890123456', repeat('12', 40),
  '0442123456', '1442123456', '+1 442 123 4567', '+34 912 345 678', '00 34 912345678', '+521442123456', '0154421234567', 'no tiene', '442-123-45-67/68', '4421234567, 4427654321', '442 123 456O', '+', '++524421234567', '4421234567+', 'ext 5', '442a', '4421234567 ext', '4421234567 ext 1234567', '4421234567 ext 12 b', '４４２1234567', NULL]) v;
SELECT l, v, legacy_phone(l, v), legacy_phone_error(l, v) FROM (VALUES ('442', '1234567'), ('01 442', '123-4567'), ('55', '12345678'), ('+52', '4421234567'), ('044', '4421234567'), ('+52 442', '1234567 ext 3'), (NULL, '4421234567'), ('', '4421234567'), ('55', '4421234567'),
  ('442', ''), ('442', NULL), (NULL, NULL)) t(l, v);
SELECT l, v, legacy_phone_error(l, v) FROM (VALUES (NULL, '1234567'), ('', '12345678'), ('442', '123456'), ('44', '1234567'), ('abc', '1234567'), (repeat('4', 80), '1234567'), ('442', '0000000'), ('442', 'no')) t(l, v);
SELECT legacy_phone('1234567');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_phone('55', '123');
SELECT legacy_phone_extension('123 ext 5'), legacy_phone_extension('4421234567');

SELECT v, legacy_email(v) FROM unnest(ARRAY['juan.perez@gmail.com', ' Juan.Perez@GMAIL.COM ', 'a@b.mx', 'o''neil+x@sub.dominio.com.mx', 'a_b-c@x-y.mx', '1@2.co', E'\uFEFFa@b.mx\u00A0', 'a@xn--pea-8ma.mx', '', '  ',
  repeat('a', 64) || '@' || repeat('b', 63) || '.mx']) v;
SELECT v, legacy_email_error(v) FROM unnest(ARRAY['no tiene', 'juan.perez', 'a@b@c.mx', 'a@b.mx;c@d.mx', 'a@b.mx, c@d.mx', 'juan perez@gmail.com', 'peña@b.mx', 'a@peña.mx', E'a\u0001@b.mx', '@b.mx', '.a@b.mx', 'a.@b.mx', 'a..b@c.mx', 'a"b@c.mx', '(a)@b.mx',
  repeat('a', 65) || '@b.mx', 'a@', 'a@b', 'a@b.', 'a@.mx', 'a@b..mx', 'a@-b.mx', 'a@b-.mx', 'a@b_c.mx', 'a@b.m', 'a@1.2.3.4', 'a@[1.2.3.4]', 'a@' || repeat('b', 64) || '.mx', 'a@' || repeat('b.', 130) || 'mx', '', NULL]) v;
SELECT legacy_email('juan');
\echo :LAST_ERROR_SQLSTATE

SELECT v, legacy_postal_code(v) FROM unnest(ARRAY['76000', ' 76000 ', '06000', '6000', 'C.P. 76000', 'cp 76000', 'C.P.76000', 'CP: 6000', '', ' ', '-']) v;
SELECT v, legacy_postal_code_error(v) FROM unnest(ARRAY['7600O', '760', '0600', '760001', '76000-1234', '0', '00000', '99999', 'CP', 'x', '76 000', '76000.0', 'ñ', NULL]) v;
SELECT v, legacy_postal_code_error(v), CASE WHEN legacy_postal_code_error(v) IS NULL THEN legacy_postal_code(v) END AS code FROM unnest('{76000,6000,76000.00,6000.0,0,99999,76000.5,-76000,NaN,760,760000,1e30}'::numeric[]) v;
SELECT legacy_postal_code(76000), legacy_postal_code(6000::smallint);
SELECT legacy_postal_code('760');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_postal_code(760);

SET DateStyle = ISO;
SELECT v, legacy_date(v), legacy_date(v, 'mdy') AS mdy FROM unnest(ARRAY['2020-01-02', '2020/1/2', '2020.01.02', '20200102', '20200102235959', '01/02/2020', '1-2-2020', '1.2.2020', '01 02 2020', '02-ENE-2020', '2/jan/2020', '2 de enero de 2020', '2 de Enero del 2020', '2 dic 2020', '2020-ENE-02',
  '2020-01-02 23:59', '2020-01-02T23:59:59.123456-06:00', '2020-01-02T23:59:59Z', '01/02/2020 11:59:59 p.m.', '01/02/2020 1:00 AM', '2020-02-29', '2000-02-29', '0001-01-02', '9999-12-30', E' 2020-01-02\u00A0']) v
WHERE legacy_date_error(v) IS NULL;
SELECT v, legacy_date(v), legacy_date_error(v) FROM unnest(ARRAY['', '  ', '  /  /    ', '-', '0000-00-00', '00/00/0000', '0', '00000000', '0000-00-00 00:00:00', '0001-01-01', '1753-01-01', '1899-12-30', '31/12/1899', '1900-01-01', '1900-01-01T00:00:00', '29991231', '9999-12-31', NULL]) v;
SELECT v, legacy_date_error(v) FROM unnest(ARRAY['02/01/20', '20-01-02', '1/1/1', '2020-02-30', '2021-02-29', '1900-02-29', '31/04/2020', '12/31/2020', '2020-13-01', '2020-00-01', '2020-01-00', '0000-01-01', 'today', 'infinity', 'enero', '2020', '2020-01', '202001', '43831', '2020-01-02x', '2020-01-02 25:00', '2020-01-02 23:60',
  '2020-01-02T', '2020-01-02 1', '2020-01-02 12:00:00.', '2020-01-02 12:00 +1', '2020-01-02 12:00 +99', '20200102256060', '2020-01/02', '1/2/202', '202/1/2', '2020-1-2020', '2 ene de 2020', '2 de 1 de 2020', '12345-01-01', '2020-01-02 BC', 'T', ':', 'lunes 2 de enero de 2020', repeat('1', 100)]) v;
SELECT v, legacy_date_error(v, 'ymd'), legacy_date_error(v, 'mdy') FROM unnest(ARRAY['2020-01-02', '20200102', '01/02/2020', '31/01/2020', '2-ene-2020', '1/2/20']) v;
SELECT legacy_date('2099-12-31', 'dmy', '{2099-12-31}'), legacy_date('1900-01-01', 'dmy', '{}'), legacy_date_error('2099-12-31', sentinels => '{NULL,2098-12-31,2099-12-31}'), legacy_date('1900-01-01', sentinels => '{NULL}'), legacy_date('1900-01-01', sentinels => NULL);
SELECT legacy_date('31/02/2020');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_date('31/01/2020', 'myd');
\echo :LAST_ERROR_SQLSTATE
SELECT v, legacy_date(v), legacy_date_error(v) FROM unnest('{0001-01-01,1900-01-01,1900-01-02,9999-12-31,infinity,-infinity,2020-01-02,0001-01-01 BC}'::date[]) v;
SELECT v, legacy_date(v), legacy_date_error(v) FROM unnest('{0001-01-01 00:00,1899-12-30 08:30,1900-01-02 00:00,9999-12-31 23:59:59.999999,infinity,-infinity,2020-01-02 12:00,0002-01-01 BC}'::timestamp[]) v;
SELECT legacy_date(date '2099-12-31', '{2099-12-31}'), legacy_date(timestamp '1900-01-01', '{}'), pg_typeof(legacy_date(timestamp '2020-01-01 12:00')), pg_typeof(legacy_date(date '2020-01-01'));
-- every day of four centuries and the ends, in five forms, beside the server's own calendar
SELECT count(*) AS days, count(*) FILTER (WHERE legacy_date(to_char(d, 'YYYY-MM-DD'), 'dmy', '{}') IS DISTINCT FROM d OR legacy_date(to_char(d, 'YYYYMMDD'), 'mdy', '{}') IS DISTINCT FROM d OR legacy_date(to_char(d, 'DD/MM/YYYY'), 'dmy', '{}') IS DISTINCT FROM d
  OR legacy_date(to_char(d, 'FMMM-FMDD-YYYY'), 'mdy', '{}') IS DISTINCT FROM d OR legacy_date(to_char(d, 'DD-MON-YYYY'), 'ymd', '{}') IS DISTINCT FROM d) AS wrong
FROM (SELECT date '1700-01-01' + i AS d FROM generate_series(0, 146100) i UNION ALL SELECT date '0001-01-01' + i FROM generate_series(0, 800) i UNION ALL SELECT date '9999-12-31' - i FROM generate_series(0, 800) i) t;
-- and everything that is three numbers: a date exactly when make_date says so
CREATE FUNCTION pg_temp.slow_date(y int, m int, d int) RETURNS date LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN make_date(y, m, d); EXCEPTION WHEN OTHERS THEN RETURN NULL; END$$;
SELECT count(*) AS triples, count(*) FILTER (WHERE legacy_date_error(v, 'dmy', '{}') IS DISTINCT FROM CASE WHEN slow IS NULL THEN 'impossible date' END) AS differ
FROM (SELECT y || '-' || m || '-' || d AS v, pg_temp.slow_date(y, m, d) AS slow FROM unnest('{1600,1700,1899,1900,1999,2000,2019,2020}'::int[]) y, generate_series(0, 14) m, generate_series(0, 33) d WHERE y > 0) t;
RESET DateStyle;
-- whatever the setting is, the date is the same
SET DateStyle = 'SQL, MDY';
SELECT legacy_date('03/04/2020') = make_date(2020, 4, 3) AS dmy, legacy_date('03/04/2020', 'mdy') = make_date(2020, 3, 4) AS mdy;
RESET DateStyle;

SELECT v, legacy_bool_strict(v), legacy_bool_strict_error(v) FROM unnest('{0,1,1.00,0.0,-0}'::numeric[]) v;
SELECT v, legacy_bool_strict_error(v) FROM unnest('{2,-1,0.5,NaN,NULL}'::numeric[]) v;
SELECT legacy_bool_strict(1), legacy_bool_strict(0::smallint), legacy_bool_strict('1'), legacy_bool_strict('1'::char(1));
SELECT legacy_bool_strict(2);
\echo :LAST_ERROR_SQLSTATE
SELECT v, legacy_bool_strict_error(v) FROM unnest(ARRAY['S', ' n ', '', '  ', 'Q', 'SI', 'ñ', NULL]) v;

-- the numbers of Mexico in libphonenumber's PhoneNumberUtilTest.testParseNumbersMexico
SELECT v, legacy_phone(v) FROM unnest(ARRAY['+52 (449)978-0001', '01 (449)978-0001', '(449)978-0001', '+52 1 33 1234-5678', '044 (33) 1234-5678', '045 33 1234-5678']) v;

-- Ten digits, in every old way to write them, give the same ten.
SELECT setseed(0.20588);
SELECT count(*) AS numbers, count(*) FILTER (WHERE legacy_phone(before || written) IS DISTINCT FROM n) AS wrong
FROM (SELECT n, before, CASE i % 4 WHEN 0 THEN n WHEN 1 THEN left(n, 3) || ' ' || substr(n, 4, 3) || ' ' || right(n, 4) WHEN 2 THEN '(' || left(n, 2) || ') ' || substr(n, 3, 4) || '-' || right(n, 4) ELSE left(n, 3) || '.' || right(n, 7) END AS written
      FROM (SELECT i, (2 + floor(random() * 8))::int || lpad(floor(random() * 1e9)::bigint::text, 9, '0') AS n FROM generate_series(1, 20000) i) t,
           unnest('{"",01,"01 ",044,"045-",+52,"+52 1 ","52 ","521","0052 ","(+52) ","+52 01 "}'::text[]) before
      WHERE n !~ '^(.)\1*$') u;

-- parallel workers may call all of them
SELECT proname, count(*), bool_and(provolatile = 'i' AND proparallel = 's') AS plain FROM pg_proc
WHERE proname ~ '^legacy_(text_|phone|email|postal|date|bool_strict)' AND pronamespace = (SELECT extnamespace FROM pg_extension WHERE extname = 'aquacis') GROUP BY 1 ORDER BY 1;
