-- A database with :tables tables of the family tmp_deuda, every fourth with
-- 1,000 rows, and the plan's own two scripts as functions.
SET client_min_messages = warning;
CREATE EXTENSION aquacis;
CREATE SCHEMA cf_quere_pro;
SELECT format('CREATE TABLE cf_quere_pro.tmp_deuda_%s (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)', 1000000 + i)
FROM generate_series(1, :tables) i \gexec
SELECT format('INSERT INTO cf_quere_pro.tmp_deuda_%s SELECT g * 1.25, g %% 9, 1, 100000 + g FROM generate_series(1, 1000) g', 1000000 + i)
FROM generate_series(4, :tables, 4) i \gexec
CREATE TABLE expected AS SELECT 1000 * (:tables / 4)::bigint AS rows, (:tables / 4) * (SELECT sum(g * 1.25)::numeric(18,2) FROM generate_series(1, 1000) g) AS importe, 0 AS left;

CREATE FUNCTION make_target() RETURNS void LANGUAGE sql AS $$
	CREATE TABLE cf_quere_pro.tmp_deuda (proceso_id bigint NOT NULL, importe numeric(18,2), numfacturas numeric(10), facsocemi numeric(10),
		faccnttnum numeric(10), created_at timestamp DEFAULT now());
	CREATE INDEX idx_tmp_deuda_proceso ON cf_quere_pro.tmp_deuda (proceso_id);
$$;
CREATE FUNCTION copy_all() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT tablename FROM pg_tables WHERE schemaname = 'cf_quere_pro' AND tablename ~ '^tmp_deuda_\d+$' LOOP
		EXECUTE format('INSERT INTO cf_quere_pro.tmp_deuda (proceso_id, importe, numfacturas, facsocemi, faccnttnum)
			SELECT %s, importe, numfacturas, facsocemi, faccnttnum FROM cf_quere_pro.%I', substring(r.tablename FROM 'tmp_deuda_(\d+)')::bigint, r.tablename);
	END LOOP;
END$$;
CREATE FUNCTION drop_all() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT table_name FROM information_schema.tables WHERE table_schema = 'cf_quere_pro' AND table_name ~ '^tmp_deuda_\d+' ORDER BY table_name LOOP
		EXECUTE format('DROP TABLE IF EXISTS cf_quere_pro.%I CASCADE', name);
	END LOOP;
END$$;
CHECKPOINT;
