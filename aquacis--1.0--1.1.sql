/* aquacis--1.0--1.1.sql: what 1.1 changes in 1.0.  CREATE EXTENSION runs it after aquacis--1.0.sql. */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis" or "ALTER EXTENSION aquacis UPDATE" to load this file. \quit

------------------------------------------------------------------------------
-- audit: the log and its tables
------------------------------------------------------------------------------

-- Transactions in a BRIN index of the log: audit_changes and audit_undo look for them.
CREATE OPERATOR CLASS @extschema@.xid8_minmax_ops FOR TYPE xid8 USING brin AS
	OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
	FUNCTION 1 pg_catalog.brin_minmax_opcinfo(internal),
	FUNCTION 2 pg_catalog.brin_minmax_add_value(internal, internal, internal, internal),
	FUNCTION 3 pg_catalog.brin_minmax_consistent(internal, internal, internal),
	FUNCTION 4 pg_catalog.brin_minmax_union(internal, internal, internal);
COMMENT ON OPERATOR CLASS @extschema@.xid8_minmax_ops USING brin IS
'lowest and highest transaction of a range of blocks';
COMMENT ON OPERATOR FAMILY @extschema@.xid8_minmax_ops USING brin IS
'made with the operator class of that name';

-- Which table is which: see src/audit/audit_registry.c.
CREATE SEQUENCE @extschema@.audit_table_id_seq AS integer;
COMMENT ON SEQUENCE @extschema@.audit_table_id_seq IS
'ids of audited tables; it starts at random, so that ids of an earlier installation are not '
'used again';
SELECT pg_catalog.setval('@extschema@.audit_table_id_seq',
	1 + pg_catalog.floor(pg_catalog.random() * 2000000000)::integer);

CREATE TABLE @extschema@.audit_table (
	id           integer PRIMARY KEY,
	relid        regclass,
	table_schema text NOT NULL,
	table_name   text NOT NULL,
	enabled_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
	disabled_at  timestamptz,
	continues    integer,
	names_before boolean NOT NULL,
	keys         text[] NOT NULL
);
COMMENT ON TABLE @extschema@.audit_table IS
'audited tables by id, which is table_id in the log: the table (a number: it is gone), its name '
'when it got the id, since when, until when, the table whose history it carries on, whether '
'entries without an id under that name are its own, and the columns of its key, one list each '
'time that they changed';
GRANT SELECT ON @extschema@.audit_table TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.audit_table', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.audit_table_id_seq', '');

-- audit_enable gets one more argument.
ALTER FUNCTION @extschema@.audit_enable(regclass, text[], text[], text[], regclass, boolean)
	RENAME TO audit_enable_of_1_0;
CREATE FUNCTION @extschema@.audit_enable(audited_table regclass, key text[] DEFAULT NULL,
	exclude text[] DEFAULT NULL, redact text[] DEFAULT NULL, log regclass DEFAULT NULL,
	replica boolean DEFAULT false, images boolean DEFAULT false) RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.audit_enable(regclass, text[], text[], text[], regclass, boolean,
	boolean) IS
E'attach the audit triggers to a table, replacing those of an earlier call\n'
'key: columns that identify a row (NULL: primary key, else replica identity). exclude: columns '
'that are not looked at; an UPDATE of them alone logs nothing. redact: columns whose change is '
'logged, their values never. log: another log table. replica: fire in replicated changes too '
'(ENABLE ALWAYS). images: TRUNCATE logs each row that it removes. Gives the table an id '
'(audit_table), which it keeps. Takes SHARE ROW EXCLUSIVE on the table. For the table''s owner.\n'
'Errors: 42703 unknown column; 55000 no key; 42809 not a table; 42501 not the owner, or a system '
'table; 22023 contradicting lists; 42804 a log without room for the key.';
REVOKE ALL ON FUNCTION @extschema@.audit_enable(regclass, text[], text[], text[], regclass, boolean,
	boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_continue(audited_table regclass, former_id integer) RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.audit_continue(regclass, integer) IS
E'say that a table carries on the history of a former one, which was dropped\n'
'audited_table: a table that is or was audited. former_id: id of the former one in audit_table; '
'0: entries without an id, of version 1.0, under the name that the table had when it got its id. '
'Nothing in the log changes. For the table''s owner.\n'
'Errors: 42704 no such id; 55000 never audited, the former table is still there, or a circle; '
'42501 not the owner.';
REVOKE ALL ON FUNCTION @extschema@.audit_continue(regclass, integer) FROM PUBLIC;


------------------------------------------------------------------------------
-- audit: what is audited
------------------------------------------------------------------------------


------------------------------------------------------------------------------
-- audit: care of the log
------------------------------------------------------------------------------


------------------------------------------------------------------------------
-- audit: reading back
------------------------------------------------------------------------------


------------------------------------------------------------------------------
-- audit: undo
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.audit_undo_plan(xact xid8 DEFAULT NULL, user_id text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	audited_table regclass DEFAULT NULL, log regclass DEFAULT NULL,
	OUT audited_table regclass, OUT record_key text, OUT undo text, OUT column_name text,
	OUT value_now jsonb, OUT value_then jsonb, OUT conflict text, OUT conflict_at timestamptz,
	OUT conflict_user text, OUT conflict_xact xid8) RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.audit_undo_plan(xid8, text, timestamptz, timestamptz, regclass,
	regclass) IS
E'dry run of audit_undo: each record and column, its value now and then, what stands in the way\n'
'What matches all that is given is undone: a transaction, a user, from since on and before until '
'(by written_at), a table. log: another log than the table''s, or the default one. undo: insert, '
'update or delete the record, or none: it is as it was. conflict: NULL, or why the record cannot '
'be undone, and who has changed it when and in which transaction, if the log knows. Locks '
'nothing, changes nothing. Reads the log and the tables with the caller''s rights.\n'
'Errors: 22023 none of xact, user_id, since, audited_table; 42P01 no log; 42501 no SELECT on the '
'log or a table; 42703 a log without the column that is asked for.';

CREATE FUNCTION @extschema@.audit_undo(xact xid8 DEFAULT NULL, user_id text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	audited_table regclass DEFAULT NULL, log regclass DEFAULT NULL,
	on_conflict text DEFAULT 'stop',
	OUT audited_table regclass, OUT record_key text, OUT undo text, OUT column_name text,
	OUT value_now jsonb, OUT value_then jsonb, OUT conflict text, OUT conflict_at timestamptz,
	OUT conflict_user text, OUT conflict_xact xid8, OUT done boolean) RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.audit_undo(xid8, text, timestamptz, timestamptz, regclass, regclass,
	text) IS
E'give records back what they were before the changes that match; see audit_undo_plan\n'
'on_conflict: ''stop'' undoes nothing if one record cannot be undone, ''skip'' undoes the others. '
'A record is undone whole or not at all. value_now: before the undo. done: the column was set. '
'Locks the records in the order of their keys. Runs as the caller: rights, row security, triggers '
'and constraints are those of an UPDATE by hand. Is logged, with app_context {"undo_of": ...} '
'unless the application has set one, and can be undone.\n'
'Errors: 55000 a conflict (stop); 22023 none of xact, user_id, since, audited_table, or another '
'word; 42501 no rights; 42P01, 42703 as audit_undo_plan; what constraints and triggers of the '
'tables raise.';
REVOKE ALL ON FUNCTION @extschema@.audit_undo(xid8, text, timestamptz, timestamptz, regclass,
	regclass, text) FROM PUBLIC;


------------------------------------------------------------------------------
-- audit: feed
------------------------------------------------------------------------------


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
SELECT @extschema@.aquacis_copy_rights(
	'@extschema@.audit_enable_of_1_0(regclass, text[], text[], text[], regclass, boolean)'::regprocedure,
	'@extschema@.audit_enable(regclass, text[], text[], text[], regclass, boolean, boolean)'::regprocedure);
DROP FUNCTION @extschema@.aquacis_copy_rights(regprocedure, regprocedure);
DROP FUNCTION @extschema@.audit_enable_of_1_0(regclass, text[], text[], text[], regclass, boolean);
DROP FUNCTION @extschema@.consolidate_plan_of_1_0(text, text);
