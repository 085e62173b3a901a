CREATE TABLE "control"."support_sessions" (
	"id" uuid NOT NULL,
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"operator_id" uuid NOT NULL,
	"operator" text NOT NULL,
	"reason" text NOT NULL,
	"minutes" integer NOT NULL,
	"write" boolean NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"approved_by" uuid,
	"started_at" timestamp (3) with time zone,
	"expires_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	"end_reason" text,
	"ended_by_type" text,
	"ended_by" uuid,
	CONSTRAINT "support_sessions_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "an_hour_at_most" CHECK (minutes between 1 and 60),
	CONSTRAINT "started_for_some_time" CHECK ((started_at is null) = (expires_at is null)),
	CONSTRAINT "ended_with_a_reason" CHECK ((ended_at is null) = (end_reason is null) and (ended_at is null) = (ended_by_type is null) and (ended_at is null) = (ended_by is null)),
	CONSTRAINT "end_reason_known" CHECK (end_reason in ('ended', 'replaced', 'mode', 'approver', 'operator', 'tenant_status')),
	CONSTRAINT "ended_by_type_known" CHECK (ended_by_type in ('user', 'operator'))
);
--> statement-breakpoint
ALTER TABLE "control"."support_sessions" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "support_access" text DEFAULT 'off' NOT NULL;--> statement-breakpoint
ALTER TABLE "control"."support_sessions" ADD CONSTRAINT "support_sessions_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "support_sessions_newest" ON "control"."support_sessions" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "support_sessions_of_operator" ON "control"."support_sessions" USING btree ("operator_id") WHERE ended_at is null;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "support_access_known" CHECK (support_access in ('off', 'ask', 'on'));--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."support_sessions" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."support_sessions" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);