# The README's SQL runs as printed, from top to bottom, in an empty database.
#
# Every ```sql block is run, one psql session a block, as a superuser.  A ```text
# block below it is the end of its output; a line that ends in "-- => value" claims
# a result.  Both are checked.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE utility');

my $postgis = $node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'});

my $readme = slurp_file('README.md');
my $number = 0;
while ($readme =~ /^```sql\n(.*?)^```\n(?:```text\n(.*?)^```)?/msg)
{
	my ($block, $printed) = ($1, $2);
	my ($title) = $block =~ /\A(?:-- )?(.{1,60})/;
	$number++;
  SKIP:
	{
		skip "block $number needs PostGIS", 1 if $block =~ /postgis|geom/i && !$postgis;
		my ($file, $out, $err) = ($node->basedir . "/block$number.sql", '', '');
		append_to_file($file, $block);
		ok( run_log([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('utility'), '-f', $file ],
				'>', \$out, '2>', \$err),
			"block $number runs: $title") or diag($err);
		next unless defined $printed;
		# what is printed below the block is the end of its output
		s/[ \t]+$//mg, s/\s+\z// for $out, $printed;
		is(substr($out, -length $printed), $printed, "block $number prints what the README shows");
	}
	while ($block =~ /^(SELECT [^\n]*;)\s*-- => (.*?)\s*$/mg)
	{
		my ($query, $claim) = ($1, $2);
		is($node->safe_psql('utility', $query), $claim, "$query gives what is printed");
	}
}
cmp_ok($number, '>=', 5, 'the README has SQL to run');

# Links inside the repository lead somewhere.
while ($readme =~ /\]\((?!https?:|#)([^)#]+)/g)
{
	ok(-e $1, "link to $1");
}

$node->stop;
done_testing();
