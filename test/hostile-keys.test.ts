import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { v7 as uuidv7 } from "uuid";
import { settings } from "../src/env.ts";
import { makeApiKey } from "../src/identity/api-key.ts";
import { answerTo, countCalls, REFUSED } from "./support/calls.ts";
import { answered, newTenant, request, storedKey, type SignedIn } from "./support/client.ts";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX = `pw_${settings.API_KEY_ENVIRONMENT}_`;
const [TENANT, SECRET, CHECKSUM] = [22, 43, 6];

let ada: SignedIn;
let bob: SignedIn;
let key: string;
/** The parts of the key. */
let tenant: string;
let secret: string;

beforeAll(async () => {
  [ada, bob] = await Promise.all([newTenant(), newTenant()]);
  // Its object has read its record before it is told of a key.
  for (const { token } of [ada, bob]) await answered(200, use(token));
  key = await newKey();
  tenant = key.slice(PREFIX.length, PREFIX.length + TENANT);
  secret = key.slice(PREFIX.length + TENANT, -CHECKSUM);
});
afterEach(() => vi.restoreAllMocks());

const newKey = async (change: Parameters<typeof storedKey>[1] = {}) => (await storedKey(ada, change)).text;

const use = (token: string) => request("GET", "/v1/members", { token });

/** CRC-32 (IEEE 802.3) of some text in base62, worked out here bit by bit. */
function checksum(text: string): string {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  let [rest, digits] = [(crc ^ 0xffffffff) >>> 0, ""];
  for (let digit = 0; digit < CHECKSUM; digit++) {
    digits = ALPHABET.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

/** The body with the checksum that belongs to it: nothing but the body can refuse it. */
const sealed = (body: string) => body + checksum(body);

const swapCase = (text: string) =>
  Array.from(text)
    .map((letter) => (letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()))
    .join("");

it("control: the key, and the key put together again here, are good", async () => {
  expect(sealed(PREFIX + tenant + secret)).toBe(key);
  expect((await use(key)).status).toBe(200);
});

describe("what is no key of this deployment costs no call", () => {
  it("a thousand made up for tenants that do not exist", async () => {
    const calls = countCalls();
    for (let made = 0; made < 1000; made++) {
      const random = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
      const madeUp = sealed(PREFIX + tenantOf(uuidv7()) + toBase62(BigInt(`0x${random}`), SECRET));
      expect((await use(madeUp)).status).toBe(401);
    }
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
  });

  it("any one character changed", async () => {
    for (let at = 0; at < key.length; at++) {
      const other = key[at] === "a" ? "b" : "a";
      expect(await answerTo(key.slice(0, at) + other + key.slice(at + 1))).toEqual(REFUSED);
    }
  });

  it("any two neighbours swapped", async () => {
    const swapped = Array.from(
      { length: key.length - 1 },
      (_, at) => `${key.slice(0, at)}${key.charAt(at + 1)}${key.charAt(at)}${key.slice(at + 2)}`,
    );
    for (const other of swapped.filter((text) => text !== key))
      expect(await answerTo(other)).toEqual(REFUSED);
  });

  it("cut short, at any place", async () => {
    for (let length = PREFIX.length - 1; length < key.length; length++)
      expect(await answerTo(key.slice(0, length))).toEqual(REFUSED);
  });

  it.each<[string, () => string]>([
    ["a wrong checksum", () => `${key.slice(0, -CHECKSUM)}000000`],
    ["a checksum in other letters", () => key.slice(0, -CHECKSUM) + swapCase(key.slice(-CHECKSUM))],
    ["no checksum", () => PREFIX + tenant + secret],
    ["all in small letters", () => key.toLowerCase()],
    ["all in capitals", () => key.toUpperCase()],
    ["the environment live", () => sealed(`pw_live_${tenant}${secret}`)],
    ["the environment prod", () => sealed(`pw_prod_${tenant}${secret}`)],
    ["our environment and more", () => sealed(`${PREFIX.slice(0, -1)}x_${tenant}${secret}`)],
    ["no environment", () => sealed(`pw__${tenant}${secret}`)],
    ["no environment and no mark for it", () => sealed(`pw_${tenant}${secret}`)],
    ["our environment twice", () => sealed(`${PREFIX}${PREFIX}${tenant}${secret}`)],
    [
      "the environment in capitals",
      () => sealed(`pw_${settings.API_KEY_ENVIRONMENT.toUpperCase()}_${tenant}${secret}`),
    ],
    ["another prefix", () => sealed(`sk_${settings.API_KEY_ENVIRONMENT}_${tenant}${secret}`)],
    ["a digit more", () => sealed(`${PREFIX}${tenant}${secret}0`)],
    ["a digit less", () => sealed(`${PREFIX}${tenant}${secret.slice(1)}`)],
    ["no secret", () => sealed(PREFIX + tenant)],
    ["nothing but a prefix", () => sealed(PREFIX)],
    ["nothing but pw_", () => "pw_"],
    ["a tenant beyond 128 bits", () => sealed(`${PREFIX}${"z".repeat(TENANT)}${secret}`)],
    ["the first tenant beyond 128 bits", () => sealed(`${PREFIX}${toBase62(2n ** 128n)}${secret}`)],
    ["a sign in front of the tenant", () => sealed(`${PREFIX}-${tenant.slice(1)}${secret}`)],
    ["a character outside base62", () => sealed(`${PREFIX}${tenant}${secret.slice(0, -1)}_`)],
    ["a letter that only looks like one", () => sealed(`${PREFIX}${tenant}${secret.slice(0, -1)}\xE0`)],
    ["a space inside", () => sealed(`${PREFIX}${tenant} ${secret.slice(1)}`)],
    ["a tenant that is a path", () => sealed(`${PREFIX}${"../".repeat(7)}.${secret}`)],
    ["a key behind a key", () => key + key],
    ["a key in a list", () => `${key}, ${key}`],
    ["64 KiB", () => sealed(PREFIX + "0".repeat(65_536))],
    ["another secret", () => sealed(`${PREFIX}${tenant}${"0".repeat(SECRET)}`)],
    ["the highest secret of so many digits", () => sealed(`${PREFIX}${tenant}${"z".repeat(SECRET)}`)],
    ["the secret in other letters", () => sealed(PREFIX + tenant + swapCase(secret))],
    ["the secret backwards", () => sealed(PREFIX + tenant + Array.from(secret).toReversed().join(""))],
    ["the secret one lower", () => sealed(PREFIX + tenant + toBase62(fromBase62(secret) - 1n, SECRET))],
    [
      "the secret 2^256 higher",
      () => sealed(PREFIX + tenant + toBase62(fromBase62(secret) + 2n ** 256n, SECRET)),
    ],
    [
      "a random part of one's own",
      () => sealed(PREFIX + tenant + toBase62(fromBase62(secret) ^ (1n << 64n), SECRET)),
    ],
    ["the key under another tenant's name", () => sealed(PREFIX + tenantOf(bob.tenant.id) + secret)],
    ["the key under a name of nobody's", () => sealed(PREFIX + tenantOf(uuidv7()) + secret)],
    ["the key under the first name of all", () => sealed(`${PREFIX}${"0".repeat(TENANT)}${secret}`)],
  ])("%s", async (_name, forge) => {
    expect(await answerTo(forge())).toEqual(REFUSED);
  });
});

const fromBase62 = (text: string): bigint =>
  Array.from(text).reduce((value, digit) => value * 62n + BigInt(ALPHABET.indexOf(digit)), 0n);

/** The tenant's part of a key. */
const tenantOf = (id: string) => makeApiKey(id).text.slice(PREFIX.length, PREFIX.length + TENANT);

function toBase62(value: bigint, length = TENANT): string {
  let [rest, digits] = [value, ""];
  for (; digits.length < length; rest /= 62n) digits = ALPHABET.charAt(Number(rest % 62n)) + digits;
  return digits;
}

describe("what this server made, but is no key by now, costs one call of the object that would know it", () => {
  it.each<[string, () => string | Promise<string>]>([
    ["a new key that nobody stored", () => makeApiKey(ada.tenant.id).text],
    ["a key that has expired", () => newKey({ expires_at: new Date(Date.now() - 1) })],
  ])("%s", async (_name, forge) => {
    expect(await answerTo(await forge())).toEqual({ ...REFUSED, calls: { object: 1, sql: 0, site: 0 } });
  });

  it("and one look for a tenant that is not there any more", async () => {
    expect(await answerTo(makeApiKey(uuidv7()).text)).toEqual({
      ...REFUSED,
      calls: { object: 1, sql: 1, site: 0 },
    });
  });
});
