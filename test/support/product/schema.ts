import { sql } from "drizzle-orm";
import { date, foreignKey, index, text, uuid } from "drizzle-orm/pg-core";
import { oneOf } from "../../../src/db/columns.ts";
import { members } from "../../../src/db/site.ts";
import { tenantTable } from "../../../src/db/tenant-table.ts";

// The product that partywall's own tests are about, in the place of src/product (test/vitest.config.ts).

export const PROJECT_STATUSES = ["active", "archived"] as const;
export const TASK_STATUSES = ["todo", "doing", "done"] as const;

export const projects = tenantTable(
  "projects",
  {
    name: text("name").notNull(),
    description: text("description").notNull().default(""),
    status: text("status", { enum: PROJECT_STATUSES }).notNull().default("active"),
    created_by: uuid("created_by")
      .notNull()
      .default(sql`current_actor_id()`),
  },
  (t) => [
    // Ascending: read backwards it is "newest first" with Postgres' own null order.
    index("projects_newest").on(t.tenant_id, t.created_at, t.id),
    index("projects_by_name").on(t.tenant_id, t.name, t.id),
    index("projects_of_status").on(t.tenant_id, t.status, t.created_at, t.id),
    oneOf("status", PROJECT_STATUSES),
  ],
);

export const tasks = tenantTable(
  "tasks",
  {
    project_id: uuid("project_id").notNull(),
    title: text("title").notNull(),
    notes: text("notes").notNull().default(""),
    status: text("status", { enum: TASK_STATUSES }).notNull().default("todo"),
    assignee_id: uuid("assignee_id"),
    due_on: date("due_on", { mode: "string" }),
    created_by: uuid("created_by")
      .notNull()
      .default(sql`current_actor_id()`),
  },
  (t) => [
    foreignKey({
      name: "tasks_project",
      columns: [t.tenant_id, t.project_id],
      foreignColumns: [projects.tenant_id, projects.id],
    }).onDelete("cascade"),
    // A task is assigned to a member of its own tenant, or to nobody, as when that one leaves (0001_assignees.sql).
    foreignKey({
      name: "tasks_assignee",
      columns: [t.tenant_id, t.assignee_id],
      foreignColumns: [members.tenant_id, members.id],
    }),
    index("tasks_newest").on(t.tenant_id, t.created_at, t.id),
    index("tasks_by_due_on").on(t.tenant_id, t.due_on, t.id),
    index("tasks_of_project").on(t.tenant_id, t.project_id, t.created_at, t.id),
    index("tasks_of_assignee").on(t.tenant_id, t.assignee_id, t.created_at, t.id),
    index("tasks_of_status").on(t.tenant_id, t.status, t.created_at, t.id),
    oneOf("status", TASK_STATUSES),
  ],
);
