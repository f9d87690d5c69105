# audit_changes: eight writers that sleep, roll back and prepare, two consumers that stop, roll
# back and start anew with portions of any size.  Each committed change comes exactly once;
# a replica that is made from the feed alone has the sum of all transfers right whenever a
# consumer commits, and is the source at the end.  Then a crash, a standby, a dump, times of commits.
use strict;
use warnings;
use IPC::Run qw(start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $scale = $ENV{AQUACIS_TEST_SCALE} || 1;
my $seconds = 12 * $scale;
my $node = PostgreSQL::Test::Cluster->new('feed');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "max_prepared_transactions = 20\nautovacuum_naptime = 1s\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION aquacis;
SELECT audit_install();
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int NOT NULL REFERENCES account, note text);
SELECT audit_enable('account'), audit_enable('child');
INSERT INTO account SELECT i, 1000 FROM generate_series(1, 60) i;

-- a consumer in SQL: its position is in a table, its replica beside it
CREATE TABLE consumer (name text PRIMARY KEY, pos text);
INSERT INTO consumer VALUES ('a', NULL), ('b', NULL);
CREATE TABLE seen (name text, xact_id xid8, xact_seq int, PRIMARY KEY (name, xact_id, xact_seq));
CREATE TABLE copy_account (name text, id int, balance bigint NOT NULL, PRIMARY KEY (name, id));
CREATE TABLE copy_child (name text, id bigint, account int NOT NULL, note text, PRIMARY KEY (name, id));
CREATE FUNCTION apply(who text, r record) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	IF r.action = 'I' AND r.table_name = 'account' THEN
		INSERT INTO copy_account SELECT who, (r.new_data->>'id')::int, (r.new_data->>'balance')::bigint;
	ELSIF r.action = 'I' THEN
		INSERT INTO copy_child SELECT who, (r.new_data->>'id')::bigint, (r.new_data->>'account')::int, r.new_data->>'note';
	ELSIF r.action = 'U' AND r.table_name = 'account' THEN
		-- the value before has to be the one that is there
		UPDATE copy_account c SET balance = (r.changed_fields->'balance'->>'new')::bigint
		WHERE name = who AND id = r.record_id AND balance = (r.changed_fields->'balance'->>'old')::bigint;
	ELSIF r.action = 'U' THEN
		UPDATE copy_child c SET note = r.changed_fields->'note'->>'new'
		WHERE name = who AND id = r.record_id AND note IS NOT DISTINCT FROM r.changed_fields->'note'->>'old';
	ELSIF r.action = 'D' AND r.table_name = 'account' THEN
		DELETE FROM copy_account c WHERE name = who AND id = r.record_id AND balance = (r.old_data->>'balance')::bigint;
	ELSE
		DELETE FROM copy_child c WHERE name = who AND id = r.record_id;
	END IF;
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n <> 1 THEN
		RAISE EXCEPTION 'out of order: % % % %', who, r.action, r.table_name, r;
	END IF;
END $$;
-- one portion; returns how many entries, and raises when the copy is no state that the source was in
CREATE FUNCTION consume(who text, portion int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	p text;
	r record;
	n int := 0;
	total bigint;
BEGIN
	SELECT pos INTO p FROM consumer WHERE name = who FOR UPDATE;
	FOR r IN SELECT * FROM audit_changes(p, portion) LOOP
		INSERT INTO seen VALUES (who, r.xact_id, r.xact_seq);
		PERFORM apply(who, r);
		p := r.position;
		n := n + 1;
	END LOOP;
	UPDATE consumer SET pos = p WHERE name = who;
	SELECT sum(balance) INTO total FROM copy_account WHERE name = who;
	IF total <> 60000 THEN
		RAISE EXCEPTION '%: a sum of % in the middle of a transfer', who, total;
	END IF;
	IF EXISTS (SELECT FROM copy_child c LEFT JOIN copy_account a ON a.name = who AND a.id = c.account WHERE c.name = who AND a.id IS NULL) THEN
		RAISE EXCEPTION '%: a child without its account', who;
	END IF;
	RETURN n;
END $$;
SQL

my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/load.sql", <<'SQL');
\set a random(1, 60)
\set b random(1, 60)
\set how random(1, 12)
\set ms random(1, 40)
\set less :a < :b
\set late :how = 3
\set slow :how = 4
\set delete :how = 5
\set undo :how = 6
BEGIN;
\if :less
UPDATE account SET balance = balance - 7 WHERE id = :a;
\else
UPDATE account SET balance = balance - 7 WHERE id = :b;
\endif
SAVEPOINT s;
INSERT INTO child (account, note) VALUES (:a, 'x');
UPDATE child SET note = note || 'y' WHERE id = (SELECT max(id) FROM child WHERE account = :a);
\if :late
ROLLBACK TO s;
\endif
\if :slow
SELECT pg_sleep(:ms / 100.0);
\endif
\if :delete
DELETE FROM child WHERE id IN (SELECT id FROM child ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED);
\endif
\if :less
UPDATE account SET balance = balance + 7 WHERE id = :b;
\else
UPDATE account SET balance = balance + 7 WHERE id = :a;
\endif
\if :undo
ROLLBACK;
\else
COMMIT;
\endif
SQL
sub portions
{
	my ($name, $end) = @_;
	my @bad;
	my ($calls, $rows) = (0, 0);
	while (time < $end)
	{
		# one session makes a few portions; some are rolled back, some sessions are killed on their way
		my $sql = "SET client_min_messages = warning;\n";
		for (1 .. 1 + int rand 12)
		{
			my $isolation = rand() < 0.2 ? 'REPEATABLE READ' : 'READ COMMITTED';
			my $portion = (60, 100, 1000, 5000)[ int rand 4 ];
			$sql .= "BEGIN ISOLATION LEVEL $isolation; SELECT 'n', consume('$name', $portion); " . (rand() < 0.25 ? 'ROLLBACK' : 'COMMIT') . ";\n";
			$sql .= "SELECT pg_sleep(0.05);\n" if rand() < 0.5;
		}
		$sql .= "SELECT pg_terminate_backend(pg_backend_pid());\n" if rand() < 0.2;
		my ($ret, $out, $err) = $node->psql('postgres', $sql);
		$calls++ while $out =~ /^n\|/mg;
		push @bad, $err if $err =~ /ERROR/;
	}
	return ($calls, @bad);
}

# a transaction that has nothing to do with all this, and one that has, are prepared and stay open
$node->safe_psql('postgres', "CREATE TABLE other (i int); BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'unrelated'");
$node->safe_psql('postgres', "BEGIN; INSERT INTO account VALUES (61, 0); PREPARE TRANSACTION 'audited'");

my $load = start([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', $seconds, '-f', "$dir/load.sql", '--max-tries=1', '-p', $node->port, '-h', $node->host, 'postgres' ],
	'>', "$dir/pgbench.out", '2>', "$dir/pgbench.err");
my $end = time + $seconds;
my $pid = fork;
if ($pid == 0)
{
	srand 7;
	my ($calls, @bad) = portions('b', $end);
	append_to_file("$dir/b.out", join "\n", $calls, @bad);
	require POSIX;
	POSIX::_exit(0);
}
srand 11;
my ($calls, @bad) = portions('a', $end);
waitpid $pid, 0;
$load->finish;
is(scalar @bad, 0, 'consumer a: each portion fits what is there, and leaves a state that the source was in') or diag $bad[0];
my ($calls_b, $bad_b) = split /\n/, slurp_file("$dir/b.out"), 2;
ok(!$bad_b, 'consumer b, too') or diag $bad_b;
cmp_ok($calls, '>', 10, "consumer a made $calls portions, b $calls_b");

sub drain
{
	my ($name) = @_;
	my $n;
	do { $n = $node->safe_psql('postgres', "SELECT consume('$name', 100000)") } while ($n > 0);
	return;
}

my $differences = <<'SQL';
SELECT (SELECT count(*) FROM (SELECT xact_id, xact_seq FROM audit_log EXCEPT SELECT xact_id, xact_seq FROM seen WHERE name = 'NAME') x),
	(SELECT count(*) FROM (SELECT xact_id, xact_seq FROM seen WHERE name = 'NAME' EXCEPT SELECT xact_id, xact_seq FROM audit_log) x),
	(SELECT count(*) FROM (SELECT id, balance FROM account EXCEPT SELECT id, balance FROM copy_account WHERE name = 'NAME') x),
	(SELECT count(*) FROM (SELECT id, balance FROM copy_account WHERE name = 'NAME' EXCEPT SELECT id, balance FROM account) x),
	(SELECT count(*) FROM (SELECT id, account, note FROM child EXCEPT SELECT id, account, note FROM copy_child WHERE name = 'NAME') x),
	(SELECT count(*) FROM (SELECT id, account, note FROM copy_child WHERE name = 'NAME' EXCEPT SELECT id, account, note FROM child) x)
SQL
my $entries = $node->safe_psql('postgres', 'SELECT count(*) FROM audit_log');
cmp_ok($entries, '>', 1000, "the log has $entries entries");
for my $name ('a', 'b')
{
	drain($name);
	is($node->safe_psql('postgres', $differences =~ s/NAME/$name/gr), '0|0|0|0|0|0', "consumer $name: nothing lost, nothing twice, the copy is the source");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM copy_account WHERE id = 61"), 0, 'what is only prepared is not there');
$node->safe_psql('postgres', "COMMIT PREPARED 'audited'");
drain('a');
is($node->safe_psql('postgres', "SELECT count(*) FROM copy_account WHERE id = 61"), 1, 'and comes with its COMMIT PREPARED');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'unrelated'");

# a third consumer, to whom row security applies: intervals are small then, and are cut between
# transactions that overlap.  He reads all from the beginning, in sessions of a few portions.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE reader LOGIN;
GRANT SELECT ON audit_log TO reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON consumer, seen, copy_account, copy_child TO reader;
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON audit_log TO reader USING (true);
INSERT INTO consumer VALUES ('c', NULL);
SQL
my $portions = 0;
for (1 .. 1000)
{
	my $out = $node->safe_psql('postgres', "SELECT consume('c', 200) FROM generate_series(1, 4)", extra_params => [ '-U', 'reader' ]);
	$portions++;
	last if $out =~ /^0$/m;
}
cmp_ok($portions, '>', 2, 'the third consumer is sent many small intervals');
is($node->safe_psql('postgres', $differences =~ s/NAME/c/gr), '0|0|0|0|0|0', 'consumer c: the same');

# a position that has seen a commit of synchronous_commit = off survives a crash together with it
my $p = $node->safe_psql('postgres', 'SELECT audit_position()');
my $after = $node->safe_psql('postgres', "SET synchronous_commit = off; UPDATE account SET balance = balance WHERE id = 1; UPDATE account SET balance = balance + 1 WHERE id = 1; SELECT position FROM audit_changes('$p')");
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "SELECT count(*) FROM audit_changes('$p')"), 1, 'after a crash, what was handed out is there');
is($node->safe_psql('postgres', "SELECT count(*) FROM audit_changes('$after')"), 0, '... and its position is good');

# a standby: what runs on the primary is not committed there, whatever pg_current_snapshot() shows
$node->backup('b');
my $class = 'PostgreSQL::Test::Cluster';
my $standby = $class->can('get_new_node') ? $class->get_new_node('standby') : $class->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', "BEGIN; UPDATE account SET balance = balance + 1 WHERE id = 2; PREPARE TRANSACTION 'slow'");
$node->safe_psql('postgres', 'UPDATE account SET balance = balance + 1 WHERE id = 3');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $there = $standby->safe_psql('postgres', "SELECT record_id, position FROM audit_changes('$after')");
like($there, qr/^3\|/, 'a standby hands out what has committed');
my ($pos) = $there =~ /\|(.*)/;
$node->safe_psql('postgres', "COMMIT PREPARED 'slow'");
is($node->safe_psql('postgres', "SELECT record_id FROM audit_changes('$pos')"), 2, '... the primary goes on with what was open there');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', "SELECT record_id FROM audit_changes('$pos')"), 2, '... and the standby, too');
$standby->stop;
$node->safe_psql('postgres', 'UPDATE account SET balance = balance + 1 WHERE id = 4');
$pos = $node->safe_psql('postgres', 'SELECT audit_position()');
$standby->start;
SKIP:
{
	# the standby has replayed it by now, or refuses the position
	my ($ret, $out, $err) = $standby->psql('postgres', "SELECT count(*) FROM audit_changes('$pos')");
	ok($ret == 0 ? $out eq '0' : $err =~ /the position is ahead/, 'a position that is ahead of the standby is refused');
}
$standby->stop;

# a dump: positions of the former database are refused, what was restored comes at the beginning and not later
my $dump = "$dir/dump.sql";
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'a dump, with an index of our operator class');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], '... is restored');
my ($ret, $out, $err) = $node->psql('restored', "SELECT * FROM audit_changes('$pos')");
like($err, qr/ERROR:  the position is of another database/, '... and positions of the other one are refused');
is($node->safe_psql('restored', 'SELECT count(*) FROM audit_changes(NULL, 10000000)'), $node->safe_psql('restored', 'SELECT count(*) FROM audit_log'),
	'... and all entries are at the beginning');
$pos = $node->safe_psql('restored', 'SELECT audit_position()');
$node->safe_psql('restored', 'UPDATE account SET balance = 0 WHERE id = 1');
is($node->safe_psql('restored', "SELECT record_id FROM audit_changes('$pos')"), 1, '... and none of them later');
$node->safe_psql('restored', 'DROP EXTENSION aquacis CASCADE');
is($node->safe_psql('restored', "SELECT to_regclass('audit_log') IS NOT NULL"), 't', 'DROP EXTENSION CASCADE leaves the log');

# times of commits: a child whose parent was made by another transaction after the child's entry was written
$node->append_conf('postgresql.conf', "track_commit_timestamp = on\n");
$node->restart;
$node->safe_psql('postgres', 'ALTER TABLE child ALTER CONSTRAINT child_account_fkey DEFERRABLE INITIALLY DEFERRED');
$pos = $node->safe_psql('postgres', 'SELECT audit_position()');
my $writer = start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', "BEGIN; INSERT INTO child (account) VALUES (99); SELECT pg_sleep(2); COMMIT" ]);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%VALUES (99)%' AND wait_event = 'PgSleep'");
$node->safe_psql('postgres', 'INSERT INTO account VALUES (99, 0)');
$writer->finish;
is($node->safe_psql('postgres', "SELECT string_agg(table_name, ' ') FROM audit_changes('$pos')"), 'account child',
	'with track_commit_timestamp the parent comes before the child');

$node->stop;
done_testing();
