-- Creates the extension in the first schema of search_path: public in one run
-- of the suite, a schema of its own in the other.  Every other test finds it.
SET client_min_messages = warning;
-- what every new database has since PostgreSQL 15
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE EXTENSION aquacis;
SELECT extname, extversion FROM pg_extension WHERE extname = 'aquacis';
-- every object of the extension that can carry a comment has one
SELECT pg_describe_object(classid, objid, objsubid) AS without_comment
FROM pg_depend d
WHERE refclassid = 'pg_extension'::regclass
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'aquacis')
  AND deptype = 'e'
  AND NOT EXISTS (SELECT FROM pg_type t JOIN pg_class c ON c.reltype = t.oid OR t.typelem = c.reltype
                  WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid)
  AND obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)::name) IS NULL
ORDER BY 1;
-- what the tests of consolidate end with: nothing that they have defined, run or left is there for the next
CREATE PROCEDURE forget_consolidation() LANGUAGE plpgsql SET client_min_messages = warning AS $$
BEGIN
	DROP TABLE IF EXISTS consolidate_rejected;
	DELETE FROM consolidate_source;
	DELETE FROM consolidate_run;
	DELETE FROM consolidate_problem;
	DELETE FROM consolidate_target;
	DELETE FROM consolidate_family WHERE NOT builtin;
END $$;
-- what the tests of audit begin with: ids from 1, whatever was audited before
CREATE PROCEDURE forget_audited() LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM audit_table;
	ALTER SEQUENCE audit_table_id_seq RESTART 1;
END $$;
