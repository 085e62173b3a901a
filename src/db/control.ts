import { sql, type SQL } from "drizzle-orm";
import {
  bigint,
  boolean,
  check,
  date,
  foreignKey,
  index,
  integer,
  jsonb,
  pgPolicy,
  pgSchema,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
  type AnyPgColumn,
} from "drizzle-orm/pg-core";
import { OPERATOR_ROLES } from "../operator.ts";
import type { Policy } from "../policy.ts";
import { TENANT_STATUSES } from "../tenant-states.ts";
import { API_KEY_SCOPES, ISSUED_ROLES, ROLES } from "../authority.ts";
import { PLAN_POLICIES } from "../product/plans.ts";
import { bytea, instant, newId, oneOf, rowHistory } from "./columns.ts";
import { FIGURES, type Figure } from "../usage-figures.ts";
import { FIRST_EPOCH, SITE_KINDS } from "./places.ts";

// The control plane: who there is. A request that knows its tenant is served by partywall_account, in a signed context;
// what has to look across tenants by partywall_identity.

const control = pgSchema("control");

type Plan = keyof typeof PLAN_POLICIES;
/** No CHECK knows them: a product changes its plans without a migration. */
export const PLANS = Object.keys(PLAN_POLICIES) as [Plan, ...Plan[]];

const current = sql`(select control.current_tenant_id())`;

/**
 * The wall of one table: `tenant_only` shows the rows of the context's tenant. Whoever signs people in, or operates the
 * deployment, has no context and looks across tenants; with one, they see no more than others. So does the tables' owner,
 * as whom triggers run.
 */
const policies = (shown: SQL, taken: SQL = shown) => [
  // To all, because DROP OWNED BY a role drops the policies that name it alone.
  pgPolicy("tenant_only", { for: "all", to: "public", using: shown, withCheck: taken }),
  pgPolicy("across_tenants", {
    for: "all",
    to: ["partywall_identity", "partywall_operator", "partywall_owner"],
    using: sql`${current} is null`,
    withCheck: sql`${current} is null`,
  }),
];
const tenantPolicies = () => policies(sql`tenant_id = ${current}`);

/**
 * Where tenants' content is kept (places.ts): the shared site, and those that `npm run tenants -- site add` has made. A
 * request of a tenant sees its own site's row.
 */
export const sites = control.table(
  "sites",
  {
    name: text("name").primaryKey(),
    kind: text("kind", { enum: SITE_KINDS }).notNull(),
    schema: text("schema").notNull(),
    server: text("server"),
    host: text("host"),
    database: text("database"),
    secret: text("secret").notNull(),
    generation: integer("generation").notNull().default(1),
    /** When the passwords and keys of its server were last replaced, while the keys before them are still good. */
    rotated_at: instant("rotated_at"),
    /** Where it is, such as `aws-eu-central-1`; null where nobody has said. */
    region: text("region"),
    /** The Neon project that its server is in: operators read it, for what Neon bills. Null where nobody has said. */
    neon_project: text("neon_project"),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [
    oneOf("kind", SITE_KINDS),
    // The control plane's own server is of all tenants.
    check("project_of_another_server", sql`neon_project is null or server is not null`),
    check("name_is_short", sql`name ~ '^[a-z][a-z0-9-]{0,39}$'`),
    check(
      "server_has_a_host",
      sql`(server is null) = (host is null) and (server is null or database is not null)`,
    ),
    uniqueIndex("sites_place").on(sql`coalesce(${t.server}, '')`, sql`coalesce(${t.database}, '')`, t.schema),
    ...policies(sql`name in (select t.site from control.tenants t)`),
  ],
);

export const SUPPORT_MODES = ["off", "ask", "on"] as const;

export const tenants = control.table(
  "tenants",
  {
    id: newId().primaryKey(),
    slug: text("slug").notNull(),
    name: text("name").notNull(),
    plan: text("plan", { enum: PLANS }).notNull(),
    status: text("status", { enum: TENANT_STATUSES }).notNull().default("active"),
    /** While it is closing: when its erasure begins, and the status that restoring it brings back. */
    closes_at: instant("closes_at"),
    restores_to: text("restores_to", { enum: ["active", "read_only", "suspended"] }),
    /** This tenant's own policies, set by an operator; they replace its plan's. */
    limits: jsonb("limits").$type<Policy[]>(),
    /** Where its content is, and since how many moves. */
    site: text("site")
      .notNull()
      .default("shared")
      .references(() => sites.name),
    epoch: integer("epoch").notNull().default(FIRST_EPOCH),
    /** Whether its members sign in with a second factor. */
    require_second_factor: boolean("require_second_factor").notNull().default(false),
    /** Whether operators may look in: never, each time that an owner approves, or whenever they ask. */
    support_access: text("support_access", { enum: SUPPORT_MODES }).notNull().default("off"),
    ...rowHistory(),
  },
  (t) => [
    uniqueIndex("tenants_slug").on(t.slug),
    check("slug_is_a_host_label", sql`slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'`),
    oneOf("status", TENANT_STATUSES),
    oneOf("support_access", SUPPORT_MODES),
    check(
      "closing_ends",
      sql`(status = 'closing') = (closes_at is not null) and (status = 'closing') = (restores_to is not null)`,
    ),
    index("tenants_closing")
      .on(t.closes_at)
      .where(sql`closes_at is not null`),
    index("tenants_site").on(t.site),
    // The orders of the operators' list.
    index("tenants_by_name").on(sql`lower(${t.name})`, t.id),
    index("tenants_newest").on(t.created_at, t.id),
    ...policies(sql`id = ${current}`),
  ],
);

export const JOB_KINDS = ["move", "clear", "restore", "export", "import", "erasure"] as const;
export const JOB_OUTCOMES = ["done", "failed", "abandoned"] as const;

/**
 * What is done to a tenant's content as a whole, one job at a time: a move to `target`, the deletion of what one left at
 * `source`, a restore; an export, an import, the tenant's erasure. Whoever works on it, from whatever machine, does so as one
 * attempt, with a fencing token of its own.
 */
export const jobs = control.table(
  "jobs",
  {
    id: newId().primaryKey(),
    tenant_id: uuid("tenant_id")
      .notNull()
      .references(() => tenants.id),
    kind: text("kind", { enum: JOB_KINDS }).notNull(),
    source: text("source")
      .notNull()
      .references(() => sites.name),
    target: text("target")
      .notNull()
      .references(() => sites.name),
    /** The tenant's epoch when it began. */
    epoch: integer("epoch").notNull(),
    /** Greater than that of any attempt at the tenant's content before. */
    token: bigint("token", { mode: "number" }).notNull(),
    /** How far it is, for people. */
    progress: jsonb("progress").notNull().default({}),
    started_at: instant("started_at").notNull().defaultNow(),
    worked_at: instant("worked_at").notNull().defaultNow(),
    finished_at: instant("finished_at"),
    outcome: text("outcome", { enum: JOB_OUTCOMES }),
    /** Of an export, what its archive is; why it failed. */
    result: jsonb("result"),
    /** When what it left behind is deleted: the rows at a move's source, a restore's undo schema. Null: nothing is left. */
    kept_until: instant("kept_until"),
  },
  (t) => [
    oneOf("kind", JOB_KINDS),
    check("finished_with_an_outcome", sql`(finished_at is null) = (outcome is null)`),
    uniqueIndex("jobs_one_at_a_time")
      .on(t.tenant_id)
      .where(sql`finished_at is null`),
    index("jobs_of_tenant").on(t.tenant_id, t.token),
    index("jobs_newest").on(t.tenant_id, t.kind, t.started_at, t.id),
    // What a sweep looks for.
    index("jobs_open")
      .on(t.worked_at)
      .where(sql`finished_at is null`),
    index("jobs_kept")
      .on(t.kept_until)
      .where(sql`kept_until is not null`),
    // The operators' list of moves.
    index("jobs_moves")
      .on(t.started_at, t.id)
      .where(sql`kind in ('move', 'clear', 'restore')`),
    ...tenantPolicies(),
  ],
);

/**
 * The ledger of tenants that are erased, or are being, by their ids: it outlives them, and has no personal data. The receipt is
 * a signed statement of what was deleted (src/lifecycle/erasure.ts).
 */
export const erasures = control.table(
  "erasures",
  {
    /** The tenant's. */
    id: newId().primaryKey(),
    requested_at: instant("requested_at").notNull().defaultNow(),
    worked_at: instant("worked_at").notNull().defaultNow(),
    /** The sites where the tenant ever had rows, as they were when it began. */
    places: jsonb("places").$type<unknown[]>().notNull(),
    /** How many rows there were to delete, by place and table. */
    erased: jsonb("erased").$type<Record<string, Record<string, number>>>().notNull().default({}),
    finished_at: instant("finished_at"),
    receipt: text("receipt"),
  },
  (t) => [
    index("erasures_newest").on(t.requested_at, t.id),
    index("erasures_open")
      .on(t.worked_at)
      .where(sql`finished_at is null`),
    check("finished_with_a_receipt", sql`(finished_at is null) = (receipt is null)`),
    ...policies(sql`id = ${current}`),
  ],
);

// Not verified: tenant_only's WITH CHECK verifies it, as it does a tenant_id that SQL names.
const tenantId = () =>
  uuid("tenant_id")
    .notNull()
    .default(sql`control.claimed_tenant_id()`);

// INSERT … ON CONFLICT (id) DO UPDATE … WHERE shows the row in the way to the WHERE before the wall hides it. So what
// partywall_account may insert and update has tenant_id in its keys, or a key that it does not choose, such as this one.
const givenId = () => newId().default(sql`gen_random_uuid()`);
const ofTenant = () => tenantId().references(() => tenants.id, { onDelete: "cascade" });

// A tenant's people are its members and its issuers' users; the tables in these subqueries show that tenant's rows alone.
const itsMember = sql`exists (select from control.memberships m where m.user_id = users.id)`;
const ofItsIssuer = sql`issuer_id in (select i.id from control.issuers i)`;

/**
 * A person. `version` counts the changes to what its tokens may say: its roles, and the tenants that it is in
 * (void_member_tokens()). One who came from a tenant's own issuer belongs to that issuer: nobody else's email is theirs.
 */
export const users = control.table(
  "users",
  {
    id: givenId().primaryKey(),
    email: text("email").notNull(),
    password_hash: text("password_hash"),
    issuer_id: uuid("issuer_id").references(() => issuers.id, { onDelete: "cascade" }),
    /** The issuer's `sub`. */
    subject: text("subject"),
    /** When somebody last showed a token that was mailed to this address; null while nobody has. */
    email_verified_at: instant("email_verified_at"),
    /** What they want to be called, and their language, such as `en-GB`. */
    name: text("name"),
    locale: text("locale"),
    /** How many second factors were wrong since one was right, and when the last one was. */
    factor_failures: integer("factor_failures").notNull().default(0),
    factor_failed_at: instant("factor_failed_at"),
    ...rowHistory(),
  },
  (t) => [
    ...policies(
      sql`${itsMember} or ${ofItsIssuer}`,
      sql`(issuer_id is null and ${itsMember}) or ${ofItsIssuer}`,
    ),
    uniqueIndex("users_email")
      .on(t.email)
      .where(sql`issuer_id is null`),
    uniqueIndex("users_subject").on(t.issuer_id, t.subject),
    check("email_is_lower_case", sql`email = lower(email)`),
    check("subject_of_issuer", sql`(issuer_id is null) = (subject is null)`),
  ],
);

export const memberships = control.table(
  "memberships",
  {
    tenant_id: ofTenant(),
    user_id: uuid("user_id")
      .notNull()
      .references(() => users.id, { onDelete: "cascade" }),
    role: text("role", { enum: ROLES }).notNull(),
    ...rowHistory(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.user_id] }),
    index("memberships_user").on(t.user_id),
    index("memberships_newest").on(t.tenant_id, t.created_at, t.user_id),
    oneOf("role", ROLES),
    ...tenantPolicies(),
  ],
);

const byMember = (name: string, t: { tenant_id: AnyPgColumn; user: AnyPgColumn }) =>
  foreignKey({
    name,
    columns: [t.tenant_id, t.user],
    foreignColumns: [memberships.tenant_id, memberships.user_id],
  }).onDelete("cascade");

/** A session is one family of refresh tokens; only the hash of the newest is kept. */
export const sessions = control.table(
  "sessions",
  {
    id: givenId().primaryKey(),
    tenant_id: tenantId(),
    user_id: uuid("user_id").notNull(),
    /** How many times the refresh token was rotated. */
    generation: integer("generation").notNull().default(0),
    /** Null when its access token was exchanged for an issuer's, and has no successor. */
    refresh_hash: bytea("refresh_hash"),
    /** The issuer that vouched for the user, in this tenant and in no other; it may be gone since. */
    issuer_id: uuid("issuer_id"),
    /** Of the same generation as `refresh_hash` and as good: given out when its user proved again who they are. */
    twin_hash: bytea("twin_hash"),
    user_agent: text("user_agent").notNull().default(""),
    /** Where it was started, as an ISO 3166 code. */
    country: text("country"),
    /** When its user last proved who they are, and how (RFC 8176). */
    auth_at: instant("auth_at").notNull().defaultNow(),
    amr: text("amr")
      .array()
      .notNull()
      .default(sql`'{}'`),
    rotated_at: instant("rotated_at").notNull().defaultNow(),
    expires_at: instant("expires_at").notNull(),
    revoked_at: instant("revoked_at"),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [
    byMember("sessions_membership", { tenant_id: t.tenant_id, user: t.user_id }),
    index("sessions_user").on(t.tenant_id, t.user_id, t.created_at),
    index("sessions_issuer").on(t.issuer_id),
    // A session without an issuer leads into its user's other tenants, and partywall_account may write no refresh_hash.
    check("refreshed_or_vouched", sql`(issuer_id is null) = (refresh_hash is not null)`),
    ...tenantPolicies(),
  ],
);

// What is of a person and of no tenant: partywall_identity alone reads it. A tenant's context shows what its members have, so that
// an owner can reset their factors (reset_factors()).
const ofUser = () =>
  uuid("user_id")
    .notNull()
    .references(() => users.id, { onDelete: "cascade" });
const itsMembers = (user: SQL) => sql`exists (select from control.memberships m where m.user_id = ${user})`;

export const LINK_KINDS = ["verification", "signup", "reset", "email_change", "email_undo"] as const;

/** A link that was mailed, until it is used: whoever shows its token reads that mailbox. It works once. */
export const mailedLinks = control.table(
  "mailed_links",
  {
    id: newId().primaryKey(),
    kind: text("kind", { enum: LINK_KINDS }).notNull(),
    /** Null where there is no account yet. */
    user_id: uuid("user_id").references(() => users.id, { onDelete: "cascade" }),
    /** The mailbox. */
    email: text("email").notNull(),
    token_hash: bytea("token_hash").notNull(),
    /** What is to happen then, such as the tenant that a sign-up makes. */
    data: jsonb("data").$type<Record<string, unknown>>().notNull().default({}),
    expires_at: instant("expires_at").notNull(),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [
    oneOf("kind", LINK_KINDS),
    // The latest link alone is good; of changed addresses each can be undone.
    uniqueIndex("mailed_links_latest")
      .on(t.user_id, t.kind)
      .where(sql`kind <> 'email_undo'`),
    index("mailed_links_of_user").on(t.user_id),
    index("mailed_links_expired").on(t.expires_at),
    ...policies(itsMembers(sql`mailed_links.user_id`)),
  ],
);

export const FACTOR_TYPES = ["totp", "passkey"] as const;

/** A second factor: of an authenticator app its sealed secret, of a passkey its public key. Confirmed, it counts. */
export const factors = control.table(
  "factors",
  {
    id: newId().primaryKey(),
    user_id: ofUser(),
    type: text("type", { enum: FACTOR_TYPES }).notNull(),
    name: text("name").notNull(),
    confirmed_at: instant("confirmed_at"),
    last_used_at: instant("last_used_at"),
    /** TOTP: the secret, sealed (src/identity/sealed-secret.ts), and the last time step whose code was used. */
    secret: text("secret"),
    last_step: bigint("last_step", { mode: "number" }),
    /** A passkey's: what it is called, its public key and how often it was used, as far as it counts. */
    credential_id: text("credential_id"),
    public_key: bytea("public_key"),
    counter: bigint("counter", { mode: "number" }),
    transports: text("transports").array(),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [
    oneOf("type", FACTOR_TYPES),
    uniqueIndex("factors_credential").on(t.credential_id),
    index("factors_of_user").on(t.user_id, t.created_at, t.id),
    uniqueIndex("factors_pending")
      .on(t.user_id, t.type)
      .where(sql`confirmed_at is null`),
    ...policies(itsMembers(sql`factors.user_id`)),
  ],
);

/** Codes that stand in for a lost factor, each once. */
export const recoveryCodes = control.table(
  "recovery_codes",
  {
    user_id: ofUser(),
    hash: bytea("hash").notNull(),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.user_id, t.hash] }), ...policies(itsMembers(sql`recovery_codes.user_id`))],
);

/**
 * A proof that is asked for: of a second factor, from whoever has shown the first one of this user in this tenant, or of a
 * passkey, from anybody. It is worth nothing else.
 */
export const challenges = control.table(
  "challenges",
  {
    id: newId().primaryKey(),
    user_id: uuid("user_id").references(() => users.id, { onDelete: "cascade" }),
    tenant_id: uuid("tenant_id").references(() => tenants.id, { onDelete: "cascade" }),
    /** How the first factor was proved (RFC 8176). */
    amr: text("amr")
      .array()
      .notNull()
      .default(sql`'{}'`),
    attempts: integer("attempts").notNull().default(0),
    expires_at: instant("expires_at").notNull(),
  },
  (t) => [
    index("challenges_expired").on(t.expires_at),
    index("challenges_of_user").on(t.user_id),
    index("challenges_of_tenant").on(t.tenant_id),
    ...policies(sql`tenant_id = ${current} and ${itsMembers(sql`challenges.user_id`)}`),
  ],
);

/** The issuer in whose session something was granted: the grant ends when that issuer is suspended or deleted. */
const vouched = () => ({ vouched_by: uuid("vouched_by") });

/** An invitation ends when its maker may no longer give its role (end_grants()). */
export const invitations = control.table(
  "invitations",
  {
    id: newId(),
    tenant_id: ofTenant(),
    email: text("email").notNull(),
    role: text("role", { enum: ROLES }).notNull(),
    token_hash: bytea("token_hash").notNull(),
    invited_by: uuid("invited_by").notNull(),
    ...vouched(),
    expires_at: instant("expires_at").notNull(),
    ...rowHistory(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.id] }),
    // Inviting somebody again replaces the first invitation; accepting it deletes the row.
    uniqueIndex("invitations_email").on(t.tenant_id, t.email),
    index("invitations_newest").on(t.tenant_id, t.created_at, t.id),
    check("email_is_lower_case", sql`email = lower(email)`),
    oneOf("role", ROLES),
    ...tenantPolicies(),
  ],
);

/** A key dies with the membership of whoever made it, and never has a scope that this one's role has not. */
export const apiKeys = control.table(
  "api_keys",
  {
    id: newId(),
    tenant_id: ofTenant(),
    name: text("name").notNull(),
    scopes: text("scopes", { enum: API_KEY_SCOPES }).array().notNull(),
    hash: bytea("hash").notNull(),
    /** Its last four characters, to tell keys apart by. */
    hint: text("hint").notNull(),
    created_by: uuid("created_by").notNull(),
    ...vouched(),
    expires_at: instant("expires_at"),
    last_used_at: instant("last_used_at"),
    ...rowHistory(),
  },
  (t) => [
    byMember("api_keys_maker", { tenant_id: t.tenant_id, user: t.created_by }),
    primaryKey({ columns: [t.tenant_id, t.id] }),
    uniqueIndex("api_keys_hash").on(t.tenant_id, t.hash),
    index("api_keys_newest").on(t.tenant_id, t.created_at, t.id),
    index("api_keys_of_maker").on(t.tenant_id, t.created_by),
    ...tenantPolicies(),
  ],
);

/**
 * An OIDC issuer that a tenant trusts to say who its members are. Whoever registered it, or changed it last, answers for
 * it: when they may no longer make admins, it is suspended until somebody who may confirms it (end_grants()).
 */
export const issuers = control.table(
  "issuers",
  {
    id: givenId().primaryKey(),
    tenant_id: ofTenant(),
    issuer: text("issuer").notNull(),
    audience: text("audience").notNull(),
    /** The claim that tells the role, and which role each of its values stands for. */
    role_claim: text("role_claim"),
    role_map: jsonb("role_map").$type<Record<string, (typeof ISSUED_ROLES)[number]>>().notNull().default({}),
    default_role: text("default_role", { enum: ISSUED_ROLES }),
    email_domains: text("email_domains").array().notNull(),
    /** Whether somebody who is no member yet becomes one. */
    just_in_time: boolean("just_in_time").notNull().default(false),
    /** Since when the registration claims each of its domains for newcomers: of several tenants, the first has them. */
    domains_since: jsonb("domains_since").$type<Record<string, string>>().notNull().default({}),
    registered_by: uuid("registered_by").notNull(),
    ...vouched(),
    suspended_at: instant("suspended_at"),
    ...rowHistory(),
  },
  (t) => [
    uniqueIndex("issuers_issuer").on(t.tenant_id, t.issuer, t.audience),
    index("issuers_newest").on(t.tenant_id, t.created_at, t.id),
    // A token is exchanged before it is known whose it is.
    index("issuers_of_token").on(t.issuer, t.audience),
    oneOf("default_role", ISSUED_ROLES),
    // Here, because patches add up.
    check(
      "role_map_size",
      sql`jsonb_array_length(jsonb_path_query_array(role_map, '$.keyvalue()')) <= 100
        and octet_length(role_map::text) <= 16384`,
    ),
    ...tenantPolicies(),
  ],
);

/** Why a session of support was over before its time, or what an owner was asked was answered by nobody. */
export const SUPPORT_ENDS = ["ended", "replaced", "mode", "approver", "operator", "tenant_status"] as const;

/** What owners are mailed of a session of support. */
export const SUPPORT_TOLD = ["asked", "started", "ended"] as const;

/**
 * An operator's access to one tenant, for some minutes from its start on: at once where the tenant's mode is `on`, and where it
 * is `ask` once an owner has approved. Functions write it (drizzle/control/0018_support_functions.sql), and whatever ends the
 * authority that it was granted by ends it.
 */
export const supportSessions = control.table(
  "support_sessions",
  {
    id: newId(),
    tenant_id: ofTenant(),
    /** Who asked, by what they were called then. */
    operator_id: uuid("operator_id").notNull(),
    operator: text("operator").notNull(),
    reason: text("reason").notNull(),
    minutes: integer("minutes").notNull(),
    /** Whether it may change content too. */
    write: boolean("write").notNull(),
    created_at: instant("created_at").notNull().defaultNow(),
    /** The owner who did, where one was asked. */
    approved_by: uuid("approved_by"),
    started_at: instant("started_at"),
    expires_at: instant("expires_at"),
    ended_at: instant("ended_at"),
    end_reason: text("end_reason", { enum: SUPPORT_ENDS }),
    /** Whose doing that was: a user's or an operator's. */
    ended_by_type: text("ended_by_type", { enum: ["user", "operator"] }),
    ended_by: uuid("ended_by"),
    /** Of what the tenant's owners were last mailed: take_support_mails() says so before it is done. */
    told: text("told", { enum: SUPPORT_TOLD }),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.id] }),
    index("support_sessions_newest").on(t.tenant_id, t.created_at, t.id),
    index("support_sessions_of_operator")
      .on(t.operator_id)
      .where(sql`ended_at is null`),
    check("an_hour_at_most", sql`minutes between 1 and 60`),
    check("started_for_some_time", sql`(started_at is null) = (expires_at is null)`),
    check(
      "ended_with_a_reason",
      sql`(ended_at is null) = (end_reason is null) and (ended_at is null) = (ended_by_type is null) and (ended_at is null) = (ended_by is null)`,
    ),
    // Whose owners may have to hear of something.
    index("support_sessions_untold")
      .on(t.created_at)
      .where(sql`told is distinct from 'ended'`),
    oneOf("end_reason", SUPPORT_ENDS),
    oneOf("told", SUPPORT_TOLD),
    oneOf("ended_by_type", ["user", "operator"]),
    ...tenantPolicies(),
  ],
);

/** How far the numbers of a tenant's outbox go. Whoever changes its control plane keeps the row locked until commit. */
export const outboxHeads = control.table(
  "outbox_heads",
  {
    tenant_id: ofTenant().primaryKey(),
    head: bigint("head", { mode: "number" }).notNull().default(0),
    /** When what is old of the tenant was last deleted (src/lifecycle/retention.ts). */
    swept_at: instant("swept_at")
      .notNull()
      .default(sql`'-infinity'`),
  },
  (t) => [index("outbox_heads_swept").on(t.swept_at), ...tenantPolicies()],
);

export const OUTBOX_KINDS = ["tenant", "api_key", "floor", "member", "audit"] as const;

/**
 * What changed in a tenant's control plane, until the tenant's object and its site have confirmed it: written by triggers
 * in the change's own transaction, numbered without gaps in the order of commits. The object learns that the tenant's row
 * changed; that a key was made, changed or deleted; that tokens of a user or session below the version are void. The site
 * learns who is a member, and what the audit trail says of the control plane.
 */
export const outbox = control.table(
  "outbox",
  {
    tenant_id: tenantId().references(() => outboxHeads.tenant_id, { onDelete: "cascade" }),
    seq: bigint("seq", { mode: "number" }).notNull(),
    kind: text("kind", { enum: OUTBOX_KINDS }).notNull(),
    /** Of the tenant, the API key, the user or the session; of an audit event, what it is about. */
    subject: uuid("subject").notNull(),
    version: bigint("version", { mode: "number" }),
    /** The audit event; of a member, who changed them. */
    event: jsonb("event"),
    created_at: instant("created_at").notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.seq] }), oneOf("kind", OUTBOX_KINDS), ...tenantPolicies()],
);

/** Many, or many bytes or milliseconds. */
const many = (name: string) => bigint(name, { mode: "number" });

/** The figures of a period (src/usage-figures.ts). They only grow. */
const figures = () =>
  Object.fromEntries(FIGURES.map((figure) => [figure, many(figure).notNull().default(0)])) as Record<
    Figure,
    ReturnType<ReturnType<ReturnType<typeof many>["notNull"]>["default"]>
  >;
/** What the tenant's object knows the figures by: a later one has a greater number, and replaces them. */
const seq = () => many("seq").notNull().default(0);
/** What is stored of a tenant, as it was last measured: rows and bytes in its tables, bytes of its exports' archives. */
const stored = () => ({
  rows: many("rows"),
  bytes_stored: many("bytes_stored"),
  archive_bytes: many("archive_bytes"),
});

/** A tenant's usage by days, UTC, as its object has counted it; what was stored, if that was measured on the day. */
export const usageDays = control.table(
  "usage_days",
  { tenant_id: ofTenant(), day: date("day").notNull(), ...figures(), seq: seq(), ...stored() },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.day] }),
    index("usage_days_of_all").on(t.day, t.tenant_id),
    ...tenantPolicies(),
  ],
);

/** The same by hours, for the last days. */
export const usageHours = control.table(
  "usage_hours",
  { tenant_id: ofTenant(), hour: instant("hour").notNull(), ...figures(), seq: seq() },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.hour] }),
    index("usage_hours_of_all").on(t.hour, t.tenant_id),
    ...tenantPolicies(),
  ],
);

/** What of it was each API key's, by days. The key may be gone. */
export const usageKeys = control.table(
  "usage_keys",
  {
    tenant_id: ofTenant(),
    day: date("day").notNull(),
    key_id: uuid("key_id").notNull(),
    ...figures(),
    seq: seq(),
  },
  (t) => [primaryKey({ columns: [t.tenant_id, t.key_id, t.day] }), ...tenantPolicies()],
);

/**
 * The sums of usage_days by months, for whoever sorts tenants by them (sum_usage()): the latest of what is stored, and
 * bytes times the days that they were.
 */
export const usageMonths = control.table(
  "usage_months",
  {
    tenant_id: ofTenant(),
    /** Its first day. */
    month: date("month").notNull(),
    ...figures(),
    ...stored(),
    byte_days: many("byte_days").notNull().default(0),
    archive_byte_days: many("archive_byte_days").notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.month] }),
    index("usage_months_of_all").on(t.month, t.tenant_id),
    ...tenantPolicies(),
  ],
);

export const USAGE_PERIODS = ["hour", "day"] as const;

/** The usage of all tenants together, which outlives them: no tenant sees it, and it names none. */
export const usageTotals = control.table(
  "usage_totals",
  {
    period: text("period", { enum: USAGE_PERIODS }).notNull(),
    start: instant("start").notNull(),
    /** How many tenants there were, and how many of them were used. */
    tenants: integer("tenants").notNull(),
    active: integer("active").notNull(),
    ...figures(),
    ...stored(),
  },
  (t) => [
    primaryKey({ columns: [t.period, t.start] }),
    oneOf("period", USAGE_PERIODS),
    ...policies(sql`false`),
  ],
);

/** So much of a month's limit was used, when this was first noticed: one row, and one audit event, for each percentage. */
export const usageWarnings = control.table(
  "usage_warnings",
  {
    tenant_id: ofTenant(),
    month: date("month").notNull(),
    percent: integer("percent").notNull(),
    /** What the audit event is about. */
    id: givenId(),
    used: many("used").notNull(),
    quota: many("quota").notNull(),
    created_at: instant("created_at").notNull().defaultNow(),
    /** When the tenant's owners were mailed, or a later warning of theirs was. */
    mailed_at: instant("mailed_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenant_id, t.month, t.percent] }),
    index("usage_warnings_unmailed")
      .on(t.created_at)
      .where(sql`mailed_at is null`),
    ...tenantPolicies(),
  ],
);

/**
 * The people who run the deployment, made by `npm run operators`. partywall_operator alone asks about them, and of the password
 * and the second factor it reads nothing but by take_operator_guess(). No `version`: a sign-in is no change of the row.
 */
export const operators = control.table(
  "operators",
  {
    id: newId().primaryKey(),
    email: text("email").notNull(),
    role: text("role", { enum: OPERATOR_ROLES }).notNull(),
    password_hash: text("password_hash").notNull(),
    /** Sealed as an account's second factor is. */
    totp_secret: text("totp_secret").notNull(),
    /** The time step of the last code that was used: a code is good once. */
    last_step: bigint("last_step", { mode: "number" }).notNull().default(0),
    /** How many codes were wrong since one was right, and when one was last asked for. */
    failures: integer("failures").notNull().default(0),
    failed_at: instant("failed_at"),
    /** Counts what voids the operator's tokens: another role, other secrets, a removal. */
    generation: integer("generation").notNull().default(1),
    signed_in_at: instant("signed_in_at"),
    /** Since when they are removed: the row stays, so that the trail's ids mean somebody. */
    disabled_at: instant("disabled_at"),
    created_at: instant("created_at").notNull().defaultNow(),
    updated_at: instant("updated_at").notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex("operators_email").on(t.email),
    index("operators_newest").on(t.created_at, t.id),
    check("email_is_lower_case", sql`email = lower(email)`),
    oneOf("role", OPERATOR_ROLES),
    ...policies(sql`false`),
  ],
);

/** The sessions of operators: a token names its own, and is refused once that has ended. end_operator_session() ends more with it. */
export const operatorSessions = control.table(
  "operator_sessions",
  {
    id: uuid("id").primaryKey(),
    operator_id: uuid("operator_id")
      .notNull()
      .references(() => operators.id, { onDelete: "cascade" }),
    created_at: instant("created_at").notNull().defaultNow(),
    expires_at: instant("expires_at").notNull(),
    ended_at: instant("ended_at"),
  },
  (t) => [index("operator_sessions_of_operator").on(t.operator_id, t.expires_at), ...policies(sql`false`)],
);

/** What operators did, to whom and why: note_operation() writes it, nobody changes it, and it outlives the tenants. */
export const operatorEvents = control.table(
  "operator_events",
  {
    id: uuid("id").primaryKey(),
    created_at: instant("created_at").notNull(),
    /** The operator; of scripts and the command line, all zeros. */
    actor_id: uuid("actor_id").notNull(),
    /** Their email then, `script` or `command line`. */
    actor: text("actor").notNull(),
    /** Such as `tenant.update`. */
    action: text("action").notNull(),
    tenant_id: uuid("tenant_id"),
    reason: text("reason"),
    /** What was changed, by its name: from what, to what. */
    change: jsonb("change").$type<Record<string, unknown>>().notNull(),
    request_id: text("request_id"),
  },
  (t) => [
    index("operator_events_newest").on(t.created_at, t.id),
    index("operator_events_of_tenant").on(t.tenant_id, t.created_at, t.id),
    index("operator_events_of_actor").on(t.actor_id, t.created_at, t.id),
    ...tenantPolicies(),
  ],
);
