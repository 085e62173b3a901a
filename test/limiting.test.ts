import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { costs, refusedCost } from "../src/edge/cost.ts";
import { identify } from "../src/edge/identify.ts";
import { factory } from "../src/context.ts";
import { bindings } from "../src/env.ts";
import { answerProblem, observe } from "../src/edge/gateway.ts";
import { Tenant } from "../src/index.ts";
import { admit } from "../src/edge/admit.ts";
import type { Policy } from "../src/policy.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { IDLE_MS } from "../src/tenant/limits/ledger.ts";
import { crash } from "./support/crash.ts";
import { HOST, newTenant, PASSWORD, request, signedUp, type SignedIn } from "./support/client.ts";

const minute = (limit: number): Policy[] => [{ name: "minute", limit, window: 60 }];
const ask = async ({ token }: SignedIn) => (await request("GET", "/v1/tenant/limits", { token })).status;
const askAtOnce = (who: SignedIn, times: number) =>
  Promise.all(Array.from({ length: times }, () => ask(who)));
const count = (statuses: number[], wanted: number) => statuses.filter((status) => status === wanted).length;
const objectOf = ({ tenant }: SignedIn) => tenantObject(tenant.id);

const original = Tenant.prototype.admit;
let objectCalls = 0;
beforeEach(() => {
  objectCalls = 0;
  vi.spyOn(Tenant.prototype, "admit").mockImplementation(function counted(this: Tenant, id, all) {
    objectCalls += 1;
    return original.call(this, id, all);
  });
});
afterEach(() => vi.restoreAllMocks());

describe("1,000 requests at once", () => {
  it("are admitted exactly, for each of 20 tenants with limits of their own", async () => {
    const limits = fc.sample(fc.integer({ min: 1, max: 70 }), { numRuns: 20, seed: 20 });
    const tenants = await Promise.all(limits.map((limit) => newTenant(minute(limit))));
    const statuses = await Promise.all(tenants.map((tenant) => askAtOnce(tenant, 50)));
    expect(statuses.map((all) => count(all, 200))).toEqual(limits.map((limit) => Math.min(limit, 50)));
    expect(statuses.map((all) => count(all, 429))).toEqual(limits.map((limit) => Math.max(0, 50 - limit)));
  });
});

it("refuses a tenant that is known to be over without asking its object", async () => {
  const [over, other] = await Promise.all([newTenant(minute(5)), newTenant()]);
  await askAtOnce(over, 6);
  objectCalls = 0;
  const answers = await Promise.all(
    Array.from({ length: 50 }, () =>
      request("POST", "/v1/projects", { token: over.token, body: { name: "x" } }),
    ),
  );
  for (const answer of answers) {
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(50);
    expect(answer.headers.get("ratelimit")).toMatch(/^"minute";r=0;t=\d+$/);
  }
  expect(objectCalls).toBe(0);
  expect(await ask(other)).toBe(200);
});

it("turns nobody away from a route without a token, whatever token is sent along", async () => {
  const over = await signedUp(minute(1));
  await askAtOnce(over, 2);
  expect(await ask(over)).toBe(429);
  const body = { email: over.user.email, password: PASSWORD };
  expect((await request("POST", "/v1/sessions", { token: over.token, body })).status).toBe(201);
  expect((await request("GET", "/health", { token: over.token })).status).toBe(200);
});

it("turns a request away with the same answer whichever way it goes", async () => {
  const over = await newTenant(minute(1));
  await askAtOnce(over, 2);
  const answer = async (headers: Record<string, string>) => {
    const response = await request("GET", "/v1/projects", {
      token: over.token,
      headers: { ...headers, "x-request-id": "the-same-id" },
    });
    const told = [...response.headers].filter(
      ([name]) => !/^(access-control-.*|vary|traceparent|server-timing)$/.test(name),
    );
    return { status: response.status, told: Object.fromEntries(told), body: await response.text() };
  };
  const short = await answer({});
  expect(short.status).toBe(429);
  expect(await answer({ traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" })).toEqual(
    short,
  );
});

it("remembers where a request was refused, but no address that takes much room", async () => {
  const over = await newTenant(minute(1));
  await askAtOnce(over, 2);
  const remembered = async (path: string) => {
    expect((await request("GET", path, { token: over.token })).status).toBe(429);
    return refusedCost(new Request(`https://${HOST}${path}`));
  };
  expect(await remembered("/v1/projects")).toBe(1);
  expect(await remembered(`/v1/${"x".repeat(8000)}`)).toBeUndefined();
  expect(await remembered(`/v1/tasks?cursor=${"x".repeat(8000)}`)).toBeUndefined();
});

describe("over any order of requests and crashes", () => {
  it(
    "never more than the limit is admitted, and fewer only by a reserve each",
    { timeout: 60_000 },
    async () => {
      vi.spyOn(console, "error").mockImplementation(() => undefined);
      const [limit, reserve] = [96, 3];
      const step = fc.record({
        requests: fc.integer({ min: 1, max: 40 }),
        end: fc.constantFrom("crash while asked", "crash", "nothing"),
      });
      for (const steps of fc.sample(fc.array(step, { minLength: 3, maxLength: 10 }), {
        numRuns: 6,
        seed: 7,
      })) {
        const tenant = await newTenant(minute(limit));
        const statuses: number[] = [];
        let crashes = 0;
        for (const { requests, end } of steps) {
          const asked = askAtOnce(tenant, requests);
          if (end !== "crash while asked") statuses.push(...(await asked));
          if (end !== "nothing") await crash(tenant.tenant.id);
          if (end !== "nothing") crashes += 1;
          if (end === "crash while asked") statuses.push(...(await asked));
        }
        const rest = await askAtOnce(tenant, 2 * limit);
        statuses.push(...rest);
        const admitted = count(statuses, 200);
        const lost = count(statuses, 503);
        expect(admitted + count(statuses, 429) + lost).toBe(statuses.length);
        expect(admitted).toBeLessThanOrEqual(limit);
        expect(count(rest, 429)).toBeGreaterThan(0);
        expect(admitted + lost + crashes * reserve).toBeGreaterThanOrEqual(limit);
      }
    },
  );
});

describe("after a crash", () => {
  it("goes on with the counts that were on disk", async () => {
    const tenant = await newTenant(minute(320));
    expect(count(await askAtOnce(tenant, 100), 200)).toBe(100);
    await crash(tenant.tenant.id);
    const admitted = count(await askAtOnce(tenant, 400), 200);
    expect(admitted).toBeLessThanOrEqual(220);
    expect(admitted).toBeGreaterThanOrEqual(210);
  });
});

describe("when the object fails", () => {
  it("answers 503 with Retry-After and one log line, admits nothing and says 429 to nobody", async () => {
    const tenant = await newTenant();
    const log = vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(Tenant.prototype, "admit").mockRejectedValue(new Error("secret of the machine room"));
    const sql = vi.spyOn(globalThis, "fetch");
    const responses = await Promise.all(
      Array.from({ length: 5 }, () => request("GET", "/v1/projects", { token: tenant.token })),
    );
    for (const response of responses) {
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toBe("1");
      expect(await response.text()).not.toContain("secret");
    }
    expect(log).toHaveBeenCalledTimes(5);
    expect(sql).not.toHaveBeenCalled();
  });

  it("answers a sign-in with 503 as well: no token is given out on what the object does not know", async () => {
    const { user } = await signedUp();
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(Tenant.prototype, "learn").mockRejectedValue(new Error("down"));
    const body = { email: user.email, password: PASSWORD };
    const response = await request("POST", "/v1/sessions", { body });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await response.text()).not.toContain("access_token");
  });

  it("asks once more, with the same id, when the call may be made again", async () => {
    const tenant = await newTenant(minute(10));
    const ids: string[] = [];
    vi.spyOn(Tenant.prototype, "admit").mockImplementation(async function lossy(this: Tenant, id, all) {
      ids.push(id);
      const answers = await original.call(this, id, all);
      // The object has decided, and its answer is lost on the way.
      if (ids.length === 1) throw Object.assign(new Error("lost"), { retryable: true });
      return answers;
    });
    const response = await request("GET", "/v1/tenant/limits", { token: tenant.token });
    expect(response.status).toBe(200);
    expect(ids).toHaveLength(2);
    expect(ids[0]).toBe(ids[1]);
    expect(response.headers.get("ratelimit")).toContain('"minute";r=9;');
  });

  it("does not ask again when it is overloaded", async () => {
    const tenant = await newTenant();
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const admits = vi
      .spyOn(Tenant.prototype, "admit")
      .mockRejectedValue(Object.assign(new Error("overloaded"), { retryable: true, overloaded: true }));
    expect(await ask(tenant)).toBe(503);
    expect(admits).toHaveBeenCalledTimes(1);
  });

  it("does not answer what it could not write down", async () => {
    const tenant = await newTenant(minute(10));
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    await runInDurableObject(objectOf(tenant), (_, state) => {
      vi.spyOn(state.storage, "put").mockRejectedValue(new Error("disk full"));
    });
    const timers = vi.spyOn(globalThis, "setTimeout");
    expect(await ask(tenant)).toBe(503);
    // Nobody need call again for it to be tried again: a timer is set for when the tenant is idle.
    expect(timers.mock.calls.filter(([, ms = 0]) => ms > 5000 && ms <= IDLE_MS)).toHaveLength(1);
    await runInDurableObject(objectOf(tenant), () => vi.restoreAllMocks());
    expect(await ask(tenant)).toBe(200);
  });
});

describe("with the optional guard by tenant", () => {
  beforeEach(() => {
    bindings.TENANT_GUARD = bindings.FLOOD_GUARD;
  });
  afterEach(() => {
    delete bindings.TENANT_GUARD;
  });

  it("refuses a flood before the object is asked", async () => {
    const tenant = await newTenant(minute(1000));
    objectCalls = 0;
    // The binding counts in minutes of the wall clock: a flood that begins late in one gets two minutes' worth.
    const statuses = await askAtOnce(tenant, 610);
    const passed = count(statuses, 200);
    expect(passed).toBeGreaterThanOrEqual(300);
    expect(passed).toBeLessThanOrEqual(600);
    expect(count(statuses, 429)).toBe(610 - passed);
    expect(objectCalls).toBe(passed);
  });
});

describe("a route with a weight", () => {
  const weighing = factory
    .createApp()
    .use(observe, identify, admit)
    .get("/bulk", costs(4), (c) => c.json(c.var.standings))
    .get("/plain", (c) => c.json(c.var.standings))
    .get("/huge", costs(11), (c) => c.json(c.var.standings))
    .get(
      "/rows",
      costs((c) => Number(c.req.query("rows"))),
      (c) => c.json(c.var.standings),
    )
    .onError(answerProblem);

  let token: string;
  beforeEach(async () => {
    ({ token } = await newTenant(minute(10)));
  });
  const go = async (path: string) => {
    const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
    const headers = { authorization: `Bearer ${token}` };
    const response = await weighing.request(path, { headers }, env, context);
    return [response.status, response.headers.get("ratelimit")?.match(/r=(\d+)/)?.[1]];
  };

  it("costs that much, or nothing when it is refused", async () => {
    expect(await go("/bulk")).toEqual([200, "6"]);
    expect(await go("/plain")).toEqual([200, "5"]);
    expect(await go("/bulk")).toEqual([200, "1"]);
    expect(await go("/bulk")).toEqual([429, "1"]);
    expect(await go("/plain")).toEqual([200, "0"]);
    expect(await go("/huge")).toEqual([400, "0"]);
  });

  it("may cost what the request says, and 1 when that is no number of units", async () => {
    expect(await go("/rows?rows=4")).toEqual([200, "6"]);
    expect(await go("/rows?rows=7")).toEqual([429, "6"]);
    // What was refused for 7 is not remembered for those that cost less.
    expect(await go("/rows?rows=2")).toEqual([200, "4"]);
    for (const [at, rows] of ["0", "-3", "1.5", "x"].entries())
      expect(await go(`/rows?rows=${rows}`)).toEqual([200, String(3 - at)]);
    expect(await go("/rows?rows=11")).toEqual([400, "0"]);
  });
});
