import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { neonConfig } from "@neondatabase/serverless";
import { afterEach, describe, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { ACCESS_TOKEN_TTL_S } from "../src/caller.ts";
import { settings } from "../src/env.ts";
import { mintAccessToken } from "../src/identity/access-token.ts";
import type { Session } from "../src/identity/session.ts";
import { Tenant } from "../src/index.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { Credentials } from "../src/tenant/credentials.ts";
import type { KeyRecord } from "../src/tenant/record.ts";
import { countCalls } from "./support/calls.ts";
import {
  anotherSession,
  answered,
  newTenant,
  PASSWORD,
  request,
  signIn,
  signedUp,
  stage,
} from "./support/client.ts";

afterEach(() => {
  neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
  vi.restoreAllMocks();
});

const status = async (token: string) => (await request("GET", "/v1/tenant", { token })).status;
const signOut = (token: string) => request("DELETE", "/v1/sessions/current", { token });
const quiet = () => vi.spyOn(console, "error").mockImplementation(() => undefined);

describe("a session", () => {
  it("is over at the next request after its end was acknowledged, and no other one is", async () => {
    const [first, second] = [await newTenant(), await newTenant()];
    const again = await anotherSession(first);
    expect(await status(first.token)).toBe(200);
    await answered(204, signOut(first.token));
    const refused = await request("GET", "/v1/tenant", { token: first.token });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("www-authenticate")).toContain('error="invalid_token"');
    const body = { refresh_token: first.refresh_token };
    expect((await request("POST", "/v1/sessions/refresh", { body })).status).toBe(401);
    expect(await status(again.token)).toBe(200);
    expect(await status(second.token)).toBe(200);
  });

  it("spends nothing of the tenant's limits once it is over, and asks its object once", async () => {
    const ada = await newTenant([{ name: "minute", limit: 5, window: 60 }]);
    const { token } = ada;
    const other = await anotherSession(ada);
    await answered(204, signOut(token));
    const calls = countCalls();
    for (let attempt = 0; attempt < 10; attempt++) expect(await status(token)).toBe(401);
    expect(calls).toEqual({ object: 1, sql: 0, site: 0 });
    expect(await status(other.token)).toBe(200);
  });

  it("is listed with the others of the same user in the same tenant, and ended by its id", async () => {
    const [ada, bob] = [await newTenant(), await newTenant()];
    const phone = await anotherSession(ada);
    type Listed = { data: { id: string; current: boolean }[] };
    const list = () => answered<Listed>(200, request("GET", "/v1/sessions", { token: ada.token }));
    const { data } = await list();
    expect(data.map(({ id, current }) => [id, current])).toEqual([
      [phone.session.id, false],
      [ada.session.id, true],
    ]);
    expect((await request("DELETE", `/v1/sessions/${phone.session.id}`, { token: bob.token })).status).toBe(
      404,
    );
    await answered(204, request("DELETE", `/v1/sessions/${phone.session.id}`, { token: ada.token }));
    expect(await status(phone.token)).toBe(401);
    expect((await list()).data).toHaveLength(1);
  });

  it("is over together with all others of the user in the tenant, not in another", async () => {
    const ada = await signedUp();
    const phone = await signIn(ada.user.email);
    const slug = `${ada.tenant.slug}-2`;
    const second = await answered<Session>(
      201,
      request("POST", "/v1/signup", {
        body: {
          email: ada.user.email,
          password: PASSWORD,
          tenant: { name: "2", slug },
        },
      }),
    );
    await answered(204, request("DELETE", "/v1/sessions", { token: ada.token }));
    for (const { token } of [ada, phone]) expect(await status(token)).toBe(401);
    expect(await status(second.access_token)).toBe(200);
    expect(await status((await signIn(ada.user.email, ada.tenant.slug)).token)).toBe(200);
  });

  it("is over, with its access tokens, when an old refresh token of its is used again", async () => {
    const { token, refresh_token } = await newTenant();
    const refresh = (body: object) => request("POST", "/v1/sessions/refresh", { body });
    const second = await answered<Session>(200, refresh({ refresh_token }));
    const third = await answered<Session>(200, refresh({ refresh_token: second.refresh_token }));
    expect((await refresh({ refresh_token })).status).toBe(401);
    for (const session of [token, second.access_token, third.access_token])
      expect(await status(session)).toBe(401);
  });

  it("switches to another tenant of the user, and to no other", async () => {
    const [ada, bob] = [await signedUp(), await newTenant()];
    const slug = `${ada.tenant.slug}-2`;
    const body = {
      email: ada.user.email,
      password: PASSWORD,
      tenant: { name: "2", slug },
    };
    await answered(201, request("POST", "/v1/signup", { body }));
    const go = (tenant: string) =>
      request("POST", "/v1/sessions/switch", { token: ada.token, body: { tenant } });
    const session = await answered<Session>(201, go(slug));
    expect(session.tenant.slug).toBe(slug);
    expect(await status(session.access_token)).toBe(200);
    const [foreign, absent] = await Promise.all([go(bob.tenant.slug), go("nobody-is-here")]);
    expect([foreign.status, absent.status]).toEqual([404, 404]);
  });
});

describe("when something fails on the way, an acknowledgement still means what it says", () => {
  it("Postgres down: nothing is acknowledged, nothing has changed", async () => {
    const { token } = await newTenant();
    expect(await status(token)).toBe(200);
    quiet();
    neonConfig.fetchEndpoint = "http://127.0.0.1:1/sql";
    expect((await signOut(token)).status).toBe(503);
    neonConfig.fetchEndpoint = settings.NEON_FETCH_ENDPOINT ?? "";
    expect(await status(token)).toBe(200);
  });

  it("Postgres commits and the object is out of reach: 503, and the same request again ends it", async () => {
    const ada = await newTenant();
    const { token, session } = ada;
    const other = await anotherSession(ada);
    quiet();
    vi.spyOn(Tenant.prototype, "receive").mockRejectedValue(new Error("down"));
    const failed = await signOut(token);
    expect(failed.status).toBe(503);
    expect(failed.headers.get("retry-after")).toBe("1");
    vi.restoreAllMocks();
    // From another session, which cannot know whether the row was already changed.
    await answered(204, request("DELETE", `/v1/sessions/${session.id}`, { token: other.token }));
    expect(await status(token)).toBe(401);
  });

  it("the object confirms and its answer is lost: 503, and it is over all the same", async () => {
    const { token } = await newTenant();
    quiet();
    const { receive } = Tenant.prototype;
    vi.spyOn(Tenant.prototype, "receive").mockImplementation(async function lossy(this: Tenant, ...told) {
      await receive.apply(this, told);
      throw new Error("lost");
    });
    expect((await signOut(token)).status).toBe(503);
    vi.restoreAllMocks();
    expect(await status(token)).toBe(401);
  });

  it("the object crashes after it: it is over all the same", async () => {
    const { token, tenant } = await newTenant();
    await answered(204, signOut(token));
    const object = tenantObject(tenant.id);
    // A reason that the pool does not report.
    await runInDurableObject(object, (_, state) => state.abort("Instance dispose")).catch(() => undefined);
    expect(await status(token)).toBe(401);
    await evictDurableObject(tenantObject(tenant.id));
    expect(await status(token)).toBe(401);
  });

  it("a token made from what was read before: it says so itself, and is refused", async () => {
    const { tenant, user, token } = await newTenant();
    const [{ version }] = (await stage`select version from control.users where id = ${user.id}`) as [
      { version: number },
    ];
    await answered(204, request("DELETE", "/v1/sessions", { token }));
    const of = { tenantId: tenant.id, userId: user.id, sessionId: uuidv7(), role: "owner" } as const;
    const late = { ...of, authTime: 0, amr: [] };
    expect(await status(await mintAccessToken({ ...late, version }))).toBe(401);
    expect(await status(await mintAccessToken({ ...late, version: version + 1 }))).toBe(200);
  });
});

describe("what an object knows of credentials", () => {
  const key = (version: number, more: Partial<KeyRecord> = {}): KeyRecord => ({
    id: "key",
    hash: "hash",
    scopes: ["members:read"],
    expiresAt: null,
    version,
    ...more,
  });
  const news = (more: Partial<Parameters<Credentials["learn"]>[0]>) => ({
    keys: [],
    deletedKeys: [],
    floors: [],
    ...more,
  });
  /** Runs with the storage of an object that nothing else uses. */
  const withStorage = (run: (storage: DurableObjectStorage) => void) =>
    runInDurableObject(tenantObject(uuidv7()), (_, state) => run(state.storage));

  it("never lowers a floor", () =>
    withStorage((storage) => {
      const made = new Credentials(storage);
      made.learn(news({ floors: [["user", 5]] }), 0);
      made.learn(news({ floors: [["user", 3]] }), 0);
      expect(made.judge(["user", "session", 4], 0)).toBeUndefined();
      expect(made.judge(["user", "session", 5], 0)).toBe(true);
    }));

  it("lets a key end at its time", () =>
    withStorage((storage) => {
      const made = new Credentials(storage);
      made.learn(news({ keys: [key(1, { expiresAt: 1000 })] }), 0);
      expect(made.judge(["hash"], 999)).toBeTruthy();
      expect(made.judge(["hash"], 1000)).toBeUndefined();
    }));

  it("survives a restart, and is forgotten when no token can be left that it would hit", () =>
    withStorage((storage) => {
      new Credentials(storage).learn(news({ floors: [["session", 9]], keys: [key(1)] }), 0);
      const restarted = new Credentials(storage);
      expect(restarted.judge(["user", "session", 1], 0)).toBeUndefined();
      expect(restarted.judge(["hash"], 0)).toBeTruthy();
      // Long after the last token that was made before.
      const later = 2 * ACCESS_TOKEN_TTL_S * 1000;
      restarted.learn(news({ floors: [["other", 9]] }), later);
      expect(restarted.judge(["user", "session", 1], later)).toBe(true);
      expect([...storage.kv.list({ prefix: "floor " })]).toHaveLength(1);
    }));
});
