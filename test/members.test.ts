import { runInDurableObject } from "cloudflare:test";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { memberships } from "../src/db/control.ts";
import { makeApiKey } from "../src/identity/api-key.ts";
import type { Role, ApiKeyScope } from "../src/authority.ts";
import type { Session } from "../src/identity/session.ts";
import { Tenant } from "../src/index.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { countCalls } from "./support/calls.ts";
import {
  anotherSession,
  answered,
  newMember,
  newProject,
  newTask,
  newTenant,
  PASSWORD,
  request,
  storedKey,
  type SignedIn,
  stageDb,
  stage,
} from "./support/client.ts";

type Member = { user_id: string; email: string; role: Role };
type Page = { data: Member[]; next_cursor: string | null };

const MISSING = "01234567-89ab-7cde-8f01-23456789abcd";

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

const join = (role: Role) => newMember(ada.tenant.id, role);
const path = ({ user }: SignedIn) => `/v1/members/${user.id}`;
const change = (by: SignedIn, who: SignedIn, role: string) =>
  request("PATCH", path(who), { token: by.token, body: { role } });
const remove = (by: SignedIn, who: SignedIn) => request("DELETE", path(who), { token: by.token });
const statusOf = async (token: string) => (await request("GET", "/v1/projects", { token })).status;
const refresh = ({ refresh_token }: SignedIn) =>
  request("POST", "/v1/sessions/refresh", { body: { refresh_token } });
const problem = async (response: Response) => {
  const { type, detail } = await response.json<{ type: string; detail: string }>();
  return { status: response.status, type, detail };
};

const newKey = (maker: SignedIn, names: string[]) => storedKey(maker, { scopes: names as ApiKeyScope[] });
/** Whether the tenant's object takes the key: the route needs no scope, and asks nobody else. */
const isKey = async (token: string) => (await request("GET", "/v1/tenant/limits", { token })).status === 200;
const scopesOf = async (token: string) =>
  (await answered<{ scopes: string[] }>(200, request("GET", "/v1/me", { token }))).scopes;

describe("members", () => {
  it("are listed newest first, a page at a time, and read one by one with an ETag", async () => {
    const [bea, cy] = [await join("admin"), await join("viewer")];
    const list = (query: string) =>
      answered<Page>(200, request("GET", `/v1/members${query}`, { token: cy.token }));
    const first = await list("?limit=2");
    expect(first.data.map(({ user_id }) => user_id)).toEqual([cy.user.id, bea.user.id]);
    const second = await list(`?limit=2&cursor=${first.next_cursor ?? ""}`);
    expect(second).toMatchObject({ data: [{ user_id: ada.user.id, role: "owner" }], next_cursor: null });

    const response = await request("GET", path(bea), { token: cy.token });
    expect(response.headers.get("etag")).toBe('"1"');
    expect(await response.json()).toEqual({
      user_id: bea.user.id,
      email: bea.user.email,
      role: "admin",
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      updated_at: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  it("of another tenant, and nobody, are the same 404", async () => {
    const [bob, zoe] = [await newTenant(), await newTenant()];
    const hers = await newMember(zoe.tenant.id, "member");
    for (const [method, body] of [["GET"], ["PATCH", { role: "viewer" }], ["DELETE"]] as const) {
      const told = async (id: string) => {
        const headers = { "x-request-id": "the-same-id" };
        const response = await request(method, `/v1/members/${id}`, { token: bob.token, body, headers });
        return [response.status, await response.text()];
      };
      const missing = await told(MISSING);
      expect(missing[0]).toBe(404);
      expect(await told(hers.user.id)).toEqual(missing);
    }
    expect(await statusOf(hers.token)).toBe(200);
  });

  it("take If-Match: a stale one is 412 and changes nothing", async () => {
    const bea = await join("member");
    const headers = { "if-match": '"1"' };
    const token = ada.token;
    const changed = await request("PATCH", path(bea), { token, headers, body: { role: "viewer" } });
    expect([changed.status, changed.headers.get("etag")]).toEqual([200, '"2"']);
    for (const method of ["PATCH", "DELETE"]) {
      const body = method === "PATCH" ? { role: "admin" } : undefined;
      expect((await request(method, path(bea), { token, headers, body })).status).toBe(412);
    }
    expect(await answered<Member>(200, request("GET", path(bea), { token }))).toMatchObject({
      role: "viewer",
    });
  });

  it("are kept when a patch says nothing, and refused when it says too much", async () => {
    const bea = await join("member");
    const patch = (body: object) => request("PATCH", path(bea), { token: ada.token, body });
    expect(await answered<Member>(200, patch({}))).toMatchObject({ role: "member" });
    expect(await statusOf(bea.token)).toBe(200);
    for (const body of [{ role: "king" }, { role: null }, { email: "x@y.test" }])
      expect((await patch(body)).status).toBe(422);
  });
});

describe("who may change whom", () => {
  it.each([
    ["owner", "owner", "viewer", 200],
    ["owner", "admin", "owner", 200],
    ["admin", "viewer", "admin", 200],
    ["admin", "admin", "viewer", 200],
    ["admin", "member", "owner", 403],
    ["admin", "owner", "admin", 403],
    ["member", "viewer", "member", 403],
    ["viewer", "viewer", "member", 403],
  ] as const)("%s changes %s to %s: %i", async (by, from, to, status) => {
    const [actor, target] = [await join(by), await join(from)];
    expect((await change(actor, target, to)).status).toBe(status);
    const { role } = await answered<Member>(200, request("GET", path(target), { token: ada.token }));
    expect(role).toBe(status === 200 ? to : from);
  });

  it.each([
    ["owner", "owner", 204],
    ["admin", "admin", 204],
    ["admin", "owner", 403],
    ["member", "viewer", 403],
    ["viewer", "member", 403],
  ] as const)("%s removes %s: %i", async (by, from, status) => {
    const [actor, target] = [await join(by), await join(from)];
    expect((await remove(actor, target)).status).toBe(status);
    expect(await statusOf(target.token)).toBe(status === 204 ? 401 : 200);
  });

  it.each(["viewer", "member", "admin", "owner"] as const)("a %s may leave", async (role) => {
    const who = await join(role);
    await answered(204, remove(who, who));
    expect(await statusOf(who.token)).toBe(401);
    expect((await refresh(who)).status).toBe(401);
  });

  it("nobody by an API key", async () => {
    const key = await newKey(ada, ["members:read"]);
    const bea = await join("viewer");
    expect((await request("GET", "/v1/members", { token: key.text })).status).toBe(200);
    for (const [method, body] of [
      ["PATCH", { role: "admin" }],
      ["DELETE", undefined],
    ] as const)
      expect((await request(method, path(bea), { token: key.text, body })).status).toBe(403);
  });

  it("the last owner neither leaves nor steps down", async () => {
    const bea = await join("admin");
    for (const response of [await remove(ada, ada), await change(ada, ada, "admin")])
      expect(await problem(response)).toMatchObject({ status: 409, type: "/problems/last_owner" });
    await answered(200, change(ada, bea, "owner"));
    expect(await statusOf(ada.token)).toBe(200);
    await answered(200, change(ada, ada, "viewer"));
    expect(await statusOf(ada.token)).toBe(401);
    expect((await remove(await anotherSession(bea), bea)).status).toBe(409);
  });
});

describe("a changed role", () => {
  it("is in force at the next request: older tokens are void, a refresh brings the new role", async () => {
    const bea = await join("admin");
    await answered(200, change(ada, bea, "viewer"));
    expect(await statusOf(bea.token)).toBe(401);
    const fresh = await answered<Session>(200, refresh(bea));
    expect(fresh.tenant.role).toBe("viewer");
    const token = fresh.access_token;
    expect((await request("POST", "/v1/projects", { token, body: { name: "x" } })).status).toBe(403);
  });

  it("narrows the user's API keys, deletes those left with nothing, and leaves others' alone", async () => {
    const bea = await join("admin");
    const wide = await newKey(bea, ["projects:read", "projects:write", "audit:read"]);
    const audit = await newKey(bea, ["audit:read"]);
    const hers = await newKey(ada, ["audit:read"]);
    await answered(200, change(ada, bea, "member"));
    expect(await scopesOf(wide.text)).toEqual(["projects:read", "projects:write"]);
    expect(await isKey(audit.text)).toBe(false);
    expect(await scopesOf(hers.text)).toEqual(["audit:read"]);
    await answered(200, change(ada, bea, "viewer"));
    expect(await scopesOf(wide.text)).toEqual(["projects:read"]);
    // What was taken is not given back.
    await answered(200, change(ada, bea, "admin"));
    expect(await scopesOf(wide.text)).toEqual(["projects:read"]);
  });

  it("is in the audit trail, with who did it", async () => {
    const bea = await join("admin");
    await newKey(bea, ["audit:read"]);
    await answered(200, change(ada, bea, "member"));
    const { data } = await answered<{ data: object[] }>(
      200,
      request("GET", `/v1/audit-events?actor_id=${ada.user.id}`, { token: ada.token }),
    );
    expect(data).toMatchObject([
      { action: "delete", resource: "api_keys" },
      { action: "update", resource: "memberships", resource_id: bea.user.id, changed: ["role"] },
    ]);
  });
});

describe("a removed member", () => {
  it("has no session, no token and no key left in this tenant, and all of them in others", async () => {
    const bea = await join("member");
    const [key, phone] = [await newKey(bea, ["projects:read"]), await anotherSession(bea)];
    const bob = await newTenant();
    await stageDb
      .insert(memberships)
      .values({ tenant_id: bob.tenant.id, user_id: bea.user.id, role: "viewer" });
    const there = await anotherSession(bea, bob.tenant.slug);
    await answered(204, remove(ada, bea));
    for (const token of [bea.token, phone.token, key.text]) expect(await statusOf(token)).toBe(401);
    for (const session of [bea, phone]) expect((await refresh(session)).status).toBe(401);
    expect(await statusOf(there.token)).toBe(200);
    expect((await request("GET", path(bea), { token: ada.token })).status).toBe(404);
  });

  it("leaves their tasks behind, assigned to nobody", async () => {
    const [bea, { id: project }] = [await join("member"), await newProject(ada.token)];
    const task = await newTask(ada.token, project, { title: "Tiles", assignee_id: bea.user.id });
    await answered(204, remove(ada, bea));
    const left = await answered(200, request("GET", `/v1/tasks/${task.id}`, { token: ada.token }));
    expect(left).toMatchObject({ title: "Tiles", assignee_id: null, project_id: project });
  });
});

it.each(["PATCH", "DELETE"])(
  "%s makes one database request, and one object call beside its admission",
  async (method) => {
    const bea = await join("admin");
    await newKey(bea, ["audit:read"]);
    await request("GET", "/v1/tenant/limits", { token: ada.token });
    const calls = countCalls();
    const body = method === "PATCH" ? { role: "member" } : undefined;
    expect((await request(method, path(bea), { token: ada.token, body })).ok).toBe(true);
    expect(calls).toEqual({ object: 2, sql: 1, site: 1 });
  },
);

it.each([
  ["PATCH", "of a member with the role that they have", "member"],
  ["DELETE", "of a member who is none", undefined],
] as const)("%s %s makes one database request as well", async (method, _, role) => {
  const bea = await join("member");
  await request("GET", "/v1/tenant/limits", { token: ada.token });
  const target = role ? path(bea) : `/v1/members/${MISSING}`;
  const calls = countCalls();
  const { status } = await request(method, target, { token: ada.token, body: role && { role } });
  expect(status).toBe(role ? 200 : 404);
  // Where nothing changes, the site has nothing to hear.
  expect(calls).toEqual({ object: 2, sql: 1, site: role ? 1 : 0 });
});

it("keeps no row in the object for the removal of somebody who never was a member", async () => {
  const object = tenantObject(ada.tenant.id);
  await request("GET", "/v1/tenant/limits", { token: ada.token });
  const names = () =>
    runInDurableObject(object, (_, { storage }) => [...storage.kv.list()].map(([name]) => name));
  const before = await names();
  const stranger = await newTenant();
  for (const id of [MISSING, crypto.randomUUID(), stranger.user.id])
    expect((await request("DELETE", `/v1/members/${id}`, { token: ada.token })).status).toBe(404);
  expect(await names()).toEqual(before);
});

describe("when the object is out of reach, 503, and the same request again", () => {
  /** What an action answers while nothing can be told to any object. */
  async function unheard(action: () => Promise<Response>): Promise<number> {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(Tenant.prototype, "receive").mockRejectedValue(new Error("down"));
    const { status } = await action();
    vi.restoreAllMocks();
    return status;
  }

  it("ends what a removed member had, though they are gone already", async () => {
    const bea = await join("member");
    const key = await newKey(bea, ["projects:read"]);
    expect(await unheard(() => remove(ada, bea))).toBe(503);
    expect((await remove(ada, bea)).status).toBe(404);
    for (const token of [bea.token, key.text]) expect(await statusOf(token)).toBe(401);
  });

  it("brings a changed role into force, though it is changed already", async () => {
    const bea = await join("admin");
    const [key, audit] = [
      await newKey(bea, ["projects:read", "projects:write"]),
      await newKey(bea, ["audit:read"]),
    ];
    const again = () =>
      request("PATCH", path(bea), {
        token: ada.token,
        body: { role: "viewer" },
        headers: { "if-match": '"1"' },
      });
    expect(await unheard(again)).toBe(503);
    expect(await unheard(() => change(ada, bea, "viewer"))).toBe(503);
    // Even when all that it says is that the row has changed.
    expect((await again()).status).toBe(412);
    expect(await statusOf(bea.token)).toBe(401);
    expect(await scopesOf(key.text)).toEqual(["projects:read"]);
    expect(await isKey(audit.text)).toBe(false);
  });
});

describe("at the same time", () => {
  const ROUNDS = 6;
  const ascending = (a: number, b: number) => a - b;
  /** An advisory lock that says how far another transaction is. */
  const HELD = 20_260_101;
  const db = stage;

  /**
   * Holds the tenant's outbox, as each change does, until so many requests wait for it, and then commits with the last
   * statement. Returns when it is held.
   */
  async function hold(waiters: number, last = db`select`) {
    const done = db.transaction([
      db`select lock_outbox(${ada.tenant.id})`,
      db`select pg_advisory_xact_lock(${HELD})`,
      db`select set_config('test.waiters', ${String(waiters)}, true)`,
      db`do $$ begin
        while current_setting('test.waiters')::int > (
          with recursive w (pid) as (select pg_backend_pid() union select l.pid from pg_locks l, w
            where not l.granted and w.pid = any (pg_blocking_pids(l.pid)))
          select count(*) - 1 from w) loop perform pg_sleep(0.01); end loop;
      end $$`,
      last,
    ]);
    await expect
      .poll(() => db`select from pg_locks where locktype = 'advisory' and objid = ${HELD}`, { interval: 20 })
      .toHaveLength(1);
    return { done };
  }

  it("two owners who remove each other leave one, who is told so", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const bea = await join("owner");
      const [first, second] = await Promise.all([remove(ada, bea), remove(bea, ada)]);
      const statuses = [first.status, second.status].sort(ascending);
      expect(statuses[0]).toBe(204);
      expect([401, 403, 404, 409]).toContain(statuses[1]);
      const left = first.status === 204 ? ada : bea;
      const page = await answered<Page>(200, request("GET", "/v1/members", { token: left.token }));
      expect(page.data.map(({ user_id }) => user_id)).toEqual([left.user.id]);
      expect(await statusOf((left === ada ? bea : ada).token)).toBe(401);
      ada = left;
    }
  });

  it("two owners of three who remove each other: the second one acts no more", async () => {
    const [bea, cy] = [await join("owner"), await join("owner")];
    const { done } = await hold(2);
    const answers = await Promise.all([remove(bea, cy), remove(cy, bea), done]);
    const statuses = [answers[0].status, answers[1].status].sort(ascending);
    expect(statuses).toEqual([204, 403]);
  });

  it("all owners step down: one stays", async () => {
    const owners = [ada, await join("owner"), await join("owner"), await join("owner")];
    const answers = await Promise.all(owners.map((owner) => change(owner, owner, "viewer")));
    expect(answers.map(({ status }) => status).sort(ascending)).toEqual([200, 200, 200, 409]);
    const left = await stage`
      select user_id from memberships where tenant_id = ${ada.tenant.id} and role = 'owner'`;
    expect(left).toHaveLength(1);
  });

  it("a member is removed while their session is refreshed: no credential outlives it", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const bea = await newMember(ada.tenant.id, "member", PASSWORD);
      const [removal, ...tabs] = await Promise.all([
        remove(ada, bea),
        refresh(bea),
        refresh(bea),
        request("POST", "/v1/sessions", { body: { email: bea.user.email, password: PASSWORD } }),
      ]);
      expect(removal.status).toBe(204);
      for (const tab of tabs) {
        // 403: by then they are in no tenant.
        expect([200, 201, 401, 403]).toContain(tab.status);
        if (!tab.ok) continue;
        const session = await tab.json<Session>();
        expect(await statusOf(session.access_token)).toBe(401);
        expect((await refresh({ ...session, token: "" })).status).toBe(401);
      }
    }
  });

  it("a role is lowered while their session is refreshed: no token says the old one", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const bea = await join("admin");
      const [changed, tab] = await Promise.all([change(ada, bea, "viewer"), refresh(bea)]);
      expect(changed.status).toBe(200);
      const session = await answered<Session>(200, tab);
      const invite = { email: "x@y.test", role: "viewer" };
      const { status } = await request("POST", "/v1/invitations", {
        token: session.access_token,
        body: invite,
      });
      expect([401, 403]).toContain(status);
    }
  });

  it.each(["PATCH", "DELETE"])("%s and a key made by the member: no key outlives it", async (method) => {
    for (let round = 0; round < ROUNDS; round++) {
      const bea = await join("admin");
      const body = { name: "late", scopes: ["audit:read"] };
      const [made, response] = await Promise.all([
        request("POST", "/v1/api-keys", { token: bea.token, body }),
        request(method, path(bea), {
          token: ada.token,
          body: method === "PATCH" ? { role: "viewer" } : undefined,
        }),
      ]);
      expect(response.ok).toBe(true);
      expect([201, 401]).toContain(made.status);
      if (made.status === 401) continue;
      const { key } = await made.json<{ key: string }>();
      expect(await isKey(key)).toBe(false);
    }
  });

  // What a route that makes keys does: it holds the tenant's outbox until the key is there.
  it.each(["PATCH", "DELETE"])("%s waits for a key that is being made, and has it void", async (method) => {
    const bea = await join("admin");
    const { text, hash, hint } = makeApiKey(ada.tenant.id);
    const id = uuidv7();
    const { done } = await hold(
      1,
      db`insert into api_keys (id, tenant_id, name, scopes, hash, hint, created_by) values (${id}, ${ada.tenant.id},
        'late', '{audit:read}', ${`\\x${Buffer.from(hash).toString("hex")}`}, ${hint}, ${bea.user.id})`,
    );
    const other = request(method, path(bea), {
      token: ada.token,
      body: method === "PATCH" ? { role: "viewer" } : undefined,
    });
    const [, response] = await Promise.all([done, other]);
    expect(response.ok).toBe(true);
    expect(await isKey(text)).toBe(false);
    expect(await db`select from api_keys where id = ${id}`).toEqual([]);
  });
});
