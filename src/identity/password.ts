import { hashWith } from "./peppered.ts";
import { peppers } from "./peppers.ts";

/**
 * The hashes of an account's password, by the pepper in use first and then by the others, each 32 bytes in base64url behind
 * its parameters. `email` is in lower case. All are made whether or not one fits, so that it takes the same time.
 *
 * The salt is derived from the email and a secret that the database does not hold. So the hash is known before the
 * database is asked: sign-in is one statement, it costs the same whether or not the account exists, and a stolen
 * database alone gives nothing to guess against.
 */
export async function hashesOf(email: string, password: string): Promise<[string, ...string[]]> {
  const [current, ...others] = peppers();
  const hashes: [string, ...string[]] = [await hashWith(current, email, password)];
  for (const pepper of others) hashes.push(await hashWith(pepper, email, password));
  return hashes;
}

/** The hash that a new password is kept as. */
export const hashPassword = (email: string, password: string): Promise<string> =>
  hashWith(peppers()[0], email, password);
