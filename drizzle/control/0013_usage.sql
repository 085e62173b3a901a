CREATE TABLE "control"."usage_days" (
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"day" date NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"refused" bigint DEFAULT 0 NOT NULL,
	"units" bigint DEFAULT 0 NOT NULL,
	"errors" bigint DEFAULT 0 NOT NULL,
	"bytes_out" bigint DEFAULT 0 NOT NULL,
	"db_ms" bigint DEFAULT 0 NOT NULL,
	"object_ms" bigint DEFAULT 0 NOT NULL,
	"object_rows" bigint DEFAULT 0 NOT NULL,
	"seq" bigint DEFAULT 0 NOT NULL,
	"rows" bigint,
	"bytes_stored" bigint,
	"archive_bytes" bigint,
	CONSTRAINT "usage_days_tenant_id_day_pk" PRIMARY KEY("tenant_id","day")
);
--> statement-breakpoint
ALTER TABLE "control"."usage_days" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."usage_hours" (
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"hour" timestamp (3) with time zone NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"refused" bigint DEFAULT 0 NOT NULL,
	"units" bigint DEFAULT 0 NOT NULL,
	"errors" bigint DEFAULT 0 NOT NULL,
	"bytes_out" bigint DEFAULT 0 NOT NULL,
	"db_ms" bigint DEFAULT 0 NOT NULL,
	"object_ms" bigint DEFAULT 0 NOT NULL,
	"object_rows" bigint DEFAULT 0 NOT NULL,
	"seq" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "usage_hours_tenant_id_hour_pk" PRIMARY KEY("tenant_id","hour")
);
--> statement-breakpoint
ALTER TABLE "control"."usage_hours" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."usage_keys" (
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"day" date NOT NULL,
	"key_id" uuid NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"refused" bigint DEFAULT 0 NOT NULL,
	"units" bigint DEFAULT 0 NOT NULL,
	"errors" bigint DEFAULT 0 NOT NULL,
	"bytes_out" bigint DEFAULT 0 NOT NULL,
	"db_ms" bigint DEFAULT 0 NOT NULL,
	"object_ms" bigint DEFAULT 0 NOT NULL,
	"object_rows" bigint DEFAULT 0 NOT NULL,
	"seq" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "usage_keys_tenant_id_key_id_day_pk" PRIMARY KEY("tenant_id","key_id","day")
);
--> statement-breakpoint
ALTER TABLE "control"."usage_keys" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."usage_months" (
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"month" date NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"refused" bigint DEFAULT 0 NOT NULL,
	"units" bigint DEFAULT 0 NOT NULL,
	"errors" bigint DEFAULT 0 NOT NULL,
	"bytes_out" bigint DEFAULT 0 NOT NULL,
	"db_ms" bigint DEFAULT 0 NOT NULL,
	"object_ms" bigint DEFAULT 0 NOT NULL,
	"object_rows" bigint DEFAULT 0 NOT NULL,
	"rows" bigint,
	"bytes_stored" bigint,
	"archive_bytes" bigint,
	"byte_days" bigint DEFAULT 0 NOT NULL,
	"archive_byte_days" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "usage_months_tenant_id_month_pk" PRIMARY KEY("tenant_id","month")
);
--> statement-breakpoint
ALTER TABLE "control"."usage_months" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."usage_totals" (
	"period" text NOT NULL,
	"start" timestamp (3) with time zone NOT NULL,
	"tenants" integer NOT NULL,
	"active" integer NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"refused" bigint DEFAULT 0 NOT NULL,
	"units" bigint DEFAULT 0 NOT NULL,
	"errors" bigint DEFAULT 0 NOT NULL,
	"bytes_out" bigint DEFAULT 0 NOT NULL,
	"db_ms" bigint DEFAULT 0 NOT NULL,
	"object_ms" bigint DEFAULT 0 NOT NULL,
	"object_rows" bigint DEFAULT 0 NOT NULL,
	"rows" bigint,
	"bytes_stored" bigint,
	"archive_bytes" bigint,
	CONSTRAINT "usage_totals_period_start_pk" PRIMARY KEY("period","start"),
	CONSTRAINT "period_known" CHECK (period in ('hour', 'day'))
);
--> statement-breakpoint
ALTER TABLE "control"."usage_totals" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "control"."usage_warnings" (
	"tenant_id" uuid DEFAULT control.claimed_tenant_id() NOT NULL,
	"month" date NOT NULL,
	"percent" integer NOT NULL,
	"id" uuid DEFAULT gen_random_uuid() NOT NULL,
	"used" bigint NOT NULL,
	"quota" bigint NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_warnings_tenant_id_month_percent_pk" PRIMARY KEY("tenant_id","month","percent")
);
--> statement-breakpoint
ALTER TABLE "control"."usage_warnings" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "control"."usage_days" ADD CONSTRAINT "usage_days_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."usage_hours" ADD CONSTRAINT "usage_hours_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."usage_keys" ADD CONSTRAINT "usage_keys_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."usage_months" ADD CONSTRAINT "usage_months_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "control"."usage_warnings" ADD CONSTRAINT "usage_warnings_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "control"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "usage_days_of_all" ON "control"."usage_days" USING btree ("day","tenant_id");--> statement-breakpoint
CREATE INDEX "usage_hours_of_all" ON "control"."usage_hours" USING btree ("hour","tenant_id");--> statement-breakpoint
CREATE INDEX "usage_months_of_all" ON "control"."usage_months" USING btree ("month","tenant_id");--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."usage_days" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."usage_days" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."usage_hours" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."usage_hours" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."usage_keys" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."usage_keys" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."usage_months" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."usage_months" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."usage_totals" AS PERMISSIVE FOR ALL TO public USING (false) WITH CHECK (false);--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."usage_totals" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."usage_warnings" AS PERMISSIVE FOR ALL TO public USING (tenant_id = (select control.current_tenant_id())) WITH CHECK (tenant_id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."usage_warnings" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);