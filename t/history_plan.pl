# history_plan beside others: who is locked out, what the statistics count, whose code runs, what a
# dump carries over.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('history');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nautovacuum = off\ntimezone = 'UTC'\nconstraint_exclusion = on\nmax_locks_per_transaction = 10\nmax_connections = 10\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE SCHEMA aq;
	CREATE EXTENSION aquacis SCHEMA aq;
	CREATE SCHEMA cf;
	CREATE TABLE cf.oficina (ofiid integer PRIMARY KEY, ofinombre text, ofihsthora timestamp);
	CREATE TABLE cf.hisoficina (hofiid integer, hofinombre text, hofihsthora timestamp);
	CREATE UNLOGGED TABLE cf.hispaso (hid integer);
	INSERT INTO cf.oficina SELECT k, 'tres', timestamp '2022-01-01' + k * interval '1 day' FROM generate_series(1, 30) k;
	INSERT INTO cf.hisoficina SELECT k, s::text, timestamp '2019-01-01' + k * interval '1 day' + s * interval '1 year' FROM generate_series(1, 2) s, generate_series(1, 30) k});
my $plan = q{SELECT problem_code, holds, evidence ->> 'before', row_estimate, tier FROM aq.history_plan('cf', '{hisoficina}')};
is($node->safe_psql('postgres', $plan), '|before|30|60|1', 'planned');

# ---- locks ------------------------------------------------------------------------
# Whoever waits would run into lock_timeout.

sub while_locked
{
	my ($lock, $test) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe("BEGIN; $lock");
	$test->();
	$session->query_safe('ROLLBACK');
	$session->quit;
	return;
}

my $impatient = "SET lock_timeout = '1ms'; $plan";
while_locked('LOCK TABLE cf.hisoficina', sub { is($node->safe_psql('postgres', $impatient), 'in_use|unknown|||3', 'a history table that is locked is in use') });
while_locked('LOCK TABLE cf.oficina', sub { is($node->safe_psql('postgres', $impatient), 'in_use|unknown|||3', '... one whose base is locked, too') });
while_locked('LOCK TABLE cf.hisoficina IN EXCLUSIVE MODE; UPDATE cf.oficina SET ofinombre = NULL', sub { is($node->safe_psql('postgres', $impatient), '|before|30|60|1', 'writers do not matter') });
while_locked('REINDEX INDEX cf.oficina_pkey', sub { is($node->safe_psql('postgres', $impatient), '|before|30|60|1', 'an index that is being made again is not waited for') });
while_locked('LOCK TABLE cf.hisoficina', sub {
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT aq.history_define('cf.hisoficina', holds => 'before')");
	like($err, qr/55P03/, 'history_define of a locked table: 55P03') });
# what the plan holds while it runs: of the tables, nothing
is($node->safe_psql('postgres', qq{BEGIN; $plan; SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN ('cf.oficina'::regclass, 'cf.hisoficina'::regclass)}),
	"|before|30|60|1\n0", 'no lock is left');
# hundreds of tables in a server with room for a hundred locks
$node->safe_psql('postgres', q{CREATE SCHEMA many; SELECT format('CREATE TABLE many.t%s (tid integer PRIMARY KEY, tx text, tyhora timestamp)', g),
	format('CREATE TABLE many.hist%s (htid integer, htx text, htyhora timestamp)', g) FROM generate_series(1, 300) g \gexec});
is($node->safe_psql('postgres', q{SELECT count(*), count(base), count(problem) FROM aq.history_plan('many')}), '300|300|0', '300 tables in one call');
$node->safe_psql('postgres', q{SELECT format('DROP TABLE many.t%s, many.hist%s', g, g) FROM generate_series(1, 300) g \gexec});

# a table that only another session can read
{
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe('CREATE TEMP TABLE histemporal (htid integer, htx text, hthora timestamp); INSERT INTO histemporal VALUES (1)');
	my $temporary = $node->safe_psql('postgres', q{SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 'histemporal'});
	is($node->safe_psql('postgres', "SELECT problem_code, evidence FROM aq.history_plan('$temporary')"), 'no_base|', 'a temporary table of another session is not read');
	$session->quit;
}

# ---- statistics ---------------------------------------------------------------------

my $scans = q{SELECT scans, scans_since IS NULL FROM aq.history_plan('cf', '{hispaso}')};
is($node->safe_psql('postgres', $scans), '|t', 'no scan, and no reset: unknown, not 0');
$node->safe_psql('postgres', 'SELECT pg_stat_reset()');
$node->safe_psql('postgres', 'SELECT count(*) FROM cf.hispaso');
ok($node->poll_query_until('postgres', $scans, '1|f'), 'since a reset, the scans are counted');
$node->safe_psql('postgres', q{SELECT * FROM aq.history_plan('cf')}) for 1 .. 3;
sleep 1;
is($node->safe_psql('postgres', $scans), '1|f', 'plans are not scans');

# ---- whose code runs ------------------------------------------------------------------
# mala owns a table of each kind of code; a superuser plans and defines them.

$node->safe_psql('postgres', q{
	CREATE ROLE mala;
	CREATE SCHEMA m AUTHORIZATION mala;
	SET ROLE mala;
	CREATE FUNCTION m.w() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE LOG 'witness: ran as %', current_user; RETURN 1; END$$;
	CREATE FUNCTION m.v(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE LOG 'witness: ran as %', current_user; RETURN true; END$$;
	CREATE DOMAIN m.d AS text CHECK (m.v(VALUE));
	CREATE TYPE m.r AS RANGE (subtype = m.d);
	CREATE TABLE m.caso (casid integer PRIMARY KEY, casd m.d, cash text, casr m.r, cashora timestamp);
	CREATE TABLE m.hiscaso (hcasid integer, hcasd m.d, hcash text, hcasr m.r, hcashora timestamp);
	INSERT INTO m.caso SELECT g, 'x', 'y', NULL, '2020-01-01' FROM generate_series(1, 10) g;
	INSERT INTO m.hiscaso SELECT * FROM m.caso;
	CREATE TABLE m.raro (rard m.d NOT NULL, rarhora timestamp);
	CREATE TABLE m.hisraro (hrard m.d, hrarhora timestamp);
	CREATE INDEX ON m.hiscaso ((m.w() + hcasid));
	CREATE INDEX ON m.hiscaso (hcasid) WHERE m.v(hcash) AND m.w() = 1;
	CREATE INDEX ON m.caso (casid) WHERE m.w() = 1;
	CREATE STATISTICS m.s ON (m.w() + casid), (casid + 1) FROM m.caso;
	CREATE STATISTICS m.hs ON (m.w() + hcasid), (hcasid + 1) FROM m.hiscaso;
	ALTER TABLE m.hiscaso ADD CHECK (m.w() = 1), ALTER hcash SET DEFAULT m.w()::text;
	CREATE POLICY p ON m.hiscaso USING (m.w() = 1);
	ALTER TABLE m.hiscaso ENABLE ROW LEVEL SECURITY;
	CREATE VIEW m.mira AS SELECT *, m.w() FROM m.hiscaso;
	CREATE FUNCTION m.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM m.w(); RETURN NEW; END$$;
	CREATE TRIGGER t BEFORE INSERT ON m.hiscaso FOR EACH ROW EXECUTE FUNCTION m.t();
	CREATE FUNCTION m.eq(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM m.w(); RETURN true; END$$;
	CREATE OPERATOR m.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = m.eq);
});
my $log = -s $node->logfile;
$node->safe_psql('postgres', q{SELECT m.w()});
like(slurp_file($node->logfile, $log), qr/witness: ran as/, 'the code of the other role would be seen');
$log = -s $node->logfile;
is($node->safe_psql('postgres', q{SET search_path = m, pg_catalog; SELECT history_table, holds, problem_code FROM aq.history_plan('m')}),
	"hiscaso|after|\nhisraro|unknown|columns", 'a plan of the tables of another role');
$node->safe_psql('postgres', q{SET search_path = m, pg_catalog; SELECT aq.history_define('m.hiscaso', holds => 'after', time_zone => 'America/Mexico_City');
	SELECT aq.history_define('m.hisraro', base => 'm.raro'); SELECT * FROM aq.history_plan(); SELECT aq.history_forget('m.hisraro'); SELECT aq.history_forget('m.hiscaso')});
unlike(slurp_file($node->logfile, $log), qr/witness/, 'none of his code ran');

# ---- a dump carries definitions over ------------------------------------------------------

$node->safe_psql('postgres', q{SELECT aq.history_define('cf.hisoficina', columns => '{"hofinombre": "ofinombre"}', key => '{hofiid}', changed_at => 'hofihsthora', holds => 'before', time_zone => 'UTC')});
my $definition = q{SELECT to_jsonb(d) FROM aq.history_definition d};
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restored');
is($node->safe_psql('restored', $definition), $node->safe_psql('postgres', $definition), 'the definition is there, word by word');
is($node->safe_psql('restored', $plan), $node->safe_psql('postgres', $plan), '... and the plan is the same');

# ---- a standby -----------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $plan), $node->safe_psql('postgres', $plan), 'the plan on a standby is the same');
is($standby->safe_psql('postgres', q{SELECT problem_code FROM aq.history_plan('cf', '{hispaso}')}), 'no_base', '... and an unlogged table no error');

$standby->stop;
$node->stop;
done_testing();
