import { createHmac } from "node:crypto";
import * as v from "valibot";
import { settings } from "../env.ts";

/** What no mail server takes though browsers do: dots that part nothing, over 64 characters before the @ (RFC 5321). */
const UNDELIVERABLE = /^\.|\.[.@]|^[^@]{65}/;

/**
 * The name of an account: an email address in lower case. It is what HTML calls valid, and so ASCII, which has the same
 * lower case in Postgres. Looked at as it was sent: U+212A, the kelvin sign, would become a plain k.
 */
export const Email = v.pipe(
  v.string(),
  v.trim(),
  v.rfcEmail(),
  v.check((email) => !UNDELIVERABLE.test(email), "an email address that mail servers take"),
  v.maxLength(254),
  v.toLowerCase(),
);

const MAX_PASSWORD = 256;
/** No shorter than NIST SP 800-63B asks for, no longer than is worth hashing. */
export const NewPassword = v.pipe(v.string(), v.minLength(8), v.maxLength(MAX_PASSWORD));
/** What somebody says their password is. */
export const Password = v.pipe(v.string(), v.maxLength(MAX_PASSWORD));

/** Names an account without telling whose it is. */
export function accountOf(email: string): string {
  return createHmac("sha256", settings.PASSWORD_PEPPER).update("account").update(email).digest("base64url");
}
