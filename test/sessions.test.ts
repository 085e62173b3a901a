import { decodeJwt, decodeProtectedHeader } from "jose";
import { describe, expect, it } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { settings } from "../src/env.ts";
import type { Session } from "../src/identity/session.ts";
import {
  answered,
  newMember,
  newTenant,
  PASSWORD,
  request,
  signIn,
  signedUp,
  stage,
} from "./support/client.ts";

const slug = () => `s-${crypto.randomUUID().slice(0, 13)}`;
const signUp = (email: string, password: string, tenantSlug: string) =>
  request("POST", "/v1/signup", { body: { email, password, tenant: { name: "Acme", slug: tenantSlug } } });
const refresh = (refresh_token: string) =>
  request("POST", "/v1/sessions/refresh", { body: { refresh_token } });

describe("sign-up", () => {
  it("answers a session in the new tenant, on the plan solo", async () => {
    const own = slug();
    const response = await signUp(`Ada@${own}.test`, PASSWORD, own);
    const session = await answered<Session>(201, response);
    expect(session).toMatchObject({
      token_type: "Bearer",
      expires_in: 600,
      user: { email: `ada@${own}.test` },
      tenant: { slug: own, name: "Acme", role: "owner" },
    });
    const tenant = await answered(200, request("GET", "/v1/tenant", { token: session.access_token }));
    expect(tenant).toMatchObject({ slug: own, plan: "solo", status: "active" });
  });

  it("answers 409 to a taken slug, and leaves no user behind", async () => {
    const { tenant } = await newTenant();
    const email = `late@${tenant.slug}.test`;
    expect((await signUp(email, PASSWORD, tenant.slug)).status).toBe(409);
    expect(await stage`select 1 from users where email = ${email}`).toEqual([]);
  });

  it("adds the tenant to a user whose password it is, and else answers as a wrong sign-in does", async () => {
    const first = await signedUp();
    const second = slug();
    const wrong = await signUp(first.user.email, "not the password", second);
    const signInWrong = await request("POST", "/v1/sessions", {
      body: { email: first.user.email, password: "not it at all" },
    });
    expect(wrong.status).toBe(401);
    const { instance: _, ...told } = await wrong.json<Record<string, unknown>>();
    expect(await signInWrong.json()).toMatchObject(told);

    const added = await answered<Session>(201, signUp(first.user.email, PASSWORD, second));
    expect(added.user.id).toBe(first.user.id);
    const me = await answered<{ other_tenants: unknown }>(
      200,
      request("GET", "/v1/me", { token: added.access_token }),
    );
    expect(me).toMatchObject({
      tenant: { slug: second },
      other_tenants: [{ slug: first.tenant.slug, role: "owner" }],
    });

    const ambiguous = await request("POST", "/v1/sessions", {
      body: { email: first.user.email, password: PASSWORD },
    });
    expect(ambiguous.status).toBe(422);
    expect(await ambiguous.json()).toMatchObject({ errors: [{ pointer: "/tenant" }] });
    expect((await signIn(first.user.email, second)).tenant.slug).toBe(second);
  });

  it("sent again after a lost answer, with the same password, is the same tenant; with anything else it is 409", async () => {
    const own = slug();
    const first = await answered<Session>(201, signUp(`ada@${own}.test`, PASSWORD, own));
    const again = await answered<Session>(201, signUp(`ada@${own}.test`, PASSWORD, own));
    expect(again).toMatchObject({ user: first.user, tenant: first.tenant });
    const other = { name: "Other", slug: own };
    for (const body of [
      { email: `ada@${own}.test`, password: PASSWORD, tenant: other },
      { email: `eve@${own}.test`, password: PASSWORD, tenant: { name: "Acme", slug: own } },
    ])
      expect((await request("POST", "/v1/signup", { body })).status).toBe(409);
    expect((await signUp(`ada@${own}.test`, "not the password", own)).status).toBe(401);
    // What somebody else owns by now, or what is older than a day, is signed in to.
    await stage`
      update memberships set created_at = created_at - interval '1 second' where user_id = ${first.user.id}`;
    expect((await signUp(`ada@${own}.test`, PASSWORD, own)).status).toBe(409);
  });

  it("gives 20 sign-ups at once for one slug to exactly one", async () => {
    const own = slug();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => signUp(`u${index}@${own}.test`, PASSWORD, own)),
    );
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([
      201,
      ...Array.from({ length: 19 }, () => 409),
    ]);
  });
});

describe("sign-in", () => {
  it("tells a wrong password, an unknown email and a foreign tenant apart in nothing", async () => {
    const [{ user }, other] = await Promise.all([signedUp(), newTenant()]);
    const told = async (body: object) => {
      const response = await request("POST", "/v1/sessions", { body });
      const { instance: _, ...problem } = await response.json<Record<string, unknown>>();
      return { status: response.status, problem };
    };
    const wrong = await told({ email: user.email, password: "wrong password" });
    expect(wrong.status).toBe(401);
    expect(await told({ email: `nobody@${uuidv7()}.test`, password: PASSWORD })).toEqual(wrong);
    expect(await told({ email: user.email, password: PASSWORD, tenant: other.tenant.slug })).toEqual(wrong);
    expect(await told({ email: user.email, password: PASSWORD, tenant: "no-such-tenant" })).toEqual(wrong);
  });

  it("is refused after 300 attempts a minute from one address, before any work is done", async () => {
    const headers = { "cf-connecting-ip": "192.0.2.1" };
    // The binding counts in minutes of the wall clock: a flood that begins late in one gets two minutes' worth.
    const attempts = Array.from({ length: 610 }, () =>
      request("POST", "/v1/sessions", { body: {}, headers }),
    );
    const statuses = (await Promise.all(attempts)).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([422, 429]));
    const passed = statuses.filter((status) => status === 422).length;
    expect(passed).toBeGreaterThanOrEqual(300);
    expect(passed).toBeLessThanOrEqual(600);
  });
});

describe("the access token", () => {
  it("is an RFC 9068 token of the claims that were promised, signed by a published key", async () => {
    const { token, user, tenant, session } = await newTenant();
    const { keys } = await answered<{ keys: { kid: string }[] }>(
      200,
      request("GET", "/.well-known/jwks.json"),
    );
    expect(decodeProtectedHeader(token)).toEqual({ alg: "Ed25519", typ: "at+jwt", kid: keys[0]?.kid });
    for (const key of keys) expect(key).not.toHaveProperty("d");
    const claims = decodeJwt(token);
    expect(claims).toMatchObject({
      iss: settings.ISSUER,
      aud: settings.ISSUER,
      sub: user.id,
      client_id: "partywall",
      tid: tenant.id,
      sid: session.id,
      role: "owner",
    });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(600);
    expect(claims["scope"]).toContain("tenant:delete");
  });
});

describe("refresh", () => {
  it("rotates the token, and two tabs at once get the same successor", async () => {
    const { refresh_token, session } = await newTenant();
    const tabs = await Promise.all([refresh(refresh_token), refresh(refresh_token), refresh(refresh_token)]);
    const sessions = await Promise.all(tabs.map((tab) => answered<Session>(200, tab)));
    const successors = new Set(sessions.map((tab) => tab.refresh_token));
    expect(successors.size).toBe(1);
    expect(successors).not.toContain(refresh_token);
    expect(sessions[0]?.session.id).toBe(session.id);
    const [successor] = [...successors];
    expect((await refresh(successor ?? "")).status).toBe(200);
  });

  it("revokes the whole session when an old token is used again", async () => {
    const { refresh_token } = await newTenant();
    const second = await answered<Session>(200, refresh(refresh_token));
    const third = await answered<Session>(200, refresh(second.refresh_token));
    expect((await refresh(refresh_token)).status).toBe(401);
    expect((await refresh(third.refresh_token)).status).toBe(401);
  });

  it("gives the same successor, however late, until that one is first used", async () => {
    const { refresh_token, session } = await newTenant();
    const second = await answered<Session>(200, refresh(refresh_token));
    await stage`
      update sessions set rotated_at = rotated_at - interval '20 days' where id = ${session.id}`;
    const again = await answered<Session>(200, refresh(refresh_token));
    expect(again.refresh_token).toBe(second.refresh_token);
    await answered(200, refresh(second.refresh_token));
    expect((await refresh(refresh_token)).status).toBe(401);
  });

  it("refuses what this server never made, without a word to the session it names", async () => {
    const { refresh_token } = await newTenant();
    const altered = [5, 20, 40, 60, 94].map(
      (at) =>
        refresh_token.slice(0, at) + (refresh_token[at] === "A" ? "B" : "A") + refresh_token.slice(at + 1),
    );
    for (const forged of [...altered, "", "pwr_", refresh_token.slice(1), `${refresh_token}A`])
      expect((await refresh(forged)).status).toBe(401);
    expect((await refresh(refresh_token)).status).toBe(200);
  });

  it("ends with the membership", async () => {
    const { tenant } = await newTenant();
    const member = await newMember(tenant.id, "member");
    await stage`delete from memberships where user_id = ${member.user.id}`;
    expect((await refresh(member.refresh_token)).status).toBe(401);
  });
});

it("keeps no token and no password in the database", async () => {
  const { token, refresh_token } = await signedUp();
  const dump = JSON.stringify(
    await stage`
    select (select json_agg(u) from users u) as users, (select json_agg(s) from sessions s) as sessions`,
  );
  for (const secret of [token, refresh_token, PASSWORD]) expect(dump).not.toContain(secret);
});
