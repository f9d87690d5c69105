# Servers.pm: the PostgreSQL server under test, those beside it, and private
# copies of an installation, for the TAP tests that need another server or
# another set of extension files.
#
#   this_server()           the one under test, with aquacis installed
#   other_servers()         every other version that is there with its development files
#   private_copy($server)   the same in a temporary directory, files of an extension can be put there
#   build_for($server)      (copy, '') with aquacis built for that server, or (undef, log)
#   node_of($server, $name) a PostgreSQL::Test::Cluster of it
#
# A server is { v => 17, bin => '/…/bin', path => the folder of bin, for
# PostgreSQL::Test::Cluster's install_path (not given for the one under test) }.
#
# Others are looked for where Debian has them, /usr/lib/postgresql/<v> and so on,
# and at the same places below $AQUACIS_SERVERS.  A shared library that the
# machine does not have for such a server may lie in its lib folder.
package Servers;
use strict;
use warnings;
use Cwd;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(this_server other_servers private_copy build_for node_of);

# PostgreSQL 14's module takes the path of an installation in get_new_node() only.
sub node_of
{
	my ($server, $name) = @_;
	my $class = 'PostgreSQL::Test::Cluster';
	my $new = $class->can('get_new_node') || $class->can('new');
	return $class->$new($name, $server->{path} ? (install_path => $server->{path}) : ());
}

sub config
{
	my ($bin, $what) = @_;
	chomp(my $answer = `"$bin/pg_config" --$what`);
	return $answer;
}

sub this_server
{
	my $config = $ENV{PG_CONFIG} // 'pg_config';
	chomp(my $bin = `"$config" --bindir`);
	my ($v) = config($bin, 'version') =~ /(\d+)/;
	return { v => $v, bin => $bin };
}

sub other_servers
{
	my $this = this_server()->{v};
	my @servers;
	for my $v (grep { $_ != $this } 14 .. 18)
	{
		for my $root (grep { defined } $ENV{AQUACIS_SERVERS}, '')
		{
			my $path = "$root/usr/lib/postgresql/$v";
			next unless -x "$path/bin/postgres" && -f "$path/lib/pgxs/src/makefiles/pgxs.mk";
			push @servers, { v => $v, bin => "$path/bin", path => $path };
			last;
		}
	}
	return @servers;
}

# Programs are copied and the rest symlinked: a server finds its files relative
# to its own place, so the copy keeps the folders as they are to each other.
sub private_copy
{
	my ($server) = @_;
	my $top = PostgreSQL::Test::Utils::tempdir('installation');
	my ($bin, $lib, $share, $include) = map { config($server->{bin}, $_) } qw(bindir pkglibdir sharedir includedir);
	system('bash', '-ec', <<'EOS', 'bash', $top, $bin, $lib, $share, $include) == 0 or die "cannot copy $bin";
for folder in "${@:2}"; do mkdir -p "$1${folder%/*}"; done
cp -r "$2" "$1$2"
for folder in "$3" "$4"; do [ -e "$1$folder" ] || cp -rs "$folder" "$1$folder"; done
[ ! -d "$5" ] || [ -e "$1$5" ] || ln -s "$5" "$1$5"
EOS
	return { v => $server->{v}, bin => "$top$bin", path => "$top$bin" =~ s,/bin$,,r };
}

sub build_for
{
	my ($server) = @_;
	my $copy = private_copy($server);
	my $src = PostgreSQL::Test::Utils::tempdir('source');
	my ($lib, $share) = map { config($copy->{bin}, $_) } qw(pkglibdir sharedir);
	system('bash', '-ec', <<'EOS', 'bash', getcwd(), $src, $copy->{bin}, $lib, $share) == 0 or return (undef, slurp_file("$src/log"));
exec >"$2/log" 2>&1
rm -f "$4/aquacis.so" "$5/extension/aquacis"*
tar -C "$1" -cf - --exclude='*.o' --exclude='*.bc' --exclude='*.so' --exclude=.git --exclude=tmp_check . | tar -C "$2" -xf -
make -s -C "$2" PG_CONFIG="$3/pg_config" with_llvm=no install
EOS
	return ($copy, '');
}

1;
