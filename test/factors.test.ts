import { Secret, TOTP } from "otpauth";
import { afterEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import type { Session } from "../src/identity/session.ts";
import { Passkey } from "./support/authenticator.ts";
import {
  answered,
  newMember,
  newTenant,
  PASSWORD,
  request,
  signedUp,
  stage,
  type SignedIn,
} from "./support/client.ts";
import { mailedToken, mailsTo } from "./support/mails.ts";
import { stopClock } from "./support/people.ts";

// A second factor is asked for at each sign-in, whichever way it begins, and nothing is worth anything until it is proved.

stopClock();
const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

type Options = { challenge: string; rp?: { id: string }; rpId?: string };
type Setup = { id: string; secret: string; uri: string; options: Options };
type Needed = { code: string; challenge: string; methods: string[]; options: Options };
type Codes = { recovery_codes?: string[] };

const ORIGIN = "https://api.partywall.test";
const OTHER = "another long enough one";
const post = (path: string, body: object, token?: string) => request("POST", path, { body, token });
const status = async (response: Response | Promise<Response>) => (await response).status;
const signIn = (email: string, password = PASSWORD, tenant?: string) =>
  post("/v1/sessions", { email, password, tenant });
const asked = (email: string, tenant?: string) => answered<Needed>(401, signIn(email, PASSWORD, tenant));
const proveBy = (challenge: string, proof: object) => post("/v1/sessions/factor", { challenge, ...proof });

/** The code of a step from now; each is used once, so tests go on in time. */
const codeOf = (secret: string, step = 0) =>
  new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + step * 30_000 });

async function addTotp(token: string) {
  const setup = await answered<Setup>(201, post("/v1/me/factors", { type: "totp", name: "Phone" }, token));
  const confirmed = post(`/v1/me/factors/${setup.id}/confirm`, { code: codeOf(setup.secret, -1) }, token);
  return { ...setup, ...(await answered<Codes>(200, confirmed)) };
}
async function addPasskey(token: string, passkey = new Passkey()) {
  const setup = await answered<Setup>(
    201,
    post("/v1/me/factors", { type: "passkey", name: "Laptop" }, token),
  );
  const response = passkey.made(setup.options, ORIGIN);
  const confirmed = post(`/v1/me/factors/${setup.id}/confirm`, { response }, token);
  return { ...setup, passkey, ...(await answered<Codes>(200, confirmed)) };
}

describe("an authenticator app", () => {
  it("is added by a code, with ten recovery codes, and then asked for at sign-in", async () => {
    const ada = await signedUp();
    const { secret, uri, recovery_codes: codes } = await addTotp(ada.token);
    expect(new URL(uri).searchParams.get("secret")).toBe(secret);
    expect(new Set(codes).size).toBe(10);
    const needed = await asked(ada.user.email);
    expect(needed).toMatchObject({ code: "second_factor_required", methods: ["totp", "recovery_code"] });
    expect(needed).not.toHaveProperty("access_token");
    const session = await answered<Session>(201, proveBy(needed.challenge, { code: codeOf(secret) }));
    expect(session.user.id).toBe(ada.user.id);
    const { amr } = JSON.parse(atob(session.access_token.split(".")[1] ?? "")) as { amr: string[] };
    expect(amr).toEqual(["pwd", "otp", "mfa"]);
    expect(await status(request("GET", "/v1/me", { token: session.access_token }))).toBe(200);
    expect((await mailsTo(ada.user.email, 2)).at(-1)?.body.text).toContain("authenticator app was added");
  });

  it("takes a code of the step before or after, no other, and each once", async () => {
    const ada = await signedUp();
    const { secret } = await addTotp(ada.token);
    for (const step of [-4, -2, 2, 4]) {
      const { challenge } = await asked(ada.user.email);
      expect(await status(proveBy(challenge, { code: codeOf(secret, step) }))).toBe(401);
    }
    const code = codeOf(secret, 1);
    await answered(201, proveBy((await asked(ada.user.email)).challenge, { code }));
    for (const used of [code, codeOf(secret, 0)])
      expect(await status(proveBy((await asked(ada.user.email)).challenge, { code: used }))).toBe(401);
  });

  it("of 8 sign-ins at once with one code lets in one", async () => {
    const ada = await signedUp();
    const { secret } = await addTotp(ada.token);
    const challenges = await Promise.all(Array.from({ length: 8 }, () => asked(ada.user.email)));
    const code = codeOf(secret);
    const all = await Promise.all(challenges.map(({ challenge }) => status(proveBy(challenge, { code }))));
    expect(all.filter((each) => each === 201)).toHaveLength(1);
    expect(all.filter((each) => each === 401)).toHaveLength(7);
  });

  it("is heard ten times, and then every quarter of an hour", async () => {
    const ada = await signedUp();
    const { secret } = await addTotp(ada.token);
    for (let round = 0; round < 2; round++) {
      const { challenge } = await asked(ada.user.email);
      for (let n = 0; n < 5; n++) expect(await status(proveBy(challenge, { code: "000000" }))).toBe(401);
      // Five were enough for one challenge.
      expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(401);
    }
    const { challenge } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(429);
    await stage`update control.users set factor_failed_at = now() - interval '16 minutes' where id = ${ada.user.id}`;
    await answered(201, proveBy(challenge, { code: codeOf(secret) }));
    const [row] = await stage`select factor_failures from control.users where id = ${ada.user.id}`;
    expect(row).toEqual({ factor_failures: 0 });
  });

  it("keeps its secret sealed", async () => {
    const ada = await signedUp();
    const { secret } = await addTotp(ada.token);
    const [row] = await stage`select secret from control.factors where user_id = ${ada.user.id}`;
    const bytes = Buffer.from(Secret.fromBase32(secret).bytes);
    expect(row?.["secret"]).toMatch(/^[a-z0-9]{8}\.[\w-]+$/);
    for (const text of [secret, bytes.toString("hex"), bytes.toString("base64url")])
      expect(row?.["secret"]).not.toContain(text);
  });
});

describe("a recovery code", () => {
  it("stands in for a factor, once, in whatever spelling", async () => {
    const ada = await signedUp();
    const { recovery_codes: codes = [] } = await addTotp(ada.token);
    const spelled = ` ${codes[0]?.toUpperCase().replaceAll("-", " ")} `;
    await answered(201, proveBy((await asked(ada.user.email)).challenge, { recovery_code: spelled }));
    const again = proveBy((await asked(ada.user.email)).challenge, { recovery_code: codes[0] });
    expect(await status(again)).toBe(401);
    await answered(201, proveBy((await asked(ada.user.email)).challenge, { recovery_code: codes[1] }));
    expect(await stage`select from control.recovery_codes where user_id = ${ada.user.id}`).toHaveLength(8);
  });

  it("is void once others are made", async () => {
    const ada = await signedUp();
    const { recovery_codes: old = [] } = await addTotp(ada.token);
    const { recovery_codes: codes } = await answered<{ recovery_codes: string[] }>(
      200,
      post("/v1/me/recovery-codes", {}, ada.token),
    );
    expect(await status(proveBy((await asked(ada.user.email)).challenge, { recovery_code: old[0] }))).toBe(
      401,
    );
    await answered(201, proveBy((await asked(ada.user.email)).challenge, { recovery_code: codes[0] }));
  });
});

describe("a passkey", () => {
  it("is a second factor after the password", async () => {
    const ada = await signedUp();
    const { passkey } = await addPasskey(ada.token);
    const { challenge, methods, options } = await asked(ada.user.email);
    expect(methods).toEqual(["passkey", "recovery_code"]);
    expect(options).toMatchObject({ rpId: "api.partywall.test" });
    const response = passkey.signed(options, ORIGIN);
    await answered(201, proveBy(challenge, { response }));
    expect(await status(proveBy(challenge, { response }))).toBe(401);
  });

  it("signs in alone, once a challenge, in the tenant that is said", async () => {
    const ada = await signedUp();
    const { passkey } = await addPasskey(ada.token);
    const ask = () => answered<Needed>(201, post("/v1/passkey-challenges", {}));
    const { challenge, options } = await ask();
    const response = passkey.signed(options, ORIGIN);
    const session = await answered<Session>(201, post("/v1/sessions/passkey", { challenge, response }));
    expect(session).toMatchObject({ user: { id: ada.user.id }, tenant: { id: ada.tenant.id } });
    expect(await status(post("/v1/sessions/passkey", { challenge, response }))).toBe(401);
    const other = await ask();
    const elsewhere = {
      challenge: other.challenge,
      response: passkey.signed(other.options, ORIGIN),
      tenant: "nowhere",
    };
    expect(await status(post("/v1/sessions/passkey", elsewhere))).toBe(401);
  });

  it.each([
    ["another origin", { origin: "https://evil.test" }],
    ["a sibling's origin", { origin: "https://evil.partywall.test" }],
    ["another site's name", { rpId: "evil.test" }],
    ["another challenge", { challenge: "AAAA" }],
    ["a counter that went back", { counter: 0 }],
    ["nobody present", { isPresent: false }],
    ["the wrong ceremony", { type: "webauthn.create" }],
    ["another key's signature", { signedBy: new Passkey() }],
  ])("is refused with %s", async (_, tampering) => {
    const ada = await signedUp();
    const { passkey } = await addPasskey(ada.token);
    const first = await asked(ada.user.email);
    await answered(201, proveBy(first.challenge, { response: passkey.signed(first.options, ORIGIN) }));
    const { challenge, options } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { response: passkey.signed(options, ORIGIN, tampering) }))).toBe(
      401,
    );
    const alone = await answered<Needed>(201, post("/v1/passkey-challenges", {}));
    const response = passkey.signed(alone.options, ORIGIN, tampering);
    expect(await status(post("/v1/sessions/passkey", { challenge: alone.challenge, response }))).toBe(401);
  });

  it("that has not verified its holder is a second factor, and not enough alone", async () => {
    const ada = await signedUp();
    const { passkey } = await addPasskey(ada.token);
    const alone = await answered<Needed>(201, post("/v1/passkey-challenges", {}));
    const response = passkey.signed(alone.options, ORIGIN, { isVerified: false });
    expect(await status(post("/v1/sessions/passkey", { challenge: alone.challenge, response }))).toBe(401);
    const { challenge, options } = await asked(ada.user.email);
    await answered(
      201,
      proveBy(challenge, { response: passkey.signed(options, ORIGIN, { isVerified: false }) }),
    );
  });

  it("of somebody else is no factor of theirs", async () => {
    const [ada, bob] = [await signedUp(), await signedUp()];
    await addPasskey(ada.token);
    const { passkey } = await addPasskey(bob.token);
    const { challenge, options } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { response: passkey.signed(options, ORIGIN) }))).toBe(401);
  });

  it.each([
    ["another origin", { origin: "https://evil.test" }],
    ["another site's name", { rpId: "evil.test" }],
    ["another challenge", { challenge: "AAAA" }],
    ["the wrong ceremony", { type: "webauthn.get" }],
  ])("is not made with %s", async (_, tampering) => {
    const ada = await signedUp();
    const setup = await answered<Setup>(
      201,
      post("/v1/me/factors", { type: "passkey", name: "x" }, ada.token),
    );
    const response = new Passkey().made(setup.options, ORIGIN, tampering);
    const confirmed = post(`/v1/me/factors/${setup.id}/confirm`, { response }, ada.token);
    expect(await answered(403, confirmed)).toMatchObject({ code: "wrong_factor" });
  });

  it("signs what it was asked for, also when the keys of tokens are rotated meanwhile", async () => {
    const [ada, passkey] = [await signedUp(), new Passkey()];
    const keys = [...settings.OPAQUE_TOKEN_KEYS];
    const rotate = () =>
      settings.OPAQUE_TOKEN_KEYS.unshift({ kid: "newer", key: crypto.getRandomValues(new Uint8Array(32)) });
    try {
      const adding = post("/v1/me/factors", { type: "passkey", name: "x" }, ada.token);
      const setup = await answered<Setup>(201, adding);
      rotate();
      const made = passkey.made(setup.options, ORIGIN);
      await answered(200, post(`/v1/me/factors/${setup.id}/confirm`, { response: made }, ada.token));
      const { challenge, options } = await asked(ada.user.email);
      rotate();
      expect(await status(proveBy(challenge, { response: passkey.signed(options, ORIGIN) }))).toBe(201);
    } finally {
      settings.OPAQUE_TOKEN_KEYS.splice(0, Infinity, ...keys);
    }
  });

  it("is made and used at an allowed front end's origin, for PASSKEY_DOMAIN", async () => {
    settings.PASSKEY_DOMAIN = "partywall.test";
    settings.ALLOWED_ORIGINS = ["https://app.partywall.test"];
    const ada = await signedUp();
    const setup = await answered<Setup>(
      201,
      post("/v1/me/factors", { type: "passkey", name: "x" }, ada.token),
    );
    expect(setup.options.rp?.id).toBe("partywall.test");
    const passkey = new Passkey();
    const response = passkey.made(setup.options, "https://app.partywall.test");
    await answered(200, post(`/v1/me/factors/${setup.id}/confirm`, { response }, ada.token));
    const { challenge, options } = await asked(ada.user.email);
    await answered(
      201,
      proveBy(challenge, { response: passkey.signed(options, "https://app.partywall.test") }),
    );
  });
});

describe("factors", () => {
  const list = (token: string) =>
    answered<{ data: { id: string; type: string; name: string; last_used_at: string | null }[] }>(
      200,
      request("GET", "/v1/me/factors", { token }),
    );

  it("are listed, renamed and removed; with the last one the recovery codes go, and no factor is asked for", async () => {
    const ada = await signedUp();
    const totp = await addTotp(ada.token);
    const { id, recovery_codes: none } = await addPasskey(ada.token);
    expect(none).toBeUndefined();
    expect((await list(ada.token)).data.map(({ type }) => type)).toEqual(["passkey", "totp"]);
    const renamed = request("PATCH", `/v1/me/factors/${id}`, { token: ada.token, body: { name: "Desk" } });
    expect(await answered(200, renamed)).toMatchObject({ id, name: "Desk" });
    for (const factor of [id, totp.id])
      await answered(204, request("DELETE", `/v1/me/factors/${factor}`, { token: ada.token }));
    expect(await status(request("DELETE", `/v1/me/factors/${id}`, { token: ada.token }))).toBe(404);
    expect(await stage`select from control.recovery_codes where user_id = ${ada.user.id}`).toEqual([]);
    expect(await status(signIn(ada.user.email))).toBe(201);
  });

  it("of somebody else are as if they were not there", async () => {
    const [ada, bob] = [await signedUp(), await signedUp()];
    const { id, secret } = await addTotp(ada.token);
    for (const response of [
      request("PATCH", `/v1/me/factors/${id}`, { token: bob.token, body: { name: "mine" } }),
      request("DELETE", `/v1/me/factors/${id}`, { token: bob.token }),
      post(`/v1/me/factors/${id}/confirm`, { code: codeOf(secret) }, bob.token),
    ])
      expect(await status(response)).toBe(404);
    expect((await list(bob.token)).data).toEqual([]);
  });

  it("that nobody confirmed count for nothing, and a later one takes the place of an earlier", async () => {
    const ada = await signedUp();
    const begin = () => answered<Setup>(201, post("/v1/me/factors", { type: "totp", name: "x" }, ada.token));
    const [first, second] = [await begin(), await begin()];
    expect(await status(signIn(ada.user.email))).toBe(201);
    const confirm = ({ id, secret }: Setup) =>
      status(post(`/v1/me/factors/${id}/confirm`, { code: codeOf(secret) }, ada.token));
    expect([await confirm(first), await confirm(second), await confirm(second)]).toEqual([404, 200, 404]);
  });

  it("are 20 at most", async () => {
    const ada = await signedUp();
    await stage`insert into control.factors (id, user_id, type, name, credential_id, public_key, counter, confirmed_at)
      select gen_random_uuid(), ${ada.user.id}, 'passkey', 'x', gen_random_uuid(), '', 0, now() from generate_series(1, 20)`;
    expect(await answered(409, post("/v1/me/factors", { type: "totp", name: "x" }, ada.token))).toMatchObject(
      {
        code: "too_many_factors",
      },
    );
  });
});

describe("no way in passes the second factor by", () => {
  it("a reset of the password", async () => {
    const ada = await signedUp();
    await answered(
      204,
      post("/v1/email-verifications/confirm", { token: await mailedToken(ada.user.email, "pwv") }),
    );
    const { secret } = await addTotp(ada.token);
    // One that waits for its factor ends with the password that began it.
    const waiting = await asked(ada.user.email);
    await answered(202, post("/v1/password-resets", { email: ada.user.email }));
    const token = await mailedToken(ada.user.email, "pwp", 3);
    await answered(204, post("/v1/password-resets/confirm", { token, password: OTHER }));
    expect(await status(proveBy(waiting.challenge, { code: codeOf(secret) }))).toBe(401);
    const needed = await answered<Needed>(401, signIn(ada.user.email, OTHER));
    await answered(201, proveBy(needed.challenge, { code: codeOf(secret) }));
  });

  it("an invitation to another tenant, with a password and without", async () => {
    const [ada, host] = [await signedUp(), await newTenant()];
    await answered(
      204,
      post("/v1/email-verifications/confirm", { token: await mailedToken(ada.user.email, "pwv") }),
    );
    const { secret } = await addTotp(ada.token);
    await answered(201, post("/v1/invitations", { email: ada.user.email, role: "viewer" }, host.token));
    const token = await mailedToken(ada.user.email, "pwi", 3);
    const needed = await answered<Needed>(401, post("/v1/invitations/accept", { token }));
    expect(needed).toMatchObject({ code: "second_factor_required", methods: ["totp", "recovery_code"] });
    const session = await answered<Session>(201, proveBy(needed.challenge, { code: codeOf(secret) }));
    expect(session.tenant.id).toBe(host.tenant.id);
    expect(await status(post("/v1/invitations/accept", { token }))).toBe(410);
  });

  it("a sign-up that adds a tenant", async () => {
    const ada = await signedUp();
    const { secret } = await addTotp(ada.token);
    const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
    const body = { email: ada.user.email, password: PASSWORD, tenant: { name: slug, slug } };
    const needed = await answered<Needed>(401, post("/v1/signup", body));
    const session = await answered<Session>(201, proveBy(needed.challenge, { code: codeOf(secret) }));
    expect(session.tenant.slug).toBe(slug);
    // Sent again, as after a lost answer, it asks again.
    expect(await answered(401, post("/v1/signup", body))).toMatchObject({ code: "second_factor_required" });
  });

  it("a challenge: it opens nothing else", async () => {
    const ada = await signedUp();
    await addTotp(ada.token);
    const { challenge } = await asked(ada.user.email);
    expect(await status(request("GET", "/v1/me", { token: challenge }))).toBe(401);
    expect(await status(post("/v1/sessions/refresh", { refresh_token: challenge }))).toBe(401);
    const enrolment = post("/v1/sessions/factor/enrolment", { challenge, type: "totp", name: "mine" });
    expect(await status(enrolment)).toBe(401);
    for (const path of ["/v1/email-verifications/confirm", "/v1/email-changes/confirm"])
      expect(await status(post(path, { token: challenge }))).toBe(410);
  });
});

describe("a tenant that requires a second factor", () => {
  const require = ({ token }: SignedIn, is = true) =>
    answered(200, request("PATCH", "/v1/tenant", { token, body: { require_second_factor: is } }));

  it("has its members add one at their next sign-in, and not before", async () => {
    const ada = await newTenant();
    const bob = await newMember(ada.tenant.id, "member", PASSWORD);
    await require(ada);
    expect(await status(request("GET", "/v1/projects", { token: bob.token }))).toBe(200);
    const needed = await asked(bob.user.email);
    expect(needed).toMatchObject({ code: "second_factor_enrolment_required" });
    const { challenge } = needed;
    expect(await status(proveBy(challenge, { code: "000000" }))).toBe(401);
    const setup = await answered<Setup>(
      201,
      post("/v1/sessions/factor/enrolment", { challenge, type: "totp", name: "Phone" }),
    );
    const session = await answered<Session & { recovery_codes: string[] }>(
      201,
      proveBy(challenge, { code: codeOf(setup.secret) }),
    );
    expect(session.recovery_codes).toHaveLength(10);
    expect(session.user.id).toBe(bob.user.id);
    expect(await asked(bob.user.email)).toMatchObject({ code: "second_factor_required" });
    await require(ada, false);
    expect(await asked(bob.user.email)).toMatchObject({ code: "second_factor_required" });
  });

  it("is not entered by changing tenants in a session without one", async () => {
    const ada = await signedUp();
    const host = await newTenant();
    await answered(
      204,
      post("/v1/email-verifications/confirm", { token: await mailedToken(ada.user.email, "pwv") }),
    );
    await answered(201, post("/v1/invitations", { email: ada.user.email, role: "viewer" }, host.token));
    await answered(
      201,
      post("/v1/invitations/accept", { token: await mailedToken(ada.user.email, "pwi", 2) }),
    );
    const session = await answered<Session>(201, signIn(ada.user.email, PASSWORD, ada.tenant.slug));
    await require(host);
    const change = (token: string) => post("/v1/sessions/switch", { tenant: host.tenant.slug }, token);
    expect(await answered(401, change(session.access_token))).toMatchObject({
      code: "second_factor_enrolment_required",
    });
    const { secret } = await addTotp(session.access_token);
    const needed = await asked(ada.user.email, ada.tenant.slug);
    const proved = await answered<Session>(201, proveBy(needed.challenge, { code: codeOf(secret) }));
    await answered(201, change(proved.access_token));
  });

  it("keeps its members' last factor", async () => {
    const ada = await newTenant();
    await require(ada);
    const { id } = await addTotp(ada.token);
    expect(
      await answered(409, request("DELETE", `/v1/me/factors/${id}`, { token: ada.token })),
    ).toMatchObject({
      code: "factor_required",
    });
  });
});

describe("an owner resets a member's factors", () => {
  const resetOf = (member: SignedIn, by: SignedIn) =>
    request("DELETE", `/v1/members/${member.user.id}/factors`, { token: by.token });

  it("who then signs in without; it is in the audit trail, and in a mail", async () => {
    const ada = await newTenant();
    const bob = await newMember(ada.tenant.id, "member", PASSWORD);
    const admin = await newMember(ada.tenant.id, "admin");
    await addTotp(bob.token);
    for (const by of [admin, bob]) expect(await status(resetOf(bob, by))).toBe(403);
    expect(await status(resetOf(await newTenant(), ada))).toBe(404);
    await answered(204, resetOf(bob, ada));
    expect(await status(signIn(bob.user.email))).toBe(201);
    const events = await answered<{ data: object[] }>(
      200,
      request("GET", "/v1/audit-events", { token: ada.token }),
    );
    expect(events.data).toContainEqual(
      expect.objectContaining({
        action: "delete",
        resource: "factors",
        resource_id: bob.user.id,
        actor: { id: ada.user.id, type: "user", name: null },
      }),
    );
    expect((await mailsTo(bob.user.email, 2)).at(-1)?.body.text).toContain("All second factors were removed");
  });

  it("but not of somebody who is in another tenant too", async () => {
    const [ada, bob] = [await newTenant(), await signedUp()];
    await answered(
      204,
      post("/v1/email-verifications/confirm", { token: await mailedToken(bob.user.email, "pwv") }),
    );
    await answered(201, post("/v1/invitations", { email: bob.user.email, role: "viewer" }, ada.token));
    await answered(
      201,
      post("/v1/invitations/accept", { token: await mailedToken(bob.user.email, "pwi", 2) }),
    );
    await addTotp(
      (await answered<Session>(201, signIn(bob.user.email, PASSWORD, bob.tenant.slug))).access_token,
    );
    expect(await answered(409, resetOf(bob, ada))).toMatchObject({ code: "member_elsewhere" });
    expect(await asked(bob.user.email, ada.tenant.slug)).toMatchObject({ code: "second_factor_required" });
  });
});

describe("what a stolen token alone does not do", () => {
  /** The same session, whose proof is of a while ago. */
  async function later(of: SignedIn): Promise<string> {
    await stage`update control.sessions set auth_at = now() - interval '11 minutes' where id = ${of.session.id}`;
    const { refresh_token } = of;
    const session = await answered<Session>(200, post("/v1/sessions/refresh", { refresh_token }));
    of.refresh_token = session.refresh_token;
    return session.access_token;
  }
  const stepUp = (token: string, proof: object) => post("/v1/sessions/current/step-up", proof, token);

  it("is allowed again for ten minutes by the password, and the refresh tokens before and after are good", async () => {
    const ada = await signedUp();
    const token = await later(ada);
    const make = (by: string) => post("/v1/api-keys", { name: "CI", scopes: ["members:read"] }, by);
    expect(await answered(403, make(token))).toMatchObject({ code: "step_up_required" });
    expect(await answered(403, stepUp(token, { password: OTHER }))).toMatchObject({ code: "wrong_password" });
    const session = await answered<Session>(200, stepUp(token, { password: PASSWORD }));
    expect(session.session.id).toBe(ada.session.id);
    await answered(201, make(session.access_token));
    // The new one, and then its successor.
    const next = await answered<Session>(
      200,
      post("/v1/sessions/refresh", { refresh_token: session.refresh_token }),
    );
    await answered(200, post("/v1/sessions/refresh", { refresh_token: next.refresh_token }));
  });

  it("is not bought with the password by whoever has a second factor", async () => {
    const ada = await signedUp();
    const { secret } = await addTotp(ada.token);
    const { passkey } = await addPasskey(ada.token);
    const token = await later(ada);
    // Right or wrong, the password is not tried: what is wanted is the factor.
    for (const password of [PASSWORD, OTHER])
      expect(await answered(403, stepUp(token, { password }))).toMatchObject({ code: "wrong_factor" });
    await answered(200, stepUp(token, { code: codeOf(secret) }));
    expect(await status(stepUp(token, { code: codeOf(secret) }))).toBe(403);
    const { challenge, options } = await answered<Needed>(201, post("/v1/passkey-challenges", {}));
    const response = passkey.signed(options, ORIGIN);
    await answered(200, stepUp(token, { challenge, response }));
    expect(await status(stepUp(token, { challenge, response }))).toBe(403);
  });

  it.each<[string, (of: SignedIn, token: string) => Promise<Response>]>([
    ["make an API key", (_, token) => post("/v1/api-keys", { name: "CI", scopes: ["members:read"] }, token)],
    ["close the tenant", (_, token) => request("DELETE", "/v1/tenant", { token })],
    [
      "no longer require a second factor",
      (_, token) => request("PATCH", "/v1/tenant", { token, body: { require_second_factor: false } }),
    ],
    [
      "trust an issuer",
      (_, token) =>
        post(
          "/v1/issuers",
          { issuer: "https://idp.test", audience: "x", email_domains: ["x.test"], default_role: "viewer" },
          token,
        ),
    ],
    [
      "invite an owner",
      (_, token) => post("/v1/invitations", { email: "new@owner.test", role: "owner" }, token),
    ],
    [
      "make itself less than an owner",
      ({ user }, token) => request("PATCH", `/v1/members/${user.id}`, { token, body: { role: "viewer" } }),
    ],
    ["remove an owner", ({ user }, token) => request("DELETE", `/v1/members/${user.id}`, { token })],
    ["add a factor", (_, token) => post("/v1/me/factors", { type: "totp", name: "mine" }, token)],
    ["remove a factor", (_, token) => request("DELETE", `/v1/me/factors/${crypto.randomUUID()}`, { token })],
    ["make recovery codes", (_, token) => post("/v1/me/recovery-codes", {}, token)],
    ["end the account", (_, token) => request("DELETE", "/v1/me", { token })],
    [
      "reset a member's factors",
      ({ user }, token) => request("DELETE", `/v1/members/${user.id}/factors`, { token }),
    ],
  ])("%s", async (_, act) => {
    const ada = await newTenant();
    await newMember(ada.tenant.id, "owner");
    expect(await answered(403, act(ada, await later(ada)))).toMatchObject({ code: "step_up_required" });
  });
});
