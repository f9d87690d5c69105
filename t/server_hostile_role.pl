# Hostile surroundings: what a role without rights can put in the way of the
# extension, and of the DBA who calls it, gets nowhere.
#
#   1. every function gives the same under a search_path (and pg_temp) that is
#      full of impostors of everything in pg_catalog
#   2. what a role without rights tries is refused, by SQLSTATE
#   3. forged settings are stored as they are and break nothing
#   4. code of the owner of a table (triggers, CHECKs, defaults, generated
#      columns, expression indexes, domains, views) never runs as the DBA who
#      audits or consolidates the table
#   5. what lies in the extension's schema before CREATE EXTENSION is neither
#      adopted nor called
#   6. names that want to be SQL stay names
#
# The trespasser's functions write to the server's log who they run as, so a
# rollback hides nothing.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nlog_min_error_statement = panic\ntimezone = 'UTC'\n");
$node->start;

# psql as somebody; returns (exit status, stdout, stderr) with SQLSTATEs.
sub as
{
	my ($user, $db, $sql) = @_;
	return $node->psql($db, "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$sql",
		extra_params => [ '-U', $user ], on_error_stop => 1);
}

sub refused
{
	my ($user, $db, $sql, $state, $what) = @_;
	my ($ret, $out, $err) = as($user, $db, $sql);
	like($err, qr/^psql:\S+ ERROR:  $state:/m, "refused: $what");
}

sub must
{
	my ($user, $db, $sql) = @_;
	my ($ret, $out, $err) = as($user, $db, $sql);
	die "as $user: $err\n$sql" if $ret;
	return $out;
}

# Which of the trespasser's functions ran since a place in the log, and as whom.
my $log_place = 0;
sub witnesses
{
	my $log = slurp_file($node->logfile, $log_place);
	$log_place = -s $node->logfile;
	my %seen;
	$seen{"$1 as $2"}++ while $log =~ /witness: (.*?) ran as (\w+)/g;
	return join(', ', sort keys %seen);
}

$node->safe_psql('postgres', q{
	CREATE ROLE mallory LOGIN;		-- owns tables of her own, has no rights elsewhere
	CREATE ROLE app LOGIN;			-- writes audited tables
	CREATE ROLE keeper LOGIN;		-- owns a log
	CREATE DATABASE base;});

my $deuda = 'importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer';
$node->safe_psql('base', qq{
	CREATE SCHEMA aq;
	CREATE EXTENSION aquacis SCHEMA aq;
	GRANT USAGE ON SCHEMA aq TO PUBLIC;
	CREATE SCHEMA cf;
	GRANT USAGE ON SCHEMA cf TO PUBLIC;
	CREATE TYPE cf.estado AS ENUM ('alta', 'baja');
	CREATE DOMAIN cf.codigo AS text CHECK (length(VALUE) < 10);
	CREATE TABLE cf.contrato (cnttnum numeric(10,0) PRIMARY KEY, estado cf.estado, codigo cf.codigo,
		importe numeric(18,2), alta date, hora timestamptz, obs text, nota text, clave text, datos jsonb, etiquetas text[]);
	CREATE TABLE cf.sector (zona text, sub int, nombre varchar(20), PRIMARY KEY (zona, sub));
	GRANT SELECT, INSERT, UPDATE, DELETE ON cf.contrato, cf.sector TO app;
	CREATE TABLE cf.tmp_deuda_1 ($deuda);
	CREATE TABLE cf.tmp_deuda_2 (LIKE cf.tmp_deuda_1);
	CREATE TABLE cf.tmp_deuda_3 (LIKE cf.tmp_deuda_1);
	INSERT INTO cf.tmp_deuda_1 SELECT g, 1, 1, g FROM generate_series(1, 100) g;
	INSERT INTO cf.tmp_deuda_2 VALUES (1, 1, 1, 1), (2, 1, 1, 1), (3, 1, 1, NULL);
	CREATE TABLE cf.tmpbb_9 (bbfbleid numeric(10), bbsbid numeric(10), bbcnttnum numeric(10), bbaplicacion numeric(5),
		bbfecini date, bbfecfin date, bbvardel numeric(5), bbexpdid numeric(5), bbcptodel numeric(5), bbtariddel numeric(5),
		bbctponew numeric(5), bbtaridnew numeric(5), bbfecfinbonif date, bbfecinitar date);
	INSERT INTO cf.tmpbb_9 (bbcnttnum, bbfecini) VALUES (1, '2024-01-01'), (2, NULL);
	CREATE TABLE cf.oficina (ofiid int PRIMARY KEY, ofinombre text, ofihsthora timestamp);
	CREATE TABLE cf.hisoficina (hofiid int, hofinombre text, hofihsthora timestamp);
	INSERT INTO cf.oficina SELECT g, 'dos', '2022-01-01' FROM generate_series(1, 10) g;
	INSERT INTO cf.hisoficina SELECT g, 'uno', '2021-01-01' FROM generate_series(1, 10) g;
	CREATE TABLE cf.mia_5 (k text PRIMARY KEY, v jsonb, d date DEFAULT now(), n text CHECK (n <> 'x'));
	CREATE INDEX ON cf.mia_5 (lower(n));
	INSERT INTO cf.mia_5 VALUES ('a', '{"x": 1}', '2024-02-29', 'uno'), ('b', NULL, NULL, NULL);
	COMMENT ON TABLE cf.mia_5 IS 'mine';});

# ---- 1. impostors of everything in pg_catalog ---------------------------------

$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE base") for qw(hostile temporary);
$node->safe_psql('hostile', q{
	CREATE SCHEMA evil;
	SET check_function_bodies = off;
	CREATE FUNCTION evil.boom() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'hijacked'; END$$;
	DO $do$
	DECLARE
		r record;
		n int := 0;
	BEGIN
		-- functions and aggregates: the same names and arguments
		FOR r IN SELECT proname, array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) t), ', ') AS args,
						CASE WHEN proretset THEN 'SETOF ' ELSE '' END || format_type(prorettype, NULL) AS result
				 FROM pg_proc p
				 WHERE pronamespace = 'pg_catalog'::regnamespace
				   AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (proargtypes) AND typtype = 'p' AND typname !~ '^any.')
				   AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = prorettype AND typtype = 'p' AND typname !~ '^any.|^(void|record)$')
		LOOP
			BEGIN
				EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION ''hijacked %%'', %L; END$f$',
							   r.proname, r.args, r.result, r.proname);
				n := n + 1;
			EXCEPTION WHEN OTHERS THEN
				NULL;
			END;
		END LOOP;
		RAISE NOTICE '% functions', n;
		n := 0;
		FOR r IN SELECT oprname, format_type(NULLIF(oprleft, 0), NULL) AS l, format_type(oprright, NULL) AS r,
						format_type(oprresult, NULL) AS result, oid
				 FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace
		LOOP
			BEGIN
				EXECUTE format('CREATE FUNCTION evil.op_%s(%s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION ''hijacked operator %%'', %L; END$f$',
							   r.oid, concat_ws(', ', r.l, r.r), r.result, r.oprname);
				EXECUTE format('CREATE OPERATOR evil.%s (%s RIGHTARG = %s, FUNCTION = evil.op_%s)',
							   r.oprname, 'LEFTARG = ' || r.l || ',', r.r, r.oid);
				n := n + 1;
			EXCEPTION WHEN OTHERS THEN
				NULL;
			END;
		END LOOP;
		RAISE NOTICE '% operators', n;
		-- relations: the catalogs and our own
		FOR r IN SELECT relname FROM pg_class WHERE relkind IN ('r', 'v')
				 AND relnamespace IN ('pg_catalog'::regnamespace, 'aq'::regnamespace)
				 UNION ALL VALUES ('audit_log'), ('consolidate_rejected'), ('tmp_deuda'), ('tmpbb'), ('contrato')
		LOOP
			EXECUTE format('CREATE VIEW evil.%I AS SELECT evil.boom() AS boom', r.relname);
		END LOOP;
		-- types, last
		FOR r IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname !~ '^_'
		LOOP
			EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.int4 CHECK (evil.boom() > 0)', r.typname);
		END LOOP;
	END$do$;});
cmp_ok($node->safe_psql('hostile', q{SELECT count(*) FROM pg_proc WHERE pronamespace = 'evil'::regnamespace}),
	'>', 2500, 'impostors of the functions and operators are in place');

# Types and relations in pg_temp come before pg_catalog without being asked for.
my $temporary = join "\n", (map { "CREATE TEMP TABLE $_ (boom pg_catalog.int4);" }
	qw(pg_class pg_namespace pg_attribute pg_type pg_proc pg_trigger pg_index pg_inherits pg_settings pg_locks
	   audit_log consolidate_family consolidate_source consolidate_run consolidate_problem consolidate_target
	   consolidate_rejected tmp_deuda tmpbb mia contrato)),
  (map { "CREATE DOMAIN pg_temp.$_ AS pg_catalog.int4 CHECK (VALUE OPERATOR(pg_catalog.<) 0);" }
	qw(text name jsonb json date timestamptz int8 int4 oid regclass bool tid point bpchar xid8));

my $tariff = q('{"blocks": [{"from_m3": 0, "to_m3": 10, "price_per_m3": 5.50, "fixed_charge": 45},
	{"from_m3": 10, "to_m3": null, "price_per_m3": "8.75"}],
	"additional_concepts": [{"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"}]}');
my $calls = qq{
	SELECT aq.tariff_charge($tariff, 25), aq.tariff_bill($tariff, 25), aq.tariff_errors('[]'), aq.tariff_is_valid($tariff);
	SELECT * FROM aq.tariff_blocks($tariff, 25);
	SELECT * FROM aq.tariff_lines($tariff, 25, iva_rate => 0.16, social_discount_pct => 30);
	SELECT aq.tariff_charge('[{"from_m3": 1}]', 1);
	SELECT aq.legacy_bool('S'), aq.legacy_bool_strict('x'), aq.legacy_money(12.345), aq.legacy_text('  a '),
		aq.legacy_gps_to_point('20.5', '-100.25'), aq.legacy_gps_error('91', '0'), aq.legacy_rfc('xaxx010101000'),
		aq.legacy_rfc_error('?'), aq.legacy_curp(''), aq.legacy_curp_error('?');
	SELECT aq.legacy_text_clean(E' Mu\\u00C3\\u00B1oz'), aq.legacy_text_error('?'), aq.legacy_bool_strict(1), aq.legacy_bool_strict_error(2), aq.legacy_bool_strict_error('?'),
		aq.legacy_phone('4421234567'), aq.legacy_phone('442', '1234567'), aq.legacy_phone_error('?'), aq.legacy_phone_error('442', '?'), aq.legacy_phone_extension('4421234567 x 1'),
		aq.legacy_email('a\@b.mx'), aq.legacy_email_error('?'), aq.legacy_postal_code('6000'), aq.legacy_postal_code(6000), aq.legacy_postal_code_error('?'), aq.legacy_postal_code_error(0),
		aq.legacy_date('31/01/2020'), aq.legacy_date_error('?'), aq.legacy_date(pg_catalog.make_date(1900, 1, 1)), aq.legacy_date_error(pg_catalog.make_date(1900, 1, 1)),
		aq.legacy_date(pg_catalog.make_timestamp(1900, 1, 1, 0, 0, 0)), aq.legacy_date_error(pg_catalog.make_timestamp(1900, 1, 1, 0, 0, 0));
	CREATE TABLE cf.perfil (prstelef pg_catalog.varchar(16));
	INSERT INTO cf.perfil VALUES ('4421234567'), ('1234567');
	SELECT * FROM aq.legacy_profile('cf.perfil');
	SELECT aq.legacy_rfc('ACE900319JT9', false), aq.legacy_money(12.345::pg_catalog.numeric), aq.legacy_money_error(1::pg_catalog.float8), aq.legacy_money_error(1::pg_catalog.numeric),
		aq.legacy_decimal(1.5, 3), aq.legacy_decimal_error(1.5);
	SELECT aq.legacy_bool_strict('?');
	CREATE TABLE cf.tarifa (t pg_catalog.jsonb CHECK (aq.tariff_is_valid(t)), c pg_catalog.text);
	CREATE INDEX tarifa_c ON cf.tarifa (aq.legacy_text(c));
	INSERT INTO cf.tarifa VALUES ($tariff, ' x ');
	INSERT INTO cf.tarifa VALUES ('[]', ' x ');
	SELECT aq.audit_install();
	SELECT aq.audit_enable('cf.contrato', exclude => '{nota}', redact => '{clave}');
	SELECT aq.audit_enable('cf.sector');
	BEGIN;
	SELECT aq.audit_set_user('lperez', session_id => 42, context => '{"modulo": "caja"}');
	INSERT INTO cf.contrato VALUES (1, 'alta', 'abc', 10.50, '2024-02-29', '2024-01-01 00:00Z', 'o', 'n', 'secreta', '{"a": [1, 2]}', '{a,b}');
	INSERT INTO cf.contrato VALUES (2, 'baja', NULL, 'NaN', 'infinity', NULL, NULL, NULL, NULL, NULL, NULL);
	COMMIT;
	UPDATE cf.contrato SET estado = 'baja', codigo = 'xyz', importe = 11, alta = NULL, clave = 'otra', nota = 'm', etiquetas = '{c}'
		WHERE cnttnum OPERATOR(pg_catalog.=) 1;
	INSERT INTO cf.sector VALUES ('norte', 1, 'uno');
	UPDATE cf.sector SET nombre = 'dos', sub = 2;
	DELETE FROM cf.sector;
	DELETE FROM cf.contrato WHERE cnttnum OPERATOR(pg_catalog.=) 2;
	TRUNCATE cf.contrato;
	SELECT table_schema, table_name, record_id, record_key, action, old_data, new_data, changed_fields, user_id, db_user, session_id,
		app_context FROM aq.audit_log ORDER BY xact_id, xact_seq;
	SELECT action, user_id, column_name, old_value, new_value FROM aq.audit_history('cf.contrato', '1');
	SELECT * FROM aq.audit_status;
	SELECT * FROM aq.audit_tables();
	CALL aq.audit_maintain(months_ahead => 2, keep => '5 years');
	SELECT audited_table, reason FROM aq.audit_unaudited('cf');
	INSERT INTO cf.sector VALUES ('sur', 3, 'tres'), ('este', 4, 'cuatro');
	CALL aq.audit_baseline('cf.sector');
	SELECT action, certain, version, unknown FROM aq.audit_versions(NULL::cf.contrato, '1');
	SELECT action, certain, version FROM aq.audit_versions(NULL::cf.sector, '{"zona": "sur", "sub": 3}');
	SELECT aq.audit_row_at(NULL::cf.contrato, '1', pg_catalog.now());
	SELECT column_name, new_value FROM aq.audit_history('cf.contrato', 1);
	SELECT action, version FROM aq.audit_versions(NULL::cf.contrato, 1);
	SELECT aq.audit_row_at(NULL::cf.contrato, 1, pg_catalog.now());
	SELECT aq.audit_set_user('lperez', 'x'), aq.audit_set_user('lperez', '7c9e6679-7425-40de-944b-e07fc1f90ae7'::pg_catalog.uuid),
		aq.audit_set_user('7c9e6679-7425-40de-944b-e07fc1f90ae7'::pg_catalog.uuid);
	SELECT library OPERATOR(pg_catalog.~) '^1' FROM aq.aquacis_version();
	SELECT * FROM aq.audit_rows_at(NULL::cf.sector, pg_catalog.clock_timestamp());
	SELECT audited_table, record_key, undo, column_name, value_now, value_then, conflict FROM aq.audit_undo_plan(audited_table => 'cf.sector');
	SELECT record_key, undo, done FROM aq.audit_undo(audited_table => 'cf.sector', on_conflict => 'skip');
	SELECT * FROM cf.sector;
	SELECT table_name, action, old_data, new_data FROM aq.audit_changes();
	SELECT aq.audit_position() IS NULL;
	CREATE TABLE cf.own_log (LIKE aq.audit_log);
	CALL aq.audit_adopt('cf.own_log');
	CREATE TABLE cf.past_log (LIKE aq.audit_log) PARTITION BY RANGE (changed_at);
	CREATE INDEX ON cf.past_log (table_name, record_id);
	CREATE TABLE cf.past_log_past PARTITION OF cf.past_log FOR VALUES FROM (MINVALUE) TO ('2020-03-01 00:00+00');
	INSERT INTO cf.past_log (changed_at, xact_id, xact_seq, table_schema, table_name, action, user_id) VALUES ('2020-02-15 00:00+00', '1', 1, 'cf', 'sector', 'T', 'x');
	CALL aq.audit_split('cf.past_log');
	SELECT aq.audit_continue('cf.contrato', 0);
	SELECT aq.audit_disable('cf.contrato');
	SELECT aq.consolidate_guard('cf', 'block');
	CREATE TABLE cf.tmp_deuda_77 (importe pg_catalog.int4);
	SELECT aq.consolidate_guard('cf', 'off');
	SELECT table_name, process_id, row_count, problem FROM aq.consolidate_plan('cf', 'tmp_deuda');
	CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep', batch => 2);
	CALL aq.consolidate('cf', 'tmpbb');
	SELECT aq.consolidate_define('mia', pattern => '^mia_(\\d+)\$', target => 'mia', key => '{k}');
	CALL aq.consolidate('cf', 'mia');
	SELECT * FROM aq.consolidate_verify('cf', 'tmp_deuda');
	SELECT * FROM aq.consolidate_verify('cf', 'mia');
	SELECT family, process_id, row_data, reason FROM aq.consolidate_rejected;
	SELECT family, state, tables_done, tables_skipped, rows_done, rows_rejected, problems FROM aq.consolidate_progress;
	SELECT proceso_id, importe, faccnttnum FROM cf.tmp_deuda ORDER BY proceso_id, faccnttnum LIMIT 3;
	SELECT proceso_id, bbcnttnum, bbfecini FROM cf.tmpbb;
	SELECT proceso_id, k, v, d, n FROM cf.mia;
	SELECT history_table, base, key, holds, columns, dependants, tier, reason, problem_code FROM aq.history_plan('cf');
	SELECT aq.history_define('cf.hisoficina', columns => '{"hofinombre": "ofinombre"}', key => '{hofiid}', changed_at => 'hofihsthora', holds => 'before', time_zone => 'UTC');
	SELECT history_table, base, columns, key, holds FROM aq.history_definition;
	SELECT history_table, defined, holds, sure, evidence, tier FROM aq.history_plan('cf', '{hisoficina}');
	SELECT aq.history_forget('cf.hisoficina');
	CALL aq.consolidate_restore('cf', 'tmp_deuda', 1);
	CALL aq.consolidate_restore('cf', 'tmp_deuda', 2);
	CALL aq.consolidate_restore('cf', 'mia', 5);
	SELECT * FROM cf.tmp_deuda_2;
	SELECT * FROM cf.mia_5;
};

# The session's output, errors included, without what differs from run to run.
sub session
{
	my ($db, $before) = @_;
	my ($ret, $out, $err) = $node->psql($db,
		"\\set ON_ERROR_STOP 0\n\\set VERBOSITY terse\n$before\n$calls", on_error_stop => 0);
	for ($out, $err)
	{
		s/psql:<stdin>:\d+: //g;
		s/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+\d\d\b/(time)/g;
		s/\b\d+ ms\b/(ms)/g;
	}
	return ($out, $err);
}
# The lines that two outputs do not share.
sub differing
{
	my ($got, $expected) = @_;
	my %count;
	$count{$_}++ for split /\n/, $got;
	$count{$_}-- for split /\n/, $expected;
	return join "\n", map { ($count{$_} > 0 ? '+' : '-') . $_ } grep { $count{$_} } sort keys %count;
}

my ($clean_out, $clean_err) = session('base', 'SET search_path = pg_catalog;');
for ([ 'hostile', 'SET search_path = evil, pg_catalog, aq;', 'under a hostile search_path' ],
	[ 'temporary', "SET search_path = pg_catalog; $temporary", 'with impostors in pg_temp' ])
{
	my ($db, $before, $where) = @$_;
	my ($out, $err) = session($db, $before);
	is(differing($out, $clean_out), '', "the same results $where");
	is(differing($err, $clean_err), '', "the same errors and notices $where");
	unlike("$out$err", qr/hijacked/, "no impostor was called $where");
}

# What the calls above did not reach would be trusted without a reason.
my $missed = $node->safe_psql('base', q{
	SELECT string_agg(DISTINCT proname, ' ') FROM pg_proc
	WHERE pronamespace = 'aq'::regnamespace AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
	  AND $calls$} . $calls . q{$calls$ !~ ('\maq\.' || proname || '\M')});
is($missed, '', 'every function of the extension took part');
# ... and what went wrong in the clean session proves nothing
my @unexpected = grep { !/^(NOTICE|INFO|DETAIL|HINT|WARNING)/
	  && !/invalid tariff|block|is not a flag|check constraint|legacy|must not be created/i } split /\n/, $clean_err;
is("@unexpected", '', 'the clean session met expected errors only');

# the traps work
my ($out, $err) = (as('postgres', 'hostile', q{SET search_path = evil, pg_catalog; SELECT lower('X')}))[1, 2];
like($err, qr/hijacked/, 'the trap works: an unqualified call falls into it');

($out, $err) = (as('postgres', 'temporary', "$temporary SELECT 1::text"))[1, 2];
isnt($err, '', '... and so does the one in pg_temp');

# ---- 2. what a role without rights tries ---------------------------------------

must('postgres', 'base', q{SELECT aq.audit_enable('cf.contrato', redact => '{clave}')});
must('app', 'base', q{INSERT INTO cf.contrato (cnttnum, importe) VALUES (100, 1); UPDATE cf.contrato SET importe = 2 WHERE cnttnum = 100});
is($node->safe_psql('base', q{SELECT count(*) FROM aq.audit_log WHERE record_id = 100 AND db_user = 'app'}), '2',
	'a role without any right on the log is audited');
# everybody may know what is audited; how many rows there are, who may count them
is(must('mallory', 'base', 'SELECT count(*), count(default_rows) FROM aq.audit_status'), '2|0', 'audit_status counts no rows for a role without rights');

my $partition = $node->safe_psql('base', q{SELECT tableoid::regclass FROM aq.audit_log WHERE record_id = 100 LIMIT 1});
for my $user (qw(mallory app))
{
	refused($user, 'base', $_->[0], '42501', "$user: $_->[1]") for (
		[ 'SELECT count(*) FROM aq.audit_log', 'read the log' ],
		[ "SELECT count(*) FROM $partition", 'read a partition of the log' ],
		[ "INSERT INTO aq.audit_log SELECT * FROM aq.audit_log", 'write the log' ],
		[ "INSERT INTO $partition (changed_at) VALUES (now())", 'write a partition of the log' ],
		[ "UPDATE aq.audit_log SET user_id = 'x'", 'change the log' ],
		[ 'DELETE FROM aq.audit_log', 'delete from the log' ],
		[ 'TRUNCATE aq.audit_log', 'truncate the log' ],
		[ 'BEGIN; LOCK TABLE aq.audit_log IN ACCESS EXCLUSIVE MODE', 'lock the log' ],
		[ 'DROP TABLE aq.audit_log', 'drop the log' ],
		[ "ALTER TABLE aq.audit_log DETACH PARTITION $partition", 'detach a partition' ],
		[ "ALTER TABLE aq.audit_log ATTACH PARTITION cf.sector FOR VALUES FROM ('2000-01-01') TO ('2001-01-01')", 'attach a partition' ],
		[ "CREATE RULE r AS ON INSERT TO aq.audit_log DO INSTEAD NOTHING", 'put a rule on the log' ],
		[ "CREATE TRIGGER t BEFORE INSERT ON aq.audit_log EXECUTE FUNCTION suppress_redundant_updates_trigger()", 'put a trigger on the log' ],
		[ "SELECT * FROM aq.audit_history('cf.contrato', '100')", 'read a history' ],
		[ 'ALTER TABLE cf.contrato DISABLE TRIGGER ALL', 'disable the audit of another\'s table' ],
		[ 'ALTER TABLE cf.contrato DISABLE TRIGGER USER', 'disable the user triggers of another\'s table' ],
		[ 'DROP TRIGGER "!audit_contrato" ON cf.contrato', 'drop the audit trigger' ],
		[ 'SET session_replication_role = replica', 'set session_replication_role' ],
		[ "SELECT aq.audit_disable('cf.contrato')", 'audit_disable' ],
		[ "SELECT aq.audit_enable('cf.sector')", 'audit_enable' ],
		[ 'SELECT aq.audit_install()', 'audit_install' ],
		[ 'CALL aq.audit_maintain()', 'audit_maintain' ],
		[ "CREATE TEMP TABLE mine (id int PRIMARY KEY);
		   CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION aq.fn_audit_trigger('id')", 'attach fn_audit_trigger to a table of her own' ],
		[ "SELECT * FROM aq.consolidate_plan('cf', 'tmp_deuda')", 'consolidate_plan' ],
		[ "SELECT * FROM aq.history_plan('cf')", 'history_plan' ],
		[ "SELECT aq.history_define('cf.contrato', holds => 'mixed')", 'history_define' ],
		[ "SELECT aq.history_forget('cf.contrato')", 'history_forget' ],
		[ "INSERT INTO aq.history_definition (history_table, defined_by) VALUES ('cf.contrato', 'me')", 'define a history table by hand' ],
		[ "CALL aq.consolidate('cf', 'tmp_deuda')", 'consolidate' ],
		[ "SELECT * FROM aq.consolidate_verify('cf', 'tmp_deuda')", 'consolidate_verify' ],
		[ "CALL aq.consolidate_restore('cf', 'tmp_deuda', 1)", 'consolidate_restore' ],
		[ "SELECT aq.consolidate_define('f', pattern => '^f_(\\d+)\$', target => 'f', key => '{k}')", 'consolidate_define' ],
		[ "SELECT aq.consolidate_guard('cf', 'off')", 'consolidate_guard' ],
		[ 'INSERT INTO aq.consolidate_family SELECT * FROM aq.consolidate_family', 'define a family by hand' ],
		[ 'UPDATE aq.consolidate_source SET checksum = NULL', 'change a recorded checksum' ],
		[ 'DELETE FROM aq.consolidate_run', 'delete a run' ],
		[ 'SELECT * FROM aq.consolidate_rejected', 'read rejected rows' ],
		[ 'CREATE FUNCTION pg_temp.f() RETURNS trigger LANGUAGE c AS \'$libdir/aquacis\', \'fn_audit_trigger\'', 'bind the C function under another name' ],
		[ 'DROP EXTENSION aquacis', 'drop the extension' ],
		[ 'ALTER EXTENSION aquacis UPDATE', 'update the extension' ],
		[ 'ALTER EXTENSION aquacis DROP FUNCTION aq.fn_audit_trigger()', 'take a function out of the extension' ],);
}
refused('mallory', 'base', 'SELECT aq.fn_audit_trigger()', '(0A000|42501)', 'calling the trigger function');
my $event_functions = $node->safe_psql('base', q{
	SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'aq'::regnamespace AND prorettype = 'event_trigger'::regtype});
refused('mallory', 'base', "SELECT $_", '(0A000|42501|39P03)', "calling $_") for split /\n/, $event_functions;

# EXECUTE alone gives no right on anybody's tables.
must('postgres', 'base', q{
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aq TO mallory;
	GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA aq TO mallory;});
my $rows_before = $node->safe_psql('base', 'SELECT count(*) FROM cf.tmp_deuda_1');
for (
	[ "SELECT aq.audit_disable('cf.contrato')", 'audit_disable of another\'s table' ],
	[ "SELECT aq.audit_enable('cf.sector')", 'audit_enable of another\'s table' ],
	[ "SELECT * FROM aq.audit_history('cf.contrato', '100')", 'a history' ],
	[ "CALL aq.audit_maintain(keep => '1 day')", 'audit_maintain' ],
	[ "CALL aq.consolidate('cf', 'tmp_deuda')", 'consolidate' ],
	[ "CALL aq.consolidate_restore('cf', 'tmp_deuda', 3)", 'consolidate_restore' ],
	[ "SELECT * FROM aq.consolidate_verify('cf', 'tmp_deuda')", 'consolidate_verify' ],
	[ "SELECT aq.consolidate_define('f', pattern => '^f_(\\d+)\$', target => 'f', key => '{k}')", 'consolidate_define' ],
	[ "SELECT aq.consolidate_guard('cf', 'block')", 'consolidate_guard' ])
{
	refused('mallory', 'base', $_->[0], '42501', "with EXECUTE alone: $_->[1]");
}
is($node->safe_psql('base', 'SELECT count(*) FROM cf.tmp_deuda_1'), $rows_before, 'nothing moved');
is( $node->safe_psql('base', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'cf.contrato'::regclass AND tgname ~ '^!audit' AND tgenabled = 'O'}),
	'2', 'the audit is still on');

must('postgres', 'base', q{
	REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA aq FROM mallory;
	REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA aq FROM mallory;});

# ---- 3. forged settings -----------------------------------------------------------

my %users = (
	'quotes' => q{o'brien"; DROP TABLE aq.audit_log; --},
	'backslashes' => q{\\'); x \\n},
	'control characters' => "a\x01\x02\t\r\nb\x7f",
	'a name not of this world' => "\x{202e}\x{1F4A7}\x{0000feff}x",
	'a role\'s name' => 'postgres',
	'a JSON object' => '{"user": "x"}',
	'blanks' => '   ',);
for my $what (sort keys %users)
{
	my $value = $users{$what};
	utf8::encode($value);
	must('app', 'base', "BEGIN; SELECT set_config('app.current_user', \$q\$$value\$q\$, true);
		UPDATE cf.contrato SET importe = importe + 1 WHERE cnttnum = 100; COMMIT");
	is( $node->safe_psql('base', "SELECT user_id = \$q\$$value\$q\$, db_user, session_user_name FROM aq.audit_log
			WHERE record_id = 100 ORDER BY xact_id DESC, xact_seq DESC LIMIT 1"),
		't|app|app', "user of $what: stored as it is, beside the role that it really was");
}
for my $setting (qw(app.current_user app.context app.session_id))
{
	for my $case ([ 'a megabyte', q{repeat('x', 1000000)} ],
		[ 'a megabyte that does not compress', q{(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 32000) g)} ],
		[ 'invalid JSON', q!'{"a": '! ], [ 'an array too deep', q{repeat('[', 100000)} ], [ 'a NUL in JSON', q{'{"a": "\\u0000"}'} ],
		[ 'a number too large', q{'99999999999999999999999'} ], [ 'hexadecimal', q{'0x10'} ], [ 'nothing', q{''} ])
	{
		my ($name, $sql) = @$case;
		my ($ret, $o, $e) = as('app', 'base', "BEGIN; SELECT length(set_config('$setting', $sql, true));
			UPDATE cf.contrato SET importe = importe + 1 WHERE cnttnum = 100; COMMIT; SELECT importe FROM cf.contrato WHERE cnttnum = 100");
		is($e, '', "$setting is $name: the write goes through");
	}
}
is( $node->safe_psql('base', q{SELECT count(*) FROM aq.audit_log WHERE record_id = 100 AND action = 'U' AND changed_fields ? 'importe'}),
	1 + keys(%users) + 24, '... and each of these writes is in the log');

# ---- 4. whose code runs as whom ------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE whose TEMPLATE base');
must('postgres', 'whose', q{
	DROP SCHEMA IF EXISTS mallory CASCADE;
	CREATE SCHEMA mallory AUTHORIZATION mallory;
	CREATE SCHEMA app AUTHORIZATION app;
	CREATE SCHEMA keeper AUTHORIZATION keeper;
	GRANT USAGE ON SCHEMA mallory, keeper, app TO PUBLIC;});
# IMMUTABLE, so that indexes and generated columns take it
must('mallory', 'whose', q{
	CREATE FUNCTION mallory.witness(what text, x anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS
	$$BEGIN RAISE LOG 'witness: % ran as %', what, current_user; RETURN x; END$$;
	CREATE FUNCTION mallory.witness_trigger() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE LOG 'witness: trigger on % ran as %', TG_TABLE_NAME, current_user; RETURN NEW; END$$;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA mallory TO PUBLIC;
	CREATE DOMAIN mallory.dom AS int CHECK (mallory.witness('domain', VALUE) IS NOT NULL);
	CREATE TYPE mallory.state AS ENUM ('a', 'b', 'c');
	CREATE FUNCTION mallory.state_json(mallory.state) RETURNS json LANGUAGE plpgsql AS
	$$BEGIN RAISE LOG 'witness: cast ran as %', current_user; RETURN '{}'; END$$;
	CREATE CAST (mallory.state AS json) WITH FUNCTION mallory.state_json(mallory.state);});
is($node->safe_psql('whose', q{SELECT mallory.witness('control', 1)}) . ' ' . witnesses(), '1 control as postgres',
	'the witness reports');
must('postgres', 'whose', q{SELECT aq.consolidate_define('libre', pattern => '^libre_(\d+)$', target => 'libre', key => '{k}')});

my $cols = 'proceso_id bigint NOT NULL, importe numeric(18,2), numfacturas integer, facsocemi integer, faccnttnum integer NOT NULL';
my $plain = "CREATE TABLE S.tmp_deuda ($cols, created_at timestamptz DEFAULT now());";
my @targets = (
	[ 'BEFORE trigger', "$plain CREATE TRIGGER t BEFORE INSERT ON S.tmp_deuda FOR EACH ROW EXECUTE FUNCTION mallory.witness_trigger()" ],
	[ 'AFTER trigger', "$plain CREATE TRIGGER t AFTER INSERT ON S.tmp_deuda FOR EACH ROW EXECUTE FUNCTION mallory.witness_trigger()" ],
	[ 'statement trigger', "$plain CREATE TRIGGER t AFTER INSERT OR DELETE ON S.tmp_deuda FOR EACH STATEMENT EXECUTE FUNCTION mallory.witness_trigger()" ],
	[ 'CHECK', "CREATE TABLE S.tmp_deuda ($cols, created_at timestamptz, CHECK (mallory.witness('check', importe) > 0))" ],
	[ 'DEFAULT', "CREATE TABLE S.tmp_deuda ($cols, created_at timestamptz DEFAULT mallory.witness('default', now()))" ],
	[ 'generated column', "CREATE TABLE S.tmp_deuda ($cols, created_at timestamptz, g int GENERATED ALWAYS AS (mallory.witness('generated', 1)) STORED)" ],
	[ 'expression index', "$plain CREATE INDEX ON S.tmp_deuda (mallory.witness('index', importe))" ],
	[ 'partial index', "$plain CREATE INDEX ON S.tmp_deuda (importe) WHERE mallory.witness('predicate', importe) > 0" ],
	[ 'domain', 'CREATE TABLE S.tmp_deuda (proceso_id bigint NOT NULL, importe numeric(18,2), numfacturas mallory.dom, facsocemi integer, faccnttnum integer NOT NULL)' ],
	[ 'domain with a default', "CREATE TABLE S.tmp_deuda ($cols, d mallory.dom DEFAULT 1)" ],
	[ 'rule', "$plain CREATE RULE r AS ON INSERT TO S.tmp_deuda DO ALSO SELECT mallory.witness('rule', 1)" ],
	[ 'view', "CREATE TABLE S.real ($cols, created_at timestamptz); CREATE VIEW S.tmp_deuda AS SELECT proceso_id, mallory.witness('view', importe) AS importe,
		numfacturas, facsocemi, faccnttnum, created_at FROM S.real;
		CREATE FUNCTION S.w() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN RAISE LOG 'witness: instead ran as %', current_user;
			INSERT INTO S.real VALUES (NEW.proceso_id, NEW.importe, NEW.numfacturas, NEW.facsocemi, NEW.faccnttnum); RETURN NEW; END\$\$;
		CREATE TRIGGER t INSTEAD OF INSERT ON S.tmp_deuda FOR EACH ROW EXECUTE FUNCTION S.w();
		INSERT INTO S.real VALUES (99, 1, 1, 1, 1)" ],
	[ 'partition with a trigger', "CREATE TABLE S.tmp_deuda ($cols, created_at timestamptz) PARTITION BY LIST (proceso_id);
		CREATE TABLE S.p PARTITION OF S.tmp_deuda DEFAULT;
		CREATE TRIGGER t BEFORE INSERT ON S.p FOR EACH ROW EXECUTE FUNCTION mallory.witness_trigger()" ],
	[ 'partition key expression', "CREATE TABLE S.tmp_deuda ($cols, created_at timestamptz) PARTITION BY RANGE ((mallory.witness('partition key', importe)));
		CREATE TABLE S.p PARTITION OF S.tmp_deuda DEFAULT" ],
	[ 'row security', "$plain ALTER TABLE S.tmp_deuda ENABLE ROW LEVEL SECURITY; ALTER TABLE S.tmp_deuda FORCE ROW LEVEL SECURITY;
		CREATE POLICY p ON S.tmp_deuda USING (mallory.witness('policy', true))" ],
	[ 'extended statistics', "$plain CREATE STATISTICS S.st ON (mallory.witness('statistics', importe)), faccnttnum FROM S.tmp_deuda" ],
	[ 'parent with an inheritance child', "$plain CREATE TABLE S.child (CHECK (mallory.witness('child', 1) = 1)) INHERITS (S.tmp_deuda)" ],
	[ 'owned by nobody special, no code', $plain ],);

my @sources = (
	[ 'CHECK', "CREATE TABLE S.T ($deuda, CHECK (mallory.witness('check', importe) > 0))" ],
	[ 'NOT VALID CHECK', "CREATE TABLE S.T ($deuda); ALTER TABLE S.T ADD CHECK (mallory.witness('check', importe) > 0) NOT VALID" ],
	[ 'DEFAULT', "CREATE TABLE S.T (importe numeric(18,2) DEFAULT mallory.witness('default', 1), numfacturas integer, facsocemi integer, faccnttnum integer)" ],
	[ 'expression index', "CREATE TABLE S.T ($deuda); CREATE INDEX ON S.T (mallory.witness('index', importe))" ],
	[ 'partial unique index', "CREATE TABLE S.T ($deuda); CREATE UNIQUE INDEX ON S.T (faccnttnum) WHERE mallory.witness('predicate', importe) > 0" ],
	[ 'exclusion constraint', "CREATE TABLE S.T ($deuda, EXCLUDE USING btree ((mallory.witness('exclusion', faccnttnum)) WITH =))" ],
	[ 'generated column', "CREATE TABLE S.T (importe numeric(18,2), numfacturas integer, facsocemi integer GENERATED ALWAYS AS (mallory.witness('generated', 1)) STORED, faccnttnum integer)", 'importe, numfacturas, faccnttnum', '1, 1, 1' ],
	[ 'domain', 'CREATE TABLE S.T (importe numeric(18,2), numfacturas mallory.dom, facsocemi integer, faccnttnum integer)' ],
	[ 'trigger', "CREATE TABLE S.T ($deuda); CREATE TRIGGER t AFTER INSERT OR DELETE OR TRUNCATE ON S.T FOR EACH STATEMENT EXECUTE FUNCTION mallory.witness_trigger()" ],
	[ 'row security', "CREATE TABLE S.T ($deuda); ALTER TABLE S.T ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON S.T USING (mallory.witness('policy', true))" ],
	[ 'view', "CREATE VIEW S.T AS SELECT mallory.witness('view', 1)::numeric(18,2) AS importe, 1 AS numfacturas, 1 AS facsocemi, 1 AS faccnttnum", '' ],
	[ 'materialized view', "CREATE MATERIALIZED VIEW S.T AS SELECT mallory.witness('matview', 1)::numeric(18,2) AS importe, 1 AS numfacturas, 1 AS facsocemi, 1 AS faccnttnum", '' ],
	[ 'extended statistics', "CREATE TABLE S.T ($deuda); CREATE STATISTICS S.st ON (mallory.witness('statistics', importe)), faccnttnum FROM S.T" ],
	[ 'partitions', "CREATE TABLE S.T ($deuda, CHECK (mallory.witness('check', importe) > 0)) PARTITION BY LIST (faccnttnum); CREATE TABLE S.p PARTITION OF S.T DEFAULT" ],);

# What a DBA does with a family; errors are allowed, a witness as postgres is not.
sub dba_consolidates
{
	my ($schema, $family, $what) = @_;
	witnesses();
	my $said = '';
	for my $sql ("SELECT * FROM aq.consolidate_plan('$schema', '$family')",
		"CALL aq.consolidate('$schema', '$family', lock_wait => '0s', on_reject => 'keep')",
		"SELECT * FROM aq.consolidate_verify('$schema', '$family')",
		"CALL aq.consolidate_restore('$schema', '$family', 1)")
	{
		$said .= (as('postgres', 'whose', $sql))[2] . "\n";
	}
	my $ran = witnesses();
	unlike($ran, qr/as postgres/, "$what: no code of its owner ran as the DBA") or diag("$ran\n$said");
	unlike($said, qr/(PANIC|FATAL|XX000|server closed)/, "$what: no internal error") or diag($said);
	return $said;
}

my $n = 0;
for my $case (@targets)
{
	my ($what, $ddl) = @$case;
	my $schema = 't' . ++$n;
	$ddl =~ s/\bS\./$schema./g;
	must('postgres', 'whose', "CREATE SCHEMA $schema AUTHORIZATION mallory");
	must('mallory', 'whose', "$ddl; CREATE TABLE $schema.tmp_deuda_1 ($deuda); INSERT INTO $schema.tmp_deuda_1 VALUES (1, 1, 1, 1), (2, 2, 2, 2)");
	my $said = dba_consolidates($schema, 'tmp_deuda', "target with $what");
	is( (as('mallory', 'whose', "SELECT count(*) FROM $schema.tmp_deuda_1"))[1], '2', "target with $what: the source is there in the end, whole")
	  or diag($said);
}
$n = 0;
for my $case (@sources)
{
	my ($what, $ddl, $columns, $values) = @$case;
	for my $family ('tmp_deuda', 'libre')
	{
		my $schema = 's' . ++$n;
		(my $sql = $ddl) =~ s/\bS\.T\b/$schema.${family}_1/g;
		$sql =~ s/\bS\./$schema./g;
		$sql =~ s/faccnttnum/k/g if $family eq 'libre';
		$columns //= 'importe, numfacturas, facsocemi, faccnttnum';
		$values //= '1, 1, 1, 1';
		my $into = $columns;
		$into =~ s/faccnttnum/k/ if $family eq 'libre';
		must('postgres', 'whose', "CREATE SCHEMA $schema AUTHORIZATION mallory");
		must('mallory', 'whose', $sql . ($columns eq '' ? '' : "; INSERT INTO $schema.${family}_1 ($into) VALUES ($values)"));
		my $said = dba_consolidates($schema, $family, "$family source with $what");
		is( (as('mallory', 'whose', "SELECT count(*) FROM $schema.${family}_1"))[1], '1',
			"$family source with $what: there in the end, whole, and hers") or diag($said);
	}
}

# audit_* on tables of hers; her own writes run her code as herself.
must('mallory', 'whose', q{
	CREATE TABLE mallory.audited (id int PRIMARY KEY, p mallory.state, d mallory.dom DEFAULT mallory.witness('default', 1),
		g int GENERATED ALWAYS AS (mallory.witness('generated', id)) STORED, CHECK (mallory.witness('check', id) > 0));
	CREATE INDEX ON mallory.audited (mallory.witness('index', id));
	CREATE TRIGGER t BEFORE INSERT OR UPDATE ON mallory.audited FOR EACH ROW EXECUTE FUNCTION mallory.witness_trigger();
	INSERT INTO mallory.audited (id, p) VALUES (1, 'a')});
witnesses();
must('postgres', 'whose', q{SELECT aq.audit_enable('mallory.audited')});
must('postgres', 'whose', q{SELECT * FROM aq.audit_status});
is(witnesses(), '', 'audit_enable runs nothing of the table');
must('mallory', 'whose', q{UPDATE mallory.audited SET p = 'b'; INSERT INTO mallory.audited VALUES (2, 'c'); DELETE FROM mallory.audited WHERE id = 1});
like(witnesses(), qr/^(?=.*cast as mallory)(?!.*as postgres)/, 'what runs in her writes runs as herself');
must('postgres', 'whose', q{SELECT * FROM aq.audit_history('mallory.audited', '1')});
must('postgres', 'whose', q{CALL aq.audit_maintain()});
must('postgres', 'whose', q{SELECT aq.audit_disable('mallory.audited')});
is(witnesses(), '', 'audit_history, audit_maintain and audit_disable run nothing of the table');

# A log that belongs to somebody, with code on it: it runs as that somebody,
# whoever writes the audited table, and finds nothing of the writer's path.
must('keeper', 'whose', q{
	CREATE FUNCTION keeper.stamp() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE LOG 'witness: stamp ran as %', current_user; RETURN 'ok'; END$$;
	GRANT EXECUTE ON FUNCTION keeper.stamp() TO PUBLIC;
	CREATE TABLE keeper.log (changed_at timestamptz, table_name text, record_key jsonb, action char(1), old_data jsonb, new_data jsonb,
		changed_fields jsonb, stamp text DEFAULT keeper.stamp());
	CREATE FUNCTION keeper.careless() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE LOG 'witness: log trigger ran as %', current_user; NEW.stamp := lower('OK'); RETURN NEW; END$$;
	CREATE TRIGGER t BEFORE INSERT ON keeper.log FOR EACH ROW EXECUTE FUNCTION keeper.careless();});
must('postgres', 'whose', q{SELECT aq.audit_enable('cf.sector', log => 'keeper.log')});
must('app', 'whose', q{
	CREATE FUNCTION app.lower(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE LOG 'witness: impostor ran as %', current_user; RETURN 'x'; END$$;
	GRANT EXECUTE ON FUNCTION app.lower(text) TO PUBLIC});
witnesses();
must('app', 'whose', q{SET search_path = app, pg_catalog; INSERT INTO cf.sector VALUES ('sur', 1, 'x')});
my $ran = witnesses();
like($ran, qr/log trigger as keeper/, 'code of a log runs as the log\'s owner');
unlike($ran, qr/as app|impostor as keeper/, '... not as the writer, and nothing of the writer as the log\'s owner');
must('postgres', 'whose', q{INSERT INTO cf.sector VALUES ('sur', 2, 'x')});
unlike(witnesses(), qr/as postgres/, '... nor as a superuser who writes');
is(must('keeper', 'whose', 'SELECT count(*) FROM keeper.log'), '2', 'the log has both rows');

# ---- 5. a schema where others put things first ------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE planted');
must('postgres', 'planted', 'GRANT CREATE ON SCHEMA public TO mallory; CREATE SCHEMA mallory AUTHORIZATION mallory; GRANT USAGE ON SCHEMA mallory TO PUBLIC;');
must('mallory', 'planted', q{
	-- operators that fit better than pg_catalog's wherever two different types meet
	DO $do$
	DECLARE
		l text; r text; o text; result text; f int := 0;
		types text[] := '{int2,int4,int8,numeric,float4,float8,text,name,varchar,bpchar,oid,regclass,jsonb,interval,timestamptz,timestamp,date,xid8}';
	BEGIN
		FOREACH l IN ARRAY types LOOP FOREACH r IN ARRAY types LOOP
			f := f + 1;
			FOREACH result IN ARRAY '{bool,numeric,text}'::text[] LOOP
				EXECUTE format('CREATE FUNCTION public.planted_%s_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN RAISE LOG ''witness: planted operator ran as %%'', current_user; RETURN NULL; END$f$',
					result, f, l, r, result);
			END LOOP;
			FOREACH o IN ARRAY '{=,<>,<,>,<=,>=,~,?,@>,+,-,*,/,||,->>}'::text[] LOOP
				IF NOT EXISTS (SELECT FROM pg_operator WHERE oprname = o AND oprleft = l::regtype AND oprright = r::regtype) THEN
					EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.planted_%s_%s)', o, l, r,
						CASE WHEN o = ANY ('{+,-,*,/}') THEN 'numeric' WHEN o = ANY ('{||,->>}') THEN 'text' ELSE 'bool' END, f);
				END IF;
			END LOOP;
		END LOOP; END LOOP;
	END$do$;
	CREATE FUNCTION public.witness_trigger() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN RAISE LOG 'witness: planted trigger ran as %', current_user; RETURN NEW; END$$;
	CREATE TABLE public.audit_log (changed_at timestamptz, table_name text, record_id bigint, action char(1), old_data jsonb, new_data jsonb, changed_fields jsonb);
	CREATE TABLE public.consolidate_rejected (family text, process_id bigint, source_schema text, source_table text, row_data jsonb, reason text, rejected_at timestamptz);
	CREATE TRIGGER t BEFORE INSERT ON public.consolidate_rejected FOR EACH ROW EXECUTE FUNCTION public.witness_trigger();});
is((as('postgres', 'planted', 'CREATE EXTENSION aquacis SCHEMA public'))[2], '', 'the extension is created beside planted operators');
is( $node->safe_psql('planted', q{
		SET search_path = pg_catalog;
		SELECT string_agg(pg_describe_object(classid, objid, objsubid) || ' uses ' || pg_describe_object(refclassid, refobjid, 0), '; ')
		FROM pg_depend
		WHERE (refclassid, refobjid) IN (SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprowner = 'mallory'::regrole
		                                 UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner = 'mallory'::regrole)
		  AND NOT (classid = 'pg_operator'::regclass AND objid IN (SELECT oid FROM pg_operator WHERE oprowner = 'mallory'::regrole))
		  AND NOT (classid = 'pg_trigger'::regclass)}),
	'', 'nothing of the extension refers to what lay in its schema');
witnesses();
must('postgres', 'planted', qq{
	CREATE SCHEMA cf; CREATE TABLE cf.t (id int PRIMARY KEY, secreto text); CREATE TABLE cf.tmp_deuda_1 ($deuda);
	INSERT INTO cf.tmp_deuda_1 VALUES (1, 1, 1, 1), (666, 1, 1, NULL)});
my $said = (as('postgres', 'planted', 'SELECT audit_install()'))[2];
like($said, qr/ERROR:  42501:/, 'a log that somebody planted is not taken over in silence');
$said = join '', map { (as('postgres', 'planted', $_))[2] } q{CALL consolidate('cf', 'tmp_deuda', on_reject => 'keep')},
  q{SELECT * FROM consolidate_verify('cf', 'tmp_deuda')}, q{SELECT * FROM consolidate_progress}, q{SELECT * FROM audit_status};
is(must('mallory', 'planted', 'SELECT count(*) FROM public.consolidate_rejected'), '0', 'a planted consolidate_rejected takes nothing');
unlike(witnesses(), qr/as postgres/, 'nothing planted ran as the DBA');
is( $node->safe_psql('planted', q{SET search_path = pg_catalog; SELECT CASE WHEN to_regclass('cf.tmp_deuda_1') IS NOT NULL THEN (xpath('//c/text()', query_to_xml('SELECT count(*) c FROM cf.tmp_deuda_1', false, true, '')))[1]::text ELSE 'gone' END}),
	'2', 'the table with rejected rows is there, whole');

# Partitions of the log whose names are taken: told, never adopted.
$node->safe_psql('postgres', 'CREATE DATABASE months');
must('postgres', 'months', 'GRANT CREATE ON SCHEMA public TO mallory; CREATE EXTENSION aquacis SCHEMA public; SELECT audit_install();');
my $month = $node->safe_psql('months', q{
	SELECT max(relname) FROM pg_class WHERE relkind = 'r' AND relname ~ '^audit_log_.*\d$'});
(my $taken = $month) =~ s/(\d+)$/sprintf('%0*d', length $1, $1 % 100 == 12 ? $1 + 89 : $1 + 1)/e;
must('mallory', 'months', "CREATE TABLE public.\"$taken\" (x int)");
($out, $err) = (as('postgres', 'months', 'CALL audit_maintain(months_ahead => 12)'))[1, 2];
is( $node->safe_psql('months', "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'public.\"$taken\"'::regclass"), '0',
	"a table that is called $taken is not adopted");
is( $node->safe_psql('months', "SELECT string_agg(pg_get_expr(relpartbound, oid), '; ') FROM pg_class WHERE relispartition AND relname ~ '^$taken.+'"),
	$node->safe_psql('months', "SELECT format('FOR VALUES FROM (%L) TO (%L)', m, m + interval '1 month') FROM (SELECT to_date(substring('$taken', '\\d.*'), 'YYYY_MM')::timestamptz m) x"),
	'... another one serves the month');
must('postgres', 'months', q{CREATE TABLE t (id int PRIMARY KEY); SELECT audit_enable('t'); INSERT INTO t VALUES (1);});
is($node->safe_psql('months', 'SELECT count(*) FROM audit_log'), '1', '... and the audit goes on');

# ---- 6. names that want to be SQL ----------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE names');
# the server itself refuses quotes and dollars in an extension's schema
my $home = '"We ird; DROP SCHEMA victim CASCADE;"';
my $schema = q{we'ird"; DROP SCHEMA victim CASCADE; --};
my $table = q{ta"b'le};
my $key = q{k"e'y};
my ($qs, $qt, $qk) = map { '"' . s/"/""/gr . '"' } $schema, $table, $key;
my $family = q{f"a'm; --};
must('postgres', 'names', qq{
	CREATE SCHEMA victim; CREATE TABLE victim.t (x int); CREATE SCHEMA $home; CREATE SCHEMA $qs;
	CREATE EXTENSION aquacis SCHEMA $home;
	SET search_path = $home, $qs;
	SELECT audit_install();
	CREATE TABLE $qs.$qt ($qk int PRIMARY KEY, "se""c'reto" text, "n o,t=a" text);
	SELECT audit_enable(\$q\$$qs.$qt\$q\$, redact => ARRAY[\$q\$se"c'reto\$q\$]);
	INSERT INTO $qt VALUES (1, 'a', 'b'); UPDATE $qt SET "n o,t=a" = 'c', "se""c'reto" = 'd';});
is( must('postgres', 'names', qq{SET search_path = $home;
		SELECT action, table_schema = \$q\$$schema\$q\$, table_name = \$q\$$table\$q\$, record_id, changed_fields FROM audit_log ORDER BY xact_id, xact_seq}),
	qq{I|t|t|1|\nU|t|t|1|{"n o,t=a": {"new": "c", "old": "b"}, "se\\"c'reto": {"new": "[redacted]", "old": "[redacted]"}}},
	'a table with such names is audited');
is( must('postgres', 'names', qq{SET search_path = $home; SELECT count(*) FROM audit_history(\$q\$$qs.$qt\$q\$, '1') WHERE action = 'U'}),
	'2', '... its history is found');
must('postgres', 'names', qq{SET search_path = $home; SELECT audit_disable(\$q\$$qs.$qt\$q\$); CALL audit_maintain()});
must('postgres', 'names', qq{SET search_path = $home;
	SELECT consolidate_define(\$q\$$family\$q\$, pattern => \$q\$^f"'_(\\d+)\$\$q\$, target => \$q\$f"'; DROP TABLE victim.t; --\$q\$, key => ARRAY[\$q\$$key\$q\$]);
	CREATE TABLE $qs."f""'_1" ($qk int, "v""'" text DEFAULT 'd''"');
	COMMENT ON TABLE $qs."f""'_1" IS \$q\$c"o'm; --\$q\$;
	INSERT INTO $qs."f""'_1" VALUES (1, 'x'), (2, 'y');});
is((as('postgres', 'names', qq{SET client_min_messages = warning; CALL $home.consolidate(\$q\$$schema\$q\$, \$q\$$family\$q\$)}))[2],
	'', 'a family with such names is consolidated');
is(must('postgres', 'names', qq{SELECT bool_and(ok), sum(rows_now) FROM $home.consolidate_verify(\$q\$$schema\$q\$, \$q\$$family\$q\$)}),
	't|2', '... verified');
must('postgres', 'names', qq{CALL $home.consolidate_restore(\$q\$$schema\$q\$, \$q\$$family\$q\$, 1); INSERT INTO $qs."f""'_1" VALUES (3)});
is( must('postgres', 'names', qq{SELECT string_agg($qk || "v""'", ' ' ORDER BY $qk) || obj_description(\$q\$$qs."f""'_1"\$q\$::regclass) FROM $qs."f""'_1"}),
	q{1x 2y 3d'"c"o'm; --}, '... restored');
is($node->safe_psql('names', 'SELECT count(*) FROM victim.t'), '0', 'the victim stands');

$node->stop;
done_testing();
