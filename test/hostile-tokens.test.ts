import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { settings } from "../src/env.ts";
import { verifyAccessToken } from "../src/identity/access-token.ts";
import { mintOperatorToken } from "../src/identity/operator-token.ts";
import { answerTo, countCalls, REFUSED } from "./support/calls.ts";
import { newTenant, request, type SignedIn } from "./support/client.ts";
import { ed25519, es256, seal, segment, signatureOf, strangersKey } from "./support/forge.ts";

// Most of these carry a good signature of this deployment's own key, so that only what is wrong with them can refuse
// them: neither a forger nor a fault of our own gets further.

let ada: SignedIn;
/** What ada's token says, and its three segments. */
let header: Record<string, unknown>;
let claims: Record<string, unknown>;
let parts: [header: string, payload: string, signature: string];
/** What an ES256 token says of itself. */
const esHeader = { alg: "ES256", typ: "at+jwt", kid: es256.kid };

beforeAll(async () => {
  ada = await newTenant();
  header = { ...decodeProtectedHeader(ada.token) };
  claims = decodeJwt(ada.token);
  const [head = "", payload = "", signature = ""] = ada.token.split(".");
  parts = [head, payload, signature];
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const now = () => Math.floor(Date.now() / 1000);
const use = (token: string) => request("GET", "/v1/projects", { token });

type Forge = () => string | Promise<string>;

const withHeader = (change: object) => () => seal(ed25519, { ...header, ...change }, claims);
const withClaims = (change: object) => () => seal(ed25519, header, { ...claims, ...change });
/** A payload spelled otherwise than JSON.stringify() would. */
const spelled = (spell: (json: string) => string | Uint8Array) => () =>
  seal(ed25519, header, spell(JSON.stringify(claims)));
const headerSpelled = (spell: (json: string) => string) => () =>
  seal(ed25519, spell(JSON.stringify(header)), claims);

const unsigned =
  (alg: string, signature = "") =>
  () =>
    `${segment({ ...header, alg })}.${parts[1]}.${signature || parts[2]}`;

/** HMAC over ada's claims, with something public as its secret. */
const hmacWith =
  (secret: () => string | ArrayBuffer | Promise<ArrayBuffer>, size: 256 | 384 | 512 = 256): Forge =>
  async () => {
    const given = await secret();
    const bytes = typeof given === "string" ? Buffer.from(given) : given;
    const algorithm = { name: "HMAC", hash: `SHA-${size}` };
    const key = await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign"]);
    const text = `${segment({ ...header, alg: `HS${size}` })}.${parts[1]}`;
    return `${text}.${segment(new Uint8Array(await crypto.subtle.sign("HMAC", key, Buffer.from(text))))}`;
  };
const { kty, crv, x } = ed25519;
const spki = async (): Promise<ArrayBuffer> => {
  const key = await crypto.subtle.importKey("jwk", { kty, crv, x }, { name: "Ed25519" }, true, ["verify"]);
  const exported = await crypto.subtle.exportKey("spki", key);
  if (!(exported instanceof ArrayBuffer)) throw new Error("not SPKI");
  return exported;
};
const pem = (der: ArrayBuffer) =>
  `-----BEGIN PUBLIC KEY-----\n${Buffer.from(der).toString("base64")}\n-----END PUBLIC KEY-----\n`;

const stranger = await strangersKey("Ed25519");
const { d: _, ...strangersPublic } = stranger;

/** Ada's token with other bytes for its signature. */
const signedWith = (change: (signature: Buffer) => Uint8Array) => () =>
  `${parts[0]}.${parts[1]}.${segment(change(Buffer.from(parts[2], "base64url")))}`;
const altered = (at: number) =>
  signedWith((signature) => {
    signature[at] = (signature[at] ?? 0) ^ 1;
    return signature;
  });

/** The group order of Ed25519, little-endian: S + L verifies where S is not range-checked. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const plusL = (signature: Buffer) => {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32).toReversed()).toString("hex")}`) + L;
  const bytes = Buffer.from(s.toString(16).padStart(64, "0"), "hex").toReversed();
  return Buffer.concat([signature.subarray(0, 32), bytes]);
};

/** An ES256 token whose r and s are what this makes of them, 32 bytes each, or bytes of another form. */
const es256With = (change: (r: bigint, s: bigint) => [bigint, bigint] | Buffer) => async () => {
  const token = await seal(es256, esHeader, claims);
  const at = token.lastIndexOf(".");
  const bytes = Buffer.from(token.slice(at + 1), "base64url");
  const [r, s] = [bytes.subarray(0, 32), bytes.subarray(32)].map((part) =>
    BigInt(`0x${part.toString("hex")}`),
  );
  const changed = change(r ?? 0n, s ?? 0n);
  const signature = Array.isArray(changed)
    ? Buffer.from(changed.map((part) => part.toString(16).padStart(64, "0")).join(""), "hex")
    : changed;
  return `${token.slice(0, at)}.${segment(signature)}`;
};
/** The group order of P-256. */
const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const der = (r: bigint, s: bigint) => {
  const integer = (value: bigint) => {
    const hex = value.toString(16);
    const bytes = Buffer.from(`00${hex.padStart(hex.length + (hex.length % 2), "0")}`, "hex");
    return Buffer.concat([Buffer.from([2, bytes.length]), bytes]);
  };
  const body = Buffer.concat([integer(r), integer(s)]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
};

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** The 15 other last characters that decode to the same 64 bytes. */
const respelled = (token: string) => {
  const last = ALPHABET.indexOf(token.slice(-1));
  return Array.from(ALPHABET)
    .filter((_character, index) => index >> 4 === last >> 4 && index !== last)
    .map((character) => token.slice(0, -1) + character);
};

const GROUPS: Record<string, Record<string, Forge>> = {
  "no signature worth the name": {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg NONE": unsigned("NONE"),
    "alg nOnE": unsigned("nOnE"),
    "alg none, signed all the same": withHeader({ alg: "none" }),
    "alg none, and nothing behind the last dot": () => `${segment({ ...header, alg: "none" })}.${parts[1]}.`,
    "the empty alg": withHeader({ alg: "" }),
    "alg missing": withHeader({ alg: undefined }),
    "alg an array": withHeader({ alg: ["Ed25519"] }),
    "alg null": withHeader({ alg: null }),
    "all of the signature zero": signedWith(() => new Uint8Array(64)),
    "the neutral element as R and S = 0": signedWith(() =>
      Uint8Array.from([1, ...Array<number>(63).fill(0)]),
    ),
    "all bits of the signature set": signedWith(() => new Uint8Array(64).fill(255)),
    "S + L for S": signedWith(plusL),
    "a signature cut short": signedWith((signature) => signature.subarray(0, 63)),
    "half a signature": signedWith((signature) => signature.subarray(0, 32)),
    "a signature with a byte more": signedWith((signature) => Buffer.concat([signature, Buffer.from([0])])),
    "a signature twice": signedWith((signature) => Buffer.concat([signature, signature])),
    "the first bit of the signature flipped": altered(0),
    "the last bit of the signature flipped": altered(63),
    "R and S swapped": signedWith((signature) =>
      Buffer.concat([signature.subarray(32), signature.subarray(0, 32)]),
    ),
    "the signature of another token": async () =>
      `${parts[0]}.${parts[1]}.${(await seal(ed25519, header, { ...claims, jti: "x" })).split(".")[2]}`,
    "the signature of the payload alone": async () =>
      `${parts[0]}.${parts[1]}.${segment(await signatureOf(ed25519, parts[1]))}`,
    "another payload under the signature": () =>
      `${parts[0]}.${segment({ ...claims, role: "admin" })}.${parts[2]}`,
    "another header over the signature": () =>
      `${segment({ ...header, typ: "JWT" })}.${parts[1]}.${parts[2]}`,
  },

  "a public key as the secret": {
    "HS256, the key's bytes": hmacWith(() => Uint8Array.from(Buffer.from(x, "base64url")).buffer),
    "HS256, the key in base64url": hmacWith(() => x),
    "HS256, the key in hex": hmacWith(() => Buffer.from(x, "base64url").toString("hex")),
    "HS256, SPKI in DER": hmacWith(spki),
    "HS256, SPKI in PEM": hmacWith(async () => Uint8Array.from(Buffer.from(pem(await spki()))).buffer),
    "HS256, PEM without the last newline": hmacWith(
      async () => Uint8Array.from(Buffer.from(pem(await spki()).trim())).buffer,
    ),
    "HS256, the JWK": hmacWith(() => JSON.stringify({ kty, crv, x })),
    "HS256, the kid": hmacWith(() => ed25519.kid),
    "HS384, SPKI in DER": hmacWith(spki, 384),
    "HS512, SPKI in DER": hmacWith(spki, 512),
  },

  "a key that the token brings along": {
    "jwk, and its signature": () => seal(stranger, { ...header, jwk: strangersPublic }, claims),
    "jwk, without a kid": () =>
      seal(stranger, { alg: "Ed25519", typ: "at+jwt", jwk: strangersPublic }, claims),
    jku: () => seal(stranger, { ...header, jku: "https://evil.test/jwks.json" }, claims),
    x5u: () => seal(stranger, { ...header, x5u: "https://evil.test/cert.pem" }, claims),
    x5c: () => seal(stranger, { ...header, x5c: [strangersPublic.x] }, claims),
    x5t: () => seal(stranger, { ...header, x5t: "AAAA" }, claims),
    "jwk beside a signature of ours": withHeader({ jwk: strangersPublic }),
    "jku beside a signature of ours": withHeader({ jku: "https://evil.test/jwks.json" }),
  },

  "a key of somebody else": {
    "another deployment's, under our kid": () => seal(stranger, header, claims),
    "another environment's, under its own kid": () =>
      seal(stranger, { ...header, kid: "Ny6EsVnUvy_vYkaXuFfcFGbVJe3WmXkwtdm1OTPRVVk" }, claims),
    "kid missing": withHeader({ kid: undefined }),
    "kid empty": withHeader({ kid: "" }),
    "kid a path": withHeader({ kid: "../../../../../../dev/null" }),
    "kid a URL": withHeader({ kid: "https://evil.test/jwks.json" }),
    "kid SQL": withHeader({ kid: "' or '1'='1' --" }),
    "kid with a NUL": withHeader({ kid: `${ed25519.kid}\0` }),
    "kid in other letters": withHeader({ kid: ed25519.kid.toLowerCase() }),
    "kid __proto__": withHeader({ kid: "__proto__" }),
    "kid an array": withHeader({ kid: [ed25519.kid] }),
    "kid an object": withHeader({ kid: { $ne: null } }),
    "kid a number": withHeader({ kid: 0 }),
    "kid of the other key": withHeader({ kid: es256.kid }),
    "alg and kid of the other key": withHeader({ alg: "ES256", kid: es256.kid }),
    "alg of the other key": withHeader({ alg: "ES256" }),
    "ES256 of another key under our kid": async () => seal(await strangersKey("P-256"), esHeader, claims),
    "a signature on P-384 under our ES256": async () => seal(await strangersKey("P-384"), esHeader, claims),
  },

  "a header that says more, or something else": {
    "the old name EdDSA": withHeader({ alg: "EdDSA" }),
    "alg in other letters": withHeader({ alg: "ed25519" }),
    "alg Ed448": withHeader({ alg: "Ed448" }),
    "alg RS256": withHeader({ alg: "RS256" }),
    "an unknown crit": withHeader({ crit: ["urn:example:x"], "urn:example:x": 1 }),
    "an empty crit": withHeader({ crit: [] }),
    "crit exp": withHeader({ crit: ["exp"], exp: 1 }),
    "b64 false": withHeader({ b64: false, crit: ["b64"] }),
    "b64 false, not critical": withHeader({ b64: false }),
    "b64 true": withHeader({ b64: true, crit: ["b64"] }),
    zip: withHeader({ zip: "DEF" }),
    enc: withHeader({ enc: "A256GCM" }),
    cty: withHeader({ cty: "JWT" }),
    "a member that means nothing": withHeader({ nonce: "x" }),
    "typ missing": withHeader({ typ: undefined }),
    "typ JWT, as an ID token's": withHeader({ typ: "JWT" }),
    "typ of a refresh token": withHeader({ typ: "rt+jwt" }),
    "typ of a logout token": withHeader({ typ: "logout+jwt" }),
    "typ as a whole media type": withHeader({ typ: "application/at+jwt" }),
    "typ in other letters": withHeader({ typ: "at+JWT" }),
    "typ in capitals": withHeader({ typ: "AT+JWT" }),
    "typ with a space": withHeader({ typ: "at+jwt " }),
    "typ an array": withHeader({ typ: ["at+jwt"] }),
    "the header an array": () => seal(ed25519, "[]", claims),
    "the header null": () => seal(ed25519, "null", claims),
    "the header no JSON": () => seal(ed25519, "alg=none", claims),
  },

  "JSON that could be read in two ways": {
    "alg twice, none first": headerSpelled((json) => json.replace("{", '{"alg":"none",')),
    "alg twice, none last": headerSpelled((json) => json.replace("}", ',"alg":"none"}')),
    "kid twice": headerSpelled((json) => json.replace("{", '{"kid":"x",')),
    "alg with an escape in its name": headerSpelled((json) => json.replace('"alg"', '"\\u0061lg"')),
    "white space in the header": headerSpelled((json) => json.replace(":", ": ")),
    "tid twice": spelled((json) => json.replace("{", '{"tid":"01990000-0000-7000-8000-000000000000",')),
    "role twice": spelled((json) => json.replace("{", '{"role":"viewer",')),
    "exp twice": spelled((json) => json.replace("{", '{"exp":1,')),
    "an escape in a value": spelled((json) => json.replace('"owner"', '"\\u006fwner"')),
    "white space in the payload": spelled((json) => ` ${json}`),
    "a newline behind the payload": spelled((json) => `${json}\n`),
    "a byte order mark": spelled((json) => `\uFEFF${json}`),
    "bytes that are no UTF-8": spelled((json) =>
      Buffer.concat([Buffer.from(json.slice(0, -1)), Buffer.from(',"a":"\xFF"}', "latin1")]),
    ),
    "UTF-16": spelled((json) => Buffer.from(json, "utf16le")),
    "a number spelled otherwise": spelled((json) => json.replace(/"iat":(\d+)/, '"iat":$1.0')),
    "a number too large": spelled((json) => json.replace(/"exp":\d+/, '"exp":1e999')),
    "a comment": spelled((json) => json.replace("{", "{/**/")),
    "a second document": spelled((json) => json + json),
    "a payload that is an array": spelled((json) => `[${json}]`),
    "a payload that is a string": spelled((json) => JSON.stringify(json)),
    "a payload that is null": spelled(() => "null"),
    "an empty payload": spelled(() => ""),
  },

  "another encoding": {
    "= behind it": () => `${ada.token}==`,
    "= behind the header": () => `${parts[0]}==.${parts[1]}.${parts[2]}`,
    "+ and / for - and _": () =>
      `${parts[0]}.${parts[1]}.${Buffer.from(parts[2], "base64url").toString("base64")}`,
    "a space inside": () => `${parts[0]}. ${parts[1]}.${parts[2]}`,
    "a tab inside": () => `${parts[0]}.${parts[1]}\t.${parts[2]}`,
    "a dot behind it": () => `${ada.token}.`,
    "a dot in front": () => `.${ada.token}`,
    "nothing but dots": () => "..",
    "no dots": () => parts.join(""),
    "a header alone": () => parts[0],
    "two segments": () => `${parts[0]}.${parts[1]}`,
    "an empty header": () => `.${parts[1]}.${parts[2]}`,
    "an empty payload segment": () => `${parts[0]}..${parts[2]}`,
    "four segments": () => `${ada.token}.${parts[2]}`,
    "five segments, as a JWE's": () => `${ada.token}.AAAA.AAAA`,
    "quotation marks around it": () => `"${ada.token}"`,
    "all of it encoded again": () => segment(ada.token),
    "percent signs": () => ada.token.replace(".", "%2E"),
    "small letters": () => ada.token.toLowerCase(),
    "a letter that only looks like one": () => ada.token.replace("e", "\xE9"),
    "a byte order mark in front": () => `\xEF\xBB\xBF${ada.token}`,
    "a no-break space in front": () => `\xA0${ada.token}`,
    "the scheme twice": () => `Bearer ${ada.token}`,
    "a list of two": () => `${ada.token}, ${ada.token}`,
    "the JWS in JSON": () => JSON.stringify({ protected: parts[0], payload: parts[1], signature: parts[2] }),
    "64 KiB of nothing": () => "A".repeat(65_536),
    "64 KiB of dots": () => ".".repeat(65_536),
    "64 KiB, all signed by us": withClaims({ padding: "x".repeat(48_000) }),
    "4 KiB of brackets": () => `${segment("[".repeat(3000))}.AAAA.AAAA`,
  },

  "a token of another kind": {
    "the refresh token": () => ada.refresh_token,
    "the operator's token": () => settings.OPERATOR_TOKEN,
    "an operator's session": () =>
      mintOperatorToken({ id: ada.user.id, role: "admin", generation: 1, sessionId: ada.session.id }),
    "our own token in an operator's type": () => seal(ed25519, { ...header, typ: "operator+jwt" }, claims),
    "the operators' audience": withClaims({ aud: `${settings.ISSUER}/operator` }),
    "an id": () => ada.session.id,
    "an ID token": () =>
      seal(
        ed25519,
        { alg: "Ed25519", typ: "JWT", kid: ed25519.kid },
        { iss: claims["iss"], aud: "partywall", sub: claims["sub"], iat: claims["iat"], exp: claims["exp"] },
      ),
  },

  "claims that no token of ours has": {
    ...Object.fromEntries(
      ["iss", "aud", "sub", "client_id", "tid", "sid", "role", "scope", "iat", "exp", "jti"].map((claim) => [
        `without ${claim}`,
        withClaims({ [claim]: undefined }),
      ]),
    ),
    "another issuer": withClaims({ iss: "https://evil.test" }),
    "the issuer with a slash": withClaims({ iss: `${settings.ISSUER}/` }),
    "the issuer in capitals": withClaims({ iss: settings.ISSUER.toUpperCase() }),
    "the issuer in an array": withClaims({ iss: [settings.ISSUER] }),
    "another audience": withClaims({ aud: "https://other.test" }),
    "other audiences": withClaims({ aud: ["https://other.test", "https://third.test"] }),
    "us among other audiences": withClaims({ aud: [settings.ISSUER, "https://other.test"] }),
    "no audience in an array": withClaims({ aud: [] }),
    "exp as text": () => seal(ed25519, header, { ...claims, exp: String(claims["exp"]) }),
    "exp null": withClaims({ exp: null }),
    "exp before the epoch": withClaims({ exp: -1 }),
    "iat as text": () => seal(ed25519, header, { ...claims, iat: String(claims["iat"]) }),
    "nbf as text": withClaims({ nbf: "0" }),
    "a tenant that is no UUID": withClaims({ tid: "acme" }),
    "a tenant in capitals": () =>
      seal(ed25519, header, { ...claims, tid: String(claims["tid"]).toUpperCase() }),
    "a tenant and more": () => seal(ed25519, header, { ...claims, tid: `${String(claims["tid"])}' or true` }),
    tenants: () => seal(ed25519, header, { ...claims, tid: [claims["tid"]] }),
    "the tenant a number": withClaims({ tid: 1 }),
    "a user that is no UUID": withClaims({ sub: "ada" }),
    "no user": withClaims({ sub: null }),
    "a session that is no UUID": withClaims({ sid: "1" }),
    "a role that does not exist": withClaims({ role: "root" }),
    "a role in capitals": withClaims({ role: "OWNER" }),
    roles: withClaims({ role: ["owner"] }),
    "a role named __proto__": withClaims({ role: "__proto__" }),
    "a version as text": withClaims({ ver: "9" }),
    "half a version": withClaims({ ver: 0.5 }),
    "a version below zero": withClaims({ ver: -1 }),
  },

  "ES256 signatures": {
    "r = s = 0": es256With(() => [0n, 0n]),
    "r = 0": es256With((_r, s) => [0n, s]),
    "s = 0": es256With((r) => [r, 0n]),
    "r = n": es256With((_r, s) => [n, s]),
    "s = n": es256With((r) => [r, n]),
    "s as high as there is room": es256With((r) => [r, 2n ** 256n - 1n]),
    "r and s swapped": es256With((r, s) => [s, r]),
    "n − s, which verifies as well": es256With((r, s) => [r, n - s]),
    "s + 1": es256With((r, s) => [r, (s + 1n) % n]),
    "in DER, as X.509 has them": es256With(der),
    "cut short": es256With((r, s) =>
      Buffer.from(`${r.toString(16).padStart(64, "0")}${s.toString(16)}`.slice(0, 126), "hex"),
    ),
    "with the old name of the kid": async () => seal(es256, { ...esHeader, kid: ed25519.kid }, claims),
    "as ES384": async () => seal(es256, { ...esHeader, alg: "ES384" }, claims),
  },
};

describe.each(Object.entries(GROUPS))("%s", (_group, forgeries) => {
  it("control: the same token, made here by the same means and left alone, is good", async () => {
    for (const token of [ada.token, await seal(ed25519, header, claims), await seal(es256, esHeader, claims)])
      expect((await use(token)).status).toBe(200);
  });

  it.each(Object.entries(forgeries))("%s", async (_name, forge) => {
    const token = await forge();
    expect(await answerTo(token)).toEqual(REFUSED);
    expect(await answerTo(token)).toEqual(REFUSED);
  });
});

it.each([
  ["Ed25519", () => ada.token],
  ["ES256", () => seal(es256, esHeader, claims)],
] as const)("none of the 15 other spellings of a last character of %s", async (_alg, make) => {
  const token = await make();
  const others = respelled(token);
  expect(others).toHaveLength(15);
  for (const other of others) {
    expect(Buffer.from(other.split(".")[2] ?? "", "base64url")).toEqual(
      Buffer.from(token.split(".")[2] ?? "", "base64url"),
    );
    expect(await answerTo(other)).toEqual(REFUSED);
  }
});

it("no white space that an HTTP header would not carry this far", async () => {
  expect(await verifyAccessToken(ada.token)).toBeDefined();
  for (const other of [
    `${ada.token} `,
    ` ${ada.token}`,
    `${ada.token}\n`,
    `${ada.token}\r\n`,
    `${ada.token}\0`,
    "",
  ])
    expect(await verifyAccessToken(other)).toBeUndefined();
});

describe("time", () => {
  // Seconds from now; all else is as it should be.
  it.each([
    ["expired for less than 5 s", { exp: -4, iat: -600 }, 200],
    ["expired for 5 s", { exp: -5, iat: -600 }, 401],
    ["expired an hour ago", { exp: -3600, iat: -4200 }, 401],
    ["good from in 5 s on", { nbf: 5 }, 200],
    ["good from in 6 s on", { nbf: 6 }, 401],
    ["made in 5 s", { iat: 5 }, 200],
    ["made in 6 s", { iat: 6 }, 401],
    ["made in an hour, for a clock that is behind", { iat: 3600, exp: 4200 }, 401],
    ["made 605 s ago, for a day", { iat: -605, exp: 86_400 }, 200],
    ["made 606 s ago, for a day", { iat: -606, exp: 86_400 }, 401],
  ])("%s: %o is %i", async (_name, times, status) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const absolute = Object.entries(times).map(([claim, seconds]) => [claim, now() + seconds]);
    const token = await seal(ed25519, header, {
      ...claims,
      iat: now(),
      exp: now() + 600,
      ...Object.fromEntries(absolute),
    });
    if (status === 401) expect(await answerTo(token)).toEqual(REFUSED);
    else expect((await use(token)).status).toBe(200);
  });

  it("forgets in time what it has verified: at its end, and never later than ten minutes after it was made", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    for (const exp of [30, 86_400]) {
      const started = Date.now();
      const token = await seal(ed25519, header, { ...claims, iat: now(), exp: now() + exp });
      expect(await verifyAccessToken(token)).toBeDefined();
      vi.setSystemTime(started + (Math.min(exp, 600) + 6) * 1000);
      expect(await verifyAccessToken(token)).toBeUndefined();
    }
  });
});

describe("the Authorization header", () => {
  const send = (authorization: string | undefined, path = "/v1/projects") =>
    request("GET", path, authorization === undefined ? {} : { headers: { authorization } });

  it.each(["Bearer", "bearer", "BEARER"])("takes the scheme in any letters: %s", async (scheme) => {
    expect((await send(`${scheme} ${ada.token}`)).status).toBe(200);
  });

  it.each<[string, () => string | undefined]>([
    ["no header", () => undefined],
    ["an empty one", () => ""],
    ["a scheme alone", () => "Bearer"],
    ["no scheme", () => ada.token],
    ["a tab for the space", () => `Bearer\t${ada.token}`],
    ["a colon for the space", () => `Bearer:${ada.token}`],
    ["Basic", () => `Basic ${btoa(`ada:${ada.token}`)}`],
    ["Basic with the token", () => `Basic ${ada.token}`],
    ["DPoP", () => `DPoP ${ada.token}`],
    ["Token", () => `Token ${ada.token}`],
    ["a parameter", () => `Bearer="${ada.token}"`],
  ])("that holds no bearer token is told no error code: %s", async (_name, authorization) => {
    const calls = countCalls();
    const response = await send(authorization());
    expect(response.status).toBe(401);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="partywall"');
    expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
  });

  it.each<[string, () => string]>([
    ["two spaces", () => ` ${ada.token}`],
    ["two tokens", () => `${ada.token} ${ada.token}`],
    ["a parameter behind it", () => `${ada.token}, realm="x"`],
  ])("that holds more than a token holds none: %s", async (_name, token) => {
    expect(await answerTo(token())).toEqual(REFUSED);
  });

  it("sent twice is not taken once", async () => {
    const headers = new Headers({ authorization: `Bearer ${ada.token}` });
    headers.append("authorization", `Bearer ${ada.token}`);
    const both = (headers.get("authorization") ?? "").slice("Bearer ".length);
    expect(await answerTo(both)).toEqual(REFUSED);
  });

  it("is the only place that a token is looked for in", async () => {
    expect((await send(undefined, `/v1/projects?access_token=${ada.token}`)).status).toBe(401);
    const cookie = { cookie: `access_token=${ada.token}; token=${ada.token}` };
    expect((await request("GET", "/v1/projects", { headers: cookie })).status).toBe(401);
  });
});

it("an access token is no refresh token", async () => {
  const calls = countCalls();
  for (const refresh_token of [
    ada.token.slice(0, 256),
    ada.token.slice(0, 95),
    `pwr_${ada.token.slice(0, 91)}`,
  ]) {
    const response = await request("POST", "/v1/sessions/refresh", { body: { refresh_token } });
    expect(response.status).toBe(401);
  }
  expect(calls).toEqual({ object: 0, sql: 0, site: 0 });
});
