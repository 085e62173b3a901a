ALTER TABLE "change_log" ADD COLUMN "image" text;--> statement-breakpoint
ALTER TABLE "fences" ADD COLUMN "exported_by" text;--> statement-breakpoint
CREATE INDEX "change_log_of_row" ON "change_log" USING btree ("tenant","table_name","key");