ALTER TABLE "audit_events" ADD COLUMN "reason" text;
--> statement-breakpoint
-- An audit event of the control plane: what the event has by the names of the trail's columns.
CREATE OR REPLACE FUNCTION public.receive_event(tenant uuid, subject uuid, event jsonb) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
	INSERT INTO public.audit_events SELECT r.* FROM pg_catalog.jsonb_populate_record(NULL::public.audit_events,
		event || pg_catalog.jsonb_build_object('tenant_id', tenant, 'resource_id', subject,
			'id', public.event_id((event ->> 'micros')::bigint),
			'created_at', pg_catalog.to_timestamp((event ->> 'micros')::bigint / 1000 / 1000.0))) AS r;
$$;
