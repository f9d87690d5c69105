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

# One session of somebody for many pieces of work, [ name, SQL ]: starting psql costs more than
# what it does.  Between two of them it forgets what they left.  Gives for each name what it
# said (out, err with SQLSTATEs), who ran the witness meanwhile ("app mallory"), and how often.
my $files = PostgreSQL::Test::Utils::tempdir();
my $log_place = 0;
sub pieces
{
	my ($text, $mark) = @_;
	my (undef, @parts) = split /$mark (\S+)\n/, $text;
	return @parts;
}
sub session
{
	my ($user, @work) = @_;
	my %done;
	unlink "$files/in";
	append_to_file("$files/in", join "\n", '\set VERBOSITY verbose', '\set SHOW_CONTEXT never',
		map { my ($name, $sql) = @$_; ("\\echo @@@ $name", "\\warn @@@ $name", "DO \$\$BEGIN RAISE LOG 'witness: @@@ $name'; END\$\$;", "$sql;", 'ROLLBACK;', 'DISCARD ALL;') } @work, [ 'end', '' ]);
	system("psql -XAtq -d '" . $node->connstr('postgres') =~ s/'/'\\''/gr . "' -U $user -f $files/in >$files/out 2>$files/err");
	my %out = pieces(slurp_file("$files/out"), '@@@');
	my %err = pieces(slurp_file("$files/err"), '@@@');
	my %log = pieces(slurp_file($node->logfile, $log_place), 'LOG:  witness: @@@');
	$log_place = -s $node->logfile;
	for my $name (map { $_->[0] } @work)
	{
		my %seen;
		chomp(my $out = $out{$name} // '');
		$seen{$1}++ while ($log{$name} // '') =~ /witness: ran as (\w+)/g;
		$done{$name} = { out => $out, err => $err{$name} // 'FATAL: it did not come to that', ran => join(' ', sort keys %seen), times => eval { my $n = 0; $n += $_ for values %seen; $n } };
	}
	return \%done;
}
sub must
{
	my ($user, $sql) = @_;
	my $done = session($user, [ 'it', $sql ])->{it};
	die "as $user: $done->{err}\n$sql" if $done->{err} =~ /ERROR|FATAL/;
	return $done->{out};
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
	-- (called with a page locked: a subtransaction that ends there is the end of the server's assertions)
	CREATE FUNCTION m.apart(int, int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE LOG 'witness: ran as %', current_user; RETURN $1 - $2; END$$;
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

# Doors made on tables of hers, and shown to be doors: her own use runs the witness.  Of each case:
# the table that takes the place of T, the column that takes V (another number each time), what
# makes the table, and her use of it.  Gives the cases whose door could be made.
my ($next_value, $n, $walks, $walks_with_code) = (1000, 0, 0, 0);
my @absent;
sub replaced
{
	my ($case, $sql) = @_;
	$sql =~ s/\bT\b/$case->{table}/g; $sql =~ s/\bS\b/$case->{schema}/g; $sql =~ s/\bK\b/$case->{key}/g;
	$sql =~ s/\bV\b/$next_value++/ge;
	return $sql;
}
sub make_doors
{
	my @cases = @_;
	my (@make, @use, @made);
	for my $case (@cases)
	{
		push @make, [ $case->{schema}, replaced($case, "$case->{setup};\n\\warn (made)\n$case->{door}[1]") ];
		push @use, [ $case->{schema}, 'BEGIN; ' . replaced($case, "$case->{use}; " . ($case->{door}[2] // 'SELECT')) . '; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK' ];
	}
	my $made = session('mallory', @make);
	my $used = session('mallory', @use);
	for my $case (@cases)
	{
		my ($setup, $door) = split /\(made\)/, $made->{ $case->{schema} }{err};
		die "$case->{what}: $setup" if !defined $door || $setup =~ /ERROR/;
		if ($door =~ /ERROR:\s+(.*)/)
		{
			push @absent, "$case->{what}: $1";
			next;
		}
		is($used->{ $case->{schema} }{ran}, 'mallory', "$case->{what}: the door is open");
		push @made, $case;
	}
	return @made;
}

# What a DBA does there: the door opens for her, and for her alone.
my $left = q{; ROLLBACK;
	SELECT 'left: search_path ' || current_setting('search_path') || ', mark ' || coalesce(current_setting('m.mark', true), '')
		|| ', ' || current_user || ', ' || session_user || ', temporary ' || (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
		|| ', prepared ' || (SELECT count(*) FROM pg_prepared_statements)
		|| ', superuser ' || (SELECT rolsuper::text FROM pg_roles WHERE rolname = 'mallory');
	ALTER ROLE mallory NOSUPERUSER};
sub walk
{
	my ($sql, $whose, @cases) = @_;
	my $done = session('postgres', map { [ $_->{schema}, replaced($_, $sql) . $left ] } @cases);
	for my $case (@cases)
	{
		my ($what, $it) = ($case->{what}, $done->{ $case->{schema} });
		like($it->{ran}, $whose, "$what: her code runs as her alone") or diag("$it->{ran}\n$it->{err}");
		like($it->{out}, qr/^left: search_path "\$user", public, mark , postgres, postgres, temporary 0, prepared 0, superuser false$/m,
			"$what: nothing is left in the session, and mallory is no superuser") or diag("$it->{out}\n$it->{err}");
		unlike($it->{err}, qr/(PANIC|FATAL|XX\d\d\d:|server closed)/, "$what: no internal error") or diag($it->{err});
		$walks++;
		$walks_with_code++ if $it->{ran} ne '';
	}
	return $done;
}
my $consolidate = q{
	SELECT * FROM aq.consolidate_plan('S', 'libre');
	CALL aq.consolidate('S', 'libre', lock_wait => '0s', on_reject => 'keep');
	SELECT * FROM aq.consolidate_verify('S', 'libre');
	CALL aq.consolidate_restore('S', 'libre', 1);
	CALL aq.consolidate_restore('S', 'libre');
	CALL aq.consolidate('S', 'libre', lock_wait => '0s', drop_source => false);
	SELECT * FROM aq.consolidate_verify('S', 'libre')};
my $hers = qr/^(mallory)?$/;

# ---- her target ------------------------------------------------------------------------------

my @cases = make_doors(map { {
	what => "target, $_->[0]", door => $_, schema => 't' . ++$n, table => "t$n.fija", key => 'k',
	setup => 'CREATE SCHEMA S; CREATE TABLE S.fija (proceso_id bigint, k int, importe numeric);
		CREATE TABLE S.fija_1 (k int, importe numeric); INSERT INTO S.fija_1 VALUES (1, 1), (2, 2), (NULL, 3);
		CREATE TABLE S.fija_2 (k int, importe numeric); INSERT INTO S.fija_2 VALUES (11, 1), (12, 2)',
	use => 'INSERT INTO S.fija (k) VALUES (1); SELECT * FROM S.fija' } } @doors);
my $walked = walk($consolidate =~ s/'libre'/'fija'/gr, $hers, @cases);
# wherever they are: every row is somewhere.  Read as herself: a query of the DBA runs her code without us.
my $kept = session('mallory', map { [ $_->{schema}, replaced($_, join ';', map { "SELECT coalesce(k::text, 'null') FROM S.$_" } qw(fija fija_1 fija_2)) ] } @cases);
for my $case (@cases)
{
	my %k = map { $_ => 1 } split /\n/, $kept->{ $case->{schema} }{out};
	is(join(' ', sort { $a cmp $b } keys %k), '1 11 12 2 null', "$case->{what}: no row is lost") or diag($walked->{ $case->{schema} }{err});
}

# Partitioned ones: doors of the whole, of a partition, and of the key; and views.
my $partitioned = 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric) PARTITION BY';
my $real = 'CREATE TABLE S.real (proceso_id bigint, k int, importe numeric); INSERT INTO S.real VALUES (99, 9, 9)';
@cases = make_doors(map { {
	what => $_->[0], door => $_, schema => 't' . ++$n, table => "t$n.libre", key => 'k',
	setup => 'CREATE SCHEMA S; CREATE TABLE S.libre_1 (k int, importe numeric); INSERT INTO S.libre_1 VALUES (1, 1), (2, 2)',
	use => 'SELECT * FROM S.libre; SAVEPOINT s; INSERT INTO S.libre VALUES (1, 1, 1); ROLLBACK TO s' } }
	[ 'key of a partitioned target', "$partitioned RANGE ((k + m.int(0))); CREATE TABLE S.p PARTITION OF S.libre DEFAULT" ],
	[ 'literal in the key of a partitioned target', "$partitioned RANGE ((k + array_length('{x}'::m.ld[], 1))); CREATE TABLE S.p PARTITION OF S.libre DEFAULT", q{SELECT array_length('{x}'::m.ld[], 1)} ],
	[ 'partition with a CHECK', "$partitioned LIST (k); CREATE TABLE S.p PARTITION OF S.libre (CHECK (m.int(1) > 0)) DEFAULT" ],
	[ 'partition with a trigger', "$partitioned LIST (k); CREATE TABLE S.p PARTITION OF S.libre DEFAULT; CREATE TRIGGER t BEFORE INSERT ON S.p FOR EACH ROW EXECUTE FUNCTION m.tr()" ],
	[ 'partition with an index', "$partitioned LIST (k); CREATE TABLE S.p PARTITION OF S.libre DEFAULT; CREATE INDEX ON S.p ((k + m.int(1)))" ],
	[ 'view', "$real; CREATE VIEW S.libre AS SELECT proceso_id, m.int(k) AS k, importe FROM S.real" ],
	[ 'view with a trigger', "$real; CREATE VIEW S.libre AS SELECT * FROM S.real; CREATE TRIGGER t INSTEAD OF INSERT ON S.libre FOR EACH ROW EXECUTE FUNCTION m.tr()" ]);
walk($consolidate, $hers, @cases);
$kept = session('mallory', map { [ $_->{schema}, "SELECT count(*) FROM $_->{schema}.libre_1" ] } @cases);
is($kept->{ $_->{schema} }{out}, '2', "$_->{what}: no row is lost") for @cases;

# ---- her sources ------------------------------------------------------------------------------

# into a new target; into one of the DBA that rows reach in bulk; into one through the executor
for ([ 'a new target', 'SELECT' ], [ 'a plain target', 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric); GRANT INSERT ON S.libre TO mallory' ],
	[ 'a target with a CHECK', 'CREATE TABLE S.libre (proceso_id bigint, k int, importe numeric CHECK (importe > -1)); GRANT INSERT ON S.libre TO mallory' ])
{
	my ($into, $target) = @$_;
	@cases = map { {
		what => "source into $into, $_->[0]", door => $_, schema => 's' . ++$n, table => "s$n.libre_1", key => 'k',
		setup => 'CREATE TABLE T (k int, importe numeric); INSERT INTO T VALUES (1, 1), (2, 2)',
		use => 'INSERT INTO T (k) VALUES (3); SELECT * FROM T; UPDATE T SET importe = 5' } } @doors;
	my $prepared = session('postgres', map { [ $_->{schema}, replaced($_, "CREATE SCHEMA S; GRANT ALL ON SCHEMA S TO mallory; $target") ] } @cases);
	@cases = make_doors(@cases);
	$walked = walk($consolidate, $hers, @cases);
	$kept = session('mallory', map { [ $_->{schema}, replaced($_, q{SELECT count(*) FROM T; SELECT relowner::regrole FROM pg_class WHERE oid = 'T'::regclass}) ] } @cases);
	is($kept->{ $_->{schema} }{out}, "2\nmallory", "$_->{what}: no row is lost, and it is hers again") or diag($walked->{ $_->{schema} }{err}) for @cases;
}

# ---- her history table, and its base ---------------------------------------------------------------

for my $side ('hist', 't')
{
	@cases = make_doors(map { {
		what => "history, $side, $_->[0]", door => $_, schema => 'h' . ++$n, table => "h$n.$side", key => 'k',
		setup => q{CREATE SCHEMA S; CREATE TABLE S.t (k int NOT NULL, importe numeric, thora timestamp); CREATE TABLE S.hist (k int, importe numeric, thora timestamp);
			INSERT INTO S.t VALUES (1, 1, '2022-01-01'), (2, 2, '2022-01-01'); INSERT INTO S.hist VALUES (1, 7, '2021-01-01'), (2, 8, '2021-01-01')},
		use => 'INSERT INTO T (k) VALUES (3); SELECT * FROM T; UPDATE T SET importe = 5' } } @doors);
	walk(q{SELECT count(*) FROM aq.history_plan('S'); SELECT aq.history_define('S.hist', key => '{k}', holds => 'mixed', time_zone => 'UTC');
		SELECT history_table, key, holds FROM aq.history_plan('S'); SELECT aq.history_forget('S.hist')}, qr/^$/, @cases);
}

# ---- her table, audited ---------------------------------------------------------------------------

@cases = make_doors(map { {
	what => "audited table, $_->[0]", door => $_, schema => 'a' . ++$n, table => "a$n.t", key => 'id',
	setup => 'CREATE SCHEMA S; CREATE TABLE T (id int PRIMARY KEY, k int, importe numeric); INSERT INTO T VALUES (-1, 1, 1)',
	use => 'INSERT INTO T (id, k) VALUES (-5, 1); SELECT * FROM T; UPDATE T SET k = 5' } } @doors);
walk(q{SELECT aq.audit_enable('T', exclude => '{importe}'); SELECT aq.audit_enable('T'); SELECT * FROM aq.audit_status;
	SELECT * FROM aq.audit_tables(); SELECT * FROM aq.audit_unaudited(); SELECT * FROM aq.audit_history('T', '-1'); CALL aq.audit_maintain()}, qr/^$/, @cases);
# who writes her table runs her code, with the audit or without: but nothing that is not run without
# (deferred triggers run before COMMIT: an exception caught within it is an assertion of the server's own, failed in builds with assertions)
my $writes = q{INSERT INTO T (id, k, importe) VALUES (V, 1, 1), (V, 2, 2); UPDATE T SET importe = importe + 1; UPDATE T SET k = k + 1;
	BEGIN; INSERT INTO T (id, k) VALUES (V, 1); SAVEPOINT s; UPDATE T SET k = 5; ROLLBACK TO s; SET CONSTRAINTS ALL IMMEDIATE; COMMIT; DELETE FROM T WHERE id > 0; ALTER ROLE mallory NOSUPERUSER};
my $with = session('postgres', map { [ $_->{schema}, replaced($_, $writes) ] } @cases);
# ... and who reads it back runs none as himself
walk(q{SELECT * FROM aq.audit_versions(NULL::T, '-1'); SELECT aq.audit_row_at(NULL::T, '-1', now()); SELECT * FROM aq.audit_rows_at(NULL::T, now() - interval '1 microsecond');
	SELECT * FROM aq.audit_undo_plan(audited_table => 'T'); CALL aq.audit_baseline('T')}, $hers, @cases);
my $logged = session('postgres', map { [ $_->{schema}, replaced($_, q{SELECT count(*) FROM aq.audit_log WHERE table_schema = 'S'; SELECT aq.audit_disable('T')}) ] } @cases);
my $without = session('postgres', map { [ $_->{schema}, replaced($_, $writes) ] } @cases);
for my $case (@cases)
{
	my ($schema, $what) = @$case{qw(schema what)};

	# (the table is hers: what she lets others run there by triggers, she may by casts)
	cmp_ok($with->{$schema}{times}, '<=', $without->{$schema}{times}, "$what: the audit adds no run of her code") unless $what =~ /casts of an enum|exclusion/;
	cmp_ok($logged->{$schema}{out} =~ /(\d+)/ && $1, '>=', 1, "$what: ... and is logged") unless $what =~ /rule/;
}

# ---- her table, profiled --------------------------------------------------------------------------

@cases = make_doors(map { {
	what => "profiled table, $_->[0]", door => $_, schema => 'y' . ++$n, table => "y$n.t", key => 'id',
	setup => q{CREATE SCHEMA S; CREATE TABLE T (id int PRIMARY KEY, k int, importe numeric, telefono varchar(16)); INSERT INTO T VALUES (-1, 1, 1, '1234567')},
	use => 'INSERT INTO T (id, k) VALUES (-5, 1); SELECT * FROM T; UPDATE T SET k = 5' } } @doors);
$walked = walk(q{SELECT 'read: ' || rows_read || refused FROM aq.legacy_profile('T') WHERE column_name = 'telefono'; SELECT * FROM aq.legacy_profile('T', NULL)}, $hers, @cases);
my $profiled = grep { $walked->{ $_->{schema} }{out} =~ /^read: \d/m } @cases;
cmp_ok($profiled, '>', @cases / 2, "$profiled of " . @cases . ' tables with doors are profiled');

# ---- her log ---------------------------------------------------------------------------------------

my $log = 'changed_at timestamptz, xact_id xid8, xact_seq int, table_schema name, table_name name, record_id bigint, record_key jsonb, action char(1), old_data jsonb,
	new_data jsonb, changed_fields jsonb, user_id text, db_user name, session_user_name name, session_id bigint, app_context jsonb, k int, importe numeric';
my $months = "CREATE TABLE S.log ($log) PARTITION BY RANGE (changed_at); CREATE TABLE S.spare PARTITION OF S.log DEFAULT";
my $past = "$months; CREATE TABLE S.past PARTITION OF S.log FOR VALUES FROM (MINVALUE) TO (date_trunc('month', now()))";
for ([ 'log', 'log', "CREATE TABLE S.log ($log)" ], [ 'partitioned log', 'log', $months ], [ 'DEFAULT partition of a log', 'spare', $months ],
	[ 'log with a past', 'log', $past ], [ 'past of a log', 'past', $past ])
{
	my ($kind, $table, $make) = @$_;
	my $old = q{INSERT INTO S.log (changed_at, table_name, action, record_id, user_id) VALUES (now() - interval '40 days', 'x', 'I', 1, 'a')};
	@cases = make_doors(map { {
		what => "$kind, $_->[0]", door => $_, schema => 'l' . ++$n, table => "l$n.$table", key => 'k',
		setup => "CREATE SCHEMA S; GRANT USAGE ON SCHEMA S TO PUBLIC; $make", use => "$old; SELECT * FROM T; UPDATE T SET k = 5" } } @doors);
	session('mallory', map { [ $_->{schema}, replaced($_, $old) ] } @cases);
	$walked = walk(q{
		CREATE TABLE public.S (id int PRIMARY KEY, v int); GRANT ALL ON public.S TO app;
		SELECT aq.audit_enable('public.S', log => 'S.log');
		INSERT INTO public.S VALUES (1, 1), (2, 2); UPDATE public.S SET v = 3; DELETE FROM public.S WHERE id = 2;
		BEGIN; UPDATE public.S SET v = 4; SAVEPOINT s; UPDATE public.S SET v = 5; COMMIT;
		SELECT * FROM aq.audit_status; SELECT * FROM aq.audit_tables();
		SELECT * FROM aq.audit_history('public.S', '1');
		SELECT * FROM aq.audit_versions(NULL::public.S, '1'); SELECT aq.audit_row_at(NULL::public.S, '1', now()); SELECT * FROM aq.audit_rows_at(NULL::public.S, now());
		SELECT * FROM aq.audit_undo_plan(audited_table => 'public.S'); SELECT * FROM aq.audit_undo(audited_table => 'public.S', on_conflict => 'skip');
		SELECT * FROM aq.audit_changes(log => 'S.log'); CALL aq.audit_baseline('public.S'); CALL aq.audit_adopt('S.log');
		CALL aq.audit_split('S.log', lock_wait => '50ms'); CALL aq.audit_maintain(log => 'S.log'); CALL aq.audit_maintain(log => 'S.log', months_ahead => 1, keep => '1 day');
		SELECT aq.audit_install('S'); TRUNCATE public.S}, $hers, @cases);
	# ... and an ordinary writer's neither
	my $app = session('app', map { [ $_->{schema}, "INSERT INTO public.$_->{schema} VALUES (7, 1)" ] } @cases);
	my $there = session('postgres', map { [ $_->{schema}, "SELECT count(*) FROM public.$_->{schema}; SELECT aq.audit_disable('public.$_->{schema}')" ] } @cases);
	$logged = session('mallory', map { [ $_->{schema}, "SELECT count(*) FROM $_->{schema}.log WHERE table_name = '$_->{schema}'" ] } @cases);
	for my $case (@cases)
	{
		my ($schema, $what) = @$case{qw(schema what)};

		like($app->{$schema}{ran}, $hers, "$what: her code does not run as an ordinary writer");
		# a change is logged, or it is refused
		ok($there->{$schema}{out} =~ /^0/ || $logged->{$schema}{out} =~ /^[1-9]/ || $what =~ /, (rule|policy|BEFORE trigger)$/, "$what: what is there is in the log")
		  or diag("$there->{$schema}{out}, $logged->{$schema}{out}\n$walked->{$schema}{err}");
	}
}

# ---- keys of hers -------------------------------------------------------------------------------------

for ([ 'domain', 'm.ld', q{'a'} ], [ 'enum', 'm.en', q{'a'} ], [ 'row', 'm.comp', q{'(1,2)'} ], [ 'wrapped domain', 'public.wrapped', '1' ], [ 'range', 'm.rng', q{'[1,3)'} ])
{
	my ($what, $type, $value) = @$_;
	my $case = { what => "key of type $what", schema => 'k' . ++$n, table => "k$n.t", key => 'id' };
	my $history = qq{SELECT * FROM aq.audit_history('T', $value); SELECT * FROM aq.audit_history('T', 'nonsense'); SELECT * FROM aq.audit_history('T', '{"id": "a"}')};
	must('mallory', replaced($case, "CREATE SCHEMA S; CREATE TABLE T (id $type PRIMARY KEY, v int); INSERT INTO T VALUES ($value, 1)"));
	walk($history, $hers, $case);
	must('postgres', replaced($case, q{SELECT aq.audit_enable('T')}));
	must('mallory', replaced($case, 'UPDATE T SET v = v + 1'));
	walk($history, $hers, { %$case, what => "$case->{what}, audited" });
}

# no column or child of its own for a partition; keys of partitioned tables have rules of their own
is(join("\n", grep { !/^(partitioned log|log with a past), (unique index|exclusion|child):/ && !/cannot add column to a partition|cannot inherit from partition/ } @absent), '',
	'every other door could be made');
note("$walks walks, her code ran in $walks_with_code of them");
cmp_ok($walks_with_code, '>', 100, 'her code did run, as her');
$node->stop;
done_testing();
