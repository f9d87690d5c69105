# Every door through which code of an unprivileged owner can come, walked through in
# every function that touches relations.
#
# mallory owns what each case is about: a target, a source, an audited table, a log, a
# partition of a log.  A door is something of hers on it that runs code: her witness.  It
# says in the server's log as whom it runs, tries to make her a superuser, and tries to
# leave something in the caller's session: a setting, a temporary table, another role.
# For each door
#   - the witness has to have run when she uses the table herself: the door is open
#   - it never runs as anybody else when a DBA calls us, or when others write
#   - the DBA's session is afterwards as it was, and mallory is who she was
#   - no row is lost, and no error is an internal one
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# with constraint_exclusion the planner computes what is constant in CHECKs, too
$node->append_conf('postgresql.conf',
	"fsync = off\nlog_min_error_statement = panic\ntimezone = 'UTC'\nconstraint_exclusion = on\nautovacuum = off\n");
$node->start;

# psql as somebody: (exit status, stdout, stderr).  There are thousands of calls, so it is run without IPC::Run.
my $files = PostgreSQL::Test::Utils::tempdir();
my $psql = 'psql -XAtq -d ' . quoted($node->connstr('postgres')) . " -f $files/in >$files/out 2>$files/err";
sub quoted { my $s = shift; $s =~ s/'/'\\''/g; return "'$s'" }
sub psql
{
	my ($user, $stop, $sql) = @_;
	open my $in, '>', "$files/in" or die "$files/in: $!";
	print $in "$sql\n";
	close $in;
	my $ret = system("$psql -U $user -v ON_ERROR_STOP=$stop") >> 8;
	my ($out, $err) = map { my $s = slurp_file("$files/$_"); chomp $s; $s } qw(out err);
	return ($ret, $out, $err);
}

# going on after errors; returns (stdout, stderr with SQLSTATEs)
sub as
{
	my ($user, $sql) = @_;
	my ($ret, $out, $err) = psql($user, 0, "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$sql");
	return ($out, $err);
}

sub must
{
	my ($user, $sql) = @_;
	my ($ret, $out, $err) = psql($user, 1, $sql);
	die "as $user: $err\n$sql" if $ret;
	return $out;
}

# Who ran the witness since the last look: "mallory", "app mallory", ...
my $log_place = 0;
sub witnesses
{
	my $log = slurp_file($node->logfile, $log_place);
	$log_place = -s $node->logfile;
	$log =~ s/.*witness: begins//s;
	my %seen;
	$seen{$1}++ while $log =~ /witness: ran as (\w+)/g;
	return join ' ', sort keys %seen;
}

must('postgres', q{
	CREATE ROLE mallory LOGIN; CREATE ROLE app LOGIN;
	CREATE SCHEMA aq; CREATE EXTENSION aquacis SCHEMA aq; GRANT USAGE ON SCHEMA aq TO PUBLIC;
	SELECT aq.audit_install();
	SELECT aq.consolidate_define('libre', pattern => '^libre_(\d+)$', target => 'libre', key => '{k}');
	-- what else a target has is its own
	SELECT aq.consolidate_define('fija', pattern => '^fija_(\d+)$', target => 'fija', key => '{k}', columns => '{k int,importe numeric}');
	CREATE SCHEMA m AUTHORIZATION mallory; GRANT USAGE ON SCHEMA m TO PUBLIC; GRANT CREATE ON DATABASE postgres TO mallory;});
must('mallory', q{
	CREATE FUNCTION m.w() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		RAISE LOG 'witness: ran as %', current_user;
		BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN OTHERS THEN NULL; END;
		RAISE LOG 'witness: ran as %', current_user;
		BEGIN ALTER ROLE mallory SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN CREATE TEMP TABLE planted (x int); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN PERFORM set_config('search_path', 'm, pg_catalog', false), set_config('m.mark', 'left', false); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'PREPARE planted AS SELECT 1'; EXCEPTION WHEN OTHERS THEN NULL; END;
	END$$;
	CREATE FUNCTION m.num(x numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN x; END';
	CREATE FUNCTION m.int(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN x; END';
	CREATE FUNCTION m.text(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN x; END';
	CREATE FUNCTION m.yes(x text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN true; END';
	CREATE FUNCTION m.sql(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT m.int(1) + x';
	CREATE FUNCTION m.tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM m.w(); RETURN coalesce(NEW, OLD); END';
	CREATE FUNCTION m.apart(int, int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM m.w(); RETURN $1 - $2; END';
	CREATE OPERATOR m.@@@ (RIGHTARG = int, FUNCTION = m.int);
	CREATE DOMAIN m.ld AS text CHECK (m.yes(VALUE));
	CREATE DOMAIN m.nd AS int CHECK (VALUE IS NULL OR m.int(VALUE) IS NOT NULL);
	CREATE TYPE m.comp AS (a int, d m.nd);
	CREATE TYPE m.rng AS RANGE (subtype = int, subtype_diff = m.apart);
	CREATE TYPE m.en AS ENUM ('a', 'b');
	CREATE FUNCTION m.en_json(m.en) RETURNS json LANGUAGE plpgsql AS $$BEGIN PERFORM m.w(); RETURN '{}'; END$$;
	CREATE CAST (m.en AS json) WITH FUNCTION m.en_json(m.en);
	CREATE FUNCTION m.en_text(m.en) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM m.w(); RETURN 'a'; END$$;
	CREATE CAST (m.en AS text) WITH FUNCTION m.en_text(m.en) AS IMPLICIT;
	CREATE FUNCTION m.text_en(text) RETURNS m.en LANGUAGE plpgsql AS $$BEGIN PERFORM m.w(); RETURN 'a'; END$$;
	CREATE CAST (text AS m.en) WITH FUNCTION m.text_en(text) AS IMPLICIT;});
# what a trusted role makes of her types is not more harmless
must('postgres', q{CREATE DOMAIN public.wrapped AS m.nd; CREATE TYPE public.wrapped_row AS (x m.nd); CREATE DOMAIN public.wrapped_list AS m.nd[];});

# ---- the doors --------------------------------------------------------------------------
#
# Of a table T with the columns k int and importe numeric.  Each: a name, what makes it,
# and, where writing and reading the table does not go through it, what does.

my @doors = (
	[ 'default', 'ALTER TABLE T ADD x int DEFAULT m.int(1)', 'INSERT INTO T (K) VALUES (V)' ],
	[ 'default that is SQL', 'ALTER TABLE T ADD x int; ALTER TABLE T ALTER x SET DEFAULT m.sql(1)' ],
	[ 'literal in a default', q{ALTER TABLE T ADD x int; ALTER TABLE T ALTER x SET DEFAULT array_length('{x}'::m.ld[], 1)}, q{SELECT array_length('{x}'::m.ld[], 1)} ],
	[ 'query in a default', q{ALTER TABLE T ADD x text; ALTER TABLE T ALTER x SET DEFAULT query_to_xml('SELECT m.w()', false, false, '')::text} ],
	[ 'table in a default', q{CREATE VIEW S.q AS SELECT m.int(1); ALTER TABLE T ADD x text; ALTER TABLE T ALTER x SET DEFAULT table_to_xml('S.q', false, false, '')::text} ],
	[ 'operator in a default', 'ALTER TABLE T ADD x int; ALTER TABLE T ALTER x SET DEFAULT OPERATOR(m.@@@) 1' ],
	[ 'cast in a default', q{ALTER TABLE T ADD x text; ALTER TABLE T ALTER x SET DEFAULT ('a'::m.en)::text} ],
	[ 'CHECK', 'ALTER TABLE T ADD CHECK (m.num(importe) IS DISTINCT FROM -77)' ],
	[ 'constant CHECK', 'ALTER TABLE T ADD CHECK (m.num(1) > 0)' ],
	[ 'CHECK not valid', 'ALTER TABLE T ADD CHECK (m.num(importe) IS DISTINCT FROM -77) NOT VALID' ],
	[ 'CHECK with a domain', 'ALTER TABLE T ADD CHECK ((k::m.nd) IS DISTINCT FROM -77)' ],
	[ 'CHECK with a list of a domain', q{ALTER TABLE T ADD CHECK (array_length(('{' || coalesce(k, 1) || '}')::m.nd[], 1) > 0)} ],
	[ 'CHECK with a row', q{ALTER TABLE T ADD CHECK ((('(1,' || coalesce(k, 1) || ')')::m.comp) IS DISTINCT FROM NULL)} ],
	[ 'generated column', 'ALTER TABLE T ADD x int GENERATED ALWAYS AS (m.int(k)) STORED' ],
	[ 'generated column with a domain', 'ALTER TABLE T ADD x int GENERATED ALWAYS AS ((k::m.nd)::int) STORED' ],
	[ 'index', 'CREATE INDEX ON T (m.int(k))' ],
	[ 'constant in an index', 'CREATE INDEX ON T ((k + m.int(1)))' ],
	[ 'literal in an index', q{CREATE INDEX ON T ((k + array_length('{x}'::m.ld[], 1)))}, q{SELECT array_length('{x}'::m.ld[], 1)} ],
	[ 'domain in an index', 'CREATE INDEX ON T (((k::m.nd)::int))' ],
	[ 'predicate', 'CREATE INDEX ON T (k) WHERE m.num(importe) > 0' ],
	[ 'constant in a predicate', 'CREATE INDEX ON T (k) WHERE k > m.int(1)' ],
	[ 'literal in a predicate', q{CREATE INDEX ON T (importe) WHERE k > array_length('{x}'::m.ld[], 1)}, q{SELECT array_length('{x}'::m.ld[], 1)} ],
	[ 'unique index', 'CREATE UNIQUE INDEX ON T (m.int(k)) WHERE m.num(importe) > 1e6' ],
	[ 'exclusion', 'ALTER TABLE T ADD EXCLUDE USING btree ((m.int(k)) WITH =) WHERE (importe IS DISTINCT FROM -77)' ],
	[ 'statistics', 'CREATE STATISTICS S.st ON (m.num(importe)), k FROM T', 'ANALYZE T' ],
	[ 'constant in statistics', 'CREATE STATISTICS S.st ON (importe + m.int(1)), k FROM T', 'EXPLAIN SELECT * FROM T' ],
	[ 'literal in statistics', q{CREATE STATISTICS S.st ON (importe + array_length('{x}'::m.ld[], 1)), k FROM T}, q{SELECT array_length('{x}'::m.ld[], 1)} ],
	[ 'domain', 'ALTER TABLE T ADD x m.nd', 'UPDATE T SET x = 1' ],
	[ 'domain with a default', 'ALTER TABLE T ADD x m.nd DEFAULT 1' ],
	[ 'list of a domain', q{ALTER TABLE T ADD x m.nd[] DEFAULT '{1}'}, q{UPDATE T SET x = '{2}'} ],
	[ 'row of a domain', q{ALTER TABLE T ADD x m.comp}, q{UPDATE T SET x = '(1,2)'} ],
	[ 'wrapped domain', 'ALTER TABLE T ADD x public.wrapped DEFAULT 1' ],
	[ 'wrapped row', q{ALTER TABLE T ADD x public.wrapped_row}, q{UPDATE T SET x = '(2)'} ],
	[ 'wrapped list', q{ALTER TABLE T ADD x public.wrapped_list}, q{UPDATE T SET x = '{2}'} ],
	[ 'range', q{ALTER TABLE T ADD x m.rng DEFAULT '[1,5)'; CREATE INDEX ON T USING gist (x)},
		q{CREATE TABLE S.control (x m.rng); CREATE INDEX ON S.control USING gist (x); INSERT INTO S.control SELECT m.rng(g, g + 5) FROM generate_series(1, 2000) g; DROP TABLE S.control} ],
	[ 'casts of an enum', q{ALTER TABLE T ADD x m.en DEFAULT 'a'}, 'SELECT x::json, x::text FROM T' ],
	[ 'BEFORE trigger', 'CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON T FOR EACH ROW EXECUTE FUNCTION m.tr()' ],
	[ 'AFTER trigger', 'CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON T FOR EACH ROW EXECUTE FUNCTION m.tr()' ],
	[ 'trigger of a statement', 'CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON T FOR EACH STATEMENT EXECUTE FUNCTION m.tr()' ],
	[ 'deferred trigger', 'CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON T DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION m.tr()' ],
	[ 'WHEN of a trigger', 'CREATE TRIGGER t AFTER INSERT ON T FOR EACH ROW WHEN (m.int(NEW.k) IS NOT NULL) EXECUTE FUNCTION m.tr()' ],
	[ 'rule', 'CREATE RULE r AS ON INSERT TO T DO ALSO SELECT m.int(1)', 'INSERT INTO T (K) VALUES (V)' ],
	[ 'policy', q{ALTER TABLE T ENABLE ROW LEVEL SECURITY; ALTER TABLE T FORCE ROW LEVEL SECURITY; CREATE POLICY p ON T USING (m.yes('x')) WITH CHECK (m.yes('x'))} ],
	[ 'foreign key', 'CREATE TABLE S.parent (k int PRIMARY KEY, CHECK (m.int(k) IS NOT NULL)); INSERT INTO S.parent SELECT generate_series(-1, 1100); CREATE RULE r AS ON UPDATE TO S.parent DO ALSO SELECT m.int(1);
		ALTER TABLE T ADD FOREIGN KEY (k) REFERENCES S.parent', 'UPDATE S.parent SET k = 5000 WHERE k = 1100' ],
	[ 'child', 'CREATE TABLE S.child (CHECK (m.num(1) > 0)) INHERITS (T)', 'EXPLAIN SELECT * FROM T WHERE k > 0' ],
);

# Walks: the door opens for her, and for her alone.
my %tried;
sub walk
{
	my ($what, $session, $others) = @_;
	$tried{walks}++;
	witnesses();
	my ($out, $err) = as('postgres', "$session;
		SELECT 'search_path ' || current_setting('search_path') || ', mark ' || coalesce(current_setting('m.mark', true), '')
			|| ', ' || current_user || ', ' || session_user || ', temporary ' || (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
			|| ', prepared ' || (SELECT count(*) FROM pg_prepared_statements)
			|| ', superuser ' || (SELECT rolsuper::text FROM pg_roles WHERE rolname = 'mallory');");
	my $ran = witnesses();
	like($ran, $others // qr/^(mallory)?$/, "$what: her code runs as her alone") or diag("$ran\n$err");
	like($out, qr/^search_path "\$user", public, mark , postgres, postgres, temporary 0, prepared 0, superuser false$/m, "$what: nothing is left in the session, and mallory is no superuser")
	  or diag("$out\n$err"), must('postgres', 'ALTER ROLE mallory NOSUPERUSER');
	unlike($err, qr/(PANIC|FATAL|XX\d\d\d:|server closed)/, "$what: no internal error") or diag($err);
	$tried{ran}++ if $ran ne '';
	return ($out, $err, $ran);
}

# The door made on her table, and shown to be one: her own use of it runs the witness.
# $setup makes the table; $key is the column that takes V, another number each time.
my $next_value = 1000;
my @absent;					# what the server does not allow there
sub make_door
{
	my ($what, $door, $setup, $table, $key, $use) = @_;
	my ($name, $make, $through) = @$door;
	my ($schema) = $table =~ /^(\w+)\./;
	my $replace = sub {
		my $sql = shift;
		$sql =~ s/\bT\b/$table/g; $sql =~ s/\bS\./$schema./g; $sql =~ s/\bK\b/$key/g;
		$sql =~ s/\bV\b/$next_value++/ge;
		return $sql;
	};
	$through = $through ? $replace->($through) : 'SELECT';
	my ($out, $err) = as('mallory', "$setup;\n\\warn (made)\n" . $replace->($make) . ";\n\\warn (tried)\nDO 'BEGIN RAISE LOG ''witness: begins''; END';
		BEGIN; " . $replace->($use) . "; $through; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK");
	my ($before, $during) = $err =~ /^(.*)\(made\)(.*)\(tried\)/s;
	die "$what: $before" if $before =~ /ERROR/;
	if ($during =~ /ERROR:\s+(.*)/)
	{
		push @absent, "$what: $1";
		witnesses();
		return 0;
	}
	is(witnesses(), 'mallory', "$what: the door is open");
	return 1;
}

my $n = 0;
my $calls = q{
	SELECT * FROM aq.consolidate_plan('S', 'libre');
	CALL aq.consolidate('S', 'libre', lock_wait => '0s', on_reject => 'keep');
	SELECT * FROM aq.consolidate_verify('S', 'libre');
	CALL aq.consolidate_restore('S', 'libre', 1);
	CALL aq.consolidate_restore('S', 'libre');
	CALL aq.consolidate('S', 'libre', lock_wait => '0s', drop_source => false);
	SELECT * FROM aq.consolidate_verify('S', 'libre')};

# ---- her target ------------------------------------------------------------------------------

for my $door (@doors)
{
	my $what = "target, $door->[0]";
	my $schema = 't' . ++$n;
	my $setup = "CREATE SCHEMA $schema; CREATE TABLE $schema.fija (proceso_id bigint, k int, importe numeric);
		CREATE TABLE $schema.fija_1 (k int, importe numeric); INSERT INTO $schema.fija_1 VALUES (1, 1), (2, 2), (NULL, 3);
		CREATE TABLE $schema.fija_2 (k int, importe numeric); INSERT INTO $schema.fija_2 VALUES (11, 1), (12, 2)";
	make_door($what, $door, $setup, "$schema.fija", 'k', "INSERT INTO $schema.fija (k) VALUES (1); SELECT * FROM $schema.fija") or next;
	my ($out, $err) = walk($what, $calls =~ s/'S'/'$schema'/gr =~ s/'libre'/'fija'/gr);
	# wherever they are: every row is somewhere.  Read as herself: a query of the DBA runs her code without us.
	($out, $err) = as('mallory', join('', map { "SELECT k FROM $schema.$_; " } qw(fija fija_1 fija_2)));
	my %kept = map { ($_ eq '' ? 'null' : $_) => 1 } split /\n/, $out, -1;
	is(join(' ', sort { $a cmp $b } keys %kept), '1 11 12 2 null', "$what: no row is lost") or diag($err);
}

# A partitioned one: doors of the whole and of a partition, and of the key.
for my $case (
	[ 'key of a partitioned target', 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric) PARTITION BY RANGE ((k + m.int(0))); CREATE TABLE S.p PARTITION OF S.libre DEFAULT' ],
	[ 'literal in the key of a partitioned target', q{CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric) PARTITION BY RANGE ((k + array_length('{x}'::m.ld[], 1))); CREATE TABLE S.p PARTITION OF S.libre DEFAULT} ],
	[ 'partition with a CHECK', 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric) PARTITION BY LIST (k); CREATE TABLE S.p PARTITION OF S.libre (CHECK (m.int(1) > 0)) DEFAULT' ],
	[ 'partition with a trigger', 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric) PARTITION BY LIST (k); CREATE TABLE S.p PARTITION OF S.libre DEFAULT;
		CREATE TRIGGER t BEFORE INSERT ON S.p FOR EACH ROW EXECUTE FUNCTION m.tr()' ],
	[ 'partition with an index', 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric) PARTITION BY LIST (k); CREATE TABLE S.p PARTITION OF S.libre DEFAULT;
		CREATE INDEX ON S.p ((k + m.int(1)))' ],
	[ 'view', 'CREATE TABLE S.real (proceso_id bigint, k int, importe numeric); INSERT INTO S.real VALUES (99, 9, 9);
		CREATE VIEW S.libre AS SELECT proceso_id, m.int(k) AS k, importe FROM S.real' ],
	[ 'view with a trigger', 'CREATE TABLE S.real (proceso_id bigint, k int, importe numeric); CREATE VIEW S.libre AS SELECT * FROM S.real;
		CREATE TRIGGER t INSTEAD OF INSERT ON S.libre FOR EACH ROW EXECUTE FUNCTION m.tr()' ])
{
	my ($what, $make) = @$case;
	my $schema = 't' . ++$n;
	$make =~ s/\bS\./$schema./g;
	must('mallory', "CREATE SCHEMA $schema; $make; CREATE TABLE $schema.libre_1 (k int, importe numeric); INSERT INTO $schema.libre_1 VALUES (1, 1), (2, 2)");
	witnesses();
	as('mallory', "SELECT array_length('{x}'::m.ld[], 1)") if $what =~ /literal/;
	as('mallory', "SELECT * FROM $schema.libre; BEGIN; INSERT INTO $schema.libre VALUES (1, 1, 1); ROLLBACK");
	is(witnesses(), 'mallory', "$what: the door is open");
	walk($what, $calls =~ s/'S'/'$schema'/gr);
	is(must('mallory', "SELECT count(*) FROM $schema.libre_1"), '2', "$what: no row is lost");
}

# ---- her sources ------------------------------------------------------------------------------

# into a new target; into one of the DBA that rows reach in bulk; into one through the executor
my %target = ('a new target' => '', 'a plain target' => 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric)',
	'a target with a CHECK' => 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric CHECK (importe > -1))');
for my $into (sort keys %target)
{
	for my $door (@doors)
	{
		my $what = "source into $into, $door->[0]";
		my $schema = 's' . ++$n;
		my $make = $target{$into} =~ s/\bS\./$schema./gr;
		must('postgres', "CREATE SCHEMA $schema; GRANT ALL ON SCHEMA $schema TO mallory; $make; " . ($make && "GRANT INSERT ON $schema.libre TO mallory"));
		my $setup = "CREATE TABLE $schema.libre_1 (k int, importe numeric); INSERT INTO $schema.libre_1 VALUES (1, 1), (2, 2)";
		make_door($what, $door, $setup, "$schema.libre_1", 'k', "INSERT INTO $schema.libre_1 (k) VALUES (3); SELECT * FROM $schema.libre_1; UPDATE $schema.libre_1 SET importe = 5") or next;
		# her policy hides nothing from her, and everything from the DBA's query if he forgot that he is a superuser
		my ($out, $err) = walk($what, $calls =~ s/'S'/'$schema'/gr);
		is(must('mallory', "SELECT count(*) FROM $schema.libre_1; SELECT relowner::regrole FROM pg_class WHERE oid = '$schema.libre_1'::regclass"), "2\nmallory",
			"$what: no row is lost, and it is hers again") or diag($err);
		}
}

# ---- her table, audited ---------------------------------------------------------------------------

my $writes = q{INSERT INTO T (id, k, importe) VALUES (V, 1, 1), (V, 2, 2); UPDATE T SET importe = importe + 1; UPDATE T SET k = k + 1;
	BEGIN; INSERT INTO T (id, k) VALUES (V, 1); SAVEPOINT s; UPDATE T SET k = 5; ROLLBACK TO s; COMMIT; DELETE FROM T WHERE id > 0};
for my $door (@doors)
{
	my $what = "audited table, $door->[0]";
	my $schema = 'a' . ++$n;
	my $table = "$schema.t";
	my $setup = "CREATE SCHEMA $schema; CREATE TABLE $table (id int PRIMARY KEY, k int, importe numeric); INSERT INTO $table VALUES (-1, 1, 1)";
	make_door($what, $door, $setup, $table, 'id', "INSERT INTO $table (id, k) VALUES (-5, 1); SELECT * FROM $table; UPDATE $table SET k = 5") or next;
	walk("$what, functions", "SELECT aq.audit_enable('$table', exclude => '{importe}'); SELECT aq.audit_enable('$table'); SELECT * FROM aq.audit_status;
		SELECT * FROM aq.audit_tables(); SELECT * FROM aq.audit_history('$table', '-1'); CALL aq.audit_maintain()", qr/^$/);
	my $sql = sub { (my $s = $writes) =~ s/\bT\b/$table/g; $s =~ s/\bV\b/$next_value++/ge; return $s };
	# who writes her table runs her code, with the audit or without: but nothing that is not run without
	witnesses();
	my $count = sub { my $log = slurp_file($node->logfile, $log_place); $log =~ s/.*witness: begins//s; my $seen = () = $log =~ /witness: ran as/g; witnesses(); return $seen };
	as('postgres', $sql->());
	my $with = $count->();
	as('postgres', "ALTER ROLE mallory NOSUPERUSER; SELECT aq.audit_disable('$table'); DO 'BEGIN RAISE LOG ''witness: begins''; END';" . $sql->() . "; ALTER ROLE mallory NOSUPERUSER");
	my $without = $count->();
	# (the table is hers: what she lets others run there by triggers, she may by casts)
	cmp_ok($with, '<=', $without, "$what: the audit adds no run of her code") unless $door->[0] =~ /^(casts of an enum|exclusion)$/;
	my ($out) = as('postgres', "SELECT count(*) FROM aq.audit_log WHERE table_schema = '$schema'");
	cmp_ok($out, '>=', 1, "$what: ... and is logged") unless $door->[0] =~ /rule/;
}

# ---- her log ---------------------------------------------------------------------------------------

my $log = 'changed_at timestamptz, xact_id xid8, xact_seq int, table_schema name, table_name name, record_id bigint, record_key jsonb, action char(1), old_data jsonb,
	new_data jsonb, changed_fields jsonb, user_id text, db_user name, session_user_name name, session_id bigint, app_context jsonb, k int, importe numeric';
my %logs = (
	'log' => [ "CREATE TABLE S.log ($log)", 'S.log' ],
	'partitioned log' => [ "CREATE TABLE S.log ($log) PARTITION BY RANGE (changed_at); CREATE TABLE S.spare PARTITION OF S.log DEFAULT", 'S.log' ],
	'DEFAULT partition of a log' => [ "CREATE TABLE S.log ($log) PARTITION BY RANGE (changed_at); CREATE TABLE S.spare PARTITION OF S.log DEFAULT", 'S.spare' ],);
for my $kind (sort keys %logs)
{
	for my $door (@doors)
	{
		my $what = "$kind, $door->[0]";
		my $schema = 'l' . ++$n;
		my ($make, $table) = map { s/\bS\./$schema./gr } @{ $logs{$kind} };
		my $setup = "CREATE SCHEMA $schema; GRANT USAGE ON SCHEMA $schema TO PUBLIC; $make";
		my $old = "INSERT INTO $schema.log (changed_at, table_name, action, record_id, user_id) VALUES (now() - interval '40 days', 'x', 'I', 1, 'a')";
		make_door($what, $door, $setup, $table, 'k', "$old; SELECT * FROM $table; UPDATE $table SET k = 5") or next;
		as('mallory', $old);
		my ($out, $err) = walk($what, qq{
			CREATE TABLE public.$schema (id int PRIMARY KEY, v int); GRANT ALL ON public.$schema TO app;
			SELECT aq.audit_enable('public.$schema', log => '$schema.log');
			INSERT INTO public.$schema VALUES (1, 1), (2, 2); UPDATE public.$schema SET v = 3; DELETE FROM public.$schema WHERE id = 2;
			BEGIN; UPDATE public.$schema SET v = 4; SAVEPOINT s; UPDATE public.$schema SET v = 5; COMMIT;
			SELECT * FROM aq.audit_status; SELECT * FROM aq.audit_tables();
			SELECT * FROM aq.audit_history('public.$schema', '1');
			CALL aq.audit_maintain(log => '$schema.log'); CALL aq.audit_maintain(log => '$schema.log', months_ahead => 1, keep => '1 day');
			SELECT aq.audit_install('$schema'); TRUNCATE public.$schema});
		# ... and an ordinary writer's neither
		witnesses();
		as('app', "INSERT INTO public.$schema VALUES (7, 1)");
		like(witnesses(), qr/^(mallory)?$/, "$what: her code does not run as an ordinary writer");
		# a change is logged, or it is refused
		my $there = must('postgres', "SELECT count(*) FROM public.$schema; DROP TABLE public.$schema");
		my $logged = must('mallory', "SELECT count(*) FROM $schema.log WHERE table_name = '$schema'");
		ok($there == 0 || $logged > 0 || $door->[0] =~ /^(rule|policy|BEFORE trigger)$/, "$what: what is there is in the log") or diag("$there $logged $err");
	}
}

# ---- keys of hers -------------------------------------------------------------------------------------

for my $case ([ 'domain', 'm.ld', q{'a'} ], [ 'enum', 'm.en', q{'a'} ], [ 'row', 'm.comp', q{'(1,2)'} ], [ 'wrapped domain', 'public.wrapped', '1' ], [ 'range', 'm.rng', q{'[1,3)'} ])
{
	my ($what, $type, $value) = @$case;
	my $schema = 'k' . ++$n;
	must('mallory', "CREATE SCHEMA $schema; CREATE TABLE $schema.t (id $type PRIMARY KEY, v int); INSERT INTO $schema.t VALUES ($value, 1)");
	for my $audited (0, 1)
	{
		must('postgres', "SELECT aq.audit_enable('$schema.t')") if $audited;
		must('mallory', "UPDATE $schema.t SET v = v + 1") if $audited;
		walk("key of type $what" . ($audited ? ', audited' : ''), "SELECT * FROM aq.audit_history('$schema.t', $value); SELECT * FROM aq.audit_history('$schema.t', 'nonsense');
			SELECT * FROM aq.audit_history('$schema.t', '{\"id\": \"a\"}')");
	}
}

# no column or child of its own for a partition; keys of partitioned tables have rules of their own
is(join("\n", grep { !/^partitioned log, (unique index|exclusion|child):/ && !/cannot add column to a partition|cannot inherit from partition/ } @absent), '',
	'every other door could be made');
note("$tried{walks} walks, her code ran in $tried{ran} of them");
cmp_ok($tried{ran}, '>', 20, 'her code did run, as her');
$node->stop;
done_testing();
