# Thousands of tables at default settings: locks, memory, progress seen from
# another session, sources in use, and a dump of it all.
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $tables = int(12_000 * ($ENV{AQUACIS_TEST_SCALE} || 1));
my $node = PostgreSQL::Test::Cluster->new('scale');
$node->init;
# what a server comes with, not what the test framework turns down
$node->append_conf('postgresql.conf', "max_locks_per_transaction = 64\nmax_connections = 100\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION aquacis');
$node->safe_psql('postgres', "CREATE SCHEMA s");
# 500 a transaction: making them exhausts the lock table, too
for (my $first = 1; $first <= $tables; $first += 500)
{
	$node->safe_psql('postgres', <<"SQL");
DO \$\$ BEGIN
  FOR i IN $first .. least($first + 499, $tables) LOOP
    EXECUTE 'CREATE TABLE s.tmp_deuda_' || i || ' (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)';
    IF i % 10 = 0 THEN EXECUTE 'INSERT INTO s.tmp_deuda_' || i || ' SELECT g, g, g, g FROM generate_series(1, 50) g'; END IF;
  END LOOP;
END \$\$;
SQL
}

# Starts psql with this SQL; its backend writes its pid first.
sub start_psql
{
	my ($name, $sql) = @_;
	my $base = $node->basedir . "/$name";
	unlink "$base.pid", "$base.done";
	open(my $f, '>', "$base.sql") or die $!;
	print $f "\\o $base.pid\nSELECT pg_backend_pid();\n\\o\nLOAD 'aquacis';\n$sql\n\\o $base.done\nSELECT 1;\n";
	close $f;
	my $run = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-q', '-d', $node->connstr('postgres'), '-f', "$base.sql" ],
		'<', '/dev/null', '>', "$base.out", '2>', "$base.err");
	for (1 .. 5000) { last if -s "$base.pid"; usleep(2000); }
	my ($pid) = slurp_file("$base.pid") =~ /(\d+)/;
	return { run => $run, pid => $pid, out => "$base.out", err => "$base.err", done => "$base.done" };
}

sub anonymous_kb
{
	my ($pid) = @_;
	open(my $f, '<', "/proc/$pid/status") or return 0;
	my $status = do { local $/; <$f> };
	return $status =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

# How far the memory of its backend grows while it runs, in kB.
sub growth
{
	my ($what) = @_;
	my ($base, $peak) = (anonymous_kb($what->{pid}), 0);
	until (-s $what->{done})
	{
		my $kb = anonymous_kb($what->{pid});
		$peak = $kb if $kb > $peak;
		usleep(10_000);
	}
	$what->{run}->finish;
	return $peak - $base;
}

# ---- the plan of all of them, the run, and who watches it
my $plan = start_psql('plan', "SELECT count(*), sum(row_count), count(problem) FROM consolidate_plan('s', 'tmp_deuda');");
my $plan_kb = growth($plan);
is(slurp_file($plan->{out}), $tables . '|' . int($tables / 10) * 50 . "|0\n", 'the plan sees every table');
cmp_ok($plan_kb, '<', 64 * 1024, 'and takes less than 64 MB for it');

my $run = start_psql('run', "CALL consolidate('s', 'tmp_deuda');");
my ($base_kb, $peak_kb) = (anonymous_kb($run->{pid}), 0);
my ($locks, $seen, $between, $with_eta) = (0, 0, 0, 0);
my $last = -1;
my $monotonic = 1;
until (-s $run->{done})
{
	my $row = $node->safe_psql('postgres',
		"SELECT (SELECT count(*) FROM pg_locks WHERE pid = $run->{pid}), state, tables_done, tables_total, eta IS NOT NULL FROM consolidate_progress");
	my ($n, $state, $done, $total, $eta) = split /\|/, $row;
	if (defined $n)
	{
		$locks = $n if $n > $locks;
		$seen++;
		$between++ if $state eq 'running' && $done > 0 && $done < $total;
		$with_eta++ if $eta eq 't';
		$monotonic = 0 if $done < $last;
		$last = $done;
	}
	my $kb = anonymous_kb($run->{pid});
	$peak_kb = $kb if $kb > $peak_kb;
}
$run->{run}->finish;
note("$seen looks, $between in the middle, at most $locks locks, $peak_kb kB against $base_kb kB at first");
unlike(slurp_file($run->{err}), qr/ERROR/, "$tables tables in one call at default settings");
like(slurp_file($run->{err}), qr/NOTICE:  consolidate: \d+ of $tables tables/, 'says how far it is');
is($node->safe_psql('postgres', "SELECT state, tables_done, tables_left, rows_done FROM consolidate_progress"),
	"finished|$tables|0|" . int($tables / 10) * 50, 'progress at the end');
cmp_ok($between, '>', 3, 'another session sees it in the middle');
cmp_ok($with_eta, '>', 0, 'with the time that is left');
ok($monotonic, 'never going back');
cmp_ok($locks, '<=', 700, 'never more than 700 locks');
cmp_ok($locks, '>', 100, 'locks were looked at');
cmp_ok($peak_kb - $base_kb, '<', 64 * 1024, 'less than 64 MB');

# ---- one large table: the sorts of its key and of the target's indexes do not fit
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA big;
CREATE TABLE big.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
INSERT INTO big.tmp_deuda_1 SELECT g, g, 1, (g::bigint * 7919) % 2147483629 FROM generate_series(1, 2500000) g;
SQL
$run = start_psql('big', "CALL consolidate('big', 'tmp_deuda');");
my $big_kb = growth($run);
note("2,500,000 rows: $big_kb kB");
is($node->safe_psql('postgres', "SELECT tables_done, rows_done, state FROM consolidate_progress WHERE source_schema = 'big'"), '1|2500000|finished', 'a large table');
cmp_ok($big_kb, '<', 64 * 1024, 'in less than 64 MB');
is($node->safe_psql('postgres', "SELECT count(*), max(array_length(reloptions, 1)) FROM pg_class WHERE relnamespace = 'big'::regnamespace"), '3|',
	'how its indexes were built leaves no trace');
$node->safe_psql('postgres', "DROP SCHEMA big CASCADE; DELETE FROM consolidate_source WHERE source_schema = 'big'; DELETE FROM consolidate_run WHERE source_schema = 'big'");

# a batch as large as it goes: it commits before the locks become too many
$node->safe_psql('postgres', <<'SQL');
DO $$ BEGIN
  FOR i IN 1 .. 400 LOOP
    EXECUTE 'CREATE TABLE s.tmp_deuda_9' || i || '0000 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer PRIMARY KEY, UNIQUE (importe), UNIQUE (facsocemi))';
  END LOOP;
END $$;
SQL
# ... each of which makes the drop wait for somebody for a moment, so that locks can be counted
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE s.counted (n bigint);
CREATE FUNCTION s.count_locks() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO s.counted SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid(); END $$;
CREATE EVENT TRIGGER count_locks ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION s.count_locks();
SQL
$node->safe_psql('postgres', "CALL consolidate('s', 'tmp_deuda', batch => 1000)");
is($node->safe_psql('postgres', "SELECT tables_done FROM consolidate_progress"), 400, 'batch => 1000 takes them all');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM s.counted"), '>', 3, "a user's event trigger sees the drops");
cmp_ok($node->safe_psql('postgres', "SELECT max(n) FROM s.counted"), '<=', 700, 'with indexes too, never more than 700 locks');
$node->safe_psql('postgres', "DROP EVENT TRIGGER count_locks");

# ---- a source in use while a run polls for it: nobody is held up
$node->safe_psql('postgres', "CREATE TABLE s.tmp_deuda_777777 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);"
	  . "CREATE TABLE s.tmp_deuda_777778 (LIKE s.tmp_deuda_777777); CREATE TABLE s.waits AS SELECT");
# the writer stays in its transaction until the test has had its look, however slow the machine
my $writer = start_psql('writer', "BEGIN;\nINSERT INTO s.tmp_deuda_777777 VALUES (1, 1, 1, 1);\n"
	  . "DO 'BEGIN WHILE EXISTS (SELECT FROM s.waits) LOOP PERFORM pg_sleep(0.1); END LOOP; END';\nCOMMIT;");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = 's.tmp_deuda_777777'::regclass AND granted");
my $poller = start_psql('poller', "CALL consolidate('s', 'tmp_deuda', lock_wait => '60s');");
$node->poll_query_until('postgres', "SELECT tables_done = 1 AND state = 'running' FROM consolidate_progress");
is($node->safe_psql('postgres', "SET lock_timeout = '200ms'; INSERT INTO s.tmp_deuda_777777 VALUES (2, 2, 2, 2); SELECT count(*) FROM s.tmp_deuda_777777"),
	1, 'somebody else reads and writes it under a short lock_timeout');
$node->safe_psql('postgres', 'DELETE FROM s.waits');
$writer->{run}->finish;
$poller->{run}->finish;
unlike(slurp_file($poller->{err}), qr/ERROR|skipped:/, 'and when it is free, it is taken by the same call');
is($node->safe_psql('postgres', "SELECT sum(importe) FROM s.tmp_deuda WHERE proceso_id = 777777"), '3.00', 'with all that was written');

# ---- dump and restore: rows, records, and families of one's own
$node->safe_psql('postgres', "SELECT consolidate_define('mia', '^mia_(\\d+)\$', 'mia', '{k}')");
$node->safe_psql('postgres', "CREATE TABLE s.mia_1 (k integer, t text COLLATE \"C\", d date, f float8); INSERT INTO s.mia_1 VALUES (1, 'ñ', '2024-01-01', 0.1), (2, NULL, 'infinity', 'NaN'), (NULL, 'x', NULL, NULL)");
$node->safe_psql('postgres', "CALL consolidate('s', 'mia', on_reject => 'keep')");
my $dump = $node->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('copy'), '-f', $dump ], 'restore');
my $state = "SELECT (SELECT count(*) FILTER (WHERE ok) FROM consolidate_verify('s', 'tmp_deuda')), (SELECT count(*) FROM consolidate_verify('s', 'tmp_deuda')),"
  . " (SELECT string_agg(checksum_now || ok, ',') FROM consolidate_verify('s', 'mia')), (SELECT count(*) FROM consolidate_rejected),"
  . " (SELECT array_agg(family ORDER BY family) FROM consolidate_family), (SELECT count(*) FROM consolidate_run)";
is($node->safe_psql('copy', $state), $node->safe_psql('postgres', $state), 'the same records, checksums and rows after dump and restore');
$node->safe_psql('copy', "CALL consolidate_restore('s', 'mia'); CALL consolidate_restore('s', 'tmp_deuda', 777777)");
is($node->safe_psql('copy', "SELECT string_agg(x::text, ' ' ORDER BY k) FROM s.mia_1 x"), '(1,ñ,2024-01-01,0.1) (2,,infinity,NaN) (,x,,)', 'and restored from there');
# the extension goes, the data stays
$node->safe_psql('copy', 'DROP EXTENSION aquacis');
is($node->safe_psql('copy', "SELECT (SELECT count(*) FROM s.tmp_deuda), (SELECT count(*) FROM consolidate_rejected)"),
	int($tables / 10) * 50 . '|0', 'DROP EXTENSION drops no data');

# ---- the memory of what is refused, kept aside, and brought back
sub grown_kb
{
	my ($name, $sql) = @_;
	my $run = start_psql($name, "SET client_min_messages = error;\n$sql");
	my ($base, $peak) = (anonymous_kb($run->{pid}), 0);
	until (-s $run->{done})
	{
		my $kb = anonymous_kb($run->{pid});
		$peak = $kb if $kb > $peak;
		usleep(10_000);
	}
	$run->{run}->finish;
	is(slurp_file($run->{err}), '', "$name goes well");
	note("$name: $peak kB against $base kB at first");
	return $peak - $base;
}
$node->safe_psql('postgres', "SELECT consolidate_define('dos', pattern => '^dos_(\\d+)\$', target => 'dos', key => '{k}');"
	  . " CREATE TABLE s.dos_1 AS SELECT NULL::integer AS k, g AS v FROM generate_series(1, 100000) g");
cmp_ok(grown_kb('keep', "CALL consolidate('s', 'dos', on_reject => 'keep');"), '<', 64 * 1024, '100,000 rejected rows take less than 64 MB');
cmp_ok(grown_kb('restore', "CALL consolidate_restore('s', 'tmp_deuda');"), '<', 64 * 1024, 'so do all tables on the way back');
# each refused because rows of its process are in the target
$node->safe_psql('postgres', "INSERT INTO s.tmp_deuda (proceso_id, faccnttnum) SELECT i, 0 FROM generate_series(1, $tables) i");
cmp_ok(grown_kb('refuse', "CALL consolidate('s', 'tmp_deuda');"), '<', 64 * 1024, 'and all tables that are refused');
is($node->safe_psql('postgres', "SELECT tables_skipped FROM consolidate_progress WHERE family = 'tmp_deuda'"), $tables, 'which they are');

$node->stop;
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP|out of shared memory/, 'a quiet server log');
done_testing();
