import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Readings } from "../src/http/readings.ts";
import { countCalls } from "./support/calls.ts";
import {
  answered,
  newMember,
  newTenant,
  request,
  type RequestOptions,
  type Row,
  type SignedIn,
} from "./support/client.ts";
import { documented } from "./support/contract.ts";
import { exchangeForm } from "./support/issuer.ts";

const KIB = 1024;
let owner: SignedIn;
beforeAll(async () => {
  owner = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

/** A body of no declared length, of which no more arrives than a test sends. */
function slowBody() {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  return {
    body: readable,
    send: (bytes: Uint8Array | string) =>
      writer.write(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes),
    end: () => writer.close(),
    breakOff: () => writer.abort(new Error("the client has gone")),
  };
}

const JSON_TYPE = { "content-type": "application/json" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };

describe("a body that never ends", () => {
  it.each([
    ["at a path that there is not", "POST", "/nowhere", 404],
    ["at a path under /v1 that there is not", "POST", "/v1/nowhere", 401],
    ["where a token is missing", "POST", "/v1/projects", 401],
    ["by a method that the path does not take", "PUT", "/v1/projects", 405],
    ["where the operator's token is missing", "PATCH", `/v1/operator/tenants/${crypto.randomUUID()}`, 401],
  ])("%s is answered without being read", async (_, method, path, status) => {
    expect((await request(method, path, { body: slowBody().body })).status).toBe(status);
  });

  it("is answered without being read where its token is void, or allows too little", async () => {
    const viewer = await newMember(owner.tenant.id, "viewer");
    const post = (token: string) => request("POST", "/v1/projects", { token, body: slowBody().body });
    expect((await post(`${owner.token}x`)).status).toBe(401);
    expect((await post(viewer.token)).status).toBe(403);
  });

  it("is answered without being read over a limit", async () => {
    const { token } = await newTenant([{ name: "minute", limit: 1, window: 60 }]);
    expect((await request("GET", "/v1/tenant/limits", { token })).status).toBe(200);
    expect((await request("POST", "/v1/projects", { token, body: slowBody().body })).status).toBe(429);
  });

  it("is answered without being read where it says that it is too large, or is of another kind", async () => {
    const post = (headers: Record<string, string>, path = "/v1/sessions") =>
      request("POST", path, { body: slowBody().body, headers });
    expect((await post({ ...JSON_TYPE, "content-length": String(256 * KIB + 1) })).status).toBe(413);
    expect((await post({ "content-type": "text/plain" })).status).toBe(415);
    expect((await post(JSON_TYPE, "/v1/token")).status).toBe(415);
  });

  it(
    "is answered without being read where an address sends too many of them without a token",
    { timeout: 60_000 },
    async () => {
      const headers = { "cf-connecting-ip": crypto.randomUUID() };
      const once = async (body: unknown) =>
        (await request("POST", "/v1/sessions/refresh", { body, headers })).status;
      const afterMany = async () => {
        while ((await once({})) !== 429);
        return once(slowBody().body);
      };
      // The guard counts by the minute, and one may begin just before the last request.
      expect([await afterMany(), await afterMany()]).toContain(429);
    },
  );

  it.each([
    ["in JSON", "/v1/sessions", JSON_TYPE],
    ["in a form", "/v1/token", FORM_TYPE],
  ])("%s is refused once it is longer than 256 KiB", async (_, path, headers) => {
    const slow = slowBody();
    const answer = request("POST", path, { body: slow.body, headers });
    for (let sent = 0; sent < 256; sent += 64) await slow.send(new Uint8Array(64 * KIB));
    // Nobody takes what follows.
    slow.send(new Uint8Array(1)).catch(() => {});
    expect((await answer).status).toBe(413);
  });

  it("is refused after ten seconds, in JSON and in a form", async () => {
    const answers = (
      [
        ["/v1/projects", JSON_TYPE],
        ["/v1/token", FORM_TYPE],
      ] as const
    ).map(async ([path, headers]) => {
      const slow = slowBody();
      const answer = request("POST", path, { token: owner.token, body: slow.body, headers });
      await slow.send('{"name":');
      expect(await answered(408, answer)).toMatchObject({ type: "/problems/body_timeout" });
    });
    await Promise.all(answers);
  });
});

it("a body that its client breaks off is no error of the Worker's", async () => {
  const errors = vi.spyOn(console, "error");
  for (const [path, headers] of [
    ["/v1/projects", JSON_TYPE],
    ["/v1/token", FORM_TYPE],
  ] as const) {
    const slow = slowBody();
    const answer = request("POST", path, { token: owner.token, body: slow.body, headers });
    await slow.send('{"name":');
    await slow.breakOff();
    expect((await answer).status).toBeLessThan(500);
  }
  expect(errors).not.toHaveBeenCalled();
});

it("a body in any number of chunks is read whole", async () => {
  const name = "Dach 🏠";
  const bytes = new TextEncoder().encode(JSON.stringify({ name, description: "x".repeat(9_000) }));
  for (const size of [1_000, 4_096, 5_000, 20_000]) {
    const slow = slowBody();
    const answer = request("POST", "/v1/projects", { token: owner.token, body: slow.body });
    for (let at = 0; at < bytes.length; at += size) await slow.send(bytes.slice(at, at + size));
    await slow.end();
    expect(await answered(201, answer)).toMatchObject({ name });
  }
});

it("no call is made for a body that is refused", async () => {
  const calls = countCalls();
  const body = new Uint8Array(256 * KIB + 1);
  expect((await request("POST", "/v1/sessions", { body })).status).toBe(413);
  expect((await request("POST", "/v1/token", { body: exchangeForm("x") })).status).toBe(415);
  expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
});

it("no more than 16 MiB of bodies are kept at once without a token, while those with one are read", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  const large = () => {
    const slow = slowBody();
    const answer = request("POST", "/v1/sessions", { body: slow.body, headers: JSON_TYPE });
    // Of those that are refused, nobody takes it.
    const sent = slow.send(new Uint8Array(250 * KIB)).catch(() => {});
    return { ...slow, answer, sent };
  };
  const bodies = Array.from({ length: 80 }, large);
  const refused = await Promise.race(bodies.map(({ answer }) => answer));
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await answered(503, refused)).toMatchObject({ type: "/problems/unavailable" });
  const body = { name: "x".repeat(200), description: "x".repeat(10_000) };
  expect((await request("POST", "/v1/projects", { token: owner.token, body })).status).toBe(201);

  // Those that were kept are no JSON.
  for (const { end } of bodies) end().catch(() => {});
  const statuses = await Promise.all(bodies.map(async ({ answer }) => (await answer).status));
  expect(new Set(statuses)).toEqual(new Set([400, 503]));
  const next = large();
  await next.sent;
  await next.end();
  expect((await next.answer).status).toBe(400);
});

it("a body whose request was ended in the middle counts no longer than it may take", () => {
  const readings = new Readings(100, 1_000);
  const lost = readings.start(0);
  expect(readings.mayKeep(lost, 80, 0)).toBe(true);
  const next = readings.start(500);
  expect(readings.mayKeep(next, 30, 500)).toBe(false);
  expect(readings.mayKeep(next, 20, 999)).toBe(true);
  expect(readings.mayKeep(next, 80, 1_000)).toBe(true);
  expect(readings.mayKeep(next, 1, 1_000)).toBe(false);
  // What was forgotten gives nothing back.
  readings.end(lost);
  expect(readings.mayKeep(next, 1, 1_000)).toBe(false);
  readings.end(next);
  expect(readings.mayKeep(readings.start(1_000), 100, 1_000)).toBe(true);
});

describe("a POST whose body has no member that is required", () => {
  const NONE: Record<string, RequestOptions> = {
    "no body": {},
    "a body of no bytes": { body: new Uint8Array(), headers: { "content-type": "", "content-length": "0" } },
    "a body of no bytes that says no length": {
      body: new ReadableStream({ start: (to) => to.close() }),
      headers: { "content-type": "" },
    },
    "a form of no bytes": { body: new Uint8Array(), headers: { ...FORM_TYPE, "content-length": "0" } },
  };

  it.each(Object.entries(NONE))("takes %s for {}", async (_, none) => {
    const { token } = await newTenant();
    const body = { name: "k", scopes: ["projects:read"] };
    const { id } = await answered<Row>(201, request("POST", "/v1/api-keys", { token, body }));
    await answered(201, request("POST", `/v1/api-keys/${id}/rotate`, { token, ...none }));
  });

  it("takes none for {} on every route that /openapi.json says so of, and on no other", async () => {
    const { token } = await newTenant();
    const posts = (await documented()).filter(({ method, requestBody }) => method === "POST" && requestBody);
    const answerTo = async (path: string, options: RequestOptions) => {
      const { status, code, errors } = await (
        await request("POST", path.replace("{id}", crypto.randomUUID()), { token, ...options })
      ).json<{ status: number; code: string; errors?: unknown }>();
      return { status, code, errors };
    };
    const without = posts.filter(({ requestBody }) => requestBody?.required === false);
    expect(without.length).toBeGreaterThan(1);
    for (const { path } of without) {
      const ofNothing = await answerTo(path, { body: {} });
      expect(await answerTo(path, {})).toEqual(ofNothing);
      expect(await answerTo(path, { body: "x", headers: { "content-type": "text/plain" } })).toMatchObject({
        status: 415,
      });
      expect(await answerTo(path, { body: Uint8Array.of(1), headers: { "content-type": "" } })).toMatchObject(
        { status: 415 },
      );
    }
    for (const path of ["/v1/projects", "/v1/sessions"])
      expect(await answerTo(path, {})).toMatchObject({ status: 400, code: "invalid_json" });
  });
});
