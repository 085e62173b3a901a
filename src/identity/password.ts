import crypto from "node:crypto";
import { peppers, type Pepper } from "./peppers.ts";

/** OWASP's figures for scrypt, where N is 2^14: about 140 ms of CPU and 16 MiB. */
const [BLOCK_SIZE, PARALLELIZATION] = [8, 5];

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
  const hashes: [string, ...string[]] = [await hashBy(current, email, password)];
  for (const pepper of others) hashes.push(await hashBy(pepper, email, password));
  return hashes;
}

/** The hash that a new password is kept as. */
export const hashPassword = (email: string, password: string): Promise<string> =>
  hashBy(peppers()[0], email, password);

function hashBy({ kid, key, cost }: Pepper, email: string, password: string): Promise<string> {
  const salt = crypto.createHmac("sha256", key).update(email).digest();
  const N = 2 ** cost;
  const options = { N, r: BLOCK_SIZE, p: PARALLELIZATION };
  return new Promise((resolve, reject) => {
    crypto.scrypt(password.normalize("NFKC"), salt, 32, options, (error, hash) => {
      if (error) reject(error);
      else {
        const of = kid === ORIGINAL ? "" : `${kid}$`;
        resolve(`scrypt$${N}$${BLOCK_SIZE}$${PARALLELIZATION}$${of}${hash.toString("base64url")}`);
      }
    });
  });
}

/** The first pepper's name. Its hashes do not say it. */
const ORIGINAL = "original";
