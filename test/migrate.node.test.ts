import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { neon, neonConfig } from "@neondatabase/serverless";
import pg from "pg";
import * as v from "valibot";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Stack } from "../drizzle/local/stack.ts";
import { migrate as migrateWith, migrateOver, type MigrationOptions } from "../drizzle/migrate.ts";
import { SHARED_PLACE } from "../src/db/places.ts";
import { signContext } from "../src/db/signed-context.ts";
import { keyRing } from "../src/settings.ts";
import type { Migrated } from "./bench/bed.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { withMigrations as migrationsIn } from "./support/node/product.ts";

const MIGRATIONS = join(import.meta.dirname, "support/product/migrations");
/** Of the tests' product, whatever the adopter's own is. */
const migrate = (of: typeof variables, options: MigrationOptions = {}) =>
  migrateWith(of, { content: MIGRATIONS, ...options });
const TENANT = "01990000-0000-7000-8000-00000000000a";
const STRONG =
  "mode in ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";
const DRIFT = "alter table tasks no force row level security";
/** Gives up at once. */
const HASTY = { lockTimeoutMs: 50, pauseMs: 0, tries: 3 };

let dir: string;
let stack: Stack;
let variables: Migrated["variables"];
/** The superuser, in the partywall database. */
let root: pg.Client;
/** Whoever reads for long, as a dump does. */
let reader: pg.Client;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "partywall-migrate-"));
  // As root, Postgres runs as another user, who then reaches its data here.
  chmodSync(dir, 0o711);
  mkdirSync(join(dir, "database"));
  ({ stack, variables } = await startMigrated({ dir: join(dir, "database") }));
  [root, reader] = await Promise.all([connect("root"), connect("pg_dump")]);
  await root.query(
    `insert into control.tenants (id, slug, name, plan) values ('${TENANT}', 't', 'T', 'solo')`,
  );
  await root.query(
    `insert into projects (tenant_id, id, name, created_by) values ('${TENANT}', '${TENANT}', 'P', '${TENANT}')`,
  );
}, 60_000);
beforeEach(async () => {
  await root.query("rollback");
  await reader.query("rollback");
});
afterAll(async () => {
  await Promise.all([root?.end(), reader?.end()]);
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function connect(name: string): Promise<pg.Client> {
  const url = new URL(stack.superuserUrl);
  url.pathname = "/partywall";
  const client = new pg.Client({ connectionString: url.href, application_name: name });
  await client.connect();
  return client;
}

/** Migrates, and resolves to the strong locks that each transaction held when it committed: "mode on table". */
async function locksOfMigration(): Promise<string[]> {
  const client = new pg.Client({ connectionString: variables.MIGRATION_DATABASE_URL });
  await client.connect();
  const locks: string[] = [];
  let commits = 0;
  const query: (...args: unknown[]) => Promise<pg.QueryResult<{ lock: string }>> = client.query.bind(client);
  client.query = async (...args: unknown[]) => {
    if (args[0] === "commit") {
      commits += 1;
      const held = await query(
        `select distinct concat(mode, ' on ', relation::regclass) as lock from pg_locks
          where pid = pg_backend_pid() and locktype = 'relation' and ${STRONG} order by 1`,
      );
      locks.push(...held.rows.map(({ lock }) => lock));
    }
    return query(...args);
  };
  try {
    await migrateOver(client, variables, { content: MIGRATIONS });
  } finally {
    await client.end();
  }
  expect(commits).toBeGreaterThan(0);
  return locks;
}

/** Every table there is but Postgres' own. */
async function tables(): Promise<string> {
  const { rows } = await root.query<{ names: string }>(
    `select string_agg(oid::regclass::text, ', ') as names from pg_class
      where relkind in ('r', 'p') and relnamespace::regnamespace::text in ('public', 'control', 'partywall', 'drizzle')`,
  );
  return rows[0]?.names ?? "";
}

const withMigrations = (...more: string[][]) => migrationsIn(mkdtempSync(join(dir, "migrations-")), ...more);

/** What a tenant's request asks, through the endpoint. */
async function request(): Promise<number> {
  const [key] = v.parse(keyRing, variables.TENANT_CONTEXT_KEYS);
  if (!key) throw new Error("no context key");
  neonConfig.fetchEndpoint = stack.endpoint;
  const sql = neon(variables.DATABASE_URL);
  const context = signContext(
    key,
    SHARED_PLACE,
    "partywall_app",
    TENANT,
    { id: TENANT, as: "owner" },
    Date.now(),
  );
  const [, rows] = await sql.transaction([
    sql`select set_config('app.tenant', ${context}, true)`,
    sql`select projects.id from projects left join tasks using (tenant_id)`,
  ]);
  return rows?.length ?? 0;
}

/** A migration that has begun, and what it says. `waits` resolves at the first word. */
function begin(options: MigrationOptions = {}) {
  const said: string[] = [];
  const first = Promise.withResolvers<string>();
  let isDone = false;
  const done = migrate(variables, {
    say: (line) => {
      said.push(line);
      first.resolve(line);
    },
    ...options,
  }).finally(() => (isDone = true));
  void done.catch((error: unknown) => first.reject(error));
  return { done, said, waits: first.promise, isDone: () => isDone };
}

const isForced = async () =>
  (await root.query("select from pg_class where not relforcerowsecurity and oid = 'tasks'::regclass"))
    .rowCount === 0;

describe("a migration with nothing to do", () => {
  it("takes no lock on a table that is stronger than ROW EXCLUSIVE", async () => {
    await migrate(variables);
    expect(await locksOfMigration()).toEqual([]);
  });

  it("waits for nobody, not even beside a session that lets in no lock stronger than ROW EXCLUSIVE", async () => {
    await reader.query(`begin; lock table ${await tables()} in share update exclusive mode`);
    const said: string[] = [];
    await migrate(variables, { say: (line) => said.push(line), patience: HASTY });
    expect(said).toEqual([]);
  });

  it("runs no DDL on tables, functions and their grants", async () => {
    const catalog = async () =>
      (
        await root.query(`select 'pg_class' as of, oid, xmin::text from pg_class union all
          select 'pg_attribute', attrelid, xmin::text from pg_attribute union all
          select 'pg_trigger', oid, xmin::text from pg_trigger union all select 'pg_policy', oid, xmin::text from pg_policy union all
          select 'pg_proc', oid, xmin::text from pg_proc union all select 'pg_default_acl', oid, xmin::text from pg_default_acl
          order by 1, 2, 3`)
      ).rows;
    const before = await catalog();
    await migrate(variables);
    expect(await catalog()).toEqual(before);
  });
});

describe("a migration of a damaged wall", () => {
  it.each([
    [DRIFT, ["AccessExclusiveLock on tasks"]],
    ["alter table control.tenants disable row level security", ["AccessExclusiveLock on control.tenants"]],
    [
      "alter table control.memberships no force row level security",
      ["AccessExclusiveLock on control.memberships"],
    ],
    ["alter table tasks alter tenant_id reset (n_distinct)", ["ShareUpdateExclusiveLock on tasks"]],
    ["drop trigger audit_row on projects", ["ShareRowExclusiveLock on projects"]],
    ["alter table control.api_keys disable trigger touch_row", ["ShareRowExclusiveLock on control.api_keys"]],
    [
      `create or replace trigger audit_row after insert or delete on control.memberships for each row
        execute function control.audit_row('user_id')`,
      ["ShareRowExclusiveLock on control.memberships"],
    ],
    ["grant update, truncate on control.tenants to partywall_account", []],
    ["grant select on control.tenants to partywall_app", []],
    ["grant select on control.sessions to public", []],
    ["grant select (email) on control.users to partywall_operator", []],
    ["grant select (password_hash) on control.users to partywall_account", []],
    ["grant select on members to partywall_account", []],
    ["grant insert on members to partywall_app", []],
    ["grant select on outbox_receipts to partywall_app", []],
    ["grant select on tasks to partywall_app with grant option", []],
    ["grant insert on audit_events to partywall_app", []],
    ["revoke select on projects from partywall_app", []],
    ["revoke update (name) on control.tenants from partywall_account", []],
    ["grant execute on function touch_row() to public", []],
    ["grant execute on function control.tell(uuid, text, uuid, bigint, jsonb) to public", []],
    ["revoke execute on function current_tenant_id() from partywall_app", []],
    ["revoke execute on function control.current_tenant_id() from partywall_operator", []],
    ["revoke execute on function receive(bigint, bigint, jsonb) from partywall_account", []],
    ["alter default privileges for role partywall_owner grant execute on functions to public", []],
  ])("mends it, and locks nothing else: %s", async (damage, locks) => {
    const wall = async () =>
      (
        await root.query(`select c.oid::regclass::text as of, concat(relrowsecurity, relforcerowsecurity, attoptions,
            pg_get_triggerdef(t.oid), tgenabled, array(select unnest(coalesce(relacl, acldefault('r', relowner)))::text order by 1),
            array(select concat(attname, acl) from pg_attribute, unnest(attacl) acl where attrelid = c.oid order by 1))
            as is from pg_class c left join pg_attribute a on attrelid = c.oid and attname = 'tenant_id'
            left join pg_trigger t on tgrelid = c.oid and not tgisinternal
            where relnamespace in ('public'::regnamespace, 'control'::regnamespace)
          union all select oid::regprocedure::text, array(select unnest(proacl)::text order by 1)::text from pg_proc
            where pronamespace in ('public'::regnamespace, 'control'::regnamespace)
          union all select 'default', defaclacl::text from pg_default_acl order by 1, 2`)
      ).rows;
    const before = await wall();
    await root.query(damage);
    expect(await wall()).not.toEqual(before);
    expect(await locksOfMigration()).toEqual(locks);
    expect(await wall()).toEqual(before);
  });

  it.each([
    "as restrictive using (true)",
    "as restrictive using (MINE) with check (true)",
    "as restrictive using (MINE or status = 'done')",
    "as restrictive for select using (MINE)",
    "as restrictive to partywall_app using (MINE)",
    "using (MINE)",
  ])("serves nobody a table that has another wall: %s", async (rule) => {
    const MINE = "tenant_id = (select current_tenant_id())";
    const remake = (text: string) =>
      root.query(`drop policy tenant_only on tasks; create policy tenant_only on tasks ${text}`);
    const granted = async () =>
      (
        await root.query<{ is: boolean }>(
          "select has_any_column_privilege('partywall_app', 'tasks', 'select, insert, update') as is",
        )
      ).rows[0]?.is;
    await remake(rule.replace("MINE", MINE));
    await migrate(variables);
    expect(await granted()).toBe(false);
    await remake(`as restrictive using (${MINE}) with check (${MINE})`);
    await migrate(variables);
    expect(await granted()).toBe(true);
  });
});

describe("beside a session that reads a table for long", () => {
  const read = () => reader.query("begin; lock table tasks in access share mode");

  it("a migration with nothing to do ends, and requests go on", async () => {
    await read();
    const { done, said } = begin();
    await done;
    expect(await request()).toBe(1);
    expect(said).toEqual([]);
  });

  it("one that must change the table says who is in the way, lets requests pass, and ends when it may", async () => {
    await root.query(DRIFT);
    await read();
    const { done, waits, isDone } = begin();
    const { rows } = await reader.query<{ pid: number }>("select pg_backend_pid() as pid");
    expect(await waits).toMatch(
      new RegExp(`^Waiting for tasks: pid ${rows[0]?.pid} \\(pg_dump, as postgres.*\\) is in the way\\.$`),
    );
    for (let requests = 0; requests < 10; requests += 1) expect(await request()).toBe(1);
    expect(isDone()).toBe(false);
    expect(await isForced()).toBe(false);
    await reader.query("commit");
    await done;
    expect(await isForced()).toBe(true);
  });

  it("a new migration is rolled back whole at each try, and is there once the session has ended", async () => {
    const content = withMigrations(["alter table projects add tint text", "alter table tasks add tint text"]);
    const tinted = async () =>
      (
        await root.query(
          "select attrelid::regclass::text as t from pg_attribute where attname = 'tint' order by 1",
        )
      ).rows;
    await read();
    const { done, waits } = begin({ content });
    await waits;
    for (let requests = 0; requests < 10; requests += 1) expect(await request()).toBe(1);
    expect(await tinted()).toEqual([]);
    expect(await isForced()).toBe(true);
    await reader.query("commit");
    await done;
    expect(await tinted()).toEqual([{ t: "projects" }, { t: "tasks" }]);
    expect(await isForced()).toBe(true);
    expect(await locksOfMigration()).toEqual([]);
  });

  it("one that never may gives up after its last try, names who was in the way, and has changed nothing", async () => {
    await root.query(DRIFT);
    await read();
    const { done } = begin({ patience: { lockTimeoutMs: 200, pauseMs: 0, tries: 10 } });
    await expect(done).rejects.toThrow(
      /10 tries\. Waiting for tasks: pid \d+ \(pg_dump.*migrate again later/,
    );
    expect(await isForced()).toBe(false);
    await reader.query("commit");
    await migrate(variables);
    expect(await isForced()).toBe(true);
  });
});

it("waits for another migration, says so, and then finds nothing to do", async () => {
  const content = withMigrations(["alter table tasks add shade text"]);
  await reader.query("begin; lock table tasks in access share mode");
  const patience = { lockTimeoutMs: 500, pauseMs: 10, tries: 1_000 };
  const [one, other] = [begin({ content, patience }), begin({ content, patience })];
  expect((await Promise.all([one.waits, other.waits])).sort()).toEqual([
    expect.stringMatching(/^Waiting for another migration: pid \d+ \(partywall, as partywall_migrator/),
    expect.stringMatching(/^Waiting for tasks: pid \d+ \(pg_dump/),
  ]);
  await reader.query("commit");
  await Promise.all([one.done, other.done]);
});

it("adds a foreign key to a table that has rows, whose owner is bound again after", async () => {
  await migrate(variables, {
    content: withMigrations(
      [
        `create table notes (tenant_id uuid not null, id uuid not null, primary key (tenant_id, id))`,
        `insert into notes select tenant_id, id from projects`,
        `alter table notes add foreign key (tenant_id, id) references projects deferrable initially deferred`,
        `delete from projects`,
        `insert into projects (tenant_id, id, name, created_by) select tenant_id, id, 'P', id from notes`,
      ],
      [`drop table notes`],
      [`alter table projects rename to ventures`],
      [`alter table ventures rename to projects`],
    ),
  });
  await root.query("begin; set local role partywall_owner");
  await expect(root.query("select from projects")).rejects.toMatchObject({ code: "28000" });
});

describe("a migration of CREATE INDEX CONCURRENTLY", () => {
  const BUILD = `CREATE INDEX CONCURRENTLY "tasks_due" ON "tasks" USING btree ("tenant_id","due_on")`;
  const isValid = async () =>
    (await root.query("select indisvalid as valid from pg_index where indexrelid = to_regclass('tasks_due')"))
      .rows;

  it("builds the index beside requests, goes on where it was broken off, and then has nothing to do", async () => {
    const content = withMigrations([BUILD], [`create index tasks_by_title on tasks (tenant_id, title)`]);
    // Builds wait for every older transaction that wrote to the table.
    await reader.query("begin; lock table tasks in row exclusive mode");
    const broken = begin({ content });
    expect(await broken.waits).toMatch(/^Waiting for an older transaction: pid \d+ \(pg_dump/);
    expect(await request()).toBe(1);
    await root.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'partywall' and state = 'active'",
    );
    await expect(broken.done).rejects.toThrow(/terminat/);
    expect(await isValid()).toEqual([{ valid: false }]);
    await reader.query("commit");

    await migrate(variables, { content });
    expect(await isValid()).toEqual([{ valid: true }]);
    await reader.query(`begin; lock table ${await tables()} in share update exclusive mode`);
    await migrate(variables, { content, patience: HASTY });
  });

  it("drops one likewise", async () => {
    await migrate(variables, {
      content: withMigrations([
        "DROP INDEX CONCURRENTLY tasks_due",
        "drop index concurrently if exists no_such",
      ]),
    });
    expect(await isValid()).toEqual([]);
  });

  it("is refused when it holds other changes too, and says what to do", async () => {
    const content = withMigrations(["alter table tasks add hue text", BUILD]);
    await expect(migrate(variables, { content })).rejects.toThrow(
      /must hold nothing else: generate it apart/,
    );
  });
});

it("tells no password when a role cannot be given it", async () => {
  const url = new URL(variables.DATABASE_URL);
  url.username = "nobody";
  const error: unknown = await migrate({ ...variables, DATABASE_URL: url.href }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ message: 'role "nobody" does not exist' });
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(url.password);
});
