import crypto from "node:crypto";
import { Secret, TOTP } from "otpauth";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { makeLink, type LinkKind } from "../src/identity/mailed-link.ts";
import type { Session } from "../src/identity/session.ts";
import { Passkey } from "./support/authenticator.ts";
import { countCalls } from "./support/calls.ts";
import {
  anotherSession,
  answered,
  newMember,
  newTenant,
  operate,
  PASSWORD,
  request,
  signedUp,
  stage,
  storedKey,
  type RequestOptions,
  type SignedIn,
} from "./support/client.ts";
import { exchanged, newIssuer, trust } from "./support/issuer.ts";
import { mailedToken, mailsTo } from "./support/mails.ts";

// What somebody tries who has a link, a token, a password or a page that is not meant for this.

const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

type Needed = { challenge: string; options: { challenge: string; rpId?: string } };
const ORIGIN = "https://api.partywall.test";
const OTHER = "another long enough one";
const someone = () => `${crypto.randomUUID()}@hostile.test`;
const post = (path: string, body: unknown, more: RequestOptions = {}) =>
  request("POST", path, { body, ...more });
const status = async (response: Response | Promise<Response>) => (await response).status;
const codeOf = (secret: string, step = 0) =>
  new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + step * 30_000 });

async function verified(): Promise<SignedIn> {
  const ada = await signedUp();
  await answered(
    204,
    post("/v1/email-verifications/confirm", { token: await mailedToken(ada.user.email, "pwv") }),
  );
  return ada;
}
async function addTotp({ token }: SignedIn) {
  const setup = await answered<{ id: string; secret: string }>(
    201,
    post("/v1/me/factors", { type: "totp", name: "Phone" }, { token }),
  );
  const code = codeOf(setup.secret, -1);
  const confirmed = post(`/v1/me/factors/${setup.id}/confirm`, { code }, { token });
  return { ...setup, ...(await answered<{ recovery_codes: string[] }>(200, confirmed)) };
}
async function addPasskey({ token }: SignedIn, passkey = new Passkey()) {
  const body = { type: "passkey", name: "Key" };
  const setup = await answered<{ id: string } & Needed>(201, post("/v1/me/factors", body, { token }));
  const response = passkey.made(setup.options, ORIGIN);
  await answered(200, post(`/v1/me/factors/${setup.id}/confirm`, { response }, { token }));
  return passkey;
}
const asked = (email: string) => answered<Needed>(401, post("/v1/sessions", { email, password: PASSWORD }));
const proveBy = (challenge: string, proof: object) => post("/v1/sessions/factor", { challenge, ...proof });
/** All that is stored of an account, to see that nothing of it has changed. */
const stored = ({ user }: Session) =>
  stage`select u.email, u.password_hash, u.email_verified_at, (select count(*) from control.factors f where f.user_id = u.id) as factors,
    (select count(*) from control.sessions s where s.user_id = u.id and s.revoked_at is null) as sessions
    from control.users u where u.id = ${user.id}`;

describe("a token of another purpose", () => {
  let ada: SignedIn;
  const tokens: Record<string, string> = {};
  beforeAll(async () => {
    ada = await verified();
    const host = await newTenant();
    const { email } = ada.user;
    await answered(202, post("/v1/password-resets", { email }));
    tokens["pwp"] = await mailedToken(email, "pwp", 2);
    const moved = someone();
    await answered(202, post("/v1/me/email", { email: moved, password: PASSWORD }, { token: ada.token }));
    tokens["pwe"] = await mailedToken(moved, "pwe");
    await answered(201, post("/v1/invitations", { email, role: "viewer" }, { token: host.token }));
    tokens["pwi"] = await mailedToken(email, "pwi", 3);
    const bob = await signedUp();
    tokens["pwv"] = await mailedToken(bob.user.email, "pwv");
    await addTotp(bob);
    tokens["pwc"] = (await asked(bob.user.email)).challenge;
    tokens["pwr"] = ada.refresh_token;
    tokens["pws"] = makeLink("signup", email).token;
    tokens["pwu"] = makeLink("email_undo", email).token;
  });

  const ROUTES: [path: string, own: string[], body: (token: string) => object][] = [
    ["/v1/email-verifications/confirm", ["pwv", "pws"], (token) => ({ token })],
    ["/v1/password-resets/confirm", ["pwp"], (token) => ({ token, password: OTHER })],
    ["/v1/email-changes/confirm", ["pwe"], (token) => ({ token })],
    ["/v1/email-changes/undo", ["pwu"], (token) => ({ token })],
    ["/v1/invitations/accept", ["pwi"], (token) => ({ token, password: OTHER })],
    ["/v1/sessions/refresh", ["pwr"], (token) => ({ refresh_token: token })],
    ["/v1/sessions/factor", ["pwc"], (token) => ({ challenge: token, code: "123456" })],
    ["/v1/sessions/factor/enrolment", ["pwc"], (token) => ({ challenge: token, type: "totp", name: "x" })],
  ];
  const KINDS = ["pwv", "pws", "pwp", "pwe", "pwu", "pwi", "pwr", "pwc"];
  const pairs = ROUTES.flatMap(([path, own, body]) =>
    KINDS.filter((kind) => !own.includes(kind)).map((kind) => [kind, path, body] as const),
  );

  it.each(pairs)("%s is worth nothing at %s", async (kind, path, body) => {
    const before = await stored(ada);
    const token = tokens[kind] ?? "";
    expect(token).toMatch(new RegExp(`^${kind}_`));
    expect([401, 410, 422]).toContain(await status(post(path, body(token))));
    expect(await stored(ada)).toEqual(before);
  });

  it.each<[string, (token: string) => string]>([
    ["cut short", (token) => token.slice(0, -1)],
    ["with another last character", (token) => token.slice(0, -1) + (token.endsWith("A") ? "B" : "A")],
    ["padded", (token) => `${token}=`],
    ["in upper case", (token) => token.toUpperCase()],
    ["with a space", (token) => `${token} `],
    ["empty", () => ""],
    ["of 10,000 characters", (token) => token + "A".repeat(10_000)],
    ["under another prefix", (token) => token.replace("pwp_", "pwv_")],
    ["made up", () => `pwp_${"A".repeat(100)}`],
    ["that this server sealed and never mailed", () => makeLink("reset", ada.user.email).token],
  ])("a link %s resets nothing", async (_, damaged) => {
    const before = await stored(ada);
    const body = { token: damaged(tokens["pwp"] ?? ""), password: OTHER };
    expect([410, 422]).toContain(await status(post("/v1/password-resets/confirm", body)));
    expect(await stored(ada)).toEqual(before);
  });
});

describe("links in mails", () => {
  const HEADERS: Record<string, string>[] = [
    { "x-forwarded-host": "evil.test" },
    { forwarded: "host=evil.test;proto=http" },
    { "x-original-host": "evil.test", "x-forwarded-proto": "http" },
    { origin: "https://evil.test", referer: "https://evil.test/" },
  ];
  it.each(HEADERS)("lead to this deployment, whatever the request says: %o", async (headers) => {
    const [email, slug] = [someone(), `t-${crypto.randomUUID().slice(0, 13)}`];
    const body = { email, password: PASSWORD, tenant: { name: slug, slug } };
    await answered(201, post("/v1/signup", body, { headers }));
    await answered(202, post("/v1/password-resets", { email }, { headers }));
    for (const { body: mail } of await mailsTo(email, 2)) {
      expect(JSON.stringify(mail)).not.toContain("evil");
      expect(mail.text).toContain(`${settings.ISSUER}/account#`);
    }
  });

  const KINDS: [LinkKind, string][] = [
    ["verification", "/v1/email-verifications/confirm"],
    ["reset", "/v1/password-resets/confirm"],
    ["email_change", "/v1/email-changes/confirm"],
    ["email_undo", "/v1/email-changes/undo"],
  ];
  it.each(KINDS)("of the kind %s are used by no program that opens or probes them", async (_, path) => {
    for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
      expect([204, 405]).toContain(await status(request(method, `${path}?token=x`)));
  });

  it("used 6 times at once are used once, of each kind", async () => {
    const ada = await signedUp();
    const { email } = ada.user;
    const race = async (path: string, body: object) => {
      const all = await Promise.all(Array.from({ length: 6 }, () => status(post(path, body))));
      expect(all.filter((each) => each === 204)).toHaveLength(1);
      expect(all.filter((each) => each === 410)).toHaveLength(5);
    };
    await race("/v1/email-verifications/confirm", { token: await mailedToken(email, "pwv") });
    const moved = someone();
    await answered(202, post("/v1/me/email", { email: moved, password: PASSWORD }, { token: ada.token }));
    await race("/v1/email-changes/confirm", { token: await mailedToken(moved, "pwe") });
    await race("/v1/email-changes/undo", { token: await mailedToken(email, "pwu", 2) });
  });
});

describe("what began before the password changed", () => {
  it.each<[string, (ada: SignedIn) => Promise<void>]>([
    [
      "a change",
      async (ada) => {
        const body = { current_password: PASSWORD, password: OTHER };
        await answered(204, post("/v1/me/password", body, { token: ada.token }));
      },
    ],
    [
      "a reset",
      async (ada) => {
        await answered(202, post("/v1/password-resets", { email: ada.user.email }));
        const mails = await mailsTo(ada.user.email, 2);
        const token = /pwp_[\w-]+/.exec(mails.map(({ body }) => body.text).join("\n"))?.[0];
        await answered(204, post("/v1/password-resets/confirm", { token, password: OTHER }));
      },
    ],
  ])("ends with %s: an enrolment, a sign-in that waits, a pending address", async (_, act) => {
    const ada = await verified();
    const moved = someone();
    const { token } = ada;
    await answered(202, post("/v1/me/email", { email: moved, password: PASSWORD }, { token }));
    const pending = await answered<{ id: string; secret: string }>(
      201,
      post("/v1/me/factors", { type: "totp", name: "theirs" }, { token }),
    );
    const other = await anotherSession(ada).catch(() => undefined);
    await act(ada);
    const confirm = post(`/v1/me/factors/${pending.id}/confirm`, { code: codeOf(pending.secret) }, { token });
    expect([401, 404]).toContain(await status(confirm));
    const change = post("/v1/email-changes/confirm", { token: await mailedToken(moved, "pwe") });
    expect(await status(change)).toBe(410);
    if (other) expect(await status(request("GET", "/v1/me", { token: other.token }))).toBe(401);
  });
});

describe("a challenge", () => {
  it("is not answered by another person's proof", async () => {
    const [ada, bob] = [await signedUp(), await signedUp()];
    await addTotp(ada);
    const theirs = await addTotp(bob);
    const { challenge } = await asked(ada.user.email);
    for (const proof of [{ code: codeOf(theirs.secret) }, { recovery_code: theirs.recovery_codes[0] }])
      expect(await status(proveBy(challenge, proof))).toBe(401);
  });

  it.each<[string, number, (of: { owner: SignedIn; bob: SignedIn }) => Promise<unknown>]>([
    [
      "the member was removed",
      401,
      ({ owner, bob }) =>
        answered(204, request("DELETE", `/v1/members/${bob.user.id}`, { token: owner.token })),
    ],
    ["the tenant was suspended", 403, ({ owner }) => operate(owner.tenant.id, { status: "suspended" })],
    [
      "ten minutes",
      401,
      ({ bob }) => stage`update control.challenges set expires_at = now() where user_id = ${bob.user.id}`,
    ],
  ])("is worth nothing after %s", async (_, refused, act) => {
    const owner = await newTenant();
    const bob = await newMember(owner.tenant.id, "member", PASSWORD);
    const { recovery_codes: codes } = await addTotp(bob);
    const { challenge } = await asked(bob.user.email);
    await act({ owner, bob });
    expect(await status(proveBy(challenge, { recovery_code: codes[0] }))).toBe(refused);
  });

  it("of a sign-in is no passkey's, and a passkey's is no sign-in's", async () => {
    const ada = await signedUp();
    const passkey = await addPasskey(ada);
    const waiting = await asked(ada.user.email);
    const response = passkey.signed(waiting.options, ORIGIN);
    expect(await status(post("/v1/sessions/passkey", { challenge: waiting.challenge, response }))).toBe(401);
    const alone = await answered<Needed>(201, post("/v1/passkey-challenges", {}));
    const proof = { response: passkey.signed(alone.options, ORIGIN) };
    expect(await status(proveBy(alone.challenge, proof))).toBe(401);
  });

  it.each<[string, unknown]>([
    ["a code with a space", { code: "123 456" }],
    ["seven digits", { code: "1234567" }],
    ["digits of another script", { code: "１２３４５６" }],
    ["a number", { code: 123456 }],
    ["an array", { code: ["123456"] }],
    ["null", { code: null }],
    ["a member more", { code: "123456", amr: ["mfa"] }],
    ["an oversized passkey", { response: { id: "A".repeat(5000) } }],
  ])("takes no proof that is %s", async (_, proof) => {
    const ada = await signedUp();
    await addTotp(ada);
    const { challenge } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, proof as object))).toBe(422);
  });

  it("is guessed at ten times, though over parallel challenges and by step-up", async () => {
    const ada = await signedUp();
    const { secret } = await addTotp(ada);
    const challenges = await Promise.all(Array.from({ length: 3 }, () => asked(ada.user.email)));
    for (const { challenge } of challenges)
      for (let n = 0; n < 3; n++) expect(await status(proveBy(challenge, { code: "000000" }))).toBe(401);
    const stepUp = (code: string) =>
      status(post("/v1/sessions/current/step-up", { code }, { token: ada.token }));
    expect(await stepUp("000000")).toBe(403);
    expect(await stepUp(codeOf(secret))).toBe(429);
    const { challenge } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(429);
  });

  it("a recovery code used 6 times at once lets in one", async () => {
    const ada = await signedUp();
    const { recovery_codes: codes } = await addTotp(ada);
    const challenges = await Promise.all(Array.from({ length: 6 }, () => asked(ada.user.email)));
    const all = await Promise.all(
      challenges.map(({ challenge }) => status(proveBy(challenge, { recovery_code: codes[0] }))),
    );
    expect(all.filter((each) => each === 201)).toHaveLength(1);
  });
});

describe("a passkey", () => {
  it("that is another account's already is not added", async () => {
    const [ada, bob] = [await signedUp(), await signedUp()];
    const passkey = await addPasskey(ada);
    const setup = await answered<{ id: string } & Needed>(
      201,
      post("/v1/me/factors", { type: "passkey", name: "x" }, { token: bob.token }),
    );
    const response = passkey.made(setup.options, ORIGIN);
    const confirmed = post(`/v1/me/factors/${setup.id}/confirm`, { response }, { token: bob.token });
    expect(await answered(403, confirmed)).toMatchObject({ code: "wrong_factor" });
  });

  it("that was made is no proof that it was used", async () => {
    const ada = await signedUp();
    const passkey = await addPasskey(ada);
    const { challenge, options } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { response: passkey.made(options, ORIGIN) }))).toBe(401);
  });

  it.each([
    ["another origin", { origin: "https://evil.test" }],
    ["another challenge", { challenge: "AAAA" }],
    ["another site's name", { rpId: "evil.test" }],
  ])("proves nothing again with %s", async (_, tampering) => {
    const ada = await signedUp();
    const passkey = await addPasskey(ada);
    const { challenge, options } = await answered<Needed>(201, post("/v1/passkey-challenges", {}));
    const body = { challenge, response: passkey.signed(options, ORIGIN, tampering) };
    expect(await status(post("/v1/sessions/current/step-up", body, { token: ada.token }))).toBe(403);
  });
});

describe("an account is its person's", () => {
  const ACTS: [string, string, string, unknown][] = [
    ["change its name", "PATCH", "/v1/me", { name: "x" }],
    ["end it", "DELETE", "/v1/me", undefined],
    ["read what is stored", "GET", "/v1/me/data", undefined],
    ["set its password", "POST", "/v1/me/password", { current_password: PASSWORD, password: OTHER }],
    ["change its address", "POST", "/v1/me/email", { email: "x@hostile.test", password: PASSWORD }],
    ["list its factors", "GET", "/v1/me/factors", undefined],
    ["add a factor", "POST", "/v1/me/factors", { type: "totp", name: "x" }],
    ["make recovery codes", "POST", "/v1/me/recovery-codes", undefined],
    ["prove again who calls", "POST", "/v1/sessions/current/step-up", { password: PASSWORD }],
  ];
  let owner: SignedIn;
  let vouched: string;
  let key: string;
  let ended: SignedIn;
  beforeAll(async () => {
    owner = await newTenant();
    const member = await newMember(owner.tenant.id, "admin", PASSWORD);
    const idp = newIssuer();
    await trust(owner, idp, { email_domains: ["members.test"] });
    vouched = await exchanged(await idp.sign({ email: member.user.email }));
    key = (await storedKey(owner)).text;
    ended = await newMember(owner.tenant.id, "member", PASSWORD);
    await answered(204, request("DELETE", "/v1/sessions/current", { token: ended.token }));
  });

  it.each(ACTS)(
    "an API key does not %s, an issuer's session neither, nor one that has ended",
    async (_, method, path, body) => {
      const as = (token: string) => request(method, path, { token, body });
      expect(await status(as(key))).toBe(403);
      expect(await status(as(ended.token))).toBe(401);
      // A list shows what is of that session's own account: nothing.
      const answer = await as(vouched);
      if (method === "GET" && path.endsWith("factors"))
        expect(await answer.json()).toMatchObject({ data: [] });
      else expect(answer.status).toBe(403);
    },
  );

  it.each([
    ["POST", "/v1/signup", { email: "a@b.test", password: PASSWORD, tenant: { name: "x", slug: "xyz" } }],
    ["POST", "/v1/sessions", { email: "a@b.test", password: PASSWORD }],
    ["POST", "/v1/password-resets", { email: "a@b.test" }],
    ["PATCH", "/v1/me", { name: "x" }],
    ["POST", "/v1/me/factors", { type: "totp", name: "x" }],
    ["POST", "/v1/me/password", { current_password: PASSWORD, password: OTHER }],
  ])("%s %s takes no member more than it says", async (method, path, body) => {
    for (const more of [
      { email_verified: true },
      { amr: ["mfa"] },
      { auth_time: 9_999_999_999 },
      { user_id: owner.user.id },
      { role: "owner" },
      { tenant_id: owner.tenant.id },
    ])
      expect(await status(request(method, path, { token: owner.token, body: { ...body, ...more } }))).toBe(
        422,
      );
    for (const whole of [[], null, "x", 1])
      expect([400, 422]).toContain(await status(request(method, path, { token: owner.token, body: whole })));
  });
});

describe("a refresh token in a cookie", () => {
  const PAGE = {
    "x-refresh-token": "cookie",
    "sec-fetch-site": "same-origin",
    origin: "https://api.partywall.test",
  };
  const signIn = (email: string, headers: Record<string, string>) =>
    post("/v1/sessions", { email, password: PASSWORD }, { headers });
  const refresh = (headers: Record<string, string>) => post("/v1/sessions/refresh", {}, { headers });
  /** A session of a page, and the cookie as its browser sends it. */
  async function onPage() {
    settings.BROWSER_SESSIONS = true;
    const ada = await signedUp();
    const response = await signIn(ada.user.email, PAGE);
    const set = response.headers.get("set-cookie") ?? "";
    return { ada, set, cookie: set.split(";")[0] ?? "", session: await answered<Session>(201, response) };
  }

  it("is for that host alone, for no script, and is not in the answer", async () => {
    const { set, cookie, session } = await onPage();
    expect(cookie).toMatch(/^__Host-refresh=pwr_[\w-]+$/);
    for (const flag of ["Path=/", "HttpOnly", "Secure", "SameSite=Strict"]) expect(set).toContain(flag);
    expect(set).not.toMatch(/Domain/i);
    expect(session.refresh_token).toBe("");
    const again = await refresh({ ...PAGE, cookie });
    expect(again.headers.get("set-cookie")).toMatch(/^__Host-refresh=pwr_/);
    expect(await status(again)).toBe(200);
  });

  it.each<[string, Record<string, string | undefined>, number]>([
    ["a sibling subdomain", { "sec-fetch-site": "same-site", origin: "https://evil.partywall.test" }, 403],
    ["another site", { "sec-fetch-site": "cross-site", origin: "https://evil.test" }, 403],
    ["another site that says it is this one", { "sec-fetch-site": "cross-site" }, 403],
    ["no page", { "sec-fetch-site": undefined }, 403],
    ["an address bar", { "sec-fetch-site": "none" }, 403],
    ["a page that hides where it is", { origin: undefined }, 403],
    ["a sandboxed page", { origin: "null" }, 403],
    ["a page that asks for no cookie", { "x-refresh-token": undefined }, 422],
  ])("is not read for %s", async (_, change, refused) => {
    const { cookie } = await onPage();
    const headers = Object.fromEntries(
      Object.entries({ ...PAGE, cookie, ...change }).filter(([, value]) => value !== undefined),
    ) as Record<string, string>;
    expect(await status(refresh(headers))).toBe(refused);
    expect(await status(refresh({ ...PAGE, cookie }))).toBe(200);
  });

  it("is read for a front end that is allowed", async () => {
    const { cookie } = await onPage();
    settings.ALLOWED_ORIGINS = ["https://app.partywall.test"];
    const headers = { ...PAGE, cookie, "sec-fetch-site": "same-site", origin: "https://app.partywall.test" };
    expect(await status(refresh(headers))).toBe(200);
  });

  it("is not believed beside another of its name", async () => {
    const { cookie } = await onPage();
    expect(await status(refresh({ ...PAGE, cookie: `__Host-refresh=pwr_planted; ${cookie}` }))).toBe(401);
  });

  it("opens nothing else, and does nothing where browser sessions are off", async () => {
    const { cookie, ada } = await onPage();
    for (const path of ["/v1/me", "/v1/projects", "/v1/sessions"])
      expect(await status(request("GET", path, { headers: { ...PAGE, cookie } }))).toBe(401);
    settings.BROWSER_SESSIONS = false;
    expect(await status(refresh({ ...PAGE, cookie }))).toBe(422);
    const response = await signIn(ada.user.email, PAGE);
    expect(response.headers.get("set-cookie")).toBeNull();
    expect((await answered<Session>(201, response)).refresh_token).toMatch(/^pwr_/);
  });

  it("is forgotten at sign-out, and is worth nothing then", async () => {
    const { cookie, session } = await onPage();
    const headers = { ...PAGE, cookie };
    const out = await request("DELETE", "/v1/sessions/current", { token: session.access_token, headers });
    expect(out.headers.get("set-cookie")).toMatch(/^__Host-refresh=;.*Max-Age=0/);
    expect(await status(refresh(headers))).toBe(401);
  });
});

describe("whether an address has an account", () => {
  /** All that an answer tells: status, names of headers, body without the request's id; and what it cost. */
  async function told(send: () => Promise<Response>, email: string) {
    const before = (await mailsTo(email)).length;
    const calls = countCalls();
    const hashing = vi.spyOn(crypto, "scrypt");
    const response = await send();
    const text = await response.text();
    const { instance: _, ...body } = JSON.parse(text === "" ? "{}" : text) as Record<string, unknown>;
    const { sql } = calls;
    const hashes = hashing.mock.calls.length;
    vi.restoreAllMocks();
    return {
      status: response.status,
      headers: [...response.headers.keys()].sort(),
      body,
      sql,
      hashes,
      before,
    };
  }
  const people = async () => ({
    account: (await verified()).user.email,
    unconfirmed: (await signedUp()).user.email,
    nobody: someone(),
  });

  it.each<[string, (email: string) => Promise<Response>, mails: number, hashes: number]>([
    ["a password reset", (email) => post("/v1/password-resets", { email }), 1, 0],
    ["a wrong sign-in", (email) => post("/v1/sessions", { email, password: "not the password" }), 0, 1],
    [
      "a sign-up that verifies first",
      (email) => {
        settings.SIGN_UP = "verify_first";
        const slug = `t-${crypto.randomUUID().slice(0, 13)}`;
        return post("/v1/signup", { email, password: PASSWORD, tenant: { name: "x", slug } });
      },
      1,
      1,
    ],
  ])("is not told by %s: not by its answer, statements, hashes or mails", async (_, send, mails, hashes) => {
    const { account, unconfirmed, nobody } = await people();
    const seen = [];
    for (const email of [account, unconfirmed, nobody]) {
      const { before, ...answer } = await told(() => send(email), email);
      seen.push(answer);
      expect(await mailsTo(email, before + mails)).toHaveLength(before + mails);
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
    expect(seen[0]).toMatchObject({ sql: 1, hashes });
  });

  it("is not told by a change of one's own address towards it", async () => {
    const ada = await verified();
    const { account, unconfirmed, nobody } = await people();
    const seen = [];
    for (const email of [account, unconfirmed, nobody]) {
      const change = () => post("/v1/me/email", { email, password: PASSWORD }, { token: ada.token });
      const { before, ...answer } = await told(change, email);
      seen.push(answer);
      expect(await mailsTo(email, before + 1)).toHaveLength(before + 1);
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });
});

it("no token, code or password is in a log, a problem or the database in the clear", async () => {
  const lines: unknown[] = [];
  for (const of of ["log", "error", "warn", "info"] as const)
    vi.spyOn(console, of).mockImplementation((...said) => void lines.push(said));
  const ada = await verified();
  const { secret, recovery_codes: codes } = await addTotp(ada);
  await answered(202, post("/v1/password-resets", { email: ada.user.email }));
  const mails = await mailsTo(ada.user.email, 3);
  const reset = /pwp_[\w-]+/.exec(mails.map(({ body }) => body.text).join("\n"))?.[0] ?? "";
  const { challenge } = await asked(ada.user.email);
  const wrong = await (await proveBy(challenge, { recovery_code: "0000-0000" })).text();
  const said = JSON.stringify(lines) + wrong;
  for (const text of [PASSWORD, secret, reset, challenge, ada.token, ada.refresh_token, ...codes])
    expect(said).not.toContain(text);
  const rows = JSON.stringify([
    await stage`select * from control.users where id = ${ada.user.id}`,
    await stage`select * from control.factors where user_id = ${ada.user.id}`,
    await stage`select * from control.mailed_links where user_id = ${ada.user.id}`,
    await stage`select encode(hash, 'escape') as hash from control.recovery_codes where user_id = ${ada.user.id}`,
  ]);
  for (const text of [PASSWORD, secret, reset, ...codes, ...codes.map((code) => code.replaceAll("-", ""))])
    expect(rows).not.toContain(text);
});
