import { beforeEach, describe, expect, it } from "vitest";
import type { Session } from "../src/identity/session.ts";
import { STATES, TENANT_STATUSES, type TenantStatus } from "../src/tenant-states.ts";
import { settings } from "../src/env.ts";
import {
  answered,
  catchUp,
  newMember,
  newProject,
  newTenant,
  operate,
  PASSWORD,
  request,
  signedUp,
  stage,
  storedKey,
  type SignedIn,
} from "./support/client.ts";

const PROBLEM_TYPE = (status: TenantStatus) => ({ type: `/problems/tenant_${status}` });
const operator = (method: string, path: string, body?: object) =>
  request(method, `/v1/operator/tenants/${path}`, { token: settings.OPERATOR_TOKEN, body });
const DAY_MS = 86_400_000;

describe.each(["read_only", "suspended", "closing", "erasing"] as const)(
  "a tenant that is %s, to somebody in several",
  (status) => {
    let first: SignedIn;
    let others: Session[];
    const signIn = (tenant?: string) =>
      request("POST", "/v1/sessions", { body: { email: first.user.email, password: PASSWORD, tenant } });
    const end = ({ tenant }: Session) => enter(tenant.id, status);
    const isEntered = STATES[status].signsIn === "members";

    beforeEach(async () => {
      first = await signedUp();
      others = [];
      for (let index = 2; index <= 3; index++) {
        const slug = `${first.tenant.slug}-${index}`;
        const body = { email: first.user.email, password: PASSWORD, tenant: { name: slug, slug } };
        others.push(await answered<Session>(201, request("POST", "/v1/signup", { body })));
      }
    });

    it.skipIf(isEntered)(
      "is no choice at sign-in: the one that is left is entered without a question",
      async () => {
        const [second, third] = others;
        await end(first);
        const asked = await answered<{ errors: object[]; tenants: object[] }>(422, signIn());
        const slugs = `${second?.tenant.slug}, ${third?.tenant.slug}`;
        expect(asked.errors).toEqual([{ pointer: "/tenant", detail: `Say which tenant: ${slugs}.` }]);
        expect(asked.tenants).toEqual(others.map(({ tenant: { id, slug, name } }) => ({ id, slug, name })));
        if (third) await end(third);
        expect((await answered<Session>(201, signIn())).tenant).toEqual(second?.tenant);
      },
    );

    it("is said to be so at sign-in, but to the owner of one that closes or can be read", async () => {
      await Promise.all([first, ...others].map(end));
      for (const slug of [first.tenant.slug, others[1]?.tenant.slug])
        if (STATES[status].signsIn === "nobody")
          expect(await answered(403, signIn(slug))).toMatchObject(PROBLEM_TYPE(status));
        else expect((await answered<Session>(201, signIn(slug))).tenant.slug).toBe(slug);
      if (STATES[status].signsIn === "nobody")
        expect(await answered(403, signIn())).toMatchObject(PROBLEM_TYPE(status));
    });

    it("is listed among their other tenants, and can be switched to, only if it can be entered", async () => {
      const [second, third] = others;
      if (third) await end(third);
      const me = await answered<{ tenant: unknown; other_tenants: unknown[] }>(
        200,
        request("GET", "/v1/me", { token: first.token }),
      );
      expect(me.other_tenants).toEqual(isEntered ? others.map(({ tenant }) => tenant) : [second?.tenant]);
      expect(me.tenant).toEqual(first.tenant);
      const to = (tenant?: string) =>
        request("POST", "/v1/sessions/switch", { token: first.token, body: { tenant } });
      if (STATES[status].signsIn === "nobody")
        expect(await answered(403, to(third?.tenant.slug))).toMatchObject(PROBLEM_TYPE(status));
      await answered(201, to(second?.tenant.slug));
    });
  },
);

/** Brings an active tenant into a status, as whoever operates the deployment does. */
async function enter(tenantId: string, status: TenantStatus): Promise<void> {
  if (status === "active") return;
  if (status !== "erasing") return void (await operate(tenantId, { status }));
  await stage`update control.tenants set status = 'erasing' where id = ${tenantId}`;
  await catchUp(tenantId);
}

// What docs/lifecycle.md says, by hand.
const MAY: Record<TenantStatus, string[]> = {
  active: ["reads", "writes", "signs out", "owner reads the tenant", "member reads the tenant", "key reads"],
  read_only: ["reads", "signs out", "owner reads the tenant", "member reads the tenant", "key reads"],
  suspended: [],
  closing: ["owner reads the tenant"],
  erasing: [],
};

it.each(TENANT_STATUSES)(
  "a tenant that is %s lets in what its status allows, and says why it refuses",
  async (status) => {
    const owner = await newTenant();
    const member = await newMember(owner.tenant.id, "member");
    const key = await storedKey(owner);
    await newProject(owner.token);
    await enter(owner.tenant.id, status);
    const asks: Record<string, Promise<Response>> = {
      reads: request("GET", "/v1/projects", { token: member.token }),
      writes: request("POST", "/v1/projects", { token: member.token, body: { name: "Roof" } }),
      "owner reads the tenant": request("GET", "/v1/tenant", { token: owner.token }),
      "member reads the tenant": request("GET", "/v1/tenant", { token: member.token }),
      "key reads": request("GET", "/v1/members", { token: key.text }),
    };
    const answers: Record<string, Response> = {};
    for (const [name, ask] of Object.entries(asks)) answers[name] = await ask;
    answers["signs out"] = await request("DELETE", "/v1/sessions/current", { token: member.token });
    const passed = Object.entries(answers).flatMap(([name, { ok }]) => (ok ? [name] : []));
    expect(passed.toSorted()).toEqual(MAY[status].toSorted());
    for (const answer of Object.values(answers)) {
      if (answer.ok) continue;
      expect(answer.status).toBe(403);
      expect(await answer.json()).toMatchObject(PROBLEM_TYPE(status));
    }
  },
);

it("closes for a grace period, in which its owner alone can enter, and restore it", async () => {
  const owner = await signedUp();
  const member = await newMember(owner.tenant.id, "admin", PASSWORD);
  const before = await answered(200, request("GET", "/v1/tenant", { token: owner.token }));
  expect(before).toMatchObject({ status: "active", closes_at: null });
  const close = () =>
    answered<{ closes_at: string }>(202, request("DELETE", "/v1/tenant", { token: owner.token }));
  const closing = await close();
  expect(closing).toMatchObject({ status: "closing" });
  const grace = (Date.parse(closing.closes_at) - Date.now()) / DAY_MS;
  expect(grace).toBeGreaterThan(29.9);
  expect(grace).toBeLessThan(30.1);
  expect(await close()).toMatchObject({ closes_at: closing.closes_at });

  const signIn = (email: string) => request("POST", "/v1/sessions", { body: { email, password: PASSWORD } });
  expect(await answered(403, signIn(member.user.email))).toMatchObject(PROBLEM_TYPE("closing"));
  const again = await answered<Session>(201, signIn(owner.user.email));
  const refreshed = await answered<Session>(
    200,
    request("POST", "/v1/sessions/refresh", { body: { refresh_token: again.refresh_token } }),
  );
  await answered(
    401,
    request("POST", "/v1/sessions/refresh", { body: { refresh_token: member.refresh_token } }),
  );
  const token = refreshed.access_token;
  expect(await answered(200, request("GET", "/v1/me", { token }))).toMatchObject({ role: "owner" });
  await answered(403, request("GET", "/v1/projects", { token }));
  await answered(403, request("POST", "/v1/tenant/restore", { token: member.token }));

  expect(await answered(200, request("POST", "/v1/tenant/restore", { token }))).toMatchObject({
    status: "active",
    closes_at: null,
  });
  await newProject(member.token);
  // Again, as after a lost answer.
  await answered(200, request("POST", "/v1/tenant/restore", { token }));
  const { data } = await answered<{ data: { resource: string; changed: string[]; actor: object }[] }>(
    200,
    request("GET", "/v1/audit-events", { token: owner.token }),
  );
  const changes = data.filter(({ resource }) => resource === "tenants").map(({ changed }) => changed);
  expect(changes).toEqual([
    ["closes_at", "restores_to", "status"],
    ["closes_at", "restores_to", "status"],
  ]);
});

it("is closed and restored by the operator, with a reason, and comes back as it was", async () => {
  const owner = await newTenant();
  const { id } = owner.tenant;
  await answered(422, operator("DELETE", id, {}));
  await operate(id, { status: "suspended" });
  expect(await answered(202, operator("DELETE", id, { reason: "unpaid" }))).toMatchObject({
    status: "closing",
  });
  // A suspended tenant's owner does not come back by its closing.
  for (const [method, path] of [
    ["GET", "/v1/tenant"],
    ["POST", "/v1/tenant/restore"],
  ] as const)
    expect(await answered(403, request(method, path, { token: owner.token }))).toMatchObject(
      PROBLEM_TYPE("suspended"),
    );
  expect(await answered(200, operator("POST", `${id}/restore`, { reason: "paid" }))).toMatchObject({
    status: "suspended",
  });
  await operate(id, { status: "read_only" });
  await answered(202, request("DELETE", "/v1/tenant", { token: owner.token }));
  expect(await answered(200, request("POST", "/v1/tenant/restore", { token: owner.token }))).toMatchObject({
    status: "read_only",
  });
  const { data } = await answered<{ data: { actor: { type: string } }[] }>(
    200,
    request("GET", "/v1/audit-events?limit=1", { token: owner.token }),
  );
  expect(data).toHaveLength(1);
});

describe("the status of a tenant", () => {
  it("follows src/tenant-states.ts on every path of SQL, whoever acts", async () => {
    const { tenant } = await newTenant();
    for (const from of TENANT_STATUSES)
      for (const to of TENANT_STATUSES) {
        if (from === to) continue;
        await stage`alter table control.tenants disable trigger change_status`;
        const closing = from === "closing";
        await stage`update control.tenants set status = ${from},
          closes_at = ${closing ? "2100-01-01" : null}, restores_to = ${closing ? "active" : null} where id = ${tenant.id}`;
        await stage`alter table control.tenants enable trigger change_status`;
        const outcome = await stage`update control.tenants set status = ${to} where id = ${tenant.id}`.then(
          () => "done",
          (error: { code: string }) => error.code,
        );
        const may = STATES[from].next[to]?.includes("operator");
        expect([from, to, outcome]).toEqual([from, to, may ? "done" : "PW008"]);
      }
  });
});
