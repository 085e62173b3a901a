import { createHmac, scrypt } from "node:crypto";
import { settings } from "../env.ts";

/** OWASP's figures for scrypt: about 140 ms of CPU and 16 MiB. */
const SCRYPT = { N: 2 ** 14, r: 8, p: 5 };

/**
 * The hash of an account's password, 32 bytes in base64url behind its parameters. `email` is in lower case.
 *
 * The salt is derived from the email and a secret that the database does not hold. So the hash is known before the
 * database is asked: sign-in is one statement, it costs the same whether or not the account exists, and a stolen
 * database alone gives nothing to guess against.
 */
export function hashPassword(email: string, password: string): Promise<string> {
  const salt = createHmac("sha256", settings.PASSWORD_PEPPER).update(email).digest();
  return new Promise((resolve, reject) => {
    scrypt(password.normalize("NFKC"), salt, 32, SCRYPT, (error, hash) => {
      if (error) reject(error);
      else resolve(`scrypt$${SCRYPT.N}$${SCRYPT.r}$${SCRYPT.p}$${hash.toString("base64url")}`);
    });
  });
}
