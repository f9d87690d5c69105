-- What CALL consolidate is measured against: the modernisation plan's scripts
-- for tmp_deuda, as functions.  One creates the target with its primary key and
-- one more index, one copies everything, one drops everything; each is one
-- statement, so one transaction, as the plan's DO blocks are.
CREATE SCHEMA replaced_by;

-- indexed: proceso_id, as the plan has it; or faccnttnum, as consolidate makes it.
CREATE FUNCTION replaced_by.make_target(schema name, indexed name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I.tmp_deuda (
		proceso_id bigint NOT NULL, importe numeric(18,2), numfacturas numeric(10,0), facsocemi numeric(10,0),
		faccnttnum numeric(10,0), created_at timestamptz NOT NULL DEFAULT now(),
		CONSTRAINT pk_tmp_deuda PRIMARY KEY (proceso_id, faccnttnum))', schema);
	EXECUTE format('CREATE INDEX ON %I.tmp_deuda (%I)', schema, indexed);
END$$;

CREATE FUNCTION replaced_by.copy_all(schema name) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT tablename FROM pg_tables WHERE schemaname = schema AND tablename ~ '^tmp_deuda_\d+$' LOOP
		EXECUTE format('INSERT INTO %I.tmp_deuda (proceso_id, importe, numfacturas, facsocemi, faccnttnum)
			SELECT %s, importe, numfacturas, facsocemi, faccnttnum FROM %I.%I',
			schema, substring(r.tablename FROM 'tmp_deuda_(\d+)')::bigint, schema, r.tablename);
	END LOOP;
END$$;

CREATE FUNCTION replaced_by.drop_all(schema name) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT table_name FROM information_schema.tables WHERE table_schema = schema AND table_name ~ '^tmp_deuda_\d+' ORDER BY table_name LOOP
		EXECUTE format('DROP TABLE IF EXISTS %I.%I CASCADE', schema, name);
	END LOOP;
END$$;
