# A log with months on another server, through postgres_fdw: the rows are those
# of an ordinary log; when the other server is away the statement fails with
# its SQLSTATE and nothing is half written; audit_history, audit_status and
# audit_maintain work over it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = qx(pg_config --sharedir);
chomp $sharedir;
plan skip_all => 'postgres_fdw is not installed' unless -e "$sharedir/extension/postgres_fdw.control";

my ($here, $there) = map { PostgreSQL::Test::Cluster->new($_) } qw(here there);
for ($here, $there)
{
	$_->init;
	$_->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\ntimezone = 'UTC'\nlc_messages = 'C'\nmax_prepared_transactions = 5\n");
	$_->start;
}
my ($host, $port) = ($there->host, $there->port);

my $columns = q{changed_at timestamptz NOT NULL, xact_id xid8 NOT NULL, xact_seq int NOT NULL, table_schema text, table_name text NOT NULL,
	record_id bigint, record_key jsonb, action char(1) NOT NULL, old_data jsonb, new_data jsonb, changed_fields jsonb, user_id text NOT NULL,
	db_user text, session_user_name text, session_id bigint, app_context jsonb};

# A partitioned table with a key takes no foreign partition, so this log has none.
$there->safe_psql('postgres', "CREATE TABLE log_now ($columns); CREATE TABLE log_old ($columns); CREATE TABLE log_rest ($columns)");
$here->safe_psql('postgres', qq{
	CREATE ROLE keeper LOGIN;
	CREATE ROLE app LOGIN;
	CREATE EXTENSION postgres_fdw;
	CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres', keep_connections 'off');
	GRANT USAGE ON FOREIGN SERVER away TO keeper;
	-- the log's owner has a way there, the application has none
	CREATE USER MAPPING FOR keeper SERVER away OPTIONS (user '@{[ $there->safe_psql('postgres', 'SELECT current_user') ]}', password_required 'false');
	CREATE USER MAPPING FOR CURRENT_USER SERVER away;
	CREATE EXTENSION aquacis;
	SELECT audit_install();
	CREATE SCHEMA kept AUTHORIZATION keeper;
	GRANT USAGE ON SCHEMA kept TO app;
	SET ROLE keeper;
	CREATE TABLE kept.log ($columns) PARTITION BY RANGE (changed_at);
	RESET ROLE;
	-- this month is foreign, the DEFAULT partition is here
	DO \$\$BEGIN
		EXECUTE format('CREATE FOREIGN TABLE kept.log_now PARTITION OF kept.log FOR VALUES FROM (%L) TO (%L) SERVER away OPTIONS (schema_name ''public'', table_name ''log_now'')',
			date_trunc('month', now()) - interval '1 month', date_trunc('month', now()) + interval '2 months');
	END\$\$;
	ALTER FOREIGN TABLE kept.log_now OWNER TO keeper;
	CREATE TABLE kept.log_default PARTITION OF kept.log DEFAULT;
	ALTER TABLE kept.log_default OWNER TO keeper;
	CREATE TABLE contrato (cnttnum numeric(10,0) PRIMARY KEY, importe numeric(18,2), alta timestamptz, datos jsonb, clave text, nota bytea, etiquetas text[]);
	CREATE TABLE sector (zona text, sub int, nombre text, PRIMARY KEY (zona, sub));
	GRANT ALL ON contrato, sector TO app;});

# The same changes, into the ordinary log and into the foreign one.
my $changes = q{
	SET ROLE app;
	BEGIN;
	SELECT audit_set_user('lperez', session_id => 42, context => '{"modulo": "caja \\\\ \"ñ\""}') \g /dev/null
	INSERT INTO contrato SELECT g, g * 1.50, '2024-02-29 12:00:00.123456+00', '{"a": [1.10, null, "ñ"]}', 'secreta', '\x00ff', '{a,NULL,"\"b"}' FROM generate_series(1, 50) g;
	INSERT INTO contrato VALUES (51, 'NaN', 'infinity', 'null', NULL, NULL, '{}');
	UPDATE contrato SET importe = importe * 2, clave = 'otra', datos = '{"a": "\\\\ñ"}' WHERE cnttnum <= 20;
	SAVEPOINT s;
	UPDATE contrato SET importe = 0;
	ROLLBACK TO s;
	UPDATE contrato SET etiquetas = NULL, alta = '-infinity' WHERE cnttnum = 51;
	COMMIT;
	UPDATE contrato SET importe = importe;
	DELETE FROM contrato WHERE cnttnum > 40;
	INSERT INTO sector VALUES ('norte "1"', 1, repeat('ñandú', 5000)), ('sur', 2, NULL);
	UPDATE sector SET nombre = left(nombre, 3), sub = 3;
	TRUNCATE contrato, sector;
};
my $fields = q{dense_rank() OVER (ORDER BY changed_at) AS n, table_schema, table_name, record_id, record_key, action, old_data, new_data, changed_fields,
	user_id, db_user, session_user_name, session_id, app_context};
sub rows_of
{
	my ($log) = @_;
	return $here->safe_psql('postgres', "SELECT $fields FROM $log ORDER BY xact_id, xact_seq");
}
sub history
{
	return $here->safe_psql('postgres', q{SELECT t, k, action, user_id, column_name, old_value, new_value FROM (VALUES ('contrato', '1'), ('contrato', '51'),
		('sector', '{"sub": 1, "zona": "norte \\"1\\""}')) v(t, k), audit_history(t, k)});
}

$here->safe_psql('postgres', q{SELECT audit_enable('contrato', redact => '{clave}'); SELECT audit_enable('sector');});
$here->safe_psql('postgres', $changes);
my ($rows, $history) = (rows_of('audit_log'), history());
$here->safe_psql('postgres', q{SELECT audit_enable('contrato', redact => '{clave}', log => 'kept.log'); SELECT audit_enable('sector', log => 'kept.log');});
$here->safe_psql('postgres', $changes);
is(rows_of('kept.log'), $rows, 'a foreign month has the rows of an ordinary one');
is(history(), $history, 'audit_history tells the same');
like($history, qr/^contrato\|51\|D\|system\|importe\|"NaN"\|$/m, '... and tells something');
is($there->safe_psql('postgres', 'SELECT count(*) FROM log_now'), scalar(split(/\n/, $rows)), 'the rows are on the other server');
is($here->safe_psql('postgres', 'SELECT count(*) FROM kept.log_default'), '0', '... and not here');

# ---- what the other server refuses, and what cannot be prepared -------------------------------

sub fails
{
	my ($sql, $state, $what) = @_;
	my ($ret, $out, $err) = $here->psql('postgres', "\\set VERBOSITY verbose\nSET ROLE app;\n$sql");
	like($err, qr/ERROR:  $state:/, "$what: SQLSTATE $state");
	return $err;
}
my $before = $here->safe_psql('postgres', 'INSERT INTO contrato (cnttnum, importe) VALUES (1, 1), (2, 2); TABLE contrato');
my $logged = rows_of('kept.log');

# Everything is as before, in the table, in the log, for a session that goes on too.
sub unchanged
{
	my ($what) = @_;
	is($here->safe_psql('postgres', 'TABLE contrato'), $before, "$what: the table is as before");
	is(rows_of('kept.log'), $logged, "$what: and so is the log");
}
$there->safe_psql('postgres', q{ALTER TABLE log_now ADD CONSTRAINT sorry CHECK (record_id <> 2) NOT VALID});
fails('UPDATE contrato SET importe = importe + 1', '23514', 'a row that the other server refuses');
$there->safe_psql('postgres', 'ALTER TABLE log_now DROP CONSTRAINT sorry');
unchanged('a refused row');
# a constraint checked when the other server commits: before we do
$there->safe_psql('postgres', q{CREATE TABLE seen (k bigint PRIMARY KEY); INSERT INTO seen VALUES (1);
	ALTER TABLE log_now ADD CONSTRAINT late FOREIGN KEY (record_id) REFERENCES seen DEFERRABLE INITIALLY DEFERRED NOT VALID});
fails('UPDATE contrato SET importe = importe + 1', '23503', 'a row that the other server refuses at commit');
$there->safe_psql('postgres', 'ALTER TABLE log_now DROP CONSTRAINT late');
unchanged('refused at commit');
fails("BEGIN; UPDATE contrato SET importe = importe + 1; PREPARE TRANSACTION 'p'", '0A000', 'PREPARE TRANSACTION');
unchanged('PREPARE TRANSACTION');
# an error of ours after rows went there
fails("BEGIN; UPDATE contrato SET importe = importe + 1; SELECT 1 / 0", '22012', 'an error after the change');
unchanged('an error after the change');

# ---- the other server is away -----------------------------------------------------------------

my $own = $here->safe_psql('postgres', 'SELECT count(*) FROM kept.log_default');
$there->stop;
my $err = fails('UPDATE contrato SET importe = importe + 1', '08001', 'an audited UPDATE while the server is away');
like($err, qr/could not connect to server "away"/, '... and the message names it');
fails('TRUNCATE contrato', '08001', 'an audited TRUNCATE');
# a session that got an error keeps its user and its path, and goes on
my ($ret, $out, $stderr) = $here->psql('postgres', q{\set ON_ERROR_STOP 0
	SET ROLE app;
	BEGIN;
	SAVEPOINT s;
	UPDATE contrato SET importe = 77;
	ROLLBACK TO s;
	SELECT current_user, current_setting('search_path'), count(*) FROM contrato;
	COMMIT;
	SET ROLE NONE;
	SELECT audit_disable('contrato') \g /dev/null
	SET ROLE app;
	BEGIN;
	UPDATE contrato SET importe = 78 WHERE cnttnum = 1;
	ROLLBACK;});
is($out, 'app|"$user", public|2', 'a session goes on after the error, as whom it was');
$here->safe_psql('postgres', q{SELECT audit_enable('contrato', redact => '{clave}', log => 'kept.log')});
($ret, $out, $stderr) = $here->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM audit_history('contrato', '1')");
like($stderr, qr/ERROR:  08001:/, 'audit_history says that the server is away');
is($here->safe_psql('postgres', q{SELECT audited_table, months_left, default_rows FROM audit_status ORDER BY 1}), "contrato|1|0\nsector|1|0",
	'audit_status needs no other server for it');
# another month is here
is($here->safe_psql('postgres', q{CALL audit_maintain(months_ahead => 3, log => 'kept.log'); SELECT count(*) FROM pg_inherits WHERE inhparent = 'kept.log'::regclass}),
	'4', 'audit_maintain makes months while it is away');
$there->start;
unchanged('after the other server was away');
$here->safe_psql('postgres', 'SET ROLE app; UPDATE contrato SET importe = importe + 1');
is($here->safe_psql('postgres', q{SELECT action, column_name, new_value FROM audit_history('contrato', '1') LIMIT 1}), 'U|importe|2.00', 'then it goes on');

# The other server dies while a transaction is open: rows that it had are gone with it.
$before = $here->safe_psql('postgres', 'TABLE contrato');
$logged = rows_of('kept.log');
{
	my ($in, $out, $err) = ('', '', '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=0', '-v', 'VERBOSITY=verbose', '-d', $here->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timeout(180));
	$in = "BEGIN;\nUPDATE contrato SET importe = 5;\n\\echo updated\n";
	$session->pump until $out =~ /updated/;
	$there->stop('immediate');
	$in = "COMMIT;\n\\q\n";
	$session->finish;
	like($err, qr/ERROR:  (08006|57P0\d):/, 'the other server dies before COMMIT: COMMIT fails');
	$there->start;
	unchanged('the other server died before COMMIT');
}

# ---- audit_maintain over foreign months -----------------------------------------------------------

$here->safe_psql('postgres', q{
	CREATE FOREIGN TABLE kept.log_old PARTITION OF kept.log FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00') SERVER away OPTIONS (schema_name 'public');
	CREATE FOREIGN TABLE kept.log_older PARTITION OF kept.log FOR VALUES FROM ('2019-01-01 00:00+00') TO ('2019-02-01 00:00+00') SERVER away OPTIONS (schema_name 'public', table_name 'log_old');
	CREATE TABLE kept.log_mine PARTITION OF kept.log FOR VALUES FROM ('2018-01-01 00:00+00') TO ('2018-02-01 00:00+00');});
$there->safe_psql('postgres', q{INSERT INTO log_old SELECT '2020-01-15', xact_id, xact_seq, table_schema, table_name, record_id, record_key, action, old_data, new_data, changed_fields, user_id FROM log_now});
sub maintain
{
	my ($arguments) = @_;
	my ($ret, $out, $err) = $here->psql('postgres', "\\set VERBOSITY terse\nCALL audit_maintain(log => 'kept.log'$arguments)");
	$err =~ s/^psql:<stdin>:\d+: //mg;
	chomp $err;
	return $err;
}
my $parts = q{SELECT string_agg(concat_ws(' ', inhrelid::regclass, relkind), ', ' ORDER BY relname) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
	WHERE inhparent = 'kept.log'::regclass AND relname !~ '\d$'};
is(maintain(''), "NOTICE:  audit_maintain: 0 partitions created, 0 rows moved, 1 months indexed, 0 detached", 'a month that is foreign gets no index');
is(maintain(q{, keep => '5 years 6 months'}), "NOTICE:  audit_maintain: 0 partitions created, 0 rows moved, 0 months indexed, 3 detached", 'keep detaches foreign months');
$here->safe_psql('postgres', q{
	ALTER TABLE kept.log ATTACH PARTITION kept.log_old FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
	ALTER TABLE kept.log ATTACH PARTITION kept.log_mine FOR VALUES FROM ('2018-01-01 00:00+00') TO ('2018-02-01 00:00+00');});
is(maintain(q{, keep => '5 years', expired => 'drop'}), "NOTICE:  audit_maintain: 0 partitions created, 0 rows moved, 0 months indexed, 2 dropped",
	"expired => 'drop' drops foreign months");
is($here->safe_psql('postgres', $parts), 'kept.log_default r, kept.log_now f', '... the partitions that are left');
cmp_ok($there->safe_psql('postgres', 'SELECT count(*) FROM log_old'), '>', 50, '... but not what is on the other server');

# a DEFAULT partition that is foreign
$here->safe_psql('postgres', q{
	ALTER TABLE kept.log DETACH PARTITION kept.log_now;
	ALTER TABLE kept.log DETACH PARTITION kept.log_default;
	CREATE FOREIGN TABLE kept.log_rest PARTITION OF kept.log DEFAULT SERVER away OPTIONS (schema_name 'public');});
$here->safe_psql('postgres', 'SET ROLE NONE; UPDATE contrato SET importe = importe + 1');
$there->safe_psql('postgres', q{INSERT INTO log_rest SELECT * FROM log_old});
$logged = rows_of('kept.log');
is(maintain(', months_ahead => 1'), "NOTICE:  audit_maintain: 3 partitions created, @{[ scalar(split(/\n/, $logged)) ]} rows moved, 1 months indexed, 0 detached",
	'rows of a foreign DEFAULT partition move into their months');
is(rows_of('kept.log'), $logged, '... all of them');
is($there->safe_psql('postgres', 'SELECT count(*) FROM log_rest'), '0', '... and it is empty');
is($here->safe_psql('postgres', q{SELECT DISTINCT months_left, default_rows FROM audit_status}), '3|', 'audit_status does not count there');
$there->stop;
is($here->safe_psql('postgres', q{SELECT DISTINCT months_left, default_rows FROM audit_status}), '3|', '... so it does not fail when the server is away');
$here->safe_psql('postgres', 'SET ROLE app; UPDATE contrato SET importe = importe + 1');
is($here->safe_psql('postgres', q{SELECT count(*) FROM kept.log_default}), '0', 'a local month does not ask the foreign one');

unlike(slurp_file($_->logfile), qr/PANIC|was terminated by signal|TRAP|leak/, $_->name . ': no crash, no leak in the log') for $here, $there;
$here->stop;
done_testing();
