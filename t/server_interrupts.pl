# Unlucky surroundings: long functions are stopped at random points by
# statement_timeout, pg_cancel_backend and pg_terminate_backend, and files stop
# growing.  Afterwards nothing is lost or doubled, no lock, temporary file,
# plan or wrong user id is left, and calling again finishes the work.
#
# The files stop at a limit of their size, RLIMIT_FSIZE (ulimit -f): no file of the
# server may grow beyond 4 MB.  The server meets EFBIG where a full disk gives
# ENOSPC, at the same calls (extending a table, an index, a temporary file), and
# that on every machine; t/server_full_disk.pl has a file system that is full.  The
# WAL, in segments of 1 MB, is not hit.
#
# AQUACIS_TEST_SCALE (default 1) multiplies the number of interruptions;
# AQUACIS_TEST_SEED repeats a run.
use strict;
use warnings;
use lib 't/lib';

use IPC::Run;
use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{AQUACIS_TEST_SEED} || time;
srand($seed);
note("AQUACIS_TEST_SEED=$seed");
my $rounds = 4 * ($ENV{AQUACIS_TEST_SCALE} || 1);

# At wal_level = minimal, the default of these clusters, PostgreSQL 15 itself
# crashes when a session ends while its commit logs a new relation: the
# SMgrRelation still points to the entry that smgrDoPendingSyncs() made for it.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => ['--wal-segsize=1']);
$node->append_conf('postgresql.conf', "wal_level = replica\nfsync = off\nautovacuum = off\njit = off\nwork_mem = 64MB\nmax_parallel_workers_per_gather = 0\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE original');
$node->safe_psql('original', legacy_sql(tables => 120, rows => 500, contracts => 6000));

# Rows of months that have no partition yet, for audit_maintain to move.
$node->safe_psql('original', q{
	INSERT INTO aq.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
	SELECT '2024-01-15'::timestamptz + g * interval '1 hour', '1', g, 'cf', 'contrato', g, 'I', jsonb_build_object('g', g, 'x', repeat('y', 50)), 'old'
	FROM generate_series(1, 3000) g;});

sub fresh
{
	my ($db, $from) = @_;
	$node->safe_psql('postgres', "DROP DATABASE IF EXISTS $db");
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE " . ($from || 'original'));
}

# Seconds that a statement takes when nobody stops it.
sub undisturbed
{
	my ($db, $sql) = @_;
	my $start = time;
	$node->safe_psql($db, "SET client_min_messages = warning; $sql");
	return time - $start;
}

# Runs sql, stopped after some seconds.  Returns the error, '' if it was quicker.
sub stopped
{
	my ($db, $sql, $how, $after) = @_;
	my ($out, $err) = ('', '');
	if ($how eq 'timeout')
	{
		my $ms = 1 + int($after * 1000);
		$node->psql($db, "SET statement_timeout = $ms;\n$sql", stderr => \$err, on_error_stop => 0);
	}
	else
	{
		my $function = $how eq 'cancel' ? 'pg_cancel_backend' : 'pg_terminate_backend';
		my $victim = do
		{
			local $ENV{PGAPPNAME} = 'victim';
			IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db), '-c', $sql ], '>', \$out, '2>', \$err);
		};
		# the clock starts when the statement does
		$node->safe_psql('postgres', qq{DO \$\$
			DECLARE
				victim int;
			BEGIN
				FOR i IN 1..300 LOOP
					PERFORM pg_stat_clear_snapshot();
					SELECT pid INTO victim FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active';
					EXIT WHEN FOUND;
					PERFORM pg_sleep(0.001);
				END LOOP;
				PERFORM pg_sleep($after), $function(victim);
			END\$\$});
		$victim->finish;
	}
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'victim'});
	return $err =~ /canceling statement|terminating connection/ ? $err : '';
}

# What a stopped call may leave behind: nothing.
sub left_behind
{
	my ($db) = @_;
	my $left = $node->safe_psql('postgres', qq{
		SELECT string_agg(concat_ws(' ', locktype, mode, relation::text, classid::text), ', ') FROM pg_locks
		WHERE pid <> pg_backend_pid() AND (database = (SELECT oid FROM pg_database WHERE datname = '$db') OR locktype = 'transactionid')});
	my @files = glob($node->data_dir . '/base/pgsql_tmp/*');
	return $left . "@files" . $node->safe_psql($db, q{SELECT string_agg(gid, ' ') FROM pg_prepared_xacts})
	  . $node->safe_psql($db, q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relpersistence = 't'});
}

my @hows = qw(timeout cancel terminate);

# ---- consolidate, and back again ----------------------------------------------------

my $rows = family_rows($node, 'original');
my $shape = family_shape($node, 'original');
my $consolidate = q{CALL aq.consolidate('cf', 'tmp_deuda', batch => 10, on_reject => 'keep')};
my $verify = q{SELECT * FROM aq.consolidate_verify('cf', 'tmp_deuda')};
my $restore = q{CALL aq.consolidate_restore('cf', 'tmp_deuda')};

fresh('trial');
my %seconds = (consolidate => undisturbed('trial', $consolidate), verify => undisturbed('trial', $verify));
is(family_rows($node, 'trial'), $rows, 'consolidate: every row is in the target or among the rejected');
$seconds{restore} = undisturbed('trial', $restore);
is(family_rows($node, 'trial'), $rows, 'consolidate_restore: every row is back');
is(family_shape($node, 'trial'), $shape, '... in the same tables');
note(join ', ', map { sprintf '%s %.2f s', $_, $seconds{$_} } sort keys %seconds);

for my $how (@hows)
{
	fresh('trial');
	for my $step ([ 'consolidate', $consolidate ], [ 'restore', $restore ])
	{
		my ($name, $sql) = @$step;
		my ($hits, @wrong, @left, @running) = (0);
		for my $round (1 .. $rounds)
		{
			# the work left gets less with every call that was stopped late; the
			# first stop is early, so that there is one
			my $error = stopped('trial', $sql, $how, $seconds{$name} * ($round == 1 ? 0.1 : rand(0.5)));
			$hits++ if $error;
			push @wrong, $round if family_rows($node, 'trial') ne $rows;
			push @left, left_behind('trial');
			push @running, $node->safe_psql('trial', q{SELECT string_agg(state, ' ') FROM aq.consolidate_progress WHERE state = 'running' OR pid IS NOT NULL});
		}
		cmp_ok($hits, '>', 0, "$name, $how: $hits of $rounds calls were stopped");
		is("@wrong", '', "$name, $how: no row lost, none doubled, at any stop");
		is(join('', @left), '', "$name, $how: no lock, no temporary file is left");
		is(join('', @running), '', "$name, $how: progress does not say running");
		undisturbed('trial', $sql);
		is(family_rows($node, 'trial'), $rows, "$name, $how: the next call finishes, all rows there");
		if ($name eq 'consolidate')
		{
			is( $node->safe_psql('trial', q{SELECT count(*) FROM pg_class WHERE relname ~ '^tmp_deuda_\d' AND relkind = 'r'}),
				'0', "$name, $how: every source is gone");
			my $stopped = 0;
			$stopped += stopped('trial', $verify, $how, rand($seconds{verify})) ? 1 : 0 for 1 .. $rounds;
			is(left_behind('trial'), '', "verify, $how: nothing is left ($stopped stopped)");
			is( $node->safe_psql('trial', "SELECT bool_and(ok), count(*) FROM ($verify) v"), 't|120', "verify, $how: all agrees");
		}
		else
		{
			is(family_shape($node, 'trial'), $shape, "$name, $how: the tables are what they were");
		}
	}
}

# One session that is stopped again and again keeps its user, its path, and
# does not grow.
fresh('trial');
my $state = q{SELECT current_user, current_setting('search_path'), current_setting('transaction_isolation'), current_setting('transaction_read_only'),
	current_setting('role'), (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors),
	(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object');};
# (used_bytes: a context gets its memory in blocks of up to 1 MB, and a single new one is no growth)
my $memory = q{SELECT count(*), sum(used_bytes) FROM pg_backend_memory_contexts WHERE name NOT IN ('ErrorContext', 'MessageContext');};
my $script = "\\set ON_ERROR_STOP 0\nSET client_min_messages = error;\n$state\n";
for my $i (1 .. 4 * $rounds)
{
	my $ms = 1 + int(rand(1000 * $seconds{consolidate} / 8));
	$script .= "SET statement_timeout = $ms;\n$consolidate;\nSET statement_timeout = $ms;\n$verify \\g /dev/null\n$restore;\nSET statement_timeout = 0;\n";
	$script .= "$state\n";
	$script .= "\\echo memory\n$memory\n" if $i == 2 * $rounds || $i == 4 * $rounds;
}
my ($ret, $out, $err) = $node->psql('trial', $script, on_error_stop => 0);
my @states = grep { /^\w+\|/ } split /\n/, $out;
my %states = map { $_ => 1 } grep { !/^\d+\|\d+$/ } @states;
is(scalar(keys %states), 1, 'a session keeps user, path and settings over stopped calls, and no plan or cursor') or diag(join "\n", keys %states);
my @stopped = $err =~ /canceling statement due to statement timeout/g;
cmp_ok(scalar(@stopped), '>=', $rounds, scalar(@stopped) . ' calls of the session were stopped');
my ($before, $after) = $out =~ /memory\n\d+\|(\d+)/g;
cmp_ok($after, '<', $before + 1024 * 1024, "its memory stays ($before, then $after bytes)");
unlike($err, qr/XX000|PANIC|cache lookup|leak|out of memory|resource/, 'no internal error, no leaked resource') or diag($err);

# ---- the audit ---------------------------------------------------------------------------

my $log = q{SELECT count(*), md5(string_agg(l::text, ',' ORDER BY xact_id, xact_seq)) FROM aq.audit_log l};
my $table = q{SELECT count(*), md5(string_agg(c::text, ',' ORDER BY cnttnum)) FROM cf.contrato c};
my $update = q{UPDATE cf.contrato SET importe = importe + 1, obs = obs || 'z', clave = 'n'};
my $maintain = q{CALL aq.audit_maintain(months_ahead => 6)};

fresh('trial');
$seconds{update} = undisturbed('trial', $update);
fresh('trial');
my $log_before = $node->safe_psql('trial', $log);
my $table_before = $node->safe_psql('trial', $table);
for my $how (@hows)
{
	my $hits = 0;
	for (1 .. $rounds)
	{
		$hits++ if stopped('trial', $update, $how, rand($seconds{update} / 2));
		# one that was quicker than its stop is undone by a copy of the start
		if ($node->safe_psql('trial', $table) ne $table_before)
		{
			is($node->safe_psql('trial', 'SELECT count(*) FROM aq.audit_log'), (split /\|/, $log_before)[0] + (split /\|/, $table_before)[0],
				'an update that got through is logged row by row');
			fresh('trial');
		}
	}
	is($node->safe_psql('trial', $log) . $node->safe_psql('trial', $table), "$log_before$table_before",
		"audited update, $how: log and table as before ($hits of $rounds stopped)");
	is(left_behind('trial'), '', "audited update, $how: nothing is left");
}
undisturbed('trial', $update);
is( $node->safe_psql('trial', q{SELECT count(*) FROM aq.audit_log WHERE action = 'U' AND changed_fields ? 'obs'}),
	(split /\|/, $table_before)[0], 'then the update goes through, and every row of it is in the log');

# Moved rows keep what they are; only the partition differs.
fresh('trial');
$log_before = $node->safe_psql('trial', $log);
$seconds{maintain} = undisturbed('trial', $maintain);
is($node->safe_psql('trial', $log), $log_before, 'audit_maintain: the log reads as before');
is($node->safe_psql('trial', q{SELECT count(*) FROM aq.audit_log_default}), '0', 'audit_maintain: nothing is left in the default partition');
for my $how (@hows)
{
	fresh('trial');
	my ($hits, @wrong) = (0);
	for (1 .. $rounds)
	{
		$hits++ if stopped('trial', $maintain, $how, rand($seconds{maintain} * 0.8));
		push @wrong, $_ if $node->safe_psql('trial', $log) ne $log_before;
	}
	is("@wrong", '', "audit_maintain, $how: no row of the log lost or doubled at any stop ($hits of $rounds stopped)");
	is(left_behind('trial'), '', "audit_maintain, $how: nothing is left");
	undisturbed('trial', $maintain);
	is($node->safe_psql('trial', "$log") . $node->safe_psql('trial', 'SELECT count(*) FROM aq.audit_log_default'), "${log_before}0",
		"audit_maintain, $how: the next call finishes");
	is( $node->safe_psql('trial', q{SELECT count(*) FROM pg_class i JOIN pg_index x ON indexrelid = i.oid WHERE relname ~ 'audit_log' AND NOT indisvalid
			AND relkind = 'i'}), '0', "audit_maintain, $how: no invalid index is left");
	is( $node->safe_psql('trial', q{SELECT count(*) FROM pg_class c WHERE relkind = 'r' AND relname ~ '^audit_log_' AND NOT relispartition}),
		'0', "audit_maintain, $how: no loose partition is left");
}

# A session that is stopped in it goes on, in no transaction of anybody's.
fresh('trial');
$script = "\\set ON_ERROR_STOP 0\nSET client_min_messages = error;\n";
for (1 .. 2 * $rounds)
{
	my $ms = 5 + int(rand(40));
	$script .= "SET statement_timeout = $ms;\nCALL aq.audit_maintain(months_ahead => 600);\nSET statement_timeout = 0;\n"
	  . "SELECT pg_current_xact_id_if_assigned() IS NULL, current_user, (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation > 16384), pg_sleep(0);\n";
}
($ret, $out, $err) = $node->psql('trial', $script, on_error_stop => 0);
my %after = map { $_ => 1 } split /\n/, $out;
is(scalar(split /\n/, $out) . ' ' . scalar(keys %after), 2 * $rounds . ' 1', 'audit_maintain: a session that is stopped again and again goes on');
like($out, qr/^t\|\w+\|0\|$/m, '... without a transaction or a lock');
is(scalar(() = $err =~ /canceling statement/g), 2 * $rounds, '... every call was stopped');
is($node->safe_psql('trial', $log), $log_before, '... and no row of the log is lost or doubled');

# ---- what only reads, and what makes a log -----------------------------------------------------

fresh('trial');
$node->safe_psql('trial', q{
	CREATE SCHEMA nuevo;
	DO $$BEGIN FOR i IN 1..4000 LOOP UPDATE cf.contrato SET importe = i, obs = repeat('y', i % 50) WHERE cnttnum = 1; END LOOP; END$$;});
my $made = q{SELECT count(*) FROM pg_class WHERE relnamespace = 'nuevo'::regnamespace};
for my $case (
	[ 'consolidate_plan', q{SELECT count(*), sum(row_count), count(problem) FROM aq.consolidate_plan('cf', 'tmp_deuda')} ],
	[ 'audit_history', q{SELECT count(*), md5(string_agg(h::text, ',')) FROM aq.audit_history('cf.contrato', '1') h} ],
	[ 'tariff_lines', q{SELECT count(*), sum(total) FROM generate_series(1, 20000) g JOIN cf.tarifa ON id = g % 3 + 1, aq.tariff_lines(t, g % 97)} ],
	[ 'audit_install', q{SELECT aq.audit_install(schema => 'nuevo', months => 150)} ])
{
	my ($name, $sql) = @$case;
	my $install = $name eq 'audit_install';
	my $takes = undisturbed('trial', $install ? "BEGIN; $sql; ROLLBACK" : $sql);
	my $right = $install ? '' : $node->safe_psql('trial', $sql);
	for my $how (@hows)
	{
		my ($hits, $partly) = (0, '');
		for (1 .. $rounds / 2)
		{
			if (stopped('trial', $sql, $how, rand($takes * 0.7)))
			{
				$hits++;
				$partly .= $node->safe_psql('trial', $made) if $install && $node->safe_psql('trial', $made) ne '0';
			}
			$node->safe_psql('trial', 'DROP SCHEMA nuevo CASCADE; CREATE SCHEMA nuevo') if $install;
		}
		is($partly . left_behind('trial'), '', "$name, $how: nothing is left ($hits stopped)");
	}
	if ($install)
	{
		undisturbed('trial', $sql);
		is($node->safe_psql('trial', q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'nuevo.audit_log'::regclass}), '152', "$name: then it makes the log");
	}
	else
	{
		is($node->safe_psql('trial', $sql), $right, "$name: then it answers as before");
	}
}

# ---- arithmetic over many rows ----------------------------------------------------------------

# Three tariffs in turn, so that what is kept of a parsed one is replaced
# while it may be stopped.
my $bills = q{SELECT md5(string_agg(aq.tariff_bill(t, n, iva_rate => 0.16)::text || (SELECT sum(total) FROM aq.tariff_lines(t, n)) || aq.tariff_charge(t, n), ','))
	FROM (SELECT t, (g % 97) * 1.25 AS n FROM generate_series(1, COUNT) g JOIN cf.tarifa ON id = g % 3 + 1 ORDER BY g) x};
my $converted = q{SELECT md5(string_agg(concat_ws(' ', aq.legacy_money(g / 7.0::float8), aq.legacy_text(' ' || g || ' '), aq.legacy_bool_strict('S'),
	aq.legacy_gps_to_point(g % 90 || '.5', '-' || g % 180), aq.legacy_gps_error(g % 99 || ',5', '1'), aq.legacy_rfc('xaxx010101000'), aq.legacy_curp_error(g::text)), ','))
	FROM generate_series(1, COUNT) g};
for my $case ([ 'tariff', $bills ], [ 'legacy', $converted ])
{
	my ($name, $sql) = @$case;
	(my $short = $sql) =~ s/COUNT/2000/;
	(my $long = $sql) =~ s/COUNT/2000000/;
	my $right = $node->safe_psql('trial', $short);
	my $script = "\\set ON_ERROR_STOP 0\n";
	for (1 .. $rounds)
	{
		$script .= 'SET statement_timeout = ' . (10 + int(rand(150))) . ";\n$long;\nSET statement_timeout = 0;\n$short;\n";
	}
	my $start = time;
	my ($ret, $out, $err) = $node->psql('trial', $script, on_error_stop => 0);
	is(join(' ', do { my %h = map { $_ => 1 } split /\n/, $out; keys %h }), $right, "$name: a stopped session goes on with right answers");
	is(scalar(() = $err =~ /statement timeout/g), $rounds, "$name: every call was stopped");
	cmp_ok(time - $start, '<', 5 * $rounds, "$name: ... and at once");
	for my $how (qw(cancel terminate))
	{
		ok(stopped('trial', $long, $how, 0.1), "$name, $how: stopped");
	}
	is($node->safe_psql('trial', $short), $right, "$name: ... and right after that");
}

# ---- files that do not grow ----------------------------------------------------------------------

# About 6 MB of sources for a target that ends at 4 MB, and a log that does.
fresh('crowded');
$node->safe_psql('crowded', q{
	DROP INDEX cf.contrato_texto;
	DO $$
	BEGIN
		FOR i IN 1..30 LOOP
			EXECUTE format('INSERT INTO cf.tmp_deuda_%s SELECT g, g, g, g FROM generate_series(1000, 5000) g', i);
		END LOOP;
	END$$;});
$rows = family_rows($node, 'crowded');
$table_before = $node->safe_psql('crowded', $table);
$node->stop;

sub start_limited
{
	system('bash', '-c', 'ulimit -S -f "$1" && exec pg_ctl -D "$2" -l "$3" -w start >/dev/null', 'bash', 4096, $node->data_dir, $node->logfile) == 0
	  or BAIL_OUT('the server does not start under a file size limit');
	$node->_update_pid(1);
}
start_limited();
($ret, $out, $err) = $node->psql('crowded', 'CREATE TABLE cf.big AS SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 20000) g');
like($err, qr/File too large|could not (extend|write)/, 'a table that grows too large fails: the limit is on');

($ret, $out, $err) = $node->psql('crowded', $consolidate);
like($err, qr/File too large|could not (extend|write)/, 'consolidate meets it, and says so');
is(family_rows($node, 'crowded'), $rows, 'consolidate: no row lost, none doubled');
is(left_behind('crowded'), '', 'consolidate: nothing is left');
isnt($node->safe_psql('crowded', q{SELECT coalesce(last_error, problems::text) FROM aq.consolidate_progress WHERE family = 'tmp_deuda'}), '',
	'consolidate: progress says why');

($ret, $out, $err) = $node->psql('crowded', q{UPDATE cf.contrato SET obs = (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 60) WHERE cnttnum > 0)});
like($err, qr/File too large|could not (extend|write)/, 'an audited update meets it');
is($node->safe_psql('crowded', $table), $table_before, '... and changes nothing, in the table');
is($node->safe_psql('crowded', $log), $log_before, '... nor in the log');
$node->safe_psql('crowded', 'UPDATE cf.contrato SET estado = 1 WHERE cnttnum = 10');
is($node->safe_psql('crowded', q{SELECT changed_fields->'estado'->>'new' FROM aq.audit_log WHERE record_id = 10 ORDER BY xact_id DESC LIMIT 1}), '1',
	'a small audited update still works');
$node->safe_psql('crowded', 'UPDATE cf.contrato SET estado = 9 WHERE cnttnum = 10');

# room again
$node->stop;
$node->start;
undisturbed('crowded', $consolidate);
is(family_rows($node, 'crowded'), $rows, 'with room again consolidate finishes: every row is there');
is($node->safe_psql('crowded', "SELECT bool_and(ok), count(*) FROM ($verify) v"), 't|120', '... and verified');

# the way back
$node->stop;
start_limited();
($ret, $out, $err) = $node->psql('crowded', $restore);
is(family_rows($node, 'crowded'), $rows, "consolidate_restore under the limit: no row lost, none doubled");
$node->stop;
$node->start;
undisturbed('crowded', $restore);
is(family_rows($node, 'crowded'), $rows, 'with room again every table is back');
is(family_shape($node, 'crowded'), family_shape($node, 'original'), '... as it was');

# audit_maintain: more rows for one month than a file may hold
$node->safe_psql('crowded', q{
	INSERT INTO aq.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
	SELECT '2024-06-01'::timestamptz + g * interval '1 minute', '2', g, 'cf', 'contrato', g, 'I', jsonb_build_object('x', md5(g::text) || md5((g + 1)::text)), 'old'
	FROM generate_series(1, 30000) g;});
$log_before = $node->safe_psql('crowded', $log);
$node->stop;
start_limited();
($ret, $out, $err) = $node->psql('crowded', $maintain);
like($err, qr/File too large|could not (extend|write)/, 'audit_maintain meets the limit, and says so');
is($node->safe_psql('crowded', $log), $log_before, '... and loses no row');
$node->stop;
$node->start;
undisturbed('crowded', $maintain);
is($node->safe_psql('crowded', $log), $log_before, 'with room again it finishes: the log reads as before');
is($node->safe_psql('crowded', 'SELECT count(*) FROM aq.audit_log_default'), '0', '... and the default partition is empty');

unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked|leak:|cache lookup failed|stuck/, 'the server\'s log has no crash and no leak');
$node->stop;
done_testing();
