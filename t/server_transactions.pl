# Transactions of every shape: savepoints in random nests, PREPARE TRANSACTION,
# parallel workers, and autovacuum at work on a source.
#
# AQUACIS_TEST_SEED repeats a run, AQUACIS_TEST_SCALE multiplies its transactions.
use strict;
use warnings;
use lib 't/lib';

use IPC::Run;
use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{AQUACIS_TEST_SEED} || time;
srand($seed);
note("AQUACIS_TEST_SEED=$seed");
my $transactions = 150 * ($ENV{AQUACIS_TEST_SCALE} || 1);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nautovacuum = off\nautovacuum_naptime = 1s\nmax_prepared_transactions = 10\nmax_worker_processes = 12\nlc_messages = 'C'\n");
$node->start;
$node->safe_psql('postgres', legacy_sql(tables => 12, rows => 200, contracts => 3000));

# ---- savepoints ------------------------------------------------------------------------------

# A trigger in PL/pgSQL writes down the same changes; its rows are rolled back
# where the log's have to be, and its numbers are in the order of the changes.
$node->safe_psql('postgres', q{
	CREATE TABLE cuenta (id int PRIMARY KEY, v int, t text);
	CREATE TABLE otra (k text PRIMARY KEY, v int);
	SELECT aq.audit_enable('cuenta');
	SELECT aq.audit_enable('otra');
	CREATE TABLE shadow (n bigint GENERATED ALWAYS AS IDENTITY, x xid8 DEFAULT pg_current_xact_id(), tab text, action text, o jsonb, w jsonb);
	CREATE FUNCTION shadow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		IF TG_OP = 'TRUNCATE' THEN
			INSERT INTO shadow (tab, action) VALUES (TG_TABLE_NAME, 'T');
		ELSIF TG_OP <> 'UPDATE' OR OLD IS DISTINCT FROM NEW THEN
			INSERT INTO shadow (tab, action, o, w) VALUES (TG_TABLE_NAME, left(TG_OP, 1),
				CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
		END IF;
		RETURN NULL;
	END$$;
	CREATE TRIGGER shadow AFTER INSERT OR UPDATE OR DELETE ON cuenta FOR EACH ROW EXECUTE FUNCTION shadow();
	CREATE TRIGGER shadow AFTER INSERT OR UPDATE OR DELETE ON otra FOR EACH ROW EXECUTE FUNCTION shadow();
	CREATE TRIGGER shadow_t AFTER TRUNCATE ON cuenta FOR EACH STATEMENT EXECUTE FUNCTION shadow();
	CREATE TRIGGER shadow_t AFTER TRUNCATE ON otra FOR EACH STATEMENT EXECUTE FUNCTION shadow();});

sub change
{
	my $id = 1 + int(rand(40));
	my $v = int(rand(5));
	my @changes = (
		"INSERT INTO cuenta VALUES ($id, $v, 'a') ON CONFLICT (id) DO UPDATE SET v = excluded.v",
		"INSERT INTO otra SELECT 'k' || g, $v FROM generate_series($id, $id + 3) g ON CONFLICT DO NOTHING",
		"UPDATE cuenta SET v = $v, t = t || 'x' WHERE id % 7 = $v",
		"UPDATE cuenta SET v = v",
		"UPDATE otra SET v = v + 1 WHERE v < $v",
		"DELETE FROM cuenta WHERE id = $id",
		"DELETE FROM otra WHERE v > 6",
		"WITH d AS (DELETE FROM cuenta WHERE id = $id RETURNING *) INSERT INTO otra SELECT 'c' || id, v FROM d ON CONFLICT DO NOTHING",
		"INSERT INTO cuenta VALUES ($id, $v, 'b')",		# fails where there is one
		"DO \$\$BEGIN UPDATE otra SET v = v + 1 WHERE k = 'k$id'; BEGIN UPDATE cuenta SET v = 9 WHERE id = $id; INSERT INTO cuenta VALUES ($id); INSERT INTO cuenta VALUES ($id);"
		  . " EXCEPTION WHEN unique_violation THEN UPDATE cuenta SET v = 8 WHERE id = $id; END; END\$\$");
	push @changes, rand() < 0.5 ? 'TRUNCATE otra' : 'TRUNCATE cuenta, otra' if rand() < 0.1;
	return $changes[ rand @changes ];
}

my $script = "\\set ON_ERROR_STOP 0\nSET lock_timeout = '5s';\nSET client_min_messages = fatal;\n";
for my $x (1 .. $transactions)
{
	my (@open, $n) = ();
	$script .= 'BEGIN' . (rand() < 0.2 ? ' ISOLATION LEVEL REPEATABLE READ' : '') . ";\n";
	for (1 .. 3 + rand(25))
	{
		my $dice = rand();
		if ($dice < 0.25)
		{
			push @open, 's' . ++$n;
			$script .= "SAVEPOINT $open[-1];\n";
		}
		elsif ($dice < 0.4 && @open)
		{
			# what failed, too, ends here
			my $to = int(rand(@open));
			$script .= "ROLLBACK TO $open[$to];\n";
			$#open = $to;
		}
		elsif ($dice < 0.5 && @open)
		{
			my $to = int(rand(@open));
			$script .= "RELEASE $open[$to];\n";
			$#open = $to - 1;
		}
		else
		{
			$script .= change() . ";\n";
		}
	}
	my $end = rand();
	if ($end < 0.2)
	{
		# what cannot be prepared, because it failed, is not there to be committed
		$script .= "PREPARE TRANSACTION 'p';\n" . ($end < 0.1 ? "\\c\nSET client_min_messages = fatal;\n" : '')
		  . (rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'p';\n";
	}
	else
	{
		$script .= ($end < 0.85 ? 'COMMIT' : 'ROLLBACK') . ";\n";
	}
}
my ($ret, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0);
my $differences = q{
	WITH l AS (SELECT row_number() OVER (ORDER BY xact_id, xact_seq) AS n, xact_id, table_name, action::text, old_data, new_data, changed_fields,
				coalesce(record_id::text, record_key->>'k') AS key
			   FROM aq.audit_log WHERE table_name IN ('cuenta', 'otra')),
		 s AS (SELECT row_number() OVER (ORDER BY x, n) AS n, x, tab, action, o, w FROM shadow)
	SELECT count(*) FROM l FULL JOIN s USING (n)
	WHERE (xact_id, table_name, l.action) IS DISTINCT FROM (x, tab, s.action)
	   OR (l.action IN ('I', 'D') AND (old_data, new_data) IS DISTINCT FROM (o, w))
	   OR (l.action = 'U' AND (changed_fields, key) IS DISTINCT FROM
			((SELECT jsonb_object_agg(a.key, jsonb_build_object('old', a.value, 'new', b.value)) FROM jsonb_each(o) a JOIN jsonb_each(w) b USING (key) WHERE a.value <> b.value),
			 coalesce(o->>'id', o->>'k')))};
is($node->safe_psql('postgres', $differences), '0', "$transactions transactions with savepoints: the log has what lasted, in its order");
my ($rows, $xacts) = split /\|/, $node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT x) FROM shadow');
cmp_ok($rows, '>', 2 * $transactions, "... $rows changes");
cmp_ok($xacts, '>', $transactions / 4, "... in $xacts transactions");
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT action, '' ORDER BY action) FROM shadow}), 'DITU', '... of every kind');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', '... none is left prepared');

# More subtransactions than a backend remembers.
$node->safe_psql('postgres', q{
	TRUNCATE cuenta; TRUNCATE shadow; DELETE FROM aq.audit_log WHERE table_name IN ('cuenta', 'otra');
	DO $$BEGIN
		FOR i IN 1..3000 LOOP
			BEGIN
				INSERT INTO cuenta VALUES (i, i, 'a');
				IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
				UPDATE cuenta SET v = 0 WHERE id = i;
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END LOOP;
	END$$;});
is($node->safe_psql('postgres', $differences), '0', '3,000 subtransactions in one');
is($node->safe_psql('postgres', q{SELECT count(*) FROM aq.audit_log WHERE table_name = 'cuenta'}), '4000', '... of which 2,000 lasted');

# ---- prepared transactions and sources -----------------------------------------------------------

my $family = family_rows($node, 'postgres');
sub consolidate
{
	my ($db, $arguments) = @_;
	my ($ret, $out, $err) = $node->psql($db, "CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep'$arguments)");
	return $err;
}
$node->safe_psql('postgres', q{
	BEGIN; INSERT INTO cf.tmp_deuda_4 VALUES (7.5, 7, 7, 7777); UPDATE cf.contrato SET importe = 4 WHERE cnttnum = 4; PREPARE TRANSACTION 'writes';
	BEGIN; SELECT count(*) FROM cf.tmp_deuda_5; PREPARE TRANSACTION 'reads';
	BEGIN; DROP TABLE cf.tmp_deuda_6; PREPARE TRANSACTION 'drops';
	BEGIN; CREATE TABLE cf.tmp_deuda_777 (LIKE cf.tmp_deuda_1); INSERT INTO cf.tmp_deuda_777 VALUES (1, 1, 1, 1); PREPARE TRANSACTION 'creates';});
my $said = consolidate('postgres', q{, lock_wait => '100ms'});
is(join(' ', $said =~ /tmp_deuda_(\d+)" skipped: is in use by another session/g), '1 4 5 6', 'sources that prepared transactions use are left alone, the one for LIKE too');
unlike($said, qr/ERROR|WARNING|failed/, '... without an error');
($ret, $out, $err) = $node->psql('postgres', "BEGIN; INSERT INTO cf.tmp_deuda_4 VALUES (1, 1, 1, 1); CALL aq.consolidate('cf', 'tmp_deuda')", on_error_stop => 0);
like($err, qr/cannot run inside a transaction block/, 'consolidate in a transaction that could be prepared is refused');
$node->safe_psql('postgres', "COMMIT PREPARED 'writes'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'drops'");
$node->safe_psql('postgres', "COMMIT PREPARED 'reads'");
$node->safe_psql('postgres', "COMMIT PREPARED 'creates'");
unlike(consolidate('postgres', ''), qr/skipped:|ERROR/, 'then they are taken');
is($node->safe_psql('postgres', q{SELECT proceso_id, count(*), count(*) FILTER (WHERE faccnttnum = 7777) FROM cf.tmp_deuda WHERE proceso_id IN (4, 5, 777) GROUP BY 1 ORDER BY 1}),
	"4|201|1\n5|400|0\n777|1|0", '... with what was committed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_\d'}), '0', '... all');
is($node->safe_psql('postgres', q{SELECT bool_and(ok), count(*) FROM aq.consolidate_verify('cf', 'tmp_deuda')}), 't|13', '... and verified');

# ---- parallel workers ------------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	CREATE TABLE muchos AS SELECT g, 1 + g % 3 AS tarifa, (g % 97) * 1.25 AS m3, ' texto ' || g AS t, g / 7.0::float8 AS f, CASE g % 3 WHEN 0 THEN 'S' WHEN 1 THEN 'n' END AS b,
		g % 90 || '.5' AS lat, '-' || g % 180 AS lon, 'xaxx010101000'::text AS rfc, ''::text AS curp FROM generate_series(1, 30000) g;
	ALTER TABLE muchos SET (parallel_workers = 3);
	VACUUM ANALYZE muchos;});
my $parallel = 'SET max_parallel_workers_per_gather = 3; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET enable_hashjoin = on;';
for my $case (
	[ 'tariff_', q{sum(aq.tariff_charge(x.t, m3)), sum((aq.tariff_bill(x.t, m3, iva_rate => 0.16)->>'total')::numeric),
		count(*) FILTER (WHERE aq.tariff_is_valid(x.t)), count(aq.tariff_errors(x.t))}, 'muchos JOIN cf.tarifa x ON id = tarifa' ],
	[ 'tariff_lines', 'sum(total)', 'muchos JOIN cf.tarifa x ON id = tarifa, aq.tariff_lines(x.t, m3)' ],
	[ 'tariff_blocks', 'sum(amount)', 'muchos JOIN cf.tarifa x ON id = tarifa, aq.tariff_blocks(x.t, m3)' ],
	[ 'legacy_', q{sum(aq.legacy_money(f)), sum(hashtext(aq.legacy_text(muchos.t))), count(*) FILTER (WHERE aq.legacy_bool_strict(b)), count(*) FILTER (WHERE aq.legacy_bool(b)),
		sum((aq.legacy_gps_to_point(lat, lon))[0]), count(aq.legacy_gps_error(lat, lon)), count(aq.legacy_rfc(rfc)), count(aq.legacy_rfc_error(t)), count(aq.legacy_curp(curp)), count(aq.legacy_curp_error(t))},
		'muchos' ])
{
	my ($name, $columns, $from) = @$case;
	my $query = "SELECT $columns FROM $from";
	my $plan = $node->safe_psql('postgres', "$parallel EXPLAIN (VERBOSE, COSTS OFF) $query");
	like($plan, qr/Partial Aggregate\n(.*\n)*.*aq\.$name/, "$name: workers compute");
	my ($alone, $together) = map { $node->safe_psql('postgres', "$_ SET extra_float_digits = 0; $query") } 'SET max_parallel_workers_per_gather = 0;', $parallel;
	is($together, $alone, "$name: ... the same");
}
# every function that may run in a worker was there
is($node->safe_psql('postgres', q{SELECT string_agg(proname, ' ') FROM pg_proc WHERE pronamespace = 'aq'::regnamespace AND proparallel = 's' AND proname !~ '^(tariff|legacy)_'}), '',
	'nothing else is parallel safe');
# The rest in a session that sends to a worker what it can
my $force = 'SET ' . ($node->safe_psql('postgres', 'SHOW server_version_num') >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode') . ' = on;';
is($node->safe_psql('postgres', "$force " . q{SELECT count(*) FROM aq.audit_history('cf.contrato', '10')}),
	$node->safe_psql('postgres', q{SELECT count(*) FROM aq.audit_history('cf.contrato', '10')}), 'audit_history in a session that prefers workers');
is($node->safe_psql('postgres', "$force " . q{SELECT count(*) FROM aq.audit_status}), '4', 'audit_status');
is($node->safe_psql('postgres', "$force $parallel " . q{
	INSERT INTO cuenta SELECT 10000 + g, tarifa, t FROM muchos WHERE g <= 5000;
	CREATE TEMP TABLE q AS SELECT g FROM muchos WHERE g <= 100;
	UPDATE cuenta SET v = 77 FROM (SELECT max(g) AS m FROM muchos) x WHERE id = 10000 + (m % 10) + 1;
	SELECT count(*) FILTER (WHERE action = 'I'), count(*) FILTER (WHERE action = 'U') FROM aq.audit_log WHERE table_name = 'cuenta' AND record_id > 10000}), '5000|1',
	'audited writes beside workers');

# ---- autovacuum on a source ----------------------------------------------------------------------------

# A vacuum, an analyze, and a vacuum against wraparound, each so slow that it does
# not end by itself.
$node->safe_psql('postgres', 'CREATE DATABASE slow');
$node->safe_psql('slow', legacy_sql(tables => 0, contracts => 100));
my $slow = 'autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1';
my %options = (
	1 => "$slow, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 100000000",
	2 => "$slow, autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0, autovacuum_vacuum_threshold = 100000000, autovacuum_vacuum_insert_threshold = -1",
	3 => "$slow, autovacuum_freeze_max_age = 100000, autovacuum_enabled = off");
for my $i (sort keys %options)
{
	$node->safe_psql('slow', qq{
		CREATE TABLE cf.tmp_deuda_$i (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer) WITH ($options{$i});
		INSERT INTO cf.tmp_deuda_$i SELECT g, g, g, g FROM generate_series(1, 40000) g;
		DELETE FROM cf.tmp_deuda_$i WHERE faccnttnum % 2 = 0;});
}
# transaction ids go by
$node->safe_psql('slow', q{
	CREATE TABLE nada (i int);
	DO $$BEGIN FOR i IN 1..101000 LOOP BEGIN INSERT INTO nada VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END$$});
$node->safe_psql('slow', 'CHECKPOINT');
$node->append_conf('postgresql.conf', "autovacuum = on\nautovacuum_max_workers = 6\n");
$node->restart;
my $busy = q{SELECT count(DISTINCT relation) FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE backend_type = 'autovacuum worker' AND relation IN (SELECT oid FROM pg_class WHERE relname ~ '^tmp_deuda_\d$') AND mode = 'ShareUpdateExclusiveLock'};
$node->poll_query_until('slow', $busy, '3') or BAIL_OUT('autovacuum does not come');
like($node->safe_psql('slow', q{SELECT query FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query ~ 'tmp_deuda_3'}), qr/to prevent wraparound/,
	'autovacuum holds three sources, one of them to prevent wraparound');
$said = consolidate('slow', q{, lock_wait => '2s', batch => 1});
is(join(' ', $said =~ /tmp_deuda_(\d+)" skipped: (.*)/g), '3 is in use by another session', 'those that autovacuum holds are taken, but for wraparound');
is($node->safe_psql('slow', q{SELECT proceso_id, count(*) FROM cf.tmp_deuda GROUP BY 1 ORDER BY 1}), "1|20000\n2|20000", '... with their rows');
my $server_log = slurp_file($node->logfile);
is(scalar(() = $server_log =~ /canceling autovacuum task/g) >= 2, 1, 'autovacuum was asked to give way');
like($node->safe_psql('slow', $busy), qr/^1$/, 'the one against wraparound goes on');

unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked|leak:|cache lookup failed/, 'no crash, no leak in the log');
$node->stop('immediate');
done_testing();
