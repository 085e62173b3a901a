import { afterEach, describe, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { bindings } from "../src/env.ts";
import { accountOf } from "../src/account-name.ts";
import { makeApiKey } from "../src/identity/api-key.ts";
import { countCalls } from "./support/calls.ts";
import { answered, newTenant, PASSWORD, request, signedUp } from "./support/client.ts";

afterEach(() => vi.restoreAllMocks());

// The bindings count in minutes of the wall clock, so that a test which begins late in one gets some failures more.
const MOST = 2;
const SIGN_INS = 10;
const OF_ACCOUNT = 50;
const KEYS = 30;

const anywhere = () => crypto.randomUUID();
const signIn = (email: string, password: string, address: string) =>
  request("POST", "/v1/sessions", { body: { email, password }, headers: { "cf-connecting-ip": address } });
const use = async (key: string, address: string) =>
  (await request("GET", "/v1/tenant/limits", { token: key, headers: { "cf-connecting-ip": address } }))
    .status;

/** Fails until refused with 429, and returns how often that took. */
async function untilRefused(limit: number, fail: () => Promise<number>): Promise<number> {
  for (let failures = 0; failures <= MOST * limit; failures++) if ((await fail()) === 429) return failures;
  throw new Error(`still not refused after ${MOST * limit} failures`);
}

describe("guessing a password", () => {
  it("is refused after some failures from one address, and costs no database request then", async () => {
    const { user } = await signedUp();
    const address = anywhere();
    const guess = async () => (await signIn(user.email, "not the password", address)).status;
    expect(await untilRefused(SIGN_INS, guess)).toBeGreaterThanOrEqual(SIGN_INS);
    const calls = countCalls();
    for (const password of ["not it either", PASSWORD]) {
      const refused = await signIn(user.email, password, address);
      expect(refused.status).toBe(429);
      expect(refused.headers.get("retry-after")).toBe("60");
      expect(await refused.json()).toMatchObject({ type: "/problems/too_many_attempts" });
    }
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
  });

  it("shuts out neither the owner elsewhere nor others at the same address, and ends after a minute", async () => {
    const [victim, neighbour] = [await signedUp(), await signedUp()];
    const address = anywhere();
    await untilRefused(SIGN_INS, async () => (await signIn(victim.user.email, "wrong", address)).status);
    expect((await signIn(victim.user.email, PASSWORD, anywhere())).status).toBe(201);
    expect((await signIn(neighbour.user.email, PASSWORD, address)).status).toBe(201);
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 60_000);
    expect((await signIn(victim.user.email, PASSWORD, address)).status).toBe(201);
  });

  it("is counted by network, of whose IPv6 addresses a client has many", async () => {
    const { user } = await signedUp();
    const network = `2001:db8:${Math.floor(Math.random() * 0xffff).toString(16)}`;
    let host = 0;
    const guess = async () => (await signIn(user.email, "wrong", `${network}::${(host += 1)}`)).status;
    await untilRefused(SIGN_INS, guess);
    expect((await signIn(user.email, PASSWORD, `${network}:0:1:2:3:4`)).status).toBe(429);
    expect((await signIn(user.email, PASSWORD, `${network}:1::1`)).status).toBe(201);
  });

  it("is refused as well when it is done by signing up, and counted together", async () => {
    const { user } = await signedUp();
    const address = anywhere();
    const guess = async () => {
      const tenant = { name: "x", slug: `s-${crypto.randomUUID().slice(0, 13)}` };
      const body = { email: user.email, password: "not the password", tenant };
      return (await request("POST", "/v1/signup", { body, headers: { "cf-connecting-ip": address } })).status;
    };
    await untilRefused(SIGN_INS, guess);
    expect((await signIn(user.email, PASSWORD, address)).status).toBe(429);
  });

  it("at once gives no more guesses, right or wrong, than one after the other", async () => {
    const { user } = await signedUp();
    const address = anywhere();
    const guesses = Array.from({ length: MOST * SIGN_INS + 4 }, (_, index) => `wrong ${index}`);
    const answers = await Promise.all(guesses.map((password) => signIn(user.email, password, address)));
    const told = answers.filter(({ status }) => status !== 429);
    expect(told.length).toBeLessThanOrEqual(MOST * SIGN_INS);
    expect((await signIn(user.email, PASSWORD, address)).status).toBe(429);
  });

  it("from many addresses slows the account down, for whoever knows the password and whoever does not", async () => {
    const [victim, other] = [await signedUp(), await signedUp()];
    const waits = vi.spyOn(scheduler, "wait");
    const delays = () => waits.mock.calls.filter(([ms]) => ms === 1_500).length;
    const guess = async () => (await signIn(victim.user.email, "wrong", anywhere())).status;
    // What most of the failures would count: each that is made hashes a password.
    const counted = OF_ACCOUNT - 10;
    const key = accountOf(victim.user.email);
    for (let times = 0; times < counted; times++) await bindings.ACCOUNT_GUARD.limit({ key });
    for (let failures = counted; delays() === 0; failures++) {
      expect(failures).toBeLessThanOrEqual(MOST * OF_ACCOUNT);
      expect(await guess()).toBe(401);
    }
    waits.mockClear();
    expect((await signIn(victim.user.email, PASSWORD, anywhere())).status).toBe(201);
    expect(delays()).toBe(1);
    expect(await guess()).toBe(401);
    expect(delays()).toBe(2);
    expect((await signIn(other.user.email, PASSWORD, anywhere())).status).toBe(201);
    expect(delays()).toBe(2);
  }, 60_000);

  it("never counts a sign-in that succeeds", async () => {
    const { user } = await signedUp();
    const address = anywhere();
    for (let turn = 0; turn <= MOST * SIGN_INS; turn++)
      expect((await signIn(user.email, PASSWORD, address)).status).toBe(201);
  });

  it("tells and keeps no email", async () => {
    const { user } = await signedUp();
    const log = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const address = anywhere();
    await untilRefused(SIGN_INS, async () => {
      const response = await signIn(user.email, "wrong", address);
      expect(await response.text()).not.toContain(user.email);
      return response.status;
    });
    expect(log).not.toHaveBeenCalled();
  });
});

describe("making up API keys", () => {
  it("is refused by address before any object is asked, but not for a key that was good", async () => {
    const { tenant, token } = await newTenant();
    const body = { name: "CI", scopes: ["projects:read"] };
    const { key } = await answered<{ key: string }>(201, request("POST", "/v1/api-keys", { token, body }));
    const address = anywhere();
    expect(await use(key, anywhere())).toBe(200);
    const guess = () => use(makeApiKey(tenant.id).text, address);
    expect(await untilRefused(KEYS, guess)).toBeGreaterThanOrEqual(KEYS);
    const calls = countCalls();
    expect(await guess()).toBe(429);
    expect(await use(makeApiKey(uuidv7()).text, address)).toBe(429);
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
    expect(await use(key, address)).toBe(200);
    expect(await use(token, address)).toBe(200);
    expect(await use(makeApiKey(tenant.id).text, anywhere())).toBe(401);
  });

  it("tells nothing of the limits of the tenant that is named in them", async () => {
    const { tenant, token } = await newTenant([{ name: "minute", limit: 1, window: 60 }]);
    for (const status of [200, 429]) expect(await use(token, anywhere())).toBe(status);
    const response = await request("GET", "/v1/tenant/limits", { token: makeApiKey(tenant.id).text });
    expect(response.status).toBe(401);
    expect(response.headers.has("ratelimit")).toBe(false);
  });

  it("counts a revoked key that somebody goes on using as one", async () => {
    const { tenant } = await newTenant();
    const address = anywhere();
    const { text } = makeApiKey(tenant.id);
    for (let turn = 0; turn < 2 * KEYS; turn++) expect(await use(text, address)).toBe(401);
    expect(await use(makeApiKey(tenant.id).text, address)).toBe(401);
  });
});
