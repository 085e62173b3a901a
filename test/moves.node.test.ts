import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { localDatabase } from "../drizzle/local-database.ts";
import { migrateAll } from "../drizzle/migrate-all.ts";
import { beginJob, JobControl, loginsAtSite, siteNamed, takeOver } from "../drizzle/moves/jobs.ts";
import { restoreTenant } from "../drizzle/moves/commands.ts";
import { move as moveAsOneAttempt } from "../drizzle/moves/move.ts";
import { SiteEnd } from "../drizzle/moves/site-end.ts";
import { House } from "./support/node/house.ts";
import { TESTS_MIGRATIONS, withMigrations } from "./support/node/product.ts";

// Tenants that move between sites, and are set back, with two Postgres servers, the Worker as it would be deployed and the
// command line.

let house: House;
/** What every site has. */
let migrations = TESTS_MIGRATIONS;
beforeAll(async () => {
  house = await House.start();
}, 120_000);
// Both servers write all to disk, which takes long on a machine that is busy.
afterAll(() => house?.[Symbol.asyncDispose](), 60_000);

type Row = { id: string; name: string };
/** All rows of a table. */
const WHOLE = { after: null, upto: null };

const get = async <T>(path: string, token: string): Promise<T> =>
  (await (await house.ask("GET", path, token)).json()) as T;

/** Asks until the answer is another than 503; those have to say when to come again. */
async function persist(method: string, path: string, token: string, body?: object): Promise<Response> {
  for (;;) {
    const answer = await house.ask(method, path, token, body);
    if (answer.status !== 503) return answer;
    expect(answer.headers.get("retry-after")).toMatch(/^\d+$/);
    await answer.text();
  }
}

const newProject = async (token: string, name: string): Promise<Row> =>
  (await (await persist("POST", "/v1/projects", token, { name })).json()) as Row;

const rowsAt = (slug: string, site: string) => house.rowsOf(slug, site);
const tenantId = (slug: string) => house.tenantId(slug);
const atSite: House["at"] = (site, work) => house.at(site, work);

const fenceAt = (slug: string, site: string) =>
  atSite(site, async (client, schema) => {
    const { rows } = await client.query(`select mode, epoch from ${schema}.fences where tenant = $1`, [
      await tenantId(slug),
    ]);
    return rows[0] as { mode: string; epoch: number } | undefined;
  });

/** What the operators' trail says of a tenant, oldest first. */
const trailOf = async (slug: string) => {
  const { rows } = await house.root.query(
    `select action, actor, reason, change ->> 'run_by' as run_by, change -> 'site' as site from control.operator_events
     where tenant_id = $1 order by id`,
    [await tenantId(slug)],
  );
  return rows;
};
const byCommand = (action: string, reason = "by the command line") => ({
  action,
  actor: "command line",
  reason,
  run_by: userInfo().username,
});

const move = (slug: string, to: string, ...flags: string[]) =>
  house.tenants("move", slug, "--to", to, "--yes", "--rate", "max", ...flags);

/** An End of a job as an attempt sees it, for what a mover does that has died since. */
const endOf = async (job: { tenant: string; id: string; token: number }, site: string) =>
  new SiteEnd(loginsAtSite(house.variables, await siteNamed(house.variables, site)), {
    tenant: job.tenant,
    job: job.id,
    token: job.token,
  });

describe("a tenant", () => {
  it("moves to every kind of site and back, with all of its rows, at the same URL and with the same token", async () => {
    const token = await house.newTenant("nomad", "shared");
    const neighbour = await house.newTenant("settler", "shared");
    await newProject(neighbour, "Stay");
    const before = await rowsAt("settler", "shared");
    const { id } = await newProject(token, "Roof");
    await house.ask("POST", `/v1/projects/${id}/tasks`, token, { title: 'Quotes " \\ , {} and 1e400' });
    const rows = await rowsAt("nomad", "shared");
    for (const [at, to] of ["own-schema", "own-database", "own-schema", "shared"].entries()) {
      const { out, error, code } = await move("nomad", to);
      expect([code, error]).toEqual([0, expect.stringContaining("switching over")]);
      expect(out).toMatch(new RegExp(`nomad is at ${to} now: \\d+ rows; its writes were held for \\d+ ms.`));
      // Before the first request: that brings the move's own audit event.
      const moved = await rowsAt("nomad", to);
      expect(moved.filter((row) => !/^audit_events|^outbox_receipts/.test(row))).toEqual(
        rows.filter((row) => !/^audit_events|^outbox_receipts/.test(row)),
      );
      // The object looks for the tenant once a second, so a move soon after another one may be noticed later.
      const projects = await persist("GET", "/v1/projects", token);
      expect(await projects.json()).toMatchObject({ data: [{ id, name: "Roof" }] });
      expect(await house.told("show", "nomad")).toMatchObject({ site: to, epoch: at + 2 });
      await expect
        .poll(async () => get<{ data: object[] }>("/v1/audit-events?limit=100", token))
        .toMatchObject({
          data: expect.arrayContaining([
            expect.objectContaining({
              actor: expect.objectContaining({ type: "operator", id: expect.anything() }),
              changed: ["site"],
            }),
          ]),
        });
    }
    expect(await rowsAt("settler", "shared")).toEqual(before);
    expect(await fenceAt("nomad", "own-database")).toEqual({ mode: "closed", epoch: 3 });
    expect(await fenceAt("settler", "shared")).toBeUndefined();
  }, 120_000);

  it("loses no acknowledged write and repeats none while it moves, and every refusal is a 503 that is to be repeated", async () => {
    const token = await house.newTenant("busy", "own-schema");
    const { id: shared } = await newProject(token, "0");
    const acknowledged = new Map<string, string>();
    const over = new AbortController();
    const writers = [0, 1, 2, 3].map(async (writer) => {
      for (let at = 0; !over.signal.aborted; at++) {
        const { id } = await newProject(token, `${writer} ${at}`);
        acknowledged.set(id, `${writer} ${at}`);
        if (at % 3 === 1) {
          expect(
            (await persist("PATCH", `/v1/projects/${id}`, token, { name: `${writer} ${at}!` })).status,
          ).toBe(200);
          acknowledged.set(id, `${writer} ${at}!`);
          // What was acknowledged is there for the next reader.
          expect(await (await persist("GET", `/v1/projects/${id}`, token)).json()).toMatchObject({
            name: `${writer} ${at}!`,
          });
        }
        if (at % 3 === 2) {
          expect((await persist("DELETE", `/v1/projects/${id}`, token)).status).toBe(204);
          acknowledged.delete(id);
          expect((await persist("GET", `/v1/projects/${id}`, token)).status).toBe(404);
        }
        if (writer === 0) await persist("PATCH", `/v1/projects/${shared}`, token, { name: `${at}` });
      }
    });
    for (const to of ["own-database", "shared"]) expect(await move("busy", to)).toMatchObject({ code: 0 });
    // A rate bounds the copying, and not the catching up.
    expect(await move("busy", "own-schema", "--rate", "2000")).toMatchObject({ code: 0 });
    over.abort();
    await Promise.all(writers);
    const found = await house.projectsOf("busy", "own-schema");
    found.delete(shared);
    expect(acknowledged.size).toBeGreaterThan(20);
    expect(found).toEqual(acknowledged);
  }, 120_000);

  it("goes on elsewhere when its mover died after the source was closed and before anybody was told", async () => {
    const token = await house.newTenant("orphan", "shared");
    const { id } = await newProject(token, "Roof");
    const job = await beginJob(house.variables, "orphan", "move", "own-database", TESTS_MIGRATIONS);
    await using source = await endOf(job, "shared");
    await using target = await endOf(job, "own-database");
    await target.setFence("loading", 2);
    await source.setFence("logged", 1);
    for (const table of (await source.catalog()).tables)
      await target.load(table, await source.page(table, WHOLE, { rows: 1000, bytes: 1e6 }));
    await source.setFence("frozen", 1, 10_000);
    // Reads go on, and writes come again.
    expect((await house.ask("GET", `/v1/projects/${id}`, token)).status).toBe(200);
    const held = await house.ask("POST", "/v1/projects", token, { name: "Wall" });
    expect([held.status, held.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await held.json()).toMatchObject({
      code: "unavailable",
      detail: "The tenant's content is being moved or imported.",
    });
    await target.setFence("open", 2);
    await source.setFence("closed", 1);
    expect((await house.ask("GET", `/v1/projects/${id}`, token)).status).toBe(200);
    expect(await house.told("show", "orphan")).toMatchObject({ site: "own-database", epoch: 2 });
    expect((await house.ask("POST", "/v1/projects", token, { name: "Wall" })).status).toBe(201);
    // There is nothing to resume or to abandon any more, and no way back by a late step.
    expect((await house.tenants("moves", "abandon", "orphan", "--yes")).error).toContain(
      "Nothing is under way",
    );
    await expect(source.setFence("open", 1)).rejects.toMatchObject({ code: "PW007" });
    await expect(source.setFence("logged", 1)).rejects.toMatchObject({ code: "PW007" });
  });

  it("works on by itself when its mover died while its writes were held", async () => {
    const token = await house.newTenant("held", "shared");
    const job = await beginJob(house.variables, "held", "move", "own-schema", TESTS_MIGRATIONS);
    await using source = await endOf(job, "shared");
    await source.setFence("logged", 1);
    await source.setFence("frozen", 1, 300);
    const answer = await persist("POST", "/v1/projects", token, { name: "Roof" });
    expect(answer.status).toBe(201);
    // Too late to close it: somebody has written.
    await expect(source.setFence("closed", 1)).rejects.toMatchObject({ code: "PW007" });
    await expect(source.extendHold(1000)).rejects.toMatchObject({ code: "PW007" });
    expect((await house.tenants("moves", "abandon", "held", "--yes")).out).toContain("it stays at shared");
    expect(await fenceAt("held", "shared")).toEqual({ mode: "open", epoch: 1 });
  });

  it("is moved by the newest attempt alone: what an earlier one sends late does nothing", async () => {
    const token = await house.newTenant("twice-moved", "shared");
    await newProject(token, "Roof");
    const job = await beginJob(house.variables, "twice-moved", "move", "own-schema", TESTS_MIGRATIONS);
    await using source = await endOf(job, "shared");
    await using target = await endOf(job, "own-schema");
    await source.setFence("logged", 1);
    await target.setFence("loading", 2);
    const { tables } = await source.catalog();
    const projects = tables.find(({ name }) => name === "projects");
    if (!projects) throw new Error("no projects");
    const page = await source.page(projects, WHOLE, { rows: 10, bytes: 1e6 });
    const next = await takeOver(house.variables, "twice-moved");
    await using sourceNext = await endOf(next, "shared");
    await using targetNext = await endOf(next, "own-schema");
    await sourceNext.setFence("logged", 1);
    await targetNext.setFence("loading", 2);
    const late = [
      () => target.load(projects, page),
      () => target.remove(projects, [["00000000-0000-0000-0000-000000000000"]]),
      () => target.setFence("open", 2),
      () => source.setFence("frozen", 1, 1000),
      () => source.setFence("open", 1),
      () => source.changes(1),
      () => source.forget([crypto.randomUUID()]),
    ];
    for (const step of late) await expect(step()).rejects.toMatchObject({ code: "PW006" });
    expect(await targetNext.count(projects)).toBe(0);
    const resumed = await house.tenants("moves", "resume", "twice-moved", "--rate", "max");
    expect(resumed).toMatchObject({ code: 0, out: expect.stringContaining("is at own-schema now") });
    expect(await get("/v1/projects", token)).toMatchObject({ data: [{ name: "Roof" }] });
  });

  it("is stopped with Ctrl-C, resumed, and abandoned, and works meanwhile", async () => {
    const token = await house.newTenant("patient", "shared");
    await manyProjects("patient", 3000);
    const stopAfterAPage = async (...args: string[]) => {
      const child = house.spawn("drizzle/tenants.ts", ...args, "--rate", "500");
      let error = "";
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        error += text;
        // A second Ctrl-C would kill it.
        if (!child.killed && /copying projects: [1-9]/.test(error)) child.kill("SIGINT");
      });
      const [code] = (await once(child, "exit")) as [number];
      return { code, error };
    };
    const why = ["--reason", "It grew."];
    const stopped = await stopAfterAPage("move", "patient", "--to", "own-database", "--yes", ...why);
    expect(stopped).toMatchObject({ code: 1, error: expect.stringContaining("moves resume patient") });
    expect((await newProject(token, "Roof")).name).toBe("Roof");
    expect((await house.tenants("moves")).out).toMatch(/^patient +move +shared +own-database +copying/m);
    expect((await move("patient", "own-schema")).error).toContain("Another job is under way");
    expect(await house.tenants("moves", "resume", "patient", "--rate", "max")).toMatchObject({ code: 0 });
    expect(await rowsAt("patient", "own-database")).toHaveLength((await rowsAt("patient", "shared")).length);

    const again = await stopAfterAPage("move", "patient", "--to", "own-schema", "--yes");
    expect(again.code).toBe(1);
    expect((await house.tenants("moves", "abandon", "patient")).error).toContain("Add --yes");
    expect((await house.tenants("moves", "abandon", "patient", "--yes")).out).toContain(
      "it stays at own-database",
    );
    expect(await rowsAt("patient", "own-schema")).toEqual([]);
    expect((await newProject(token, "Wall")).name).toBe("Wall");

    // What is left at the shared site stays refused, and goes when its time has come.
    expect((await house.tenants("moves", "clear")).out).toContain("Nothing is due");
    await house.root.query("update control.jobs set kept_until = now() where outcome = 'done'");
    expect((await house.tenants("moves", "clear")).out).toMatch(/deleted \d+ rows that patient has left/);
    expect(await rowsAt("patient", "shared")).toEqual([]);
    expect(await fenceAt("patient", "shared")).toEqual({ mode: "closed", epoch: 0 });
    expect((await get<{ data: Row[] }>("/v1/projects?limit=1", token)).data).toHaveLength(1);

    // All of it, and nothing that was refused, is in the operators' trail.
    expect(await trailOf("patient")).toMatchObject([
      byCommand("tenant.create"),
      { ...byCommand("tenant.move", "It grew."), site: { from: "shared", to: "own-database" } },
      byCommand("tenant.resume"),
      { ...byCommand("tenant.move"), site: { from: "own-database", to: "own-schema" } },
      byCommand("tenant.abandon"),
      byCommand("tenant.clear"),
    ]);
  }, 120_000);

  it("moves though it adds rows faster than they are copied", async () => {
    await house.newTenant("growing", "shared");
    const addProjects = async (count: number) =>
      house.root.query(
        `insert into public.projects (tenant_id, id, name, created_by)
         select $1, uuidv7(), 'new', $1 from generate_series(1, $2)`,
        [await tenantId("growing"), count],
      );
    await addProjects(100);
    const job = await beginJob(house.variables, "growing", "move", "own-database", TESTS_MIGRATIONS);
    await using source = await endOf(job, "shared");
    await using target = await endOf(job, "own-database");
    let pages = 0;
    await moveAsOneAttempt({
      source,
      target,
      epoch: job.epoch,
      progress: job.progress,
      control: new JobControl(house.variables, job),
      around: {
        rowsAtOnce: 20,
        now: () => performance.now(),
        pause: (ms) => sleep(ms),
        pace: async (rows) => {
          if (++pages > 100) throw new Error("The copying does not come to an end.");
          await addProjects(2 * rows);
        },
        say: () => undefined,
      },
    });
    expect(job.progress.rows).toBeLessThan(200);
    const moved = await projectsAt("growing", "own-database");
    expect(moved.length).toBeGreaterThan(300);
    expect(moved).toEqual(await projectsAt("growing", "shared"));
  });

  it("moves on after a server was away for a while", async () => {
    const token = await house.newTenant("shaken", "shared");
    await manyProjects("shaken", 3000);
    const { code, error } = await moveWhile("shaken", "own-database", 800, async () => {
      const startAgain = await house.stopSecond();
      await startAgain();
    });
    expect([code, error]).toEqual([0, expect.stringContaining("going on after a connection has failed")]);
    expect(await projectsAt("shaken", "own-database")).toHaveLength(3000);
    expect((await persist("GET", "/v1/projects?limit=1", token)).status).toBe(200);
  }, 60_000);

  it("moves through a migration that adds a column, a table and a unique index, and changes rows", async () => {
    const token = await house.newTenant("migrated", "shared");
    await manyProjects("migrated", 3000);
    const content = withMigrations(mkdtempSync(join(house.dir, "migrations-")), [
      "alter table projects add column budget numeric(12,2) not null default 1.50",
      "update projects set description = 'changed by a migration'",
      "create unique index projects_once on projects (tenant_id, name, id)",
      `create table ledgers (tenant_id uuid not null default claimed_tenant_id(), id uuid not null, note text,
         primary key (tenant_id, id))`,
      "alter table ledgers enable row level security",
      "create policy tenant_may on ledgers as permissive for all to public using (true) with check (true)",
      `create policy tenant_only on ledgers as restrictive for all to public
         using (tenant_id = (select current_tenant_id())) with check (tenant_id = (select current_tenant_id()))`,
    ]);
    migrations = { content };
    const { code, error } = await moveWhile("migrated", "own-database", 800, () =>
      migrateAll(house.variables, { ...migrations, say: () => undefined }),
    );
    expect([code, error]).toEqual([0, expect.stringContaining("going on after a migration")]);
    // A row that Postgres cannot read is quoted by it, and belongs to the tenant.
    expect(error).not.toContain("p1");
    const there = await projectsAt("migrated", "own-database");
    expect(there).toHaveLength(3000);
    expect(there.every((row) => row.includes("changed by a migration") && row.includes("1.50"))).toBe(true);
    expect(there).toEqual(await projectsAt("migrated", "shared"));
    expect((await newProject(token, "Roof")).name).toBe("Roof");
  }, 120_000);
});

async function manyProjects(slug: string, count: number): Promise<void> {
  await house.root.query(
    `insert into public.projects (tenant_id, id, name, created_by)
     select $1, gen_random_uuid(), 'p' || g, $1 from generate_series(1, $2) g`,
    [await tenantId(slug), count],
  );
}

const projectsAt = async (slug: string, site: string) =>
  (await rowsAt(slug, site)).filter((row) => row.startsWith("projects"));

/** Moves a tenant at so many rows a second, and has something happen when the first are copied. */
async function moveWhile(slug: string, to: string, rate: number, happen: () => Promise<void>) {
  const child = house.spawn("drizzle/tenants.ts", "move", slug, "--to", to, "--yes", "--rate", `${rate}`);
  let error = "";
  let happened: Promise<void> | undefined;
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    error += text;
    if (/copying projects: [1-9]/.test(error)) happened ??= happen();
  });
  const [code] = (await once(child, "exit")) as [number];
  await happened;
  return { code, error };
}

describe("what cannot be done is said in a sentence:", () => {
  it.each([
    [["move", "nobody", "--to", "schema", "--yes"], "There is no tenant nobody"],
    [["move", "fixed"], "Say whom and where to"],
    [["move", "fixed", "--to", "own-schema", "--yes"], "is at own-schema already"],
    [["move", "fixed", "--to", "nowhere", "--yes"], "There is no site nowhere"],
    [["move", "fixed", "--to", "nowhere"], "There is no site nowhere"],
    [["move", "fixed", "--to", "shared"], "Add --yes"],
    [["moves", "abandon", "fixed"], "Nothing is under way"],
    [["move", "fixed", "--to", "shared", "--yes", "--rate", "fast"], "--rate is"],
    [["moves", "resume", "fixed"], "Nothing is under way"],
    [["undo", "fixed"], "no restore of fixed"],
    [["restore", "fixed"], "Say whom and from what"],
    [["restore", "fixed", "--from", "nonsense", "--yes"], "no connection string"],
  ])("%j", async (args, sentence) => {
    if ((await house.root.query("select from control.tenants where slug = 'fixed'")).rowCount === 0)
      await house.told("create", "fixed", "--site", "own-schema");
    const { code, error } = await house.tenants(...args);
    expect([code, error]).toEqual([1, expect.stringContaining(sentence)]);
    expect(error).not.toMatch(/^ +at /m);
  });

  it("a tenant that is closing, for which no schema is made", async () => {
    await house.told("create", "shutting", "--site", "shared");
    await house.root.query(
      "update control.tenants set status = 'closing', closes_at = now(), restores_to = 'active' where slug = 'shutting'",
    );
    expect((await move("shutting", "schema")).error).toContain("The tenant shutting is closing");
    expect(await house.told("site", "list")).not.toContainEqual(
      expect.objectContaining({ name: "shutting" }),
    );
  });

  it("a target that has rows of the tenant which nobody moved there", async () => {
    await house.told("create", "ghost", "--site", "shared");
    const id = await tenantId("ghost");
    await atSite("own-schema", (client, schema) =>
      client.query(
        `insert into ${schema}.projects (tenant_id, id, name, created_by) values ($1, $1, 'x', $1)`,
        [id],
      ),
    );
    expect((await move("ghost", "own-schema")).error).toContain("The target is not empty");
    expect(await rowsAt("ghost", "own-schema")).toHaveLength(1);
    expect(await fenceAt("ghost", "shared")).toMatchObject({ mode: "open" });
    expect((await house.tenants("moves")).out).not.toMatch(/^ghost/m);
  });
});

describe("a restore", () => {
  const KEPT = /^(audit_events|counters|former_members|idempotency_keys|members|outbox_receipts)/;
  const content = async (slug: string, site: string) =>
    (await rowsAt(slug, site)).filter((row) => !KEPT.test(row));

  /** As the commands do it, with the tests' migrations. Something may happen between the preview and the work. */
  const setBack = (
    slug: string,
    from: string | undefined,
    { preview = false, happen = () => Promise.resolve() } = {},
  ) =>
    restoreTenant(slug, from, house.variables, {
      ...migrations,
      rate: Infinity,
      preview,
      confirm: async () => {
        await happen();
        return true;
      },
      tell: () => undefined,
    });

  it.each([
    ["lost-here", "shared", "partywall"],
    ["lost-there", "own-database", "own-database"],
  ])(
    "of %s at %s from yesterday's copy is exact, leaves others alone, and is taken back exactly",
    async (slug, site, database) => {
      const server = () => (site === "shared" ? house.first : house.second);
      const token = await house.newTenant(slug, site);
      const other = await house.newTenant(`${slug}-other`, site);
      const roof = await newProject(token, "Roof");
      const wall = await newProject(token, "Wall");
      const tasks = `/v1/projects/${wall.id}/tasks`;
      expect((await persist("POST", tasks, token, { title: "Bricks" })).status).toBe(201);
      const yesterday = await content(slug, site);
      const from = await house.copyDatabase(server(), database, `${slug}-yesterday`);
      // A disaster.
      expect((await persist("DELETE", `/v1/projects/${wall.id}`, token)).status).toBe(204);
      await persist("PATCH", `/v1/projects/${roof.id}`, token, { name: "Oops" });
      const extra = await newProject(token, "Mistake");
      await newProject(other, "Untouched");
      const today = await content(slug, site);
      const others = await rowsAt(`${slug}-other`, site);

      const preview = await setBack(slug, from, { preview: true });
      expect(preview.tables).toEqual([
        {
          table: "projects",
          added: 1,
          changed: 1,
          deleted: 1,
          samples: [`+${wall.id}`, `~${roof.id}`, `-${extra.id}`],
        },
        { table: "tasks", added: 1, changed: 0, deleted: 0, samples: [expect.stringMatching(/^\+/)] },
      ]);
      expect(await content(slug, site)).toEqual(today);

      const restored = await setBack(slug, from);
      expect(restored).toMatchObject({
        done: expect.stringContaining(`${slug} is set back`),
        tables: preview.tables,
      });
      expect(await content(slug, site)).toEqual(yesterday);
      expect(await rowsAt(`${slug}-other`, site)).toEqual(others);
      expect(await get("/v1/projects?sort=name", token)).toMatchObject({
        data: [{ name: "Roof" }, { name: "Wall" }],
      });
      const trail = await get<{ data: { action: string }[] }>("/v1/audit-events?limit=100", token);
      expect(trail.data.map(({ action }) => action)).toContain("delete");

      expect(await setBack(slug, undefined)).toMatchObject({ done: expect.stringContaining("is set back") });
      expect(await content(slug, site)).toEqual(today);
      expect(await rowsAt(`${slug}-other`, site)).toEqual(others);
      // The preview changed nothing, so it is not in the operators' trail.
      expect(await trailOf(slug)).toMatchObject(
        ["tenant.create", "tenant.set_back", "tenant.undo"].map((action) => byCommand(action)),
      );
      expect((await newProject(token, "Later")).name).toBe("Later");
      // What undoes them is kept for a week.
      const undos = () =>
        atSite(
          site,
          async (client) =>
            (await client.query("select from pg_namespace where nspname ~ '^site_undo_'")).rowCount,
        );
      expect(await undos()).toBe(2);
      expect((await house.run("drizzle/doctor.ts")).out).not.toContain("undo");
      await house.root.query("update control.jobs set kept_until = now() where kind = 'restore'");
      await house.tenants("moves", "clear");
      expect(await undos()).toBe(0);
    },
    120_000,
  );

  it("sets back what is written after its preview too, says how many rows that are, and gives them back", async () => {
    const token = await house.newTenant("late", "shared");
    const [roof, wall, door] = [
      await newProject(token, "Roof"),
      await newProject(token, "Wall"),
      await newProject(token, "Door"),
    ];
    const yesterday = await content("late", "shared");
    const from = await house.copyDatabase(house.first, "partywall", "late-yesterday");
    await persist("PATCH", `/v1/projects/${roof.id}`, token, { name: "Oops" });
    let today: string[] = [];
    const restored = await setBack("late", from, {
      happen: async () => {
        // Changed again, changed, deleted, and added with a row that refers to it.
        await persist("PATCH", `/v1/projects/${roof.id}`, token, { name: "Oops again" });
        await persist("PATCH", `/v1/projects/${wall.id}`, token, { name: "Fence" });
        expect((await persist("DELETE", `/v1/projects/${door.id}`, token)).status).toBe(204);
        const { id } = await newProject(token, "Window");
        expect((await persist("POST", `/v1/projects/${id}/tasks`, token, { title: "Glass" })).status).toBe(
          201,
        );
        today = await content("late", "shared");
      },
    });
    expect(restored.tables).toEqual([
      { table: "projects", added: 0, changed: 1, deleted: 0, samples: [`~${roof.id}`] },
    ]);
    expect(restored.done).toContain("5 rows were changed after the preview, and are set back too.");
    expect(await content("late", "shared")).toEqual(yesterday);
    const undone = await setBack("late", undefined);
    expect(undone.done).not.toContain("after the preview");
    expect(await content("late", "shared")).toEqual(today);
  }, 60_000);

  it.each(["before", "after"])(
    "takes the reference from what refers to a member who leaves %s its preview, and undo does not return it",
    async (when) => {
      const slug = `left-${when}`;
      const token = await house.newTenant(slug, "shared");
      await house.join(slug, `bob@${slug}.test`);
      const members = async () =>
        (await rowsAt(slug, "shared")).filter((row) => row.startsWith("members")).length;
      await expect.poll(members).toBe(2);
      const { data } = await get<{ data: { user_id: string; email: string }[] }>("/v1/members", token);
      const bob = data.find(({ email }) => email.startsWith("bob"))?.user_id;
      const { id } = await newProject(token, "Roof");
      const newTask = async (title: string) =>
        (await (
          await persist("POST", `/v1/projects/${id}/tasks`, token, { title, assignee_id: bob })
        ).json()) as { id: string };
      const gone = await newTask("deleted since");
      const other = await newTask("given to nobody since");
      await newTask("unchanged since");
      const before = await content(slug, "shared");
      const from = await house.copyDatabase(house.first, "partywall", `${slug}-yesterday`);
      expect((await persist("DELETE", `/v1/tasks/${gone.id}`, token)).status).toBe(204);
      await persist("PATCH", `/v1/tasks/${other.id}`, token, { assignee_id: null });
      let today: string[] = [];
      const leave = async () => {
        expect((await persist("DELETE", `/v1/members/${bob}`, token)).status).toBe(204);
        await expect.poll(members).toBe(1);
        today = await content(slug, "shared");
      };
      if (when === "before") await leave();
      const restored = await setBack(slug, from, when === "after" ? { happen: leave } : {});
      expect(restored.done).toContain(`${slug} is set back`);
      const tasks = async () =>
        (await get<{ data: { title: string; assignee_id: string | null }[] }>("/v1/tasks", token)).data.map(
          ({ title, assignee_id }) => [title, assignee_id],
        );
      expect(await tasks()).toEqual([
        ["unchanged since", null],
        ["given to nobody since", null],
        ["deleted since", null],
      ]);
      const isProject = (row: string) => row.startsWith("projects");
      expect((await content(slug, "shared")).filter(isProject)).toEqual(before.filter(isProject));
      expect(await members()).toBe(1);
      await setBack(slug, undefined);
      expect(await content(slug, "shared")).toEqual(today);
      expect(await members()).toBe(1);
    },
    60_000,
  );

  it("from the tenant's own database, or from one that is no copy, changes nothing", async () => {
    const token = await house.newTenant("careful", "shared");
    await newProject(token, "Roof");
    const before = await content("careful", "shared");
    const own = house.variables.MIGRATION_DATABASE_URL;
    const none = await localDatabase("no-copy", house.second.superuserUrl);
    for (const [from, sentence] of [
      [own, "the tenant's own database"],
      [none, "it is none of the site shared"],
      [own.replace(/:\d+\//, ":1/"), "ECONNREFUSED"],
    ] as const) {
      const { code, error } = await house.tenants("restore", "careful", "--from", from, "--yes");
      expect([code, error]).toEqual([1, expect.stringContaining(sentence)]);
    }
    expect(await content("careful", "shared")).toEqual(before);
    expect((await newProject(token, "Wall")).name).toBe("Wall");
  });
});
