import * as v from "valibot";
import { Problem } from "../problem.ts";
import { isCommon } from "./common-passwords.ts";

const MAX_PASSWORD = 256;
/** No shorter than NIST SP 800-63B asks for, no longer than is worth hashing. */
export const NewPassword = v.pipe(v.string(), v.minLength(8), v.maxLength(MAX_PASSWORD));
/** What somebody says their password is. */
export const Password = v.pipe(v.string(), v.maxLength(MAX_PASSWORD));

/** Throws `invalid_input` for a new password that guessers try first: a common one, or one with the address in it. */
export function checkPassword(password: string, email: string, pointer = "/password"): void {
  const detail = isCommon(password)
    ? "This password is among the most common ones. Choose another."
    : holdsAddress(password, email)
      ? "This password has the email address in it. Choose another."
      : undefined;
  if (detail) throw new Problem("invalid_input", { errors: [{ pointer, detail }] });
}

/** Whether the password has the address in it, or is what stands before its @. */
function holdsAddress(password: string, email: string): boolean {
  const text = password.toLowerCase();
  return text.includes(email) || text === email.split("@")[0];
}
