CREATE TABLE "control"."operator_events" (
	"id" uuid PRIMARY KEY NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"actor_id" uuid NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"tenant_id" uuid,
	"reason" text,
	"change" jsonb NOT NULL,
	"request_id" text
);
--> statement-breakpoint
ALTER TABLE "control"."operator_events" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."operators" (
	"id" uuid PRIMARY KEY NOT NULL,
	"email" text NOT NULL,
	"role" text NOT NULL,
	"password_hash" text NOT NULL,
	"totp_secret" text NOT NULL,
	"last_step" bigint DEFAULT 0 NOT NULL,
	"failures" integer DEFAULT 0 NOT NULL,
	"failed_at" timestamp (3) with time zone,
	"generation" integer DEFAULT 1 NOT NULL,
	"signed_in_at" timestamp (3) with time zone,
	"disabled_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "email_is_lower_case" CHECK (email = lower(email)),
	CONSTRAINT "role_known" CHECK (role in ('viewer', 'support', 'admin'))
);
--> statement-breakpoint
ALTER TABLE "control"."operators" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE INDEX "operator_events_newest" ON "control"."operator_events" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "operator_events_of_tenant" ON "control"."operator_events" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "operator_events_of_actor" ON "control"."operator_events" USING btree ("actor_id","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "operators_email" ON "control"."operators" USING btree ("email");--> statement-breakpoint
CREATE INDEX "operators_newest" ON "control"."operators" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "erasures_newest" ON "control"."erasures" USING btree ("requested_at","id");--> statement-breakpoint
CREATE INDEX "jobs_moves" ON "control"."jobs" USING btree ("started_at","id") WHERE kind in ('move', 'clear', 'restore');--> statement-breakpoint
CREATE INDEX "tenants_by_name" ON "control"."tenants" USING btree (lower("name"),"id");--> statement-breakpoint
CREATE INDEX "tenants_newest" ON "control"."tenants" USING btree ("created_at","id");--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."operator_events" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."operator_events" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."operators" AS PERMISSIVE FOR ALL TO public USING (false) WITH CHECK (false);--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."operators" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);