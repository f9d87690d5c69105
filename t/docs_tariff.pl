# docs/tariff.md says what the server says: every ```sql block is run, in order,
# and where a ```text block follows it, the output is that block to the letter.
use strict;
use warnings FATAL => 'all';

use File::Basename;
use File::Spec;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = dirname(dirname(File::Spec->rel2abs(__FILE__)));
my $page = slurp_file("$root/docs/tariff.md");

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION aquacis');

my $compared = 0;
while ($page =~ /^```sql\n(.*?)^```\n(?:```text\n(.*?)^```\n)?/gms)
{
	my ($sql, $expected) = ($1, $2);
	my ($first) = $sql =~ /^(.*)$/m;
	my ($out, $err) = ('', '');
	my $status = IPC::Run::run(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \$sql, '>', \$out, '2>', \$err);

	ok($status, "runs: $first") or diag($err);
	next unless defined $expected;
	$out =~ s/\n\n\z/\n/;
	is($out, $expected, "prints what the page prints: $first");
	$compared++;
}
cmp_ok($compared, '>=', 6, 'outputs were compared');

$node->stop;
done_testing();
