import { sql } from "drizzle-orm";
import { bigint, check, index, integer, jsonb, pgTable, primaryKey, text, uuid } from "drizzle-orm/pg-core";
import { ROLES } from "../authority.ts";
import { bytea, instant, oneOf } from "./columns.ts";
import { tenantPolicies } from "./tenant-table.ts";

// What partywall itself keeps beside a tenant's content.

const tenantId = () =>
  uuid("tenant_id")
    .notNull()
    .default(sql`current_tenant_id()`);

export const AUDIT_ACTIONS = ["create", "update", "delete"] as const;
export const ACTOR_TYPES = ["user", "api_key", "invitation", "issuer", "operator", "support"] as const;

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
    /** What an operator is called, for content knows no operators. The id is signed for, and this is not. */
    actor_name: text("actor_name"),
    action: text("action", { enum: AUDIT_ACTIONS }).notNull(),
    /** The table, and the row's id in it. */
    resource: text("resource").notNull(),
    resource_id: uuid("resource_id").notNull(),
    /** Names of the columns that an update changed; no values, which may be anyone's secrets. */
    changed: text("changed").array().notNull(),
    request_id: text("request_id"),
    /** Why an operator did it, in their words. */
    reason: text("reason"),
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

/** What a fence lets through: docs/moves.md says what each mode is for. */
export const FENCE_MODES = ["open", "logged", "frozen", "closed", "loading"] as const;

/**
 * Who may work on a tenant's content here, if that was ever moved, frozen or loaded. set_fence() writes it, and the
 * verifier reads it; no login may. The tenant is text, since nothing of a context is parsed before its MAC holds.
 */
export const fences = pgTable(
  "fences",
  {
    tenant: text("tenant").primaryKey(),
    /** Contexts of another epoch are refused. */
    epoch: integer("epoch").notNull(),
    mode: text("mode", { enum: FENCE_MODES }).notNull(),
    /** The fencing token of the last attempt that was here: an attempt with a smaller one is refused for good. */
    token: bigint("token", { mode: "number" }).notNull(),
    /** From then on, `frozen` means `logged`. */
    until: instant("until"),
    /** The export, if one is under way, for which the change log keeps rows as they were before their first change. */
    exported_by: text("exported_by"),
  },
  () => [oneOf("mode", FENCE_MODES), check("frozen_ends", sql`(mode = 'frozen') = (until is not null)`)],
).enableRLS();

/**
 * What was changed while a tenant is `logged`: the table, and the values of its key without the tenant's. For an export,
 * each key once, with the row before its first change, as Postgres prints it; null for one that was not there.
 */
export const changeLog = pgTable(
  "change_log",
  {
    id: uuid("id")
      .primaryKey()
      .default(sql`gen_random_uuid()`),
    tenant: text("tenant").notNull(),
    table_name: text("table_name").notNull(),
    key: text("key").array().notNull(),
    image: text("image"),
  },
  (t) => [
    index("change_log_of_tenant").on(t.tenant),
    index("change_log_of_row").on(t.tenant, t.table_name, t.key),
  ],
).enableRLS();
