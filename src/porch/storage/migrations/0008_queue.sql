-- Messages that wait in a conversation for the answer before them. They stand in a table of their own until their
-- turn comes: no reader of messages or runs meets one that has not begun, not even one of the version before.

CREATE TABLE porch.queued_runs (
  workspace_id uuid NOT NULL,
  -- The run's, from the moment at which it was acknowledged.
  id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  -- The order in which they were acknowledged: given under the conversation's lock.
  place bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
  -- Behind the conversation's head of that time, after parent_id, or the answer to message_id, which is there already.
  how text NOT NULL CHECK (how IN ('head', 'after', 'answer')),
  parent_id uuid,
  message_id uuid NOT NULL,
  parts jsonb,
  before jsonb,
  title text,
  options jsonb,
  -- Stops what is at work, and goes before what waits.
  interrupts boolean NOT NULL DEFAULT false,
  asked_by text NOT NULL,
  size bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, id),
  CHECK ((parts IS NULL) = (how = 'answer')),
  FOREIGN KEY (workspace_id, conversation_id) REFERENCES porch.conversations (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX queued_runs_conversation ON porch.queued_runs (workspace_id, conversation_id, place);

-- The bytes of their pictures and files.
CREATE TABLE porch.queued_files (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  queued_id uuid NOT NULL,
  message_id uuid NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, queued_id) REFERENCES porch.queued_runs (workspace_id, id) ON DELETE CASCADE
);
ALTER TABLE porch.queued_files ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX queued_files_run ON porch.queued_files (workspace_id, queued_id);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['queued_runs', 'queued_files'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON porch.%I TO porch_app USING (workspace_id = porch.current_workspace()) '
                   'WITH CHECK (workspace_id = porch.current_workspace())', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, DELETE ON porch.queued_runs, porch.queued_files TO porch_app;
GRANT SELECT ON porch.queued_runs TO porch_definer;

-- ---------------------------------------------------------------- a message comes in (caller's rights)

-- As the start_run before it, and beside that: while a run is at work or others wait, p_busy says what becomes of the
-- message. 'reject' answers 'busy'; with 'queue' and 'interrupt' it is kept to wait for its turn ('queued'), unless p_most
-- wait there already, or more than p_room bytes ('full'). Whoever interrupts is told of the run that is at work, to
-- cancel it: its row is not touched here, since an end locks run before conversation. Who only remembers the agent gives
-- its p_handle: if that, its version or its draft is another by now, the answer is 'moved'.
CREATE FUNCTION porch.start_run(
    p_workspace uuid, p_conversation uuid, p_follow boolean, p_parent uuid, p_message uuid, p_parts jsonb, p_title text,
    p_run uuid, p_agent uuid, p_version integer, p_draft jsonb, p_holder uuid, p_last_seq integer, p_frames bytea,
    k_principal uuid, k_route text, k_key text, k_body bytea, p_options jsonb, o_kind text, o_participant uuid,
    p_keep interval, p_before jsonb, p_busy text, p_how text, p_asked_by text, p_size bigint, p_most integer, p_room bigint,
    p_handle text)
  RETURNS TABLE (outcome text, active_run uuid)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  current_head uuid;
  kind text;
  participant uuid;
  elsewhere uuid;
  waits boolean;
  waiting integer;
  taken bigint;
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  IF p_handle IS NOT NULL AND NOT EXISTS (
      SELECT FROM porch.agents a WHERE a.workspace_id = p_workspace AND a.id = p_agent AND a.handle = p_handle
        AND a.latest_version IS NOT DISTINCT FROM p_version AND (p_version IS NOT NULL OR a.draft = p_draft)) THEN
    outcome := 'moved'; RETURN NEXT; RETURN;
  END IF;
  IF o_kind IS NOT NULL THEN
    INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id, expires_at)
      VALUES (p_workspace, p_conversation, p_agent, o_kind, o_participant, now() + p_keep);
  END IF;
  SELECT c.head_message_id, c.participant_kind, c.participant_id INTO current_head, kind, participant
    FROM porch.conversations c
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation AND c.deleted_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    outcome := 'missing'; RETURN NEXT; RETURN;
  END IF;
  SELECT (SELECT r.id FROM porch.runs r WHERE r.workspace_id = p_workspace AND r.conversation_id = p_conversation
            AND r.status IN ('running', 'paused')),
         EXISTS (SELECT FROM porch.queued_runs q
                 WHERE q.workspace_id = p_workspace AND q.conversation_id = p_conversation)
    INTO active_run, waits;
  waits := waits OR active_run IS NOT NULL;
  IF waits THEN
    IF EXISTS (
        SELECT FROM porch.idempotency_keys k WHERE k.workspace_id = p_workspace AND k.principal_id = k_principal
          AND k.route = k_route AND k.key = k_key AND k.status IS NOT NULL) THEN
      outcome := 'repeated'; RETURN NEXT; RETURN;
    END IF;
    IF p_busy = 'reject' THEN
      outcome := 'busy'; RETURN NEXT; RETURN;
    END IF;
    SELECT count(*), coalesce(sum(q.size), 0) INTO waiting, taken FROM porch.queued_runs q
      WHERE q.workspace_id = p_workspace AND q.conversation_id = p_conversation;
    IF waiting >= p_most OR taken + p_size > p_room THEN
      outcome := 'full'; RETURN NEXT; RETURN;
    END IF;
  ELSIF p_follow AND current_head IS DISTINCT FROM p_parent THEN
    outcome := 'moved'; RETURN NEXT; RETURN;
  END IF;
  IF kind = 'guest' THEN
    SELECT g.last_run INTO elsewhere FROM porch.guests g
      WHERE g.workspace_id = p_workspace AND g.id = participant FOR UPDATE;
    IF NOT FOUND THEN
      outcome := 'missing'; RETURN NEXT; RETURN;
    END IF;
    IF EXISTS (SELECT FROM porch.runs r WHERE r.workspace_id = p_workspace AND r.id = elsewhere AND r.status = 'running'
                 AND r.conversation_id <> p_conversation) THEN
      active_run := elsewhere;
      outcome := 'occupied'; RETURN NEXT; RETURN;
    END IF;
  END IF;
  IF k_key IS NOT NULL THEN
    UPDATE porch.idempotency_keys k SET status = 202, body = k_body
      WHERE k.workspace_id = p_workspace AND k.principal_id = k_principal AND k.route = k_route AND k.key = k_key
        AND k.status IS NULL;
    IF NOT FOUND THEN
      outcome := 'repeated'; RETURN NEXT; RETURN;
    END IF;
  END IF;
  IF waits THEN
    INSERT INTO porch.queued_runs (workspace_id, id, conversation_id, how, parent_id, message_id, parts, before, title,
                                   options, interrupts, asked_by, size)
      VALUES (p_workspace, p_run, p_conversation, p_how, CASE WHEN p_how = 'after' THEN p_parent END, p_message, p_parts,
              p_before, p_title, p_options, p_busy = 'interrupt', p_asked_by, p_size);
    UPDATE porch.conversations c SET updated_at = now(),
        expires_at = CASE WHEN c.expires_at IS NOT NULL THEN greatest(c.expires_at, now() + coalesce(p_keep, interval '1 day')) END
      WHERE c.workspace_id = p_workspace AND c.id = p_conversation;
    outcome := 'queued'; RETURN NEXT; RETURN;
  END IF;
  IF kind = 'guest' THEN
    UPDATE porch.guests g SET last_run = p_run WHERE g.workspace_id = p_workspace AND g.id = participant;
  END IF;
  IF p_before IS NOT NULL THEN
    INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, role, parts)
      SELECT p_workspace, b.id, p_conversation, b.parent, b.role, b.parts
      FROM jsonb_to_recordset(p_before) AS b (id uuid, parent uuid, role text, parts jsonb);
  END IF;
  IF p_parts IS NOT NULL THEN
    INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, run_id, role, parts)
      VALUES (p_workspace, p_message, p_conversation,
              CASE WHEN p_before IS NULL THEN p_parent ELSE (p_before -> -1 ->> 'id')::uuid END, p_run, 'user', p_parts);
  END IF;
  UPDATE porch.conversations c SET head_message_id = p_message, updated_at = now(),
      title = CASE WHEN c.title = '' THEN coalesce(p_title, '') ELSE c.title END,
      expires_at = CASE WHEN c.expires_at IS NOT NULL THEN greatest(c.expires_at, now() + coalesce(p_keep, interval '1 day')) END
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation;
  INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, agent_version, draft, input_message_id, status, holder,
                          options)
    VALUES (p_workspace, p_run, p_conversation, p_agent, p_version, p_draft, p_message, 'running', p_holder, p_options);
  INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)
    VALUES (p_workspace, p_run, 1, p_last_seq, 1, p_frames);
  outcome := 'started'; RETURN NEXT;
END $$;

-- ---------------------------------------------------------------- its turn comes (caller's rights)

-- Whose turn it is in a conversation in which no run is at work, and the agent as it is now; or, with p_run, this one
-- of those that wait, whatever is at work. `superseded_by` asked behind it and interrupts: this one is not answered.
CREATE FUNCTION porch.next_queued(p_workspace uuid, p_conversation uuid, p_run uuid)
  RETURNS TABLE (run_id uuid, conversation_id uuid, message_id uuid, options jsonb, superseded_by text, agent_handle text,
                 workspace_handle text, version integer, definition jsonb)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  RETURN QUERY
    SELECT q.id, q.conversation_id, q.message_id, q.options,
           (SELECT l.asked_by FROM porch.queued_runs l
            WHERE l.workspace_id = p_workspace AND l.conversation_id = q.conversation_id AND l.place > q.place AND l.interrupts
            ORDER BY l.place DESC LIMIT 1),
           a.handle, w.handle, CASE WHEN NOT c.draft THEN a.latest_version END,
           CASE WHEN c.draft THEN a.draft ELSE coalesce(v.definition, a.draft) END
    FROM porch.queued_runs q
    JOIN porch.conversations c ON c.workspace_id = p_workspace AND c.id = q.conversation_id AND c.deleted_at IS NULL
    JOIN porch.workspaces w ON w.id = p_workspace
    JOIN porch.agents a ON a.workspace_id = p_workspace AND a.id = c.agent_id
    LEFT JOIN porch.agent_versions v
      ON v.workspace_id = p_workspace AND v.agent_id = a.id AND v.number = a.latest_version
    WHERE q.workspace_id = p_workspace AND CASE
      WHEN p_run IS NOT NULL THEN q.id = p_run
      ELSE q.conversation_id = p_conversation AND NOT EXISTS (
        SELECT FROM porch.runs r WHERE r.workspace_id = p_workspace AND r.conversation_id = p_conversation
          AND r.status IN ('running', 'paused')) END
    ORDER BY q.place LIMIT 1;
END $$;

-- Takes a run out of the queue: its message enters the conversation, the run gets its row and its first events, in one
-- transaction. With p_turn it is the first of the queue and the head moves on to it: as 'running', held by p_holder, or
-- as 'cancelled' where a later one interrupts. Without, it is withdrawn: 'cancelled', a branch of the head as it is.
-- Answers 'begun', or why not: 'missing' conversation, 'gone' (no longer waiting, or not first), 'changed' (who
-- interrupts: look again), 'busy', 'occupied' (its guest is answered elsewhere). `more` wait behind it.
CREATE FUNCTION porch.begin_queued(
    p_workspace uuid, p_conversation uuid, p_run uuid, p_turn boolean, p_status text, p_version integer, p_draft jsonb,
    p_holder uuid, p_last_seq integer, p_frames bytea)
  RETURNS TABLE (outcome text, more boolean)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  conversation record;
  waiting record;
  first_parent uuid;
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  more := false;
  SELECT c.head_message_id AS head, c.agent_id, c.participant_kind, c.participant_id INTO conversation
    FROM porch.conversations c
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation AND c.deleted_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    outcome := 'missing'; RETURN NEXT; RETURN;
  END IF;
  SELECT * INTO waiting FROM porch.queued_runs q WHERE q.workspace_id = p_workspace AND q.id = p_run;
  IF NOT FOUND THEN
    outcome := 'gone'; RETURN NEXT; RETURN;
  END IF;
  IF p_turn THEN
    IF EXISTS (SELECT FROM porch.runs r WHERE r.workspace_id = p_workspace AND r.conversation_id = p_conversation
                 AND r.status IN ('running', 'paused')) THEN
      outcome := 'busy'; RETURN NEXT; RETURN;
    END IF;
    IF EXISTS (SELECT FROM porch.queued_runs q WHERE q.workspace_id = p_workspace
                 AND q.conversation_id = p_conversation AND q.place < waiting.place) THEN
      outcome := 'gone'; RETURN NEXT; RETURN;
    END IF;
    IF (p_status = 'cancelled') <> EXISTS (SELECT FROM porch.queued_runs q WHERE q.workspace_id = p_workspace
         AND q.conversation_id = p_conversation AND q.place > waiting.place AND q.interrupts) THEN
      outcome := 'changed'; RETURN NEXT; RETURN;
    END IF;
    IF p_status = 'running' AND conversation.participant_kind = 'guest' THEN
      PERFORM FROM porch.guests g WHERE g.workspace_id = p_workspace AND g.id = conversation.participant_id FOR UPDATE;
      IF EXISTS (SELECT FROM porch.guests g JOIN porch.runs r ON r.workspace_id = p_workspace AND r.id = g.last_run
                 WHERE g.workspace_id = p_workspace AND g.id = conversation.participant_id AND r.status = 'running') THEN
        outcome := 'occupied'; RETURN NEXT; RETURN;
      END IF;
      UPDATE porch.guests g SET last_run = p_run
        WHERE g.workspace_id = p_workspace AND g.id = conversation.participant_id;
    END IF;
  END IF;
  first_parent := CASE WHEN waiting.how = 'head' THEN conversation.head ELSE waiting.parent_id END;
  IF waiting.before IS NOT NULL THEN
    INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, role, parts, created_at)
      SELECT p_workspace, (b.said ->> 'id')::uuid, p_conversation,
             CASE WHEN b.n = 1 THEN first_parent ELSE (b.said ->> 'parent')::uuid END, b.said ->> 'role', b.said -> 'parts',
             waiting.created_at
      FROM jsonb_array_elements(waiting.before) WITH ORDINALITY AS b (said, n);
    first_parent := (waiting.before -> -1 ->> 'id')::uuid;
  END IF;
  IF waiting.parts IS NOT NULL THEN
    INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, run_id, role, parts, created_at)
      VALUES (p_workspace, waiting.message_id, p_conversation, first_parent, p_run, 'user', waiting.parts, waiting.created_at);
  END IF;
  INSERT INTO porch.files (workspace_id, id, message_id, content)
    SELECT f.workspace_id, f.id, f.message_id, f.content FROM porch.queued_files f
    WHERE f.workspace_id = p_workspace AND f.queued_id = p_run;
  IF p_turn THEN
    UPDATE porch.conversations c SET head_message_id = waiting.message_id, updated_at = now(),
        title = CASE WHEN c.title = '' THEN coalesce(waiting.title, '') ELSE c.title END,
        expires_at = CASE WHEN c.expires_at IS NOT NULL THEN greatest(c.expires_at, now() + interval '1 day') END
      WHERE c.workspace_id = p_workspace AND c.id = p_conversation;
  END IF;
  INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, agent_version, draft, input_message_id, status, holder,
                          options, finished_at)
    VALUES (p_workspace, p_run, p_conversation, conversation.agent_id, p_version, p_draft, waiting.message_id, p_status,
            CASE WHEN p_status = 'running' THEN p_holder END, waiting.options,
            CASE WHEN p_status = 'cancelled' THEN now() END);
  INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)
    VALUES (p_workspace, p_run, 1, p_last_seq, 1, p_frames);
  DELETE FROM porch.queued_runs q WHERE q.workspace_id = p_workspace AND q.id = p_run;
  more := EXISTS (SELECT FROM porch.queued_runs q
                  WHERE q.workspace_id = p_workspace AND q.conversation_id = p_conversation);
  outcome := 'begun'; RETURN NEXT;
END $$;

-- Asks whoever holds the run to cancel it; who asked first stands. One statement: a process that stands still after it
-- holds nothing of the run.
CREATE FUNCTION porch.cancel_run(p_workspace uuid, p_run uuid, p_by text) RETURNS void
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  UPDATE porch.runs r SET cancel_by = p_by
    WHERE r.workspace_id = p_workspace AND r.id = p_run AND r.status IN ('running', 'paused') AND r.cancel_by IS NULL;
END $$;

-- ---------------------------------------------------------------- what was left waiting

-- Looks at p_limit of all that wait, from behind p_after on: which conversations have somebody waiting and no run at
-- work (active_run is null), and which runs are at work that somebody waiting wanted to interrupt. The last row, of no
-- workspace, says how far it came in `reached`, 0 at the end.
CREATE FUNCTION porch.find_queued(p_after bigint, p_limit integer)
  RETURNS TABLE (workspace_id uuid, conversation_id uuid, active_run uuid, asked_by text, reached bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
BEGIN ATOMIC
  WITH page AS MATERIALIZED (
    SELECT q.workspace_id, q.conversation_id, q.place, q.interrupts, q.asked_by FROM porch.queued_runs q
    WHERE q.place > p_after ORDER BY q.place LIMIT p_limit),
  judged AS (
    SELECT DISTINCT ON (p.workspace_id, p.conversation_id) p.workspace_id, p.conversation_id, a.id AS active_run, p.asked_by
    FROM page p
    JOIN porch.conversations c
      ON c.workspace_id = p.workspace_id AND c.id = p.conversation_id AND c.deleted_at IS NULL
    LEFT JOIN LATERAL (
      SELECT r.id, r.cancel_by FROM porch.runs r WHERE r.workspace_id = p.workspace_id
        AND r.conversation_id = p.conversation_id AND r.status IN ('running', 'paused') LIMIT 1) a ON true
    WHERE a.id IS NULL OR (p.interrupts AND a.cancel_by IS NULL)
    ORDER BY p.workspace_id, p.conversation_id, p.interrupts DESC)
  SELECT j.workspace_id, j.conversation_id, j.active_run, j.asked_by, NULL::bigint FROM judged j
  UNION ALL
  SELECT NULL, NULL, NULL, NULL, CASE WHEN count(*) < p_limit THEN 0 ELSE max(p.place) END FROM page p;
END;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'start_run(uuid, uuid, boolean, uuid, uuid, jsonb, text, uuid, uuid, integer, jsonb, uuid, integer, bytea, uuid, text, text, bytea, jsonb, text, uuid, interval, jsonb, text, text, text, bigint, integer, bigint, text)',
      'next_queued(uuid, uuid, uuid)',
      'begin_queued(uuid, uuid, uuid, boolean, text, integer, jsonb, uuid, integer, bytea)',
      'cancel_run(uuid, uuid, text)',
      'find_queued(bigint, integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
  END LOOP;
  ALTER FUNCTION porch.find_queued(bigint, integer) OWNER TO porch_definer;
END $$;
