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
			OR (tenant IS NOT NULL AND COALESCE(pg_catalog.btrim(by ->> 'reason'), '') = '') THEN
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
			pg_catalog.jsonb_build_object('actor_id', by ->> 'id', 'actor_type', 'operator', 'request_id', request,
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
CREATE FUNCTION control.sign_in_operator(operator uuid, step bigint, hash text, secret text, request text)
RETURNS TABLE (id uuid, email text, role text, generation integer)
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
