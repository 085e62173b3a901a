import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHECKS, examine } from "../drizzle/doctor/examine.ts";
import type { Stack } from "../drizzle/local/stack.ts";
import { SHARED_SITE } from "../src/db/places.ts";
import { signContext } from "../src/db/signed-context.ts";
import { keyRing } from "../src/settings.ts";
import type { Migrated } from "./bench/bed.ts";
import { startMigrated } from "./support/node/cluster.ts";
import * as v from "valibot";

const DOCTOR = join(import.meta.dirname, "../drizzle/doctor.ts");
const LOGINS = [
  "DATABASE_URL",
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
      "insert into tenants (id, slug, name, plan) values ($1::uuid, 't' || right($1::text, 1), 'T', 'solo')",
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

const contextFor = (tenant: string) => {
  const [key] = v.parse(keyRing, variables.TENANT_CONTEXT_KEYS);
  if (!key) throw new Error("no context key");
  return signContext(key, SHARED_SITE, "partywall_app", tenant, { id: tenant, as: "owner" }, Date.now());
};

/** What the app role sees and does in Bob's context: his own project, and nothing of Ada's. */
async function expectWall() {
  await root.query("set local session authorization partywall_app");
  await root.query("savepoint bare");
  await expect(root.query("select from public.projects")).rejects.toMatchObject({ code: "28000" });
  await root.query("rollback to bare");
  await root.query("select set_config('app.tenant', $1, true)", [contextFor(BOB)]);
  expect((await root.query("select id from public.projects")).rows).toEqual([{ id: BOB }]);
  const write = "update public.projects set name = 'x' where id = $1";
  expect((await root.query(write, [ADA])).rowCount).toBe(0);
  expect((await root.query(write, [BOB])).rowCount).toBe(1);
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
const audited = (table: string) =>
  `create trigger audit_row after insert or update or delete on ${table} for each row execute function audit_row('id')`;
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
const verifier = (change: string) => `do $do$ begin
  execute replace(pg_get_functiondef('public.current_tenant_id()'::regprocedure), ${change}); end $do$`;

// The defect's code, the object that the doctor must name, the SQL that plants it.
const DEFECTS: [code: string, object: string, plant: string][] = [
  ["identity_table_open", "public.users", "grant select (email) on users to partywall_app"],
  ["identity_table_open", "public.memberships", "grant select on memberships to partywall_app"],
  ["public_grant", "public.sessions", "grant select on sessions to public"],
  [
    "tenant_id_missing",
    "public.rates",
    asOwner("create table rates (id int primary key); grant select on rates to partywall_app"),
  ],
  ["tenant_table_unwalled", "public.notes", asOwner(`create table notes (${UNWALLED}); ${audited("notes")}`)],
  [
    "tenant_table_unwalled",
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
  ["rls_off", "public.tenants", "alter table tenants disable row level security"],
  ["rls_not_forced", "public.tasks", "alter table tasks no force row level security"],
  ["table_owner", "public.projects", "alter table projects owner to partywall_app"],
  ["table_owner", "public.tasks", "alter table tasks owner to postgres"],
  ["tenant_table_shared", "public.projects", "grant select on projects to partywall_operator"],
  ["tenant_table_shared", "public.tasks", "grant select (title) on tasks to partywall_identity"],
  ["tenants_writable", "public.tenants", "grant update (plan), insert on tenants to partywall_app"],
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
  ["policy_missing", "public.tenants", "drop policy own_tenant on tenants"],
  ["policy_wrong", "public.projects", remade("tenant_only", "as restrictive using (true)")],
  ["policy_wrong", "public.projects", remade("tenant_may", `using (${MINE}) with check (true)`)],
  ["policy_wrong", "public.projects", remade("tenant_only", `as restrictive for select using (${MINE})`)],
  ["policy_wrong", "public.projects", remade("tenant_may", `to partywall_app using (${MINE})`)],
  ["policy_wrong", "public.projects", remade("tenant_may", `using (${MINE} or status = 'archived')`)],
  ["policy_wrong", "public.tenants", "alter policy own_tenant on tenants using (true)"],
  // What is right beside tenant_only opens a table that has none.
  [
    "policy_extra + policy_missing",
    "public.tenants",
    `alter policy own_tenant on tenants rename to tenant_may;
      alter policy tenant_may on tenants using (true) with check (true)`,
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
    "public.tenants",
    "create policy directory on tenants for select to partywall_app using (true)",
  ],

  ["identity_row_security", "public.api_keys", "alter table api_keys disable row level security"],
  ["identity_row_security", "public.memberships", "alter table memberships no force row level security"],
  ["identity_policy", "public.sessions", "drop policy one_tenant on sessions"],
  ["identity_policy", "public.invitations", "alter policy one_tenant on invitations using (true)"],
  ["identity_policy", "public.issuers", "alter policy one_tenant on issuers to partywall_operator"],
  [
    "identity_policy + identity_row_security",
    "public.devices",
    asOwner(`create table devices (tenant_id uuid, id uuid primary key); ${audited("devices")};
      grant select on devices to partywall_identity`),
  ],
  [
    "identity_policy_extra",
    "public.memberships",
    "create policy directory on memberships for select using (role = 'owner')",
  ],
  ["account_policy", "public.users", "alter policy one_tenant on users using (true)"],
  ["account_policy", "public.users", "alter policy one_tenant on users with check (true)"],
  ["account_policy", "public.tenants", "drop policy one_tenant on tenants"],
  ["account_policy_extra", "public.users", "create policy directory on users for select using (true)"],
  ["account_row_security", "public.users", "alter table users no force row level security"],
  ["audit_writable", "public.audit_events", "grant insert, delete on audit_events to partywall_app"],
  ["audit_writable", "public.audit_events", "grant update (actor_id) on audit_events to partywall_app"],
  ["audit_trigger", "public.projects", "alter table projects disable trigger audit_row"],
  ["audit_trigger", "public.memberships", "alter table memberships enable replica trigger audit_row"],
  [
    "audit_trigger",
    "public.tasks",
    "create or replace trigger audit_row after insert or delete on tasks for each row execute function audit_row('id')",
  ],
  [
    "audit_trigger",
    "public.tenants",
    `create or replace trigger audit_row after insert or update or delete on tenants for each row
      when (current_user <> 'x') execute function audit_row('id')`,
  ],
  ["audit_missing", "public.tasks", "drop trigger audit_row on tasks"],
  ["audit_missing", "public.memberships", "drop trigger audit_row on memberships"],
  [
    "audit_missing",
    "public.watchers",
    notes(
      NOTE,
      `drop trigger audit_row on notes; alter table notes drop id cascade, add primary key (tenant_id, slug);
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
    "foreign_key_crosses",
    "public.notes",
    notes(`${NOTE}, foreign key (user_id) references sessions (id) on delete set null`),
  ],
  [
    "foreign_key_crosses",
    "public.notes",
    notes(`${NOTE}, foreign key (user_id, tenant_id) references memberships`),
  ],
  ["foreign_key_to_all", "public.notes", notes(`${NOTE}, foreign key (user_id) references users (id)`)],

  [
    "view_definer",
    "public.all_projects",
    asOwner(
      "create view all_projects as select * from projects; grant select on all_projects to partywall_operator",
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
    "public.addresses",
    asOwner(
      `create view people with (security_invoker) as select * from users;
        create view addresses as select email from people`,
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

  ["verifier_body", "public.current_tenant_id()", verifier("'IF genuine THEN', 'IF true THEN'")],
  ["verifier_body", "public.current_tenant_id()", verifier("'session_user', '''partywall_app'''")],
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
  ["verifier_attributes", "public.context_tenant_id()", "alter function context_tenant_id() volatile"],
  [
    "verifier_body",
    "public.context_tenant_id()",
    `create or replace function context_tenant_id() returns uuid language plpgsql stable parallel safe
      set search_path = '' as 'begin return null; end'`,
  ],
  [
    "verifier_body",
    "public.audit_row()",
    `create or replace function audit_row() returns trigger language plpgsql security definer
      set search_path = '' as 'begin return null; end'`,
  ],
  ["verifier_missing", "public.current_actor_id()", "drop function current_actor_id cascade"],
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

  ["role_missing", "partywall_identity", "alter role partywall_identity rename to somebody"],
  ["role_attributes", "partywall_app", "alter role partywall_app bypassrls"],
  ["role_attributes", "partywall_app", "alter role partywall_app superuser replication"],
  ["role_attributes", "partywall_owner", "alter role partywall_owner createrole createdb"],
  ["owner_logs_in", "partywall_owner", "alter role partywall_owner login"],
  ["membership", "partywall_app", "grant partywall_identity to partywall_app"],
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
  ["publication", "feed", "create publication feed for table users, tasks"],
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
      for (const finding of rest) await mend(finding.mend);
      if (rest.length > 0) rest = await findings();
      // What no SQL mends is a warning: a materialised view, granted to nobody now.
      expect(rest.filter(({ mend: sql }) => !sql.startsWith("--"))).toEqual([]);
      await expectWall();
    }));
});

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
