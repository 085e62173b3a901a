-- A tenant's status changes as src/tenant-states.ts says, whoever changes it and on whatever path. Without a context that is
-- whoever operates the deployment; partywall_identity is the end of the grace period. An owner brings back what was before
-- it was closing, and nothing more than that. may_follow() is made by db:migrate.
CREATE FUNCTION control.change_status() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	by_whom text := COALESCE(control.acting_as(), CASE session_user WHEN 'partywall_identity' THEN 'time' ELSE 'operator' END);
BEGIN
	IF NEW.status = OLD.status THEN
		NEW.closes_at := OLD.closes_at;
		NEW.restores_to := OLD.restores_to;
		RETURN NEW;
	END IF;
	IF NOT control.may_follow(OLD.status, NEW.status, by_whom)
			OR by_whom = 'time' AND OLD.closes_at > pg_catalog.now()
			OR by_whom = 'owner' AND OLD.status = 'closing' AND NEW.status <> OLD.restores_to THEN
		RAISE EXCEPTION 'a tenant that is % does not become %', OLD.status, NEW.status
			USING ERRCODE = 'PW008', TABLE = 'tenants';
	END IF;
	NEW.restores_to := CASE NEW.status WHEN 'closing' THEN OLD.status END;
	NEW.closes_at := CASE NEW.status WHEN 'closing' THEN COALESCE(NEW.closes_at, pg_catalog.now() + interval '30 days') END;
	RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER change_status BEFORE UPDATE OF status, closes_at, restores_to ON control.tenants
	FOR EACH ROW EXECUTE FUNCTION control.change_status();
--> statement-breakpoint
-- What is done to a tenant from outside is in its audit trail too. Operators have no ids of their own, so theirs is all zeros.
CREATE FUNCTION control.audit_operator() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF control.current_tenant_id() IS NULL THEN
		PERFORM control.tell(NEW.id, 'audit', NEW.id, NULL, pg_catalog.jsonb_build_object(
			'actor_id', '00000000-0000-0000-0000-000000000000', 'actor_type', 'operator', 'request_id', NULL,
			'action', 'update', 'resource', 'tenants', 'changed', '["status"]'::jsonb,
			'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER audit_operator AFTER UPDATE OF status ON control.tenants
	FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION control.audit_operator();
--> statement-breakpoint
-- Begins an export or an import of the context's tenant, on behalf of whoever acts, and returns its id: that of the export
-- under way, if there is one. Raises PW008 when the tenant's status does not allow it, and PW009 when another job is under
-- way.
CREATE FUNCTION control.begin_job(job uuid, of_kind text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant control.tenants;
	open control.jobs;
	acting text := control.acting_as();
BEGIN
	IF NOT COALESCE(of_kind = 'export' AND acting IN ('admin', 'owner', 'api_key') OR of_kind = 'import' AND acting = 'owner', false) THEN
		RAISE EXCEPTION 'the actor may not begin this' USING ERRCODE = '42501', TABLE = 'jobs';
	END IF;
	PERFORM control.lock_outbox(control.current_tenant_id());
	SELECT * INTO tenant FROM control.tenants t WHERE t.id = control.current_tenant_id();
	IF NOT (tenant.status = 'active' OR of_kind = 'export' AND tenant.status IN ('read_only', 'closing')) THEN
		RAISE EXCEPTION 'not while the tenant is %', tenant.status USING ERRCODE = 'PW008', TABLE = 'tenants';
	END IF;
	SELECT * INTO open FROM control.jobs j WHERE j.tenant_id = tenant.id AND j.finished_at IS NULL;
	IF open.kind = of_kind AND (of_kind = 'export' OR open.id = job) THEN
		RETURN open.id;
	ELSIF open.id IS NOT NULL THEN
		RAISE EXCEPTION 'another job is under way' USING ERRCODE = 'PW009', TABLE = 'jobs';
	END IF;
	INSERT INTO control.jobs (id, tenant_id, kind, source, target, epoch, token)
		VALUES (job, tenant.id, of_kind, tenant.site, tenant.site, tenant.epoch,
			1 + COALESCE((SELECT max(j.token) FROM control.jobs j WHERE j.tenant_id = tenant.id), 0));
	PERFORM control.tell(tenant.id, 'audit', job, NULL, control.actor() || pg_catalog.jsonb_build_object(
		'action', 'create', 'resource', of_kind || 's', 'changed', '[]'::jsonb,
		'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	RETURN job;
END $$;
--> statement-breakpoint
-- Raises unless the tenant's own object acts. What runs a tenant's jobs does so in its name.
CREATE FUNCTION control.only_object() RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	IF control.acting_as() IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'a job is the tenant''s object''s' USING ERRCODE = '42501', TABLE = 'jobs';
	END IF;
END $$;
--> statement-breakpoint
-- Takes the context's tenant's job over, as a new attempt: what an earlier one still sends to a site does nothing from the
-- new one's first statement there on. Returns nothing for a job that has ended. A tenant's erasure goes by the tenant's id: its
-- own is random, since the ids of other jobs are of whoever begins them.
CREATE FUNCTION control.claim_job(job uuid) RETURNS TABLE (token bigint, epoch integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.only_object();
	PERFORM control.lock_outbox(control.current_tenant_id());
	RETURN QUERY UPDATE control.jobs j SET worked_at = pg_catalog.now(),
			token = 1 + (SELECT max(o.token) FROM control.jobs o WHERE o.tenant_id = j.tenant_id)
		WHERE (j.id = job OR j.kind = 'erasure' AND j.tenant_id = job)
			AND j.tenant_id = control.current_tenant_id() AND j.finished_at IS NULL
		RETURNING j.token, j.epoch;
END $$;
--> statement-breakpoint
-- Notes how far an attempt has come, and whether the job is still its own.
CREATE FUNCTION control.note_job(job uuid, of_token bigint, of_progress jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.only_object();
	UPDATE control.jobs j SET worked_at = pg_catalog.now(), progress = of_progress
		WHERE j.id = job AND j.tenant_id = control.current_tenant_id() AND j.token = of_token AND j.finished_at IS NULL;
	RETURN FOUND;
END $$;
--> statement-breakpoint
-- Ends a job, as its last attempt. What it has made is kept for so many days.
CREATE FUNCTION control.finish_job(job uuid, of_token bigint, of_outcome text, of_result jsonb, days integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.only_object();
	UPDATE control.jobs j SET finished_at = pg_catalog.now(), outcome = of_outcome, result = of_result,
			kept_until = pg_catalog.now() + days * interval '1 day'
		WHERE j.id = job AND j.tenant_id = control.current_tenant_id() AND j.token = of_token AND j.finished_at IS NULL;
	RETURN FOUND;
END $$;
--> statement-breakpoint
-- The archive of an export is no longer kept. Whoever may begin exports may delete them, and the tenant's object when their
-- time is over. The row stays: the next attempt's token is greater than its.
CREATE FUNCTION control.drop_export(job uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF NOT COALESCE(control.acting_as() IN ('admin', 'owner', 'api_key', 'object'), false) THEN
		RAISE EXCEPTION 'the actor may not delete exports' USING ERRCODE = '42501', TABLE = 'jobs';
	END IF;
	PERFORM control.lock_outbox(control.current_tenant_id());
	UPDATE control.jobs j SET kept_until = NULL
		WHERE j.id = job AND j.tenant_id = control.current_tenant_id() AND j.kind = 'export' AND j.kept_until IS NOT NULL;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	IF control.acting_as() <> 'object' THEN
		PERFORM control.tell(control.current_tenant_id(), 'audit', job, NULL, control.actor() || pg_catalog.jsonb_build_object(
			'action', 'delete', 'resource', 'exports', 'changed', '[]'::jsonb,
			'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	END IF;
	RETURN true;
END $$;
--> statement-breakpoint
-- A site as src/db/places.ts has it.
CREATE FUNCTION control.site_json(site control.sites) RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
	SELECT pg_catalog.jsonb_build_object('name', site.name, 'schema', site.schema, 'server', site.server, 'host', site.host,
		'database', site.database, 'secret', site.secret, 'generation', site.generation)
$$;
--> statement-breakpoint
-- Begins the erasure of a tenant: at once when whoever operates the deployment says so, and after the grace period
-- (change_status()). Returns false when there is no such tenant. It takes the place of any job under way, and its token is
-- greater: what that still sends to a site does nothing once the erasure was there. The ledger has every place where the
-- tenant ever had rows: its sites, and what restores have kept beside them.
CREATE FUNCTION control.begin_erasure(tenant uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	was text;
BEGIN
	IF control.current_tenant_id() IS NOT NULL THEN
		RAISE EXCEPTION 'no tenant erases itself' USING ERRCODE = '42501', TABLE = 'erasures';
	END IF;
	PERFORM control.lock_outbox(tenant);
	SELECT t.status INTO was FROM control.tenants t WHERE t.id = tenant;
	IF was IS NULL OR was = 'erasing' THEN
		RETURN was IS NOT NULL;
	END IF;
	UPDATE control.tenants t SET status = 'erasing' WHERE t.id = tenant;
	UPDATE control.jobs j SET finished_at = pg_catalog.now(), outcome = 'abandoned'
		WHERE j.tenant_id = tenant AND j.finished_at IS NULL;
	INSERT INTO control.jobs (id, tenant_id, kind, source, target, epoch, token)
		SELECT pg_catalog.gen_random_uuid(), tenant, 'erasure', t.site, t.site, t.epoch,
			1 + COALESCE((SELECT max(j.token) FROM control.jobs j WHERE j.tenant_id = t.id), 0)
		FROM control.tenants t WHERE t.id = tenant;
	-- A tenant that came back from a backup has been erased before.
	DELETE FROM control.erasures e WHERE e.id = tenant;
	INSERT INTO control.erasures (id, places)
		SELECT tenant, pg_catalog.jsonb_agg(place ORDER BY place ->> 'name') FROM (
			SELECT control.site_json(s) AS place FROM control.sites s
				WHERE s.name IN (SELECT t.site FROM control.tenants t WHERE t.id = tenant)
					OR s.name IN (SELECT pg_catalog.unnest(ARRAY[j.source, j.target]) FROM control.jobs j WHERE j.tenant_id = tenant)
			UNION ALL
			SELECT control.site_json(s) || pg_catalog.jsonb_build_object('name', 'undo-' || hex, 'schema', 'site_undo_' || hex)
				FROM control.jobs j JOIN control.sites s ON s.name = j.source, pg_catalog.replace(j.id::text, '-', '') hex
				WHERE j.tenant_id = tenant AND j.kind = 'restore') p;
	RETURN true;
END $$;
--> statement-breakpoint
-- Deletes all that the control plane has of a tenant that is being erased, and the people who are in no other one. The ledger
-- says how many rows of each table. Nothing is left to do when that was done before.
CREATE FUNCTION control.erase_tenant(tenant uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	people uuid[];
	counts jsonb;
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
	SELECT pg_catalog.jsonb_object_agg(c.name, c.many) INTO counts FROM (
		SELECT 'api_keys' AS name, count(*) AS many FROM control.api_keys WHERE tenant_id = tenant
		UNION ALL SELECT 'invitations', count(*) FROM control.invitations WHERE tenant_id = tenant
		UNION ALL SELECT 'issuers', count(*) FROM control.issuers WHERE tenant_id = tenant
		UNION ALL SELECT 'jobs', count(*) FROM control.jobs WHERE tenant_id = tenant
		UNION ALL SELECT 'memberships', count(*) FROM control.memberships WHERE tenant_id = tenant
		UNION ALL SELECT 'outbox', count(*) FROM control.outbox WHERE tenant_id = tenant
		UNION ALL SELECT 'sessions', count(*) FROM control.sessions WHERE tenant_id = tenant
		UNION ALL SELECT 'tenants', 1
		UNION ALL SELECT 'users', pg_catalog.cardinality(people)) c;
	-- First: without it the triggers of what follows have nobody to tell.
	DELETE FROM control.outbox_heads WHERE tenant_id = tenant;
	DELETE FROM control.jobs WHERE tenant_id = tenant;
	DELETE FROM control.tenants WHERE id = tenant;
	DELETE FROM control.users WHERE id = ANY (people);
	UPDATE control.erasures e SET worked_at = pg_catalog.now(),
			erased = e.erased || pg_catalog.jsonb_build_object('control', counts)
		WHERE e.id = tenant;
END $$;
--> statement-breakpoint
-- Notes how many rows there were at a place, the first time that they were counted.
CREATE FUNCTION control.note_erasure(tenant uuid, place text, counts jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	UPDATE control.erasures e SET worked_at = pg_catalog.now(), erased = pg_catalog.jsonb_build_object(place, counts) || e.erased
		WHERE e.id = tenant AND e.finished_at IS NULL;
END $$;
--> statement-breakpoint
-- An erasure is done, and this is its receipt; the first one stays.
CREATE FUNCTION control.finish_erasure(tenant uuid, of_receipt text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	UPDATE control.erasures e SET worked_at = pg_catalog.now(), finished_at = pg_catalog.now(), receipt = of_receipt
		WHERE e.id = tenant AND e.finished_at IS NULL AND NOT EXISTS (SELECT FROM control.tenants t WHERE t.id = tenant);
END $$;
