-- What operators do, as partywall_operator, in no tenant's context. Each verb writes who acts and why in its own transaction, to
-- the operators' trail and to the tenant's: a login without other grants on these tables cannot leave it out. `by` is
-- {id, actor, reason, request_id}.

-- Writes down what was done, to whom, and why. `event` is what the tenant's audit trail says of it: its action, resource, subject
-- and the names of what changed; null where it concerns no tenant.
CREATE FUNCTION control.note_operation(by jsonb, of_action text, tenant uuid, of_change jsonb, event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	micros bigint := (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint;
	request text := NULLIF(pg_catalog.left(by ->> 'request_id', 128), '');
BEGIN
	IF control.current_tenant_id() IS NOT NULL OR (by ->> 'id') IS NULL OR COALESCE(by ->> 'actor', '') = ''
			OR (tenant IS NOT NULL AND of_action <> 'tenant.create' AND COALESCE(pg_catalog.btrim(by ->> 'reason'), '') = '') THEN
		RAISE EXCEPTION 'an operator says who acts, and why' USING ERRCODE = '42501', TABLE = 'operator_events';
	END IF;
	-- A UUIDv7 to the microsecond, so that what one request does is listed in its order.
	INSERT INTO control.operator_events (id, created_at, actor_id, actor, action, tenant_id, reason, change, request_id)
		VALUES ((pg_catalog.lpad(pg_catalog.to_hex(micros / 1000), 12, '0') || '7'
				|| pg_catalog.lpad(pg_catalog.to_hex(micros % 1000 * 4), 3, '0')
				|| pg_catalog.right(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 16))::uuid,
			pg_catalog.to_timestamp(micros / 1000 / 1000.0), (by ->> 'id')::uuid, by ->> 'actor', of_action, tenant,
			by ->> 'reason', of_change, request);
	IF tenant IS NOT NULL AND event IS NOT NULL THEN
		PERFORM control.tell(tenant, 'audit', COALESCE((event ->> 'subject')::uuid, tenant), NULL,
			pg_catalog.jsonb_build_object('actor_id', by ->> 'id', 'actor_type', 'operator', 'actor_name', by ->> 'actor', 'request_id', request,
				'reason', by ->> 'reason', 'action', event ->> 'action', 'resource', event ->> 'resource',
				'changed', COALESCE(event -> 'changed', '[]'), 'micros', micros));
	END IF;
END $$;
--> statement-breakpoint
-- Nobody changes the trail, whatever they were granted.
CREATE FUNCTION control.keep_trail() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	RAISE EXCEPTION 'the operators'' trail is not changed' USING ERRCODE = '42501', TABLE = 'operator_events';
END $$;
--> statement-breakpoint
CREATE TRIGGER keep_trail BEFORE UPDATE OR DELETE OR TRUNCATE ON control.operator_events
	FOR EACH STATEMENT EXECUTE FUNCTION control.keep_trail();
--> statement-breakpoint
-- Takes one guess at an operator's code from whoever has the password, and returns what checks it. The guess counts as wrong until
-- sign_in_operator() says otherwise; after ten there is none for 15 minutes. One row is written whoever asks, so that how long it
-- takes tells neither whether there is such an operator nor whether the password was right.
CREATE FUNCTION control.take_operator_guess(address text, hashes text[]) RETURNS TABLE (id uuid, totp_secret text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	o control.operators;
	is_right boolean;
BEGIN
	SELECT * INTO o FROM control.operators a ORDER BY (a.email = address) DESC, a.id LIMIT 1 FOR NO KEY UPDATE;
	is_right := o.email = address AND o.password_hash = ANY (hashes) AND o.disabled_at IS NULL
		AND NOT (o.failures >= 10 AND o.failed_at > pg_catalog.now() - interval '15 minutes');
	UPDATE control.operators u SET failures = u.failures + is_right::integer,
			failed_at = CASE WHEN is_right THEN pg_catalog.now() ELSE u.failed_at END
		WHERE u.id = o.id;
	IF is_right THEN
		RETURN QUERY SELECT o.id, o.totp_secret;
	END IF;
END $$;
--> statement-breakpoint
-- Uses up a code, by its time step, and signs its operator in; returns nothing when it was used before. The password and the secret
-- are kept as they are given: made again by the pepper in use.
CREATE FUNCTION control.sign_in_operator(operator uuid, step bigint, hash text, secret text,
	request text) RETURNS TABLE (id uuid, email text, role text, generation integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	o control.operators;
BEGIN
	UPDATE control.operators u SET last_step = step, failures = 0, failed_at = NULL, signed_in_at = pg_catalog.now(),
			password_hash = hash, totp_secret = secret
		WHERE u.id = operator AND u.disabled_at IS NULL AND u.last_step < step RETURNING * INTO o;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	PERFORM control.note_operation(pg_catalog.jsonb_build_object('id', o.id, 'actor', o.email, 'request_id', request),
		'session.create', NULL, '{}', NULL);
	RETURN QUERY SELECT o.id, o.email, o.role, o.generation;
END $$;
--> statement-breakpoint
-- What operators do to a tenant is written down by note_operation(), with its reason. What time and the command line do has no
-- other actor than this.
CREATE OR REPLACE FUNCTION control.audit_operator() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF control.current_tenant_id() IS NULL AND session_user <> 'partywall_operator' THEN
		PERFORM control.tell(NEW.id, 'audit', NEW.id, NULL, pg_catalog.jsonb_build_object(
			'actor_id', '00000000-0000-0000-0000-000000000000', 'actor_type', 'operator', 'request_id', NULL,
			'action', 'update', 'resource', 'tenants', 'changed', '["status"]'::jsonb,
			'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
-- Changes what operators may change of a tenant: `change` has its plan, status and limits, as far as they change, and `days` is the
-- grace period of one that starts closing. tenant.restore brings back what was before it was closing. Returns false when the tenant
-- has none of these versions, and null when there is no such tenant. What changes nothing is in no trail.
CREATE FUNCTION control.operate_tenant(by jsonb, of_action text, tenant uuid, change jsonb, days integer,
	versions integer[]) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	was control.tenants;
	is_now control.tenants;
	changed jsonb;
BEGIN
	PERFORM control.lock_outbox(tenant);
	SELECT * INTO was FROM control.tenants t WHERE t.id = tenant FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	ELSIF was.version <> ALL (versions) THEN
		RETURN false;
	END IF;
	UPDATE control.tenants t SET plan = COALESCE(change ->> 'plan', t.plan),
			limits = CASE WHEN change ? 'limits' THEN NULLIF(change -> 'limits', 'null') ELSE t.limits END,
			closes_at = CASE change ->> 'status' WHEN 'closing' THEN pg_catalog.now() + days * interval '1 day' ELSE t.closes_at END,
			status = CASE of_action WHEN 'tenant.restore' THEN COALESCE(t.restores_to, t.status)
				ELSE COALESCE(change ->> 'status', t.status) END
		WHERE t.id = tenant RETURNING * INTO is_now;
	SELECT pg_catalog.jsonb_object_agg(n.key, pg_catalog.jsonb_build_object('from', o.value, 'to', n.value)) INTO changed
		FROM pg_catalog.jsonb_each(pg_catalog.to_jsonb(was)) o JOIN pg_catalog.jsonb_each(pg_catalog.to_jsonb(is_now)) n ON n.key = o.key
		WHERE n.value IS DISTINCT FROM o.value AND n.key NOT IN ('updated_at', 'version');
	IF changed IS NOT NULL THEN
		PERFORM control.note_operation(by, of_action, tenant, changed, pg_catalog.jsonb_build_object(
			'action', 'update', 'resource', 'tenants',
			'changed', (SELECT pg_catalog.jsonb_agg(k ORDER BY k) FROM pg_catalog.jsonb_object_keys(changed) k)));
	END IF;
	RETURN true;
END $$;
--> statement-breakpoint
-- Invites a tenant's first owner, in the place of whoever an operator invited before.
CREATE FUNCTION control.invite_owner(tenant uuid, invitation uuid, owner_email text, hash bytea, days integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
	DELETE FROM control.invitations i WHERE i.tenant_id = tenant AND i.invited_by = tenant;
	INSERT INTO control.invitations (id, tenant_id, email, role, token_hash, invited_by, expires_at)
		SELECT invitation, tenant, owner_email, 'owner', hash, tenant, pg_catalog.now() + days * interval '1 day'
		WHERE NOT EXISTS (SELECT FROM control.memberships m WHERE m.tenant_id = tenant)
$$;
--> statement-breakpoint
-- Makes a tenant and invites its first owner, and returns its id. Of one that an operator made before by the same name and plan, and
-- that nobody has entered, it only returns the id: invite_owner() invites them again. Violates tenants_slug when it is another one.
CREATE FUNCTION control.create_tenant(by jsonb, tenant uuid, of_slug text, of_name text, of_plan text, at_site text,
	invitation uuid, owner_email text, hash bytea, days integer) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	before uuid;
BEGIN
	INSERT INTO control.tenants (id, slug, name, plan, site) VALUES (tenant, of_slug, of_name, of_plan, at_site)
		ON CONFLICT (slug) DO NOTHING;
	IF FOUND THEN
		PERFORM control.invite_owner(tenant, invitation, owner_email, hash, days);
		PERFORM control.note_operation(by, 'tenant.create', tenant, pg_catalog.jsonb_build_object('plan',
			pg_catalog.jsonb_build_object('from', NULL, 'to', of_plan)), '{"action": "create", "resource": "tenants"}');
		RETURN tenant;
	END IF;
	SELECT t.id INTO before FROM control.tenants t WHERE t.slug = of_slug AND t.name = of_name AND t.plan = of_plan
		AND NOT EXISTS (SELECT FROM control.memberships m WHERE m.tenant_id = t.id)
		AND EXISTS (SELECT FROM control.operator_events e WHERE e.tenant_id = t.id AND e.action = 'tenant.create');
	IF before IS NULL THEN
		RAISE EXCEPTION 'the slug is taken' USING ERRCODE = '23505', CONSTRAINT = 'tenants_slug', TABLE = 'tenants';
	END IF;
	RETURN before;
END $$;
--> statement-breakpoint
-- Begins the erasure of a tenant, for good. Returns false when there is no such tenant.
CREATE FUNCTION control.erase_for_operator(by jsonb, tenant uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	was text;
	begun boolean;
BEGIN
	PERFORM control.lock_outbox(tenant);
	SELECT t.status INTO was FROM control.tenants t WHERE t.id = tenant;
	begun := control.begin_erasure(tenant);
	IF was <> 'erasing' THEN
		PERFORM control.note_operation(by, 'tenant.erase', tenant, pg_catalog.jsonb_build_object('status',
				pg_catalog.jsonb_build_object('from', was, 'to', 'erasing')),
			'{"action": "update", "resource": "tenants", "changed": ["status"]}');
	END IF;
	RETURN begun;
END $$;
--> statement-breakpoint
-- Begins an export of a tenant, which its own people see and download; returns its id: that of the one under way, if there is one,
-- and null when there is no such tenant. Raises as begin_job() does.
CREATE FUNCTION control.export_for_operator(by jsonb, tenant uuid, job uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	t control.tenants;
	open control.jobs;
BEGIN
	PERFORM control.lock_outbox(tenant);
	SELECT * INTO t FROM control.tenants o WHERE o.id = tenant;
	IF NOT FOUND THEN
		RETURN NULL;
	ELSIF t.status NOT IN ('active', 'read_only', 'closing') THEN
		RAISE EXCEPTION 'not while the tenant is %', t.status USING ERRCODE = 'PW008', TABLE = 'tenants';
	END IF;
	SELECT * INTO open FROM control.jobs j WHERE j.tenant_id = tenant AND j.finished_at IS NULL;
	IF open.kind = 'export' THEN
		RETURN open.id;
	ELSIF open.id IS NOT NULL THEN
		RAISE EXCEPTION 'another job is under way' USING ERRCODE = 'PW009', TABLE = 'jobs';
	END IF;
	INSERT INTO control.jobs (id, tenant_id, kind, source, target, epoch, token)
		VALUES (job, tenant, 'export', t.site, t.site, t.epoch,
			1 + COALESCE((SELECT max(j.token) FROM control.jobs j WHERE j.tenant_id = tenant), 0));
	PERFORM control.note_operation(by, 'tenant.export', tenant, pg_catalog.jsonb_build_object('export', job),
		pg_catalog.jsonb_build_object('action', 'create', 'resource', 'exports', 'subject', job));
	RETURN job;
END $$;
--> statement-breakpoint
-- Ends all sessions of a tenant's people in it. Returns how many there were; null when there is no such tenant.
CREATE FUNCTION control.end_sessions_of_tenant(by jsonb, tenant uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	gone bigint;
BEGIN
	PERFORM control.lock_outbox(tenant);
	PERFORM FROM control.tenants t WHERE t.id = tenant;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	UPDATE control.sessions s SET revoked_at = pg_catalog.now() WHERE s.tenant_id = tenant AND s.revoked_at IS NULL;
	GET DIAGNOSTICS gone = ROW_COUNT;
	DELETE FROM control.challenges c WHERE c.tenant_id = tenant;
	IF gone > 0 THEN
		PERFORM control.note_operation(by, 'tenant.end_sessions', tenant, pg_catalog.jsonb_build_object('sessions', gone),
			'{"action": "delete", "resource": "sessions"}');
	END IF;
	RETURN gone;
END $$;
--> statement-breakpoint
-- How far a job is, in figures alone: where it is in a table says what keys the tenant's rows have.
CREATE FUNCTION control.progress_of(job uuid) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
	SELECT pg_catalog.jsonb_build_object('phase', j.progress -> 'phase', 'rows', j.progress -> 'rows', 'bytes', j.progress -> 'bytes',
		'total', j.progress -> 'total') FROM control.jobs j WHERE j.id = job
$$;
