# History, families, progress, settings and functions survive pg_dump and
# restore, and pg_upgrade: to the same server version everywhere, and to every
# newer one that is installed on the machine with its development files.
use strict;
use warnings;
use lib 't';

use Cwd;
use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $bindir = `"$ENV{PG_CONFIG}" --bindir`) if $ENV{PG_CONFIG};
$bindir //= do { chomp(my $b = `pg_config --bindir`); $b };
my ($version) = `"$bindir/postgres" --version` =~ /\) (\d+)/;
my $top = getcwd();

# ---- the old server ---------------------------------------------------------------
# Ends in the middle of things: a family half consolidated, one source copied
# and kept, one restored, the guard on, rows waiting in the default partition.
my $old = PostgreSQL::Test::Cluster->new('old');
my @plain = $version >= 18 ? ('--no-data-checksums') : ();
$old->init(extra => [ '--locale=C', '--encoding=UTF8', @plain ]);
$old->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\njit = off\n");
$old->start;
$old->safe_psql('postgres', 'CREATE ROLE lector; CREATE DATABASE utility');
$old->safe_psql('utility', legacy_sql());
$old->safe_psql('utility', q{
	GRANT USAGE ON SCHEMA aq TO lector;
	GRANT SELECT ON aq.audit_log TO lector;
	GRANT EXECUTE ON FUNCTION aq.fn_audit_trigger() TO lector;
	COMMENT ON TABLE aq.audit_log IS 'our history';
	INSERT INTO aq.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
	SELECT '2024-01-15'::timestamptz + g * interval '1 day', '1', g, 'cf', 'contrato', g, 'I', jsonb_build_object('g', g), 'old'
	FROM generate_series(1, 40) g;});
$old->safe_psql('utility', q{CALL aq.consolidate('cf', 'mia', drop_source => false)});
$old->safe_psql('utility', q{CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep')});
$old->safe_psql('utility', q{CALL aq.consolidate_restore('cf', 'tmp_deuda', 20)});
$old->safe_psql('utility', q{CREATE TABLE cf.tmp_deuda_3001 AS SELECT * FROM cf.tmp_deuda_20 WHERE faccnttnum IS NOT NULL AND numfacturas > 6});
$old->safe_psql('utility', q{SELECT aq.consolidate_guard('cf', 'block')});

# without the row types, which newer servers count as members, and without
# MAINTAIN, which newer servers give to an owner
my $members = q{
	SELECT string_agg(pg_describe_object(classid, objid, objsubid), E'\n' ORDER BY pg_describe_object(classid, objid, objsubid)) FROM pg_depend
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid <> 'pg_type'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'aquacis')};
my $privileges = q{
	SELECT p.oid::regprocedure, proacl FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'aq' ORDER BY p.oid::regprocedure::text;
	SELECT relname, regexp_replace(relacl::text, '(=[^/]*)m', '\1', 'g'), obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'aq' AND relkind IN ('r', 'p', 'v') ORDER BY 1;};
my %was = (
	everything => everything($old, 'utility'),
	rows => family_rows($old, 'utility'),
	shape => family_shape($old, 'utility'),
	members => $old->safe_psql('utility', $members),
	privileges => $old->safe_psql('utility', $privileges),
	status => $old->safe_psql('utility', 'SELECT * FROM aq.audit_status ORDER BY 1'));
my $dump = $old->basedir . '/utility.sql';

# What was there is there, and can be worked with.
sub survived
{
	my ($node, $db, $how) = @_;
	for ([ 'everything' => everything($node, $db) ], [ 'rows' => family_rows($node, $db) ], [ 'shape' => family_shape($node, $db) ],
		[ 'members' => $node->safe_psql($db, $members) ], [ 'privileges' => $node->safe_psql($db, $privileges) ],
		[ 'status' => $node->safe_psql($db, 'SELECT * FROM aq.audit_status ORDER BY 1') ])
	{
		my ($what, $now) = @$_;
		ok($now eq $was{$what}, "$how: the same $what") or diag(differing($now, $was{$what}));
	}
	my ($ret, $out, $err) = $node->psql($db, 'CREATE TABLE cf.tmp_deuda_4000 (x int)');
	like($err, qr/tmp_deuda_4000/, "$how: the guard is on guard");
	$node->safe_psql($db, q{SELECT aq.consolidate_guard('cf', 'off')});

	$node->safe_psql($db, q{UPDATE cf.contrato SET estado = 77 WHERE cnttnum = 1});
	is($node->safe_psql($db, q{SELECT action, column_name, new_value FROM aq.audit_history('cf.contrato', '1') LIMIT 1}), 'U|estado|77', "$how: the audit goes on");
	$node->safe_psql($db, q{CALL aq.audit_maintain()});
	is($node->safe_psql($db, q{SELECT count(*) FROM aq.audit_log_default}), '0', "$how: audit_maintain empties the default partition");

	$node->safe_psql($db, q{CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep')});
	is($node->safe_psql($db, q{SELECT bool_and(ok), count(*) FROM aq.consolidate_verify('cf', 'tmp_deuda')}), 't|41', "$how: the family is finished and verified");
	$node->safe_psql($db, q{CALL aq.consolidate_restore('cf', 'tmp_deuda')});
	is(family_rows($node, $db), $was{rows}, "$how: and restored, every row");
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_\d'}), '41', "$how: into every table");
}

sub differing
{
	my ($got, $expected) = @_;
	my %count;
	$count{$_}++ for split /\n/, $got;
	$count{$_}-- for split /\n/, $expected;
	my @lines = map { ($count{$_} > 0 ? '+' : '-') . $_ } grep { $count{$_} } sort keys %count;
	return join "\n", @lines > 20 ? (@lines[ 0 .. 19 ], '...') : @lines;
}

# ---- a newer server: a private copy of its installation, with aquacis built for it ------

sub installation
{
	my ($v) = @_;
	my $from = "/usr/lib/postgresql/$v";
	my $tmp = PostgreSQL::Test::Utils::tempdir("aquacis$v");
	my $to = "$tmp/usr/lib/postgresql/$v";
	my $log = "$tmp/log";
	system('bash', '-ec', <<'EOS', 'bash', $from, $to, "$tmp/usr", $v, $top, "$tmp/src", $log) == 0 or return (undef, slurp_file($log));
exec >"$7" 2>&1
mkdir -p "$2" "$3/share/postgresql" "$3/include" "$6"
cp -r "$1/bin" "$2/"; cp -rs "$1/lib" "$2/lib"
cp -rs "/usr/share/postgresql/$4" "$3/share/postgresql/$4"
ln -s /usr/include/postgresql "$3/include/postgresql"
rm -f "$2/lib/aquacis.so" "$3/share/postgresql/$4/extension/aquacis"*
tar -C "$5" -cf - --exclude='*.o' --exclude='*.bc' --exclude='*.so' --exclude=.git --exclude=tmp_check . | tar -C "$6" -xf -
make -s -C "$6" PG_CONFIG="$2/bin/pg_config" with_llvm=no install
EOS
	return ($to, '');
}

my @newer = grep { $_ > $version && -x "/usr/lib/postgresql/$_/bin/pg_upgrade" && -f "/usr/lib/postgresql/$_/lib/pgxs/src/makefiles/pgxs.mk" } 15 .. 18;
note(@newer ? "newer servers here: @newer" : "no newer server is installed beside $version");

# A minor release may write into a dump what another version's older minor
# release does not know.  Where a plain table does not get through, no table of
# ours can; so that one goes first.
$old->safe_psql('postgres', 'CREATE DATABASE control');
$old->safe_psql('control', 'CREATE TABLE control (id int PRIMARY KEY, x text)');
sub passable
{
	my ($node, $bin) = @_;
	my $file = $old->basedir . '/control.sql';
	unlink $file;
	return 0 unless run_log([ "$bin/pg_dump", '-f', $file, '-d', $old->connstr('control') ]);
	$node->safe_psql('postgres', 'CREATE DATABASE control');
	return run_log([ "$bin/psql", '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d', $node->connstr('control') ]);
}

sub restored
{
	my ($node, $path, $how) = @_;
	my $bin = defined $path ? "$path/bin" : $bindir;
	unlink $dump;
	command_ok([ "$bin/pg_dump", '-f', $dump, '-d', $old->connstr('utility') ], "$how: pg_dump");
	$node->safe_psql('postgres', 'CREATE ROLE lector') unless $node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'lector'});
	$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
	command_ok([ "$bin/psql", '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', $node->basedir . '/restore.out', '-f', $dump, '-d', $node->connstr('restored') ], "$how: restore");
	survived($node, 'restored', $how);
}

# A server of another installation.  PostgreSQL 14's modules take its path in
# get_new_node() only, and write a setting that newer servers do not know.
sub node_of
{
	my ($name, $path, @initdb) = @_;
	my $class = 'PostgreSQL::Test::Cluster';
	my $new = $class->can('get_new_node') || $class->can('new');
	my $node = $class->$new($name, defined $path ? (install_path => $path) : ());
	$node->init(extra => [ '--locale=C', '--encoding=UTF8', @initdb ]);
	my $file = $node->data_dir . '/postgresql.conf';
	my $conf = slurp_file($file) =~ s/^stats_temp_directory.*\n//mr;
	unlink $file;
	append_to_file($file, $conf . "fsync = off\njit = off\n");
	return $node;
}

sub upgraded
{
	my ($path, $how) = @_;
	my $bin = defined $path ? "$path/bin" : $bindir;
	my @no_sync = defined $path || $version >= 15 ? ('--no-sync') : ();
	my $checksums = $how =~ /18/ && $version < 18 ? ['--no-data-checksums'] : [@plain];
	my $new = node_of("new_$how" =~ s/\W+/_/gr, $path, @$checksums);
	$new->append_conf('postgresql.conf', "autovacuum = off\n");
	$old->stop if -f $old->data_dir . '/postmaster.pid';
	my $dir = PostgreSQL::Test::Utils::tempdir('upgrade');
	chdir $dir;
	my $ok = ok(run_log([ "$bin/pg_upgrade", @no_sync, '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bin,
			'-s', $new->host, '-p', $old->port, '-P', $new->port ]), "$how: pg_upgrade");
	chdir $top;
	return unless $ok;
	$new->start;
	survived($new, 'utility', $how);
	$new->stop;
}

restored($old, undef, 'dump and restore, same version');
my %path;
for my $v (@newer)
{
	my ($path, $log) = installation($v);
	ok($path, "aquacis builds for PostgreSQL $v") or diag($log), next;
	$path{$v} = $path;
	my $node = node_of("restore_$v", $path);
	$node->start;
	if (passable($node, "$path/bin"))
	{
		restored($node, $path, "dump and restore, $version to $v");
	}
	else
	{
	  SKIP: { skip "these minor releases of PostgreSQL $version and $v do not pass a plain table", 1; }
		delete $path{$v};
	}
	$node->stop;
}
$old->safe_psql('postgres', $_) for 'DROP DATABASE restored', 'DROP DATABASE control';
upgraded(undef, "pg_upgrade, $version to $version");
SKIP:
{
	skip "no newer PostgreSQL is installed beside $version", 1 unless @newer;
	upgraded($path{$_}, "pg_upgrade, $version to $_") for grep { $path{$_} } @newer;
}

$old->stop if -f $old->data_dir . '/postmaster.pid';
done_testing();
