-- Passkeys, and the challenges that authenticators sign. They are a person's and no workspace's: porch_app reaches them
-- through functions alone.

CREATE TABLE porch.passkeys (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES porch.users (id) ON DELETE CASCADE,
  -- What the authenticator calls it, and its public key (a COSE_Key, RFC 9052).
  credential bytea NOT NULL UNIQUE CHECK (octet_length(credential) BETWEEN 1 AND 1023),
  public_key bytea NOT NULL,
  sign_count bigint NOT NULL,
  name text NOT NULL,
  transports text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz
);
CREATE INDEX passkeys_user ON porch.passkeys (user_id, id);

-- What an authenticator has to sign, once: to be added, in the session that asked; to sign in, anywhere.
CREATE TABLE porch.passkey_challenges (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  purpose text NOT NULL CHECK (purpose IN ('add', 'sign_in')),
  session_id uuid REFERENCES porch.sessions (id) ON DELETE CASCADE,
  expires_at timestamptz NOT NULL,
  CHECK ((session_id IS NULL) = (purpose = 'sign_in'))
);
CREATE INDEX passkey_challenges_session ON porch.passkey_challenges (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX passkey_challenges_end ON porch.passkey_challenges (expires_at);

-- By which passkey it was opened: it ends with it.
ALTER TABLE porch.sessions ADD COLUMN passkey_id uuid;

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['passkeys', 'passkey_challenges'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT, DELETE, UPDATE (sign_count, last_used_at) ON porch.passkeys TO porch_definer;
GRANT SELECT, INSERT, DELETE ON porch.passkey_challenges TO porch_definer;
GRANT UPDATE (expires_at) ON porch.passkey_challenges TO porch_definer; -- which whoever locks rows needs

-- Keeps a challenge. Some of those whose time is up are swept out on the way.
CREATE FUNCTION porch.make_passkey_challenge(p_hash bytea, p_purpose text, p_session uuid, p_lifetime interval)
  RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM porch.passkey_challenges c WHERE c.hash IN (
    SELECT x.hash FROM porch.passkey_challenges x WHERE x.expires_at < now() - interval '1 minute'
    ORDER BY x.expires_at LIMIT 20 FOR UPDATE SKIP LOCKED);
  INSERT INTO porch.passkey_challenges (hash, purpose, session_id, expires_at)
    VALUES (p_hash, p_purpose, p_session, now() + p_lifetime);
END $$;

-- Uses a challenge up: of several calls one gets true, and that only for the purpose and session it was made for.
CREATE FUNCTION porch.use_passkey_challenge(p_hash bytea, p_purpose text, p_session uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE challenge porch.passkey_challenges;
BEGIN
  DELETE FROM porch.passkey_challenges c WHERE c.hash = p_hash RETURNING c.* INTO challenge;
  RETURN FOUND AND challenge.expires_at > now() AND challenge.purpose = p_purpose
    AND challenge.session_id IS NOT DISTINCT FROM p_session;
END $$;

-- Keeps a passkey of somebody's, from p_session, which lives and is bound to no token: 'done', 'full' where they have
-- p_most, 'taken' where the credential is known already, 'moved' where the session has ended or is bound.
CREATE FUNCTION porch.add_passkey(
    p_user uuid, p_session uuid, p_passkey uuid, p_credential bytea, p_key bytea, p_count bigint, p_name text,
    p_transports text[], p_most integer) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- One after another for one person, or two at once would pass the limit; and after a password that is being set.
  PERFORM FROM porch.users u WHERE u.id = p_user FOR NO KEY UPDATE;
  IF NOT EXISTS (
      SELECT FROM porch.sessions s WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL
        AND s.expires_at > now() AND s.bound_until IS NULL) THEN
    RETURN 'moved';
  END IF;
  IF p_most <= (SELECT count(*) FROM porch.passkeys k WHERE k.user_id = p_user) THEN
    RETURN 'full';
  END IF;
  INSERT INTO porch.passkeys (id, user_id, credential, public_key, sign_count, name, transports)
    VALUES (p_passkey, p_user, p_credential, p_key, p_count, p_name, p_transports) ON CONFLICT DO NOTHING;
  RETURN CASE WHEN FOUND THEN 'done' ELSE 'taken' END;
END $$;

-- A person's passkeys, the newest first.
CREATE FUNCTION porch.list_passkeys(p_user uuid)
  RETURNS TABLE (id uuid, credential bytea, name text, transports text[], created_at timestamptz,
                 last_used_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.id, k.credential, k.name, k.transports, k.created_at, k.last_used_at
  FROM porch.passkeys k WHERE k.user_id = p_user
  ORDER BY k.id DESC
  LIMIT 200;
END;

-- Whose passkey this is, and what its signatures are checked with.
CREATE FUNCTION porch.find_passkey(p_credential bytea) RETURNS TABLE (id uuid, user_id uuid, public_key bytea)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.id, k.user_id, k.public_key FROM porch.passkeys k WHERE k.credential = p_credential;
END;

-- Notes that somebody signed with their passkey, by its counter: 'done', 'gone', or 'cloned' where the counter did not
-- rise, which it does unless the authenticator has none and always says 0.
CREATE FUNCTION porch.use_passkey(p_passkey uuid, p_user uuid, p_count bigint) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE known bigint;
BEGIN
  SELECT k.sign_count INTO known FROM porch.passkeys k
    WHERE k.id = p_passkey AND k.user_id = p_user FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN 'gone';
  END IF;
  IF p_count <= known AND (p_count, known) <> (0, 0) THEN
    RETURN 'cloned';
  END IF;
  UPDATE porch.passkeys k SET sign_count = p_count, last_used_at = now() WHERE k.id = p_passkey;
  RETURN 'done';
END $$;

-- A session of somebody who signed with this passkey: what porch.use_passkey answers. Some of what ended long ago is
-- swept out on the way.
CREATE FUNCTION porch.begin_session_by_passkey(
    p_user uuid, p_passkey uuid, p_count bigint, p_session uuid, p_hash bytea, p_idle interval, p_whole interval,
    p_address text, p_agent text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE outcome text := porch.use_passkey(p_passkey, p_user, p_count);
BEGIN
  IF outcome <> 'done' THEN
    RETURN outcome;
  END IF;
  INSERT INTO porch.sessions
      (id, user_id, hash, expires_at, ends_at, last_used_at, last_used_from, user_agent, passkey_id)
    VALUES (p_session, p_user, p_hash, now() + p_idle, now() + p_whole, now(), p_address, p_agent, p_passkey);
  DELETE FROM porch.sessions s WHERE s.id IN (
    SELECT x.id FROM porch.sessions x WHERE coalesce(x.revoked_at, x.expires_at) < now() - interval '30 days'
    ORDER BY coalesce(x.revoked_at, x.expires_at) LIMIT 100 FOR UPDATE SKIP LOCKED);
  RETURN outcome;
END $$;

-- Takes a passkey from its person, and ends the sessions that it opened, but not p_session; false where there is none.
CREATE FUNCTION porch.remove_passkey(p_user uuid, p_passkey uuid, p_session uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Waits for whoever is signing in with it just now.
  DELETE FROM porch.passkeys k WHERE k.id = p_passkey AND k.user_id = p_user;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE porch.sessions s SET revoked_at = now()
    WHERE s.user_id = p_user AND s.passkey_id = p_passkey AND s.id <> p_session AND s.revoked_at IS NULL;
  RETURN true;
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'make_passkey_challenge(bytea, text, uuid, interval)', 'use_passkey_challenge(bytea, text, uuid)',
      'add_passkey(uuid, uuid, uuid, bytea, bytea, bigint, text, text[], integer)', 'list_passkeys(uuid)',
      'find_passkey(bytea)', 'use_passkey(uuid, uuid, bigint)',
      'begin_session_by_passkey(uuid, uuid, bigint, uuid, bytea, interval, interval, text, text)',
      'remove_passkey(uuid, uuid, uuid)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
