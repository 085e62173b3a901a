import { beforeAll, describe, expect, it } from "vitest";
import type { ActingAs } from "../src/authority.ts";
import { SHARED_PLACE } from "../src/db/places.ts";
import { makeInvitation } from "../src/identity/invitation.ts";
import { whileAsleep } from "./support/asleep.ts";
import {
  ACCOUNT,
  attempt,
  codeOf,
  contextOf,
  insideOf,
  lastRows,
  newTargets,
  UNDO,
  UNDONE,
  type Target,
} from "./support/attacks.ts";
import { PASSWORD, request, signIn, signedUp, stage } from "./support/client.ts";

// What partywall_account may do in its own tenant, and may not make of it: members beyond the actor's role, locks and
// entries of another tenant, another tenant's account by way of an invitation.

let ada: Target;
let bob: Target;
/** An issuer's user of Bob's tenant who is no member yet. */
let newcomer: string;

beforeAll(async () => {
  [ada, bob] = await newTargets();
  const join = (subject: string) =>
    `insert into users (email, issuer_id, subject) select 'x', id, '${subject}' from issuers returning id`;
  const { rows } = await insideOf(
    ACCOUNT,
    bob,
    join("newcomer"),
    join("partner"),
    // Another owner, so that none is the last.
    "insert into memberships (user_id, role) select id, 'owner' from users where subject = 'partner'",
  );
  newcomer = String((rows[0]?.[0] as { id: string } | undefined)?.id);
});

const { login: account, role, place } = ACCOUNT;
/** SQL of Bob's tenant, by somebody with these rights; undone. */
const undoneAs = (as: ActingAs, actor: string, ...statements: string[]) =>
  attempt(account, contextOf({ ...bob, actor }, role, Date.now(), place, as), [...statements, UNDO], place);

describe("authority: nobody lets in, changes or removes a member whom they may not manage", () => {
  const ways: [string, () => string[]][] = [
    ["INSERT", () => [`insert into memberships (user_id, role) values ('${newcomer}', 'viewer')`]],
    ["UPDATE", () => [`update memberships set role = 'member' where user_id = '${bob.guest}'`]],
    ["UPDATE without a change", () => [`update memberships set role = role where user_id = '${bob.guest}'`]],
    [
      "UPDATE of another column",
      () => [`update memberships set updated_at = now() where user_id = '${bob.guest}'`],
    ],
    ["DELETE", () => [`delete from memberships where user_id = '${bob.guest}'`]],
    [
      "ON CONFLICT DO UPDATE",
      () => [
        `insert into memberships (user_id, role) values ('${bob.guest}', 'admin')
         on conflict (tenant_id, user_id) do update set role = excluded.role`,
      ],
    ],
    [
      "MERGE",
      () => [
        `merge into memberships m using (select '${bob.guest}'::uuid as id) s on m.user_id = s.id
         when matched then update set role = 'admin'`,
      ],
    ],
    ["a CTE", () => [`with gone as (delete from memberships where user_id = '${bob.guest}') select 1`]],
    ["a DO block", () => [`do $$ begin delete from memberships where user_id = '${bob.guest}'; end $$`]],
    ["a cascade", () => [`delete from issuers where id = '${bob.issuer}'`]],
    [
      "a cursor",
      () => [
        `declare c cursor for select * from memberships where user_id = '${bob.guest}' for update`,
        "fetch next from c",
        "delete from memberships where current of c",
      ],
    ],
    [
      "constraints put off",
      () => ["set constraints all deferred", `delete from memberships where user_id = '${bob.guest}'`],
    ],
  ];
  describe.each<ActingAs>(["viewer", "member", "api_key", "object"])("as %s", (as) => {
    it.each(ways)("by %s", async (_, statements) => {
      expect(await undoneAs(as, crypto.randomUUID(), ...statements())).toMatchObject({
        error: { code: "42501", constraint: "authority" },
      });
    });
  });

  it.each(ways)("as owner it passes by %s: the control of the above", async (_, statements) => {
    expect(await undoneAs("owner", bob.actor, ...statements())).toMatchObject({ error: { code: UNDONE } });
  });

  it.each<[ActingAs, string, () => string]>([
    ["admin", "makes an owner", () => `update memberships set role = 'owner' where user_id = '${bob.guest}'`],
    [
      "admin",
      "lets an owner in",
      () => `insert into memberships (user_id, role) values ('${newcomer}', 'owner')`,
    ],
    [
      "admin",
      "demotes an owner",
      () => `update memberships set role = 'member' where user_id = '${bob.actor}'`,
    ],
    ["admin", "removes an owner", () => `delete from memberships where user_id = '${bob.actor}'`],
    [
      "issuer",
      "makes an owner",
      () => `update memberships set role = 'owner' where user_id = '${bob.guest}'`,
    ],
    ["issuer", "removes an owner", () => `delete from memberships where user_id = '${bob.actor}'`],
  ])("no %s %s", async (as, _, statement) => {
    expect(await undoneAs(as, crypto.randomUUID(), statement())).toMatchObject({
      error: { code: "42501", constraint: "authority" },
    });
  });

  it("a viewer voids their own tokens, and leaves; and neither rises nor hands the membership on", async () => {
    const self = `where user_id = '${bob.guest}'`;
    for (const own of [`update memberships set role = role ${self}`, `delete from memberships ${self}`])
      expect(await undoneAs("viewer", bob.guest, own)).toMatchObject({ error: { code: UNDONE } });
    for (const beyond of [
      `update memberships set role = 'member' ${self}`,
      `update memberships set user_id = '${newcomer}' ${self}`,
      `update memberships set user_id = '${ada.actor}' ${self}`,
    ])
      expect(await undoneAs("viewer", bob.guest, beyond)).toMatchObject({ error: { code: "42501" } });
  });

  it("the letter of a role under another one's MAC is no context", async () => {
    const context = contextOf({ ...bob, actor: bob.guest }, role, Date.now(), place, "viewer");
    for (const letter of ["o", "a", "i", "z", "O"]) {
      const outcome = await attempt(
        account,
        letter + context.slice(1),
        [`delete from memberships where user_id = '${bob.guest}'`],
        place,
      );
      expect(outcome).toMatchObject({ error: { code: "28000" } });
    }
  });

  it("no invitation lets another tenant's account in by way of this login", async () => {
    const taken = await undoneAs(
      "invitation",
      bob.invitation,
      `insert into memberships (user_id, role) values ('${ada.actor}', 'viewer')`,
    );
    expect(taken).toMatchObject({ error: { code: "42501", message: "the tenant has no such user" } });
  });
});

describe("lock_outbox()", () => {
  /** Whether another connection can lock the tenant's head while Bob holds what this call locks. */
  async function isFree(locked: Target): Promise<boolean> {
    const outcome = await whileAsleep(
      stage,
      (sleep) => insideOf(ACCOUNT, bob, `select lock_outbox('${locked.tenant}')`, `select ${sleep}`),
      () =>
        attempt(
          stage,
          "",
          [`select head from outbox_heads where tenant_id = '${locked.tenant}' for update nowait`],
          place,
        ),
    );
    if (codeOf(outcome) === "55P03") return false;
    expect(lastRows(outcome)).toHaveLength(1);
    return true;
  }

  it("locks nothing of another tenant", async () => {
    expect(await isFree(ada)).toBe(true);
  });

  it("locks one's own: the control of the above", async () => {
    expect(await isFree(bob)).toBe(false);
  });
});

describe("what the control plane's login tells a site", () => {
  it("is told in a context of the site alone, and of its tenant alone", async () => {
    const told = "select public.receive(1, 0, '[]')";
    expect(await insideOf(ACCOUNT, bob, told)).toMatchObject({ error: { code: "28000" } });
    const courier = { ...ACCOUNT, place: SHARED_PLACE };
    expect((await insideOf(courier, bob, told)).error).toBeUndefined();
    const members = (t: Target) =>
      stage.query("select id from public.members where tenant_id = $1 order by id", [t.tenant]);
    const before = await members(ada);
    expect(before.length).toBeGreaterThan(0);
    const all = JSON.stringify([{ id: ada.actor, email: "x", role: "owner", tenant_id: ada.tenant }]);
    const outcome = await insideOf(courier, bob, `select public.receive_members(9007199254740991, '${all}')`);
    expect(outcome.error).toBeUndefined();
    expect(await members(ada)).toEqual(before);
    expect(await members(bob)).toEqual([{ id: ada.actor }]);
  });
});

describe("an invitation whose row the tenant has changed", () => {
  /** Accepts an invitation of Bob's to one email, after its row has been given another one. */
  async function accepted(invited: string, stored: string): Promise<number> {
    const { text, id, hash } = makeInvitation(bob.tenant, invited);
    const made = await insideOf(
      ACCOUNT,
      bob,
      `insert into invitations (id, email, role, token_hash, invited_by, expires_at)
       values ('${id}', '${stored}', 'viewer', '\\x${Buffer.from(hash).toString("hex")}', current_actor_id(), now() + interval '1 day')`,
    );
    expect(made.error).toBeUndefined();
    const body = { token: text, password: `${PASSWORD} of bob` };
    return (await request("POST", "/v1/invitations/accept", { body })).status;
  }

  it("sets no password of the account whose email is in the row by now", async () => {
    const victim = await signedUp();
    const passwords = () => stage.query("select password_hash from users where id = $1", [victim.user.id]);
    const before = await passwords();
    expect(await accepted(`${crypto.randomUUID()}@partywall.test`, victim.user.email)).toBe(410);
    expect(await passwords()).toEqual(before);
    expect((await signIn(victim.user.email)).user.id).toBe(victim.user.id);
  });

  it("is accepted as it was made: the control of the above", async () => {
    const email = `${crypto.randomUUID()}@partywall.test`;
    expect(await accepted(email, email)).toBe(201);
  });
});
