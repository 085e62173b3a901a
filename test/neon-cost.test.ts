import { beforeEach, afterEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { forgetAll } from "../src/memory.ts";
import { PRICES } from "../src/product/prices.ts";
import { costOf, PRICED, type Prices, type Quantities } from "../src/usage/cost.ts";
import { daysAfter, neonDays } from "../src/usage/neon.ts";
import { answered, login, request, stage } from "./support/client.ts";
import type { Asked, Behaviour, Days } from "./support/node/neon.ts";
import { pass, used } from "./support/usage.ts";

const begun = { ...settings };
const MINUTE = 60_000;
let today: string;
const ago = (days: number) => daysAfter(today, -days);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
  today = new Date().toISOString().slice(0, 10);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  Object.assign(settings, begun);
});

type Cost = {
  total: string;
  parts: { what: string; quantity: string; amount: string; figures: string }[];
  neon: Record<string, unknown> | null;
};

const costFor = (tenant: string, from = ago(2), to = today) =>
  answered<Cost>(
    200,
    request("GET", `/v1/operator/tenants/${tenant}/cost?from=${from}&to=${to}`, {
      token: settings.OPERATOR_TOKEN,
    }),
  );
const shown = ({ parts }: Cost) =>
  parts.map(({ what, quantity, amount, figures }) => [what, quantity, amount, figures].join(" "));

/** A site at a server where nobody listens, in this Neon project. */
async function newSite(project: string, server: string = crypto.randomUUID()): Promise<string> {
  const name = `neon-${crypto.randomUUID().slice(0, 8)}`;
  await stage.query(
    `insert into control.sites (name, kind, schema, server, host, database, secret, neon_project)
     values ($1, 'dedicated', 'public', $2, '127.0.0.1:1', $1, 'aaaaaaaa', $3)`,
    [name, server, project],
  );
  return name;
}

/** A tenant of long ago, of which nobody need hear. */
async function newTenantAt(site: string): Promise<string> {
  const id = crypto.randomUUID();
  await stage.transaction([
    stage`set local session_replication_role = replica`,
    stage`insert into control.tenants (id, slug, name, plan, site, created_at)
      values (${id}, ${`neon-${id}`}, 'Neon', 'solo', ${site}, now() - interval '500 days')`,
  ]);
  return id;
}

/** A tenant alone in a project that has used so much, and what Neon's API is asked of it. */
async function dedicated(days: Days = {}) {
  const project = `quiet-dawn-${crypto.randomUUID().slice(0, 8)}`;
  const post = (action: string, body: string) =>
    answered(200, fetch(`${settings.NEON_API_URL}/${project}/${action}`, { method: "POST", body }));
  await post("use", JSON.stringify(days));
  const server = crypto.randomUUID();
  const site = await newSite(project, server);
  return {
    project,
    server,
    site,
    tenant: await newTenantAt(site),
    behave: (behaviour: Behaviour) => post("behave", behaviour),
    asked: () => answered<Asked[]>(200, fetch(`${settings.NEON_API_URL}/${project}/asked`)),
  };
}

const busy = (): Days => ({
  [ago(2)]: {
    compute_unit_seconds: 300_000,
    root_branch_bytes_month: 1_500_000_000_000,
    instant_restore_bytes_month: 100_000_000_000,
    public_network_transfer_bytes: 2_000_000_000,
  },
  [ago(1)]: {
    compute_unit_seconds: 200_000,
    root_branch_bytes_month: 1_000_000_000_000,
    child_branch_bytes_month: 744_000_000_000,
    snapshot_storage_bytes_month: 74_400_000_000,
    private_network_transfer_bytes: 500_000_000,
    extra_branches_month: 48,
  },
});

/** What the tenant costs by partywall's own figures, and why Neon's are not in it. */
async function expectOwn(tenant: string, why_not: string): Promise<void> {
  const cost = await costFor(tenant);
  expect(cost.neon).toMatchObject({ why_not, from: null, to: null, figures: null });
  expect(cost.parts.map(({ figures }) => figures)).toEqual(PRICES.parts.map(() => "own"));
  expect(cost.parts.find(({ what }) => what === "database_compute")).toMatchObject({
    quantity: "0.500000",
    amount: "0.053000",
  });
}

describe("the cost of a tenant in a Neon project of its own", () => {
  it("is what Neon's figures give by hand, and the same as ever for all else", async () => {
    const { tenant, project, asked } = await dedicated(busy());
    await used(tenant, ago(1), { requests: 1_000_000, db_ms: 7_200_000, rows: 1, bytes_stored: 3e9 });
    const cost = await costFor(tenant);
    // 500,000 CU-s are 138.888889 CU-h at $0.106: 14.722222. 3.244e12 byte-hours of 744 hours are 4.360215 GB-months at
    // $0.35: 1.526075. And so on.
    expect(shown(cost)).toEqual([
      "workers_requests 1.000000 0.300000 own",
      "workers_cpu 2.000000 0.040000 own",
      "object_requests 1.000000 0.150000 own",
      "object_duration 0.000000 0.000000 own",
      "object_rows_written 0.000000 0.000000 own",
      "archive_storage 0.000000 0.000000 own",
      "database_compute 138.888889 14.722222 neon",
      "database_storage 4.360215 1.526075 neon",
      "database_history 0.134409 0.026882 neon",
      "database_snapshots 0.100000 0.009000 neon",
      "database_transfer 2.000000 0.200000 neon",
      "database_private_transfer 0.500000 0.005000 neon",
    ]);
    expect(cost.total).toBe("16.979179");
    expect(cost.neon).toEqual({
      project,
      why_not: null,
      from: ago(2),
      to: today,
      figures: {
        compute_unit_seconds: "500000",
        root_branch_bytes_month: "2500000000000",
        child_branch_bytes_month: "744000000000",
        instant_restore_bytes_month: "100000000000",
        snapshot_storage_bytes_month: "74400000000",
        public_network_transfer_bytes: "2000000000",
        private_network_transfer_bytes: "500000000",
      },
    });
    expect(await asked()).toMatchObject([
      {
        authorization: `Bearer ${settings.NEON_API_KEY}`,
        query: {
          project_ids: project,
          org_id: settings.NEON_ORG_ID,
          granularity: "daily",
          from: `${ago(2)}T00:00:00Z`,
          to: `${ago(-1)}T00:00:00Z`,
        },
      },
    ]);
  });

  it("takes of Neon's answer what is of this project, of these days, and billed", async () => {
    const { tenant, behave } = await dedicated(busy());
    const { total } = await costFor(tenant);
    forgetAll();
    await behave("answer-more");
    expect(await costFor(tenant)).toMatchObject({ total, neon: { why_not: null } });
  });

  it("is by partywall's own figures for the days before the tenant came there", async () => {
    const { tenant, site, asked } = await dedicated(busy());
    await stage.query(
      `insert into control.jobs (id, tenant_id, kind, source, target, epoch, token, finished_at, outcome)
       values ($1, $2, 'move', 'shared', $3, 1, 1, $4, 'done')`,
      [crypto.randomUUID(), tenant, site, `${ago(1)}T12:00:00Z`],
    );
    for (const days of [3, 2, 1]) await used(tenant, ago(days), { db_ms: 7_200_000 });
    const cost = await costFor(tenant, ago(3));
    expect(cost.neon).toMatchObject({ from: ago(1), to: today });
    expect(shown(cost).filter((part) => /database_(compute|storage)/.test(part))).toEqual([
      "database_compute 1.000000 0.106000 own",
      "database_storage 0.000000 0.000000 own",
      "database_compute 55.555556 5.888889 neon",
      "database_storage 2.344086 0.820430 neon",
    ]);
    const [{ query }] = (await asked()) as [Asked];
    expect(query["from"]).toBe(`${ago(1)}T00:00:00Z`);
  });

  it("is by partywall's own figures for days that Neon no longer tells, and by months for whole months", async () => {
    const { tenant, asked } = await dedicated({
      [ago(59)]: { compute_unit_seconds: 3600 },
      [ago(60)]: { compute_unit_seconds: 36_000 },
      [ago(200)]: { compute_unit_seconds: 7200 },
    });
    await used(tenant, ago(60), { db_ms: 7_200_000 });
    await used(tenant, ago(59), { db_ms: 7_200_000 });
    const mixed = await costFor(tenant, ago(100));
    expect(mixed.neon).toMatchObject({ from: ago(59), to: today });
    expect(shown(mixed).filter((part) => part.startsWith("database_compute"))).toEqual([
      "database_compute 0.500000 0.053000 own",
      "database_compute 1.000000 0.106000 neon",
    ]);
    const first = `${ago(200).slice(0, 8)}01`;
    const last = daysAfter(`${daysAfter(first, 31).slice(0, 8)}01`, -1);
    const month = await costFor(tenant, first, last);
    expect(month.neon).toMatchObject({ from: first, to: last, why_not: null });
    expect(shown(month)).toContain("database_compute 2.000000 0.212000 neon");
    // Months until now: the month that it is now is asked for whole.
    const months = await costFor(tenant, first);
    expect(months.neon).toMatchObject({ from: first, to: today });
    expect(shown(months)).toContain("database_compute 13.000000 1.378000 neon");
    expect((await asked()).map(({ query }) => query["granularity"])).toEqual(["daily", "monthly", "monthly"]);
    expect((await costFor(tenant, ago(300), ago(299))).neon).toMatchObject({ why_not: "no_days" });
  });

  it("asks for the month that it is now up to its end, since Neon rounds down", async () => {
    const middle = `${ago(40).slice(0, 8)}15`;
    vi.setSystemTime(`${middle}T12:00:00Z`);
    const { tenant, asked } = await dedicated({ [middle]: { compute_unit_seconds: 3600 } });
    const cost = await costFor(tenant, `${daysAfter(middle, -100).slice(0, 8)}01`, middle);
    expect(shown(cost)).toContain("database_compute 1.000000 0.106000 neon");
    const end = `${daysAfter(middle, 20).slice(0, 8)}01`;
    expect(await asked()).toMatchObject([{ query: { granularity: "monthly", to: `${end}T00:00:00Z` } }]);
  });

  it("asks Neon again after 15 minutes, and not before", async () => {
    const { tenant, asked } = await dedicated(busy());
    const first = await costFor(tenant);
    pass(14 * MINUTE);
    expect((await costFor(tenant)).total).toBe(first.total);
    expect(await asked()).toHaveLength(1);
    pass(MINUTE);
    await costFor(tenant);
    expect(await asked()).toHaveLength(2);
  });
});

describe("without Neon's figures, the cost is by partywall's own and says why", () => {
  it.each<[Behaviour, RegExp]>([
    ["fail", /answered 500/],
    ["redirect", /answered 307/],
    ["huge", /is larger than 262144 bytes/],
    ["no-json", /answered no JSON/],
    ["strange", /answered something else than consumption/],
    ["without-days", /answered something else than consumption/],
    ["hang", /aborted|timeout/i],
  ])("where Neon does not answer as it should: %s", async (behaviour, cause) => {
    const { tenant, project, behave, asked } = await dedicated(busy());
    await used(tenant, ago(1), { db_ms: 7_200_000 });
    await behave(behaviour);
    const inTime = AbortSignal.timeout.bind(AbortSignal);
    const timeout = vi.spyOn(AbortSignal, "timeout");
    if (behaviour === "hang") timeout.mockImplementation(() => inTime(100));
    const lines = vi.spyOn(console, "error").mockImplementation(() => {});
    await expectOwn(tenant, "no_answer");
    expect(timeout).toHaveBeenCalledWith(5000);
    expect(lines.mock.calls).toEqual([
      [{ message: "neon figures not read", project, cause: expect.stringMatching(cause) as string }],
    ]);
    // Nothing of the key, nor of an answer that repeats it.
    expect(JSON.stringify(lines.mock.calls)).not.toMatch(/napi|Bearer/);
    // It is not asked at once again, and the key went nowhere else.
    await expectOwn(tenant, "no_answer");
    expect((await asked()).map(({ path }) => path)).toEqual(["/api/v2/consumption_history/v2/projects"]);
    expect(lines).toHaveBeenCalledTimes(1);
    await behave("answer");
    pass(MINUTE);
    expect((await costFor(tenant)).neon).toMatchObject({ why_not: null });
  });

  it.each([
    ["NEON_API_KEY", "napi_revoked", /answered 401/],
    ["NEON_ORG_ID", "org-other", /answered 404/],
  ])("where Neon refuses the %s", async (name, value, cause) => {
    const { tenant } = await dedicated(busy());
    await used(tenant, ago(1), { db_ms: 7_200_000 });
    Object.assign(settings, { [name]: value });
    const lines = vi.spyOn(console, "error").mockImplementation(() => {});
    await expectOwn(tenant, "no_answer");
    expect(lines.mock.lastCall?.[0]).toMatchObject({ cause: expect.stringMatching(cause) as string });
    expect(JSON.stringify(lines.mock.calls)).not.toContain("napi_");
  });

  it("where Neon has nothing of the project", async () => {
    const { tenant, asked } = await dedicated();
    await used(tenant, ago(1), { db_ms: 7_200_000 });
    await expectOwn(tenant, "unknown_project");
    expect(await asked()).toHaveLength(1);
  });

  it.each(["at the same site", "at another site of the server", "in the same project at another server"])(
    "where another tenant is %s, and nobody can tell whose they are",
    async (where) => {
      const { tenant, site, server, project, asked } = await dedicated(busy());
      await used(tenant, ago(1), { db_ms: 7_200_000 });
      const sites: Record<string, () => Promise<string>> = {
        "at the same site": async () => site,
        "at another site of the server": () => newSite("other-dawn-1", server),
        "in the same project at another server": () => newSite(project),
      };
      await newTenantAt((await sites[where]?.()) ?? "");
      await expectOwn(tenant, "several_tenants");
      expect(await asked()).toEqual([]);
    },
  );

  it("where NEON_API_KEY is not set, or a product has no prices for them", async () => {
    const { tenant, asked } = await dedicated(busy());
    await used(tenant, ago(1), { db_ms: 7_200_000 });
    Object.assign(settings, { NEON_API_KEY: "" });
    await expectOwn(tenant, "not_set_up");
    Object.assign(settings, begun);
    const { neon } = PRICES;
    try {
      Reflect.deleteProperty(PRICES, "neon");
      await expectOwn(tenant, "no_prices");
    } finally {
      Object.assign(PRICES, { neon });
    }
    expect(await asked()).toEqual([]);
  });
});

it("asks Neon nothing of a tenant elsewhere, whose cost is as before", async () => {
  const tenant = await newTenantAt("shared");
  const fetching = vi.spyOn(globalThis, "fetch");
  expect((await costFor(tenant)).neon).toBe(null);
  expect(fetching.mock.calls.length).toBeGreaterThan(0);
  expect(fetching.mock.calls.filter(([url]) => String(url).startsWith(settings.NEON_API_URL))).toEqual([]);
});

it("computes as before with prices of a product that has none for Neon's figures", () => {
  const { neon: _, ...older } = PRICES;
  const prices: Prices = older;
  const quantities = Object.fromEntries(PRICED.map((name) => [name, 0n])) as Quantities;
  expect(costOf(quantities, undefined, prices).parts).toHaveLength(PRICES.parts.length);
});

it("shows a site's Neon project to operators, and to no login that serves tenants", async () => {
  const { project, site } = await dedicated();
  const query = "select neon_project from control.sites where name = $1";
  expect(await login("OPERATOR_DATABASE_URL").query(query, [site])).toEqual([{ neon_project: project }]);
  for (const name of ["ACCOUNT_DATABASE_URL", "IDENTITY_DATABASE_URL"] as const)
    await expect(login(name).query(query, [site])).rejects.toMatchObject({ code: "42501" });
});

describe("the days of which Neon is asked", () => {
  const NOW = Date.parse("2026-11-30T16:00:00Z");
  const asked = (first: string, last: string, since = "2020-01-01") => {
    const days = neonDays({ first, last }, since, NOW);
    return days && `${days.granularity} ${days.first} ${days.last}`;
  };
  it.each([
    ["this month", ["2026-11-01", "2026-11-30"], "daily 2026-11-01 2026-11-30"],
    ["days to come", ["2026-11-29", "2026-12-31"], "daily 2026-11-29 2026-11-30"],
    ["the oldest day", ["2026-10-02", "2026-10-02"], "daily 2026-10-02 2026-10-02"],
    ["a whole month before it", ["2026-10-01", "2026-10-31"], "monthly 2026-10-01 2026-10-31"],
    ["whole months until now", ["2026-01-01", "2026-11-30"], "monthly 2026-01-01 2026-11-30"],
    ["parts of months", ["2026-09-15", "2026-11-15"], "daily 2026-10-02 2026-11-15"],
    ["parts of months, all older", ["2026-09-02", "2026-09-30"], undefined],
    ["a month of more than a year ago", ["2025-11-01", "2025-11-30"], undefined],
    ["the month a year ago", ["2025-12-01", "2025-12-31"], "monthly 2025-12-01 2025-12-31"],
  ] as const)("are right for %s", (_, [first, last], days) => {
    expect(asked(first, last)).toBe(days);
  });
  it("begin when the tenant came there", () => {
    expect(asked("2026-11-01", "2026-11-30", "2026-11-20")).toBe("daily 2026-11-20 2026-11-30");
    expect(asked("2026-11-01", "2026-11-10", "2026-11-20")).toBe(undefined);
  });
});
