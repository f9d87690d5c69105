# Neighbours: the same families in two databases of one server and in two
# schemas of one database, at the same time.  The databases come from one
# template, so that their schemas have the same OIDs.
use strict;
use warnings;
use lib 't/lib';

use IPC::Run;
use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nautovacuum = off\nlc_messages = 'C'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE uno');
$node->safe_psql('uno', legacy_sql(tables => 40, rows => 300, contracts => 200));
$node->safe_psql('uno', q{
	CREATE TABLE cf.tmp_deuda (proceso_id bigint, LIKE cf.tmp_deuda_1, created_at timestamptz DEFAULT now());
	CREATE SCHEMA cg;
	DO $$BEGIN FOR i IN 1..20 LOOP
		EXECUTE format('CREATE TABLE cg.tmp_deuda_%s AS TABLE cf.tmp_deuda_%1$s', i);
		EXECUTE format('DELETE FROM cg.tmp_deuda_%s WHERE faccnttnum IS NULL OR faccnttnum = 5', i);
		EXECUTE format('CREATE TABLE cf.aux_varscreditored_%s (cnttnum integer, impvariable numeric(18,2), impvaranterior numeric(18,2))', i);
	END LOOP; END$$;
	INSERT INTO aq.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, user_id)
	SELECT '2024-01-15'::timestamptz + g * interval '1 day', '1', g, 'cf', 'contrato', g, 'D', 'old' FROM generate_series(1, 100) g;});
$node->safe_psql('postgres', 'CREATE DATABASE dos TEMPLATE uno');
is($node->safe_psql('uno', q{SELECT 'cf'::regnamespace::oid}), $node->safe_psql('dos', q{SELECT 'cf'::regnamespace::oid}), 'both databases have one OID for the schema');
my $rows = family_rows($node, 'uno');

my @running;
sub start
{
	my ($db, $sql) = @_;
	my %one = (db => $db, out => '', err => '');
	$one{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($db), '-c', $sql ], '>', \$one{out}, '2>', \$one{err}, IPC::Run::timeout(180));
	push @running, \%one;
	return \%one;
}

# The first runs of two families at once make one table for rejected rows.
$node->safe_psql('postgres', 'CREATE DATABASE tres TEMPLATE uno');
$node->safe_psql('tres', q{
	CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
		IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity ~ 'consolidate_rejected') THEN
			PERFORM pg_advisory_xact_lock_shared(1);
		END IF;
	END$$;
	CREATE EVENT TRIGGER wait ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION wait();});
my $gate = start('tres', q{SELECT pg_advisory_lock(1); SELECT pg_sleep(180)});
$node->poll_query_until('tres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted}) or BAIL_OUT('no gate');
my $first = start('tres', q{CALL aq.consolidate('cg', 'tmp_deuda')});
$node->poll_query_until('tres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted}) or BAIL_OUT('the first does not wait');
my $second = start('tres', q{CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep')});
$node->poll_query_until('tres', q{SELECT count(*) = 2 FROM pg_locks WHERE NOT granted}) or BAIL_OUT('the second does not wait');
$node->safe_psql('tres', q{SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted});
eval { $_->{run}->finish } for $gate, $first, $second;
is(join('', grep { /ERROR|WARNING/ } $first->{err}, $second->{err}), '', 'two first runs at once: no error');
is($node->safe_psql('tres', 'SELECT count(*) > 0 FROM aq.consolidate_rejected') . family_rows($node, 'tres'), "t$rows", '... and every row');

# One run stands still in the middle: it waits for its target, and has its lock.
my $progress = q{SELECT source_schema, family, state, pid IS NOT NULL FROM aq.consolidate_progress ORDER BY 1, 2};
my $consolidate = q{CALL aq.consolidate('cf', 'tmp_deuda', batch => 2, on_reject => 'keep')};
my ($in, $said) = ("BEGIN;\nLOCK TABLE cf.tmp_deuda IN SHARE MODE;\n\\echo locked\n", '');
my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('uno') ], '<', \$in, '>', \$said, '2>', \$said, IPC::Run::timeout(180));
$holder->pump until $said =~ /locked/;
my $stands = start('uno', $consolidate);
$node->poll_query_until('uno', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'cf.tmp_deuda'::regclass AND NOT granted}) or BAIL_OUT('the run does not wait');
is($node->safe_psql('uno', $progress), 'cf|tmp_deuda|running|t', 'a run stands still');

my ($ret, $out, $err) = $node->psql('uno', "\\set VERBOSITY verbose\n$consolidate");
like($err, qr/ERROR:  55006:/, 'the same family in the same schema has to wait for it');
is($node->safe_psql('dos', $progress), '', 'the other database knows nothing of it');
is($node->psql('dos', $consolidate), 0, '... and consolidates its own');
is($node->safe_psql('dos', $progress), 'cf|tmp_deuda|finished|f', '... to the end');
is(family_rows($node, 'dos'), $rows, '... every row');
is($node->psql('uno', q{CALL aq.consolidate('cg', 'tmp_deuda')}), 0, 'the other schema goes on');
is($node->psql('uno', q{CALL aq.consolidate('cf', 'aux_varscreditored')}), 0, '... and the other family');
is($node->safe_psql('uno', $progress), "cf|aux_varscreditored|finished|f\ncf|tmp_deuda|running|t\ncg|tmp_deuda|finished|f", '... and only the one still runs');
is($node->psql('dos', q{CALL aq.consolidate_restore('cf', 'tmp_deuda')}), 0, 'restoring there');
is(family_rows($node, 'dos'), $rows, '... every row');

$in = "COMMIT;\n\\q\n";
$holder->finish;
$stands->{run}->finish;
is($stands->{err} =~ /ERROR/, '', 'the run that stood still goes on');
is(family_rows($node, 'uno'), $rows, '... with every row');
is($node->safe_psql('uno', q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_\d'}), '0', '... to the end');

# Everything at once, there and back again.
my $maintain = 'CALL aq.audit_maintain(months_ahead => 6)';
for my $round (1 .. 3)
{
	@running = ();
	start($_, $round == 2 ? $consolidate : q{CALL aq.consolidate_restore('cf', 'tmp_deuda')}) for qw(uno dos);
	start($_, $round == 2 ? q{CALL aq.consolidate('cg', 'tmp_deuda')} : q{CALL aq.consolidate_restore('cg', 'tmp_deuda')}) for qw(uno dos);
	start($_, $maintain) for qw(uno dos);
	start($_, 'UPDATE cf.contrato SET importe = importe + 1') for qw(uno dos);
	$_->{run}->finish for @running;
	is(join('', map { "$_->{db}: $_->{err}" } grep { $_->{err} =~ /ERROR|WARNING/ } @running), '', "all at once, round $round: no error");
	is(family_rows($node, $_), $rows, "all at once, round $round: every row, $_") for qw(uno dos);
}
for my $db (qw(uno dos))
{
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_\d'}), '60', "$db: in the end all sources are back");
	is($node->safe_psql($db, q{SELECT (SELECT count(*) FROM aq.audit_log_default), count(*) FROM aq.audit_log WHERE action = 'U' AND changed_fields ? 'importe'}), '0|594', "$db: and every change is logged");
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', "$db: no lock is left");
}
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leak|deadlock/, 'no crash, no leak, no deadlock in the log');
$node->stop;
done_testing();
