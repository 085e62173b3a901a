import { sql } from "drizzle-orm";
import { bigint, index, jsonb, pgTable, primaryKey, text, uuid } from "drizzle-orm/pg-core";
import { ROLES } from "../authority.ts";
import { bytea, instant } from "./columns.ts";
import { tenantPolicies } from "./tenant-table.ts";

// What partywall itself keeps beside a tenant's content.

const tenantId = () =>
  uuid("tenant_id")
    .notNull()
    .default(sql`current_tenant_id()`);

export const AUDIT_ACTIONS = ["create", "update", "delete"] as const;
export const ACTOR_TYPES = ["user", "api_key", "invitation", "issuer"] as const;

/**
 * Who did what to which row: written by audit_row() in the change's own transaction, and by receive() for the control
 * plane; by nobody else.
 */
export const auditEvents = pgTable(
  "audit_events",
  {
    tenant_id: tenantId(),
    id: uuid("id")
      .notNull()
      .default(sql`gen_random_uuid()`),
    created_at: instant("created_at")
      .notNull()
      .default(sql`clock_timestamp()`),
    actor_id: uuid("actor_id").notNull(),
    actor_type: text("actor_type", { enum: ACTOR_TYPES }).notNull(),
    action: text("action", { enum: AUDIT_ACTIONS }).notNull(),
    /** The table, and the row's id in it. */
    resource: text("resource").notNull(),
    resource_id: uuid("resource_id").notNull(),
    /** Names of the columns that an update changed; no values, which may be anyone's secrets. */
    changed: text("changed").array().notNull(),
    request_id: text("request_id"),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.id] }),
    index("audit_events_newest").on(t.tenant_id, t.created_at, t.id),
    index("audit_events_of_row").on(t.tenant_id, t.resource_id, t.created_at, t.id),
    ...tenantPolicies(),
  ],
);

/** The first answer to each POST that carried an Idempotency-Key, for a day; it commits with what it made. */
export const idempotencyKeys = pgTable(
  "idempotency_keys",
  {
    tenant_id: tenantId(),
    actor_id: uuid("actor_id")
      .notNull()
      .default(sql`current_actor_id()`),
    key: text("key").notNull(),
    request_hash: bytea("request_hash").notNull(),
    answer: jsonb("answer"),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.actor_id, t.key] }),
    index("idempotency_keys_oldest").on(t.tenant_id, t.created_at),
    ...tenantPolicies(),
  ],
);

/**
 * The tenant's members, for content to refer to and to show: a copy of the control plane's, kept by receive() alone. A
 * change of a member is here when its request is answered; if the site was out of reach, soon after it is back.
 */
export const members = pgTable(
  "members",
  {
    tenant_id: tenantId(),
    /** The user's. */
    id: uuid("id").notNull(),
    email: text("email").notNull(),
    role: text("role", { enum: ROLES }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.id] }), ...tenantPolicies()],
);

/** Who was a member and is none: how to name whoever made what is there still. */
export const formerMembers = pgTable(
  "former_members",
  {
    tenant_id: tenantId(),
    /** The user's. */
    id: uuid("id").notNull(),
    email: text("email").notNull(),
    left_at: instant("left_at").notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.id] }), ...tenantPolicies()],
);

/** The last outbox entry of the tenant that is in force here; receive() keeps it. */
export const outboxReceipts = pgTable(
  "outbox_receipts",
  {
    tenant_id: tenantId().primaryKey(),
    seq: bigint("seq", { mode: "number" }).notNull().default(0),
  },
  () => tenantPolicies(),
);

/** What next_number() has counted to, by the counter's name. */
export const counters = pgTable(
  "counters",
  {
    tenant_id: tenantId(),
    name: text("name").notNull(),
    value: bigint("value", { mode: "number" }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.name] }), ...tenantPolicies()],
);
