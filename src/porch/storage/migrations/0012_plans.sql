-- A plan is made once and kept, and may be from when the table was small enough to be read as a whole.
DO $$
DECLARE owner text := current_user;
BEGIN
  SET LOCAL ROLE porch_definer;
  ALTER FUNCTION porch.index_messages(integer) SET enable_seqscan = off;
  EXECUTE format('SET LOCAL ROLE %I', owner);
END $$;
