import { Secret, TOTP } from "otpauth";
import { afterEach, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { countCalls } from "./support/calls.ts";
import { answered, PASSWORD, request, signedUp, stage } from "./support/client.ts";
import { stopClock } from "./support/people.ts";

// Peppers change under load: nobody has to reset a password, and it takes the same time whether or not there is an account.

stopClock();
const begun = settings.PASSWORD_PEPPERS;
const [BEFORE] = begun;
afterEach(() => {
  settings.PASSWORD_PEPPERS = begun;
  vi.restoreAllMocks();
});

/** Of a deployment whose pepper was never rotated. */
const ORIGINAL = { kid: "original", key: undefined, cost: 14 };
const newPepper = () => ({
  kid: crypto.randomUUID().slice(0, 8),
  key: crypto.getRandomValues(new Uint8Array(32)),
  cost: 8,
});
const signIn = async (email: string, password = PASSWORD) =>
  (await request("POST", "/v1/sessions", { body: { email, password } })).status;
const kept = async (id: string) => {
  const [row] = await stage`select password_hash from control.users where id = ${id}`;
  return String(row?.["password_hash"]);
};

it("a retired pepper's password is kept by the one in use at the next sign-in, in one statement", async () => {
  settings.PASSWORD_PEPPERS = [ORIGINAL];
  const ada = await signedUp();
  const next = newPepper();
  settings.PASSWORD_PEPPERS = [next, ORIGINAL];
  expect(await kept(ada.user.id)).toMatch(/^scrypt\$16384\$8\$5\$[\w-]{43}$/);
  expect(await signIn(ada.user.email, "another long enough one")).toBe(401);
  const calls = countCalls();
  expect(await signIn(ada.user.email)).toBe(201);
  expect(calls.sql).toBe(1);
  expect(await kept(ada.user.id)).toContain(`$${next.kid}$`);
  settings.PASSWORD_PEPPERS = [next];
  expect(await signIn(ada.user.email)).toBe(201);
  settings.PASSWORD_PEPPERS = [ORIGINAL];
  expect(await signIn(ada.user.email)).toBe(401);
});

it("40 sign-ins while each step of a rotation is deployed all succeed, on old and new Workers", async () => {
  const people = await Promise.all(Array.from({ length: 4 }, () => signedUp()));
  const next = newPepper();
  // Old and new values are both at work while a step is rolled out.
  const steps = [[BEFORE], [BEFORE, next], [next, BEFORE]] as const;
  for (const [at, step] of steps.entries()) {
    const before = steps[Math.max(0, at - 1)] ?? step;
    const statuses = await Promise.all(
      people.flatMap(({ user }) =>
        [step, before, step].map(async (deployed) => {
          settings.PASSWORD_PEPPERS = deployed;
          return signIn(user.email);
        }),
      ),
    );
    expect(new Set(statuses)).toEqual(new Set([201]));
  }
  for (const { user } of people) expect(await signIn(user.email)).toBe(201);
  settings.PASSWORD_PEPPERS = [next];
  for (const { user } of people) {
    expect(await kept(user.id)).toContain(next.kid);
    expect(await signIn(user.email)).toBe(201);
  }
});

it("a wrong password, a right one and an unknown address cost the same statements while two are good", async () => {
  const ada = await signedUp();
  settings.PASSWORD_PEPPERS = [newPepper(), BEFORE];
  const costs: number[] = [];
  for (const [email, password] of [
    [ada.user.email, PASSWORD],
    [ada.user.email, "another long enough one"],
    [`${crypto.randomUUID()}@nowhere.test`, PASSWORD],
  ] as const) {
    const calls = countCalls();
    await signIn(email, password);
    costs.push(calls.sql);
    vi.restoreAllMocks();
  }
  expect(costs).toEqual([1, 1, 1]);
});

it("an authenticator app goes on, and is sealed by the pepper in use at its next code", async () => {
  const ada = await signedUp();
  const token = ada.token;
  const body = { type: "totp", name: "Phone" };
  const setup = await answered<{ id: string; secret: string }>(
    201,
    request("POST", "/v1/me/factors", { token, body }),
  );
  const code = (step: number) =>
    new TOTP({ secret: Secret.fromBase32(setup.secret) }).generate({ timestamp: Date.now() + step * 30_000 });
  await answered(
    200,
    request("POST", `/v1/me/factors/${setup.id}/confirm`, { token, body: { code: code(-1) } }),
  );
  const next = newPepper();
  settings.PASSWORD_PEPPERS = [next, BEFORE];
  const stepUp = (at: number) =>
    answered(200, request("POST", "/v1/sessions/current/step-up", { token, body: { code: code(at) } }));
  await stepUp(0);
  const [row] = await stage`select secret from control.factors where id = ${setup.id}`;
  expect(row?.["secret"]).toContain(next.kid);
  settings.PASSWORD_PEPPERS = [next];
  await stepUp(1);
});
