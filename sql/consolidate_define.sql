-- Families of one's own, and arguments that are wrong.
SET client_min_messages = warning;
CREATE SCHEMA propio;
RESET client_min_messages;
SELECT consolidate_define('mi_familia', pattern => '^mi_tmp_(\d+)$', target => 'mi_tmp', key => '{cnttnum}');
-- no table tells its columns yet
SELECT * FROM consolidate_plan('propio', 'mi_familia');
CALL consolidate('propio', 'mi_familia');
SELECT to_regclass('propio.mi_tmp');
-- the columns of most tables are the family's
CREATE TABLE propio.mi_tmp_1 (cnttnum integer);
CREATE TABLE propio.mi_tmp_2 (cnttnum integer, nota varchar(10), cuando timestamptz);
CREATE TABLE propio.mi_tmp_3 (nota varchar(20), cnttnum integer, cuando timestamptz);
CREATE TABLE propio.mi_tmp_4 (cnttnum integer, nota varchar(10), cuando timestamptz);
INSERT INTO propio.mi_tmp_2 VALUES (1, 'uno', 'epoch'), (2, NULL, NULL);
INSERT INTO propio.mi_tmp_3 VALUES ('ññññññññññ', 1, NULL), ('demasiado largo', 2, NULL), ('once letras', 3, NULL);
SELECT * FROM consolidate_plan('propio', 'mi_familia');
CALL consolidate('propio', 'mi_familia', on_reject => 'keep');
SELECT proceso_id, cnttnum, nota, cuando IS NULL AS sin FROM propio.mi_tmp ORDER BY 1, 2;
SELECT row_data, reason FROM consolidate_rejected;
-- the same once more is allowed before anything is consolidated, not after
SELECT consolidate_define('mi_familia', '^mi_tmp_(\d+)$', 'mi_tmp', '{nota}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('mi_otra', '^otra_(\d+)$', 'otra', '{x}'), consolidate_define('mi_otra', '^otra_(?:a|b)_(\d+)$', 'otra', '{a b,C}', '{"\"a b\" text","\"C\" numeric(5,1)","\"d\"\"\" date"}');
SELECT family, pattern, target, key_columns, columns FROM consolidate_family WHERE family = 'mi_otra';
-- a key of two columns, of text and numbers
CREATE TABLE propio.otra_a_1 ("a b" text, "C" numeric(5,1), "d""" date);
INSERT INTO propio.otra_a_1 VALUES ('x', 1.0, NULL), ('x', 1, '2024-01-01'), ('x', 2, NULL), ('y', 1, NULL), (NULL, 1, NULL), ('x', NULL, NULL), ('z', 'NaN', NULL), ('z', 'NaN', NULL);
CALL consolidate('propio', 'mi_otra');
CALL consolidate('propio', 'mi_otra', on_reject => 'keep');
SELECT "a b", "C" FROM propio.otra ORDER BY 1, 2;
SELECT row_data, reason FROM consolidate_rejected WHERE family = 'mi_otra' ORDER BY reason, row_data::text;
\d propio.otra

-- definitions that are wrong
SELECT consolidate_define('tmp_deuda', '^x_(\d+)$', 'x', '{x}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', 'x_(\d+)', 'x', '{x}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_\d+$', 'x', '{x}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^(x)_(\d+)$', 'x', '{x}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_((\d+$', 'x', '{x}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)|yx$', 'x', '{x}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^(?:x|y)[]|()]\|\(_(\d+)$', 'x_y', '{x}');
SELECT consolidate_define('f', '^x_(\d+)$', 'mi_tmp', '{x}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a,a}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{proceso_id}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', '', '{a}');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
SELECT consolidate_define('f', '^x_(\d+)$', repeat('x', 64), '{a}');
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'propio.x', '{a}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', NULL, 'x', '{a}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a}', '{a}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a}', '{a integer,"\"\" integer"}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a}', '{a nosuchtype}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a}', '{a integer,A text}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a}', '{a integer,created_at date}');
\echo :LAST_ERROR_SQLSTATE
-- keys that the tables do not have, or that cannot be keys
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a,B}', '{a integer,B text}');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{a}');
CREATE TABLE propio.x_1 (b point);
SELECT * FROM consolidate_plan('propio', 'f');
\echo :LAST_ERROR_SQLSTATE
SELECT consolidate_define('f', '^x_(\d+)$', 'x', '{b}');
CALL consolidate('propio', 'f');
\echo :LAST_ERROR_SQLSTATE

SELECT consolidate_define('g', '^y_(.*)$', 'y', '{a}');
CREATE TABLE propio.y_1 (a integer);
CREATE TABLE propio."y_-5" (a integer);
CREATE TABLE propio.y_abc (a integer);
CREATE TABLE propio.y_ (a integer);
SELECT * FROM consolidate_plan('propio', 'g');
ALTER TABLE propio.y_1 ADD created_at date;
ALTER TABLE propio.y_ ADD created_at date;
ALTER TABLE propio.y_abc ADD created_at date;
SELECT * FROM consolidate_plan('propio', 'g');
\echo :LAST_ERROR_SQLSTATE
-- only views and a table without columns
SELECT consolidate_define('h', '^z_(\d+)$', 'z', '{a}');
CREATE VIEW propio.z_1 AS SELECT 1 AS a;
CREATE TABLE propio.z_2 ();
SELECT * FROM consolidate_plan('propio', 'h');
CALL consolidate('propio', 'h');
SELECT tables_total, tables_skipped, tables_left, problems FROM consolidate_progress WHERE family = 'h';

-- calls that are wrong
CALL consolidate('no_such', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
CALL consolidate('propio', 'no_such');
\echo :LAST_ERROR_SQLSTATE
CALL consolidate('propio', NULL);
\echo :LAST_ERROR_SQLSTATE
CALL consolidate('propio', 'tmp_deuda', batch => 0);
\echo :LAST_ERROR_SQLSTATE
CALL consolidate('propio', 'tmp_deuda', on_reject => 'drop');
\echo :LAST_ERROR_SQLSTATE
CALL consolidate('propio', 'tmp_deuda', lock_wait => '-1s');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
CALL consolidate('propio', 'tmp_deuda');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
DO $$ BEGIN BEGIN CALL consolidate('propio', 'tmp_deuda'); EXCEPTION WHEN division_by_zero THEN NULL; END; END $$;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM consolidate_verify('propio', 'no_such');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM consolidate_verify('propio', 'tmp_deuda');

-- in a session whose transactions are read only: no; or see an old snapshot: yes
CREATE TABLE propio.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO propio.tmp_deuda_1 VALUES (1, 1, 1, 1);
SET default_transaction_read_only = on;
\set VERBOSITY sqlstate
CALL consolidate('propio', 'tmp_deuda');
\set VERBOSITY default
RESET default_transaction_read_only;
SET default_transaction_isolation = serializable;
CALL consolidate('propio', 'tmp_deuda', batch => 1, lock_wait => '0');
RESET default_transaction_isolation;
SELECT proceso_id FROM propio.tmp_deuda;
-- from a DO block, where transaction control is allowed
CREATE TABLE propio.tmp_deuda_2 (LIKE propio.tmp_deuda INCLUDING ALL);
DROP TABLE propio.tmp_deuda_2;
CREATE TABLE propio.tmp_deuda_2 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
DO $$ BEGIN CALL consolidate('propio', 'tmp_deuda'); END $$;
SELECT to_regclass('propio.tmp_deuda_2');

SET client_min_messages = warning;
DROP SCHEMA propio CASCADE;
CALL forget_consolidation();
