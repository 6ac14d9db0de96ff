-- The listed SECURITY DEFINER functions, and the two that do a turn's start and reading in one round trip.
-- Nothing else works before or across workspaces.

-- ---------------------------------------------------------------- identity

-- The operator and their workspace: those that are there, else these.
CREATE FUNCTION porch.ensure_operator(p_user uuid, p_name text, p_workspace uuid, p_handle text)
  RETURNS TABLE (user_id uuid, name text, workspace_id uuid, handle text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('porch.ensure_operator', 0));
  IF NOT EXISTS (SELECT FROM porch.users u WHERE u.operator) THEN
    INSERT INTO porch.users (id, name, operator) VALUES (p_user, p_name, true);
    INSERT INTO porch.workspaces (id, handle, name) VALUES (p_workspace, p_handle, p_name);
    INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES (p_workspace, p_user, 'owner');
  END IF;
  RETURN QUERY
    SELECT u.id, u.name, w.id, w.handle
    FROM porch.users u
    JOIN porch.memberships m ON m.user_id = u.id AND m.role = 'owner'
    JOIN porch.workspaces w ON w.id = m.workspace_id
    WHERE u.operator
    ORDER BY u.created_at, w.created_at
    LIMIT 1;
END $$;

-- Who a token stands for, by the SHA-256 of its text; no row for one that is unknown, revoked or expired.
CREATE FUNCTION porch.authenticate_token(p_hash bytea)
  RETURNS TABLE (token_id uuid, user_id uuid, user_name text, workspace_id uuid, handle text, role text,
                 scopes text[], expires_at timestamptz, last_used_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT t.id, u.id, u.name, w.id, w.handle, m.role, t.scopes, t.expires_at, t.last_used_at
  FROM porch.tokens t
  JOIN porch.memberships m ON m.workspace_id = t.workspace_id AND m.user_id = t.user_id
  JOIN porch.users u ON u.id = t.user_id
  JOIN porch.workspaces w ON w.id = t.workspace_id
  WHERE t.hash = p_hash AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now());
END;

-- ---------------------------------------------------------------- leases

CREATE FUNCTION porch.register_process(p_id uuid, p_host text, p_pid integer, p_lease interval) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO porch.processes (id, host, pid, expires_at) VALUES (p_id, p_host, p_pid, clock_timestamp() + p_lease);
END;

-- Renews a lease. `alive` is false when it had run out, and then it stays so.
-- The arrays name the runs of this process that somebody asked to cancel, and who did.
CREATE FUNCTION porch.heartbeat(p_process uuid, p_lease interval)
  RETURNS TABLE (alive boolean, cancel_runs uuid[], cancel_by text[])
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE porch.processes SET expires_at = clock_timestamp() + p_lease
    WHERE id = p_process AND expires_at > clock_timestamp();
  alive := FOUND;
  SELECT array_agg(r.id), array_agg(r.cancel_by) INTO cancel_runs, cancel_by
    FROM porch.runs r WHERE r.holder = p_process AND r.cancel_by IS NOT NULL;
  RETURN NEXT;
END $$;

-- A process that leaves in order gives its lease back at once, so that others need not wait for its end.
CREATE FUNCTION porch.release_process(p_process uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE porch.processes SET expires_at = '-infinity' WHERE id = p_process;
  DELETE FROM porch.processes p
    WHERE p.id = p_process AND NOT EXISTS (SELECT FROM porch.runs r WHERE r.holder = p.id);
END $$;

-- Takes over runs whose process is gone: the next epoch, with this process as holder. The row lock on the dead
-- process conflicts with the share lock that its journal writes hold, so none of them can still commit.
-- With p_known, also runs that this process holds and does not carry: after an answer of the database that was lost.
CREATE FUNCTION porch.claim_runs(p_process uuid, p_limit integer, p_known uuid[])
  RETURNS TABLE (workspace_id uuid, run_id uuid, epoch integer)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  dead uuid;
  room integer := p_limit;
BEGIN
  IF p_known IS NOT NULL THEN
    PERFORM FROM porch.processes p WHERE p.id = p_process FOR UPDATE;
    RETURN QUERY
      UPDATE porch.runs r SET epoch = r.epoch + 1 WHERE r.holder = p_process AND r.id <> ALL (p_known)
      RETURNING r.workspace_id, r.id, r.epoch;
  END IF;
  FOR dead IN
    SELECT p.id FROM porch.processes p
    WHERE p.expires_at < clock_timestamp() AND p.id <> p_process
    ORDER BY p.expires_at LIMIT 8
    FOR UPDATE SKIP LOCKED
  LOOP
    RETURN QUERY
      UPDATE porch.runs r SET holder = p_process, epoch = r.epoch + 1
      WHERE (r.workspace_id, r.id) IN (
        SELECT x.workspace_id, x.id FROM porch.runs x
        WHERE x.holder = dead ORDER BY x.id LIMIT room FOR UPDATE)
      RETURNING r.workspace_id, r.id, r.epoch;
    DELETE FROM porch.processes p
      WHERE p.id = dead AND NOT EXISTS (SELECT FROM porch.runs r WHERE r.holder = dead);
    SELECT p_limit - count(*) INTO room FROM porch.runs r WHERE r.holder = p_process;
    EXIT WHEN room <= 0;
  END LOOP;
END $$;

-- ---------------------------------------------------------------- the journal

-- Appends many runs' rows and ends runs, in one transaction. The workspace is the run's own: a pair that does
-- not name an existing run of this holder in this epoch is refused. Answers the runs that were refused; their
-- producer has lost them. A batch that is sent again after its answer was lost changes nothing.
CREATE FUNCTION porch.write_journal(
    p_process uuid,
    p_workspace uuid[], p_run uuid[], p_epoch integer[], p_first integer[], p_last integer[], p_frames bytea[],
    e_workspace uuid[], e_run uuid[], e_epoch integer[], e_status text[], e_message uuid[], e_parts text[],
    e_usage text[], e_error text[])
  RETURNS SETOF uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM porch.processes p WHERE p.id = p_process AND p.expires_at > clock_timestamp() FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT DISTINCT unnest(p_run);
    RETURN;
  END IF;

  INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)
    SELECT r.workspace_id, r.id, i.first_seq, i.last_seq, i.epoch, i.frames
    FROM unnest(p_workspace, p_run, p_epoch, p_first, p_last, p_frames)
      AS i (workspace_id, run_id, epoch, first_seq, last_seq, frames)
    JOIN porch.runs r ON r.workspace_id = i.workspace_id AND r.id = i.run_id
      AND r.epoch = i.epoch AND r.holder = p_process
    ON CONFLICT DO NOTHING;

  IF cardinality(e_run) > 0 THEN
    WITH ended AS (
      UPDATE porch.runs r
      SET status = e.status, output_message_id = e.message, usage = e.usage::jsonb, error = e.error::jsonb,
          finished_at = now(), holder = NULL
      FROM unnest(e_workspace, e_run, e_epoch, e_status, e_message, e_usage, e_error)
        AS e (workspace_id, run_id, epoch, status, message, usage, error)
      WHERE r.workspace_id = e.workspace_id AND r.id = e.run_id AND r.epoch = e.epoch AND r.holder = p_process
      RETURNING r.workspace_id, r.id, r.conversation_id, r.input_message_id, r.output_message_id),
    answered AS (
      INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, run_id, role, parts)
      SELECT d.workspace_id, d.output_message_id, d.conversation_id, d.input_message_id, d.id, 'assistant', e.parts::jsonb
      FROM ended d JOIN unnest(e_run, e_parts) AS e (run_id, parts) ON e.run_id = d.id
      WHERE d.output_message_id IS NOT NULL
      RETURNING messages.workspace_id, messages.id, messages.conversation_id, messages.parent_id)
    UPDATE porch.conversations c SET head_message_id = a.id, updated_at = now()
      FROM answered a
      WHERE c.workspace_id = a.workspace_id AND c.id = a.conversation_id AND c.head_message_id = a.parent_id;
  END IF;

  -- The same epoch means that nobody took the run over; it may have ended by this very batch, sent before.
  RETURN QUERY
    SELECT DISTINCT i.run_id FROM unnest(p_workspace, p_run, p_epoch) AS i (workspace_id, run_id, epoch)
    WHERE NOT EXISTS (
      SELECT FROM porch.runs r
      WHERE r.workspace_id = i.workspace_id AND r.id = i.run_id AND r.epoch = i.epoch
        AND (r.holder = p_process OR r.holder IS NULL));
END $$;

-- ---------------------------------------------------------------- a turn in two round trips (caller's rights)

-- What a turn needs to know: the conversation, its agent's definition, and the newest messages of its branch,
-- newest first: at most p_limit, and no more once p_bytes are reached (`more` says that some were left out).
-- No row when the conversation is not this workspace's.
CREATE FUNCTION porch.load_turn(p_workspace uuid, p_conversation uuid, p_limit integer, p_bytes integer)
  RETURNS TABLE (agent_id uuid, handle text, version integer, definition jsonb, participant_kind text,
                 participant_id uuid, head uuid, message_roles text[], message_parts text[], more boolean)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  SELECT a.id, a.handle, a.latest_version, coalesce(v.definition, a.draft), c.participant_kind,
         c.participant_id, c.head_message_id
    INTO agent_id, handle, version, definition, participant_kind, participant_id, head
    FROM porch.conversations c
    JOIN porch.agents a ON a.workspace_id = c.workspace_id AND a.id = c.agent_id
    LEFT JOIN porch.agent_versions v
      ON v.workspace_id = a.workspace_id AND v.agent_id = a.id AND v.number = a.latest_version
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation;
  IF NOT FOUND THEN RETURN; END IF;
  IF head IS NOT NULL THEN
    WITH RECURSIVE branch AS (
      SELECT m.parent_id, m.role, m.parts::text AS parts, 1 AS n, octet_length(m.parts::text) AS size
        FROM porch.messages m WHERE m.workspace_id = p_workspace AND m.id = head
      UNION ALL
      SELECT m.parent_id, m.role, m.parts::text, b.n + 1, b.size + octet_length(m.parts::text)
        FROM branch b JOIN porch.messages m ON m.workspace_id = p_workspace AND m.id = b.parent_id
        WHERE b.n < p_limit AND b.size < p_bytes)
    SELECT array_agg(b.role ORDER BY b.n), array_agg(b.parts ORDER BY b.n),
           (array_agg(b.parent_id ORDER BY b.n DESC))[1] IS NOT NULL
      INTO message_roles, message_parts, more FROM branch b;
  END IF;
  RETURN NEXT;
END $$;

-- Commits a message, its run and the run's first events together. Answers 'started', or why not: 'missing',
-- 'moved' (the branch grew meanwhile: load the turn again) or 'busy' with the run that is at work. A caller that
-- holds an idempotency key has its answer kept in the same transaction.
CREATE FUNCTION porch.start_run(
    p_workspace uuid, p_conversation uuid, p_head uuid, p_message uuid, p_parts jsonb, p_run uuid, p_agent uuid,
    p_version integer, p_draft jsonb, p_holder uuid, p_last_seq integer, p_frames bytea,
    k_principal uuid, k_route text, k_key text, k_body bytea)
  RETURNS TABLE (outcome text, active_run uuid)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE current_head uuid;
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  SELECT c.head_message_id INTO current_head FROM porch.conversations c
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation FOR UPDATE;
  IF NOT FOUND THEN
    outcome := 'missing'; RETURN NEXT; RETURN;
  END IF;
  SELECT r.id INTO active_run FROM porch.runs r
    WHERE r.workspace_id = p_workspace AND r.conversation_id = p_conversation AND r.status IN ('running', 'paused');
  IF FOUND THEN
    outcome := CASE WHEN EXISTS (
      SELECT FROM porch.idempotency_keys k WHERE k.workspace_id = p_workspace AND k.principal_id = k_principal
        AND k.route = k_route AND k.key = k_key AND k.status IS NOT NULL) THEN 'repeated' ELSE 'busy' END;
    RETURN NEXT; RETURN;
  END IF;
  IF current_head IS DISTINCT FROM p_head THEN
    outcome := 'moved'; RETURN NEXT; RETURN;
  END IF;
  IF k_key IS NOT NULL THEN
    UPDATE porch.idempotency_keys k SET status = 202, body = k_body
      WHERE k.workspace_id = p_workspace AND k.principal_id = k_principal AND k.route = k_route AND k.key = k_key
        AND k.status IS NULL;
    IF NOT FOUND THEN
      outcome := 'repeated'; RETURN NEXT; RETURN;
    END IF;
  END IF;
  INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, run_id, role, parts)
    VALUES (p_workspace, p_message, p_conversation, p_head, p_run, 'user', p_parts);
  UPDATE porch.conversations c SET head_message_id = p_message, updated_at = now()
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation;
  INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, agent_version, draft, input_message_id, status, holder)
    VALUES (p_workspace, p_run, p_conversation, p_agent, p_version, p_draft, p_message, 'running', p_holder);
  INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)
    VALUES (p_workspace, p_run, 1, p_last_seq, 1, p_frames);
  outcome := 'started'; RETURN NEXT;
END $$;

-- ---------------------------------------------------------------- who may call

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA porch FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA porch TO porch_app;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'ensure_operator(uuid, text, uuid, text)', 'authenticate_token(bytea)',
      'register_process(uuid, text, integer, interval)', 'heartbeat(uuid, interval)', 'release_process(uuid)',
      'claim_runs(uuid, integer, uuid[])',
      'write_journal(uuid, uuid[], uuid[], integer[], integer[], integer[], bytea[], uuid[], uuid[], integer[], text[], uuid[], text[], text[], text[])'] LOOP
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
