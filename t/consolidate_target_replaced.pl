# The owner of a schema may rename and drop what others keep there.  A target
# that is exchanged for something else between two batches is not written to:
# SQL would find the impostor by its name, and run it as the caller.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nmax_prepared_transactions = 2\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION aquacis;
	CREATE ROLE mallory LOGIN;
	CREATE SCHEMA m AUTHORIZATION mallory;
	CREATE TABLE m.tmp_deuda_1 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
	CREATE TABLE m.tmp_deuda_2 (LIKE m.tmp_deuda_1);
	INSERT INTO m.tmp_deuda_1 VALUES (1, 1, 1, 1);
	INSERT INTO m.tmp_deuda_2 VALUES (2, 2, 2, 2);
	BEGIN;
	LOCK TABLE m.tmp_deuda_2;
	PREPARE TRANSACTION 'busy';});

my ($in, $out, $err) = ('', '', '');
my $call = IPC::Run::start(
	[ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', q{CALL consolidate('m', 'tmp_deuda', lock_wait => '1 hour')} ],
	'<', \$in, '>', \$out, '2>', \$err);
ok($node->poll_query_until('postgres', q{SELECT tables_done = 1 FROM consolidate_progress}),
	'one table is done, the other is waited for');

# mallory cannot alter the DBA's target, but drop it, since the schema is hers
$node->safe_psql('postgres', q{
	SET ROLE mallory;
	CREATE FUNCTION m.witness(numeric) RETURNS numeric LANGUAGE plpgsql AS
	$$BEGIN RAISE LOG 'witness ran as %', current_user; RETURN $1; END$$;
	CREATE TABLE m.hers (proceso_id bigint, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
	BEGIN;
	DROP TABLE m.tmp_deuda;
	CREATE VIEW m.tmp_deuda AS SELECT proceso_id, m.witness(importe) AS importe, numfacturas, facsocemi, faccnttnum FROM m.hers;
	COMMIT;});
$node->safe_psql('postgres', q{COMMIT PREPARED 'busy'});
$call->finish;
like($err, qr/target "m\.tmp_deuda" was dropped or renamed by somebody else/, 'the caller is told');
is($node->safe_psql('postgres', 'SELECT count(*) FROM m.tmp_deuda_2'), '1', 'the source is there');
is($node->safe_psql('postgres', 'SELECT count(*) FROM m.hers'), '0', 'its rows went nowhere');
unlike(slurp_file($node->logfile), qr/LOG:  witness ran as/, 'nothing of the impostor ran');

$node->stop;
done_testing();
