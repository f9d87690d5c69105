# pg_ctl stop -m immediate under load, twenty times: afterwards every committed
# change has its audit row and every audit row its change.
use strict;
use warnings;
use IPC::Run qw(start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = 20;
my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
# an operating system that stays up keeps what was written: fsync may be off
$node->append_conf('postgresql.conf', "fsync = off\nmax_prepared_transactions = 5\ncheckpoint_timeout = 30s\nmax_wal_size = 64MB\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION aquacis;
SELECT audit_install();
CREATE TABLE account (id int PRIMARY KEY, changes int NOT NULL DEFAULT 0, note text);
CREATE TABLE plpgsql_log (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_name varchar(63), record_id bigint, action char(1),
	old_data jsonb, new_data jsonb, changed_fields jsonb, user_id text, changed_at timestamptz);
CREATE TABLE counter (id int PRIMARY KEY, changes int NOT NULL DEFAULT 0);
INSERT INTO account SELECT i FROM generate_series(1, 200) i;
INSERT INTO counter SELECT i FROM generate_series(1, 200) i;
SELECT audit_enable('account');
SELECT audit_enable('counter', log => 'plpgsql_log');
SQL

my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
append_to_file($script, <<'SQL');
\set id random(1, 200)
\set many random(1, 190)
\set undo random(0, 3)
BEGIN;
UPDATE account SET changes = changes + 1, note = repeat(md5(random()::text), 30) WHERE id = :id;
SAVEPOINT s;
UPDATE account SET changes = changes + 1 WHERE id = :id;
\if :undo
ROLLBACK TO s;
\endif
UPDATE counter SET changes = changes + 1 WHERE id = :id;
COMMIT;
SQL

my $differences = <<'SQL';
SELECT count(*) FROM (
	SELECT id, changes FROM account
	EXCEPT ALL
	SELECT a.id, count(l.record_id) FROM account a
	LEFT JOIN audit_log l ON l.table_name = 'account' AND l.record_id = a.id AND l.action = 'U' AND l.changed_fields ? 'changes' GROUP BY a.id) d
SQL
my $chain = <<'SQL';
SELECT count(*) FROM (
	SELECT (changed_fields->'changes'->>'old')::int AS old, row_number() OVER (PARTITION BY record_id ORDER BY (changed_fields->'changes'->>'old')::int) - 1 AS n
	FROM audit_log WHERE table_name = 'account' AND action = 'U') x WHERE old <> n
SQL

my $bad = 0;
my $broken = 0;
my $serial = 0;
my $behind = 0;
for my $round (1 .. $rounds)
{
	my ($out, $err) = ('', '');
	my $load = start([ 'pgbench', '-n', '-c', '4', '-j', '1', '-T', '30', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \$out, '2>', \$err);
	usleep(250_000 + int(rand(300_000)));
	$node->stop('immediate');
	$load->finish;
	$node->start;
	$bad += $node->safe_psql('postgres', $differences);
	$broken += $node->safe_psql('postgres', $chain);
	$serial += $node->safe_psql('postgres', 'SELECT (SELECT sum(changes) FROM counter) - (SELECT count(*) FROM plpgsql_log)');
	$behind += $node->safe_psql('postgres', 'SELECT count(*) FROM plpgsql_log_id_seq WHERE last_value < (SELECT max(id) FROM plpgsql_log)');
}
is($bad, 0, "$rounds crashes: as many audit rows as changes, for every record");
is($broken, 0, 'every change continues the one before it');
is($serial, 0, 'the same in a log with an identity column');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM audit_log'), '>', 1000, 'there was a load');
# its key would refuse a number that comes twice, and the change with it
is($behind, 0, 'the sequence of that column was never behind its rows');

# prepared transactions: across a crash, committed and rolled back
$node->safe_psql('postgres', <<'SQL');
BEGIN;
UPDATE account SET changes = changes + 1 WHERE id = 1;
PREPARE TRANSACTION 'kept';
BEGIN;
UPDATE account SET changes = changes + 1 WHERE id = 2;
PREPARE TRANSACTION 'undone';
UPDATE account SET changes = changes + 1 WHERE id = 3;
SQL
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', "COMMIT PREPARED 'kept'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'undone'");
is($node->safe_psql('postgres', $differences), '0', 'prepared transactions');

$node->stop;
done_testing();
