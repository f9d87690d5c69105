/* aquacis--1.0.sql: the whole SQL interface, in the order of src/ */

-- complain if the script is sourced in psql
\echo Use "CREATE EXTENSION aquacis" to load this file. \quit

------------------------------------------------------------------------------
-- audit: a JSONB diff trigger and its partitioned log
------------------------------------------------------------------------------


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
    PRIMARY KEY (source_schema, family)
);
COMMENT ON TABLE @extschema@.consolidate_target IS
'targets that consolidate made, and whether they have their primary key and index yet (built after the first load)';

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
'defines a family: a pattern with one group for the process id, the target table, the key within a process';

CREATE FUNCTION @extschema@.consolidate_guard(source_schema text, mode text)
    RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.consolidate_guard(text, text) IS
'what happens when somebody makes a table of a family in this schema: off, warn or block (an event trigger: superusers)';

CREATE FUNCTION @extschema@.consolidate_guard_trigger()
    RETURNS event_trigger
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.consolidate_guard_trigger() IS
'event trigger function behind consolidate_guard()';

CREATE FUNCTION @extschema@.consolidate_plan(source_schema text, family text,
    OUT table_name text, OUT process_id bigint, OUT row_count bigint, OUT byte_size bigint, OUT problem text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.consolidate_plan(text, text) IS
'dry run: the tables of a family, their rows and bytes, and what keeps each from being consolidated (NULL: ready)';

CREATE PROCEDURE @extschema@.consolidate(source_schema text, family text, batch integer DEFAULT 50,
    drop_source boolean DEFAULT true, on_reject text DEFAULT 'stop', lock_wait interval DEFAULT '2s',
    skip_locked boolean DEFAULT true)
    AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.consolidate(text, text, integer, boolean, text, interval, boolean) IS
'moves the tables of a family into its target, batch by batch; commits on its way, resumes by being called again';

CREATE PROCEDURE @extschema@.consolidate_restore(source_schema text, family text, process_id bigint DEFAULT NULL,
    batch integer DEFAULT 50, force boolean DEFAULT false)
    AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.consolidate_restore(text, text, bigint, integer, boolean) IS
'makes the table of one process (or of all) again, with its rows, the rejected ones included';

CREATE FUNCTION @extschema@.consolidate_verify(source_schema text, family text,
    OUT process_id bigint, OUT rows_recorded bigint, OUT checksum_recorded text,
    OUT rows_now bigint, OUT checksum_now text, OUT ok boolean)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.consolidate_verify(text, text) IS
'reads the target and compares rows and checksum of every consolidated process with what was recorded';

-- A run whose session is gone still says "running" in its row: the lock tells.
-- A table counts for the ETA as much as 64 kB of rows: that is about what
-- finding, checking and dropping an empty one costs.
CREATE VIEW @extschema@.consolidate_progress AS
SELECT r.source_schema, r.family,
       CASE WHEN r.state = 'running' AND l.pid IS NULL THEN 'interrupted' ELSE r.state END AS state,
       l.pid,
       r.tables_total, r.tables_done, r.tables_skipped,
       r.tables_total - r.tables_done - r.tables_skipped AS tables_left,
       r.rows_done, r.rows_rejected,
       CASE WHEN r.bytes_done > 0
            THEN pg_catalog.round((r.bytes_total - r.bytes_done) * ((r.rows_done + r.rows_rejected)::numeric / r.bytes_done))::bigint
            WHEN r.bytes_total = 0 THEN 0 END AS rows_left_estimated,
       pg_catalog.round((r.tables_done / t.seconds)::numeric, 1) AS tables_per_second,
       pg_catalog.round((r.rows_done / t.seconds)::numeric, 1) AS rows_per_second,
       CASE WHEN r.state <> 'running' OR l.pid IS NULL THEN NULL
            WHEN w.done > 0 THEN pg_catalog.make_interval(secs => pg_catalog.round((t.seconds * w.remaining / w.done)::numeric, 1)::float8)
            END AS eta,
       r.started_at, r.updated_at, r.finished_at, r.last_error,
       (SELECT pg_catalog.jsonb_object_agg(p.source_table, p.problem)
        FROM @extschema@.consolidate_problem p
        WHERE p.source_schema = r.source_schema AND p.family = r.family) AS problems
FROM (SELECT DISTINCT ON (source_schema, family) *
      FROM @extschema@.consolidate_run
      ORDER BY source_schema, family, started_at DESC) r
     CROSS JOIN LATERAL (SELECT greatest(pg_catalog.date_part('epoch', r.updated_at - r.started_at), 0.001) AS seconds) t
     CROSS JOIN LATERAL (SELECT (r.tables_done + r.tables_skipped) * 65536.0 + r.bytes_done AS done,
                                (r.tables_total - r.tables_done - r.tables_skipped) * 65536.0
                                + r.bytes_total - r.bytes_done AS remaining) w
     LEFT JOIN pg_catalog.pg_locks l
       ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
          AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          AND l.classid = 1634825571 AND l.objid::bigint = (r.lock_key::bigint & 4294967295);
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


------------------------------------------------------------------------------
-- legacy: converters for what legacy columns hold
------------------------------------------------------------------------------

