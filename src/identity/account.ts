import * as v from "valibot";

/** The name of an account: an email address in lower case. */
export const Email = v.pipe(v.string(), v.trim(), v.toLowerCase(), v.email(), v.maxLength(254));

const MAX_PASSWORD = 256;
/** No shorter than NIST SP 800-63B asks for, no longer than is worth hashing. */
export const NewPassword = v.pipe(v.string(), v.minLength(8), v.maxLength(MAX_PASSWORD));
/** What somebody says their password is. */
export const Password = v.pipe(v.string(), v.maxLength(MAX_PASSWORD));
