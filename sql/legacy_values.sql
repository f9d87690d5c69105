-- legacy_bool, legacy_bool_strict, legacy_text, legacy_money: values and errors

SELECT v, legacy_bool(v) FROM (VALUES ('S'::char(1)), ('Y'), ('X'), ('N'), ('s'), ('1'), (' '), (''), (NULL)) t(v);
-- wider columns are padded; the padding does not count, other text does
SELECT v, legacy_bool(v) FROM (VALUES ('S'::char(3)), ('SI'), (' S'), ('XX')) t(v);
SELECT legacy_bool(''::bpchar), legacy_bool('S  '::bpchar), legacy_bool('S'::varchar), legacy_bool('S'::text);

SELECT v, legacy_bool_strict(v) FROM (VALUES ('S'), ('y'), ('x'), ('1'), ('T'), ('v'), ('n'), ('N'), ('0'), ('f'), (' S '), ('   '), (''), (NULL)) t(v);
-- what lies behind a value is not part of it
CREATE TEMP TABLE behind (t text, c "char");
INSERT INTO behind VALUES ('  ', ' '), ('', ' '), ('S', ' ');
SELECT legacy_bool_strict(t) FROM behind;
SELECT legacy_bool_strict('SI');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_bool_strict('Q');
SELECT legacy_bool_strict('ñ');
SELECT legacy_bool_strict('SS');
SELECT legacy_bool_strict(E'S\t');

SELECT '[' || legacy_text(v) || ']' AS legacy_text FROM (VALUES ('a'), (' a b '), ('a '), (' a'), ('  '), (''), (E'\ta\n'), (' ñandú° '), (NULL)) t(v);
-- char(n) comes without its padding, a TOASTed value whole
SELECT '[' || legacy_text('ab'::char(5)) || ']' AS legacy_text;
CREATE TEMP TABLE wide (t text);
INSERT INTO wide SELECT '  ' || repeat('áb', 200000) || ' ' UNION ALL SELECT string_agg(md5(i::text), '') FROM generate_series(1, 5000) i;
SELECT length(legacy_text(t)), legacy_text(t) = btrim(t) AS same FROM wide;

-- halves of a cent go away from zero, as the fifteen digits show them
SELECT v, legacy_money(v) FROM (VALUES (0.285::float8), (1.005), (2.675), (0.125), (0.005), (0.0049999999999999), (-0.005), (-1.005),
  (0.1::float8 + 0.2::float8), (1234567.895), (0), ('-0'::float8), (4.9e-324), (-1e-310), (9999999999.99), (9999999999.994), (-9999999999.9949), (NULL)) t(v);
SELECT pg_typeof(legacy_money(1)), scale(legacy_money(1)) AS scale;
SELECT legacy_money(9999999999.995);
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_money(-1e10);
SELECT legacy_money(1e300);
SELECT legacy_money('NaN');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_money('Infinity');
SELECT legacy_money('-Infinity');
-- what the hint says finds just these
SELECT count(*) FROM (VALUES (9999999999.995::float8), (-1e10), (1e300), ('NaN'), ('Infinity'), ('-Infinity'), (9999999999.994), (0), (-5)) t(amount)
WHERE NOT abs(amount) < 9999999999.995;

-- what the functions tell the planner
SELECT proname, provolatile, proisstrict, proparallel, procost
FROM pg_proc WHERE proname LIKE 'legacy\_%' AND pronamespace = (SELECT extnamespace FROM pg_extension WHERE extname = 'aquacis')
ORDER BY 1, procost, proisstrict;
DROP TABLE wide;
