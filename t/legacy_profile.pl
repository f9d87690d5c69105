# legacy_profile over the structure of a whole legacy database: 1,970 empty tables, by
# name and type alone.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION aquacis; CREATE SCHEMA structure');

my (%tables, @order);
open(my $file, '<', 'demo/columns.csv') or die "demo/columns.csv: $!";
<$file>;
while (my $line = <$file>)
{
	my @field;
	chomp $line;
	push @field, defined $1 ? $1 =~ s/""/"/gr : $2 while $line =~ /\G(?:"((?:[^"]|"")*)"|([^,]*))(?:,|$)/g && @field < 7;
	my ($schema, $table, $position, $column, $type, $nullable, $default) = @field;
	push @order, $table unless $tables{"$schema.$table"};
	push @{ $tables{"$schema.$table"} }, "\"$column\" $type" . ($default =~ /^'[SN]'::/ ? " DEFAULT $default" : '');
}
close($file);
my $n = 0;
my $sql = join "\n", map { $n++; "CREATE TABLE structure.t$n (" . join(', ', @{ $tables{$_} }) . ');' } sort keys %tables;
my $columns = 0;
$columns += @{ $tables{$_} } foreach keys %tables;
$node->safe_psql('postgres', $sql);
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'structure'::regnamespace AND relkind = 'r'}), $n, "$n tables are there");

my $started = time;
$node->safe_psql('postgres', q{CREATE TABLE profile AS SELECT c.oid::regclass AS tab, p.* FROM pg_class c, legacy_profile(c.oid) p
	WHERE relnamespace = 'structure'::regnamespace AND relkind = 'r'});
diag(sprintf('%d tables, %d columns: %.1f s', $n, $columns, time - $started));

is($node->safe_psql('postgres', 'SELECT count(*), sum(rows_read), sum(refused) FROM profile'), "$columns|0|0", 'every column has a row, and nothing was read');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT evidence, '; ') FROM profile}), 'name, type; type', 'the evidence says that there was no data');
is($node->safe_psql('postgres', q{SELECT kind, count(*) FROM profile WHERE kind IS NOT NULL GROUP BY 1 ORDER BY 1}), <<'EOF' =~ s/\n$//r, 'as many columns of each kind as names and types have');
RFC|33
amount|12
date|1754
e-mail|46
flag|1683
name|199
phone|109
place|6
postal code|15
text|3353
EOF
# every converter that is named is SQL that this database takes
is($node->safe_psql('postgres', q{
	DO $$
	DECLARE t regclass; wanted text;
	BEGIN
	  FOR t, wanted IN SELECT tab, string_agg(converter, ', ') FROM profile WHERE converter IS NOT NULL GROUP BY 1 LOOP
	    EXECUTE 'EXPLAIN SELECT ' || wanted || ' FROM ' || t;
	  END LOOP;
	END $$;
	SELECT 'planned'}), 'planned', 'each converter can be called on its column');

$node->stop;
done_testing();
