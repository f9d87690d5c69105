-- The alternative that CALL consolidate is measured against: the DO blocks of
-- the modernisation plan, which copy everything and then drop everything, each
-- in one transaction.  :schema is where the tables are.
CREATE TABLE :"schema".tmp_deuda (
    proceso_id  BIGINT       NOT NULL,
    importe     NUMERIC(18,2),
    numfacturas NUMERIC(10,0),
    facsocemi   NUMERIC(10,0),
    faccnttnum  NUMERIC(10,0),
    created_at  TIMESTAMPTZ  NOT NULL DEFAULT now(),
    CONSTRAINT pk_tmp_deuda PRIMARY KEY (proceso_id, faccnttnum)
);
CREATE INDEX ON :"schema".tmp_deuda (:"indexed");
SELECT set_config('bench.schema', :'schema', false);
DO $$
DECLARE r RECORD; proc_id BIGINT;
BEGIN
  FOR r IN SELECT tablename FROM pg_tables
           WHERE schemaname = current_setting('bench.schema') AND tablename ~ '^tmp_deuda_\d+$'
  LOOP
    proc_id := substring(r.tablename from 'tmp_deuda_(\d+)')::BIGINT;
    EXECUTE format('INSERT INTO %I.tmp_deuda (proceso_id, importe, numfacturas, facsocemi, faccnttnum)
      SELECT %s, importe, numfacturas, facsocemi, faccnttnum FROM %I.%I',
      current_setting('bench.schema'), proc_id, current_setting('bench.schema'), r.tablename);
  END LOOP;
END $$;
DO $$
DECLARE tbl_name TEXT;
BEGIN
  FOR tbl_name IN
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = current_setting('bench.schema') AND table_name ~ '^tmp_deuda_\d+' ORDER BY table_name
  LOOP
    EXECUTE format('DROP TABLE IF EXISTS %I.%I CASCADE', current_setting('bench.schema'), tbl_name);
  END LOOP;
END $$;
