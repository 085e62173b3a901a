import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NeonDbError, neon, neonConfig } from "@neondatabase/serverless";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Stack } from "../drizzle/local/stack.ts";
import { installPacked, type PackedProject } from "./support/node/packed.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const CONNECTIONS = 4;
const SOON = { timeout: 20_000, interval: 20 };

/** The endpoint as others get it: what is tested here is what `npm pack` packs. */
let project: PackedProject;
let stack: Stack;
let sql: ReturnType<typeof neon<false, false>>;

beforeAll(async () => {
  project = await installPacked();
  stack = await project.startStack({
    dir: mkdtempSync(join(tmpdir(), "local-")),
    ephemeral: true,
    maxConnections: CONNECTIONS,
  });
  neonConfig.fetchEndpoint = stack.endpoint;
  sql = neon(stack.superuserUrl);
});

afterAll(async () => {
  await stack.stop();
  rmSync(project.dir, { recursive: true, force: true });
});

/** The superuser's string with another role, password or database; host and port are nobody's. */
function url(user: string, password: string, database = "postgres"): string {
  return `postgres://${user}:${encodeURIComponent(password)}@elsewhere.invalid:1/${database}`;
}

/** The error a query fails with; a query that succeeds fails the test. */
async function failure(query: Promise<unknown>): Promise<NeonDbError> {
  const nothing = Symbol("nothing");
  const error = await query.then(
    () => nothing,
    (reason: NeonDbError) => reason,
  );
  if (typeof error === "symbol") throw new Error("the query succeeded");
  return error;
}

/** How many sessions of this application Postgres has, the asking one left out. */
async function sessions(where = "true"): Promise<number> {
  const rows = await sql.query(
    `select count(*)::int as n from pg_stat_activity
     where backend_type = 'client backend' and pid <> pg_backend_pid() and ${where}`,
  );
  return rows[0]?.["n"];
}

/** A request that can be broken off; `sent` resolves once Postgres runs it. */
async function breakOff(text: string): Promise<void> {
  const body = JSON.stringify({ query: text });
  const headers = { "Neon-Connection-String": stack.superuserUrl, "content-length": Buffer.byteLength(body) };
  const sent = request(stack.endpoint, { method: "POST", headers });
  sent.on("error", () => undefined);
  sent.end(body);
  await expect.poll(() => sessions(`query = '${text.replaceAll("'", "''")}'`), SOON).toBe(1);
  sent.destroy();
}

describe("who asks", () => {
  it("is logged in as the role of the connection string, wherever its host points", async () => {
    await sql`create role alice login password 'p@ss w:rd/é'`;
    await sql`create database atlas owner alice`;
    const alice = neon(url("alice", "p@ss w:rd/é", "atlas"));
    expect(await alice`select session_user::text as u, current_database()::text as d`).toEqual([
      { u: "alice", d: "atlas" },
    ]);
  });

  it("is refused with a wrong password, an unknown role or database, again and again", async () => {
    await sql`create role bob login password 'right'`;
    for (let times = 0; times < 3; times += 1) {
      expect(await failure(neon(url("bob", "wrong"))`select 1`)).toMatchObject({
        code: "28P01",
        severity: "FATAL",
        message: 'password authentication failed for user "bob"',
      });
    }
    expect(await neon(url("bob", "right"))`select 1 as one`).toEqual([{ one: 1 }]);
    // His session is in the pool now, where the wrong password must not find it.
    await expect
      .poll(
        () => sessions("usename = 'bob' and query like 'reset session authorization;%' and state = 'idle'"),
        SOON,
      )
      .toBe(1);
    expect(await failure(neon(url("bob", "wrong"))`select 1`)).toMatchObject({ code: "28P01" });
    expect(await failure(neon(url("nobody", "x"))`select 1`)).toMatchObject({ code: "28P01" });
    expect(await failure(neon(url("bob", "right", "nowhere"))`select 1`)).toMatchObject({ code: "3D000" });
  });

  it("needs the new password once it is changed", async () => {
    await sql`create role carol login password 'old'`;
    expect(await neon(url("carol", "old"))`select 1 as one`).toEqual([{ one: 1 }]);
    await sql`alter role carol password 'new'`;
    await sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'carol'`;
    expect(await failure(neon(url("carol", "old"))`select 1`)).toMatchObject({ code: "28P01" });
    expect(await neon(url("carol", "new"))`select 1 as one`).toEqual([{ one: 1 }]);
  });

  it("is let in after failures, which leave no session behind", async () => {
    const attempts = Array.from({ length: 3 * CONNECTIONS }, () =>
      failure(neon(url("alice", "no"))`select 1`),
    );
    expect((await Promise.all(attempts)).map((error) => error.code)).toEqual(attempts.map(() => "28P01"));
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  });
});

describe("the pool", () => {
  it("answers 200 requests at once over its few connections", async () => {
    let most = 0;
    const watch = neon(stack.superuserUrl);
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const rows = await watch`select ${n}::int as n, (select count(*)::int from pg_stat_activity
          where backend_type = 'client backend' and state = 'active') as active, pg_sleep(0.005)`;
        most = Math.max(most, rows[0]?.["active"]);
        return rows[0]?.["n"];
      }),
    );
    expect(answers).toEqual(Array.from({ length: 200 }, (_, n) => n));
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(CONNECTIONS);
  });

  it("is shared by all connection strings, and starves none of them", async () => {
    const names = ["dave", "erin", "frank", "grace", "heidi", "ivan"];
    for (const name of names) await sql.query(`create role ${name} login password 'x'`);
    const asked = Array.from({ length: 120 }, (_, n) => names[n % names.length] ?? "");
    const seen = await Promise.all(asked.map((name) => neon(url(name, "x"))`select session_user::text as u`));
    expect(seen.map((rows) => rows[0]?.["u"])).toEqual(asked);
    await expect.poll(() => sessions(), SOON).toBeLessThan(CONNECTIONS);
  });

  it("lets a rare role through a flood of another", async () => {
    let floods = 0;
    const done = new AbortController();
    const flood = Array.from({ length: 3 * CONNECTIONS }, async () => {
      while (!done.signal.aborted) {
        await sql`select pg_sleep(0.02)`;
        floods += 1;
      }
    });
    await expect.poll(() => floods, SOON).toBeGreaterThan(5 * CONNECTIONS);
    expect(await neon(url("dave", "x"))`select session_user::text as u`).toEqual([{ u: "dave" }]);
    done.abort();
    await Promise.all(flood);
  });

  it("cancels the query of a client that went away, and has its place free", async () => {
    await Promise.all(
      Array.from({ length: CONNECTIONS - 1 }, (_, n) => breakOff(`select pg_sleep(600 + ${n})`)),
    );
    await Promise.all(
      Array.from({ length: CONNECTIONS - 1 }, (_, n) => breakOff(`select pg_sleep(700 + ${n})`)),
    );
    await expect.poll(() => sessions("query like 'select pg_sleep(%'"), SOON).toBe(0);
    const answers = await Promise.all(Array.from({ length: CONNECTIONS }, () => sql`select 1 as one`));
    expect(answers).toEqual(Array.from({ length: CONNECTIONS }, () => [{ one: 1 }]));
  });

  it("forgets a client that went away while it waited", async () => {
    const gone = new AbortController();
    const busy = Array.from({ length: CONNECTIONS }, () => sql`select pg_sleep(0.3)`);
    const waiting = neon(stack.superuserUrl, { fetchOptions: { signal: gone.signal } });
    await sql`create table if not exists forgotten (id int)`;
    const more = Array.from({ length: CONNECTIONS }, () => sql`select pg_sleep(0.3)`);
    const insert = failure(waiting`insert into forgotten values (1)`);
    gone.abort();
    await insert;
    await Promise.all([...busy, ...more]);
    expect(await sql`select * from forgotten`).toEqual([]);
  });
});

describe("a session's state", () => {
  const leftovers: [string, string, string, unknown][] = [
    ["SET", "set statement_timeout = '12345'", "show statement_timeout", [{ statement_timeout: "0" }]],
    [
      "a setting of one's own",
      "select set_config('app.tenant', 'secret', false)",
      "select coalesce(current_setting('app.tenant', true), '') as v",
      [{ v: "" }],
    ],
    ["SET ROLE", "set role alice", "select current_user::text as u", [{ u: "postgres" }]],
    [
      "SET SESSION AUTHORIZATION",
      "set session authorization alice",
      "select session_user::text as u",
      [{ u: "postgres" }],
    ],
    [
      "a temporary table",
      "create temp table scratch ()",
      "select to_regclass('pg_temp.scratch') as t",
      [{ t: null }],
    ],
    [
      "a prepared statement",
      "prepare mine as select 1",
      "select name from pg_prepared_statements where name <> ''",
      [],
    ],
    [
      "a cursor WITH HOLD",
      "declare held cursor with hold for select 1",
      "select name from pg_cursors where name = 'held'",
      [],
    ],
    ["LISTEN", "listen news", "select pg_listening_channels() as c", []],
  ];

  it.each(leftovers)("does not leak: %s", async (_name, dirty, look, clean) => {
    // Every connection is made dirty, then every one is looked at.
    const all = Array.from({ length: 3 * CONNECTIONS });
    await Promise.all(all.map(() => sql.query(dirty)));
    const seen = await Promise.all(all.map(() => sql.query(look)));
    expect(seen).toEqual(all.map(() => clean));
  });

  it.each([
    [
      "an advisory lock",
      "select pg_advisory_lock(42)",
      "select pid from pg_locks where locktype = 'advisory'",
    ],
    [
      "an open transaction",
      "begin",
      "select pid from pg_stat_activity where state like 'idle in transaction%'",
    ],
  ])("holds nothing once its request is answered: %s", async (_name, dirty, look) => {
    await sql.query(dirty);
    await expect.poll(() => sql.query(look), SOON).toEqual([]);
  });

  it("does not leak after a failed statement in an open transaction", async () => {
    await failure(sql.transaction([sql`set local app.tenant = 'secret'`, sql`select 1/0`]));
    const seen = await Promise.all(
      Array.from(
        { length: CONNECTIONS },
        () => sql`select coalesce(current_setting('app.tenant', true), '') as v`,
      ),
    );
    expect(seen).toEqual(Array.from({ length: CONNECTIONS }, () => [{ v: "" }]));
  });
});

describe("a Postgres that comes and goes", () => {
  it("drops connections that were terminated while idle", async () => {
    await Promise.all(Array.from({ length: CONNECTIONS }, () => sql`select pg_sleep(0.01)`));
    await sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity
      where backend_type = 'client backend' and pid <> pg_backend_pid()`;
    const answers = await Promise.all(Array.from({ length: 2 * CONNECTIONS }, () => sql`select 1 as one`));
    expect(answers).toEqual(Array.from({ length: 2 * CONNECTIONS }, () => [{ one: 1 }]));
  });

  it("reports a session that was terminated under way", async () => {
    expect(await failure(sql`select pg_terminate_backend(pg_backend_pid())`)).toMatchObject({
      code: "57P01",
    });
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  });

  it("keeps port and data over a restart, and the next request succeeds", async () => {
    await sql`create table kept as select 7 as seven`;
    const before = { ...stack.pids, port: stack.postgresPort };
    await stack.restartPostgres();
    expect(await sql`select seven from kept`).toEqual([{ seven: 7 }]);
    expect(stack.pids.stack).toBe(before.stack);
    expect(stack.pids.postgres).not.toBe(before.postgres);
    expect(await sql`show port`).toEqual([{ port: String(before.port) }]);
  });

  it("answers 503 with a reason while Postgres is down, then recovers from its crash", async () => {
    process.kill(stack.pids.postgres, "SIGKILL");
    const ask = () =>
      fetch(stack.endpoint, {
        method: "POST",
        headers: { "Neon-Connection-String": stack.superuserUrl },
        body: '{"query":"select 1"}',
      });
    await expect.poll(async () => (await ask()).status, SOON).toBe(503);
    expect(await (await ask()).json()).toMatchObject({ code: "08001", severity: "FATAL", detail: null });
    const crowd = await Promise.all(Array.from({ length: 10 * CONNECTIONS }, () => ask()));
    expect(crowd.map((response) => response.status)).toEqual(crowd.map(() => 503));
    await stack.restartPostgres();
    expect(await sql`select seven from kept`).toEqual([{ seven: 7 }]);
  });
});
