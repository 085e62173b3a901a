CREATE TABLE "control"."sites" (
	"name" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"schema" text NOT NULL,
	"server" text,
	"host" text,
	"database" text,
	"secret" text NOT NULL,
	"generation" integer DEFAULT 1 NOT NULL,
	"rotated_at" timestamp (3) with time zone,
	"region" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "kind_known" CHECK (kind in ('shared', 'schema', 'dedicated')),
	CONSTRAINT "name_is_short" CHECK (name ~ '^[a-z][a-z0-9-]{0,39}$'),
	CONSTRAINT "server_has_a_host" CHECK ((server is null) = (host is null) and (server is null or database is not null))
);
--> statement-breakpoint
ALTER TABLE "control"."sites" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
INSERT INTO "control"."sites" (name, kind, schema, secret) VALUES ('shared', 'shared', 'public', '');--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "site" text DEFAULT 'shared' NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "epoch" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "sites_place" ON "control"."sites" USING btree (coalesce("server", ''),coalesce("database", ''),"schema");--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "tenants_site_sites_name_fk" FOREIGN KEY ("site") REFERENCES "control"."sites"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "tenants_site" ON "control"."tenants" USING btree ("site");--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."sites" AS PERMISSIVE FOR ALL TO public USING (name in (select t.site from control.tenants t)) WITH CHECK (name in (select t.site from control.tenants t));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."sites" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
-- The edge record of each of its tenants has a copy of the site. As every change does, it locks their outboxes before their
-- rows, in one order.
CREATE FUNCTION control.tell_of_site() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM control.lock_outbox(t.id) FROM (SELECT id FROM control.tenants WHERE site = NEW.name ORDER BY id) t;
	UPDATE control.tenants t SET updated_at = pg_catalog.now() WHERE t.site = NEW.name;
	RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER tell_of_site AFTER UPDATE ON control.sites FOR EACH ROW
	WHEN ((OLD.host, OLD.secret, OLD.generation) IS DISTINCT FROM (NEW.host, NEW.secret, NEW.generation))
	EXECUTE FUNCTION control.tell_of_site();
