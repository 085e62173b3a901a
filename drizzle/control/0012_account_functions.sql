-- What is done to a person's account is of all their tenants, so these run in no tenant's context. They lock the tenants'
-- outboxes first, all in one order, and return the heads up to which the tenants' objects are to be told. Those that nobody
-- is granted are parts of the others, and run as their owner.

-- Locks these people and all their tenants.
CREATE FUNCTION control.lock_people(people uuid[]) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	tenant uuid;
BEGIN
	IF control.current_tenant_id() IS NOT NULL THEN
		RAISE EXCEPTION 'an account is changed outside of a tenant''s context' USING ERRCODE = '42501', TABLE = 'users';
	END IF;
	FOR tenant IN SELECT DISTINCT m.tenant_id FROM control.memberships m WHERE m.user_id = ANY (people) ORDER BY 1 LOOP
		PERFORM control.lock_outbox(tenant);
	END LOOP;
	PERFORM FROM control.users u WHERE u.id = ANY (people) ORDER BY u.id FOR UPDATE;
END $$;
--> statement-breakpoint
-- How far the outboxes go of the tenants that these people are in, as [[tenant, head], …].
CREATE FUNCTION control.heads_of(people uuid[]) RETURNS jsonb LANGUAGE sql STABLE SET search_path = '' AS $$
	SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(h.tenant_id, h.head)), '[]') FROM control.outbox_heads h
		WHERE h.tenant_id IN (SELECT m.tenant_id FROM control.memberships m WHERE m.user_id = ANY (people))
$$;
--> statement-breakpoint
-- Whether this is a live session of the person's own: what a tenant's issuer vouches for leads to nobody's account.
CREATE FUNCTION control.is_own_session(session uuid, person uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
	SELECT EXISTS (SELECT FROM control.sessions s JOIN control.users u ON u.id = s.user_id WHERE s.id = session AND s.user_id = person
		AND s.revoked_at IS NULL AND s.issuer_id IS NULL AND u.issuer_id IS NULL)
$$;
--> statement-breakpoint
-- Ends the person's sessions in all tenants, but this one.
CREATE FUNCTION control.end_sessions(person uuid, but uuid) RETURNS void LANGUAGE sql SET search_path = '' AS $$
	UPDATE control.sessions s SET revoked_at = pg_catalog.now()
		FROM control.memberships m WHERE m.user_id = person AND s.tenant_id = m.tenant_id AND s.user_id = m.user_id
			AND s.revoked_at IS NULL AND s.id IS DISTINCT FROM but
$$;
--> statement-breakpoint
-- Ends what was begun with the password before: links, factors that were not confirmed, sign-ins that wait for a factor.
CREATE FUNCTION control.end_pending(person uuid) RETURNS void LANGUAGE sql SET search_path = '' AS $$
	DELETE FROM control.mailed_links l WHERE l.user_id = person AND l.kind IN ('reset', 'email_change');
	DELETE FROM control.factors f WHERE f.user_id = person AND f.confirmed_at IS NULL;
	DELETE FROM control.challenges c WHERE c.user_id = person
$$;
--> statement-breakpoint
-- Whoever has shown that a mailbox is theirs has its address. An account that had it without showing that goes on without
-- one, with its tenants and sessions: no password opens it until an address is added. A proven account's address stays:
-- whoever wants it violates users_email.
CREATE FUNCTION control.give_way(address text, but uuid) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
	WITH gone AS (
		UPDATE control.users u SET email = pg_catalog.gen_random_uuid() || '@displaced.invalid', password_hash = NULL
			WHERE u.email = address AND u.issuer_id IS NULL AND u.email_verified_at IS NULL AND u.id IS DISTINCT FROM but
			RETURNING u.id
	), links AS (
		DELETE FROM control.mailed_links l USING gone WHERE l.user_id = gone.id
	)
	DELETE FROM control.challenges c USING gone WHERE c.user_id = gone.id
$$;
--> statement-breakpoint
-- Who has the address, proven or not.
CREATE FUNCTION control.holder_of(address text) RETURNS uuid LANGUAGE sql STABLE SET search_path = '' AS $$
	SELECT u.id FROM control.users u WHERE u.email = address AND u.issuer_id IS NULL
$$;
--> statement-breakpoint
-- The link, if its token is this one and it has not expired. Whoever uses it locks its people and then calls take_link().
CREATE FUNCTION control.find_link(link uuid, of_kind text, hash bytea) RETURNS control.mailed_links
LANGUAGE sql STABLE SET search_path = '' AS $$
	SELECT l FROM control.mailed_links l
		WHERE l.id = link AND l.kind = of_kind AND l.token_hash = hash AND l.expires_at > pg_catalog.now()
$$;
--> statement-breakpoint
-- Uses the link up. False for all but the first one who does.
CREATE FUNCTION control.take_link(link uuid) RETURNS boolean LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	DELETE FROM control.mailed_links l WHERE l.id = link;
	RETURN FOUND;
END $$;
--> statement-breakpoint
-- Keeps a link, in the place of the one before of its kind.
CREATE FUNCTION control.keep_link(link uuid, of_kind text, person uuid, address text, hash bytea, of_data jsonb,
	seconds integer) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
	INSERT INTO control.mailed_links (id, kind, user_id, email, token_hash, data, expires_at)
		VALUES (link, of_kind, person, address, hash, of_data, pg_catalog.now() + seconds * interval '1 second')
		ON CONFLICT (user_id, kind) WHERE kind <> 'email_undo' DO UPDATE SET id = excluded.id, email = excluded.email,
			token_hash = excluded.token_hash, data = excluded.data, expires_at = excluded.expires_at, created_at = excluded.created_at
$$;
--> statement-breakpoint
-- Sets the password of the link's address. An account that was never shown to be the mailbox's gives way to a new one.
CREATE FUNCTION control.reset_password(link uuid, hash bytea, new_password text, new_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	l control.mailed_links := control.find_link(link, 'reset', hash);
BEGIN
	PERFORM control.lock_people(ARRAY[l.user_id]);
	IF l.id IS NULL OR NOT control.take_link(l.id) THEN
		RETURN NULL;
	END IF;
	UPDATE control.users u SET password_hash = new_password
		WHERE u.id = l.user_id AND u.email = l.email AND u.email_verified_at IS NOT NULL;
	IF FOUND THEN
		PERFORM control.end_sessions(l.user_id, NULL);
		PERFORM control.end_pending(l.user_id);
	ELSE
		PERFORM control.give_way(l.email, NULL);
		INSERT INTO control.users (id, email, password_hash, email_verified_at)
			VALUES (new_id, l.email, new_password, pg_catalog.now());
	END IF;
	RETURN pg_catalog.jsonb_build_object('email', l.email, 'heads', control.heads_of(ARRAY[l.user_id]));
END $$;
--> statement-breakpoint
-- Changes the password for whoever knows the one before, and ends every other session. Null when they do not.
CREATE FUNCTION control.change_password(session uuid, person uuid, old_passwords text[], new_password text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.lock_people(ARRAY[person]);
	UPDATE control.users u SET password_hash = new_password
		WHERE u.id = person AND u.password_hash = ANY (old_passwords) AND control.is_own_session(session, person);
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM control.end_sessions(person, session);
	PERFORM control.end_pending(person);
	RETURN pg_catalog.jsonb_build_object('heads', control.heads_of(ARRAY[person]));
END $$;
--> statement-breakpoint
-- Keeps the link that changes the person's address, for whoever knows the password; an account without an address has none.
CREATE FUNCTION control.ask_email_change(session uuid, person uuid, old_passwords text[], link uuid, address text, hash bytea,
	new_password text, seconds integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.lock_people(ARRAY[person]);
	PERFORM FROM control.users u WHERE u.id = person AND control.is_own_session(session, person)
		AND (u.password_hash = ANY (old_passwords) OR u.password_hash IS NULL AND u.email LIKE '%@displaced.invalid');
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM control.keep_link(link, 'email_change', person, address, hash,
		pg_catalog.jsonb_build_object('password', new_password), seconds);
	RETURN true;
END $$;
--> statement-breakpoint
-- Changes the address, now that the new mailbox is shown to be theirs, and keeps the link that undoes it, for the mailbox
-- before if that was theirs as well.
CREATE FUNCTION control.change_email(link uuid, hash bytea, undo uuid, undo_hash bytea, seconds integer) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	l control.mailed_links := control.find_link(link, 'email_change', hash);
	people uuid[] := ARRAY[l.user_id, control.holder_of(l.email)];
	former control.users;
BEGIN
	PERFORM control.lock_people(people);
	IF l.id IS NULL OR NOT control.take_link(l.id) THEN
		RETURN NULL;
	END IF;
	PERFORM control.give_way(l.email, l.user_id);
	SELECT * INTO former FROM control.users u WHERE u.id = l.user_id;
	UPDATE control.users u SET email = l.email, password_hash = l.data ->> 'password', email_verified_at = pg_catalog.now()
		WHERE u.id = l.user_id;
	PERFORM control.end_pending(l.user_id);
	DELETE FROM control.mailed_links v WHERE v.user_id = l.user_id AND v.kind = 'verification';
	IF former.email_verified_at IS NOT NULL AND former.email <> l.email THEN
		PERFORM control.keep_link(undo, 'email_undo', former.id, former.email, undo_hash,
			pg_catalog.jsonb_build_object('password', former.password_hash), seconds);
	END IF;
	RETURN pg_catalog.jsonb_build_object('email', l.email, 'heads', control.heads_of(people),
		'old', CASE WHEN former.email_verified_at IS NOT NULL AND former.email <> l.email THEN former.email END);
END $$;
--> statement-breakpoint
-- Brings the address back, with the password that it had, for whoever reads the mailbox before: sessions end, and the factors
-- that were added since go.
CREATE FUNCTION control.undo_email_change(link uuid, hash bytea) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	l control.mailed_links := control.find_link(link, 'email_undo', hash);
	people uuid[] := ARRAY[l.user_id, control.holder_of(l.email)];
BEGIN
	PERFORM control.lock_people(people);
	IF l.id IS NULL OR NOT control.take_link(l.id) THEN
		RETURN NULL;
	END IF;
	PERFORM control.give_way(l.email, l.user_id);
	UPDATE control.users u SET email = l.email, password_hash = l.data ->> 'password', email_verified_at = pg_catalog.now()
		WHERE u.id = l.user_id;
	PERFORM control.end_sessions(l.user_id, NULL);
	PERFORM control.end_pending(l.user_id);
	DELETE FROM control.mailed_links v WHERE v.user_id = l.user_id AND v.created_at >= l.created_at;
	DELETE FROM control.factors f WHERE f.user_id = l.user_id AND f.confirmed_at >= l.created_at;
	DELETE FROM control.recovery_codes r WHERE r.user_id = l.user_id AND r.created_at >= l.created_at;
	RETURN pg_catalog.jsonb_build_object('email', l.email, 'heads', control.heads_of(people));
END $$;
--> statement-breakpoint
-- Makes the tenant of a sign-up whose mailbox is shown to be theirs: of a new account, or of the one that the address has.
CREATE FUNCTION control.sign_up(link uuid, hash bytea, new_id uuid, tenant uuid, of_plan text, at_site text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	l control.mailed_links := control.find_link(link, 'signup', hash);
	people uuid[] := ARRAY[control.holder_of(l.email)];
	owner uuid;
BEGIN
	PERFORM control.lock_people(people);
	IF l.id IS NULL OR NOT control.take_link(l.id) THEN
		RETURN NULL;
	END IF;
	PERFORM control.give_way(l.email, NULL);
	owner := control.holder_of(l.email);
	IF owner IS NULL THEN
		INSERT INTO control.users (id, email, password_hash, email_verified_at)
			VALUES (new_id, l.email, l.data ->> 'password', pg_catalog.now());
		owner := new_id;
	END IF;
	INSERT INTO control.tenants (id, slug, name, plan, site)
		VALUES (tenant, l.data ->> 'slug', l.data ->> 'name', of_plan, at_site);
	INSERT INTO control.memberships (tenant_id, user_id, role) VALUES (tenant, owner, 'owner');
	RETURN pg_catalog.jsonb_build_object('email', l.email, 'heads', control.heads_of(people || owner));
END $$;
--> statement-breakpoint
-- Ends an account: the person leaves their tenants, where what they made stays without a name. Returns the tenants of which
-- they are the last owner, and then does nothing; null when the session is not theirs.
CREATE FUNCTION control.end_account(session uuid, person uuid, request text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenants uuid[];
	owned jsonb;
	tenant uuid;
	actor jsonb := pg_catalog.jsonb_build_object('actor_id', person, 'actor_type', 'user', 'request_id', request);
BEGIN
	PERFORM control.lock_people(ARRAY[person]);
	IF NOT control.is_own_session(session, person) THEN
		RETURN NULL;
	END IF;
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('id', t.id, 'slug', t.slug, 'name', t.name) ORDER BY t.slug)
		INTO owned FROM control.memberships m JOIN control.tenants t ON t.id = m.tenant_id
		WHERE m.user_id = person AND m.role = 'owner' AND t.status <> 'erasing' AND NOT EXISTS (SELECT FROM control.memberships o
			WHERE o.tenant_id = m.tenant_id AND o.role = 'owner' AND o.user_id <> person);
	IF owned IS NOT NULL THEN
		RETURN pg_catalog.jsonb_build_object('owned', owned);
	END IF;
	tenants := ARRAY(SELECT m.tenant_id FROM control.memberships m WHERE m.user_id = person ORDER BY 1);
	DELETE FROM control.memberships m WHERE m.user_id = person;
	FOREACH tenant IN ARRAY tenants LOOP
		PERFORM control.tell(tenant, 'audit', person, NULL, actor || pg_catalog.jsonb_build_object('action', 'delete',
			'resource', 'memberships', 'changed', '[]'::jsonb,
			'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
		PERFORM control.tell(tenant, 'member', person, NULL, actor || '{"forget": true}');
	END LOOP;
	DELETE FROM control.users u WHERE u.id = person;
	RETURN pg_catalog.jsonb_build_object('heads', (SELECT COALESCE(pg_catalog.jsonb_agg(
		pg_catalog.jsonb_build_array(h.tenant_id, h.head)), '[]') FROM control.outbox_heads h WHERE h.tenant_id = ANY (tenants)));
END $$;
--> statement-breakpoint
-- Removes a member's factors, in the context of their tenant and on behalf of its owner.
CREATE FUNCTION control.reset_factors(person uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF control.acting_as() IS DISTINCT FROM 'owner' THEN
		RAISE EXCEPTION 'an owner resets factors' USING ERRCODE = '42501', TABLE = 'factors';
	END IF;
	DELETE FROM control.factors f WHERE f.user_id = person;
	DELETE FROM control.recovery_codes r WHERE r.user_id = person;
	PERFORM control.tell(control.current_tenant_id(), 'audit', person, NULL, control.actor() || pg_catalog.jsonb_build_object(
		'action', 'delete', 'resource', 'factors', 'changed', '[]'::jsonb,
		'micros', (1000000 * EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint));
END $$;
