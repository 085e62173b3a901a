import { afterEach, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import type { Session } from "../src/identity/session.ts";
import { Passkey, type Tampering } from "./support/authenticator.ts";
import {
  answered,
  anotherSession,
  newMember,
  newTenant,
  operate,
  PASSWORD,
  request,
  stage,
  type SignedIn,
} from "./support/client.ts";
import {
  addPasskey,
  addTotp,
  asked,
  aWhileLater,
  beginPasskey,
  beginTotp,
  codeOf,
  confirm,
  forPasskey,
  kept,
  mailed,
  type Needed,
  newSlug,
  ORIGIN,
  OTHER,
  post,
  proveBy,
  type Setup,
  signsIn,
  status,
  stepUp,
  stopClock,
  verified,
  wrongCode,
} from "./support/people.ts";

// Second factors, as somebody uses them who has one half: the password, a token, a mailbox or an earlier proof.

stopClock();
const begun = { ...settings };
afterEach(() => {
  Object.assign(settings, begun);
  vi.restoreAllMocks();
});

const requireFactor = ({ token }: SignedIn) =>
  answered(200, request("PATCH", "/v1/tenant", { token, body: { require_second_factor: true } }));
const byPasskey = (challenge: string, response: object, tenant?: string) =>
  post("/v1/sessions/passkey", { challenge, response, tenant });
const enrolment = (challenge: string, type = "totp") =>
  post("/v1/sessions/factor/enrolment", { challenge, type, name: "Phone" });
/** Somebody with an authenticator app. */
async function withTotp() {
  const ada = await verified();
  return { ada, ...(await addTotp(ada.token)) };
}
async function withPasskey() {
  const ada = await verified();
  return { ada, ...(await addPasskey(ada.token)) };
}
const failures = async ({ user }: SignedIn) =>
  (await stage`select factor_failures as many from control.users where id = ${user.id}`)[0]?.["many"];
const sessionsOf = async ({ user }: SignedIn) =>
  (await stage`select from control.sessions where user_id = ${user.id}`).length;

describe("a challenge", () => {
  it("of one person is not met with another's code, recovery code or passkey", async () => {
    const [one, other] = [await withTotp(), await withTotp()];
    const { passkey } = await addPasskey(other.ada.token);
    const { challenge, options } = await asked(one.ada.user.email);
    for (const proof of [
      { code: codeOf(other.secret) },
      { recovery_code: other.codes[0] },
      { response: passkey.signed({ ...options, challenge: "AAAA", rpId: "api.partywall.test" }, ORIGIN) },
    ])
      expect(await status(proveBy(challenge, proof))).toBe(401);
    // And what the other one has is not used up by it.
    const needed = await asked(other.ada.user.email);
    await answered(201, proveBy(needed.challenge, { recovery_code: other.codes[0] }));
  });

  it("is not good after ten minutes", async () => {
    const { ada, secret } = await withTotp();
    const { challenge } = await asked(ada.user.email);
    const [row] =
      await stage`select extract(epoch from expires_at - now()) as s from control.challenges where user_id = ${ada.user.id}`;
    expect(Number(row?.["s"])).toBeGreaterThan(590);
    expect(Number(row?.["s"])).toBeLessThanOrEqual(600);
    await stage`update control.challenges set expires_at = now() where user_id = ${ada.user.id}`;
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(401);
    expect(await status(enrolment(challenge))).toBe(401);
  });

  it("for a passkey is not good after ten minutes, to sign in or to step up", async () => {
    const { ada, passkey } = await withPasskey();
    const { challenge, options } = await forPasskey();
    await stage`update control.challenges set expires_at = now() where user_id is null`;
    const response = passkey.signed(options, ORIGIN);
    expect(await status(byPasskey(challenge, response))).toBe(401);
    expect(await status(stepUp(ada.token, { challenge, response }))).toBe(403);
  });

  it.each<[string, number, (host: SignedIn, member: SignedIn) => Promise<unknown>]>([
    [
      "the member was removed",
      401,
      (host, { user }) => answered(204, request("DELETE", `/v1/members/${user.id}`, { token: host.token })),
    ],
    ["the tenant was suspended", 403, (host) => operate(host.tenant.id, { status: "suspended" })],
    [
      "the tenant began to close",
      403,
      (host) => answered(202, request("DELETE", "/v1/tenant", { token: host.token })),
    ],
    [
      "the account ended",
      401,
      (_, member) => answered(204, request("DELETE", "/v1/me", { token: member.token })),
    ],
  ])("starts no session after %s", async (_, is, change) => {
    const host = await newTenant();
    const member = await newMember(host.tenant.id, "member", PASSWORD);
    const { secret } = await addTotp(member.token);
    const { challenge } = await asked(member.user.email);
    const before = await sessionsOf(member);
    await change(host, member);
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(is);
    expect(await sessionsOf(member)).toBeLessThanOrEqual(before);
  });

  it("to enrol by makes no factor of a member of a tenant that was suspended meanwhile", async () => {
    const host = await newTenant();
    const member = await newMember(host.tenant.id, "member", PASSWORD);
    await requireFactor(host);
    const { challenge } = await asked(member.user.email);
    const { secret } = await answered<Setup>(201, enrolment(challenge));
    await operate(host.tenant.id, { status: "suspended" });
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(403);
    // Its recovery codes were shown to nobody.
    expect(await kept(member.user.id)).toMatchObject({ factors: [{ confirmed_at: null }], codes: [] });
    await operate(host.tenant.id, { status: "active" });
    const again = await answered<{ recovery_codes: string[] }>(
      201,
      proveBy(challenge, { code: codeOf(secret) }),
    );
    expect(again.recovery_codes).toHaveLength(10);
  });

  it("to enrol by is worth nothing to whoever has the password once there is a factor", async () => {
    const host = await newTenant();
    const member = await newMember(host.tenant.id, "member", PASSWORD);
    await requireFactor(host);
    const thief = await asked(member.user.email);
    const begunBy = await answered<Setup>(201, enrolment(thief.challenge));
    await addPasskey(member.token);
    expect(await status(enrolment(thief.challenge))).toBe(401);
    expect(await status(proveBy(thief.challenge, { code: codeOf(begunBy.secret) }))).toBe(401);
    expect((await kept(member.user.id)).factors.filter((row) => row["confirmed_at"])).toHaveLength(1);
  });

  it("of a tenant that then begins to require a factor asks for one all the same", async () => {
    const host = await newTenant();
    const member = await newMember(host.tenant.id, "member", PASSWORD);
    const { secret, id } = await addTotp(member.token);
    const { challenge } = await asked(member.user.email);
    await answered(204, request("DELETE", `/v1/me/factors/${id}`, { token: member.token }));
    await requireFactor(host);
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(401);
    const needed = await asked(member.user.email);
    expect(needed.code).toBe("second_factor_enrolment_required");
  });

  it("of a sign-in is none to sign in by a passkey alone, and the other way round", async () => {
    const { ada, passkey } = await withPasskey();
    const second = await asked(ada.user.email);
    const alone = await forPasskey();
    expect(await status(byPasskey(second.challenge, passkey.signed(second.options, ORIGIN)))).toBe(401);
    const response = passkey.signed(alone.options, ORIGIN);
    expect(await status(proveBy(alone.challenge, { response }))).toBe(401);
    expect(await status(enrolment(alone.challenge))).toBe(401);
    expect(
      await status(
        stepUp(ada.token, { challenge: second.challenge, response: passkey.signed(second.options, ORIGIN) }),
      ),
    ).toBe(403);
    await answered(201, byPasskey(alone.challenge, passkey.signed(alone.options, ORIGIN)));
  });

  it("is answered with the response to another of one's own in no way", async () => {
    const { ada, passkey } = await withPasskey();
    const [first, second] = [await asked(ada.user.email), await asked(ada.user.email)];
    const response = passkey.signed(first.options, ORIGIN);
    expect(await status(proveBy(second.challenge, { response }))).toBe(401);
    const [one, two] = [await forPasskey(), await forPasskey()];
    const alone = passkey.signed(one.options, ORIGIN);
    expect(await status(byPasskey(two.challenge, alone))).toBe(401);
    expect(await status(stepUp(ada.token, { challenge: two.challenge, response: alone }))).toBe(403);
  });

  it("that stands for one tenant opens no other of the same person", async () => {
    const { ada, secret } = await withTotp();
    const host = await newTenant();
    await answered(201, post("/v1/invitations", { email: ada.user.email, role: "viewer" }, host.token));
    const { challenge } = await answered<Needed>(
      401,
      post("/v1/invitations/accept", { token: await mailed(ada.user.email, "pwi") }),
    );
    const body = { challenge, code: codeOf(secret) };
    expect(await status(post("/v1/sessions/factor", { ...body, tenant: ada.tenant.slug }))).toBe(422);
    const elsewhere = request("POST", "/v1/sessions/factor", {
      body,
      host: `${ada.tenant.slug}.partywall.test`,
    });
    expect(await elsewhere.then(({ status: is }) => is)).toBe(403);
  });

  it("is still open after a recovery code that was mistyped and a code that was used before", async () => {
    const { ada, secret, codes } = await withTotp();
    const { challenge } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { recovery_code: `${codes[0]}0` }))).toBe(401);
    expect(await status(proveBy(challenge, { code: codeOf(secret, -1) }))).toBe(401);
    await answered(201, proveBy(challenge, { recovery_code: codes[0] }));
    expect(await status(proveBy(challenge, { recovery_code: codes[1] }))).toBe(401);
    expect((await kept(ada.user.id)).codes).toHaveLength(9);
  });

  it("answered with four recovery codes at once starts one session, and uses up one", async () => {
    const { ada, codes } = await withTotp();
    const { challenge } = await asked(ada.user.email);
    const before = await sessionsOf(ada);
    const all = await Promise.all(
      codes.slice(0, 4).map((code) => status(proveBy(challenge, { recovery_code: code }))),
    );
    expect(all.filter((is) => is === 201)).toHaveLength(1);
    expect(await sessionsOf(ada)).toBe(before + 1);
    expect((await kept(ada.user.id)).codes).toHaveLength(9);
  });
});

describe("a code", () => {
  it("that signed in does not step up, and the other way round", async () => {
    const { ada, secret } = await withTotp();
    const code = codeOf(secret);
    await answered(201, proveBy((await asked(ada.user.email)).challenge, { code }));
    expect(await status(stepUp(ada.token, { code }))).toBe(403);
    const next = codeOf(secret, 1);
    await answered(200, stepUp(ada.token, { code: next }));
    expect(await status(proveBy((await asked(ada.user.email)).challenge, { code: next }))).toBe(401);
    // The one that confirmed the app was used by that.
    expect(await status(stepUp(ada.token, { code: codeOf(secret, -1) }))).toBe(403);
  });

  it("at a sign-in and three step-ups at once is taken once", async () => {
    const { ada, secret } = await withTotp();
    const [{ challenge }, code] = [await asked(ada.user.email), codeOf(secret)];
    const all = await Promise.all([
      status(proveBy(challenge, { code })),
      ...Array.from({ length: 3 }, () => status(stepUp(ada.token, { code }))),
    ]);
    expect(all.filter((is) => is < 300)).toHaveLength(1);
  });

  it.each<[string, (code: string) => unknown]>([
    ["with a space in it", (code) => `${code.slice(0, 3)} ${code.slice(3)}`],
    ["with a space in front", (code) => ` ${code}`],
    ["with a line feed behind", (code) => `${code}\n`],
    ["of seven digits", (code) => `0${code}`],
    ["of five digits", (code) => code.slice(1)],
    ["of full-width digits", (code) => spelled(code, 0xff10)],
    ["of Arabic-Indic digits", (code) => spelled(code, 0x0660)],
    ["of Devanagari digits", (code) => spelled(code, 0x0966)],
    ["of mathematical digits", (code) => spelled(code, 0x1d7ce)],
    ["that is a number", (code) => Number(code)],
    ["in an array", (code) => [code]],
    ["that is empty", () => ""],
    ["with a sign", (code) => `+${code.slice(1)}`],
    ["in hexadecimal", () => "0x1e24"],
    ["with an exponent", () => "1e0000"],
  ])("%s is no code anywhere", async (_, spell) => {
    const ada = await verified();
    const { id, secret } = await beginTotp(ada.token);
    expect(await status(confirm(id, { code: spell(codeOf(secret)) }, ada.token))).toBe(422);
    await answered(200, confirm(id, { code: codeOf(secret, -1) }, ada.token));
    const { challenge } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { code: spell(codeOf(secret)) }))).toBe(422);
    expect(await status(stepUp(ada.token, { code: spell(codeOf(secret)) }))).toBe(422);
    expect(await failures(ada)).toBe(0);
  });
  const spelled = (code: string, zero: number) =>
    Array.from(code, (digit) => String.fromCodePoint(zero + Number(digit))).join("");

  it("of an app that was removed is worth nothing", async () => {
    const { ada, secret, id } = await withTotp();
    await addPasskey(ada.token);
    const { challenge } = await asked(ada.user.email);
    await answered(204, request("DELETE", `/v1/me/factors/${id}`, { token: ada.token }));
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(401);
    expect(await status(stepUp(ada.token, { code: codeOf(secret) }))).toBe(403);
  });

  it("of an app that nobody confirmed is worth nothing", async () => {
    const { ada } = await withPasskey();
    const { secret } = await beginTotp(ada.token);
    const { challenge } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { code: codeOf(secret) }))).toBe(401);
    expect(await status(stepUp(ada.token, { code: codeOf(secret) }))).toBe(403);
  });

  it("confirms no app whose adding was begun a quarter of an hour ago", async () => {
    const ada = await verified();
    const { id, secret } = await beginTotp(ada.token);
    await stage`update control.factors set created_at = now() - interval '16 minutes' where id = ${id}`;
    expect(await status(confirm(id, { code: codeOf(secret) }, ada.token))).toBe(404);
  });
});

describe("a recovery code", () => {
  it("at 8 sign-ins at once lets in one", async () => {
    const { ada, codes } = await withTotp();
    const challenges = await Promise.all(Array.from({ length: 8 }, () => asked(ada.user.email)));
    const all = await Promise.all(
      challenges.map(({ challenge }) => status(proveBy(challenge, { recovery_code: codes[0] }))),
    );
    expect(all.toSorted((a, b) => a - b)).toEqual([201, ...Array<number>(7).fill(401)]);
  });

  it("at a sign-in and at step-ups at once is taken once", async () => {
    const { ada, codes } = await withTotp();
    const { challenge } = await asked(ada.user.email);
    const all = await Promise.all([
      status(proveBy(challenge, { recovery_code: codes[0] })),
      ...Array.from({ length: 3 }, () => status(stepUp(ada.token, { recovery_code: codes[0] }))),
    ]);
    expect(all.filter((is) => is < 300)).toHaveLength(1);
    expect((await kept(ada.user.id)).codes).toHaveLength(9);
  });

  it.each([
    ["empty", ""],
    ["of spaces and hyphens alone", " - - "],
    ["its hash", "hash"],
    ["a pattern", "%"],
    ["of 65 characters", "a".repeat(65)],
  ])("is not %s", async (_, text) => {
    const { ada } = await withTotp();
    const [row] =
      await stage`select encode(hash, 'hex') as of from control.recovery_codes where user_id = ${ada.user.id}`;
    const recovery_code = text === "hash" ? row?.["of"] : text;
    const { challenge } = await asked(ada.user.email);
    expect([401, 422]).toContain(await status(proveBy(challenge, { recovery_code })));
    expect([403, 422]).toContain(await status(stepUp(ada.token, { recovery_code })));
    expect((await kept(ada.user.id)).codes).toHaveLength(10);
  });
});

describe("guesses", () => {
  it("are 5 for a challenge, also at once", async () => {
    const { ada, secret, codes } = await withTotp();
    const { challenge } = await asked(ada.user.email);
    const code = wrongCode(secret);
    await Promise.all(Array.from({ length: 12 }, () => status(proveBy(challenge, { code }))));
    expect(await status(proveBy(challenge, { recovery_code: codes[0] }))).toBe(401);
    expect(await failures(ada)).toBe(5);
  });

  it("are 10 for an account, also at once and over many challenges", async () => {
    const { ada, secret } = await withTotp();
    const challenges = await Promise.all(Array.from({ length: 8 }, () => asked(ada.user.email)));
    const code = wrongCode(secret);
    const all = await Promise.all(
      challenges.flatMap(({ challenge }) =>
        Array.from({ length: 4 }, () => status(proveBy(challenge, { code }))),
      ),
    );
    expect(all.filter((is) => is === 401)).toHaveLength(10);
    expect(all.filter((is) => is === 429)).toHaveLength(22);
    expect(await status(proveBy((await asked(ada.user.email)).challenge, { code: codeOf(secret) }))).toBe(
      429,
    );
  });

  it("are 10 for an account, at step-ups and sign-ins together, also at once", async () => {
    const { ada, secret } = await withTotp();
    const challenges = await Promise.all(Array.from({ length: 3 }, () => asked(ada.user.email)));
    const code = wrongCode(secret);
    const all = await Promise.all([
      ...challenges.flatMap(({ challenge }) =>
        Array.from({ length: 4 }, () => status(proveBy(challenge, { code }))),
      ),
      ...Array.from({ length: 9 }, () => status(stepUp(ada.token, { code }))),
    ]);
    expect(all.filter((is) => is === 401 || is === 403)).toHaveLength(10);
    expect(await status(stepUp(ada.token, { code: codeOf(secret) }))).toBe(429);
  });

  it("are one more after a quarter of an hour, also at once", async () => {
    const { ada, secret } = await withTotp();
    const challenges = await Promise.all(Array.from({ length: 6 }, () => asked(ada.user.email)));
    await stage`update control.users set factor_failures = 10, factor_failed_at = now() - interval '16 minutes' where id = ${ada.user.id}`;
    const code = wrongCode(secret);
    const all = await Promise.all(challenges.map(({ challenge }) => status(proveBy(challenge, { code }))));
    expect(all.toSorted((a, b) => a - b)).toEqual([401, 429, 429, 429, 429, 429]);
  });

  it("of recovery codes and of passkeys count too", async () => {
    const { ada, secret } = await withTotp();
    const { passkey } = await addPasskey(ada.token);
    for (let round = 0; round < 2; round++) {
      const { challenge, options } = await asked(ada.user.email);
      for (let n = 0; n < 3; n++)
        expect(await status(proveBy(challenge, { recovery_code: "0000-0000-0000-0000-0000" }))).toBe(401);
      for (let n = 0; n < 2; n++) {
        const response = passkey.signed(options, ORIGIN, { origin: "https://evil.test" });
        expect(await status(proveBy(challenge, { response }))).toBe(401);
      }
    }
    expect(await failures(ada)).toBe(10);
    expect(await status(proveBy((await asked(ada.user.email)).challenge, { code: codeOf(secret) }))).toBe(
      429,
    );
  });

  it("are not forgotten by a sign-in that stops halfway, a refresh or a password that is right", async () => {
    const { ada, secret } = await withTotp();
    const { challenge } = await asked(ada.user.email);
    for (let n = 0; n < 3; n++) await status(proveBy(challenge, { code: wrongCode(secret) }));
    await asked(ada.user.email);
    await answered(200, post("/v1/sessions/refresh", { refresh_token: ada.refresh_token }));
    expect(await status(stepUp(ada.token, { password: PASSWORD }))).toBe(403);
    expect(await failures(ada)).toBe(3);
  });
});

describe("a passkey", () => {
  const MADE: [string, Tampering][] = [
    ["another origin", { origin: "https://evil.test" }],
    ["the origin without TLS", { origin: "http://api.partywall.test" }],
    ["a sibling's origin", { origin: "https://evil.partywall.test" }],
    ["the origin with another port", { origin: `${ORIGIN}:8443` }],
    ["another site's name", { rpId: "evil.test" }],
    ["the parent domain's name", { rpId: "partywall.test" }],
    ["another challenge", { challenge: "AAAA" }],
    ["an empty challenge", { challenge: "" }],
    ["nobody present", { isPresent: false }],
  ];
  it.each<[string, Tampering]>([...MADE, ["the other ceremony", { type: "webauthn.get" }]])(
    "is not made with %s",
    async (_, tampering) => {
      const ada = await verified();
      const { id, options } = await beginPasskey(ada.token);
      const response = new Passkey().made(options, ORIGIN, tampering);
      expect(await status(confirm(id, { response }, ada.token))).toBe(403);
      expect((await kept(ada.user.id)).factors).toMatchObject([{ confirmed_at: null, credential_id: null }]);
    },
  );

  it.each<[string, Tampering]>([
    ...MADE,
    ["the other ceremony", { type: "webauthn.create" }],
    ["a counter that went back", { counter: 1 }],
    ["a counter that stands still", { counter: 5 }],
    ["the counter 0 after one that counted", { counter: 0 }],
    ["another key's signature", { signedBy: new Passkey() }],
  ])("proves nothing with %s: at sign-in, alone and at step-up", async (_, tampering) => {
    const { ada, passkey } = await withPasskey();
    const first = await forPasskey();
    await answered(
      200,
      stepUp(ada.token, {
        challenge: first.challenge,
        response: passkey.signed(first.options, ORIGIN, { counter: 5 }),
      }),
    );
    const before = await kept(ada.user.id);
    const { challenge, options } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { response: passkey.signed(options, ORIGIN, tampering) }))).toBe(
      401,
    );
    const alone = await forPasskey();
    const response = passkey.signed(alone.options, ORIGIN, tampering);
    expect(await status(byPasskey(alone.challenge, response))).toBe(401);
    expect(await status(stepUp(ada.token, { challenge: alone.challenge, response }))).toBe(403);
    expect(await kept(ada.user.id)).toEqual(before);
  });

  it("that another account has is not added again", async () => {
    const { ada, passkey } = await withPasskey();
    const thief = await verified();
    const { id, options } = await beginPasskey(thief.token);
    const response = passkey.made(options, ORIGIN);
    const refused = await answered(403, confirm(id, { response }, thief.token));
    expect(refused).toMatchObject({ code: "wrong_factor" });
    expect((await kept(thief.user.id)).factors).toMatchObject([{ confirmed_at: null }]);
    const { challenge, options: ask } = await forPasskey();
    const session = await answered<Session>(201, byPasskey(challenge, passkey.signed(ask, ORIGIN)));
    expect(session.user.id).toBe(ada.user.id);
  });

  it("that another account has is not enrolled by a sign-in either", async () => {
    const { passkey } = await withPasskey();
    const host = await newTenant();
    const member = await newMember(host.tenant.id, "member", PASSWORD);
    await requireFactor(host);
    const { challenge } = await asked(member.user.email);
    const { options } = await answered<Setup>(201, enrolment(challenge, "passkey"));
    expect(await status(proveBy(challenge, { response: passkey.made(options, ORIGIN) }))).toBe(401);
    expect(await kept(member.user.id)).toMatchObject({ factors: [{ confirmed_at: null }], codes: [] });
  });

  it("of one account signs in as nobody else, whatever it says of its user", async () => {
    const [one, other] = [await withPasskey(), await withPasskey()];
    const { challenge, options } = await forPasskey();
    const signed = one.passkey.signed(options, ORIGIN);
    const userHandle = Buffer.from(other.ada.user.id.replaceAll("-", ""), "hex").toString("base64url");
    const response = { ...signed, response: { ...signed.response, userHandle } };
    const session = await answered<Session>(201, byPasskey(challenge, response));
    expect(session.user.id).toBe(one.ada.user.id);
    const next = await forPasskey();
    const forged = {
      ...one.passkey.signed(next.options, ORIGIN),
      id: other.passkey.id.toString("base64url"),
    };
    expect(await status(byPasskey(next.challenge, forged))).toBe(401);
  });

  it("signs once: 6 at once with one response are one session", async () => {
    const { passkey } = await withPasskey();
    const { challenge, options } = await forPasskey();
    const response = passkey.signed(options, ORIGIN);
    const all = await Promise.all(Array.from({ length: 6 }, () => status(byPasskey(challenge, response))));
    expect(all.toSorted((a, b) => a - b)).toEqual([201, 401, 401, 401, 401, 401]);
  });

  it("that does not count signs once a challenge too", async () => {
    const { passkey } = await withPasskey();
    const { challenge, options } = await forPasskey();
    const response = passkey.signed(options, ORIGIN, { counter: 0 });
    const all = await Promise.all(Array.from({ length: 6 }, () => status(byPasskey(challenge, response))));
    expect(all.toSorted((a, b) => a - b)).toEqual([201, 401, 401, 401, 401, 401]);
  });

  it("is no proof where the answer is of the other ceremony", async () => {
    const { ada, passkey } = await withPasskey();
    const { challenge, options } = await asked(ada.user.email);
    expect(await status(proveBy(challenge, { response: passkey.made(options, ORIGIN) }))).toBe(401);
    const alone = await forPasskey();
    const made = passkey.made(alone.options, ORIGIN);
    expect(await status(byPasskey(alone.challenge, made))).toBe(422);
    expect(await status(stepUp(ada.token, { challenge: alone.challenge, response: made }))).toBe(422);
    const setup = await beginPasskey(ada.token);
    expect(
      await status(confirm(setup.id, { response: passkey.signed(setup.options, ORIGIN) }, ada.token)),
    ).toBe(422);
  });

  const BAD: [string, (response: Record<string, unknown> & { response: object }) => object][] = [
    [
      "is oversized",
      (of) => ({
        ...of,
        response: { ...of.response, clientDataJSON: "A".repeat(5000), authenticatorData: "A".repeat(5000) },
      }),
    ],
    ["has an oversized id", (of) => ({ ...of, id: "A".repeat(3000) })],
    ["has no id", (of) => ({ ...of, id: undefined })],
    ["has an id that is no text", (of) => ({ ...of, id: { $ne: "" } })],
    ["has an id with a quote", (of) => ({ ...of, id: `a' or '1'='1` })],
    ["is of another type", (of) => ({ ...of, type: "password" })],
    ["has null for its data", (of) => ({ ...of, response: null })],
    ["is in plain base64", (of) => ({ ...of, response: { ...of.response, clientDataJSON: "ab+/==" } })],
    ["is a text", () => "AAAA" as never],
  ];
  it.each(BAD)("whose response %s is refused everywhere", async (_, bend) => {
    const { ada, passkey } = await withPasskey();
    const { challenge, options } = await asked(ada.user.email);
    const alone = await forPasskey();
    const setup = await beginPasskey(ada.token);
    const made = bend(new Passkey().made(setup.options, ORIGIN));
    expect(await status(proveBy(challenge, { response: bend(passkey.signed(options, ORIGIN)) }))).toBe(422);
    expect(await status(byPasskey(alone.challenge, bend(passkey.signed(alone.options, ORIGIN))))).toBe(422);
    expect(await status(confirm(setup.id, { response: made }, ada.token))).toBe(422);
    expect(await failures(ada)).toBe(0);
  });

  it("whose response has members that nobody reads is taken, and none of them counts", async () => {
    const { ada, passkey } = await withPasskey();
    const { challenge, options } = await forPasskey();
    const signed = passkey.signed(options, ORIGIN);
    const response = {
      ...signed,
      authenticatorAttachment: "platform",
      user_id: crypto.randomUUID(),
      response: { ...signed.response, verified: true, user_id: crypto.randomUUID() },
      clientExtensionResults: { appid: true, credProps: { rk: true } },
    };
    const session = await answered<Session>(201, byPasskey(challenge, response));
    expect(session.user.id).toBe(ada.user.id);
    expect(await status(post("/v1/sessions/passkey", { challenge, response, user_id: ada.user.id }))).toBe(
      422,
    );
  });

  it.each([
    ["cut in the middle", (bytes: Buffer) => bytes.subarray(0, 60)],
    ["of zeros", (bytes: Buffer) => Buffer.alloc(bytes.length)],
    ["nested a thousand times", () => Buffer.alloc(1000, 0x81)],
    ["that says it is four gigabytes", () => Buffer.from("5affffffff", "hex")],
  ])("is not made by an attestation %s", async (_, bend) => {
    const ada = await verified();
    const { id, options } = await beginPasskey(ada.token);
    const made = new Passkey().made(options, ORIGIN);
    const attestationObject = bend(Buffer.from(made.response.attestationObject, "base64url")).toString(
      "base64url",
    );
    const response = { ...made, response: { ...made.response, attestationObject } };
    expect(await status(confirm(id, { response }, ada.token))).toBe(403);
  });

  it("confirms the factor that it was made for, and no other", async () => {
    const [ada, bob] = [await verified(), await verified()];
    const [one, other] = [await beginPasskey(ada.token), await beginPasskey(bob.token)];
    const made = new Passkey().made(one.options, ORIGIN);
    expect(await status(confirm(other.id, { response: made }, bob.token))).toBe(403);
    expect(await status(confirm(one.id, { response: made }, bob.token))).toBe(404);
    const app = await beginTotp(ada.token);
    expect(await status(confirm(app.id, { response: made }, ada.token))).toBe(403);
    expect(await status(confirm(one.id, { code: codeOf(app.secret) }, ada.token))).toBe(403);
  });
});

describe("factors of one's own", () => {
  const ACTS: [string, (token: string, id: string, setup: Setup) => Promise<Response>][] = [
    ["add an app", (token) => post("/v1/me/factors", { type: "totp", name: "x" }, token)],
    ["add a passkey", (token) => post("/v1/me/factors", { type: "passkey", name: "x" }, token)],
    ["remove one", (token, id) => request("DELETE", `/v1/me/factors/${id}`, { token })],
    ["confirm one", (token, _, { id, secret }) => confirm(id, { code: codeOf(secret) }, token)],
    ["make recovery codes", (token) => post("/v1/me/recovery-codes", {}, token)],
  ];
  it.each(ACTS)("need a proof of the last ten minutes to %s", async (_, act) => {
    const { ada, id } = await withPasskey();
    const setup = await beginTotp(ada.token);
    const token = await aWhileLater(ada);
    const before = await kept(ada.user.id);
    expect(await answered(403, act(token, id, setup))).toMatchObject({ code: "step_up_required" });
    expect(await kept(ada.user.id)).toEqual(before);
  });

  it("of another person are not there, by their id, in any case", async () => {
    const [{ ada, id }, thief] = [await withPasskey(), await verified()];
    const pending = await beginTotp(ada.token);
    const before = await kept(ada.user.id);
    for (const of of [id, id.toUpperCase(), pending.id]) {
      const path = `/v1/me/factors/${of}`;
      expect(await status(request("PATCH", path, { token: thief.token, body: { name: "mine" } }))).toBe(404);
      expect(await status(request("DELETE", path, { token: thief.token }))).toBe(404);
      expect(await status(confirm(of, { code: codeOf(pending.secret) }, thief.token))).toBe(404);
    }
    expect(await kept(ada.user.id)).toEqual(before);
  });

  it("are not the last ones removed at once where a tenant requires one", async () => {
    const { ada, id } = await withPasskey();
    const app = await addTotp(ada.token);
    await requireFactor(ada);
    const all = await Promise.all(
      [id, app.id].map((of) => status(request("DELETE", `/v1/me/factors/${of}`, { token: ada.token }))),
    );
    expect(all.toSorted((a, b) => a - b)).toEqual([204, 409]);
    expect((await kept(ada.user.id)).factors).toHaveLength(1);
  });

  it("leave no recovery codes behind when both are removed at once", async () => {
    const { ada, id } = await withPasskey();
    const app = await addTotp(ada.token);
    const all = await Promise.all(
      [id, app.id].map((of) => status(request("DELETE", `/v1/me/factors/${of}`, { token: ada.token }))),
    );
    expect(all).toEqual([204, 204]);
    expect(await kept(ada.user.id)).toMatchObject({ factors: [], codes: [] });
  });

  it("both confirmed at once come with one set of recovery codes", async () => {
    const ada = await verified();
    const [app, key] = [await beginTotp(ada.token), await beginPasskey(ada.token)];
    const all = await Promise.all([
      confirm(app.id, { code: codeOf(app.secret) }, ada.token),
      confirm(key.id, { response: new Passkey().made(key.options, ORIGIN) }, ada.token),
    ]);
    expect(all.map(({ status: is }) => is)).toEqual([200, 200]);
    expect((await kept(ada.user.id)).codes).toHaveLength(10);
  });

  it("are added by no session that a second factor has not proved", async () => {
    // A session of before the factor was added, whose proof is the password's alone.
    const { ada, secret } = await withTotp();
    const { refresh_token } = ada;
    await stage`update control.sessions set amr = '{pwd}' where id = ${ada.session.id}`;
    const old = await answered<Session>(200, post("/v1/sessions/refresh", { refresh_token }));
    expect(await status(stepUp(old.access_token, { password: PASSWORD }))).toBe(403);
    await answered(200, stepUp(old.access_token, { code: codeOf(secret) }));
  });
});

describe("the second factor is not passed by", () => {
  /** Somebody who was invited, accepted without a factor, and never refreshed that session. */
  async function invited() {
    const [host, ada] = [await newTenant(), await verified()];
    await answered(201, post("/v1/invitations", { email: ada.user.email, role: "member" }, host.token));
    const token = await mailed(ada.user.email, "pwi");
    await answered(201, post("/v1/invitations/accept", { token }));
    return { host, ada, token };
  }
  it("by an invitation that was accepted before there was one, sent again", async () => {
    const { ada, token } = await invited();
    await addTotp(ada.token);
    const again = await post("/v1/invitations/accept", { token });
    expect(again.status).toBe(410);
    expect(await again.text()).not.toContain("access_token");
  });
  it("by an invitation that was accepted before the tenant required one, sent again", async () => {
    const { host, token } = await invited();
    await requireFactor(host);
    expect(await status(post("/v1/invitations/accept", { token }))).toBe(410);
  });

  it("by a password reset, with its old or new password", async () => {
    const { ada } = await withTotp();
    await answered(202, post("/v1/password-resets", { email: ada.user.email }));
    const token = await mailed(ada.user.email, "pwp");
    const done = post("/v1/password-resets/confirm", { token, password: OTHER });
    expect(await (await done).text()).toBe("");
    await asked(ada.user.email, OTHER);
    expect((await kept(ada.user.id)).factors).toHaveLength(1);
  });

  it("by a sign-up of the same address, immediate or confirmed first, and sent again", async () => {
    const { ada } = await withTotp();
    const slug = newSlug();
    const body = { email: ada.user.email, password: PASSWORD, tenant: { name: slug, slug } };
    for (let n = 0; n < 2; n++)
      expect(await answered(401, post("/v1/signup", body))).toMatchObject({ code: "second_factor_required" });
    settings.SIGN_UP = "verify_first";
    await answered(202, post("/v1/signup", { ...body, tenant: { name: slug, slug: newSlug() } }));
    const token = await mailed(ada.user.email, "pws");
    const link = post("/v1/email-verifications/confirm", { token, password: PASSWORD });
    expect(await (await link).text()).toBe("");
    await asked(ada.user.email, PASSWORD, ada.tenant.slug);
  });

  it("by switching from a session without one, or refreshing that afterwards", async () => {
    const { ada } = await invited();
    const session = await answered<Session>(201, signsIn(ada.user.email, PASSWORD, ada.tenant.slug));
    await addTotp(ada.token);
    const slugs =
      await stage`select t.slug from control.tenants t join control.memberships m on m.tenant_id = t.id
      where m.user_id = ${ada.user.id} and t.id <> ${ada.tenant.id}`;
    const change = post("/v1/sessions/switch", { tenant: slugs[0]?.["slug"] }, session.access_token);
    expect(await answered(401, change)).toMatchObject({ code: "second_factor_required" });
    const next = await answered<Session>(
      200,
      post("/v1/sessions/refresh", { refresh_token: session.refresh_token }),
    );
    const again = post("/v1/sessions/switch", { tenant: slugs[0]?.["slug"] }, next.access_token);
    expect(await answered(401, again)).toMatchObject({ code: "second_factor_required" });
  });

  it("by an owner who resets the factors of a member elsewhere, or an owner of theirs own", async () => {
    const { host, ada } = await invited();
    await addTotp(ada.token);
    const before = await kept(ada.user.id);
    const path = `/v1/members/${ada.user.id}/factors`;
    expect(await answered(409, request("DELETE", path, { token: host.token }))).toMatchObject({
      code: "member_elsewhere",
    });
    for (const role of ["admin", "member", "viewer"] as const) {
      const by = await newMember(host.tenant.id, role);
      expect(await status(request("DELETE", path, { token: by.token }))).toBe(403);
    }
    const former = await newMember(host.tenant.id, "owner");
    const { token } = await anotherSession(former);
    await answered(
      200,
      request("PATCH", `/v1/members/${former.user.id}`, { token: host.token, body: { role: "admin" } }),
    );
    expect([401, 403]).toContain(await status(request("DELETE", path, { token })));
    expect(await kept(ada.user.id)).toEqual(before);
  });
});
