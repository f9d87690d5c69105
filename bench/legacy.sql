-- The converters beside the SQL functions that they replace (both made by
-- legacy_replaced.sql), the scan alone taken off.
SELECT command FROM (
	SELECT r, i, v, format('CALL bench.measure(%L, %L, %s, %L, %s)', what, variant, r, format('SELECT count(%s) FROM %s', call, tab), :values) AS command
	FROM generate_series(0, :rounds) r,
		(VALUES (1, 'legacy_bool', 'flags', 'f', 'legacy_bool(f)', 'old_bool(f)'),
			(2, 'legacy_money', 'amounts', 'x', 'legacy_money(x)', 'old_money(x)'),
			(3, 'legacy_money, all halves of a cent', 'amounts', 'half', 'legacy_money(half)', 'old_money(half)'),
			(4, 'legacy_text', 'texts', 't', 'legacy_text(t)', 'NULLIF(trim(t), '''')'),
			(5, 'legacy_gps_to_point', 'places', 'lat', 'legacy_gps_to_point(lat, lng)', 'old_point(lat, lng)'),
			(6, 'legacy_gps_to_geom', 'places', 'lat', 'legacy_gps_to_geom(lat, lng)', 'old_geom(lat, lng)'),
			(7, 'legacy_gps_to_geom, 16 decimals', 'long_places', 'lat', 'legacy_gps_to_geom(lat, lng)', 'old_geom(lat, lng)'),
			(8, 'legacy_gps_to_geom, 20 decimals', 'longer_places', 'lat', 'legacy_gps_to_geom(lat, lng)', 'old_geom(lat, lng)')) w (i, what, tab, none, ours, old),
		LATERAL (VALUES (1, 'none', none), (2, 'ours', ours), (3, 'old', old)) c (v, variant, call)
	ORDER BY r, i, v) q \gexec
