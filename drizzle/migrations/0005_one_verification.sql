-- The tenant that the context names, verified or not; null where it names none. For the default of tenant_id alone: the
-- policies verify each row that it fills in, as they do a tenant_id that SQL names. It reads what a forger may have
-- written, so it parses a UUID or nothing. Without SET, which each row would pay for: every name in it has its schema.
CREATE FUNCTION claimed_tenant_id() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	claimed text := pg_catalog.substr(pg_catalog.current_setting('app.tenant', true), 13, 36);
BEGIN
	IF claimed OPERATOR(pg_catalog.~) '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
		RETURN claimed::pg_catalog.uuid;
	END IF;
	RETURN NULL;
END $$;
--> statement-breakpoint
-- Here as well as in wall.sql: requests insert as soon as this has committed.
GRANT EXECUTE ON FUNCTION claimed_tenant_id() TO partywall_app;
--> statement-breakpoint
ALTER TABLE "projects" ALTER COLUMN "tenant_id" SET DEFAULT claimed_tenant_id();--> statement-breakpoint
ALTER TABLE "tasks" ALTER COLUMN "tenant_id" SET DEFAULT claimed_tenant_id();--> statement-breakpoint
-- tenant_only, which stays as it is, is the wall. With the same condition here each write verified its context once more.
ALTER POLICY "tenant_may" ON "audit_events" TO public USING (true) WITH CHECK (true);--> statement-breakpoint
ALTER POLICY "tenant_may" ON "idempotency_keys" TO public USING (true) WITH CHECK (true);--> statement-breakpoint
ALTER POLICY "tenant_may" ON "projects" TO public USING (true) WITH CHECK (true);--> statement-breakpoint
ALTER POLICY "tenant_may" ON "tasks" TO public USING (true) WITH CHECK (true);