ALTER TABLE "users" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "sessions" DROP CONSTRAINT "sessions_issuer_id_issuers_id_fk";
--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "vouched_by" uuid;--> statement-breakpoint
ALTER TABLE "invitations" ADD COLUMN "vouched_by" uuid;--> statement-breakpoint
ALTER TABLE "issuers" ADD COLUMN "domains_since" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "issuers" ADD COLUMN "registered_by" uuid;--> statement-breakpoint
-- Nobody wrote down who registered these: the tenant's first owner answers for them.
UPDATE "issuers" SET "registered_by" = (SELECT m."user_id" FROM "memberships" m
	WHERE m."tenant_id" = "issuers"."tenant_id" AND m."role" = 'owner' ORDER BY m."created_at", m."user_id" LIMIT 1);--> statement-breakpoint
ALTER TABLE "issuers" ALTER COLUMN "registered_by" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "issuers" ADD COLUMN "vouched_by" uuid;--> statement-breakpoint
ALTER TABLE "issuers" ADD CONSTRAINT "role_map_size" CHECK (jsonb_array_length(jsonb_path_query_array(role_map, '$.keyvalue()')) <= 100 and octet_length(role_map::text) <= 16384);--> statement-breakpoint
ALTER TABLE "issuers" ADD COLUMN "suspended_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "email_verified_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "audit_events_of_credentials" ON "audit_events" USING btree ("tenant_id","created_at") WHERE resource in ('api_keys', 'memberships');--> statement-breakpoint
CREATE POLICY "one_tenant" ON "users" AS PERMISSIVE FOR ALL TO public USING ((select context_tenant_id()) is null or exists (select from memberships m where m.user_id = users.id) or issuer_id in (select i.id from issuers i)) WITH CHECK ((select context_tenant_id()) is null or (issuer_id is null and exists (select from memberships m where m.user_id = users.id)) or issuer_id in (select i.id from issuers i));--> statement-breakpoint
CREATE POLICY "one_tenant" ON "tenants" AS RESTRICTIVE FOR ALL TO public USING ((select context_tenant_id()) is null or id = (select context_tenant_id())) WITH CHECK ((select context_tenant_id()) is null or id = (select context_tenant_id()));--> statement-breakpoint
-- As what the context's actor acts: a role, api_key, invitation or issuer; null where there is no context. A context that
-- is not valid raises.
CREATE FUNCTION acting_as() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = '' AS $$
BEGIN
	IF public.context_tenant_id() IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN CASE pg_catalog.left(pg_catalog.current_setting('app.tenant'), 1)
		WHEN 'v' THEN 'viewer' WHEN 'm' THEN 'member' WHEN 'a' THEN 'admin' WHEN 'o' THEN 'owner'
		WHEN 'k' THEN 'api_key' WHEN 'i' THEN 'invitation' WHEN 's' THEN 'issuer' END;
END $$;
--> statement-breakpoint
-- Before a membership ends, as the user is no longer seen in the tenant's context after it.
CREATE OR REPLACE FUNCTION bump_user() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	UPDATE public.users SET updated_at = pg_catalog.now() WHERE id = OLD.user_id;
	RETURN OLD;
END $$;
--> statement-breakpoint
DROP TRIGGER bump_user ON memberships;
--> statement-breakpoint
CREATE TRIGGER bump_user_on_update AFTER UPDATE OF role ON memberships FOR EACH ROW EXECUTE FUNCTION bump_user();
--> statement-breakpoint
CREATE TRIGGER bump_user_on_delete BEFORE DELETE ON memberships FOR EACH ROW EXECUTE FUNCTION bump_user();
--> statement-breakpoint
-- Nobody lets in, changes or removes a member whom they may not manage, on whatever path: a route, a cascade, a bulk
-- change. Everybody may leave who acts with the whole of their own role. Without a context nobody signed in has acted.
-- manages() is made by db:migrate.
CREATE FUNCTION check_authority() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	acting text := public.acting_as();
BEGIN
	IF acting IS NULL
		OR (TG_OP = 'INSERT' OR public.manages(acting, OLD.role)) AND (TG_OP = 'DELETE' OR public.manages(acting, NEW.role))
		OR TG_OP = 'DELETE' AND OLD.role = acting AND OLD.user_id = public.current_actor_id() THEN
		RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
	END IF;
	RAISE EXCEPTION 'the actor may not manage this member'
		USING ERRCODE = '42501', CONSTRAINT = 'authority', TABLE = 'memberships';
END $$;
--> statement-breakpoint
CREATE TRIGGER may_manage BEFORE INSERT OR UPDATE OR DELETE ON memberships
	FOR EACH ROW EXECUTE FUNCTION check_authority();
--> statement-breakpoint
-- What a member has granted is worth what their role may still give. Invitations end, keys lose scopes, the issuers that
-- they answer for are suspended. role_scopes() is made by db:migrate.
CREATE FUNCTION end_grants() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	left_role text := CASE TG_OP WHEN 'UPDATE' THEN NEW.role ELSE '' END;
	left_scopes text[] := public.role_scopes(left_role);
BEGIN
	DELETE FROM public.invitations i
		WHERE i.tenant_id = OLD.tenant_id AND i.invited_by = OLD.user_id AND NOT public.manages(left_role, i.role);
	UPDATE public.issuers i SET suspended_at = pg_catalog.now()
		WHERE i.tenant_id = OLD.tenant_id AND i.registered_by = OLD.user_id AND i.suspended_at IS NULL
			AND NOT public.manages(left_role, 'admin');
	DELETE FROM public.api_keys k
		WHERE k.tenant_id = OLD.tenant_id AND k.created_by = OLD.user_id AND NOT k.scopes && left_scopes;
	UPDATE public.api_keys k SET scopes = ARRAY(SELECT s FROM pg_catalog.unnest(k.scopes) s WHERE s = ANY (left_scopes))
		WHERE k.tenant_id = OLD.tenant_id AND k.created_by = OLD.user_id AND NOT k.scopes <@ left_scopes;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_grants_on_update AFTER UPDATE OF role ON memberships
	FOR EACH ROW WHEN (OLD.role <> NEW.role) EXECUTE FUNCTION end_grants();
--> statement-breakpoint
CREATE TRIGGER end_grants_on_delete AFTER DELETE ON memberships FOR EACH ROW EXECUTE FUNCTION end_grants();
--> statement-breakpoint
-- A change of what an issuer is trusted with ends the sessions that it vouched for. Its suspension or end also ends what
-- was granted in them.
CREATE FUNCTION end_vouching() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	UPDATE public.sessions s SET revoked_at = pg_catalog.now() WHERE s.issuer_id = OLD.id AND s.revoked_at IS NULL;
	IF TG_OP = 'DELETE' OR NEW.suspended_at IS NOT NULL THEN
		DELETE FROM public.invitations i WHERE i.tenant_id = OLD.tenant_id AND i.vouched_by = OLD.id;
		DELETE FROM public.api_keys k WHERE k.tenant_id = OLD.tenant_id AND k.vouched_by = OLD.id;
		UPDATE public.issuers i SET suspended_at = pg_catalog.now()
			WHERE i.tenant_id = OLD.tenant_id AND i.vouched_by = OLD.id AND i.suspended_at IS NULL;
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_vouching AFTER UPDATE OR DELETE ON issuers FOR EACH ROW EXECUTE FUNCTION end_vouching();
--> statement-breakpoint
-- Notes since when each domain's newcomers are claimed. To add a domain later does not take another tenant's.
CREATE FUNCTION claim_domains() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	NEW.domains_since := '{}';
	IF NEW.just_in_time THEN
		SELECT COALESCE(pg_catalog.jsonb_object_agg(domain, COALESCE(
				CASE TG_OP WHEN 'UPDATE' THEN OLD.domains_since -> domain END, pg_catalog.to_jsonb(pg_catalog.clock_timestamp()))), '{}')
			INTO NEW.domains_since FROM pg_catalog.unnest(NEW.email_domains) AS domain;
	END IF;
	RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER claim_domains BEFORE INSERT OR UPDATE OF email_domains, just_in_time ON issuers
	FOR EACH ROW EXECUTE FUNCTION claim_domains();
--> statement-breakpoint
UPDATE issuers SET just_in_time = just_in_time;
--> statement-breakpoint
-- An account is its user's, in whatever tenants they are: in the context of one of them nobody sets its password or
-- changes its email, but of the users whom that tenant's own issuer brings.
CREATE FUNCTION keep_account() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	IF public.context_tenant_id() IS NOT NULL AND (OLD.issuer_id IS NULL OR OLD.password_hash IS DISTINCT FROM NEW.password_hash) THEN
		RAISE EXCEPTION 'an account is changed outside of a tenant''s context' USING ERRCODE = '42501', TABLE = 'users';
	END IF;
	RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER keep_account BEFORE UPDATE ON users FOR EACH ROW
	WHEN (OLD.email <> NEW.email OR OLD.password_hash IS DISTINCT FROM NEW.password_hash
		OR OLD.email_verified_at IS DISTINCT FROM NEW.email_verified_at)
	EXECUTE FUNCTION keep_account();
--> statement-breakpoint
-- Writes down who changed this row, in the change's own transaction; the actor is the signed context's. Its argument
-- names the column that tells rows apart. Without a context (a sign-up makes a tenant, a migration fills a column)
-- nobody signed in has acted; but the app role, whose SQL may have cleared its context in mid-statement, needs one.
-- extra_float_digits, because a caller's own could make two numbers look the same.
CREATE OR REPLACE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
--> statement-breakpoint
-- Which API keys and members of the context's tenant changed or ended in the last 15 minutes, which is longer than any
-- access token, and than the time in which an object reads its tenant's keys anew. The audit trail is the tenant's
-- content, of which partywall_identity sees no more than this.
CREATE FUNCTION credentials_changed() RETURNS TABLE (resource text, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
	SELECT e.resource, e.resource_id FROM public.audit_events e
	WHERE e.resource IN ('api_keys', 'memberships') AND e.action <> 'create'
		AND e.created_at > pg_catalog.now() - interval '15 minutes'
	ORDER BY e.created_at DESC LIMIT 1000
$$;
