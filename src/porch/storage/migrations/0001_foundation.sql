-- Identity, agents, conversations, runs and their journal.
--
-- Every tenant table leads its keys with workspace_id, has FORCE ROW LEVEL SECURITY, and is read by porch_app
-- through the workspace that a transaction sets (porch.workspace). Work before or across workspaces goes
-- through SECURITY DEFINER functions owned by porch_definer, which has policies of its own.

GRANT USAGE ON SCHEMA porch TO porch_app, porch_definer;

-- STABLE: an IMMUTABLE one would be folded into cached plans and hand one tenant's rows to another.
CREATE FUNCTION porch.current_workspace() RETURNS uuid
  LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('porch.workspace', true), '')::uuid;

-- ---------------------------------------------------------------- identity

CREATE TABLE porch.users (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  operator boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE porch.workspaces (
  id uuid PRIMARY KEY,
  handle text NOT NULL UNIQUE,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE porch.memberships (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES porch.users (id) ON DELETE CASCADE,
  role text NOT NULL CHECK (role IN ('owner', 'admin', 'editor', 'runner', 'viewer')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX memberships_user ON porch.memberships (user_id);

CREATE TABLE porch.tokens (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  parent_id uuid,
  kind text NOT NULL CHECK (kind IN ('pat')),
  name text NOT NULL,
  prefix text NOT NULL,
  hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  last_used_from text,
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, user_id) REFERENCES porch.memberships (workspace_id, user_id) ON DELETE CASCADE,
  FOREIGN KEY (workspace_id, parent_id) REFERENCES porch.tokens (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX tokens_user ON porch.tokens (workspace_id, user_id);
CREATE INDEX tokens_parent ON porch.tokens (workspace_id, parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE porch.sessions (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES porch.users (id) ON DELETE CASCADE,
  hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  last_used_at timestamptz,
  last_used_from text
);
CREATE INDEX sessions_user ON porch.sessions (user_id);

-- ---------------------------------------------------------------- agents

CREATE TABLE porch.agents (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  handle text NOT NULL,
  draft jsonb NOT NULL,
  revision integer NOT NULL DEFAULT 1,
  latest_version integer,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, id),
  UNIQUE (workspace_id, handle)
);

-- Immutable: porch_app may insert and read versions, never change them.
CREATE TABLE porch.agent_versions (
  workspace_id uuid NOT NULL,
  agent_id uuid NOT NULL,
  number integer NOT NULL CHECK (number > 0),
  definition jsonb NOT NULL,
  content_hash text NOT NULL,
  note text NOT NULL DEFAULT '',
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, agent_id, number),
  FOREIGN KEY (workspace_id, agent_id) REFERENCES porch.agents (workspace_id, id) ON DELETE CASCADE
);

-- ---------------------------------------------------------------- conversations

CREATE TABLE porch.conversations (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  agent_id uuid NOT NULL,
  participant_kind text NOT NULL CHECK (participant_kind IN ('user', 'guest', 'agent')),
  participant_id uuid NOT NULL,
  title text NOT NULL DEFAULT '',
  head_message_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, agent_id) REFERENCES porch.agents (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX conversations_agent ON porch.conversations (workspace_id, agent_id, id DESC);
CREATE INDEX conversations_participant ON porch.conversations (workspace_id, participant_id, id DESC);

CREATE TABLE porch.messages (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  parent_id uuid,
  run_id uuid,
  role text NOT NULL CHECK (role IN ('user', 'assistant')),
  parts jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, conversation_id) REFERENCES porch.conversations (workspace_id, id) ON DELETE CASCADE,
  FOREIGN KEY (workspace_id, parent_id) REFERENCES porch.messages (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX messages_conversation ON porch.messages (workspace_id, conversation_id, id);
CREATE INDEX messages_parent ON porch.messages (workspace_id, parent_id) WHERE parent_id IS NOT NULL;

-- ---------------------------------------------------------------- runs

-- A server process and its lease. Only this database's clock judges it.
CREATE TABLE porch.processes (
  id uuid PRIMARY KEY,
  host text NOT NULL,
  pid integer NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL
);

CREATE TABLE porch.runs (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  agent_id uuid NOT NULL,
  agent_version integer,
  draft jsonb,
  input_message_id uuid NOT NULL,
  output_message_id uuid,
  status text NOT NULL CHECK (status IN ('running', 'paused', 'finished', 'failed', 'cancelled')),
  epoch integer NOT NULL DEFAULT 1,
  -- The foreign key is the fence of a start: a process whose lease was taken over has no row to refer to.
  holder uuid REFERENCES porch.processes (id),
  cancel_by text,
  usage jsonb,
  error jsonb,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  PRIMARY KEY (workspace_id, id),
  CHECK ((agent_version IS NULL) <> (draft IS NULL)),
  FOREIGN KEY (workspace_id, agent_id) REFERENCES porch.agents (workspace_id, id) ON DELETE CASCADE,
  FOREIGN KEY (workspace_id, conversation_id) REFERENCES porch.conversations (workspace_id, id) ON DELETE CASCADE,
  FOREIGN KEY (workspace_id, input_message_id) REFERENCES porch.messages (workspace_id, id) ON DELETE CASCADE
);
-- One run at a time in a conversation.
CREATE UNIQUE INDEX runs_active ON porch.runs (workspace_id, conversation_id) WHERE status IN ('running', 'paused');
CREATE INDEX runs_conversation ON porch.runs (workspace_id, conversation_id, id DESC);
CREATE INDEX runs_agent ON porch.runs (workspace_id, agent_id);
CREATE INDEX runs_input ON porch.runs (workspace_id, input_message_id);
CREATE INDEX runs_holder ON porch.runs (holder) WHERE holder IS NOT NULL;

-- Events as the very bytes that readers get; a row holds seq first_seq to last_seq, all of one epoch.
CREATE TABLE porch.journal (
  workspace_id uuid NOT NULL,
  run_id uuid NOT NULL,
  first_seq integer NOT NULL CHECK (first_seq > 0),
  last_seq integer NOT NULL,
  epoch integer NOT NULL,
  frames bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, run_id, first_seq),
  CHECK (last_seq >= first_seq),
  FOREIGN KEY (workspace_id, run_id) REFERENCES porch.runs (workspace_id, id) ON DELETE CASCADE
);

-- Answers to writes that carried an Idempotency-Key, kept for a day.
CREATE TABLE porch.idempotency_keys (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  principal_id uuid NOT NULL,
  route text NOT NULL,
  key text NOT NULL,
  fingerprint bytea NOT NULL,
  status integer,
  body bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, principal_id, route, key)
);
CREATE INDEX idempotency_keys_age ON porch.idempotency_keys (workspace_id, created_at);

-- ---------------------------------------------------------------- walls

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['memberships', 'tokens', 'agents', 'agent_versions', 'conversations', 'messages',
                           'runs', 'journal', 'idempotency_keys'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON porch.%I TO porch_app USING (workspace_id = porch.current_workspace()) '
                   'WITH CHECK (workspace_id = porch.current_workspace())', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['users', 'workspaces', 'sessions', 'processes'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['users', 'workspaces', 'memberships', 'tokens', 'processes', 'runs', 'journal',
                           'messages', 'conversations'] LOOP
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
CREATE POLICY tenant ON porch.workspaces TO porch_app
  USING (id = porch.current_workspace()) WITH CHECK (id = porch.current_workspace());

GRANT SELECT, UPDATE (name) ON porch.workspaces TO porch_app;
GRANT SELECT ON porch.memberships TO porch_app;
GRANT SELECT, INSERT, UPDATE (name, revoked_at, last_used_at, last_used_from) ON porch.tokens TO porch_app;
GRANT SELECT, INSERT, UPDATE (handle, draft, revision, latest_version, updated_at), DELETE ON porch.agents TO porch_app;
GRANT SELECT, INSERT ON porch.agent_versions TO porch_app;
GRANT SELECT, INSERT, UPDATE (title, head_message_id, updated_at), DELETE ON porch.conversations TO porch_app;
GRANT SELECT, INSERT ON porch.messages TO porch_app;
GRANT SELECT, INSERT, UPDATE (cancel_by) ON porch.runs TO porch_app;
GRANT SELECT, INSERT ON porch.journal TO porch_app;
GRANT SELECT, INSERT, UPDATE (status, body), DELETE ON porch.idempotency_keys TO porch_app;

GRANT SELECT, INSERT ON porch.users, porch.workspaces, porch.memberships TO porch_definer;
GRANT SELECT ON porch.tokens TO porch_definer;
GRANT SELECT, INSERT, UPDATE, DELETE ON porch.processes TO porch_definer;
GRANT SELECT, UPDATE ON porch.runs TO porch_definer;
GRANT INSERT, SELECT ON porch.journal TO porch_definer;
GRANT INSERT, SELECT ON porch.messages TO porch_definer;
GRANT SELECT, UPDATE (head_message_id, updated_at) ON porch.conversations TO porch_definer;
