-- The sessions of operators: each sign-in begins one, which its tokens name. It ends when its operator signs out, or changes their
-- password in another one. `by` is as note_operation() takes it.

-- Ends what an operator has open in tenants. Returns the outbox's head of each of these tenants: [{tenant, head}].
CREATE FUNCTION control.end_support_of(person uuid) RETURNS jsonb LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	tenants uuid[] := ARRAY(SELECT DISTINCT s.tenant_id FROM control.support_sessions s
		WHERE s.operator_id = person AND s.ended_at IS NULL AND control.is_open(s) ORDER BY 1);
	tenant uuid;
BEGIN
	FOREACH tenant IN ARRAY tenants LOOP
		PERFORM control.lock_outbox(tenant);
		UPDATE control.support_sessions s SET ended_at = pg_catalog.now(), end_reason = 'operator', ended_by_type = 'operator',
				ended_by = person
			WHERE s.tenant_id = tenant AND s.operator_id = person AND control.is_open(s);
	END LOOP;
	RETURN (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('tenant', h.tenant_id, 'head', h.head)), '[]')
		FROM control.outbox_heads h WHERE h.tenant_id = ANY (tenants));
END $$;
--> statement-breakpoint
-- Nothing that an operator has open in a tenant outlives a session of theirs, on whatever path that ends before its time.
CREATE FUNCTION control.end_support_with_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	-- With the operator, more than their session ends: end_support_of_operator() says so.
	IF EXISTS (SELECT FROM control.operators o WHERE o.id = OLD.operator_id) THEN
		PERFORM control.end_support_of(OLD.operator_id);
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER end_support_on_update AFTER UPDATE ON control.operator_sessions FOR EACH ROW
	WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION control.end_support_with_session();
--> statement-breakpoint
CREATE TRIGGER end_support_on_delete AFTER DELETE ON control.operator_sessions FOR EACH ROW
	WHEN (OLD.ended_at IS NULL AND OLD.expires_at > now()) EXECUTE FUNCTION control.end_support_with_session();
--> statement-breakpoint
-- Begins a session of an operator who has just signed in, and returns its id. Those that were over a day ago are forgotten.
CREATE FUNCTION control.open_operator_session(session uuid, person uuid, seconds integer) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	DELETE FROM control.operator_sessions s WHERE s.operator_id = person AND s.expires_at < pg_catalog.now() - interval '1 day';
	INSERT INTO control.operator_sessions (id, operator_id, expires_at)
		VALUES (session, person, pg_catalog.now() + seconds * interval '1 second');
	RETURN session;
END $$;
--> statement-breakpoint
-- Whether the session is the operator's who acts, and goes on.
CREATE FUNCTION control.is_operator_session(by jsonb, session uuid) RETURNS boolean LANGUAGE sql STABLE SET search_path = '' AS $$
	SELECT EXISTS (SELECT FROM control.operator_sessions s WHERE s.id = session AND s.operator_id = (by ->> 'id')::uuid
		AND s.ended_at IS NULL AND s.expires_at > pg_catalog.now())
$$;
--> statement-breakpoint
-- Signs an operator out of the session. Returns what end_support_of() does; null when the session was over before.
CREATE FUNCTION control.end_operator_session(by jsonb, session uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	heads jsonb;
BEGIN
	-- Before all else, as whoever asks for support: it ends with the session, or is refused.
	PERFORM FROM control.operators o WHERE o.id = (by ->> 'id')::uuid FOR NO KEY UPDATE;
	IF NOT control.is_operator_session(by, session) THEN
		RETURN NULL;
	END IF;
	heads := control.end_support_of((by ->> 'id')::uuid);
	UPDATE control.operator_sessions s SET ended_at = pg_catalog.now() WHERE s.id = session;
	PERFORM control.note_operation(by, 'session.end', NULL, '{}', NULL);
	RETURN heads;
END $$;
--> statement-breakpoint
-- Changes the password of an operator who has shown the one before, and uses up a code, by its time step. Their other sessions end,
-- and what they have open in tenants. Returns what end_support_of() does; null when the code was used before, or one of the rest is
-- not so any more. The secret is kept as it is given: sealed by the pepper in use.
CREATE FUNCTION control.change_operator_password(by jsonb, session uuid, step bigint, old_passwords text[], new_password text,
	secret text) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	heads jsonb;
BEGIN
	UPDATE control.operators o SET password_hash = new_password, totp_secret = secret, last_step = step, failures = 0,
			failed_at = NULL, updated_at = pg_catalog.now()
		WHERE o.id = (by ->> 'id')::uuid AND o.disabled_at IS NULL AND o.last_step < step
			AND o.password_hash = ANY (old_passwords) AND control.is_operator_session(by, session);
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	heads := control.end_support_of((by ->> 'id')::uuid);
	UPDATE control.operator_sessions s SET ended_at = pg_catalog.now()
		WHERE s.operator_id = (by ->> 'id')::uuid AND s.id <> session AND s.ended_at IS NULL AND s.expires_at > pg_catalog.now();
	PERFORM control.note_operation(by, 'operator.password', NULL, '{}', NULL);
	RETURN heads;
END $$;
--> statement-breakpoint
-- As ask_support(), for an operator whose session goes on: what begins here ends with it.
CREATE FUNCTION control.ask_support_in_session(by jsonb, operator_session uuid, session uuid, of_tenant uuid, for_minutes integer,
	may_write boolean) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM FROM control.operators o WHERE o.id = (by ->> 'id')::uuid FOR SHARE;
	-- Locked, so that a sign-out at the same time ends what begins here.
	PERFORM FROM control.operator_sessions s WHERE s.id = operator_session FOR SHARE;
	IF NOT control.is_operator_session(by, operator_session) THEN
		RETURN CASE WHEN EXISTS (SELECT FROM control.tenants t WHERE t.id = of_tenant) THEN 'nobody' ELSE 'missing' END;
	END IF;
	RETURN control.ask_support(by, session, of_tenant, for_minutes, may_write);
END $$;
