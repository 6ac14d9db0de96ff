-- The audit trail: who did what in a workspace, noted by the change itself and in its transaction. So nothing happens that
-- is not noted, whichever server or program does it, and nothing is noted that did not happen.

CREATE TABLE porch.audit_events (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  -- Where it came from, what it was done to, and what: api:token:create.
  tag text NOT NULL CHECK (tag ~ '^[a-z]+:[a-z]+:[a-z]+$'),
  kind text NOT NULL GENERATED ALWAYS AS (split_part(tag, ':', 2)) STORED,
  outcome text NOT NULL CHECK (outcome IN ('done', 'failed', 'denied')),
  actor text,
  actor_name text NOT NULL DEFAULT '',
  -- What was used: its id, and the SHA-256 under which it is kept.
  credential text,
  credential_hash text,
  address text,
  object text,
  detail jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (workspace_id, id)
);
CREATE INDEX audit_events_kind ON porch.audit_events (workspace_id, kind, id DESC);
CREATE INDEX audit_events_actor ON porch.audit_events (workspace_id, actor, id DESC);
CREATE INDEX audit_events_at ON porch.audit_events (at);
ALTER TABLE porch.audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON porch.audit_events TO porch_app
  USING (workspace_id = porch.current_workspace()) WITH CHECK (workspace_id = porch.current_workspace());
CREATE POLICY definer ON porch.audit_events TO porch_definer USING (true) WITH CHECK (true);
-- Nobody who serves changes or removes what stands there.
GRANT SELECT, INSERT ON porch.audit_events TO porch_app;
GRANT SELECT, INSERT, DELETE ON porch.audit_events TO porch_definer;
GRANT UPDATE (at) ON porch.audit_events TO porch_definer; -- which whoever locks rows needs

-- One event. Who acts is what the transaction says of itself (porch.actor), or p_person, who acts on what is their own.
-- Ids are UUIDv7, so that they sort by time.
CREATE FUNCTION porch.note_event(
    p_workspace uuid, p_what text, p_object text, p_detail jsonb, p_person uuid, p_address text, p_outcome text)
  RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  said jsonb := nullif(current_setting('porch.actor', true), '')::jsonb;
  used text := said ->> 'credential';
  kept bytea;
BEGIN
  IF p_person IS NOT NULL AND (said IS NULL OR said ->> 'actor' IS DISTINCT FROM 'usr_' || replace(p_person::text, '-', '')) THEN
    said := jsonb_build_object('actor', 'usr_' || replace(p_person::text, '-', ''), 'name',
      (SELECT u.name FROM porch.users u WHERE u.id = p_person), 'address', p_address, 'source', 'page');
    used := NULL;
  END IF;
  IF used LIKE 'tok\_%' THEN
    SELECT t.hash INTO kept FROM porch.tokens t WHERE t.workspace_id = p_workspace AND t.id = substr(used, 5)::uuid;
  ELSIF used LIKE 'ses\_%' THEN
    SELECT s.hash INTO kept FROM porch.sessions s WHERE s.id = substr(used, 5)::uuid;
  END IF;
  INSERT INTO porch.audit_events (workspace_id, id, tag, outcome, actor, actor_name, credential, credential_hash,
                                  address, object, detail)
    VALUES (p_workspace,
      encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
        'hex')::uuid,
      coalesce(said ->> 'source', 'system') || ':' || p_what, p_outcome, said ->> 'actor', coalesce(said ->> 'name', ''),
      used, encode(kept, 'hex'), said ->> 'address', p_object, coalesce(p_detail, '{}'));
END $$;

-- The same in all workspaces of a person, for what concerns the person.
CREATE FUNCTION porch.note_person(p_person uuid, p_what text, p_object text, p_detail jsonb, p_address text, p_outcome text)
  RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM porch.note_event(m.workspace_id, p_what, p_object, p_detail, p_person, p_address, p_outcome)
    FROM porch.memberships m WHERE m.user_id = p_person ORDER BY m.workspace_id LIMIT 200;
END $$;

CREATE FUNCTION porch.audit_row() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
  n jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
  r jsonb := coalesce(n, o);
  place uuid := (r ->> 'workspace_id')::uuid;
  what text;
  object text := replace(r ->> 'id', '-', '');
  detail jsonb := '{}';
  person uuid;
BEGIN
  CASE TG_TABLE_NAME
    WHEN 'tokens' THEN
      what := 'token:' || CASE WHEN TG_OP = 'INSERT' THEN 'create' WHEN TG_OP = 'DELETE' THEN 'end'
        WHEN n ->> 'replaced_by' IS DISTINCT FROM o ->> 'replaced_by' THEN 'rotate' ELSE 'revoke' END;
      object := 'tok_' || object;
      detail := jsonb_build_object('name', r -> 'name', 'scopes', r -> 'scopes');
    WHEN 'memberships' THEN
      object := 'usr_' || replace(r ->> 'user_id', '-', '');
      detail := jsonb_strip_nulls(jsonb_build_object('role', n -> 'role', 'before', o -> 'role'));
      -- Whoever joins does so themselves.
      person := CASE WHEN TG_OP = 'INSERT' THEN (r ->> 'user_id')::uuid END;
      what := 'member:' || CASE TG_OP WHEN 'INSERT' THEN 'join' WHEN 'UPDATE' THEN 'change'
        ELSE CASE WHEN nullif(current_setting('porch.actor', true), '')::jsonb ->> 'actor' = object THEN 'leave'
             ELSE 'remove' END END;
    WHEN 'invitations' THEN
      what := 'invitation:' || CASE WHEN TG_OP = 'INSERT' THEN 'create'
        WHEN n ->> 'used_at' IS DISTINCT FROM o ->> 'used_at' THEN 'accept' ELSE 'revoke' END;
      object := 'inv_' || object;
      detail := jsonb_build_object('role', r -> 'role');
    WHEN 'workspaces' THEN
      place := (r ->> 'id')::uuid;
      what := 'workspace:' || CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'change' END;
      object := 'ws_' || object;
      detail := jsonb_build_object('name', r -> 'name', 'journal_days', r -> 'journal_days');
    WHEN 'conversations' THEN
      what := 'conversation:' || CASE WHEN r ->> 'audience' = 'members' THEN 'open' ELSE 'close' END;
      object := 'conv_' || object;
    WHEN 'conversation_shares' THEN
      what := 'share:' || CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'revoke' END;
      object := 'shr_' || object;
      detail := jsonb_build_object('conversation', 'conv_' || replace(r ->> 'conversation_id', '-', ''));
    WHEN 'agent_origins' THEN
      what := 'site:' || CASE TG_OP WHEN 'INSERT' THEN 'add' ELSE 'remove' END;
      object := 'agt_' || replace(r ->> 'agent_id', '-', '');
      detail := jsonb_build_object('origin', r -> 'origin');
    WHEN 'agents' THEN
      what := 'agent:' || CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'delete' END;
      object := 'agt_' || object;
      detail := jsonb_build_object('handle', r -> 'handle');
    WHEN 'agent_versions' THEN
      what := 'agent:publish';
      object := 'agt_' || replace(r ->> 'agent_id', '-', '');
      detail := jsonb_build_object('version', r -> 'number');
    WHEN 'sessions' THEN
      PERFORM porch.note_person((r ->> 'user_id')::uuid,
        'session:' || CASE TG_OP WHEN 'INSERT' THEN 'begin' ELSE 'end' END, 'ses_' || object,
        jsonb_strip_nulls(jsonb_build_object('browser', left(r ->> 'user_agent', 300))), r ->> 'last_used_from', 'done');
      RETURN NULL;
    WHEN 'users' THEN
      PERFORM porch.note_person((r ->> 'id')::uuid, 'password:set', 'usr_' || object, '{}', NULL, 'done');
      RETURN NULL;
  END CASE;
  PERFORM porch.note_event(place, what, object, detail, person, NULL, 'done');
  RETURN NULL;
END $$;

CREATE TRIGGER audited AFTER INSERT OR DELETE ON porch.tokens FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF revoked_at, replaced_by ON porch.tokens FOR EACH ROW
  WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at OR OLD.replaced_by IS DISTINCT FROM NEW.replaced_by)
  EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT OR DELETE ON porch.memberships FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF role ON porch.memberships FOR EACH ROW
  WHEN (OLD.role IS DISTINCT FROM NEW.role) EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT ON porch.invitations FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF used_at, revoked_at ON porch.invitations FOR EACH ROW
  WHEN (OLD.used_at IS DISTINCT FROM NEW.used_at OR OLD.revoked_at IS DISTINCT FROM NEW.revoked_at)
  EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT ON porch.workspaces FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF name, journal_days ON porch.workspaces FOR EACH ROW
  WHEN (OLD.name IS DISTINCT FROM NEW.name OR OLD.journal_days IS DISTINCT FROM NEW.journal_days)
  EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF audience ON porch.conversations FOR EACH ROW
  WHEN (OLD.audience IS DISTINCT FROM NEW.audience) EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT ON porch.conversation_shares FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF revoked_at ON porch.conversation_shares FOR EACH ROW
  WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at) EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT OR DELETE ON porch.agent_origins FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT OR DELETE ON porch.agents FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT ON porch.agent_versions FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited AFTER INSERT ON porch.sessions FOR EACH ROW EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF revoked_at ON porch.sessions FOR EACH ROW
  WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION porch.audit_row();
CREATE TRIGGER audited_change AFTER UPDATE OF password_changed_at ON porch.users FOR EACH ROW
  WHEN (OLD.password_changed_at IS DISTINCT FROM NEW.password_changed_at) EXECUTE FUNCTION porch.audit_row();

-- A way in that somebody tried for an account and that did not open: it is told to the account's workspaces.
CREATE FUNCTION porch.note_refused_sign_in(p_login text, p_address text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT porch.note_event(m.workspace_id, 'session:begin', NULL, '{}', u.id, p_address, 'failed')
  FROM porch.users u JOIN porch.memberships m ON m.user_id = u.id
  WHERE u.login = p_login;
END;

-- Removes what is older, at most so many; answers how many.
CREATE FUNCTION porch.purge_audit(p_kept interval, p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone integer;
BEGIN
  DELETE FROM porch.audit_events e WHERE (e.workspace_id, e.id) IN (
    SELECT x.workspace_id, x.id FROM porch.audit_events x WHERE x.at < now() - p_kept
    ORDER BY x.at LIMIT p_limit FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['note_event(uuid, text, text, jsonb, uuid, text, text)',
      'note_person(uuid, text, text, jsonb, text, text)', 'audit_row()', 'note_refused_sign_in(text, text)',
      'purge_audit(interval, integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    IF f LIKE 'note\_refused%' OR f LIKE 'purge%' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    END IF;
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
