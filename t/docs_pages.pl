# The documents beside the README: docs/reference.md is what the catalog says,
# the SQL of docs/runbook.md, docs/audit.md, docs/feed.md, docs/consolidate.md and docs/history.md runs as printed
# on a small legacy schema, and every link leads somewhere.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;

# ---- reference
SKIP:
{
	skip 'PostGIS is not installed', 1
	  unless $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'});
	$node->safe_psql('postgres', 'CREATE DATABASE reference');
	$node->safe_psql('reference', 'CREATE EXTENSION aquacis_postgis CASCADE');
	my ($out, $err) = run_command([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1',
		'-d', $node->connstr('reference'), '-f', 'scripts/reference.sql' ]);
	is($err, '', 'the reference can be generated');
	ok("$out\n" eq slurp_file('docs/reference.md'), 'docs/reference.md is up to date (scripts/reference writes it)');
	unlike($out, qr/\(no comment\)/, 'every object has a comment');
}

# ---- runbook
# Both roles of the runbook: blocks that begin with "-- as a superuser", and the rest.
my $legacy = q{
	CREATE SCHEMA cf_quere_pro;
	SET search_path = cf_quere_pro;
	CREATE TABLE tipooficina (tofid numeric(5,0) PRIMARY KEY, tofdescritxtid numeric(10,0));
	CREATE TABLE persona (prsid numeric(10,0) PRIMARY KEY, prsnombre varchar(40), prspassweb varchar(10), prshsthora timestamp);
	CREATE TABLE contrato (cnttnum numeric(10,0) PRIMARY KEY, cnttestado numeric(5,0), cntthsthora timestamp);
	INSERT INTO contrato VALUES (12345, 1, now());
	CREATE TABLE tmp_deuda_1779865 (importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer);
	CREATE TABLE tmp_deuda_1779866 (LIKE tmp_deuda_1779865);
	CREATE TABLE aux_varscreditored_3018531 (cnttnum integer, impvariable numeric(18,2), impvaranterior numeric(18,2));
	CREATE TABLE tmpbb_4562592 (bbfbleid numeric(10), bbsbid numeric(10), bbcnttnum numeric(10), bbaplicacion numeric(5),
		bbfecini date, bbfecfin date, bbvardel numeric(5), bbexpdid numeric(5), bbcptodel numeric(5), bbtariddel numeric(5),
		bbctponew numeric(5), bbtaridnew numeric(5), bbfecfinbonif date, bbfecinitar date);
	INSERT INTO tmp_deuda_1779865 SELECT g, 1, 1, g FROM generate_series(1, 100) g;
	INSERT INTO tmp_deuda_1779866 VALUES (1, 1, 1, 1), (2, 1, 1, 1), (3, 1, 1, NULL);
	INSERT INTO aux_varscreditored_3018531 VALUES (1, 2, 3);};

# Runs the blocks of a page, one session after the other, as somebody who pastes block by block.
sub page_runs
{
	my ($page, $database, $least, $role) = @_;
	my @blocks = slurp_file($page) =~ /^```sql\n(.*?)^```/msg;

	cmp_ok(scalar @blocks, '>=', $least, "$page has SQL to run");
	for my $block (@blocks)
	{
		my ($title) = $block =~ /\A(?:-- as a superuser\n)?(.{1,70})/;
		my $as = !$role || $block =~ /\A-- as a superuser$/m ? '' : " user=$role";
		my ($file, $out, $err) = ($node->basedir . '/block.sql', '', '');
		unlink $file;
		append_to_file($file, $block);
		my $ok = run_log([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database) . $as, '-f', $file ],
			'>', \$out, '2>', \$err);
		ok($ok, "$page: runs" . ($as && ' for a role that is no superuser') . ": $title") or diag($err);
	}
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE dba LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE utility OWNER dba');
$node->safe_psql('utility', "SET ROLE dba; $legacy");
page_runs('docs/runbook.md', 'utility', 15, 'dba');
is($node->safe_psql('utility', 'SELECT count(*) FROM cf_quere_pro.tmp_deuda_1779865'), '100',
	'the runbook put a table back');

# ---- audit, consolidate, history
$node->safe_psql('postgres', 'CREATE DATABASE audit');
page_runs('docs/audit.md', 'audit', 2);
$node->safe_psql('postgres', 'CREATE DATABASE feed');
page_runs('docs/feed.md', 'feed', 4);
$node->safe_psql('postgres', 'CREATE DATABASE consolidate');
$node->safe_psql('consolidate', "CREATE EXTENSION aquacis; $legacy");
page_runs('docs/consolidate.md', 'consolidate', 3);
$node->safe_psql('postgres', 'CREATE DATABASE history');
$node->safe_psql('history', q{
	CREATE EXTENSION aquacis; CREATE SCHEMA cf_quere_pro; SET search_path = cf_quere_pro;
	CREATE TABLE persona (prsid numeric(10,0) PRIMARY KEY, prsnombre varchar(40), prspriapel varchar(120), prsnif varchar(15), prsvigente char(1), prshstusu varchar(10), prshsthora timestamp);
	CREATE TABLE hispersona (hprsid numeric(10,0), hpnombre varchar(40), hppriapel varchar(120), hpnif varchar(15), hpvigent char(1), hprsindunif char(1), hphstusu varchar(10), hphsthora timestamp);
	INSERT INTO persona SELECT g, 'Ana', 'Ruiz', 'X', 'S', 'lperez', '2024-05-01' FROM generate_series(1, 20) g;
	INSERT INTO hispersona SELECT g, 'Ana', 'Ruis', 'X', 'S', NULL, 'mlopez', '2023-05-01' FROM generate_series(1, 20) g});
page_runs('docs/history.md', 'history', 3);

# ---- what 1.0.0 and 1.0.1 left open
page_runs('SECURITY.md', 'audit', 2);
my ($query) = slurp_file('SECURITY.md') =~ /^```sql\n(.*?)^```/ms;
is($node->safe_psql('audit', $query), '', 'SECURITY.md: nothing that we make is open');
$node->safe_psql('audit', q{CREATE ROLE app; GRANT INSERT, DELETE ON audit_log_default TO app; GRANT SELECT ON consolidate_source TO PUBLIC;
	ALTER TABLE audit_log_default RENAME TO resto;
	SELECT consolidate_define('mia', '^mia_(\d+)$', 'mia', '{k}'); CREATE TABLE mia_1 (k int); INSERT INTO mia_1 VALUES (1);});
$node->safe_psql('audit', q{CALL consolidate('public', 'mia')});
$node->safe_psql('audit', q{GRANT UPDATE ON mia TO app});
is($node->safe_psql('audit', $query), "consolidate_source|PUBLIC|SELECT\nresto|app|INSERT, DELETE\nmia|app|UPDATE", '... and what is, is listed');

# ---- links: to files, and to headings as they are anchored on a rendered page
sub anchors
{
	my ($page) = @_;
	my %anchor;
	for (slurp_file($page) =~ /^#+ (.*)$/mg)
	{
		my $name = lc;
		$name =~ s/[^\w\- ]//g;
		$name =~ s/ /-/g;
		$anchor{$name} = 1;
	}
	return \%anchor;
}
my $links = 0;
for my $page (glob('*.md docs/*.md'))
{
	my ($folder) = $page =~ m{\A(.*/)?};
	my $text = slurp_file($page);
	while ($text =~ /\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)
	{
		my ($file, $anchor) = ($1 eq '' ? $page : ($folder // '') . $1, $2);
		$links++;
		ok(-e $file && (!defined $anchor || anchors($file)->{$anchor}), "$page: link to $1" . (defined $anchor && "#$anchor"));
	}
}
cmp_ok($links, '>', 20, 'links were found');

$node->stop;
done_testing();
