import { desc, sql, type SQL } from "drizzle-orm";
import { pgTable, text, timestamp, uuid } from "drizzle-orm/pg-core";

/** A copy of partywall's projects, as a team would declare it by hand. */
export const projectsTable = (name: string) =>
  pgTable(name, {
    tenant_id: uuid("tenant_id").notNull(),
    id: uuid("id").notNull(),
    name: text("name").notNull(),
    description: text("description").notNull().default(""),
    status: text("status", { enum: ["active", "archived"] })
      .notNull()
      .default("active"),
    created_at: instant("created_at"),
    updated_at: instant("updated_at"),
    created_by: uuid("created_by").notNull(),
  });

const instant = (name: string) =>
  timestamp(name, { withTimezone: true, precision: 3, mode: "date" }).notNull().defaultNow();

type Projects = ReturnType<typeof projectsTable>;

/** The columns that every Worker of the comparison answers with. */
export function projectColumns(projects: Projects) {
  const { id, name, description, status, created_at, updated_at, created_by } = projects;
  return { id, name, description, status, created_at, updated_at, created_by };
}

/** How many rows a page has unless the client says otherwise. */
export const PAGE = 50;

export const newestFirst = (projects: Projects) => [desc(projects.created_at), desc(projects.id)];

/** The rows after a cursor; all when there is none. */
export function after(projects: Projects, cursor: string | undefined): SQL | undefined {
  if (cursor === undefined) return undefined;
  const [created_at, id] = atob(cursor).split(" ");
  return sql`(${projects.created_at}, ${projects.id}) < (${created_at}, ${id})`;
}

/** A page of rows of which one more was read, to tell whether another page follows. */
export function page<Row extends { id: string; created_at: Date }>(rows: Row[], limit: number) {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  const more = last !== undefined && rows.length > data.length;
  return { data, next_cursor: more ? btoa(`${last.created_at.toISOString()} ${last.id}`) : null };
}
