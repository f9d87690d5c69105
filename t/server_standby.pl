# A streaming standby has what the primary has and answers alike; functions
# that write say that they cannot; promoted, it goes on where the primary was.
use strict;
use warnings;
use lib 't/lib';

use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_prepared_transactions = 5\n");
$primary->start;
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

sub caught_up
{
	my $lsn = $primary->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	$standby->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'")
	  or BAIL_OUT('the standby does not catch up');
}

sub same
{
	my ($what) = @_;
	caught_up();
	my ($there, $here) = (everything($primary, 'utility'), everything($standby, 'utility'));
	is($here, $there, "standby: the same $what");
	is(family_rows($standby, 'utility'), family_rows($primary, 'utility'), "standby: the same rows $what");
	is(family_shape($standby, 'utility'), family_shape($primary, 'utility'), "standby: the same tables $what");
	# and not the same emptiness
	like($there, qr/lperez/, "$what: there is something to compare");
}

$primary->safe_psql('postgres', 'CREATE DATABASE utility');
$primary->safe_psql('utility', legacy_sql());
# sources that are copied and kept, so that both states of a source are there
$primary->safe_psql('utility', q{CALL aq.consolidate('cf', 'mia', drop_source => false)});
$primary->safe_psql('utility', q{CALL aq.consolidate('cf', 'tmp_deuda', batch => 7, on_reject => 'keep')});
same('after consolidating');

$primary->safe_psql('utility', q{
	CALL aq.consolidate_restore('cf', 'tmp_deuda', 10);
	CALL aq.consolidate_restore('cf', 'tmp_deuda', 11);
	INSERT INTO aq.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
	SELECT '2024-01-15'::timestamptz + g * interval '1 day', '1', g, 'cf', 'contrato', g, 'I', jsonb_build_object('g', g), 'old'
	FROM generate_series(1, 90) g;
	CALL aq.audit_maintain(months_ahead => 4);});
same('after restoring and audit_maintain');
is($standby->safe_psql('utility', 'SELECT * FROM aq.audit_status ORDER BY 1'), $primary->safe_psql('utility', 'SELECT * FROM aq.audit_status ORDER BY 1'),
	'standby: the same audit_status');

# A transaction that is prepared, one that is rolled back, one with savepoints.
$primary->safe_psql('utility', q{BEGIN; UPDATE cf.contrato SET estado = 3 WHERE cnttnum < 50; PREPARE TRANSACTION 'p'});
$primary->safe_psql('utility', q{BEGIN; UPDATE cf.contrato SET estado = 4 WHERE cnttnum > 900; ROLLBACK});
$primary->safe_psql('utility', q{BEGIN; UPDATE cf.sector SET nombre = 'a'; SAVEPOINT s; UPDATE cf.sector SET nombre = 'b'; ROLLBACK TO s; UPDATE cf.sector SET nombre = 'c' WHERE sub = 2; COMMIT});
same('beside a prepared transaction');

# ---- read only ---------------------------------------------------------------------
# What only reads works (everything() called it); what writes says why not.
is( $standby->safe_psql('utility', q{SELECT count(*) FROM aq.consolidate_plan('cf', 'tmp_deuda') WHERE problem IS NULL}),
	$primary->safe_psql('utility', q{SELECT count(*) FROM aq.consolidate_plan('cf', 'tmp_deuda') WHERE problem IS NULL}),
	'standby: consolidate_plan answers alike');
for my $case (
	[ q{CALL aq.consolidate('cf', 'tmp_deuda')}, 'consolidate' ],
	[ q{CALL aq.consolidate_restore('cf', 'tmp_deuda', 1)}, 'consolidate_restore' ],
	[ q{SELECT aq.consolidate_define('f', pattern => '^f_(\d+)$', target => 'f', key => '{k}')}, 'consolidate_define' ],
	[ q{SELECT aq.consolidate_guard('cf', 'block')}, 'consolidate_guard' ],
	[ q{SELECT aq.audit_enable('cf.tarifa')}, 'audit_enable' ],
	[ q{SELECT aq.audit_disable('cf.contrato')}, 'audit_disable' ],
	[ q{CALL aq.audit_maintain(months_ahead => 24)}, 'audit_maintain' ],
	[ q{SELECT aq.audit_install(months => 24)}, 'audit_install' ],
	[ q{UPDATE cf.contrato SET estado = 1}, 'an audited update' ])
{
	my ($sql, $what) = @$case;
	my ($ret, $out, $err) = $standby->psql('utility', "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$sql");
	like($err, qr/ERROR:  (25006|55000):/, "standby: $what is refused as read-only") or diag($err);
	unlike($err, qr/XX000|PANIC|FATAL/, "standby: ... by no internal error");
}
is($standby->safe_psql('utility', q{BEGIN; SELECT aq.audit_set_user('x'); SELECT current_setting('app.current_user'); COMMIT}), "\nx",
	'standby: audit_set_user does no harm');
is($standby->safe_psql('utility', q{SELECT count(*) FROM pg_locks WHERE locktype = 'object'}), '0', 'standby: no lock is left');

# ---- promoted ----------------------------------------------------------------------
# In the middle of a run: half the tables of a new lot are consolidated.
$primary->safe_psql('utility', q{
	DO $$BEGIN FOR i IN 2001..2060 LOOP
		EXECUTE format('CREATE TABLE cf.tmp_deuda_%s (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer)', i);
		EXECUTE format('INSERT INTO cf.tmp_deuda_%s SELECT g, g, g, g FROM generate_series(1, 300) g', i);
	END LOOP; END$$});
my $rows = family_rows($primary, 'utility');
$primary->psql('utility', q{SET statement_timeout = 15; CALL aq.consolidate('cf', 'tmp_deuda', batch => 2, on_reject => 'keep')});
my $left = $primary->safe_psql('utility', q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_20\d\d'});
note("$left of 60 tables are left at the switch");
caught_up();
$primary->stop('immediate');
$standby->promote;
is(family_rows($standby, 'utility'), $rows, 'promoted: every row is there, in a source or in the target');
isnt($standby->safe_psql('utility', q{SELECT string_agg(state, ' ') FROM aq.consolidate_progress}), 'running', 'promoted: no run seems to go on');
$standby->safe_psql('utility', q{CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep')});
is( $standby->safe_psql('utility', q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_\d'}), '0', 'promoted: the next call finishes the run');
is(family_rows($standby, 'utility'), $rows, '... with every row');
is($standby->safe_psql('utility', q{SELECT bool_and(ok) FROM aq.consolidate_verify('cf', 'tmp_deuda')}), 't', '... and verified');
$standby->safe_psql('utility', q{COMMIT PREPARED 'p'});
# of 49 rows six had the new value already
is($standby->safe_psql('utility', q{SELECT count(*) FROM aq.audit_log WHERE changed_fields->'estado'->>'new' = '3'}), '43', 'promoted: the prepared transaction has its history');
$standby->safe_psql('utility', q{UPDATE cf.contrato SET estado = 8 WHERE cnttnum = 1; CALL aq.audit_maintain()});
is($standby->safe_psql('utility', q{SELECT new_value FROM aq.audit_history('cf.contrato', '1') WHERE column_name = 'estado' LIMIT 1}), '8', 'promoted: the audit goes on');
is( $standby->safe_psql('utility', q{SELECT count(*) FROM (SELECT 1 FROM aq.audit_log GROUP BY changed_at, xact_id, xact_seq HAVING count(*) > 1) x}), '0',
	'promoted: no two rows of the log have one identity');

unlike(slurp_file($_->logfile), qr/PANIC|terminated by signal|TRAP/, $_->name . ': no crash in the log') for $primary, $standby;
$standby->stop;
done_testing();
