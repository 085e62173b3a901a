import { runInDurableObject } from "cloudflare:test";
import { eq } from "drizzle-orm";
import fc from "fast-check";
import { afterEach, expect, it, vi } from "vitest";
import type { Role } from "../src/authority.ts";
import { invitations, users } from "../src/db/control.ts";
import { settings } from "../src/env.ts";
import { makeInvitation } from "../src/identity/invitation.ts";
import type { Session } from "../src/identity/session.ts";
import { Tenant } from "../src/index.ts";
import { tenantObject } from "../src/tenant/stub.ts";
import { crash } from "./support/crash.ts";
import {
  anotherSession,
  answered,
  newMember,
  newTenant,
  operate,
  request,
  type SignedIn,
  stage,
  stageDb,
} from "./support/client.ts";

// Changes of one tenant's control plane, many at once, while answers of Postgres are lost, its object or its site is out of
// reach, or their confirmation is lost; the object crashes, and what it was told arrives again, late. Whoever got no answer
// asks again. After each round every credential that was ever given out is tried, and the site has the members as they are
// and each audit event once.

afterEach(() => vi.restoreAllMocks());

const MEMBERS = 3;
const DATABASE_FAULTS = ["none", "none", "lost"] as const;
const OBJECT_FAULTS = ["none", "none", "out of reach", "unconfirmed"] as const;
type Faults = {
  database: (typeof DATABASE_FAULTS)[number][];
  object: (typeof OBJECT_FAULTS)[number][];
  site: (typeof OBJECT_FAULTS)[number][];
};
type Told = Parameters<Tenant["receive"]>;

/** A member as the model knows it; a role of null is one who has left. */
type Member = { who: SignedIn; role: Role | null; tokens: { text: string; stands: boolean }[] };
type Key = { id: string; text: string; stands: boolean };

class World {
  readonly owner: SignedIn;
  readonly members: Member[];
  readonly keys: Key[] = [];
  /** All that the object was ever told. */
  readonly told: Told[] = [];
  /** What the audit trail is to have: the action, the table and the id. */
  readonly events: string[] = [];
  limit = 10_000;

  constructor(owner: SignedIn, members: SignedIn[]) {
    this.owner = owner;
    this.members = members.map((who) => ({
      who,
      role: "admin",
      tokens: [{ text: who.token, stands: true }],
    }));
  }
}

/** From now on, each change meets the next of these faults. */
function meddle({ database, object, site }: Faults, told: Told[]): void {
  const { receive } = Tenant.prototype;
  vi.spyOn(Tenant.prototype, "receive").mockImplementation(async function receiving(this: Tenant, ...news) {
    told.push(news);
    const fault = object.shift();
    if (fault === "out of reach") throw new Error(fault);
    await receive.apply(this, news);
    if (fault === "unconfirmed") throw new Error(fault);
  });
  const fetching = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const query = String(input) === settings.NEON_FETCH_ENDPOINT ? String(init?.body) : "";
    const failed = new Response(null, { status: 502 });
    const siteFault = query.includes("select receive") ? site.shift() : "none";
    if (siteFault === "out of reach") return failed;
    const response = await fetching(input, init);
    if (siteFault === "unconfirmed") return failed;
    return query.includes("lock_outbox") && database.shift() === "lost" ? failed : response;
  });
  vi.spyOn(console, "error").mockImplementation(() => undefined);
}

/** Sends a request until it is answered. */
async function insist(...args: Parameters<typeof request>): Promise<Response> {
  for (;;) {
    const response = await request(...args);
    if (response.status !== 503) return response;
  }
}

function end({ tokens }: Member): void {
  for (const token of tokens) token.stands = false;
}

/** What may happen to one member, or with keys; each leaves the model as the world must be once it is acknowledged. */
const CHANGES: Record<string, (world: World, index: number) => Promise<void>> = {
  async signOut({ members }, index) {
    const token = members[index]?.tokens.findLast(({ stands }) => stands);
    if (!token) return;
    // Whoever asks again is signed out already.
    expect([204, 401]).toContain(
      (await insist("DELETE", "/v1/sessions/current", { token: token.text })).status,
    );
    token.stands = false;
  },
  async setRole({ owner, members, events }, index) {
    const member = members[index];
    if (!member?.role) return;
    const role = member.role === "admin" ? "viewer" : "admin";
    await answered(
      200,
      insist("PATCH", `/v1/members/${member.who.user.id}`, { token: owner.token, body: { role } }),
    );
    member.role = role;
    events.push(`update memberships ${member.who.user.id}`);
    end(member);
  },
  async remove({ owner, members, events }, index) {
    const member = members[index];
    if (!member) return;
    if (member.role) events.push(`delete memberships ${member.who.user.id}`);
    const answer = await insist("DELETE", `/v1/members/${member.who.user.id}`, { token: owner.token });
    // Also whoever finds nothing left to remove is told so when it is in force.
    expect([204, 404]).toContain(answer.status);
    member.role = null;
    end(member);
  },
  async rejoin({ owner, members, events }, index) {
    const member = members[index];
    if (!member || member.role) return;
    const { email } = member.who.user;
    const { text, id, hash } = makeInvitation(owner.tenant.id, email);
    const invitation = { id, tenant_id: owner.tenant.id, email, role: "viewer" as const, token_hash: hash };
    await stageDb
      .insert(invitations)
      .values({ ...invitation, invited_by: owner.user.id, expires_at: new Date(Date.now() + 60_000) });
    const session = await answered<Session>(
      201,
      insist("POST", "/v1/invitations/accept", { body: { token: text } }),
    );
    member.role = "viewer";
    events.push(`create memberships ${member.who.user.id}`);
    member.tokens.push({ text: session.access_token, stands: true });
  },
  async signIn({ members }, index) {
    const member = members[index];
    if (member?.role) member.tokens.push({ text: (await anotherSession(member.who)).token, stands: true });
  },
  async makeKey({ owner, keys, events }) {
    const body = { name: "key", scopes: ["members:read"] };
    const headers = { "idempotency-key": crypto.randomUUID() };
    const made = await insist("POST", "/v1/api-keys", { token: owner.token, body, headers });
    const { id, key } = await answered<{ id: string; key: string }>(201, made);
    keys.push({ id, text: key, stands: true });
    events.push(`create api_keys ${id}`);
  },
  async deleteKey({ owner, keys, events }) {
    const key = keys.findLast(({ stands }) => stands);
    if (!key) return;
    key.stands = false;
    events.push(`delete api_keys ${key.id}`);
    const answer = await insist("DELETE", `/v1/api-keys/${key.id}`, { token: owner.token });
    expect([204, 404]).toContain(answer.status);
  },
  async changeLimits(world) {
    world.limit += 1;
    const { limit, owner } = world;
    const options = {
      token: settings.OPERATOR_TOKEN,
      body: { limits: [{ name: "minute", limit, window: 60 }], reason: "the test says so" },
    };
    await answered(200, insist("PATCH", `/v1/operator/tenants/${owner.tenant.id}`, options));
  },
};

/** Every credential does what it should; the site has the members as they are, and each audit event once, in order. */
async function check({ owner, members, keys, events, limit }: World): Promise<void> {
  const get = async (token: string) => (await request("GET", "/v1/tenant/limits", { token })).status;
  await Promise.all([
    ...members.flatMap(({ tokens }) =>
      tokens.map(async ({ text, stands }) => expect(await get(text)).toBe(stands ? 200 : 401)),
    ),
    ...keys.map(async ({ text, stands }) => expect(await get(text)).toBe(stands ? 200 : 401)),
  ]);
  const { data } = await answered<{ data: { limit: number }[] }>(
    200,
    request("GET", "/v1/tenant/limits", { token: owner.token }),
  );
  expect(data[0]?.limit).toBe(limit);
  // What could not be delivered is, when the alarm rings.
  await runInDurableObject(tenantObject(owner.tenant.id), (object) => object.alarm());
  const known = await stage`select id, role from public.members where tenant_id = ${owner.tenant.id}`;
  const roles = members.flatMap(({ who, role }) => (role ? [[who.user.id, role]] : []));
  expect(new Map(known.map((row) => [row["id"], row["role"]]))).toEqual(
    new Map([[owner.user.id, "owner"], ...roles] as [string, string][]),
  );
  const trail = await stage`
    select concat_ws(' ', action, resource, resource_id) as event from public.audit_events
    where tenant_id = ${owner.tenant.id} and resource in ('memberships', 'api_keys') order by concat_ws(' ', action, resource, resource_id) collate "C"`;
  expect(trail.map((row) => row["event"])).toEqual(events.toSorted());
}

it("what was acknowledged is in force, whatever was lost, late or repeated", async () => {
  const change = fc.constantFrom(...Object.keys(CHANGES));
  const faults = fc.record({
    database: fc.array(fc.constantFrom(...DATABASE_FAULTS), { maxLength: 4 }),
    object: fc.array(fc.constantFrom(...OBJECT_FAULTS), { maxLength: 6 }),
    site: fc.array(fc.constantFrom(...OBJECT_FAULTS), { maxLength: 6 }),
  });
  const round = fc.record({
    // One for each member at once, and one beside them.
    changes: fc.array(change, { minLength: MEMBERS + 1, maxLength: MEMBERS + 1 }),
    faults,
    crashes: fc.integer({ min: 0, max: 3 }).map((number) => number === 0),
    late: fc.array(fc.nat(1000), { maxLength: 3 }),
  });
  const ABOUT_MEMBERS = new Set(["signOut", "setRole", "remove", "rejoin", "signIn"]);
  const runs = Math.ceil(Number(import.meta.env["PROPERTY_RUNS"] ?? 300) / 75);
  const outcome = await fc.check(
    fc.asyncProperty(fc.array(round, { minLength: 3, maxLength: 8 }), async (rounds) => {
      const owner = await newTenant();
      const joined = Array.from({ length: MEMBERS }, () => newMember(owner.tenant.id, "admin"));
      const world = new World(owner, await Promise.all(joined));
      for (const { who } of world.members)
        await stageDb.update(users).set({ email_verified_at: new Date() }).where(eq(users.id, who.user.id));
      await operate(owner.tenant.id, { limits: [{ name: "minute", limit: world.limit, window: 60 }] });
      await check(world);
      for (const { changes, faults: next, crashes, late } of rounds) {
        meddle(structuredClone(next), world.told);
        const besides = changes.slice(MEMBERS).filter((name) => !ABOUT_MEMBERS.has(name));
        await Promise.all([
          ...changes
            .slice(0, MEMBERS)
            .map((name, index) => ABOUT_MEMBERS.has(name) && CHANGES[name]?.(world, index)),
          ...besides.map((name) => CHANGES[name]?.(world, 0)),
        ]);
        vi.restoreAllMocks();
        if (crashes) await crash(owner.tenant.id);
        for (const index of late) {
          const news = world.told[index % world.told.length];
          if (news) await tenantObject(owner.tenant.id).receive(...news);
        }
        await check(world);
      }
    }),
    { numRuns: runs },
  );
  expect(outcome.failed ? fc.defaultReportMessage(outcome) : "").toBe("");
}, 180_000);
