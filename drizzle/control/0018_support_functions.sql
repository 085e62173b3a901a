-- Operators in a tenant: who lets them in, and what ends that. Whatever changes a session here writes the outbox, so that the
-- tenant's object and its trail know.

-- The tenant of this transaction's signed context. Raises SQLSTATE 28000 when the context is forged, expired, made for
-- a site or for another role, and when partywall_account has none. Without a context it is null for others: they sign
-- people in, or operate the deployment. An operator whom the tenant lets in reads alone: 25006 outside of a READ ONLY
-- transaction. plpgsql, and one query, so that no key becomes a plan's constant.
CREATE OR REPLACE FUNCTION control.current_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	context text := pg_catalog.current_setting('app.tenant', true);
	genuine boolean;
BEGIN
	IF pg_catalog.length(context) = 170 THEN
		SELECT pg_catalog.encode(pg_catalog.sha256(k.outer_pad || pg_catalog.sha256(k.inner_pad
				|| pg_catalog.convert_to(pg_catalog.left(context, 105) || '.control.' || session_user, 'UTF8'))), 'hex')
			= pg_catalog.right(context, 64)
			INTO genuine
			FROM partywall.context_keys k
			WHERE k.kid = pg_catalog.substr(context, 4, 8);
		-- Only what the MAC covers is parsed: null AND … would parse what a forger wrote.
		IF genuine THEN
			IF pg_catalog.substr(context, 96, 10)::bigint
					> pg_catalog.date_part('epoch', pg_catalog.statement_timestamp()) THEN
				IF pg_catalog.left(context, 1) IN ('t', 'w') AND pg_catalog.current_setting('transaction_read_only') <> 'on' THEN
					RAISE EXCEPTION 'an operator may only read' USING ERRCODE = '25006';
				END IF;
				RETURN pg_catalog.substr(context, 13, 36)::uuid;
			END IF;
		END IF;
	ELSIF COALESCE(context, '') = '' AND session_user <> 'partywall_account' THEN
		RETURN NULL;
	END IF;
	RAISE EXCEPTION 'no valid tenant context' USING ERRCODE = '28000';
END $$;
--> statement-breakpoint
-- As what the context's actor acts: a role, api_key, invitation, issuer, the tenant's object, or an operator
-- whom the tenant lets in; null and errors as of
-- current_tenant_id().
CREATE OR REPLACE FUNCTION control.acting_as() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = '' AS $$
BEGIN
	IF control.current_tenant_id() IS NULL THEN
		RETURN NULL;
	END IF;
	-- A letter that is none of these raises too.
	CASE pg_catalog.left(pg_catalog.current_setting('app.tenant'), 1)
		WHEN 'v' THEN RETURN 'viewer';
		WHEN 'm' THEN RETURN 'member';
		WHEN 'a' THEN RETURN 'admin';
		WHEN 'o' THEN RETURN 'owner';
		WHEN 'k' THEN RETURN 'api_key';
		WHEN 'i' THEN RETURN 'invitation';
		WHEN 's' THEN RETURN 'issuer';
		WHEN 'd' THEN RETURN 'object';
		WHEN 't' THEN RETURN 'support';
		WHEN 'w' THEN RETURN 'support_write';
	END CASE;
END $$;
--> statement-breakpoint
-- Whether a session of support may still be approved or used. What no owner has answered lapses after a day.
CREATE FUNCTION control.is_open(s control.support_sessions) RETURNS boolean LANGUAGE sql STABLE SET search_path = '' AS $$
	SELECT s.ended_at IS NULL AND COALESCE(s.expires_at, s.created_at + interval '1 day') > pg_catalog.now()
$$;
--> statement-breakpoint
-- An owner alone says whether operators may look in, on whatever path: not an admin, and no operator.
CREATE FUNCTION control.guard_support_access() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF control.acting_as() IS DISTINCT FROM 'owner' THEN
		RAISE EXCEPTION 'an owner lets operators in' USING ERRCODE = '42501', TABLE = 'tenants';
	END IF;
	RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER guard_support_access BEFORE UPDATE OF support_access ON control.tenants
	FOR EACH ROW WHEN (OLD.support_access <> NEW.support_access) EXECUTE FUNCTION control.guard_support_access();
--> statement-breakpoint
-- Asks for support of a tenant, on behalf of an operator: `by` is as note_operation() takes it, and its reason is shown to the
-- tenant. Returns `nobody`, `missing`, `closed` or `off` where that cannot be, else how the session is: `active`, or `asked` until
-- an owner approves. It takes the place of what the same operator had open there.
CREATE FUNCTION control.ask_support(by jsonb, session uuid, of_tenant uuid, for_minutes integer, may_write boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	person control.operators;
	known control.tenants;
	state text;
BEGIN
	-- Locked, so that a removal at the same time ends what begins here.
	SELECT * INTO person FROM control.operators o WHERE o.id = (by ->> 'id')::uuid AND o.disabled_at IS NULL
		AND o.role IN ('support', 'admin') FOR SHARE;
	PERFORM control.lock_outbox(of_tenant);
	SELECT * INTO known FROM control.tenants t WHERE t.id = of_tenant;
	IF NOT FOUND THEN
		RETURN 'missing';
	ELSIF person.id IS NULL THEN
		RETURN 'nobody';
	ELSIF known.status NOT IN ('active', 'read_only') THEN
		RETURN 'closed';
	ELSIF known.support_access = 'off' THEN
		RETURN 'off';
	END IF;
	state := CASE known.support_access WHEN 'on' THEN 'active' ELSE 'asked' END;
	UPDATE control.support_sessions s SET ended_at = pg_catalog.now(), end_reason = 'replaced', ended_by_type = 'operator',
			ended_by = person.id
		WHERE s.tenant_id = of_tenant AND s.operator_id = person.id AND control.is_open(s);
	INSERT INTO control.support_sessions (tenant_id, id, operator_id, operator, reason, minutes, write, started_at, expires_at)
		SELECT of_tenant, session, person.id, person.email, by ->> 'reason', for_minutes, may_write, at,
			at + for_minutes * interval '1 minute'
		FROM (SELECT CASE state WHEN 'active' THEN pg_catalog.now() END) s (at);
	PERFORM control.note_operation(by, 'support.ask', of_tenant, pg_catalog.jsonb_build_object('session', session,
		'minutes', for_minutes, 'write', may_write, 'status', state), NULL);
	RETURN state;
END $$;
--> statement-breakpoint
-- Approves what an operator has asked, on behalf of an owner of the context's tenant: it begins now. Again it changes nothing.
CREATE FUNCTION control.approve_support(session uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF control.acting_as() IS DISTINCT FROM 'owner' THEN
		RAISE EXCEPTION 'an owner lets operators in' USING ERRCODE = '42501', TABLE = 'support_sessions';
	END IF;
	UPDATE control.support_sessions s SET approved_by = control.current_actor_id(), started_at = pg_catalog.now(),
			expires_at = pg_catalog.now() + s.minutes * interval '1 minute'
		WHERE s.tenant_id = control.current_tenant_id() AND s.id = session AND s.started_at IS NULL AND control.is_open(s);
END $$;
--> statement-breakpoint
-- Ends a session, or refuses what was asked, on behalf of the context's tenant.
CREATE FUNCTION control.end_support(session uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF NOT COALESCE(control.acting_as() IN ('admin', 'owner'), false) THEN
		RAISE EXCEPTION 'the actor may not end support' USING ERRCODE = '42501', TABLE = 'support_sessions';
	END IF;
	UPDATE control.support_sessions s SET ended_at = pg_catalog.now(), end_reason = 'ended', ended_by_type = 'user',
			ended_by = control.current_actor_id()
		WHERE s.tenant_id = control.current_tenant_id() AND s.id = session AND control.is_open(s);
END $$;
--> statement-breakpoint
-- The same on behalf of an operator: of their own session, or with `anyones` of any.
CREATE FUNCTION control.leave_tenant(by jsonb, session uuid, of_tenant uuid, anyones boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	why text;
BEGIN
	PERFORM control.lock_outbox(of_tenant);
	UPDATE control.support_sessions s SET ended_at = pg_catalog.now(), end_reason = 'ended', ended_by_type = 'operator',
			ended_by = (by ->> 'id')::uuid
		WHERE s.tenant_id = of_tenant AND s.id = session AND (anyones OR s.operator_id = (by ->> 'id')::uuid) AND control.is_open(s)
		RETURNING s.reason INTO why;
	IF FOUND THEN
		PERFORM control.note_operation(by || pg_catalog.jsonb_build_object('reason', why), 'support.end', of_tenant,
			pg_catalog.jsonb_build_object('session', session), NULL);
	END IF;
END $$;
--> statement-breakpoint
-- A tenant that lets nobody in, or that nobody can enter, has nobody in; nor, where an owner is asked, whom no owner approved.
CREATE FUNCTION control.end_support_of_tenant() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	is_within boolean := control.current_tenant_id() IS NOT NULL;
BEGIN
	UPDATE control.support_sessions s SET ended_at = pg_catalog.now(),
			end_reason = CASE WHEN NEW.status IN ('active', 'read_only') THEN 'mode' ELSE 'tenant_status' END,
			ended_by_type = CASE WHEN is_within THEN 'user' ELSE 'operator' END,
			ended_by = CASE WHEN is_within THEN control.current_actor_id() ELSE '00000000-0000-0000-0000-000000000000' END
		WHERE s.tenant_id = NEW.id AND control.is_open(s)
			AND (NEW.status NOT IN ('active', 'read_only') OR NEW.support_access = 'off'
				OR NEW.support_access = 'ask' AND s.started_at IS NOT NULL AND s.approved_by IS NULL);
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_support AFTER UPDATE OF status, support_access ON control.tenants FOR EACH ROW
	WHEN (OLD.status <> NEW.status OR OLD.support_access <> NEW.support_access)
	EXECUTE FUNCTION control.end_support_of_tenant();
--> statement-breakpoint
-- What an owner has approved ends when they are none any more.
CREATE FUNCTION control.end_support_of_approver() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	UPDATE control.support_sessions s SET ended_at = pg_catalog.now(), end_reason = 'approver', ended_by_type = 'user',
			ended_by = COALESCE(control.current_actor_id(), OLD.user_id)
		WHERE s.tenant_id = OLD.tenant_id AND s.approved_by = OLD.user_id AND control.is_open(s);
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_support_on_update AFTER UPDATE OF role ON control.memberships
	FOR EACH ROW WHEN (OLD.role = 'owner' AND NEW.role <> 'owner') EXECUTE FUNCTION control.end_support_of_approver();
--> statement-breakpoint
CREATE TRIGGER end_support_on_delete AFTER DELETE ON control.memberships
	FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION control.end_support_of_approver();
--> statement-breakpoint
-- Nor does anything outlive the operator: their removal, another role, and whatever else voids their own tokens.
CREATE FUNCTION control.end_support_of_operator() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid;
BEGIN
	FOR tenant IN SELECT DISTINCT s.tenant_id FROM control.support_sessions s
			WHERE s.operator_id = OLD.id AND s.ended_at IS NULL AND control.is_open(s) ORDER BY 1 LOOP
		PERFORM control.lock_outbox(tenant);
		UPDATE control.support_sessions s SET ended_at = pg_catalog.now(), end_reason = 'operator', ended_by_type = 'operator',
				ended_by = '00000000-0000-0000-0000-000000000000'
			WHERE s.tenant_id = tenant AND s.operator_id = OLD.id AND control.is_open(s);
	END LOOP;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_support_on_update AFTER UPDATE ON control.operators FOR EACH ROW
	WHEN (OLD.generation <> NEW.generation OR OLD.role <> NEW.role OR OLD.disabled_at IS DISTINCT FROM NEW.disabled_at)
	EXECUTE FUNCTION control.end_support_of_operator();
--> statement-breakpoint
CREATE TRIGGER end_support_on_delete AFTER DELETE ON control.operators
	FOR EACH ROW EXECUTE FUNCTION control.end_support_of_operator();
--> statement-breakpoint
-- The tenant's trail has who asked, approved and ended; the object has that the tokens of an ended session are void.
CREATE FUNCTION control.tell_of_support() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	is_end boolean := TG_OP = 'UPDATE' AND NEW.ended_at IS NOT NULL;
	by_id uuid := CASE WHEN TG_OP = 'INSERT' THEN NEW.operator_id WHEN is_end THEN NEW.ended_by ELSE NEW.approved_by END;
BEGIN
	IF is_end AND NEW.started_at IS NOT NULL THEN
		PERFORM control.tell(NEW.tenant_id, 'floor', NEW.id, 9007199254740991, NULL);
	END IF;
	PERFORM control.tell(NEW.tenant_id, 'audit', NEW.id, NULL, pg_catalog.jsonb_build_object(
		'actor_id', by_id,
		'actor_type', CASE WHEN TG_OP = 'INSERT' OR is_end AND NEW.ended_by_type = 'operator' THEN 'operator' ELSE 'user' END,
		'actor_name', CASE by_id WHEN NEW.operator_id THEN NEW.operator END, 'reason', CASE TG_OP WHEN 'INSERT' THEN NEW.reason END,
		'request_id', NULLIF(pg_catalog.left(pg_catalog.current_setting('app.request', true), 128), ''),
		'action', CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'update' END, 'resource', 'support_sessions',
		'changed', CASE WHEN TG_OP = 'INSERT' THEN '[]' WHEN is_end THEN '["ended_at"]' ELSE '["started_at"]' END::jsonb,
		'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_support AFTER INSERT ON control.support_sessions
	FOR EACH ROW EXECUTE FUNCTION control.tell_of_support();
--> statement-breakpoint
CREATE TRIGGER tell_of_support_change AFTER UPDATE ON control.support_sessions FOR EACH ROW
	WHEN (OLD.started_at IS NULL AND NEW.started_at IS NOT NULL OR OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL)
	EXECUTE FUNCTION control.tell_of_support();
