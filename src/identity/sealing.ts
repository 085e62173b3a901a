import { createHash, createHmac, randomBytes } from "node:crypto";
import { parse as parseUuid, v7 as uuidv7 } from "uuid";
import type { NamedKey } from "../settings.ts";

// How opaque tokens are made. Without this deployment's settings, so that the command line can make an invitation too.

/** What each kind of opaque token begins with. */
export const PREFIX = {
  refresh: "pwr_",
  invitation: "pwi_",
  verification: "pwv_",
  signup: "pws_",
  reset: "pwp_",
  email_change: "pwe_",
  email_undo: "pwu_",
  challenge: "pwc_",
};
export type Kind = keyof typeof PREFIX;

export const MAC_BYTES = 16;
export const UUID_BYTES = 16;
export const SECRET_BYTES = 32;
export const INVITATION_TTL_DAYS = 7;

/** The text of a token: what it says, and a MAC over that, so that a made-up one costs no database request. */
export const seal = ({ key }: NamedKey, kind: Kind, body: Uint8Array): string =>
  PREFIX[kind] + Buffer.concat([body, macOf(kind, body, key)]).toString("base64url");

export const macOf = (kind: Kind, body: Uint8Array, key: Uint8Array): Buffer =>
  createHmac("sha256", key).update(kind).update(body).digest().subarray(0, MAC_BYTES);

/** What the database keeps of a token's secret. */
export const secretHash = (secret: Uint8Array): Uint8Array => createHash("sha256").update(secret).digest();

/** A new invitation's token, and what the database keeps of it. */
export function newInvitation(
  key: NamedKey,
  tenantId: string,
  email: string,
): { text: string; id: string; hash: Uint8Array } {
  const [id, secret] = [uuidv7(), randomBytes(SECRET_BYTES)];
  const body = Buffer.concat([parseUuid(tenantId), parseUuid(id), secret, Buffer.from(email)]);
  return { text: seal(key, "invitation", body), id, hash: secretHash(secret) };
}
