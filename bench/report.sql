-- The table.  Where there is a baseline (the same statement without audit, the scan
-- without the function) it is taken off first, in each round: of both sides, or of
-- ours alone where the alternative is something else than that statement.
SET search_path = bench;
\pset format unaligned
\pset tuples_only on
CREATE TEMP TABLE comparison (ord serial, section text, pattern text, alternative text, label text, baseline text, unit text);
INSERT INTO comparison (section, pattern, alternative, label, baseline, unit) VALUES
	('Audit: what a row costs beyond the unaudited statement', 'audit, %', 'plpgsql', 'the PL/pgSQL function replaced', 'both', 'µs per row'),
	('Audit: what a row costs beyond the unaudited statement', 'audit, %', 'supa', 'supa_audit''s way', 'both', 'µs per row'),
	('Audit: what a row costs beyond the unaudited statement', 'audit, %', 'hstore', 'the hstore trigger''s way', 'both', 'µs per row'),
	('Audit: what a row costs beyond the unaudited statement', 'audit, %', 'gin', 'ours, GIN index on the open month', 'both', 'µs per row'),
	('Audit: what a row costs beyond the unaudited statement', 'audit, UPDATE %', 'bare', 'the log''s rows, inserted by one INSERT', 'ours', 'µs per row'),
	('Audit: the whole statement beside the unaudited one', 'audit, %', 'none', 'unaudited', NULL, 'µs per row'),
	('Audit: columns of the table', 'UPDATE of 3 in (5|20|50|105|350) columns', 'plpgsql', 'the PL/pgSQL function replaced', 'both', 'µs per row'),
	('Audit: changed columns', 'UPDATE of (1|3|10|50|100) in 105 columns', 'plpgsql', 'the PL/pgSQL function replaced', 'both', 'µs per row'),
	('Audit: rows per statement', 'UPDATE of 1 in 20 columns, % per statement', 'plpgsql', 'the PL/pgSQL function replaced', 'both', 'µs per row'),
	('Audit: partitions of the log', 'UPDATE of 3 in 20 columns, % partitions', 'plpgsql', 'the PL/pgSQL function replaced', 'both', 'µs per row'),
	('Audit: partitions of the log', 'first write of a session, %', 'plpgsql', 'the PL/pgSQL function replaced', NULL, 'µs'),
	('Audit: concurrent writers', 'transactions, %', 'plpgsql', 'the PL/pgSQL function replaced', NULL, 'µs between commits'),
	('Audit: concurrent writers', 'transactions, %', 'none', 'unaudited', NULL, 'µs between commits'),
	('Audit: reading with the indexes of new logs', 'log, %', 'old', 'a log of 1.0', NULL, 'µs'),
	('Audit: reading with the indexes of new logs', 'indexes of the log', 'old', 'a log of 1.0', NULL, 'bytes an entry'),
	('Audit: reading back', 'audit_versions, %', 'plain', 'its entries, by SELECT', NULL, 'µs'),
	('Audit: reading back', 'audit_rows_at, %', 'table', 'SELECT * of the table', NULL, 'µs a row'),
	('Audit: reading back', 'audit_undo, %', 'hand', 'the same UPDATE by hand', NULL, 'µs a row'),
	('Audit: reading back', 'audit_changes, %', 'plain', 'COPY of the log', NULL, 'µs an entry'),
	('Memory', 'memory, audited %', 'empty', 'an empty trigger', NULL, 'MB'),
	('Memory', 'memory, consolidate%', 'same', 'the plan''s scripts', NULL, 'MB'),
	('Consolidate', 'consolidate of one table, %', 'same', 'the plan''s scripts, with the index that ours has', NULL, 'µs per row'),
	('Consolidate', 'consolidate, %', 'blocks', 'the plan''s scripts, DO blocks', NULL, 's'),
	('Consolidate', 'consolidate, %', 'same', 'the same, with the index that ours has', NULL, 's'),
	('Consolidate', 'consolidate_verify, %', 'plain', 'count and hash by process', NULL, 's'),
	('Consolidate', 'consolidate_restore, %', 'plain', 'CREATE TABLE AS and DELETE', NULL, 'ms'),
	('Tariff', 'tariff_charge, [0-9]+ blocks', 'plpgsql', 'PL/pgSQL loop', 'both', 'µs a bill'),
	('Tariff', 'tariff_charge, [0-9]+ blocks', 'sql', 'one SQL expression', 'both', 'µs a bill'),
	('Tariff', 'tariff_charge, a constant %', 'plpgsql', 'PL/pgSQL loop', 'both', 'µs a bill'),
	('Tariff', 'tariff_charge, ten per account %', 'one', 'the same in one process', NULL, 'µs an account'),
	('Tariff', 'tariff_lines, %', 'copied', 'copying the finished rows', NULL, 'µs a bill'),
	('Tariff', 'tariff_charge of 4 blocks, %', 'plpgsql', 'PL/pgSQL loop', 'both', 'µs a bill'),
	('Tariff', 'tariff_bill, %', 'plpgsql', 'PL/pgSQL loop', 'both', 'µs a bill'),
	('Legacy', 'legacy_%', 'old', 'the SQL function replaced', 'both', 'µs a value');

-- Round 0 warms up.  Where taking off the baseline leaves nothing of ours in
-- any round, the noise is larger than what is measured, and there is no ratio.
CREATE TEMP VIEW compared AS
SELECT c.ord, c.section, c.unit, c.label, o.what, f.why,
	o.value - coalesce(b.value, 0) AS ours, o.cpu - coalesce(b.cpu, 0) AS ours_cpu,
	a.value - CASE c.baseline WHEN 'both' THEN coalesce(b.value, 0) ELSE 0 END AS other,
	a.cpu - CASE c.baseline WHEN 'both' THEN coalesce(b.cpu, 0) ELSE 0 END AS other_cpu
FROM comparison c
JOIN timing o ON o.variant = 'ours' AND o.round > 0 AND o.what SIMILAR TO c.pattern
LEFT JOIN timing a ON a.variant = c.alternative AND a.what = o.what AND a.round = o.round
LEFT JOIN timing b ON c.baseline IS NOT NULL AND b.variant = 'none' AND b.what = o.what AND b.round = o.round
LEFT JOIN failure f ON f.variant = c.alternative AND f.what = o.what;
CREATE TEMP VIEW median AS
SELECT ord, section, unit, label, what, why,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY ours) AS ours,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY other) AS other,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY other / nullif(ours, 0)) AS ratio,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY other_cpu / nullif(ours_cpu, 0)) FILTER (WHERE ours_cpu > 0) AS cpu_ratio,
	min(other / nullif(ours, 0)) AS low,
	max(other / nullif(ours, 0)) AS high,
	bool_or(ours <= 0) AS noise
FROM compared
GROUP BY ord, section, unit, label, what, why
HAVING count(other) > 0 OR why IS NOT NULL;

CREATE FUNCTION pg_temp.short(x float8) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN abs(x) >= 100 THEN round(x::numeric)::text WHEN abs(x) >= 10 THEN round(x::numeric, 1)::text
		WHEN abs(x) >= 1 THEN round(x::numeric, 2)::text ELSE round(x::numeric, 3)::text END$$;
-- 20 before 100, in names
CREATE FUNCTION pg_temp.by_number(what text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN part[1] ~ '^[0-9]' THEN lpad(replace(part[1], ',', ''), 9, '0') ELSE part[1] END, '' ORDER BY n)
	FROM regexp_matches(what, '[0-9][0-9,]*|[^0-9]+', 'g') WITH ORDINALITY m (part, n)$$;

SELECT line FROM (
	SELECT min(ord) AS a, 0 AS b, '' AS c, 0 AS d, format(E'\n### %s\n\n| what | ours | the alternative | ratio | spread | ratio of processor time |\n|---|---|---|---|---|---|', section) AS line
	FROM median GROUP BY section
	UNION ALL
	SELECT first, 1, pg_temp.by_number(what), ord, format('| %s | %s %s | %s: %s | %s | %s | %s |', what, pg_temp.short(ours), unit, label,
		coalesce(why, pg_temp.short(other) || ' ' || unit), CASE WHEN noise OR ratio IS NULL THEN '-' ELSE pg_temp.short(ratio) END,
		CASE WHEN noise AND unit <> 'MB' THEN 'ours is below the noise' ELSE coalesce(pg_temp.short(low) || '–' || pg_temp.short(high), '-') END,
		coalesce(pg_temp.short(cpu_ratio), '-'))
	FROM (SELECT *, min(ord) OVER (PARTITION BY section) AS first FROM median) m
) lines ORDER BY a, b, c, d;

-- how cost grows, in words
SELECT line FROM (
	SELECT 0 AS a, '' AS c, E'\n### How cost grows\n' AS line
	UNION ALL
	SELECT ord, '', format('- %s: from "%s" to "%s" ours goes from %s to %s %s (%s times), the alternative%s.', section,
		(array_agg(what ORDER BY n))[1], (array_agg(what ORDER BY n DESC))[1],
		pg_temp.short((array_agg(ours ORDER BY n))[1]), pg_temp.short((array_agg(ours ORDER BY n DESC))[1]), unit,
		pg_temp.short((array_agg(ours ORDER BY n DESC))[1] / nullif((array_agg(ours ORDER BY n))[1], 0)),
		coalesce(' ' || (array_agg(why ORDER BY n DESC))[1], format(' from %s to %s (%s times)',
			pg_temp.short((array_agg(other ORDER BY n))[1]), pg_temp.short((array_agg(other ORDER BY n DESC))[1]),
			pg_temp.short((array_agg(other ORDER BY n DESC))[1] / nullif((array_agg(other ORDER BY n))[1], 0)))))
	FROM (SELECT *, pg_temp.by_number(what) AS n FROM median WHERE NOT noise) m
	WHERE (section IN ('Audit: columns of the table', 'Audit: changed columns', 'Audit: rows per statement', 'Audit: partitions of the log',
			'Audit: concurrent writers') AND label <> 'unaudited'
		OR label = 'PL/pgSQL loop' AND what ~ '^tariff_charge' OR label ~ 'DO blocks')
	GROUP BY ord, section, unit HAVING count(*) > 1
) lines ORDER BY a, c;
