-- legacy_rfc and legacy_curp

-- keys of SAT's published test certificates and of its description of the algorithm
SELECT v, legacy_rfc(v) FROM unnest(ARRAY['GODE561231GR8', 'EKU9003173C9', 'URE180429TM6', 'XIA190128J61', 'IIA040805DZ4', 'IVD920810GU2', 'KIJ0906199R1', 'MISC491214B86',
  'FUNK671228PH6', 'XAMA620210DQ5', 'WATM640917J45', 'H&E951128469', 'OÑO120726RX3', 'LAN7008173R5', 'CACX7605101P8',
  -- check character A, and 0
  'L&O950913MSA', 'LAN8507268IA', 'JES900109Q90',
  -- nobody in particular
  'XAXX010101000', 'XEXX010101000',
  -- as typed
  ' gode-561231-gr8 ', 'oño 120726 rx3', E'h&e\t951128 469', 'xaxx010101000', 'XAXX-010101-000']) v
WHERE legacy_rfc_error(v) IS NULL;

SELECT v, legacy_rfc_error(v) FROM unnest(ARRAY[
  -- empty is no error
  '', '   ', '-', NULL,
  'GODE561231GR', 'GODE561231GR88', 'GO561231GR8', 'X', repeat('A', 40),
  '1ODE561231GR8', 'GODEX61231GR8', 'GODE561231GR8 Ñ', 'GODE561231ÑR8', 'GODE561231&R8', 'GODE561231GRB', 'GODÉ561231GR8', 'GOD_561231GR8', 'EKU9003173CÑ', '&&&9003173C¢',
  'GODE561331GR8', 'GODE560031GR8', 'GODE561200GR8', 'GODE561232GR8', 'GODE560431GR8', 'GODE570229GR8', 'GODE561131GR8',
  -- a leap year at least in one century
  'GODE000229GR6', 'GODE960229GR8', 'GODE561231GR9', 'GODE561231GRA', 'XAXX010101001', 'XEXX010101A00', 'AAA010101AAA', 'EKU9003173C8', 'OÑO120726RX4', 'H&E951128460']) v;
SELECT legacy_rfc('GODE561231GR9');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_rfc('GODE561331GR8');
SELECT legacy_rfc('nada');
-- the reason is asked before the function that raises it
EXPLAIN (COSTS OFF) SELECT v FROM unnest('{x}'::text[]) v WHERE legacy_rfc(v) = 'X' AND legacy_curp(v) = 'X' AND legacy_curp_error(v) IS NULL AND legacy_rfc_error(v) IS NULL AND v <> '';
SELECT legacy_rfc(''), legacy_rfc('  - '), legacy_rfc(NULL), legacy_rfc_error(NULL);

SELECT v, legacy_curp(v) FROM unnest(ARRAY['SABC560626MDFLRN01', 'MOTR930411HJCRMN03', 'AAPR630321HDFLRC09', 'BEML920313HMCLNS09',
  ' sabc-560626-mdflrn-01 ', 'SABC560626 MDFLRN 01', '']) v;

SELECT v, legacy_curp_error(v) FROM unnest(ARRAY['', ' - ', NULL,
  'SABC560626MDFLRN0', 'SABC560626MDFLRN011', 'X',
  '1ABC560626MDFLRN01', 'SBBC560626MDFLRN01', 'SXBC560626MDFLRN01', 'SABC5606X6MDFLRN01', 'SABC560626MDFARN01', 'SABC560626MDFLRN0A', 'SÑBC560626MDFLRN01', 'SABC560626MDFLÑN01', 'S&BC560626MDFLRN01',
  'SABC561326MDFLRN01', 'SABC560631MDFLRN01', 'SABC570229MDFLRN01',
  -- 1900 had no February 29, 2000 had: the 17th character tells the century
  'SABC000229MDFLRN05', 'SABC000229MDFLRNA5',
  'SABC560626ADFLRN01', 'SABC560626FDFLRN01', 'SABC560626XDFLRN08',
  'SABC560626MXXLRN01', 'SABC560626MCXLRN01', 'SABC560626MNELRN05',
  'SABC560626MDFLRN02', 'SABC560626MDFLRN00']) v;
SELECT legacy_curp('SABC560626MDFLRN02');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_curp('SABC560626MXXLRN01');
SELECT legacy_curp('SABC560626ADFLRN01');

-- every state there is: a key with it is refused at most for its check digit
SELECT count(*) FROM regexp_split_to_table('AS BC BS CC CH CL CM CS DF DG GR GT HG JC MC MN MS NE NL NT OC PL QR QT SL SP SR TC TL TS VZ YN ZS', ' ') s
WHERE legacy_curp_error('SABC560626M' || s || 'LRN01') IN ('wrong check digit') OR legacy_curp_error('SABC560626M' || s || 'LRN01') IS NULL;
SELECT count(*) FROM generate_series(65, 90) a, generate_series(65, 90) b
WHERE legacy_curp_error('SABC560626M' || chr(a) || chr(b) || 'LRN01') = 'unknown state';

-- born abroad, of sex X, after 1999: one digit is right
SELECT legacy_curp(k || d) FROM unnest(ARRAY['SABC560626MNELRN0', 'SABC560626XDFLRN0', 'SABC000229MDFLRNA', 'SXBC991231HQTLRN0']) k, generate_series(0, 9) d
WHERE legacy_curp_error(k || d) IS NULL ORDER BY 1;
SELECT legacy_rfc(k || d) FROM unnest(ARRAY['ÑAÑA000229XY', '&&&991231A0', 'ZZZZ000229ZZ']) k, unnest(string_to_array('0123456789A', NULL)) d
WHERE legacy_rfc_error(k || d) IS NULL ORDER BY 1;

-- The rules written down once more, the slow and obvious way, beside the
-- parsers on keys that are right, nearly right, or chance.
CREATE FUNCTION pg_temp.is_day(y int, md text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT substr(md, 1, 2)::int BETWEEN 1 AND 12 AND substr(md, 3, 2)::int >= 1
    AND substr(md, 3, 2)::int <= extract(day FROM make_date(y, least(greatest(substr(md, 1, 2)::int, 1), 12), 1) + interval '1 month -1 day')
$$;
CREATE FUNCTION pg_temp.slow_rfc(v text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN v IN ('XAXX010101000', 'XEXX010101000') THEN true
    WHEN v !~ '^[A-Z&Ñ]{3,4}[0-9]{6}[A-Z0-9]{2}[0-9A]$' THEN false
    WHEN NOT (pg_temp.is_day(1900 + substr(right(v, 9), 1, 2)::int, substr(right(v, 9), 3, 4)) OR pg_temp.is_day(2000 + substr(right(v, 9), 1, 2)::int, substr(right(v, 9), 3, 4))) THEN false
    ELSE right(v, 1) = substr('0123456789A', 1 + (11 - (SELECT sum((position(substr(lpad(v, 13), i, 1) IN '0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ Ñ') - 1) * (14 - i)) FROM generate_series(1, 12) i)::int % 11) % 11, 1)
  END
$$;
CREATE FUNCTION pg_temp.slow_curp(v text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN v !~ '^[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX](AS|BC|BS|CC|CL|CM|CS|CH|DF|DG|GT|GR|HG|JC|MC|MN|MS|NT|NL|OC|PL|QT|QR|SP|SL|SR|TC|TS|TL|VZ|YN|ZS|NE)[B-DF-HJ-NP-TV-Z]{3}[A-Z0-9][0-9]$' THEN false
    WHEN NOT pg_temp.is_day(CASE WHEN substr(v, 17, 1) ~ '[0-9]' THEN 1900 ELSE 2000 END + substr(v, 5, 2)::int, substr(v, 7, 4)) THEN false
    ELSE right(v, 1)::int = (10 - (SELECT sum((position(substr(v, i, 1) IN '0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ') - 1) * (19 - i)) FROM generate_series(1, 17) i)::int % 10) % 10
  END
$$;
SELECT setseed(0.5);
CREATE TEMP TABLE key AS
SELECT initials || to_char(date '1899-12-31' + (random() * 73000)::int, 'YYMMDD') AS start,
  substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', 1 + (random() * 35)::int, 1) AS a, substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', 1 + (random() * 35)::int, 1) AS b,
  (ARRAY['AS','BC','BS','CC','CL','CM','CS','CH','DF','DG','GT','GR','HG','JC','MC','MN','MS','NT','NL','OC','PL','QT','QR','SP','SL','SR','TC','TS','TL','VZ','YN','ZS','NE','XX','QQ'])[1 + (random() * 34)::int] AS state,
  substr('0123456789A', 1 + (random() * 10)::int, 1) AS d
FROM (SELECT (SELECT string_agg(substr('ABCDEFGHIJKLMNOPQRSTUVWXYZ&Ñ', 1 + (random() * 27 + (i + j) * 0)::int, 1), '') FROM generate_series(1, 3 + i % 2) j) AS initials FROM generate_series(1, 20000) i) t;
-- one character in four keys is replaced
CREATE FUNCTION pg_temp.spoil(v text) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN random() < 0.25 THEN overlay(v PLACING substr('0359AEXHMÑ&_', 1 + (random() * 11)::int, 1) FROM 1 + (random() * (length(v) - 1))::int) ELSE v END
$$;
CREATE TEMP TABLE candidate AS
SELECT pg_temp.spoil(start || a || b || d) AS rfc,
  pg_temp.spoil(overlay(left(start || 'QQ', 4) PLACING substr('AEIOUX', 1 + (random() * 5)::int, 1) FROM 2) || right(start, 6) || substr('HMX', 1 + (random() * 2)::int, 1) || state || 'BCD' || a || (random() * 9)::int) AS curp FROM key;
-- and each with its digit
INSERT INTO candidate SELECT left(rfc, -1) || d, left(curp, -1) || d FROM (SELECT * FROM candidate LIMIT 3000) t, unnest(string_to_array('0123456789A', NULL)) d;
SELECT count(*) > 50000 AS many, count(*) FILTER (WHERE old_rfc) > 1500 AS right_rfcs, count(*) FILTER (WHERE old_curp) > 1200 AS right_curps,
  count(*) FILTER (WHERE old_rfc IS DISTINCT FROM (legacy_rfc_error(rfc) IS NULL)) AS different_rfcs,
  count(*) FILTER (WHERE old_curp IS DISTINCT FROM (legacy_curp_error(curp) IS NULL)) AS different_curps
FROM (SELECT rfc, curp, pg_temp.slow_rfc(rfc) AS old_rfc, pg_temp.slow_curp(curp) AS old_curp FROM candidate OFFSET 0) t;
SELECT legacy_rfc_error(rfc), count(*) > 5 AS some FROM candidate GROUP BY 1 ORDER BY 1;
SELECT legacy_curp_error(curp), count(*) > 5 AS some FROM candidate GROUP BY 1 ORDER BY 1;
-- what is accepted comes back as it is
SELECT count(*) AS changed FROM (SELECT rfc FROM candidate WHERE legacy_rfc_error(rfc) IS NULL OFFSET 0) t WHERE legacy_rfc(rfc) <> rfc;
SELECT count(*) AS changed FROM (SELECT curp FROM candidate WHERE legacy_curp_error(curp) IS NULL OFFSET 0) t WHERE legacy_curp(curp) <> curp;
DROP TABLE key, candidate;
