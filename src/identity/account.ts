import { createHmac } from "node:crypto";
import * as v from "valibot";
import { settings } from "../env.ts";

const MAX_PASSWORD = 256;
/** No shorter than NIST SP 800-63B asks for, no longer than is worth hashing. */
export const NewPassword = v.pipe(v.string(), v.minLength(8), v.maxLength(MAX_PASSWORD));
/** What somebody says their password is. */
export const Password = v.pipe(v.string(), v.maxLength(MAX_PASSWORD));

/** Names an account without telling whose it is. */
export function accountOf(email: string): string {
  return createHmac("sha256", settings.PASSWORD_PEPPER).update("account").update(email).digest("base64url");
}
