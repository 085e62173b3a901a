-- Deletes what is old of the context's tenant, some rows of each kind; returns whether there may be more: keys of requests
-- that came more than a day ago, and events of the audit trail from before the given time. Only the control plane asks for
-- it, on behalf of nobody who could want to hide something.
CREATE FUNCTION public.forget_old(events_before timestamp with time zone, most integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := public.current_tenant_id();
	is_more boolean;
	gone bigint;
BEGIN
	IF pg_catalog.left(pg_catalog.current_setting('app.tenant'), 1) <> 'd' THEN
		RAISE EXCEPTION 'what is old is the tenant''s object''s to delete' USING ERRCODE = '42501', TABLE = 'audit_events';
	END IF;
	PERFORM pg_catalog.set_config('app.behalf', '', true);
	WITH past AS (SELECT k.actor_id, k.key FROM public.idempotency_keys k WHERE k.tenant_id = tenant
		AND k.created_at < pg_catalog.now() - interval '1 day' ORDER BY k.created_at LIMIT most)
	DELETE FROM public.idempotency_keys k USING past
		WHERE k.tenant_id = tenant AND k.actor_id = past.actor_id AND k.key = past.key;
	GET DIAGNOSTICS gone = ROW_COUNT;
	is_more := gone = most;
	WITH past AS (SELECT e.id FROM public.audit_events e WHERE e.tenant_id = tenant AND e.created_at < events_before
		ORDER BY e.created_at LIMIT most)
	DELETE FROM public.audit_events e USING past WHERE e.tenant_id = tenant AND e.id = past.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	RETURN is_more OR gone = most;
END $$;
