import { neon, NeonDbError } from "@neondatabase/serverless";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { openTenantDb } from "../src/db/client.ts";
import { projects, tasks } from "./support/product/schema.ts";
import { CONTROL, SHARED_PLACE, type Place } from "../src/db/places.ts";
import { signContext } from "../src/db/signed-context.ts";
import { settings } from "../src/env.ts";
import { login, newProject, newTask, newTenant, type SignedIn, noRequest } from "./support/client.ts";

const app = neon(env.DATABASE_URL);
const account = login("ACCOUNT_DATABASE_URL");
const [key] = settings.TENANT_CONTEXT_KEYS;
if (!key) throw new Error("no context key");

let ada: SignedIn;
let bob: SignedIn;
let hers: string;

beforeAll(async () => {
  [ada, bob] = await Promise.all([newTenant(), newTenant()]);
  hers = (await newProject(ada.token)).id;
  await newTask(ada.token, hers);
});

/** What a statement gives in a transaction that claims this context. */
async function under(context: string | undefined, statement: string, params: unknown[] = [], as = app) {
  const claim = context === undefined ? [] : [as`select set_config('app.tenant', ${context}, true)`];
  const results = await as.transaction([...claim, as.query(statement, params)]);
  return results.at(-1) ?? [];
}

const now = () => Date.now();
type Signed = { role: string; place: Place };
const APP: Signed = { role: "partywall_app", place: SHARED_PLACE };
const ACCOUNT: Signed = { role: "partywall_account", place: CONTROL };
const contextOf = (who: SignedIn, { role, place } = APP, at = now()) =>
  signContext(key, place, role, who.tenant.id, { id: who.user.id, as: "owner" }, at);
const flipped = (text: string, at: number) =>
  text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1);

/** What is no valid context for this role at this place. */
const contexts = (as: Signed): [string, () => string | undefined][] => {
  const genuine = (who: SignedIn, at?: number) => contextOf(who, as, at);
  const elsewhere = as.place === CONTROL ? SHARED_PLACE : CONTROL;
  return [
    ["no context", () => undefined],
    ["an empty one", () => ""],
    ["a bare tenant id", () => ada.tenant.id],
    ["a forged MAC", () => flipped(genuine(ada), 160)],
    ["another tenant's id under one's own MAC", () => genuine(bob).replace(bob.tenant.id, ada.tenant.id)],
    ["another actor under one's own MAC", () => genuine(ada).replace(ada.user.id, bob.user.id)],
    ["another epoch under the old MAC", () => flipped(genuine(ada), 93)],
    ["a later expiry under the old MAC", () => flipped(genuine(ada), 104)],
    ["an expired one", () => genuine(ada, now() - 61_000)],
    ["one for another role", () => contextOf(ada, { ...as, role: "partywall_identity" })],
    ["one for the other plane", () => contextOf(ada, { ...as, place: elsewhere })],
    ["one for another site", () => contextOf(ada, { ...as, place: { ...as.place, name: "site eu" } })],
    ["an unknown key id", () => genuine(ada).replace(key.kid, "deadbeef")],
    [
      "one signed with another key",
      () => {
        const stranger = { kid: key.kid, key: new Uint8Array(32) };
        return signContext(
          stranger,
          as.place,
          as.role,
          ada.tenant.id,
          { id: ada.user.id, as: "owner" },
          now(),
        );
      },
    ],
    ["trailing text", () => `${genuine(ada)}0`],
  ];
};

const NEW_ID = "01234567-89ab-7cde-8f01-23456789abcd";
const statements: [string, string, () => unknown[]][] = [
  ["select projects", "select * from projects", () => []],
  ["select tasks", "select * from tasks", () => []],
  ["count", "select count(*) from projects", () => []],
  ["update", "update projects set name = 'x' returning id", () => []],
  ["delete", "delete from tasks returning id", () => []],
  ["insert", "insert into projects (id, name) values ($1, 'x')", () => [NEW_ID]],
  [
    "insert for a named tenant",
    "insert into projects (tenant_id, id, name, created_by) values ($1, $2, 'x', $1)",
    () => [ada.tenant.id, NEW_ID],
  ],
];

describe.each(contexts(APP))("with %s", (_, context) => {
  it.each(statements)("refuses to %s with SQLSTATE 28000", async (_name, statement, params) => {
    await expect(under(context(), statement, params())).rejects.toMatchObject({ code: "28000" });
  });
});

describe.each(contexts(ACCOUNT))("partywall_account, with %s", (_, context) => {
  it.each([
    ["select tenants", "select * from control.tenants", []],
    ["select members", "select * from control.memberships", []],
    ["select accounts", "select id from control.users", []],
    ["select keys", "select * from control.api_keys", []],
    ["update", "update control.tenants set name = 'x' returning id", []],
    ["delete", "delete from control.sessions returning id", []],
    ["lock", "select control.lock_outbox(control.current_tenant_id())", []],
    ["insert", "insert into control.memberships (user_id, role) values ($1, 'viewer')", [NEW_ID]],
  ])("is refused to %s with SQLSTATE 28000", async (_name, statement, params) => {
    const refused = { code: "28000" };
    await expect(under(context(), statement, params, account)).rejects.toMatchObject(refused);
  });
});

describe.each(contexts({ ...ACCOUNT, place: SHARED_PLACE }))("the courier, with %s", (_, context) => {
  it.each([
    ["tell of entries", "select receive(1, 1, '[]')"],
    ["replace the members", "select receive_members(1, '[]')"],
  ])("is refused to %s with SQLSTATE 28000", async (_name, statement) => {
    const told = statement.replace("receive", "public.receive");
    await expect(under(context(), told, [], account)).rejects.toMatchObject({ code: "28000" });
  });
});

it("shows partywall_account its own tenant under a valid context: the control of the above", async () => {
  const mine = (statement: string) => under(contextOf(ada, ACCOUNT), statement, [], account);
  expect(await mine("select id from control.tenants")).toEqual([{ id: ada.tenant.id }]);
  expect(await mine("select user_id from control.memberships")).toEqual([{ user_id: ada.user.id }]);
  expect(await mine("select id from control.users")).toEqual([{ id: ada.user.id }]);
  const courier = contextOf(ada, { ...ACCOUNT, place: SHARED_PLACE });
  expect(await under(courier, "select public.receive(1, 0, '[]')", [], account)).toHaveLength(1);
});

it("shows each statement's own tenant under a valid context: the control of the above", async () => {
  expect(await under(contextOf(ada), "select id from projects")).toEqual([{ id: hers }]);
  expect(await under(contextOf(ada), "select count(*) from tasks")).toEqual([{ count: "1" }]);
});

describe("inside another tenant's valid context", () => {
  it.each([
    ["select", "select * from projects where id = $1"],
    [
      "select by tenant",
      "select * from projects where tenant_id = (select tenant_id from projects where id = $1)",
    ],
    ["update", "update projects set name = 'x' where id = $1 returning id"],
    ["delete", "delete from projects where id = $1 returning id"],
  ])("%s finds nothing", async (_, statement) => {
    expect(await under(contextOf(bob), statement, [hers])).toEqual([]);
    expect(await under(contextOf(ada), "select id from projects")).toEqual([{ id: hers }]);
  });

  it.each([
    ["insert into projects (tenant_id, id, name) values ($1, $2, 'x')", "42501"],
    ["update projects set tenant_id = $1 where id = $2 or true", "42501"],
    ["insert into tasks (tenant_id, id, project_id, title) values ($1, $2, $2, 'x')", "42501"],
  ])("%s is refused with SQLSTATE 42501", async (statement, code) => {
    const own = await newProject(bob.token);
    await expect(under(contextOf(bob), statement, [ada.tenant.id, NEW_ID])).rejects.toMatchObject({ code });
    expect(await under(contextOf(bob), "select id from projects where id = $1", [own.id])).toHaveLength(1);
  });

  it("refuses a reference to another tenant's row as it refuses one to no row", async () => {
    const refer = (project: string) =>
      under(contextOf(bob), "insert into tasks (id, project_id, title) values (gen_random_uuid(), $1, 'x')", [
        project,
      ]);
    const message = async (project: string) => {
      const error: unknown = await refer(project).catch((thrown: unknown) => thrown);
      if (!(error instanceof NeonDbError)) throw new Error("not refused");
      return { code: error.code, message: error.message, detail: error.detail?.replace(project, "…") };
    };
    expect(await message(hers)).toEqual(await message(NEW_ID));
  });
});

it("forgets a context with its transaction, on whatever connection", async () => {
  await under(contextOf(ada), "select 1");
  const probes = Array.from({ length: 30 }, () => under(undefined, "select * from projects"));
  for (const probe of await Promise.allSettled(probes))
    expect(probe).toMatchObject({ reason: { code: "28000" } });
});

it("does not let even a session-wide context reach the next request", async () => {
  await app`select set_config('app.tenant', ${contextOf(ada)}, false)`;
  const probes = Array.from({ length: 30 }, () => under(undefined, "select * from projects"));
  for (const probe of await Promise.allSettled(probes))
    expect(probe).toMatchObject({ reason: { code: "28000" } });
});

it.each([
  ["the keys", "select * from partywall.context_keys"],
  ["the control plane", "select * from control.users"],
  ["TRUNCATE", "truncate projects"],
  ["DDL", "create table loot (id int)"],
  ["a temporary table", "create temp table projects (id int)"],
  ["RLS off", "alter table projects disable row level security"],
  ["another role", "set role partywall_owner"],
  ["its members, to write", "delete from members"],
  ["how far its outbox has got", "select * from outbox_receipts"],
  ["what only the outbox may say", "select receive(1, 1, '[]')"],
])("keeps %s from the app role", async (_, statement) => {
  await expect(under(contextOf(ada), statement)).rejects.toMatchObject({ code: "42501" });
});

it.each([
  ["the tenant's plan", "update tenants set plan = 'enterprise'"],
  ["a new tenant", "insert into tenants (id, slug, name, plan) values (gen_random_uuid(), 'x', 'x', 'solo')"],
  ["passwords", "select password_hash from users"],
  [
    "the outbox, to write",
    "insert into outbox (tenant_id, seq, kind, subject) values (null, 1, 'floor', null)",
  ],
  ["its head", "update outbox_heads set head = 0"],
  ["TRUNCATE", "truncate sessions"],
  ["DDL", "create table control.loot (id int)"],
  ["another role", "set role partywall_identity"],
])("keeps %s from partywall_account", async (_, statement) => {
  const denied = { code: "42501" };
  await expect(under(contextOf(ada, ACCOUNT), statement, [], account)).rejects.toMatchObject(denied);
});

it("keeps tenants' content from the logins of the control plane", async () => {
  for (const name of ["ACCOUNT_DATABASE_URL", "IDENTITY_DATABASE_URL", "OPERATOR_DATABASE_URL"] as const)
    for (const table of ["projects", "tasks", "members", "audit_events"])
      await expect(login(name).query(`select * from public.${table}`)).rejects.toMatchObject({
        code: "42501",
      });
});

it("gives no login of the Worker a way around RLS", async () => {
  const operator = login("OPERATOR_DATABASE_URL");
  const roles = await operator`
    select rolname, rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname like 'partywall\\_%'
      and rolname <> 'partywall_migrator' order by rolname`;
  expect(roles).toHaveLength(6);
  for (const role of roles)
    expect(role).toMatchObject({ rolsuper: false, rolbypassrls: false, rolcreaterole: false });
  const open = await operator`
    select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
      and has_table_privilege('partywall_app', c.oid, 'select') and not (c.relrowsecurity and c.relforcerowsecurity)`;
  expect(open).toEqual([]);
});

it("lets no GET write: its transaction is READ ONLY", async () => {
  const db = openTenantDb("app", ada.tenant.id, { id: ada.user.id, as: "owner" }, noRequest());
  await expect(db.read((q) => ({ gone: q.delete(tasks).returning({ id: tasks.id }) }))).rejects.toMatchObject(
    {
      code: "25006",
    },
  );
  const { rows } = await db.read((q) => ({ rows: q.select({ id: projects.id }).from(projects) }));
  expect(rows).toEqual([{ id: hers }]);
});

it("connects each role with its own password alone", async () => {
  const url = new URL(inject("variables")["DATABASE_URL"] ?? "");
  url.password = "wrong";
  await expect(neon(url.href)`select 1`).rejects.toMatchObject({ code: "28P01" });
});
