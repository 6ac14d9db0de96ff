-- Runs that wait: for a person to approve a call, or for quota. And what wakes them.

-- A paused run has no holder. `wake_at` is when it may go on: '-infinity' once all is decided. Who claims it also
-- wakes one with `cancel_by`, since a process of an earlier version cancels by that column alone.
ALTER TABLE porch.runs
  ADD COLUMN paused_for text CHECK (paused_for IN ('approval', 'quota')),
  ADD COLUMN paused_at timestamptz,
  ADD COLUMN wake_at timestamptz;
CREATE INDEX runs_waking ON porch.runs ((CASE WHEN cancel_by IS NULL THEN wake_at ELSE '-infinity' END))
  WHERE status = 'paused';
CREATE INDEX runs_waiting ON porch.runs (workspace_id, paused_at, id) WHERE status = 'paused' AND paused_for = 'quota';
GRANT UPDATE (wake_at) ON porch.runs TO porch_app;

-- A call that waits for a person. `arguments` is the canonical JSON that was shown and will run, and is text: jsonb
-- would write it anew.
CREATE TABLE porch.approvals (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  run_id uuid NOT NULL,
  participant_id uuid NOT NULL,
  call text NOT NULL,
  name text NOT NULL,
  arguments text NOT NULL,
  arguments_hash text NOT NULL,
  reason text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  decision text CHECK (decision IN ('approve', 'deny')),
  decided_by text,
  decided_at timestamptz,
  note text,
  PRIMARY KEY (workspace_id, id),
  CHECK ((decision IS NULL) = (decided_by IS NULL) AND (decision IS NULL) = (decided_at IS NULL)),
  FOREIGN KEY (workspace_id, run_id) REFERENCES porch.runs (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX approvals_run ON porch.approvals (workspace_id, run_id);
CREATE INDEX approvals_waiting ON porch.approvals (workspace_id, id DESC) WHERE decision IS NULL;
CREATE INDEX approvals_participant ON porch.approvals (workspace_id, participant_id, id DESC);

-- How many tokens a workspace may use in a period; null for as many as it likes.
CREATE TABLE porch.quotas (
  workspace_id uuid PRIMARY KEY REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  tokens bigint CHECK (tokens >= 0),
  period text NOT NULL CHECK (period IN ('day', 'month')),
  changed_at timestamptz NOT NULL,
  changed_by text NOT NULL
);
CREATE INDEX quotas_changed ON porch.quotas (changed_at);

-- What was used on a day (UTC). A process counts in one of eight slots, so that few wait for each other.
CREATE TABLE porch.token_use (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  day date NOT NULL,
  slot smallint NOT NULL,
  tokens bigint NOT NULL,
  PRIMARY KEY (workspace_id, day, slot)
) WITH (fillfactor = 50);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['approvals', 'quotas', 'token_use'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON porch.%I TO porch_app USING (workspace_id = porch.current_workspace()) '
                   'WITH CHECK (workspace_id = porch.current_workspace())', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT, UPDATE (decision, decided_by, decided_at, note) ON porch.approvals TO porch_app;
GRANT SELECT, INSERT, UPDATE (tokens, period, changed_at, changed_by) ON porch.quotas TO porch_app;
GRANT SELECT ON porch.token_use TO porch_app;
GRANT SELECT, INSERT, UPDATE (decision, decided_by, decided_at) ON porch.approvals TO porch_definer;
-- A share lock asks for the right to update something.
GRANT SELECT, UPDATE (changed_at) ON porch.quotas TO porch_definer;
GRANT SELECT, INSERT, UPDATE (tokens) ON porch.token_use TO porch_definer;

-- ---------------------------------------------------------------- quota

-- When a workspace may ask a model: '-infinity' for now, else in its next period, those that come earlier in this one
-- earlier in the first minute of that. With p_lock who changes the quota waits until this transaction is over.
CREATE FUNCTION porch.quota_opens(p_workspace uuid, p_lock boolean) RETURNS timestamptz
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  quota record;
  moment timestamp;
  starts timestamp;
  ends timestamp;
  used bigint;
BEGIN
  IF p_lock THEN
    PERFORM FROM porch.quotas q WHERE q.workspace_id = p_workspace FOR SHARE;
  END IF;
  SELECT q.tokens, q.period INTO quota FROM porch.quotas q WHERE q.workspace_id = p_workspace;
  IF NOT FOUND OR quota.tokens IS NULL THEN
    RETURN '-infinity';
  END IF;
  moment := clock_timestamp() AT TIME ZONE 'UTC';
  starts := date_trunc(quota.period, moment);
  ends := starts + ('1 ' || quota.period)::interval;
  SELECT coalesce(sum(u.tokens), 0) INTO used FROM porch.token_use u
    WHERE u.workspace_id = p_workspace AND u.day >= starts::date;
  IF used < quota.tokens THEN
    RETURN '-infinity';
  END IF;
  RETURN (ends + interval '1 minute' * (extract(epoch FROM moment - starts) / extract(epoch FROM ends - starts)))
    AT TIME ZONE 'UTC';
END $$;

-- Sets a workspace's quota and wakes what waits for it, oldest first, a hundred in a second.
CREATE FUNCTION porch.set_quota(p_workspace uuid, p_tokens bigint, p_period text, p_by text) RETURNS void
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  INSERT INTO porch.quotas AS q (workspace_id, tokens, period, changed_at, changed_by)
    VALUES (p_workspace, p_tokens, p_period, clock_timestamp(), p_by)
    ON CONFLICT (workspace_id) DO UPDATE SET tokens = p_tokens, period = p_period, changed_at = clock_timestamp(),
      changed_by = p_by;
  IF porch.quota_opens(p_workspace, false) <= clock_timestamp() THEN
    UPDATE porch.runs r SET wake_at = clock_timestamp() + w.n * interval '10 ms'
      FROM (SELECT x.id, row_number() OVER (ORDER BY x.paused_at, x.id) - 1 AS n FROM porch.runs x
            WHERE x.workspace_id = p_workspace AND x.status = 'paused' AND x.paused_for = 'quota') w
      WHERE r.workspace_id = p_workspace AND r.id = w.id AND r.status = 'paused';
  END IF;
END $$;

-- The workspaces whose quota was changed since a moment, and whether they have one now.
CREATE FUNCTION porch.changed_quotas(p_since timestamptz)
  RETURNS TABLE (workspace_id uuid, limited boolean, changed_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT q.workspace_id, q.tokens IS NOT NULL, q.changed_at FROM porch.quotas q WHERE q.changed_at > p_since;
END;

-- ---------------------------------------------------------------- waking

-- Takes over runs whose wait is over: all is decided or has expired, there is quota again, or somebody cancelled them.
-- Only this database's clock judges. Those that must wait on are looked at again when that is due. Its plans are made
-- while few runs are there, and kept: hence the setting.
CREATE FUNCTION porch.claim_paused(p_process uuid, p_limit integer)
  RETURNS TABLE (workspace_id uuid, run_id uuid, epoch integer)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  due record;
  later timestamptz;
BEGIN
  PERFORM FROM porch.processes p WHERE p.id = p_process AND p.expires_at > clock_timestamp() FOR KEY SHARE;
  IF NOT FOUND THEN RETURN; END IF;
  FOR due IN
    SELECT r.workspace_id, r.id, r.paused_for, r.cancel_by FROM porch.runs r
    WHERE r.status = 'paused' AND (CASE WHEN r.cancel_by IS NULL THEN r.wake_at ELSE '-infinity' END) <= moment
    ORDER BY (CASE WHEN r.cancel_by IS NULL THEN r.wake_at ELSE '-infinity' END) LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    later := NULL;
    IF due.cancel_by IS NULL AND due.paused_for = 'approval' THEN
      UPDATE porch.approvals a SET decision = 'deny', decided_by = 'system:expiry', decided_at = clock_timestamp()
        WHERE a.workspace_id = due.workspace_id AND a.run_id = due.id AND a.decision IS NULL AND a.expires_at <= moment;
      SELECT min(a.expires_at) INTO later FROM porch.approvals a
        WHERE a.workspace_id = due.workspace_id AND a.run_id = due.id AND a.decision IS NULL;
    ELSIF due.cancel_by IS NULL THEN
      -- Whoever changes that quota at this moment wants this row, too, and is not waited for: it is looked at again.
      PERFORM FROM porch.quotas q WHERE q.workspace_id = due.workspace_id FOR SHARE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND AND EXISTS (SELECT FROM porch.quotas q WHERE q.workspace_id = due.workspace_id);
      later := nullif(porch.quota_opens(due.workspace_id, false), '-infinity');
    END IF;
    IF later IS NOT NULL THEN
      UPDATE porch.runs r SET wake_at = later WHERE r.workspace_id = due.workspace_id AND r.id = due.id;
      CONTINUE;
    END IF;
    RETURN QUERY
      UPDATE porch.runs r SET status = 'running', holder = p_process, epoch = r.epoch + 1, paused_for = NULL,
          paused_at = NULL, wake_at = NULL
      WHERE r.workspace_id = due.workspace_id AND r.id = due.id
      RETURNING r.workspace_id, r.id, r.epoch;
  END LOOP;
END $$;

-- Decides about a call, once: answers 'decided', 'missing', or 'over' for a run that waits no longer. What was decided
-- before stands. The last one wakes the run.
CREATE FUNCTION porch.resolve_approval(
    p_workspace uuid, p_run uuid, p_approval uuid, p_decision text, p_by text, p_note text) RETURNS text
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state text;
  decided text;
  expired boolean;
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  SELECT r.status INTO state FROM porch.runs r WHERE r.workspace_id = p_workspace AND r.id = p_run FOR NO KEY UPDATE;
  SELECT a.decision, a.expires_at <= clock_timestamp() INTO decided, expired FROM porch.approvals a
    WHERE a.workspace_id = p_workspace AND a.id = p_approval AND a.run_id = p_run;
  IF NOT FOUND THEN
    RETURN 'missing';
  END IF;
  IF decided IS NOT NULL THEN
    RETURN 'decided';
  END IF;
  IF state <> 'paused' THEN
    RETURN 'over';
  END IF;
  UPDATE porch.approvals a SET
      decision = CASE WHEN expired THEN 'deny' ELSE p_decision END,
      decided_by = CASE WHEN expired THEN 'system:expiry' ELSE p_by END,
      decided_at = clock_timestamp(),
      note = CASE WHEN NOT expired THEN p_note END
    WHERE a.workspace_id = p_workspace AND a.id = p_approval;
  UPDATE porch.runs r SET wake_at = '-infinity'
    WHERE r.workspace_id = p_workspace AND r.id = p_run AND NOT EXISTS (
      SELECT FROM porch.approvals a WHERE a.workspace_id = p_workspace AND a.run_id = p_run AND a.decision IS NULL);
  RETURN 'decided';
END $$;

-- ---------------------------------------------------------------- the journal

-- As before, and besides: counts the tokens that came with a row, once; ends a stream with a pause, whose approvals
-- are written with it; denies, at a run's end, what was still open.
CREATE FUNCTION porch.write_journal(
    p_process uuid,
    p_workspace uuid[], p_run uuid[], p_epoch integer[], p_first integer[], p_last integer[], p_frames bytea[],
    p_tokens bigint[],
    e_workspace uuid[], e_run uuid[], e_epoch integer[], e_status text[], e_message uuid[], e_parts text[],
    e_usage text[], e_error text[], e_pause text[], e_wake timestamptz[], e_approvals text[], e_denied_by text[])
  RETURNS SETOF uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
  SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  written uuid[];
  stale uuid[] := '{}';
  conversation uuid;
  question uuid;
BEGIN
  PERFORM FROM porch.processes p WHERE p.id = p_process AND p.expires_at > clock_timestamp() FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT DISTINCT unnest(p_run);
    RETURN;
  END IF;

  -- Each row by its run's key, whatever the tables hold: a plan is made once, and may be from when they were small.
  WITH written AS (
    INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)
      SELECT r.workspace_id, r.id, i.first_seq, i.last_seq, i.epoch, i.frames
      FROM unnest(p_workspace, p_run, p_epoch, p_first, p_last, p_frames)
        AS i (workspace_id, run_id, epoch, first_seq, last_seq, frames)
      CROSS JOIN LATERAL (
        SELECT o.workspace_id, o.id FROM porch.runs o
        WHERE o.workspace_id = i.workspace_id AND o.id = i.run_id AND o.epoch = i.epoch
          AND o.holder IS NOT DISTINCT FROM p_process LIMIT 1) AS r
      WHERE i.first_seq = 1 + coalesce((
        SELECT j.last_seq FROM porch.journal j WHERE j.workspace_id = r.workspace_id AND j.run_id = r.id
        ORDER BY j.first_seq DESC LIMIT 1), 0)
      ON CONFLICT DO NOTHING
      RETURNING run_id)
  SELECT coalesce(array_agg(w.run_id), '{}') INTO written FROM written w;

  IF cardinality(written) < cardinality(p_run) THEN
    -- The same epoch means that nobody took the run over; it may have ended by this very batch, sent before.
    stale := ARRAY (
      SELECT DISTINCT i.run_id
      FROM unnest(p_workspace, p_run, p_epoch, p_first, p_last) AS i (workspace_id, run_id, epoch, first_seq, last_seq)
      WHERE NOT EXISTS (
        SELECT FROM porch.runs r
        JOIN porch.journal j ON j.workspace_id = r.workspace_id AND j.run_id = r.id
          AND j.first_seq = i.first_seq AND j.last_seq = i.last_seq AND j.epoch = i.epoch
        WHERE r.workspace_id = i.workspace_id AND r.id = i.run_id AND r.epoch = i.epoch
          AND (r.holder = p_process OR r.holder IS NULL)));
  END IF;

  IF 0 < ANY (p_tokens) THEN
    -- A batch that is sent again was counted before.
    INSERT INTO porch.token_use AS u (workspace_id, day, slot, tokens)
      SELECT i.workspace_id, (clock_timestamp() AT TIME ZONE 'UTC')::date, get_byte(uuid_send(p_process), 15) & 7,
             sum(i.tokens)
      FROM unnest(p_workspace, p_run, p_tokens) AS i (workspace_id, run_id, tokens)
      WHERE i.tokens > 0 AND i.run_id = ANY (written)
      GROUP BY i.workspace_id ORDER BY i.workspace_id
      ON CONFLICT (workspace_id, day, slot) DO UPDATE SET tokens = u.tokens + excluded.tokens;
  END IF;

  IF cardinality(e_run) > 0 THEN
    FOR i IN 1 .. cardinality(e_run) LOOP
      CONTINUE WHEN e_run[i] <> ALL (p_run) OR e_run[i] = ANY (stale);
      UPDATE porch.runs r
        SET status = e_status[i], output_message_id = e_message[i], usage = e_usage[i]::jsonb, error = e_error[i]::jsonb,
            finished_at = CASE WHEN e_pause[i] IS NULL THEN now() END, holder = NULL, paused_for = e_pause[i],
            paused_at = CASE WHEN e_pause[i] IS NOT NULL THEN now() END,
            wake_at = CASE WHEN e_pause[i] = 'quota' THEN porch.quota_opens(r.workspace_id, true) ELSE e_wake[i] END
        WHERE r.workspace_id = e_workspace[i] AND r.id = e_run[i] AND r.epoch = e_epoch[i]
          AND r.holder IS NOT DISTINCT FROM p_process
        RETURNING r.conversation_id, r.input_message_id INTO conversation, question;
      CONTINUE WHEN NOT FOUND OR e_message[i] IS NULL;
      INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, run_id, role, parts)
        VALUES (e_workspace[i], e_message[i], conversation, question, e_run[i], 'assistant', e_parts[i]::jsonb);
      -- A short answer leaves the time of its question, which is in an index.
      UPDATE porch.conversations c
        SET head_message_id = e_message[i],
            updated_at = CASE WHEN c.updated_at > now() - interval '1 second' THEN c.updated_at ELSE now() END
        WHERE c.workspace_id = e_workspace[i] AND c.id = conversation AND c.head_message_id = question;
    END LOOP;
    IF num_nonnulls(VARIADIC e_approvals) > 0 THEN
      INSERT INTO porch.approvals (workspace_id, id, run_id, participant_id, call, name, arguments, arguments_hash,
                                   reason, expires_at)
        SELECT r.workspace_id, a.id, r.id, c.participant_id, a.call, a.name, a.arguments, a.arguments_hash, a.reason,
               e.wake
        FROM unnest(e_workspace, e_run, e_epoch, e_wake, e_approvals)
          AS e (workspace_id, run_id, epoch, wake, approvals)
        JOIN porch.runs r ON r.workspace_id = e.workspace_id AND r.id = e.run_id AND r.epoch = e.epoch
          AND r.status = 'paused'
        JOIN porch.conversations c ON c.workspace_id = r.workspace_id AND c.id = r.conversation_id
        CROSS JOIN LATERAL jsonb_to_recordset(e.approvals::jsonb)
          AS a (id uuid, call text, name text, arguments text, arguments_hash text, reason text)
        WHERE e.approvals IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    IF num_nonnulls(VARIADIC e_denied_by) > 0 THEN
      UPDATE porch.approvals a SET decision = 'deny', decided_by = e.denied_by, decided_at = now()
        FROM unnest(e_workspace, e_run, e_epoch, e_denied_by) AS e (workspace_id, run_id, epoch, denied_by)
        JOIN porch.runs r ON r.workspace_id = e.workspace_id AND r.id = e.run_id AND r.epoch = e.epoch
          AND r.holder IS NULL
        WHERE e.denied_by IS NOT NULL AND a.workspace_id = r.workspace_id AND a.run_id = r.id AND a.decision IS NULL;
    END IF;
  END IF;

  RETURN QUERY SELECT unnest(stale);
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'quota_opens(uuid, boolean)', 'set_quota(uuid, bigint, text, text)', 'changed_quotas(timestamptz)',
      'claim_paused(uuid, integer)', 'resolve_approval(uuid, uuid, uuid, text, text, text)',
      'write_journal(uuid, uuid[], uuid[], integer[], integer[], integer[], bytea[], bigint[], uuid[], uuid[], integer[], text[], uuid[], text[], text[], text[], text[], timestamptz[], text[], text[])'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
  END LOOP;
  GRANT EXECUTE ON FUNCTION porch.quota_opens(uuid, boolean) TO porch_definer;
  FOREACH f IN ARRAY ARRAY[
      'quota_opens(uuid, boolean)', 'changed_quotas(timestamptz)', 'claim_paused(uuid, integer)',
      'write_journal(uuid, uuid[], uuid[], integer[], integer[], integer[], bytea[], bigint[], uuid[], uuid[], integer[], text[], uuid[], text[], text[], text[], text[], timestamptz[], text[], text[])'] LOOP
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
