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
	keys         text[] NOT NULL,
	log          regclass
);
CREATE INDEX audit_table_relid ON @extschema@.audit_table (relid);
COMMENT ON TABLE @extschema@.audit_table IS
'audited tables by id, which is table_id in the log: the table (a number: it is gone), its name '
'when it got the id, since when, until when, the table whose history it carries on, whether '
'entries without an id under that name are its own, the columns of its key, one list each time '
'that they changed, and the log';
GRANT SELECT ON @extschema@.audit_table TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.audit_table', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.audit_table_id_seq', '');

COMMENT ON FUNCTION @extschema@.fn_audit_trigger() IS
E'audit trigger: writes what changed into the log, as JSONB\n'
'Arguments: [key columns, comma-separated] [''exclude=a,b''] [''redact=c''] '
'[''log=schema.table''] [''id=17''] [''images'']. Without key columns: the primary key, else '
'the replica identity. Without log=: audit_log in the schema of this function. id=: the table''s '
'id, which counts if audit_table says the same.\n'
'AFTER INSERT OR UPDATE OR DELETE ... FOR EACH ROW, and AFTER TRUNCATE ... FOR EACH STATEMENT; '
'audit_enable() attaches both. The right to EXECUTE it is the right to write into any table that '
'can serve as a log.\n'
'Errors: 39P01 fired any other way; 22023 unknown argument, or a key that would be redacted; 42703 '
'unknown column; 55000 no key, or the log would audit itself; 42501 a log that draws from a '
'sequence which its owner may not use; 42P01 no log; 42804, 23502, 42703 a log that cannot be '
'filled (the column is named).';

COMMENT ON FUNCTION @extschema@.audit_history(text, text) IS
E'the changes of one record, newest first, a row for each column\n'
'audited_table: its name, quoted and qualified as needed; it may be gone. record_key: the key''s '
'text, or a JSON object {"column": value, ...} where the key has several columns. old_value, '
'new_value: JSON, as to_jsonb writes the type. The order is that in which the record changed '
'(written_at). Follows the table by its id, and the record to the keys that it had before. Reads '
'the log with the caller''s rights, by its index.\n'
'Errors: 22023 a key of several columns given as one; 42501 no SELECT on the log.';

CREATE FUNCTION @extschema@.audit_history(audited_table text, record_key anycompatible,
	OUT changed_at timestamptz, OUT xact_id xid8, OUT action text, OUT user_id text,
	OUT column_name text, OUT old_value jsonb, OUT new_value jsonb) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'audit_history_by_value'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.audit_history(text, anycompatible) IS
E'the changes of one record, its key given as a value: a number, a UUID, a date, jsonb\n'
'The same as audit_history(audited_table, record_key::text).';

CREATE FUNCTION @extschema@.audit_set_user(user_id text, session_id text,
	context jsonb DEFAULT NULL) RETURNS void
LANGUAGE SQL VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT pg_catalog.set_config('app.current_user', coalesce(user_id, ''), true),
		pg_catalog.set_config('app.session_id', coalesce(session_id, ''), true),
		pg_catalog.set_config('app.context', coalesce(context::text, ''), true);
END;
COMMENT ON FUNCTION @extschema@.audit_set_user(text, text, jsonb) IS
E'tell the audit who acts, in a session that is called by a text\n'
'As audit_set_user(text, bigint, jsonb). A session_id that is no integer is logged in '
'app_context, as "session_id".';

CREATE FUNCTION @extschema@.audit_set_user(user_id text, session_id uuid,
	context jsonb DEFAULT NULL) RETURNS void
LANGUAGE SQL VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT @extschema@.audit_set_user(user_id, session_id::text, context);
END;
COMMENT ON FUNCTION @extschema@.audit_set_user(text, uuid, jsonb) IS
E'tell the audit who acts, in a session that is called by a UUID\n'
'As audit_set_user(text, text, jsonb): the session is logged in app_context, as "session_id".';

CREATE FUNCTION @extschema@.audit_set_user(user_id uuid, session_id uuid DEFAULT NULL,
	context jsonb DEFAULT NULL) RETURNS void
LANGUAGE SQL VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT @extschema@.audit_set_user(user_id::text, session_id::text, context);
END;
COMMENT ON FUNCTION @extschema@.audit_set_user(uuid, uuid, jsonb) IS
E'tell the audit who acts, where users and sessions are UUIDs\n'
'As audit_set_user(text, text, jsonb).';

-- audit_enable gets one more argument.
ALTER FUNCTION @extschema@.audit_enable(regclass, text[], text[], text[], regclass, boolean)
	RENAME TO audit_enable_of_1_0;
CREATE FUNCTION @extschema@.audit_enable(audited_table regclass, key text[] DEFAULT NULL,
	exclude text[] DEFAULT NULL, redact text[] DEFAULT NULL, log regclass DEFAULT NULL,
	replica boolean DEFAULT NULL, images boolean DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.audit_enable(regclass, text[], text[], text[], regclass, boolean,
	boolean) IS
E'audit a table, or change how it is audited\n'
'NULL: as it is, for a table that is audited already; ''{}'' and false: no more. key: columns that '
'identify a row (at first, and ''{}'': primary key, else replica identity). exclude: columns that '
'are not looked at; an UPDATE of them alone logs nothing. redact: columns whose change is logged, '
'their values never. log: another log table. replica: fire in replicated changes too (ENABLE '
'ALWAYS). images: TRUNCATE logs each row that it removes. What changes is said in a NOTICE. Gives '
'the table an id (audit_table), which it keeps. Takes SHARE ROW EXCLUSIVE on the table (writers '
'wait); ACCESS EXCLUSIVE (readers, too) where a trigger has to go: images => false, a table that '
'was renamed, a trigger of 1.0. For the table''s owner.\n'
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

-- The function and the view return two columns more.  The old function stays until its
-- rights are copied; the view is replaced in place, so that views of users keep reading it.
ALTER FUNCTION @extschema@.audit_tables() RENAME TO audit_tables_of_1_0;
CREATE FUNCTION @extschema@.audit_tables(OUT audited_table regclass, OUT key text[],
	OUT excluded text[], OUT redacted text[], OUT enabled boolean, OUT replica boolean,
	OUT log regclass, OUT months_left integer, OUT default_rows bigint, OUT events text,
	OUT table_id integer) RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.audit_tables() IS
'the rows of the view audit_status';

CREATE VIEW @extschema@.audit_status_of_1_1 AS
SELECT audited_table, key, excluded, redacted, enabled, replica, log, months_left, default_rows,
	events, table_id
FROM @extschema@.audit_tables();
CREATE FUNCTION @extschema@.aquacis_replace_view(view regclass, new regclass) RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
SELECT @extschema@.aquacis_replace_view('@extschema@.audit_status', '@extschema@.audit_status_of_1_1');
DROP FUNCTION @extschema@.aquacis_replace_view(regclass, regclass);
DROP VIEW @extschema@.audit_status_of_1_1;
COMMENT ON VIEW @extschema@.audit_status IS
E'audited tables, what of them is really logged, and for how many months their log is ready\n'
'events: which of INSERT, UPDATE, DELETE and TRUNCATE the table''s enabled triggers see: I,U,D,T '
'when nothing is missing. Behind the letter: OF (columns), WHEN: only some changes; REPLICA: '
'only what replication applies; AS table: logged by the trigger of that partitioned table, of '
'which this one is a partition; TWICE: two triggers log it. table_id: what the log knows the '
'table by; NULL: by its name only. Waits for no lock; what cannot be read is NULL.';

CREATE FUNCTION @extschema@.audit_unaudited(schema name DEFAULT NULL, OUT audited_table regclass,
	OUT reason text, OUT last_audited timestamptz, OUT row_estimate bigint, OUT has_key boolean)
	RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION @extschema@.audit_unaudited(name) IS
E'tables that nobody audits, or whose audit does not see every INSERT, UPDATE and DELETE\n'
'schema: NULL: all. reason: was_audited: until last_audited, or its triggers were dropped (NULL); '
'recreated: a table of its name was audited and is gone; disabled: its triggers are; partial: '
'some changes are not seen, see audit_status.events; inherits: from an audited table, whose '
'triggers do not fire for it; never. Those that were audited come first. row_estimate: the '
'planner''s; NULL: none yet. has_key: audit_enable needs no key. Partitions are listed where less '
'is seen of them than of their table. Left out: logs, temporary and foreign tables, tables of '
'extensions. Reads catalogs only and waits for no lock on a table; every role may ask.\n'
'Errors: 3F000 no such schema.';


------------------------------------------------------------------------------
-- audit: care of the log
------------------------------------------------------------------------------

CREATE TABLE @extschema@.audit_detached (
	log         regclass NOT NULL,
	month       text NOT NULL,
	range_from  timestamptz,
	range_to    timestamptz,
	last_xact   xid8,
	detached_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	dropped     boolean NOT NULL
);
COMMENT ON TABLE @extschema@.audit_detached IS
'months that audit_maintain took off a log: the name of the month when that was, its limits (null: '
'none), the last transaction in it (null: no entries), and whether it was dropped at once. A month '
'that is attached again under its name is not listed after the next audit_maintain.';
GRANT SELECT ON @extschema@.audit_detached TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.audit_detached', '');

CREATE PROCEDURE @extschema@.audit_baseline(audited_table regclass, batch integer DEFAULT 10000,
	lock_wait text DEFAULT '2s')
AS 'MODULE_PATHNAME'
LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.audit_baseline(regclass, integer, text) IS
E'write the rows that were there before the audit into the log, as action B\n'
'new_data is the whole row as it is now. Rows whose latest image (I or B) is in the log are left '
'out, so calling it again goes on. batch: rows per transaction, 1 to 1000000, in the order of the '
'key; who changes one of them waits for the batch. lock_wait: how long it waits for others, three '
'times; rows that stay in use are left to the next call, with a warning. A NOTICE per second. For '
'the owner of the table.\n'
'Errors: 25001 inside a transaction block; 22004 audited_table is null; 22023 batch out of range; '
'42501 not the owner, or row security would hide rows; 55000 not audited; 42809 a partition, or a '
'foreign table; 42883 a key without an order.';
REVOKE ALL ON PROCEDURE @extschema@.audit_baseline(regclass, integer, text) FROM PUBLIC;

CREATE PROCEDURE @extschema@.audit_adopt(log regclass, changed_at name DEFAULT NULL,
	lock_wait text DEFAULT '2s')
AS 'MODULE_PATHNAME'
LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.audit_adopt(regclass, name, text) IS
E'make a plain log table a monthly partitioned one, without copying it\n'
'changed_at: the column with the time of an entry (NULL: as audit_enable finds it). lock_wait: how '
'long writers may wait behind it for a lock; it then gives way and tries again, ten times. The '
'table is read once, while writers go on, and becomes a partition of a new one with its name, its '
'rights, triggers, policies, indexes and sequences. The columns written_at and table_id are added. '
'Commits on its way; calling it again goes on. For the owner of the log.\n'
'Errors: 25001 inside a transaction block; 22004 log is null; 42501 not the owner; 42809 no plain '
'table, nor one partitioned by changed_at; 42703, 22023, 42804 changed_at; 55000 something refers '
'to the table and would stay with its past (it is listed); 23514 entries without a time or of the '
'future; 55P03 in use; 55006 changed by another session.';
REVOKE ALL ON PROCEDURE @extschema@.audit_adopt(regclass, name, text) FROM PUBLIC;

CREATE TABLE @extschema@.audit_split_state (
	log        regclass PRIMARY KEY,
	past       regclass NOT NULL,
	past_file  oid NOT NULL,
	range_to   timestamptz NOT NULL,
	next_block bigint NOT NULL,
	blocks     bigint NOT NULL,
	entries    bigint NOT NULL,
	checksum   bigint NOT NULL,
	last_xact  xid8 NOT NULL,
	parts      regclass[] NOT NULL,
	months     integer[] NOT NULL,
	started_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE @extschema@.audit_split_state IS
'logs whose past audit_split is copying: how many of its blocks and entries are in the tables '
'"parts", which will be partitions and belong to the log''s owner. months: counted from January of '
'year 0. The row goes when the tables are partitions.';
GRANT SELECT ON @extschema@.audit_split_state TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.audit_split_state', '');

CREATE PROCEDURE @extschema@.audit_split(log regclass, max_time interval DEFAULT '1 hour',
	lock_wait text DEFAULT '2s')
AS 'MODULE_PATHNAME'
LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.audit_split(regclass, interval, text) IS
E'split the past of a log, as audit_adopt leaves it, into months\n'
'The past is the partition without a lower limit; it must be over. Its entries are copied in '
'short transactions into tables for the months, which take its place in one transaction when all '
'are there and have indexes; then the past is dropped. It needs disk space for a second copy '
'until then. max_time: after that the call ends, and the next one goes on (NULL: no limit). What '
'is older than 600 months goes into one partition. lock_wait: how long the exchange may wait for '
'the log, ten times. If old entries are changed meanwhile, it begins again. Progress: '
'audit_split_state. For the owner of the log.\n'
'Errors: 25001 inside a transaction block; 22004 log is null; 22023 max_time is not positive; '
'42501 not the owner; 42809 not partitioned by changed_at, or a past that is no plain table; '
'2BP01 something refers to the past. Warnings: 55006 old entries were changed, or a transaction '
'is older than the copies; 55P03 in use; 55000 the DEFAULT partition is large, and would be read '
'under the lock.';
REVOKE ALL ON PROCEDURE @extschema@.audit_split(regclass, interval, text) FROM PUBLIC;


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

-- Not dumped: a restored database numbers its transactions anew.  See src/audit/audit_position.c.
CREATE TABLE @extschema@.audit_feed (
	identity text NOT NULL
);
COMMENT ON TABLE @extschema@.audit_feed IS
'one row: what tells this database from one that is restored from its dump, in positions of '
'audit_changes';
GRANT SELECT ON @extschema@.audit_feed TO PUBLIC;
INSERT INTO @extschema@.audit_feed VALUES (
	pg_catalog.substr(pg_catalog.md5(pg_catalog.gen_random_uuid()::text), 1, 16));

CREATE FUNCTION @extschema@.audit_changes(after text DEFAULT NULL, max_rows integer DEFAULT 1000,
	log regclass DEFAULT NULL,
	OUT "position" text, OUT xact_id xid8, OUT xact_seq integer, OUT written_at timestamptz,
	OUT changed_at timestamptz, OUT table_id integer, OUT table_schema text, OUT table_name text,
	OUT record_id bigint, OUT record_key jsonb, OUT action text, OUT old_data jsonb,
	OUT new_data jsonb, OUT changed_fields jsonb, OUT user_id text, OUT db_user text,
	OUT session_id bigint, OUT app_context jsonb) RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL UNSAFE COST 1000 ROWS 1000;
COMMENT ON FUNCTION @extschema@.audit_changes(text, integer, regclass) IS
E'the next committed changes of a log, each once, in an order in which they can be applied\n'
'after: the position of the last row that the consumer has dealt with (NULL: the beginning of the '
'log; audit_position(): from now on). max_rows: at most so many; only a transaction that is larger '
'is split. No row: nothing new; the position stays. A transaction comes before those that could '
'see what it did; its entries are together, in the order in which they were made. What commits '
'late comes late, and what is open holds up nothing. Reads the log with the caller''s rights; '
'writes nothing, locks nothing, and can be called on a standby.\n'
'Errors: 22023 not a position, or one of another log; 55000 of another database, ahead of the '
'present snapshot, or a month that was detached before it was read; 42703 a log without xact_id '
'and xact_seq; 42501 no SELECT on the log; 22004 max_rows is null.';

CREATE FUNCTION @extschema@.audit_position(log regclass DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.audit_position(regclass) IS
E'the present position in the feed of a log: audit_changes(after => audit_position()) returns what '
'is committed from now on\n'
'What the calling statement sees is before it, what commits later is behind it.\n'
'Errors: as audit_changes.';


------------------------------------------------------------------------------
-- audit: reading back
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.audit_versions(base anyelement, record_key text,
	OUT valid_from timestamptz, OUT valid_to timestamptz, OUT action text, OUT xact_id xid8,
	OUT user_id text, OUT certain boolean, OUT version anyelement, OUT unknown text[])
	RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL UNSAFE COST 10000 ROWS 50;
COMMENT ON FUNCTION @extschema@.audit_versions(anyelement, text) IS
E'the versions of the rows that had a key, oldest first, as rows of the table\n'
'base: NULL::schema.table. record_key: as in audit_history. A row that had other keys before or '
'after is followed there; a key that several rows had gives the versions of each, one row after '
'the other. valid_from, valid_to: written_at of the changes (NULL: before the log; still so). '
'action, xact_id, user_id: of the change that made the version (NULL: before the log). certain: '
'false where entries contradict each other, or do not say how the row ended. unknown: columns '
'whose value the log does not have (excluded, redacted, not there at the time, not a value of '
'the present type); they are NULL in version. Needs the right to read the table and the log.\n'
'Errors: 42809 base is no row of a table; 42501 no right, or row security; 55000 no key; 22004 '
'null; 22023 a key of several columns that is no object.';

CREATE FUNCTION @extschema@.audit_versions(base anyelement, record_key anycompatible,
	OUT valid_from timestamptz, OUT valid_to timestamptz, OUT action text, OUT xact_id xid8,
	OUT user_id text, OUT certain boolean, OUT version anyelement, OUT unknown text[])
	RETURNS SETOF record
AS 'MODULE_PATHNAME', 'audit_versions_by_value'
LANGUAGE C STABLE PARALLEL UNSAFE COST 10000 ROWS 50;
COMMENT ON FUNCTION @extschema@.audit_versions(anyelement, anycompatible) IS
E'the versions of the rows that had a key, given as a value: a number, a UUID, a date, jsonb\n'
'The same as audit_versions(base, record_key::text).';

CREATE FUNCTION @extschema@.audit_row_at(base anyelement, record_key text, at timestamptz)
	RETURNS anyelement
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION @extschema@.audit_row_at(anyelement, text, timestamptz) IS
E'the row that had a key at a moment, or NULL\n'
'base: NULL::schema.table. record_key: as in audit_history. at: a change counts from its '
'written_at on, whenever its transaction was committed. Columns that the log does not know are '
'NULL, and named in a NOTICE unless they are excluded; a moment before the audit, or to come, '
'is told by a NOTICE, too. Needs the right to read the table and the log.\n'
'Errors: as audit_versions.';

CREATE FUNCTION @extschema@.audit_row_at(base anyelement, record_key anycompatible,
	at timestamptz) RETURNS anyelement
AS 'MODULE_PATHNAME', 'audit_row_at_by_value'
LANGUAGE C STABLE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION @extschema@.audit_row_at(anyelement, anycompatible, timestamptz) IS
E'the row that had a key, given as a value, at a moment, or NULL\n'
'The same as audit_row_at(base, record_key::text, at).';

CREATE FUNCTION @extschema@.audit_rows_at(base anyelement, at timestamptz)
	RETURNS SETOF anyelement
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 100000;
COMMENT ON FUNCTION @extschema@.audit_rows_at(anyelement, timestamptz) IS
E'a whole table as it was at a moment\n'
'base: NULL::schema.table, or a partition. at: as in audit_row_at. Reads the table once, and the '
'entries of the log that are younger; memory is for the rows that they are about. Columns that '
'the log does not know are NULL, and named in a NOTICE. A WARNING tells of rows that were there '
'and are not known: removed by TRUNCATE without images, or while nobody logged. Needs the right '
'to read the table and the log.\n'
'Errors: as audit_versions.';


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
'Errors: P0002 not consolidated; 42P07 the table exists; 22000 rows changed since (force), or '
'rejected rows missing; 40001 rows changed meanwhile; 42501 somebody who is not to be trusted may '
'write definitions; 25001 inside a transaction block; 22023 batch out of range. When all are '
'restored, the error of one process is a WARNING and the others go on.';


------------------------------------------------------------------------------
-- history: the tables with old rows of others
------------------------------------------------------------------------------

CREATE TABLE @extschema@.history_definition (
	history_table regclass PRIMARY KEY,
	base          regclass,
	columns       jsonb,
	key           text[],
	changed_at    text,
	changed_by    text,
	operation     text,
	holds         text CHECK (holds IN ('before', 'after', 'mixed')),
	time_zone     text,
	defined_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
	defined_by    text NOT NULL
);
COMMENT ON TABLE @extschema@.history_definition IS
'what history_define was told of history tables; null: as history_plan finds it. A number in place '
'of a table: it is gone';
GRANT SELECT ON @extschema@.history_definition TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.history_definition', '');

CREATE FUNCTION @extschema@.history_plan(source_schema name DEFAULT NULL, tables text[] DEFAULT NULL,
	sample integer DEFAULT 1000, large bigint DEFAULT 1000000,
	OUT history_table regclass, OUT base regclass, OUT base_from text, OUT prefix text,
	OUT key text[], OUT key_from text, OUT changed_at text, OUT changed_by text,
	OUT operation text, OUT columns jsonb, OUT missing text[], OUT extra text[],
	OUT drifted text[], OUT holds text, OUT sure real, OUT evidence jsonb,
	OUT row_estimate bigint, OUT byte_estimate bigint, OUT rows_per_year bigint,
	OUT dependants text[], OUT scans bigint, OUT scans_since timestamptz, OUT tier integer,
	OUT reason text, OUT defined boolean, OUT problem_code text, OUT problem text)
	RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 ROWS 200;
COMMENT ON FUNCTION @extschema@.history_plan(name, text[], integer, bigint) IS
E'what each history table is, and a recommendation: a row per table\n'
'source_schema: NULL: all. tables: names (NULL: those that begin with his, and defined ones). '
'sample: about so many rows are read of each table, the newest, 1 to 1000000, and never more '
'blocks than that. large: from so many rows on a table is kept typed. base: the table whose rows '
'it holds, found by its name or columns. columns: mapped ones as {"column": "column of the '
'base"}; missing: the base''s that it has not; extra: its own; drifted: of another type. key_from: '
'guess where the base has no unique index. holds: a copy is the row before or after the change, '
'mixed, unknown; sure: 0 to 1, the lower limit of the share of keys that agree; evidence: what was '
'counted. scans: counted since scans_since (NULL: not known). tier: 1 move, 2 keep typed, 3 look, '
'with a reason. problem: a sentence or NULL; problem_code: a word to group by. Changes nothing and '
'does not wait: a table that is locked is reported so. Reads with the caller''s rights.\n'
'Errors: 3F000 no such schema; 42P01 no such table; 22004 null; 22023 sample out of range.';
REVOKE ALL ON FUNCTION @extschema@.history_plan(name, text[], integer, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.history_define(history_table regclass, base regclass DEFAULT NULL,
	columns jsonb DEFAULT NULL, key text[] DEFAULT NULL, changed_at name DEFAULT NULL,
	changed_by name DEFAULT NULL, operation name DEFAULT NULL, holds text DEFAULT NULL,
	time_zone text DEFAULT NULL, sample integer DEFAULT 10000) RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.history_define(regclass, regclass, jsonb, text[], name, name, name,
	text, text, integer) IS
E'say what history_plan has not found of a history table, or found wrong\n'
'NULL: as it is found. Replaces what an earlier call said. base: the table whose rows are copied. '
'columns: {"column": "column of the base"}, null for one that the base has not; others are mapped '
'by name. key, changed_at, changed_by, operation: columns of the history table. holds: before, '
'after, mixed. time_zone: of the times, where they have none. sample: rows of each table that are '
'compared with the definition. For the owner of the history table, who may read the base.\n'
'Errors: 22023 the rows contradict holds or changed_at, or an argument is not usable; 23505 the '
'key is not unique in the base, or per time; 42703, 42701, 42804 columns; 42809 no ordinary '
'table; 42501 no right; 55P03 a table is locked; 22004 null.';
REVOKE ALL ON FUNCTION @extschema@.history_define(regclass, regclass, jsonb, text[], name, name,
	name, text, text, integer) FROM PUBLIC;

CREATE FUNCTION @extschema@.history_forget(history_table regclass) RETURNS boolean
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.history_forget(regclass) IS
E'remove what history_define said of a table; true if there was something\n'
'history_table: of one that is gone, its number. For the owner of the table.\n'
'Errors: 42501 not the owner; 42809 no ordinary table.';
REVOKE ALL ON FUNCTION @extschema@.history_forget(regclass) FROM PUBLIC;


------------------------------------------------------------------------------
-- legacy: texts, phones, dates
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.legacy_text_clean(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_text_clean(text) IS
E'the text with mojibake mended where that is certain, each run of Unicode''s blanks one blank, '
'none at the ends; NULL when nothing is left\n'
'For values of one line. Raises no error; legacy_text_error says what is left.';

CREATE FUNCTION @extschema@.legacy_text_error(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_text_error(text) IS
'what legacy_text_clean leaves in the text that is not sound: lost character, control character, '
'mojibake (perhaps), no such character (in this database''s encoding); NULL when it is sound';

CREATE FUNCTION @extschema@.legacy_bool_strict(val numeric) RETURNS boolean
AS 'MODULE_PATHNAME', 'legacy_bool_strict_numeric'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_bool_strict(numeric) IS
E'1 is true, 0 is false\n'
'Errors: 22P02 anything else, with the value.';

CREATE FUNCTION @extschema@.legacy_bool_strict_error(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;
COMMENT ON FUNCTION @extschema@.legacy_bool_strict_error(text) IS
'no flag: what legacy_bool_strict refuses; NULL when it is one or blank';

CREATE FUNCTION @extschema@.legacy_bool_strict_error(val numeric) RETURNS text
AS 'MODULE_PATHNAME', 'legacy_bool_strict_error_numeric'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;
COMMENT ON FUNCTION @extschema@.legacy_bool_strict_error(numeric) IS
'no flag: anything but 0 and 1; NULL for these';

CREATE FUNCTION @extschema@.legacy_phone(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_phone(text) IS
E'a telephone number of Mexico as ten digits, without the prefixes 01, 044, 045, +52, +52 1 and '
'without its extension; NULL when empty\n'
'Errors: 22P02 with the reason that legacy_phone_error gives.';

CREATE FUNCTION @extschema@.legacy_phone(lada text, val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_phone(text, text) IS
E'the same with an area code that stands in a column of its own; it counts when the number is not '
'whole by itself, and may be null\n'
'Errors: 22P02 with the reason that legacy_phone_error gives.';

CREATE FUNCTION @extschema@.legacy_phone_error(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_phone_error(text) IS
'why the text is no telephone number of Mexico: malformed, filler, another country, no area code, '
'too short, too long, wrong area code, wrong extension; NULL when it is one or empty';

CREATE FUNCTION @extschema@.legacy_phone_error(lada text, val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_phone_error(text, text) IS
'why the two texts are no telephone number of Mexico, as legacy_phone_error(text)';

CREATE FUNCTION @extschema@.legacy_phone_extension(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_phone_extension(text) IS
'the digits of the extension behind a telephone number; NULL when there is none';

CREATE FUNCTION @extschema@.legacy_email(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_email(text) IS
E'an address of e-mail, its domain in lower case; NULL when empty\n'
'Its shape alone is looked at.\n'
'Errors: 22P02 with the reason that legacy_email_error gives.';

CREATE FUNCTION @extschema@.legacy_email_error(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_email_error(text) IS
'why the text is no address of e-mail: no @, several addresses, wrong character, too long, '
'wrong local part, wrong domain; NULL when it is one or empty';

CREATE FUNCTION @extschema@.legacy_postal_code(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_postal_code(text) IS
E'a postal code of Mexico as five digits; four have lost their zero; NULL when empty\n'
'Errors: 22P02 with the reason that legacy_postal_code_error gives.';

CREATE FUNCTION @extschema@.legacy_postal_code(val numeric) RETURNS text
AS 'MODULE_PATHNAME', 'legacy_postal_code_numeric'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_postal_code(numeric) IS
E'the same out of a number\n'
'Errors: 22P02 with the reason that legacy_postal_code_error gives.';

CREATE FUNCTION @extschema@.legacy_postal_code_error(val text) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_postal_code_error(text) IS
'why the text is no postal code: malformed, wrong length, filler; NULL when it is one or empty';

CREATE FUNCTION @extschema@.legacy_postal_code_error(val numeric) RETURNS text
AS 'MODULE_PATHNAME', 'legacy_postal_code_error_numeric'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_postal_code_error(numeric) IS
'why the number is no postal code: malformed, wrong length, filler; NULL when it is one';

CREATE FUNCTION @extschema@.legacy_date(val text, field_order text DEFAULT 'dmy',
	sentinels date[] DEFAULT '{0001-01-01,1753-01-01,1899-12-30,1899-12-31,1900-01-01,2999-12-31,9999-12-31,-infinity,infinity}')
RETURNS date
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_date(text, text, date[]) IS
E'the date in a text; NULL when it is empty, all zeros, or a date that stands for none\n'
'field_order: how 03/04/2020 is to be read, dmy, mdy, or ymd (a year in front alone). Forms: '
'2020-01-31, 20200131, 31/01/2020, 31-ENE-2020, 31 de enero de 2020, a time of day behind them. '
'sentinels: dates that mean "none" or "for ever".\n'
'Errors: 22P02 with the reason that legacy_date_error gives; 22023 no such order.';

CREATE FUNCTION @extschema@.legacy_date_error(val text, field_order text DEFAULT 'dmy',
	sentinels date[] DEFAULT '{0001-01-01,1753-01-01,1899-12-30,1899-12-31,1900-01-01,2999-12-31,9999-12-31,-infinity,infinity}')
RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_date_error(text, text, date[]) IS
E'why the text is no date: malformed, two-digit year, impossible date; or why it is NULL: zero, '
'sentinel; NULL when it is a date or empty\n'
'Errors: 22023 no such order.';

CREATE FUNCTION @extschema@.legacy_date(val date,
	sentinels date[] DEFAULT '{0001-01-01,1753-01-01,1899-12-30,1899-12-31,1900-01-01,2999-12-31,9999-12-31,-infinity,infinity}')
RETURNS date
AS 'MODULE_PATHNAME', 'legacy_date_typed'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.legacy_date(date, date[]) IS
'the date; NULL when it is one of the sentinels, which mean "none" or "for ever"';

CREATE FUNCTION @extschema@.legacy_date_error(val date,
	sentinels date[] DEFAULT '{0001-01-01,1753-01-01,1899-12-30,1899-12-31,1900-01-01,2999-12-31,9999-12-31,-infinity,infinity}')
RETURNS text
AS 'MODULE_PATHNAME', 'legacy_date_error_typed'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.legacy_date_error(date, date[]) IS
'sentinel: why legacy_date makes it NULL; NULL when it does not';

CREATE FUNCTION @extschema@.legacy_date(val timestamp,
	sentinels date[] DEFAULT '{0001-01-01,1753-01-01,1899-12-30,1899-12-31,1900-01-01,2999-12-31,9999-12-31,-infinity,infinity}')
RETURNS timestamp
AS 'MODULE_PATHNAME', 'legacy_date_timestamp'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.legacy_date(timestamp, date[]) IS
'the timestamp, with its time of day; NULL when its day is one of the sentinels';

CREATE FUNCTION @extschema@.legacy_date_error(val timestamp,
	sentinels date[] DEFAULT '{0001-01-01,1753-01-01,1899-12-30,1899-12-31,1900-01-01,2999-12-31,9999-12-31,-infinity,infinity}')
RETURNS text
AS 'MODULE_PATHNAME', 'legacy_date_error_timestamp'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.legacy_date_error(timestamp, date[]) IS
'sentinel: why legacy_date makes it NULL; NULL when it does not';

CREATE FUNCTION @extschema@.legacy_profile(tab regclass, sample_rows bigint DEFAULT 20000,
	OUT column_name name, OUT data_type text, OUT kind text, OUT converter text, OUT evidence text,
	OUT sure text, OUT rows_read bigint, OUT nulls bigint, OUT blanks bigint, OUT refused bigint,
	OUT examples jsonb) RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 ROWS 20;
COMMENT ON FUNCTION @extschema@.legacy_profile(regclass, bigint) IS
E'for each column of a legacy table the converter that fits it, and what it would refuse\n'
'evidence: what speaks for the converter, of name, type and data; sure: high, medium, low. '
'rows_read: a sample of blocks (TABLESAMPLE SYSTEM) of about sample_rows rows from a table that '
'has more than twice as many; sample_rows NULL reads all. refused: values with a reason, also '
'those that become NULL with one; examples: the most frequent of them, an array of {"value", '
'"reason", "rows"}. Changes nothing. For who may SELECT from the table.\n'
'Errors: 22004 no table; 22023 sample_rows below 1; 42809 no plain table; 42501 no right, or row '
'security hides rows.';


------------------------------------------------------------------------------
-- which version
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.aquacis_version(OUT library text, OUT interface text) RETURNS record
-- not in a worker, which may have loaded a newer library than its session
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION @extschema@.aquacis_version() IS
E'the version of the library that this session has loaded, and of the SQL interface\n'
'library: 1.1.0; a session keeps the library that it began with. interface: 1.1, as in \\dx; ALTER '
'EXTENSION aquacis UPDATE brings the one that belongs to the files.';


------------------------------------------------------------------------------
-- legacy: keys and numbers
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.legacy_rfc(val text, check_digit boolean) RETURNS text
AS 'MODULE_PATHNAME', 'legacy_rfc_check_digit'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10;
COMMENT ON FUNCTION @extschema@.legacy_rfc(text, boolean) IS
E'the RFC as legacy_rfc(val) gives it; with check_digit false its check digit is not checked\n'
'For keys that are known to be right although SAT issued them with an unusual digit.\n'
'Errors: 22P02 with the reason that legacy_rfc_error gives; 22004 check_digit is null.';

COMMENT ON FUNCTION @extschema@.legacy_rfc_error(text) IS
'why the text is no RFC: foreign character, wrong length, wrong structure, impossible date, '
'unusual check digit (SAT has issued such keys), wrong check digit; NULL when it is one or empty';
COMMENT ON FUNCTION @extschema@.legacy_curp_error(text) IS
'why the text is no CURP: foreign character, wrong length, wrong structure, impossible date, '
'unknown sex, unknown state, initials never issued, wrong check digit; NULL when it is one or empty';

CREATE FUNCTION @extschema@.legacy_money(val numeric) RETURNS numeric
AS 'MODULE_PATHNAME', 'legacy_money_numeric'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_money(numeric) IS
E'the amount as numeric(12,2), as ROUND(val, 2) gives it\n'
'Errors: 22003 NaN, infinity or beyond 9999999999.99, with the value.';

CREATE FUNCTION @extschema@.legacy_money_error(val double precision) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;
COMMENT ON FUNCTION @extschema@.legacy_money_error(double precision) IS
'why legacy_money refuses the value: not a number, infinite, out of range; NULL when it does not';

CREATE FUNCTION @extschema@.legacy_money_error(val numeric) RETURNS text
AS 'MODULE_PATHNAME', 'legacy_money_error_numeric'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;
COMMENT ON FUNCTION @extschema@.legacy_money_error(numeric) IS
'why legacy_money refuses the value: not a number, infinite, out of range; NULL when it does not';

CREATE FUNCTION @extschema@.legacy_decimal(val double precision, scale integer) RETURNS numeric
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION @extschema@.legacy_decimal(double precision, integer) IS
E'a unit price or a quantity with 0 to 15 decimals, as ROUND(val::numeric, scale) gives it\n'
'The digits are those of the 15 that are known of a double precision.\n'
'Errors: 22003 NaN, infinity or 10^15 and more, with the value; 22023 no such scale; 22004 scale '
'is null.';

CREATE FUNCTION @extschema@.legacy_decimal_error(val double precision) RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;
COMMENT ON FUNCTION @extschema@.legacy_decimal_error(double precision) IS
'why legacy_decimal refuses the value: not a number, infinite, out of range; NULL when it does not';


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
SELECT @extschema@.aquacis_copy_rights(
	'@extschema@.audit_tables_of_1_0()'::regprocedure, '@extschema@.audit_tables()'::regprocedure);
DROP FUNCTION @extschema@.aquacis_copy_rights(regprocedure, regprocedure);
DROP FUNCTION @extschema@.audit_enable_of_1_0(regclass, text[], text[], text[], regclass, boolean);
DROP FUNCTION @extschema@.consolidate_plan_of_1_0(text, text);
DROP FUNCTION @extschema@.audit_tables_of_1_0();
