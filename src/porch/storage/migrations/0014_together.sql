-- Several people in one conversation: one that its owner has opened to the members of its workspace, and who said what.

ALTER TABLE porch.conversations
  ADD COLUMN audience text NOT NULL DEFAULT 'own' CHECK (audience IN ('own', 'members'));
GRANT UPDATE (audience) ON porch.conversations TO porch_app;
CREATE INDEX conversations_members ON porch.conversations (workspace_id, updated_at DESC, id DESC)
  WHERE audience = 'members' AND deleted_at IS NULL AND NOT draft;

-- Who said a message, where that is not the conversation's participant; by the name that they had. A message that waits
-- has its author before it is one.
CREATE TABLE porch.message_authors (
  workspace_id uuid NOT NULL,
  message_id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('user', 'guest', 'agent')),
  author_id uuid NOT NULL,
  name text NOT NULL,
  PRIMARY KEY (workspace_id, message_id),
  FOREIGN KEY (workspace_id, conversation_id) REFERENCES porch.conversations (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX message_authors_conversation ON porch.message_authors (workspace_id, conversation_id);

ALTER TABLE porch.message_authors ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.message_authors FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON porch.message_authors TO porch_app
  USING (workspace_id = porch.current_workspace()) WITH CHECK (workspace_id = porch.current_workspace());
GRANT SELECT, INSERT ON porch.message_authors TO porch_app;

-- What a member of the transaction's workspace is called; null for who is none.
CREATE FUNCTION porch.member_name(p_user uuid) RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT u.name FROM porch.memberships m JOIN porch.users u ON u.id = m.user_id
  WHERE m.workspace_id = porch.current_workspace() AND m.user_id = p_user;
END;
REVOKE ALL ON FUNCTION porch.member_name(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION porch.member_name(uuid) TO porch_app;
ALTER FUNCTION porch.member_name(uuid) OWNER TO porch_definer;
