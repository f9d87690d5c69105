# The extension as a whole: create, drop, re-create, schemas, two databases,
# dump and restore, rights, and one version everywhere.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;

# What the extension owns, without its schema's name.
my $members = q{
	SELECT replace(pg_describe_object(classid, objid, objsubid), n.nspname || '.', '')
	FROM pg_depend, pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
	WHERE refclassid = 'pg_extension'::regclass AND refobjid = e.oid
	  AND deptype = 'e' AND extname = 'aquacis'
	ORDER BY 1};

# ---- create, drop, re-create
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', 'CREATE EXTENSION aquacis');
my $in_public = $node->safe_psql('one', $members);
isnt($in_public, '', 'the extension owns objects');
$node->safe_psql('one', 'DROP EXTENSION aquacis');
is( $node->safe_psql('one', q{
		SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace}),
	'0', 'dropping leaves no function behind');
$node->safe_psql('one', 'CREATE EXTENSION aquacis');
is($node->safe_psql('one', $members), $in_public, 're-created the same');

# ---- a schema of its own, beside a hostile search_path
$node->safe_psql('postgres', 'CREATE DATABASE two');
$node->safe_psql('two', q{
	CREATE SCHEMA evil;
	CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$SELECT 1/0 || ''$$;
	CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT (1/0)::text::timestamptz$$;
	CREATE FUNCTION evil.no(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT 1/0 = 1$$;
	CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.no);
	CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.no);
	CREATE DOMAIN evil.jsonb AS int;
	CREATE DOMAIN evil.text AS int;
	CREATE SCHEMA own;
	SET search_path = evil, pg_catalog;
	CREATE EXTENSION aquacis SCHEMA own;});
is($node->safe_psql('two', $members), $in_public,
	'the same objects in a schema of its own, created under a hostile search_path');
is($node->safe_psql('one', $members), $in_public, 'two databases do not mind each other');

# ---- aquacis_postgis, where PostGIS is
my $postgis = $node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'});
SKIP:
{
	skip 'PostGIS is not installed', 5 unless $postgis;
	$node->safe_psql('postgres', 'CREATE DATABASE gis');
	$node->safe_psql('gis', 'CREATE EXTENSION aquacis_postgis CASCADE');
	is( $node->safe_psql('gis', q{
			SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'}),
		'aquacis aquacis_postgis postgis', 'CASCADE brings what it needs');
	my ($ret, $out, $err) = $node->psql('gis', 'DROP EXTENSION aquacis');
	like($err, qr/aquacis_postgis depends on/, 'aquacis cannot go while aquacis_postgis is there');
	$node->safe_psql('gis', 'DROP EXTENSION aquacis_postgis; CREATE EXTENSION aquacis_postgis');
	pass('aquacis_postgis dropped and re-created');

	# a type of that name, and a function that fits better, in the schema of the extension
	$node->safe_psql('postgres', 'CREATE DATABASE planted');
	$node->safe_psql('planted', q{
		CREATE SCHEMA gis; CREATE EXTENSION postgis SCHEMA gis; CREATE EXTENSION aquacis;
		CREATE TYPE public.geography AS (a int);
		CREATE FUNCTION public.legacy_gps_to_geom(text, text) RETURNS int LANGUAGE sql AS 'SELECT 1/0'});
	($ret, $out, $err) = $node->psql('planted', 'CREATE EXTENSION aquacis_postgis');
	like($err, qr/PostGIS not found\nDETAIL:  The function returns type public\.geography/, 'a planted type is not taken for that of PostGIS');
	$node->safe_psql('planted', 'DROP TYPE public.geography; CREATE EXTENSION aquacis_postgis');
	is($node->safe_psql('planted', q{SELECT pg_get_function_result('legacy_gps_to_geom(varchar, varchar)'::regprocedure)}), 'gis.geography', '... which is found when it is gone');
}

# ---- what exists already is never adopted
$node->safe_psql('postgres', 'CREATE DATABASE taken');
$node->safe_psql('taken', 'CREATE FUNCTION public.legacy_text(text) RETURNS text LANGUAGE sql AS $$SELECT $1$$');
my ($ret, $out, $err) = $node->psql('taken', 'CREATE EXTENSION aquacis');
like($err, qr/already exists|not a member of extension/, 'an object that is in the way stops CREATE EXTENSION');
is( $node->safe_psql('taken', q{SELECT count(*) FROM pg_extension WHERE extname = 'aquacis'}),
	'0', '... and nothing of it stays');

# ---- rights
$node->safe_psql('postgres', 'CREATE ROLE ordinary LOGIN');
($ret, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION aquacis', extra_params => [ '-U', 'ordinary' ]);
like($err, qr/permission denied to create extension/, 'an ordinary role cannot create it');

# What an ordinary role may call reads or computes.  What changes data or
# structure is revoked; a new function has to take its place here.
my $public = $node->safe_psql('one', q{
	SELECT string_agg(DISTINCT proname, ' ' ORDER BY proname)
	FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND extname = 'aquacis'
	WHERE has_function_privilege('ordinary', p.oid, 'EXECUTE')});
my @changes = qw(audit_install audit_adopt audit_baseline audit_continue audit_undo audit_enable audit_disable audit_maintain audit_split consolidate
  consolidate_define consolidate_restore consolidate_guard history_plan history_define history_forget);
my %may = map { $_ => 1 } split ' ', $public;
ok(!$may{$_}, "$_ is not for everybody") for @changes;
ok($may{$_}, "$_ is for everybody")
  for qw(tariff_charge tariff_bill legacy_money legacy_text audit_set_user);

# Whatever default privileges the creating role has, others get nothing by them, apart
# from what is for everybody.
$node->safe_psql('postgres', 'CREATE ROLE app; CREATE DATABASE closed');
$node->safe_psql('closed', q{
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app WITH GRANT OPTION;
	ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON ROUTINES TO app;
	ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO app;
	CREATE EXTENSION aquacis});
my $rights = q{
	SELECT string_agg(format('%s %s %s', coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC'), relname, privilege_type), ', ' ORDER BY relname, 1)
	FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S') AND grantee <> relowner};
is($node->safe_psql('closed', $rights), 'PUBLIC audit_detached SELECT, PUBLIC audit_feed SELECT, PUBLIC audit_split_state SELECT, PUBLIC audit_status SELECT, PUBLIC audit_table SELECT, PUBLIC history_definition SELECT', 'default privileges open no table of the extension');
is($node->safe_psql('closed', $rights), $node->safe_psql('one', $rights), '... as where there are none');
my $executable = q{SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND has_function_privilege('app', oid, 'EXECUTE')};
is($node->safe_psql('closed', $executable), $node->safe_psql('one', $executable), '... and no function');
my $recorded = q{SELECT string_agg(format('%s %s', objoid::regproc, initprivs), ', ' ORDER BY objoid::regproc::text) FROM pg_init_privs, pg_proc WHERE objoid = pg_proc.oid AND pronamespace = 'public'::regnamespace};
is($node->safe_psql('closed', $recorded), $node->safe_psql('one', $recorded), '... nor does a dump name them');

# ---- no SECURITY DEFINER, no trust in search_path
is( $node->safe_psql('one', q{
		SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
		JOIN pg_extension e ON e.oid = d.refobjid AND extname = 'aquacis' WHERE prosecdef}),
	'0', 'no function is SECURITY DEFINER');

# ---- dump and restore: the same objects, the same data
$node->safe_psql('one', q{
	CREATE SCHEMA cf;
	CREATE TABLE cf.contrato (cnttnum numeric(10,0) PRIMARY KEY, cnttestado numeric(5,0), obs text);
	SELECT audit_install();
	SELECT audit_enable('cf.contrato', exclude => '{obs}');
	INSERT INTO cf.contrato SELECT g, 1, 'ñ' || g FROM generate_series(1, 50) g;
	UPDATE cf.contrato SET cnttestado = 2 WHERE cnttnum <= 10;
	DELETE FROM cf.contrato WHERE cnttnum > 45;
	SELECT consolidate_define('mine', pattern => '^mine_(\d+)$', target => 'mine', key => '{k}');
	CREATE TABLE cf.tmp_deuda_7 (importe numeric(18,2), numfacturas int, facsocemi int, faccnttnum int);
	INSERT INTO cf.tmp_deuda_7 VALUES (10.5, 1, 1, 100), (20, 2, 1, 101), (1, 1, 1, NULL);
	CREATE TABLE cf.tmp_deuda_8 (importe numeric(18,2), numfacturas int, facsocemi int, faccnttnum int);
	INSERT INTO cf.tmp_deuda_8 VALUES (7, 1, 1, 100);});
$node->safe_psql('one', q{CALL consolidate('cf', 'tmp_deuda', on_reject => 'keep')});
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
my $dump = $node->basedir . '/one.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('one') ], 'dump');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ],
	'restore');
is($node->safe_psql('restored', $members), $in_public, 'restored: the same objects');
my $again = $node->basedir . '/restored.sql';
$node->command_ok([ 'pg_dump', '-f', $again, '-d', $node->connstr('restored') ], 'dump of the restored database');
my ($first, $second) = map { my $t = slurp_file($_); $t =~ s/^\\(un)?restrict .*$//mg; $t } $dump, $again;
ok($first eq $second, 'restored: dumps alike, data included');

my $history = q{SELECT action, column_name, old_value, new_value FROM audit_history('cf.contrato', '5')};
is($node->safe_psql('restored', $history), $node->safe_psql('one', $history), 'restored: the same history');
$node->safe_psql('restored', 'UPDATE cf.contrato SET cnttestado = 3 WHERE cnttnum = 5');
is( $node->safe_psql('restored', "SELECT new_value FROM audit_history('cf.contrato', '5') LIMIT 1"),
	'3', 'restored: auditing goes on');
is( $node->safe_psql('restored', q{SELECT bool_and(ok) FROM consolidate_verify('cf', 'tmp_deuda')}),
	't', 'restored: consolidate_verify still agrees');

# ---- DROP EXTENSION never drops data
$node->safe_psql('restored', 'DROP EXTENSION aquacis CASCADE');
is($node->safe_psql('restored', 'SELECT count(*) > 50 FROM audit_log'), 't', 'the log outlives the extension');
is($node->safe_psql('restored', 'SELECT count(*) FROM cf.tmp_deuda'), '3', 'so does a consolidated table');
is($node->safe_psql('restored', 'SELECT count(*) FROM consolidate_rejected'), '1', '... and what it rejected');

# ---- one version everywhere
my $top = $ENV{PWD};
my ($control) = slurp_file('aquacis.control') =~ /^default_version = '(.*)'/m;
my ($control_postgis) = slurp_file('aquacis_postgis.control') =~ /^default_version = '(.*)'/m;
my $meta = slurp_file('META.json');
my ($release) = $meta =~ /^  "version": "(.*)"/m;
is($control_postgis, $control, 'both control files carry the same version');
like($release, qr/^\Q$control\E\.\d+$/, 'META.json: the release belongs to the interface');
for my $file ($meta =~ /"file": "(.*?)"/g)
{
	ok(-f $file, "META.json: $file is there");
	like($file, qr/--\Q$control\E\.sql$/, "META.json: $file makes version $control");
}
like(slurp_file('CHANGELOG.md'), qr/^## \Q$release\E/m, 'CHANGELOG.md has its section');
like(slurp_file('debian/changelog'), qr/^aquacis \(\Q$release\E-/, 'so has the Debian package');

$node->stop;
done_testing();
