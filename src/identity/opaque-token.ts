import { timingSafeEqual } from "node:crypto";
import { settings } from "../env.ts";
import { MAC_BYTES, macOf, PREFIX, seal, type Kind } from "./sealing.ts";

/** The text of a token, sealed with this deployment's newest key. */
export const sealToken = (kind: Kind, body: Uint8Array): string =>
  seal(settings.OPAQUE_TOKEN_KEYS[0], kind, body);

/** The same text as each of this deployment's keys seals it. */
export const tokensOf = (kind: Kind, body: Uint8Array): string[] =>
  settings.OPAQUE_TOKEN_KEYS.map((key) => seal(key, kind, body));

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
