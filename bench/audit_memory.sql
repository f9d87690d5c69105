-- Two tables of :rows narrow rows, one with our trigger, one with an empty one.
SET client_min_messages = warning;
SELECT public.audit_install();
CREATE TABLE memory_ours (id int PRIMARY KEY, v int);
CREATE TABLE memory_empty (LIKE memory_ours INCLUDING ALL);
INSERT INTO memory_ours SELECT i, i FROM generate_series(1, :rows) i;
INSERT INTO memory_empty TABLE memory_ours;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing AFTER UPDATE ON memory_empty FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT public.audit_enable('memory_ours');
