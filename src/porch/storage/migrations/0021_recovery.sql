-- Recovery codes: each lets its person in once, who sets a new password with it. One that was used is gone.

CREATE TABLE porch.recovery_codes (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  user_id uuid NOT NULL REFERENCES porch.users (id) ON DELETE CASCADE
);
CREATE INDEX recovery_codes_user ON porch.recovery_codes (user_id);
ALTER TABLE porch.recovery_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.recovery_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY definer ON porch.recovery_codes TO porch_definer USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON porch.recovery_codes TO porch_definer;

-- Gives somebody these codes instead of those they had, from p_session, which lives and is bound to no token, while
-- p_password is still what theirs is checked with: 'done', or 'moved'.
CREATE FUNCTION porch.set_recovery_codes(p_user uuid, p_password text, p_hashes bytea[], p_session uuid) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- In the order in which porch.recover locks.
  PERFORM FROM porch.users u WHERE u.id = p_user AND u.password IS NOT DISTINCT FROM p_password AND u.login IS NOT NULL
    FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT EXISTS (
      SELECT FROM porch.sessions s WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL
        AND s.expires_at > now() AND s.bound_until IS NULL) THEN
    RETURN 'moved';
  END IF;
  DELETE FROM porch.recovery_codes c WHERE c.user_id = p_user;
  INSERT INTO porch.recovery_codes (hash, user_id) SELECT h, p_user FROM unnest(p_hashes) h;
  PERFORM porch.note_person(p_user, 'recovery:set', NULL, '{}', NULL, 'done');
  RETURN 'done';
END $$;

-- How many codes somebody has left.
CREATE FUNCTION porch.count_recovery_codes(p_user uuid) RETURNS bigint
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT count(*) FROM porch.recovery_codes c WHERE c.user_id = p_user;
END;

-- Whose code this is, and what they are called, which their password must not be; no row where the login is not theirs.
CREATE FUNCTION porch.find_recovery_code(p_login text, p_code bytea) RETURNS TABLE (user_id uuid, name text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT u.id, u.name FROM porch.recovery_codes c JOIN porch.users u ON u.id = c.user_id
  WHERE c.hash = p_code AND u.login = p_login;
END;

-- Uses a code up for a new password and a session: true for one of several calls. All other sessions of its person, and
-- their open links, end.
CREATE FUNCTION porch.recover(
    p_user uuid, p_code bytea, p_password text, p_session uuid, p_hash bytea, p_idle interval, p_whole interval,
    p_address text, p_agent text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM porch.users u WHERE u.id = p_user FOR NO KEY UPDATE;
  DELETE FROM porch.recovery_codes c WHERE c.hash = p_code AND c.user_id = p_user;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE porch.users u SET password = p_password, password_changed_at = now() WHERE u.id = p_user;
  UPDATE porch.sessions s SET revoked_at = now() WHERE s.user_id = p_user AND s.revoked_at IS NULL;
  DELETE FROM porch.sign_in_links l WHERE l.user_id = p_user AND l.used_at IS NULL;
  PERFORM porch.note_person(p_user, 'recovery:use', NULL, '{}', p_address, 'done');
  INSERT INTO porch.sessions (id, user_id, hash, expires_at, ends_at, last_used_at, last_used_from, user_agent)
    VALUES (p_session, p_user, p_hash, now() + p_idle, now() + p_whole, now(), p_address, p_agent);
  RETURN true;
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['set_recovery_codes(uuid, text, bytea[], uuid)', 'count_recovery_codes(uuid)',
      'find_recovery_code(text, bytea)',
      'recover(uuid, bytea, text, uuid, bytea, interval, interval, text, text)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
