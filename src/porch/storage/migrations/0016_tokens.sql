-- Tokens that make narrower ones, tokens of agents, and tokens that take the place of others.

ALTER TABLE porch.tokens
  -- The tokens above it, the uppermost first: it dies with any of them.
  ADD COLUMN line uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(line) <= 4),
  -- How many further levels it may make below itself.
  ADD COLUMN levels integer NOT NULL DEFAULT 4 CHECK (levels BETWEEN 0 AND 4),
  -- The agents that it reaches; null for all.
  ADD COLUMN agents uuid[] CHECK (cardinality(agents) BETWEEN 1 AND 20),
  -- The agent that it stands for, in place of a person.
  ADD COLUMN agent_id uuid,
  -- Its successor.
  ADD COLUMN replaced_by uuid,
  DROP CONSTRAINT tokens_kind_check,
  ADD CONSTRAINT tokens_kind_check CHECK (kind = CASE WHEN agent_id IS NULL THEN 'pat' ELSE 'agt' END),
  ADD FOREIGN KEY (workspace_id, agent_id) REFERENCES porch.agents (workspace_id, id) ON DELETE CASCADE;
CREATE INDEX tokens_agent ON porch.tokens (workspace_id, agent_id) WHERE agent_id IS NOT NULL;
GRANT UPDATE (expires_at, replaced_by) ON porch.tokens TO porch_definer;

-- Who a token stands for, an agent by the token's own name, if it and all above it still work; `expires_at` is when the first of these ends. One that is
-- narrower than its scopes say is kept under the hash of its hash: a server that does not know how finds nothing.
CREATE FUNCTION porch.authenticate_credential(p_hash bytea)
  RETURNS TABLE (token_id uuid, kind text, user_id uuid, user_name text, workspace_id uuid, handle text, role text,
                 scopes text[], expires_at timestamptz, last_used_at timestamptz, line uuid[], agents uuid[],
                 agent_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT t.id, t.kind, u.id, CASE WHEN t.agent_id IS NULL THEN u.name ELSE t.name END, w.id, w.handle, m.role, t.scopes,
         CASE WHEN t.line = '{}' THEN t.expires_at ELSE least(t.expires_at, (
           SELECT min(a.expires_at) FROM porch.tokens a WHERE a.workspace_id = t.workspace_id AND a.id = ANY (t.line)
         )) END,
         t.last_used_at, t.line, t.agents, t.agent_id
  FROM porch.tokens t
  JOIN porch.memberships m ON m.workspace_id = t.workspace_id AND m.user_id = t.user_id
  JOIN porch.users u ON u.id = t.user_id
  JOIN porch.workspaces w ON w.id = t.workspace_id
  WHERE t.hash IN (p_hash, sha256(p_hash))
    AND (t.hash = p_hash) = (t.line = '{}' AND t.agents IS NULL AND t.agent_id IS NULL)
    AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    AND (t.line = '{}' OR cardinality(t.line) = (
      SELECT count(*) FROM porch.tokens a
      WHERE a.workspace_id = t.workspace_id AND a.id = ANY (t.line)
        AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())));
END;
REVOKE ALL ON FUNCTION porch.authenticate_credential(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION porch.authenticate_credential(bytea) TO porch_app;
ALTER FUNCTION porch.authenticate_credential(bytea) OWNER TO porch_definer;

-- Names a token's successor, in the transaction's workspace, and has it go on for no longer than p_overlap. False where it
-- has one already, or has ended.
CREATE FUNCTION porch.replace_token(p_token uuid, p_successor uuid, p_overlap interval) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE porch.tokens t SET replaced_by = p_successor, expires_at = least(t.expires_at, now() + greatest(p_overlap, interval '0'))
    WHERE t.workspace_id = porch.current_workspace() AND t.id = p_token AND t.replaced_by IS NULL
      AND t.revoked_at IS NULL AND t.expires_at > now();
  RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION porch.replace_token(uuid, uuid, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION porch.replace_token(uuid, uuid, interval) TO porch_app;
ALTER FUNCTION porch.replace_token(uuid, uuid, interval) OWNER TO porch_definer;
