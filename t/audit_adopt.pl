# audit_adopt beside writers, and stopped at any moment: no entry lost or doubled.
use strict;
use warnings;
use IPC::Run qw(start);
use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rows = 50_000 * ($ENV{AQUACIS_TEST_SCALE} || 1);
my $node = PostgreSQL::Test::Cluster->new('adopt');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_wal_size = 4GB\n");
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION aquacis;
CREATE TABLE account (id int PRIMARY KEY, changes int NOT NULL DEFAULT 0);
INSERT INTO account SELECT i FROM generate_series(1, 500) i;
CREATE TABLE al_log (
	al_id bigserial PRIMARY KEY, al_table_name varchar(63) NOT NULL, al_record_id bigint NOT NULL, al_operation char(1) NOT NULL,
	al_old_data jsonb, al_new_data jsonb, al_changed_fields jsonb, al_user_id text, al_changed_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON al_log (al_table_name, al_record_id);
INSERT INTO al_log (al_table_name, al_record_id, al_operation, al_new_data, al_changed_at)
	SELECT 'other', i, 'I', jsonb_build_object('id', i, 'note', repeat(md5(i::text), 3)), now() - i * interval '1 minute' FROM generate_series(1, $rows) i;
SELECT audit_enable('account', log => 'al_log');
SQL

# ---- beside writers -----------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/load.sql", "\\set id random(1, 500)\nUPDATE account SET changes = changes + 1 WHERE id = :id;\n");
my ($out, $err) = ('', '');
my $load = start([ 'pgbench', '-n', '-c', '4', '-j', '1', '-T', '6', '-l', "--log-prefix=$dir/wait", '-f', "$dir/load.sql",
	'-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$out, '2>', \$err);
usleep(1_500_000);
my ($status, $stdout, $stderr) = $node->psql('postgres', "SET client_min_messages = debug1; CALL audit_adopt('al_log', lock_wait => '1s')");
is($status, 0, "a log of $rows entries is adopted") or diag($stderr);
like($stderr, qr/partition constraint for table "al_log_past" is implied by existing constraints/, 'its past is not read under a lock');
$load->finish;
unlike($err, qr/ERROR|aborted/, 'no writer failed') or diag($err);
my @waits = map { (split)[2] / 1000 } map { split /\n/, slurp_file($_) } glob("$dir/wait*");
diag(sprintf('longest wait of %d transactions beside audit_adopt: %.0f ms', scalar @waits, max(@waits)));
cmp_ok(scalar @waits, '>', 100, 'there was a load');
is($node->safe_psql('postgres', 'SELECT (SELECT sum(changes) FROM account) = (SELECT count(*) FROM al_log WHERE al_table_name = \'account\')'),
	't', 'an entry for each change');
is($node->safe_psql('postgres', "SELECT count(*) FROM al_log WHERE al_table_name = 'other'"), $rows, 'the entries from before');
is($node->safe_psql('postgres', 'SELECT count(*) = count(DISTINCT al_id) AND max(al_id) = count(*) FROM al_log'), 't', 'the sequence goes on');
is($node->safe_psql('postgres', "SELECT count(*) > 0, count(*) < (SELECT count(*) FROM al_log WHERE al_table_name = 'account') FROM al_log WHERE al_written_at IS NOT NULL"),
	't|t', 'those that came after say when they were written');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'audit_adopt%'"), '0', 'no check is left');

# ---- stopped at any moment -------------------------------------------------------------------

my ($lost, $unfinished, $plain) = (0, 0, 0);
for my $round (1 .. 14)
{
	$node->safe_psql('postgres', <<"SQL");
CREATE TABLE t$round (id int PRIMARY KEY, v int);
CREATE TABLE log$round (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_name text, record_id bigint, action text,
	old_data jsonb, new_data jsonb, changed_fields jsonb, changed_at timestamptz);
CREATE INDEX ON log$round (changed_at);
SELECT audit_enable('t$round', log => 'log$round');
INSERT INTO t$round SELECT i, 0 FROM generate_series(1, 20000) i;
SQL
	my ($o, $e) = ('', '');
	my $call = start([ 'psql', '-X', '-q', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-c', "SET application_name = 'adopt'",
		'-c', "CALL audit_adopt('log$round')" ], '>', \$o, '2>', \$e);
	usleep(10_000 + int(rand(150_000)));
	if ($round % 7 == 0)
	{
		$node->stop('immediate');
		$call->finish;
		$node->start;
	}
	else
	{
		my $stop = $round % 2 ? 'pg_terminate_backend' : 'pg_cancel_backend';
		$node->safe_psql('postgres', "SELECT $stop(pid) FROM pg_stat_activity WHERE application_name = 'adopt'");
		$call->finish;
	}
	$plain++ if $node->safe_psql('postgres', "SELECT relkind FROM pg_class WHERE oid = 'log$round'::regclass") eq 'r';
	$node->safe_psql('postgres', "UPDATE t$round SET v = 1 WHERE id = 1; CALL audit_adopt('log$round'); UPDATE t$round SET v = 2 WHERE id = 1;");
	$lost++ if $node->safe_psql('postgres', "SELECT count(*), count(DISTINCT id) FROM log$round") ne '20002|20002';
	$unfinished++ if $node->safe_psql('postgres', "SELECT relkind FROM pg_class WHERE oid = 'log$round'::regclass") ne 'p';
}
diag("stopped before the log was partitioned: $plain of 14");
is($lost, 0, 'stopped at any moment: no entry is lost or doubled');
is($unfinished, 0, 'calling again goes on');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'audit_adopt%'"), '0', 'no check is left');

$node->stop;
done_testing();
