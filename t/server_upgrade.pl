# History, families, progress, settings and functions survive pg_dump and
# restore, and pg_upgrade: to the same server version, from every older and to
# every newer one that is there with its development files (see Servers.pm).
use strict;
use warnings;
use lib 't/lib';

use Cwd;
use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Servers;
use Test::More;

my $top = getcwd();

# A cluster of a server; without checksums, since pg_upgrade wants both sides
# alike and their default has changed.  PostgreSQL 14's modules write a setting
# that newer servers do not know.
sub cluster
{
	my ($name, $server) = @_;
	my $node = node_of($server, $name);
	$node->init(extra => [ '--locale=C', '--encoding=UTF8', $server->{v} >= 18 ? ('--no-data-checksums') : () ]);
	my $file = $node->data_dir . '/postgresql.conf';
	my $conf = slurp_file($file) =~ s/^stats_temp_directory.*\n//mr;
	unlink $file;
	append_to_file($file, $conf . "fsync = off\nautovacuum = off\njit = off\n");
	return $node;
}

# The programs of a server with the libraries that it brought along; what they
# say is in $said.
my $said;
sub program
{
	my ($server, @command) = @_;
	my @path = grep { $_ } ($server->{path} ? "$server->{path}/lib" : ''), $ENV{LD_LIBRARY_PATH} // '';
	local %ENV = (%ENV, @path ? (LD_LIBRARY_PATH => join ':', @path) : ());
	$said = '';
	return run_log(\@command, '>', \$said, '2>&1');
}

# ---- what is upgraded -----------------------------------------------------------------
sub fill
{
	my ($node) = @_;
	$node->safe_psql('postgres', 'CREATE ROLE lector; CREATE DATABASE utility');
	fill_legacy($node, 'utility');
	$node->safe_psql('utility', q{
		GRANT USAGE ON SCHEMA aq TO lector;
		GRANT SELECT ON aq.audit_log TO lector;
		GRANT EXECUTE ON FUNCTION aq.fn_audit_trigger() TO lector;
		COMMENT ON TABLE aq.audit_log IS 'our history';
		ALTER DATABASE utility SET app."current_user" = 'batch';
		ALTER DATABASE utility SET aquacis.tariff_force_numeric = on});
	# A plain table: where that does not get through, no table of ours can.
	$node->safe_psql('postgres', 'CREATE DATABASE control');
	$node->safe_psql('control', 'CREATE TABLE control (id int PRIMARY KEY, x text)');
}

# without the row types, which newer servers count as members, and without
# MAINTAIN, which newer servers give to an owner
my $members = q{
	SELECT string_agg(pg_describe_object(classid, objid, objsubid), E'\n' ORDER BY pg_describe_object(classid, objid, objsubid)) FROM pg_depend
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid <> 'pg_type'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'aquacis')};
my $privileges = q{
	SELECT p.oid::regprocedure, proacl FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'aq' ORDER BY p.oid::regprocedure::text;
	SELECT relname, regexp_replace(relacl::text, '(=[^/]*)m', '\1', 'g'), obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'aq' AND relkind IN ('r', 'p', 'v') ORDER BY 1;};
my $settings = q{
	SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1;
	SHOW aquacis.tariff_force_numeric;
	SELECT * FROM aq.consolidate_guard_schema;};
sub state_of
{
	my ($node) = @_;
	return (
		everything => everything($node, 'utility'),
		rows => family_rows($node, 'utility'),
		shape => family_shape($node, 'utility'),
		members => $node->safe_psql('utility', $members),
		privileges => $node->safe_psql('utility', $privileges),
		settings => $node->safe_psql('utility', $settings),
		status => $node->safe_psql('utility', 'SELECT * FROM aq.audit_status ORDER BY 1'));
}
my %was;

# What was there is there, and can be worked with.
sub survived
{
	my ($node, $how) = @_;
	my %is = state_of($node);
	for (sort keys %was)
	{
		ok($is{$_} eq $was{$_}, "$how: the same $_") or diag(differing($is{$_}, $was{$_}));
	}
	carries_on($node, 'utility', $how, 'batch', $was{rows});
}

# ---- the two ways ---------------------------------------------------------------------
# The newer server's pg_dump is the one to use.  It need not know, though, what
# a later minor release of the older version writes into its catalog (15.20
# keeps an option pg_attver with every column, which 17.11 does not know): then
# the older server's own pg_dump leaves that out, and pg_upgrade, which has no
# choice, cannot go this way, with aquacis or without.
sub passes
{
	my ($dumper, $from, $to) = @_;
	my $file = $from->basedir . '/control.sql';
	unlink $file;
	$to->safe_psql('postgres', 'DROP DATABASE IF EXISTS control');
	return program($dumper, "$dumper->{bin}/pg_dump", '-C', '-f', $file, '-d', $from->connstr('control')) && restored($file, $to);
}

sub restored
{
	my ($file, $to) = @_;
	my ($ret, $out, $err) = $to->psql('postgres', "\\i $file");
	note($err) if $err;
	return $ret == 0;
}

sub dump_and_restore
{
	my ($node, $old, $new) = @_;
	my $how = "dump and restore, $old->{v} to $new->{v}";
	my $to = cluster("restore_$old->{v}_$new->{v}", $new);
	$to->start;
	my ($dumper) = grep { passes($_, $node, $to) } $new, $old;
	ok($dumper, "$how: a plain table gets through") or return;
	note("$how: with pg_dump of $dumper->{v}");
	my $file = $node->basedir . '/utility.sql';
	unlink $file;
	ok(program($dumper, "$dumper->{bin}/pg_dump", '-C', '-f', $file, '-d', $node->connstr('utility')), "$how: pg_dump") or diag($said);
	$to->safe_psql('postgres', 'CREATE ROLE lector');
	ok(restored($file, $to), "$how: restore");
	survived($to, $how);
	$to->stop;
}

sub upgrade
{
	my ($node, $old, $new) = @_;
	my $how = "pg_upgrade, $old->{v} to $new->{v}";
	my $to = cluster("upgrade_$old->{v}_$new->{v}", $new);
	$node->start unless -f $node->data_dir . '/postmaster.pid';
	if ($old->{v} != $new->{v})
	{
		$to->start;
		my $passes = passes($new, $node, $to);
		my ($one, $other) = map { my $n = $_; $n->safe_psql('postgres', 'SHOW server_version') =~ s/ .*//r } $node, $to;
		$to->safe_psql('postgres', 'DROP DATABASE IF EXISTS control');
		$to->stop;
	  SKIP: { skip "pg_upgrade from $one to $other: a plain table does not get through", 1 unless $passes; }
		return unless $passes;
	}
	$node->stop;
	my $dir = PostgreSQL::Test::Utils::tempdir('upgrade');
	chdir $dir;
	my $ok = ok(program($old, "$new->{bin}/pg_upgrade", $new->{v} >= 15 ? ('--no-sync') : (), '-d', $node->data_dir, '-D', $to->data_dir, '-b', $old->{bin}, '-B', $new->{bin},
			'-s', $to->host, '-p', $node->port, '-P', $to->port), "$how: pg_upgrade") or diag($said);
	chdir $top;
	return unless $ok;
	$to->start;
	survived($to, $how);
	$to->stop;
}

# ---- from every older server to the one under test, from that to itself and every newer one
my $this = this_server();
my (@older, @newer);
for my $server (other_servers())
{
	my ($copy, $log) = build_for($server);
	ok($copy, "aquacis builds for PostgreSQL $server->{v}") or diag($log), next;
	push @{ $copy->{v} < $this->{v} ? \@older : \@newer }, $copy;
}
for (map({ [ $_, $this ] } @older), [ $this, $this, @newer ])
{
	my ($old, @to) = @$_;
	my $node = cluster("old_$old->{v}", $old);
	$node->start;
	fill($node);
	%was = state_of($node);
	dump_and_restore($node, $old, $_) for @to;
	upgrade($node, $old, $_) for @to;
	$node->stop if -f $node->data_dir . '/postmaster.pid';
}
SKIP:
{
	skip "no other PostgreSQL than $this->{v} is here to upgrade from or to", 1 unless @older || @newer;
}

done_testing();
