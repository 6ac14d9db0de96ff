-- When the person of a session last showed that it is theirs. Null for sessions from before.
ALTER TABLE porch.sessions ADD COLUMN confirmed_at timestamptz;
-- Whoever signs in has just done so, by a server of whichever version.
ALTER TABLE porch.sessions ALTER COLUMN confirmed_at SET DEFAULT now();
GRANT UPDATE (confirmed_at) ON porch.sessions TO porch_definer;

CREATE FUNCTION porch.is_confirmed(p_session uuid, p_within interval) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce((SELECT s.confirmed_at > now() - p_within FROM porch.sessions s WHERE s.id = p_session), false);
END;

-- Notes it for somebody who showed a password, while p_password is still what that is checked with.
CREATE FUNCTION porch.confirm_session(p_user uuid, p_session uuid, p_password text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE porch.sessions s SET confirmed_at = now() FROM porch.users u
    WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL AND u.id = p_user
      AND u.password = p_password;
  RETURN FOUND;
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['is_confirmed(uuid, interval)', 'confirm_session(uuid, uuid, text)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
