CREATE TABLE "control"."erasures" (
	"id" uuid PRIMARY KEY NOT NULL,
	"requested_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"worked_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"places" jsonb NOT NULL,
	"erased" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"finished_at" timestamp (3) with time zone,
	"receipt" text,
	CONSTRAINT "finished_with_a_receipt" CHECK ((finished_at is null) = (receipt is null))
);
--> statement-breakpoint
ALTER TABLE "control"."erasures" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "control"."jobs" DROP CONSTRAINT "kind_known";--> statement-breakpoint
ALTER TABLE "control"."tenants" DROP CONSTRAINT "status_known";--> statement-breakpoint
ALTER TABLE "control"."jobs" ADD COLUMN "result" jsonb;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "closes_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD COLUMN "restores_to" text;--> statement-breakpoint
CREATE INDEX "erasures_open" ON "control"."erasures" USING btree ("worked_at") WHERE finished_at is null;--> statement-breakpoint
CREATE INDEX "jobs_newest" ON "control"."jobs" USING btree ("tenant_id","kind","started_at","id");--> statement-breakpoint
CREATE INDEX "jobs_open" ON "control"."jobs" USING btree ("worked_at") WHERE finished_at is null;--> statement-breakpoint
CREATE INDEX "jobs_kept" ON "control"."jobs" USING btree ("kept_until") WHERE kept_until is not null;--> statement-breakpoint
CREATE INDEX "tenants_closing" ON "control"."tenants" USING btree ("closes_at") WHERE closes_at is not null;--> statement-breakpoint
ALTER TABLE "control"."jobs" ADD CONSTRAINT "kind_known" CHECK (kind in ('move', 'clear', 'restore', 'export', 'import', 'erasure'));--> statement-breakpoint
UPDATE "control"."tenants" SET closes_at = now() + interval '30 days', restores_to = 'active' WHERE status = 'closing';--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "closing_ends" CHECK ((status = 'closing') = (closes_at is not null) and (status = 'closing') = (restores_to is not null));--> statement-breakpoint
ALTER TABLE "control"."tenants" ADD CONSTRAINT "status_known" CHECK (status in ('active', 'read_only', 'suspended', 'closing', 'erasing'));--> statement-breakpoint
CREATE POLICY "tenant_only" ON "control"."erasures" AS PERMISSIVE FOR ALL TO public USING (id = (select control.current_tenant_id())) WITH CHECK (id = (select control.current_tenant_id()));--> statement-breakpoint
CREATE POLICY "across_tenants" ON "control"."erasures" AS PERMISSIVE FOR ALL TO "partywall_identity", "partywall_operator", "partywall_owner" USING ((select control.current_tenant_id()) is null) WITH CHECK ((select control.current_tenant_id()) is null);