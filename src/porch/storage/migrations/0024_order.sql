-- Events of one moment stand in their order: behind the milliseconds, an id has their fraction (RFC 9562, section 6.2).
CREATE FUNCTION porch.order_event() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment numeric := extract(epoch FROM clock_timestamp()) * 1000;
BEGIN
  NEW.id := encode(substring(int8send(floor(moment)::bigint) FROM 3)
    || substring(int4send(28672 + floor((moment - floor(moment)) * 4096)::integer) FROM 3)
    || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid;
  RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION porch.order_event() FROM PUBLIC;
CREATE TRIGGER ordered BEFORE INSERT ON porch.audit_events FOR EACH ROW EXECUTE FUNCTION porch.order_event();
