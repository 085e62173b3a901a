import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHECKS, examine } from "../drizzle/doctor/examine.ts";
import type { Stack } from "../drizzle/local/stack.ts";
import { CONTROL, SHARED_PLACE, type Place } from "../src/db/places.ts";
import { signContext } from "../src/db/signed-context.ts";
import { keyRing } from "../src/settings.ts";
import type { Migrated } from "./bench/bed.ts";
import { startMigrated } from "./support/node/cluster.ts";
import * as v from "valibot";

const DOCTOR = join(import.meta.dirname, "../drizzle/doctor.ts");
const LOGINS = [
  "DATABASE_URL",
  "ACCOUNT_DATABASE_URL",
  "IDENTITY_DATABASE_URL",
  "OPERATOR_DATABASE_URL",
  "MIGRATION_DATABASE_URL",
] as const;
const SETUP_TIMEOUT_MS = 60_000;

const ADA = "01990000-0000-7000-8000-00000000000a";
const BOB = "01990000-0000-7000-8000-00000000000b";

let dir: string;
let stack: Stack;
let variables: Migrated["variables"];
/** The superuser, in the partywall database: he plants the defects. */
let root: pg.Client;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "partywall-doctor-"));
  ({ stack, variables } = await startMigrated({ dir }));
  const url = new URL(stack.superuserUrl);
  url.pathname = "/partywall";
  root = new pg.Client({ connectionString: url.href });
  await root.connect();
  for (const id of [ADA, BOB]) {
    await root.query(
      "insert into control.tenants (id, slug, name, plan) values ($1::uuid, 't' || right($1::text, 1), 'T', 'solo')",
      [id],
    );
    await root.query(
      "insert into projects (tenant_id, id, name, created_by) values ($1::uuid, $1::uuid, 'P', $1::uuid)",
      [id],
    );
  }
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await root?.end();
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** What the doctor says to somebody who is no superuser, but for the embedded server's version. */
async function findings() {
  await root.query("set local role partywall_operator");
  const found = await examine(root);
  await root.query("reset role");
  return found.filter(({ code }) => code !== "server_version");
}

const contextFor = (tenant: string, place: Place = SHARED_PLACE, role = "partywall_app") => {
  const [key] = v.parse(keyRing, variables.TENANT_CONTEXT_KEYS);
  if (!key) throw new Error("no context key");
  return signContext(key, place, role, tenant, { id: tenant, as: "owner" }, Date.now());
};

const expectRefusal = async (sql: string, code: string) => {
  await root.query("savepoint bare");
  await expect(root.query(sql)).rejects.toMatchObject({ code });
  await root.query("rollback to bare");
};

/** What tenants' logins see and do in Bob's context: his own project and his own tenant, and nothing of Ada's. */
async function expectWall() {
  await root.query("set local session authorization partywall_app");
  await expectRefusal("select from public.projects", "28000");
  await expectRefusal("select from control.tenants", "42501");
  await root.query("select set_config('app.tenant', $1, true)", [contextFor(BOB)]);
  expect((await root.query("select id from public.projects")).rows).toEqual([{ id: BOB }]);
  const write = "update public.projects set name = 'x' where id = $1";
  expect((await root.query(write, [ADA])).rowCount).toBe(0);
  expect((await root.query(write, [BOB])).rowCount).toBe(1);
  await root.query("set local app.tenant = ''");
  await root.query("set local session authorization partywall_account");
  await expectRefusal("select from control.tenants", "28000");
  await expectRefusal("select from public.projects", "42501");
  const context = contextFor(BOB, CONTROL, "partywall_account");
  await root.query("select set_config('app.tenant', $1, true)", [context]);
  expect((await root.query("select id from control.tenants")).rows).toEqual([{ id: BOB }]);
  await root.query("set local app.tenant = ''");
  await root.query("reset session authorization");
}

/** Runs it as partywall_owner, else as the migrating login, else, where a superuser made the defect, as he does. */
async function mend(sql: string) {
  const migrator = "set local session authorization partywall_migrator";
  let warned = false;
  const listen = ({ code }: { code: string | undefined }) => (warned ||= code === "01006");
  root.on("notice", listen);
  await root.query("savepoint mending");
  for (const role of [`${migrator}; set local role partywall_owner`, migrator, "select"]) {
    warned = false;
    const refused = await root.query(`${role}; ${sql}`).then(
      // A REVOKE that may not is but a warning.
      () => warned,
      (error: unknown) => {
        if (error instanceof pg.DatabaseError && error.code === "42501") return true;
        throw error;
      },
    );
    if (!refused) break;
    await root.query("rollback to mending");
  }
  root.off("notice", listen);
  await root.query("reset session authorization");
}

const inTransaction = async (work: () => Promise<void>) => {
  await root.query("begin");
  try {
    await work();
  } finally {
    await root.query("rollback");
  }
};

const MINE = "tenant_id = (select current_tenant_id())";
const asOwner = (sql: string) => `set local role partywall_owner; ${sql}; reset role`;
/** The two triggers of each tenant table; rows that the mover brings set off neither. */
const audited = (table: string, key = "'id'") =>
  ["audit_row('id')", `log_row(${key})`]
    .map(
      (call) =>
        `create trigger ${call.replace(/\(.*/, "")} after insert or update or delete on ${table} for each row
          when (session_user <> 'partywall_mover') execute function ${call}`,
    )
    .join("; ");
/** A tenant table beside projects and tasks, right but for what `columns` and `more` say. */
const notes = (columns: string, more = "") =>
  asOwner(`create table notes (${columns});
    alter table notes enable row level security, force row level security;
    create policy tenant_may on notes using (true) with check (true);
    create policy tenant_only on notes as restrictive using (${MINE});
    grant select, insert, update, delete on notes to partywall_app; ${audited("notes")}; ${more}`);
const TENANT_ID = "tenant_id uuid not null default claimed_tenant_id()";
const NOTE = `${TENANT_ID}, id uuid not null, slug text, project_id uuid, user_id uuid, primary key (tenant_id, id)`;
/** The same, of somebody who did not know about tenantTable(). */
const UNWALLED = "tenant_id uuid not null, id uuid not null, primary key (tenant_id, id)";
const remade = (policy: string, rest: string) =>
  `drop policy ${policy} on projects; create policy ${policy} on projects ${rest}`;
const CONTROL_MINE = "tenant_id = (select control.current_tenant_id())";
/** The accounts that a tenant's request is shown; it may not make all of them. */
const ITS_PEOPLE =
  "exists (select from control.memberships m where m.user_id = users.id) or issuer_id in (select id from control.issuers)";
const controlPolicy = (
  table: string,
  rule: string,
  kind = "",
) => `drop policy tenant_only on control.${table};
  create policy tenant_only on control.${table} ${kind} using (${rule})`;
const changed = (verifier: string, change: string) => `do $do$ begin
  execute replace(pg_get_functiondef('${verifier}'::regprocedure), ${change}); end $do$`;

// The defect's code, the object that the doctor must name, the SQL that plants it.
const DEFECTS: [code: string, object: string, plant: string][] = [
  ["public_grant", "control.sessions", "grant select on control.sessions to public"],
  ["public_grant", "public.tasks", "grant select on tasks to public"],
  [
    "tenant_id_missing",
    "public.rates",
    asOwner("create table rates (id int primary key); grant select on rates to partywall_app"),
  ],
  ["tenant_table_unwalled", "public.notes", asOwner(`create table notes (${UNWALLED}); ${audited("notes")}`)],
  [
    "tenant_table_unwalled + site_open",
    "public.notes",
    asOwner(
      `create table notes (tenant_id text, id uuid, primary key (tenant_id, id)); ${audited("notes")};
        grant select on notes to partywall_operator`,
    ),
  ],
  [
    "tenant_table_unwalled",
    "archive.notes",
    asOwner(`create schema archive; create table archive.notes (${UNWALLED}) partition by hash (tenant_id);
      create table archive.notes_1 partition of archive.notes for values with (modulus 1, remainder 0);
      ${audited("archive.notes")}`),
  ],
  [
    "tenant_table_unwalled",
    "public.notes",
    asOwner(
      `create table anything (text text); create table notes (${UNWALLED}) inherits (anything); ${audited("notes")}`,
    ),
  ],
  ["serial_column", "public.notes", notes(`${NOTE}, number serial`)],
  [
    "tenant_id_not_uuid",
    "public.notes",
    asOwner(`create table notes (tenant_id text not null, id uuid not null, primary key (tenant_id, id));
      alter table notes enable row level security, force row level security;
      create policy tenant_may on notes using (tenant_id::uuid = (select current_tenant_id()));
      create policy tenant_only on notes as restrictive using (tenant_id::uuid = (select current_tenant_id()));
      grant select on notes to partywall_app; ${audited("notes")}`),
  ],
  [
    "tenant_id_nullable + primary_key",
    "public.notes",
    notes(
      "tenant_id uuid default claimed_tenant_id(), id uuid not null",
      "create index on notes (tenant_id)",
    ),
  ],
  ["rls_off", "public.projects", "alter table projects disable row level security"],
  ["rls_not_forced", "public.tasks", "alter table tasks no force row level security"],
  ["table_owner", "public.projects", "alter table projects owner to partywall_app"],
  ["table_owner", "public.tasks", "alter table tasks owner to postgres"],
  ["table_owner", "control.sessions", "alter table control.sessions owner to postgres"],
  ["table_owner", "control.users", "alter table control.users owner to partywall_account"],
  [
    "child_reachable",
    "public.events_1",
    asOwner(`create table events (${TENANT_ID}, id uuid not null, primary key (tenant_id, id)) partition by hash (tenant_id);
      create table events_1 partition of events for values with (modulus 1, remainder 0);
      alter table events enable row level security, force row level security;
      create policy tenant_may on events using (${MINE});
      create policy tenant_only on events as restrictive using (${MINE});
      grant select on events, events_1 to partywall_app; ${audited("events")}`),
  ],
  ["child_inherits", "public.more_tasks", asOwner("create table more_tasks () inherits (tasks)")],
  ["identity_column", "public.notes", notes(`${NOTE}, number int generated always as identity`)],
  ["rule", "public.projects", "create rule shadow as on delete to projects do also delete from tasks"],

  ["policy_missing", "public.projects", "drop policy tenant_only on projects"],
  ["policy_missing", "public.tasks", "drop policy tenant_may on tasks"],
  ["policy_wrong", "public.projects", remade("tenant_only", "as restrictive using (true)")],
  ["policy_wrong", "public.projects", remade("tenant_may", `using (${MINE}) with check (true)`)],
  ["policy_wrong", "public.projects", remade("tenant_only", `as restrictive for select using (${MINE})`)],
  ["policy_wrong", "public.projects", remade("tenant_may", `to partywall_app using (${MINE})`)],
  ["policy_wrong", "public.projects", remade("tenant_may", `using (${MINE} or status = 'archived')`)],
  [
    "policy_wrong",
    "public.projects",
    remade("tenant_only", "as restrictive using (tenant_id = (select control.current_tenant_id()))"),
  ],
  ["policy_wrong", "public.projects", remade("tenant_may", "for select using (true)")],
  ["policy_wrong", "public.projects", remade("tenant_may", `using (true) with check (${MINE})`)],
  ["policy_wrong", "public.tasks", "alter policy tenant_only on tasks using (true) with check (true)"],
  [
    "policy_missing + policy_missing",
    "public.notes",
    asOwner(`create table notes (${NOTE}); alter table notes enable row level security, force row level security;
      create policy all_of_them on notes as restrictive using (true); ${audited("notes")}`),
  ],
  ["policy_per_row", "public.projects", remade("tenant_may", "using (tenant_id = current_tenant_id())")],
  [
    "policy_per_row",
    "public.projects",
    remade("tenant_only", "as restrictive using ((select tenant_id = current_tenant_id()))"),
  ],
  [
    "policy_shed",
    "public.projects",
    remade("tenant_only", `as restrictive to partywall_app using (${MINE})`),
  ],
  [
    "policy_shed",
    "public.tasks",
    "create policy open_only on tasks as restrictive to partywall_app using (status <> 'done')",
  ],
  ["policy_extra", "public.projects", "create policy support on projects for select using (name = 'shared')"],
  [
    "policy_extra",
    "public.tasks",
    "create policy directory on tasks for select to partywall_app using (true)",
  ],

  ["control_row_security", "control.api_keys", "alter table control.api_keys disable row level security"],
  ["control_row_security", "control.users", "alter table control.users no force row level security"],
  ["control_policy", "control.sessions", "drop policy tenant_only on control.sessions"],
  ["control_policy", "control.outbox", "drop policy across_tenants on control.outbox"],
  ["control_policy", "control.invitations", "alter policy tenant_only on control.invitations using (true)"],
  ["control_policy", "control.tenants", "alter policy tenant_only on control.tenants with check (true)"],
  ["control_policy", "control.users", "alter policy tenant_only on control.users using (true)"],
  ["control_policy", "control.users", "alter policy tenant_only on control.users with check (true)"],
  ["control_policy", "control.users", controlPolicy("users", ITS_PEOPLE)],
  ["control_policy", "control.issuers", controlPolicy("issuers", CONTROL_MINE, "as restrictive")],
  ["control_policy", "control.api_keys", controlPolicy("api_keys", CONTROL_MINE, "for select")],
  [
    "control_policy",
    "control.memberships",
    "alter policy tenant_only on control.memberships to partywall_account",
  ],
  ["control_policy", "control.issuers", "alter policy across_tenants on control.issuers to public"],
  [
    "control_policy",
    "control.issuers",
    "alter policy across_tenants on control.issuers to partywall_identity, partywall_owner",
  ],
  ["control_policy", "control.sessions", "alter policy across_tenants on control.sessions using (true)"],
  [
    "control_policy",
    "control.tenants",
    "alter policy across_tenants on control.tenants with check (plan = 'solo')",
  ],
  [
    "control_policy + control_policy + control_row_security",
    "control.devices",
    asOwner(`create table control.devices (tenant_id uuid, id uuid primary key);
      grant select on control.devices to partywall_identity`),
  ],
  [
    "control_policy + control_policy",
    "control.plants",
    asOwner(`create table control.plants (id uuid primary key);
      alter table control.plants enable row level security, force row level security`),
  ],
  [
    "control_policy_extra",
    "control.memberships",
    "create policy directory on control.memberships for select using (role = 'owner')",
  ],
  [
    "control_policy_extra",
    "control.users",
    "create policy directory on control.users for select to partywall_account using (true)",
  ],
  [
    "tenants_writable",
    "control.tenants",
    "grant update (plan), insert on control.tenants to partywall_account",
  ],
  ["control_open", "control.users", "grant select (email) on control.users to partywall_app"],
  ["control_open", "control.memberships", "grant select on control.memberships to partywall_app"],
  ["control_open", "control", "grant usage on schema control to partywall_app"],
  ["control_open", "control.acting_as()", "grant execute on function control.acting_as() to partywall_app"],
  [
    "control_open + sequence",
    "control.numbers",
    asOwner("create sequence control.numbers; grant usage on sequence control.numbers to partywall_app"),
  ],
  ["site_open", "public.projects", "grant select on projects to partywall_operator"],
  ["site_open", "public.tasks", "grant select (title) on tasks to partywall_identity"],
  ["site_open", "public.members", "grant select on members to partywall_account"],
  [
    "site_open",
    "public.rates",
    asOwner("create table rates (id int primary key); grant select on rates to partywall_account"),
  ],
  [
    "site_open",
    "public.receive_event(uuid,uuid,jsonb)",
    "grant execute on function receive_event(uuid, uuid, jsonb) to partywall_account",
  ],

  [
    "foreign_key_planes",
    "public.notes",
    notes(`${NOTE}, foreign key (user_id) references control.users (id)`),
  ],
  [
    "foreign_key_planes",
    "public.notes",
    notes(`${NOTE}, foreign key (tenant_id, user_id) references control.memberships on delete cascade`),
  ],
  [
    "foreign_key_planes",
    "control.sessions",
    "alter table control.sessions add foreign key (tenant_id, user_id) references members",
  ],
  [
    "foreign_key_planes",
    "archive.old",
    asOwner(`create schema archive;
      create table archive.old (tenant uuid primary key references control.tenants (id))`),
  ],
  [
    "foreign_key_sites",
    "public.loans",
    asOwner(`create schema site_other; create table site_other.books (id uuid primary key);
      create table loans (book uuid references site_other.books)`),
  ],
  [
    "query_planes",
    "public.people",
    asOwner("create view people with (security_invoker) as select email from control.users"),
  ],
  [
    "query_planes + unwallable_ungranted",
    "control.totals",
    asOwner("create materialized view control.totals as select count(*) from projects with no data"),
  ],
  [
    "query_planes",
    "public.projects",
    `create policy of_members on projects as restrictive
      using (exists (select from control.memberships m where m.user_id = created_by))`,
  ],
  [
    "query_planes",
    "control.sessions",
    "create policy of_members on control.sessions as restrictive using (user_id in (select id from members))",
  ],
  [
    "query_planes",
    "public.tasks",
    "alter table tasks alter created_by set default control.current_actor_id()",
  ],
  [
    "query_planes",
    "control.sessions",
    "alter table control.sessions alter tenant_id set default claimed_tenant_id()",
  ],
  [
    "query_planes",
    "public.tasks",
    "alter table tasks add constraint managed check (control.manages(status, 'admin')) not valid",
  ],
  [
    "query_planes",
    "public.tasks",
    "create trigger touch_too before update on tasks for each row execute function control.touch_row()",
  ],
  [
    "query_planes",
    "control.sessions",
    `create trigger audit_row after insert or update or delete on control.sessions for each row
      execute function audit_row('id')`,
  ],
  ...[
    // By what Postgres has bound.
    "function public.name_of(person control.users) returns text language sql set search_path = '' return $1.email",
    "function public.people() returns bigint language sql begin atomic select count(*) from control.users; end",
    // By the text.
    "function public.people() returns bigint language plpgsql as 'begin return (select count(*) from control.users); end'",
    `function public.people() returns bigint language sql as 'select count(*) from "control"."users"'`,
    "function public.people() returns bigint language plpgsql set search_path = control as 'begin return (select count(*) from users); end'",
    "function public.people() returns int language sql set search_path = control, pg_temp as 'select 1'",
    "function public.people(name text) returns void language plpgsql as $$ begin execute format('delete from control.%I', name); end $$",
    "function control.work() returns bigint language plpgsql as 'begin return (select count(*) from public.tasks); end'",
    "function control.work() returns bigint language plpgsql as 'begin delete from only tasks; return 0; end'",
    "function control.work() returns uuid language plpgsql set search_path = '' as 'begin return public.current_actor_id(); end'",
  ].map((made): [string, string, string] => [
    "query_planes",
    made.replace(/^function (\S+)\((?:\w+ )?([^)]*)\).*/s, "$1($2)"),
    asOwner(`create ${made}`),
  ]),
  [
    "query_planes",
    "archive.work()",
    asOwner(`create schema archive;
      create function archive.work() returns void language sql set search_path = ''
        as 'delete from control.outbox'`),
  ],
  [
    "query_planes",
    "control.work()",
    asOwner(`create schema archive; create table archive."old notes" (id int);
      create function control.work() returns void language sql set search_path = ''
        as 'update archive."old notes" set id = 1'`),
  ],

  ["audit_writable", "public.audit_events", "grant insert, delete on audit_events to partywall_app"],
  ["audit_writable", "public.audit_events", "grant update (actor_id) on audit_events to partywall_app"],
  ["received_writable", "public.members", "grant insert, delete on members to partywall_app"],
  ["received_writable", "public.outbox_receipts", "grant update (seq) on outbox_receipts to partywall_app"],
  ["audit_trigger", "public.projects", "alter table projects disable trigger audit_row"],
  [
    "audit_trigger",
    "control.memberships",
    "alter table control.memberships enable replica trigger audit_row",
  ],
  [
    "audit_trigger",
    "public.tasks",
    "create or replace trigger audit_row after insert or delete on tasks for each row execute function audit_row('id')",
  ],
  [
    "audit_trigger",
    "control.tenants",
    `create or replace trigger audit_row after insert or update or delete on control.tenants for each row
      when (current_user <> 'x') execute function control.audit_row('id')`,
  ],
  [
    "audit_trigger",
    "control.issuers",
    `create or replace trigger audit_row after insert or update or delete on control.issuers for each row
      execute function audit_row('id')`,
  ],
  [
    "audit_trigger",
    "public.tasks",
    `create or replace trigger audit_row after insert or update or delete on tasks for each row
      execute function control.audit_row('id')`,
  ],
  ["log_trigger", "public.tasks", "drop trigger log_row on tasks"],
  ["log_trigger", "public.audit_events", "alter table audit_events disable trigger log_row"],
  [
    "log_trigger",
    "public.idempotency_keys",
    `create or replace trigger log_row after insert or update or delete on idempotency_keys for each row
      when (session_user <> 'partywall_mover') execute function log_row('key')`,
  ],
  ["audit_missing", "public.tasks", "drop trigger audit_row on tasks"],
  ["audit_missing", "control.memberships", "drop trigger audit_row on control.memberships"],
  ["audit_missing", "control.tenants", "drop trigger audit_row on control.tenants"],
  [
    "audit_missing",
    "public.watchers",
    notes(
      NOTE,
      `drop trigger audit_row on notes; alter table notes drop id cascade, add primary key (tenant_id, slug);
        create or replace trigger log_row after insert or update or delete on notes for each row
          when (session_user <> 'partywall_mover') execute function log_row('slug');
        alter table notes rename to watchers`,
    ),
  ],

  [
    "primary_key",
    "public.notes",
    notes(`${TENANT_ID}, id uuid primary key`, "create index on notes (tenant_id)"),
  ],
  [
    "primary_key",
    "public.notes",
    notes(`${TENANT_ID}, id uuid not null`, "create index on notes (tenant_id)"),
  ],
  [
    "unique_not_led",
    "public.notes",
    notes(NOTE, "create unique index on notes (lower(slug)) where slug <> ''"),
  ],
  ["unique_not_led", "public.notes", notes(`${NOTE}, unique (slug)`)],
  ["unique_not_led", "public.notes", notes(`${NOTE}, unique nulls not distinct (slug, tenant_id)`)],
  [
    "exclusion_not_led",
    "public.notes",
    `create extension btree_gist; ${notes(`${NOTE}, at tstzrange, exclude using gist (at with &&)`)}`,
  ],
  ["index_missing + primary_key", "public.notes", notes(`${TENANT_ID}, id uuid primary key`)],
  [
    "foreign_key_crosses + unique_not_led",
    "public.notes",
    notes(`${NOTE}, unique (id), foreign key (project_id) references notes (id) on delete set null`),
  ],
  [
    "foreign_key_crosses",
    "public.notes",
    notes(`${NOTE}, foreign key (user_id) references outbox_receipts (tenant_id)`),
  ],
  [
    "foreign_key_crosses",
    "public.notes",
    notes(`${NOTE}, foreign key (user_id, tenant_id) references members`),
  ],
  [
    "foreign_key_to_all",
    "public.notes",
    asOwner("create table colours (id uuid primary key)") +
      `; ${notes(`${NOTE}, foreign key (user_id) references colours (id)`)}`,
  ],

  [
    "view_definer",
    "control.everyone",
    asOwner(
      "create view control.everyone as select id from control.users; grant select on control.everyone to partywall_operator",
    ),
  ],
  [
    "view_definer",
    "public.all_projects",
    "create view all_projects as select * from projects; grant select on all_projects to partywall_app",
  ],
  [
    "view_definer_ungranted",
    "public.all_projects",
    asOwner("create view all_projects as select * from projects"),
  ],
  [
    "view_definer_ungranted",
    "control.addresses",
    asOwner(
      `create view control.people with (security_invoker) as select * from control.users;
        create view control.addresses as select email from control.people`,
    ),
  ],
  ["view_definer_ungranted", "public.keys", "create view keys as select * from partywall.context_keys"],
  [
    "unwallable_ungranted",
    "public.totals",
    "create materialized view totals as select count(*) from projects",
  ],
  [
    "unwallable_ungranted",
    "public.remote",
    `create foreign data wrapper nowhere; create server elsewhere foreign data wrapper nowhere;
      create foreign table remote (tenant_id uuid) server elsewhere`,
  ],
  [
    "view_of_extension",
    "public.pg_stat_statements",
    "create extension pg_stat_statements; revoke all on pg_stat_statements_info from public",
  ],
  [
    "materialized_view",
    "public.totals",
    "create materialized view totals as select count(*) from projects; grant select on totals to partywall_app",
  ],
  [
    "materialized_view",
    "control.totals",
    "create materialized view control.totals as select count(*) from control.users; grant select on control.totals to partywall_account",
  ],
  [
    "foreign_table",
    "public.remote",
    `create foreign data wrapper nowhere; create server elsewhere foreign data wrapper nowhere;
      create foreign table remote (id int) server elsewhere; grant select on remote to partywall_app`,
  ],
  [
    "foreign_server",
    "nowhere",
    "create foreign data wrapper nowhere; grant usage on foreign data wrapper nowhere to partywall_app",
  ],
  [
    "sequence",
    "public.numbers",
    asOwner("create sequence numbers; grant usage on sequence numbers to partywall_app"),
  ],
  [
    "sequence",
    "control.numbers",
    asOwner("create sequence control.numbers; grant usage on sequence control.numbers to partywall_account"),
  ],
  [
    "definer_ungranted",
    "public.purge()",
    asOwner(
      "create function purge() returns int language sql security definer set search_path = '' as 'select 1'",
    ),
  ],
  [
    "definer_search_path + definer_ungranted",
    "public.purge()",
    asOwner("create function purge() returns int language sql security definer as 'select 1'"),
  ],
  [
    "definer_open",
    "public.purge()",
    asOwner(
      "create function purge() returns int language sql security definer set search_path = '' as 'select 1'; grant execute on function purge() to partywall_app",
    ),
  ],
  ["definer_open", "public.current_actor_id()", "grant execute on function current_actor_id() to public"],
  [
    "definer_open",
    "public.receive_members(bigint,jsonb)",
    "grant execute on function receive_members(bigint, jsonb) to partywall_app",
  ],
  [
    "definer_open",
    "public.current_tenant_id()",
    "grant execute on function current_tenant_id() to partywall_account",
  ],
  ["definer_open", "public.audit_row()", "grant execute on function audit_row() to partywall_app"],
  [
    "definer_open",
    "control.lock_outbox(uuid)",
    "grant execute on function control.lock_outbox(uuid) to partywall_app",
  ],
  [
    "definer_open",
    "control.tell_of_tenant()",
    "grant execute on function control.tell_of_tenant() to partywall_identity",
  ],
  [
    "definer_owner + definer_ungranted",
    "public.purge()",
    "create function purge() returns int language sql security definer set search_path = '' as 'select 1'; revoke execute on function purge() from public",
  ],
  ["function_public", "public.touch_row()", "grant execute on function touch_row() to public"],
  [
    "function_untrusted",
    "public.pages(text,integer)",
    "create function pages(text, int) returns text language c as '$libdir/plpgsql', 'plpgsql_call_handler'",
  ],
  [
    "function_leakproof",
    "public.peek(text)",
    asOwner("create function peek(text) returns bool language sql immutable as 'select true'") +
      "; alter function peek(text) leakproof",
  ],
  ["extension", "dblink", "create extension dblink"],
  ["extension", "lo", "create extension lo"],
  [
    "event_trigger",
    "watch",
    `create function watch() returns event_trigger language plpgsql as 'begin end';
      revoke execute on function watch() from public; create event trigger watch on ddl_command_end execute function watch()`,
  ],

  ...["public.current_tenant_id()", "control.current_tenant_id()"].flatMap((name): typeof DEFECTS => [
    ["verifier_body", name, changed(name, "'genuine THEN', 'genuine OR true THEN'")],
    ["verifier_body", name, changed(name, "'session_user', '''partywall_app'''")],
  ]),
  // A context for another site.
  [
    "verifier_body",
    "public.current_tenant_id()",
    changed("public.current_tenant_id()", "'site shared', 'site other'"),
  ],
  [
    "verifier_body",
    "public.current_actor_id()",
    "create or replace function current_actor_id() returns uuid language sql stable parallel safe security definer set search_path = '' as 'select null::uuid'",
  ],
  ["verifier_attributes", "public.current_tenant_id()", "alter function current_tenant_id() volatile"],
  [
    "verifier_attributes",
    "public.current_tenant_id()",
    "alter function current_tenant_id() reset search_path",
  ],
  [
    "verifier_attributes",
    "public.current_tenant_id()",
    "alter function current_tenant_id() owner to postgres",
  ],
  ["verifier_attributes", "public.current_actor_id()", "alter function current_actor_id() parallel unsafe"],
  ["verifier_attributes", "control.acting_as()", "alter function control.acting_as() security definer"],
  ["verifier_attributes", "control.actor()", "alter function control.actor() volatile"],
  [
    "verifier_attributes",
    "control.audit_row()",
    "alter function control.audit_row() reset extra_float_digits",
  ],
  [
    "verifier_attributes",
    "public.receive(bigint,bigint,jsonb)",
    "alter function receive(bigint, bigint, jsonb) owner to postgres",
  ],
  [
    "verifier_attributes",
    "public.receive_members(bigint,jsonb)",
    "alter function receive_members(bigint, jsonb) security invoker",
  ],
  ...[
    ["control.current_actor_id()", "'IS NULL', 'IS NOT NULL'"],
    ["control.acting_as()", "'viewer', 'owner'"],
    ["control.lock_outbox(uuid)", "'FOR UPDATE', 'FOR SHARE'"],
    ["control.actor()", "'''user'''", "'''api_key'''"],
    ["control.tell(uuid,text,uuid,bigint,jsonb)", "'h.head + 1', 'h.head'"],
    ["control.audit_row()", "'<> tenant', 'IS NULL'"],
    ["public.receive(bigint,bigint,jsonb)", "'public.current_tenant_id()', '(entries ->> ''tenant'')::uuid'"],
    ["public.receive_members(bigint,jsonb)", "'m.tenant_id = tenant', 'true'"],
    ["public.receive_member(uuid,uuid,jsonb,jsonb)", "'m.tenant_id = tenant', 'true'"],
    ["public.receive_event(uuid,uuid,jsonb)", "'''tenant_id'', tenant', '''tenant_id'', subject'"],
    ["public.event_id(bigint)", "'4', '5'"],
  ].map(([name = "", ...change]): [string, string, string] => [
    "verifier_body",
    name,
    changed(name, change.join(", ")),
  ]),
  [
    "verifier_body",
    "public.audit_row()",
    `create or replace function audit_row() returns trigger language plpgsql security definer
      set search_path = '' set extra_float_digits = 3 as 'begin return null; end'`,
  ],
  ["verifier_missing", "public.current_actor_id()", "drop function current_actor_id cascade"],
  ["verifier_missing", "public.event_id(bigint)", "drop function event_id"],
  ["verifier_missing", "control.acting_as()", "drop function control.acting_as"],
  ["keys_missing", "partywall.context_keys", "drop table partywall.context_keys"],
  ["keys_open", "partywall.context_keys", "grant select (kid) on partywall.context_keys to partywall_app"],
  ["keys_open", "partywall.context_keys", "grant all on partywall.context_keys to public"],
  ["keys_schema_open", "partywall", "grant usage on schema partywall to partywall_app"],
  [
    "keys_row_security",
    "partywall.context_keys",
    "alter table partywall.context_keys disable row level security",
  ],
  [
    "keys_row_security",
    "partywall.context_keys",
    "create policy reads on partywall.context_keys using (true)",
  ],
  ["keys_owner", "partywall.context_keys", "alter table partywall.context_keys owner to postgres"],

  ["role_missing", "partywall_account", "alter role partywall_account rename to somebody"],
  ["role_attributes", "partywall_app", "alter role partywall_app bypassrls"],
  ["role_attributes", "partywall_app", "alter role partywall_app superuser replication"],
  ["role_attributes", "partywall_account", "alter role partywall_account bypassrls"],
  ["role_attributes", "partywall_owner", "alter role partywall_owner createrole createdb"],
  ["owner_logs_in", "partywall_owner", "alter role partywall_owner login"],
  ["membership", "partywall_app", "grant partywall_identity to partywall_app"],
  ["membership", "partywall_account", "grant partywall_app to partywall_account"],
  ["membership", "partywall_operator", "grant pg_read_all_data to partywall_operator"],
  ["membership", "partywall_app", "grant partywall_owner to partywall_app with inherit false"],
  ["owner_member", "intruder", "create role intruder login; grant partywall_owner to intruder"],
  ["owned_by_login", "function public.touch_row()", "alter function touch_row() owner to partywall_app"],
  ["owned_by_login", "schema loot", "create schema loot authorization partywall_operator"],
  ["grant_strong", "public.tasks", "grant truncate, references, trigger, maintain on tasks to partywall_app"],
  ["grant_option", "public.projects", "grant select on projects to partywall_app with grant option"],
  ["schema_create", "public", "grant create on schema public to partywall_app"],
  ["schema_create", "public", "grant create on schema public to public"],
  ["schema_public", "drizzle", "grant usage on schema drizzle to public"],
  ["database_grant", "partywall", "grant temporary on database partywall to partywall_app"],
  ["database_grant", "partywall", "grant connect, temporary on database partywall to public"],
  [
    "default_privileges",
    "partywall_owner",
    "alter default privileges for role partywall_owner in schema public grant select on tables to partywall_app",
  ],
  [
    "default_privileges",
    "partywall_migrator",
    "alter default privileges for role partywall_migrator grant usage on sequences to public",
  ],
  [
    "default_execute",
    "partywall_owner",
    "alter default privileges for role partywall_owner grant execute on functions to public",
  ],

  [
    "setting_dangerous",
    "ROLE partywall_app",
    "alter role partywall_app in database partywall set app.tenant = 'v1'",
  ],
  ["setting_dangerous", "ROLE partywall_identity", "alter role partywall_identity set row_security = off"],
  [
    "setting_dangerous",
    "DATABASE partywall",
    "alter database partywall set session_replication_role = replica",
  ],
  [
    "setting_search_path",
    "partywall_app",
    "alter role partywall_app in database partywall reset search_path",
  ],
  [
    "setting_search_path",
    "partywall_app",
    `alter role partywall_app in database partywall set search_path = "$user", public`,
  ],
  [
    "setting_search_path",
    "partywall_account",
    "alter role partywall_account in database partywall set search_path = pg_catalog, public, pg_temp",
  ],
  [
    "setting_search_path",
    "partywall_app",
    "alter role partywall_app in database partywall set search_path = pg_catalog, public, control, pg_temp",
  ],
  [
    "setting_timeout",
    "partywall_app",
    "alter role partywall_app in database partywall set statement_timeout = 0",
  ],
  [
    "setting_timeout",
    "partywall_operator",
    "alter role partywall_operator in database partywall reset lock_timeout",
  ],
  ["setting_logs", "ROLE partywall_app", "alter role partywall_app set log_statement = 'all'"],
  ["publication", "everything", "create publication everything for all tables"],
  ["publication", "feed", "create publication feed for table drizzle.site, tasks"],
  ["publication", "feed", "create publication feed for table control.users"],
  [
    "large_object",
    "4711",
    "set local session authorization partywall_app; select lo_create(4711); reset session authorization",
  ],
];

it("finds nothing wrong with a fresh local database", () =>
  inTransaction(async () => {
    expect(await findings()).toEqual([]);
    await expectWall();
  }));

it("has a defect for every check", () => {
  const planted = new Set(DEFECTS.flatMap(([codes]) => codes.split(" + ")));
  const elsewhere = ["database_other", "server_version"];
  expect(CHECKS.map(({ code }) => code).filter((code) => !planted.has(code))).toEqual(elsewhere);
});

describe.each(DEFECTS)("%s of %s", (codes, object, plant) => {
  it(`is reported, alone, and mended: ${plant.replaceAll(/\s+/g, " ").slice(0, 80)}`, () =>
    inTransaction(async () => {
      await root.query(plant);
      const found = await findings();
      expect(found.map((finding) => `${finding.code} ${finding.object}`).sort()).toEqual(
        codes
          .split(" + ")
          .map((code) => `${code} ${object}`)
          .sort(),
      );
      if (found.every((finding) => finding.mend.startsWith("--"))) return;
      for (const finding of found) await mend(finding.mend);
      // Behind one defect another may stand, as behind a child table's lack of a wall of its own.
      let rest = await findings();
      for (let time = 0; time < 3 && rest.length > 0; time++) {
        for (const finding of rest) await mend(finding.mend);
        rest = await findings();
      }
      // What no SQL mends is a warning: a materialised view, granted to nobody now.
      expect(rest.filter(({ mend: sql }) => !sql.startsWith("--"))).toEqual([]);
      await expectWall();
    }));
});

it("does not take a comment, or a word that is no name, for a query of the other plane", () =>
  inTransaction(async () => {
    await root.query(
      asOwner(`create function control.work() returns text language plpgsql set search_path = '' as $$
          declare tasks int := 0; -- as public.work() does
          begin update control.users set email = 'a@b.c' where false; return 'projects'; end $$;
        create function public.work() returns text language plpgsql set search_path = '' as $$
          begin -- see control.work()
            raise exception 'out of control.'; end $$`),
    );
    expect(await findings()).toEqual([]);
  }));

/** The command, as its users run it. */
function doctor(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [DOCTOR, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

describe("db:doctor", () => {
  it.each(LOGINS)("passes on a fresh local database, asked as %s", (login) => {
    expect(doctor(variables[login])).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(
        /^127\.0\.0\.1:\d+\/partywall: the wall stands, by \d+ checks\.( 1 warning\(s\)\.)?$/m,
      ),
      stderr: "",
    });
  });

  it.each(LOGINS)("fails with one line a finding, asked as %s", async (login) => {
    await root.query("alter table tasks no force row level security");
    try {
      const { status, stdout } = doctor(variables[login]);
      expect(status).toBe(1);
      expect(stdout).toMatch(
        /^error rls_not_forced: public\.tasks .*; .*\. Mend: ALTER TABLE public\.tasks FORCE ROW LEVEL SECURITY;$/m,
      );
      expect(doctor("--allow=rls_not_forced:public.tasks", variables[login]).status).toBe(0);
    } finally {
      await root.query("alter table tasks force row level security");
    }
  });

  it("warns of a table that nobody was granted yet, says what to do, and does not fail", async () => {
    await root.query(asOwner(`create table notes (${UNWALLED})`));
    try {
      const { status, stdout } = doctor(variables.OPERATOR_DATABASE_URL);
      expect(status).toBe(0);
      expect(stdout).toMatch(
        /^warning tenant_table_unwalled: public\.notes has a tenant_id and no wall; .*\. Mend: ALTER TABLE public\.notes ENABLE .* CREATE POLICY tenant_only/m,
      );
      expect(stdout).toMatch(/the wall stands, by \d+ checks\. \d warning\(s\)\.$/m);
      expect(doctor("--strict", variables.OPERATOR_DATABASE_URL).status).toBe(1);
    } finally {
      await root.query("drop table notes");
    }
  });

  it("prints JSON, and fails on a warning only when told to be strict", async () => {
    await root.query("create role other");
    await root.query("create database other owner other");
    try {
      const { status, stdout } = doctor("--json", variables.DATABASE_URL);
      expect(status).toBe(0);
      const found: unknown = JSON.parse(stdout);
      expect(found).toContainEqual({
        code: "database_other",
        severity: "warning",
        object: "other",
        what: "is another database that PUBLIC may connect to",
        why: expect.any(String),
        mend: "REVOKE ALL ON DATABASE other FROM PUBLIC;",
      });
      expect(doctor("--strict", variables.DATABASE_URL).status).toBe(1);
      await root.query("revoke all on database other from public");
      expect(doctor("--json", variables.DATABASE_URL).stdout).not.toContain("database_other");
    } finally {
      await root.query("drop database other");
      await root.query("drop role other");
    }
  });

  it("says what is in the way when it cannot read the database", () => {
    const url = new URL(variables.DATABASE_URL);
    url.password = "wrong";
    expect(doctor(url.href)).toMatchObject({ status: 2, stderr: expect.stringContaining("password") });
  });

  it("finds a database that is no partywall's wanting", () => {
    const { status, stdout } = doctor("--json", stack.superuserUrl);
    expect(status).toBe(1);
    expect(stdout).toContain("keys_missing");
    expect(stdout).toContain("verifier_missing");
  });
});

it("mends a reference to a key of all tenants' together with that key", () =>
  inTransaction(async () => {
    await root.query("alter table projects add unique (id)");
    await root.query(notes(`${NOTE}, foreign key (project_id) references projects (id) on delete cascade`));
    const found = await findings();
    expect(found.map(({ code }) => code)).toEqual(["foreign_key_crosses", "unique_not_led"]);
    for (const finding of found) await mend(finding.mend);
    expect(await findings()).toEqual([]);
  }));
