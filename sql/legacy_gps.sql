-- legacy_gps_to_point and legacy_gps_error on what is really typed

CREATE TEMP TABLE typed (n serial, lat text, lng text);
INSERT INTO typed (lat, lng) VALUES
  -- plain
  ('20.588', '-100.38'), ('20', '-100'), ('20.', '-100.'), ('007.5', '-0100.38'),
  -- blanks, decimal comma, sign, no digit on one side
  (' 20.588 ', E'\t-100.38\n'), ('20,588', '-100,38'), ('+20.588', '-100.38'), ('.5', '-.5'), ('5.', '5,'), (E'\u00A020.588\u00A0', '-100.38'),
  -- degree signs: U+00B0, U+00BA, U+02DA, and U+00B0 that was UTF-8 read as Latin-1
  ('20.588°', '-100.38°'), ('20.588º', '-100.38 ˚'), ('20.588Â°', '-100.38Âº'), (U&'\221220.588', U&'\2212100.38'),
  -- hemispheres, in Spanish and English
  ('20.588N', '100.38W'), ('20.588 n', '100.38 w'), ('N20.588', 'W100.38'), ('n 20.588', 'w 100.38'), ('20.588 S ', ' 100.38 E '), ('20.588°N', '100.38°O'), ('20.588', '100.38 O'), ('20.588', 'O 100.38'),
  -- degrees, minutes, seconds
  ('20° 35'' 17" N', '100° 22'' 48" W'), ('20°35''17"N', '100°22''48"O'), ('20° 35’ 17” N', '100º 22´ 48´´ O'), ('20° 35′ 17″', '-100° 22′ 48″'),
  ('20 35 17 N', '100 22 48 W'), ('20 35 17', '-100 22 48'), ('20° 35.5''', '-100° 22,8'''), ('20°35.5', '-100 22'''), ('20° 35'' 17.25"', '-100° 22'' 48,75'''''), ('20 35 17.', '-100 22 .5'),
  ('0° 0'' 0"', '-0° 0'' 36"');
SELECT lat, lng, legacy_gps_to_point(lat, lng), legacy_gps_error(lat, lng) FROM typed ORDER BY n;

TRUNCATE typed;
INSERT INTO typed (lat, lng) VALUES
  -- missing
  (NULL, '-100.38'), ('20.588', NULL), (NULL, NULL), ('', ''), ('20.588', '   '), (U&'\00A0', '1'), ('', 'garbage'),
  -- more than one number, or none
  ('20.588.123', '-100.38'), ('20,588.1', '-100.38'), ('20.588,-100.38', '1'), ('20.588 -100.38', '1'), ('.', '1'), ('-', '1'), ('N', '1'), ('abc', '1'), ('1e1', '1'), ('0x14', '1'), ('20.588;', '1'),
  ('NaN', '1'), ('Infinity', '1'), ('+-20', '1'), ('--20', '1'), ('- 20', '1'), ('20-', '1'), ('20.588 %', '1'), (U&'20\2032', '1'), (U&'\0660', '1'), (U&'20.588\FFFD', '1'),
  -- the letter O for a zero, or oeste?
  ('2O.588', '-100.38'), ('20.588', '-1OO.38'), ('20.588', '100.38O'), ('20.588', 'O100.38'), ('O.588', '-100.38'), ('20.', '1.O'),
  -- a sign beside a hemisphere, two hemispheres
  ('-20.588 N', '1'), ('+20.588 N', '1'), ('20.588', '-100.38 W'), ('N 20.588 N', '1'), ('20.588 N S', '1'), ('20.588 NORTE', '1'),
  -- degrees, minutes, seconds that are none
  ('20 35', '1'), ('20 35 N', '1'), ('20.5 35 17', '1'), ('20° 35.5'' 17"', '1'), ('20° 60''', '1'), ('20° 35'' 60"', '1'), ('20 35 17 5', '1'), ('20'' 35"', '1'), ('20" 35''', '1'), ('20°°', '1'), ('20° -35''', '1'), ('20°35''17"''', '1'),
  -- of the same axis
  ('20 N', '10 N'), ('20 E', '10 W'),
  -- out of range
  ('95', '200'), ('20.588', '-180.0001'), ('-90.0000000001', '100'), ('90.5', '95'), ('99999999999999999999', '1'), ('1', '1' || repeat('0', 400)), ('20.588', '181 W'), ('89 59 60.5', '1'), ('90° 0'' 1"', '100'),
  -- swapped
  ('-100.38', '20.588'), ('100.38 W', '20.588 N'), ('20 E', '10 N'), ('20 W', '10'), ('20', '10 S'), ('95', '20'), ('180', '90'), ('181', '90'),
  -- zero is a place, but is reported
  ('0', '0'), ('-0', '0.000'), ('+0', ''), ('0° 0'' 0" N', '0 W'), ('0', '-100.38'), ('20.588', '0');
SELECT lat, lng, legacy_gps_to_point(lat, lng), legacy_gps_error(lat, lng) FROM (SELECT n, lat, CASE WHEN length(lng) > 40 THEN left(lng, 10) || '...' ELSE lng END AS lng FROM typed) t ORDER BY n;
SELECT legacy_gps_error(lat, lng), count(*) FROM typed GROUP BY 1 ORDER BY 1;

-- the signs of zero stay, the limits belong to the world
SELECT legacy_gps_to_point('-0', '-0.0'), legacy_gps_to_point('90', '180'), legacy_gps_to_point('-90', '-180'), legacy_gps_to_point('90° N', '180° W');
-- in varchar columns
CREATE TEMP TABLE geolocalizacion (geoloclat varchar(30), geoloclong varchar(30));
INSERT INTO geolocalizacion VALUES ('20.588', '-100.38'), ('-100.38', '20.588'), ('', '');
SELECT legacy_gps_error(geoloclat, geoloclong), count(*) FROM geolocalizacion GROUP BY 1 ORDER BY 1;
DROP TABLE geolocalizacion, typed;
