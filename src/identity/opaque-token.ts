import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { settings } from "../env.ts";

/** What each kind of opaque token begins with. */
const PREFIX = { refresh: "pwr_", invitation: "pwi_" };
type Kind = keyof typeof PREFIX;

const MAC_BYTES = 16;

/** The text of a token: what it says, and a MAC over that, so that a made-up one costs no database request. */
export function sealToken(kind: Kind, body: Uint8Array): string {
  const [newest] = settings.OPAQUE_TOKEN_KEYS;
  return PREFIX[kind] + Buffer.concat([body, macOf(kind, body, newest.key)]).toString("base64url");
}

/** What a token says, and the key it was sealed with; undefined if this server never made it, or not so spelled. */
export function openToken(kind: Kind, text: string): { body: Buffer; key: Uint8Array } | undefined {
  if (!text.startsWith(PREFIX[kind])) return undefined;
  const encoded = text.slice(PREFIX[kind].length);
  const bytes = Buffer.from(encoded, "base64url");
  if (bytes.length <= MAC_BYTES || bytes.toString("base64url") !== encoded) return undefined;
  const body = bytes.subarray(0, -MAC_BYTES);
  const sealing = settings.OPAQUE_TOKEN_KEYS.find(({ key }) =>
    timingSafeEqual(macOf(kind, body, key), bytes.subarray(-MAC_BYTES)),
  );
  return sealing && { body, key: sealing.key };
}

/** What the database keeps of a token's secret. */
export const secretHash = (secret: Uint8Array): Uint8Array => createHash("sha256").update(secret).digest();

function macOf(kind: Kind, body: Uint8Array, key: Uint8Array): Buffer {
  return createHmac("sha256", key).update(kind).update(body).digest().subarray(0, MAC_BYTES);
}
