-- Whose login this is, and what their password is checked with; `familiar` where they were signed in from p_network within
-- the last 30 days. A line has 64 bits of IPv6 addresses, and devices take another of them each day.
CREATE FUNCTION porch.find_login_near(p_login text, p_network text)
  RETURNS TABLE (user_id uuid, password text, familiar boolean)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT u.id, u.password, EXISTS (
           SELECT FROM porch.sessions s WHERE s.user_id = u.id AND s.last_used_at > now() - interval '30 days'
             AND (CASE WHEN pg_input_is_valid(s.last_used_from, 'inet') THEN s.last_used_from END)::inet
                 <<= (CASE WHEN pg_input_is_valid(p_network, 'inet') THEN p_network END)::inet)
  FROM porch.users u WHERE u.login = p_login;
END;
REVOKE ALL ON FUNCTION porch.find_login_near(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION porch.find_login_near(text, text) TO porch_app;
ALTER FUNCTION porch.find_login_near(text, text) OWNER TO porch_definer;
