import { createDecipheriv } from "node:crypto";
import { sealingKey, sealWith } from "./peppered.ts";
import { peppers } from "./peppers.ts";

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** A user's secret as the database keeps it: AES-256-GCM, by a key that follows from the pepper in use, for this user alone. */
export const sealSecret = (userId: string, secret: Uint8Array): string =>
  sealWith(peppers()[0], userId, secret);

/** The secret, and whether another pepper is in use by now. Throws when its pepper is gone, or it is another user's. */
export function openSecret(userId: string, text: string): { secret: Buffer; isStale: boolean } {
  const [kid, encoded = ""] = text.split(".");
  const known = peppers();
  const pepper = known.find((candidate) => candidate.kid === kid);
  if (!pepper) throw new Error(`the pepper ${kid} of a second factor is not in PASSWORD_PEPPERS`);
  const sealed = Buffer.from(encoded, "base64url");
  const decipher = createDecipheriv("aes-256-gcm", sealingKey(pepper), sealed.subarray(0, IV_BYTES))
    .setAAD(Buffer.from(userId))
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  const secret = Buffer.concat([decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
  return { secret, isStale: pepper.kid !== known[0].kid };
}
