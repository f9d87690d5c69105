# audit_changes: eight writers that sleep, roll back and prepare, two consumers that stop, roll
# back and start anew with portions of any size.  Each committed change comes exactly once;
# a replica that is made from the feed alone has the sum of all transfers right whenever a
# consumer commits, and is the source at the end.  Then a standby, a crash, a dump, pg_upgrade's way.
use strict;
use warnings;
use IPC::Run qw(start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $scale = $ENV{AQUACIS_TEST_SCALE} // 1;
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

done_testing();
