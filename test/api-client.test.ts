import { exports } from "cloudflare:workers";
import createClient from "openapi-fetch";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import {
  createApiClient,
  isProblem,
  newIdempotencyKey,
  pages,
  ProblemError,
  unwrap,
  type ApiClientOptions,
  type SessionOf,
} from "../src/client/client.ts";
import type { paths } from "./product/api.d.ts";
import { documented } from "./support/contract.ts";
import { settled } from "./support/workers/jobs.ts";
import {
  anotherSession,
  answered,
  newMember,
  newTenant,
  PASSWORD,
  request,
  signedUp,
  type SignedIn,
  stage,
  storedKey,
} from "./support/client.ts";

// src/client/client.ts as a front end has it, against the whole Worker.

type Session = SessionOf<paths>;
type Options = ApiClientOptions<paths>;

let ada: SignedIn;
beforeAll(async () => {
  ada = await newTenant();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A client, the requests that it has sent, and the sessions that it has stored. */
function newClient(options: Options = {}, fetch = toWorker) {
  const sent: Request[] = [];
  const stored: (Session | null)[] = [];
  const client = createApiClient<paths>({
    baseUrl: "https://api.partywall.test",
    headers: { "cf-connecting-ip": crypto.randomUUID() },
    onSession: (session) => void stored.push(session),
    fetch: (asked) => {
      sent.push(asked);
      return fetch(asked);
    },
    ...options,
  });
  const refreshes = () => sent.filter(({ url }) => url.endsWith("/v1/sessions/refresh")).length;
  return { client, sent, stored, refreshes };
}

const toWorker = (asked: Request): Promise<Response> => exports.default.fetch(asked);

/** Gives these answers first, and then the Worker's; `lost` is the Worker's answer, lost on the way. */
function behind(...answers: (Response | Error | "lost")[]) {
  return async (asked: Request): Promise<Response> => {
    const answer = answers.shift();
    if (answer instanceof Response) return answer;
    if (answer instanceof Error) throw answer;
    const response = await toWorker(asked);
    if (answer === "lost") throw new TypeError("The connection was lost.");
    return response;
  };
}

const refusal = (status: number, retryAfter = "0") =>
  new Response(null, { status, headers: { "retry-after": retryAfter } });

/** Timers of the client's that only move when the test says so. */
function stopTime() {
  vi.spyOn(Math, "random").mockReturnValue(0);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: Date.now() });
}

/** Makes the client's pauses 0 ms long: a pause of t is t * (1 + random / 4). */
const skipPauses = () => vi.spyOn(Math, "random").mockReturnValue(-4);

/** Returns once the client waits for a timer. */
async function paused(): Promise<void> {
  while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve));
}

const times = <T>(count: number, make: () => Promise<T>) => Promise.all(Array.from({ length: count }, make));

describe("sessions", () => {
  it("refreshes once for 100 requests at once after the token has expired, and stores the new pair", async () => {
    const session = await anotherSession(ada);
    const { client, sent, stored, refreshes } = newClient({ session });
    expect((await client.GET("/v1/me")).response.status).toBe(200);
    expect(refreshes()).toBe(0);

    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + session.expires_in * 1000 + 1 });
    const answers = await times(100, () => client.GET("/v1/me"));
    expect(answers.filter(({ response }) => response.status === 200)).toHaveLength(100);
    expect(refreshes()).toBe(1);
    expect(sent).toHaveLength(1 + 1 + 100);
    expect(stored).toEqual([client.getSession()]);
    expect(stored[0]).toMatchObject({ session: { id: session.session.id }, user: ada.user });
    expect(stored[0]?.refresh_token).not.toBe(session.refresh_token);
  });

  it("refreshes 30 seconds before the token expires, by the time that it was stored with", async () => {
    const { client, stored, refreshes } = newClient();
    await client.setSession(await anotherSession(ada));
    const { client: later, refreshes: refreshesLater } = newClient({ session: stored[0] ?? null });
    const expiry = stored[0]?.expires_at_ms ?? 0;
    vi.useFakeTimers({ toFake: ["Date"], now: expiry - 30_001 });
    await unwrap(later.GET("/v1/me"));
    expect(refreshesLater()).toBe(0);
    vi.setSystemTime(expiry - 30_000);
    await unwrap(later.GET("/v1/me"));
    expect(refreshesLater()).toBe(1);
    expect(refreshes()).toBe(0);
  });

  it("refreshes once and repeats after 401, also a POST without a key", async () => {
    const session = await newMember(ada.tenant.id, "member");
    const { client, refreshes, sent } = newClient({ session });
    // A new role voids the access tokens that were made before.
    await answered(
      200,
      request("PATCH", `/v1/members/${session.user.id}`, { token: ada.token, body: { role: "admin" } }),
    );
    const [made, ...answers] = await Promise.all([
      client.POST("/v1/api-keys", { body: { name: "CI", scopes: ["audit:read"] } }),
      ...Array.from({ length: 20 }, () => client.GET("/v1/me")),
    ]);
    expect(made.data?.key).toMatch(/^pw_/);
    expect(answers.map(({ response }) => response.status)).toEqual(answers.map(() => 200));
    expect(refreshes()).toBe(1);
    expect(sent).toHaveLength(2 * 21 + 1);
  });

  it("tells every request when the refresh is refused, forgets the session, and can sign in again", async () => {
    const session = await signedUp();
    const { client, stored, refreshes } = newClient({ session });
    await answered(204, request("DELETE", "/v1/sessions", { token: session.token }));
    const problems = await times(20, () => unwrap(client.GET("/v1/me")).catch((error: unknown) => error));
    for (const problem of problems)
      expect(problem).toMatchObject({
        name: "ProblemError",
        code: "unauthenticated",
        detail: "The refresh token has expired, was used before, or its session has ended. Sign in again.",
      });
    expect(refreshes()).toBe(1);
    expect(stored).toEqual([null]);
    expect(client.getSession()).toBeNull();

    expect((await client.GET("/v1/me")).error?.status).toBe(401);
    expect(refreshes()).toBe(1);
    const body = { email: session.user.email, password: PASSWORD };
    await client.setSession(await unwrap(client.POST("/v1/sessions", { body })));
    expect(await unwrap(client.GET("/v1/me"))).toMatchObject({ tenant: { slug: session.tenant.slug } });
  });

  it("keeps the session when the refresh fails for another reason", async () => {
    const session = { ...(await anotherSession(ada)), expires_at_ms: 0 };
    const { client, stored } = newClient(
      { session, maxRepeats: 0 },
      behind(refusal(503), new TypeError("no")),
    );
    expect((await client.GET("/v1/me")).response.status).toBe(503);
    await expect(client.GET("/v1/me")).rejects.toThrow(TypeError);
    expect(stored).toEqual([]);
    expect((await client.GET("/v1/me")).response.status).toBe(200);
  });

  it("repeats a refresh whose answer was lost", async () => {
    const session = { ...(await anotherSession(ada)), expires_at_ms: 0 };
    skipPauses();
    const { client, refreshes } = newClient({ session }, behind("lost"));
    expect((await client.GET("/v1/me")).response.status).toBe(200);
    expect(refreshes()).toBe(2);
  });

  it("takes the session that another tab has stored instead of refreshing", async () => {
    const session = { ...(await anotherSession(ada)), expires_at_ms: 0 };
    const first = newClient({ session });
    await unwrap(first.client.GET("/v1/me"));
    const second = newClient({ session, storedSession: () => first.client.getSession() });
    await unwrap(second.client.GET("/v1/me"));
    expect([first.refreshes(), second.refreshes()]).toEqual([1, 0]);

    await first.client.setSession(null);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + session.expires_in * 1000 });
    expect((await second.client.GET("/v1/me")).response.status).toBe(401);
    expect(second.refreshes()).toBe(0);
  });

  it("does not put a refreshed session in place of one that was set meanwhile", async () => {
    const old = { ...(await anotherSession(ada)), expires_at_ms: 0 };
    const next = await anotherSession(ada);
    const setNext = async (asked: Request) => {
      if (asked.url.endsWith("/refresh")) await client.setSession(next);
      return toWorker(asked);
    };
    const { client, stored } = newClient({ session: old }, setNext);
    expect((await client.GET("/v1/me")).response.status).toBe(200);
    expect(stored).toEqual([client.getSession()]);
    expect(stored).toMatchObject([{ access_token: next.access_token }]);
  });

  it("sends an API key, and refreshes nothing when it is refused", async () => {
    const key = await storedKey(ada);
    const { client } = newClient({ apiKey: key.text });
    expect(await unwrap(client.GET("/v1/members"))).toMatchObject({ next_cursor: null });
    await answered(204, request("DELETE", `/v1/api-keys/${key.id}`, { token: ada.token }));
    const { client: refused, sent } = newClient({ apiKey: key.text });
    expect((await refused.GET("/v1/members")).response.status).toBe(401);
    expect(sent).toHaveLength(1);
  });

  it("sends the token to exactly the POST routes that take one", async () => {
    const posts = (await documented()).filter(({ method }) => method === "POST");
    const told = await Promise.all(
      posts.map(async ({ path }) => {
        const { client, sent } = newClient({ session: await anotherSession(ada) });
        // The paths of the tests' product are not in the types.
        const POST = client.POST as unknown as (path: string, init: object) => Promise<unknown>;
        await POST(path, { body: {}, params: { path: { id: crypto.randomUUID() } } });
        return [path, sent.some(({ headers }) => headers.has("authorization"))];
      }),
    );
    // An export is among them: the timers that it sets are not for later tests to move.
    await settled();
    expect(told.length).toBeGreaterThan(10);
    expect(told).toEqual(posts.map(({ path, security }) => [path, security.length > 0]));
  });
});

describe("repeats", () => {
  it("waits as long as a 503 and a 429 say, in seconds and as a date", async () => {
    stopTime();
    const date = new Date(Math.ceil(Date.now() / 1000) * 1000 + 5_000);
    const { client, sent } = newClient(
      { apiKey: (await storedKey(ada)).text },
      behind(refusal(429, date.toUTCString()), refusal(503, "7")),
    );
    const call = client.GET("/v1/members");
    await paused();
    await vi.advanceTimersByTimeAsync(date.getTime() - Date.now() - 1);
    expect(sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    await paused();
    await vi.advanceTimersByTimeAsync(6_999);
    expect(sent).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect((await call).response.status).toBe(200);
    expect(sent).toHaveLength(3);
  });

  it("waits 250 ms after a network error, then twice as long each time, and gives up after three repeats", async () => {
    stopTime();
    const failure = new TypeError("no network");
    const { client, sent } = newClient({}, () => Promise.reject(failure));
    const call = client.GET("/v1/me").catch((error: unknown) => error);
    for (const [count, ms] of [250, 500, 1_000].entries()) {
      await paused();
      await vi.advanceTimersByTimeAsync(ms - 1);
      expect(sent).toHaveLength(count + 1);
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(await call).toBe(failure);
    expect(sent).toHaveLength(4);
  });

  it("does not wait when the answer says a time beyond the bound, or all waits together pass it", async () => {
    stopTime();
    const { client, sent } = newClient({}, () => Promise.resolve(refusal(429, "31")));
    expect((await client.GET("/v1/me")).response.status).toBe(429);
    expect(sent).toHaveLength(1);

    const patient = newClient({}, () => Promise.resolve(refusal(503, "20")));
    const call = patient.client.GET("/v1/me");
    await paused();
    await vi.advanceTimersByTimeAsync(20_000);
    expect((await call).response.status).toBe(503);
    expect(patient.sent).toHaveLength(2);
  });

  it.each([
    ["GET", {}, 4],
    ["HEAD", {}, 4],
    ["PUT", {}, 4],
    ["DELETE", {}, 4],
    ["PATCH", {}, 1],
    ["PATCH", { "if-match": '"1"' }, 4],
    ["POST", {}, 1],
    ["POST", newIdempotencyKey(), 4],
  ])("sends a %s with %o that is answered 503 %i times", async (method, headers, count) => {
    const { client, sent } = newClient({}, () => Promise.resolve(refusal(503)));
    const call = client.request as unknown as (
      method: string,
      path: string,
      init: object,
    ) => Promise<{ response: Response }>;
    const { response } = await call(method, "/v1/tenant", { headers });
    expect(response.status).toBe(503);
    expect(sent).toHaveLength(count);
  });

  it.each([
    [409, { "retry-after": "0" }, 4],
    [409, {}, 1],
    [500, { "retry-after": "0" }, 1],
    [502, {}, 1],
  ])("sends a GET that is answered %i with %o %i times", async (status, headers, count) => {
    const { client, sent } = newClient({}, () => Promise.resolve(new Response(null, { status, headers })));
    expect((await client.GET("/v1/me")).response.status).toBe(status);
    expect(sent).toHaveLength(count);
  });

  it("repeats a POST with a key whose answer was lost, which makes one row; without a key it is not repeated", async () => {
    const session = await newTenant();
    const body = { name: "CI", scopes: ["audit:read" as const] };
    const { client, sent } = newClient({ session }, behind("lost"));
    const header = newIdempotencyKey();
    skipPauses();
    const { data, response } = await client.POST("/v1/api-keys", { body, params: { header } });
    expect(response.headers.get("idempotency-replayed")).toBe("true");
    const key = header["Idempotency-Key"];
    expect(sent.map(({ headers }) => headers.get("idempotency-key"))).toEqual([key, key]);
    expect(await unwrap(client.GET("/v1/api-keys"))).toMatchObject({ data: [{ id: data?.id }] });

    const unkeyed = newClient({ session }, behind("lost"));
    await expect(unkeyed.client.POST("/v1/api-keys", { body })).rejects.toThrow("The connection was lost.");
    expect(unkeyed.sent).toHaveLength(1);
    expect((await unwrap(client.GET("/v1/api-keys"))).data).toHaveLength(2);
  });

  it("does not repeat a request whose body is a stream", async () => {
    const { client, sent } = newClient({ session: ada }, behind(refusal(503)));
    const send = () =>
      client.POST("/v1/api-keys", {
        body: { name: "CI", scopes: ["audit:read"] },
        bodySerializer: (body) => new Blob([JSON.stringify(body)]).stream(),
        params: { header: newIdempotencyKey() },
        duplex: "half",
      });
    expect((await send()).response.status).toBe(503);
    expect(sent).toHaveLength(1);
    expect((await send()).response.status).toBe(201);
  });

  it("rejects at once when the caller aborts a wait, and leaves no timer behind", async () => {
    stopTime();
    const { client, sent } = newClient({}, behind(refusal(503, "20")));
    const controller = new AbortController();
    const call = client.GET("/v1/me", { signal: controller.signal }).catch((error: unknown) => error);
    await paused();
    const reason = new Error("The user has left.");
    controller.abort(reason);
    expect(await call).toBe(reason);
    expect(vi.getTimerCount()).toBe(0);
    expect(sent).toHaveLength(1);
  });

  it("lets a caller leave while the others wait for a refresh", async () => {
    const session = { ...(await anotherSession(ada)), expires_at_ms: 0 };
    const gate = Promise.withResolvers<void>();
    const { client } = newClient({ session }, async (asked) => {
      if (asked.url.endsWith("/refresh")) await gate.promise;
      return toWorker(asked);
    });
    const controller = new AbortController();
    const stays = client.GET("/v1/me");
    const leaves = client.GET("/v1/me", { signal: controller.signal });
    controller.abort(new Error("The user has left."));
    await expect(leaves).rejects.toThrow("The user has left.");
    gate.resolve();
    expect((await stays).response.status).toBe(200);
  });
});

describe("lists", () => {
  it("reads 1,000 rows, each once, in ten requests", async () => {
    const session = await newTenant();
    const made = await stage`
      insert into invitations (tenant_id, id, email, role, token_hash, invited_by, expires_at)
      select ${session.tenant.id}, gen_random_uuid(), n || '@rows.test', 'viewer', '\\x00', ${session.user.id},
        now() + interval '1 day' from generate_series(1, 1000) n returning id`;
    const { client, sent } = newClient({ session });
    const ids: string[] = [];
    for await (const { id } of pages(client, "/v1/invitations")) ids.push(id);
    expect(ids.toSorted()).toEqual(made.map(({ id }) => String(id)).toSorted());
    expect(sent).toHaveLength(10);
  });

  it("takes a query, stops when the reader does, and throws problems", async () => {
    const session = await newTenant();
    for (const name of ["Roof", "Cellar", "Garden"])
      await answered(
        201,
        request("POST", "/v1/api-keys", { token: session.token, body: { name, scopes: ["audit:read"] } }),
      );
    const { client, sent } = newClient({ session });
    const names: string[] = [];
    for await (const { name } of pages(client, "/v1/api-keys", { query: { limit: 1 } })) {
      names.push(name);
      if (name === "Cellar") break;
    }
    expect(names).toEqual(["Garden", "Cellar"]);
    expect(sent).toHaveLength(2);
    const rows = pages(client, "/v1/api-keys", { query: { limit: 101 } });
    await expect(rows.next()).rejects.toMatchObject({ code: "invalid_input" });
  });
});

describe("problems", () => {
  it("throws a problem with its code, what is not valid, and the request id", async () => {
    const { client } = newClient({ session: ada });
    const problem = await unwrap(client.PATCH("/v1/tenant", { body: { name: "" } })).catch(
      (error: unknown) => error,
    );
    if (!isProblem<paths>(problem)) throw new Error("no problem was thrown");
    expect(problem).toBeInstanceOf(ProblemError);
    expect(problem).toMatchObject({
      code: "invalid_input",
      status: 422,
      title: "The input is not valid",
      errors: [{ pointer: "/name", detail: expect.any(String) }],
      instance: problem.response.headers.get("x-request-id"),
    });
    expect(problem.message).toBe("The input is not valid: /name: Expected at least 1 character.");
    const known: (typeof problem.code)[] = ["quota_exceeded", "too_many_attempts", "unknown"];
    expect(known).not.toContain(problem.code);
    // @ts-expect-error The checker knows the codes.
    expect(problem.code === "invalid_inptu").toBe(false);
  });

  it("has what a problem says beyond what all say, such as the tenants to choose from", async () => {
    const { user, tenant } = await signedUp();
    const body = { email: user.email, password: PASSWORD };
    const second = { name: "Second", slug: `${tenant.slug}-2` };
    await answered(201, request("POST", "/v1/signup", { body: { ...body, tenant: second } }));
    const { client } = newClient();
    const problem = await unwrap(client.POST("/v1/sessions", { body })).catch((error: unknown) => error);
    if (!isProblem<paths>(problem)) throw new Error("no problem was thrown");
    expect(problem.document.tenants?.map(({ slug }) => slug)).toEqual([tenant.slug, second.slug]);
    expect(problem.document.challenge).toBeUndefined();
  });

  it("reads the answer of a proxy as a problem too", async () => {
    const page = new Response("<html>", { status: 502, headers: { "x-request-id": "from-a-proxy" } });
    const { client } = newClient({}, () => Promise.resolve(page));
    await expect(unwrap(client.GET("/v1/me"))).rejects.toMatchObject({
      code: "unknown",
      status: 502,
      message: "The answer was 502",
      instance: "from-a-proxy",
    });
  });

  it("unwraps what a plain client of openapi-fetch answers, and nothing from 204", async () => {
    const session = await anotherSession(ada);
    const plain = createClient<paths>({
      baseUrl: "https://api.partywall.test",
      fetch: toWorker,
      headers: { authorization: `Bearer ${session.token}` },
    });
    const me = await unwrap(plain.GET("/v1/me"));
    expect(me.tenant.slug).toBe(ada.tenant.slug);
    const nothing: undefined = await unwrap(
      plain.DELETE("/v1/sessions/{id}", { params: { path: { id: "current" } } }),
    );
    expect(nothing).toBeUndefined();
  });
});
