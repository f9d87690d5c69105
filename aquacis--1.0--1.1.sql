/* aquacis--1.0--1.1.sql: what 1.1 changes in 1.0.  CREATE EXTENSION runs it after aquacis--1.0.sql. */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis" or "ALTER EXTENSION aquacis UPDATE" to load this file. \quit

------------------------------------------------------------------------------
-- consolidate: per-process tables into one
------------------------------------------------------------------------------

-- a short stable word beside the sentence; NULL in records of 1.0
ALTER TABLE @extschema@.consolidate_problem ADD COLUMN problem_code text;

-- The function returns problem_code, too.  The old one stays until its rights are copied.
ALTER FUNCTION @extschema@.consolidate_plan(text, text) RENAME TO consolidate_plan_of_1_0;
CREATE FUNCTION @extschema@.consolidate_plan(source_schema text, family text,
	OUT table_name text, OUT process_id bigint, OUT row_count bigint, OUT byte_size bigint,
	OUT problem text, OUT problem_code text) RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.consolidate_plan(text, text) IS
E'dry run: the tables of a family, their rows, bytes, and what keeps each from being consolidated\n'
'problem: a sentence, or NULL when the table is ready. problem_code: a word to group by, such as '
'in_use, foreign_key, refused_rows. Changes nothing and does not wait: a table in use is reported '
'so. Reads every row, as the run would.\n'
'Errors: 3F000 no such schema; 42704 no such family.';
REVOKE ALL ON FUNCTION @extschema@.consolidate_plan(text, text) FROM PUBLIC;

-- a CALL inside of a transaction block is 25001, as in audit_maintain
COMMENT ON PROCEDURE @extschema@.consolidate(text, text, integer, boolean, text, interval, boolean) IS
E'move the tables of a family into its target, batch by batch\n'
'batch: tables per commit, 1 to 1000 (50 to 100 costs least). drop_source: false keeps the '
'sources. on_reject: what to do with a table that has rows which the target''s key or types '
'refuse: ''stop'' leaves it alone, ''keep'' moves such rows into consolidate_rejected. lock_wait: '
'how long in all to try for tables in use. skip_locked: false makes a table that stays in use an '
'error. Commits on its way; killed, cancelled or crashed, it loses nothing, and calling it again '
'goes on. For the owner of the sources or a superuser. Progress: consolidate_progress, and a '
'NOTICE per second.\n'
'Errors: 25001 inside a transaction block; 55006 the family is being consolidated by another '
'session; 22023 argument out of range; 3F000, 42704 no such schema, family; 55P03 in use '
'(skip_locked => false); 42804, 42703, 23502, 42809, 42501 a target that does not fit or is not '
'to be trusted. What is wrong with one table is no error but a row in consolidate_problem.';

COMMENT ON PROCEDURE @extschema@.consolidate_restore(text, text, bigint, integer, boolean) IS
E'make the table of one process (process_id NULL: of all) again as it was, with its rows, the '
'rejected ones included\n'
'batch: tables per commit, 1 to 60. force: put rows back as they are now even if they have '
'changed since. The rows leave the target. Commits on its way.\n'
'Errors: 02000 not consolidated; 42P07 the table exists; 22000 rows changed since (force), or '
'rejected rows missing; 40001 rows changed meanwhile; 42501 somebody who is not to be trusted may '
'write definitions; 25001 inside a transaction block; 22023 batch out of range. When all are '
'restored, the error of one process is a WARNING and the others go on.';


------------------------------------------------------------------------------
-- rights: what ALTER DEFAULT PRIVILEGES gave to others
------------------------------------------------------------------------------

-- The last section: it looks at all that is there.  See src/aquacis_rights.c.
CREATE FUNCTION @extschema@.aquacis_revoke_default_rights() RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
SELECT @extschema@.aquacis_revoke_default_rights();
DROP FUNCTION @extschema@.aquacis_revoke_default_rights();

-- What is left on the old function was granted by hand.
CREATE FUNCTION @extschema@.aquacis_copy_rights(old regprocedure, new regprocedure) RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
SELECT @extschema@.aquacis_copy_rights(
	'@extschema@.consolidate_plan_of_1_0(text, text)'::regprocedure,
	'@extschema@.consolidate_plan(text, text)'::regprocedure);
DROP FUNCTION @extschema@.aquacis_copy_rights(regprocedure, regprocedure);
DROP FUNCTION @extschema@.consolidate_plan_of_1_0(text, text);
