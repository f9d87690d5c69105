-- A database with :tables tables of the family tmp_deuda, every fourth with
-- 1,000 rows, and what is to be in the target in the end.
SET client_min_messages = warning;
CREATE EXTENSION aquacis;
CREATE SCHEMA cf_quere_pro;
SELECT format('CREATE TABLE cf_quere_pro.tmp_deuda_%s (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)', 1000000 + i)
FROM generate_series(1, :tables) i \gexec
SELECT format('INSERT INTO cf_quere_pro.tmp_deuda_%s SELECT g * 1.25, g %% 9, 1, 100000 + g FROM generate_series(1, 1000) g', 1000000 + i)
FROM generate_series(4, :tables, 4) i \gexec
CREATE TABLE expected AS SELECT 1000 * (:tables / 4)::bigint AS rows, (:tables / 4) * (SELECT sum(g * 1.25)::numeric(18,2) FROM generate_series(1, 1000) g) AS importe, 0 AS left;
CHECKPOINT;
