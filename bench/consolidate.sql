-- A database with :tables tables of the family tmp_deuda, every :every-th with
-- :rows rows, and what has to be in the target at the end.
SET client_min_messages = warning;
CREATE EXTENSION aquacis;
CREATE SCHEMA cf_quere_pro;
SELECT format('CREATE TABLE cf_quere_pro.tmp_deuda_%s (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)', 1000000 + i)
FROM generate_series(1, :tables) i \gexec
SELECT format('INSERT INTO cf_quere_pro.tmp_deuda_%s SELECT g * 1.25, g %% 9, 1, 100000 + g FROM generate_series(1, %s) g', 1000000 + i, :rows)
FROM generate_series(:every, :tables, :every) i \gexec
CREATE TABLE expected AS SELECT :rows * (:tables / :every)::bigint AS rows, (:tables / :every) * (SELECT sum(g * 1.25)::numeric(18,2) FROM generate_series(1, :rows) g) AS importe, 0 AS left;
CHECKPOINT;
