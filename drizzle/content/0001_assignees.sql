-- The tasks of a member who leaves are nobody's. Here, because Drizzle cannot name the one column to set to null.
ALTER TABLE tasks DROP CONSTRAINT tasks_assignee,
	ADD CONSTRAINT tasks_assignee FOREIGN KEY (tenant_id, assignee_id) REFERENCES members (tenant_id, id)
		ON DELETE SET NULL (assignee_id);
