-- A tenant keeps an owner. The tenant's row is locked first, so that of two owners who leave at once one stays.
CREATE FUNCTION control.keep_an_owner() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	PERFORM FROM control.tenants WHERE id = OLD.tenant_id FOR NO KEY UPDATE;
	IF FOUND AND NOT EXISTS (SELECT FROM control.memberships
			WHERE tenant_id = OLD.tenant_id AND role = 'owner' AND user_id <> OLD.user_id) THEN
		RAISE EXCEPTION 'the last owner can neither leave nor step down'
			USING ERRCODE = '23514', CONSTRAINT = 'last_owner', TABLE = 'memberships';
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
--> statement-breakpoint
CREATE TRIGGER keep_an_owner_on_update BEFORE UPDATE OF role ON control.memberships
	FOR EACH ROW WHEN (OLD.role = 'owner' AND NEW.role <> 'owner') EXECUTE FUNCTION control.keep_an_owner();
--> statement-breakpoint
CREATE TRIGGER keep_an_owner_on_delete BEFORE DELETE ON control.memberships
	FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION control.keep_an_owner();
--> statement-breakpoint
-- Nobody lets in, changes or removes a member whom they may not manage, on whatever path: a route, a cascade, a bulk
-- change. A member may leave if the token has their full role, and may void their own tokens. Without a context nobody
-- signed in has acted. manages() is made by db:migrate.
CREATE FUNCTION control.check_authority() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	acting text := control.acting_as();
BEGIN
	-- A foreign key's check bypasses the wall. So requests of a tenant let in those alone whom the tenant sees: its issuers'
	-- users. An account of another tenant comes in by an invitation, which partywall_identity accepts.
	IF TG_OP = 'INSERT' AND session_user = 'partywall_account'
			AND NOT EXISTS (SELECT FROM control.users u WHERE u.id = NEW.user_id) THEN
		RAISE EXCEPTION 'the tenant has no such user' USING ERRCODE = '42501', TABLE = 'memberships';
	END IF;
	IF acting IS NULL
		OR (TG_OP = 'INSERT' OR control.manages(acting, OLD.role)) AND (TG_OP = 'DELETE' OR control.manages(acting, NEW.role))
		OR TG_OP = 'DELETE' AND OLD.role = acting AND OLD.user_id = control.current_actor_id()
		OR TG_OP = 'UPDATE' AND NEW.role = OLD.role AND OLD.user_id = control.current_actor_id() THEN
		RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
	END IF;
	RAISE EXCEPTION 'the actor may not manage this member'
		USING ERRCODE = '42501', CONSTRAINT = 'authority', TABLE = 'memberships';
END $$;
--> statement-breakpoint
CREATE TRIGGER may_manage BEFORE INSERT OR UPDATE OR DELETE ON control.memberships
	FOR EACH ROW EXECUTE FUNCTION control.check_authority();
--> statement-breakpoint
-- What a member has granted is cut down to what their new role allows. Invitations end, keys lose scopes, the issuers that
-- they answer for are suspended. role_scopes() is made by db:migrate.
CREATE FUNCTION control.end_grants() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	left_role text := CASE TG_OP WHEN 'UPDATE' THEN NEW.role ELSE '' END;
	left_scopes text[] := control.role_scopes(left_role);
BEGIN
	DELETE FROM control.invitations i
		WHERE i.tenant_id = OLD.tenant_id AND i.invited_by = OLD.user_id AND NOT control.manages(left_role, i.role);
	UPDATE control.issuers i SET suspended_at = pg_catalog.now()
		WHERE i.tenant_id = OLD.tenant_id AND i.registered_by = OLD.user_id AND i.suspended_at IS NULL
			AND NOT control.manages(left_role, 'admin');
	DELETE FROM control.api_keys k
		WHERE k.tenant_id = OLD.tenant_id AND k.created_by = OLD.user_id AND NOT k.scopes && left_scopes;
	UPDATE control.api_keys k SET scopes = ARRAY(SELECT s FROM pg_catalog.unnest(k.scopes) s WHERE s = ANY (left_scopes))
		WHERE k.tenant_id = OLD.tenant_id AND k.created_by = OLD.user_id AND NOT k.scopes <@ left_scopes;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_grants_on_update AFTER UPDATE OF role ON control.memberships
	FOR EACH ROW WHEN (OLD.role <> NEW.role) EXECUTE FUNCTION control.end_grants();
--> statement-breakpoint
CREATE TRIGGER end_grants_on_delete AFTER DELETE ON control.memberships FOR EACH ROW EXECUTE FUNCTION control.end_grants();
--> statement-breakpoint
-- A change of what an issuer is trusted with ends the sessions that it vouched for. Its suspension or end also ends what
-- was granted in them.
CREATE FUNCTION control.end_vouching() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	UPDATE control.sessions s SET revoked_at = pg_catalog.now() WHERE s.issuer_id = OLD.id AND s.revoked_at IS NULL;
	IF TG_OP = 'DELETE' OR NEW.suspended_at IS NOT NULL THEN
		DELETE FROM control.invitations i WHERE i.tenant_id = OLD.tenant_id AND i.vouched_by = OLD.id;
		DELETE FROM control.api_keys k WHERE k.tenant_id = OLD.tenant_id AND k.vouched_by = OLD.id;
		UPDATE control.issuers i SET suspended_at = pg_catalog.now()
			WHERE i.tenant_id = OLD.tenant_id AND i.vouched_by = OLD.id AND i.suspended_at IS NULL;
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_vouching AFTER UPDATE OR DELETE ON control.issuers FOR EACH ROW EXECUTE FUNCTION control.end_vouching();
--> statement-breakpoint
-- Records when each domain was claimed. To add a domain later does not take another tenant's.
CREATE FUNCTION control.claim_domains() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER claim_domains BEFORE INSERT OR UPDATE OF email_domains, just_in_time ON control.issuers
	FOR EACH ROW EXECUTE FUNCTION control.claim_domains();
--> statement-breakpoint
-- An account is its user's, in whatever tenants they are: in the context of one of them nobody sets its password or
-- changes its email, but of the users whom that tenant's own issuer brings.
CREATE FUNCTION control.keep_account() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	IF control.current_tenant_id() IS NOT NULL AND (OLD.issuer_id IS NULL OR OLD.password_hash IS DISTINCT FROM NEW.password_hash) THEN
		RAISE EXCEPTION 'an account is changed outside of a tenant''s context' USING ERRCODE = '42501', TABLE = 'users';
	END IF;
	RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER keep_account BEFORE UPDATE ON control.users FOR EACH ROW
	WHEN (OLD.email <> NEW.email OR OLD.password_hash IS DISTINCT FROM NEW.password_hash
		OR OLD.email_verified_at IS DISTINCT FROM NEW.email_verified_at)
	EXECUTE FUNCTION control.keep_account();
