-- Conversations people come back to: branches, drafts, deletion with undo, search, shared links.

ALTER TABLE porch.conversations
  ADD COLUMN deleted_at timestamptz,
  -- A draft conversation tries the agent's draft; lists and search leave it out.
  ADD COLUMN draft boolean NOT NULL DEFAULT false;

DROP INDEX porch.conversations_participant;
CREATE INDEX conversations_activity ON porch.conversations (workspace_id, participant_id, updated_at DESC, id DESC)
  WHERE deleted_at IS NULL AND NOT draft;
CREATE INDEX conversations_deleted ON porch.conversations (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX conversations_drafts ON porch.conversations (updated_at) WHERE draft AND deleted_at IS NULL;

-- Deleting marks; what removes for good is porch.purge_conversations.
GRANT UPDATE (deleted_at) ON porch.conversations TO porch_app;
REVOKE DELETE ON porch.conversations FROM porch_app;
GRANT DELETE ON porch.conversations TO porch_definer;

-- ---------------------------------------------------------------- shared links

-- A link shows the branch that ends in message_id, for as long as it is not revoked.
CREATE TABLE porch.conversation_shares (
  workspace_id uuid NOT NULL,
  id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  message_id uuid NOT NULL,
  -- The conversation's when the link was made.
  title text NOT NULL DEFAULT '',
  hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  PRIMARY KEY (workspace_id, id),
  FOREIGN KEY (workspace_id, conversation_id) REFERENCES porch.conversations (workspace_id, id) ON DELETE CASCADE,
  FOREIGN KEY (workspace_id, message_id) REFERENCES porch.messages (workspace_id, id) ON DELETE CASCADE
);
CREATE INDEX conversation_shares_conversation ON porch.conversation_shares (workspace_id, conversation_id, id DESC);
CREATE INDEX conversation_shares_message ON porch.conversation_shares (workspace_id, message_id);

ALTER TABLE porch.conversation_shares ENABLE ROW LEVEL SECURITY;
ALTER TABLE porch.conversation_shares FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON porch.conversation_shares TO porch_app
  USING (workspace_id = porch.current_workspace()) WITH CHECK (workspace_id = porch.current_workspace());
CREATE POLICY definer ON porch.conversation_shares TO porch_definer USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (revoked_at) ON porch.conversation_shares TO porch_app;
GRANT SELECT ON porch.conversation_shares TO porch_definer;

-- What a link shows, by the SHA-256 of its token; no row for one that is unknown, revoked, or of a deleted
-- conversation. The rest is read as that workspace.
CREATE FUNCTION porch.open_share(p_hash bytea)
  RETURNS TABLE (workspace_id uuid, handle text, conversation_id uuid, message_id uuid, created_at timestamptz,
                 title text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT w.id, w.handle, c.id, s.message_id, s.created_at, s.title
  FROM porch.conversation_shares s
  JOIN porch.conversations c ON c.workspace_id = s.workspace_id AND c.id = s.conversation_id
  JOIN porch.workspaces w ON w.id = s.workspace_id
  WHERE s.hash = p_hash AND s.revoked_at IS NULL AND c.deleted_at IS NULL;
END;

-- ---------------------------------------------------------------- search

-- Text as lower-case words with single spaces between. Scripts written without spaces become words of one
-- character each, which a phrase finds again. What lies beyond 64 Ki characters is not searched: a tsvector ends at 1 MB.
CREATE FUNCTION porch.search_words(p_text text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE words text := lower(regexp_replace(left(p_text, 65536), '[^[:alnum:]]+', ' ', 'g'));
BEGIN
  IF octet_length(words) > length(words) THEN
    words := regexp_replace(words, '([\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u2E80-\u9FFF\uAC00-\uD7AF\uF900-\uFAFF\U00020000-\U0003FFFF])', ' \1 ', 'g');
    words := regexp_replace(words, ' +', ' ', 'g');
  END IF;
  RETURN btrim(words);
END $$;

-- The words that people read in a message.
CREATE FUNCTION porch.message_text(p_parts jsonb) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT string_agg(part ->> 'text', ' ')
          FROM jsonb_array_elements(CASE jsonb_typeof(p_parts) WHEN 'array' THEN p_parts ELSE '[]' END) AS part
          WHERE part ->> 'type' IN ('text', 'refusal'));
END $$;

-- What every word of a workspace begins with, so that a search walks no other tenant's postings: letters alone,
-- since behind a digit the parser might see a number.
CREATE FUNCTION porch.words_key(p_workspace uuid) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN translate(right(p_workspace::text, 6), '0123456789', 'ghijklmnop');

-- The participant is a word of its own.
CREATE FUNCTION porch.message_words(p_workspace uuid, p_participant uuid, p_parts jsonb) RETURNS tsvector
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  key text := porch.words_key(p_workspace);
  words text := nullif(porch.search_words(porch.message_text(p_parts)), '');
BEGIN
  RETURN array_to_tsvector(ARRAY['=' || p_participant])
    || to_tsvector('simple', coalesce(key || replace(words, ' ', ' ' || key), ''));
END $$;

-- All words of a search, each the beginning of one; null when there is none in it.
CREATE FUNCTION porch.search_query(p_workspace uuid, p_participant uuid, p_text text) RETURNS tsquery
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  key text := porch.words_key(p_workspace);
  term text;
  phrase text;
  query tsquery;
BEGIN
  FOR term IN SELECT t FROM regexp_split_to_table(left(p_text, 400), '\s+') AS t LIMIT 16 LOOP
    SELECT string_agg(quote_literal(key || w) || CASE WHEN length(w) > 1 THEN ':*' ELSE '' END, ' <-> ' ORDER BY n)
      INTO phrase
      FROM unnest(string_to_array(porch.search_words(term), ' ')) WITH ORDINALITY AS words (w, n) WHERE w <> '';
    IF phrase IS NOT NULL THEN
      query := CASE WHEN query IS NULL THEN phrase::tsquery ELSE query && phrase::tsquery END;
    END IF;
  END LOOP;
  RETURN quote_literal('=' || p_participant)::tsquery && query;
END $$;

-- Filled in later by porch.index_messages: no answer waits for its words, or fails because of them.
ALTER TABLE porch.messages ADD COLUMN words tsvector;
CREATE INDEX messages_unindexed ON porch.messages (workspace_id, id) WHERE words IS NULL;
CREATE INDEX messages_words ON porch.messages USING gin (words) WITH (gin_pending_list_limit = 256)
  WHERE words IS NOT NULL;
GRANT UPDATE (words) ON porch.messages TO porch_definer;

-- Makes the next p_limit messages searchable; answers how many those were. No key is locked: others may refer to them.
CREATE FUNCTION porch.index_messages(p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE done integer;
BEGIN
  UPDATE porch.messages m SET words = porch.message_words(m.workspace_id, (
      SELECT c.participant_id FROM porch.conversations c
      WHERE c.workspace_id = m.workspace_id AND c.id = m.conversation_id), m.parts)
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
      AND c.participant_kind = p_kind AND c.deleted_at IS NULL AND NOT c.draft
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
      AND c.deleted_at IS NULL AND NOT c.draft AND (p_agent IS NULL OR c.agent_id = p_agent)
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

-- ---------------------------------------------------------------- deletion

-- Removes for good what was deleted longer ago than p_keep; answers how many conversations that were.
CREATE FUNCTION porch.purge_conversations(p_keep interval, p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE gone integer;
BEGIN
  DELETE FROM porch.conversations c WHERE (c.workspace_id, c.id) IN (
    SELECT x.workspace_id, x.id FROM porch.conversations x WHERE x.deleted_at < now() - p_keep
    ORDER BY x.deleted_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;

-- Removes for good the drafts that nobody went on with for longer than p_idle; answers how many. A run that starts
-- meanwhile holds its conversation's lock or has moved updated_at on, which is looked at again behind the lock.
CREATE FUNCTION porch.purge_drafts(p_idle interval, p_limit integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE gone integer;
BEGIN
  DELETE FROM porch.conversations c WHERE (c.workspace_id, c.id) IN (
    SELECT x.workspace_id, x.id FROM porch.conversations x
    WHERE x.draft AND x.deleted_at IS NULL AND x.updated_at < now() - p_idle
      AND NOT EXISTS (SELECT FROM porch.runs r WHERE r.workspace_id = x.workspace_id AND r.conversation_id = x.id
                        AND r.status IN ('running', 'paused'))
    ORDER BY x.updated_at LIMIT p_limit FOR UPDATE OF x SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;

-- ---------------------------------------------------------------- a turn in two round trips (caller's rights)

DROP FUNCTION porch.load_turn(uuid, uuid, integer, integer);
DROP FUNCTION porch.start_run(
  uuid, uuid, uuid, uuid, jsonb, uuid, uuid, integer, jsonb, uuid, integer, bytea, uuid, text, text, bytea);

-- What a turn needs to know: the conversation, its agent's definition, and the newest messages of a branch, newest
-- first: at most p_limit, and no more once p_bytes are reached (`more` says that some were left out). The branch
-- ends in `place`, by p_how: 'head', the conversation's; 'after', p_message or, for null, nothing; 'answer', the
-- user's message that p_message is or answers. `misplaced` when p_message is none of this conversation's.
-- No row when the conversation is not this workspace's, or deleted.
CREATE FUNCTION porch.load_turn(
    p_workspace uuid, p_conversation uuid, p_how text, p_message uuid, p_limit integer, p_bytes integer)
  RETURNS TABLE (agent_id uuid, handle text, version integer, definition jsonb, trial boolean,
                 participant_kind text, participant_id uuid, place uuid, misplaced boolean, message_roles text[],
                 message_parts text[], more boolean, active_run uuid)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  SELECT a.id, a.handle, CASE WHEN NOT c.draft THEN a.latest_version END,
         CASE WHEN c.draft THEN a.draft ELSE coalesce(v.definition, a.draft) END,
         c.draft, c.participant_kind, c.participant_id, c.head_message_id
    INTO agent_id, handle, version, definition, trial, participant_kind, participant_id, place
    FROM porch.conversations c
    JOIN porch.agents a ON a.workspace_id = c.workspace_id AND a.id = c.agent_id
    LEFT JOIN porch.agent_versions v
      ON v.workspace_id = a.workspace_id AND v.agent_id = a.id AND v.number = a.latest_version
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation AND c.deleted_at IS NULL;
  IF NOT FOUND THEN RETURN; END IF;
  SELECT r.id INTO active_run FROM porch.runs r
    WHERE r.workspace_id = p_workspace AND r.conversation_id = p_conversation AND r.status IN ('running', 'paused');
  misplaced := false;
  IF p_how <> 'head' THEN
    place := NULL;
    IF p_message IS NOT NULL THEN
      SELECT CASE WHEN p_how = 'answer' AND m.role = 'assistant' THEN m.parent_id ELSE m.id END INTO place
        FROM porch.messages m
        WHERE m.workspace_id = p_workspace AND m.id = p_message AND m.conversation_id = p_conversation;
    END IF;
    misplaced := place IS NULL AND (p_how = 'answer' OR p_message IS NOT NULL);
  END IF;
  IF place IS NOT NULL THEN
    WITH RECURSIVE branch AS (
      SELECT m.parent_id, m.role, m.parts::text AS parts, 1 AS n, octet_length(m.parts::text) AS size
        FROM porch.messages m WHERE m.workspace_id = p_workspace AND m.id = place
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

-- Commits a message, its run and the run's first events together. The message follows p_parent, which with p_follow
-- must still be the conversation's head; without p_parts it is there already and is answered anew. Answers 'started',
-- or why not: 'missing', 'moved' (the branch grew meanwhile: load the turn again) or 'busy' with the run that is at
-- work. A caller that holds an idempotency key has its answer kept in the same transaction.
CREATE FUNCTION porch.start_run(
    p_workspace uuid, p_conversation uuid, p_follow boolean, p_parent uuid, p_message uuid, p_parts jsonb, p_title text,
    p_run uuid, p_agent uuid, p_version integer, p_draft jsonb, p_holder uuid, p_last_seq integer, p_frames bytea,
    k_principal uuid, k_route text, k_key text, k_body bytea)
  RETURNS TABLE (outcome text, active_run uuid)
  LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE current_head uuid;
BEGIN
  PERFORM set_config('porch.workspace', p_workspace::text, true);
  SELECT c.head_message_id INTO current_head FROM porch.conversations c
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
  IF k_key IS NOT NULL THEN
    UPDATE porch.idempotency_keys k SET status = 202, body = k_body
      WHERE k.workspace_id = p_workspace AND k.principal_id = k_principal AND k.route = k_route AND k.key = k_key
        AND k.status IS NULL;
    IF NOT FOUND THEN
      outcome := 'repeated'; RETURN NEXT; RETURN;
    END IF;
  END IF;
  IF p_parts IS NOT NULL THEN
    INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, run_id, role, parts)
      VALUES (p_workspace, p_message, p_conversation, p_parent, p_run, 'user', p_parts);
  END IF;
  UPDATE porch.conversations c SET head_message_id = p_message, updated_at = now(),
      title = CASE WHEN c.title = '' THEN coalesce(p_title, '') ELSE c.title END
    WHERE c.workspace_id = p_workspace AND c.id = p_conversation;
  INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, agent_version, draft, input_message_id, status, holder)
    VALUES (p_workspace, p_run, p_conversation, p_agent, p_version, p_draft, p_message, 'running', p_holder);
  INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)
    VALUES (p_workspace, p_run, 1, p_last_seq, 1, p_frames);
  outcome := 'started'; RETURN NEXT;
END $$;

-- ---------------------------------------------------------------- who may call

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY[
      'open_share(bytea)', 'search_words(text)', 'words_key(uuid)', 'message_text(jsonb)', 'message_words(uuid, uuid, jsonb)',
      'search_query(uuid, uuid, text)', 'search_conversations(text, uuid, uuid, text, timestamptz, uuid, integer, interval)',
      'index_messages(integer)', 'purge_conversations(interval, integer)', 'purge_drafts(interval, integer)',
      'load_turn(uuid, uuid, text, uuid, integer, integer)',
      'start_run(uuid, uuid, boolean, uuid, uuid, jsonb, text, uuid, uuid, integer, jsonb, uuid, integer, bytea, uuid, text, text, bytea)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
  END LOOP;
  -- What the others call in turn.
  FOREACH f IN ARRAY ARRAY[
      'current_workspace()', 'search_words(text)', 'words_key(uuid)', 'message_text(jsonb)', 'message_words(uuid, uuid, jsonb)',
      'search_query(uuid, uuid, text)',
      'gather_conversations(text, uuid, uuid, tsquery, text[], timestamptz, uuid, integer)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_definer', f);
  END LOOP;
  FOREACH f IN ARRAY ARRAY[
      'open_share(bytea)', 'search_conversations(text, uuid, uuid, text, timestamptz, uuid, integer, interval)',
      'index_messages(integer)', 'purge_conversations(interval, integer)', 'purge_drafts(interval, integer)'] LOOP
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
