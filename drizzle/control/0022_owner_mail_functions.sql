-- What a tenant's owners are mailed of: each is taken once, before it is mailed, so that nobody is mailed twice.

-- What was over before there were these mails is no news.
UPDATE control.support_sessions s SET told = 'ended' WHERE NOT control.is_open(s);
--> statement-breakpoint
UPDATE control.usage_warnings SET mailed_at = created_at;
--> statement-breakpoint
-- The owners of a tenant whom a mail reaches: [{email, locale}]. Not at an address that nobody has shown to be theirs.
CREATE FUNCTION control.owners_to_mail(tenant uuid) RETURNS jsonb LANGUAGE sql STABLE SET search_path = '' AS $$
	SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('email', u.email, 'locale', u.locale) ORDER BY u.id), '[]')
	FROM control.memberships m JOIN control.users u ON u.id = m.user_id
	WHERE m.tenant_id = tenant AND m.role = 'owner' AND (u.email_verified_at IS NOT NULL OR u.issuer_id IS NOT NULL)
		AND u.email NOT LIKE '%@displaced.invalid'
$$;
--> statement-breakpoint
-- Takes what has become of sessions of support since their owners were last told, of this tenant or of all: that an operator asks an
-- owner, has begun, or is over. Of one that never began its end is no news. Some at once.
CREATE FUNCTION control.take_support_mails(of_tenant uuid, most integer) RETURNS jsonb
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
			'owners', control.owners_to_mail(t.tenant_id)) ORDER BY t.created_at, t.id)
		FROM taken t JOIN control.tenants o ON o.id = t.tenant_id
		WHERE t.told <> 'ended' OR t.started_at IS NOT NULL INTO found;
	RETURN COALESCE(found, '[]');
END $$;
--> statement-breakpoint
-- Takes the warnings of a month's limit that nobody was mailed yet, of several in a month the greatest. Some at once; what is older
-- than a day is no news any more.
CREATE FUNCTION control.take_usage_mails(most integer) RETURNS jsonb
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
	), latest AS (
		SELECT DISTINCT ON (t.tenant_id, t.month) t.* FROM taken t WHERE t.created_at > pg_catalog.now() - interval '1 day'
		ORDER BY t.tenant_id, t.month, t.percent DESC
	)
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('tenant', o.name, 'month', g.month, 'percent', g.percent, 'used', g.used,
			'quota', g.quota, 'owners', control.owners_to_mail(g.tenant_id)) ORDER BY g.created_at)
		FROM latest g JOIN control.tenants o ON o.id = g.tenant_id INTO found;
	RETURN COALESCE(found, '[]');
END $$;
