import { beforeAll, describe, expect, it, vi } from "vitest";
import type { Session } from "../src/identity/session.ts";
import { countCalls } from "./support/calls.ts";
import { answered, newTenant, PASSWORD, request, signedUp, type SignedIn } from "./support/client.ts";

const hostOf = (slug: string) => `${slug}.partywall.test`;
const NOBODY = hostOf("nobody-is-here");

let [ada, bob]: SignedIn[] = [];
beforeAll(async () => {
  [ada, bob] = await Promise.all([signedUp(), newTenant()]);
});

const get = (host: string | undefined, path = "/v1/projects", token = ada?.token) =>
  request("GET", path, { token, host });

describe("a tenant's host", () => {
  it("serves whoever is in that tenant", async () => {
    expect((await get(hostOf(ada?.tenant.slug ?? ""))).status).toBe(200);
    for (const host of ["api.partywall.test", "partywall.test", "localhost", "partywall.test.evil.test"])
      expect((await get(host)).status).toBe(200);
  });

  it("refuses a credential of another tenant with 403, and 404 where there is no tenant", async () => {
    const other = await get(hostOf(bob?.tenant.slug ?? ""));
    expect(other.status).toBe(403);
    expect(await other.json()).toMatchObject({ type: "/problems/wrong_host" });
    for (const host of [NOBODY, hostOf(`www.${ada?.tenant.slug}`)])
      expect((await get(host)).status).toBe(404);
  });

  it("is the same with the dot of DNS's root, in capitals and with a port", async () => {
    const slug = bob?.tenant.slug ?? "";
    for (const host of [".", "..", ":8787", ".:8787"].map((end) => hostOf(slug) + end)) {
      expect([host, (await get(host)).status]).toEqual([host, 403]);
      expect([host, (await get(host.toUpperCase())).status]).toEqual([host, 403]);
      expect([host, (await get(host, "/v1/projects", bob?.token)).status]).toEqual([host, 200]);
    }
    for (const host of ["api.partywall.test.", "API.partywall.test:8787"])
      expect([host, (await get(host)).status]).toEqual([host, 200]);
    for (const host of [`${slug}..partywall.test`, ".partywall.test", `${NOBODY}.`])
      expect([host, (await get(host)).status]).toEqual([host, 404]);
  });

  it("is not looked up for a tenant that is over its limit", async () => {
    const { token } = await newTenant([{ name: "minute", limit: 1, window: 60 }]);
    expect((await get(NOBODY, "/v1/projects", token)).status).toBe(404);
    const calls = countCalls();
    expect((await get(NOBODY, "/v1/projects", token)).status).toBe(429);
    expect(calls).toMatchObject({ sql: 0 });
    vi.restoreAllMocks();
  });

  it("is the tenant's new one at once when it is renamed", async () => {
    const { token, tenant } = await newTenant();
    const slug = `${tenant.slug}-new`;
    expect((await get(hostOf(tenant.slug), "/v1/projects", token)).status).toBe(200);
    await answered(200, request("PATCH", "/v1/tenant", { token, body: { slug } }));
    expect((await get(hostOf(slug), "/v1/projects", token)).status).toBe(200);
    expect((await get(hostOf(tenant.slug), "/v1/projects", token)).status).toBe(404);
  });

  it("answers 401 without a token, whosever it is", async () => {
    expect((await request("GET", "/v1/projects", { host: NOBODY })).status).toBe(401);
  });

  it("serves what belongs to no tenant", async () => {
    expect((await request("GET", "/health", { host: NOBODY })).status).toBe(200);
  });
});

describe("signing in at a tenant's host", () => {
  const signIn = (host: string, more: object = {}) =>
    request("POST", "/v1/sessions", { host, body: { email: ada?.user.email, password: PASSWORD, ...more } });

  it("is for that tenant, also for a user who is in several", async () => {
    const slug = `${ada?.tenant.slug}-2`;
    const body = { email: ada?.user.email, password: PASSWORD, tenant: { name: "Second", slug } };
    await answered(201, request("POST", "/v1/signup", { body }));
    const session = await answered<Session>(201, signIn(hostOf(slug)));
    expect(session.tenant.slug).toBe(slug);
  });

  it("is refused as a wrong password is where one is no member, and 404 where there is no tenant", async () => {
    expect((await signIn(hostOf(bob?.tenant.slug ?? ""))).status).toBe(401);
    expect((await signIn(NOBODY)).status).toBe(404);
    expect((await signIn(hostOf(bob?.tenant.slug ?? ""), { tenant: ada?.tenant.slug })).status).toBe(403);
  });

  it("refreshes no session of another tenant, and leaves that one whole", async () => {
    const { refresh_token, tenant } = await newTenant();
    const refresh = (host: string) =>
      request("POST", "/v1/sessions/refresh", { host, body: { refresh_token } });
    expect((await refresh(hostOf(bob?.tenant.slug ?? ""))).status).toBe(401);
    expect((await refresh(NOBODY)).status).toBe(401);
    expect((await refresh(hostOf(tenant.slug))).status).toBe(200);
  });

  it("makes no new tenant", async () => {
    const body = { email: "eve@evil.test", password: PASSWORD, tenant: { name: "Evil", slug: "evil" } };
    expect((await request("POST", "/v1/signup", { host: NOBODY, body })).status).toBe(404);
  });
});
