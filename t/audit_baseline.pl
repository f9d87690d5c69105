# audit_baseline stopped at any moment beside writers: each row has one beginning, and nothing is lost.
use strict;
use warnings;
use IPC::Run qw(start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rows = 20_000 * ($ENV{AQUACIS_TEST_SCALE} || 1);
my $node = PostgreSQL::Test::Cluster->new('baseline');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_wal_size = 4GB\nrestart_after_crash = on\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION aquacis; SELECT audit_install(months => 1);');

# Kills the server process of the call (the server then restarts), or ends it politely.
sub stop_call
{
	my ($how, $call) = @_;
	if ($how eq 'immediate')
	{
		$node->stop('immediate');
		$call->finish;
		$node->start;
		return 1;
	}
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'baseline' AND state <> 'idle'");
	if ($pid ne '' && $how eq 'kill -9')
	{
		kill 'KILL', $pid;
	}
	elsif ($pid ne '')
	{
		$node->safe_psql('postgres', "SELECT $how($pid)");
	}
	$call->finish;
	$node->poll_query_until('postgres', 'SELECT true') if $how eq 'kill -9';
	return $pid ne '';
}

my @how = ('kill -9', 'pg_terminate_backend', 'pg_cancel_backend', 'immediate');
my ($stopped, $partly, @wrong) = (0, 0);
my $dir = PostgreSQL::Test::Utils::tempdir();
for my $round (1 .. 16)
{
	$node->safe_psql('postgres', <<"SQL");
CREATE TABLE t$round (id int PRIMARY KEY, v int NOT NULL);
INSERT INTO t$round SELECT i, 0 FROM generate_series(1, $rows) i;
SELECT audit_enable('t$round');
SQL
	append_to_file("$dir/load$round.sql", "\\set id random(1, $rows)\nUPDATE t$round SET v = v + 1 WHERE id = :id;\n");
	my ($o, $e, $lo, $le) = ('', '', '', '');
	my $load = start([ 'pgbench', '-n', '-c', '2', '-j', '1', '-T', '1', '-f', "$dir/load$round.sql", '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \$lo, '2>', \$le);
	my $call = start([ 'psql', '-X', '-q', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-c', "SET application_name = 'baseline'",
		'-c', "CALL audit_baseline('t$round', batch => 50)" ], '>', \$o, '2>', \$e);
	usleep(80_000 + int(rand(500_000)));
	$stopped++ if stop_call($how[$round % 4], $call);
	$load->finish;
	my $there = $node->safe_psql('postgres', "SELECT count(*) FROM audit_log WHERE table_name = 't$round' AND action = 'B'");
	$partly++ if $there > 0 && $there < $rows;
	$node->safe_psql('postgres', "CALL audit_baseline('t$round', batch => 3000)");
	# one beginning for each row, and from there the changes lead to what the row is now
	my $found = $node->safe_psql('postgres', <<"SQL");
WITH e AS (
	SELECT record_id, action, new_data, changed_fields, row_number() OVER w AS n, count(*) FILTER (WHERE action = 'B') OVER (PARTITION BY record_id) AS images,
		last_value(coalesce(changed_fields -> 'v' ->> 'new', new_data ->> 'v')) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last
	FROM audit_log WHERE table_name = 't$round' WINDOW w AS (PARTITION BY record_id ORDER BY written_at, xact_seq)
), b AS (
	SELECT record_id, images, last, (new_data ->> 'v')::int + (SELECT count(*) FROM audit_log u WHERE u.table_name = 't$round' AND u.record_id = e.record_id
		AND u.action = 'U' AND u.written_at > (SELECT written_at FROM audit_log i WHERE i.table_name = 't$round' AND i.record_id = e.record_id AND i.action = 'B')) AS sum
	FROM e WHERE action = 'B')
SELECT (SELECT count(*) FROM b) || ' ' || (SELECT count(*) FROM b WHERE images <> 1) || ' '
	|| (SELECT count(*) FROM t$round t JOIN b ON b.record_id = t.id AND t.v::text = b.last AND t.v = b.sum) || ' ' ||
	(SELECT sum(v) = (SELECT count(*) FROM audit_log WHERE table_name = 't$round' AND action = 'U') FROM t$round)
SQL
	push @wrong, "$round ($how[$round % 4]): $found" if $found ne "$rows 0 $rows true";
}
diag("stopped: $stopped of 16, $partly in the middle");
cmp_ok($stopped, '>=', 8, 'calls were stopped');
cmp_ok($partly, '>=', 4, '... some of them in the middle');
is("@wrong", '', 'each row has one image, its changes lead from there to what it is now, and no change is lost');
$node->stop;
done_testing();
