ALTER TABLE "audit_events" ADD COLUMN "actor_name" text;
--> statement-breakpoint
-- The tenant of this transaction's signed context, unless the tenant's fence here refuses it. Raises 28000 when the context
-- is missing, forged, expired, or made for another site or role; never null. The fence's refusals have SQLSTATEs of their
-- own, and whoever gets one has done nothing yet: PW003 the tenant has moved away for good, PW004 its writes are held for a
-- moment, PW005 the context is of another epoch, PW006 a newer attempt works on the tenant. So has an operator's who may only
-- read, outside of a READ ONLY transaction: 25006. plpgsql, and one query, so that no key becomes a plan's constant.
-- What frozen lets through depends on a setting that only the start of a transaction sets: see the advisory lock in
-- set_fence().
CREATE OR REPLACE FUNCTION public.current_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	context text := pg_catalog.current_setting('app.tenant', true);
	-- A variable, not an expression in the query: with that, Postgres reads the fences one after the other.
	of_tenant text := pg_catalog.substr(context, 13, 36);
	fence record;
BEGIN
	IF pg_catalog.length(context) = 170 THEN
		SELECT pg_catalog.encode(pg_catalog.sha256(k.outer_pad || pg_catalog.sha256(k.inner_pad
				|| pg_catalog.convert_to(pg_catalog.left(context, 105) || '.site {site}.' || session_user, 'UTF8'))), 'hex')
			= pg_catalog.right(context, 64) AS genuine, f.mode, f.epoch, f.token, f.until
			INTO fence
			FROM partywall.context_keys k LEFT JOIN public.fences f ON f.tenant = of_tenant
			WHERE k.kid = pg_catalog.substr(context, 4, 8);
		-- Only what the MAC covers is parsed: null AND … would parse what a forger wrote.
		IF fence.genuine THEN
			IF pg_catalog.substr(context, 96, 10)::bigint
					> pg_catalog.date_part('epoch', pg_catalog.statement_timestamp()) THEN
				IF session_user = 'partywall_mover' THEN
					-- Its contexts bear its token in the place of the epoch.
					IF fence.token = pg_catalog.substr(context, 87, 8)::bigint THEN
						RETURN of_tenant::uuid;
					END IF;
					RAISE EXCEPTION 'another attempt works on this tenant' USING ERRCODE = 'PW006';
				END IF;
				IF fence.mode = 'loading' OR COALESCE(fence.epoch, 1) <> pg_catalog.substr(context, 87, 8)::integer THEN
					RAISE EXCEPTION 'the tenant is not here in this epoch' USING ERRCODE = 'PW005';
				ELSIF fence.mode = 'closed' THEN
					RAISE EXCEPTION 'the tenant has moved away' USING ERRCODE = 'PW003';
				ELSIF fence.mode = 'frozen' AND fence.until > pg_catalog.statement_timestamp()
						AND pg_catalog.current_setting('transaction_read_only') <> 'on' THEN
					RAISE EXCEPTION 'the tenant''s writes are held' USING ERRCODE = 'PW004';
				ELSIF pg_catalog.left(context, 1) = 't' AND pg_catalog.current_setting('transaction_read_only') <> 'on' THEN
					RAISE EXCEPTION 'the operator may only read' USING ERRCODE = '25006';
				END IF;
				RETURN of_tenant::uuid;
			END IF;
		END IF;
	END IF;
	RAISE EXCEPTION 'no valid tenant context' USING ERRCODE = '28000';
END $$;
--> statement-breakpoint
-- Writes down who changed this row, in the change's own transaction; the actor is the signed context's. Its argument
-- names the column that tells rows apart. When a migration fills a column nobody signed in has acted: it has no context,
-- and as partywall's logins none changes a row without. What follows from a member's leaving is the doing of whoever
-- removed them: receive() says who.
-- extra_float_digits, because a caller's own could make two numbers look the same.
CREATE OR REPLACE FUNCTION public.audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
	actor_name text;
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
			WHEN 'k' THEN 'api_key' WHEN 'i' THEN 'invitation' WHEN 's' THEN 'issuer' WHEN 'w' THEN 'support' ELSE 'user' END;
		actor_name := CASE actor_type WHEN 'support'
			THEN NULLIF(pg_catalog.left(pg_catalog.current_setting('app.actor', true), 254), '') END;
		request_id := NULLIF(pg_catalog.left(pg_catalog.current_setting('app.request', true), 128), '');
	END IF;
	micros := (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint;
	INSERT INTO public.audit_events
		(tenant_id, id, created_at, actor_id, actor_type, actor_name, action, resource, resource_id, changed, request_id)
	VALUES (tenant, public.event_id(micros), pg_catalog.to_timestamp(micros / 1000 / 1000.0), actor_id, actor_type, actor_name,
		CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
		TG_TABLE_NAME, (subject ->> TG_ARGV[0])::uuid, changed, request_id);
	RETURN NULL;
END $$;
