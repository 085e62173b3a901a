import { neonConfig } from "@neondatabase/serverless";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { sql } from "drizzle-orm";
import { identityDb, rethrow } from "../src/db/client.ts";
import { settings } from "../src/env.ts";
import { Tenant } from "../src/tenant/object.ts";
import { findHome, introduceTenant, standingsOf, tenantObject, updateTenant } from "../src/tenant/stub.ts";
import { crash } from "./support/crash.ts";
import { newTenant, PASSWORD, request, type SignedIn } from "./support/client.ts";

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
  // Its object has read its record, which it would otherwise try while there is no database.
  await request("GET", "/v1/projects", { token: ada.token });
  // Nobody listens there.
  neonConfig.fetchEndpoint = "http://127.0.0.1:1/sql";
});
afterEach(() => {
  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  vi.restoreAllMocks();
});

it.each([
  ["GET", "/v1/projects", true, undefined],
  ["POST", "/v1/projects", true, { name: "Roof" }],
  ["GET", "/v1/me", true, undefined],
  ["POST", "/v1/sessions", false, { email: "ada@acme.test", password: PASSWORD }],
  ["GET", "/ready", false, undefined],
] as const)(
  "without Postgres, %s %s answers 503, logs one line and leaks nothing",
  async (method, path, signedIn, body) => {
    const log = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const response = await request(method, path, { token: signedIn ? ada.token : undefined, body });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("5");
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    const told = await response.text();
    const logged = JSON.stringify(log.mock.calls);
    expect(log).toHaveBeenCalledTimes(1);
    // What is at a tenant's site says at which one.
    expect(logged.includes("site shared: ")).toBe(path === "/v1/projects");
    expect(logged).toContain(response.headers.get("x-request-id"));
    for (const secret of [PASSWORD, ada.token, new URL(settings.DATABASE_URL).password]) {
      expect(told).not.toContain(secret);
      expect(logged).not.toContain(secret);
    }
    for (const inner of ["127.0.0.1:1", "postgres:", "select", "Error"]) expect(told).not.toContain(inner);
  },
);

it("without Postgres, what needs none still answers", async () => {
  expect((await request("GET", "/health")).status).toBe(200);
  expect((await request("GET", "/v1/tenant/limits", { token: ada.token })).status).toBe(200);
});

it("without Postgres, an object that reads its tenant again says once that it cannot, and goes on", async () => {
  const log = vi.spyOn(console, "error").mockImplementation(() => undefined);
  await crash(ada.tenant.id);
  const ask = async () => (await request("GET", "/v1/tenant/limits", { token: ada.token })).status;
  expect(await Promise.all(Array.from({ length: 10 }, ask))).toEqual(Array(10).fill(200));
  await expect.poll(() => log.mock.calls.length).toBeGreaterThan(0);
  expect(await ask()).toBe(200);
  expect(log).toHaveBeenCalledTimes(1);
});

it("answers 503 while Postgres has no space left", async () => {
  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  const full = identityDb.execute(sql`do $$ begin raise exception using errcode = '53100'; end $$`);
  await expect(full.catch(rethrow)).rejects.toMatchObject({ code: "unavailable", status: 503 });
});

it("asks a database that gave no answer three times no more, until one request finds that it is back", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const fetching = vi.spyOn(globalThis, "fetch");
  const ask = async () => (await request("GET", "/v1/projects", { token: ada.token })).status;
  for (let times = 0; times < 3; times++) expect(await ask()).toBe(503);
  expect(fetching).toHaveBeenCalledTimes(3);

  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  const refused = await request("GET", "/v1/projects", { token: ada.token });
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
  expect(fetching).toHaveBeenCalledTimes(3);

  const now = Date.now();
  vi.spyOn(Date, "now").mockReturnValue(now + 2_000);
  expect(await ask()).toBe(200);
  expect(await ask()).toBe(200);
});

it("lets one request in 2 s ask a database that stays away", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const ask = () => request("GET", "/v1/projects", { token: ada.token });
  for (let times = 0; times < 3; times++) await ask();
  const later = Date.now() + 2_000;
  const fetching = vi.spyOn(globalThis, "fetch");
  vi.spyOn(Date, "now").mockReturnValue(later);
  const statuses = (await Promise.all([ask(), ask(), ask()])).map(({ status }) => status);
  expect(statuses).toEqual([503, 503, 503]);
  expect(fetching).toHaveBeenCalledTimes(1);
  // For the next test.
  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  vi.spyOn(Date, "now").mockReturnValue(later + 2_000);
  expect((await ask()).status).toBe(200);
});

it("goes on asking a database that answers with errors", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  neonConfig.fetchEndpoint = `${settings.NEON_FETCH_ENDPOINT}/nothing-is-here`;
  const fetching = vi.spyOn(globalThis, "fetch");
  for (let times = 1; times <= 5; times++) {
    expect((await request("GET", "/v1/projects", { token: ada.token })).status).toBe(503);
    expect(fetching).toHaveBeenCalledTimes(times);
  }
});

it("serves again as soon as Postgres is back", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  expect((await request("GET", "/v1/projects", { token: ada.token })).status).toBe(503);
  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  expect((await request("GET", "/v1/projects", { token: ada.token })).status).toBe(200);
});

// Last: it asks so often in vain that for a while nobody asks.
it("without Postgres, an object that cannot do what it is asked throws nothing, which would be logged not as JSON", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const calls = (["admit", "standings", "receive", "relocate", "learn"] as const).map((name) =>
    vi.spyOn(Tenant.prototype, name),
  );
  // It knows nothing any more, so that it has to ask Postgres.
  await tenantObject(ada.tenant.id).erase();
  await crash(ada.tenant.id);
  expect((await request("GET", "/v1/projects", { token: ada.token })).status).toBe(503);
  const { id, name, slug } = ada.tenant;
  const record = {
    id,
    name,
    slug,
    status: "active",
    plan: "solo",
    limits: null,
    version: 1,
    epoch: 1,
  } as const;
  for (const failing of [
    () => standingsOf(id),
    () => updateTenant(id, 1_000),
    () => findHome(id, 1, false),
    () => introduceTenant(record, 1_000),
  ])
    await expect(failing()).rejects.toMatchObject({ code: "unavailable" });
  const ends = calls.map(({ mock }) => mock.settledResults.map(({ type }) => type));
  expect(ends).toEqual(calls.map(() => ["fulfilled"]));
});
