# What the fuzzer found interesting is replayed, under the sanitizers where the
# compiler has them.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

my $cc = $ENV{CC} || 'cc';
my $dir = PostgreSQL::Test::Utils::tempdir();
my @sources = map { "src/legacy/legacy_$_.c" } qw(decimal gps money id rfc curp);

# Does the compiler link the sanitizers?
my $sanitize = '-fsanitize=address,undefined -fno-sanitize-recover=all';
append_to_file("$dir/try.c", "int main(void) { return 0; }\n");
$sanitize = '' if system("$cc $sanitize -o $dir/try $dir/try.c 2>/dev/null && $dir/try") != 0;
note($sanitize ? 'with sanitizers' : 'without sanitizers');

foreach my $target (qw(legacy_gps legacy_id legacy_number))
{
	my @command = (
		split(' ', "$cc -std=gnu11 -g -O1 -Wall -Wextra -Werror $sanitize -Isrc -o $dir/$target"),
		'fuzz/replay.c', "fuzz/$target.c", @sources, '-lm');
	my $lines = () = slurp_file("fuzz/$target.corpus") =~ /^[0-9a-f]*$/mg;

	command_ok(\@command, "$target compiles");
	cmp_ok($lines, '>', 20, "$target has a corpus");
	command_like([ "$dir/$target", "fuzz/$target.corpus" ], qr/^\d+ inputs$/, "$target holds");
}

done_testing();
