# audit_split beside writers and readers, and stopped at any moment: every reader sees each entry once, always.
use strict;
use warnings;
use IPC::Run qw(start);
use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $rows = 60_000 * ($ENV{AQUACIS_TEST_SCALE} || 1);
my $node = PostgreSQL::Test::Cluster->new('split');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_wal_size = 4GB\nrestart_after_crash = on\nwal_level = logical\n");
$node->start;
my @connection = ('-h', $node->host, '-p', $node->port);
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION aquacis;
CREATE TABLE account (id int PRIMARY KEY, changes int NOT NULL DEFAULT 0);
INSERT INTO account SELECT i FROM generate_series(1, 500) i;
-- the shape of a log that was adopted, whose cut is over
CREATE FUNCTION make_log(log text) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
	month timestamptz = date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
	EXECUTE format('CREATE TABLE %I (id bigint GENERATED ALWAYS AS IDENTITY, table_name text NOT NULL, record_id bigint, action char(1), old_data jsonb,
		new_data jsonb, changed_fields jsonb, xact_id xid8, xact_seq int, changed_at timestamptz NOT NULL, written_at timestamptz, len int GENERATED ALWAYS AS (length(table_name)) STORED)
		PARTITION BY RANGE (changed_at)', log);
	EXECUTE format('CREATE INDEX ON %I (table_name, record_id)', log);
	-- columns in another order, and one that is gone
	EXECUTE format('CREATE TABLE %I (gone int, changed_at timestamptz NOT NULL, len int GENERATED ALWAYS AS (length(table_name)) STORED, id bigint NOT NULL, table_name text NOT NULL, record_id bigint, action char(1), old_data jsonb,
		new_data jsonb, changed_fields jsonb, xact_id xid8, xact_seq int, written_at timestamptz)', log || '_past');
	EXECUTE format('ALTER TABLE %I DROP gone', log || '_past');
	EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', log, log || '_past', month);
	EXECUTE format('INSERT INTO %I (table_name, record_id, action, new_data, changed_at) SELECT ''other'', i, ''I'',
		jsonb_build_object(''id'', i, ''note'', (SELECT string_agg(md5(i::text || n), '''') FROM generate_series(1, CASE WHEN i %% 2000 = 0 THEN 100 ELSE 2 END) n)),
		%L::timestamptz - interval ''1 second'' - ($rows - i) * interval ''15 minutes'' FROM generate_series(1, $rows) i', log, month);
	EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', log || '_default', log);
END\$\$;
SQL

# what must never change: all of the old entries, and those of one month, by which partitions are pruned
my $whole = q{(SELECT count(*) || ' ' || sum(hashtextextended(l.record_id || changed_at::text || coalesce(new_data::text, '') || l.len, 0)) FROM LOG l WHERE table_name = 'other')};
my $month = q{(SELECT count(*) || ' ' || sum(record_id) FROM LOG WHERE table_name = 'other' AND changed_at >= 'epoch'::timestamptz + interval 'FROM s' AND changed_at < 'epoch'::timestamptz + interval 'TO s')};
my $dir = PostgreSQL::Test::Utils::tempdir();

# Makes a log and scripts for pgbench that read and write it.  Returns what must be there.
sub make
{
	my ($log, $trigger, $ms) = @_;
	$node->safe_psql('postgres', "SELECT make_log('$log'); CALL audit_maintain(log => '$log', months_ahead => 1);"
		. ($trigger ? "SELECT audit_enable('account', log => '$log');" : ''));
	my $to = $node->safe_psql('postgres', q{SELECT extract(epoch FROM (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC')::bigint});
	my $from = $node->safe_psql('postgres', q{SELECT extract(epoch FROM (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '2 months') AT TIME ZONE 'UTC')::bigint});
	my ($all, $one) = map { s/LOG/$log/r =~ s/FROM s/$from s/r =~ s/TO s/$to s/r } $whole, $month;
	my ($v, $w) = map { $node->safe_psql('postgres', "SELECT $_") } $all, $one;
	my $check = "SELECT 1 / (CASE WHEN $all = '$v' THEN 1 ELSE 0 END), 1 / (CASE WHEN $one = '$w' THEN 1 ELSE 0 END);\n";
	my $pruned = "SELECT 1 / (CASE WHEN $one = '$w' THEN 1 ELSE 0 END);\n";
	append_to_file("$dir/read_$log.sql", $check);
	append_to_file("$dir/repeat_$log.sql", "\\set ms random(1, $ms)\nBEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT 1;\n\\sleep :ms ms\n$pruned${check}COMMIT;\n");
	append_to_file("$dir/write.sql", "\\set id random(1, 500)\nUPDATE account SET changes = changes + 1 WHERE id = :id;\n") unless -e "$dir/write.sql";
	return ($all, $v);
}

sub bench
{
	my ($script, $clients, $seconds, @more) = @_;
	my ($out, $err) = ('', '');
	return { err => \$err, run => start([ 'pgbench', '-n', '-c', $clients, '-j', '1', '-T', $seconds, @more, '-f', "$dir/$script.sql", @connection, 'postgres' ],
		'>', \$out, '2>', \$err) };
}

sub split_call
{
	my ($log, $more) = @_;
	my $err = '';
	return { err => \$err, run => start([ 'psql', '-X', '-q', @connection, '-d', 'postgres', '-c', "SET application_name = 'split'", '-c', "CALL audit_split('$log'$more)" ], '2>', \$err) };
}

sub parts_of { my ($log) = @_; return $node->safe_psql('postgres', "SELECT count(*) FROM pg_inherits WHERE inhparent = '$log'::regclass"); }
sub loose { return $node->safe_psql('postgres', "SELECT count(*) FROM pg_constraint WHERE conname = 'audit_split_range'"); }

# ---- beside writers and readers ------------------------------------------------------------

my ($all, $expected) = make('busy', 1, 4000);
my $writers = bench('write', 4, 12, '-l', "--log-prefix=$dir/wait");
my $readers = bench('read_busy', 1, 12);
my $repeaters = bench('repeat_busy', 4, 12);
usleep(1_000_000);
my $err = '';
for (1 .. 10)
{
	my (undef, undef, $e) = $node->psql('postgres', "CALL audit_split('busy', lock_wait => '1s')");
	$err .= $e;
	last if $e =~ /its past is gone/;
}
like($err, qr/NOTICE:  audit_split: $rows entries of "busy" are in \d+ partitions now, and its past is gone/, 'the past becomes months') or diag($err);
$_->{run}->finish for $writers, $readers, $repeaters;
unlike(${ $_->{err} }, qr/ERROR|aborted/, 'nobody read an entry twice or not at all, and no writer failed') or diag(${ $_->{err} }) for $writers, $readers, $repeaters;
my @waits = map { (split)[2] / 1000 } map { split /\n/, slurp_file($_) } glob("$dir/wait*");
diag(sprintf('longest wait of %d transactions beside audit_split: %.0f ms', scalar @waits, max(@waits)));
cmp_ok(scalar @waits, '>', 100, 'there was a load');
is($node->safe_psql('postgres', "SELECT $all"), $expected, 'the same entries');
is($node->safe_psql('postgres', q{SELECT (SELECT sum(changes) FROM account) = (SELECT count(*) FROM busy WHERE table_name = 'account')}), 't', 'an entry for each change');
is(loose(), '0', 'nothing is left');
is($node->safe_psql('postgres', q{SELECT count(*) FROM busy_default}), '0', 'each entry is in its month');

# ---- stopped at any moment -------------------------------------------------------------------

my @how = ('kill -9', 'pg_terminate_backend', 'pg_cancel_backend', 'kill -9', 'immediate');
my ($stops, $copied, @wrong) = (0, 0);
for my $round (1 .. 15)
{
	last if $stops >= 36;
	my $log = "log$round";
	my ($sum, $value) = make($log, 0, 600);
	my $done = 0;
	for my $stop (1 .. 12)
	{
		my $reader = bench("repeat_$log", 1, 3);
		my $call = split_call($log, '');
		my $second = $round % 3 == 2 ? split_call($log, '') : undef;
		# the first ones stop it in its beginning, the later ones wherever it is then
		usleep(20_000 + int(rand(60_000 * $stop)));
		my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'split' AND state <> 'idle' ORDER BY random() LIMIT 1");
		my $way = $how[ ($round + $stop) % @how ];
		if ($pid ne '')
		{
			$stops++;
			if ($way eq 'immediate') { $node->stop('immediate'); $node->start; }
			elsif ($way eq 'kill -9') { kill 'KILL', $pid; }
			else { $node->safe_psql('postgres', "SELECT $way($pid)"); }
		}
		$_->{run}->finish for grep { defined } $call, $second;
		$reader->{run}->signal('TERM');
		$reader->{run}->finish;
		$node->poll_query_until('postgres', 'SELECT true');
		push @wrong, "$log, $way: ${ $reader->{err} }" if ${ $reader->{err} } =~ /division by zero/;
		push @wrong, "$log, $way: other entries" if $node->safe_psql('postgres', "SELECT $sum") ne $value;
		$copied++ if $node->safe_psql('postgres', "SELECT count(*) FROM audit_split_state WHERE log = '$log'::regclass AND entries > 0") > 0;
		$done = 1 if $node->safe_psql('postgres', "SELECT to_regclass('${log}_past') IS NULL") eq 't';
		last if $done;
	}
	$node->safe_psql('postgres', "CALL audit_split('$log')") unless $done;
	push @wrong, "$log: not finished" if $node->safe_psql('postgres', "SELECT to_regclass('${log}_past') IS NULL") ne 't';
	push @wrong, "$log: other entries at the end" if $node->safe_psql('postgres', "SELECT $sum") ne $value;
}
diag("stopped $stops times, $copied times with entries copied");
cmp_ok($stops, '>=', 30, 'calls were stopped');
is("@wrong", '', 'whenever it was stopped, the log is whole, and the next call goes on');
is(loose(), '0', 'nothing is left');
is($node->safe_psql('postgres', 'SELECT count(*) FROM audit_split_state'), '0', 'no state is left');

# ---- what is published -----------------------------------------------------------------------

make('heard', 0, 600);
$node->safe_psql('postgres', q{CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true);
	SELECT pg_create_logical_replication_slot('listener', 'pgoutput')});
my $heard = q{SELECT count(*) FROM pg_logical_slot_get_binary_changes('listener', NULL, NULL, 'proto_version', '1', 'publication_names', 'everything') WHERE position('other'::bytea IN data) > 0};
$node->safe_psql('postgres', q{CALL audit_split('heard')});
is($node->safe_psql('postgres', q{SELECT to_regclass('heard_past') IS NULL}), 't', 'a log that is published is split');
is($node->safe_psql('postgres', $heard), '0', '... and its old entries are not sent again');
$node->safe_psql('postgres', q{INSERT INTO heard (table_name, record_id, changed_at) VALUES ('other', 0, now()), ('other', 0, now() - interval '3 months')});
is($node->safe_psql('postgres', $heard), '2', '... but new ones are');

$node->stop;
done_testing();
