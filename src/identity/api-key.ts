import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";
import { parse as parseUuid, stringify as stringifyUuid, v7 as uuidv7 } from "uuid";
import { settings } from "../env.ts";
import { remembers } from "../memory.ts";
import type { NamedKey } from "../settings.ts";
import type { Credential } from "../caller.ts";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** A secret is random bytes and their MAC. */
const BYTES = { tenant: 16, random: 24, mac: 8 };
/** Base62 digits of so many bytes, and of a CRC-32. */
const DIGITS = { tenant: 22, secret: 43, checksum: 6 };

const SHAPE = new RegExp(
  `^pw_[a-z]+_([0-9A-Za-z]{${DIGITS.tenant}})([0-9A-Za-z]{${DIGITS.secret}})[0-9A-Za-z]{${DIGITS.checksum}}$`,
);

// Of the secret that is never changed: keys outlive every other.
const macKey = createHmac("sha256", settings.PASSWORD_PEPPER).update("api key").digest();

/** What only this server can put into a key of this environment and tenant, for these random bytes. */
const macOf = (tenant: Uint8Array, random: Uint8Array): Uint8Array =>
  createHmac("sha256", macKey)
    .update(settings.API_KEY_ENVIRONMENT)
    .update(tenant)
    .update(random)
    .digest()
    .subarray(0, BYTES.mac);

/** A new key of this tenant: the text, shown once, and what is kept of it. `random` is 24 bytes. */
export function makeApiKey(
  tenantId: string,
  random: Uint8Array = randomBytes(BYTES.random),
): { text: string; hash: Uint8Array; hint: string } {
  const tenant = parseUuid(tenantId);
  const body =
    `pw_${settings.API_KEY_ENVIRONMENT}_` +
    toBase62(tenant, DIGITS.tenant) +
    toBase62(Buffer.concat([random, macOf(tenant, random)]), DIGITS.secret);
  const text = body + checksum(body);
  return { text, hash: sha256(text), hint: text.slice(-4) };
}

/** Where in a UUIDv7 its time ends and what is random begins. */
const RANDOM_FROM = 15;

/**
 * The API key of a request that bears an Idempotency-Key, which a repeat finds and makes again though its text is not
 * stored: what is random in its id follows from `name`, which tells whose request it is and the Idempotency-Key, and
 * its random bytes from the id, the name, the request's `content` and a server key.
 */
export function repeatableApiKey(tenantId: string, name: string, content: string) {
  const id = uuidv7({ random: createHash("sha256").update("api key").update(name).digest() });
  const make = (of: string, { key }: NamedKey) =>
    makeApiKey(
      tenantId,
      createHmac("sha256", key)
        .update(JSON.stringify([of, name, content]))
        .digest()
        .subarray(0, BYTES.random),
    );
  const [newest] = settings.OPAQUE_TOKEN_KEYS;
  return {
    id,
    /** The end of the id of each key that was made for a request of this name. */
    idEnd: id.slice(RANDOM_FROM),
    key: make(id, newest),
    /** The text of the key that an earlier request made, if its content was the same. */
    textOf: (first: { id: string; hash: string }): string | undefined =>
      settings.OPAQUE_TOKEN_KEYS.map((key) => make(first.id, key)).find(
        ({ hash }) => Buffer.from(hash).toString("base64url") === first.hash,
      )?.text,
  };
}

/** Whether the token says of itself that it is one of our keys: no JWT begins so. */
export const looksLikeApiKey = (token: string) => token.startsWith("pw_");

type KeyCredential = Extract<Credential, { kind: "api_key" }>;

/** Only keys that are whole, by their exact text. */
const read = remembers<KeyCredential>("api_keys");

/** Whose key this is, if this server made it for this environment. Only the tenant's object knows whether it is good. */
export function readApiKey(text: string): KeyCredential | undefined {
  const known = read.get(text);
  if (known) return known;
  const body = text.slice(0, -DIGITS.checksum);
  if (checksum(body) !== text.slice(-DIGITS.checksum)) return undefined;
  const [, tenantDigits = "", secretDigits = ""] = SHAPE.exec(text) ?? [];
  const tenant = fromBase62(tenantDigits, BYTES.tenant);
  const secret = fromBase62(secretDigits, BYTES.random + BYTES.mac);
  if (!tenant || !secret || !text.startsWith(`pw_${settings.API_KEY_ENVIRONMENT}_`)) return undefined;
  const [random, mac] = [secret.subarray(0, BYTES.random), secret.subarray(BYTES.random)];
  if (!timingSafeEqual(mac, macOf(tenant, random))) return undefined;
  const credential: KeyCredential = {
    kind: "api_key",
    tenantId: stringifyUuid(tenant),
    hash: sha256(text).toString("base64url"),
  };
  read.set(text, credential);
  return credential;
}

/** Finds typing errors and cut-off copies without asking anyone. It is no secret. */
const checksum = (body: string) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return toBase62(bytes, DIGITS.checksum);
};

const sha256 = (text: string) => createHash("sha256").update(text).digest();

function toBase62(bytes: Uint8Array, digits: number): string {
  let rest = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  for (let index = 0; index < digits; index++) {
    text = ALPHABET.charAt(Number(rest % 62n)) + text;
    rest /= 62n;
  }
  return text;
}

/** The bytes that these digits stand for; undefined when they stand for more than so many can. */
function fromBase62(text: string, bytes: number): Uint8Array | undefined {
  let value = 0n;
  for (const digit of text) value = value * 62n + BigInt(ALPHABET.indexOf(digit));
  const hex = value.toString(16).padStart(2 * bytes, "0");
  return text !== "" && hex.length === 2 * bytes ? Buffer.from(hex, "hex") : undefined;
}
