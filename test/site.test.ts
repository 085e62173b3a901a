import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { exchanged, newIssuer, trust } from "./support/issuer.ts";
import {
  answered,
  catchUp,
  newMember,
  newProject,
  newTask,
  newTenant,
  request,
  signedUp,
  stage,
  type SignedIn,
} from "./support/client.ts";
import { crash } from "./support/crash.ts";
import { AT_SITE, PLACE } from "./support/site.ts";

// What a tenant's site keeps of the control plane: who the members are, and what the audit trail says of it.

let ada: SignedIn;
beforeEach(async () => {
  ada = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

type Event = { resource: string; action: string; actor: { type: string; id: string }; resource_id: string };
const trail = async () =>
  (await answered<{ data: Event[] }>(200, request("GET", "/v1/audit-events?limit=100", { token: ada.token })))
    .data;
const members = (tenant = ada.tenant.id) =>
  AT_SITE.stage.query(
    `select id, email, role from ${PLACE.schema}.members where tenant_id = $1 order by role, email`,
    [tenant],
  );
const former = () =>
  AT_SITE.stage.query(`select id, email from ${PLACE.schema}.former_members where tenant_id = $1`, [
    ada.tenant.id,
  ]);
const shown = ({ user: { id, email } }: SignedIn, role: string) => ({ id, email, role });
const setRole = ({ user }: SignedIn, role: string) =>
  answered(200, request("PATCH", `/v1/members/${user.id}`, { token: ada.token, body: { role } }));
const remove = ({ user }: SignedIn) =>
  answered(204, request("DELETE", `/v1/members/${user.id}`, { token: ada.token }));
const rename = (name: string) =>
  answered(200, request("PATCH", "/v1/tenant", { token: ada.token, body: { name } }));
const renames = async () =>
  (await trail()).filter(({ resource, action }) => resource === "tenants" && action === "update").length;

/** What happens to requests to the site from now on; returns how many there were. */
function siteIs(how: "down" | "silent about what it did") {
  const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const seen = { requests: 0, logged };
  const fetching = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const isDelivery =
      String(input) === settings.NEON_FETCH_ENDPOINT && String(init?.body).includes("select receive");
    if (!isDelivery) return fetching(input, init);
    seen.requests += 1;
    if (how !== "down") await fetching(input, init);
    return new Response(null, { status: 502 });
  });
  return seen;
}

const alarmOf = () => runInDurableObject(tenantObject(ada.tenant.id), (_, { storage }) => storage.getAlarm());
/** Has the object's alarm ring, if it is set. */
const ring = () => runDurableObjectAlarm(tenantObject(ada.tenant.id));
/** Has it ring until nothing is left: what is not delivered within two seconds goes on at the next alarm. */
const ringOut = () =>
  expect
    .poll(async () => {
      await ring();
      return alarmOf();
    })
    .toBeNull();

describe("a tenant's site", () => {
  it("knows the owner when a sign-up is answered: a task can be theirs at once", async () => {
    const owner = await signedUp(null);
    expect(await members(owner.tenant.id)).toEqual([shown(owner, "owner")]);
    const { id } = await newProject(owner.token);
    await newTask(owner.token, id, { title: "Tiles", assignee_id: owner.user.id });
  });

  it("knows each member as they are, and who has left", async () => {
    const bea = await newMember(ada.tenant.id, "member");
    expect(await members()).toEqual([shown(bea, "member"), shown(ada, "owner")]);
    await setRole(bea, "viewer");
    expect(await members()).toEqual([shown(ada, "owner"), shown(bea, "viewer")]);
    await remove(bea);
    expect(await members()).toEqual([shown(ada, "owner")]);
    expect(await former()).toEqual([bea.user].map(({ id, email }) => ({ id, email })));
  });

  it("knows the new email of an issuer's user, and forgets the users of an issuer that is gone", async () => {
    const idp = newIssuer();
    const { id } = await trust(ada, idp);
    await exchanged(await idp.sign({ sub: "ann", email: "ann@acme.test" }));
    expect((await members()).map(({ email }) => email)).toContain("ann@acme.test");
    await exchanged(await idp.sign({ sub: "ann", email: "ann.b@acme.test" }));
    expect((await members()).map(({ email }) => email)).toContain("ann.b@acme.test");
    await answered(204, request("DELETE", `/v1/issuers/${id}`, { token: ada.token }));
    expect(await members()).toEqual([shown(ada, "owner")]);
  });

  it("takes a member's tasks from them when they leave, in the name of whoever removed them", async () => {
    const bea = await newMember(ada.tenant.id, "member");
    const { id: project } = await newProject(ada.token);
    const { id } = await newTask(ada.token, project, { title: "Tiles", assignee_id: bea.user.id });
    await remove(bea);
    const task = await answered<object>(200, request("GET", `/v1/tasks/${id}`, { token: ada.token }));
    expect(task).toMatchObject({ assignee_id: null });
    const actor = { type: "user", id: ada.user.id, name: null };
    expect(await trail()).toContainEqual(
      expect.objectContaining({ action: "update", resource: "tasks", resource_id: id, actor }),
    );
  });
});

describe("while a site is out of reach", () => {
  it("a change is answered and in force; the site gets all of it when its object's alarm rings", async () => {
    const bea = await newMember(ada.tenant.id, "member");
    siteIs("down");
    await setRole(bea, "admin");
    await remove(bea);
    await rename("Acme");
    expect((await request("GET", "/v1/tenant", { token: bea.token })).status).toBe(401);
    expect(await alarmOf()).toBeGreaterThan(Date.now());
    expect(await alarmOf()).toBeLessThan(Date.now() + 45_000);
    vi.restoreAllMocks();
    expect(await members()).toEqual([shown(bea, "member"), shown(ada, "owner")]);
    await ringOut();
    expect(await members()).toEqual([shown(ada, "owner")]);
    expect(await renames()).toBe(1);
  });

  it("one line is logged, and the other requests of the tenant do not notice", async () => {
    const { logged } = siteIs("down");
    for (const name of ["A", "B", "C"]) await rename(name);
    expect(logged.mock.calls.map(([line]) => line)).toEqual([
      expect.objectContaining({ message: "site not told", tenant: ada.tenant.id }),
    ]);
    await answered(200, request("GET", "/v1/projects", { token: ada.token }));
  });

  it("is asked less and less often, while the tenant changes nothing", async () => {
    siteIs("down");
    // Without a request, which the alarm would ring for too, to tell Postgres of it.
    await stage`update control.tenants set name = 'A' where id = ${ada.tenant.id}`;
    await catchUp(ada.tenant.id);
    const waits: number[] = [];
    for (let times = 0; times < 7; times++) {
      waits.push(Math.round(((await alarmOf()) ?? 0) - Date.now()) / 1000);
      await ring();
    }
    expect(waits.map((seconds) => Math.round(seconds / 10) * 10)).toEqual([10, 20, 40, 80, 160, 300, 300]);
  });

  it("its object may crash: nothing is lost, and nothing arrives twice", async () => {
    siteIs("down");
    for (const name of ["A", "B"]) await rename(name);
    await crash(ada.tenant.id);
    vi.restoreAllMocks();
    await catchUp(ada.tenant.id);
    await ringOut();
    expect(await renames()).toBe(2);
    await rename("C");
    expect(await renames()).toBe(3);
  });
});

it("a delivery whose answer was lost is not applied twice", async () => {
  const seen = siteIs("silent about what it did");
  for (const name of ["A", "B"]) await rename(name);
  vi.restoreAllMocks();
  expect(seen.requests).toBeGreaterThanOrEqual(2);
  await ringOut();
  expect(await renames()).toBe(2);
});

it("entries stay until the site has them too", async () => {
  const kept = async () =>
    (await stage`select from outbox where tenant_id = ${ada.tenant.id} and kind = 'audit'`).length;
  siteIs("down");
  await rename("A");
  await crash(ada.tenant.id);
  await answered(200, request("GET", "/v1/tenant", { token: ada.token }));
  vi.restoreAllMocks();
  expect(await kept()).toBe(1);
  await ringOut();
  await crash(ada.tenant.id);
  await answered(200, request("GET", "/v1/tenant", { token: ada.token }));
  await expect.poll(kept).toBe(0);
});

it("more entries than one page has arrive in order", async () => {
  await stage`select tell(${ada.tenant.id}, 'audit', ${ada.tenant.id}, null, jsonb_build_object(
    'actor_id', ${ada.user.id}::text, 'actor_type', 'user', 'action', 'update', 'resource', 'tenants', 'changed',
    '["name"]'::jsonb, 'micros', 1700000000000000 + n)) from generate_series(1, 2500) n`;
  await catchUp(ada.tenant.id);
  await ringOut();
  const [found] = await AT_SITE.stage.query(
    `select count(*)::int, bool_and(created_at <= next) as ordered from (
      select created_at, lead(created_at, 1, 'infinity') over (order by id) as next from ${PLACE.schema}.audit_events
      where tenant_id = $1 and resource = 'tenants' and created_at < '2024-01-01') e`,
    [ada.tenant.id],
  );
  expect(found).toEqual({ count: 2500, ordered: true });
});

describe("after a database was restored from a backup", () => {
  const receipt = (change: string) =>
    AT_SITE.stage.query(`update ${PLACE.schema}.outbox_receipts set ${change} where tenant_id = $1`, [
      ada.tenant.id,
    ]);

  it("a site that is behind takes the members as they are, and goes on from there", async () => {
    const [bea, cy] = [await newMember(ada.tenant.id, "viewer"), await newMember(ada.tenant.id, "admin")];
    await AT_SITE.stage.query(`delete from ${PLACE.schema}.members where tenant_id = $1 and id = $2`, [
      ada.tenant.id,
      bea.user.id,
    ]);
    await receipt("seq = 1");
    await remove(cy);
    await rename("Acme");
    expect(await members()).toEqual([shown(ada, "owner"), shown(bea, "viewer")]);
    expect(await renames()).toBe(1);
  });

  it("a site that is ahead of the control plane does too", async () => {
    const bea = await newMember(ada.tenant.id, "viewer");
    await receipt("seq = 1000000");
    await stage`delete from memberships where tenant_id = ${ada.tenant.id} and user_id = ${bea.user.id}`;
    await catchUp(ada.tenant.id);
    await rename("Acme");
    expect(await members()).toEqual([shown(ada, "owner")]);
    expect(await renames()).toBe(1);
  });
});

it("a site is told nothing by anybody but the tenant's object", async () => {
  const [forged] = await Promise.allSettled([
    AT_SITE.stage.transaction([
      AT_SITE.stage`set local session authorization partywall_account`,
      AT_SITE.stage`select set_config('app.tenant', ${ada.tenant.id}, true)`,
      AT_SITE.stage.query(`select ${PLACE.schema}.receive(1, 5, '[]')`),
    ]),
  ]);
  expect(forged).toMatchObject({ status: "rejected", reason: { code: "28000" } });
});
