-- Sign-in links that work once, the sessions they become, and the installation's own id.
--
-- A link and a session are a user's, not a workspace's: porch_app reaches them through functions alone.

ALTER TABLE porch.sessions
  ADD COLUMN ends_at timestamptz NOT NULL,
  -- The end of the token that made the session's link, if it has one: what the session makes ends with it too.
  ADD COLUMN bound_until timestamptz,
  ADD COLUMN user_agent text;

CREATE TABLE porch.sign_in_links (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  user_id uuid NOT NULL REFERENCES porch.users (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  -- The token that made the link: revoked, it closes the link. No session of the link outlives its end.
  token_hash bytea REFERENCES porch.tokens (hash) ON DELETE CASCADE,
  session_ends_at timestamptz,
  used_at timestamptz
);
CREATE INDEX sign_in_links_user ON porch.sign_in_links (user_id);
CREATE INDEX sign_in_links_token ON porch.sign_in_links (token_hash);
-- What has ended is swept out by these.
CREATE INDEX sign_in_links_end ON porch.sign_in_links (expires_at);
CREATE INDEX sessions_end ON porch.sessions (coalesce(revoked_at, expires_at));

-- One row: what tells this installation from others on the same host name.
CREATE TABLE porch.installation (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id uuid NOT NULL
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['sign_in_links', 'installation'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['sessions', 'sign_in_links', 'installation'] LOOP
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT, DELETE, UPDATE (expires_at, revoked_at, last_used_at, last_used_from)
  ON porch.sessions TO porch_definer;
GRANT SELECT, INSERT, DELETE, UPDATE (used_at) ON porch.sign_in_links TO porch_definer;
GRANT SELECT, INSERT ON porch.installation TO porch_definer;

-- The installation's id, made when it is first asked for, so that a copy of an empty database gets its own.
CREATE FUNCTION porch.installation_id() RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM porch.installation) THEN
    INSERT INTO porch.installation (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING;
  END IF;
  RETURN (SELECT i.id FROM porch.installation i);
END $$;

-- Keeps a link that this token of the user's makes (null: none does), and answers until when it works; null when
-- that token is gone. Some of what ended long ago is swept out on the way.
CREATE FUNCTION porch.make_sign_in_link(
    p_user uuid, p_hash bytea, p_lifetime interval, p_workspace uuid, p_token uuid) RETURNS timestamptz
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  maker porch.tokens;
  ends timestamptz;
BEGIN
  SELECT t.* INTO maker FROM porch.tokens t
    WHERE t.workspace_id = p_workspace AND t.id = p_token AND t.user_id = p_user AND t.revoked_at IS NULL;
  IF p_token IS NOT NULL AND NOT FOUND THEN
    RETURN NULL;
  END IF;
  DELETE FROM porch.sign_in_links l WHERE l.hash IN (
    SELECT x.hash FROM porch.sign_in_links x WHERE x.expires_at < now() - interval '1 day'
    ORDER BY x.expires_at LIMIT 100 FOR UPDATE SKIP LOCKED);
  DELETE FROM porch.sessions s WHERE s.id IN (
    SELECT x.id FROM porch.sessions x WHERE coalesce(x.revoked_at, x.expires_at) < now() - interval '30 days'
    ORDER BY coalesce(x.revoked_at, x.expires_at) LIMIT 100 FOR UPDATE SKIP LOCKED);
  INSERT INTO porch.sign_in_links AS l (hash, user_id, expires_at, token_hash, session_ends_at)
    VALUES (p_hash, p_user, least(now() + p_lifetime, maker.expires_at), maker.hash, maker.expires_at)
    RETURNING l.expires_at INTO ends;
  RETURN ends;
END $$;

-- Whose link this is and whether it still works; no row for one that never was.
CREATE FUNCTION porch.read_sign_in_link(p_hash bytea)
  RETURNS TABLE (user_id uuid, user_name text, state text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT u.id, u.name, CASE WHEN l.used_at IS NOT NULL THEN 'used'
                            WHEN l.expires_at <= now() OR t.revoked_at IS NOT NULL THEN 'expired' ELSE 'open' END
  FROM porch.sign_in_links l
  JOIN porch.users u ON u.id = l.user_id
  LEFT JOIN porch.tokens t ON t.hash = l.token_hash
  WHERE l.hash = p_hash;
END;

-- Turns an open link into a session, once: of several calls at the same moment one gets true.
CREATE FUNCTION porch.redeem_sign_in_link(
    p_link bytea, p_session uuid, p_hash bytea, p_idle interval, p_whole interval, p_address text, p_agent text)
  RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE link porch.sign_in_links;
BEGIN
  UPDATE porch.sign_in_links l SET used_at = now()
    WHERE l.hash = p_link AND l.used_at IS NULL AND l.expires_at > now()
      AND NOT EXISTS (SELECT FROM porch.tokens t WHERE t.hash = l.token_hash AND t.revoked_at IS NOT NULL)
    RETURNING l.* INTO link;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO porch.sessions
      (id, user_id, hash, expires_at, ends_at, bound_until, last_used_at, last_used_from, user_agent)
    VALUES (p_session, link.user_id, p_hash, least(now() + p_idle, link.session_ends_at),
            least(now() + p_whole, link.session_ends_at), link.session_ends_at, now(), p_address, p_agent);
  RETURN true;
END $$;

-- Who a session stands for, by the SHA-256 of its secret; no row for one that is unknown, ended or expired.
-- A session reaches the workspace that its user joined first.
CREATE FUNCTION porch.authenticate_session(p_hash bytea)
  RETURNS TABLE (session_id uuid, user_id uuid, user_name text, workspace_id uuid, handle text, role text,
                 expires_at timestamptz, last_used_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT s.id, u.id, u.name, w.id, w.handle, m.role, s.expires_at, s.last_used_at
  FROM porch.sessions s
  JOIN porch.users u ON u.id = s.user_id
  JOIN porch.memberships m ON m.user_id = u.id
  JOIN porch.workspaces w ON w.id = m.workspace_id
  WHERE s.hash = p_hash AND s.revoked_at IS NULL AND s.expires_at > now()
  ORDER BY m.created_at, m.workspace_id
  LIMIT 1;
END;

-- When what a session makes has to end, null for never: a token cannot make itself a longer life by signing in.
CREATE FUNCTION porch.session_bound(p_session uuid) RETURNS timestamptz
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT s.bound_until FROM porch.sessions s WHERE s.id = p_session;
END;

-- Notes that a session was used, at most once a minute, and moves its end on, within its whole life.
CREATE FUNCTION porch.touch_session(p_session uuid, p_idle interval, p_address text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE porch.sessions s
    SET last_used_at = now(), last_used_from = p_address, expires_at = least(now() + p_idle, s.ends_at)
    WHERE s.id = p_session AND s.revoked_at IS NULL AND s.expires_at > now()
      AND (s.last_used_at IS NULL OR s.last_used_at < now() - interval '1 minute');
END;

-- A user's sessions that are open, the one used last first.
CREATE FUNCTION porch.list_sessions(p_user uuid)
  RETURNS TABLE (id uuid, created_at timestamptz, expires_at timestamptz, last_used_at timestamptz,
                 last_used_from text, user_agent text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT s.id, s.created_at, s.expires_at, s.last_used_at, s.last_used_from, s.user_agent
  FROM porch.sessions s
  WHERE s.user_id = p_user AND s.revoked_at IS NULL AND s.expires_at > now()
  ORDER BY s.last_used_at DESC NULLS LAST, s.id DESC
  LIMIT 200;
END;

-- Ends one of a user's open sessions; false where there is none of that id.
CREATE FUNCTION porch.end_session(p_user uuid, p_session uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE porch.sessions s SET revoked_at = now()
    WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL AND s.expires_at > now();
  RETURN FOUND;
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'installation_id()', 'make_sign_in_link(uuid, bytea, interval, uuid, uuid)', 'read_sign_in_link(bytea)',
      'redeem_sign_in_link(bytea, uuid, bytea, interval, interval, text, text)', 'authenticate_session(bytea)',
      'session_bound(uuid)', 'touch_session(uuid, interval, text)', 'list_sessions(uuid)', 'end_session(uuid, uuid)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
