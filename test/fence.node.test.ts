import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../drizzle/connected.ts";
import type { FenceMode, Table } from "../src/lifecycle/end.ts";
import { beginJob, loginsAtSite, siteNamed, takeOver, type Job } from "../drizzle/moves/jobs.ts";
import { catchUp, copyRows } from "../drizzle/moves/copy.ts";
import { ListedChanges } from "../drizzle/moves/differences.ts";
import { SiteEnd } from "../drizzle/moves/site-end.ts";
import type { Mode, Statement } from "../src/lifecycle/rows.ts";
import { createTenant } from "../drizzle/create-tenant.ts";
import { addSite } from "../drizzle/site-add.ts";
import { FENCE_MODES } from "../src/db/site.ts";
import { eraseRows } from "../src/lifecycle/erase-rows.ts";
import type { Migrated } from "./bench/bed.ts";
import { startMigrated } from "./support/node/cluster.ts";
import { Dice } from "./support/node/move-schedule.ts";
import { TESTS_MIGRATIONS } from "./support/node/product.ts";

// What an attempt at a job may do at a tenant's places, whatever came before: the fence's rules, its lock, the change log, and
// the copying of rows of every type.

let migrated: Migrated;
let dir: string;
let root: pg.Client;
let variables: Migrated["variables"];
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "partywall-fence-"));
  migrated = await startMigrated({ dir });
  variables = migrated.variables;
  root = await connect(migrated.stack.superuserUrl.replace(/[^/]*$/, "partywall"));
  await addSite({ name: "own", schema: true }, variables, { ...TESTS_MIGRATIONS, say: () => undefined });
}, 60_000);
afterAll(async () => {
  await root?.end();
  await migrated?.stack.stop();
  rmSync(dir, { recursive: true, force: true });
});

let job: Job;
let here: SiteEnd;
const ends: SiteEnd[] = [];
beforeEach(async () => {
  const slug = `t-${randomUUID().slice(0, 13)}`;
  await createTenant({ slug, site: "shared" }, variables);
  job = await beginJob(variables, slug, "move", "own", TESTS_MIGRATIONS);
  here = await endOf(job, "shared");
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end[Symbol.asyncDispose]();
});

/** The place as this attempt sees it. */
const endOf = (of: Job, site: string) => endAs(SiteEnd, of, site);

async function endAs<E extends SiteEnd>(
  Class: new (...of: ConstructorParameters<typeof SiteEnd>) => E,
  { tenant, id, token }: Job,
  site: string,
): Promise<E> {
  const end = new Class(loginsAtSite(variables, await siteNamed(variables, site)), {
    tenant,
    job: id,
    token,
  });
  ends.push(end);
  return end;
}

/** Instead of rows, it gets the most of them that a node of the plan had. */
class Explained extends SiteEnd {
  mostRows = 0;
  protected override async run<Row extends Record<string, unknown>>(
    mode: Mode,
    [text, ...params]: Statement,
  ): Promise<Row[]> {
    const explained = await super.run<{ "QUERY PLAN": [{ Plan: Plan }] }>(mode, [
      `explain (analyze, format json) ${text}`,
      ...params,
    ]);
    const most = ({ Plans = [], ...plan }: Plan): number =>
      Math.max(plan["Actual Rows"] * plan["Actual Loops"], ...Plans.map(most));
    this.mostRows = Math.max(...explained.map((row) => most(row["QUERY PLAN"][0].Plan)));
    return [];
  }
}
type Plan = { "Actual Rows": number; "Actual Loops": number; Plans?: Plan[] };

/** The shared site as an attempt at another job sees it, so many attempts later. */
const laterJob = (later: number) => endOf({ ...job, id: randomUUID(), token: job.token + later }, "shared");

/** Sets the stage: a fence as an attempt with this token has left it. */
const leave = (mode: FenceMode | "", { epoch = 1, token = job.token, heldMs = 10_000 } = {}) =>
  mode === ""
    ? root.query("delete from public.fences where tenant = $1", [job.tenant])
    : root.query(
        `insert into public.fences values ($1, $2, $3, $4, case $3 when 'frozen' then clock_timestamp() + $5 * interval '1 ms' end)
         on conflict (tenant) do update set epoch = excluded.epoch, mode = excluded.mode, token = excluded.token, until = excluded.until`,
        [job.tenant, epoch, mode, token, heldMs],
      );

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: { code?: string }) => error.code,
  );

const MODES = ["", ...FENCE_MODES] as const;
/** All rows of a table. */
const WHOLE = { after: null, upto: null };

describe("a fence", () => {
  /** What may follow what, in the tenant's epoch, for the attempt that was the last one there. */
  const FOLLOWS: Record<FenceMode, readonly (FenceMode | "")[]> = {
    logged: ["", "open", "logged", "frozen"],
    frozen: ["logged", "frozen"],
    closed: ["frozen", "loading"],
    loading: ["", "closed", "loading", "open"],
    open: ["open", "logged", "frozen", "loading"],
  };
  /** What a newer attempt may not do that the last one may. */
  const OWN = new Set(["logged frozen", "frozen frozen", "frozen closed", "loading closed", "loading open"]);

  it.each(FENCE_MODES.flatMap((to) => MODES.map((was) => [was || "none", to, was] as const)))(
    "from %s to %s",
    async (_, to, was) => {
      const may = FOLLOWS[to].includes(was);
      await leave(was);
      expect(await codeOf(here.setFence(to, 1, 1000))).toBe(may ? "done" : "PW007");
      // A newer attempt.
      await leave(was, { token: job.token - 1 });
      const mayNewer = may && !OWN.has(`${was} ${to}`);
      expect(await codeOf(here.setFence(to, 1, 1000))).toBe(mayNewer ? "done" : "PW007");
      // An older one.
      await leave(was, { token: job.token + 1 });
      expect(await codeOf(here.setFence(to, 1, 1000))).toBe(was === "" ? (may ? "done" : "PW007") : "PW006");
      // In another epoch than the tenant is in.
      await leave(was, { epoch: 7 });
      const anyEpoch = was === "" || to === "loading" || was === "loading";
      const mayElsewhere = may && anyEpoch && !(to === "loading" && was === "open");
      expect(await codeOf(here.setFence(to, 1, 1000))).toBe(mayElsewhere ? "done" : "PW007");
    },
  );

  it("that is closed stays so, whatever an attempt does that did not know", async () => {
    await leave("frozen");
    const next = await endOf(await takeOver(variables, job.slug), "shared");
    const locking = await connect(migrated.stack.superuserUrl.replace(/[^/]*$/, "partywall"));
    try {
      await locking.query("begin");
      await locking.query("select pg_advisory_xact_lock(hashtextextended('site shared ' || $1, 0))", [
        job.tenant,
      ]);
      await locking.query("update public.fences set mode = 'closed', until = null where tenant = $1", [
        job.tenant,
      ]);
      // It waits for half a second at a time.
      const late = (async () => {
        for (;;) {
          const code = await codeOf(next.setFence("open", 1));
          if (code !== "55P03") return code;
        }
      })();
      await expect
        .poll(
          async () =>
            (await root.query("select from pg_locks where locktype = 'advisory' and not granted")).rowCount,
        )
        .toBe(1);
      await locking.query("commit");
      expect(await late).toBe("PW007");
    } finally {
      await locking.end();
    }
  });

  it("is the newest attempt's: what an earlier one sends late neither reads nor writes", async () => {
    await here.setFence("logged", 1);
    const projects = await tableNamed("projects");
    const next = await endOf(await takeOver(variables, job.slug), "shared");
    expect(await codeOf(next.count(projects))).toBe("PW006");
    await next.setFence("logged", 1);
    expect(await codeOf(next.count(projects))).toBe("done");
    expect(await codeOf(here.count(projects))).toBe("PW006");
    expect(await codeOf(here.remove(projects, [[randomUUID()]]))).toBe("PW006");
  });

  it("is not closed when the time has been up, however short", async () => {
    await leave("frozen", { heldMs: -1 });
    expect(await codeOf(here.setFence("closed", 1))).toBe("PW007");
    expect(await codeOf(here.setFence("frozen", 1, 1000))).toBe("PW007");
    expect(await codeOf(here.extendHold(1000))).toBe("PW007");
    expect(await codeOf(here.setFence("logged", 1))).toBe("done");
  });

  it("is set by the mover's signed context alone, and for its tenant alone", async () => {
    const other = await createTenant({ slug: `o-${randomUUID().slice(0, 13)}`, site: "shared" }, variables);
    const stranger = await endOf({ ...job, tenant: other.id }, "shared");
    await here.setFence("logged", 1);
    expect((await root.query("select from public.fences where tenant = $1", [other.id])).rowCount).toBe(0);
    expect(await codeOf(stranger.count(await tableNamed("projects")))).toBe("PW006");
    for (const url of [variables.DATABASE_URL, variables.ACCOUNT_DATABASE_URL]) {
      const client = await connect(url);
      expect(await codeOf(client.query("select public.set_fence('open', 1, 0)"))).toBe("42501");
      expect(await codeOf(client.query("select * from public.fences"))).toBe("42501");
      expect(await codeOf(client.query("select * from public.change_log"))).toBe("42501");
      await client.end();
    }
    const forged = new SiteEnd(
      {
        ...loginsAtSite(variables, await siteNamed(variables, "shared")),
        key: { kid: "aaaaaaaa", key: new Uint8Array(32) },
      },
      { tenant: job.tenant, job: job.id, token: job.token + 1 },
    );
    ends.push(forged);
    expect(await codeOf(forged.setFence("logged", 1))).toBe("28000");
    expect(
      (await root.query("select token::int as token from public.fences where tenant = $1", [job.tenant]))
        .rows,
    ).toEqual([{ token: job.token }]);
  });
});

async function tableNamed(name: string): Promise<Table> {
  const found = (await here.catalog()).tables.find((table) => table.name === name);
  if (!found) throw new Error(`there is no table ${name}`);
  return found;
}

describe("the change log", () => {
  it("forgets what was read, and nothing that came later for the same row", async () => {
    await here.setFence("logged", 1);
    const change = () =>
      root.query(
        "insert into public.change_log (tenant, table_name, key) values ($1, 'projects', array['x'])",
        [job.tenant],
      );
    await change();
    const [read] = await here.changes(10);
    await change();
    await here.forget(read?.ids ?? []);
    expect(await here.changes(10)).toMatchObject([
      { table: "projects", key: ["x"], ids: [expect.any(String)] },
    ]);
    await here.note(await tableNamed("projects"), [["x"], ["y"]]);
    const changes = await here.changes(10);
    expect(new Map(changes.map(({ key, ids }) => [key.join(), ids.length]))).toEqual(
      new Map([
        ["x", 2],
        ["y", 1],
      ]),
    );
    expect(await here.changes(1)).toHaveLength(1);
    await here.setFence("open", 1);
    await here.setFence("logged", 1);
    expect(await here.changes(10)).toEqual([]);
  });
});

describe("the commit of a move", () => {
  const commit = (epoch: number) =>
    root.query<{ done: boolean }>("select control.commit_move($1, $2) as done", [job.tenant, epoch]);
  const home = async () =>
    (await root.query("select site, epoch from control.tenants where id = $1", [job.tenant])).rows[0];

  it("happens once, in its epoch, however late and how often it is sent", async () => {
    expect((await commit(2)).rows).toEqual([{ done: false }]);
    expect((await commit(1)).rows).toEqual([{ done: true }]);
    expect((await commit(1)).rows).toEqual([{ done: false }]);
    const back = await beginJob(variables, job.slug, "move", "shared", TESTS_MIGRATIONS);
    expect(back.token).toBe(job.token + 1);
    expect((await commit(1)).rows).toEqual([{ done: false }]);
    expect(await home()).toEqual({ site: "own", epoch: 2 });
    expect((await commit(2)).rows).toEqual([{ done: true }]);
    expect(await home()).toEqual({ site: "shared", epoch: 3 });
  });

  it("is not another login's, and no request's", async () => {
    for (const url of [
      variables.ACCOUNT_DATABASE_URL,
      variables.IDENTITY_DATABASE_URL,
      variables.OPERATOR_DATABASE_URL,
    ]) {
      const client = await connect(url);
      expect(await codeOf(client.query("select control.commit_move($1, 1)", [job.tenant]))).toMatch(
        /42501|28000/,
      );
      await client.end();
    }
    expect(await home()).toEqual({ site: "shared", epoch: 1 });
  });
});

describe("rows", () => {
  /** Values that lose something wherever they are not carried as Postgres' own text. */
  const VALUES: readonly [type: string, ...values: string[]][] = [
    ["numeric", "123456789012345678901234567890.123456789", "'NaN'", "'-Infinity'", "1.50"],
    ["bigint", "9223372036854775807", "9007199254740993"],
    ["double precision", "0.1::float8 + 0.2", "'-0'", "'NaN'", "5e-324"],
    ["real", "16777217"],
    ["text", "''", "null", "E'\\\\\"{},()\\n\\t\\x01'", "repeat('x', 100000)", "'NULL'", "'𝄞 ü'"],
    ["jsonb", "'null'", "null", `'{"a": [1, 1.0, 1e400, "\\\\u0041"]}'`],
    ["json", `'{"b" :  1,"b":2}'`],
    ["timestamptz", "'2026-01-01 00:00:00.123456+05:30'", "'infinity'", "'0044-03-15 BC'"],
    ["date", "'-infinity'"],
    ["time", "'24:00:00'"],
    ["interval", "'1 year -2 mons 3 days 04:05:06.789'"],
    ["bytea", "'\\x00ff5c22'", "''"],
    ["text[]", "'{}'", `'{NULL,"NULL","","a,b"}'`, "'[2:3]={a,b}'", "'{{a,b},{c,d}}'"],
    ["int4range", "'[1,5)'", "'empty'"],
    ["inet", "'::1/64'"],
    ["bit(3)", "B'101'"],
    ["point", "'(1e-300,2)'"],
    ["char(5)", "'ab'"],
    ["money", "'12.34'"],
    ["uuid[]", "'{00000000-0000-0000-0000-000000000001}'"],
    ["tsvector", `'''a b'':1A'`],
    ["xid8", "'18446744073709551615'"],
  ];

  const columns = VALUES.map(([type], at) => `c${at} ${type}`).join(", ");
  const EVERYTHING = (schema: string) =>
    `${TABLE(schema, "everything", `dropped int, ${columns}, sum text generated always as (c1::text || coalesce(c4, '')) stored`)};
    alter table ${schema}.everything drop column dropped`;
  const TABLE = (
    schema: string,
    name: string,
    parts: string,
  ) => `create table ${schema}.${name} (tenant_id uuid not null default ${schema}.claimed_tenant_id(),
    id uuid not null, primary key (tenant_id, id), ${parts});
    alter table ${schema}.${name} enable row level security, force row level security;
    create policy tenant_may on ${schema}.${name} using (true) with check (true);
    create policy tenant_only on ${schema}.${name} as restrictive
      using (tenant_id = (select ${schema}.current_tenant_id())) with check (tenant_id = (select ${schema}.current_tenant_id()));
    alter table ${schema}.${name} owner to partywall_owner;
    grant select, insert, update, delete on ${schema}.${name} to partywall_mover`;

  it("of every type are the same where they are copied to, to the last bit", async () => {
    for (const schema of ["public", "site_own"]) await root.query(EVERYTHING(schema));
    try {
      const most = Math.max(...VALUES.map((each) => each.length - 1));
      for (let row = 1; row <= most; row++)
        await root.query(
          `insert into public.everything values ($1, gen_random_uuid(), ${VALUES.map(([, ...values]) => values[row - 1] ?? values[0]).join(", ")})`,
          [job.tenant],
        );
      const there = await endOf(job, "own");
      await here.setFence("logged", 1);
      await there.setFence("loading", 2);
      const table = await tableNamed("everything");
      let after: readonly string[] | null = null;
      do {
        const page = await here.page(table, { after, upto: null }, { rows: 2, bytes: 1000 });
        expect(await there.load(table, page)).toEqual([]);
        after = page.last;
      } while (after !== null);
      expect(await there.digest(table, WHOLE, [])).toEqual(await here.digest(table, WHOLE, []));
      const [copied, original] = [
        await there.find(table, await here.keys(table, WHOLE)),
        await here.find(table, await here.keys(table, WHOLE)),
      ];
      expect(copied).toEqual(original);
      // The tables have types of their own, so columns are compared as Postgres sends them.
      const sent = async (schema: string) =>
        (
          await root.query(
            `select ${VALUES.map((_, at) => `c${at}`).join(", ")}, sum from ${schema}.everything order by id`,
          )
        ).rows;
      expect(await sent("site_own")).toEqual(await sent("public"));
      // And again over what is there already.
      expect(await there.load(table, await here.page(table, WHOLE, { rows: 100, bytes: 1e9 }))).toEqual([]);
      expect(await there.count(table)).toBe(most);
      // And as an export and an import carry them, but for the bounds of an array, for which JSON has no place.
      await eraseRows(there, { tables: [table] }, async () => undefined);
      await root.query(`update public.everything set c12 = '{a,b}' where c12 = '[2:3]={a,b}'`);
      const { lines } = await here.lines(table, null, { rows: 100, bytes: 1e9 });
      for (const line of lines) expect(line).not.toMatch(/[\n\r]|tenant_id/);
      expect(await there.loadLines(table, lines)).toEqual([]);
      expect(await sent("site_own")).toEqual(await sent("public"));
      expect(await there.loadLines(table, lines)).toEqual([]);
    } finally {
      for (const schema of ["public", "site_own"]) await root.query(`drop table ${schema}.everything`);
    }
  });

  it("are read in pages of a bounded size, each row once, up to what was the last one", async () => {
    await root.query(
      `insert into public.projects (tenant_id, id, name, created_by)
       select $1, gen_random_uuid(), repeat('x', case when g % 10 = 0 then 90 else 1 end), $1 from generate_series(1, 250) g`,
      [job.tenant],
    );
    await here.setFence("logged", 1);
    const table = await tableNamed("projects");
    const upto = await here.lastKey(table);
    await root.query(
      "insert into public.projects (tenant_id, id, name, created_by) values ($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'x', $1)",
      [job.tenant],
    );
    let [after, rows]: [readonly string[] | null, number] = [null, 0];
    do {
      const page = await here.page(table, { after, upto }, { rows: 100, bytes: 5000 });
      expect(page.bytes).toBeLessThan(5000 + 400);
      [after, rows] = [page.last, rows + page.count];
    } while (after !== null);
    expect(rows).toBe(250);
    expect(await here.lastKey(await tableNamed("tasks"))).toBeNull();
  });

  it("that refer to others of their own table are not loaded before these", async () => {
    const tree = `parent_id uuid, foreign key (tenant_id, parent_id)`;
    for (const schema of ["public", "site_own"])
      await root.query(TABLE(schema, "tree", `${tree} references ${schema}.tree (tenant_id, id)`));
    try {
      await root.query(
        `insert into public.tree select $1, lpad(n::text, 32, '0')::uuid, nullif(lpad((n - 1)::text, 32, '0'), repeat('0', 32))::uuid
         from generate_series(1, 60) n`,
        [job.tenant],
      );
      const there = await endOf(job, "own");
      await here.setFence("logged", 1);
      await there.setFence("loading", 2);
      const catalog = await here.catalog();
      await copyRows({ source: here, target: there }, catalog, undefined, async () => undefined, 2);
      expect(await there.count(await tableNamed("tree"))).toBe(60);
      expect(await here.changes(1)).toEqual([]);
    } finally {
      for (const schema of ["public", "site_own"]) await root.query(`drop table ${schema}.tree`);
    }
  });

  it("are brought however many of them the change log names", async () => {
    const there = await endOf(job, "own");
    await here.setFence("logged", 1);
    await there.setFence("loading", 2);
    const log = new ListedChanges();
    await log.note(
      await tableNamed("projects"),
      Array.from({ length: 40_000 }, () => [randomUUID()]),
    );
    await catchUp({ source: here, target: there, log }, await here.catalog(), async () => undefined);
    expect(await log.changes(1)).toEqual([]);
  });

  it("that collide or refer to nothing are refused by name, and the others are loaded", async () => {
    const there = await endOf(job, "own");
    await here.setFence("logged", 1);
    await there.setFence("loading", 2);
    const [project, orphan, child] = [randomUUID(), randomUUID(), randomUUID()];
    await root.query(
      "insert into public.projects (tenant_id, id, name, created_by) values ($1, $2, 'x', $1)",
      [job.tenant, project],
    );
    await there.load(
      await tableNamed("projects"),
      await here.page(await tableNamed("projects"), WHOLE, { rows: 9, bytes: 1e6 }),
    );
    await root.query(
      "insert into public.projects (tenant_id, id, name, created_by) values ($1, $2, 'y', $1)",
      [job.tenant, orphan],
    );
    for (const [id, of] of [
      [child, project],
      [randomUUID(), orphan],
    ])
      await root.query(
        "insert into public.tasks (tenant_id, id, project_id, title, created_by) values ($1, $2, $3, 't', $1)",
        [job.tenant, id, of],
      );
    const tasks = await tableNamed("tasks");
    const refused = await there.load(tasks, await here.page(tasks, WHOLE, { rows: 9, bytes: 1e6 }));
    expect(refused).toHaveLength(1);
    expect(await there.keys(tasks, WHOLE)).toEqual([[child]]);
    expect(await there.remove(await tableNamed("projects"), [[project], [randomUUID()]])).toEqual([]);
    expect(await there.count(tasks)).toBe(0);
  });

  it("are read as they were when an export began, whatever is done to them meanwhile", async () => {
    const add = (id: string, name: string) =>
      root.query("insert into public.projects (tenant_id, id, name, created_by) values ($1, $2, $3, $1)", [
        job.tenant,
        id,
        name,
      ]);
    const dice = new Dice(7);
    for (let round = 0; round < 20; round++) {
      await root.query("delete from public.projects where tenant_id = $1", [job.tenant]);
      const ids = Array.from({ length: 12 }, () => randomUUID());
      for (const id of ids.slice(0, 8)) await add(id, "was there");
      const exporting = await laterJob(round + 1);
      await exporting.keepImages(1);
      const table = await tableNamed("projects");
      const { rows: before } = await root.query<{ line: string }>(
        "select id || ' ' || name as line from public.projects where tenant_id = $1 order by id",
        [job.tenant],
      );
      const seen: string[] = [];
      let after: readonly string[] | null = null;
      do {
        for (let changes = dice.below(4); changes > 0; changes--) {
          const id = ids[dice.below(ids.length)] ?? "";
          const what = [
            "delete from public.projects where id = $1",
            "update public.projects set name = name || '!' where id = $1",
            "update public.projects set version = version where id = $1",
            "insert into public.projects (tenant_id, id, name, created_by) values ($2, $1, 'new', $2) on conflict do nothing",
          ][dice.below(4)];
          await root.query(what ?? "", what?.includes("$2") ? [id, job.tenant] : [id]);
        }
        // What another attempt at the same export begins again goes on with what there is.
        if (dice.below(3) === 0) await exporting.keepImages(1);
        const page = await exporting.lines(table, after, { rows: 3, bytes: 1e6 });
        for (const line of page.lines) {
          const { id, name } = JSON.parse(line) as { id: string; name: string };
          seen.push(`${id} ${name}`);
        }
        after = page.last;
      } while (after !== null);
      expect(seen).toEqual(before.map(({ line }) => line));
      await exporting.setFence("open", 1);
    }
  });

  it.each([
    ["with statistics of it", "analyze public.projects"],
    // As where rows have just been loaded. Postgres expects so few of them that sorting costs nothing.
    ["without statistics", "delete from pg_statistic where starelid = 'public.projects'::regclass"],
  ])(
    "cost a page no more than its rows, in a tenant that has most of a large table, %s",
    async (_, counted) => {
      await root.query("set session_replication_role = replica");
      await root.query(
        `insert into public.projects (tenant_id, id, name, created_by)
       select $1, gen_random_uuid(), 'x', $1 from generate_series(1, 50000)`,
        [job.tenant],
      );
      await root.query(`set session_replication_role = origin; ${counted}`);
      await here.keepImages(1);
      const table = await tableNamed("projects");
      const explained = await endAs(Explained, job, "shared");
      const most = { rows: 100, bytes: 1e6 };
      const [after, upto] = [
        ["80000000-0000-0000-0000-000000000000"],
        ["f0000000-0000-0000-0000-000000000000"],
      ];
      await explained.page(table, { after, upto }, most);
      expect(explained.mostRows).toBe(100);
      await explained.lines(table, after, most);
      expect(explained.mostRows).toBe(100);
    },
  );

  it("are noted one by one again by whoever comes after an export", async () => {
    await root.query(
      "insert into public.projects (tenant_id, id, name, created_by) values ($1, gen_random_uuid(), 'x', $1)",
      [job.tenant],
    );
    const exporting = await laterJob(1);
    await exporting.keepImages(1);
    const change = () =>
      root.query("update public.projects set name = name || '!' where tenant_id = $1", [job.tenant]);
    await change();
    await change();
    expect((await exporting.changes(10)).map(({ ids }) => ids.length)).toEqual([1]);
    const moving = await laterJob(2);
    await moving.setFence("logged", 1);
    await change();
    await change();
    expect((await moving.changes(10)).map(({ ids }) => ids.length)).toEqual([3]);
    await moving.setFence("open", 1);
  });
});
