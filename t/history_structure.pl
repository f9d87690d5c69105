# history_plan and history_define on the real structure: all 230 history tables of demo/columns.csv,
# first empty, then filled with copies of both kinds, 3 % of them dirt.
use strict;
use warnings FATAL => 'all';

use Cwd qw(getcwd);
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $csv = getcwd() . '/demo/columns.csv';
my $node = PostgreSQL::Test::Cluster->new('history');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nautovacuum = off\ntimezone = 'UTC'\n");
$node->start;

sub sql { return $node->safe_psql('postgres', "SET search_path = cf, public;\n$_[0]"); }

sub fails
{
	my ($sql, $pattern, $name) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET search_path = cf, public;\n$sql");
	like($err, $pattern, $name);
	return;
}

# ---- the structure ----------------------------------------------------------------

$node->safe_psql('postgres', qq{
	CREATE EXTENSION aquacis;
	CREATE SCHEMA cf;
	CREATE TABLE public.legacy_column (s text, t text, p int, c text, type text, nullable text, def text);
	COPY public.legacy_column FROM '$csv' WITH (FORMAT csv, HEADER);
	DELETE FROM public.legacy_column WHERE t = 'pg_stat_statements' OR s <> 'cf_quere_pro'});
my $create = sql(q{
	SELECT string_agg(format('CREATE TABLE cf.%I (%s)', t, columns), ';')
	FROM (SELECT t, row_number() OVER (ORDER BY t) / 50 AS batch,
			string_agg(format('%I %s', c, type) || CASE nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY p) AS columns
		  FROM legacy_column GROUP BY t) tables
	GROUP BY batch ORDER BY batch});
$node->safe_psql('postgres', $_) for split /\n/, $create;

my $began = time;
sql('CREATE TABLE public.plan AS SELECT * FROM history_plan(\'cf\')');
my $took = time - $began;
note(sprintf 'the plan of the empty structure took %.2f s', $took);
cmp_ok($took, '<', 30, 'the plan of the empty structure ends soon');

is(sql(q{SELECT count(*), count(base), count(*) FILTER (WHERE base_from = 'name'), count(*) FILTER (WHERE base_from = 'columns') FROM plan}),
	'230|221|213|8', 'history tables, with a base, found by name, found by columns');
is(sql(q{SELECT history_table::text, base::text FROM plan WHERE base_from = 'columns' ORDER BY 1}),
	"hisbonific|bonificada\nhiscontado|contador\nhisdirec|direccion\nhisgesrecl|gestreclam\nhismovccontra|movccontrato\n"
	  . "hispreccal|preccalib\nhispreotrc|precotrcon\nhissencob|senascobro", '... which they are');
is(sql(q{SELECT string_agg(history_table::text, ' ' ORDER BY history_table::text) FROM plan WHERE base IS NULL}),
	'hisaccesos hisconsuin hisestexpesif hisfacbi hisfecdesglos hisficherosborrados hisleclote hislecloterech histpfaccnt', '... and those without one');
is(sql(q{SELECT DISTINCT problem_code, tier FROM plan WHERE base IS NULL}), 'no_base|3', '... which are to be looked at');
is(sql(q{SELECT count(changed_at), count(changed_by), count(operation), count(*) FILTER (WHERE operation ~ 'hstmodif$') FROM plan}), '226|223|20|12',
	'time, user and operation');
# tables in which a rule finds a column, as an independent query sees the pairs
is(sql(q{
	SELECT count(DISTINCT t) FILTER (WHERE h = ('h' || b)), count(DISTINCT t) FILTER (WHERE h = ('his' || b)), count(DISTINCT t) FILTER (WHERE h = b),
		count(DISTINCT t) FILTER (WHERE h <> b AND h <> ('h' || b) AND h <> ('his' || b))
	FROM (SELECT history_table t, c.key h, c.value b FROM plan, jsonb_each_text(columns) c WHERE base_from = 'name') pairs}),
	'207|7|4|6', 'tables by rule of names: h, his, same, short');
is(sql(q{SELECT count(*) FROM plan, jsonb_each_text(columns) c
	WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = history_table AND attname = c.key) OR NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = base AND attname = c.value)}),
	'0', 'what is mapped is there');
is(sql(q{SELECT count(*) FROM plan JOIN legacy_column l ON l.t = history_table::text
	WHERE base_from = 'name' AND EXISTS (SELECT FROM legacy_column b WHERE b.t = substr(l.t, 4) AND 'h' || b.c = l.c) AND columns ->> l.c IS DISTINCT FROM substr(l.c, 2)}),
	'0', 'no column that "h" and a name explains is mapped otherwise');
is(sql(q{SELECT count(*) FILTER (WHERE missing <> '{}'), count(*) FILTER (WHERE extra = '{}'), count(*) FILTER (WHERE drifted <> '{}') FROM plan WHERE base_from = 'name'}),
	'41|124|12', 'tables by name that lack columns of the base, that have none of their own, that have drifted in type');
is(sql(q{SELECT columns ->> 'hpnombre', columns ->> 'hprsid', prefix, missing, extra FROM plan WHERE history_table = 'hispersona'::regclass}),
	'prsnombre|prsid|h, hp (prs)|{prsnomcpto,prsnifnum}|{hprsindunif}', 'hispersona');
is(sql(q{SELECT key, key_from, changed_at, changed_by, drifted, missing, extra FROM plan WHERE history_table = 'histipooficina'::regclass}),
	'{htofid}|guess|htofhsthora|htofhstusu|{}|{tofdescritxtid}|{htofdescri,htofidioma}', 'histipooficina');
is(sql(q{SELECT drifted FROM plan WHERE history_table = 'hisdivnegocio'::regclass}),
	'{"hdvnclitxtid character varying(1000), dvnclitxtid numeric(10,0)","hdvningtxtid character varying(1000), dvningtxtid numeric(10,0)"}', 'a drifted table');
is(sql(q{SELECT count(*), sum(row_estimate), bool_and(holds = 'unknown'), count(sure) FROM plan}), '230|0|t|0', 'empty tables: no rows, and nothing is known of them');
is(sql(q{SELECT tier, count(*), string_agg(DISTINCT coalesce(problem_code, reason), ', ') FROM plan GROUP BY tier ORDER BY tier}), "1|215|it is empty\n3|15|no_base, no_key, no_time", 'tiers');
is(sql(q{SELECT string_agg(history_table::text, ' ' ORDER BY history_table::text) FROM plan WHERE problem_code = 'no_key'}),
	'hiscontado hisexpedrecobro hismovccontra hispersonadir hispersonatel', 'tables whose key is not found');

# ---- rows ---------------------------------------------------------------------------
#
# For each table with a base, a key and a time: 40 keys, 1 to 4 states each.  The value of a column
# is a function of key, state and the base's column.  The base has the last state; the history
# has all states (after), or all but the last (before), or the one for odd keys and the other for
# even ones (mixed).  Copies are inserted in the order of their times, the dirt with them.

$node->safe_psql('postgres', q{
CREATE FUNCTION public.value_of(type text, n int, key text, state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	h text := format('hashint4extended(%s * 1009 + %s * 31 + %s, 7)', key, state, n);
	a int := substring(type from '\((\d+)')::int;
	b int := coalesce(substring(type from ',(\d+)')::int, 0);
BEGIN
	RETURN CASE
		WHEN type ~ '^numeric\(' THEN format('((abs(%s) %% %s)::numeric / 1%s)', h, (10::numeric ^ least(a, 9))::bigint, repeat('0', b))
		WHEN type = 'numeric' OR type ~ '^double' THEN format('(abs(%s) %% 100000) / 8.0', h)
		WHEN type ~ '^smallint' THEN format('abs(%s) %% 30000', h)
		WHEN type ~ '^character' THEN format('left(md5((%s)::text), %s)', h, coalesce(a, 20))
		WHEN type = 'text' THEN format('repeat(md5((%s)::text), 100)', h)
		WHEN type = 'date' THEN format('date ''2001-01-01'' + (abs(%s) %% 9000)::int', h)
		WHEN type ~ '^timestamp' THEN format('timestamp ''2001-01-01'' + (abs(%s) %% 700000000) * interval ''1 second''', h)
		WHEN type ~ '^time' THEN format('time ''00:00'' + (abs(%s) %% 86400) * interval ''1 second''', h)
	END;
END$$;
CREATE FUNCTION public.key_of(type text, i int, n int, key text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN type ~ '^(numeric|smallint)' THEN CASE WHEN n = 1 THEN key WHEN i = 1 THEN format('(%s / 7)', key) ELSE format('(%s %% 7)', key) END
		WHEN type = 'character(1)' THEN format('chr(48 + (%s)::int)', key)
		ELSE format('lpad((%s)::text, 2, ''0'')', key) END $$;
-- per table: how it is filled
CREATE TABLE public.filled (history regclass, base regclass, holds text, key text[], indexed boolean, changed_at text);
INSERT INTO public.filled
SELECT p.history_table, p.base, CASE WHEN n % 20 = 7 THEN 'mixed' WHEN n % 2 = 0 THEN 'before' ELSE 'after' END,
	CASE WHEN n % 3 = 2 AND second.h IS NOT NULL THEN key || second.h ELSE key END, n % 3 = 1, changed_at
FROM (SELECT *, row_number() OVER (ORDER BY history_table::text) n FROM plan WHERE key IS NOT NULL AND changed_at IS NOT NULL) p
LEFT JOIN LATERAL (SELECT c.key h FROM legacy_column l JOIN jsonb_each_text(columns) c ON c.value = l.c
	WHERE l.t = regexp_replace(p.base::text, '^cf\.', '') AND l.p = 2 AND l.nullable = 'NO' AND l.type ~ '^numeric'
		AND EXISTS (SELECT FROM legacy_column f WHERE f.t = l.t AND f.p = 1 AND f.type ~ '^numeric')) second ON true;
});
$node->safe_psql('postgres', q{
SET search_path = cf, public;
-- a state of a key, with its time; which of them are copied; dirt
CREATE TABLE public.state AS
	SELECT k, s, max(s) OVER (PARTITION BY k) AS last,
		timestamp '2012-01-01 08:00:00' + (k * 3 % 11) * interval '13 days' + s * interval '100 days' + k * interval '1 second' AS t
	FROM generate_series(1, 40) k, LATERAL generate_series(1, 1 + k % 4) s;
DO $$
DECLARE
	f record; his text; base text; k text;
BEGIN
	FOR f IN SELECT filled.*, columns, (SELECT array_agg(columns ->> x) FROM unnest(filled.key) x) AS basekey, n
		FROM (SELECT *, row_number() OVER (ORDER BY history::text) n FROM filled) filled JOIN plan ON history_table = history LOOP
		k := '(k + (CASE WHEN dirt = 1 THEN 50 ELSE 0 END))';
		SELECT string_agg(CASE WHEN l.c = ANY (f.basekey) THEN key_of(l.type, array_position(f.basekey, l.c), cardinality(f.basekey), 'k')
				WHEN l.c = f.columns ->> f.changed_at THEN 't' ELSE value_of(l.type, l.p, 'k', 's') END, ', ' ORDER BY l.p) INTO base
		FROM legacy_column l WHERE l.t = regexp_replace(f.base::text, '^cf\.', '');
		SELECT string_agg(CASE WHEN l.c = ANY (f.key) THEN
					CASE WHEN l.nullable = 'YES' THEN format('CASE WHEN dirt <> 2 THEN %s END', key_of(l.type, array_position(f.key, l.c), cardinality(f.key), k))
						ELSE key_of(l.type, array_position(f.key, l.c), cardinality(f.key), k) END
				WHEN l.c = f.changed_at THEN 't'
				ELSE value_of(l.type, coalesce(b.p, l.p + 1000), 'k', 's') END, ', ' ORDER BY l.p) INTO his
		FROM legacy_column l LEFT JOIN legacy_column b ON b.t = regexp_replace(f.base::text, '^cf\.', '') AND b.c = f.columns ->> l.c
		WHERE l.t = regexp_replace(f.history::text, '^cf\.', '');
		EXECUTE format('INSERT INTO %s SELECT %s FROM state WHERE s = last', f.base, base);
		-- 0 as it is, 1 an orphan, 2 without a key, 3 lost, 4 the time of the state before, 5 twice, 6 an hour that was skipped
		EXECUTE format('INSERT INTO %s SELECT %s FROM
			(SELECT k, s, CASE dirt WHEN 4 THEN lag(t, 1, t) OVER (PARTITION BY k ORDER BY s) WHEN 6 THEN timestamp ''2022-04-03 02:30'' ELSE t END AS t, dirt, again
			 FROM (SELECT *, CASE WHEN abs(hashint4extended(k * 100 + s, %s)) %% 100 < 3 THEN 1 + abs(hashint4extended(k * 10 + s, %s)) %% 6 ELSE 0 END AS dirt FROM state) d,
				generate_series(1, CASE WHEN dirt = 5 THEN 2 ELSE 1 END) again
			 WHERE (%L = ''after'' OR s < last OR (%L = ''mixed'' AND k %% 2 = 1)) AND dirt <> 3) copies
			ORDER BY t, k, s, again', f.history, his, f.n, f.n, f.holds, f.holds);
		IF f.indexed THEN
			EXECUTE format('CREATE UNIQUE INDEX ON %s (%s)', f.base, array_to_string(f.basekey, ', '));
		END IF;
	END LOOP;
END$$;
});
cmp_ok(sql('SELECT count(*) FROM filled'), '>', 200, 'more than 200 tables are filled');
is(sql(q{SELECT count(*) FROM filled WHERE cardinality(key) = 2}) > 10, 1, '... some with a key of two columns');
$began = time;
sql('DROP TABLE public.plan; CREATE TABLE public.plan AS SELECT * FROM history_plan(\'cf\')');
note(sprintf 'the plan of the filled structure took %.2f s', time - $began);

is(sql(q{SELECT history, f.holds, p.holds, p.key, p.key_from, problem_code, evidence FROM filled f JOIN plan p ON history_table = history
	WHERE p.holds <> f.holds AND (evidence ->> 'keys')::int > 0 ORDER BY 1}), '', 'the convention of each filled table is found');
is(sql(q{SELECT history, f.key, p.key FROM filled f JOIN plan p ON history_table = history WHERE p.key IS DISTINCT FROM f.key}), '', '... and its key');
is(sql(q{SELECT count(*) FROM filled f JOIN plan p ON history_table = history WHERE f.indexed AND key_from <> 'unique index' OR NOT f.indexed AND key_from <> 'guess'}), '0', '... from where it is');
is(sql(q{SELECT string_agg(DISTINCT p.tier::text, ',') FROM filled f JOIN plan p ON history_table = history WHERE f.holds <> 'mixed'}), '1', 'they can be moved');
is(sql(q{SELECT string_agg(DISTINCT p.tier::text, ',') FROM filled f JOIN plan p ON history_table = history WHERE f.holds = 'mixed'}), '3', '... and those that are mixed are to be looked at');
is(sql(q{SELECT sum((evidence ->> 'orphans')::int) > 20, sum((evidence ->> 'null_keys')::int) > 0, sum((evidence ->> 'repeated')::int) > 20, sum((evidence ->> 'equal_times')::int) > 20 FROM plan}),
	't|t|t|t', 'the dirt is counted');
my $rows = sql(q{SELECT string_agg(format('SELECT %L::regclass AS h, count(*) AS n FROM %s', history, history), ' UNION ALL ') FROM filled});
is(sql("SELECT count(*) FROM ($rows) r JOIN plan ON history_table = h WHERE row_estimate <> n OR (evidence ->> 'rows_read')::int <> n"), '0', 'every row is counted');

# What the evidence counts, against SQL that says the same in one sentence for each table.
$node->safe_psql('postgres', q{
SET search_path = cf, public;
CREATE TABLE public.oracle (history regclass, counts jsonb);
DO $$
DECLARE
	f record; same text; b_time text;
BEGIN
	FOR f IN SELECT filled.*, columns FROM filled JOIN plan ON history_table = history LOOP
		-- mapped columns of one type, apart from key and time
		SELECT coalesce(string_agg(format('n.%I IS NOT DISTINCT FROM b.%I', h.attname, b.attname), ' AND '), 'NULL::boolean') INTO same
		FROM jsonb_each_text(f.columns) c JOIN pg_attribute h ON h.attrelid = f.history AND h.attname = c.key JOIN pg_attribute b ON b.attrelid = f.base AND b.attname = c.value
		WHERE h.atttypid = b.atttypid AND h.attname <> ALL (f.key || f.changed_at);
		SELECT b.attname INTO b_time FROM pg_attribute h JOIN pg_attribute b ON b.attrelid = f.base AND b.attname = f.columns ->> f.changed_at AND b.atttypid = h.atttypid
		WHERE h.attrelid = f.history AND h.attname = f.changed_at;
		EXECUTE format($q$INSERT INTO public.oracle
			WITH copies AS (SELECT h.ctid AS place, h AS copy, h.* FROM %1$s h WHERE %2$s),
			pairs AS (SELECT lag(copy) OVER k = copy AND lag(copy) OVER k IS NOT NULL AS again, lag(place) OVER k IS NOT NULL AS follows, %3$I AS t,
					max(%3$I) OVER (PARTITION BY %4$s ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest
				FROM copies WINDOW k AS (PARTITION BY %4$s ORDER BY place)),
			newest AS (SELECT DISTINCT ON (%4$s) * FROM copies ORDER BY %4$s, %3$I DESC NULLS LAST, place DESC),
			judged AS (SELECT b IS NULL AS orphan, %5$s AS t_his, %6$s AS t_base, %7$s AS same FROM newest n LEFT JOIN %8$s b ON %9$s)
			SELECT %10$L, jsonb_build_object(
				'rows_read', (SELECT count(*) FROM %1$s), 'null_keys', (SELECT count(*) FROM %1$s) - (SELECT count(*) FROM copies),
				'keys', (SELECT count(*) FROM newest), 'orphans', (SELECT count(*) FROM judged WHERE orphan),
				'repeated', (SELECT count(*) FROM pairs WHERE again), 'equal_times', (SELECT count(*) FROM pairs WHERE follows AND NOT again AND t = latest),
				'times_backwards', (SELECT count(*) FROM pairs WHERE follows AND NOT again AND t < latest),
				'after', (SELECT count(*) FROM judged WHERE NOT orphan AND (t_base IS NULL OR t_his = t_base) AND same),
				'before', (SELECT count(*) FROM judged WHERE NOT orphan AND ((t_base IS NULL OR t_his = t_base) AND NOT same OR t_his < t_base)),
				'before_with_time_of_change', (SELECT count(*) FROM judged WHERE NOT orphan AND t_his = t_base AND NOT same),
				'newer_than_base', (SELECT count(*) FROM judged WHERE NOT orphan AND t_his > t_base))$q$,
			f.history, (SELECT string_agg(format('h.%I IS NOT NULL', x), ' AND ') FROM unnest(f.key) x), f.changed_at, (SELECT string_agg(quote_ident(x), ', ') FROM unnest(f.key) x),
			CASE WHEN b_time IS NULL THEN 'NULL::timestamp' ELSE format('n.%I', f.changed_at) END, CASE WHEN b_time IS NULL THEN 'NULL::timestamp' ELSE format('b.%I', b_time) END,
			CASE WHEN b_time IS NULL THEN same ELSE coalesce(nullif(same, 'NULL::boolean'), 'true') END, f.base, (SELECT string_agg(format('b.%I = n.%I', f.columns ->> x, x), ' AND ') FROM unnest(f.key) x), f.history);
	END LOOP;
END$$});
is(sql(q{SELECT o.history, e.key, e.value AS plan, counts -> e.key AS oracle FROM oracle o JOIN plan ON history_table = history, jsonb_each(evidence) e
	WHERE counts ? e.key AND counts -> e.key <> e.value ORDER BY 1, 2 LIMIT 20}), '', 'the evidence is what SQL counts');
is(sql(q{SELECT count(*) FROM oracle, jsonb_object_keys(counts)}), 11 * sql('SELECT count(*) FROM filled'), '... eleven counts for each table');

# ---- definitions: each right one is taken, each wrong one refused ---------------------

my $tried = sql(q{
	SET client_min_messages = error;
	CREATE TABLE public.tried (history regclass, said text, code text);
	DO $$
	DECLARE
		f record; said text;
	BEGIN
		FOR f IN SELECT * FROM filled LOOP
			FOREACH said IN ARRAY '{before,after,mixed}'::text[] LOOP
				BEGIN
					PERFORM history_define(f.history, base => f.base, key => f.key, holds => said, changed_at => f.changed_at::name);
					INSERT INTO tried VALUES (f.history, said, 'taken');
				EXCEPTION WHEN OTHERS THEN
					INSERT INTO tried VALUES (f.history, said, SQLSTATE);
				END;
			END LOOP;
		END LOOP;
	END$$;
	SELECT said = f.holds AS right, said = 'mixed' AS mixed, code, count(*) > 0 FROM tried JOIN filled f USING (history)
	JOIN plan p ON history_table = history WHERE p.holds <> 'unknown' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3});
is($tried, "f|f|22023|t\nf|t|taken|t\nt|f|taken|t\nt|t|taken|t", 'the right convention and "mixed" are taken, a wrong one is refused with 22023');
is(sql(q{SELECT count(*) FROM history_definition}), sql('SELECT count(*) FROM filled'), 'each table has one definition');
is(sql(q{SELECT count(*) FROM history_plan('cf') WHERE defined AND holds <> 'mixed'}), '0', '... which the plan shows');
is(sql(q{SELECT bool_and(history_forget(history)) FROM filled}), 't', 'history_forget removes them');
is(sql(q{SELECT count(*) FROM history_plan('cf') p WHERE defined}), '0', '... all');

# the key without its second column
is(sql(q{SELECT count(*) > 10 FROM filled WHERE cardinality(key) = 2}), 't', 'keys of two columns');
sql(q{SET client_min_messages = error;
	DO $$
	DECLARE
		f record;
	BEGIN
		FOR f IN SELECT * FROM filled WHERE cardinality(key) = 2 LOOP
			BEGIN
				PERFORM history_define(f.history, key => key[1:1]) FROM (SELECT f.key) k;
				RAISE '% was taken', f.history USING ERRCODE = 'P0001';
			EXCEPTION WHEN unique_violation THEN NULL;
			END;
		END LOOP;
	END$$});
is(sql('SELECT count(*) FROM history_definition'), '0', 'without its second column each is refused with 23505');

$node->stop;
done_testing();
