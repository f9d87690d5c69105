# An owner who changes what she owns while others use it: between our look and our use
# nothing that she does may matter.
#
# mallory adds and drops the CHECK of a domain, casts, triggers, defaults and statistics in a
# loop, none of which waits for a lock that we hold on her tables, while the DBA
# consolidates, verifies and restores, and while he writes to a table whose log is hers.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nlog_min_error_statement = panic\nautovacuum = off\nmax_locks_per_transaction = 256\n");
$node->start;

sub as
{
	my ($user, $sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $user ], on_error_stop => 1);
	die "as $user: $err\n$sql" if $ret;
	return $out;
}

as('postgres', q{
	CREATE ROLE mallory LOGIN;
	CREATE EXTENSION aquacis;
	CREATE SCHEMA m AUTHORIZATION mallory; GRANT USAGE ON SCHEMA m TO PUBLIC;});
as('mallory', q{CREATE TYPE m.en AS ENUM ('a')});
as('postgres', q{
	SELECT consolidate_define('libre', pattern => '^libre_(\d+)$', target => 'libre', key => '{k}', columns => '{k int,v text,e m.en}');
});
as('mallory', q{
	CREATE FUNCTION m.w() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		RAISE LOG 'witness: ran as %', current_user;
		ALTER ROLE mallory SUPERUSER;
	EXCEPTION WHEN OTHERS THEN NULL;
	END$$;
	CREATE FUNCTION m.yes(x int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN true; END';
	CREATE FUNCTION m.yes(x text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN true; END';
	CREATE FUNCTION m.one() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN 1; END';
	CREATE FUNCTION m.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM m.w(); RETURN NEW; END';
	CREATE DOMAIN m.late AS int;
	CREATE DOMAIN m.latetext AS text;
	CREATE FUNCTION m.en_json(m.en) RETURNS json LANGUAGE plpgsql AS $$BEGIN PERFORM m.w(); RETURN '{}'; END$$;
	CREATE TABLE m.libre (proceso_id bigint, k int, v text, e m.en, n bigint GENERATED ALWAYS AS IDENTITY, x m.late);
	CREATE TABLE m.log (changed_at timestamptz, table_name text, record_id bigint, action char(1), xact_id xid8, xact_seq int, old_data jsonb, new_data jsonb, changed_fields jsonb,
		user_id m.latetext, x m.late);
	-- all at once, so that no lock of ours keeps her waiting for long
	CREATE PROCEDURE m.meddle(seconds float8) LANGUAGE plpgsql AS $$
	DECLARE
		until timestamptz := clock_timestamp() + make_interval(secs => seconds);
		done jsonb := '{}';
		what text;
	BEGIN
		SET lock_timeout = '5ms';
		WHILE clock_timestamp() < until LOOP
			FOREACH what IN ARRAY ARRAY[
				'ALTER DOMAIN m.late ADD CONSTRAINT c CHECK (m.yes(VALUE)) NOT VALID',
				'ALTER DOMAIN m.latetext ADD CONSTRAINT c CHECK (m.yes(VALUE)) NOT VALID',
				'CREATE CAST (m.en AS json) WITH FUNCTION m.en_json(m.en)',
				'CREATE TRIGGER t BEFORE INSERT ON m.libre FOR EACH ROW EXECUTE FUNCTION m.tr()',
				'CREATE TRIGGER t BEFORE INSERT ON m.log FOR EACH ROW EXECUTE FUNCTION m.tr()',
				'ALTER TABLE m.log ALTER x SET DEFAULT m.one()',
				'ALTER TABLE m.libre ALTER x SET DEFAULT m.one()',
				'CREATE STATISTICS m.st ON (k + m.one()), x FROM m.libre',
				'CREATE STATISTICS m.st2 ON (record_id + m.one()), x FROM m.log',
				'ALTER DOMAIN m.late DROP CONSTRAINT c', 'ALTER DOMAIN m.latetext DROP CONSTRAINT c', 'DROP CAST (m.en AS json)',
				'DROP TRIGGER t ON m.libre', 'DROP TRIGGER t ON m.log', 'ALTER TABLE m.log ALTER x DROP DEFAULT', 'ALTER TABLE m.libre ALTER x DROP DEFAULT',
				'DROP STATISTICS m.st', 'DROP STATISTICS m.st2'] LOOP
				BEGIN
					EXECUTE what;
					done := done || jsonb_build_object(what, coalesce((done->>what)::int, 0) + 1);
				EXCEPTION WHEN OTHERS THEN
					done := done || jsonb_build_object('not ' || what, SQLERRM);
				END;
				COMMIT;
			END LOOP;
		END LOOP;
		RAISE NOTICE '%', (SELECT string_agg(key || ': ' || value, E'\n') FROM jsonb_each_text(done));
	END$$;});
as('mallory', join ';', map { "CREATE TABLE m.libre_$_ (k int, v text, e m.en); INSERT INTO m.libre_$_ SELECT g, 'v' || g, 'a' FROM generate_series(1, 5) g" } 1 .. 60);
as('postgres', q{
	CREATE TABLE vigilada (id int PRIMARY KEY, v int, e m.en);
	SET client_min_messages = warning;
	CREATE TABLE todo (que text);});
# (a log with a type of hers is refused when she does not own the log; this one is hers)
as('postgres', q{SET client_min_messages = warning; SELECT audit_enable('vigilada', log => 'm.log')});

# A session that runs beside us.  Its commands are in a file: IPC::Run would hand them over when we wait for it.
my $scripts = 0;
my $dir = PostgreSQL::Test::Utils::tempdir();
sub start
{
	my ($user, $sql, $out) = @_;
	my $file = "$dir/" . $scripts++ . '.sql';
	append_to_file($file, $sql);
	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-U', $user, '-f', $file ], '<', \undef, '>&', $out, IPC::Run::timeout(300));
}

my $seconds = $ENV{AQUACIS_RACE_SECONDS} || 12;
my ($meddled, $said, $wrote) = ('', '', '');
my $round = q{
	CALL consolidate('m', 'libre', batch => 7, lock_wait => '20ms', on_reject => 'keep');
	SELECT count(*) FILTER (WHERE NOT ok) FROM consolidate_verify('m', 'libre') \g /dev/null
	CALL consolidate_restore('m', 'libre');
	SELECT count(*) FROM consolidate_plan('m', 'libre') \g /dev/null
};
my $write = q{
	INSERT INTO vigilada SELECT g, g, 'a' FROM generate_series(1, 50) g ON CONFLICT (id) DO UPDATE SET v = vigilada.v + 1;
	UPDATE vigilada SET v = v + 1 WHERE id % 5 = 0;
	DELETE FROM vigilada WHERE id > 40;
	SELECT count(*) FROM audit_history('vigilada', '7') \g /dev/null
	SELECT * FROM audit_status \g /dev/null
};
my $meddler = start('mallory', "CALL m.meddle($seconds);", \$meddled);
my $until = time + $seconds;
my $rounds = 0;
while (time < $until)
{
	my $writer = start('postgres', $write x 10, \$wrote);
	start('postgres', $round, \$said)->finish;
	$writer->finish;
	$rounds++;
}
$meddler->finish;
my @kinds = $meddled =~ /^(?!not ).*: (\d+)$/mg;
is(scalar @kinds, 18, "she was busy, beside $rounds rounds") or diag($meddled);
my $log = slurp_file($node->logfile);
my %ran;
$ran{$1}++ while $log =~ /witness: ran as (\w+)/g;
cmp_ok($ran{mallory} // 0, '>', 10, 'her code ran');
is(join(' ', sort keys %ran), 'mallory', '... as her alone');
is(as('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', '... who is no superuser');
# (that a statistics object goes while a query is planned is the server's own matter)
unlike("$said$wrote", qr/(XX\d\d\d|PANIC|cache lookup failed for (?!statistics object)|server closed)/, 'no internal error') or diag("$said$wrote");

# what is left to do is done, and every row is there
as('mallory', q{ALTER TABLE m.libre ALTER x DROP DEFAULT; DROP TRIGGER IF EXISTS t ON m.libre; DROP TRIGGER IF EXISTS t ON m.log; DROP STATISTICS IF EXISTS m.st, m.st2});
as('postgres', q{SET client_min_messages = warning; CALL consolidate('m', 'libre', on_reject => 'keep'); CALL consolidate_restore('m', 'libre')});
is(as('mallory', join(' UNION ALL ', map { "SELECT $_, count(*), sum(k), string_agg(v, ' ' ORDER BY k) FROM m.libre_$_" } 1 .. 60) . ' ORDER BY 1'),
	join("\n", map { "$_|5|15|v1 v2 v3 v4 v5" } 1 .. 60), 'every row of every table is where it was');
is(as('mallory', 'SELECT count(*) FROM m.libre'), '0', '... and none is in the target, too');
# every change of the audited table is in the log: replayed, it gives the table
is( as('postgres', q{SET ROLE mallory;
		CREATE TEMP TABLE replayed AS SELECT DISTINCT ON (record_id) record_id, action FROM m.log WHERE table_name = 'vigilada' ORDER BY record_id, xact_id DESC, xact_seq DESC;
		SELECT string_agg(record_id::text, ' ' ORDER BY record_id) FROM replayed WHERE action <> 'D'}),
	as('postgres', q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM vigilada}), 'the log knows every row that is there, and no other');

$node->stop;
done_testing();
