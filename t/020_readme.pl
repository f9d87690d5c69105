# The README's SQL runs as printed, from top to bottom, in an empty database.
#
# Every ```sql block is run, one psql session a block, as a superuser.  A line
# that ends in "-- => value" claims a result; the claims are checked.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE utility');

my $postgis = $node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'});

my $readme = slurp_file('README.md');
my @blocks = $readme =~ /^```sql\n(.*?)^```/msg;
cmp_ok(scalar @blocks, '>=', 5, 'the README has SQL to run');

my $number = 0;
for my $block (@blocks)
{
	$number++;
	my ($title) = $block =~ /\A(?:-- )?(.{1,60})/;
  SKIP:
	{
		skip "block $number needs PostGIS", 1 if $block =~ /postgis|geom/i && !$postgis;
		my ($ret, $out, $err) = $node->psql('utility', $block, on_error_stop => 1);
		is($ret, 0, "block $number runs: $title") or diag($err);
	}
	while ($block =~ /^(SELECT [^\n]*;)\s*-- => (.*?)\s*$/mg)
	{
		my ($query, $claim) = ($1, $2);
		is($node->safe_psql('utility', $query), $claim, "$query gives what is printed");
	}
}

# Links inside the repository lead somewhere.
while ($readme =~ /\]\((?!https?:|#)([^)#]+)/g)
{
	ok(-e $1, "link to $1");
}

$node->stop;
done_testing();
