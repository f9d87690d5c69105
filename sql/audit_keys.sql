-- The key of a record, as people write it: text, JSON, and what the type makes of it.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE FUNCTION found(text, text) RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(format('%s %s', action, coalesce(new_value, old_value)), ', ') FROM audit_history($1, $2) WHERE column_name = 'v' $$;

-- a composite key: each value through the type of its column
CREATE TABLE kts (k timestamp, b int, c char(5), d text, v int, PRIMARY KEY (k, b, c, d));
SELECT audit_enable('kts');
INSERT INTO kts VALUES ('2026-01-02 03:04:05', 1, 'ab', '7', 1);
SELECT found('kts', json) FROM (VALUES ('{"k": "2026-01-02T03:04:05", "b": 1, "c": "ab   ", "d": "7"}'), ('{"k": "2026-01-02 03:04:05", "b": "1", "c": "ab", "d": 7}'),
	('  {"d": "7", "c": "ab", "b": 1.0, "k": "20260102 030405"}')) t (json);
SELECT found('kts', '{"k": "2026-01-02 03:04:05", "b": 1, "c": "ab", "d": "8"}') IS NULL AS no_such;
-- what cannot be
SELECT found('kts', '{"k": "soon", "b": 1, "c": "ab", "d": "7"}');
\echo :SQLSTATE
SELECT found('kts', '2026-01-02 03:04:05');
\echo :SQLSTATE
SELECT found('kts', '{x}');
\echo :SQLSTATE
SET client_min_messages = notice;
SELECT found('kts', '{"k": "2026-01-02 03:04:05", "b": 1}');
SELECT found('kts', '{"k": "2026-01-02 03:04:05", "b": 1, "c": "ab", "x": "7"}');
SET client_min_messages = warning;
-- a null, an object within, names as they were
CREATE TABLE kn (a int, j jsonb, r int[], v int);
SELECT audit_enable('kn', key => '{a,j,r}');
INSERT INTO kn VALUES (NULL, '{"x": 1}', '{1,2}', 1), (2, '"s"', NULL, 2);
SELECT found('kn', '{"a": null, "j": {"x": 1.0}, "r": [1, 2]}'), found('kn', '{"a": null, "j": {"x": 1.0}, "r": "{1,2}"}'), found('kn', '{"a": "2", "j": "s", "r": null}');
ALTER TABLE kn RENAME a TO aa;
SELECT audit_enable('kn', key => '{aa,j,r}');
UPDATE kn SET v = v + 10;
SELECT found('kn', '{"aa": 2, "j": "s", "r": null}'), found('kn', '{"a": "2", "j": "s", "r": null}');
-- but a column that has become part of the key is not one that was renamed
CREATE TABLE kc (code int PRIMARY KEY, id int NOT NULL UNIQUE, v int);
SELECT audit_enable('kc');
INSERT INTO kc VALUES (5, 6, 1), (6, 7, 2);
ALTER TABLE kc DROP CONSTRAINT kc_pkey, ADD PRIMARY KEY (id);
SELECT audit_enable('kc');
UPDATE kc SET v = v + 10;
SELECT found('kc', '6');

-- one column: the object may be the key, or name it
CREATE TABLE ki (k int PRIMARY KEY, v int);
CREATE TABLE kw (k numeric(10,2) PRIMARY KEY, v int);
CREATE TABLE kh (k char(5) PRIMARY KEY, v int);
CREATE TABLE kt (k text PRIMARY KEY, v int);
CREATE TABLE ka (k int[] PRIMARY KEY, v int);
CREATE TABLE kj (k jsonb PRIMARY KEY, v int);
CREATE TABLE kb (k bool PRIMARY KEY, v int);
CREATE TABLE kz (k timestamptz PRIMARY KEY, v int);
SELECT audit_enable(t::regclass) FROM unnest('{ki,kw,kh,kt,ka,kj,kb,kz}'::text[]) t;
INSERT INTO ki VALUES (1, 1);
INSERT INTO kw VALUES (5, 1);
INSERT INTO kh VALUES ('ab', 1);
INSERT INTO kt VALUES ('{x}', 1), ('{"k":1}', 2), ('5', 3);
INSERT INTO ka VALUES ('{1,2}', 1);
INSERT INTO kj VALUES ('{"b": 1, "a": 2}', 1), ('{"k": 3}', 2), ('"s"', 3);
INSERT INTO kb VALUES (true, 1);
INSERT INTO kz VALUES ('2026-01-01 00:00+00', 1);
SELECT found('ki', '{"k": 1}'), found('ki', '{"k": "1"}'), found('ki', ' 1 '), found('kw', '5'), found('kw', '{"k": "5.0"}'), found('kw', '{"k": 5}');
SELECT found('kh', 'ab'), found('kh', '{"k": "ab"}'), found('kh', '{"k": "ab   "}');
SELECT found('kt', '{x}'), found('kt', '5'), found('kt', '{"k": 5}'), found('kt', '{"k": "{\"k\":1}"}');
SELECT found('ka', '{1,2}'), found('ka', '{1, 2}'), found('ka', '{"k": [1, 2]}'), found('ka', '{"k": "{1,2}"}');
SELECT found('kj', '{"a": 2, "b": 1.0}'), found('kj', '{"k": {"a": 2, "b": 1}}'), found('kj', '{"k": {"k": 3}}'), found('kj', '"s"'), found('kj', '{"k": "s"}');
SELECT found('kb', 'yes'), found('kb', '{"k": true}'), found('kb', '{"k": "on"}');
SET TimeZone = 'America/Mexico_City';
SELECT found('kz', '2025-12-31 18:00'), found('kz', '{"k": "2025-12-31 18:00"}'), found('kz', '{"k": "2026-01-01T00:00:00+00:00"}');
SELECT found('ki', '{"k": "one"}');
\echo :SQLSTATE
SELECT found('ki', '{"x": 1}');
\echo :SQLSTATE
SELECT found('ka', '{one}');
\echo :SQLSTATE
-- in a log that has the key as text
CREATE TABLE aq_log (table_name text, record_key text, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz);
SELECT audit_enable('kh', log => 'aq_log'), audit_enable('kts', log => 'aq_log'), audit_enable('kt', log => 'aq_log');
UPDATE kh SET v = 2;
UPDATE kts SET v = 2;
UPDATE kt SET v = v + 1;
SELECT found('kh', 'ab'), found('kts', '{"k": "2026-01-02 03:04:05", "b": "1", "c": "ab", "d": 7}'), found('kt', '{x}'), found('kt', '{"k": "5"}');
-- of a table that is gone, by the name that its key had
DROP TABLE kt, kw;
CREATE TABLE kg (k text PRIMARY KEY, v int);
SELECT audit_enable('kg');
INSERT INTO kg VALUES ('uno', 1);
DROP TABLE kg;
SELECT found('kg', 'uno'), found('kg', '{"k": "uno"}'), found('kw', '5');
SELECT found('nothing', 'uno');
\echo :SQLSTATE

-- other spellings that the type takes for equal
SELECT count(*) > 0 AS has_citext FROM pg_available_extensions WHERE name = 'citext' \gset
\if :has_citext
CREATE EXTENSION citext SCHEMA pg_catalog;
\else
CREATE TYPE citext;
CREATE FUNCTION citextin(cstring) RETURNS citext LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION citextout(citext) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE citext (INPUT = citextin, OUTPUT = citextout, LIKE = text, CATEGORY = 'S');
\endif
CREATE TABLE kci (n int UNIQUE, k citext, v int);
SELECT audit_enable('kci', key => '{k}');
INSERT INTO kci VALUES (1, 'Ana', 1);
SET client_min_messages = notice;
SELECT found('kci', 'Ana'), found('kci', '{"k": "Ana"}');
SELECT found('kci', 'ana');
SET client_min_messages = warning;
DROP TABLE kci;
\if :has_citext
DROP EXTENSION citext;
\else
DROP TYPE citext CASCADE;
\endif

-- what audit_history says where it would be silent
SET client_min_messages = notice;
CREATE TABLE kv (id int PRIMARY KEY, v int);
SELECT found('kv', '1');
SELECT audit_enable('kv');
SELECT found('kv', '1');
INSERT INTO kv VALUES (1, 1);
ALTER TABLE kv DISABLE TRIGGER USER;
SELECT found('kv', '1');
-- once for a statement, not for each key
SELECT count(k.action) FROM generate_series(1, 3) i, LATERAL audit_history('kv', i::text) k WHERE i > 0;
ALTER TABLE kv ENABLE REPLICA TRIGGER "!audit_kv";
SELECT found('kv', '1');
SELECT audit_disable('kv');
SELECT found('kv', '1');
-- of that name in other schemas
CREATE SCHEMA aq_s1;
CREATE SCHEMA aq_s2;
CREATE TABLE aq_s1.dup (id int PRIMARY KEY, v int);
CREATE TABLE aq_s2.dup (id int PRIMARY KEY, v int);
CREATE TABLE dup (id int PRIMARY KEY, v int);
SELECT audit_enable('aq_s1.dup'), audit_enable('aq_s2.dup'), audit_enable('dup');
INSERT INTO aq_s1.dup VALUES (1, 1);
INSERT INTO aq_s2.dup VALUES (1, 2);
SELECT found('dup', '1');
SELECT found('dup', '2');
INSERT INTO dup VALUES (1, 3);
SELECT found('dup', '1');
DROP TABLE dup, aq_s1.dup, aq_s2.dup;
DELETE FROM audit_log WHERE table_schema NOT IN ('aq_s1', 'aq_s2');
SELECT found('dup', '1');
SELECT found('aq_s1.dup', '1');
-- a partition: as one, audited by itself before, and detached
CREATE TABLE kp (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE a_kp1 (id int PRIMARY KEY, v int);
SELECT audit_enable('kp'), audit_enable('a_kp1');
INSERT INTO a_kp1 VALUES (1, 1);
ALTER TABLE kp ATTACH PARTITION a_kp1 FOR VALUES FROM (0) TO (10);
UPDATE kp SET v = 2;
SELECT found('a_kp1', '1');
SELECT found('kp', '1');
ALTER TABLE kp DETACH PARTITION a_kp1;
UPDATE a_kp1 SET v = 3;
SELECT found('a_kp1', '1');
CREATE TABLE kp2 PARTITION OF kp FOR VALUES FROM (10) TO (20);
INSERT INTO kp VALUES (11, 1);
ALTER TABLE kp DETACH PARTITION kp2;
SELECT found('kp2', '11');
SELECT found('kp', '11');

-- what audit_enable says
CREATE UNLOGGED TABLE ku (id int PRIMARY KEY, v int);
SELECT audit_enable('ku');
CREATE TABLE kpa (id int PRIMARY KEY, v int);
CREATE TABLE kch () INHERITS (kpa);
SELECT audit_enable('kpa');
SELECT audit_enable('kch', key => '{id}');
CREATE UNIQUE INDEX ON kch (id) WHERE v > 0;
SELECT audit_enable('kch', key => '{id}');
CREATE UNIQUE INDEX ON kch (id);
SELECT audit_enable('kch', key => '{id,v}');

SET client_min_messages = warning;
DROP FUNCTION found(text, text);
DROP SCHEMA aq_s1, aq_s2;
DROP TABLE kts, kn, kc, ki, kh, ka, kj, kb, kz, kv, kp, a_kp1, kp2, ku, kpa, kch, aq_log, audit_log;
