# Legacy.pm: a small legacy database for the TAP tests that interrupt, copy,
# replicate and upgrade it, and the questions by which its states are compared.
#
#   legacy_sql(tables => 40, rows => 50)   SQL: extension (version => '1.0'), audited tables, families
#   fill_legacy($node, $db, ...)   runs that, and stops in the middle of things
#   carries_on($node, $db, $how, $user, $rows)   tests that from there all of it goes on
#   everything($node, $db)                 one text that says all there is
#   family_rows($node, $db)                every row of the family, wherever it is now
#   family_shape($node, $db)               the source tables as the catalog has them
#   differing($got, $expected)             the lines in which two of these texts differ
package Legacy;
use strict;
use warnings;
use Exporter 'import';
use Test::More;

our @EXPORT = qw(legacy_sql fill_legacy carries_on everything family_rows family_shape differing);

# The extension in a schema aq; cf.contrato audited by number, cf.sector by a
# composite key; tmp_deuda with duplicates and NULL keys in every tenth table;
# two tables of a family without a definition.
sub legacy_sql
{
	my %arg = (tables => 40, rows => 50, contracts => 1000, @_);
	my $version = $arg{version} ? "VERSION '$arg{version}'" : '';
	return qq{
	CREATE SCHEMA aq;
	CREATE EXTENSION aquacis SCHEMA aq $version;
	CREATE SCHEMA cf;
	CREATE TABLE cf.contrato (cnttnum numeric(10,0) PRIMARY KEY, estado numeric(5,0), importe numeric(18,2), alta date,
		nombre varchar(60), obs text, clave text);
	CREATE TABLE cf.sector (zona text, sub int, nombre varchar(20), PRIMARY KEY (zona, sub));
	SELECT aq.audit_install();
	SELECT aq.audit_enable('cf.contrato', redact => '{clave}');
	SELECT aq.audit_enable('cf.sector');
	BEGIN;
	SELECT aq.audit_set_user('lperez', session_id => 7, context => '{"modulo": "alta"}');
	INSERT INTO cf.contrato SELECT g, g % 7, g * 1.5, '2020-01-01'::date + g % 900, 'Contrato ñ ' || g, repeat('x', g % 200), 'secreta'
		FROM generate_series(1, $arg{contracts}) g;
	COMMIT;
	UPDATE cf.contrato SET estado = 9, clave = 'otra' WHERE cnttnum % 10 = 0;
	DELETE FROM cf.contrato WHERE cnttnum % 100 = 99;
	INSERT INTO cf.sector SELECT z, s, z || s FROM unnest('{norte,sur}'::text[]) z, generate_series(1, 5) s;
	UPDATE cf.sector SET nombre = upper(nombre) WHERE sub = 1;
	DO \$\$
	DECLARE
		i int;
	BEGIN
		FOR i IN 1..$arg{tables} LOOP
			EXECUTE format('CREATE TABLE cf.tmp_deuda_%s (importe numeric(18,2) DEFAULT 0, numfacturas integer, facsocemi integer, faccnttnum integer)', i);
			EXECUTE format('INSERT INTO cf.tmp_deuda_%s SELECT g * 1.25, g, %s, g FROM generate_series(1, %s) g', i, i, $arg{rows} * (i % 3));
			IF i % 10 = 0 THEN
				EXECUTE format('INSERT INTO cf.tmp_deuda_%s VALUES (1.00, 1, 1, 5), (2.50, 2, 2, 5), (3.00, NULL, NULL, NULL)', i);
				EXECUTE format('COMMENT ON TABLE cf.tmp_deuda_%s IS %L', i, 'proceso ' || i);
				EXECUTE format('CREATE INDEX ON cf.tmp_deuda_%s (facsocemi)', i);
				EXECUTE format('GRANT SELECT ON cf.tmp_deuda_%s TO PUBLIC', i);
			END IF;
		END LOOP;
	END\$\$;
	CREATE TABLE cf.mia_1 (k text PRIMARY KEY, v jsonb, d date DEFAULT '2024-02-29', n text CHECK (n <> 'x'));
	INSERT INTO cf.mia_1 VALUES ('a', '{"x": [1, null]}', NULL, 'uno'), ('ñ', NULL, 'infinity', NULL);
	CREATE TABLE cf.mia_2 (LIKE cf.mia_1 INCLUDING ALL);
	SELECT aq.consolidate_define('mia', pattern => '^mia_(\\d+)\$', target => 'mia', key => '{k}');
	CREATE TABLE cf.tarifa (id int PRIMARY KEY, t jsonb CHECK (aq.tariff_is_valid(t)));
	INSERT INTO cf.tarifa VALUES
		(1, '[{"from_m3": 0, "to_m3": 10, "price_per_m3": 5.50, "fixed_charge": 45.00}, {"from_m3": 10, "to_m3": 20, "price_per_m3": 8.75},
		      {"from_m3": 20, "to_m3": 40, "price_per_m3": 15.30}, {"from_m3": 40, "to_m3": null, "price_per_m3": 25.00}]'),
		(2, '{"mode": "volume", "blocks": [{"from_m3": 0, "to_m3": 15.5, "price_per_m3": "3.333"}, {"from_m3": 15.5, "to_m3": null, "price_per_m3": 4.1}],
		      "iva_rate": 0.16, "additional_concepts": [{"code": "alcantarillado", "name": "Alcantarillado", "type": "percentage", "value": 0.25, "base": "agua"}]}'),
		(3, '{"mode": "base_excess", "minimum_charge": 50, "blocks": [{"from_m3": 0, "to_m3": null, "price_per_m3": 2, "fixed_charge": 30}]}');
	CREATE INDEX contrato_texto ON cf.contrato (aq.legacy_text(obs));
};
}

# Ends in the middle of things: a family half consolidated, one source copied
# and kept, one restored, the guard on, rows waiting in the default partition.
sub fill_legacy
{
	my ($node, $db, @arg) = @_;
	$node->safe_psql($db, legacy_sql(@arg));
	$node->safe_psql($db, q{
		INSERT INTO aq.audit_log (changed_at, xact_id, xact_seq, table_schema, table_name, record_id, action, new_data, user_id)
		SELECT '2024-01-15'::timestamptz + g * interval '1 day', '1', g, 'cf', 'contrato', g, 'I', jsonb_build_object('g', g), 'old'
		FROM generate_series(1, 40) g;});
	$node->safe_psql($db, q{CALL aq.consolidate('cf', 'mia', drop_source => false)});
	$node->safe_psql($db, q{CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep')});
	$node->safe_psql($db, q{CALL aq.consolidate_restore('cf', 'tmp_deuda', 20)});
	$node->safe_psql($db, q{CREATE TABLE cf.tmp_deuda_3001 AS SELECT * FROM cf.tmp_deuda_20 WHERE faccnttnum IS NOT NULL AND numfacturas > 6});
	$node->safe_psql($db, q{SELECT aq.consolidate_guard('cf', 'block')});
}

# user: who the audit says it was.  rows: family_rows at the end of fill_legacy.
sub carries_on
{
	my ($node, $db, $how, $user, $rows) = @_;
	my ($ret, $out, $err) = $node->psql($db, 'CREATE TABLE cf.tmp_deuda_4000 (x int)');
	like($err, qr/tmp_deuda_4000/, "$how: the guard is on guard");
	$node->safe_psql($db, q{SELECT aq.consolidate_guard('cf', 'off')});

	$node->safe_psql($db, q{UPDATE cf.contrato SET estado = 77 WHERE cnttnum = 1});
	is($node->safe_psql($db, q{SELECT action, column_name, new_value, user_id FROM aq.audit_history('cf.contrato', '1') LIMIT 1}), "U|estado|77|$user",
		"$how: the audit goes on");
	$node->safe_psql($db, q{CALL aq.audit_maintain()});
	is($node->safe_psql($db, q{SELECT count(*) FROM aq.audit_log_default}), '0', "$how: audit_maintain empties the default partition");

	$node->safe_psql($db, q{CALL aq.consolidate('cf', 'tmp_deuda', on_reject => 'keep')});
	is($node->safe_psql($db, q{SELECT bool_and(ok), count(*) FROM aq.consolidate_verify('cf', 'tmp_deuda')}), 't|41',
		"$how: the family is finished and verified");
	$node->safe_psql($db, q{CALL aq.consolidate_restore('cf', 'tmp_deuda')});
	is(family_rows($node, $db), $rows, "$how: and restored, every row");
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^tmp_deuda_\d'}), '41', "$how: into every table");
}

sub differing
{
	my ($got, $expected) = @_;
	my %count;
	$count{$_}++ for split /\n/, $got;
	$count{$_}-- for split /\n/, $expected;
	my @lines = map { ($count{$_} > 0 ? '+' : '-') . $_ } grep { $count{$_} } sort keys %count;
	return join "\n", @lines > 20 ? (@lines[ 0 .. 19 ], '...') : @lines;
}

# All that users see: history, targets, rejects, verification, bills.  Clocks
# and transaction numbers that differ between two runs are what is compared
# here too: a standby or an upgraded server has to have the same ones.
sub everything
{
	my ($node, $db) = @_;
	my $text = '';
	for my $sql (
		'SELECT * FROM aq.audit_log ORDER BY xact_id, xact_seq',
		q{SELECT * FROM aq.audit_history('cf.contrato', '10')},
		q{SELECT * FROM aq.audit_history('cf.sector', '{"zona": "sur", "sub": 1}')},
		q{SELECT tgrelid::regclass, tgname, tgenabled, encode(tgargs, 'escape') FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2},
		'SELECT * FROM cf.contrato ORDER BY cnttnum',
		'SELECT * FROM aq.consolidate_family ORDER BY family',
		'SELECT * FROM aq.consolidate_source ORDER BY 1, 2, 3',
		'SELECT source_schema, family, state, tables_total, tables_done, rows_done, rows_rejected, started_at, finished_at, problems
			FROM aq.consolidate_progress ORDER BY 1, 2',
		q{SELECT format('SELECT %L, t.* FROM %I.%I t ORDER BY t::text', relname, nspname, relname)
			FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
			WHERE relkind = 'r' AND (nspname = 'cf' AND relname ~ '^(tmp_deuda|mia)' OR relname = 'consolidate_rejected') ORDER BY relname \gexec},
		q{SELECT * FROM aq.consolidate_verify('cf', 'tmp_deuda') ORDER BY 1},
		'SELECT id, q, aq.tariff_charge(t, q), aq.tariff_bill(t, q, iva_rate => 0.16), aq.tariff_errors(t)
			FROM cf.tarifa, generate_series(0, 60, 7.5) q ORDER BY 1, 2',
		q{SELECT count(*), sum(aq.legacy_money(cnttnum::float8 / 3)), count(aq.legacy_text(obs)), sum(aq.legacy_bool(left(nombre, 1))::int) FROM cf.contrato},
		q{SELECT aq.legacy_gps_to_point('20,588', '-100.389'), aq.legacy_rfc('xaxx010101000'), aq.legacy_bool_strict('n')})
	{
		$text .= "-- $sql\n" . $node->safe_psql($db, "SET timezone = 'UTC'; $sql") . "\n";
	}
	return $text;
}

# Every row of tmp_deuda in the order of process and content: in a source, in
# the target, or rejected.  A row in two places shows twice.
sub family_rows
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q{
		SET work_mem = '64MB';
		SELECT 'SELECT p, count(*), sum(importe), md5(string_agg(r, '','' ORDER BY r)) FROM (' ||
			string_agg(part, ' UNION ALL ') || ') x GROUP BY p ORDER BY p'
		FROM (SELECT format('SELECT %s p, importe, row(importe, numfacturas, facsocemi, faccnttnum)::text r FROM cf.%I',
						CASE relname WHEN 'tmp_deuda' THEN 'proceso_id' ELSE substring(relname, '\d+$') END, relname) part
			  FROM pg_class WHERE relnamespace = 'cf'::regnamespace AND relkind = 'r' AND relname ~ '^tmp_deuda(_\d+)?$'
			  UNION ALL
			  SELECT 'SELECT process_id, j.importe, row(j.importe, j.numfacturas, j.facsocemi, j.faccnttnum)::text
						FROM aq.consolidate_rejected, jsonb_to_record(row_data) j(importe numeric, numfacturas int, facsocemi int, faccnttnum int)
						WHERE family = ''tmp_deuda'''
			  WHERE to_regclass('aq.consolidate_rejected') IS NOT NULL) parts \gexec});
}

# (NOT NULL has constraints of its own since PostgreSQL 18; attnotnull says it everywhere.)
sub family_shape
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q{
		SELECT relname, relowner::regrole, regexp_replace(relacl::text, '(=[^/]*)m', '\1', 'g'), obj_description(c.oid, 'pg_class'), relpersistence, relrowsecurity, reloptions,
			(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attnum, pg_get_expr(adbin, adrelid), attstorage), ', ' ORDER BY attnum)
			 FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
			(SELECT string_agg(pg_get_indexdef(indexrelid), ', ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = c.oid),
			(SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname) FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n')
		FROM pg_class c WHERE relnamespace = 'cf'::regnamespace AND relkind = 'r' AND relname ~ '^(tmp_deuda|mia)_\d+$'
		ORDER BY relname});
}

1;
