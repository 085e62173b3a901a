import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { countCalls } from "./support/calls.ts";
import { newProject, newTenant, PASSWORD, request, signedUp, type SignedIn } from "./support/client.ts";

let ada: SignedIn;
let project: string;
beforeAll(async () => {
  ada = await signedUp();
  project = (await newProject(ada.token)).id;
});

let calls: ReturnType<typeof countCalls>;
beforeEach(() => {
  calls = countCalls();
});
afterEach(() => vi.restoreAllMocks());

it.each([
  ["GET", "/v1/projects", undefined, 200],
  ["POST", "/v1/projects", { name: "Roof" }, 201],
  ["GET", "/v1/projects/:project", undefined, 200],
  ["PATCH", "/v1/projects/:project", { name: "Loft" }, 200],
  ["GET", "/v1/projects/:project/tasks", undefined, 200],
  ["POST", "/v1/projects/:project/tasks", { title: "Tiles" }, 201],
  ["GET", "/v1/tasks", undefined, 200],
  ["GET", "/v1/me", undefined, 200],
  ["GET", "/v1/tenant", undefined, 200],
  ["GET", "/v1/sessions", undefined, 200],
  ["GET", "/v1/audit-events", undefined, 200],
] as const)("%s %s makes one object call and one database request", async (method, path, body, status) => {
  const response = await request(method, path.replace(":project", project), { token: ada.token, body });
  expect(response.status).toBe(status);
  expect(calls).toEqual({ object: 1, sql: 1, site: 0 });
});

it.each([
  ["PATCH", "/v1/tenant", { name: "Acme" }, 200, 1],
  ["POST", "/v1/api-keys", { name: "CI", scopes: ["members:read"] }, 201, 1],
  ["POST", "/v1/invitations", { email: "bea@acme.test", role: "member" }, 201, 1],
  ["DELETE", "/v1/sessions/current", undefined, 204, 1],
  ["DELETE", "/v1/sessions", undefined, 204, 1],
  // Nothing changes of which anybody is to hear.
  ["POST", "/v1/sessions/switch", "own", 201, 0],
  ["DELETE", `/v1/members/${crypto.randomUUID()}`, undefined, 404, 0],
] as const)(
  "%s %s makes one database request, and one object call more, which makes one request to the site (case %#)",
  async (method, path, body, status, site) => {
    const { token, tenant } = await newTenant();
    // A sign-up, its confirmed address, its limits, and what its object reads when it starts and when an operator has changed it.
    await request("GET", "/v1/tenant/limits", { token });
    await expect.poll(() => calls).toMatchObject({ sql: 5, site: 2 });
    calls = countCalls();
    const given = body === "own" ? { tenant: tenant.slug } : body;
    expect((await request(method, path, { token, body: given })).status).toBe(status);
    expect(calls).toEqual({ object: 2, sql: 1, site });
  },
);

it("GET /v1/tenant/limits makes one object call and no database request", async () => {
  expect((await request("GET", "/v1/tenant/limits", { token: ada.token })).status).toBe(200);
  expect(calls).toEqual({ object: 1, sql: 0, site: 0 });
});

it.each([
  ["/v1/sessions", () => ({ email: ada.user.email, password: PASSWORD }), 201, 1],
  ["/v1/sessions", () => ({ email: ada.user.email, password: "wrong" }), 401, 0],
  ["/v1/sessions/refresh", () => ({ refresh_token: ada.refresh_token }), 200, 1],
] as const)(
  "POST %s makes one database request, and tells the object of a session (case %#)",
  async (path, body, status, object) => {
    expect((await request("POST", path, { body: body() })).status).toBe(status);
    expect(calls).toEqual({ object, sql: 1, site: 0 });
  },
);

// The stack and Neon's proxy reset a connection after each request, so no request can see that this went wrong.
it("each transaction begins by setting its context, a bind parameter, for itself alone", async () => {
  const fetching = vi.mocked(globalThis.fetch);
  for (const [method, body] of [
    ["GET", undefined],
    ["POST", { name: "Roof" }],
  ] as const) {
    fetching.mockClear();
    await request(method, "/v1/projects", { token: ada.token, body });
    const sent = fetching.mock.calls
      .map(([, init]) => String(init?.body))
      .find((text) => text.includes("app.tenant"));
    const { queries }: { queries: { query: string; params: string[] }[] } = JSON.parse(sent ?? "{}");
    expect(queries[0]?.query).toMatch(/^select set_config\('app\.tenant', \$1, true\)/);
    expect(queries[0]?.params[0]).toContain(ada.tenant.id);
    const others = queries.slice(1).map(({ query }) => query);
    expect(others.join()).not.toContain("set_config");
  }
});

it("a bad token makes neither an object call nor a database request", async () => {
  for (const token of ["x", `${ada.token}x`, ada.token.slice(0, -1), ada.refresh_token])
    expect((await request("GET", "/v1/projects", { token })).status).toBe(401);
  expect((await request("GET", "/v1/projects")).status).toBe(401);
  expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
});

it("a request over the limit makes no database request", async () => {
  const { token } = await newTenant([{ name: "minute", limit: 1, window: 60 }]);
  expect((await request("GET", "/v1/projects", { token })).status).toBe(200);
  calls.sql = 0;
  expect((await request("GET", "/v1/projects", { token })).status).toBe(429);
  expect((await request("POST", "/v1/projects", { token, body: { name: "x" } })).status).toBe(429);
  expect(calls.sql).toBe(0);
});

it("counts: the control of the above", async () => {
  await newTenant();
  expect(calls.object).toBeGreaterThan(0);
  expect(calls.sql).toBeGreaterThan(0);
});
