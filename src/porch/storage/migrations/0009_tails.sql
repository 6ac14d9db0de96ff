-- Several processes on one database: one that is about to stop says so, and all can count who is there.

ALTER TABLE porch.processes ADD COLUMN draining boolean NOT NULL DEFAULT false;

-- From now on this process takes no runs; what it carries it may still bring to an end.
CREATE FUNCTION porch.drain_process(p_process uuid) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE porch.processes SET draining = true WHERE id = p_process;
$$;

-- How many processes are alive and take runs, besides one.
CREATE FUNCTION porch.count_processes(p_besides uuid) RETURNS integer
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*)::integer FROM porch.processes p
  WHERE p.expires_at > clock_timestamp() AND NOT p.draining AND p.id IS DISTINCT FROM p_besides;
$$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['drain_process(uuid)', 'count_processes(uuid)'] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION porch.%s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION porch.%s TO porch_app', f);
    EXECUTE format('ALTER FUNCTION porch.%s OWNER TO porch_definer', f);
  END LOOP;
END $$;
