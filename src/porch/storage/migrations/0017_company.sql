-- Who is in a conversation that is open to members just now, and word to every server of what happens there.

-- What is in it is worth nothing after a crash, and is written every few seconds.
CREATE UNLOGGED TABLE porch.presence (
  workspace_id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  user_id uuid NOT NULL,
  seen_at timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, conversation_id, user_id)
);
ALTER TABLE porch.presence ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.presence FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON porch.presence TO porch_app
  USING (workspace_id = porch.current_workspace()) WITH CHECK (workspace_id = porch.current_workspace());
GRANT SELECT, INSERT, UPDATE, DELETE ON porch.presence TO porch_app;
CREATE INDEX presence_seen ON porch.presence (workspace_id, seen_at);

-- Messages, answers, titles and branches all change the conversation's row.
CREATE FUNCTION porch.tell_of_conversation() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('porch_live', format('[["stir","%s"]]', replace(NEW.id::text, '-', '')));
  RETURN NULL;
END $$;
CREATE TRIGGER stirred AFTER UPDATE ON porch.conversations FOR EACH ROW
  WHEN (NEW.audience = 'members' OR OLD.audience = 'members')
  EXECUTE FUNCTION porch.tell_of_conversation();
REVOKE ALL ON FUNCTION porch.tell_of_conversation() FROM PUBLIC;
