import { decodeJwt } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { forgetTrusts } from "../src/identity/trust.ts";
import { countCalls } from "./support/calls.ts";
import {
  answered,
  newMember,
  newTenant,
  operate,
  PASSWORD,
  request,
  signIn,
  signedUp,
  type SignedIn,
  stage,
} from "./support/client.ts";
import {
  AUDIENCE,
  exchange,
  exchanged,
  exchangeForm,
  expectRefused,
  newIssuer,
  tokenRequest,
  trust,
  type Claims,
} from "./support/issuer.ts";

type Me = {
  user: { id: string; email: string };
  role: string;
  tenant: { slug: string };
  other_tenants: unknown[];
};
const me = (token: string) => answered<Me>(200, request("GET", "/v1/me", { token }));
const status = async (token: string) => (await request("GET", "/v1/projects", { token })).status;
const sql = stage;

afterEach(() => vi.restoreAllMocks());

/** A tenant that trusts an issuer of its own. */
async function acme(rules: object = {}) {
  const [owner, issuer] = [await newTenant(), newIssuer()];
  const { id } = await trust(owner, issuer, rules);
  const subject = (name: string, claims: Claims = {}) =>
    issuer.sign({ sub: name, email: `${name}@acme.test`, ...claims });
  const path = `/v1/issuers/${id}`;
  return { owner, issuer, id, path, subject };
}

const usersOf = (issuerId: string) => sql`select id, email, subject from users where issuer_id = ${issuerId}`;

describe("a token exchange", () => {
  it("answers as RFC 8693 says, with an access token of this server", async () => {
    const { owner, subject } = await acme();
    const response = await exchange(await subject("ann"));
    expect(response.headers.get("cache-control")).toBe("no-store");
    const answer = await answered<Record<string, unknown>>(200, response);
    expect(answer).toEqual({
      access_token: expect.any(String),
      issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
      token_type: "Bearer",
      expires_in: 600,
      scope: "projects:read tasks:read members:read usage:read tenant:read projects:write tasks:write",
    });
    const token = String(answer["access_token"]);
    expect(decodeJwt(token)).toMatchObject({ iss: settings.ISSUER, tid: owner.tenant.id, role: "member" });
    expect(await me(token)).toMatchObject({
      user: { email: "ann@acme.test" },
      role: "member",
      tenant: { slug: owner.tenant.slug },
      other_tenants: [],
    });
  });

  it.each(["RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA"])("takes %s", async (alg) => {
    const { issuer } = await acme();
    expect((await exchange(await issuer.sign({ email: "a@acme.test" }, { alg }))).status).toBe(200);
  });

  it("makes a session that its user can list and end, and that has no refresh token", async () => {
    const { subject } = await acme();
    const token = await exchanged(await subject("ann"));
    const list = await answered<{ data: { id: string; current: boolean; expires_at: string }[] }>(
      200,
      request("GET", "/v1/sessions", { token }),
    );
    expect(list.data).toMatchObject([{ id: decodeJwt(token)["sid"], current: true }]);
    expect(Date.parse(list.data[0]?.expires_at ?? "") - Date.now()).toBeLessThanOrEqual(605_000);
    expect((await request("DELETE", "/v1/sessions/current", { token })).status).toBe(204);
    expect(await status(token)).toBe(401);
  });

  it("gives the same user each time, and one user to many exchanges at once", async () => {
    const { id, subject } = await acme();
    const token = await subject("ann");
    const tokens = await Promise.all(Array.from({ length: 12 }, () => exchanged(token)));
    const people = await Promise.all(tokens.map(me));
    expect(new Set(people.map(({ user }) => user.id)).size).toBe(1);
    expect(await usersOf(id)).toHaveLength(1);
  });

  it("follows the email of a subject", async () => {
    const { subject } = await acme();
    const before = await me(await exchanged(await subject("ann")));
    const after = await me(await exchanged(await subject("ann", { email: "Ann.Smith@Acme.test" })));
    expect(after.user).toMatchObject({ id: before.user.id, email: "ann.smith@acme.test" });
  });

  it("is a session of the member with that email, at the member's own role", async () => {
    const { owner, id, issuer } = await acme({ email_domains: ["members.test"], just_in_time: false });
    const member = await newMember(owner.tenant.id, "admin");
    const token = await exchanged(await issuer.sign({ email: member.user.email }));
    expect(await me(token)).toMatchObject({ user: { id: member.user.id }, role: "admin" });
    expect(await usersOf(id)).toEqual([]);
    // The same role as before: nothing of the member's has changed.
    expect(await status(member.token)).toBe(200);
  });

  it("never makes an owner: of one it makes an admin", async () => {
    const owner = await newTenant();
    const issuer = newIssuer();
    await trust(owner, issuer, { email_domains: [`${owner.tenant.slug}.test`], default_role: "viewer" });
    const token = await exchanged(await issuer.sign({ email: owner.user.email }));
    expect(await me(token)).toMatchObject({ user: { id: owner.user.id }, role: "admin" });
    expect((await request("DELETE", "/v1/tenant", { token })).status).toBe(403);
    expect(await status(owner.token)).toBe(200);
  });

  it("takes nobody new in where the tenant does not want it", async () => {
    const { id, subject } = await acme({ just_in_time: false });
    await expectRefused(exchange(await subject("ann")), /no member/);
    expect(await usersOf(id)).toEqual([]);
  });

  it("is not changed by what another tenant registers later, or claims later", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    const issuer = newIssuer();
    const subject = (name: string, at = "acme.test") => issuer.sign({ sub: name, email: `${name}@${at}` });
    const slugOf = async (token: string) => (await me(await exchanged(token))).tenant.slug;
    // Two was there first, for another domain.
    const { id } = await trust(two, issuer, { email_domains: ["globex.test"] });
    await trust(one, issuer);
    expect(await slugOf(await subject("ann"))).toBe(one.tenant.slug);
    const body = { email_domains: ["globex.test", "acme.test"] };
    await answered(200, request("PATCH", `/v1/issuers/${id}`, { token: two.token, body }));
    // As in an isolate that has not asked before.
    forgetTrusts({ issuer: issuer.url, audience: AUDIENCE, slug: undefined, domain: "acme.test" });
    for (const name of ["ann", "ben"]) expect(await slugOf(await subject(name))).toBe(one.tenant.slug);
    expect(await slugOf(await subject("eve", "globex.test"))).toBe(two.tenant.slug);
    // Named, either is the one.
    for (const { tenant } of [one, two])
      expect(await me(await exchanged(await subject("zoe"), { audience: tenant.slug }))).toMatchObject({
        tenant: { slug: tenant.slug },
      });
    const third = await newTenant();
    await expectRefused(exchange(await subject("ann"), { audience: third.tenant.slug }));
  });

  it("is not changed by fifty registrations of others, which claim the domain's newcomers", async () => {
    const [one, issuer] = [await newTenant(), newIssuer()];
    await trust(one, issuer, { just_in_time: false });
    const { user } = await newMember(one.tenant.id, "member");
    await sql`update users set email = ${`${user.id}@acme.test`} where id = ${user.id}`;
    const prefix = `crowd-${crypto.randomUUID().slice(0, 8)}`;
    await sql`insert into tenants (id, slug, name, plan)
      select gen_random_uuid(), concat(${prefix}::text, '-', n), 'Crowd', 'solo' from generate_series(1, 50) n`;
    await sql`insert into issuers (id, tenant_id, issuer, audience, default_role, email_domains, just_in_time, registered_by)
      select gen_random_uuid(), id, ${issuer.url}, ${AUDIENCE}, 'member', '{acme.test}', true, id
      from tenants where slug like ${`${prefix}-%`}`;
    const token = await issuer.sign({ sub: "ann", email: `${user.id}@acme.test` });
    expect((await me(await exchanged(token))).tenant.slug).toBe(one.tenant.slug);
  });

  it("is for the tenant whose member the subject is; only a member of several is asked which", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    const issuer = newIssuer();
    await trust(one, issuer);
    await trust(two, issuer);
    const token = await issuer.sign({ email: "ann@acme.test" });
    await exchanged(token, { audience: two.tenant.slug });
    expect(await me(await exchanged(token))).toMatchObject({ tenant: { slug: two.tenant.slug } });
    await exchanged(token, { audience: one.tenant.slug });
    const response = await exchange(token);
    expect(response.status).toBe(400);
    const problem = await response.json<object>();
    expect(problem).toMatchObject({ error: "invalid_target", errors: [{ pointer: "/audience" }] });
    expect(JSON.stringify(problem)).not.toContain(one.tenant.slug);
  });

  it("tells nobody without a genuine token how many tenants trust its issuer, or whether any does", async () => {
    const [issuer, unknown] = [newIssuer(), newIssuer()];
    const told = async (from: typeof issuer) => {
      const answer = await exchange(await from.sign({ email: "ann@acme.test" }, { alg: "none" }));
      const { instance: _, ...problem } = await answer.json<Record<string, unknown>>();
      return { status: answer.status, problem };
    };
    const [one, two] = [await newTenant(), await newTenant()];
    const untrusted = await told(unknown);
    await trust(one, issuer);
    expect(await told(issuer)).toEqual(untrusted);
    await trust(two, issuer);
    expect(await told(issuer)).toEqual(untrusted);
  });

  it("is refused by a tenant that is suspended or being closed", async () => {
    const { owner, subject } = await acme();
    const token = await subject("ann");
    const first = await exchanged(token);
    await operate(owner.tenant.id, { status: "suspended" });
    const response = await exchange(token);
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ title: "The tenant is suspended" });
    await operate(owner.tenant.id, { status: "active" });
    expect(await status(first)).toBe(200);
    await request("DELETE", "/v1/tenant", { token: owner.token });
    expect((await exchange(token)).status).toBe(403);
  });

  it("costs one database request once the issuer and its keys are known", async () => {
    const { subject } = await acme();
    const token = await subject("ann");
    const calls = countCalls();
    await exchanged(token);
    expect(calls).toMatchObject({ sql: 3, object: 1 });
    calls.sql = calls.object = calls.site = 0;
    await exchanged(token);
    expect(calls).toEqual({ sql: 1, object: 1, site: 0 });
  });

  it("writes down in the audit trail what the issuer did", async () => {
    const { owner, id, subject } = await acme();
    const { user } = await me(await exchanged(await subject("ann")));
    const { data } = await answered<{ data: object[] }>(
      200,
      request("GET", "/v1/audit-events", { token: owner.token }),
    );
    expect(data).toContainEqual(
      expect.objectContaining({
        action: "create",
        resource: "memberships",
        resource_id: user.id,
        actor: expect.objectContaining({ id, type: "issuer" }),
      }),
    );
  });
});

describe("a subject token", () => {
  const now = () => Math.floor(Date.now() / 1000);
  const bad: [string, (url: string) => Claims, RegExp][] = [
    ["of another audience", () => ({ aud: "another-app" }), /No tenant trusts/],
    ["of another issuer", (url) => ({ iss: `${url}/` }), /No tenant trusts/],
    ["of no audience", () => ({ aud: undefined }), /No tenant trusts/],
    [
      "made for another of its audiences",
      () => ({ aud: [AUDIENCE, "other"], azp: "other" }),
      /No tenant trusts/,
    ],
    ["of two audiences without azp", () => ({ aud: [AUDIENCE, "other"] }), /No tenant trusts/],
    ["that has expired", () => ({ iat: now() - 700, exp: now() - 40 }), /expired/],
    ["that never expires", () => ({ exp: undefined }), /exp/],
    ["that is two days old", () => ({ iat: now() - 2 * 86_400 }), /expired/],
    ["of tomorrow", () => ({ iat: now() + 86_400, exp: now() + 2 * 86_400 }), /iat/],
    ["without iat", () => ({ iat: undefined }), /iat/],
    ["that is not yet good", () => ({ nbf: now() + 120 }), /nbf/],
    ["without a subject", () => ({ sub: undefined }), /sub/],
    ["with an empty subject", () => ({ sub: "" }), /sub/],
    ["with a subject that is no text", () => ({ sub: "a\0b" }), /sub/],
    ["without an email", () => ({ email: undefined }), /email/],
    ["whose email is not verified", () => ({ email_verified: false }), /email_verified/],
    ["whose email is said to be verified in a string", () => ({ email_verified: "true" }), /email_verified/],
    ["with an email of another domain", () => ({ email: "ann@globex.test" }), /domain/],
    ["with an email of a subdomain", () => ({ email: "ann@sub.acme.test" }), /domain/],
    ["with an email of a domain that ends alike", () => ({ email: "ann@notacme.test" }), /domain/],
    ["with two domains", () => ({ email: "ann@acme.test@globex.test" }), /email/],
  ];
  it.each(bad)("%s is refused", async (_, claims, detail) => {
    const { id, issuer, subject } = await acme();
    await expectRefused(exchange(await subject("ann", claims(issuer.url))), detail);
    expect(await usersOf(id)).toEqual([]);
  });

  it("signed in a way that a forger could is refused", async () => {
    const { id, issuer } = await acme();
    const claims = { email: "ann@acme.test" };
    const [genuine, other] = [await issuer.sign(claims), newIssuer()];
    const [head = "", body = ""] = genuine.split(".");
    const forged = [
      await issuer.sign(claims, { alg: "HS256" }),
      await issuer.sign(claims, { alg: "none" }),
      await other.sign({ ...claims, iss: issuer.url }),
      await other.sign({ ...claims, iss: issuer.url }, { header: { jku: `${other.url}/jwks` } }),
      await issuer.sign(claims, { header: { crit: ["x"], x: 1 } }).catch(() => "a.b.c"),
      `${head}.${body}.`,
      `${head}.${body}.${"A".repeat(86)}`,
      `${head}.${Buffer.from(JSON.stringify({ ...decodeJwt(genuine), sub: "x" })).toString("base64url")}.${genuine.split(".")[2]}`,
      "not a token",
      "e30.e30.",
    ];
    for (const token of forged) await expectRefused(exchange(token), /No tenant trusts/);
    expect(await usersOf(id)).toEqual([]);
    expect((await exchange(genuine)).status).toBe(200);
  });

  it("of this server itself is refused", async () => {
    const { token } = await newTenant();
    const response = await exchange(token);
    expect(response.status).toBe(400);
    await expectRefused(response);
  });

  it("is never logged", async () => {
    const { issuer, subject } = await acme();
    const token = await subject("ann");
    await issuer.behave("fail");
    const lines = vi.spyOn(console, "error").mockImplementation(() => {});
    expect((await exchange(token)).status).toBe(503);
    expect(lines).toHaveBeenCalledTimes(1);
    expect(JSON.stringify(lines.mock.calls)).not.toContain(token.split(".")[1]);
  });
});

describe("a token request", () => {
  const form = exchangeForm("a.b.c");
  const cases: [string, Record<string, string> | string, string, string[]][] = [
    ["of another grant type", { ...form, grant_type: "password" }, "unsupported_grant_type", []],
    ["of no grant type", { ...form, grant_type: "" }, "unsupported_grant_type", []],
    ["that is empty", "", "invalid_request", ["/grant_type", "/subject_token", "/subject_token_type"]],
    [
      "of another token type",
      { ...form, subject_token_type: "saml2" },
      "invalid_request",
      ["/subject_token_type"],
    ],
    [
      "for a refresh token",
      { ...form, requested_token_type: "urn:ietf:params:oauth:token-type:refresh_token" },
      "invalid_request",
      ["/requested_token_type"],
    ],
    ["on behalf of somebody", { ...form, actor_token: "x" }, "invalid_request", ["/actor_token"]],
    ["for no slug", { ...form, audience: "No Slug" }, "invalid_request", ["/audience"]],
    [
      "with a parameter twice",
      `${new URLSearchParams(form).toString()}&subject_token=x`,
      "invalid_request",
      ["/subject_token"],
    ],
    [
      "with a token of 17,000 characters",
      { ...form, subject_token: "x".repeat(17_000) },
      "invalid_request",
      ["/subject_token"],
    ],
  ];
  it.each(cases)(
    "%s is answered with an error of RFC 6749 in a problem",
    async (_, body, error, pointers) => {
      const response = await tokenRequest(body);
      expect(response.status).toBe(400);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      const problem = await response.json<{ error: string; errors?: { pointer: string }[] }>();
      expect(problem.error).toBe(error);
      expect((problem.errors ?? []).map(({ pointer }) => pointer)).toEqual(pointers);
    },
  );

  it("takes a parameter that nobody knows, and no body but a form", async () => {
    const { subject } = await acme();
    const known = exchangeForm(await subject("ann"));
    expect((await tokenRequest({ ...known, resource: "https://api.test", x: "y" })).status).toBe(200);
    expect((await request("POST", "/v1/token", { body: known })).status).toBe(415);
    expect((await request("POST", "/v1/token")).status).toBe(400);
  });

  it("names the tenant by its host as well, and no other one", async () => {
    const { owner, subject } = await acme();
    const genuine = String(new URLSearchParams(exchangeForm(await subject("ann"))));
    const at = (slug: string, more = "") =>
      request("POST", "/v1/token", {
        body: genuine + more,
        headers: { "content-type": "application/x-www-form-urlencoded" },
        host: `${slug}.partywall.test`,
      });
    const other = await newTenant();
    expect((await at(owner.tenant.slug)).status).toBe(200);
    await expectRefused(at(other.tenant.slug));
    expect((await at(other.tenant.slug, `&audience=${owner.tenant.slug}`)).status).toBe(403);
  });
});

describe("a role", () => {
  const rules = {
    role_claim: "groups",
    role_map: { staff: "member", boss: "admin", guest: "viewer" },
    default_role: null,
  };
  it.each([
    [["staff"], "member"],
    ["boss", "admin"],
    [["guest", "staff", "boss"], "admin"],
    [["constructor", "guest"], "viewer"],
  ])("comes from the claim %j as %s", async (groups, role) => {
    const { subject } = await acme(rules);
    expect(await me(await exchanged(await subject("ann", { groups })))).toMatchObject({ role });
  });

  it.each([undefined, "owner", ["constructor"], "", null, 1, [["boss"]], { boss: true }])(
    "does not come from the claim %j, and then nobody gets in",
    async (groups) => {
      const { id, subject } = await acme(rules);
      await expectRefused(exchange(await subject("ann", { groups })), /role/);
      expect(await usersOf(id)).toEqual([]);
    },
  );

  it("follows the claim, and one that has changed voids the older token with the next request", async () => {
    const { owner, subject } = await acme(rules);
    const boss = await exchanged(await subject("ann", { groups: "boss" }));
    const other = await exchanged(await subject("ben", { groups: "boss" }));
    const { key, id } = await answered<{ key: string; id: string }>(
      201,
      request("POST", "/v1/api-keys", {
        token: boss,
        body: { name: "k", scopes: ["audit:read", "projects:read"] },
      }),
    );
    expect((await request("GET", "/v1/audit-events", { token: key })).status).toBe(200);

    const guest = await exchanged(await subject("ann", { groups: "guest" }));
    expect(await status(boss)).toBe(401);
    expect(await status(other)).toBe(200);
    expect(await me(guest)).toMatchObject({ role: "viewer" });
    // Their keys as well have only what the new role may.
    expect((await request("GET", "/v1/audit-events", { token: key })).status).toBe(403);
    expect(await status(key)).toBe(200);
    expect(await answered(200, request("GET", `/v1/api-keys/${id}`, { token: owner.token }))).toMatchObject({
      scopes: ["projects:read"],
    });
    // The object hears of it again from an exchange that finds it done.
    const again = await exchanged(await subject("ann", { groups: "guest" }));
    for (const token of [guest, again]) expect(await status(token)).toBe(200);
    expect(await status(boss)).toBe(401);
  });
});

describe("a tenant with an issuer that asserts anybody's email", () => {
  const other = (who: SignedIn) => who.user.email.slice(who.user.email.indexOf("@") + 1);

  it("gets nothing of another tenant or of its people's accounts", async () => {
    const [victim, attacker] = await Promise.all([signedUp(), newTenant()]);
    const issuer = newIssuer();
    await trust(attacker, issuer, { email_domains: [other(victim)], default_role: "admin" });
    const before = await sql`select * from users where email = ${victim.user.email}`;
    const token = await exchanged(await issuer.sign({ sub: victim.user.id, email: victim.user.email }));

    const seen = await me(token);
    expect(seen).toMatchObject({ tenant: { slug: attacker.tenant.slug }, other_tenants: [] });
    expect(seen.user.id).not.toBe(victim.user.id);
    const change = await request("POST", "/v1/sessions/switch", {
      token,
      body: { tenant: victim.tenant.slug },
    });
    expect(change.status).toBe(404);
    await expectRefused(
      exchange(await issuer.sign({ email: victim.user.email }), { audience: victim.tenant.slug }),
    );
    expect(await sql`select * from users where email = ${victim.user.email} and issuer_id is null`).toEqual(
      before,
    );
    expect((await signIn(victim.user.email)).user.id).toBe(victim.user.id);
    expect(await status(victim.token)).toBe(200);
  });

  it("does not keep the email's real owner from signing up", async () => {
    const { subject } = await acme();
    const seized = await me(await exchanged(await subject("ann")));
    const slug = `r-${crypto.randomUUID().slice(0, 13)}`;
    // The address is another test's as well.
    const email = `ann-${slug}@acme.test`;
    const { issuer } = await acme();
    await exchanged(await issuer.sign({ sub: "x", email }));
    const session = await answered<SignedIn>(
      201,
      request("POST", "/v1/signup", { body: { email, password: PASSWORD, tenant: { name: "R", slug } } }),
    );
    expect(session.user.id).not.toBe(seized.user.id);
    expect((await signIn(email)).tenant.slug).toBe(slug);
    // Nor is a user of an issuer anybody that a password belongs to.
    expect(await sql`select count(*)::int as n from users where email = ${email}`).toEqual([{ n: 2 }]);
  });

  it("shows a member of both tenants only the one, and lets them change to none", async () => {
    const [one, two] = await Promise.all([newTenant(), newTenant()]);
    await sql`insert into memberships (tenant_id, user_id, role) values (${two.tenant.id}, ${one.user.id}, 'member')`;
    const issuer = newIssuer();
    await trust(two, issuer, { email_domains: [other(one)] });
    const token = await exchanged(await issuer.sign({ email: one.user.email }));
    expect(await me(token)).toMatchObject({
      user: { id: one.user.id },
      tenant: { slug: two.tenant.slug },
      other_tenants: [],
    });
    const change = await request("POST", "/v1/sessions/switch", { token, body: { tenant: one.tenant.slug } });
    expect(change.status).toBe(404);
    // Their own session may: the control.
    const own = await request("POST", "/v1/sessions/switch", {
      token: one.token,
      body: { tenant: two.tenant.slug },
    });
    expect(own.status).toBe(201);
  });
});

describe("an issuer's end", () => {
  it("revokes all that it vouched for with the next request, and nothing else", async () => {
    const { owner, path, id, subject, issuer } = await acme({
      email_domains: ["acme.test", "members.test"],
      default_role: "admin",
    });
    const member = await newMember(owner.tenant.id, "member");
    const [ann, asMember] = [
      await exchanged(await subject("ann")),
      await exchanged(await issuer.sign({ sub: "m", email: member.user.email })),
    ];
    const { key } = await answered<{ key: string }>(
      201,
      request("POST", "/v1/api-keys", { token: ann, body: { name: "k", scopes: ["projects:read"] } }),
    );
    for (const token of [ann, asMember, key, member.token]) expect(await status(token)).toBe(200);
    const calls = countCalls();
    expect((await request("DELETE", path, { token: owner.token })).status).toBe(204);
    expect(calls).toEqual({ sql: 1, object: 2, site: 1 });
    for (const token of [ann, asMember, key]) expect(await status(token)).toBe(401);
    for (const token of [member.token, owner.token]) expect(await status(token)).toBe(200);
    await expectRefused(exchange(await subject("ann")), /No tenant trusts/);
    expect(await usersOf(id)).toEqual([]);
    expect((await request("DELETE", path, { token: owner.token })).status).toBe(404);
  });

  it("spares nobody who is being let in at that moment", async () => {
    const { owner, path, subject } = await acme();
    const token = await subject("ann");
    await exchanged(token);
    const [, ...answers] = await Promise.all([
      request("DELETE", path, { token: owner.token }),
      ...Array.from({ length: 10 }, () => exchange(token)),
    ]);
    for (const answer of answers) {
      const { access_token } = await answer.json<{ access_token?: string }>();
      if (access_token !== undefined) expect(await status(access_token)).toBe(401);
      else expect(answer.status).toBe(400);
    }
  });

  it("waits for another owner where one of its users is the only one", async () => {
    const { owner, path, subject } = await acme();
    const { user } = await me(await exchanged(await subject("ann")));
    await sql`update memberships set role = 'owner' where user_id = ${user.id}`;
    const token = await exchanged(await subject("ann"));
    await sql`update memberships set role = 'admin'
      where user_id = ${owner.user.id} and tenant_id = ${owner.tenant.id}`;
    expect(await me(token)).toMatchObject({ role: "admin" });
    const response = await request("DELETE", path, { token });
    expect(response.status).toBe(409);
    expect(await status(token)).toBe(200);
  });
});

it.each([{ role: "owner" }, {}])(
  "lets an owner whom it vouches for change no owner, themselves by %j",
  async (body) => {
    const { subject } = await acme();
    const { user } = await me(await exchanged(await subject("ann")));
    await sql`update memberships set role = 'owner' where user_id = ${user.id}`;
    const token = await exchanged(await subject("ann"));
    expect(await me(token)).toMatchObject({ role: "admin" });
    expect((await request("PATCH", `/v1/members/${user.id}`, { token, body })).status).toBe(403);
    expect(await status(token)).toBe(200);
  },
);

it("ends the sessions of an issuer whose rules change, and goes by the new ones at once", async () => {
  const { owner, id, path, subject } = await acme();
  const before = await exchanged(await subject("ann"));
  const patch = (body: object, headers: Record<string, string> = {}) =>
    request("PATCH", path, { token: owner.token, body, headers });
  expect((await patch({ just_in_time: false }, { "if-match": '"9"' })).status).toBe(412);
  expect(await answered(200, request("GET", "/v1/sessions", { token: before }))).toMatchObject({
    data: [{ current: true }],
  });
  const calls = countCalls();
  expect((await patch({ default_role: "viewer" })).status).toBe(200);
  expect(calls).toEqual({ sql: 1, object: 2, site: 1 });
  expect(await status(before)).toBe(401);
  expect(await me(await exchanged(await subject("ann")))).toMatchObject({ role: "viewer" });
  expect((await patch({ email_domains: ["elsewhere.test"] })).status).toBe(200);
  await expectRefused(exchange(await subject("ben")), /domain/);
  expect(await usersOf(id)).toHaveLength(1);
});
