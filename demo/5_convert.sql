-- Step 5: legacy columns into a table with the types they deserve.
\ir options.sql

CREATE SCHEMA nuevo;
CREATE TABLE nuevo.toma (
    cuenta           bigint PRIMARY KEY,
    zona             int NOT NULL,
    titular          text NOT NULL,
    rfc              text,
    telefono         text,
    movil            text,
    domicilio        text,
    codigo_postal    text,
    ubicacion        geography(Point, 4326),
    persona_moral    boolean NOT NULL,
    avisos_sms       boolean NOT NULL,
    avisos_correo    boolean,
    corte_por_deuda  boolean NOT NULL,
    cargo_fijo       numeric(12,2),
    precio_m3        numeric(12,4)
);
COMMENT ON TABLE nuevo.toma IS 'One row per account, from contrato, persona, ptoserv, direccion, geolocalizacion and linfactura';

-- What the legacy tables know of an account, joined once.
CREATE TABLE demo.legacy_account AS
SELECT cnttnum, cntttctcod, cnttnotifmovil, cnttsnnotifsms, cnttsnnotifmail,
       prsnombre, prspriapel, prssegapel, prsnif, prstelef, prsjuridic, ptossncortdeud,
       dirtexto, dircomplem, dircodpost, geoloclat, geoloclong, linfprefij, linfprepro
FROM contrato
JOIN persona ON prsid = cnttfprsid
JOIN ptoserv ON ptosid = cnttptosid
LEFT JOIN direccion ON dirid = ptosdirid
LEFT JOIN geolocalizacion ON geolocid = dirgeolocid
LEFT JOIN factura ON facid = 7900000 + cnttnum
LEFT JOIN linfactura ON linfacid = facid;

INSERT INTO nuevo.toma
SELECT cnttnum, cntttctcod, concat_ws(' ', legacy_text(prsnombre), legacy_text(prspriapel), legacy_text(prssegapel)),
       -- SAT has issued keys with an unusual check digit: they are kept, and listed below
       CASE WHEN coalesce(legacy_rfc_error(prsnif), 'unusual check digit') = 'unusual check digit'
            THEN legacy_rfc(prsnif, check_digit => false) END,
       legacy_text(prstelef), legacy_text(cnttnotifmovil),
       concat_ws(', ', legacy_text(dirtexto), legacy_text(dircomplem)), legacy_text(dircodpost),
       -- 0, 0 is a place too, in the Gulf of Guinea
       CASE WHEN legacy_gps_error(geoloclat, geoloclong) IS NULL THEN legacy_gps_to_geom(geoloclat, geoloclong) END,
       legacy_bool(prsjuridic), legacy_bool(cnttsnnotifsms), legacy_bool_strict(cnttsnnotifmail), legacy_bool(ptossncortdeud),
       legacy_money(linfprefij), legacy_decimal(linfprepro, 4)
FROM demo.legacy_account;
CREATE INDEX toma_ubicacion ON nuevo.toma USING gist (ubicacion);
ANALYZE nuevo.toma;

\echo 'One account, before and after:'
SELECT quote_nullable(prsnif) AS prsnif, quote_nullable(cnttnotifmovil) AS cnttnotifmovil,
       quote_nullable(geoloclat) AS geoloclat, quote_nullable(geoloclong) AS geoloclong,
       quote_nullable(cnttsnnotifsms) AS sms, linfprefij
FROM demo.legacy_account WHERE cnttnum = 100007;
SELECT rfc, movil, ST_AsText(ubicacion) AS ubicacion, avisos_sms, cargo_fijo FROM nuevo.toma WHERE cuenta = 100007;

-- What could not be converted stays on record, value and reason, and so do the keys that
-- somebody has to look up at SAT.
CREATE TABLE nuevo.rechazo (cuenta bigint, columna text, valor text, motivo text);
INSERT INTO nuevo.rechazo
SELECT cnttnum, 'ubicacion', concat_ws(' / ', geoloclat, geoloclong), legacy_gps_error(geoloclat, geoloclong)
FROM demo.legacy_account WHERE legacy_gps_error(geoloclat, geoloclong) IS NOT NULL
UNION ALL
SELECT cnttnum, 'rfc', prsnif, legacy_rfc_error(prsnif)
FROM demo.legacy_account WHERE legacy_rfc_error(prsnif) IS NOT NULL;

\echo 'Refused, or kept and to be asked for (unusual check digit), and why:'
SELECT columna AS "column", motivo AS reason, to_char(count(*), '999,999') AS rows,
       min(valor) FILTER (WHERE trim(valor) NOT IN ('', '/')) AS "for example"
FROM nuevo.rechazo GROUP BY columna, motivo ORDER BY columna DESC, count(*) DESC;

\echo 'What the geography column is for: who lives around a leak at the Jardín Zenea?'
SELECT metres AS "within, m", count(*) AS accounts, count(*) FILTER (WHERE avisos_sms AND movil IS NOT NULL) AS "can be told by SMS"
FROM nuevo.toma, (VALUES (500), (1000), (2000)) r (metres)
WHERE ST_DWithin(ubicacion, ST_MakePoint(-100.389888, 20.592786)::geography, metres)
GROUP BY metres ORDER BY metres;

INSERT INTO demo.figure
SELECT 'accounts', count(*) FROM contrato
UNION ALL SELECT 'accounts converted', count(*) FROM nuevo.toma
UNION ALL SELECT 'accounts with place', count(ubicacion) FROM nuevo.toma
UNION ALL SELECT 'places refused', count(*) FROM nuevo.rechazo WHERE columna = 'ubicacion'
UNION ALL SELECT 'rfc refused', count(*) FROM nuevo.rechazo WHERE columna = 'rfc' AND motivo <> 'unusual check digit';
