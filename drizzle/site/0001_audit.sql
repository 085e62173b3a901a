-- Writes down who changed this row, in the change's own transaction; the actor is the signed context's. Its argument
-- names the column that tells rows apart. Without a context (a sign-up makes a tenant, a migration fills a column)
-- nobody signed in has acted; but the app role, whose SQL may have cleared its context in mid-statement, needs one.
-- extra_float_digits, because a caller's own could make two numbers look the same.
CREATE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = '' SET extra_float_digits = 3 AS $$
DECLARE
	tenant uuid := CASE session_user WHEN 'partywall_app' THEN public.current_tenant_id()
		ELSE public.context_tenant_id() END;
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
	subject jsonb := COALESCE(is_now, was);
	changed text[] := '{}';
	actor uuid;
	instant timestamptz;
	micros bigint;
BEGIN
	IF tenant IS NULL THEN
		RETURN NULL;
	END IF;
	-- A context of another tenant by now would put the change into that one's trail.
	IF (subject ->> CASE TG_TABLE_NAME WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END)::uuid <> tenant THEN
		RAISE EXCEPTION 'the row is not of the context''s tenant' USING ERRCODE = '42501';
	END IF;
	IF TG_OP = 'UPDATE' THEN
		SELECT pg_catalog.array_agg(key ORDER BY key) INTO changed FROM pg_catalog.jsonb_each(is_now)
			WHERE value IS DISTINCT FROM was -> key AND key NOT IN ('updated_at', 'version', 'last_used_at', 'domains_since');
		IF changed IS NULL THEN
			RETURN NULL;
		END IF;
	END IF;
	-- As current_actor_id() reads it; the context has just been verified.
	actor := pg_catalog.substr(pg_catalog.current_setting('app.tenant'), 50, 36)::uuid;
	instant := pg_catalog.clock_timestamp();
	micros := (1000000 * EXTRACT(epoch FROM instant))::bigint;
	INSERT INTO public.audit_events
		(tenant_id, id, created_at, actor_id, actor_type, action, resource, resource_id, changed, request_id)
	VALUES (tenant,
		-- UUIDv7 to the microsecond, so that what one transaction does is listed in its order.
		(pg_catalog.lpad(pg_catalog.to_hex(micros / 1000), 12, '0')
			|| '7' || pg_catalog.lpad(pg_catalog.to_hex(micros % 1000 * 4), 3, '0')
			|| pg_catalog.right(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 16))::uuid,
		pg_catalog.date_trunc('milliseconds', instant), actor,
		CASE pg_catalog.left(pg_catalog.current_setting('app.tenant'), 1)
			WHEN 'k' THEN 'api_key' WHEN 'i' THEN 'invitation' WHEN 's' THEN 'issuer' ELSE 'user' END,
		CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
		TG_TABLE_NAME, (subject ->> TG_ARGV[0])::uuid, changed,
		NULLIF(pg_catalog.left(pg_catalog.current_setting('app.request', true), 128), ''));
	RETURN NULL;
END $$;
