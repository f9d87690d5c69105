# Beside the other software that a DBA has in the same server: extensions that put
# rows elsewhere (TimescaleDB, and a stand-in for it), pgaudit, pg_stat_statements
# and auto_explain, pg_repack, wal2json, and pgbouncer in front of it.  What is not
# there is skipped and named.  (pg_cron and pg_partman are in audit_log_life.pl.)
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($sharedir, $libdir, $include) = map { my $dir = qx(pg_config --$_); chomp $dir; $dir } qw(sharedir pkglibdir includedir-server);
sub have { my ($extension) = @_; return -e "$sharedir/extension/$extension.control"; }
sub program { my ($name) = @_; return (grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin')[0]; }

my $node = PostgreSQL::Test::Cluster->new('main');
my @preload = grep { -e "$libdir/$_.so" } qw(pg_stat_statements auto_explain pgaudit timescaledb);
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nautovacuum = off\ntimezone = 'UTC'\nlc_messages = 'C'\nmax_worker_processes = 16\n");
$node->append_conf('postgresql.conf', "shared_preload_libraries = '" . join(',', @preload) . "'
	pg_stat_statements.track = all
	pg_stat_statements.track_planning = on
	auto_explain.log_min_duration = 0
	auto_explain.log_nested_statements = on
	auto_explain.log_analyze = on\n");
$node->append_conf('postgresql.conf', "pgaudit.log = 'all'\n") if have('pgaudit');
$node->append_conf('postgresql.conf', "timescaledb.telemetry_level = off\ntimescaledb.max_background_workers = 0\n") if have('timescaledb');
$node->start;
# a server that asks for it (15.20 and its like) takes wal2json only when told
if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'}))
{
	$node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput, test_decoding, wal2json'\n");
	$node->reload;
}
sub sql { my ($text, $db) = @_; return $node->safe_psql($db || 'postgres', $text); }
sub said { my ($text, $db) = @_; my ($ret, $out, $err) = $node->psql($db || 'postgres', $text); $err =~ s/^psql:<stdin>:\d+: //mg; return $err; }

# The audit's rows beside those of to_jsonb, in PL/pgSQL, of the same changes.
my $setup = q{
	CREATE EXTENSION aquacis;
	SELECT audit_install();
	CREATE TABLE oracle (n bigint GENERATED ALWAYS AS IDENTITY, action text, old jsonb, new jsonb, fields jsonb);
	CREATE FUNCTION oracle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		IF TG_OP = 'TRUNCATE' THEN INSERT INTO oracle (action) VALUES ('T');
		ELSIF TG_OP = 'INSERT' THEN INSERT INTO oracle (action, new) VALUES ('I', to_jsonb(NEW));
		ELSIF TG_OP = 'DELETE' THEN INSERT INTO oracle (action, old) VALUES ('D', to_jsonb(OLD));
		ELSIF to_jsonb(OLD) <> to_jsonb(NEW) THEN
			INSERT INTO oracle (action, fields) SELECT 'U', jsonb_object_agg(key, jsonb_build_object('old', o.value, 'new', n.value))
				FROM jsonb_each(to_jsonb(OLD)) o JOIN jsonb_each(to_jsonb(NEW)) n USING (key) WHERE o.value <> n.value;
		END IF;
		RETURN NULL; END$$;
	CREATE TABLE contrato (cnttnum numeric(10,0) PRIMARY KEY, importe numeric(18,2), alta timestamptz, datos jsonb, nota bytea, etiquetas text[]);
	CREATE TRIGGER zz AFTER INSERT OR UPDATE OR DELETE ON contrato FOR EACH ROW EXECUTE FUNCTION oracle();
	CREATE TRIGGER zt AFTER TRUNCATE ON contrato EXECUTE FUNCTION oracle();};
my $changes = q{
	BEGIN;
	SELECT audit_set_user('lperez', session_id => 42) \g /dev/null
	INSERT INTO contrato SELECT g, g * 1.50, '2024-02-29 12:00:00.123456+00', '{"a": [1.10, null, "ñ"]}', '\x00ff', '{a,NULL,"\"b"}' FROM generate_series(1, 50) g;
	UPDATE contrato SET importe = importe * 2, datos = '{"a": "\\\\ñ"}' WHERE cnttnum <= 20;
	SAVEPOINT s;
	UPDATE contrato SET importe = 0;
	ROLLBACK TO s;
	COMMIT;
	UPDATE contrato SET importe = importe;
	COPY contrato (cnttnum, importe) FROM stdin;
60	1
61	2
\.
	INSERT INTO contrato (cnttnum, importe) VALUES (60, 9), (62, 9) ON CONFLICT (cnttnum) DO UPDATE SET importe = excluded.importe;
	DELETE FROM contrato WHERE cnttnum > 40;
	TRUNCATE contrato;
};

# How many rows there are, and in how many the log is not the oracle.
sub compared
{
	my ($log, $db) = @_;
	return sql(qq{SELECT count(*) || ' rows, different: ' || count(*) FILTER (WHERE (l.action, l.old_data, l.new_data, l.changed_fields) IS DISTINCT FROM (o.action, o.old, o.new, o.fields))
		FROM (SELECT row_number() OVER (ORDER BY xact_id, xact_seq) AS n, action::text, old_data, new_data, changed_fields FROM $log) l
		FULL JOIN (SELECT row_number() OVER (ORDER BY n) AS n, action, old, new, fields FROM oracle) o USING (n)}, $db);
}
my $log_columns = q{changed_at timestamptz NOT NULL, xact_id xid8 NOT NULL, xact_seq int NOT NULL, table_schema text, table_name text NOT NULL,
	record_id bigint, record_key jsonb, action char(1) NOT NULL, old_data jsonb, new_data jsonb, changed_fields jsonb, user_id text NOT NULL};

# ---- pgaudit, pg_stat_statements, auto_explain, all with all they have --------------------------

sql($setup);
sql('CREATE EXTENSION pgaudit') if have('pgaudit');
note('preloaded: ' . join(', ', @preload));
sql(q{SELECT audit_enable('contrato')});
sql($changes);
is(compared('audit_log'), '88 rows, different: 0', 'under ' . (join(', ', grep { $_ ne 'timescaledb' } @preload) || 'nothing else') . ': the rows of to_jsonb');
sql(q{CREATE SCHEMA cf;
	DO $$BEGIN FOR i IN 1..20 LOOP
		EXECUTE format('CREATE TABLE cf.aux_varscreditored_%s (cnttnum integer, impvariable numeric(18,2), impvaranterior numeric(18,2))', i);
		EXECUTE format('INSERT INTO cf.aux_varscreditored_%s SELECT g, g * %1$s, 0 FROM generate_series(1, 20) g', i);
	END LOOP; END$$});
my $all = q{NOTICE:  consolidate: "aux_varscreditored" in "cf": 20 tables with 400 rows into "aux_varscreditored", 0 rows rejected, 0 tables skipped};
like(said(q{CALL consolidate('cf', 'aux_varscreditored', batch => 3)}), qr/\Q$all\E\z/, '... consolidate');
is(said(q{CALL consolidate_restore('cf', 'aux_varscreditored')}), q{NOTICE:  consolidate_restore: 20 of 20 tables of "aux_varscreditored" in "cf" restored}, '... and back again');
is(sql(q{SELECT count(*) FROM consolidate_plan('cf', 'aux_varscreditored') WHERE problem IS NULL}), '20', '... and ready again');
unlike(said(q{CALL audit_maintain(months_ahead => 6)}), qr/ERROR|WARNING/, '... audit_maintain');

# ---- pg_repack, of the audited table and of the log, beside writers ------------------------------

SKIP:
{
	skip 'pg_repack is not installed', 6 unless have('pg_repack') && program('pg_repack');
	sql('CREATE EXTENSION amcheck') if have('amcheck');
	sql(q{CREATE EXTENSION pg_repack;
		CREATE TABLE repacked (id int PRIMARY KEY, gone int, v int NOT NULL DEFAULT 0, wide text);
		ALTER TABLE repacked DROP COLUMN gone; ALTER TABLE repacked ADD added text;
		INSERT INTO repacked (id, wide) SELECT g, repeat(md5(g::text), 100) FROM generate_series(1, 200) g;
		TRUNCATE audit_log;
		-- pg_repack needs a key; a log of 1.0 has this one
		ALTER TABLE audit_log ADD PRIMARY KEY (changed_at, xact_id, xact_seq);
		SELECT audit_enable('repacked');});
	my $script = PostgreSQL::Test::Utils::tempdir() . '/update.sql';
	append_to_file($script, "\\set id random(1, 200)\nUPDATE repacked SET v = v + 1, added = 'x' || :id WHERE id = :id;\n");
	my ($out, $err) = ('', '');
	my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-T', '600', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	$node->poll_query_until('postgres', 'SELECT count(*) > 100 FROM audit_log') or BAIL_OUT('nobody writes');
	for my $what ([ '-t', 'repacked' ], [ '-I', 'audit_log' ])
	{
		my $files = sql(q{SELECT array_agg(relfilenode ORDER BY oid) FROM pg_class WHERE relname ~ '^(repacked|audit_log_\d+_\d+)$'});
		my ($stdout, $stderr) = run_command([ program('pg_repack'), '--no-order', '-h', $node->host, '-p', $node->port, '-d', 'postgres', @$what ]);
		is(join('', $stderr =~ /^(?:ERROR|WARNING).*/mg), '', "pg_repack @$what, while four sessions write");
		isnt(sql(q{SELECT array_agg(relfilenode ORDER BY oid) FROM pg_class WHERE relname ~ '^(repacked|audit_log_\d+_\d+)$'}), $files, '... has done it');
		my $had = sql('SELECT count(*) FROM audit_log');
		$node->poll_query_until('postgres', "SELECT count(*) > $had + 100 FROM audit_log") or BAIL_OUT('nobody writes any more');
	}
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'UPDATE repacked%'});
	$writers->finish;
	is(sql(q{SELECT (SELECT sum(v) FROM repacked) = count(*), count(*) FILTER (WHERE (changed_fields -> 'v' ->> 'new')::int <> (changed_fields -> 'v' ->> 'old')::int + 1) FROM audit_log}),
		't|0', 'every change is logged, once');
  SKIP:
	{
		skip 'amcheck is not installed', 1 unless have('amcheck');
		is(sql(q{SELECT count(bt_index_check(indexrelid, true)) > 8 FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_inherits ON inhrelid = indrelid
			WHERE inhparent = 'audit_log'::regclass AND relam = 403}), 't', '... and in every index');
	}
}

# ---- wal2json reads the log ------------------------------------------------------------------------

SKIP:
{
	skip 'wal2json is not installed', 1 unless -e "$libdir/wal2json.so";
	sql(q{SELECT pg_create_logical_replication_slot('json', 'wal2json')});
	sql(q{INSERT INTO contrato (cnttnum) SELECT generate_series(1, 10); UPDATE contrato SET importe = 1});
	is(sql(q{SELECT string_agg(concat_ws(' ', t, k, n), ', ' ORDER BY t, k) FROM (SELECT regexp_replace(c ->> 'table', '\d.*', '') AS t, c ->> 'kind' AS k, count(*) AS n
		FROM pg_logical_slot_get_changes('json', NULL, NULL), jsonb_array_elements(data::jsonb -> 'change') c WHERE c ->> 'table' <> 'oracle' GROUP BY 1, 2) x}),
		'audit_log_ insert 20, contrato insert 10, contrato update 10', 'wal2json sees the rows of the log');
	sql(q{SELECT pg_drop_replication_slot('json')});
}

# ---- pgbouncer: who acts is told for a transaction, and for no other client --------------------------

SKIP:
{
	my $bouncer = program('pgbouncer');
	skip 'pgbouncer is not installed', 15 unless $bouncer;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my ($host, $port, $user) = ($node->host, $node->port, sql('SELECT current_user'));
	append_to_file("$dir/users", qq{"$user" ""\n});
	append_to_file("$dir/ini", "[databases]\n" . join('', map { "$_->[0] = host=$host port=$port dbname=postgres pool_mode=$_->[1] pool_size=$_->[2]\n" }
		[ 'one', 'transaction', 1 ], [ 'three', 'transaction', 3 ], [ 'statement', 'statement', 1 ]) .
		"[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = $dir\nauth_type = trust\nauth_file = $dir/users\nlogfile = $dir/log\n");
	my $pooler = IPC::Run::start([ $bouncer, '-q', "$dir/ini" ], '<', \undef, '>', \my $said, '2>&1', IPC::Run::timeout(180));
	my $tries = 0;
	select(undef, undef, undef, 0.1) until -S "$dir/.s.PGSQL.6432" || $tries++ > 300;
	# each call is a client of its own; each of @commands a message of its own
	my $client = sub {
		my ($db, @commands) = @_;
		my ($stdout, $stderr) = run_command([ 'psql', '-XAtq', '-h', $dir, '-p', '6432', '-U', $user, '-d', $db, map { ('-c', $_) } @commands ]);
		return $stdout . ($stdout ne '' && $stderr ne '' ? "\n" : '') . $stderr;
	};
	my $update = 'UPDATE pooled SET v = v + 1';
	sql(q{CREATE TABLE pooled (id int PRIMARY KEY, v int DEFAULT 0); INSERT INTO pooled VALUES (1); SELECT audit_enable('pooled')});
	my $logged = sub { return sql(q{SELECT concat_ws(' ', user_id, session_id, app_context) FROM audit_log WHERE table_name = 'pooled' ORDER BY xact_id DESC, xact_seq DESC LIMIT 1}) };

	$client->('one', 'BEGIN', q{SELECT audit_set_user('ana', 7, '{"m": 1}')}, $update, 'COMMIT');
	is($logged->(), 'ana 7 {"m": 1}', 'pgbouncer, transactions: a user for the transaction');
	$client->('one', $update);
	is($logged->(), 'system', '... and not for the next client of the same session');
	$client->('one', 'BEGIN', q{SELECT audit_set_user('eva')}, $update, 'SELECT 1 / 0');
	$client->('one', $update);
	is($logged->(), 'system', '... nor when the client goes away after an error');
	$client->('one', q{SELECT audit_set_user('eva')}, $update);
	is($logged->(), 'system', '... nor outside a transaction');
	like($client->('statement', 'BEGIN', 'SELECT 1'), qr/FATAL/, 'pgbouncer, statements: it has no transactions');
	$client->('statement', q{SELECT audit_set_user('eva')}, $update);
	is($logged->(), 'system', '... so a user told before is not known');
	for my $db (qw(statement one))
	{
		$client->($db, "WITH who AS MATERIALIZED (SELECT audit_set_user('$db')) $update FROM who");
		is($logged->(), $db, "... but one in the statement itself is ($db)");
		$client->($db, $update);
		is($logged->(), 'system', '... for this statement');
	}

	# eight clients over three sessions, half of them with a user
	my $script = PostgreSQL::Test::Utils::tempdir() . '/pooled.sql';
	append_to_file($script, q{BEGIN;
\if :client_id < 4
SELECT audit_set_user('user ' || :client_id);
\endif
UPDATE pooled SET v = v + 1 WHERE id = 10 + :client_id;
END;
});
	sql(q{INSERT INTO pooled SELECT g FROM generate_series(10, 17) g; TRUNCATE audit_log});
	$node->command_ok([ 'pgbench', '-n', '-c', '8', '-t', '50', '-M', 'extended', '-f', $script, '-h', $dir, '-p', '6432', '-U', $user, 'three' ], 'eight clients over three sessions');
	is(sql(q{SELECT count(*), count(*) FILTER (WHERE user_id <> CASE WHEN record_id < 14 THEN 'user ' || record_id - 10 ELSE 'system' END), count(DISTINCT user_id) FROM audit_log}), '400|0|5', '... each with its own user');

	# procedures that commit on their way
	for my $db (qw(three statement))
	{
		my ($in, $out) = ('', '');
		my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, IPC::Run::timeout(180));
		$in = "BEGIN;\nLOCK TABLE cf.aux_varscreditored_20;\n\\echo locked\n";
		$holder->pump until $out =~ /locked/;
		my ($ran, $output) = ('', '');
		my $run = IPC::Run::start([ 'psql', '-XAtq', '-h', $dir, '-p', '6432', '-U', $user, '-d', $db, '-c', q{CALL consolidate('cf', 'aux_varscreditored', batch => 3, lock_wait => '2 min')} ],
			'>', \$ran, '2>&1', IPC::Run::timeout(180));
		$node->poll_query_until('postgres', q{SELECT tables_done = 19 FROM consolidate_progress}) or BAIL_OUT('consolidate does not go on');
		is($client->('three', 'SELECT state, tables_done, pid IS NOT NULL FROM consolidate_progress'), 'running|19|t', "$db: consolidate_progress from another client");
		$in = "COMMIT;\n\\q\n";
		$holder->finish;
		$run->finish;
		like($ran, qr/\Q$all\E\n\z/, '... consolidate');
		is($client->($db, 'SHOW transaction_isolation', q{SELECT count(*) FROM pg_locks WHERE locktype = 'object'}), "read committed\n0", '... leaves nothing in the session');
		sql(q{CALL consolidate_restore('cf', 'aux_varscreditored')});
	}
	$pooler->signal('TERM');
	eval { $pooler->finish };
}

# ---- a table that is the front of others -------------------------------------------------------------

# What a log gets, and consolidate does, where other software keeps the rows of a
# table in others.  $make makes a table such a front.
sub fronts
{
	my ($what, $db, $make, $root) = @_;
	sql($setup, $db);
	sql("CREATE TABLE log ($log_columns)", $db);
	$make->('log', 'changed_at', '1 day');
	sql(q{SELECT audit_enable('contrato', log => 'log')}, $db);
	sql($changes, $db);
	is(compared('log', $db), '88 rows, different: 0', "$what as a log: the rows of to_jsonb");
	is(sql(q{SELECT pg_relation_size('log')}, $db), '0', '... and none where no query looks');
	is(sql(q{SELECT count(*) > 0 FROM audit_history('contrato', '60')}, $db), 't', '... audit_history finds them');
	is(sql(q{SELECT log, months_left, default_rows FROM audit_status}, $db), 'log||', '... audit_status');
	like(said(q{CALL audit_maintain(log => 'log')}, $db), qr/ERROR:  "log" has no months to maintain/, '... audit_maintain has nothing to do there');

	my $part = sql(q{SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'log'::regclass LIMIT 1}, $db);
	like(said("SELECT audit_enable('contrato', log => '$part')", $db), qr/ERROR:  "\w+" cannot serve as an audit log\n.*It is a partition/, '... and a part of it is no log');

	# a session that has written to an ordinary table
	sql("CREATE TABLE later ($log_columns); SELECT audit_enable('contrato', log => 'later')", $db);
	my ($in, $out) = ("BEGIN;\nINSERT INTO contrato (cnttnum) VALUES (1);\nROLLBACK;\nVACUUM later;\nBEGIN;\nINSERT INTO contrato (cnttnum) VALUES (1);\nROLLBACK;\n\\echo written\n", '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db) ], '<', \$in, '>', \$out, '2>&1', IPC::Run::timeout(180));
	$session->pump until $out =~ /written/;
	$make->('later', 'changed_at', '1 day');
	$in = "INSERT INTO contrato (cnttnum) VALUES (1);\n\\q\n";
	$session->finish;
	is(sql(q{SELECT count(*) FROM later}, $db), '1', "$what later: a session that was writing already follows");

	# an audited table
	sql(q{CREATE TABLE lectura (medidor int, t timestamptz, v int, PRIMARY KEY (medidor, t));
		SELECT audit_install(); TRUNCATE audit_log, oracle}, $db);
	sql('CREATE TRIGGER zz AFTER INSERT OR UPDATE OR DELETE ON lectura FOR EACH ROW EXECUTE FUNCTION oracle()', $db);
	$make->('lectura', 't', '1 day');
	sql(q{SELECT audit_enable('lectura')}, $db);
	$root->('lectura');
	sql(q{INSERT INTO lectura VALUES (1, '2026-01-01', 1), (2, '2026-01-02', 2);
		UPDATE lectura SET v = v + 1; DELETE FROM lectura WHERE medidor = 2;}, $db);
	is(compared('audit_log', $db), '5 rows, different: 0', "$what audited: the rows of to_jsonb");
	is(sql(q{SELECT DISTINCT table_schema, table_name FROM audit_log}, $db), 'public|lectura', '... under its own name');
	is(sql(q{SELECT string_agg(audited_table::text, ' ') FROM audit_status WHERE audited_table <> 'contrato'::regclass}, $db), 'lectura', '... and so in audit_status');
	my $chunk = sql(q{SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'lectura'::regclass ORDER BY 1 LIMIT 1}, $db);
	is(sql(qq{SELECT count(*) FROM audit_history('$chunk', '{"t": "2026-01-01T00:00:00+00:00", "medidor": 1}')}, $db), '4', '... audit_history of a chunk');
	like(said("SELECT audit_enable('$chunk')", $db), qr/NOTICE:  "\w+" is audited as a partition of "lectura"/, '... a chunk needs no trigger of its own');
	like(said("SELECT audit_disable('$chunk')", $db), qr/NOTICE:  table "\w+" is not audited/, '... and has none that could be taken off');
	like(said("SELECT audit_enable('$chunk', log => 'lectura')", $db), qr/ERROR:  an audit log cannot audit itself/, '... a chunk of the log is not audited');
	is(sql(q{UPDATE lectura SET v = v + 1; SELECT count(*) FROM audit_log}, $db), '6', '... and goes on, each change once');

	# each new chunk gets its trigger in the owner's name
	sql(q{CREATE ROLE "} . $db . q{_owner"; ALTER TABLE lectura OWNER TO "} . $db . q{_owner"}, $db);
	like(said(q{SELECT audit_enable('lectura')}, $db), qr/ERROR:  the owner of "lectura" may not execute fn_audit_trigger/, '... whose owner needs EXECUTE');
	sql(q{GRANT EXECUTE ON FUNCTION fn_audit_trigger TO "} . $db . q{_owner"}, $db);
	unlike(said(q{SELECT audit_enable('lectura')}, $db), qr/ERROR/, '... and is asked for no more');

	# consolidate
	sql(q{CREATE SCHEMA cf;
		SELECT consolidate_define('mia', '^mia_(\d+)$', 'mia', '{k}');
		CREATE TABLE cf.mia (proceso_id bigint, k int, v int, created_at timestamptz DEFAULT now(), PRIMARY KEY (proceso_id, k));
		CREATE TABLE cf.mia_1 AS SELECT g AS k, g AS v FROM generate_series(1, 100) g;
		CREATE TABLE cf.mia_2 AS TABLE cf.mia_1;
		CREATE TABLE cf.mia_3 (k int NOT NULL, v int)}, $db);
	$make->('cf.mia', 'proceso_id', 1);
	$make->('cf.mia_3', 'k', 10);
	is(sql(q{SELECT table_name, problem FROM consolidate_plan('cf', 'mia') WHERE process_id IS NOT NULL ORDER BY 1}, $db),
		"mia_1|\nmia_2|\nmia_3|is a table whose rows an extension keeps elsewhere (a hypertable?)", "$what as a source: the plan says so");
	like(said(q{CALL consolidate('cf', 'mia')}, $db), qr/2 tables with 200 rows into "mia", 0 rows rejected, 1 tables skipped\z/, '... and the run leaves it alone');
	is(sql(q{SELECT proceso_id, count(*) FROM cf.mia GROUP BY 1 ORDER BY 1}, $db), "1|100\n2|100", "$what as a target: every row");
	is(sql(q{SELECT pg_relation_size('cf.mia')}, $db), '0', '... and none where no query looks');
	is(sql(q{SELECT count(*) FROM consolidate_verify('cf', 'mia') WHERE ok}, $db), '2', '... verified');
	like(said(q{CALL consolidate_restore('cf', 'mia')}, $db), qr/2 of 2 tables of "mia" in "cf" restored/, '... and back again');
}

SKIP:
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $cc = $ENV{CC} || 'cc';
	skip 'no compiler', 22 if system("$cc -fPIC -shared -I$include -o $dir/front.so t/lib/front.c 2>$dir/errors") != 0;
	$node->safe_psql('postgres', 'CREATE DATABASE front');
	sql("ALTER DATABASE front SET session_preload_libraries = '$dir/front.so'");
	my $make = sub {
		my ($table) = @_;
		sql($table =~ /\d$/ ? "CREATE TABLE ${table}_chunk (LIKE $table)" : "CREATE TABLE ${table}_chunk (LIKE $table INCLUDING INDEXES) INHERITS ($table)", 'front');
	};
	my $trigger = sub {
		my ($table) = @_;
		sql(qq{CREATE TRIGGER "!audit_$table" AFTER INSERT OR UPDATE OR DELETE ON ${table}_chunk FOR EACH ROW EXECUTE FUNCTION fn_audit_trigger('medidor,t');
			CREATE TRIGGER zz AFTER INSERT OR UPDATE OR DELETE ON ${table}_chunk FOR EACH ROW EXECUTE FUNCTION oracle()}, 'front');
	};
	fronts('a front', 'front', $make, $trigger);
}

SKIP:
{
	skip 'the server does not offer timescaledb', 22 unless have('timescaledb') && sql(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'});
	sql('CREATE DATABASE timescale');
	sql('CREATE EXTENSION timescaledb', 'timescale');
	note('TimescaleDB ' . sql(q{SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'}, 'timescale'));
	my $make = sub {
		my ($table, $column, $interval) = @_;
		$interval = "interval '$interval'" if $interval =~ /day/;
		sql("SELECT create_hypertable('$table', '$column', chunk_time_interval => $interval, create_default_indexes => false)", 'timescale');
	};
	fronts('TimescaleDB', 'timescale', $make, sub { });
}

unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leak|pgaudit stack|moved unnoticed/, 'no crash, no leak in the log');
$node->stop;
done_testing();
