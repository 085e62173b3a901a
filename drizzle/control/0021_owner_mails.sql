ALTER TABLE "control"."support_sessions" ADD COLUMN "told" text;--> statement-breakpoint
ALTER TABLE "control"."usage_warnings" ADD COLUMN "mailed_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "support_sessions_untold" ON "control"."support_sessions" USING btree ("created_at") WHERE told is distinct from 'ended';--> statement-breakpoint
CREATE INDEX "usage_warnings_unmailed" ON "control"."usage_warnings" USING btree ("created_at") WHERE mailed_at is null;--> statement-breakpoint
ALTER TABLE "control"."support_sessions" ADD CONSTRAINT "told_known" CHECK (told in ('asked', 'started', 'ended'));