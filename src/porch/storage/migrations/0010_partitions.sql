-- The journal by the month of its runs, ended runs as one compressed row each, and how long a workspace keeps them.

-- Partitions have the walls of their parent, and nobody may read or write one by its own name.
CREATE FUNCTION porch.wall_partition(p_name text) RETURNS void
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('REVOKE ALL ON porch.%I FROM porch_app, porch_definer', p_name);
  EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', p_name);
  EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', p_name);
  EXECUTE format('DROP POLICY IF EXISTS tenant ON porch.%I', p_name);
  EXECUTE format('DROP POLICY IF EXISTS definer ON porch.%I', p_name);
  EXECUTE format('CREATE POLICY tenant ON porch.%I TO porch_app USING (workspace_id = porch.current_workspace()) '
                 'WITH CHECK (workspace_id = porch.current_workspace())', p_name);
END $$;

-- The lowest id of a run that begins at this moment: a UUIDv7 leads with its milliseconds.
CREATE FUNCTION porch.lowest_id(p_moment timestamptz) RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN (lpad(to_hex((extract(epoch FROM p_moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- ---------------------------------------------------------------- the journal, by months

-- The table that is there becomes the first partition as it is.
ALTER TABLE porch.journal RENAME TO journal_first;
ALTER INDEX porch.journal_pkey RENAME TO journal_first_pkey;

CREATE TABLE porch.journal (
  workspace_id uuid NOT NULL,
  run_id uuid NOT NULL,
  first_seq integer NOT NULL CONSTRAINT journal_first_seq_check CHECK (first_seq > 0),
  last_seq integer NOT NULL,
  epoch integer NOT NULL,
  frames bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT journal_pkey PRIMARY KEY (workspace_id, run_id, first_seq),
  CONSTRAINT journal_check CHECK (last_seq >= first_seq),
  FOREIGN KEY (workspace_id, run_id) REFERENCES porch.runs (workspace_id, id) ON DELETE CASCADE
) PARTITION BY RANGE (run_id);

-- What is not packed yet, the oldest first: every run has one such row.
CREATE INDEX journal_runs ON porch.journal (run_id) WHERE first_seq = 1;

-- ---------------------------------------------------------------- ended runs, one row each

-- All frames of an ended run, compressed in blocks of one epoch each: `blocks` has four numbers for each, the first seq,
-- the epoch, the bytes as they were sent, and the bytes here. Where the frames are not here any more, they are in the
-- archive under the name `archived`, or else gone. `told` is what the run's record tells of its journal, for good.
CREATE TABLE porch.journal_packs (
  workspace_id uuid NOT NULL,
  run_id uuid NOT NULL,
  last_seq integer NOT NULL CHECK (last_seq > 0),
  codec text NOT NULL,
  blocks integer[] NOT NULL CHECK (cardinality(blocks) > 0 AND cardinality(blocks) % 4 = 0),
  size bigint NOT NULL,
  checksum bytea NOT NULL CHECK (octet_length(checksum) = 32),
  told jsonb NOT NULL,
  frames bytea,
  archived text,
  ended_at timestamptz NOT NULL,
  packed_at timestamptz NOT NULL DEFAULT now(),
  -- When the frames were last fetched back: they stay for a while before they leave again.
  fetched_at timestamptz,
  PRIMARY KEY (workspace_id, run_id),
  FOREIGN KEY (workspace_id, run_id) REFERENCES porch.runs (workspace_id, id) ON DELETE CASCADE
) PARTITION BY RANGE (run_id);
CREATE INDEX journal_packs_here ON porch.journal_packs (workspace_id, ended_at) WHERE frames IS NOT NULL;
CREATE INDEX journal_packs_archived ON porch.journal_packs (workspace_id) WHERE archived IS NOT NULL;

-- Objects in the archive whose runs are deleted, until they are, too.
CREATE TABLE porch.archive_removals (
  workspace_id uuid NOT NULL,
  archived text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, archived)
);

-- Days for which the journals of ended runs are kept; null: for as long as the runs are.
ALTER TABLE porch.workspaces ADD COLUMN journal_days integer CHECK (journal_days BETWEEN 1 AND 36500);

DO $$
DECLARE
  latest uuid;
  month timestamp;
  below uuid;
  t text;
BEGIN
  -- Ids may be of a clock that is ahead, and the owner sees no row behind the walls.
  ALTER TABLE porch.journal_first NO FORCE ROW LEVEL SECURITY;
  SELECT j.run_id INTO latest FROM porch.journal_first j ORDER BY j.run_id DESC LIMIT 1;
  month := date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month';
  WHILE latest >= porch.lowest_id(month AT TIME ZONE 'UTC') AND month < '2100-01-01' LOOP
    month := month + interval '1 month';
  END LOOP;
  below := porch.lowest_id(month AT TIME ZONE 'UTC');
  IF latest >= below THEN
    below := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  END IF;
  EXECUTE format('ALTER TABLE porch.journal ATTACH PARTITION porch.journal_first FOR VALUES FROM (MINVALUE) TO (%L)', below);
  EXECUTE format('CREATE TABLE porch.journal_packs_first PARTITION OF porch.journal_packs '
                 'FOR VALUES FROM (MINVALUE) TO (%L)', below);
  CREATE TABLE porch.journal_rest PARTITION OF porch.journal DEFAULT;
  CREATE TABLE porch.journal_packs_rest PARTITION OF porch.journal_packs DEFAULT;
  FOREACH t IN ARRAY ARRAY['journal_first', 'journal_rest', 'journal_packs_first', 'journal_packs_rest'] LOOP
    PERFORM porch.wall_partition(t);
  END LOOP;
  -- Compressed already; and a stretch of it is read without the rest.
  FOREACH t IN ARRAY ARRAY['journal_packs', 'journal_packs_first', 'journal_packs_rest'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ALTER COLUMN frames SET STORAGE EXTERNAL', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['journal', 'journal_packs', 'archive_removals'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON porch.%I TO porch_app USING (workspace_id = porch.current_workspace()) '
                   'WITH CHECK (workspace_id = porch.current_workspace())', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT ON porch.journal TO porch_app;
GRANT SELECT, INSERT, DELETE ON porch.journal TO porch_definer;
GRANT SELECT, UPDATE (frames, archived, fetched_at) ON porch.journal_packs TO porch_app;
GRANT SELECT, INSERT ON porch.journal_packs TO porch_definer;
GRANT SELECT, INSERT, DELETE ON porch.archive_removals TO porch_app;
GRANT SELECT, INSERT ON porch.archive_removals TO porch_definer;
GRANT UPDATE (journal_days) ON porch.workspaces TO porch_app;

-- ---------------------------------------------------------------- packing

-- Runs that ended before p_delay and are not packed, the oldest first, from behind one of them. Which of them is worked
-- on is for whoever locks its row.
CREATE FUNCTION porch.find_unpacked(p_after uuid, p_delay interval, p_limit integer)
  RETURNS TABLE (workspace_id uuid, run_id uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
    SELECT j.workspace_id, j.run_id FROM porch.journal j
    JOIN porch.runs r ON r.workspace_id = j.workspace_id AND r.id = j.run_id
    WHERE j.first_seq = 1 AND j.run_id > p_after
      AND r.status IN ('finished', 'failed', 'cancelled') AND r.finished_at < now() - p_delay
    ORDER BY j.run_id LIMIT p_limit;
END $$;

-- Puts packs in the place of their runs' rows, of porch.workspace alone; answers the runs that were packed. A run that
-- has not ended, has rows behind the packed ones or is packed already stays as it is.
CREATE FUNCTION porch.store_packs(
    p_run uuid[], p_last integer[], p_codec text[], p_blocks text[], p_size bigint[], p_checksum bytea[], p_told text[],
    p_frames bytea[])
  RETURNS SETOF uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  workspace uuid := porch.current_workspace();
  packed uuid[];
BEGIN
  WITH fit AS MATERIALIZED (
    SELECT r.id, r.finished_at FROM unnest(p_run, p_last, p_size) AS i (run_id, last_seq, size)
    JOIN porch.runs r ON r.workspace_id = workspace AND r.id = i.run_id
    WHERE r.status IN ('finished', 'failed', 'cancelled')
      AND (i.last_seq::bigint, i.last_seq::bigint, i.size) = (
        SELECT max(j.last_seq)::bigint, sum(j.last_seq - j.first_seq + 1), sum(octet_length(j.frames)) FROM porch.journal j
        WHERE j.workspace_id = workspace AND j.run_id = r.id)),
  stored AS (
    INSERT INTO porch.journal_packs
        (workspace_id, run_id, last_seq, codec, blocks, size, checksum, told, frames, ended_at)
      SELECT workspace, i.run_id, i.last_seq, i.codec, i.blocks::integer[], i.size, i.checksum, i.told::jsonb, i.frames,
             coalesce(f.finished_at, now())
      FROM unnest(p_run, p_last, p_codec, p_blocks, p_size, p_checksum, p_told, p_frames)
        AS i (run_id, last_seq, codec, blocks, size, checksum, told, frames)
      JOIN fit f ON f.id = i.run_id
      ON CONFLICT DO NOTHING
      RETURNING journal_packs.run_id)
  SELECT array_agg(s.run_id) INTO packed FROM stored s;
  DELETE FROM porch.journal j WHERE j.workspace_id = workspace AND j.run_id = ANY (packed);
  RETURN QUERY SELECT unnest(packed);
END $$;

-- ---------------------------------------------------------------- keeping

-- Packs whose time in the database is over: their workspace keeps them no longer, and nobody fetched them back within
-- p_stay. Of each workspace that has a limit at most p_limit, the oldest first.
CREATE FUNCTION porch.find_overdue(p_stay interval, p_limit integer)
  RETURNS TABLE (workspace_id uuid, run_id uuid)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
    SELECT w.id, d.run_id FROM porch.workspaces w
    CROSS JOIN LATERAL (
      SELECT k.run_id FROM porch.journal_packs k
      WHERE k.workspace_id = w.id AND k.frames IS NOT NULL AND k.ended_at < now() - w.journal_days * interval '1 day'
        AND (k.fetched_at IS NULL OR k.fetched_at < now() - p_stay)
      ORDER BY k.ended_at LIMIT p_limit) d
    WHERE w.journal_days IS NOT NULL;
END $$;

-- Objects in the archive whose runs are deleted.
CREATE FUNCTION porch.find_removals(p_limit integer) RETURNS TABLE (workspace_id uuid, archived text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT a.workspace_id, a.archived FROM porch.archive_removals a ORDER BY a.created_at LIMIT p_limit;
END $$;

-- A deleted run's object goes, too: whoever deletes it need not know of the archive.
CREATE FUNCTION porch.note_removal() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO porch.archive_removals (workspace_id, archived) VALUES (OLD.workspace_id, OLD.archived) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER removal AFTER DELETE ON porch.journal_packs FOR EACH ROW WHEN (OLD.archived IS NOT NULL)
  EXECUTE FUNCTION porch.note_removal();

DO $$
DECLARE
  f text;
  owner text := current_user;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'find_unpacked(uuid, interval, integer)',
      'store_packs(uuid[], integer[], text[], text[], bigint[], bytea[], text[], bytea[])',
      'find_overdue(interval, integer)', 'find_removals(integer)', 'note_removal()'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
  -- Who makes a partition gives it this trigger, too.
  SET LOCAL ROLE porch_definer;
  EXECUTE format('GRANT EXECUTE ON FUNCTION porch.note_removal() TO %I', owner);
  EXECUTE format('SET LOCAL ROLE %I', owner);
  REVOKE ALL ON FUNCTION porch.wall_partition(text), porch.lowest_id(timestamptz) FROM PUBLIC;
END $$;
