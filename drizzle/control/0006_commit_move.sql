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
	-- Whoever started the move acts, not the object.
	PERFORM pg_catalog.set_config('app.tenant', '', true);
	UPDATE control.tenants SET site = job.target, epoch = of_epoch + 1 WHERE id = tenant;
	UPDATE control.jobs SET finished_at = pg_catalog.now(), outcome = 'done',
		kept_until = pg_catalog.now() + interval '3 days' WHERE id = job.id;
	PERFORM control.tell(tenant, 'audit', tenant, NULL, pg_catalog.jsonb_build_object('actor_id', job.id,
		'actor_type', 'operator', 'request_id', NULL, 'action', 'update', 'resource', 'tenants', 'changed', '["site"]'::jsonb,
		'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	RETURN true;
END $$;
