import { createHmac, randomBytes } from "node:crypto";
import { parse as parseUuid, stringify as toUuid } from "uuid";
import { openToken, sealToken } from "./opaque-token.ts";
import { secretHash } from "./sealing.ts";

/**
 * A refresh token names its session and how often that was refreshed (its generation), and carries a secret. The
 * secret of the next generation follows from the last one and a server key: two tabs that refresh at once get the
 * same successor, and yet the database keeps nothing but a hash.
 */
export type RefreshToken = { text: string; sessionId: string; generation: number; hash: Uint8Array };

const LENGTH = { session: 16, generation: 4, secret: 32 };

/** The first refresh token of a new session, with a secret of 32 bytes. */
export function firstRefreshToken(
  sessionId: string,
  secret: Buffer = randomBytes(LENGTH.secret),
): RefreshToken {
  return makeToken(sessionId, 0, secret);
}

/** The token as the client sent it and the one that takes its place, or undefined if this server never made it. */
export function readRefreshToken(
  text: string,
): { presented: RefreshToken; successor: RefreshToken } | undefined {
  const opened = openToken("refresh", text);
  if (!opened) return undefined;
  const { body, key } = opened;
  const sessionId = toUuid(body.subarray(0, LENGTH.session));
  const generation = body.readUInt32BE(LENGTH.session);
  const secret = body.subarray(LENGTH.session + LENGTH.generation);
  const next = createHmac("sha256", key).update("next").update(body).digest();
  return {
    presented: { text, sessionId, generation, hash: secretHash(secret) },
    successor: makeToken(sessionId, generation + 1, next),
  };
}

/** Another token of the same generation as a session's newest, and as good: its text, once that generation is known. */
export function twinToken(): {
  hash: Uint8Array;
  of: (sessionId: string, generation: number) => RefreshToken;
} {
  const secret = randomBytes(LENGTH.secret);
  return {
    hash: secretHash(secret),
    of: (sessionId, generation) => makeToken(sessionId, generation, secret),
  };
}

function makeToken(sessionId: string, generation: number, secret: Buffer): RefreshToken {
  const head = Buffer.alloc(LENGTH.generation);
  head.writeUInt32BE(generation);
  const body = Buffer.concat([parseUuid(sessionId), head, secret]);
  return { text: sealToken("refresh", body), sessionId, generation, hash: secretHash(secret) };
}
