-- Runs as callers of other protocols ask for them: with options of their own, in conversations that pass.

-- What the caller added to this run: more instructions, tools, settings. A takeover goes on with the same.
ALTER TABLE porch.runs ADD COLUMN options jsonb;
GRANT UPDATE (options) ON porch.runs TO porch_app;

-- Set, a conversation is ephemeral: made for one call and those that continue it, left out of lists and search, and
-- removed when this time has come.
ALTER TABLE porch.conversations ADD COLUMN expires_at timestamptz;
GRANT UPDATE (expires_at) ON porch.conversations TO porch_app;

DROP INDEX porch.conversations_activity;
CREATE INDEX conversations_activity ON porch.conversations (workspace_id, participant_id, updated_at DESC, id DESC)
  WHERE deleted_at IS NULL AND NOT draft AND expires_at IS NULL;
CREATE INDEX conversations_listed ON porch.conversations (workspace_id, agent_id, id DESC)
  WHERE deleted_at IS NULL AND NOT draft AND expires_at IS NULL;
CREATE INDEX conversations_expiring ON porch.conversations (expires_at) WHERE expires_at IS NOT NULL;

DROP FUNCTION porch.index_messages(integer);
DROP FUNCTION porch.search_conversations(text, uuid, uuid, text, timestamptz, uuid, integer, interval);
DROP FUNCTION porch.gather_conversations(text, uuid, uuid, tsquery, text[], timestamptz, uuid, integer);
DROP FUNCTION porch.start_run(
  uuid, uuid, boolean, uuid, uuid, jsonb, text, uuid, uuid, integer, jsonb, uuid, integer, bytea, uuid, text, text, bytea);

-- ---------------------------------------------------------------- search

-- Makes the next p_limit messages searchable, those of ephemeral conversations by no word; answers how many those
-- were. No key is locked: others may refer to them.
CREATE FUNCTION porch.index_messages(p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE done integer;
BEGIN
  UPDATE porch.messages m SET words = coalesce((
      SELECT porch.message_words(m.workspace_id, c.participant_id, m.parts) FROM porch.conversations c
      WHERE c.workspace_id = m.workspace_id AND c.id = m.conversation_id AND c.expires_at IS NULL), '')
    WHERE (m.workspace_id, m.id) IN (
      SELECT x.workspace_id, x.id FROM porch.messages x WHERE x.words IS NULL
      ORDER BY x.workspace_id, x.id LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED);
  GET DIAGNOSTICS done = ROW_COUNT;
  RETURN done;
END $$;

-- A participant's conversations with hits of the index of words, or with such a title, the last active first; of
-- the messages with hits the newest. The planner cannot know how many hits the index has, takes them for a few, and
-- without the settings would walk through them again for each conversation.
CREATE FUNCTION porch.gather_conversations(
    p_kind text, p_participant uuid, p_agent uuid, p_query tsquery, p_patterns text[], p_from timestamptz, p_from_id uuid,
    p_limit integer)
  RETURNS TABLE (conversation_id uuid, message_id uuid)
  LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET enable_nestloop = off SET jit = off AS $$
BEGIN
  RETURN QUERY
    WITH hit AS MATERIALIZED (
      SELECT DISTINCT ON (m.workspace_id, m.conversation_id) m.workspace_id, m.conversation_id, m.id
      FROM porch.messages m WHERE m.words @@ p_query ORDER BY m.workspace_id, m.conversation_id, m.id DESC)
    SELECT c.id, h.id
    FROM porch.conversations c
    LEFT JOIN hit h ON h.workspace_id = c.workspace_id AND h.conversation_id = c.id
    WHERE c.workspace_id = porch.current_workspace() AND c.participant_id = p_participant
      AND c.participant_kind = p_kind AND c.deleted_at IS NULL AND NOT c.draft AND c.expires_at IS NULL
      AND (p_agent IS NULL OR c.agent_id = p_agent) AND (c.updated_at, c.id) <= (p_from, p_from_id)
      AND (h.id IS NOT NULL OR lower(c.title) LIKE ALL (p_patterns))
    ORDER BY c.updated_at DESC, c.id DESC LIMIT p_limit;
END $$;

-- A participant's conversations that hold all words of a search in one message or in their title, the last
-- active first; of a message the newest, and the text around its first hit. Within porch.workspace alone.
--
-- Common words are found by looking through the last conversations, rare ones by the index of words, which answers
-- with all of its hits or none. So the first is tried until it has spent p_patience on conversations without a hit.
CREATE FUNCTION porch.search_conversations(
    p_kind text, p_participant uuid, p_agent uuid, p_text text, p_before timestamptz, p_before_id uuid, p_limit integer,
    p_patience interval DEFAULT '4 ms')
  RETURNS TABLE (conversation_id uuid, message_id uuid, snippet text)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET jit = off AS $$
DECLARE
  workspace uuid := porch.current_workspace();
  query tsquery := porch.search_query(workspace, p_participant, p_text);
  terms text[] := regexp_split_to_array(btrim(lower(left(p_text, 400))), '\s+');
  patterns text[] := ARRAY (SELECT '%' || regexp_replace(t, '([\\%_])', '\\\1', 'g') || '%' FROM unnest(terms) AS t);
  own record;
  hit uuid;
  below uuid;
  began timestamptz;
  spent interval := '0';
  found_in uuid[] := '{}';
  hits uuid[] := '{}';
BEGIN
  FOR own IN
    SELECT c.id, c.updated_at, lower(c.title) LIKE ALL (patterns) AS titled
    FROM porch.conversations c
    WHERE c.workspace_id = workspace AND c.participant_id = p_participant AND c.participant_kind = p_kind
      AND c.deleted_at IS NULL AND NOT c.draft AND c.expires_at IS NULL
      AND (p_agent IS NULL OR c.agent_id = p_agent)
      AND (c.updated_at, c.id) < (coalesce(p_before, 'infinity'),
                                  coalesce(p_before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY c.updated_at DESC, c.id DESC
  LOOP
    began := clock_timestamp();
    hit := NULL;
    below := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    WHILE query IS NOT NULL AND below IS NOT NULL AND spent < p_patience LOOP
      SELECT m.id INTO hit FROM (
          SELECT x.id, x.words FROM porch.messages x
          WHERE x.workspace_id = workspace AND x.conversation_id = own.id AND x.id < below
          ORDER BY x.id DESC LIMIT 64) m
        WHERE m.words @@ query LIMIT 1;
      EXIT WHEN hit IS NOT NULL;
      SELECT x.id INTO below FROM porch.messages x
        WHERE x.workspace_id = workspace AND x.conversation_id = own.id AND x.id < below
        ORDER BY x.id DESC OFFSET 63 LIMIT 1;
      spent := spent + (clock_timestamp() - began);
      began := clock_timestamp();
    END LOOP;
    EXIT WHEN spent >= p_patience;
    IF hit IS NOT NULL OR own.titled THEN
      found_in := found_in || own.id;
      hits := hits || hit;
    END IF;
    EXIT WHEN cardinality(found_in) = p_limit;
  END LOOP;

  IF spent >= p_patience THEN
    SELECT found_in || array_agg(g.conversation_id), hits || array_agg(g.message_id) INTO found_in, hits
      FROM porch.gather_conversations(p_kind, p_participant, p_agent, query, patterns, own.updated_at, own.id,
                                      p_limit - cardinality(found_in)) g;
  END IF;

  RETURN QUERY
    SELECT f.id, f.message,
           CASE WHEN r.place > 1 THEN '…' || regexp_replace(c.cut, '^\S{0,30}\s+', '') ELSE c.cut END || c.more
    FROM unnest(found_in, hits) WITH ORDINALITY AS f (id, message, n)
    LEFT JOIN LATERAL (
      SELECT t.words, greatest(1, coalesce(nullif(strpos(lower(t.words), terms[1]), 0),
        nullif(strpos(lower(t.words), split_part(porch.search_words(p_text), ' ', 1)), 0), 1) - 60) AS place
      FROM porch.messages m CROSS JOIN LATERAL (SELECT porch.message_text(m.parts) AS words) t
      WHERE m.workspace_id = workspace AND m.id = f.message) r ON true
    -- Whole words of it, and a sign where it goes on.
    CROSS JOIN LATERAL (
      SELECT CASE WHEN length(r.words) < r.place + 238 THEN '' ELSE '…' END AS more,
             CASE WHEN length(r.words) < r.place + 238 THEN substr(r.words, r.place, 238)
                  ELSE regexp_replace(substr(r.words, r.place, 238), '\s+\S{0,30}$', '') END AS cut) c
    ORDER BY f.n;
END $$;

-- ---------------------------------------------------------------- removal

-- Removes for good the ephemeral conversations whose time has come; answers how many. A run that starts meanwhile
-- holds its conversation's lock or has moved expires_at on, which is looked at again behind the lock.
CREATE FUNCTION porch.purge_expired(p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE gone integer;
BEGIN
  DELETE FROM porch.conversations c WHERE (c.workspace_id, c.id) IN (
    SELECT x.workspace_id, x.id FROM porch.conversations x
    WHERE x.expires_at < now()
      AND NOT EXISTS (SELECT FROM porch.runs r WHERE r.workspace_id = x.workspace_id AND r.conversation_id = x.id
                        AND r.status IN ('running', 'paused'))
    ORDER BY x.expires_at LIMIT p_limit FOR UPDATE OF x SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;

-- ---------------------------------------------------------------- a call in two round trips (caller's rights)

-- What a call that opens its own conversation needs to know of its agent, named by id or by handle.
CREATE FUNCTION porch.load_agent(p_workspace uuid, p_agent uuid, p_handle text)
  RETURNS TABLE (agent_id uuid, handle text, version integer, definition jsonb)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  RETURN QUERY
    SELECT a.id, a.handle, a.latest_version, coalesce(v.definition, a.draft)
    FROM porch.agents a
    LEFT JOIN porch.agent_versions v
      ON v.workspace_id = a.workspace_id AND v.agent_id = a.id AND v.number = a.latest_version
    WHERE a.workspace_id = p_workspace AND CASE WHEN p_agent IS NULL THEN a.handle = p_handle ELSE a.id = p_agent END;
END $$;

-- Commits a message, its run and the run's first events together. The message follows p_parent, which with p_follow
-- must still be the conversation's head; without p_parts it is there already and is answered anew. Answers 'started',
-- or why not: 'missing', 'moved' (the branch grew meanwhile: load the turn again) or 'busy' with the run that is at
-- work. A guest whose last run is still at work in another conversation is 'occupied'. A caller that holds an
-- idempotency key has its answer kept in the same transaction.
-- With o_kind an ephemeral conversation is opened for that participant first; p_keep is how long one stays from now.
-- p_before are messages {id, parent, role, parts} that come in together with the one to answer, which follows the last.
CREATE FUNCTION porch.start_run(
    p_workspace uuid, p_conversation uuid, p_follow boolean, p_parent uuid, p_message uuid, p_parts jsonb, p_title text,
    p_run uuid, p_agent uuid, p_version integer, p_draft jsonb, p_holder uuid, p_last_seq integer, p_frames bytea,
    k_principal uuid, k_route text, k_key text, k_body bytea, p_options jsonb, o_kind text, o_participant uuid,
    p_keep interval, p_before jsonb)
  RETURNS TABLE (outcome text, active_run uuid)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  current_head uuid;
  kind text;
  participant uuid;
  elsewhere uuid;
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
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
  SELECT r.id INTO active_run FROM porch.runs r
    WHERE r.workspace_id = p_workspace AND r.conversation_id = p_conversation AND r.status IN ('running', 'paused');
  IF FOUND THEN
    outcome := CASE WHEN EXISTS (
      SELECT FROM porch.idempotency_keys k WHERE k.workspace_id = p_workspace AND k.principal_id = k_principal
        AND k.route = k_route AND k.key = k_key AND k.status IS NOT NULL) THEN 'repeated' ELSE 'busy' END;
    RETURN NEXT; RETURN;
  END IF;
  IF p_follow AND current_head IS DISTINCT FROM p_parent THEN
    outcome := 'moved'; RETURN NEXT; RETURN;
  END IF;
  IF kind = 'guest' THEN
    SELECT g.last_run INTO elsewhere FROM porch.guests g
      WHERE g.workspace_id = p_workspace AND g.id = participant FOR UPDATE;
    IF NOT FOUND THEN
      outcome := 'missing'; RETURN NEXT; RETURN;
    END IF;
    SELECT r.id INTO active_run FROM porch.runs r
      WHERE r.workspace_id = p_workspace AND r.id = elsewhere AND r.status = 'running';
    IF FOUND THEN
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

-- ---------------------------------------------------------------- who may call

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'search_conversations(text, uuid, uuid, text, timestamptz, uuid, integer, interval)', 'index_messages(integer)',
      'purge_expired(integer)', 'load_agent(uuid, uuid, text)',
      'start_run(uuid, uuid, boolean, uuid, uuid, jsonb, text, uuid, uuid, integer, jsonb, uuid, integer, bytea, uuid, text, text, bytea, jsonb, text, uuid, interval, jsonb)',
      'gather_conversations(text, uuid, uuid, tsquery, text[], timestamptz, uuid, integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
  END LOOP;
  FOREACH f IN ARRAY ARRAY[
      'search_conversations(text, uuid, uuid, text, timestamptz, uuid, integer, interval)', 'index_messages(integer)',
      'purge_expired(integer)', 'load_agent(uuid, uuid, text)',
      'start_run(uuid, uuid, boolean, uuid, uuid, jsonb, text, uuid, uuid, integer, jsonb, uuid, integer, bytea, uuid, text, text, bytea, jsonb, text, uuid, interval, jsonb)'] LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
  END LOOP;
  GRANT EXECUTE ON FUNCTION
    porch.gather_conversations(text, uuid, uuid, tsquery, text[], timestamptz, uuid, integer) TO porch_definer;
  FOREACH f IN ARRAY ARRAY[
      'search_conversations(text, uuid, uuid, text, timestamptz, uuid, integer, interval)', 'index_messages(integer)',
      'purge_expired(integer)'] LOOP
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;

-- ---------------------------------------------------------------- files in messages

-- The bytes of a message's pictures and files, which its parts name: lists, searches and histories pass them by.
CREATE TABLE porch.files (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  message_id uuid NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, message_id) REFERENCES porch.messages (workspace_id, id) ON DELETE CASCADE
);
-- What comes in is compressed already.
ALTER TABLE porch.files ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX files_message ON porch.files (workspace_id, message_id);

ALTER TABLE porch.files ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.files FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON porch.files TO porch_app
  USING (workspace_id = porch.current_workspace()) WITH CHECK (workspace_id = porch.current_workspace());
GRANT SELECT, INSERT ON porch.files TO porch_app;

-- ---------------------------------------------------------------- embedding: sites and their visitors

-- The sites that embed an agent, as browsers write their origins. An agent has some only once it is published.
CREATE TABLE porch.agent_origins (
  workspace_id uuid NOT NULL,
  agent_id uuid NOT NULL,
  origin text NOT NULL,
  place integer NOT NULL,
  PRIMARY KEY (workspace_id, agent_id, origin),
  FOREIGN KEY (workspace_id, agent_id) REFERENCES porch.agents (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX agent_origins_origin ON porch.agent_origins (origin);

-- Visitors of such sites. One who has not come back by kept_until goes, unless there is a conversation of theirs.
CREATE TABLE porch.guests (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  agent_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  kept_until timestamptz NOT NULL,
  -- The last run that they began, which must be over before they begin one elsewhere.
  last_run uuid,
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, agent_id) REFERENCES porch.agents (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX guests_agent ON porch.guests (workspace_id, agent_id);
CREATE INDEX guests_kept ON porch.guests (kept_until);

CREATE TABLE porch.guest_tokens (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  guest_id uuid NOT NULL,
  origin text NOT NULL,
  hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, guest_id) REFERENCES porch.guests (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX guest_tokens_guest ON porch.guest_tokens (workspace_id, guest_id);
CREATE INDEX guest_tokens_end ON porch.guest_tokens (expires_at);

-- How much of a limit is used up, as the time at which all of it is free again; then the row goes. A subject is a
-- hash, so that no visitor's address stands here.
CREATE TABLE porch.rate_limits (
  workspace_id uuid NOT NULL REFERENCES porch.workspaces (id) ON DELETE CASCADE,
  subject bytea NOT NULL CHECK (octet_length(subject) = 32),
  free_at timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, subject)
);
CREATE INDEX rate_limits_free ON porch.rate_limits (free_at);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['agent_origins', 'guests', 'guest_tokens', 'rate_limits'] LOOP
    EXECUTE format('ALTER TABLE porch.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE porch.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON porch.%I TO porch_app USING (workspace_id = porch.current_workspace()) '
                   'WITH CHECK (workspace_id = porch.current_workspace())', t);
    EXECUTE format('CREATE POLICY definer ON porch.%I TO porch_definer USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT, DELETE ON porch.agent_origins TO porch_app;
GRANT SELECT, INSERT, UPDATE (kept_until, last_run) ON porch.guests TO porch_app;
GRANT SELECT, INSERT ON porch.guest_tokens TO porch_app;
GRANT SELECT, INSERT, UPDATE (free_at) ON porch.rate_limits TO porch_app;
GRANT SELECT ON porch.agent_origins TO porch_definer;
GRANT SELECT, DELETE, UPDATE (kept_until) ON porch.guests TO porch_definer;
GRANT SELECT, DELETE ON porch.guest_tokens, porch.rate_limits TO porch_definer;

-- Which workspace has this handle; null for none. What it holds is then read as that workspace.
CREATE FUNCTION porch.find_workspace(p_handle text) RETURNS uuid
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT w.id FROM porch.workspaces w WHERE w.handle = p_handle;
END;

-- Whether some agent, whosever it is, is embedded in this site.
CREATE FUNCTION porch.knows_origin(p_origin text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM porch.agent_origins o WHERE o.origin = p_origin);
END;

-- Who a guest's token stands for, by the SHA-256 of its text, and whether its site still embeds the agent; no row for
-- one that is unknown or expired.
CREATE FUNCTION porch.authenticate_guest(p_hash bytea)
  RETURNS TABLE (token_id uuid, guest_id uuid, agent_id uuid, workspace_id uuid, handle text, origin text,
                 expires_at timestamptz, allowed boolean)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT t.id, g.id, g.agent_id, w.id, w.handle, t.origin, t.expires_at,
         EXISTS (SELECT FROM porch.agent_origins o
                 WHERE o.workspace_id = g.workspace_id AND o.agent_id = g.agent_id AND o.origin = t.origin)
  FROM porch.guest_tokens t
  JOIN porch.guests g ON g.workspace_id = t.workspace_id AND g.id = t.guest_id
  JOIN porch.workspaces w ON w.id = t.workspace_id
  WHERE t.hash = p_hash AND t.expires_at > now();
END;

-- Removes tokens that nobody can come back with after p_back, and guests without a conversation; forgets limits that
-- are all free. Of each at most p_limit; answers how many rows it looked at. A guest who has a conversation is looked
-- at again after p_back, so that no round walks past those who stay.
CREATE FUNCTION porch.purge_guests(p_back interval, p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seen integer := 0;
  part integer;
BEGIN
  DELETE FROM porch.rate_limits r WHERE r.free_at < now() AND (r.workspace_id, r.subject) IN (
    SELECT x.workspace_id, x.subject FROM porch.rate_limits x WHERE x.free_at < now() ORDER BY x.free_at LIMIT p_limit);
  GET DIAGNOSTICS part = ROW_COUNT;
  seen := seen + part;
  DELETE FROM porch.guest_tokens t WHERE (t.workspace_id, t.id) IN (
    SELECT x.workspace_id, x.id FROM porch.guest_tokens x WHERE x.expires_at < now() - p_back
    ORDER BY x.expires_at LIMIT p_limit);
  GET DIAGNOSTICS part = ROW_COUNT;
  seen := seen + part;
  WITH due AS MATERIALIZED (
    SELECT g.workspace_id, g.id, EXISTS (
        SELECT FROM porch.conversations c WHERE c.workspace_id = g.workspace_id AND c.participant_id = g.id
          AND c.deleted_at IS NULL AND NOT c.draft AND c.expires_at IS NULL) AS stays
    FROM (SELECT x.workspace_id, x.id FROM porch.guests x WHERE x.kept_until < now()
          ORDER BY x.kept_until LIMIT p_limit FOR UPDATE SKIP LOCKED) g),
  kept AS (
    UPDATE porch.guests g SET kept_until = now() + p_back FROM due d
      WHERE d.stays AND g.workspace_id = d.workspace_id AND g.id = d.id),
  gone AS (
    DELETE FROM porch.guests g USING due d
      WHERE NOT d.stays AND g.workspace_id = d.workspace_id AND g.id = d.id)
  SELECT count(*) INTO part FROM due;
  RETURN seen + part;
END $$;

-- Takes one from a limit of p_burst at once that gets one back every p_every (the generic cell rate algorithm); answers
-- 0, or the seconds to wait where nothing is left of it.
CREATE FUNCTION porch.use_limit(p_workspace uuid, p_subject bytea, p_every interval, p_burst integer)
  RETURNS double precision
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  latest timestamptz := moment + (p_burst - 1) * p_every;
BEGIN
  INSERT INTO porch.rate_limits AS r (workspace_id, subject, free_at) VALUES (p_workspace, p_subject, moment + p_every)
    ON CONFLICT (workspace_id, subject) DO UPDATE SET free_at = greatest(r.free_at, moment) + p_every
      WHERE r.free_at <= latest;
  IF FOUND THEN
    RETURN 0;
  END IF;
  RETURN coalesce((SELECT greatest(extract(epoch FROM r.free_at - latest), 0.001) FROM porch.rate_limits r
                   WHERE r.workspace_id = p_workspace AND r.subject = p_subject), 0.001);
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'find_workspace(text)', 'knows_origin(text)', 'authenticate_guest(bytea)', 'purge_guests(interval, integer)',
      'use_limit(uuid, bytea, interval, integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
  END LOOP;
  FOREACH f IN ARRAY ARRAY[
      'find_workspace(text)', 'knows_origin(text)', 'authenticate_guest(bytea)', 'purge_guests(interval, integer)'] LOOP
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
