# A full disk: the database, and then the WAL, are on a file system of a few
# megabytes.  A statement that meets its end fails with SQLSTATE 53100, nothing
# is lost, doubled or half written, and once there is room everything goes on.
#
# The file system is a tmpfs in a mount namespace of its own, which needs no
# root, only a kernel that lets everybody make user namespaces.  Where it does
# not (in a chroot, for instance), scripts/test as root mounts one and names it in
# AQUACIS_TEST_DISK.  t/server_interrupts.pl has a limit on the size of files, which
# needs neither.
use strict;
use warnings;
use lib 't/lib';

use IPC::Run;
use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $disk = $ENV{AQUACIS_TEST_DISK};
my ($in, $out) = ('', '');
my @shell = ('sh');
if (!$disk)
{
	$disk = PostgreSQL::Test::Utils::tempdir_short();
	# the server wants to be nobody's root: a second namespace gives the user back
	my $mount = 'mount -t tmpfs -o size=64m,mode=700 aquacis "$1" && exec unshare --user --map-user="$2" --map-group="$3" sh';
	@shell = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', $mount, 'sh', $disk, $>, $) + 0);
}

# The shell that lives where the file system is seen.
my $shell = IPC::Run::start(\@shell, '<', \$in, '>', \$out, '2>', \$out, IPC::Run::timeout(600));

sub inside
{
	my ($command) = @_;
	($in, $out) = ("( $command ) 2>&1; echo \"<\$?>\"\n", '');
	eval { $shell->pump until $out =~ /^<\d+>\n/m; 1 } or return (255, $out);
	my ($said, $status) = $out =~ /^(.*?)\n?^<(\d+)>\n/ms;
	return ($status, $said);
}

sub must
{
	my ($status, $said) = inside(@_);
	BAIL_OUT("$_[0]: $said") if $status;
	return $said;
}

my ($status, $size) = inside("df -k --output=size '$disk' | tail -n 1");
plan skip_all => "no small file system: user namespaces are refused, and AQUACIS_TEST_DISK is not set ($size)"
  if $status || $size !~ /^\s*\d+$/ || $size > 128 * 1024;

# So that this many kB are left.
sub leave
{
	my ($kb) = @_;
	must("rm -f '$disk/ballast'; head -c 256M /dev/zero >'$disk/ballast' 2>/dev/null; truncate -s -${kb}K '$disk/ballast'");
}

sub make_room
{
	must("rm -f '$disk/ballast'");
}

sub start
{
	my ($node) = @_;
	my ($status, $said) = inside('ulimit -c 0; pg_ctl -w -D ' . $node->data_dir . ' -l ' . $node->logfile . ' start </dev/null >/dev/null');
	$node->_update_pid($status ? -1 : 1);
	return $status == 0;
}

my $full = qr/ERROR:  53100:/;
sub verbose
{
	my ($node, $sql) = @_;
	return $node->psql('crowded', "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$sql");
}

my $log = q{SELECT count(*), md5(string_agg(l::text, ',' ORDER BY xact_id, xact_seq)) FROM aq.audit_log l};
my $table = q{SELECT count(*), md5(string_agg(c::text, ',' ORDER BY cnttnum)) FROM cf.contrato c};
my $update = q{UPDATE cf.contrato SET importe = importe + 1, obs = obs || 'z', clave = 'n'};
my $consolidate = q{CALL aq.consolidate('cf', 'tmp_deuda', batch => 4, on_reject => 'keep')};
my $restore = q{CALL aq.consolidate_restore('cf', 'tmp_deuda', batch => 4)};
my $verify = q{SELECT bool_and(ok), count(*) FROM aq.consolidate_verify('cf', 'tmp_deuda')};
my $maintain = q{CALL aq.audit_maintain(months_ahead => 6)};
my $sources = q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_\d'};

# Locks, temporary tables and a run that says it goes on.
sub left_behind
{
	my ($node) = @_;
	return $node->safe_psql('crowded', q{
		SELECT 'lock', mode FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype IN ('advisory', 'relation')
		UNION ALL SELECT 'temporary', relname FROM pg_class WHERE relpersistence = 't'
		UNION ALL SELECT 'invalid', indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid
		UNION ALL SELECT 'running', family FROM aq.consolidate_progress WHERE state = 'running' OR pid IS NOT NULL});
}

# ---- the database is on it --------------------------------------------------------------

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => ['--wal-segsize=1']);
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\njit = off\nmax_parallel_maintenance_workers = 0\nlc_messages = 'C'\n");
BAIL_OUT('the server does not start beside the small file system') unless start($node);
must("mkdir -m 700 '$disk/space'");
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$disk/space'");
$node->safe_psql('postgres', 'CREATE DATABASE original');
$node->safe_psql('original', legacy_sql(tables => 60, rows => 1000, contracts => 4000));
$node->safe_psql('original', q{
	INSERT INTO aq.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
	SELECT '2024-01-15'::timestamptz + g * interval '1 hour', '1', g, 'cf', 'contrato', g, 'I', jsonb_build_object('g', g, 'x', repeat('y', 50)), 'old'
	FROM generate_series(1, 4000) g;
	-- what a batch drops makes room for the next; this one wants more than that
	INSERT INTO cf.tmp_deuda_50 SELECT g * 1.25, g, 50, g FROM generate_series(10001, 18000) g;});
$node->safe_psql('postgres', 'CREATE DATABASE crowded TEMPLATE original TABLESPACE small');
is($node->safe_psql('crowded', $log) . $node->safe_psql('crowded', $table), $node->safe_psql('original', $log) . $node->safe_psql('original', $table),
	'the copy on the small disk is the same');
my $rows = family_rows($node, 'original');
my $shape = family_shape($node, 'original');

# Calls sql with ever more room until it gets through.  How often it failed, and
# what was wrong in between.
sub until_through
{
	my ($name, $sql, $step, $same) = @_;
	my $before = $same->();
	my ($failed, @states, @wrong) = (0);
	for my $try (0 .. 60)
	{
		leave(100 + $try * $step);
		my ($ret, $stdout, $stderr) = verbose($node, $sql);
		last if $ret == 0;
		make_room();	# the questions below need some, too
		$failed++;
		push @wrong, "try $try: $stderr" if $stderr !~ $full;
		my $now = eval { $same->() } // $@;
		push @wrong, "try $try: changed: $now, not $before" if $now ne $before;
		my $left = left_behind($node);
		push @wrong, "try $try: $left" if $left;
		push @states, $node->safe_psql('crowded', $sources);
	}
	is(join("\n", @wrong), '', "$name: at every failure 53100, all as before, nothing left behind");
	cmp_ok($failed, '>', 1, "$name: it failed $failed times, then got through");
	make_room();
	return @states;
}

my $both = sub { $node->safe_psql('crowded', $log) . $node->safe_psql('crowded', $table) };
my ($log_count, $table_count) = map { (split /\|/, $node->safe_psql('crowded', $_))[0] } $log, $table;
until_through('an audited UPDATE', $update, 700, $both);
is($node->safe_psql('crowded', q{SELECT count(*) FROM aq.audit_log}), $log_count + $table_count, 'an audited UPDATE: the one that got through is logged, once');
is($node->safe_psql('crowded', q{SELECT count(*) FROM cf.contrato c JOIN aq.audit_log l ON l.table_name = 'contrato' AND record_id = cnttnum AND action = 'U'
	AND changed_fields->'obs'->>'new' = obs AND (changed_fields->'importe'->>'new')::numeric = importe}), $table_count, '... with the values that the table has');

# within a transaction that goes on after it
leave(200);
my ($ret, $stdout, $stderr) = verbose($node, qq{\\set ON_ERROR_STOP 0
	BEGIN;
	UPDATE cf.contrato SET estado = 5 WHERE cnttnum = 1;
	SAVEPOINT s;
	$update;
	ROLLBACK TO s;
	UPDATE cf.contrato SET estado = 6 WHERE cnttnum = 1;
	COMMIT;});
like($stderr, $full, 'after a savepoint: the UPDATE fails');
is($node->safe_psql('crowded', q{SELECT string_agg(changed_fields->'estado'->>'new', ' ' ORDER BY xact_seq) FROM aq.audit_log
	WHERE record_id = 1 AND xact_id = (SELECT xact_id FROM aq.audit_log ORDER BY xact_id DESC LIMIT 1)}), '5 6', '... and what was done before and after it is in the log, in its order');
make_room();

my $family = sub { family_rows($node, 'crowded') };
my @left = until_through('consolidate', $consolidate, 150, $family);
cmp_ok(scalar(grep { $_ > 0 && $_ < 60 } @left), '>', 0, 'consolidate: sometimes it was in the middle (' . join(' ', @left) . ' sources left)');
is(family_rows($node, 'crowded'), $rows, 'consolidate: the rows are those of the copy taken before');
is($node->safe_psql('crowded', "$sources; $verify"), "0\nt|60", 'consolidate: no source is left, and all verify');
is($node->safe_psql('crowded', q{SELECT state, last_error FROM aq.consolidate_progress WHERE family = 'tmp_deuda'}), 'finished|', 'consolidate: progress says finished');
is($node->safe_psql('crowded', q{SELECT string_agg(conname, ' ') FROM pg_constraint WHERE conrelid = 'cf.tmp_deuda'::regclass AND contype = 'p'}), 'pk_tmp_deuda',
	'consolidate: the target has its key');

@left = until_through('consolidate_restore', $restore, 350, $family);
cmp_ok(scalar(grep { $_ > 0 && $_ < 60 } @left), '>', 0, 'consolidate_restore: sometimes it was in the middle (' . join(' ', @left) . ' sources back)');
is(family_rows($node, 'crowded'), $rows, 'consolidate_restore: the rows are those of the copy taken before');
is(family_shape($node, 'crowded'), $shape, 'consolidate_restore: and so are the tables');

until_through('audit_maintain', $maintain, 600, $both);
is($node->safe_psql('crowded', 'SELECT count(*) FROM aq.audit_log_default'), '0', 'audit_maintain: the DEFAULT partition is empty');

# no temporary files without room either; what only reads says so
$node->safe_psql('crowded', q{INSERT INTO cf.sector SELECT 'z', g, repeat('x', 20) FROM generate_series(6, 12000) g});
$node->safe_psql('crowded', $_) for $update, $update, 'UPDATE cf.contrato SET cnttnum = cnttnum WHERE false';
$node->safe_psql('crowded', q{CREATE TABLE cf.una (id int PRIMARY KEY, v text); SELECT aq.audit_enable('cf.una'); INSERT INTO cf.una VALUES (1, '');
	DO $$BEGIN FOR i IN 1..3000 LOOP UPDATE cf.una SET v = repeat(i::text, 100); END LOOP; END$$});
leave(300);
($ret, $stdout, $stderr) = verbose($node, q{SET work_mem = '64kB'; SELECT count(*) FROM aq.audit_history('cf.una', '1')});
like($stderr, $full, 'audit_history without room for its sort fails');
make_room();
is($node->safe_psql('crowded', q{SET work_mem = '64kB'; SELECT count(*) FROM aq.audit_history('cf.una', '1')}), '3002', '... and with room it answers');

unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked|leak:|cache lookup failed/, 'no crash, no leak in the log');
$node->safe_psql('postgres', 'DROP DATABASE crowded');
$node->stop;
must("rm -rf '$disk/space'");

# ---- the WAL is on it ---------------------------------------------------------------------

# The server panics, and recovers when there is room: at once by itself, or when
# it is started again.
my $walnode = PostgreSQL::Test::Cluster->new('wal');
$walnode->init(extra => ['--wal-segsize=1']);
$walnode->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\njit = off\nmin_wal_size = 2MB\nmax_wal_size = 4MB\ncheckpoint_timeout = 1h\n"
	  . "wal_recycle = off\nrestart_after_crash = on\nlc_messages = 'C'\n");
my $pg_wal = $walnode->data_dir . '/pg_wal';
must("mv '$pg_wal' '$disk/wal' && ln -s '$disk/wal' '$pg_wal'");
BAIL_OUT('the server does not start with its WAL on the small file system') unless start($walnode);
$walnode->safe_psql('postgres', 'CREATE DATABASE crowded');
$walnode->safe_psql('crowded', legacy_sql(tables => 60, rows => 1000, contracts => 4000));
$rows = family_rows($walnode, 'crowded');
$shape = family_shape($walnode, 'crowded');

# A server that panics tries to recover, without room: either it can, or it ends
# and is started again when there is room.
sub recovered
{
	my ($name) = @_;
	for (1 .. 1800)
	{
		my ($status) = inside('pg_ctl -D ' . $walnode->data_dir . ' status >/dev/null');
		if ($status)
		{
			$walnode->_update_pid(0);
			make_room();
			note("$name: started again");
			return start($walnode);
		}
		if (system('psql', '-XAtqw', '-d', $walnode->connstr('postgres'), '-o', '/dev/null', '-c', 'SELECT 1') == 0)
		{
			make_room();
			note("$name: recovered by itself");
			return 1;
		}
		usleep(100_000);
	}
	return 0;
}

my $everything = sub {
	return join '|', family_rows($walnode, 'crowded'), map { $walnode->safe_psql('crowded', $_) } $log, $table;
};
for my $case (
	[ 'an audited UPDATE', $update, 1000 ],
	[ 'consolidate', $consolidate, 1500 ],
	[ 'consolidate_restore', $restore, 2500 ])
{
	my ($name, $sql, $room) = @$case;
	my $before = $everything->();
	$walnode->safe_psql('postgres', 'CHECKPOINT');
	my $place = -s $walnode->logfile;
	leave($room);
	my ($ret, $stdout, $stderr) = verbose($walnode, $sql);
	isnt($ret, 0, "$name without room for WAL: the session ends");
	BAIL_OUT("$name: the server does not come back") unless recovered($name);
	like(slurp_file($walnode->logfile, $place), qr/PANIC:  could not (write|extend).*No space left on device/, "$name: the server had panicked");
	is($everything->(), $before, "$name: after recovery all is as before");
	is(left_behind($walnode), '', "$name: nothing is left behind");
	note($walnode->safe_psql('crowded', $sources) . ' sources are there');
}
$walnode->safe_psql('crowded', $consolidate);
is($walnode->safe_psql('crowded', "$sources; $verify"), "0\nt|60", 'with room consolidate finishes, and all verify');
is(family_rows($walnode, 'crowded'), $rows, '... every row');
$walnode->safe_psql('crowded', $restore);
is(family_rows($walnode, 'crowded'), $rows, 'consolidate_restore brings back every row');
is(family_shape($walnode, 'crowded'), $shape, '... in the same tables');
$walnode->safe_psql('crowded', $update);
is($walnode->safe_psql('crowded', q{SELECT count(*) FROM cf.contrato c JOIN aq.audit_log l ON l.table_name = 'contrato' AND record_id = cnttnum AND action = 'U'
	AND changed_fields->'obs'->>'new' = obs}), $table_count, 'and every row of an UPDATE is logged');
$walnode->stop;
$in = "exit\n";
$shell->finish;
done_testing();
