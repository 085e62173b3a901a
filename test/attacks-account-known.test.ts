import { beforeAll, describe, expect, it } from "vitest";
import {
  ACCOUNT,
  attempt,
  contextOf,
  insideOf,
  lastRows,
  newTargets,
  shows,
  UNDO,
  UNDONE,
  type Target,
} from "./support/attacks.ts";

// What plain Postgres cannot close for partywall_account, exactly as wide as it is, and what looks like it but is closed.

let ada: Target;
let bob: Target;
let carol: Target;

beforeAll(async () => {
  [ada, bob, carol] = await newTargets();
});

const inside = (t: Target, ...statements: string[]) => insideOf(ACCOUNT, t, ...statements);
const undone = (t: Target, ...statements: string[]) => inside(t, ...statements, UNDO);

describe("known and said: what partywall_account learns of other tenants", () => {
  it("whether a slug is taken, as sign-up tells everybody", async () => {
    const rename = (slug: string) => undone(bob, `update tenants set slug = '${slug}'`);
    const outcome = await rename(ada.slug);
    expect(outcome).toMatchObject({ error: { code: "23505", constraint: "tenants_slug" } });
    expect(outcome.error?.["detail"]).toBeUndefined();
    expect(shows(outcome, ada)).toBe(false);
    expect(await rename(`free-${crypto.randomUUID()}`)).toMatchObject({ error: { code: UNDONE } });
  });

  it("counts: the size of a whole table", async () => {
    const outcome = await inside(bob, "select pg_relation_size('users')::int as bytes");
    const [{ bytes }] = lastRows(outcome) as [{ bytes: number }];
    expect(bytes).toBeGreaterThan(0);
  });

  it("the definitions: policies, the verifier's source; no key", async () => {
    const outcome = await inside(
      bob,
      "select polname from pg_policy where polrelid = 'users'::regclass",
      "select prosrc from pg_proc where oid = 'current_tenant_id'::regproc",
    );
    for (const rows of outcome.rows) expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(outcome)).toContain("partywall.context_keys");
  });

  it("a stolen live context: whoever has it is that tenant until it expires", async () => {
    const context = contextOf(ada, ACCOUNT.role, Date.now(), ACCOUNT.place);
    const stolen = await inside(
      bob,
      `select set_config('app.tenant', '${context}', true)`,
      "select name from api_keys",
    );
    expect(shows(stolen, ada)).toBe(true);
  });
});

describe("closed: what a key over all tenants would tell", () => {
  const maker = "current_actor_id()";
  it.each<[string, (t: Target) => string]>([
    [
      "the id of a key",
      ({ key }) => `insert into api_keys (id, name, scopes, hash, hint, created_by)
        values ('${key}', 'x', '{}', sha256('free'), 'x', ${maker})`,
    ],
    [
      "the hash of a key",
      ({ key }) => `insert into api_keys (id, name, scopes, hash, hint, created_by)
        values (gen_random_uuid(), 'x', '{}', sha256('${key}'), 'x', ${maker})`,
    ],
    [
      "the id of an invitation",
      ({ invitation }) => `insert into invitations (id, email, role, token_hash, invited_by, expires_at)
        values ('${invitation}', 'free', 'viewer', 'x', ${maker}, now())`,
    ],
    [
      "an invited email",
      ({ marker }) => `insert into invitations (id, email, role, token_hash, invited_by, expires_at)
        values (gen_random_uuid(), '${marker}', 'viewer', 'x', ${maker}, now())`,
    ],
    [
      "an issuer and its audience",
      ({ slug, marker }) => `insert into issuers (issuer, audience, email_domains, registered_by)
        values ('https://${slug}.test', '${marker}', '{}', ${maker})`,
    ],
    [
      "the email of an account",
      ({ email }) => `insert into users (email, issuer_id, subject) select '${email}', id, 'x' from issuers`,
    ],
  ])("%s is not taken by another tenant", async (name, statement) => {
    expect(await undone(bob, statement(ada))).toMatchObject({ error: { code: UNDONE } });
    if (name === "the email of an account") return;
    expect(await undone(carol, statement(carol))).toMatchObject({ error: { code: "23505" } });
  });

  it.each<[string, (id: string) => string]>([
    ["a member", (id) => `insert into memberships (user_id, role) values ('${id}', 'viewer')`],
    ["a key's maker", (id) => `update api_keys set created_by = '${id}'`],
    [
      "a session's user",
      (id) => `insert into sessions (user_id, issuer_id, expires_at) select '${id}', id, now() from issuers`,
    ],
    ["a user's issuer", (id) => `insert into users (email, issuer_id, subject) values ('x', '${id}', 'x')`],
  ])("%s from another tenant is refused as one that does not exist", async (_, refer) => {
    const refused = async (id: string) => {
      const { error } = await undone(bob, refer(id));
      const { code, message, detail, constraint } = error ?? {};
      return JSON.stringify([code, message, detail, constraint]).replaceAll(id, "…");
    };
    const nobodys = await refused(crypto.randomUUID());
    for (const id of [ada.actor, ada.guest, ada.issuer]) expect(await refused(id)).toBe(nobodys);
    expect(nobodys).toMatch(/42501|23503/);
  });
});

describe("known and said: what is open to a denial of service", () => {
  it.each([
    ["its own password", "alter role partywall_account password 'loot'"],
    ["its own path", "alter role partywall_account set search_path = pg_temp"],
    ["a lock on a whole table", "lock table api_keys in access exclusive mode"],
    ["a longer time limit", "set local statement_timeout = 0"],
  ])("partywall_account may change or take %s", async (_, statement) => {
    expect(await undone(bob, statement)).toMatchObject({ error: { code: UNDONE } });
  });

  it("DROP OWNED BY itself would shed no policy: none names the role", async () => {
    const policies = await inside(
      carol,
      `select distinct polname::text as name, polroles::regrole[]::text as roles from pg_policy p join pg_class c
         on c.oid = polrelid and relnamespace = 'control'::regnamespace order by 1`,
    );
    expect(lastRows(policies)).toEqual([
      { name: "across_tenants", roles: "{partywall_identity,partywall_operator,partywall_owner}" },
      { name: "tenant_only", roles: "{-}" },
    ]);
  });

  it("no context opens nothing, whatever else was changed: the control of this file", async () => {
    for (const table of [
      "tenants",
      "memberships",
      "sessions",
      "invitations",
      "api_keys",
      "issuers",
      "outbox",
    ])
      expect(
        await attempt(ACCOUNT.login, undefined, [`select * from control.${table}`], ACCOUNT.place),
      ).toMatchObject({ error: { code: "28000" } });
  });
});
