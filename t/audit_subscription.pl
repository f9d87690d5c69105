# Logical replication: an audited table published and subscribed, audited here,
# there or on both sides; and the log itself published.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($pub, $sub) = map { PostgreSQL::Test::Cluster->new($_) } qw(publisher subscriber);
$pub->init(allows_streaming => 'logical');
$sub->init;
for ($pub, $sub)
{
	$_->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\ntimezone = 'UTC'\nlc_messages = 'C'\nmax_worker_processes = 30\n"
		  . "max_logical_replication_workers = 20\nmax_replication_slots = 20\nwal_retrieve_retry_interval = 100ms\n");
	$_->start;
}

my $tables = q{
	CREATE TABLE contrato (cnttnum numeric(10,0) PRIMARY KEY, importe numeric(18,2), obs text, clave text);
	CREATE TABLE sector (zona text, sub int, nombre text, PRIMARY KEY (zona, sub));
	CREATE TABLE entera (a int, b text);
	ALTER TABLE entera REPLICA IDENTITY FULL;
	CREATE EXTENSION aquacis;
	SELECT audit_install();};
my $enable = q{SELECT audit_enable('contrato', redact => '{clave}', replica => REPLICA), audit_enable('sector', replica => REPLICA),
	audit_enable('entera', key => '{a}', replica => REPLICA);};

# before the subscriptions: what the initial copy brings
$pub->safe_psql('postgres', $tables . $enable =~ s/REPLICA/false/gr . q{
	INSERT INTO contrato SELECT g, g * 1.5, 'Contrato ñ ' || g, 'secreta' FROM generate_series(1, 20) g;
	UPDATE contrato SET importe = 0 WHERE cnttnum = 20;
	INSERT INTO sector SELECT 'norte', g, repeat('x', 3000) FROM generate_series(1, 5) g;
	INSERT INTO entera VALUES (1, 'uno'), (2, 'dos');
	CREATE PUBLICATION tables FOR TABLE contrato, sector, entera;
	CREATE PUBLICATION log FOR TABLE audit_log WITH (publish_via_partition_root = true);});

# plain: no audit there; origin: audited, as any table; replica: audited, replica => true; archive: has the log
$sub->safe_psql('postgres', "CREATE DATABASE $_") for qw(plain origin replica archive);
$sub->safe_psql($_, $tables) for qw(plain origin replica archive);
$sub->safe_psql('origin', $enable =~ s/REPLICA/false/gr);
$sub->safe_psql('replica', $enable =~ s/REPLICA/true/gr);
# from 16 on the rows of a table are applied as its owner
$sub->safe_psql('replica', 'CREATE ROLE keeper; ALTER TABLE contrato OWNER TO keeper; GRANT USAGE ON SCHEMA public TO keeper');
my $version = $sub->safe_psql('postgres', 'SHOW server_version_num');
my $who = $version >= 160000 ? 'keeper' : $sub->safe_psql('replica', 'SELECT current_user');
sub subscribe
{
	my ($db, $publication) = @_;
	$sub->safe_psql($db, "CREATE SUBSCRIPTION $db CONNECTION 'host=@{[ $pub->host ]} port=@{[ $pub->port ]} dbname=postgres' PUBLICATION $publication");
}
subscribe($_, 'tables') for qw(plain origin replica);
subscribe('archive', 'log');

sub caught_up
{
	for my $db (qw(plain origin replica archive))
	{
		$pub->wait_for_catchup($db);
		$sub->poll_query_until($db, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel}) or BAIL_OUT("$db does not get its tables");
	}
}
caught_up();

my $all = q{SELECT (SELECT md5(string_agg(c::text, ',' ORDER BY cnttnum)) FROM contrato c), (SELECT md5(string_agg(s::text, ',' ORDER BY zona, sub)) FROM sector s),
	(SELECT md5(string_agg(e::text, ',' ORDER BY e::text)) FROM entera e)};
my $actions = q{SELECT table_name, action, count(*), count(record_id), count(record_key) FROM audit_log GROUP BY 1, 2 ORDER BY 1, 2};
is($sub->safe_psql($_, $all), $pub->safe_psql('postgres', $all), "$_: initial copy of the tables") for qw(plain origin replica);
is($sub->safe_psql('origin', $actions), '', 'audited on the subscriber: the initial copy is not logged');
is($sub->safe_psql('replica', $actions), "contrato|I|20|20|0\nentera|I|2|2|0\nsector|I|5|0|5", 'with replica => true it is, as INSERTs');
my $whole = q{SELECT count(*), md5(string_agg(l::text, ',' ORDER BY xact_id, xact_seq)) FROM audit_log l};
is($sub->safe_psql('archive', $whole), $pub->safe_psql('postgres', $whole), 'the log: initial copy, row for row');

# ---- changes -----------------------------------------------------------------------------------

my $mark = $pub->safe_psql('postgres', 'SELECT xact_id FROM audit_log ORDER BY xact_id DESC LIMIT 1');
$sub->safe_psql('replica', 'TRUNCATE audit_log');
$pub->safe_psql('postgres', q{
	BEGIN;
	SELECT audit_set_user('lperez', session_id => 7, context => '{"modulo": "caja"}');
	UPDATE contrato SET importe = importe + 1, clave = 'otra' WHERE cnttnum <= 5;
	INSERT INTO contrato VALUES (100, 'NaN', NULL, NULL);
	SAVEPOINT s;
	UPDATE contrato SET importe = 9;
	ROLLBACK TO s;
	DELETE FROM contrato WHERE cnttnum = 6;
	COMMIT;
	UPDATE contrato SET importe = importe;			-- no change: not logged on either side
	UPDATE contrato SET cnttnum = 101 WHERE cnttnum = 100;	-- a new key
	UPDATE sector SET nombre = nombre || 'y' WHERE sub = 1;
	UPDATE sector SET sub = 9 WHERE sub = 2;		-- its long value is not sent
	DELETE FROM sector WHERE sub = 3;
	UPDATE entera SET b = upper(b);
	DELETE FROM entera WHERE a = 1;
	BEGIN;
	UPDATE contrato SET obs = 'no' WHERE cnttnum = 7;
	ROLLBACK;
	TRUNCATE entera;
	TRUNCATE contrato, sector;
	INSERT INTO sector VALUES ('sur', 1, 'después');});
caught_up();
is($sub->safe_psql($_, $all), $pub->safe_psql('postgres', $all), "$_: the same tables") for qw(plain origin replica);
is($sub->safe_psql('origin', 'SELECT count(*) FROM audit_log'), '0', 'audited on the subscriber: what is replicated is not logged');
# what happened is the same; who did it is not known there
my $what = q{SELECT dense_rank() OVER (ORDER BY xact_id), table_schema, table_name, record_id, record_key, action, old_data, new_data, changed_fields};
# the order of the tables of one TRUNCATE is PostgreSQL's
my $order = q{ORDER BY xact_id, action = 'T', CASE WHEN action <> 'T' THEN xact_seq END, table_name};
my $logged = $pub->safe_psql('postgres', "$what FROM audit_log WHERE xact_id > '$mark' $order");
is($sub->safe_psql('replica', "$what FROM audit_log $order"), $logged, 'with replica => true: the same changes in the same order, TRUNCATE too');
is(scalar(() = $logged =~ /^\d+\|public\|\w+\|\|\|T\|/mg), 3, '... three tables truncated');
is($sub->safe_psql('replica', q{SELECT DISTINCT user_id, session_id, app_context, session_user_name = current_user FROM audit_log}), 'system|||t',
	'... by the subscription, not by the application\'s user');
is($sub->safe_psql('replica', q{SELECT DISTINCT db_user FROM audit_log WHERE table_name = 'contrato' AND action = 'U'}), $who, '... with the rights that replication has');
is($sub->safe_psql('archive', $whole), $pub->safe_psql('postgres', $whole), 'the log that is replicated is the same, row for row');
is($sub->safe_psql('archive', q{SELECT user_id, column_name, new_value FROM audit_history('public.sector', '{"zona": "norte", "sub": 2}') WHERE action = 'U'}), 'system|sub|9',
	'... and audit_history reads it');
is($sub->safe_psql('archive', q{SELECT count(*) FROM audit_log WHERE user_id = 'lperez' AND session_id = 7 AND app_context = '{"modulo": "caja"}'}), '7', '... with the user of the application');

# changes made on the subscriber itself
for my $db (qw(origin replica))
{
	my $n = $sub->safe_psql($db, q{SELECT count(*) FROM audit_log});
	$sub->safe_psql($db, q{INSERT INTO contrato VALUES (500, 5, 'propio', 'x'); UPDATE contrato SET importe = 6});
	is($sub->safe_psql($db, q{SELECT count(*) FROM audit_log}), $n + 2, "$db: a change made there is logged there, once");
}
# a log with a trigger, which runs as the log's owner
$sub->safe_psql('replica', q{
	CREATE TABLE seen (who text);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NULL; END$$;
	CREATE TRIGGER note AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION note();
	ALTER TABLE audit_log ENABLE ALWAYS TRIGGER note;});

# a conflict: the row is there already.  Nothing is logged for what could not be applied.
$pub->safe_psql('postgres', q{INSERT INTO contrato VALUES (500, 7, 'ajeno', NULL)});
$sub->poll_query_until('replica', q{SELECT count(*) > 0 FROM pg_stat_subscription_stats WHERE apply_error_count > 0 AND subname = 'replica'}) if $version >= 150000;
is($sub->safe_psql('replica', q{SELECT string_agg(action, '' ORDER BY xact_id, xact_seq) FROM audit_log WHERE record_id = 500}), 'IU', 'what could not be applied is not logged');
$sub->safe_psql($_, 'DELETE FROM contrato WHERE cnttnum = 500') for qw(origin replica);
caught_up();
is($sub->safe_psql('replica', q{SELECT string_agg(action, '' ORDER BY xact_id, xact_seq) FROM audit_log WHERE record_id = 500}), 'IUDI', '... and logged once when it could');

is($sub->safe_psql('replica', 'SELECT count(*), bool_and(who = current_user) FROM seen'), '2|t', "... the log's trigger has seen it, as the log's owner");

# a log of the subscriber that is in the way: the changes wait, none is lost
$sub->safe_psql('replica', q{ALTER TABLE audit_log ADD CONSTRAINT sorry CHECK (record_id <> 600) NOT VALID});
$pub->safe_psql('postgres', q{INSERT INTO contrato VALUES (600, 1, '', ''); UPDATE contrato SET importe = 2 WHERE cnttnum = 600});
$sub->poll_query_until('replica', q{SELECT apply_error_count > 1 FROM pg_stat_subscription_stats WHERE subname = 'replica'}) if $version >= 150000;
is($sub->safe_psql('replica', q{SELECT count(*) FROM contrato WHERE cnttnum = 600}), '0', 'a change that cannot be logged is not applied');
$sub->safe_psql('replica', q{ALTER TABLE audit_log DROP CONSTRAINT sorry});
caught_up();
is($sub->safe_psql('replica', q{SELECT string_agg(action, '' ORDER BY xact_id, xact_seq) FROM audit_log WHERE record_id = 600}), 'IU', '... until it can');

# ---- the life of a log that is published ----------------------------------------------------------

$pub->safe_psql('postgres', q{
	INSERT INTO audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
	SELECT '2020-01-15'::timestamptz + g * interval '1 day', '1', g, 'public', 'contrato', g, 'I', jsonb_build_object('g', g), 'old' FROM generate_series(1, 60) g;});
caught_up();
my $log = $pub->safe_psql('postgres', $whole);
is($sub->safe_psql('archive', $whole), $log, 'rows of months without a partition arrive');
$pub->safe_psql('postgres', q{CALL audit_maintain(months_ahead => 5)});
is($pub->safe_psql('postgres', 'SELECT count(*) FROM audit_log_default'), '0', 'audit_maintain moves them into months');
is($pub->safe_psql('postgres', $whole), $log, '... all');
$pub->safe_psql('postgres', q{INSERT INTO sector VALUES ('sur', 2, 'más')});
caught_up();
is($sub->safe_psql('archive', $whole), $pub->safe_psql('postgres', $whole), 'the replicated log still has every row');
$sub->safe_psql('archive', q{CALL audit_maintain(months_ahead => 5)});
is($sub->safe_psql('archive', $whole), $pub->safe_psql('postgres', $whole), '... and after audit_maintain there');
is($sub->safe_psql('archive', 'SELECT count(*) FROM audit_log_default'), '0', '... in months, too');
my $kept = $sub->safe_psql('archive', $whole);
# it drops nothing while no month before this one has entries that are younger than that
$pub->safe_psql('postgres', q{
	INSERT INTO audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
	VALUES (date_trunc('month', now(), 'UTC') - interval '1 day', '2', 1, 'public', 'contrato', 1, 'I', '{}', 'recent');
});
$pub->safe_psql('postgres', q{CALL audit_maintain(keep => '1 year', expired => 'drop')});
is($pub->safe_psql('postgres', q{SELECT count(*) FROM audit_log WHERE user_id = 'old'}), '0', 'the publisher drops months');
$pub->safe_psql('postgres', q{DELETE FROM sector WHERE sub = 2});
caught_up();
is($sub->safe_psql('archive', q{SELECT count(*) FROM audit_log WHERE user_id = 'old'}), '60', '... the archive keeps them');
is($sub->safe_psql('archive', q{SELECT max(action::text) FROM audit_log WHERE xact_id = (SELECT xact_id FROM audit_log ORDER BY xact_id DESC LIMIT 1)}), 'D', '... and goes on');

unlike(slurp_file($_->logfile), qr/PANIC|was terminated by signal|TRAP|leak/, $_->name . ': no crash, no leak in the log') for $pub, $sub;
$sub->safe_psql($_, "DROP SUBSCRIPTION $_") for qw(plain origin replica archive);
$sub->stop;
$pub->stop;
done_testing();
