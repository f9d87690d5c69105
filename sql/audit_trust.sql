-- Whose code a log brings along, and with whose rights it runs.
SET client_min_messages = warning;
CALL forget_audited();
SELECT audit_install(months => 0);
CREATE ROLE aq_keeper;
CREATE SCHEMA aq_k;
GRANT ALL ON SCHEMA aq_k TO aq_keeper;
CREATE TABLE aq_t (id int PRIMARY KEY, v int);

-- CHECKs of a domain and casts run as the owner of the log, not as who makes the change
CREATE FUNCTION aq_k.fine(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING 'checked as %, path %', current_user, current_setting('search_path');
	RETURN true;
END $$;
CREATE DOMAIN aq_k.who AS text CHECK (aq_k.fine(VALUE));
CREATE TABLE aq_k.log (table_name text, record_id bigint, action text, old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz, user_id aq_k.who);
ALTER TABLE aq_k.log OWNER TO aq_keeper;
SELECT audit_enable('aq_t', log => 'aq_k.log');
INSERT INTO aq_t VALUES (1, 1);
CREATE TYPE aq_k.tag AS ENUM ('system');
CREATE FUNCTION aq_k.tag_of(text) RETURNS aq_k.tag LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING 'cast as %', current_user;
	RETURN enum_first(NULL::aq_k.tag);
END $$;
CREATE CAST (text AS aq_k.tag) WITH FUNCTION aq_k.tag_of(text) AS ASSIGNMENT;
ALTER TABLE aq_k.log DROP user_id, ADD user_id aq_k.tag;
INSERT INTO aq_t VALUES (2, 1);
ALTER TABLE aq_k.log DROP user_id;

-- a default that draws from a sequence which the log's owner may not use
CREATE SEQUENCE aq_other_seq;
SELECT 'aq_other_seq'::regclass::oid AS seq \gset
SET ROLE aq_keeper;
ALTER TABLE aq_k.log ADD n bigint;
ALTER TABLE aq_k.log ALTER n SET DEFAULT nextval(:seq::oid::regclass);
RESET ROLE;
INSERT INTO aq_t VALUES (3, 1);
\echo :SQLSTATE
SELECT is_called FROM aq_other_seq;
GRANT USAGE ON SEQUENCE aq_other_seq TO aq_keeper;
ALTER TABLE aq_k.log ADD m int DEFAULT 1;
INSERT INTO aq_t VALUES (3, 1);
SELECT record_id, n FROM aq_k.log;

-- a number within a longer default, straight into the log and through its trigger
ALTER TABLE aq_k.log DROP n, ADD code text;
ALTER TABLE aq_k.log ALTER code SET DEFAULT 'A-' || nextval('aq_other_seq');
INSERT INTO aq_t VALUES (4, 1);
CREATE FUNCTION aq_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing AFTER INSERT ON aq_k.log FOR EACH ROW EXECUTE FUNCTION aq_nothing();
INSERT INTO aq_t VALUES (5, 1);
SELECT record_id, code FROM aq_k.log WHERE code IS NOT NULL;

-- tables of others: refused before they are locked
GRANT EXECUTE ON FUNCTION audit_enable(regclass, text[], text[], text[], regclass, boolean, boolean), audit_disable(regclass) TO aq_keeper;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO aq_keeper', current_schema()); END $$;
SET ROLE aq_keeper;
SELECT audit_enable('aq_t');
\echo :SQLSTATE
SELECT audit_disable('aq_t');
\echo :SQLSTATE
RESET ROLE;

DROP TABLE aq_t, audit_log;
DROP TABLE aq_k.log;
DROP SEQUENCE aq_other_seq;
DROP FUNCTION aq_nothing();
DROP CAST (text AS aq_k.tag);
DO $$ BEGIN EXECUTE format('REVOKE ALL ON SCHEMA %I FROM aq_keeper', current_schema()); END $$;
REVOKE ALL ON FUNCTION audit_enable(regclass, text[], text[], text[], regclass, boolean, boolean), audit_disable(regclass) FROM aq_keeper;
DROP SCHEMA aq_k CASCADE;
DROP ROLE aq_keeper;
