import { beforeAll, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { PRICES } from "../src/product/prices.ts";
import { totalUsage } from "../src/db/across-tenants.ts";
import { monthOf } from "../src/usage/periods.ts";
import { DAY_MS } from "../src/usage-figures.ts";
import { answered, login, newTenant, request, stage, type SignedIn } from "./support/client.ts";
import { used } from "./support/usage.ts";

const TENANTS = Number(import.meta.env.USAGE_TENANTS);
const DAYS = Number(import.meta.env.USAGE_DAYS);

const token = settings.OPERATOR_TOKEN;
const ask = <Answer>(path: string, status = 200) =>
  answered<Answer>(status, request("GET", `/v1/operator${path}`, { token }));
const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const today = dayOf(Date.now());

type Cost = {
  currency: string;
  total: string;
  parts: {
    what: string;
    quantity: string;
    unit: string;
    unit_price: string;
    amount: string;
    figures: string;
  }[];
  neon: object | null;
};

describe("the cost of a tenant", () => {
  it("is what the same figures give by hand, part by part and in all", async () => {
    const { tenant } = await newTenant();
    await used(tenant.id, "2026-03-01", {
      requests: 1_200_000,
      refused: 300_000,
      units: 1_200_000,
      db_ms: 7_200_000,
      object_ms: 86_400_000,
      object_rows: 92_160,
      rows: 10,
      bytes_stored: 3_000_000_000,
      archive_bytes: 500_000_000,
    });
    await used(tenant.id, "2026-03-04", {
      requests: 7,
      db_ms: 1,
      rows: 20,
      bytes_stored: 6_000_000_000,
      archive_bytes: 0,
    });
    await used(tenant.id, "2026-04-01", { requests: 999_999_999 });
    const { currency, total, parts, neon } = await ask<Cost>(
      `/tenants/${tenant.id}/cost?from=2026-03-01&to=2026-03-10`,
    );
    // 1,500,007 requests at $0.30 a million: 0.4500021. 1,200,007 × 2 ms at $0.02: 0.04800028. And so on; the first
    // three days store 3 GB and the next seven 6 GB: 51 GB-days, 1.7 GB-months. Of archives 0.5 GB for three days.
    expect(parts.map(({ what, quantity, amount }) => [what, quantity, amount])).toEqual([
      ["workers_requests", "1.500007", "0.450002"],
      ["workers_cpu", "2.400014", "0.048000"],
      ["object_requests", "1.200007", "0.180001"],
      ["object_duration", "0.011059", "0.138238"],
      ["object_rows_written", "0.092160", "0.092160"],
      ["archive_storage", "0.050000", "0.000750"],
      ["database_compute", "0.500000", "0.053000"],
      ["database_storage", "1.700000", "0.595000"],
    ]);
    expect(parts.every(({ figures }) => figures === "own")).toBe(true);
    expect(neon).toBe(null);
    expect(currency).toBe("USD");
    expect(total).toBe("1.557151");
    for (const { what, unit, unit_price } of parts)
      expect(PRICES.parts).toContainEqual(expect.objectContaining({ what, unit, unit_price }));
  });

  it("is nothing for a tenant without use, and of this month when no days are named", async () => {
    const { tenant } = await newTenant();
    expect(await ask<Cost>(`/tenants/${tenant.id}/cost`)).toMatchObject({ total: "0.000000" });
    await used(tenant.id, today, { requests: 1_000_000 });
    expect(await ask<Cost>(`/tenants/${tenant.id}/cost`)).toMatchObject({ total: "0.490000" });
    expect(await ask<Cost>(`/tenants/${tenant.id}/cost?to=2026-01-01`)).toMatchObject({ total: "0.000000" });
  });

  it("adds up beyond what a double holds", async () => {
    const { tenant } = await newTenant();
    for (const day of ["2025-05-01", "2025-05-02"])
      await used(tenant.id, day, { requests: 9_007_199_254_740_991 });
    const { parts } = await ask<Cost>(`/tenants/${tenant.id}/cost?from=2025-05-01&to=2025-05-02`);
    expect(parts[0]).toMatchObject({ quantity: "18014398509.481982", amount: "5404319552.844595" });
  });
});

describe("an operator", () => {
  it("sees a tenant's usage as the tenant does", async () => {
    const ada = await newTenant();
    await used(ada.tenant.id, today, {
      requests: 5,
      refused: 2,
      units: 9,
      errors: 1,
      bytes_out: 77,
      rows: 3,
      bytes_stored: 500,
      archive_bytes: 0,
    });
    const own = await answered(200, request("GET", "/v1/tenant/usage", { token: ada.token }));
    const seen = await ask<{ data: object[] }>(`/tenants/${ada.tenant.id}/usage`);
    expect(seen).toEqual(own);
    expect(seen.data.at(-1)).toMatchObject({ requests: 5, refused: 2, units: 9, rows: 3, bytes_stored: 500 });
  });

  it.each(["usage", "cost"])("is told that there is no such tenant, by …/%s", async (what) => {
    for (const id of [crypto.randomUUID(), "none"])
      expect(await ask(`/tenants/${id}/${what}`, 404)).toMatchObject({ code: "not_found" });
  });

  it.each(["/tenants/:id/usage", "/tenants/:id/cost", "/usage", "/heavy"])(
    "is who GET %s is for, and no tenant",
    async (path) => {
      const ada = await newTenant();
      const at = `/v1/operator${path.replace(":id", ada.tenant.id)}`;
      for (const wrong of [undefined, ada.token, "x".repeat(43)])
        expect((await request("GET", at, { token: wrong })).status).toBe(401);
      await answered(200, request("GET", at, { token }));
    },
  );

  it.each([
    ["/heavy?by=name", "/by"],
    ["/heavy?period=year", "/period"],
    ["/heavy?limit=101", "/limit"],
    ["/usage?from=2020-01-01", "/from"],
  ])("is told what is wrong with %s", async (path, pointer) => {
    expect(await ask(path, 422)).toMatchObject({ errors: [{ pointer }] });
  });
});

/** The many tenants, with a number from 1 on each. */
const MANY = stage.unsafe(
  "(select id, substr(slug, 6)::int as n from control.tenants where slug ~ '^many-') as many",
);

type Heavy = { data: { tenant: { id: string; slug: string }; requests: number; cost: string }[] };

describe("with many tenants", () => {
  let owner: SignedIn;
  beforeAll(async () => {
    owner = await newTenant();
    // Nobody need hear of these, and no key need be checked.
    const add = (query: ReturnType<typeof stage>) =>
      stage.transaction([stage`set local session_replication_role = replica`, query]);
    await add(stage`insert into control.tenants (id, slug, name, plan)
      select gen_random_uuid(), 'many-' || g, 'Many ' || g, 'solo' from generate_series(1, ${TENANTS}) g`);
    // More than any tenant of another file's, and as many at once as Postgres takes in good time.
    for (let ago = 0, step = Math.ceil(60_000 / TENANTS); ago < DAYS; ago += step)
      await add(stage`insert into control.usage_days
          (tenant_id, day, requests, refused, units, errors, bytes_out, db_ms, seq, rows, bytes_stored, archive_bytes)
        select id, ${today}::date - d, n * 1e7, n % 7, n * 1e7, n % 3, n * 1e9, n * 1e7, 1, n * 1e6, n * 1e9, 0
        from ${MANY}, generate_series(${ago}::int, least(${ago}::int + ${step}::int, ${DAYS}::int) - 1) d`);
    await add(stage`insert into control.usage_hours (tenant_id, hour, requests, seq)
      select id, date_trunc('hour', now()) - h * interval '1 hour', n * 1e7, 1 from ${MANY}, generate_series(0, 23) h`);
    const thisMonth = monthOf(Date.now());
    for (const month of [thisMonth, monthOf(Date.parse(thisMonth) - DAY_MS)])
      await add(stage`insert into control.usage_months
          (tenant_id, month, requests, refused, units, errors, bytes_out, db_ms, rows, bytes_stored, archive_bytes, byte_days)
        select tenant_id, ${month}, sum(requests), sum(refused), sum(units), sum(errors),
          sum(bytes_out), sum(db_ms), max(rows), max(bytes_stored), 0, sum(bytes_stored)
        from ${MANY} join control.usage_days on tenant_id = id
        where day >= ${month} and day < ${month}::date + interval '1 month' group by 1 on conflict do nothing`);
    for (const table of ["usage_days", "usage_hours", "usage_months", "tenants"])
      await stage.query(`analyze control.${table}`);
    await totalUsage();
  }, 900_000);

  it("says who is heavy, by any figure and by cost, in each period", async () => {
    const most = `many-${TENANTS}`;
    for (const period of ["hour", "day", "week", "month"]) {
      const { data } = await ask<Heavy>(`/heavy?by=requests&period=${period}&limit=3`);
      expect(data).toHaveLength(3);
      expect(data[0]?.tenant.slug).toBe(most);
      expect(data[0]?.requests).toBeGreaterThan(data[1]?.requests ?? Infinity);
    }
    for (const by of ["units", "bytes_out", "db_ms", "rows", "bytes_stored", "cost"])
      expect((await ask<Heavy>(`/heavy?by=${by}&period=month`)).data[0]?.tenant.slug).toBe(most);
    const { data } = await ask<Heavy>("/heavy?by=cost&period=month&limit=1");
    const { total } = await ask<Cost>(`/tenants/${data[0]?.tenant.id}/cost`);
    expect(Number(data[0]?.cost)).toBeCloseTo(Number(total), 4);
    expect((await ask<Heavy>("/heavy?period=last_month&by=errors")).data.length).toBeGreaterThan(0);
  });

  it("adds all tenants up by days and hours, the same however often", async () => {
    type Totals = {
      data: { start: string; tenants: number; active: number; requests: number; rows: number | null }[];
    };
    const before = await ask<Totals>(`/usage?from=${today}`);
    await totalUsage();
    const [after] = (await ask<Totals>(`/usage?from=${today}`)).data;
    const hours = await ask<Totals>("/usage?granularity=hour");
    const many = (TENANTS * (TENANTS + 1)) / 2;
    // Other files' tenants are few beside these.
    for (const total of [before.data[0], after, hours.data.at(-1)]) {
      expect(total?.requests).toBeGreaterThanOrEqual(1e7 * many);
      expect(total?.requests).toBeLessThan(1.01e7 * many);
      expect(total?.active).toBeGreaterThanOrEqual(TENANTS);
    }
    expect(after?.rows).toBeGreaterThanOrEqual(1e6 * many);
    expect(hours.data).toHaveLength(3);
  });

  it("answers each of these by an index, and reads no table of usage from end to end", async () => {
    const fetching = vi.spyOn(globalThis, "fetch");
    const { data } = await ask<Heavy>("/heavy?limit=1");
    const id = data[0]?.tenant.id ?? "";
    const from = dayOf(Date.now() - 364 * DAY_MS);
    const paths = [
      `/tenants/${id}/usage?from=${from}`,
      `/tenants/${id}/usage?granularity=hour`,
      `/tenants/${id}/cost?from=${from}`,
      `/usage?from=${from}`,
      ...["hour", "day", "week", "month"].flatMap((period) =>
        ["requests", "cost"].map((by) => `/heavy?period=${period}&by=${by}`),
      ),
    ];
    const operator = login("OPERATOR_DATABASE_URL");
    const report: string[] = [];
    for (const path of paths) {
      fetching.mockClear();
      await ask(path);
      const bodies = fetching.mock.calls.map(([, init]) => String(init?.body));
      const sent = bodies.map(
        (body) => JSON.parse(body) as { query?: string; params?: string[]; queries?: [] },
      );
      const all = sent.flatMap((each) => each.queries ?? [each]) as { query: string; params: string[] }[];
      for (const { query, params } of all.filter((each) => each.query.includes("usage_"))) {
        const [row] = await operator.query(`explain (format json, analyze, timing off) ${query}`, params);
        const [{ Plan: plan, "Execution Time": ms }] = (row as Record<"QUERY PLAN", [Explained]>)[
          "QUERY PLAN"
        ];
        report.push(`${path}: ${ms} ms`);
        expect([path, ...scans(plan)]).toEqual([path]);
      }
    }
    if (TENANTS > 1000) console.log(report.join("\n"));
    expect(report.length).toBe(paths.length);
  });

  it("leaves each tenant its own", async () => {
    const { data } = await answered<{ data: { requests: number }[] }>(
      200,
      request("GET", "/v1/tenant/usage", { token: owner.token }),
    );
    expect(data.every(({ requests }) => requests === 0)).toBe(true);
  });
});

type Plan = { "Node Type": string; "Relation Name"?: string; Plans?: Plan[] };
type Explained = { Plan: Plan; "Execution Time": number };

/** The tables of usage by tenants that a plan reads from end to end. */
const scans = (plan: Plan): string[] => [
  ...(plan["Node Type"] === "Seq Scan" && /^usage_(days|hours|keys)$/.test(plan["Relation Name"] ?? "")
    ? [plan["Relation Name"] ?? ""]
    : []),
  ...(plan.Plans ?? []).flatMap(scans),
];
