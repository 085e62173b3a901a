import { createHash } from "node:crypto";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { newTenant, type SignedIn } from "./support/client.ts";
import { exchange, exchanged, expectRefused, newIssuer, trust } from "./support/issuer.ts";

let owner: SignedIn;
beforeAll(async () => {
  owner = await newTenant();
});
afterEach(() => vi.restoreAllMocks());

type Alg = "RS256" | "ES256" | "Ed25519";
type Key = Record<string, unknown>;

const bytes = (text: unknown) => Buffer.from(String(text), "base64url");
const text = (octets: Uint8Array) => Buffer.from(octets).toString("base64url");
/** An odd number of so many bits, as a modulus is. */
const modulus = (bits: number) => {
  const octets = crypto.getRandomValues(new Uint8Array(bits / 8));
  octets[0] = 0xff;
  octets[octets.length - 1] = 0xff;
  return text(octets);
};

/** A trusted issuer that has signed a token, and the one key that it publishes for it. */
async function signed(alg: Alg) {
  const issuer = newIssuer();
  await trust(owner, issuer);
  const token = await issuer.sign({ email: "ann@acme.test" }, { alg });
  const [key] = (await issuer.keySet()).keys;
  if (!key) throw new Error("the issuer publishes no key");
  return { issuer, token, key: { ...key } as Key };
}

const without = (name: string) => (key: Key) =>
  Object.fromEntries(Object.entries(key).filter(([other]) => other !== name));

const malformed: [what: string, alg: Alg, key: (good: Key) => unknown][] = [
  ["an RSA modulus of 512 bits", "RS256", (key) => ({ ...key, n: modulus(512) })],
  ["an RSA modulus of 1024 bits", "RS256", (key) => ({ ...key, n: modulus(1024) })],
  ["an RSA modulus of 2040 bits", "RS256", (key) => ({ ...key, n: modulus(2040) })],
  ["an RSA modulus of 65,536 bits", "RS256", (key) => ({ ...key, n: modulus(32_768) })],
  ["no RSA modulus", "RS256", without("n")],
  ["an empty RSA modulus", "RS256", (key) => ({ ...key, n: "" })],
  ["an RSA modulus that is a number", "RS256", (key) => ({ ...key, n: 3 })],
  ["an RSA modulus in no base64url", "RS256", (key) => ({ ...key, n: "!!!!" })],
  ["an RSA exponent of 0", "RS256", (key) => ({ ...key, e: "AA" })],
  ["an RSA exponent of 1", "RS256", (key) => ({ ...key, e: "AQ" })],
  ["an RSA exponent of 1 with zeros in front", "RS256", (key) => ({ ...key, e: "AAAB" })],
  ["an RSA exponent of 2", "RS256", (key) => ({ ...key, e: "Ag" })],
  ["an RSA exponent as long as the modulus", "RS256", (key) => ({ ...key, e: key["n"] })],
  ["no RSA exponent", "RS256", without("e")],
  ["a private RSA key of which parts are missing", "RS256", (key) => ({ ...key, d: "AQAB" })],
  // Its last octet goes: a first one of zero could go without making another number of it.
  [
    "an EC coordinate that is short",
    "ES256",
    (key) => ({ ...key, x: text(bytes(key["x"]).subarray(0, -1)) }),
  ],
  ["an EC coordinate that is long", "ES256", (key) => ({ ...key, y: text(Buffer.alloc(33, 1)) })],
  ["an EC point off the curve", "ES256", (key) => ({ ...key, y: key["x"] })],
  [
    "an EC point at zero",
    "ES256",
    (key) => ({ ...key, x: text(Buffer.alloc(32)), y: text(Buffer.alloc(32)) }),
  ],
  ["no EC coordinate", "ES256", without("y")],
  ["an EC coordinate that is null", "ES256", (key) => ({ ...key, x: null })],
  ["a curve that is another", "ES256", (key) => ({ ...key, crv: "P-384" })],
  ["a curve that nobody knows", "ES256", (key) => ({ ...key, crv: "P-1" })],
  ["an OKP key that is short", "Ed25519", (key) => ({ ...key, x: text(bytes(key["x"]).subarray(1)) })],
  ["an OKP key that is long", "Ed25519", (key) => ({ ...key, x: text(Buffer.alloc(57, 1)) })],
  ["an OKP key of small order", "Ed25519", (key) => ({ ...key, x: text(Buffer.alloc(32)) })],
  ["no OKP key", "Ed25519", without("x")],
  ["an OKP key for agreement", "Ed25519", (key) => ({ ...key, crv: "X25519" })],
  ["a key for encryption", "ES256", (key) => ({ ...key, use: "enc" })],
  ["a key that may only sign", "ES256", (key) => ({ ...key, key_ops: ["sign"] })],
  ["key_ops that are no list", "ES256", (key) => ({ ...key, key_ops: "verify" })],
  ["key_ops of numbers", "ES256", (key) => ({ ...key, key_ops: [1] })],
  ["key_ops that contradict one another", "ES256", (key) => ({ ...key, key_ops: ["verify", "encrypt"] })],
  ["another algorithm", "ES256", (key) => ({ ...key, alg: "ES384" })],
  ["an algorithm that is a number", "ES256", (key) => ({ ...key, alg: 256 })],
  ["ext that is no boolean", "ES256", (key) => ({ ...key, ext: "yes" })],
  ["a secret key", "ES256", (key) => ({ kty: "oct", kid: key["kid"], k: "AAAA", alg: "ES256" })],
  ["no kty", "ES256", without("kty")],
  ["null", "ES256", () => null],
  ["a text", "ES256", () => "key"],
];

it.each(malformed)(
  "a token whose issuer publishes %s for it is refused, as one that the issuer did not sign",
  async (_, alg, key) => {
    const { issuer, token, key: good } = await signed(alg);
    await issuer.publish({ keys: [key(good)] });
    const errors = vi.spyOn(console, "error");
    await expectRefused(exchange(token), /did not sign/);
    expect(errors).not.toHaveBeenCalled();
  },
);

it.each(["AQ", "AAAB"])(
  "nobody signs a token by the RSA exponent 1 (%s), with which every signature is its own message",
  async (e) => {
    const { issuer, token, key } = await signed("RS256");
    const input = token.slice(0, token.lastIndexOf("."));
    const digest = createHash("sha256").update(input).digest();
    // EMSA-PKCS1-v1_5 (RFC 8017, 9.2) of SHA-256, as long as the modulus.
    const info = Buffer.concat([Buffer.from("3031300d060960864801650304020105000420", "hex"), digest]);
    const padding = Buffer.alloc(bytes(key["n"]).length - info.length - 3, 0xff);
    const forged = Buffer.concat([Buffer.from([0, 1]), padding, Buffer.from([0]), info]);
    await issuer.publish({ keys: [{ ...key, e }] });
    const response = await exchange(`${input}.${text(forged)}`);
    expect(response.status).toBe(400);
    await expectRefused(response, /did not sign/);
  },
);

it.each(malformed)("%s beside an issuer's good key keeps nobody out", async (_, alg, key) => {
  const { issuer, token, key: good } = await signed(alg);
  const bad = key(good);
  const other = typeof bad === "object" && bad !== null ? { ...bad, kid: "other" } : bad;
  await issuer.publish({ keys: [other, good] });
  expect(await exchanged(token)).toMatch(/^ey/);
});

it.each([[null], [[]], ["keys"], [{}], [{ keys: null }], [{ keys: {} }]])(
  "an issuer that publishes %j for its key set is out of reach",
  async (jwks) => {
    const { issuer, token } = await signed("ES256");
    await issuer.publish(jwks);
    vi.spyOn(console, "error").mockImplementation(() => {});
    expect((await exchange(token)).status).toBe(503);
  },
);
