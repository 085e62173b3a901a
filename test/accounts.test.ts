import { beforeAll, describe, expect, it } from "vitest";
import { settings } from "../src/env.ts";
import { CONTROL } from "../src/db/places.ts";
import { signContext } from "../src/db/signed-context.ts";
import { login, newMember, newTenant, request, type SignedIn } from "./support/client.ts";
import { exchanged, newIssuer, trust } from "./support/issuer.ts";

// Signing in looks across tenants, as partywall_identity. partywall_account sees its context's tenant's people alone,
// whatever SQL it runs, and changes nobody's account.

const account = login("ACCOUNT_DATABASE_URL");
let ada: SignedIn;
let bob: SignedIn;
let member: SignedIn;
let issued: { id: string };
let issuers: { ada: string; bob: string };

beforeAll(async () => {
  [ada, bob] = [await newTenant(), await newTenant()];
  member = await newMember(ada.tenant.id, "member");
  const idp = newIssuer();
  issuers = { ada: (await trust(ada, idp)).id, bob: (await trust(bob, newIssuer())).id };
  const token = await exchanged(await idp.sign({ email: "ann@acme.test" }));
  ({ user: issued } = await (await request("GET", "/v1/me", { token })).json<{ user: { id: string } }>());
});

/** Runs statements in Ada's context, in one transaction, and gives the rows of the first. */
async function inside(...statements: [text: string, params?: unknown[]][]) {
  const [key] = settings.TENANT_CONTEXT_KEYS;
  if (!key) throw new Error("no context key");
  const actor = { id: ada.user.id, as: "owner" } as const;
  const context = signContext(key, CONTROL, "partywall_account", ada.tenant.id, actor, Date.now());
  const [, rows = []] = await account.transaction([
    account`select set_config('app.tenant', ${context}, true)`,
    ...statements.map(([text, params]) => account.query(text, params)),
  ]);
  return rows as Record<string, unknown>[];
}
const seen = (text: string, params: unknown[] = []) => inside([text, params]);
/** The SQLSTATE with which a statement ends; one that is allowed is undone by a division by zero. */
const outcome = (text: string, params: unknown[] = []) =>
  inside([text, params], ["select 1 / 0"]).then(
    () => "done",
    (error: unknown) => (error as { code: string }).code,
  );

const UNDONE = "22012";
const REFUSED = "42501";

describe("partywall_account", () => {
  it("sees the accounts of that tenant's members and of its issuer's users, and its own tenant", async () => {
    const accounts = await seen("select id from users");
    expect(new Set(accounts.map(({ id }) => id))).toEqual(new Set([ada.user.id, member.user.id, issued.id]));
    expect(await seen("select id from tenants")).toEqual([{ id: ada.tenant.id }]);
    expect(await seen("select id from users where email = $1", [bob.user.email])).toEqual([]);
    // Without a context it sees them all, as signing in has to: the control.
    const all = await login(
      "IDENTITY_DATABASE_URL",
    )`select id from users where id in (${bob.user.id}, ${ada.user.id})`;
    expect(all).toHaveLength(2);
  });

  it.each([
    [
      "a member's password",
      () => ["update users set password_hash = 'mine' where id = $1", [member.user.id]],
    ],
    ["a member's email", () => ["update users set email = 'mine@x.test' where id = $1", [member.user.id]]],
    [
      "a proof of a mailbox",
      () => ["update users set email_verified_at = now() where id = $1", [member.user.id]],
    ],
    [
      "whose issuer's somebody is",
      () => ["update users set issuer_id = $1 where id = $2", [issuers.bob, issued.id]],
    ],
    [
      "a member into its issuer's user",
      () => ["update users set issuer_id = $1 where id = $2", [issuers.ada, member.user.id]],
    ],
    [
      "a new user of another tenant's issuer",
      () => [
        "insert into users (id, email, issuer_id, subject) values (gen_random_uuid(), 'x@x.test', $1, 'x')",
        [issuers.bob],
      ],
    ],
    ["a new account", () => ["insert into users (id, email) values (gen_random_uuid(), 'x@x.test')", []]],
    ["the end of an account", () => ["delete from users where id = $1", [member.user.id]]],
    [
      "a stranger a member, to see their account",
      () => ["insert into memberships (user_id, role) values ($1, 'viewer')", [bob.user.id]],
    ],
    [
      "nobody a member",
      () => ["insert into memberships (user_id, role) values (gen_random_uuid(), 'viewer')", []],
    ],
    [
      "another tenant",
      () => [
        "insert into tenants (id, slug, name, plan) values (gen_random_uuid(), 'made-inside', 'x', 'solo')",
        [],
      ],
    ],
  ] as [string, () => [string, unknown[]]][])("cannot make %s", async (_, statement) => {
    expect(await outcome(...statement())).toBe(REFUSED);
  });

  it("changes no row of another tenant's people", async () => {
    for (const [statement, id] of [
      ["update users set email = 'mine@x.test' where id = $1 returning id", bob.user.id],
      ["update tenants set name = 'mine' where id = $1 returning id", bob.tenant.id],
    ])
      expect(await seen(statement ?? "", [id])).toEqual([]);
    expect(await outcome("update users set email = 'mine@x.test' where id = $1", [issued.id])).toBe(UNDONE);
  });
});
