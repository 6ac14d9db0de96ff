-- Handles that change and are kept for ever, and workspaces that are deleted, at first so that they can be had back.

-- ---------------------------------------------------------------- handles

-- Every handle that any workspace ever had, and where it leads; to none once that workspace is gone.
CREATE TABLE porch.workspace_handles (
  handle text PRIMARY KEY,
  leads_to uuid,
  made_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX workspace_handles_of ON porch.workspace_handles (leads_to) WHERE leads_to IS NOT NULL;

ALTER TABLE porch.workspaces NO FORCE ROW LEVEL SECURITY;
INSERT INTO porch.workspace_handles (handle, leads_to) SELECT w.handle, w.id FROM porch.workspaces w;
ALTER TABLE porch.workspaces FORCE ROW LEVEL SECURITY;

ALTER TABLE porch.workspace_handles ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.workspace_handles FORCE ROW LEVEL SECURITY;
CREATE POLICY definer ON porch.workspace_handles TO porch_definer USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (leads_to), DELETE ON porch.workspace_handles TO porch_definer;

-- Takes a handle for a workspace. Where it is another's, now or formerly, the row is left out, as by ON CONFLICT DO NOTHING:
-- whoever wrote it finds nothing done. The primary key makes those wait who want the same one.
CREATE FUNCTION porch.take_handle() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO porch.workspace_handles AS h (handle, leads_to) VALUES (NEW.handle, NEW.id)
    ON CONFLICT (handle) DO UPDATE SET leads_to = h.leads_to WHERE h.leads_to = NEW.id;
  RETURN CASE WHEN FOUND THEN NEW END;
END $$;

-- What a workspace was called leads nowhere once it is gone. One that was made in this very transaction never was.
CREATE FUNCTION porch.leave_handles() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM porch.workspace_handles h WHERE h.leads_to = OLD.id AND h.made_at = now();
  UPDATE porch.workspace_handles h SET leads_to = NULL WHERE h.leads_to = OLD.id;
  RETURN NULL;
END $$;

CREATE TRIGGER handle_taken BEFORE INSERT OR UPDATE OF handle ON porch.workspaces FOR EACH ROW
  EXECUTE FUNCTION porch.take_handle();
CREATE TRIGGER handles_left AFTER DELETE ON porch.workspaces FOR EACH ROW EXECUTE FUNCTION porch.leave_handles();

-- The workspace that has this handle or had it, and what it is called now.
CREATE FUNCTION porch.follow_handle(p_handle text) RETURNS TABLE (workspace_id uuid, handle text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT w.id, w.handle FROM porch.workspace_handles h JOIN porch.workspaces w ON w.id = h.leads_to
  WHERE h.handle = p_handle;
END;

-- What the transaction's workspace was called before, the latest first.
CREATE FUNCTION porch.former_handles() RETURNS TABLE (handle text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT h.handle FROM porch.workspace_handles h JOIN porch.workspaces w ON w.id = h.leads_to
  WHERE h.leads_to = porch.current_workspace() AND h.handle <> w.handle
  ORDER BY h.made_at DESC, h.handle;
END;

-- Calls the transaction's workspace something else, or again what it was called: 'done', 'taken', or 'full' where it has
-- had p_most handles, all of which are kept for it.
CREATE FUNCTION porch.change_handle(p_handle text, p_most integer) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place uuid := porch.current_workspace();
BEGIN
  PERFORM FROM porch.workspaces w WHERE w.id = place FOR NO KEY UPDATE;
  IF NOT EXISTS (SELECT FROM porch.workspace_handles h WHERE h.handle = p_handle AND h.leads_to = place)
      AND p_most <= (SELECT count(*) FROM porch.workspace_handles h WHERE h.leads_to = place) THEN
    RETURN 'full';
  END IF;
  UPDATE porch.workspaces w SET handle = p_handle WHERE w.id = place;
  RETURN CASE WHEN FOUND THEN 'done' ELSE 'taken' END;
END $$;

-- ---------------------------------------------------------------- deleted workspaces

ALTER TABLE porch.workspaces
  ADD COLUMN ends_at timestamptz,
  ADD COLUMN deleted_by uuid;
CREATE INDEX workspaces_ending ON porch.workspaces (ends_at) WHERE ends_at IS NOT NULL;

-- A deleted workspace is not there: for no request, and for none of the functions by which somebody or something is let in,
-- in whichever version of the server. Those below alone look at it, and say so while they do: a setting of ours cannot be
-- bound to a function by who is no superuser.
ALTER POLICY tenant ON porch.workspaces
  USING (id = porch.current_workspace() AND ends_at IS NULL);
ALTER POLICY definer ON porch.workspaces
  USING (ends_at IS NULL OR current_setting('porch.deleted', true) = 'seen');

GRANT UPDATE (handle, ends_at, deleted_by) ON porch.workspaces TO porch_definer;
GRANT SELECT (workspace_id, id) ON porch.agents TO porch_definer;
CREATE POLICY definer ON porch.agents FOR SELECT TO porch_definer USING (workspace_id = porch.current_workspace());

-- Deletes the transaction's workspace, so that it can be had back within p_grace: 'done', 'forbidden' to who is no owner,
-- 'at_home' for that of whoever runs the installation, 'only' where the person would have none left. Its agents' work is
-- cancelled, open invitations end, streams are looked at again.
CREATE FUNCTION porch.delete_workspace(p_actor uuid, p_grace interval) RETURNS TABLE (outcome text, ends timestamptz)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place uuid := porch.current_workspace();
BEGIN
  PERFORM FROM porch.workspaces w WHERE w.id = place FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT EXISTS (
      SELECT FROM porch.memberships m WHERE m.workspace_id = place AND m.user_id = p_actor AND m.role = 'owner') THEN
    outcome := 'forbidden'; RETURN NEXT; RETURN;
  END IF;
  IF EXISTS (SELECT FROM porch.memberships m JOIN porch.users u ON u.id = m.user_id
             WHERE m.workspace_id = place AND u.operator AND porch.is_at_home(u.id, place)) THEN
    outcome := 'at_home'; RETURN NEXT; RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM porch.memberships m JOIN porch.workspaces w ON w.id = m.workspace_id
                 WHERE m.user_id = p_actor AND m.workspace_id <> place) THEN
    outcome := 'only'; RETURN NEXT; RETURN;
  END IF;
  PERFORM set_config('porch.deleted', 'seen', true);
  UPDATE porch.workspaces w SET ends_at = now() + p_grace, deleted_by = p_actor WHERE w.id = place
    RETURNING w.ends_at INTO ends;
  PERFORM set_config('porch.deleted', '', true);
  UPDATE porch.invitations i SET revoked_at = now()
    WHERE i.workspace_id = place AND i.used_at IS NULL AND i.revoked_at IS NULL;
  UPDATE porch.runs r SET cancel_by = 'system'
    WHERE r.workspace_id = place AND r.status IN ('running', 'paused') AND r.cancel_by IS NULL;
  INSERT INTO porch.access_changes (subject)
    SELECT m.user_id FROM porch.memberships m WHERE m.workspace_id = place
    UNION SELECT a.id FROM porch.agents a WHERE a.workspace_id = place
    ON CONFLICT DO NOTHING;
  outcome := 'done'; RETURN NEXT;
END $$;

-- Workspaces of somebody's own that are deleted and can be had back, that first which goes first.
CREATE FUNCTION porch.list_deleted_workspaces(p_user uuid)
  RETURNS TABLE (id uuid, handle text, name text, ends_at timestamptz, deleted_by text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('porch.deleted', 'seen', true);
  RETURN QUERY SELECT w.id, w.handle, w.name, w.ends_at, coalesce(u.name, '')
  FROM porch.memberships m
  JOIN porch.workspaces w ON w.id = m.workspace_id
  LEFT JOIN porch.users u ON u.id = w.deleted_by
  WHERE m.user_id = p_user AND m.role = 'owner' AND w.ends_at > now()
  ORDER BY w.ends_at, w.id
  LIMIT 200;
  PERFORM set_config('porch.deleted', '', true);
END $$;

-- Has a deleted workspace back, for one of its owners; false where there is none to be had.
CREATE FUNCTION porch.restore_workspace(p_user uuid, p_workspace uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done boolean;
BEGIN
  PERFORM set_config('porch.deleted', 'seen', true);
  UPDATE porch.workspaces w SET ends_at = NULL, deleted_by = NULL
    WHERE w.id = p_workspace AND w.ends_at > now() AND EXISTS (
      SELECT FROM porch.memberships m WHERE m.workspace_id = w.id AND m.user_id = p_user AND m.role = 'owner');
  done := FOUND;
  PERFORM set_config('porch.deleted', '', true);
  RETURN done;
END $$;

-- Removes p_limit rows of a workspace whose time is over, at last itself; answers how many. What was begun while it was being
-- deleted, by whoever had been let in before, is cancelled.
CREATE FUNCTION porch.purge_deleted_workspaces(p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ending uuid;
  gone integer;
BEGIN
  PERFORM set_config('porch.deleted', 'seen', true);
  UPDATE porch.runs r SET cancel_by = 'system'
    FROM porch.workspaces w
    WHERE w.ends_at IS NOT NULL AND r.workspace_id = w.id AND r.status IN ('running', 'paused') AND r.cancel_by IS NULL;
  SELECT w.id INTO ending FROM porch.workspaces w WHERE w.ends_at <= now()
    ORDER BY w.ends_at LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    PERFORM set_config('porch.deleted', '', true);
    RETURN 0;
  END IF;
  DELETE FROM porch.conversations c WHERE (c.workspace_id, c.id) IN (
    SELECT x.workspace_id, x.id FROM porch.conversations x WHERE x.workspace_id = ending LIMIT p_limit);
  GET DIAGNOSTICS gone = ROW_COUNT;
  IF gone = 0 THEN
    DELETE FROM porch.run_figures f WHERE (f.workspace_id, f.ctid) IN (
      SELECT x.workspace_id, x.ctid FROM porch.run_figures x WHERE x.workspace_id = ending LIMIT 100 * p_limit);
    GET DIAGNOSTICS gone = ROW_COUNT;
  END IF;
  IF gone = 0 THEN
    DELETE FROM porch.call_figures f WHERE (f.workspace_id, f.ctid) IN (
      SELECT x.workspace_id, x.ctid FROM porch.call_figures x WHERE x.workspace_id = ending LIMIT 100 * p_limit);
    GET DIAGNOSTICS gone = ROW_COUNT;
  END IF;
  IF gone = 0 THEN
    PERFORM porch.note_event(ending, 'workspace:end', 'ws_' || replace(ending::text, '-', ''), '{}', NULL, NULL, 'done');
    DELETE FROM porch.workspaces w WHERE w.id = ending;
    gone := 1;
  END IF;
  PERFORM set_config('porch.deleted', '', true);
  RETURN gone;
END $$;

-- Whoever comes in and belongs to no workspace any more gets one of their own, as with signing up.
CREATE FUNCTION porch.give_workspace() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place uuid := gen_random_uuid();
  person porch.users;
BEGIN
  IF EXISTS (SELECT FROM porch.memberships m JOIN porch.workspaces w ON w.id = m.workspace_id
             WHERE m.user_id = NEW.user_id) THEN
    RETURN NULL;
  END IF;
  SELECT * INTO person FROM porch.users u WHERE u.id = NEW.user_id FOR NO KEY UPDATE;
  INSERT INTO porch.workspaces (id, handle, name)
    VALUES (place, trim('-' FROM left(regexp_replace(coalesce(person.login, 'home'), '[^a-z0-9]+', '-', 'g'), 27))
                   || '-' || right(replace(place::text, '-', ''), 8), person.name);
  INSERT INTO porch.memberships (workspace_id, user_id, role)
    SELECT w.id, person.id, 'owner' FROM porch.workspaces w WHERE w.id = place;
  RETURN NULL;
END $$;
CREATE TRIGGER workspace_given AFTER INSERT ON porch.sessions FOR EACH ROW EXECUTE FUNCTION porch.give_workspace();

-- ---------------------------------------------------------------- what the trail tells of it

CREATE FUNCTION porch.audit_lifecycle() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  object text := 'ws_' || replace(NEW.id::text, '-', '');
BEGIN
  IF OLD.handle <> NEW.handle THEN
    PERFORM porch.note_event(NEW.id, 'workspace:rename', object,
      jsonb_build_object('handle', NEW.handle, 'before', OLD.handle), NULL, NULL, 'done');
  ELSIF NEW.ends_at IS NULL THEN
    PERFORM porch.note_event(NEW.id, 'workspace:restore', object, '{}', NULL, NULL, 'done');
  ELSE
    PERFORM porch.note_event(NEW.id, 'workspace:delete', object, jsonb_build_object('ends_at', NEW.ends_at), NULL, NULL, 'done');
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER audited_lifecycle AFTER UPDATE OF handle, ends_at ON porch.workspaces FOR EACH ROW
  WHEN (OLD.handle <> NEW.handle OR (OLD.ends_at IS NULL) <> (NEW.ends_at IS NULL))
  EXECUTE FUNCTION porch.audit_lifecycle();

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'follow_handle(text)', 'former_handles()', 'change_handle(text, integer)', 'delete_workspace(uuid, interval)',
      'list_deleted_workspaces(uuid)', 'restore_workspace(uuid, uuid)', 'purge_deleted_workspaces(integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
  FOREACH f IN ARRAY ARRAY['take_handle()', 'leave_handles()', 'give_workspace()', 'audit_lifecycle()'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
