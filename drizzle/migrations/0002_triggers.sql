-- What the database sees to by itself. drizzle/wall.sql attaches audit_row() to every table that it concerns.

-- Writes down who changed this row, in the change's own transaction; the actor is the signed context's. Its argument
-- names the column that tells rows apart. Without a context (a sign-up makes a tenant) nobody signed in has acted.
CREATE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
	actor uuid;
	changed text[] := '{}';
BEGIN
	IF public.context_tenant_id() IS NULL THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'UPDATE' THEN
		SELECT pg_catalog.array_agg(key ORDER BY key) INTO changed FROM pg_catalog.jsonb_each(is_now)
			WHERE value IS DISTINCT FROM was -> key AND key NOT IN ('updated_at', 'version');
		IF changed IS NULL THEN
			RETURN NULL;
		END IF;
	END IF;
	actor := public.current_actor_id();
	INSERT INTO public.audit_events (actor_id, actor_type, action, resource, resource_id, changed, request_id)
	VALUES (actor,
		CASE WHEN EXISTS (SELECT FROM public.api_keys WHERE id = actor) THEN 'api_key'
			WHEN EXISTS (SELECT FROM public.invitations WHERE id = actor) THEN 'invitation'
			WHEN EXISTS (SELECT FROM public.issuers WHERE id = actor) THEN 'issuer'
			ELSE 'user' END,
		CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
		TG_TABLE_NAME, (COALESCE(is_now, was) ->> TG_ARGV[0])::uuid, changed,
		NULLIF(pg_catalog.current_setting('app.request', true), ''));
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
