import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { parseList } from "structured-headers";
import { describe, expect, it } from "vitest";
import { settings } from "../src/env.ts";
import { PLAN_POLICIES } from "./support/product/plans.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { answered, newTenant, operate, PASSWORD, request, signedUp, stage } from "./support/client.ts";

type Item = { name: string; [parameter: string]: unknown };

/** The items of a structured-field list (RFC 9651), each with its parameters. */
const fields = (response: Response, name: string): Item[] =>
  parseList(response.headers.get(name) ?? "").map(([value, parameters]) => ({
    name: String(value),
    ...Object.fromEntries(parameters),
  }));

describe.each([20, 100])("with %i requests allowed in a minute", (limit) => {
  it("admits exactly that many of limit + 50 at once, and leaves the neighbour alone", async () => {
    const [{ token }, neighbour] = await Promise.all([
      newTenant([{ name: "minute", limit, window: 60 }]),
      newTenant(),
    ]);
    const asked = Array.from({ length: limit + 50 }, () => request("GET", "/v1/tenant/limits", { token }));
    const besides = Array.from({ length: 20 }, () =>
      request("GET", "/v1/tenant/limits", { token: neighbour.token }),
    );
    const answers = await Promise.all(asked);
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(limit);
    expect(statuses.filter((status) => status === 429)).toHaveLength(50);
    for (const answer of await Promise.all(besides)) expect(answer.status).toBe(200);

    const remaining = answers.map((answer) => fields(answer, "ratelimit")[0]?.["r"]);
    expect(new Set(remaining).size).toBe(limit);
    for (const answer of answers.filter(({ status }) => status === 429)) {
      const retryAfter = Number(answer.headers.get("retry-after"));
      expect(retryAfter).toBeGreaterThan(0);
      expect(retryAfter).toBeLessThanOrEqual(60);
      expect(fields(answer, "ratelimit-policy")).toEqual([{ name: "minute", q: limit, w: 60 }]);
      expect(fields(answer, "ratelimit")).toEqual([{ name: "minute", r: 0, t: retryAfter }]);
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
      expect(await answer.json()).toMatchObject({
        type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
        status: 429,
        "violated-policies": ["minute"],
      });
    }
  });
});

it("gives a new tenant the policies of the plan solo, in the headers and under /v1/tenant/limits", async () => {
  const { token } = await newTenant(null);
  const response = await request("GET", "/v1/tenant/limits", { token });
  const policies = fields(response, "ratelimit-policy");
  expect(policies.map(({ name, q }) => [name, q])).toEqual(
    PLAN_POLICIES.solo.map(({ name, limit }) => [name, limit]),
  );
  const { data } = await response.json<{ data: Item[] }>();
  expect(data.map(({ name, limit, window, remaining }) => ({ name, limit, window, remaining }))).toEqual(
    PLAN_POLICIES.solo.map((policy) => ({ ...policy, remaining: policy.limit - 1 })),
  );
});

it("keeps the history when the plan changes", async () => {
  const { token, tenant } = await newTenant(null);
  for (let spent = 1; spent <= 5; spent++)
    await answered(200, request("GET", "/v1/tenant/limits", { token }));
  await operate(tenant.id, { plan: "startup" });
  const { data } = await answered<{ data: Item[] }>(200, request("GET", "/v1/tenant/limits", { token }));
  expect(data.find(({ name }) => name === "minute")).toMatchObject({ limit: 3000, remaining: 2994 });
  // Under a plan without a month, too.
  await operate(tenant.id, { plan: "enterprise" });
  await answered(200, request("GET", "/v1/tenant/limits", { token }));
  await operate(tenant.id, { plan: "solo" });
  const solo = await answered<{ data: Item[] }>(200, request("GET", "/v1/tenant/limits", { token }));
  expect(solo.data.find(({ name }) => name === "month")).toMatchObject({ remaining: 100_000 - 8 });
});

it("shuts a suspended tenant out at the next request, and lets it in again when it is reinstated", async () => {
  const { token, tenant, user, refresh_token } = await signedUp();
  const get = () => request("GET", "/v1/projects", { token });
  expect((await get()).status).toBe(200);
  await operate(tenant.id, { status: "suspended" });
  const refused = await get();
  expect(refused.status).toBe(403);
  expect(await refused.json()).toMatchObject({ type: "/problems/tenant_suspended" });
  const signIn = { email: user.email, password: PASSWORD };
  expect((await request("POST", "/v1/sessions", { body: signIn })).status).toBe(403);
  expect((await request("POST", "/v1/sessions/refresh", { body: { refresh_token } })).status).toBe(401);
  await operate(tenant.id, { status: "active" });
  expect((await get()).status).toBe(200);
  await answered(200, request("POST", "/v1/sessions/refresh", { body: { refresh_token } }));
});

it("reads the tenant's record again when it starts without one", async () => {
  const { token, tenant } = await newTenant();
  await stage`update control.tenants set status = 'suspended' where id = ${tenant.id}`;
  const object = tenantObject(tenant.id);
  await runInDurableObject(object, (_, state) => state.storage.delete("record"));
  await evictDurableObject(object);
  expect((await request("GET", "/v1/projects", { token })).status).toBe(403);
});

it("obeys an operator's token alone", async () => {
  const { token, tenant } = await newTenant();
  const path = `/v1/operator/tenants/${tenant.id}`;
  for (const wrong of [undefined, token, "", "x".repeat(43)])
    expect(
      (await request("PATCH", path, { token: wrong, body: { status: "suspended", reason: "x" } })).status,
    ).toBe(401);
  const own = { token: settings.OPERATOR_TOKEN };
  expect((await request("PATCH", path, { ...own, body: { status: "gone", reason: "x" } })).status).toBe(422);
  const minute = { name: "minute", limit: 10, window: 60 };
  for (const limits of [[], [{ ...minute, limit: 5e9 }], [{ ...minute, window: 1e9 }]])
    expect((await request("PATCH", path, { ...own, body: { limits, reason: "x" } })).status).toBe(422);
  const nobody = path.replace(/.{4}$/, "0000");
  expect((await request("PATCH", nobody, { ...own, body: { status: "active", reason: "x" } })).status).toBe(
    404,
  );
  expect((await request("GET", "/v1/projects", { token })).status).toBe(200);
});

it("lets an owner close the tenant, and nobody in after that", async () => {
  const { token } = await newTenant();
  expect((await request("DELETE", "/v1/tenant", { token })).status).toBe(202);
  expect((await request("GET", "/v1/projects", { token })).status).toBe(403);
});

it("goes on counting after an orderly restart, exactly", async () => {
  const { token, tenant } = await newTenant([{ name: "minute", limit: 10, window: 60 }]);
  for (let spent = 1; spent <= 4; spent++)
    await answered(200, request("GET", "/v1/tenant/limits", { token }));
  // The pool evicts once no timer is left: after the idle row, as production does.
  await evictDurableObject(tenantObject(tenant.id));
  const response = await request("GET", "/v1/tenant/limits", { token });
  expect(fields(response, "ratelimit")).toMatchObject([{ name: "minute", r: 5 }]);
});
