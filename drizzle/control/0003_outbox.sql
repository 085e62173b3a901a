-- Keeps others from changing the tenant's control plane until this transaction ends. A change takes this lock before any
-- other, so that no two of a tenant wait for each other.
CREATE FUNCTION control.lock_outbox(tenant uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM FROM control.outbox_heads h WHERE h.tenant_id = tenant FOR UPDATE;
END $$;
--> statement-breakpoint
-- Writes the tenant's next outbox entry. The number comes from a row that stays locked until commit, so entries are
-- numbered in the order of commits, without gaps. A tenant that is being deleted has no head, and nobody to tell.
CREATE FUNCTION control.tell(tenant uuid, kind text, subject uuid, version bigint, event jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = '' AS $$
DECLARE
	number bigint;
BEGIN
	UPDATE control.outbox_heads h SET head = h.head + 1 WHERE h.tenant_id = tenant RETURNING h.head INTO number;
	IF FOUND THEN
		INSERT INTO control.outbox VALUES (tenant, number, kind, subject, version, event);
	END IF;
END $$;
--> statement-breakpoint
-- Deletes the entries up to this one, which the tenant's object and its site have confirmed. For the object alone: a request
-- could hide what it has done before the audit trail has it. Not in a database that was restored from a backup, where other
-- entries may have these numbers.
CREATE FUNCTION control.drop_outbox(upto bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF control.acting_as() IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'the outbox is the tenant''s object''s' USING ERRCODE = '42501', TABLE = 'outbox';
	END IF;
	DELETE FROM control.outbox o USING control.outbox_heads h
		WHERE o.tenant_id = control.current_tenant_id() AND h.tenant_id = o.tenant_id AND h.head >= upto AND o.seq <= upto;
END $$;
--> statement-breakpoint
CREATE FUNCTION control.tell_of_tenant() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO control.outbox_heads (tenant_id) VALUES (NEW.id);
	END IF;
	PERFORM control.tell(NEW.id, 'tenant', NEW.id, NULL, NULL);
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_tenant AFTER INSERT OR UPDATE ON control.tenants
	FOR EACH ROW EXECUTE FUNCTION control.tell_of_tenant();
--> statement-breakpoint
CREATE FUNCTION control.tell_of_api_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.tell(COALESCE(NEW.tenant_id, OLD.tenant_id), 'api_key', COALESCE(NEW.id, OLD.id), NULL, NULL);
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_api_key AFTER INSERT OR DELETE ON control.api_keys
	FOR EACH ROW EXECUTE FUNCTION control.tell_of_api_key();
--> statement-breakpoint
-- To use a key is not to change it.
CREATE TRIGGER tell_of_api_key_change AFTER UPDATE ON control.api_keys FOR EACH ROW
	WHEN (NOT (OLD.last_used_at IS DISTINCT FROM NEW.last_used_at)) EXECUTE FUNCTION control.tell_of_api_key();
--> statement-breakpoint
-- A user's tokens say what it was when they were made. Setting a role, even the same one, or ending a membership voids
-- older tokens in this tenant; if the user is deleted too, all of them for ever. This runs before a membership ends,
-- because afterwards the user is no longer seen in the tenant's context.
CREATE FUNCTION control.void_member_tokens() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	newer bigint;
BEGIN
	UPDATE control.users SET updated_at = pg_catalog.now() WHERE id = OLD.user_id RETURNING version INTO newer;
	PERFORM control.tell(OLD.tenant_id, 'floor', OLD.user_id, COALESCE(newer, 9007199254740991), NULL);
	RETURN OLD;
END $$;
--> statement-breakpoint
CREATE TRIGGER void_member_tokens_on_update AFTER UPDATE OF role ON control.memberships
	FOR EACH ROW EXECUTE FUNCTION control.void_member_tokens();
--> statement-breakpoint
CREATE TRIGGER void_member_tokens_on_delete BEFORE DELETE ON control.memberships
	FOR EACH ROW EXECUTE FUNCTION control.void_member_tokens();
--> statement-breakpoint
-- A session that gave out no access token lately has none to void.
CREATE FUNCTION control.tell_of_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.tell(NEW.tenant_id, 'floor', NEW.id, 9007199254740991, NULL);
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_session AFTER UPDATE ON control.sessions FOR EACH ROW
	WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL AND NEW.rotated_at > now() - interval '15 minutes')
	EXECUTE FUNCTION control.tell_of_session();
--> statement-breakpoint
-- Who acts, as an audit event says it; null where nobody who signed in has acted.
CREATE FUNCTION control.actor() RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
	acting text := control.acting_as();
BEGIN
	IF acting IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN pg_catalog.jsonb_build_object('actor_id', control.current_actor_id(),
		'actor_type', CASE WHEN acting IN ('api_key', 'invitation', 'issuer') THEN acting ELSE 'user' END,
		'request_id', NULLIF(pg_catalog.left(pg_catalog.current_setting('app.request', true), 128), ''));
END $$;
--> statement-breakpoint
-- The tenant's site keeps a row for each member. What follows there from the change is its actor's doing.
CREATE FUNCTION control.tell_of_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.tell(COALESCE(NEW.tenant_id, OLD.tenant_id), 'member', COALESCE(NEW.user_id, OLD.user_id), NULL, control.actor());
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_member AFTER INSERT OR DELETE ON control.memberships
	FOR EACH ROW EXECUTE FUNCTION control.tell_of_member();
--> statement-breakpoint
CREATE TRIGGER tell_of_role AFTER UPDATE OF role ON control.memberships FOR EACH ROW
	WHEN (OLD.role <> NEW.role) EXECUTE FUNCTION control.tell_of_member();
--> statement-breakpoint
CREATE FUNCTION control.tell_of_email() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.tell(m.tenant_id, 'member', m.user_id, NULL, control.actor())
		FROM control.memberships m WHERE m.user_id = NEW.id ORDER BY m.tenant_id;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_email AFTER UPDATE OF email ON control.users FOR EACH ROW
	WHEN (OLD.email <> NEW.email) EXECUTE FUNCTION control.tell_of_email();
--> statement-breakpoint
-- Has the tenant's site write down who changed this row, by an outbox entry in the change's own transaction. Its argument
-- names the column that tells rows apart. Without a context (a sign-up makes a tenant) nobody signed in has acted.
-- extra_float_digits, because a caller's own could make two numbers look the same.
CREATE FUNCTION control.audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = '' SET extra_float_digits = 3 AS $$
DECLARE
	tenant uuid := control.current_tenant_id();
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
	subject jsonb := COALESCE(is_now, was);
	changed jsonb := '[]';
BEGIN
	IF tenant IS NULL THEN
		RETURN NULL;
	END IF;
	-- A context of another tenant by now would put the change into that one's trail.
	IF (subject ->> CASE TG_TABLE_NAME WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END)::uuid <> tenant THEN
		RAISE EXCEPTION 'the row is not of the context''s tenant' USING ERRCODE = '42501';
	END IF;
	IF TG_OP = 'UPDATE' THEN
		SELECT pg_catalog.jsonb_agg(key ORDER BY key) INTO changed FROM pg_catalog.jsonb_each(is_now)
			WHERE value IS DISTINCT FROM was -> key AND key NOT IN ('updated_at', 'version', 'last_used_at', 'domains_since');
		IF changed IS NULL THEN
			RETURN NULL;
		END IF;
	END IF;
	PERFORM control.tell(tenant, 'audit', (subject ->> TG_ARGV[0])::uuid, NULL, control.actor() || pg_catalog.jsonb_build_object(
		'action', CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'delete' END,
		'resource', TG_TABLE_NAME, 'changed', changed,
		'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	RETURN NULL;
END $$;
