import { beforeAll, describe, expect, it } from "vitest";
import { whileAsleep } from "./support/asleep.ts";
import { AT_SITE } from "./support/site.ts";
import {
  app,
  asOwner,
  attempt,
  codeOf,
  contextOf,
  inside,
  lastRows,
  migrator,
  newTargets,
  raise,
  shows,
  undone,
  UNDONE,
  type Target,
} from "./support/attacks.ts";
import { PLACE, SITE } from "./support/site.ts";

// What plain Postgres cannot close, exactly as wide as it is. The documentation says each of these; when one of them
// closes, or opens further, this file says so.

let ada: Target;
let bob: Target;
let carol: Target;

// Enough to be a common value of the whole table, whatever other files put into it, and to show in the 500th that
// Postgres takes each tenant for (wall.sql).
const COMMON = 5_000;

beforeAll(async () => {
  [ada, bob, carol] = await newTargets();
  const seeded = await inside(
    ada,
    `insert into projects (id, name) select gen_random_uuid(), '${ada.marker}' from generate_series(1, ${COMMON})`,
  );
  if (seeded.error) throw new Error(JSON.stringify(seeded.error));
  await migrator.transaction([
    migrator`set local role partywall_owner`,
    migrator.query(`analyze ${PLACE.schema}.projects`),
  ]);
});

/** How many rows the planner expects of a condition on projects, as Bob. */
async function estimate(condition: string): Promise<number> {
  const plan = JSON.stringify(
    lastRows(await inside(bob, `explain (format json) select from projects where ${condition}`)),
  );
  const [, rows] = /"Plan Rows\\*":\s*(\d+)/.exec(plan) ?? [];
  return Number(rows);
}

describe("known and said: what is visible of other tenants", () => {
  it("estimates: whoever knows a common value can confirm it; patterns tell nothing", async () => {
    const all = (condition: (name: string) => string) =>
      Promise.all(
        [ada.marker, ada.marker.replace(/.{6}$/, "-none-")].map((name) => estimate(condition(name))),
      );
    const [hit, miss] = await all((name) => `name = '${name}'`);
    expect(hit).toBeGreaterThan(miss ?? NaN);
    for (const operator of ["like '%", "~ '", "similar to '%", "ilike '%"]) {
      const [leakyHit, leakyMiss] = await all((name) => `name ${operator}${name.slice(-12)}'`);
      expect(leakyHit).toBe(leakyMiss);
    }
  });

  it("counts: the size of a whole table, its pages, and how often it was written", async () => {
    const outcome = await inside(
      bob,
      "select reltuples::int as rows, relpages as pages from pg_class where oid = 'projects'::regclass",
      "select pg_relation_size('projects')::int as bytes",
      "select n_tup_ins::int as inserts from pg_stat_user_tables where relid = 'projects'::regclass",
    );
    const [[size], [bytes], [writes]] = outcome.rows as [
      [{ rows: number }],
      [{ bytes: number }],
      [{ inserts: number }],
    ];
    expect(size.rows).toBeGreaterThan(COMMON);
    expect(bytes.bytes).toBeGreaterThan(0);
    expect(writes.inserts).toBeGreaterThanOrEqual(0);
    expect(await inside(bob, "select count(*)::int as rows from projects")).toMatchObject({
      rows: [[{ rows: 1 }]],
    });
  });

  it("EXPLAIN ANALYZE counts the rows that the wall removed from a sequential scan", async () => {
    const outcome = await inside(
      bob,
      "set local enable_indexscan = off",
      "set local enable_bitmapscan = off",
      "set local enable_indexonlyscan = off",
      "explain (analyze, costs off, timing off) select from projects",
    );
    const removed = /Rows Removed by Filter: (\d+)/.exec(JSON.stringify(lastRows(outcome)))?.[1];
    expect(Number(removed)).toBeGreaterThanOrEqual(COMMON);
    expect(shows(outcome, ada)).toBe(false);
  });

  it("the text of a statement that runs, with its literals; a parameter never", async () => {
    const look = async () =>
      JSON.stringify(
        await inside(
          bob,
          "select query from pg_stat_activity where usename = 'partywall_app' and pid <> pg_backend_pid()",
        ),
      );
    const seen = await whileAsleep(
      AT_SITE.stage,
      (sleep) =>
        app.transaction([
          app`select set_config('app.tenant', ${contextOf(ada)}, true)`,
          app.query(`select ${sleep}, 'literal of ada', $1::text`, [ada.marker]),
        ]),
      look,
    );
    expect(seen).toContain("literal of ada");
    expect(seen).not.toContain(ada.marker);
    expect(seen).not.toContain(contextOf(ada).slice(0, 95));
    // Which is why the context is a parameter: as a literal it could be read, and used.
    const careless = (sleep: string) =>
      app.query(`select set_config('app.tenant', '${contextOf(carol)}', true), ${sleep}`);
    expect(await whileAsleep(AT_SITE.stage, careless, look)).toContain(contextOf(carol).slice(0, 95));
  });

  it("the text of another role's statement is hidden", async () => {
    const outcome = await inside(
      bob,
      "select query from pg_stat_activity where usename <> 'partywall_app' and query not in ('', '<insufficient privilege>')",
    );
    expect(outcome).toMatchObject({ rows: [[]] });
  });

  it("the definitions: tables, columns, policies, the verifier's source, the roles' names; no key", async () => {
    const outcome = await inside(
      bob,
      "select polname from pg_policy where polname = 'tenant_only'",
      "select prosrc from pg_proc where proname = 'current_tenant_id'",
      "select rolname from pg_roles where rolname = 'partywall_owner'",
    );
    for (const rows of outcome.rows) expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(outcome)).toContain("partywall.context_keys");
    expect(await inside(bob, "select * from partywall.context_keys")).toMatchObject({
      error: { code: "42501" },
    });
  });

  it("one's own context, good for a minute; and whoever steals a live one is that tenant until it expires", async () => {
    expect(await inside(bob, "select current_setting('app.tenant') ~ '^o1\\.' as mine")).toMatchObject({
      rows: [[{ mine: true }]],
    });
    const stolen = await inside(
      bob,
      `select set_config('app.tenant', '${contextOf(ada)}', true)`,
      "select name from projects",
    );
    expect(shows(stolen, ada)).toBe(true);
  });

  it("a large object: it belongs to the role, not to the tenant", async () => {
    const made = await inside(ada, `select lo_from_bytea(0, '${ada.marker}') as oid`);
    const { oid } = lastRows(made)[0] as { oid: number };
    const read = await inside(
      bob,
      `select convert_from(lo_get(${oid}), 'UTF8') as text`,
      `select lo_unlink(${oid})`,
    );
    expect(read.rows[0]).toEqual([{ text: ada.marker }]);
    expect(await inside(bob, `select lo_get(${oid})`)).toMatchObject({ error: { code: "42704" } });
  });
});

describe("known and said: what is open to a denial of service", () => {
  it.each([
    ["its own password", "alter role partywall_app password 'loot'"],
    [
      "its own settings",
      `alter role partywall_app in database ${SITE.database ?? "partywall"} set statement_timeout = 0`,
    ],
    ["its own path", "alter role partywall_app set search_path = pg_temp"],
    ["its own name for others to read", "alter role partywall_app set application_name = 'loot'"],
    ["a lock on a whole table", "lock table tasks in access exclusive mode"],
    ["a notification", "notify loot, 'x'"],
    ["a longer time limit", "set local statement_timeout = 0"],
    ["more memory a sort", "set local work_mem = '1GB'"],
    ["an advisory lock", "select pg_advisory_xact_lock(7280)"],
    ["a message in the log of changes", "select pg_logical_emit_message(false, 'loot', 'x')"],
  ])("the app role may change or take %s", async (_, statement) => {
    expect(await undone(bob, statement)).toMatchObject({ error: { code: UNDONE } });
  });

  it("a setting of the role reaches no content: no default of its own opens the wall", async () => {
    const outcome = await undone(bob, `alter role partywall_app set app.tenant = '${contextOf(ada)}'`);
    expect(["42501", UNDONE]).toContain(codeOf(outcome));
    const row = await undone(bob, "alter role partywall_app set row_security = off");
    expect(row).toMatchObject({ error: { code: UNDONE } });
    // With it off a query that the wall would filter is refused instead.
    expect(await inside(bob, "set local row_security = off", "select name from projects")).toMatchObject({
      error: { code: "42501" },
    });
  });

  it("DROP OWNED BY itself sheds no policy: none names the role", async () => {
    const outcome = await inside(
      bob,
      "drop owned by partywall_app",
      raise("(select count(*) from members) || ' ' || (select string_agg(name, ' ') from projects)"),
    );
    expect(outcome.error?.["message"]).toMatch(/^1 42$/);
    expect(await inside(bob, "select count(*) from members")).toMatchObject({ rows: [[{ count: "1" }]] });
    // The policies of tenant tables are for PUBLIC, so no role can shed them.
    const policies = await asOwner(
      carol,
      raise(
        "(select string_agg(distinct polroles::text, ' ') from pg_policy where polname in ('tenant_may', 'tenant_only'))",
      ),
    );
    expect(policies).toMatchObject({ error: { message: "{0}" } });
  });

  it("ends the sessions of its own role", async () => {
    const name = `victim-${crypto.randomUUID()}`;
    const victim = app.query(`select pg_sleep(5), '${name}'`).then(
      () => undefined,
      (error: unknown) => error,
    );
    await expect
      .poll(
        async () => {
          const outcome = await inside(
            bob,
            `select pg_terminate_backend(pid) as ended from pg_stat_activity where query like '%${name}%' and wait_event = 'PgSleep'`,
          );
          return lastRows(outcome);
        },
        { interval: 20 },
      )
      .toEqual([{ ended: true }]);
    expect(await victim).toMatchObject({ code: "57P01" });
  });

  it("no context opens nothing, whatever else was changed: the control of this file", async () => {
    expect(await attempt(app, undefined, ["select name from projects"])).toMatchObject({
      error: { code: "28000" },
    });
  });
});
