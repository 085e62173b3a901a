import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connected } from "../drizzle/connected.ts";
import { createTenant } from "../drizzle/create-tenant.ts";
import { examine } from "../drizzle/doctor/examine.ts";
import { behind, migrateFleet, withFleet } from "../drizzle/fleet.ts";
import { localDatabase } from "../drizzle/local-database.ts";
import { addSite } from "../drizzle/site-add.ts";
import { loginsAt, readSites } from "../drizzle/sites.ts";
import { House } from "./support/node/house.ts";
import { TESTS_MIGRATIONS, withMigrations } from "./support/node/product.ts";

// The command line for sites and tenants, and the fleet, with two Postgres servers and the Worker as it would be deployed.

const { content = "" } = TESTS_MIGRATIONS;
const quiet = { content, say: () => undefined };

let house: House;
let first: House["first"];
let second: House["second"];
let variables: House["variables"];
let root: House["root"];
let [ask, run, tenants, told, newTenant] = [] as unknown as [
  House["ask"],
  House["run"],
  House["tenants"],
  House["told"],
  House["newTenant"],
];

beforeAll(async () => {
  house = await House.start();
  ({ first, second, variables, root, ask, run, tenants, told, newTenant } = house);
}, 120_000);
afterAll(() => house?.[Symbol.asyncDispose](), 60_000);

describe("a tenant at a site", () => {
  it.each([
    ["own-schema", "schema"],
    ["own-database", "dedicated"],
  ])("%s is made by a command, and works as any other", async (site, kind) => {
    const slug = `at-${site}`;
    const token = await newTenant(slug, site);
    expect(await (await ask("GET", "/v1/tenant", token)).json()).toMatchObject({ slug, placement: { kind } });
    const made = await ask("POST", "/v1/projects", token, { name: "Roof" });
    const { id } = (await made.json()) as { id: string };
    expect((await ask("GET", `/v1/projects/${id}`, token)).status).toBe(200);
    const trail = (await (await ask("GET", "/v1/audit-events", token)).json()) as {
      data: { resource: string }[];
    };
    expect(trail.data.map(({ resource }) => resource)).toEqual(
      expect.arrayContaining(["projects", "memberships", "invitations"]),
    );
    expect(await told("show", slug)).toMatchObject({ slug, site, kind, members: 1 });
    expect(await told("list")).toContainEqual(expect.objectContaining({ slug, site }));
    const { out } = await tenants("list");
    expect(out).toMatch(new RegExp(`^${slug} .* ${site} `, "m"));
    const { rowCount } = await root.query("select from public.projects where id = $1", [id]);
    expect(rowCount).toBe(0);
  });

  it("that is there already gets another invitation, and no second tenant", async () => {
    expect(await told("create", "twice", "--site", "own-schema")).toMatchObject({ slug: "twice" });
    const again = await tenants("create", "twice", "--site", "own-schema");
    expect(again).toMatchObject({
      code: 1,
      error: expect.stringContaining("There is a tenant twice already"),
    });
    expect(await told("create", "twice", "--site", "own-schema", "--owner", "a@twice.test")).toMatchObject({
      invitation: expect.stringMatching(/^pwi_/),
    });
    const elsewhere = await tenants("create", "twice", "--site", "own-database", "--owner", "a@twice.test");
    expect(elsewhere.error).toContain("at the site own-schema");
  });

  it.each([
    [["show", "nobody"], "There is no tenant nobody"],
    [["site", "rotate", "own-schema"], "in the control plane's database"],
    [["site", "rotate", "shared"], "in the control plane's database"],
    [["site"], "There is no command site"],
    [["show"], "Say which: show <slug>"],
    [["show", "own-schema", "more"], '`show` does not take "more"'],
    [["moves", "claer"], '`moves` does not take "claer"'],
    [["move", "twice", "--to", "shared", "--preview", "--yes"], "`move` does not take --preview"],
    [["list", "--frobnicate"], "Unknown option '--frobnicate'. --help"],
  ])("command that makes no sense is refused in a sentence: %j", async (args, sentence) => {
    const { code, error, out } = await tenants(...args);
    expect(code).toBe(1);
    expect(error).toContain(sentence);
    expect(error).not.toMatch(/^ +at /m);
    expect(out).toBe("");
  });

  it("that somebody has entered invites no other owner by the command line", async () => {
    await newTenant("entered", "own-schema");
    const again = await tenants("create", "entered", "--site", "own-schema", "--owner", "b@entered.test");
    expect(again).toMatchObject({ code: 1, out: "", error: expect.stringContaining("it has members") });
    const { rowCount } = await root.query("select from control.invitations where email = 'b@entered.test'");
    expect(rowCount).toBe(0);
  });

  it("invites whoever was named last, and nobody before, and both are in the operators' trail", async () => {
    const create = (owner: string) => told("create", "renamed", "--site", "own-schema", "--owner", owner);
    await create("a@renamed.test");
    await create("b@renamed.test");
    const { rows } = await root.query(
      `select i.email, (select array_agg(action order by e.id) from control.operator_events e
         where e.tenant_id = i.tenant_id) as actions
       from control.invitations i join control.tenants t on t.id = i.tenant_id where t.slug = 'renamed'`,
    );
    expect(rows).toEqual([{ email: "b@renamed.test", actions: ["tenant.create", "tenant.invite"] }]);
  });

  it("usage is what --help prints, of every command line", async () => {
    for (const program of ["tenants", "operators", "doctor", "migrate-all", "secrets", "rotate"]) {
      const { code, out, error } = await run(`drizzle/${program}.ts`, "--help");
      expect([program, code, error]).toEqual([program, 0, ""]);
      expect(out).toMatch(/npm run|node drizzle/);
      expect(out).not.toMatch(/^\w+='/m);
      const wrong = await run(`drizzle/${program}.ts`, "--frobnicate");
      expect([wrong.code === 0, wrong.out, wrong.error]).toEqual([
        false,
        "",
        expect.stringMatching(/^Unknown option '--frobnicate'\. --help says what there is\.\n$/),
      ]);
    }
  });

  it.each([
    [{ slug: "x", site: "nowhere" }, "There is no site nowhere"],
    [{ slug: "x" }, "Say at which site"],
    [{ slug: "No Slug", site: "own-schema" }, "is no slug"],
    [{ slug: "www", site: "own-schema" }, "reserved"],
    [{ slug: "x", site: "own-schema", plan: "gold" }, "gold is no plan"],
    [{ slug: "x", site: "own-schema", plan: "toString" }, "toString is no plan"],
    [{ slug: "x", site: "own-schema", owner: "nobody" }, "is no email address"],
  ])("that cannot be is refused in a sentence: %j", async (of, sentence) => {
    await expect(createTenant(of, variables)).rejects.toThrow(sentence);
  });
});

describe("site add", () => {
  const add = (of: Parameters<typeof addSite>[0]) => addSite(of, variables, quiet);
  const inSecond = async (database: string, sql: string) =>
    connected(await localDatabase(database, second.superuserUrl), (client) => client.query(sql));

  it("again changes nothing, and finishes what was half made", async () => {
    const before = await withFleet(variables, readSites);
    const databaseUrl = await localDatabase("own-database", second.superuserUrl);
    await add({ name: "own-schema", schema: true });
    await add({ name: "own-database", schema: false, databaseUrl });
    expect(await withFleet(variables, readSites)).toEqual(before);
    // The row alone, as after a command that was killed then.
    await root.query(
      `insert into control.sites (name, kind, schema, secret) values ('half-made', 'schema', 'site_half_made', '')`,
    );
    expect(await withFleet(variables, (control) => behind(control, variables, ["half-made"], quiet))).toEqual(
      [{ site: "half-made", why: expect.stringContaining("lacks"), isKnown: true }],
    );
    expect((await tenants("create", "early", "--site", "half-made")).error).toContain("is not up to date");
    await add({ name: "half-made", schema: true });
    expect(await withFleet(variables, (control) => behind(control, variables, ["half-made"], quiet))).toEqual(
      [],
    );
  });

  it("makes a schema in another server's database as well, beside a site that is there", async () => {
    const databaseUrl = await localDatabase("own-database", second.superuserUrl);
    const site = await add({ name: "beside", schema: true, databaseUrl, region: "aws-eu-central-1" });
    expect(site).toMatchObject({
      schema: "site_beside",
      database: "own-database",
      region: "aws-eu-central-1",
    });
    const token = await newTenant("neighbour", "beside");
    expect((await ask("POST", "/v1/projects", token, { name: "Roof" })).status).toBe(201);
    expect(await (await ask("GET", "/v1/tenant", token)).json()).toMatchObject({
      placement: { kind: "schema", region: "aws-eu-central-1" },
    });
  });

  it("refuses, in a sentence, what is no place for a site", async () => {
    await inSecond("in-use", "create table letters (id int)");
    const url = (database: string) => localDatabase(database, second.superuserUrl);
    const cases: [Parameters<typeof addSite>[0], string][] = [
      [{ name: "No Name", schema: true }, "is no name for a site"],
      [{ name: "shared", schema: true }, "is no name for a site"],
      [{ name: "mine", schema: false }, "the control plane's own database"],
      [{ name: "mine", schema: false, databaseUrl: "mysql://x" }, "no connection string"],
      [{ name: "mine", schema: false, databaseUrl: await url("in-use") }, "has tables in its schema public"],
      [
        { name: "mine", schema: false, databaseUrl: await url("own-database") },
        "The site own-database is there",
      ],
      [
        { name: "own-schema", schema: false, databaseUrl: await url("other") },
        "There is a site own-schema already",
      ],
      [{ name: "mine", schema: false, databaseUrl: "postgres://a:b@127.0.0.1:1/c" }, "ECONNREFUSED"],
    ];
    const before = await withFleet(variables, readSites);
    for (const [of, sentence] of cases) await expect(add(of)).rejects.toThrow(sentence);
    expect(await withFleet(variables, readSites)).toEqual(before);
  });

  it("refuses a server whose logins are another deployment's, and changes nothing there", async () => {
    await inSecond("postgres", "comment on role partywall_app is 'partywall server somebody.else'");
    const hash = () =>
      inSecond("postgres", "select rolpassword from pg_authid where rolname = 'partywall_app'");
    const before = (await hash()).rows;
    const databaseUrl = await localDatabase("third", second.superuserUrl);
    await expect(add({ name: "third", schema: false, databaseUrl })).rejects.toThrow("another deployment");
    expect((await hash()).rows).toEqual(before);
    await inSecond(
      "postgres",
      `comment on role partywall_app is 'partywall server 127.0.0.1:${second.postgresPort}'`,
    );
  });
});

describe("the doctor", () => {
  const inControl = <T>(work: (client: pg.Client) => Promise<T>) => work(root);
  const findings = async (client: pg.Client, schema?: string) =>
    (await examine(client, schema)).filter(({ code }) => code !== "server_version");

  it("finds nothing wrong with a new site, wherever it is", async () => {
    const { out, code } = await run("drizzle/doctor.ts");
    expect(out.match(/the wall stands/g)).toHaveLength(2);
    expect(code).toBe(0);
    const one = await run("drizzle/doctor.ts", "--site", "own-database");
    expect(one.out).toContain("own-database: the wall stands");
    expect((await run("drizzle/doctor.ts", "--site", "nowhere")).code).toBe(2);
  });

  it.each([
    [
      "rls_off",
      "site_own_schema.projects",
      "alter table site_own_schema.projects disable row level security",
    ],
    [
      "rls_not_forced",
      "site_own_schema.tasks",
      "alter table site_own_schema.tasks no force row level security",
    ],
    [
      "verifier_body",
      "site_own_schema.current_tenant_id()",
      `do $do$ begin execute replace(pg_get_functiondef('site_own_schema.current_tenant_id()'::regprocedure),
        '.site own-schema.', '.site shared.'); end $do$`,
    ],
    [
      "foreign_key_sites",
      "site_own_schema.loans",
      "create table site_own_schema.loans (id uuid references public.loans_of)",
      "create table public.loans_of (id uuid primary key)",
    ],
    [
      "audit_writable",
      "site_own_schema.audit_events",
      "grant insert on site_own_schema.audit_events to partywall_app",
    ],
  ])(
    "finds %s of %s in a schema of its own, alone, and mends it",
    async (code, object, plant, before = "select") =>
      inControl(async (client) => {
        await client.query("begin");
        try {
          await client.query(`set local role partywall_owner; ${before}; ${plant}`);
          const found = await findings(client);
          expect(found.map((each) => `${each.code} ${each.object}`)).toEqual([`${code} ${object}`]);
          expect(await findings(client, "site_own_schema")).toEqual(found);
          expect(await findings(client, "public")).toEqual([]);
          for (const { mend } of found) await client.query(mend);
          expect(await findings(client)).toEqual([]);
        } finally {
          await client.query("rollback");
        }
      }),
  );
});

describe("the fleet", () => {
  const withMigration = (...statements: string[]) =>
    withMigrations(mkdtempSync(join(house.dir, "migrations-")), statements);
  const late = (folder: string) =>
    withFleet(variables, async (control) =>
      (await behind(control, variables, undefined, { content: folder })).map(({ site }) => site).sort(),
    );

  it("goes on where it was after a kill -9", async () => {
    for (const name of ["a", "b", "c", "d", "e", "f"])
      await addSite({ name, schema: true }, variables, quiet);
    const folder = withMigration(
      'create index on "projects" ("tenant_id", "description")',
      'alter table "projects" add column "wall" text',
    );
    const all = (await withFleet(variables, readSites)).map(({ name }) => name).sort();
    expect(await late(folder)).toEqual(all);
    const program = `
      const { migrateFleet } = await import("./drizzle/fleet.ts");
      await migrateFleet(JSON.parse(process.env.VARIABLES), { content: process.env.CONTENT, atOnce: 1 });`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      env: { ...process.env, VARIABLES: JSON.stringify(variables), CONTENT: folder },
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: child.stdout }))
      if (line.includes("1 migration(s)")) {
        child.kill("SIGKILL");
        break;
      }
    await once(child, "close");
    const left = await late(folder);
    expect(left.length).toBeGreaterThan(0);
    expect(left.length).toBeLessThan(all.length);
    const said: string[] = [];
    await migrateFleet(variables, { content: folder, say: (line) => said.push(line) });
    expect(await late(folder)).toEqual([]);
    expect(said.filter((line) => line.includes("1 migration(s)"))).toHaveLength(left.length);
    expect(said.filter((line) => line.includes("is up to date"))).toHaveLength(all.length - left.length);
  });

  it("is stopped by no site but that site alone, which is named at the end with Postgres' words", async () => {
    await root.query(
      `create table site_b.notes (id uuid); alter table site_b.notes owner to partywall_owner`,
    );
    const folder = withMigration('create table "notes" ("id" uuid)');
    await expect(migrateFleet(variables, { ...quiet, content: folder })).rejects.toThrow(
      /1 of \d+ site\(s\).*\n {2}b: relation "notes" already exists \(SQLSTATE 42P07\)/,
    );
    expect(await late(folder)).toEqual(["b"]);
    await root.query("drop table site_b.notes");
    await migrateFleet(variables, { ...quiet, content: folder });
    expect(await late(folder)).toEqual([]);
  });

  it("keeps a deployment from going on while a site is behind, and says which", async () => {
    const { rows } = await root.query<{ row: string }>(
      `delete from drizzle."site_c site" s where id = (select max(id) from drizzle."site_c site") returning s::text as row`,
    );
    const { code, error, out } = await run("drizzle/deploy.ts", "--dry-run");
    expect(error).toMatch(/These sites are behind:\n {2}c: it lacks \d+ migration/);
    expect(code).toBe(1);
    expect(out).not.toContain("bundling the Worker");
    await root.query(`insert into drizzle."site_c site" select ($1::drizzle."site_c site").*`, [
      rows[0]?.row,
    ]);
  }, 60_000);
});

describe("a site's server", () => {
  it("gets new passwords and keys without a failed request, and the old ones open nothing afterwards", async () => {
    const token = await newTenant("busy", "own-database");
    const statuses = new Set<number>();
    const over = new AbortController();
    const load = Array.from({ length: 4 }, async (_, at) => {
      while (!over.signal.aborted) {
        const { status } = await (at % 2 === 0
          ? ask("GET", "/v1/projects", token)
          : ask("POST", "/v1/projects", token, { name: "Roof" }));
        statuses.add(status);
      }
    });
    const before = (await withFleet(variables, readSites)).find(({ name }) => name === "own-database");
    if (!before) throw new Error("there is no site");
    const [oldLogin] = loginsAt(before, variables);
    await connected(oldLogin, (client) => client.query("select"));
    const rotated = await tenants("site", "rotate", "own-database");
    expect(rotated).toMatchObject({ code: 0, out: expect.stringContaining("beside, own-database") });
    await expect(connected(oldLogin, (client) => client.query("select"))).rejects.toMatchObject({
      code: "28P01",
    });
    expect((await tenants("site", "rotate", "own-database")).error).toContain("are good until");
    const keys = () =>
      connected(
        second.superuserUrl.replace(/[^/]*$/, "own-database"),
        async (client) => (await client.query("select kid from partywall.context_keys")).rows.length,
      );
    // The key of before, under each key that it may have been derived from.
    expect(await keys()).toBe(2);
    await migrateFleet(variables, quiet);
    over.abort();
    await Promise.all(load);
    expect(statuses).toEqual(new Set([200, 201]));
    // Ten minutes later every object has read its record again.
    await root.query(
      "update control.sites set rotated_at = rotated_at - interval '11 minutes' where server is not null",
    );
    await house.worker.stop();
    await house.startWorker();
    expect((await tenants("site", "rotate", "own-database")).out).toContain("the rotation is done");
    expect(await keys()).toBe(1);
    expect((await ask("GET", "/v1/projects", token)).status).toBe(200);
  }, 60_000);

  it("gets them while its tenants' own changes are under way: neither waits for the other for ever", async () => {
    await newTenant("changing", "own-schema");
    const change = new pg.Client({ connectionString: first.superuserUrl.replace(/[^/]*$/, "partywall") });
    await change.connect();
    try {
      // A change locks its tenant's outbox, and then changes the tenant.
      await change.query("begin");
      await change.query("select control.lock_outbox(id) from control.tenants where slug = 'changing'");
      const noted = root.query(
        "update control.sites set generation = generation + 1 where name = 'own-schema'",
      );
      const waiting =
        "select from pg_stat_activity where wait_event_type = 'Lock' and query like 'update control.sites%'";
      await expect.poll(async () => (await change.query(waiting)).rowCount, { timeout: 20_000 }).toBe(1);
      await change.query("update control.tenants set name = 'Changed' where slug = 'changing'");
      await change.query("commit");
      expect((await noted).rowCount).toBe(1);
    } finally {
      await change.end();
    }
  });

  it("that is down harms its own tenants alone, until it is back", async () => {
    const [there, here] = [await newTenant("there", "own-database"), await newTenant("here", "own-schema")];
    const status = async (token: string) => (await ask("GET", "/v1/projects", token)).status;
    expect([await status(there), await status(here)]).toEqual([200, 200]);
    const startAgain = await house.stopSecond();
    const refused = await ask("GET", "/v1/projects", there);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(await refused.text()).not.toContain("127.0.0.1");
    expect([await status(there), await status(here)]).toEqual([503, 200]);
    expect((await fetch(`http://127.0.0.1:${house.worker.port}/ready`)).status).toBe(200);
    await expect(migrateFleet(variables, quiet)).rejects.toThrow(/own-database: .*ECONNREFUSED/);
    await startAgain();
    await expect.poll(() => status(there), { timeout: 20_000 }).toBe(200);
  }, 60_000);
});

describe("a site's Neon project", () => {
  const project = async (site: string) => {
    const sites = await told<{ name: string; neon_project: string | null }[]>("site", "list");
    return sites.find(({ name }) => name === site)?.neon_project;
  };

  it("is said when it is added or later, and taken back", async () => {
    const databaseUrl = await localDatabase("billed", second.superuserUrl);
    const neonProject = "quiet-dawn-1";
    await addSite({ name: "billed", schema: false, databaseUrl, neonProject }, variables, quiet);
    expect(await project("billed")).toBe("quiet-dawn-1");
    // To add it again says nothing about it.
    await addSite({ name: "billed", schema: false, databaseUrl }, variables, quiet);
    expect(await project("billed")).toBe("quiet-dawn-1");
    await told("site", "set", "billed", "--neon-project", "quiet-dawn-2");
    expect((await tenants("site", "list")).out).toMatch(/^billed .* quiet-dawn-2 +0$/m);
    await told("site", "set", "billed", "--neon-project", "none");
    expect(await project("billed")).toBe(null);
  });

  it.each([
    [["own-database", "--neon-project", "No Id"], "No Id is no id of a Neon project"],
    [["own-schema", "--neon-project", "quiet-dawn-1"], "at the control plane's own server"],
    [["nowhere", "--neon-project", "quiet-dawn-1"], "There is no site nowhere"],
    [["own-database"], "site set <name> --neon-project <id>"],
  ])("is refused in a sentence where it makes no sense: %j", async (args, sentence) => {
    const { code, error } = await tenants("site", "set", ...args);
    expect(error).toContain(sentence);
    expect(code).toBe(1);
    await expect(
      addSite({ name: "never", schema: true, neonProject: "quiet-dawn-1" }, variables, quiet),
    ).rejects.toThrow("at the control plane's own server");
    expect(await project("never")).toBe(undefined);
  });
});
