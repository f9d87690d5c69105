-- legacy_rfc and legacy_curp: check digits that SAT issued, initials that RENAPO replaces, foreign characters
-- psql of different versions gives characters without width different widths
\pset format unaligned

-- Keys of companies that a free library looked up at SAT, from the tests of python-stdnum
-- (tests/test_mx_rfc.doctest): first those whose check digit is right, then those whose digit
-- is not, but which are on record.
CREATE TEMP TABLE issued (kind text, rfc text);
INSERT INTO issued SELECT 'right', k FROM regexp_split_to_table('
  AA&0607148I0 AAA390128530 AAM090224BC2 ABA130601BD3 ABH0507252D9 ACA120116TX5 ACO071219F51 AEL7407151YA AEM100930B11 AHO120203E8A ALD950921G27
  ALE8401268K8 AMA990219PF8 AME040430UM8 AME110909530 AMM020222UT3 ANI0112176N8 AON0210014T5 AOX040831A59 AP&0305026J9 APA371201PQ7 AQU920317P4A
  ARO020221DQ4 ASE9112306M9 ATB081212MN5 AUD000704II1 AWI1206064H1 AYP110530D73 B&D9605298Y3 BEE070927MH0 BER090921FJ6 BLN130425JU7 BMI880419PR5
  CBC900829152 CCS8512024CA EDI000229CA3 FAM000229SB8 MUÑ110218LJ6 YAT000229588 ZZE040708QJ9', '\s+') k WHERE k <> '';
INSERT INTO issued SELECT 'on record', k FROM regexp_split_to_table('
  AAC0903183F6 ALC920108P18 AMC020204AB7 AOM920820BEA ASA971202EB5 ASE0804046M8 AÑE9902224Z4 BAÑ930616R66 BER060923LW4 BFI981221MG0 BLM890223FH1
  BOR071120HE7 CCB080911PV3 CCL020604CX0 CDO070410V77 CLA091217733 CLM9407017W4 CME030507A29 CME9809141L6 CME990816951 CMS071226LN2 CPC080624C48
  CTA071106464 CUP820427ID9 DBE051005PT3 DES8707223AA DJT031205MG4 DRA950811S25 EDG000413BF2 EME1006143T6 EQU810430193 FAE8509042W7 FIS0008226ZA
  FME9305279N0 FSA080813655 FSI900505I74 GIR940318DF0 GJO891005N53 GMA080728MJ0 GME9606038V6 GOC841221BK0 GWS860313JA3 HHO900507844 HME020215QTA
  ICO990503PG4 IDE930601FJ4 IME0610197B2 ISM0403025G3 KAK030512QD7 KMN041126K5A KZY041011E20 LME9405237U7 LMI0811119C5 MDI931014D37 MFA840320DX0
  MGR070820G78 MPT000824LH7 MSA850111TE1 NSN000704SY3 NYL850506BJ8 OIC060523UW1 OMD100907CJ4 OPP010927SA5 OTM090818KS6 PPA100118E37 PTS091204M83
  SIG060311PN2 SIT060329RA7 SME100414QY9 SME9502015F6 SMP060331P74 SMR011108KB9 SSB9512118M1 STM000215AG9 TFS011012M18 TLO020509RK3 TME940420LV5
  TPM06111759A TPT0202135S1 TPT890516JP5 WME000218GK3 YME9610251W6', '\s+') k WHERE k <> '';
SELECT kind, legacy_rfc_error(rfc), count(*), count(*) FILTER (WHERE legacy_rfc(rfc, check_digit => false) = rfc) AS kept FROM issued GROUP BY 1, 2 ORDER BY 1, 2 NULLS FIRST;
-- in reports to other libraries: django-localflavor 330 and python-stdnum's own documentation
SELECT k, legacy_rfc_error(k) FROM unnest('{ACE900319JT9,SIN9311169P8,VACE460910SX6,AAA010101AAA}'::text[]) k;
SELECT legacy_rfc('ACE900319JT9');
\echo :LAST_ERROR_SQLSTATE
SELECT legacy_rfc('ace-900319-jt9', check_digit => false), legacy_rfc('ACE900319JT9', false), legacy_rfc('GODE561231GR9', false), legacy_rfc(' ', false), legacy_rfc(NULL, false);
-- true is as without it
SELECT legacy_rfc('gode-561231-gr8', check_digit => true), legacy_rfc('GODE561231GR8');
SELECT legacy_rfc('ACE900319JT9', check_digit => true);
-- all else is checked
SELECT legacy_rfc('ACE900319JTB', check_digit => false);
SELECT legacy_rfc('ACE901319JT9', check_digit => false);
SELECT legacy_rfc('ACE900319JT', check_digit => false);
SELECT legacy_rfc('ACE900319JT9', check_digit => NULL);
\echo :LAST_ERROR_SQLSTATE

-- The rule once more, the slow way, on every pair before the digit and every digit.
CREATE FUNCTION pg_temp.digit(k text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT substr('0123456789A', 1 + (11 - (SELECT sum((position(substr(lpad(k, 12), i, 1) IN '0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ Ñ') - 1) * (14 - i)) FROM generate_series(1, 12) i)::int % 11) % 11, 1)
$$;
CREATE TEMP TABLE pair AS
SELECT start, a || b AS pair, (position(a IN t) - 1) * 34 + position(b IN t) - 1 - 12 AS n, t
FROM unnest('{ACE900319,&ÑO120726}'::text[]) start, (VALUES ('123456789ABCDEFGHIJKLMNPQRSTUVWXYZ')) v (t),
  regexp_split_to_table('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', '') a, regexp_split_to_table('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', '') b;
SELECT count(*) AS keys, count(*) FILTER (WHERE expected = 'unusual check digit') > 2000 AS many_unusual, count(*) FILTER (WHERE legacy_rfc_error(start || pair || d) IS DISTINCT FROM expected) AS different
FROM (SELECT start, pair, d, CASE WHEN d = own THEN NULL WHEN d = shifted THEN 'unusual check digit' ELSE 'wrong check digit' END AS expected
      FROM (SELECT start, pair, pg_temp.digit(start || pair) AS own,
              CASE WHEN n >= 0 AND pair !~ '[O0]' THEN pg_temp.digit(start || substr(t, n / 34 + 1, 1) || substr(t, n % 34 + 1, 1)) END AS shifted FROM pair OFFSET 0) p,
        regexp_split_to_table('0123456789A', '') d) e;

-- The words of annex 2 of RENAPO's Instructivo, each as the initials of a key that is right otherwise.
CREATE TEMP TABLE word AS SELECT w FROM regexp_split_to_table('BACA BAKA BUEI BUEY CACA CACO CAGA CAGO CAKA CAKO COGE COGI COJA COJE COJI COJO COLA CULO FALO FETO GETA GUEI GUEY JETA JOTO KACA KACO KAGA KAGO KAKA KAKO KOGE KOGI KOJA KOJE KOJI KOJO KOLA KULO LILO LOCA LOCO LOKA LOKO MAME MAMO MEAR MEAS MEON MIAR MION MOCO MOKO MULA MULO NACA NACO PEDA PEDO PENE PIPI PITO POPO PUTA PUTO QULO RATA ROBA ROBE ROBO RUIN SENO TETA VACA VAGA VAGO VAKA VUEI VUEY WUEI WUEY', ' ') w;
SELECT legacy_curp_error(w || '890909MJCRMS0' || d), count(DISTINCT w) AS words, count(*) FROM word, generate_series(0, 9) d GROUP BY 1;
-- with the X that RENAPO writes one digit is right
SELECT count(*) FROM word, generate_series(0, 9) d WHERE legacy_curp_error(overlay(w PLACING 'X' FROM 2) || '890909MJCRMS0' || d) IS NULL;
-- no other initials: all there are with a vowel in second place
SELECT legacy_curp_error(i || '890909MJCRMS0' || d) = 'initials never issued' AS never, count(DISTINCT i) AS initials
FROM (SELECT chr(a) || b || chr(c) || chr(d) AS i FROM generate_series(65, 90) a, unnest('{A,E,I,O,U}'::text[]) b, generate_series(65, 90) c, generate_series(65, 90) d) t,
  generate_series(0, 0) d WHERE legacy_curp_error(i || '890909MJCRMS0' || d) IS NOT NULL GROUP BY 1 ORDER BY 1;
SELECT legacy_curp('BACA890909MJCRMS05');
\echo :LAST_ERROR_SQLSTATE
-- SAT has its own list, which is not checked
SELECT legacy_rfc_error('CACA580710NF7');

-- characters that occur in no key; the example that RENAPO's document printed in 2006 has a wrong digit
SELECT k, legacy_rfc_error(k) AS rfc, legacy_curp_error(k) AS curp FROM (VALUES
  (U&'\FEFFGODE561231GR8'), (U&'GODE561231GR8\200E'), ('gode-561231/gr8'), ('GODE_561231_GR8'), ('GODE.561231.GR8'), ('GODÉ561231GR8'), (U&'ON\0303O120726RX3'), ('SIN RFC'), ('*'),
  ('SABC/560626MDFLRN01'), ('SABC560626MDFLRN09'), ('SÑBC560626MDFLRN01')) t (k);
DROP TABLE issued, pair, word;
