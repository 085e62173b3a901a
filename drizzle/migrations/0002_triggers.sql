-- What the database sees to by itself. drizzle/wall.sql attaches audit_row() to every table that it concerns.

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
	-- Nor may it be another context by now, of another tenant: the change would be written into that one's trail.
	IF (subject ->> CASE TG_TABLE_NAME WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END)::uuid <> tenant THEN
		RAISE EXCEPTION 'the row is not of the context''s tenant' USING ERRCODE = '42501';
	END IF;
	IF TG_OP = 'UPDATE' THEN
		SELECT pg_catalog.array_agg(key ORDER BY key) INTO changed FROM pg_catalog.jsonb_each(is_now)
			WHERE value IS DISTINCT FROM was -> key AND key NOT IN ('updated_at', 'version', 'last_used_at');
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
		CASE WHEN EXISTS (SELECT FROM public.users WHERE id = actor) THEN 'user'
			WHEN EXISTS (SELECT FROM public.api_keys WHERE id = actor) THEN 'api_key'
			WHEN EXISTS (SELECT FROM public.issuers WHERE id = actor) THEN 'issuer'
			-- By now it may have been accepted, and be gone.
			ELSE 'invitation' END,
		CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
		TG_TABLE_NAME, (subject ->> TG_ARGV[0])::uuid, changed,
		NULLIF(pg_catalog.left(pg_catalog.current_setting('app.request', true), 128), ''));
	RETURN NULL;
END $$;
--> statement-breakpoint
-- A user's tokens say what it was when they were made. When that changes, so does the version that newer ones carry.
CREATE FUNCTION bump_user() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	UPDATE public.users SET updated_at = pg_catalog.now() WHERE id = OLD.user_id;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER bump_user AFTER UPDATE OF role OR DELETE ON memberships
	FOR EACH ROW EXECUTE FUNCTION bump_user();
--> statement-breakpoint
-- A tenant keeps an owner. The tenant's row is locked first, so that of two owners who leave at once one stays.
CREATE FUNCTION keep_an_owner() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	PERFORM FROM public.tenants WHERE id = OLD.tenant_id FOR NO KEY UPDATE;
	IF FOUND AND NOT EXISTS (SELECT FROM public.memberships
			WHERE tenant_id = OLD.tenant_id AND role = 'owner' AND user_id <> OLD.user_id) THEN
		RAISE EXCEPTION 'the last owner can neither leave nor step down'
			USING ERRCODE = '23514', CONSTRAINT = 'last_owner', TABLE = 'memberships';
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
--> statement-breakpoint
CREATE TRIGGER keep_an_owner_on_update BEFORE UPDATE OF role ON memberships
	FOR EACH ROW WHEN (OLD.role = 'owner' AND NEW.role <> 'owner') EXECUTE FUNCTION keep_an_owner();
--> statement-breakpoint
CREATE TRIGGER keep_an_owner_on_delete BEFORE DELETE ON memberships
	FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION keep_an_owner();
--> statement-breakpoint
-- The tasks of a member who leaves are nobody's. Here, because Drizzle cannot name the one column to set to null.
ALTER TABLE tasks DROP CONSTRAINT tasks_assignee,
	ADD CONSTRAINT tasks_assignee FOREIGN KEY (tenant_id, assignee_id) REFERENCES memberships (tenant_id, user_id)
		ON DELETE SET NULL (assignee_id);
