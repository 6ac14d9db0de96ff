-- What was measured of runs and of their model calls, and sums of it by time and model.

-- One row for a run that has ended. Times are in milliseconds from the run's start; `hour` counts from 1970, in UTC.
CREATE TABLE porch.run_figures (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  run_id uuid NOT NULL,
  hour integer NOT NULL,
  started_at timestamptz NOT NULL,
  agent text NOT NULL,
  asked text NOT NULL,
  answered text NOT NULL,
  provider text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('finished', 'failed', 'cancelled')),
  code text,
  broke boolean NOT NULL,
  takeovers integer NOT NULL,
  calls integer NOT NULL,
  tools integer NOT NULL,
  chunks integer NOT NULL,
  input_tokens bigint,
  output_tokens bigint,
  first_chunk_ms integer,
  first_text_ms integer,
  duration_ms integer NOT NULL,
  PRIMARY KEY (workspace_id, run_id)
);
-- The slowest of a range are found hour by hour, whatever the number of runs.
CREATE INDEX run_figures_slowest ON porch.run_figures (workspace_id, hour, first_text_ms DESC NULLS LAST);

-- One row for a model call, in the order in which one process made them.
CREATE TABLE porch.call_figures (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  run_id uuid NOT NULL,
  epoch integer NOT NULL,
  place integer NOT NULL,
  hour integer NOT NULL,
  started_at timestamptz NOT NULL,
  step text NOT NULL,
  asked text NOT NULL,
  answered text NOT NULL,
  provider text NOT NULL,
  reason text,
  code text,
  chunks integer NOT NULL,
  input_tokens bigint,
  output_tokens bigint,
  first_chunk_ms integer,
  duration_ms integer NOT NULL,
  PRIMARY KEY (workspace_id, run_id, epoch, place)
);
CREATE INDEX call_figures_age ON porch.call_figures (workspace_id, hour);

-- The same, added up: slots of five minutes, an hour and six hours, counted from 1970. Histograms hold counts by the bucket
-- boundaries of porch.telemetry.spread; codes are failures by their code. Of the model '' are the things of no model.
CREATE TABLE porch.figure_sums (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  minutes integer NOT NULL CHECK (minutes IN (5, 60, 360)),
  slot integer NOT NULL,
  model text NOT NULL,
  finished integer NOT NULL DEFAULT 0,
  failed integer NOT NULL DEFAULT 0,
  cancelled integer NOT NULL DEFAULT 0,
  broken integer NOT NULL DEFAULT 0,
  starts integer NOT NULL DEFAULT 0,
  starts_failed integer NOT NULL DEFAULT 0,
  begun integer NOT NULL DEFAULT 0,
  continued integer NOT NULL DEFAULT 0,
  codes jsonb NOT NULL DEFAULT '{}',
  first_text integer[] NOT NULL DEFAULT '{}',
  first_chunk integer[] NOT NULL DEFAULT '{}',
  per_chunk integer[] NOT NULL DEFAULT '{}',
  duration integer[] NOT NULL DEFAULT '{}',
  takeover integer[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (workspace_id, minutes, slot, model)
);

-- When a workspace got its first answer.
CREATE TABLE porch.first_answers (
  workspace_id uuid PRIMARY KEY REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  answered_at timestamptz NOT NULL
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['run_figures', 'call_figures', 'figure_sums', 'first_answers'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON porch.%I TO porch_app USING (workspace_id = porch.current_workspace()) '
                   'WITH CHECK (workspace_id = porch.current_workspace())', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

GRANT SELECT ON porch.run_figures, porch.call_figures, porch.figure_sums, porch.first_answers TO porch_app;
GRANT SELECT, INSERT, DELETE, UPDATE (hour) ON porch.run_figures, porch.call_figures TO porch_definer;
GRANT SELECT, INSERT, DELETE,
  UPDATE (finished, failed, cancelled, broken, starts, starts_failed, begun, continued, codes,
          first_text, first_chunk, per_chunk, duration, takeover)
  ON porch.figure_sums TO porch_definer;
GRANT SELECT, INSERT ON porch.first_answers TO porch_definer;

-- Two histograms as one.
CREATE FUNCTION porch.add_counts(p_one integer[], p_other integer[]) RETURNS integer[]
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE WHEN p_other = '{}' THEN p_one WHEN p_one = '{}' THEN p_other ELSE (
    SELECT array_agg(coalesce(u.one, 0) + coalesce(u.other, 0) ORDER BY u.n)
    FROM unnest(p_one, p_other) WITH ORDINALITY AS u (one, other, n)) END;
END;

-- Two counts by code as one.
CREATE FUNCTION porch.add_codes(p_one jsonb, p_other jsonb) RETURNS jsonb
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE WHEN p_other = '{}' THEN p_one WHEN p_one = '{}' THEN p_other ELSE (
    SELECT jsonb_object_agg(s.key, s.value) FROM (
      SELECT b.key, sum(b.value::integer) AS value
      FROM (SELECT * FROM jsonb_each_text(p_one) UNION ALL SELECT * FROM jsonb_each_text(p_other)) b
      GROUP BY b.key) s) END;
END;

-- Writes down a batch of what one process measured, of any number of workspaces; those that are gone are left out.
-- A batch that is sent again after its answer was lost changes nothing, as long as there is a run in it.
CREATE FUNCTION porch.record_figures(p_runs json, p_calls json, p_sums json) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  done integer;
BEGIN
  INSERT INTO porch.run_figures (
      workspace_id, run_id, hour, started_at, agent, asked, answered, provider, outcome, code, broke, takeovers, calls,
      tools, chunks, input_tokens, output_tokens, first_chunk_ms, first_text_ms, duration_ms)
    SELECT i.workspace, i.run, floor(i.began / 3600), to_timestamp(i.began), i.agent, i.asked, i.answered, i.provider,
           i.outcome, i.code, i.broke, i.takeovers, i.calls, i.tools, i.chunks, i.input_tokens, i.output_tokens,
           i.first_chunk_ms, i.first_text_ms, i.duration_ms
    FROM json_to_recordset(p_runs) AS i (
      workspace uuid, run uuid, began double precision, agent text, asked text, answered text, provider text,
      outcome text, code text, broke boolean, takeovers integer, calls integer, tools integer, chunks integer,
      input_tokens bigint, output_tokens bigint, first_chunk_ms integer, first_text_ms integer, duration_ms integer)
    JOIN porch.workspaces w ON w.id = i.workspace
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS done = ROW_COUNT;
  IF done = 0 AND json_array_length(p_runs) > 0 THEN
    RETURN 0;
  END IF;

  INSERT INTO porch.call_figures (
      workspace_id, run_id, epoch, place, hour, started_at, step, asked, answered, provider, reason, code, chunks,
      input_tokens, output_tokens, first_chunk_ms, duration_ms)
    SELECT i.workspace, i.run, i.epoch, i.place, floor(i.began / 3600), to_timestamp(i.began), i.step, i.asked,
           i.answered, i.provider, i.reason, i.code, i.chunks, i.input_tokens, i.output_tokens, i.first_chunk_ms,
           i.duration_ms
    FROM json_to_recordset(p_calls) AS i (
      workspace uuid, run uuid, epoch integer, place integer, began double precision, step text, asked text,
      answered text, provider text, reason text, code text, chunks integer, input_tokens bigint, output_tokens bigint,
      first_chunk_ms integer, duration_ms integer)
    JOIN porch.workspaces w ON w.id = i.workspace
    ON CONFLICT DO NOTHING;

  -- In the order of their key, so that no two processes wait for each other.
  INSERT INTO porch.figure_sums AS s (
      workspace_id, minutes, slot, model, finished, failed, cancelled, broken, starts, starts_failed, begun, continued,
      codes, first_text, first_chunk, per_chunk, duration, takeover)
    SELECT i.workspace, i.minutes, i.slot, i.model, i.finished, i.failed, i.cancelled, i.broken, i.starts,
           i.starts_failed, i.begun, i.continued, i.codes, i.first_text, i.first_chunk, i.per_chunk, i.duration,
           i.takeover
    FROM json_to_recordset(p_sums) AS i (
      workspace uuid, minutes integer, slot integer, model text, finished integer, failed integer, cancelled integer,
      broken integer, starts integer, starts_failed integer, begun integer, continued integer, codes jsonb,
      first_text integer[], first_chunk integer[], per_chunk integer[], duration integer[], takeover integer[])
    JOIN porch.workspaces w ON w.id = i.workspace
    ORDER BY i.workspace, i.minutes, i.slot, i.model
    ON CONFLICT (workspace_id, minutes, slot, model) DO UPDATE SET
      finished = s.finished + excluded.finished,
      failed = s.failed + excluded.failed,
      cancelled = s.cancelled + excluded.cancelled,
      broken = s.broken + excluded.broken,
      starts = s.starts + excluded.starts,
      starts_failed = s.starts_failed + excluded.starts_failed,
      begun = s.begun + excluded.begun,
      continued = s.continued + excluded.continued,
      codes = porch.add_codes(s.codes, excluded.codes),
      first_text = porch.add_counts(s.first_text, excluded.first_text),
      first_chunk = porch.add_counts(s.first_chunk, excluded.first_chunk),
      per_chunk = porch.add_counts(s.per_chunk, excluded.per_chunk),
      duration = porch.add_counts(s.duration, excluded.duration),
      takeover = porch.add_counts(s.takeover, excluded.takeover);
  RETURN done;
END $$;

-- When these workspaces got their first answer, as far as that was not known.
CREATE FUNCTION porch.record_first_answers(p_workspace uuid[], p_at timestamptz[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO porch.first_answers (workspace_id, answered_at)
    SELECT i.workspace, min(i.at) FROM unnest(p_workspace, p_at) AS i (workspace, at)
    JOIN porch.workspaces w ON w.id = i.workspace
    GROUP BY i.workspace ORDER BY i.workspace
    ON CONFLICT DO NOTHING;
END;

-- Removes what is older than p_days, workspace by workspace until p_limit rows of a kind are gone; of five minutes' sums
-- what is older than two days. Answers how many. The setting: plans that were made while the tables are empty are kept.
CREATE FUNCTION porch.purge_figures(p_days integer, p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  this_hour integer := floor(extract(epoch FROM now()) / 3600);
  oldest integer := this_hour - 24 * p_days;
  one uuid;
  gone integer := 0;
  part integer;
BEGIN
  FOR one IN SELECT w.id FROM porch.workspaces w LOOP
    DELETE FROM porch.run_figures f WHERE (f.workspace_id, f.run_id) IN (
      SELECT x.workspace_id, x.run_id FROM porch.run_figures x WHERE x.workspace_id = one AND x.hour < oldest
      LIMIT p_limit FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS part = ROW_COUNT;
    gone := gone + part;
    DELETE FROM porch.call_figures f WHERE (f.workspace_id, f.run_id, f.epoch, f.place) IN (
      SELECT x.workspace_id, x.run_id, x.epoch, x.place FROM porch.call_figures x
      WHERE x.workspace_id = one AND x.hour < oldest LIMIT p_limit FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS part = ROW_COUNT;
    gone := gone + part;
    DELETE FROM porch.figure_sums f WHERE f.workspace_id = one AND (f.minutes, f.slot, f.model) IN (
      SELECT x.minutes, x.slot, x.model FROM porch.figure_sums x
      WHERE x.workspace_id = one AND (
        (x.minutes = 5 AND x.slot < (this_hour - 48) * 12) OR (x.minutes = 60 AND x.slot < oldest)
        OR (x.minutes = 360 AND x.slot < oldest / 6))
      LIMIT p_limit FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS part = ROW_COUNT;
    gone := gone + part;
    EXIT WHEN gone >= p_limit;
  END LOOP;
  RETURN gone;
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'record_figures(json, json, json)', 'record_first_answers(uuid[], timestamptz[])',
      'purge_figures(integer, integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
  FOREACH f IN ARRAY ARRAY['add_counts(integer[], integer[])', 'add_codes(jsonb, jsonb)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_definer', f);
  END LOOP;
END $$;
