# docs/legacy.md is right: every call in its tables gives what stands beside
# it, and its worked example runs and prints what is printed.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

open(my $file, '<:raw', 'docs/legacy.md') or die "docs/legacy.md: $!";
my @lines = <$file>;
close($file);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION aquacis');

# The tables whose header is "| SQL | gives |".
my @calls;
my $in_table = 0;
foreach my $line (@lines)
{
	$in_table = 1, next if $line =~ /^\| SQL \| gives \|$/;
	$in_table = 0 if $line !~ /^\|/;
	next unless $in_table && $line !~ /^\|---/;
	$line =~ /^\| `(.*)` \| (.*) \|$/ or die "not a call and a result: $line";
	push @calls, [ $1, $2 ];
}
cmp_ok(scalar(@calls), '>', 80, 'the tables were found');

foreach (@calls)
{
	my ($call, $expected) = @$_;
	my ($ret, $out, $err) = run_sql("\\set VERBOSITY verbose\n"
		  . "SELECT coalesce('`' || ($call)::text || '`', 'NULL');\n");

	$out = "error $1" if $err =~ /ERROR:\s+(\S+: .*)/;
	is($out, $expected, $call);
}

# The worked example: a block of SQL, and what it prints if a block of text
# follows.
my (@blocks, $block);
foreach my $line (@lines)
{
	if ($line =~ /^```(sql|text)?$/)
	{
		if (defined $1)
		{
			$block = { kind => $1, text => '' };
			push @blocks, $block;
		}
		else
		{
			undef $block;
		}
	}
	elsif (defined $block)
	{
		$block->{text} .= $line;
	}
}
my $n = 0;
while (my $sql = shift @blocks)
{
	die "text without SQL" if $sql->{kind} ne 'sql';
	$n++;
	my ($ret, $out, $err) = run_sql("\\set ON_ERROR_STOP on\n\\pset format aligned\n\\pset tuples_only off\n\\pset border 1\n$sql->{text}");
	is($err, '', "block $n raises nothing");
	is($ret, 0, "block $n runs");
	if (@blocks && $blocks[0]->{kind} eq 'text')
	{
		my $expected = (shift @blocks)->{text};
		s/[ \t]+$//mg, s/\s+$// foreach ($out, $expected);
		is($out, $expected, "block $n prints what is printed");
	}
}
cmp_ok($n, '>=', 5, 'the blocks were found');

$node->stop;
done_testing();

sub run_sql
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	my $ret = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 0,
		extra_params => ['--quiet']);
	return ($ret, $out, $err);
}
