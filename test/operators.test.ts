import { decodeJwt, decodeProtectedHeader } from "jose";
import { describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { ed25519, seal, strangersKey } from "./support/forge.ts";
import { answered, newTenant, request, signedUp, stage } from "./support/client.ts";
import {
  asOperator,
  codeOf,
  newOperator,
  operatorSession,
  OPERATOR_PASSWORD,
  signInOperator,
  type TestOperator,
} from "./support/operators.ts";
import { stopClock } from "./support/people.ts";

// Operators are people with tokens of their own: what opens them, what ends them, and what they open.

stopClock();

const ERASURES = "erasures";
const status = async (response: Response | Promise<Response>) => (await response).status;
const list = (token: string | undefined) => status(asOperator(token, "GET", ERASURES));
const enter = (of: TestOperator, body: object = {}) =>
  signInOperator({ email: of.email, password: OPERATOR_PASSWORD, code: codeOf(of), ...body });

describe("signing in as an operator", () => {
  it("takes the password and a code, and answers a token of the operators' own", async () => {
    const admin = await newOperator("admin", { password: true });
    const session = await operatorSession(admin);
    expect(session).toEqual({
      access_token: expect.any(String) as string,
      expires_in: 1800,
      operator: { id: admin.id, email: admin.email, role: "admin" },
    });
    const [, payload = ""] = session.access_token.split(".");
    expect(JSON.parse(Buffer.from(payload, "base64url").toString())).toMatchObject({
      iss: settings.ISSUER,
      aud: `${settings.ISSUER}/operator`,
      sub: admin.id,
      role: "admin",
    });
    expect(await list(session.access_token)).toBe(200);
  });

  it("asks for the code before it looks at the password, so that this tells nothing", async () => {
    const admin = await newOperator("admin", { password: true });
    for (const [email, password] of [
      [admin.email, OPERATOR_PASSWORD],
      [admin.email, "another"],
      ["nobody@operators.test", "another"],
    ]) {
      const problem = await answered<{ code: string }>(401, signInOperator({ email, password }));
      expect(problem).toMatchObject({ code: "second_factor_required", methods: ["totp"] });
    }
  });

  it("answers a wrong password, a wrong code and an unknown address in the same words", async () => {
    const admin = await newOperator("admin", { password: true });
    const other = await newOperator("admin", { password: true });
    const answers = await Promise.all(
      [
        enter(admin, { password: "another" }),
        enter(admin, { code: codeOf(other) }),
        enter(admin, { email: "nobody@operators.test" }),
      ].map((response) => answered<object>(401, response)),
    );
    const [first] = answers.map((answer) => ({ ...answer, instance: "" }));
    for (const answer of answers) expect({ ...answer, instance: "" }).toEqual(first);
    expect(first).toMatchObject({ code: "unauthenticated" });
  });

  it("takes each code once", async () => {
    const admin = await newOperator("admin", { password: true });
    await operatorSession(admin);
    expect(await status(enter(admin))).toBe(401);
    // An earlier one that was not used neither.
    expect(await status(enter(admin, { code: codeOf(admin, -1) }))).toBe(401);
    expect(await status(enter(admin, { code: codeOf(admin, 1) }))).toBe(201);
  });

  it("takes one of many requests at once with the same code", async () => {
    const admin = await newOperator("admin", { password: true });
    const answers = await Promise.all(Array.from({ length: 5 }, () => status(enter(admin))));
    expect(answers.toSorted((a, b) => a - b)).toEqual([201, 401, 401, 401, 401]);
  });

  it("takes no code for a quarter of an hour after ten wrong ones, whoever guessed", async () => {
    const admin = await newOperator("admin", { password: true });
    const wrong = codeOf(admin) === "000000" ? "000001" : "000000";
    await stage`update control.operators set failures = 9 where id = ${admin.id}`;
    expect(await status(enter(admin, { code: wrong }))).toBe(401);
    expect(await status(enter(admin))).toBe(401);
    await stage`update control.operators set failed_at = failed_at - interval '15 minutes' where id = ${admin.id}`;
    expect(await status(enter(admin))).toBe(201);
  });

  it("is no way to lock an operator out for whoever has not the password", async () => {
    const admin = await newOperator("admin", { password: true });
    await stage`update control.operators set failures = 9 where id = ${admin.id}`;
    for (let guess = 0; guess < 2; guess++)
      expect(await status(enter(admin, { password: "another", code: "000000" }))).toBe(401);
    expect(await status(enter(admin))).toBe(201);
  });

  it("is refused after some failures from one address", { timeout: 60_000 }, async () => {
    const admin = await newOperator("admin", { password: true });
    const from = { "cf-connecting-ip": crypto.randomUUID() };
    const guess = () =>
      status(signInOperator({ email: admin.email, password: "another", code: "000000" }, from));
    const answers = [];
    while (answers.at(-1) !== 429 && answers.length < 30) answers.push(await guess());
    expect(answers.at(-1)).toBe(429);
    expect(answers.length).toBeGreaterThan(10);
  });

  it("takes no account of a tenant's for an operator", async () => {
    const admin = await newOperator("admin", { password: true });
    const ada = await signedUp();
    const body = { email: ada.user.email, password: "correct horse battery staple", code: codeOf(admin) };
    expect(await status(signInOperator(body))).toBe(401);
  });
});

describe("signing out as an operator", () => {
  const signOut = (token: string | undefined) => status(asOperator(token, "DELETE", "sessions/current"));

  it("ends the token at the next request, and no other session of theirs or anybody's", async () => {
    const [admin, other] = [await newOperator("admin", { password: true }), await newOperator("admin")];
    const first = (await operatorSession(admin)).access_token;
    const second = (await operatorSession(admin, 1)).access_token;
    expect(await list(first)).toBe(200);
    expect(await signOut(first)).toBe(204);
    expect(await list(first)).toBe(401);
    expect(await signOut(first)).toBe(401);
    expect(await list(second)).toBe(200);
    expect(await list(other.token)).toBe(200);
    expect(await status(enter(admin, { code: codeOf(admin, 1) }))).toBe(401);
  });

  it("is in the operators' trail, as signing in is", async () => {
    const admin = await newOperator("admin", { password: true });
    const { access_token } = await operatorSession(admin);
    await signOut(access_token);
    const events = await stage`
      select action from control.operator_events where actor_id = ${admin.id} order by id`;
    expect(events.map(({ action }) => action)).toEqual(["session.create", "session.end"]);
  });

  it("is nothing that a script does", async () => {
    expect(await signOut(settings.OPERATOR_TOKEN)).toBe(404);
    expect(await list(settings.OPERATOR_TOKEN)).toBe(200);
    expect(await signOut(undefined)).toBe(401);
  });
});

describe("an operator who changes their password", () => {
  const NEW = "another password that was generated";
  const change = (of: TestOperator, body: object = {}, token = of.token) =>
    asOperator(token, "POST", "me/password", {
      current_password: OPERATOR_PASSWORD,
      code: codeOf(of),
      password: NEW,
      ...body,
    });

  it("signs in with the new one from then on, and their other sessions end", async () => {
    const admin = await newOperator("admin", { password: true });
    const own = (await operatorSession(admin)).access_token;
    const other = await newOperator("admin");
    expect(await status(change(admin, { code: codeOf(admin, 1) }, own))).toBe(204);
    expect(await list(admin.token)).toBe(401);
    expect(await list(own)).toBe(200);
    expect(await list(other.token)).toBe(200);
    vi.setSystemTime(Date.now() + 90_000);
    expect(await status(enter(admin))).toBe(401);
    expect(await status(enter(admin, { password: NEW }))).toBe(201);
    const events = await stage`
      select action from control.operator_events where actor_id = ${admin.id} order by id`;
    expect(events.map(({ action }) => action)).toEqual([
      "session.create",
      "operator.password",
      "session.create",
    ]);
  });

  it("shows the one before and a code that was not used: what is stolen alone changes nothing", async () => {
    const admin = await newOperator("admin", { password: true });
    const other = await newOperator("admin", { password: true });
    const wrong = { code: "wrong_password" };
    for (const body of [{ current_password: "another" }, { code: codeOf(other) }])
      expect(await answered(403, change(admin, body))).toMatchObject(wrong);
    // Whoever holds another's token does not change that one's with secrets of their own.
    expect(await answered(403, change(admin, {}, other.token))).toMatchObject(wrong);
    const used = (await operatorSession(admin)).access_token;
    expect(await answered(403, change(admin, {}, used))).toMatchObject(wrong);
    expect(await status(change(admin, { code: undefined }))).toBe(422);
    expect(await status(enter(admin, { code: codeOf(admin, 1) }))).toBe(201);
    expect(await list(admin.token)).toBe(200);
  });

  it("chooses none that is guessed first, and one of two at once", async () => {
    const admin = await newOperator("admin", { password: true });
    for (const password of ["short", "password1", `my ${admin.email}`]) {
      const { errors } = await answered<{ errors: object[] }>(422, change(admin, { password }));
      expect(errors).toMatchObject([{ pointer: "/password" }]);
    }
    const answers = await Promise.all(
      [NEW, `${NEW}!`].map((password) => status(change(admin, { password }))),
    );
    expect(answers.toSorted((a, b) => a - b)).toEqual([204, 403]);
    expect(await status(change({ ...admin, token: settings.OPERATOR_TOKEN }))).toBe(404);
  });

  it("is refused after some failures from one address", { timeout: 60_000 }, async () => {
    const admin = await newOperator("admin", { password: true });
    const headers = { "cf-connecting-ip": crypto.randomUUID() };
    const body = { current_password: "another", code: "000000", password: NEW };
    const guess = () =>
      status(request("POST", "/v1/operator/me/password", { token: admin.token, body, headers }));
    const answers = [];
    while (answers.at(-1) !== 429 && answers.length < 30) answers.push(await guess());
    expect(answers.at(-1)).toBe(429);
    expect(answers.length).toBeGreaterThan(10);
  });
});

describe("an operator's token", () => {
  it("is worth nothing from the next request on once its operator is removed or has another role", async () => {
    const [removed, demoted] = [await newOperator("admin"), await newOperator("admin")];
    expect(await list(removed.token)).toBe(200);
    expect(await list(demoted.token)).toBe(200);
    await stage`update control.operators set disabled_at = now() where id = ${removed.id}`;
    await stage`update control.operators set role = 'viewer' where id = ${demoted.id}`;
    expect(await list(removed.token)).toBe(401);
    expect(await list(demoted.token)).toBe(401);
  });

  it("is 401 on a tenant's routes, and a tenant's 401 on the operators'", async () => {
    const admin = await newOperator("admin");
    const ada = await newTenant();
    expect(await status(request("GET", "/v1/me", { token: admin.token }))).toBe(401);
    expect(await status(request("GET", "/v1/projects", { token: admin.token }))).toBe(401);
    expect(await list(ada.token)).toBe(401);
    expect(await list(undefined)).toBe(401);
  });

  it("is worth nothing in a tenant's type, with a tenant's audience, of another issuer, or signed by anybody else", async () => {
    const admin = await newOperator("admin");
    const header = { ...decodeProtectedHeader(admin.token) };
    const claims = { ...decodeJwt(admin.token) };
    expect(await list(await seal(ed25519, header, claims))).toBe(200);
    for (const forged of [
      seal(ed25519, { ...header, typ: "at+jwt" }, claims),
      seal(ed25519, { ...header, typ: "JWT" }, claims),
      seal(ed25519, header, { ...claims, aud: settings.ISSUER }),
      seal(ed25519, header, { ...claims, aud: [claims.aud, settings.ISSUER] }),
      seal(ed25519, header, { ...claims, iss: "https://evil.test" }),
      seal(ed25519, header, { ...claims, role: "owner" }),
      seal(ed25519, header, { ...claims, ver: 2 }),
      seal(ed25519, header, { ...claims, ver: undefined }),
      seal(ed25519, header, { ...claims, sid: undefined }),
      seal(ed25519, header, { ...claims, sid: crypto.randomUUID() }),
      seal(ed25519, header, { ...claims, sid: (await newOperator("admin")).sessionId }),
      seal(ed25519, header, { ...claims, exp: undefined }),
      seal(ed25519, header, { ...claims, sub: crypto.randomUUID() }),
      seal(await strangersKey("Ed25519"), header, claims),
    ])
      expect(await list(await forged)).toBe(401);
  });

  it("is worth nothing after half an hour", async () => {
    const admin = await newOperator("admin");
    const now = Date.now();
    vi.setSystemTime(now + 1_799_000);
    expect(await list(admin.token)).toBe(200);
    vi.setSystemTime(now + 1_806_000);
    expect(await list(admin.token)).toBe(401);
  });
});
