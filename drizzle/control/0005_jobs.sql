CREATE TABLE "control"."jobs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"tenant_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"source" text NOT NULL,
	"target" text NOT NULL,
	"epoch" integer NOT NULL,
	"token" bigint NOT NULL,
	"progress" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"started_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"worked_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"finished_at" timestamp (3) with time zone,
	"outcome" text,
	"kept_until" timestamp (3) with time zone,
	CONSTRAINT "kind_known" CHECK (kind in ('move', 'clear', 'restore')),
	CONSTRAINT "finished_with_an_outcome" CHECK ((finished_at is null) = (outcome is null))
);
--> statement-breakpoint
ALTER TABLE "control"."jobs" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "control"."jobs" ADD CONSTRAINT "jobs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."jobs" ADD CONSTRAINT "jobs_source_sites_name_fk" FOREIGN KEY ("source") REFERENCES "control"."sites"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."jobs" ADD CONSTRAINT "jobs_target_sites_name_fk" FOREIGN KEY ("target") REFERENCES "control"."sites"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "jobs_one_at_a_time" ON "control"."jobs" USING btree ("tenant_id") WHERE finished_at is null;--> statement-breakpoint
CREATE INDEX "jobs_of_tenant" ON "control"."jobs" USING btree ("tenant_id","token");--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."jobs" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."jobs" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);