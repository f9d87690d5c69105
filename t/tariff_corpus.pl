# What the fuzzer found, replayed: outside the server under the sanitizers, and
# inside it through SQL, where every input ends in an answer or in one of the
# documented errors, and fixed point and numeric give the same answer.
use strict;
use warnings FATAL => 'all';

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = dirname(dirname(File::Spec->rel2abs(__FILE__)));
open my $corpus, '<', "$root/fuzz/tariff_bill.corpus" or die "no corpus: $!";
chomp(my @inputs = grep { !/^#/ } <$corpus>);
close $corpus;
cmp_ok(scalar @inputs, '>', 300, 'the corpus is there');

# outside the server
{
	local $ENV{FUZZ_BUILD} = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err) = run_command([ 'bash', "$root/fuzz/run", 'replay', 'tariff_bill' ]);
	is($out, "-fsanitize=address,undefined\ntariff_bill: " . @inputs . ' inputs', 'replay under the sanitizers') or diag($err);
}

# inside
my $node = PostgreSQL::Test::Cluster->new('tariff');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION aquacis');
$node->safe_psql('postgres', 'CREATE TABLE input (id int, bytes bytea)');
my @rows;
for my $i (0 .. $#inputs)
{
	my ($first, $rest) = split /\n/, pack('H*', $inputs[$i]), 2;
	push @rows, "($i, '\\x" . unpack('H*', $rest) . "')" if defined $rest;
}
$node->safe_psql('postgres', 'INSERT INTO input VALUES ' . join(', ', @rows));
my $result = $node->safe_psql('postgres', <<'SQL');
CREATE TABLE outcome (id int, faults int, state text, fixed jsonb, in_numeric jsonb);
DO $$
DECLARE
  i record;
  tariff jsonb;
  n int;
  state text;
  answers jsonb[];
  mode text;
  m3 numeric;
BEGIN
  FOR i IN SELECT * FROM input LOOP
    state := NULL;
    n := NULL;
    answers := '{}';
    BEGIN
      tariff := convert_from(i.bytes, 'UTF8')::jsonb;
    EXCEPTION WHEN data_exception THEN
      CONTINUE;
    END;
    n := cardinality(tariff_errors(tariff));
    IF (n = 0) <> tariff_is_valid(tariff) THEN
      RAISE 'tariff_is_valid and tariff_errors disagree on %', tariff;
    END IF;
    FOREACH m3 IN ARRAY ARRAY[0, 3.125, 1e30] LOOP
      FOREACH mode IN ARRAY ARRAY['off', 'on'] LOOP
        PERFORM set_config('aquacis.tariff_force_numeric', mode, true);
        BEGIN
          answers := answers || tariff_bill(tariff, m3, units_served => 3, period_factor => 1.5);
        EXCEPTION WHEN OTHERS THEN
          state := SQLSTATE;
          answers := answers || to_jsonb(SQLSTATE);
        END;
      END LOOP;
      INSERT INTO outcome VALUES (i.id, n, state, answers[cardinality(answers) - 1], answers[cardinality(answers)]);
    END LOOP;
  END LOOP;
END $$;
SELECT count(*) > 0, count(*) FILTER (WHERE fixed IS DISTINCT FROM in_numeric) FROM outcome;
SELECT count(*) > 0 FROM outcome WHERE faults = 0 AND jsonb_typeof(fixed) = 'object';
SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM outcome WHERE faults > 0;
SELECT coalesce(string_agg(DISTINCT state, ' ' ORDER BY state), '22003') FROM outcome WHERE faults = 0;
SQL
is($result, "t|0\nt\n22023\n22003", 'answers are equal, errors are the documented ones');

$node->stop;
done_testing();
