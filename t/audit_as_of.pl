# audit_versions, audit_row_at and audit_rows_at against a shadow: eight sessions change
# tables at random (upserts, key changes and swaps, cascades, deletes and new rows under
# old keys, savepoints that roll back, a trigger that changes rows of its own), and a dumb
# trigger keeps each row as it then was.  What the functions read out of the log must be that.
#
# Each state of a row has a number of its own, n, given under the row's lock; so the shadow
# knows the true order, and finds the moment of a state in the log by its number.
#
# AQUACIS_TEST_SCALE multiplies the number of changes; AQUACIS_TEST_SEED repeats the choice of
# moments, not what the sessions do to each other.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scale = $ENV{AQUACIS_TEST_SCALE} || 1;
my $random = $ENV{AQUACIS_TEST_SEED} || int(rand(1_000_000_000));
note "random seed: $random (AQUACIS_TEST_SEED repeats it)";

my $node = PostgreSQL::Test::Cluster->new('as_of');
$node->init(extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf',
	"fsync = off\njit = off\nautovacuum = off\nmax_wal_size = 4GB\ndeadlock_timeout = 20ms\nlog_min_messages = fatal\n");
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# ---- tables, the shadow, and what is done to them --------------------------------------

sql(<<'SQL');
CREATE EXTENSION aquacis;
SELECT audit_install();

CREATE TABLE shadow (tbl text, rid bigint, n bigint, op text, k text, was jsonb, at timestamptz);
CREATE SEQUENCE rid;
CREATE SEQUENCE n;
CREATE FUNCTION number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.n := nextval('n'); RETURN NEW; END $$;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		INSERT INTO shadow VALUES (TG_ARGV[0], OLD.rid, OLD.n, 'D', OLD.k::text, to_jsonb(OLD));
	ELSE
		INSERT INTO shadow VALUES (TG_ARGV[0], NEW.rid, NEW.n, left(TG_OP, 1), NEW.k::text, to_jsonb(NEW));
	END IF;
	RETURN NULL;
END $$;
-- another AFTER trigger, which changes the row, its neighbour, or removes it
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF;
	IF NEW.v LIKE 'plus%' THEN EXECUTE format('UPDATE %I SET v = v || ''+'' WHERE k IN ($1, $1 + 1)', TG_ARGV[0]) USING NEW.k; END IF;
	IF NEW.v LIKE 'consume%' AND TG_ARGV[0] <> 'swapped' THEN EXECUTE format('DELETE FROM %I WHERE k = $1', TG_ARGV[0]) USING NEW.k; END IF;
	RETURN NULL;
END $$;

CREATE TABLE plain (k int PRIMARY KEY, rid bigint DEFAULT nextval('rid'), gone int, v text, m numeric(12,2), t timestamptz, a int[], n bigint);
ALTER TABLE plain DROP COLUMN gone;
CREATE TABLE swapped (k int PRIMARY KEY DEFERRABLE INITIALLY IMMEDIATE, rid bigint DEFAULT nextval('rid'), v text, m float8, t date, a jsonb, n bigint);
CREATE TABLE child (k int PRIMARY KEY, rid bigint DEFAULT nextval('rid'), v text,
	p int REFERENCES plain ON UPDATE CASCADE ON DELETE SET NULL, m int, t int, a int, n bigint);
CREATE TABLE parts (k int, v text, y int, rid bigint DEFAULT nextval('rid'), m numeric, t bytea, a text[], n bigint, PRIMARY KEY (y, k)) PARTITION BY RANGE (y);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 (y int, k int, v text, rid bigint DEFAULT nextval('rid'), m numeric, t bytea, a text[], n bigint, PRIMARY KEY (y, k));
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (10) TO (20);

INSERT INTO plain (k, v, m) SELECT i, 'before', i FROM generate_series(1, 100) i;
INSERT INTO swapped (k, v) SELECT i, 'before' FROM generate_series(1, 100) i;
INSERT INTO child (k, p) SELECT i, i FROM generate_series(1, 50) i;
INSERT INTO parts (k, y, v) SELECT i, i % 20, 'before' FROM generate_series(1, 100) i;
DO $$
DECLARE name text;
BEGIN
	FOREACH name IN ARRAY '{plain,swapped,child,parts}'::text[] LOOP
		EXECUTE format('UPDATE %I SET n = nextval(''n'')', name);
		EXECUTE format('INSERT INTO shadow SELECT %L, rid, n, ''0'', k::text, to_jsonb(x) FROM %I x', name, name);
		EXECUTE format('CREATE TRIGGER a_number BEFORE INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION number()', name);
		EXECUTE format('CREATE TRIGGER zz_shadow AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION keep(%L)', name, name);
		EXECUTE format('CREATE TRIGGER zzz_meddle AFTER INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION meddle(%L)', name, name);
		PERFORM audit_enable(name::regclass);
	END LOOP;
END $$;

CREATE FUNCTION word() RETURNS text LANGUAGE sql AS $$
	SELECT (ARRAY['a', 'b', NULL, 'plus', 'consume', repeat('x', 3000), 'ñ"', '[redacted?]'])[1 + floor(random() * 8)] || floor(random() * 1000) $$;
CREATE FUNCTION act(tbl text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	what int := floor(random() * 12);
	one int := 1 + floor(random() * 150);
	two int := 1 + floor(random() * 150);
BEGIN
	-- a deferrable key lets one transaction insert a row before another one has deleted its predecessor:
	-- that race, in which the log cannot tell the two rows apart, is not what is looked at here
	IF tbl = 'swapped' AND what BETWEEN 3 AND 8 THEN PERFORM pg_advisory_xact_lock(1); END IF;
	CASE
	WHEN what < 2 THEN EXECUTE format('UPDATE %I SET v = word() WHERE k = $1', tbl) USING one;
	WHEN what = 2 THEN EXECUTE format('UPDATE %I SET v = word(), m = $1 WHERE k BETWEEN $1 AND $1 + 3', tbl) USING one;
	WHEN what = 3 AND tbl = 'plain' THEN
		INSERT INTO plain (k, v, a) VALUES (one, word(), ARRAY[one, NULL, two]) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v, t = clock_timestamp();
	WHEN what IN (3, 4) AND tbl = 'parts' THEN
		INSERT INTO parts (k, y, v, t, a) VALUES (one, two % 20, word(), '\x00ff', '{x,NULL}') ON CONFLICT DO NOTHING;
	WHEN what = 3 OR what = 4 THEN EXECUTE format('INSERT INTO %I (k, v) VALUES ($1, word())', tbl) USING one;
	WHEN what = 5 AND tbl = 'parts' THEN UPDATE parts SET y = two % 20 WHERE k = one;
	WHEN what IN (5, 6) AND tbl = 'swapped' THEN UPDATE swapped SET k = one + two - k, v = word() WHERE k IN (one, two);
	WHEN what = 6 THEN EXECUTE format('UPDATE %I SET k = $2, m = $1 WHERE k = $1', tbl) USING one, two;
	WHEN what = 7 THEN EXECUTE format('DELETE FROM %I WHERE k = $1', tbl) USING one;
	WHEN what = 8 THEN
		EXECUTE format('DELETE FROM %I WHERE k = $1', tbl) USING one;
		IF tbl = 'parts' THEN INSERT INTO parts (k, y, v) VALUES (one, two % 20, 'again');
		ELSE EXECUTE format('INSERT INTO %I (k, v) VALUES ($1, ''again'')', tbl) USING one; END IF;
	WHEN what = 9 THEN
		EXECUTE format('UPDATE %I SET v = word() WHERE k = $1', tbl) USING one;
		EXECUTE format('UPDATE %I SET v = word() WHERE k = $1', tbl) USING one;
	WHEN what = 10 THEN
		BEGIN
			EXECUTE format('UPDATE %I SET v = ''rolled back'' WHERE k IN ($1, $2)', tbl) USING one, two;
			EXECUTE format('DELETE FROM %I WHERE k = $1', tbl) USING two;
			RAISE EXCEPTION 'no';
		EXCEPTION WHEN raise_exception THEN NULL; END;
	ELSE
		IF tbl = 'child' THEN UPDATE child SET p = (SELECT k FROM plain WHERE k >= two ORDER BY k LIMIT 1) WHERE k = one;
		ELSE PERFORM pg_sleep(random() * 0.003); END IF;
	END CASE;
-- a deadlock, a key that is taken: only this step is undone
EXCEPTION WHEN deadlock_detected OR unique_violation OR foreign_key_violation THEN NULL;
END $$;
SQL

my $script = "$PostgreSQL::Test::Utils::tmp_check/work.sql";
append_to_file($script, <<'SQL');
BEGIN;
SELECT act((ARRAY['plain', 'swapped', 'child', 'parts'])[1 + floor(random() * 4)]) FROM generate_series(1, 1 + floor(random() * 4)::int);
SELECT act((ARRAY['plain', 'swapped', 'child', 'parts'])[1 + floor(random() * 4)]);
COMMIT;
SQL
$node->command_ok(
	[ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', 400 * $scale, '-f', $script, 'postgres' ],
	'eight sessions change four tables');

# ---- what the shadow says ------------------------------------------------------------------

sql(<<'SQL');
CREATE TABLE moments AS SELECT table_name, action, written_at,
	coalesce(changed_fields -> 'n' ->> 'new', new_data ->> 'n', old_data ->> 'n')::bigint AS n FROM audit_log;
CREATE INDEX ON moments (n);
UPDATE shadow s SET at = m.written_at FROM moments m WHERE (m.table_name, m.action, m.n) = (s.tbl, s.op, s.n);
CREATE TABLE truth AS SELECT tbl, rid, k, op, was, at AS valid_from,
	lead(at) OVER (PARTITION BY tbl, rid ORDER BY n, op = 'D') AS valid_to FROM shadow;
CREATE INDEX ON shadow (tbl, rid, n);
CREATE INDEX ON truth (tbl, rid);
CREATE INDEX ON truth (tbl, valid_from);
ANALYZE;
SQL
my $changes = sql("SELECT count(*) FROM shadow WHERE op <> '0'");
note "$changes changes";
cmp_ok($changes, '>=', 2_000 * $scale, 'there is something to compare');
is(sql("SELECT count(*) FROM shadow WHERE op <> '0' AND at IS NULL"), 0, 'every change is in the log');
is(sql('SELECT count(*) FROM moments'), $changes, 'and nothing else');
# a row that goes to another partition is deleted and inserted by one command
is(sql("SELECT count(*) FROM truth WHERE valid_to < valid_from OR (valid_to = valid_from AND op <> 'D')"), 0, 'the order of written_at is the true one');
cmp_ok(sql("SELECT count(*) FROM shadow WHERE op = 'U' AND k <> (SELECT k FROM shadow b WHERE (b.tbl, b.rid) = (shadow.tbl, shadow.rid) AND b.n < shadow.n ORDER BY n DESC LIMIT 1)"),
	'>', 20, 'keys were changed');

# ---- versions of every record ------------------------------------------------------------------

for my $table (qw(plain swapped child))
{
	sql(<<"SQL");
DROP TABLE IF EXISTS said, expected;
CREATE TABLE said AS SELECT k, valid_from, valid_to, to_jsonb(version) AS was, certain, unknown, action
	FROM (SELECT DISTINCT k FROM truth WHERE tbl = '$table') keys, audit_versions(NULL::$table, k);
CREATE TABLE expected AS SELECT had.k, valid_from, valid_to, was
	FROM (SELECT DISTINCT k, rid FROM truth WHERE tbl = '$table') had JOIN truth ON tbl = '$table' AND truth.rid = had.rid
	WHERE op <> 'D';
SQL
	is(sql('SELECT count(*) FROM (SELECT k, valid_from, valid_to, was FROM said EXCEPT ALL SELECT * FROM expected) x'),
		0, "$table: no version that never was");
	is(sql('SELECT count(*) FROM (SELECT * FROM expected EXCEPT ALL SELECT k, valid_from, valid_to, was FROM said) x'),
		0, "$table: no version is missing");
	is(sql("SELECT count(*) FROM said WHERE NOT certain OR unknown <> '{}'"), 0, "$table: all are certain and known");
	is(sql("SELECT count(*) FROM said WHERE (valid_from IS NULL) <> (action IS NULL)"), 0, "$table: what was there before has no action");
}

# ---- the tables at random moments ------------------------------------------------------------------

for my $table (qw(plain swapped child parts parts_1 parts_2))
{
	my $root = $table =~ s/_.$//r;
	my $bounds = $table eq 'parts_1' ? "AND (was->>'y')::int < 10" : $table eq 'parts_2' ? "AND (was->>'y')::int >= 10" : '';
	my $moments = $table =~ /_/ ? 10 : 50 * ($scale > 1 ? 10 : 1);
	my $wrong = sql(<<"SQL");
SELECT setseed(($random % 1000) / 1000.0);
CREATE TEMP TABLE picked AS SELECT min(written_at) - interval '1 second' AS at FROM moments
	UNION ALL SELECT max(written_at) FROM moments
	UNION ALL (SELECT written_at - (random() * 2)::int * interval '1 microsecond' FROM moments ORDER BY random() LIMIT $moments);
CREATE TEMP TABLE said AS SELECT at, to_jsonb(r) AS was FROM picked, audit_rows_at(NULL::$table, at) r;
CREATE TEMP TABLE expected AS SELECT at, was FROM picked, truth
	WHERE tbl = '$root' AND op <> 'D' AND (valid_from IS NULL OR valid_from <= at) AND (valid_to IS NULL OR valid_to > at) $bounds;
SELECT (SELECT count(*) FROM (TABLE said EXCEPT ALL TABLE expected) x), (SELECT count(*) FROM (TABLE expected EXCEPT ALL TABLE said) x),
	(SELECT count(DISTINCT at) > 5 FROM said);
SQL
	is($wrong, "\n0|0|t", "$table: as it was at $moments random moments");
}

# ---- single rows --------------------------------------------------------------------------------------

for my $table (qw(plain swapped child))
{
	is( sql(<<"SQL"), "\n0|t", "$table: single rows at random moments");
SELECT setseed(($random % 1000) / 1000.0);
CREATE TEMP TABLE picked AS SELECT at, (1 + floor(random() * 150))::int::text AS k
	FROM (SELECT written_at AS at FROM moments ORDER BY random() LIMIT 300) x;
SELECT count(*) FILTER (WHERE said IS DISTINCT FROM was), count(was) > 20
FROM (SELECT to_jsonb(audit_row_at(NULL::$table, p.k, p.at)) AS said, t.was FROM picked p LEFT JOIN truth t
	ON tbl = '$table' AND t.k = p.k AND op <> 'D' AND (valid_from IS NULL OR valid_from <= at) AND (valid_to IS NULL OR valid_to > at)) x;
SQL
}

$node->stop;
done_testing();
