import fc from "fast-check";
import { expect, inject, it } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { memberships, users } from "../src/db/control.ts";
import { MANAGES, SCOPES, type Role, ROLES } from "../src/authority.ts";
import { signIn as grantSession, type Session } from "../src/identity/session.ts";
import { answered, newTenant, request, type Row, stageDb, stage, sessionOf } from "./support/client.ts";
import { exchange, newIssuer, type TestIssuer } from "./support/issuer.ts";

// People of one tenant invite and accept, register issuers and exchange their tokens, change roles, remove each other,
// delete issuers, make and use keys, with every kind of credential and in any order. The model knows API.md's roles,
// written out here by hand, and one rule: what was granted is worth what its maker may still give.

const MAY: Record<Role, { manage: Role[]; register: boolean; makeKeys: boolean; write: boolean }> = {
  viewer: { manage: [], register: false, makeKeys: false, write: false },
  member: { manage: [], register: false, makeKeys: false, write: true },
  admin: { manage: ["viewer", "member", "admin"], register: true, makeKeys: true, write: true },
  owner: { manage: ["viewer", "member", "admin", "owner"], register: true, makeKeys: true, write: true },
};

it("the table of authority is the one of API.md", () => {
  for (const role of ROLES) {
    expect(MANAGES[role]).toEqual(MAY[role].manage);
    expect(SCOPES[role].includes("tenant:write")).toBe(MAY[role].register);
    expect(SCOPES[role].includes("members:write")).toBe(MAY[role].manage.length > 0);
    expect(SCOPES[role].includes("api_keys:write")).toBe(MAY[role].makeKeys);
    expect(SCOPES[role].some((scope: string) => scope === "projects:write")).toBe(MAY[role].write);
    expect(SCOPES[role].includes("tenant:delete")).toBe(role === "owner");
  }
  expect(MANAGES.api_key).toEqual([]);
});

/** `epoch` counts what voided the person's tokens; no role: not a member. */
type Person = { id: string; email: string; role: Role | undefined; epoch: number; invited: number };
/** What was granted: by whom, in the session of which issuer, and whether it still stands. */
type Grant = { by: Person; via: Issuer | undefined; stands: boolean };
type Issuer = Grant & { id: string; idp: TestIssuer; changes: number; deleted: boolean };
type Invitation = Grant & { token: string; to: Person; role: Role };
type Key = Grant & { text: string; scopes: string[] };
/** An access token, with the rights of the role that it was made with. */
type Credential = {
  token: string;
  person: Person;
  role: Role;
  epoch: number;
  via: Issuer | undefined;
  changes: number;
};

const PASSWORD_HASH = "no password hashes to this";
const DOMAIN = "authority.test";
const identity = stage;

class World {
  readonly tenantId: string;
  readonly people: Person[] = [];
  readonly credentials: Credential[] = [];
  readonly invitations: Invitation[] = [];
  readonly issuers: Issuer[] = [];
  readonly keys: Key[] = [];

  constructor(tenantId: string) {
    this.tenantId = tenantId;
  }

  /** Lets end what no longer stands, until nothing more does. */
  settle(): void {
    const held = (grant: Grant) => grant.by.role !== undefined && (!grant.via || standing(grant.via));
    for (let before = ""; before !== (before = this.#standing());) {
      for (const issuer of this.issuers)
        issuer.stands &&= held(issuer) && MAY[issuer.by.role ?? "viewer"].manage.includes("admin");
      for (const invitation of this.invitations)
        invitation.stands &&=
          held(invitation) && MAY[invitation.by.role ?? "viewer"].manage.includes(invitation.role);
      for (const key of this.keys) {
        key.scopes = key.scopes.filter(
          (scope) => scope !== "projects:write" || MAY[key.by.role ?? "viewer"].write,
        );
        key.stands &&= held(key) && key.scopes.length > 0;
      }
      if (before === this.#standing()) return;
    }
  }

  #standing(): string {
    return JSON.stringify(
      [this.issuers, this.invitations, this.keys].map((all) => all.map((one) => one.stands)),
    );
  }

  /** A member's role changes, or ends. */
  set(person: Person, role: Role | undefined): void {
    // Also the role that they have: to set it voids what was made before.
    if (person.role !== undefined) person.epoch += 1;
    person.role = role;
    this.settle();
  }

  works({ person, epoch, via, changes }: Credential): boolean {
    return (
      person.role !== undefined &&
      person.epoch === epoch &&
      (!via || (standing(via) && via.changes === changes))
    );
  }

  get owners(): Person[] {
    return this.people.filter(({ role }) => role === "owner");
  }

  took(person: Person, token: string, role: Role, via?: Issuer): void {
    this.credentials.push({ token, person, role, epoch: person.epoch, via, changes: via?.changes ?? 0 });
  }
}

const standing = (issuer: Issuer) => issuer.stands && !issuer.deleted;

/** Somebody with an account that is known to be their mailbox's, and no tenant. */
async function newPerson(world: World): Promise<Person> {
  const id = uuidv7();
  const person = { id, email: `${id}@${DOMAIN}`, role: undefined, epoch: 0, invited: 0 };
  await stageDb
    .insert(users)
    .values({ id, email: person.email, password_hash: PASSWORD_HASH, email_verified_at: new Date() });
  world.people.push(person);
  return person;
}

/** A session of their own, behind the route, which would hash a password. */
async function signIn(world: World, person: Person): Promise<void> {
  const of = {
    email: person.email,
    hashes: [PASSWORD_HASH] as [string],
    slug: undefined,
    isHost: false,
    from: { userAgent: "", country: null },
  };
  const { access_token } = await sessionOf(await grantSession(of));
  if (!person.role) throw new Error("a member cannot sign in");
  world.took(person, access_token, person.role);
}

async function mailedTo(email: string): Promise<string> {
  const mails: { body: { text: string } }[] = await (
    await fetch(`${inject("variables")["MAIL_URL"]}?to=${encodeURIComponent(email)}`)
  ).json();
  return /pwi_[\w-]+/.exec(mails.at(-1)?.body.text ?? "")?.[0] ?? "";
}

const pick = <T>(among: readonly T[], index: number): T | undefined =>
  among[index % Math.max(1, among.length)];
const roleAt = (index: number): Role => ROLES[index % ROLES.length] ?? "viewer";

/** The status of an act that the credential's rights allow or not. */
const expected = (world: World, by: Credential, isAllowed: boolean, success: number) => {
  if (!world.works(by)) return 401;
  return isAllowed ? success : 403;
};

/** What can happen; each expects the answer that the model gives, and leaves the model as the world must be now. */
const STEPS: Record<string, (world: World, by: Credential, a: number, b: number) => Promise<void>> = {
  async signIn(world, _, a) {
    const person = pick(
      world.people.filter(({ role }) => role),
      a,
    );
    if (person) await signIn(world, person);
  },
  async invite(world, by, a, b) {
    const role = roleAt(a);
    const outsiders = world.people.filter((person) => !person.role && person.invited < 4);
    const to = pick([...outsiders, undefined], b) ?? (await newPerson(world));
    const status = expected(world, by, MAY[by.role].manage.includes(role), 201);
    const body = { email: to.email, role };
    const answer = await request("POST", "/v1/invitations", { token: by.token, body });
    expect(answer.status).toBe(status);
    if (status !== 201) return;
    to.invited += 1;
    for (const earlier of world.invitations) if (earlier.to === to) earlier.stands = false;
    const token = await mailedTo(to.email);
    world.invitations.push({ by: by.person, via: by.via, stands: true, token, to, role });
  },
  async accept(world, _, a) {
    const invitation = pick(world.invitations, a);
    if (!invitation) return;
    const { token, to, role, stands } = invitation;
    const answer = await request("POST", "/v1/invitations/accept", { body: { token } });
    if (!stands) {
      // Accepted again, it may answer the session that it started: nobody gets anything more.
      if (answer.status === 201) expect((await answer.json<Session>()).tenant.role).toBe(to.role);
      else expect(answer.status).toBe(410);
      return;
    }
    const session = await answered<Session>(201, answer);
    invitation.stands = false;
    if (!to.role) world.set(to, role);
    world.took(to, session.access_token, to.role ?? role);
  },
  async registerIssuer(world, by) {
    const idp = newIssuer();
    const status = expected(world, by, MAY[by.role].register, 201);
    const body = {
      issuer: idp.url,
      audience: "partywall-app",
      email_domains: [DOMAIN],
      default_role: "viewer",
    };
    const answer = await request("POST", "/v1/issuers", { token: by.token, body });
    expect(answer.status).toBe(status);
    if (status !== 201) return;
    const { id } = await answer.json<Row>();
    world.issuers.push({ by: by.person, via: by.via, stands: true, id, idp, changes: 0, deleted: false });
  },
  async confirmIssuer(world, by, a) {
    const issuer = pick(
      world.issuers.filter(({ deleted }) => !deleted),
      a,
    );
    if (!issuer) return;
    const status = expected(world, by, MAY[by.role].register, 200);
    const answer = await request("PATCH", `/v1/issuers/${issuer.id}`, { token: by.token, body: {} });
    expect(answer.status).toBe(status);
    if (status !== 200) return;
    // What it vouched for ends with each change; confirmed in a session that it vouched for itself, it ends as well.
    Object.assign(issuer, { by: by.person, via: by.via, stands: true, changes: issuer.changes + 1 });
    world.settle();
  },
  async deleteIssuer(world, by, a) {
    const issuer = pick(
      world.issuers.filter(({ deleted }) => !deleted),
      a,
    );
    if (!issuer) return;
    const status = expected(world, by, MAY[by.role].register, 204);
    expect((await request("DELETE", `/v1/issuers/${issuer.id}`, { token: by.token })).status).toBe(status);
    if (status !== 204) return;
    issuer.deleted = true;
    world.settle();
  },
  async exchange(world, _, a, b) {
    const [issuer, person] = [pick(world.issuers, a), pick(world.people, b)];
    if (!issuer || !person) return;
    const answer = await exchange(await issuer.idp.sign({ email: person.email }));
    if (!standing(issuer) || !person.role) return expect(answer.status).toBe(400);
    const { access_token } = await answered<{ access_token: string }>(200, answer);
    world.took(person, access_token, person.role === "owner" ? "admin" : person.role, issuer);
  },
  async changeRole(world, by, a, b) {
    const [person, role] = [pick(world.people, a), roleAt(b)];
    if (!person) return;
    const body = { role };
    const answer = await request("PATCH", `/v1/members/${person.id}`, { token: by.token, body });
    const manages = MAY[by.role].manage;
    if (!world.works(by)) return expect(answer.status).toBe(401);
    if (manages.length === 0) return expect(answer.status).toBe(403);
    if (!person.role) return expect(answer.status).toBe(404);
    if (!manages.includes(person.role) || !manages.includes(role)) return expect(answer.status).toBe(403);
    const isLast = world.owners.length === 1 && person.role === "owner" && role !== "owner";
    expect(answer.status).toBe(isLast ? 409 : 200);
    if (!isLast) world.set(person, role);
  },
  async remove(world, by, a) {
    const person = pick(world.people, a);
    if (!person) return;
    const answer = await request("DELETE", `/v1/members/${person.id}`, { token: by.token });
    const manages = MAY[by.role].manage;
    const isSelf = person === by.person;
    if (!world.works(by)) return expect(answer.status).toBe(401);
    if (!isSelf && manages.length === 0) return expect(answer.status).toBe(403);
    if (!person.role) return expect(answer.status).toBe(404);
    const mayLeave = isSelf && by.role === person.role;
    if (!mayLeave && !manages.includes(person.role)) return expect(answer.status).toBe(403);
    const isLast = world.owners.length === 1 && person.role === "owner";
    expect(answer.status).toBe(isLast ? 409 : 204);
    if (!isLast) world.set(person, undefined);
  },
  async makeKey(world, by, a) {
    const scopes = a % 2 ? ["projects:write"] : ["projects:read", "projects:write"];
    const status = expected(world, by, MAY[by.role].makeKeys, 201);
    const body = { name: "key", scopes };
    const answer = await request("POST", "/v1/api-keys", { token: by.token, body });
    expect(answer.status).toBe(status);
    if (status !== 201) return;
    const { key: text } = await answer.json<{ key: string }>();
    world.keys.push({ by: by.person, via: by.via, stands: true, text, scopes });
  },
  async useKey(world, _, a) {
    const key = pick(world.keys, a);
    if (!key) return;
    const body = { name: "x" };
    const answer = await request("POST", "/v1/projects", { token: key.text, body });
    if (!key.stands) return expect(answer.status).toBe(401);
    expect(answer.status).toBe(key.scopes.includes("projects:write") ? 201 : 403);
  },
};

/** Every credential does what the model says, everybody has the role that it says, and lists show what still stands. */
async function check(world: World): Promise<void> {
  const use = async (token: string) => (await request("GET", "/v1/tenant/limits", { token })).status;
  const rows = await identity`select user_id, role from memberships where tenant_id = ${world.tenantId}`;
  const roles = Object.fromEntries(rows.map(({ user_id, role }) => [user_id, role]));
  expect(roles).toEqual(
    Object.fromEntries(world.people.flatMap(({ id, role }) => (role ? [[id, role]] : []))),
  );
  const invited =
    await identity`select email from invitations where tenant_id = ${world.tenantId} order by email`;
  expect(invited.map(({ email }) => email)).toEqual(
    world.invitations
      .filter(({ stands }) => stands)
      .map(({ to }) => to.email)
      .sort(),
  );
  await Promise.all([
    ...world.credentials.map(async (credential) =>
      expect(await use(credential.token)).toBe(world.works(credential) ? 200 : 401),
    ),
    ...world.keys.map(async ({ text, stands }) => expect(await use(text)).toBe(stands ? 200 : 401)),
  ]);
}

/** A tenant with one of each role, signed in; the owner who signed up is not among them. */
async function newWorld(): Promise<World> {
  const { tenant, user } = await newTenant();
  const world = new World(tenant.id);
  for (const role of ROLES) {
    const person = await newPerson(world);
    await stageDb.insert(memberships).values({ tenant_id: tenant.id, user_id: person.id, role });
    world.set(person, role);
    await signIn(world, person);
  }
  await identity`delete from memberships where tenant_id = ${tenant.id} and user_id = ${user.id}`;
  return world;
}

it("no sequence of acts gives anybody more than the table says", async () => {
  const step = fc.tuple(fc.constantFrom(...Object.keys(STEPS)), fc.nat(40), fc.nat(7), fc.nat(7));
  const runs = Math.ceil(Number(import.meta.env["PROPERTY_RUNS"] ?? 300) / 20);
  const outcome = await fc.check(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 30 }), async (steps) => {
      const world = await newWorld();
      for (const [name, who, a, b] of steps) {
        const by = pick(world.credentials, who);
        try {
          if (by) await STEPS[name]?.(world, by, a, b);
          await check(world);
        } catch (cause) {
          throw new Error(`${name} as ${by?.role}${by?.via ? " of an issuer" : ""}: ${String(cause)}`, {
            cause,
          });
        }
      }
    }),
    { numRuns: runs, endOnFailure: true },
  );
  if (outcome.failed) throw new Error(fc.defaultReportMessage(outcome), { cause: outcome.errorInstance });
  expect(outcome.numRuns).toBe(runs);
}, 180_000);
