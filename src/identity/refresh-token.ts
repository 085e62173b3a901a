import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { parse as parseUuid, stringify as toUuid } from "uuid";
import { settings } from "../env.ts";

/**
 * A refresh token names its session and how often that was refreshed (its generation), and carries a secret. The
 * secret of the next generation follows from the last one and a server key: two tabs that refresh at once get the
 * same successor, and yet the database keeps nothing but a hash.
 */
export type RefreshToken = { text: string; sessionId: string; generation: number; hash: Uint8Array };

const PREFIX = "pwr_";
const LENGTH = { session: 16, generation: 4, secret: 32, mac: 16 };
const BODY = LENGTH.session + LENGTH.generation + LENGTH.secret;

/** The first refresh token of a new session. */
export function firstRefreshToken(sessionId: string): RefreshToken {
  return makeToken(sessionId, 0, randomBytes(LENGTH.secret), newestKey());
}

/** The token as the client sent it and the one that takes its place, or undefined if this server never made it. */
export function readRefreshToken(
  text: string,
): { presented: RefreshToken; successor: RefreshToken } | undefined {
  if (!/^pwr_[\w-]{91}$/.test(text)) return undefined;
  const bytes = Buffer.from(text.slice(PREFIX.length), "base64url");
  if (bytes.toString("base64url") !== text.slice(PREFIX.length)) return undefined;
  const body = bytes.subarray(0, BODY);
  const key = settings.OPAQUE_TOKEN_KEYS.find((candidate) =>
    timingSafeEqual(macOf(body, candidate.key), bytes.subarray(BODY)),
  );
  if (!key) return undefined;
  const sessionId = toUuid(body.subarray(0, LENGTH.session));
  const generation = body.readUInt32BE(LENGTH.session);
  const secret = body.subarray(LENGTH.session + LENGTH.generation);
  const next = createHmac("sha256", key.key).update("next").update(body).digest();
  return {
    presented: { text, sessionId, generation, hash: sha256(secret) },
    successor: makeToken(sessionId, generation + 1, next, newestKey()),
  };
}

function makeToken(sessionId: string, generation: number, secret: Buffer, key: Uint8Array): RefreshToken {
  const head = Buffer.alloc(LENGTH.generation);
  head.writeUInt32BE(generation);
  const body = Buffer.concat([parseUuid(sessionId), head, secret]);
  const text = PREFIX + Buffer.concat([body, macOf(body, key)]).toString("base64url");
  return { text, sessionId, generation, hash: sha256(secret) };
}

function macOf(body: Uint8Array, key: Uint8Array): Buffer {
  return createHmac("sha256", key).update("refresh").update(body).digest().subarray(0, LENGTH.mac);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

function newestKey(): Uint8Array {
  const [newest] = settings.OPAQUE_TOKEN_KEYS;
  if (!newest) throw new Error("OPAQUE_TOKEN_KEYS is empty");
  return newest.key;
}
