# Kills, at random moments, while 2,643 tables are consolidated: kill -9 of the
# backend, and immediate stops of the server.  At the end every source row is
# in the target or in consolidate_rejected exactly once, and on the way every
# process is in its table whole or in the target whole.  When a consolidation
# gets to its end before the kills do, everything is restored, under the same
# kills, and it begins again.
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $kills = 100 * ($ENV{AQUACIS_TEST_SCALE} || 1);
my $seed = $ENV{AQUACIS_TEST_SEED} || int(time);
srand($seed);
note("AQUACIS_TEST_SEED=$seed");

my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', "restart_after_crash = on\nlog_min_messages = log\nlog_statement = none\n"
	  . "log_min_error_statement = panic\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION aquacis');
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA cf_quere_pro;
CREATE TABLE antes (family text, process_id bigint, row_data jsonb);
DO $$
DECLARE t text;
BEGIN
  FOR i IN 1 .. 2144 + 477 + 22 LOOP
    t := CASE WHEN i <= 2144 THEN 'tmp_deuda_' || 1779864 + i
              WHEN i <= 2144 + 477 THEN 'aux_varscreditored_' || 3018530 + i ELSE 'tmpbb_' || 4562590 + i END;
    EXECUTE format('CREATE TABLE cf_quere_pro.%I (%s)', t,
      CASE WHEN i <= 2144 THEN 'importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer'
           WHEN i <= 2144 + 477 THEN 'cnttnum integer, impvariable numeric(18,2), impvaranterior numeric(18,2)'
           ELSE 'bbfbleid numeric(10,0), bbsbid numeric(10,0), bbcnttnum numeric(10,0), bbaplicacion numeric(5,0), bbfecini date, bbfecfin date, bbvardel numeric(5,0), bbexpdid numeric(5,0), bbcptodel numeric(5,0), bbtariddel numeric(5,0), bbctponew numeric(5,0), bbtaridnew numeric(5,0), bbfecfinbonif date, bbfecinitar date' END);
    IF i % 3 = 0 THEN
      EXECUTE format('INSERT INTO cf_quere_pro.%I %s', t,
        -- every ninth table has a null key and a duplicate
        CASE WHEN i <= 2144 THEN format('SELECT g / 4.0, g, %s, CASE WHEN %1$s %% 9 > 0 OR g > 2 THEN g WHEN g = 2 THEN 3 END FROM generate_series(1, %s) g', i, 5 + i % 30)
             WHEN i <= 2144 + 477 THEN 'SELECT g, g / 8.0, NULL FROM generate_series(1, 20) g'
             ELSE 'SELECT 1, 2, g, 3, ''2024-01-01'' FROM generate_series(1, 20) g' END);
    END IF;
    EXECUTE format('INSERT INTO antes SELECT %L, %s, to_jsonb(t) FROM cf_quere_pro.%I t',
      regexp_replace(t, '_\d+$', ''), substring(t FROM '\d+$'), t);
  END LOOP;
END $$;
SQL
my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM antes');
my $tables = $node->safe_psql('postgres',
	"SELECT count(*) FROM pg_class WHERE relnamespace = 'cf_quere_pro'::regnamespace AND relkind = 'r'");
is($tables, 2643, 'the sources are there');

my @families = qw(tmp_deuda aux_varscreditored tmpbb);
my $pidfile = $node->basedir . '/victim.pid';

# A psql that writes its backend's pid and then runs the statements.
sub start_victim
{
	my ($sql) = @_;
	unlink $pidfile;
	# files, not pipes: nobody here pumps while it runs
	my $script = $node->basedir . '/victim.sql';
	my ($out, $err) = ($node->basedir . '/victim.out', $node->basedir . '/victim.err');
	open(my $f, '>', $script) or die $!;
	print $f "\\o $pidfile\nSELECT pg_backend_pid();\n\\o\nSET client_min_messages = warning;\n$sql\n\\echo finished\n";
	close $f;
	my $run = IPC::Run::start(
		[ 'psql', '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $script ],
		'<', '/dev/null', '>', $out, '2>', $err);
	for (1 .. 2000)
	{
		last if -s $pidfile;
		usleep(2000);
	}
	die 'no pid from the victim: ' . slurp_file($err) unless -s $pidfile;
	my ($pid) = slurp_file($pidfile) =~ /(\d+)/;
	return { run => $run, pid => $pid, out => $out };
}

sub wait_until_up
{
	for (1 .. 600)
	{
		# a psql that is turned away may be gone before it is told what to ask
		return if eval { $node->psql('postgres', 'SELECT 1', on_error_stop => 0, timeout => 20) == 0 };
		usleep(50_000);
	}
	die 'the server did not come back';
}

# The families whose target is there yet.
sub targets
{
	return split /\n/, $node->safe_psql('postgres',
		"SELECT relname FROM pg_class WHERE relnamespace = 'cf_quere_pro'::regnamespace AND relname IN ('"
		  . join("', '", @families) . "')");
}

# Between two kills: every process in one place, and the records true.
sub check_whole
{
	my ($when) = @_;
	my @targets = targets();
	my $both = join(' UNION ALL ', 'SELECT 1 WHERE false', map {
			"SELECT 1 FROM pg_class c JOIN cf_quere_pro.$_ t ON c.relname = '${_}_' || t.proceso_id AND c.relnamespace = 'cf_quere_pro'::regnamespace"
		} @targets);
	my $held = join(' + ', 0, map { "(SELECT count(*) FROM cf_quere_pro.$_)" } @targets);

	is($node->safe_psql('postgres', "SELECT count(*) FROM ($both) t"), 0, "no process is in both places $when");
	is($node->safe_psql('postgres',
			"SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'cf_quere_pro'::regnamespace AND relname ~ '_\\d+\$' AND relkind = 'r')"
		  . " + (SELECT count(*) FROM consolidate_source WHERE state = 'moved')"),
		2643, "every table is there or recorded as moved $when");
	is($node->safe_psql('postgres',
			"SELECT $held = (SELECT coalesce(sum(row_count), 0) FROM consolidate_source WHERE state = 'moved')"),
		't', "the targets hold the rows that are recorded $when");
}

my $consolidate = join("\n", map { "CALL consolidate('cf_quere_pro', '$_', batch => 4, on_reject => 'keep', lock_wait => '10s');" } @families);
my $restore = join("\n", map { "CALL consolidate_restore('cf_quere_pro', '$_', batch => 4);" } @families);
my ($killed, $stopped, $finished, $restored, $early) = (0, 0, 0, 0, 0);
my $direction = 'consolidate';
my $checked = 0;

while ($killed + $stopped < $kills)
{
	my $victim = start_victim($direction eq 'consolidate' ? $consolidate : $restore);
	usleep(int(rand(120_000)));
	my $by_stop = rand() < 0.3;
	if ($by_stop)
	{
		$node->stop('immediate');
		$stopped++;
	}
	elsif (kill('KILL', $victim->{pid}))
	{
		$killed++;
	}
	eval { $victim->{run}->finish };
	my $done = slurp_file($victim->{out}) =~ /finished/;
	$node->start if $by_stop;
	wait_until_up();

	# what ran to its end was not hit: it does not count
	if ($done)
	{
		$by_stop ? $stopped-- : $killed--;
		$early++;
		die 'the victims are too fast for the kills' if $early > 60;
		$direction eq 'consolidate' ? $finished++ : $restored++;
		$direction = $direction eq 'consolidate' ? 'restore' : 'consolidate';
	}
	if ($killed + $stopped >= $checked + 20)
	{
		$checked = $killed + $stopped;
		check_whole("after $checked kills");
	}
}
note("$killed kills, $stopped immediate stops; on the way $finished consolidations and $restored restores came to their end");
cmp_ok($killed + $stopped, '>=', 100, 'as many kills as promised');
cmp_ok($killed, '>', 0, 'some of them kill -9');
cmp_ok($stopped, '>', 0, 'some of them immediate stops');

# to the end, undisturbed
$node->safe_psql('postgres', $consolidate);
is($node->safe_psql('postgres',
		"SELECT count(*) FROM pg_class WHERE relnamespace = 'cf_quere_pro'::regnamespace AND relname ~ '_\\d+\$' AND relkind = 'r'"),
	0, 'no source is left');
my $now = join(' UNION ALL ',
	(map { "SELECT '$_', proceso_id, to_jsonb(t) - 'proceso_id' - 'created_at' FROM cf_quere_pro.$_ t" } @families),
	'SELECT family, process_id, row_data FROM consolidate_rejected');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT * FROM antes EXCEPT ALL ($now)) t"), 0, 'no row is lost');
is($node->safe_psql('postgres', "SELECT count(*) FROM (($now) EXCEPT ALL SELECT * FROM antes) t"), 0, 'no row is there twice');
is($node->safe_psql('postgres', "SELECT count(*) FROM ($now) t"), $rows, 'as many rows as before');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM consolidate_rejected'), '>', 100, 'rejected rows are kept');
is($node->safe_psql('postgres', join(' UNION ALL ', map { "SELECT count(*) FROM consolidate_verify('cf_quere_pro', '$_') WHERE NOT ok" } @families)),
	"0\n0\n0", 'every process verifies');
is($node->safe_psql('postgres', "SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE contype = 'p' AND connamespace = 'cf_quere_pro'::regnamespace"),
	'pk_aux_varscreditored pk_tmp_deuda pk_tmpbb', 'the targets have their keys');

# and all the way back
$node->safe_psql('postgres', $restore);
my $back = $node->safe_psql('postgres',
	"SELECT string_agg(format('SELECT %L, %s, to_jsonb(t) FROM cf_quere_pro.%I t', regexp_replace(relname, '_\\d+\$', ''), substring(relname FROM '\\d+\$'), relname), ' UNION ALL ')"
	. " FROM pg_class WHERE relnamespace = 'cf_quere_pro'::regnamespace AND relname ~ '_\\d+\$' AND relkind = 'r' AND pg_relation_size(oid) > 0");
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT * FROM antes EXCEPT ALL ($back)) t"), 0, 'restored: no row is lost');
is($node->safe_psql('postgres', "SELECT count(*) FROM (($back) EXCEPT ALL SELECT * FROM antes) t"), 0, 'restored: no row is there twice');
$node->stop;
# a server that falls over by itself would pass for killed
unlike(slurp_file($node->logfile), qr/terminated by signal (?!9\b)|PANIC|TRAP/, 'nothing but the kills ended a process');
done_testing();
