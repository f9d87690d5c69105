-- What bench/peers compares with: a table, a workload of two sessions, a dumb shadow of whole
-- rows, and what the versions, states and reverts have to be according to the shadow.
SET client_min_messages = warning;
CREATE EXTENSION dblink SCHEMA public;
CREATE SCHEMA peers;
CREATE SCHEMA app;
CREATE TABLE app.account (id int PRIMARY KEY, name text NOT NULL, amount numeric(12,2), note text, changes int NOT NULL DEFAULT 0);
INSERT INTO app.account (id, name, amount) SELECT i, 'name ' || i, i * 10.5 FROM generate_series(1, 200) i;

-- The application's own triggers, in the hard workload: of some rows they change the row again.  One comes early in
-- the order of names, one late.  The application is told to be quiet while a transaction is
-- reverted.
CREATE FUNCTION app.again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() = 1 AND NEW.id % 10 = TG_ARGV[0]::int AND coalesce(current_setting('peers.revert', true), '') = '' THEN
		UPDATE app.account SET changes = changes + 1, note = left(coalesce(note, '') || '+', 12) WHERE id = NEW.id;
	END IF;
	RETURN NULL;
END$$;
\if :hard
CREATE TRIGGER a_again AFTER UPDATE ON app.account FOR EACH ROW EXECUTE FUNCTION app.again(1);
CREATE TRIGGER z_again AFTER UPDATE ON app.account FOR EACH ROW EXECUTE FUNCTION app.again(6);
\endif

-- ---- the shadow: fires before all other AFTER triggers --------------------------------------
CREATE FUNCTION peers.plain(r jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT r - ARRAY[''pgmemento_audit_id'', ''sys_period'']';
CREATE TABLE peers.shadow (n bigserial PRIMARY KEY, txid xid8, statement timestamptz, op text, old jsonb, new jsonb, row_id bigint);
CREATE FUNCTION peers.shadow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO peers.shadow (txid, statement, op, old, new, row_id) VALUES (pg_current_xact_id(), statement_timestamp(), TG_OP,
		peers.plain(to_jsonb(OLD)), peers.plain(to_jsonb(NEW)), (to_jsonb(coalesce(NEW, OLD)) ->> 'pgmemento_audit_id')::bigint);
	RETURN NULL;
END$$;
-- called once the peer is set up, with the rows that it found
CREATE TABLE peers.base (id int, image jsonb, row_id bigint);
CREATE PROCEDURE peers.begin() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO peers.base SELECT id, peers.plain(to_jsonb(a)), (to_jsonb(a) ->> 'pgmemento_audit_id')::bigint FROM app.account a;
	CREATE TRIGGER "!!shadow" AFTER INSERT OR UPDATE OR DELETE ON app.account FOR EACH ROW EXECUTE FUNCTION peers.shadow();
END$$;

-- ---- the workload: what each session says, in which order --------------------------------------
CREATE TABLE peers.step (n serial PRIMARY KEY, session int, statement text);
CREATE TABLE peers.key (id int PRIMARY KEY, alive boolean, was boolean, held int);
INSERT INTO peers.key SELECT i, i <= 200, i <= 200, 0 FROM generate_series(1, 300) i;

CREATE PROCEDURE peers.say(session int, statement text) LANGUAGE sql AS 'INSERT INTO peers.step (session, statement) VALUES (session, statement)';
-- the end of a transaction: 0 is the end of a statement that is one
CREATE PROCEDURE peers.finish(s int, how text) LANGUAGE plpgsql AS $$
BEGIN
	CALL peers.say(s, how);
	UPDATE peers.key SET alive = CASE how WHEN 'ROLLBACK' THEN was ELSE alive END, was = CASE how WHEN 'ROLLBACK' THEN was ELSE alive END, held = 0 WHERE held = s;
END$$;

-- One statement of a session, on keys that the other session does not hold: so nobody waits.
-- Keys are drawn in the order of their numbers, so that every database gets the same.
CREATE PROCEDURE peers.change(s int, key_changes boolean) LANGUAGE plpgsql AS $$
DECLARE
	k int;
	free int;
	several int[];
	is_alive boolean;
	dice float8 := random();
	value text := (random() * 1000)::numeric(12,2)::text;
BEGIN
	SELECT id, alive INTO k, is_alive FROM (SELECT * FROM peers.key WHERE held IN (0, s) ORDER BY id) q ORDER BY random() + id / 400.0 LIMIT 1;
	SELECT id INTO free FROM (SELECT id FROM peers.key WHERE held IN (0, s) AND NOT alive AND id <> k ORDER BY id) q ORDER BY random() LIMIT 1;
	UPDATE peers.key SET held = s, alive = alive OR dice < 0.15 WHERE id = k;
	IF dice < 0.15 THEN
		CALL peers.say(s, format('INSERT INTO app.account (id, name, amount) VALUES (%s, ''upsert'', %s) ON CONFLICT (id) DO UPDATE SET amount = %2$s', k, value));
	ELSIF NOT is_alive THEN
		CALL peers.say(s, format('INSERT INTO app.account (id, name, amount) VALUES (%s, ''name %s'', %s)', k, left(value, 3), value));
		UPDATE peers.key SET alive = true WHERE id = k;
	ELSIF dice < 0.27 THEN
		CALL peers.say(s, format('DELETE FROM app.account WHERE id = %s', k));
		UPDATE peers.key SET alive = false WHERE id = k;
	ELSIF dice < 0.37 AND key_changes AND free IS NOT NULL THEN
		CALL peers.say(s, format('UPDATE app.account SET id = %s, amount = %s WHERE id = %s', free, value, k));
		UPDATE peers.key SET held = s, alive = id = free WHERE id IN (k, free);
	ELSIF dice < 0.42 THEN
		UPDATE peers.key SET held = s WHERE held = 0 AND id BETWEEN k - 4 AND k + 4;
		SELECT array_agg(id) INTO several FROM peers.key WHERE held = s AND id BETWEEN k - 4 AND k + 4;
		CALL peers.say(s, format('UPDATE app.account SET amount = amount + 1 WHERE id = ANY (%L)', several));
	ELSIF dice < 0.55 THEN
		CALL peers.say(s, format('UPDATE app.account SET note = CASE WHEN note IS NULL THEN ''note %s'' END WHERE id = %s', left(value, 2), k));
	ELSE
		CALL peers.say(s, format('UPDATE app.account SET amount = %s WHERE id = %s', value, k));
	END IF;
END$$;

-- Session 0 looks at the table: nobody has a transaction open.  In the hard workload there
-- are two sessions, and every 20 statements a transaction that began first changes a record
-- last, in one of two ways.
CREATE PROCEDURE peers.generate(statements int, moments int, key_changes boolean, overlapping boolean) LANGUAGE plpgsql AS $$
DECLARE
	left_over int[] := '{0,0}';
	s int;
	k int[];
BEGIN
	PERFORM setseed(0.5);
	FOR i IN 1..statements LOOP
		s := 1 + (overlapping AND random() < 0.5)::int;
		IF left_over[s] = 0 AND random() < 0.6 THEN
			left_over[s] := 1 + floor(random() * 5);
			CALL peers.say(s, 'BEGIN');
		END IF;
		CALL peers.change(s, key_changes);
		IF left_over[s] = 0 THEN
			UPDATE peers.key SET was = alive, held = 0 WHERE held = s;
		ELSE
			left_over[s] := left_over[s] - 1;
			IF left_over[s] = 0 THEN
				CALL peers.finish(s, CASE WHEN random() < 0.1 THEN 'ROLLBACK' ELSE 'COMMIT' END);
			END IF;
		END IF;
		IF i % 20 = 0 THEN
			FOR s IN 1..2 LOOP
				IF left_over[s] > 0 THEN
					CALL peers.finish(s, 'COMMIT');
					left_over[s] := 0;
				END IF;
			END LOOP;
			IF overlapping THEN
				SELECT array_agg(id) INTO k FROM (SELECT id FROM (SELECT id FROM peers.key WHERE alive AND id % 10 NOT IN (1, 6) ORDER BY id) a ORDER BY random() LIMIT 2) q;
				CALL peers.say(1, 'BEGIN');
				IF i % 40 = 0 THEN
					CALL peers.say(1, format('UPDATE app.account SET note = ''first'' WHERE id = %s', k[2]));
				END IF;
				CALL peers.say(2, format('UPDATE app.account SET amount = %s WHERE id = %s', i, k[1]));
				CALL peers.say(1, format('UPDATE app.account SET amount = %s WHERE id = %s', i + 0.5, k[1]));
				CALL peers.say(1, 'COMMIT');
			END IF;
			IF i * moments / statements > (i - 20) * moments / statements THEN
				CALL peers.say(0, NULL);
			END IF;
		END IF;
	END LOOP;
END$$;

CREATE TABLE peers.moment (n int, at timestamptz);
CREATE TABLE peers.state (n int, image jsonb);
CREATE PROCEDURE peers.work() LANGUAGE plpgsql AS $$
DECLARE
	step record;
BEGIN
	FOR s IN 1..2 LOOP
		PERFORM public.dblink_connect('s' || s, format('host=%s dbname=%s user=%s', current_setting('unix_socket_directories'), current_database(), current_user));
	END LOOP;
	FOR step IN SELECT * FROM peers.step ORDER BY n LOOP
		IF step.session > 0 THEN
			PERFORM public.dblink_exec('s' || step.session, step.statement);
		ELSE
			PERFORM pg_sleep(0.002);
			INSERT INTO peers.moment VALUES (step.n, clock_timestamp());
			INSERT INTO peers.state SELECT step.n, peers.plain(to_jsonb(a)) FROM app.account a;
			PERFORM pg_sleep(0.002);
		END IF;
	END LOOP;
END$$;

-- ---- what has to come out ------------------------------------------------------------------------
CREATE FUNCTION peers.squeeze(versions jsonb[]) RETURNS jsonb[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(v ORDER BY n) FROM (SELECT v, n, lag(v) OVER (ORDER BY n) AS before FROM unnest(versions) WITH ORDINALITY u (v, n)) q WHERE v IS DISTINCT FROM before$$;
-- Versions of a record: the rows that it was, without repetitions.  Of what changed in one go,
-- the last: in a change, in a statement, or in a transaction.  A record is a key, or a row
-- that may change its key.
CREATE FUNCTION peers.truth(go text, by_key boolean) RETURNS TABLE (record bigint, versions jsonb[]) LANGUAGE sql AS $$
	WITH event AS (
		SELECT CASE WHEN by_key THEN id ELSE row_id END AS record, 0 AS n, '0'::xid8 AS txid, NULL::timestamptz AS statement, '' AS op, image FROM peers.base
		UNION ALL SELECT CASE WHEN by_key THEN (new ->> 'id')::int ELSE row_id END, n, txid, statement, op, new FROM peers.shadow WHERE new IS NOT NULL
		UNION ALL SELECT CASE WHEN by_key THEN (old ->> 'id')::int ELSE row_id END, n, txid, statement, op, NULL FROM peers.shadow
			WHERE old IS NOT NULL AND (new IS NULL OR by_key AND new -> 'id' <> old -> 'id')),
	last AS (
		SELECT *, lead(CASE go WHEN 'transaction' THEN txid::text WHEN 'statement' THEN concat(txid, ' ', statement, op) ELSE n::text END) OVER w
			IS DISTINCT FROM CASE go WHEN 'transaction' THEN txid::text WHEN 'statement' THEN concat(txid, ' ', statement, op) ELSE n::text END AS is_last
		FROM event WINDOW w AS (PARTITION BY record ORDER BY n))
	SELECT record, peers.squeeze(array_agg(image ORDER BY n) FILTER (WHERE image IS NOT NULL)) FROM last WHERE is_last GROUP BY record$$;

CREATE TABLE peers.call (what text, item text, wrong boolean, ms float8, why text);

-- query: the images of the versions of record $1, oldest first
CREATE PROCEDURE peers.check_versions(go text, by_key boolean, query text) LANGUAGE plpgsql AS $$
DECLARE
	truth record;
	started timestamptz;
	ms float8;
	got jsonb[];
	why text;
BEGIN
	FOR truth IN SELECT * FROM peers.truth(go, by_key) WHERE versions IS NOT NULL LOOP
		started := clock_timestamp();
		why := NULL;
		BEGIN
			EXECUTE format('SELECT array_agg(image) FROM (%s) q', query) INTO got USING truth.record;
		EXCEPTION WHEN OTHERS THEN
			why := SQLERRM;
			got := NULL;
		END;
		ms := extract(epoch FROM clock_timestamp() - started) * 1000;
		got := peers.squeeze(got);
		INSERT INTO peers.call VALUES ('versions', truth.record, got IS DISTINCT FROM truth.versions, ms,
			coalesce(why, CASE WHEN got IS DISTINCT FROM truth.versions THEN format('%s, not %s', got, truth.versions) END));
	END LOOP;
END$$;

-- query: the images of the table as of $1
CREATE PROCEDURE peers.check_states(query text) LANGUAGE plpgsql AS $$
DECLARE
	moment record;
	started timestamptz;
	ms float8;
	differences int;
	why text;
BEGIN
	FOR moment IN SELECT * FROM peers.moment ORDER BY n LOOP
		CREATE TEMP TABLE got (image jsonb);
		started := clock_timestamp();
		why := NULL;
		BEGIN
			EXECUTE 'INSERT INTO got ' || query USING moment.at;
		EXCEPTION WHEN OTHERS THEN
			why := SQLERRM;
		END;
		ms := extract(epoch FROM clock_timestamp() - started) * 1000;
		SELECT count(*) INTO differences FROM (
			(SELECT image FROM got EXCEPT ALL SELECT image FROM peers.state s WHERE s.n = moment.n)
			UNION ALL (SELECT image FROM peers.state s WHERE s.n = moment.n EXCEPT ALL SELECT image FROM got)) d;
		INSERT INTO peers.call VALUES ('table states', moment.n, differences > 0, ms, coalesce(why, differences || ' rows more or less'));
		DROP TABLE got;
	END LOOP;
END$$;

-- Transactions none of whose records was changed by others afterwards, and what the table is
-- without them.
CREATE TABLE peers.final (id int, image jsonb);
CREATE TABLE peers.revert (txid xid8, keys int[], before jsonb[]);
CREATE PROCEDURE peers.choose_reverts(most int) LANGUAGE sql AS $$
	INSERT INTO peers.final SELECT id, peers.plain(to_jsonb(a)) FROM app.account a;
	INSERT INTO peers.revert
	WITH touched AS (
		SELECT n, txid, (image ->> 'id')::int AS k FROM peers.shadow, LATERAL (VALUES (old), (new)) v (image) WHERE image IS NOT NULL),
	chosen AS (
		SELECT txid, array_agg(DISTINCT k) AS keys FROM touched t GROUP BY txid
		HAVING NOT bool_or(EXISTS (SELECT FROM touched o WHERE o.k = t.k AND o.n > t.n AND o.txid <> t.txid))
		ORDER BY md5(txid::text) LIMIT most)
	SELECT txid, keys, (SELECT array_agg(image) FROM unnest(keys) key (k), LATERAL (
		SELECT image FROM (
			SELECT n, CASE WHEN (new ->> 'id')::int = k THEN new END AS image FROM peers.shadow
			WHERE n < (SELECT min(t.n) FROM touched t WHERE t.txid = chosen.txid AND t.k = key.k) AND k IN ((old ->> 'id')::int, (new ->> 'id')::int)
			UNION ALL SELECT 0, image FROM peers.base WHERE id = k) i ORDER BY n DESC LIMIT 1) l
		WHERE image IS NOT NULL)
	FROM chosen$$;

-- command: reverts transaction $1.  What it did is taken back again.
CREATE PROCEDURE peers.check_revert(xact xid8, command text) LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz := clock_timestamp();
	ms float8;
	differences int;
BEGIN
	PERFORM set_config('peers.revert', 'on', true);
	BEGIN
		EXECUTE command USING xact;
		ms := extract(epoch FROM clock_timestamp() - started) * 1000;
		WITH got AS (SELECT peers.plain(to_jsonb(a)) AS image FROM app.account a), wanted AS (
			SELECT image FROM peers.final f, peers.revert r WHERE r.txid = xact AND f.id <> ALL (keys)
			UNION ALL SELECT unnest(before) FROM peers.revert WHERE txid = xact)
		SELECT count(*) INTO differences FROM (
			(TABLE got EXCEPT ALL TABLE wanted) UNION ALL (TABLE wanted EXCEPT ALL TABLE got)) d;
		RAISE 'taken back' USING ERRCODE = 'PEERS';
	EXCEPTION
		WHEN SQLSTATE 'PEERS' THEN
			INSERT INTO peers.call VALUES ('reverted transactions', xact, differences > 0, ms, differences || ' rows more or less');
		WHEN OTHERS THEN
			INSERT INTO peers.call VALUES ('reverted transactions', xact, true, extract(epoch FROM clock_timestamp() - started) * 1000, SQLERRM);
	END;
END$$;
