# audit_undo: random transactions undone in any way, and killed in the middle.
#
# The oracle is a copy of the tables after each transaction.  Undoing the last transaction
# gives the copy before it, undoing that undo the copy after it, and undoing all of them, latest first,
# the first copy.
#
# An undo of some thousand rows is stopped at random moments, by pg_terminate_backend and by
# statement_timeout: table and log are as before, and the next undo does all of it.
use strict;
use warnings;
use IPC::Run qw(start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $transactions = 60 * ($ENV{AQUACIS_TEST_SCALE} || 1);
my $node = PostgreSQL::Test::Cluster->new('undo');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;

# ---- random transactions ---------------------------------------------------

# family refers to itself; swaps has a deferrable key and a unique column that is checked at once
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION aquacis;
SELECT audit_install();
CREATE TABLE parent (id int PRIMARY KEY, name text, amount numeric(10,2), tags text[], doc jsonb, at timestamptz, f float8, b bytea);
CREATE TABLE child (a int, b text, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, v int, PRIMARY KEY (a, b));
CREATE TABLE loose (k text PRIMARY KEY, parent int REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE, n int);
CREATE TABLE family (id int PRIMARY KEY, up int REFERENCES family, note text);
CREATE TABLE swaps (id int PRIMARY KEY DEFERRABLE, code text UNIQUE, total int GENERATED ALWAYS AS (id * 2) STORED, n int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE parts (id int, y int, v text, PRIMARY KEY (id, y)) PARTITION BY LIST (y);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES IN (2);
CREATE TABLE later (id int PRIMARY KEY, up int REFERENCES later DEFERRABLE INITIALLY DEFERRED, v int);
SELECT audit_enable(t) FROM unnest('{parent,child,loose,family,swaps,parts,later}'::regclass[]) t;
INSERT INTO parent SELECT i, 'p' || i, i * 1.5, ARRAY['a', 'b ' || i], '{"a": [1, "x"]}', '2026-01-01', i / 7.0, '\xde00' FROM generate_series(1, 20) i;
INSERT INTO child SELECT i, 'x', i % 20 + 1, i FROM generate_series(1, 60) i;
INSERT INTO loose SELECT 'k' || i, i % 20 + 1, i FROM generate_series(1, 30) i;
INSERT INTO family SELECT i, CASE WHEN i > 1 THEN i / 2 END, 'f' || i FROM generate_series(1, 30) i;
INSERT INTO swaps SELECT i, 'c' || i FROM generate_series(1, 20) i;
INSERT INTO parts SELECT i, i % 2 + 1, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO later SELECT i, i % 10 + 1, i FROM generate_series(1, 10) i;

CREATE FUNCTION state() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(md5(r) , ',' ORDER BY r) FROM (
		SELECT 'parent' || t::text AS r FROM parent t UNION ALL SELECT 'child' || t::text FROM child t
		UNION ALL SELECT 'loose' || t::text FROM loose t UNION ALL SELECT 'family' || t::text FROM family t
		UNION ALL SELECT 'swaps' || t::text FROM swaps t UNION ALL SELECT 'parts' || t::text FROM parts t
		UNION ALL SELECT 'later' || t::text FROM later t) x $$;
CREATE FUNCTION any_of(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT 1 + floor(random() * n)::int $$;
-- one random change; false: the tables would not have it
CREATE FUNCTION change() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	n int := any_of(26);
	i int := any_of(24);
	j int := any_of(24);
BEGIN
	CASE n
	WHEN 1 THEN UPDATE parent SET name = name || '+', amount = amount + 1 WHERE id % any_of(4) = 0;
	WHEN 2 THEN DELETE FROM parent WHERE id = i;
	WHEN 3 THEN INSERT INTO parent VALUES (i, 'new', 1, NULL, '[null]', now(), 'NaN', NULL) ON CONFLICT (id) DO UPDATE SET name = 'again', doc = '"s"';
	WHEN 4 THEN UPDATE parent SET id = 100 + j WHERE id = i;
	WHEN 5 THEN UPDATE child SET v = -v, b = b || '~' WHERE a % 5 = i % 5;
	WHEN 6 THEN DELETE FROM child WHERE a = i;
	WHEN 7 THEN INSERT INTO child VALUES (i, 'n', j, j) ON CONFLICT (a, b) DO UPDATE SET parent = excluded.parent;
	WHEN 8 THEN UPDATE loose SET parent = j WHERE n % 7 = i % 7;
	WHEN 9 THEN DELETE FROM loose WHERE n = i;
	WHEN 10 THEN UPDATE family SET up = j WHERE id = i;
	WHEN 11 THEN DELETE FROM family WHERE id = i OR up = i;
	WHEN 12 THEN INSERT INTO family VALUES (30 + i, j, 'new'), (60 + i, 30 + i, 'newer');
	WHEN 13 THEN UPDATE swaps SET id = id + 1;
	WHEN 14 THEN UPDATE swaps SET id = CASE id WHEN i THEN j ELSE i END WHERE id IN (i, j);
	WHEN 15 THEN
		UPDATE swaps SET code = 'tmp' WHERE id = i;
		UPDATE swaps SET code = 'c' || i WHERE code = 'c' || j;
		UPDATE swaps SET code = 'c' || j WHERE code = 'tmp';
	WHEN 16 THEN INSERT INTO swaps VALUES (100 + i, 'n' || j);
	WHEN 17 THEN DELETE FROM swaps WHERE id = i;
	WHEN 18 THEN UPDATE parts SET y = 3 - y WHERE id = i;
	WHEN 19 THEN UPDATE parts SET id = id + 100, v = v || '.' WHERE id = i;
	WHEN 20 THEN
		DELETE FROM parts WHERE id = i;
		INSERT INTO parts VALUES (i, 1 + i % 2, 'again');
	WHEN 21 THEN
		DELETE FROM later WHERE id = 1 + i % 10;
		INSERT INTO later VALUES (1 + i % 10, 1 + j % 10, j);
	WHEN 22 THEN INSERT INTO later VALUES (10 + i, 40 + i, 1), (40 + i, 10 + i, 2);
	WHEN 23 THEN DELETE FROM later WHERE id > 10;
	WHEN 24 THEN UPDATE parent SET tags = tags || 'c', f = f + 0.1, b = b || '\x01', at = at + '1 day' WHERE id = i;
	WHEN 25 THEN WITH d AS (DELETE FROM child WHERE a = i RETURNING *) INSERT INTO child SELECT a, b || '!', parent, v FROM d;
	ELSE UPDATE parent SET doc = jsonb_build_object('i', i) WHERE id = i OR id = j;
	END CASE;
	RETURN true;
EXCEPTION WHEN integrity_constraint_violation THEN
	RETURN false;
END $$;
SQL

my @states = ($node->safe_psql('postgres', 'SELECT state()'));
my @xacts;
my $wrong = 0;
my $unequal = 0;
for my $t (1 .. $transactions)
{
	my $changes = 1 + int(rand(6));
	my $script = "BEGIN;\nSELECT pg_current_xact_id();\n" . join('', map { "SELECT FROM (SELECT change()) x;\n" } 1 .. $changes) . "COMMIT;\n";
	my ($code, $out, $err) = $node->psql('postgres', $script, on_error_stop => 1);
	my ($xact) = $out =~ /^(\d+)$/m;
	next if $code != 0;    # a deferred foreign key
	my $after = $node->safe_psql('postgres', 'SELECT state()');
	push @xacts, $xact;
	push @states, $after;
	next if $after eq $states[-2];
	# undo, and undo that
	my $undone;
	for my $step ([ $xact, $states[-2], 'undo' ], [ undef, $after, 'undo of the undo' ])
	{
		my $what = $step->[0] // $undone;
		($code, $out, $err) = $node->psql('postgres',
			"BEGIN;\nSELECT pg_current_xact_id();\nSELECT 'not done', * FROM audit_undo(xact => '$what') WHERE NOT done AND undo <> 'none';\nCOMMIT;\nSELECT state()");
		($undone) = $out =~ /^(\d+)$/m;
		my $now = $node->safe_psql('postgres', 'SELECT state()');
		next if $now eq $step->[1];
		$wrong++;
		if ($wrong < 4)
		{
			diag("$step->[2] of transaction $what ($t): $err");
			diag($node->safe_psql('postgres', "SELECT xact_seq, action, table_name, coalesce(record_id::text, record_key::text), old_data, new_data, changed_fields FROM audit_log WHERE xact_id = '$what' ORDER BY written_at, xact_seq"));
		}
		last;
	}
	# what remains is wherever the failure left it
	$states[-1] = $node->safe_psql('postgres', 'SELECT state()') if $wrong;
	last if $wrong > 3;
}
is($wrong, 0, "undo, and undo of the undo, of " . @xacts . " random transactions");

# ---- all of them, at once: the first state ------------------------------------
# Keys that went round through many transactions may stand in each other's way then: that is
# an error that says so, and nothing is undone.
my $since = $node->safe_psql('postgres', "SELECT min(written_at) FROM audit_log WHERE xact_id = '$xacts[0]'");
my $as_it_was = $node->safe_psql('postgres', 'SELECT state()');
my ($code, $out, $err) = $node->psql('postgres', "BEGIN; SELECT count(*) FROM audit_undo(since => '$since'); SELECT state(); ROLLBACK", on_error_stop => 1);
if ($code == 0)
{
	is((split /\n/, $out)[-1], $states[0], 'undo of all that happened since a moment');
}
else
{
	like($err, qr/duplicate key value|violates foreign key/, 'undo of all that happened since a moment: keys in the way');
}
is($node->safe_psql('postgres', 'SELECT state()'), $as_it_was, '... rolled back');

# ---- one after the other, latest first ------------------------------------------
my $stopped = 0;
foreach my $xact (reverse @xacts)
{
	($code, $out, $err) = $node->psql('postgres', "SELECT count(*) FROM audit_undo(xact => '$xact')", on_error_stop => 1);
	next if $code == 0;
	diag("transaction $xact: $err") if $stopped++ < 3;
}
is($stopped, 0, 'each can be undone, latest first');
is($node->safe_psql('postgres', 'SELECT state()'), $states[0], '... back to the first state');

# ---- stopped in the middle -------------------------------------------------------------

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE many (id numeric PRIMARY KEY, a int, b text, c numeric, gone boolean);
SELECT audit_enable('many');
INSERT INTO many SELECT i, i, 'b' || i, i * 1.5, i % 3 = 0 FROM generate_series(1, 6000) i;
SQL
my $rows = 'SELECT count(*), md5(string_agg(m::text, chr(10) ORDER BY id)) FROM many m';
my $entries = "SELECT count(*), max(written_at) FROM audit_log WHERE table_name = 'many'";

# Changes every row; returns the transaction.
sub change_many
{
	my $out = $node->safe_psql('postgres', q{BEGIN;
		SELECT pg_current_xact_id();
		UPDATE many SET a = a + 1, b = b || '+', c = c + 1 WHERE NOT gone;
		DELETE FROM many WHERE gone;
		INSERT INTO many SELECT 6000 + i, i, 'new', i, false FROM generate_series(1, 1000) i;
		COMMIT});
	return $out;
}

sub undo_of { return "SELECT count(*) FROM audit_undo(xact => '$_[0]') WHERE NOT done" }

# Runs an undo, stopped after some seconds.  Returns the error.
sub stopped
{
	my ($how, $xact, $after) = @_;
	my ($out, $err) = ('', '');
	if ($how eq 'statement_timeout')
	{
		$node->psql('postgres', sprintf("SET statement_timeout = %d;\n%s", 1 + $after * 1000, undo_of($xact)), stderr => \$err);
		return $err;
	}
	my $victim = do
	{
		local $ENV{PGAPPNAME} = 'victim';
		start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', undo_of($xact) ], '>', \$out, '2>', \$err);
	};
	# the clock starts when the statement does
	$node->safe_psql('postgres', qq{DO \$\$
		DECLARE
			victim int;
		BEGIN
			FOR i IN 1..3000 LOOP
				PERFORM pg_stat_clear_snapshot();
				SELECT pid INTO victim FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active';
				EXIT WHEN FOUND;
				PERFORM pg_sleep(0.001);
			END LOOP;
			PERFORM pg_sleep($after), pg_terminate_backend(victim);
		END\$\$});
	$victim->finish;
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'victim'});
	# a result: it was terminated when the undo had been committed
	return $out =~ /\d/ ? '' : $err;
}

my $before = $node->safe_psql('postgres', $rows);
my $xact = change_many();
my $start = time;
is($node->safe_psql('postgres', undo_of($xact)), '0', 'an undo of some thousand rows');
my $takes = time - $start;
is($node->safe_psql('postgres', $rows), $before, 'the rows are what they were');
for my $how ('pg_terminate_backend', 'statement_timeout')
{
	my ($stopped, $changed, $incomplete) = (0, 0, 0);
	for (1 .. 30)
	{
		$xact = change_many();
		my $then = $node->safe_psql('postgres', "$rows; $entries");
		my $err = stopped($how, $xact, $takes * rand(0.8));
		if ($err =~ /terminating connection|statement timeout/)
		{
			$stopped++;
			$changed++ if $node->safe_psql('postgres', "$rows; $entries") ne $then;
			$incomplete++ if $node->safe_psql('postgres', undo_of($xact)) ne '0';
		}
		$incomplete++ if $node->safe_psql('postgres', $rows) ne $before;
		last if $stopped == 3;
	}
	is($stopped, 3, "$how stopped three undos");
	is($changed, 0, 'a stopped undo left table and log as they were');
	is($incomplete, 0, 'the next undo did all of it');
}

done_testing();
