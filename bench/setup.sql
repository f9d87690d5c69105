-- What bench/run measures with.  A timing is of one variant in one round; all
-- variants of a round are timed one after the other, and the report compares
-- them round by round.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS aquacis SCHEMA public;
CREATE SCHEMA bench;
-- by the clock, and by the backend's processor time (null where the kernel does not tell)
CREATE TABLE bench.timing (what text, variant text, round int, value float8, cpu float8);
CREATE TABLE bench.failure (what text, variant text, why text);

-- Microseconds that this backend has spent on a processor, or null.
CREATE FUNCTION bench.cpu() RETURNS float8 LANGUAGE sql VOLATILE AS
$$SELECT split_part(pg_read_file('/proc/self/schedstat', 0, 100, true), ' ', 1)::float8 / 1000$$;

-- Records the microseconds that a command takes, divided by "per", or else by the rows
-- that it touches.  Not for a command that commits.
CREATE PROCEDURE bench.measure(what text, variant text, round int, command text, per float8 DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz;
	cpu float8 := bench.cpu();
	elapsed float8;
	n bigint;
BEGIN
	started := clock_timestamp();
	EXECUTE command;
	elapsed := extract(epoch FROM clock_timestamp() - started) * 1e6;
	GET DIAGNOSTICS n = ROW_COUNT;
	INSERT INTO bench.timing VALUES (what, variant, round, elapsed / coalesce(per, n), (bench.cpu() - cpu) / coalesce(per, n));
END$$;

-- Rows for any table of the legacy types, the first column counting from 100001.
CREATE PROCEDURE bench.fill(tab regclass, n int) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE (
		SELECT format('INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %s) i', tab,
			string_agg(quote_ident(attname), ', ' ORDER BY attnum),
			string_agg(CASE
				WHEN attnum = 1 THEN '100000 + i'
				WHEN atttypid = 'numeric'::regtype THEN format('((i::bigint * %s * 7919) %% 100000)::numeric / 10 ^ %s', attnum, (atttypmod - 4) & 65535)
				WHEN atttypid IN ('bpchar'::regtype, 'varchar'::regtype) THEN format('substr(md5((i * %s)::text), 1, %s)', attnum, least(atttypmod - 4, 12))
				WHEN atttypid = 'date'::regtype THEN format('date ''2000-01-01'' + (i * %s) %% 9000', attnum)
				WHEN atttypid = 'timestamp'::regtype THEN format('timestamp ''2000-01-01'' + (i * %s) * interval ''1 minute''', attnum)
				ELSE format('i * %s / 100.0', attnum) END, ', ' ORDER BY attnum),
			n)
		FROM pg_attribute WHERE attrelid = tab AND attnum > 0 AND NOT attisdropped);
END$$;
