DROP INDEX "tasks_of_assignee";--> statement-breakpoint
CREATE INDEX "projects_of_status" ON "projects" USING btree ("tenant_id","status","created_at","id");--> statement-breakpoint
CREATE INDEX "tasks_of_status" ON "tasks" USING btree ("tenant_id","status","created_at","id");--> statement-breakpoint
CREATE INDEX "tasks_of_assignee" ON "tasks" USING btree ("tenant_id","assignee_id","created_at","id");