-- Has the tenant's site write down who changed this row, by an outbox entry in the change's own transaction. Its argument
-- names the column that tells rows apart. Without a context (a sign-up makes a tenant), or as the tenant's object,
-- nobody signed in has acted.
-- extra_float_digits, because a caller's own could make two numbers look the same.
CREATE OR REPLACE FUNCTION control.audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = '' SET extra_float_digits = 3 AS $$
DECLARE
	tenant uuid := control.current_tenant_id();
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
	subject jsonb := COALESCE(is_now, was);
	changed jsonb := '[]';
BEGIN
	IF tenant IS NULL OR control.acting_as() = 'object' THEN
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
--> statement-breakpoint
-- Sends the tenant to where its move under way leads, if it is in this epoch still: after its source was closed in it, which
-- nobody can take back, so it does not matter who says so, how late or how often. The tenant's object may, for a mover that
-- died. Returns whether this was what sent it there.
CREATE FUNCTION control.commit_move(tenant uuid, of_epoch integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	job control.jobs;
BEGIN
	IF session_user = 'partywall_account'
			AND (control.acting_as() IS DISTINCT FROM 'object' OR tenant IS DISTINCT FROM control.current_tenant_id()) THEN
		RAISE EXCEPTION 'a move is the tenant''s object''s' USING ERRCODE = '42501', TABLE = 'jobs';
	END IF;
	PERFORM control.lock_outbox(tenant);
	SELECT j.* INTO job FROM control.jobs j JOIN control.tenants t ON t.id = j.tenant_id
		WHERE j.tenant_id = tenant AND j.kind = 'move' AND j.finished_at IS NULL AND j.epoch = of_epoch AND t.epoch = of_epoch;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	UPDATE control.tenants SET site = job.target, epoch = of_epoch + 1 WHERE id = tenant;
	UPDATE control.jobs SET finished_at = pg_catalog.now(), outcome = 'done',
		kept_until = pg_catalog.now() + interval '3 days' WHERE id = job.id;
	-- Whoever started the move has acted, whoever says so.
	PERFORM control.tell(tenant, 'audit', tenant, NULL, pg_catalog.jsonb_build_object('actor_id', job.id,
		'actor_type', 'operator', 'request_id', NULL, 'action', 'update', 'resource', 'tenants', 'changed', '["site"]'::jsonb,
		'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	RETURN true;
END $$;
