import { randomBytes } from "node:crypto";
import { parse as parseUuid, stringify as toUuid, v7 as uuidv7 } from "uuid";
import * as v from "valibot";
import type { LINK_KINDS } from "../db/control.ts";
import { Problem } from "../problem.ts";
import { openToken, sealToken } from "./opaque-token.ts";
import { SECRET_BYTES, secretHash, UUID_BYTES } from "./sealing.ts";

export type LinkKind = (typeof LINK_KINDS)[number];

const MINUTE_S = 60;
const DAY_S = 86_400;

/** For how long a link is good, in seconds. */
export const LINK_TTL_S: Record<LinkKind, number> = {
  verification: DAY_S,
  signup: DAY_S,
  reset: 30 * MINUTE_S,
  email_change: DAY_S,
  email_undo: 7 * DAY_S,
};

/** The token of a mailed link, as it is sent here. */
export const LinkToken = v.pipe(v.string(), v.maxLength(512));

/**
 * What a link's token says: which link, and the address it was mailed to. That one is in it, as the token goes to that
 * address and nowhere else, so that a password can be hashed before the database is asked.
 */
export type MailedLink = { id: string; hash: Uint8Array; email: string };

/** A new link to this mailbox: its token, and what the database keeps of it. */
export function makeLink(kind: LinkKind, email: string): MailedLink & { token: string } {
  const [id, secret] = [uuidv7(), randomBytes(SECRET_BYTES)];
  const token = sealToken(kind, Buffer.concat([parseUuid(id), secret, Buffer.from(email)]));
  return { id, hash: secretHash(secret), email, token };
}

/** What a token of this kind says that this server made. Throws `link_gone`. Only the database knows whether it is good. */
export function readLink(kind: LinkKind, token: string): MailedLink {
  const body = openToken(kind, token)?.body;
  if (!body) throw linkGone();
  return {
    id: toUuid(body.subarray(0, UUID_BYTES)),
    hash: secretHash(body.subarray(UUID_BYTES, UUID_BYTES + SECRET_BYTES)),
    email: body.toString("utf8", UUID_BYTES + SECRET_BYTES),
  };
}

/** The problem of a link that is not good, whatever the reason. */
export const linkGone = () => new Problem("link_gone");
