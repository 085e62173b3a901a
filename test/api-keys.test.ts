import { runInDurableObject } from "cloudflare:test";
import { neonConfig } from "@neondatabase/serverless";
import * as v from "valibot";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { makeApiKey } from "../src/identity/api-key.ts";
import { Tenant } from "../src/index.ts";
import { KeyRecord } from "../src/tenant/record.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { countCalls } from "./support/calls.ts";
import {
  answered,
  login,
  newMember,
  newProject,
  newTenant,
  request,
  type SignedIn,
  stage,
} from "./support/client.ts";

type ApiKey = {
  id: string;
  name: string;
  hint: string;
  expires_at: string | null;
  last_used_at: string | null;
};
type Made = ApiKey & { key: string };

const MISSING = "01234567-89ab-7cde-8f01-23456789abcd";
const identity = stage;
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();

let ada: SignedIn;
let bob: SignedIn;
beforeAll(async () => {
  [ada, bob] = await Promise.all([newTenant(), newTenant()]);
});
afterEach(() => {
  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  vi.restoreAllMocks();
});

const make = ({ token }: SignedIn, body: object = {}) =>
  request("POST", "/v1/api-keys", { token, body: { name: "CI", scopes: ["projects:read"], ...body } });
const newKey = (of: SignedIn, body?: object) => answered<Made>(201, make(of, body));
async function list({ token }: SignedIn): Promise<ApiKey[]> {
  const { data } = await answered<{ data: ApiKey[] }>(200, request("GET", "/v1/api-keys", { token }));
  return data;
}
const rotate = ({ token }: SignedIn, id: string, body?: object) =>
  request("POST", `/v1/api-keys/${id}/rotate`, { token, body });
const remove = ({ token }: SignedIn, id: string) => request("DELETE", `/v1/api-keys/${id}`, { token });
const show = ({ token }: SignedIn, id: string) => request("GET", `/v1/api-keys/${id}`, { token });
const use = async (key: string) => (await request("GET", "/v1/projects", { token: key })).status;

describe("a key", () => {
  it("is shown once, listed without its text, and works until it is revoked", async () => {
    const owner = await newTenant();
    const response = await make(owner, { name: " CI ", scopes: ["projects:read", "tasks:write"] });
    const made = await answered<Made>(201, response);
    const { key, ...shown } = made;
    expect(shown).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: "CI",
      scopes: ["projects:read", "tasks:write"],
      hint: key.slice(-4),
      created_by: owner.user.id,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      expires_at: null,
      last_used_at: null,
    });
    expect(key).toMatch(/^pw_[a-z]+_[0-9A-Za-z]{71}$/);
    expect(response.headers.get("location")).toBe(`/v1/api-keys/${made.id}`);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await answered(200, show(owner, made.id))).toEqual(shown);
    expect(await answered(200, request("GET", "/v1/api-keys", { token: owner.token }))).toEqual({
      data: [shown],
      next_cursor: null,
    });

    expect(await use(key)).toBe(200);
    await answered(204, remove(owner, made.id));
    expect(await use(key)).toBe(401);
    expect((await show(owner, made.id)).status).toBe(404);
  });

  it("may what its scopes say, and nothing else", async () => {
    const project = await newProject(ada.token);
    const { key } = await newKey(ada, { scopes: ["projects:read", "tasks:write"] });
    const asked = async (method: string, path: string, body?: object) =>
      (await request(method, path, { token: key, body })).status;
    expect(await asked("GET", `/v1/projects/${project.id}`)).toBe(200);
    expect(await asked("POST", `/v1/projects/${project.id}/tasks`, { title: "Tiles" })).toBe(201);
    expect(await asked("POST", "/v1/projects", { name: "Roof" })).toBe(403);
    expect(await asked("DELETE", `/v1/projects/${project.id}`)).toBe(403);
    expect(await asked("GET", "/v1/tasks")).toBe(403);
    for (const path of ["/v1/api-keys", "/v1/sessions", "/v1/tenant"])
      expect(await asked("GET", path)).toBe(403);
    const refused = await request("POST", "/v1/projects", { token: key, body: { name: "Roof" } });
    expect(refused.headers.get("www-authenticate")).toContain('scope="projects:write"');
  });

  it("makes no key", async () => {
    const { key, id } = await newKey(ada, { scopes: ["projects:read", "audit:read"] });
    for (const [method, path] of [
      ["POST", "/v1/api-keys"],
      ["POST", `/v1/api-keys/${id}/rotate`],
      ["DELETE", `/v1/api-keys/${id}`],
    ] as const)
      expect((await request(method, path, { token: key, body: {} })).status).toBe(403);
  });

  it("ends at its time", async () => {
    const { key, id } = await newKey(ada, { expires_at: inAnHour() });
    expect(await use(key)).toBe(200);
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 3_601_000);
    expect(await use(key)).toBe(401);
    vi.restoreAllMocks();
    expect((await show(ada, id)).status).toBe(200);
  });

  it("is stored nowhere", async () => {
    const { key, id } = await newKey(ada);
    await use(key);
    const { key: next } = await answered<Made>(201, rotate(ada, id));
    const rows = JSON.stringify([
      await identity`select to_jsonb(k) from api_keys k`,
      await login("OPERATOR_DATABASE_URL")`select to_jsonb(t) from tenants t`,
    ]);
    const stored = await runInDurableObject(tenantObject(ada.tenant.id), (_, { storage }) =>
      JSON.stringify([...storage.kv.list()]),
    );
    expect(rows).toContain(id);
    expect(stored).toContain(id);
    for (const text of [key, next, key.slice(30, 60), next.slice(30, 60)]) {
      expect(rows).not.toContain(text);
      expect(stored).not.toContain(text);
    }
  });

  it("of another tenant, or of nobody, is the same 404 for whoever asks after it", async () => {
    const { id, key } = await newKey(ada);
    const headers = { "x-request-id": "the-same-id" };
    for (const [method, suffix] of [
      ["GET", ""],
      ["DELETE", ""],
      ["POST", "/rotate"],
    ] as const) {
      const answer = async (which: string) => {
        const response = await request(method, `/v1/api-keys/${which}${suffix}`, {
          token: bob.token,
          headers,
        });
        return { status: response.status, body: await response.text() };
      };
      const foreign = await answer(id);
      expect(foreign.status).toBe(404);
      expect(foreign).toEqual(await answer(MISSING));
    }
    expect(await use(key)).toBe(200);
  });

  it("costs one object call and one database request a use", async () => {
    const { key } = await newKey(ada);
    await use(ada.token);
    const calls = countCalls();
    expect(await use(key)).toBe(200);
    expect(calls).toEqual({ object: 1, sql: 1, site: 0 });
  });

  it("with a wrong checksum or of another environment is refused without any call", async () => {
    const { key } = await newKey(ada);
    const { text } = makeApiKey(ada.tenant.id);
    vi.spyOn(settings, "API_KEY_ENVIRONMENT", "get").mockReturnValue("elsewhere");
    const { text: foreign } = makeApiKey(ada.tenant.id);
    const calls = countCalls();
    const other = key.endsWith("0") ? "1" : "0";
    for (const bad of [
      `${key.slice(0, -1)}${other}`,
      key.slice(0, -1),
      `${key}x`,
      foreign,
      text.toLowerCase(),
    ])
      expect(await use(bad)).toBe(401);
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
  });

  it("that its tenant's object did not know is not asked for again", async () => {
    const { text } = makeApiKey(ada.tenant.id);
    expect(await use(text)).toBe(401);
    const calls = countCalls();
    expect(await use(text)).toBe(401);
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
  });
});

describe("making a key", () => {
  it.each([
    ["no scope", { scopes: [] }, "/scopes"],
    ["an unknown scope", { scopes: ["tenant:delete"] }, "/scopes/0"],
    ["a scope twice", { scopes: ["tasks:read", "tasks:read"] }, "/scopes/1"],
    ["no name", { name: "  " }, "/name"],
    ["a time that has passed", { expires_at: "2020-01-01T00:00:00Z" }, "/expires_at"],
    ["no time", { expires_at: "tomorrow" }, "/expires_at"],
    ["a maker", { created_by: MISSING }, "/created_by"],
  ])("with %s is refused", async (_, body, pointer) => {
    const problem = await answered(422, make(ada, body));
    expect(problem).toMatchObject({ errors: [{ pointer }] });
  });

  it("takes the role for it", async () => {
    for (const role of ["viewer", "member"] as const) {
      const member = await newMember(ada.tenant.id, role);
      expect((await make(member)).status).toBe(403);
      expect((await request("GET", "/v1/api-keys", { token: member.token })).status).toBe(403);
    }
    const admin = await newMember(ada.tenant.id, "admin");
    const { key } = await newKey(admin, { scopes: ["audit:read", "projects:read"] });
    expect(await use(key)).toBe(200);
  });

  it("is refused to one whose role was lowered since his token was made", async () => {
    const admin = await newMember(ada.tenant.id, "admin");
    const old = await newKey(admin);
    await identity`update memberships set role = 'member' where user_id = ${admin.user.id}`;
    expect((await make(admin)).status).toBe(401);
    expect((await rotate(admin, old.id)).status).toBe(401);
    expect(await identity`select id from api_keys where created_by = ${admin.user.id}`).toEqual([
      { id: old.id },
    ]);
  });

  it("stops at 100 live keys a tenant, however many are made at once", async () => {
    const owner = await newTenant();
    const [first] = await Promise.all(Array.from({ length: 95 }, () => newKey(owner)));
    const answers = await Promise.all(Array.from({ length: 10 }, () => make(owner)));
    const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([201, 201, 201, 201, 201, 409, 409, 409, 409, 409]);
    expect(await answers.find(({ status }) => status === 409)?.json()).toMatchObject({
      type: "/problems/too_many_api_keys",
    });
    expect((await rotate(owner, first?.id ?? "")).status).toBe(409);
    expect((await rotate(owner, first?.id ?? "", { overlap_s: 0 })).status).toBe(201);
    await answered(204, remove(owner, (await list(owner))[0]?.id ?? ""));
    expect((await make(owner)).status).toBe(201);
    const size = await runInDurableObject(
      tenantObject(owner.tenant.id),
      (_, { storage }) => JSON.stringify(storage.kv.get("keys")).length,
    );
    expect(size).toBeLessThan(32_000);
  });
});

describe("making a key with an Idempotency-Key", () => {
  const makeOnce = ({ token }: SignedIn, idempotencyKey: string, body: object = {}) =>
    request("POST", "/v1/api-keys", {
      token,
      body: { name: "CI", scopes: ["projects:read"], ...body },
      headers: { "idempotency-key": idempotencyKey },
    });

  it("makes one, and shows it again to whoever repeats the request, however often at once", async () => {
    const name = crypto.randomUUID();
    const answers = await Promise.all(Array.from({ length: 8 }, () => makeOnce(ada, name)));
    const made = await Promise.all(answers.map((answer) => answered<Made>(201, answer)));
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    expect(new Set(made.map(({ key }) => key)).size).toBe(1);
    const replayed = answers.filter(({ headers }) => headers.get("idempotency-replayed") === "true");
    expect(replayed).toHaveLength(7);
    expect(await use(made[0]?.key ?? "")).toBe(200);
  });

  it("makes none for another body, and another one for another user, tenant or Idempotency-Key", async () => {
    const name = crypto.randomUUID();
    const admin = await newMember(ada.tenant.id, "admin");
    const first = await answered<Made>(201, makeOnce(ada, name));
    const reused = await answered(422, makeOnce(ada, name, { name: "CD" }));
    expect(reused).toMatchObject({ type: "/problems/idempotency_key_reused" });
    const others = [makeOnce(admin, name), makeOnce(bob, name), makeOnce(ada, `${name}x`)];
    const made = await Promise.all(others.map((other) => answered<Made>(201, other)));
    expect(new Set([first, ...made].map(({ key }) => key.slice(-49))).size).toBe(4);
  });

  it("never brings back a key that was revoked", async () => {
    const name = crypto.randomUUID();
    const first = await answered<Made>(201, makeOnce(ada, name));
    await answered(204, remove(ada, first.id));
    const second = await answered<Made>(201, makeOnce(ada, name));
    expect(second.key).not.toBe(first.key);
    expect([await use(first.key), await use(second.key)]).toEqual([401, 200]);
  });

  it("is forgotten after a day", async () => {
    const name = crypto.randomUUID();
    const first = await answered<Made>(201, makeOnce(ada, name));
    await identity`update api_keys set created_at = created_at - interval '25 hours' where id = ${first.id}`;
    expect((await answered<Made>(201, makeOnce(ada, name))).id).not.toBe(first.id);
  });

  it("shows it again when the answer was lost on the way to the object", async () => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const name = crypto.randomUUID();
    const learn = vi.spyOn(Tenant.prototype, "receive").mockRejectedValue(new Error("lost"));
    expect((await makeOnce(ada, name)).status).toBe(503);
    learn.mockRestore();
    const { key } = await answered<Made>(201, makeOnce(ada, name));
    expect(await use(key)).toBe(200);
  });
});

describe("rotating a key", () => {
  it("fails no request with either key during the overlap", async () => {
    const owner = await newTenant();
    const first = await newKey(owner, { name: "deploy", scopes: ["projects:read"], expires_at: inAnHour() });
    const live = [first.key];
    const statuses: number[] = [];
    const turns = { left: 8 };
    const clients = Array.from({ length: 8 }, async (_, client) => {
      while (turns.left > 0) statuses.push(await use(live[client % live.length] ?? ""));
    });
    let { id } = first;
    for (; turns.left > 0; turns.left--) {
      const next = await answered<Made>(201, rotate(owner, id, { overlap_s: 60 }));
      live.push(next.key);
      ({ id } = next);
      expect(next).toMatchObject({ name: "deploy", expires_at: first.expires_at });
    }
    await Promise.all(clients);
    expect(statuses.length).toBeGreaterThan(20);
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await Promise.all(live.map(use))).toEqual(live.map(() => 200));
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 61_000);
    expect(await Promise.all(live.map(use))).toEqual(live.map((_, index) => (index < 8 ? 401 : 200)));
  });

  it("without an overlap ends the old one at once, and it is not rotated again", async () => {
    const { id, key } = await newKey(ada);
    const next = await answered<Made>(201, rotate(ada, id, { overlap_s: 0 }));
    expect(await use(key)).toBe(401);
    expect(await use(next.key)).toBe(200);
    const again = await answered(409, rotate(ada, id));
    expect(again).toMatchObject({ type: "/problems/api_key_expired" });
  });

  it("again, as after a lost answer, answers the same key", async () => {
    const { id } = await newKey(ada);
    const before = (await list(ada)).length;
    const answers = await Promise.all(Array.from({ length: 5 }, () => rotate(ada, id, { overlap_s: 60 })));
    const keys = await Promise.all(answers.map((answer) => answered<Made>(201, answer)));
    expect(new Set(keys.map(({ key }) => key)).size).toBe(1);
    expect((await list(ada)).length).toBe(before + 1);
    // Another request, and whoever else asks, gets a key of their own; a deleted one does not come back.
    const other = await newMember(ada.tenant.id, "admin");
    const [first] = keys;
    expect((await answered<Made>(201, rotate(other, id, { overlap_s: 60 }))).key).not.toBe(first?.key);
    await answered(204, remove(ada, first?.id ?? ""));
    const anew = await answered<Made>(201, rotate(ada, id, { overlap_s: 60 }));
    expect(anew.key).not.toBe(first?.key);
    expect(await use(first?.key ?? "")).toBe(401);
    expect(await use(anew.key)).toBe(200);
  });

  it("lets the old one go on for a day if it is not said for how long, but never beyond its own end", async () => {
    const end = inAnHour();
    const [endless, ending] = await Promise.all([newKey(ada), newKey(ada, { expires_at: end })]);
    await Promise.all([answered(201, rotate(ada, endless.id)), answered(201, rotate(ada, ending.id))]);
    const old = await answered<ApiKey>(200, show(ada, endless.id));
    const left = Date.parse(old.expires_at ?? "") - Date.now();
    expect(Math.abs(left - 86_400_000)).toBeLessThan(10_000);
    expect(await answered(200, show(ada, ending.id))).toMatchObject({ expires_at: end });
    for (const overlap_s of [-1, 604_801, 1.5, "60"])
      expect((await rotate(ada, endless.id, { overlap_s })).status).toBe(422);
  });

  it("gives the new key to whoever made it", async () => {
    const admin = await newMember(ada.tenant.id, "admin");
    const { id } = await newKey(ada);
    expect(await answered(201, rotate(admin, id))).toMatchObject({ created_by: admin.user.id });
  });

  it("honours If-Match, and so does revoking", async () => {
    const { id, key } = await newKey(ada);
    const path = `/v1/api-keys/${id}`;
    const etag = (await show(ada, id)).headers.get("etag") ?? "";
    const stale = { "if-match": '"99"' };
    expect((await request("POST", `${path}/rotate`, { token: ada.token, headers: stale })).status).toBe(412);
    expect((await request("DELETE", path, { token: ada.token, headers: stale })).status).toBe(412);
    expect(await use(key)).toBe(200);
    const headers = { "if-match": etag };
    expect((await request("DELETE", path, { token: ada.token, headers })).status).toBe(204);
  });
});

it("a revocation that did not reach the object is in force when it is asked for again", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const [deleted, ended] = await Promise.all([newKey(ada), newKey(ada)]);
  const learn = vi.spyOn(Tenant.prototype, "receive").mockRejectedValue(new Error("lost"));
  expect((await remove(ada, deleted.id)).status).toBe(503);
  expect((await rotate(ada, ended.id, { overlap_s: 0 })).status).toBe(503);
  learn.mockRestore();
  expect([await use(deleted.key), await use(ended.key)]).toEqual([200, 200]);
  expect((await remove(ada, deleted.id)).status).toBe(404);
  const { key } = await answered<Made>(201, rotate(ada, ended.id, { overlap_s: 0 }));
  expect(await use(key)).toBe(200);
  expect([await use(deleted.key), await use(ended.key)]).toEqual([401, 401]);
});

it("keeps no row in the object for the deletion of a key that never was", async () => {
  const object = tenantObject(ada.tenant.id);
  const names = () =>
    runInDurableObject(object, (_, { storage }) => [...storage.kv.list()].map(([name]) => name));
  const before = await names();
  expect((await remove(ada, MISSING)).status).toBe(404);
  expect(await names()).toEqual(before);
});

describe("last_used_at", () => {
  /** Lets the object write what it noted soon, in place of in so many ms at most; no bound of a request is as long. */
  const hurry = (longest: number) => {
    const setting = globalThis.setTimeout;
    const hurried = (run: () => void, ms: number) =>
      setting(run, ms === 8_000 || (ms > 20_000 && ms <= longest) ? 500 : ms);
    vi.spyOn(globalThis, "setTimeout").mockImplementation(hurried as typeof setTimeout);
  };
  const writes = ({ tenant }: SignedIn) =>
    vi
      .mocked(globalThis.fetch)
      .mock.calls.filter(
        ([, init]) =>
          String(init?.body).includes("set last_used_at =") && String(init?.body).includes(tenant.id),
      ).length;
  const untilWritten = (owner: SignedIn, times: number) => expect.poll(() => writes(owner)).toBe(times);

  it("is written for all keys at once, and changes neither the ETag nor the audit trail", async () => {
    const owner = await newTenant();
    const [used, also, unused] = [await newKey(owner), await newKey(owner), await newKey(owner)];
    const etag = (await show(owner, used.id)).headers.get("etag");
    const events = async () =>
      (await answered<{ data: unknown[] }>(200, request("GET", "/v1/audit-events", { token: owner.token })))
        .data.length;
    const before = await events();
    countCalls();
    // What is used again waits for its minute.
    hurry(8_000);
    for (let turn = 0; turn < 3; turn++)
      expect(await Promise.all([use(used.key), use(also.key)])).toEqual([200, 200]);
    await untilWritten(owner, 1);
    const lastUse = async ({ id }: ApiKey) => {
      const { last_used_at } = await answered<ApiKey>(200, show(owner, id));
      return last_used_at && Math.abs(Date.now() - Date.parse(last_used_at)) < 10_000;
    };
    await expect.poll(() => lastUse(used)).toBe(true);
    expect(await lastUse(also)).toBe(true);
    expect(await lastUse(unused)).toBeNull();
    expect(writes(owner)).toBe(1);
    expect((await show(owner, used.id)).headers.get("etag")).toBe(etag);
    expect(await events()).toBe(before);
  });

  it("fails no request when it cannot be written, is logged once, and written with the next ones", async () => {
    const owner = await newTenant();
    const [first, second] = [await newKey(owner), await newKey(owner)];
    expect(await use(owner.token)).toBe(200);
    const log = vi.fn<typeof console.error>();
    const status = async (key: string) => (await request("GET", "/v1/tenant/limits", { token: key })).status;
    countCalls();
    hurry(60_000);
    vi.spyOn(console, "error").mockImplementation(log);
    // An error is an answer: a database that gives none is asked no more, whichever object's writes it left waiting.
    neonConfig.fetchEndpoint = `${settings.NEON_FETCH_ENDPOINT}/nothing-is-here`;
    for (const times of [1, 2]) {
      expect(await status(first.key)).toBe(200);
      await untilWritten(owner, times);
    }
    // Objects of other tests write here too.
    const logged = () =>
      log.mock.calls.filter(([line]) => {
        const { message, tenant } = line as { message: string; tenant?: string };
        return message === "use of API keys not written" && tenant === owner.tenant.id;
      });
    await expect.poll(logged).toHaveLength(1);
    neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
    expect(await status(second.key)).toBe(200);
    await expect
      .poll(
        () =>
          identity`select from api_keys where tenant_id = ${owner.tenant.id} and last_used_at is not null`,
      )
      .toHaveLength(2);
    expect(logged()).toHaveLength(1);
  });

  it("costs the object no row", async () => {
    const owner = await newTenant();
    const { key } = await newKey(owner);
    await use(key);
    const object = tenantObject(owner.tenant.id);
    const names = () =>
      runInDurableObject(object, (_, { storage }) => [...storage.kv.list()].map(([name]) => name));
    expect(await names()).toEqual(["confirmed", "delivered", "keys", "limits", "record"]);
  });
});

it("loses a scope that the product no longer has, and keeps the others", () => {
  const stored = { id: MISSING, hash: "", scopes: ["gone:read", "audit:read"], expiresAt: null, version: 1 };
  expect(v.parse(KeyRecord, stored).scopes).toEqual(["audit:read"]);
});

it("is not made by a request whose session ended while it was on its way", async () => {
  const { token, session } = await newTenant();
  // As another request's transaction does, just before its tenant's object hears of it.
  await stage`
    update sessions set revoked_at = now(), rotated_at = now() - interval '1 hour' where id = ${session.id}`;
  const body = { name: "late", scopes: ["members:read"] };
  expect((await request("POST", "/v1/api-keys", { token, body })).status).toBe(401);
});
