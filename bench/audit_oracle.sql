-- The PL/pgSQL function that fn_audit_trigger replaces, as its authors wrote it
-- but for the names plpgsql_audit and plpgsql_log.
CREATE FUNCTION plpgsql_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_old_data JSONB;
    v_new_data JSONB;
    v_diff JSONB := '{}';
    v_key TEXT;
    v_record_id BIGINT;
BEGIN
    IF TG_OP = 'INSERT' THEN
        v_new_data := to_jsonb(NEW);
        v_record_id := (v_new_data->>TG_ARGV[0])::BIGINT;
        INSERT INTO plpgsql_log (table_name, record_id, action, new_data, user_id)
        VALUES (TG_TABLE_NAME, v_record_id, 'I', v_new_data,
                coalesce(current_setting('app.current_user', true), 'system'));

    ELSIF TG_OP = 'UPDATE' THEN
        v_old_data := to_jsonb(OLD);
        v_new_data := to_jsonb(NEW);
        -- Compute diff
        FOR v_key IN SELECT jsonb_object_keys(v_new_data)
        LOOP
            IF v_old_data->v_key IS DISTINCT FROM v_new_data->v_key THEN
                v_diff := v_diff || jsonb_build_object(
                    v_key,
                    jsonb_build_object('old', v_old_data->v_key, 'new', v_new_data->v_key)
                );
            END IF;
        END LOOP;
        -- Only log if something actually changed
        IF v_diff <> '{}' THEN
            v_record_id := (v_old_data->>TG_ARGV[0])::BIGINT;
            INSERT INTO plpgsql_log (table_name, record_id, action, changed_fields, user_id)
            VALUES (TG_TABLE_NAME, v_record_id, 'U', v_diff,
                    coalesce(current_setting('app.current_user', true), 'system'));
        END IF;

    ELSIF TG_OP = 'DELETE' THEN
        v_old_data := to_jsonb(OLD);
        v_record_id := (v_old_data->>TG_ARGV[0])::BIGINT;
        INSERT INTO plpgsql_log (table_name, record_id, action, old_data, user_id)
        VALUES (TG_TABLE_NAME, v_record_id, 'D', v_old_data,
                coalesce(current_setting('app.current_user', true), 'system'));
    END IF;

    RETURN COALESCE(NEW, OLD);
END;
$$ SECURITY DEFINER;
