ALTER TABLE "tenants" DROP CONSTRAINT "plan_known";--> statement-breakpoint
ALTER TABLE "tenants" ALTER COLUMN "plan" DROP DEFAULT;