-- Keeps others from changing the tenant's control plane until this transaction ends. A change takes this lock before any
-- other, so that no two of a tenant wait for each other.
CREATE FUNCTION lock_outbox(tenant uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM FROM public.outbox_heads h WHERE h.tenant_id = tenant FOR UPDATE;
END $$;
--> statement-breakpoint
-- Writes the tenant's next outbox entry. The number comes from a row that stays locked until commit, so entries are
-- numbered in the order of commits, without gaps. A tenant that is being deleted has no head, and nobody to tell.
CREATE FUNCTION tell(tenant uuid, kind text, subject uuid, version bigint) RETURNS void LANGUAGE plpgsql
SET search_path = '' AS $$
DECLARE
	number bigint;
BEGIN
	UPDATE public.outbox_heads h SET head = h.head + 1 WHERE h.tenant_id = tenant RETURNING h.head INTO number;
	IF FOUND THEN
		INSERT INTO public.outbox VALUES (tenant, number, kind, subject, version);
	END IF;
END $$;
--> statement-breakpoint
CREATE FUNCTION tell_of_tenant() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO public.outbox_heads (tenant_id) VALUES (NEW.id);
	ELSE
		PERFORM public.tell(NEW.id, 'tenant', NEW.id, NULL);
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_tenant AFTER INSERT OR UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION tell_of_tenant();
--> statement-breakpoint
CREATE FUNCTION tell_of_api_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM public.tell(COALESCE(NEW.tenant_id, OLD.tenant_id), 'api_key', COALESCE(NEW.id, OLD.id), NULL);
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_api_key AFTER INSERT OR DELETE ON api_keys FOR EACH ROW EXECUTE FUNCTION tell_of_api_key();
--> statement-breakpoint
-- To use a key is not to change it.
CREATE TRIGGER tell_of_api_key_change AFTER UPDATE ON api_keys FOR EACH ROW
	WHEN (NOT (OLD.last_used_at IS DISTINCT FROM NEW.last_used_at)) EXECUTE FUNCTION tell_of_api_key();
--> statement-breakpoint
-- A user's tokens say what it was when they were made. Setting a role, even the same one, or ending a membership voids
-- older tokens in this tenant; if the user is deleted too, all of them for ever. This runs before a membership ends,
-- because afterwards the user is no longer seen in the tenant's context.
CREATE FUNCTION void_member_tokens() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	newer bigint;
BEGIN
	UPDATE public.users SET updated_at = pg_catalog.now() WHERE id = OLD.user_id RETURNING version INTO newer;
	PERFORM public.tell(OLD.tenant_id, 'floor', OLD.user_id, COALESCE(newer, 9007199254740991));
	RETURN OLD;
END $$;
--> statement-breakpoint
CREATE TRIGGER void_member_tokens_on_update AFTER UPDATE OF role ON memberships
	FOR EACH ROW EXECUTE FUNCTION void_member_tokens();
--> statement-breakpoint
CREATE TRIGGER void_member_tokens_on_delete BEFORE DELETE ON memberships
	FOR EACH ROW EXECUTE FUNCTION void_member_tokens();
--> statement-breakpoint
-- A session that gave out no access token lately has none to void.
CREATE FUNCTION tell_of_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM public.tell(NEW.tenant_id, 'floor', NEW.id, 9007199254740991);
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_session AFTER UPDATE ON sessions FOR EACH ROW
	WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL AND NEW.rotated_at > now() - interval '15 minutes')
	EXECUTE FUNCTION tell_of_session();
