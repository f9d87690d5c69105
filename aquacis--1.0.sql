/* aquacis--1.0.sql: the whole SQL interface, in the order of src/ */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis" to load this file. \quit

------------------------------------------------------------------------------
-- audit: a JSONB diff trigger and its partitioned log
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.fn_audit_trigger() RETURNS pg_catalog.trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'fn_audit_trigger';
COMMENT ON FUNCTION @extschema@.fn_audit_trigger() IS
'audit trigger: writes what changed into the log, as JSONB
Arguments: [key columns, comma-separated] [''exclude=a,b''] [''redact=c''] [''log=schema.table'']. Without key columns: the primary key, else the replica identity. Without log=: audit_log in the schema of this function.
AFTER INSERT OR UPDATE OR DELETE ... FOR EACH ROW, and AFTER TRUNCATE ... FOR EACH STATEMENT; audit_enable() attaches both. The right to EXECUTE it is the right to write into any table that can serve as a log.
Errors: 39P01 fired any other way; 22023 unknown argument; 42703 unknown column; 55000 no key, or the log would audit itself; 22023 a key that would be redacted; 42501 a log that draws from a sequence which its owner may not use; 42P01 no log; 42804, 23502, 42703 a log that cannot be filled (the column is named).';
REVOKE EXECUTE ON FUNCTION @extschema@.fn_audit_trigger() FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_install(schema pg_catalog.name DEFAULT NULL,
	gin pg_catalog.bool DEFAULT false, months pg_catalog.int4 DEFAULT 3) RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'audit_install';
COMMENT ON FUNCTION @extschema@.audit_install(pg_catalog.name, pg_catalog.bool, pg_catalog.int4) IS
'create audit_log, its monthly partitions and indexes where they are missing
schema: where (NULL: the schema of the extension). gin: the GIN index on changed_fields on every month, the one being written included. months: partitions ahead, 0 to 1200. A DEFAULT partition takes what no month does. Calling it again adds what is missing.
Errors: 22023 months out of range; 42501 no right to create, or what is there belongs to somebody else.';
REVOKE EXECUTE ON FUNCTION @extschema@.audit_install(pg_catalog.name, pg_catalog.bool, pg_catalog.int4)
FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_enable(audited_table pg_catalog.regclass,
	key pg_catalog.text[] DEFAULT NULL, exclude pg_catalog.text[] DEFAULT NULL,
	redact pg_catalog.text[] DEFAULT NULL, log pg_catalog.regclass DEFAULT NULL,
	replica pg_catalog.bool DEFAULT false) RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'audit_enable';
COMMENT ON FUNCTION @extschema@.audit_enable(pg_catalog.regclass, pg_catalog.text[], pg_catalog.text[],
	pg_catalog.text[], pg_catalog.regclass, pg_catalog.bool) IS
'attach the audit triggers to a table, replacing those of an earlier call
key: columns that identify a row (NULL: primary key, else replica identity). exclude: columns that are not looked at; an UPDATE of them alone logs nothing. redact: columns whose change is logged, their values never. log: another log table. replica: fire in replicated changes too (ENABLE ALWAYS). Takes SHARE ROW EXCLUSIVE on the table. For the table''s owner.
Errors: 42703 unknown column; 55000 no key; 42809 not a table; 42501 not the owner, or a system table; 22023 contradicting lists; 42804 a log without room for the key.';
REVOKE EXECUTE ON FUNCTION @extschema@.audit_enable(pg_catalog.regclass, pg_catalog.text[],
	pg_catalog.text[], pg_catalog.text[], pg_catalog.regclass, pg_catalog.bool) FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_disable(audited_table pg_catalog.regclass) RETURNS pg_catalog.void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'audit_disable';
COMMENT ON FUNCTION @extschema@.audit_disable(pg_catalog.regclass) IS
'remove the audit triggers of a table; what was logged stays
For the table''s owner. A table that is not audited: nothing happens, with a NOTICE.';
REVOKE EXECUTE ON FUNCTION @extschema@.audit_disable(pg_catalog.regclass) FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_set_user(user_id pg_catalog.text,
	session_id pg_catalog.int8 DEFAULT NULL, context pg_catalog.jsonb DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT pg_catalog.set_config('app.current_user', coalesce(user_id, ''), true),
		pg_catalog.set_config('app.session_id', coalesce(session_id::pg_catalog.text, ''), true),
		pg_catalog.set_config('app.context', coalesce(context::pg_catalog.text, ''), true);
END;
COMMENT ON FUNCTION @extschema@.audit_set_user(pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb) IS
'tell the audit who acts, until the end of the transaction
user_id: into user_id, any length (NULL or empty: system). session_id: the application''s session. context: any JSON, e.g. {"module": "caja"}. Sets app.current_user, app.session_id and app.context locally, so it is right under a transaction-pooling connection pooler. Outside a transaction block it has no effect on the next statement.';

CREATE PROCEDURE @extschema@.audit_maintain(months_ahead pg_catalog.int4 DEFAULT 3,
	keep pg_catalog.interval DEFAULT NULL, expired pg_catalog.text DEFAULT 'detach',
	lock_wait pg_catalog.text DEFAULT '2s', log pg_catalog.regclass DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'audit_maintain';
COMMENT ON PROCEDURE @extschema@.audit_maintain(pg_catalog.int4, pg_catalog.interval, pg_catalog.text,
	pg_catalog.text, pg_catalog.regclass) IS
'partitions ahead, DEFAULT partition emptied, closed months indexed, old months detached or dropped
months_ahead: 0 to 1200. keep: age at which a month expires (NULL: never). expired: ''detach'' or ''drop''. lock_wait: how long a step waits for a lock before it is left to the next call, with a warning. log: another log than audit_log. Each step is a transaction of its own; writers go on. Safe to call daily, from pg_cron too; skipping it never stops a write.
Errors: 22023 argument out of range; 42809 the log has no months; 25001 called inside a transaction.';
REVOKE EXECUTE ON PROCEDURE @extschema@.audit_maintain(pg_catalog.int4, pg_catalog.interval,
	pg_catalog.text, pg_catalog.text, pg_catalog.regclass) FROM PUBLIC;

CREATE FUNCTION @extschema@.audit_tables(OUT audited_table pg_catalog.regclass, OUT key pg_catalog.text[],
	OUT excluded pg_catalog.text[], OUT redacted pg_catalog.text[], OUT enabled pg_catalog.bool,
	OUT replica pg_catalog.bool, OUT log pg_catalog.regclass, OUT months_left pg_catalog.int4,
	OUT default_rows pg_catalog.int8) RETURNS SETOF pg_catalog.record
LANGUAGE c STABLE STRICT PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'audit_tables';
COMMENT ON FUNCTION @extschema@.audit_tables() IS
'the rows of the view audit_status';

CREATE VIEW @extschema@.audit_status AS
SELECT audited_table, key, excluded, redacted, enabled, replica, log, months_left, default_rows
FROM @extschema@.audit_tables();
GRANT SELECT ON @extschema@.audit_status TO PUBLIC;
COMMENT ON VIEW @extschema@.audit_status IS
'audited tables, and for how many more months their log has partitions';

CREATE FUNCTION @extschema@.audit_history(audited_table pg_catalog.text, record_key pg_catalog.text,
	OUT changed_at pg_catalog.timestamptz, OUT xact_id pg_catalog.xid8, OUT action pg_catalog.text,
	OUT user_id pg_catalog.text, OUT column_name pg_catalog.text, OUT old_value pg_catalog.jsonb,
	OUT new_value pg_catalog.jsonb) RETURNS SETOF pg_catalog.record
LANGUAGE c STABLE STRICT PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'audit_history';
COMMENT ON FUNCTION @extschema@.audit_history(pg_catalog.text, pg_catalog.text) IS
'the changes of one record, newest first, a row for each column
audited_table: its name, quoted and qualified as needed. record_key: the key''s text, or a JSON object {"column": value, ...} where the key has several columns. old_value, new_value: JSON, as to_jsonb writes the type. Reads the log with the caller''s rights, by its index.
Errors: 22023 a key of several columns given as one; 42501 no SELECT on the log.';


------------------------------------------------------------------------------
-- consolidate: per-process tables into one
------------------------------------------------------------------------------

-- What a family is: which names belong to it, and the table they go into.
CREATE TABLE @extschema@.consolidate_family (
    family      text PRIMARY KEY,
    pattern     text NOT NULL,
    target      text NOT NULL,
    key_columns text[] NOT NULL,
    columns     text[],
    builtin     boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE @extschema@.consolidate_family IS
'families of per-process tables: name pattern, target table, key, columns (NULL: those that most sources have)';

-- The columns that the tables really have, all nullable.  The modernisation
-- plan's DDL made the counters numeric(10,0); integer loses nothing, takes less
-- room, and a SELECT gives the application the types it had.  A target that
-- was made by that DDL is used as it is.
INSERT INTO @extschema@.consolidate_family (family, pattern, target, key_columns, columns, builtin) VALUES
('tmp_deuda', '^tmp_deuda_(\d+)$', 'tmp_deuda', ARRAY['faccnttnum'],
 ARRAY['importe numeric(18,2)', 'numfacturas integer', 'facsocemi integer', 'faccnttnum integer'], true),
('aux_varscreditored', '^aux_varscreditored_(\d+)$', 'aux_varscreditored', ARRAY['cnttnum'],
 ARRAY['cnttnum integer', 'impvariable numeric(18,2)', 'impvaranterior numeric(18,2)'], true),
('tmpbb', '^tmpbb_(\d+)$', 'tmpbb', ARRAY['bbcnttnum'],
 ARRAY['bbfbleid numeric(10,0)', 'bbsbid numeric(10,0)', 'bbcnttnum numeric(10,0)', 'bbaplicacion numeric(5,0)',
       'bbfecini pg_catalog.date', 'bbfecfin pg_catalog.date', 'bbvardel numeric(5,0)', 'bbexpdid numeric(5,0)', 'bbcptodel numeric(5,0)',
       'bbtariddel numeric(5,0)', 'bbctponew numeric(5,0)', 'bbtaridnew numeric(5,0)', 'bbfecfinbonif pg_catalog.date',
       'bbfecinitar pg_catalog.date'], true);

-- One row a process table: what was in it when it went, and how to make it again.
CREATE TABLE @extschema@.consolidate_source (
    source_schema  text NOT NULL,
    family         text NOT NULL,
    process_id     bigint NOT NULL,
    source_table   text NOT NULL,
    state          text NOT NULL CHECK (state IN ('copied', 'moved', 'restored')),
    row_count      bigint NOT NULL,
    rejected_count bigint NOT NULL,
    checksum       text NOT NULL,
    definition       text NOT NULL,
    definition_after text NOT NULL,
    changed_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (source_schema, family, process_id)
);
COMMENT ON TABLE @extschema@.consolidate_source IS
'process tables consolidated: rows, rejected rows, checksum and definition at the moment they were copied (source kept), moved (source dropped) or restored';

CREATE TABLE @extschema@.consolidate_problem (
    source_schema text NOT NULL,
    family        text NOT NULL,
    source_table  text NOT NULL,
    process_id    bigint,
    problem       text NOT NULL,
    seen_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (source_schema, family, source_table)
);
COMMENT ON TABLE @extschema@.consolidate_problem IS
'process tables that the last run left alone, and why';

CREATE TABLE @extschema@.consolidate_run (
    source_schema  text NOT NULL,
    family         text NOT NULL,
    started_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    state          text NOT NULL CHECK (state IN ('running', 'finished', 'failed', 'interrupted')),
    lock_key       integer NOT NULL,
    tables_total   bigint NOT NULL,
    tables_done    bigint NOT NULL DEFAULT 0,
    tables_skipped bigint NOT NULL DEFAULT 0,
    rows_done      bigint NOT NULL DEFAULT 0,
    rows_rejected  bigint NOT NULL DEFAULT 0,
    bytes_total    bigint NOT NULL,
    bytes_done     bigint NOT NULL DEFAULT 0,
    last_error     text,
    PRIMARY KEY (source_schema, family, started_at)
);
COMMENT ON TABLE @extschema@.consolidate_run IS
'runs of consolidate, brought up to date with every commit; consolidate_progress shows the last one of each family';

CREATE TABLE @extschema@.consolidate_target (
    source_schema text NOT NULL,
    family        text NOT NULL,
    indexed       boolean NOT NULL,
    columns       text[],
    PRIMARY KEY (source_schema, family)
);
COMMENT ON TABLE @extschema@.consolidate_target IS
'targets: whether one that consolidate made has its primary key and index yet (built after the first load), and the columns that a family without its own had at the first run';

CREATE TABLE @extschema@.consolidate_guard_schema (
    source_schema text PRIMARY KEY,
    mode          text NOT NULL CHECK (mode IN ('warn', 'block'))
);
COMMENT ON TABLE @extschema@.consolidate_guard_schema IS
'schemas in which new tables of a family are warned of or blocked, see consolidate_guard()';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.consolidate_guard_schema', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.consolidate_family', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.consolidate_source', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.consolidate_problem', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.consolidate_run', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.consolidate_target', '');

CREATE FUNCTION @extschema@.consolidate_define(family text, pattern text, target text, key text[],
    columns text[] DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.consolidate_define(text, text, text, text[], text[]) IS
'define a family: which tables, into which one, with which key
family: its name. pattern: a regular expression for whole table names, with one group, the process id, e.g. ^mi_tmp_(\d+)$. target: a table name without schema; it is made beside the sources. key: columns that identify a row within a process. columns: the target''s columns as "name type" (NULL: those that most sources have).
Errors: 22023 pattern, key or column definition not usable; 42710 defined already, or the target is another family''s; 42602 target with a schema; 42701 a column twice, or one that the target has of its own; 22004 NULL.';

CREATE FUNCTION @extschema@.consolidate_guard(source_schema text, mode text)
    RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.consolidate_guard(text, text) IS
'what happens when somebody makes a table of a family in this schema: off, warn or block
Seen: CREATE TABLE, CREATE TABLE AS, SELECT INTO, LIKE, RENAME, SET SCHEMA, CREATE SCHEMA, IMPORT FOREIGN SCHEMA. warn: a WARNING. block: error 42501. Both say what to do instead. An event trigger does it, which PostgreSQL lets superusers alone make: needed when the first schema is guarded and when the last one is not any more.
Errors: 22023 unknown mode; 3F000 no such schema; 42501 not a superuser.';

CREATE FUNCTION @extschema@.consolidate_guard_trigger()
    RETURNS event_trigger
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.consolidate_guard_trigger() IS
'event trigger function behind consolidate_guard()
Errors: 39P03 called any other way; 42501 a table of a guarded family is made.';

CREATE FUNCTION @extschema@.consolidate_plan(source_schema text, family text,
    OUT table_name text, OUT process_id bigint, OUT row_count bigint, OUT byte_size bigint, OUT problem text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.consolidate_plan(text, text) IS
'dry run: the tables of a family, their rows, bytes, and what keeps each from being consolidated (NULL: ready)
Changes nothing and does not wait: a table in use is reported so. Reads every row, as the run would.
Errors: 3F000 no such schema; 42704 no such family.';

CREATE PROCEDURE @extschema@.consolidate(source_schema text, family text, batch integer DEFAULT 50,
    drop_source boolean DEFAULT true, on_reject text DEFAULT 'stop', lock_wait interval DEFAULT '2s',
    skip_locked boolean DEFAULT true)
    AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.consolidate(text, text, integer, boolean, text, interval, boolean) IS
'move the tables of a family into its target, batch by batch
batch: tables a commit, 1 to 1000 (50 to 100 costs least). drop_source: false keeps the sources. on_reject: what to do with a table that has rows which the target''s key or types refuse: ''stop'' leaves it alone, ''keep'' moves such rows into consolidate_rejected. lock_wait: how long in all to try for tables in use. skip_locked: false makes a table that stays in use an error. Commits on its way; killed, cancelled or crashed, it loses nothing, and calling it again goes on. For the owner of the sources or a superuser. Progress: consolidate_progress, and a NOTICE a second.
Errors: 2D000 inside a transaction block; 55006 the family is being consolidated by another session; 22023 argument out of range; 3F000, 42704 no such schema, family; 55P03 in use (skip_locked => false); 42804, 42703, 23502, 42809, 42501 a target that does not fit or is not to be trusted. What is wrong with one table is no error but a row in consolidate_problem.';

CREATE PROCEDURE @extschema@.consolidate_restore(source_schema text, family text, process_id bigint DEFAULT NULL,
    batch integer DEFAULT 50, force boolean DEFAULT false)
    AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.consolidate_restore(text, text, bigint, integer, boolean) IS
'make the table of one process (process_id NULL: of all) again as it was, with its rows, the rejected ones included
batch: tables a commit, 1 to 60. force: put rows back as they are now even if they have changed since. The rows leave the target. Commits on its way.
Errors: 02000 not consolidated; 42P07 the table exists; 22000 rows changed since (force), or rejected rows missing; 40001 rows changed meanwhile; 42501 somebody who is not to be trusted may write definitions; 2D000 inside a transaction block; 22023 batch out of range. Asked for all, the error of one process is a WARNING and the others go on.';

CREATE FUNCTION @extschema@.consolidate_verify(source_schema text, family text,
    OUT process_id bigint, OUT rows_recorded bigint, OUT checksum_recorded text,
    OUT rows_now bigint, OUT checksum_now text, OUT ok boolean)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.consolidate_verify(text, text) IS
'compare rows and checksum of every consolidated process with what was recorded when it was copied
Reads the whole target. ok is false when the application has changed rows of that process since.
Errors: 3F000 no such schema; 42704 no such family; 42501 no SELECT on the target.';

-- A run whose session is gone still says "running" in its row: the lock tells.
-- A table counts for the ETA as much as 64 kB of rows: that is about what
-- finding, checking and dropping an empty one costs.
-- Both sides of every operator are of types that pg_catalog has it for: one in
-- the extension's schema that fits better would be taken instead.
CREATE VIEW @extschema@.consolidate_progress AS
SELECT r.source_schema, r.family,
       CASE WHEN r.state = 'running' AND l.pid IS NULL THEN 'interrupted' ELSE r.state END AS state,
       l.pid,
       r.tables_total, r.tables_done, r.tables_skipped,
       r.tables_total - r.tables_done - r.tables_skipped AS tables_left,
       r.rows_done, r.rows_rejected,
       CASE WHEN r.bytes_done > 0
            THEN pg_catalog.round((r.bytes_total - r.bytes_done)::numeric
                                  * ((r.rows_done + r.rows_rejected)::numeric / r.bytes_done::numeric))::bigint
            WHEN r.bytes_total = 0 THEN 0 END AS rows_left_estimated,
       pg_catalog.round((r.tables_done::float8 / t.seconds)::numeric, 1) AS tables_per_second,
       pg_catalog.round((r.rows_done::float8 / t.seconds)::numeric, 1) AS rows_per_second,
       CASE WHEN r.state <> 'running' OR l.pid IS NULL THEN NULL
            WHEN w.done > 0 THEN pg_catalog.make_interval(secs => pg_catalog.round((t.seconds * (w.remaining::float8 / w.done::float8))::numeric, 1)::float8)
            END AS eta,
       r.started_at, r.updated_at, r.finished_at, r.last_error,
       (SELECT pg_catalog.jsonb_object_agg(p.source_table, p.problem)
        FROM @extschema@.consolidate_problem p
        WHERE p.source_schema = r.source_schema AND p.family = r.family) AS problems
FROM (SELECT DISTINCT ON (source_schema, family) *
      FROM @extschema@.consolidate_run
      ORDER BY source_schema, family, started_at DESC) r
     CROSS JOIN LATERAL (SELECT greatest(pg_catalog.date_part('epoch', r.updated_at - r.started_at), 0.001) AS seconds) t
     CROSS JOIN LATERAL (SELECT (r.tables_done + r.tables_skipped) * 65536::bigint + r.bytes_done AS done,
                                (r.tables_total - r.tables_done - r.tables_skipped) * 65536::bigint
                                + r.bytes_total - r.bytes_done AS remaining) w
     LEFT JOIN pg_catalog.pg_locks l
       ON l.locktype = 'object' AND l.granted AND l.objsubid = 0
          AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          AND l.classid = '@extschema@.consolidate_run'::regclass::oid AND l.objid::bigint = (r.lock_key::bigint & 4294967295);
COMMENT ON VIEW @extschema@.consolidate_progress IS
'the last run of each family: tables and rows done and left, rate, time left, last error, tables left alone and why';

CREATE VIEW @extschema@.re_accumulation AS
SELECT n.nspname::text AS source_schema, f.family, c.relname::text AS table_name,
       pg_catalog.substring(c.relname::text, f.pattern) AS process_id,
       r.last_run_at
FROM @extschema@.consolidate_family f
     JOIN (SELECT source_schema, family, pg_catalog.max(started_at) AS last_run_at
           FROM @extschema@.consolidate_run GROUP BY source_schema, family) r ON r.family = f.family
     JOIN pg_catalog.pg_namespace n ON n.nspname = r.source_schema
     JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname ~ f.pattern AND c.relname <> f.target
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT EXISTS (SELECT FROM @extschema@.consolidate_problem p
                  WHERE p.source_schema = r.source_schema AND p.family = f.family AND p.source_table = c.relname)
  AND NOT EXISTS (SELECT FROM @extschema@.consolidate_source s
                  WHERE s.source_schema = r.source_schema AND s.family = f.family AND s.source_table = c.relname
                    AND s.state IN ('copied', 'restored'));
COMMENT ON VIEW @extschema@.re_accumulation IS
'tables of consolidated families that have appeared since the last run (not those it left alone, kept or restored)';

REVOKE ALL ON FUNCTION @extschema@.consolidate_define(text, text, text, text[], text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.consolidate_guard(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.consolidate_guard_trigger() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.consolidate_plan(text, text) FROM PUBLIC;
REVOKE ALL ON PROCEDURE @extschema@.consolidate(text, text, integer, boolean, text, interval, boolean) FROM PUBLIC;
REVOKE ALL ON PROCEDURE @extschema@.consolidate_restore(text, text, bigint, integer, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.consolidate_verify(text, text) FROM PUBLIC;


------------------------------------------------------------------------------
-- tariff: block tariffs in JSONB, exact bills
------------------------------------------------------------------------------

-- Costs: above what is cheap, so that WHERE tests that first; those of the
-- functions that say what is wrong below those of the functions that raise it.
CREATE FUNCTION @extschema@.tariff_charge(tariff pg_catalog.jsonb, consumption pg_catalog.numeric)
RETURNS pg_catalog.numeric
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 15;

COMMENT ON FUNCTION @extschema@.tariff_charge(pg_catalog.jsonb, pg_catalog.numeric) IS
'the water charge of a consumption, minimum included, 2 decimals
consumption: m3, 0 or more. Limits are (from, to]; one rounding, half away from zero.
Errors: 22023 invalid tariff (DETAIL: its first faults, with JSON path) or consumption; 22003 consumption beyond a finite last block.';

CREATE FUNCTION @extschema@.tariff_blocks(tariff pg_catalog.jsonb, consumption pg_catalog.numeric)
RETURNS TABLE (
  block pg_catalog.int4, from_m3 pg_catalog.numeric, to_m3 pg_catalog.numeric,
  quantity pg_catalog.numeric, price_per_m3 pg_catalog.numeric,
  fixed_charge pg_catalog.numeric, amount pg_catalog.numeric)
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 30 ROWS 4;

COMMENT ON FUNCTION @extschema@.tariff_blocks(pg_catalog.jsonb, pg_catalog.numeric) IS
'the blocks that a water charge is made of; their unrounded amounts sum to it
quantity, from_m3, to_m3: m3. Errors as tariff_charge.';

CREATE FUNCTION @extschema@.tariff_bill(
  tariff pg_catalog.jsonb, consumption pg_catalog.numeric,
  additional_concepts pg_catalog.jsonb DEFAULT NULL, iva_rate pg_catalog.numeric DEFAULT NULL,
  social_discount_pct pg_catalog.numeric DEFAULT NULL, units_served pg_catalog.int4 DEFAULT 1,
  period_factor pg_catalog.numeric DEFAULT 1)
RETURNS pg_catalog.jsonb
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50;

COMMENT ON FUNCTION @extschema@.tariff_bill(
  pg_catalog.jsonb, pg_catalog.numeric, pg_catalog.jsonb, pg_catalog.numeric,
  pg_catalog.numeric, pg_catalog.int4, pg_catalog.numeric) IS
'a bill: {"lines": [...], "subtotal", "discount", "iva", "total"}
consumption: m3. additional_concepts: in place of the tariff''s own. iva_rate: a fraction (0.16), for lines without one. social_discount_pct: percent (30), reduces the water line. units_served: dwellings that share the meter, 1 or more. period_factor: scales limits, fixed charges and the minimum (2: bimonthly). Order: consumption / units, round, price, x units, minimum, concepts, discount, IVA; one rounding a line.
Errors: 22023 invalid tariff, concepts (DETAIL: JSON path) or argument; 22003 consumption beyond a finite last block, or an argument out of range.';

CREATE FUNCTION @extschema@.tariff_lines(
  tariff pg_catalog.jsonb, consumption pg_catalog.numeric,
  additional_concepts pg_catalog.jsonb DEFAULT NULL, iva_rate pg_catalog.numeric DEFAULT NULL,
  social_discount_pct pg_catalog.numeric DEFAULT NULL, units_served pg_catalog.int4 DEFAULT 1,
  period_factor pg_catalog.numeric DEFAULT 1)
RETURNS TABLE (
  concept_code pg_catalog.text, concept_name pg_catalog.text, quantity pg_catalog.numeric,
  unit_price pg_catalog.numeric, subtotal pg_catalog.numeric, discount pg_catalog.numeric,
  iva_rate pg_catalog.numeric, iva_amount pg_catalog.numeric, total pg_catalog.numeric,
  tariff_detail pg_catalog.jsonb, clave_prod_serv pg_catalog.text,
  clave_unidad pg_catalog.text, sort_order pg_catalog.int4)
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 50 ROWS 3;

COMMENT ON FUNCTION @extschema@.tariff_lines(
  pg_catalog.jsonb, pg_catalog.numeric, pg_catalog.jsonb, pg_catalog.numeric,
  pg_catalog.numeric, pg_catalog.int4, pg_catalog.numeric) IS
'the lines of a bill, ready for INSERT INTO invoice_lines
Arguments, order and errors as tariff_bill. quantity: m3 for water, 1 otherwise. unit_price: 6 decimals; amounts: 2. tariff_detail: how the line came about; clave_prod_serv, clave_unidad: SAT codes.';

CREATE FUNCTION @extschema@.tariff_errors(tariff pg_catalog.jsonb)
RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;

COMMENT ON FUNCTION @extschema@.tariff_errors(pg_catalog.jsonb) IS
'every fault of a tariff with its JSON path; empty when it is valid';

CREATE FUNCTION @extschema@.tariff_is_valid(tariff pg_catalog.jsonb)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;

COMMENT ON FUNCTION @extschema@.tariff_is_valid(pg_catalog.jsonb) IS
'whether a tariff has no faults, for CHECK constraints';


------------------------------------------------------------------------------
-- legacy: converters for what legacy columns hold
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.legacy_bool(val pg_catalog.bpchar) RETURNS pg_catalog.bool
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_bool(pg_catalog.bpchar) IS
'S, Y, X are true; anything else, NULL too, is false';

CREATE FUNCTION @extschema@.legacy_bool_strict(val pg_catalog.text) RETURNS pg_catalog.bool
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_bool_strict(pg_catalog.text) IS
'S, Y, X, 1, T, V are true; N, 0, F false; blank NULL; in any case
Errors: 22P02 anything else, with the value.';

CREATE FUNCTION @extschema@.legacy_money(val pg_catalog.float8) RETURNS pg_catalog.numeric
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_money(pg_catalog.float8) IS
'the amount as numeric(12,2), the same cents that ROUND(val::numeric, 2) gives
Errors: 22003 NaN, infinity or beyond 9999999999.99, with the value.';

CREATE FUNCTION @extschema@.legacy_text(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_text(pg_catalog.text) IS 'the text without surrounding blanks; NULL when nothing is left';

CREATE FUNCTION @extschema@.legacy_gps_to_point(lat pg_catalog.text, lng pg_catalog.text) RETURNS pg_catalog.point
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_gps_to_point(pg_catalog.text, pg_catalog.text) IS
'the place as (lng, lat), degrees; NULL when the texts are not a latitude and a longitude';

CREATE FUNCTION @extschema@.legacy_gps_error(lat pg_catalog.text, lng pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_gps_error(pg_catalog.text, pg_catalog.text) IS 'why the two texts are no usable place: missing, malformed, out of range, zero, swapped; NULL when they are one';

CREATE FUNCTION @extschema@.legacy_rfc(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_rfc(pg_catalog.text) IS
'the RFC in upper case without blanks and hyphens; NULL when empty
Structure, date and check character after SAT''s rules; XAXX010101000 and XEXX010101000 are valid.
Errors: 22P02 with the reason that legacy_rfc_error gives.';

CREATE FUNCTION @extschema@.legacy_rfc_error(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_rfc_error(pg_catalog.text) IS 'why the text is no RFC: wrong length, wrong structure, impossible date, wrong check digit; NULL when it is one or empty';

CREATE FUNCTION @extschema@.legacy_curp(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_curp(pg_catalog.text) IS
'the CURP in upper case without blanks and hyphens; NULL when empty
Structure, date, state and check digit after RENAPO''s rules.
Errors: 22P02 with the reason that legacy_curp_error gives.';

CREATE FUNCTION @extschema@.legacy_curp_error(val pg_catalog.text) RETURNS pg_catalog.text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.legacy_curp_error(pg_catalog.text) IS 'why the text is no CURP: wrong length, wrong structure, impossible date, unknown sex, unknown state, wrong check digit; NULL when it is one or empty';
