CREATE INDEX "projects_by_name" ON "projects" USING btree ("tenant_id","name","id");--> statement-breakpoint
CREATE INDEX "tasks_by_due_on" ON "tasks" USING btree ("tenant_id","due_on","id");