-- Applies a page of the tenant's outbox: the entries `first` to `upto` of the control plane, of which `entries` has those
-- that concern the site, each as {seq, kind, subject, event, member}. Those that are here already change nothing, however
-- late they come. Returns the number of the last entry that is in force here: less than `first` - 1 when some are missing
-- in between, more than `upto` when it had these before.
CREATE FUNCTION public.receive(first bigint, upto bigint, entries jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := public.current_tenant_id();
	received bigint;
	entry record;
BEGIN
	INSERT INTO public.outbox_receipts (tenant_id) VALUES (tenant) ON CONFLICT DO NOTHING;
	SELECT r.seq INTO received FROM public.outbox_receipts r WHERE r.tenant_id = tenant FOR UPDATE;
	IF received < first - 1 OR received >= upto THEN
		RETURN received;
	END IF;
	FOR entry IN SELECT e.* FROM pg_catalog.jsonb_to_recordset(entries)
			AS e (seq bigint, kind text, subject uuid, event jsonb, member jsonb)
			WHERE e.seq > received ORDER BY e.seq LOOP
		IF entry.kind = 'audit' THEN
			PERFORM public.receive_event(tenant, entry.subject, entry.event);
		ELSE
			PERFORM public.receive_member(tenant, entry.subject, entry.member, entry.event);
		END IF;
	END LOOP;
	UPDATE public.outbox_receipts r SET seq = upto WHERE r.tenant_id = tenant;
	RETURN upto;
END $$;
--> statement-breakpoint
-- Takes these for all of the tenant's members, as of the outbox entry `upto`: after one of the two databases was restored
-- from a backup, when entries are missing.
CREATE FUNCTION public.receive_members(upto bigint, members jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	tenant uuid := public.current_tenant_id();
BEGIN
	INSERT INTO public.outbox_receipts (tenant_id, seq) VALUES (tenant, upto)
		ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq;
	PERFORM public.receive_member(tenant, (member ->> 'id')::uuid, member, NULL)
		FROM pg_catalog.jsonb_array_elements(members) AS member;
	PERFORM public.receive_member(tenant, m.id, NULL, NULL) FROM public.members m
		WHERE m.tenant_id = tenant AND m.id NOT IN (SELECT (member ->> 'id')::uuid FROM pg_catalog.jsonb_array_elements(members) AS member);
END $$;
--> statement-breakpoint
-- The member as they are now; null for whoever has left.
CREATE FUNCTION public.receive_member(tenant uuid, user_id uuid, member jsonb, behalf jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	PERFORM pg_catalog.set_config('app.behalf', COALESCE(behalf::text, ''), true);
	IF member IS NULL THEN
		WITH gone AS (
			DELETE FROM public.members m WHERE m.tenant_id = tenant AND m.id = user_id RETURNING m.email
		)
		INSERT INTO public.former_members (tenant_id, id, email) SELECT tenant, user_id, gone.email FROM gone
			ON CONFLICT (tenant_id, id) DO UPDATE SET email = excluded.email, left_at = excluded.left_at;
	ELSE
		DELETE FROM public.former_members f WHERE f.tenant_id = tenant AND f.id = user_id;
		INSERT INTO public.members (tenant_id, id, email, role)
			VALUES (tenant, user_id, member ->> 'email', member ->> 'role')
			ON CONFLICT (tenant_id, id) DO UPDATE SET email = excluded.email, role = excluded.role
			WHERE (members.email, members.role) IS DISTINCT FROM (excluded.email, excluded.role);
	END IF;
END $$;
--> statement-breakpoint
-- An audit event of the control plane.
CREATE FUNCTION public.receive_event(tenant uuid, subject uuid, event jsonb) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
	INSERT INTO public.audit_events
		(tenant_id, id, created_at, actor_id, actor_type, action, resource, resource_id, changed, request_id)
	VALUES (tenant, public.event_id((event ->> 'micros')::bigint),
		pg_catalog.to_timestamp((event ->> 'micros')::bigint / 1000 / 1000.0), (event ->> 'actor_id')::uuid,
		event ->> 'actor_type', event ->> 'action', event ->> 'resource', subject,
		ARRAY(SELECT pg_catalog.jsonb_array_elements_text(event -> 'changed')), event ->> 'request_id');
$$;
