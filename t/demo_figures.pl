# The demo's SQL on few rows: every figure of its last table against a query
# that does not use what made the figure.
use strict;
use warnings FATAL => 'all';

use Cwd qw(getcwd);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = `$ENV{PG_CONFIG} --sharedir`;
chomp $sharedir;
plan skip_all => 'PostGIS is not installed' unless -e "$sharedir/extension/postgis.control";

my $accounts = 4000;
my $top = getcwd();
my ($out, $err);

# ---- the command line -----------------------------------------------------------

($out, $err) = run_command(["$top/scripts/demo", '--help']);
like($out, qr/--rows N.*--small.*--keep/s, 'scripts/demo --help');
for my $wrong (['--nothing'], ['--rows'], [ '--rows', 'many' ], [ '--rows', '7' ])
{
	command_fails_like(["$top/scripts/demo", @$wrong], qr/^demo: .*(unknown option|--rows)/,
		"scripts/demo @$wrong is refused");
}

# ---- a server, and steps run as the demo runs them --------------------------------

my $node = PostgreSQL::Test::Cluster->new('demo');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE cf_quere_pro');

sub sql { return $node->safe_psql('cf_quere_pro', "SET search_path = cf_quere_pro, aquacis, public;\n$_[0]"); }

sub step
{
	my ($file, @variables) = @_;
	chdir "$top/demo" or die;
	my ($stdout, $stderr) = run_command(
		[
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', "accounts=$accounts", @variables,
			'-f', $file, $node->connstr('cf_quere_pro')
		]);
	is($stderr, '', "$file runs without a complaint");
	chdir $top;
	return $stdout;
}

sub figure { return sql("SELECT value FROM demo.figure WHERE name = '$_[0]'"); }

# ---- schema and rows ----------------------------------------------------------------

step('1_schema.sql');
my $kinds = q{
	SELECT string_agg(kind || ' ' || n, ', ' ORDER BY n)
	FROM (SELECT coalesce(substring(relname FROM '^(tmp_deuda|aux_varscreditored|tmpbb)_[0-9]+$'), 'ordinary') AS kind,
	             count(*) AS n
	      FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('cf_quere_pro', 'aux_migracion')
	      GROUP BY 1) k};
is(sql($kinds), 'tmpbb 22, aux_varscreditored 477, ordinary 1470, tmp_deuda 2144', 'as many tables as the legacy database has');
is( sql(q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'contrato'::regclass AND attnum > 0}),
	104, 'contrato has its 104 columns');
is( sql(q{SELECT count(*)
	      FROM (SELECT *, row_number() OVER (PARTITION BY schema_name, table_name ORDER BY position) AS place FROM demo.legacy_column) l
	      LEFT JOIN pg_attribute a
	        ON attrelid = format('%I.%I', schema_name, table_name)::regclass AND attname = column_name
	      WHERE format_type(atttypid, atttypmod) IS DISTINCT FROM data_type
	         OR attnotnull IS DISTINCT FROM (is_nullable = 'NO') OR attnum IS DISTINCT FROM place}),
	0, 'every column has the place, type and nullability of columns.csv');

step('2_rows.sql');
step('fill.sql', '-v', "share=$_") for 0, 1;
is(sql("SELECT count(*) FROM $_"), $accounts, "$_ has a row per account") for qw(contrato ptoserv direccion vgiss_lectuacom);
is( sql(q{SELECT count(*) FROM contrato JOIN ptoserv ON ptosid = cnttptosid JOIN direccion ON dirid = ptosdirid
	      JOIN persona ON prsid = cnttfprsid}),
	$accounts, 'contract, service point, address and person belong together');
sql('ANALYZE');
is( sql(q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'cf_quere_pro'::regnamespace AND reltuples = 0
	      AND relname !~ '^(tmp_deuda|aux_varscreditored|tmpbb)_[0-9]+$'}),
	0, 'every ordinary table has rows');

# ---- consolidation: what was there is there -------------------------------------------

# Every per-process row as jsonb, gathered before.
sql('CREATE SCHEMA test; CREATE TABLE test.source (family text, process_id bigint, row_data jsonb)');
$node->safe_psql('cf_quere_pro', $_) for split /\n/, sql(q{
	SELECT 'INSERT INTO test.source ' || string_agg(format('SELECT %L, %s, to_jsonb(t) FROM cf_quere_pro.%I t',
	           family, substring(table_name FROM '\d+$'), table_name), ' UNION ALL ')
	FROM (SELECT DISTINCT family, table_name FROM demo.legacy_column WHERE family <> 'ordinary') t
	GROUP BY hashtext(table_name) & 31});
my $rows = sql('SELECT count(*) FROM test.source');

step('3_consolidate.sql');
is(sql($kinds), 'ordinary 1473', 'three tables where 2,643 were');
is(figure('source rows'), $rows, 'figure: rows in the source tables');
is(figure('rows moved') + figure('rows rejected'), $rows, 'figures: moved and rejected are all of them');
cmp_ok(figure('rows rejected'), '>', 0, 'some rows are dirty');
is(figure('tables before') - figure('tables after'), 2643 - 3, 'figures: tables before and after');
is(figure("$_ after"), sql("SELECT count(*) FROM $_"), "figure: $_ rows") for qw(pg_class pg_attribute);
my $kept = q{
	SELECT 'tmp_deuda' AS family, proceso_id, to_jsonb(t) - '{proceso_id,created_at}'::text[] AS row_data FROM tmp_deuda t
	UNION ALL SELECT 'aux_varscreditored', proceso_id, to_jsonb(t) - '{proceso_id,created_at}'::text[] FROM aux_varscreditored t
	UNION ALL SELECT 'tmpbb', proceso_id, to_jsonb(t) - '{proceso_id,created_at}'::text[] FROM tmpbb t
	UNION ALL SELECT family, process_id, row_data FROM consolidate_rejected};
is(sql("SELECT count(*) FROM (SELECT * FROM test.source EXCEPT ALL ($kept)) d"), 0, 'no row is lost or altered');
is(sql("SELECT count(*) FROM (($kept) EXCEPT ALL SELECT * FROM test.source) d"), 0, 'no row is made up');

# ---- audit: the log is what happened ----------------------------------------------------

my %key = (contrato => 'cnttnum', persona => 'prsid', direccion => 'dirid', ptoserv => 'ptosid');
my %saved_by = (contrato => 'cntt', persona => 'prs', direccion => 'dir', ptoserv => 'ptos');
sql("CREATE TABLE test.$_ AS TABLE $_") for sort keys %key;

step('4_audit.sql');
is(figure('audit rows'), sql('SELECT count(*) FROM audit_log'), 'figure: rows of the log');
is(figure('copy rows'), figure('audit rows'), 'figures: a full copy a change');
cmp_ok(figure('audit bytes'), '>', 0, 'figure: bytes of the log');
cmp_ok(figure('copy bytes'), '>', 0, 'figure: bytes of the full copies');
cmp_ok(figure('unchanged rows'), '>', 0, 'rows were saved without a change');
is(figure('unchanged rows logged'), 0, 'and nothing of it is logged');
for my $table (sort keys %key)
{
	my ($key, $by) = ($key{$table}, "'{$saved_by{$table}hstusu,$saved_by{$table}hsthora}'::text[]");
	is( sql(qq{
		SELECT count(*)
		FROM (SELECT coalesce(o.$key, n.$key)::bigint AS id
		      FROM test.$table o FULL JOIN $table n USING ($key)
		      WHERE to_jsonb(o) - $by IS DISTINCT FROM to_jsonb(n) - $by) c
		FULL JOIN (SELECT DISTINCT record_id AS id FROM audit_log WHERE table_name = '$table') l USING (id)
		WHERE c.id IS NULL OR l.id IS NULL}),
		0, "$table: the log names the rows that changed and no other");
	is( sql(qq{
		SELECT count(*)
		FROM (SELECT DISTINCT ON (record_id) * FROM demo.row_copy WHERE table_name = '$table' ORDER BY record_id, xact_id, xact_seq) c
		JOIN test.$table o ON o.$key = c.record_id::numeric
		WHERE c.row_data - $by <> to_jsonb(o) - $by}),
		0, "$table: the rows rebuilt from the log are those of the morning");
}

# ---- conversion ---------------------------------------------------------------------------

step('5_convert.sql');
is(figure('accounts'), sql('SELECT count(*) FROM contrato'), 'figure: accounts');
is(figure('accounts converted'), figure('accounts'), 'figure: every account is converted');
is(figure('accounts with place') + figure('places refused'), figure('accounts'), 'figures: a place, or a reason why not');
is( sql(q{SELECT count(*) FROM nuevo.toma t JOIN nuevo.rechazo r USING (cuenta) WHERE columna = 'ubicacion' AND ubicacion IS NOT NULL}),
	0, 'never both');
is( sql(q{SELECT count(*) FROM demo.legacy_account JOIN nuevo.toma ON cuenta = cnttnum
	      WHERE geoloclat ~ '^20\.\d+$' AND geoloclong ~ '^-100\.\d+$'
	        AND (ST_Y(ubicacion::geometry) <> geoloclat::float8 OR ST_X(ubicacion::geometry) <> geoloclong::float8 OR ubicacion IS NULL)}),
	0, 'plain coordinates are those places');
is( sql(q{SELECT count(*) FROM demo.legacy_account JOIN nuevo.toma ON cuenta = cnttnum
	      WHERE avisos_sms IS DISTINCT FROM (cnttsnnotifsms = 'S') OR cargo_fijo <> round(linfprefij::numeric, 2)
	         OR movil = '' OR movil <> trim(cnttnotifmovil)}),
	0, 'flags, money and text too');
is( sql(q{SELECT count(*) FROM demo.legacy_account JOIN nuevo.toma ON cuenta = cnttnum
	      WHERE precio_m3 IS DISTINCT FROM round(linfprepro::numeric, 4)}),
	0, 'prices per m3 keep their four decimals');
is( sql(q{SELECT count(*) > 0, count(*) FILTER (WHERE rfc IS NULL), count(*) FILTER (WHERE motivo IS NULL)
	      FROM nuevo.toma t JOIN demo.legacy_account ON cnttnum = t.cuenta
	      LEFT JOIN nuevo.rechazo r ON r.cuenta = t.cuenta AND columna = 'rfc' AND motivo = 'unusual check digit'
	      WHERE prsnif = 'ACE900319JT9'}),
	't|0|0', 'keys with an unusual check digit are kept and listed');

# ---- bills --------------------------------------------------------------------------------

step('6_bill.sql');
is(figure('bills'), figure('accounts'), 'figure: a bill per account');
is(figure('bills total'), sql('SELECT sum(total) FROM nuevo.recibo'), 'figure: their total');
is( sql(q{SELECT count(*) FROM nuevo.recibo
	      WHERE total <> (SELECT sum((l ->> 'total')::numeric) FROM jsonb_array_elements(recibo -> 'lines') l)}),
	0, 'the lines of a bill sum to its total');

# From the published table, by hand: zone, m³, pesos.
for ([ 1, 0, '67.00' ], [ 1, 3, '67.00' ], [ 2, 4, '88.00' ], [ 3, 15, '104.00' ], [ 1, 20, '107.00' ],
	[ 2, 21, '140.07' ], [ 3, 60, '427.20' ], [ 1, 601, '10517.50' ])
{
	my ($zone, $m3, $pesos) = @$_;
	is(sql("SELECT tariff_charge(tarifa, $m3) FROM nuevo.tarifa WHERE zona = $zone"), $pesos, "zone $zone, $m3 m³");
}

# ---- the last table ---------------------------------------------------------------------------

$out = step('7_report.sql');
like($out, qr/^  lost +0$/m, 'nothing lost');
like($out, qr/^  tables +4,113 +1,473$/m, 'tables before and after');
for my $line ([ 'rows', 'source rows', 'rows moved' ], [ 'bills of one period', 'bills' ], [ 'accounts', 'accounts', 'accounts converted' ])
{
	my ($label, @names) = @$line;
	my $numbers = join ' +', map { my $n = figure($_); 1 while $n =~ s/^(\d+)(\d{3})/$1,$2/; $n } @names;
	like($out, qr/^  \Q$label\E +$numbers/m, "the line \"$label\" shows the figures");
}

$node->stop;
done_testing();
