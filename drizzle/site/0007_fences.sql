CREATE TABLE "change_log" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"tenant" text NOT NULL,
	"table_name" text NOT NULL,
	"key" text[] NOT NULL
);
--> statement-breakpoint
ALTER TABLE "change_log" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "fences" (
	"tenant" text PRIMARY KEY NOT NULL,
	"epoch" integer NOT NULL,
	"mode" text NOT NULL,
	"token" bigint NOT NULL,
	"until" timestamp (3) with time zone,
	CONSTRAINT "mode_known" CHECK (mode in ('open', 'logged', 'frozen', 'closed', 'loading')),
	CONSTRAINT "frozen_ends" CHECK ((mode = 'frozen') = (until is not null))
);
--> statement-breakpoint
ALTER TABLE "fences" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE INDEX "change_log_of_tenant" ON "change_log" USING btree ("tenant");