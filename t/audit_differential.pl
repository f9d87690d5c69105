# The audit trigger against the PL/pgSQL function it replaces: the same random
# changes, both triggers on the same table, and every logged row equal, as text.
# The session's settings are random, too; those of the function are fixed, and what
# is logged must not differ.
#
# A fixed seed and a random one; AQUACIS_TEST_SEED repeats a run,
# AQUACIS_TEST_SCALE multiplies the number of changes.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scale = $ENV{AQUACIS_TEST_SCALE} || 1;
my $random = $ENV{AQUACIS_TEST_SEED} || int(rand(1_000_000_000));
note "random seed: $random (AQUACIS_TEST_SEED repeats it)";

my $node = PostgreSQL::Test::Cluster->new('differential');
$node->init(extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nautovacuum = off\nmax_wal_size = 4GB\n");
$node->start;

my $contrato = slurp_file('bench/audit_contrato.sql');
my $oracle = slurp_file('bench/audit_oracle.sql');

$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION aquacis;
SELECT audit_install();
CREATE TABLE plpgsql_log (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_name varchar(63) NOT NULL, record_id bigint NOT NULL,
	action char(1) NOT NULL, old_data jsonb, new_data jsonb, changed_fields jsonb, session_id bigint,
	user_id varchar(10) NOT NULL, changed_at timestamptz NOT NULL DEFAULT now(), app_context jsonb);
$oracle
$contrato
CREATE TYPE mood AS ENUM ('bien', 'así así', 'mal');
CREATE TYPE pair AS (a int, b text, c numeric[]);
CREATE TYPE moment AS (f float8, tz timestamptz, iv interval, by bytea);
CREATE TYPE amount AS (n numeric, currency text);
CREATE FUNCTION amount_json(amount) RETURNS json LANGUAGE sql IMMUTABLE
	AS \$\$ SELECT json_build_object(\$1.currency, \$1.n) \$\$;
CREATE CAST (amount AS json) WITH FUNCTION amount_json(amount);
CREATE DOMAIN code AS varchar(20);
CREATE DOMAIN numbers AS int[];
CREATE DOMAIN document AS jsonb;

-- the values to draw from: what each type has at its edges
CREATE TABLE pools (name text, type text, vals text[]);
INSERT INTO pools VALUES
('i2', 'int2', '{0,1,-1,32767,-32768,NULL}'),
('i4', 'int4', '{0,1,-1,2147483647,-2147483648,10000,9999,NULL}'),
('i8', 'int8', '{0,1,-1,9223372036854775807,-9223372036854775808,10000000000000000,NULL}'),
('n', 'numeric', '{0,0.0,0.00,1,1.0,1.00,-1,-0.0,NaN,Infinity,-Infinity,1e300,1e-300,0.1,123456789012345678901234567890.123456789,1e131071,NULL}'),
('n2', 'numeric(12,2)', '{0,1,1.1,-9999999999.99,NaN,NULL}'),
('n0', 'numeric(10,0)', '{0,1,-1,9999999999,NULL}'),
('f4', 'float4', '{0,-0,1,0.1,NaN,Infinity,-Infinity,1e-45,3.4e38,16777217,NULL}'),
('f8', 'float8', '{0,-0,1,0.1,NaN,Infinity,-Infinity,5e-324,1.7e308,0.30000000000000004,1e22,NULL}'),
('b', 'bool', '{t,f,NULL}'),
('c1', '"char"', '{a,b,"",NULL}'),
('ch', 'char(5)', '{a,"a ","",ñandú,"    x",NULL}'),
('vc', 'varchar(30)', '{"","a","a ","ñ","日本語","\\\\\\\\","\\"",NULL}'),
('t', 'text', E'{"",a,"ñ","\\\\u001f","tab\\\\there","𝄞 clave","{}","[1]","null",NULL}'),
('nm', 'name', '{a,b,"ñ",NULL}'),
('by', 'bytea', '{"\\\\\\\\x","\\\\\\\\x00ff","\\\\\\\\xdeadbeef",NULL}'),
('d', 'date', '{2020-01-01,infinity,-infinity,0044-03-15 BC,9999-12-31,NULL}'),
('ts', 'timestamp', '{2020-01-01 00:00:00,2020-01-01 00:00:00.000001,infinity,-infinity,0044-03-15 BC,NULL}'),
('tz', 'timestamptz', '{2020-01-01 00:00:00+00,2020-01-01 02:00:00+02,infinity,-infinity,2020-07-01 12:00:00-06,NULL}'),
('tm', 'time', '{00:00,24:00,12:34:56.789,NULL}'),
('ttz', 'timetz', '{00:00+00,12:00-06,NULL}'),
('iv', 'interval', '{1 day,24 hours,1 mon,-1 mon,0,NULL}'),
('js', 'json', E'{null,1,1.0,"\\\\"a\\\\"","{\\\\"a\\\\": 1.0, \\\\"a\\\\": 2}","[1, [2], {}]","{\\\\"ñ\\\\":null}",NULL}'),
('jb', 'jsonb', E'{null,1,1.00,true,"\\\\"a\\\\"","{\\\\"a\\\\": 1.0, \\\\"b\\\\": {\\\\"c\\\\": []}}","[1, [2], {}]","{}","[]",NULL}'),
('u', 'uuid', '{00000000-0000-0000-0000-000000000000,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}'),
('ip', 'inet', '{1.2.3.4,1.2.3.4/24,::1,NULL}'),
('ci', 'cidr', '{10.0.0.0/8,::/0,NULL}'),
('mac', 'macaddr', '{08:00:2b:01:02:03,NULL}'),
('bi', 'bit(5)', '{00000,10101,NULL}'),
('vb', 'varbit', '{"",0,00,101,NULL}'),
('mo', 'money', '{0,1.5,-3,NULL}'),
('x', 'xml', '{<a/>,<a></a>,text,NULL}'),
('ia', 'int[]', E'{"{}","{1,2}","{1,NULL}","[2:3]={1,2}","{{1},{2}}",NULL}'),
('ta', 'text[]', E'{"{}","{a,NULL,\\\\"\\\\"}",NULL}'),
('na', 'numeric[]', E'{"{1.0}","{1.00}","{NaN}",NULL}'),
('co', 'pair', E'{"(1,a,)","(1,a,\\\\"{1.0}\\\\")","(1,a,\\\\"{1.00}\\\\")","(,,)",NULL}'),
('ca', 'pair[]', E'{"{\\\\"(1,a,)\\\\"}","{}",NULL}'),
('am', 'amount', '{"(1.0,MXN)","(1.00,MXN)","(2,USD)",NULL}'),
('e', 'mood', '{bien,así así,mal,NULL}'),
('dom', 'code', '{a,"a ",NULL}'),
('da', 'numbers', E'{"{1}","{}",NULL}'),
('dj', 'document', E'{null,1,"{\\\\"a\\\\": [1]}",NULL}'),
('r4', 'int4range', E'{empty,"[1,2)","[1,1]","(,)",NULL}'),
('rn', 'numrange', E'{empty,"[1.0,2)","[1.00,2)",NULL}'),
('rm', 'int4multirange', E'{"{}","{[1,2)}",NULL}'),
('pt', 'point', E'{"(0,0)","(-0,0)","(1,2)",NULL}'),
('tsv', 'tsvector', '{"a b","",NULL}'),
('oi', 'oid', '{0,4294967295,NULL}'),
('li', 'pg_lsn', '{0/0,16/B374D848,NULL}'),
('big', 'text', NULL),
('bigj', 'jsonb', NULL);

CREATE FUNCTION draw(p pools) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$
	SELECT CASE p.name
	WHEN 'big' THEN '(CASE floor(random() * 4)::int WHEN 0 THEN NULL WHEN 1 THEN ''small'' ELSE repeat(md5(random()::text), floor(random() * 3000)::int) END)'
	WHEN 'bigj' THEN '(CASE floor(random() * 4)::int WHEN 0 THEN NULL WHEN 1 THEN ''null'' ELSE (SELECT jsonb_agg(g) FROM generate_series(1, floor(random() * 500)::int) g) END)'
	ELSE format('((%L::text[])[1 + floor(random() * %s)::int])::%s', p.vals, cardinality(p.vals), p.type) END
\$\$;

SELECT format('CREATE TABLE alltypes (id int PRIMARY KEY, gone1 text DEFAULT ''x'', %s, gone2 int DEFAULT 1, '
	'g int GENERATED ALWAYS AS (i2::int * 2) STORED, gt text GENERATED ALWAYS AS (coalesce(t, ''-'') || ''!'') STORED)',
	string_agg(name || ' ' || type, ', ')) FROM pools \\gexec
ALTER TABLE alltypes DROP gone1, DROP gone2;

ALTER FUNCTION plpgsql_audit() SET extra_float_digits = 1 SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET bytea_output = 'hex'
	SET TimeZone = 'UTC' SET lc_monetary = 'C';
CREATE TRIGGER a_plpgsql AFTER INSERT OR UPDATE OR DELETE ON contrato FOR EACH ROW EXECUTE FUNCTION plpgsql_audit('cnttnum');
CREATE TRIGGER a_plpgsql AFTER INSERT OR UPDATE OR DELETE ON alltypes FOR EACH ROW EXECUTE FUNCTION plpgsql_audit('id');
CREATE TRIGGER trg_audit_contrato AFTER INSERT OR UPDATE OR DELETE ON contrato FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('cnttnum');
SELECT audit_enable('alltypes');

-- random changes of a table: inserts, updates of 1 to 6 columns, deletes
CREATE PROCEDURE churn_types(changes int) LANGUAGE plpgsql AS \$\$
DECLARE cols text; vals text; sets text; n bigint; done bigint := 0; next_id int := coalesce((SELECT max(id) FROM alltypes), 0);
BEGIN
	WHILE done < changes LOOP
		IF random() < 0.15 OR next_id < 300 THEN
			SELECT string_agg(name, ', '), string_agg(draw(p), ', ') INTO cols, vals FROM pools p;
			EXECUTE format('INSERT INTO alltypes (id, %s) SELECT i, %s FROM generate_series(%s, %s) i', cols, vals, next_id + 1, next_id + 100);
			next_id := next_id + 100;
		ELSIF random() < 0.1 THEN
			EXECUTE 'DELETE FROM alltypes WHERE random() < 0.2';
		ELSE
			SELECT string_agg(format('%s = %s', name, draw(p)), ', ') INTO sets
			FROM (SELECT p.* FROM pools p ORDER BY random() LIMIT 1 + floor(random() * 6)::int) p;
			EXECUTE format('UPDATE alltypes SET %s WHERE random() < 0.9', sets);
		END IF;
		GET DIAGNOSTICS n = ROW_COUNT;
		done := done + n;
	END LOOP;
END \$\$;

CREATE FUNCTION draw_contrato(a pg_attribute) RETURNS text LANGUAGE sql STABLE AS \$\$
	SELECT CASE WHEN a.attnotnull THEN expr ELSE format('CASE WHEN random() < 0.2 THEN NULL ELSE %s END', expr) END
	FROM (SELECT CASE
		WHEN a.atttypid = 'numeric'::regtype THEN format('floor(random() * %s) + (random() < 0.001)::int * 0.5', CASE WHEN random() < 0.5 THEN 3 ELSE 99999 END)
		WHEN a.atttypid = 'date'::regtype THEN 'CASE WHEN random() < 0.05 THEN ''infinity'' ELSE date ''1980-01-01'' + floor(random() * 20000)::int END'
		WHEN a.atttypid = 'timestamp'::regtype THEN 'timestamp ''1980-01-01'' + random() * interval ''50 years'''
		WHEN a.atttypid = 'float8'::regtype THEN 'random() * 1000'
		ELSE format('(ARRAY['''', ''N'', ''S'', ''ñ'', ''X'', %L])[1 + floor(random() * 6)::int]', left('peñón 123456789 0123456789', a.atttypmod - 4)) END AS expr) e
\$\$;

CREATE PROCEDURE churn_contrato(changes int) LANGUAGE plpgsql AS \$\$
DECLARE cols text; vals text; sets text; n bigint; done bigint := 0; next_id bigint := coalesce((SELECT max(cnttnum) FROM contrato), 0);
BEGIN
	WHILE done < changes LOOP
		IF random() < 0.15 OR next_id < 500 THEN
			SELECT string_agg(attname, ', '), string_agg(draw_contrato(a), ', ') INTO cols, vals FROM pg_attribute a
			WHERE attrelid = 'contrato'::regclass AND attnum > 1 AND NOT attisdropped;
			EXECUTE format('INSERT INTO contrato (cnttnum, %s) SELECT i, %s FROM generate_series(%s, %s) i', cols, vals, next_id + 1, next_id + 200);
			next_id := next_id + 200;
		ELSIF random() < 0.1 THEN
			EXECUTE 'DELETE FROM contrato WHERE random() < 0.2';
		ELSE
			SELECT string_agg(format('%s = %s', attname, draw_contrato(a)), ', ') INTO sets
			FROM (SELECT a.* FROM pg_attribute a WHERE attrelid = 'contrato'::regclass AND attnum > 1 AND NOT attisdropped
				ORDER BY random() LIMIT 1 + floor(random() * 5)::int) a;
			EXECUTE format('UPDATE contrato SET %s WHERE random() < 0.8', sets);
		END IF;
		GET DIAGNOSTICS n = ROW_COUNT;
		done := done + n;
	END LOOP;
END \$\$;

CREATE VIEW differences AS
SELECT * FROM
	(SELECT row_number() OVER (ORDER BY id) AS n, table_name, record_id, action::text, old_data::text, new_data::text, changed_fields::text FROM plpgsql_log) s
	FULL JOIN
	(SELECT row_number() OVER (ORDER BY xact_id, xact_seq) AS n, table_name AS t, record_id AS r, action::text AS a, old_data::text AS o, new_data::text AS w, changed_fields::text AS c
	FROM audit_log WHERE action <> 'T') o USING (n)
WHERE (s.table_name, s.record_id, s.action, s.old_data, s.new_data, s.changed_fields) IS DISTINCT FROM (o.t, o.r, o.a, o.o, o.w, o.c);
SQL

sub compare
{
	my ($what) = @_;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM differences'), '0', "$what: every row is equal")
	  or diag($node->safe_psql('postgres', 'SELECT left(d::text, 500) FROM differences d LIMIT 2'));
	return $node->safe_psql('postgres', 'SELECT count(*) FROM audit_log');
}

# What any role may set, and an old database or a driver does.
sub settings
{
	my $pick = sub { $_[ rand @_ ] };
	return "SET TimeZone = '" . $pick->('America/Mexico_City', 'Asia/Kathmandu', 'AAA5AAA,M3.2.0,M11.1.0', 'UTC') . "'; "
	  . 'SET extra_float_digits = ' . $pick->(-15, -3, 0, 1, 3) . '; '
	  . "SET DateStyle = '" . $pick->('SQL, DMY', 'SQL, MDY', 'German', 'Postgres, MDY', 'ISO, YMD') . "'; "
	  . 'SET IntervalStyle = ' . $pick->('iso_8601', 'sql_standard', 'postgres_verbose', 'postgres') . '; '
	  . 'SET bytea_output = ' . $pick->('escape', 'hex') . '; ';
}

my $logged = 0;
my $changes = 0;

foreach my $seed (42, $random)
{
	my $unit = int(15_000 * $scale);
	srand($seed);
	my $settings = 'SELECT setseed(' . sprintf('%.9f', ($seed % 1_000_003) / 1_000_003) . ');';

	$node->safe_psql('postgres', 'TRUNCATE contrato, alltypes; TRUNCATE plpgsql_log, audit_log');
	$node->safe_psql('postgres', settings() . "$settings CALL churn_contrato(2 * $unit)");
	$node->safe_psql('postgres', settings() . "$settings CALL churn_types($unit / 3); " . join('', map { settings() . "CALL churn_types($unit / 3); " } 1, 2));
	ok(compare("seed $seed") > $unit, "seed $seed: most changes were logged");

	# the same session goes on after the table has changed under it
	my @settings = map { settings() } 1 .. 3;
	$node->safe_psql('postgres', <<"SQL");
$settings $settings[0]
CALL churn_types(200);
ALTER TABLE alltypes ADD later numeric DEFAULT 1.50;
CALL churn_types(1500);
$settings[1]
ALTER TABLE alltypes RENAME later TO renamed;
UPDATE alltypes SET renamed = NULL WHERE id % 2 = 0;
UPDATE alltypes SET renamed = 1.5;
CALL churn_types(1500);
ALTER TABLE alltypes DROP renamed;
$settings[2]
CALL churn_types(1500);
ALTER TABLE contrato DROP cnttobsid;
CALL churn_contrato(1500);
ALTER TABLE contrato ADD cnttobsid numeric(10,0) DEFAULT 7;
CALL churn_contrato(1500);
SQL
	$logged += compare("seed $seed, columns added, renamed and dropped");
	$changes += 3 * $unit + 7_700;
	$node->safe_psql('postgres', 'ALTER TABLE contrato ALTER cnttobsid DROP DEFAULT');
}
cmp_ok($changes, '>=', 100_000 * ($scale < 1 ? $scale : 1), "$changes changes, $logged rows logged");

# a megabyte that does not change is neither read nor logged; one that does, is
$node->safe_psql('postgres', <<'SQL');
TRUNCATE plpgsql_log, audit_log, alltypes;
INSERT INTO alltypes (id, i4, big) SELECT 1, 1, string_agg(md5(i::text), '') FROM generate_series(1, 32768) i;
UPDATE alltypes SET i4 = 2;
UPDATE alltypes SET big = big || 'x';
UPDATE alltypes SET big = big || '';
DELETE FROM alltypes;
SQL
compare('a TOASTed megabyte');
is($node->safe_psql('postgres', "SELECT string_agg(action, '' ORDER BY xact_id, xact_seq) FROM audit_log WHERE action <> 'T'"),
	'IUUD', 'rewriting the same megabyte is no change');

$node->stop;
done_testing();
