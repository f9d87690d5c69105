-- Targets that are there already: used as they are, or refused with a reason.
SET client_min_messages = warning;
CREATE SCHEMA destino;
CREATE FUNCTION destino.make(process text, rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE destino.tmp_deuda_%s (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)', process);
  EXECUTE format('INSERT INTO destino.tmp_deuda_%s SELECT g, g, g, g FROM generate_series(1, %s) g', process, rows);
END $$;
-- what a run leaves, and away with it
CREATE FUNCTION destino.look(OUT rows bigint, OUT sum numeric, OUT processes bigint, OUT verified boolean) LANGUAGE plpgsql AS $$
BEGIN
  SELECT count(*), sum(importe), count(DISTINCT proceso_id) INTO rows, sum, processes FROM destino.tmp_deuda;
  SELECT bool_and(ok) INTO verified FROM consolidate_verify('destino', 'tmp_deuda');
  DROP TABLE destino.tmp_deuda CASCADE;
  DELETE FROM consolidate_source;
END $$;
RESET client_min_messages;

-- the modernisation plan's DDL: numeric(10,0) for integers, its own index
CREATE TABLE destino.tmp_deuda (
    proceso_id  BIGINT       NOT NULL,
    importe     NUMERIC(18,2),
    numfacturas NUMERIC(10,0),
    facsocemi   NUMERIC(10,0),
    faccnttnum  NUMERIC(10,0),
    created_at  TIMESTAMPTZ  NOT NULL DEFAULT now(),
    CONSTRAINT pk_tmp_deuda PRIMARY KEY (proceso_id, faccnttnum)
);
CREATE INDEX idx_tmp_deuda_proceso ON destino.tmp_deuda (proceso_id);
SELECT destino.make('1', 3), destino.make('2', 3000);
INSERT INTO destino.tmp_deuda_1 VALUES (NULL, 2147483647, -2147483648, -5);
CALL consolidate('destino', 'tmp_deuda');
SELECT * FROM destino.tmp_deuda WHERE proceso_id = 1 AND created_at IS NULL;
SELECT importe, numfacturas, facsocemi, faccnttnum FROM destino.tmp_deuda WHERE proceso_id = 1 ORDER BY faccnttnum;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT count(*) FROM destino.tmp_deuda WHERE proceso_id = 2 AND faccnttnum = 7;
SELECT count(*) FROM destino.tmp_deuda WHERE proceso_id = 2 AND faccnttnum = 7;
RESET enable_seqscan;
CALL consolidate_restore('destino', 'tmp_deuda', 1);
SELECT * FROM destino.tmp_deuda_1 ORDER BY faccnttnum;
CALL consolidate('destino', 'tmp_deuda');
SELECT * FROM destino.look();

-- columns in another order, dropped columns, more columns with defaults
CREATE TABLE destino.tmp_deuda (sobra int, faccnttnum integer NOT NULL, origen text DEFAULT 'lote', importe numeric(18,2), otra text,
  numfacturas integer NOT NULL, proceso_id bigint, facsocemi bigint, PRIMARY KEY (faccnttnum, proceso_id));
ALTER TABLE destino.tmp_deuda DROP sobra;
SELECT destino.make('1', 3);
INSERT INTO destino.tmp_deuda_1 VALUES (1, NULL, 1, 9);
CALL consolidate('destino', 'tmp_deuda', on_reject => 'keep');
SELECT * FROM destino.tmp_deuda ORDER BY faccnttnum;
SELECT row_data, reason FROM consolidate_rejected;
SELECT * FROM destino.look();

-- a serial column and a trigger: through the executor
CREATE TABLE destino.tmp_deuda (n serial, proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer,
  doble numeric GENERATED ALWAYS AS (importe * 2) STORED, CHECK (importe < 1000), PRIMARY KEY (proceso_id, faccnttnum));
CREATE TABLE destino.diario (p bigint, k integer);
CREATE FUNCTION destino.anota() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO destino.diario VALUES (NEW.proceso_id, NEW.faccnttnum); RETURN NEW; END';
CREATE TRIGGER t AFTER INSERT ON destino.tmp_deuda FOR EACH ROW EXECUTE FUNCTION destino.anota();
SELECT destino.make('1', 3), destino.make('2', 2), destino.make('3', 1), destino.make('4', 0);
INSERT INTO destino.tmp_deuda_1 VALUES (5, 5, 5, NULL), (6, 6, 6, 6), (7, 7, 7, 6);
-- ... which one table violates: it alone stays
INSERT INTO destino.tmp_deuda_2 VALUES (5000, 5, 5, 7);
CALL consolidate('destino', 'tmp_deuda', on_reject => 'keep');
SELECT * FROM destino.tmp_deuda ORDER BY proceso_id, faccnttnum;
SELECT count(*) FROM destino.diario;
SELECT count(*) FROM destino.tmp_deuda_2;
SELECT tables_done, tables_skipped, last_error FROM consolidate_progress;
DROP TABLE destino.tmp_deuda_2;
-- a trigger that swallows rows is found out
CREATE FUNCTION destino.traga() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.faccnttnum = 2 THEN RETURN NULL; END IF; RETURN NEW; END';
CREATE TRIGGER u BEFORE INSERT ON destino.tmp_deuda FOR EACH ROW EXECUTE FUNCTION destino.traga();
SELECT destino.make('5', 3);
CALL consolidate('destino', 'tmp_deuda');
SELECT count(*) FROM destino.tmp_deuda_5;
DROP TABLE destino.tmp_deuda_5;
SELECT * FROM destino.look();

-- partitioned; a process without a partition stays
CREATE TABLE destino.tmp_deuda (LIKE destino.diario, proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer,
  PRIMARY KEY (proceso_id, faccnttnum)) PARTITION BY RANGE (proceso_id);
CREATE TABLE destino.p0 PARTITION OF destino.tmp_deuda FOR VALUES FROM (0) TO (10);
CREATE TABLE destino.p1 PARTITION OF destino.tmp_deuda FOR VALUES FROM (10) TO (20);
SELECT destino.make('1', 3), destino.make('11', 4), destino.make('21', 5);
CALL consolidate('destino', 'tmp_deuda');
SELECT tableoid::regclass, count(*) FROM destino.tmp_deuda GROUP BY 1 ORDER BY 1;
DROP TABLE destino.tmp_deuda_21;
SELECT * FROM destino.look();

-- rows that a failed script left behind: the same ones are not copied twice, others are refused
CREATE TABLE destino.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer, PRIMARY KEY (proceso_id, faccnttnum));
SELECT destino.make('1', 3), destino.make('2', 3), destino.make('3', 3);
INSERT INTO destino.tmp_deuda SELECT 1, * FROM destino.tmp_deuda_1 UNION ALL SELECT 2, * FROM destino.tmp_deuda_2;
UPDATE destino.tmp_deuda SET importe = 0 WHERE proceso_id = 2 AND faccnttnum = 1;
SELECT table_name, row_count, problem FROM consolidate_plan('destino', 'tmp_deuda');
CALL consolidate('destino', 'tmp_deuda');
SELECT proceso_id, count(*) FROM destino.tmp_deuda GROUP BY 1 ORDER BY 1;
DROP TABLE destino.tmp_deuda_2;
SELECT * FROM destino.look();

-- an index of the target's own refuses a row when many are waiting: those tables alone stay
CREATE TABLE destino.tmp_deuda (proceso_id bigint, importe numeric(18,2) UNIQUE, numfacturas integer, facsocemi integer, faccnttnum integer);
SELECT destino.make('1', 3), destino.make('2', 3), destino.make('3', 3), destino.make('4', 3);
UPDATE destino.tmp_deuda_2 SET importe = importe + 20;
UPDATE destino.tmp_deuda_4 SET importe = importe + 40;
INSERT INTO destino.tmp_deuda VALUES (99, 2, 0, 0, 0);
CALL consolidate('destino', 'tmp_deuda');
SELECT proceso_id, count(*), sum(importe) FROM destino.tmp_deuda GROUP BY 1 ORDER BY 1;
DROP TABLE destino.tmp_deuda_1, destino.tmp_deuda_3;
SELECT * FROM destino.look();

-- a target that is altered between two batches: the rest has to be called again; rows that go away are not in the way
CREATE TABLE destino.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
SELECT destino.make('1', 3), destino.make('2', 3), destino.make('3', 3), destino.make('4', 3), destino.make('5', 3);
INSERT INTO destino.tmp_deuda VALUES (4, 9, 9, 9, 9);
CREATE FUNCTION destino.altera() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_identity = 'destino.tmp_deuda_1') THEN
    ALTER TABLE destino.tmp_deuda ALTER facsocemi TYPE bigint;
  ELSIF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_identity = 'destino.tmp_deuda_2') THEN
    ALTER TABLE destino.tmp_deuda DROP importe, ADD importe numeric(18,2) DEFAULT 7;
  ELSIF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_identity = 'destino.tmp_deuda_3') THEN
    DELETE FROM destino.tmp_deuda WHERE proceso_id = 4;
  ELSIF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_identity = 'destino.tmp_deuda_4') THEN
    ALTER TABLE destino.tmp_deuda RENAME TO de_antes;
    CREATE TABLE destino.tmp_deuda (LIKE destino.de_antes);
  END IF;
END $$;
CREATE EVENT TRIGGER altera ON sql_drop EXECUTE FUNCTION destino.altera();
CALL consolidate('destino', 'tmp_deuda', batch => 1);
CALL consolidate('destino', 'tmp_deuda', batch => 1);
CALL consolidate('destino', 'tmp_deuda', batch => 1);
CALL consolidate('destino', 'tmp_deuda', batch => 1);
DROP EVENT TRIGGER altera;
SELECT proceso_id, count(*), sum(importe), sum(facsocemi) FROM destino.de_antes GROUP BY 1 ORDER BY 1;
SELECT proceso_id, count(*), sum(importe), sum(facsocemi) FROM destino.tmp_deuda GROUP BY 1 ORDER BY 1;
DROP TABLE destino.tmp_deuda, destino.de_antes;
DELETE FROM consolidate_source;

-- targets that do not fit
SELECT destino.make('1', 3);
\set call 'CALL consolidate(\'destino\', \'tmp_deuda\');'
CREATE TABLE destino.tmp_deuda (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
:call
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM consolidate_plan('destino', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE destino.tmp_deuda ADD proceso_id integer;
:call
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE destino.tmp_deuda ALTER proceso_id TYPE bigint, DROP facsocemi;
:call
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE destino.tmp_deuda ADD facsocemi date;
:call
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE destino.tmp_deuda DROP facsocemi, ADD facsocemi integer, ADD obligada text NOT NULL;
:call
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE destino.tmp_deuda DROP obligada, ADD UNIQUE (proceso_id, faccnttnum) DEFERRABLE;
:call
SELECT count(*) FROM destino.tmp_deuda_1;
DROP TABLE destino.tmp_deuda;
CREATE SEQUENCE destino.tmp_deuda;
:call
\echo :LAST_ERROR_SQLSTATE
DROP SEQUENCE destino.tmp_deuda;
CREATE MATERIALIZED VIEW destino.tmp_deuda AS SELECT 1::bigint AS proceso_id, 1::numeric(18,2) AS importe, 1 AS numfacturas, 1 AS facsocemi, 1 AS faccnttnum;
\set VERBOSITY terse
:call
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
DROP MATERIALIZED VIEW destino.tmp_deuda;

-- names that the target's key and index would have are taken
CREATE TABLE destino.pk_tmp_deuda ();
CREATE TABLE destino.idx_tmp_deuda_faccnttnum ();
:call
SELECT indexdef FROM pg_indexes WHERE schemaname = 'destino' AND tablename = 'tmp_deuda' ORDER BY indexname;

-- a target that still owes its key, and rows that others put there meanwhile
SELECT destino.make('1', 3);
ALTER TABLE destino.tmp_deuda DROP CONSTRAINT tmp_deuda_pkey;
UPDATE consolidate_target SET indexed = false;
INSERT INTO destino.tmp_deuda (proceso_id, faccnttnum) VALUES (99, 1), (99, 1);
:call
\echo :LAST_ERROR_SQLSTATE
SELECT state, tables_done, last_error FROM consolidate_progress;
DELETE FROM destino.tmp_deuda WHERE proceso_id = 99;
:call
SELECT state, tables_done, last_error FROM consolidate_progress;
SELECT indisunique, indisprimary FROM pg_index WHERE indrelid = 'destino.tmp_deuda'::regclass ORDER BY 1;

-- the key that is owed may be there already, made by hand; so may an index for the other
UPDATE consolidate_target SET indexed = false;
:call
DROP INDEX destino.tmp_deuda_faccnttnum_idx;
CREATE INDEX a_mano ON destino.tmp_deuda (faccnttnum, importe) WHERE importe > 0;
UPDATE consolidate_target SET indexed = false;
:call
SELECT indexdef FROM pg_indexes WHERE schemaname = 'destino' AND tablename = 'tmp_deuda' ORDER BY indexname;
DROP TABLE destino.tmp_deuda;
DELETE FROM consolidate_source;

-- a crash must not empty the target
CREATE UNLOGGED TABLE destino.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
SELECT destino.make('1', 3);
:call
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM consolidate_plan('destino', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE destino.tmp_deuda SET LOGGED;
CREATE UNLOGGED TABLE destino.hija () INHERITS (destino.tmp_deuda);
:call
DROP TABLE destino.hija;
-- rows of no process are none of process 0
INSERT INTO destino.tmp_deuda VALUES (NULL, 1, 1, 1, 1);
SELECT destino.make('0', 0);
:call
SELECT process_id, rows_now, ok FROM consolidate_verify('destino', 'tmp_deuda');
DROP TABLE destino.tmp_deuda;
DELETE FROM consolidate_source;
-- a default that gives null where null may not be
CREATE TABLE destino.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer,
  obligada text NOT NULL DEFAULT current_setting('no.such', true));
SELECT destino.make('1', 3);
:call
SELECT count(*) FROM destino.tmp_deuda;
DROP TABLE destino.tmp_deuda;
-- identity columns take what the sources have, with and without the executor
CREATE TABLE destino.tmp_deuda (proceso_id bigint GENERATED ALWAYS AS IDENTITY, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
:call
SELECT destino.make('2', 3);
ALTER TABLE destino.tmp_deuda ADD CHECK (importe > 0);
:call
SELECT proceso_id, count(*) FROM destino.tmp_deuda GROUP BY 1 ORDER BY 1;
DROP TABLE destino.tmp_deuda;
DELETE FROM consolidate_source;
-- a generated column that is not stored, where the server has them
SELECT CASE WHEN current_setting('server_version_num')::integer < 180000 THEN 'STORED' ELSE 'VIRTUAL' END AS kind \gset
CREATE TABLE destino.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer,
  doble numeric GENERATED ALWAYS AS (importe * 2) :kind);
SELECT destino.make('1', 2);
:call
SELECT * FROM destino.tmp_deuda ORDER BY faccnttnum;
DROP TABLE destino.tmp_deuda;
DELETE FROM consolidate_source;
-- constraints that wait for the commit: the table at fault is left alone, and the others go on
CREATE TABLE destino.contrato (cnttnum integer PRIMARY KEY);
INSERT INTO destino.contrato SELECT generate_series(1, 3);
CREATE TABLE destino.tmp_deuda (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer
    REFERENCES destino.contrato DEFERRABLE INITIALLY DEFERRED,
  PRIMARY KEY (proceso_id, faccnttnum) DEFERRABLE INITIALLY DEFERRED);
SELECT destino.make('1', 3), destino.make('2', 4), destino.make('3', 2);
:call
SELECT proceso_id, count(*) FROM destino.tmp_deuda GROUP BY 1 ORDER BY 1;
SELECT state, tables_done, tables_skipped FROM consolidate_run ORDER BY started_at DESC LIMIT 1;
-- and so on the way back
ALTER TABLE destino.tmp_deuda DROP CONSTRAINT tmp_deuda_pkey, ADD PRIMARY KEY (proceso_id, faccnttnum);
CREATE TABLE destino.pago (proceso_id bigint, faccnttnum integer,
  FOREIGN KEY (proceso_id, faccnttnum) REFERENCES destino.tmp_deuda DEFERRABLE INITIALLY DEFERRED);
INSERT INTO destino.pago VALUES (1, 2);
CALL consolidate_restore('destino', 'tmp_deuda');
SELECT proceso_id, count(*) FROM destino.tmp_deuda GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM destino.tmp_deuda_3;
-- of one process the error is the call's
CALL consolidate_restore('destino', 'tmp_deuda', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT to_regclass('destino.tmp_deuda_1');

SET client_min_messages = warning;
DROP SCHEMA destino CASCADE;
CALL forget_consolidation();
