-- The sums of a tenant's days in a month, and the latest of what is stored. Bytes stored count on each day, as they were last
-- measured, up to 40 days before.
CREATE FUNCTION control.sum_usage(tenant uuid, of_month date) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	today date := (pg_catalog.now() AT TIME ZONE 'UTC')::date;
	last_day date := LEAST((of_month + interval '1 month - 1 day')::date, today);
BEGIN
	INSERT INTO control.usage_months (
		tenant_id, month, requests, refused, units, errors, bytes_out, db_ms, object_ms, object_rows, rows,
			bytes_stored, archive_bytes, byte_days, archive_byte_days)
	SELECT
		tenant, of_month, COALESCE(sum(u.requests), 0), COALESCE(sum(u.refused), 0), COALESCE(sum(u.units), 0),
			COALESCE(sum(u.errors), 0), COALESCE(sum(u.bytes_out), 0), COALESCE(sum(u.db_ms), 0),
			COALESCE(sum(u.object_ms), 0), COALESCE(sum(u.object_rows), 0), s.rows, s.bytes_stored, s.archive_bytes,
			s.byte_days, s.archive_byte_days
	FROM (
		SELECT COALESCE(sum(m.bytes_stored), 0) AS byte_days, COALESCE(sum(m.archive_bytes), 0) AS archive_byte_days,
			(pg_catalog.array_agg(m.rows ORDER BY d DESC))[1] AS rows,
			(pg_catalog.array_agg(m.bytes_stored ORDER BY d DESC))[1] AS bytes_stored,
			(pg_catalog.array_agg(m.archive_bytes ORDER BY d DESC))[1] AS archive_bytes
		FROM pg_catalog.generate_series(of_month::timestamp, last_day::timestamp, interval '1 day') d
		CROSS JOIN LATERAL (SELECT n.rows, n.bytes_stored, n.archive_bytes FROM control.usage_days n
			WHERE n.tenant_id = tenant AND n.day <= d::date AND n.day > d::date - 40 AND n.rows IS NOT NULL
			ORDER BY n.day DESC LIMIT 1) m) s
	LEFT JOIN control.usage_days u ON u.tenant_id = tenant AND u.day BETWEEN of_month AND last_day
	GROUP BY s.rows, s.bytes_stored, s.archive_bytes, s.byte_days, s.archive_byte_days
	ON CONFLICT (tenant_id, month) DO UPDATE SET
		requests = excluded.requests, refused = excluded.refused, units = excluded.units, errors = excluded.errors,
			bytes_out = excluded.bytes_out, db_ms = excluded.db_ms, object_ms = excluded.object_ms,
			object_rows = excluded.object_rows, rows = excluded.rows, bytes_stored = excluded.bytes_stored,
			archive_bytes = excluded.archive_bytes, byte_days = excluded.byte_days,
			archive_byte_days = excluded.archive_byte_days;
END $$;
--> statement-breakpoint
-- Takes the figures that the context's tenant's object sends: absolute ones, each with the number of the row that it is
-- stored by there. One that comes again, late, or after later ones changes nothing. `periods` has [kind, start, key, seq,
-- [figures]], `warning` what share of the month's limit is used, if it is worth a warning: the first of its kind in the
-- month becomes an audit event, and the outbox's head is returned then.
CREATE FUNCTION control.record_usage(periods jsonb, warning jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := control.current_tenant_id();
	warning_id uuid;
	of_percent integer := (warning ->> 'percent')::integer;
	of_month date := (warning ->> 'month')::date;
BEGIN
	PERFORM control.only_object();
	-- Before any other lock, as every change of a control plane.
	IF of_percent IS NOT NULL AND NOT EXISTS (SELECT FROM control.usage_warnings w
			WHERE w.tenant_id = tenant AND w.month = of_month AND w.percent = of_percent) THEN
		PERFORM control.lock_outbox(tenant);
		INSERT INTO control.usage_warnings (tenant_id, month, percent, used, quota)
			VALUES (tenant, of_month, of_percent, (warning ->> 'used')::bigint, (warning ->> 'quota')::bigint)
			ON CONFLICT DO NOTHING RETURNING id INTO warning_id;
		IF warning_id IS NOT NULL THEN
			-- Nobody has acted; the deployment is who says it.
			PERFORM control.tell(tenant, 'audit', warning_id, NULL, pg_catalog.jsonb_build_object(
				'actor_id', '00000000-0000-0000-0000-000000000000', 'actor_type', 'operator', 'request_id', NULL,
				'action', 'create', 'resource', 'usage_warnings',
				'changed', pg_catalog.jsonb_build_array('month_' || of_percent),
				'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
		END IF;
	END IF;
	INSERT INTO control.usage_days AS u (
		tenant_id, day, requests, refused, units, errors, bytes_out, db_ms, object_ms, object_rows, seq)
	SELECT
		tenant, (p ->> 1)::date, (p -> 4 ->> 0)::bigint, (p -> 4 ->> 1)::bigint, (p -> 4 ->> 2)::bigint,
			(p -> 4 ->> 3)::bigint, (p -> 4 ->> 4)::bigint, (p -> 4 ->> 5)::bigint, (p -> 4 ->> 6)::bigint,
			(p -> 4 ->> 7)::bigint, (p ->> 3)::bigint
	FROM pg_catalog.jsonb_array_elements(periods) p WHERE p ->> 0 = 'day'
	ON CONFLICT (tenant_id, day) DO UPDATE SET
		requests = excluded.requests, refused = excluded.refused, units = excluded.units, errors = excluded.errors,
			bytes_out = excluded.bytes_out, db_ms = excluded.db_ms, object_ms = excluded.object_ms,
			object_rows = excluded.object_rows, seq = excluded.seq
		WHERE u.seq < excluded.seq;
	INSERT INTO control.usage_hours AS u (
		tenant_id, hour, requests, refused, units, errors, bytes_out, db_ms, object_ms, object_rows, seq)
	SELECT
		tenant, (p ->> 1)::timestamptz, (p -> 4 ->> 0)::bigint, (p -> 4 ->> 1)::bigint, (p -> 4 ->> 2)::bigint,
			(p -> 4 ->> 3)::bigint, (p -> 4 ->> 4)::bigint, (p -> 4 ->> 5)::bigint, (p -> 4 ->> 6)::bigint,
			(p -> 4 ->> 7)::bigint, (p ->> 3)::bigint
	FROM pg_catalog.jsonb_array_elements(periods) p WHERE p ->> 0 = 'hour'
	ON CONFLICT (tenant_id, hour) DO UPDATE SET
		requests = excluded.requests, refused = excluded.refused, units = excluded.units, errors = excluded.errors,
			bytes_out = excluded.bytes_out, db_ms = excluded.db_ms, object_ms = excluded.object_ms,
			object_rows = excluded.object_rows, seq = excluded.seq
		WHERE u.seq < excluded.seq;
	INSERT INTO control.usage_keys AS u (
		tenant_id, day, key_id, requests, refused, units, errors, bytes_out, db_ms, object_ms, object_rows, seq)
	SELECT
		tenant, (p ->> 1)::date, (p ->> 2)::uuid, (p -> 4 ->> 0)::bigint, (p -> 4 ->> 1)::bigint,
			(p -> 4 ->> 2)::bigint, (p -> 4 ->> 3)::bigint, (p -> 4 ->> 4)::bigint, (p -> 4 ->> 5)::bigint,
			(p -> 4 ->> 6)::bigint, (p -> 4 ->> 7)::bigint, (p ->> 3)::bigint
	FROM pg_catalog.jsonb_array_elements(periods) p WHERE p ->> 0 = 'key'
	ON CONFLICT (tenant_id, key_id, day) DO UPDATE SET
		requests = excluded.requests, refused = excluded.refused, units = excluded.units, errors = excluded.errors,
			bytes_out = excluded.bytes_out, db_ms = excluded.db_ms, object_ms = excluded.object_ms,
			object_rows = excluded.object_rows, seq = excluded.seq
		WHERE u.seq < excluded.seq;
	PERFORM control.sum_usage(tenant, m.month) FROM (SELECT DISTINCT pg_catalog.date_trunc('month', (p ->> 1)::timestamp)::date AS month
		FROM pg_catalog.jsonb_array_elements(periods) p WHERE p ->> 0 = 'day') m;
	RETURN CASE WHEN warning_id IS NOT NULL THEN (SELECT h.head FROM control.outbox_heads h WHERE h.tenant_id = tenant) END;
END $$;
--> statement-breakpoint
-- Takes what is stored of the context's tenant at its site, as measured today, and notes its exports' archives beside it.
CREATE FUNCTION control.record_storage(row_count bigint, bytes bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := control.current_tenant_id();
	today date := (pg_catalog.now() AT TIME ZONE 'UTC')::date;
BEGIN
	PERFORM control.only_object();
	INSERT INTO control.usage_days (tenant_id, day, rows, bytes_stored, archive_bytes)
		SELECT tenant, today, row_count, bytes, COALESCE(sum((j.result ->> 'bytes')::bigint), 0) FROM control.jobs j
			WHERE j.tenant_id = tenant AND j.kind = 'export' AND j.outcome = 'done' AND j.kept_until > pg_catalog.now()
		ON CONFLICT (tenant_id, day) DO UPDATE SET rows = excluded.rows, bytes_stored = excluded.bytes_stored,
			archive_bytes = excluded.archive_bytes;
	PERFORM control.sum_usage(tenant, pg_catalog.date_trunc('month', today::timestamp)::date);
END $$;
--> statement-breakpoint
-- Adds up the last three hours and days of all tenants, each time anew. How many tenants there are, and what they store, is of
-- the hour or day that it is now.
CREATE FUNCTION control.total_usage() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	this_hour timestamptz := pg_catalog.date_trunc('hour', pg_catalog.now(), 'UTC');
	this_day timestamptz := pg_catalog.date_trunc('day', pg_catalog.now(), 'UTC');
	today date := (pg_catalog.now() AT TIME ZONE 'UTC')::date;
BEGIN
	IF control.current_tenant_id() IS NOT NULL THEN
		RAISE EXCEPTION 'totals are of no tenant' USING ERRCODE = '42501', TABLE = 'usage_totals';
	END IF;
	INSERT INTO control.usage_totals AS t (
		period, start, tenants, active, requests, refused, units, errors, bytes_out, db_ms, object_ms, object_rows,
			rows, bytes_stored, archive_bytes)
	SELECT
		p.period, p.start, (SELECT count(*) FROM control.tenants), p.active, p.requests, p.refused, p.units, p.errors,
			p.bytes_out, p.db_ms, p.object_ms, p.object_rows, m.rows, m.bytes_stored, m.archive_bytes
	FROM (
		SELECT
			'hour' AS period, u.hour AS start, count(*) FILTER (WHERE u.requests + u.refused > 0) AS active,
				sum(u.requests) AS requests, sum(u.refused) AS refused, sum(u.units) AS units, sum(u.errors) AS errors,
				sum(u.bytes_out) AS bytes_out, sum(u.db_ms) AS db_ms, sum(u.object_ms) AS object_ms,
				sum(u.object_rows) AS object_rows
		FROM control.usage_hours u WHERE u.hour > this_hour - interval '3 hours' GROUP BY u.hour
		UNION ALL
		SELECT
			'day', u.day::timestamp AT TIME ZONE 'UTC', count(*) FILTER (WHERE u.requests + u.refused > 0),
				sum(u.requests), sum(u.refused), sum(u.units), sum(u.errors), sum(u.bytes_out), sum(u.db_ms),
				sum(u.object_ms), sum(u.object_rows)
		FROM control.usage_days u WHERE u.day > today - 3 GROUP BY u.day) p
	LEFT JOIN (SELECT sum(u.rows) AS rows, sum(u.bytes_stored) AS bytes_stored, sum(u.archive_bytes) AS archive_bytes
		FROM control.usage_months u WHERE u.month = pg_catalog.date_trunc('month', today::timestamp)::date) m
		ON p.period = 'day' AND p.start = this_day
	ON CONFLICT (period, start) DO UPDATE SET
		tenants = CASE WHEN excluded.start >= CASE excluded.period WHEN 'hour' THEN this_hour ELSE this_day END THEN excluded.tenants ELSE t.tenants END,
			active = excluded.active, requests = excluded.requests, refused = excluded.refused, units = excluded.units,
			errors = excluded.errors, bytes_out = excluded.bytes_out, db_ms = excluded.db_ms,
			object_ms = excluded.object_ms, object_rows = excluded.object_rows, rows = COALESCE(excluded.rows, t.rows),
			bytes_stored = COALESCE(excluded.bytes_stored, t.bytes_stored),
			archive_bytes = COALESCE(excluded.archive_bytes, t.archive_bytes);
	DELETE FROM control.usage_totals t WHERE t.period = 'hour' AND t.start < this_hour - interval '14 days';
END $$;
--> statement-breakpoint
-- Deletes what is old of the context's tenant's usage, some rows of each kind, for its object; returns whether there may be
-- more: hours after 14 days, keys' days after 400, days and months after three years.
CREATE FUNCTION control.forget_usage(most integer) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := control.current_tenant_id();
	today date := (pg_catalog.now() AT TIME ZONE 'UTC')::date;
	is_more boolean := false;
	gone bigint;
BEGIN
	PERFORM control.only_object();
	WITH past AS (SELECT u.hour FROM control.usage_hours u WHERE u.tenant_id = tenant
		AND u.hour < pg_catalog.now() - interval '14 days' LIMIT most)
	DELETE FROM control.usage_hours u USING past WHERE u.tenant_id = tenant AND u.hour = past.hour;
	GET DIAGNOSTICS gone = ROW_COUNT;
	is_more := is_more OR gone = most;
	WITH past AS (SELECT u.key_id, u.day FROM control.usage_keys u WHERE u.tenant_id = tenant AND u.day < today - 400 LIMIT most)
	DELETE FROM control.usage_keys u USING past WHERE u.tenant_id = tenant AND u.key_id = past.key_id AND u.day = past.day;
	GET DIAGNOSTICS gone = ROW_COUNT;
	is_more := is_more OR gone = most;
	DELETE FROM control.usage_days u WHERE u.tenant_id = tenant AND u.day < today - 1096;
	DELETE FROM control.usage_months u WHERE u.tenant_id = tenant AND u.month < today - 1096;
	DELETE FROM control.usage_warnings w WHERE w.tenant_id = tenant AND w.month < today - 1096;
	RETURN is_more;
END $$;
--> statement-breakpoint
-- As before, but that it counts what every table of the control plane has of the tenant, whichever there are.
CREATE OR REPLACE FUNCTION control.erase_tenant(tenant uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	people uuid[];
	counts jsonb;
	of_table text;
	many bigint;
BEGIN
	PERFORM control.lock_outbox(tenant);
	PERFORM FROM control.tenants t WHERE t.id = tenant AND t.status = 'erasing';
	IF NOT FOUND THEN
		RETURN;
	END IF;
	-- Locked, so that nobody becomes a member elsewhere meanwhile.
	people := ARRAY(SELECT u.id FROM control.users u
		WHERE u.id IN (SELECT m.user_id FROM control.memberships m WHERE m.tenant_id = tenant)
			OR u.issuer_id IN (SELECT i.id FROM control.issuers i WHERE i.tenant_id = tenant)
		ORDER BY u.id FOR UPDATE);
	people := ARRAY(SELECT p FROM pg_catalog.unnest(people) p
		WHERE NOT EXISTS (SELECT FROM control.memberships m WHERE m.user_id = p AND m.tenant_id <> tenant));
	counts := pg_catalog.jsonb_build_object('tenants', 1, 'users', pg_catalog.cardinality(people));
	-- The head of the outbox is no row of anybody's.
	FOR of_table IN SELECT c.relname FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
			WHERE c.relkind = 'r' AND c.relname <> 'outbox_heads' AND c.relnamespace =
				(SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = 'control.tenants'::pg_catalog.regclass) LOOP
		EXECUTE pg_catalog.format('SELECT count(*) FROM control.%I WHERE tenant_id = $1', of_table) INTO many USING tenant;
		counts := counts || pg_catalog.jsonb_build_object(of_table, many);
	END LOOP;
	-- First: without it the triggers of what follows have nobody to tell.
	DELETE FROM control.outbox_heads WHERE tenant_id = tenant;
	DELETE FROM control.jobs WHERE tenant_id = tenant;
	DELETE FROM control.tenants WHERE id = tenant;
	DELETE FROM control.users WHERE id = ANY (people);
	UPDATE control.erasures e SET worked_at = pg_catalog.now(),
			erased = e.erased || pg_catalog.jsonb_build_object('control', counts)
		WHERE e.id = tenant;
END $$;
