-- legacy_text_clean, legacy_text_error: what is mended, and that nothing else is
-- psql of different versions gives characters without width different widths
\pset format unaligned

-- mojibake, once and twice and three times; through Windows-1252 and through Latin-1
SELECT v, legacy_text_clean(v), legacy_text_error(v) FROM (VALUES ('MuÃ±oz'), ('JosÃ© MarÃ­a PeÃ±a'), (E'NU\u00C3\u0091EZ'), ('NUÃ‘EZ'), ('GARCÃA'), (E'GARC\u00C3\u008DA'),
  ('MuÃƒÂ±oz'), (E'Mu\u00C3\u0083\u00C2\u00B1oz'), ('MuÃƒÆ’Ã‚Â±oz'), ('20Â° 35â€² N'), ('â€œEl RincÃ³nâ€�'), ('â€œEl RincÃ³nâ€\u009D'), ('Dâ€™Angelo'), ('â‚¬ 5'), ('Â¿QuÃ©?'), ('NÂº 5')) t(v);
-- in the company of a certain pair, doubtful ones are mended, too
SELECT v, legacy_text_clean(v), legacy_text_error(v) FROM (VALUES (E'MarÃ\u00ADaÂ\u00A0Ruiz'), ('CrÃ¨me Ã€ propos'), (E'Ã\u00A0 la'), ('IRMÃ”'), ('IRMÃ…'), ('IRMÃ– 5'), ('MAÇÃ»')) t(v);
-- sound text
SELECT v, legacy_text_clean(v) IS NOT DISTINCT FROM v AS same, legacy_text_error(v) FROM (VALUES ('Muñoz'), ('JOÃO'), ('SÃO PAULO'), ('IRMÃ'), ('IRMÃ” E “MAÇÔ'), ('«CAFÉ»'), ('N° 5'), ('Â'), ('â‚'),
  ('ÑÓ'), ('MUÑIZ–GARCÍA'), ('Peñón MarÃ­a'), ('MarÃ'), ('Ünal Ößen'), ('日本'), ('€'), ('Łódź'), ('a' || chr(8205) || 'b')) t(v);
-- one byte of Windows-1252 taken for Latin-1; an accent apart
SELECT v, legacy_text_clean(v), legacy_text_error(v) FROM (VALUES (E'D\u0092Angelo'), (E'5\u0080'), (E'a\u0085'), (E'a\u0081'), (E'NUN\u0303EZ'), (E'Jose\u0301'), (E'U\u0308 u\u0300 x\u0301'), (E'\u0301'),
  (E'a\u007F'), (E'a\u0001'), (E'Mu\uFFFDoz'), (E'Mu\uFFFDoz PeÃ±a Ñ')) t(v);

-- every blank that Unicode has, and what has no width
SELECT '[' || legacy_text_clean(chr(c) || 'a' || chr(c) || ' ' || chr(c) || 'b' || chr(c)) || ']' AS clean, count(*), string_agg(to_hex(c), ' ' ORDER BY c)
FROM unnest('{9,10,11,12,13,32,160,5760,8192,8193,8194,8195,8196,8197,8198,8199,8200,8201,8202,8232,8233,8239,8287,12288,8203,8206,8207,8288,65279}'::int[]) c GROUP BY 1;
SELECT legacy_text_clean(v) FROM (VALUES (''), ('  '), (E'\t\n'), (E'\u00A0'), (E'\u200B'), (E'\uFEFF \u3000'), (NULL)) t(v);
SELECT '[' || legacy_text_clean(v) || ']' FROM (VALUES ('a'), ('a b'), (' a  b '), (E'a\tb\nc'), ('ab'::char(5)::text)) t(v);

-- what has no width between the halves of a pair
SELECT legacy_text_clean(E'Mu\u00C3\u200B\u00B1oz'), legacy_text_clean(E'Nu\u200Bn\u200B\u0303ez');

-- No character, and no pair of characters of Windows-1252, is touched, but for these.
CREATE TEMP TABLE windows AS
SELECT b, convert_from(set_byte('\x00', 0, b), 'WIN1252') AS c FROM generate_series(33, 255) b WHERE b NOT IN (127, 129, 141, 143, 144, 157, 160);
SELECT count(*), count(*) FILTER (WHERE legacy_text_clean(c) <> c) AS touched, count(legacy_text_error(c)) AS reported FROM windows;
SELECT count(*) AS pairs, count(*) FILTER (WHERE legacy_text_clean(p) <> p) AS touched FROM (SELECT a.c || b.c AS p FROM windows a, windows b) t;
SELECT left(p, 1) AS first, string_agg(right(p, 1) || legacy_text_clean(p), ' ' ORDER BY p COLLATE "C") AS "second, and what it becomes"
FROM (SELECT a.c || b.c AS p FROM windows a, windows b) t WHERE legacy_text_clean(p) <> p GROUP BY left(p, 1) ORDER BY left(p, 1) COLLATE "C";
-- so are the pairs inside a word, with blanks around it, whatever the letters beside are
SELECT count(*) AS differ FROM (SELECT a.c || b.c AS p FROM windows a, windows b) t
WHERE (legacy_text_clean('x' || p || 'y') = 'x' || p || 'y') <> (legacy_text_clean(p) = p);

-- The oracle: bytes in Windows-1252 read as UTF-8, by the server.  Whatever letters it
-- begins with, mojibake is either mended to them or left as it is.
CREATE FUNCTION pg_temp.mojibake(v text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN convert_from(convert_to(v, 'UTF8'), 'WIN1252'); EXCEPTION WHEN OTHERS THEN
  RETURN convert_from(convert_to(v, 'UTF8'), 'LATIN1'); END $$;
SELECT setseed(0.20588);
CREATE TEMP TABLE names AS
SELECT i, initcap(n) AS name FROM (
  SELECT i, (SELECT string_agg((ARRAY['ma','rí','a','jo','sé','gar','cí','pé','rez','mu','ño','z','peñ','a','gó','mez','nú','ñez','í','ña','ki','lú','güe','ro','ce','ó','n','ál','va','bén','ju','tez','é','so','to','agus','tín','ú','rsu','la'])[1 + (random() * 39)::int]
    || CASE WHEN random() < 0.2 THEN ' ' ELSE '' END, '') FROM generate_series(1, 3 + (random() * 6)::int) WHERE i > 0) AS n
  FROM generate_series(1, 100000) i) t;
UPDATE names SET name = translate(upper(name), 'áéíóúüñ', 'ÁÉÍÓÚÜÑ') WHERE i % 3 = 0;
UPDATE names SET name = btrim(regexp_replace(name, ' +', ' ', 'g'));
SELECT count(*) AS names, count(*) FILTER (WHERE name ~ '[^ -~]') > 50000 AS "many with letters beyond ASCII",
  count(*) FILTER (WHERE legacy_text_clean(name) <> name) AS touched, count(legacy_text_error(name)) AS reported FROM names;
SELECT count(*) AS names, count(*) FILTER (WHERE once <> name) > 50000 AS broken, count(*) FILTER (WHERE legacy_text_clean(once) <> name) AS "once: not mended",
  count(*) FILTER (WHERE legacy_text_clean(pg_temp.mojibake(once)) <> name) AS "twice: not mended",
  count(*) FILTER (WHERE legacy_text_clean(legacy_text_clean(once)) <> legacy_text_clean(once)) AS "changed by a second call"
FROM (SELECT name, pg_temp.mojibake(name) AS once FROM names OFFSET 0) t;
-- a sound name and a broken one in one value: left alone, and reported (but for control
-- characters, which are mended in any text)
SELECT count(*) > 10000 AS many, count(*) FILTER (WHERE legacy_text_clean(both_names) <> both_names) AS touched,
  count(*) FILTER (WHERE legacy_text_error(both_names) IS DISTINCT FROM 'mojibake') AS "not reported"
FROM (SELECT a.name || ' ' || pg_temp.mojibake(b.name) AS both_names FROM names a JOIN names b ON b.i = a.i + 1
      WHERE a.name ~ '[^ -~]' AND b.name ~ '[áéíóúñüÁÉÍÓÚÑÜ]' AND a.i % 5 = 0 OFFSET 0) t
WHERE both_names !~ '[\u0080-\u009F]';
DROP TABLE windows, names;
