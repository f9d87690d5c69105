# A table that has everything a table can have comes back as it was: pg_dump
# writes the same of it before and after, schema and rows, whatever the settings
# of the sessions that consolidate and restore.  And the checksums of values
# that are OIDs inside outlive a dump and restore.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
my ($major) = $node->safe_psql('postgres', 'SHOW server_version') =~ /^(\d+)/;
my $nulls = $major >= 15 ? 'NULLS NOT DISTINCT' : '';
my $space = $node->basedir . '/space';
mkdir $space or die $!;
$node->safe_psql('postgres', "CREATE TABLESPACE aparte LOCATION '$space'");

my $columns = <<'SQL';
	k integer, t text COLLATE z.orden, v varchar(20), c char(5), n numeric(12,3), s smallint, d date,
	ts timestamptz(3), j jsonb, js json, b bytea, a integer[], e z.estado, ea z.estado[], dom z.positivo, de z.alta,
	r int4range, f float8, g real, p point, m money, iv interval day to second(2), bi bit(5), u uuid, x xml,
	ip inet, ct z.par, rc regclass, tv tsvector
SQL
my $values = <<'SQL';
	'ñ\' || i, 'v', 'c', i / 8.0, i, '2024-02-01', '2024-02-01 10:00:00.123-06', '{"a": [1.50, null]}', '{"b" : 1, "b":2}',
	'\xdead00', ARRAY[i, NULL], 'baja', '{alta,NULL,baja}', i, 'alta', int4range(i, i + 1), 1 / 3.0::float8, 0.1, point(0.1 + 0.2, -0.0),
	i::money / 7, '-1 day 02:03:04.25', '10101', '00000000-0000-0000-0000-000000000001', '<a>1</a><b/>', '10.0.0.1/8',
	ROW('2024-02-01', '(1,2)', '1 mon -1 day')::z.par, 'z.otra', 'gato:1A perro:2'
SQL
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION aquacis;
CREATE ROLE dueno;
CREATE ROLE app;
CREATE ROLE lector;
CREATE SCHEMA z;
GRANT USAGE, CREATE ON SCHEMA z TO dueno;
GRANT CREATE ON TABLESPACE aparte TO dueno;
CREATE COLLATION z.orden FROM "C";
CREATE TYPE z.estado AS ENUM ('alta', 'baja');
CREATE DOMAIN z.positivo AS integer CHECK (VALUE > 0);
CREATE DOMAIN z.alta AS z.estado CHECK (VALUE <> 'baja');
CREATE TYPE z.par AS (d date, p point, i interval);
CREATE SEQUENCE z.numera;
CREATE TABLE z.otra (x integer);
-- as much as there is
CREATE TABLE z.todo_1 ($columns) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 77,
	user_catalog_table = false);
ALTER TABLE z.todo_1
	ALTER k SET NOT NULL, ALTER k SET DEFAULT nextval('z.numera'), ALTER t SET DEFAULT 'a\\b''c', ALTER d SET DEFAULT '2024-02-01',
	ALTER ts SET DEFAULT '2024-02-01 10:00-06', ALTER iv SET DEFAULT '-1 day 02:03:04', ALTER f SET DEFAULT 0.1::float8 + 1e-300,
	ALTER b SET DEFAULT '\\xdead', ALTER e SET DEFAULT 'alta', ALTER a SET DEFAULT '{1,NULL}', ALTER m SET DEFAULT 1.50,
	ALTER t SET STORAGE EXTERNAL, ALTER j SET STORAGE MAIN, ALTER v SET COMPRESSION pglz, ALTER n SET STATISTICS 345,
	ALTER d SET STATISTICS 0, ALTER s SET (n_distinct = -0.5, n_distinct_inherited = 7),
	ADD CONSTRAINT "La Llave" PRIMARY KEY (k) INCLUDE (d) WITH (fillfactor = 80) USING INDEX TABLESPACE aparte,
	ADD CONSTRAINT diferida UNIQUE (n) DEFERRABLE INITIALLY DEFERRED,
	ADD CONSTRAINT exclusiva EXCLUDE USING gist (r WITH &&) WHERE (k > 0),
	ADD CONSTRAINT propia CHECK (v ~ '^\\w+\$' AND d > '2001-02-03') NO INHERIT,
	ADD CONSTRAINT flotante CHECK (f <> 0.30000000000000004::float8 AND iv <> '-3 days 02:03:04'::interval);
CREATE INDEX parcial ON z.todo_1 (d DESC NULLS LAST, v) INCLUDE (s) WITH (fillfactor = 60) WHERE d > '2024-03-04';
CREATE INDEX expresion ON z.todo_1 (lower(v), (n * 2), k) TABLESPACE aparte;
ALTER INDEX z.expresion ALTER COLUMN 1 SET STATISTICS 99, ALTER COLUMN 2 SET STATISTICS 0;
CREATE INDEX opciones ON z.todo_1 USING gist (tv tsvector_ops (siglen = 33));
CREATE INDEX clases ON z.todo_1 USING gin (j jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX ordenado ON z.todo_1 (t COLLATE "POSIX" text_pattern_ops);
CREATE INDEX bloques ON z.todo_1 USING brin (ts) WITH (pages_per_range = 9);
CREATE INDEX "Picadillo" ON z.todo_1 USING hash (u);
CREATE UNIQUE INDEX nulos ON z.todo_1 (s, k) $nulls;
COMMENT ON TABLE z.todo_1 IS E'la tabla\\n''\\\\';
COMMENT ON COLUMN z.todo_1.t IS 'la columna';
COMMENT ON INDEX z."Picadillo" IS 'el índice';
COMMENT ON INDEX z."La Llave" IS 'el índice de la llave';
COMMENT ON CONSTRAINT exclusiva ON z.todo_1 IS 'la restricción';
COMMENT ON CONSTRAINT "La Llave" ON z.todo_1 IS 'la llave';
ALTER TABLE z.todo_1 REPLICA IDENTITY USING INDEX "La Llave", CLUSTER ON ordenado, OWNER TO dueno;
GRANT SELECT, REFERENCES, TRIGGER ON z.todo_1 TO app WITH GRANT OPTION;
GRANT TRUNCATE ON z.todo_1 TO PUBLIC;
GRANT UPDATE (t, d) ON z.todo_1 TO lector WITH GRANT OPTION;
GRANT SELECT (k), INSERT (k) ON z.todo_1 TO PUBLIC;
REVOKE DELETE, TRUNCATE ON z.todo_1 FROM dueno;
-- no rights for anybody; unlogged; somewhere else
CREATE UNLOGGED TABLE z.todo_2 ($columns) TABLESPACE aparte;
ALTER TABLE z.todo_2 REPLICA IDENTITY FULL, OWNER TO dueno;
REVOKE ALL ON z.todo_2 FROM dueno;
-- columns dropped, and added without a rewrite
CREATE TABLE z.todo_3 (sobra integer, $columns, nada text);
INSERT INTO z.todo_3 SELECT 0, i, $values, NULL FROM generate_series(1, 3) i;
ALTER TABLE z.todo_3 DROP sobra, DROP nada, DROP ip, DROP s;
ALTER TABLE z.todo_3 ADD s smallint DEFAULT 7, ADD ip inet NOT NULL DEFAULT '10.1.2.3', REPLICA IDENTITY NOTHING, OWNER TO dueno;
INSERT INTO z.todo_1 SELECT i, $values FROM generate_series(2, 40) i;
INSERT INTO z.todo_1 (k, v) VALUES (1, repeat('v', 20));
INSERT INTO z.todo_3 (k, t, b, d) VALUES (3000, repeat('largo', 100000), decode(repeat('00ff', 20000), 'hex'), 'infinity');
ALTER TABLE z.todo_1 ADD CONSTRAINT incumplida CHECK (k < 2) NOT VALID;
INSERT INTO z.todo_2 SELECT nullif(i % 9, 0), $values FROM generate_series(1, 30) i;
INSERT INTO z.todo_2 (f, g, n, a, ts, d, p) VALUES ('NaN', '-Infinity', 'NaN', '{}', '-infinity', '0044-03-15 BC', '(Infinity,1e-300)'), ('-0', '-0', 0.000, '[2:3]={4,NULL}', 'epoch', NULL, NULL);
SELECT consolidate_define('todo', pattern => '^todo_(\\d+)\$', target => 'todo', key => '{k}');
SQL

# What pg_dump says of a table, and its rows in an order of their own.
sub photo
{
	my ($table) = @_;
	my ($schema, $stderr);
	IPC::Run::run([ 'pg_dump', '-s', '-t', $table, '-d', $node->connstr('postgres') ], '>', \$schema, '2>', \$stderr) or die $stderr;
	$schema =~ s/^\\(un)?restrict .*\n//mg;	# a random word, in some minor releases
	return ($schema, $node->safe_psql('postgres', "SELECT t::text FROM (SELECT $_[1] FROM $table) t ORDER BY 1"));
}

my $names = join(', ', map { /^\s*(\w+) / ? $1 : () } split(/,(?![^(]*\))/, $columns));
my %before = map { $_ => [ photo("z.todo_$_", $names) ] } 1 .. 3;
like($before{1}[0], qr/$_/, "pg_dump writes it: $_") for ('ALTER INDEX z\.expresion ALTER COLUMN 1 SET STATISTICS 99', 'DEFERRABLE INITIALLY DEFERRED',
	'NOT VALID', 'WITH GRANT OPTION', "siglen='33'", 'CLUSTER ON ordenado', 'REPLICA IDENTITY USING INDEX');
my @settings = (
	"datestyle = 'SQL, DMY'", "intervalstyle = sql_standard", "extra_float_digits = -5", "standard_conforming_strings = off",
	"bytea_output = escape", "xmloption = document", "timezone = 'America/Mexico_City'", "search_path = z, public",
	"array_nulls = off", "default_tablespace = aparte");
my $other = join('', map { "SET $_;\n" } @settings);
# 19 has no other way to write strings
$other =~ s/SET standard_conforming_strings.*\n// if $major >= 19;

# consolidated under one kind of settings, restored under another; then the other way round
for my $turn ([ $other, '' ], [ '', $other ])
{
	my ($there, $back) = @$turn;
	my $when = $there eq '' ? 'restored under other settings' : 'consolidated under other settings';

	$node->safe_psql('postgres', "${there}SET client_min_messages = warning;\nCALL public.consolidate('z', 'todo', on_reject => 'keep')");
	is($node->safe_psql('postgres', "SELECT tables_done, tables_skipped, rows_rejected FROM consolidate_progress"), '3|0|24', "$when: all are taken");
	is($node->safe_psql('postgres', "SELECT bool_and(ok), sum(rows_now) FROM consolidate_verify('z', 'todo')"), 't|52', "$when: verified");
	is($node->safe_psql('postgres', "${other}SELECT bool_and(ok) FROM public.consolidate_verify('z', 'todo')"), 't', "$when: verified under both");
	# what default privileges add or take away has nothing to do with it
	$node->safe_psql('postgres', 'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO lector; ALTER DEFAULT PRIVILEGES REVOKE UPDATE ON TABLES FROM postgres');
	$node->safe_psql('postgres', "${back}SET client_min_messages = warning;\nCALL public.consolidate_restore('z', 'todo')");
	$node->safe_psql('postgres', 'ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM lector; ALTER DEFAULT PRIVILEGES GRANT UPDATE ON TABLES TO postgres');
	for my $i (1 .. 3)
	{
		my ($schema, $rows) = photo("z.todo_$i", $names);
		is($schema, $before{$i}[0], "$when: pg_dump -s writes the same of table $i");
		is($rows, $before{$i}[1], "$when: table $i has the same rows");
	}
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM consolidate_rejected'), '0', 'the rejected rows went back');

# ---- dump and restore -------------------------------------------------------------
$node->safe_psql('postgres', "SET client_min_messages = warning; CALL consolidate('z', 'todo', on_reject => 'keep')");
# other OIDs
$node->safe_psql('postgres', 'CREATE DATABASE copia TEMPLATE template0');
$node->safe_psql('copia', join('', map { "CREATE TYPE public.gasta$_ AS ENUM ('a$_', 'b$_');\n" } 1 .. 20));
my $dump = $node->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'dump');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('copia'), '-f', $dump ], 'restore');
isnt($node->safe_psql('copia', "SELECT enumtypid FROM pg_enum WHERE enumlabel = 'alta'"),
	$node->safe_psql('postgres', "SELECT enumtypid FROM pg_enum WHERE enumlabel = 'alta'"), 'the enum has another OID there');
is($node->safe_psql('copia', "SELECT process_id, ok FROM consolidate_verify('z', 'todo')"), "1|t\n2|t\n3|t", 'every checksum is the same there');

$node->stop;
done_testing();
