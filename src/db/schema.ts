import { sql } from "drizzle-orm";
import {
  check,
  customType,
  date,
  foreignKey,
  index,
  integer,
  jsonb,
  pgPolicy,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from "drizzle-orm/pg-core";
import { v7 as uuidv7 } from "uuid";
import { instant, rowHistory, tenantTable } from "./tenant-table.ts";
import type { Policy } from "../tenant/limits.ts";

const bytea = customType<{ data: Uint8Array; driverData: string }>({
  dataType: () => "bytea",
  toDriver: (bytes) => `\\x${Buffer.from(bytes).toString("hex")}`,
});

const ids = {
  id: uuid("id")
    .primaryKey()
    .$defaultFn(() => uuidv7()),
};

// Text with a CHECK, not an enum: an enum's comparisons are not leakproof, so RLS would keep them from indexes.
const oneOf = (column: string, values: readonly string[]) =>
  check(`${column}_known`, sql.raw(`${column} in (${values.map((value) => `'${value}'`).join(", ")})`));

export const PLANS = ["solo", "startup", "enterprise"] as const;
export const TENANT_STATUSES = ["active", "suspended", "closing"] as const;
export const ROLES = ["viewer", "member", "admin", "owner"] as const;
export const PROJECT_STATUSES = ["active", "archived"] as const;
export const TASK_STATUSES = ["todo", "doing", "done"] as const;

// --- Identity: who there is. Served by partywall_identity; a tenant request sees its own tenants row alone. ---

const ownTenant = sql`id = (select current_tenant_id())`;

export const tenants = pgTable(
  "tenants",
  {
    ...ids,
    slug: text("slug").notNull(),
    name: text("name").notNull(),
    plan: text("plan", { enum: PLANS }).notNull().default("solo"),
    status: text("status", { enum: TENANT_STATUSES }).notNull().default("active"),
    /** This tenant's own policies, set by an operator; they replace its plan's. */
    limits: jsonb("limits").$type<Policy[]>(),
    ...rowHistory(),
  },
  (t) => [
    uniqueIndex("tenants_slug").on(t.slug),
    check("slug_is_a_host_label", sql`slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'`),
    oneOf("plan", PLANS),
    oneOf("status", TENANT_STATUSES),
    // To all, because DROP OWNED BY a role drops the policies that name it alone.
    pgPolicy("own_tenant", { for: "all", to: "public", using: ownTenant, withCheck: ownTenant }),
    pgPolicy("identity_all", {
      for: "all",
      to: "partywall_identity",
      using: sql`true`,
      withCheck: sql`true`,
    }),
    pgPolicy("operator_all", {
      for: "all",
      to: "partywall_operator",
      using: sql`true`,
      withCheck: sql`true`,
    }),
  ],
);

export const users = pgTable(
  "users",
  { ...ids, email: text("email").notNull(), password_hash: text("password_hash"), ...rowHistory() },
  (t) => [uniqueIndex("users_email").on(t.email), check("email_is_lower_case", sql`email = lower(email)`)],
);

export const memberships = pgTable(
  "memberships",
  {
    tenant_id: uuid("tenant_id")
      .notNull()
      .references(() => tenants.id, { onDelete: "cascade" }),
    user_id: uuid("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    role: text("role", { enum: ROLES }).notNull(),
    ...rowHistory(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.user_id] }),
    index("memberships_user").on(t.user_id),
    oneOf("role", ROLES),
  ],
);

/** A session is one family of refresh tokens; only the hash of the newest is kept. */
export const sessions = pgTable(
  "sessions",
  {
    ...ids,
    tenant_id: uuid("tenant_id").notNull(),
    user_id: uuid("user_id").notNull(),
    /** How many times the refresh token was rotated. */
    generation: integer("generation").notNull().default(0),
    refresh_hash: bytea("refresh_hash").notNull(),
    rotated_at: instant("rotated_at").notNull().defaultNow(),
    expires_at: instant("expires_at").notNull(),
    revoked_at: instant("revoked_at"),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [
    foreignKey({
      name: "sessions_membership",
      columns: [t.tenant_id, t.user_id],
      foreignColumns: [memberships.tenant_id, memberships.user_id],
    }).onDelete("cascade"),
    index("sessions_user").on(t.user_id),
  ],
);

// --- Tenant tables: what a tenant owns. Served by partywall_app, behind the wall. Add yours here. ---

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
    // A task is assigned to a member of its own tenant, or to nobody.
    foreignKey({
      name: "tasks_assignee",
      columns: [t.tenant_id, t.assignee_id],
      foreignColumns: [memberships.tenant_id, memberships.user_id],
    }),
    index("tasks_newest").on(t.tenant_id, t.created_at, t.id),
    index("tasks_of_project").on(t.tenant_id, t.project_id, t.created_at, t.id),
    index("tasks_of_assignee").on(t.tenant_id, t.assignee_id),
    oneOf("status", TASK_STATUSES),
  ],
);
