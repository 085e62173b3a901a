import { integer, pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";

/** A copy of partywall's projects, as a team would declare it by hand. */
export const projectsTable = (name: string) =>
  pgTable(name, {
    tenant_id: uuid("tenant_id").notNull(),
    id: uuid("id").notNull(),
    name: text("name").notNull(),
    description: text("description").notNull(),
    status: text("status", { enum: ["active", "archived"] }).notNull(),
    created_at: timestamp("created_at", { withTimezone: true, precision: 3, mode: "date" }).notNull(),
    updated_at: timestamp("updated_at", { withTimezone: true, precision: 3, mode: "date" }).notNull(),
    created_by: uuid("created_by").notNull(),
    version: integer("version").notNull(),
  });

/** The columns that every Worker of the comparison reads. */
export function projectColumns(projects: ReturnType<typeof projectsTable>) {
  const { id, name, description, status, created_at, updated_at, created_by, version } = projects;
  return { id, name, description, status, created_at, updated_at, created_by, version };
}
