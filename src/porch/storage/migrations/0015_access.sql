-- Whose access ended or shrank, noted by the change itself, so that every server can ask for what is new: streams end with
-- the right to read them, whether or not anybody could tell the others.

-- `subject`: a token, a session, a person whose role changed, an agent that left a site, a conversation that was closed.
CREATE TABLE porch.access_changes (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  subject uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (xid, subject)
);
ALTER TABLE porch.access_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.access_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY definer ON porch.access_changes TO porch_definer USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON porch.access_changes TO porch_definer;
GRANT UPDATE (at) ON porch.access_changes TO porch_definer; -- which whoever locks rows needs

-- Notes the row that TG_ARGV names by its column. What every server has seen long ago is swept out on the way.
CREATE FUNCTION porch.note_access_change() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO porch.access_changes (subject) VALUES ((to_jsonb(OLD) ->> TG_ARGV[0])::uuid) ON CONFLICT DO NOTHING;
  DELETE FROM porch.access_changes c WHERE (c.xid, c.subject) IN (
    SELECT x.xid, x.subject FROM porch.access_changes x WHERE x.at < now() - interval '1 hour'
    ORDER BY x.xid LIMIT 20 FOR UPDATE SKIP LOCKED);
  RETURN NULL;
END $$;

CREATE TRIGGER access_ended AFTER UPDATE OF revoked_at, expires_at ON porch.tokens FOR EACH ROW
  WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at OR OLD.expires_at IS DISTINCT FROM NEW.expires_at)
  EXECUTE FUNCTION porch.note_access_change('id');
CREATE TRIGGER access_gone AFTER DELETE ON porch.tokens FOR EACH ROW
  EXECUTE FUNCTION porch.note_access_change('id');

-- Those that have ended anyway are swept out now and then: that is nothing new.
CREATE TRIGGER access_ended AFTER UPDATE OF revoked_at ON porch.sessions FOR EACH ROW
  WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at)
  EXECUTE FUNCTION porch.note_access_change('id');
CREATE TRIGGER access_gone AFTER DELETE ON porch.sessions FOR EACH ROW WHEN (OLD.revoked_at IS NULL)
  EXECUTE FUNCTION porch.note_access_change('id');

CREATE TRIGGER access_ended AFTER UPDATE OF role ON porch.memberships FOR EACH ROW
  WHEN (OLD.role IS DISTINCT FROM NEW.role)
  EXECUTE FUNCTION porch.note_access_change('user_id');
CREATE TRIGGER access_gone AFTER DELETE ON porch.memberships FOR EACH ROW
  EXECUTE FUNCTION porch.note_access_change('user_id');

CREATE TRIGGER access_gone AFTER DELETE ON porch.agent_origins FOR EACH ROW
  EXECUTE FUNCTION porch.note_access_change('agent_id');

CREATE TRIGGER access_ended AFTER UPDATE OF audience ON porch.conversations FOR EACH ROW
  WHEN (OLD.audience = 'members' AND NEW.audience <> 'members')
  EXECUTE FUNCTION porch.note_access_change('id');

-- Who owns the tables makes the triggers, and then owns the function no more.
REVOKE ALL ON FUNCTION porch.note_access_change() FROM PUBLIC;
ALTER FUNCTION porch.note_access_change() OWNER TO porch_definer;

-- What was committed since a snapshot, and the snapshot that this has seen. Ids of transactions alone would not do: a
-- lower one may be committed later. Without a snapshot nothing is new.
CREATE FUNCTION porch.access_changes_since(p_seen text) RETURNS TABLE (seen text, subjects uuid[])
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT pg_current_snapshot()::text, ARRAY (
    SELECT DISTINCT c.subject FROM porch.access_changes c
    WHERE c.xid >= pg_snapshot_xmin(p_seen::pg_snapshot)
      AND NOT pg_visible_in_snapshot(c.xid, p_seen::pg_snapshot));
END;
REVOKE ALL ON FUNCTION porch.access_changes_since(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION porch.access_changes_since(text) TO porch_app;
ALTER FUNCTION porch.access_changes_since(text) OWNER TO porch_definer;
