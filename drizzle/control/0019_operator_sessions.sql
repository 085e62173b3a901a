CREATE TABLE "control"."operator_sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"operator_id" uuid NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone
);
--> statement-breakpoint
ALTER TABLE "control"."operator_sessions" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "control"."operator_sessions" ADD CONSTRAINT "operator_sessions_operator_id_operators_id_fk" FOREIGN KEY ("operator_id") REFERENCES "control"."operators"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "operator_sessions_of_operator" ON "control"."operator_sessions" USING btree ("operator_id","expires_at");--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."operator_sessions" AS PERMISSIVE FOR ALL TO public USING (false) WITH CHECK (false);--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."operator_sessions" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);