-- The id of an audit event: a UUIDv7 to the microsecond, so that what one transaction does is listed in its order.
-- Without SET, so that Postgres can inline it: whoever calls it has an empty search_path.
CREATE FUNCTION public.event_id(micros bigint) RETURNS uuid LANGUAGE sql AS $$
	SELECT (pg_catalog.lpad(pg_catalog.to_hex(micros / 1000), 12, '0')
		|| '7' || pg_catalog.lpad(pg_catalog.to_hex(micros % 1000 * 4), 3, '0')
		|| pg_catalog.right(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 16))::uuid
$$;
--> statement-breakpoint
-- Writes down who changed this row, in the change's own transaction; the actor is the signed context's. Its argument
-- names the column that tells rows apart. When a migration fills a column nobody signed in has acted: it has no context,
-- and as partywall's logins none changes a row without. What follows from a member's leaving is the doing of whoever
-- removed them: receive() says who.
-- extra_float_digits, because a caller's own could make two numbers look the same.
CREATE FUNCTION public.audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = '' SET extra_float_digits = 3 AS $$
DECLARE
	context text := pg_catalog.current_setting('app.tenant', true);
	tenant uuid;
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
	subject jsonb := COALESCE(is_now, was);
	changed text[] := '{}';
	actor_id uuid;
	actor_type text;
	request_id text;
	behalf jsonb;
	micros bigint;
BEGIN
	-- The app role's SQL may have cleared its context in mid-statement.
	IF COALESCE(context, '') = '' AND session_user NOT IN ('partywall_app', 'partywall_account') THEN
		RETURN NULL;
	END IF;
	tenant := public.current_tenant_id();
	-- A context of another tenant by now would put the change into that one's trail.
	IF (subject ->> 'tenant_id')::uuid <> tenant THEN
		RAISE EXCEPTION 'the row is not of the context''s tenant' USING ERRCODE = '42501';
	END IF;
	IF TG_OP = 'UPDATE' THEN
		SELECT pg_catalog.array_agg(key ORDER BY key) INTO changed FROM pg_catalog.jsonb_each(is_now)
			WHERE value IS DISTINCT FROM was -> key AND key NOT IN ('updated_at', 'version');
		IF changed IS NULL THEN
			RETURN NULL;
		END IF;
	END IF;
	IF session_user = 'partywall_account' THEN
		behalf := NULLIF(pg_catalog.current_setting('app.behalf', true), '');
		IF behalf IS NULL THEN
			RETURN NULL;
		END IF;
		actor_id := behalf ->> 'actor_id';
		actor_type := behalf ->> 'actor_type';
		request_id := behalf ->> 'request_id';
	ELSE
		-- As current_actor_id() reads it; the context has just been verified.
		actor_id := pg_catalog.substr(context, 50, 36);
		actor_type := CASE pg_catalog.left(context, 1)
			WHEN 'k' THEN 'api_key' WHEN 'i' THEN 'invitation' WHEN 's' THEN 'issuer' ELSE 'user' END;
		request_id := NULLIF(pg_catalog.left(pg_catalog.current_setting('app.request', true), 128), '');
	END IF;
	micros := (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint;
	INSERT INTO public.audit_events
		(tenant_id, id, created_at, actor_id, actor_type, action, resource, resource_id, changed, request_id)
	VALUES (tenant, public.event_id(micros), pg_catalog.to_timestamp(micros / 1000 / 1000.0), actor_id, actor_type,
		CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
		TG_TABLE_NAME, (subject ->> TG_ARGV[0])::uuid, changed, request_id);
	RETURN NULL;
END $$;
