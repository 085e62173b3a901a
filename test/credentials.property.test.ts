import fc from "fast-check";
import { expect, it } from "vitest";
import type { Role } from "../src/authority.ts";
import type { Session } from "../src/identity/session.ts";
import {
  anotherSession,
  answered,
  newMember,
  newTenant,
  operate,
  request,
  type SignedIn,
} from "./support/client.ts";

// A member of a tenant signs in and out, refreshes, is given other roles and is removed, while keys are made and
// revoked and the tenant is suspended, in any order and partly at once. After each step every credential that was ever
// given out is tried: what should work does, what should not does not.

/** A session as the model knows it: its tokens, oldest first, each with the epoch of the user that it was made in. */
type Family = { id: string; access: { token: string; epoch: number }[]; refresh: string[]; revoked: boolean };
type Key = { id: string; text: string; revoked: boolean };

class World {
  readonly owner: SignedIn;
  readonly member: SignedIn;
  readonly families: Family[] = [];
  readonly keys: Key[] = [];
  role: Role = "admin";
  /** Counts what voids all tokens of the member that were made before. */
  epoch = 0;
  suspended = false;

  constructor(owner: SignedIn, member: SignedIn) {
    this.owner = owner;
    this.member = member;
    this.took(member);
  }

  took(session: Session): void {
    const known = this.families.find(({ id }) => id === session.session.id);
    const family = known ?? { id: session.session.id, access: [], refresh: [], revoked: false };
    if (!known) this.families.push(family);
    family.access.push({ token: session.access_token, epoch: this.epoch });
    if (family.refresh.at(-1) !== session.refresh_token) family.refresh.push(session.refresh_token);
  }

  /** A family that a number picks, if there is any that fits. */
  pick<T extends { revoked: boolean }>(among: T[], index: number): T | undefined {
    const live = among.filter(({ revoked }) => !revoked);
    return live[index % Math.max(1, live.length)];
  }
}

const get = (token: string) => request("GET", "/v1/me", { token });
const refresh = (refresh_token: string) =>
  request("POST", "/v1/sessions/refresh", { body: { refresh_token } });
const changeRole = (world: World, role: Role) =>
  request("PATCH", `/v1/members/${world.member.user.id}`, { token: world.owner.token, body: { role } });

/** What can happen; each tells whether it could, and leaves the model as the world must be now. */
const STEPS: Record<string, (world: World, index: number) => Promise<void>> = {
  async signIn(world) {
    if (!world.suspended) world.took(await anotherSession(world.member));
  },
  async refresh(world, index) {
    const family = world.pick(world.families, index);
    const last = family?.refresh.at(-1);
    if (!last || world.suspended) return;
    world.took(await answered<Session>(200, refresh(last)));
  },
  async refreshTwiceAtOnce(world, index) {
    const family = world.pick(world.families, index);
    const last = family?.refresh.at(-1);
    if (!last || world.suspended) return;
    const answers = await Promise.all([refresh(last), refresh(last)]);
    const sessions = await Promise.all(answers.map((answer) => answered<Session>(200, answer)));
    expect(new Set(sessions.map(({ refresh_token }) => refresh_token)).size).toBe(1);
    for (const session of sessions) world.took(session);
  },
  async reuse(world, index) {
    const family = world.pick(world.families, index);
    // The last but one is within its grace.
    const old = family?.refresh.at(-3);
    if (!family || !old || world.suspended) return;
    expect((await refresh(old)).status).toBe(401);
    family.revoked = true;
  },
  async revoke(world, index) {
    const [family, other] = [world.pick(world.families, index), world.pick(world.families, index + 1)];
    const token = other?.access.findLast(({ epoch }) => epoch === world.epoch)?.token;
    if (!family || !token || world.suspended) return;
    await answered(204, request("DELETE", `/v1/sessions/${family.id}`, { token }));
    family.revoked = true;
  },
  async revokeWhileRefreshing(world, index) {
    const family = world.pick(world.families, index);
    const token = family?.access.findLast(({ epoch }) => epoch === world.epoch)?.token;
    const last = family?.refresh.at(-1);
    if (!family || !token || !last || world.suspended) return;
    const [revoked, refreshed] = await Promise.all([
      request("DELETE", "/v1/sessions/current", { token }),
      refresh(last),
    ]);
    expect(revoked.status).toBe(204);
    if (refreshed.status === 200) world.took(await refreshed.json<Session>());
    family.revoked = true;
  },
  async revokeAll(world, index) {
    const token = world
      .pick(world.families, index)
      ?.access.findLast(({ epoch }) => epoch === world.epoch)?.token;
    if (!token || world.suspended) return;
    await answered(204, request("DELETE", "/v1/sessions", { token }));
    for (const family of world.families) family.revoked = true;
    world.epoch += 1;
  },
  async changeRole(world, index) {
    if (world.suspended) return;
    const role = (["viewer", "member", "admin"] as const)[index % 3] ?? "viewer";
    await answered(200, changeRole(world, role));
    world.role = role;
    world.epoch += 1;
  },
  async changeRoleWhileSigningIn(world, index) {
    if (world.suspended) return;
    const role = (["viewer", "member", "admin"] as const)[index % 3] ?? "viewer";
    const [changed, session] = await Promise.all([changeRole(world, role), anotherSession(world.member)]);
    expect(changed.status).toBe(200);
    world.role = role;
    world.epoch += 1;
    world.took(session);
    // Which of the two came first, only the token tells.
    const made = world.families.at(-1)?.access.at(-1);
    if (made && (await get(made.token)).status === 401) made.epoch -= 1;
  },
  async makeKey(world) {
    if (world.suspended) return;
    const { owner } = world;
    const body = { name: "key", scopes: ["projects:read"] };
    const key = await answered<{ id: string; key: string }>(
      201,
      request("POST", "/v1/api-keys", { token: owner.token, body }),
    );
    world.keys.push({ id: key.id, text: key.key, revoked: false });
  },
  async rotateKey(world, index) {
    const key = world.pick(world.keys, index);
    if (!key || world.suspended) return;
    const { owner } = world;
    const next = await answered<{ id: string; key: string }>(
      201,
      request("POST", `/v1/api-keys/${key.id}/rotate`, { token: owner.token, body: { overlap_s: 0 } }),
    );
    key.revoked = true;
    world.keys.push({ id: next.id, text: next.key, revoked: false });
  },
  async revokeKey(world, index) {
    const key = world.pick(world.keys, index);
    if (!key || world.suspended) return;
    await answered(204, request("DELETE", `/v1/api-keys/${key.id}`, { token: world.owner.token }));
    key.revoked = true;
  },
  async suspend(world) {
    await operate(world.owner.tenant.id, { status: "suspended" });
    world.suspended = true;
  },
  async reinstate(world) {
    await operate(world.owner.tenant.id, { status: "active" });
    world.suspended = false;
  },
};

/** Every credential that was ever given out does what it should, and nothing else. */
async function check(world: World): Promise<void> {
  const expected = (stands: boolean) => {
    if (!stands) return 401;
    return world.suspended ? 403 : 200;
  };
  await Promise.all([
    ...world.families.flatMap(({ access, revoked }) =>
      access.map(async ({ token, epoch }) => {
        const answer = await get(token);
        expect(answer.status).toBe(expected(!revoked && epoch === world.epoch));
        if (answer.status === 200) expect(await answer.json()).toMatchObject({ role: world.role });
      }),
    ),
    ...world.keys.map(async ({ text, revoked }) =>
      expect((await request("GET", "/v1/projects", { token: text })).status).toBe(expected(!revoked)),
    ),
    ...world.families
      .filter(({ revoked }) => revoked)
      .map(async ({ refresh: [first = ""] }) => expect((await refresh(first)).status).toBe(401)),
  ]);
}

it("no credential works when it should not, or fails when it should work", async () => {
  const step = fc.tuple(fc.constantFrom(...Object.keys(STEPS)), fc.nat(5));
  const runs = Math.ceil(Number(import.meta.env["PROPERTY_RUNS"] ?? 300) / 25);
  const outcome = await fc.check(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 20 }), async (steps) => {
      const owner = await newTenant();
      const world = new World(owner, await newMember(owner.tenant.id, "admin"));
      await check(world);
      for (const [name, index] of steps) {
        await STEPS[name]?.(world, index);
        await check(world);
      }
    }),
    { numRuns: runs },
  );
  expect(outcome.failed ? fc.defaultReportMessage(outcome) : "").toBe("");
}, 120_000);
