# A dump of a consolidated database restored into one of another encoding.  The rows are
# all there; the checksums are of the bytes that they were recorded from, so processes
# with text that is written differently there count as changed.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_->[0] ENCODING '$_->[1]' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
  for ([ 'here', 'UTF8' ], [ 'there', 'LATIN1' ]);
$node->safe_psql('here', q{
	SET client_encoding = 'UTF8';
	CREATE EXTENSION aquacis;
	SELECT consolidate_define('calle', pattern => '^calle_(\d+)$', target => 'calle', key => '{k}');
	CREATE SCHEMA cf;
	CREATE TABLE cf.calle_1 (k int, nombre text);
	CREATE TABLE cf.calle_2 (k int, nombre text);
	INSERT INTO cf.calle_1 VALUES (1, U&'Pe\00F1a'), (2, U&'Jos\00E9');
	INSERT INTO cf.calle_2 VALUES (1, 'Norte'), (2, NULL);
	CALL consolidate('cf', 'calle');});
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('here') ], 'dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('there'), $dump ], '... and restored into LATIN1');

my $verify = q{SELECT process_id, rows_now, ok FROM consolidate_verify('cf', 'calle')};
is($node->safe_psql('here', $verify), "1|2|t\n2|2|t", 'verify in UTF8');
is($node->safe_psql('there', $verify), "1|2|f\n2|2|t", 'in LATIN1 what is ASCII has the same checksum, and what is not has another');
my ($ret, $out, $err) = $node->psql('there', "\\set VERBOSITY verbose\nCALL consolidate_restore('cf', 'calle', 1)");
like($err, qr/ERROR:  22000:/, '... so it is given back only with force');
$node->safe_psql('there', q{CALL consolidate_restore('cf', 'calle', 2); CALL consolidate_restore('cf', 'calle', 1, force => true)});
is($node->safe_psql('there', q{SET client_encoding = 'LATIN1'; SELECT k, encode(convert_to(nombre, 'UTF8'), 'hex') FROM cf.calle_1 ORDER BY k}),
	"1|5065c3b161\n2|4a6f73c3a9", '... as it was');
is($node->safe_psql('there', 'SELECT * FROM cf.calle_2 ORDER BY k'), "1|Norte\n2|", '... like the other');

$node->stop;
done_testing();
