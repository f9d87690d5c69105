# Every script says what it does, and refuses what it does not know before it
# does anything; what it works with does not depend on its caller's settings.
use strict;
use warnings FATAL => 'all';

use Cwd qw(getcwd);
use PostgreSQL::Test::Utils;
use Test::More;

my $top = getcwd();
my @scripts = grep { -f && -x } glob('scripts/* bench/* fuzz/* .ci/*');
cmp_ok(scalar @scripts, '>=', 11, 'the scripts were found');

for my $script (@scripts)
{
	for my $help ('--help', '-h')
	{
		my ($out, $err) = ('', '');
		ok(run_log([ "$top/$script", $help ], '>', \$out, '2>', \$err), "$script $help");
		like($out, qr/\A\Q$script\E\b[^\n]*[:.]/, '... begins with its name');
		unlike($out, qr/^#|\$0|^set -/m, '... is no code');
		is($err, '', '... complains of nothing');
	}
	command_fails_like([ "$top/$script", '--nothing' ], qr/: unknown option --nothing \(see --help\)$/, "$script --nothing");
}
for my $wrong ([ 'scripts/package', 'x' ], [ 'scripts/reference', 'x' ], [ '.ci/run', 'x' ], [ 'bench/run', 'x' ],
	[ 'fuzz/run', 'x' ], [ 'scripts/check', 'x' ], [ 'scripts/src-rules', 'x' ])
{
	command_fails_like([ "$top/$wrong->[0]", $wrong->[1] ], qr/\(see --help\)$/, "@$wrong is refused");
}

for my $rules ('scripts/sql-rules', 'scripts/src-rules')
{
	my ($out, $err) = ('', '');
	ok(run_log([ "$top/$rules", '--self-test' ], '>', \$out, '2>', \$err), "$rules finds each planted fault");
	is("$out$err", '', '... and no other');
}

# ---- the caller's settings
sub in_lib
{
	my ($shell) = @_;
	my ($out, $err) = ('', '');
	run_log([ 'bash', '-c', "cd '$top' && . scripts/lib.sh && $shell" ], '>', \$out, '2>', \$err);
	return "$out$err";
}
{
	local %ENV = (%ENV, LC_ALL => 'C', LC_MESSAGES => 'es_MX.UTF-8', LC_NUMERIC => 'es_MX.UTF-8', LANGUAGE => 'es', LANG => 'es_MX.UTF-8',
		PGTZ => 'Asia/Tokyo', PGDATESTYLE => 'German', PGSERVICE => 'none', PGCHANNELBINDING => 'require', PG_MAJOR => '15',
		CDPATH => "$top:/");
	is(in_lib(q{env | grep -E '^(LC_|LANG|PG[A-Z])' | sort}), "LANG=C.UTF-8\n", 'language and libpq settings of the caller go');
	is(in_lib(q{echo $PG_MAJOR}), "15\n", '... what the scripts document stays');
	is(in_lib(q{echo "$root"}), "$top\n", '... and CDPATH leads nowhere else');
}
{
	local $ENV{PATH} = '/usr/bin:/bin';
	like(in_lib(q{echo "$PATH"}), qr{:/usr/sbin:/sbin$}, 'dpkg finds its programs after su');
}

# ---- where the temporary directory may be
my $base = PostgreSQL::Test::Utils::tempdir_short();
mkdir "$base/a b" or die;
mkdir $base . '/' . 'x' x 60 or die;
for ([ "$base/none", qr/^bash: .*none is no directory; set TMPDIR/m ], [ "$base/a b", qr/has blanks/ ], [ $base . '/' . 'x' x 60, qr/too long for sockets/ ])
{
	my ($place, $why) = @$_;
	local $ENV{TMPDIR} = $place;
	like(in_lib('work_directory test'), $why, "TMPDIR=$place: said why not");
}
{
	chdir $base or die;
	mkdir 'here';
	local $ENV{TMPDIR} = 'here';
	my ($out, $err) = ('', '');
	run_log([ 'bash', '-c', ". '$top/scripts/lib.sh' && work_directory test && echo \"\$work\" && rmdir \"\$work\"" ], '>', \$out, '2>', \$err);
	like($out, qr{\A/.*/here/aquacis-test\.\w+$}, 'a relative TMPDIR is made absolute');
	chdir $top or die;
}

done_testing();
