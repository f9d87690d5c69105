-- The plans that audit_versions and audit_row_at keep in the session: they give what new ones
-- would, whatever happened in between.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE ROLE ap_keeper;
CREATE ROLE ap_group;
CREATE ROLE ap_reader IN ROLE ap_group;
CREATE SCHEMA ap_s;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO ap_keeper, ap_reader', current_schema()); END $$;
GRANT USAGE ON SCHEMA ap_s TO ap_keeper, ap_group;
-- versions of a record, asked for so often that its plans are those for all values; or the error
CREATE FUNCTION ap_see(tbl text, key text, times int DEFAULT 9) RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	found text;
BEGIN
	FOR i IN 1..times LOOP
		EXECUTE format('SELECT string_agg(version::text, '' '' ORDER BY valid_from NULLS FIRST) FROM audit_versions(NULL::%s, $1)', tbl) INTO found USING key;
	END LOOP;
	RETURN found;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION ap_kept() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'aquacis kept plan'
$$;
SELECT ap_kept();

-- ---- other records, other types of keys, the same plans ---------------------------------------
CREATE TABLE ap_s.t (id int PRIMARY KEY, v text);
SELECT audit_enable('ap_s.t');
INSERT INTO ap_s.t SELECT i, 'a' FROM generate_series(1, 20) i;
UPDATE ap_s.t SET v = 'b' WHERE id <= 10;
SELECT id, ap_see('ap_s.t', id::text, 1) FROM generate_series(1, 20) id WHERE id % 3 = 0;
SELECT ap_kept() AS some \gset
SELECT id, ap_see('ap_s.t', id::text, 1) FROM generate_series(1, 20) id WHERE id % 3 = 1;
SELECT :some > 0 AS some, ap_kept() = :some AS same;
CREATE TABLE ap_s.k (a text, b int, v int, PRIMARY KEY (a, b));
SELECT audit_enable('ap_s.k');
INSERT INTO ap_s.k VALUES ('it''s', 1, 1), ('$1', 1, 1), ('é', 2, 1);
UPDATE ap_s.k SET v = 2;
UPDATE ap_s.k SET a = 'x$1' WHERE a = '$1';
SELECT key, ap_see('ap_s.k', key) FROM (VALUES ('{"a": "it''s", "b": 1}'), ('{"a": "$1", "b": 1}'), ('{"a": "x$1", "b": 1}'),
	('{"b": 2, "a": "é"}'), ('{"b": 3, "a": "é"}')) k (key);

-- ---- a new month --------------------------------------------------------------------------------
SELECT ap_see('ap_s.t', '1');
CREATE TABLE ap_month PARTITION OF audit_log FOR VALUES FROM ('2001-01-01 00:00+00') TO ('2001-02-01 00:00+00');
INSERT INTO audit_log (changed_at, written_at, xact_id, xact_seq, table_schema, table_name, table_id, record_id, action, changed_fields, user_id, db_user, session_user_name)
SELECT at, at, '3', 1, 'ap_s', 't', id, 11, 'U', '{"v": {"old": "0", "new": "a"}}', 'x', 'x', 'x'
FROM audit_table, (VALUES (timestamptz '2001-01-15 00:00+00')) v (at) WHERE relid = 'ap_s.t'::regclass;
SELECT ap_see('ap_s.t', '11');
DELETE FROM ap_month;
SELECT ap_see('ap_s.t', '11');
ALTER TABLE audit_log DETACH PARTITION ap_month;
SELECT ap_see('ap_s.t', '11');
DROP TABLE ap_month;
SELECT ap_see('ap_s.t', '11');

-- ---- the table and the log are changed -------------------------------------------------------------
ALTER TABLE ap_s.t ADD n int DEFAULT 7;
SELECT ap_see('ap_s.t', '1');
ALTER TABLE ap_s.t DROP v;
SELECT ap_see('ap_s.t', '1');
ALTER TABLE ap_s.t ALTER id TYPE text;
SELECT ap_see('ap_s.t', '1');
ALTER TABLE ap_s.t RENAME id TO key;
ALTER TABLE ap_s.t RENAME TO u;
-- another table of that name, which nobody audits
CREATE TABLE ap_s.t (id int PRIMARY KEY, w text);
INSERT INTO ap_s.t VALUES (1, 'other');
SET client_min_messages = error;
SELECT ap_see('ap_s.t', '1'), ap_see('ap_s.u', '1');
SET client_min_messages = warning;
DROP TABLE ap_s.t;
ALTER SCHEMA ap_s RENAME TO ap_r;
SELECT ap_see('ap_r.u', '1');
ALTER SCHEMA ap_r RENAME TO ap_s;
-- a log of one's own, dropped and made again with other columns, renamed
CREATE TABLE ap_s.log (changed_at timestamptz, table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb);
CREATE TABLE ap_s.o (id int PRIMARY KEY, v int);
SELECT audit_enable('ap_s.o', log => 'ap_s.log');
INSERT INTO ap_s.o VALUES (1, 1);
SELECT ap_see('ap_s.o', '1');
DROP TABLE ap_s.log CASCADE;
CREATE TABLE ap_s.log (id bigserial, al_record varchar(20), record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamp, table_name text);
SELECT audit_enable('ap_s.o', log => 'ap_s.log');
UPDATE ap_s.o SET v = 2;
SELECT ap_see('ap_s.o', '1');
ALTER TABLE ap_s.log RENAME TO log_of_o;
CREATE TABLE ap_s.log (LIKE ap_s.log_of_o);
SELECT ap_see('ap_s.o', '1');
CREATE INDEX ON ap_s.log_of_o (record_id);
SELECT ap_see('ap_s.o', '1');
DISCARD PLANS;
SELECT ap_see('ap_s.o', '1');
-- the session gets a temporary schema; a log is read as an owner who may not use its schema
CREATE SCHEMA ap_x;
CREATE TABLE ap_x.log (changed_at timestamptz, table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb);
CREATE TABLE ap_x.q (id int PRIMARY KEY, v int);
ALTER TABLE ap_x.log OWNER TO ap_keeper;
ALTER TABLE ap_x.q OWNER TO ap_keeper;
SELECT audit_enable('ap_x.q', log => 'ap_x.log');
INSERT INTO ap_x.q VALUES (1, 1);
UPDATE ap_x.q SET v = 2;
SELECT ap_see('ap_x.q', '1');
CREATE TEMP TABLE ap_temp (id int);
SELECT ap_see('ap_s.o', '1'), ap_see('ap_x.q', '1');
ANALYZE ap_x.q, ap_x.log;
SELECT ap_see('ap_x.q', '1');
DROP SCHEMA ap_x CASCADE;
-- other settings
SET timezone = 'Asia/Tokyo';
SELECT ap_see('ap_s.o', '1');
RESET timezone;

-- ---- rights ---------------------------------------------------------------------------------------------
GRANT SELECT ON audit_log, ap_s.u TO ap_reader;
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
REVOKE SELECT ON audit_log FROM ap_reader;
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
SELECT ap_see('ap_s.u', '1') IS NOT NULL AS superuser;
GRANT SELECT ON audit_log TO ap_reader;
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
REVOKE SELECT ON ap_s.u FROM ap_reader;
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
GRANT SELECT ON ap_s.u TO ap_reader;
-- names are looked up with the rights of who asks: through a group, and not any more
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
CREATE FUNCTION ap_asked() RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	found text;
BEGIN
	-- the type is known already: no name is looked up but by the function itself
	SELECT string_agg(version::text, ' ' ORDER BY valid_from NULLS FIRST) INTO found FROM audit_versions(NULL::ap_s.u, '1');
	RETURN found;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SET ROLE ap_reader;
SELECT ap_asked();
RESET ROLE;
REVOKE ap_group FROM ap_reader;
SET ROLE ap_reader;
SELECT ap_asked();
RESET ROLE;
GRANT ap_group TO ap_reader;
SET ROLE ap_reader;
SELECT ap_asked();
RESET ROLE;

-- ---- row security -----------------------------------------------------------------------------------------
-- of the table
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
ALTER TABLE ap_s.u ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON ap_s.u USING (key::int > 5);
SELECT ap_see('ap_s.u', '1');
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
ALTER ROLE ap_reader BYPASSRLS;
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
ALTER ROLE ap_reader NOBYPASSRLS;
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
ALTER TABLE ap_s.u DISABLE ROW LEVEL SECURITY;
SET ROLE ap_reader;
SELECT ap_see('ap_s.u', '1');
RESET ROLE;
-- of a log that is read as its owner, who has forced it on himself
CREATE TABLE ap_s.kept_log (changed_at timestamptz, written_at timestamptz, xact_id xid8, xact_seq int, table_schema text, table_name text, table_id int, record_id bigint, record_key jsonb, new_key jsonb, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, user_id text);
ALTER TABLE ap_s.kept_log OWNER TO ap_keeper;
CREATE TABLE ap_s.p (id int PRIMARY KEY, v int);
ALTER TABLE ap_s.p OWNER TO ap_keeper;
SELECT audit_enable('ap_s.p', log => 'ap_s.kept_log');
INSERT INTO ap_s.p VALUES (1, 1);
UPDATE ap_s.p SET v = 2;
UPDATE ap_s.p SET v = 3;
SELECT ap_see('ap_s.p', '1');
CREATE TABLE ap_s.gate (what text);
GRANT SELECT ON ap_s.gate TO ap_keeper;
INSERT INTO ap_s.gate VALUES ('open');
CREATE FUNCTION ap_s.gate(who text) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	it text := (SELECT what FROM ap_s.gate);
BEGIN
	IF it = 'error' THEN
		RAISE division_by_zero USING MESSAGE = 'the gate fails';
	ELSIF it = 'sleep' THEN
		PERFORM pg_sleep(60);
	ELSIF it = 'again' AND coalesce(current_setting('ap.depth', true), '') = '' THEN
		PERFORM set_config('ap.depth', '1', true);
		RAISE WARNING 'within, as %: %', current_user, ap_inner();
		PERFORM set_config('ap.depth', '', true);
	END IF;
	RETURN it <> 'closed';
END $$;
GRANT EXECUTE ON FUNCTION ap_s.gate(text) TO ap_keeper;
CREATE POLICY gate ON ap_s.kept_log USING (ap_s.gate(action));
ALTER TABLE ap_s.kept_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT ap_see('ap_s.p', '1');
UPDATE ap_s.gate SET what = 'closed';
SELECT ap_see('ap_s.p', '1');
SET ROLE ap_keeper;
SELECT ap_see('ap_s.p', '1');
RESET ROLE;
ALTER TABLE ap_s.kept_log NO FORCE ROW LEVEL SECURITY;
SELECT ap_see('ap_s.p', '1');
SET ROLE ap_keeper;
SELECT ap_see('ap_s.p', '1');
RESET ROLE;
ALTER TABLE ap_s.kept_log FORCE ROW LEVEL SECURITY;
SELECT ap_see('ap_s.p', '1');

\set VERBOSITY terse
-- ---- errors, a cancel, and the same question within the question -------------------------------------------
UPDATE ap_s.gate SET what = 'error';
SELECT ap_see('ap_s.p', '1');
SELECT count(*) FROM audit_versions(NULL::ap_s.p, '1');
UPDATE ap_s.gate SET what = 'open';
SELECT ap_see('ap_s.p', '1');
UPDATE ap_s.gate SET what = 'sleep';
SET statement_timeout = '50ms';
SELECT count(*) FROM audit_versions(NULL::ap_s.p, '1');
\echo :SQLSTATE
RESET statement_timeout;
UPDATE ap_s.gate SET what = 'open';
SELECT ap_see('ap_s.p', '1');
CREATE FUNCTION ap_inner() RETURNS text LANGUAGE sql SET search_path FROM CURRENT AS $$ SELECT ap_see('ap_s.p', '1') $$;
UPDATE ap_s.gate SET what = 'again';
SELECT ap_see('ap_s.p', '1', 1);
-- asked by the same role inside and outside: one plan, twice at a time
SET ROLE ap_keeper;
SELECT ap_see('ap_s.p', '1', 1);
RESET ROLE;
-- so many other questions within it that all plans that may go, go
CREATE FUNCTION ap_many(first int, last int, times int) RETURNS text LANGUAGE sql SET search_path FROM CURRENT AS $$
	SELECT string_agg(ap_see('ap_s.m' || i, '1', times), ' ') FROM generate_series(first, last) i
$$;
DO $$
BEGIN
	FOR i IN 1..60 LOOP
		EXECUTE format('CREATE TABLE ap_s.m%s (id int PRIMARY KEY, v int)', i);
		EXECUTE format('ALTER TABLE ap_s.m%s OWNER TO ap_keeper', i);
		PERFORM audit_enable(format('ap_s.m%s', i), log => 'ap_s.kept_log');
		EXECUTE format('INSERT INTO ap_s.m%s VALUES (1, %s)', i, i);
	END LOOP;
END $$;
CREATE OR REPLACE FUNCTION ap_inner() RETURNS text LANGUAGE sql SET search_path FROM CURRENT AS $$ SELECT ap_many(1, 20, 1) $$;
SELECT ap_see('ap_s.p', '1', 1);
SET ROLE ap_keeper;
SELECT ap_see('ap_s.p', '1', 1);
RESET ROLE;
UPDATE ap_s.gate SET what = 'open';
SELECT ap_see('ap_s.p', '1');

-- ---- many tables ---------------------------------------------------------------------------------------------
SELECT ap_many(1, 60, 1);
SELECT ap_kept();
SELECT ap_many(1, 60, 1) = ap_many(1, 60, 7) AS same, ap_kept();

DROP TABLE audit_log, ap_s.kept_log CASCADE;
DROP SCHEMA ap_s CASCADE;
DROP FUNCTION ap_see, ap_kept, ap_asked, ap_inner, ap_many;
DO $$ BEGIN EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM ap_keeper, ap_reader', current_schema()); END $$;
DROP ROLE ap_reader, ap_group, ap_keeper;
