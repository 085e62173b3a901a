import { decodeJwt } from "jose";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { SUPPORT_SCOPES } from "../src/authority.ts";
import { countCalls } from "./support/calls.ts";
import {
  answered,
  newMember,
  newProject,
  newTenant,
  operate,
  request,
  signedUp,
  stage,
  storedKey,
  type SignedIn,
} from "./support/client.ts";
import {
  asOperator,
  codeOf as totpOf,
  newOperator,
  newSession,
  OPERATOR_PASSWORD,
  type TestOperator,
} from "./support/operators.ts";
import { aWhileLater, stopClock } from "./support/people.ts";
import {
  approve,
  askSupport,
  end,
  enterTenant,
  leave,
  setMode,
  shownSessions,
  supportState,
  supportToken,
  type SupportGrant,
  type SupportSession,
} from "./support/support.ts";

// Operators in a tenant: who lets them in, what they may do there, and every way in which that ends.

stopClock();

const status = async (response: Response | Promise<Response>) => (await response).status;
const codeOf = async (response: Response | Promise<Response>) =>
  (await (await response).json<{ code: string }>()).code;
const get = (token: string, path = "/v1/projects") => request("GET", path, { token });

type Event = { actor: object; resource: string; action: string; resource_id: string; changed: string[] };
const trailOf = async ({ token }: SignedIn) =>
  (await answered<{ data: Event[] }>(200, get(token, "/v1/audit-events?limit=100"))).data;

let operator: TestOperator;
let ada: SignedIn;
beforeAll(async () => {
  operator = await newOperator("support");
});
beforeEach(async () => {
  ada = await newTenant();
});

/** A session in Ada's tenant, which lets operators in. */
async function entered(body?: object): Promise<SupportGrant> {
  await answered(200, setMode(ada, "on"));
  return enterTenant(operator, ada, body);
}

/** What the operator has asked of Ada's tenant, where an owner answers. */
async function asked(body?: object): Promise<SupportSession> {
  await answered(200, setMode(ada, "ask"));
  return answered<SupportSession>(202, askSupport(operator, ada, body));
}

/** The same, and an owner has let them in. */
async function approved(owner = ada): Promise<SupportGrant> {
  const { id } = await asked();
  await answered(200, approve(owner, id));
  return answered<SupportGrant>(200, supportToken(operator, ada, id));
}

describe("a tenant's choice", () => {
  it("is off until an owner says otherwise, and shown to its members", async () => {
    const path = "/v1/tenant/support-access";
    const viewer = await newMember(ada.tenant.id, "viewer");
    for (const { token } of [ada, viewer])
      expect(await answered(200, get(token, path))).toEqual({ mode: "off" });
    const answer = await setMode(ada, "ask");
    expect(await answer.json()).toEqual({ mode: "ask" });
    expect(await answered(200, get(viewer.token, path))).toEqual({ mode: "ask" });
    const stale = { token: ada.token, body: { mode: "on" }, headers: { "if-match": '"1"' } };
    expect(await status(request("PATCH", path, stale))).toBe(412);
    expect(await answered(200, get(ada.token, path))).toEqual({ mode: "ask" });
  });

  it("is an owner's, with a recent proof: no other role's, no key's and no operator's", async () => {
    const owner = await signedUp();
    const { text } = await storedKey(owner);
    const others = await Promise.all(
      (["viewer", "member", "admin"] as const).map((role) => newMember(owner.tenant.id, role)),
    );
    const session = await entered({ write: true });
    const { token } = await newOperator("admin");
    for (const one of [...others, { token: text }, { token: session.access_token }])
      expect(await codeOf(setMode(one, "on"))).toBe("insufficient_scope");
    for (const one of [token, settings.OPERATOR_TOKEN])
      expect(await status(setMode({ token: one }, "on"))).toBe(401);
    expect(await codeOf(setMode({ token: await aWhileLater(owner) }, "on"))).toBe("step_up_required");
    expect(await answered(200, get(owner.token, "/v1/tenant/support-access"))).toEqual({ mode: "off" });
  });
});

describe("an operator who asks to look in", () => {
  it("is refused where the tenant lets nobody in", async () => {
    expect(await codeOf(askSupport(operator, ada))).toBe("support_access_off");
    expect(await shownSessions(ada)).toEqual([]);
  });

  it("is a person of the role support: no viewer, no script, nobody of a tenant", async () => {
    await answered(200, setMode(ada, "on"));
    for (const token of [(await newOperator("viewer")).token, settings.OPERATOR_TOKEN])
      expect(await codeOf(askSupport({ token }, ada))).toBe("insufficient_scope");
    expect(await status(askSupport({ token: ada.token }, ada))).toBe(401);
    expect(await status(asOperator(undefined, "POST", `tenants/${ada.tenant.id}/support-sessions`))).toBe(
      401,
    );
    expect(await shownSessions(ada)).toEqual([]);
    await enterTenant(await newOperator("admin"), ada);
  });

  it("says why, and for how long: an hour at most", async () => {
    await answered(200, setMode(ada, "on"));
    for (const body of [
      { minutes: 61 },
      { minutes: 0 },
      { minutes: 1.5 },
      { reason: " " },
      { role: "owner" },
    ])
      expect(await status(askSupport(operator, ada, body))).toBe(422);
    expect(await shownSessions(ada)).toEqual([]);
  });

  it("is not let into a tenant that is suspended, closing, or not there", async () => {
    await answered(200, setMode(ada, "on"));
    await operate(ada.tenant.id, { status: "suspended", reason: "unpaid" });
    expect(await codeOf(askSupport(operator, ada))).toBe("tenant_state");
    await operate(ada.tenant.id, { status: "closing", reason: "unpaid" });
    expect(await codeOf(askSupport(operator, ada))).toBe("tenant_state");
    const nobody = { ...ada, tenant: { ...ada.tenant, id: crypto.randomUUID() } };
    expect(await status(askSupport(operator, nobody))).toBe(404);
  });

  it("is in at once where the tenant says so, with a token that names them and nobody else", async () => {
    const session = await entered({ minutes: 5 });
    expect(session).toMatchObject({
      status: "active",
      operator: { id: operator.id, name: operator.email },
      reason: "Ticket 4711",
      write: false,
      approved_by: null,
      token_type: "Bearer",
    });
    const claims = decodeJwt(session.access_token);
    expect(claims.exp).toBe(Math.floor(Date.parse(session.expires_at ?? "") / 1000));
    expect(claims).toMatchObject({
      aud: settings.ISSUER,
      sub: ada.tenant.id,
      tid: ada.tenant.id,
      sid: session.id,
      act: { sub: operator.id, name: operator.email },
      scope: SUPPORT_SCOPES.support.join(" "),
    });
    expect(await answered(200, get(session.access_token, "/v1/me"))).toEqual({
      user: null,
      email_verified: null,
      api_key: null,
      role: null,
      scopes: SUPPORT_SCOPES.support,
      tenant: { id: ada.tenant.id, slug: ada.tenant.slug, name: ada.tenant.name },
      other_tenants: [],
      act: {
        sub: operator.id,
        name: operator.email,
        session_id: session.id,
        reason: "Ticket 4711",
        write: false,
        expires_at: session.expires_at,
      },
    });
    expect(await answered(200, get(ada.token, "/v1/me"))).toMatchObject({ act: null });
  });

  it("gives up what they had open there, and nobody else's", async () => {
    const first = await entered();
    const other = await enterTenant(await newOperator("support"), ada);
    const second = await enterTenant(operator, ada);
    expect(await status(get(first.access_token))).toBe(401);
    for (const { access_token } of [other, second]) expect(await status(get(access_token))).toBe(200);
    expect((await shownSessions(ada)).map((each) => each.end_reason)).toEqual([null, null, "replaced"]);
  });
});

describe("where an owner is asked", () => {
  it("nobody is in before an owner approves, and then for the time that was asked from then on", async () => {
    const session = await asked({ minutes: 7 });
    expect(session).toMatchObject({ status: "asked", started_at: null, expires_at: null });
    expect(session).not.toHaveProperty("access_token");
    expect(await codeOf(supportToken(operator, ada, session.id))).toBe("support_session_asked");
    await stage`update control.support_sessions set created_at = now() - interval '2 hours' where id = ${session.id}`;

    const now = await answered<SupportSession>(200, approve(ada, session.id));
    expect(now).toMatchObject({ status: "active", approved_by: ada.user.id });
    const length = Date.parse(now.expires_at ?? "") - Date.parse(now.started_at ?? "");
    expect(length).toBe(7 * 60_000);
    expect(await answered(200, approve(ada, session.id))).toEqual(now);
    const grant = await answered<SupportGrant>(200, supportToken(operator, ada, session.id));
    expect(await status(get(grant.access_token))).toBe(200);
    expect(await answered(200, supportState(operator, ada, session.id))).toEqual(now);
  });

  it("only an owner approves, with a recent proof, and only of their own tenant", async () => {
    const { id } = await asked();
    const admin = await newMember(ada.tenant.id, "admin");
    const { text } = await storedKey(ada);
    for (const one of [admin, { token: text }])
      expect(await codeOf(approve(one, id))).toBe("insufficient_scope");
    expect(await codeOf(approve({ token: await aWhileLater(ada) }, id))).toBe("step_up_required");
    expect(await status(approve(await newTenant(), id))).toBe(404);
    for (const token of [operator.token, settings.OPERATOR_TOKEN])
      expect(await status(approve({ token }, id))).toBe(401);
    expect(await codeOf(supportToken(operator, ada, id))).toBe("support_session_asked");
  });

  it("the token is for whoever asked, and no other operator", async () => {
    const { id } = await approved();
    for (const role of ["support", "admin"] as const)
      expect(await status(supportToken(await newOperator(role), ada, id))).toBe(404);
    for (const token of [settings.OPERATOR_TOKEN])
      expect(await status(supportToken({ token }, ada, id))).toBe(404);
    expect(await status(supportToken({ token: ada.token }, ada, id))).toBe(401);
    expect(await status(supportToken(operator, await newTenant(), id))).toBe(404);
  });

  it("what no owner answers within a day, or refuses, comes to nothing", async () => {
    const late = await asked();
    await stage`update control.support_sessions set created_at = now() - interval '25 hours' where id = ${late.id}`;
    expect(await codeOf(approve(ada, late.id))).toBe("support_session_over");
    expect(await codeOf(supportToken(operator, ada, late.id))).toBe("support_session_over");
    expect((await shownSessions(ada))[0]).toMatchObject({
      status: "ended",
      end_reason: "unanswered",
      ended_by: null,
    });

    const { id } = await asked();
    await answered(204, end(ada, id));
    expect(await codeOf(approve(ada, id))).toBe("support_session_over");
    expect(await codeOf(supportToken(operator, ada, id))).toBe("support_session_over");
    expect((await shownSessions(ada))[0]).toMatchObject({
      status: "ended",
      started_at: null,
      end_reason: "ended",
      ended_by: { type: "user", id: ada.user.id },
    });
  });
});

describe("a session of support is over", () => {
  /** Refused at the next request, for the token that it has, and for another. */
  async function isOver(
    { id, access_token }: SupportGrant,
    reason: string,
    by: object | null,
  ): Promise<void> {
    expect(await status(get(access_token))).toBe(401);
    expect(await codeOf(supportToken(operator, ada, id))).toBe("support_session_over");
    const shown = (await shownSessions(ada)).find((each) => each.id === id);
    expect(shown).toMatchObject({ status: "ended", end_reason: reason, ended_by: by });
    expect(shown?.ended_at).toEqual(expect.any(String));
  }
  const byAda = () => ({ type: "user", id: ada.user.id });
  const BY_SERVICE = { type: "operator", id: "00000000-0000-0000-0000-000000000000" };

  it("when its time is: no token lasts longer than that, or than ten minutes", async () => {
    const session = await entered({ minutes: 60 });
    expect(session.expires_in).toBe(600);
    const soon = new Date(Date.now() + 30_000);
    await stage`update control.support_sessions set expires_at = ${soon} where id = ${session.id}`;
    const next = await answered<SupportGrant>(200, supportToken(operator, ada, session.id));
    expect(next.expires_in).toBeLessThanOrEqual(30);
    expect(await status(get(next.access_token))).toBe(200);
    vi.setSystemTime(Date.now() + 31_000);
    expect(await status(get(next.access_token))).toBe(401);
    await stage`update control.support_sessions set expires_at = now() where id = ${session.id}`;
    await isOver(next, "expired", null);
  });

  it("when an admin ends it, and at once: no member and no other tenant can", async () => {
    const session = await entered();
    expect(await status(get(session.access_token))).toBe(200);
    const member = await newMember(ada.tenant.id, "member");
    expect(await status(end(member, session.id))).toBe(403);
    expect(await status(end(await newTenant(), session.id))).toBe(404);
    expect(await status(end({ token: session.access_token }, session.id))).toBe(403);
    expect(await status(get(session.access_token))).toBe(200);
    const admin = await newMember(ada.tenant.id, "admin");
    await answered(204, end(admin, session.id));
    await isOver(session, "ended", { type: "user", id: admin.user.id });
    await answered(204, end(ada, session.id));
    await isOver(session, "ended", { type: "user", id: admin.user.id });
  });

  it("when the tenant lets nobody in any more", async () => {
    const session = await entered();
    await answered(200, setMode(ada, "off"));
    await isOver(session, "mode", byAda());
    const { id } = await asked();
    await answered(200, setMode(ada, "off"));
    await answered(200, setMode(ada, "on"));
    expect(await codeOf(approve(ada, id))).toBe("support_session_over");
  });

  it("when the tenant's owners are to be asked, unless one has been", async () => {
    const session = await entered();
    await answered(200, setMode(ada, "ask"));
    await isOver(session, "mode", byAda());
    const second = await approved();
    await answered(200, setMode(ada, "on"));
    await answered(200, setMode(ada, "ask"));
    expect(await status(get(second.access_token))).toBe(200);
  });

  it.each(["a member", "nobody"])("when the owner who approved it is %s by now", async (what) => {
    const other = await newMember(ada.tenant.id, "owner");
    const session = await approved(other);
    expect(await status(get(session.access_token))).toBe(200);
    const path = `/v1/members/${other.user.id}`;
    const { token } = ada;
    if (what === "nobody") await answered(204, request("DELETE", path, { token }));
    else await answered(200, request("PATCH", path, { token, body: { role: "member" } }));
    await isOver(session, "approver", byAda());
  });

  it("when the tenant is suspended, also when it is let go on", async () => {
    const session = await entered();
    await operate(ada.tenant.id, { status: "suspended", reason: "unpaid" });
    expect(await codeOf(get(session.access_token))).toBe("unauthenticated");
    await operate(ada.tenant.id, { status: "active", reason: "paid" });
    await isOver(session, "tenant_status", BY_SERVICE);
  });

  it("when the operator leaves; another cannot end it, and an admin can", async () => {
    const session = await entered();
    expect(await status(leave(await newOperator("support"), ada, session.id))).toBe(404);
    expect(await status(get(session.access_token))).toBe(200);
    await answered(204, leave(operator, ada, session.id));
    await isOver(session, "ended", { type: "operator", id: operator.id });
    const second = await enterTenant(operator, ada);
    const admin = await newOperator("admin");
    await answered(204, leave(admin, ada, second.id));
    await isOver(second, "ended", { type: "operator", id: admin.id });
  });

  it.each([
    ["is removed", (id: string) => stage`update control.operators set disabled_at = now() where id = ${id}`],
    [
      "may only look on",
      (id: string) => stage`update control.operators set role = 'viewer' where id = ${id}`,
    ],
    ["has new secrets", (id: string) => stage`update control.operators set generation = 2 where id = ${id}`],
    ["is deleted", (id: string) => stage`delete from control.operators where id = ${id}`],
  ] as const)(
    "at the next request after the operator %s, though nobody tells the tenant's object",
    async (_, change) => {
      await answered(200, setMode(ada, "on"));
      const gone = await newOperator("support");
      const session = await enterTenant(gone, ada);
      expect(await status(get(session.access_token))).toBe(200);
      await change(gone.id);
      expect(await status(get(session.access_token))).toBe(401);
      expect(await shownSessions(ada)).toMatchObject([
        { status: "ended", end_reason: "operator", ended_by: BY_SERVICE },
      ]);
      expect(await status(supportToken(gone, ada, session.id))).not.toBe(200);
    },
  );
});

describe("an operator who signs out, or changes their password,", () => {
  it.each([
    ["signs out", (of: TestOperator) => asOperator(of.token, "DELETE", "sessions/current")],
    [
      "changes the password",
      (of: TestOperator) =>
        asOperator(of.token, "POST", "me/password", {
          current_password: OPERATOR_PASSWORD,
          code: totpOf(of),
          password: "another that was generated",
        }),
    ],
  ] as const)("leaves the tenants that they are in, and what they asked: %s", async (_, leaveAll) => {
    const gone = await newOperator("support", { password: true });
    await answered(200, setMode(ada, "on"));
    const active = await enterTenant(gone, ada);
    const bob = await newTenant();
    await answered(200, setMode(bob, "ask"));
    await answered<SupportSession>(202, askSupport(gone, bob));
    const another = await enterTenant(operator, ada);
    expect(await status(get(active.access_token))).toBe(200);
    await answered(204, leaveAll(gone));
    expect(await status(get(active.access_token))).toBe(401);
    expect(await status(get(another.access_token))).toBe(200);
    const over = { status: "ended", end_reason: "operator", ended_by: { type: "operator", id: gone.id } };
    expect((await shownSessions(ada))[1]).toMatchObject(over);
    expect(await shownSessions(bob)).toMatchObject([over]);
    // The tenant's trail has it without another request of anybody's there.
    const [latest] = await trailOf(bob);
    expect(latest).toMatchObject({
      actor: { type: "operator", id: gone.id },
      resource: "support_sessions",
      changed: ["ended_at"],
    });
  });

  it("asks for nothing any more: neither a new session nor a token of the one that has ended", async () => {
    await answered(200, setMode(ada, "on"));
    const gone = await newOperator("support");
    const { id } = await enterTenant(gone, ada);
    const { token } = await newSession(gone);
    await answered(204, asOperator(gone.token, "DELETE", "sessions/current"));
    expect(await status(askSupport(gone, ada))).toBe(401);
    expect(await codeOf(supportToken({ token }, ada, id))).toBe("support_session_over");
    const by = { id: gone.id, actor: gone.email, reason: "race" };
    const ask = (session: string) => stage`
      select control.ask_support_in_session(${by}::jsonb, ${session}, ${crypto.randomUUID()}, ${ada.tenant.id}, 5, false) as done`;
    expect(await ask(gone.sessionId)).toEqual([{ done: "nobody" }]);
    expect(await ask(crypto.randomUUID())).toEqual([{ done: "nobody" }]);
  });
});

describe("what an operator does in a tenant", () => {
  it("is reading, unless the tenant let them write: then content alone", async () => {
    const { id } = await newProject(ada.token);
    const reads = await entered();
    const body = { name: "Loft" };
    const path = `/v1/projects/${id}`;
    expect(await answered(200, get(reads.access_token, path))).toMatchObject({ id });
    const { access_token: token } = reads;
    expect(await codeOf(request("PATCH", path, { token, body }))).toBe("insufficient_scope");
    expect(await codeOf(request("POST", "/v1/projects", { token, body }))).toBe("insufficient_scope");
    expect(await codeOf(request("DELETE", path, { token }))).toBe("insufficient_scope");
    const writes = await enterTenant(operator, ada, { write: true });
    await answered(200, request("PATCH", path, { token: writes.access_token, body }));
    const tenant = { token: writes.access_token, body: { name: "Theirs" } };
    expect(await codeOf(request("PATCH", "/v1/tenant", tenant))).toBe("insufficient_scope");
  });

  it("leaves another tenant as it is, and the operators' routes to their own tokens", async () => {
    const bob = await newTenant();
    const { id } = await newProject(bob.token);
    const { access_token: token } = await entered({ write: true });
    for (const method of ["GET", "DELETE"])
      expect(await status(request(method, `/v1/projects/${id}`, { token }))).toBe(404);
    expect(await status(asOperator(token, "GET", "erasures"))).toBe(401);
    expect(await status(askSupport({ token }, bob))).toBe(401);
    expect(await status(get(operator.token))).toBe(401);
    expect(await status(get(operator.token, "/v1/me"))).toBe(401);
  });

  it("is within the tenant's state and limits", async () => {
    const session = await entered({ write: true });
    await operate(ada.tenant.id, { status: "read_only", reason: "unpaid" });
    const { access_token: token } = session;
    expect(await status(get(token))).toBe(200);
    expect(await codeOf(request("POST", "/v1/projects", { token, body: { name: "x" } }))).toBe(
      "tenant_read_only",
    );
    await operate(ada.tenant.id, { limits: [{ name: "minute", limit: 1, window: 60 }], reason: "test" });
    expect([await status(get(token)), await status(get(token))]).toContain(429);
  });

  it("is in the tenant's trail under the operator's name, and so is how they came and went", async () => {
    const { access_token: token, id } = await asked({ write: true }).then(async (session) => {
      await answered(200, approve(ada, session.id));
      return answered<SupportGrant>(200, supportToken(operator, ada, session.id));
    });
    const project = await newProject(token);
    await newProject(ada.token);
    await answered(204, leave(operator, ada, id));
    const data = await trailOf(ada);
    const trail = data.toReversed().map((each) => [each.actor, each.action, each.resource, each.changed]);
    const user = { type: "user", id: ada.user.id, name: null };
    const as = (type: string) => ({ type, id: operator.id, name: operator.email });
    expect(trail.slice(-6)).toEqual([
      [user, "update", "tenants", ["support_access"]],
      [as("operator"), "create", "support_sessions", []],
      [user, "update", "support_sessions", ["started_at"]],
      [as("support"), "create", "projects", []],
      [user, "create", "projects", []],
      [as("operator"), "update", "support_sessions", ["ended_at"]],
    ]);
    expect(data.filter((each) => each.resource_id === project.id)).toHaveLength(1);
    expect(data.filter((each) => each.resource_id === id)).toHaveLength(3);
  });

  it("is in the operators' trail, with the reason", async () => {
    const { id } = await entered();
    await answered(204, leave(operator, ada, id));
    const events = await stage`
      select actor_id, actor, action, reason, change ->> 'session' as session from control.operator_events
      where tenant_id = ${ada.tenant.id} and action like 'support.%' order by created_at, id`;
    const event = { actor_id: operator.id, actor: operator.email, reason: "Ticket 4711", session: id };
    expect(events).toEqual([
      { ...event, action: "support.ask" },
      { ...event, action: "support.end" },
    ]);
  });

  it("makes one object call and one database request, beside the object's own, which looks whether they are still in", async () => {
    const { access_token: token } = await entered({ write: true });
    await answered(200, get(token));
    const calls = countCalls();
    await answered(200, get(token));
    expect(calls).toEqual({ object: 1, sql: 2, site: 0 });
    await answered(201, request("POST", "/v1/projects", { token, body: { name: "Roof" } }));
    expect(calls).toEqual({ object: 2, sql: 4, site: 0 });
    vi.restoreAllMocks();
  });
});
