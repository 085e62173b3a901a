import * as v from "valibot";
import { Problem } from "../problem.ts";
import { isCommon } from "./common-passwords.ts";

/** What an account is called to its own person, such as in an authenticator app. */
export const labelOf = ({ email, name }: { email: string; name: string | null }): string =>
  isDisplaced(email) ? (name ?? "account") : email;

/** Whether an account has lost its address to whoever reads the mailbox (control.give_way()): what it has is none. */
export const isDisplaced = (email: string): boolean => email.endsWith("@displaced.invalid");

const [MIN_PASSWORD, MAX_PASSWORD] = [8, 256];
/** No shorter than NIST SP 800-63B asks for, no longer than is worth hashing. */
export const NewPassword = v.pipe(v.string(), v.minLength(MIN_PASSWORD), v.maxLength(MAX_PASSWORD));
/** What somebody says their password is. */
export const Password = v.pipe(v.string(), v.maxLength(MAX_PASSWORD));

/** Throws `invalid_input` for a new password that guessers try first: a short or common one, or one with the address in it. */
export function checkPassword(password: string, email: string, pointer = "/password"): void {
  const detail = faultOf(password, email);
  if (detail) throw new Problem("invalid_input", { errors: [{ pointer, detail }] });
}

function faultOf(password: string, email: string): string | undefined {
  if (password.length < MIN_PASSWORD)
    return `This password has fewer than ${MIN_PASSWORD} characters. Choose another.`;
  if (isCommon(password)) return "This password is among the most common ones. Choose another.";
  if (holdsAddress(password, email)) return "This password has the email address in it. Choose another.";
  return undefined;
}

/** Whether the password has the address in it, or is what stands before its @. */
function holdsAddress(password: string, email: string): boolean {
  const text = password.toLowerCase();
  return text.includes(email) || text === email.split("@")[0];
}
