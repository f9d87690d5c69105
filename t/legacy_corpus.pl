# What the fuzzer found is replayed, under the sanitizers where the compiler has them.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

local $ENV{FUZZ_BUILD} = PostgreSQL::Test::Utils::tempdir();
foreach my $target (qw(legacy_fields legacy_gps legacy_id legacy_number legacy_text))
{
	my $inputs = () = slurp_file("fuzz/$target.corpus") =~ /^[0-9a-f]*$/mg;
	my ($out, $err) = run_command([ 'fuzz/run', 'replay', $target ]);

	cmp_ok($inputs, '>', 20, "$target has a corpus");
	like($out, qr/^$target: $inputs inputs$/m, "$target holds") or diag($err);
}

done_testing();
