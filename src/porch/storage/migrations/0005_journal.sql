-- The journal takes no row behind a gap, and who has lost its lease claims nothing.

DROP FUNCTION porch.claim_runs(uuid, integer, uuid[]);
DROP FUNCTION porch.write_journal(uuid, uuid[], uuid[], integer[], integer[], integer[], bytea[], uuid[], uuid[], integer[], text[], uuid[], text[], text[], text[]);

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
  -- A process that does not know yet that its lease is over must not take anything.
  PERFORM FROM porch.processes p WHERE p.id = p_process AND p.expires_at > clock_timestamp();
  IF NOT FOUND THEN RETURN; END IF;
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

-- Appends many runs' rows and ends runs, in one transaction. The workspace is the run's own: a pair that does
-- not name an existing run of this holder in this epoch is refused. Answers the runs that were refused; their
-- producer has lost them. A batch that is sent again after its answer was lost changes nothing.
-- Its plans are made while the tables are empty, and kept: without the setting they would go on reading all runs.
-- A row counts only right behind the run's last one: what is committed has no gap.
CREATE FUNCTION porch.write_journal(
    p_process uuid,
    p_workspace uuid[], p_run uuid[], p_epoch integer[], p_first integer[], p_last integer[], p_frames bytea[],
    e_workspace uuid[], e_run uuid[], e_epoch integer[], e_status text[], e_message uuid[], e_parts text[],
    e_usage text[], e_error text[])
  RETURNS SETOF uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
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
    WHERE i.first_seq = 1 + coalesce((
      SELECT j.last_seq FROM porch.journal j WHERE j.workspace_id = r.workspace_id AND j.run_id = r.id
      ORDER BY j.first_seq DESC LIMIT 1), 0)
    ON CONFLICT DO NOTHING;

  IF cardinality(e_run) > 0 THEN
    WITH ended AS (
      UPDATE porch.runs r
      SET status = e.status, output_message_id = e.message, usage = e.usage::jsonb, error = e.error::jsonb,
          finished_at = now(), holder = NULL
      FROM unnest(e_workspace, e_run, e_epoch, e_status, e_message, e_usage, e_error)
        AS e (workspace_id, run_id, epoch, status, message, usage, error)
      WHERE r.workspace_id = e.workspace_id AND r.id = e.run_id AND r.epoch = e.epoch AND r.holder = p_process
        AND EXISTS (SELECT FROM porch.journal j, unnest(p_run, p_last) AS i (run_id, last_seq)
          WHERE j.workspace_id = r.workspace_id AND j.run_id = r.id AND i.run_id = r.id AND j.last_seq = i.last_seq)
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
    SELECT DISTINCT i.run_id
    FROM unnest(p_workspace, p_run, p_epoch, p_first, p_last) AS i (workspace_id, run_id, epoch, first_seq, last_seq)
    WHERE NOT EXISTS (
      SELECT FROM porch.runs r
      JOIN porch.journal j ON j.workspace_id = r.workspace_id AND j.run_id = r.id
        AND j.first_seq = i.first_seq AND j.last_seq = i.last_seq AND j.epoch = i.epoch
      WHERE r.workspace_id = i.workspace_id AND r.id = i.run_id AND r.epoch = i.epoch
        AND (r.holder = p_process OR r.holder IS NULL));
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'claim_runs(uuid, integer, uuid[])',
      'write_journal(uuid, uuid[], uuid[], integer[], integer[], integer[], bytea[], uuid[], uuid[], integer[], text[], uuid[], text[], text[], text[])'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
