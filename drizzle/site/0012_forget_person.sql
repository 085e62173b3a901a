-- The member as they are now; null for whoever has left, of whom the email is kept, unless their account has ended.
CREATE OR REPLACE FUNCTION public.receive_member(tenant uuid, user_id uuid, member jsonb, behalf jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
	PERFORM pg_catalog.set_config('app.behalf', COALESCE((behalf - 'forget')::text, ''), true);
	IF member IS NULL THEN
		WITH gone AS (
			DELETE FROM public.members m WHERE m.tenant_id = tenant AND m.id = user_id RETURNING m.email
		)
		INSERT INTO public.former_members (tenant_id, id, email) SELECT tenant, user_id, gone.email FROM gone
			ON CONFLICT (tenant_id, id) DO UPDATE SET email = excluded.email, left_at = excluded.left_at;
		IF behalf ? 'forget' THEN
			DELETE FROM public.former_members f WHERE f.tenant_id = tenant AND f.id = user_id;
		END IF;
	ELSE
		DELETE FROM public.former_members f WHERE f.tenant_id = tenant AND f.id = user_id;
		INSERT INTO public.members (tenant_id, id, email, role)
			VALUES (tenant, user_id, member ->> 'email', member ->> 'role')
			ON CONFLICT (tenant_id, id) DO UPDATE SET email = excluded.email, role = excluded.role
			WHERE (members.email, members.role) IS DISTINCT FROM (excluded.email, excluded.role);
	END IF;
END $$;
