-- People beside the operator: their names to sign in with, passwords, invitations, and the workspace a session is in.
--
-- A person is nobody's tenant: porch_app reaches people through functions alone. Who belongs to a workspace is changed
-- by one function, under a lock on the workspace's row.

ALTER TABLE porch.users
  ADD COLUMN login text UNIQUE CHECK (login = lower(login)),
  ADD COLUMN password text,
  ADD COLUMN password_changed_at timestamptz;

-- Where its pages are that name no workspace; null, or one that was left: the workspace that was joined first.
ALTER TABLE porch.sessions ADD COLUMN place uuid REFERENCES porch.workspaces (id) ON DELETE SET NULL;
CREATE INDEX sessions_place ON porch.sessions (place) WHERE place IS NOT NULL;

CREATE TABLE porch.invitations (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  role text NOT NULL CHECK (role IN ('owner', 'admin', 'editor', 'runner', 'viewer')),
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (workspace_id, id),
  -- Whoever leaves takes along what they have not used.
  FOREIGN KEY (workspace_id, created_by) REFERENCES porch.memberships (workspace_id, user_id) ON DELETE CASCADE
);
CREATE INDEX invitations_maker ON porch.invitations (workspace_id, created_by);
CREATE INDEX invitations_open ON porch.invitations (workspace_id, id DESC) WHERE used_at IS NULL AND revoked_at IS NULL;

-- How often somebody tried to sign in, by account and network. `free_at`: when nothing of it counts any more.
CREATE TABLE porch.sign_in_limits (
  subject bytea PRIMARY KEY CHECK (octet_length(subject) = 32),
  free_at timestamptz NOT NULL
);
CREATE INDEX sign_in_limits_free ON porch.sign_in_limits (free_at);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['invitations', 'sign_in_limits'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
CREATE POLICY tenant ON porch.invitations TO porch_app
  USING (workspace_id = porch.current_workspace()) WITH CHECK (workspace_id = porch.current_workspace());

GRANT SELECT, INSERT, UPDATE (revoked_at), DELETE ON porch.invitations TO porch_app;
GRANT SELECT, UPDATE (used_at, revoked_at) ON porch.invitations TO porch_definer;
GRANT SELECT, INSERT, UPDATE, DELETE ON porch.sign_in_limits TO porch_definer;
GRANT UPDATE (login, password, password_changed_at) ON porch.users TO porch_definer;
GRANT UPDATE (role), DELETE ON porch.memberships TO porch_definer;
-- Of a workspace's row nothing is changed by these functions: whoever locks it needs the right to.
GRANT UPDATE (name) ON porch.workspaces TO porch_definer;
GRANT UPDATE (place) ON porch.sessions TO porch_definer;

-- ---------------------------------------------------------------- sessions in several workspaces

-- Who a session stands for in one workspace: the one that is named (handle or id), else that of the conversation, run or
-- approval, else the one given, else the session's own. The first of these that its user belongs to; at last the one
-- joined first.
CREATE FUNCTION porch.authenticate_session_in(p_hash bytea, p_named text, p_kind text, p_object uuid, p_given uuid)
  RETURNS TABLE (session_id uuid, user_id uuid, user_name text, workspace_id uuid, handle text, role text,
                 expires_at timestamptz, last_used_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
BEGIN ATOMIC
  SELECT s.id, u.id, u.name, w.id, w.handle, m.role, s.expires_at, s.last_used_at
  FROM porch.sessions s
  JOIN porch.users u ON u.id = s.user_id
  JOIN porch.memberships m ON m.user_id = u.id
  JOIN porch.workspaces w ON w.id = m.workspace_id
  WHERE s.hash = p_hash AND s.revoked_at IS NULL AND s.expires_at > now()
  ORDER BY
    CASE
      WHEN p_named IN (w.handle, 'ws_' || replace(w.id::text, '-', '')) THEN 0
      WHEN p_kind = 'conv' AND EXISTS (
        SELECT FROM porch.conversations c WHERE c.workspace_id = m.workspace_id AND c.id = p_object) THEN 1
      WHEN p_kind = 'run' AND EXISTS (
        SELECT FROM porch.runs r WHERE r.workspace_id = m.workspace_id AND r.id = p_object) THEN 1
      WHEN p_kind = 'run' AND EXISTS (
        SELECT FROM porch.queued_runs q WHERE q.workspace_id = m.workspace_id AND q.id = p_object) THEN 1
      WHEN p_kind = 'apr' AND EXISTS (
        SELECT FROM porch.approvals a WHERE a.workspace_id = m.workspace_id AND a.id = p_object) THEN 1
      WHEN m.workspace_id = p_given THEN 2
      WHEN m.workspace_id = s.place THEN 3
      ELSE 4
    END, m.created_at, m.workspace_id
  LIMIT 1;
END;

-- Moves a session into another workspace of its user's; false where it is none.
CREATE FUNCTION porch.switch_workspace(p_session uuid, p_user uuid, p_named text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE porch.sessions s SET place = m.workspace_id
    FROM porch.memberships m JOIN porch.workspaces w ON w.id = m.workspace_id
    WHERE s.id = p_session AND s.user_id = p_user AND m.user_id = p_user
      AND p_named IN (w.handle, 'ws_' || replace(w.id::text, '-', ''));
  RETURN FOUND;
END $$;

-- A session of somebody who showed a password, while p_password is still what that is checked with. False when it was
-- changed meanwhile. Some of what ended long ago is swept out on the way.
CREATE FUNCTION porch.begin_session(
    p_user uuid, p_session uuid, p_hash bytea, p_idle interval, p_whole interval, p_address text, p_agent text,
    p_workspace uuid, p_password text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Locked, so that a password being set just now comes before this or ends what this makes.
  PERFORM FROM porch.users u WHERE u.id = p_user AND u.password = p_password FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO porch.sessions (id, user_id, hash, expires_at, ends_at, last_used_at, last_used_from, user_agent, place)
    VALUES (p_session, p_user, p_hash, now() + p_idle, now() + p_whole, now(), p_address, p_agent, p_workspace);
  DELETE FROM porch.sessions s WHERE s.id IN (
    SELECT x.id FROM porch.sessions x WHERE coalesce(x.revoked_at, x.expires_at) < now() - interval '30 days'
    ORDER BY coalesce(x.revoked_at, x.expires_at) LIMIT 100 FOR UPDATE SKIP LOCKED);
  RETURN true;
END $$;

-- ---------------------------------------------------------------- workspaces and who belongs to them

-- The workspaces that somebody belongs to, the one joined first before the others.
CREATE FUNCTION porch.list_workspaces(p_user uuid)
  RETURNS TABLE (id uuid, handle text, name text, created_at timestamptz, journal_days integer, role text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT w.id, w.handle, w.name, w.created_at, w.journal_days, m.role
  FROM porch.memberships m JOIN porch.workspaces w ON w.id = m.workspace_id
  WHERE m.user_id = p_user
  ORDER BY m.created_at, m.workspace_id
  LIMIT 200;
END;

-- A workspace of somebody's own: 'made', or 'taken' for its handle, or 'full' where they have p_most of their own.
CREATE FUNCTION porch.make_workspace(p_user uuid, p_workspace uuid, p_handle text, p_name text, p_most integer)
  RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- One after another for one person, or two at once would pass the limit.
  PERFORM pg_advisory_xact_lock(hashtextextended('porch.make_workspace ' || p_user, 0));
  IF p_most <= (SELECT count(*) FROM porch.memberships m WHERE m.user_id = p_user AND m.role = 'owner') THEN
    RETURN 'full';
  END IF;
  INSERT INTO porch.workspaces (id, handle, name) VALUES (p_workspace, p_handle, p_name) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN 'taken';
  END IF;
  INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES (p_workspace, p_user, 'owner');
  RETURN 'made';
END $$;

-- Who belongs to the transaction's workspace, the older account first, from behind p_after on.
CREATE FUNCTION porch.list_members(p_after uuid, p_limit integer)
  RETURNS TABLE (user_id uuid, name text, login text, role text, joined_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT u.id, u.name, u.login, m.role, m.created_at
  FROM porch.memberships m JOIN porch.users u ON u.id = m.user_id
  WHERE m.workspace_id = porch.current_workspace()
    AND (p_after IS NULL OR m.user_id > p_after)
  ORDER BY m.user_id
  LIMIT p_limit;
END;

-- Whether somebody belongs to a workspace.
CREATE FUNCTION porch.is_member(p_user uuid, p_workspace uuid) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM porch.memberships m WHERE m.workspace_id = p_workspace AND m.user_id = p_user);
END;

-- Gives somebody another role in the transaction's workspace, or with none takes them out of it, for p_actor, who must
-- still be allowed to: an owner anything, an admin what concerns no owner, everybody to leave. 'done', 'missing',
-- 'forbidden', 'last_owner', since a workspace keeps one, or 'at_home' for the operator, who owns the workspace that the
-- installation is at home in. Whoever goes, their tokens there and their invitations go.
CREATE FUNCTION porch.change_member(p_actor uuid, p_user uuid, p_role text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place uuid := porch.current_workspace();
  mine text;
  theirs text;
BEGIN
  -- One change at a time: two owners who remove each other leave one.
  PERFORM FROM porch.workspaces w WHERE w.id = place FOR NO KEY UPDATE;
  SELECT m.role INTO mine FROM porch.memberships m WHERE m.workspace_id = place AND m.user_id = p_actor;
  SELECT m.role INTO theirs FROM porch.memberships m WHERE m.workspace_id = place AND m.user_id = p_user;
  IF theirs IS NULL THEN
    RETURN 'missing';
  END IF;
  IF NOT coalesce(mine = 'owner' OR (mine = 'admin' AND theirs <> 'owner' AND p_role IS DISTINCT FROM 'owner')
                  OR (p_actor = p_user AND p_role IS NULL), false) THEN
    RETURN 'forbidden';
  END IF;
  IF theirs = 'owner' AND p_role IS DISTINCT FROM 'owner' AND 1 = (
      SELECT count(*) FROM porch.memberships m WHERE m.workspace_id = place AND m.role = 'owner') THEN
    RETURN 'last_owner';
  END IF;
  IF theirs = 'owner' AND p_role IS DISTINCT FROM 'owner' AND porch.is_at_home(p_user, place) THEN
    RETURN 'at_home';
  END IF;
  IF p_role IS NULL THEN
    DELETE FROM porch.memberships m WHERE m.workspace_id = place AND m.user_id = p_user;
    RETURN 'done';
  END IF;
  UPDATE porch.memberships m SET role = p_role WHERE m.workspace_id = place AND m.user_id = p_user;
  IF p_role NOT IN ('owner', 'admin') THEN
    UPDATE porch.invitations i SET revoked_at = now()
      WHERE i.workspace_id = place AND i.created_by = p_user AND i.used_at IS NULL AND i.revoked_at IS NULL;
  ELSIF p_role = 'admin' THEN
    UPDATE porch.invitations i SET revoked_at = now()
      WHERE i.workspace_id = place AND i.created_by = p_user AND i.role = 'owner' AND i.used_at IS NULL
        AND i.revoked_at IS NULL;
  END IF;
  RETURN 'done';
END $$;

-- ---------------------------------------------------------------- invitations

-- What an invitation is for and whether it still works; no row for one that never was.
CREATE FUNCTION porch.read_invitation(p_hash bytea)
  RETURNS TABLE (workspace_id uuid, handle text, name text, role text, invited_by text, state text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT w.id, w.handle, w.name, i.role, u.name,
         CASE WHEN i.used_at IS NOT NULL THEN 'used'
              WHEN i.revoked_at IS NOT NULL OR i.expires_at <= now() THEN 'expired'
              WHEN m.role = 'owner' OR (m.role = 'admin' AND i.role <> 'owner') THEN 'open' ELSE 'expired' END
  FROM porch.invitations i
  JOIN porch.memberships m ON m.workspace_id = i.workspace_id AND m.user_id = i.created_by
  JOIN porch.workspaces w ON w.id = i.workspace_id
  JOIN porch.users u ON u.id = i.created_by
  WHERE i.hash = p_hash;
END;

-- Uses an invitation up, once: the workspace that was joined, null where it is not open any more, or where the person
-- belongs to the workspace already: then it stays open.
CREATE FUNCTION porch.accept_invitation(p_hash bytea, p_user uuid) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place uuid;
  invitation porch.invitations;
BEGIN
  SELECT i.workspace_id INTO place FROM porch.invitations i WHERE i.hash = p_hash;
  -- In the order in which change_member locks: its maker may be losing the right to invite just now.
  PERFORM FROM porch.workspaces w WHERE w.id = place FOR NO KEY UPDATE;
  IF EXISTS (SELECT FROM porch.memberships m WHERE m.workspace_id = place AND m.user_id = p_user) THEN
    RETURN NULL;
  END IF;
  UPDATE porch.invitations i SET used_at = now()
    WHERE i.hash = p_hash AND i.used_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now()
      AND EXISTS (SELECT FROM porch.memberships m WHERE m.workspace_id = place AND m.user_id = i.created_by
                    AND (m.role = 'owner' OR (m.role = 'admin' AND i.role <> 'owner')))
    RETURNING i.* INTO invitation;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES (place, p_user, invitation.role);
  RETURN place;
END $$;

-- ---------------------------------------------------------------- people

-- Whether this is the operator, in the workspace they own longest: where the installation is at home.
CREATE FUNCTION porch.is_at_home(p_user uuid, p_workspace uuid) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce((
    SELECT m.workspace_id = p_workspace
    FROM porch.users u
    JOIN porch.memberships m ON m.user_id = u.id AND m.role = 'owner'
    JOIN porch.workspaces w ON w.id = m.workspace_id
    WHERE u.id = p_user AND u.operator
    ORDER BY w.created_at LIMIT 1), false);
END;

-- How many people there are.
CREATE FUNCTION porch.count_people() RETURNS bigint
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT count(*) FROM porch.users;
END;

-- Somebody new, with a workspace of their own, and with an invitation also in that of whoever sent it (`joined`). 'made',
-- or why not: 'login_taken', 'handle_taken', 'gone' for an invitation that is not open any more.
CREATE FUNCTION porch.sign_up(
    p_user uuid, p_login text, p_name text, p_password text, p_workspace uuid, p_handle text, p_invitation bytea)
  RETURNS TABLE (outcome text, joined uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO porch.workspaces (id, handle, name) VALUES (p_workspace, p_handle, p_name) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    outcome := 'handle_taken'; RETURN NEXT; RETURN;
  END IF;
  INSERT INTO porch.users (id, name, login, password, password_changed_at)
    VALUES (p_user, p_name, p_login, p_password, now()) ON CONFLICT DO NOTHING;
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
  outcome := 'made'; RETURN NEXT;
END $$;
GRANT DELETE ON porch.users, porch.workspaces TO porch_definer;

-- Whose login this is, and what their password is checked with; `familiar` where they were signed in from p_address
-- within the last 30 days.
CREATE FUNCTION porch.find_login(p_login text, p_address text)
  RETURNS TABLE (user_id uuid, password text, familiar boolean)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT u.id, u.password, EXISTS (
           SELECT FROM porch.sessions s WHERE s.user_id = u.id AND s.last_used_from = p_address
             AND s.last_used_at > now() - interval '30 days')
  FROM porch.users u WHERE u.login = p_login;
END;

-- What somebody signs in with, null while they have set nothing.
CREATE FUNCTION porch.read_login(p_user uuid) RETURNS TABLE (login text, password text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT u.login, u.password FROM porch.users u WHERE u.id = p_user;
END;

-- Gives somebody another password than p_before, and a login where they have none, from p_session, which lives and is
-- bound to no token; all their other sessions and their open links end. 'done', 'taken' where the login is another's,
-- 'moved' where the session has ended or the password is another by now.
CREATE FUNCTION porch.set_password(p_user uuid, p_login text, p_before text, p_password text, p_session uuid)
  RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM porch.users u WHERE u.id = p_user AND u.password IS NOT DISTINCT FROM p_before FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT EXISTS (
      SELECT FROM porch.sessions s WHERE s.id = p_session AND s.user_id = p_user AND s.revoked_at IS NULL
        AND s.expires_at > now() AND s.bound_until IS NULL) THEN
    RETURN 'moved';
  END IF;
  UPDATE porch.users u SET login = coalesce(u.login, p_login), password = p_password, password_changed_at = now()
    WHERE u.id = p_user;
  UPDATE porch.sessions s SET revoked_at = now()
    WHERE s.user_id = p_user AND s.id <> p_session AND s.revoked_at IS NULL;
  DELETE FROM porch.sign_in_links l WHERE l.user_id = p_user AND l.used_at IS NULL;
  RETURN 'done';
EXCEPTION WHEN unique_violation THEN
  RETURN 'taken';
END $$;

-- The same password, hashed anew with what counts as dear enough today.
CREATE FUNCTION porch.rehash_password(p_user uuid, p_before text, p_password text) RETURNS boolean
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE porch.users u SET password = p_password WHERE u.id = p_user AND u.password = p_before RETURNING true;
END;

-- Takes one of p_burst tries, one more of which comes back each p_every: 0, or after how many seconds there is one.
CREATE FUNCTION porch.use_sign_in_limit(p_subject bytea, p_every interval, p_burst integer) RETURNS double precision
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  latest timestamptz := moment + (p_burst - 1) * p_every;
BEGIN
  INSERT INTO porch.sign_in_limits AS l (subject, free_at) VALUES (p_subject, moment + p_every)
    ON CONFLICT (subject) DO UPDATE SET free_at = greatest(l.free_at, moment) + p_every WHERE l.free_at <= latest;
  IF FOUND THEN
    -- Behind it: whoever holds swept rows waits for none.
    DELETE FROM porch.sign_in_limits l WHERE l.subject IN (
      SELECT x.subject FROM porch.sign_in_limits x WHERE x.free_at < moment - interval '1 minute'
      ORDER BY x.free_at LIMIT 10 FOR UPDATE SKIP LOCKED);
    RETURN 0;
  END IF;
  RETURN coalesce((SELECT greatest(extract(epoch FROM l.free_at - latest), 0.001) FROM porch.sign_in_limits l
                   WHERE l.subject = p_subject), 0.001);
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'authenticate_session_in(bytea, text, text, uuid, uuid)', 'switch_workspace(uuid, uuid, text)',
      'begin_session(uuid, uuid, bytea, interval, interval, text, text, uuid, text)', 'list_workspaces(uuid)',
      'make_workspace(uuid, uuid, text, text, integer)', 'list_members(uuid, integer)', 'is_member(uuid, uuid)',
      'change_member(uuid, uuid, text)', 'read_invitation(bytea)', 'accept_invitation(bytea, uuid)', 'is_at_home(uuid, uuid)', 'count_people()',
      'sign_up(uuid, text, text, text, uuid, text, bytea)', 'find_login(text, text)', 'read_login(uuid)',
      'set_password(uuid, text, text, text, uuid)', 'rehash_password(uuid, text, text)',
      'use_sign_in_limit(bytea, interval, integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
