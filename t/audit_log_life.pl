# The log's life: maintenance by hand, by pg_cron, by pg_partman; two years
# without any; dump and restore; MERGE; memory.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub have
{
	my ($extension) = @_;
	my $sharedir = qx(pg_config --sharedir);
	chomp $sharedir;
	return -e "$sharedir/extension/$extension.control";
}

my $node = PostgreSQL::Test::Cluster->new('life');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nTimeZone = 'America/Mexico_City'\n");
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'\ncron.use_background_workers = on\nmax_worker_processes = 20\n")
  if have('pg_cron');
$node->start;
sub sql { my ($text, $database) = @_; return $node->safe_psql($database || 'postgres', $text); }

sql(<<'SQL');
CREATE EXTENSION aquacis;
SELECT audit_install(months => 1);
CREATE TABLE account (id int PRIMARY KEY, v text, doc jsonb);
SELECT audit_enable('account');
SQL

# pg_cron fires every minute: asked now, looked at in the end
if (have('pg_cron'))
{
	sql("CREATE EXTENSION pg_cron; SELECT cron.schedule('audit', '* * * * *', 'CALL public.audit_maintain(months_ahead => 7, log => ''audit_log'')')");
}

# ---- dump and restore
sql(<<'SQL');
BEGIN;
SELECT audit_set_user('ana', 7, '{"m": 1.50}');
INSERT INTO account SELECT i, 'v' || i, jsonb_build_object('a', i) FROM generate_series(1, 1000) i;
UPDATE account SET v = repeat(md5(id::text), 200) WHERE id % 3 = 0;
COMMIT;
DELETE FROM account WHERE id % 5 = 0;
SQL
# bytes that are no text in this database, in what a client says of itself when it connects
{
	local $ENV{PGOPTIONS} = "-c app.current_user=jos\xe9 -c app.context=\xff";
	sql("UPDATE account SET v = 'latin' WHERE id = 1");
}
is(sql("SELECT DISTINCT user_id || ' ' || app_context FROM audit_log WHERE user_id LIKE 'jos%'"), 'jos\xe9 "\\\\xff"', 'bytes that are no text are logged in hexadecimal');
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, '-N', 'cron', '-h', $node->host, '-p', $node->port, 'postgres' ], 'dump');
sql('CREATE DATABASE restored');
my ($out, $err) = run_command([ 'pg_restore', '-d', 'restored', '-h', $node->host, '-p', $node->port, $file ]);
unlike($err, qr/audit|aquacis|account/, 'restore complains of nothing of ours');
my $everything = "SELECT md5(string_agg(l::text, '|' ORDER BY xact_id, xact_seq)) FROM audit_log l";
my $history = "SELECT md5(string_agg(h::text, '|')) FROM audit_history('account', '15') h";
is(sql($everything, 'restored'), sql($everything), 'the log is the same after dump and restore');
is(sql($history, 'restored'), sql($history), 'the history too');
sql("UPDATE account SET v = 'after' WHERE id = 1", 'restored');
is(sql("SELECT action || ' ' || column_name || ' ' || new_value FROM audit_history('account', '1') LIMIT 1", 'restored'),
	'U v "after"', 'and writing goes on');
# which log a trigger is bound to is not dumped: a restored one knows the name that it was given
sql(q{SELECT audit_enable('account'); ALTER TABLE audit_log RENAME TO audit_log_2026}, 'restored');
sql("UPDATE account SET v = 'renamed' WHERE id = 1", 'restored');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$file.renamed", '-N', 'cron', '-h', $node->host, '-p', $node->port, 'restored' ], 'dump with a renamed log');
sql('CREATE DATABASE again');
run_command([ 'pg_restore', '-d', 'again', '-h', $node->host, '-p', $node->port, "$file.renamed" ]);
my ($ret, undef, $said) = $node->psql('again', "\\set VERBOSITY sqlstate\nUPDATE account SET v = 'lost' WHERE id = 1");
like($said, qr/ERROR:  42P01/, '... writes fail where it is restored, rather than not being logged');
sql("SELECT audit_enable('account', log => 'audit_log_2026'); UPDATE account SET v = 'found' WHERE id = 1", 'again');
is(sql("SELECT string_agg(new_value::text, ' ') FROM (SELECT new_value FROM audit_history('account', '1') LIMIT 3) h", 'again'), '"found" "renamed" "after"',
	'... until audit_enable names it');
sql('DROP DATABASE again');
sql('ALTER TABLE audit_log_2026 RENAME TO audit_log', 'restored');
like(sql("EXPLAIN SELECT * FROM audit_log WHERE table_name = 'account' AND record_id = 15 ORDER BY changed_at DESC"),
	qr/Index Scan.*record_id/, 'a record is found by index');
sql('DROP EXTENSION aquacis CASCADE', 'restored');
is(sql("SELECT count(*) FROM audit_log WHERE table_name = 'account'", 'restored'), sql("SELECT 2 + count(*) FROM audit_log"),
	'DROP EXTENSION leaves the log');

# pg_cron again, now that nothing is dumped any more: it drops tables
if (have('pg_cron'))
{
	sql(q{CREATE SCHEMA nightly;
		DO $$BEGIN FOR i IN 1..5 LOOP EXECUTE format('CREATE TABLE nightly.aux_varscreditored_%s AS SELECT g AS cnttnum, 1.5::numeric(18,2) AS impvariable, 2::numeric(18,2) AS impvaranterior
			FROM generate_series(1, 20) g', i); END LOOP; END$$;
		SELECT cron.schedule('consolidate', '* * * * *', $$CALL public.consolidate('nightly', 'aux_varscreditored', batch => 2)$$)});
}

# ---- a database without an encoding: its JSON has no escape sequences, and no write fails for that
sql("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
sql(<<'SQL', 'ascii');
CREATE EXTENSION aquacis;
SELECT audit_install();
CREATE TABLE t (id int PRIMARY KEY, j json);
SELECT audit_enable('t');
BEGIN;
SELECT set_config('app.context', '{"a": "\u00f1"}', true);
INSERT INTO t VALUES (1, '["\u00f1"]');
COMMIT;
SQL
is(sql("SELECT app_context #>> '{}' || (new_data->>'j') FROM audit_log", 'ascii'), '{"a": "\u00f1"}["\u00f1"]', 'SQL_ASCII');

# ---- two years without maintenance: the DEFAULT partition took it all
sql(<<'SQL');
CREATE SCHEMA old;
SELECT audit_install(schema => 'old', months => 0);
-- a DEFAULT partition with other column numbers, a generated column
ALTER TABLE old.audit_log DETACH PARTITION old.audit_log_default;
DROP TABLE old.audit_log_default;
CREATE TABLE old.audit_log_default (gone int, LIKE old.audit_log);
ALTER TABLE old.audit_log_default DROP gone;
ALTER TABLE old.audit_log ATTACH PARTITION old.audit_log_default DEFAULT;
ALTER TABLE old.audit_log ADD twice int GENERATED ALWAYS AS (xact_seq * 2) STORED;
INSERT INTO old.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, user_id, changed_fields)
SELECT d, '5', row_number() OVER (), 'public', 'account', 1, 'U', 'u', '{"v": {"old": 1, "new": 2}}'
FROM generate_series(now() - interval '730 days', now() - interval '40 days', interval '6 hours') d;
-- garbage of a legacy system
INSERT INTO old.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, action, user_id)
VALUES ('0044-03-15 BC', '5', -1, 'public', 'account', 'U', 'u'), ('0001-01-31 BC', '5', -2, 'public', 'account', 'U', 'u');
SQL
my $space = PostgreSQL::Test::Utils::tempdir() . '/space';
mkdir $space;
sql("CREATE TABLESPACE archive LOCATION '$space'");
sql('ALTER TABLE old.audit_log SET TABLESPACE archive');
my $rows = sql('SELECT count(*) FROM old.audit_log_default');
cmp_ok($rows, '>', 2700, 'two years of rows in the DEFAULT partition');
my $before = sql("SELECT md5(string_agg(l::text, '|' ORDER BY changed_at, xact_seq)) FROM old.audit_log l");
sql("CALL audit_maintain(log => 'old.audit_log')");
is(sql('SELECT count(*) FROM old.audit_log_default'), '0', 'the DEFAULT partition was emptied');
is(sql("SELECT md5(string_agg(l::text, '|' ORDER BY changed_at, xact_seq)) FROM old.audit_log l"), $before, 'nothing was lost');
is(sql("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE oid IN (SELECT tableoid FROM old.audit_log WHERE changed_at < '2000-01-01')"),
	'audit_log_-043_03 audit_log_0000_01', 'months before Christ');
is(sql("SELECT count(*) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'old.audit_log'::regclass AND reltablespace = 0"),
	2, 'new months are made in the tablespace of the log');
my $closed = sql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'old' AND indexdef LIKE '%USING gin%'");
cmp_ok($closed, '>=', 22, 'closed months have their GIN index');
is(sql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'old' AND indexdef LIKE '%USING gin%' AND tablename = 'audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"),
	'0', 'the month being written has none');
sql("CALL audit_maintain(log => 'old.audit_log')");
is(sql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'old' AND indexdef LIKE '%USING gin%'"), $closed, 'maintenance is idempotent');
my $parts = sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'old.audit_log'::regclass");
sql("CALL audit_maintain(log => 'old.audit_log', keep => '1 year')");
my $kept = sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'old.audit_log'::regclass");
cmp_ok($kept, '<', $parts - 10, 'keep detaches old months');
is(sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'old'::regnamespace AND relkind = 'r' AND relname LIKE 'audit_log%'"), $parts,
	'which stay as tables');
sql("CALL audit_maintain(log => 'old.audit_log', keep => '6 months', expired => 'drop')");
cmp_ok(sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'old'::regnamespace AND relkind = 'r' AND relname LIKE 'audit_log%'"), '<', $parts,
	'or drops them');

# ---- a DEFAULT partition that has partitions; an error on the way
sql(<<'SQL');
CREATE SCHEMA parted;
SELECT audit_install(schema => 'parted', months => 0);
ALTER TABLE parted.audit_log DETACH PARTITION parted.audit_log_default;
DROP TABLE parted.audit_log_default;
CREATE TABLE parted.audit_log_default PARTITION OF parted.audit_log DEFAULT PARTITION BY RANGE (changed_at);
CREATE TABLE parted.rest PARTITION OF parted.audit_log_default DEFAULT;
INSERT INTO parted.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, user_id)
SELECT d, '5', row_number() OVER (), 'public', 'account', 1, 'D', 'u' FROM generate_series('2020-01-15'::timestamptz, '2020-03-15', '1 day') d;
CREATE FUNCTION parted.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not this month'; END$$;
CREATE TRIGGER refuse BEFORE DELETE ON parted.rest FOR EACH ROW WHEN (OLD.changed_at > '2020-02-10') EXECUTE FUNCTION parted.refuse();
SQL
{
	my ($ret, $o, $e) = $node->psql('postgres', q{\set ON_ERROR_STOP 0
		CALL audit_maintain(log => 'parted.audit_log');
		SELECT count(*) FROM parted.audit_log_default}, on_error_stop => 0);
	like($e, qr/ERROR:  not this month/, 'audit_maintain meets an error');
	is($o, '44', 'the months before it are moved, the others are left, and the session goes on');
	sql('DROP TRIGGER refuse ON parted.rest');
	sql("CALL audit_maintain(log => 'parted.audit_log')");
	is(sql('SELECT (SELECT count(*) FROM parted.audit_log_default), count(*) FROM parted.audit_log'), '0|61',
		'a DEFAULT partition that is partitioned itself was emptied');
}

# ---- a long transaction in the way: skipped with a warning, the rest is done
{
	my $blocker = $node->background_psql('postgres') if $node->can('background_psql');
	SKIP:
	{
		skip 'background_psql is not available', 2 unless $blocker && $blocker->can('query_safe');
		sql('CREATE SCHEMA busy; SELECT audit_install(schema => \'busy\', months => 0); CREATE TABLE b (id int PRIMARY KEY); SELECT audit_enable(\'b\', log => \'busy.audit_log\');');
		$blocker->query_safe('BEGIN; LOCK TABLE busy.audit_log_default IN ACCESS SHARE MODE');
		my ($ret, $o, $e) = $node->psql('postgres', "CALL audit_maintain(log => 'busy.audit_log', months_ahead => 1, lock_wait => '50ms')");
		like($e, qr/WARNING:  audit_maintain skipped a step/, 'a lock that is not granted is reported');
		$blocker->query_safe('COMMIT');
		($ret, $o, $e) = $node->psql('postgres', "CALL audit_maintain(log => 'busy.audit_log', months_ahead => 1)");
		like($e, qr/1 partitions created/, 'and done at the next call');
		$blocker->quit;
	}
}

# ---- MERGE
SKIP:
{
	skip 'MERGE came with PostgreSQL 15', 1 if sql('SHOW server_version_num') < 150000;
	sql(<<'SQL');
CREATE TABLE merged (id int PRIMARY KEY, v int);
INSERT INTO merged VALUES (1, 1), (2, 2);
SELECT audit_enable('merged');
MERGE INTO merged t USING (VALUES (1, 10), (2, NULL), (3, 30)) s (id, v) ON t.id = s.id
WHEN MATCHED AND s.v IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
SQL
	is(sql("SELECT string_agg(record_id || action, ' ' ORDER BY record_id) FROM audit_log WHERE table_name = 'merged'"), '1U 2D 3I', 'MERGE');
}

# ---- pg_partman keeps the partitions
SKIP:
{
	skip 'pg_partman is not installed', 3 unless have('pg_partman');
	sql(<<'SQL');
CREATE SCHEMA partman;
CREATE EXTENSION pg_partman SCHEMA partman;
CREATE SCHEMA pm;
CREATE TABLE pm.audit_log (
	id bigint GENERATED ALWAYS AS IDENTITY, table_name varchar(63) NOT NULL, record_id bigint NOT NULL, action char(1) NOT NULL,
	old_data jsonb, new_data jsonb, changed_fields jsonb, session_id bigint, user_id varchar(10) NOT NULL,
	changed_at timestamptz NOT NULL DEFAULT now(), app_context jsonb) PARTITION BY RANGE (changed_at);
SQL
	my $major = sql("SELECT split_part(extversion, '.', 1) FROM pg_extension WHERE extname = 'pg_partman'");
	sql($major < 5
		? "SELECT partman.create_parent('pm.audit_log', 'changed_at', 'native', 'monthly', p_premake := 2)"
		: "SELECT partman.create_parent('pm.audit_log', 'changed_at', '1 month', p_premake := 2)");
	sql(<<'SQL');
CREATE TABLE managed (id int PRIMARY KEY, v int);
SELECT audit_enable('managed', log => 'pm.audit_log');
INSERT INTO managed VALUES (1, 1);
SQL
	my $count = sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'pm.audit_log'::regclass");
	sql("UPDATE partman.part_config SET premake = 6, infinite_time_partitions = true, retention = '1 year' WHERE parent_table = 'pm.audit_log'; SELECT partman.run_maintenance('pm.audit_log')");
	cmp_ok(sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'pm.audit_log'::regclass"), '>', $count, 'pg_partman adds partitions');
	sql('UPDATE managed SET v = 2');
	is(sql("SELECT string_agg(action, '' ORDER BY id) FROM pm.audit_log"), 'IU', 'a log that pg_partman manages');
	cmp_ok(sql("SELECT months_left FROM audit_status WHERE audited_table = 'managed'::regclass"), '>=', 3, 'audit_status counts its partitions');
}

# ---- memory: an UPDATE of many rows costs no more than PostgreSQL's own queue
SKIP:
{
	skip 'needs /proc', 1 unless -e '/proc/self/status';
	my $peak = sub {
		my ($table) = @_;
		return sql("UPDATE $table SET v = v + 1; SELECT split_part(line, ':', 2) FROM regexp_split_to_table(pg_read_file('/proc/self/status'), E'\\n') line WHERE line LIKE 'VmPeak%'") =~ s/\D//gr;
	};
	sql(<<'SQL');
CREATE TABLE many (id int PRIMARY KEY, v int);
CREATE TABLE many_plain (id int PRIMARY KEY, v int);
INSERT INTO many SELECT i, i FROM generate_series(1, 400000) i;
INSERT INTO many_plain SELECT i, i FROM generate_series(1, 400000) i;
SELECT audit_enable('many');
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER plain AFTER UPDATE ON many_plain FOR EACH ROW EXECUTE FUNCTION nothing();
SQL
	my $plain = $peak->('many_plain');
	my $audited = $peak->('many');
	cmp_ok($audited - $plain, '<', 16 * 1024, "400,000 rows: $audited kB with the audit, $plain kB with an empty trigger");
}

# ---- a row that is too large for JSONB (256 MB) is refused, not stored in part
{
	sql('CREATE TABLE wide (id int PRIMARY KEY, a text, b text, c text)');
	sql("SELECT audit_enable('wide')");
	my $row = sub { my ($id, $mb) = @_; return "INSERT INTO wide SELECT $id, repeat('x', 100000000), repeat('y', 100000000), repeat('z', $mb * 1000000)" };
	sql($row->(1, 60));
	is(sql("SELECT length(new_data ->> 'a'), length(new_data ->> 'c') FROM audit_log WHERE table_name = 'wide'"), '100000000|60000000', '260 MB are logged');
	$node->psql('postgres', "\\set VERBOSITY verbose\n" . $row->(2, 70), stderr => \my $err);
	like($err, qr/54000: value is too large for jsonb\nDETAIL: .*\nHINT:  Exclude the largest columns from the audit\./, '270 MB are refused');
	$node->psql('postgres', "\\set VERBOSITY verbose\nUPDATE wide SET a = repeat('v', 100000000), b = repeat('w', 100000000)", stderr => \$err);
	like($err, qr/54000: value is too large for jsonb/, '... and so are changes of 400 MB');
	is(sql("SELECT count(*) FROM audit_log WHERE table_name = 'wide'"), 1, '... with nothing logged');
}

# ---- pg_cron, in the end
SKIP:
{
	skip 'pg_cron is not installed', 3 unless have('pg_cron');
	ok($node->poll_query_until('postgres', "SELECT count(*) >= 9 FROM pg_inherits WHERE inhparent = 'audit_log'::regclass"),
		'pg_cron ran audit_maintain')
	  or diag(sql('SELECT status, return_message FROM cron.job_run_details'));
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM consolidate_progress WHERE state = 'finished'"), '... and consolidate')
	  or diag(sql('SELECT status, return_message FROM cron.job_run_details'));
	is(sql('SELECT count(*), count(DISTINCT proceso_id) FROM nightly.aux_varscreditored'), '100|5', '... to the end');
}

$node->stop;
done_testing();
