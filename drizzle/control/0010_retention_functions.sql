-- Deletes what is old of the context's tenant, some rows of each kind, for its object; returns whether there may be more. Of
-- sessions, what nobody can go on with for a day, longer than any token of theirs lives; of invitations and keys, what
-- expired 90 days ago. Jobs go after 90 days too, but for the latest: the next one's token has to be greater than its.
CREATE FUNCTION control.forget_old(most integer) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := control.current_tenant_id();
	is_more boolean := false;
	gone bigint;
BEGIN
	PERFORM control.only_object();
	PERFORM control.lock_outbox(tenant);
	WITH past AS (SELECT s.id FROM control.sessions s WHERE s.tenant_id = tenant
		AND (s.expires_at < pg_catalog.now() - interval '1 day' OR s.revoked_at < pg_catalog.now() - interval '1 day') LIMIT most)
	DELETE FROM control.sessions s USING past WHERE s.id = past.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	is_more := is_more OR gone = most;
	WITH past AS (SELECT i.id FROM control.invitations i WHERE i.tenant_id = tenant
		AND i.expires_at < pg_catalog.now() - interval '90 days' LIMIT most)
	DELETE FROM control.invitations i USING past WHERE i.tenant_id = tenant AND i.id = past.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	is_more := is_more OR gone = most;
	WITH past AS (SELECT k.id FROM control.api_keys k WHERE k.tenant_id = tenant
		AND k.expires_at < pg_catalog.now() - interval '90 days' LIMIT most)
	DELETE FROM control.api_keys k USING past WHERE k.tenant_id = tenant AND k.id = past.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	is_more := is_more OR gone = most;
	WITH past AS (SELECT j.id FROM control.jobs j WHERE j.tenant_id = tenant AND j.kept_until IS NULL
		AND j.kind IN ('export', 'import') AND j.finished_at < pg_catalog.now() - interval '90 days'
		AND j.token < (SELECT max(l.token) FROM control.jobs l WHERE l.tenant_id = tenant) LIMIT most)
	DELETE FROM control.jobs j USING past WHERE j.id = past.id;
	GET DIAGNOSTICS gone = ROW_COUNT;
	is_more := is_more OR gone = most;
	-- With more to delete, the tenant comes up again soon.
	IF NOT is_more THEN
		UPDATE control.outbox_heads h SET swept_at = pg_catalog.now() WHERE h.tenant_id = tenant;
	END IF;
	RETURN is_more;
END $$;
