import * as v from "valibot";

const MAX_PASSWORD = 256;
/** No shorter than NIST SP 800-63B asks for, no longer than is worth hashing. */
export const NewPassword = v.pipe(v.string(), v.minLength(8), v.maxLength(MAX_PASSWORD));
/** What somebody says their password is. */
export const Password = v.pipe(v.string(), v.maxLength(MAX_PASSWORD));
