import { neonConfig } from "@neondatabase/serverless";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { countCalls } from "./support/calls.ts";
import { newMember, newTenant, request, type SignedIn } from "./support/client.ts";
import { documented, type Route } from "./support/contract.ts";

afterEach(() => vi.restoreAllMocks());

// The bindings count in minutes of the wall clock: what begins late in one gets two minutes' worth.
const MOST = 2;
const REQUESTS = 300;
const MAILS = 5;

/** Asks until refused with 429, which costs no database request and calls no object but to admit. */
async function untilRefused(most: number, ask: () => Promise<Response>): Promise<Response> {
  for (let asked = 0; asked <= most; asked++) {
    const calls = countCalls();
    const response = await ask();
    if (response.status !== 429) continue;
    expect(calls).toEqual({ object: response.headers.has("ratelimit") ? 1 : 0, sql: 0, site: 0 });
    return response;
  }
  throw new Error(`still not refused after ${most} requests`);
}

/** Routes without a token that ask nobody: what they answer is in the isolate's own memory. */
const FREE = [
  "GET /health",
  "GET /.well-known/jwks.json",
  "GET /openapi.json",
  "GET /",
  "GET /docs",
  "GET /operator",
  "GET /problems/",
  "GET /problems/{code}",
];
/** What is there, of what paths name. */
const KNOWN: Record<string, string> = { code: "not_found", file: "console.js" };
const nameOf = ({ method, path }: Route) => `${method} ${path}`;
const isOpen = ({ security }: Route) => security.every((scheme) => !("accessToken" in scheme));
const openRoutes = async () => (await documented()).filter(isOpen);
/** A request that the route refuses, or answers, at little cost. */
const ask = ({ method, path }: Route, address: string) =>
  request(
    method,
    path.replaceAll(/\{(\w+)\}/g, (_, name: string) => KNOWN[name] ?? crypto.randomUUID()),
    {
      headers: { "cf-connecting-ip": address },
    },
  );

describe("a flood of requests without a token", () => {
  it("is refused at every route that asks anybody, before anybody is asked", async () => {
    const address = crypto.randomUUID();
    const routes = (await openRoutes()).filter((route) => !FREE.includes(nameOf(route)));
    expect(routes.map(nameOf)).toContain("GET /ready");
    for (const route of routes) {
      const refused = await untilRefused(MOST * REQUESTS, () => ask(route, address));
      expect([nameOf(route), refused.headers.get("retry-after")]).toEqual([nameOf(route), "60"]);
    }
  }, 60_000);

  it("costs nobody else anything where it is answered", async () => {
    const routes = (await openRoutes()).filter((route) => FREE.includes(nameOf(route)));
    expect(routes.map(nameOf).sort()).toEqual([...FREE].sort());
    const calls = countCalls();
    for (const route of routes) expect((await ask(route, "192.0.2.7")).status).toBe(200);
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
  });

  it("is counted by network, of whose IPv6 addresses a client has many", async () => {
    const network = `2001:db8:${Math.floor(Math.random() * 0xffff).toString(16)}`;
    const signIn = (address: string) =>
      request("POST", "/v1/sessions", { body: {}, headers: { "cf-connecting-ip": address } });
    let host = 0;
    await untilRefused(MOST * REQUESTS, () => signIn(`${network}::${(host += 1).toString(16)}`));
    expect((await signIn(`${network}:1::1`)).status).toBe(422);
  }, 60_000);
});

describe("/ready", () => {
  it("asks Postgres and an object once a second at most, however often it is asked", async () => {
    const begun = Date.now() + 60_000;
    for (const [ms, probes] of [
      [0, 1],
      [900, 0],
      [1_000, 1],
    ] as const) {
      const calls = countCalls();
      vi.spyOn(Date, "now").mockReturnValue(begun + ms);
      for (let times = 0; times < 20; times++) expect((await request("GET", "/ready")).status).toBe(200);
      expect(calls).toEqual({ object: probes, sql: probes, site: 0 });
    }
  });

  it("shows an outage, and its end, within a second", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const begun = Date.now();
    const now = vi.spyOn(Date, "now");
    const statusAfter = async (ms: number) => {
      now.mockReturnValue(begun + 120_000 + ms);
      return (await request("GET", "/ready")).status;
    };
    try {
      expect(await statusAfter(0)).toBe(200);
      neonConfig.fetchEndpoint = "http://127.0.0.1:1/sql";
      expect(await statusAfter(1_000)).toBe(503);
    } finally {
      neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
    }
    expect(await statusAfter(2_000)).toBe(200);
  });
});

describe("a mailbox", () => {
  let [ada, bob]: SignedIn[] = [];
  beforeEach(async () => {
    [ada, bob] = await Promise.all([newTenant(), newTenant()]);
    // Their objects have read their records by then.
    for (const who of [ada, bob]) await request("GET", "/v1/tenant/limits", { token: who.token });
  });
  const invite = (email: string, by = ada) =>
    request("POST", "/v1/invitations", { token: by?.token, body: { email, role: "viewer" } });
  const mailsTo = async (email: string): Promise<unknown[]> =>
    (await fetch(`${inject("variables")["MAIL_URL"]}?to=${encodeURIComponent(email)}`)).json();
  const someone = () => `${crypto.randomUUID()}@${crypto.randomUUID().slice(0, 8)}.test`;

  it("is sent a few mails a minute, by all tenants together, and a refusal writes nothing", async () => {
    const email = someone();
    let sent = -1;
    const refused = await untilRefused(MOST * MAILS, () => invite(email, (sent += 1) % 2 === 0 ? ada : bob));
    expect(sent).toBeGreaterThanOrEqual(MAILS);
    expect(refused.headers.get("retry-after")).toBe("60");
    const text = await refused.text();
    expect(JSON.parse(text)).toMatchObject({ type: "/problems/too_many_attempts" });
    expect(text).not.toContain(email);
    expect(await mailsTo(email)).toHaveLength(sent);
    expect((await invite(someone())).status).toBe(201);
  });

  it("is the same in capitals and with a tag", async () => {
    const [local = "", domain = ""] = someone().split("@");
    const same = [`${local}@${domain}`, `${local}@${domain}`.toUpperCase(), `${local}+tag@${domain}`];
    let sent = 0;
    await untilRefused(MOST * MAILS, () => invite(same[(sent += 1) % same.length] ?? ""));
    expect(sent).toBeGreaterThan(MAILS);
  });

  it("costs whoever has it mailed ten units", async () => {
    const left = (response: Response) => Number(/r=(\d+)/.exec(response.headers.get("ratelimit") ?? "")?.[1]);
    const admin = await newMember(ada?.tenant.id ?? "", "admin");
    const before = left(await request("GET", "/v1/tenant/limits", { token: admin.token }));
    expect(left(await invite(someone(), admin))).toBe(before - 10);
  });
});
