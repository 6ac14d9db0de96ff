-- Signing in with an OpenID Connect provider: who a person is there, and the sign-ins that are under way.
--
-- People belong to no workspace: porch_app reaches these through functions alone.

-- A person is known by issuer and subject, and by nothing else that a provider says. One account with each provider.
CREATE TABLE porch.oidc_identities (
  issuer text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 1000),
  subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
  user_id uuid NOT NULL REFERENCES porch.users (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz,
  PRIMARY KEY (issuer, subject),
  UNIQUE (user_id, issuer)
);

-- A sign-in between leaving for the provider and coming back. `hash` is of the state that goes along; what the state,
-- the nonce and PKCE's verifier are made from, the browser alone keeps. With a session, that is who links an identity.
CREATE TABLE porch.oidc_flows (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  issuer text NOT NULL,
  session_id uuid REFERENCES porch.sessions (id) ON DELETE CASCADE,
  expires_at timestamptz NOT NULL
);
CREATE INDEX oidc_flows_expiry ON porch.oidc_flows (expires_at);
CREATE INDEX oidc_flows_session ON porch.oidc_flows (session_id) WHERE session_id IS NOT NULL;

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['oidc_identities', 'oidc_flows'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, DELETE, UPDATE (last_used_at) ON porch.oidc_identities TO porch_definer;
-- Of a flow nothing is changed: whoever locks it to sweep it needs the right to.
GRANT SELECT, INSERT, DELETE, UPDATE (expires_at) ON porch.oidc_flows TO porch_definer;

-- Notes that a browser leaves for the provider. Some of what was never finished is swept out on the way.
CREATE FUNCTION porch.begin_oidc(p_hash bytea, p_issuer text, p_session uuid, p_lives interval) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO porch.oidc_flows (hash, issuer, session_id, expires_at)
    VALUES (p_hash, p_issuer, p_session, now() + p_lives);
  DELETE FROM porch.oidc_flows f WHERE f.hash IN (
    SELECT x.hash FROM porch.oidc_flows x WHERE x.expires_at < now() - interval '1 minute'
    ORDER BY x.expires_at LIMIT 100 FOR UPDATE SKIP LOCKED);
END $$;

-- Takes a sign-in that is under way, once; no row for one that is not, is too old, or is with another provider.
CREATE FUNCTION porch.take_oidc(p_hash bytea, p_issuer text) RETURNS TABLE (session_id uuid)
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH taken AS (
    DELETE FROM porch.oidc_flows f WHERE f.hash = p_hash RETURNING f.issuer, f.session_id, f.expires_at)
  SELECT t.session_id FROM taken t WHERE t.issuer = p_issuer AND t.expires_at > now();
END;

-- A session of whoever this is with the provider; null where nobody here is.
CREATE FUNCTION porch.begin_oidc_session(
    p_issuer text, p_subject text, p_session uuid, p_hash bytea, p_idle interval, p_whole interval, p_address text,
    p_agent text, p_workspace uuid) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  person uuid;
BEGIN
  SELECT i.user_id INTO person FROM porch.oidc_identities i WHERE i.issuer = p_issuer AND i.subject = p_subject;
  -- In the order in which unlink_oidc locks: what is being unlinked just now begins no session behind it.
  PERFORM FROM porch.users u WHERE u.id = person FOR NO KEY UPDATE;
  UPDATE porch.oidc_identities i SET last_used_at = now()
    WHERE i.issuer = p_issuer AND i.subject = p_subject AND i.user_id = person;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  INSERT INTO porch.sessions (id, user_id, hash, expires_at, ends_at, last_used_at, last_used_from, user_agent, place)
    VALUES (p_session, person, p_hash, now() + p_idle, now() + p_whole, now(), p_address, p_agent, p_workspace);
  DELETE FROM porch.sessions s WHERE s.id IN (
    SELECT x.id FROM porch.sessions x WHERE coalesce(x.revoked_at, x.expires_at) < now() - interval '30 days'
    ORDER BY coalesce(x.revoked_at, x.expires_at) LIMIT 100 FOR UPDATE SKIP LOCKED);
  RETURN person;
END $$;

-- Somebody new who signs in with a provider, as porch.sign_up makes those with a password. 'made', or why not:
-- 'known' where the identity is somebody's by now, 'login_taken', 'handle_taken', 'gone' for the invitation.
CREATE FUNCTION porch.sign_up_oidc(
    p_user uuid, p_login text, p_name text, p_workspace uuid, p_handle text, p_invitation bytea, p_issuer text,
    p_subject text) RETURNS TABLE (outcome text, joined uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- One after another for one identity: of two first sign-ins at once the second finds the account of the first.
  PERFORM pg_advisory_xact_lock(hashtextextended('porch.sign_up_oidc ' || p_issuer || ' ' || p_subject, 0));
  IF EXISTS (SELECT FROM porch.oidc_identities i WHERE i.issuer = p_issuer AND i.subject = p_subject) THEN
    outcome := 'known'; RETURN NEXT; RETURN;
  END IF;
  INSERT INTO porch.workspaces (id, handle, name) VALUES (p_workspace, p_handle, p_name) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    outcome := 'handle_taken'; RETURN NEXT; RETURN;
  END IF;
  INSERT INTO porch.users (id, name, login) VALUES (p_user, p_name, p_login) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    DELETE FROM porch.workspaces w WHERE w.id = p_workspace;
    outcome := 'login_taken'; RETURN NEXT; RETURN;
  END IF;
  IF p_invitation IS NOT NULL THEN
    joined := porch.accept_invitation(p_invitation, p_user);
    IF joined IS NULL THEN
      DELETE FROM porch.users u WHERE u.id = p_user;
      DELETE FROM porch.workspaces w WHERE w.id = p_workspace;
      outcome := 'gone'; RETURN NEXT; RETURN;
    END IF;
  END IF;
  INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES (p_workspace, p_user, 'owner');
  INSERT INTO porch.oidc_identities (issuer, subject, user_id) VALUES (p_issuer, p_subject, p_user);
  outcome := 'made'; RETURN NEXT;
END $$;

-- Lets somebody sign in with a provider from now on, by a session that lives and is bound to no token. 'done', 'ended'
-- where it does not live, 'taken' where the identity is another person's, 'other' where they have another one there.
CREATE FUNCTION porch.link_oidc(p_user uuid, p_session uuid, p_issuer text, p_subject text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  owner uuid;
BEGIN
  PERFORM FROM porch.users u WHERE u.id = p_user FOR NO KEY UPDATE;
  IF NOT EXISTS (
      SELECT FROM porch.sessions s WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL
        AND s.expires_at > now() AND s.bound_until IS NULL) THEN
    RETURN 'ended';
  END IF;
  INSERT INTO porch.oidc_identities (issuer, subject, user_id) VALUES (p_issuer, p_subject, p_user)
    ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN 'done';
  END IF;
  SELECT i.user_id INTO owner FROM porch.oidc_identities i WHERE i.issuer = p_issuer AND i.subject = p_subject;
  RETURN CASE WHEN owner = p_user THEN 'done' WHEN owner IS NULL THEN 'other' ELSE 'taken' END;
END $$;

-- Takes a provider from somebody's ways to sign in, whose other sessions end, from p_session, which lives. 'done',
-- 'missing', 'ended', or 'last' where nothing else lets them in: a password, links for the operator, or the provider
-- that this installation asks now (p_current).
CREATE FUNCTION porch.unlink_oidc(p_user uuid, p_session uuid, p_issuer text, p_current text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  person porch.users;
BEGIN
  -- Locked, so that of two ways taken away at once one stays.
  SELECT u.* INTO person FROM porch.users u WHERE u.id = p_user FOR NO KEY UPDATE;
  IF NOT EXISTS (
      SELECT FROM porch.sessions s WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL
        AND s.expires_at > now() AND s.bound_until IS NULL) THEN
    RETURN 'ended';
  END IF;
  IF NOT EXISTS (SELECT FROM porch.oidc_identities i WHERE i.user_id = p_user AND i.issuer = p_issuer) THEN
    RETURN 'missing';
  END IF;
  IF person.password IS NULL AND NOT person.operator AND NOT EXISTS (
      SELECT FROM porch.oidc_identities i
      WHERE i.user_id = p_user AND i.issuer <> p_issuer AND i.issuer = p_current) THEN
    RETURN 'last';
  END IF;
  DELETE FROM porch.oidc_identities i WHERE i.user_id = p_user AND i.issuer = p_issuer;
  UPDATE porch.sessions s SET revoked_at = now()
    WHERE s.user_id = p_user AND s.id <> p_session AND s.revoked_at IS NULL;
  RETURN 'done';
END $$;

-- With which providers somebody signs in.
CREATE FUNCTION porch.list_oidc(p_user uuid)
  RETURNS TABLE (issuer text, subject text, created_at timestamptz, last_used_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT i.issuer, i.subject, i.created_at, i.last_used_at
  FROM porch.oidc_identities i WHERE i.user_id = p_user ORDER BY i.issuer LIMIT 50;
END;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'begin_oidc(bytea, text, uuid, interval)', 'take_oidc(bytea, text)',
      'begin_oidc_session(text, text, uuid, bytea, interval, interval, text, text, uuid)',
      'sign_up_oidc(uuid, text, text, uuid, text, bytea, text, text)', 'link_oidc(uuid, uuid, text, text)',
      'unlink_oidc(uuid, uuid, text, text)', 'list_oidc(uuid)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;

-- A way in that was added or taken away is told to the workspaces of whoever it lets in.
CREATE FUNCTION porch.audit_identity() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM porch.note_person(coalesce(NEW.user_id, OLD.user_id),
    'identity:' || CASE TG_OP WHEN 'INSERT' THEN 'link' ELSE 'unlink' END, NULL,
    jsonb_build_object('issuer', coalesce(NEW.issuer, OLD.issuer)), NULL, 'done');
  RETURN NULL;
END $$;
CREATE TRIGGER audited AFTER INSERT OR DELETE ON porch.oidc_identities FOR EACH ROW EXECUTE FUNCTION porch.audit_identity();
REVOKE ALL ON FUNCTION porch.audit_identity() FROM PUBLIC;
ALTER FUNCTION porch.audit_identity() OWNER TO porch_definer;
