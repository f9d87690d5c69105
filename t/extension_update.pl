# ALTER EXTENSION UPDATE, and that a released version stays what it was:
#   1. the scripts of released versions (scripts/released) are as released,
#   2. the library of this tree has every function that any script names,
#   3. after an update script the catalog is that of a fresh CREATE EXTENSION,
#      and a database in the middle of things carries on: proved on versions
#      made up here, with update scripts that forget one thing each,
#   4. the same for every update script of this tree,
#   5. what default privileges gave is taken back, what was granted by hand stays,
#   6. the library of this tree works with what older versions made.
use strict;
use warnings;
use lib 't/lib';

use Digest::SHA;
use File::Basename;
use File::Copy;
use Legacy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Servers;
use Test::More;

my @extensions = qw(aquacis aquacis_postgis);

# aquacis--1.0.sql: what it makes; aquacis--1.0--1.1.sql: from what, to what
sub scripts
{
	my ($dir) = @_;
	return map { basename($_) =~ /^(\w+?)--(?:(.+)--)?(.+)\.sql$/ ? { file => basename($_), extension => $1, from => $2, to => $3 } : () }
	  sort glob("$dir/aquacis--*.sql $dir/aquacis_postgis--*.sql");
}

sub default_version
{
	my ($dir) = @_;
	return slurp_file("$dir/aquacis.control") =~ /^default_version = '(.*)'/m ? $1 : die 'no default_version';
}

# The scripts that make a version, in order: a whole one, then update scripts.
sub chain
{
	my ($dir, $extension, $version) = @_;
	return "$extension--$version.sql" if -f "$dir/$extension--$version.sql";
	for (grep { $_->{extension} eq $extension && defined $_->{from} && $_->{to} eq $version } scripts($dir))
	{
		my @before = chain($dir, $extension, $_->{from});
		return (@before, $_->{file}) if @before;
	}
	return;
}

# ---- 1. what is released is frozen ------------------------------------------------
sub released
{
	my ($dir) = @_;
	return map { /^([0-9a-f]{64}) [ *](\S+)$/ ? ($2 => $1) : die "scripts/released: $_" } grep { !/^#/ } split /\n/, slurp_file("$dir/scripts/released");
}

sub faults
{
	my ($dir) = @_;
	my %released = released($dir);
	my $default = default_version($dir);
	my $is_out = grep { $_->{to} eq $default && $released{ $_->{file} } } scripts($dir);
	my @faults;
	for (sort keys %released)
	{
		push @faults, "$_ was released and is gone" and next unless -f "$dir/$_";
		push @faults, "$_ is not what was released" if Digest::SHA->new(256)->addfile("$dir/$_")->hexdigest ne $released{$_};
	}
	for (grep { !$released{ $_->{file} } } scripts($dir))
	{
		push @faults, "$_->{file} is not of version $default, nor was it released" if $_->{to} ne $default;
		push @faults, "$_->{file} has come after the release of $default" if $_->{to} eq $default && $is_out;
	}
	for my $extension (@extensions)
	{
		push @faults, "no scripts make $extension $default" unless chain($dir, $extension, $default);
	}
	return join "\n", @faults;
}

my $default = default_version('.');
my %released = released('.');
my @versions = map { $_->{to} } grep { $released{ $_->{file} } && $_->{extension} eq 'aquacis' } scripts('.');
is(faults('.'), '', 'the scripts of released versions are as released' . (@versions ? " (@versions)" : ''));
SKIP:
{
	skip "version $default of the SQL interface is not released yet: its scripts may change", 1 unless grep { $_ eq $default } @versions;
	pass("version $default is released: a change of the SQL interface is a new version");
}

# The check itself, on a tree that has released 1.0 and works on 1.1.
sub tree
{
	my ($change) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir('tree');
	mkdir "$dir/scripts";
	my %text = map { ("$_--1.0.sql" => "-- $_ 1.0\n", "$_--1.0--1.1.sql" => "-- $_ 1.0 to 1.1\n") } @extensions;
	$text{'scripts/released'} = join '', map { Digest::SHA::sha256_hex($text{$_}) . "  $_\n" } grep { /^\w+--1\.0\.sql/ } sort keys %text;
	$text{'aquacis.control'} = "default_version = '1.1'\n";
	$change->(\%text);
	append_to_file("$dir/$_", $text{$_}) for grep { defined $text{$_} } keys %text;
	return faults($dir);
}
my $release = sub { my $t = shift; $t->{'scripts/released'} .= join '', map { Digest::SHA::sha256_hex($t->{$_}) . "  $_\n" } grep { /--1\.1\.sql$/ } sort keys %$t; };
is(tree(sub { }), '', 'a new version beside a released one');
is(tree($release), '', 'the new one is released, too');
is(tree(sub { $_[0]{'aquacis--1.0.sql'} .= ' ' }), 'aquacis--1.0.sql is not what was released', 'a released script that is changed is noticed');
is(tree(sub { $release->(@_); $_[0]{'aquacis_postgis--1.0--1.1.sql'} .= "\n" }), 'aquacis_postgis--1.0--1.1.sql is not what was released',
	'... and a released update script');
is(tree(sub { $_[0]{'aquacis--1.0.sql'} = undef }), qq{aquacis--1.0.sql was released and is gone\nno scripts make aquacis 1.1}, '... one that is gone');
is(tree(sub { $release->(@_); $_[0]{'aquacis--1.2--1.1.sql'} = '' }), 'aquacis--1.2--1.1.sql has come after the release of 1.1', '... one that comes late');
is(tree(sub { $_[0]{'aquacis--1.2.sql'} = '' }), 'aquacis--1.2.sql is not of version 1.1, nor was it released', '... one that nobody can have released');
is(tree(sub { $_[0]{'aquacis_postgis--1.0--1.1.sql'} = undef }), 'no scripts make aquacis_postgis 1.1', '... and that the new version is not whole');
is(tree(sub { $_[0]{'aquacis_postgis--1.1.sql'} = delete $_[0]{'aquacis_postgis--1.0--1.1.sql'} }), '', 'a version may have a whole script of its own');

# ---- a private copy of the installation, where scripts can be put ---------------------
my $server = private_copy(this_server());
chomp(my $folder = `"$server->{bin}/pg_config" --sharedir`);
$folder .= '/extension';
for (scripts('.'))
{
	ok(-f "$folder/$_->{file}" && slurp_file("$folder/$_->{file}") eq slurp_file($_->{file}), "$_->{file} is installed");
}
my $node = node_of($server, 'main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\njit = off\nautovacuum = off\n");
$node->start;
my $postgis = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'});

# ---- 2. old SQL, new library ------------------------------------------------------
# The server looks for the function in the library when it is told of one.
$node->safe_psql('postgres', 'CREATE DATABASE symbols');
sub lacking
{
	my ($symbol) = @_;
	my ($ret, $out, $err) = $node->psql('symbols', "CREATE FUNCTION probe() RETURNS int LANGUAGE c AS '\$libdir/aquacis', '$symbol'; DROP FUNCTION probe()");
	return $ret == 0 ? () : ($symbol);
}
my $named = 0;
for my $script (scripts('.'))
{
	my $text = slurp_file($script->{file});
	$text =~ s/\bIS\s+'(?:[^']|'')*';//g;    # comments on objects
	my @symbols;
	while ($text =~ /CREATE (?:FUNCTION|PROCEDURE) \@extschema\@\.(\w+)((?:[^;]|;(?!\n))*?)'MODULE_PATHNAME'(?:, *'(\w+)')?/g)
	{
		push @symbols, $3 // $1;
	}
	is(scalar(@symbols), scalar(() = $text =~ /'MODULE_PATHNAME'/g), "$script->{file}: " . @symbols . ' functions of the library');
	is(join(' ', map { lacking($_) } @symbols), '', "$script->{file}: the library of this tree has them all");
	$named += @symbols;
}
cmp_ok($named, '>', 30, 'there are functions to look for');
is(join(' ', lacking('no_such_function')), 'no_such_function', '... and one that is not there is noticed');

# ---- 3. what an extension is, as text ---------------------------------------------
# Everything of every member, and of what hangs on it, by name: definition,
# owner, rights (also those that pg_dump takes for granted), comments, rows,
# dependencies.  Positions count, attribute numbers do not: a column that was
# dropped on the way leaves a hole.  pg_attver is PostgreSQL's own (15.20).
sub catalog
{
	my ($db, $extension) = @_;
	my $member = qq{member AS (SELECT d.classid, d.objid FROM pg_depend d, pg_extension e
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e' AND extname = '$extension')};
	my $relation = qq{relation AS (SELECT c.* FROM pg_class c, member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)};
	my $text = $node->safe_psql($db, qq{
		WITH RECURSIVE $member, $relation,
		part AS (SELECT classid, objid FROM member
			UNION SELECT d.classid, d.objid FROM pg_depend d JOIN part p ON d.refclassid = p.classid AND d.refobjid = p.objid AND d.deptype IN ('a', 'i')),
		line AS (
			SELECT format('extension: schema %s, owner %s, relocatable %s', extnamespace::regnamespace, extowner::regrole, extrelocatable) FROM pg_extension WHERE extname = '$extension'
			UNION ALL
			SELECT format('dumped: %s %s', unnest(extconfig)::regclass, unnest(extcondition)) FROM pg_extension WHERE extname = '$extension'
			UNION ALL
			SELECT format('%s: %s', pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::text::name)) FROM part
			WHERE pg_describe_object(classid, objid, 0) !~ 'pg_toast'
			UNION ALL
			SELECT format('%s: owner %s, rights %s, %s', oid::regprocedure, proowner::regrole, proacl, pg_get_functiondef(oid))
			FROM pg_proc, member WHERE classid = 'pg_proc'::regclass AND objid = oid
			UNION ALL
			SELECT format('%s: %s', oid::regclass, concat_ws(' ', relkind, relowner::regrole, relacl, relpersistence, reloptions, relrowsecurity, relforcerowsecurity, relreplident)) FROM relation
			UNION ALL
			SELECT format('%s column %s: %s', r.oid::regclass, rank() OVER (PARTITION BY r.oid ORDER BY attnum),
				concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage, attcompression, attacl,
					(SELECT string_agg(o, ',') FROM unnest(attoptions) o WHERE o !~ '^pg_attver='),
					CASE WHEN attcollation <> 0 THEN attcollation::regcollation END, pg_get_expr(adbin, adrelid), col_description(r.oid, attnum)))
			FROM relation r JOIN pg_attribute ON attrelid = r.oid LEFT JOIN pg_attrdef ON adrelid = r.oid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped
			UNION ALL
			SELECT pg_get_indexdef(indexrelid) FROM pg_index, relation r WHERE indrelid = r.oid
			UNION ALL
			SELECT format('%s constraint %s: %s', r.oid::regclass, conname, pg_get_constraintdef(k.oid)) FROM pg_constraint k, relation r WHERE conrelid = r.oid
			UNION ALL
			SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t, relation r WHERE tgrelid = r.oid AND NOT tgisinternal
			UNION ALL
			SELECT pg_get_ruledef(w.oid) FROM pg_rewrite w, relation r WHERE ev_class = r.oid
			UNION ALL
			SELECT format('%s: policy %s', r.oid::regclass, polname) FROM pg_policy, relation r WHERE polrelid = r.oid
			UNION ALL
			SELECT format('%s: first rights %s %s', pg_describe_object(i.classoid, i.objoid, i.objsubid), privtype, initprivs) FROM pg_init_privs i, member m
			WHERE m.classid = i.classoid AND m.objid = i.objoid
			UNION ALL
			SELECT format('%s depends (%s) on %s', pg_describe_object(d.classid, d.objid, d.objsubid), d.deptype, pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid))
			FROM pg_depend d JOIN part p USING (classid, objid)
			WHERE pg_describe_object(d.classid, d.objid, d.objsubid) || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) !~ 'pg_toast'
			UNION ALL
			SELECT format('%s depends (%s) on %s', extname, d.deptype, pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid))
			FROM pg_depend d JOIN pg_extension e ON d.classid = 'pg_extension'::regclass AND d.objid = e.oid WHERE extname = '$extension'
		)
		SELECT regexp_replace(format, '\\s+', ' ', 'g') COLLATE "C" FROM line ORDER BY 1});
	# a kind of object that the lines above say too little of
	my $unknown = $node->safe_psql($db, qq{
		WITH $member SELECT pg_describe_object(classid, objid, 0) FROM member
		WHERE NOT (classid = 'pg_proc'::regclass AND (SELECT prokind FROM pg_proc WHERE oid = objid) IN ('f', 'p')
			OR classid = 'pg_class'::regclass AND (SELECT relkind FROM pg_class WHERE oid = objid) IN ('r', 'v', 'S')
			OR classid IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass)
			OR classid = 'pg_type'::regclass AND (SELECT typrelid <> 0 OR typcategory = 'A' FROM pg_type WHERE oid = objid))});
	die "catalog() knows nothing of $unknown" if $unknown;
	return $text;
}

sub rows_of_members
{
	my ($db, $extension) = @_;
	return $node->safe_psql($db, qq{
		SELECT format('SELECT %L, t.* FROM %s t ORDER BY t::text', objid::regclass, objid::regclass)
		FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND extname = '$extension' JOIN pg_class c ON c.oid = objid AND relkind = 'r' AND relname <> 'audit_feed' -- a number by chance
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid = 'pg_class'::regclass ORDER BY objid::regclass::text \\gexec});
}

sub created
{
	my ($db, $extension, $version) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE SCHEMA aq');
	$node->safe_psql($db, 'CREATE EXTENSION postgis; CREATE EXTENSION aquacis SCHEMA aq') if $extension eq 'aquacis_postgis';
	$node->safe_psql($db, "CREATE EXTENSION $extension SCHEMA aq VERSION '$version'");
}

# Columns of tables and views keep their names, and what is in them.  Asked by
# the columns of the time before the update: later ones may come on top.
my $questions = q{
	SELECT format('SELECT %L, * FROM (SELECT %s FROM %s) t ORDER BY t::text', c.oid::regclass,
		(SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped), c.oid::regclass)
	FROM pg_class c WHERE relnamespace = 'aq'::regnamespace AND relkind IN ('r', 'p', 'v') AND relname !~ '^audit_log_|^probe' ORDER BY relname};
sub kept
{
	my ($db, @questions) = @_;
	return join "\n", (map { $node->safe_psql($db, "SET timezone = 'UTC'; $_") } @questions), family_rows($node, $db), family_shape($node, $db),
	  $node->safe_psql($db, q{SELECT * FROM aq.audit_history('cf.contrato', '10')}),
	  $node->safe_psql($db, q{SELECT tgrelid::regclass, tgname, tgenabled, encode(tgargs, 'escape') FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2}),
	  $node->safe_psql($db, q{SELECT evtname, evtevent, evtenabled, evtfoid::regproc FROM pg_event_trigger});
}

# updated FROM TO: an unused and a used database, against a fresh one
my $databases = 0;
sub updated
{
	my ($extension, $from, $to) = @_;
	my $how = "$extension from $from to $to";
	my ($fresh, $unused, $used) = map { $_ . ++$databases } 'fresh', 'unused', 'used';
	created($fresh, $extension, $to);
	created($unused, $extension, $from);
	$node->safe_psql($unused, "ALTER EXTENSION $extension UPDATE TO '$to'");
	my ($is, $should) = map { catalog($_, $extension) } $unused, $fresh;
	ok($is eq $should, "$how: the catalog of a fresh installation") or diag(differing($is, $should));
	is(rows_of_members($unused, $extension), rows_of_members($fresh, $extension), "$how: the rows of a fresh installation");
	return if $extension ne 'aquacis';

	$node->safe_psql('postgres', qq{CREATE DATABASE $used; ALTER DATABASE $used SET app."current_user" = 'batch'});
	fill_legacy($node, $used, version => $from);
	my @questions = split /\n/, $node->safe_psql($used, $questions);
	my ($was, $rows) = (kept($used, @questions), family_rows($node, $used));
	is($node->safe_psql($used, q{SELECT extversion FROM pg_extension WHERE extname = 'aquacis'}), $from, "$how: $from works with the library of this tree");
	$node->safe_psql($used, "ALTER EXTENSION aquacis UPDATE TO '$to'");
	is($node->safe_psql($used, q{SELECT extversion FROM pg_extension WHERE extname = 'aquacis'}), $to, "$how: done in the middle of things");
	my $now = kept($used, @questions);
	ok($now eq $was, "$how: what was there is there") or diag(differing($now, $was));
	($is, $should) = map { catalog($_, 'aquacis') } $used, $fresh;
	ok($is eq $should, "$how: the same catalog in use") or diag(differing($is, $should));
	carries_on($node, $used, $how, 'batch', $rows);
}

# ---- versions made up: the script of this tree, and something on top -------------------
my $before = q{
	CREATE FUNCTION @extschema@.probe(a text) RETURNS text LANGUAGE sql STABLE RETURN a;
	COMMENT ON FUNCTION @extschema@.probe(text) IS 'before';
	CREATE FUNCTION @extschema@.probe_old() RETURNS int LANGUAGE sql RETURN 1;
	CREATE TABLE @extschema@.probe (id int PRIMARY KEY, a text);
	INSERT INTO @extschema@.probe VALUES (1, 'before');
	CREATE VIEW @extschema@.probe_view AS SELECT id FROM @extschema@.probe;};
my $after = q{
	CREATE FUNCTION @extschema@.probe(a text) RETURNS text LANGUAGE sql IMMUTABLE COST 7 SET search_path = pg_catalog RETURN upper(a);
	COMMENT ON FUNCTION @extschema@.probe(text) IS 'after';
	REVOKE EXECUTE ON FUNCTION @extschema@.probe(text) FROM PUBLIC;
	CREATE FUNCTION @extschema@.probe_new(text) RETURNS text LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'legacy_text';
	CREATE TABLE @extschema@.probe (id int PRIMARY KEY, a text DEFAULT 'x' CHECK (a <> ''), b int NOT NULL DEFAULT 1);
	COMMENT ON COLUMN @extschema@.probe.a IS 'a';
	CREATE INDEX probe_a ON @extschema@.probe (a);
	GRANT SELECT (a) ON @extschema@.probe TO PUBLIC;
	INSERT INTO @extschema@.probe VALUES (1, 'after');
	CREATE VIEW @extschema@.probe_view AS SELECT id, a FROM @extschema@.probe;
	GRANT SELECT ON @extschema@.probe_view TO PUBLIC;
	SELECT pg_catalog.pg_extension_config_dump('@extschema@.probe', 'WHERE id > 1');};
# what the update has to do, and where its absence shows
my @steps = (
	[ 'a body', 'CREATE OR REPLACE FUNCTION @extschema@.probe(a text) RETURNS text LANGUAGE sql STABLE RETURN upper(a)', qr/probe\(text\).*upper/ ],
	[ 'volatility', 'ALTER FUNCTION @extschema@.probe(text) IMMUTABLE', qr/IMMUTABLE/ ],
	[ 'cost', 'ALTER FUNCTION @extschema@.probe(text) COST 7', qr/COST 7/ ],
	[ 'a setting', 'ALTER FUNCTION @extschema@.probe(text) SET search_path = pg_catalog', qr/SET search_path/ ],
	[ 'a comment', q{COMMENT ON FUNCTION @extschema@.probe(text) IS 'after'}, qr/-function aq\.probe\(text\): after/ ],
	[ 'a revoked right', 'REVOKE EXECUTE ON FUNCTION @extschema@.probe(text) FROM PUBLIC', qr/probe\(text\): owner.*rights/ ],
	[ 'a dropped function', 'DROP FUNCTION @extschema@.probe_old()', qr/\+function aq\.probe_old/ ],
	[ 'a new function', q{CREATE FUNCTION @extschema@.probe_new(text) RETURNS text LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'legacy_text'}, qr/-function aq\.probe_new/ ],
	[ 'a new column', 'ALTER TABLE @extschema@.probe ADD COLUMN b int NOT NULL DEFAULT 1', qr/-aq\.probe column 3: b integer t/ ],
	[ 'a default', q{ALTER TABLE @extschema@.probe ALTER COLUMN a SET DEFAULT 'x'}, qr/default value for column a of table aq\.probe/ ],
	[ 'a check', q{ALTER TABLE @extschema@.probe ADD CHECK (a <> '')}, qr/constraint probe_a_check: CHECK/ ],
	[ 'the comment of a column', q{COMMENT ON COLUMN @extschema@.probe.a IS 'a'}, qr/-aq\.probe column 2: .* a$/m ],
	[ 'an index', 'CREATE INDEX probe_a ON @extschema@.probe (a)', qr/-CREATE INDEX probe_a/ ],
	[ 'the right to a column', 'GRANT SELECT (a) ON @extschema@.probe TO PUBLIC', qr/column a of table aq\.probe: first rights/ ],
	[ 'rows', q{UPDATE @extschema@.probe SET a = 'after'}, qr/-aq\.probe\|1\|after/ ],
	[ 'a view', 'DROP VIEW @extschema@.probe_view; CREATE VIEW @extschema@.probe_view AS SELECT id, a FROM @extschema@.probe', qr/-aq\.probe_view column 2/ ],
	[ 'the right to a view', 'GRANT SELECT ON @extschema@.probe_view TO PUBLIC', qr/aq\.probe_view: v/ ],
	[ 'what is dumped', q{SELECT pg_catalog.pg_extension_config_dump('@extschema@.probe', 'WHERE id > 1')}, qr/-dumped: aq\.probe WHERE id > 1/ ]);
my $base = join '', map { slurp_file($_) } chain('.', 'aquacis', $default);
my ($from, $to) = ("$default.1test", "$default.2test");
append_to_file("$folder/aquacis--$from.sql", "$base$before");
append_to_file("$folder/aquacis--$to.sql", "$base$after");
append_to_file("$folder/aquacis--$from--$to.sql", join '', map { "$_->[1];\n" } @steps);
updated('aquacis', $from, $to);

created('before', 'aquacis', $from);
created('after', 'aquacis', $to);
my $should = catalog('after', 'aquacis') . "\n" . rows_of_members('after', 'aquacis');
sub noticed
{
	my ($what, $script, $shows) = @_;
	my $db = 'wrong' . ++$databases;
	append_to_file("$folder/aquacis--$from--$default.$db.sql", $script);
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE before");
	$node->safe_psql($db, "ALTER EXTENSION aquacis UPDATE TO '$default.$db'");
	my $is = catalog($db, 'aquacis') . "\n" . rows_of_members($db, 'aquacis');
	like(differing($is, $should), $shows, "noticed: an update script $what");
	$node->safe_psql('postgres', "DROP DATABASE $db");
}
for my $step (@steps)
{
	noticed("that forgets $step->[0]", join('', map { $_ == $step ? '' : "$_->[1];\n" } @steps), $step->[2]);
}
noticed('that leaves something over', join('', map { "$_->[1];\n" } @steps) . 'CREATE FUNCTION @extschema@.probe_over() RETURNS int LANGUAGE sql RETURN 1;', qr/\+function aq\.probe_over/);
noticed('that lets a function go', join('', map { "$_->[1];\n" } @steps) . 'ALTER EXTENSION aquacis DROP FUNCTION @extschema@.probe_new(text);', qr/-function aq\.probe_new/);

# ---- 4. the update scripts of this tree: each one, and from every release to this version ----
my %pair;
for (scripts('.'))
{
	$pair{"$_->{extension} $_->{from} $_->{to}"} = 1 if defined $_->{from};
	$pair{"$_->{extension} $_->{to} $default"} = 1 if $released{ $_->{file} } && $_->{to} ne $default;
}
for (sort keys %pair)
{
	my ($extension, $from, $to) = split / /;
	next if $extension eq 'aquacis_postgis' && !$postgis;
	my $path = $node->safe_psql('postgres', "SELECT path FROM pg_extension_update_paths('$extension') WHERE source = '$from' AND target = '$to'");
	isnt($path, '', "$extension: a way from $from to $to") or next;
	updated($extension, $from, $to);
}
note("no update script yet: $default is the first version") unless %pair;

# ---- 5. rights ----------------------------------------------------------------------
# Default privileges of the role that creates the extension, for everything and for its
# schema, and of another superuser, who updates it.
$node->safe_psql('postgres', 'CREATE ROLE app; CREATE ROLE lector; CREATE ROLE boss SUPERUSER; CREATE DATABASE rights');
$node->safe_psql('rights', q{
	CREATE SCHEMA aq; GRANT USAGE ON SCHEMA aq TO app, lector;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app WITH GRANT OPTION;
	ALTER DEFAULT PRIVILEGES IN SCHEMA aq GRANT SELECT, INSERT ON TABLES TO PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO app;
	ALTER DEFAULT PRIVILEGES FOR ROLE boss GRANT ALL ON TABLES TO lector;
	CREATE EXTENSION aquacis SCHEMA aq VERSION '1.0'});

# whoever has a right on a table or on a function that is not for everybody
sub rights
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT string_agg(line, ', ' ORDER BY line COLLATE "C") FROM (
			SELECT format('%s %s %s', coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC'), what, string_agg(privilege_type, ' ' ORDER BY privilege_type)) AS line
			FROM (SELECT relname AS what, relacl AS acl, relowner AS owner FROM pg_class WHERE relnamespace = 'aq'::regnamespace AND relkind IN ('r', 'v')
				UNION ALL SELECT proname, proacl, proowner FROM pg_proc
				WHERE pronamespace = 'aq'::regnamespace AND NOT has_function_privilege('nobody_at_all', oid, 'EXECUTE')) o, aclexplode(acl) a
			WHERE grantee <> owner GROUP BY grantee, what) line});
}
$node->safe_psql('postgres', 'CREATE ROLE nobody_at_all');
like(rights('rights'), qr/PUBLIC consolidate_run INSERT SELECT.*app consolidate EXECUTE.*app consolidate_source DELETE INSERT/, 'rights: 1.0 was open to whom default privileges favoured');
$node->safe_psql('rights', q{
	GRANT SELECT ON aq.consolidate_progress TO lector WITH GRANT OPTION;
	SET ROLE lector; GRANT SELECT ON aq.consolidate_progress TO app; RESET ROLE;
	GRANT SELECT ON aq.consolidate_run, aq.consolidate_source TO lector;
	SET ROLE app; GRANT INSERT ON aq.consolidate_source TO lector; RESET ROLE;
	GRANT EXECUTE ON FUNCTION aq.consolidate_plan(text, text) TO lector WITH GRANT OPTION;
	GRANT SELECT ON aq.audit_status TO lector;
	REVOKE EXECUTE ON FUNCTION aq.audit_tables() FROM PUBLIC; GRANT EXECUTE ON FUNCTION aq.audit_tables() TO lector;
	CREATE VIEW public.mine AS SELECT audited_table, months_left FROM aq.audit_status;
	ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM app;
	SET ROLE boss; ALTER EXTENSION aquacis UPDATE});
my $by_hand = join ', ', 'PUBLIC audit_detached SELECT', 'PUBLIC audit_feed SELECT', 'PUBLIC audit_split_state SELECT', 'PUBLIC audit_status SELECT', 'PUBLIC audit_table SELECT', 'PUBLIC history_definition SELECT', 'app audit_tables EXECUTE', 'app consolidate_progress SELECT',
  'lector audit_status SELECT', 'lector audit_tables EXECUTE', 'lector consolidate_plan EXECUTE', 'lector consolidate_progress SELECT',
  'lector consolidate_run SELECT', 'lector consolidate_source SELECT';
is(rights('rights'), $by_hand, 'rights: an update takes back what came by default, and leaves what was granted by hand');
is($node->safe_psql('rights', q{SET client_min_messages = error; SELECT aq.audit_install(months => 0); CREATE TABLE t (id int PRIMARY KEY); SELECT aq.audit_enable('t');
	SELECT audited_table FROM mine; SET ROLE lector; SELECT audited_table, events FROM aq.audit_status}), "\n\nt\nt|I,U,D,T", 'rights: a view that reads audit_status goes on, and the view has its new columns');
is($node->safe_psql('rights', q{SELECT has_function_privilege('app', 'aq.tariff_is_valid(jsonb)', 'EXECUTE'), count(*) FROM pg_proc WHERE proname ~ '^aquacis_' AND proname <> 'aquacis_version'}), 't|0',
	'rights: functions for everybody stay so, and nothing of the update is left');
$node->command_ok([ 'pg_dump', '-f', $node->basedir . '/rights.sql', '-d', $node->connstr('rights') ], 'rights: dump');
$node->safe_psql('postgres', 'CREATE DATABASE rights_restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/rights.sql', '-d', $node->connstr('rights_restored') ], 'rights: restore');
is(rights('rights_restored'), $by_hand, 'rights: a dump has what was granted by hand');

# ---- 6. new library, old SQL ----------------------------------------------------------
# A problem is recorded with the columns that the table has, and planned with those that
# the function declares.
$node->safe_psql('postgres', 'CREATE DATABASE old');
$node->safe_psql('old', q{
	CREATE SCHEMA aq; CREATE EXTENSION aquacis SCHEMA aq VERSION '1.0'; CREATE SCHEMA cf;
	CREATE TABLE cf.tmp_deuda_1 (importe numeric(18,2), numfacturas int, facsocemi int, faccnttnum int);
	CREATE VIEW cf.uno AS SELECT * FROM cf.tmp_deuda_1;
	CREATE TABLE cf.cobro (importe numeric, dinero numeric GENERATED ALWAYS AS (aq.legacy_money(importe)) STORED);
	CREATE VIEW cf.cobrado AS SELECT aq.legacy_money(importe) AS dinero FROM cf.cobro;
	INSERT INTO cf.cobro VALUES (1234567890.004999)});
my $plan = q{SELECT to_jsonb(p) - 'byte_size' FROM aq.consolidate_plan('cf', 'tmp_deuda') p};
my $problems = q{SELECT to_jsonb(p) - 'seen_at' FROM aq.consolidate_problem p};
my ($planned, $problem) = ('"row_count": null, "process_id": 1, "table_name": "tmp_deuda_1"', '"family": "tmp_deuda", "problem": "view cf.uno depends on it", "process_id": 1');
is($node->safe_psql('old', $plan), qq({"problem": "view cf.uno depends on it", $planned}), 'old SQL: a plan of 1.0');
$node->safe_psql('old', q{CALL aq.consolidate('cf', 'tmp_deuda')});
is($node->safe_psql('old', $problems), qq({$problem, "source_table": "tmp_deuda_1", "source_schema": "cf"}), 'old SQL: a problem of 1.0');
$node->safe_psql('old', 'ALTER EXTENSION aquacis UPDATE');
is($node->safe_psql('old', $problems), qq({$problem, "problem_code": null, "source_table": "tmp_deuda_1", "source_schema": "cf"}), 'updated: it is there');
is($node->safe_psql('old', q{SELECT problem, problem_code FROM aq.consolidate_plan('cf', 'tmp_deuda')}), 'view cf.uno depends on it|dependent', 'updated: the plan has its code');
$node->safe_psql('old', q{CALL aq.consolidate('cf', 'tmp_deuda')});
is($node->safe_psql('old', $problems), qq({$problem, "problem_code": "dependent", "source_table": "tmp_deuda_1", "source_schema": "cf"}), 'updated: and so has the next run');

# a view and a generated column keep the function that they were made with; a new call finds the exact one
$node->safe_psql('old', 'INSERT INTO cf.cobro VALUES (1234567890.004999)');
is($node->safe_psql('old', 'SELECT dinero, (SELECT count(*) FROM cf.cobro WHERE dinero = c.dinero) FROM cf.cobrado c LIMIT 1'), '1234567890.01|2', 'updated: legacy_money of numeric in a view and a generated column is that of 1.0');
is($node->safe_psql('old', 'SELECT aq.legacy_money(importe) FROM cf.cobro LIMIT 1'), '1234567890.00', 'updated: a new statement finds the exact one');
$node->command_ok([ 'pg_dump', '-f', $node->basedir . '/old.sql', '-n', 'cf', '-n', 'aq', '-d', $node->connstr('old') ], 'updated: dump');
like(slurp_file($node->basedir . '/old.sql'), qr/legacy_money\(\(importe\)::double precision\)/, 'updated: a dump says which');
$node->stop;
done_testing();
