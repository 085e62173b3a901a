-- Every row that is taken comes back, also one that nobody is mailed of: without owners. So fewer than `most` mean that no more is
-- due, whatever was dropped, and the Worker that is running while this is deployed mails the same as before.
CREATE OR REPLACE FUNCTION control.take_support_mails(of_tenant uuid, most integer) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	found jsonb;
BEGIN
	IF control.current_tenant_id() IS NOT NULL THEN
		RAISE EXCEPTION 'these mails are of no tenant' USING ERRCODE = '42501', TABLE = 'support_sessions';
	END IF;
	WITH due AS (
		SELECT s.tenant_id, s.id, n.state FROM control.support_sessions s
		CROSS JOIN LATERAL (SELECT CASE WHEN NOT control.is_open(s) THEN 'ended' WHEN s.started_at IS NULL THEN 'asked' ELSE 'started' END) n (state)
		WHERE s.told IS DISTINCT FROM 'ended' AND s.told IS DISTINCT FROM n.state AND (of_tenant IS NULL OR s.tenant_id = of_tenant)
		ORDER BY s.created_at LIMIT most FOR NO KEY UPDATE OF s SKIP LOCKED
	), taken AS (
		UPDATE control.support_sessions s SET told = due.state FROM due WHERE s.tenant_id = due.tenant_id AND s.id = due.id
		RETURNING s.*
	)
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('what', t.told, 'tenant', o.name, 'operator', t.operator, 'reason', t.reason,
			'minutes', t.minutes, 'write', t.write, 'until', t.expires_at, 'ended', COALESCE(t.ended_at, t.expires_at),
			-- The end of what never began is no news.
			'owners', CASE WHEN t.told <> 'ended' OR t.started_at IS NOT NULL THEN control.owners_to_mail(t.tenant_id) ELSE '[]' END)
			ORDER BY t.created_at, t.id)
		FROM taken t JOIN control.tenants o ON o.id = t.tenant_id INTO found;
	RETURN COALESCE(found, '[]');
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION control.take_usage_mails(most integer) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	found jsonb;
BEGIN
	IF control.current_tenant_id() IS NOT NULL THEN
		RAISE EXCEPTION 'these mails are of no tenant' USING ERRCODE = '42501', TABLE = 'usage_warnings';
	END IF;
	WITH due AS (
		SELECT w.tenant_id, w.month, w.percent FROM control.usage_warnings w WHERE w.mailed_at IS NULL
		ORDER BY w.created_at LIMIT most FOR NO KEY UPDATE SKIP LOCKED
	), taken AS (
		UPDATE control.usage_warnings w SET mailed_at = pg_catalog.now() FROM due
		WHERE w.tenant_id = due.tenant_id AND w.month = due.month AND w.percent = due.percent RETURNING w.*
	), judged AS (
		-- No news is what is older than a day, and what a greater one of its month says too, in this batch or in the next.
		SELECT t.*, t.created_at > pg_catalog.now() - interval '1 day' AND NOT EXISTS (SELECT FROM control.usage_warnings g
			WHERE g.tenant_id = t.tenant_id AND g.month = t.month AND g.percent > t.percent AND g.mailed_at IS NULL
				AND g.created_at > pg_catalog.now() - interval '1 day') AS is_news
		FROM taken t
	)
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('tenant', o.name, 'month', j.month, 'percent', j.percent, 'used', j.used,
			'quota', j.quota, 'owners', CASE WHEN j.is_news THEN control.owners_to_mail(j.tenant_id) ELSE '[]' END) ORDER BY j.created_at)
		FROM judged j JOIN control.tenants o ON o.id = j.tenant_id INTO found;
	RETURN COALESCE(found, '[]');
END $$;
